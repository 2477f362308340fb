//! Audit rows: who did what at head office, and when. Appended in the transaction of the deed; nothing here changes or removes one.

use huitong_protocol::time::Instant;
use serde::Serialize;

use super::{StoreError, Tx};
use crate::actor::Actor;

/// One deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Deed {
    /// Its number, from 1, rising.
    pub number: i64,
    /// When.
    pub at_ms: Instant,
    /// Who.
    pub actor: String,
    /// Where: `cli` or `api`.
    pub via: String,
    /// What: `exception.resolve`, `settlement.approve` …
    pub action: String,
    /// To what.
    pub object: String,
    /// What was said with it.
    pub detail: String,
}

/// Appends a deed.
///
/// # Errors
/// [`StoreError`].
pub fn append(
    tx: &mut Tx<'_>,
    actor: &Actor,
    action: &str,
    object: &str,
    detail: &str,
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute_one(
        "write down who did something",
        "audit",
        "INSERT INTO audit (audit_no, at_ms, actor, via, action, object, detail) \
         VALUES ((SELECT COALESCE(MAX(audit_no), 0) + 1 FROM audit), $1, $2, $3, $4, $5, $6)",
        &[now.into(), actor.name().into(), actor.via().as_str().into(), action.into(), object.into(), detail.into()],
    )
}

/// Whether it was done to an object, by anybody.
///
/// # Errors
/// [`StoreError`].
pub fn was_done(tx: &mut Tx<'_>, action: &str, object: &str) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM audit WHERE action = $1 AND object = $2 LIMIT 1";
    Ok(tx.query_one(sql, &[action.into(), object.into()], |row| row.integer(0))?.is_some())
}

/// Deeds after a number, oldest first, at most so many.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, after: i64, limit: usize) -> Result<Vec<Deed>, StoreError> {
    tx.query(
        "SELECT audit_no, at_ms, actor, via, action, object, detail FROM audit WHERE audit_no > $1 ORDER BY audit_no LIMIT $2",
        &[after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        |row| {
            Ok(Deed {
                number: row.integer(0)?,
                at_ms: Instant(row.integer(1)?),
                actor: row.text(2)?.to_owned(),
                via: row.text(3)?.to_owned(),
                action: row.text(4)?.to_owned(),
                object: row.text(5)?.to_owned(),
                detail: row.text(6)?.to_owned(),
            })
        },
    )
}
