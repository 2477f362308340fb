//! Stops: cards that an epoch froze or reported lost and told nobody of before it ended: in quarantine, or since its last report. Its journal says so when it
//! is taken, and then they are stopped in every store.
//!
//! A stop counts by the rule of reports (`report::take_card`): by its stamp, so that whatever was decided of the card since stands. Deliberately not here: what
//! else a store does with cards. Invariant: a journal that comes late stops cards and never puts one into use again, not even one that it stopped itself
//! in an earlier segment: that is a person's to decide.

use std::collections::BTreeMap;

use huitong_protocol::card::{CardChange, CardNumber, CardStatus};
use huitong_protocol::entry::Body;
use huitong_protocol::id::{Epoch, Seq, StoreId};
use huitong_protocol::time::Instant;

use crate::ingest::{Inspected, Place, inspect};
use crate::report;
use crate::store::{StoreError, Tx, card, journal, root};

/// Whether a card is out of use because somebody said so.
#[must_use]
pub const fn is_stop(status: CardStatus) -> bool {
    matches!(status, CardStatus::Frozen | CardStatus::Lost)
}

/// Takes the stops of a run of an ended epoch's journal, from after one entry through another. Gives whether a card was stopped: other stores must hear
/// of it at once.
///
/// # Errors
/// [`StoreError`].
pub fn take(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    (after, through): (Seq, Seq),
    now: Instant,
) -> Result<bool, StoreError> {
    if through <= after {
        return Ok(false);
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
    let mut stopped = false;
    for change in last.into_values().filter(|change| is_stop(change.status)) {
        // A card that does not exist is named when the entry is reviewed.
        if card::find(tx, change.number)?.is_some() {
            stopped |= report::take_card(tx, (store, epoch), &change, now)?;
        }
    }
    Ok(stopped)
}
