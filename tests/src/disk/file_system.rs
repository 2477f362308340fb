//! File system: devices as the engine sees them (a VFS), write-ahead log and its shared memory included.
//!
//! Registered once under [`NAME`]; each device is mounted under a folder of its own. `sqlite-plugin` would do too, but its build needs libclang on
//! every machine that builds this workspace; `rsqlite-vfs` comes with the engine's own bindings and needs nothing. Its table of calls has no shared
//! memory, which is added here, so the store runs in its usual locking mode: one writer, several readers, checkpoints beside them.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use rsqlite_vfs::ffi::{
    SQLITE_BUSY, SQLITE_IOERR_SHMLOCK, SQLITE_IOERR_SHMMAP, SQLITE_OK, SQLITE_SHM_EXCLUSIVE, SQLITE_SHM_LOCK,
    SQLITE_SHM_SHARED, SQLITE_SHM_UNLOCK, sqlite3_file, sqlite3_io_methods,
};
use rsqlite_vfs::{
    AccessMode, DeviceCharacteristics, FileKind, LockLevel, OpenAccess, OpenOptions, OpenRequest, OpenedFile,
    OsCallback, SQLiteIoMethods, SQLiteVfs, SQLiteVfsFile, SectorSize, SyncOptions, VfsError, VfsErrorCode, VfsFile,
    VfsResult, VfsStore, register_vfs,
};

use super::device::Device;
use super::image::{FileNo, SECTOR_BYTES};
use super::shared_memory::{Held, SLOTS};

/// The name under which the engine knows this file system.
pub const NAME: &str = "huitong-faulty";

/// Devices by the folder that they are mounted under.
static MOUNTED: Mutex<BTreeMap<String, Arc<Device>>> = Mutex::new(BTreeMap::new());
static MOUNTS: AtomicU64 = AtomicU64::new(0);

fn mounted() -> MutexGuard<'static, BTreeMap<String, Arc<Device>>> {
    MOUNTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device of a path, and the name on it. Images know no folders: they are mounted under another one each time.
fn device_of(path: &str) -> Option<(Arc<Device>, &str)> {
    let (folder, name) = path.rsplit_once('/')?;
    Some((mounted().get(folder).cloned()?, name))
}

/// A device under a folder, until it is dropped. Connections that are still open keep it.
pub struct Mount {
    folder: String,
    /// The device.
    pub device: Arc<Device>,
}

impl Mount {
    /// Mounts a device.
    ///
    /// # Panics
    /// When the engine refuses the file system, which it has no reason for.
    #[must_use]
    pub fn new(device: Device) -> Self {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| {
            // SAFETY: called once and before any other use of the name; callbacks, layout and data are those of `Io` and `Vfs` below, and live as
            // long as the process.
            let registered = unsafe { register_vfs::<Io, Vfs>(NAME, (), false) };
            registered.expect("the engine takes one more file system").into_raw();
        });
        let folder = format!("/faulty-{}", MOUNTS.fetch_add(1, Ordering::Relaxed));
        let device = Arc::new(device);
        mounted().insert(folder.clone(), Arc::clone(&device));
        Self { folder, device }
    }

    /// Where the database of a store is on it.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        Path::new(&self.folder).join("edge.db")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        mounted().remove(&self.folder);
    }
}

/// Bytes written again at a time.
const REWRITE_BYTES: usize = 1 << 16;

/// Writes a file's bytes again in their places and syncs them, as a store does with the log that it finds.
///
/// # Errors
/// What the device was told to do.
pub fn rewrite(path: &Path) -> std::io::Result<()> {
    let (device, name) = device_of(path.to_str().unwrap_or_default())
        .ok_or_else(|| std::io::Error::other("nothing is mounted there"))?;
    let mut state = device.lock();
    let Some(file) = state.image.find(name) else { return Ok(()) };
    let failed = |code: VfsErrorCode| std::io::Error::other(format!("engine code {code}"));
    let (mut bytes, mut at) = (vec![0; REWRITE_BYTES], 0);
    loop {
        // A short read is not the end.
        let read = state.read(file, at, &mut bytes, true).map_err(failed)?;
        if read == 0 {
            break;
        }
        state.write(file, at, &bytes[..read]).map_err(failed)?;
        at += read;
    }
    state.sync(file, true, false).map_err(failed)
}

fn fault(code: VfsErrorCode) -> VfsError {
    VfsError::new(code, "the device was told to".into())
}

fn index(at: u64) -> VfsResult<usize> {
    usize::try_from(at).map_err(|_| fault(VfsErrorCode::Full))
}

/// A file that a connection has open.
struct Handle {
    device: Arc<Device>,
    file: FileNo,
    is_log: bool,
    /// A log or journal whose folder was not synced since it was opened.
    folder_pending: bool,
    is_read_only: bool,
    level: LockLevel,
    held: Held,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.device.lock();
        state.lower(self.file, self.level, LockLevel::None);
        if let Some(memory) = state.shared.get_mut(&self.file)
            && memory.unmap(&mut self.held)
        {
            state.shared.remove(&self.file);
        }
    }
}

impl VfsFile for Handle {
    fn sector_size(&self) -> SectorSize {
        SectorSize::new(u32::try_from(SECTOR_BYTES).unwrap_or(512)).unwrap_or(SectorSize::DEFAULT)
    }

    fn device_characteristics(&self) -> DeviceCharacteristics {
        // As the engine's own layer for Unix says of every disk: the bytes beside those that are written stay.
        DeviceCharacteristics::POWERSAFE_OVERWRITE
    }

    fn read(&mut self, buf: &mut [u8], offset: u64) -> VfsResult<usize> {
        self.device.lock().read(self.file, index(offset)?, buf, self.is_log).map_err(fault)
    }

    fn write(&mut self, buf: &[u8], offset: u64) -> VfsResult<()> {
        if self.is_read_only {
            return Err(fault(VfsErrorCode::ReadOnly));
        }
        self.device.lock().write(self.file, index(offset)?, buf).map_err(fault)
    }

    fn truncate(&mut self, size: u64) -> VfsResult<()> {
        self.device.lock().cut(self.file, index(size)?).map_err(fault)
    }

    fn sync(&mut self, _: SyncOptions) -> VfsResult<()> {
        self.device.lock().sync(self.file, self.is_log, self.folder_pending).map_err(fault)?;
        self.folder_pending = false;
        Ok(())
    }

    fn size(&self) -> VfsResult<u64> {
        Ok(self.device.lock().image.size(self.file) as u64)
    }

    fn lock(&mut self, level: LockLevel) -> VfsResult<()> {
        if self.is_read_only && level > LockLevel::Shared {
            return Err(fault(VfsErrorCode::IoLock)); // As Unix says of a file that is open for reading.
        }
        let mut state = self.device.lock();
        match state.raise(self.file, self.level, level) {
            Ok(level) => {
                self.level = level;
                Ok(())
            }
            Err(code) => {
                self.level = state.held_after_busy(self.file, self.level, level);
                Err(fault(code))
            }
        }
    }

    fn unlock(&mut self, level: LockLevel) -> VfsResult<()> {
        if level < self.level {
            self.device.lock().lower(self.file, self.level, level);
            self.level = level;
        }
        Ok(())
    }

    fn check_reserved_lock(&self) -> VfsResult<bool> {
        Ok(self.device.lock().is_reserved(self.file))
    }
}

/// Names, by folder.
struct Folders;

impl VfsStore for Folders {
    type File = Handle;
    type AppData = ();

    fn open_file((): &(), request: OpenRequest<'_>) -> VfsResult<OpenedFile<Handle>> {
        let cannot = || fault(VfsErrorCode::CantOpen);
        // Files without a name would be the engine's scratch space; the store keeps that in memory.
        let (device, name) = device_of(request.filename.ok_or_else(cannot)?.path()).ok_or_else(cannot)?;
        let options = request.options;
        let file = {
            let mut state = device.lock();
            match state.image.find(name) {
                Some(_) if options.exclusive() => return Err(cannot()),
                Some(file) => file,
                None if options.create() => state.image.make(Some(name)),
                None => return Err(cannot()),
            }
        };
        let is_log = options.kind() == Some(FileKind::Wal);
        let folder_pending = options.create() && (is_log || options.kind() == Some(FileKind::MainJournal));
        let is_read_only = options.access() == OpenAccess::ReadOnly;
        let handle = Handle {
            device,
            file,
            is_log,
            folder_pending,
            is_read_only,
            level: LockLevel::None,
            held: Held::default(),
        };
        Ok(OpenedFile { file: handle, access: options.access() })
    }

    fn close_file((): &(), name: Option<&str>, file: Handle, options: OpenOptions) -> VfsResult<()> {
        if let (true, Some((_, name))) = (options.delete_on_close(), name.and_then(device_of)) {
            file.device.lock().image.remove(name, false);
        }
        Ok(())
    }

    fn access((): &(), name: &str, _: AccessMode) -> VfsResult<bool> {
        Ok(device_of(name).is_some_and(|(device, name)| device.lock().image.find(name).is_some()))
    }

    fn full_pathname((): &(), name: &str) -> VfsResult<String> {
        Ok(name.to_owned())
    }

    fn delete_file((): &(), name: &str, sync_dir: bool) -> VfsResult<()> {
        match device_of(name) {
            Some((device, name)) if device.lock().image.remove(name, sync_dir) => Ok(()),
            _ => Err(fault(VfsErrorCode::IoDeleteNoEntry)),
        }
    }
}

/// What the engine asks of a platform beside files.
struct Platform;

impl OsCallback for Platform {
    fn sleep(&self, span: Duration) {
        // The engine waits for a lock that another connection of the process holds.
        std::thread::sleep(span);
    }

    fn random(&self, bytes: &mut [u8]) -> usize {
        bytes.fill(7);
        bytes.len()
    }

    fn epoch_timestamp_in_ms(&self) -> VfsResult<i64> {
        Ok(0) // Nothing in the store asks the engine for the time.
    }
}

struct Vfs;

impl SQLiteVfs<Io> for Vfs {
    type Os = Platform;

    fn os((): &()) -> &Platform {
        &Platform
    }
}

struct Io;

impl SQLiteIoMethods for Io {
    type Store = Folders;

    const VERSION: c_int = 2;

    const METHODS: sqlite3_io_methods = sqlite3_io_methods {
        iVersion: Self::VERSION,
        xClose: Some(Self::xClose),
        xRead: Some(Self::xRead),
        xWrite: Some(Self::xWrite),
        xTruncate: Some(Self::xTruncate),
        xSync: Some(Self::xSync),
        xFileSize: Some(Self::xFileSize),
        xLock: Some(Self::xLock),
        xUnlock: Some(Self::xUnlock),
        xCheckReservedLock: Some(Self::xCheckReservedLock),
        xFileControl: Some(Self::xFileControl),
        xSectorSize: Some(Self::xSectorSize),
        xDeviceCharacteristics: Some(Self::xDeviceCharacteristics),
        xShmMap: Some(shared_memory_map),
        xShmLock: Some(shared_memory_lock),
        xShmBarrier: Some(shared_memory_barrier),
        xShmUnmap: Some(shared_memory_unmap),
        xFetch: None,
        xUnfetch: None,
    };
}

/// The handle of an open file.
///
/// # Safety
/// `file` was opened by this file system and is not closed, and the engine makes one call at a time on it: it gives each connection its own file.
unsafe fn handle<'a>(file: *mut sqlite3_file) -> &'a mut Handle {
    // SAFETY: what `open_file` returned is what the file was opened with.
    unsafe { (*SQLiteVfsFile::from_file(file)).handle_mut::<Handle>() }
}

unsafe extern "C" fn shared_memory_map(
    file: *mut sqlite3_file,
    no: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the engine calls this on files that are open.
    let Handle { device, file, held, .. } = unsafe { handle(file) };
    let (Ok(no), Ok(bytes)) = (usize::try_from(no), usize::try_from(bytes)) else { return SQLITE_IOERR_SHMMAP };
    let region = device.lock().shared.entry(*file).or_default().region(held, no, bytes, extend != 0);
    // SAFETY: the engine wants the region's place there.
    unsafe { *out = region.map_or(std::ptr::null_mut(), |region| region.cast()) };
    SQLITE_OK
}

unsafe extern "C" fn shared_memory_lock(file: *mut sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    const LOCK_SHARED: c_int = SQLITE_SHM_LOCK | SQLITE_SHM_SHARED;
    const LOCK_EXCLUSIVE: c_int = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE;
    const UNLOCK_SHARED: c_int = SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED;
    const UNLOCK_EXCLUSIVE: c_int = SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE;
    // SAFETY: the engine calls this on files that are open.
    let Handle { device, file, held, .. } = unsafe { handle(file) };
    let slots = match (usize::try_from(first), usize::try_from(count)) {
        (Ok(first), Ok(count)) if first + count <= SLOTS => (first..first + count).fold(0, |all, slot| all | 1 << slot),
        _ => return SQLITE_IOERR_SHMLOCK,
    };
    let mut state = device.lock();
    let memory = state.shared.entry(*file).or_default();
    let is_done = match flags {
        LOCK_SHARED => memory.lock_shared(held, slots),
        LOCK_EXCLUSIVE => memory.lock_exclusive(held, slots),
        UNLOCK_SHARED | UNLOCK_EXCLUSIVE => {
            memory.unlock(held, slots);
            true
        }
        _ => return SQLITE_IOERR_SHMLOCK,
    };
    if is_done { SQLITE_OK } else { SQLITE_BUSY }
}

unsafe extern "C" fn shared_memory_barrier(_: *mut sqlite3_file) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

unsafe extern "C" fn shared_memory_unmap(file: *mut sqlite3_file, _: c_int) -> c_int {
    // SAFETY: the engine calls this on files that are open.
    let Handle { device, file, held, .. } = unsafe { handle(file) };
    let mut state = device.lock();
    if state.shared.get_mut(file).is_some_and(|memory| memory.unmap(held)) {
        state.shared.remove(file);
    }
    SQLITE_OK
}
