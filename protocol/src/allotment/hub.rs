//! The hub's side: what it may grant, from what the stores reported.

use serde::{Deserialize, Serialize};

use super::rule::{Care, Rule};
use super::{Refusal, Side, StoreCounters, positive, raise};

/// The hub's own counters of one account and unit, over all stores and epochs. Each only rises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pool {
    /// Put on at the hub: opening balances, corrections, web loads.
    pub loaded_minor: i64,
    /// Taken off at the hub: cash-outs, corrections.
    pub spent_minor: i64,
    /// Σ `granted` over all lines.
    pub granted_minor: i64,
    /// Σ `released` seen over all lines.
    pub released_minor: i64,
}

impl Pool {
    /// `loaded − spent + released − granted`: what may be granted.
    #[must_use]
    pub fn free(&self) -> i128 {
        i128::from(self.loaded_minor) - i128::from(self.spent_minor) + i128::from(self.released_minor)
            - i128::from(self.granted_minor)
    }

    /// What may be granted, in minor units.
    #[must_use]
    pub fn free_minor(&self) -> i64 {
        i64::try_from(self.free()).unwrap_or(i64::MAX)
    }
}

/// What the hub knows of one purse at one store in one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Line {
    /// Granted to the store: the hub writes it.
    pub granted_minor: i64,
    /// What the store reported last.
    pub seen: StoreCounters,
}

impl Line {
    /// What the store could spend when it has all that was granted, as far as the hub knows.
    #[must_use]
    pub fn held(&self) -> i128 {
        StoreCounters { adopted_minor: self.granted_minor, ..self.seen }.available()
    }
}

/// The state of the hub for one purse and one of its lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HubSide {
    /// Over all stores.
    pub pool: Pool,
    /// For the store that the event concerns.
    pub line: Line,
}

/// What can happen at the hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HubEvent {
    /// Value is put on at the hub.
    Load {
        /// Above zero.
        amount_minor: i64,
    },
    /// Value is taken off at the hub.
    Spend {
        /// Above zero, at most what is free.
        amount_minor: i64,
    },
    /// Value is granted to the store of the line. Commit before sending.
    Grant {
        /// Above zero, at most what is free.
        amount_minor: i64,
    },
    /// The store reported its totals, in any order and any number of times.
    Report {
        /// The store's counters at one instant.
        counters: StoreCounters,
    },
    /// The first report that a hub takes after it was restored from a backup: what the store adopted proves grants that the hub forgot. Only while the
    /// hub recovers (see `crate::tenure`), as the pool may be below nothing until all have reported.
    ///
    /// Any `adopted` is believed, as nobody else knows what the forgotten life granted. That is sound: what is believed counts as granted in the same step,
    /// so that the pool and what the store is held to have rise together by no more than the store says was loaded there, as with a plain report.
    Recover {
        /// The store's counters at one instant.
        counters: StoreCounters,
    },
}

impl HubSide {
    fn lowered_by(&self, amount_minor: i64, is_checked: bool) -> Result<(), Refusal> {
        let needed_minor = positive(amount_minor)?;
        if is_checked && self.pool.free() < i128::from(needed_minor) {
            return Err(Refusal::Insufficient { available_minor: self.pool.free_minor(), needed_minor });
        }
        Ok(())
    }

    fn reported<C: Care>(&self, care: &C, counters: StoreCounters) -> Result<Self, Refusal> {
        for amount_minor in
            [counters.adopted_minor, counters.loaded_minor, counters.spent_minor, counters.released_minor]
        {
            if amount_minor < 0 {
                return Err(Refusal::Amount { amount_minor });
            }
        }
        if care.keeps(Rule::AdoptedWithinGrant) && counters.adopted_minor > self.line.granted_minor {
            return Err(Refusal::AdoptedBeyondGrant {
                adopted_minor: counters.adopted_minor,
                granted_minor: self.line.granted_minor,
            });
        }
        if C::SOUND && counters.available() < 0 {
            let available_minor = i64::try_from(counters.available()).unwrap_or(i64::MIN);
            return Err(Refusal::Overdrawn { available_minor });
        }
        if !care.keeps(Rule::ReportsAreTotals) {
            let mut next = *self;
            next.pool.released_minor = next.pool.released_minor.saturating_add(counters.released_minor);
            next.line.seen = counters;
            return Ok(next);
        }
        if self.line.seen.covers(&counters) {
            return Ok(*self); // An older report that was overtaken, or the same again.
        }
        if !counters.covers(&self.line.seen) {
            return Err(Refusal::Diverged);
        }
        let mut next = *self;
        next.line.seen = counters;
        let risen_minor = counters.released_minor - self.line.seen.released_minor;
        next.pool.released_minor = self.pool.released_minor.checked_add(risen_minor).ok_or(Refusal::Overflow)?;
        Ok(next)
    }
}

impl HubSide {
    fn recovered<C: Care>(&self, care: &C, counters: StoreCounters) -> Result<Self, Refusal> {
        let mut next = *self;
        let forgotten_minor = counters.adopted_minor.saturating_sub(self.line.granted_minor).max(0);
        next.line.granted_minor = self.line.granted_minor.checked_add(forgotten_minor).ok_or(Refusal::Overflow)?;
        next.pool.granted_minor = self.pool.granted_minor.checked_add(forgotten_minor).ok_or(Refusal::Overflow)?;
        next.reported(care, counters)
    }
}

impl Side for HubSide {
    type Event = HubEvent;

    fn apply<C: Care>(&self, care: &C, event: HubEvent) -> Result<Self, Refusal> {
        let mut next = *self;
        match event {
            HubEvent::Load { amount_minor } => next.pool.loaded_minor = raise(self.pool.loaded_minor, amount_minor)?,
            HubEvent::Spend { amount_minor } => {
                self.lowered_by(amount_minor, care.keeps(Rule::HubSpendWithinPool))?;
                next.pool.spent_minor = raise(self.pool.spent_minor, amount_minor)?;
            }
            HubEvent::Grant { amount_minor } => {
                self.lowered_by(amount_minor, care.keeps(Rule::GrantWithinPool))?;
                next.pool.granted_minor = raise(self.pool.granted_minor, amount_minor)?;
                next.line.granted_minor = raise(self.line.granted_minor, amount_minor)?;
            }
            HubEvent::Report { counters } => next = self.reported(care, counters)?,
            HubEvent::Recover { counters } => next = self.recovered(care, counters)?,
        }
        if next.pool.free() > i128::from(i64::MAX) {
            return Err(Refusal::Overflow);
        }
        // Only forgotten grants can bring it below nothing, and while it is, nothing is granted.
        let recovers = matches!(event, HubEvent::Recover { .. }) || self.pool.free() < 0;
        assert!(!C::SOUND || recovers || next.pool.free() >= 0, "I1: the pool never falls below nothing");
        assert!(
            !C::SOUND || next.line.granted_minor >= next.line.seen.adopted_minor,
            "nothing is adopted that was not granted"
        );
        Ok(next)
    }
}
