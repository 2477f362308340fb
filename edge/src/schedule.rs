//! What runs unattended: a persisted table of jobs, their next due instants in the store's own time zone, and a dispatcher.
//!
//! `tokio-cron-scheduler` is the heartbeat and nothing more: it has no memory over restarts, freezes a zone's offset when a job is made, and
//! does not keep a slow job from running twice. So due instants are rows, computed with jiff, and each run takes a lease. A run that fell into
//! a power-off, or was cut off by one, is caught up once, however many were missed. Invariant: a job never runs twice at the same time, its next
//! due instant is always later than the look that started it, and its lease ends with it whoever stops waiting for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use huitong_config::Millis;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::Instant;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{ScheduleConfig, When};
use crate::store::{ReadTx, Store, StoreError, WriteTx, cell, counted};

/// The heartbeat: every five seconds. Six fields, the first are seconds.
const HEARTBEAT: &str = "*/5 * * * * *";
/// A run that has not ended after this long counts as crashed and may be started again.
const LEASE: Millis = Millis::minutes(30);
/// A step of the clock that is no more than setting it right a little, as time services do.
const CLOCK_STEP_MAX_MS: i64 = 60_000;
/// How many days ahead a time of day is looked for: a zone may skip a civil day when it changes sides of the date line.
const DAYS_AHEAD_MAX: i8 = 3;

/// What can be scheduled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Fetch what head office published.
    Download,
    /// Send what was not sent.
    Upload,
    /// Report, also when nothing moved.
    Report,
    /// Close the open day.
    DayClose,
    /// Forget stored answers older than they must be kept.
    Purge,
    /// End holds whose time is over.
    ExpireHolds,
}

impl Job {
    /// All jobs, in the order in which they run when they fall due together: rules before anything else, the close before the upload.
    pub const ALL: &[Self] =
        &[Self::Download, Self::ExpireHolds, Self::DayClose, Self::Upload, Self::Report, Self::Purge];

    /// Its name in the table, the configuration and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Report => "report",
            Self::DayClose => "day_close",
            Self::Purge => "purge",
            Self::ExpireHolds => "expire_holds",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|job| job.as_str() == name)
    }

    fn when(self, config: &ScheduleConfig) -> &When {
        match self {
            Self::Download => &config.download,
            Self::Upload => &config.upload,
            Self::Report => &config.report,
            Self::DayClose => &config.day_close,
            Self::Purge => &config.purge,
            Self::ExpireHolds => &config.expire_holds,
        }
    }

    /// Whether it calls the hub, where all stores of a chain would otherwise arrive in the same second.
    const fn is_spread(self) -> bool {
        matches!(self, Self::Download | Self::Upload | Self::Report)
    }
}

/// Does the jobs.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// Runs a job to its end; the text says in a few words what was done, or why not.
    async fn run(&self, job: Job) -> Result<String, String>;
}

/// A job as `schedule list` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Planned {
    /// Which.
    pub name: String,
    /// When, as configured.
    pub spec: String,
    /// The next run.
    pub next_due_ms: Instant,
    /// Whether it runs now.
    pub running: bool,
    /// The last start.
    pub last_started_ms: Option<Instant>,
    /// The last end.
    pub last_finished_ms: Option<Instant>,
    /// How it ended.
    pub last_outcome: Option<String>,
    /// How often it ran.
    pub runs: u64,
    /// How often it failed.
    pub failures: u64,
}

/// The next instant after `after` at which a job is due, `None` when it never is.
///
/// Times of the day are civil times of the store's zone. One that does not exist (spring) comes as much later as the gap is long; one that
/// exists twice (autumn) comes the first time.
#[must_use]
pub fn next_due(when: &When, zone: &TimeZone, spread_ms: i64, after: Instant) -> Option<Instant> {
    match when {
        When::Off => None,
        When::Every(period) => Some(after.plus_ms(period.as_ms())),
        When::Daily(times) => {
            let reached = jiff::Timestamp::from_millisecond(after.ms().saturating_sub(spread_ms)).ok()?;
            let mut date = reached.to_zoned(zone.clone()).date();
            for _ in 0..=DAYS_AHEAD_MAX {
                let due = times
                    .iter()
                    .filter_map(|time| zone.to_ambiguous_zoned(date.to_datetime(*time)).compatible().ok())
                    .map(|at| at.timestamp())
                    .find(|at| *at > reached);
                if let Some(at) = due {
                    return Some(Instant(at.as_millisecond()).plus_ms(spread_ms));
                }
                date = date.tomorrow().ok()?;
            }
            None
        }
    }
}

/// A store's own delay within the spread, the same on every day.
fn spread_ms(store: StoreId, spread: Millis) -> i64 {
    let hash = blake3::hash(store.as_str().as_bytes());
    let word = hash.as_bytes().first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    i64::from(word) % spread.as_ms().max(1)
}

/// The schedule of one store.
#[derive(Clone)]
pub struct Schedule {
    store: Store,
    clock: Arc<dyn Clock>,
    config: ScheduleConfig,
    zone: TimeZone,
    spread_ms: i64,
    work: Arc<dyn Work>,
    running: TaskTracker,
    /// Jobs that wait for those before them, and until when a later look leaves them alone. They are due and have no lease yet.
    queued: Arc<Mutex<Vec<(Job, Instant)>>>,
}

impl Schedule {
    /// Brings the table in line with the configuration: new jobs get their first due instant, jobs that are off go, a changed time counts from
    /// now. Leases left by a crash end, as only one daemon works on a database, and what they were taken for is due at once.
    ///
    /// # Errors
    /// The table could not be written.
    pub async fn open(
        store: Store,
        clock: Arc<dyn Clock>,
        config: ScheduleConfig,
        (id, zone): (StoreId, TimeZone),
        work: Arc<dyn Work>,
        running: TaskTracker,
    ) -> Result<Self, StoreError> {
        let spread_ms = spread_ms(id, config.spread);
        let schedule = Self { store, clock, config, zone, spread_ms, work, running, queued: Arc::default() };
        let (now, this) = (schedule.clock.now(), schedule.clone());
        schedule.store.write(move |tx| this.align(tx, now)).await?;
        Ok(schedule)
    }

    fn align(&self, tx: &mut WriteTx<'_>, now: Instant) -> Result<(), StoreError> {
        tx.execute(
            "end old leases",
            "UPDATE schedule SET lease_until_ms = NULL, next_due_ms = MIN(next_due_ms, ?1) WHERE lease_until_ms IS NOT NULL",
            [now.ms()],
        )?;
        for job in Job::ALL.iter().copied() {
            let (name, spec) = (job.as_str(), job.when(&self.config).to_string());
            let known: Option<String> =
                tx.one("read a schedule", "SELECT spec FROM schedule WHERE name = ?1", [name], |row| cell(row, 0))?;
            match self.next(job, now) {
                None => {
                    tx.execute("end a schedule", "DELETE FROM schedule WHERE name = ?1", [name])?;
                }
                Some(next) if known.as_ref() != Some(&spec) => {
                    tx.execute_one(
                        "write a schedule",
                        "INSERT INTO schedule (name, spec, next_due_ms, policy) VALUES (?1, ?2, ?3, 'catch_up_once')
                         ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, next_due_ms = excluded.next_due_ms",
                        (name, spec, next.ms()),
                    )?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn next(&self, job: Job, after: Instant) -> Option<Instant> {
        let spread_ms = if job.is_spread() { self.spread_ms } else { 0 };
        next_due(job.when(&self.config), &self.zone, spread_ms, after)
    }

    /// Starts what is due. Called by the heartbeat, and by tests with a clock of their own.
    ///
    /// # Errors
    /// The table could not be read or written.
    pub async fn tick(&self) -> Result<Vec<Job>, StoreError> {
        let now = self.clock.now();
        // Mostly nothing is due, and a look takes no turn at the writer.
        let (jobs, astray) = self.store.read(|tx| Ok::<_, StoreError>((due(tx, now)?, self.astray(tx, now)?)))?;
        if !astray.is_empty() {
            self.plan_anew(astray).await?;
        }
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let this = self.clone();
        let jobs = self
            .store
            .write(move |tx| {
                let mut jobs = due(tx, now)?;
                let mut queued = this.queued();
                queued.retain(|(_, until)| *until > now);
                jobs.retain(|job| !queued.iter().any(|(other, _)| other == job));
                if let Some((first, later)) = jobs.split_first() {
                    this.start(tx, *first, now)?;
                    queued.extend(later.iter().map(|job| (*job, now.plus_ms(LEASE.as_ms()))));
                }
                Ok::<_, StoreError>(jobs)
            })
            .await?;
        if let Some((&first, later)) = jobs.split_first() {
            // One after the other, in the order of `Job::ALL`: the close before the upload that carries it.
            let (this, later) = (self.clone(), later.to_vec());
            self.running.spawn(async move {
                this.carry_out_unattended(first).await;
                for job in later {
                    match this.take_turn(job).await {
                        Ok(true) => this.carry_out_unattended(job).await,
                        Ok(false) => {}
                        Err(error) => {
                            tracing::error!(job = job.as_str(), error = %error, "Could not start {}: {error}", job.as_str());
                        }
                    }
                }
            });
        }
        Ok(jobs)
    }

    /// Jobs that a clock planned which ran ahead and has been put right since: they would sleep for as long as it was ahead. With the time at which they are
    /// due by this clock.
    ///
    /// A machine that lost the time and shows a year long past looks the same, and a plan of that year would make up for everything once it is put right: the
    /// close of a day at noon. Only head office tells the two apart.
    fn astray(&self, tx: &ReadTx<'_>, now: Instant) -> Result<Vec<(Job, Instant)>, StoreError> {
        if !self.store.committed().hub_clock.agrees(now) {
            return Ok(Vec::new());
        }
        let planned: Vec<(String, Instant, Option<Instant>)> = tx.all(
            "look for jobs that sleep too long",
            "SELECT name, next_due_ms, last_started_ms FROM schedule WHERE next_due_ms > ?1",
            [now.ms()],
            |row| Ok((cell(row, 0)?, Instant(cell(row, 1)?), cell::<Option<i64>>(row, 2)?.map(Instant))),
        )?;
        let next = |job: Job, planned: Instant, started: Option<Instant>| {
            let next = self.next(job, now)?;
            // One that never ran was planned at a start.
            let was_ahead = match started {
                Some(started) => started.ms().saturating_sub(now.ms()) > CLOCK_STEP_MAX_MS,
                None => planned > self.next(job, next)?,
            };
            (was_ahead && planned > next).then_some((job, next))
        };
        let of = |(name, planned, started): (String, Instant, Option<Instant>)| {
            Job::ALL.iter().copied().find(|job| job.as_str() == name).and_then(|job| next(job, planned, started))
        };
        Ok(planned.into_iter().filter_map(of).collect())
    }

    async fn plan_anew(&self, jobs: Vec<(Job, Instant)>) -> Result<(), StoreError> {
        for (job, next) in &jobs {
            let name = job.as_str();
            tracing::warn!(job = name, "The clock was set back: {name} is due at {next} again");
        }
        self.store
            .write(move |tx| {
                jobs.iter().try_for_each(|(job, next)| {
                    let sql = "UPDATE schedule SET next_due_ms = ?2 WHERE name = ?1";
                    tx.execute_one("plan a job anew", sql, (job.as_str(), next.ms()))
                })
            })
            .await
    }

    async fn carry_out_unattended(&self, job: Job) {
        // What became of it is in the table and the log.
        if self.carry_out(job).await.is_err() {
            tracing::debug!(job = job.as_str(), "{} failed and will be tried at its next time", job.as_str());
        }
    }

    fn queued(&self) -> MutexGuard<'_, Vec<(Job, Instant)>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lease of a job that waited for others, just before it runs: taken with theirs it would have run out under a job that was only
    /// waiting. False when it is not due any more, as somebody ran it by hand meanwhile.
    async fn take_turn(&self, job: Job) -> Result<bool, StoreError> {
        let (this, now) = (self.clone(), self.clock.now());
        let taken = self
            .store
            .write(move |tx| {
                let is_due = due(tx, now)?.contains(&job);
                if is_due {
                    this.start(tx, job, now)?;
                }
                Ok(is_due)
            })
            .await;
        self.queued().retain(|(other, _)| *other != job);
        taken
    }

    /// Takes the lease and sets the next due instant. A crash in the middle leaves the lease, by which the next start finds the job due again.
    fn start(&self, tx: &mut WriteTx<'_>, job: Job, now: Instant) -> Result<(), StoreError> {
        let next = self.next(job, now).unwrap_or(Instant(i64::MAX));
        tx.execute_one(
            "start a job",
            "UPDATE schedule SET lease_until_ms = ?2, last_started_ms = ?3, next_due_ms = ?4 WHERE name = ?1",
            (job.as_str(), now.plus_ms(LEASE.as_ms()).ms(), now.ms(), next.ms()),
        )
    }

    /// Runs a job whose lease was taken, and ends the lease.
    async fn carry_out(&self, job: Job) -> Result<String, String> {
        // A task of its own: when the job breaks off, its lease ends all the same.
        let work = Arc::clone(&self.work);
        let ended = self.running.spawn(async move { work.run(job).await }).await;
        let result = ended.unwrap_or_else(|_| Err("it broke off; the log has the place".to_owned()));
        let now = self.clock.now();
        let (failed, outcome) = match &result {
            Ok(done) => (0_i64, done.clone()),
            Err(why) => (1, format!("failed: {why}")),
        };
        if failed == 0 {
            tracing::info!(job = job.as_str(), "Scheduled {}: {outcome}", job.as_str());
        } else {
            tracing::warn!(job = job.as_str(), "Scheduled {}: {outcome}", job.as_str());
        }
        let written = self
            .store
            .write(move |tx| {
                tx.execute(
                    "end a job",
                    "UPDATE schedule SET lease_until_ms = NULL, last_finished_ms = ?2, last_outcome = ?3,
                     runs = runs + 1, failures = failures + ?4 WHERE name = ?1",
                    (job.as_str(), now.ms(), outcome, failed),
                )
            })
            .await;
        if let Err(error) = written {
            tracing::error!(job = job.as_str(), error = %error, "Could not note the end of {}", job.as_str());
        }
        result
    }

    /// Runs a job now, by hand; its next due instant stays. The job runs to its end even when the caller goes away.
    ///
    /// # Errors
    /// Why it failed, in words.
    pub async fn run_now(&self, job: Job) -> Result<String, String> {
        let this = self.clone();
        let ended = self.running.spawn(async move { this.run_by_hand(job).await }).await;
        ended.unwrap_or_else(|_| Err("it broke off; the log has the place".to_owned()))
    }

    async fn run_by_hand(&self, job: Job) -> Result<String, String> {
        let now = self.clock.now();
        let taken = self
            .store
            .write(move |tx| {
                tx.execute(
                    "start a job by hand",
                    "UPDATE schedule SET lease_until_ms = ?2, last_started_ms = ?3
                     WHERE name = ?1 AND (lease_until_ms IS NULL OR lease_until_ms <= ?3)",
                    (job.as_str(), now.plus_ms(LEASE.as_ms()).ms(), now.ms()),
                )
            })
            .await
            .map_err(|error: StoreError| error.to_string())?;
        // A job that is off has no row, and may be run by hand all the same.
        let planned = self.list().map_err(|error| error.to_string())?;
        if taken == 0 && planned.iter().any(|planned| planned.name == job.as_str()) {
            return Err(format!("{} runs already", job.as_str()));
        }
        self.carry_out(job).await
    }

    /// Every job that is not off.
    ///
    /// # Errors
    /// The table could not be read.
    pub fn list(&self) -> Result<Vec<Planned>, StoreError> {
        let now = self.clock.now();
        self.store.read(|tx| list(tx, now))
    }

    /// Starts the heartbeat. It ends with the returned scheduler's `shutdown`.
    ///
    /// # Errors
    /// The scheduler could not be started.
    pub async fn heartbeat(&self) -> Result<JobScheduler, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let this = self.clone();
        let beat = CronJob::new_async(HEARTBEAT, move |_id, _scheduler| {
            let this = this.clone();
            Box::pin(async move {
                if let Err(error) = this.tick().await {
                    tracing::error!(error = %error, "Could not look at the schedule");
                }
            })
        })?;
        scheduler.add(beat).await?;
        scheduler.start().await?;
        Ok(scheduler)
    }
}

/// Jobs that are due and not running, in the order of [`Job::ALL`].
fn due(tx: &ReadTx<'_>, now: Instant) -> Result<Vec<Job>, StoreError> {
    let names: Vec<String> = tx.all(
        "look for due jobs",
        "SELECT name FROM schedule WHERE (next_due_ms <= ?1 AND lease_until_ms IS NULL) OR lease_until_ms <= ?1",
        [now.ms()],
        |row| cell(row, 0),
    )?;
    Ok(Job::ALL.iter().copied().filter(|job| names.iter().any(|name| name == job.as_str())).collect())
}

/// The table as people want to see it.
///
/// # Errors
/// The table could not be read.
pub fn list(tx: &ReadTx<'_>, now: Instant) -> Result<Vec<Planned>, StoreError> {
    tx.all(
        "list the schedule",
        "SELECT name, spec, next_due_ms, lease_until_ms, last_started_ms, last_finished_ms, last_outcome, runs, failures
         FROM schedule ORDER BY next_due_ms, name",
        (),
        |row| {
            let instant = |at| cell::<Option<i64>>(row, at).map(|ms| ms.map(Instant));
            Ok(Planned {
                name: cell(row, 0)?,
                spec: cell(row, 1)?,
                next_due_ms: Instant(cell(row, 2)?),
                running: instant(3)?.is_some_and(|until| until > now),
                last_started_ms: instant(4)?,
                last_finished_ms: instant(5)?,
                last_outcome: cell(row, 6)?,
                runs: counted(row, 7, "schedule", "runs")?,
                failures: counted(row, 8, "schedule", "failures")?,
            })
        },
    )
}

#[cfg(test)]
mod tests;
