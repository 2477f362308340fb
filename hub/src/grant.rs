//! Grant: value for a store that lacks it, from the pool and, when that is short, from connected stores that hold some.
//!
//! Everything is decided and written in one transaction before it is sent; waiting for other stores happens between transactions. What is granted and
//! not used is harmless. Invariant: the pool never falls below nothing, whoever races; `protocol::allotment::step` sees to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use huitong_protocol::allotment::{self, HubEvent, HubSide, Purse};
use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::decline::{Elsewhere, PlaceState};
use huitong_protocol::id::{AccountId, StoreId};
use huitong_protocol::policy::GrantSize;
use huitong_protocol::till::TotalBalance;
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{Answer, Grant, GrantAnswer, GrantRequest, NEEDS_MAX, Need, Purpose, Report};

use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::report::{self, Taken};
use crate::session::Caller;
use crate::store::allotment::{self as rows, Counted, StoreLine};
use crate::store::{StoreError, Tx, card, journal, overdraft, tenure};

/// What one look at the database gave.
struct Attempt {
    taken: Taken,
    cards: Vec<Card>,
    grants: Vec<Grant>,
    /// What is still lacking, by purse.
    short: BTreeMap<Purse, i64>,
    /// Other stores that hold some of it, as far as the hub knows.
    holders: Vec<(StoreId, Purse)>,
    elsewhere: Vec<Elsewhere>,
    totals: Vec<TotalBalance>,
    is_closed: bool,
}

/// One look: what to take, what to try, and whether it is the last.
struct Look {
    caller: Caller,
    report: Option<Report>,
    /// Accounts of the report, which was taken by the first look: the answer brings their grants too.
    reported: Vec<AccountId>,
    request: GrantRequest,
    /// What is still lacking; on the first look everything that is asked.
    lacking: Option<BTreeMap<Purse, i64>>,
    last: bool,
    /// How many recalls were sent since the look before.
    recalls: usize,
    now: Instant,
}

/// Serves a request for grants, with the report that came with it.
///
/// # Errors
/// [`Refusal`]; nothing is changed then.
pub async fn serve(
    hub: &Hub,
    caller: Caller,
    report: Option<Report>,
    request: GrantRequest,
) -> Result<Answer<GrantAnswer>, Refusal> {
    check(&request)?;
    let deadline = tokio::time::Instant::now() + hub.config.recall_wait.duration();
    let recalls = hear_of_sales(hub, caller, &request, deadline).await?;
    let accounts = accounts_of(hub, &request).await?;
    let waiter = hub.recalls.wait_for(accounts);
    let first = Look {
        caller,
        report,
        reported: Vec::new(),
        request: request.clone(),
        lacking: None,
        last: false,
        recalls,
        now: hub.now(),
    };
    let mut attempt = look(hub, first).await?;
    hub.announce(&attempt.taken);
    let taken = std::mem::take(&mut attempt.taken);
    let mut asked = BTreeSet::new();
    while !attempt.short.is_empty() {
        let reachable: Vec<_> =
            attempt.holders.iter().filter(|(store, _)| hub.recalls.is_connected(*store)).copied().collect();
        let mut recalls = 0;
        for &(store, purse) in &reachable {
            if asked.insert((store, purse)) {
                recalls += usize::from(hub.recalls.ask(store, purse));
            }
        }
        // A store that was asked and still holds something has said that it cannot give it.
        let hopeful = reachable.iter().any(|&(store, purse)| hub.recalls.is_asked(store, purse));
        let last = !hopeful || !waiter.moved_before(deadline).await;
        let lacking = Some(std::mem::take(&mut attempt.short));
        let (reported, request) = (taken.accounts.clone(), request.clone());
        let again = Look { caller, report: None, reported, request, lacking, last, recalls, now: hub.now() };
        attempt = look(hub, again).await?;
        if last {
            break;
        }
    }
    Ok(Answer {
        server_time_ms: hub.now(),
        grants: attempt.grants,
        refused: taken.refused,
        untold: taken.untold,
        body: GrantAnswer {
            cards: attempt.cards,
            elsewhere: attempt.elsewhere,
            totals: attempt.totals,
            is_closed: attempt.is_closed,
        },
    })
}

fn check(request: &GrantRequest) -> Result<(), Refusal> {
    if request.needs.len() > NEEDS_MAX {
        return Err(Refusal::malformed(format!(
            "body.needs: has {} rows; at most {NEEDS_MAX} are allowed",
            request.needs.len()
        )));
    }
    for (index, need) in request.needs.iter().enumerate() {
        if need.missing_minor < 0 {
            return Err(Refusal::malformed(format!(
                "body.needs[{index}].missing_minor: is {}; it must not be negative",
                need.missing_minor
            )));
        }
    }
    Ok(())
}

/// Cards that count as never sold may have been sold a moment ago at the store that has them: that store is asked for its report, and waited for, before
/// anybody is told so. Gives how many recalls were sent.
async fn hear_of_sales(
    hub: &Hub,
    caller: Caller,
    request: &GrantRequest,
    deadline: tokio::time::Instant,
) -> Result<usize, StoreError> {
    let mut unsold = unsold_elsewhere(hub, caller, request).await?;
    unsold.retain(|(store, _)| hub.recalls.is_connected(*store));
    if unsold.is_empty() {
        return Ok(0);
    }
    let waiter = hub.recalls.wait_for(unsold.iter().map(|(_, purse)| purse.account).collect());
    let recalls = unsold.iter().filter(|&&(store, purse)| hub.recalls.ask(store, purse)).count();
    // A store that was asked and has reported is believed: what is still unsold then is unsold.
    while unsold.iter().any(|&(store, purse)| hub.recalls.is_asked(store, purse)) {
        if !waiter.moved_before(deadline).await {
            break;
        }
        unsold = unsold_elsewhere(hub, caller, request).await?;
    }
    Ok(recalls)
}

/// The blank cards of a request that another store may sell, each as that store and the purse that a sale would load.
async fn unsold_elsewhere(
    hub: &Hub,
    caller: Caller,
    request: &GrantRequest,
) -> Result<Vec<(StoreId, Purse)>, StoreError> {
    let numbers: BTreeSet<CardNumber> = request.needs.iter().map(|need| need.card).collect();
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let unit = Unit::Money(hub.root.currency);
    hub.store
        .read(move |tx| {
            let mut unsold = Vec::new();
            for number in numbers {
                let Some(card) = card::find(tx, number)?.filter(|card| card.status == CardStatus::Blank) else {
                    continue;
                };
                let store = card.allocated_store.filter(|store| *store != caller.store);
                unsold.extend(store.map(|store| (store, Purse { account: card.account, unit })));
            }
            Ok(unsold)
        })
        .await
}

async fn accounts_of(hub: &Hub, request: &GrantRequest) -> Result<Vec<AccountId>, StoreError> {
    let needed: Vec<CardNumber> =
        request.needs.iter().filter(|need| need.missing_minor > 0).map(|need| need.card).collect();
    if needed.is_empty() {
        return Ok(Vec::new());
    }
    hub.store
        .read(move |tx| {
            let mut accounts = BTreeSet::new();
            for number in needed {
                accounts.extend(card::find(tx, number)?.map(|card| card.account));
            }
            Ok(accounts.into_iter().collect())
        })
        .await
}

async fn look(hub: &Hub, look: Look) -> Result<Attempt, Refusal> {
    let (shared, look) = (hub.clone(), Arc::new(look));
    hub.store.write(move |tx| attempt(tx, &shared, &look)).await
}

fn attempt(tx: &mut Tx<'_>, hub: &Hub, look: &Look) -> Result<Attempt, Refusal> {
    let taken = match &look.report {
        Some(report) => report::take(tx, &hub.root, look.caller, report, look.now)?,
        None => {
            report::admit(tx, look.caller)?;
            Taken::default()
        }
    };
    rows::count(tx, Counted::Recalls, look.recalls)?;
    // A hub that was restored has forgotten grants: what its pool shows may be with a store that it has not heard yet, and what it knows of nowhere may have
    // been spent or sold there.
    let recovers = tenure::recovers(tx)?;
    let cards = resolve(tx, look, recovers)?;
    let lacking = match &look.lacking {
        Some(lacking) => lacking.clone(),
        None => {
            let lacking = lacking(&cards, &look.request.needs, Unit::Money(hub.root.currency));
            // A look at a card writes nothing, and so waits for no disk.
            rows::count(tx, Counted::GrantRequests, usize::from(!lacking.is_empty()))?;
            lacking
        }
    };
    // Of two copies of a store neither gets value, until head office has looked into it and enrolled one again.
    let forked = !lacking.is_empty() && journal::find(tx, look.caller.store, look.caller.epoch)?.forked;
    let closed = forked || recovers;
    let size = if lacking.is_empty() { GrantSize::default() } else { hub.grant_size(tx, look.now)? };
    let (mut short, mut holders) = (BTreeMap::new(), Vec::new());
    for (purse, missing_minor) in lacking {
        let left_minor = if closed { missing_minor } else { give(tx, look, purse, missing_minor, size)? };
        if left_minor > 0 {
            short.insert(purse, left_minor);
        }
        if left_minor > 0 && !closed {
            // What an ended epoch held nobody can give back; only people decide about it.
            let living = others(tx, look.caller, purse)?.into_iter().filter(|line| line.suspense.is_none());
            holders.extend(living.map(|line| (line.store, purse)));
        }
    }
    let by_number: BTreeMap<CardNumber, &Card> = cards.iter().map(|card| (card.number, card)).collect();
    let mut elsewhere = Vec::new();
    if look.last && !short.is_empty() {
        rows::count(tx, Counted::Short, 1)?;
        for need in &look.request.needs {
            let Some(card) = by_number.get(&need.card) else { continue };
            let purse = Purse { account: card.account, unit: need.unit };
            if short.contains_key(&purse) {
                elsewhere.extend(places(tx, hub, look.caller, purse, need.card)?);
            }
        }
        elsewhere.sort_by_key(|place| (place.card, place.store, place.state));
        elsewhere.dedup();
    }
    let spenders = spenders(tx, hub, look, &cards)?;
    let is_new =
        |place: &Elsewhere, known: &[Elsewhere]| !known.iter().any(|k| (k.card, k.store) == (place.card, place.store));
    let spenders: Vec<Elsewhere> = spenders.into_iter().filter(|place| is_new(place, &elsewhere)).collect();
    elsewhere.extend(spenders);
    let mut totals = Vec::new();
    if look.request.totals {
        for need in &look.request.needs {
            totals.push(total(tx, hub, look, need, by_number.get(&need.card).copied())?);
        }
    }
    let mut accounts: BTreeSet<AccountId> = taken.accounts.iter().chain(&look.reported).copied().collect();
    accounts.extend(cards.iter().map(|card| card.account));
    let mut grants = Vec::new();
    for account in accounts {
        grants.extend(rows::undelivered(tx, account, look.caller.store, look.caller.epoch)?);
    }
    Ok(Attempt { taken, cards, grants, short, holders, elsewhere, totals, is_closed: closed })
}

/// The cards asked for, each once; a blank one to be sold becomes the asker's.
fn resolve(tx: &mut Tx<'_>, look: &Look, recovers: bool) -> Result<Vec<Card>, StoreError> {
    let mut cards: Vec<Card> = Vec::new();
    for need in &look.request.needs {
        if cards.iter().any(|card| card.number == need.card && need.purpose != Purpose::Sell) {
            continue;
        }
        let Some(mut card) = card::find(tx, need.card)? else { continue };
        let is_wanted = need.purpose == Purpose::Sell && card.status.may_sell();
        if is_wanted && !recovers && card.allocated_store != Some(look.caller.store) {
            card::allocate(tx, card.number, look.caller.store)?;
            card.allocated_store = Some(look.caller.store);
        }
        cards.retain(|other| other.number != card.number);
        cards.push(card);
    }
    Ok(cards)
}

/// What is lacking by purse: the needs of all cards of an account together. A card that is not sold yet, or is over, gets nothing; a stopped one does,
/// since a load on it may have to be undone.
fn lacking(cards: &[Card], needs: &[Need], money: Unit) -> BTreeMap<Purse, i64> {
    let mut lacking = BTreeMap::new();
    for need in needs.iter().filter(|need| need.missing_minor > 0 && takes_value(need.purpose)) {
        let served = |card: &&Card| {
            card.number == need.card
                && matches!(card.status, CardStatus::Active | CardStatus::Frozen | CardStatus::Lost)
        };
        let Some(card) = cards.iter().find(served) else { continue };
        if need.unit != money && need.unit != Unit::Points {
            continue;
        }
        let missing_minor: &mut i64 = lacking.entry(Purse { account: card.account, unit: need.unit }).or_default();
        *missing_minor = missing_minor.saturating_add(need.missing_minor);
    }
    lacking
}

const fn takes_value(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Spend | Purpose::Unsell)
}

/// Stores other than the asker that ever spent of a card whose sale is to be undone: goods that it paid for could come back there, when somebody else has
/// bought the card. Reports know it long before journals do; what was undone there since is not known, and so it counts. And stores that the card still owes
/// something for what it overdrew, or that lent to it.
fn spenders(tx: &mut Tx<'_>, hub: &Hub, look: &Look, cards: &[Card]) -> Result<Vec<Elsewhere>, StoreError> {
    let mut found: Vec<Elsewhere> = Vec::new();
    for need in look.request.needs.iter().filter(|need| need.purpose == Purpose::Unsell) {
        let Some(card) = cards.iter().find(|card| card.number == need.card) else { continue };
        for other in rows::lines(tx, Purse { account: card.account, unit: need.unit })? {
            let known = found.iter().any(|place| (place.card, place.store) == (need.card, other.store));
            if other.store != look.caller.store && other.line.seen.spent_minor > 0 && !known {
                found.push(place(tx, hub, need.card, other.store, other.suspense.is_some())?);
            }
        }
        // What was overdrawn stands on no line of the account: who buys the card next must neither pay it nor get what comes back of it.
        let owing = overdraft::owing(tx, card.account, need.unit)?;
        for at in &owing.stores {
            let store = at.place.0;
            let known = found.iter().any(|place| (place.card, place.store) == (need.card, store));
            let stands = owing.debt.is_open() || (at.net_minor() > 0 && store != look.caller.store);
            if stands && !known {
                found.push(place(tx, hub, need.card, store, false)?);
            }
        }
    }
    Ok(found)
}

/// Grants what is missing, or on the last look what there is. Gives what is still missing.
fn give(tx: &mut Tx<'_>, look: &Look, purse: Purse, missing_minor: i64, size: GrantSize) -> Result<i64, StoreError> {
    let (pool, stamp) = rows::take_pool(tx, purse)?;
    let free_minor = pool.free_minor();
    if free_minor < missing_minor && (!look.last || free_minor <= 0) {
        return Ok(missing_minor);
    }
    let amount_minor = match size {
        GrantSize::Pool => free_minor,
        GrantSize::Shortfall => missing_minor.min(free_minor),
    };
    let caller = look.caller;
    let line = rows::line(tx, purse, caller.store, caller.epoch)?.unwrap_or_default();
    let after = allotment::step(&HubSide { pool, line }, HubEvent::Grant { amount_minor })
        .map_err(|fault| StoreError::Rule { operation: "grant", fault: fault.to_string() })?;
    rows::put_pool(tx, purse, &after.pool, stamp)?;
    rows::put_line(tx, purse, caller.store, caller.epoch, &after.line)?;
    rows::count(tx, Counted::Grants, 1)?;
    Ok(missing_minor.saturating_sub(amount_minor).max(0))
}

/// Lines of other stores, and of the asker's epochs before this one, that hold something or for which something waits.
fn others(tx: &mut Tx<'_>, caller: Caller, purse: Purse) -> Result<Vec<StoreLine>, StoreError> {
    let mut lines = rows::lines(tx, purse)?;
    lines.retain(|other| (other.store, other.epoch) != (caller.store, caller.epoch) && other.holds() > 0);
    Ok(lines)
}

fn places(
    tx: &mut Tx<'_>,
    hub: &Hub,
    caller: Caller,
    purse: Purse,
    card: CardNumber,
) -> Result<Vec<Elsewhere>, StoreError> {
    let mut places: Vec<Elsewhere> = Vec::new();
    for other in others(tx, caller, purse)? {
        let held_minor = i64::try_from(other.holds()).unwrap_or(i64::MAX);
        let found = place(tx, hub, card, other.store, other.suspense.is_some())?;
        // What an ended epoch of a store held is not what the store holds: it may be there again, and be asked for the one and not the other.
        match places.iter_mut().find(|known| (known.store, known.state) == (found.store, found.state)) {
            Some(known) => known.held_minor = known.held_minor.saturating_add(held_minor),
            None => places.push(Elsewhere { held_minor, ..found }),
        }
    }
    Ok(places)
}

/// A store where something is, or which only spent of it.
fn place(
    tx: &mut Tx<'_>,
    hub: &Hub,
    card: CardNumber,
    store: StoreId,
    is_ended: bool,
) -> Result<Elsewhere, StoreError> {
    let state = match is_ended {
        true => PlaceState::Suspense,
        false if hub.recalls.is_connected(store) => PlaceState::Connected,
        false => PlaceState::Silent,
    };
    Ok(Elsewhere { card, store, held_minor: 0, last_seen_ms: hub.last_seen(tx, store)?, state })
}

fn total(
    tx: &mut Tx<'_>,
    hub: &Hub,
    look: &Look,
    need: &Need,
    card: Option<&Card>,
) -> Result<TotalBalance, StoreError> {
    let nothing = TotalBalance { unit: need.unit, balance_minor: 0, elsewhere: Vec::new(), as_of_ms: look.now };
    let Some(card) = card else { return Ok(nothing) };
    let purse = Purse { account: card.account, unit: need.unit };
    let free = rows::pool(tx, purse)?.0.free();
    let held: i128 = rows::lines(tx, purse)?.iter().map(StoreLine::holds).sum();
    let balance_minor = i64::try_from(free + held).unwrap_or(i64::MAX);
    Ok(TotalBalance { balance_minor, elsewhere: places(tx, hub, look.caller, purse, need.card)?, ..nothing })
}
