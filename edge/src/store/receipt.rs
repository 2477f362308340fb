//! Receipts: what came back of each sale already. A receipt that nothing came back of has no row.

use huitong_protocol::id::Seq;
use huitong_protocol::ledger::ReceiptState;
use huitong_protocol::wire::{from_msgpack, to_msgpack};

use super::{ReadTx, StoreError, WriteTx, cell, column};

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
        "INSERT INTO receipt (seq, state) VALUES (?1, ?2) ON CONFLICT (seq) DO UPDATE SET state = excluded.state",
        (column(seq.0), to_msgpack(state)),
    )
}
