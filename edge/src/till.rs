//! Tills: how one proves which it is, and what it may do beyond selling.
//!
//! A till holds a token that was shown once at pairing; the store keeps its hash. It is random, and says whose it is with a word of the store's own key on
//! that: a token that this store made is known as such even by a database that is older than the pairing. Drawing the random bytes is the caller's.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use huitong_protocol::id::TerminalId;

/// How every token begins, so that a leaked one is recognised by scanners and people.
const TOKEN_PREFIX: &str = "httill_";

/// The bytes of a token's random part, and of the word on it.
const PART_BYTES: usize = 32;

/// What a store marks its tokens with.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// Derives it from the store's private key.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        Self(blake3::derive_key("huitong-edge tokens of tills, version 1", secret))
    }

    fn word(&self, random: &[u8; PART_BYTES], terminal: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(random).update(terminal.as_bytes());
        hasher.finalize()
    }

    /// For which terminal this store made a token, whether or not it still knows. None when it did not.
    #[must_use]
    pub fn terminal_of(&self, token: &str) -> Option<TerminalId> {
        let bytes = BASE32_NOPAD.decode(token.strip_prefix(TOKEN_PREFIX)?.to_ascii_uppercase().as_bytes()).ok()?;
        let (random, rest) = bytes.split_first_chunk::<PART_BYTES>()?;
        let (word, terminal) = rest.split_first_chunk::<PART_BYTES>()?;
        let terminal = std::str::from_utf8(terminal).ok()?;
        // Compared in constant time, as hashes of this kind are.
        (self.word(random, terminal) == blake3::Hash::from_bytes(*word)).then(|| terminal.parse().ok())?
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

/// A till's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Makes a terminal's token from random bytes.
    #[must_use]
    pub fn make(key: &TokenKey, terminal: TerminalId, random: [u8; PART_BYTES]) -> Self {
        let mut bytes = random.to_vec();
        bytes.extend_from_slice(key.word(&random, terminal.as_str()).as_bytes());
        bytes.extend_from_slice(terminal.as_str().as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_the_key_that_made_it_and_by_no_other() {
        let (own, other) = (TokenKey::derive(b"own"), TokenKey::derive(b"other"));
        let (t1, t2): (TerminalId, TerminalId) = ("T1".parse().unwrap(), "T2".parse().unwrap());
        let token = Token::make(&own, t1, [7; 32]);
        assert_eq!((own.terminal_of(token.reveal()), other.terminal_of(token.reveal())), (Some(t1), None));
        // The same random bytes in another till's name.
        let second = Token::make(&own, t2, [7; 32]);
        let mixed = format!("{}{}", &token.reveal()[..110], &second.reveal()[110..]);
        assert_ne!(mixed, second.reveal());
        for bad in [mixed.as_str(), "", TOKEN_PREFIX, "httill_aaaa", &token.reveal()[..60]] {
            assert_eq!(own.terminal_of(bad), None, "{bad}");
        }
    }
}
