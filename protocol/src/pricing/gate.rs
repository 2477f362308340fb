//! Gate: what must hold before a promotion is looked at: for the basket (store, time, shopper, coupon), and for each line (flags, exclusions, counters).

use super::basket::{Basket, BasketLine};
use super::book::{KeptOut, Listed};
use super::trace::RejectReason;
use super::window;
use crate::id::CounterId;
use crate::policy::{Counters, Who};

/// Whether the promotion is alive in this store at this moment, for anybody.
///
/// # Errors
/// Why not.
pub(super) fn live(listed: &Listed, basket: &Basket<'_>) -> Result<(), RejectReason> {
    let stores = &listed.promotion.place.stores;
    if !stores.is_empty() && !stores.contains(&basket.store) {
        return Err(RejectReason::OtherStore);
    }
    window::holds(&listed.promotion.when, &basket.at)
}

/// Whether this basket may have the promotion at all.
///
/// # Errors
/// Why not.
pub(super) fn basket(listed: &Listed, basket: &Basket<'_>) -> Result<(), RejectReason> {
    live(listed, basket)?;
    shopper(&listed.promotion.who, basket)?;
    // Nothing else ends by a count that the store keeps, so of nothing else is its word taken.
    if listed.has_budget && basket.budgets_spent.contains(&listed.promotion.id) {
        return Err(RejectReason::BudgetSpent);
    }
    match listed.promotion.coupon {
        Some(code) if !basket.coupons.contains(&code) => Err(RejectReason::CouponMissing),
        _ => Ok(()),
    }
}

fn shopper(who: &Who, basket: &Basket<'_>) -> Result<(), RejectReason> {
    let needs_member = who.members || who.birthday_month || !who.tiers.is_empty() || !who.segments.is_empty();
    let Some(shopper) = basket.shopper else {
        return if needs_member { Err(RejectReason::NotMember) } else { Ok(()) };
    };
    if !who.tiers.is_empty() && !shopper.tier.is_some_and(|tier| who.tiers.contains(&tier)) {
        return Err(RejectReason::WrongTier);
    }
    if !who.segments.is_empty() && !shopper.segments.iter().any(|segment| who.segments.contains(segment)) {
        return Err(RejectReason::WrongSegment);
    }
    if who.birthday_month && !shopper.birthday_month {
        return Err(RejectReason::NotBirthdayMonth);
    }
    Ok(())
}

/// Whether a line that is among the goods may have the promotion.
///
/// # Errors
/// Why not.
pub(super) fn line(listed: &Listed, kept_out: Option<&KeptOut>, line: &BasketLine<'_>) -> Result<(), RejectReason> {
    let promotion = &listed.promotion;
    if line.flags.no_discount {
        return Err(RejectReason::NoDiscount);
    }
    if line.flags.no_coupon && promotion.coupon.is_some() {
        return Err(RejectReason::NoCoupon);
    }
    if kept_out.is_some_and(|kept_out| kept_out.of_promotions.contains(line.sku)) {
        return Err(RejectReason::ExcludedByStore);
    }
    if listed.excluded.selects(line) {
        return Err(RejectReason::ExcludedGoods);
    }
    if !takes_part(&promotion.counters, line.counter) {
        return Err(RejectReason::CounterNotTakingPart);
    }
    if !line.known && !promotion.give.is_threshold() {
        return Err(RejectReason::UnknownItem);
    }
    Ok(())
}

fn takes_part(counters: &Counters, counter: Option<CounterId>) -> bool {
    match (counters, counter) {
        (Counters::All {}, _) | (Counters::Except { .. }, None) => true,
        (Counters::Only { own_goods, .. }, None) => *own_goods,
        (Counters::Only { counters, .. }, Some(counter)) => counters.contains(&counter),
        (Counters::Except { counters }, Some(counter)) => !counters.contains(&counter),
    }
}
