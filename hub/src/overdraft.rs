//! Overdraft: what members owe the group's risk account, collected as soon as there is value of theirs in head office's pool.
//!
//! What is owed follows from the journals (`store::overdraft`); a debt is paid by head office alone, from a pool, so that no store's value is touched and no
//! store has to know. What goods that came back made too much goes back to the account, and until then it is lent to nobody; a
//! restored hub first reads again what it had of the journals, as what it has forgotten may be owed. What a journal says beyond the
//! reports of its store is left alone: nobody lent it. Invariant: what leaves an account is what comes onto the risk
//! account, in one entry, and never more than is owed.

use std::collections::BTreeSet;

use huitong_protocol::allotment::{HubEvent, HubSide, Pool, Purse, step};
use huitong_protocol::debt::{Owing, Posting, Reserve, is_backed};
use huitong_protocol::entry::HubPosting;
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::movement::{Direction, Movement, MovementKind};
use huitong_protocol::time::{BusinessDay, Instant, Stamp};
use huitong_protocol::unit::Unit;

use crate::lender;
use crate::points::{self, Occasion};
use crate::store::overdraft as rows;
use crate::store::{Store, StoreError, Tx, allotment, cursor, journal, parking, posting, tenure};

/// Accounts that one transaction settles: some milliseconds.
const BATCH: usize = 200;
/// The name of the cursor: how far debts were looked at for what stores are told.
const CURSOR: &str = "overdraft";

/// What the job moved, in minor units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// Taken off accounts.
    pub collected_minor: i64,
    /// Given back to accounts.
    pub returned_minor: i64,
}

/// Collects what is owed and lies in pools, gives back what was collected too much, and prepares what stores are told.
///
/// What can be done is looked for in a read; only those accounts are written, and each is looked at again before it is.
///
/// # Errors
/// [`StoreError`]; what was settled before stays so.
pub async fn settle(store: &Store, day: BusinessDay, now: Instant) -> Result<Settled, StoreError> {
    let open = store.read(payable).await?;
    let mut settled = Settled::default();
    for batch in open.chunks(BATCH) {
        let batch = batch.to_vec();
        let some = store.write(move |tx| settle_some(tx, &batch, day, now)).await?;
        settled.collected_minor = settled.collected_minor.saturating_add(some.collected_minor);
        settled.returned_minor = settled.returned_minor.saturating_add(some.returned_minor);
    }
    let (after, through) =
        store.read(|tx| Ok::<_, StoreError>((cursor::get(tx, CURSOR)?, parking::newest(tx)?))).await?;
    if through > after {
        let changed = store.read(move |tx| rows::changed(tx, after, through)).await?;
        for batch in changed.chunks(BATCH) {
            let batch = batch.to_vec();
            store.write(move |tx| batch.iter().try_for_each(|&(account, unit)| clear(tx, account, unit))).await?;
        }
        if !changed.is_empty() {
            store.write(move |tx| cursor::advance(tx, CURSOR, through)).await?;
        }
    }
    Ok(settled)
}

/// Accounts that owe something and have something in their pool, or are owed something.
fn payable(tx: &mut Tx<'_>) -> Result<Vec<(AccountId, Unit)>, StoreError> {
    let mut payable = Vec::new();
    let has_read_all = tenure::has_read_all(tx)?;
    for (account, unit) in rows::open(tx)?.into_keys() {
        let owing = rows::owing(tx, account, unit)?;
        let unbacked = unbacked(tx, unit, &owing)?;
        let Some(due) = owing.due(|place| !unbacked.contains(&place), has_read_all) else { continue };
        let (pool, _) = allotment::pool(tx, purse(due.kinds()[0], account, unit))?;
        if due.within(&pool).is_some() {
            payable.push((account, unit));
        }
    }
    Ok(payable)
}

/// The places of a debt where the journal says more than the store reported: nothing of that is collected, as nobody lent it. Reconcile names them.
fn unbacked(tx: &mut Tx<'_>, unit: Unit, owing: &Owing) -> Result<BTreeSet<(StoreId, Epoch)>, StoreError> {
    let purse = Purse { account: AccountId::RISK, unit };
    let mut unbacked = BTreeSet::new();
    for at in &owing.stores {
        let (store, epoch) = at.place;
        let reported = allotment::line(tx, purse, store, epoch)?.unwrap_or_default().seen;
        if !is_backed(&reported, &journal::counters(tx, purse, store, epoch)?) {
            unbacked.insert(at.place);
        }
    }
    Ok(unbacked)
}

/// What of the risk account's pool is not to be lent, nor taken from the budget: it goes back to accounts.
///
/// # Errors
/// [`StoreError`].
pub fn reserve(tx: &mut Tx<'_>, unit: Unit) -> Result<Reserve, StoreError> {
    let purse = Purse { account: AccountId::RISK, unit };
    let mut reserve = Reserve { excess_minor: rows::excess_minor(tx, unit)?, ..Reserve::default() };
    for row in allotment::lines(tx, purse)? {
        if row.line.seen.loaded_minor > 0 {
            let mut told = journal::counters(tx, purse, row.store, row.epoch)?;
            if told.loaded_minor < row.line.seen.loaded_minor {
                let decided_minor = lender::decided_back_minor(tx, row.store, row.epoch)?;
                told.loaded_minor = told.loaded_minor.saturating_add(decided_minor);
            }
            reserve.report(&row.line.seen, &told);
        }
    }
    Ok(reserve)
}

fn settle_some(
    tx: &mut Tx<'_>,
    accounts: &[(AccountId, Unit)],
    day: BusinessDay,
    now: Instant,
) -> Result<Settled, StoreError> {
    let mut settled = Settled::default();
    // What a restored hub's pool shows may be with a store that it has not heard yet.
    if tenure::recovers(tx)? {
        return Ok(settled);
    }
    let has_read_all = tenure::has_read_all(tx)?;
    for &(account, unit) in accounts {
        let owing = rows::owing(tx, account, unit)?;
        let (debt, unbacked) = (owing.debt, unbacked(tx, unit, &owing)?);
        if let Some(due) = owing.due(|place| !unbacked.contains(&place), has_read_all)
            && let Some(posting) = due.within(&allotment::take_pool(tx, purse(due.kinds()[0], account, unit))?.0)
        {
            let about = format!("{account} {unit} from {} {}", debt.recovered_minor, debt.released_minor);
            let occasion = Occasion {
                operation: points::operation("huitong overdrafts 1", &about),
                reference: &format!("overdraft of account {account}"),
                day,
                now,
            };
            post(tx, occasion, movements(posting, account, unit))?;
            let sum = match posting {
                Posting::Return { .. } => &mut settled.returned_minor,
                Posting::Collect { .. } | Posting::WriteOff { .. } => &mut settled.collected_minor,
            };
            *sum = sum.saturating_add(posting.amount_minor());
        }
        clear(tx, account, unit)?;
    }
    Ok(settled)
}

/// The purse that a movement of a posting is on.
fn purse(kind: MovementKind, account: AccountId, unit: Unit) -> Purse {
    let account = if kind.is_of_risk_account() { AccountId::RISK } else { account };
    Purse { account, unit }
}

/// The movements of a posting about what an account owes.
pub(crate) fn movements(posting: Posting, account: AccountId, unit: Unit) -> Vec<Movement> {
    let of = |kind| movement(purse(kind, account, unit), kind, posting.amount_minor(), account);
    posting.kinds().map(of).to_vec()
}

/// A movement of head office's, which names who owes where its kind has it named.
pub(crate) fn movement(
    Purse { account, unit }: Purse,
    kind: MovementKind,
    amount_minor: i64,
    of: AccountId,
) -> Movement {
    let owed_by = kind.is_about_debt().then_some(of);
    Movement { account, unit, kind, amount_minor, of: None, origin_store: None, shortfall_minor: 0, owed_by }
}

/// Posts movements of head office's journal as one entry, each on its pool in turn.
///
/// # Errors
/// [`StoreError::Rule`] when a pool has too little; nothing may be committed then.
pub(crate) fn post(tx: &mut Tx<'_>, occasion: Occasion<'_>, movements: Vec<Movement>) -> Result<(), StoreError> {
    let Occasion { operation, reference, day, now } = occasion;
    let mut pools: Vec<(Purse, Pool, Stamp)> = Vec::new();
    for movement in &movements {
        let purse = Purse { account: movement.account, unit: movement.unit };
        let at = match pools.iter().position(|(known, ..)| *known == purse) {
            Some(at) => at,
            None => {
                let (pool, stamp) = allotment::take_pool(tx, purse)?;
                pools.push((purse, pool, stamp));
                pools.len() - 1
            }
        };
        let amount_minor = movement.amount_minor;
        let event = match movement.kind.direction() {
            Direction::In => HubEvent::Load { amount_minor },
            Direction::Out => HubEvent::Spend { amount_minor },
        };
        let side = HubSide { pool: pools[at].1, ..HubSide::default() };
        let next = step(&side, event)
            .map_err(|why| StoreError::Rule { operation: "post", fault: format!("{reference}: {why}") })?;
        pools[at].1 = next.pool;
    }
    let posted = posting::post(tx, operation, day, now, HubPosting { reference: reference.to_owned(), movements })?;
    pools.into_iter().try_for_each(|(purse, pool, seen)| allotment::put_pool(tx, purse, &pool, posted.stamp.max(seen)))
}

/// Writes what stores are told of an account: the oldest overdrafts are cleared first.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn clear(tx: &mut Tx<'_>, account: AccountId, unit: Unit) -> Result<(), StoreError> {
    let Owing { debt, stores } = rows::owing(tx, account, unit)?;
    let due_minor = stores.iter().fold(0_i64, |sum, at| sum.saturating_add(at.net_minor()));
    let mut left_minor = due_minor.saturating_sub(debt.owed_minor()).max(0);
    for at in stores {
        let cleared_minor = left_minor.min(at.net_minor());
        left_minor -= cleared_minor;
        rows::put_cleared(tx, at.place, (account, unit), cleared_minor)?;
    }
    Ok(())
}
