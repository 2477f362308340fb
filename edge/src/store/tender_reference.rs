//! References of payments outside that may be used once only: vouchers, coupons, the acquirer's numbers.
//!
//! Invariants: a reference is written in the transaction that takes the payment, under the receipt that used it; who gives one back frees its own use and
//! nobody else's. Upper and lower case are one.

use huitong_protocol::id::{Seq, TenderCode};

use super::{ReadTx, StoreError, WriteTx, cell, column};

/// Whether a reference was used.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn is_used(tx: &ReadTx<'_>, tender: TenderCode, reference: &str) -> Result<bool, StoreError> {
    let found: Option<i64> = tx.one(
        "look for a payment's reference",
        "SELECT 1 FROM tender_reference WHERE tender = ?1 AND reference = ?2 LIMIT 1",
        (tender.as_str(), reference),
        |row| cell(row, 0),
    )?;
    Ok(found.is_some())
}

/// Writes that a receipt used a reference.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn insert(tx: &mut WriteTx<'_>, tender: TenderCode, reference: &str, receipt: Seq) -> Result<(), StoreError> {
    // Already there when a parked payment is confirmed under its own.
    tx.execute(
        "write a payment's reference",
        "INSERT INTO tender_reference (tender, reference, receipt_seq) VALUES (?1, ?2, ?3)
         ON CONFLICT (tender, reference, receipt_seq) DO NOTHING",
        (tender.as_str(), reference, column(receipt.0)),
    )
    .map(drop)
}

/// Takes a receipt's use of a reference back: the paper went back to its owner. Usable again when no other receipt used it.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn remove(tx: &mut WriteTx<'_>, tender: TenderCode, reference: &str, receipt: Seq) -> Result<(), StoreError> {
    tx.execute(
        "free a payment's reference",
        "DELETE FROM tender_reference WHERE tender = ?1 AND reference = ?2 AND receipt_seq = ?3",
        (tender.as_str(), reference, column(receipt.0)),
    )
    .map(drop)
}
