//! Days: which business day is open, which are closed, and how the hub answered their seals.

use huitong_protocol::id::Seq;
use huitong_protocol::seal::Seal;
use huitong_protocol::time::BusinessDay;
use huitong_protocol::wire::{DayVerdict, from_msgpack, to_msgpack};
use rusqlite::Row;

use super::{ReadTx, StoreError, WriteTx, cell, column, counted, day_spend, overdraft, parsed, policy};

/// A business day of this store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Day {
    /// Its label.
    pub business_day: BusinessDay,
    /// The entry that opened it.
    pub opened_seq: Seq,
    /// The seal, once closed, with its position.
    pub seal: Option<(Seq, Seal)>,
    /// The hub's word on the seal, once it said one.
    pub verdict: Option<DayVerdict>,
}

const COLUMNS: &str = "business_day, opened_seq, closed_seq, seal, verdict";

fn unpacked<T: serde::de::DeserializeOwned>(bytes: &[u8], column: &'static str) -> Result<T, StoreError> {
    from_msgpack(bytes).map_err(|fault| StoreError::Value { table: "day", column, fault })
}

fn read(row: &Row<'_>) -> Result<Day, StoreError> {
    let (closed_seq, seal): (Option<i64>, Option<Vec<u8>>) = (cell(row, 2)?, cell(row, 3)?);
    let verdict: Option<Vec<u8>> = cell(row, 4)?;
    let seal = match (closed_seq, seal) {
        (Some(_), Some(seal)) => Some((Seq(counted(row, 2, "day", "closed_seq")?), unpacked(&seal, "seal")?)),
        _ => None,
    };
    Ok(Day {
        business_day: parsed(row, 0, "day", "business_day")?,
        opened_seq: Seq(counted(row, 1, "day", "opened_seq")?),
        seal,
        verdict: verdict.map(|bytes| unpacked(&bytes, "verdict")).transpose()?,
    })
}

/// The open day, the last closed day, the position of the last seal.
pub(super) fn load(tx: &ReadTx<'_>) -> Result<(Option<BusinessDay>, Option<BusinessDay>, Seq), StoreError> {
    let open = tx.one("find the open day", "SELECT business_day FROM day WHERE closed_seq IS NULL", [], |row| {
        parsed(row, 0, "day", "business_day")
    })?;
    let closed = last_closed(tx)?;
    let sealed = closed.as_ref().and_then(|day| day.seal.as_ref()).map_or(Seq::ZERO, |(seq, _)| *seq);
    Ok((open, closed.map(|day| day.business_day), sealed))
}

/// A day by its label.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not a day.
pub fn get(tx: &ReadTx<'_>, business_day: BusinessDay) -> Result<Option<Day>, StoreError> {
    let sql = select(COLUMNS, "WHERE business_day = ?1");
    tx.one("read a day", &sql, [business_day.to_string()], read)
}

/// The day that was closed last.
///
/// # Errors
/// As [`get`].
pub fn last_closed(tx: &ReadTx<'_>) -> Result<Option<Day>, StoreError> {
    let sql = select(COLUMNS, "WHERE closed_seq IS NOT NULL ORDER BY business_day DESC LIMIT 1");
    tx.one("read the last closed day", &sql, [], read)
}

/// The newest days, newest first.
///
/// # Errors
/// As [`get`].
pub fn newest(tx: &ReadTx<'_>, limit: usize) -> Result<Vec<Day>, StoreError> {
    let sql = select(COLUMNS, "ORDER BY business_day DESC LIMIT ?1");
    tx.all("read days", &sql, [column(limit as u64)], read)
}

/// The earliest closed day on whose seal the hub has not said a word.
///
/// # Errors
/// As [`get`].
pub fn first_unanswered(tx: &ReadTx<'_>) -> Result<Option<BusinessDay>, StoreError> {
    let sql =
        "SELECT business_day FROM day WHERE closed_seq IS NOT NULL AND verdict IS NULL ORDER BY business_day LIMIT 1";
    tx.one("find a day without an answer", sql, [], |row| parsed(row, 0, "day", "business_day"))
}

/// For how many of the newest days people are reminded that the hub counted them differently. Older ones are head office's to clear up, and it says no
/// second word on a seal.
const DIFFERING_DAYS_MAX: usize = 7;

/// The earliest of the newest days that the hub counted differently.
///
/// # Errors
/// As [`get`].
pub fn first_differing(tx: &ReadTx<'_>) -> Result<Option<BusinessDay>, StoreError> {
    let differs = |day: &Day| day.verdict.as_ref().is_some_and(|verdict| !verdict.differences.is_empty());
    Ok(newest(tx, DIFFERING_DAYS_MAX)?.into_iter().rev().find(differs).map(|day| day.business_day))
}

fn select(columns: &str, rest: &str) -> String {
    format!("SELECT {columns} FROM day {rest}")
}

/// Writes that a day was opened by an entry.
///
/// # Errors
/// [`StoreError`] of the engine; also when the label is used.
pub fn open(tx: &mut WriteTx<'_>, business_day: BusinessDay, opened_seq: Seq) -> Result<(), StoreError> {
    tx.execute_one(
        "open a day",
        "INSERT INTO day (business_day, opened_seq) VALUES (?1, ?2)",
        (business_day.to_string(), column(opened_seq.0)),
    )?;
    day_spend::forget_before(tx, business_day)?;
    overdraft::forget_before(tx, business_day)?;
    tx.chain_mut().open_day = Some(business_day);
    policy::refresh(tx)
}

/// Writes that the open day was closed by its seal.
///
/// # Errors
/// [`StoreError::Rows`] when the day is not open.
pub fn close(tx: &mut WriteTx<'_>, seal: &Seal, closed_seq: Seq) -> Result<(), StoreError> {
    tx.execute_one(
        "close a day",
        "UPDATE day SET closed_seq = ?2, seal = ?3 WHERE business_day = ?1 AND closed_seq IS NULL",
        (seal.business_day.to_string(), column(closed_seq.0), to_msgpack(seal)),
    )?;
    let chain = tx.chain_mut();
    chain.open_day = None;
    chain.closed_day = Some(seal.business_day);
    chain.sealed_seq = closed_seq;
    Ok(())
}

/// Keeps what the hub said of a seal. A verdict on a day that this store has not closed is not ours.
///
/// # Errors
/// [`StoreError::Rows`] then.
pub fn put_verdict(tx: &mut WriteTx<'_>, verdict: &DayVerdict) -> Result<(), StoreError> {
    tx.execute_one(
        "keep the hub's word on a day",
        "UPDATE day SET verdict = ?3 WHERE business_day = ?1 AND closed_seq = ?2",
        (verdict.business_day.to_string(), column(verdict.seal_seq.0), to_msgpack(verdict)),
    )?;
    tx.chain_mut();
    Ok(())
}
