//! Engine: the only file of the hub that knows which database it runs on.
//!
//! Store functions are plain and synchronous over `&mut Tx`, with one body of SQL: `$n` placeholders bound by number, TEXT, BIGINT, BLOB and NULL
//! as the only types, money in minor units, time in epoch milliseconds, `CAST(SUM(x) AS BIGINT)`, no selected booleans, `ON CONFLICT` and
//! `RETURNING` where needed. Async code reaches them through [`Store::read`] and [`Store::write`].
//!
//! On SQLite one writer thread batches closures into one transaction, each in its own savepoint: an error rolls back that one; a failed COMMIT fails
//! the whole batch and none of it is answered. Reads run on threads of their own, so many at once; closing the database ends those under way, as
//! whoever asked is gone. Invariant: whoever got `Ok` from [`Store::write`] has it on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, InterruptHandle, OpenFlags, ToSql, TransactionBehavior};
use tokio::sync::oneshot;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// How many closures share one transaction at most: by then the fsync costs each of them next to nothing.
const BATCH_MAX: usize = 256;
/// How many closures may wait for the writer; beyond it callers are told to come back.
const QUEUE_MAX: usize = 4_096;
/// Prepared statements kept per connection: more than the hub has.
const STATEMENTS_MAX: usize = 256;
/// How long a connection waits for another process (a command line beside the daemon).
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// How often the writer waits that long before it gives a batch up.
const BEGIN_TRIES_MAX: u32 = 6;

/// How often reads under way are told again that the database closes: one that was between two statements did not hear it.
const INTERRUPT_EVERY: Duration = Duration::from_millis(20);

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
    /// The schema could not be brought up to date.
    #[error("could not bring the schema of {path} up to date")]
    Migrate {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<refinery::Error>,
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
    /// The database cannot keep a log on this disk, without which a power cut could take the last commit back.
    #[error(
        "could not switch {path} to a log (it stays in mode {mode}); is the disk full, failing, or one of another machine?"
    )]
    NoLog {
        /// The database.
        path: PathBuf,
        /// What it is in.
        mode: String,
    },
    /// A row that should be there is not, or a write touched another number of rows than meant.
    #[error("{operation} touched {rows} rows of {table}; {expected} was meant")]
    Rows {
        /// What was tried.
        operation: &'static str,
        /// On which table.
        table: &'static str,
        /// How many it touched.
        rows: usize,
        /// How many it should touch.
        expected: usize,
    },
    /// A stored value is not valid: somebody else wrote it, or the disk is damaged.
    #[error("{table}.{column} of row {row} is not valid: {fault}")]
    Value {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong.
        fault: String,
    },
    /// The writer's queue is full.
    #[error("the database is busy; try again in a moment")]
    Busy,
    /// The writer stopped after an error that it must not continue from; or the database was closed, which ends also reads that are under way.
    #[error("the database is closed; when nobody stopped it, the log has the error before this one")]
    Stopped,
    /// A domain rule was broken inside a store function.
    #[error("{operation}: {fault}")]
    Rule {
        /// What was tried.
        operation: &'static str,
        /// What is wrong.
        fault: String,
    },
}

impl StoreError {
    /// Whether it comes from what is stored or asked, so that trying again gives the same.
    fn is_of_data(&self) -> bool {
        match self {
            Self::Rows { .. } | Self::Value { .. } | Self::Rule { .. } => true,
            Self::Engine { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation),
            _ => false,
        }
    }

    /// Names the operation for an engine error: `map_err(StoreError::during("insert entry"))`.
    pub fn during(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            // Only closing interrupts.
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::Stopped,
            _ => Self::Engine { operation, source },
        }
    }
}

/// A value bound to a placeholder. The only types that both engines share.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// BIGINT.
    Integer(i64),
    /// TEXT.
    Text(&'a str),
    /// BYTEA or BLOB.
    Bytes(&'a [u8]),
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

macro_rules! value_from {
    ($($source:ty => |$value:ident| $make:expr),+ $(,)?) => {
        $(impl<'a> From<$source> for Value<'a> {
            fn from($value: $source) -> Self {
                $make
            }
        })+
    };
}

value_from! {
    i64 => |value| Self::Integer(value),
    u32 => |value| Self::Integer(i64::from(value)),
    u16 => |value| Self::Integer(i64::from(value)),
    bool => |value| Self::Integer(i64::from(value)),
    &'a str => |value| Self::Text(value),
    &'a String => |value| Self::Text(value),
    &'a [u8] => |value| Self::Bytes(value),
    &'a Vec<u8> => |value| Self::Bytes(value),
    &'a huitong_protocol::id::Hash => |value| Self::Bytes(&value.0),
    &'a huitong_protocol::id::StoreId => |value| Self::Text(value.as_str()),
    &'a huitong_protocol::id::LegalEntityId => |value| Self::Text(value.as_str()),
    &'a huitong_protocol::card::CardNumber => |value| Self::Text(value.reveal()),
    huitong_protocol::unit::Unit => |value| Self::Text(value.as_str()),
    huitong_protocol::money::Currency => |value| Self::Text(value.code()),
    huitong_protocol::movement::MovementKind => |value| Self::Text(value.as_str()),
    huitong_protocol::card::CardStatus => |value| Self::Text(value.as_str()),
    huitong_protocol::id::AccountId => |value| Self::Integer(value.get()),
    huitong_protocol::id::MemberId => |value| Self::Integer(value.get()),
    huitong_protocol::id::Epoch => |value| Self::Integer(i64::from(value.0)),
    huitong_protocol::time::Instant => |value| Self::Integer(value.0),
    huitong_protocol::time::Stamp => |value| Self::Integer(value.0),
}

impl From<huitong_protocol::id::Seq> for Value<'_> {
    fn from(value: huitong_protocol::id::Seq) -> Self {
        Self::Integer(i64::try_from(value.0).expect("a journal never reaches 2^63 entries"))
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of a result, by column position from 0.
pub struct Row<'a>(&'a rusqlite::Row<'a>);

impl Row<'_> {
    /// A BIGINT.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the column holds something else.
    pub fn integer(&self, column: usize) -> Result<i64, StoreError> {
        self.0.get(column).map_err(StoreError::during("read an integer"))
    }

    /// A BIGINT or NULL.
    ///
    /// # Errors
    /// As [`Row::integer`].
    pub fn maybe_integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.0.get(column).map_err(StoreError::during("read an integer"))
    }

    /// A TEXT, borrowed from the row.
    ///
    /// # Errors
    /// As [`Row::integer`].
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.0
            .get_ref(column)
            .map_err(StoreError::during("read a text"))?
            .as_str()
            .map_err(|source| StoreError::Engine { operation: "read a text", source: source.into() })
    }

    /// A TEXT or NULL, borrowed from the row.
    ///
    /// # Errors
    /// As [`Row::integer`].
    pub fn maybe_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.0
            .get_ref(column)
            .map_err(StoreError::during("read a text"))?
            .as_str_or_null()
            .map_err(|source| StoreError::Engine { operation: "read a text", source: source.into() })
    }

    /// A BLOB, borrowed from the row.
    ///
    /// # Errors
    /// As [`Row::integer`].
    pub fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        self.0
            .get_ref(column)
            .map_err(StoreError::during("read bytes"))?
            .as_blob()
            .map_err(|source| StoreError::Engine { operation: "read bytes", source: source.into() })
    }

    /// A BLOB or NULL.
    ///
    /// # Errors
    /// As [`Row::integer`].
    pub fn maybe_bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        self.0
            .get_ref(column)
            .map_err(StoreError::during("read bytes"))?
            .as_blob_or_null()
            .map_err(|source| StoreError::Engine { operation: "read bytes", source: source.into() })
    }

    /// A TEXT that is one of ours: an id, a kind, a day.
    ///
    /// # Errors
    /// [`StoreError::Value`] names table and column.
    pub fn parsed<T: std::str::FromStr>(
        &self,
        column: usize,
        table: &'static str,
        name: &'static str,
    ) -> Result<T, StoreError>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(column)?;
        text.parse().map_err(|fault: T::Err| StoreError::Value {
            table,
            column: name,
            row: text.to_owned(),
            fault: fault.to_string(),
        })
    }
}

impl Row<'_> {
    /// As [`Row::parsed`], or NULL.
    ///
    /// # Errors
    /// As [`Row::parsed`].
    pub fn maybe_parsed<T: std::str::FromStr>(
        &self,
        column: usize,
        table: &'static str,
        name: &'static str,
    ) -> Result<Option<T>, StoreError>
    where
        T::Err: std::fmt::Display,
    {
        if self.maybe_text(column)?.is_some() { self.parsed(column, table, name).map(Some) } else { Ok(None) }
    }
}

/// A transaction of the engine.
pub struct Tx<'a> {
    connection: &'a Connection,
    /// Whether the database closes, for a transaction that then ends at its next row or statement. A write never does.
    closing: Option<&'a AtomicBool>,
}

impl Tx<'_> {
    /// Runs a statement and gives the number of rows that it touched.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, StoreError> {
        let mut statement = self.prepare(sql)?;
        bind(&mut statement, values)?;
        statement.raw_execute().map_err(StoreError::during("execute a statement"))
    }

    /// Runs a statement that must touch exactly one row.
    ///
    /// # Errors
    /// [`StoreError::Rows`] when it touched another number.
    pub fn execute_one(
        &mut self,
        operation: &'static str,
        table: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<(), StoreError> {
        match self.execute(sql, values)? {
            1 => Ok(()),
            rows => Err(StoreError::Rows { operation, table, rows, expected: 1 }),
        }
    }

    /// Reads rows one by one; nothing is collected unless `each` does.
    ///
    /// # Errors
    /// [`StoreError::Engine`], or what `each` gives.
    pub fn for_each<E: From<StoreError>>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        mut each: impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.prepare(sql)?;
        bind(&mut statement, values)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(StoreError::during("read a row"))? {
            each(&Row(row))?;
            self.go_on()?;
        }
        Ok(())
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// As [`Tx::for_each`].
    pub fn query<T, E: From<StoreError>>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let mut found = Vec::new();
        self.for_each(sql, values, |row| {
            found.push(read(row)?);
            Ok::<(), E>(())
        })?;
        Ok(found)
    }

    /// Reads the first row, if there is one.
    ///
    /// # Errors
    /// As [`Tx::for_each`].
    pub fn query_one<T, E: From<StoreError>>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let mut statement = self.prepare(sql)?;
        bind(&mut statement, values)?;
        let mut rows = statement.raw_query();
        match rows.next().map_err(StoreError::during("read a row"))? {
            Some(row) => read(&Row(row)).map(Some),
            None => Ok(None),
        }
    }

    /// Runs a part that may fail alone. What its data make impossible is undone and given in words, and the rest of the transaction goes on.
    ///
    /// # Errors
    /// What is no fault of the data: the database is busy, closed or damaged.
    pub fn attempt<T>(
        &mut self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<Result<T, String>, StoreError> {
        self.connection.execute_batch("SAVEPOINT part").map_err(StoreError::during("set a savepoint"))?;
        let result = f(self);
        let end = if result.is_ok() { "RELEASE part" } else { "ROLLBACK TO part; RELEASE part" };
        let ended = self.connection.execute_batch(end).map_err(StoreError::during("end a savepoint"));
        match result {
            Err(error) if !error.is_of_data() => Err(error),
            result => ended.map(|()| result.map_err(|error| error.to_string())),
        }
    }

    /// Makes a statement ready to be run many times.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn bulk(&self, sql: &str) -> Result<Bulk<'_>, StoreError> {
        Ok(Bulk { statement: self.prepare(sql)? })
    }

    fn go_on(&self) -> Result<(), StoreError> {
        match self.closing {
            Some(closing) if closing.load(Ordering::Relaxed) => Err(StoreError::Stopped),
            _ => Ok(()),
        }
    }

    fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>, StoreError> {
        self.go_on()?;
        // `$1` names a parameter on SQLite and numbers it by first appearance; `?1` is bound by number, as on PostgreSQL.
        self.connection.prepare_cached(&sql.replace('$', "?")).map_err(StoreError::during("prepare a statement"))
    }
}

/// A statement that is run many times, looked up once.
pub struct Bulk<'a> {
    statement: rusqlite::CachedStatement<'a>,
}

impl Bulk<'_> {
    /// Runs it and gives the number of rows that it touched.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn execute(&mut self, values: &[Value<'_>]) -> Result<usize, StoreError> {
        bind(&mut self.statement, values)?;
        self.statement.raw_execute().map_err(StoreError::during("execute a statement"))
    }
}

fn bind(statement: &mut rusqlite::CachedStatement<'_>, values: &[Value<'_>]) -> Result<(), StoreError> {
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value).map_err(StoreError::during("bind a value"))?;
    }
    Ok(())
}

type Job = Box<dyn FnOnce(&mut Batch<'_>) + Send>;

/// One transaction under way and what is to be answered after it.
struct Batch<'a> {
    connection: &'a Connection,
    answers: Vec<Box<dyn FnOnce(bool) + Send>>,
}

/// The hub's database.
#[derive(Clone)]
pub struct Store {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
}

struct Writer {
    queue: std::sync::Mutex<Option<std_mpsc::SyncSender<Job>>>,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<tokio::sync::Semaphore>,
    closing: AtomicBool,
    /// Those under way, by number.
    busy: Mutex<HashMap<u64, InterruptHandle>>,
    next: AtomicU64,
    ended: Condvar,
}

/// A read under way; ended when it is dropped, also by a panic.
struct Reading<'a> {
    readers: &'a Readers,
    number: u64,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.readers.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        self.readers.ended.notify_all();
    }
}

impl Store {
    /// Opens the database, brings its schema up to date and starts its writer.
    ///
    /// # Errors
    /// [`StoreError::Open`] and [`StoreError::Migrate`].
    pub fn open(path: &Path, readers: usize) -> Result<Self, StoreError> {
        let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        // In one transaction with the note that says so: a crash between the two would leave a database that never opens again.
        embedded::migrations::runner()
            .set_grouped(true)
            .run(&mut connection)
            .map_err(|source| StoreError::Migrate { path: path.to_owned(), source: Box::new(source) })?;
        Self::start(connection, path, readers)
    }

    fn start(connection: Connection, path: &Path, readers: usize) -> Result<Self, StoreError> {
        let (queue, jobs) = std_mpsc::sync_channel::<Job>(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("hub-writer".to_owned())
            .spawn(move || write_loop(connection, &jobs))
            .map_err(|_| StoreError::Stopped)?;
        Ok(Self {
            writer: Arc::new(Writer {
                queue: std::sync::Mutex::new(Some(queue)),
                thread: std::sync::Mutex::new(Some(thread)),
            }),
            readers: Arc::new(Readers {
                path: path.to_owned(),
                idle: Mutex::default(),
                permits: Arc::new(tokio::sync::Semaphore::new(readers.max(1))),
                closing: AtomicBool::new(false),
                busy: Mutex::default(),
                next: AtomicU64::new(0),
                ended: Condvar::new(),
            }),
        })
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.readers.path
    }

    /// Runs a closure in a read transaction: everything it reads is of one moment.
    ///
    /// # Errors
    /// What the closure gives, or a [`StoreError`].
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let permit = Arc::clone(&readers.permits).acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        let read = move || {
            // Held by the read itself: who asked may hang up, and the thread and its connection are in use all the same.
            let _permit = permit;
            readers.read(f)
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
    }

    /// As [`Store::read`], for threads that may wait.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T, E: From<StoreError>>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.readers.read(f)
    }

    /// Runs a closure in a write transaction, shared with others. It has no effect outside `tx` and may run again (PostgreSQL retries).
    ///
    /// # Errors
    /// What the closure gives, with its writes undone; or a [`StoreError`], with nothing of it written.
    pub async fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.submit(f, move |result| {
            // A caller that went away does not need its answer; what it asked for is done.
            let _ = answer.send(result);
        })?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
    }

    /// As [`Store::write`], for threads that may wait.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_blocking<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = std_mpsc::sync_channel(1);
        self.submit(f, move |result| {
            let _ = answer.send(result);
        })?;
        answered.recv().unwrap_or_else(|_| Err(StoreError::Stopped.into()))
    }

    fn submit<T, E, F>(&self, f: F, answer: impl FnOnce(Result<T, E>) + Send + 'static) -> Result<(), StoreError>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let job: Job = Box::new(move |batch| {
            let result = in_savepoint(batch.connection, f);
            batch.answers.push(Box::new(move |committed| {
                answer(if committed { result } else { Err(StoreError::Stopped.into()) });
            }));
        });
        let queue = self.writer.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(StoreError::Stopped)?;
        queue.try_send(job).map_err(|error| match error {
            std_mpsc::TrySendError::Full(_) => StoreError::Busy,
            std_mpsc::TrySendError::Disconnected(_) => StoreError::Stopped,
        })?;
        Ok(())
    }

    /// Ends the reads under way, stops the writer after what is queued and closes the database; later reads and writes are refused.
    pub fn close(&self) {
        drop(self.writer.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        self.readers.close();
        if let Some(thread) = self.writer.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Readers {
    /// Ends what is under way and waits until it has ended.
    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.is_empty() {
            busy.values().for_each(InterruptHandle::interrupt);
            busy = self.ended.wait_timeout(busy, INTERRUPT_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(busy);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Notes a read, unless the database closes.
    fn begin(&self, connection: &Connection) -> Result<Reading<'_>, StoreError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked with the lock: whoever closes sees the read, or the read sees that it closes.
        if self.closing.load(Ordering::SeqCst) {
            return Err(StoreError::Stopped);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        busy.insert(number, connection.get_interrupt_handle());
        Ok(Reading { readers: self, number })
    }

    fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = open(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                connection.execute_batch("PRAGMA query_only = ON").map_err(StoreError::during("open for reading"))?;
                connection
            }
        };
        let reading = self.begin(&connection)?;
        let outcome = (|| {
            connection.execute_batch("BEGIN").map_err(StoreError::during("begin reading"))?;
            let result = f(&mut Tx { connection: &connection, closing: Some(&self.closing) });
            connection.execute_batch("ROLLBACK").map_err(StoreError::during("end reading"))?;
            result
        })();
        drop(reading);
        if connection.is_autocommit() && !self.closing.load(Ordering::SeqCst) {
            self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(connection);
        }
        outcome
    }
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let name = |source| StoreError::Open { path: path.to_owned(), source };
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(name)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(name)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    let mode = switch_to_log(&connection).map_err(name)?;
    if mode != "wal" {
        return Err(StoreError::NoLog { path: path.to_owned(), mode });
    }
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;")
        .map_err(name)?;
    Ok(connection)
}

/// To switch over is a commit of its own, which comes after the row that says `wal`: who reads only that row never hears that it failed.
fn switch_to_log(connection: &Connection) -> rusqlite::Result<String> {
    let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
    let (mut mode, mut rows) = (String::new(), statement.query([])?);
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    Ok(mode)
}

fn in_savepoint<T, E: From<StoreError>>(
    connection: &Connection,
    f: impl Fn(&mut Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    // Some errors (a full disk) end the whole transaction: what follows in its batch must not begin one of its own.
    if connection.is_autocommit() {
        return Err(StoreError::Stopped.into());
    }
    connection.execute_batch("SAVEPOINT one").map_err(StoreError::during("set a savepoint"))?;
    // A rule that panics (a broken invariant) must not take the writer down with it.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&mut Tx { connection, closing: None })))
        .unwrap_or_else(|panic| {
            let fault =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreError::Rule { operation: "write", fault: fault.unwrap_or("a panic without words").to_owned() }
                .into())
        });
    let end = if result.is_ok() { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" };
    connection.execute_batch(end).map_err(StoreError::during("end a savepoint"))?;
    result
}

/// Begins a transaction. A command line beside the daemon may hold the database for longer than one timeout: a large import is one transaction.
fn begin(connection: &Connection) -> rusqlite::Result<rusqlite::Transaction<'_>> {
    let mut tries = 1;
    loop {
        match rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) && tries < BEGIN_TRIES_MAX =>
            {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn write_loop(connection: Connection, jobs: &std_mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut answers = Vec::new();
        let committed = (|| {
            let transaction = begin(&connection)?;
            let mut batch = Batch { connection: &transaction, answers: Vec::new() };
            first(&mut batch);
            for _ in 1..BATCH_MAX {
                match jobs.try_recv() {
                    Ok(job) => job(&mut batch),
                    Err(_) => break,
                }
            }
            answers = std::mem::take(&mut batch.answers);
            transaction.commit()
        })();
        if let Err(error) = &committed {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "Could not commit {} writes; none of them took effect",
                answers.len()
            );
        }
        for answer in answers {
            answer(committed.is_ok());
        }
        // After a failed fsync the pages in memory may lie about the disk: stop, and let a restart read what is really there.
        if let Err(rusqlite::Error::SqliteFailure(failure, _)) = committed
            && failure.code == rusqlite::ErrorCode::SystemIoFailure
        {
            tracing::error!("Stopping the database writer after an I/O error; restart to recover");
            return;
        }
    }
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("hub.db"), 2).unwrap();
        (folder, store)
    }

    fn token(tx: &mut Tx<'_>, code: &str, created_at_ms: i64) -> Result<(), StoreError> {
        // Bound by number: $2 comes first in the text and must get the second value.
        tx.execute_one(
            "insert a legal entity",
            "legal_entity",
            "INSERT INTO legal_entity (version, legal_entity_id, name, register_number, taxpayer_kind, bank_account) VALUES ($2, $1, '', '', '', '')",
            &[code.into(), created_at_ms.into()],
        )
    }

    fn count(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
        Ok(tx.query_one("SELECT COUNT(*) FROM legal_entity", &[], |row| row.integer(0))?.unwrap_or(0))
    }

    #[test]
    fn placeholders_are_bound_by_number() {
        let (_folder, store) = store();
        store.write_blocking(|tx| token(tx, "E1", 77)).unwrap();
        let found = store
            .read_blocking(|tx| {
                tx.query_one(
                    "SELECT legal_entity_id, version FROM legal_entity WHERE version = $2 AND legal_entity_id = $1",
                    &["E1".into(), 77_i64.into()],
                    |row| Ok::<_, StoreError>((row.text(0)?.to_owned(), row.integer(1)?)),
                )
            })
            .unwrap();
        assert_eq!(found, Some(("E1".to_owned(), 77)));
    }

    #[tokio::test]
    async fn an_error_undoes_its_own_write_and_no_other() {
        let (_folder, store) = store();
        let writes = (0..20_i64).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write(move |tx| {
                        token(tx, &format!("E{n}"), n)?;
                        match n % 3 {
                            0 => Err(StoreError::Rule { operation: "test", fault: "refused".to_owned() }),
                            1 => panic!("an invariant of the test is broken"),
                            _ => Ok(()),
                        }
                    })
                    .await
            })
        });
        let mut good = 0;
        for (n, write) in writes.collect::<Vec<_>>().into_iter().enumerate() {
            let outcome = write.await.unwrap();
            assert_eq!(outcome.is_ok(), n % 3 == 2, "write {n}: {outcome:?}");
            good += i64::from(outcome.is_ok());
        }
        assert_eq!(store.read(count).await.unwrap(), good);
    }

    #[tokio::test]
    async fn a_commit_that_fails_answers_nobody() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (folder, store) = store();
        store.close();
        let path = folder.path().join("hub.db");
        let mut connection = super::open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        let full = Arc::new(AtomicBool::new(true));
        let disk = Arc::clone(&full);
        connection.commit_hook(Some(move || disk.load(Ordering::SeqCst))).unwrap();
        let store = Store::start(connection, &path, 2).unwrap();
        let writes: Vec<_> = (0..10_i64)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.write(move |tx| token(tx, &format!("E{n}"), n)).await })
            })
            .collect();
        for write in writes {
            assert!(write.await.unwrap().is_err(), "nobody may be told of a write that is not on disk");
        }
        assert_eq!(store.read(count).await.unwrap(), 0);
        full.store(false, Ordering::SeqCst);
        store.write(|tx| token(tx, "E1", 1)).await.unwrap();
        assert_eq!(store.read(count).await.unwrap(), 1);
        store.close();
    }

    #[test]
    fn a_reader_sees_one_moment_and_cannot_write() {
        let (_folder, store) = store();
        store
            .read_blocking(|tx| {
                let before = count(tx)?;
                store.write_blocking(|tx| token(tx, "E1", 1))?;
                assert_eq!(count(tx)?, before, "what is committed meanwhile is of a later moment");
                assert!(token(tx, "E2", 2).is_err());
                Ok::<_, StoreError>(())
            })
            .unwrap();
        assert_eq!(store.read_blocking(count).unwrap(), 1);
    }

    #[test]
    fn a_database_that_can_keep_no_log_is_not_opened() {
        let opened = Store::open(Path::new(":memory:"), 1);
        assert!(matches!(opened, Err(StoreError::NoLog { mode, .. }) if mode == "memory"));
    }

    #[tokio::test]
    async fn a_read_keeps_its_turn_when_nobody_waits_for_it_any_more() {
        let (_folder, store) = store();
        let (began, begun) = oneshot::channel();
        let (go, gone) = std_mpsc::channel::<()>();
        let reader = store.clone();
        let asking = tokio::spawn(async move {
            reader
                .read(move |tx| {
                    let _ = began.send(());
                    let _ = gone.recv();
                    count(tx)
                })
                .await
        });
        begun.await.unwrap();
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(store.readers.permits.available_permits(), 1, "the thread and its connection are in use");
        drop(go);
        let all = store.readers.permits.acquire_many(2);
        let all =
            tokio::time::timeout(Duration::from_secs(20), all).await.expect("the read ends and gives its turn back");
        drop(all);
        assert_eq!(store.read(count).await.unwrap(), 0);
    }

    /// Counts for hours, in one statement or in many.
    fn endless(tx: &mut Tx<'_>, statements: bool) -> Result<i64, StoreError> {
        let counting = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n";
        loop {
            if !statements {
                tx.query_one(counting, &[], |row| row.integer(0))?;
            }
            count(tx)?;
        }
    }

    #[test]
    fn closing_ends_reads_under_way_and_no_write() {
        for statements in [false, true] {
            let (folder, store) = store();
            let (began, begun) = std_mpsc::channel();
            let reader = store.clone();
            let reading = std::thread::spawn(move || {
                reader.read_blocking(|tx| {
                    began.send(count(tx)?).unwrap();
                    endless(tx, statements)
                })
            });
            begun.recv().unwrap();
            let writer = store.clone();
            let (began, begun) = std_mpsc::channel();
            let writing = std::thread::spawn(move || {
                writer.write_blocking(move |tx| {
                    began.send(()).unwrap();
                    (0..1_000).try_for_each(|n| token(tx, &format!("E{n}"), n))
                })
            });
            begun.recv().unwrap();
            store.close();
            assert!(matches!(reading.join().unwrap(), Err(StoreError::Stopped)));
            assert!(matches!(store.read_blocking(count), Err(StoreError::Stopped)), "and none begins");
            writing.join().unwrap().unwrap();
            let again = Store::open(&folder.path().join("hub.db"), 1).unwrap();
            assert_eq!(again.read_blocking(count).unwrap(), 1_000);
        }
    }

    #[test]
    fn a_closed_store_refuses_and_what_was_answered_is_there_again() {
        let (folder, store) = store();
        store.write_blocking(|tx| token(tx, "E1", 1)).unwrap();
        store.close();
        assert!(matches!(store.write_blocking(|tx| token(tx, "E2", 2)), Err(StoreError::Stopped)));
        let again = Store::open(&folder.path().join("hub.db"), 1).unwrap();
        assert_eq!(again.read_blocking(count).unwrap(), 1);
        again.close();
    }
}
