//! Points: earned, burnt, taken back.

use super::payment::resolve;
use super::*;

/// A shop where a yuan earns a point and a point pays a fen, for at most half of a receipt and from ten points on.
fn point_shop() -> Shop {
    let mut shop = Shop::new(vec![card(1, CardStatus::Active)]);
    shop.policy
        .tenders
        .push(Tender { earns_points: false, ..Tender::new("points".parse().unwrap(), TenderClass::Points) });
    shop.policy.points = PointsRules {
        earn: Some(EarnRule { per_minor: 100, points: 1, base_minor_min: 0 }),
        burn: Some(BurnRule { points: 1, worth_minor: 1, points_min: 10, share_ppm_max: Ppm(500_000) }),
        pending: None,
    };
    shop.earns = Some((number(1), account(1)));
    assert_eq!(shop.policy.validate(), []);
    shop
}

fn points(shop: &Shop) -> i64 {
    shop.holdings.get(Purse { account: account(1), unit: POINTS }).available_minor()
}

#[test]
fn a_sale_earns_on_what_was_paid_with_tenders_that_earn_and_burns_points_as_tender() {
    let mut shop = point_shop();
    let first = shop.sale(&sale(vec![line(9_999, 1_000)], vec![tender("cash", 9_999, None)]));
    let (entry, _) = shop.book(first);
    assert_eq!(points(&shop), 99, "rounded down, once");
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!(body.earned.as_ref().map(|earned| (earned.base_minor, earned.points)), Some((9_999, 99)));
    let quiet = TillLine { flags: LineFlags { no_points: true, ..LineFlags::default() }, ..line(5_000, 1_000) };
    let second = shop
        .sale(&sale(vec![line(1_000, 1_000), quiet], vec![tender("points", 60, Some(1)), tender("cash", 5_940, None)]));
    let (entry, _) = shop.book(second);
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!(
        body.earned.as_ref().map(|earned| earned.base_minor),
        Some(990),
        "not the quiet line, not what points paid"
    );
    assert_eq!(points(&shop), 99 - 60 + 9);
    let short =
        shop.sale(&sale(vec![line(1_000, 1_000)], vec![tender("points", 49, Some(1)), tender("cash", 951, None)]));
    assert_eq!((declined(short).code, points(&shop)), (DeclineCode::Insufficient, 48));
    for (burnt, left) in [(9, 991), (501, 499)] {
        let limited = shop
            .sale(&sale(vec![line(1_000, 1_000)], vec![tender("points", burnt, Some(1)), tender("cash", left, None)]));
        assert_eq!(declined(limited).code, DeclineCode::PointsLimit);
    }
}

#[test]
fn what_comes_back_takes_its_points_back_and_gives_burnt_ones_back_to_the_last() {
    let mut shop = point_shop();
    let first = shop.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
    shop.book(first);
    let second =
        shop.sale(&sale(vec![line(1_000, 3_000)], vec![tender("points", 100, Some(1)), tender("cash", 900, None)]));
    let (receipt, _) = shop.book(second);
    assert_eq!(points(&shop), 9);
    let mut state = ReceiptState::default();
    let mut refunded = 0;
    for _ in 0..3 {
        let request = PostReturn {
            receipt: receipt.header.id(),
            items: vec![ReturnItem { line: 0, quantity_thousandths: 1_000 }],
            reason: "broken".to_owned(),
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        let back = post_return(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &request);
        let (_, plan) = shop.book(back);
        refunded += plan.refunds.iter().map(|line| line.amount_minor).sum::<i64>();
        let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
        state = next;
    }
    assert_eq!((points(&shop), refunded), (100, 1_000), "as before the purchase");
    // The void of the first sale finds all its points.
    let mut spent = point_shop();
    let first = spent.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
    let (receipt, _) = spent.book(first);
    let second =
        spent.sale(&sale(vec![line(200, 1_000)], vec![tender("points", 70, Some(1)), tender("cash", 130, None)]));
    spent.book(second);
    let undone = void(
        &spent.situation(),
        &receipt,
        &ReceiptState::default(),
        &nothing(),
        &spent.cards,
        &spent.holdings,
        &void_request(),
    );
    let (undone, _) = spent.book(undone);
    let reversal = undone.body.movements().last().unwrap();
    assert_eq!((reversal.kind, reversal.amount_minor, reversal.shortfall_minor), (MovementKind::EarnReversal, 31, 69));
    assert_eq!(points(&spent), 0, "never below zero; what is missing is written down");
}

#[test]
fn two_lines_on_one_account_ask_for_all_that_pending_points_may_not_pay() {
    let mut shop = point_shop();
    shop.policy.points.pending = Some(PendingRule { days: 7, may_burn: false });
    let purse = Purse { account: account(1), unit: POINTS };
    shop.holdings.put(purse, StoreCounters { loaded_minor: 100, ..StoreCounters::default() });
    shop.holdings.put_pending(account(1), 70);
    shop.hub = Hub::NotAsked;
    let request = sale(
        vec![line(1_000, 1_000)],
        vec![tender("points", 50, Some(1)), tender("points", 40, Some(1)), tender("cash", 910, None)],
    );
    let needs = asked(shop.sale(&request));
    assert_eq!(needs.iter().map(|need| need.missing_minor).sum::<i64>(), 60, "{needs:?}");
    // With just that, both are paid.
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    shop.holdings.put(purse, StoreCounters { loaded_minor: 100, adopted_minor: 60, ..StoreCounters::default() });
    let paid = shop.sale(&request);
    shop.book(paid);
    assert_eq!(points(&shop), 160 - 90 + 9);
}

#[test]
fn points_that_were_given_back_to_the_hub_are_asked_for_before_any_is_written_off() {
    let mut shop = point_shop();
    let sold = shop.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
    let (receipt, _) = shop.book(sold);
    // After a quarter of an hour the store gave them back: they are in the hub's pool, not spent.
    shop.holdings.put(Purse { account: account(1), unit: POINTS }, StoreCounters::default());
    shop.hub = Hub::NotAsked;
    let undo = |shop: &Shop| {
        void(
            &shop.situation(),
            &receipt,
            &ReceiptState::default(),
            &nothing(),
            &shop.cards,
            &shop.holdings,
            &void_request(),
        )
    };
    let Decision::AskHub(needs) = undo(&shop) else { panic!("the hub is asked") };
    assert_eq!((needs[0].card, needs[0].unit, needs[0].missing_minor), (number(1), POINTS, 100));
    shop.hub = Hub::Unreachable;
    let Decision::Approved(plan) = undo(&shop) else { panic!("goods come back all the same") };
    assert_eq!(plan.body.movements()[0].shortfall_minor, 100);
    let granted = StoreCounters { adopted_minor: 100, ..StoreCounters::default() };
    shop.holdings.put(Purse { account: account(1), unit: POINTS }, granted);
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    let undone = undo(&shop);
    let (entry, _) = shop.book(undone);
    assert_eq!((entry.body.movements()[0].shortfall_minor, points(&shop)), (0, 0));
}

#[test]
fn a_card_with_points_on_it_is_not_made_sellable_again() {
    let mut shop = point_shop();
    shop.cards[0].status = CardStatus::Blank;
    let card_sale = sell_card(&shop.situation(), number(1), &shop.cards, None, &shop.holdings, &load_request(0, 0));
    let (sold_card, _) = shop.book(card_sale);
    let sold = shop.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
    shop.book(sold);
    let undone = void(
        &shop.situation(),
        &sold_card,
        &ReceiptState::default(),
        &nothing(),
        &shop.cards,
        &shop.holdings,
        &void_request(),
    );
    assert_eq!(declined(undone).code, DeclineCode::CardInUse, "who buys it next would find somebody's points");
    // Given back to the hub they are out of sight: it is asked for value and points before the card is sellable again.
    shop.holdings.put(Purse { account: account(1), unit: POINTS }, StoreCounters::default());
    let undo = |shop: &Shop| {
        let state = ReceiptState::default();
        void(&shop.situation(), &sold_card, &state, &nothing(), &shop.cards, &shop.holdings, &void_request())
    };
    shop.hub = Hub::NotAsked;
    let Decision::AskHub(needs) = undo(&shop) else { panic!("the hub is asked") };
    assert_eq!(needs.iter().map(|need| need.unit).collect::<Vec<_>>(), [CNY, POINTS]);
    let place = Elsewhere {
        card: number(1),
        store: "S2".parse().unwrap(),
        held_minor: 5,
        last_seen_ms: NOON,
        state: PlaceState::Silent,
    };
    shop.hub = Hub::Answered { elsewhere: vec![place] };
    assert_eq!(declined(undo(&shop)).code, DeclineCode::CardInUse, "part of it lies in another store");
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    assert!(matches!(undo(&shop), Decision::Approved(_)), "it is empty everywhere");
}

#[test]
fn a_parked_sale_earns_when_it_is_paid() {
    let mut shop = point_shop();
    let request =
        PostSale { payment_unknown: Some(0), ..sale(vec![line(500, 1_000)], vec![tender("cash", 500, None)]) };
    let parked = shop.sale(&request);
    let (entry, plan) = shop.book(parked);
    let Some(ReceiptChange::Made { state }) = plan.receipt else { panic!("a receipt that is remembered") };
    assert_eq!(points(&shop), 0);
    let paid = resolve(&shop, &entry, &state, PaymentOutcome::Paid);
    let (payment, _) = shop.book(paid);
    assert_eq!(points(&shop), 5);
    // The edge fills in which entry paid it.
    let state = ReceiptState { parked: false, paid_by: Some(payment.header.id()), ..state };
    let undone = void(&shop.situation(), &entry, &state, &nothing(), &shop.cards, &shop.holdings, &void_request());
    let (undone, _) = shop.book(undone);
    let of = MovementRef { entry: payment.header.id(), index: 0 };
    assert_eq!((undone.body.movements()[0].of, points(&shop)), (Some(of), 0));
}

#[test]
fn points_are_earned_through_a_closed_gate_and_not_taken_back_through_it() {
    for gate in [ValueGate::Unproved { tills: Vec::new(), hub: true }, ValueGate::Quarantined] {
        let mut shop = point_shop();
        shop.gate = gate;
        let bought = shop.sale(&sale(vec![line(10_000, 1_000)], vec![tender("cash", 10_000, None)]));
        let (receipt, _) = shop.book(bought);
        assert_eq!(points(&shop), 100);
        shop.hub = Hub::NotAsked;
        let undone = void(
            &shop.situation(),
            &receipt,
            &ReceiptState::default(),
            &nothing(),
            &shop.cards,
            &shop.holdings,
            &void_request(),
        );
        let (entry, _) = shop.book(undone);
        let missing: Vec<i64> = entry.body.movements().iter().map(|movement| movement.shortfall_minor).collect();
        assert_eq!((points(&shop), missing), (100, vec![100]), "the goods come back; head office claims the points");
    }
}
