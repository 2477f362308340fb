//! The pair to which stores seal what is written on members' forms. Made once with the hub; the secret half is in no log and in no output.

use super::engine::{StoreError, Tx};
use crate::sealing::SealingPair;

/// The pair of a hub that was made.
///
/// # Errors
/// [`StoreError::Rule`] when there is none.
pub fn get(tx: &mut Tx<'_>) -> Result<SealingPair, StoreError> {
    let found = tx.query_one("SELECT secret FROM sealing_key", &[], |row| {
        let secret: [u8; 32] = row.bytes(0)?.try_into().map_err(|_| StoreError::Value {
            table: "sealing_key",
            column: "secret",
            row: "1".to_owned(),
            fault: "is no key of 32 bytes".to_owned(),
        })?;
        Ok::<_, StoreError>(SealingPair::new(secret))
    })?;
    found.ok_or_else(|| StoreError::Rule {
        operation: "read the sealing key",
        fault: "this hub has no sealing key; run `huitong-hub init --group CODE --currency CNY` first".to_owned(),
    })
}

/// Writes the pair of a new hub.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, pair: &SealingPair) -> Result<(), StoreError> {
    let secret = pair.reveal();
    tx.execute_one(
        "keep the sealing key",
        "sealing_key",
        "INSERT INTO sealing_key (id, secret) VALUES (1, $1)",
        &[secret.as_slice().into()],
    )
}
