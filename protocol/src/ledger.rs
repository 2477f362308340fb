//! Ledger: what one operation of a till does, decided on rows that were read in the writing transaction.
//!
//! Decide, then do: each function takes values and gives a [`Decision`]; the edge stores what an approved [`Plan`] says, or asks the hub what
//! [`Decision::AskHub`] says and decides again. Amounts of an allotment change only through `allotment::step`. Reading, writing, stamps and
//! sequence numbers are not here. Invariant: a plan's movements and its counters say the same, and its tenders sum to its total.

mod allocation;
pub mod basket;
mod card;
pub mod earning;
mod gate;
mod hold;
mod invoice;
mod member;
mod overdraft;
mod payment;
mod returns;
mod sale;
mod void;

pub use card::{freeze_card, reload_card, sell_card};
pub use gate::ValueGate;
pub use hold::{EndedHold, HOLD_LISTED_MAX, end_expired, place_hold, release_hold};
pub use invoice::register_invoice;
pub use member::{Acquaintance, Promise, enrol_member, request_change};
pub use overdraft::Exposure;
pub use payment::resolve_payment;
pub use returns::{post_return, post_unreferenced_return};
pub use sale::post_sale;
pub use void::{Standing, void};

use crate::allotment::rule::Sound;
use crate::allotment::{Holding, HoldingEvent, Purse, Refusal, StoreEvent, step};
use crate::card::{Card, CardNumber, CardStatus};
use crate::debt;
use crate::decline::{Decline, DeclineCode, Elsewhere, PlaceState};
use crate::entry::{Body, Earned, Sale, TenderLine};
use crate::id::{AccountId, EntryId, PromotionId, StoreId};
use crate::money::Currency;
use crate::movement::{Direction, Movement, MovementKind, MovementRef};
use crate::points::Pending;
use crate::policy::{Policy, ReferenceRule, RefundRoute, Rung, Tender, TenderClass};
use crate::till::{Fault, Hold};
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
    /// It answered that it gives nothing and does not know what is anywhere else: it was restored and waits for stores, or has seen two copies of this one.
    /// As good as unreachable, and no reason to lend what nobody may be told of.
    Closed,
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
    /// What the ladder limits, after so long without a word from the hub.
    pub rung: Option<&'a Rung>,
    /// What accounts of products with a limit per day have spent here on the open day.
    pub spent_today: &'a [(AccountId, i64)],
    /// Whether stored value may move.
    pub gate: &'a ValueGate,
    /// The holds that the operation names, and, when it places one, those that are open on the account.
    pub holds: &'a [Hold],
    /// How far the store has let its customers overdraw; nothing where no overdraft is to be thought of.
    pub overdraft: Option<&'a Exposure>,
}

/// The purses that an operation may touch, with what of them is held. A purse without a row has nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holdings {
    rows: Vec<(Purse, Holding)>,
    pending: Vec<(AccountId, i64)>,
}

impl Holdings {
    /// Adds a row that was read.
    pub fn put(&mut self, purse: Purse, holding: impl Into<Holding>) {
        let holding = holding.into();
        match self.rows.iter_mut().find(|(known, _)| *known == purse) {
            Some((_, held)) => *held = holding,
            None => self.rows.push((purse, holding)),
        }
    }

    /// Adds the points of an account that may not pay yet.
    pub fn put_pending(&mut self, account: AccountId, points: i64) {
        self.pending.push((account, points));
    }

    /// The points of an account that may not pay yet.
    #[must_use]
    pub fn pending(&self, account: AccountId) -> i64 {
        self.pending.iter().find(|(known, _)| *known == account).map_or(0, |(_, points)| *points)
    }

    /// What the store has of a purse.
    #[must_use]
    pub fn get(&self, purse: Purse) -> Holding {
        self.rows.iter().find(|(known, _)| *known == purse).map_or_else(Holding::default, |(_, holding)| *holding)
    }

    /// Every row.
    #[must_use]
    pub fn rows(&self) -> &[(Purse, Holding)] {
        &self.rows
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
    /// Whether nobody knows yet if the sale was paid.
    #[serde(default)]
    pub parked: bool,
    /// The entry that said that a parked sale was paid; its points stand there.
    #[serde(default)]
    pub paid_by: Option<EntryId>,
    /// The reference of that payment outside.
    #[serde(default)]
    pub paid_reference: Option<String>,
    /// Whether the points of a parked sale were not given, as its card was no longer in use.
    #[serde(default)]
    pub points_waived: bool,
    /// How long the points of a parked sale are pending, counted from the purchase; they are given when it is paid.
    #[serde(default)]
    pub points_pending: Option<Pending>,
    /// The tax invoice over it.
    #[serde(default)]
    pub invoice: Option<String>,
}

/// Where the points of a sale stand: with the sale, or with the payment of a parked one. They are its last movement.
fn points_of(of: EntryId, sale: &Sale, state: &ReceiptState) -> MovementRef {
    match state.paid_by {
        Some(entry) => MovementRef { entry, index: 0 },
        None => {
            MovementRef { entry: of, index: u16::try_from(sale.movements.len()).unwrap_or(u16::MAX).saturating_sub(1) }
        }
    }
}

/// What an approved operation stores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The entry's body.
    pub body: Body,
    /// Purses as they are after it.
    pub holdings: Vec<(Purse, Holding)>,
    /// Cards whose status changes.
    pub cards: Vec<(CardNumber, CardStatus)>,
    /// The receipt that the operation refers to, as it is after it. Who knows the new entry's id fills in `voided_by` and `paid_by`.
    pub receipt: Option<ReceiptChange>,
    /// Money that goes back to the customer.
    pub refunds: Vec<TenderLine>,
    /// What promotions gave away, below zero for what came back of it. The store counts those that it counts already.
    pub given: Vec<(PromotionId, i64)>,
    /// How long the points that it gives are pending; nothing when they are confirmed at once.
    pub points_pending: Option<Pending>,
    /// Vouchers and coupons of the receipt that went back to their owner whole: their references may be used again.
    pub freed: Vec<TenderLine>,
    /// The holds that it ends. One that it places stands in the body.
    pub ended: Vec<EndedHold>,
    /// What is released to head office in the same transaction, after the holdings are as they are to be ([`crate::debt::given_back`]).
    pub released: Vec<(Purse, i64)>,
}

/// A change of a receipt's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReceiptChange {
    /// The receipt is voided by the plan's own entry.
    Voided {
        /// The receipt.
        of: EntryId,
    },
    /// The parked sale was paid, as the plan's own entry says.
    Paid {
        /// The receipt.
        of: EntryId,
        /// Its memory after this, but for the new entry's id.
        state: ReceiptState,
    },
    /// Parts of the receipt came back, or it is invoiced.
    Changed {
        /// The receipt.
        of: EntryId,
        /// Its memory after this.
        state: ReceiptState,
    },
    /// The plan's own entry is a receipt that is remembered from now on.
    Made {
        /// Its memory.
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
    /// A refusal of a card with what would be possible and what was asked.
    fn over_limit(code: DeclineCode, card: CardNumber, unit: Unit, most_minor: i64, needed_minor: i64) -> Self {
        Self::Declined(Box::new(Decline {
            unit: Some(unit),
            available_here_minor: Some(most_minor.max(0)),
            needed_minor: Some(needed_minor),
            ..Decline::of_card(code, card)
        }))
    }

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
            Hub::Unreachable | Hub::Closed => Err(Decision::of_card(DeclineCode::UnknownCardOffline, number)),
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
            CardStatus::Blank if matches!(self.situation.hub, Hub::Unreachable | Hub::Closed) => {
                Err(Decision::of_card(DeclineCode::UnknownCardOffline, number))
            }
            CardStatus::Frozen => Err(Decision::of_card(DeclineCode::CardFrozen, number)),
            CardStatus::Lost => Err(Decision::of_card(DeclineCode::CardLost, number)),
            CardStatus::Blank
            | CardStatus::Replaced
            | CardStatus::Refunded
            | CardStatus::Destroyed
            | CardStatus::Withdrawn => Err(Decision::of_card(DeclineCode::CardNotActive, number)),
        }
    }

    /// Takes the step of a purse.
    fn step(&mut self, purse: Purse, event: HoldingEvent) -> Result<(), Refusal> {
        self.holdings.put(purse, step(&self.holdings.get(purse), event)?);
        if !self.touched.contains(&purse) {
            self.touched.push(purse);
        }
        Ok(())
    }

    fn move_value(&mut self, movement: Movement, event: HoldingEvent) -> Result<(), Refusal> {
        self.step(Purse { account: movement.account, unit: movement.unit }, event)?;
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
        self.may_put_on(kind, None)?;
        let movement =
            Movement { account, unit, kind, amount_minor, of, origin_store: None, shortfall_minor: 0, owed_by: None };
        if amount_minor == 0 {
            self.movements.push(movement); // A card sold empty: the movement says where its home is.
            return Ok(());
        }
        match self.move_value(movement, HoldingEvent::Moved(StoreEvent::Load { amount_minor })) {
            Ok(()) => Ok(()),
            Err(_) => faulty("amount_minor", "would make the account larger than can be counted"),
        }
    }

    /// Takes value off; what is missing here is asked of the hub once. `short` is the refusal's code when all is said.
    fn take_off(&mut self, card: CardNumber, movement: Movement, short: DeclineCode) -> Decide<()> {
        self.may_take_off(card)?;
        let (unit, needed_minor) = (movement.unit, movement.amount_minor);
        let purse = Purse { account: movement.account, unit };
        let spend = HoldingEvent::Moved(StoreEvent::Spend { amount_minor: needed_minor });
        let refusal = match self.move_value(movement.clone(), spend) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        if let Refusal::Insufficient { available_minor, .. } = refusal
            && self.overdraws(card, &movement, available_minor)?
        {
            return Ok(());
        }
        Err(self.short_of((card, purse, unit), needed_minor, refusal, short))
    }

    /// What comes of value that is not there: the hub is asked for it once, then it is refused. `short` is the refusal's code when all is said.
    fn short_of(
        &mut self,
        (card, purse, unit): (CardNumber, Purse, Unit),
        needed_minor: i64,
        refusal: Refusal,
        short: DeclineCode,
    ) -> Decision {
        let Refusal::Insufficient { available_minor, .. } = refusal else {
            return Decision::Faulty(Fault::new("amount_minor", refusal.to_string()));
        };
        let elsewhere = match self.situation.hub {
            Hub::NotAsked => {
                let missing_minor = needed_minor - available_minor;
                // The plan will be thrown away; what is here is used up, so that a second line on the account asks for all of its amount.
                self.holdings.put(purse, Holding::default());
                return Decision::AskHub(vec![Need { card, unit, missing_minor, purpose: Purpose::Spend }]);
            }
            Hub::Answered { elsewhere } => {
                elsewhere.iter().filter(|place| place.card == card).copied().collect::<Vec<_>>()
            }
            Hub::Unreachable | Hub::Closed => Vec::new(),
        };
        let Holding { counters, held_minor } = self.holdings.get(purse);
        let has_left = counters.released_minor > 0;
        let code = match (short, self.situation.hub) {
            // With what is held here it would be enough, wherever more of it may be.
            _ if held_minor > 0 && available_minor.saturating_add(held_minor) >= needed_minor => DeclineCode::Held,
            (DeclineCode::Insufficient, Hub::Unreachable | Hub::Closed) => DeclineCode::InsufficientHereOffline,
            // What left this store may lie unspent somewhere; only what never left is known to be spent.
            (DeclineCode::AlreadySpent, Hub::Unreachable | Hub::Closed) if has_left => {
                DeclineCode::InsufficientHereOffline
            }
            (DeclineCode::Insufficient, _) if elsewhere.iter().any(|place| place.state != PlaceState::Suspense) => {
                DeclineCode::HeldElsewhere
            }
            (DeclineCode::Insufficient, _) if !elsewhere.is_empty() => DeclineCode::InSuspense,
            // Nobody is to be told that a card is empty of which a part is only set aside.
            (DeclineCode::Insufficient, _) if held_minor > 0 => DeclineCode::Held,
            (code, _) => code,
        };
        Decision::Declined(Box::new(Decline {
            code,
            card: Some(card),
            unit: Some(unit),
            available_here_minor: Some(available_minor),
            needed_minor: Some(needed_minor),
            held_minor: (held_minor > 0).then_some(held_minor),
            elsewhere,
            ..Decline::new(code)
        }))
    }

    /// Takes back points that were earned. Those that are not here are asked of the hub, once; what is spent is written down as missing, and goods come
    /// back all the same. Through a gate that is not open none is taken, and all of them are missing.
    fn take_back_points(&mut self, earned: &Earned, points: i64, of: MovementRef) -> Decide<()> {
        if points == 0 {
            return Ok(());
        }
        let (account, unit) = (earned.account, Unit::Points);
        let purse = Purse { account, unit };
        let is_open = self.situation.gate.is_open();
        let here = if is_open { self.holdings.get(purse).available_minor().clamp(0, points) } else { 0 };
        if is_open && here < points && *self.situation.hub == Hub::NotAsked {
            let missing_minor = points - here;
            return Err(Decision::AskHub(vec![Need {
                card: earned.card,
                unit,
                missing_minor,
                purpose: Purpose::Spend,
            }]));
        }
        let movement = Movement {
            account,
            unit: Unit::Points,
            kind: MovementKind::EarnReversal,
            amount_minor: here,
            of: Some(of),
            origin_store: None,
            shortfall_minor: points - here,
            owed_by: None,
        };
        if here == 0 {
            self.movements.push(movement);
            return Ok(());
        }
        match self.move_value(movement, HoldingEvent::Moved(StoreEvent::Spend { amount_minor: here })) {
            Ok(()) => Ok(()),
            Err(refusal) => faulty("items", refusal.to_string()),
        }
    }

    /// Cards that count as unsold and whose account value came back to. Nothing is refused for it, as the money is somebody's; but nobody may buy it with
    /// the card.
    fn withdrawn(&self) -> Vec<(CardNumber, CardStatus)> {
        let came_back = |account: AccountId| {
            let onto = |movement: &&Movement| movement.account == account && movement.amount_minor > 0;
            self.movements.iter().filter(onto).any(|movement| movement.kind.direction() == Direction::In)
        };
        let unsold = self.cards.iter().filter(|card| card.status == CardStatus::Blank && came_back(card.account));
        unsold.map(|card| (card.number, CardStatus::Withdrawn)).collect()
    }

    fn plan(self, body: Body) -> Plan {
        let holdings = self.touched.iter().map(|&purse| (purse, self.holdings.get(purse))).collect();
        let released = debt::given_back(&Sound, &self.movements);
        Plan {
            body,
            holdings,
            cards: Vec::new(),
            receipt: None,
            refunds: Vec::new(),
            given: Vec::new(),
            points_pending: None,
            freed: Vec::new(),
            ended: Vec::new(),
            released,
        }
    }
}

fn loading_tenders(situation: &Situation<'_>, tenders: &[TenderLine]) -> Decide<()> {
    for (index, line) in tenders.iter().enumerate() {
        if line.hold.is_some() {
            return faulty(format!("tenders[{index}].hold"), "pays for goods only; leave it out");
        }
        match situation.policy.tender(line.tender) {
            None => return faulty(format!("tenders[{index}].tender"), unknown_tender(situation.policy, line)),
            Some(tender) if !tender.may_load => return refuse(DeclineCode::TenderNotAllowed),
            Some(tender) => check_reference(tender, line, index)?,
        }
    }
    Ok(())
}

/// Checks that a tender line has the reference that the catalogue asks for.
fn check_reference(tender: &Tender, line: &TenderLine, index: usize) -> Decide<()> {
    let fault = match (tender.reference, &line.reference) {
        (ReferenceRule::Required, None) => "is missing; this tender needs the number of the payment outside",
        (ReferenceRule::None, Some(_)) => "does not belong to this tender; leave it out",
        _ => return Ok(()),
    };
    faulty(format!("tenders[{index}].reference"), fault)
}

/// What the promotions of a sale had given, all of it coming back.
fn given_back(sale: &Sale) -> Vec<(PromotionId, i64)> {
    let given = basket::given(sale.lines.iter().flat_map(|line| &line.discounts));
    given.into_iter().map(|(id, amount_minor)| (id, -amount_minor)).collect()
}

/// Whether what a tender paid goes back to the customer.
fn goes_back(policy: &Policy, line: &TenderLine) -> bool {
    policy.tender(line.tender).is_none_or(|tender| tender.refund != RefundRoute::Nothing)
}

/// Whether a tender is a paper whose number may be used again when it went back to its owner. An acquirer's number stays used: what was undone is paid
/// again under another one.
fn is_paper(policy: &Policy, line: &TenderLine) -> bool {
    let class = policy.tender(line.tender).map(|tender| tender.class);
    line.reference.is_some() && matches!(class, Some(TenderClass::Voucher | TenderClass::Coupon))
}

/// A tender line of a sale with the reference that was known last: that of a parked payment came with its confirmation. What a hold had paid is value like
/// any other when it goes back: the hold has ended.
fn paid_line(sale: &Sale, state: &ReceiptState, at: usize) -> TenderLine {
    let mut line = TenderLine { hold: None, ..sale.tenders[at].clone() };
    if sale.payment_unknown.map(usize::from) == Some(at) && state.paid_reference.is_some() {
        line.reference.clone_from(&state.paid_reference);
    }
    line
}

fn unknown_tender(policy: &Policy, line: &TenderLine) -> String {
    let known: Vec<&str> = policy.tenders.iter().map(|tender| tender.code.as_str()).collect();
    format!("{} is not in the tender catalogue; it has {}", line.tender, known.join(", "))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
