//! Basket: what is to be priced, as values: the lines, the shopper, the coupons, the store and the moment.
//!
//! Attributes of a line are those that the caller chose between item master and till; the engine looks nothing up.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::entry::{LineFlags, Markdown};
use crate::id::{CounterId, CouponCode, MemberId, PromotionId, SegmentCode, StoreId, SupplierId, TierCode};
use crate::time::{BusinessDay, CivilOffset, Instant};

/// A moment as the store's people name it: the business day of the sale, and date and minute on the wall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CivilMoment {
    /// The business day under which the store trades. Days and weekdays of promotions are those of it.
    pub business_day: BusinessDay,
    /// The date on the wall; a day later than the business day when a store trades over midnight.
    pub date: Date,
    /// Minutes after 00:00 on the wall, below 1,440.
    pub minute_of_day: u16,
}

impl CivilMoment {
    /// The moment of an instant at a store with this offset: what an entry's header records, so that a sale can be priced again.
    #[must_use]
    pub fn of(business_day: BusinessDay, at: Instant, offset: CivilOffset) -> Self {
        let local_ms = at.plus_ms(i64::from(offset.minutes()) * 60_000).ms();
        let civil = jiff::Timestamp::from_millisecond(local_ms).map_or_else(
            |_| business_day.date().at(0, 0, 0, 0),
            |timestamp| jiff::tz::Offset::UTC.to_datetime(timestamp),
        );
        let minute = i32::from(civil.hour()) * 60 + i32::from(civil.minute());
        Self { business_day, date: civil.date(), minute_of_day: u16::try_from(minute).unwrap_or(0) }
    }
}

/// The member at the till as far as prices ask. Recorded in the journal, so that the sale can be priced again when the member has changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shopper {
    /// Who; nobody yet for somebody who was enrolled at this store and whom head office has not made a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// The tier on the business day of the sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierCode>,
    /// The segments on that day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentCode>,
    /// Whether it is the month of the birthday.
    #[serde(default)]
    pub birthday_month: bool,
}

/// A line of the basket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BasketLine<'a> {
    /// The item.
    pub sku: &'a str,
    /// Its category from the root: `食品/饮料`; empty when it has none.
    pub category_path: &'a str,
    /// Its brand; empty when it has none.
    pub brand: &'a str,
    /// The counter that sells it.
    pub counter: Option<CounterId>,
    /// Who supplies it.
    pub supplier: Option<SupplierId>,
    /// How much, in thousandths, above zero.
    pub quantity_thousandths: i64,
    /// The line at the shelf price, not below zero.
    pub gross_minor: i64,
    /// Discounts that the till gave, each above zero.
    pub markdowns: &'a [Markdown],
    /// What one piece, or one kilogram, costs members.
    pub member_price_minor: Option<i64>,
    /// What must not happen to it.
    pub flags: LineFlags,
    /// Whether the item master has the item. One that it has not gets no member price and no item promotion.
    pub known: bool,
}

/// A basket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Basket<'a> {
    /// Where.
    pub store: StoreId,
    /// When.
    pub at: CivilMoment,
    /// For whom; `None` for a passer-by.
    pub shopper: Option<&'a Shopper>,
    /// The coupons shown. A code twice counts once.
    pub coupons: &'a [CouponCode],
    /// Promotions of the store's own whose budget this basket would exceed: they are not given.
    pub budgets_spent: &'a [PromotionId],
    /// What the till takes off the basket as a whole, each above zero.
    pub markdowns: &'a [Markdown],
    /// What.
    pub lines: &'a [BasketLine<'a>],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_what_the_wall_of_the_store_shows() {
        let day = "2026-11-22".parse().unwrap();
        // 2026-11-22T17:30:00Z is half past one on the 23rd in Shanghai, where the store still trades under the 22nd.
        let moment = CivilMoment::of(day, Instant(1_795_368_600_000), CivilOffset::new(480).unwrap());
        assert_eq!((moment.date, moment.minute_of_day), (jiff::civil::date(2026, 11, 23), 90));
        let moment = CivilMoment::of(day, Instant(1_795_368_600_000), CivilOffset::new(-300).unwrap());
        assert_eq!((moment.date, moment.minute_of_day), (jiff::civil::date(2026, 11, 22), 750));
    }
}
