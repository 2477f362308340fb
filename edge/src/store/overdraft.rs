//! Overdrafts: what accounts drew from the store's line, by account until head office has cleared it, and by business day. The line itself is an allotment.
//!
//! Invariant: what an account drew here is what the journal says, less what came back.

use huitong_protocol::entry::Body;
use huitong_protocol::id::AccountId;
use huitong_protocol::movement::MovementKind;
use huitong_protocol::time::BusinessDay;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::Cleared;

use super::{ReadTx, StoreError, WriteTx, cell, journal};

/// What an account owes for what it drew here, as far as head office said that it was cleared.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn owed(tx: &ReadTx<'_>, account: AccountId, unit: Unit) -> Result<i64, StoreError> {
    let sql = "SELECT MAX(0, drawn_minor - cleared_minor) FROM overdraft WHERE account = ?1 AND unit = ?2";
    let owed = tx.one("read what an account overdrew", sql, (account.get(), unit.as_str()), |row| cell(row, 0))?;
    Ok(owed.unwrap_or(0))
}

/// What all accounts owe for what they drew here, likewise.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn owed_in_all(tx: &ReadTx<'_>, unit: Unit) -> Result<i64, StoreError> {
    let sql = "SELECT COALESCE(SUM(MAX(0, drawn_minor - cleared_minor)), 0) FROM overdraft WHERE unit = ?1";
    Ok(tx.one("add up what was overdrawn", sql, [unit.as_str()], |row| cell(row, 0))?.unwrap_or(0))
}

/// What was drawn on a day, less what was undone on it.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn on_day(tx: &ReadTx<'_>, day: BusinessDay, unit: Unit) -> Result<i64, StoreError> {
    let sql = "SELECT drawn_minor FROM day_overdraft WHERE business_day = ?1 AND unit = ?2";
    let drawn = tx.one("read what was overdrawn today", sql, (day.to_string(), unit.as_str()), |row| cell(row, 0))?;
    Ok(drawn.unwrap_or(0))
}

/// Counts what an operation drew or gave back. What is voided on its day was never drawn; goods that come back do not open the day's limit again, nor does a
/// sale of an earlier day whose payment failed.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn count(tx: &mut WriteTx<'_>, day: Option<BusinessDay>, body: &Body) -> Result<(), StoreError> {
    let undoes_today = match body {
        Body::Void(void) => journal::decoded(tx, void.of.seq)?.is_some_and(|undone| undone.header.business_day == day),
        _ => false,
    };
    for movement in body.movements() {
        let (Some(account), unit) = (movement.owed_by, movement.unit) else { continue };
        let drawn_minor = match movement.kind {
            MovementKind::Overdraft => movement.amount_minor,
            MovementKind::OverdraftBack => movement.amount_minor.saturating_neg(),
            _ => continue,
        };
        tx.execute_one(
            "count what an account overdrew",
            "INSERT INTO overdraft (account, unit, drawn_minor, cleared_minor) VALUES (?1, ?2, ?3, 0) \
             ON CONFLICT (account, unit) DO UPDATE SET drawn_minor = drawn_minor + ?3",
            (account.get(), unit.as_str(), drawn_minor),
        )?;
        if let Some(day) = day
            && (drawn_minor > 0 || undoes_today)
        {
            tx.execute_one(
                "count what was overdrawn today",
                "INSERT INTO day_overdraft (business_day, unit, drawn_minor) VALUES (?1, ?2, MAX(0, ?3)) \
                 ON CONFLICT (business_day, unit) DO UPDATE SET drawn_minor = MAX(0, drawn_minor + ?3)",
                (day.to_string(), unit.as_str(), drawn_minor),
            )?;
        }
    }
    Ok(())
}

/// Takes from head office what does not count any more.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn clear(tx: &mut WriteTx<'_>, cleared: &Cleared) -> Result<(), StoreError> {
    tx.execute_one(
        "clear what an account overdrew",
        "INSERT INTO overdraft (account, unit, drawn_minor, cleared_minor) VALUES (?1, ?2, 0, ?3) \
         ON CONFLICT (account, unit) DO UPDATE SET cleared_minor = excluded.cleared_minor",
        (cleared.account.get(), cleared.unit.as_str(), cleared.cleared_minor),
    )
}

/// Forgets the days before one.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn forget_before(tx: &mut WriteTx<'_>, day: BusinessDay) -> Result<(), StoreError> {
    let sql = "DELETE FROM day_overdraft WHERE business_day < ?1";
    tx.execute("forget what was overdrawn before", sql, [day.to_string()]).map(drop)
}
