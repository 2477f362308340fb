//! The answer: funders, refusals, what the journal records, and how much was looked at for it.

use serde_json::json;

use super::only;
use crate::entry::LineFlags;
use crate::party::Party;
use crate::pricing::testing::*;
use crate::pricing::*;

#[test]
fn funders_bear_their_shares_to_the_cent() {
    let cart = Cart::of([piece("A", 1_000)]);
    let funding = json!([
        { "party": "hub", "share_ppm": 333_333 },
        { "party": "supplier:S88", "share_ppm": 333_333 },
        { "party": "store", "share_ppm": 333_334 },
    ]);
    let funders = |off_minor: i64, funding: &serde_json::Value| {
        let priced = cart.price(json!([promotion("P", amount(off_minor), json!({ "funding": funding }))]));
        let parts = &priced.lines[0].discounts[0].funders;
        parts.iter().map(|part| format!("{} {}", part.party, part.amount_minor)).collect::<Vec<_>>()
    };
    assert_eq!(funders(100, &funding), ["hub 33", "supplier:S88 33", "store:S1 34"]);
    assert_eq!(funders(1, &funding), ["store:S1 1"], "a part of zero is left out");
    assert_eq!(funders(100, &json!([])), ["store:S1 100"], "the store when nobody is named");
}

#[test]
fn markdowns_come_first_and_keep_their_funder() {
    let line = BasketLine { markdowns: markdown(200, Some("supplier:S88")), ..piece("A", 1_000) };
    let priced = Cart::of([line]).price(json!([promotion("P", percent(50), json!({}))]));
    let [markdown, promotion] = &priced.lines[0].discounts[..] else { panic!("two discounts: {priced:?}") };
    assert_eq!((markdown.source, markdown.amount_minor), (DiscountSource::Markdown { index: 0 }, 200));
    assert_eq!(markdown.funders[0].party, "supplier:S88".parse::<Party>().unwrap());
    assert_eq!((promotion.amount_minor, priced.total_minor), (400, 400), "half of what the markdown left");
    let line = BasketLine { markdowns: testing::markdown(200, None), ..piece("A", 1_000) };
    let priced = Cart::of([line]).price(json!([]));
    assert_eq!(priced.lines[0].discounts[0].funders[0].party, "store:S1".parse::<Party>().unwrap());
}

#[test]
fn a_basket_that_would_pay_the_customer_is_refused() {
    let none = policy(json!([]));
    let coupon = BasketLine { markdowns: markdown(5_000, None), ..piece("COUPON", 0) };
    let refusal = Cart::of([coupon, piece("A", 4_000)]).try_price(&none).unwrap_err();
    assert_eq!(
        (refusal, refusal.code()),
        (PricingRefusal::BasketBelowZero { below_minor: 1_000 }, "basket_below_zero")
    );
    assert!(refusal.to_string().contains("by 1000 minor units"), "{refusal}");
    let refusal = Cart::of([piece("A", 6_000), coupon]).try_price(&none).unwrap_err();
    let expected = PricingRefusal::LineBelowZero { line: 1, below_minor: 5_000 };
    assert_eq!((refusal, refusal.code()), (expected, "line_below_zero"), "no line may be below zero");
    let exact = BasketLine { markdowns: markdown(4_000, None), ..piece("A", 4_000) };
    assert_eq!(Cart::of([exact]).try_price(&none).unwrap().total_minor, 0);
}

#[test]
fn a_line_that_no_sale_can_have_is_named() {
    let none = policy(json!([]));
    let check = |line: BasketLine<'static>, says: &str| {
        let refusal = Cart::of([piece("A", 1), line]).try_price(&none).unwrap_err();
        assert_eq!((refusal.code(), refusal.to_string().as_str()), ("line_amount", says));
    };
    check(piece("B", -1), "line 1: gross_minor is -1; it must not be below 0");
    check(
        BasketLine { quantity_thousandths: 0, ..piece("B", 1) },
        "line 1: quantity_thousandths is 0; it must not be below 1",
    );
    check(
        BasketLine { markdowns: markdown(0, None), ..piece("B", 1) },
        "line 1: markdowns.amount_minor is 0; it must not be below 1",
    );
    check(
        BasketLine { member_price_minor: Some(-1), ..piece("B", 1) },
        "line 1: member_price_minor is -1; it must not be below 0",
    );
    let refusal = Cart::of(vec![piece("A", 1); 1_001]).try_price(&none).unwrap_err();
    assert_eq!(refusal.code(), "too_many_lines");
    let refusal = Cart::of(vec![piece("A", i64::MAX); 2]).try_price(&none).unwrap_err();
    assert_eq!(refusal.code(), "amount_overflow");
}

#[test]
fn the_same_goods_scanned_in_another_order_cost_the_same() {
    // The first threshold leaves an odd cent on A or B; the second one stands on B alone and misses its sum by that cent.
    let promotions = json!([
        promotion("T1", threshold(200, 1), json!({ "combine": "compound", "priority": 1 })),
        promotion("T2", threshold(100, 50), json!({ "combine": "compound", "goods": only(&["B"]) })),
    ]);
    let there = Cart::of([piece("A", 100), piece("B", 100)]).price(promotions.clone());
    let back = Cart::of([piece("B", 100), piece("A", 100)]).price(promotions);
    assert_eq!((nets(&there), nets(&back)), (vec![99, 50], vec![50, 99]));
}

#[test]
fn a_line_earns_points_unless_its_flags_or_a_promotion_on_it_say_no() {
    let no_points = LineFlags { no_points: true, ..LineFlags::default() };
    let cart = Cart::of([piece("A", 100), piece("B", 100), BasketLine { flags: no_points, ..piece("C", 100) }]);
    let priced = cart.price(json!([
        promotion("P", amount(1), json!({ "goods": only(&["A"]), "earns_points": false })),
        promotion("Q", amount(1), json!({ "goods": only(&["B"]) })),
    ]));
    assert_eq!(priced.lines.iter().map(|line| line.earns_points).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn what_the_journal_records_reads_back_and_refuses_what_it_does_not_know() {
    let cart = Cart {
        coupons: vec!["TEN".parse().unwrap()],
        shopper: Some(member(Some("gold"))),
        ..Cart::of([BasketLine { markdowns: markdown(1, None), member_price_minor: Some(90), ..piece("A", 100) }])
    };
    let priced = cart.price(json!([promotion("P", amount(1), json!({ "coupon": "TEN" }))]));
    let packed = rmp_serde::to_vec_named(&priced).unwrap();
    assert_eq!(rmp_serde::from_slice::<Priced>(&packed).unwrap(), priced);
    let shopper = cart.shopper.unwrap();
    assert_eq!(rmp_serde::from_slice::<Shopper>(&rmp_serde::to_vec_named(&shopper).unwrap()).unwrap(), shopper);
    insta::assert_json_snapshot!(priced, @r#"
    {
      "lines": [
        {
          "gross_minor": 100,
          "discounts": [
            {
              "source": {
                "kind": "markdown",
                "index": 0
              },
              "amount_minor": 1,
              "funders": [
                {
                  "party": "store:S1",
                  "amount_minor": 1
                }
              ]
            },
            {
              "source": {
                "kind": "member_price"
              },
              "amount_minor": 9,
              "funders": [
                {
                  "party": "store:S1",
                  "amount_minor": 9
                }
              ]
            },
            {
              "source": {
                "kind": "promotion",
                "promotion": "P"
              },
              "amount_minor": 1,
              "funders": [
                {
                  "party": "store:S1",
                  "amount_minor": 1
                }
              ],
              "coupon": "TEN"
            }
          ],
          "net_minor": 89,
          "earns_points": true
        }
      ],
      "total_minor": 89,
      "trace": [
        {
          "rule": {
            "kind": "member_price"
          },
          "outcome": {
            "verdict": "applied",
            "amount_minor": 9
          },
          "lines": [
            0
          ]
        },
        {
          "rule": {
            "kind": "promotion",
            "promotion": "P"
          },
          "outcome": {
            "verdict": "applied",
            "amount_minor": 1
          },
          "lines": [
            0
          ]
        }
      ]
    }
    "#);
    let stranger = r#"{"source":{"kind":"member_price"},"amount_minor":1,"funders":[],"why":"x"}"#;
    assert!(serde_json::from_str::<Discount>(stranger).is_err());
}

#[test]
fn of_ten_thousand_promotions_only_those_that_match_are_considered() {
    let promotions: Vec<_> = (0..10_000)
        .map(|number| {
            let goods = match number % 4 {
                0 => json!({ "include": { "skus": [format!("SKU{number}")] } }),
                1 => json!({ "include": { "categories": [format!("食品/{number}")] } }),
                2 => json!({ "include": { "brands": [format!("B{number}")] } }),
                _ => json!({ "include": { "suppliers": [format!("S{number}")] } }),
            };
            promotion(&format!("P{number}"), amount(1), json!({ "goods": goods }))
        })
        .collect();
    let book = PriceBook::new(&policy(json!(promotions)));
    let line = BasketLine {
        category_path: "食品/4001/茶",
        brand: "B4002",
        supplier: Some("S4003".parse().unwrap()),
        ..piece("SKU4000", 1_000)
    };
    let cart = Cart::of(vec![line; 30]);
    let candidates = book.candidates(&cart.basket());
    assert_eq!(candidates.len(), 4, "one by each attribute, and each once for all lines");
    assert!(candidates.iter().all(|candidate| candidate.lines.len() == 30));
    assert_eq!(book.price(&cart.basket()).unwrap().trace.len(), 4);
}
