//! Identity document: its number, checked by the rules of its kind. The number is personal data of the strictest kind: stores never get it.
//!
//! Invariant: `Display` and `Debug` of a number are masked, and a fault never repeats what was typed (R: I9).

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::id::IdError;

/// The longest document number in bytes.
const NUMBER_BYTES_MAX: usize = 24;
/// Digits of a resident identity card (GB 11643).
const RESIDENT_DIGITS: usize = 18;
/// The weights of GB 11643: 2^17, 2^16 … 2 modulo 11.
const RESIDENT_WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
/// The check character by the weighted sum modulo 11.
const RESIDENT_CHECKS: &[u8; 11] = b"10X98765432";

/// The kinds of documents that people show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// The resident identity card (居民身份证), and the residence permits that are numbered like it.
    ResidentCard,
    /// A passport.
    Passport,
    /// The mainland travel permit of residents of Hong Kong and Macao (港澳居民来往内地通行证).
    HongKongMacaoPermit,
    /// The mainland travel permit of residents of Taiwan (台湾居民来往大陆通行证).
    TaiwanPermit,
    /// Another document with a number.
    Other,
}

/// Why a text is not a document's number. It never says which text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DocumentFault {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// More than any document has.
    #[error("has {0} characters; at most 24 are allowed")]
    Long(usize),
    /// A character that documents do not have.
    #[error("has {0:?}; letters and digits are allowed")]
    Character(char),
    /// Not 18 characters.
    #[error("has {0} characters; a resident identity card has 18 (ask for the newer card when it shows 15)")]
    Length(usize),
    /// Not 17 digits and a digit or X.
    #[error("is not 17 digits and a check character (a digit or X)")]
    Digits,
    /// The digits 7 to 14 are no date.
    #[error("has no date of birth in its digits 7 to 14")]
    Birth,
    /// The last character is wrong.
    #[error("has a wrong check character; look at the number again")]
    Check,
}

/// A document's number, letters large and narrow.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdentityNumber(String);

impl IdentityNumber {
    /// Reads a number as people write it, with spaces and full-width characters, and checks it by the rules of its kind.
    ///
    /// # Errors
    /// [`DocumentFault`].
    pub fn new(kind: DocumentKind, text: &str) -> Result<Self, DocumentFault> {
        let narrow = |c: char| match c {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            other => other,
        };
        let number: String =
            text.chars().filter(|c| !c.is_whitespace()).map(|c| narrow(c).to_ascii_uppercase()).collect();
        if let Some(other) = number.chars().find(|c| !c.is_ascii_alphanumeric()) {
            return Err(DocumentFault::Character(other));
        }
        match number.len() {
            0 => return Err(DocumentFault::Empty),
            length if length > NUMBER_BYTES_MAX => return Err(DocumentFault::Long(length)),
            _ => {}
        }
        if kind == DocumentKind::ResidentCard {
            check_resident(number.as_bytes())?;
        }
        Ok(Self(number))
    }

    /// The full number: for the master of head office, never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

fn check_resident(number: &[u8]) -> Result<(), DocumentFault> {
    if number.len() != RESIDENT_DIGITS {
        return Err(DocumentFault::Length(number.len()));
    }
    let (digits, check) = number.split_at(RESIDENT_DIGITS - 1);
    if !digits.iter().all(u8::is_ascii_digit) || !(check[0].is_ascii_digit() || check[0] == b'X') {
        return Err(DocumentFault::Digits);
    }
    let value =
        |range: std::ops::Range<usize>| digits[range].iter().fold(0_i16, |sum, d| 10 * sum + i16::from(d - b'0'));
    let (month, day) = (i8::try_from(value(10..12)), i8::try_from(value(12..14)));
    match (month, day) {
        (Ok(month), Ok(day)) if value(6..10) >= 1_800 && Date::new(value(6..10), month, day).is_ok() => {}
        _ => return Err(DocumentFault::Birth),
    }
    let sum: u32 = digits.iter().zip(RESIDENT_WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    if RESIDENT_CHECKS[(sum % 11) as usize] == check[0] { Ok(()) } else { Err(DocumentFault::Check) }
}

impl fmt::Display for IdentityNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Short numbers show nothing: four of six characters would be most of them.
        let shown = if self.0.len() > 8 { &self.0[self.0.len() - 4..] } else { "" };
        write!(f, "****{shown}")
    }
}

impl fmt::Debug for IdentityNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl DocumentKind {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResidentCard => "resident_card",
            Self::Passport => "passport",
            Self::HongKongMacaoPermit => "hong_kong_macao_permit",
            Self::TaiwanPermit => "taiwan_permit",
            Self::Other => "other",
        }
    }
}

impl FromStr for DocumentKind {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        [Self::ResidentCard, Self::Passport, Self::HongKongMacaoPermit, Self::TaiwanPermit, Self::Other]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(IdError::Form {
                expected: "a kind of document: resident_card, passport, hong_kong_macao_permit, taiwan_permit or other",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GB 11643-1999, annex B, and one that ends in X.
    const RESIDENT: [&str; 2] = ["11010519491231002X", "440524188001010014"];

    fn resident(text: &str) -> Result<IdentityNumber, DocumentFault> {
        IdentityNumber::new(DocumentKind::ResidentCard, text)
    }

    #[test]
    fn a_resident_card_is_checked_to_its_last_character() {
        for text in RESIDENT {
            assert_eq!(resident(text).unwrap().reveal(), text);
        }
        assert_eq!(resident(" １１０１０５ 19491231 002x").unwrap().reveal(), RESIDENT[0]);
        let check = |text: &str, fault| assert_eq!(resident(text), Err(fault), "{text}");
        check("110105194912310021", DocumentFault::Check);
        check("11010519491231001X", DocumentFault::Check);
        check("110105194902310021", DocumentFault::Birth);
        check("11010519491231X021", DocumentFault::Digits);
        check("11010519491231002Y", DocumentFault::Digits);
        check("110105491231002", DocumentFault::Length(15));
        check("", DocumentFault::Empty);
        check("110105-19491231", DocumentFault::Character('-'));
    }

    #[test]
    fn every_wrong_digit_of_a_resident_card_is_found() {
        for at in 0..17 {
            for other in b'0'..=b'9' {
                let mut bytes = RESIDENT[0].as_bytes().to_vec();
                if bytes[at] != other {
                    bytes[at] = other;
                    assert!(resident(std::str::from_utf8(&bytes).unwrap()).is_err(), "{other} at {at}");
                }
            }
        }
    }

    #[test]
    fn other_documents_are_plain_numbers_and_all_are_masked() {
        let passport = IdentityNumber::new(DocumentKind::Passport, "e1234 5678").unwrap();
        assert_eq!(passport.reveal(), "E12345678");
        assert_eq!(format!("{passport} {passport:?} {}", resident(RESIDENT[0]).unwrap()), "****5678 ****5678 ****002X");
        let kind = "hong_kong_macao_permit".parse::<DocumentKind>().unwrap();
        assert_eq!(IdentityNumber::new(kind, "H1234567").unwrap().to_string(), "****");
        assert_eq!(IdentityNumber::new(DocumentKind::Other, &"9".repeat(25)), Err(DocumentFault::Long(25)));
        assert!("driving_licence".parse::<DocumentKind>().unwrap_err().to_string().contains("resident_card, passport"));
    }
}
