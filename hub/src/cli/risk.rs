//! `huitong-hub risk`: what the group puts behind overdrafts, where it is, and two people's word about it.

use std::io::{self, Write};

use clap::Subcommand;
use huitong_protocol::debt::Debt;
use huitong_protocol::id::AccountId;
use huitong_protocol::unit::Unit;

use super::account::{account_of, amount};
use super::exception::{By, write};
use super::output::table;
use super::suspense::today;
use super::{Failure, Output, Place, World, actor};
use crate::import::money;
use crate::risk::{self, RiskError, RiskSheet};
use crate::store::{StoreError, root};
use crate::suspense::Occasion;

#[derive(Debug, Subcommand)]
pub(crate) enum RiskCommand {
    /// Show budget, lines, what was drawn and what became of it.
    Show,
    /// Say how large the budget is. Two people say the same: the first asks, the second sets it.
    Budget {
        /// The whole budget, losses included: 5000.00
        amount: String,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        by: By,
    },
    /// Give up what an account owes. Two people say the same: the first asks, the second gives it up.
    WriteOff {
        /// The account's number.
        #[arg(value_parser = account_of)]
        account: AccountId,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        by: By,
    },
}

impl From<RiskError> for Failure {
    fn from(error: RiskError) -> Self {
        match error {
            RiskError::Store(error) => error.into(),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

impl RiskCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let now = world.now();
        let occasion = Occasion { now, day: today(place, now)? };
        let sheet = match self {
            Self::Show => place.open()?.read_blocking(move |tx| risk::show(tx, occasion.day))?,
            Self::Budget { amount, note, by } => {
                let actor = actor(&by.by)?;
                let currency = place.open()?.read_blocking(|tx| Ok::<_, StoreError>(root::hub(tx)?.currency))?;
                let amount_minor = money(&amount, currency)
                    .map_err(|fault| Failure::Refused(format!("the amount {amount:?} {fault}")))?;
                write(place, move |tx| risk::set_budget(tx, &actor, amount_minor, &note, occasion))?
            }
            Self::WriteOff { account, note, by } => {
                let actor = actor(&by.by)?;
                write(place, move |tx| risk::write_off(tx, &actor, account, &note, occasion))?
            }
        };
        out.show(&sheet, |text| show(text, &sheet))?;
        Ok(())
    }
}

fn show(text: &mut dyn Write, sheet: &RiskSheet) -> io::Result<()> {
    let cell = |minor| amount(Unit::Money(sheet.currency), minor);
    let word = if sheet.allowed { "the policy lets cards overdraw" } else { "the policy lets no card overdraw" };
    writeln!(text, "{word}; amounts in {}", sheet.currency)?;
    if sheet.recovers {
        let waited: Vec<String> = sheet.waited_for.iter().map(|at| format!("{}-{}", at.store, at.epoch)).collect();
        let from = if waited.is_empty() { "a person".to_owned() } else { waited.join(", ") };
        writeln!(text, "head office was restored and waits for {from}: lines and debts are those that it remembers")?;
    }
    let figures = [
        ("budget", sheet.budget_minor),
        ("with no store", sheet.free_minor),
        ("of that kept, as it goes back to accounts", sheet.reserved_minor),
        ("with stores, drawn or not", sheet.granted_minor),
        ("drawn, by reports", sheet.used_minor),
        ("recovered", sheet.recovered_minor),
        ("written off", sheet.written_off_minor),
        ("still owed, by journals", sheet.owed_minor),
        ("could be drawn now", sheet.drawable_minor),
        ("exposure", sheet.exposure_minor),
    ];
    let rows: Vec<Vec<String>> = figures.iter().map(|&(what, minor)| vec![what.to_owned(), cell(minor)]).collect();
    table(text, &["risk account", ">amount"], &rows)?;
    let rows: Vec<Vec<String>> = sheet
        .lines
        .iter()
        .map(|line| {
            let epoch = format!("{}-{}{}", line.store, line.epoch, if line.ended { " (ended)" } else { "" });
            let figures = [line.target_minor, line.granted_minor, line.used_minor, line.left_minor, line.waiting_minor];
            std::iter::once(epoch).chain(figures.map(cell)).collect()
        })
        .collect();
    table(text, &["store", ">line", ">granted", ">drawn", ">left", ">waits"], &rows)?;
    let rows: Vec<Vec<String>> = sheet
        .debts
        .iter()
        .map(|debt| {
            let recovered_minor = debt.debt.recovered_minor.saturating_sub(debt.debt.released_minor);
            let Debt { drawn_minor, back_minor, written_off_minor, .. } = debt.debt;
            let figures =
                [debt.owed_minor, drawn_minor, back_minor, recovered_minor, debt.excess_minor, written_off_minor];
            std::iter::once(debt.account.to_string()).chain(figures.map(cell)).collect()
        })
        .collect();
    table(text, &[">account", ">owes", ">drawn", ">back", ">recovered", ">too much", ">written off"], &rows)?;
    for decision in &sheet.decisions {
        let of =
            decision.account.map_or_else(|| "budget".to_owned(), |account| format!("write-off of account {account}"));
        let (by, at, note) = (&decision.asked_by, decision.asked_at_ms, &decision.asked_note);
        let amount = cell(decision.amount_minor);
        writeln!(text, "decision {}: {of}, {amount}, asked for by {by} at {at}: {note}", decision.number)?;
        match (&decision.decided_by, decision.decided_at_ms) {
            (Some(by), Some(at)) => writeln!(text, "  decided by {by} at {at}: {}", decision.decided_note)?,
            _ => writeln!(text, "  waits for a second person, who says the same")?,
        }
    }
    Ok(())
}
