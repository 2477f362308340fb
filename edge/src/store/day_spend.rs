//! Day spends: what accounts have paid here on the open business day, for products with a limit per day.

use huitong_protocol::id::AccountId;
use huitong_protocol::time::BusinessDay;

use super::{ReadTx, StoreError, WriteTx, cell};

/// What an account has spent on a day.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn get(tx: &ReadTx<'_>, day: BusinessDay, account: AccountId) -> Result<i64, StoreError> {
    let sql = "SELECT spent_minor FROM day_spend WHERE business_day = ?1 AND account = ?2";
    let spent =
        tx.one("read what an account spent today", sql, (day.to_string(), account.get()), |row| cell(row, 0))?;
    Ok(spent.unwrap_or(0))
}

/// Counts what an account spent, or what came back to it the same day, below zero.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn add(tx: &mut WriteTx<'_>, day: BusinessDay, account: AccountId, amount_minor: i64) -> Result<(), StoreError> {
    tx.execute_one(
        "count what an account spent today",
        "INSERT INTO day_spend (business_day, account, spent_minor) VALUES (?1, ?2, MAX(0, ?3)) \
         ON CONFLICT (business_day, account) DO UPDATE SET spent_minor = MAX(0, spent_minor + ?3)",
        (day.to_string(), account.get(), amount_minor),
    )
}

/// Forgets the days before one.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn forget_before(tx: &mut WriteTx<'_>, day: BusinessDay) -> Result<(), StoreError> {
    tx.execute("forget what was spent before", "DELETE FROM day_spend WHERE business_day < ?1", [day.to_string()])
        .map(drop)
}
