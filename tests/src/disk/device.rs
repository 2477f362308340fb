//! Device: an image under one running store, with its locks, its faults and somebody who watches every sync.
//!
//! A process has one device at a time. To end the process is to take the image and put it under a new device; to cut the power is to take what a
//! power cut leaves of it. What a device is told to do wrong is in its [`Faults`]; nothing here is random.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rsqlite_vfs::{LockLevel, VfsErrorCode};

use super::image::{FileNo, Image, Loss};
use super::shared_memory::SharedMemory;

/// A kind of call that the engine makes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Call {
    /// Reads from a file.
    Read,
    /// Writes to a file.
    Write,
    /// Syncs a file.
    Sync,
    /// Cuts a file.
    Cut,
}

/// How a call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// An input/output error (`EIO`), once. A sync that fails so drops what it should have written.
    Io,
    /// No space is left (`ENOSPC`), from then on.
    Full,
    /// A read gives less than is there, once. Of the log that is passed on. In the database the engine takes it for the end of the file and goes on
    /// with zeros, so its own layer for Unix reads until nothing more comes, and so does this one.
    Short,
}

/// A call that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The kind of call.
    pub call: Call,
    /// Which of them, counted from 0.
    pub nth: u64,
    /// How.
    pub failure: Failure,
}

/// What a device does wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The call that fails.
    pub fault: Option<Fault>,
    /// What a failed sync leaves of what it should have written: torn with this seed.
    pub seed: u64,
    /// A lie: syncs of the log do nothing.
    pub log_never_synced: bool,
    /// A lie: syncs of the database do nothing.
    pub database_never_synced: bool,
    /// A failed sync is tried again, as if that helped.
    pub sync_tried_again: bool,
}

/// Something that happened at the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// A sync is about to be done.
    BeforeSync(FileNo),
}

type Watcher = Box<dyn FnMut(Moment, &Image) + Send>;

/// An image in use.
#[derive(Default)]
pub struct Device {
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) image: Image,
    pub(super) shared: BTreeMap<FileNo, SharedMemory>,
    locks: BTreeMap<FileNo, Locks>,
    faults: Faults,
    calls: BTreeMap<Call, u64>,
    is_full: bool,
    injected: u64,
    watcher: Option<Watcher>,
}

/// Who holds the database's file, over all connections.
#[derive(Default)]
struct Locks {
    shared: u32,
    reserved: bool,
    /// Nobody new may read; held alone it waits for the last reader.
    pending: bool,
}

impl Device {
    /// Puts an image under a store.
    #[must_use]
    pub fn new(image: Image, faults: Faults) -> Self {
        Self { state: Mutex::new(State { image, faults, ..State::default() }) }
    }

    /// Has every sync watched from now on.
    pub fn watch(&self, watcher: impl FnMut(Moment, &Image) + Send + 'static) {
        self.lock().watcher = Some(Box::new(watcher));
    }

    /// The image as it is now.
    #[must_use]
    pub fn image(&self) -> Image {
        self.lock().image.clone()
    }

    /// How many calls of a kind there were.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// How many calls failed as they were told to.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.lock().injected
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a call, and says how it fails if it does.
    fn count(&mut self, call: Call) -> Option<Failure> {
        let count = self.calls.entry(call).or_default();
        let nth = *count;
        *count += 1;
        let fault = self.faults.fault.filter(|fault| fault.call == call && fault.nth == nth)?;
        self.injected += 1;
        self.is_full |= fault.failure == Failure::Full;
        Some(fault.failure)
    }

    pub(super) fn read(
        &mut self,
        file: FileNo,
        at: usize,
        into: &mut [u8],
        is_log: bool,
    ) -> Result<usize, VfsErrorCode> {
        match self.count(Call::Read) {
            Some(Failure::Io | Failure::Full) => Err(VfsErrorCode::IoRead),
            Some(Failure::Short) if is_log => {
                let half = into.len() / 2;
                Ok(self.image.read(file, at, &mut into[..half]))
            }
            _ => Ok(self.image.read(file, at, into)),
        }
    }

    pub(super) fn write(&mut self, file: FileNo, at: usize, bytes: &[u8]) -> Result<(), VfsErrorCode> {
        match self.count(Call::Write) {
            Some(Failure::Io | Failure::Short) => {
                // A write that fails may have done its first part.
                self.image.write(file, at, &bytes[..bytes.len() / 2]);
                Err(VfsErrorCode::IoWrite)
            }
            _ if self.is_full && at + bytes.len() > self.image.size(file) => Err(VfsErrorCode::Full),
            _ => {
                self.image.write(file, at, bytes);
                Ok(())
            }
        }
    }

    pub(super) fn cut(&mut self, file: FileNo, size: usize) -> Result<(), VfsErrorCode> {
        match self.count(Call::Cut) {
            Some(_) => Err(VfsErrorCode::IoTruncate),
            None => {
                self.image.cut(file, size);
                Ok(())
            }
        }
    }

    /// Syncs a file, with its folder when the engine's own layer would.
    pub(super) fn sync(&mut self, file: FileNo, is_log: bool, with_folder: bool) -> Result<(), VfsErrorCode> {
        if if is_log { self.faults.log_never_synced } else { self.faults.database_never_synced } {
            return Ok(());
        }
        if let Some(watcher) = &mut self.watcher {
            watcher(Moment::BeforeSync(file), &self.image);
        }
        match self.count(Call::Sync) {
            Some(_) => {
                self.image.fail_sync(file, Loss::Torn(self.faults.seed));
                if self.faults.sync_tried_again {
                    self.image.sync(file);
                    return Ok(());
                }
                Err(VfsErrorCode::IoSync)
            }
            None => {
                self.image.sync(file);
                if with_folder {
                    self.image.sync_folder();
                }
                Ok(())
            }
        }
    }

    /// Raises a handle's lock on a file from `from` to `to`.
    pub(super) fn raise(&mut self, file: FileNo, from: LockLevel, to: LockLevel) -> Result<LockLevel, VfsErrorCode> {
        let locks = self.locks.entry(file).or_default();
        if to <= from {
            return Ok(from);
        }
        if from == LockLevel::None {
            if locks.pending {
                return Err(VfsErrorCode::Busy);
            }
            locks.shared += 1;
            return if to == LockLevel::Shared { Ok(to) } else { self.raise(file, LockLevel::Shared, to) };
        }
        if from < LockLevel::Reserved {
            if locks.reserved {
                return Err(VfsErrorCode::Busy);
            }
            locks.reserved = true;
        }
        if to == LockLevel::Reserved {
            return Ok(to);
        }
        locks.pending = true;
        if locks.shared > 1 { Err(VfsErrorCode::Busy) } else { Ok(LockLevel::Exclusive) }
    }

    /// What a handle holds after a raise that failed.
    pub(super) fn held_after_busy(&self, file: FileNo, from: LockLevel, to: LockLevel) -> LockLevel {
        let waits = self.locks.get(&file).is_some_and(|locks| locks.pending);
        if waits && from >= LockLevel::Shared && to == LockLevel::Exclusive && self.is_reserved(file) {
            LockLevel::Pending
        } else {
            from
        }
    }

    /// Lowers a handle's lock.
    pub(super) fn lower(&mut self, file: FileNo, from: LockLevel, to: LockLevel) {
        let Some(locks) = self.locks.get_mut(&file) else { return };
        if from > LockLevel::Shared && to <= LockLevel::Shared {
            (locks.reserved, locks.pending) = (false, false);
        }
        if from > LockLevel::None && to == LockLevel::None {
            locks.shared -= 1;
        }
    }

    /// Whether anybody is about to write a file.
    pub(super) fn is_reserved(&self, file: FileNo) -> bool {
        self.locks.get(&file).is_some_and(|locks| locks.reserved)
    }
}
