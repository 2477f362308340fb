//! Time as values: an instant, the civil offset beside it, a business day, and the hybrid logical stamp.
//!
//! Nothing here reads a clock. Business days are labels that a store opens and closes; no arithmetic on instants moves money
//! from one day to another. Stamps order movements across stores; safety never depends on them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{IdError, TextVisitor};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Instant(pub i64);

impl Instant {
    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Later by some milliseconds; stops at the ends of the range.
    #[must_use]
    pub const fn plus_ms(self, span_ms: i64) -> Self {
        Self(self.0.saturating_add(span_ms))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// Minutes east of UTC on the wall clock where something happened. Kept beside each instant so that a receipt prints as it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "i16", into = "i16")]
pub struct CivilOffset(i16);

impl CivilOffset {
    /// Takes minutes east of UTC, from −26 h to +26 h (as jiff has it).
    ///
    /// # Errors
    /// [`IdError::Form`] when outside.
    pub const fn new(minutes: i16) -> Result<Self, IdError> {
        if minutes < -26 * 60 || minutes > 26 * 60 {
            return Err(IdError::Form { expected: "an offset of at most 26 hours, in minutes" });
        }
        Ok(Self(minutes))
    }

    /// Minutes east of UTC.
    #[must_use]
    pub const fn minutes(self) -> i16 {
        self.0
    }
}

impl TryFrom<i16> for CivilOffset {
    type Error = IdError;

    fn try_from(minutes: i16) -> Result<Self, IdError> {
        Self::new(minutes)
    }
}

impl From<CivilOffset> for i16 {
    fn from(offset: CivilOffset) -> i16 {
        offset.0
    }
}

/// A business day (营业日): the label under which a store trades from open to close.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusinessDay(Date);

impl BusinessDay {
    /// The day of a civil date.
    #[must_use]
    pub const fn of(date: Date) -> Self {
        Self(date)
    }

    /// The civil date that names the day.
    #[must_use]
    pub const fn date(self) -> Date {
        self.0
    }

    /// The day after; stops at the end of the calendar.
    #[must_use]
    pub fn tomorrow(self) -> Self {
        Self(self.0.tomorrow().unwrap_or(self.0))
    }

    /// Reads `YYYY-MM-DD`.
    ///
    /// # Errors
    /// [`IdError::Form`] when it is not a date.
    pub fn new(text: &str) -> Result<Self, IdError> {
        const FORM: IdError = IdError::Form { expected: "a business day like 2026-11-22" };
        if text.len() != 10 {
            return Err(FORM);
        }
        text.parse().map(Self).map_err(|_| FORM)
    }
}

impl fmt::Display for BusinessDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

impl fmt::Debug for BusinessDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BusinessDay {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for BusinessDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BusinessDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "business day", make: Self::new })
    }
}

/// A hybrid logical clock reading in milliseconds: never behind the writer's own clock, always above everything it has seen.
///
/// It gives attribution one total order over all stores, (`stamp`, store, epoch, seq, movement), in which effects follow
/// their causes (Kulkarni et al., "Logical Physical Clocks", 2014, with the logical part folded into the milliseconds).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Stamp(pub i64);

/// How far a stamp may run ahead of the hub's clock before the hub stops passing it on and raises an exception.
pub const STAMP_AHEAD_MS_MAX: i64 = 60_000;

impl Stamp {
    /// Before every stamp that a clock gives.
    pub const ZERO: Self = Self(0);

    /// The next stamp of a store: max(own clock, last + 1, what it has seen + 1).
    #[must_use]
    pub fn next(own: Instant, last: Self, seen: Self) -> Self {
        Self(own.0.max(last.0.saturating_add(1)).max(seen.0.saturating_add(1)))
    }

    /// Whether the hub may pass the stamp on to other stores (see [`STAMP_AHEAD_MS_MAX`]).
    #[must_use]
    pub const fn is_plausible_at(self, hub: Instant) -> bool {
        self.0.saturating_sub(hub.0) <= STAMP_AHEAD_MS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_business_day_reads_back_and_refuses_other_forms() {
        let day: BusinessDay = "2026-11-22".parse().unwrap();
        assert_eq!(day.to_string(), "2026-11-22");
        assert_eq!(day.tomorrow().to_string(), "2026-11-23");
        for bad in ["", "2026-11-31", "22.11.2026", "2026-1-2", "2026-11-22T00", "+002026-11"] {
            assert!(bad.parse::<BusinessDay>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stamp_follows_its_clock_its_past_and_what_it_saw() {
        assert_eq!(Stamp::next(Instant(100), Stamp(5), Stamp(7)), Stamp(100));
        assert_eq!(
            Stamp::next(Instant(3), Stamp(5), Stamp(2)),
            Stamp(6),
            "a clock that went back does not reorder the store"
        );
        assert_eq!(Stamp::next(Instant(3), Stamp(5), Stamp(9)), Stamp(10), "what was seen comes before");
    }

    #[test]
    fn a_stamp_far_ahead_of_the_hub_is_not_plausible() {
        assert!(Stamp(60_000).is_plausible_at(Instant(0)));
        assert!(!Stamp(60_001).is_plausible_at(Instant(0)));
    }
}
