//! Returns: goods of a receipt, and goods without one.
//!
//! Invariant: what comes back of a line, over all its returns, is exactly what each tender had paid for it, to the cent.

use std::collections::BTreeMap;

use super::basket;
use super::invoice::by_rate;
use super::overdraft::Paid;
use super::{
    Decide, Decision, Holdings, ReceiptChange, ReceiptState, Situation, Work, faulty, goes_back, is_paper, paid_line,
    points_of, refuse, settle,
};
use crate::card::Card;
use crate::decline::DeclineCode;
use crate::entry::{
    Body, DeferredEarning, Entry, RedLetter, Return, ReturnLine, Sale, SaleLine, TenderLine, UnreferencedReturn,
};
use crate::funding::by_party;
use crate::id::{EntryId, PromotionId, StoreId};
use crate::money::{MoneyError, Rounding, part, reversal};
use crate::movement::{MovementKind, MovementRef};
use crate::policy::{Policy, RefundRoute, TenderClass};
use crate::pricing::FundedPart;
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
        let mut given: BTreeMap<PromotionId, i64> = BTreeMap::new();
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
            let funded = funded(of.store, sold, cumulative - item.quantity_thousandths, cumulative)
                .map_err(|error| Decision::Faulty(Fault::new(format!("items[{index}]"), error.to_string())))?;
            given_by(sold, cumulative - item.quantity_thousandths, cumulative, &mut given)
                .map_err(|error| Decision::Faulty(Fault::new(format!("items[{index}]"), error.to_string())))?;
            let quantity_thousandths = item.quantity_thousandths;
            lines.push(ReturnLine { line: item.line, quantity_thousandths, amount_minor, funded });
        }
        let paid = |at: usize| paid_line(sale, state, at);
        let tenders: Vec<TenderLine> = refunds
            .iter()
            .enumerate()
            .filter(|&(_, &amount_minor)| amount_minor > 0)
            .map(|(at, &amount_minor)| routed(situation.policy, &paid(at), amount_minor))
            .collect();
        // What nobody paid is not paid back.
        let to_customer: Vec<TenderLine> =
            tenders.iter().filter(|line| goes_back(situation.policy, line)).cloned().collect();
        back_onto_cards(&mut work, of, sale, state, &refunds)?;
        points_back(&mut work, of, sale, state, &next)?;
        let deferred_points = match sale.deferred.as_deref() {
            Some(DeferredEarning { base_minor, points, lines, tenders, .. }) => {
                part_back((*base_minor, *points), lines, tenders, state, &next)?
            }
            None => 0,
        };
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
            tenders,
            refunds: to_customer.clone(),
            total_minor,
            red_letter: red_letter(sale, state, &parts),
            deferred_points,
            movements: work.movements.clone(),
        };
        let cards = work.withdrawn();
        let mut plan = work.plan(Body::Return(body));
        plan.given = given.into_iter().map(|(id, amount_minor)| (id, -amount_minor)).collect();
        (plan.cards, plan.refunds) = (cards, to_customer);
        plan.freed = papers_back(situation.policy, sale, &refunds, &next).map(paid).collect();
        plan.receipt = Some(ReceiptChange::Changed { of, state: next });
        Ok(plan)
    })())
}

fn route(policy: &Policy, line: &TenderLine) -> RefundRoute {
    policy.tender(line.tender).map(|tender| tender.refund).unwrap_or_default()
}

/// The line by which a part that a tender had paid goes back.
fn routed(policy: &Policy, line: &TenderLine, amount_minor: i64) -> TenderLine {
    let cash = policy.tenders.iter().find(|tender| tender.gives_change);
    match (route(policy, line), cash) {
        (RefundRoute::Cash, Some(cash)) => {
            TenderLine { tender: cash.code, amount_minor, card: None, reference: None, hold: None }
        }
        _ => TenderLine { amount_minor, ..line.clone() },
    }
}

/// The papers, by tender, that this return gave back the last of. One that was paid out in cash, or whose refund goes nowhere, is not in its owner's
/// hands; nor is one of which a part is still spent.
fn papers_back<'a>(
    policy: &'a Policy,
    sale: &'a Sale,
    refunds: &'a [i64],
    after: &'a ReceiptState,
) -> impl Iterator<Item = usize> + 'a {
    let whole = |at: usize| after.refunded_minor[at].iter().sum::<i64>() == sale.tenders[at].amount_minor;
    let same = |at: usize| route(policy, &sale.tenders[at]) == RefundRoute::SameTender;
    (0..sale.tenders.len())
        .filter(move |&at| refunds[at] > 0 && is_paper(policy, &sale.tenders[at]) && same(at) && whole(at))
}

/// Puts back what cards had paid: value as value, points as points. `state` is the receipt before this return.
fn back_onto_cards(work: &mut Work<'_>, of: EntryId, sale: &Sale, state: &ReceiptState, refunds: &[i64]) -> Decide<()> {
    let mut place = 0_u16;
    for (at, (tender, &refund_minor)) in sale.tenders.iter().zip(refunds).enumerate() {
        if tender.card.is_none() {
            continue;
        }
        // What cards paid stands in the entry in the order of the tenders that have one, each followed by what it overdrew.
        let Paid { own, overdrawn } = Paid::of(tender, &sale.movements, &mut place);
        let back_minor: i64 = state.refunded_minor.get(at).map_or(0, |row| row.iter().sum());
        let to_line_minor = match overdrawn {
            Some((index, undone)) if refund_minor > 0 => {
                let to_line_minor = undone.amount_minor.saturating_sub(back_minor).clamp(0, refund_minor);
                work.give_back_overdraft(undone, to_line_minor, MovementRef { entry: of, index })?;
                to_line_minor
            }
            _ => 0,
        };
        let amount_minor = refund_minor - to_line_minor;
        let (Some((index, undone)), true) = (own, amount_minor > 0) else { continue };
        let reference = MovementRef { entry: of, index };
        let (kind, amount) = match undone.kind {
            MovementKind::Burn => {
                let points = part(
                    undone.amount_minor,
                    tender.amount_minor,
                    back_minor,
                    back_minor + amount_minor,
                    Rounding::HalfUp,
                )
                .map_err(|error| Decision::Faulty(Fault::new("items", error.to_string())))?;
                (MovementKind::BurnReversal, points)
            }
            _ => (MovementKind::SpendReturn, amount_minor),
        };
        if amount > 0 {
            work.put_on(undone.account, undone.unit, kind, amount, Some(reference))?;
        }
    }
    Ok(())
}

/// Takes back the points that what comes back had earned.
fn points_back(
    work: &mut Work<'_>,
    of: EntryId,
    sale: &Sale,
    before: &ReceiptState,
    after: &ReceiptState,
) -> Decide<()> {
    let Some(earned) = sale.earned.as_ref().filter(|_| !before.points_waived) else { return Ok(()) };
    let points = part_back((earned.base_minor, earned.points), &earned.lines, &earned.tenders, before, after)?;
    work.take_back_points(earned, points, points_of(of, sale, before))
}

/// The points that what comes back had earned: cumulative, so that all of it takes all of them back.
fn part_back(
    (base_minor, points): (i64, i64),
    lines: &[u16],
    tenders: &[u16],
    before: &ReceiptState,
    after: &ReceiptState,
) -> Decide<i64> {
    let base_back = |state: &ReceiptState| -> i64 {
        let parts = tenders.iter().filter_map(|&tender| state.refunded_minor.get(usize::from(tender)));
        parts.flat_map(|row| lines.iter().filter_map(|&line| row.get(usize::from(line)))).sum()
    };
    part(points, base_minor, base_back(before), base_back(after), Rounding::HalfUp)
        .map_err(|error| Decision::Faulty(Fault::new("items", error.to_string())))
}

/// What of a line's discounts goes back to those who bore them, when more of it comes back: cumulative, so that all of it gives back all.
fn funded(store: StoreId, sold: &SaleLine, before: i64, after: i64) -> Result<Vec<FundedPart>, MoneyError> {
    let back = sold.borne(store).map(|borne| {
        let amount_minor = part(borne.amount_minor, sold.quantity_thousandths, before, after, Rounding::HalfUp)?;
        Ok(FundedPart { amount_minor, ..borne })
    });
    by_party(back.collect::<Result<Vec<_>, MoneyError>>()?)
}

/// What promotions had given on the part of a line that comes back: cumulative like all of it, so that a budget is back where it was.
fn given_by(
    sold: &SaleLine,
    before: i64,
    after: i64,
    given: &mut BTreeMap<PromotionId, i64>,
) -> Result<(), MoneyError> {
    for (id, amount_minor) in basket::given(sold.discounts.iter()) {
        *given.entry(id).or_insert(0) +=
            part(amount_minor, sold.quantity_thousandths, before, after, Rounding::HalfUp)?;
    }
    Ok(())
}

/// What the tax invoice over the sale must be lowered by, when it has one.
fn red_letter(sale: &Sale, state: &ReceiptState, parts: &[Vec<i64>]) -> Option<RedLetter> {
    let invoice = state.invoice.clone()?;
    let invoiceable = by_rate(sale, |tender, line| parts[tender][line]);
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
        work.may_put_on(MovementKind::UnreferencedReturn, Some(request.card))?;
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
            hold: None,
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
