//! Ledger: what one operation of a till does, decided on rows that were read in the writing transaction.
//!
//! Decide, then do: each function takes values and gives a [`Decision`]; the edge stores what an approved [`Plan`] says, or asks the hub what
//! [`Decision::AskHub`] says and decides again. Amounts of an allotment change only through `allotment::step`. Reading, writing, stamps and
//! sequence numbers are not here. Invariant: a plan's movements and its counters say the same, and its tenders sum to its total.

use crate::allotment::{Purse, Refusal, StoreCounters, StoreEvent, step};
use crate::card::{Card, CardNumber, CardStatus};
use crate::decline::{Decline, DeclineCode, Elsewhere};
use crate::entry::{
    Body, CardSale, CardStatusChange, Entry, Invoiceable, Return, ReturnLine, Sale, TenderLine, UnreferencedReturn,
    Void,
};
use crate::id::{AccountId, EntryId, StoreId};
use crate::money::{Currency, Rounding, reversal, split};
use crate::movement::{Movement, MovementKind, MovementRef};
use crate::policy::{Policy, TenderClass};
use crate::till::{Fault, FreezeCard, LoadCard, PostReturn, PostSale, PostUnreferencedReturn, VoidOperation};
use crate::time::BusinessDay;
use crate::unit::Unit;
use crate::wire::{Need, Purpose};

/// Whether the hub was asked about this operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hub {
    /// Not yet: a decision may ask.
    NotAsked,
    /// It answered; what is short now is short. Cards that it did not know are unknown.
    Answered {
        /// Where value is that could not be brought.
        elsewhere: Vec<Elsewhere>,
    },
    /// It could not be reached.
    Unreachable,
}

/// What is true of the store when it decides.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The store.
    pub store: StoreId,
    /// The policy in force.
    pub policy: &'a Policy,
    /// The open day.
    pub day: Option<BusinessDay>,
    /// Whether the hub was asked.
    pub hub: &'a Hub,
}

/// The counters of the purses that an operation may touch. A purse without a row has none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holdings(Vec<(Purse, StoreCounters)>);

impl Holdings {
    /// Adds a row that was read.
    pub fn put(&mut self, purse: Purse, counters: StoreCounters) {
        match self.0.iter_mut().find(|(known, _)| *known == purse) {
            Some((_, held)) => *held = counters,
            None => self.0.push((purse, counters)),
        }
    }

    /// The counters of a purse.
    #[must_use]
    pub fn get(&self, purse: Purse) -> StoreCounters {
        self.0.iter().find(|(known, _)| *known == purse).map_or_else(StoreCounters::default, |(_, counters)| *counters)
    }

    /// Every row.
    #[must_use]
    pub fn rows(&self) -> &[(Purse, StoreCounters)] {
        &self.0
    }
}

/// What a store remembers of a receipt so that nothing comes back twice.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ReceiptState {
    /// The operation that undid it.
    pub voided_by: Option<EntryId>,
    /// Per line: thousandths that came back.
    pub returned_thousandths: Vec<i64>,
    /// Per tender and line: minor units that went back.
    pub refunded_minor: Vec<Vec<i64>>,
}

/// What an approved operation stores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The entry's body.
    pub body: Body,
    /// Counters as they are after it.
    pub counters: Vec<(Purse, StoreCounters)>,
    /// A card whose status changes.
    pub card: Option<(CardNumber, CardStatus)>,
    /// The receipt that the operation refers to, as it is after it. `voided_by` is filled in by who knows the new entry's id.
    pub receipt: Option<ReceiptChange>,
    /// Money that goes back to the customer.
    pub refunds: Vec<TenderLine>,
}

/// A change of a receipt's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReceiptChange {
    /// The receipt is voided by the plan's own entry.
    Voided {
        /// The receipt.
        of: EntryId,
    },
    /// Parts of the receipt came back.
    Returned {
        /// The receipt.
        of: EntryId,
        /// Its memory after this.
        state: ReceiptState,
    },
}

/// What comes of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It is done as planned.
    Approved(Box<Plan>),
    /// It is refused; nothing moves.
    Declined(Box<Decline>),
    /// It cannot be decided before the hub was asked, once, for all of this.
    AskHub(Vec<Need>),
    /// The request contradicts the store's own data; the message names the field.
    Faulty(Fault),
}

impl Decision {
    fn declined(code: DeclineCode) -> Self {
        Self::Declined(Box::new(Decline::new(code)))
    }

    fn of_card(code: DeclineCode, card: CardNumber) -> Self {
        Self::Declined(Box::new(Decline::of_card(code, card)))
    }
}

/// Early exit of a deciding function: every way that is not approval.
type Decide<T> = Result<T, Decision>;

fn settle(decision: Decide<Plan>) -> Decision {
    match decision {
        Ok(plan) => Decision::Approved(Box::new(plan)),
        Err(decision) => decision,
    }
}

fn refuse<T>(code: DeclineCode) -> Decide<T> {
    Err(Decision::declined(code))
}

fn faulty<T>(field: impl Into<String>, fault: impl Into<String>) -> Decide<T> {
    Err(Decision::Faulty(Fault::new(field, fault)))
}

/// One operation while it is decided: the rows read, the counters as they would be, what has to be asked.
struct Work<'a> {
    situation: &'a Situation<'a>,
    cards: &'a [Card],
    holdings: Holdings,
    movements: Vec<Movement>,
    touched: Vec<Purse>,
}

impl<'a> Work<'a> {
    fn new(situation: &'a Situation<'a>, cards: &'a [Card], holdings: &Holdings) -> Decide<Self> {
        if situation.day.is_none() {
            return refuse(DeclineCode::DayNotOpen);
        }
        Ok(Self { situation, cards, holdings: holdings.clone(), movements: Vec::new(), touched: Vec::new() })
    }

    fn currency(&self, currency: Currency) -> Decide<Unit> {
        let expected = self.situation.policy.currency;
        if currency == expected {
            return Ok(Unit::Money(currency));
        }
        faulty("currency", format!("is {currency}; this group counts in {expected}"))
    }

    /// A card of the replica; a card that is not there is asked for once.
    fn card(&self, number: CardNumber, unit: Unit, missing_minor: i64, purpose: Purpose) -> Decide<&'a Card> {
        if let Some(card) = self.cards.iter().find(|card| card.number == number) {
            return Ok(card);
        }
        match self.situation.hub {
            Hub::NotAsked => Err(Decision::AskHub(vec![Need { card: number, unit, missing_minor, purpose }])),
            Hub::Answered { .. } => Err(Decision::of_card(DeclineCode::UnknownCard, number)),
            Hub::Unreachable => Err(Decision::of_card(DeclineCode::UnknownCardOffline, number)),
        }
    }

    /// A card that must be in use. A replica that still has it as blank may be stale: the hub is asked once.
    fn card_in_use(&self, number: CardNumber, unit: Unit, missing_minor: i64, purpose: Purpose) -> Decide<&'a Card> {
        let card = self.card(number, unit, missing_minor, purpose)?;
        match card.status {
            CardStatus::Active => Ok(card),
            CardStatus::Blank if *self.situation.hub == Hub::NotAsked => {
                Err(Decision::AskHub(vec![Need { card: number, unit, missing_minor, purpose }]))
            }
            // Another store may have sold it today; nobody here can know.
            CardStatus::Blank if *self.situation.hub == Hub::Unreachable => {
                Err(Decision::of_card(DeclineCode::UnknownCardOffline, number))
            }
            CardStatus::Frozen => Err(Decision::of_card(DeclineCode::CardFrozen, number)),
            CardStatus::Lost => Err(Decision::of_card(DeclineCode::CardLost, number)),
            CardStatus::Blank | CardStatus::Replaced | CardStatus::Refunded | CardStatus::Destroyed => {
                Err(Decision::of_card(DeclineCode::CardNotActive, number))
            }
        }
    }

    fn move_value(&mut self, movement: Movement, event: StoreEvent) -> Result<(), Refusal> {
        let purse = Purse { account: movement.account, unit: movement.unit };
        self.holdings.put(purse, step(&self.holdings.get(purse), event)?);
        if !self.touched.contains(&purse) {
            self.touched.push(purse);
        }
        self.movements.push(movement);
        Ok(())
    }

    fn put_on(
        &mut self,
        account: AccountId,
        unit: Unit,
        kind: MovementKind,
        amount_minor: i64,
        of: Option<MovementRef>,
    ) -> Decide<()> {
        let movement = Movement { account, unit, kind, amount_minor, of, origin_store: None, shortfall_minor: 0 };
        if amount_minor == 0 {
            self.movements.push(movement); // A card sold empty: the movement says where its home is.
            return Ok(());
        }
        match self.move_value(movement, StoreEvent::Load { amount_minor }) {
            Ok(()) => Ok(()),
            Err(_) => faulty("amount_minor", "would make the account larger than can be counted"),
        }
    }

    /// Takes value off; what is missing here is asked of the hub once. `short` is the refusal's code when all is said.
    fn take_off(&mut self, card: CardNumber, movement: Movement, short: DeclineCode) -> Decide<()> {
        let (unit, needed_minor) = (movement.unit, movement.amount_minor);
        let purse = Purse { account: movement.account, unit };
        let refusal = match self.move_value(movement, StoreEvent::Spend { amount_minor: needed_minor }) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        let Refusal::Insufficient { available_minor, .. } = refusal else {
            return faulty("amount_minor", refusal.to_string());
        };
        let elsewhere = match self.situation.hub {
            Hub::NotAsked => {
                let missing_minor = needed_minor - available_minor;
                // The plan will be thrown away; what is here is used up, so that a second line on the account asks for all of its amount.
                self.holdings.put(purse, StoreCounters::default());
                return Err(Decision::AskHub(vec![Need { card, unit, missing_minor, purpose: Purpose::Spend }]));
            }
            Hub::Answered { elsewhere } => {
                elsewhere.iter().filter(|place| place.card == card).copied().collect::<Vec<_>>()
            }
            Hub::Unreachable => Vec::new(),
        };
        let code = match (short, self.situation.hub) {
            (DeclineCode::Insufficient, Hub::Unreachable) => DeclineCode::InsufficientHereOffline,
            (DeclineCode::Insufficient, _) if !elsewhere.is_empty() => DeclineCode::HeldElsewhere,
            (code, _) => code,
        };
        Err(Decision::Declined(Box::new(Decline {
            code,
            card: Some(card),
            unit: Some(unit),
            available_here_minor: Some(available_minor),
            needed_minor: Some(needed_minor),
            elsewhere,
        })))
    }

    fn plan(self, body: Body) -> Plan {
        let counters = self.touched.iter().map(|&purse| (purse, self.holdings.get(purse))).collect();
        Plan { body, counters, card: None, receipt: None, refunds: Vec::new() }
    }
}

fn loading_tenders(situation: &Situation<'_>, tenders: &[TenderLine]) -> Decide<()> {
    for (index, line) in tenders.iter().enumerate() {
        match situation.policy.tender(line.tender) {
            None => return faulty(format!("tenders[{index}].tender"), unknown_tender(situation.policy, line)),
            Some(tender) if !tender.may_load => return refuse(DeclineCode::TenderNotAllowed),
            Some(_) => {}
        }
    }
    Ok(())
}

fn unknown_tender(policy: &Policy, line: &TenderLine) -> String {
    let known: Vec<&str> = policy.tenders.iter().map(|tender| tender.code.as_str()).collect();
    format!("{} is not in the tender catalogue; it has {}", line.tender, known.join(", "))
}

/// Sells a card with its initial load. Decided offline only at the store to which the card is allocated.
#[must_use]
pub fn sell_card(
    situation: &Situation<'_>,
    number: CardNumber,
    cards: &[Card],
    holdings: &Holdings,
    request: &LoadCard,
) -> Decision {
    settle((|| {
        request.check(0).map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let unit = work.currency(request.currency)?;
        loading_tenders(situation, &request.tenders)?;
        let card = work.card(number, unit, 0, Purpose::Sell)?;
        if !card.status.may_sell() {
            return Err(Decision::of_card(DeclineCode::CardAlreadySold, number));
        }
        if card.allocated_store != Some(situation.store) {
            return Err(match situation.hub {
                Hub::NotAsked => {
                    Decision::AskHub(vec![Need { card: number, unit, missing_minor: 0, purpose: Purpose::Sell }])
                }
                Hub::Answered { .. } | Hub::Unreachable => Decision::of_card(DeclineCode::NotAllocatedHere, number),
            });
        }
        limits(situation, card, unit, holdings, request)?;
        load(&mut work, card, unit, MovementKind::CardSale, request)?;
        let body = load_body(card, request, &work);
        let mut plan = work.plan(Body::CardSale(body));
        plan.card = Some((number, CardStatus::Active));
        Ok(plan)
    })())
}

/// Loads a card again. Never needs the hub for a card that is in use here.
#[must_use]
pub fn reload_card(
    situation: &Situation<'_>,
    number: CardNumber,
    cards: &[Card],
    holdings: &Holdings,
    request: &LoadCard,
) -> Decision {
    settle((|| {
        request.check(1).map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let unit = work.currency(request.currency)?;
        loading_tenders(situation, &request.tenders)?;
        let card = work.card_in_use(number, unit, 0, Purpose::Look)?;
        limits(situation, card, unit, holdings, request)?;
        load(&mut work, card, unit, MovementKind::Reload, request)?;
        let body = load_body(card, request, &work);
        Ok(work.plan(Body::CardReload(body)))
    })())
}

fn limits(situation: &Situation<'_>, card: &Card, unit: Unit, holdings: &Holdings, request: &LoadCard) -> Decide<()> {
    let Some(product) = situation.policy.product(card) else { return Ok(()) };
    let load_minor = request.amount_minor.saturating_add(request.bonus_minor);
    let held_minor = holdings.get(Purse { account: card.account, unit }).available_minor();
    let limit = |code, available_minor, needed_minor| {
        let mut decline = Decline::of_card(code, card.number);
        (decline.unit, decline.available_here_minor, decline.needed_minor) =
            (Some(unit), Some(available_minor), Some(needed_minor));
        Err(Decision::Declined(Box::new(decline)))
    };
    if load_minor > product.load_minor_max {
        return limit(DeclineCode::LoadLimit, product.load_minor_max, load_minor);
    }
    if held_minor.saturating_add(load_minor) > product.balance_minor_max {
        return limit(DeclineCode::BalanceLimit, product.balance_minor_max, held_minor.saturating_add(load_minor));
    }
    Ok(())
}

fn load(work: &mut Work<'_>, card: &Card, unit: Unit, kind: MovementKind, request: &LoadCard) -> Decide<()> {
    work.put_on(card.account, unit, kind, request.amount_minor, None)?;
    if request.bonus_minor > 0 {
        work.put_on(card.account, unit, MovementKind::Bonus, request.bonus_minor, None)?;
    }
    Ok(())
}

fn load_body(card: &Card, request: &LoadCard, work: &Work<'_>) -> CardSale {
    CardSale {
        card: card.number,
        account: card.account,
        product: card.product,
        currency: request.currency,
        principal_minor: request.amount_minor,
        bonus_minor: request.bonus_minor,
        tenders: request.tenders.clone(),
        movements: work.movements.clone(),
    }
}

/// Freezes a card. Possible whether a day is open or not, and without a line.
#[must_use]
pub fn freeze_card(situation: &Situation<'_>, number: CardNumber, cards: &[Card], request: &FreezeCard) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let work = Work { situation, cards, holdings: Holdings::default(), movements: Vec::new(), touched: Vec::new() };
        let card = work.card_in_use(number, Unit::Money(situation.policy.currency), 0, Purpose::Look)?;
        let change = CardStatusChange {
            card: number,
            account: card.account,
            status: CardStatus::Frozen,
            reason: request.reason.clone(),
        };
        let mut plan = work.plan(Body::CardStatus(change));
        plan.card = Some((number, CardStatus::Frozen));
        Ok(plan)
    })())
}

/// Posts a sale at the till's prices, with any mix of tenders.
#[must_use]
pub fn post_sale(situation: &Situation<'_>, cards: &[Card], holdings: &Holdings, request: &PostSale) -> Decision {
    settle((|| {
        let total_minor = request.check().map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let unit = work.currency(request.currency)?;
        let mut needs = Vec::new();
        let mut stored_value = Vec::with_capacity(request.tenders.len());
        for (index, line) in request.tenders.iter().enumerate() {
            let path = |field: &str| format!("tenders[{index}].{field}");
            let Some(tender) = situation.policy.tender(line.tender) else {
                return faulty(path("tender"), unknown_tender(situation.policy, line));
            };
            stored_value.push(tender.class == TenderClass::StoredValue);
            let number = match (tender.class, line.card) {
                (TenderClass::StoredValue, None) => {
                    return faulty(path("card"), "is missing; stored value needs the card");
                }
                (TenderClass::External, Some(_)) => {
                    return faulty(path("card"), "does not belong to this tender; leave it out");
                }
                (TenderClass::External, None) => continue,
                (TenderClass::StoredValue, Some(number)) => number,
            };
            match spend(&mut work, number, unit, line.amount_minor) {
                Ok(()) => {}
                Err(Decision::AskHub(more)) => needs.extend(more),
                Err(decision) => return Err(decision),
            }
        }
        if !needs.is_empty() {
            return Err(Decision::AskHub(needs)); // One call for all cards of the basket.
        }
        let allocation = allocate(request, &stored_value)?;
        let invoiceable = invoiceable(situation.policy, request, &allocation);
        let sale = Sale {
            currency: request.currency,
            member: request.member,
            lines: request.lines.clone(),
            tenders: request.tenders.clone(),
            total_minor,
            allocation,
            invoiceable,
            movements: work.movements.clone(),
        };
        Ok(work.plan(Body::Sale(sale)))
    })())
}

fn spend(work: &mut Work<'_>, number: CardNumber, unit: Unit, amount_minor: i64) -> Decide<()> {
    let card = work.card_in_use(number, unit, amount_minor, Purpose::Spend)?;
    if let (Some(last), Some(today)) = (card.expires_on, work.situation.day)
        && today > last
    {
        return Err(Decision::of_card(DeclineCode::CardExpired, number));
    }
    let movement = Movement {
        account: card.account,
        unit,
        kind: MovementKind::Spend,
        amount_minor,
        of: None,
        origin_store: None,
        shortfall_minor: 0,
    };
    work.take_off(number, movement, DeclineCode::Insufficient)
}

/// Which part of each line each tender pays. Stored value goes first and only to lines that it may pay; each tender takes its share of what is
/// left of the lines by largest remainder, the last one takes the rest, so that rows sum to tenders and columns to lines, to the cent.
fn allocate(request: &PostSale, stored_value: &[bool]) -> Decide<Vec<Vec<i64>>> {
    let mut left: Vec<i64> = request.lines.iter().map(|line| line.net_minor).collect();
    let mut allocation = vec![Vec::new(); request.tenders.len()];
    let first = (0..request.tenders.len()).filter(|&at| stored_value[at]);
    let order: Vec<usize> = first.chain((0..request.tenders.len()).filter(|&at| !stored_value[at])).collect();
    for at in order {
        let payable = |line: usize| !(stored_value[at] && request.lines[line].flags.no_stored_value);
        let weights: Vec<i64> =
            left.iter().enumerate().map(|(line, &rest)| if payable(line) { rest } else { 0 }).collect();
        let amount_minor = request.tenders[at].amount_minor;
        if weights.iter().sum::<i64>() < amount_minor {
            return refuse(DeclineCode::TenderNotAllowed);
        }
        let Ok(parts) = split(amount_minor, &weights) else {
            return faulty(format!("tenders[{at}].amount_minor"), "cannot be shared out over the lines");
        };
        for (rest, part) in left.iter_mut().zip(&parts) {
            *rest -= part;
            assert!(*rest >= 0, "a tender never pays more of a line than is left of it");
        }
        allocation[at] = parts;
    }
    assert!(left.iter().all(|&rest| rest == 0), "the tenders pay every line in full");
    Ok(allocation)
}

fn invoiceable(policy: &Policy, request: &PostSale, allocation: &[Vec<i64>]) -> Vec<Invoiceable> {
    let mut rates: Vec<Invoiceable> = Vec::new();
    for (tender, parts) in request.tenders.iter().zip(allocation) {
        if !policy.tender(tender.tender).is_some_and(|tender| tender.invoiceable) {
            continue;
        }
        for (line, &part) in request.lines.iter().zip(parts) {
            match rates.iter_mut().find(|rate| rate.tax_ppm == line.tax_ppm) {
                Some(rate) => rate.invoiceable_minor += part,
                None => rates.push(Invoiceable { tax_ppm: line.tax_ppm, invoiceable_minor: part }),
            }
        }
    }
    rates.retain(|rate| rate.invoiceable_minor != 0);
    rates.sort_by_key(|rate| rate.tax_ppm);
    rates
}

/// Undoes a card sale, a reload, a sale or a return without receipt of the open day, as if it had not been.
#[must_use]
pub fn void(
    situation: &Situation<'_>,
    original: &Entry,
    state: &ReceiptState,
    cards: &[Card],
    holdings: &Holdings,
    request: &VoidOperation,
) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        if state.voided_by.is_some() {
            return refuse(DeclineCode::AlreadyVoided);
        }
        if original.header.business_day != situation.day {
            return refuse(DeclineCode::NotOfOpenDay);
        }
        if state.returned_thousandths.iter().any(|&returned| returned > 0) {
            return refuse(DeclineCode::AlreadyReturned);
        }
        let of = original.header.id();
        let (currency, tenders, card) = match &original.body {
            Body::CardSale(body) => (body.currency, &body.tenders[..], Some((body.card, CardStatus::Blank))),
            Body::CardReload(body) => (body.currency, &body.tenders[..], Some((body.card, CardStatus::Active))),
            Body::UnreferencedReturn(body) => (body.currency, &[][..], Some((body.card, CardStatus::Active))),
            Body::Sale(body) => (body.currency, &body.tenders[..], None),
            _ => return refuse(DeclineCode::NotVoidable),
        };
        if let Body::CardSale(body) = &original.body {
            // A card that was stopped meanwhile stays stopped: its void would pay out and make it sellable again.
            match cards.iter().find(|card| card.number == body.card).map(|card| card.status) {
                Some(CardStatus::Active) => {}
                Some(CardStatus::Frozen) => return Err(Decision::of_card(DeclineCode::CardFrozen, body.card)),
                Some(CardStatus::Lost) => return Err(Decision::of_card(DeclineCode::CardLost, body.card)),
                _ => return Err(Decision::of_card(DeclineCode::CardNotActive, body.card)),
            }
        }
        let mut needs = Vec::new();
        for (index, undone) in original.body.movements().iter().enumerate() {
            let reference = MovementRef { entry: of, index: u16::try_from(index).unwrap_or(u16::MAX) };
            match undo(&mut work, undone, reference, card.map(|(number, _)| number)) {
                Ok(()) => {}
                Err(Decision::AskHub(more)) => needs.extend(more),
                Err(decision) => return Err(decision),
            }
        }
        if !needs.is_empty() {
            return Err(Decision::AskHub(needs));
        }
        if let Body::CardSale(body) = &original.body {
            let purse = Purse { account: body.account, unit: Unit::Money(body.currency) };
            if work.holdings.get(purse).available() > 0 {
                return Err(Decision::of_card(DeclineCode::CardInUse, body.card)); // Who buys the card next must find it empty.
            }
        }
        let body = Void {
            of,
            of_kind: original.header.kind.clone(),
            reason: request.reason.clone(),
            currency,
            tenders: tenders.to_vec(),
            movements: work.movements.clone(),
        };
        let mut plan = work.plan(Body::Void(body));
        plan.refunds = tenders.to_vec();
        plan.receipt = Some(ReceiptChange::Voided { of });
        // Only the sale of a card changes its status; its void makes it blank again.
        plan.card = card.filter(|(_, status)| *status == CardStatus::Blank);
        Ok(plan)
    })())
}

fn undo(work: &mut Work<'_>, undone: &Movement, reference: MovementRef, card: Option<CardNumber>) -> Decide<()> {
    let kind = match undone.kind {
        MovementKind::Spend => {
            return work.put_on(
                undone.account,
                undone.unit,
                MovementKind::SpendVoid,
                undone.amount_minor,
                Some(reference),
            );
        }
        MovementKind::CardSale | MovementKind::Reload | MovementKind::UnreferencedReturn => MovementKind::LoadVoid,
        MovementKind::Bonus => MovementKind::BonusVoid,
        _ => return refuse(DeclineCode::NotVoidable),
    };
    if undone.amount_minor == 0 {
        return Ok(());
    }
    let Some(card) = card else { return refuse(DeclineCode::NotVoidable) };
    let movement = Movement { kind, of: Some(reference), ..undone.clone() };
    work.take_off(card, movement, DeclineCode::AlreadySpent)
}

/// Gives goods of a receipt back: each tender what it had paid for them, read from the receipt and never computed again.
#[must_use]
pub fn post_return(
    situation: &Situation<'_>,
    original: &Entry,
    state: &ReceiptState,
    cards: &[Card],
    holdings: &Holdings,
    request: &PostReturn,
) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let Body::Sale(sale) = &original.body else { return refuse(DeclineCode::ReceiptUnknown) };
        if state.voided_by.is_some() {
            return refuse(DeclineCode::AlreadyVoided);
        }
        let of = original.header.id();
        let mut next = state.clone();
        next.returned_thousandths.resize(sale.lines.len(), 0);
        next.refunded_minor.resize(sale.tenders.len(), Vec::new());
        next.refunded_minor.iter_mut().for_each(|row| row.resize(sale.lines.len(), 0));
        let mut lines = Vec::with_capacity(request.items.len());
        let mut refunds = vec![0_i64; sale.tenders.len()];
        for (index, item) in request.items.iter().enumerate() {
            let at = usize::from(item.line);
            let Some(sold) = sale.lines.get(at) else {
                return faulty(
                    format!("items[{index}].line"),
                    format!("is {}; the receipt has lines 0 to {}", item.line, sale.lines.len() - 1),
                );
            };
            let cumulative = next.returned_thousandths[at] + item.quantity_thousandths;
            if cumulative > sold.quantity_thousandths {
                return refuse(DeclineCode::ReturnExceedsSale);
            }
            let mut amount_minor = 0;
            for (tender, refund) in refunds.iter_mut().enumerate() {
                let already = &mut next.refunded_minor[tender][at];
                let part = reversal(
                    sale.allocation[tender][at],
                    cumulative,
                    sold.quantity_thousandths,
                    *already,
                    Rounding::HalfUp,
                )
                .map_err(|error| Decision::Faulty(Fault::new(format!("items[{index}]"), error.to_string())))?;
                *already += part;
                *refund += part;
                amount_minor += part;
            }
            next.returned_thousandths[at] = cumulative;
            lines.push(ReturnLine { line: item.line, quantity_thousandths: item.quantity_thousandths, amount_minor });
        }
        let tenders: Vec<TenderLine> = sale
            .tenders
            .iter()
            .zip(&refunds)
            .filter(|&(_, &amount_minor)| amount_minor > 0)
            .map(|(line, &amount_minor)| TenderLine { amount_minor, ..line.clone() })
            .collect();
        let mut spent = 0_u16;
        for (tender, &amount_minor) in sale.tenders.iter().zip(&refunds) {
            if tender.card.is_none() {
                continue;
            }
            // Spends stand in the entry in the order of the tenders that have a card.
            let reference = MovementRef { entry: of, index: spent };
            let undone = sale.movements.get(usize::from(spent));
            spent += 1;
            if let (Some(undone), true) = (undone, amount_minor > 0) {
                work.put_on(undone.account, undone.unit, MovementKind::SpendReturn, amount_minor, Some(reference))?;
            }
        }
        let total_minor = refunds.iter().sum();
        assert_eq!(
            lines.iter().map(|line| line.amount_minor).sum::<i64>(),
            total_minor,
            "a return's lines sum to its refunds"
        );
        let body = Return {
            of,
            reason: request.reason.clone(),
            currency: sale.currency,
            lines,
            tenders: tenders.clone(),
            total_minor,
            movements: work.movements.clone(),
        };
        let mut plan = work.plan(Body::Return(body));
        plan.refunds = tenders;
        plan.receipt = Some(ReceiptChange::Returned { of, state: next });
        Ok(plan)
    })())
}

/// Gives goods back without a receipt, their value onto a card. `permitted` is the till's permission.
#[must_use]
pub fn post_unreferenced_return(
    situation: &Situation<'_>,
    permitted: bool,
    cards: &[Card],
    holdings: &Holdings,
    request: &PostUnreferencedReturn,
) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let unit = work.currency(request.currency)?;
        let rules = &situation.policy.returns;
        if !rules.without_receipt {
            return refuse(DeclineCode::WithoutReceiptOff);
        }
        if !permitted {
            return refuse(DeclineCode::PermissionDenied);
        }
        if rules.without_receipt_minor_max > 0 && request.amount_minor > rules.without_receipt_minor_max {
            return refuse(DeclineCode::WithoutReceiptLimit);
        }
        let card = work.card(request.card, unit, 0, Purpose::Look)?;
        if !card.status.may_take_return() {
            work.card_in_use(request.card, unit, 0, Purpose::Look)?;
        }
        let (account, number) = (card.account, card.number);
        work.put_on(account, unit, MovementKind::UnreferencedReturn, request.amount_minor, None)?;
        let body = UnreferencedReturn {
            card: number,
            account,
            reason: request.reason.clone(),
            currency: request.currency,
            amount_minor: request.amount_minor,
            movements: work.movements.clone(),
        };
        let refund = TenderLine {
            tender: stored_value_tender(situation.policy)?,
            amount_minor: request.amount_minor,
            card: Some(number),
            reference: None,
        };
        let mut plan = work.plan(Body::UnreferencedReturn(body));
        plan.refunds = vec![refund];
        Ok(plan)
    })())
}

fn stored_value_tender(policy: &Policy) -> Decide<crate::id::TenderCode> {
    let tender = policy.tenders.iter().find(|tender| tender.class == TenderClass::StoredValue);
    tender.map_or_else(|| refuse(DeclineCode::TenderNotAllowed), |tender| Ok(tender.code))
}

#[cfg(test)]
mod tests;
