//! Inspect: what an entry says, and why it cannot be used. Its bytes and its place decide, and nothing else; so that whoever looks again finds the same.
//!
//! What becomes of an entry is `crate::ingest`'s. Invariant: of an entry with a fault nothing becomes a movement or is charged to anybody.

use huitong_protocol::entry::{Body, EntryView, Header, Return, Void};
use huitong_protocol::funding::{self, Funding};
use huitong_protocol::id::{AccountId, Epoch, GroupId, Seq, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::till::AMOUNT_MINOR_MAX;
use huitong_protocol::unit::Unit;

/// Whose journal it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The group.
    pub group: GroupId,
    /// The currency of its stored value.
    pub currency: Currency,
    /// The store.
    pub store: StoreId,
    /// The incarnation.
    pub epoch: Epoch,
}

/// An entry as far as it can be read, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspected {
    /// The header, when it can be read.
    pub header: Option<Header>,
    /// The body, when it can be read.
    pub body: Option<Body>,
    /// Who bears its discounts.
    pub fundings: Vec<Funding>,
    /// Why it is quarantined; nothing of it becomes a movement or is charged to anybody then.
    pub fault: Option<String>,
}

impl Inspected {
    /// The header of a sale that can be used.
    #[must_use]
    pub fn sale(&self) -> Option<&Header> {
        let is_sale = self.fault.is_none() && matches!(self.body, Some(Body::Sale(_)));
        self.header.as_ref().filter(|_| is_sale)
    }
}

/// Reads an entry at its place. The same bytes at the same place always give the same.
#[must_use]
pub fn inspect(place: &Place, seq: Seq, bytes: &[u8]) -> Inspected {
    let view = match EntryView::decode(bytes) {
        Ok(view) => view,
        Err(fault) => {
            return Inspected { header: None, body: None, fundings: Vec::new(), fault: Some(fault.to_string()) };
        }
    };
    let (body, unread) = match view.body() {
        Ok(body) => (Some(body), None),
        Err(fault) => (None, Some(fault.to_string())),
    };
    let header = view.header;
    let misplaced = || {
        let says = |field: &str, found: &dyn std::fmt::Display, expected: &dyn std::fmt::Display| {
            format!("header.{field}: is {found}, its place in the journal is {expected}")
        };
        match () {
            () if header.group != place.group => Some(says("group", &header.group, &place.group)),
            () if header.store != place.store => Some(says("store", &header.store, &place.store)),
            () if header.epoch != place.epoch => Some(says("epoch", &header.epoch, &place.epoch)),
            () if header.seq != seq => Some(says("seq", &header.seq, &seq)),
            () => None,
        }
    };
    let fault = misplaced().or(unread).or_else(|| body.as_ref().and_then(|body| unusable(place, &header, body)));
    let (fundings, fault) = match (fault, &body) {
        (None, Some(body)) => match chargeable(place, &header, body) {
            Ok(fundings) => (fundings, None),
            Err(fault) => (Vec::new(), Some(fault)),
        },
        (fault, _) => (Vec::new(), fault),
    };
    Inspected { header: Some(header), body, fundings, fault }
}

/// Who bears the discounts of an entry, or why nobody can be charged by it: one bad row would stop every run.
fn chargeable(place: &Place, header: &Header, body: &Body) -> Result<Vec<Funding>, String> {
    let fundings = funding::of_entry(header, body).map_err(|fault| fault.to_string())?;
    match fundings.iter().find(|funding| funding.currency != place.currency) {
        Some(foreign) => Err(format!("currency: is {}, the group counts in {}", foreign.currency, place.currency)),
        None => Ok(fundings),
    }
}

/// Why a body that can be read cannot be used.
fn unusable(place: &Place, header: &Header, body: &Body) -> Option<String> {
    let movements = body.movements();
    if !movements.is_empty() && header.business_day.is_none() {
        return Some("header.business_day: is missing, and the entry moves value".to_owned());
    }
    if movements.len() > usize::from(u16::MAX) {
        return Some(format!("movements: are {}; an entry has at most {}", movements.len(), u16::MAX));
    }
    let is_store = place.store != StoreId::HUB;
    if is_store && matches!(body, Body::HubPosting(_)) {
        return Some("header.kind: is hub_posting, which only head office's own journal may hold".to_owned());
    }
    let tender = body.tenders().iter().position(|line| !(0..=AMOUNT_MINOR_MAX).contains(&line.amount_minor));
    if let Some(index) = tender {
        let amount_minor = body.tenders()[index].amount_minor;
        return Some(format!(
            "tenders[{index}].amount_minor: is {amount_minor}; from 0 to {AMOUNT_MINOR_MAX} is allowed"
        ));
    }
    if let Some((currency, amount_minor)) = held(body) {
        if !(1..=AMOUNT_MINOR_MAX).contains(&amount_minor) {
            return Some(format!("amount_minor: is {amount_minor}; from 1 to {AMOUNT_MINOR_MAX} is allowed"));
        }
        if currency != place.currency {
            return Some(format!("currency: is {currency}, the group counts in {}", place.currency));
        }
    }
    let deferred = match body {
        Body::Sale(sale) => sale.deferred.as_ref().map(|deferred| ("deferred.points", deferred.points, 1)),
        Body::Return(back) => Some(("deferred_points", back.deferred_points, 0)),
        _ => None,
    };
    if let Some((field, points, least)) = deferred
        && !(least..=AMOUNT_MINOR_MAX).contains(&points)
    {
        return Some(format!("{field}: is {points}; from {least} to {AMOUNT_MINOR_MAX} is allowed"));
    }
    movements.iter().enumerate().find_map(|(index, movement)| {
        let Movement { unit, kind, amount_minor, .. } = *movement;
        // A card may be sold empty, and points that are spent cannot be taken back: the shortfall says how many were missing.
        let may_be_nothing =
            kind == MovementKind::CardSale || (kind == MovementKind::EarnReversal && movement.shortfall_minor > 0);
        let least = i64::from(!may_be_nothing);
        if !(0..=AMOUNT_MINOR_MAX).contains(&movement.shortfall_minor) {
            let found = movement.shortfall_minor;
            return Some(format!(
                "movements[{index}].shortfall_minor: is {found}; from 0 to {AMOUNT_MINOR_MAX} is allowed"
            ));
        }
        if !(least..=AMOUNT_MINOR_MAX).contains(&amount_minor) {
            return Some(format!(
                "movements[{index}].amount_minor: is {amount_minor}; from {least} to {AMOUNT_MINOR_MAX} is allowed"
            ));
        }
        if is_store && !is_of_a_store(kind) {
            return Some(format!("movements[{index}].kind: is {kind}, which only head office may post"));
        }
        if let Some(fault) = misplaced(movement).or_else(|| is_store.then(|| unlent(header, body, movement)).flatten())
        {
            return Some(format!("movements[{index}].{fault}"));
        }
        if is_store && movement.origin_store.is_some() {
            return Some(format!("movements[{index}].origin_store: only head office may name it"));
        }
        let foreign = unit != Unit::Points && unit != Unit::Money(place.currency);
        foreign.then(|| format!("movements[{index}].unit: is {unit}, the group counts in {}", place.currency))
    })
}

/// What a hold sets aside, or had. It moves nothing: a hold is the store's own promise, and its counters do not tell of it.
fn held(body: &Body) -> Option<(Currency, i64)> {
    match body {
        Body::Hold(hold) => Some((hold.currency, hold.amount_minor)),
        Body::HoldEnd(end) => Some((end.currency, end.amount_minor)),
        _ => None,
    }
}

/// Why a movement has nothing to do on its account: the risk account has kinds of its own, which name who owes where somebody does.
fn misplaced(movement: &Movement) -> Option<String> {
    let Movement { account, kind, unit, owed_by, .. } = movement;
    let is_of_risk =
        kind.is_of_risk_account() || (*kind == MovementKind::SuspenseRepaid && *account == AccountId::RISK);
    if is_of_risk != (*account == AccountId::RISK) {
        return Some(format!("account: is {account}, on which {kind} cannot move anything"));
    }
    if kind.is_about_debt() != owed_by.is_some() || *owed_by == Some(AccountId::RISK) {
        return Some("owed_by: is of what an overdraft moves, and names whose it was".to_owned());
    }
    (*account == AccountId::RISK && *unit == Unit::Points).then(|| "unit: points are never overdrawn".to_owned())
}

/// Why a store's movement on the risk account is none that its tills can cause: a card pays for goods beyond its value, and what was lent for that comes back
/// with them, at the same store and in the same epoch. Else an entry could make debts of anybody, which head office collects.
fn unlent(header: &Header, body: &Body, movement: &Movement) -> Option<String> {
    match (movement.kind, body) {
        (MovementKind::Overdraft, Body::Sale(sale)) => {
            let paid = sale.tenders.iter().filter(|line| line.card.is_some()).map(|line| i128::from(line.amount_minor));
            let drawn = sale.movements.iter().filter(|moved| moved.kind == MovementKind::Overdraft);
            let (paid, drawn): (i128, i128) = (paid.sum(), drawn.map(|moved| i128::from(moved.amount_minor)).sum());
            (drawn > paid).then(|| format!("amount_minor: {drawn} is overdrawn, cards paid {paid}"))
        }
        (MovementKind::OverdraftBack, Body::Void(Void { of, .. }) | Body::Return(Return { of, .. })) => {
            let is_own = (of.store, of.epoch) == (header.store, header.epoch) && of.seq < header.seq;
            let is_of_receipt = movement.of.is_some_and(|undone| undone.entry == *of);
            (!is_own || !is_of_receipt)
                .then(|| "of: must name what the receipt overdrew, earlier in this journal".to_owned())
        }
        (kind @ (MovementKind::Overdraft | MovementKind::OverdraftBack), _) => {
            Some(format!("kind: is {kind}, which {} cannot move", header.kind))
        }
        _ => None,
    }
}

/// Kinds that a store's tills can cause. What head office alone decides (openings, cash-outs, corrections) would be value made by a store.
fn is_of_a_store(kind: MovementKind) -> bool {
    !matches!(
        kind,
        MovementKind::Opening
            | MovementKind::CashOut
            | MovementKind::BonusForfeit
            | MovementKind::Expire
            | MovementKind::AdjustIn
            | MovementKind::AdjustOut
            | MovementKind::SuspenseRepaid
            | MovementKind::RiskBudget
            | MovementKind::RiskBudgetCut
            | MovementKind::OverdraftCollected
            | MovementKind::OverdraftRecovered
            | MovementKind::OverdraftReturned
            | MovementKind::OverdraftReleased
            | MovementKind::OverdraftWrittenOff
            | MovementKind::OverdraftLost
    )
}
