//! Pending points: what this store gave and what of it may still come back with its goods. Kept while the policy has points wait.
//!
//! Invariant: a row holds what the entry gave less what was taken back of it.

use huitong_protocol::id::{AccountId, EntryId, Seq};
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::points::PendingRule;
use huitong_protocol::time::BusinessDay;

use super::{ReadTx, StoreError, WriteTx, cell, column};

/// Notes what an entry of this store gave and took back.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn note(
    tx: &mut WriteTx<'_>,
    entry: EntryId,
    day: Option<BusinessDay>,
    movements: &[Movement],
    rule: Option<&PendingRule>,
) -> Result<(), StoreError> {
    for movement in movements {
        match (movement.kind, day, movement.of) {
            (MovementKind::Earn, Some(day), _) if rule.is_some() => tx.execute_one(
                "note pending points",
                "INSERT INTO points_pending (seq, account, business_day, points) VALUES (?1, ?2, ?3, ?4)",
                (column(entry.seq.0), movement.account.get(), day.to_string(), movement.amount_minor),
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
pub fn of_account(
    tx: &ReadTx<'_>,
    account: AccountId,
    rule: &PendingRule,
    today: BusinessDay,
) -> Result<i64, StoreError> {
    let sum = tx.one(
        "add up pending points",
        "SELECT SUM(points) FROM points_pending WHERE account = ?1 AND business_day > ?2",
        (account.get(), rule.confirmed_through(today).to_string()),
        |row| cell::<Option<i64>>(row, 0),
    )?;
    Ok(sum.flatten().unwrap_or(0))
}

/// Forgets what is confirmed under every policy.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn forget(tx: &mut WriteTx<'_>, today: BusinessDay) -> Result<(), StoreError> {
    let longest = PendingRule { days: PendingRule::DAYS_MAX, may_burn: true };
    let through = longest.confirmed_through(today).to_string();
    tx.execute("forget confirmed points", "DELETE FROM points_pending WHERE business_day <= ?1", [through]).map(drop)
}
