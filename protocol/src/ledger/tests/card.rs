//! Cards: sold, loaded, stopped.

use super::super::Promise;
use super::*;
use crate::id::MemberId;
use crate::member::DraftId;

#[test]
fn a_card_is_sold_loaded_and_spent_and_the_last_cent_is_the_last() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(1_000, 100));
    let (entry, _) = shop.book(sold);
    let kinds: Vec<MovementKind> = entry.body.movements().iter().map(|movement| movement.kind).collect();
    assert_eq!(kinds, [MovementKind::CardSale, MovementKind::Bonus]);
    assert_eq!((shop.here(1), shop.cards[0].status), (1_100, CardStatus::Active));
    let again = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(1_000, 0));
    assert_eq!(declined(again).code, DeclineCode::CardAlreadySold);
    let spent = shop.sale(&sale(vec![line(1_100, 1_000)], vec![tender("stored_value", 1_100, Some(1))]));
    shop.book(spent);
    let decline = declined(shop.sale(&sale(vec![line(1, 1_000)], vec![tender("stored_value", 1, Some(1))])));
    assert_eq!(
        (decline.code, decline.available_here_minor, decline.needed_minor),
        (DeclineCode::Insufficient, Some(0), Some(1))
    );
}

#[test]
fn a_card_may_be_sold_empty_and_its_movement_says_where_its_home_is() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(0, 0));
    let (entry, plan) = shop.book(sold);
    assert_eq!((entry.body.movements().len(), plan.holdings.len()), (1, 0));
}

#[test]
fn a_blank_card_is_sold_offline_only_where_it_is_allocated() {
    let elsewhere = Card { allocated_store: Some("S2".parse().unwrap()), ..card(1, CardStatus::Blank) };
    let mut shop = Shop::new(vec![elsewhere]);
    let sell =
        |shop: &Shop| sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(100, 0));
    shop.hub = Hub::NotAsked;
    assert_eq!(asked(sell(&shop))[0].purpose, Purpose::Sell);
    shop.hub = Hub::Unreachable;
    assert_eq!(declined(sell(&shop)).code, DeclineCode::NotAllocatedHere);
}

#[test]
fn a_blank_card_that_is_somebodys_is_sold_to_them_alone() {
    let (owner, other) = (MemberId::new(7).unwrap(), MemberId::new(8).unwrap());
    let draft = DraftId(OperationId(uuid::Uuid::from_u128(7)));
    let sell = |of: Option<MemberId>, promised, member, draft| {
        let shop = Shop::new(vec![Card { member: of, ..card(1, CardStatus::Blank) }]);
        let request = LoadCard { member, draft, ..load_request(100, 0) };
        match sell_card(&shop.situation(), number(1), &shop.cards, promised, &shop.holdings, &request) {
            Decision::Approved(plan) => {
                let Body::CardSale(sold) = plan.body else { panic!("{:?}", plan.body) };
                Ok((sold.member, sold.draft))
            }
            refused => Err(declined(refused).code),
        }
    };
    let taken = Err(DeclineCode::CardHasMember);
    let stranger = DraftId(OperationId(uuid::Uuid::from_u128(8)));
    let waiting = Some(Promise { draft, member: None });
    let accepted = Some(Promise { draft, member: Some(owner) });
    for (of, promised, member, named, expected) in [
        (Some(owner), None, None, None, taken),
        (Some(owner), None, Some(other), None, taken),
        (Some(owner), None, Some(owner), None, Ok((Some(owner), None))),
        (None, waiting, None, None, taken),
        (None, waiting, Some(owner), None, taken),
        (None, waiting, None, Some(stranger), taken),
        (None, waiting, None, Some(draft), Ok((None, Some(draft)))),
        (None, accepted, None, None, taken),
        // Whoever names the member fulfils what was promised to the draft.
        (None, accepted, Some(owner), None, Ok((Some(owner), Some(draft)))),
        (None, accepted, None, Some(draft), Ok((None, Some(draft)))),
        // Head office found that it is another's.
        (Some(other), accepted, None, Some(draft), taken),
        (Some(other), accepted, Some(other), None, Ok((Some(other), None))),
        // Nobody's: theirs who buy it, and nobody's when they are not named.
        (None, None, Some(other), None, Ok((Some(other), None))),
        (None, None, None, Some(stranger), Ok((None, Some(stranger)))),
        (None, None, None, None, Ok((None, None))),
    ] {
        assert_eq!(sell(of, promised, member, named), expected, "{of:?} {promised:?} {member:?} {named:?}");
    }
    let shop = Shop::new(vec![card(1, CardStatus::Active)]);
    let named = LoadCard { member: Some(owner), ..load_request(100, 0) };
    assert_eq!(faulty_field(reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &named)), "member");
    let shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let both = LoadCard { member: Some(owner), draft: Some(draft), ..load_request(100, 0) };
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &both);
    assert_eq!(faulty_field(sold), "draft");
}

#[test]
fn every_status_refuses_with_its_own_code() {
    let check = |status, code| {
        let shop = Shop::new(vec![card(1, status)]).with(1, 100);
        assert_eq!(
            declined(shop.sale(&sale(vec![line(50, 1_000)], vec![tender("stored_value", 50, Some(1))]))).code,
            code
        );
        assert_eq!(
            declined(reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(50, 0))).code,
            code
        );
    };
    check(CardStatus::Blank, DeclineCode::CardNotActive);
    check(CardStatus::Frozen, DeclineCode::CardFrozen);
    check(CardStatus::Lost, DeclineCode::CardLost);
    check(CardStatus::Replaced, DeclineCode::CardNotActive);
    let expired = Card { expires_on: Some("2026-11-21".parse().unwrap()), ..card(1, CardStatus::Active) };
    let shop = Shop::new(vec![expired]).with(1, 100);
    let basket = sale(vec![line(50, 1_000)], vec![tender("stored_value", 50, Some(1))]);
    assert_eq!(declined(shop.sale(&basket)).code, DeclineCode::CardExpired);
}

#[test]
fn limits_tenders_and_the_day_are_kept() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 100_000);
    let reload = |shop: &Shop, request: &LoadCard| {
        reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, request)
    };
    assert_eq!(declined(reload(&shop, &load_request(90_000, 10_001))).code, DeclineCode::LoadLimit);
    assert_eq!(declined(reload(&shop, &load_request(50_000, 1))).code, DeclineCode::BalanceLimit);
    let with_voucher = LoadCard { tenders: vec![tender("voucher", 100, None)], ..load_request(100, 0) };
    assert_eq!(declined(reload(&shop, &with_voucher)).code, DeclineCode::TenderNotAllowed);
    let mut no_card_please = line(100, 1_000);
    no_card_please.flags.no_stored_value = true;
    let basket = sale(
        vec![no_card_please, line(50, 1_000)],
        vec![tender("stored_value", 51, Some(1)), tender("cash", 99, None)],
    );
    assert_eq!(declined(shop.sale(&basket)).code, DeclineCode::TenderNotAllowed);
    shop.day = None;
    assert_eq!(declined(reload(&shop, &load_request(100, 0))).code, DeclineCode::DayNotOpen);
}
