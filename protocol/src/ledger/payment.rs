//! The payment of a parked sale: what became of it.
//!
//! A till whose acquirer did not answer posts the sale with its payment unknown: the basket is locked and its stored value stays taken, so that
//! nobody sells the same goods or spends the same value twice. Invariant: a parked sale ends in exactly one of two ways, as paid or as void, on
//! whatever day somebody finds out.

use super::void::{funded, papers, undo_all};
use super::{
    Decision, Holdings, ReceiptChange, ReceiptState, Situation, Work, check_reference, faulty, given_back, goes_back,
    paid_line, refuse, settle,
};
use crate::card::{Card, CardStatus};
use crate::decline::DeclineCode;
use crate::entry::{Body, Earned, Entry, Payment, TenderLine, Void};
use crate::movement::MovementKind;
use crate::policy::ReferenceRule;
use crate::till::{PaymentOutcome, ResolvePayment};
use crate::unit::Unit;

/// Says whether a parked sale was paid. A sale that was not is undone: what its other tenders paid goes back.
#[must_use]
pub fn resolve_payment(
    situation: &Situation<'_>,
    original: &Entry,
    state: &ReceiptState,
    cards: &[Card],
    holdings: &Holdings,
    request: &ResolvePayment,
) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let Body::Sale(sale) = &original.body else { return refuse(DeclineCode::ReceiptUnknown) };
        let Some(unknown) = sale.payment_unknown.filter(|_| state.parked) else {
            return refuse(DeclineCode::PaymentKnown);
        };
        let unknown = usize::from(unknown);
        let Some(line) = sale.tenders.get(unknown) else {
            return faulty("id", "is a receipt whose unknown tender does not exist; its entry cannot be read");
        };
        let of = original.header.id();
        match request.outcome {
            PaymentOutcome::Paid => {
                let reference = request.reference.clone().or_else(|| line.reference.clone());
                let mut tender = TenderLine { reference, ..line.clone() };
                match situation.policy.tender(tender.tender) {
                    // A sale that was paid can always be said to be: a number that the catalogue has no use for is left out.
                    Some(known) if known.reference == ReferenceRule::None => tender.reference = None,
                    Some(known) => check_reference(known, &tender, unknown)?,
                    None => {}
                }
                // A card that was given back meanwhile may be sold to somebody else: its account earns nothing more.
                let in_use = |earned: &&Earned| {
                    cards.iter().any(|card| card.number == earned.card && card.status == CardStatus::Active)
                };
                let earned = sale.earned.as_ref().filter(in_use);
                if let Some(earned) = earned {
                    work.put_on(earned.account, Unit::Points, MovementKind::Earn, earned.points, None)?;
                }
                let state = ReceiptState {
                    parked: false,
                    paid_reference: tender.reference.clone(),
                    points_waived: sale.earned.is_some() && earned.is_none(),
                    ..state.clone()
                };
                let body = Payment { of, currency: sale.currency, tender, movements: work.movements.clone() };
                let mut plan = work.plan(Body::Payment(body));
                plan.points_pending = state.points_pending;
                plan.receipt = Some(ReceiptChange::Paid { of, state });
                Ok(plan)
            }
            PaymentOutcome::Failed => {
                undo_all(&mut work, original, None)?;
                // What never came does not go back, nor what nobody had paid for.
                let tenders: Vec<TenderLine> = (0..sale.tenders.len()).map(|at| paid_line(sale, state, at)).collect();
                let came =
                    tenders.iter().enumerate().filter(|&(at, line)| at != unknown && goes_back(situation.policy, line));
                let refunds: Vec<TenderLine> = came.map(|(_, line)| line.clone()).collect();
                let body = Void {
                    of,
                    of_kind: original.header.kind.clone(),
                    reason: request.reason.clone(),
                    currency: sale.currency,
                    tenders,
                    refunds: refunds.clone(),
                    red_letter: None,
                    funded: funded(original)?,
                    movements: work.movements.clone(),
                };
                let (cards, freed) = (work.withdrawn(), papers(situation, &body));
                let mut plan = work.plan(Body::Void(body));
                (plan.cards, plan.freed, plan.refunds) = (cards, freed, refunds);
                plan.receipt = Some(ReceiptChange::Voided { of });
                plan.given = given_back(sale);
                Ok(plan)
            }
        }
    })())
}
