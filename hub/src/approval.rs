//! Approval: a booked and final run counts when a second person has looked at it. Who prepared a run cannot approve it.
//!
//! The run's own row never changes; names stand beside it. Invariant: an approved run was prepared by a known name and approved by another.

use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::run::{Finality, RunId, Standing};
use huitong_protocol::time::{BusinessDay, Instant};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::actor::Actor;
use crate::note;
use crate::settle::{self, Netting, Plan, RunReport, RunRequest, Scope, SettleError};
use crate::store::day;
use crate::store::settlement::{self, RunRecord};
use crate::store::signature::{self, Role, Signature};
use crate::store::{StoreError, Tx};

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunState {
    /// Provisional, or a memo: there is nothing to approve.
    Draft,
    /// Booked and final, and nobody has approved it yet.
    Final,
    /// Approved by a second person.
    Approved {
        /// Who.
        approved_by: String,
        /// When.
        approved_at_ms: Instant,
        /// With which words.
        approval_note: String,
    },
}

impl RunState {
    /// The text form.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Final => "final",
            Self::Approved { .. } => "approved",
        }
    }
}

/// A run and the names under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SignedRun {
    /// The run.
    #[serde(flatten)]
    pub record: RunRecord,
    /// Where it is.
    #[serde(flatten)]
    pub state: RunState,
    /// Who prepared it, when that was written down.
    pub prepared_by: Option<String>,
}

/// A run in full: what is owed by it, and what finance had said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RunSheet {
    /// The run.
    pub run: SignedRun,
    /// What is owed and how it can be paid.
    pub netting: Netting,
    /// Days that finance took as counted.
    pub resolved: Vec<day::Resolution>,
}

/// Puts the names under a run.
///
/// # Errors
/// [`StoreError`].
pub fn signed(tx: &mut Tx<'_>, record: RunRecord) -> Result<SignedRun, StoreError> {
    let id = record.run.id;
    let is_final = (record.run.standing, record.run.finality) == (Standing::Booked, Finality::Final);
    let state = match signature::find(tx, id, Role::Approved)? {
        Some(Signature { by, at_ms, note }) => {
            RunState::Approved { approved_by: by, approved_at_ms: at_ms, approval_note: note }
        }
        None if is_final => RunState::Final,
        None => RunState::Draft,
    };
    let prepared_by = signature::find(tx, id, Role::Prepared)?.map(|signature| signature.by);
    Ok(SignedRun { record, state, prepared_by })
}

/// Runs after one, oldest first, so many at most.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, after: RunId, limit: usize) -> Result<Vec<SignedRun>, StoreError> {
    settlement::page(tx, after, limit)?.into_iter().map(|record| signed(tx, record)).collect()
}

/// A run.
///
/// # Errors
/// [`SettleError::Refused`] when there is none.
pub fn run(tx: &mut Tx<'_>, id: RunId) -> Result<SignedRun, SettleError> {
    match settlement::run(tx, id)? {
        Some(record) => Ok(signed(tx, record)?),
        None => Err(SettleError::NoRun(id)),
    }
}

/// A run in full.
///
/// # Errors
/// As [`run`].
pub fn sheet(tx: &mut Tx<'_>, id: RunId, by_legal_entity: bool) -> Result<RunSheet, SettleError> {
    let run = run(tx, id)?;
    let resolved = settle::resolved(tx, &run.record)?;
    let netting = settle::netting(tx, Scope::Run(id), by_legal_entity)?;
    Ok(RunSheet { run, netting, resolved })
}

/// What somebody asks to be settled; what they leave open is what the agreement books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
pub struct Wanted {
    /// By which scheme.
    pub scheme: Option<Scheme>,
    /// Whether it moves the books.
    pub standing: Standing,
    /// Whether every store must be complete.
    pub finality: Finality,
    /// The last business day.
    pub day_to: Option<BusinessDay>,
}

/// Computes a run, for [`prepare`]. Changes nothing.
///
/// # Errors
/// [`SettleError`].
pub fn plan(tx: &mut Tx<'_>, wanted: Wanted, now: Instant, progress: &ProgressBar) -> Result<Plan, SettleError> {
    let Wanted { scheme, standing, finality, day_to } = wanted;
    let scheme = match scheme {
        Some(scheme) => scheme,
        None => settle::booked_scheme(tx, now, day_to)?,
    };
    settle::plan(tx, now, RunRequest { scheme, standing, finality, day_to }, progress)
}

/// Books a run and signs it as prepared.
///
/// # Errors
/// [`SettleError`]; the caller must then roll back.
pub fn prepare(tx: &mut Tx<'_>, actor: &Actor, plan: &Plan, now: Instant) -> Result<RunReport, SettleError> {
    let report = settle::book(tx, plan)?;
    let run = &report.record.run;
    let prepared = Signature { by: actor.name().to_owned(), at_ms: now, note: String::new() };
    signature::sign(tx, run.id, Role::Prepared, &prepared)?;
    let (scheme, standing, finality) = (run.scheme, run.standing.as_str(), run.finality.as_str());
    let detail = format!("{scheme} {standing} {finality}, {} to {}", run.day_from, run.day_to);
    actor.did(tx, "settlement.run", &run.id.to_string(), &detail, now)?;
    Ok(report)
}

/// Approves a run.
///
/// # Errors
/// [`SettleError::Refused`] for a draft, for who prepared it, and for what was approved before; [`SettleError::Note`].
pub fn approve(tx: &mut Tx<'_>, actor: &Actor, id: RunId, note: &str, now: Instant) -> Result<SignedRun, SettleError> {
    let refused = |fault: String, hint: &str| Err(SettleError::Refused { fault, hint: hint.to_owned() });
    let note = note::optional(note)?;
    let held = run(tx, id)?;
    match &held.state {
        RunState::Draft => {
            let (standing, finality) = (held.record.run.standing.as_str(), held.record.run.finality.as_str());
            return refused(
                format!("run {id} is {standing} and {finality}; only a booked and final run can be approved"),
                "make a final run when all stores are complete: huitong-hub settle run",
            );
        }
        RunState::Approved { approved_by, approved_at_ms, .. } => {
            return refused(
                format!("run {id} was approved by {approved_by} at {approved_at_ms}"),
                "an approval is given once; corrections are in a later run",
            );
        }
        RunState::Final => {}
    }
    match &held.prepared_by {
        None => {
            return refused(
                format!("nobody is known to have prepared run {id}, so that nobody can be a second person"),
                "make runs with huitong-hub settle run or the API, which write down who asked",
            );
        }
        Some(maker) if actor.is(maker) => {
            return refused(format!("run {id} was prepared by {maker}"), "a second person must approve it");
        }
        Some(_) => {}
    }
    let approved = Signature { by: actor.name().to_owned(), at_ms: now, note: note.to_owned() };
    signature::sign(tx, id, Role::Approved, &approved)?;
    actor.did(tx, "settlement.approve", &id.to_string(), &approved.note, now)?;
    run(tx, id)
}
