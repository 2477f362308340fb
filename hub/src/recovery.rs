//! Recovery: what the hub does when its database was restored from a backup, and has forgotten what it granted since.
//!
//! It begins another life, and grants nothing and takes nothing off until every living epoch has told all its counters to this life, or a person has ended
//! it. That a database is older than it was is seen by a small file beside it, best on another disk: it remembers the hub's lives, its epochs and how far it
//! had come. It is written now and then, so that a backup may be older than the database was and younger than the file: then a store proves it, by a turn or
//! a grant that the database never gave, and nothing is granted or paid back until a person begins the other life. Deliberately not here: how a report is
//! taken meanwhile (`crate::report`). Invariant: the file never forgets; an epoch's number is never minted twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use huitong_protocol::id::{Epoch, StoreId};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::Instant;
use huitong_protocol::wire::SyncFault;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::note::{self, NoteFault};
use crate::refusal::Refusal;
use crate::store::exception::{self, Resolution};
use crate::store::root::Numbers;
use crate::store::{Store, StoreError, Tx, card, dataset, device, organisation, overdraft, root, tenure};
use crate::{exception as work, fence, lock};

/// Numbers that are left out when another life begins, since the forgotten one may have given them to other people's cards and members: as many as could have
/// been minted after the log was last written, which it is after each import and every few minutes.
const SKIPPED_WITH_LOG: i64 = 10_000;
/// As [`SKIPPED_WITH_LOG`], when only the backup says how far it had come.
const SKIPPED_WITHOUT_LOG: i64 = 1_000_000;

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
    /// There is no file, and the database was in use.
    #[error(
        "there is no recovery log at {file}, and this database has enrolled stores: whether it is older than it was cannot be seen\n  hint: attach the disk that the log is on; when a backup was restored: huitong-hub recover --note TEXT; when it is certain that none was: huitong-hub run --begin-log"
    )]
    NoLog {
        /// Where it should be.
        file: String,
    },
    /// A restore without a file: what was forgotten nobody knows.
    #[error(
        "there is no recovery log: epochs that the backup has forgotten and the lives of the hub since are not known\n  hint: attach the disk that the log is on; when it is lost, repeat with --accept-unknown and --life NUMBER, a number above every life that a store was ever greeted with"
    )]
    Unremembered,
    /// A life that is none after the last.
    #[error("life {given} is none after the last, {last}\n  hint: give a higher one, or leave --life out")]
    Life {
        /// The one that was given.
        given: i64,
        /// The last that is known.
        last: i64,
    },
    /// The backup is older than a store.
    #[error(
        "the backup does not know these stores, and the recovery log has epochs of them: {0}\n  hint: import them first (huitong-hub store import FILE), then repeat"
    )]
    NoStore(String),
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

/// An epoch as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
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
    /// The numbers that are minted next for accounts and members: stores name them for ever.
    pub numbers: Numbers,
    /// Every epoch of each store, by its number.
    pub epochs: BTreeMap<StoreId, BTreeMap<u32, Past>>,
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
    let numbers = root::numbers(tx)?;
    let grants = tx.query_one("SELECT count FROM allotment_count WHERE name = 'grants'", &[], |row| row.integer(0))?;
    let mut epochs: BTreeMap<StoreId, BTreeMap<u32, Past>> = BTreeMap::new();
    tx.for_each("SELECT store_id, epoch, standing, public_key FROM tenure", &[], |row| {
        let epoch = u32::try_from(row.integer(1)?).unwrap_or(u32::MAX);
        let public_key = data_encoding::HEXLOWER.encode(row.bytes(3)?);
        let past = Past { is_living: row.text(2)? == "living", public_key };
        epochs.entry(row.parsed(0, "tenure", "store_id")?).or_default().insert(epoch, past);
        Ok::<_, StoreError>(())
    })?;
    Ok(Mark { life, next_ingested_no, grants: grants.unwrap_or(0), numbers, epochs })
}

impl Mark {
    /// In what a database is older than this, in words.
    #[must_use]
    pub fn beyond(&self, database: &Self) -> Option<String> {
        let older = |what: &str, remembered: i64, found: i64| {
            (remembered > found).then(|| format!("{what} was {remembered} and is {found}"))
        };
        let epoch = || {
            self.all().find_map(|(store, epoch, past)| {
                let is_forgotten = database.find(store, epoch).is_none_or(|held| held.is_living && !past.is_living);
                is_forgotten.then(|| format!("epoch {store}-{epoch} and what became of it are not known"))
            })
        };
        older("the hub's life", self.life, database.life)
            .or_else(epoch)
            .or_else(|| older("the number of the next entry", self.next_ingested_no, database.next_ingested_no))
            .or_else(|| older("the number of grants", self.grants, database.grants))
            .or_else(|| {
                older("the number of the next account", self.numbers.next_account, database.numbers.next_account)
            })
            .or_else(|| older("the number of the next member", self.numbers.next_member, database.numbers.next_member))
    }

    fn find(&self, store: StoreId, epoch: u32) -> Option<&Past> {
        self.epochs.get(&store)?.get(&epoch)
    }

    /// Every epoch, by store and number.
    fn all(&self) -> impl Iterator<Item = (StoreId, u32, &Past)> {
        self.epochs.iter().flat_map(|(store, epochs)| epochs.iter().map(|(epoch, past)| (*store, *epoch, past)))
    }

    fn last(&self, store: StoreId) -> Option<u32> {
        self.epochs.get(&store)?.keys().next_back().copied()
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

/// Remembers what there is, on disk when it returns. One at a time reads the database and writes, so that the file never forgets what another has written.
///
/// # Errors
/// The file cannot be written, or remembers more than the database knows.
pub fn remember(store: &Store, file: &Path) -> Result<(), RecoveryError> {
    let _alone = alone(file)?;
    let found = store.read_blocking(mark)?;
    match remembered(file).map_err(file_fault(file))? {
        Some(known) if known == found => Ok(()),
        Some(known) => match known.beyond(&found) {
            Some(what) => Err(RecoveryError::Older { file: file.display().to_string(), what }),
            None => write(file, &found).map_err(file_fault(file)),
        },
        None => write(file, &found).map_err(file_fault(file)),
    }
}

/// Remembers the beginning of another life, from which everything counts anew: what the forgotten one had come to is of no use any more.
///
/// # Errors
/// As [`remember`].
pub fn begin_log(store: &Store, file: &Path) -> Result<(), RecoveryError> {
    let _alone = alone(file)?;
    let found = store.read_blocking(mark)?;
    write(file, &found).map_err(file_fault(file))
}

/// Until it is dropped, nobody else writes the file: no other task of this process, and no command beside it.
fn alone(file: &Path) -> Result<File, RecoveryError> {
    lock::wait(&lock::beside(file, ".lock")).map_err(file_fault(file))
}

fn write(file: &Path, mark: &Mark) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile_in(folder, file)?;
    new.1.write_all(&serde_json::to_vec(mark).map_err(io::Error::other)?)?;
    new.1.sync_all()?;
    std::fs::rename(&new.0, file)?;
    File::open(folder)?.sync_all()
}

/// A new file beside another. Whoever writes is alone; the process is in its name for who looks at what a crash has left.
fn tempfile_in(folder: &Path, file: &Path) -> io::Result<(std::path::PathBuf, File)> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let path = folder.join(format!("{name}.{}.new", std::process::id()));
    let opened = File::create(&path)?;
    Ok((path, opened))
}

fn file_fault(file: &Path) -> impl FnOnce(io::Error) -> RecoveryError + '_ {
    move |source| RecoveryError::File { file: file.display().to_string(), source }
}

/// Whether the hub may serve on this database; remembers it then. `begins_log` says that a person stands for a database without a file.
///
/// # Errors
/// [`RecoveryError::Older`] when it is older than what is remembered; [`RecoveryError::NoLog`] when that cannot be seen.
pub fn may_start(store: &Store, file: &Path, begins_log: bool) -> Result<(), RecoveryError> {
    let has_epochs = !store.read_blocking(mark)?.epochs.is_empty();
    if has_epochs && !begins_log && remembered(file).map_err(file_fault(file))?.is_none() {
        return Err(RecoveryError::NoLog { file: file.display().to_string() });
    }
    remember(store, file)
}

/// What an epoch proves: that this database is older than it was.
///
/// # Errors
/// [`StoreError`].
pub fn proof(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, what: &str) -> Result<Finding, StoreError> {
    Ok(Finding {
        class: Class::HubForgot,
        store: Some(store),
        // However many prove it, it is one thing.
        subject: subject(root::hub(tx)?.incarnation),
        evidence: Evidence::from("the database of head office is older than it was".to_owned())
            .when(format!("{store}-{epoch}: {what}")),
    })
}

/// What a store is told that proves it.
#[must_use]
pub fn older_words(what: &str) -> String {
    format!(
        "{what}: head office was restored from a backup, and nobody told it; run huitong-hub recover there. The store goes on with what it holds"
    )
}

/// The refusal of a store that proves that this database is older than it was, with the proof.
///
/// # Errors
/// [`StoreError`].
pub fn older(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, what: &str) -> Result<Refusal, StoreError> {
    let finding = proof(tx, store, epoch, what)?;
    Ok(Refusal { proof: Some(Box::new(finding)), ..Refusal::new(SyncFault::Forgotten, older_words(what)) })
}

/// What the exception about it is about.
#[must_use]
pub fn subject(life: i64) -> String {
    format!("life {life} of head office")
}

/// Writes down that this database is older than it was. Nothing is granted or paid back until a person begins another life.
///
/// # Errors
/// [`StoreError`].
pub fn must_recover(tx: &mut Tx<'_>, proof: &Finding, now: Instant) -> Result<(), StoreError> {
    let by = match proof.store {
        Some(store) => tenure::living(tx, store)?.map(|epoch| (store, epoch)),
        None => None,
    };
    let by = by.ok_or_else(|| StoreError::Rule {
        operation: "note that the database is older than it was",
        fault: format!("no living epoch proves it: {}", proof.evidence),
    })?;
    if root::found_older(tx, by, now)? {
        tracing::error!("This database is older than it was: {}; run huitong-hub recover", proof.evidence);
    }
    exception::raise(tx, proof, now).map(drop)
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
    /// What it told and the hub refused: it is waited for until its cause is put right and it tells everything again, or it is ended.
    pub refused: Option<String>,
}

/// Where the hub is in its recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Recovery {
    /// Its life.
    pub life: i64,
    /// Whom it waits for. Nothing is granted while there is anybody.
    pub waited_for: Vec<Waited>,
    /// Since when it is proved that this database is older than it was, and nobody has begun another life: nothing is granted either.
    pub must_recover_ms: Option<Instant>,
    /// Which epoch proved it.
    pub proved_by: Option<String>,
    /// How many cards stores have said to be stopped that this database did not know of, and that nobody has looked at yet.
    pub stops_returned: i64,
}

/// Where the hub is in its recovery.
///
/// # Errors
/// [`StoreError`].
pub fn look(tx: &mut Tx<'_>) -> Result<Recovery, StoreError> {
    let mut waited_for = Vec::new();
    for (store, epoch, refused) in tenure::waited_for(tx)? {
        waited_for.push(Waited { store, epoch, last_seen_ms: device::last_seen(tx, store)?, refused });
    }
    let proved_by = root::older_by(tx)?.map(|(store, epoch)| format!("{store}-{epoch}"));
    let (life, must_recover_ms) = (root::hub(tx)?.incarnation, root::must_recover(tx)?);
    let stops_returned = exception::waiting(tx, Class::StopReturned)?;
    Ok(Recovery { life, waited_for, must_recover_ms, proved_by, stops_returned })
}

/// What a person says of a restore.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// What was remembered outside the database; nothing when that is lost too.
    pub known: Option<Mark>,
    /// Whether they answer for what nobody knows.
    pub accept_unknown: bool,
    /// The number of the new life; the next one when there is none.
    pub life: Option<i64>,
    /// Which backup, and why.
    pub note: String,
}

/// Begins another life after a restore. Epochs that the backup has forgotten are put back with their keys: those that lived are waited for as all others are,
/// and of those that ended the journals can still come.
///
/// # Errors
/// [`RecoveryError::Unknown`] when epochs ended that the backup holds as living or not at all, and [`RecoveryError::Unremembered`] when nobody can know, unless
/// somebody answers for it; [`RecoveryError::NoStore`] and [`RecoveryError::Life`]. Nothing changed then.
pub fn begin(tx: &mut Tx<'_>, actor: &Actor, restored: &Restored, now: Instant) -> Result<Recovery, RecoveryError> {
    let note = note::needed(&restored.note)?;
    let found = mark(tx)?;
    if restored.known.is_none() && !(restored.accept_unknown && restored.life.is_some()) {
        return Err(RecoveryError::Unremembered);
    }
    let known = restored.known.clone().unwrap_or_default();
    let last = found.life.max(known.life);
    let life = restored.life.unwrap_or(last.saturating_add(1));
    if life <= last {
        return Err(RecoveryError::Life { given: life, last });
    }
    let forgotten: Vec<(StoreId, u32, &Past)> =
        known.all().filter(|(store, epoch, _)| found.find(*store, *epoch).is_none()).collect();
    let mut strangers = Vec::new();
    for &(store, ..) in &forgotten {
        if organisation::store(tx, store)?.is_none() && strangers.last() != Some(&store.to_string()) {
            strangers.push(store.to_string());
        }
    }
    if !strangers.is_empty() {
        return Err(RecoveryError::NoStore(strangers.join(", ")));
    }
    // Of these the backup does not know the end.
    let ended: Vec<(StoreId, u32)> = found
        .all()
        .filter(|(store, epoch, held)| {
            let is_over = known.find(*store, *epoch).is_some_and(|past| !past.is_living);
            held.is_living && (is_over || known.last(*store).is_some_and(|last| last > *epoch))
        })
        .map(|(store, epoch, _)| (store, epoch))
        .collect();
    let over = forgotten.iter().filter(|(.., past)| !past.is_living).map(|(store, epoch, _)| (*store, *epoch));
    let mut unknown: Vec<(StoreId, u32)> = ended.iter().copied().chain(over).collect();
    unknown.sort_unstable();
    let unknown: Vec<String> = unknown.iter().map(|(store, epoch)| format!("{store}-{epoch}")).collect();
    if !unknown.is_empty() && !restored.accept_unknown {
        return Err(RecoveryError::Unknown(unknown.join(", ")));
    }
    root::begin_life(tx, life, now)?;
    // Stores have versions, and lifted stops, that this database never heard of: none is believed to know of a stop until it has it anew.
    dataset::begin_life(tx)?;
    tenure::forget_cards(tx)?;
    card::stop_again(tx, now)?;
    overdraft::tell_again(tx)?;
    let skipped = if restored.known.is_some() { SKIPPED_WITH_LOG } else { SKIPPED_WITHOUT_LOG };
    root::skip_numbers(tx, found.numbers.max(known.numbers).plus(skipped))?;
    let reason = (actor.name(), "the recovery log says that it ended");
    for (store, epoch) in ended {
        fence::end(tx, store, Epoch(epoch), reason, now)?;
    }
    for (store, epoch, past) in forgotten {
        let key = data_encoding::HEXLOWER.decode(past.public_key.as_bytes()).map_err(|fault| StoreError::Rule {
            operation: "read the recovery log",
            fault: format!("the key of {store}-{epoch} is none: {fault}"),
        })?;
        device::put_back(tx, store, Epoch(epoch), &key, now)?;
        if !past.is_living {
            fence::end(tx, store, Epoch(epoch), reason, now)?;
        }
    }
    let mut detail = format!("life {life}: {note}");
    if !unknown.is_empty() {
        detail = format!("{detail}; not known what was granted to {}", unknown.join(", "));
    }
    if restored.known.is_none() {
        detail = format!("{detail}; without the recovery log");
    }
    actor.did(tx, "hub.recover", &life.to_string(), &detail, now)?;
    let by = (actor.name(), "another life was begun");
    work::close_about(tx, Class::HubForgot, &subject(found.life), Resolution::Corrected, by, now)?;
    Ok(look(tx)?)
}
