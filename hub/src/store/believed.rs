//! Believed rows: per purse of an epoch, what counts as granted to it because it said so to a hub that had forgotten.
//!
//! Invariant: what was believed only rises.

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::unit::Unit;

use super::{Row, StoreError, Tx};

fn account(row: &Row<'_>, column: usize) -> Result<AccountId, StoreError> {
    let number = row.integer(column)?;
    AccountId::new(number).map_err(|why| StoreError::Value {
        table: "believed",
        column: "account_id",
        row: number.to_string(),
        fault: why.to_string(),
    })
}

/// Adds to what was believed of a purse.
///
/// # Errors
/// [`StoreError`].
pub fn add(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    purse: Purse,
    amount_minor: i64,
) -> Result<(), StoreError> {
    tx.execute_one(
        "write down a grant that was believed",
        "believed",
        "INSERT INTO believed (store_id, epoch, account_id, unit, granted_minor) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (store_id, epoch, account_id, unit) DO UPDATE SET granted_minor = believed.granted_minor + excluded.granted_minor",
        &[(&store).into(), epoch.into(), purse.account.into(), purse.unit.into(), amount_minor.into()],
    )
}

/// What was believed of an epoch, in one unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum {
    /// The unit.
    pub unit: Unit,
    /// On how many accounts.
    pub purses: u64,
    /// On all of them.
    pub granted_minor: i128,
    /// The account with the most.
    pub most: AccountId,
    /// That much.
    pub most_minor: i64,
}

/// What was believed of an epoch, by unit.
///
/// # Errors
/// [`StoreError`].
pub fn sums(tx: &mut Tx<'_>, (store, epoch): (StoreId, Epoch)) -> Result<Vec<Sum>, StoreError> {
    let mut sums: Vec<Sum> = Vec::new();
    tx.for_each(
        "SELECT account_id, unit, granted_minor FROM believed WHERE store_id = $1 AND epoch = $2 ORDER BY unit, account_id",
        &[(&store).into(), epoch.into()],
        |row| {
            let (account, unit, granted_minor) = (account(row, 0)?, row.parsed(1, "believed", "unit")?, row.integer(2)?);
            match sums.last_mut().filter(|sum| sum.unit == unit) {
                Some(sum) => {
                    sum.purses += 1;
                    sum.granted_minor += i128::from(granted_minor);
                    if granted_minor > sum.most_minor {
                        (sum.most, sum.most_minor) = (account, granted_minor);
                    }
                }
                None => sums.push(Sum {
                    unit,
                    purses: 1,
                    granted_minor: granted_minor.into(),
                    most: account,
                    most_minor: granted_minor,
                }),
            }
            Ok::<_, StoreError>(())
        },
    )?;
    Ok(sums)
}

/// Purses of an epoch that was believed whose pool is below nothing, the lowest first, and how far: at most so many.
///
/// # Errors
/// [`StoreError`].
pub fn overdrawn(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    limit: usize,
) -> Result<Vec<(Purse, i64)>, StoreError> {
    tx.query(
        "SELECT b.account_id, b.unit, p.loaded_minor - p.spent_minor + p.released_minor - p.granted_minor AS free_minor \
         FROM believed b JOIN pool p ON p.account_id = b.account_id AND p.unit = b.unit \
         WHERE b.store_id = $1 AND b.epoch = $2 AND p.loaded_minor - p.spent_minor + p.released_minor - p.granted_minor < 0 \
         ORDER BY free_minor, b.account_id LIMIT $3",
        &[(&store).into(), epoch.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        |row| Ok((Purse { account: account(row, 0)?, unit: row.parsed(1, "believed", "unit")? }, row.integer(2)?)),
    )
}
