//! Phone: written in one way whatever way it was typed, shown masked, found by a keyed hash.
//!
//! **A keyed hash of a phone is personal data still.** There are fewer than 10^10 mobile numbers in China, so whoever has the key and the hashes has
//! the phones within the hour; the key only makes a stolen replica useless without it. Keys are values that are passed in; making and keeping them is
//! the hub's, and a store that has one uses it for nothing but look-ups. A phone finds a member and authorises nothing.
//! Invariant: `Display` and `Debug` of a phone are masked, those of a key empty, and a fault never repeats what was typed (R: I9).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::Hash;

/// A telephone number as E.164 writes it: `+8613800138000`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// Why a text is not a telephone number. It never says which text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PhoneFault {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// A character that telephone numbers do not have.
    #[error("has {0:?}; digits, spaces, dashes, brackets and a leading + are allowed")]
    Character(char),
    /// A number that begins with 1 as mobile numbers in China do, and is none.
    #[error("begins like a mobile number of China and is none: 11 digits, the second from 3 to 9; it has {0}")]
    Mobile(usize),
    /// A Chinese number that is neither mobile nor landline.
    #[error(
        "is no number of China: a mobile number of 11 digits, or a landline with its area code; write + and the country code before one of another country"
    )]
    China,
    /// An international number of the wrong length.
    #[error("has {0} digits after the +; 7 to 15 are allowed, the country code first")]
    International(usize),
}

impl Phone {
    /// Reads a number as people write it: full-width digits, spaces, dashes and brackets, with or without +86 or 0086. A number of another country
    /// keeps its + and country code.
    ///
    /// # Errors
    /// [`PhoneFault`].
    pub fn new(text: &str) -> Result<Self, PhoneFault> {
        let mut digits = String::with_capacity(text.len());
        let mut plus = false;
        for c in text.chars() {
            match c {
                '0'..='9' => digits.push(c),
                '\u{ff10}'..='\u{ff19}' => digits.extend(char::from_u32(u32::from(c) - 0xff10 + u32::from('0'))),
                '+' | '\u{ff0b}' if digits.is_empty() && !plus => plus = true,
                '-' | '(' | ')' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0d}' => {}
                // Marks of direction that copying from a contact list brings along.
                '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
                c if c.is_whitespace() => {}
                other => return Err(PhoneFault::Character(other)),
            }
        }
        let rest = if plus { Some(digits.as_str()) } else { digits.strip_prefix("00") };
        match rest {
            None if digits.is_empty() => Err(PhoneFault::Empty),
            Some(rest) => match rest.strip_prefix("86") {
                Some(china) => Self::of_china(china),
                None if !(7..=15).contains(&rest.len()) || rest.starts_with('0') => {
                    Err(PhoneFault::International(rest.len()))
                }
                None => Ok(Self(format!("+{rest}"))),
            },
            // Without a +, 86 before a whole mobile number is the country.
            None => match digits.strip_prefix("86") {
                Some(mobile) if mobile.len() == 11 && mobile.starts_with('1') => Self::of_china(mobile),
                _ => Self::of_china(&digits),
            },
        }
    }

    fn of_china(digits: &str) -> Result<Self, PhoneFault> {
        // Area codes are written with a zero at home and without one after +86; so were mobile numbers of other provinces. Beijing's area code is 10,
        // so ten digits that begin with 10 are a landline.
        let national = digits.strip_prefix('0').unwrap_or(digits);
        let second = national.as_bytes().get(1).copied().unwrap_or_default();
        match (national.as_bytes().first(), national.len()) {
            (Some(b'1'), 11) if (b'3'..=b'9').contains(&second) => {}
            (Some(b'1'), 10) if second == b'0' => {}
            (Some(b'1'), length) => return Err(PhoneFault::Mobile(length)),
            (Some(b'2'..=b'9'), 9..=11) => {}
            _ => return Err(PhoneFault::China),
        }
        Ok(Self(format!("+86{national}")))
    }

    /// The full number: for head office's master and the hash, never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The number for people: `138****5678`; of other kinds only the last four digits.
    #[must_use]
    pub fn masked(&self) -> String {
        let last = self.last_four();
        match self.0.strip_prefix("+86") {
            Some(mobile) if mobile.len() == 11 && mobile.starts_with('1') => format!("{}****{last}", &mobile[..3]),
            _ => format!("****{last}"),
        }
    }

    /// The last four digits, by which a desk looks for somebody.
    #[must_use]
    pub fn last_four(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key under which a group's phones are hashed: 32 random bytes, made once by the hub.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PhoneKey([u8; 32]);

impl PhoneKey {
    /// Takes random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Takes 32 bytes as they stand in a database.
    ///
    /// # Errors
    /// How many they are.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, String> {
        let length = bytes.len();
        bytes.try_into().map(Self).map_err(|_| format!("a phone key of {length} bytes; it has 32"))
    }

    /// The bytes, for the database and the wire.
    #[must_use]
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash by which a phone is found: blake3, keyed.
    #[must_use]
    pub fn hash(&self, phone: &Phone) -> Hash {
        Hash(*blake3::keyed_hash(&self.0, phone.reveal().as_bytes()).as_bytes())
    }
}

impl fmt::Debug for PhoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneKey(..)")
    }
}

impl Serialize for PhoneKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for PhoneKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Self::from_slice(&bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_phone_however_it_is_written() {
        let written = [
            "13800138000",
            "138 0013 8000",
            "138-0013-8000",
            "１３８００１３８０００",
            "+86 138 0013 8000",
            "＋86　138－0013－8000",
            "008613800138000",
            "8613800138000",
            "(+86)13800138000",
            "\u{202d}13800138000\u{202c}",
        ];
        for text in written {
            assert_eq!(Phone::new(text).unwrap().reveal(), "+8613800138000", "{text}");
        }
    }

    #[test]
    fn landlines_and_other_countries_keep_theirs() {
        let check = |text: &str, full: &str, masked: &str| {
            let phone = Phone::new(text).unwrap();
            assert_eq!((phone.reveal(), phone.masked().as_str()), (full, masked), "{text}");
        };
        check("13800135678", "+8613800135678", "138****5678");
        check("0512-6522 1234", "+8651265221234", "****1234");
        check("(010) 6552 9988", "+861065529988", "****9988");
        check("021-61234567", "+862161234567", "****4567");
        check("+852 9123 4567", "+85291234567", "****4567");
        check("0085291234567", "+85291234567", "****4567");
        check("+1 (415) 555-0132", "+14155550132", "****0132");
    }

    #[test]
    fn what_is_no_phone_is_refused_without_repeating_it() {
        let check = |text: &str, fault: PhoneFault| assert_eq!(Phone::new(text), Err(fault), "{text}");
        check("", PhoneFault::Empty);
        check(" - ", PhoneFault::Empty);
        check("1380013800", PhoneFault::Mobile(10));
        check("138001380000", PhoneFault::Mobile(12));
        check("12800138000", PhoneFault::Mobile(11));
        check("65221234", PhoneFault::China);
        check("+86", PhoneFault::China);
        check("+0123456789", PhoneFault::International(10));
        check("+852", PhoneFault::International(3));
        check("138001380OO", PhoneFault::Character('O'));
        check("138+00138000", PhoneFault::Character('+'));
        check("无", PhoneFault::Character('无'));
        for text in ["138001380", "+85212345678901234"] {
            assert!(!Phone::new(text).unwrap_err().to_string().contains(text));
        }
    }

    #[test]
    fn phones_and_keys_are_not_in_debug_text() {
        let (phone, key) = (Phone::new("13800135678").unwrap(), PhoneKey::new([7; 32]));
        assert_eq!(format!("{phone:?} {phone} {key:?}"), "138****5678 138****5678 PhoneKey(..)");
    }

    #[test]
    fn a_hash_depends_on_the_key_and_the_number_alone() {
        let (key, other) = (PhoneKey::new([7; 32]), PhoneKey::new([8; 32]));
        let phone = |text: &str| Phone::new(text).unwrap();
        assert_eq!(key.hash(&phone("+86 138 0013 8000")), key.hash(&phone("13800138000")));
        assert_ne!(key.hash(&phone("13800138000")), key.hash(&phone("13800138001")));
        assert_ne!(key.hash(&phone("13800138000")), other.hash(&phone("13800138000")));
        assert_ne!(key.hash(&phone("13800138000")), Hash::of(b"+8613800138000"), "not the plain hash");
        let packed = rmp_serde::to_vec(&key).unwrap();
        assert_eq!(rmp_serde::from_slice::<PhoneKey>(&packed).unwrap(), key);
        assert!(rmp_serde::from_slice::<PhoneKey>(&packed[..packed.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn what_was_read_reads_back(text in "[+0-9０-９ ()-]{0,20}") {
            if let Ok(phone) = Phone::new(&text) {
                prop_assert_eq!(&Phone::new(phone.reveal()).unwrap(), &phone);
                prop_assert!(!phone.masked().contains(&phone.reveal()[3..]));
            }
        }
    }
}
