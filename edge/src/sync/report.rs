//! Report: tells the hub the totals of every purse that moved since it last took a report. Rides on each call, and is sent alone when there is none.
//!
//! What counts as told is remembered only when a call that carried it was answered; an answer that was lost makes the next call say it again,
//! which changes nothing at the hub. Invariant: a report names a journal head only if it holds, or the hub has taken before, every counter as it
//! is at that head, so that the hub may compare report and journal there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{Hash, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::{Nothing, REPORT_LINES_MAX, Report, ReportLine, ReportOnly, path};

use super::{Link, SyncError};
use crate::store::{ReadTx, StoreError, allotment, card, cell, sync_state};

/// What was told is written down after this many changes, and when the store stops: a restart repeats the rest, which is harmless.
const NOTE_EVERY_CHANGES: i64 = 1_000;

/// How far the hub knows what moved.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    change_no: i64,
    /// The head of the last report that was complete, once there was one since the start.
    head: Option<Head>,
    noted_change_no: i64,
    incarnation: Option<u64>,
}

/// Purses to be told of although they did not move, each with the number of its last mention: a report that is on its way answers for none that came
/// after it was made.
#[derive(Default)]
struct Mentions {
    numbers: BTreeMap<Purse, u64>,
    last: u64,
}

/// What the hub has taken of our reports, and what it is to be told although it did not move.
pub struct Reported {
    told: Mutex<Told>,
    mentions: Mutex<Mentions>,
}

/// What a report covers, for when it was taken.
#[derive(Clone, Debug)]
pub struct Covered {
    change_no: i64,
    /// The head, when nothing was left for another report.
    head: Option<Head>,
    mentions: Vec<(Purse, u64)>,
}

impl Reported {
    /// Everything up to here was taken before the store last stopped, perhaps more.
    #[must_use]
    pub fn starting_at(change_no: i64) -> Self {
        let told = Told { change_no, noted_change_no: change_no, ..Told::default() };
        Self { told: Mutex::new(told), mentions: Mutex::default() }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mentions(&self) -> MutexGuard<'_, Mentions> {
        self.mentions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next report also says where these purses stand, moved or not: the hub answers with grants that did not arrive.
    pub(super) fn mention(&self, purses: impl IntoIterator<Item = Purse>) {
        let mut mentions = self.mentions();
        for purse in purses {
            mentions.last += 1;
            let number = mentions.last;
            mentions.numbers.insert(purse, number);
        }
    }

    /// What the next report mentions, as much as fits.
    fn mentioned(&self) -> Vec<(Purse, u64)> {
        self.mentions().numbers.iter().map(|(purse, number)| (*purse, *number)).take(REPORT_LINES_MAX).collect()
    }

    /// Whether a restart would repeat reports.
    pub(super) fn is_unnoted(&self) -> bool {
        let told = self.told();
        told.change_no > told.noted_change_no
    }

    /// The last change that the hub took.
    #[must_use]
    pub fn change_no(&self) -> i64 {
        self.told().change_no
    }

    /// A report was taken. Reports overlap and their answers may change places: the furthest counts.
    pub(super) fn took(&self, covered: Covered) {
        if !covered.mentions.is_empty() {
            let mut mentions = self.mentions();
            for (purse, number) in &covered.mentions {
                if mentions.numbers.get(purse).is_some_and(|last| last <= number) {
                    mentions.numbers.remove(purse);
                }
            }
        }
        let mut told = self.told();
        told.change_no = told.change_no.max(covered.change_no);
        if let Some(head) = covered.head
            && told.head.is_none_or(|known| known.seq < head.seq)
        {
            told.head = Some(head);
        }
    }

    /// A hub that was restored has forgotten reports: everything is told again.
    pub(super) fn meet(&self, incarnation: u64) {
        let mut told = self.told();
        if told.incarnation.replace(incarnation).is_some_and(|known| known != incarnation) {
            *told = Told { incarnation: Some(incarnation), ..Told::default() };
        }
    }
}

/// The report of what the hub does not know yet, as much as fits; `None` when it knows everything.
pub(super) fn build(link: &Link) -> Result<Option<(Report, Covered)>, StoreError> {
    // A database that may have forgotten something says nothing of value.
    if !link.store.continuity().is_open() {
        return Ok(None);
    }
    let told = *link.reported.told();
    let committed = link.store.committed();
    let mentions = link.reported.mentioned();
    if told.change_no >= committed.change_no && told.head == Some(committed.head) && mentions.is_empty() {
        return Ok(None);
    }
    link.store.read(|tx| {
        // One read transaction: the head is that of the counters.
        let (head, stamp) = end(tx)?;
        let rows = allotment::changed_after(tx, told.change_no, REPORT_LINES_MAX)?;
        let changes = card::status_changes_after(tx, told.change_no, REPORT_LINES_MAX)?;
        // Both lists are cut at the same change, so that nothing between them is left out.
        let last_row = rows.last().map_or(told.change_no, |(change_no, _)| *change_no);
        let last_change = changes.last().map_or(told.change_no, |(change_no, _)| *change_no);
        let (rows_cut, changes_cut) = (rows.len() == REPORT_LINES_MAX, changes.len() == REPORT_LINES_MAX);
        let through = match (rows_cut, changes_cut) {
            (false, false) => last_row.max(last_change),
            (true, false) => last_row,
            (false, true) => last_change,
            (true, true) => last_row.min(last_change),
        };
        let complete = (!rows_cut && !changes_cut).then_some(head);
        let mut counters: Vec<ReportLine> =
            rows.into_iter().filter(|(no, _)| *no <= through).map(|(_, line)| line).collect();
        let mut mentioned = Vec::new();
        for (purse, number) in mentions {
            if counters.len() == REPORT_LINES_MAX {
                break;
            }
            if !counters.iter().any(|line| line.purse() == purse) {
                counters.push(line_of(tx, purse)?);
            }
            mentioned.push((purse, number));
        }
        let report = Report {
            epoch: link.session.enrolment().epoch,
            head: complete.or(told.head).unwrap_or(Head::START),
            end: head,
            since_no: told.change_no.unsigned_abs(),
            through_no: through.unsigned_abs(),
            stamp,
            counters,
            cards: changes.into_iter().filter(|(no, _)| *no <= through).map(|(_, change)| change).collect(),
        };
        Ok(Some((report, Covered { change_no: through, head: complete, mentions: mentioned })))
    })
}

/// A purse as it stands, also when it never moved here.
fn line_of(tx: &ReadTx<'_>, purse: Purse) -> Result<ReportLine, StoreError> {
    let stamp = tx.one(
        "read an allotment's stamp",
        "SELECT stamp FROM allotment WHERE account = ?1 AND unit = ?2",
        (purse.account.get(), purse.unit.as_str()),
        |row| cell(row, 0),
    )?;
    let counters = allotment::get(tx, purse)?;
    Ok(ReportLine { account: purse.account, unit: purse.unit, counters, stamp: stamp.map_or(Stamp::ZERO, Stamp) })
}

/// The journal's end as this transaction sees it.
fn end(tx: &ReadTx<'_>) -> Result<(Head, Stamp), StoreError> {
    let last =
        tx.one("read the journal's end", "SELECT seq, hash, stamp FROM entry ORDER BY seq DESC LIMIT 1", (), |row| {
            let read = || Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?, row.get::<_, i64>(2)?));
            read().map_err(StoreError::during("read the journal's end"))
        })?;
    Ok(last.map_or((Head::START, Stamp::ZERO), |(seq, hash, stamp)| {
        (Head { seq: Seq(seq.unsigned_abs()), hash: Hash(hash) }, Stamp(stamp))
    }))
}

/// Sends reports until the hub knows everything that had moved when this was called. While value may not move there is nothing to say.
///
/// # Errors
/// The hub did not answer; what it took before counts.
pub async fn send(link: &Link) -> Result<(), SyncError> {
    let goal = link.store.committed();
    // Tasks that have something to tell at the same time send it once.
    let _one = link.reporting.lock().await;
    loop {
        if !link.store.continuity().is_open() {
            return Ok(());
        }
        let told = *link.reported.told();
        let is_told = told.change_no >= goal.change_no && told.head.is_some_and(|head| head.seq >= goal.head.seq);
        if is_told && link.reported.mentions().numbers.is_empty() {
            break;
        }
        let Nothing {} = link.call(path::REPORT, ReportOnly {}).await?;
    }
    let told = *link.reported.told();
    if told.change_no >= told.noted_change_no.saturating_add(NOTE_EVERY_CHANGES) {
        note(link).await?;
    }
    Ok(())
}

/// Sends a report also when the hub knows everything: the store is alive.
///
/// # Errors
/// The hub did not answer.
pub async fn send_alive(link: &Link) -> Result<(), SyncError> {
    let Nothing {} = link.call(path::REPORT, ReportOnly {}).await?;
    send(link).await
}

/// Writes down how far the hub was told.
///
/// # Errors
/// The database could not be written.
pub async fn note(link: &Link) -> Result<(), StoreError> {
    let change_no = link.reported.change_no();
    link.store.write(move |tx| sync_state::reported(tx, change_no)).await?;
    link.reported.told().noted_change_no = change_no;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::purse;
    use super::*;

    #[test]
    fn a_report_on_its_way_answers_for_no_mention_that_came_after_it() {
        let reported = Reported::starting_at(0);
        let cover = || Covered { change_no: 0, head: None, mentions: reported.mentioned() };
        let waiting = || reported.mentioned().into_iter().map(|(purse, _)| purse).collect::<Vec<_>>();
        reported.mention([purse(1), purse(2)]);
        let first = cover();
        reported.mention([purse(1)]);
        let second = cover();
        reported.took(first);
        assert_eq!(waiting(), [purse(1)], "it was mentioned once more");
        reported.took(second);
        assert_eq!(waiting(), []);
    }
}
