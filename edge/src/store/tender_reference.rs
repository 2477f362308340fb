//! References of payments outside that may be used once only: vouchers, coupons, the acquirer's numbers.
//!
//! Invariant: a reference is written in the transaction that takes the payment, and never taken away: what was voided is paid again under another one.

use huitong_protocol::id::TenderCode;

use super::{ReadTx, StoreError, WriteTx, cell};

/// Whether a reference was used.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn is_used(tx: &ReadTx<'_>, tender: TenderCode, reference: &str) -> Result<bool, StoreError> {
    let found: Option<i64> = tx.one(
        "look for a payment's reference",
        "SELECT 1 FROM tender_reference WHERE tender = ?1 AND reference = ?2",
        (tender.as_str(), reference),
        |row| cell(row, 0),
    )?;
    Ok(found.is_some())
}

/// Writes that a reference is used.
///
/// # Errors
/// [`StoreError`] of the engine, also when it was used before.
pub fn insert(tx: &mut WriteTx<'_>, tender: TenderCode, reference: &str) -> Result<(), StoreError> {
    tx.execute_one(
        "write a payment's reference",
        "INSERT INTO tender_reference (tender, reference) VALUES (?1, ?2)",
        (tender.as_str(), reference),
    )
}
