//! Exception: what somebody at head office should look at. Class and subject say what it is about; its history says all that became of it.
//!
//! Who may do what in which state is decided in `exception` of the library's root; here the rows are written and read. Invariants: raising the same
//! finding again changes nothing while it stands, so that work may be repeated; every change has a row of its own.

use huitong_protocol::id::StoreId;
use huitong_protocol::reconcile::{Class, Evidence, Finding, Severity};
use huitong_protocol::time::Instant;
use serde::Serialize;

use super::{Row, StoreError, Tx, Value};
use crate::actor::HUB;

/// What a resolution says of the thing itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, serde::Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It was put right. When it is found again, it is open again.
    Corrected,
    /// It stays as it is, and somebody stands for that. The same facts again change nothing, whichever entries and hours show them; others open it again.
    Accepted,
    /// There was nothing wrong. When it is found again, it is open again.
    Unfounded,
}

impl Resolution {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Corrected => "corrected",
            Self::Accepted => "accepted",
            Self::Unfounded => "unfounded",
        }
    }

    fn read(text: Option<&str>) -> Option<Self> {
        [Self::Corrected, Self::Accepted, Self::Unfounded].into_iter().find(|known| Some(known.as_str()) == text)
    }
}

/// Where an exception is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Nobody has it.
    Open,
    /// Somebody looks into it.
    Assigned {
        /// Who.
        owner: String,
        /// Since when.
        assigned_at_ms: Instant,
    },
    /// It was dealt with.
    Resolved {
        /// By whom.
        resolved_by: String,
        /// When.
        resolved_at_ms: Instant,
        /// What it came to.
        resolution: Resolution,
        /// How.
        note: String,
    },
}

impl State {
    /// The name of the state.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Assigned { .. } => "assigned",
            Self::Resolved { .. } => "resolved",
        }
    }
}

/// An exception as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Exception {
    /// Its number.
    pub number: i64,
    /// What kind of thing it is.
    pub class: Class,
    /// How much it matters.
    pub severity: Severity,
    /// Where it is.
    #[serde(flatten)]
    pub state: State,
    /// The store that it concerns.
    pub store: Option<StoreId>,
    /// What it is about: an entry, a day, an account at a store.
    pub subject: String,
    /// What was found.
    pub evidence: Evidence,
    /// What to do.
    pub proposal: &'static str,
    /// When it was raised first.
    pub raised_at_ms: Instant,
}

impl Exception {
    /// Whether it says what was found: somebody still has it, or has accepted this very fact.
    fn says(&self, finding: &Finding) -> bool {
        match &self.state {
            State::Resolved { resolution, .. } => {
                *resolution == Resolution::Accepted && self.evidence.is_same_fact(&finding.evidence)
            }
            State::Open | State::Assigned { .. } => true,
        }
    }
}

/// What happened to an exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was found.
    Raised,
    /// Somebody got it.
    Assigned,
    /// It was dealt with.
    Resolved,
    /// Somebody opened it again.
    Reopened,
    /// It was found again after it had been dealt with.
    RaisedAgain,
}

impl Change {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Assigned => "assigned",
            Self::Resolved => "resolved",
            Self::Reopened => "reopened",
            Self::RaisedAgain => "raised_again",
        }
    }
}

/// One line of an exception's history.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Changed {
    /// When.
    pub at_ms: Instant,
    /// Who: a name, or `hub`.
    pub by: String,
    /// What.
    pub change: String,
    /// The evidence, the owner, or the note.
    pub detail: String,
}

/// Raises an exception. Gives whether it is new, or open again.
///
/// # Errors
/// [`StoreError`].
pub fn raise(tx: &mut Tx<'_>, finding: &Finding, now: Instant) -> Result<bool, StoreError> {
    let (class, subject) = (finding.class.as_str(), finding.subject.as_str());
    let held = held(tx, finding)?;
    let evidence = serde_json::to_string(&finding.evidence)
        .map_err(|why| StoreError::Rule { operation: "raise an exception", fault: why.to_string() })?;
    let (number, change) = match held {
        Some(held) if held.says(finding) => return Ok(false),
        Some(held) => {
            tx.execute_one(
                "raise an exception again",
                "exception",
                "UPDATE exception SET evidence = $2 WHERE exception_no = $1",
                &[held.number.into(), (&evidence).into()],
            )?;
            put_state(tx, held.number, &State::Open, now)?;
            (held.number, Change::RaisedAgain)
        }
        None => {
            let number = tx
                .query_one(
                    "UPDATE hub SET next_exception = next_exception + 1 WHERE id = 1 RETURNING next_exception - 1",
                    &[],
                    |row| row.integer(0),
                )?
                .ok_or(StoreError::Rows { operation: "number an exception", table: "hub", rows: 0, expected: 1 })?;
            tx.execute_one(
                "raise an exception",
                "exception",
                "INSERT INTO exception (exception_no, class, severity, state, store_id, subject, evidence, raised_at_ms, state_at_ms) \
                 VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $7)",
                &[
                    number.into(),
                    class.into(),
                    finding.class.severity().as_str().into(),
                    finding.store.as_ref().into(),
                    subject.into(),
                    (&evidence).into(),
                    now.into(),
                ],
            )?;
            (number, Change::Raised)
        }
    };
    note(tx, number, change, HUB, &finding.evidence.to_string(), now)?;
    if finding.class.severity() == Severity::Alarm {
        tracing::warn!(
            exception.class = class,
            exception.subject = subject,
            "Raised alarm {class} about {subject}: {}",
            finding.evidence
        );
    }
    Ok(true)
}

fn held(tx: &mut Tx<'_>, finding: &Finding) -> Result<Option<Exception>, StoreError> {
    tx.query_one(
        &format!("{EXCEPTION} WHERE class = $1 AND subject = $2"),
        &[finding.class.as_str().into(), finding.subject.as_str().into()],
        read,
    )
}

/// Whether [`raise`] would change anything.
///
/// # Errors
/// [`StoreError`].
pub fn is_news(tx: &mut Tx<'_>, finding: &Finding) -> Result<bool, StoreError> {
    Ok(held(tx, finding)?.is_none_or(|held| !held.says(finding)))
}

/// Which exceptions to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Of this class.
    pub class: Option<Class>,
    /// Of this severity.
    pub severity: Option<Severity>,
    /// Of this store.
    pub store: Option<StoreId>,
    /// Which states.
    pub states: States,
    /// Assigned to, or resolved by.
    pub owner: Option<String>,
}

/// Which states to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum States {
    /// What is not resolved.
    #[default]
    Unresolved,
    /// What nobody has.
    Open,
    /// What somebody has.
    Assigned,
    /// What was dealt with.
    Resolved,
    /// Everything.
    All,
}

impl States {
    const fn texts(self) -> [&'static str; 3] {
        match self {
            Self::Unresolved => ["open", "assigned", ""],
            Self::Open => ["open", "", ""],
            Self::Assigned => ["assigned", "", ""],
            Self::Resolved => ["resolved", "", ""],
            Self::All => ["open", "assigned", "resolved"],
        }
    }
}

/// Exceptions after a number, the oldest first, at most so many.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, filter: &Filter, after: i64, limit: usize) -> Result<Vec<Exception>, StoreError> {
    let [one, two, three] = filter.states.texts();
    let values: [Value<'_>; 9] = [
        after.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
        filter.class.map(Class::as_str).into(),
        filter.severity.map(Severity::as_str).into(),
        filter.store.as_ref().into(),
        one.into(),
        two.into(),
        three.into(),
        filter.owner.as_deref().into(),
    ];
    tx.query(
        &format!(
            "{EXCEPTION} WHERE exception_no > $1 AND ($3 IS NULL OR class = $3) AND ($4 IS NULL OR severity = $4) \
             AND ($5 IS NULL OR store_id = $5) AND state IN ($6, $7, $8) AND ($9 IS NULL OR state_by = $9) ORDER BY exception_no LIMIT $2"
        ),
        &values,
        read,
    )
}

/// All exceptions that a filter leaves, the oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>, filter: &Filter) -> Result<Vec<Exception>, StoreError> {
    page(tx, filter, 0, usize::MAX)
}

/// How many are not resolved, by severity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Counts {
    /// To be looked at now.
    pub alarm: i64,
    /// To be looked at soon.
    pub warning: i64,
    /// To be looked at some day.
    pub info: i64,
    /// How many of all these nobody has.
    pub unassigned: i64,
}

/// Counts what is not resolved.
///
/// # Errors
/// [`StoreError`].
pub fn counts(tx: &mut Tx<'_>) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    tx.for_each(
        "SELECT severity, state, COUNT(*) FROM exception WHERE state IN ('open', 'assigned') GROUP BY severity, state",
        &[],
        |row| {
            let count = row.integer(2)?;
            let of = match row.parsed(0, "exception", "severity")? {
                Severity::Alarm => &mut counts.alarm,
                Severity::Warning => &mut counts.warning,
                Severity::Info => &mut counts.info,
            };
            *of += count;
            if row.text(1)? == "open" {
                counts.unassigned += count;
            }
            Ok::<_, StoreError>(())
        },
    )?;
    Ok(counts)
}

const EXCEPTION: &str = "SELECT exception_no, class, severity, state, store_id, subject, evidence, raised_at_ms, state_by, state_at_ms, \
     resolution, note FROM exception";

/// One exception.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, number: i64) -> Result<Option<Exception>, StoreError> {
    tx.query_one(&format!("{EXCEPTION} WHERE exception_no = $1"), &[number.into()], read)
}

/// One that is not resolved, by class and subject.
///
/// # Errors
/// [`StoreError`].
pub fn find_about(tx: &mut Tx<'_>, class: Class, subject: &str) -> Result<Option<Exception>, StoreError> {
    tx.query_one(
        &format!("{EXCEPTION} WHERE class = $1 AND subject = $2 AND state IN ('open', 'assigned')"),
        &[class.as_str().into(), subject.into()],
        read,
    )
}

/// Everything that happened to an exception, in order.
///
/// # Errors
/// [`StoreError`].
pub fn history(tx: &mut Tx<'_>, number: i64) -> Result<Vec<Changed>, StoreError> {
    tx.query(
        "SELECT at_ms, changed_by, change, detail FROM exception_change WHERE exception_no = $1 ORDER BY change_no",
        &[number.into()],
        |row| {
            Ok(Changed {
                at_ms: Instant(row.integer(0)?),
                by: row.text(1)?.to_owned(),
                change: row.text(2)?.to_owned(),
                detail: row.text(3)?.to_owned(),
            })
        },
    )
}

/// How many exceptions of a class wait for somebody.
///
/// # Errors
/// [`StoreError`].
pub fn waiting(tx: &mut Tx<'_>, class: Class) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) FROM exception WHERE class = $1 AND state IN ('open', 'assigned')";
    Ok(tx.query_one(sql, &[class.as_str().into()], |row| row.integer(0))?.unwrap_or(0))
}

/// Writes where an exception is, and the change that brought it there.
///
/// # Errors
/// [`StoreError`].
pub fn put(
    tx: &mut Tx<'_>,
    number: i64,
    state: &State,
    change: Change,
    by: &str,
    detail: &str,
    now: Instant,
) -> Result<(), StoreError> {
    put_state(tx, number, state, now)?;
    note(tx, number, change, by, detail, now)
}

fn put_state(tx: &mut Tx<'_>, number: i64, state: &State, now: Instant) -> Result<(), StoreError> {
    let (by, at, resolution, note) = match state {
        State::Open => (None, now, None, None),
        State::Assigned { owner, assigned_at_ms } => (Some(owner.as_str()), *assigned_at_ms, None, None),
        State::Resolved { resolved_by, resolved_at_ms, resolution, note } => {
            (Some(resolved_by.as_str()), *resolved_at_ms, Some(resolution.as_str()), Some(note.as_str()))
        }
    };
    tx.execute_one(
        "move an exception",
        "exception",
        "UPDATE exception SET state = $2, state_by = $3, state_at_ms = $4, resolution = $5, note = $6 WHERE exception_no = $1",
        &[number.into(), state.as_str().into(), by.into(), at.into(), resolution.into(), note.into()],
    )
}

fn note(tx: &mut Tx<'_>, number: i64, change: Change, by: &str, detail: &str, now: Instant) -> Result<(), StoreError> {
    tx.execute_one(
        "note what happened to an exception",
        "exception_change",
        "INSERT INTO exception_change (exception_no, change_no, at_ms, changed_by, change, detail) VALUES ($1, \
         (SELECT COALESCE(MAX(change_no), 0) + 1 FROM exception_change WHERE exception_no = $1), $2, $3, $4, $5)",
        &[number.into(), now.into(), by.into(), change.as_str().into(), detail.into()],
    )
}

fn read(row: &Row<'_>) -> Result<Exception, StoreError> {
    let number = row.integer(0)?;
    let invalid = |column: &'static str, fault: String| StoreError::Value {
        table: "exception",
        column,
        row: number.to_string(),
        fault,
    };
    let by = || {
        let by = row.maybe_text(8)?.map(str::to_owned);
        by.ok_or_else(|| invalid("state_by", "is missing".to_owned()))
    };
    let at = Instant(row.integer(9)?);
    let state = match row.text(3)? {
        "open" => State::Open,
        "assigned" => State::Assigned { owner: by()?, assigned_at_ms: at },
        "resolved" => State::Resolved {
            resolved_by: by()?,
            resolved_at_ms: at,
            resolution: Resolution::read(row.maybe_text(10)?)
                .ok_or_else(|| invalid("resolution", "is missing".to_owned()))?,
            note: row.maybe_text(11)?.unwrap_or_default().to_owned(),
        },
        other => return Err(invalid("state", format!("is {other:?}"))),
    };
    let class: Class = row.parsed(1, "exception", "class")?;
    Ok(Exception {
        number,
        class,
        severity: row.parsed(2, "exception", "severity")?,
        state,
        store: row.maybe_parsed(4, "exception", "store_id")?,
        subject: row.text(5)?.to_owned(),
        evidence: serde_json::from_str(row.text(6)?).map_err(|why| invalid("evidence", why.to_string()))?,
        proposal: class.proposal(),
        raised_at_ms: Instant(row.integer(7)?),
    })
}
