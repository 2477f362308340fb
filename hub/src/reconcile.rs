//! Reconcile: load, `protocol::reconcile`, save. Safe to run again: a finding that was raised is not raised twice.

use huitong_protocol::reconcile::{self, Finding};
use huitong_protocol::time::Instant;

use crate::store::{Store, StoreError, Tx, device, exception, journal};

/// Where reports and journals of the enrolled stores do not agree. Changes nothing.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>) -> Result<Vec<Finding>, StoreError> {
    let reaches = device::reaches(tx)?;
    let mut findings = Vec::new();
    journal::unequal_counters(tx, |pair| {
        // An epoch before the present one reports no more: nothing says how far its last report reached.
        if let Some(reach) = reaches.get(&(pair.store, pair.epoch)) {
            findings.extend(reconcile::counters(&pair, *reach));
        }
    })?;
    Ok(findings)
}

/// Compares and raises an exception for each finding. Gives how many are new.
///
/// # Errors
/// [`StoreError`].
pub async fn run(store: &Store, now: Instant) -> Result<usize, StoreError> {
    let findings = store.read(find).await?;
    if findings.is_empty() {
        return Ok(0);
    }
    store
        .write(move |tx| {
            let mut new = 0;
            for finding in &findings {
                new += usize::from(exception::raise(tx, finding, now)?);
            }
            Ok(new)
        })
        .await
}
