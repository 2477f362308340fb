//! The store's key: an Ed25519 pair that is made here, at enrolment, and never leaves the data directory.
//!
//! The file `identity.key` holds the pair as PKCS#8, readable by its owner alone. What the hub calls the store (group, code, epoch) is in
//! the database. Invariant: a key that exists is never overwritten, so that an enrolment whose answer was lost can be repeated.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::till::TokenKey;

/// The key's file in the data directory.
pub const KEY_FILE: &str = "identity.key";
/// A pair in PKCS#8 has 83 bytes; a file of this size is something else.
const KEY_BYTES_MAX: u64 = 4096;

/// Why there is no key to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store was never enrolled.
    #[error("there is no key at {path}; enrol the store first: huitong-edge enrol --hub URL --token TOKEN", path = .0.display())]
    Missing(PathBuf),
    /// Others can read the key.
    #[error("the key {path} can be read by others; run chmod 600 {path}, and enrol again if somebody did", path = .0.display())]
    Open(PathBuf),
    /// The file is not a key.
    #[error("{path} is not an Ed25519 key", path = .0.display())]
    Malformed(PathBuf),
    /// The random source failed.
    #[error("the system's random source failed")]
    Random,
    /// The file could not be read or written.
    #[error("could not {action} {path}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The store's key pair, and what is derived from its private half.
pub struct StoreKey {
    pair: Ed25519KeyPair,
    tokens: TokenKey,
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

impl StoreKey {
    /// Reads the key of an enrolled store.
    ///
    /// # Errors
    /// [`KeyError`] says why there is none.
    pub fn open(data_dir: &Path) -> Result<Self, KeyError> {
        let path = data_dir.join(KEY_FILE);
        let failed = |action| {
            let path = path.clone();
            move |source| KeyError::File { action, path, source }
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(KeyError::Missing(path)),
            Err(error) => return Err(failed("open")(error)),
        };
        let mode = file.metadata().map_err(failed("look at"))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Open(path));
        }
        let mut pkcs8 = Vec::new();
        file.take(KEY_BYTES_MAX).read_to_end(&mut pkcs8).map_err(failed("read"))?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError::Malformed(path))?;
        Ok(Self { pair, tokens: TokenKey::derive(&pkcs8) })
    }

    /// Reads the key, or makes one when there is none yet.
    ///
    /// # Errors
    /// [`KeyError`] says why there is none.
    pub fn open_or_make(data_dir: &Path) -> Result<Self, KeyError> {
        match Self::open(data_dir) {
            Err(KeyError::Missing(path)) => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
                write_private(&path, pkcs8.as_ref()).map_err(|source| KeyError::File {
                    action: "write",
                    path,
                    source,
                })?;
                Self::open(data_dir)
            }
            known => known,
        }
    }

    /// What the hub checks signatures with: 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// What the store marks its tills' tokens with.
    #[must_use]
    pub const fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// Signs a text; the result is in base64, as the header wants it.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        data_encoding::BASE64.encode(self.pair.sign(text.as_bytes()).as_ref())
    }
}

/// Whether a message was signed with the private half of an Ed25519 key.
#[must_use]
pub fn is_signed_by(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

/// Writes a file that only its owner can read, whole or not at all.
///
/// # Errors
/// The file could not be written; a file that was there before is unchanged.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    // The mode of `open` counts only for a new file; one left by a crash keeps its own.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Bytes that nobody guesses, for tokens.
///
/// # Errors
/// [`KeyError::Random`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0_u8; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(StoreKey::open(dir.path()), Err(KeyError::Missing(_))));
        let made = StoreKey::open_or_make(dir.path()).unwrap().public_key();
        assert_eq!(made.len(), 32);
        assert_eq!(StoreKey::open_or_make(dir.path()).unwrap().public_key(), made);
        let mode = std::fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        StoreKey::open_or_make(dir.path()).unwrap();
        let path = dir.path().join(KEY_FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(StoreKey::open_or_make(dir.path()), Err(KeyError::Open(_))));
        write_private(&path, b"no key").unwrap();
        assert!(matches!(StoreKey::open_or_make(dir.path()), Err(KeyError::Malformed(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"no key", "what is there is never overwritten");
    }
}
