//! Member number: as printed on cards and receipts, and as a QR code shows it.
//!
//! The code is `HT1.` + number + check digit. The digit is Damm's, as on cards; a letter counts as two digits (A is 10 … Z is 35), so that numbers
//! with letters are guarded too. The code names a member, it proves nothing: it can be photographed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::card::CheckDigit;
use crate::id::{IdError, Inline, TextVisitor};

/// The longest member number in bytes.
pub const MEMBER_NUMBER_BYTES_MAX: usize = 24;
/// What every version of the code begins with.
const QR_MARK: &str = "HT";
/// The version that this code reads and writes.
const QR_VERSION: &str = "1";

/// A member's number: 1 to 24 letters, digits and, after the first, dashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberNumber(Inline<MEMBER_NUMBER_BYTES_MAX>);

impl MemberNumber {
    /// Checks and takes a number.
    ///
    /// # Errors
    /// [`IdError`] names what is wrong.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let allowed = "A-Z, a-z, 0-9 and, after the first, '-'";
        Inline::new(text, allowed, |index, c| c.is_ascii_alphanumeric() || (index > 0 && c == '-')).map(Self)
    }

    /// The number as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The text of the QR code.
    #[must_use]
    pub fn qr_text(&self) -> String {
        format!("{QR_MARK}{QR_VERSION}.{self}{}", self.check_digit())
    }

    /// Reads what a scanner sent: the QR code's text.
    ///
    /// # Errors
    /// [`QrFault`] says what is wrong with it.
    pub fn from_qr(text: &str) -> Result<Self, QrFault> {
        let (version, rest) =
            text.trim().strip_prefix(QR_MARK).and_then(|rest| rest.split_once('.')).ok_or(QrFault::Foreign)?;
        if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
            return Err(QrFault::Foreign);
        }
        if version != QR_VERSION {
            return Err(QrFault::Version);
        }
        let (number, digit) = match rest.char_indices().next_back() {
            Some((at, digit)) if at > 0 => (&rest[..at], digit),
            _ => return Err(QrFault::Short),
        };
        let number = Self::new(number).map_err(QrFault::Number)?;
        if number.check_digit() == digit { Ok(number) } else { Err(QrFault::Check) }
    }

    fn check_digit(&self) -> char {
        let mut digits = String::with_capacity(2 * MEMBER_NUMBER_BYTES_MAX);
        for byte in self.as_str().bytes() {
            match byte.to_ascii_uppercase() {
                b'0'..=b'9' => digits.push(char::from(byte)),
                letter @ b'A'..=b'Z' => digits.push_str(&(letter - b'A' + 10).to_string()),
                // A dash.
                _ => digits.push_str("36"),
            }
        }
        // Damm has a digit for every body.
        CheckDigit::Damm.of(&digits).unwrap_or('0')
    }
}

/// Why a text is not the QR code of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QrFault {
    /// It is a code of something else: a payment, an invoice, an item.
    #[error("is not a member's code; it begins with HT1. and was perhaps made for something else")]
    Foreign,
    /// A later version of the code.
    #[error("is a member's code of a newer version; update the store's program, and use the number meanwhile")]
    Version,
    /// Number or check digit are missing.
    #[error("ends before its number and check digit; scan it again")]
    Short,
    /// The number is none.
    #[error("has a number that {0}")]
    Number(IdError),
    /// The check digit is wrong.
    #[error("has a wrong check digit; scan it again, or look at the number when it was typed")]
    Check,
}

impl fmt::Display for MemberNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for MemberNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MemberNumber {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for MemberNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MemberNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "member number", make: Self::new })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_the_number_with_its_check_digit() {
        // 572 and its digit are the example of Damm's thesis.
        let number = MemberNumber::new("572").unwrap();
        assert_eq!(number.qr_text(), "HT1.5724");
        assert_eq!(MemberNumber::from_qr(" HT1.5724\r\n"), Ok(number), "as scanners send it");
    }

    #[test]
    fn what_is_wrong_with_a_code_is_said() {
        let check = |text: &str, fault: QrFault| assert_eq!(MemberNumber::from_qr(text), Err(fault), "{text}");
        check("", QrFault::Foreign);
        check("https://example.com/5724", QrFault::Foreign);
        check("HT.5724", QrFault::Foreign);
        check("HTML.5724", QrFault::Foreign);
        check("HT2.5724", QrFault::Version);
        check("HT1.", QrFault::Short);
        check("HT1.4", QrFault::Short);
        check("HT1.5725", QrFault::Check);
        check("HT1.572张", QrFault::Check);
        let fault = MemberNumber::from_qr("HT1.57 24").unwrap_err();
        assert!(fault.to_string().starts_with("has a number that has ' ' at position 3"), "{fault}");
    }

    proptest! {
        #[test]
        fn a_code_reads_back_and_a_wrong_character_is_found(text in "[A-Z0-9][A-Z0-9-]{0,23}", at in 0_usize..24, other in "[0-9]") {
            let number = MemberNumber::new(&text).unwrap();
            prop_assert_eq!(MemberNumber::from_qr(&number.qr_text()), Ok(number));
            let at = at % text.len();
            if text.as_bytes()[at].is_ascii_digit() && text[at..=at] != other {
                let mut slipped = number.qr_text();
                slipped.replace_range(4 + at..5 + at, &other);
                prop_assert_eq!(MemberNumber::from_qr(&slipped), Err(QrFault::Check));
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(HT[0-9]{0,2}[.]?)?.{0,30}") {
            let _ = MemberNumber::from_qr(&text);
        }
    }
}
