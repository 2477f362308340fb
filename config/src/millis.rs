//! Lengths of time in a configuration: `"250ms"`, `"25s"`, `"1h30m"`. Points in time and calendar days are `protocol`'s.
//!
//! Invariant: a whole number of milliseconds from 0 to `i64::MAX`, so it fits every `…_ms` field; a bare number is refused,
//! since the reader of a file must not guess its unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Unit names with their length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(i64);

/// Why a text is not a [`Millis`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MillisError {
    /// Nothing was written.
    #[error("a duration is empty; write a number with its unit, such as \"15m\"")]
    Empty,
    /// A minus sign.
    #[error("the duration \"{0}\" is negative")]
    Negative(String),
    /// A decimal point.
    #[error("the duration \"{0}\" has a fraction; use a smaller unit, such as \"1500ms\"")]
    Fraction(String),
    /// A number without unit.
    #[error("the duration \"{0}\" has no unit; use ms, s, m, h or d")]
    NoUnit(String),
    /// A unit that is not known.
    #[error("\"{unit}\" in the duration \"{text}\" is not a unit; use ms, s, m, h or d")]
    UnknownUnit {
        /// The text as given.
        text: String,
        /// The part that is not understood.
        unit: String,
    },
    /// Units not from long to short, or one twice.
    #[error("the units of the duration \"{0}\" must go from long to short, each once, such as \"1h30m\"")]
    Order(String),
    /// More milliseconds than 63 bits hold.
    #[error("the duration \"{0}\" is too long")]
    Overflow(String),
}

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `n` milliseconds.
    #[must_use]
    pub const fn ms(n: u32) -> Self {
        Self(n as i64)
    }

    /// `n` seconds.
    #[must_use]
    pub const fn seconds(n: u32) -> Self {
        Self(n as i64 * 1_000)
    }

    /// `n` minutes.
    #[must_use]
    pub const fn minutes(n: u32) -> Self {
        Self(n as i64 * 60_000)
    }

    /// `n` hours.
    #[must_use]
    pub const fn hours(n: u32) -> Self {
        Self(n as i64 * 3_600_000)
    }

    /// `n` times 24 hours.
    #[must_use]
    pub const fn days(n: u32) -> Self {
        Self(n as i64 * 86_400_000)
    }

    /// The length in milliseconds, never negative.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// The length for timers.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

impl FromStr for Millis {
    type Err = MillisError;

    fn from_str(text: &str) -> Result<Self, MillisError> {
        let given = || text.to_owned();
        if text.is_empty() {
            return Err(MillisError::Empty);
        }
        if text.starts_with('-') {
            return Err(MillisError::Negative(given()));
        }
        let mut rest = text;
        let mut total_ms: u64 = 0;
        let mut unit_before_ms = u64::MAX;
        while !rest.is_empty() {
            let digits_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, after) = rest.split_at(digits_end);
            if after.starts_with(['.', ',']) && !digits.is_empty() {
                return Err(MillisError::Fraction(given()));
            }
            let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_end);
            if unit.is_empty() {
                return Err(MillisError::NoUnit(given()));
            }
            let unit_ms = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
            let Some(unit_ms) = unit_ms.filter(|_| !digits.is_empty()) else {
                return Err(MillisError::UnknownUnit { text: given(), unit: unit.to_owned() });
            };
            if unit_ms >= unit_before_ms {
                return Err(MillisError::Order(given()));
            }
            unit_before_ms = unit_ms;
            total_ms = digits
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(unit_ms))
                .and_then(|part_ms| total_ms.checked_add(part_ms))
                .ok_or_else(|| MillisError::Overflow(given()))?;
            rest = next;
        }
        i64::try_from(total_ms).map(Self).map_err(|_| MillisError::Overflow(given()))
    }
}

impl fmt::Display for Millis {
    /// The longest unit that divides the length: what an operator would have written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.unsigned_abs();
        if ms == 0 {
            return f.write_str("0s");
        }
        let (name, unit_ms) = UNITS.iter().find(|(_, unit_ms)| ms.is_multiple_of(*unit_ms)).unwrap_or(&("ms", 1));
        write!(f, "{}{name}", ms / unit_ms)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MillisVisitor)
    }
}

struct MillisVisitor;

impl serde::de::Visitor<'_> for MillisVisitor {
    type Value = Millis;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as \"250ms\" or \"15m\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Millis, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, ms: i64) {
        assert_eq!(text.parse::<Millis>().map(Millis::as_ms), Ok(ms), "{text}");
    }

    #[test]
    fn a_number_with_its_unit_is_read() {
        check("250ms", 250);
        check("25s", 25_000);
        check("15m", 900_000);
        check("1h30m", 5_400_000);
        check("35d", 3_024_000_000);
        check("0s", 0);
        check("9223372036854775807ms", i64::MAX);
    }

    #[test]
    fn each_fault_is_told_apart() {
        let fault = |text: &str| text.parse::<Millis>().unwrap_err();
        assert_eq!(fault(""), MillisError::Empty);
        assert_eq!(fault("-5s"), MillisError::Negative("-5s".into()));
        assert_eq!(fault("1.5s"), MillisError::Fraction("1.5s".into()));
        assert_eq!(fault("250"), MillisError::NoUnit("250".into()));
        assert_eq!(fault("1h30"), MillisError::NoUnit("1h30".into()));
        assert_eq!(fault("5 min"), MillisError::UnknownUnit { text: "5 min".into(), unit: " min".into() });
        assert_eq!(fault("soon"), MillisError::UnknownUnit { text: "soon".into(), unit: "soon".into() });
        assert_eq!(fault("五m"), MillisError::UnknownUnit { text: "五m".into(), unit: "五m".into() });
        assert_eq!(fault("30m1h"), MillisError::Order("30m1h".into()));
        assert_eq!(fault("1s1s"), MillisError::Order("1s1s".into()));
        for text in ["9223372036854775808ms", "99999999999999999999s", "106751991168d"] {
            assert_eq!(fault(text), MillisError::Overflow(text.into()));
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for ms in [0, 1, 999, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000, i64::MAX] {
            check(&Millis(ms).to_string(), ms);
        }
        assert_eq!(Millis::minutes(90).to_string(), "90m");
        assert_eq!(Millis::days(7).to_string(), "7d");
        assert_eq!(Millis::days(u32::MAX).as_ms(), 371_085_174_288_000_000);
    }
}
