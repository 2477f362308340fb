//! Exception: what somebody at head office should look at. Class and subject say what it is about.
//!
//! Invariant: raising the same class and subject again changes nothing, so that work may be repeated.

use huitong_protocol::id::StoreId;
use huitong_protocol::reconcile::{Class, Finding, Severity};
use huitong_protocol::time::Instant;

use super::{StoreError, Tx};

/// An exception as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Exception {
    /// Its number.
    pub number: i64,
    /// What kind of thing it is.
    pub class: String,
    /// How much it matters.
    pub severity: String,
    /// Whether somebody has dealt with it: `open` or `resolved`.
    pub state: String,
    /// The store that it concerns.
    pub store: Option<StoreId>,
    /// What it is about: an entry, a day, an account at a store.
    pub subject: String,
    /// What was found.
    pub evidence: String,
    /// What to do.
    pub proposal: String,
    /// When it was raised.
    pub raised_at_ms: i64,
    /// When it was resolved.
    pub resolved_at_ms: Option<i64>,
    /// How it was resolved.
    pub resolution: Option<String>,
}

/// Raises an exception. Gives whether it is new.
///
/// # Errors
/// [`StoreError`].
pub fn raise(tx: &mut Tx<'_>, finding: &Finding, now: Instant) -> Result<bool, StoreError> {
    let class = finding.class.as_str();
    let held = tx.query_one(
        "SELECT 1 FROM exception WHERE class = $1 AND subject = $2",
        &[class.into(), (&finding.subject).into()],
        |row| row.integer(0),
    )?;
    if held.is_some() {
        return Ok(false);
    }
    let number = tx
        .query_one(
            "UPDATE hub SET next_exception = next_exception + 1 WHERE id = 1 RETURNING next_exception - 1",
            &[],
            |row| row.integer(0),
        )?
        .ok_or(StoreError::Rows { operation: "number an exception", table: "hub", rows: 0, expected: 1 })?;
    let rows = tx.execute(
        "INSERT INTO exception (exception_no, class, severity, state, store_id, subject, evidence, proposal, raised_at_ms) \
         VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8) ON CONFLICT (class, subject) DO NOTHING",
        &[
            number.into(),
            class.into(),
            finding.class.severity().as_str().into(),
            finding.store.as_ref().into(),
            (&finding.subject).into(),
            (&finding.evidence).into(),
            finding.class.proposal().into(),
            now.into(),
        ],
    )?;
    if rows == 1 && finding.class.severity() == Severity::Alarm {
        tracing::warn!(
            exception.class = class,
            exception.subject = finding.subject,
            "Raised alarm {class} about {}: {}",
            finding.subject,
            finding.evidence
        );
    }
    Ok(rows == 1)
}

/// Lists exceptions, the oldest first; `open_only` leaves out the resolved.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>, open_only: bool) -> Result<Vec<Exception>, StoreError> {
    tx.query(
        "SELECT exception_no, class, severity, state, store_id, subject, evidence, proposal, raised_at_ms, resolved_at_ms, resolution \
         FROM exception WHERE state = 'open' OR $1 = 0 ORDER BY exception_no",
        &[open_only.into()],
        read,
    )
}

/// One exception.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, number: i64) -> Result<Option<Exception>, StoreError> {
    tx.query_one(
        "SELECT exception_no, class, severity, state, store_id, subject, evidence, proposal, raised_at_ms, resolved_at_ms, resolution \
         FROM exception WHERE exception_no = $1",
        &[number.into()],
        read,
    )
}

/// Marks an open exception as dealt with. Gives whether it was open.
///
/// # Errors
/// [`StoreError`].
pub fn resolve(tx: &mut Tx<'_>, number: i64, resolution: &str, now: Instant) -> Result<bool, StoreError> {
    let rows = tx.execute(
        "UPDATE exception SET state = 'resolved', resolution = $2, resolved_at_ms = $3 WHERE exception_no = $1 AND state = 'open'",
        &[number.into(), resolution.into(), now.into()],
    )?;
    Ok(rows == 1)
}

/// As [`resolve`], by class and subject.
///
/// # Errors
/// [`StoreError`].
pub fn resolve_about(
    tx: &mut Tx<'_>,
    class: Class,
    subject: &str,
    resolution: &str,
    now: Instant,
) -> Result<bool, StoreError> {
    let rows = tx.execute(
        "UPDATE exception SET state = 'resolved', resolution = $3, resolved_at_ms = $4 WHERE class = $1 AND subject = $2 AND state = 'open'",
        &[class.as_str().into(), subject.into(), resolution.into(), now.into()],
    )?;
    Ok(rows == 1)
}

fn read(row: &super::Row<'_>) -> Result<Exception, StoreError> {
    Ok(Exception {
        number: row.integer(0)?,
        class: row.text(1)?.to_owned(),
        severity: row.text(2)?.to_owned(),
        state: row.text(3)?.to_owned(),
        store: row.maybe_parsed(4, "exception", "store_id")?,
        subject: row.text(5)?.to_owned(),
        evidence: row.text(6)?.to_owned(),
        proposal: row.text(7)?.to_owned(),
        raised_at_ms: row.integer(8)?,
        resolved_at_ms: row.maybe_integer(9)?,
        resolution: row.maybe_text(10)?.map(str::to_owned),
    })
}
