//! Overdraft rows: what accounts owe the group's risk account, and what each store is told of it.
//!
//! Invariant: a row per movement that names who owes, written with the movement; what is owed is computed from them (`protocol::debt`), and kept of the
//! accounts with something open, so that a look at those reads no others.

use std::collections::BTreeMap;

use huitong_protocol::debt::Owing;
use huitong_protocol::id::{AccountId, EntryId, Epoch, Seq, StoreId};
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{Cleared, DatasetKind};

use super::{Row, StoreError, Tx, dataset};

fn account(row: &Row<'_>, column: usize) -> Result<AccountId, StoreError> {
    let number = row.integer(column)?;
    AccountId::new(number).map_err(|why| StoreError::Value {
        table: "overdraft",
        column: "account_id",
        row: number.to_string(),
        fault: why.to_string(),
    })
}

/// Keeps what a movement says of somebody's debt, if it does.
///
/// # Errors
/// [`StoreError`].
pub(super) fn note(
    tx: &mut Tx<'_>,
    id: EntryId,
    index: u16,
    ingested_no: i64,
    movement: &Movement,
) -> Result<(), StoreError> {
    let Some(owed_by) = movement.owed_by else { return Ok(()) };
    tx.execute_one(
        "keep what is owed",
        "overdraft",
        "INSERT INTO overdraft (store_id, epoch, seq, idx, ingested_no, account_id, unit, kind, amount_minor) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            (&id.store).into(),
            id.epoch.into(),
            id.seq.into(),
            index.into(),
            ingested_no.into(),
            owed_by.into(),
            movement.unit.into(),
            movement.kind.into(),
            movement.amount_minor.into(),
        ],
    )?;
    let debt = owing(tx, owed_by, movement.unit)?.debt;
    let (of, owed_minor, excess_minor) =
        ([owed_by.into(), movement.unit.into()], debt.owed_minor(), debt.excess_minor());
    if owed_minor == 0 && excess_minor == 0 {
        tx.execute("DELETE FROM debt WHERE account_id = $1 AND unit = $2", &of)?;
        return Ok(());
    }
    let [account, unit] = of;
    tx.execute_one(
        "keep what is open",
        "debt",
        "INSERT INTO debt (account_id, unit, owed_minor, excess_minor) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (account_id, unit) DO UPDATE SET owed_minor = excluded.owed_minor, excess_minor = excluded.excess_minor",
        &[account, unit, owed_minor.into(), excess_minor.into()],
    )
}

/// What an account owes, and what it is owed as it was collected too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// Still owed.
    pub owed_minor: i64,
    /// Collected and not owed.
    pub excess_minor: i64,
}

/// The accounts with something open.
///
/// # Errors
/// [`StoreError`].
pub fn open(tx: &mut Tx<'_>) -> Result<BTreeMap<(AccountId, Unit), Open>, StoreError> {
    let rows = tx.query(
        "SELECT account_id, unit, owed_minor, excess_minor FROM debt ORDER BY account_id, unit",
        &[],
        |row| {
            let open = Open { owed_minor: row.integer(2)?, excess_minor: row.integer(3)? };
            Ok::<_, StoreError>(((account(row, 0)?, row.parsed(1, "debt", "unit")?), open))
        },
    )?;
    Ok(rows.into_iter().collect())
}

/// What was collected of a unit and is not owed, over all accounts.
///
/// # Errors
/// [`StoreError`].
pub fn excess_minor(tx: &mut Tx<'_>, unit: Unit) -> Result<i64, StoreError> {
    let sql = "SELECT COALESCE(SUM(excess_minor), 0) FROM debt WHERE unit = $1 AND excess_minor > 0";
    Ok(tx.query_one(sql, &[unit.into()], |row| row.integer(0))?.unwrap_or(0))
}

fn read_place(row: &Row<'_>, first: usize) -> Result<(StoreId, Epoch), StoreError> {
    let epoch = Epoch(u32::try_from(row.integer(first + 1)?).unwrap_or(0));
    Ok((row.parsed(first, "overdraft", "store_id")?, epoch))
}

/// The debts of every account that ever overdrew.
///
/// # Errors
/// [`StoreError`].
pub fn owings(tx: &mut Tx<'_>) -> Result<BTreeMap<(AccountId, Unit), Owing>, StoreError> {
    let mut owings: BTreeMap<(AccountId, Unit), Owing> = BTreeMap::new();
    tx.for_each(
        "SELECT account_id, unit, store_id, epoch, kind, amount_minor FROM overdraft ORDER BY account_id, unit, ingested_no, idx",
        &[],
        |row| {
            let of = (account(row, 0)?, row.parsed(1, "overdraft", "unit")?);
            let place = read_place(row, 2)?;
            owings.entry(of).or_default().add(place, row.parsed(4, "overdraft", "kind")?, row.integer(5)?);
            Ok::<(), StoreError>(())
        },
    )?;
    Ok(owings)
}

/// The debt of one account, and where it came about, in the order in which the hub learnt of it.
///
/// # Errors
/// [`StoreError`].
pub fn owing(tx: &mut Tx<'_>, account: AccountId, unit: Unit) -> Result<Owing, StoreError> {
    let mut owing = Owing::default();
    tx.for_each(
        "SELECT store_id, epoch, kind, amount_minor FROM overdraft WHERE account_id = $1 AND unit = $2 ORDER BY ingested_no, idx",
        &[account.into(), unit.into()],
        |row| {
            owing.add(read_place(row, 0)?, row.parsed(2, "overdraft", "kind")?, row.integer(3)?);
            Ok::<(), StoreError>(())
        },
    )?;
    Ok(owing)
}

/// Accounts whose debts changed after an `ingested_no`.
///
/// # Errors
/// [`StoreError`].
pub fn changed(tx: &mut Tx<'_>, after: i64, through: i64) -> Result<Vec<(AccountId, Unit)>, StoreError> {
    tx.query(
        "SELECT DISTINCT account_id, unit FROM overdraft WHERE ingested_no > $1 AND ingested_no <= $2 ORDER BY account_id, unit",
        &[after.into(), through.into()],
        |row| Ok((account(row, 0)?, row.parsed(1, "overdraft", "unit")?)),
    )
}

/// Writes what a store is to be told of an account, when it is something else than it was told. That nothing is cleared is said too: a life of the hub that
/// this one has forgotten may have said something else.
///
/// # Errors
/// [`StoreError`].
pub fn put_cleared(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    (account, unit): (AccountId, Unit),
    cleared_minor: i64,
) -> Result<(), StoreError> {
    let key = [(&store).into(), epoch.into(), account.into(), unit.into()];
    let told = tx.query_one(
        "SELECT cleared_minor FROM overdraft_cleared WHERE store_id = $1 AND epoch = $2 AND account_id = $3 AND unit = $4",
        &key,
        |row| row.integer(0),
    )?;
    if told == Some(cleared_minor) {
        return Ok(());
    }
    let version = dataset::advance(tx, DatasetKind::Overdrafts, 1)?;
    tx.execute_one(
        "write what is cleared",
        "overdraft_cleared",
        "INSERT INTO overdraft_cleared (store_id, epoch, account_id, unit, cleared_minor, version) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (store_id, epoch, account_id, unit) DO UPDATE SET cleared_minor = excluded.cleared_minor, version = excluded.version",
        &[(&store).into(), epoch.into(), account.into(), unit.into(), cleared_minor.into(), version.into()],
    )
}

/// Tells every store all of it again, with the next versions: what a life of the hub that this one has forgotten said beyond it does not count.
///
/// # Errors
/// [`StoreError`].
pub fn tell_again(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let told = tx.query(
        "SELECT store_id, epoch, account_id, unit FROM overdraft_cleared ORDER BY store_id, epoch, version",
        &[],
        |row| {
            Ok::<_, StoreError>((
                read_place(row, 0)?,
                account(row, 2)?,
                row.parsed::<Unit>(3, "overdraft_cleared", "unit")?,
            ))
        },
    )?;
    for ((store, epoch), account, unit) in told {
        let version = dataset::advance(tx, DatasetKind::Overdrafts, 1)?;
        tx.execute_one(
            "tell again what is cleared",
            "overdraft_cleared",
            "UPDATE overdraft_cleared SET version = $5 WHERE store_id = $1 AND epoch = $2 AND account_id = $3 AND unit = $4",
            &[(&store).into(), epoch.into(), account.into(), unit.into(), version.into()],
        )?;
    }
    Ok(())
}

/// Reads what a store is told, from the columns account, unit and what is cleared.
///
/// # Errors
/// [`StoreError::Value`].
pub(super) fn read_cleared(row: &Row<'_>) -> Result<Cleared, StoreError> {
    Ok(Cleared {
        account: account(row, 0)?,
        unit: row.parsed(1, "overdraft_cleared", "unit")?,
        cleared_minor: row.integer(2)?,
    })
}

/// A row, for verification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noted {
    /// Who owes.
    pub account: AccountId,
    /// What is counted.
    pub unit: Unit,
    /// What changed.
    pub kind: MovementKind,
    /// By how much.
    pub amount_minor: i64,
}

/// Every row, with the place of its movement.
///
/// # Errors
/// [`StoreError`].
pub fn each(tx: &mut Tx<'_>, mut each: impl FnMut((EntryId, u16), Noted)) -> Result<(), StoreError> {
    tx.for_each("SELECT store_id, epoch, seq, idx, account_id, unit, kind, amount_minor FROM overdraft", &[], |row| {
        let entry = EntryId {
            store: row.parsed(0, "overdraft", "store_id")?,
            epoch: Epoch(u32::try_from(row.integer(1)?).unwrap_or(0)),
            seq: Seq(u64::try_from(row.integer(2)?).unwrap_or(0)),
        };
        let noted = Noted {
            account: account(row, 4)?,
            unit: row.parsed(5, "overdraft", "unit")?,
            kind: row.parsed(6, "overdraft", "kind")?,
            amount_minor: row.integer(7)?,
        };
        each((entry, u16::try_from(row.integer(3)?).unwrap_or(u16::MAX)), noted);
        Ok(())
    })
}
