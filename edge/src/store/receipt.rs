//! Receipts: what the store remembers of each sale beside its entry: what came back, whether it is parked, its tax invoice. A receipt without
//! any of it has no row.

use huitong_protocol::id::Seq;
use huitong_protocol::ledger::ReceiptState;
use huitong_protocol::wire::{from_msgpack, to_msgpack};

use super::{ReadTx, StoreError, WriteTx, cell, column, counted};

/// The memory of a receipt.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not one.
pub fn get(tx: &ReadTx<'_>, seq: Seq) -> Result<ReceiptState, StoreError> {
    let state = tx.one("read a receipt", "SELECT state FROM receipt WHERE seq = ?1", [column(seq.0)], |row| {
        let bytes: Vec<u8> = cell(row, 0)?;
        from_msgpack(&bytes).map_err(|fault| StoreError::Value { table: "receipt", column: "state", fault })
    })?;
    Ok(state.unwrap_or_default())
}

/// Writes the memory of a receipt.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put(tx: &mut WriteTx<'_>, seq: Seq, state: &ReceiptState) -> Result<(), StoreError> {
    tx.execute_one(
        "write a receipt",
        "INSERT INTO receipt (seq, parked, state) VALUES (?1, ?2, ?3)
         ON CONFLICT (seq) DO UPDATE SET parked = excluded.parked, state = excluded.state",
        (column(seq.0), i64::from(state.parked), to_msgpack(state)),
    )
}

/// The receipts whose payment is not known, oldest first.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn parked(tx: &ReadTx<'_>) -> Result<Vec<Seq>, StoreError> {
    tx.all("list parked sales", "SELECT seq FROM receipt WHERE parked = 1 ORDER BY seq", [], |row| {
        Ok(Seq(counted(row, 0, "receipt", "seq")?))
    })
}
