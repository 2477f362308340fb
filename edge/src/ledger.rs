//! Ledger: what a till's operation does here. Decided by the pure core on rows read in the writer's transaction, then entry, counters, card,
//! receipt and the stored answer are written in that same transaction: all of it or nothing, once, whatever the till repeats.
//!
//! An operation that needs the hub leaves the batch, asks for everything in one call with no transaction open, and comes back; what was granted
//! and not used is harmless. A refusal by the rules is an answer that is stored like any other. Sync, HTTP and the time are not here.

mod day;
mod explanation;
mod hold;
#[cfg(test)]
mod hold_tests;
mod limits;
mod look;
mod member;
mod order;
#[cfg(test)]
mod overdraft_tests;
mod pricing;
#[cfg(test)]
mod quote_tests;
#[cfg(test)]
mod receipt_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod told_tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use huitong_protocol::allotment::{Holding, Purse};
use huitong_protocol::card::{Card, CardStatus};
use huitong_protocol::decline::{Decline, Elsewhere};
use huitong_protocol::entry::{Body, Sale};
use huitong_protocol::id::{AccountId, EntryId, Hash, OperationId, Seq, TerminalId};
use huitong_protocol::ledger as core;
use huitong_protocol::ledger::{Decision, Plan, ReceiptChange};
use huitong_protocol::movement::MovementKind;
use huitong_protocol::policy::Policy;
use huitong_protocol::pricing::Verdict;
use huitong_protocol::till::{
    Approved, BalanceHere, Fault, Hold, HoldState, Outcome, PlaceHold, SalePrice, TotalBalance,
};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{Grant, Need};

use crate::continuity::Keeper;
use crate::store::in_use::{InUse, Using};
use crate::store::operation::NewAnswer;
use crate::store::tenure::HubTurn;
use crate::store::{
    Appended, EntryMeta, ReadTx, Store, StoreError, WriteTx, allotment, card, draft, hold as holds, journal, operation,
    overdraft, pending, receipt,
};
use crate::sync::may_take;
use crate::till::Permissions;
use order::keep_references;
use pricing::Prepared;

pub use explanation::Explanation;
pub use hold::{HoldsOf, check as check_holds};
pub use look::{CardLook, OperationLook};
pub use member::{Newcomer, Wish};
pub use order::{Order, Reference};
pub use pricing::{Quoted, keep_quote_key};

/// Head office, as an operation asks it: all that is lacking in one call, with no transaction open.
#[async_trait]
pub trait Hub: Send + Sync + 'static {
    /// Asks for grants and card states. Must answer within its own bound, whatever the line does.
    async fn ask(&self, needs: Vec<Need>, totals: bool) -> HubReply;

    /// An answer about these purses could not be stored: the hub must say it again, else value that it granted would stay here unaccounted for.
    fn lost(&self, purses: Vec<Purse>);
}

/// What the hub said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HubReply {
    /// It answered.
    Answered {
        /// Grants to adopt.
        grants: Vec<Grant>,
        /// The session that they were granted in.
        turn: HubTurn,
        /// The cards asked for, as the hub has them; a card that is not here does not exist.
        cards: Vec<Card>,
        /// Value that could not be brought.
        elsewhere: Vec<Elsewhere>,
        /// Whole balances, when asked, in the order of the needs.
        totals: Vec<TotalBalance>,
        /// It gives nothing, and does not know where else something is.
        is_closed: bool,
    },
    /// It could not be reached.
    Unreachable,
}

impl HubReply {
    /// The purses that it brings grants for.
    #[must_use]
    pub fn purses(&self) -> Vec<Purse> {
        match self {
            Self::Answered { grants, .. } => grants.iter().map(purse_of).collect(),
            Self::Unreachable => Vec::new(),
        }
    }
}

fn purse_of(grant: &Grant) -> Purse {
    Purse { account: grant.account, unit: grant.unit }
}

/// Who asks for an operation, and when.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The operation's id, made and saved by the till before it sent.
    pub operation: OperationId,
    /// Hash of what was asked: method, path and body.
    pub body_hash: Hash,
    /// The till.
    pub terminal: TerminalId,
    /// What the till may do.
    pub permissions: Permissions,
    /// The edge's clock when the request came in.
    pub now: Instant,
    /// How old what the store knows of cards is, `None` when nobody ever said that it was the newest.
    pub cards_age_ms: Option<i64>,
}

/// The answer to an operation, as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What was decided.
    pub decided: Decided,
    /// Whether it was stored by an earlier request.
    pub replayed: bool,
}

/// What was decided: JSON of an `Outcome`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decided {
    /// Passed on byte by byte.
    Approved(Bytes),
    /// Code and figures; the sentence for people is put in when it is given.
    Declined(Bytes),
}

impl Decided {
    fn new(json: Bytes, entry_seq: Option<Seq>) -> Self {
        if entry_seq.is_some() { Self::Approved(json) } else { Self::Declined(json) }
    }

    /// The stored bytes.
    #[must_use]
    pub const fn json(&self) -> &Bytes {
        match self {
            Self::Approved(json) | Self::Declined(json) => json,
        }
    }
}

/// Why an operation has no answer. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The request is not well-formed, or contradicts the store's own data.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The key was used for something else, or by another till.
    #[error("the idempotency key was used for another request or by another till")]
    KeyReused,
    /// The same operation is being decided now.
    #[error("the operation is being decided; ask again")]
    InFlight,
    /// No policy has ever been received.
    #[error("the store has no policy yet; download from head office first")]
    NoPolicy,
    /// The database could not do it.
    #[error("the operation could not be stored")]
    Store(#[from] StoreError),
}

/// The heart of the edge. Shared by every handler.
pub struct Ledger {
    store: Store,
    hub: Arc<dyn Hub>,
    in_flight: Mutex<HashSet<OperationId>>,
}

/// What one visit to the writer's transaction gave.
enum Visit {
    Answered(Answer),
    Ask(Question),
    Faulty(Fault),
    KeyReused,
    NoPolicy,
}

/// What the hub is to be asked. The purses that it is about stay in use from the decision to ask until the decision with the answer.
struct Question {
    needs: Vec<Need>,
    using: Using,
}

/// What was decided, as far as it was written.
enum Done {
    Approved(Box<Approved>, Seq),
    Declined(Box<Decline>),
    Ask(Vec<Need>),
    Faulty(Fault),
}

impl Ledger {
    /// Makes a ledger over a store and its line to the hub.
    #[must_use]
    pub fn new(store: Store, hub: Arc<dyn Hub>) -> Self {
        Self { store, hub, in_flight: Mutex::new(HashSet::new()) }
    }

    /// The store that it writes to.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Does an operation once, and gives its answer, now and whenever it is asked again.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was stored then.
    pub async fn execute(&self, call: Call, order: Order) -> Result<Answer, LedgerError> {
        let _guard = self.enter(call.operation)?;
        let prepared = match &order {
            Order::Sale(request) => self.prepare(&call, request)?,
            _ => None,
        };
        let order = Arc::new((order, prepared));
        let Question { needs, using } = match self.visit(call, &order, None).await?.0 {
            Visit::Ask(question) => question,
            visit => return settled(visit),
        };
        let reply = self.hub.ask(needs, false).await;
        let brought = reply.purses();
        let (visit, is_taken) = match self.visit(call, &order, Some(reply)).await {
            Ok(visited) => visited,
            Err(error) => {
                self.hub.lost(brought);
                return Err(error.into());
            }
        };
        if !is_taken {
            self.hub.lost(brought);
        }
        drop(using);
        settled(visit)
    }

    /// One visit to the writer, and whether the grants of the reply were taken.
    async fn visit(
        &self,
        call: Call,
        order: &Arc<(Order, Option<Prepared>)>,
        reply: Option<HubReply>,
    ) -> Result<(Visit, bool), StoreError> {
        let (order, in_use) = (Arc::clone(order), Arc::clone(self.store.in_use()));
        let keeper = Arc::clone(self.store.continuity());
        let work = move |tx: &mut WriteTx<'_>| {
            let mut is_taken = true;
            let place = Place { in_use: &in_use, keeper: &keeper };
            let visit = visit(tx, &call, (&order.0, order.1.as_ref()), reply, place, &mut is_taken)?;
            Ok((visit, is_taken))
        };
        self.store.write(work).await
    }

    fn enter(&self, operation: OperationId) -> Result<InFlight<'_>, LedgerError> {
        if self.lock().insert(operation) {
            Ok(InFlight { ledger: self, operation })
        } else {
            Err(LedgerError::InFlight)
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<OperationId>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks an operation as being decided, until it is dropped. A till that went away leaves: what it queued is found by its retry.
struct InFlight<'a> {
    ledger: &'a Ledger,
    operation: OperationId,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.ledger.lock().remove(&self.operation);
    }
}

fn settled(visit: Visit) -> Result<Answer, LedgerError> {
    match visit {
        Visit::Answered(answer) => Ok(answer),
        Visit::Faulty(fault) => Err(fault.into()),
        Visit::KeyReused => Err(LedgerError::KeyReused),
        Visit::NoPolicy => Err(LedgerError::NoPolicy),
        Visit::Ask(_) => Err(StoreError::Rule {
            operation: "decide an operation",
            fault: "it asks the hub a second time".to_owned(),
        }
        .into()),
    }
}

/// What a decision looks at beside the database.
#[derive(Clone, Copy)]
struct Place<'a> {
    in_use: &'a Arc<InUse>,
    keeper: &'a Keeper,
}

fn visit(
    tx: &mut WriteTx<'_>,
    call: &Call,
    (order, prepared): (&Order, Option<&Prepared>),
    reply: Option<HubReply>,
    Place { in_use, keeper }: Place<'_>,
    is_taken: &mut bool,
) -> Result<Visit, StoreError> {
    if let Some(known) = operation::find(tx, call.operation)? {
        if known.terminal != call.terminal || known.body_hash != call.body_hash {
            return Ok(Visit::KeyReused);
        }
        let decided = Decided::new(known.answer.into(), known.entry_seq);
        return Ok(Visit::Answered(Answer { decided, replayed: true }));
    }
    if let Order::PlaceHold(request) = order
        && let Some(kept) = holds::find(tx, call.operation)?
    {
        return placed_before(tx, call, request, kept);
    }
    let Some(policy) = tx.chain().policy.clone() else {
        tx.identity()?;
        return Ok(Visit::NoPolicy);
    };
    let hub = take_reply(tx, call.now, reply, keeper, is_taken)?;
    let gate = keeper.gate(tx, tx.chain())?;
    if gate.is_open() {
        hold::end_met(tx, call.now, order)?;
    }
    let done = match order {
        Order::OpenDay(request) => day::open(tx, call, request)?,
        Order::CloseDay(request) => day::close(tx, call, request)?,
        _ => match order.decide(tx, call, &policy.policy, (&hub, &gate), prepared)? {
            Decision::Approved(plan) => approve(tx, call, &policy.policy, order, *plan, prepared)?,
            Decision::Declined(decline) => Done::Declined(decline),
            Decision::AskHub(needs) => Done::Ask(needs),
            Decision::Faulty(fault) => Done::Faulty(fault),
        },
    };
    let (outcome, entry_seq) = match done {
        Done::Approved(approved, seq) => (Outcome::Approved(approved), Some(seq)),
        Done::Declined(decline) => {
            (Outcome::Declined { operation: call.operation, message: String::new(), decline }, None)
        }
        Done::Ask(needs) => {
            // Within the writer's transaction: a release that comes next sees it.
            let using = in_use.hold(purses(tx, &needs)?);
            return Ok(Visit::Ask(Question { needs, using }));
        }
        Done::Faulty(fault) => return Ok(Visit::Faulty(fault)),
    };
    let json = serde_json::to_vec(&outcome)
        .map_err(|error| StoreError::Rule { operation: "write an answer", fault: error.to_string() })?;
    operation::insert(
        tx,
        &NewAnswer {
            operation: call.operation,
            terminal: call.terminal,
            body_hash: call.body_hash,
            status: 200,
            answer: &json,
            entry_seq,
            at: call.now,
        },
    )?;
    Ok(Visit::Answered(Answer { decided: Decided::new(json.into(), entry_seq), replayed: false }))
}

/// A hold outlives the answer to the operation that placed it. Who repeats that is answered from what is kept: there is only one such hold.
fn placed_before(tx: &WriteTx<'_>, call: &Call, request: &PlaceHold, kept: Hold) -> Result<Visit, StoreError> {
    let entry = journal::decoded(tx, kept.entry.seq)?;
    let entry = entry.ok_or(StoreError::Rows { operation: "read the entry of a hold", rows: 0 })?;
    let asked = (request.card, request.currency, request.amount_minor, Some(call.terminal));
    if asked != (kept.card, kept.currency, kept.amount_minor, entry.header.terminal) {
        return Ok(Visit::KeyReused);
    }
    let purse = Purse { account: kept.account, unit: Unit::Money(kept.currency) };
    let holding = allotment::get(tx, purse)?;
    let balance = BalanceHere {
        account: purse.account,
        unit: purse.unit,
        available_here_minor: holding.available_minor(),
        held_minor: holding.held_minor,
        pending_minor: None,
    };
    let approved = Approved {
        business_day: entry.header.business_day,
        at_ms: entry.header.at_ms,
        balances: vec![balance],
        hold: Some(kept),
        ..plainly(call.operation, entry.header.id(), &entry.header.kind)
    };
    let seq = approved.entry.seq;
    let json = serde_json::to_vec(&Outcome::Approved(Box::new(approved)))
        .map_err(|error| StoreError::Rule { operation: "write an answer", fault: error.to_string() })?;
    Ok(Visit::Answered(Answer { decided: Decided::new(json.into(), Some(seq)), replayed: true }))
}

/// The purses of this store that a question is about.
fn purses(tx: &WriteTx<'_>, needs: &[Need]) -> Result<Vec<Purse>, StoreError> {
    let mut purses = Vec::with_capacity(needs.len());
    for need in needs {
        if let Some(card) = card::find(tx, need.card)? {
            purses.push(Purse { account: card.account, unit: need.unit });
        }
    }
    Ok(purses)
}

/// Stores what the hub sent, in the transaction that then decides with it.
fn take_reply(
    tx: &mut WriteTx<'_>,
    now: Instant,
    reply: Option<HubReply>,
    keeper: &Keeper,
    is_taken: &mut bool,
) -> Result<core::Hub, StoreError> {
    let (grants, turn, cards, elsewhere, is_closed) = match reply {
        None => return Ok(core::Hub::NotAsked),
        Some(HubReply::Unreachable) => return Ok(core::Hub::Unreachable),
        Some(HubReply::Answered { grants, turn, cards, elsewhere, is_closed, .. }) => {
            (grants, turn, cards, elsewhere, is_closed)
        }
    };
    *is_taken = take_news(tx, now, (&grants, turn), &cards, keeper)?;
    Ok(if is_closed { core::Hub::Closed } else { core::Hub::Answered { elsewhere } })
}

/// Stores grants and cards of a hub's answer. Gives whether the grants were taken: while value may not move, or when another session has begun
/// meanwhile, they are not, and the hub must say them again.
fn take_news(
    tx: &mut WriteTx<'_>,
    now: Instant,
    (grants, turn): (&[Grant], HubTurn),
    cards: &[Card],
    keeper: &Keeper,
) -> Result<bool, StoreError> {
    let is_taken = grants.is_empty() || may_take(tx, keeper, turn)?;
    if is_taken {
        allotment::adopt_grants(tx, now, grants)?;
    }
    cards.iter().try_for_each(|card| card::upsert_from_hub(tx, card, None))?;
    Ok(is_taken)
}

fn approve(
    tx: &mut WriteTx<'_>,
    call: &Call,
    policy: &Policy,
    order: &Order,
    plan: Plan,
    prepared: Option<&Prepared>,
) -> Result<Done, StoreError> {
    let Plan { body, holdings, cards, receipt: receipt_change, refunds, given, points_pending, freed, ended, released } =
        plan;
    let kind = body.kind();
    let (mut invoiceable, mut payment_unknown, mut red_letter_required) = (Vec::new(), None, None);
    let mut price = None;
    match &body {
        Body::Sale(sale) => {
            (invoiceable, payment_unknown) = (sale.invoiceable.clone(), sale.payment_unknown);
            price = prepared.and_then(|prepared| paid(sale, prepared));
        }
        Body::CardSale(load) | Body::CardReload(load) => invoiceable.clone_from(&load.invoiceable),
        Body::Invoice(invoice) => invoiceable.clone_from(&invoice.invoiceable),
        Body::Return(back) => red_letter_required.clone_from(&back.red_letter),
        Body::Void(void) => red_letter_required.clone_from(&void.red_letter),
        _ => {}
    }
    for &(number, _) in &cards {
        if let Some(card) = card::find(tx, number)? {
            // What was seen before a restart is not in memory, and this machine's clock may be slow: a freeze must not look overtaken at head office.
            tx.observe(card.status_stamp);
        }
    }
    keep_references(tx, policy, tx.head().seq.next(), &body, &freed)?;
    limits::count(tx, policy, &body, &given)?;
    let meta = EntryMeta { business_day: tx.chain().open_day, ..order.meta(call) };
    overdraft::count(tx, meta.business_day, &body)?;
    let (day, moved) = (meta.business_day, body.movements().to_vec());
    let placed_at = tx.guarded(call.now);
    let placed = match &body {
        Body::Hold(hold) => Some(hold.clone()),
        _ => None,
    };
    let appended = tx.append(call.now, meta, body)?;
    let mut told = None;
    if let Some(placed) = placed {
        let hold = Hold {
            id: call.operation,
            entry: appended.id,
            card: placed.card,
            account: placed.account,
            currency: placed.currency,
            amount_minor: placed.amount_minor,
            placed_at_ms: placed_at,
            expires_at_ms: placed.expires_at_ms,
            state: HoldState::Open,
            captured_minor: None,
            ended_by: None,
        };
        holds::insert(tx, &hold)?;
        told = Some(hold);
    }
    for ended in &ended {
        holds::end(tx, ended, appended.id)?;
        if ended.state == HoldState::Released {
            told = holds::find(tx, ended.id)?;
        }
    }
    pending::note(tx, appended.id, &moved, points_pending)?;
    if let Order::EnrolMember(newcomer) = order {
        draft::insert(tx, &newcomer.enrolled, newcomer.birthday)?;
    }
    let mut balances = Vec::with_capacity(holdings.len());
    for (purse, holding) in holdings {
        allotment::put(tx, purse, holding, appended.stamp, call.now)?;
        if purse.account == AccountId::RISK {
            continue; // The store's line is nobody's balance.
        }
        balances.push(BalanceHere {
            account: purse.account,
            unit: purse.unit,
            available_here_minor: holding.available_minor(),
            held_minor: holding.held_minor,
            pending_minor: pending_here(tx, purse, &holding, policy, day)?,
        });
    }
    allotment::release(tx, call.now, &released)?;
    for (number, status) in cards {
        if matches!(status, CardStatus::Blank | CardStatus::Withdrawn) {
            // Whoever was to have it has not bought it after all.
            draft::release_card(tx, number)?;
        }
        card::set_status(tx, number, status, appended.stamp)?;
    }
    match receipt_change {
        None => {}
        Some(ReceiptChange::Changed { of, state }) => receipt::put(tx, of.seq, &state)?,
        Some(ReceiptChange::Made { state }) => receipt::put(tx, appended.id.seq, &state)?,
        Some(ReceiptChange::Paid { of, mut state }) => {
            state.paid_by = Some(appended.id);
            receipt::put(tx, of.seq, &state)?;
        }
        Some(ReceiptChange::Voided { of }) => {
            let mut state = receipt::get(tx, of.seq)?;
            (state.voided_by, state.parked) = (Some(appended.id), false);
            receipt::put(tx, of.seq, &state)?;
        }
    }
    let mut approved = approved(tx, call, kind, &appended);
    (approved.balances, approved.refunds, approved.invoiceable) = (balances, refunds, invoiceable);
    (approved.payment_unknown, approved.red_letter_required) = (payment_unknown, red_letter_required);
    let overdrawn = moved.iter().filter(|movement| movement.kind == MovementKind::Overdraft);
    approved.overdraft_minor = overdrawn.map(|movement| movement.amount_minor).sum();
    (approved.price, approved.hold) = (price, told);
    Ok(Done::Approved(Box::new(approved), appended.id.seq))
}

/// What of a purse's points is pending here, where the policy has points wait or had when they were earned.
fn pending_here(
    tx: &ReadTx<'_>,
    purse: Purse,
    holding: &Holding,
    policy: &Policy,
    today: Option<BusinessDay>,
) -> Result<Option<i64>, StoreError> {
    let (Some(today), Unit::Points) = (today, purse.unit) else { return Ok(None) };
    let pending = pending::of_account(tx, purse.account, today)?.min(holding.available_minor());
    Ok((pending > 0 || policy.points.pending.is_some()).then_some(pending))
}

/// How the price of a sale came about, when anything but the shelf price did.
fn paid(sale: &Sale, prepared: &Prepared) -> Option<SalePrice> {
    let (lines, trace) = &prepared.explained;
    let plain = trace.is_empty()
        && sale.earned.is_none()
        && sale.deferred.is_none()
        && lines.iter().all(|line| line.discounts.is_empty());
    (!plain).then(|| SalePrice {
        policy_version: sale.policy_version,
        total_minor: sale.total_minor,
        lines: lines.clone(),
        trace: trace.iter().filter(|rule| matches!(rule.outcome, Verdict::Applied { .. })).cloned().collect(),
        earned_points: sale.earned.as_ref().map(|earned| earned.points),
        deferred_points: sale.deferred.as_ref().map(|deferred| deferred.points),
    })
}

fn approved(tx: &WriteTx<'_>, call: &Call, kind: &str, appended: &Appended) -> Approved {
    let (business_day, at_ms) = (tx.chain().open_day, call.now);
    Approved { business_day, at_ms, ..plainly(call.operation, appended.id, kind) }
}

/// An approval that says nothing but which entry was made.
fn plainly(operation: OperationId, entry: EntryId, kind: &str) -> Approved {
    Approved {
        operation,
        entry,
        kind: kind.to_owned(),
        business_day: None,
        at_ms: Instant(0),
        balances: Vec::new(),
        overdraft_minor: 0,
        refunds: Vec::new(),
        invoiceable: Vec::new(),
        payment_unknown: None,
        red_letter_required: None,
        price: None,
        hold: None,
        open_holds: Vec::new(),
        seal: None,
    }
}
