//! Store: the shop's own SQLite. Opens it, brings its schema up to date, reads on several connections and writes on one thread.
//!
//! [`Store::write`] hands a closure to the writer and answers after COMMIT; [`Store::read`] runs a closure at once, on the caller's thread: a look-up is
//! a few microseconds on a warm page, less than the way to another thread and back, so it costs an async worker less to do it than to send it away.
//! Invariant: whoever got `Ok` from a write has it on disk, and [`Store::committed`] covers it.

pub mod allotment;
pub mod budget;
pub mod card;
pub mod day;
pub mod day_spend;
pub mod draft;
mod error;
mod grant_alarm;
pub mod hold;
pub mod hub_clock;
pub mod identity;
pub mod in_use;
pub mod item;
pub mod journal;
mod log;
pub mod member;
pub mod operation;
pub mod overdraft;
pub mod parking;
pub mod pending;
pub mod policy;
mod reader;
pub mod receipt;
pub mod replica;
pub mod setting;
pub mod sync_state;
pub mod tender_reference;
pub mod tenure;
pub mod till;
mod tx;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use huitong_protocol::journal::Head;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row};
use tokio::sync::{oneshot, watch};

pub use error::StoreError;
pub use tx::{Appended, Chain, EntryMeta, PolicyInForce, ReadTx, WriteTx};

use crate::continuity::Keeper;
use reader::{Readers, Sees};
use writer::{Call, Job, Writer};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// How many jobs may wait for the writer: four full batches. Beyond it tills are told to come back.
const QUEUE_MAX: usize = 1_024;
/// Prepared statements kept per connection: more than the store has.
const STATEMENTS_MAX: usize = 96;
/// How long the writer waits for a command line that writes beside the daemon.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The writer's stack: the deepest call is a decision over a basket.
const WRITER_STACK_BYTES: usize = 1 << 20;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// How many reading connections are kept open; they are opened when first needed.
    pub readers: usize,
    /// Page cache of each connection, in KiB, taken as it is used.
    pub cache_kib: u32,
    /// How many pages the log may have before the idle writer copies it back.
    pub checkpoint_pages: i32,
    /// What the database stands on, when it is not this machine's file system: tests put a disk there that fails. Nothing configures it.
    pub disk: Option<Disk>,
}

/// A disk below the database that is not this machine's.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// The name under which its file system (VFS) is registered with the engine.
    pub vfs: &'static str,
    /// What the engine syncs (`PRAGMA synchronous`). Anything but `FULL` loses acknowledged operations: tests prove that they would notice.
    pub synchronous: &'static str,
    /// Writes a file's bytes again in their places and syncs them; see [`Store::open`].
    pub rewrite: fn(&Path) -> std::io::Result<()>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { readers: 4, cache_kib: 8_192, checkpoint_pages: 1_000, disk: None }
    }
}

/// What was committed last: the chain, and its witness as every answer carries it.
#[derive(Clone, Debug)]
pub struct Committed {
    chain: Chain,
    witness: Option<Bytes>,
}

impl Committed {
    fn new(chain: Chain) -> Self {
        let witness = chain.identity.as_ref().map(|identity| {
            let hex = data_encoding::HEXLOWER.encode(&chain.head.hash.0);
            Bytes::from(format!("{}:{}:{}:b3:{hex}", identity.store.id, identity.epoch, chain.head.seq))
        });
        Self { chain, witness }
    }

    /// The text of the witness (`STORE:EPOCH:SEQ:HASH`), once enrolled.
    #[must_use]
    pub fn witness(&self) -> Option<&Bytes> {
        self.witness.as_ref()
    }
}

impl std::ops::Deref for Committed {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.chain
    }
}

/// A handle to the database. Cheap to clone; the last one closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: Mutex<Option<mpsc::SyncSender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    readers: Arc<Readers>,
    committed: watch::Receiver<Arc<Committed>>,
    failed: watch::Receiver<bool>,
    in_use: Arc<in_use::InUse>,
    continuity: Arc<Keeper>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing that is locked here can be left half-changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens or makes the database, writes what its log shows once more, brings its schema up to date, reads where its chain ends and starts the
    /// writer.
    ///
    /// After an fsync that failed, the operating system may show bytes that are not on the disk and that no later fsync would write: an operation
    /// acknowledged behind them would be gone with the next power cut. Written again they are like any others. That goes for the log; the database
    /// itself is written from the log, which is kept until the database was synced, and it is copied back here once, so that not even the first page
    /// of a new database stands on an fsync that failed.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Migrate`], or what is wrong with what is stored.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let mut connection =
            connect(path, &options, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let synchronous = options.disk.map_or("FULL", |disk| disk.synchronous);
        log::switch_on(&connection, path, synchronous)?;
        log::settle(&connection, path, options.disk.map_or(log::rewrite as fn(&Path) -> _, |disk| disk.rewrite))?;
        // In one transaction with the note that says so: a power cut between the two would leave a database that never opens again.
        embedded::migrations::runner()
            .set_grouped(true)
            .run(&mut connection)
            .map_err(|source| StoreError::Migrate { path: path.to_owned(), source: Box::new(source) })?;
        log::copy_back(&connection)?;
        let chain = load(&ReadTx { connection: &connection })?;
        let (committed_by, committed) = watch::channel(Arc::new(Committed::new(chain.clone())));
        let (failed_by, failed) = watch::channel(false);
        let (jobs, queue) = mpsc::sync_channel(QUEUE_MAX);
        let readers = Arc::new(Readers::new(path.to_owned(), options));
        let continuity = Arc::new(Keeper::new(committed.clone()));
        let sides = (Arc::clone(&readers), Arc::clone(&continuity));
        let writer = Writer::new(connection, queue, chain, committed_by, failed_by, sides, options)?;
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .stack_size(WRITER_STACK_BYTES)
            .spawn(move || writer.run())
            .map_err(StoreError::Thread)?;
        let inner = Inner {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            readers,
            committed,
            failed,
            in_use: Arc::default(),
            continuity,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The purses of customers who wait at a till for the hub's answer.
    #[must_use]
    pub fn in_use(&self) -> &Arc<in_use::InUse> {
        &self.inner.in_use
    }

    /// What is known of the database's continuity.
    #[must_use]
    pub fn continuity(&self) -> &Arc<Keeper> {
        &self.inner.continuity
    }

    /// Runs a closure in the writer's transaction, in its own savepoint, and answers after COMMIT. An error rolls the closure back alone. The
    /// closure runs to its end even when the caller goes away.
    ///
    /// # Errors
    /// What the closure gives; [`StoreError::Busy`] when too many wait; [`StoreError::NotDurable`] and [`StoreError::Stopped`] when the disk failed.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(Box::new(Call { work: Some(work), result: None, reply }))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
    }

    fn submit(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let jobs = lock(&self.inner.jobs);
        jobs.as_ref().ok_or(StoreError::Stopped)?.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => StoreError::Busy,
            mpsc::TrySendError::Disconnected(_) => StoreError::Stopped,
        })
    }

    /// Runs a closure on one moment of the database, on this thread. For short reads; long ones belong on a blocking thread.
    ///
    /// # Errors
    /// What the closure gives, or [`StoreError::Open`] when no connection could be opened.
    pub fn read<T, E: From<StoreError>>(&self, work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.inner.readers.read(Sees::Now, work)
    }

    /// As [`Store::read`], for look-ups: sees all that this process committed, and what another process wrote beside it after a moment. Half the cost.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn look<T, E: From<StoreError>>(&self, work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.inner.readers.read(Sees::Ours, work)
    }

    /// What was committed last.
    #[must_use]
    pub fn committed(&self) -> Arc<Committed> {
        Arc::clone(&self.inner.committed.borrow())
    }

    /// The end of the journal as committed.
    #[must_use]
    pub fn head(&self) -> Head {
        self.inner.committed.borrow().chain.head
    }

    /// Tells of every commit that changed the chain.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<Arc<Committed>> {
        self.inner.committed.clone()
    }

    /// Becomes true when the writer stopped because the disk failed: the daemon must end.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.inner.failed.clone()
    }

    /// Whether writes can be served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        !*self.inner.failed.borrow() && lock(&self.inner.jobs).is_some()
    }

    /// Stops the writer after what is queued and closes the database; later writes are refused. Blocks until it is done.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        drop(lock(&self.jobs).take());
        self.readers.close();
        let thread = lock(&self.thread).take();
        // A job may hold the last handle: then the writer itself is here, and ends by itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("The database's writer broke off");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn connect(path: &Path, options: &StoreOptions, flags: OpenFlags) -> Result<Connection, StoreError> {
    let open = || {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match options.disk {
            None => Connection::open_with_flags(path, flags)?,
            Some(disk) => Connection::open_with_flags_and_vfs(path, flags, disk.vfs)?,
        };
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // Else a statement whose plan might depend on what is bound (a partial index beside it is enough) is compiled anew with every value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.execute_batch(&format!(
            "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{};",
            options.cache_kib
        ))?;
        Ok(connection)
    };
    open().map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

/// Reads where everything stands.
fn load(tx: &ReadTx<'_>) -> Result<Chain, StoreError> {
    let mut chain = Chain::start();
    chain.identity = identity::load(tx)?.map(Arc::new);
    (chain.head, chain.stamp) = journal::end(tx)?;
    (chain.open_day, chain.closed_day, chain.sealed_seq) = day::load(tx)?;
    // What the hub was told bears a number also where the row that had it is not told any more: none is given a second time.
    let reported = sync_state::get(tx)?.reported_change_no;
    chain.change_no = allotment::last_change_no(tx)?.max(card::last_change_no(tx)?).max(reported);
    (chain.quarantine, chain.hub_turn) = tenure::load(tx)?;
    replica::load(tx, &mut chain)?;
    Ok(chain)
}

/// A column as a value of the domain; what does not fit names the place.
pub(crate) fn parsed<T: std::str::FromStr>(
    row: &Row<'_>,
    at: usize,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    let cell = row.get_ref(at).map_err(StoreError::during("read a column"))?;
    let fault = |fault: String| StoreError::Value { table, column, fault };
    cell.as_str().map_err(|error| fault(error.to_string()))?.parse().map_err(|error: T::Err| fault(error.to_string()))
}

/// As [`parsed`], for a column that may be NULL.
pub(crate) fn maybe_parsed<T: std::str::FromStr>(
    row: &Row<'_>,
    at: usize,
    table: &'static str,
    column: &'static str,
) -> Result<Option<T>, StoreError>
where
    T::Err: std::fmt::Display,
{
    let cell = row.get_ref(at).map_err(StoreError::during("read a column"))?;
    if cell == rusqlite::types::ValueRef::Null { Ok(None) } else { parsed(row, at, table, column).map(Some) }
}

/// A column of the engine's own types.
pub(crate) fn cell<T: rusqlite::types::FromSql>(row: &Row<'_>, at: usize) -> Result<T, StoreError> {
    row.get(at).map_err(StoreError::during("read a column"))
}

/// A number that cannot be negative: versions, positions.
pub(crate) fn counted(row: &Row<'_>, at: usize, table: &'static str, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = cell(row, at)?;
    u64::try_from(number).map_err(|_| StoreError::Value { table, column, fault: format!("is {number}") })
}

/// A position or version as the engine holds it.
///
/// # Panics
/// After 2^63 entries, which no store reaches.
pub(crate) fn column(number: u64) -> i64 {
    i64::try_from(number).expect("no store counts to 2^63")
}
