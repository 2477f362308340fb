//! Reconcile: load, compare, save. Safe to run again: a finding that stands is not raised twice.

use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::{EntryId, Epoch, Seq};
use huitong_protocol::reconcile::{self, Class, Evidence, Finding};
use huitong_protocol::time::{Instant, Stamp};

use crate::exception::close_by_itself;
use crate::lender::Lenders;
use crate::report::behind_subject;
use crate::review;
use crate::store::{Store, StoreError, Tx, card, device, exception, journal, tenure};
use crate::unsold::{self, Found};

/// How long a segment waits for the ones before it until somebody is told: an upload that came out of order is over long before.
const GAP_MS_MIN: i64 = 10 * 60_000;

/// Where reports and journals of the enrolled stores do not agree. Changes nothing.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>) -> Result<Vec<Finding>, StoreError> {
    let reaches = device::reaches(tx)?;
    let mut findings = Vec::new();
    journal::unequal_counters(tx, |pair| {
        // An epoch before the present one reports no more: nothing says how far its last report reached.
        if let Some(reach) = reaches.get(&(pair.store, pair.epoch)) {
            findings.extend(reconcile::counters(&pair, *reach));
        }
    })?;
    Ok(findings)
}

/// Journals of which something is missing that should have come by now. Changes nothing.
///
/// # Errors
/// [`StoreError`].
pub fn gaps(tx: &mut Tx<'_>, now: Instant) -> Result<Vec<Finding>, StoreError> {
    let waiting = tx.query(
        "SELECT store_id, epoch, MIN(first_seq), MIN(received_at_ms) FROM waiting_segment GROUP BY store_id, epoch ORDER BY store_id, epoch",
        &[],
        |row| {
            let epoch = Epoch(u32::try_from(row.integer(1)?).unwrap_or(0));
            Ok::<_, StoreError>((row.parsed(0, "waiting_segment", "store_id")?, epoch, row.integer(2)?, row.integer(3)?))
        },
    )?;
    let mut findings = Vec::new();
    for (store, epoch, first, since) in waiting {
        if now.0.saturating_sub(since) < GAP_MS_MIN {
            continue;
        }
        let head = journal::find(tx, store, epoch)?.head.seq;
        let missing = EntryId { store, epoch, seq: head.next() };
        let first = Seq(u64::try_from(first).unwrap_or(0));
        findings.push(Finding {
            class: Class::Gap,
            store: Some(store),
            subject: format!("{store}-{epoch} after entry {head}"),
            evidence: Evidence::default()
                .differs("next entry", missing.seq, first)
                .when(format!("waiting since {}", Instant(since)))
                .entry(missing),
        });
    }
    Ok(findings)
}

/// What there is to write.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    /// Findings that nobody has.
    findings: Vec<Finding>,
    /// Gaps whose missing entries have come: what each is about, and why it is closed.
    closed: Vec<(String, String)>,
    /// What there is to say of cards whose sale was undone.
    unsold: Found,
}

/// Looks for what there is to write. Changes nothing.
fn changes(tx: &mut Tx<'_>, now: Instant) -> Result<Changes, StoreError> {
    let mut changes = Changes::default();
    for finding in find(tx)?.into_iter().chain(gaps(tx, now)?) {
        if exception::is_news(tx, &finding)? {
            changes.findings.push(finding);
        }
    }
    let filter = exception::Filter { class: Some(Class::Gap), ..exception::Filter::default() };
    for open in exception::list(tx, &filter)? {
        for missing in &open.evidence.entries {
            let head = journal::find(tx, missing.store, missing.epoch)?.head.seq;
            if head >= missing.seq {
                changes.closed.push((open.subject.clone(), format!("the journal goes on to entry {head}")));
            }
        }
    }
    changes.unsold = unsold::find(tx, now)?;
    Ok(changes)
}

/// A withdrawn card, when its account is empty and owes nothing, as far as every store with a line has told. A restored hub knows of none before it has heard
/// every store: it may have forgotten lines and loads.
fn sellable(tx: &mut Tx<'_>, lenders: &Lenders, number: CardNumber) -> Result<Option<Card>, StoreError> {
    if tenure::recovers(tx)? {
        return Ok(None);
    }
    let Some(card) = card::find(tx, number)?.filter(|card| card.status == CardStatus::Withdrawn) else {
        return Ok(None);
    };
    Ok(unsold::why(tx, lenders, &card)?.is_over().then_some(card))
}

/// Writes it, and gives how many exceptions are new. What somebody else has written meanwhile is written once.
fn write(tx: &mut Tx<'_>, changes: &Changes, now: Instant) -> Result<usize, StoreError> {
    for (subject, note) in &changes.closed {
        close_by_itself(tx, Class::Gap, subject, note, now)?;
    }
    for subject in &changes.unsold.over {
        unsold::close(tx, subject, now)?;
    }
    let lenders = Lenders::read(tx)?;
    for &number in &changes.unsold.sellable {
        if let Some(card) = sellable(tx, &lenders, number)? {
            card::set_status(tx, number, CardStatus::Blank, Stamp::next(now, card.status_stamp, Stamp::ZERO))?;
            let note = format!("account {} is empty; card {number} can be sold again", card.account);
            close_by_itself(tx, Class::BlankWithValue, &behind_subject(card.account), &note, now)?;
        }
    }
    let mut new = 0;
    for finding in changes.findings.iter().chain(&changes.unsold.findings) {
        new += usize::from(exception::raise(tx, finding, now)?);
    }
    Ok(new)
}

/// Compares, reviews what is new, and raises an exception for each finding. Gives how many are new.
///
/// # Errors
/// [`StoreError`].
pub async fn run(store: &Store, now: Instant) -> Result<usize, StoreError> {
    let reviewed = review::run(store, now).await?;
    let changes = store.read(move |tx| changes(tx, now)).await?;
    if changes == Changes::default() {
        return Ok(reviewed);
    }
    Ok(reviewed + store.write(move |tx| write(tx, &changes, now)).await?)
}
