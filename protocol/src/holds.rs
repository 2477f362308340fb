//! Holds, proved from a journal: each ends at most once, pays no more than it set aside, and pays from its own account.
//!
//! A hold is a promise of its store alone, so nobody else can refuse one; head office looks afterwards. Deliberately not here: when a hold is over by the
//! clock, which only its store knows. Invariant: the first entry that ends a hold ends it, whatever is wrong with that entry, and each entry that
//! follows is a fault.

use std::fmt;

use crate::entry::{Body, HoldEnd, Sale};
use crate::id::{AccountId, EntryId, OperationId};
use crate::money::Currency;
use crate::movement::MovementKind;
use crate::unit::Unit;

/// A hold as its journal placed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// By which entry.
    pub entry: EntryId,
    /// Of what.
    pub account: AccountId,
    /// The currency of the amount.
    pub currency: Currency,
    /// How much.
    pub amount_minor: i64,
    /// The entry that ended it first.
    pub ended_by: Option<EntryId>,
}

impl Placed {
    /// The hold that an entry places.
    #[must_use]
    pub fn by(entry: EntryId, body: &Body) -> Option<Self> {
        let Body::Hold(hold) = body else { return None };
        let (account, currency, amount_minor) = (hold.account, hold.currency, hold.amount_minor);
        Some(Self { entry, account, currency, amount_minor, ended_by: None })
    }
}

/// How an entry ends a hold.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    /// Unused.
    Unused(&'a HoldEnd),
    /// By the sale that it paid, at this tender line.
    Captured(&'a Sale, usize),
}

/// The holds that an entry ends, in order.
pub fn endings(body: &Body) -> impl Iterator<Item = (OperationId, Ending<'_>)> {
    let unused = match body {
        Body::HoldEnd(end) => Some((end.hold, Ending::Unused(end))),
        _ => None,
    };
    let sale = match body {
        Body::Sale(sale) => Some(sale),
        _ => None,
    };
    let captured = sale.into_iter().flat_map(|sale| {
        let lines = sale.tenders.iter().enumerate();
        lines.filter_map(move |(index, line)| Some((line.hold?, Ending::Captured(sale, index))))
    });
    unused.into_iter().chain(captured)
}

/// What is wrong with the end of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The journal placed no such hold.
    Unknown,
    /// It was ended before.
    EndedBefore(EntryId),
    /// It ends with another amount than it has, or pays more.
    Amount {
        /// What it set aside.
        held_minor: i64,
        /// What the end says.
        found_minor: i64,
    },
    /// The end names another account, currency or entry, or what was paid was not taken from the account.
    Account(AccountId),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no entry before it in the journal placed it"),
            Self::EndedBefore(entry) => write!(f, "entry {entry} had ended it"),
            Self::Amount { held_minor, found_minor } => write!(f, "it held {held_minor}, and ends with {found_minor}"),
            Self::Account(account) => {
                write!(
                    f,
                    "it was of account {account}, and the entry names another account, currency or entry, or takes nothing off that account"
                )
            }
        }
    }
}

/// What is wrong with an end of a hold that the journal placed, if it did. Nothing of an honest store.
#[must_use]
pub fn judge(placed: Option<&Placed>, ending: &Ending<'_>) -> Option<Fault> {
    let Some(placed) = placed else { return Some(Fault::Unknown) };
    if let Some(before) = placed.ended_by {
        return Some(Fault::EndedBefore(before));
    }
    let amount = |found_minor| Fault::Amount { held_minor: placed.amount_minor, found_minor };
    match ending {
        Ending::Unused(end) => {
            if (end.of, end.account, end.currency) != (placed.entry, placed.account, placed.currency) {
                return Some(Fault::Account(placed.account));
            }
            (end.amount_minor != placed.amount_minor).then(|| amount(end.amount_minor))
        }
        Ending::Captured(sale, index) => {
            let line = sale.tenders.get(*index)?;
            if line.amount_minor > placed.amount_minor {
                return Some(amount(line.amount_minor));
            }
            let is_paid = sale.currency == placed.currency && spent(sale, placed) >= captured(sale, *index);
            (!is_paid).then_some(Fault::Account(placed.account))
        }
    }
}

/// What a sale took off the account of a hold.
fn spent(sale: &Sale, placed: &Placed) -> i128 {
    let unit = Unit::Money(placed.currency);
    let of = sale
        .movements
        .iter()
        .filter(|moved| (moved.account, moved.unit, moved.kind) == (placed.account, unit, MovementKind::Spend));
    of.map(|moved| i128::from(moved.amount_minor)).sum()
}

/// What all holds paid that were shown with the card of a tender line: they are of one account.
fn captured(sale: &Sale, index: usize) -> i128 {
    let card = sale.tenders[index].card;
    let of = sale.tenders.iter().filter(|line| line.hold.is_some() && line.card == card);
    of.map(|line| i128::from(line.amount_minor)).sum()
}
