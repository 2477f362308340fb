//! The payment of a parked sale: what became of it.
//!
//! A till whose acquirer did not answer posts the sale with its payment unknown: the basket is locked and its stored value stays taken, so that
//! nobody sells the same goods or spends the same value twice. Invariant: a parked sale ends in exactly one of two ways, as paid or as void, on
//! whatever day somebody finds out.

use super::void::undo_all;
use super::{Decision, Holdings, ReceiptChange, ReceiptState, Situation, Work, faulty, refuse, settle};
use crate::decline::DeclineCode;
use crate::entry::{Body, Earned, Entry, Payment, TenderLine, Void};
use crate::movement::MovementKind;
use crate::till::{PaymentOutcome, ResolvePayment};
use crate::unit::Unit;

/// Says whether a parked sale was paid. A sale that was not is undone: what its other tenders paid goes back.
#[must_use]
pub fn resolve_payment(
    situation: &Situation<'_>,
    original: &Entry,
    state: &ReceiptState,
    holdings: &Holdings,
    request: &ResolvePayment,
) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, &[], holdings)?;
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
                let tender = TenderLine { reference, ..line.clone() };
                if let Some(Earned { account, points, .. }) = sale.earned {
                    work.put_on(account, Unit::Points, MovementKind::Earn, points, None)?;
                }
                let body = Payment { of, currency: sale.currency, tender, movements: work.movements.clone() };
                let mut plan = work.plan(Body::Payment(body));
                plan.receipt = Some(ReceiptChange::Paid { of });
                Ok(plan)
            }
            PaymentOutcome::Failed => {
                undo_all(&mut work, original, None)?;
                let body = Void {
                    of,
                    of_kind: original.header.kind.clone(),
                    reason: request.reason.clone(),
                    currency: sale.currency,
                    tenders: sale.tenders.clone(),
                    movements: work.movements.clone(),
                };
                let mut plan = work.plan(Body::Void(body));
                // What never came does not go back.
                let came = sale.tenders.iter().enumerate().filter(|&(at, _)| at != unknown);
                plan.refunds = came.map(|(_, line)| line.clone()).collect();
                plan.receipt = Some(ReceiptChange::Voided { of });
                Ok(plan)
            }
        }
    })())
}
