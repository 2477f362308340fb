//! Writer: the one thread that writes. It takes what waits into one transaction, so that many tills share one fsync.
//!
//! Each job runs in its own savepoint: an error rolls back that job alone, its part of the chain included. Replies go out after COMMIT. A COMMIT
//! that fails, and any damage that the engine reports, fails the whole batch: nothing in it was answered as done, the writer stops, and the daemon
//! with it, as nobody knows what is on the disk. Checkpoints are the writer's too, after the replies and when nothing waits; one that the disk fails
//! stops the writer as well. After a failure nothing more is written, not even to close: to try again after a failed fsync proves nothing.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{oneshot, watch};

use super::error::take_damage;
use super::reader::Readers;
use super::tx::{Chain, ReadTx, WriteTx};
use super::{Committed, StoreError, StoreOptions, log};
use crate::continuity::Keeper;

/// How many jobs share one transaction at most: by then the fsync costs each of them next to nothing.
const BATCH_MAX: usize = 256;
/// A log this many times larger than wished is copied back even while jobs wait: under endless load it must not grow without bound.
const CHECKPOINT_OVERDUE: i32 = 16;

/// Something to be done in the writer's transaction.
pub(super) trait Job: Send {
    /// Does it; false when it is to be rolled back alone.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool;
    /// Tells whoever waits: what it gave, or why nothing happened.
    fn finish(self: Box<Self>, batch: Result<(), StoreError>);
}

/// A closure with somebody waiting for what it gives.
pub(super) struct Call<F, T, E> {
    pub(super) work: Option<F>,
    pub(super) result: Option<Result<T, E>>,
    pub(super) reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Call<F, T, E>
where
    F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        // A broken assertion of the core concerns one operation: its savepoint goes, the other tills' work stays.
        let result = catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|_| Err(StoreError::Panicked.into()));
        let done = result.is_ok();
        self.result = Some(result);
        done
    }

    fn finish(self: Box<Self>, batch: Result<(), StoreError>) {
        let answer = match (batch, self.result) {
            (Err(error), Some(Ok(_)) | None) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Stopped.into()),
            (_, Some(result)) => result,
        };
        // Whoever asked may have gone; what was done is done, and a retry is told so.
        let _ = self.reply.send(answer);
    }
}

/// The writer's own state.
pub(super) struct Writer {
    connection: Connection,
    jobs: Receiver<Box<dyn Job>>,
    chain: Chain,
    committed: watch::Sender<Arc<Committed>>,
    failed: watch::Sender<bool>,
    readers: Arc<Readers>,
    continuity: Arc<Keeper>,
    wal_pages: Arc<AtomicI32>,
    checkpoint_pages: i32,
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        jobs: Receiver<Box<dyn Job>>,
        chain: Chain,
        committed: watch::Sender<Arc<Committed>>,
        failed: watch::Sender<bool>,
        (readers, continuity): (Arc<Readers>, Arc<Keeper>),
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let wal_pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&wal_pages);
        // Taking the hook also takes the place of the engine's own checkpoints, which would run inside a COMMIT and so before its replies.
        connection
            .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
                seen.store(pages, Ordering::Relaxed);
                Ok(())
            }))
            .map_err(StoreError::during("watch the log's size"))?;
        let checkpoint_pages = options.checkpoint_pages;
        Ok(Self { connection, jobs, chain, committed, failed, readers, continuity, wal_pages, checkpoint_pages })
    }

    /// Serves until every handle of the store is gone, or until the disk fails.
    pub(super) fn run(mut self) {
        let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(BATCH_MAX);
        while let Ok(first) = self.jobs.recv() {
            batch.push(first);
            let mut waiting = self.gather(&mut batch);
            match self.commit(&mut batch) {
                Ok(()) => batch.drain(..).for_each(|job| job.finish(Ok(()))),
                Err(StoreError::Busy) => batch.drain(..).for_each(|job| job.finish(Err(StoreError::Busy))),
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        jobs = batch.len(),
                        "Stopping: a batch could not be made durable"
                    );
                    // The writer's end must be known before anybody is answered, else a retry could be queued and never served.
                    self.fail();
                    batch.drain(..).for_each(|job| job.finish(Err(StoreError::NotDurable)));
                    return;
                }
            }
            if waiting {
                waiting =
                    self.wal_pages.load(Ordering::Relaxed) < self.checkpoint_pages.saturating_mul(CHECKPOINT_OVERDUE);
            }
            if !waiting && let Err(error) = self.checkpoint() {
                // What was answered is in the log, and the log was synced. What became of the database's file nobody knows.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Stopping: the database's log could not be copied back"
                );
                self.fail();
                return;
            }
        }
    }

    /// Says that the disk failed, and sees to it that closing writes nothing: the next start begins with what is on the disk.
    fn fail(&self) {
        if let Err(error) = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::warn!(error = &error as &dyn std::error::Error, "The database's log will be copied back to close");
        }
        self.failed.send_replace(true);
    }

    /// Takes what waits already; true when more may wait.
    fn gather(&self, batch: &mut Vec<Box<dyn Job>>) -> bool {
        while batch.len() < BATCH_MAX {
            match self.jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        take_damage();
        match self.execute("begin a transaction", "BEGIN IMMEDIATE") {
            Ok(()) => {}
            // Another process of this machine (a command line) holds the lock for longer than we wait. Nothing was begun.
            Err(StoreError::Engine { source, .. }) if source.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                return Err(StoreError::Busy);
            }
            Err(error) => return Err(error),
        }
        let mut chain = self.chain.clone();
        let outcome = self.run_jobs(batch, &mut chain).and_then(|()| self.execute("commit", "COMMIT"));
        if outcome.is_err() {
            // Whether this works or not: nothing of the batch is answered as done, and the writer stops.
            let _ = self.connection.execute_batch("ROLLBACK");
            return outcome;
        }
        if chain.head != self.chain.head {
            // Before anybody is told. A marker that stayed behind would prove a database that was put back to it.
            self.continuity.mark(&chain).map_err(StoreError::Marker)?;
        }
        self.readers.committed();
        if chain.revision != self.chain.revision {
            self.chain = chain;
            self.committed.send_replace(Arc::new(Committed::new(self.chain.clone())));
        }
        Ok(())
    }

    fn run_jobs(&self, batch: &mut [Box<dyn Job>], chain: &mut Chain) -> Result<(), StoreError> {
        for job in batch {
            self.execute("set a savepoint", "SAVEPOINT job")?;
            let before = chain.clone();
            let done = job.run(&mut WriteTx {
                read: ReadTx { connection: &self.connection },
                chain,
                guarded: OnceCell::new(),
            });
            if take_damage() || self.connection.is_autocommit() {
                return Err(StoreError::NotDurable);
            }
            if !done {
                *chain = before;
                self.execute("roll back a savepoint", "ROLLBACK TO job")?;
            }
            self.execute("release a savepoint", "RELEASE job")?;
        }
        Ok(())
    }

    fn execute(&self, operation: &'static str, sql: &str) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(StoreError::during(operation))?;
        statement.execute([]).map_err(StoreError::during(operation)).map(drop)
    }

    /// Copies the log back into the database while nobody waits.
    fn checkpoint(&self) -> Result<(), StoreError> {
        if self.wal_pages.load(Ordering::Relaxed) < self.checkpoint_pages {
            return Ok(());
        }
        self.wal_pages.store(0, Ordering::Relaxed);
        self.readers.let_go();
        log::copy_back(&self.connection)
    }
}
