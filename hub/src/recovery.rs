//! Recovery: what the hub does when its database was restored from a backup, and has forgotten what it granted since.
//!
//! It begins another life, and grants nothing and takes nothing off until every living epoch has told all its counters to this life, or a person has ended
//! it. That a database is older than it was is seen by a small file beside it, best on another disk: it remembers the hub's lives, its epochs and how far it
//! had come. Deliberately not here: how a report is taken meanwhile (`crate::report`). Invariant: the file never forgets; an epoch's number is never minted
//! twice.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use huitong_protocol::id::{Epoch, StoreId};
use huitong_protocol::time::Instant;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::fence;
use crate::note::{self, NoteFault};
use crate::store::{Store, StoreError, Tx, device, root, tenure};

/// Why the hub does not start, or begins no other life.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The database is older than what is remembered.
    #[error(
        "this database is older than what {file} remembers: {what}\n  hint: when a backup was restored: huitong-hub recover --note TEXT; else put the right database back"
    )]
    Older {
        /// The file.
        file: String,
        /// In what.
        what: String,
    },
    /// Epochs were ended or minted that the database has forgotten.
    #[error(
        "the backup has forgotten that these epochs ended, and what they were granted before: {0}\n  hint: repeat with --accept-unknown when a person answers for it"
    )]
    Unknown(String),
    /// A note that says nothing, or too much.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// The file cannot be read or written.
    #[error(
        "could not use the recovery log {file}: {source}\n  hint: it is `recovery_log` in the configuration; put it where the hub may write"
    )]
    File {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The last epoch of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastEpoch {
    epoch: u32,
    is_living: bool,
    /// Its key, in hexadecimal: by it a store that a backup has forgotten can still be heard.
    public_key: String,
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The hub's life.
    pub life: i64,
    /// The next number of an entry that comes in; head office's own are among them.
    pub next_ingested_no: i64,
    /// How often value was granted.
    pub grants: i64,
    /// The last epoch of each store.
    pub epochs: BTreeMap<StoreId, LastEpoch>,
}

/// What there is to remember now.
///
/// # Errors
/// [`StoreError`].
pub fn mark(tx: &mut Tx<'_>) -> Result<Mark, StoreError> {
    let (life, next_ingested_no) = tx
        .query_one("SELECT incarnation, next_ingested_no FROM hub", &[], |row| {
            Ok::<_, StoreError>((row.integer(0)?, row.integer(1)?))
        })?
        .unwrap_or_default();
    let grants = tx.query_one("SELECT count FROM allotment_count WHERE name = 'grants'", &[], |row| row.integer(0))?;
    let epochs =
        tx.query("SELECT store_id, epoch, standing, public_key FROM tenure ORDER BY store_id, epoch", &[], |row| {
            let epoch = u32::try_from(row.integer(1)?).unwrap_or(u32::MAX);
            let public_key = data_encoding::HEXLOWER.encode(row.bytes(3)?);
            let last = LastEpoch { epoch, is_living: row.text(2)? == "living", public_key };
            Ok::<_, StoreError>((row.parsed(0, "tenure", "store_id")?, last))
        })?;
    // Of a store the last one stays.
    Ok(Mark { life, next_ingested_no, grants: grants.unwrap_or(0), epochs: epochs.into_iter().collect() })
}

impl Mark {
    /// In what a database is older than this, in words.
    #[must_use]
    pub fn beyond(&self, database: &Self) -> Option<String> {
        let older = |what: &str, remembered: i64, found: i64| {
            (remembered > found).then(|| format!("{what} was {remembered} and is {found}"))
        };
        let epoch = || {
            self.epochs.iter().find_map(|(store, last)| {
                let known = database.epochs.get(store);
                let is_forgotten = known.is_none_or(|known| {
                    known.epoch < last.epoch || (known.epoch == last.epoch && known.is_living && !last.is_living)
                });
                is_forgotten.then(|| format!("epoch {store}-{} and what became of it are not known", last.epoch))
            })
        };
        older("the hub's life", self.life, database.life)
            .or_else(epoch)
            .or_else(|| older("the number of the next entry", self.next_ingested_no, database.next_ingested_no))
            .or_else(|| older("the number of grants", self.grants, database.grants))
    }
}

/// Reads what is remembered; nothing when there is no file yet.
///
/// # Errors
/// The file cannot be read, or is none of these.
pub fn remembered(file: &Path) -> io::Result<Option<Mark>> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Remembers, on disk when it returns. What is remembered already and lies beyond stays.
///
/// # Errors
/// The file cannot be written, or remembers more than the database knows.
pub fn remember(file: &Path, mark: &Mark) -> io::Result<()> {
    if let Some(known) = remembered(file)? {
        if known == *mark {
            return Ok(());
        }
        // Two that write at once read the database in some order: the later look stays.
        if known.beyond(mark).is_some() {
            return match known.life > mark.life {
                true => Err(io::Error::other("it remembers a later life of the hub than its database has")),
                false => Ok(()),
            };
        }
    }
    write(file, mark)
}

/// Remembers the beginning of another life, from which everything counts anew.
///
/// # Errors
/// The file cannot be written.
pub fn begin_log(file: &Path, mark: &Mark) -> io::Result<()> {
    write(file, mark)
}

fn write(file: &Path, mark: &Mark) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile_in(folder, file)?;
    new.1.write_all(&serde_json::to_vec(mark).map_err(io::Error::other)?)?;
    new.1.sync_all()?;
    std::fs::rename(&new.0, file)?;
    std::fs::File::open(folder)?.sync_all()
}

/// A new file beside another, which nobody else writes: the process and a number are in its name.
fn tempfile_in(folder: &Path, file: &Path) -> io::Result<(std::path::PathBuf, std::fs::File)> {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let path = folder.join(format!("{name}.{}.{number}.new", std::process::id()));
    let opened = std::fs::File::create(&path)?;
    Ok((path, opened))
}

fn file_fault(file: &Path) -> impl FnOnce(io::Error) -> RecoveryError + '_ {
    move |source| RecoveryError::File { file: file.display().to_string(), source }
}

/// Whether the hub may serve on this database; remembers it then.
///
/// # Errors
/// [`RecoveryError::Older`] when it is older than what is remembered.
pub fn may_start(store: &Store, file: &Path) -> Result<(), RecoveryError> {
    let found = store.read_blocking(mark)?;
    let known = remembered(file).map_err(file_fault(file))?;
    if let Some(what) = known.and_then(|known| known.beyond(&found)) {
        return Err(RecoveryError::Older { file: file.display().to_string(), what });
    }
    remember(file, &found).map_err(file_fault(file))
}

/// An epoch that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Waited {
    /// The store.
    pub store: StoreId,
    /// Its epoch.
    pub epoch: Epoch,
    /// When it was last heard, as far as this database knows.
    pub last_seen_ms: Option<Instant>,
}

/// Where the hub is in its recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Recovery {
    /// Its life.
    pub life: i64,
    /// Whom it waits for. Nothing is granted while there is anybody.
    pub waited_for: Vec<Waited>,
}

/// Where the hub is in its recovery.
///
/// # Errors
/// [`StoreError`].
pub fn look(tx: &mut Tx<'_>) -> Result<Recovery, StoreError> {
    let mut waited_for = Vec::new();
    for (store, epoch) in tenure::waited_for(tx)? {
        waited_for.push(Waited { store, epoch, last_seen_ms: device::last_seen(tx, store)? });
    }
    Ok(Recovery { life: root::hub(tx)?.incarnation, waited_for })
}

/// Begins another life after a restore. Epochs that the backup has forgotten are put back as living, with their keys, and are waited for as all others are.
///
/// # Errors
/// [`RecoveryError::Unknown`] when epochs ended that the backup holds as living, unless somebody answers for it; nothing changed then.
pub fn begin(
    tx: &mut Tx<'_>,
    actor: &Actor,
    known: Option<&Mark>,
    accept_unknown: bool,
    note: &str,
    now: Instant,
) -> Result<Recovery, RecoveryError> {
    let note = note::needed(note)?;
    let found = mark(tx)?;
    let known = known.cloned().unwrap_or_default();
    let forgotten: Vec<(StoreId, &LastEpoch)> = known
        .epochs
        .iter()
        .filter(|(store, last)| found.epochs.get(store).is_none_or(|held| held.epoch < last.epoch))
        .map(|(store, last)| (*store, last))
        .collect();
    let mut unknown = Vec::new();
    for (store, last) in &known.epochs {
        let Some(held) = found.epochs.get(store).filter(|held| held.is_living) else { continue };
        if held.epoch < last.epoch || !last.is_living {
            unknown.push(format!("{store}-{}", held.epoch));
        }
    }
    if !unknown.is_empty() && !accept_unknown {
        return Err(RecoveryError::Unknown(unknown.join(", ")));
    }
    root::begin_life(tx, found.life.max(known.life).saturating_add(1))?;
    let ended = "the recovery log says that it ended";
    for (store, last) in &known.epochs {
        let Some(held) = found.epochs.get(store).filter(|held| held.is_living) else { continue };
        if held.epoch < last.epoch || !last.is_living {
            fence::end(tx, *store, Epoch(held.epoch), (actor.name(), ended), now)?;
        }
    }
    for (store, last) in forgotten {
        let key = data_encoding::HEXLOWER.decode(last.public_key.as_bytes()).map_err(|fault| StoreError::Rule {
            operation: "read the recovery log",
            fault: format!("the key of {store}-{} is none: {fault}", last.epoch),
        })?;
        device::put_back(tx, store, Epoch(last.epoch), &key, now)?;
        if !last.is_living {
            fence::end(tx, store, Epoch(last.epoch), (actor.name(), ended), now)?;
        }
    }
    let life = root::hub(tx)?.incarnation;
    let mut detail = format!("life {life}: {note}");
    if !unknown.is_empty() {
        detail = format!("{detail}; not known what was granted to {}", unknown.join(", "));
    }
    actor.did(tx, "hub.recover", &life.to_string(), &detail, now)?;
    Ok(look(tx)?)
}
