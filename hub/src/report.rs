//! Report: what a store says of its counters and cards, taken into the hub's view line by line. A line that cannot be right is refused and recorded; the
//! others are taken.
//!
//! Of two copies of a store neither can be believed: once its journal has forked, its counters stay as they are, and whichever copy calls is told so. Nor is
//! an epoch heard that was ended, or another session than that of the last turn. A hub that was restored takes the reports of each epoch as they come, until it has told everything, since it
//! has forgotten what it granted (`crate::recovery`); who left something out is told to begin anew. What a store adopted beyond its grants proves, else, that the hub was restored and nobody told it: that
//! line is refused and the proof written down, and all else that the store says is taken.
//!
//! Invariant: counters change only by `protocol::allotment::step`; taking a report again, or an older one, changes nothing.

use huitong_protocol::allotment::rule::Sound;
use huitong_protocol::allotment::{self, HubEvent, HubSide, Line, Part, Purse, Refusal as Step};
use huitong_protocol::card::{Card, CardChange, CardStatus};
use huitong_protocol::debt::is_sound_line;
use huitong_protocol::id::{AccountId, Epoch, Seq, StoreId};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::{Instant, STAMP_AHEAD_MS_MAX, Stamp};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{REPORT_LINES_MAX, RefusedLine, Report, ReportLine, SyncFault};

use crate::believed::{self, Said};
use crate::exception::close_by_itself;
use crate::lender::Lenders;
use crate::recovery;
use crate::refusal::Refusal;
use crate::session::Caller;
use crate::stops::{self, Stopped};
use crate::store::allotment::{self as rows, Counted};
use crate::store::root::Hub as Root;
use crate::store::tenure::{self, Standpoint};
use crate::store::{StoreError, Tx, card, device, exception, journal, root};

/// Why counters of the risk account cannot be right.
pub(crate) const UNSOUND_LINE: &str = "the line of the risk account was loaded by more than was drawn from it, came back and was released; only that loads it";

/// What became of a report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Lines that were refused.
    pub refused: Vec<RefusedLine>,
    /// Accounts that it was about.
    pub accounts: Vec<AccountId>,
    /// Whether something was left out before it that the hub waits for: the store is to tell everything anew.
    pub untold: bool,
    /// What became of cards, which other stores must hear of at once.
    pub stopped: Stopped,
}

/// Whether a report may be taken at all.
///
/// # Errors
/// [`SyncFault::Foreign`] for another epoch, [`SyncFault::Malformed`] for too many lines.
pub fn check(caller: Caller, report: &Report) -> Result<(), Refusal> {
    if report.epoch != caller.epoch {
        let words = format!("report.epoch: is {}, the store is enrolled with {}", report.epoch, caller.epoch);
        return Err(Refusal::new(SyncFault::Foreign, words));
    }
    for (field, count) in [("counters", report.counters.len()), ("cards", report.cards.len())] {
        if count > REPORT_LINES_MAX {
            return Err(Refusal::malformed(format!(
                "report.{field}: has {count} rows; at most {REPORT_LINES_MAX} are allowed"
            )));
        }
    }
    for (field, seq) in [("head", report.head.seq), ("end", report.end.seq)] {
        if i64::try_from(seq.0).is_err() {
            return Err(Refusal::malformed(format!("report.{field}.seq: {seq} is no position of a journal")));
        }
    }
    for (field, number) in [("since_no", report.since_no), ("through_no", report.through_no)] {
        if i64::try_from(number).is_err() {
            return Err(Refusal::malformed(format!("report.{field}: {number} is no number of a change")));
        }
    }
    if report.through_no < report.since_no {
        let words = format!("report.through_no: is {}, before report.since_no, {}", report.through_no, report.since_no);
        return Err(Refusal::malformed(words));
    }
    if report.end.seq < report.head.seq {
        let words = format!("report.end.seq: is {}, before report.head.seq, {}", report.end.seq, report.head.seq);
        return Err(Refusal::malformed(words));
    }
    Ok(())
}

/// Whether whoever asks is heard: a living epoch whose journal has not forked, in the session of the hello that was answered last. Asked in the transaction
/// that acts on what they say.
///
/// # Errors
/// [`SyncFault::Fenced`], [`SyncFault::SessionUnknown`], [`SyncFault::StoreUnknown`], [`SyncFault::Copied`].
pub fn admit(tx: &mut Tx<'_>, caller: Caller) -> Result<Standpoint, Refusal> {
    let at = tenure::standpoint(tx, caller.store, caller.epoch)?.ok_or_else(|| {
        let words = format!("store {} was never enrolled here with epoch {}", caller.store, caller.epoch);
        Refusal::new(SyncFault::StoreUnknown, words)
    })?;
    if !at.standing.is_heard(&Sound) {
        return Err(fenced(caller.store, caller.epoch));
    }
    if !allotment::takes_report(&Sound, &(at.hello, at.life), &(caller.hello, caller.life)) {
        let words = "the store has begun another session since; say hello again";
        return Err(Refusal::new(SyncFault::SessionUnknown, words));
    }
    // The copy that brought no contradiction does not know of it, and would spend on.
    if journal::find(tx, caller.store, caller.epoch)?.forked {
        return Err(forked(caller.store, caller.epoch));
    }
    Ok(at)
}

/// The answer to a living epoch of which two journals came. That it is not ended by itself leaves both copies' words to whoever looks into it.
#[must_use]
pub fn forked(store: StoreId, epoch: Epoch) -> Refusal {
    let words = format!(
        "the journal of epoch {epoch} of store {store} came with two different ends, so there are two copies of its database; stop both, and enrol one of \
         them again with a new token"
    );
    Refusal::new(SyncFault::Copied, words)
}

/// The answer to an epoch that ended.
#[must_use]
pub fn fenced(store: StoreId, epoch: Epoch) -> Refusal {
    let words =
        format!("epoch {epoch} of store {store} was ended by head office; enrol the store again with a new token");
    Refusal::new(SyncFault::Fenced, words)
}

/// Takes a checked report.
///
/// # Errors
/// As [`admit`]; nothing is changed then.
pub fn take(tx: &mut Tx<'_>, root: &Root, caller: Caller, report: &Report, now: Instant) -> Result<Taken, Refusal> {
    let at = admit(tx, caller)?;
    let mut taken = Taken::default();
    let (mut releases, mut changed) = (0, false);
    let mut skew = (!report.stamp.is_plausible_at(now)).then_some(report.stamp);
    for line in &report.counters {
        taken.accounts.push(line.account);
        if !line.stamp.is_plausible_at(now) {
            skew = skew.max(Some(line.stamp));
        }
        match take_line(tx, root, (caller, at.is_waited_for), line, now)? {
            Ok(change) => {
                releases += usize::from(change == Change::Released);
                changed |= change != Change::None;
            }
            Err(fault) => {
                let reason = match fault {
                    Fault::Line(class, reason) => {
                        let finding = Finding {
                            class,
                            store: Some(caller.store),
                            subject: format!(
                                "{}-{} account {} {}",
                                caller.store, caller.epoch, line.account, line.unit
                            ),
                            evidence: Evidence::from(reason.clone())
                                .when(format!("reported at entry {}", report.head.seq)),
                        };
                        exception::raise(tx, &finding, now)?;
                        reason
                    }
                    Fault::Older(proof, reason) => {
                        recovery::must_recover(tx, &proof, now)?;
                        reason
                    }
                };
                taken.refused.push(RefusedLine { account: line.account, unit: line.unit, reason });
            }
        }
    }
    for change in &report.cards {
        if let Some(before) = take_card(tx, (caller.store, caller.epoch), change, now)? {
            taken.stopped.add(tx, &before, change.status)?;
        }
    }
    if let Some(stamp) = skew {
        let finding = Finding {
            class: Class::ClockSkew,
            store: Some(caller.store),
            subject: format!("{}-{}", caller.store, caller.epoch),
            evidence: Evidence::from("the store's clock is ahead of the hub's".to_owned()).when(format!(
                "stamp {} is {} ms ahead",
                stamp.0,
                stamp.0.saturating_sub(now.0)
            )),
        };
        exception::raise(tx, &finding, now)?;
    }
    let part = part(&at, report, !taken.refused.is_empty());
    taken.untold = at.is_waited_for && at.told.misses_before(&Sound, &part);
    // Up to its head everything was told only when nothing was left out before it.
    let through = if taken.untold { Seq::ZERO } else { report.head.seq };
    device::reported(tx, caller.store, caller.epoch, through, changed, now)?;
    if report.end.seq > at.heard.seq {
        tenure::hear(tx, caller.store, caller.epoch, &report.end)?;
    }
    if at.is_waited_for {
        if let Some(RefusedLine { account, unit, reason }) = taken.refused.first() {
            let others = match taken.refused.len() - 1 {
                0 => String::new(),
                others => format!("; and {others} more lines"),
            };
            let what = format!("account {account} {unit}: {reason}{others}");
            tenure::refused(tx, caller.store, caller.epoch, &what)?;
        }
        let told = at.told.step(&Sound, &part);
        if told.is_whole {
            tenure::told(tx, caller.store, caller.epoch)?;
            believed::raise(tx, (caller.store, caller.epoch), Said::Reported, now)?;
        } else if told != at.told {
            tenure::tells(tx, (caller.store, caller.epoch), &told, report.since_no == 0)?;
        }
    }
    rows::count(tx, Counted::Reports, 1)?;
    rows::count(tx, Counted::Releases, releases)?;
    Ok(taken)
}

/// Where a report stands in what its store has to tell.
fn part(at: &Standpoint, report: &Report, is_refused: bool) -> Part {
    let Report { since_no, through_no, .. } = *report;
    Part { life: at.told.life, since_no, through_no, is_last: is_last(report), is_refused }
}

/// Whether nothing was left for another part when it was made. A part that was cut names an earlier end as its head; when the journal is empty both are the
/// same, and only its length tells.
fn is_last(report: &Report) -> bool {
    let is_cut = report.counters.len() >= REPORT_LINES_MAX || report.cards.len() >= REPORT_LINES_MAX;
    report.head == report.end && !is_cut
}

/// What a line did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Nothing: the hub knew.
    None,
    /// It raised counters.
    Raised,
    /// It gave value back.
    Released,
}

/// Why a line was not taken, and what the store is told.
enum Fault {
    /// It cannot be right.
    Line(Class, String),
    /// It proves that the hub's own database is older than it was.
    Older(Box<Finding>, String),
}

impl Fault {
    fn refused(words: impl Into<String>) -> Self {
        Self::Line(Class::ReportRefused, words.into())
    }
}

type Judged = Result<Change, Fault>;

fn take_line(
    tx: &mut Tx<'_>,
    root: &Root,
    (caller, recovers): (Caller, bool),
    reported: &ReportLine,
    now: Instant,
) -> Result<Judged, Refusal> {
    let purse: Purse = reported.purse();
    if purse.unit != Unit::Points && purse.unit != Unit::Money(root.currency) {
        return Ok(Err(Fault::refused(format!("the unit {} is not one of this group", purse.unit))));
    }
    if purse.account == AccountId::RISK && !is_sound_line(&Sound, &reported.counters) {
        return Ok(Err(Fault::refused(UNSOUND_LINE)));
    }
    let (pool, stamp) = rows::take_pool(tx, purse)?;
    let held = rows::line(tx, purse, caller.store, caller.epoch)?;
    if held.is_none() && !card::opens(tx, purse.account)? {
        return Ok(Err(Fault::refused(format!("account {} does not exist", purse.account))));
    }
    let before = HubSide { pool, line: held.unwrap_or_default() };
    let counters = reported.counters;
    let event = if recovers { HubEvent::Recover { counters } } else { HubEvent::Report { counters } };
    let after = match allotment::step(&before, event) {
        Ok(after) => after,
        // Whatever was granted was written down before it was said.
        Err(why @ Step::AdoptedBeyondGrant { .. }) => {
            let what = format!("of account {} in {} {why}", purse.account, purse.unit);
            let proof = recovery::proof(tx, caller.store, caller.epoch, &what)?;
            return Ok(Err(Fault::Older(Box::new(proof), recovery::older_words(&what))));
        }
        Err(refusal) => {
            let class = if refusal == Step::Diverged { Class::CounterBackwards } else { Class::ReportRefused };
            return Ok(Err(Fault::Line(class, refusal.to_string())));
        }
    };
    let risen = if reported.stamp.is_plausible_at(now) { stamp.max(reported.stamp) } else { stamp };
    if after != before || risen != stamp || held.is_none() {
        if recovers {
            believed::note(tx, (caller.store, caller.epoch), purse, (&before.line, &after.line))?;
        }
        write(tx, purse, caller, &before, &after, stamp, risen)?;
    }
    Ok(Ok(match () {
        () if after.pool.released_minor > before.pool.released_minor => Change::Released,
        () if after != before => Change::Raised,
        () => Change::None,
    }))
}

fn write(
    tx: &mut Tx<'_>,
    purse: Purse,
    caller: Caller,
    before: &HubSide,
    after: &HubSide,
    stamp: Stamp,
    risen: Stamp,
) -> Result<(), StoreError> {
    if after.pool != before.pool || risen != stamp || before.line == Line::default() {
        rows::put_pool(tx, purse, &after.pool, risen)?;
    }
    if after.line != before.line || before.line == Line::default() {
        rows::put_line(tx, purse, caller.store, caller.epoch, &after.line)?;
    }
    Ok(())
}

/// Takes what an epoch says of a card's status, unless something said of it later stands. Gives the card as it was before, when it changed. A stop from before
/// the hub was restored counts as of now, and a person is told of it.
///
/// # Errors
/// [`StoreError`].
pub fn take_card(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    change: &CardChange,
    now: Instant,
) -> Result<Option<Card>, StoreError> {
    const BY_STORES: [CardStatus; 5] =
        [CardStatus::Blank, CardStatus::Active, CardStatus::Frozen, CardStatus::Lost, CardStatus::Withdrawn];
    let raise = |tx: &mut Tx<'_>, class: Class, evidence: String| {
        let finding = Finding {
            class,
            store: Some(store),
            subject: format!("{store}-{epoch} card {} {}", change.number, change.stamp.0),
            evidence: evidence.into(),
        };
        exception::raise(tx, &finding, now).map(drop)
    };
    let Some(card) = card::find(tx, change.number)? else {
        let why = format!("no card {} to be {}", change.number, change.status);
        return raise(tx, Class::CardChangeRefused, why).map(|()| None);
    };
    // News from a clock that runs ahead counts as of now: it must not overrule what others say later.
    let stamp = change.stamp.min(Stamp(now.0.saturating_add(STAMP_AHEAD_MS_MAX)));
    if stamp < card.status_stamp && overtakes_a_stop(tx, &card, change.status, stamp)? {
        let evidence = format!(
            "card {} was {} with stamp {}; it is {} with stamp {}",
            change.number, change.status, stamp.0, card.status, card.status_stamp.0
        );
        raise(tx, Class::StopOvertaken, evidence)?;
    }
    if stamp <= card.status_stamp || (stamp != change.stamp && change.status == card.status) {
        return Ok(None);
    }
    // A sale is undone while the card is in use: whoever froze it meanwhile meant it.
    let is_undone = matches!(change.status, CardStatus::Blank | CardStatus::Withdrawn);
    let may_be_undone = matches!(card.status, CardStatus::Blank | CardStatus::Active | CardStatus::Withdrawn);
    if !BY_STORES.contains(&card.status) || !BY_STORES.contains(&change.status) || (is_undone && !may_be_undone) {
        let why = format!("card {} is {}; a store cannot make it {}", change.number, card.status, change.status);
        return raise(tx, Class::CardChangeRefused, why).map(|()| None);
    }
    // Only here it is known whether anything is left behind a card that was sold: while there is, nobody can buy it.
    let held = if is_undone { behind(tx, &card)? } else { None };
    // A debt, or one that may come yet, keeps the card out of sale too, until reconcile finds that there is none. A restored hub may have forgotten both, and
    // what other stores hold.
    let owes = is_undone
        && !card::others_in_use(tx, &card)?
        && (tenure::recovers(tx)? || Lenders::read(tx)?.may_stand(tx, card.account, (None, Some(store)))?);
    let status = match (is_undone, &held) {
        (true, None) if !owes => CardStatus::Blank,
        (true, _) => CardStatus::Withdrawn,
        (false, _) => change.status,
    };
    // Whoever lifted a stop in the time that is forgotten lifts it again: said as of now, as `card::stop_again` says those that are known, it overrules that
    // everywhere, and whichever store says it first.
    let is_back = status.is_stopped() && change.stamp.0 <= root::life_began(tx)?.0;
    let stamp = if is_back { Stamp::next(now, stamp, card.status_stamp) } else { stamp };
    card::set_status(tx, change.number, status, stamp)?;
    if is_back {
        exception::raise(tx, &stops::returned((store, epoch), &card, change), now)?;
    }
    let subject = behind_subject(card.account);
    if let Some(held) = held {
        let words = format!("card {} is in nobody's hands; its account {} holds {held}", card.number, card.account);
        let (store, evidence) = (Some(store), words.into());
        let finding = Finding { class: Class::BlankWithValue, store, subject, evidence };
        exception::raise(tx, &finding, now)?;
    } else if is_undone && !owes {
        let note = format!("account {} is empty; card {} can be sold again", card.account, card.number);
        close_by_itself(tx, Class::BlankWithValue, &subject, &note, now)?;
    }
    Ok(Some(card))
}

/// What an exception about value behind a card in nobody's hands is about: the account, so that whatever empties it can close it.
#[must_use]
pub fn behind_subject(account: AccountId) -> String {
    format!("account {account}")
}

/// What the account of a card that is in nobody's hands holds, in words, when no other card opens it and it holds anything.
///
/// # Errors
/// [`StoreError`].
pub fn behind(tx: &mut Tx<'_>, card: &Card) -> Result<Option<String>, StoreError> {
    if card::others_in_use(tx, card)? {
        return Ok(None);
    }
    let held = rows::holdings(tx, card.account)?;
    let held: Vec<String> = held.iter().map(|(unit, sum)| format!("{sum} {unit}")).collect();
    Ok((!held.is_empty()).then(|| held.join(", ")))
}

/// Whether news that come too late would have stopped a card that may be used or sold: somebody meant to stop it, and nothing did since then.
fn overtakes_a_stop(tx: &mut Tx<'_>, card: &Card, status: CardStatus, stamp: Stamp) -> Result<bool, StoreError> {
    Ok(status.is_stopped()
        && matches!(card.status, CardStatus::Blank | CardStatus::Active)
        && stamp > card::stopped_at(tx, card.number)?)
}
