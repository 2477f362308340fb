//! What can go wrong with the store's database, and how the writer learns that it must not go on.

use std::cell::Cell;
use std::path::PathBuf;

use rusqlite::ErrorCode;

thread_local! {
    /// Set on the writer's own thread when the engine reported damage or an I/O error, whoever called it and whatever became of the error.
    static DAMAGED: Cell<bool> = const { Cell::new(false) };
}

/// Forgets and tells whether the engine reported damage on this thread.
pub(super) fn take_damage() -> bool {
    DAMAGED.replace(false)
}

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine refused.
    #[error("the database failed to {operation}")]
    Engine {
        /// What was tried.
        operation: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The database could not be opened.
    #[error("could not open the database {path}; does the folder exist, and may this user write there?")]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The schema could not be brought up to date.
    #[error("could not bring the schema of {path} up to date")]
    Migrate {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<refinery::Error>,
    },
    /// The engine does not keep a log.
    #[error(
        "the database {path} could not be switched to its log and stays in mode {mode:?}; is the disk full or failing?"
    )]
    NoLog {
        /// The database.
        path: PathBuf,
        /// How the engine would write instead.
        mode: String,
    },
    /// The log could not be written again.
    #[error("could not write the database's log {path} again; is the disk full or failing?")]
    Log {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The writer's thread could not be started.
    #[error("could not start the database's writer")]
    Thread(#[source] std::io::Error),
    /// A write touched another number of rows than meant.
    #[error("{operation} touched {rows} rows; 1 was meant")]
    Rows {
        /// What was tried.
        operation: &'static str,
        /// How many it touched.
        rows: usize,
    },
    /// A stored value is not valid: somebody else wrote it, or the disk is damaged.
    #[error("{table}.{column} holds what is not valid there: {fault}")]
    Value {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is wrong.
        fault: String,
    },
    /// A rule of the store was broken inside a store function.
    #[error("could not {operation}: {fault}")]
    Rule {
        /// What was tried.
        operation: &'static str,
        /// What is wrong.
        fault: String,
    },
    /// The marker of the journal's end could be neither written nor taken away.
    #[error(transparent)]
    Marker(crate::continuity::MarkerError),
    /// The store has not been enrolled: it has no name to write under.
    #[error("the store is not enrolled; run `huitong-edge enrol` first")]
    NotEnrolled,
    /// The writer's queue is full.
    #[error("the database is busy; try again in a moment")]
    Busy,
    /// An entry would be larger than any reader takes; nothing was stored.
    #[error("the entry would have {bytes} bytes; at most {max} are allowed", max = huitong_protocol::entry::ENTRY_BYTES_MAX)]
    TooLarge {
        /// How many it would have.
        bytes: usize,
    },
    /// What was asked broke off inside; it was rolled back alone.
    #[error("the operation broke off and was rolled back; the log has the place")]
    Panicked,
    /// The batch could not be made durable; nothing in it happened.
    #[error("nothing could be made durable; the daemon stops")]
    NotDurable,
    /// The writer has stopped.
    #[error("the database's writer has stopped; the log has the error before this one")]
    Stopped,
}

impl StoreError {
    /// Names the operation for an engine error: `map_err(StoreError::during("insert an entry"))`. Every engine error goes through here,
    /// so that the writer notices damage even when its caller handles the error.
    pub fn during(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| {
            let damage = matches!(
                source.sqlite_error_code(),
                Some(
                    ErrorCode::SystemIoFailure
                        | ErrorCode::DiskFull
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::CannotOpen
                        | ErrorCode::OutOfMemory
                        | ErrorCode::ReadOnly
                )
            );
            if damage {
                DAMAGED.set(true);
            }
            Self::Engine { operation, source }
        }
    }
}
