//! Device: the one enrolled edge of a store, its key, its incarnation, and how far its reports reach.
//!
//! Invariant: an epoch only rises and only here; a key belongs to one epoch.

use std::collections::HashMap;

use huitong_protocol::id::{Epoch, Hash, Seq, StoreId};
use huitong_protocol::reconcile::Reach;
use huitong_protocol::time::Instant;

use super::{StoreError, Tx, tenure};

/// An enrolled edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// The store.
    pub store: StoreId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Its Ed25519 public key.
    pub public_key: Vec<u8>,
}

/// The device of a store.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, store: StoreId) -> Result<Option<Device>, StoreError> {
    tx.query_one("SELECT epoch, public_key FROM device WHERE store_id = $1", &[(&store).into()], |row| {
        Ok(Device { store, epoch: epoch(row.integer(0)?)?, public_key: row.bytes(1)?.to_vec() })
    })
}

fn epoch(number: i64) -> Result<Epoch, StoreError> {
    u32::try_from(number).map(Epoch).map_err(|fault| StoreError::Value {
        table: "device",
        column: "epoch",
        row: number.to_string(),
        fault: fault.to_string(),
    })
}

/// Gives the store a device with this key: epoch 1 the first time, one more than ever each time after. The epoch before must have been fenced.
///
/// # Errors
/// [`StoreError`].
pub fn enrol(tx: &mut Tx<'_>, store: StoreId, public_key: &[u8], now: Instant) -> Result<Epoch, StoreError> {
    let last = tenure::last(tx, store)?;
    let next = last.0.checked_add(1).map(Epoch).ok_or_else(|| StoreError::Rule {
        operation: "mint an epoch",
        fault: format!("store {store} has had all epochs that there are"),
    })?;
    tenure::mint(tx, store, next, public_key, now)?;
    keep(tx, store, next, public_key, now)?;
    Ok(next)
}

/// Puts back an epoch that a restored backup has forgotten; the hub waits for it, unless it is ended. Those before it must have been put back.
///
/// # Errors
/// [`StoreError`].
pub fn put_back(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    public_key: &[u8],
    now: Instant,
) -> Result<(), StoreError> {
    tenure::mint(tx, store, epoch, public_key, now)?;
    tenure::untold(tx, store, epoch)?;
    if tenure::last(tx, store)? > epoch {
        return Ok(());
    }
    keep(tx, store, epoch, public_key, now)
}

fn keep(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, public_key: &[u8], now: Instant) -> Result<(), StoreError> {
    tx.execute_one(
        "keep a device",
        "device",
        "INSERT INTO device (store_id, epoch, public_key, enrolled_at_ms, last_seen_ms) VALUES ($1, $4, $2, $3, $3) \
         ON CONFLICT (store_id) DO UPDATE SET epoch = excluded.epoch, public_key = excluded.public_key, \
         enrolled_at_ms = excluded.enrolled_at_ms, last_seen_ms = excluded.last_seen_ms, reported_seq = 0, reported_whole = 0",
        &[(&store).into(), public_key.into(), now.into(), epoch.into()],
    )
}

/// What became of an enrolment token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// For which store it was made.
    pub store: StoreId,
    /// Until when it may be used.
    pub expires_at_ms: Instant,
    /// Whether it was used.
    pub used: bool,
    /// The store's epoch when it was made, 0 before the first.
    pub after: Epoch,
}

/// Looks a token up by its hash.
///
/// # Errors
/// [`StoreError`].
pub fn token(tx: &mut Tx<'_>, token: &str) -> Result<Option<Token>, StoreError> {
    let hash = Hash::of(token.as_bytes());
    tx.query_one(
        "SELECT store_id, expires_at_ms, used_at_ms, after_epoch FROM enrolment_token WHERE token_hash = $1",
        &[(&hash).into()],
        |row| {
            Ok(Token {
                store: row.parsed(0, "enrolment_token", "store_id")?,
                expires_at_ms: Instant(row.integer(1)?),
                used: row.maybe_integer(2)?.is_some(),
                after: epoch(row.integer(3)?)?,
            })
        },
    )
}

/// Uses a token up. Gives whether it was unused.
///
/// # Errors
/// [`StoreError`].
pub fn use_token(tx: &mut Tx<'_>, token: &str, now: Instant) -> Result<bool, StoreError> {
    let hash = Hash::of(token.as_bytes());
    let rows = tx.execute(
        "UPDATE enrolment_token SET used_at_ms = $2 WHERE token_hash = $1 AND used_at_ms IS NULL",
        &[(&hash).into(), now.into()],
    )?;
    Ok(rows == 1)
}

/// Removes tokens that were over before an instant. Gives how many.
///
/// # Errors
/// [`StoreError`].
pub fn purge_tokens(tx: &mut Tx<'_>, before: Instant) -> Result<usize, StoreError> {
    tx.execute("DELETE FROM enrolment_token WHERE COALESCE(used_at_ms, expires_at_ms) < $1", &[before.into()])
}

/// Notes that a store reported up to a position. One that names no later position and still `changed` counters is a part of a larger report: what is
/// known then belongs to no position until the last part arrives. A report of an epoch that is over says nothing of the present one.
///
/// # Errors
/// [`StoreError`].
pub fn reported(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    head: Seq,
    changed: bool,
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE device SET last_seen_ms = $4, \
         reported_whole = CASE WHEN $2 > reported_seq THEN 1 WHEN $3 = 1 THEN 0 ELSE reported_whole END, \
         reported_seq = CASE WHEN $2 > reported_seq THEN $2 ELSE reported_seq END WHERE store_id = $1 AND epoch = $5",
        &[(&store).into(), head.into(), changed.into(), now.into(), epoch.into()],
    )?;
    Ok(())
}

/// Notes when a store was heard, unless it was heard later.
///
/// # Errors
/// [`StoreError`].
pub fn heard(tx: &mut Tx<'_>, store: StoreId, at: Instant) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE device SET last_seen_ms = $2 WHERE store_id = $1 AND COALESCE(last_seen_ms, 0) < $2",
        &[(&store).into(), at.into()],
    )?;
    Ok(())
}

/// When each enrolled store was last heard.
///
/// # Errors
/// [`StoreError`].
pub fn last_seen_all(tx: &mut Tx<'_>) -> Result<HashMap<StoreId, Instant>, StoreError> {
    let seen = tx.query("SELECT store_id, last_seen_ms FROM device WHERE last_seen_ms IS NOT NULL", &[], |row| {
        Ok::<_, StoreError>((row.parsed(0, "device", "store_id")?, Instant(row.integer(1)?)))
    })?;
    Ok(seen.into_iter().collect())
}

/// When a store was last heard.
///
/// # Errors
/// [`StoreError`].
pub fn last_seen(tx: &mut Tx<'_>, store: StoreId) -> Result<Option<Instant>, StoreError> {
    Ok(tx
        .query_one("SELECT last_seen_ms FROM device WHERE store_id = $1", &[(&store).into()], |row| {
            row.maybe_integer(0)
        })?
        .flatten()
        .map(Instant))
}

/// How far report and journal of every device reach.
///
/// # Errors
/// [`StoreError`].
pub fn reaches(tx: &mut Tx<'_>) -> Result<HashMap<(StoreId, Epoch), Reach>, StoreError> {
    let rows = tx.query(
        "SELECT d.store_id, d.epoch, d.reported_seq, d.reported_whole, j.seq \
         FROM device d LEFT JOIN journal j ON j.store_id = d.store_id AND j.epoch = d.epoch",
        &[],
        |row| {
            let seq = |number: i64| Seq(u64::try_from(number).unwrap_or(0));
            let reach = Reach {
                reported: seq(row.integer(2)?),
                whole: row.integer(3)? == 1,
                journalled: seq(row.maybe_integer(4)?.unwrap_or(0)),
            };
            Ok::<_, StoreError>(((row.parsed(0, "device", "store_id")?, epoch(row.integer(1)?)?), reach))
        },
    )?;
    Ok(rows.into_iter().collect())
}
