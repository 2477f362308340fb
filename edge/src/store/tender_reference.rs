//! References of payments outside that may be used once only: vouchers, coupons, the acquirer's numbers.
//!
//! Invariant: a reference is written in the transaction that takes the payment. Upper and lower case are one.

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
/// [`StoreError`] of the engine.
pub fn insert(tx: &mut WriteTx<'_>, tender: TenderCode, reference: &str) -> Result<(), StoreError> {
    // Already there when a parked payment is confirmed under its own, or when a receipt taken while the store was down used it again.
    tx.execute(
        "write a payment's reference",
        "INSERT INTO tender_reference (tender, reference) VALUES (?1, ?2) ON CONFLICT (tender, reference) DO NOTHING",
        (tender.as_str(), reference),
    )
    .map(drop)
}

/// Makes a reference usable again: the paper went back to its owner.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn remove(tx: &mut WriteTx<'_>, tender: TenderCode, reference: &str) -> Result<(), StoreError> {
    tx.execute(
        "free a payment's reference",
        "DELETE FROM tender_reference WHERE tender = ?1 AND reference = ?2",
        (tender.as_str(), reference),
    )
    .map(drop)
}
