//! Party: who can owe and be owed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{IdError, LegalEntityId, PartnerId, StoreId, SupplierId, TextVisitor};

/// A side of a leg. Written `hub`, `store:S1`, `entity:E1`, `supplier:X`, `partner:X`, `risk`, `unattributed`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Party {
    /// Head office as issuer and clearing house.
    Hub,
    /// A store.
    Store(StoreId),
    /// A legal entity.
    LegalEntity(LegalEntityId),
    /// A supplier.
    Supplier(SupplierId),
    /// A partner outside the group.
    Partner(PartnerId),
    /// The group's risk account: exposure of overdraft and of fenced epochs.
    Risk,
    /// What has no load or home yet; moves in a later run.
    Unattributed,
}

impl Party {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`IdError`] when it is none of the forms, or the code in it is bad.
    pub fn new(text: &str) -> Result<Self, IdError> {
        Ok(match (text, text.split_once(':')) {
            ("hub", _) => Self::Hub,
            ("risk", _) => Self::Risk,
            ("unattributed", _) => Self::Unattributed,
            (_, Some(("store", code))) => Self::Store(StoreId::new(code)?),
            (_, Some(("entity", code))) => Self::LegalEntity(LegalEntityId::new(code)?),
            (_, Some(("supplier", code))) => Self::Supplier(SupplierId::new(code)?),
            (_, Some(("partner", code))) => Self::Partner(PartnerId::new(code)?),
            _ => {
                return Err(IdError::Form {
                    expected: "a party: hub, risk, unattributed, or store:, entity:, supplier:, partner: and a code",
                });
            }
        })
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub => f.write_str("hub"),
            Self::Store(code) => write!(f, "store:{}", code.as_str()),
            Self::LegalEntity(code) => write!(f, "entity:{}", code.as_str()),
            Self::Supplier(code) => write!(f, "supplier:{}", code.as_str()),
            Self::Partner(code) => write!(f, "partner:{}", code.as_str()),
            Self::Risk => f.write_str("risk"),
            Self::Unattributed => f.write_str("unattributed"),
        }
    }
}

impl FromStr for Party {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for Party {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Party {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "party", make: Self::new })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_party_reads_back() {
        for text in ["hub", "store:S1", "entity:E.1", "supplier:88", "partner:P", "risk", "unattributed"] {
            assert_eq!(text.parse::<Party>().unwrap().to_string(), text);
        }
        for bad in ["", "Hub", "store", "store:", "bank:1"] {
            assert!(bad.parse::<Party>().is_err(), "{bad}");
        }
    }
}
