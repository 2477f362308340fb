//! The home scheme, in its full form: the store that sold the card owes its balance for life.
//!
//! It owes whoever gives goods or cash for the balance, and is owed by whoever received cash or goods for it; its own loads and spends are
//! informational. The simple form (spends only) would leave other stores holding the home store's cash and does not exist here. While the
//! sale of the card has not arrived, unattributed stands in for the home store.

use crate::movement::{MovementKind, PostedMovement};
use crate::party::Party;
use crate::settlement::store_party;

/// The home of an account: where its first card sale was (a sale entered by head office may name the store), else the store of its first opening
/// balance, else nobody yet.
pub(super) fn home(history: &[PostedMovement]) -> Party {
    let of = |kind: MovementKind| history.iter().find(move |movement| movement.kind == kind);
    let named = |movement: &PostedMovement| match store_party(movement.entry.store) {
        Party::Hub => movement.origin_store.map_or(Party::Hub, store_party),
        store => store,
    };
    match (of(MovementKind::CardSale), of(MovementKind::Opening)) {
        (Some(sale), _) => named(sale),
        (None, Some(opening)) => named(opening),
        (None, None) => Party::Unattributed,
    }
}

/// Debtor and creditor of value that a source put onto an account.
pub(super) fn entered(home: Party, source: Party) -> Option<(Party, Party)> {
    moved(source, home)
}

/// Debtor and creditor of value that a taker took off an account.
pub(super) fn left(home: Party, taker: Party) -> Option<(Party, Party)> {
    moved(home, taker)
}

fn moved(debtor: Party, creditor: Party) -> Option<(Party, Party)> {
    ((debtor, creditor) != (Party::Hub, Party::Hub)).then_some((debtor, creditor))
}
