//! Pending points: what this store gave and what of it may still come back with its goods. Until when, and whether it may pay meanwhile, is what the policy
//! said that priced the purchase, whatever later ones say.
//!
//! Invariant: a row holds what the entry gave less what was taken back of it.

use huitong_protocol::id::{AccountId, EntryId, Seq};
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::points::Pending;
use huitong_protocol::time::BusinessDay;

use super::{ReadTx, StoreError, WriteTx, cell, column};

/// Notes what an entry of this store gave, when it is `pending`, and what it took back.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn note(
    tx: &mut WriteTx<'_>,
    entry: EntryId,
    movements: &[Movement],
    pending: Option<Pending>,
) -> Result<(), StoreError> {
    for movement in movements {
        match (movement.kind, pending, movement.of) {
            (MovementKind::Earn, Some(Pending { confirmed_on, may_burn }), _) => tx.execute_one(
                "note pending points",
                "INSERT INTO points_pending (seq, account, confirmed_on, may_burn, points) VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    column(entry.seq.0),
                    movement.account.get(),
                    confirmed_on.to_string(),
                    i64::from(may_burn),
                    movement.amount_minor,
                ),
            )?,
            (MovementKind::EarnReversal, _, Some(of))
                if (of.entry.store, of.entry.epoch) == (entry.store, entry.epoch) =>
            {
                take(tx, of.entry.seq, movement.amount_minor.saturating_add(movement.shortfall_minor))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn take(tx: &mut WriteTx<'_>, seq: Seq, points: i64) -> Result<(), StoreError> {
    tx.execute(
        "take pending points back",
        "UPDATE points_pending SET points = MAX(0, points - ?2) WHERE seq = ?1",
        (column(seq.0), points),
    )
    .map(drop)
}

/// The points of an account that are pending on a day.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn of_account(tx: &ReadTx<'_>, account: AccountId, today: BusinessDay) -> Result<i64, StoreError> {
    let sum = tx.one(
        "add up pending points",
        "SELECT SUM(points) FROM points_pending WHERE account = ?1 AND confirmed_on > ?2",
        (account.get(), today.to_string()),
        |row| cell::<Option<i64>>(row, 0),
    )?;
    Ok(sum.flatten().unwrap_or(0))
}

/// Those of them that may not pay before they are confirmed, and so stay at this store.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn barred(tx: &ReadTx<'_>, account: AccountId, today: BusinessDay) -> Result<i64, StoreError> {
    let sum = tx.one(
        "add up points that may not pay yet",
        "SELECT SUM(points) FROM points_pending WHERE account = ?1 AND confirmed_on > ?2 AND may_burn = 0",
        (account.get(), today.to_string()),
        |row| cell::<Option<i64>>(row, 0),
    )?;
    Ok(sum.flatten().unwrap_or(0))
}

/// Forgets what is confirmed after a day that closes.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn forget(tx: &mut WriteTx<'_>, closed: BusinessDay) -> Result<(), StoreError> {
    let closed = closed.to_string();
    tx.execute("forget confirmed points", "DELETE FROM points_pending WHERE confirmed_on <= ?1", [closed]).map(drop)
}
