//! Readers: the connections that read, kept open, and the moment of the database that an idle one still holds.
//!
//! To begin and end a read transaction costs two locks of the operating system, as much as the look-up itself. A look-up may therefore go on in the
//! moment of the one before, as long as this process committed nothing since. What *another* process wrote (a command line beside the daemon) is
//! seen by look-ups within [`MOMENT_AGE_MAX`], by every other read at once. Held moments are let go before a checkpoint, which they would stop half-way.
//! Invariant: a read that begins after a write of this process was answered sees it.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::{ReadTx, StoreError, StoreOptions, connect, lock};

/// For how long a look-up may go on in an earlier look-up's moment.
const MOMENT_AGE_MAX: Duration = Duration::from_millis(20);

/// The reading connections of a store.
pub(super) struct Readers {
    path: PathBuf,
    options: StoreOptions,
    idle: Mutex<Vec<Reader>>,
    commits: AtomicU64,
}

struct Reader {
    connection: Connection,
    moment: Option<Moment>,
}

/// The transaction that a connection is in: how many commits there were when it began, and when that was.
struct Moment {
    commits: u64,
    begun: Instant,
}

impl Moment {
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds for how long another process is overlooked; nothing that is decided depends on it"
    )]
    fn begin(commits: u64) -> Self {
        Self { commits, begun: Instant::now() }
    }
}

/// Whether a read may see the moment of an earlier one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// All that any process committed until now.
    Now,
    /// All that this process committed until now; what another one did, a little later.
    Ours,
}

impl Reader {
    fn run(&self, sql: &str) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(StoreError::during("read"))?;
        statement.execute([]).map_err(StoreError::during("read")).map(drop)
    }

    fn end(&mut self) -> Result<(), StoreError> {
        if self.moment.take().is_some() { self.run("COMMIT") } else { Ok(()) }
    }
}

impl Readers {
    pub(super) fn new(path: PathBuf, options: StoreOptions) -> Self {
        Self { path, options, idle: Mutex::new(Vec::new()), commits: AtomicU64::new(0) }
    }

    /// Runs a closure on one moment of the database.
    pub(super) fn read<T, E: From<StoreError>>(
        &self,
        sees: Sees,
        work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = lock(&self.idle).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader {
                connection: connect(&self.path, &self.options, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
                moment: None,
            },
        };
        // Read before the transaction begins: what it sees is at least that.
        let commits = self.commits.load(Ordering::Acquire);
        let goes_on = sees == Sees::Ours
            && reader
                .moment
                .as_ref()
                .is_some_and(|moment| moment.commits == commits && moment.begun.elapsed() <= MOMENT_AGE_MAX);
        if !goes_on {
            reader.end()?;
            reader.run("BEGIN")?;
            reader.moment = Some(Moment::begin(commits));
        }
        let result = work(&ReadTx { connection: &reader.connection });
        if (sees == Sees::Now || result.is_err() || self.commits.load(Ordering::Relaxed) != commits)
            && let Err(error) = reader.end()
        {
            // A disk that fails ends the transaction by itself: what the closure was told is the cause. Such a connection is not kept.
            return result.and(Err(error.into()));
        }
        // More threads than wished may read at the same time; what they opened beyond the wish is closed again.
        let mut idle = lock(&self.idle);
        if idle.len() < self.options.readers.max(1) {
            idle.push(reader);
        }
        result
    }

    /// Says that the writer committed, before anybody is answered.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Release);
    }

    /// Ends the transactions of idle connections, so that a checkpoint can copy the whole log.
    pub(super) fn let_go(&self) {
        lock(&self.idle).retain_mut(|reader| reader.end().is_ok());
    }

    /// Closes the idle connections.
    pub(super) fn close(&self) {
        lock(&self.idle).clear();
    }
}
