//! What the till takes off the basket as a whole.

use super::super::testing::*;
use super::super::*;
use crate::entry::{LineFlags, Markdown};

fn off(amount_minor: i64, funder: Option<&str>) -> Markdown {
    markdown(amount_minor, funder)[0].clone()
}

#[test]
fn a_coupon_without_goods_is_shared_by_the_lines_that_take_coupons_after_all_promotions() {
    let refused =
        BasketLine { flags: LineFlags { no_coupon: true, ..LineFlags::default() }, ..piece("GIFT CARD", 500) };
    let mut cart = Cart::of([piece("A", 300), refused, piece("B", 200)]);
    cart.markdowns = vec![off(100, Some("partner:ACME")), off(1, None)];
    let half = serde_json::json!([promotion(
        "HALF",
        percent(50),
        serde_json::json!({ "goods": { "include": { "skus": ["A"] } } })
    )]);
    let priced = cart.price(half);
    assert_eq!(
        (nets(&priced), priced.total_minor),
        (vec![107, 500, 142], 749),
        "of 100 cents 43 come off the 150 that A still costs, 57 off the 200 of B"
    );
    let parts: Vec<(DiscountSource, i64, String)> = priced.lines[2]
        .discounts
        .iter()
        .map(|discount| (discount.source, discount.amount_minor, discount.funders[0].party.to_string()))
        .collect();
    assert_eq!(
        parts,
        [
            (DiscountSource::BasketMarkdown { index: 0 }, 57, "partner:ACME".to_owned()),
            (DiscountSource::BasketMarkdown { index: 1 }, 1, "store:S1".to_owned()),
        ],
        "the store bears what nobody is named for; the cent goes to the line that still costs more"
    );
}

#[test]
fn a_coupon_above_what_the_goods_still_cost_refuses_the_basket() {
    let none = policy(serde_json::json!([]));
    let mut cart = Cart::of([piece("A", 300), piece("B", 200)]);
    cart.markdowns = vec![off(300, None), off(201, Some("hub"))];
    assert_eq!(cart.try_price(&none), Err(PricingRefusal::BasketBelowZero { below_minor: 1 }));
    cart.markdowns[1].amount_minor = 200;
    assert_eq!(cart.try_price(&none).unwrap().total_minor, 0, "for nothing is a price");
    cart.markdowns[0].amount_minor = 0;
    assert_eq!(cart.try_price(&none).unwrap_err().code(), "basket_markdown_amount");
    // Coupons do not buy what takes none.
    let flags = LineFlags { no_discount: true, ..LineFlags::default() };
    let mut cart = Cart::of([BasketLine { flags, ..piece("A", 300) }]);
    cart.markdowns = vec![off(1, None)];
    assert_eq!(cart.try_price(&none).unwrap_err().code(), "basket_below_zero");
}
