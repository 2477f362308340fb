//! The gate: what each operation does while nobody has proved the database, and after it is proved to have forgotten something.

use super::*;

fn unproved() -> ValueGate {
    ValueGate::Unproved { tills: vec!["T2".parse().unwrap()], hub: true }
}

fn cash_sale(shop: &Shop) -> Decision {
    shop.sale(&sale(vec![line(300, 1_000)], vec![tender("cash", 300, None)]))
}

fn card_sale(shop: &Shop) -> Decision {
    shop.sale(&sale(vec![line(300, 1_000)], vec![tender("stored_value", 300, Some(1))]))
}

#[test]
fn unproved_value_comes_in_and_does_not_go_out_and_the_hub_is_not_asked_for_it() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let reload =
        |shop: &Shop| reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(500, 0));
    let loaded = reload(&shop);
    let (load, _) = shop.book(loaded);
    (shop.gate, shop.hub) = (unproved(), Hub::NotAsked);
    let decline = declined(card_sale(&shop));
    assert_eq!(decline.code, DeclineCode::ValueUnproved);
    assert_eq!((decline.awaited_tills, decline.awaits_hub), (vec!["T2".parse().unwrap()], true));
    let void = |shop: &Shop| {
        let state = ReceiptState::default();
        void(&shop.situation(), &load, &state, &nothing(), &shop.cards, &shop.holdings, &void_request())
    };
    assert_eq!(declined(void(&shop)).code, DeclineCode::ValueUnproved);
    let again = reload(&shop);
    shop.book(again);
    let sold = cash_sale(&shop);
    shop.book(sold);
    assert_eq!(shop.here(1), 2_000);
    shop.gate = ValueGate::Open;
    let spent = card_sale(&shop);
    shop.book(spent);
    assert_eq!(shop.here(1), 1_700);
}

#[test]
fn in_quarantine_no_value_moves_and_cash_still_buys() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active), card(2, CardStatus::Blank)]).with(1, 1_000);
    let spent = card_sale(&shop);
    let (receipt, _) = shop.book(spent);
    shop.gate = ValueGate::Quarantined;
    let load = load_request(0, 0);
    let declines = [
        card_sale(&shop),
        reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(500, 0)),
        sell_card(&shop.situation(), number(2), &shop.cards, None, &shop.holdings, &load),
        void(
            &shop.situation(),
            &receipt,
            &ReceiptState::default(),
            &nothing(),
            &shop.cards,
            &shop.holdings,
            &void_request(),
        ),
    ];
    for decision in declines {
        assert_eq!(declined(decision).code, DeclineCode::ValueQuarantined);
    }
    let sold = cash_sale(&shop);
    shop.book(sold);
    assert_eq!(shop.here(1), 700);
}
