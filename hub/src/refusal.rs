//! Refusal: why the hub turns a sync request away, in the words of the wire. What went wrong inside is logged, not sent.
//!
//! Refusals are also written down, but no faster than people could want to read them: [`Refusals`] says which. Stores that have proved who they are and
//! strangers are counted apart, as they are kept apart: whoever knocks without end must not hide what a store is told.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use huitong_protocol::reconcile::Finding;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::SyncFault;

use crate::store::StoreError;

/// Why a sync request was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The wire's code.
    pub fault: SyncFault,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether who was refused has proved to be the store that it says it is.
    pub is_proved: bool,
    /// What it proves of the hub itself: whoever refuses so writes it down before it is said.
    pub proof: Option<Box<Finding>>,
}

impl Refusal {
    /// A refusal in words.
    #[must_use]
    pub fn new(fault: SyncFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), is_proved: false, proof: None }
    }

    /// The same, said to a store that has proved who it is.
    #[must_use]
    pub fn to_a_proved_store(self) -> Self {
        Self { is_proved: true, ..self }
    }

    /// A message that cannot be read or used; `message` names the field.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(SyncFault::Malformed, message)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Busy) {
            return Self::new(SyncFault::Busy, "the hub has too much to do; try again in a moment");
        }
        tracing::error!(error = &error as &dyn std::error::Error, "Could not serve a sync request: {error}");
        Self::new(SyncFault::Internal, "the hub could not do it and changed nothing; its log says why")
    }
}

/// How long after a refusal the next like it, of the same store and in the same words, is only counted.
const LIKE_EVERY_MS: i64 = 1_000;
/// Refusals of one origin written down in that time in all: a stranger names any store it likes.
const WRITTEN_MAX: usize = 20;
/// Reasons for which one store's requests are refused under one code, written down in that time: a foreign group is not a foreign epoch.
const REASONS_MAX: usize = 4;

/// Which refusals are written down. In memory: after a restart it begins anew.
#[derive(Debug, Default)]
pub struct Refusals {
    proved: Mutex<Lately>,
    strangers: Mutex<Lately>,
}

#[derive(Debug, Default)]
struct Lately {
    since_ms: i64,
    /// What was written since then.
    written: HashSet<(String, SyncFault, String)>,
    /// What was only counted since the last that was written.
    unwritten: i64,
}

impl Refusals {
    /// Whether to write a refusal down. Gives how many of its origin before it were only counted, or nothing when it is only counted itself.
    pub fn note(&self, store: &str, refusal: &Refusal, now: Instant) -> Option<i64> {
        let (origin, fault) = (if refusal.is_proved { &self.proved } else { &self.strangers }, refusal.fault);
        let mut lately = origin.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins anew too.
        if !(0..LIKE_EVERY_MS).contains(&now.0.saturating_sub(lately.since_ms)) {
            lately.since_ms = now.0;
            lately.written.clear();
        }
        let reason = (store.to_owned(), fault, refusal.message.clone());
        let alike = lately.written.iter().filter(|(named, code, _)| named == store && *code == fault).count();
        if lately.written.len() >= WRITTEN_MAX || alike >= REASONS_MAX || !lately.written.insert(reason) {
            lately.unwritten = lately.unwritten.saturating_add(1);
            return None;
        }
        Some(std::mem::take(&mut lately.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_written_once_a_second_and_the_rest_is_counted() {
        let refusals = Refusals::default();
        let at = |ms: i64| Instant(1_800_000_000_000 + ms);
        let note = |store: &str, ms: i64| refusals.note(store, &Refusal::new(SyncFault::Forged, ""), at(ms));
        assert_eq!(note("S1", 0), Some(0));
        assert_eq!(note("S1", 1), None);
        assert_eq!(refusals.note("S1", &Refusal::new(SyncFault::Replayed, ""), at(2)), Some(1), "another reason");
        assert_eq!(note("S2", 3), Some(0), "another store");
        let in_words = |words: &str| refusals.note("S3", &Refusal::new(SyncFault::Foreign, words), at(4));
        let told = ["group", "epoch", "group", "store", "a", "b", "epoch"].map(in_words);
        assert_eq!(
            told,
            [Some(0), Some(0), None, Some(1), Some(0), None, None],
            "each reason once, and no more than four"
        );
        assert_eq!(note("S1", 998), None);
        assert_eq!(note("S1", 999), None);
        assert_eq!(note("S1", 1_000), Some(4));
        assert_eq!(note("S1", 0), Some(0), "the clock was set back");
    }

    #[test]
    fn whoever_makes_up_stores_fills_nothing() {
        let refusals = Refusals::default();
        let written = |ms: i64| {
            let forged = Refusal::new(SyncFault::Forged, "");
            let note = |n: u32| refusals.note(&format!("S{n}"), &forged, Instant(ms));
            let told: Vec<i64> = (0..10_000).filter_map(note).collect();
            (told.len(), told.iter().sum::<i64>())
        };
        assert_eq!(written(5_000), (WRITTEN_MAX, 0));
        assert_eq!(written(6_000), (WRITTEN_MAX, 9_980));
        assert_eq!(refusals.strangers.lock().unwrap().written.len(), WRITTEN_MAX);
        let to_a_store = Refusal::new(SyncFault::Forged, "").to_a_proved_store();
        assert_eq!(
            refusals.note("S1", &to_a_store, Instant(6_000)),
            Some(0),
            "what a store is told is written all the same"
        );
    }
}
