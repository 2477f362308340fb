//! Release: gives back to the hub's pool what the store need not keep, by policy, down to what head office wants parked here of the account, or to the
//! policy's `park_minor`.
//!
//! Only while the line is up: value released into a dead line would be nowhere for the member who stands here. After the close of the day the
//! customers are gone, and everything above the parked amount goes back under every policy. Invariant: what is released was available in the
//! transaction that wrote it, and the policy had it released in that moment: a sale, or the opening of a day, may come between the look and the write.
//! A release is one journal entry for many accounts, reported right after. A purse in use is left alone.

use std::sync::Arc;

use huitong_protocol::allotment::Purse;
use huitong_protocol::policy::{AllotmentRules, Release};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{DatasetKind, Recall, ReportLine};

use super::{Link, SyncError};
use crate::store::{Chain, ReadTx, StoreError, allotment, parking, pending, replica};

/// Accounts of one release entry: small enough that a till waiting for the writer does not notice it.
pub const RELEASE_ACCOUNTS_MAX: usize = 500;
/// Idle accounts are looked for at most this often, so that a busy store does not look after every commit; purses in use, again after this.
const LOOK_MS_MIN: i64 = 1_000;
/// Before anything moved.
const NEVER: Instant = Instant(i64::MIN);

/// What is released now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    /// Nothing: the day is open and the policy waits for its close.
    Nothing,
    /// All purses.
    Everything,
    /// Purses without a movement for this long.
    Idle { idle_ms: i64 },
}

/// Why something is released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// Another store needs it.
    Recall,
    /// The policy has it go, as long as the scope is the one under which it was found.
    Policy { scope: Scope, park_minor: i64 },
}

/// How far releases have come.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// Under what it was looked the last time.
    looked: Option<(Scope, i64, u64, Option<BusinessDay>)>,
    /// Under [`Scope::Everything`]: purses that changed no later than this were seen.
    seen_change_no: i64,
    /// Under [`Scope::Everything`]: purses that were seen while a customer waited for their value.
    in_use: Vec<Purse>,
    /// Under [`Scope::Idle`]: of purses that moved no later than this all were seen. Those that stay are kept here, and need no look until they move.
    seen_move: Option<Instant>,
    /// Nothing is to be released before this by itself: under [`Scope::Idle`] nothing is idle, else what is left is in use.
    next_due: Option<Instant>,
}

fn scope(rules: &AllotmentRules, is_open: bool) -> Scope {
    match (rules.release, is_open) {
        (_, false) | (Release::AtOnce, true) => Scope::Everything,
        (Release::AtClose, true) => Scope::Nothing,
        (Release::WhenIdle { minutes }, true) => Scope::Idle { idle_ms: i64::from(minutes) * 60_000 },
    }
}

/// The business day by which is told which points stay here, as they may not pay before they are confirmed.
fn today(chain: &Chain) -> Option<BusinessDay> {
    chain.open_day.or(chain.closed_day)
}

/// Releases what policy says, in as many entries as it takes. The report is the caller's.
///
/// # Errors
/// The database failed.
pub async fn by_policy(link: &Link) -> Result<(), SyncError> {
    let mut cursor = link.releasing.lock().await;
    let now = link.clock.now();
    let committed = link.store.committed();
    let Some(in_force) = &committed.policy else {
        return Ok(());
    };
    let rules = &in_force.policy.allotment;
    let (scope, park_minor) = (scope(rules, committed.open_day.is_some()), rules.park_minor);
    let today = today(&committed);
    // With other targets everything is looked at again, and on another day other points may be released.
    let looks = (scope, park_minor, link.store.read(|tx| replica::version(tx, DatasetKind::Parking))?, today);
    if cursor.looked != Some(looks) {
        *cursor = Cursor { looked: Some(looks), ..Cursor::default() };
    }
    let cause = Cause::Policy { scope, park_minor };
    match scope {
        Scope::Nothing => {}
        Scope::Everything => {
            // Kept until it is done: when the writer is too busy they are tried again, and nothing else would find them.
            let waiting = cursor.in_use.clone();
            cursor.in_use = give_back(link, now, waiting, cause).await?;
            // What is released changes too, and is seen once more, at the parked amount.
            while cursor.seen_change_no < link.store.committed().change_no {
                let after = cursor.seen_change_no;
                let found = link.store.read(|tx| allotment::changed_after(tx, after, RELEASE_ACCOUNTS_MAX))?;
                let Some((last, _)) = found.last().copied() else {
                    cursor.seen_change_no = after.max(committed.change_no);
                    break;
                };
                let above = link.store.read(|tx| above(tx, &found, park_minor))?;
                let left = give_back(link, now, above, cause).await?;
                cursor.in_use.extend(left);
                cursor.seen_change_no = last;
            }
            // An operation that ends in a refusal changes nothing that would wake us: what it held is looked at again soon.
            cursor.next_due = (!cursor.in_use.is_empty()).then(|| now.plus_ms(LOOK_MS_MIN));
        }
        Scope::Idle { idle_ms } => {
            if cursor.next_due.is_some_and(|due| now < due) {
                return Ok(());
            }
            let before = now.plus_ms(-idle_ms);
            // A clock that was put back: what moved meanwhile may stand before what was seen.
            cursor.seen_move = cursor.seen_move.filter(|seen| *seen <= before);
            let after = cursor.seen_move.unwrap_or(NEVER);
            loop {
                let found = link
                    .store
                    .read(|tx| allotment::idle_since(tx, (after, before), park_minor, today, RELEASE_ACCOUNTS_MAX))?;
                let is_all = found.len() < RELEASE_ACCOUNTS_MAX;
                let purses = found.into_iter().map(|held| held.purse).collect();
                // What is in use stays among the idle, and would be found again and again.
                let left = give_back(link, now, purses, cause).await?;
                if is_all && left.is_empty() {
                    cursor.seen_move = Some(before);
                }
                if is_all || !left.is_empty() {
                    break;
                }
            }
            let seen = cursor.seen_move.unwrap_or(NEVER);
            let oldest = link.store.read(|tx| allotment::longest_idle(tx, seen, park_minor, today))?;
            // With nothing to wait for, the next commit's account is idle a whole span from now at the earliest.
            let due = oldest.unwrap_or(now).plus_ms(idle_ms);
            cursor.next_due = Some(due.max(now.plus_ms(LOOK_MS_MIN)));
        }
    }
    Ok(())
}

/// When something becomes idle, `None` when nothing will by itself.
pub(super) async fn next_due(link: &Link) -> Option<Instant> {
    let cursor = link.releasing.lock().await;
    match cursor.looked {
        Some(_) if link.circuit.is_up() => cursor.next_due,
        _ => None,
    }
}

/// The purses of changed lines that hold more than is kept here.
fn above(tx: &ReadTx<'_>, found: &[(i64, ReportLine)], park_minor: i64) -> Result<Vec<Purse>, StoreError> {
    let mut above = Vec::new();
    for (_, line) in found {
        // Most hold nothing, and need no look at what is kept.
        if line.counters.available_minor() > 0
            && line.counters.releasable_minor(parking::kept_minor(tx, line.purse(), park_minor)?) > 0
        {
            above.push(line.purse());
        }
    }
    Ok(above)
}

/// Releases all of the recalled purses, the parked amount too: another store needs it now.
///
/// # Errors
/// The database failed.
pub async fn recalled(link: &Link, recalls: &[Recall]) -> Result<(), SyncError> {
    let now = link.clock.now();
    let purses = link.store.read(|tx| {
        let mut holding = Vec::new();
        for recall in recalls {
            let purse = Purse { account: recall.account, unit: recall.unit };
            if allotment::get(tx, purse)?.releasable_minor(0) > 0 {
                holding.push(purse);
            }
        }
        Ok::<_, StoreError>(holding)
    })?;
    for purses in purses.chunks(RELEASE_ACCOUNTS_MAX) {
        give_back(link, now, purses.to_vec(), Cause::Recall).await?;
    }
    Ok(())
}

/// One entry for all purses that may still go when the writer comes to it. Gives those that were left: as they are in use, or as the scope has changed.
async fn give_back(link: &Link, now: Instant, purses: Vec<Purse>, cause: Cause) -> Result<Vec<Purse>, StoreError> {
    if purses.is_empty() {
        return Ok(purses);
    }
    let (in_use, keeper) = (Arc::clone(link.store.in_use()), Arc::clone(link.store.continuity()));
    let (released, left) = link
        .store
        .write(move |tx| {
            if !keeper.gate(tx, tx.chain())?.is_open() {
                return Ok((0, purses));
            }
            let (mut amounts, mut left) = (Vec::with_capacity(purses.len()), Vec::new());
            let (park_minor, moved_by) = match cause {
                Cause::Recall => (0, None),
                Cause::Policy { scope: found_under, park_minor } => {
                    let rules = tx.chain().policy.as_ref().map(|in_force| &in_force.policy.allotment);
                    let scope = rules.map(|rules| scope(rules, tx.chain().open_day.is_some()));
                    match scope {
                        Some(scope) if scope != found_under => return Ok((0, purses)),
                        Some(Scope::Idle { idle_ms }) => (park_minor, Some(now.plus_ms(-idle_ms))),
                        _ => (park_minor, None),
                    }
                }
            };
            for purse in purses {
                if in_use.holds(purse) {
                    left.push(purse);
                    continue;
                }
                if let Some(before) = moved_by
                    && !allotment::is_idle_since(tx, purse, before)?
                {
                    continue; // Somebody came back.
                }
                let barred = match (purse.unit, today(tx.chain())) {
                    (Unit::Points, Some(today)) => pending::barred(tx, purse.account, today)?,
                    _ => 0,
                };
                // Another store needs what is recalled now: all of it. Else what head office wants here stays.
                let kept_minor = match cause {
                    Cause::Recall => 0,
                    Cause::Policy { .. } => parking::kept_minor(tx, purse, park_minor)?,
                };
                let amount_minor = allotment::get(tx, purse)?.releasable_minor(kept_minor.max(barred));
                if amount_minor > 0 {
                    amounts.push((purse, amount_minor));
                }
            }
            allotment::release(tx, now, &amounts)?;
            Ok::<_, StoreError>((amounts.len(), left))
        })
        .await?;
    tracing::debug!(accounts = released, in_use = left.len(), "Released value of {released} accounts");
    Ok(left)
}
