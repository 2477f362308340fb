//! Verification as a job: one at a time, started by whoever asks, its last result kept in memory. What is proved is `verify`'s.
//!
//! A large group's proof takes longer than a request should. Asking while one runs starts no second one. Nobody waits for it when the hub stops: closing
//! the database ends it, and whoever wants the proof asks the next life of the hub.

use std::sync::{Mutex, PoisonError};

use huitong_protocol::time::Instant;
use serde::Serialize;

use crate::hub::Hub;
use crate::verify::{self, Report};

/// Where the job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default, schemars::JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    /// Nobody asked in this life of the hub.
    #[default]
    Never,
    /// Under way.
    Running {
        /// Who asked.
        started_by: String,
        /// When.
        started_at_ms: Instant,
    },
    /// Done.
    Done {
        /// Who asked.
        started_by: String,
        /// When.
        started_at_ms: Instant,
        /// When it was done.
        finished_at_ms: Instant,
        /// What was proved or found.
        report: Report,
    },
    /// It could not be done: the hub stopped, or the log says why.
    Failed {
        /// Who asked.
        started_by: String,
        /// When.
        started_at_ms: Instant,
        /// When it failed.
        finished_at_ms: Instant,
    },
}

/// The job.
#[derive(Debug, Default)]
pub struct Verification(Mutex<Status>);

impl Verification {
    /// Where it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts it unless it runs. Gives whether it was started now.
    pub fn begin(&self, started_by: &str, now: Instant) -> bool {
        let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*status, Status::Running { .. }) {
            return false;
        }
        *status = Status::Running { started_by: started_by.to_owned(), started_at_ms: now };
        true
    }

    fn end(&self, status: Status) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// Does the job that was begun.
pub async fn perform(hub: Hub, started_by: String, started_at_ms: Instant) {
    let outcome = hub.store.read(verify::run).await;
    let finished_at_ms = hub.now();
    hub.verification.end(match outcome {
        Ok(report) => Status::Done { started_by, started_at_ms, finished_at_ms, report },
        Err(error) => {
            if hub.stopping.is_cancelled() {
                tracing::info!("Left a verification undone, as the hub stops");
            } else {
                tracing::error!(error = &error as &dyn std::error::Error, "Could not verify");
            }
            Status::Failed { started_by, started_at_ms, finished_at_ms }
        }
    });
}
