//! `huitong-hub account`.

use clap::Subcommand;
use huitong_protocol::card::CardNumber;
use huitong_protocol::id::AccountId;
use huitong_protocol::money::Money;
use huitong_protocol::unit::Unit;
use serde::Serialize;

use super::output::table;
use super::{Failure, Output, Place, World, card};
use crate::account::{self, AccountError, AccountView};
use crate::hot::{self, HotCard, Lately};
use crate::store::engine::Tx;
use crate::store::organisation;

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Show an account: balance, where it lies, and whose lots it consists of.
    Show {
        /// A card's number, or the account's.
        card_or_account: String,
    },
}

impl AccountCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let Self::Show { card_or_account } = self;
        let now = world.now();
        let asked = card_or_account.clone();
        let found = place.open()?.read_blocking(move |tx| match find(tx, &asked)? {
            Some(account) => {
                let Some(view) = account::show(tx, account)? else { return Ok(None) };
                Ok(Some(Sheet { view, stopped: hot::of_account(tx, &Lately::default(), account, now)? }))
            }
            None => Ok(None),
        });
        let sheet = match found {
            Ok(Some(sheet)) => sheet,
            Ok(None) => {
                return Err(Failure::Refused(
                    "no card or account has this number\n  hint: look at the number again, or import the card"
                        .to_owned(),
                ));
            }
            Err(AccountError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(Failure::Failed(error.into())),
        };
        out.show(&sheet, |text| {
            show(text, &sheet.view)?;
            sheet.stopped.iter().try_for_each(|stopped| {
                writeln!(text)?;
                card::show_exposure(text, stopped)
            })
        })?;
        Ok(())
    }
}

/// An account, and what can still be taken with those of its cards that are stopped.
#[derive(Serialize)]
struct Sheet {
    #[serde(flatten)]
    view: AccountView,
    stopped: Vec<HotCard>,
}

/// A card's number first: account numbers are shorter than any card's.
pub(super) fn find(tx: &mut Tx<'_>, asked: &str) -> Result<Option<AccountId>, AccountError> {
    if let Ok(number) = CardNumber::new(asked)
        && let Some(card) = organisation::card(tx, &number)?
    {
        return Ok(Some(card.account));
    }
    Ok(asked.parse::<i64>().ok().and_then(|number| AccountId::new(number).ok()))
}

/// Reads the number of an account.
pub(super) fn account_of(text: &str) -> Result<AccountId, String> {
    let number: i64 = text.parse().map_err(|_| "is no number of an account".to_owned())?;
    AccountId::new(number).map_err(|why| why.to_string())
}

/// An amount of a unit, with the unit.
pub(super) fn amount_in(unit: Unit, minor: i64) -> String {
    format!("{} {unit}", amount(unit, minor))
}

pub(super) fn amount(unit: Unit, minor: i64) -> String {
    match unit {
        Unit::Money(currency) => Money { minor, currency }.decimal(),
        Unit::Points => minor.to_string(),
    }
}

fn show(text: &mut dyn std::io::Write, view: &AccountView) -> std::io::Result<()> {
    writeln!(text, "account {}", view.account)?;
    for card in &view.cards {
        writeln!(text, "card    {} {} {}", card.number.reveal(), card.product, card.status)?;
    }
    let unit = view.purses.iter().map(|purse| purse.unit).find(|unit| *unit != Unit::Points);
    for purse in &view.purses {
        writeln!(
            text,
            "\n{}: {} by the stores' reports, {} of it in the hub's pool",
            purse.unit,
            amount(purse.unit, purse.balance_minor),
            amount(purse.unit, purse.free_minor)
        )?;
        let rows: Vec<Vec<String>> = purse
            .stores
            .iter()
            .map(|line| {
                let cell = |minor| amount(purse.unit, minor);
                vec![
                    line.store.to_string(),
                    line.epoch.to_string(),
                    cell(line.held_minor),
                    cell(line.suspense_minor),
                    line.last_seen_ms.map_or_else(String::new, |at| at.to_string()),
                    cell(line.granted_minor),
                    cell(line.seen.adopted_minor),
                    cell(line.seen.loaded_minor),
                    cell(line.seen.spent_minor),
                    cell(line.seen.released_minor),
                ]
            })
            .collect();
        if !rows.is_empty() {
            table(
                text,
                &[
                    "store",
                    ">epoch",
                    ">may spend",
                    ">in suspense",
                    "last heard",
                    ">granted",
                    ">adopted",
                    ">loaded",
                    ">spent",
                    ">released",
                ],
                &rows,
            )?;
        }
    }
    let money = |minor: i64| unit.map_or_else(|| minor.to_string(), |unit| amount(unit, minor));
    writeln!(
        text,
        "\nby the journals: {} ({} principal, {} bonus), home {}",
        money(view.journal_balance_minor),
        money(view.principal_minor),
        money(view.bonus_minor),
        view.home
    )?;
    let rows: Vec<Vec<String>> = view
        .lots
        .iter()
        .map(|lot| {
            vec![
                lot.no.to_string(),
                lot.business_day.to_string(),
                lot.owner.to_string(),
                lot.kind.as_str().to_owned(),
                lot.origin.to_string(),
                money(lot.amount_minor),
                money(lot.remaining_minor),
                lot.opened.entry.to_string(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        table(text, &[">lot", "day", "owner", "kind", "origin", ">amount", ">left", "entry"], &rows)?;
    }
    for draw in &view.unattributed {
        writeln!(
            text,
            "{} of {} on {} waits for the load that it came from",
            money(draw.amount_minor),
            draw.kind,
            draw.business_day
        )?;
    }
    Ok(())
}
