//! Sizes in bytes in a configuration: `"64KiB"`, `"1MiB"`, `"10MB"`.
//!
//! Invariant: a whole number of bytes that fits 63 bits, as every count in the store does; the unit is always written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Units that are written, largest first; the binary ones are what [`fmt::Display`] uses.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A size, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

/// Why a text is not a [`ByteSize`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ByteSizeError {
    /// Nothing was written.
    #[error("a size is empty; write a number with its unit, such as \"1MiB\"")]
    Empty,
    /// A minus sign.
    #[error("the size \"{0}\" is negative")]
    Negative(String),
    /// A decimal point.
    #[error("the size \"{0}\" has a fraction; use a smaller unit, such as \"1536KiB\"")]
    Fraction(String),
    /// A number without unit.
    #[error("the size \"{0}\" has no unit; use B, KiB, MiB, GiB or TiB")]
    NoUnit(String),
    /// A unit that is not known; letters count, since `MB` and `Mb` are different things.
    #[error("\"{unit}\" in the size \"{text}\" is not a unit; use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB")]
    UnknownUnit {
        /// The text as given.
        text: String,
        /// The part that is not understood.
        unit: String,
    },
    /// More bytes than 63 bits count.
    #[error("the size \"{0}\" is too large")]
    Overflow(String),
}

impl ByteSize {
    /// `n` bytes.
    #[must_use]
    pub const fn bytes(n: u32) -> Self {
        Self(n as u64)
    }

    /// `n` times 1024 bytes.
    #[must_use]
    pub const fn kib(n: u32) -> Self {
        Self((n as u64) << 10)
    }

    /// `n` times 1024² bytes.
    #[must_use]
    pub const fn mib(n: u32) -> Self {
        Self((n as u64) << 20)
    }

    /// `n` times 1024³ bytes.
    #[must_use]
    pub const fn gib(n: u32) -> Self {
        Self((n as u64) << 30)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// The size for buffers and body limits; on a machine that cannot address as much, the most that it can.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let given = || text.to_owned();
        if text.is_empty() {
            return Err(ByteSizeError::Empty);
        }
        if text.starts_with('-') {
            return Err(ByteSizeError::Negative(given()));
        }
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, after) = text.split_at(digits_end);
        if after.is_empty() {
            return Err(ByteSizeError::NoUnit(given()));
        }
        if after.starts_with(['.', ',']) && !digits.is_empty() {
            return Err(ByteSizeError::Fraction(given()));
        }
        let unit_bytes = UNITS.iter().find(|(name, _)| *name == after).map(|(_, bytes)| *bytes);
        let Some(unit_bytes) = unit_bytes.filter(|_| !digits.is_empty()) else {
            return Err(ByteSizeError::UnknownUnit { text: given(), unit: after.to_owned() });
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(unit_bytes))
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(Self)
            .ok_or_else(|| ByteSizeError::Overflow(given()))
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that divides the size, else bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit_bytes) = UNITS
            .iter()
            .filter(|(name, _)| name.ends_with("iB"))
            .find(|(_, unit_bytes)| self.0 != 0 && self.0.is_multiple_of(*unit_bytes))
            .unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit_bytes)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByteSizeVisitor)
    }
}

struct ByteSizeVisitor;

impl serde::de::Visitor<'_> for ByteSizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size with its unit, such as \"64KiB\" or \"1MiB\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, bytes: u64) {
        assert_eq!(text.parse::<ByteSize>().map(ByteSize::as_bytes), Ok(bytes), "{text}");
    }

    #[test]
    fn a_number_with_its_unit_is_read() {
        check("0B", 0);
        check("512B", 512);
        check("64KiB", 65_536);
        check("1MiB", 1_048_576);
        check("10MB", 10_000_000);
        check("2kB", 2_000);
        check("3GiB", 3_221_225_472);
        check("9223372036854775807B", 9_223_372_036_854_775_807);
    }

    #[test]
    fn each_fault_is_told_apart() {
        let fault = |text: &str| text.parse::<ByteSize>().unwrap_err();
        assert_eq!(fault(""), ByteSizeError::Empty);
        assert_eq!(fault("-1MiB"), ByteSizeError::Negative("-1MiB".into()));
        assert_eq!(fault("1.5MiB"), ByteSizeError::Fraction("1.5MiB".into()));
        assert_eq!(fault("4096"), ByteSizeError::NoUnit("4096".into()));
        assert_eq!(fault("1mb"), ByteSizeError::UnknownUnit { text: "1mb".into(), unit: "mb".into() });
        assert_eq!(fault("MiB"), ByteSizeError::UnknownUnit { text: "MiB".into(), unit: "MiB".into() });
        for text in ["9223372036854775808B", "8388608TiB", "99999999999999999999B"] {
            assert_eq!(fault(text), ByteSizeError::Overflow(text.into()));
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for bytes in [0, 1, 1_023, 1_024, 1_536, 1 << 20, 10_000_000, 1 << 42] {
            check(&ByteSize(bytes).to_string(), bytes);
        }
        assert_eq!(ByteSize::kib(1_536).to_string(), "1536KiB");
        assert_eq!(ByteSize::mib(2_048).to_string(), "2GiB");
    }
}
