//! What each kind of discount takes off.

use serde_json::json;

use crate::entry::LineFlags;
use crate::pricing::testing::*;
use crate::pricing::*;

use super::only;

#[test]
fn a_percentage_rounds_half_up_on_each_line() {
    let cart = Cart::of([piece("A", 5), piece("B", 5), piece("C", 4)]);
    let priced = cart.price(json!([promotion("P", percent(10), json!({}))]));
    assert_eq!(nets(&priced), [4, 4, 4], "half a cent goes up on each, 0.4 is nothing");
    assert_eq!(why(&priced, "P"), ["applied 2 [0, 1]", "no_effect [2]"]);
}

#[test]
fn an_amount_comes_off_each_piece_and_never_more_than_the_line_costs() {
    let pieces = |quantity_thousandths, gross_minor| BasketLine { quantity_thousandths, ..piece("A", gross_minor) };
    let cart = Cart::of([pieces(3_000, 3_000), pieces(335, 335), pieces(2_000, 150)]);
    let priced = cart.price(json!([promotion("P", amount(100), json!({}))]));
    assert_eq!(nets(&priced), [2_700, 301, 0], "33.5 goes up; goods cheaper than the amount stop at zero");
}

#[test]
fn a_fixed_price_counts_only_where_it_is_lower() {
    let pieces = |quantity_thousandths, gross_minor| BasketLine { quantity_thousandths, ..piece("A", gross_minor) };
    let cart = Cart::of([pieces(2_000, 2_000), pieces(1_000, 899), pieces(1_500, 1_500)]);
    let priced = cart.price(json!([promotion("P", fixed(899), json!({}))]));
    assert_eq!(nets(&priced), [1_798, 899, 1_349], "1.5 × 8.99 = 13.485 goes up");
    assert_eq!(why(&priced, "P"), ["applied 353 [0, 2]", "no_effect [1]"]);
}

#[test]
fn a_threshold_is_shared_out_to_the_cent_as_often_as_it_may_be() {
    let cart = Cart::of([piece("A", 10_000), piece("B", 10_000), piece("C", 10_000), piece("D", 99)]);
    let mut give = threshold(10_000, 1_000);
    assert_eq!(
        cart.price(json!([promotion("P", give.clone(), json!({}))])).total_minor,
        29_099,
        "once unless it says more"
    );
    give["repeat_max"] = json!(5);
    let goods = only(&["A", "B", "C"]);
    let priced = cart.price(json!([promotion("P", give.clone(), json!({ "goods": goods }))]));
    assert_eq!(nets(&priced), [9_000, 9_000, 9_000, 99], "three times on 300.00");
    give["off_minor"] = json!(100);
    give["repeat_max"] = json!(1);
    let priced = cart.price(json!([promotion("P", give, json!({ "goods": goods }))]));
    assert_eq!(nets(&priced), [9_966, 9_967, 9_967, 99], "the cent that is left goes to the first");
    let missing = cart.price(json!([promotion("P", threshold(40_000, 1), json!({}))]));
    assert_eq!(why(&missing, "P"), ["below_threshold 9901 [0, 1, 2, 3]"]);
}

#[test]
fn a_member_pays_the_member_price_where_it_is_better() {
    let line =
        |price_minor, gross_minor| BasketLine { member_price_minor: Some(price_minor), ..piece("A", gross_minor) };
    let flagged = LineFlags { no_discount: true, ..LineFlags::default() };
    let lines = [
        line(800, 1_000),
        line(1_200, 1_000),
        BasketLine { quantity_thousandths: 1_500, ..line(801, 1_500) },
        BasketLine { markdowns: markdown(300, None), ..line(800, 1_000) },
        BasketLine { flags: flagged, ..line(800, 1_000) },
        BasketLine { known: false, ..line(800, 1_000) },
    ];
    let mut cart = Cart::of(lines);
    let none = json!([]);
    let stranger = cart.price(none.clone());
    assert_eq!(stranger.total_minor, 6_200);
    assert_eq!(verdicts(&stranger, Rule::MemberPrice), ["not_member [0, 1, 2, 3, 4, 5]"]);
    cart.shopper = Some(member(None));
    let priced = cart.price(none.clone());
    assert_eq!(nets(&priced), [800, 1_000, 1_202, 700, 1_000, 1_000]);
    assert_eq!(
        verdicts(&priced, Rule::MemberPrice),
        ["applied 498 [0, 2]", "no_discount [4]", "unknown_item [5]", "no_effect [1, 3]"]
    );
    assert_eq!(priced.lines[0].discounts[0].source, DiscountSource::MemberPrice);
    let mut off = policy(none);
    off.pricing.member_price = false;
    assert_eq!(verdicts(&cart.try_price(&off).unwrap(), Rule::MemberPrice), ["switched_off [0, 1, 2, 3, 4, 5]"]);
    let priced = cart.price(json!([promotion("P", percent(50), json!({ "goods": only(&["A"]) }))]));
    assert_eq!(priced.lines[0].net_minor, 400, "promotions stand on the member price");
}
