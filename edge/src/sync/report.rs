//! Report: tells the hub the totals of every purse that moved since it last took a report. Rides on each call, and is sent alone when there is none.
//!
//! What counts as told is remembered only when a call that carried it was answered; an answer that was lost makes the next call say it again,
//! which changes nothing at the hub. What the hub refused is told again with each session and each report that says that the store is alive, until it is
//! taken: its cause may have been put right. Till then what it gave back is in no pool. A hub that was restored has forgotten what it took: all is told again from the beginning, in one session and until
//! no line of it was refused, as the hub grants nothing before. Invariants: what was told to one life of the hub never counts as told to another; a report names a journal head only if it holds, or the hub has taken before, every counter as it
//! is at that head, so that the hub may compare report and journal there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{Hash, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::{Nothing, REPORT_LINES_MAX, Report, ReportLine, ReportOnly, path};

use super::session::Live;
use super::{Link, SyncError};
use crate::store::{ReadTx, StoreError, allotment, card, cell, sync_state};

/// What was told is written down after this many changes, and when the store stops: a restart repeats the rest, which is harmless.
const NOTE_EVERY_CHANGES: i64 = 1_000;

/// How many refused purses are told again at a time: a till may wait for what else the message says.
const AGAIN_MAX: usize = 200;
/// How many refused purses are written down. While there are more, nothing is: a restart begins where it was written down last, and finds them.
const REFUSED_NOTED_MAX: usize = 5_000;

/// How far the hub knows what moved.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    change_no: i64,
    /// The head of the last report that was complete, once there was one since the start.
    head: Option<Head>,
    noted_change_no: i64,
    /// The last change of what is refused that was written down.
    noted_refused: u64,
    /// The life of the hub that was told.
    life: u64,
    /// The last session whose welcome was taken to heart.
    met_session: u64,
    /// How often it began from nothing: what was told before says nothing of this time.
    time: u64,
    /// The last session in which it began from nothing because the hub missed something. Once a session is enough, or it would never end.
    anew_in: u64,
    /// Told from the beginning and not yet whole. Nothing of it is written down, so that a restart begins anew.
    retelling: Option<Retelling>,
}

/// All that the store has, being told in one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Retelling {
    /// The session; 0 before there is one.
    session: u64,
    /// Whether a line was refused: it is not whole then, and told anew in the next session.
    is_refused: bool,
}

impl Told {
    /// Nothing is told to this life of the hub.
    const fn nothing(life: u64, session: u64, time: u64) -> Self {
        let retelling = Some(Retelling { session, is_refused: false });
        Self {
            change_no: 0,
            head: None,
            noted_change_no: 0,
            noted_refused: 0,
            life,
            met_session: session,
            time,
            anew_in: 0,
            retelling,
        }
    }
}

/// Purses to be told of although they did not move, each with the number of its last mark: a report that is on its way answers for none that came
/// after it was made.
#[derive(Default)]
struct Marks {
    numbers: BTreeMap<Purse, u64>,
    /// Rises with every change.
    last: u64,
}

impl Marks {
    fn mark(&mut self, purse: Purse) {
        self.last += 1;
        self.numbers.insert(purse, self.last);
    }

    fn answered(&mut self, covered: &[(Purse, u64)]) {
        for (purse, number) in covered {
            if self.numbers.get(purse).is_some_and(|last| last <= number) {
                self.numbers.remove(purse);
                self.last += 1;
            }
        }
    }

    /// Those that were marked longest ago.
    fn oldest(&self, most: usize) -> Vec<Purse> {
        let mut marked: Vec<(u64, Purse)> = self.numbers.iter().map(|(purse, number)| (*number, *purse)).collect();
        marked.sort_unstable();
        marked.into_iter().take(most).map(|(_, purse)| purse).collect()
    }
}

/// What the hub has taken of our reports, and what it is to be told although it did not move.
pub struct Reported {
    told: Mutex<Told>,
    mentions: Mutex<Marks>,
    /// What the hub refused last time, and has not taken since.
    refused: Mutex<Marks>,
}

/// What a report covers, for when it was taken.
#[derive(Clone, Debug)]
pub struct Covered {
    /// The life of the hub, and the session, in which it was told.
    told_in: (u64, u64),
    time: u64,
    change_no: i64,
    /// The head, when nothing was left for another report.
    head: Option<Head>,
    mentions: Vec<(Purse, u64)>,
    /// Purses that were refused before.
    again: Vec<(Purse, u64)>,
}

impl Covered {
    /// The purses that it told again after they were refused.
    pub(super) fn told_again(&self) -> Vec<Purse> {
        self.again.iter().map(|(purse, _)| *purse).collect()
    }
}

impl Reported {
    /// Everything up to here was taken by this life of the hub before the store last stopped, perhaps more. From 0 on nothing was, or not all of it.
    #[must_use]
    pub fn starting_at(change_no: i64, life: u64) -> Self {
        let told = match change_no {
            0 => Told::nothing(life, 0, 0),
            _ => Told { change_no, noted_change_no: change_no, life, ..Told::default() },
        };
        Self { told: Mutex::new(told), mentions: Mutex::default(), refused: Mutex::default() }
    }

    /// As it was written down, these were refused.
    #[must_use]
    pub fn with_refused(self, purses: impl IntoIterator<Item = Purse>) -> Self {
        let last = {
            let mut refused = self.refused();
            purses.into_iter().for_each(|purse| refused.mark(purse));
            refused.last
        };
        self.told().noted_refused = last;
        self
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mentions(&self) -> MutexGuard<'_, Marks> {
        self.mentions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, Marks> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next report also says where these purses stand, moved or not: the hub answers with grants that did not arrive.
    pub(super) fn mention(&self, purses: impl IntoIterator<Item = Purse>) {
        let mut mentions = self.mentions();
        purses.into_iter().for_each(|purse| mentions.mark(purse));
    }

    /// The next report tells again what was refused, as much as may be told at a time, what was told longest ago first.
    fn mention_refused(&self) {
        let refused = self.refused().oldest(AGAIN_MAX);
        self.mention(refused);
    }

    /// Those of a report's purses that were refused before.
    fn again(&self, counters: &[ReportLine]) -> Vec<(Purse, u64)> {
        let refused = self.refused();
        let known = counters.iter().map(ReportLine::purse);
        known.filter_map(|purse| refused.numbers.get(&purse).map(|number| (purse, *number))).collect()
    }

    /// What the next report mentions, as much as fits.
    fn mentioned(&self) -> Vec<(Purse, u64)> {
        self.mentions().numbers.iter().map(|(purse, number)| (*purse, *number)).take(REPORT_LINES_MAX).collect()
    }

    /// Whether a restart would repeat reports although it need not.
    pub(super) fn is_unnoted(&self) -> bool {
        let (told, refused) = (self.told(), self.refused());
        let is_news = told.change_no > told.noted_change_no || refused.last != told.noted_refused;
        told.retelling.is_none() && is_news && refused.numbers.len() <= REFUSED_NOTED_MAX
    }

    /// The last change that the hub took.
    #[must_use]
    pub fn change_no(&self) -> i64 {
        self.told().change_no
    }

    /// A report was taken, with the lines of some purses refused or of none. Reports overlap and their answers may change places: the furthest counts. What
    /// an earlier life of the hub took says nothing.
    pub(super) fn took(&self, covered: Covered, refused: &[Purse]) {
        self.keep(covered, refused, !refused.is_empty());
    }

    fn keep(&self, covered: Covered, refused: &[Purse], is_refused: bool) {
        let mut told = self.told();
        let (life, session) = covered.told_in;
        let is_over = told.retelling.is_some_and(|retelling| retelling.session != session);
        if told.life != life || told.time != covered.time || is_over {
            return;
        }
        if !covered.mentions.is_empty() {
            self.mentions().answered(&covered.mentions);
        }
        if !covered.again.is_empty() || !refused.is_empty() {
            let mut marks = self.refused();
            marks.answered(&covered.again);
            refused.iter().for_each(|purse| marks.mark(*purse));
        }
        if let Some(retelling) = &mut told.retelling {
            retelling.is_refused |= is_refused;
        }
        told.change_no = told.change_no.max(covered.change_no);
        if let Some(head) = covered.head {
            if told.head.is_none_or(|known| known.seq < head.seq) {
                told.head = Some(head);
            }
            told.retelling = told.retelling.filter(|retelling| retelling.is_refused);
        }
    }

    /// The hub answered that it misses something before this report, and waits for everything: all is told from the beginning. After a refused line it
    /// always misses something; that is told once more in its time.
    pub(super) fn untold(&self, covered: Covered, refused: &[Purse]) {
        let mut told = self.told();
        let (life, session) = covered.told_in;
        let is_of_now = (told.life, told.time) == (life, covered.time);
        if !is_of_now || told.retelling.is_some_and(|retelling| retelling.session != session) {
            return;
        }
        if told.anew_in < session && !told.retelling.is_some_and(|retelling| retelling.is_refused) {
            *told = Told { anew_in: session, ..Told::nothing(life, session, told.time + 1) };
            return;
        }
        // Whatever was believed, it is not whole.
        told.retelling.get_or_insert(Retelling { session, is_refused: true });
        drop(told);
        self.keep(covered, refused, true);
    }

    /// A session began, or goes on. One of a later life of the hub is told everything, and so is one whose hub waits for everything, whatever this store
    /// believes that it has told; what was told in halves is told from the beginning.
    pub(super) fn meet(&self, life: u64, session: u64, tells_all: bool) {
        let mut told = self.told();
        if life < told.life {
            return;
        }
        let is_first = told.met_session < session;
        let is_anew = told.retelling.is_some_and(|retelling| retelling.session < session);
        if life > told.life || is_anew || (is_first && tells_all) {
            *told = Told::nothing(life, session, told.time + 1);
        }
        told.met_session = told.met_session.max(session);
        drop(told);
        if is_first {
            self.mention_refused();
        }
    }

    /// What was told to its end and refused in part is told once more: its cause may have been put right. Not at once, or it would never end.
    fn retell(&self) {
        let mut told = self.told();
        if let Some(Retelling { session, is_refused: true }) = told.retelling
            && told.head.is_some()
        {
            *told = Told::nothing(told.life, session, told.time + 1);
        }
    }

    /// What was told, for a report in this session. None for a session that is over: nothing it says is heard.
    fn told_within(&self, life: u64, session: u64, tells_all: bool) -> Option<Told> {
        self.meet(life, session, tells_all);
        let told = *self.told();
        let is_over = told.life != life || told.retelling.is_some_and(|retelling| retelling.session != session);
        (!is_over).then_some(told)
    }
}

/// The report of what the hub does not know yet, as much as fits; `None` when it knows everything.
pub(super) fn build(link: &Link, live: &Live) -> Result<Option<(Report, Covered)>, StoreError> {
    // A database that may have forgotten something says nothing of value.
    if !link.store.continuity().is_open() {
        return Ok(None);
    }
    let told_in = (live.turn.life, live.number);
    let tells_all = live.welcome.tells_all;
    let Some(told) = link.reported.told_within(told_in.0, told_in.1, tells_all) else { return Ok(None) };
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
            // Nothing is left to tell, also where the last numbers were of what is not told any more.
            (false, false) => committed.change_no.max(last_row).max(last_change),
            (true, false) => last_row,
            (false, true) => last_change,
            (true, true) => last_row.min(last_change),
        };
        let complete = (!rows_cut && !changes_cut).then_some(head);
        let mut counters: Vec<ReportLine> =
            rows.into_iter().filter(|(no, _)| *no <= through).map(|(_, line)| line).collect();
        let mut mentioned = Vec::new();
        for (purse, number) in mentions {
            // A report as long as one may be looks like a part of a longer one.
            if counters.len() + 1 >= REPORT_LINES_MAX {
                break;
            }
            if !counters.iter().any(|line| line.purse() == purse) {
                counters.push(line_of(tx, purse)?);
            }
            mentioned.push((purse, number));
        }
        let epoch = link.session.enrolment().epoch;
        link.store.continuity().telling(epoch, head)?;
        let again = link.reported.again(&counters);
        let report = Report {
            epoch,
            head: complete.or(told.head).unwrap_or(Head::START),
            end: head,
            since_no: told.change_no.unsigned_abs(),
            through_no: through.unsigned_abs(),
            stamp,
            counters,
            cards: changes.into_iter().filter(|(no, _)| *no <= through).map(|(_, change)| change).collect(),
        };
        Ok(Some((
            report,
            Covered { told_in, time: told.time, change_no: through, head: complete, mentions: mentioned, again },
        )))
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
    let counters = allotment::get(tx, purse)?.counters;
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

/// Sends reports until the hub knows everything that had moved when this was called. A store whose value may not move says nothing of value: then this
/// is done at once, and the hub knows no more than before.
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

/// Sends a report also when the hub knows everything: the store is alive. What the hub refused is told once more.
///
/// # Errors
/// The hub did not answer.
pub async fn send_alive(link: &Link) -> Result<(), SyncError> {
    link.reported.retell();
    link.reported.mention_refused();
    let Nothing {} = link.call(path::REPORT, ReportOnly {}).await?;
    send(link).await
}

/// Writes down how far the hub was told, and what it refused of that; nothing while it is told from the beginning.
///
/// # Errors
/// The database could not be written.
pub async fn note(link: &Link) -> Result<(), StoreError> {
    // In this order: what is refused of that is among them.
    let told = *link.reported.told();
    let (refused, refused_no) = {
        let refused = link.reported.refused();
        (refused.numbers.keys().copied().collect::<Vec<_>>(), refused.last)
    };
    if told.retelling.is_some() || refused.len() > REFUSED_NOTED_MAX {
        return Ok(());
    }
    let end = link.session.reported_to(told.life);
    let noted = link.store.write(move |tx| {
        // The hub may have been restored in the meantime.
        let is_same = tx.chain().hub_turn.life == told.life;
        if is_same {
            sync_state::reported(tx, told.change_no, end)?;
            sync_state::put_refused(tx, &refused)?;
        }
        Ok::<_, StoreError>(is_same)
    });
    if noted.await? {
        let mut known = link.reported.told();
        if known.life == told.life && known.retelling.is_none() {
            known.noted_change_no = told.change_no;
            known.noted_refused = refused_no;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::purse;
    use super::*;

    fn told(reported: &Reported) -> (i64, bool) {
        (reported.change_no(), reported.is_unnoted())
    }

    fn part(of: &Reported, told_in: (u64, u64), change_no: i64, is_last: bool) -> Covered {
        let (time, head) = (of.told().time, is_last.then_some(Head::START));
        Covered { told_in, time, change_no, head, mentions: Vec::new(), again: Vec::new() }
    }

    #[test]
    fn a_report_on_its_way_answers_for_no_mention_that_came_after_it() {
        let reported = Reported::starting_at(1, 0);
        let cover = || {
            let mentions = reported.mentioned();
            Covered { told_in: (0, 1), time: 0, change_no: 1, head: None, mentions, again: Vec::new() }
        };
        let waiting = || reported.mentioned().into_iter().map(|(purse, _)| purse).collect::<Vec<_>>();
        reported.mention([purse(1), purse(2)]);
        let first = cover();
        reported.mention([purse(1)]);
        let second = cover();
        reported.took(first, &[]);
        assert_eq!(waiting(), [purse(1)], "it was mentioned once more");
        reported.took(second, &[]);
        assert_eq!(waiting(), []);
    }

    #[test]
    fn what_an_earlier_life_of_the_hub_took_says_nothing_of_a_later_one() {
        let reported = Reported::starting_at(40, 1);
        reported.meet(1, 1, false);
        reported.meet(2, 2, false);
        reported.mention([purse(1)]);
        reported.took(Covered { mentions: reported.mentioned(), ..part(&reported, (1, 1), 50, true) }, &[]);
        assert_eq!((told(&reported), reported.mentioned().len()), ((0, false), 1));
        // Nor does a session that is not over yet, when it comes late to say so.
        reported.meet(1, 1, false);
        assert!(reported.told_within(1, 1, false).is_none());
        reported.took(part(&reported, (2, 2), 50, true), &[]);
        assert_eq!(told(&reported), (50, true));
    }

    #[test]
    fn what_is_told_in_halves_or_refused_is_told_again_in_the_next_session_and_not_written_down() {
        let reported = Reported::starting_at(0, 3);
        reported.meet(3, 1, false);
        reported.took(part(&reported, (3, 1), 20, false), &[]);
        assert_eq!(told(&reported), (20, false), "a restart begins anew");
        reported.meet(3, 2, false);
        assert_eq!(told(&reported), (0, false));
        reported.took(part(&reported, (3, 1), 40, true), &[]);
        assert_eq!(told(&reported), (0, false), "the rest of a run that broke off");
        reported.took(part(&reported, (3, 2), 20, false), &[purse(9)]);
        reported.took(part(&reported, (3, 2), 40, true), &[]);
        assert_eq!(told(&reported), (40, false), "a line was refused");
        reported.meet(3, 3, false);
        reported.took(part(&reported, (3, 3), 40, true), &[]);
        assert_eq!(told(&reported), (40, true));
        reported.meet(3, 4, false);
        assert_eq!(told(&reported), (40, true));
    }

    #[test]
    fn who_left_something_out_begins_anew_once_a_session() {
        let reported = Reported::starting_at(40, 3);
        reported.meet(3, 1, false);
        let (late, doubled) = (part(&reported, (3, 1), 50, true), part(&reported, (3, 1), 50, true));
        reported.untold(late, &[]);
        assert_eq!(told(&reported), (0, false));
        reported.took(part(&reported, (3, 1), 20, false), &[]);
        reported.untold(doubled, &[]);
        assert_eq!(told(&reported), (20, false), "of the time before");
        // It goes on to its end, and tells all once more in its time: never in a circle.
        reported.untold(part(&reported, (3, 1), 40, true), &[]);
        assert_eq!(told(&reported), (40, false));
        reported.retell();
        assert_eq!(told(&reported), (0, false));
        // A refused line is left out of what the hub was told.
        reported.meet(3, 2, true);
        reported.took(part(&reported, (3, 2), 20, false), &[purse(9)]);
        reported.untold(part(&reported, (3, 2), 40, true), &[]);
        assert_eq!(told(&reported), (40, false));
    }

    #[test]
    fn a_hub_that_waits_is_told_everything_whatever_the_store_believes() {
        let reported = Reported::starting_at(40, 3);
        reported.meet(3, 1, false);
        assert_eq!(told(&reported), (40, false));
        reported.meet(3, 2, true);
        assert_eq!(told(&reported), (0, false));
        reported.took(part(&reported, (3, 2), 40, true), &[]);
        reported.meet(3, 2, true);
        assert_eq!(told(&reported), (40, true), "once a session");
    }

    #[test]
    fn what_was_refused_is_told_once_more_in_the_same_session_when_it_is_asked_for() {
        let reported = Reported::starting_at(0, 3);
        reported.meet(3, 1, true);
        reported.took(part(&reported, (3, 1), 20, false), &[purse(9)]);
        reported.retell();
        assert_eq!(told(&reported), (20, false), "the run goes on to its end first");
        reported.took(part(&reported, (3, 1), 40, true), &[]);
        let late = part(&reported, (3, 1), 40, true);
        reported.retell();
        assert_eq!(told(&reported), (0, false));
        reported.took(late, &[]);
        assert_eq!(told(&reported), (0, false), "an answer to what was told the time before");
        reported.took(part(&reported, (3, 1), 40, true), &[]);
        reported.retell();
        assert_eq!(told(&reported), (40, true));
    }

    #[test]
    fn what_was_refused_is_mentioned_with_each_session_until_it_is_taken() {
        let reported = Reported::starting_at(40, 1).with_refused([purse(7)]);
        let waiting = || reported.mentioned().into_iter().map(|(purse, _)| purse).collect::<Vec<_>>();
        // Refused or taken, what was mentioned is told.
        let tell = |session, refused: &[Purse]| {
            let lines = waiting().into_iter().map(|Purse { account, unit }| {
                let (counters, stamp) = (huitong_protocol::allotment::StoreCounters::default(), Stamp::ZERO);
                ReportLine { account, unit, counters, stamp }
            });
            let again = reported.again(&lines.collect::<Vec<_>>());
            let covered = Covered { mentions: reported.mentioned(), again, ..part(&reported, (1, session), 50, true) };
            reported.took(covered, refused);
        };
        assert!(!reported.is_unnoted());
        reported.meet(1, 1, false);
        assert_eq!(waiting(), [purse(7)], "written down before the restart");
        tell(1, &[purse(7)]);
        assert_eq!((waiting(), told(&reported)), (vec![], (50, true)), "not in a circle, and in nobody's way");
        reported.meet(1, 1, false);
        assert_eq!(waiting(), []);
        reported.mention_refused();
        assert_eq!(waiting(), [purse(7)]);
        tell(1, &[purse(7), purse(8)]);
        reported.meet(1, 2, false);
        assert_eq!(waiting(), [purse(7), purse(8)]);
        // An answer to what was told before it was refused again says nothing of it.
        let early = Covered { again: vec![(purse(8), 0)], ..part(&reported, (1, 2), 50, true) };
        tell(2, &[purse(8)]);
        reported.took(early, &[]);
        reported.mention_refused();
        assert_eq!(waiting(), [purse(8)]);
        tell(2, &[]);
        reported.meet(1, 3, false);
        assert_eq!(waiting(), []);
    }

    #[test]
    fn a_great_many_refused_purses_are_told_again_in_turns() {
        let reported = Reported::starting_at(40, 1).with_refused((1..=300).map(purse));
        let turn = || {
            reported.mention_refused();
            let mentions = reported.mentioned();
            let purses: Vec<Purse> = mentions.iter().map(|(purse, _)| *purse).collect();
            let again = {
                let refused = reported.refused();
                purses.iter().map(|purse| (*purse, refused.numbers[purse])).collect()
            };
            reported.took(Covered { mentions, again, ..part(&reported, (1, 0), 50, true) }, &purses);
            purses
        };
        let (first, second) = (turn(), turn());
        assert_eq!((first.len(), first[0]), (AGAIN_MAX, purse(1)));
        assert!(second.contains(&purse(300)) && second.contains(&purse(1)) && !second.contains(&purse(150)));
    }
}
