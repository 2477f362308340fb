//! Lock files: what one process at a time may do, the daemon or a command beside it. The operating system gives a lock back when its holder ends, however
//! that comes, so that nothing has to run out.
//!
//! Invariant: a lock file stays where it is; who removed it could remove one that another holds by now.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The lock file of a file: its whole name goes on, so that it is no other file whatever that is called.
#[must_use]
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Takes a lock until the file is dropped, and waits for whoever has it.
///
/// # Errors
/// The file cannot be made or locked.
pub fn wait(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    Ok(file)
}

/// Takes a lock until the file is dropped; nothing when somebody has it, in this process or another.
///
/// # Errors
/// The file cannot be made or locked.
pub fn take(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
