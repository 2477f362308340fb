//! Worker: does what is due. The cron crate is only a heartbeat; what is due, who runs it and how it went is in the database, so that a stop, a sleep
//! or a step of the clock is caught up by one run.
//!
//! Jobs take no input and re-read the world, so any of them may run again. Invariant: a job never runs twice at once.

use std::time::Duration;

use huitong_protocol::time::Instant;
use tokio_cron_scheduler::{Job as Tick, JobScheduler, JobSchedulerError};
use tokio_util::task::TaskTracker;

use crate::hub::Hub;
use crate::schedule::Job;
use crate::store::{StoreError, device, root, schedule};
use crate::{allot, claim, deferred, overdraft, reconcile, rerate, risk};

/// The heartbeat: due jobs begin at most this late.
const HEARTBEAT: &str = "*/5 * * * * *";
/// How long a job may run before others take it for dead.
const LEASE_MS: i64 = 15 * 60_000;
/// How long a used or expired enrolment token is kept, for people who ask what became of it.
const TOKENS_KEPT_MS: i64 = 30 * 86_400_000;

/// The heartbeat and the jobs under way.
pub struct Worker {
    scheduler: JobScheduler,
    tasks: TaskTracker,
}

impl Worker {
    /// Makes the jobs known and starts the heartbeat.
    ///
    /// # Errors
    /// [`JobSchedulerError`].
    pub async fn start(hub: Hub) -> Result<Self, JobSchedulerError> {
        let (scheduler, tasks) = (JobScheduler::new().await?, TaskTracker::new());
        let spawner = tasks.clone();
        let tick = Tick::new_async(HEARTBEAT, move |_, _| {
            let (hub, tasks) = (hub.clone(), spawner.clone());
            Box::pin(async move {
                // The heartbeat itself must stay short: it would hold up the next one.
                tasks.spawn(async move { dispatch(&hub).await });
            })
        })?;
        scheduler.add(tick).await?;
        scheduler.start().await?;
        Ok(Self { scheduler, tasks })
    }

    /// Stops the heartbeat and waits for the jobs under way, so long at most. What is left then ends when the database is closed, and is done again.
    pub async fn stop(mut self, patience: Duration) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(error = %error, "The heartbeat did not stop: {error}");
        }
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("Left {} jobs undone, as the hub stops", self.tasks.len());
        }
    }
}

/// Runs every job that is due and that nobody else runs.
pub async fn dispatch(hub: &Hub) {
    for &job in Job::ALL {
        let now = hub.now();
        match take(hub, job, now).await {
            Ok(true) => run(hub, job).await,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    job = job.name(),
                    "Could not look whether {} is due",
                    job.name()
                );
            }
        }
    }
}

async fn take(hub: &Hub, job: Job, now: Instant) -> Result<bool, StoreError> {
    let due = job.cadence(&hub.config).next_after(now);
    hub.store
        .write(move |tx| {
            schedule::ensure(tx, job.name(), due)?;
            schedule::take(tx, job.name(), now, now.plus_ms(LEASE_MS))
        })
        .await
}

async fn run(hub: &Hub, job: Job) {
    let outcome = perform(hub, job, hub.now()).await.map_err(|error| error.to_string());
    match &outcome {
        Ok(words) => tracing::debug!(job = job.name(), "Finished {}: {words}", job.name()),
        Err(words) => tracing::error!(job = job.name(), "Could not finish {}: {words}", job.name()),
    }
    let now = hub.now();
    let due = job.cadence(&hub.config).next_after(now);
    if let Err(error) = hub.store.write(move |tx| schedule::finish(tx, job.name(), now, due, &outcome)).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            job = job.name(),
            "Could not note how {} went",
            job.name()
        );
    }
}

/// Does a job now, whenever it is due. Gives how it went, in words.
///
/// # Errors
/// [`StoreError`].
pub async fn perform(hub: &Hub, job: Job, now: Instant) -> Result<String, StoreError> {
    match job {
        // A job of its own: a disk that is full or not there must not stop the books.
        Job::Remember => {
            hub.remember().await?;
            hub.store.write(move |tx| root::remembered(tx, now)).await?;
            Ok("written".to_owned())
        }
        Job::Reconcile => {
            hub.note_heard().await?;
            let new = reconcile::run(&hub.store, now).await?;
            let given = deferred::credit(&hub.store, now).await?;
            let taken = claim::settle(&hub.store, hub.today(now), now).await?;
            let lines = lines(hub, now).await?;
            let settled = overdraft::settle(&hub.store, hub.today(now), now).await?;
            let mut words =
                format!("{new} new findings, {given} deferred points given, {taken} claimed points taken back");
            if settled != overdraft::Settled::default() {
                let overdraft::Settled { collected_minor, returned_minor } = settled;
                words.push_str(&format!("; {collected_minor} overdrawn collected, {returned_minor} given back"));
            }
            if lines {
                words.push_str("; lines of the risk account changed");
            }
            Ok(words)
        }
        Job::Rerate => rerate::run(hub, now).await.map(|counts| counts.to_string()),
        Job::Park => park(hub, now).await,
        Job::Purge => {
            let before = now.plus_ms(-TOKENS_KEPT_MS);
            let tokens = hub.store.write(move |tx| device::purge_tokens(tx, before)).await?;
            Ok(format!("{tokens} old tokens removed"))
        }
    }
}

/// Tells stores how large their lines of the risk account are to be, when the policy in force says something else than they know.
async fn lines(hub: &Hub, now: Instant) -> Result<bool, StoreError> {
    let today = hub.today(now);
    let differ = hub.store.read(move |tx| risk::lines_differ(tx, today)).await?;
    if differ {
        hub.store.write(move |tx| risk::set_lines(tx, today, false)).await?;
    }
    Ok(differ)
}

/// Plans by the policy in force, beside the tasks that wait for nothing: it reads for as long as there are accounts.
async fn park(hub: &Hub, now: Instant) -> Result<String, StoreError> {
    let (store, today) = (hub.store.clone(), hub.today(now));
    let planned = tokio::task::spawn_blocking(move || {
        let rules = store.read_blocking(|tx| allot::rules(tx, today))?;
        allot::apply(&store, &allot::Ask { rules, ..allot::Ask::default() }, 0, now)
    });
    let planned = planned.await.map_err(|_| StoreError::Stopped)??;
    let outcome = planned.outcome;
    Ok(format!(
        "{} accounts planned, {} targets changed; {} of {} first baskets were within what was to be parked",
        outcome.accounts, outcome.changed, outcome.covered, outcome.came
    ))
}
