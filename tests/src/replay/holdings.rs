//! Holdings: where the hub and the stores see value, read from their own databases for the checks of a replay.

use std::collections::BTreeMap;

use huitong_edge::store::{ReadTx, StoreError as EdgeError, allotment};
use huitong_hub::store::{StoreError, Tx};
use huitong_protocol::id::{AccountId, StoreId};
use huitong_protocol::unit::Unit;

/// Rows of one look at a store's counters.
const LOOK_ROWS: usize = 5_000;

fn account_of(number: i64) -> Result<AccountId, StoreError> {
    AccountId::new(number).map_err(|fault| StoreError::Rule { operation: "read an account", fault: fault.to_string() })
}

/// What is free per account, in minor units.
pub(super) fn pools(tx: &mut Tx<'_>) -> Result<Vec<(AccountId, i64)>, StoreError> {
    let sql = "SELECT account_id, loaded_minor - spent_minor + released_minor - granted_minor FROM pool WHERE unit <> 'points'";
    tx.query(sql, &[], |row| Ok((account_of(row.integer(0)?)?, row.integer(1)?)))
}

/// What each store holds of each account as the hub knows, in minor units.
pub(super) fn lines(tx: &mut Tx<'_>) -> Result<BTreeMap<(AccountId, StoreId), i64>, StoreError> {
    let rows = tx.query(
        "SELECT account_id, store_id, SUM(granted_minor + loaded_minor - spent_minor - released_minor) FROM allotment \
         WHERE unit <> 'points' GROUP BY account_id, store_id",
        &[],
        |row| Ok(((account_of(row.integer(0)?)?, row.parsed(1, "allotment", "store_id")?), row.integer(2)?)),
    )?;
    Ok(rows.into_iter().collect())
}

/// What a store can spend of each account by its own counters, in minor units.
pub(super) fn available(tx: &ReadTx<'_>) -> Result<Vec<(AccountId, i64)>, EdgeError> {
    let (mut after, mut found) = (0, Vec::new());
    loop {
        let page = allotment::changed_after(tx, after, LOOK_ROWS)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = *last;
        let money = page.iter().filter(|(_, line)| line.unit != Unit::Points);
        found.extend(money.map(|(_, line)| (line.account, line.counters.available_minor())));
    }
}
