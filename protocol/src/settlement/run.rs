//! A run: legs computed once more, and what they changed since the last run that was closed.
//!
//! A run is defined by its cut of accepted entries, scheme, agreement and code version. Its lines are new − old per key over the accounts touched
//! since; a line of a day that an earlier run had covered is an adjustment and names that day. Nothing here stores a run or decides that one is due.
//!
//! Invariants: the lines of all runs of a scheme, summed per key, are the fold of all movements, however arrival was cut into runs; a closed
//! run never changes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Hash;
use crate::money::Currency;
use crate::party::Party;
use crate::settlement::agreement::Scheme;
use crate::settlement::leg::Leg;
use crate::time::{BusinessDay, Instant};

/// The number of a run, from 1, minted by the hub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a run moves the books.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does: later runs build on it.
    Booked,
    /// It shows what another scheme would give.
    Memo,
}

impl Standing {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Memo => "memo",
        }
    }
}

/// Whether every store's days had been accepted when the run was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// Some store was missing; what it brings later is an adjustment.
    Provisional,
    /// All days of the range had been accepted.
    Final,
}

impl Finality {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisional => "provisional",
            Self::Final => "final",
        }
    }
}

/// What defines a run and what it covers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Its scheme.
    pub scheme: Scheme,
    /// Its currency.
    pub currency: Currency,
    /// Whether it moves the books.
    pub standing: Standing,
    /// Whether all days had been accepted.
    pub finality: Finality,
    /// The last accepted entry that it saw.
    pub cut_ingested_no: i64,
    /// The fingerprint of the agreement's versions.
    pub agreements: Hash,
    /// The version of the code that computed it.
    pub code_version: String,
    /// The first business day that no earlier run had covered.
    pub day_from: BusinessDay,
    /// The last business day it covers.
    pub day_to: BusinessDay,
    /// When it was made, as recorded with it; renderings take their time from here.
    pub prepared_at_ms: Instant,
}

/// Whether a line belongs to the days of its run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineClass {
    /// Of a day that the run covers first.
    Regular,
    /// Of a day that an earlier run had covered.
    Adjustment,
}

impl LineClass {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Adjustment => "adjustment",
        }
    }
}

impl Run {
    /// Whether a line of a business day is this run's own or an adjustment.
    #[must_use]
    pub fn class_of(&self, day: BusinessDay) -> LineClass {
        if day < self.day_from { LineClass::Adjustment } else { LineClass::Regular }
    }
}

/// Legs that cannot be compared or do not sum to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Legs are not sorted by key, each key once.
    #[error("leg {index} does not follow the one before it in the order of keys")]
    Order {
        /// Index, from 0.
        index: usize,
    },
    /// A sum does not fit.
    #[error("a sum does not fit in 64 bits")]
    Overflow,
    /// Positions that do not sum to zero.
    #[error("the positions of {business_day} in {currency} sum to {sum_minor}, not to zero")]
    NotZero {
        /// The currency.
        currency: Currency,
        /// The business day.
        business_day: BusinessDay,
        /// What they sum to.
        sum_minor: i64,
    },
}

/// What changed between two cumulative states: new − old per key, zero differences left out. Both must be sorted by key, each key once, as a fold
/// gives them.
///
/// # Errors
/// [`RunError::Order`] when they are not; [`RunError::Overflow`].
pub fn delta(previous: &[Leg], current: &[Leg]) -> Result<Vec<Leg>, RunError> {
    check_sorted(previous)?;
    check_sorted(current)?;
    let (mut old, mut new) = (previous.iter().peekable(), current.iter().peekable());
    let mut lines = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Ok(lines),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.key().cmp(&new.key()),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let amount = |leg: Option<&Leg>| leg.map_or(0, |leg| leg.amount_minor);
        let difference = amount(after).checked_sub(amount(before)).ok_or(RunError::Overflow)?;
        if let (Some(leg), true) = (after.or(before), difference != 0) {
            lines.push(Leg::of(leg.key(), difference));
        }
    }
}

fn check_sorted(legs: &[Leg]) -> Result<(), RunError> {
    let fault = legs.windows(2).position(|pair| pair[0].key() >= pair[1].key());
    fault.map_or(Ok(()), |index| Err(RunError::Order { index: index + 1 }))
}

/// What each party is to receive (above zero) or pay (below), per currency and business day.
pub type DailyPositions = BTreeMap<(Currency, BusinessDay, Party), i64>;

/// Positions of legs; informational ones count for nothing.
///
/// # Errors
/// [`RunError::Overflow`].
pub fn daily_positions<'a>(legs: impl IntoIterator<Item = &'a Leg>) -> Result<DailyPositions, RunError> {
    let mut positions = DailyPositions::new();
    for leg in legs.into_iter().filter(|leg| !leg.is_informational()) {
        for party in [leg.debtor, leg.creditor] {
            let position = positions.entry((leg.currency, leg.business_day, party)).or_insert(0);
            *position = position.checked_add(leg.effect_on(party)).ok_or(RunError::Overflow)?;
        }
    }
    Ok(positions)
}

/// Checks that positions sum to zero over all parties, per currency and business day (I6).
///
/// # Errors
/// [`RunError::NotZero`] names the first day that does not.
pub fn check_zero_sum(positions: &DailyPositions) -> Result<(), RunError> {
    let mut sums: BTreeMap<(Currency, BusinessDay), i128> = BTreeMap::new();
    for (&(currency, day, _), &amount) in positions {
        *sums.entry((currency, day)).or_insert(0) += i128::from(amount);
    }
    match sums.into_iter().find(|&(_, sum)| sum != 0) {
        None => Ok(()),
        Some(((currency, business_day), sum)) => {
            let sum_minor = i64::try_from(sum).map_err(|_| RunError::Overflow)?;
            Err(RunError::NotZero { currency, business_day, sum_minor })
        }
    }
}
