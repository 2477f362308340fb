//! Promotions on a sale, and their funders when it comes back.

use super::*;

#[test]
fn a_promotion_comes_off_the_basket_and_its_funder_is_paid_back_to_the_cent() {
    let mut shop = Shop::new(Vec::new());
    let mut promotion = Promotion::new("P1".parse().unwrap(), "满减", Give::AmountOff { amount_minor: 100 });
    promotion.funding = serde_json::from_value(serde_json::json!([
        { "party": "hub", "share_ppm": 333_333 }, { "party": "store", "share_ppm": 666_667 }
    ]))
    .unwrap();
    shop.policy.promotions.push(promotion);
    let goods = TillLine {
        markdowns: vec![Markdown {
            amount_minor: 50,
            reason: "coupon".to_owned(),
            funder: Some("supplier:SUP1".parse().unwrap()),
        }],
        gross_minor: 1_000,
        net_minor: Some(950),
        ..line(950, 3_000)
    };
    let mut request = sale(vec![goods], vec![tender("cash", 950, None)]);
    shop.policy.promotions[0].goods = Goods::default();
    // The engine knows the item.
    let unpriced = shop.sale(&request);
    assert!(matches!(&unpriced, Decision::Approved(_)), "an unknown item gets no promotion: {unpriced:?}");
    shop.has_items = true;
    assert_eq!(faulty_field(shop.sale(&request)), "tenders", "the price is the store's to say");
    request.tenders = vec![tender("cash", 650, None)];
    let sold = shop.sale(&request);
    let (receipt, _) = shop.book(sold);
    let Body::Sale(body) = &receipt.body else { panic!("a sale") };
    assert_eq!((body.total_minor, body.lines[0].discounts[0].amount_minor), (650, 300));
    let book = PriceBook::new(&shop.policy);
    assert!(matches!(rerate(&book, &receipt.header, body), Rerated::Same(_)), "head office finds the same price");
    let mut wrong = body.clone();
    wrong.lines[0].discounts[0].funders.reverse();
    let differs = |sale: &Sale| match rerate(&book, &receipt.header, sale) {
        Rerated::Differs(lines) => lines,
        other => panic!("differs, not {other:?}"),
    };
    assert_eq!(differs(&wrong), ["line 0: the funders of its discounts differ"]);
    let mut wrong = body.clone();
    (wrong.lines[0].net_minor, wrong.lines[0].discounts[0].amount_minor, wrong.total_minor) = (649, 301, 649);
    assert_eq!(
        differs(&wrong),
        [
            "line 0: recorded 649, priced again 650",
            "line 0: recorded discounts P1 301; priced again P1 300",
            "total: recorded 649, priced again 650"
        ]
    );
    let taken = Sale { taken_at_ms: Some(NOON), ..wrong };
    assert_eq!(rerate(&book, &receipt.header, &taken), Rerated::AsTaken);
    let borne: Vec<i64> = body.lines[0].discounts[0].funders.iter().map(|part| part.amount_minor).collect();
    assert_eq!(borne, [100, 200]);
    let mut state = ReceiptState::default();
    let mut back: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
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
        let (entry, plan) = shop.book(decision);
        let Body::Return(body) = &entry.body else { panic!("a return") };
        for part in body.lines.iter().flat_map(|line| &line.funded) {
            *back.entry(part.party.to_string()).or_default() += part.amount_minor;
        }
        let Some(ReceiptChange::Changed { state: next, .. }) = plan.receipt else { panic!("a return") };
        state = next;
    }
    let back: Vec<(&str, i64)> = back.iter().map(|(party, amount)| (party.as_str(), *amount)).collect();
    assert_eq!(back, [("hub", 100), ("store:S1", 200), ("supplier:SUP1", 50)], "each what it had borne, the store too");
}
