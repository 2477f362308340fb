//! Journal: the store's entries as the bytes that were written once. Appending is `WriteTx::append`; nothing changes or removes an entry.

use huitong_protocol::entry::{Entry, Header};
use huitong_protocol::id::{Hash, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::seal::{ControlTotals, Tally};
use huitong_protocol::time::Stamp;
use rusqlite::Row;

use super::{ReadTx, StoreError, WriteTx, cell, column, counted};

/// An entry as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEntry {
    /// Its position and hash.
    pub head: Head,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

fn bad(column: &'static str, fault: impl ToString) -> StoreError {
    StoreError::Value { table: "entry", column, fault: fault.to_string() }
}

fn read_head(row: &Row<'_>) -> Result<Head, StoreError> {
    let hash = row.get_ref(1).map_err(StoreError::during("read a column"))?;
    let hash = hash.as_blob().map_err(|error| bad("hash", error))?;
    Ok(Head {
        seq: Seq(counted(row, 0, "entry", "seq")?),
        hash: Hash::from_slice(hash).map_err(|error| bad("hash", error))?,
    })
}

pub(super) fn insert(tx: &mut WriteTx<'_>, header: &Header, head: Head, bytes: &[u8]) -> Result<(), StoreError> {
    let day = header.business_day.map(|day| day.to_string());
    tx.execute_one(
        "append an entry",
        "INSERT INTO entry (seq, hash, kind, operation, business_day, stamp, at_ms, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            column(head.seq.0),
            &head.hash.0[..],
            header.kind.as_str(),
            &header.operation.0.as_bytes()[..],
            day,
            header.stamp.0,
            header.at_ms.0,
            bytes,
        ),
    )
}

/// The end of the journal and the last stamp.
pub(super) fn end(tx: &ReadTx<'_>) -> Result<(Head, Stamp), StoreError> {
    let last =
        tx.one("find the journal's end", "SELECT seq, hash, stamp FROM entry ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok((read_head(row)?, Stamp(cell(row, 2)?)))
        })?;
    Ok(last.unwrap_or((Head::START, Stamp::ZERO)))
}

/// The entry at a position.
///
/// # Errors
/// [`StoreError::Value`] when what is stored there is not one.
pub fn get(tx: &ReadTx<'_>, seq: Seq) -> Result<Option<StoredEntry>, StoreError> {
    tx.one("read an entry", "SELECT seq, hash, bytes FROM entry WHERE seq = ?1", [column(seq.0)], |row| {
        Ok(StoredEntry { head: read_head(row)?, bytes: cell(row, 2)? })
    })
}

/// The entry at a position, decoded.
///
/// # Errors
/// As [`get`]; also when this code cannot read the body.
pub fn decoded(tx: &ReadTx<'_>, seq: Seq) -> Result<Option<Entry>, StoreError> {
    get(tx, seq)?.map(|stored| Entry::decode(&stored.bytes).map_err(|error| bad("bytes", error))).transpose()
}

/// The end of the chain after a position: the zero head for position 0.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn head_at(tx: &ReadTx<'_>, seq: Seq) -> Result<Option<Head>, StoreError> {
    if seq == Seq::ZERO {
        return Ok(Some(Head::START));
    }
    tx.one("read an entry's hash", "SELECT seq, hash FROM entry WHERE seq = ?1", [column(seq.0)], read_head)
}

/// Whether a head that somebody saw is part of this journal.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn contains(tx: &ReadTx<'_>, witness: Head) -> Result<bool, StoreError> {
    Ok(head_at(tx, witness.seq)? == Some(witness))
}

/// The entries after a position, at most so many and, unless the first alone is larger, of so many bytes together.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not an entry.
pub fn entries_after(
    tx: &ReadTx<'_>,
    seq: Seq,
    entries_max: usize,
    bytes_max: usize,
) -> Result<Vec<StoredEntry>, StoreError> {
    let mut found: Vec<StoredEntry> = Vec::new();
    let mut bytes_total = 0;
    tx.each(
        "read entries",
        "SELECT seq, hash, bytes FROM entry WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        (column(seq.0), column(entries_max as u64)),
        |row| {
            let entry = StoredEntry { head: read_head(row)?, bytes: cell(row, 2)? };
            bytes_total += entry.bytes.len();
            if !found.is_empty() && bytes_total > bytes_max {
                return Ok(false);
            }
            found.push(entry);
            Ok(true)
        },
    )?;
    Ok(found)
}

/// Shows the entries of some kinds after a position, in order.
///
/// # Errors
/// [`StoreError::Value`] when an entry cannot be read.
pub fn each_after(tx: &ReadTx<'_>, seq: Seq, kinds: &[&str], mut show: impl FnMut(Entry)) -> Result<(), StoreError> {
    tx.each(
        "read entries of some kinds",
        "SELECT kind, bytes FROM entry WHERE seq > ?1 ORDER BY seq",
        [column(seq.0)],
        |row| {
            let kind = row.get_ref(0).map_err(StoreError::during("read a column"))?;
            if kinds.contains(&kind.as_str().map_err(|error| bad("kind", error))?) {
                let bytes = row.get_ref(1).map_err(StoreError::during("read a column"))?;
                let bytes = bytes.as_blob().map_err(|error| bad("bytes", error))?;
                show(Entry::decode(bytes).map_err(|error| bad("bytes", error))?);
            }
            Ok(true)
        },
    )
}

/// Adds up the control totals of the entries after one position up to another, both as they stand in the journal.
///
/// # Errors
/// [`StoreError::Value`] when an entry cannot be read or a sum does not fit.
pub fn totals(tx: &ReadTx<'_>, after: Seq, through: Seq) -> Result<ControlTotals, StoreError> {
    let mut tally = Tally::default();
    tx.each(
        "add up entries",
        "SELECT bytes FROM entry WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
        (column(after.0), column(through.0)),
        |row| {
            let bytes = row.get_ref(0).map_err(StoreError::during("read a column"))?;
            let bytes = bytes.as_blob().map_err(|error| bad("bytes", error))?;
            let entry = Entry::decode(bytes).map_err(|error| bad("bytes", error))?;
            tally.add(&entry.header, Some(&entry.body)).map_err(|error| bad("bytes", error))?;
            Ok(true)
        },
    )?;
    Ok(tally.totals())
}
