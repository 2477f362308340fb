//! Payment references that count once, and the receipts that used them. What stores know each for themselves is compared here over all of them.
//!
//! Invariant: a receipt has a row for each reference that it used, until it gave the paper back whole.

use huitong_protocol::id::{EntryId, Epoch, Seq, TenderCode};

use super::{Row, StoreError, Tx};

/// As references are compared: upper and lower case are one.
fn folded(reference: &str) -> String {
    reference.to_ascii_uppercase()
}

/// Writes that a receipt used a reference.
///
/// # Errors
/// [`StoreError`].
pub fn used(
    tx: &mut Tx<'_>,
    receipt: EntryId,
    tender: TenderCode,
    reference: &str,
    amount_minor: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO tender_reference (tender, reference, store_id, epoch, seq, amount_minor, refunded_minor) \
         VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (tender, reference, store_id, epoch, seq) DO NOTHING",
        &[
            tender.as_str().into(),
            folded(reference).as_str().into(),
            (&receipt.store).into(),
            receipt.epoch.into(),
            receipt.seq.into(),
            amount_minor.into(),
        ],
    )
    .map(drop)
}

/// Takes a part of what a receipt paid with a reference back; the last part frees it.
///
/// # Errors
/// [`StoreError`].
pub fn given_back(
    tx: &mut Tx<'_>,
    receipt: EntryId,
    tender: TenderCode,
    reference: &str,
    amount_minor: i64,
) -> Result<(), StoreError> {
    let reference = folded(reference);
    let key = [
        tender.as_str().into(),
        reference.as_str().into(),
        (&receipt.store).into(),
        receipt.epoch.into(),
        receipt.seq.into(),
        amount_minor.into(),
    ];
    tx.execute(
        "UPDATE tender_reference SET refunded_minor = refunded_minor + $6 \
         WHERE tender = $1 AND reference = $2 AND store_id = $3 AND epoch = $4 AND seq = $5",
        &key,
    )?;
    tx.execute(
        "DELETE FROM tender_reference WHERE tender = $1 AND reference = $2 AND store_id = $3 AND epoch = $4 AND seq = $5 \
         AND refunded_minor >= amount_minor",
        &key[..5],
    )
    .map(drop)
}

/// The receipts that use a reference, in the order of stores.
///
/// # Errors
/// [`StoreError`].
pub fn users(tx: &mut Tx<'_>, tender: TenderCode, reference: &str) -> Result<Vec<EntryId>, StoreError> {
    tx.query(
        "SELECT store_id, epoch, seq FROM tender_reference WHERE tender = $1 AND reference = $2 ORDER BY store_id, epoch, seq",
        &[tender.as_str().into(), folded(reference).as_str().into()],
        read_id,
    )
}

fn read_id(row: &Row<'_>) -> Result<EntryId, StoreError> {
    let (epoch, seq) = (row.integer(1)?, row.integer(2)?);
    Ok(EntryId {
        store: row.parsed(0, "tender_reference", "store_id")?,
        epoch: Epoch(u32::try_from(epoch).unwrap_or(0)),
        seq: Seq(u64::try_from(seq).unwrap_or(0)),
    })
}
