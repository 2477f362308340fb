//! Status: what an operator should know of the line to the hub, kept until it is no longer true.
//!
//! Everything here is for eyes. Nothing decides by it, and a restart begins empty: what is still wrong will be noticed again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::Seq;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{DatasetVersion, DayVerdict, Quarantined, RefusedLine};
use serde::Serialize;

use super::Link;
use crate::store::{StoreError, allotment, day, replica, sync_state};

/// How many refused lines and quarantined entries are kept; the hub has all of them.
const NOTICES_MAX: usize = 50;
/// How many days are listed.
const DAYS_MAX: usize = 7;

/// What is wrong.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Faults {
    /// The hub holds another journal than this one.
    pub diverged: Option<String>,
    /// Why the last poll failed.
    pub poll: Option<String>,
    /// Why the last upload failed.
    pub upload: Option<String>,
    /// Why the last download failed.
    pub download: Option<String>,
    /// Report lines that the hub refused, newest last. They are told again until it takes them.
    pub refused: VecDeque<RefusedLine>,
    /// Grants that were not taken since the start, as their session was over, value may not move, or they could not be stored. No fault by itself: the hub
    /// is asked for them again. A number that keeps rising is one.
    pub grants_left: u64,
    /// Entries that the hub keeps apart, newest last.
    pub quarantined: VecDeque<Quarantined>,
}

/// Collects what is wrong while it happens.
#[derive(Debug, Default)]
pub struct Notices(Mutex<Faults>);

impl Notices {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refused_lines(&self, lines: &[RefusedLine]) {
        if !lines.is_empty() {
            keep(&mut self.faults().refused, lines);
        }
    }

    /// These were told again: of their lines only what is refused now is wrong.
    pub(super) fn told(&self, purses: &[Purse]) {
        if !purses.is_empty() {
            let is_told = |line: &RefusedLine| purses.contains(&Purse { account: line.account, unit: line.unit });
            self.faults().refused.retain(|line| !is_told(line));
        }
    }

    pub(super) fn quarantined(&self, entries: &[Quarantined]) {
        if !entries.is_empty() {
            keep(&mut self.faults().quarantined, entries);
        }
    }

    pub(super) fn grants_left(&self, count: usize) {
        let mut faults = self.faults();
        faults.grants_left = faults.grants_left.saturating_add(count as u64);
    }

    pub(super) fn diverged(&self, what: &str) {
        self.faults().diverged = Some(what.to_owned());
    }

    pub(super) fn chain_agrees(&self) {
        let mut faults = self.faults();
        (faults.diverged, faults.upload) = (None, None);
    }

    pub(super) fn upload_failed(&self, why: &str) {
        self.faults().upload = Some(why.to_owned());
    }

    pub(super) fn poll_failed(&self, why: &str) {
        self.faults().poll = Some(why.to_owned());
    }

    pub(super) fn poll_answered(&self) {
        self.faults().poll = None;
    }

    pub(super) fn download_failed(&self, why: &str) {
        self.faults().download = Some(why.to_owned());
    }

    pub(super) fn download_worked(&self) {
        self.faults().download = None;
    }
}

fn keep<T: Clone + PartialEq>(kept: &mut VecDeque<T>, new: &[T]) {
    for item in new {
        kept.retain(|known| known != item);
        kept.push_back(item.clone());
    }
    while kept.len() > NOTICES_MAX {
        kept.pop_front();
    }
}

/// A day as the hub sees it.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct DayAtHub {
    /// The day.
    #[serde(rename = "business_day")]
    pub day: huitong_protocol::time::BusinessDay,
    /// Where it is.
    pub state: DayState,
    /// What the hub counted differently.
    pub differences: Vec<String>,
}

/// Where a day is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// The store trades.
    Open,
    /// Sealed; the hub has not said a word.
    Sealed,
    /// The hub counted the same.
    Accepted,
    /// The hub counted otherwise.
    Differs,
}

/// Sync as `GET /v1/sync` shows it.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct SyncStatus {
    /// Whether the hub answered the last call.
    pub hub_online: bool,
    /// When it last answered.
    pub hub_last_seen_ms: Option<Instant>,
    /// The end of the journal.
    pub head_seq: Seq,
    /// What the hub holds of it.
    pub acknowledged_seq: Seq,
    /// Purses that moved since the hub last took a report.
    pub unreported_accounts: u64,
    /// What the store has of each dataset.
    pub datasets: Vec<DatasetVersion>,
    /// Published policies that cannot be used.
    pub policy_faults: Vec<String>,
    /// The newest days, newest first.
    pub days: Vec<DayAtHub>,
    /// Why the line is down.
    pub line_fault: Option<String>,
    /// What is wrong.
    pub faults: Faults,
}

/// Looks at everything.
///
/// # Errors
/// The database could not be read.
pub fn look(link: &Link, line: &crate::line::Line) -> Result<SyncStatus, StoreError> {
    let committed = link.store.committed();
    let change_no = link.reported.change_no();
    link.store.read(|tx| {
        let days = day::newest(tx, DAYS_MAX)?.into_iter().map(|day| {
            let DayVerdict { differences, .. } = match &day.verdict {
                Some(verdict) => verdict.clone(),
                None => DayVerdict { business_day: day.business_day, seal_seq: Seq::ZERO, differences: Vec::new() },
            };
            let state = match (&day.seal, &day.verdict) {
                (None, _) => DayState::Open,
                (Some(_), None) => DayState::Sealed,
                (Some(_), Some(_)) if differences.is_empty() => DayState::Accepted,
                (Some(_), Some(_)) => DayState::Differs,
            };
            DayAtHub { day: day.business_day, state, differences }
        });
        Ok(SyncStatus {
            hub_online: line.is_online(),
            hub_last_seen_ms: line.last_seen(),
            head_seq: committed.head.seq,
            acknowledged_seq: sync_state::get(tx)?.acknowledged.seq,
            unreported_accounts: allotment::changed_count(tx, change_no)?,
            datasets: replica::versions(tx)?,
            policy_faults: committed.policy_refused.iter().map(ToString::to_string).collect(),
            days: days.collect(),
            line_fault: link.circuit.fault(),
            faults: link.notices.faults().clone(),
        })
    })
}
