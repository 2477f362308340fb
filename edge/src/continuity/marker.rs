//! Marker: the journal's end, kept outside the database in memory that a restart of the machine clears. A database that was put back while the daemon
//! stood still does not contain it; one that does is proved at once, without tills and hub.
//!
//! Written by the store's writer after each commit and before its replies: one small write into the page cache, no fsync. What a crash of the machine
//! takes away with it proves nothing afterwards, as the machine's boot id then differs. On the disk of the data directory it would be put back
//! together with the database, so there it can only contradict. A machine whose memory is put back as well (a snapshot of a running virtual machine)
//! brings the marker with it: such machines set `store.marker_dir = "off"`. It bears the name of the store's key: copies of a store share it wherever they
//! are, and no other store has it. Invariants: a file that is there names a position that was committed or told, and nothing that was told lies after it;
//! a place that is not written any more holds no marker.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use huitong_protocol::till::Witness;

use crate::config::MarkerDir;

/// Memory that every Linux machine mounts.
const MEMORY: &str = "/dev/shm";
/// How the folder in it begins; the user's number follows.
const FOLDER: &str = "huitong-edge-";
/// Names this start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The text has one length, so that one write replaces it whole.
const TEXT_BYTES: usize = 256;
/// How many markers are looked at to remove those whose data directory is gone.
const SWEEP_MAX: usize = 64;

/// A marker that could be neither written nor taken away: the next start would believe it.
#[derive(Debug, thiserror::Error)]
#[error("could neither keep nor remove the marker {path}; remove it before the daemon is started again", path = path.display())]
pub struct MarkerError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// What a marker said when the daemon started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marked {
    /// The journal's end.
    pub witness: Witness,
    /// Whether a database that contains it is the one that answered.
    pub proves: bool,
}

/// The marker of a store.
#[derive(Debug)]
pub struct Marker {
    /// Where it is, when there is a place for it.
    path: Option<PathBuf>,
    boot_id: String,
    is_elsewhere: bool,
    data_dir: PathBuf,
    found: Option<Marked>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Open while value may move.
    file: Option<File>,
    /// The journal's end that was given last, written or not.
    end: Option<Witness>,
}

impl Marker {
    /// Finds the marker of the store with this key, and takes it away from the usual place when it is not kept there any more.
    ///
    /// # Errors
    /// [`MarkerError`]: it is in a place where it is not kept any more, and could not be taken away.
    pub fn open(dir: &MarkerDir, data_dir: &Path, public_key: &[u8]) -> Result<Self, MarkerError> {
        let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
        let user = std::fs::metadata(&data_dir).map(|data| data.uid()).ok();
        let name = blake3::hash(public_key).to_hex();
        let name = &name.as_str()[..32];
        let usual = user.map(|user| Path::new(MEMORY).join(format!("{FOLDER}{user}")));
        let wished = match (dir, user) {
            (MarkerDir::Off, _) | (_, None) => None,
            (MarkerDir::Auto, Some(_)) => usual.clone().filter(|_| Path::new(MEMORY).is_dir()),
            (MarkerDir::At(path), _) => Some(path.clone()),
        };
        let usable = wished.clone().filter(|folder| match make(folder, user) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), error = %error, "No marker can be kept: a restart is proved by tills and hub");
                false
            }
        });
        for folder in [usual, wished].into_iter().flatten().filter(|folder| usable.as_ref() != Some(folder)) {
            // In a folder of somebody else there is none of ours, and none is believed.
            if std::fs::metadata(&folder).is_ok_and(|data| Some(data.uid()) == user) {
                remove(&folder.join(name))?;
            }
        }
        let device = |path: &Path| std::fs::metadata(path).map(|data| data.dev()).ok();
        let is_elsewhere = usable.as_ref().is_some_and(|folder| {
            let (own, other) = (device(&data_dir), device(folder));
            own.is_some() && other.is_some() && own != other
        });
        let boot_id = std::fs::read_to_string(BOOT_ID).map(|text| text.trim().to_owned()).unwrap_or_default();
        let path = usable.as_ref().map(|folder| folder.join(name));
        let found = path
            .as_ref()
            .and_then(|path| read(path))
            .map(|(boot, witness)| Marked { witness, proves: is_elsewhere && !boot_id.is_empty() && boot == boot_id });
        if let Some(folder) = &usable {
            sweep(folder, name);
        }
        Ok(Self { path, boot_id, is_elsewhere, data_dir, found, state: Mutex::default() })
    }

    /// Where it is kept.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What it said when it was opened.
    #[must_use]
    pub const fn found(&self) -> Option<Marked> {
        self.found
    }

    /// Whether it can prove a start at all.
    #[must_use]
    pub fn may_prove(&self) -> bool {
        self.path.is_some() && self.is_elsewhere && !self.boot_id.is_empty()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The journal's end when nobody has marked anything yet.
    pub fn begin_at(&self, end: Witness) {
        self.state().end.get_or_insert(end);
    }

    /// Writes it from now on, beginning with the end that was given last, if `may` says so under the marker's own lock.
    pub fn arm(&self, may: impl FnOnce() -> bool) {
        let Some(path) = &self.path else { return };
        let mut state = self.state();
        let Some(end) = state.end else { return };
        if !may() {
            return;
        }
        match self.write_anew(path, &end) {
            Ok(opened) => state.file = Some(opened),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "No marker is kept: a restart is proved by tills and hub");
                if let Err(error) = remove(path) {
                    tracing::error!(error = &error as &dyn std::error::Error, "{error}");
                }
            }
        }
    }

    /// Puts the journal's end into it, if it is written at all. One that cannot be written is taken away. An end before the last one changes nothing.
    ///
    /// # Errors
    /// [`MarkerError`]: it could not be taken away either.
    pub fn mark(&self, end: &Witness) -> Result<(), MarkerError> {
        let mut state = self.state();
        let place = |witness: &Witness| (witness.epoch, witness.head.seq);
        if state.end.is_some_and(|known| place(&known) >= place(end)) {
            return Ok(());
        }
        state.end = Some(*end);
        let (Some(opened), Some(path)) = (&state.file, &self.path) else { return Ok(()) };
        if let Err(error) = self.put(opened, end) {
            tracing::warn!(error = %error, "The marker cannot be written: a restart is proved by tills and hub");
            state.file = None;
            return remove(path);
        }
        Ok(())
    }

    /// Writes it no more. What somebody saw, and the database does not contain, takes its place: whoever starts before the quarantine is on disk finds
    /// it there again. When there is no such thing it is taken away.
    ///
    /// # Errors
    /// [`MarkerError`].
    pub fn contradict(&self, shown: Option<&Witness>) -> Result<(), MarkerError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut state = self.state();
        state.file = None;
        match shown {
            Some(shown) if self.write_anew(path, shown).is_ok() => Ok(()),
            _ => remove(path),
        }
    }

    /// Writes it no more, and takes it away.
    ///
    /// # Errors
    /// [`MarkerError`].
    pub fn withdraw(&self) -> Result<(), MarkerError> {
        self.contradict(None)
    }

    /// Leaves a marker for the next start of a store that was enrolled just now: nobody was told anything of its epoch.
    pub fn leave(&self, start: Witness) {
        self.begin_at(start);
        self.arm(|| true);
    }

    fn write_anew(&self, path: &Path, end: &Witness) -> std::io::Result<File> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        self.put(&opened, end)?;
        // The data directory at its end may have been a longer one.
        opened.set_len(u64::try_from(self.text(end).len()).unwrap_or(u64::MAX))?;
        Ok(opened)
    }

    fn text(&self, end: &Witness) -> Vec<u8> {
        let mut text = format!("{}\n{end}\n", self.boot_id).into_bytes();
        text.resize(TEXT_BYTES, b' ');
        text.push(b'\n');
        text.extend_from_slice(self.data_dir.as_os_str().as_encoded_bytes());
        text
    }

    fn put(&self, file: &File, end: &Witness) -> std::io::Result<()> {
        file.write_all_at(&self.text(end), 0)
    }
}

/// Takes a marker away; it need not be there.
///
/// # Errors
/// [`MarkerError`].
pub(super) fn remove(path: &Path) -> Result<(), MarkerError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(MarkerError { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Makes the folder. One that others own or may write in is not used: whoever writes a marker proves the start.
fn make(folder: &Path, user: Option<u32>) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let data = std::fs::metadata(folder)?;
    if Some(data.uid()) == user && data.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(std::io::Error::other("it is another user's, or others may write in it"))
}

/// A marker that cannot be read says nothing: it proves nothing, either.
fn read(path: &Path) -> Option<(String, Witness)> {
    let bytes = std::fs::read(path).ok()?;
    let text = std::str::from_utf8(bytes.get(..TEXT_BYTES)?).ok()?;
    let mut lines = text.lines();
    Some((lines.next()?.to_owned(), lines.next()?.parse().ok()?))
}

/// Removes markers of other stores whose data directory is gone: memory is not swept by anybody else.
fn sweep(folder: &Path, own: &str) {
    let Ok(files) = std::fs::read_dir(folder) else { return };
    for file in files.flatten().take(SWEEP_MAX) {
        let path = file.path();
        if path.file_name().is_some_and(|name| name == own) {
            continue;
        }
        let data_dir = std::fs::read(&path).ok().and_then(|bytes| {
            use std::os::unix::ffi::OsStringExt as _;
            let rest = bytes.get(TEXT_BYTES + 1..)?;
            Some(PathBuf::from(std::ffi::OsString::from_vec(rest.to_vec())))
        });
        if let Some(data_dir) = data_dir
            && data_dir.is_absolute()
            && matches!(data_dir.try_exists(), Ok(false))
        {
            drop(std::fs::remove_file(path));
        }
    }
}
