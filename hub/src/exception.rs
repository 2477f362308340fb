//! Exceptions as a workflow: who takes one, how it is closed, and how it comes back. The command line and the API of head office both call this.
//!
//! Asking for what is so already changes nothing and is no fault, so that a caller whose answer was lost may ask again. Invariant: state, history and
//! audit change together or not at all.

use huitong_protocol::reconcile::Class;
use huitong_protocol::time::Instant;
use serde::Serialize;

use crate::actor::{Actor, HUB, NotAName};
use crate::note::{self, NoteFault};
use crate::store::exception::{self as rows, Change, Changed, Exception, Resolution, State};
use crate::store::{StoreError, Tx};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// No such exception.
    #[error("there is no exception {0}\n  hint: huitong-hub exception list --state all")]
    Unknown(i64),
    /// A note that says nothing, or too much.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// A name that is none.
    #[error("to: {0}")]
    Name(#[from] NotAName),
    /// The state does not allow it.
    #[error("exception {number} {fault}\n  hint: {hint}")]
    State {
        /// Which.
        number: i64,
        /// Why not.
        fault: String,
        /// What to do.
        hint: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An exception with all that happened to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Dossier {
    /// As it stands.
    #[serde(flatten)]
    pub exception: Exception,
    /// What happened to it, in order.
    pub history: Vec<Changed>,
}

/// An exception and its history.
///
/// # Errors
/// [`WorkError::Unknown`].
pub fn show(tx: &mut Tx<'_>, number: i64) -> Result<Dossier, WorkError> {
    let exception = rows::find(tx, number)?.ok_or(WorkError::Unknown(number))?;
    Ok(Dossier { exception, history: rows::history(tx, number)? })
}

/// Gives an exception to somebody.
///
/// # Errors
/// [`WorkError`]; nothing changed then.
pub fn assign(tx: &mut Tx<'_>, actor: &Actor, number: i64, to: &str, now: Instant) -> Result<Dossier, WorkError> {
    let to = Actor::new(to, actor.via())?;
    let held = rows::find(tx, number)?.ok_or(WorkError::Unknown(number))?;
    match held.state {
        State::Assigned { owner, .. } if owner == to.name() => return show(tx, number),
        State::Open | State::Assigned { .. } => {}
        State::Resolved { resolved_by, .. } => {
            let fault = format!("was resolved by {resolved_by}");
            return Err(WorkError::State { number, fault, hint: "reopen it first, when there is more to do" });
        }
    }
    let state = State::Assigned { owner: to.name().to_owned(), assigned_at_ms: now };
    change(tx, actor, number, &state, Change::Assigned, to.name(), now)
}

/// Closes an exception.
///
/// # Errors
/// [`WorkError`]; nothing changed then.
pub fn resolve(
    tx: &mut Tx<'_>,
    actor: &Actor,
    number: i64,
    resolution: Resolution,
    note: &str,
    now: Instant,
) -> Result<Dossier, WorkError> {
    let note = note::needed(note)?;
    let held = rows::find(tx, number)?.ok_or(WorkError::Unknown(number))?;
    if let State::Resolved { resolved_by, resolved_at_ms, resolution: was, note: said } = held.state {
        if (resolved_by.as_str(), was, said.as_str()) == (actor.name(), resolution, note) {
            return show(tx, number);
        }
        let fault = format!("was resolved by {resolved_by} at {resolved_at_ms}: {said}");
        return Err(WorkError::State { number, fault, hint: "reopen it first, when that was wrong" });
    }
    let state = State::Resolved {
        resolved_by: actor.name().to_owned(),
        resolved_at_ms: now,
        resolution,
        note: note.to_owned(),
    };
    let detail = format!("{}: {note}", resolution.as_str());
    change(tx, actor, number, &state, Change::Resolved, &detail, now)
}

/// Opens a resolved exception again.
///
/// # Errors
/// [`WorkError`]; nothing changed then.
pub fn reopen(tx: &mut Tx<'_>, actor: &Actor, number: i64, note: &str, now: Instant) -> Result<Dossier, WorkError> {
    let note = note::needed(note)?;
    let held = rows::find(tx, number)?.ok_or(WorkError::Unknown(number))?;
    if !matches!(held.state, State::Resolved { .. }) {
        let last = rows::history(tx, number)?.pop();
        let is_same = last.is_some_and(|last| {
            last.change == Change::Reopened.as_str() && last.by == actor.name() && last.detail == note
        });
        if is_same {
            return show(tx, number);
        }
        let fault = format!("is {}", held.state.as_str());
        return Err(WorkError::State { number, fault, hint: "only what was resolved can be reopened" });
    }
    change(tx, actor, number, &State::Open, Change::Reopened, note, now)
}

/// Closes what is about a class and subject, when it is open: something else put it right.
///
/// # Errors
/// [`StoreError`].
pub fn close_about(
    tx: &mut Tx<'_>,
    class: Class,
    subject: &str,
    resolution: Resolution,
    (by, note): (&str, &str),
    now: Instant,
) -> Result<bool, StoreError> {
    let Some(held) = rows::find_about(tx, class, subject)? else { return Ok(false) };
    let state = State::Resolved { resolved_by: by.to_owned(), resolved_at_ms: now, resolution, note: note.to_owned() };
    let detail = format!("{}: {note}", resolution.as_str());
    rows::put(tx, held.number, &state, Change::Resolved, by, &detail, now)?;
    Ok(true)
}

/// As [`close_about`], by the hub itself.
///
/// # Errors
/// [`StoreError`].
pub fn close_by_itself(
    tx: &mut Tx<'_>,
    class: Class,
    subject: &str,
    note: &str,
    now: Instant,
) -> Result<bool, StoreError> {
    close_about(tx, class, subject, Resolution::Corrected, (HUB, note), now)
}

fn change(
    tx: &mut Tx<'_>,
    actor: &Actor,
    number: i64,
    state: &State,
    change: Change,
    detail: &str,
    now: Instant,
) -> Result<Dossier, WorkError> {
    rows::put(tx, number, state, change, actor.name(), detail, now)?;
    let action = match change {
        Change::Assigned => "exception.assign",
        Change::Resolved => "exception.resolve",
        Change::Reopened => "exception.reopen",
        Change::Raised | Change::RaisedAgain => "exception.raise",
    };
    actor.did(tx, action, &number.to_string(), detail, now)?;
    show(tx, number)
}
