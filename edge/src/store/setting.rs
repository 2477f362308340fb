//! Settings: small facts of this installation that must outlive a restart and have no table of their own.

use super::{ReadTx, StoreError, WriteTx, cell};

/// How the keys of alarms begin. An alarm's value says in words what people should look at; the status shows it until it is removed.
pub const ALARM_PREFIX: &str = "alarm.";

/// A setting.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn get(tx: &ReadTx<'_>, key: &str) -> Result<Option<String>, StoreError> {
    tx.one("read a setting", "SELECT value FROM setting WHERE key = ?1", [key], |row| cell(row, 0))
}

/// Every alarm, in words.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn alarms(tx: &ReadTx<'_>) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT value FROM setting WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key";
    tx.all("read alarms", sql, [ALARM_PREFIX], |row| cell(row, 0))
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
