//! Refusal: why the hub turns a sync request away, in the words of the wire. What went wrong inside is logged, not sent.

use huitong_protocol::wire::SyncFault;

use crate::store::StoreError;

/// Why a sync request was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The wire's code.
    pub fault: SyncFault,
    /// What is wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal in words.
    #[must_use]
    pub fn new(fault: SyncFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
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
