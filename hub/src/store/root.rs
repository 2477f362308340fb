//! The hub's own row: which group it serves, in which currency, and the numbers it hands out.

use huitong_protocol::id::GroupId;
use huitong_protocol::money::Currency;
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
    let sql = "UPDATE hub SET incarnation = $1 WHERE incarnation < $1";
    tx.execute_one("begin a life", "hub", sql, &[life.into()])
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
