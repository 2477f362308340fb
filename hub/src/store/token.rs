//! Enrolment tokens: a store's one-time permission to become a device. Only the hash is kept.

use huitong_protocol::id::{Hash, StoreId};
use huitong_protocol::time::Instant;

use super::engine::{StoreError, Tx};
use super::tenure;

/// Keeps a token's hash, good for the epoch after the one that there is now. Earlier tokens of the store that nobody used are over: the latest one is what was handed out.
pub fn insert(
    tx: &mut Tx<'_>,
    token: &str,
    store: StoreId,
    now: Instant,
    expires_at_ms: Instant,
) -> Result<(), StoreError> {
    let after = tenure::last(tx, store)?;
    tx.execute("DELETE FROM enrolment_token WHERE store_id = $1 AND used_at_ms IS NULL", &[(&store).into()])?;
    tx.execute_one(
        "keep a token",
        "enrolment_token",
        "INSERT INTO enrolment_token (token_hash, store_id, created_at_ms, expires_at_ms, used_at_ms, after_epoch) VALUES ($1, $2, $3, $4, NULL, $5)",
        &[(&Hash::of(token.as_bytes())).into(), (&store).into(), now.into(), expires_at_ms.into(), after.into()],
    )
}
