//! Journal rows: the stores' entries byte by byte, where each chain ends, what moved, and segments that wait for the ones before them.
//!
//! Entries are never changed or removed. Invariant: for each store and epoch the positions run 1, 2, 3 … without a gap up to the journal's head, and
//! `ingested_no` rises in the order in which transactions commit.

use huitong_protocol::allotment::{Purse, StoreCounters};
use huitong_protocol::entry::{EntryView, Header};
use huitong_protocol::id::{AccountId, EntryId, Epoch, Hash, OperationId, Seq, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::movement::Movement;
use huitong_protocol::reconcile::CounterPair;
use huitong_protocol::seal::{ControlTotals, Tally};
use huitong_protocol::time::{BusinessDay, Instant, Stamp};

use super::{Row, StoreError, Tx, Value, overdraft};

/// Where a journal stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Journal {
    /// The last entry held without gap.
    pub head: Head,
    /// Whether a second chain of this journal was seen; nothing more is taken then.
    pub forked: bool,
    /// The position of the last seal.
    pub sealed: Seq,
    /// The stamp of the last entry whose header could be read: what the store wrote up to it is here, as stamps rise along a journal.
    pub stamp: Stamp,
}

fn seq(number: i64) -> Seq {
    Seq(u64::try_from(number).unwrap_or(0))
}

fn hash(row: &Row<'_>, column: usize, table: &'static str) -> Result<Hash, StoreError> {
    Hash::from_slice(row.bytes(column)?).map_err(|fault| StoreError::Value {
        table,
        column: "hash",
        row: String::new(),
        fault: fault.to_string(),
    })
}

/// Where a journal stands; at its start when nothing is held.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Journal, StoreError> {
    let found = tx.query_one(
        "SELECT seq, hash, forked, sealed_seq, stamp FROM journal WHERE store_id = $1 AND epoch = $2",
        &[(&store).into(), epoch.into()],
        |row| {
            Ok::<_, StoreError>(Journal {
                head: Head { seq: seq(row.integer(0)?), hash: hash(row, 1, "journal")? },
                forked: row.integer(2)? == 1,
                sealed: seq(row.integer(3)?),
                stamp: Stamp(row.integer(4)?),
            })
        },
    )?;
    Ok(found.unwrap_or(Journal { head: Head::START, forked: false, sealed: Seq::ZERO, stamp: Stamp::ZERO }))
}

/// Writes where a journal stands.
///
/// # Errors
/// [`StoreError`].
pub fn put(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, journal: &Journal) -> Result<(), StoreError> {
    tx.execute_one(
        "write a journal's head",
        "journal",
        "INSERT INTO journal (store_id, epoch, seq, hash, forked, sealed_seq, stamp) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (store_id, epoch) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, forked = excluded.forked, \
         sealed_seq = excluded.sealed_seq, stamp = excluded.stamp",
        &[
            (&store).into(),
            epoch.into(),
            journal.head.seq.into(),
            (&journal.head.hash).into(),
            journal.forked.into(),
            journal.sealed.into(),
            journal.stamp.into(),
        ],
    )
}

/// The hash held at a position.
///
/// # Errors
/// [`StoreError`].
pub fn hash_at(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, at: Seq) -> Result<Option<Hash>, StoreError> {
    if at == Seq::ZERO {
        return Ok(Some(Hash::ZERO));
    }
    tx.query_one(
        "SELECT hash FROM entry WHERE store_id = $1 AND epoch = $2 AND seq = $3",
        &[(&store).into(), epoch.into(), at.into()],
        |row| hash(row, 0, "entry"),
    )
}

/// The bytes of an entry.
///
/// # Errors
/// [`StoreError`].
pub fn bytes(tx: &mut Tx<'_>, id: EntryId) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT bytes FROM entry WHERE store_id = $1 AND epoch = $2 AND seq = $3";
    tx.query_one(sql, &[(&id.store).into(), id.epoch.into(), id.seq.into()], |row| Ok(row.bytes(0)?.to_vec()))
}

/// The entries of a kind in a run of a journal, from after one position through another: their positions and bytes, in order.
///
/// # Errors
/// [`StoreError`].
pub fn of_kind(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    kind: &str,
    (after, through): (Seq, Seq),
) -> Result<Vec<(Seq, Vec<u8>)>, StoreError> {
    tx.query(
        "SELECT seq, bytes FROM entry WHERE store_id = $1 AND epoch = $2 AND seq > $3 AND seq <= $4 AND kind = $5 ORDER BY seq",
        &[(&store).into(), epoch.into(), after.into(), through.into(), kind.into()],
        |row| Ok((seq(row.integer(0)?), row.bytes(1)?.to_vec())),
    )
}

/// Takes `count` ingest numbers and gives the first. The hub's row is locked until the transaction ends, so they are commit-ordered.
///
/// # Errors
/// [`StoreError`].
pub fn take_ingested_no(tx: &mut Tx<'_>, count: usize) -> Result<i64, StoreError> {
    tx.query_one(
        "UPDATE hub SET next_ingested_no = next_ingested_no + $1 WHERE id = 1 RETURNING next_ingested_no - $1",
        &[i64::try_from(count).unwrap_or(i64::MAX).into()],
        |row| row.integer(0),
    )?
    .ok_or(StoreError::Rows { operation: "take ingest numbers", table: "hub", rows: 0, expected: 1 })
}

/// The last ingest number that was given out, 0 before the first. What is committed later has a higher one.
///
/// # Errors
/// [`StoreError`].
pub fn last_ingested_no(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    Ok(tx.query_one("SELECT next_ingested_no - 1 FROM hub", &[], |row| row.integer(0))?.unwrap_or(0))
}

/// An entry as it is kept, unread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its place in the order of ingest.
    pub ingested_no: i64,
    /// Its key.
    pub id: EntryId,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The first entry of a kind after one ingest number, up to another.
///
/// # Errors
/// [`StoreError`].
pub fn next_of_kind(tx: &mut Tx<'_>, kind: &str, after: i64, through: i64) -> Result<Option<Kept>, StoreError> {
    tx.query_one(
        "SELECT ingested_no, store_id, epoch, seq, bytes FROM entry \
         WHERE ingested_no > $1 AND ingested_no <= $2 AND kind = $3 ORDER BY ingested_no LIMIT 1",
        &[after.into(), through.into(), kind.into()],
        |row| {
            let epoch = Epoch(u32::try_from(row.integer(2)?).unwrap_or(0));
            let id = EntryId { store: row.parsed(1, "entry", "store_id")?, epoch, seq: seq(row.integer(3)?) };
            Ok(Kept { ingested_no: row.integer(0)?, id, bytes: row.bytes(4)?.to_vec() })
        },
    )
}

/// Appends an entry. A header that cannot be read leaves kind, operation and day unknown.
///
/// # Errors
/// [`StoreError`].
pub fn append(
    tx: &mut Tx<'_>,
    id: EntryId,
    hash: Hash,
    ingested_no: i64,
    header: Option<&Header>,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let day = header.and_then(|header| header.business_day).map(|day| day.to_string());
    let operation: &[u8] = header.map_or(&[], |header| header.operation.0.as_bytes());
    tx.execute_one(
        "append an entry",
        "entry",
        "INSERT INTO entry (store_id, epoch, seq, hash, ingested_no, kind, operation, business_day, bytes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            (&id.store).into(),
            id.epoch.into(),
            id.seq.into(),
            (&hash).into(),
            ingested_no.into(),
            header.map_or("", |header| header.kind.as_str()).into(),
            operation.into(),
            day.as_deref().into(),
            bytes.into(),
        ],
    )
}

/// Appends a movement of an entry.
///
/// # Errors
/// [`StoreError`].
pub fn post(
    tx: &mut Tx<'_>,
    id: EntryId,
    stamp: Stamp,
    index: u16,
    ingested_no: i64,
    day: BusinessDay,
    movement: &Movement,
) -> Result<(), StoreError> {
    let of_entry = movement.of.map(|of| of.entry.to_string());
    tx.execute_one(
        "post a movement",
        "movement",
        "INSERT INTO movement (account_id, stamp, store_id, epoch, seq, idx, ingested_no, business_day, unit, kind, amount_minor, of_entry, \
         of_idx, origin_store) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        &[
            movement.account.into(),
            stamp.into(),
            (&id.store).into(),
            id.epoch.into(),
            id.seq.into(),
            index.into(),
            ingested_no.into(),
            (&day.to_string()).into(),
            movement.unit.into(),
            movement.kind.into(),
            movement.amount_minor.into(),
            of_entry.as_deref().into(),
            movement.of.map(|of| of.index).into(),
            movement.origin_store.as_ref().into(),
        ],
    )?;
    overdraft::note(tx, id, index, ingested_no, movement)
}

/// Another entry with the same operation, when there is one.
///
/// # Errors
/// [`StoreError`].
pub fn other_with_operation(
    tx: &mut Tx<'_>,
    operation: OperationId,
    than: EntryId,
) -> Result<Option<EntryId>, StoreError> {
    let mut other = None;
    tx.for_each(
        "SELECT store_id, epoch, seq FROM entry WHERE operation = $1 LIMIT 2",
        &[Value::Bytes(operation.0.as_bytes())],
        |row| {
            let epoch = Epoch(u32::try_from(row.integer(1)?).unwrap_or(0));
            let id = EntryId { store: row.parsed(0, "entry", "store_id")?, epoch, seq: seq(row.integer(2)?) };
            if id != than {
                other = Some(id);
            }
            Ok::<_, StoreError>(())
        },
    )?;
    Ok(other)
}

/// What entries add up to so far.
#[derive(Clone, Debug)]
pub struct Counted {
    tally: Tally,
    /// Whether every sum fits into a number.
    fits: bool,
}

impl Default for Counted {
    fn default() -> Self {
        Self { tally: Tally::default(), fits: true }
    }
}

impl Counted {
    /// The totals; nothing when a sum does not fit: no till makes such amounts, but bytes may say anything.
    #[must_use]
    pub fn totals(&self) -> Option<ControlTotals> {
        self.fits.then(|| self.tally.totals())
    }
}

/// Counts the entries of a run for itself, from their bytes, on top of what was counted.
///
/// # Errors
/// [`StoreError`].
pub fn tally(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    first: Seq,
    last: Seq,
    counted: Counted,
) -> Result<Counted, StoreError> {
    let Counted { mut tally, mut fits } = counted;
    tx.for_each(
        "SELECT bytes FROM entry WHERE store_id = $1 AND epoch = $2 AND seq >= $3 AND seq <= $4 ORDER BY seq",
        &[(&store).into(), epoch.into(), first.into(), last.into()],
        |row| {
            // A header that cannot be read cannot be counted; the seal then differs and says so.
            let Ok(view) = EntryView::decode(row.bytes(0)?) else { return Ok(()) };
            fits &= tally.add(&view.header, view.body().ok().as_ref()).is_ok();
            Ok::<_, StoreError>(())
        },
    )?;
    Ok(Counted { tally, fits })
}

/// What the journal adds up to for a purse at a store.
///
/// # Errors
/// [`StoreError`].
pub fn counters(tx: &mut Tx<'_>, purse: Purse, store: StoreId, epoch: Epoch) -> Result<StoreCounters, StoreError> {
    let found = tx.query_one(
        "SELECT adopted_minor, loaded_minor, spent_minor, released_minor FROM journal_counter \
         WHERE account_id = $1 AND unit = $2 AND store_id = $3 AND epoch = $4",
        &[purse.account.into(), purse.unit.into(), (&store).into(), epoch.into()],
        |row| read_counters(row, 0),
    )?;
    Ok(found.unwrap_or_default())
}

fn read_counters(row: &Row<'_>, first: usize) -> Result<StoreCounters, StoreError> {
    Ok(StoreCounters {
        adopted_minor: row.integer(first)?,
        loaded_minor: row.integer(first + 1)?,
        spent_minor: row.integer(first + 2)?,
        released_minor: row.integer(first + 3)?,
    })
}

/// Writes what the journal adds up to.
///
/// # Errors
/// [`StoreError`].
pub fn put_counters(
    tx: &mut Tx<'_>,
    purse: Purse,
    store: StoreId,
    epoch: Epoch,
    counters: &StoreCounters,
) -> Result<(), StoreError> {
    tx.execute_one(
        "write a journal's counters",
        "journal_counter",
        "INSERT INTO journal_counter (account_id, unit, store_id, epoch, adopted_minor, loaded_minor, spent_minor, released_minor) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account_id, unit, store_id, epoch) DO UPDATE SET \
         adopted_minor = excluded.adopted_minor, loaded_minor = excluded.loaded_minor, spent_minor = excluded.spent_minor, \
         released_minor = excluded.released_minor",
        &[
            purse.account.into(),
            purse.unit.into(),
            (&store).into(),
            epoch.into(),
            counters.adopted_minor.into(),
            counters.loaded_minor.into(),
            counters.spent_minor.into(),
            counters.released_minor.into(),
        ],
    )
}

/// A segment that waits, packed as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The position of its first entry.
    pub first: Seq,
    /// The chain's end after it.
    pub last: Head,
    /// The packed segment.
    pub segment: Vec<u8>,
}

/// Keeps a segment until the ones before it arrive. Gives whether there was room for it.
///
/// # Errors
/// [`StoreError`].
pub fn wait(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    waiting: &Waiting,
    now: Instant,
    max: i64,
) -> Result<bool, StoreError> {
    let held = tx.query_one(
        "SELECT COUNT(*) FROM waiting_segment WHERE store_id = $1 AND epoch = $2",
        &[(&store).into(), epoch.into()],
        |row| row.integer(0),
    )?;
    if held.unwrap_or(0) >= max {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO waiting_segment (store_id, epoch, first_seq, last_seq, last_hash, segment, received_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (store_id, epoch, first_seq, last_seq, last_hash) DO NOTHING",
        &[
            (&store).into(),
            epoch.into(),
            waiting.first.into(),
            waiting.last.seq.into(),
            (&waiting.last.hash).into(),
            (&waiting.segment).into(),
            now.into(),
        ],
    )?;
    Ok(true)
}

/// Takes the first waiting segment away that joins or overlaps the head.
///
/// # Errors
/// [`StoreError`].
pub fn stop_waiting(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, head: Seq) -> Result<Option<Waiting>, StoreError> {
    let found = tx.query_one(
        "SELECT first_seq, last_seq, last_hash, segment FROM waiting_segment \
         WHERE store_id = $1 AND epoch = $2 AND first_seq <= $3 ORDER BY first_seq LIMIT 1",
        &[(&store).into(), epoch.into(), head.next().into()],
        |row| {
            let last = Head { seq: seq(row.integer(1)?), hash: hash(row, 2, "waiting_segment")? };
            Ok::<_, StoreError>(Waiting { first: seq(row.integer(0)?), last, segment: row.bytes(3)?.to_vec() })
        },
    )?;
    if let Some(waiting) = &found {
        tx.execute_one(
            "take a waiting segment",
            "waiting_segment",
            "DELETE FROM waiting_segment WHERE store_id = $1 AND epoch = $2 AND first_seq = $3 AND last_seq = $4 AND last_hash = $5",
            &[(&store).into(), epoch.into(), waiting.first.into(), waiting.last.seq.into(), (&waiting.last.hash).into()],
        )?;
    }
    Ok(found)
}

/// The position before the first waiting segment.
///
/// # Errors
/// [`StoreError`].
pub fn wanted(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Option<Seq>, StoreError> {
    let first = tx.query_one(
        "SELECT MIN(first_seq) FROM waiting_segment WHERE store_id = $1 AND epoch = $2",
        &[(&store).into(), epoch.into()],
        |row| row.maybe_integer(0),
    )?;
    Ok(first.flatten().map(|first| seq(first.saturating_sub(1))))
}

/// Every purse whose reported counters are not those of the journal, one by one.
///
/// # Errors
/// [`StoreError`].
pub fn unequal_counters(tx: &mut Tx<'_>, mut each: impl FnMut(CounterPair)) -> Result<(), StoreError> {
    const REPORTED: &str = "SELECT a.account_id, a.unit, a.store_id, a.epoch, \
         a.adopted_minor, a.loaded_minor, a.spent_minor, a.released_minor, \
         COALESCE(j.adopted_minor, 0), COALESCE(j.loaded_minor, 0), COALESCE(j.spent_minor, 0), COALESCE(j.released_minor, 0) \
         FROM allotment a LEFT JOIN journal_counter j \
         ON j.account_id = a.account_id AND j.unit = a.unit AND j.store_id = a.store_id AND j.epoch = a.epoch \
         WHERE a.adopted_minor <> COALESCE(j.adopted_minor, 0) OR a.loaded_minor <> COALESCE(j.loaded_minor, 0) \
         OR a.spent_minor <> COALESCE(j.spent_minor, 0) OR a.released_minor <> COALESCE(j.released_minor, 0)";
    const NEVER_REPORTED: &str = "SELECT j.account_id, j.unit, j.store_id, j.epoch, 0, 0, 0, 0, \
         j.adopted_minor, j.loaded_minor, j.spent_minor, j.released_minor FROM journal_counter j \
         WHERE NOT EXISTS (SELECT 1 FROM allotment a \
         WHERE a.account_id = j.account_id AND a.unit = j.unit AND a.store_id = j.store_id AND a.epoch = j.epoch)";
    for sql in [REPORTED, NEVER_REPORTED] {
        tx.for_each(sql, &[], |row| {
            let account = row.integer(0)?;
            let account = AccountId::new(account).map_err(|fault| StoreError::Value {
                table: "allotment",
                column: "account_id",
                row: account.to_string(),
                fault: fault.to_string(),
            })?;
            each(CounterPair {
                store: row.parsed(2, "allotment", "store_id")?,
                epoch: Epoch(u32::try_from(row.integer(3)?).unwrap_or(0)),
                purse: Purse { account, unit: row.parsed(1, "allotment", "unit")? },
                reported: read_counters(row, 4)?,
                journalled: read_counters(row, 8)?,
            });
            Ok::<_, StoreError>(())
        })?;
    }
    Ok(())
}
