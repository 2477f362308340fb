//! Receipt: what a till's copy or a customer's receipt proves of an epoch that ended, entry by entry, before its journal comes or if it never does.
//!
//! A spend lowers what waits; a load or refund raises it and is then paid as everything that waits, by two people from the group's risk account
//! (`crate::suspense`). A file is judged whole: one bad line and nothing of it counts. One person brings it, a second one brings the same and lets it count.
//! All arithmetic is `protocol::allotment::Fenced`'s, and no value moves here. Invariant: an entry counts by its receipt or by its journal, never by both.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use huitong_protocol::allotment::{self, Fenced, FencedEvent, Line, Pool, Purse, Receipts, Refusal};
use huitong_protocol::card::CardNumber;
use huitong_protocol::id::{AccountId, EntryId, Epoch, Hash, Seq, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::movement::Direction;
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::tenure::Standing;
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use serde::Serialize;

use crate::actor::Actor;
use crate::import::{Column, Faults, ImportError, LineFault, Table};
use crate::inspect::{Place, inspect};
use crate::note;
use crate::store::receipt::{self as rows, KeptReceipt, ReceiptKind};
use crate::store::suspense::{self as suspense_rows, Repayment};
use crate::store::{StoreError, Tx, allotment as lines, card, exception, journal, root, tenure};
use crate::suspense::{self, SuspenseError};

/// The most receipts of a file: it counts in one transaction, which holds up who writes for a second at most.
pub const RECEIPTS_MAX: usize = 5_000;
/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// How far beyond everything that is known of an epoch an entry may be; more is a slip of a digit.
const BEYOND_MAX: u64 = 1_000_000;
/// By how much clocks may be wrong.
const SKEW_MS: i64 = 24 * 3_600_000;

const COLUMNS: &[Column] = &[
    Column::required("entry"),
    Column::required("card"),
    Column::required("kind"),
    Column::required("amount"),
    Column::required("time"),
];

/// Whose receipts: a store and an epoch that ended.
pub type Of = (StoreId, Epoch);

struct Row {
    entry: EntryId,
    card: CardNumber,
    kind: ReceiptKind,
    amount_minor: i64,
    at_ms: Instant,
}

/// What becomes of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It proves something that nobody knew.
    Counts,
    /// An earlier file brought it.
    Known,
    /// The journal has its entry and says the same.
    Journalled,
    /// The journal has its entry and says otherwise: the journal stands.
    Contradicted,
    /// The store's reports had told of its entry.
    Reported,
    /// The store's reports may have told of its entry; only the journal can say.
    Unsure,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Known => "was brought before; changes nothing",
            Self::Journalled => "stands in the journal; changes nothing",
            Self::Contradicted => "the journal says otherwise; changes nothing",
            Self::Reported => "was reported; changes nothing",
            Self::Unsure => "may have been reported, only the journal can say; changes nothing",
        }
    }
}

/// A receipt of a file, judged. Its card's number is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Judged {
    /// Its line in the file.
    pub line: u64,
    /// Its entry.
    #[schemars(with = "String")]
    pub entry: EntryId,
    /// Whose card it is of.
    pub account: AccountId,
    /// What was done.
    pub kind: ReceiptKind,
    /// How much.
    pub amount_minor: i64,
    /// When, by the receipt.
    pub at_ms: Instant,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What the receipts that count change of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Change {
    /// Whose line.
    pub account: AccountId,
    /// What it counts.
    pub unit: Unit,
    /// Loaded by these receipts.
    pub loaded_minor: i64,
    /// Spent by these receipts.
    pub spent_minor: i64,
    /// What waits without them.
    pub waiting_before_minor: i64,
    /// What waits with them.
    pub waiting_minor: i64,
    /// What was paid back and turns out to be spent.
    pub loss_minor: i64,
}

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It was only looked at.
    Rehearsed,
    /// No receipt of it counts beyond what was known.
    NothingNew,
    /// It waits for a second person.
    Asked,
    /// It counts.
    Applied,
}

/// A file of receipts, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ReceiptSheet {
    /// The store.
    pub store: StoreId,
    /// The epoch that ended.
    pub epoch: Epoch,
    /// How far it has come.
    pub stage: Stage,
    /// The currency of the amounts.
    pub currency: Currency,
    /// Its receipts, in the order of the file.
    pub receipts: Vec<Judged>,
    /// What those that count change, by account.
    pub changes: Vec<Change>,
    /// Bad values: with one, nothing of the file counts.
    pub faults: Vec<LineFault>,
    /// How many bad values there are.
    pub faults_total: usize,
}

fn parse(csv: &[u8], currency: Currency) -> Result<Vec<(u64, Row)>, ImportError> {
    let refused = |fault: String| {
        let hint = format!("bring at most {RECEIPTS_MAX} receipts and {FILE_BYTES_MAX} bytes at once");
        Err(ImportError::Refused { fault, hint })
    };
    if csv.len() > FILE_BYTES_MAX {
        return refused(format!("the file has {} bytes", csv.len()));
    }
    let table = Table::read("receipt", COLUMNS, csv, None)?;
    if table.is_empty() || table.len() > RECEIPTS_MAX {
        return refused(format!("the file has {} receipts", table.len()));
    }
    table.rows(|line| {
        let (entry, card) = (line.parsed::<EntryId>("entry"), line.card("card"));
        let (kind, amount_minor) = (line.parsed::<ReceiptKind>("kind"), line.amount("amount", currency));
        let at = line.parsed::<jiff::Timestamp>("time").map(|at| Instant(at.as_millisecond()));
        Some(Row { entry: entry?, card: card?, kind: kind?, amount_minor: amount_minor?, at_ms: at? })
    })
}

/// How far an epoch that ended is known.
struct Known {
    /// Its journal is here and believed up to this entry.
    journal: Seq,
    /// But for these purses, of which it says what cannot be: it is booked nowhere.
    unbelieved: BTreeSet<Purse>,
    /// Its reports had told everything up to this entry.
    told: Seq,
    /// It was heard up to this entry.
    heard: Seq,
    minted_at_ms: Instant,
}

fn known(tx: &mut Tx<'_>, (store, epoch): Of) -> Result<Option<Known>, StoreError> {
    let Some(at) = tenure::standpoint(tx, store, epoch)?.filter(|at| at.standing == Standing::Fenced) else {
        return Ok(None);
    };
    let held = journal::find(tx, store, epoch)?;
    let is_believed = !held.forked
        && held.head.seq >= at.heard.seq
        && journal::hash_at(tx, store, epoch, at.heard.seq)? == Some(at.heard.hash);
    let journal = if is_believed { held.head.seq } else { Seq::ZERO };
    let unbelieved = suspense_rows::journal_beyond(tx, store, epoch)?.into_iter().map(|(purse, _)| purse).collect();
    let (told, minted_at_ms) = (tenure::told_seq(tx, store, epoch)?, tenure::minted_at(tx, store, epoch)?);
    Ok(Some(Known { journal, unbelieved, told, heard: at.heard.seq, minted_at_ms }))
}

/// A line with what receipts of a file say of it.
struct Touched {
    receipts: Receipts,
    /// The last line of the file that spends of it, or touches it.
    line: u64,
}

fn judge(tx: &mut Tx<'_>, of: Of, csv: &[u8], now: Instant) -> Result<ReceiptSheet, SuspenseError> {
    let (store, epoch) = of;
    let currency = root::hub(tx)?.currency;
    let known = known(tx, of)?.ok_or(SuspenseError::Unknown { store, epoch })?;
    let parsed = parse(csv, currency)?;
    let kept: KeptByEntry =
        rows::list(tx, store, epoch)?.into_iter().map(|kept| ((kept.seq, kept.purse), kept)).collect();
    let (mut faults, mut seen) = (Faults::default(), Seen::default());
    for kept in kept.values() {
        seen.of_entry.entry(kept.seq).or_default().push((kept.purse, kept.kind));
    }
    let (mut receipts, mut touched) = (Vec::with_capacity(parsed.len()), BTreeMap::<Purse, Touched>::new());
    for (line, row) in parsed {
        let Some(card) = card::find(tx, row.card)? else {
            faults.add(line, "card", "is no card of this group; look at the number again");
            continue;
        };
        let purse = Purse { account: card.account, unit: Unit::Money(currency) };
        let verdict = match judge_row(tx, of, &known, (&kept, &mut seen), (line, &row, purse), now)? {
            Ok(verdict) => verdict,
            Err((field, reason)) => {
                faults.add(line, field, reason);
                continue;
            }
        };
        let Row { entry, kind, amount_minor, at_ms, .. } = row;
        if verdict == Verdict::Counts {
            let sum = touched.entry(purse).or_insert(Touched { receipts: Receipts::default(), line });
            let side = match kind.direction() {
                Direction::In => &mut sum.receipts.loaded_minor,
                Direction::Out => {
                    sum.line = line;
                    &mut sum.receipts.spent_minor
                }
            };
            match side.checked_add(amount_minor) {
                Some(more) => *side = more,
                None => faults.add(line, "amount", "makes more than can be counted"),
            }
        }
        receipts.push(Judged { line, entry, account: card.account, kind, amount_minor, at_ms, verdict });
    }
    let mut changes = Vec::with_capacity(touched.len());
    for (purse, Touched { receipts, line }) in touched {
        let before = fenced(tx, of, purse)?;
        match allotment::step(&before, FencedEvent::Receipts(receipts)) {
            Ok(after) => changes.push(Change {
                account: purse.account,
                unit: purse.unit,
                loaded_minor: receipts.loaded_minor,
                spent_minor: receipts.spent_minor,
                waiting_before_minor: before.waiting_minor(),
                waiting_minor: after.waiting_minor(),
                loss_minor: after.loss_minor(),
            }),
            Err(why) => faults.add(line, "amount", beyond(purse, why)),
        }
    }
    let faults_total = faults.total;
    let shown = match faults.refuse() {
        Err(ImportError::Lines(faults)) => faults.shown,
        Err(other) => return Err(other.into()),
        Ok(()) => Vec::new(),
    };
    Ok(ReceiptSheet { store, epoch, stage: Stage::Rehearsed, currency, receipts, changes, faults: shown, faults_total })
}

fn beyond(Purse { account, unit }: Purse, why: Refusal) -> String {
    match why {
        Refusal::Insufficient { available_minor, needed_minor } => format!(
            "receipts spend {needed_minor} minor units of {unit} of account {account}, which had {available_minor} there as far as is known; \
             bring the receipt of the load too, or look at the amounts"
        ),
        other => format!("account {account}: {other}"),
    }
}

type Fault = (&'static str, String);
/// What earlier files brought.
type KeptByEntry = BTreeMap<(Seq, Purse), KeptReceipt>;

/// What was read so far.
#[derive(Default)]
struct Seen {
    /// The line of the file in which each receipt stands.
    lines: HashMap<(Seq, Purse), u64>,
    /// What is said of each entry, by earlier files too.
    of_entry: HashMap<Seq, Vec<(Purse, ReceiptKind)>>,
}

impl Seen {
    /// Another purse that an entry cannot have moved as well: a load is of one card, and one sale or return does the same with each of its cards.
    fn beside(&self, seq: Seq, purse: Purse, kind: ReceiptKind) -> Option<(Purse, ReceiptKind)> {
        let cannot = |(other, of): &&(Purse, ReceiptKind)| {
            *other != purse && (kind == ReceiptKind::Load || *of == ReceiptKind::Load || *of != kind)
        };
        self.of_entry.get(&seq)?.iter().find(cannot).copied()
    }
}

fn judge_row(
    tx: &mut Tx<'_>,
    of: Of,
    known: &Known,
    (kept, seen): (&KeptByEntry, &mut Seen),
    (line, row, purse): (u64, &Row, Purse),
    now: Instant,
) -> Result<Result<Verdict, Fault>, StoreError> {
    let (EntryId { store, epoch, seq }, entry) = (row.entry, row.entry);
    if (store, epoch) != of {
        return Ok(Err(("entry", format!("{entry} is of {store}-{epoch}; these are receipts of {}-{}", of.0, of.1))));
    }
    let end = known.journal.max(known.heard);
    if seq == Seq::ZERO || seq.0 > end.0.saturating_add(BEYOND_MAX) {
        let words = format!("{entry} cannot be: entries begin with 1, and {store}-{epoch} is known up to {end}");
        return Ok(Err(("entry", words)));
    }
    if let Some((other, kind)) = seen.beside(seq, purse, row.kind) {
        let (mine, of, account) = (row.kind.as_str(), kind.as_str(), other.account);
        return Ok(Err((
            "card",
            format!(
                "{entry} is a {of} of account {account} by another receipt, and cannot be a {mine} of account {} too; look at the card's number and the entry's again",
                purse.account
            ),
        )));
    }
    seen.of_entry.entry(seq).or_default().push((purse, row.kind));
    if let Some(first) = seen.lines.insert((seq, purse), line) {
        return Ok(Err((
            "entry",
            format!("{entry} stands in line {first} and again in line {line} for the same account"),
        )));
    }
    if row.at_ms > now.plus_ms(SKEW_MS) {
        return Ok(Err(("time", format!("{} is in the future", row.at_ms))));
    }
    if row.at_ms < known.minted_at_ms.plus_ms(-SKEW_MS) {
        return Ok(Err(("time", format!("{} is before {store}-{epoch} began at {}", row.at_ms, known.minted_at_ms))));
    }
    let receipt = KeptReceipt {
        seq,
        purse,
        kind: row.kind,
        amount_minor: row.amount_minor,
        at_ms: row.at_ms,
        file_no: 0,
        superseded_at_ms: None,
        agrees: None,
    };
    if seq <= known.journal && !known.unbelieved.contains(&purse) && !is_apart(tx, entry)? {
        let agrees = agrees(tx, of, &receipt)?;
        return Ok(Ok(if agrees { Verdict::Journalled } else { Verdict::Contradicted }));
    }
    Ok(match kept.get(&(seq, purse)) {
        _ if seq <= known.told => Ok(Verdict::Reported),
        _ if seq <= known.heard => Ok(Verdict::Unsure),
        None => Ok(Verdict::Counts),
        Some(kept) if (kept.kind, kept.amount_minor) == (row.kind, row.amount_minor) => Ok(Verdict::Known),
        Some(kept) => {
            let (kind, minor) = (kept.kind.as_str(), kept.amount_minor);
            let words = format!("{entry} was brought by file {} as a {kind} of {minor} minor units", kept.file_no);
            Err(("entry", words))
        }
    })
}

/// Whether the journal has an entry that moved nothing, as it cannot be read or used: of that the receipt alone says what was done.
fn is_apart(tx: &mut Tx<'_>, entry: EntryId) -> Result<bool, StoreError> {
    let EntryId { store, epoch, seq } = entry;
    let hub = root::hub(tx)?;
    let place = Place { group: hub.group, currency: hub.currency, store, epoch };
    Ok(journal::bytes(tx, entry)?.is_some_and(|bytes| inspect(&place, seq, &bytes).fault.is_some()))
}

fn agrees(tx: &mut Tx<'_>, of: Of, receipt: &KeptReceipt) -> Result<bool, StoreError> {
    Ok(rows::journalled(tx, of, receipt)? == (receipt.amount_minor, 0))
}

fn fenced(tx: &mut Tx<'_>, (store, epoch): Of, purse: Purse) -> Result<Fenced, StoreError> {
    let (pool, _) = lines::pool(tx, purse)?;
    let line = lines::line(tx, purse, store, epoch)?.unwrap_or_default();
    Ok(Fenced { pool, line, suspense: suspense_rows::find(tx, store, epoch, purse)? })
}

/// Looks at a file: what it would change and what of it is bad. Nothing is done.
///
/// # Errors
/// [`SuspenseError`]; a file that cannot be read as receipts is one.
pub fn rehearse(tx: &mut Tx<'_>, of: Of, csv: &[u8], now: Instant) -> Result<ReceiptSheet, SuspenseError> {
    judge(tx, of, csv, now)
}

/// The receipts, as one hash that their order in the file does not change; and what they would change.
fn hashes(sheet: &ReceiptSheet) -> (Hash, Hash) {
    let text = |judged: &&Judged| {
        let Judged { entry, account, kind, amount_minor, at_ms, .. } = judged;
        format!("{:020} {account} {} {amount_minor} {}\n", entry.seq.0, kind.as_str(), at_ms.0)
    };
    let hash = |mut all: Vec<String>| {
        all.sort_unstable();
        Hash::of(all.concat().as_bytes())
    };
    let counts = |judged: &&Judged| judged.verdict == Verdict::Counts;
    let mut effect: Vec<String> = sheet.receipts.iter().filter(counts).map(|judged| text(&judged)).collect();
    effect.extend(sheet.changes.iter().map(|change| {
        let Change { account, unit, waiting_before_minor, waiting_minor, loss_minor, .. } = change;
        format!("{account} {unit} waits {waiting_before_minor} {waiting_minor} lost {loss_minor}\n")
    }));
    (hash(sheet.receipts.iter().map(|judged| text(&judged)).collect()), hash(effect))
}

/// Asks that a file of receipts counts; as a second person with the same receipts, lets it count. All of it or, with one bad value, nothing.
///
/// # Errors
/// [`SuspenseError`]; nothing changed then.
pub fn bring(
    tx: &mut Tx<'_>,
    actor: &Actor,
    of: Of,
    (csv, note): (&[u8], &str),
    now: Instant,
) -> Result<ReceiptSheet, SuspenseError> {
    let (store, epoch) = of;
    let note = note::optional(note)?;
    let refused = |fault: String, hint| Err(SuspenseError::State { store, epoch, fault, hint });
    let mut sheet = judge(tx, of, csv, now)?;
    if sheet.faults_total > 0 {
        return Err(ImportError::Lines(Faults { shown: sheet.faults, total: sheet.faults_total }).into());
    }
    suspense::must_not_recover(tx, of)?;
    if let Some(open) = suspense_rows::repayments(tx, store, epoch)?.into_iter().find(Repayment::is_under_way) {
        let fault = format!("repayment {} is being paid", open.number);
        return refused(fault, "repeat that one until it is paid, then this");
    }
    if sheet.changes.is_empty() {
        sheet.stage = Stage::NothingNew;
        return Ok(sheet);
    }
    let (rows_hash, effect_hash) = hashes(&sheet);
    let open = rows::files(tx, store, epoch)?
        .into_iter()
        .rfind(|file| file.applied_by.is_none() && file.rows_hash == rows_hash && file.effect_hash == effect_hash);
    let object = format!("{store}-{epoch}");
    let sum = |side: fn(&Change) -> i64| sheet.changes.iter().map(side).fold(0_i64, i64::saturating_add);
    let (loaded, spent) = (sum(|change| change.loaded_minor), sum(|change| change.spent_minor));
    let counted = sheet.receipts.iter().filter(|judged| judged.verdict == Verdict::Counts).count();
    let words = format!("{counted} receipts, {loaded} loaded and {spent} spent");
    match open {
        Some(open) if actor.is(&open.asked_by) => {
            if open.asked_note != note {
                return refused(
                    format!("was asked for by {}", open.asked_by),
                    "a second person must bring the same receipts",
                );
            }
            sheet.stage = Stage::Asked;
        }
        Some(open) => {
            apply(tx, of, &sheet, open.number)?;
            rows::applied(tx, open.number, (actor.name(), note), now)?;
            let detail = format!("{words}, asked for by {}: {note}", open.asked_by);
            actor.did(tx, "suspense.receipts", &object, &detail, now)?;
            sheet.stage = Stage::Applied;
        }
        // Nobody brought them, or they would change other things since: a first person asks.
        None => {
            let note = note::needed(note)?;
            rows::ask(tx, of, (&rows_hash, &effect_hash), (actor.name(), note), now)?;
            actor.did(tx, "suspense.ask_receipts", &object, &format!("{words}: {note}"), now)?;
            sheet.stage = Stage::Asked;
        }
    }
    Ok(sheet)
}

fn apply(tx: &mut Tx<'_>, of: Of, sheet: &ReceiptSheet, file_no: i64) -> Result<(), StoreError> {
    let (store, epoch) = of;
    let rule = |fault: Refusal| StoreError::Rule { operation: "let receipts count", fault: fault.to_string() };
    for &Change { account, unit, loaded_minor, spent_minor, .. } in &sheet.changes {
        let purse = Purse { account, unit };
        let receipts = FencedEvent::Receipts(Receipts { loaded_minor, spent_minor });
        let after = allotment::step(&fenced(tx, of, purse)?, receipts).map_err(rule)?;
        // What waits hangs on a line, also where the store never told of one.
        if lines::line(tx, purse, store, epoch)?.is_none() {
            lines::put_line(tx, purse, store, epoch, &Line::default())?;
        }
        suspense_rows::put(tx, store, epoch, purse, after.suspense)?;
    }
    let unit = Unit::Money(sheet.currency);
    for judged in sheet.receipts.iter().filter(|judged| judged.verdict == Verdict::Counts) {
        let receipt = KeptReceipt {
            seq: judged.entry.seq,
            purse: Purse { account: judged.account, unit },
            kind: judged.kind,
            amount_minor: judged.amount_minor,
            at_ms: judged.at_ms,
            file_no,
            superseded_at_ms: None,
            agrees: None,
        };
        rows::keep(tx, of, &receipt)?;
    }
    Ok(())
}

/// Sets aside the receipts whose entries the journal has: from now on it is what says so. Of purses for which it was not believed they go on counting, and
/// where their entry is kept apart, as the journal books nothing of it.
///
/// # Errors
/// [`StoreError`].
pub fn overtake(
    tx: &mut Tx<'_>,
    of: Of,
    through: Seq,
    unbelieved: &BTreeSet<Purse>,
    now: Instant,
) -> Result<(), StoreError> {
    let (store, epoch) = of;
    let mut overtaken = BTreeMap::<Purse, Vec<KeptReceipt>>::new();
    for kept in rows::list(tx, store, epoch)? {
        let is_reached = kept.superseded_at_ms.is_none() && kept.seq <= through && !unbelieved.contains(&kept.purse);
        if is_reached && !is_apart(tx, EntryId { store, epoch, seq: kept.seq })? {
            overtaken.entry(kept.purse).or_default().push(kept);
        }
    }
    for (purse, receipts) in overtaken {
        let suspense = suspense_rows::find(tx, store, epoch, purse)?;
        let mut fenced = Fenced { pool: Pool::default(), line: Line::default(), suspense };
        for kept in receipts {
            let amount_minor = kept.amount_minor;
            let of_one = match kept.kind.direction() {
                Direction::In => Receipts { loaded_minor: amount_minor, spent_minor: 0 },
                Direction::Out => Receipts { loaded_minor: 0, spent_minor: amount_minor },
            };
            let entry = EntryId { store, epoch, seq: kept.seq };
            // Rows that do not add up stay as they are: `verify` names them, and the journal is taken all the same.
            let Ok(after) = allotment::step(&fenced, FencedEvent::Superseded(of_one)) else {
                tracing::error!("The receipt of entry {entry} is in no sum of account {}", purse.account);
                continue;
            };
            fenced = after;
            let agrees = agrees(tx, of, &kept)?;
            rows::supersede(tx, of, &kept, agrees, now)?;
            if !agrees {
                let (kind, account) = (kept.kind.as_str(), purse.account);
                let words = format!(
                    "a receipt of {entry} said: a {kind} of {amount_minor} minor units of {} of account {account}; the journal says otherwise",
                    purse.unit
                );
                let finding = Finding {
                    class: Class::ReceiptDiffers,
                    store: Some(store),
                    subject: format!("{entry} account {account}"),
                    evidence: Evidence::from(words).when(format!("brought by file {}", kept.file_no)),
                };
                exception::raise(tx, &finding, now)?;
            }
        }
        suspense_rows::put(tx, store, epoch, purse, fenced.suspense)?;
    }
    Ok(())
}

/// Receipts that count although the journal has their entry, or the other way round, or of which it is said wrongly whether the journal bears them out: what
/// is wrong with each, by its entry.
///
/// # Errors
/// [`StoreError`].
pub fn misjudged(tx: &mut Tx<'_>) -> Result<Vec<(EntryId, &'static str)>, StoreError> {
    let mut found = Vec::new();
    for (store, epoch) in rows::epochs(tx)? {
        let of = (store, epoch);
        let Some(known) = known(tx, of)? else { continue };
        for kept in rows::list(tx, store, epoch)? {
            let entry = EntryId { store, epoch, seq: kept.seq };
            let is_reached = kept.seq <= known.journal;
            let fault = match kept.agrees {
                None if is_reached && !known.unbelieved.contains(&kept.purse) && !is_apart(tx, entry)? => {
                    "counts although the journal has its entry"
                }
                Some(_) if !is_reached => "counts no more although the journal does not have its entry",
                Some(said) if said != agrees(tx, of, &kept)? => "agrees is not what the journal says",
                _ => continue,
            };
            found.push((entry, fault));
        }
    }
    Ok(found)
}
