//! Unsold: cards whose sale was undone and that cannot be sold again yet, and why: for whoever looks at one, and for who has to do something about a store that
//! keeps them out of sale for days.
//!
//! When one can be sold again `crate::reconcile` decides, by the same look. Invariant: what is shown as the reason is what is waited for.

use std::collections::{BTreeMap, BTreeSet};

use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::{EntryId, Epoch, StoreId};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::Instant;
use serde::Serialize;

use crate::exception::close_by_itself;
use crate::lender::{Awaited, Lenders, Why};
use crate::report::behind;
use crate::store::exception::{self, Filter};
use crate::store::{StoreError, Tx, card};

/// How long cards wait for a store until somebody is told: longer than one is shut over a holiday weekend.
const WAIT_MS_MIN: i64 = 3 * 86_400_000;

/// Why a card that is in nobody's hands is not sold again yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Unsold {
    /// Since when it is in nobody's hands.
    pub since_ms: Instant,
    /// What its account holds, in words: that is somebody's.
    pub holds: Option<String>,
    /// What its account owes for overdrafts, in minor units.
    pub owed_minor: i64,
    /// What its account was collected too much, in minor units.
    pub excess_minor: i64,
    /// Stores that may have lent on it without head office knowing yet.
    pub waits_for: Vec<Awaited>,
}

/// Why a card is not sold again yet; nothing when that is no question.
///
/// # Errors
/// [`StoreError`].
pub fn look(tx: &mut Tx<'_>, card: &Card) -> Result<Option<Unsold>, StoreError> {
    if card.status != CardStatus::Withdrawn {
        return Ok(None);
    }
    let lenders = Lenders::read(tx)?;
    why(tx, &lenders, card).map(Some)
}

/// As [`look`], of a card that was withdrawn.
///
/// # Errors
/// [`StoreError`].
pub fn why(tx: &mut Tx<'_>, lenders: &Lenders, card: &Card) -> Result<Unsold, StoreError> {
    let mut unsold = Unsold {
        since_ms: Instant(card.status_stamp.0),
        holds: behind(tx, card)?,
        owed_minor: 0,
        excess_minor: 0,
        waits_for: Vec::new(),
    };
    // What somebody else's card owes too keeps this one nowhere.
    if !card::others_in_use(tx, card)? {
        (unsold.owed_minor, unsold.excess_minor) = lenders.debt(tx, card.account)?;
        unsold.waits_for = lenders.awaited(card.account, (card::version(tx, card.number)?, None));
    }
    Ok(unsold)
}

impl Unsold {
    /// Whether nothing keeps it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.holds.is_none() && (self.owed_minor, self.excess_minor) == (0, 0) && self.waits_for.is_empty()
    }
}

/// What there is to say of cards whose sale was undone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that can be sold again.
    pub sellable: Vec<CardNumber>,
    /// Stores that keep some out of sale for days, and nobody was told.
    pub findings: Vec<Finding>,
    /// What such exceptions are about that are over.
    pub over: Vec<String>,
}

/// Cards that one store keeps out of sale.
#[derive(Default)]
struct Kept {
    why: BTreeSet<(Why, Option<EntryId>)>,
    last_heard_ms: Option<Instant>,
    cards: BTreeSet<CardNumber>,
    since_ms: Option<Instant>,
}

/// Looks at all of them.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, now: Instant) -> Result<Found, StoreError> {
    let (mut found, mut kept) = (Found::default(), BTreeMap::<(StoreId, Epoch), Kept>::new());
    let withdrawn = card::withdrawn(tx)?;
    if !withdrawn.is_empty() {
        let lenders = Lenders::read(tx)?;
        for number in withdrawn {
            let Some(card) = card::find(tx, number)? else { continue };
            let unsold = why(tx, &lenders, &card)?;
            if unsold.is_over() {
                found.sellable.push(number);
            }
            if now.0.saturating_sub(unsold.since_ms.0) < WAIT_MS_MIN {
                continue;
            }
            for at in unsold.waits_for {
                let of = kept.entry((at.store, at.epoch)).or_default();
                of.why.insert((at.why, at.entry));
                of.cards.insert(number);
                of.last_heard_ms = at.last_heard_ms;
                of.since_ms = of.since_ms.into_iter().chain([unsold.since_ms]).min();
            }
        }
    }
    let subject = |(store, epoch): (StoreId, Epoch)| format!("{store}-{epoch}");
    let held: BTreeSet<String> = kept.keys().map(|&of| subject(of)).collect();
    for (of, kept) in kept {
        let evidence = kept.why.iter().fold(Evidence::default(), |evidence, (why, entry)| {
            let evidence = evidence.and(format!("{} {}", of.0, why.words()));
            entry.iter().fold(evidence, |evidence, &entry| evidence.entry(entry))
        });
        let since = kept.since_ms.map_or_else(String::new, |since| format!(", the first since {since}"));
        let heard = kept.last_heard_ms.map_or_else(|| "never heard".to_owned(), |at| format!("last heard at {at}"));
        let evidence = evidence.when(format!("{} cards wait{since}; it was {heard}", kept.cards.len()));
        let finding = Finding { class: Class::UnsoldWaits, store: Some(of.0), subject: subject(of), evidence };
        if exception::is_news(tx, &finding)? {
            found.findings.push(finding);
        }
    }
    let filter = Filter { class: Some(Class::UnsoldWaits), ..Filter::default() };
    let open = exception::list(tx, &filter)?.into_iter().map(|open| open.subject);
    found.over = open.filter(|subject| !held.contains(subject)).collect();
    Ok(found)
}

/// Closes what is about a store that keeps no card out of sale any more.
///
/// # Errors
/// [`StoreError`].
pub fn close(tx: &mut Tx<'_>, subject: &str, now: Instant) -> Result<(), StoreError> {
    close_by_itself(tx, Class::UnsoldWaits, subject, "no card waits for it any more", now).map(drop)
}
