//! What the hub holds of this store, as it said. A hint that saves work, never a truth: the hub's next answer overrules it.

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{Hash, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::time::Instant;

use super::{ReadTx, StoreError, WriteTx, cell, column, counted, setting};

/// The purses whose last report was refused stand here among the settings.
const REFUSED: &str = "report.refused";

/// Where the hub is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncState {
    /// The journal up to here is durable at the hub.
    pub acknowledged: Head,
    /// Changes up to this number are in reports that the hub took.
    pub reported_change_no: i64,
    /// The end of the journal of the last report that it took, as far as it is written down.
    pub reported: Head,
}

/// Reads it.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn get(tx: &ReadTx<'_>) -> Result<SyncState, StoreError> {
    let sql = "SELECT acknowledged_seq, acknowledged_hash, reported_change_no, reported_seq, reported_hash FROM sync_state WHERE id = 1";
    let state = tx.one("read the sync state", sql, [], |row| {
        let hash = |at: usize, column| {
            let bytes: Vec<u8> = cell(row, at)?;
            let bad = |error: huitong_protocol::id::IdError| error.to_string();
            Hash::from_slice(&bytes).map_err(bad).map_err(|fault| StoreError::Value {
                table: "sync_state",
                column,
                fault,
            })
        };
        let seq = |at, column| counted(row, at, "sync_state", column).map(Seq);
        Ok(SyncState {
            acknowledged: Head { seq: seq(0, "acknowledged_seq")?, hash: hash(1, "acknowledged_hash")? },
            reported_change_no: cell(row, 2)?,
            reported: Head { seq: seq(3, "reported_seq")?, hash: hash(4, "reported_hash")? },
        })
    })?;
    state.ok_or(StoreError::Rows { operation: "read the sync state", rows: 0 })
}

/// The hub holds the journal up to a head. It may be behind what it said before, after a restore of the hub.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn acknowledge(tx: &mut WriteTx<'_>, head: Head) -> Result<(), StoreError> {
    tx.execute_one(
        "keep what the hub acknowledged",
        "UPDATE sync_state SET acknowledged_seq = ?1, acknowledged_hash = ?2 WHERE id = 1",
        (column(head.seq.0), &head.hash.0[..]),
    )
}

/// The hub took reports up to a change number, the last of them made at an end of the journal; an answer that comes late does not take it back.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn reported(tx: &mut WriteTx<'_>, change_no: i64, end: Head) -> Result<(), StoreError> {
    tx.execute_one(
        "keep what was reported",
        "UPDATE sync_state SET reported_change_no = MAX(reported_change_no, ?1), \
         reported_hash = CASE WHEN ?2 > reported_seq THEN ?3 ELSE reported_hash END, reported_seq = MAX(reported_seq, ?2) WHERE id = 1",
        (change_no, column(end.seq.0), &end.hash.0[..]),
    )
}

/// The purses that the hub refused of what counts as reported.
///
/// # Errors
/// [`StoreError`] of the engine, or when what is written there cannot be read.
pub fn refused(tx: &ReadTx<'_>) -> Result<Vec<Purse>, StoreError> {
    let Some(text) = setting::get(tx, REFUSED)? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|error| StoreError::Value {
        table: "setting",
        column: REFUSED,
        fault: error.to_string(),
    })
}

/// Writes them down, in the transaction that counts them as reported.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put_refused(tx: &mut WriteTx<'_>, purses: &[Purse]) -> Result<(), StoreError> {
    let known = setting::get(tx, REFUSED)?;
    if purses.is_empty() {
        return if known.is_some() { setting::remove(tx, REFUSED) } else { Ok(()) };
    }
    let text = serde_json::to_string(purses)
        .map_err(|error| StoreError::Rule { operation: "write a setting", fault: error.to_string() })?;
    if known.as_ref() == Some(&text) { Ok(()) } else { setting::put(tx, REFUSED, &text) }
}

/// The hub has forgotten what was reported and what it acknowledged: all of it is told again, and where the journal goes on is for it to say.
///
/// When cards were confirmed stays: up to then the life before told of every stop, and those are here, whatever is forgotten now. Nothing later is known of
/// who was stopped after that, however often the new life is asked, until it has heard everybody: it confirms nothing before (`Link::cards_confirmed`).
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn forgotten(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    tx.execute_one(
        "note that nothing is reported",
        "UPDATE sync_state SET reported_change_no = 0, reported_seq = 0, reported_hash = zeroblob(32), acknowledged_seq = 0, \
         acknowledged_hash = zeroblob(32) WHERE id = 1",
        (),
    )
}

/// When the hub last had nothing newer than the store, as far as it was written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfirmedAt {
    /// Of the policies.
    pub policies: Option<Instant>,
    /// Of the cards.
    pub cards: Option<Instant>,
}

/// Reads when policies and cards were confirmed.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn confirmed(tx: &ReadTx<'_>) -> Result<ConfirmedAt, StoreError> {
    let sql = "SELECT policies_confirmed_ms, cards_confirmed_ms FROM sync_state WHERE id = 1";
    let at = tx.one("read when policies and cards were confirmed", sql, [], |row| {
        let (policies, cards): (Option<i64>, Option<i64>) = (cell(row, 0)?, cell(row, 1)?);
        Ok(ConfirmedAt { policies: policies.map(Instant), cards: cards.map(Instant) })
    })?;
    at.ok_or(StoreError::Rows { operation: "read when policies and cards were confirmed", rows: 0 })
}

/// Writes down when the hub had no newer policies.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn confirm_policies(tx: &mut WriteTx<'_>, at: Instant) -> Result<(), StoreError> {
    let sql = "UPDATE sync_state SET policies_confirmed_ms = ?1 WHERE id = 1";
    tx.execute_one("keep when policies were confirmed", sql, [at.0])
}

/// Writes down when the hub had no newer cards.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn confirm_cards(tx: &mut WriteTx<'_>, at: Instant) -> Result<(), StoreError> {
    let sql = "UPDATE sync_state SET cards_confirmed_ms = ?1 WHERE id = 1";
    tx.execute_one("keep when cards were confirmed", sql, [at.0])
}

/// Takes what is written down as ahead of the clock for now: the clock was set back, and a store that is started again and again without a line must
/// not begin at zero each time.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn confirmed_by(tx: &mut WriteTx<'_>, now: Instant) -> Result<(), StoreError> {
    let sql = "UPDATE sync_state SET policies_confirmed_ms = MIN(policies_confirmed_ms, ?1), \
               cards_confirmed_ms = MIN(cards_confirmed_ms, ?1) WHERE id = 1";
    tx.execute_one("keep confirmations within the clock", sql, [now.0])
}
