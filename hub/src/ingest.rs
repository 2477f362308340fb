//! Ingest: a store's journal into the hub's, one segment and one transaction at a time.
//!
//! The chain is proved before anything is believed, and the bytes are kept as they came. What cannot be read or used (`crate::inspect`) is quarantined: kept, counted in
//! the chain, raised as an exception, and never in the way of the rest. A segment that comes before its time waits. Invariant: whatever the order,
//! repetition and cut of segments, the same journal gives the same rows; of two journals that contradict each other the second is refused.
//! While the epoch lives, neither is believed from then on: the journal is closed.

use std::collections::BTreeMap;

use huitong_protocol::allotment::{Purse, StoreCounters};
use huitong_protocol::entry::{Body, ENTRY_BYTES_MAX, Header};
use huitong_protocol::holds::{self, Placed};
use huitong_protocol::id::{EntryId, Hash, Seq};
use huitong_protocol::journal::{self, Head};
use huitong_protocol::movement::Direction;
use huitong_protocol::reconcile::{self, Class, Evidence, Finding};
use huitong_protocol::seal::Seal;
use huitong_protocol::tenure::{HeardEntry, Standing};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::wire::{
    DayVerdict, Quarantined, SEGMENT_BYTES_MAX, SEGMENT_ENTRIES_MAX, Segment, SegmentEntries, Uploaded, from_msgpack,
    to_msgpack,
};

use crate::actor::Actor;
use crate::inspect::{Inspected, Place, inspect};
use crate::stops::Stopped;
use crate::store::adoption::{self, Used};
use crate::store::funding::{self as bearers, PostedFunding};
use crate::store::journal::{self as rows, Counted, Journal, Waiting};
use crate::store::tenure::Standpoint;
use crate::store::{StoreError, Tx, audit, day, exception, hold, organisation, tenure};
use crate::{claim, deferred, horizon, member_request, stops, suspense};

/// What the packing adds to the entries of a segment at most.
const PACKING_BYTES_MAX: usize = 5 + 5 * SEGMENT_ENTRIES_MAX;
/// Segments of one journal that may wait for the ones before them: some days of a busy store.
pub const WAITING_MAX: i64 = 1_000;

/// An entry of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proved {
    /// Its position.
    pub seq: Seq,
    /// Its hash, computed here.
    pub hash: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it says.
    pub inspected: Inspected,
}

/// A segment whose entries lead from its beginning to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// The chain before it.
    pub previous: Head,
    /// Its entries, at least one.
    pub entries: Vec<Proved>,
    /// The chain after it.
    pub last: Head,
}

impl Unpacked {
    /// Whether it closes a day.
    #[must_use]
    pub fn has_seal(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.inspected.body, Some(Body::Seal(_))))
    }
}

/// Unpacks a segment and proves its chain. Never makes more memory than the largest segment needs.
///
/// # Errors
/// A text that names the field.
pub fn unpack(place: &Place, segment: &Segment) -> Result<Unpacked, String> {
    let bytes_max = SEGMENT_BYTES_MAX + PACKING_BYTES_MAX;
    let raw_bytes = usize::try_from(segment.raw_bytes).ok().filter(|bytes| *bytes <= bytes_max);
    let raw_bytes = raw_bytes
        .ok_or_else(|| format!("body.raw_bytes: is {}; at most {bytes_max} are allowed", segment.raw_bytes))?;
    if segment.previous.seq.0.saturating_add(SEGMENT_ENTRIES_MAX as u64) > i64::MAX.unsigned_abs() {
        return Err(format!("body.previous.seq: {} is no position of a journal", segment.previous.seq));
    }
    let packed = zstd::bulk::decompress(&segment.entries_zstd, raw_bytes)
        .map_err(|fault| format!("body.entries_zstd: does not unpack into {raw_bytes} bytes: {fault}"))?;
    if packed.len() != raw_bytes {
        return Err(format!("body.raw_bytes: is {raw_bytes}, the entries have {}", packed.len()));
    }
    let SegmentEntries(entries) = from_msgpack(&packed).map_err(|fault| format!("body.entries_zstd: {fault}"))?;
    if entries.is_empty() || entries.len() > SEGMENT_ENTRIES_MAX {
        return Err(format!(
            "body.entries_zstd: has {} entries; 1 to {SEGMENT_ENTRIES_MAX} are allowed",
            entries.len()
        ));
    }
    let mut head = segment.previous;
    let mut proved = Vec::with_capacity(entries.len());
    for (index, bytes) in entries.into_iter().enumerate() {
        let bytes = bytes.into_vec();
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(format!(
                "body.entries_zstd[{index}]: has {} bytes; at most {ENTRY_BYTES_MAX} are allowed",
                bytes.len()
            ));
        }
        head = head.push(&bytes);
        let inspected = inspect(place, head.seq, &bytes);
        proved.push(Proved { seq: head.seq, hash: head.hash, bytes, inspected });
    }
    if head != segment.last {
        return Err(format!(
            "body.last: is entry {} with hash {}, the entries lead to {} with {}",
            segment.last.seq, segment.last.hash, head.seq, head.hash
        ));
    }
    Ok(Unpacked { previous: segment.previous, entries: proved, last: head })
}

/// What became of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It is held, or waits.
    Uploaded {
        /// What the store is told.
        uploaded: Uploaded,
        /// The cards that it stopped, which other stores must hear of at once.
        stopped: Stopped,
    },
    /// It contradicts what is held. The alarm is raised, nothing else changed.
    Forked(String),
    /// Too many segments wait already.
    Full,
}

/// What the entries that are here add up to since the last seal, counted before the write in which the next seal is judged: a large day takes longer to
/// count than tills should wait for the writer.
#[derive(Clone, Debug)]
pub struct CountedAhead {
    /// The seal after which it was counted.
    after: Seq,
    /// The last entry that was counted.
    through: Seq,
    counted: Counted,
}

impl Default for CountedAhead {
    /// Nothing was.
    fn default() -> Self {
        Self { after: Seq::ZERO, through: Seq::ZERO, counted: Counted::default() }
    }
}

/// Counts ahead of a segment with a seal. Changes nothing, and may be done at any earlier moment: entries never change.
///
/// # Errors
/// [`StoreError`].
pub fn count_ahead(tx: &mut Tx<'_>, place: &Place) -> Result<CountedAhead, StoreError> {
    let Journal { sealed, head, .. } = rows::find(tx, place.store, place.epoch)?;
    let counted = rows::tally(tx, place.store, place.epoch, sealed.next(), head.seq, Counted::default())?;
    Ok(CountedAhead { after: sealed, through: head.seq, counted })
}

/// Takes a segment into the journal, and those that waited for it.
///
/// # Errors
/// [`StoreError`].
pub fn take(
    tx: &mut Tx<'_>,
    place: &Place,
    segment: &Segment,
    unpacked: &Unpacked,
    ahead: &CountedAhead,
    now: Instant,
) -> Result<Taken, StoreError> {
    let mut journal = rows::find(tx, place.store, place.epoch)?;
    let over = tenure::standpoint(tx, place.store, place.epoch)?.filter(|at| at.standing != Standing::Living);
    // Once a person has ended the epoch, what it was heard to hold tells the true journal from the other, and the next to be taken opens it again.
    if journal.forked && over.is_none() {
        return Ok(Taken::Forked(format!(
            "journal {}-{} has forked; it is closed at entry {} until head office has ended the epoch",
            place.store, place.epoch, journal.head.seq
        )));
    }
    let held = journal.head.seq;
    let mut uploaded =
        Uploaded { journal_head: journal.head, missing: None, quarantined: Vec::new(), days: Vec::new(), heard: None };
    if let Some(Standpoint { heard, .. }) = over {
        uploaded.heard = Some(heard);
        match admit(tx, place, segment, unpacked, (&heard, held), now)? {
            Admitted::Yes => {}
            Admitted::Not => return Ok(Taken::Uploaded { uploaded, stopped: Stopped::default() }),
            Admitted::Contradicts(evidence) => return Ok(Taken::Forked(evidence)),
        }
    }
    let mut stopped = Stopped::default();
    if unpacked.previous.seq > journal.head.seq {
        let waiting =
            Waiting { first: unpacked.previous.seq.next(), last: unpacked.last, segment: to_msgpack(segment) };
        if !rows::wait(tx, place.store, place.epoch, &waiting, now, WAITING_MAX)? {
            return Ok(Taken::Full);
        }
    } else {
        let mut fork = join(tx, place, &mut journal, unpacked, ahead, now, &mut uploaded)?;
        while fork.is_none()
            && let Some(waiting) = rows::stop_waiting(tx, place.store, place.epoch, journal.head.seq)?
        {
            let unpacked = from_msgpack::<Segment>(&waiting.segment).and_then(|segment| unpack(place, &segment));
            let unpacked = unpacked.map_err(|fault| StoreError::Value {
                table: "waiting_segment",
                column: "segment",
                row: format!("{}-{}-{}", place.store, place.epoch, waiting.first),
                fault,
            })?;
            fork = join(tx, place, &mut journal, &unpacked, ahead, now, &mut uploaded)?;
        }
        // Nothing of an epoch that ended is heard but its journal, and the true one may come after a false one: only a living one is closed.
        journal.forked = fork.is_some() && over.is_none();
        rows::put(tx, place.store, place.epoch, &journal)?;
        if journal.head.seq > held {
            suspense::take_journal(tx, place.store, place.epoch, now)?;
            if over.is_some() {
                // What went another way than the journal that was reported, nobody reported.
                let told = match segment.heard {
                    HeardEntry::Lost => Seq::ZERO,
                    HeardEntry::Unsaid | HeardEntry::Contained(_) => tenure::told_seq(tx, place.store, place.epoch)?,
                };
                stopped = stops::take(tx, (place.store, place.epoch), (held.max(told), journal.head.seq), now)?;
            }
        }
        if let Some(evidence) = fork {
            let subject = format!("{}-{}", place.store, place.epoch);
            raise(tx, place, Class::Fork, subject, evidence.clone(), now)?;
            return Ok(Taken::Forked(evidence));
        }
    }
    uploaded.journal_head = journal.head;
    let wanted = rows::wanted(tx, place.store, place.epoch)?;
    uploaded.missing = wanted.and_then(|wanted| journal::missing(journal.head.seq, wanted));
    Ok(Taken::Uploaded { uploaded, stopped })
}

/// Whether a segment of an epoch that ended may be added to what is held.
enum Admitted {
    Yes,
    /// It is not known yet whose journal it is.
    Not,
    /// It is not the journal that it is said to be. The alarm is raised.
    Contradicts(String),
}

/// A database that was put back from a backup agrees with the true one up to an entry, and what it wrote since then would shut the other out. So only the
/// journal that was reported is taken, unless a person says that it is lost for good; that they said so is written down.
fn admit(
    tx: &mut Tx<'_>,
    place: &Place,
    segment: &Segment,
    unpacked: &Unpacked,
    (heard, held): (&Head, Seq),
    now: Instant,
) -> Result<Admitted, StoreError> {
    if unpacked.last.seq <= held || heard.seq <= held {
        return Ok(Admitted::Yes);
    }
    if !segment.heard.may_add(heard, held) {
        return Ok(Admitted::Not);
    }
    let epoch = format!("{}-{}", place.store, place.epoch);
    if segment.heard == HeardEntry::Lost {
        let action = "journal.heard_is_lost";
        if !audit::was_done(tx, action, &epoch)? {
            let detail = format!(
                "heard up to entry {}, held up to {held}: a journal that went another way is taken instead",
                heard.seq
            );
            audit::append(tx, &Actor::store(place.store), action, &epoch, &detail, now)?;
        }
        return Ok(Admitted::Yes);
    }
    match unpacked.entries.iter().find(|entry| entry.seq == heard.seq) {
        Some(entry) if entry.hash != heard.hash => {
            let words = format!(
                "entry {epoch}-{} was reported with hash {} and came with {}, although its journal was said to contain it",
                heard.seq, heard.hash, entry.hash
            );
            raise(tx, place, Class::Fork, epoch, words.clone(), now)?;
            Ok(Admitted::Contradicts(words))
        }
        _ => Ok(Admitted::Yes),
    }
}

/// Joins a segment that begins at or before the head. Gives what contradicts, when something does; nothing is changed then.
fn join(
    tx: &mut Tx<'_>,
    place: &Place,
    journal: &mut Journal,
    segment: &Unpacked,
    ahead: &CountedAhead,
    now: Instant,
    uploaded: &mut Uploaded,
) -> Result<Option<String>, StoreError> {
    // The hash of a position proves everything before it: one comparison, at the last position that both have.
    let common = segment.last.seq.min(journal.head.seq);
    let theirs =
        segment.entries.iter().find(|entry| entry.seq == common).map_or(segment.previous.hash, |entry| entry.hash);
    // A hub that lacks what it says to hold has a fault of its own. That proves no fork, which would stop the value of every store that calls.
    let ours = rows::hash_at(tx, place.store, place.epoch, common)?;
    let ours = ours.filter(|ours| common < journal.head.seq || *ours == journal.head.hash);
    let ours = ours.ok_or_else(|| StoreError::Value {
        table: "entry",
        column: "hash",
        row: format!("{}-{}-{common}", place.store, place.epoch),
        fault: "is missing, or is not the one that the journal's head says".to_owned(),
    })?;
    if ours != theirs {
        return Ok(Some(format!(
            "entry {}-{}-{common} is held with hash {ours} and came with {theirs}",
            place.store, place.epoch
        )));
    }
    let new: Vec<&Proved> = segment.entries.iter().filter(|entry| entry.seq > common).collect();
    for held in segment.entries.iter().filter(|entry| entry.seq <= common) {
        report_again(tx, place, held, uploaded)?;
    }
    if new.is_empty() {
        return Ok(None);
    }
    let first_no = rows::take_ingested_no(tx, new.len())?;
    let mut counters: BTreeMap<Purse, StoreCounters> = BTreeMap::new();
    for (ingested_no, entry) in (first_no..).zip(new) {
        append(tx, place, journal, entry, ingested_no, &mut counters, ahead, now, uploaded)?;
        journal.head = Head { seq: entry.seq, hash: entry.hash };
        journal.stamp = entry.inspected.header.as_ref().map_or(journal.stamp, |header| header.stamp);
    }
    note_policy(tx, place, segment, common)?;
    for (purse, counters) in &counters {
        rows::put_counters(tx, *purse, place.store, place.epoch, counters)?;
    }
    Ok(None)
}

/// Notes the policy of the last sale among the entries after a position.
fn note_policy(tx: &mut Tx<'_>, place: &Place, segment: &Unpacked, after: Seq) -> Result<(), StoreError> {
    let sales = segment.entries.iter().filter(|entry| entry.seq > after).filter_map(|entry| entry.inspected.sale());
    let mut sales = sales.peekable();
    if sales.peek().is_none() {
        return Ok(());
    }
    let before = adoption::used(tx, place.store)?;
    let used = sales.fold(before, |used, header| {
        Some(Used::after(used, place.epoch, header.seq, header.replica.policy, header.at_ms))
    });
    match used {
        Some(used) if Some(used) != before => adoption::put_used(tx, place.store, &used),
        _ => Ok(()),
    }
}

/// What the answer says of an entry that is held already: the same as the first time.
fn report_again(tx: &mut Tx<'_>, place: &Place, held: &Proved, uploaded: &mut Uploaded) -> Result<(), StoreError> {
    if let Some(reason) = &held.inspected.fault {
        uploaded.quarantined.push(Quarantined { seq: held.seq, reason: reason.clone() });
    } else if let Some(Body::Seal(_)) = &held.inspected.body {
        uploaded.days.extend(day::verdict(tx, place.store, place.epoch, held.seq)?);
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one step of a loop, named for reading")]
fn append(
    tx: &mut Tx<'_>,
    place: &Place,
    journal: &mut Journal,
    entry: &Proved,
    ingested_no: i64,
    counters: &mut BTreeMap<Purse, StoreCounters>,
    ahead: &CountedAhead,
    now: Instant,
    uploaded: &mut Uploaded,
) -> Result<(), StoreError> {
    let id = EntryId { store: place.store, epoch: place.epoch, seq: entry.seq };
    let Inspected { header, body, fundings, fault } = &entry.inspected;
    rows::append(tx, id, entry.hash, ingested_no, header.as_ref(), &entry.bytes)?;
    if let Some(reason) = fault {
        raise(tx, place, Class::Quarantined, id.to_string(), Evidence::from(reason.clone()).entry(id), now)?;
        uploaded.quarantined.push(Quarantined { seq: entry.seq, reason: reason.clone() });
        return Ok(());
    }
    let (Some(header), Some(body)) = (header, body) else { return Ok(()) };
    if let Some(other) = rows::other_with_operation(tx, header.operation, id)? {
        let words = format!("entries {other} and {id} are both operation {}", header.operation);
        let evidence = Evidence::from(words).entry(other).entry(id);
        raise(tx, place, Class::DuplicateOperation, header.operation.to_string(), evidence, now)?;
    }
    for (index, movement) in (0_u16..).zip(body.movements()) {
        // Checked by `inspect`: an entry that moves value has a day.
        let Some(day) = header.business_day else { break };
        rows::post(tx, id, header.stamp, index, ingested_no, day, movement)?;
        claim::take(tx, id, index, day, movement)?;
        let purse = Purse { account: movement.account, unit: movement.unit };
        let counted = counted(tx, place, counters, purse)?;
        let counter = match movement.kind.direction() {
            Direction::In => &mut counted.loaded_minor,
            Direction::Out => &mut counted.spent_minor,
        };
        *counter = counter.saturating_add(movement.amount_minor);
    }
    for (index, &funding) in (0_i64..).zip(fundings) {
        bearers::post(tx, &PostedFunding { entry: id, index, ingested_no, funding })?;
    }
    deferred::take(tx, id, header, body, now)?;
    take_holds(tx, place, id, (header, body), now)?;
    match body {
        Body::Allotment(allotment) => {
            for change in &allotment.changes {
                let purse = Purse { account: change.account, unit: change.unit };
                let counted = counted(tx, place, counters, purse)?;
                counted.adopted_minor = counted.adopted_minor.max(change.adopted_minor.unwrap_or(0));
                counted.released_minor = counted.released_minor.max(change.released_minor.unwrap_or(0));
            }
        }
        Body::UnreferencedReturn(body) => {
            let evidence = format!("{} {} onto card {}: {}", body.amount_minor, body.currency, body.card, body.reason);
            raise(tx, place, Class::UnreferencedReturn, id.to_string(), Evidence::from(evidence).entry(id), now)?;
        }
        Body::DayOpen(_) => {
            if let Some(day) = header.business_day {
                name_far_day(tx, place, day, now)?;
                day::open(tx, place.store, day, place.epoch, ingested_no)?;
            }
        }
        Body::CardSale(body) => member_request::sold(tx, id, body, now)?,
        Body::Void(body) if body.of_kind == "card_sale" => member_request::sale_undone(tx, id, body.of, now)?,
        Body::MemberEnrolled(body) => member_request::take_enrolment(tx, (ingested_no, id), header, body, now)?,
        Body::MemberChangeRequested(body) => member_request::take_change(tx, (ingested_no, id), header, body)?,
        Body::Seal(seal) => {
            let verdict = close(tx, place, journal, (seal, entry.seq), ingested_no, ahead, now)?;
            journal.sealed = entry.seq;
            uploaded.days.push(verdict);
        }
        _ => {}
    }
    Ok(())
}

/// Notes the hold that an entry places and those that it ends, and names what is wrong with them. Only their store could refuse; nothing is taken back here.
fn take_holds(
    tx: &mut Tx<'_>,
    place: &Place,
    id: EntryId,
    (header, body): (&Header, &Body),
    now: Instant,
) -> Result<(), StoreError> {
    if let Some(placed) = Placed::by(id, body) {
        hold::insert(tx, header.operation, &placed)?;
    }
    for (operation, ending) in holds::endings(body) {
        let placed = hold::find(tx, (place.store, place.epoch), operation)?;
        if let Some(fault) = holds::judge(placed.as_ref(), &ending) {
            let evidence = Evidence::from(format!("hold {operation}: {fault}")).entry(id);
            let evidence = placed.iter().fold(evidence, |evidence, placed| evidence.entry(placed.entry));
            raise(tx, place, Class::HoldDiffers, format!("{id} hold {operation}"), evidence, now)?;
        }
        hold::end(tx, operation, id)?;
    }
    Ok(())
}

fn counted<'a>(
    tx: &mut Tx<'_>,
    place: &Place,
    counters: &'a mut BTreeMap<Purse, StoreCounters>,
    purse: Purse,
) -> Result<&'a mut StoreCounters, StoreError> {
    match counters.entry(purse) {
        std::collections::btree_map::Entry::Occupied(held) => Ok(held.into_mut()),
        std::collections::btree_map::Entry::Vacant(place_of) => {
            Ok(place_of.insert(rows::counters(tx, purse, place.store, place.epoch)?))
        }
    }
}

/// Counts a sealed day for itself and keeps the verdict.
fn close(
    tx: &mut Tx<'_>,
    place: &Place,
    journal: &Journal,
    (seal, seq): (&Seal, Seq),
    ingested_no: i64,
    ahead: &CountedAhead,
    now: Instant,
) -> Result<DayVerdict, StoreError> {
    name_far_day(tx, place, seal.business_day, now)?;
    if let Some(held) = day::find(tx, place.store, seal.business_day)?.filter(|held| held.epoch != place.epoch) {
        let evidence = format!(
            "seal {}-{}-{seq} stands for the day from now on; it was {} in epoch {}{}",
            place.store,
            place.epoch,
            held.state,
            held.epoch,
            held.seal_seq.map_or_else(String::new, |seal| format!(", with seal {}-{}-{seal}", place.store, held.epoch))
        );
        let subject = day::seal_subject(place.store, seal.business_day, place.epoch, seq.0);
        raise(tx, place, Class::SealReplaced, subject, evidence, now)?;
    }
    let (first, counted) = if ahead.after == journal.sealed && ahead.through > ahead.after {
        (ahead.through.next(), ahead.counted.clone())
    } else {
        (journal.sealed.next(), Counted::default())
    };
    let counted = rows::tally(tx, place.store, place.epoch, first, journal.head.seq, counted)?.totals();
    let differences = reconcile::seal(seal, journal.head, journal.sealed, counted.as_ref());
    let verdict = DayVerdict { business_day: seal.business_day, seal_seq: seq, differences };
    day::seal(tx, place.store, place.epoch, ingested_no, &verdict, counted.as_ref(), now)?;
    if !verdict.differences.is_empty() {
        let subject = day::seal_subject(place.store, seal.business_day, place.epoch, seq.0);
        let entry = EntryId { store: place.store, epoch: place.epoch, seq };
        let evidence = verdict.differences.iter().fold(Evidence::default().entry(entry), |all, line| all.and(line));
        raise(tx, place, Class::SealDiffers, subject, evidence, now)?;
    }
    Ok(verdict)
}

/// Raises an exception about a day that the store cannot have come to: no run looks at it, and whoever mistyped it should know.
fn name_far_day(tx: &mut Tx<'_>, place: &Place, day: BusinessDay, now: Instant) -> Result<(), StoreError> {
    let Some(store) = organisation::store(tx, place.store)? else { return Ok(()) };
    let last = horizon::last_day(&store.time_zone, now);
    if day <= last {
        return Ok(());
    }
    let subject = format!("{}-{} day {day}", place.store, place.epoch);
    let evidence = Evidence::from(format!("the store opened business day {day}, which has not come there"))
        .when(format!("by head office's clock it can have come to {last}"));
    raise(tx, place, Class::ClockSkew, subject, evidence, now)
}

fn raise(
    tx: &mut Tx<'_>,
    place: &Place,
    class: Class,
    subject: String,
    evidence: impl Into<Evidence>,
    now: Instant,
) -> Result<(), StoreError> {
    let evidence = evidence.into();
    exception::raise(tx, &Finding { class, store: Some(place.store), subject, evidence }, now).map(|_| ())
}
