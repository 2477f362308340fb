//! Tenure: what the store keeps of its own continuity: the quarantine that it is in, whose turn the sync ratchet is, and which tills a person answered for.
//!
//! Kept as settings. What decides is in `continuity`. Invariant: a quarantine ends only with the database that it is written in.

use std::sync::Arc;

use huitong_protocol::id::TerminalId;
use huitong_protocol::time::Instant;
use serde::{Deserialize, Serialize};

use super::{ReadTx, StoreError, WriteTx, card, cell, replica, setting, sync_state};

const QUARANTINE: &str = "continuity.quarantine";
const TURN: &str = "continuity.turn";
const NONCE: &str = "continuity.nonce";
const MARKER: &str = "continuity.marker";
const OLD_ALARM: &str = "alarm.witness";
const EXCUSED_PREFIX: &str = "continuity.excused.";

/// Since when and why no value moves in this store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Quarantine {
    /// When it was found out.
    pub since_ms: Instant,
    /// How, in words.
    pub reason: String,
}

/// The session that the hub gave last: what it grants in another one is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HubTurn {
    /// The life of the hub: rises when it is restored from a backup.
    pub life: u64,
    /// The turn of the sync ratchet.
    pub turn: u64,
}

/// A till that a person answered for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Excused {
    /// Which.
    pub terminal: TerminalId,
    /// When.
    pub at_ms: Instant,
    /// The terminal at which it was said.
    pub by: TerminalId,
    /// Who said it and why.
    pub reason: String,
}

fn read<T: for<'de> Deserialize<'de>>(tx: &ReadTx<'_>, key: &str) -> Result<Option<T>, StoreError> {
    setting::get(tx, key)?.map(|text| parse(&text)).transpose()
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, StoreError> {
    let bad =
        |error: serde_json::Error| StoreError::Value { table: "setting", column: "value", fault: error.to_string() };
    serde_json::from_str(text).map_err(bad)
}

fn write(tx: &mut WriteTx<'_>, key: &str, value: &impl Serialize) -> Result<(), StoreError> {
    let text = serde_json::to_string(value)
        .map_err(|error| StoreError::Rule { operation: "write a setting", fault: error.to_string() })?;
    setting::put(tx, key, &text)
}

/// What is loaded with the chain.
pub(super) fn load(tx: &ReadTx<'_>) -> Result<(Option<Arc<Quarantine>>, HubTurn), StoreError> {
    let quarantine: Option<Quarantine> = read(tx, QUARANTINE)?;
    Ok((quarantine.map(Arc::new), read(tx, TURN)?.unwrap_or_default()))
}

/// Puts the store into quarantine. The first reason stays: it is nearest to the cause.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn quarantine(tx: &mut WriteTx<'_>, quarantine: Quarantine) -> Result<(), StoreError> {
    if tx.chain().quarantine.is_none() {
        write(tx, QUARANTINE, &quarantine)?;
        tx.chain_mut().quarantine = Some(Arc::new(quarantine));
    }
    Ok(())
}

/// The nonce of the hello that is not answered yet; `fresh` when there is none.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn greet(tx: &mut WriteTx<'_>, fresh: u64) -> Result<u64, StoreError> {
    if let Some(waiting) = read(tx, NONCE)? {
        return Ok(waiting);
    }
    write(tx, NONCE, &fresh)?;
    Ok(fresh)
}

/// Whether the hello with this nonce waits for its answer.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn is_waiting(tx: &ReadTx<'_>, nonce: u64) -> Result<bool, StoreError> {
    Ok(read(tx, NONCE)? == Some(nonce))
}

/// The hub answered the hello with this nonce. Gives whether it was the one that is waited for, of a life of the hub that is not over. A later life has
/// forgotten what it was told, and gives the numbers of what it changes once more: in the same transaction nothing counts as reported, acknowledged or fetched any
/// more, and the stops that are known here are to be told with all else.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn welcomed(tx: &mut WriteTx<'_>, nonce: u64, turn: HubTurn) -> Result<bool, StoreError> {
    let known = tx.chain().hub_turn;
    if !is_waiting(tx, nonce)? || turn.life < known.life {
        return Ok(false);
    }
    setting::remove(tx, NONCE)?;
    if turn.life > known.life {
        sync_state::forgotten(tx)?;
        replica::forget_versions(tx)?;
        card::tell_stops_again(tx)?;
    }
    if tx.chain().hub_turn != turn {
        write(tx, TURN, &turn)?;
        tx.chain_mut().hub_turn = turn;
    }
    Ok(true)
}

/// The alarm by which an earlier program said that a till has seen more, and let value move on.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn old_alarm(tx: &ReadTx<'_>) -> Result<Option<String>, StoreError> {
    setting::get(tx, OLD_ALARM)
}

/// The quarantine says it now.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn end_old_alarm(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    setting::remove(tx, OLD_ALARM)
}

/// Where the marker was kept when the store was started last.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn marker_place(tx: &ReadTx<'_>) -> Result<Option<String>, StoreError> {
    setting::get(tx, MARKER)
}

/// Writes down where the marker is kept.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put_marker_place(tx: &mut WriteTx<'_>, place: Option<&str>) -> Result<(), StoreError> {
    match place {
        Some(place) => setting::put(tx, MARKER, place),
        None => setting::remove(tx, MARKER),
    }
}

/// Writes down that a person answers for a till.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn excuse(tx: &mut WriteTx<'_>, excused: &Excused) -> Result<(), StoreError> {
    write(tx, &format!("{EXCUSED_PREFIX}{}", excused.terminal), excused)
}

/// The tills that somebody answered for in this epoch, each with the last time.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn excused(tx: &ReadTx<'_>) -> Result<Vec<Excused>, StoreError> {
    let sql = "SELECT value FROM setting WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key";
    tx.all("read excused tills", sql, [EXCUSED_PREFIX], |row| {
        let text: String = cell(row, 0)?;
        parse(&text)
    })
}
