//! Whom, when, where and on which goods a promotion is for, each with its reason when not.

use serde_json::json;

use super::only;
use crate::entry::LineFlags;
use crate::pricing::testing::*;
use crate::pricing::*;

#[test]
fn a_promotion_holds_in_its_days_weekdays_and_hours() {
    let check = |when: serde_json::Value, moment: CivilMoment, said: &str| {
        let cart = Cart { at: moment, ..Cart::of([piece("A", 1_000)]) };
        let priced = cart.price(json!([promotion("P", amount(1), json!({ "when": when }))]));
        assert_eq!(why(&priced, "P"), [format!("{said} [0]")], "{when} at {moment:?}");
    };
    let noon = |day: &str| at(day, day, 720);
    let days = json!({ "from": "2026-11-20", "to": "2026-11-22" });
    check(days.clone(), noon("2026-11-19"), "wrong_day");
    check(days.clone(), noon("2026-11-20"), "applied 1");
    check(days.clone(), noon("2026-11-22"), "applied 1");
    check(days.clone(), noon("2026-11-23"), "wrong_day");
    check(days, at("2026-11-22", "2026-11-23", 30), "applied 1"); // The day goes on after midnight.
    check(json!({ "weekdays": [6, 7] }), noon("2026-11-22"), "applied 1");
    check(json!({ "weekdays": [6, 7] }), noon("2026-11-23"), "wrong_weekday");
    let hours = json!({ "times": [["09:00", "12:00"], ["18:00", "24:00"]] });
    check(hours.clone(), at("2026-11-22", "2026-11-22", 539), "wrong_time");
    check(hours.clone(), at("2026-11-22", "2026-11-22", 540), "applied 1");
    check(hours.clone(), at("2026-11-22", "2026-11-22", 720), "wrong_time");
    check(hours, at("2026-11-22", "2026-11-22", 1_439), "applied 1");
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_opened() {
    // Saturday night, 22:00 to 02:00. 2026-11-21 is the Saturday.
    let when = json!({ "weekdays": [6], "times": [["22:00", "02:00"]] });
    let check = |moment: CivilMoment, said: &str| {
        let cart = Cart { at: moment, ..Cart::of([piece("A", 1_000)]) };
        let priced = cart.price(json!([promotion("P", amount(1), json!({ "when": when }))]));
        assert_eq!(why(&priced, "P"), [format!("{said} [0]")], "{moment:?}");
    };
    check(at("2026-11-21", "2026-11-21", 1_319), "wrong_time");
    check(at("2026-11-21", "2026-11-21", 1_320), "applied 1");
    check(at("2026-11-21", "2026-11-22", 119), "applied 1"); // The store still trades under the Saturday.
    check(at("2026-11-22", "2026-11-22", 119), "applied 1"); // The store began the Sunday at midnight.
    check(at("2026-11-22", "2026-11-22", 120), "wrong_weekday");
    check(at("2026-11-22", "2026-11-22", 1_320), "wrong_weekday");
    check(at("2026-11-21", "2026-11-21", 60), "wrong_weekday"); // Friday night.
}

#[test]
fn a_promotion_is_for_its_stores_and_shoppers() {
    let check = |more: serde_json::Value, shopper: Option<Shopper>, said: &str| {
        let cart = Cart { shopper, ..Cart::of([piece("A", 1_000)]) };
        let mut more = more;
        more["goods"] = only(&["A"]);
        let priced = cart.price(json!([promotion("P", amount(1), more.clone())]));
        assert_eq!(why(&priced, "P"), [format!("{said} [0]")], "{more}");
    };
    check(json!({ "where": { "stores": ["S2", "S1"] } }), None, "applied 1");
    check(json!({ "where": { "stores": ["S2"] } }), None, "other_store");
    let members = json!({ "who": { "members": true } });
    check(members.clone(), None, "not_member");
    check(members, Some(member(None)), "applied 1");
    let gold = json!({ "who": { "tiers": ["gold"] } });
    check(gold.clone(), None, "not_member");
    check(gold.clone(), Some(member(None)), "wrong_tier");
    check(gold.clone(), Some(member(Some("silver"))), "wrong_tier");
    check(gold, Some(member(Some("gold"))), "applied 1");
    check(json!({ "who": { "segments": ["staff"] } }), Some(member(None)), "wrong_segment");
    check(json!({ "who": { "segments": ["staff", "mums"] } }), Some(member(None)), "applied 1");
    let birthday = json!({ "who": { "birthday_month": true } });
    check(birthday.clone(), Some(member(None)), "not_birthday_month");
    check(birthday, Some(Shopper { birthday_month: true, ..member(None) }), "applied 1");
    let both = json!({ "who": { "tiers": ["gold"], "segments": ["staff"] } });
    check(both, Some(member(Some("gold"))), "wrong_segment");
}

#[test]
fn an_all_goods_promotion_of_another_store_is_not_even_considered() {
    let cart = Cart::of([piece("A", 1_000)]);
    let promotions = json!([promotion("P", amount(1), json!({ "where": { "stores": ["S2"] } }))]);
    assert_eq!(cart.price(promotions.clone()).trace, []);
    let there = Cart { store: "S2".parse().unwrap(), ..cart };
    assert_eq!(nets(&there.price(promotions)), [999]);
}

#[test]
fn goods_are_found_by_each_attribute_and_excluded_by_each() {
    let tea = BasketLine {
        category_path: "食品/饮料/茶",
        brand: "X",
        counter: Some("C1".parse().unwrap()),
        supplier: Some("S88".parse().unwrap()),
        ..piece("A", 1_000)
    };
    let check = |side: &str, selector: serde_json::Value, said: &[&str]| {
        let mut goods = json!({});
        goods[side] = selector;
        let priced = Cart::of([tea]).price(json!([promotion("P", amount(1), json!({ "goods": goods }))]));
        assert_eq!(why(&priced, "P"), said, "{goods}");
    };
    let hits = [
        json!({ "skus": ["A"] }),
        json!({ "categories": ["食品"] }),
        json!({ "categories": ["食品/饮料"] }),
        json!({ "categories": ["食品/饮料/茶"] }),
        json!({ "brands": ["X"] }),
        json!({ "counters": ["C1"] }),
        json!({ "suppliers": ["S88"] }),
        json!({ "skus": ["B"], "categories": ["食品", "食品/饮料"], "brands": ["X"] }),
    ];
    for selector in hits {
        check("include", selector.clone(), &["applied 1 [0]"]);
        check("exclude", selector, &["excluded_goods [0]"]);
    }
    let misses = [
        json!({ "skus": ["a"] }),
        json!({ "categories": ["食"] }),
        json!({ "categories": ["食品/饮"] }),
        json!({ "categories": ["饮料"] }),
        json!({ "categories": ["食品/饮料/茶/绿茶"] }),
        json!({ "brands": ["Y"] }),
        json!({ "counters": ["C2"] }),
        json!({ "suppliers": ["S8"] }),
    ];
    for selector in misses {
        check("include", selector.clone(), &[]);
        check("exclude", selector, &["applied 1 [0]"]);
    }
}

#[test]
fn a_category_path_written_loosely_by_a_till_is_found() {
    let line = BasketLine { category_path: "/食品//饮料/", ..piece("A", 1_000) };
    let goods = json!({ "include": { "categories": ["食品/饮料"] } });
    assert_eq!(nets(&Cart::of([line]).price(json!([promotion("P", amount(1), json!({ "goods": goods }))]))), [999]);
}

#[test]
fn counters_take_part_or_not() {
    let counter = |code: &str| BasketLine { counter: Some(code.parse().unwrap()), ..piece("A", 1_000) };
    let cart = Cart::of([piece("A", 1_000), counter("C1"), counter("C2")]);
    let check = |counters: serde_json::Value, expected: [i64; 3]| {
        let priced = cart.price(json!([promotion("P", amount(1), json!({ "counters": counters }))]));
        assert_eq!(nets(&priced), expected, "{counters}");
        priced
    };
    check(json!({ "take_part": "all" }), [999, 999, 999]);
    let priced = check(json!({ "take_part": "only", "counters": ["C1"] }), [1_000, 999, 1_000]);
    assert_eq!(why(&priced, "P"), ["applied 1 [1]", "counter_not_taking_part [0, 2]"]);
    check(json!({ "take_part": "only", "counters": ["C1"], "own_goods": true }), [999, 999, 1_000]);
    check(json!({ "take_part": "only", "own_goods": true }), [999, 1_000, 1_000]);
    check(json!({ "take_part": "except", "counters": ["C1"] }), [999, 1_000, 999]);
}

#[test]
fn flags_and_the_item_master_keep_promotions_away() {
    let flag = |no_discount, no_coupon| LineFlags { no_discount, no_coupon, ..LineFlags::default() };
    let lines = [
        BasketLine { flags: flag(true, false), markdowns: markdown(100, None), ..piece("A", 1_000) },
        BasketLine { flags: flag(false, true), ..piece("A", 1_000) },
        BasketLine { known: false, ..piece("A", 1_000) },
        piece("A", 1_000),
    ];
    let cart = Cart { coupons: vec!["HALF".parse().unwrap()], ..Cart::of(lines) };
    let priced = cart.price(json!([
        promotion("COUPON", percent(50), json!({ "coupon": "HALF", "combine": "exclusive" })),
        promotion("PLAIN", percent(10), json!({})),
        promotion("T", threshold(1, 1), json!({})),
    ]));
    assert_eq!(nets(&priced), [900, 900, 999, 500], "markdowns of the till stay; thresholds need no item master");
    assert_eq!(why(&priced, "COUPON"), ["applied 500 [3]", "no_discount [0]", "no_coupon [1]", "unknown_item [2]"]);
    assert_eq!(
        why(&priced, "PLAIN"),
        ["applied 100 [1]", "no_discount [0]", "unknown_item [2]", "blocked_by_exclusive COUPON [3]"]
    );
    assert_eq!(why(&priced, "T")[0], "applied 1 [2]");
}

#[test]
fn a_coupon_opens_its_promotion_and_one_that_comes_to_nothing_says_why() {
    let promotions = json!([
        promotion("NEEDS", amount(10), json!({ "coupon": "TEN" })),
        promotion("OVER", amount(20), json!({ "coupon": "OLD", "when": { "to": "2026-11-21" } })),
        promotion("ELSEWHERE", amount(20), json!({ "coupon": "SHOES", "goods": only(&["SHOE"]) })),
    ]);
    let mut cart = Cart::of([piece("A", 1_000)]);
    let priced = cart.price(promotions.clone());
    assert_eq!((nets(&priced), why(&priced, "NEEDS")), (vec![1_000], vec!["coupon_missing [0]".to_owned()]));
    assert_eq!(why(&priced, "ELSEWHERE"), [""; 0], "goods that are not there are not considered");
    cart.coupons = ["TEN", "TEN", "OLD", "SHOES", "FAKE"].map(|code| code.parse().unwrap()).to_vec();
    let priced = cart.price(promotions);
    assert_eq!(nets(&priced), [990], "a code twice counts once");
    assert_eq!(priced.lines[0].discounts[0].coupon, Some("TEN".parse().unwrap()));
    let coupon = |code: &str| verdicts(&priced, Rule::Coupon { coupon: code.parse().unwrap() });
    assert_eq!(coupon("TEN"), [""; 0]);
    assert_eq!((coupon("OLD"), why(&priced, "OVER")), (vec!["unknown_coupon []".into()], vec!["wrong_day [0]".into()]));
    assert_eq!(coupon("FAKE"), ["unknown_coupon []"]);
    assert_eq!(why(&priced, "ELSEWHERE"), ["no_goods []"]);
}
