//! Log: the engine's write-ahead log as a file, and how it is made sure that what it shows is on the disk.
//!
//! Nothing is decoded here, and nothing in it changes: the same bytes are written to the same places, so that a power cut in between finds either
//! the old ones or the same ones.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::StoreError;

/// Bytes copied at a time.
const CHUNK_BYTES: usize = 1 << 18;

/// Has the engine keep a log, and sync it with each commit. Where it cannot, nothing works: without the log a power cut could take the last commit
/// back. To switch over is a commit of its own, which comes after the row that says `wal`: who reads only that row never hears that it failed.
pub(super) fn switch_on(connection: &Connection, database: &Path, synchronous: &str) -> Result<(), StoreError> {
    let failed = |source| StoreError::Open { path: database.to_owned(), source };
    let switch = || {
        let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
        let (mut mode, mut rows) = (String::new(), statement.query([])?);
        while let Some(row) = rows.next()? {
            mode = row.get(0)?;
        }
        Ok(mode)
    };
    let mode = switch().map_err(failed)?;
    if mode != "wal" {
        return Err(StoreError::NoLog { path: database.to_owned(), mode });
    }
    connection
        .execute_batch(&format!("PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0;"))
        .map_err(failed)
}

/// Makes sure that a log that was found is on the disk. Nobody appends meanwhile, in no process: the engine's write lock is held.
pub(super) fn settle(
    connection: &Connection,
    database: &Path,
    rewrite: impl Fn(&Path) -> std::io::Result<()>,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Open { path: database.to_owned(), source };
    // As the engine names it: beside the file that a link leads to.
    let mut path = connection.path().map_or_else(|| database.as_os_str().to_owned(), Into::into);
    path.push("-wal");
    let path = PathBuf::from(path);
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let written = rewrite(&path).map_err(|source| StoreError::Log { path, source });
    // Nothing was changed, so nothing is written by this either.
    connection.execute_batch("ROLLBACK").map_err(failed)?;
    written
}

/// Copies the log back into the database. Passive: it never waits for a reader and never makes one wait. Who holds it up is no error: what is in the
/// log stays there.
pub(super) fn copy_back(connection: &Connection) -> Result<(), StoreError> {
    match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        Err(error)
            if !matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) =>
        {
            Err(StoreError::during("copy the log back")(error))
        }
        _ => Ok(()),
    }
}

/// Writes a file's bytes again in their places and syncs them. A file that is not there has none.
pub(super) fn rewrite(path: &Path) -> std::io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (mut chunk, mut at) = (vec![0; CHUNK_BYTES], 0);
    loop {
        let read = match file.read_at(&mut chunk, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        file.write_all_at(&chunk[..read], at)?;
        at += read as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_the_same_after_it_was_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.db-wal");
        rewrite(&path).unwrap();
        assert!(!path.exists(), "nothing is made where there is no log");
        let bytes: Vec<u8> = (0..CHUNK_BYTES * 2 + 77).map(|at| u8::try_from(at % 251).unwrap()).collect();
        std::fs::write(&path, &bytes).unwrap();
        rewrite(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
    }
}
