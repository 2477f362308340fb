//! The hub's own row: which group it serves, in which currency, and the numbers it hands out.

use huitong_protocol::id::GroupId;
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use serde::Serialize;

use super::engine::{StoreError, Tx};

/// What the hub is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hub {
    /// The retail group; one per hub.
    pub group: GroupId,
    /// What it settles in.
    pub currency: Currency,
    /// Its life since the last restore.
    pub incarnation: i64,
}

/// What the hub is, when it was told.
pub fn hub_or_none(tx: &mut Tx<'_>) -> Result<Option<Hub>, StoreError> {
    tx.query_one("SELECT group_id, currency, incarnation FROM hub", &[], |row| {
        Ok(Hub {
            group: row.parsed(0, "hub", "group_id")?,
            currency: row.parsed(1, "hub", "currency")?,
            incarnation: row.integer(2)?,
        })
    })
}

/// What the hub is.
///
/// # Errors
/// [`StoreError::Rule`] when `huitong-hub init` was never run.
pub fn hub(tx: &mut Tx<'_>) -> Result<Hub, StoreError> {
    hub_or_none(tx)?.ok_or_else(|| StoreError::Rule {
        operation: "read the hub's own row",
        fault: "this hub has no group yet; run `huitong-hub init --group CODE --currency CNY` first".to_owned(),
    })
}

/// Begins another life of the hub. All living epochs are waited for then.
///
/// # Errors
/// [`StoreError`].
pub fn begin_life(tx: &mut Tx<'_>, life: i64) -> Result<(), StoreError> {
    let sql = "UPDATE hub SET incarnation = $1, must_recover_ms = NULL WHERE incarnation < $1";
    tx.execute_one("begin a life", "hub", sql, &[life.into()])
}

/// Since when it is proved that this database is older than it was, while nobody has begun another life.
///
/// # Errors
/// [`StoreError`].
pub fn must_recover(tx: &mut Tx<'_>) -> Result<Option<Instant>, StoreError> {
    let since = tx.query_one("SELECT must_recover_ms FROM hub", &[], |row| row.maybe_integer(0))?;
    Ok(since.flatten().map(Instant))
}

/// Notes that this database is older than it was. Gives whether that is new.
///
/// # Errors
/// [`StoreError`].
pub fn found_older(tx: &mut Tx<'_>, now: Instant) -> Result<bool, StoreError> {
    Ok(tx.execute("UPDATE hub SET must_recover_ms = $1 WHERE must_recover_ms IS NULL", &[now.into()])? == 1)
}

/// When the recovery log was last written.
///
/// # Errors
/// [`StoreError`].
pub fn remembered_at(tx: &mut Tx<'_>) -> Result<Option<Instant>, StoreError> {
    let at = tx.query_one("SELECT remembered_at_ms FROM hub", &[], |row| row.maybe_integer(0))?;
    Ok(at.flatten().map(Instant))
}

/// Notes that the recovery log was written.
///
/// # Errors
/// [`StoreError`].
pub fn remembered(tx: &mut Tx<'_>, now: Instant) -> Result<(), StoreError> {
    tx.execute_one("note the recovery log", "hub", "UPDATE hub SET remembered_at_ms = $1", &[now.into()])
}

/// Makes the hub's row. All numbers begin at 1.
pub fn insert(tx: &mut Tx<'_>, group: GroupId, currency: Currency) -> Result<(), StoreError> {
    tx.execute_one(
        "make the hub",
        "hub",
        "INSERT INTO hub (id, group_id, currency, incarnation, next_account, next_member, next_ingested_no, next_run, next_exception,
         reviewed_no)
         VALUES (1, $1, $2, 1, 1, 1, 1, 1, 1, 0)",
        &[group.as_str().into(), currency.into()],
    )
}
