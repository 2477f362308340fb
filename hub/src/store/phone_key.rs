//! The key under which the group's phones are hashed. Made once with the hub; stores get it with the members.

use huitong_protocol::member::PhoneKey;

use super::engine::{StoreError, Tx};

/// The key.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>) -> Result<Option<PhoneKey>, StoreError> {
    tx.query_one("SELECT bytes FROM phone_key", &[], |row| {
        PhoneKey::from_slice(row.bytes(0)?).map_err(|fault| StoreError::Value {
            table: "phone_key",
            column: "bytes",
            row: "1".to_owned(),
            fault,
        })
    })
}

/// The key of a hub that was made.
///
/// # Errors
/// [`StoreError::Rule`] when there is none.
pub fn get(tx: &mut Tx<'_>) -> Result<PhoneKey, StoreError> {
    find(tx)?.ok_or_else(|| StoreError::Rule {
        operation: "read the phone key",
        fault: "this hub has no phone key; run `huitong-hub init --group CODE --currency CNY` first".to_owned(),
    })
}

/// Writes the key of a new hub.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, key: &PhoneKey) -> Result<(), StoreError> {
    let bytes: &[u8] = key.reveal();
    tx.execute_one(
        "keep the phone key",
        "phone_key",
        "INSERT INTO phone_key (id, bytes) VALUES (1, $1)",
        &[bytes.into()],
    )
}
