//! Denial: a person says that nothing was restored, though a store has shown a turn, a grant or an acknowledgement that this database never gave. Then the store is at fault: its
//! machine was tampered with, or its program made a mistake.
//!
//! The store's epoch ends with it, so that nothing it says becomes true; what it held as far as the hub knows waits in suspense. Invariant: only the store that
//! stopped the chain can be ended so, and another one that shows the same stops it again.

use huitong_protocol::id::StoreId;
use huitong_protocol::reconcile::Class;
use huitong_protocol::time::Instant;

use crate::actor::Actor;
use crate::exception::close_about;
use crate::fence::{self, Ended, FenceError};
use crate::note::{self, NoteFault};
use crate::recovery::subject;
use crate::store::exception::Resolution;
use crate::store::{StoreError, Tx, root};

/// Why it was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DenialError {
    /// Nobody said so.
    #[error("no store has shown that this database is older than it was\n  hint: huitong-hub recover status")]
    Nobody,
    /// Another store did.
    #[error(
        "it was {by} that showed a turn, a grant or an acknowledgement which this database never gave, not {given}\n  hint: look at the exception hub_forgot, then name the store that is at fault"
    )]
    Other {
        /// Which epoch.
        by: String,
        /// Which store was named.
        given: StoreId,
    },
    /// A note that says nothing, or too much.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// The epoch was not ended.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes back that this database is older than it was, and ends the epoch that has shown it.
///
/// # Errors
/// [`DenialError`]; nothing changed then.
pub fn deny(tx: &mut Tx<'_>, actor: &Actor, store: StoreId, note: &str, now: Instant) -> Result<Ended, DenialError> {
    let note = note::needed(note)?;
    let by = root::older_by(tx)?.ok_or(DenialError::Nobody)?;
    if by.0 != store {
        return Err(DenialError::Other { by: format!("{}-{}", by.0, by.1), given: store });
    }
    // First: what ends while the database counts as older ends unheard, and its journal would be believed.
    root::not_older(tx)?;
    let ended = fence::fence(tx, actor, store, note, now)?;
    let epoch = format!("{store}-{}", ended.epoch);
    actor.did(tx, "hub.not_restored", &epoch, note, now)?;
    let words = format!("nothing was restored, and {epoch} was ended: {note}");
    let about = subject(root::hub(tx)?.incarnation);
    close_about(tx, Class::HubForgot, &about, Resolution::Corrected, (actor.name(), &words), now)?;
    Ok(ended)
}
