//! Look-ups: a card's state and balance, and what became of an operation. They move nothing; news from the hub is kept as it comes.

use std::sync::Arc;

use huitong_protocol::allotment::Purse;
use huitong_protocol::card::{Card, CardNumber};
use huitong_protocol::entry::{Body, Entry};
use huitong_protocol::id::{AccountId, OperationId, PromotionId, TenderCode};
use huitong_protocol::member::PointsHere;
use huitong_protocol::points::PointsRules;
use huitong_protocol::till::{BalanceHere, CardState, ParkedSale, TotalBalance};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{Need, Purpose};

use super::order::Reference;
use super::{Decided, HubReply, Ledger, hold, pending_here, purse_of, take_news};
use crate::slip::{self, Style};
use crate::store::identity::Identity;
use crate::store::{ReadTx, StoreError, allotment, card, journal, operation, receipt};

/// What is known of a card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CardLook {
    /// Its state.
    Known(Box<CardState>),
    /// The hub says that there is no such card.
    Unknown,
    /// The replica does not have it and the hub could not be asked.
    UnknownOffline,
}

/// What became of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OperationLook {
    /// The stored answer.
    Decided(Decided),
    /// It is being decided now.
    InFlight,
    /// It never arrived, or is older than answers are kept.
    Unknown,
}

impl Ledger {
    /// Looks a card up: in the replica, and at the hub when it is not there or when `total` asks for the whole balance.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub async fn card(&self, now: Instant, number: CardNumber, total: bool) -> Result<CardLook, StoreError> {
        let (today, at) = (self.today(now), self.guarded(now));
        let here = self.store().look(|tx| self.card_here(tx, number, today, at))?;
        if let (Some((card, balances)), false) = (&here, total) {
            return Ok(CardLook::Known(Box::new(state(card, balances, self.unit(), None))));
        }
        let Some(unit) = self.unit() else { return Ok(CardLook::UnknownOffline) };
        let need = Need { card: number, unit, missing_minor: 0, purpose: Purpose::Look };
        let (cards, grants, turn, mut totals, is_closed) = match self.hub.ask(vec![need], total).await {
            // A hub that has forgotten something and waits for stores knows neither whole balances nor which cards there are.
            HubReply::Answered { cards, grants, turn, is_closed: true, .. } => (cards, grants, turn, Vec::new(), true),
            HubReply::Answered { cards, grants, turn, totals, .. } => (cards, grants, turn, totals, false),
            HubReply::Unreachable => {
                return Ok(here.map_or(CardLook::UnknownOffline, |(card, balances)| {
                    CardLook::Known(Box::new(state(&card, &balances, Some(unit), None)))
                }));
            }
        };
        let known = here.as_ref().map(|(card, _)| card);
        if !grants.is_empty() || cards.iter().any(|card| Some(card) != known) {
            let brought = grants.iter().map(purse_of).collect();
            let keeper = Arc::clone(self.store().continuity());
            let stored = self.store().write(move |tx| take_news(tx, now, (&grants, turn), &cards, &keeper)).await;
            if !matches!(stored, Ok(true)) {
                self.hub.lost(brought);
            }
            stored?;
        }
        let total = if totals.is_empty() { None } else { Some(totals.swap_remove(0)) };
        let here = self.store().read(|tx| self.card_here(tx, number, today, at))?;
        let unknown = if is_closed { CardLook::UnknownOffline } else { CardLook::Unknown };
        Ok(here
            .map_or(unknown, |(card, balances)| CardLook::Known(Box::new(state(&card, &balances, Some(unit), total)))))
    }

    /// The receipt of an operation as text; `None` when this store has no such receipt.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn slip(&self, of: Reference, style: Style) -> Result<Option<String>, StoreError> {
        let committed = self.store().committed();
        let Some(identity) = committed.identity.as_ref() else { return Err(StoreError::NotEnrolled) };
        let found = self.store().read(|tx| {
            let Some(entry) = entry_of(tx, identity, of)? else { return Ok(None) };
            let state = receipt::get(tx, entry.header.seq)?;
            Ok::<_, StoreError>(Some((entry, state)))
        })?;
        let policy = committed.policy.as_ref().map(|policy| &policy.policy);
        let tender_name = |code: TenderCode| match policy.and_then(|policy| policy.tender(code)) {
            Some(tender) if !tender.name.is_empty() => tender.name.clone(),
            _ => code.to_string(),
        };
        // The names of the day of the sale, where that policy is still kept.
        let names = found.as_ref().and_then(|(entry, _)| match &entry.body {
            Body::Sale(sale) => committed.policy_of(sale.policy_version),
            _ => None,
        });
        let promotion_name = |id: PromotionId| {
            let promotions = names.map(|names| names.policy.promotions.iter());
            let found = promotions.and_then(|mut promotions| promotions.find(|promotion| promotion.id == id));
            found.map_or_else(|| id.to_string(), |promotion| promotion.name.clone())
        };
        Ok(found.and_then(|(entry, state)| {
            let rule = names.and_then(|names| names.policy.points.pending);
            let context = slip::Context {
                points_confirmed_on: rule.zip(entry.header.business_day).map(|(rule, day)| rule.confirmed_on(day)),
                store_name: &identity.store.name,
                state: &state,
                tender_name: &tender_name,
                promotion_name: &promotion_name,
            };
            slip::print(&entry, &context, style)
        }))
    }

    /// The sales whose payment is not known, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn parked_sales(&self) -> Result<Vec<ParkedSale>, StoreError> {
        self.store().read(|tx| {
            let mut parked = Vec::new();
            for seq in receipt::parked(tx)? {
                let rule = |fault: &str| StoreError::Rule {
                    operation: "list parked sales",
                    fault: format!("the receipt at {seq} {fault}"),
                };
                let entry = journal::decoded(tx, seq)?.ok_or_else(|| rule("has no entry"))?;
                let Body::Sale(sale) = &entry.body else { return Err(rule("is no sale")) };
                let unknown = sale.payment_unknown.and_then(|at| sale.tenders.get(usize::from(at)));
                parked.push(ParkedSale {
                    entry: entry.header.id(),
                    operation: entry.header.operation,
                    terminal: entry.header.terminal,
                    business_day: entry.header.business_day,
                    at_ms: entry.header.at_ms,
                    total_minor: sale.total_minor,
                    tender: unknown.ok_or_else(|| rule("has no unknown tender"))?.clone(),
                });
            }
            Ok(parked)
        })
    }

    /// The open day, or what it would be now.
    fn today(&self, now: Instant) -> Option<BusinessDay> {
        let committed = self.store().committed();
        committed.open_day.or_else(|| committed.identity.as_ref()?.business_day(now))
    }

    /// The points of an account at this store, where the policy has any.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn points_here(
        &self,
        tx: &ReadTx<'_>,
        account: AccountId,
        today: BusinessDay,
    ) -> Result<Option<PointsHere>, StoreError> {
        let committed = self.store().committed();
        let Some(policy) = committed.policy.as_ref().filter(|policy| policy.policy.points != PointsRules::default())
        else {
            return Ok(None);
        };
        let purse = Purse { account, unit: Unit::Points };
        let holding = allotment::get(tx, purse)?;
        let pending = pending_here(tx, purse, &holding, &policy.policy, Some(today))?.unwrap_or(0);
        Ok(Some(PointsHere { confirmed: holding.available_minor().saturating_sub(pending), pending }))
    }

    fn card_here(
        &self,
        tx: &ReadTx<'_>,
        number: CardNumber,
        today: Option<BusinessDay>,
        at: Instant,
    ) -> Result<Option<(Card, Vec<BalanceHere>)>, StoreError> {
        let Some(card) = card::find(tx, number)? else { return Ok(None) };
        let (committed, mut balances) = (self.store().committed(), Vec::new());
        for (purse, holding) in allotment::of_account(tx, card.account)? {
            let holding = hold::as_of(tx, purse, holding, at)?;
            let pending_minor = match committed.policy.as_ref() {
                Some(policy) => pending_here(tx, purse, &holding, &policy.policy, today)?,
                None => None,
            };
            balances.push(BalanceHere {
                account: purse.account,
                unit: purse.unit,
                available_here_minor: holding.available_minor(),
                held_minor: holding.held_minor,
                pending_minor,
            });
        }
        Ok(Some((card, balances)))
    }

    /// What the store counts in.
    fn unit(&self) -> Option<Unit> {
        let committed = self.store().committed();
        committed.identity.as_ref().map(|identity| Unit::Money(identity.store.currency))
    }

    /// What became of an operation, by its id or by the entry that it made.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn operation(&self, of: Reference) -> Result<OperationLook, StoreError> {
        let (known, id) = self.store().read(|tx| {
            let id = match of {
                Reference::Operation(id) => Some(id),
                Reference::Entry(entry) => operation_of(tx, self, entry)?,
            };
            let known = match id {
                Some(id) => operation::find(tx, id)?,
                None => None,
            };
            Ok::<_, StoreError>((known, id))
        })?;
        Ok(match (known, id) {
            (Some(known), _) => OperationLook::Decided(Decided::new(known.answer.into(), known.entry_seq)),
            (None, Some(id)) if self.lock().contains(&id) => OperationLook::InFlight,
            (None, _) => OperationLook::Unknown,
        })
    }
}

/// The entry of this store's journal that is referred to.
pub(super) fn entry_of(tx: &ReadTx<'_>, identity: &Identity, of: Reference) -> Result<Option<Entry>, StoreError> {
    let seq = match of {
        Reference::Entry(id) if (id.store, id.epoch) == (identity.store.id, identity.epoch) => Some(id.seq),
        Reference::Entry(_) => None,
        Reference::Operation(id) => operation::find(tx, id)?.and_then(|known| known.entry_seq),
    };
    seq.map_or(Ok(None), |seq| journal::decoded(tx, seq))
}

fn operation_of(
    tx: &ReadTx<'_>,
    ledger: &Ledger,
    entry: huitong_protocol::id::EntryId,
) -> Result<Option<OperationId>, StoreError> {
    let committed = ledger.store().committed();
    let own = committed.identity.as_ref().map(|identity| (identity.store.id, identity.epoch));
    if own != Some((entry.store, entry.epoch)) {
        return Ok(None);
    }
    Ok(journal::decoded(tx, entry.seq)?.map(|entry| entry.header.operation))
}

fn state(card: &Card, balances: &[BalanceHere], unit: Option<Unit>, total: Option<TotalBalance>) -> CardState {
    let mut balances = balances.to_vec();
    // A card that nothing was ever done with here shows a plain zero.
    if let (true, Some(unit)) = (balances.is_empty(), unit) {
        balances.push(BalanceHere {
            account: card.account,
            unit,
            available_here_minor: 0,
            held_minor: 0,
            pending_minor: None,
        });
    }
    CardState {
        card: card.number,
        account: card.account,
        status: card.status,
        member: card.member,
        expires_on: card.expires_on,
        balances,
        total,
    }
}
