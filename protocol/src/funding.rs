//! Funding: who bears the discounts of what was sold, as rows read from one entry alone.
//!
//! A sale charges the funders of its discounts and markdowns, a void gives all of it back, a return the part of what came back. Whoever funds owes the
//! store that *sold*: a return taken at another store reverses there, where revenue reverses too, and the entry it names says which store that was. A
//! store that funds its own discount owes nobody; its rows are kept, because it asks what its own reductions cost it. A return without a receipt
//! names no sale and gives nothing back. Nothing is summed over entries here (see [`crate::settlement::funding`]).
//!
//! Invariant: over a sale and all that undoes it, whatever the parts and their order, each funder's rows come to zero.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::entry::{Body, Header};
use crate::id::{IdError, StoreId};
use crate::money::{Currency, MoneyError};
use crate::party::Party;
use crate::pricing::FundedPart;
use crate::settlement::leg::{LegKey, LegKind};
use crate::settlement::store_party;
use crate::till::{AMOUNT_MINOR_MAX, LINES_MAX};
use crate::time::BusinessDay;

/// The most that one funder can bear of one entry: every line of the longest basket for nothing. A store can write no more, and sums stay far from 64 bits.
pub const FUNDED_MINOR_MAX: i64 = 1_000 * AMOUNT_MINOR_MAX;
const _: () = assert!(LINES_MAX == 1_000, "the longest basket has so many lines");

/// What the entry was that somebody bears discounts of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FundingKind {
    /// Goods were sold: the funder owes the store.
    Sale,
    /// The sale was undone: the store owes it back.
    Void,
    /// Goods came back: the store owes their part back.
    Return,
}

impl FundingKind {
    /// All kinds.
    pub const ALL: &[Self] = &[Self::Sale, Self::Void, Self::Return];

    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Void => "void",
            Self::Return => "return",
        }
    }
}

impl fmt::Display for FundingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FundingKind {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let found = Self::ALL.iter().copied().find(|kind| kind.as_str() == text);
        found.ok_or(IdError::Form { expected: "a kind of funding: sale, void or return" })
    }
}

/// What one funder bears of one entry, all its lines together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funding {
    /// The business day of the entry.
    pub business_day: BusinessDay,
    /// The store that sold.
    pub seller: StoreId,
    /// Who bears it.
    pub funder: Party,
    /// Whether it is charged or given back.
    pub kind: FundingKind,
    /// In which currency.
    pub currency: Currency,
    /// How much, above zero; the sign is in the kind.
    pub amount_minor: i64,
}

impl Funding {
    /// The leg that it belongs to, which is of no account.
    #[must_use]
    pub fn leg_key(&self) -> LegKey {
        let Self { business_day, seller, funder, kind, currency, amount_minor: _ } = *self;
        let seller = store_party(seller);
        let (kind, debtor, creditor) = match kind {
            FundingKind::Sale => (LegKind::DiscountFunding, funder, seller),
            FundingKind::Void | FundingKind::Return => (LegKind::DiscountFundingBack, seller, funder),
        };
        LegKey { account: None, business_day, kind, debtor, creditor, currency }
    }

    /// The amount with its sign: above zero where the funder is charged.
    #[must_use]
    pub const fn signed_minor(&self) -> i64 {
        match self.kind {
            FundingKind::Sale => self.amount_minor,
            FundingKind::Void | FundingKind::Return => -self.amount_minor,
        }
    }
}

/// Why nobody can be charged by an entry. No till makes such a one, but bytes may say anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FundingError {
    /// It belongs to no day.
    #[error("header.business_day: is missing, and somebody bears discounts of the entry")]
    Day,
    /// A part that is negative, or a sum that no basket can have.
    #[error("discounts: what {funder} bears is negative in a line, or more than {FUNDED_MINOR_MAX} in all")]
    Amount {
        /// Who.
        funder: Party,
    },
}

/// Who bears how much of an entry, in the order of parties. Kinds of entries that nobody funds give none.
///
/// # Errors
/// [`FundingError`].
pub fn of_entry(header: &Header, body: &Body) -> Result<Vec<Funding>, FundingError> {
    let (kind, seller, currency, parts): (_, _, _, Box<dyn Iterator<Item = FundedPart>>) = match body {
        Body::Sale(sale) => {
            let store = header.store;
            let borne = sale.lines.iter().flat_map(move |line| line.borne(store));
            (FundingKind::Sale, store, sale.currency, Box::new(borne))
        }
        Body::Void(void) => (FundingKind::Void, void.of.store, void.currency, Box::new(void.funded.iter().copied())),
        Body::Return(back) => {
            let funded = back.lines.iter().flat_map(|line| line.funded.iter().copied());
            (FundingKind::Return, back.of.store, back.currency, Box::new(funded))
        }
        _ => return Ok(Vec::new()),
    };
    let mut sums: BTreeMap<Party, i64> = BTreeMap::new();
    for FundedPart { party: funder, amount_minor } in parts {
        let sum = sums.entry(funder).or_insert(0);
        let fits = sum.checked_add(amount_minor).filter(|sum| amount_minor >= 0 && *sum <= FUNDED_MINOR_MAX);
        *sum = fits.ok_or(FundingError::Amount { funder })?;
    }
    sums.retain(|_, amount_minor| *amount_minor > 0);
    if sums.is_empty() {
        return Ok(Vec::new());
    }
    let business_day = header.business_day.ok_or(FundingError::Day)?;
    let row = |(funder, amount_minor)| Funding { business_day, seller, funder, kind, currency, amount_minor };
    Ok(sums.into_iter().map(row).collect())
}

/// Parts of the same party as one, in the order of parties; parts of nothing are left out.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn by_party(parts: impl IntoIterator<Item = FundedPart>) -> Result<Vec<FundedPart>, MoneyError> {
    let mut sums: BTreeMap<Party, i64> = BTreeMap::new();
    for FundedPart { party, amount_minor } in parts {
        let sum = sums.entry(party).or_insert(0);
        *sum = sum.checked_add(amount_minor).ok_or(MoneyError::Overflow)?;
    }
    let kept = sums.into_iter().filter(|&(_, amount_minor)| amount_minor > 0);
    Ok(kept.map(|(party, amount_minor)| FundedPart { party, amount_minor }).collect())
}
