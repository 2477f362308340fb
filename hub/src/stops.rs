//! Stops: cards that an epoch froze or reported lost and told nobody of before it ended: in quarantine, or since its last report. Its journal says so when it
//! is taken, and then they are stopped in every store. And those that a restored hub has forgotten: each store that knows of one says so with its first
//! reports to the new life.
//!
//! A stop counts by the rule of reports (`report::take_card`): by its stamp, so that whatever was decided of the card since stands. Deliberately not here: what
//! else a store does with cards. Invariant: a journal that comes late stops cards and never puts one into use again, not even one that it stopped itself
//! in an earlier segment: that is a person's to decide.

use std::collections::BTreeMap;

use huitong_protocol::allotment::Purse;
use huitong_protocol::card::{Card, CardChange, CardNumber, CardStatus};
use huitong_protocol::entry::Body;
use huitong_protocol::id::{Epoch, Seq, StoreId};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::Instant;

use crate::inspect::{Inspected, Place, inspect};
use crate::report;
use crate::store::{StoreError, Tx, card, hot, journal, root};

/// What became of cards that others must hear of at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stopped {
    /// Whether a card was stopped, or given free again.
    pub is_urgent: bool,
    /// Where value lies that no card can take any more.
    pub idle: Vec<(StoreId, Purse)>,
}

impl Stopped {
    /// Adds a card that has another status than before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add(&mut self, tx: &mut Tx<'_>, before: &Card, status: CardStatus) -> Result<(), StoreError> {
        if status.is_stopped() != before.status.is_stopped() {
            self.is_urgent = true;
            if status.is_stopped() {
                self.idle.extend(hot::idle(tx, before.account)?);
            }
        }
        Ok(())
    }

    /// Adds all of another.
    pub fn join(&mut self, other: Self) {
        self.is_urgent |= other.is_urgent;
        self.idle.extend(other.idle);
    }
}

/// What a person is told of a stop from before the hub was restored, which it did not know any more. However many stores say it, it is one thing.
#[must_use]
pub fn returned((store, epoch): (StoreId, Epoch), before: &Card, change: &CardChange) -> Finding {
    let Card { number, account, status, .. } = before;
    let stopped_at = Instant(change.stamp.0);
    let words = format!(
        "card {number} of account {account} was {} at {stopped_at}; head office had it {status}",
        change.status
    );
    Finding {
        class: Class::StopReturned,
        store: Some(store),
        subject: format!("card {number} of account {account}"),
        evidence: Evidence::from(words)
            .when(format!("said again by {store}-{epoch}; it is {} as of now", change.status)),
    }
}

/// Takes the stops of a run of an ended epoch's journal, from after one entry through another.
///
/// # Errors
/// [`StoreError`].
pub fn take(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    (after, through): (Seq, Seq),
    now: Instant,
) -> Result<Stopped, StoreError> {
    if through <= after {
        return Ok(Stopped::default());
    }
    let hub = root::hub(tx)?;
    let place = Place { group: hub.group, currency: hub.currency, store, epoch };
    let mut last: BTreeMap<CardNumber, CardChange> = BTreeMap::new();
    for (seq, bytes) in journal::of_kind(tx, (store, epoch), "card_status", (after, through))? {
        let Inspected { fault: None, header: Some(header), body: Some(Body::CardStatus(change)), .. } =
            inspect(&place, seq, &bytes)
        else {
            continue;
        };
        last.insert(change.card, CardChange { number: change.card, status: change.status, stamp: header.stamp });
    }
    let mut stopped = Stopped::default();
    for change in last.into_values().filter(|change| change.status.is_stopped()) {
        // A card that does not exist is named when the entry is reviewed.
        if card::find(tx, change.number)?.is_some()
            && let Some(before) = report::take_card(tx, (store, epoch), &change, now)?
        {
            stopped.add(tx, &before, change.status)?;
        }
    }
    Ok(stopped)
}
