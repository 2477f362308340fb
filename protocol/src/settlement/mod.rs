//! Settlement: who owes whom because value that was loaded at one store is spent at another. A pure fold, the same at the hub and in replay.
//!
//! `movements → fold → legs → run (new − old) → netting → payments`, and from a run's lines the statements. One file per noun; one per scheme.
//! No statement is rendered here (see [`crate::statement`]) and nothing is stored.
//!
//! Invariants: legs sum to zero over all parties, per currency and business day; the fold of an account depends on the set of its movements
//! only, never on when they arrived; lots less what is unattributed equal the balance; same cut, scheme and agreement give the same legs.
//!
//! # Decisions
//! - **Return at another store** (restore): the sale is reversed at the store that made it, which owes the value back to whoever stands for the
//!   drawn lots, and gets its fee back. The store that took the goods is its agent: no money leg, as it neither sold nor was paid; an informational
//!   leg at the agent lists the worth of goods it holds for the seller. A chain of two legs through the agent would have the same nets and a higher gross.
//! - **Void of a spend** restores under every agreement; only returns follow `return_lots`.
//! - **Bonus** stands behind the hub in every scheme, and the loading store owes the hub its share. So the hub's legs are the same in all three, and so
//!   are the nets once the card liability is back to zero.
//! - **Funding of discounts** has legs of no account: whoever bears a discount owes the store that sold, alike in every scheme, and is owed by it what
//!   comes back. A store's own discounts are informational.
//! - **Overdraft**: the risk account owes the accepting store what was drawn from it, alike in every scheme; its budget is owed to nobody. What is collected
//!   from the account later is value that left it, taken by the risk account.
//! - **Fees** round half-up per movement of an account; reversals and claw-backs are cumulative.
//! - **Too little of a kind**: cash-out takes principal first and bonus only where principal is short, forfeit the reverse, so that nothing waits for a lot while any lot
//!   holds something.

pub mod agreement;
mod fifo;
pub mod fold;
pub mod funding;
#[cfg(test)]
mod golden;
mod home;
pub mod leg;
pub mod lot;
pub mod netting;
mod pool;
#[cfg(test)]
mod properties;
pub mod run;
#[cfg(test)]
pub(crate) mod testing;

use crate::id::StoreId;
use crate::party::Party;

/// The party that a journal belongs to: a store, or the hub for head office's own.
#[must_use]
pub fn store_party(store: StoreId) -> Party {
    if store == StoreId::HUB { Party::Hub } else { Party::Store(store) }
}
