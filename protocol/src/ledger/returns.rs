//! Returns: goods of a receipt, and goods without one.
//!
//! Invariant: what comes back of a line, over all its returns, is exactly what each tender had paid for it, to the cent.

use super::invoice::by_rate;
use super::{Decide, Decision, Holdings, ReceiptChange, ReceiptState, Situation, Work, faulty, refuse, settle};
use crate::card::Card;
use crate::decline::DeclineCode;
use crate::entry::{Body, Entry, RedLetter, Return, ReturnLine, Sale, TenderLine, UnreferencedReturn};
use crate::money::{Rounding, reversal};
use crate::movement::{MovementKind, MovementRef};
use crate::policy::{Policy, TenderClass};
use crate::till::{Fault, PostReturn, PostUnreferencedReturn};
use crate::wire::Purpose;

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
        if state.parked {
            return refuse(DeclineCode::PaymentUnknown);
        }
        let of = original.header.id();
        let mut next = state.clone();
        next.returned_thousandths.resize(sale.lines.len(), 0);
        next.refunded_minor.resize(sale.tenders.len(), Vec::new());
        next.refunded_minor.iter_mut().for_each(|row| row.resize(sale.lines.len(), 0));
        let mut lines = Vec::with_capacity(request.items.len());
        let mut refunds = vec![0_i64; sale.tenders.len()];
        let mut parts = vec![vec![0_i64; sale.lines.len()]; sale.tenders.len()];
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
                parts[tender][at] += part;
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
            red_letter: red_letter(situation.policy, sale, state, &parts),
            movements: work.movements.clone(),
        };
        let mut plan = work.plan(Body::Return(body));
        plan.refunds = tenders;
        plan.receipt = Some(ReceiptChange::Changed { of, state: next });
        Ok(plan)
    })())
}

/// What the tax invoice over the sale must be lowered by, when it has one.
fn red_letter(policy: &Policy, sale: &Sale, state: &ReceiptState, parts: &[Vec<i64>]) -> Option<RedLetter> {
    let invoice = state.invoice.clone()?;
    let invoiceable = by_rate(policy, sale, |tender, line| parts[tender][line]);
    (!invoiceable.is_empty()).then_some(RedLetter { invoice, invoiceable })
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
