//! Coupon: what became of the codes that were shown.
//!
//! The gate lets a promotion with a coupon through when its code is in the basket; here are the codes that came to nothing: those that no promotion
//! knows that is alive in this store now, and those whose goods are not in the basket.

use std::collections::HashSet;

use super::book::Candidate;
use super::trace::{Considered, RejectReason, Rule, Verdict};
use super::{Basket, PriceBook, gate};

/// Adds the verdicts on codes that came to nothing.
pub(super) fn explain(book: &PriceBook, basket: &Basket<'_>, candidates: &[Candidate], trace: &mut Vec<Considered>) {
    let mut seen = HashSet::new();
    for &coupon in basket.coupons.iter().filter(|&&coupon| seen.insert(coupon)) {
        let rejected = |rule, reason| Considered { rule, outcome: Verdict::Rejected(reason), lines: Vec::new() };
        let mut known = false;
        for listed in book.of_coupon(coupon).filter(|listed| gate::live(listed, basket).is_ok()) {
            known = true;
            let promotion = listed.promotion.id;
            let met = candidates.binary_search_by_key(&promotion, |c| book.listed[c.listed].promotion.id).is_ok();
            if !met {
                trace.push(rejected(Rule::Promotion { promotion }, RejectReason::NoGoods));
            }
        }
        if !known {
            trace.push(rejected(Rule::Coupon { coupon }, RejectReason::UnknownCoupon));
        }
    }
}
