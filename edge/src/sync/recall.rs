//! Recall: a long poll that brings the hub's wishes at once. Another store needs value that rests here: all that is available of it goes back,
//! parked or not, and the report is sent right after, as a till is waiting over there.
//!
//! The poll is also the pulse of the line: when it is answered the line is up. Invariant: a recall counts as received only after what it asked
//! for is on disk.

use std::sync::Arc;
use std::time::Duration;

use huitong_protocol::allotment::Purse;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{Answer, DatasetKind, DatasetVersion, Poll, Polled, Recall, SyncFault, Welcome, path};

use super::session::CallError;
use super::{Link, SyncError, download, release, report};
use crate::store::replica;
use crate::store::tenure::HubTurn;

/// How much longer than the hub may hold a poll its answer may be on the way.
const POLL_SLACK: Duration = Duration::from_secs(10);

/// Recalls are numbered by the hub for as long as it lives; a new session may be with a hub that counts from the start.
#[derive(Clone, Copy, Debug, Default)]
struct Received {
    session: u64,
    through: u64,
}

/// Polls for ever.
pub(super) async fn poll(link: Arc<Link>) {
    let mut backoff = link.backoff("poll");
    let mut received = Received::default();
    loop {
        match poll_once(&link, &mut received).await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                let wait = backoff.next(error.retry_after());
                let wait_ms = wait.as_millis();
                match &error {
                    SyncError::Call(CallError::Refused { fault, message }) => {
                        tracing::error!(fault = ?fault, wait_ms, "The hub refuses this store: {message}");
                    }
                    other => tracing::debug!(error = %other, wait_ms, "Could not poll the hub: {other}"),
                }
                link.notices.poll_failed(&error.to_string());
                link.pause(wait).await;
            }
        }
    }
}

async fn poll_once(link: &Link, received: &mut Received) -> Result<(), SyncError> {
    let (answer, turn, asked_at) = match ask(link, received).await {
        // The hub was started anew: hello, and once more.
        Err(SyncError::Call(CallError::Refused { fault: SyncFault::SessionUnknown, .. })) => {
            ask(link, received).await?
        }
        answer => answer?,
    };
    link.notices.poll_answered();
    // Whatever becomes of the grants, somebody waits at another till for what is recalled.
    let adopted = link.adopt(answer.grants, turn).await;
    let Polled { recalls, recalls_through, recovers, datasets } = answer.body;
    if !recalls.is_empty() {
        tracing::debug!(recalls = recalls.len(), "The hub recalls value of {} accounts", recalls.len());
        give_back(link, &recalls).await?;
    }
    received.through = recalls_through;
    adopted?;
    announced(link, &datasets, recovers, asked_at).await
}

/// One poll, in the session that is live when it begins, with that session's turn and when it was asked: the machine may sleep before it reads the answer,
/// and what the hub announces must not be taken for newer than it is.
async fn ask(link: &Link, received: &mut Received) -> Result<(Answer<Polled>, HubTurn, Instant), SyncError> {
    let live = link.live().await?;
    if received.session != live.number {
        *received = Received { session: live.number, through: 0 };
        let Welcome { datasets, recovers, .. } = &live.welcome;
        announced(link, datasets, *recovers, live.greeted_at).await?;
    }
    let wait = link.config.poll_wait;
    let cards_version = link.store.read(|tx| replica::version(tx, DatasetKind::Cards))?;
    let poll = Poll { wait_ms: wait.as_ms().unsigned_abs(), recalls_through: received.through, cards_version };
    let asked_at = link.clock.now();
    let answer = link.exchange_within(&live, path::POLL, &poll, wait.duration() + POLL_SLACK).await?;
    Ok((answer, live.turn, asked_at))
}

/// Releases what was recalled and says so. A purse that had nothing is mentioned all the same: the hub waits for this store's word, and answers
/// with a grant of its that never arrived, which is then given back like the rest.
async fn give_back(link: &Link, recalls: &[Recall]) -> Result<(), SyncError> {
    let purses = recalls.iter().map(|recall| Purse { account: recall.account, unit: recall.unit });
    release::recalled(link, recalls).await?;
    link.reported.mention(purses);
    report::send_alive(link).await?;
    release::recalled(link, recalls).await?;
    report::send(link).await
}

/// Wakes the download when the hub has more than this store, and notes when its policies and its cards are the newest. Any other answer of the hub says
/// nothing about them; nor does of cards one that recovers, and may have forgotten which were stopped.
async fn announced(link: &Link, datasets: &[DatasetVersion], recovers: bool, at: Instant) -> Result<(), SyncError> {
    if download::is_newest(link, DatasetKind::Policies, datasets)? {
        link.policies_confirmed(at).await?;
    }
    if download::is_same(link, DatasetKind::Cards, datasets)? {
        link.cards_confirmed(at, recovers).await?;
    }
    if download::is_behind(link, datasets)? {
        link.news.notify_one();
    }
    Ok(())
}
