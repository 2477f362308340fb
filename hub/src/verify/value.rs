//! Proofs about stored value: pools and allotments among themselves, against the journals, and against the lots.

use std::collections::{BTreeMap, HashMap};

use huitong_protocol::allotment::{Line, Pool, Purse, StoreCounters};
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::movement::{Direction, MovementKind};
use huitong_protocol::reconcile::{CounterPair, Reach, counters};
use huitong_protocol::unit::Unit;

use super::{Check, readable};
use crate::store::engine::{Row, StoreError, Tx};
use crate::store::{device, tenure};

/// What all stores' lines of a purse come to.
#[derive(Default)]
struct Lines {
    granted: i128,
    released: i128,
    held: i128,
    /// Whether every line's report and journal end at the same entry.
    settled: bool,
}

pub(super) fn checks(tx: &mut Tx<'_>) -> Result<Vec<Check>, StoreError> {
    let mut pools = Check::new("pools", "pools are the sums of their lines, and nothing is below zero (I1, I2)");
    let mut reports =
        Check::new("reports", "what stores reported is what their journals say, where both end at the same entry");
    let mut balances = Check::new(
        "balances",
        "pool and stores hold what was loaded less what was spent, where every journal has arrived (I2)",
    );
    let mut reaches = device::reaches(tx)?;
    // An epoch that ended reports no more: its lines follow its journal, once that has come as far as it was heard.
    reaches.extend(tenure::fenced_reaches(tx)?);
    let recovers = tenure::waits(tx)?;
    let mut lines = BTreeMap::new();
    let read = lines_of(tx, &reaches, &mut pools, &mut reports, &mut lines);
    readable(&mut pools, read)?;
    let missing = unreported(tx, &reaches, &mut reports, &mut lines);
    readable(&mut reports, missing)?;
    let hub = hub_movements(tx)?;
    let journals = journal_balances(tx)?;
    let read = pools_of(tx, &lines, (&hub, &journals), recovers, &mut pools, &mut balances);
    readable(&mut pools, read)?;
    Ok(vec![pools, reports, balances])
}

fn purse(row: &Row<'_>, table: &'static str) -> Result<Purse, StoreError> {
    let account = row.integer(0)?;
    let account = AccountId::new(account).map_err(|why| StoreError::Value {
        table,
        column: "account_id",
        row: account.to_string(),
        fault: why.to_string(),
    })?;
    Ok(Purse { account, unit: row.parsed(1, table, "unit")? })
}

fn name(purse: Purse) -> String {
    format!("account {} {}", purse.account, purse.unit)
}

fn settled(reach: Option<&Reach>) -> bool {
    reach.is_some_and(|reach| reach.whole && reach.reported == reach.journalled)
}

fn lines_of(
    tx: &mut Tx<'_>,
    reaches: &HashMap<(StoreId, Epoch), Reach>,
    pools: &mut Check,
    reports: &mut Check,
    lines: &mut BTreeMap<Purse, Lines>,
) -> Result<(), StoreError> {
    tx.for_each(
        "SELECT a.account_id, a.unit, a.store_id, a.epoch, a.granted_minor, a.adopted_minor, a.loaded_minor, a.spent_minor, a.released_minor,
         COALESCE(j.adopted_minor, 0), COALESCE(j.loaded_minor, 0), COALESCE(j.spent_minor, 0), COALESCE(j.released_minor, 0)
         FROM allotment a LEFT JOIN journal_counter j
         ON j.account_id = a.account_id AND j.unit = a.unit AND j.store_id = a.store_id AND j.epoch = a.epoch",
        &[],
        |row| {
            let purse = purse(row, "allotment")?;
            let (store, epoch): (StoreId, _) = (row.parsed(2, "allotment", "store_id")?, Epoch(u32::try_from(row.integer(3)?).unwrap_or(0)));
            let key = format!("{} at {store}-{epoch}", name(purse));
            let read = |first: usize| {
                Ok::<_, StoreError>(StoreCounters {
                    adopted_minor: row.integer(first)?,
                    loaded_minor: row.integer(first + 1)?,
                    spent_minor: row.integer(first + 2)?,
                    released_minor: row.integer(first + 3)?,
                })
            };
            let line = Line { granted_minor: row.integer(4)?, seen: read(5)? };
            pools.looked_at += 1;
            if line.seen.adopted_minor > line.granted_minor {
                pools.find("allotment", &key, format!("adopted {} of {} granted", line.seen.adopted_minor, line.granted_minor));
            }
            if line.seen.available() < 0 {
                pools.find("allotment", &key, format!("what may be spent is {}", line.seen.available()));
            }
            let reach = reaches.get(&(store, epoch));
            let sums = lines.entry(purse).or_insert_with(|| Lines { settled: true, ..Lines::default() });
            sums.granted += i128::from(line.granted_minor);
            sums.released += i128::from(line.seen.released_minor);
            sums.held += line.held();
            sums.settled &= settled(reach);
            reports.looked_at += 1;
            if let Some(&reach) = reach
                && let Some(finding) = counters(&CounterPair { store, epoch, purse, reported: line.seen, journalled: read(9)? }, reach)
            {
                reports.find("allotment", key, finding.evidence.to_string());
            }
            Ok(())
        },
    )
}

/// Counters that a journal has and no report ever told of.
fn unreported(
    tx: &mut Tx<'_>,
    reaches: &HashMap<(StoreId, Epoch), Reach>,
    reports: &mut Check,
    lines: &mut BTreeMap<Purse, Lines>,
) -> Result<(), StoreError> {
    tx.for_each(
        "SELECT j.account_id, j.unit, j.store_id, j.epoch, j.loaded_minor, j.spent_minor FROM journal_counter j
         WHERE NOT EXISTS (SELECT 1 FROM allotment a WHERE a.account_id = j.account_id AND a.unit = j.unit AND a.store_id = j.store_id AND a.epoch = j.epoch)
         AND (j.loaded_minor <> 0 OR j.spent_minor <> 0 OR j.adopted_minor <> 0 OR j.released_minor <> 0)",
        &[],
        |row| {
            let purse = purse(row, "journal_counter")?;
            let (store, epoch): (StoreId, _) = (row.parsed(2, "journal_counter", "store_id")?, Epoch(u32::try_from(row.integer(3)?).unwrap_or(0)));
            let reach = reaches.get(&(store, epoch));
            lines.entry(purse).or_default().settled = false;
            if settled(reach) {
                let key = format!("{} at {store}-{epoch}", name(purse));
                reports.find("allotment", key, format!("is missing; the journal has {} loaded and {} spent", row.integer(4)?, row.integer(5)?));
            }
            Ok(())
        },
    )
}

/// What head office's own journal loaded and spent, per purse.
fn hub_movements(tx: &mut Tx<'_>) -> Result<HubMovements, StoreError> {
    let mut sums: HubMovements = HashMap::new();
    // Entry by entry through the index: head office's journal is short beside those of the stores.
    tx.for_each(
        "SELECT movement.account_id, movement.unit, movement.kind, movement.amount_minor FROM entry
         JOIN movement ON movement.ingested_no = entry.ingested_no WHERE entry.store_id = $1",
        &[(&StoreId::HUB).into()],
        |row| {
            let purse = purse(row, "movement")?;
            let (loaded, spent) = sums.entry(purse).or_default();
            match row.parsed::<MovementKind>(2, "movement", "kind")?.direction() {
                Direction::In => *loaded += i128::from(row.integer(3)?),
                Direction::Out => *spent += i128::from(row.integer(3)?),
            }
            Ok::<(), StoreError>(())
        },
    )?;
    Ok(sums)
}

/// What the journals say every account holds.
fn journal_balances(tx: &mut Tx<'_>) -> Result<JournalBalances, StoreError> {
    let mut sums: JournalBalances = HashMap::new();
    tx.for_each(
        "SELECT account_id, unit, kind, CAST(SUM(amount_minor) AS BIGINT) FROM movement GROUP BY account_id, unit, kind",
        &[],
        |row| {
            let sum = sums.entry(purse(row, "movement")?).or_default();
            match row.parsed::<MovementKind>(2, "movement", "kind")?.direction() {
                Direction::In => *sum += i128::from(row.integer(3)?),
                Direction::Out => *sum -= i128::from(row.integer(3)?),
            }
            Ok::<(), StoreError>(())
        },
    )?;
    Ok(sums)
}

/// What head office's own journal loaded and spent, per purse.
type HubMovements = HashMap<Purse, (i128, i128)>;
/// What the journals say each purse holds.
type JournalBalances = HashMap<Purse, i128>;

fn pools_of(
    tx: &mut Tx<'_>,
    lines: &BTreeMap<Purse, Lines>,
    (hub, journals): (&HubMovements, &JournalBalances),
    recovers: bool,
    pools: &mut Check,
    balances: &mut Check,
) -> Result<(), StoreError> {
    let mut seen: HashMap<Purse, Pool> = HashMap::new();
    tx.for_each(
        "SELECT account_id, unit, loaded_minor, spent_minor, granted_minor, released_minor FROM pool",
        &[],
        |row| {
            let purse = purse(row, "pool")?;
            let pool = Pool {
                loaded_minor: row.integer(2)?,
                spent_minor: row.integer(3)?,
                granted_minor: row.integer(4)?,
                released_minor: row.integer(5)?,
            };
            seen.insert(purse, pool);
            Ok::<(), StoreError>(())
        },
    )?;
    let none = Lines { settled: true, ..Lines::default() };
    let mut purses: Vec<Purse> =
        seen.keys().chain(lines.keys()).chain(journals.keys()).chain(hub.keys()).copied().collect();
    purses.sort_unstable();
    purses.dedup();
    for purse in purses {
        let pool = seen.get(&purse).copied().unwrap_or_default();
        let lines = lines.get(&purse).unwrap_or(&none);
        let (loaded, spent) = hub.get(&purse).copied().unwrap_or_default();
        let key = name(purse);
        pools.looked_at += 1;
        pools.equal("pool", &key, "granted_minor", i128::from(pool.granted_minor), lines.granted);
        pools.equal("pool", &key, "released_minor", i128::from(pool.released_minor), lines.released);
        pools.equal("pool", &key, "loaded_minor", i128::from(pool.loaded_minor), loaded);
        pools.equal("pool", &key, "spent_minor", i128::from(pool.spent_minor), spent);
        // A restored hub that hears what it forgot may find more granted than it has, and grants nothing until then.
        if pool.free() < 0 && !recovers {
            pools.find("pool", &key, format!("what may be granted is {}", pool.free()));
        }
        if lines.settled && purse.unit != Unit::Points {
            balances.looked_at += 1;
            let by_journals = journals.get(&purse).copied().unwrap_or(0);
            balances.equal("pool", &key, "what pool and stores hold", pool.free() + lines.held, by_journals);
        }
    }
    Ok(())
}
