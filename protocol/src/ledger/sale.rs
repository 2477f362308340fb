//! A sale: a priced basket paid with any mix of tenders, and the points that it earns.
//!
//! Which tender paid which part of which line is `allocation`'s to say, by which rule points are counted `earning`'s.

use super::allocation::allocate;
use super::basket::{Earner, PricedBasket, paid};
use super::invoice::by_rate;
use super::{
    Decide, Decision, EndedHold, Holdings, Hub, ReceiptChange, ReceiptState, Situation, Work, check_reference, faulty,
    refuse, settle, unknown_tender,
};
use crate::allotment::rule::Sound;
use crate::allotment::{Holding, HoldingEvent, Purse};
use crate::card::{Card, CardNumber};
use crate::decline::DeclineCode;
use crate::entry::{Body, DeferredEarning, Earned, Sale};
use crate::movement::{Movement, MovementKind};
use crate::points::BurnRule;
use crate::policy::{Policy, Tender, TenderClass};
use crate::till::{AMOUNT_MINOR_MAX, HoldState, PostSale};
use crate::unit::Unit;
use crate::wire::{Need, Purpose};

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
        let (mut needs, mut ended) = (Vec::new(), Vec::new());
        // What was promised pays first: what a card may pay beside its hold does not depend on the order of the lines.
        let mut order: Vec<usize> = (0..tenders.len()).collect();
        order.sort_by_key(|&index| request.tenders[index].hold.is_none());
        order.retain(|&index| tenders[index].class.needs_card() && request.tenders[index].card.is_some());
        let mut places = Vec::new();
        for &index in &order {
            let (line, tender) = (&request.tenders[index], tenders[index]);
            let Some(number) = line.card else { continue };
            let taken = match tender.class {
                _ if line.hold.is_some() => capture(&mut work, request, index, unit).map(|hold| ended.push(hold)),
                TenderClass::Points => burn(&mut work, number, index, request, basket.total_minor),
                _ => spend(&mut work, number, unit, MovementKind::Spend, line.amount_minor),
            };
            match taken {
                Ok(()) => {}
                Err(Decision::AskHub(more)) => needs.extend(more),
                Err(decision) => return Err(decision),
            }
            // A tender may take two: what the account has, and what it overdraws.
            places.resize(work.movements.len(), index);
        }
        if !needs.is_empty() {
            return Err(Decision::AskHub(needs)); // One call for all cards of the basket.
        }
        // A return finds what each tender took off by its place.
        let mut moved: Vec<(usize, Movement)> = places.into_iter().zip(work.movements.drain(..)).collect();
        moved.sort_by_key(|&(index, _)| index);
        work.movements = moved.into_iter().map(|(_, movement)| movement).collect();
        let allocation = allocate(situation, cards, request, basket, &tenders)?;
        let mut sale = Sale {
            currency: request.currency,
            member: request.member,
            shopper: basket.shopper.clone(),
            coupons: basket.coupons.clone(),
            budgets_spent: basket.budgets_spent.clone(),
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
            deferred: None,
            movements: Vec::new(),
        };
        sale.invoiceable = by_rate(&sale, |tender, line| sale.allocation[tender][line]);
        match earn(&mut work, &sale, basket, &tenders)? {
            Some(Earning::Here(earned)) => sale.earned = Some(earned),
            Some(Earning::Deferred(deferred)) => sale.deferred = Some(Box::new(deferred)),
            None => {}
        }
        sale.movements.clone_from(&work.movements);
        let mut plan = work.plan(Body::Sale(sale));
        plan.ended = ended;
        plan.given.clone_from(&basket.own_given);
        let rule = basket.terms.as_ref().and_then(|terms| terms.pending);
        let points_pending = rule.zip(situation.day).map(|(rule, today)| rule.of(today));
        if request.payment_unknown.is_some() {
            // Its points are given when it is paid, maybe under yet another policy.
            let state = ReceiptState { parked: true, points_pending, ..ReceiptState::default() };
            plan.receipt = Some(ReceiptChange::Made { state });
        } else {
            plan.points_pending = points_pending;
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
        if line.hold.is_some() && tender.class != TenderClass::StoredValue {
            return faulty(path("hold"), "is of stored value; this tender is none, leave it out");
        }
        if line.hold.is_some() && request.tenders[..index].iter().any(|other| other.hold == line.hold) {
            return faulty(path("hold"), "is there twice; a hold is captured once");
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
    let account = may_spend(work, number, unit, amount_minor)?.account;
    let movement =
        Movement { account, unit, kind, amount_minor, of: None, origin_store: None, shortfall_minor: 0, owed_by: None };
    work.take_off(number, movement, DeclineCode::Insufficient)
}

/// Whether a card may pay so much here and now, as far as its account has it.
pub(super) fn may_spend<'a>(
    work: &mut Work<'a>,
    number: CardNumber,
    unit: Unit,
    amount_minor: i64,
) -> Decide<&'a Card> {
    work.may_take_off(number)?;
    let card = work.card_in_use(number, unit, amount_minor, Purpose::Spend)?;
    if let (Some(last), Some(today)) = (card.expires_on, work.situation.day)
        && today > last
    {
        return Err(Decision::of_card(DeclineCode::CardExpired, number));
    }
    if unit != Unit::Points {
        may_pay(work, card, unit, amount_minor)?;
    }
    ladder(work, card, unit, amount_minor)?;
    Ok(card)
}

/// Pays with a hold. It was promised when the card was good: neither what became of the card since nor any limit is asked again, nor the hub.
fn capture(work: &mut Work<'_>, request: &PostSale, index: usize, unit: Unit) -> Decide<EndedHold> {
    let line = &request.tenders[index];
    let (Some(number), Some(id)) = (line.card, line.hold) else { return refuse(DeclineCode::HoldUnknown) };
    work.may_take_off(number)?;
    let Some(hold) = work.situation.holds.iter().find(|hold| hold.id == id) else {
        return Err(Decision::of_card(DeclineCode::HoldUnknown, number));
    };
    let opens = |card: &Card| card.number == number && card.account == hold.account;
    if hold.card != number && !work.cards.iter().any(opens) {
        return faulty(
            format!("tenders[{index}].card"),
            "does not open the account of the hold; name the card of the hold",
        );
    }
    if !hold.term().pays(&Sound) {
        return Err(Decision::of_card(DeclineCode::HoldEnded, number));
    }
    let amount_minor = line.amount_minor;
    if amount_minor > hold.amount_minor {
        return Err(Decision::over_limit(DeclineCode::HoldExceeded, number, unit, hold.amount_minor, amount_minor));
    }
    let movement = Movement {
        account: hold.account,
        unit,
        kind: MovementKind::Spend,
        amount_minor,
        of: None,
        origin_store: None,
        shortfall_minor: 0,
        owed_by: None,
    };
    let event = HoldingEvent::Capture { held_minor: hold.amount_minor, amount_minor };
    if let Err(refusal) = work.move_value(movement, event) {
        return faulty(format!("tenders[{index}].hold"), refusal.to_string());
    }
    Ok(EndedHold { id, state: HoldState::Captured, captured_minor: Some(amount_minor) })
}

/// What an account has paid of this receipt, and would pay with so much more.
fn of_receipt(work: &Work<'_>, card: &Card, unit: Unit, more_minor: i64) -> i64 {
    let whose = |moved: &&Movement| moved.owed_by.unwrap_or(moved.account) == card.account && moved.unit == unit;
    let paid = work.movements.iter().filter(whose);
    paid.fold(more_minor, |sum, moved| sum.saturating_add(moved.amount_minor))
}

/// What the product of a card says of paying here, and so much.
fn may_pay(work: &Work<'_>, card: &Card, unit: Unit, amount_minor: i64) -> Decide<()> {
    let Some(product) = work.situation.policy.product(card) else { return Ok(()) };
    if !product.scope.holds_in(work.situation.store) {
        return Err(Decision::of_card(DeclineCode::CardScope, card.number));
    }
    let needed_minor = of_receipt(work, card, unit, amount_minor);
    let today = work.situation.spent_today.iter().find(|(account, _)| *account == card.account);
    // What is held may be spent today, whatever else is.
    let held_minor = work.holdings.get(Purse { account: card.account, unit }).held_minor;
    let gone_minor = today.map_or(0, |(_, spent_minor)| *spent_minor).saturating_add(held_minor);
    let left_today_minor = product.spend_day_minor_max.saturating_sub(gone_minor);
    let most_minor = product.spend_minor_max.min(left_today_minor);
    if needed_minor > most_minor {
        return Err(Decision::over_limit(DeclineCode::SpendLimit, card.number, unit, most_minor, needed_minor));
    }
    Ok(())
}

/// What the ladder says of a card that can be reported lost. A hub that answers knows whether it was, so it is asked before anything is refused.
fn ladder(work: &mut Work<'_>, card: &Card, unit: Unit, amount_minor: i64) -> Decide<()> {
    let Some(rung) = work.situation.rung.filter(|rung| rung.bearer_cards || card.member.is_some()) else {
        return Ok(());
    };
    let limit = if unit == Unit::Points { rung.points_max } else { rung.value_minor_max };
    let needed_minor = of_receipt(work, card, unit, amount_minor);
    let Some(most_minor) = limit.filter(|most_minor| needed_minor > *most_minor) else { return Ok(()) };
    match work.situation.hub {
        Hub::Answered { .. } => Ok(()),
        Hub::Unreachable | Hub::Closed => {
            Err(Decision::over_limit(DeclineCode::OfflineLimit, card.number, unit, most_minor, needed_minor))
        }
        Hub::NotAsked => {
            let purse = Purse { account: card.account, unit };
            let missing_minor = amount_minor.saturating_sub(work.holdings.get(purse).available_minor()).max(0);
            // It is asked once for all: what is here is used up, so that a second line on the account asks for all of its amount.
            work.holdings.put(purse, Holding::default());
            Err(Decision::AskHub(vec![Need { card: card.number, unit, missing_minor, purpose: Purpose::Spend }]))
        }
    }
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
    confirmed(work, number, points)?;
    spend(work, number, Unit::Points, MovementKind::Burn, points)
}

/// Points that are pending may stay out of reach: the goods that earned them may come back. Others are asked of the hub, once.
fn confirmed(work: &mut Work<'_>, number: CardNumber, points: i64) -> Decide<()> {
    let account = work.card_in_use(number, Unit::Points, points, Purpose::Spend)?.account;
    let purse = Purse { account, unit: Unit::Points };
    let here = work.holdings.get(purse).available_minor();
    let pending = work.holdings.pending(account).min(here);
    if pending == 0 || here - pending >= points {
        return Ok(());
    }
    if *work.situation.hub == super::Hub::NotAsked {
        let missing_minor = points - (here - pending);
        // As what is confirmed here is used up, a second line on the account asks for all of its points.
        work.holdings.put(purse, Holding::default());
        let need = Need { card: number, unit: Unit::Points, missing_minor, purpose: Purpose::Spend };
        return Err(Decision::AskHub(vec![need]));
    }
    let mut decline = crate::decline::Decline::of_card(DeclineCode::PointsPending, number);
    decline.unit = Some(Unit::Points);
    (decline.available_here_minor, decline.needed_minor) = (Some(here - pending), Some(points));
    Err(Decision::Declined(Box::new(decline)))
}

/// What a sale earned, and who gives it.
enum Earning {
    /// This store.
    Here(Earned),
    /// Head office.
    Deferred(DeferredEarning),
}

/// The points of a sale, put onto the account that earns where this store knows it. Those of a sale whose payment is not known wait until it is.
fn earn(work: &mut Work<'_>, sale: &Sale, basket: &PricedBasket, tenders: &[&Tender]) -> Decide<Option<Earning>> {
    let (Some(terms), Some(earner)) = (&basket.terms, basket.earner) else { return Ok(None) };
    let lines = indexes(basket.earns_points.iter().copied());
    let tenders = indexes(tenders.iter().map(|tender| terms.earns_with(tender)));
    let paid = |tender: u16| lines.iter().map(move |&line| sale.allocation[usize::from(tender)][usize::from(line)]);
    let base_minor: i64 = tenders.iter().flat_map(|&tender| paid(tender)).sum();
    let Some(points) = terms.points_of(base_minor).ok().filter(|&points| points <= AMOUNT_MINOR_MAX) else {
        return faulty("lines", "earn more points than can be counted");
    };
    if points == 0 {
        return Ok(None);
    }
    Ok(Some(match earner {
        Earner::Here(card, account) => {
            if sale.payment_unknown.is_none() {
                work.put_on(account, Unit::Points, MovementKind::Earn, points, None)?;
            }
            Earning::Here(Earned { card, account, base_minor, points, lines, tenders })
        }
        Earner::Deferred(card) => Earning::Deferred(DeferredEarning { card, base_minor, points, lines, tenders }),
    }))
}

/// The positions of what is so.
fn indexes(flags: impl Iterator<Item = bool>) -> Vec<u16> {
    (0_u16..).zip(flags).filter(|&(_, is)| is).map(|(index, _)| index).collect()
}
