//! Horizon: the last business day that a store can have begun, by the hub's clock on the store's wall: its today and one more, for clocks that disagree
//! about midnight.
//!
//! A day's label is the store's word and moves no money, but what settles "up to the last day" must not follow one that was mistyped by decades.

use std::collections::BTreeMap;

use huitong_protocol::id::StoreId;
use huitong_protocol::time::{BusinessDay, Instant};
use jiff::tz::TimeZone;

use crate::store::{StoreError, Tx, organisation};

/// The civil day of an instant on the wall clock of a zone; UTC when the zone is not known. Nothing outside the calendar.
#[must_use]
pub fn day_of(time_zone: &str, at: Instant) -> Option<BusinessDay> {
    let zone = TimeZone::get(time_zone).unwrap_or(TimeZone::UTC);
    let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
    Some(BusinessDay::of(at.to_zoned(zone).date()))
}

/// The last day that a store in a zone can have begun. A hub whose own clock is outside the calendar bounds nothing.
#[must_use]
pub fn last_day(time_zone: &str, now: Instant) -> BusinessDay {
    day_of(time_zone, now).map_or(BusinessDay::of(jiff::civil::Date::MAX), BusinessDay::tomorrow)
}

/// The horizon of every store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Horizon {
    zones: BTreeMap<String, BusinessDay>,
}

impl Horizon {
    /// As of now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn at(tx: &mut Tx<'_>, now: Instant) -> Result<Self, StoreError> {
        let mut zones = BTreeMap::new();
        for store in organisation::stores(tx)? {
            let last = last_day(&store.time_zone, now);
            zones.insert(store.time_zone, last);
        }
        Ok(Self { zones })
    }

    /// Each zone that has stores, with its last day.
    pub fn zones(&self) -> impl Iterator<Item = (&str, BusinessDay)> {
        self.zones.iter().map(|(zone, last)| (zone.as_str(), *last))
    }

    /// The last day of any store; nothing when there are none.
    #[must_use]
    pub fn furthest(&self) -> Option<BusinessDay> {
        self.zones.values().max().copied()
    }
}

/// A day that a store opened beyond its horizon. No run looks at it until the hub's clock has come there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct FarDay {
    /// The store.
    pub store: StoreId,
    /// The day as it is labelled.
    pub business_day: BusinessDay,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_may_be_a_day_ahead_on_its_own_wall_clock() {
        let now = Instant("2026-11-22T15:59:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let check = |zone: &str, last: &str| assert_eq!(last_day(zone, now).to_string(), last, "{zone}");
        check("Asia/Shanghai", "2026-11-23");
        check("Asia/Tokyo", "2026-11-24");
        check("America/Los_Angeles", "2026-11-23");
        assert_eq!(last_day("Asia/Shanghai", Instant(i64::MAX)).to_string(), "9999-12-31");
    }
}
