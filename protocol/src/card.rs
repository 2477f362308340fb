//! Card: its number with a check digit, its status, and what each status permits.
//!
//! A card opens an account; value is the account's (see `allotment`). Numbers are made from a range with a random body that is passed in.
//! Invariant: a number's `Display` and `Debug` are masked, so that no log or metric shows one in full (R: I9).

use std::fmt;
use std::str::FromStr;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{AccountId, IdError, Inline, MemberId, ProductId, StoreId};
use crate::time::{BusinessDay, Stamp};

/// The longest card number in digits.
pub const CARD_DIGITS_MAX: usize = 24;
/// The shortest card number in digits: a shorter one could be guessed.
pub const CARD_DIGITS_MIN: usize = 6;

/// A card's number: 6 to 24 digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardNumber(Inline<CARD_DIGITS_MAX>);

impl CardNumber {
    /// Checks and takes a number. Spaces and dashes between digits, as printed on cards, are not accepted here; clients strip them.
    ///
    /// # Errors
    /// [`IdError`] names what is wrong.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let number = Inline::new(text, "digits", |_, c| c.is_ascii_digit()).map(Self)?;
        if text.len() < CARD_DIGITS_MIN {
            return Err(IdError::Form { expected: "a card number of 6 to 24 digits" });
        }
        Ok(number)
    }

    /// The full number: for the wire, the database and the receipt's owner, never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.reveal();
        write!(f, "****{}", &digits[digits.len() - 4..])
    }
}

impl fmt::Debug for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CardNumber {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for CardNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.reveal())
    }
}

impl<'de> Deserialize<'de> for CardNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_str`: asked for text, a format names whatever else it finds by itself, digits included.
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Reads a number and says what is wrong without repeating it: what cannot be read is most likely a number with a slip, and the error may go into
/// a log or back over the line (R: I9).
struct NumberVisitor;

impl NumberVisitor {
    fn not_text<E: serde::de::Error>(self) -> Result<CardNumber, E> {
        Err(E::invalid_type(Unexpected::Other("a number"), &self))
    }
}

impl Visitor<'_> for NumberVisitor {
    type Value = CardNumber;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a card number as text of 6 to 24 digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<CardNumber, E> {
        CardNumber::new(text).map_err(|why| E::custom(format_args!("card number {why}")))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<CardNumber, E> {
        self.not_text()
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<CardNumber, E> {
        self.not_text()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<CardNumber, E> {
        self.not_text()
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<CardNumber, E> {
        self.not_text()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<CardNumber, E> {
        self.not_text()
    }
}

/// How the last digit of a number guards the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckDigit {
    /// Damm (2004): finds every single wrong digit and every swap of neighbours. The default.
    #[default]
    Damm,
    /// Luhn (ISO/IEC 7812-1), for stock that was printed with it.
    Luhn,
    /// None, for imported stock without one.
    None,
}

/// The quasigroup of order 10 from Damm's thesis, table 4.13: totally anti-symmetric, zero diagonal.
const DAMM: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

impl CheckDigit {
    /// The digit that completes a body of ASCII digits, or `None` for [`CheckDigit::None`].
    #[must_use]
    pub fn of(self, body: &str) -> Option<char> {
        let digits = body.bytes().map(|b| b.wrapping_sub(b'0') % 10);
        let digit = match self {
            Self::None => return None,
            Self::Damm => digits.fold(0, |interim, digit| DAMM[usize::from(interim)][usize::from(digit)]),
            Self::Luhn => {
                let sum: u32 = digits
                    .rev()
                    .enumerate()
                    .map(|(index, digit)| match (index % 2, u32::from(digit)) {
                        (0, digit) if digit > 4 => 2 * digit - 9,
                        (0, digit) => 2 * digit,
                        (_, digit) => digit,
                    })
                    .sum();
                u8::try_from((10 - sum % 10) % 10).unwrap_or(0)
            }
        };
        Some(char::from(b'0' + digit))
    }

    /// Whether the number's last digit is right.
    #[must_use]
    pub fn holds(self, number: &CardNumber) -> bool {
        let (body, last) = number.reveal().split_at(number.reveal().len() - 1);
        self.of(body).is_none_or(|digit| last.starts_with(digit))
    }
}

/// A range of card numbers: a prefix, a length and a check digit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberRange {
    /// The leading digits.
    pub prefix: String,
    /// All digits, prefix and check digit included.
    pub length: u8,
    /// The check digit.
    #[serde(default)]
    pub check: CheckDigit,
}

/// Why a number is not of a range, or a range cannot make one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RangeFault {
    /// Another prefix or length.
    #[error("the number is not of the range")]
    Foreign,
    /// The last digit is wrong: most likely a typing mistake.
    #[error("the check digit is wrong; look at the number again")]
    Check,
    /// Prefix and length leave no room for a random body, or are outside 6 to 24 digits.
    #[error("prefix and length leave no room for a number of 6 to 24 digits")]
    Room,
}

impl NumberRange {
    /// Whether the number has the range's prefix and length.
    #[must_use]
    pub fn covers(&self, number: &CardNumber) -> bool {
        number.reveal().len() == usize::from(self.length) && number.reveal().starts_with(&self.prefix)
    }

    /// Whether the number is a good number of this range.
    ///
    /// # Errors
    /// [`RangeFault`] says why not.
    pub fn accepts(&self, number: &CardNumber) -> Result<(), RangeFault> {
        match (self.covers(number), self.check.holds(number)) {
            (false, _) => Err(RangeFault::Foreign),
            (true, false) => Err(RangeFault::Check),
            (true, true) => Ok(()),
        }
    }

    /// How many random digits a number of this range has.
    ///
    /// # Errors
    /// [`RangeFault::Room`] when there is no room for any.
    pub fn body_digits(&self) -> Result<usize, RangeFault> {
        let (length, check) = (usize::from(self.length), usize::from(self.check != CheckDigit::None));
        let digits = self.prefix.bytes().all(|b| b.is_ascii_digit());
        match length.checked_sub(self.prefix.len() + check) {
            Some(body @ 1..) if digits && (CARD_DIGITS_MIN..=CARD_DIGITS_MAX).contains(&length) => Ok(body),
            _ => Err(RangeFault::Room),
        }
    }

    /// Makes a number from a random value: its lowest decimal digits become the body.
    ///
    /// # Errors
    /// [`RangeFault::Room`] when the range has no room.
    pub fn make(&self, random: u128) -> Result<CardNumber, RangeFault> {
        let digits = self.body_digits()?;
        let body = format!("{:0>39}", random);
        let mut number = format!("{}{}", self.prefix, &body[body.len() - digits..]);
        number.extend(self.check.of(&number));
        CardNumber::new(&number).map_err(|_| RangeFault::Room)
    }
}

/// Where a card is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardStatus {
    /// Made, not sold.
    Blank,
    /// Sold: may load and spend.
    Active,
    /// Stopped for a while, by its owner or the store.
    Frozen,
    /// Reported lost (挂失).
    Lost,
    /// Another card has taken its place.
    Replaced,
    /// Its principal was paid out; the account is over.
    Refunded,
    /// Destroyed stock.
    Destroyed,
    /// In nobody's hands and not for sale: its sale was undone, or value came back to its account after that, and head office has not found the account
    /// empty everywhere yet.
    Withdrawn,
}

impl CardStatus {
    /// Whether somebody has stopped the card: its owner misses it, and whoever has it must not pay with it.
    #[must_use]
    pub const fn is_stopped(self) -> bool {
        matches!(self, Self::Frozen | Self::Lost)
    }

    /// All states.
    pub const ALL: &[Self] = &[
        Self::Blank,
        Self::Active,
        Self::Frozen,
        Self::Lost,
        Self::Replaced,
        Self::Refunded,
        Self::Destroyed,
        Self::Withdrawn,
    ];

    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Lost => "lost",
            Self::Replaced => "replaced",
            Self::Refunded => "refunded",
            Self::Destroyed => "destroyed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`IdError::Form`] when it is no status.
    pub fn new(text: &str) -> Result<Self, IdError> {
        Self::ALL
            .iter()
            .copied()
            .find(|status| status.as_str() == text)
            .ok_or(IdError::Form { expected: "a card status" })
    }

    /// May be sold.
    #[must_use]
    pub const fn may_sell(self) -> bool {
        matches!(self, Self::Blank)
    }

    /// May be reloaded.
    #[must_use]
    pub const fn may_load(self) -> bool {
        matches!(self, Self::Active)
    }

    /// May take the value of returned goods: the money is the owner's, also while the card is stopped.
    #[must_use]
    pub const fn may_take_return(self) -> bool {
        matches!(self, Self::Active | Self::Frozen | Self::Lost)
    }
}

impl fmt::Display for CardStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A card as the hub publishes it and a store's replica holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Its number.
    pub number: CardNumber,
    /// The kind of card.
    pub product: ProductId,
    /// What it opens.
    pub account: AccountId,
    /// Where it is in its life.
    pub status: CardStatus,
    /// When the status was set: a change with a smaller stamp is overtaken news.
    pub status_stamp: Stamp,
    /// The store that may sell it offline while it is blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated_store: Option<StoreId>,
    /// The member it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// The last business day on which it may pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<BusinessDay>,
}

/// A change of a card's status, made at one place and told to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardChange {
    /// The card.
    pub number: CardNumber,
    /// Its new status.
    pub status: CardStatus,
    /// When: the larger stamp wins.
    pub stamp: Stamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{from_msgpack, to_msgpack};

    #[test]
    fn known_check_digits() {
        assert_eq!(CheckDigit::Damm.of("572"), Some('4'), "the example of Damm's thesis");
        assert_eq!(CheckDigit::Luhn.of("7992739871"), Some('3'), "the example of ISO/IEC 7812-1's annex");
        assert_eq!(CheckDigit::None.of("1"), None);
    }

    #[test]
    fn a_number_is_masked_wherever_it_is_printed() {
        let number = CardNumber::new("6601234567890").unwrap();
        assert_eq!(format!("{number} {number:?}"), "****7890 ****7890");
        assert_eq!(serde_json::to_string(&number).unwrap(), "\"6601234567890\"");
    }

    #[test]
    fn bad_numbers_are_named() {
        let check = |text: &str, says: &str| assert_eq!(CardNumber::new(text).unwrap_err().to_string(), says);
        check("12345", "is not a card number of 6 to 24 digits");
        check("12345a", "has 'a' at position 6; allowed are digits");
        check("1234567890123456789012345", "has 25 bytes; at most 24 are allowed");
    }

    #[test]
    fn what_is_no_number_is_refused_without_being_repeated() {
        // Each is a number with a slip: a letter, a space, a digit too many, no quotes, no quotes and too large for an integer.
        let slips = [
            (r#""66012345o7890""#, "position 9"),
            (r#""6601234567890 ""#, "position 14"),
            (r#""6601234567890123456789012""#, "25 bytes"),
            ("6601234567890", "a number, expected a card number as text"),
            ("-6601234567890", "a number, expected"),
            ("66012345678901234567890", "a number, expected"),
        ];
        for (json, says) in slips {
            let why = serde_json::from_str::<CardNumber>(json).unwrap_err().to_string();
            assert!(why.contains(says) && !why.contains("660123"), "{why}");
        }
        let why = from_msgpack::<CardNumber>(&to_msgpack(&"6601234567890x")).unwrap_err();
        assert!(why.contains("position 14") && !why.contains("660123"), "{why}");
        let why = from_msgpack::<CardNumber>(&to_msgpack(&6_601_234_567_890_u64)).unwrap_err();
        assert!(why.contains("a number") && !why.contains("660123"), "{why}");
    }

    #[test]
    fn a_range_without_room_says_so() {
        let range = |prefix: &str, length| NumberRange { prefix: prefix.to_owned(), length, check: CheckDigit::Damm };
        assert_eq!(range("66012", 6).body_digits(), Err(RangeFault::Room));
        assert_eq!(range("6601", 25).body_digits(), Err(RangeFault::Room));
        assert_eq!(range("66x", 16).body_digits(), Err(RangeFault::Room));
        assert_eq!(range("6601", 16).body_digits(), Ok(11));
    }

    proptest! {
        #[test]
        fn a_made_number_is_of_its_range_and_every_slip_is_found(random in any::<u128>(), at in 0_usize..15, other in 1_u8..10) {
            let range = NumberRange { prefix: "6601".to_owned(), length: 16, check: CheckDigit::Damm };
            let number = range.make(random).unwrap();
            prop_assert_eq!(range.accepts(&number), Ok(()));
            let mut digits = number.reveal().as_bytes().to_vec();
            digits[at] = b'0' + (digits[at] - b'0' + other) % 10;
            let slipped = CardNumber::new(std::str::from_utf8(&digits).unwrap()).unwrap();
            prop_assert!(!CheckDigit::Damm.holds(&slipped), "a single wrong digit");
            let mut digits = number.reveal().as_bytes().to_vec();
            digits.swap(at, at + 1);
            if digits != number.reveal().as_bytes() {
                let swapped = CardNumber::new(std::str::from_utf8(&digits).unwrap()).unwrap();
                prop_assert!(!CheckDigit::Damm.holds(&swapped), "two neighbours swapped");
            }
        }
    }
}
