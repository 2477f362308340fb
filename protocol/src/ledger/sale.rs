//! A sale: a priced basket paid with any mix of tenders, and the points that it earns.
//!
//! Which tender paid which part of which line is decided here, once; returns read it and never compute it again.

use super::basket::{PricedBasket, paid};
use super::invoice::by_rate;
use super::{
    Decide, Decision, Holdings, ReceiptChange, ReceiptState, Situation, Work, check_reference, faulty, refuse, settle,
    unknown_tender,
};
use crate::card::{Card, CardNumber};
use crate::decline::DeclineCode;
use crate::entry::{Body, Earned, Sale};
use crate::money::{Ppm, split};
use crate::movement::{Movement, MovementKind};
use crate::points::BurnRule;
use crate::policy::{Policy, Tender, TenderClass};
use crate::pricing::Shopper;
use crate::till::{AMOUNT_MINOR_MAX, PostSale};
use crate::unit::Unit;
use crate::wire::Purpose;

/// Posts a sale of a priced basket, with any mix of tenders.
#[must_use]
pub fn post_sale(
    situation: &Situation<'_>,
    cards: &[Card],
    holdings: &Holdings,
    request: &PostSale,
    basket: &PricedBasket,
) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let unit = work.currency(request.currency)?;
        paid(basket, &request.tenders)?;
        let tenders = catalogued(situation.policy, request)?;
        let mut needs = Vec::new();
        for (index, (line, tender)) in request.tenders.iter().zip(&tenders).enumerate() {
            let Some(number) = line.card.filter(|_| tender.class.needs_card()) else { continue };
            let taken = match tender.class {
                TenderClass::Points => burn(&mut work, number, index, request, basket.total_minor),
                _ => spend(&mut work, number, unit, MovementKind::Spend, line.amount_minor),
            };
            match taken {
                Ok(()) => {}
                Err(Decision::AskHub(more)) => needs.extend(more),
                Err(decision) => return Err(decision),
            }
        }
        if !needs.is_empty() {
            return Err(Decision::AskHub(needs)); // One call for all cards of the basket.
        }
        let allocation = allocate(request, basket, &tenders)?;
        let mut sale = Sale {
            currency: request.currency,
            member: request.member,
            shopper: basket.shopper.clone(),
            coupons: basket.coupons.clone(),
            markdowns: basket.markdowns.clone(),
            policy_version: basket.policy_version,
            priced_at_ms: basket.priced_at,
            priced_offset_minutes: basket.priced_offset,
            lines: basket.lines.clone(),
            tenders: request.tenders.clone(),
            total_minor: basket.total_minor,
            allocation,
            invoiceable: Vec::new(),
            invoiceable_tenders: indexes(tenders.iter().map(|tender| tender.invoiceable)),
            payment_unknown: request.payment_unknown,
            taken_at_ms: request.taken_at_ms,
            earned: None,
            movements: Vec::new(),
        };
        sale.invoiceable = by_rate(&sale, |tender, line| sale.allocation[tender][line]);
        sale.earned = earn(&mut work, &sale, basket, &tenders)?;
        sale.movements.clone_from(&work.movements);
        let mut plan = work.plan(Body::Sale(sale));
        if request.payment_unknown.is_some() {
            plan.receipt =
                Some(ReceiptChange::Made { state: ReceiptState { parked: true, ..ReceiptState::default() } });
        }
        Ok(plan)
    })())
}

/// The tenders in the catalogue, in the order of the lines, each used as it may be.
fn catalogued<'a>(policy: &'a Policy, request: &PostSale) -> Decide<Vec<&'a Tender>> {
    let mut tenders = Vec::with_capacity(request.tenders.len());
    for (index, line) in request.tenders.iter().enumerate() {
        let path = |field: &str| format!("tenders[{index}].{field}");
        let Some(tender) = policy.tender(line.tender) else {
            return faulty(path("tender"), unknown_tender(policy, line));
        };
        match (tender.class.needs_card(), line.card) {
            (true, None) => return faulty(path("card"), "is missing; this tender needs the card that pays"),
            (false, Some(_)) => return faulty(path("card"), "does not belong to this tender; leave it out"),
            _ => {}
        }
        let is_unknown = request.payment_unknown == u16::try_from(index).ok();
        if tender.class.needs_card() && request.taken_at_ms.is_some() {
            let fault = "is paid from a card; a receipt taken while the edge was down cannot have been paid with it";
            return faulty(path("tender"), fault);
        }
        if tender.class.needs_card() && is_unknown {
            let fault = format!("is {index}, which is paid from a card; only what is paid outside can be unknown");
            return faulty("payment_unknown", fault);
        }
        // A payment that nobody knows of has no reference yet.
        if !is_unknown && request.taken_at_ms.is_none() {
            check_reference(tender, line, index)?;
        }
        tenders.push(tender);
    }
    Ok(tenders)
}

fn spend(work: &mut Work<'_>, number: CardNumber, unit: Unit, kind: MovementKind, amount_minor: i64) -> Decide<()> {
    let card = work.card_in_use(number, unit, amount_minor, Purpose::Spend)?;
    if let (Some(last), Some(today)) = (card.expires_on, work.situation.day)
        && today > last
    {
        return Err(Decision::of_card(DeclineCode::CardExpired, number));
    }
    let account = card.account;
    let movement = Movement { account, unit, kind, amount_minor, of: None, origin_store: None, shortfall_minor: 0 };
    work.take_off(number, movement, DeclineCode::Insufficient)
}

fn burn(work: &mut Work<'_>, number: CardNumber, index: usize, request: &PostSale, total_minor: i64) -> Decide<()> {
    let Some(rule) = &work.situation.policy.points.burn else { return refuse(DeclineCode::TenderNotAllowed) };
    let line = &request.tenders[index];
    let (points, most_minor) = (rule.points_for(line.amount_minor), rule.amount_minor_max(total_minor));
    let (Some(points), Ok(most_minor)) = (points.ok().filter(|&points| points <= AMOUNT_MINOR_MAX), most_minor) else {
        return faulty(format!("tenders[{index}].amount_minor"), "is more than points can be counted for");
    };
    let BurnRule { points_min, .. } = *rule;
    let by_points = |at: usize| {
        let tender = work.situation.policy.tender(request.tenders[at].tender);
        tender.is_some_and(|tender| tender.class == TenderClass::Points)
    };
    let of_receipt: i64 =
        (0..request.tenders.len()).filter(|&at| by_points(at)).map(|at| request.tenders[at].amount_minor).sum();
    if points < points_min || of_receipt > most_minor {
        let mut decline = crate::decline::Decline::of_card(DeclineCode::PointsLimit, number);
        (decline.available_here_minor, decline.needed_minor) = (Some(most_minor), Some(of_receipt));
        return Err(Decision::Declined(Box::new(decline)));
    }
    spend(work, number, Unit::Points, MovementKind::Burn, points)
}

/// The points of a sale, put onto the account that earns. Those of a sale whose payment is not known wait until it is.
fn earn(work: &mut Work<'_>, sale: &Sale, basket: &PricedBasket, tenders: &[&Tender]) -> Decide<Option<Earned>> {
    let policy = work.situation.policy;
    let (Some(rule), Some((card, account))) = (&policy.points.earn, basket.earner) else { return Ok(None) };
    let lines = indexes(basket.earns_points.iter().copied());
    let tenders = indexes(tenders.iter().map(|tender| tender.earns_points));
    let paid = |tender: u16| lines.iter().map(move |&line| sale.allocation[usize::from(tender)][usize::from(line)]);
    let base_minor: i64 = tenders.iter().flat_map(|&tender| paid(tender)).sum();
    let points = rule.points_of(base_minor, multiplier(policy, basket.shopper.as_ref()));
    let Some(points) = points.ok().filter(|&points| points <= AMOUNT_MINOR_MAX) else {
        return faulty("lines", "earn more points than can be counted");
    };
    if points == 0 {
        return Ok(None);
    }
    if sale.payment_unknown.is_none() {
        work.put_on(account, Unit::Points, MovementKind::Earn, points, None)?;
    }
    Ok(Some(Earned { card, account, base_minor, points, lines, tenders }))
}

/// The positions of what is so.
fn indexes(flags: impl Iterator<Item = bool>) -> Vec<u16> {
    (0_u16..).zip(flags).filter(|&(_, is)| is).map(|(index, _)| index).collect()
}

/// What the shopper's tier multiplies points with; once for whom the policy has no tier.
#[must_use]
pub fn multiplier(policy: &Policy, shopper: Option<&Shopper>) -> Ppm {
    let tier = shopper.and_then(|shopper| shopper.tier);
    let tier = policy.tiers.iter().find(|known| Some(known.code) == tier);
    tier.map_or(Ppm::ONE, |tier| tier.earn_multiplier_ppm)
}

/// Which part of each line each tender pays. Stored value goes first and only to lines that it may pay; each tender takes its share of what is
/// left of the lines by largest remainder, the last one takes the rest, so that rows sum to tenders and columns to lines, to the cent.
fn allocate(request: &PostSale, basket: &PricedBasket, tenders: &[&Tender]) -> Decide<Vec<Vec<i64>>> {
    let mut left: Vec<i64> = basket.lines.iter().map(|line| line.net_minor).collect();
    let mut allocation = vec![Vec::new(); request.tenders.len()];
    let stored_value = |at: usize| tenders[at].class == TenderClass::StoredValue;
    let first = (0..request.tenders.len()).filter(|&at| stored_value(at));
    let order: Vec<usize> = first.chain((0..request.tenders.len()).filter(|&at| !stored_value(at))).collect();
    for at in order {
        let payable = |line: usize| !(stored_value(at) && basket.lines[line].flags.no_stored_value);
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
