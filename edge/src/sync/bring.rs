//! Bring: hands head office the journal of an epoch of this store that ended, from the database that `enrol --replace` kept. What was sold in quarantine
//! comes home by it, and what the epoch's cards held is resolved.
//!
//! The living epoch's session carries it: of an epoch that ended nothing else is heard. Where the hub is, it says in each answer; what the kept database
//! believes saves the rest of the way. Invariant: only a kept database of this very store, in its own data directory, is ever opened.

use std::path::Path;
use std::sync::Arc;

use huitong_protocol::id::{Epoch, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::till::Fault;
use huitong_protocol::wire::{DayVerdict, Quarantined, Uploaded, path};

use super::upload::{self, STALLS_MAX};
use super::{Link, SyncError};
use crate::store::{Store, StoreError, StoreOptions, journal, sync_state};

/// How the kept databases are named.
const KEPT_PREFIX: &str = "edge.epoch-";
const KEPT_SUFFIX: &str = ".db";

/// Why a journal was not brought.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// It is not a kept database of this store.
    #[error("{0}")]
    Unfit(Fault),
    /// Head office did not take it, or a database failed.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

/// What was brought.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Brought {
    /// The epoch.
    pub epoch: Epoch,
    /// The end of its journal.
    pub head_seq: Seq,
    /// What the hub holds of it now.
    pub acknowledged_seq: Seq,
    /// Segments that the hub took.
    pub segments: u64,
    /// Its word on days whose seals were among them.
    pub days: Vec<DayVerdict>,
    /// Entries that it keeps apart.
    pub quarantined: Vec<Quarantined>,
}

fn unfit(fault: impl Into<String>) -> BringError {
    BringError::Unfit(Fault::new("file", fault))
}

/// Sends what the hub does not hold of the kept database with this name, and ends when it holds all of it.
///
/// # Errors
/// [`BringError`]; what the hub took before counts, and the next time begins there.
pub async fn run(link: &Arc<Link>, data_dir: &Path, name: &str) -> Result<Brought, BringError> {
    let is_kept = name.starts_with(KEPT_PREFIX) && name.ends_with(KEPT_SUFFIX) && !name.contains(['/', '\\']);
    let found = data_dir.join(name);
    if !is_kept || !found.is_file() {
        let words = format!("is {name:?}; name a database that `enrol --replace` kept in the data directory, such as");
        return Err(unfit(format!("{words} {KEPT_PREFIX}1{KEPT_SUFFIX}")));
    }
    // One call at a time: uploads of the living journal wait meanwhile.
    let _one = link.uploading.lock().await;
    let opened = tokio::task::spawn_blocking(move || Store::open(&found, StoreOptions::default()));
    let kept = opened.await.map_err(|_| StoreError::Stopped).and_then(|opened| opened).map_err(SyncError::from)?;
    let brought = bring(link, &kept).await;
    if tokio::task::spawn_blocking(move || kept.close()).await.is_err() {
        tracing::error!("Closing the kept database broke off");
    }
    brought
}

async fn bring(link: &Arc<Link>, kept: &Store) -> Result<Brought, BringError> {
    let own = link.session.enrolment();
    let Some(identity) = kept.committed().identity.clone() else {
        return Err(unfit("is not the database of a store that was enrolled"));
    };
    if (identity.group, identity.store.id) != (own.group, own.store) || identity.epoch >= own.epoch {
        let (store, epoch) = (identity.store.id, identity.epoch);
        return Err(unfit(format!(
            "is of store {store} in epoch {epoch}; only epochs before {} of store {} can be brought here",
            own.epoch, own.store
        )));
    }
    let end = kept.head();
    let at = |seq: Seq| Ok::<_, SyncError>(kept.read(|tx| journal::head_at(tx, seq))?.unwrap_or(Head::START));
    // The last entry is always offered: the hub may have forgotten what it acknowledged.
    let last_but_one = Seq(end.seq.0.saturating_sub(1));
    let acknowledged = kept.read(sync_state::get).map_err(SyncError::from)?.acknowledged;
    let mut holds = at(acknowledged.seq.min(last_but_one))?;
    let mut brought = Brought {
        epoch: identity.epoch,
        head_seq: end.seq,
        acknowledged_seq: Seq::ZERO,
        segments: 0,
        days: Vec::new(),
        quarantined: Vec::new(),
    };
    let mut stalls = 0;
    while brought.acknowledged_seq < end.seq {
        let segment = upload::segment(kept, identity.epoch, holds, link.config.upload_entries_max)?;
        let Some(segment) = segment else { break };
        let Uploaded { journal_head, missing: _, quarantined, days } = link.call(path::UPLOAD, segment).await?;
        if at(journal_head.seq)? != journal_head {
            return Err(SyncError::Diverged { hub_seq: journal_head.seq.0, own_seq: end.seq.0 }.into());
        }
        stalls = if journal_head.seq <= brought.acknowledged_seq { stalls + 1 } else { 0 };
        if stalls == STALLS_MAX {
            return Err(SyncError::Stalled { hub_seq: journal_head.seq.0 }.into());
        }
        holds = journal_head;
        brought.acknowledged_seq = journal_head.seq;
        brought.segments += 1;
        brought.days.extend(days);
        brought.quarantined.extend(quarantined);
    }
    let (epoch, seq) = (brought.epoch, brought.acknowledged_seq);
    tracing::info!(epoch = epoch.0, seq = seq.0, "The hub holds the journal of epoch {epoch} up to entry {seq}");
    Ok(brought)
}
