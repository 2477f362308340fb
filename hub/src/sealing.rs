//! Sealing: the pair to which stores seal what is written on members' forms. Here is the half that opens them.
//!
//! The secret half lies in the database beside the phones that it protects on their way: who reads one could read the other. Stores get the public half
//! with their enrolment, and a box names the key that it was sealed to.

use std::fmt;

use crypto_box::SecretKey;
use crypto_box::aead::OsRng;
use huitong_protocol::member::{Sealed, SealingKey};
use huitong_protocol::wire::from_msgpack;
use serde::de::DeserializeOwned;

/// Why a box was not opened. It says nothing of what is in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// It is sealed to another key.
    #[error("it is sealed to key {found}; this hub has {expected}")]
    Key {
        /// To whose.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// It was changed on its way, or was never a box.
    #[error("it does not open: it was changed, or is no sealed form")]
    Spoilt,
    /// What is in it is not what it should be.
    #[error("what is in it is not a form that this program reads")]
    Content,
}

/// The pair.
pub struct SealingPair(SecretKey);

impl fmt::Debug for SealingPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingPair").field("id", &self.public().id()).finish_non_exhaustive()
    }
}

impl SealingPair {
    /// Makes a pair from the system's random source.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretKey::generate(&mut OsRng))
    }

    /// Takes the secret half.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(SecretKey::from(secret))
    }

    /// The half that stores get.
    #[must_use]
    pub fn public(&self) -> SealingKey {
        SealingKey::new(*self.0.public_key().as_bytes())
    }

    /// The secret half, for the database.
    #[must_use]
    pub fn reveal(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Opens a box.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open<T: DeserializeOwned>(&self, sealed: &Sealed) -> Result<T, OpenError> {
        let own = self.public().id();
        if sealed.key != own {
            return Err(OpenError::Key { found: sealed.key.to_string(), expected: own.to_string() });
        }
        let bytes = self.0.unseal(&sealed.bytes).map_err(|_| OpenError::Spoilt)?;
        from_msgpack(&bytes).map_err(|_| OpenError::Content)
    }
}
