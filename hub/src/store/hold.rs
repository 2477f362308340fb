//! Hold rows: what stores set aside, as their journals say, and the entry that ended each. A projection of the entries: no value moves by it.
//!
//! Invariant: a row that has an end keeps it.

use huitong_protocol::holds::Placed;
use huitong_protocol::id::{EntryId, Epoch, OperationId, Seq, StoreId};

use super::{Row, StoreError, Tx, Value};

const COLUMNS: &str = "seq, account_id, currency, amount_minor, ended_seq, operation";

fn seq(number: i64) -> Seq {
    Seq(u64::try_from(number).unwrap_or(0))
}

fn read(row: &Row<'_>, (store, epoch): (StoreId, Epoch)) -> Result<Placed, StoreError> {
    let entry = |number| EntryId { store, epoch, seq: seq(number) };
    let number = row.integer(1)?;
    let bad = |fault: huitong_protocol::id::IdError| StoreError::Value {
        table: "hold",
        column: "account_id",
        row: format!("{store}-{epoch}"),
        fault: fault.to_string(),
    };
    Ok(Placed {
        entry: entry(row.integer(0)?),
        account: number.try_into().map_err(bad)?,
        currency: row.parsed(2, "hold", "currency")?,
        amount_minor: row.integer(3)?,
        ended_by: row.maybe_integer(4)?.map(entry),
    })
}

/// Keeps a hold that an entry placed, unless its operation placed one before in that journal.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, operation: OperationId, placed: &Placed) -> Result<(), StoreError> {
    let EntryId { store, epoch, seq } = placed.entry;
    tx.execute(
        "INSERT INTO hold (store_id, epoch, operation, seq, account_id, currency, amount_minor) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (store_id, epoch, operation) DO NOTHING",
        &[
            (&store).into(),
            epoch.into(),
            Value::Bytes(operation.0.as_bytes()),
            seq.into(),
            placed.account.into(),
            placed.currency.into(),
            placed.amount_minor.into(),
        ],
    )?;
    Ok(())
}

/// Notes the entry that ended a hold, unless one did before.
///
/// # Errors
/// [`StoreError`].
pub fn end(tx: &mut Tx<'_>, operation: OperationId, by: EntryId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE hold SET ended_seq = $4 WHERE store_id = $1 AND epoch = $2 AND operation = $3 AND ended_seq IS NULL",
        &[(&by.store).into(), by.epoch.into(), Value::Bytes(operation.0.as_bytes()), by.seq.into()],
    )?;
    Ok(())
}

/// A hold of an epoch.
///
/// # Errors
/// [`StoreError`].
pub fn find(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    operation: OperationId,
) -> Result<Option<Placed>, StoreError> {
    tx.query_one(
        &format!("SELECT {COLUMNS} FROM hold WHERE store_id = $1 AND epoch = $2 AND operation = $3"),
        &[(&store).into(), epoch.into(), Value::Bytes(operation.0.as_bytes())],
        |row| read(row, (store, epoch)),
    )
}

/// The holds of an epoch, by their operations.
///
/// # Errors
/// [`StoreError`].
pub fn of_epoch(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Vec<(OperationId, Placed)>, StoreError> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM hold WHERE store_id = $1 AND epoch = $2 ORDER BY operation"),
        &[(&store).into(), epoch.into()],
        |row| {
            let operation = uuid::Uuid::from_slice(row.bytes(5)?).map_err(|fault| StoreError::Value {
                table: "hold",
                column: "operation",
                row: format!("{store}-{epoch}"),
                fault: fault.to_string(),
            })?;
            Ok((OperationId(operation), read(row, (store, epoch))?))
        },
    )
}
