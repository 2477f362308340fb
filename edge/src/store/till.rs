//! Tills: which are paired, by the hash of their token, and what each may do. Tokens themselves are not stored.

use huitong_protocol::id::TerminalId;
use huitong_protocol::time::Instant;
use rusqlite::Row;

use super::{ReadTx, StoreError, WriteTx, cell, parsed};
use crate::till::{Permissions, TokenHash};

/// A paired till.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairedTill {
    /// The hash of its token.
    pub token_hash: TokenHash,
    /// Its code.
    pub terminal: TerminalId,
    /// What it may do beyond selling.
    pub permissions: Permissions,
    /// When it was paired.
    pub paired_at_ms: Instant,
    /// When it was revoked.
    pub revoked_at_ms: Option<Instant>,
}

fn read(row: &Row<'_>) -> Result<PairedTill, StoreError> {
    let hash: Vec<u8> = cell(row, 0)?;
    let revoked: Option<i64> = cell(row, 4)?;
    let bad = |fault: &str| StoreError::Value { table: "till", column: "token_hash", fault: fault.to_owned() };
    Ok(PairedTill {
        token_hash: TokenHash(hash.try_into().map_err(|_| bad("is not 32 bytes"))?),
        terminal: parsed(row, 1, "till", "terminal")?,
        permissions: parsed(row, 2, "till", "permissions")?,
        paired_at_ms: Instant(cell(row, 3)?),
        revoked_at_ms: revoked.map(Instant),
    })
}

/// Every till that was ever paired, oldest first.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn list(tx: &ReadTx<'_>) -> Result<Vec<PairedTill>, StoreError> {
    let sql = "SELECT token_hash, terminal, permissions, paired_at_ms, revoked_at_ms FROM till ORDER BY paired_at_ms, terminal";
    tx.all("read tills", sql, [], read)
}

/// Pairs a till. A terminal has one token at a time: the one before is revoked.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn pair(
    tx: &mut WriteTx<'_>,
    now: Instant,
    terminal: TerminalId,
    permissions: Permissions,
    token: TokenHash,
) -> Result<(), StoreError> {
    revoke(tx, now, terminal)?;
    tx.execute_one(
        "pair a till",
        "INSERT INTO till (token_hash, terminal, permissions, paired_at_ms) VALUES (?1, ?2, ?3, ?4)",
        (&token.0[..], terminal.as_str(), permissions.to_string(), now.0),
    )
}

/// Takes over a till of an earlier database of this store as it was there; one that is known is left as it is.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn keep(tx: &mut WriteTx<'_>, till: &PairedTill) -> Result<(), StoreError> {
    tx.execute(
        "keep a till",
        "INSERT INTO till (token_hash, terminal, permissions, paired_at_ms, revoked_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (token_hash) DO NOTHING",
        (
            &till.token_hash.0[..],
            till.terminal.as_str(),
            till.permissions.to_string(),
            till.paired_at_ms.0,
            till.revoked_at_ms.map(|at| at.0),
        ),
    )?;
    tx.chain_mut().tills_version += 1;
    Ok(())
}

/// Revokes a till's token; gives whether it had one.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn revoke(tx: &mut WriteTx<'_>, now: Instant, terminal: TerminalId) -> Result<bool, StoreError> {
    let rows = tx.execute(
        "revoke a till",
        "UPDATE till SET revoked_at_ms = ?2 WHERE terminal = ?1 AND revoked_at_ms IS NULL",
        (terminal.as_str(), now.0),
    )?;
    tx.chain_mut().tills_version += 1;
    Ok(rows > 0)
}
