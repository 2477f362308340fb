//! Fence: the end of an epoch. What it says of value is not heard from then on, and what it held waits in suspense; its journal may still come.
//!
//! A person ends an epoch, a new enrolment does, and the hub itself when it meets two copies of one. Invariant: nothing that an epoch held goes back to the
//! pool because it ended.

use huitong_protocol::id::{Epoch, Seq, StoreId};
use huitong_protocol::tenure::Standing;
use huitong_protocol::time::Instant;
use serde::Serialize;

use crate::actor::Actor;
use crate::believed::{self, Said};
use crate::note::{self, NoteFault};
use crate::stops::{self, Stopped};
use crate::store::{StoreError, Tx, device, journal, organisation, root, suspense as rows, tenure};
use crate::suspense::{self, UnitSum};

/// Why an epoch was not ended.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// No such store.
    #[error("store {0} is unknown\n  hint: huitong-hub store list")]
    Unknown(StoreId),
    /// It was never enrolled.
    #[error("store {0} was never enrolled, so that it holds nothing\n  hint: huitong-hub store enrol-token {0}")]
    NeverEnrolled(StoreId),
    /// A note that says nothing, or too much.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An epoch that ended, and what waits because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Ended {
    /// The store.
    pub store: StoreId,
    /// The epoch.
    pub epoch: Epoch,
    /// Whether it was living until now.
    pub is_new: bool,
    /// How far it was heard.
    pub heard_seq: Seq,
    /// When the store was last heard; its spends since then nobody knows yet.
    pub last_seen_ms: Option<Instant>,
    /// What waits, per unit.
    pub sums: Vec<UnitSum>,
    /// What is not known, in words: of an epoch that a restored hub had not heard.
    pub unknown: Option<String>,
    /// What became of cards that other stores must hear of at once: `Hub::stopped`.
    #[serde(skip)]
    pub stopped: Stopped,
}

/// Ends an epoch in the name of somebody. Gives what became of cards, of which other stores must hear at once; nothing when it had ended already.
///
/// # Errors
/// [`StoreError`].
pub fn end(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    (by, note): (&str, &str),
    now: Instant,
) -> Result<Option<Stopped>, StoreError> {
    if !tenure::fence(tx, store, epoch, (by, note), now)? {
        return Ok(None);
    }
    if tenure::is_unheard(tx, store, epoch)? {
        // It may have told a part of what a restored hub had forgotten.
        believed::raise(tx, (store, epoch), Said::Reported, now)?;
    }
    // The journal may be ahead of the reports.
    suspense::take_journal(tx, store, epoch, now)?;
    let (told, held) = (tenure::told_seq(tx, store, epoch)?, journal::find(tx, store, epoch)?.head.seq);
    stops::take(tx, (store, epoch), (told, held), now).map(Some)
}

/// Ends the living epoch of a store, as a person. Saying it again changes nothing.
///
/// # Errors
/// [`FenceError`]; nothing changed then.
pub fn fence(tx: &mut Tx<'_>, actor: &Actor, store: StoreId, note: &str, now: Instant) -> Result<Ended, FenceError> {
    let note = note::needed(note)?;
    if organisation::store(tx, store)?.is_none() {
        return Err(FenceError::Unknown(store));
    }
    let epoch = tenure::last(tx, store)?;
    let at = tenure::standpoint(tx, store, epoch)?.ok_or(FenceError::NeverEnrolled(store))?;
    let last_seen_ms = device::last_seen(tx, store)?;
    let unknown = (at.is_waited_for || root::must_recover(tx)?.is_some()).then(|| {
        "the hub was restored and had not heard this epoch since: what it was granted in the meantime is not known here, and may have been granted again"
            .to_owned()
    });
    let is_new = at.standing == Standing::Living;
    let mut stopped = Stopped::default();
    if is_new {
        stopped = end(tx, store, epoch, (actor.name(), note), now)?.unwrap_or_default();
        let detail = match &unknown {
            Some(unknown) => format!("{note}; {unknown}"),
            None => note.to_owned(),
        };
        actor.did(tx, "store.fence", &format!("{store}-{epoch}"), &detail, now)?;
    }
    let sums = suspense::sums(&rows::lines(tx, store, epoch)?);
    Ok(Ended { store, epoch, is_new, heard_seq: at.heard.seq, last_seen_ms, sums, unknown, stopped })
}
