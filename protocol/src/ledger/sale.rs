//! A sale: a basket paid with any mix of tenders.
//!
//! Which tender paid which part of which line is decided here, once; returns read it and never compute it again.

use super::invoice::by_rate;
use super::{
    Decide, Decision, Holdings, ReceiptChange, ReceiptState, Situation, Work, faulty, refuse, settle, unknown_tender,
};
use crate::card::{Card, CardNumber};
use crate::decline::DeclineCode;
use crate::entry::{Body, Sale};
use crate::money::split;
use crate::movement::{Movement, MovementKind};
use crate::policy::TenderClass;
use crate::till::PostSale;
use crate::unit::Unit;
use crate::wire::Purpose;

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
            let by_card = tender.class == TenderClass::StoredValue;
            if by_card && request.taken_at_ms.is_some() {
                let fault = "is stored value; a receipt taken while the edge was down cannot have been paid with it";
                return faulty(path("tender"), fault);
            }
            if by_card && request.payment_unknown == u16::try_from(index).ok() {
                let fault = format!("is {index}, which is stored value; only what is paid outside can be unknown");
                return faulty("payment_unknown", fault);
            }
            stored_value.push(by_card);
            let number = match (tender.class, line.card) {
                (TenderClass::StoredValue, None) => {
                    return faulty(path("card"), "is missing; stored value needs the card");
                }
                (TenderClass::StoredValue, Some(number)) => number,
                // Points have no counter here that could be debited, so nothing may be paid with them.
                (TenderClass::Points, _) => return refuse(DeclineCode::TenderNotAllowed),
                (_, Some(_)) => {
                    return faulty(path("card"), "does not belong to this tender; leave it out");
                }
                (_, None) => continue,
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
        let mut sale = Sale {
            currency: request.currency,
            member: request.member,
            lines: request.lines.clone(),
            tenders: request.tenders.clone(),
            total_minor,
            allocation,
            invoiceable: Vec::new(),
            payment_unknown: request.payment_unknown,
            taken_at_ms: request.taken_at_ms,
            movements: work.movements.clone(),
        };
        sale.invoiceable = by_rate(situation.policy, &sale, |tender, line| sale.allocation[tender][line]);
        let mut plan = work.plan(Body::Sale(sale));
        if request.payment_unknown.is_some() {
            plan.receipt =
                Some(ReceiptChange::Made { state: ReceiptState { parked: true, ..ReceiptState::default() } });
        }
        Ok(plan)
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
