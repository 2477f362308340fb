//! Voids: what is undone as if it had not been, and what is not.

use super::*;

#[test]
fn a_void_undoes_all_of_it_on_its_day_and_only_once() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(1_000, 100));
    let (card_sale, _) = shop.book(sold);
    let spent =
        shop.sale(&sale(vec![line(300, 1_000)], vec![tender("stored_value", 250, Some(1)), tender("cash", 50, None)]));
    let (receipt, _) = shop.book(spent);
    let undo = |shop: &Shop, entry: &Entry, state: &ReceiptState| {
        void(&shop.situation(), entry, state, &nothing(), &shop.cards, &shop.holdings, &void_request())
    };
    assert_eq!(declined(undo(&shop, &card_sale, &ReceiptState::default())).code, DeclineCode::AlreadySpent);
    let voided = undo(&shop, &receipt, &ReceiptState::default());
    let (_, plan) = shop.book(voided);
    assert_eq!(plan.refunds, [tender("stored_value", 250, Some(1)), tender("cash", 50, None)]);
    let done = ReceiptState { voided_by: Some(receipt.header.id()), ..ReceiptState::default() };
    assert_eq!(declined(undo(&shop, &receipt, &done)).code, DeclineCode::AlreadyVoided);
    let voided = undo(&shop, &card_sale, &ReceiptState::default());
    shop.book(voided);
    assert_eq!((shop.here(1), shop.cards[0].status), (0, CardStatus::Blank), "I7: back where it started");
    shop.day = shop.day.map(BusinessDay::tomorrow);
    assert_eq!(declined(undo(&shop, &receipt, &ReceiptState::default())).code, DeclineCode::NotOfOpenDay);
}

#[test]
fn a_card_sale_is_not_voided_when_the_card_was_stopped_or_holds_more() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(1_000, 0));
    let (card_sale, _) = shop.book(sold);
    let reloaded = reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(500, 0));
    let (reload, _) = shop.book(reloaded);
    let undo = |shop: &Shop, entry: &Entry| {
        void(
            &shop.situation(),
            entry,
            &ReceiptState::default(),
            &nothing(),
            &shop.cards,
            &shop.holdings,
            &void_request(),
        )
    };
    assert_eq!(declined(undo(&shop, &card_sale)).code, DeclineCode::CardInUse);
    let voided = undo(&shop, &reload);
    shop.book(voided);
    shop.cards[0].status = CardStatus::Frozen;
    assert_eq!(declined(undo(&shop, &card_sale)).code, DeclineCode::CardFrozen);
    shop.cards[0].status = CardStatus::Active;
    let voided = undo(&shop, &card_sale);
    shop.book(voided);
    assert_eq!((shop.here(1), shop.cards[0].status), (0, CardStatus::Blank));
}

#[test]
fn a_card_is_not_given_back_while_goods_that_it_paid_for_may_come_back() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(1_000, 0));
    let (card_sale, _) = shop.book(sold);
    let spent = shop.sale(&sale(vec![line(300, 3_000)], vec![tender("stored_value", 300, Some(1))]));
    let (receipt, _) = shop.book(spent);
    let reloaded = reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(300, 0));
    shop.book(reloaded);
    let mut standing = Standing::of(account(1));
    standing.see(&receipt);
    let undo = |shop: &Shop, standing: &Standing| {
        let state = ReceiptState::default();
        void(&shop.situation(), &card_sale, &state, standing, &shop.cards, &shop.holdings, &void_request())
    };
    assert_eq!(declined(undo(&shop, &standing)).code, DeclineCode::CardInUse);
    let request = PostReturn {
        receipt: receipt.header.id(),
        items: vec![ReturnItem { line: 0, quantity_thousandths: 2_000 }],
        reason: "broken".to_owned(),
        operator: None,
        approver: None,
        terminal_seq: None,
    };
    let state = ReceiptState::default();
    let back = post_return(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &request);
    let (back, plan) = shop.book(back);
    standing.see(&back);
    assert!(standing.is_any(), "a third of the goods is still out");
    let Some(ReceiptChange::Changed { state, .. }) = plan.receipt else { panic!("remembered") };
    let rest = PostReturn { items: vec![ReturnItem { line: 0, quantity_thousandths: 1_000 }], ..request };
    let back = post_return(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &rest);
    let (back, _) = shop.book(back);
    standing.see(&back);
    assert!(!standing.is_any() && !Standing::default().is_any());
    assert_eq!(declined(undo(&shop, &standing)).code, DeclineCode::CardInUse, "the reload is still on it");
}

#[test]
fn value_that_comes_back_behind_a_card_that_was_given_back_is_kept_and_takes_it_out_of_sale() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 300);
    let spent = shop.sale(&sale(vec![line(300, 1_000)], vec![tender("stored_value", 300, Some(1))]));
    let (receipt, _) = shop.book(spent);
    shop.cards[0].status = CardStatus::Blank; // Given back at another store, which could not know of these goods.
    let undone = void(
        &shop.situation(),
        &receipt,
        &ReceiptState::default(),
        &nothing(),
        &shop.cards,
        &shop.holdings,
        &void_request(),
    );
    shop.book(undone);
    assert_eq!((shop.here(1), shop.cards[0].status), (300, CardStatus::Withdrawn));
    let sell =
        |shop: &Shop| sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(100, 0));
    assert_eq!(declined(sell(&shop)).code, DeclineCode::CardAlreadySold);
    shop.cards[0].status = CardStatus::Blank;
    assert_eq!(declined(sell(&shop)).code, DeclineCode::CardInUse, "nobody buys what somebody left behind");
}

#[test]
fn without_the_hub_a_card_that_is_given_back_stays_out_of_sale() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let sold = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(1_000, 0));
    let (card_sale, _) = shop.book(sold);
    shop.hub = Hub::Unreachable;
    let undo = |shop: &Shop| {
        let state = ReceiptState::default();
        void(&shop.situation(), &card_sale, &state, &nothing(), &shop.cards, &shop.holdings, &void_request())
    };
    let purse = Purse { account: account(1), unit: CNY };
    let whole = shop.holdings.get(purse);
    shop.holdings.put(purse, StoreCounters { released_minor: 1, ..whole.counters });
    assert_eq!(declined(undo(&shop)).code, DeclineCode::InsufficientHereOffline, "a cent of it may lie elsewhere");
    shop.holdings.put(purse, whole);
    let undone = undo(&shop);
    shop.book(undone);
    assert_eq!((shop.here(1), shop.cards[0].status), (0, CardStatus::Withdrawn));
    shop.cards[0].status = CardStatus::Active;
    shop.holdings.put(purse, whole);
    let place = Elsewhere {
        card: number(1),
        store: "S2".parse().unwrap(),
        held_minor: 0,
        last_seen_ms: NOON,
        state: PlaceState::Silent,
    };
    shop.hub = Hub::Answered { elsewhere: vec![place] };
    assert_eq!(declined(undo(&shop)).code, DeclineCode::CardInUse, "it paid for goods at another store");
}
