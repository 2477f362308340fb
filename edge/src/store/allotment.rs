//! Allotments: the store's counters per purse. They change only through `protocol::allotment::step`, grants through `protocol::grant::judge` by it; here they
//! are read and stored.
//!
//! Every change gets the next change number, so that a report is "what changed after the number that the hub took".

use huitong_protocol::allotment::{Holding, HoldingEvent, Purse, StoreCounters, StoreEvent, step};
use huitong_protocol::entry::{Allotment, AllotmentChange, Body};
use huitong_protocol::grant::judge;
use huitong_protocol::id::AccountId;
use huitong_protocol::money::Currency;
use huitong_protocol::time::{BusinessDay, Instant, Stamp};
use huitong_protocol::wire::{Grant, ReportLine};
use rusqlite::Row;

use super::{Appended, EntryMeta, ReadTx, StoreError, WriteTx, cell, column, grant_alarm, parsed};

fn read_counters(row: &Row<'_>, at: usize) -> Result<StoreCounters, StoreError> {
    Ok(StoreCounters {
        adopted_minor: cell(row, at)?,
        loaded_minor: cell(row, at + 1)?,
        spent_minor: cell(row, at + 2)?,
        released_minor: cell(row, at + 3)?,
    })
}

fn read_holding(row: &Row<'_>, at: usize) -> Result<Holding, StoreError> {
    Ok(Holding { counters: read_counters(row, at)?, held_minor: cell(row, at + 4)? })
}

fn read_purse(row: &Row<'_>, at: usize) -> Result<Purse, StoreError> {
    let account = AccountId::new(cell(row, at)?).map_err(|error| StoreError::Value {
        table: "allotment",
        column: "account",
        fault: error.to_string(),
    })?;
    Ok(Purse { account, unit: parsed(row, at + 1, "allotment", "unit")? })
}

/// What the store has of a purse; nothing yet is all zero.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn get(tx: &ReadTx<'_>, purse: Purse) -> Result<Holding, StoreError> {
    let row = tx.one(
        "read an allotment",
        "SELECT adopted_minor, loaded_minor, spent_minor, released_minor, held_minor FROM allotment WHERE account = ?1 AND unit = ?2",
        (purse.account.get(), purse.unit.as_str()),
        |row| read_holding(row, 0),
    )?;
    Ok(row.unwrap_or_default())
}

/// Every purse of an account, money by currency and points last.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn of_account(tx: &ReadTx<'_>, account: AccountId) -> Result<Vec<(Purse, Holding)>, StoreError> {
    // Ordered here: with ORDER BY the engine (built with STAT4) would plan the statement again for each account, which took half of a look-up.
    let mut purses = tx.all(
        "read an account's allotments",
        "SELECT account, unit, adopted_minor, loaded_minor, spent_minor, released_minor, held_minor FROM allotment WHERE account = ?1",
        [account.get()],
        |row| Ok((read_purse(row, 0)?, read_holding(row, 2)?)),
    )?;
    purses.sort_by_key(|(purse, _)| *purse);
    Ok(purses)
}

/// Stores what `step` returned, with the stamp of the entry that moved them.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put(
    tx: &mut WriteTx<'_>,
    purse: Purse,
    holding: impl Into<Holding>,
    stamp: Stamp,
    now: Instant,
) -> Result<(), StoreError> {
    let holding = holding.into();
    let Holding { counters, held_minor } = holding;
    let change_no = tx.next_change_no();
    tx.execute_one(
        "write an allotment",
        "INSERT INTO allotment (account, unit, adopted_minor, loaded_minor, spent_minor, released_minor, held_minor, available_minor, stamp, change_no, last_move_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (account, unit) DO UPDATE SET adopted_minor = excluded.adopted_minor, loaded_minor = excluded.loaded_minor,
           spent_minor = excluded.spent_minor, released_minor = excluded.released_minor, held_minor = excluded.held_minor, available_minor = excluded.available_minor,
           stamp = excluded.stamp, change_no = excluded.change_no, last_move_ms = excluded.last_move_ms",
        (
            purse.account.get(),
            purse.unit.as_str(),
            counters.adopted_minor,
            counters.loaded_minor,
            counters.spent_minor,
            counters.released_minor,
            held_minor,
            holding.available_minor(),
            stamp.0,
            change_no,
            now.0,
        ),
    )
}

pub(super) fn last_change_no(tx: &ReadTx<'_>) -> Result<i64, StoreError> {
    let last =
        tx.one("find the last change", "SELECT MAX(change_no) FROM allotment", [], |row| cell::<Option<i64>>(row, 0))?;
    Ok(last.flatten().unwrap_or(0))
}

/// What changed after a change number, oldest first, each with its number.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn changed_after(tx: &ReadTx<'_>, change_no: i64, limit: usize) -> Result<Vec<(i64, ReportLine)>, StoreError> {
    tx.all(
        "read changed allotments",
        "SELECT account, unit, adopted_minor, loaded_minor, spent_minor, released_minor, stamp, change_no
         FROM allotment WHERE change_no > ?1 ORDER BY change_no LIMIT ?2",
        (change_no, column(limit as u64)),
        |row| {
            let purse = read_purse(row, 0)?;
            let counters = read_counters(row, 2)?;
            let line = ReportLine { account: purse.account, unit: purse.unit, counters, stamp: Stamp(cell(row, 6)?) };
            Ok((cell(row, 7)?, line))
        },
    )
}

/// How many purses changed after a change number.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn changed_count(tx: &ReadTx<'_>, change_no: i64) -> Result<u64, StoreError> {
    let count = tx.one(
        "count changed allotments",
        "SELECT COUNT(*) FROM allotment WHERE change_no > ?1",
        [change_no],
        |row| super::counted(row, 0, "allotment", "change_no"),
    )?;
    Ok(count.unwrap_or(0))
}

/// A purse with something available, for those who release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The purse.
    pub purse: Purse,
    /// What is in it.
    pub holding: Holding,
    /// When it last moved.
    pub last_move_ms: Instant,
}

/// Purses that hold more than head office wants kept here, or than `park_minor` where it wants nothing special, and last moved after one instant and at or
/// before another, longest at rest first. Points of which some may not pay yet on the business day `today` are left out: they stay here until they are confirmed.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn idle_since(
    tx: &ReadTx<'_>,
    (after, before): (Instant, Instant),
    park_minor: i64,
    today: Option<BusinessDay>,
    limit: usize,
) -> Result<Vec<Held>, StoreError> {
    tx.all(
        "find idle allotments",
        "SELECT account, unit, adopted_minor, loaded_minor, spent_minor, released_minor, held_minor, last_move_ms
         FROM allotment WHERE available_minor > 0 AND last_move_ms > ?5 AND last_move_ms <= ?2 AND available_minor > COALESCE(
           (SELECT target_minor FROM parking WHERE parking.account = allotment.account AND parking.unit = allotment.unit), CASE account WHEN ?6 THEN 0 ELSE ?1 END)
         AND (?4 IS NULL OR unit <> 'points' OR NOT EXISTS (SELECT 1 FROM points_pending
           WHERE points_pending.account = allotment.account AND points_pending.confirmed_on > ?4
           AND points_pending.may_burn = 0 AND points_pending.points > 0))
         ORDER BY last_move_ms LIMIT ?3",
        (park_minor, before.0, column(limit as u64), today.map(|day| day.to_string()), after.0, AccountId::RISK.get()),
        |row| {
            let (purse, holding) = (read_purse(row, 0)?, read_holding(row, 2)?);
            Ok(Held { purse, holding, last_move_ms: Instant(cell(row, 7)?) })
        },
    )
}

/// Whether a purse last moved at or before an instant.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn is_idle_since(tx: &ReadTx<'_>, purse: Purse, before: Instant) -> Result<bool, StoreError> {
    let sql = "SELECT last_move_ms FROM allotment WHERE account = ?1 AND unit = ?2";
    let key = (purse.account.get(), purse.unit.as_str());
    let last_move_ms: Option<i64> = tx.one("read when a purse moved", sql, key, |row| cell(row, 0))?;
    Ok(last_move_ms.is_none_or(|at_ms| at_ms <= before.0))
}

/// When the purse that has rested longest, of those that moved after an instant and hold more than is kept here, last moved.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn longest_idle(
    tx: &ReadTx<'_>,
    after: Instant,
    park_minor: i64,
    today: Option<BusinessDay>,
) -> Result<Option<Instant>, StoreError> {
    Ok(idle_since(tx, (after, Instant(i64::MAX)), park_minor, today, 1)?.first().map(|held| held.last_move_ms))
}

/// Whether a grant says anything new: more than is adopted, or what cannot be and is not named in the alarm yet.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn is_news(tx: &ReadTx<'_>, currency: Currency, grant: &Grant) -> Result<bool, StoreError> {
    let held = get(tx, purse_of(grant))?;
    match judge(&held, currency, purse_of(grant), grant.granted_minor) {
        Ok(after) => Ok(after != held),
        Err(fault) => grant_alarm::is_news(tx, grant, fault),
    }
}

/// Adopts grants: writes one Allotment entry for those that are new, nothing when none is. Grants are totals, so old and doubled ones change nothing. Each is
/// judged by itself: those that cannot be right are named in an alarm, once, and left alone.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn adopt_grants(tx: &mut WriteTx<'_>, now: Instant, grants: &[Grant]) -> Result<Option<Appended>, StoreError> {
    let currency = tx.identity()?.store.currency;
    let is_alarmed = grant_alarm::is_raised(tx)?;
    let mut changed = Vec::new();
    for grant in grants {
        let mut one = Change::of(tx, &changed, purse_of(grant))?;
        match judge(&one.after, currency, one.purse, grant.granted_minor) {
            Ok(after) => {
                tx.observe(grant.stamp);
                if is_alarmed {
                    grant_alarm::took(tx, one.purse.account)?;
                }
                one.after = after;
                one.keep(&mut changed);
            }
            Err(fault) => grant_alarm::raise(tx, grant, fault)?,
        }
    }
    write(tx, now, changed, |change| AllotmentChange {
        account: change.purse.account,
        unit: change.purse.unit,
        adopted_minor: Some(change.after.counters.adopted_minor),
        released_minor: None,
    })
}

const fn purse_of(grant: &Grant) -> Purse {
    Purse { account: grant.account, unit: grant.unit }
}

/// Releases value to the hub's pool: writes one Allotment entry for what could be released, nothing when nothing could. A purse of which meanwhile less
/// is available than asked releases that. What is held for somebody stays.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn release(tx: &mut WriteTx<'_>, now: Instant, amounts: &[(Purse, i64)]) -> Result<Option<Appended>, StoreError> {
    let mut changed = Vec::new();
    for &(purse, amount_minor) in amounts {
        let mut one = Change::of(tx, &changed, purse)?;
        let amount_minor = amount_minor.min(one.after.available_minor());
        if amount_minor > 0 {
            one.step(StoreEvent::Release { amount_minor }).map_err(|refusal| StoreError::Rule {
                operation: "release value",
                fault: format!("account {} {}: {refusal}", purse.account, purse.unit),
            })?;
            one.keep(&mut changed);
        }
    }
    write(tx, now, changed, |change| AllotmentChange {
        account: change.purse.account,
        unit: change.purse.unit,
        adopted_minor: None,
        released_minor: Some(change.after.counters.released_minor),
    })
}

/// A purse while it changes.
struct Change {
    purse: Purse,
    before: Holding,
    after: Holding,
}

impl Change {
    fn of(tx: &ReadTx<'_>, changed: &[Self], purse: Purse) -> Result<Self, StoreError> {
        let known = changed.iter().find(|change| change.purse == purse).map(|change| (change.before, change.after));
        let (before, after) = match known {
            Some(known) => known,
            None => {
                let holding = get(tx, purse)?;
                (holding, holding)
            }
        };
        Ok(Self { purse, before, after })
    }

    fn step(&mut self, event: StoreEvent) -> Result<(), huitong_protocol::allotment::Refusal> {
        self.after = step(&self.after, HoldingEvent::Moved(event))?;
        Ok(())
    }

    fn keep(self, changed: &mut Vec<Self>) {
        if self.before == self.after {
            return;
        }
        match changed.iter_mut().find(|change| change.purse == self.purse) {
            Some(change) => *change = self,
            None => changed.push(self),
        }
    }
}

fn write(
    tx: &mut WriteTx<'_>,
    now: Instant,
    changed: Vec<Change>,
    describe: impl Fn(&Change) -> AllotmentChange,
) -> Result<Option<Appended>, StoreError> {
    if changed.is_empty() {
        return Ok(None);
    }
    let meta = EntryMeta { business_day: tx.chain().open_day, ..EntryMeta::default() };
    let body = Body::Allotment(Allotment { changes: changed.iter().map(describe).collect() });
    let appended = tx.append(now, meta, body)?;
    for change in changed {
        put(tx, change.purse, change.after, appended.stamp, now)?;
    }
    Ok(Some(appended))
}
