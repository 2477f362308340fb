//! Unit: what an account counts. Money of one currency (principal and bonus together) or points.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{IdError, TextVisitor};
use crate::money::Currency;

/// What a counter counts. Written `CNY` or `points` everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Unit {
    /// Minor units of a currency.
    Money(Currency),
    /// Loyalty points, whole.
    Points,
}

impl Unit {
    /// Reads `points` or a currency code.
    ///
    /// # Errors
    /// [`IdError::Form`] for anything else.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text == "points" { Ok(Self::Points) } else { Currency::new(text).map(Self::Money) }
    }

    /// The currency, when it is money.
    #[must_use]
    pub const fn currency(self) -> Option<Currency> {
        match self {
            Self::Money(currency) => Some(currency),
            Self::Points => None,
        }
    }

    /// The text form, without allocating.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Money(currency) => currency.code(),
            Self::Points => "points",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Unit {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "unit", make: Self::new })
    }
}
