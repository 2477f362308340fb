//! Bring: hands head office the journal of an epoch of this store that ended, from the database that `enrol --replace` kept. What was sold in quarantine
//! comes home by it, and what the epoch's cards held is resolved.
//!
//! The living epoch's session carries it: of an epoch that ended nothing else is heard. Where the hub is, it says in each answer; what the kept database
//! believes saves the rest of the way. A database that was put back from a backup has gone another way than the one that head office heard: that is seen by an
//! entry which both have, and then nothing is sent that contradicts; and by the entry up to which head office heard the epoch, by reports too: a database
//! without it is brought only when a person says that the one with it is lost. Sales that cannot come are posted by hand. Invariant: only a kept database of this very store, in its own data directory, is ever opened.

use std::path::Path;
use std::sync::Arc;

use huitong_protocol::id::{Epoch, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::tenure::HeardEntry;
use huitong_protocol::till::Fault;
use huitong_protocol::wire::{DayVerdict, Quarantined, Segment, SyncFault, Uploaded, path};
use serde::{Deserialize, Serialize};

use super::session::CallError;
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
    /// Head office heard the epoch further, or otherwise, than this database goes.
    #[error(
        "is not the database that head office heard last: that one had entry {0}, and this one has not. Bring that one. When it is lost for good, bring this one \
         with `huitong-edge journal bring FILE --heard-database-is-lost`: the other can never come then"
    )]
    NotHeard(Seq),
    /// Head office did not take it, or a database failed.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

/// Which journal to bring.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BringJournal {
    /// The kept database, by its name in the data directory.
    pub file: String,
    /// A person says that the database which head office heard last is lost for good. Without it, one that ends before or went another way is not sent:
    /// it would shut the other out for ever.
    #[serde(default)]
    pub heard_database_is_lost: bool,
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
pub async fn run(link: &Arc<Link>, data_dir: &Path, wanted: &BringJournal) -> Result<Brought, BringError> {
    let name = wanted.file.as_str();
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
    let brought = bring(link, &kept, wanted.heard_database_is_lost).await;
    if tokio::task::spawn_blocking(move || kept.close()).await.is_err() {
        tracing::error!("Closing the kept database broke off");
    }
    brought
}

/// The journal is not the one that head office has. `common` is the last position of which it is known that both have it.
fn contradicts(epoch: Epoch, common: Seq, hub_seq: Seq) -> BringError {
    let since = match common {
        Seq::ZERO => "what was written in it since it was put back from a backup".to_owned(),
        common => format!("of its entries after {common} those that were written since it was put back from a backup"),
    };
    unfit(format!(
        "is not the database that head office heard last: it holds epoch {epoch} up to entry {hub_seq} with other contents. {since} never reached head office, \
         contradicts what it has, and was not sent: keep the file, post its cash sales by hand (huitong-edge journal show SEQ), and have head office freeze the cards \
         that were frozen here since"
    ))
}

async fn bring(link: &Arc<Link>, kept: &Store, is_lost: bool) -> Result<Brought, BringError> {
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
    let acknowledged = kept.read(sync_state::get).map_err(SyncError::from)?.acknowledged;
    if at(acknowledged.seq)? != acknowledged {
        return Err(contradicts(identity.epoch, Seq::ZERO, acknowledged.seq));
    }
    // First the one entry that the hub has from this very history, alone: its answer says how far it is and with what, before anything can contradict. It is
    // offered even when it is the last, as the hub may have forgotten what it acknowledged.
    let mut holds = at(Seq(acknowledged.seq.0.saturating_sub(1)))?;
    let mut most = 1;
    let mut brought = Brought {
        epoch: identity.epoch,
        head_seq: end.seq,
        acknowledged_seq: Seq::ZERO,
        segments: 0,
        days: Vec::new(),
        quarantined: Vec::new(),
    };
    let (mut stalls, mut says) = (0, HeardEntry::Unsaid);
    while brought.acknowledged_seq < end.seq {
        let Some(segment) = upload::segment(kept, identity.epoch, holds, most)? else { break };
        most = link.config.upload_entries_max;
        let offered = segment.last.seq;
        let answer = match link.call(path::UPLOAD, Segment { heard: says, ..segment }).await {
            Err(SyncError::Call(CallError::Refused { fault: SyncFault::Fork, .. })) => {
                return Err(contradicts(identity.epoch, acknowledged.seq, offered));
            }
            answer => answer?,
        };
        let Uploaded { journal_head, missing: _, quarantined, days, heard } = answer;
        if at(journal_head.seq)? != journal_head {
            return Err(contradicts(identity.epoch, acknowledged.seq, journal_head.seq));
        }
        if let Some(heard) = heard.filter(|heard| heard.seq > journal_head.seq) {
            says = match at(heard.seq)? {
                own if own == heard => HeardEntry::Contained(heard),
                _ if is_lost => HeardEntry::Lost,
                _ => return Err(BringError::NotHeard(heard.seq)),
            };
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
