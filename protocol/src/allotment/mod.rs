//! Allotments: how value of one account may be spent in many stores, without a line, and never be overdrawn.
//!
//! The balance of an account is split between the hub's pool and the stores. Per (account, unit, store, epoch) there are only monotone
//! cumulative counters, each with one writer: the hub writes `granted`; the store writes `loaded`, `spent`, `released` and `adopted` (the
//! largest `granted` it has stored). Messages carry totals, never differences; nothing but the store's own `released` gives value back.
//!
//! - what a store may spend: `available = adopted + loaded − spent − released ≥ 0`
//!   (of which holds set a part aside; see `Holding`)
//! - what the hub may grant: `pool = loaded − spent + Σ(released − granted) ≥ 0`
//!
//! Each is checked in the one transaction that lowers it, so Σ spends ≤ Σ loads holds whatever messages do: `pool + Σ available +
//! grants in flight + releases in flight = loads − spends` is an identity of the definitions, and none of its terms is ever negative
//! (the demarcation protocol, Barbará and Garcia-Molina 1991, with the counters of Balegas et al. 2015).
//!
//! [`step`] is the only place where a counter changes. Edge, hub and simulator load counters, call it, and store what it returned. The proof needs
//! more than arithmetic: that a store has not forgotten (`crate::continuity`) and that an epoch is lived once (`crate::tenure`).
//! Lots, bonus, draw order and expiry are not here: they are the hub's fold (`settlement::lot`).

mod holding;
mod hub;
pub mod rule;
mod session;
mod store;
mod suspense;
mod told;

pub use holding::{Holding, HoldingEvent, Term};
pub use hub::{HubEvent, HubSide, Line, Pool};
pub use session::{may_lower_pools, takes_grant, takes_report};
pub use store::{StoreCounters, StoreEvent};
pub use suspense::{Fenced, FencedEvent, Receipts, Suspense};
pub use told::{Part, Told};

use serde::{Deserialize, Serialize};

use crate::id::AccountId;
use crate::unit::Unit;
use rule::{Care, Sound};

/// What one counter belongs to, within a store and epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Purse {
    /// The account.
    pub account: AccountId,
    /// What it counts.
    pub unit: Unit,
}

/// Why a step was not taken. The counters stay as they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Less is there than is asked.
    #[error("{available_minor} is there, {needed_minor} is needed")]
    Insufficient {
        /// What is there.
        available_minor: i64,
        /// What was asked.
        needed_minor: i64,
    },
    /// An amount below zero (or zero where that makes no sense).
    #[error("the amount {amount_minor} is not above zero")]
    Amount {
        /// The amount given.
        amount_minor: i64,
    },
    /// Less is held than is to be taken of it.
    #[error("{held_minor} is held, {needed_minor} is needed")]
    NotHeld {
        /// What is held.
        held_minor: i64,
        /// What was asked.
        needed_minor: i64,
    },
    /// A counter would leave the range of 64 bits.
    #[error("a counter would overflow")]
    Overflow,
    /// A store reports to have adopted more than was ever granted: a foreign or forged message, or a hub that lost its memory.
    #[error("the store adopted {adopted_minor} of {granted_minor} granted")]
    AdoptedBeyondGrant {
        /// What the store says.
        adopted_minor: i64,
        /// What the hub wrote.
        granted_minor: i64,
    },
    /// The reported counters contradict each other: more spent and released than was there.
    #[error("the reported counters leave {available_minor} available")]
    Overdrawn {
        /// Below zero.
        available_minor: i64,
    },
    /// Some counters rose and others fell: the store's memory went back to an earlier time.
    #[error("a reported counter went backwards")]
    Diverged,
}

/// One side of the protocol: the state machine of a store or of the hub.
pub trait Side: Sized {
    /// What can happen to it.
    type Event;

    /// Applies an event; use [`step`].
    ///
    /// # Errors
    /// [`Refusal`]; the state is unchanged.
    fn apply<C: Care>(&self, care: &C, event: Self::Event) -> Result<Self, Refusal>;
}

/// The one function that changes counters, for both sides and both units.
///
/// # Errors
/// [`Refusal`] says why nothing changed.
pub fn step<S: Side>(side: &S, event: S::Event) -> Result<S, Refusal> {
    side.apply(&Sound, event)
}

/// As [`step`], for a simulation that takes a rule away.
///
/// # Errors
/// [`Refusal`] says why nothing changed.
pub fn step_with<S: Side, C: Care>(care: &C, side: &S, event: S::Event) -> Result<S, Refusal> {
    side.apply(care, event)
}

fn positive(amount_minor: i64) -> Result<i64, Refusal> {
    if amount_minor > 0 { Ok(amount_minor) } else { Err(Refusal::Amount { amount_minor }) }
}

fn raise(counter_minor: i64, amount_minor: i64) -> Result<i64, Refusal> {
    counter_minor.checked_add(positive(amount_minor)?).ok_or(Refusal::Overflow)
}

#[cfg(test)]
mod tests;
