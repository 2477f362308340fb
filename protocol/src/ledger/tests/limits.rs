//! What a policy limits beyond prices: where and for what a card pays, how much of it while head office is silent, and what a store sets for itself.

use serde_json::json;

use super::*;
use crate::policy::{OwnPromotion, StoreParameters};

fn pays(amount_minor: i64, card: i64) -> PostSale {
    sale(vec![line(amount_minor, 1_000)], vec![tender("stored_value", amount_minor, Some(card))])
}

fn figures(decline: &Decline) -> (DeclineCode, Option<i64>, Option<i64>) {
    (decline.code, decline.available_here_minor, decline.needed_minor)
}

fn shop() -> Shop {
    Shop::new(vec![card(1, CardStatus::Active), card(2, CardStatus::Active)]).with(1, 10_000).with(2, 10_000)
}

#[test]
fn a_card_pays_in_its_stores_and_for_its_goods_to_the_cent() {
    let mut shop = shop();
    shop.policy.products[0].scope = serde_json::from_value(json!({
        "goods": { "include": { "categories": ["食品"] }, "exclude": { "categories": ["食品/酒"] } },
    }))
    .unwrap();
    let of = |category: &str, net_minor| TillLine { category_path: category.to_owned(), ..line(net_minor, 1_000) };
    let basket = || vec![of("食品/茶", 700), of("食品/酒", 200), of("烟草", 100)];
    let paid = |by_card: i64| {
        sale(basket(), vec![tender("cash", 1_000 - by_card, None), tender("stored_value", by_card, Some(1))])
    };
    let refused = declined(shop.sale(&paid(701)));
    assert_eq!(figures(&refused), (DeclineCode::CardScope, Some(700), Some(701)));
    let approved = shop.sale(&paid(700));
    let (entry, _) = shop.book(approved);
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!(body.allocation, [vec![0, 200, 100], vec![700, 0, 0]], "the card pays for tea only");
    shop.policy.products[0].scope.stores = vec!["S2".parse().unwrap()];
    assert_eq!(declined(shop.sale(&paid(1))).code, DeclineCode::CardScope);
}

#[test]
fn the_card_that_may_pay_least_pays_first() {
    let mut shop = shop();
    let mut narrow = shop.policy.products[0].clone();
    narrow.id = "TEA".parse().unwrap();
    narrow.scope = serde_json::from_value(json!({ "goods": { "include": { "categories": ["食品"] } } })).unwrap();
    shop.policy.products.push(narrow);
    shop.cards[1].product = "TEA".parse().unwrap();
    let tea = TillLine { category_path: "食品".to_owned(), ..line(500, 1_000) };
    let by = |card: i64| tender("stored_value", 500, Some(card));
    let approved = shop.sale(&sale(vec![tea, line(500, 1_000)], vec![by(1), by(2)]));
    let (entry, _) = shop.book(approved);
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!(body.allocation, [vec![0, 500], vec![500, 0]], "or the tea would be paid before the tea card's turn");
}

#[test]
fn a_receipt_and_a_day_have_their_limits() {
    let mut shop = shop();
    shop.policy.products[0].spend_minor_max = 600;
    shop.policy.products[0].spend_day_minor_max = 1_000;
    assert!(matches!(shop.sale(&pays(600, 1)), Decision::Approved(_)));
    assert_eq!(figures(&declined(shop.sale(&pays(601, 1)))), (DeclineCode::SpendLimit, Some(600), Some(601)));
    let twice = vec![tender("stored_value", 300, Some(1)), tender("stored_value", 301, Some(1))];
    let split = sale(vec![line(601, 1_000)], twice);
    assert_eq!(
        figures(&declined(shop.sale(&split))),
        (DeclineCode::SpendLimit, Some(600), Some(601)),
        "two lines, one card"
    );
    shop.spent_today = vec![(account(1), 600)];
    assert_eq!(figures(&declined(shop.sale(&pays(401, 1)))), (DeclineCode::SpendLimit, Some(400), Some(401)));
    assert!(matches!(shop.sale(&pays(400, 1)), Decision::Approved(_)));
    assert!(matches!(shop.sale(&pays(600, 2)), Decision::Approved(_)), "another account's day is its own");
}

#[test]
fn a_product_is_loaded_with_its_tenders_only() {
    let mut shop = shop();
    shop.policy
        .tenders
        .push(Tender { may_load: true, ..Tender::new("wechat".parse().unwrap(), TenderClass::External) });
    shop.policy.products[0].scope.load_tenders = vec!["wechat".parse().unwrap()];
    let by = |code: &str| {
        let request = LoadCard { tenders: vec![tender(code, 100, None)], ..load_request(100, 0) };
        reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &request)
    };
    assert_eq!(declined(by("cash")).code, DeclineCode::TenderNotAllowed);
    assert!(matches!(by("wechat"), Decision::Approved(_)));
}

#[test]
fn silence_limits_what_can_be_lost_and_nothing_else() {
    let mut shop = shop();
    shop.cards[0].member = crate::id::MemberId::new(7).ok();
    shop.rung = Some(Rung { after_minutes: 60, value_minor_max: Some(500), points_max: None, bearer_cards: false });
    shop.hub = Hub::Unreachable;
    assert!(matches!(shop.sale(&pays(500, 1)), Decision::Approved(_)), "up to the limit");
    assert_eq!(figures(&declined(shop.sale(&pays(501, 1)))), (DeclineCode::OfflineLimit, Some(500), Some(501)));
    assert!(matches!(shop.sale(&pays(9_000, 2)), Decision::Approved(_)), "nobody can report a bearer card lost");
    let cash = sale(vec![line(9_000, 1_000)], vec![tender("cash", 9_000, None)]);
    assert!(matches!(shop.sale(&cash), Decision::Approved(_)));
    let loaded = reload_card(&shop.situation(), number(1), &shop.cards, &shop.holdings, &load_request(1_000, 0));
    assert!(matches!(loaded, Decision::Approved(_)), "loads are never limited");
    // A hub that can be reached is asked first, and then knows.
    shop.hub = Hub::NotAsked;
    let Decision::AskHub(needs) = shop.sale(&pays(501, 1)) else { panic!("asks") };
    assert_eq!((needs.len(), needs[0].missing_minor), (1, 0));
    let both = vec![tender("stored_value", 400, Some(1)), tender("stored_value", 10_000, Some(1))];
    let Decision::AskHub(needs) = shop.sale(&sale(vec![line(10_400, 1_000)], both)) else { panic!("asks") };
    assert_eq!(needs.iter().map(|need| need.missing_minor).sum::<i64>(), 400, "all that is missing, in one call");
    shop.hub = Hub::Answered { elsewhere: Vec::new() };
    assert!(matches!(shop.sale(&pays(501, 1)), Decision::Approved(_)));
    shop.rung = shop.rung.map(|rung| Rung { bearer_cards: true, ..rung });
    shop.hub = Hub::Unreachable;
    assert_eq!(declined(shop.sale(&pays(501, 2))).code, DeclineCode::OfflineLimit);
}

/// A store that takes 20 % off everything within a budget, for the day of these tests.
fn with_own_promotion(budget_minor: Option<i64>) -> Shop {
    let mut shop = shop();
    let own: OwnPromotion = serde_json::from_value(json!({
        "id": "S1-ALL", "name": "店庆八折", "give": { "kind": "percent_off", "percent_ppm": 200_000 },
        "when": { "from": "2026-11-22", "to": "2026-11-22" }, "budget_minor": budget_minor,
    }))
    .unwrap();
    let parameters = StoreParameters { promotions: vec![own], ..StoreParameters::default() };
    shop.policy.stores.insert("S1".parse().unwrap(), parameters);
    shop.has_items = true;
    shop
}

#[test]
fn a_budget_is_given_to_the_last_cent_and_never_beyond() {
    let mut shop = with_own_promotion(Some(300));
    let id = || "S1-ALL".parse().unwrap();
    let sold = |shop: &Shop, gross_minor, paid_minor| {
        shop.sale(&sale(vec![line(gross_minor, 1_000)], vec![tender("cash", paid_minor, None)]))
    };
    shop.budgets_left = vec![(id(), 200)];
    let approved = sold(&shop, 1_000, 800);
    let (entry, plan) = shop.book(approved);
    assert_eq!(plan.given, [(id(), 200)], "exactly what was left");
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!(body.lines[0].discounts[0].funders[0].party, "store:S1".parse().unwrap(), "borne by the store");
    shop.budgets_left = vec![(id(), 199)];
    let approved = sold(&shop, 1_000, 1_000);
    let (entry, plan) = shop.book(approved);
    assert_eq!(plan.given, [], "a basket for which a cent is missing gets nothing of it");
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!(body.budgets_spent, [id()]);
    let book = PriceBook::new(&shop.policy);
    assert!(matches!(rerate(&book, &entry.header, body), Rerated::Same(_)), "head office knows by the entry");
    let mut silent = body.clone();
    silent.budgets_spent.clear();
    assert!(matches!(rerate(&book, &entry.header, &silent), Rerated::Differs(_)));
}

#[test]
fn nobody_takes_a_stores_word_that_a_promotion_without_a_budget_is_spent() {
    let mut shop = with_own_promotion(None);
    let approved = shop.sale(&sale(vec![line(1_000, 1_000)], vec![tender("cash", 800, None)]));
    let (entry, _) = shop.book(approved);
    let Body::Sale(mut body) = entry.body else { panic!("a sale") };
    body.budgets_spent = vec!["S1-ALL".parse().unwrap()];
    let book = PriceBook::new(&shop.policy);
    assert!(matches!(rerate(&book, &entry.header, &body), Rerated::Same(_)), "it was given all the same");
}

#[test]
fn what_comes_back_is_in_the_budget_again_in_whatever_parts() {
    let mut shop = with_own_promotion(Some(10_000));
    shop.budgets_left = vec![("S1-ALL".parse().unwrap(), 10_000)];
    let approved = shop.sale(&sale(vec![line(1_001, 3_000)], vec![tender("cash", 801, None)]));
    let (receipt, plan) = shop.book(approved);
    let given = plan.given[0].1;
    let mut state = ReceiptState::default();
    let mut back = 0;
    for _ in 0..3 {
        let request = PostReturn {
            receipt: receipt.header.id(),
            items: vec![ReturnItem { line: 0, quantity_thousandths: 1_000 }],
            reason: "broken".to_owned(),
            operator: None,
            approver: None,
            terminal_seq: None,
        };
        let decision = post_return(&shop.situation(), &receipt, &state, &shop.cards, &shop.holdings, &request);
        let (_, plan) = shop.book(decision);
        let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
        state = next;
        back += plan.given[0].1;
    }
    assert_eq!(back, -given, "to the cent");
    let voided = void(
        &shop.situation(),
        &receipt,
        &ReceiptState::default(),
        &Standing::default(),
        &shop.cards,
        &shop.holdings,
        &void_request(),
    );
    assert_eq!(shop.book(voided).1.given[0].1, -given);
}

#[test]
fn a_store_multiplies_points_in_its_window_and_keeps_items_out() {
    let mut shop = with_own_promotion(None);
    shop.policy.points =
        PointsRules { earn: Some(EarnRule { per_minor: 100, points: 1, base_minor_min: 0 }), ..PointsRules::default() };
    shop.earns = Some((number(1), account(1)));
    let own = shop.policy.stores.get_mut(&"S1".parse().unwrap()).unwrap();
    own.promotions.clear();
    own.points = serde_json::from_value(json!({
        "multiplier_ppm": 2_500_000,
        "when": { "from": "2026-11-22", "to": "2026-11-22", "times": [["12:00", "13:00"]] },
    }))
    .unwrap();
    let earned = |shop: &Shop| {
        let decision = shop.sale(&sale(vec![line(1_000, 1_000)], vec![tender("cash", 1_000, None)]));
        let Decision::Approved(plan) = decision else { panic!("approved") };
        let Body::Sale(body) = plan.body else { panic!("a sale") };
        body.earned.map(|earned| earned.points)
    };
    assert_eq!(earned(&shop), Some(25), "noon is inside");
    let own = shop.policy.stores.get_mut(&"S1".parse().unwrap()).unwrap();
    own.points.as_mut().unwrap().when.times = serde_json::from_value(json!([["13:00", "14:00"]])).unwrap();
    assert_eq!(earned(&shop), Some(10));
    let sku = line(1, 1_000).sku;
    let own = shop.policy.stores.get_mut(&"S1".parse().unwrap()).unwrap();
    own.no_points_skus = vec![sku];
    assert_eq!(earned(&shop), None);
}
