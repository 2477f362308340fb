//! Basket markdowns: what the till takes off the basket as a whole, after all promotions: a coupon without goods, a sum rounded down.
//!
//! Each is shared out over the lines that take coupons and discounts, in the ratio of what they still cost, so that a return gives back its part of it. In
//! the order of the request; one that is more than those lines still cost refuses the basket, as the till would pay the customer.

use super::allocation::{order_by_content, over_lines};
use super::priced::PricingRefusal;
use super::work::Work;
use crate::money::sum;

/// Takes the basket's markdowns off its lines.
pub(super) fn settle(work: &mut Work<'_>) -> Result<(), PricingRefusal> {
    let basket = work.basket;
    if basket.markdowns.is_empty() {
        return Ok(());
    }
    let takes = |line: &usize| {
        let flags = basket.lines[*line].flags;
        !flags.no_discount && !flags.no_coupon
    };
    let lines: Vec<usize> = order_by_content(basket.lines).into_iter().filter(takes).collect();
    for (index, markdown) in (0_u16..).zip(basket.markdowns) {
        if markdown.amount_minor < 1 {
            return Err(PricingRefusal::BasketMarkdown { index, found: markdown.amount_minor });
        }
        let left_minor = sum(lines.iter().map(|&line| work.remaining_minor[line]))?;
        if markdown.amount_minor > left_minor {
            return Err(PricingRefusal::BasketBelowZero { below_minor: markdown.amount_minor - left_minor });
        }
        for (line, part_minor) in over_lines(markdown.amount_minor, &lines, &work.remaining_minor)? {
            if part_minor > 0 {
                work.take_basket_markdown(line, index, markdown, part_minor);
            }
        }
    }
    Ok(())
}
