//! Settings: small facts of this installation that must outlive a restart and have no table of their own.

use super::{ReadTx, StoreError, WriteTx, cell};

/// The alarm that a till showed a witness which this journal does not contain: text of the witness and the time.
pub const WITNESS_ALARM: &str = "witness_alarm";

/// A setting.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn get(tx: &ReadTx<'_>, key: &str) -> Result<Option<String>, StoreError> {
    tx.one("read a setting", "SELECT value FROM setting WHERE key = ?1", [key], |row| cell(row, 0))
}

/// Writes a setting.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put(tx: &mut WriteTx<'_>, key: &str, value: &str) -> Result<(), StoreError> {
    tx.execute_one(
        "write a setting",
        "INSERT INTO setting (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
}

/// Removes a setting; it may be absent.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn remove(tx: &mut WriteTx<'_>, key: &str) -> Result<(), StoreError> {
    tx.execute("remove a setting", "DELETE FROM setting WHERE key = ?1", [key]).map(drop)
}
