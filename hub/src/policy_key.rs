//! The key that signs policies: an Ed25519 pair in a file of its own, readable by its owner alone.
//!
//! The database knows the public half only, so that neither its backups nor whoever reads it can publish. Only the commands that publish open the
//! file; the daemon never does, and the file may lie on a medium that is attached for publishing (`policy_key` in the configuration). Back it up
//! apart from the database: without it no store takes another policy until it is enrolled anew. Invariant: a pair that stores trust, or are about
//! to, is overwritten only by the one that it has announced itself; a lock beside the file lets one command at a time replace it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use huitong_protocol::bundle::{KeyAnnouncement, KeyId, PolicyKey, Signed};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::lock::{self, beside};
use crate::store::engine::{Store, StoreError, Tx};
use crate::store::{policy, root};

/// A pair in PKCS#8 has 83 bytes; a file of this size is something else.
const KEY_BYTES_MAX: u64 = 4096;

/// Why there is no pair to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("there is no policy key at {path}\n  hint: name its place with policy_key in the configuration, or bring the file back from its backup", path = .0.display())]
    Missing(PathBuf),
    /// Others can read it.
    #[error("the policy key {path} can be read by others\n  hint: chmod 600 {path}; if somebody did read it: huitong-hub policy key rotate", path = .0.display())]
    Open(PathBuf),
    /// The file is not a pair.
    #[error("{path} is not an Ed25519 key\n  hint: bring the file back from its backup", path = .0.display())]
    Malformed(PathBuf),
    /// It is a pair, and another one than stores trust.
    #[error("{path} holds key {found}; stores trust {expected}\n  hint: bring that file back from its backup", path = .path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: KeyId,
        /// Whose it should be.
        expected: KeyId,
    },
    /// Somebody is replacing it.
    #[error("another rotation of {path} is under way\n  hint: huitong-hub policy key show, once it has ended", path = .0.display())]
    Busy(PathBuf),
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
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The pair.
pub struct PolicyPair {
    pair: Ed25519KeyPair,
    path: PathBuf,
}

impl std::fmt::Debug for PolicyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyPair").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl PolicyPair {
    /// Reads the pair.
    ///
    /// # Errors
    /// [`KeyError`] says why there is none.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let failed = |action| move |source| KeyError::File { action, path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(KeyError::Missing(path.to_owned()));
            }
            Err(error) => return Err(failed("open")(error)),
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if file.metadata().map_err(failed("look at"))?.permissions().mode() & 0o077 != 0 {
                return Err(KeyError::Open(path.to_owned()));
            }
        }
        let mut pkcs8 = Vec::new();
        file.take(KEY_BYTES_MAX).read_to_end(&mut pkcs8).map_err(failed("read"))?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError::Malformed(path.to_owned()))?;
        Ok(Self { pair, path: path.to_owned() })
    }

    /// Reads the pair, or makes one when there is none yet.
    ///
    /// # Errors
    /// [`KeyError`] says why there is none.
    pub fn open_or_make(path: &Path) -> Result<Self, KeyError> {
        match Self::open(path) {
            Err(KeyError::Missing(_)) => Self::make(path, path),
            known => known,
        }
    }

    /// Makes a pair in `file` that will live at `path`.
    fn make(file: &Path, path: &Path) -> Result<Self, KeyError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        write_private(file, pkcs8.as_ref()).map_err(|source| KeyError::File {
            action: "write",
            path: file.to_owned(),
            source,
        })?;
        Ok(Self { path: path.to_owned(), ..Self::open(file)? })
    }

    /// Reads the pair that stores trust now. A rotation that broke off after its announcement is finished here.
    ///
    /// # Errors
    /// [`KeyError`], also when the file holds another pair.
    pub fn open_trusted(store: &Store, path: &Path) -> Result<Self, KeyError> {
        let trusted = store.read_blocking(policy::current_key)?;
        let pair = Self::open(path)?;
        if pair.public_key() == trusted.public_key {
            return Ok(pair);
        }
        let next = next_path(path);
        let is_next = || Self::open(&next).is_ok_and(|pair| pair.public_key() == trusted.public_key);
        if !is_next() {
            return Err(KeyError::Other { path: path.to_owned(), found: pair.id(), expected: trusted.id() });
        }
        let _alone = lock(path)?;
        // Whoever rotates may have put it in its place by now.
        if is_next() {
            take_place(&next, path)?;
        }
        Self::open(path)
    }

    /// The half that stores know: 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.public_key())
    }

    /// Signs bytes.
    #[must_use]
    pub fn sign(&self, bytes: Vec<u8>) -> Signed {
        let signature = self.pair.sign(&bytes).as_ref().to_vec();
        Signed { bytes, signature }
    }

    /// Makes a new pair and announces it to all stores, signed by this one, which is gone afterwards. Gives the new one.
    ///
    /// # Errors
    /// [`KeyError`]; this pair stays in use then, or the next command finishes what was announced.
    pub fn rotate(self, store: &Store) -> Result<PolicyKey, KeyError> {
        let path = self.path.clone();
        let _alone = lock(&path)?;
        // Before the next pair is made: the file in its place may be one that was announced and must not be lost.
        store.read_blocking(|tx| check_trusted(tx, &self))?;
        let next = next_path(&path);
        let public_key = Self::make(&next, &path)?.public_key();
        match store.write_blocking(move |tx| announce(tx, &self, &public_key)) {
            Ok(new) => {
                take_place(&next, &path)?;
                Ok(new)
            }
            Err(error) => {
                // After any other failure it is not known whether the announcement is on disk; the file then stays for who looks.
                if matches!(error, StoreError::Rule { .. }) {
                    std::fs::remove_file(&next).map_err(|source| KeyError::File {
                        action: "remove",
                        path: next,
                        source,
                    })?;
                }
                Err(error.into())
            }
        }
    }
}

/// The new key takes a version of its own: it signs whatever comes after.
fn announce(tx: &mut Tx<'_>, signer: &PolicyPair, public_key: &[u8]) -> Result<PolicyKey, StoreError> {
    check_trusted(tx, signer)?;
    let new = PolicyKey { from_version: policy::next_version(tx)?, public_key: public_key.to_vec() };
    let announcement = KeyAnnouncement::new(root::hub(tx)?.group, signer.id(), new.clone());
    policy::put_key(tx, &new, Some(&signer.sign(announcement.encode())))?;
    Ok(new)
}

/// A key that is over has nothing to say: no store would believe its announcement.
fn check_trusted(tx: &mut Tx<'_>, signer: &PolicyPair) -> Result<(), StoreError> {
    let trusted = policy::current_key(tx)?;
    if trusted.public_key == signer.public_key() {
        return Ok(());
    }
    let (found, expected) = (signer.id(), trusted.id());
    let fault = format!("key {found} was replaced by {expected} meanwhile\n  hint: huitong-hub policy key show");
    Err(StoreError::Rule { operation: "announce a policy key", fault })
}

fn next_path(path: &Path) -> PathBuf {
    beside(path, ".next")
}

/// Keeps others from replacing the pair until the lock is dropped.
fn lock(path: &Path) -> Result<File, KeyError> {
    let lock = beside(path, ".lock");
    match lock::take(&lock) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(KeyError::Busy(path.to_owned())),
        Err(source) => Err(KeyError::File { action: "lock", path: lock, source }),
    }
}

fn take_place(next: &Path, path: &Path) -> Result<(), KeyError> {
    let failed = |source| KeyError::File { action: "replace", path: path.to_owned(), source };
    std::fs::rename(next, path).map_err(failed)?;
    sync_folder(path).map_err(failed)
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = beside(path, ".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside)?;
    // The mode of `open` counts only for a new file; one left by a crash keeps its own.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use huitong_protocol::bundle::Trust;
    use huitong_protocol::money::Currency;
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
    }

    fn hub(folder: &Path) -> (Store, PathBuf) {
        let path = folder.join("policy.key");
        let pair = PolicyPair::open_or_make(&path).unwrap();
        let store = Store::open(&folder.join("hub.db"), 1).unwrap();
        let phone_key = huitong_protocol::member::PhoneKey::new([7; 32]);
        crate::init::init(
            &store,
            "G1".parse().unwrap(),
            Currency::CNY,
            pair.public_key(),
            phone_key,
            crate::sealing::SealingPair::new([8; 32]),
        )
        .unwrap();
        (store, path)
    }

    #[test]
    fn a_pair_is_made_once_kept_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.key");
        assert!(matches!(PolicyPair::open(&path), Err(KeyError::Missing(_))));
        let made = PolicyPair::open_or_make(&path).unwrap().public_key();
        assert_eq!(PolicyPair::open_or_make(&path).unwrap().public_key(), made);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(PolicyPair::open_or_make(&path), Err(KeyError::Open(_))));
        write_private(&path, b"no key").unwrap();
        assert!(matches!(PolicyPair::open_or_make(&path), Err(KeyError::Malformed(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"no key", "what is there is never overwritten");
    }

    #[test]
    fn the_private_half_is_not_in_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = hub(folder.path());
        store.close();
        let pkcs8 = std::fs::read(&path).unwrap();
        // PKCS#8 of Ed25519 (RFC 8410): the seed stands after the header of 16 bytes.
        let seed = &pkcs8[16..48];
        let database = std::fs::read(folder.path().join("hub.db")).unwrap();
        assert!(!database.windows(seed.len()).any(|window| window == seed));
    }

    #[test]
    fn another_file_in_the_keys_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = hub(folder.path());
        assert!(PolicyPair::open_trusted(&store, &path).is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(PolicyPair::open_trusted(&store, &path), Err(KeyError::Missing(_))));
        PolicyPair::open_or_make(&path).unwrap();
        assert!(matches!(PolicyPair::open_trusted(&store, &path), Err(KeyError::Other { .. })));
    }

    #[test]
    fn of_two_rotations_at_once_one_is_refused_and_no_key_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = hub(folder.path());
        let [one, two, three] = [(); 3].map(|()| PolicyPair::open_trusted(&store, &path).unwrap());
        let under_way = lock(&path).unwrap();
        assert!(matches!(one.rotate(&store), Err(KeyError::Busy(_))));
        drop(under_way);
        let new = two.rotate(&store).unwrap();
        // The machine stopped before the new pair took its place, and another command had opened the old one before that.
        std::fs::rename(&path, next_path(&path)).unwrap();
        let late = three.rotate(&store).unwrap_err().to_string();
        assert!(late.contains("was replaced by"), "{late}");
        std::fs::rename(next_path(&path), &path).unwrap();
        assert_eq!(PolicyPair::open_trusted(&store, &path).unwrap().public_key(), new.public_key);
    }

    #[test]
    fn a_key_of_any_name_is_written_beside_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.new");
        let other = folder.path().join("policy.next");
        write_private(&other, b"somebody's").unwrap();
        let made = PolicyPair::open_or_make(&path).unwrap().public_key();
        write_private(&folder.path().join("policy.old"), b"another").unwrap();
        assert_eq!(PolicyPair::open(&path).unwrap().public_key(), made);
        assert_ne!(next_path(&path), other);
    }

    #[test]
    fn a_new_key_is_announced_by_the_old_one_and_a_crash_in_between_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = hub(folder.path());
        let old = PolicyPair::open_trusted(&store, &path).unwrap();
        let first = PolicyKey { from_version: 1, public_key: old.public_key() };
        let copy = std::fs::read(&path).unwrap();
        let new = old.rotate(&store).unwrap();
        let pair = PolicyPair::open_trusted(&store, &path).unwrap();
        assert_eq!((pair.public_key(), new.from_version), (new.public_key.clone(), 1));
        let announced = store.read_blocking(|tx| policy::announcement(tx, 1)).unwrap().unwrap();
        // Rotated before anything was published, the new key begins at version 1: nothing is left for the old one to sign.
        let trust = Trust { group: "G1".parse().unwrap(), keys: &[PolicyKey { from_version: 0, ..first }] };
        assert_eq!(trust.open_key(&announced, 1, &verify), Ok(new));
        // The announcement was committed and the machine stopped before the file took its place.
        std::fs::rename(&path, next_path(&path)).unwrap();
        write_private(&path, &copy).unwrap();
        assert_eq!(PolicyPair::open_trusted(&store, &path).unwrap().public_key(), pair.public_key());
        assert!(!next_path(&path).exists());
    }
}
