//! Parking rows: what each store is to keep of an account, and how each plan went. What a visit is and how value is split is `protocol::parking`'s.
//!
//! A target is a wish: it moves no counter. One that was withdrawn stays as a row of 0, so that its store hears of it. Invariant: a row's version is of the parking dataset, and rises with each change of its target, so that a
//! store that has everything up to a version has all its targets.

use std::collections::{BTreeMap, BTreeSet};

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::movement::MovementKind;
use huitong_protocol::parking::{VISITS_MAX, VisitKind};
use huitong_protocol::time::BusinessDay;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{DatasetKind, Parked};

use super::{Row, StoreError, Tx, allotment, cursor, dataset};

/// The name of the cursor: the version that was announced beside the plans.
const ANNOUNCED: &str = "parking announced";

/// Movements that are looked at per account: a visit has a load and a payment at most, and what else moves is rare.
const MOVEMENTS_MAX: u32 = 160;
const _: () = assert!(MOVEMENTS_MAX as usize > 2 * VISITS_MAX);

/// A movement that tells of a visit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Where.
    pub store: StoreId,
    /// When.
    pub day: BusinessDay,
    /// What it tells.
    pub kind: VisitKind,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// When the hub learnt of it.
    pub ingested_no: i64,
}

/// What the last movements of an account tell of its visits, the oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn seen(tx: &mut Tx<'_>, purse: Purse) -> Result<Vec<Seen>, StoreError> {
    let mut seen = tx.query(
        "SELECT store_id, business_day, kind, amount_minor, ingested_no FROM movement WHERE account_id = $1 AND unit = $2 \
         ORDER BY account_id DESC, stamp DESC, store_id DESC, epoch DESC, seq DESC, idx DESC LIMIT $3",
        &[purse.account.into(), purse.unit.into(), MOVEMENTS_MAX.into()],
        |row| {
            let kind: MovementKind = row.parsed(2, "movement", "kind")?;
            let Some(kind) = VisitKind::of(kind) else { return Ok(None) };
            Ok(Some(Seen {
                store: row.parsed(0, "movement", "store_id")?,
                day: row.parsed(1, "movement", "business_day")?,
                kind,
                amount_minor: row.integer(3)?,
                ingested_no: row.integer(4)?,
            }))
        },
    )?;
    seen.reverse();
    Ok(seen.into_iter().flatten().filter(|seen| seen.store != StoreId::HUB).collect())
}

/// The last `ingested_no` that was given.
///
/// # Errors
/// [`StoreError`].
pub fn newest(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let newest = tx.query_one("SELECT MAX(ingested_no) FROM entry", &[], |row| row.maybe_integer(0))?;
    Ok(newest.flatten().unwrap_or(0))
}

/// Accounts that moved after an `ingested_no`, by number.
///
/// # Errors
/// [`StoreError`].
pub fn moved(tx: &mut Tx<'_>, after: i64, through: i64) -> Result<BTreeSet<AccountId>, StoreError> {
    let accounts = tx.query(
        "SELECT DISTINCT account_id FROM movement WHERE ingested_no > $1 AND ingested_no <= $2",
        &[after.into(), through.into()],
        read_account,
    )?;
    Ok(accounts.into_iter().collect())
}

/// Accounts of which something is to be parked at stores that nobody speaks for any more.
///
/// # Errors
/// [`StoreError`].
pub fn parked_where_gone(tx: &mut Tx<'_>) -> Result<BTreeSet<AccountId>, StoreError> {
    let sql = "SELECT DISTINCT account_id FROM parking WHERE target_minor > 0 \
               AND store_id NOT IN (SELECT store_id FROM tenure WHERE standing = 'living')";
    Ok(tx.query(sql, &[], read_account)?.into_iter().collect())
}

/// Accounts of which something is to be parked, and that no card can pay from.
///
/// # Errors
/// [`StoreError`].
pub fn parked_for_nobody(tx: &mut Tx<'_>) -> Result<BTreeSet<AccountId>, StoreError> {
    let sql = "SELECT DISTINCT account_id FROM parking WHERE target_minor > 0 \
               AND NOT EXISTS (SELECT 1 FROM card WHERE card.account_id = parking.account_id AND card.status = 'active')";
    Ok(tx.query(sql, &[], read_account)?.into_iter().collect())
}

/// Accounts of cards that changed after a version of the cards, were stopped once and are not any more.
///
/// # Errors
/// [`StoreError`].
pub fn given_free(tx: &mut Tx<'_>, after: i64) -> Result<BTreeSet<AccountId>, StoreError> {
    let sql = "SELECT DISTINCT account_id FROM card WHERE version > $1 AND status = 'active' AND stop_stamp > 0";
    Ok(tx.query(sql, &[after.into()], read_account)?.into_iter().collect())
}

/// Every account that ever moved, or of which anything is parked.
///
/// # Errors
/// [`StoreError`].
pub fn everyone(tx: &mut Tx<'_>) -> Result<BTreeSet<AccountId>, StoreError> {
    let sql = "SELECT account_id FROM movement GROUP BY account_id UNION SELECT account_id FROM parking";
    Ok(tx.query(sql, &[], read_account)?.into_iter().collect())
}

fn read_account(row: &Row<'_>) -> Result<AccountId, StoreError> {
    let number = row.integer(0)?;
    AccountId::new(number).map_err(|why| StoreError::Value {
        table: "movement",
        column: "account_id",
        row: number.to_string(),
        fault: why.to_string(),
    })
}

/// What a purse holds by the stores' reports: in the pool, and at stores whose present epoch it is. What waits in epochs that ended is left out: nobody
/// can move it.
///
/// # Errors
/// [`StoreError`].
pub fn balance_minor(tx: &mut Tx<'_>, purse: Purse, epochs: &BTreeMap<StoreId, Epoch>) -> Result<i64, StoreError> {
    let free = allotment::pool(tx, purse)?.0.free();
    let lines = allotment::lines(tx, purse)?;
    let held: i128 =
        lines.iter().filter(|line| epochs.get(&line.store) == Some(&line.epoch)).map(|line| line.line.held()).sum();
    Ok(i64::try_from(free + held).unwrap_or(i64::MAX))
}

/// The living epoch of every store that has one: of the others nobody fetches targets, and what they hold nobody can move.
///
/// # Errors
/// [`StoreError`].
pub fn epochs(tx: &mut Tx<'_>) -> Result<BTreeMap<StoreId, Epoch>, StoreError> {
    let rows = tx.query("SELECT store_id, epoch FROM tenure WHERE standing = 'living'", &[], |row| {
        Ok((row.parsed(0, "tenure", "store_id")?, Epoch(u32::try_from(row.integer(1)?).unwrap_or(0))))
    })?;
    Ok(rows.into_iter().collect())
}

/// What is to be parked of a purse, by store.
///
/// # Errors
/// [`StoreError`].
pub fn targets(tx: &mut Tx<'_>, purse: Purse) -> Result<BTreeMap<StoreId, i64>, StoreError> {
    let rows = tx.query(
        "SELECT store_id, target_minor FROM parking WHERE account_id = $1 AND unit = $2 AND target_minor > 0",
        &[purse.account.into(), purse.unit.into()],
        |row| Ok((row.parsed(0, "parking", "store_id")?, row.integer(1)?)),
    )?;
    Ok(rows.into_iter().collect())
}

/// What is to be parked of a purse at a store, when anything is.
///
/// # Errors
/// [`StoreError`].
pub fn target(tx: &mut Tx<'_>, purse: Purse, store: StoreId) -> Result<Option<i64>, StoreError> {
    tx.query_one(
        "SELECT target_minor FROM parking WHERE account_id = $1 AND unit = $2 AND store_id = $3 AND target_minor > 0",
        &[purse.account.into(), purse.unit.into(), (&store).into()],
        |row| row.integer(0),
    )
}

/// A target that changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Whose.
    pub purse: Purse,
    /// Where.
    pub store: StoreId,
    /// How much; 0 when it is withdrawn.
    pub target_minor: i64,
}

/// Writes changed targets; stores get them with what they fetch next.
///
/// # Errors
/// [`StoreError`].
pub fn put(tx: &mut Tx<'_>, changes: &[Change]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    let first = dataset::advance(tx, DatasetKind::Parking, rows)?;
    for (change, version) in changes.iter().zip(first..) {
        tx.execute_one(
            "write a target",
            "parking",
            "INSERT INTO parking (account_id, unit, store_id, target_minor, version) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (account_id, unit, store_id) DO UPDATE SET target_minor = excluded.target_minor, version = excluded.version",
            &[
                change.purse.account.into(),
                change.purse.unit.into(),
                (&change.store).into(),
                change.target_minor.into(),
                version.into(),
            ],
        )?;
    }
    Ok(())
}

/// Reads a target as its store gets it, from the columns account, unit and target.
///
/// # Errors
/// [`StoreError::Value`].
pub(super) fn read(row: &Row<'_>) -> Result<Parked, StoreError> {
    let unit: Unit = row.parsed(1, "parking", "unit")?;
    let target_minor = Some(row.integer(2)?).filter(|minor| *minor > 0);
    Ok(Parked { account: read_account(row)?, unit, target_minor })
}

/// How a plan went, and how well the one before it had foreseen what happened since.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Outcome {
    /// Accounts that were planned.
    pub accounts: u64,
    /// Targets above zero among them.
    pub targets: u64,
    /// Targets that changed.
    pub changed: u64,
    /// What these accounts hold, in minor units.
    pub balance_minor: i64,
    /// What of it is to be parked.
    pub parked_minor: i64,
    /// Accounts that came since the plan before.
    pub came: u64,
    /// Of these, whose first basket was no more than that plan wanted parked there. Whether the value had come there is not looked at.
    pub covered: u64,
}

/// A plan that was applied.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Applied {
    /// Counted from 1.
    pub plan_no: i64,
    /// When.
    pub at_ms: i64,
    /// The rules, as JSON: with others, every account is planned anew.
    pub rules: String,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Keeps how a plan went. From now on stores are told of it: while it was written, each piece would have sent all of them off.
///
/// # Errors
/// [`StoreError`].
pub fn keep(tx: &mut Tx<'_>, at_ms: i64, rules: &str, outcome: &Outcome) -> Result<(), StoreError> {
    let text = serde_json::to_string(outcome)
        .map_err(|fault| StoreError::Rule { operation: "keep a plan", fault: fault.to_string() })?;
    tx.execute_one(
        "keep a plan",
        "parking_plan",
        "INSERT INTO parking_plan (plan_no, at_ms, rules, outcome, version) VALUES \
         ((SELECT COALESCE(MAX(plan_no), 0) + 1 FROM parking_plan), $1, $2, $3, (SELECT version FROM dataset WHERE name = $4))",
        &[at_ms.into(), rules.into(), text.as_str().into(), DatasetKind::Parking.as_str().into()],
    )
}

/// Tells stores of all targets that there are, as lines of the risk account are said by policy and wait for no plan. When a plan is being written, they come
/// once more for the rest of it.
///
/// # Errors
/// [`StoreError`].
pub fn announce(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let newest = dataset::newest(tx, DatasetKind::Parking)?;
    cursor::advance(tx, ANNOUNCED, newest)
}

/// The version of the last target of the last plan that was written whole, or of the last that was announced beside the plans.
///
/// # Errors
/// [`StoreError`].
pub(super) fn announced(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let sql = "SELECT version FROM parking_plan ORDER BY plan_no DESC LIMIT 1";
    let planned = tx.query_one(sql, &[], |row| row.integer(0))?.unwrap_or(0);
    Ok(planned.max(cursor::get(tx, ANNOUNCED)?))
}

/// The last plans that were applied, the newest first.
///
/// # Errors
/// [`StoreError`].
pub fn applied(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<Applied>, StoreError> {
    tx.query(
        "SELECT plan_no, at_ms, rules, outcome FROM parking_plan ORDER BY plan_no DESC LIMIT $1",
        &[limit.into()],
        |row| {
            let plan_no = row.integer(0)?;
            let outcome = serde_json::from_str(row.text(3)?).map_err(|fault| StoreError::Value {
                table: "parking_plan",
                column: "outcome",
                row: plan_no.to_string(),
                fault: fault.to_string(),
            })?;
            Ok(Applied { plan_no, at_ms: row.integer(1)?, rules: row.text(2)?.to_owned(), outcome })
        },
    )
}
