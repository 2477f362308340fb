//! Pricing: what a basket costs under a policy, who bears each discount, and why.
//!
//! This file orders the stages and does nothing else; each kind of discount has its file. The order: the shelf price; the till's markdowns; the
//! member price, where it is lower; item promotions, line by line; thresholds over many lines, on what is left; what the till takes off the basket as
//! a whole. Edge, hub, simulator and replay price with this code, so a price has one definition. Nothing is looked up here and no clock is read.
//!
//! Invariant (I7): for every line gross − Σ discounts = net ≥ 0, funders bear exactly their discount, lines sum to the total, and the result depends
//! neither on the order of promotions in the policy nor, in total, on the order of lines in the basket.

mod allocation;
mod amount;
mod basket;
mod basket_markdown;
mod book;
mod coupon;
mod fixed_price;
mod gate;
mod member_price;
mod percent;
mod priced;
mod stack;
mod threshold;
mod trace;
mod window;
mod work;

pub use self::basket::{Basket, BasketLine, CivilMoment, Shopper};
pub use self::book::PriceBook;
pub use self::priced::{Discount, DiscountSource, FundedPart, Priced, PricedLine, PricingRefusal};
pub use self::trace::{Considered, RejectReason, Rule, Verdict};
use self::work::Work;
use crate::money::MoneyError;

impl PriceBook {
    /// What a basket costs. The same basket gives the same bytes.
    ///
    /// # Errors
    /// [`PricingRefusal`] when the basket cannot be sold as it is.
    pub fn price(&self, basket: &Basket<'_>) -> Result<Priced, PricingRefusal> {
        let mut work = Work::after_markdowns(self, basket)?;
        member_prices(&mut work)?;
        let passed = through_the_gate(&mut work);
        for (line, candidates) in passed.items.iter().enumerate() {
            stack::settle_line(&mut work, line, candidates)?;
        }
        threshold::settle(&mut work, passed.thresholds)?;
        basket_markdown::settle(&mut work)?;
        let mut unmet = Vec::new();
        coupon::explain(self, basket, &work.candidates, &mut unmet);
        let (lines, total_minor, mut trace) = work.finish()?;
        trace.append(&mut unmet);
        trace.sort();
        Ok(Priced { lines, total_minor, trace })
    }
}

fn member_prices(work: &mut Work<'_>) -> Result<(), MoneyError> {
    let switched_on = work.book.rules.member_price;
    for (at, line) in (0_u16..).zip(work.basket.lines) {
        let index = usize::from(at);
        match member_price::off_minor(switched_on, work.basket, line, work.remaining_minor[index])? {
            Some(Ok(amount_minor)) => work.take_member_price(index, amount_minor),
            Some(Err(reason)) => work.member_price.reject(reason, [at]),
            None => {}
        }
    }
    Ok(())
}

/// The candidates that passed the gate, in the order of their ids.
struct Passed {
    /// Item promotions, by line.
    items: Vec<Vec<usize>>,
    /// Thresholds, with their lines.
    thresholds: Vec<(usize, Vec<usize>)>,
}

fn through_the_gate(work: &mut Work<'_>) -> Passed {
    let mut items = vec![Vec::new(); work.basket.lines.len()];
    let mut thresholds = Vec::new();
    let kept_out = work.book.kept_out(work.basket.store);
    for candidate in 0..work.candidates.len() {
        let listed = work.listed(candidate);
        if let Err(reason) = gate::basket(listed, work.basket) {
            work.reject_whole(candidate, reason);
            continue;
        }
        let mut passed = Vec::new();
        for at in 0..work.candidates[candidate].lines.len() {
            let line = usize::from(work.candidates[candidate].lines[at]);
            match gate::line(listed, kept_out, &work.basket.lines[line]) {
                Ok(()) => passed.push(line),
                Err(reason) => work.reject(candidate, line, reason),
            }
        }
        if !listed.promotion.give.is_threshold() {
            passed.into_iter().for_each(|line| items[line].push(candidate));
        } else if !passed.is_empty() {
            thresholds.push((candidate, passed));
        }
    }
    Passed { items, thresholds }
}

#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
