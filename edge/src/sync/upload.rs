//! Upload: sends the journal's entries that the hub does not hold, in segments, several on the way at once.
//!
//! Where to begin is the hub's word, never ours: its welcome when a session begins, then its answer to each segment. What is written down here
//! is for `status`, and saves a look after a restart. Invariant: the bytes sent are the bytes stored, and a segment's heads are those of the
//! chain, so that the hub can prove every entry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use huitong_protocol::id::{Epoch, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::tenure::HeardEntry;
use huitong_protocol::time::BusinessDay;
use huitong_protocol::wire::{
    DayVerdict, Quarantined, SEGMENT_BYTES_MAX, Segment, SegmentEntries, SyncFault, Uploaded, path, to_msgpack,
};
use serde_bytes::ByteBuf;
use tokio::task::JoinSet;

use super::session::CallError;
use super::{Link, SyncError};
use crate::store::{Store, StoreError, day, journal, sync_state};

/// Level 3 compresses named MessagePack to about a tenth at some hundred MB/s; higher levels cost more than they save.
const ZSTD_LEVEL: i32 = 3;
/// How often the hub may answer without holding more than before until it is left alone.
pub(super) const STALLS_MAX: u32 = 3;

/// What the list of entries takes beside the entries themselves, each.
const LIST_BYTES_PER_ENTRY_MAX: usize = 16;
/// How many of the newest days are asked about again when the hub's word on them did not arrive.
const DAYS_ASKED_MAX: usize = 31;

/// What the hub said that it holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    session: u64,
    holds: Option<Head>,
}

/// What an upload did.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct UploadDone {
    /// Segments that the hub took.
    pub segments: u64,
    /// What the hub holds now.
    pub acknowledged_seq: Seq,
    /// Its word on days whose seals were among them.
    pub days: Vec<DayVerdict>,
    /// Entries that it keeps apart.
    pub quarantined: Vec<Quarantined>,
}

/// Sends everything that was written when this was called, and ends when the hub holds it.
///
/// # Errors
/// The hub did not answer or refused; what it took before counts, and the next upload begins where the hub says.
pub async fn run(link: &Arc<Link>) -> Result<UploadDone, SyncError> {
    let mut cursor = link.uploading.lock().await;
    let live = link.live().await?;
    let begin = match cursor.holds {
        Some(holds) if cursor.session == live.number => holds,
        _ => live.welcome.journal_head,
    };
    *cursor = Cursor { session: live.number, holds: Some(begin) };
    let goal = link.store.head();
    let done = UploadDone { segments: 0, acknowledged_seq: begin.seq, days: Vec::new(), quarantined: Vec::new() };
    let mut push = Push { link, goal, holds: begin, done };
    let result = push.all().await;
    let holds = push.holds;
    cursor.holds = Some(holds);
    // What is not this journal, nobody acknowledged of it.
    let is_ours = !matches!(result, Err(SyncError::Diverged { .. }));
    note(link, live.turn.life, is_ours.then_some(holds), &push.done).await?;
    let result = result.map(|()| push.done);
    match &result {
        Err(error @ SyncError::Diverged { .. }) => {
            tracing::error!(error = %error, "Alarm: {error}");
            link.notices.diverged(&error.to_string());
            link.store.continuity().held_by_hub(&link.store, live.turn.life, holds, link.clock.now()).await?;
        }
        // Of two journals the hub holds the other one: it proved each entry of both, and names where they part. Its own faults it calls so.
        Err(SyncError::Call(CallError::Refused { fault: SyncFault::Fork, message })) => {
            tracing::error!("Alarm: {message}");
            link.notices.diverged(message);
            link.session.quarantine(&live, message).await;
        }
        Ok(_) => link.notices.chain_agrees(),
        // Who was not heard knows no more of it than before.
        Err(_) => {}
    }
    result
}

/// One upload while it runs.
struct Push<'a> {
    link: &'a Arc<Link>,
    goal: Head,
    /// The furthest that the hub said to hold.
    holds: Head,
    done: UploadDone,
}

impl Push<'_> {
    async fn all(&mut self) -> Result<(), SyncError> {
        self.ours()?;
        let mut stalls = 0;
        while self.holds.seq < self.goal.seq {
            let before = self.holds;
            self.burst().await?;
            self.ours()?;
            // The hub may lack something that was sent; as long as it gains, the rest is offered again from where it is.
            stalls = if self.holds == before { stalls + 1 } else { 0 };
            if stalls == STALLS_MAX {
                return Err(SyncError::Stalled { hub_seq: self.holds.seq.0 });
            }
        }
        self.ask_again().await
    }

    /// The word on a day was in an answer that was lost: its seal is offered once more, alone.
    async fn ask_again(&mut self) -> Result<(), SyncError> {
        let days = self.link.store.read(|tx| day::newest(tx, DAYS_ASKED_MAX))?;
        let unheard = days.into_iter().filter(|day| day.verdict.is_none()).filter_map(|day| day.seal);
        for (seq, seal) in unheard.filter(|(seq, _)| *seq <= self.holds.seq).collect::<Vec<_>>() {
            if !self.done.days.iter().any(|verdict| verdict.seal_seq == seq)
                && let Some(segment) = segment(&self.link.store, self.epoch(), seal.last, 1)?
            {
                let answer = self.link.call(path::UPLOAD, segment).await?;
                self.took(answer);
            }
        }
        Ok(())
    }

    fn epoch(&self) -> Epoch {
        self.link.session.enrolment().epoch
    }

    /// What the hub holds must be the beginning of this journal.
    fn ours(&self) -> Result<(), SyncError> {
        let holds = self.holds;
        if holds == Head::START || self.link.store.read(|tx| journal::contains(tx, holds))? {
            return Ok(());
        }
        Err(SyncError::Diverged { hub_seq: holds.seq.0, own_seq: self.link.store.head().seq.0 })
    }

    /// Offers everything from where the hub is, a window of segments at a time.
    async fn burst(&mut self) -> Result<(), SyncError> {
        let mut offered = self.holds;
        let mut on_the_way: JoinSet<Result<Uploaded, SyncError>> = JoinSet::new();
        loop {
            while on_the_way.len() < self.link.config.upload_window && offered.seq < self.goal.seq {
                let most = self.link.config.upload_entries_max;
                let Some(segment) = segment(&self.link.store, self.epoch(), offered, most)? else { break };
                offered = segment.last;
                let link = self.link.clone();
                on_the_way.spawn(async move { link.call(path::UPLOAD, segment).await });
            }
            let Some(joined) = on_the_way.join_next().await else {
                return Ok(());
            };
            // A task that broke off is a mistake of this program; the segment is offered again like one that was lost.
            let answer = joined.unwrap_or(Err(SyncError::Stalled { hub_seq: self.holds.seq.0 }))?;
            self.took(answer);
        }
    }

    fn took(&mut self, answer: Uploaded) {
        let Uploaded { journal_head, missing: _, quarantined, days, heard: _ } = answer;
        // Answers of a window may change places: within a session the hub only gains.
        if journal_head.seq > self.holds.seq {
            self.holds = journal_head;
            self.done.acknowledged_seq = journal_head.seq;
        }
        for entry in &quarantined {
            tracing::error!(
                seq = entry.seq.0,
                reason = entry.reason,
                "The hub keeps entry {} apart: {}",
                entry.seq,
                entry.reason
            );
        }
        for verdict in &days {
            let day = verdict.business_day;
            if verdict.differences.is_empty() {
                tracing::info!(business_day = %day, "The hub accepted {day}");
            } else {
                tracing::error!(business_day = %day, "The hub counts {day} differently: {}", verdict.differences.join("; "));
            }
        }
        self.done.segments += 1;
        self.done.quarantined.extend(quarantined);
        self.done.days.extend(days);
    }
}

/// The next segment of a database's journal after a head, `None` when there is nothing.
pub(super) fn segment(
    store: &Store,
    epoch: Epoch,
    previous: Head,
    entries_max: usize,
) -> Result<Option<Segment>, SyncError> {
    // The list's own bytes are a few per entry; with them a full segment stays under what the hub unpacks.
    let bytes_max = SEGMENT_BYTES_MAX - LIST_BYTES_PER_ENTRY_MAX * entries_max;
    let entries = store.read(|tx| journal::entries_after(tx, previous.seq, entries_max, bytes_max))?;
    let Some(last) = entries.last().map(|entry| entry.head) else {
        return Ok(None);
    };
    let packed = to_msgpack(&SegmentEntries(entries.into_iter().map(|entry| ByteBuf::from(entry.bytes)).collect()));
    let entries_zstd = zstd::bulk::compress(&packed, ZSTD_LEVEL)
        .map_err(|error| SyncError::Unusable(format!("a segment could not be compressed: {error}")))?;
    store.continuity().telling(epoch, last)?;
    Ok(Some(Segment { epoch, previous, last, raw_bytes: packed.len() as u64, entries_zstd, heard: HeardEntry::Unsaid }))
}

/// Writes down what the hub said, for `status` and the day's report.
async fn note(link: &Link, life: u64, holds: Option<Head>, done: &UploadDone) -> Result<(), StoreError> {
    link.notices.quarantined(&done.quarantined);
    let known = link.store.read(sync_state::get)?.acknowledged;
    let news = holds.filter(|holds| *holds != known);
    if news.is_none() && done.days.is_empty() {
        return Ok(());
    }
    // A segment that was offered again brings its verdict again: the last word counts.
    let days: BTreeMap<BusinessDay, DayVerdict> =
        done.days.iter().map(|verdict| (verdict.business_day, verdict.clone())).collect();
    link.store
        .write(move |tx| {
            // What an earlier life of the hub held says nothing of this one.
            if let Some(holds) = news
                && tx.chain().hub_turn.life == life
            {
                sync_state::acknowledge(tx, holds)?;
            }
            for verdict in days.values() {
                if day::get(tx, verdict.business_day)?
                    .is_some_and(|day| day.seal.is_some_and(|(seq, _)| seq == verdict.seal_seq))
                {
                    day::put_verdict(tx, verdict)?;
                }
            }
            Ok(())
        })
        .await
}

/// Uploads the close at once, and everything else a while after it was written when the configuration says so.
pub(super) async fn keep_sent(link: Arc<Link>) {
    let mut backoff = link.backoff("upload");
    let mut changes = link.store.changed();
    let mut line = link.circuit.watch();
    loop {
        let committed = link.store.committed();
        let held = match link.uploading.lock().await.holds {
            Some(holds) => holds.seq,
            // Nothing was said since the start: what was written down will do to decide whether to ask.
            None => link.store.read(sync_state::get).map_or(Seq::ZERO, |state| state.acknowledged.seq),
        };
        let trickle = link.config.trickle.duration();
        let is_sealed = committed.sealed_seq > held;
        let is_due = is_sealed || (trickle > Duration::ZERO && committed.head.seq > held);
        if is_due && link.circuit.is_up() {
            if !is_sealed {
                let sealed = changes.wait_for(|committed| committed.sealed_seq > held);
                // Gathered for a while, but a close is not kept waiting.
                if let Ok(Err(_)) = tokio::time::timeout(trickle, sealed).await {
                    return;
                }
            }
            match run(&link).await {
                Ok(_) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(error = %error, "Could not upload: {error}");
                    link.notices.upload_failed(&error.to_string());
                    link.pause(backoff.next(error.retry_after())).await;
                }
            }
            continue;
        }
        // Nothing to send, or nobody to send it to.
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            changed = line.changed() => if changed.is_err() { return },
        }
    }
}
