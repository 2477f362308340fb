//! The store's side: what it may spend here, now, with or without a line.

use serde::{Deserialize, Serialize};

use super::rule::{Care, Rule};
use super::{Refusal, Side, positive, raise};

/// The four counters that a store writes for one purse in one epoch. Each only rises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreCounters {
    /// The largest `granted` the store has stored.
    pub adopted_minor: i64,
    /// Put on here: card sales, reloads, returns, voids of spends.
    pub loaded_minor: i64,
    /// Taken off here: spends, voids of loads.
    pub spent_minor: i64,
    /// Given back to the hub's pool.
    pub released_minor: i64,
}

/// What can happen at a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreEvent {
    /// Value is put on, also offline; it is spendable here at once.
    Load {
        /// Above zero.
        amount_minor: i64,
    },
    /// Value is taken off.
    Spend {
        /// Above zero, at most what is available.
        amount_minor: i64,
    },
    /// A grant arrived: the hub's cumulative total, in any order and any number of times.
    Adopt {
        /// The hub's `granted`, not a difference.
        granted_minor: i64,
    },
    /// Value is given back to the pool.
    Release {
        /// Above zero, at most what is available.
        amount_minor: i64,
    },
}

impl StoreCounters {
    /// `adopted + loaded − spent − released`. Computed in 128 bits, so that counters from anywhere can be judged.
    #[must_use]
    pub fn available(&self) -> i128 {
        i128::from(self.adopted_minor) + i128::from(self.loaded_minor)
            - i128::from(self.spent_minor)
            - i128::from(self.released_minor)
    }

    /// What may be spent here, in minor units.
    #[must_use]
    pub fn available_minor(&self) -> i64 {
        i64::try_from(self.available()).unwrap_or(i64::MAX)
    }

    /// What may be released and still leave `park_minor` here.
    #[must_use]
    pub fn releasable_minor(&self, park_minor: i64) -> i64 {
        self.available_minor().saturating_sub(park_minor.max(0)).max(0)
    }

    /// Whether every counter is at least that of `earlier`.
    #[must_use]
    pub fn covers(&self, earlier: &Self) -> bool {
        self.adopted_minor >= earlier.adopted_minor
            && self.loaded_minor >= earlier.loaded_minor
            && self.spent_minor >= earlier.spent_minor
            && self.released_minor >= earlier.released_minor
    }

    fn lowered_by(&self, amount_minor: i64, is_checked: bool) -> Result<(), Refusal> {
        let needed_minor = positive(amount_minor)?;
        if is_checked && self.available() < i128::from(needed_minor) {
            return Err(Refusal::Insufficient { available_minor: self.available_minor(), needed_minor });
        }
        Ok(())
    }
}

impl Side for StoreCounters {
    type Event = StoreEvent;

    fn apply<C: Care>(&self, care: &C, event: StoreEvent) -> Result<Self, Refusal> {
        let mut next = *self;
        match event {
            StoreEvent::Load { amount_minor } => next.loaded_minor = raise(self.loaded_minor, amount_minor)?,
            StoreEvent::Spend { amount_minor } => {
                self.lowered_by(amount_minor, care.keeps(Rule::SpendWithinHolding))?;
                next.spent_minor = raise(self.spent_minor, amount_minor)?;
            }
            StoreEvent::Release { amount_minor } => {
                self.lowered_by(amount_minor, care.keeps(Rule::ReleaseWithinHolding))?;
                next.released_minor = raise(self.released_minor, amount_minor)?;
            }
            StoreEvent::Adopt { granted_minor } => {
                if granted_minor < 0 {
                    return Err(Refusal::Amount { amount_minor: granted_minor });
                }
                let as_part = || self.adopted_minor.checked_add(granted_minor).ok_or(Refusal::Overflow);
                let is_total = care.keeps(Rule::GrantsAreTotals);
                next.adopted_minor = if is_total { self.adopted_minor.max(granted_minor) } else { as_part()? };
            }
        }
        // What is available must itself fit, else a later check could not name it.
        if next.available() > i128::from(i64::MAX) {
            return Err(Refusal::Overflow);
        }
        assert!(!C::SOUND || next.available() >= 0, "I1: a store never has less than nothing");
        assert!(next.covers(self), "counters only rise");
        Ok(next)
    }
}
