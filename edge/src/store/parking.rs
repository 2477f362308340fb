//! Parking: what head office wants this store to keep of accounts while their members are not here.
//!
//! A purse without a row is kept by the policy's `park_minor`. Targets move no counter: what is above is released, what is below is asked for.

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::AccountId;
use huitong_protocol::wire::Parked;

use super::{ReadTx, StoreError, WriteTx, cell, column, parsed};

/// Takes a target from head office, or that it has none any more.
///
/// # Errors
/// [`StoreError`] of the engine; [`StoreError::Rule`] when it is below zero.
pub fn put(tx: &mut WriteTx<'_>, parked: &Parked) -> Result<(), StoreError> {
    let Some(target_minor) = parked.target_minor else {
        let sql = "DELETE FROM parking WHERE account = ?1 AND unit = ?2";
        return tx.execute("drop a target", sql, (parked.account.get(), parked.unit.as_str())).map(drop);
    };
    if target_minor < 0 {
        let fault = format!("account {}: target_minor is {target_minor}, below zero", parked.account);
        return Err(StoreError::Rule { operation: "keep a target", fault });
    }
    tx.execute_one(
        "keep a target",
        "INSERT INTO parking (account, unit, target_minor) VALUES (?1, ?2, ?3)
         ON CONFLICT (account, unit) DO UPDATE SET target_minor = excluded.target_minor",
        (parked.account.get(), parked.unit.as_str(), target_minor),
    )
}

/// What the store keeps of a purse when it releases. Of its line of the risk account that is what head office says alone: `park_minor` is for members' value.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn kept_minor(tx: &ReadTx<'_>, purse: Purse, park_minor: i64) -> Result<i64, StoreError> {
    let target = tx.one(
        "read a target",
        "SELECT target_minor FROM parking WHERE account = ?1 AND unit = ?2",
        (purse.account.get(), purse.unit.as_str()),
        |row| cell(row, 0),
    )?;
    Ok(target.unwrap_or(if purse.account == AccountId::RISK { 0 } else { park_minor }))
}

/// The lines of the risk account that are shorter than they are to be.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn lacking_lines(tx: &ReadTx<'_>) -> Result<Vec<Purse>, StoreError> {
    tx.all(
        "find lines that are too short",
        "SELECT parking.unit FROM parking LEFT JOIN allotment USING (account, unit)
         WHERE parking.account = ?1 AND target_minor > COALESCE(available_minor, 0)",
        [AccountId::RISK.get()],
        |row| Ok(Purse { account: AccountId::RISK, unit: parsed(row, 0, "parking", "unit")? }),
    )
}

/// Purses of which the store holds less than it is to keep, after one of them, by account.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn lacking(tx: &ReadTx<'_>, after: Option<Purse>, limit: usize) -> Result<Vec<Purse>, StoreError> {
    let (account, unit) = after.map_or((0, ""), |purse| (purse.account.get(), purse.unit.as_str()));
    tx.all(
        "find what is lacking",
        "SELECT parking.account, parking.unit FROM parking LEFT JOIN allotment USING (account, unit)
         WHERE target_minor > COALESCE(available_minor, 0) AND (parking.account, parking.unit) > (?1, ?2)
         ORDER BY parking.account, parking.unit LIMIT ?3",
        (account, unit, column(limit as u64)),
        |row| {
            let account = AccountId::new(cell(row, 0)?).map_err(|error| StoreError::Value {
                table: "parking",
                column: "account",
                fault: error.to_string(),
            })?;
            Ok(Purse { account, unit: parsed(row, 1, "parking", "unit")? })
        },
    )
}
