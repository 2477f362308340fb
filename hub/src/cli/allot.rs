//! `huitong-hub allot`: where value is parked overnight, and why.

use clap::Subcommand;
use huitong_protocol::money::{Currency, Money};
use huitong_protocol::parking::Allocator;

use super::{Failure, Output, Place, World};
use crate::account::AccountError;
use crate::allot::{self, Ask, Planned, Sheet};
use crate::store::parking::{Applied, Outcome, applied};
use crate::store::{Store, StoreError, root};

/// How many accounts are shown when nobody says.
const SHOWN: usize = 5;
/// How many plans are shown when nobody says.
const PLANS: u32 = 14;

#[derive(Debug, Subcommand)]
pub(crate) enum AllotCommand {
    /// Show what would be parked where, and why. Nothing is written.
    Plan {
        /// Only this account: its number, or that of one of its cards.
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Write what is to be parked where. Stores fetch it, release what is above and ask for what is below.
    Apply {
        #[command(flatten)]
        how: How,
    },
    /// The plans that were applied, the newest first: what was to be parked, and how many first baskets were within it.
    List {
        /// At most so many.
        #[arg(long, default_value_t = PLANS)]
        limit: u32,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Another allocator than the policy's.
    #[arg(long, value_name = "NAME")]
    allocator: Option<Allocator>,
    /// All accounts, not only those that moved since the plan before.
    #[arg(long)]
    everyone: bool,
    /// How many accounts are shown, those of which most is parked.
    #[arg(long, default_value_t = SHOWN, value_name = "N")]
    show: usize,
}

impl AllotCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let zone = place.load()?.value.time_zone;
        let store = place.open()?;
        let done = self.with(world, &zone, &store, out);
        store.close();
        done
    }

    fn with(self, world: &World, zone: &str, store: &Store, out: &mut Output<'_>) -> Result<(), Failure> {
        let currency = store.read_blocking(root::hub)?.currency;
        match self {
            Self::Plan { account: Some(account), how } => {
                let ask = how.ask(world, zone, store)?;
                let found = store.read_blocking(|tx| match super::account::find(tx, &account)? {
                    Some(account) => Ok(Some(allot::explain(tx, &ask, account)?)),
                    None => Ok(None),
                });
                let sheet = match found {
                    Ok(sheet) => sheet,
                    Err(AccountError::Store(error)) => return Err(error.into()),
                    Err(error) => return Err(Failure::Failed(error.into())),
                };
                let sheet = sheet.ok_or_else(|| {
                    Failure::Refused(
                        "no card or account has this number\n  hint: look at the number again, or import the card"
                            .to_owned(),
                    )
                })?;
                out.show(&sheet, |text| show_sheet(text, &sheet, currency))?;
            }
            Self::Plan { account: None, how } => {
                let planned = allot::plan(store, &how.ask(world, zone, store)?, how.show)?;
                out.show(&planned, |text| show(text, &planned, currency))?;
            }
            Self::Apply { how } => {
                let planned = allot::apply(store, &how.ask(world, zone, store)?, how.show, world.now())?;
                out.show(&planned, |text| show(text, &planned, currency))?;
            }
            Self::List { limit } => {
                let plans = store.read_blocking(move |tx| applied(tx, limit))?;
                out.show(&plans, |text| list(text, &plans, currency))?;
            }
        }
        Ok(())
    }
}

impl How {
    fn ask(&self, world: &World, zone: &str, store: &Store) -> Result<Ask, StoreError> {
        let today = crate::hub::today(zone, world.now());
        let mut rules = store.read_blocking(move |tx| allot::rules(tx, today))?;
        rules.allocator = self.allocator.unwrap_or(rules.allocator);
        Ok(Ask { rules, everyone: self.everyone, next_stores: None })
    }
}

fn decimal(minor: i64, currency: Currency) -> String {
    Money { minor, currency }.decimal()
}

/// A part of a whole in per cent, to a tenth, rounded down.
fn percent(part: u64, whole: u64) -> String {
    let per_mille = u128::from(part) * 1_000 / u128::from(whole.max(1));
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

fn show(text: &mut dyn std::io::Write, planned: &Planned, currency: Currency) -> std::io::Result<()> {
    let Outcome { accounts, targets, changed, balance_minor, parked_minor, came, covered } = planned.outcome;
    let (verb, parked) = (if planned.applied { "parked" } else { "would park" }, decimal(parked_minor, currency));
    writeln!(
        text,
        "{} {verb} {parked} of {} {} of {accounts} accounts, in {targets} places; {changed} targets changed",
        planned.allocator,
        decimal(balance_minor, currency),
        currency.code(),
    )?;
    writeln!(
        text,
        "since the plan before {came} of them came; {covered} first baskets were within what was to be parked there, {}",
        percent(covered, came)
    )?;
    for sheet in &planned.largest {
        writeln!(text)?;
        show_sheet(text, sheet, currency)?;
    }
    Ok(())
}

fn show_sheet(text: &mut dyn std::io::Write, sheet: &Sheet, currency: Currency) -> std::io::Result<()> {
    let (balance, parked) = (decimal(sheet.balance_minor, currency), decimal(sheet.parked_minor, currency));
    writeln!(text, "account {}: {parked} of {balance} {} parked", sheet.account, currency.code())?;
    for target in &sheet.targets {
        writeln!(
            text,
            "    {} at {}: {}; pays {} % of the baskets",
            decimal(target.target_minor, currency),
            target.store,
            target.prospect,
            target.covered_ppm / 10_000
        )?;
    }
    Ok(())
}

fn list(text: &mut dyn std::io::Write, plans: &[Applied], currency: Currency) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = plans
        .iter()
        .map(|plan| {
            let Outcome { accounts, changed, balance_minor, parked_minor, came, covered, .. } = plan.outcome;
            vec![
                plan.plan_no.to_string(),
                huitong_protocol::time::Instant(plan.at_ms).to_string(),
                accounts.to_string(),
                decimal(balance_minor, currency),
                decimal(parked_minor, currency),
                changed.to_string(),
                came.to_string(),
                percent(covered, came),
            ]
        })
        .collect();
    let header = [">plan", "at", ">accounts", ">balance", ">parked", ">changed", ">came", ">within their targets"];
    super::output::table(text, &header, &rows)
}
