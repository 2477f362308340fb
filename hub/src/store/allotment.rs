//! Allotment rows: the hub's counters per purse, and per purse, store and epoch. Their arithmetic is `protocol::allotment::step` alone.
//!
//! Invariant: a pool is read with its row taken, so that what was decided on it still holds when it is written.

use huitong_protocol::allotment::{Fenced, Line, Pool, Purse, StoreCounters, Suspense};
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::time::Stamp;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::Grant;

use super::{Row, StoreError, Tx, suspense};

/// The hub's counters of a purse, and the largest plausible stamp reported for it. The row is taken until the transaction ends.
///
/// # Errors
/// [`StoreError`].
pub fn take_pool(tx: &mut Tx<'_>, purse: Purse) -> Result<(Pool, Stamp), StoreError> {
    let found = tx.query_one(
        "UPDATE pool SET stamp = stamp WHERE account_id = $1 AND unit = $2 \
         RETURNING loaded_minor, spent_minor, granted_minor, released_minor, stamp",
        &[purse.account.into(), purse.unit.into()],
        read_pool,
    )?;
    Ok(found.unwrap_or((Pool::default(), Stamp::ZERO)))
}

/// As [`take_pool`], to look at.
///
/// # Errors
/// [`StoreError`].
pub fn pool(tx: &mut Tx<'_>, purse: Purse) -> Result<(Pool, Stamp), StoreError> {
    let found = tx.query_one(
        "SELECT loaded_minor, spent_minor, granted_minor, released_minor, stamp FROM pool WHERE account_id = $1 AND unit = $2",
        &[purse.account.into(), purse.unit.into()],
        read_pool,
    )?;
    Ok(found.unwrap_or((Pool::default(), Stamp::ZERO)))
}

fn read_pool(row: &Row<'_>) -> Result<(Pool, Stamp), StoreError> {
    Ok((pool_of(row)?, Stamp(row.integer(4)?)))
}

/// Reads a pool from the first columns of a row: loaded, spent, granted, released.
pub(super) fn pool_of(row: &Row<'_>) -> Result<Pool, StoreError> {
    Ok(Pool {
        loaded_minor: row.integer(0)?,
        spent_minor: row.integer(1)?,
        granted_minor: row.integer(2)?,
        released_minor: row.integer(3)?,
    })
}

/// Writes the hub's counters of a purse.
///
/// # Errors
/// [`StoreError`].
pub fn put_pool(tx: &mut Tx<'_>, purse: Purse, pool: &Pool, stamp: Stamp) -> Result<(), StoreError> {
    tx.execute_one(
        "write a pool",
        "pool",
        "INSERT INTO pool (account_id, unit, loaded_minor, spent_minor, granted_minor, released_minor, stamp) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account_id, unit) DO UPDATE SET loaded_minor = excluded.loaded_minor, \
         spent_minor = excluded.spent_minor, granted_minor = excluded.granted_minor, released_minor = excluded.released_minor, \
         stamp = excluded.stamp",
        &[
            purse.account.into(),
            purse.unit.into(),
            pool.loaded_minor.into(),
            pool.spent_minor.into(),
            pool.granted_minor.into(),
            pool.released_minor.into(),
            stamp.into(),
        ],
    )
}

/// What the hub knows of a purse at one store in one epoch, when it knows anything.
///
/// # Errors
/// [`StoreError`].
pub fn line(tx: &mut Tx<'_>, purse: Purse, store: StoreId, epoch: Epoch) -> Result<Option<Line>, StoreError> {
    tx.query_one(
        "SELECT granted_minor, adopted_minor, loaded_minor, spent_minor, released_minor FROM allotment \
         WHERE account_id = $1 AND unit = $2 AND store_id = $3 AND epoch = $4",
        &[purse.account.into(), purse.unit.into(), (&store).into(), epoch.into()],
        |row| read_line(row, 0),
    )
}

pub(super) fn read_line(row: &Row<'_>, first: usize) -> Result<Line, StoreError> {
    Ok(Line {
        granted_minor: row.integer(first)?,
        seen: StoreCounters {
            adopted_minor: row.integer(first + 1)?,
            loaded_minor: row.integer(first + 2)?,
            spent_minor: row.integer(first + 3)?,
            released_minor: row.integer(first + 4)?,
        },
    })
}

/// A line with its store and epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreLine {
    /// The store.
    pub store: StoreId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// What the hub knows.
    pub line: Line,
    /// What was done about it, when the epoch was fenced.
    pub suspense: Option<Suspense>,
}

impl StoreLine {
    /// What the store may still spend of it, or what waits for a person's decision when the epoch was fenced.
    #[must_use]
    pub fn holds(&self) -> i128 {
        match self.suspense {
            None => self.line.held(),
            Some(suspense) => Fenced { pool: Pool::default(), line: self.line, suspense }.waiting_minor().into(),
        }
    }
}

/// All lines of a purse, over all stores and epochs.
///
/// # Errors
/// [`StoreError`].
pub fn lines(tx: &mut Tx<'_>, purse: Purse) -> Result<Vec<StoreLine>, StoreError> {
    let sql = format!(
        "SELECT a.store_id, a.epoch, a.granted_minor, a.adopted_minor, a.loaded_minor, a.spent_minor, a.released_minor, t.epoch, \
         {} FROM allotment a \
         LEFT JOIN tenure t ON t.store_id = a.store_id AND t.epoch = a.epoch AND t.standing = 'fenced' \
         LEFT JOIN suspense s ON s.account_id = a.account_id AND s.unit = a.unit AND s.store_id = a.store_id AND s.epoch = a.epoch \
         WHERE a.account_id = $1 AND a.unit = $2 ORDER BY a.store_id, a.epoch",
        suspense::COLUMNS
    );
    tx.query(&sql, &[purse.account.into(), purse.unit.into()], |row| {
        let epoch = Epoch(u32::try_from(row.integer(1)?).unwrap_or(0));
        let (done, is_fenced) = (suspense::read(row, 8)?, row.maybe_integer(7)?.is_some());
        let suspense = is_fenced.then_some(done);
        Ok(StoreLine { store: row.parsed(0, "allotment", "store_id")?, epoch, line: read_line(row, 2)?, suspense })
    })
}

/// Writes a line.
///
/// # Errors
/// [`StoreError`].
pub fn put_line(tx: &mut Tx<'_>, purse: Purse, store: StoreId, epoch: Epoch, line: &Line) -> Result<(), StoreError> {
    tx.execute_one(
        "write an allotment",
        "allotment",
        "INSERT INTO allotment (account_id, unit, store_id, epoch, granted_minor, adopted_minor, loaded_minor, spent_minor, released_minor) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (account_id, unit, store_id, epoch) DO UPDATE SET \
         granted_minor = excluded.granted_minor, adopted_minor = excluded.adopted_minor, loaded_minor = excluded.loaded_minor, \
         spent_minor = excluded.spent_minor, released_minor = excluded.released_minor",
        &[
            purse.account.into(),
            purse.unit.into(),
            (&store).into(),
            epoch.into(),
            line.granted_minor.into(),
            line.seen.adopted_minor.into(),
            line.seen.loaded_minor.into(),
            line.seen.spent_minor.into(),
            line.seen.released_minor.into(),
        ],
    )
}

/// Grants of an account that a store has not adopted, as far as the hub knows.
///
/// # Errors
/// [`StoreError`].
pub fn undelivered(
    tx: &mut Tx<'_>,
    account: AccountId,
    store: StoreId,
    epoch: Epoch,
) -> Result<Vec<Grant>, StoreError> {
    tx.query(
        "SELECT a.unit, a.granted_minor, p.stamp FROM allotment a JOIN pool p ON p.account_id = a.account_id AND p.unit = a.unit \
         WHERE a.account_id = $1 AND a.store_id = $2 AND a.epoch = $3 AND a.granted_minor > a.adopted_minor ORDER BY a.unit",
        &[account.into(), (&store).into(), epoch.into()],
        |row| {
            let unit: Unit = row.parsed(0, "allotment", "unit")?;
            Ok(Grant { account, unit, granted_minor: row.integer(1)?, stamp: Stamp(row.integer(2)?) })
        },
    )
}

/// What an account holds by the hub's knowledge, in its pool and at all stores: each unit with something in it.
///
/// # Errors
/// [`StoreError`].
pub fn holdings(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<(Unit, i128)>, StoreError> {
    let units = tx.query(
        "SELECT unit FROM pool WHERE account_id = $1 UNION SELECT unit FROM allotment WHERE account_id = $1 ORDER BY unit",
        &[account.into()],
        |row| row.parsed::<Unit>(0, "pool", "unit"),
    )?;
    let mut holdings = Vec::new();
    for unit in units {
        let purse = Purse { account, unit };
        let held: i128 = lines(tx, purse)?.iter().map(StoreLine::holds).sum();
        let sum = pool(tx, purse)?.0.free() + held;
        if sum > 0 {
            holdings.push((unit, sum));
        }
    }
    Ok(holdings)
}

/// What is counted about allotments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Reports taken.
    Reports,
    /// Grants given.
    Grants,
    /// Report lines that gave value back.
    Releases,
    /// Recalls sent to other stores.
    Recalls,
    /// Requests for grants.
    GrantRequests,
    /// Requests that stayed short.
    Short,
}

/// Adds to a count.
///
/// # Errors
/// [`StoreError`].
pub fn count(tx: &mut Tx<'_>, counted: Counted, times: usize) -> Result<(), StoreError> {
    if times == 0 {
        return Ok(());
    }
    let name = match counted {
        Counted::Reports => "reports",
        Counted::Grants => "grants",
        Counted::Releases => "releases",
        Counted::Recalls => "recalls",
        Counted::GrantRequests => "grant_requests",
        Counted::Short => "short",
    };
    tx.execute_one(
        "count",
        "allotment_count",
        "INSERT INTO allotment_count (name, count) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET count = allotment_count.count + excluded.count",
        &[name.into(), i64::try_from(times).unwrap_or(i64::MAX).into()],
    )
}

/// All counts, by name.
///
/// # Errors
/// [`StoreError`].
pub fn counts(tx: &mut Tx<'_>) -> Result<Vec<(String, i64)>, StoreError> {
    tx.query("SELECT name, count FROM allotment_count ORDER BY name", &[], |row| {
        Ok((row.text(0)?.to_owned(), row.integer(1)?))
    })
}
