//! Sales: what pays, what is asked of the hub, what is refused.

use super::*;

#[test]
fn the_hub_is_asked_once_for_every_card_of_a_basket() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active), card(2, CardStatus::Active)]).with(1, 30);
    shop.hub = Hub::NotAsked;
    let basket = sale(
        vec![line(180, 1_000)],
        vec![
            tender("stored_value", 40, Some(1)),
            tender("stored_value", 40, Some(1)),
            tender("stored_value", 100, Some(2)),
        ],
    );
    let needs: Vec<(CardNumber, i64)> =
        asked(shop.sale(&basket)).iter().map(|need| (need.card, need.missing_minor)).collect();
    assert_eq!(needs, [(number(1), 10), (number(1), 40), (number(2), 100)], "30 of the 80 are here");
    shop.hub = Hub::Unreachable;
    assert_eq!(declined(shop.sale(&basket)).code, DeclineCode::InsufficientHereOffline);
    let place = Elsewhere {
        card: number(2),
        store: "S9".parse().unwrap(),
        held_minor: 100,
        last_seen_ms: Instant(5),
        state: PlaceState::Silent,
    };
    shop.hub = Hub::Answered { elsewhere: vec![place] };
    shop = shop.with(1, 80);
    let decline = declined(shop.sale(&basket));
    assert_eq!((decline.code, decline.elsewhere), (DeclineCode::HeldElsewhere, vec![place]));
    // What a lost store held no waiting brings back; with a part that waiting may bring, it is worth to try again.
    let lost = Elsewhere { state: PlaceState::Suspense, ..place };
    for (elsewhere, code) in [(vec![lost], DeclineCode::InSuspense), (vec![lost, place], DeclineCode::HeldElsewhere)] {
        shop.hub = Hub::Answered { elsewhere };
        assert_eq!(declined(shop.sale(&basket)).code, code);
    }
}

#[test]
fn a_stale_replica_asks_before_it_refuses() {
    let mut shop = Shop::new(vec![card(1, CardStatus::Blank)]);
    let basket = sale(vec![line(50, 1_000)], vec![tender("stored_value", 50, Some(1))]);
    shop.hub = Hub::NotAsked;
    assert_eq!(asked(shop.sale(&basket)).len(), 1, "the card may have been sold elsewhere today");
    let unknown = sale(vec![line(50, 1_000)], vec![tender("stored_value", 50, Some(7))]);
    assert_eq!(asked(shop.sale(&unknown))[0].missing_minor, 50);
    shop.hub = Hub::Unreachable;
    assert_eq!(declined(shop.sale(&basket)).code, DeclineCode::UnknownCardOffline);
    assert_eq!(declined(shop.sale(&unknown)).code, DeclineCode::UnknownCardOffline);
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    assert_eq!(declined(shop.sale(&unknown)).code, DeclineCode::UnknownCard);
}

#[test]
fn a_request_that_contradicts_itself_names_its_field() {
    let shop = Shop::new(vec![card(1, CardStatus::Active)]).with(1, 1_000);
    let check = |request: PostSale, field: &str| assert_eq!(faulty_field(shop.sale(&request)), field);
    check(sale(Vec::new(), Vec::new()), "lines");
    check(sale(vec![line(100, 0)], Vec::new()), "lines[0].quantity_thousandths");
    check(sale(vec![line(-1, 1_000)], Vec::new()), "lines[0].gross_minor");
    check(sale(vec![line(i64::MAX, 1_000)], Vec::new()), "lines[0].gross_minor");
    check(sale(vec![TillLine { net_minor: Some(99), ..line(100, 1_000) }], Vec::new()), "lines[0].net_minor");
    check(sale(vec![line(100, 1_000)], vec![tender("cash", 99, None)]), "tenders");
    check(sale(vec![line(100, 1_000)], vec![tender("gold", 100, None)]), "tenders[0].tender");
    check(sale(vec![line(100, 1_000)], vec![tender("stored_value", 100, None)]), "tenders[0].card");
    check(sale(vec![line(100, 1_000)], vec![tender("cash", 100, Some(1))]), "tenders[0].card");
    check(
        PostSale { currency: Currency::USD, ..sale(vec![line(100, 1_000)], vec![tender("cash", 100, None)]) },
        "currency",
    );
}

#[test]
fn references_are_there_when_the_catalogue_asks_and_a_coupon_pays_nobody_back() {
    let mut shop = Shop::new(Vec::new());
    let coupon = Tender {
        reference: ReferenceRule::Required,
        counts_as: CountsAs::Discount,
        refund: RefundRoute::Nothing,
        ..Tender::new("coupon".parse().unwrap(), TenderClass::Coupon)
    };
    shop.policy.tenders.push(coupon);
    shop.policy.tenders[0].reference = ReferenceRule::None;
    let with = |code: &str, amount_minor, reference: Option<&str>| TenderLine {
        reference: reference.map(str::to_owned),
        ..tender(code, amount_minor, None)
    };
    let post = |shop: &Shop, tenders| shop.sale(&sale(vec![line(500, 1_000)], tenders));
    let missing = post(&shop, vec![with("coupon", 200, None), with("cash", 300, None)]);
    assert_eq!(faulty_field(missing), "tenders[0].reference");
    let needless = post(&shop, vec![with("coupon", 200, Some("C1")), with("cash", 300, Some("drawer"))]);
    assert_eq!(faulty_field(needless), "tenders[1].reference");
    let sold = post(&shop, vec![with("coupon", 200, Some("C1")), with("cash", 300, None)]);
    let (receipt, _) = shop.book(sold);
    let request = PostReturn {
        receipt: receipt.header.id(),
        items: vec![ReturnItem { line: 0, quantity_thousandths: 1_000 }],
        reason: "broken".to_owned(),
        operator: None,
        approver: None,
        terminal_seq: None,
    };
    let back =
        post_return(&shop.situation(), &receipt, &ReceiptState::default(), &shop.cards, &shop.holdings, &request);
    let (entry, plan) = shop.book(back);
    let out = |lines: &[TenderLine]| lines.iter().map(|line| line.amount_minor).sum::<i64>();
    assert_eq!((out(entry.body.tenders()), out(&plan.refunds)), (500, 300));
}
