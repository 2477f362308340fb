//! Voids: an operation of the open day undone, as if it had not been.
//!
//! What is of an earlier day, or came back in part, is not voided: it is returned.

use super::{Decide, Decision, Holdings, ReceiptChange, ReceiptState, Situation, Work, refuse, settle};
use crate::allotment::Purse;
use crate::card::{Card, CardNumber, CardStatus};
use crate::decline::DeclineCode;
use crate::entry::{Body, Entry, Sale, Void};
use crate::movement::{Movement, MovementKind, MovementRef};
use crate::till::VoidOperation;
use crate::unit::Unit;

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
        if state.parked {
            return refuse(DeclineCode::PaymentUnknown);
        }
        if state.invoice.is_some() {
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
        undo_all(&mut work, original, card.map(|(number, _)| number))?;
        if let (Body::Sale(Sale { earned: Some(earned), .. }), Some(entry)) = (&original.body, state.paid_by) {
            work.take_back_points(earned.account, earned.points, MovementRef { entry, index: 0 })?;
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

/// Undoes every movement of an operation; what has to be asked of the hub for it is asked in one call.
pub(super) fn undo_all(work: &mut Work<'_>, original: &Entry, card: Option<CardNumber>) -> Decide<()> {
    let mut needs = Vec::new();
    for (index, undone) in original.body.movements().iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        match undo(work, undone, MovementRef { entry: original.header.id(), index }, card) {
            Ok(()) => {}
            Err(Decision::AskHub(more)) => needs.extend(more),
            Err(decision) => return Err(decision),
        }
    }
    if needs.is_empty() { Ok(()) } else { Err(Decision::AskHub(needs)) }
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
        MovementKind::Earn => return work.take_back_points(undone.account, undone.amount_minor, reference),
        MovementKind::Burn => {
            return work.put_on(
                undone.account,
                undone.unit,
                MovementKind::BurnReversal,
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
