//! Suspense: what epochs held when they ended. Their journals may come late and say what became of it, receipts may prove a part of it
//! before (`crate::receipt`), or finance pays it back from the group's risk account.
//!
//! All arithmetic is `protocol::allotment::Fenced`'s. A repayment is asked for by one person and paid by a second: it loads the accounts at the hub, in head
//! office's own journal, so that settlement shows it as owed by the risk account. It is paid in parts, each in a transaction of its own, so that tills wait
//! for none of it; after a crash it goes on where it was. Invariant: nothing waits twice, and nothing comes back because time went by. A line that cannot be paid is named, and holds up no other.

use huitong_protocol::allotment::rule::Sound;
use std::collections::BTreeSet;

use huitong_protocol::allotment::{self, FencedEvent, Purse, Receipts};
use huitong_protocol::debt::is_sound_so_far;
use huitong_protocol::entry::HubPosting;
use huitong_protocol::id::{AccountId, EntryId, Epoch, Hash, Seq, StoreId};
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::tenure::Standing;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;
use serde::Serialize;

use crate::actor::Actor;
use crate::believed::{self, Said};
use crate::import::ImportError;
use crate::note::{self, NoteFault};
use crate::points;
use crate::receipt;
use crate::report::UNSOUND_LINE;
use crate::store::receipt::{KeptReceipt, ReceiptFile, ReceiptKind};
use crate::store::suspense::{self as rows, Repayment, SuspendedLine, Through};
use crate::store::tenure::{self, FencedEpoch};
use crate::store::{
    Store, StoreError, Tx, allotment as lines, card, exception, journal, posting, receipt as receipts, root,
};

/// The most lines of one part of a repayment: the one who writes is held up for milliseconds, and an entry with as many movements stays far below its limit.
const PART_LINES: i64 = 500;

/// Why something about suspense was not done.
#[derive(Debug, thiserror::Error)]
pub enum SuspenseError {
    /// No such epoch.
    #[error("{store}-{epoch} is no epoch that ended\n  hint: huitong-hub suspense list")]
    Unknown {
        /// The store.
        store: StoreId,
        /// The epoch.
        epoch: Epoch,
    },
    /// A note that says nothing, or too much.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// It cannot be done so.
    #[error("{store}-{epoch}: {fault}\n  hint: {hint}")]
    State {
        /// The store.
        store: StoreId,
        /// The epoch.
        epoch: Epoch,
        /// Why not.
        fault: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file of receipts that cannot be taken.
    #[error("{0}")]
    Receipts(ImportError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ImportError> for SuspenseError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => Self::Store(error),
            refused => Self::Receipts(refused),
        }
    }
}

/// What an epoch's lines of a unit come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct UnitSum {
    /// The unit.
    pub unit: Unit,
    /// What waits.
    pub waiting_minor: i64,
    /// What was paid back.
    pub repaid_minor: i64,
    /// What was paid back although it turned out to be spent or released, or was never there: the group's loss.
    pub loss_minor: i64,
    /// What receipts prove that the journal has not brought. It is in what waits.
    pub receipts: Receipts,
}

impl UnitSum {
    /// Whether something waits, was paid back or is said by receipts.
    fn is_open(&self) -> bool {
        self.waiting_minor > 0 || self.repaid_minor > 0 || self.receipts != Receipts::default()
    }
}

/// What lines come to, by unit.
#[must_use]
pub fn sums(lines: &[SuspendedLine]) -> Vec<UnitSum> {
    let mut sums: Vec<UnitSum> = Vec::new();
    for line in lines {
        let unit = line.purse.unit;
        let place = sums.iter().position(|sum| sum.unit == unit).unwrap_or_else(|| {
            sums.push(UnitSum {
                unit,
                waiting_minor: 0,
                repaid_minor: 0,
                loss_minor: 0,
                receipts: Receipts::default(),
            });
            sums.len() - 1
        });
        let (fenced, sum) = (line.beside(allotment::Pool::default()), &mut sums[place]);
        sum.waiting_minor = sum.waiting_minor.saturating_add(fenced.waiting_minor());
        sum.repaid_minor = sum.repaid_minor.saturating_add(line.suspense.repaid_minor);
        sum.loss_minor = sum.loss_minor.saturating_add(fenced.loss_minor());
        let Receipts { loaded_minor, spent_minor } = line.suspense.receipts;
        sum.receipts.loaded_minor = sum.receipts.loaded_minor.saturating_add(loaded_minor);
        sum.receipts.spent_minor = sum.receipts.spent_minor.saturating_add(spent_minor);
    }
    sums
}

/// An epoch that ended, and what became of what it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Suspended {
    /// The epoch.
    #[serde(flatten)]
    pub fenced: FencedEpoch,
    /// How far its journal is here: what is known is complete when it reaches as far as the store ever wrote.
    pub journal_seq: Seq,
    /// Per unit.
    pub sums: Vec<UnitSum>,
    /// Repayments, oldest first.
    pub repayments: Vec<Repayment>,
}

/// A line of an epoch that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct LineView {
    /// Whose it is.
    pub account: AccountId,
    /// What it counts.
    #[serde(flatten)]
    pub sum: UnitSum,
}

/// An epoch that ended, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SuspendedSheet {
    /// The epoch.
    #[serde(flatten)]
    pub suspended: Suspended,
    /// Its lines that wait, were paid back or have receipts that count, by account.
    pub lines: Vec<LineView>,
    /// What receipts said of it, by entry.
    pub receipts: Vec<ReceiptView>,
    /// The files that brought them, oldest first.
    pub receipt_files: Vec<ReceiptFile>,
}

/// A receipt of an epoch that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ReceiptView {
    /// Its entry.
    #[schemars(with = "String")]
    pub entry: EntryId,
    /// Whose it is.
    pub account: AccountId,
    /// What it counts.
    pub unit: Unit,
    /// What was done.
    pub kind: ReceiptKind,
    /// How much.
    pub amount_minor: i64,
    /// When, by the receipt.
    pub at_ms: Instant,
    /// The number of the file that brought it.
    pub file: i64,
    /// When the journal came as far as its entry: it counts no more.
    pub superseded_at_ms: Option<Instant>,
    /// Whether the journal says the same.
    pub agrees: Option<bool>,
}

impl ReceiptView {
    fn of(store: StoreId, epoch: Epoch, kept: KeptReceipt) -> Self {
        let KeptReceipt { seq, purse, kind, amount_minor, at_ms, file_no, superseded_at_ms, agrees } = kept;
        let (entry, Purse { account, unit }) = (EntryId { store, epoch, seq }, purse);
        Self { entry, account, unit, kind, amount_minor, at_ms, file: file_no, superseded_at_ms, agrees }
    }
}

/// Epochs that ended, of one store or all; those of which nothing waits and nothing was paid back only when `all` are asked for.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>, store: Option<StoreId>, all: bool) -> Result<Vec<Suspended>, StoreError> {
    let mut found = Vec::new();
    for fenced in tenure::fenced(tx, store)? {
        let (suspended, _) = suspended(tx, fenced)?;
        let is_open = suspended.sums.iter().any(UnitSum::is_open);
        if all || is_open {
            found.push(suspended);
        }
    }
    Ok(found)
}

fn suspended(tx: &mut Tx<'_>, fenced: FencedEpoch) -> Result<(Suspended, Vec<SuspendedLine>), StoreError> {
    let (store, epoch) = (fenced.store, fenced.epoch);
    let lines = rows::lines(tx, store, epoch)?;
    let journal_seq = journal::find(tx, store, epoch)?.head.seq;
    let repayments = rows::repayments(tx, store, epoch)?;
    Ok((Suspended { fenced, journal_seq, sums: sums(&lines), repayments }, lines))
}

/// An epoch that ended, line by line.
///
/// # Errors
/// [`SuspenseError::Unknown`].
pub fn show(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<SuspendedSheet, SuspenseError> {
    let fenced = tenure::fenced(tx, Some(store))?.into_iter().find(|fenced| fenced.epoch == epoch);
    let (suspended, lines) = suspended(tx, fenced.ok_or(SuspenseError::Unknown { store, epoch })?)?;
    let view = |line: &SuspendedLine| {
        let sum = sums(std::slice::from_ref(line)).pop()?;
        sum.is_open().then_some(LineView { account: line.purse.account, sum })
    };
    let kept = receipts::list(tx, store, epoch)?.into_iter().map(|kept| ReceiptView::of(store, epoch, kept));
    Ok(SuspendedSheet {
        suspended,
        lines: lines.iter().filter_map(view).collect(),
        receipts: kept.collect(),
        receipt_files: receipts::files(tx, store, epoch)?,
    })
}

/// Takes what the journal of an epoch that ended says beyond its reports. Of a living epoch, and before the journal has come as far as the reports, nothing.
///
/// # Errors
/// [`StoreError`].
pub fn take_journal(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, now: Instant) -> Result<(), StoreError> {
    let Some(at) = tenure::standpoint(tx, store, epoch)?.filter(|at| at.standing == Standing::Fenced) else {
        return Ok(());
    };
    let held = journal::find(tx, store, epoch)?;
    if held.forked || held.head.seq < at.heard.seq {
        return Ok(());
    }
    let subject = format!("{store}-{epoch}");
    if journal::hash_at(tx, store, epoch, at.heard.seq)? != Some(at.heard.hash) {
        let words = format!("the journal that came is not the one that was reported at entry {}", at.heard.seq);
        let finding = Finding { class: Class::Fork, store: Some(store), subject, evidence: words.into() };
        exception::raise(tx, &finding, now)?;
        return Ok(());
    }
    let is_unheard = tenure::is_unheard(tx, store, epoch)?;
    let mut unbelieved = BTreeSet::new();
    for (purse, counters) in rows::journal_beyond(tx, store, epoch)? {
        if !card::opens(tx, purse.account)? {
            continue;
        }
        let (pool, stamp) = lines::take_pool(tx, purse)?;
        let line = lines::line(tx, purse, store, epoch)?.unwrap_or_default();
        let suspense = rows::find(tx, store, epoch, purse)?;
        let before = allotment::Fenced { pool, line, suspense };
        let stepped = if purse.account == AccountId::RISK && !is_sound_so_far(&Sound, &counters) {
            Err(UNSOUND_LINE.to_owned())
        } else {
            let journal = FencedEvent::Journal { counters, is_unheard };
            allotment::step(&before, journal).map_err(|refusal| refusal.to_string())
        };
        match stepped {
            Ok(after) => {
                believed::note(tx, (store, epoch), purse, (&line, &after.line))?;
                lines::put_pool(tx, purse, &after.pool, stamp)?;
                lines::put_line(tx, purse, store, epoch, &after.line)?;
            }
            Err(refusal) => {
                unbelieved.insert(purse);
                let finding = Finding {
                    class: Class::ReportRefused,
                    store: Some(store),
                    subject: format!("{subject} account {} {}", purse.account, purse.unit),
                    evidence: Evidence::from(refusal).when(format!("by its journal up to {}", held.head.seq)),
                };
                exception::raise(tx, &finding, now)?;
            }
        }
    }
    receipt::overtake(tx, (store, epoch), held.head.seq, &unbelieved, now)?;
    if is_unheard {
        believed::raise(tx, (store, epoch), Said::Journalled, now)?;
    }
    Ok(())
}

/// Reads an epoch as people write it: the store, a hyphen, the number.
#[must_use]
pub fn epoch_of(text: &str) -> Option<(StoreId, Epoch)> {
    let (store, epoch) = text.rsplit_once('-')?;
    Some((store.parse().ok()?, Epoch(epoch.parse().ok()?)))
}

/// When a repayment is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// Head office's clock.
    pub now: Instant,
    /// The business day of its posting.
    pub day: BusinessDay,
}

/// An epoch that ended, and whose lines of it; everybody's when there is no account.
pub type Whose = (StoreId, Epoch, Option<AccountId>);

/// Asks that what waits be paid back; as a second person, pays it. An account leaves the others waiting. What was decided and not paid to its end goes on.
/// Blocks until the last part is paid.
///
/// # Errors
/// [`SuspenseError`]; nothing changed then, or what was paid so far stays paid.
pub fn repay(
    store: &Store,
    actor: &Actor,
    whose: Whose,
    note: &str,
    occasion: Occasion,
) -> Result<SuspendedSheet, SuspenseError> {
    let (actor, note) = (actor.clone(), note.to_owned());
    let decided = store.write_blocking(move |tx| decide(tx, &actor, whose, &note, occasion))?;
    if let Some(number) = decided {
        while store.write_blocking(move |tx| pay_part(tx, whose, number, occasion))? {}
    }
    let (of, epoch, _) = whose;
    store.read_blocking(move |tx| show(tx, of, epoch))
}

fn waiting_minor(line: &SuspendedLine) -> i64 {
    line.beside(allotment::Pool::default()).waiting_minor()
}

/// What waits, as one number and as a hash over each line: two people speak of the same only when both agree.
fn what_waits(waiting: &[SuspendedLine]) -> (i64, Hash) {
    let mut text = String::new();
    let mut sum: i64 = 0;
    for line in waiting {
        let amount_minor = waiting_minor(line);
        sum = sum.saturating_add(amount_minor);
        text.push_str(&format!("{} {} {amount_minor}\n", line.purse.account, line.purse.unit));
    }
    (sum, Hash::of(text.as_bytes()))
}

/// That the database forgot nothing, as far as is known.
///
/// # Errors
/// [`SuspenseError`]
pub(crate) fn must_not_recover(tx: &mut Tx<'_>, (store, epoch): (StoreId, Epoch)) -> Result<(), SuspenseError> {
    if root::must_recover(tx)?.is_none() {
        return Ok(());
    }
    let fault = "this database is older than it was, and may have forgotten what was paid or given back".to_owned();
    Err(SuspenseError::State { store, epoch, fault, hint: "huitong-hub recover, then look again" })
}

/// Decides about what waits: a first person asks, a second one has it paid. Gives the repayment of which [`pay_part`] is to pay what is left.
///
/// # Errors
/// [`SuspenseError`]; nothing changed then.
pub fn decide(
    tx: &mut Tx<'_>,
    actor: &Actor,
    whose: Whose,
    note: &str,
    occasion: Occasion,
) -> Result<Option<i64>, SuspenseError> {
    let (store, epoch, account) = whose;
    let note = note::optional(note)?;
    let refused = |fault: String, hint| Err(SuspenseError::State { store, epoch, fault, hint });
    if tenure::standpoint(tx, store, epoch)?.is_none_or(|at| at.standing != Standing::Fenced) {
        return Err(SuspenseError::Unknown { store, epoch });
    }
    must_not_recover(tx, (store, epoch))?;
    if let Some(open) = rows::repayments(tx, store, epoch)?.into_iter().find(Repayment::is_under_way) {
        if open.account == account {
            return Ok(Some(open.number));
        }
        let of = open.account.map_or_else(|| "every account".to_owned(), |account| format!("account {account}"));
        return refused(
            format!("repayment {} of {of} is being paid", open.number),
            "repeat that one until it is paid, then this",
        );
    }
    let mut waiting = rows::lines_after(tx, whose, &Through::default(), i64::MAX)?;
    waiting.retain(|line| waiting_minor(line) > 0);
    let (asked_minor, asked_hash) = what_waits(&waiting);
    let newest = rows::newest(tx, store, epoch, account)?;
    let object = match account {
        Some(account) => format!("{store}-{epoch} account {account}"),
        None => format!("{store}-{epoch}"),
    };
    if waiting.is_empty() {
        // Asked again after a lost answer.
        if newest.is_some_and(|last| last.paid_by.is_some_and(|by| actor.is(&by))) {
            return Ok(None);
        }
        return refused("nothing waits".to_owned(), "huitong-hub suspense show says what became of it");
    }
    match newest.filter(|last| last.paid_by.is_none()) {
        Some(open) if open.asked_hash == asked_hash && actor.is(&open.asked_by) => {
            if open.asked_note == note {
                return Ok(None);
            }
            refused(format!("was asked for by {}", open.asked_by), "a second person must pay it")
        }
        Some(open) if open.asked_hash == asked_hash => {
            let journal_seq = journal::find(tx, store, epoch)?.head.seq;
            rows::decided(tx, open.number, (actor.name(), note), journal_seq, occasion.now)?;
            let detail = format!("{asked_minor}, asked for by {}: {note}", open.asked_by);
            actor.did(tx, "suspense.repay", &object, &detail, occasion.now)?;
            Ok(Some(open.number))
        }
        // Nobody asked, or other things are known since: a first person asks.
        _ => {
            let note = note::needed(note)?;
            rows::ask(tx, whose, (asked_minor, &asked_hash), (actor.name(), note), occasion.now)?;
            actor.did(tx, "suspense.ask", &object, &format!("{asked_minor}: {note}"), occasion.now)?;
            Ok(None)
        }
    }
}

/// Pays the next part of a repayment that was decided. Gives whether there may be another. What the epoch's journal has brought since nobody has decided
/// about: it ends there, and the rest waits on.
///
/// # Errors
/// [`SuspenseError`]; nothing changed then.
pub fn pay_part(tx: &mut Tx<'_>, whose: Whose, number: i64, occasion: Occasion) -> Result<bool, SuspenseError> {
    let (store, epoch, _) = whose;
    let under_way = |repayment: &Repayment| repayment.number == number && repayment.is_under_way();
    let Some(repayment) = rows::repayments(tx, store, epoch)?.into_iter().find(under_way) else { return Ok(false) };
    must_not_recover(tx, (store, epoch))?;
    let journal_seq = i64::try_from(journal::find(tx, store, epoch)?.head.seq.0).ok();
    let part = if journal_seq == repayment.journal_seq {
        rows::lines_after(tx, (store, epoch, repayment.account), &repayment.through, PART_LINES)?
    } else {
        Vec::new()
    };
    let Some(last) = part.last().map(|line| line.purse) else {
        rows::done(tx, number, occasion.now)?;
        return Ok(false);
    };
    let waiting: Vec<SuspendedLine> = part.into_iter().filter(|line| waiting_minor(line) > 0).collect();
    if !waiting.is_empty() {
        pay(tx, (store, epoch), &repayment, &waiting, occasion)?;
    }
    rows::paid_part(tx, number, repayment.parts.saturating_add(1), &Through::from(last))?;
    Ok(true)
}

fn pay(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    repayment: &Repayment,
    waiting: &[SuspendedLine],
    occasion: Occasion,
) -> Result<(), StoreError> {
    let reference = format!("suspense {store}-{epoch}, repayment {}", repayment.number);
    // Looked at first: a line that cannot be paid must not keep the others waiting for ever.
    let mut steps = Vec::with_capacity(waiting.len());
    for line in waiting {
        let (pool, seen) = lines::take_pool(tx, line.purse)?;
        match allotment::step(&line.beside(pool), FencedEvent::Repay { amount_minor: waiting_minor(line) }) {
            Ok(after) => steps.push((line, after, seen)),
            Err(why) => {
                let Purse { account, unit } = line.purse;
                let subject = format!("suspense {store}-{epoch} account {account} {unit}");
                let words =
                    format!("{} {unit} wait and cannot be paid back to account {account}: {why}", waiting_minor(line));
                let evidence = Evidence::from(words).when(format!("repayment {}", repayment.number));
                let finding = Finding { class: Class::LeftUndone, store: Some(store), subject, evidence };
                exception::raise(tx, &finding, occasion.now)?;
            }
        }
    }
    if steps.is_empty() {
        return Ok(());
    }
    let movement = |line: &SuspendedLine| {
        let (Purse { account, unit }, kind) = (line.purse, MovementKind::SuspenseRepaid);
        let amount_minor = waiting_minor(line);
        Movement { account, unit, kind, amount_minor, of: None, origin_store: None, shortfall_minor: 0, owed_by: None }
    };
    let movements: Vec<Movement> = steps.iter().map(|(line, ..)| movement(line)).collect();
    let body = HubPosting { reference, movements };
    let about = format!("{} {}", repayment.number, repayment.parts);
    let operation = points::operation("huitong suspense repayments 1", &about);
    let stamp = posting::post(tx, operation, occasion.day, occasion.now, body)?.stamp;
    for (line, after, seen) in steps {
        lines::put_pool(tx, line.purse, &after.pool, stamp.max(seen))?;
        rows::put(tx, store, epoch, line.purse, after.suspense)?;
    }
    Ok(())
}
