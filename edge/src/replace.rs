//! Replacement: a store whose database has forgotten something, or whose epoch was ended, gets a new epoch: a new key, an empty database, and the tills that
//! were paired. The old database and key are kept beside it: what its cards held is resolved at head office by them.
//!
//! The daemon stands still meanwhile. The new files are made in a folder of their own and take the old ones' place at the end, the old database going aside
//! before anything else: a crash anywhere leaves either the old store, or no database and a replacement that the same command finishes. Invariants: no file
//! of an old store is overwritten or removed; no database meets the key of another epoch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use huitong_protocol::id::Epoch;
use huitong_protocol::till::Witness;

use crate::config::EdgeConfig;
use crate::continuity::{self, Marker};
use crate::enrol::enrol;
use crate::identity::{KEY_FILE, KeyError, StoreKey, write_private};
use crate::run::{DATABASE_FILE, EdgeError, leave_marker, lock, open_store};
use crate::store::identity::Identity;
use crate::store::{Store, StoreError, WriteTx, till};
use crate::sync::hub_client::HubClient;

/// The folder in which the new store is made.
const NEXT_FOLDER: &str = "next";
/// In it, the name under which the old database is kept.
const KEPT_FILE: &str = "kept";

/// What a replacement did.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// Who the store is now.
    pub identity: Arc<Identity>,
    /// Where the old database is kept.
    pub kept: PathBuf,
}

/// Why a store was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The token is of another store, or does not end the epoch.
    #[error(
        "the token makes this machine store {found} in epoch {epoch}; it is store {known} in epoch {known_epoch}: ask head office for a token that replaces \
         it. The token is used up; what it made is in {aside}, and would be the data directory of {found}", aside = aside.display()
    )]
    Other {
        /// Which store the token is of.
        found: String,
        /// In which epoch.
        epoch: Epoch,
        /// Which store this is.
        known: String,
        /// In which epoch.
        known_epoch: Epoch,
        /// Where that store's key and database are now.
        aside: PathBuf,
    },
    /// Somebody else has the old database open.
    #[error("{path} is in use; end what has it open and try again with the same token", path = .0.display())]
    InUse(PathBuf),
    /// A replacement stopped between the files.
    #[error("a replacement of this store was begun and not finished; finish it with: huitong-edge enrol --replace")]
    Unfinished,
}

/// Refuses to work on a data directory whose files are half exchanged.
pub(crate) fn check_finished(data_dir: &Path) -> Result<(), ReplaceError> {
    let is_half = !data_dir.join(DATABASE_FILE).exists() && data_dir.join(NEXT_FOLDER).join(DATABASE_FILE).exists();
    if is_half { Err(ReplaceError::Unfinished) } else { Ok(()) }
}

/// Replaces the store of a data directory on which no edge is running.
///
/// # Errors
/// [`EdgeError`]; it is safe to try again with the same token, unless it says that the token is used up.
pub async fn replace_alone(
    config: &EdgeConfig,
    hub_client: &Arc<dyn HubClient>,
    token: &str,
) -> Result<Replaced, EdgeError> {
    let data_dir = &config.data_dir;
    let _lock = lock(data_dir)?;
    let (old_path, next) = (data_dir.join(DATABASE_FILE), data_dir.join(NEXT_FOLDER));
    let next_path = next.join(DATABASE_FILE);
    let mut old = None;
    if old_path.exists() {
        let store = open_store(data_dir, &config.store)?;
        let known = store.committed().identity.clone();
        let tills = store.read(till::list);
        close(store, &old_path).await?;
        old = Some((known.ok_or(StoreError::NotEnrolled)?, tills?));
    } else if !next_path.exists() {
        return Err(StoreError::NotEnrolled.into());
    }
    let store = open_store(&next, &config.store)?;
    if store.committed().identity.is_none() {
        enrol(&store, &next, hub_client, token).await?;
    }
    let identity = store.committed().identity.clone().ok_or(StoreError::NotEnrolled)?;
    let start = continuity::own(&store.committed());
    let Some((known, tills)) = old else {
        // The old database is aside already.
        close(store, &next_path).await?;
        return finish(config, &next, identity, start);
    };
    if (known.group, known.store.id) != (identity.group, identity.store.id) || known.epoch >= identity.epoch {
        close(store, &next_path).await?;
        let aside = free(data_dir, &format!("enrolled.{}-{}", identity.store.id, identity.epoch), "");
        std::fs::rename(&next, &aside).map_err(file(&next))?;
        return Err(ReplaceError::Other {
            found: identity.store.id.to_string(),
            epoch: identity.epoch,
            known: known.store.id.to_string(),
            known_epoch: known.epoch,
            aside,
        }
        .into());
    }
    store.write(move |tx: &mut WriteTx<'_>| tills.iter().try_for_each(|paired| till::keep(tx, paired))).await?;
    close(store, &next_path).await?;
    // Head office has ended the old epoch: whoever puts its files back must not find it proved.
    match StoreKey::open(data_dir) {
        Ok(key) => {
            let marker = Marker::open(&config.store.marker_dir, data_dir, &key.public_key());
            marker.and_then(|marker| marker.withdraw()).map_err(StoreError::Marker)?;
        }
        Err(KeyError::Missing(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let kept = free(data_dir, &format!("edge.epoch-{}", known.epoch), ".db");
    let name = kept.file_name().unwrap_or_default().as_encoded_bytes();
    write_private(&next.join(KEPT_FILE), name).map_err(file(&next))?;
    // From here on there is a half exchange, and nothing works on the directory but this.
    std::fs::rename(&old_path, &kept).map_err(file(&old_path))?;
    sync(data_dir)?;
    finish(config, &next, identity, start)
}

/// The new files take their places, once the old database is aside. Each step is left out when it was done before.
fn finish(
    config: &EdgeConfig,
    next: &Path,
    identity: Arc<Identity>,
    start: Option<Witness>,
) -> Result<Replaced, EdgeError> {
    let data_dir = &config.data_dir;
    let kept =
        std::fs::read_to_string(next.join(KEPT_FILE)).map_or_else(|_| data_dir.clone(), |name| data_dir.join(name));
    let rename = |from: &Path, to: &Path| std::fs::rename(from, to).map_err(file(from));
    let (key, next_key) = (data_dir.join(KEY_FILE), next.join(KEY_FILE));
    if next_key.exists() {
        if key.exists() {
            // By its own name: it may have met another epoch's database, and was kept before then.
            let public_key = StoreKey::open(data_dir)?.public_key();
            rename(&key, &data_dir.join(format!("identity.{}.key", &blake3::hash(&public_key).to_hex()[..16])))?;
        }
        rename(&next_key, &key)?;
    }
    sync(data_dir)?;
    rename(&next.join(DATABASE_FILE), &data_dir.join(DATABASE_FILE))?;
    for folder in [next, data_dir] {
        sync(folder)?;
    }
    // What is left in it are the empty leavings of a closed database.
    if let Err(error) = std::fs::remove_dir_all(next) {
        tracing::warn!(folder = %next.display(), error = %error, "Could not remove the folder of the replacement");
    }
    leave_marker(config, start)?;
    Ok(Replaced { identity, kept })
}

/// A name in a folder that nothing has yet.
fn free(folder: &Path, stem: &str, suffix: &str) -> PathBuf {
    let first = std::iter::once(folder.join(format!("{stem}{suffix}")));
    let later = (2_u64..).map(|number| folder.join(format!("{stem}.{number}{suffix}")));
    first.chain(later).find(|path| !path.exists()).unwrap_or_else(|| folder.join(stem))
}

fn sync(folder: &Path) -> Result<(), EdgeError> {
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(file(folder))
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> EdgeError + use<> {
    let path = path.to_owned();
    move |source| EdgeError::File { path, source }
}

/// Closes a database so that all of it is in its one file.
async fn close(store: Store, path: &Path) -> Result<(), EdgeError> {
    if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
        return Err(EdgeError::Stopped);
    }
    // A reader that ends late leaves the log behind: it is copied back and must then be empty.
    let copied = rusqlite::Connection::open(path)
        .and_then(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    copied.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let log = path.with_extension("db-wal");
    if std::fs::metadata(&log).is_ok_and(|data| data.len() > 0) {
        return Err(ReplaceError::InUse(path.to_owned()).into());
    }
    for leaving in [log, path.with_extension("db-shm")] {
        if leaving.exists() {
            std::fs::remove_file(&leaving).map_err(file(&leaving))?;
        }
    }
    Ok(())
}
