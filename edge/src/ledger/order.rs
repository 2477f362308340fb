//! Orders: what a till can ask for, the rows that each is decided on, and the core's function that decides it.

use huitong_protocol::allotment::Purse;
use huitong_protocol::card::{Card, CardNumber};
use huitong_protocol::decline::{Decline, DeclineCode};
use huitong_protocol::entry::{Body, Entry, Origin, Sale, TenderLine};
use huitong_protocol::id::{AccountId, EntryId, IdError, OperationId, Seq, TenderCode};
use huitong_protocol::ledger::basket::Earner;
use huitong_protocol::ledger::{self as core, Decision, Holdings, ReceiptState, Situation, Standing};
use huitong_protocol::points::PointsRules;
use huitong_protocol::policy::Policy;
use huitong_protocol::till::{
    CloseDay, Fault, FreezeCard, FromTill, Hold, LoadCard, OpenDay, PlaceHold, PostReturn, PostSale,
    PostUnreferencedReturn, RegisterInvoice, ReleaseHold, ResolvePayment, Said, VoidOperation,
};
use huitong_protocol::unit::Unit;

use super::look::entry_of;
use super::member::{Newcomer, Wish, acquaintance};
use super::pricing::Prepared;
use super::{Call, hold, limits};
use crate::store::identity::Identity;
use crate::store::{
    EntryMeta, ReadTx, StoreError, WriteTx, allotment, card, draft, journal, member, operation, pending, receipt,
    tender_reference,
};

/// An operation that a till named: by its receipt number or by its operation id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reference {
    /// The receipt number.
    Entry(EntryId),
    /// The operation id.
    Operation(OperationId),
}

impl std::str::FromStr for Reference {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Ok(operation) = text.parse() {
            return Ok(Self::Operation(operation));
        }
        text.parse()
            .map(Self::Entry)
            .map_err(|_| IdError::Form { expected: "a receipt number like S1-1-88 or the id of an operation" })
    }
}

/// What a till asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Sell a card with its initial load.
    SellCard {
        /// The card.
        card: CardNumber,
        /// How.
        request: LoadCard,
    },
    /// Load a card again.
    ReloadCard {
        /// The card.
        card: CardNumber,
        /// How.
        request: LoadCard,
    },
    /// Freeze a card.
    FreezeCard {
        /// The card.
        card: CardNumber,
        /// Why.
        request: FreezeCard,
    },
    /// Post a sale.
    Sale(PostSale),
    /// Set value of a card aside.
    PlaceHold(PlaceHold),
    /// Give back what a hold set aside.
    ReleaseHold {
        /// Which hold.
        of: Reference,
        /// Why.
        request: ReleaseHold,
    },
    /// Undo an operation of the open day.
    Void {
        /// Which.
        of: Reference,
        /// Why.
        request: VoidOperation,
    },
    /// Say what became of the payment of a parked sale.
    ResolvePayment {
        /// Which sale.
        of: Reference,
        /// What became of it.
        request: ResolvePayment,
    },
    /// Register the tax invoice over a receipt.
    RegisterInvoice {
        /// Which receipt.
        of: Reference,
        /// Its number.
        request: RegisterInvoice,
    },
    /// Give goods of a receipt back.
    Return(PostReturn),
    /// Give goods back without a receipt.
    UnreferencedReturn(PostUnreferencedReturn),
    /// Enrol somebody.
    EnrolMember(Box<Newcomer>),
    /// Ask for a change of a member.
    ChangeMember(Box<Wish>),
    /// Open a day.
    OpenDay(OpenDay),
    /// Close the open day.
    CloseDay(CloseDay),
}

impl Order {
    /// What the entry's header says of the till. The business day is the writer's to say.
    pub(super) fn meta(&self, call: &Call) -> EntryMeta {
        let from: &dyn FromTill = match self {
            Self::SellCard { request, .. } | Self::ReloadCard { request, .. } => request,
            Self::FreezeCard { request, .. } => request,
            Self::Sale(request) => request,
            Self::PlaceHold(request) => request,
            Self::ReleaseHold { request, .. } => request,
            Self::Void { request, .. } => request,
            Self::ResolvePayment { request, .. } => request,
            Self::RegisterInvoice { request, .. } => request,
            Self::Return(request) => request,
            Self::UnreferencedReturn(request) => request,
            Self::OpenDay(request) => request,
            Self::CloseDay(request) => request,
            Self::EnrolMember(newcomer) => &**newcomer,
            Self::ChangeMember(wish) => &**wish,
        };
        let Said { operator, approver, terminal_seq } = from.said();
        EntryMeta {
            operation: Some(call.operation),
            business_day: None,
            terminal: Some(call.terminal),
            terminal_seq,
            operator,
            approver,
            origin: match self {
                Self::Sale(request) if request.taken_at_ms.is_some() => Origin::TillOffline,
                _ => Origin::Edge,
            },
        }
    }

    /// Reads the rows and decides. Opening and closing a day is not decided here.
    pub(super) fn decide(
        &self,
        tx: &WriteTx<'_>,
        call: &Call,
        policy: &Policy,
        (hub, gate): (&core::Hub, &core::ValueGate),
        prepared: Option<&Prepared>,
    ) -> Result<Decision, StoreError> {
        // A receipt that was taken while this store was down is recorded as taken.
        let is_taken = matches!(self, Self::Sale(request) if request.taken_at_ms.is_some());
        if self.reference_used(tx, policy)? {
            return Ok(Decision::Declined(Box::new(Decline::new(DeclineCode::ReferenceUsed))));
        }
        if let Some(decline) = limits::role(self, policy, call) {
            return Ok(Decision::Declined(Box::new(decline)));
        }
        let identity = tx.identity()?;
        let spent_today = limits::spent_today(tx, policy, self)?;
        let holds = hold::named(tx, self)?;
        let exposure = limits::exposure(tx, policy, self, hub, call.cards_age_ms)?;
        let situation = Situation {
            store: identity.store.id,
            policy,
            day: tx.chain().open_day,
            hub,
            rung: policy.ladder.rung(call.cards_age_ms),
            spent_today: &spent_today,
            gate,
            holds: &holds,
            overdraft: exposure.as_ref(),
        };
        let unit = Unit::Money(policy.currency);
        let one = |number: CardNumber| rows(tx, std::iter::once(number), unit, None);
        Ok(match self {
            Self::SellCard { card, request } => {
                let (cards, mut holdings) = one(*card)?;
                add_points(tx, cards.iter().map(|card| card.account), &mut holdings)?;
                let promised = draft::promise(tx, *card)?;
                match core::sell_card(&situation, *card, &cards, promised, &holdings, request) {
                    // Only of a sale that nothing else refuses.
                    Decision::Approved(plan) => match buyer_fault(tx, &cards, promised, request)? {
                        Some(fault) => Decision::Faulty(fault),
                        None => Decision::Approved(plan),
                    },
                    decision => decision,
                }
            }
            Self::ReloadCard { card, request } => {
                let (cards, holdings) = one(*card)?;
                core::reload_card(&situation, *card, &cards, &holdings, request)
            }
            Self::FreezeCard { card, request } => {
                let (cards, _) = one(*card)?;
                core::freeze_card(&situation, *card, &cards, request)
            }
            Self::Sale(request) => match prepared {
                Some(Prepared { basket: Ok(basket), day, .. }) => {
                    if !is_taken && *day != situation.day {
                        // A day was opened or closed since it was priced.
                        return Ok(Decision::Declined(Box::new(Decline::new(DeclineCode::QuoteChanged))));
                    }
                    if !is_taken && limits::is_over_budget(tx, situation.store, basket)? {
                        // Another till took it since it was priced.
                        return Ok(Decision::Declined(Box::new(Decline::new(DeclineCode::QuoteChanged))));
                    }
                    let (cards, mut holdings) =
                        rows(tx, request.tenders.iter().filter_map(|line| line.card), unit, None)?;
                    add_holds(tx, &holds, &mut holdings)?;
                    // The policy that priced it may have points where the one in force has none.
                    if basket.terms.is_some() || policy.points != PointsRules::default() {
                        let earner = match basket.earner {
                            Some(Earner::Here(_, account)) => Some(account),
                            _ => None,
                        };
                        let accounts = cards.iter().map(|card| card.account).chain(earner);
                        add_points(tx, accounts, &mut holdings)?;
                    }
                    if exposure.is_some() {
                        let line = Purse { account: AccountId::RISK, unit };
                        holdings.put(line, allotment::get(tx, line)?);
                    }
                    core::post_sale(&situation, &cards, &holdings, request, basket)
                }
                // A closed store says so before anything else.
                Some(Prepared { basket: Err(Decision::Declined(_)), .. }) if situation.day.is_none() => {
                    Decision::Declined(Box::new(Decline::new(DeclineCode::DayNotOpen)))
                }
                Some(Prepared { basket: Err(decision), .. }) => decision.clone(),
                None => {
                    return Err(StoreError::Rule {
                        operation: "decide a sale",
                        fault: "nobody priced its basket".to_owned(),
                    });
                }
            },
            Self::PlaceHold(request) => {
                let (cards, holdings) = one(request.card)?;
                core::place_hold(&situation, tx.guarded(call.now), &cards, &holdings, request)
            }
            Self::ReleaseHold { of, request } => match hold::find(tx, &identity, *of)? {
                Some(named) => {
                    let mut holdings = Holdings::default();
                    add_holds(tx, std::slice::from_ref(&named), &mut holdings)?;
                    core::release_hold(&situation, &named, &holdings, request)
                }
                None => Decision::Declined(Box::new(Decline::new(DeclineCode::HoldUnknown))),
            },
            Self::Void { of, request } => match self.original(tx, *of, request.check().err())? {
                Original::Found(entry, state) => {
                    // Cards are looked at as they are now: one that was sold may be stopped, one that paid may be out of use.
                    let (cards, mut holdings) = rows(tx, cards_of(&entry).into_iter(), unit, Some(&entry))?;
                    // Also for its points: who buys the card next must find it empty.
                    add_points(tx, cards.iter().map(|card| card.account), &mut holdings)?;
                    let undone =
                        |standing| core::void(&situation, &entry, &state, standing, &cards, &holdings, request);
                    match (&entry.body, undone(&Standing::default())) {
                        // The journal is read for a void that nothing else refuses, and not while the hub is still to be asked.
                        (Body::CardSale(sale), Decision::Approved(plan)) => {
                            let standing = standing(tx, &entry, sale.account, &holdings)?;
                            if standing.is_any() { undone(&standing) } else { Decision::Approved(plan) }
                        }
                        (_, decision) => decision,
                    }
                }
                Original::Refused(decision) => decision,
            },
            Self::Return(request) => {
                match self.original(tx, Reference::Entry(request.receipt), request.check().err())? {
                    Original::Found(entry, state) => {
                        let (cards, holdings) = rows(tx, cards_of(&entry).into_iter(), unit, Some(&entry))?;
                        core::post_return(&situation, &entry, &state, &cards, &holdings, request)
                    }
                    Original::Refused(decision) => decision,
                }
            }
            Self::ResolvePayment { of, request } => match self.original(tx, *of, request.check().err())? {
                Original::Found(entry, state) => {
                    if resolved_reference_used(tx, policy, &entry, request)? {
                        return Ok(Decision::Declined(Box::new(Decline::new(DeclineCode::ReferenceUsed))));
                    }
                    let (cards, holdings) = rows(tx, cards_of(&entry).into_iter(), unit, Some(&entry))?;
                    core::resolve_payment(&situation, &entry, &state, &cards, &holdings, request)
                }
                Original::Refused(decision) => decision,
            },
            Self::RegisterInvoice { of, request } => match self.original(tx, *of, request.check().err())? {
                Original::Found(entry, state) => core::register_invoice(&situation, &entry, &state, request),
                Original::Refused(decision) => decision,
            },
            Self::UnreferencedReturn(request) => {
                let (cards, holdings) = one(request.card)?;
                let permitted = call.permissions.return_without_receipt;
                core::post_unreferenced_return(&situation, permitted, &cards, &holdings, request)
            }
            Self::EnrolMember(newcomer) => {
                let enrolled = &newcomer.enrolled;
                let (cards, _) = rows(tx, enrolled.card.into_iter(), unit, None)?;
                core::enrol_member(&situation, acquaintance(tx, enrolled)?, &cards, enrolled)
            }
            Self::ChangeMember(wish) => core::request_change(&situation, &wish.requested),
            Self::OpenDay(_) | Self::CloseDay(_) => {
                return Err(StoreError::Rule {
                    operation: "decide an operation",
                    fault: "a day is opened and closed apart".to_owned(),
                });
            }
        })
    }

    /// The payment lines that bring a reference into the store.
    fn references(&self) -> Vec<&TenderLine> {
        let tenders = match self {
            Self::SellCard { request, .. } | Self::ReloadCard { request, .. } => &request.tenders,
            Self::Sale(request) => &request.tenders,
            _ => return Vec::new(),
        };
        tenders.iter().filter(|line| line.reference.is_some()).collect()
    }

    /// Whether a reference that counts once was used before, here or twice in this operation. A receipt that a till took on its own is never refused
    /// for it: the goods are gone. Its number then stands in the journal twice.
    fn reference_used(&self, tx: &WriteTx<'_>, policy: &Policy) -> Result<bool, StoreError> {
        if matches!(self, Self::Sale(request) if request.taken_at_ms.is_some()) {
            return Ok(false);
        }
        let mut seen: Vec<(TenderCode, &str)> = Vec::new();
        for line in self.references() {
            let Some(text) = line.reference.as_deref() else { continue };
            if !policy.tender(line.tender).is_some_and(|tender| tender.reference_unique) {
                continue;
            }
            let twice = seen.iter().any(|&(tender, known)| tender == line.tender && known.eq_ignore_ascii_case(text));
            if twice || tender_reference::is_used(tx, line.tender, text)? {
                return Ok(true);
            }
            seen.push((line.tender, text));
        }
        Ok(false)
    }

    /// The operation that this one refers to. Only the store's own journal is looked at.
    fn original(&self, tx: &WriteTx<'_>, of: Reference, fault: Option<Fault>) -> Result<Original, StoreError> {
        if let Some(fault) = fault {
            return Ok(Original::Refused(Decision::Faulty(fault)));
        }
        let declined = |code| Ok(Original::Refused(Decision::Declined(Box::new(Decline::new(code)))));
        if tx.chain().open_day.is_none() {
            return declined(DeclineCode::DayNotOpen);
        }
        let identity = tx.identity()?;
        let seq = match of {
            Reference::Entry(id) if (id.store, id.epoch) == (identity.store.id, identity.epoch) => Some(id.seq),
            Reference::Entry(_) => None,
            Reference::Operation(operation) => operation::find(tx, operation)?.and_then(|known| known.entry_seq),
        };
        let entry = match seq {
            Some(seq) => journal::decoded(tx, seq)?,
            None => None,
        };
        match entry {
            Some(entry) => {
                let state = receipt::get(tx, entry.header.seq)?;
                Ok(Original::Found(Box::new(entry), state))
            }
            None => declined(DeclineCode::ReceiptUnknown),
        }
    }
}

/// What is wrong with the buyer of a card: somebody whom this store does not know would be its owner for head office. Whose it is already was known to
/// somebody.
fn buyer_fault(
    tx: &WriteTx<'_>,
    cards: &[Card],
    promised: Option<core::Promise>,
    request: &LoadCard,
) -> Result<Option<Fault>, StoreError> {
    if let Some(id) = request.member {
        let is_theirs = cards.iter().any(|card| card.member == Some(id))
            || promised.is_some_and(|promise| promise.member == Some(id));
        return Ok(match member::find(tx, id)? {
            _ if is_theirs => None,
            Some(member) if member.active => None,
            Some(_) => Some(Fault::new("member", "is of somebody who is no member any more; leave it out")),
            None => Some(Fault::new(
                "member",
                "is of nobody whom this store knows; look them up, or enrol them and say draft",
            )),
        });
    }
    match &request.draft {
        Some(draft) if draft::find(tx, draft)?.is_none() => {
            Ok(Some(Fault::new("draft", "is not the id of an operation that enrolled somebody at this store")))
        }
        _ => Ok(None),
    }
}

enum Original {
    Found(Box<Entry>, ReceiptState),
    Refused(Decision),
}

/// Whether the reference with which a payment is confirmed was used before, by another payment than the parked one itself.
fn resolved_reference_used(
    tx: &WriteTx<'_>,
    policy: &Policy,
    parked: &Entry,
    request: &ResolvePayment,
) -> Result<bool, StoreError> {
    let (Some(text), Body::Sale(sale)) = (request.reference.as_deref(), &parked.body) else { return Ok(false) };
    let Some(line) = sale.payment_unknown.and_then(|at| sale.tenders.get(usize::from(at))) else { return Ok(false) };
    let is_unique = policy.tender(line.tender).is_some_and(|tender| tender.reference_unique);
    Ok(is_unique
        && !line.reference.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(text))
        && tender_reference::is_used(tx, line.tender, text)?)
}

/// Remembers the references that an operation used under its receipt, and takes those back that the plan frees. `made` is the operation's own entry.
pub(super) fn keep_references(
    tx: &mut WriteTx<'_>,
    policy: &Policy,
    made: Seq,
    body: &Body,
    freed: &[TenderLine],
) -> Result<(), StoreError> {
    let (receipt, used): (Seq, &[TenderLine]) = match body {
        Body::CardSale(load) | Body::CardReload(load) => (made, &load.tenders),
        Body::Sale(sale) => (made, &sale.tenders),
        Body::Payment(payment) => (payment.of.seq, std::slice::from_ref(&payment.tender)),
        Body::Void(void) => (void.of.seq, &[]),
        Body::Return(back) => (back.of.seq, &[]),
        _ => return Ok(()),
    };
    for line in used {
        if let (Some(text), Some(tender)) = (line.reference.as_deref(), policy.tender(line.tender))
            && tender.reference_unique
        {
            tender_reference::insert(tx, line.tender, text, receipt)?;
        }
    }
    for line in freed {
        if let Some(text) = line.reference.as_deref() {
            tender_reference::remove(tx, line.tender, text, receipt)?;
        }
    }
    Ok(())
}

/// What was spent from a card's account since it was sold and may still come back to it. Most cards whose sale is undone were never used, which the
/// counters say; else the entries since then are read.
fn standing(tx: &WriteTx<'_>, sold: &Entry, account: AccountId, holdings: &Holdings) -> Result<Standing, StoreError> {
    let mut standing = Standing::of(account);
    let spent =
        holdings.rows().iter().any(|(purse, holding)| purse.account == account && holding.counters.spent_minor > 0);
    if spent || !receipt::parked(tx)?.is_empty() {
        journal::each_after(tx, sold.header.seq, &["sale", "payment", "return", "void"], |entry| standing.see(&entry))?;
    }
    Ok(standing)
}

/// The cards that an operation was about: sold, paying, earning.
fn cards_of(entry: &Entry) -> Vec<CardNumber> {
    match &entry.body {
        Body::CardSale(sale) => vec![sale.card],
        Body::Sale(sale) => {
            let earner = sale.earned.as_ref().map(|earned| earned.card);
            sale.tenders.iter().filter_map(|line| line.card).chain(earner).collect()
        }
        _ => Vec::new(),
    }
}

/// The accounts that an operation of this store moved.
pub(super) fn entry_accounts(
    tx: &ReadTx<'_>,
    identity: &Identity,
    of: Reference,
) -> Result<Vec<AccountId>, StoreError> {
    let entry = entry_of(tx, identity, of)?;
    Ok(entry.iter().flat_map(|entry| entry.body.movements()).map(|movement| movement.account).collect())
}

/// Adds the purses of holds: a card that pays with one need not be known here any more.
fn add_holds(tx: &ReadTx<'_>, holds: &[Hold], holdings: &mut Holdings) -> Result<(), StoreError> {
    for hold in holds {
        let purse = Purse { account: hold.account, unit: Unit::Money(hold.currency) };
        holdings.put(purse, allotment::get(tx, purse)?);
    }
    Ok(())
}

/// Adds the points of accounts, and what of them may not pay yet.
fn add_points(
    tx: &WriteTx<'_>,
    accounts: impl Iterator<Item = AccountId>,
    holdings: &mut Holdings,
) -> Result<(), StoreError> {
    for account in accounts {
        let purse = Purse { account, unit: Unit::Points };
        holdings.put(purse, allotment::get(tx, purse)?);
        if let Some(today) = tx.chain().open_day {
            holdings.put_pending(account, pending::barred(tx, account, today)?);
        }
    }
    Ok(())
}

/// The cards of an operation as far as the replica has them, and the purses that it may touch.
fn rows(
    tx: &WriteTx<'_>,
    numbers: impl Iterator<Item = CardNumber>,
    unit: Unit,
    original: Option<&Entry>,
) -> Result<(Vec<Card>, Holdings), StoreError> {
    let mut cards: Vec<Card> = Vec::new();
    let mut holdings = Holdings::default();
    for number in numbers {
        if cards.iter().any(|card| card.number == number) {
            continue;
        }
        if let Some(card) = card::find(tx, number)? {
            let purse = Purse { account: card.account, unit };
            holdings.put(purse, allotment::get(tx, purse)?);
            cards.push(card);
        }
    }
    for movement in original.map(|entry| entry.body.movements()).unwrap_or_default() {
        let purse = Purse { account: movement.account, unit: movement.unit };
        holdings.put(purse, allotment::get(tx, purse)?);
    }
    // The points of a sale that was parked stand in another entry.
    if let Some(Body::Sale(Sale { earned: Some(earned), .. })) = original.map(|entry| &entry.body) {
        let purse = Purse { account: earned.account, unit: Unit::Points };
        holdings.put(purse, allotment::get(tx, purse)?);
    }
    Ok((cards, holdings))
}
