//! Quote: the proof that a till was told a price, carried by the till and checked when it posts the sale.
//!
//! The store keeps nothing of a quote: what it needs to price the same again (policy, moment) travels with it under a keyed hash over the basket, so that
//! a till can neither make one up nor use one for other goods. Text form: `Q1.VERSION.PRICED_AT_MS.TOTAL.HASH`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::card::CardNumber;
use crate::entry::Markdown;
use crate::id::{CouponCode, Hash, IdError, MemberId};
use crate::money::Currency;
use crate::till::{AskQuote, PostSale, TillLine};
use crate::time::Instant;

/// The key of a store's quotes: 32 random bytes, made by the store and kept by it.
#[derive(Clone, Copy)]
pub struct QuoteKey(pub [u8; 32]);

/// What a quote is about, by reference.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Asked<'a> {
    /// The currency.
    pub currency: Currency,
    /// The member.
    pub member: Option<MemberId>,
    /// The member's card.
    pub member_card: Option<CardNumber>,
    /// The coupons.
    pub coupons: &'a [CouponCode],
    /// What comes off the basket as a whole.
    pub markdowns: &'a [Markdown],
    /// The basket.
    pub lines: &'a [TillLine],
}

impl<'a> From<&'a AskQuote> for Asked<'a> {
    fn from(ask: &'a AskQuote) -> Self {
        let AskQuote { currency, member, member_card, coupons, markdowns, lines } = ask;
        Self { currency: *currency, member: *member, member_card: *member_card, coupons, markdowns, lines }
    }
}

impl<'a> From<&'a PostSale> for Asked<'a> {
    fn from(sale: &'a PostSale) -> Self {
        let PostSale { currency, member, member_card, coupons, markdowns, lines, .. } = sale;
        Self { currency: *currency, member: *member, member_card: *member_card, coupons, markdowns, lines }
    }
}

/// A quote as the till carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuoteToken {
    /// The policy that priced it.
    pub policy_version: u64,
    /// When.
    pub priced_at: Instant,
    /// What it came to.
    pub total_minor: i64,
    /// What was asked and what it came to, under the store's key.
    pub mac: Hash,
}

impl QuoteToken {
    /// Makes the proof of a price.
    #[must_use]
    pub fn new(key: &QuoteKey, asked: Asked<'_>, policy_version: u64, priced_at: Instant, total_minor: i64) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&key.0);
        hasher.update(&policy_version.to_be_bytes());
        hasher.update(&priced_at.0.to_be_bytes());
        hasher.update(&total_minor.to_be_bytes());
        hasher.update(&crate::wire::to_msgpack(&asked));
        Self { policy_version, priced_at, total_minor, mac: Hash(*hasher.finalize().as_bytes()) }
    }

    /// Whether this store made it, for this basket.
    #[must_use]
    pub fn is_of(&self, key: &QuoteKey, asked: Asked<'_>) -> bool {
        Self::new(key, asked, self.policy_version, self.priced_at, self.total_minor) == *self
    }
}

impl fmt::Display for QuoteToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q1.{}.{}.{}.{}", self.policy_version, self.priced_at.0, self.total_minor, self.mac)
    }
}

impl FromStr for QuoteToken {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parse = || {
            let mut parts = text.strip_prefix("Q1.")?.splitn(4, '.');
            let policy_version = parts.next()?.parse().ok()?;
            let priced_at = Instant(parts.next()?.parse().ok()?);
            let total_minor = parts.next()?.parse().ok()?;
            let mac = parts.next()?.parse().ok()?;
            Some(Self { policy_version, priced_at, total_minor, mac })
        };
        parse().ok_or(IdError::Form { expected: "a quote as this store gave it; send it back unchanged" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_reads_back_and_is_of_one_basket_one_total_and_one_store() {
        let (key, other) = (QuoteKey([7; 32]), QuoteKey([8; 32]));
        let coupons: [CouponCode; 1] = ["TEA15".parse().unwrap()];
        let asked = Asked {
            currency: Currency::CNY,
            member: None,
            member_card: None,
            coupons: &coupons,
            markdowns: &[],
            lines: &[],
        };
        let token = QuoteToken::new(&key, asked, 4, Instant(5), 600);
        assert_eq!(token.to_string().parse::<QuoteToken>().unwrap(), token);
        assert!(token.is_of(&key, asked));
        assert!(!token.is_of(&other, asked), "another store's");
        assert!(!token.is_of(&key, Asked { coupons: &[], ..asked }), "another basket's");
        let markdowns = [Markdown { amount_minor: 100, reason: "coupon".to_owned(), funder: None }];
        assert!(!token.is_of(&key, Asked { markdowns: &markdowns, ..asked }), "without the coupon that it has now");
        assert!(!QuoteToken { total_minor: 500, ..token }.is_of(&key, asked), "a price that was never told");
        assert!(!QuoteToken { policy_version: 3, ..token }.is_of(&key, asked));
        assert!(!QuoteToken { priced_at: Instant(6), ..token }.is_of(&key, asked));
        for text in ["", "Q1", "Q2.4.5.600.00", "Q1.4.5.600.zz", "Q1.4.5"] {
            assert!(text.parse::<QuoteToken>().is_err(), "{text}");
        }
    }
}
