//! Cards at the till: sold with a first load, loaded again, frozen.
//!
//! Spending with a card belongs to `sale`, what goes back onto one to `returns`.

use super::{Decide, Decision, Holdings, Hub, Promise, Situation, Work, loading_tenders, settle};
use crate::allotment::Purse;
use crate::card::{Card, CardNumber, CardStatus};
use crate::decline::DeclineCode;
use crate::entry::{Body, CardSale, CardStatusChange, Invoiceable, TenderLine};
use crate::movement::MovementKind;
use crate::policy::Policy;
use crate::till::{FreezeCard, LoadCard};
use crate::unit::Unit;
use crate::wire::{Need, Purpose};

/// Sells a card with its initial load. Decided offline only at the store to which the card is allocated. A card that is somebody's, or that `promised` says
/// was named when somebody was enrolled, is sold only to them: who bought it would spend what head office writes down as theirs. The entry carries the buyer
/// that the request names, so that head office makes the card theirs and nobody else's.
#[must_use]
pub fn sell_card(
    situation: &Situation<'_>,
    number: CardNumber,
    cards: &[Card],
    promised: Option<Promise>,
    holdings: &Holdings,
    request: &LoadCard,
) -> Decision {
    settle((|| {
        request.check(0).map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let unit = work.currency(request.currency)?;
        loading_tenders(situation, &request.tenders)?;
        work.may_put_on(MovementKind::CardSale, Some(number))?;
        let card = work.card(number, unit, 0, Purpose::Sell)?;
        if !card.status.may_sell() {
            return Err(Decision::of_card(DeclineCode::CardAlreadySold, number));
        }
        let promised = promised.filter(|promise| card.member.is_none() || card.member == promise.member);
        let owner = card.member.or(promised.and_then(|promise| promise.member));
        let draft = promised.map(|promise| promise.draft);
        let is_theirs = (owner.is_some() && request.member == owner) || (draft.is_some() && request.draft == draft);
        if (owner.is_some() || draft.is_some()) && !is_theirs {
            return Err(Decision::of_card(DeclineCode::CardHasMember, number));
        }
        if card.allocated_store != Some(situation.store) {
            return Err(match situation.hub {
                Hub::NotAsked => {
                    Decision::AskHub(vec![Need { card: number, unit, missing_minor: 0, purpose: Purpose::Sell }])
                }
                Hub::Answered { .. } | Hub::Unreachable | Hub::Closed => {
                    Decision::of_card(DeclineCode::NotAllocatedHere, number)
                }
            });
        }
        // Whoever buys a card buys what is loaded now, and nothing that somebody before left behind it.
        if [unit, Unit::Points]
            .iter()
            .any(|&unit| holdings.get(Purse { account: card.account, unit }).counters.available() > 0)
        {
            return Err(Decision::of_card(DeclineCode::CardInUse, number));
        }
        limits(situation, card, unit, holdings, request)?;
        load(&mut work, card, unit, MovementKind::CardSale, request)?;
        // Sold to the member under whose draft it was kept, it is sold under that draft too.
        let body =
            CardSale { member: request.member, draft: draft.or(request.draft), ..load_body(card, request, &work) };
        let mut plan = work.plan(Body::CardSale(body));
        plan.cards = vec![(number, CardStatus::Active)];
        Ok(plan)
    })())
}

/// Loads a card again. Never needs the hub for a card that is in use here.
#[must_use]
pub fn reload_card(
    situation: &Situation<'_>,
    number: CardNumber,
    cards: &[Card],
    holdings: &Holdings,
    request: &LoadCard,
) -> Decision {
    settle((|| {
        request.check(1).map_err(Decision::Faulty)?;
        let mut work = Work::new(situation, cards, holdings)?;
        let unit = work.currency(request.currency)?;
        loading_tenders(situation, &request.tenders)?;
        work.may_put_on(MovementKind::Reload, Some(number))?;
        let card = work.card_in_use(number, unit, 0, Purpose::Look)?;
        limits(situation, card, unit, holdings, request)?;
        load(&mut work, card, unit, MovementKind::Reload, request)?;
        let body = load_body(card, request, &work);
        Ok(work.plan(Body::CardReload(body)))
    })())
}

fn limits(situation: &Situation<'_>, card: &Card, unit: Unit, holdings: &Holdings, request: &LoadCard) -> Decide<()> {
    let Some(product) = situation.policy.product(card) else { return Ok(()) };
    let load_minor = request.amount_minor.saturating_add(request.bonus_minor);
    // What is held is in the account like the rest.
    let held_minor = holdings.get(Purse { account: card.account, unit }).counters.available_minor();
    let limit =
        |code, most_minor, needed_minor| Err(Decision::over_limit(code, card.number, unit, most_minor, needed_minor));
    let loads = &product.scope.load_tenders;
    if !loads.is_empty() && request.tenders.iter().any(|line| !loads.contains(&line.tender)) {
        return Err(Decision::of_card(DeclineCode::TenderNotAllowed, card.number));
    }
    if load_minor > product.load_minor_max {
        return limit(DeclineCode::LoadLimit, product.load_minor_max, load_minor);
    }
    if held_minor.saturating_add(load_minor) > product.balance_minor_max {
        return limit(DeclineCode::BalanceLimit, product.balance_minor_max, held_minor.saturating_add(load_minor));
    }
    Ok(())
}

fn load(work: &mut Work<'_>, card: &Card, unit: Unit, kind: MovementKind, request: &LoadCard) -> Decide<()> {
    work.put_on(card.account, unit, kind, request.amount_minor, None)?;
    if request.bonus_minor > 0 {
        work.put_on(card.account, unit, MovementKind::Bonus, request.bonus_minor, None)?;
    }
    Ok(())
}

fn load_body(card: &Card, request: &LoadCard, work: &Work<'_>) -> CardSale {
    CardSale {
        card: card.number,
        account: card.account,
        product: card.product,
        currency: request.currency,
        principal_minor: request.amount_minor,
        bonus_minor: request.bonus_minor,
        tenders: request.tenders.clone(),
        invoiceable: invoiceable(work.situation.policy, card, request),
        member: None,
        draft: None,
        movements: work.movements.clone(),
    }
}

/// What of a load may stand on an invoice: what was paid with tenders that are invoiced, under the product's own tax code.
fn invoiceable(policy: &Policy, card: &Card, request: &LoadCard) -> Vec<Invoiceable> {
    let code = policy.product(card).and_then(|product| product.invoice_tax_code.clone());
    let invoiced = |line: &&TenderLine| policy.tender(line.tender).is_some_and(|tender| tender.invoiceable);
    let paid_minor: i64 = request.tenders.iter().filter(invoiced).map(|line| line.amount_minor).sum();
    match code {
        Some(code) if paid_minor > 0 => {
            vec![Invoiceable { tax_code: Some(code), tax_ppm: 0, invoiceable_minor: paid_minor }]
        }
        _ => Vec::new(),
    }
}

/// Freezes a card. Possible whether a day is open or not, and without a line.
#[must_use]
pub fn freeze_card(situation: &Situation<'_>, number: CardNumber, cards: &[Card], request: &FreezeCard) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        let work = Work { situation, cards, holdings: Holdings::default(), movements: Vec::new(), touched: Vec::new() };
        let card = work.card_in_use(number, Unit::Money(situation.policy.currency), 0, Purpose::Look)?;
        let change = CardStatusChange {
            card: number,
            account: card.account,
            status: CardStatus::Frozen,
            reason: request.reason.clone(),
        };
        let mut plan = work.plan(Body::CardStatus(change));
        plan.cards = vec![(number, CardStatus::Frozen)];
        Ok(plan)
    })())
}
