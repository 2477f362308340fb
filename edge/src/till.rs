//! Tills: how one proves which it is, and what it may do beyond selling.
//!
//! A till holds a random token that was shown once at pairing; the store keeps its hash. Drawing the random bytes is the caller's.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;

/// How every token begins, so that a leaked one is recognised by scanners and people.
const TOKEN_PREFIX: &str = "httill_";

/// A till's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Makes a token from 32 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(format!("{TOKEN_PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

    /// The text, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store keeps of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The hash of a token. The token has 256 random bits, so that a plain hash keeps it secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// The hash of a token as it was received.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(*blake3::hash(token.as_bytes()).as_bytes())
    }
}

/// What a till may do beyond selling, loading and returning with a receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Permissions {
    /// Returns without a receipt, where the policy allows them.
    pub return_without_receipt: bool,
    /// Opening and closing the day, and running sync by hand.
    pub day: bool,
    /// Answering for a till that is gone, so that stored value does not wait for it.
    pub excuse: bool,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self { return_without_receipt: true, day: true, excuse: true };
    /// The names, as the command line and the database write them.
    pub const NAMES: &[&str] = &["return_without_receipt", "day", "excuse"];

    /// Adds a permission by its name.
    ///
    /// # Errors
    /// Says which names there are.
    pub fn with(mut self, name: &str) -> Result<Self, String> {
        match name {
            "return_without_receipt" => self.return_without_receipt = true,
            "day" => self.day = true,
            "excuse" => self.excuse = true,
            _ => return Err(format!("is {name:?}; there are {}", Self::NAMES.join(", "))),
        }
        Ok(self)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = [self.return_without_receipt, self.day, self.excuse];
        let names = Self::NAMES.iter().zip(held).filter(|(_, held)| *held).map(|(name, _)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Permissions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').filter(|name| !name.is_empty()).try_fold(Self::default(), Self::with)
    }
}
