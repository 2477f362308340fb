//! The pool scheme: the hub is everybody's counterparty, so a store's position never depends on whose money was spent.
//!
//! Value that enters is owed to the hub by whoever received cash or goods for it; value that leaves is owed by the hub to whoever gave cash
//! or goods. What the hub gives or takes itself moves nothing between parties. An opening balance makes no leg: the hub holds that float already.

use crate::party::Party;

/// Debtor and creditor of value that a source put onto an account.
pub(super) fn entered(source: Party) -> Option<(Party, Party)> {
    (source != Party::Hub).then_some((source, Party::Hub))
}

/// Debtor and creditor of value that a taker took off an account.
pub(super) fn left(taker: Party) -> Option<(Party, Party)> {
    (taker != Party::Hub).then_some((Party::Hub, taker))
}
