//! Budgets: what the store's own promotions have given away, less what came back. Whether more may be given is the ledger's.
//!
//! The count belongs to the promotion's code and goes on in later policies. It is written in the transaction of the sale, so that two tills never give the
//! same cent twice. A store that is enrolled anew begins at zero: its journal of before is at head office.

use huitong_protocol::id::PromotionId;

use super::{ReadTx, StoreError, WriteTx, cell};

/// What a promotion has given away, 0 when nothing was counted.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn given(tx: &ReadTx<'_>, promotion: PromotionId) -> Result<i64, StoreError> {
    let sql = "SELECT given_minor FROM promotion_given WHERE promotion = ?1";
    Ok(tx.one("read a budget", sql, [promotion.as_str()], |row| cell(row, 0))?.unwrap_or(0))
}

/// Counts what a promotion gave.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn add(tx: &mut WriteTx<'_>, promotion: PromotionId, amount_minor: i64) -> Result<(), StoreError> {
    tx.execute_one(
        "count what a promotion gave",
        "INSERT INTO promotion_given (promotion, given_minor) VALUES (?1, ?2) \
         ON CONFLICT (promotion) DO UPDATE SET given_minor = given_minor + excluded.given_minor",
        (promotion.as_str(), amount_minor),
    )
}

/// Takes back what a promotion had given. One that was never counted is not the store's own.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn take_back(tx: &mut WriteTx<'_>, promotion: PromotionId, amount_minor: i64) -> Result<(), StoreError> {
    // Never below zero: a sale of before the count began, given back now, was never counted.
    let sql = "UPDATE promotion_given SET given_minor = MAX(0, given_minor - ?2) WHERE promotion = ?1";
    tx.execute("take back what a promotion gave", sql, (promotion.as_str(), amount_minor)).map(drop)
}
