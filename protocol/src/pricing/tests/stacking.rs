//! How promotions stand to each other: priorities, exclusive, best price, compound, thresholds.

use serde_json::json;

use super::only;
use crate::policy::AcrossPriorities;
use crate::pricing::testing::*;

#[test]
fn the_stacking_case_of_d365_costs_31_04() {
    let both = only(&["P1", "P2"]);
    let cart = Cart::of([piece("P1", 1_000), piece("P2", 2_000), piece("P3", 1_000)]);
    let priced = cart.price(json!([
        promotion("BP1", percent(15), json!({ "priority": 10, "combine": "best_price", "goods": both })),
        promotion("BP2", percent(20), json!({ "priority": 5, "combine": "best_price" })),
        promotion("C1", amount(100), json!({ "priority": 10, "combine": "compound", "goods": both })),
        promotion("C2", percent(10), json!({ "priority": 10, "combine": "compound", "goods": both })),
        promotion("C3", percent(25), json!({ "priority": 5, "combine": "compound" })),
        promotion("C4", threshold_percent(1_000, 10), json!({ "priority": 5, "combine": "compound" })),
    ]));
    assert_eq!((nets(&priced), priced.total_minor), (vec![729, 1_700, 675], 3_104));
    assert_eq!(why(&priced, "BP1"), ["applied 300 [1]", "beaten C1 [0]"]);
    assert_eq!(why(&priced, "C2"), ["applied 90 [0]", "beaten BP1 [1]"]);
    assert_eq!(why(&priced, "C3"), ["applied 250 [2]", "outranked BP1 [1]", "outranked C1 [0]"]);
    assert_eq!(why(&priced, "C4"), ["applied 156 [0, 2]", "already_discounted BP1 [1]"]);
}

#[test]
fn a_threshold_looks_at_what_is_left_after_item_promotions() {
    let item = promotion("I", amount(1), json!({ "combine": "compound" }));
    let cart = Cart::of([piece("A", 10_000)]);
    let compound = promotion("T", threshold(10_000, 1_000), json!({ "combine": "compound" }));
    let priced = cart.price(json!([item, compound]));
    assert_eq!((nets(&priced), why(&priced, "T")), (vec![9_999], vec!["below_threshold 1 [0]".to_owned()]));
    let priced = cart.price(json!([item, promotion("T", threshold(9_999, 1_000), json!({ "combine": "compound" }))]));
    assert_eq!(nets(&priced), [8_999], "the priority gate does not keep a threshold out");
    let priced = cart.price(json!([item, promotion("T", threshold(9_999, 1_000), json!({}))]));
    assert_eq!(why(&priced, "T"), ["already_discounted I [0]"], "one that does not combine wants lines of its own");
}

#[test]
fn of_thresholds_the_exclusive_one_goes_first_then_the_better_of_best_and_compound() {
    let cart = Cart::of([piece("A", 10_000), piece("B", 10_000)]);
    let t = |id: &str, off_minor, combine: &str, goods: serde_json::Value| {
        promotion(id, threshold(10_000, off_minor), json!({ "combine": combine, "goods": goods }))
    };
    let (a, b) = (only(&["A"]), only(&["B"]));
    let priced = cart.price(json!([
        t("E1", 500, "exclusive", a.clone()),
        t("E2", 400, "exclusive", a.clone()),
        t("B", 3_000, "best_price", a.clone()),
        t("C", 1_000, "compound", json!({})),
    ]));
    assert_eq!(nets(&priced), [9_500, 9_000], "what counted for the exclusive one is used up");
    assert_eq!(why(&priced, "E2"), ["beaten E1 [0]"]);
    assert_eq!(why(&priced, "B"), ["blocked_by_exclusive E1 [0]"]);
    assert_eq!(why(&priced, "C"), ["applied 1000 [1]", "blocked_by_exclusive E1 [0]"]);

    let with_best = |off_minor| {
        let best = t("B", off_minor, "best_price", a.clone());
        let on_a = t("C1", 900, "compound", a.clone());
        cart.price(json!([best, on_a, t("C2", 900, "compound", b.clone())]))
    };
    let priced = with_best(900);
    assert_eq!((nets(&priced), why(&priced, "B")), (vec![9_100, 9_100], vec!["beaten C1 [0]".to_owned()]));
    let priced = with_best(901);
    assert_eq!((nets(&priced), why(&priced, "C1")), (vec![9_099, 9_100], vec!["beaten B [0]".to_owned()]));

    let both = |off_minor| {
        cart.price(json!([
            t("B", off_minor, "best_price", a.clone()),
            promotion("C", threshold(20_000, 3_000), json!({ "combine": "compound" })),
        ]))
    };
    assert_eq!(both(3_000).total_minor, 17_000);
    assert_eq!(why(&both(2_000), "B"), ["beaten C [0]"], "20.00 here would cost the 30.00 of both lines");
    assert_eq!(why(&both(3_001), "C"), ["below_threshold 10000 [1]", "beaten B [0]"]);
}

#[test]
fn compound_thresholds_come_off_one_after_the_other_amounts_first() {
    let cart = Cart::of([piece("A", 30_000)]);
    let compound = || json!({ "combine": "compound" });
    let priced = cart.price(json!([
        promotion("A-PERCENT", threshold_percent(20_000, 10), compound()),
        promotion("B-LOW", threshold(30_000, 5_000), compound()),
        promotion("C-HIGH", threshold(30_000, 1_000), json!({ "combine": "compound", "priority": 1 })),
    ]));
    assert_eq!(nets(&priced), [26_100], "10.00 off, the next one misses 10.00, then 10 %");
    assert_eq!(why(&priced, "B-LOW"), ["below_threshold 1000 [0]"]);
}

#[test]
fn a_stack_of_compound_promotions_stops_at_zero() {
    let cart = Cart::of([piece("A", 1_000)]);
    let compound = || json!({ "combine": "compound" });
    let priced = cart.price(json!([
        promotion("P1", amount(600), compound()),
        promotion("P2", amount(600), compound()),
        promotion("P3", percent(50), compound()),
    ]));
    assert_eq!(nets(&priced), [0]);
    assert_eq!(why(&priced, "P2"), ["applied 400 [0]"]);
    assert_eq!(why(&priced, "P3"), ["no_effect [0]"]);
}

#[test]
fn a_compound_set_takes_prices_then_amounts_then_percentages() {
    let cart = Cart::of([piece("A", 2_000)]);
    let compound = || json!({ "combine": "compound" });
    let priced = cart.price(json!([
        promotion("A", percent(10), compound()),
        promotion("B", amount(100), compound()),
        promotion("C", fixed(1_100), compound()),
    ]));
    assert_eq!(nets(&priced), [900]);
}

#[test]
fn across_priorities_one_gate_or_one_stack() {
    let promotions = |second: &str| {
        json!([
            promotion("HIGH", percent(10), json!({ "priority": 2 })),
            promotion("MID", percent(10), json!({ "priority": 1, "combine": second })),
            promotion("LOW", amount(1), json!({ "priority": 0, "combine": "compound" })),
            promotion("NOTHING", fixed(100_000), json!({ "priority": 9, "combine": "exclusive" })),
        ])
    };
    let cart = Cart::of([piece("A", 10_000)]);
    let priced = cart.price(promotions("compound"));
    assert_eq!(nets(&priced), [9_000], "a higher one that gives nothing is not in the way");
    assert_eq!(why(&priced, "NOTHING"), ["no_effect [0]"]);
    assert_eq!(why(&priced, "LOW"), ["outranked HIGH [0]"]);

    let mut across = policy(promotions("compound"));
    across.pricing.across_priorities = AcrossPriorities::Compound;
    assert_eq!(nets(&cart.try_price(&across).unwrap()), [8_099], "10 %, 10 % of the rest, a cent");

    let mut more = promotions("compound");
    more.as_array_mut().unwrap().push(promotion("T", threshold(1, 1), json!({ "combine": "compound" })));
    let mut across = policy(more);
    across.pricing.across_priorities = AcrossPriorities::Compound;
    let priced = cart.try_price(&across).unwrap();
    assert_eq!(why(&priced, "T"), ["already_discounted HIGH [0]"], "compound ones below do not undo the best price");

    let mut across = policy(promotions("exclusive"));
    across.pricing.across_priorities = AcrossPriorities::Compound;
    let priced = cart.try_price(&across).unwrap();
    assert_eq!(nets(&priced), [8_100], "an exclusive winner ends it");
    assert_eq!(why(&priced, "LOW"), ["blocked_by_exclusive MID [0]"]);
}

#[test]
fn an_exclusive_promotion_wins_though_others_give_more() {
    let cart = Cart::of([piece("A", 10_000)]);
    let priced = cart.price(json!([
        promotion("E1", percent(5), json!({ "combine": "exclusive" })),
        promotion("E2", percent(6), json!({ "combine": "exclusive" })),
        promotion("BEST", percent(50), json!({})),
        promotion("COMPOUND", percent(50), json!({ "combine": "compound" })),
        promotion("T", threshold(1, 1), json!({ "combine": "compound" })),
    ]));
    assert_eq!(nets(&priced), [9_400]);
    assert_eq!(why(&priced, "E1"), ["beaten E2 [0]"]);
    assert_eq!(why(&priced, "BEST"), ["blocked_by_exclusive E2 [0]"]);
    assert_eq!(why(&priced, "COMPOUND"), ["blocked_by_exclusive E2 [0]"]);
    assert_eq!(why(&priced, "T"), ["already_discounted E2 [0]"]);
}

#[test]
fn equal_offers_go_to_the_compound_ones_then_to_the_first_id() {
    let cart = Cart::of([piece("A", 1_000)]);
    let priced = cart.price(json!([
        promotion("A", amount(100), json!({})),
        promotion("B", amount(100), json!({ "combine": "compound" })),
    ]));
    assert_eq!(why(&priced, "A"), ["beaten B [0]"]);
    let priced = cart.price(json!([promotion("B", amount(100), json!({})), promotion("A", amount(100), json!({}))]));
    assert_eq!(why(&priced, "B"), ["beaten A [0]"]);
}
