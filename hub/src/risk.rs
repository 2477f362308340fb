//! Risk: the budget that the group puts behind overdrafts, each store's line of it, and what became of what was drawn.
//!
//! The budget is the money of the risk account ([`AccountId::RISK`]) and a line is its allotment to a store, so that what may be drawn anywhere is never more
//! than the budget, whatever the network does. Budget and write-offs take two people: the first asks, the second decides. Reported are zeros where no
//! policy lets anybody overdraw. Invariant: nothing is lowered below what stores hold.

use std::collections::BTreeMap;

use huitong_protocol::allotment::Purse;
use huitong_protocol::debt::{self, Debt, Owing, Standing};
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::movement::MovementKind;
use huitong_protocol::policy::{OverdraftRules, Policy};
use huitong_protocol::till::AMOUNT_MINOR_MAX;
use huitong_protocol::time::BusinessDay;
use huitong_protocol::unit::Unit;
use serde::Serialize;

use crate::actor::Actor;
use crate::note::{self, NoteFault};
use crate::overdraft;
use crate::points::{self, Occasion as Posting};
use crate::recovery::{self, Waited};
use crate::store::overdraft as debts;
use crate::store::parking::{self, Change};
use crate::store::risk::{self as rows, Decision, DecisionKind};
use crate::store::{StoreError, Tx, allotment, policy, root, tenure};
use crate::suspense::Occasion;

/// How many decisions are shown.
const DECISIONS_SHOWN_MAX: i64 = 50;

/// Why something about the risk account was not done.
#[derive(Debug, thiserror::Error)]
pub enum RiskError {
    /// No amount that a budget may have.
    #[error("amount: is {0}; from 0 to {AMOUNT_MINOR_MAX} minor units are allowed")]
    Amount(i64),
    /// A note that says nothing, or too much.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// It cannot be done so.
    #[error("{fault}\n  hint: {hint}")]
    State {
        /// Why not.
        fault: String,
        /// What to do.
        hint: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store's line, by its reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct LineView {
    /// The store.
    pub store: StoreId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Whether the epoch has ended: what it held waits (`huitong-hub suspense`).
    pub ended: bool,
    /// What policy wants the line to be.
    pub target_minor: i64,
    /// What was granted and is not released: drawn or not.
    pub granted_minor: i64,
    /// What was drawn, less what came back.
    pub used_minor: i64,
    /// What can still be drawn; of an epoch that ended, what may have been drawn that nobody has heard of.
    pub left_minor: i64,
    /// What of it waits for a person's decision, as the epoch has ended.
    pub waiting_minor: i64,
}

/// What an account owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct DebtView {
    /// Whose it is.
    pub account: AccountId,
    /// What is still owed.
    pub owed_minor: i64,
    /// What was collected and goes back to it, as goods came back.
    pub excess_minor: i64,
    /// How it came about.
    #[serde(flatten)]
    pub debt: Debt,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RiskSheet {
    /// The currency of the amounts.
    pub currency: Currency,
    /// Whether the policy in force lets cards overdraw.
    pub allowed: bool,
    /// What finance puts at risk, losses included, with what was paid back for lines of epochs that ended.
    pub budget_minor: i64,
    /// What is with no store.
    pub free_minor: i64,
    /// What of that is lent to nobody and no budget can be lowered by: it goes back to accounts. It was collected and is not owed, or came back by a report and
    /// stands in no journal yet.
    pub reserved_minor: i64,
    /// What was collected from accounts and is not owed, as goods came back since.
    pub excess_minor: i64,
    /// What is with stores and was not released, drawn or not; of epochs that ended too.
    pub granted_minor: i64,
    /// What was drawn less what came back, by the stores' reports.
    pub used_minor: i64,
    /// What was taken off accounts, less what was given back to them.
    pub recovered_minor: i64,
    /// What finance gave up and nothing made good since.
    pub written_off_minor: i64,
    /// What accounts still owe, by the journals that have arrived.
    pub owed_minor: i64,
    /// What could still be drawn now, whatever stores do before they are heard again; while the hub recovers, what its pool has besides: it may have
    /// forgotten that a store holds it.
    pub drawable_minor: i64,
    /// The exposure: what is drawn and not recovered, given up or not, and what could still be drawn now.
    pub exposure_minor: i64,
    /// Whether the hub was restored and has not heard every store since: figures are of what it remembers.
    pub recovers: bool,
    /// The epochs that it waits for.
    pub waited_for: Vec<Waited>,
    /// Line by line.
    pub lines: Vec<LineView>,
    /// Accounts that owe, are owed, or whose debt was given up.
    pub debts: Vec<DebtView>,
    /// The last decisions, the newest first.
    pub decisions: Vec<Decision>,
}

/// What the policy of a day says of overdrafts.
fn rules(tx: &mut Tx<'_>, day: BusinessDay) -> Result<Option<OverdraftRules>, StoreError> {
    let Some(kept) = policy::in_force(tx, day)? else { return Ok(None) };
    let policy: Policy = toml::from_str(&kept.bundle.document).map_err(|fault| StoreError::Value {
        table: "policy",
        column: "bundle",
        row: kept.bundle.version.to_string(),
        fault: fault.to_string(),
    })?;
    Ok(policy.overdraft)
}

fn purse(tx: &mut Tx<'_>) -> Result<(Purse, Currency), StoreError> {
    let currency = root::hub(tx)?.currency;
    Ok((Purse { account: AccountId::RISK, unit: Unit::Money(currency) }, currency))
}

/// How the risk account stands on a day.
///
/// # Errors
/// [`StoreError`].
pub fn show(tx: &mut Tx<'_>, day: BusinessDay) -> Result<RiskSheet, StoreError> {
    let (purse, currency) = purse(tx)?;
    let allowed = rules(tx, day)?.is_some();
    let targets = parking::targets(tx, purse)?;
    let living: BTreeMap<StoreId, Epoch> = parking::epochs(tx)?;
    let narrow = |sum: i128| i64::try_from(sum).unwrap_or(i64::MAX);
    let recovers = tenure::recovers(tx)?;
    let free = allotment::pool(tx, purse)?.0.free();
    let mut standing = Standing {
        reserve: overdraft::reserve(tx, purse.unit)?,
        unsure: if recovers { free } else { 0 },
        ..Standing::default()
    };
    let mut lines: Vec<LineView> = Vec::new();
    for row in allotment::lines(tx, purse)? {
        let ended = row.suspense.is_some() || living.get(&row.store) != Some(&row.epoch);
        let (seen, held) = (row.line.seen, row.line.held());
        standing.used += i128::from(seen.spent_minor) - i128::from(seen.loaded_minor);
        standing.left += held;
        lines.push(LineView {
            store: row.store,
            epoch: row.epoch,
            ended,
            target_minor: if ended { 0 } else { targets.get(&row.store).copied().unwrap_or(0) },
            granted_minor: row.line.granted_minor.saturating_sub(seen.released_minor),
            used_minor: seen.spent_minor.saturating_sub(seen.loaded_minor),
            left_minor: narrow(held),
            waiting_minor: if ended { narrow(row.holds()) } else { 0 },
        });
    }
    for (&store, &target_minor) in targets.iter().filter(|(store, target)| **target > 0 && living.contains_key(store)) {
        let epoch = living[&store];
        if !lines.iter().any(|line| (line.store, line.epoch) == (store, epoch)) {
            let (granted_minor, used_minor, left_minor, waiting_minor) = (0, 0, 0, 0);
            let ended = false;
            lines.push(LineView {
                store,
                epoch,
                ended,
                target_minor,
                granted_minor,
                used_minor,
                left_minor,
                waiting_minor,
            });
        }
    }
    lines.sort_by_key(|line| (line.store, line.epoch));
    let (mut owed_minor, mut written_off_minor, mut shown) = (0_i64, 0_i64, Vec::new());
    for ((account, unit), Owing { debt, .. }) in debts::owings(tx)? {
        if unit != purse.unit {
            continue;
        }
        owed_minor = owed_minor.saturating_add(debt.owed_minor());
        written_off_minor = written_off_minor.saturating_add(debt.written_off_minor);
        standing.recovered += i128::from(debt.recovered_minor) - i128::from(debt.released_minor);
        if debt.is_open() {
            let (owed_minor, excess_minor) = (debt.owed_minor(), debt.excess_minor());
            shown.push(DebtView { account, owed_minor, excess_minor, debt });
        }
    }
    let granted_minor = lines.iter().fold(0_i64, |sum, line| sum.saturating_add(line.granted_minor));
    Ok(RiskSheet {
        currency,
        allowed,
        budget_minor: rows::budget(tx, purse.unit)?,
        free_minor: narrow(free),
        reserved_minor: standing.reserve.sum_minor(),
        excess_minor: standing.reserve.excess_minor,
        granted_minor,
        used_minor: narrow(standing.used),
        recovered_minor: narrow(standing.recovered),
        written_off_minor,
        owed_minor,
        drawable_minor: narrow(standing.drawable()),
        exposure_minor: narrow(standing.exposure()),
        recovers,
        waited_for: recovery::look(tx)?.waited_for,
        lines,
        debts: shown,
        decisions: rows::last(tx, DECISIONS_SHOWN_MAX)?,
    })
}

/// That the hub has heard every store since it was restored: until then it knows neither what is lent nor what came back.
fn must_be_whole(tx: &mut Tx<'_>) -> Result<(), RiskError> {
    if !tenure::recovers(tx)? {
        return Ok(());
    }
    let fault = "the hub was restored and has not heard every store yet".to_owned();
    Err(RiskError::State { fault, hint: "huitong-hub recover status" })
}

/// Says to every enrolled store how large its line is to be by the policy of a day. With `again` stores that lack something ask at once.
///
/// # Errors
/// [`StoreError`].
pub fn set_lines(tx: &mut Tx<'_>, day: BusinessDay, again: bool) -> Result<(), StoreError> {
    let (purse, _) = purse(tx)?;
    let line_minor = rules(tx, day)?.map_or(0, |rules| rules.store_line_minor);
    let told = parking::targets(tx, purse)?;
    let mut changes = Vec::new();
    for store in parking::epochs(tx)?.into_keys() {
        let before = told.get(&store).copied().unwrap_or(0);
        if before != line_minor || (again && line_minor > 0) {
            changes.push(Change { purse, store, target_minor: line_minor });
        }
    }
    parking::put(tx, &changes)?;
    if changes.is_empty() { Ok(()) } else { parking::announce(tx) }
}

/// Whether some store has to be told how large its line is to be.
///
/// # Errors
/// [`StoreError`].
pub fn lines_differ(tx: &mut Tx<'_>, day: BusinessDay) -> Result<bool, StoreError> {
    let (purse, _) = purse(tx)?;
    let line_minor = rules(tx, day)?.map_or(0, |rules| rules.store_line_minor);
    let told = parking::targets(tx, purse)?;
    Ok(parking::epochs(tx)?.keys().any(|store| told.get(store).copied().unwrap_or(0) != line_minor))
}

/// Asks that the budget be so large; as a second person, sets it.
///
/// # Errors
/// [`RiskError`]; nothing changed then.
pub fn set_budget(
    tx: &mut Tx<'_>,
    actor: &Actor,
    amount_minor: i64,
    note: &str,
    occasion: Occasion,
) -> Result<RiskSheet, RiskError> {
    if !(0..=AMOUNT_MINOR_MAX).contains(&amount_minor) {
        return Err(RiskError::Amount(amount_minor));
    }
    let (purse, _) = purse(tx)?;
    let budget_minor = rows::budget(tx, purse.unit)?;
    let newest = rows::newest(tx, (DecisionKind::Budget, None))?;
    let is_open = newest.as_ref().is_some_and(|last| last.decided_by.is_none());
    if amount_minor == budget_minor && !is_open {
        // Asked again after a lost answer.
        if newest.is_some_and(|last| last.decided_by.is_some_and(|by| actor.is(&by))) {
            return Ok(show(tx, occasion.day)?);
        }
        return Err(RiskError::State {
            fault: "the budget is so large already".to_owned(),
            hint: "huitong-hub risk show",
        });
    }
    let more_minor = amount_minor - budget_minor;
    if more_minor != 0 {
        must_be_whole(tx)?;
    }
    let (pool, _) = allotment::take_pool(tx, purse)?;
    let lendable = overdraft::reserve(tx, purse.unit)?.lendable(pool.free());
    if more_minor < 0 && i128::from(more_minor) + lendable < 0 {
        let least = i128::from(budget_minor) - lendable.max(0);
        return Err(RiskError::State {
            fault: format!(
                "{least} of the budget of {budget_minor} minor units is with stores, drawn, lost or goes back to accounts"
            ),
            hint: "set a budget of that at least; lower store_line_minor of the policy, and stores release what is above it",
        });
    }
    let about =
        About { subject: (DecisionKind::Budget, None), amount_minor, action: ("risk.ask_budget", "risk.budget") };
    if let Some(number) = second(tx, actor, newest, &about, note, occasion)? {
        let kind = if more_minor > 0 { MovementKind::RiskBudget } else { MovementKind::RiskBudgetCut };
        if more_minor != 0 {
            let reference = format!("risk budget, decision {number}");
            let movement = overdraft::movement(purse, kind, more_minor.abs(), AccountId::RISK);
            overdraft::post(tx, posting(&reference, occasion), vec![movement])?;
        }
        set_lines(tx, occasion.day, true)?;
    }
    Ok(show(tx, occasion.day)?)
}

/// Asks that what an account owes be given up; as a second person, gives it up.
///
/// # Errors
/// [`RiskError`]; nothing changed then.
pub fn write_off(
    tx: &mut Tx<'_>,
    actor: &Actor,
    account: AccountId,
    note: &str,
    occasion: Occasion,
) -> Result<RiskSheet, RiskError> {
    let (purse, _) = purse(tx)?;
    let owed_minor = debts::owing(tx, account, purse.unit)?.debt.owed_minor();
    let newest = rows::newest(tx, (DecisionKind::WriteOff, Some(account)))?;
    if owed_minor == 0 {
        if newest.is_some_and(|last| last.decided_by.is_some_and(|by| actor.is(&by))) {
            return Ok(show(tx, occasion.day)?);
        }
        return Err(RiskError::State {
            fault: format!("account {account} owes nothing"),
            hint: "huitong-hub risk show",
        });
    }
    must_be_whole(tx)?;
    let subject = (DecisionKind::WriteOff, Some(account));
    let about = About { subject, amount_minor: owed_minor, action: ("risk.ask_write_off", "risk.write_off") };
    if let Some(number) = second(tx, actor, newest, &about, note, occasion)? {
        let reference = format!("overdraft of account {account} given up, decision {number}");
        let movements = overdraft::movements(debt::Posting::WriteOff { amount_minor: owed_minor }, account, purse.unit);
        overdraft::post(tx, posting(&reference, occasion), movements)?;
        overdraft::clear(tx, account, purse.unit)?;
    }
    Ok(show(tx, occasion.day)?)
}

fn posting(reference: &str, Occasion { now, day }: Occasion) -> Posting<'_> {
    Posting { operation: points::operation("huitong risk decisions 1", reference), reference, day, now }
}

/// What two people decide.
struct About {
    subject: rows::Subject,
    amount_minor: i64,
    /// What asking and deciding are called in the audit.
    action: (&'static str, &'static str),
}

/// Notes that somebody asks, or decides as a second person: then gives the decision's number, and it is to be carried out.
fn second(
    tx: &mut Tx<'_>,
    actor: &Actor,
    newest: Option<Decision>,
    about: &About,
    note: &str,
    Occasion { now, .. }: Occasion,
) -> Result<Option<i64>, RiskError> {
    let note = note::optional(note)?;
    let object = about.subject.1.map_or_else(|| "budget".to_owned(), |account| format!("account {account}"));
    match newest.filter(|last| last.decided_by.is_none() && last.amount_minor == about.amount_minor) {
        Some(open) if actor.is(&open.asked_by) => {
            if open.asked_note == note {
                return Ok(None);
            }
            let fault = format!("was asked for by {}", open.asked_by);
            Err(RiskError::State { fault, hint: "a second person must decide it" })
        }
        Some(open) => {
            rows::decided(tx, open.number, (actor.name(), note), now)?;
            let detail = format!("{}, asked for by {}: {note}", about.amount_minor, open.asked_by);
            actor.did(tx, about.action.1, &object, &detail, now)?;
            Ok(Some(open.number))
        }
        // Nobody asked, or for something else: a first person asks.
        None => {
            let note = note::needed(note)?;
            rows::ask(tx, about.subject, about.amount_minor, (actor.name(), note), now)?;
            actor.did(tx, about.action.0, &object, &format!("{}: {note}", about.amount_minor), now)?;
            Ok(None)
        }
    }
}
