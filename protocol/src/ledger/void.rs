//! Voids: an operation of the open day undone, as if it had not been.
//!
//! What is of an earlier day, or came back in part, is not voided: it is returned.

use super::{
    Decide, Decision, Holdings, Hub, ReceiptChange, ReceiptState, Situation, Work, given_back, goes_back, is_paper,
    paid_line, refuse, settle,
};
use crate::allotment::Purse;
use crate::card::{Card, CardNumber, CardStatus};
use crate::decline::DeclineCode;
use crate::entry::{Body, CardSale, Earned, Entry, Payment, RedLetter, Sale, TenderLine, Void};
use crate::funding::by_party;
use crate::id::{AccountId, EntryId};
use crate::movement::{Movement, MovementKind, MovementRef};
use crate::pricing::FundedPart;
use crate::till::{Fault, VoidOperation};
use crate::unit::Unit;
use crate::wire::{Need, Purpose};

/// Undoes a card sale, a reload, a sale or a return without receipt of the open day, as if it had not been. `standing` is what happened to the account of
/// a card since it was sold.
#[must_use]
pub fn void(
    situation: &Situation<'_>,
    original: &Entry,
    state: &ReceiptState,
    standing: &Standing,
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
        if state.parked {
            return refuse(DeclineCode::PaymentUnknown);
        }
        if state.invoice.is_some() && matches!(original.body, Body::Sale(_)) {
            return refuse(DeclineCode::AlreadyInvoiced); // The tax office knows it: goods that come back are a return with a red-letter invoice.
        }
        if original.header.business_day != situation.day {
            return refuse(DeclineCode::NotOfOpenDay);
        }
        if state.returned_thousandths.iter().any(|&returned| returned > 0) {
            return refuse(DeclineCode::AlreadyReturned);
        }
        let of = original.header.id();
        let (currency, tenders, card) = match &original.body {
            Body::CardSale(body) | Body::CardReload(body) => (body.currency, &body.tenders[..], Some(body.card)),
            Body::UnreferencedReturn(body) => (body.currency, &[][..], Some(body.card)),
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
        if let Some(card) = card {
            work.may_take_off(card)?;
        }
        if let Body::CardSale(body) = &original.body {
            empty_everywhere(&work, body)?;
        }
        undo_all(&mut work, original, card)?;
        if let (Body::Sale(Sale { earned: Some(earned), .. }), Some(entry)) = (&original.body, state.paid_by)
            && !state.points_waived
        {
            work.take_back_points(earned, earned.points, MovementRef { entry, index: 0 })?;
        }
        if let Body::CardSale(body) = &original.body {
            let held = |unit| work.holdings.get(Purse { account: body.account, unit }).counters.available() > 0;
            if held(Unit::Money(body.currency)) || held(Unit::Points) || standing.is_any() {
                return Err(Decision::of_card(DeclineCode::CardInUse, body.card)); // Who buys the card next must find it empty.
            }
        }
        let paid: Vec<TenderLine> = match &original.body {
            Body::Sale(sale) => (0..sale.tenders.len()).map(|at| paid_line(sale, state, at)).collect(),
            _ => tenders.to_vec(),
        };
        let refunds: Vec<TenderLine> = paid.iter().filter(|line| goes_back(situation.policy, line)).cloned().collect();
        // Only what was paid for a load can be invoiced here: goods that come back are returned.
        let invoiceable = match &original.body {
            Body::CardSale(load) | Body::CardReload(load) => load.invoiceable.clone(),
            _ => Vec::new(),
        };
        let status = match (&original.body, situation.hub) {
            // Where cards may overdraw, a store that cannot be reached may have lent on the card what its next owner would have to pay.
            (Body::CardSale(_), Hub::Answered { .. }) if situation.policy.overdraft.is_none() => {
                Some(CardStatus::Blank)
            }
            // Only head office knows that nothing of it is anywhere else: until it says so, nobody can buy the card.
            (Body::CardSale(_), _) => Some(CardStatus::Withdrawn),
            _ => None,
        };
        let body = Void {
            of,
            of_kind: original.header.kind.clone(),
            reason: request.reason.clone(),
            currency,
            tenders: paid,
            refunds: refunds.clone(),
            red_letter: state.invoice.clone().map(|invoice| RedLetter { invoice, invoiceable }),
            funded: funded(original)?,
            movements: work.movements.clone(),
        };
        let freed = papers(situation, &body);
        let unsold = card.zip(status).into_iter();
        let cards = work.withdrawn().into_iter().chain(unsold).collect();
        let mut plan = work.plan(Body::Void(body));
        (plan.cards, plan.freed, plan.refunds) = (cards, freed, refunds);
        plan.receipt = Some(ReceiptChange::Voided { of });
        if let Body::Sale(sale) = &original.body {
            plan.given = given_back(sale);
        }
        Ok(plan)
    })())
}

/// What of an account was spent and could still come back to it: goods that may be returned, a payment that nobody knows of. A card whose account has any is
/// not made sellable again, as what comes back would be its next owner's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    account: Option<AccountId>,
    /// Spent less what came back, by unit.
    spent_minor: Vec<(Unit, i128)>,
    /// Parked sales whose points are still to come.
    parked: Vec<EntryId>,
}

impl Standing {
    /// Nothing of this account, so far.
    #[must_use]
    pub const fn of(account: AccountId) -> Self {
        Self { account: Some(account), spent_minor: Vec::new(), parked: Vec::new() }
    }

    /// Takes the next entry of the journal in.
    pub fn see(&mut self, entry: &Entry) {
        match &entry.body {
            Body::Sale(Sale { payment_unknown: Some(_), earned: Some(earned), .. })
                if Some(earned.account) == self.account =>
            {
                self.parked.push(entry.header.id());
            }
            Body::Payment(Payment { of, .. }) | Body::Void(Void { of, .. }) => {
                self.parked.retain(|parked| parked != of)
            }
            _ => {}
        }
        // What was overdrawn stands on the risk account, and is this account's all the same.
        let whose = |movement: &&Movement| Some(movement.owed_by.unwrap_or(movement.account)) == self.account;
        for movement in entry.body.movements().iter().filter(whose) {
            let sign = match movement.kind {
                MovementKind::Spend | MovementKind::Burn | MovementKind::Overdraft => 1,
                MovementKind::SpendVoid
                | MovementKind::SpendReturn
                | MovementKind::BurnReversal
                | MovementKind::OverdraftBack => -1,
                _ => continue,
            };
            let amount = sign * i128::from(movement.amount_minor);
            match self.spent_minor.iter_mut().find(|(unit, _)| *unit == movement.unit) {
                Some((_, sum)) => *sum += amount,
                None => self.spent_minor.push((movement.unit, amount)),
            }
        }
    }

    /// Whether anything is left.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.parked.is_empty() || self.spent_minor.iter().any(|(_, sum)| *sum != 0)
    }
}

/// The papers that an undone operation had been paid with: they are in their owners' hands again, whatever a return would do with them.
pub(super) fn papers(situation: &Situation<'_>, body: &Void) -> Vec<TenderLine> {
    body.tenders.iter().filter(|line| is_paper(situation.policy, line)).cloned().collect()
}

/// Who buys the card next must find it empty, so the hub is asked for all that it has of the account, value and points, before the card is made sellable
/// again: this store may have given back what was loaded or earned since.
fn empty_everywhere(work: &Work<'_>, sold: &CardSale) -> Decide<()> {
    let need = |unit: Unit, loaded_minor: i64| {
        let here = work.holdings.get(Purse { account: sold.account, unit }).available_minor();
        let missing_minor = loaded_minor.saturating_sub(here).max(1);
        Need { card: sold.card, unit, missing_minor, purpose: Purpose::Unsell }
    };
    match work.situation.hub {
        Hub::NotAsked => {
            let loaded_minor = sold.principal_minor.saturating_add(sold.bonus_minor);
            Err(Decision::AskHub(vec![need(Unit::Money(sold.currency), loaded_minor), need(Unit::Points, 0)]))
        }
        Hub::Answered { elsewhere } if elsewhere.iter().any(|place| place.card == sold.card) => {
            Err(Decision::of_card(DeclineCode::CardInUse, sold.card))
        }
        // Offline the store gives back what is all here, and takes the card out of sale.
        Hub::Answered { .. } | Hub::Unreachable | Hub::Closed => Ok(()),
    }
}

/// What goes back to those who bore the discounts of a sale that is undone as a whole.
pub(super) fn funded(original: &Entry) -> Decide<Vec<FundedPart>> {
    let Body::Sale(sale) = &original.body else { return Ok(Vec::new()) };
    let store = original.header.store;
    by_party(sale.lines.iter().flat_map(|line| line.borne(store)))
        .map_err(|error| Decision::Faulty(Fault::new("id", format!("is a receipt whose discounts {error}"))))
}

/// Undoes every movement of an operation; what has to be asked of the hub for it is asked in one call.
pub(super) fn undo_all(work: &mut Work<'_>, original: &Entry, card: Option<CardNumber>) -> Decide<()> {
    let mut needs = Vec::new();
    let earned = match &original.body {
        Body::Sale(sale) => sale.earned.as_ref(),
        _ => None,
    };
    for (index, undone) in original.body.movements().iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        match undo(work, undone, MovementRef { entry: original.header.id(), index }, card, earned) {
            Ok(()) => {}
            Err(Decision::AskHub(more)) => needs.extend(more),
            Err(decision) => return Err(decision),
        }
    }
    if needs.is_empty() { Ok(()) } else { Err(Decision::AskHub(needs)) }
}

fn undo(
    work: &mut Work<'_>,
    undone: &Movement,
    reference: MovementRef,
    card: Option<CardNumber>,
    earned: Option<&Earned>,
) -> Decide<()> {
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
        MovementKind::Earn => {
            let Some(earned) = earned else { return refuse(DeclineCode::NotVoidable) };
            return work.take_back_points(earned, undone.amount_minor, reference);
        }
        MovementKind::Burn => {
            return work.put_on(
                undone.account,
                undone.unit,
                MovementKind::BurnReversal,
                undone.amount_minor,
                Some(reference),
            );
        }
        MovementKind::Overdraft => return work.give_back_overdraft(undone, undone.amount_minor, reference),
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
