//! Operations: what each operation of a till was answered. Written in the transaction of its effect, so that a retry finds both or neither.

use huitong_protocol::id::{Hash, OperationId, Seq, TerminalId};
use huitong_protocol::time::Instant;

use super::{ReadTx, StoreError, WriteTx, cell, column, parsed};

/// How long answers are kept at least: a till that was in a cupboard for a month still gets its answer.
pub const KEPT_MS: i64 = 35 * 24 * 3_600_000;

/// An answered operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The till that asked.
    pub terminal: TerminalId,
    /// The hash of what it asked.
    pub body_hash: Hash,
    /// The bytes that it was answered.
    pub answer: Vec<u8>,
    /// The entry that it made; none for a decline.
    pub entry_seq: Option<Seq>,
}

/// The answer to an operation, if it was answered.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not valid.
pub fn find(tx: &ReadTx<'_>, operation: OperationId) -> Result<Option<Answered>, StoreError> {
    tx.one(
        "read an operation",
        "SELECT terminal, body_hash, answer, entry_seq FROM operation WHERE operation = ?1",
        [&operation.0.as_bytes()[..]],
        |row| {
            let hash: Vec<u8> = cell(row, 1)?;
            let entry_seq: Option<i64> = cell(row, 3)?;
            Ok(Answered {
                terminal: parsed(row, 0, "operation", "terminal")?,
                body_hash: Hash::from_slice(&hash).map_err(|error| StoreError::Value {
                    table: "operation",
                    column: "body_hash",
                    fault: error.to_string(),
                })?,
                answer: cell(row, 2)?,
                entry_seq: entry_seq.and_then(|seq| u64::try_from(seq).ok()).map(Seq),
            })
        },
    )
}

/// Whether an operation was answered.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn is_answered(tx: &ReadTx<'_>, operation: OperationId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM operation WHERE operation = ?1";
    let found: Option<i64> = tx.one("look for an operation", sql, [&operation.0.as_bytes()[..]], |row| cell(row, 0))?;
    Ok(found.is_some())
}

/// An answer to keep.
#[derive(Clone, Copy, Debug)]
pub struct NewAnswer<'a> {
    /// The operation.
    pub operation: OperationId,
    /// The till.
    pub terminal: TerminalId,
    /// The hash of what it asked.
    pub body_hash: Hash,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The answer.
    pub answer: &'a [u8],
    /// The entry that it made.
    pub entry_seq: Option<Seq>,
    /// When.
    pub at: Instant,
}

/// Keeps an answer.
///
/// # Errors
/// [`StoreError`] of the engine; also when the operation was answered before.
pub fn insert(tx: &mut WriteTx<'_>, new: &NewAnswer<'_>) -> Result<(), StoreError> {
    tx.execute_one(
        "keep an answer",
        "INSERT INTO operation (operation, terminal, body_hash, status, answer, entry_seq, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            &new.operation.0.as_bytes()[..],
            new.terminal.as_str(),
            &new.body_hash.0[..],
            new.status,
            new.answer,
            new.entry_seq.map(|seq| column(seq.0)),
            new.at.0,
        ),
    )
}

/// Forgets answers older than [`KEPT_MS`], oldest first, at most so many; gives how many. Call again until it gives 0.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn purge(tx: &mut WriteTx<'_>, now: Instant, limit: usize) -> Result<usize, StoreError> {
    // Rows are in the order of their writing, so that the oldest are found without an index that every sale would have to keep.
    tx.execute(
        "forget old answers",
        "DELETE FROM operation WHERE rowid IN (SELECT rowid FROM operation ORDER BY rowid LIMIT ?2) AND at_ms < ?1",
        (now.0.saturating_sub(KEPT_MS), column(limit as u64)),
    )
}
