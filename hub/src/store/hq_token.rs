//! Tokens of the API of head office: a person's or program's name, and the hash of what they show. Only the hash is kept.

use huitong_protocol::id::Hash;
use huitong_protocol::time::Instant;
use serde::Serialize;

use super::{StoreError, Tx};

/// How often a token's last use is written down: a program that asks without pause must not keep the writer busy.
const USED_EVERY_MS: i64 = 60_000;

/// A token without what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Whose it is.
    pub name: String,
    /// When it was made.
    pub created_at_ms: Instant,
    /// When it ends by itself.
    pub expires_at_ms: Option<Instant>,
    /// When it was revoked.
    pub revoked_at_ms: Option<Instant>,
    /// When it was last used, to the minute.
    pub last_used_ms: Option<Instant>,
}

impl Token {
    /// Whether it opens anything.
    #[must_use]
    pub fn is_good(&self, now: Instant) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|end| now < end)
    }

    /// Whether its last use should be written down now.
    #[must_use]
    pub fn is_use_news(&self, now: Instant) -> bool {
        self.last_used_ms.is_none_or(|used| now.0.abs_diff(used.0) >= USED_EVERY_MS.unsigned_abs())
    }
}

const TOKEN: &str = "SELECT name, created_at_ms, expires_at_ms, revoked_at_ms, last_used_ms FROM hq_token";

fn read(row: &super::Row<'_>) -> Result<Token, StoreError> {
    Ok(Token {
        name: row.text(0)?.to_owned(),
        created_at_ms: Instant(row.integer(1)?),
        expires_at_ms: row.maybe_integer(2)?.map(Instant),
        revoked_at_ms: row.maybe_integer(3)?.map(Instant),
        last_used_ms: row.maybe_integer(4)?.map(Instant),
    })
}

/// Keeps a token. A name has one that is not revoked.
///
/// # Errors
/// [`StoreError::Rule`] when the name has one already.
pub fn insert(
    tx: &mut Tx<'_>,
    name: &str,
    shown: &str,
    now: Instant,
    expires_at_ms: Option<Instant>,
) -> Result<(), StoreError> {
    let held =
        tx.query_one("SELECT 1 FROM hq_token WHERE name = $1 AND revoked_at_ms IS NULL", &[name.into()], |row| {
            row.integer(0)
        })?;
    if held.is_some() {
        let fault = format!("{name} has a token already\n  hint: huitong-hub token revoke {name:?}, then make another");
        return Err(StoreError::Rule { operation: "make a token", fault });
    }
    tx.execute_one(
        "keep a token",
        "hq_token",
        "INSERT INTO hq_token (token_hash, name, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)",
        &[(&Hash::of(shown.as_bytes())).into(), name.into(), now.into(), expires_at_ms.into()],
    )
}

/// The token that was shown.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, hash: &Hash) -> Result<Option<Token>, StoreError> {
    tx.query_one(&format!("{TOKEN} WHERE token_hash = $1"), &[hash.into()], read)
}

/// All tokens, by name and age.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Token>, StoreError> {
    tx.query(&format!("{TOKEN} ORDER BY name, created_at_ms"), &[], read)
}

/// Revokes a name's token. Gives whether there was one.
///
/// # Errors
/// [`StoreError`].
pub fn revoke(tx: &mut Tx<'_>, name: &str, now: Instant) -> Result<bool, StoreError> {
    let sql = "UPDATE hq_token SET revoked_at_ms = $2 WHERE name = $1 AND revoked_at_ms IS NULL";
    Ok(tx.execute(sql, &[name.into(), now.into()])? == 1)
}

/// Writes down that a token was used.
///
/// # Errors
/// [`StoreError`].
pub fn used(tx: &mut Tx<'_>, hash: &Hash, now: Instant) -> Result<(), StoreError> {
    tx.execute("UPDATE hq_token SET last_used_ms = $2 WHERE token_hash = $1", &[hash.into(), now.into()]).map(drop)
}
