//! Allot: decides at night which stores keep how much of whose value, and grants it to stores that ask for it.
//!
//! The decision is `protocol::parking`'s; here are its inputs (visits from the movements, balances from the reports), what becomes of it (targets, which
//! stores fetch with the other datasets) and how good it was. Planned are the accounts that moved since the plan before, or whose cards were stopped or given free; when the rules changed, all.
//! Nothing here takes value from a store: it releases what is above its target by itself, and asks for what is below once others have released.
//! Invariant: when a plan breaks off, the next one begins with the same accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use huitong_protocol::allotment::{self, HubEvent, HubSide, Pool, Purse};
use huitong_protocol::debt::Reserve;
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::parking::{self, Allocator, Holder, ParkingRules, Target, VisitKind, Visits};
use huitong_protocol::policy::Policy;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;
use serde::Serialize;

use crate::overdraft;
use crate::session::Caller;
use crate::store::allotment::{self as lines, Counted};
use crate::store::overdraft::owing;
use crate::store::parking::{self as rows, Change, Outcome, Seen};
use crate::store::{Store, StoreError, Tx, card, cursor, hot, journal, policy, root, tenure};

/// Accounts of one transaction: few enough that a till that waits for a grant does not notice.
const ACCOUNTS_PER_WRITE: usize = 500;
/// The name of the cursor: how far the movements were looked at.
const CURSOR: &str = "parking";
/// The name of another: up to which version cards were looked at for those that were given free.
const CARDS_CURSOR: &str = "parking cards";

/// What to plan by.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The rules.
    pub rules: ParkingRules,
    /// Every account, not only those that moved.
    pub everyone: bool,
    /// Where accounts come next, for somebody who knows: these are planned too, and by nothing else. For comparisons only.
    pub next_stores: Option<Arc<BTreeMap<AccountId, StoreId>>>,
}

/// What is planned for one account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Sheet {
    /// The account.
    pub account: AccountId,
    /// What it holds, in minor units.
    pub balance_minor: i64,
    /// What of it is to be parked, in minor units.
    pub parked_minor: i64,
    /// Where, how much and why; the likeliest store first.
    pub targets: Vec<Target>,
    #[serde(skip)]
    changes: Vec<Change>,
    /// Whether the account came since the plan before, and whether its first basket was within what that plan wanted parked there.
    #[serde(skip)]
    first_covered: Option<bool>,
}

/// A plan as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Planned {
    /// By which allocator.
    pub allocator: Allocator,
    /// Whether the targets were written.
    pub applied: bool,
    /// Totals.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The accounts of which most is parked.
    pub largest: Vec<Sheet>,
}

/// The rules of the policy in force on a day; the usual ones while there is no policy.
///
/// # Errors
/// [`StoreError`], also when the policy cannot be read.
pub fn rules(tx: &mut Tx<'_>, day: BusinessDay) -> Result<ParkingRules, StoreError> {
    let Some(kept) = policy::in_force(tx, day)? else { return Ok(ParkingRules::default()) };
    let policy: Policy = toml::from_str(&kept.bundle.document).map_err(|fault| StoreError::Value {
        table: "policy",
        column: "bundle",
        row: kept.bundle.version.to_string(),
        fault: fault.to_string(),
    })?;
    Ok(policy.allotment.parking)
}

/// Plans one account by itself.
///
/// # Errors
/// [`StoreError`].
pub fn explain(tx: &mut Tx<'_>, ask: &Ask, account: AccountId) -> Result<Sheet, StoreError> {
    let unit = Unit::Money(root::hub(tx)?.currency);
    let epochs = rows::epochs(tx)?;
    let after = cursor::get(tx, CURSOR)?;
    sheet(tx, ask, Purse { account, unit }, &epochs, after)
}

/// Plans, and shows at most so many accounts. Nothing is written.
///
/// # Errors
/// [`StoreError`].
pub fn plan(store: &Store, ask: &Ask, shown: usize) -> Result<Planned, StoreError> {
    run(store, ask, shown, None)
}

/// Plans and writes the targets; stores fetch them.
///
/// # Errors
/// [`StoreError`]; the targets that were written until then stay, and the next plan goes over all of its accounts again.
pub fn apply(store: &Store, ask: &Ask, shown: usize, now: Instant) -> Result<Planned, StoreError> {
    run(store, ask, shown, Some(now))
}

/// Which accounts are planned, and what all of them need.
struct Scope {
    unit: Unit,
    epochs: BTreeMap<StoreId, Epoch>,
    after: i64,
    through: i64,
    cards_through: i64,
    accounts: Vec<AccountId>,
    rules: String,
}

fn scope(tx: &mut Tx<'_>, ask: &Ask) -> Result<Scope, StoreError> {
    let unit = Unit::Money(root::hub(tx)?.currency);
    let (after, through) = (cursor::get(tx, CURSOR)?, rows::newest(tx)?);
    let rules = serde_json::to_string(&ask.rules)
        .map_err(|fault| StoreError::Rule { operation: "plan what is parked", fault: fault.to_string() })?;
    let same_rules = rows::applied(tx, 1)?.first().is_some_and(|last| last.rules == rules);
    let mut accounts = match () {
        () if ask.everyone || !same_rules => rows::everyone(tx)?,
        // Nothing is parked, and nothing will be.
        () if ask.rules.allocator == Allocator::Pool && ask.next_stores.is_none() => BTreeSet::new(),
        () => {
            let mut accounts = rows::moved(tx, after, through)?;
            accounts.extend(rows::parked_where_gone(tx)?);
            // A card that is stopped, or found again, moves nothing.
            accounts.extend(rows::parked_for_nobody(tx)?);
            let cards_after = cursor::get(tx, CARDS_CURSOR)?;
            accounts.extend(rows::given_free(tx, cards_after)?);
            accounts
        }
    };
    accounts.extend(ask.next_stores.iter().flat_map(|next| next.keys()));
    // Its lines are policy's to say (`risk`), and nobody visits with it.
    accounts.remove(&AccountId::RISK);
    let (epochs, cards_through) = (rows::epochs(tx)?, hot::newest(tx)?);
    Ok(Scope { unit, epochs, after, through, cards_through, accounts: accounts.into_iter().collect(), rules })
}

fn run(store: &Store, ask: &Ask, shown: usize, applied_at: Option<Instant>) -> Result<Planned, StoreError> {
    let (asked, ask) = (ask.clone(), Arc::new(ask.clone()));
    let scope = store.read_blocking(move |tx| scope(tx, &asked))?;
    let Scope { unit, epochs, after, through, cards_through, accounts, rules } = scope;
    let epochs = Arc::new(epochs);
    let mut outcome = Outcome::default();
    let mut largest: Vec<Sheet> = Vec::new();
    for accounts in accounts.chunks(ACCOUNTS_PER_WRITE) {
        let (accounts, ask, epochs) = (accounts.to_vec(), Arc::clone(&ask), Arc::clone(&epochs));
        let sheets = store.read_blocking(move |tx| {
            let sheet = |account: &AccountId| sheet(tx, &ask, Purse { account: *account, unit }, &epochs, after);
            accounts.iter().map(sheet).collect::<Result<Vec<_>, StoreError>>()
        })?;
        if applied_at.is_some() {
            let changes: Vec<Change> = sheets.iter().flat_map(|sheet| sheet.changes.clone()).collect();
            store.write_blocking(move |tx| rows::put(tx, &changes))?;
        }
        for sheet in sheets {
            count(&mut outcome, &sheet);
            if sheet.parked_minor > 0 {
                largest.push(sheet);
            }
        }
        largest.sort_by_key(|sheet| (std::cmp::Reverse(sheet.parked_minor), sheet.account));
        largest.truncate(shown);
    }
    if let Some(now) = applied_at {
        let outcome = outcome.clone();
        store.write_blocking(move |tx| {
            cursor::advance(tx, CURSOR, through)?;
            cursor::advance(tx, CARDS_CURSOR, cards_through)?;
            rows::keep(tx, now.0, &rules, &outcome)
        })?;
    }
    Ok(Planned { allocator: ask.rules.allocator, applied: applied_at.is_some(), outcome, largest })
}

fn count(outcome: &mut Outcome, sheet: &Sheet) {
    outcome.accounts += 1;
    outcome.targets += sheet.targets.len() as u64;
    outcome.changed += sheet.changes.len() as u64;
    outcome.balance_minor = outcome.balance_minor.saturating_add(sheet.balance_minor);
    outcome.parked_minor = outcome.parked_minor.saturating_add(sheet.parked_minor);
    outcome.came += u64::from(sheet.first_covered.is_some());
    outcome.covered += u64::from(sheet.first_covered == Some(true));
}

fn sheet(
    tx: &mut Tx<'_>,
    ask: &Ask,
    purse: Purse,
    epochs: &BTreeMap<StoreId, Epoch>,
    after: i64,
) -> Result<Sheet, StoreError> {
    let balance_minor = rows::balance_minor(tx, purse, epochs)?.max(0);
    // What is owed for overdrafts is collected from the pool: parked at stores, it would never be.
    let own_minor = balance_minor.saturating_sub(owing(tx, purse.account, purse.unit)?.debt.owed_minor()).max(0);
    let seen = rows::seen(tx, purse)?;
    let before = rows::targets(tx, purse)?;
    let (mut targets, mut wanted) = (Vec::new(), BTreeMap::new());
    match &ask.next_stores {
        // Nobody can come: all cards are stopped or over, and where value lies whoever found one could take it.
        _ if !card::any_active(tx, purse.account)? => {}
        Some(next) => {
            let next = next.get(&purse.account).filter(|store| epochs.contains_key(store)).copied();
            wanted.extend(next.and_then(|store| parking::clairvoyant(&ask.rules, own_minor, store)));
        }
        None => {
            let gone = seen.iter().map(|seen| seen.store).filter(|store| !epochs.contains_key(store)).collect();
            let mut visits = Visits::default();
            for &Seen { store, day, kind, amount_minor, .. } in &seen {
                visits.push(store, day, kind, amount_minor);
            }
            targets =
                parking::plan(&ask.rules, &Holder { balance_minor: own_minor, visits: visits.recent(), gone: &gone });
            wanted.extend(targets.iter().map(|target| (target.store, target.target_minor)));
        }
    }
    let parked_minor = wanted.values().sum();
    assert!(parked_minor <= own_minor, "no more is parked than there is");
    let stores: BTreeSet<StoreId> = wanted.keys().chain(before.keys()).copied().collect();
    let changes = stores.into_iter().filter_map(|store| {
        let target_minor = wanted.get(&store).copied().unwrap_or(0);
        (before.get(&store).copied().unwrap_or(0) != target_minor).then_some(Change { purse, store, target_minor })
    });
    let changes = changes.collect();
    let first_covered = first_covered(&seen, &before, after);
    Ok(Sheet { account: purse.account, balance_minor, parked_minor, targets, changes, first_covered })
}

/// Whether the first basket since a plan was no more than what that plan wanted parked at its store; `None` when there was none.
fn first_covered(seen: &[Seen], parked: &BTreeMap<StoreId, i64>, after: i64) -> Option<bool> {
    let new = seen.iter().position(|seen| seen.ingested_no > after)?;
    let first = seen[new];
    let mut needed_minor = 0_i64;
    for at in seen[new..].iter().take_while(|seen| (seen.store, seen.day) == (first.store, first.day)) {
        match at.kind {
            VisitKind::Given | VisitKind::Reloaded => needed_minor = needed_minor.saturating_sub(at.amount_minor),
            VisitKind::Paid => {
                needed_minor = needed_minor.saturating_add(at.amount_minor);
                return Some(parked.get(&first.store).copied().unwrap_or(0) >= needed_minor);
            }
        }
    }
    None
}

/// Grants a store what it lacks of its targets, as far as the pool has it. An account that somebody waits for is left alone: what comes back of it is for
/// the till that waits.
///
/// # Errors
/// [`StoreError`].
pub fn fill(
    tx: &mut Tx<'_>,
    caller: Caller,
    purses: &[Purse],
    is_awaited: impl Fn(AccountId) -> bool,
) -> Result<(), StoreError> {
    // As for any grant: neither of two copies of a store gets value, and nobody while a restored hub has not heard every store. That the epoch lives, and
    // that this is its session, `report::admit` has asked in the same transaction.
    if journal::find(tx, caller.store, caller.epoch)?.forked || tenure::recovers(tx)? {
        return Ok(());
    }
    let mut granted = 0;
    for &purse in purses {
        let Some(target_minor) = rows::target(tx, purse, caller.store)? else { continue };
        let line = lines::line(tx, purse, caller.store, caller.epoch)?.unwrap_or_default();
        let grantable = |pool: &Pool, kept: Reserve| {
            let lacking = (i128::from(target_minor) - line.held()).min(kept.lendable(pool.free()));
            i64::try_from(lacking).ok().filter(|amount_minor| *amount_minor > 0)
        };
        // Mostly nothing is free: stores ask again and again for what members carry elsewhere. A look writes nothing.
        if grantable(&lines::pool(tx, purse)?.0, Reserve::default()).is_none() || is_awaited(purse.account) {
            continue;
        }
        let is_risk = purse.account == AccountId::RISK;
        // What was to be parked until a card was stopped is not. The risk account's lines are policy's, and it has no card.
        if !is_risk && !card::any_active(tx, purse.account)? {
            continue;
        }
        let (pool, stamp) = lines::take_pool(tx, purse)?;
        // What goes back to accounts is not lent to others.
        let kept = if is_risk { overdraft::reserve(tx, purse.unit)? } else { Reserve::default() };
        let Some(amount_minor) = grantable(&pool, kept) else { continue };
        let after = allotment::step(&HubSide { pool, line }, HubEvent::Grant { amount_minor })
            .map_err(|fault| StoreError::Rule { operation: "grant what is parked", fault: fault.to_string() })?;
        lines::put_pool(tx, purse, &after.pool, stamp)?;
        lines::put_line(tx, purse, caller.store, caller.epoch, &after.line)?;
        granted += 1;
    }
    lines::count(tx, Counted::Grants, granted)
}
