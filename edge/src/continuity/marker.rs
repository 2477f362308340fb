//! Marker: the journal's end, kept outside the database in memory that a restart of the machine clears. A database that was put back while the daemon
//! stood still does not contain it; one that does is proved at once, without tills and hub.
//!
//! Written by the store's writer after each commit and before its replies: one small write into the page cache, no fsync. What a crash of the machine
//! takes away with it proves nothing afterwards, as the machine's boot id then differs. On the disk of the data directory it would be put back
//! together with the database, so there it can only contradict. A machine whose memory is put back as well (a snapshot of a running virtual machine)
//! brings the marker with it: such machines set `store.marker_dir = "off"`. Invariant: a file that is there names a position that was committed, and none
//! that was told lies after it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use huitong_protocol::id::Epoch;
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
#[error("could neither write nor remove the marker {path}; remove it before the daemon is started again", path = path.display())]
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

/// The marker of a data directory.
#[derive(Debug)]
pub struct Marker {
    /// Where it is, when there is a place for it.
    path: Option<PathBuf>,
    boot_id: String,
    is_elsewhere: bool,
    data_dir: PathBuf,
    found: Option<Marked>,
    /// Open while value may move.
    file: Mutex<Option<File>>,
}

impl Marker {
    /// Finds the marker of a data directory.
    #[must_use]
    pub fn open(dir: &MarkerDir, data_dir: &Path) -> Self {
        let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
        let user = std::fs::metadata(&data_dir).map(|data| data.uid()).ok();
        let folder = match (dir, user) {
            (MarkerDir::Off, _) | (_, None) => None,
            (MarkerDir::Auto, Some(user)) => {
                Path::new(MEMORY).is_dir().then(|| Path::new(MEMORY).join(format!("{FOLDER}{user}")))
            }
            (MarkerDir::At(path), _) => Some(path.clone()),
        };
        let usable = folder.filter(|folder| match make(folder, user) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), error = %error, "No marker can be kept: a restart is proved by tills and hub");
                false
            }
        });
        if let Some(folder) = &usable {
            sweep(folder);
        }
        let device = |path: &Path| std::fs::metadata(path).map(|data| data.dev()).ok();
        let is_elsewhere = usable.as_ref().is_some_and(|folder| {
            let (own, other) = (device(&data_dir), device(folder));
            own.is_some() && other.is_some() && own != other
        });
        let boot_id = std::fs::read_to_string(BOOT_ID).map(|text| text.trim().to_owned()).unwrap_or_default();
        let name = blake3::hash(data_dir.as_os_str().as_encoded_bytes()).to_hex();
        let path = usable.map(|folder| folder.join(&name.as_str()[..32]));
        let found = path
            .as_ref()
            .and_then(|path| read(path))
            .map(|(boot, witness)| Marked { witness, proves: is_elsewhere && !boot_id.is_empty() && boot == boot_id });
        Self { path, boot_id, is_elsewhere, data_dir, found, file: Mutex::new(None) }
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

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes it from now on, beginning with what `end` says under the marker's own lock.
    pub fn arm(&self, end: impl FnOnce() -> Option<Witness>) {
        let Some(path) = &self.path else { return };
        let mut file = self.file();
        let armed = (|| {
            let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
            if let Some(end) = end() {
                self.put(&opened, &end)?;
            }
            std::io::Result::Ok(opened)
        })();
        match armed {
            Ok(opened) => *file = Some(opened),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "No marker is kept: a restart is proved by tills and hub");
                if let Err(error) = self.remove() {
                    tracing::error!(error = &error as &dyn std::error::Error, "{error}");
                }
            }
        }
    }

    /// Puts the journal's end into it, if it is written at all. One that cannot be written is taken away.
    ///
    /// # Errors
    /// [`MarkerError`]: it could not be taken away either.
    pub fn mark(&self, end: &Witness) -> Result<(), MarkerError> {
        let mut file = self.file();
        let Some(opened) = file.as_ref() else { return Ok(()) };
        if let Err(error) = self.put(opened, end) {
            tracing::warn!(error = %error, "The marker cannot be written: a restart is proved by tills and hub");
            *file = None;
            return self.remove();
        }
        Ok(())
    }

    /// Writes it no more, and takes it away.
    ///
    /// # Errors
    /// [`MarkerError`].
    pub fn withdraw(&self) -> Result<(), MarkerError> {
        *self.file() = None;
        self.remove()
    }

    /// Leaves a marker for the next start of a store that was enrolled just now: nobody was told anything of its epoch.
    pub fn leave(&self, epoch: Epoch) {
        self.arm(|| Some(Witness { epoch, head: huitong_protocol::journal::Head::START }));
    }

    fn remove(&self) -> Result<(), MarkerError> {
        let Some(path) = &self.path else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(MarkerError { path: path.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn put(&self, file: &File, end: &Witness) -> std::io::Result<()> {
        let mut text = format!("{}\n{end}\n", self.boot_id).into_bytes();
        text.resize(TEXT_BYTES, b' ');
        text.push(b'\n');
        text.extend_from_slice(self.data_dir.as_os_str().as_encoded_bytes());
        file.write_all_at(&text, 0)
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

/// Removes markers whose data directory is gone: memory is not swept by anybody else.
fn sweep(folder: &Path) {
    let Ok(files) = std::fs::read_dir(folder) else { return };
    for file in files.flatten().take(SWEEP_MAX) {
        let path = file.path();
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
