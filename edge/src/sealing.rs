//! Sealing: what was written on a form, closed so that only head office can open it. This store cannot read back what it collected.

use crypto_box::PublicKey;
use crypto_box::aead::OsRng;
use huitong_protocol::member::{Sealed, SealingKey};
use huitong_protocol::wire::to_msgpack;
use serde::Serialize;

/// Why a form was not sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The key is not one.
    #[error("the key to seal members' forms with is no key; enrol the store again")]
    Key,
    /// The random source of the system failed.
    #[error("a form could not be sealed; the system's random source failed")]
    Random,
}

/// Seals a form to head office's key.
///
/// # Errors
/// [`SealError`].
pub(crate) fn seal<T: Serialize>(key: &SealingKey, form: &T) -> Result<Sealed, SealError> {
    let bytes: [u8; 32] = key.bytes().try_into().map_err(|_| SealError::Key)?;
    let bytes = PublicKey::from(bytes).seal(&mut OsRng, &to_msgpack(form)).map_err(|_| SealError::Random)?;
    Ok(Sealed { key: key.id(), bytes })
}
