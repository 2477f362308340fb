//! Re-rate: every sale that was taken in is priced again, from the inputs that its entry records and the policy that it names.
//!
//! The price itself is `protocol::rerate`'s; here entries are read, policies compiled and kept, and differences become exceptions. It is no part of ingest:
//! a job follows behind, by `ingested_no`, a page at a time. Entries get their number when they join the journal, in the order of commits, so what came
//! late or had to wait is after the cursor. Invariant: what was found and how far the job has come are written together.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use huitong_protocol::entry::{Body, Header, Sale};
use huitong_protocol::id::{EntryId, StoreId};
use huitong_protocol::pricing::PriceBook;
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::rerate::{Rerated, rerate};
use huitong_protocol::time::Instant;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::hub::Hub;
use crate::inspect::{Inspected, Place, inspect};
use crate::publish;
use crate::store::root::{self, Hub as Root};
use crate::store::{Store, StoreError, Tx, cursor, exception, journal, policy};

/// The name of the job's cursor.
pub const CURSOR: &str = "rerate";
/// Ingest numbers that one read looks at: some hundredths of a second, so that it holds no reader for long.
pub const PAGE_ENTRIES: i64 = 1_000;
/// Pages of one run, well within the lease of a job. A larger backlog is for the runs after it.
const PAGES_MAX: usize = 500;
/// Policies kept compiled. A chain sells under two at a time; late stores bring older ones. One with ten thousand promotions takes some ten megabytes.
pub const BOOKS_MAX: usize = 16;
/// Differences of one sale that its exception names. A basket has a thousand lines; whoever looks into it has the entry.
const DIFFERENCES_SHOWN_MAX: usize = 20;
/// Findings that a report of everything shows.
pub const FOUND_SHOWN_MAX: usize = 100;

/// What came of pricing sales again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// All of them: the sum of the others.
    pub sales: u64,
    /// Those that cost what they say, for the reasons that they say.
    pub same: u64,
    /// Those that a till priced while its edge was down.
    pub as_taken: u64,
    /// Those that cost something else.
    pub differing: u64,
    /// Those whose policy the hub does not have, or cannot read.
    pub policy_unknown: u64,
    /// Those that are kept and not used, and so have no price.
    pub quarantined: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sales += other.sales;
        self.same += other.same;
        self.as_taken += other.as_taken;
        self.differing += other.differing;
        self.policy_unknown += other.policy_unknown;
        self.quarantined += other.quarantined;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sales priced again: {} the same, {} as taken, {} differing, {} under an unknown policy, {} quarantined",
            self.sales, self.same, self.as_taken, self.differing, self.policy_unknown, self.quarantined
        )
    }
}

/// Policies compiled for pricing, those used last at the end.
#[derive(Debug, Default)]
pub struct Books {
    kept: Vec<(u64, Book)>,
}

/// A policy ready for baskets, or why there is none, in words.
type Book = Result<Arc<PriceBook>, String>;

impl Books {
    /// How many are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.kept.len()
    }

    /// The book of a version.
    fn of(&mut self, tx: &mut Tx<'_>, version: u64) -> Result<Book, StoreError> {
        let book = match self.kept.iter().position(|(kept, _)| *kept == version) {
            Some(at) => self.kept.remove(at).1,
            None => match compile(tx, version)? {
                Some(book) => book,
                // Not remembered: a hub that lost a policy may get it back.
                None => return Ok(Err("was never published".to_owned())),
            },
        };
        if self.kept.len() >= BOOKS_MAX {
            drop(self.kept.remove(0));
        }
        self.kept.push((version, book.clone()));
        Ok(book)
    }
}

/// Reads and compiles a version. One that this program cannot read must not hold up the sales of others: it is as good as none.
fn compile(tx: &mut Tx<'_>, version: u64) -> Result<Option<Book>, StoreError> {
    let unreadable = |fault: String| Ok(Some(Err(format!("cannot be read: {fault}"))));
    let kept = match policy::find(tx, version) {
        Ok(Some(kept)) => kept,
        Ok(None) => return Ok(None),
        Err(StoreError::Value { fault, .. }) => return unreadable(fault),
        Err(other) => return Err(other),
    };
    match publish::read_bundle(&kept.bundle) {
        Ok(policy) => Ok(Some(Ok(Arc::new(PriceBook::new(&policy))))),
        Err(fault) => unreadable(fault),
    }
}

/// What a page of entries came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The last ingest number that it looked at.
    pub through: i64,
    /// Its sales.
    pub counts: Counts,
    /// What somebody should look at.
    pub findings: Vec<Finding>,
}

/// Prices the sales after an ingest number again, among so many numbers at most; `None` when nothing is after it. Changes nothing.
///
/// # Errors
/// [`StoreError`].
pub fn look(tx: &mut Tx<'_>, books: &mut Books, after: i64, entries_max: i64) -> Result<Option<Page>, StoreError> {
    let last = journal::last_ingested_no(tx)?;
    if after >= last {
        return Ok(None);
    }
    let root = root::hub(tx)?;
    let through = last.min(after.saturating_add(entries_max.max(1)));
    let mut page = Page { through, counts: Counts::default(), findings: Vec::new() };
    let mut unknown: BTreeSet<(StoreId, u64)> = BTreeSet::new();
    let mut at = after;
    // One entry at a time: a page of the largest that a store may write would not fit into memory.
    while let Some(kept) = journal::next_of_kind(tx, "sale", at, through)? {
        at = kept.ingested_no;
        page.counts.sales += 1;
        let Some((header, sale)) = sale_of(&root, &kept) else {
            page.counts.quarantined += 1;
            continue;
        };
        match books.of(tx, sale.policy_version)? {
            Err(why) => {
                page.counts.policy_unknown += 1;
                if unknown.insert((kept.id.store, sale.policy_version)) {
                    page.findings.push(unknown_policy(kept.id, sale.policy_version, &why));
                }
            }
            Ok(book) => match rerate(&book, &header, &sale) {
                Rerated::Same(_) => page.counts.same += 1,
                Rerated::AsTaken => page.counts.as_taken += 1,
                Rerated::Differs(differences) => {
                    page.counts.differing += 1;
                    page.findings.push(differs(kept.id, sale.policy_version, &differences));
                }
            },
        }
    }
    Ok(Some(page))
}

/// The sale of an entry that can be used.
fn sale_of(root: &Root, kept: &journal::Kept) -> Option<(Header, Sale)> {
    let journal::Kept { id, bytes, .. } = kept;
    let place = Place { group: root.group, currency: root.currency, store: id.store, epoch: id.epoch };
    match inspect(&place, id.seq, bytes) {
        Inspected { header: Some(header), body: Some(Body::Sale(sale)), fault: None, .. } => Some((header, sale)),
        _ => None,
    }
}

fn differs(entry: EntryId, version: u64, differences: &[String]) -> Finding {
    let shown = differences.len().min(DIFFERENCES_SHOWN_MAX);
    let mut evidence = format!("entry {entry}, policy {version}: {}", differences[..shown].join("; "));
    if differences.len() > shown {
        evidence.push_str(&format!("; and {} more", differences.len() - shown));
    }
    Finding {
        class: Class::PriceDiffers,
        store: Some(entry.store),
        subject: entry.to_string(),
        evidence: Evidence::from(evidence).entry(entry),
    }
}

fn unknown_policy(first: EntryId, version: u64, why: &str) -> Finding {
    Finding {
        class: Class::PolicyUnknown,
        store: Some(first.store),
        subject: format!("{} policy {version}", first.store),
        evidence: Evidence::from(format!("sales under policy {version}, which {why}")).entry(first),
    }
}

/// Prices the next sales after the job's cursor again, raises what was found and moves the cursor. Gives nothing when there is nothing new.
///
/// # Errors
/// [`StoreError`]; the cursor stands where it stood then.
pub async fn step(
    store: &Store,
    books: &Arc<Mutex<Books>>,
    now: Instant,
    entries_max: i64,
) -> Result<Option<Counts>, StoreError> {
    let books = Arc::clone(books);
    let page = store
        .read(move |tx| {
            let after = cursor::get(tx, CURSOR)?;
            look(tx, &mut books.lock().unwrap_or_else(PoisonError::into_inner), after, entries_max)
        })
        .await?;
    let Some(Page { through, counts, findings }) = page else { return Ok(None) };
    store
        .write(move |tx| {
            for finding in &findings {
                exception::raise(tx, finding, now)?;
            }
            cursor::advance(tx, CURSOR, through)
        })
        .await?;
    Ok(Some(counts))
}

/// Does what has come in since the last run, within bounds.
///
/// # Errors
/// [`StoreError`]; the next run goes on where this one stood.
pub async fn run(hub: &Hub, now: Instant) -> Result<Counts, StoreError> {
    let mut all = Counts::default();
    for _ in 0..PAGES_MAX {
        if hub.stopping.is_cancelled() {
            break;
        }
        match step(&hub.store, &hub.books, now, PAGE_ENTRIES).await? {
            Some(counts) => all += counts,
            None => break,
        }
    }
    Ok(all)
}

/// Something that was found, as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Found {
    /// What kind of thing.
    pub class: &'static str,
    /// What it is about.
    pub subject: String,
    /// What was found.
    pub evidence: String,
}

/// What pricing every sale again came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Whether nothing was found.
    pub ok: bool,
    /// How many sales, and what came of them.
    pub counts: Counts,
    /// The first things that were found.
    pub found: Vec<Found>,
    /// How many more there are.
    pub found_more: u64,
}

/// Prices every sale again, from the first, whatever the job has done. Raises nothing: it answers whoever asks whether this program finds what the job
/// found. Each page is of one moment; sales that come in meanwhile are looked at too.
///
/// # Errors
/// [`StoreError`].
pub fn look_at_all(store: &Store, bar: &ProgressBar) -> Result<Report, StoreError> {
    bar.set_length(u64::try_from(store.read_blocking(journal::last_ingested_no)?).unwrap_or(0));
    let mut report = Report { ok: true, counts: Counts::default(), found: Vec::new(), found_more: 0 };
    let (mut books, mut after) = (Books::default(), 0);
    let mut unknown: BTreeSet<String> = BTreeSet::new();
    while let Some(page) = store.read_blocking(|tx| look(tx, &mut books, after, PAGE_ENTRIES))? {
        after = page.through;
        report.counts += page.counts;
        for Finding { class, subject, evidence, .. } in page.findings {
            report.ok = false;
            if class == Class::PolicyUnknown && !unknown.insert(subject.clone()) {
                continue;
            }
            if report.found.len() < FOUND_SHOWN_MAX {
                report.found.push(Found { class: class.as_str(), subject, evidence: evidence.to_string() });
            } else {
                report.found_more += 1;
            }
        }
        bar.set_position(u64::try_from(after).unwrap_or(0));
    }
    Ok(report)
}
