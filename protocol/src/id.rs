//! Identities: one newtype per noun, checked when made, cheap to copy.
//!
//! Codes that people give to things (stores, terminals, operators, legal entities) are 1 to 16 visible characters kept inline, so that
//! a settlement over millions of movements allocates nothing for them. Numbers that the hub mints (accounts, members) are integers.
//! Operations are UUIDs made by the till *before* it sends. Nothing here draws an identity; it only checks and carries them.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The longest code in bytes. Sixteen covers store and staff numbers of every chain we looked at and keeps the type `Copy`.
pub const CODE_BYTES_MAX: usize = 16;

/// Why a text is not an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("is empty; give 1 to {max} characters")]
    Empty {
        /// Longest permitted length in bytes.
        max: usize,
    },
    /// More than the permitted length.
    #[error("has {length} bytes; at most {max} are allowed")]
    TooLong {
        /// Length found, in bytes.
        length: usize,
        /// Longest permitted length in bytes.
        max: usize,
    },
    /// A character that is not permitted.
    #[error("has {found:?} at position {position}; allowed are {allowed}")]
    Character {
        /// The character found.
        found: char,
        /// Its position, counted from 1.
        position: usize,
        /// What is permitted, in words.
        allowed: &'static str,
    },
    /// Not of the expected form.
    #[error("is not {expected}")]
    Form {
        /// The form, in words.
        expected: &'static str,
    },
}

/// Text of at most `N` bytes, kept inline; unused bytes are zero, so that equality and order are those of the text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Inline<const N: usize>([u8; N]);

impl<const N: usize> Inline<N> {
    pub(crate) fn new(text: &str, allowed: &'static str, permits: fn(usize, char) -> bool) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty { max: N });
        }
        if let Some((index, found)) = text.chars().enumerate().find(|&(index, c)| !permits(index, c)) {
            return Err(IdError::Character { found, position: index + 1, allowed });
        }
        if text.len() > N {
            return Err(IdError::TooLong { length: text.len(), max: N });
        }
        let mut bytes = [0; N];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        let length = self.0.iter().position(|&b| b == 0).unwrap_or(N);
        std::str::from_utf8(&self.0[..length]).expect("an inline text is made from a whole text")
    }
}

pub(crate) struct TextVisitor<T> {
    pub(crate) expecting: &'static str,
    pub(crate) make: fn(&str) -> Result<T, IdError>,
}

impl<T> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.make)(text).map_err(|why| E::custom(format_args!("{} {text:?} {why}", self.expecting)))
    }
}

const CODE_ALLOWED: &str = "A-Z, a-z, 0-9 and, after the first, '-', '_' and '.'";

fn code_permits(index: usize, c: char) -> bool {
    c.is_ascii_alphanumeric() || (index > 0 && matches!(c, '-' | '_' | '.'))
}

const LABEL_ALLOWED: &str = "letters and digits of any script and, after the first, '-', '_' and '.'";

fn label_permits(index: usize, c: char) -> bool {
    c.is_alphanumeric() || code_permits(index, c)
}

macro_rules! code_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        code_id!($(#[$doc])* $name, $what, CODE_ALLOWED, code_permits);
    };
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:ident, $permits:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Inline<CODE_BYTES_MAX>);

        impl $name {
            /// Checks and takes a code.
            ///
            /// # Errors
            /// [`IdError`] names what is wrong with the text.
            pub fn new(text: &str) -> Result<Self, IdError> {
                Inline::new(text, $allowed, $permits).map(Self)
            }

            /// The code as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor { expecting: $what, make: Self::new })
            }
        }
    };
}

code_id!(
    /// The retail group: one per hub. In every token, bundle and hello, so that a store can never talk to a foreign hub.
    GroupId,
    "group"
);
code_id!(
    /// A store (门店) by the code that the chain gives it.
    StoreId,
    "store"
);
impl StoreId {
    /// The code under which head office writes its own journal (opening balances, cash-outs, corrections). No store may have it.
    pub const HUB: Self = {
        let mut bytes = [0; CODE_BYTES_MAX];
        bytes[0] = b'H';
        bytes[1] = b'U';
        bytes[2] = b'B';
        Self(Inline(bytes))
    };
}

code_id!(
    /// A legal entity (法人) that owns stores or issues cards.
    LegalEntityId,
    "legal entity"
);
code_id!(
    /// A till (收款机) within a store.
    TerminalId,
    "terminal"
);
code_id!(
    /// A person at a till: cashier, clerk, store manager.
    OperatorId,
    "operator"
);
code_id!(
    /// A supplier (供应商).
    SupplierId,
    "supplier"
);
code_id!(
    /// A partner outside the group.
    PartnerId,
    "partner"
);
code_id!(
    /// A concession counter (专柜) within a store.
    CounterId,
    "counter"
);
code_id!(
    /// A kind of card with its own rules (储值卡、购物卡 …).
    ProductId,
    "card product"
);
code_id!(
    /// A tender (支付方式) by its code in the tender catalogue: `cash`, `stored_value`, …
    TenderCode,
    "tender"
);
code_id!(
    /// A level of membership (会员等级): `gold`, `金卡`.
    TierCode,
    "tier",
    LABEL_ALLOWED,
    label_permits
);
code_id!(
    /// What an operator may do at a till (岗位): `cashier`, `店长`.
    RoleCode,
    "role",
    LABEL_ALLOWED,
    label_permits
);
code_id!(
    /// A group of members that head office draws up for a purpose (客群).
    SegmentCode,
    "segment",
    LABEL_ALLOWED,
    label_permits
);
code_id!(
    /// A promotion (促销) of the policy.
    PromotionId,
    "promotion"
);
code_id!(
    /// The code that a coupon (优惠券) carries, as it is scanned or typed; case counts.
    CouponCode,
    "coupon"
);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name(i64);

        impl $name {
            /// Takes a number minted by the hub, from 1 up.
            ///
            /// # Errors
            /// [`IdError::Form`] when it is below 1.
            pub const fn new(number: i64) -> Result<Self, IdError> {
                if number < 1 {
                    return Err(IdError::Form { expected: concat!("a ", $what, " number from 1 up") });
                }
                Ok(Self(number))
            }

            /// The first number that the hub mints.
            pub const FIRST: Self = Self(1);

            /// The number.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = IdError;

            fn try_from(number: i64) -> Result<Self, IdError> {
                Self::new(number)
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> i64 {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// An account: what holds value. Many cards may open one account. Minted by the hub when it makes or imports the card.
    AccountId,
    "account"
);
impl AccountId {
    /// The group's risk account: what stores may let members overdraw is lent from it, and no card opens it. The largest number that readers of JSON keep
    /// whole; the hub mints from 1 up.
    pub const RISK: Self = Self((1 << 53) - 1);
}

number_id!(
    /// A member of the group's programme. Minted by the hub.
    MemberId,
    "member"
);

/// One operation of a till: made and saved by the till before it is sent, unique in the group (R: every retry has one effect).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct OperationId(pub Uuid);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for OperationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match Uuid::try_parse(text) {
            Ok(id) if !id.is_nil() => Ok(Self(id)),
            _ => Err(IdError::Form { expected: "a UUID (version 7 is best, as it sorts by time)" }),
        }
    }
}

/// An incarnation of a store's database. Minted only by the hub; 1 at enrolment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in a store's journal: gap-free from 1 within an epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The position before the first entry.
    pub const ZERO: Self = Self(0);

    /// The next position.
    ///
    /// # Panics
    /// After 2^64 entries, which no store reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a journal never reaches 2^64 entries"))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The key of a journal entry. As text, `S1-1-88`, it is also the number that a receipt prints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The store that wrote it.
    pub store: StoreId,
    /// The incarnation of the store's database.
    pub epoch: Epoch,
    /// The position in the journal.
    pub seq: Seq,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.store, self.epoch, self.seq)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl EntryId {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`IdError`] when it is not STORE-EPOCH-SEQ.
    pub fn new(text: &str) -> Result<Self, IdError> {
        const FORM: IdError = IdError::Form { expected: "a receipt number like S1-1-88 (STORE-EPOCH-SEQ)" };
        let mut parts = text.rsplitn(3, '-');
        let (seq, epoch, store) = (parts.next().ok_or(FORM)?, parts.next().ok_or(FORM)?, parts.next().ok_or(FORM)?);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(seq) || !digits(epoch) {
            return Err(FORM);
        }
        Ok(Self {
            store: StoreId::new(store)?,
            epoch: Epoch(epoch.parse().map_err(|_| FORM)?),
            seq: Seq(seq.parse().map_err(|_| FORM)?),
        })
    }
}

impl FromStr for EntryId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "entry", make: Self::new })
    }
}

/// A blake3 hash with its algorithm beside it when written as text (`b3:…`), as 32 bytes in MessagePack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash before the first entry of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Takes 32 bytes as they stand in a database.
    ///
    /// # Errors
    /// [`IdError::Form`] when they are not 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError::Form { expected: "a hash of 32 bytes" })
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("b3:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        const FORM: IdError = IdError::Form { expected: "a hash like b3: followed by 64 hex digits" };
        let hex = text.strip_prefix("b3:").ok_or(FORM)?;
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(FORM);
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).map_err(|_| FORM)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(TextVisitor { expecting: "hash", make: |text| text.parse() })
        } else {
            let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
            Self::from_slice(&bytes).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_keeps_its_text_and_order() {
        let (a, b) = (StoreId::new("S1").unwrap(), StoreId::new("S10").unwrap());
        assert_eq!(a.as_str(), "S1");
        assert!(a < b, "order is that of the text");
        assert_eq!(StoreId::new("1234567890123456").unwrap().to_string(), "1234567890123456");
    }

    #[test]
    fn a_bad_code_says_what_is_wrong() {
        let check = |text: &str, says: &str| assert_eq!(StoreId::new(text).unwrap_err().to_string(), says);
        check("", "is empty; give 1 to 16 characters");
        check("12345678901234567", "has 17 bytes; at most 16 are allowed");
        check("S 1", "has ' ' at position 2; allowed are A-Z, a-z, 0-9 and, after the first, '-', '_' and '.'");
        check("店1", "has '店' at position 1; allowed are A-Z, a-z, 0-9 and, after the first, '-', '_' and '.'");
    }

    #[test]
    fn a_receipt_number_reads_back_even_when_the_store_has_dashes() {
        let id = EntryId { store: StoreId::new("SH-01").unwrap(), epoch: Epoch(2), seq: Seq(88) };
        assert_eq!(id.to_string(), "SH-01-2-88");
        assert_eq!("SH-01-2-88".parse::<EntryId>().unwrap(), id);
        for bad in ["", "S1", "S1-1", "S1-1-", "S1--1", "S1-x-1", "S1-1-+5", "S1-1-99999999999999999999999"] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hash_reads_back_in_both_encodings() {
        let hash = Hash::of(b"entry");
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        let packed = rmp_serde::to_vec(&hash).unwrap();
        assert_eq!(packed.len(), 34, "bin8 header and 32 bytes");
        assert_eq!(rmp_serde::from_slice::<Hash>(&packed).unwrap(), hash);
        assert_eq!(serde_json::from_str::<Hash>(&serde_json::to_string(&hash).unwrap()).unwrap(), hash);
    }
}
