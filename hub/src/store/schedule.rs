//! Schedule rows: when each job is due, who runs it, and how it went. They outlive the process, so that a night without power is caught up.
//!
//! Invariant: a job is run by whoever holds its lease; a lease that has run out belonged to a process that died.

use huitong_protocol::time::Instant;

use super::{StoreError, Tx};

/// How a job stands.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// When it is due next.
    pub next_due_ms: i64,
    /// Until when somebody runs it.
    pub lease_until_ms: Option<i64>,
    /// When it was last begun.
    pub last_started_ms: Option<i64>,
    /// When it last ended.
    pub last_finished_ms: Option<i64>,
    /// How it last ended, in words.
    pub last_outcome: Option<String>,
    /// How often it has ended.
    pub runs: i64,
    /// How often it has failed.
    pub failures: i64,
}

/// Makes a job known; one that is keeps its due time, unless the cadence was changed to something earlier.
///
/// # Errors
/// [`StoreError`].
pub fn ensure(tx: &mut Tx<'_>, name: &str, due: Instant) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO schedule (name, next_due_ms, runs, failures) VALUES ($1, $2, 0, 0) \
         ON CONFLICT (name) DO UPDATE SET next_due_ms = excluded.next_due_ms WHERE schedule.next_due_ms > excluded.next_due_ms",
        &[name.into(), due.into()],
    )?;
    Ok(())
}

/// Takes the lease of a job that is due and that nobody runs. Gives whether it was taken.
///
/// # Errors
/// [`StoreError`].
pub fn take(tx: &mut Tx<'_>, name: &str, now: Instant, lease_until: Instant) -> Result<bool, StoreError> {
    let rows = tx.execute(
        "UPDATE schedule SET lease_until_ms = $3, last_started_ms = $2 \
         WHERE name = $1 AND next_due_ms <= $2 AND (lease_until_ms IS NULL OR lease_until_ms <= $2)",
        &[name.into(), now.into(), lease_until.into()],
    )?;
    Ok(rows == 1)
}

/// Gives the lease back, with how it went and when the job is due again.
///
/// # Errors
/// [`StoreError`].
pub fn finish(
    tx: &mut Tx<'_>,
    name: &str,
    now: Instant,
    due: Instant,
    outcome: &Result<String, String>,
) -> Result<(), StoreError> {
    let (words, failed) = match outcome {
        Ok(words) => (words, 0_i64),
        Err(words) => (words, 1),
    };
    tx.execute_one(
        "finish a job",
        "schedule",
        "UPDATE schedule SET lease_until_ms = NULL, last_finished_ms = $2, next_due_ms = $3, last_outcome = $4, runs = runs + 1, \
         failures = failures + $5 WHERE name = $1",
        &[name.into(), now.into(), due.into(), words.into(), failed.into()],
    )
}

/// All jobs, by name.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Job>, StoreError> {
    tx.query(
        "SELECT name, next_due_ms, lease_until_ms, last_started_ms, last_finished_ms, last_outcome, runs, failures \
         FROM schedule ORDER BY name",
        &[],
        |row| {
            Ok(Job {
                name: row.text(0)?.to_owned(),
                next_due_ms: row.integer(1)?,
                lease_until_ms: row.maybe_integer(2)?,
                last_started_ms: row.maybe_integer(3)?,
                last_finished_ms: row.maybe_integer(4)?,
                last_outcome: row.maybe_text(5)?.map(str::to_owned),
                runs: row.integer(6)?,
                failures: row.integer(7)?,
            })
        },
    )
}
