//! Settle: who owes whom, as runs that build on each other, from the movements alone.
//!
//! A run looks at everything accepted up to its cut, re-folds the accounts that were touched since the last run of its scheme, adds up who bears the
//! discounts of what was sold, and writes what changed: new − old per leg, for business days up to its last. What a late store brings is in a later run,
//! under the day it belongs to; a run that is written never changes. Bodies of entries are never decoded.
//!
//! Tills wait for grants that the same writer gives, so a run holds it no longer than its lines take to be written: [`plan`] computes them from one
//! moment, in a read; [`book`] writes them in one write transaction, so that a crash leaves the whole run or none of it. Both go chunk by chunk, so memory
//! stays flat. What a run is computed from does not change below its cut: entries are numbered in the order of commits and never change. What can, another
//! run or other terms, is asked again before a line is written.
//!
//! Invariants, asserted before the commit: a run sums to zero over all parties per currency and business day (I6), and what was written is what was
//! computed.

mod spool;
mod turn;

use std::collections::BTreeMap;
use std::path::PathBuf;

use huitong_protocol::id::{AccountId, Hash, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::fold::{FoldError, Folder};
use huitong_protocol::settlement::funding::{FundingBook, Reach};
use huitong_protocol::settlement::leg::{Leg, LegKind};
use huitong_protocol::settlement::netting::{self, NettingError, NettingSummary, Obligation, Positions};
use huitong_protocol::settlement::run::{self, Finality, Run, RunError, RunId, Standing};
use huitong_protocol::time::{BusinessDay, Instant};
use indicatif::ProgressBar;
use serde::Serialize;

use self::spool::{Spool, Spooled};
pub use self::turn::{Turn, turn};
use crate::calendar::{self, Silent};
use crate::horizon::{FarDay, Horizon};
use crate::note::NoteFault;
use crate::publish;
use crate::refold::{Accounts, Refold};
use crate::store::day::{self, Resolution};
use crate::store::engine::{Store, StoreError, Tx, Value};
use crate::store::funding;
use crate::store::settlement::{self, Late, LegReader, LineWriter, RunRecord};
use crate::store::{organisation, root};

/// Lines that are written together: half a megabyte.
const LINES_PENDING: usize = 8_192;
/// How many late stores a refusal names.
const LATE_NAMED_MAX: usize = 10;

/// What to settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRequest {
    /// By which scheme.
    pub scheme: Scheme,
    /// Whether it moves the books.
    pub standing: Standing,
    /// Whether every store must be complete.
    pub finality: Finality,
    /// The last business day; when absent, the last one that some store's seal was accepted for.
    pub day_to: Option<BusinessDay>,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// It cannot be made now.
    #[error("{fault}\n  hint: {hint}")]
    Refused {
        /// Why.
        fault: String,
        /// What to do.
        hint: String,
    },
    /// A note that says too much, or not in plain text.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// Something that it was computed from changed before it was booked.
    #[error("{0} while the run was computed; nothing was written\n  hint: make it again")]
    Overtaken(&'static str),
    /// Another is being computed, here or by another process.
    #[error("a run is being computed\n  hint: ask again when it is done")]
    UnderWay,
    /// It cannot be known whether another is being computed.
    #[error("could not lock {path}; may this user write there?", path = .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its lines could not be kept aside.
    #[error("could not keep the lines of a run aside; is there room for temporary files?")]
    Aside(#[from] std::io::Error),
    /// There is no such run.
    #[error("there is no run {0}\n  hint: huitong-hub settle list")]
    NoRun(RunId),
    /// Nothing arrived since the run before, which is as final as this one would be.
    #[error("nothing has arrived since run {}, which settled up to {}", .0.run.id, .0.run.day_to)]
    NothingNew(Box<RunRecord>),
    /// An account's movements do not fold.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The lines are not right: a fault of this program.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The run's lines cannot be netted.
    #[error(transparent)]
    Netting(#[from] NettingError),
    /// What was written is not what was computed.
    #[error("run {run}: {written} was written where {computed} was computed")]
    Unequal {
        /// The run.
        run: RunId,
        /// Count and sum in the database.
        written: String,
        /// Count and sum in memory.
        computed: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused(fault: impl Into<String>, hint: impl Into<String>) -> SettleError {
    SettleError::Refused { fault: fault.into(), hint: hint.into() }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RunReport {
    /// The run as recorded.
    #[serde(flatten)]
    pub record: RunRecord,
    /// Stores that were missing something.
    pub late: Vec<Late>,
    /// Days that stores opened beyond their horizon: left out until the hub's clock has come there.
    pub far: Vec<FarDay>,
    /// Stores that were silent on the last day: whether they traded nobody knows.
    pub silent: Vec<Silent>,
    /// Days of the run that finance took as the hub counted them.
    pub resolved: Vec<Resolution>,
    /// Accounts that were folded again.
    pub accounts: u64,
    /// Lines written.
    pub lines: u64,
    /// How many of them are adjustments of days that earlier runs had covered.
    pub adjustments: u64,
    /// What each party is to receive (above zero) or pay (below), by the run.
    pub positions: Vec<(Party, i64)>,
}

/// A run that was computed and not booked.
pub struct Plan {
    /// The run but its number and its fingerprint, which it gets when it is booked.
    record: RunRecord,
    last_booked: Option<RunId>,
    late: Vec<Late>,
    far: Vec<FarDay>,
    silent: Vec<Silent>,
    resolved: Vec<Resolution>,
    accounts: u64,
    lines: u64,
    adjustments: u64,
    total: i128,
    spooled: Spooled,
}

/// Makes a run. It waits for the disk: an async task takes its [`turn`] and says [`plan`] and [`book`] instead.
///
/// # Errors
/// [`SettleError`]; nothing is written then.
pub fn run(store: &Store, now: Instant, request: RunRequest, progress: &ProgressBar) -> Result<RunReport, SettleError> {
    let turn = turn(store)?;
    let planned = store.read_blocking(|tx| plan(tx, now, request, progress));
    progress.finish_and_clear();
    let planned = planned?;
    let booked = store.write_blocking(move |tx| book(tx, &planned));
    drop(turn);
    booked
}

/// Computes a run from what is here now. Changes nothing.
///
/// # Errors
/// [`SettleError`].
pub fn plan(tx: &mut Tx<'_>, now: Instant, request: RunRequest, progress: &ProgressBar) -> Result<Plan, SettleError> {
    let hub = root::hub(tx)?;
    let Some(agreements) = publish::agreements(tx)? else {
        return Err(refused("no settlement agreement is published", "huitong-hub agreement publish FILE"));
    };
    let previous = settlement::last_of_scheme(tx, request.scheme)?;
    let horizon = Horizon::at(tx, now)?;
    let (first_day, last_accepted) = settlement::day_range(tx, &horizon)?;
    let settled_to = previous.as_ref().map(|previous| previous.run.day_to);
    let Some(day_to) = request.day_to.or(last_accepted.max(settled_to)) else {
        return Err(refused(
            "no store's day was accepted yet",
            "close and upload a day, or say --to DAY with --provisional",
        ));
    };
    check_scheme(tx, request, agreements.at(day_to).scheme, day_to)?;
    if let Some(settled_to) = settled_to.filter(|settled_to| day_to < *settled_to) {
        return Err(refused(
            format!("days up to {settled_to} are settled; a run cannot end on {day_to}"),
            format!("--to {settled_to} or later"),
        ));
    }
    let cut_ingested_no = settlement::last_ingested_no(tx)?;
    if let Some(previous) = &previous
        && (previous.run.cut_ingested_no, previous.run.day_to) == (cut_ingested_no, day_to)
        // What was provisional may be made final: finance can have resolved what it waited for.
        && (previous.run.finality == Finality::Final || request.finality == Finality::Provisional)
    {
        return Err(SettleError::NothingNew(Box::new(previous.clone())));
    }
    let late = settlement::late(tx, day_to, &horizon)?;
    if request.finality == Finality::Final && !late.is_empty() {
        return Err(not_complete(&late, day_to));
    }
    if let (Finality::Final, Some(accepted)) = (request.finality, last_accepted)
        && day_to > accepted.max(settled_to.unwrap_or(accepted))
    {
        return Err(refused(
            format!(
                "no store's day after {accepted} was accepted; settling up to {day_to} would make all that comes an adjustment"
            ),
            format!("--to {accepted}"),
        ));
    }
    if let Some(furthest) = horizon.furthest().filter(|furthest| day_to > *furthest) {
        return Err(refused(
            format!(
                "by head office's clock no store has come to {day_to}; all that comes until then would be an adjustment"
            ),
            format!("--to {furthest} or earlier"),
        ));
    }
    let far = settlement::far_days(tx, &horizon)?;
    let mut silent = calendar::silent(tx, day_to)?;
    silent.retain(|silent| late.iter().all(|late| late.store != silent.store));
    let day_from = settled_to.map_or(first_day.unwrap_or(day_to), BusinessDay::tomorrow);
    let complete = settlement::stores_with_days(tx, day_from, day_to)?;
    let complete = complete.iter().filter(|store| late.iter().all(|late| late.store != **store)).count();
    let mut record = RunRecord {
        run: Run {
            // Nobody's yet.
            id: RunId(0),
            scheme: request.scheme,
            currency: hub.currency,
            standing: request.standing,
            finality: request.finality,
            cut_ingested_no,
            agreements: agreements.hash(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            day_from,
            day_to,
            prepared_at_ms: now,
        },
        previous: previous.as_ref().map(|previous| previous.run.id),
        stores_complete: i64::try_from(complete).unwrap_or(i64::MAX),
        stores_late: i64::try_from(late.len()).unwrap_or(i64::MAX),
        open_ingested_no: cut_ingested_no.saturating_add(1),
        fingerprint: Hash::ZERO,
    };
    let resolved = resolved(tx, &record)?;
    let accounts = match &previous {
        None => Accounts::All,
        Some(previous) => Accounts::Listed(settlement::touched(tx, previous.open_ingested_no, cut_ingested_no)?),
    };
    if let Accounts::Listed(listed) = &accounts {
        progress.set_length(listed.len() as u64);
    }
    let reach = reach_of(&record.run);
    let mut book = FundingBook::new(previous.as_ref().map(|previous| reach_of(&previous.run)), reach);
    let first_open = previous.as_ref().map_or(0, |previous| previous.open_ingested_no);
    funding::between::<SettleError>(tx, first_open, cut_ingested_no, |row| {
        Ok(book.add(row.ingested_no, &row.funding)?)
    })?;
    let open_funding_no = book.open_ingested_no();
    let mut refold =
        Refold { accounts, cut_ingested_no, day_to: Some(day_to), open_ingested_no: record.open_ingested_no };
    let mut folder = Folder::new(request.scheme, agreements);
    let mut fold = Fold::new(&record.run, previous.is_some());
    fold.pending = book.into_legs();
    refold.run(tx, |tx, account, history| {
        fold.current.clear();
        folder.fold_account(history, &mut |leg| fold.keep(leg))?;
        progress.inc(1);
        fold.post(tx, account)
    })?;
    fold.flush()?;
    record.open_ingested_no = refold.open_ingested_no.min(open_funding_no);
    let last_booked = settlement::last_booked(tx)?.map(|last| last.run.id);
    let Fold { accounts, lines, adjustments, total, spool, .. } = fold;
    let spooled = spool.finish()?;
    Ok(Plan { record, last_booked, late, far, silent, resolved, accounts, lines, adjustments, total, spooled })
}

/// Books a run as it was computed, unless what it was computed from has changed. May be tried again.
///
/// # Errors
/// [`SettleError`]; the caller must then roll back.
pub fn book(tx: &mut Tx<'_>, plan: &Plan) -> Result<RunReport, SettleError> {
    // The number is taken first: it locks the hub's row, so that what is read next is the last run for good.
    let id = settlement::take_number(tx)?;
    let mut record = plan.record.clone();
    record.run.id = id;
    let previous = settlement::last_of_scheme(tx, record.run.scheme)?.map(|last| last.run.id);
    let last_booked = settlement::last_booked(tx)?.map(|last| last.run.id);
    if (previous, last_booked) != (record.previous, plan.last_booked) {
        return Err(SettleError::Overtaken("another run was made"));
    }
    if publish::agreements(tx)?.map(|agreements| agreements.hash()) != Some(record.run.agreements) {
        return Err(SettleError::Overtaken("other terms were published"));
    }
    settlement::insert_run(tx, &record)?;
    let mut writer = LineWriter::default();
    plan.spooled.each(record.run.currency, |lines| writer.write(tx, &record.run, lines).map_err(SettleError::from))?;
    record.fingerprint = writer.take_fingerprint().finish(&record);
    settlement::finish_run(tx, &record)?;
    let positions = prove(tx, &record.run, plan, &writer)?;
    Ok(RunReport {
        record,
        late: plan.late.clone(),
        far: plan.far.clone(),
        silent: plan.silent.clone(),
        resolved: plan.resolved.clone(),
        accounts: plan.accounts,
        lines: plan.lines,
        adjustments: plan.adjustments,
        positions: positions.into_iter().collect(),
    })
}

/// How far a run reaches.
pub(crate) fn reach_of(run: &Run) -> Reach {
    Reach { cut_ingested_no: run.cut_ingested_no, day_to: run.day_to }
}

/// The scheme that a run books when nobody names one: the agreement's of its last day.
///
/// # Errors
/// [`SettleError::Refused`] when no agreement is published.
pub fn booked_scheme(tx: &mut Tx<'_>, now: Instant, day_to: Option<BusinessDay>) -> Result<Scheme, SettleError> {
    let horizon = Horizon::at(tx, now)?;
    let (_, last_accepted) = settlement::day_range(tx, &horizon)?;
    let agreements = publish::agreements(tx)?
        .ok_or_else(|| refused("no settlement agreement is published", "huitong-hub agreement publish FILE"))?;
    let versions = agreements.versions();
    let day = day_to.or(last_accepted).or(versions.last().map(|version| version.effective_from));
    Ok(day.map_or(versions[0].scheme, |day| agreements.at(day).scheme))
}

/// What finance had said when a run was made: of its own days, and of earlier ones since the run before it.
///
/// # Errors
/// [`StoreError`].
pub fn resolved(tx: &mut Tx<'_>, record: &RunRecord) -> Result<Vec<Resolution>, StoreError> {
    const FIRST: BusinessDay = BusinessDay::of(jiff::civil::Date::constant(1, 1, 1));
    let Run { day_from, day_to, prepared_at_ms, .. } = record.run;
    let before = match record.previous {
        Some(id) => settlement::run(tx, id)?.map(|previous| previous.run.prepared_at_ms.0),
        None => None,
    };
    let mut resolved = day::resolutions(tx, FIRST, day_to)?;
    resolved.retain(|word| {
        let is_new = before.is_none_or(|before| word.resolved_at_ms > before);
        word.resolved_at_ms <= prepared_at_ms.0 && (word.business_day >= day_from || is_new)
    });
    Ok(resolved)
}

fn check_scheme(tx: &mut Tx<'_>, request: RunRequest, agreed: Scheme, day_to: BusinessDay) -> Result<(), SettleError> {
    let scheme = request.scheme;
    match request.standing {
        Standing::Booked if scheme != agreed => Err(refused(
            format!("the agreement of {day_to} books {agreed}, not {scheme}"),
            format!("--scheme {agreed}, or --memo to see what {scheme} would give"),
        )),
        Standing::Memo if scheme == agreed => Err(refused(
            format!("{scheme} is what the agreement of {day_to} books"),
            "leave --memo away; memo runs are for the other schemes",
        )),
        Standing::Memo => Ok(()),
        Standing::Booked => match settlement::last_booked(tx)? {
            Some(last) if last.run.scheme != scheme => Err(refused(
                format!(
                    "run {} was booked under {}; days that it settled would be booked twice under {scheme}",
                    last.run.id, last.run.scheme
                ),
                "keep the scheme of a group that has settled; compare others with --memo",
            )),
            _ => match settlement::last_of_scheme(tx, scheme)? {
                Some(last) if last.run.standing == Standing::Memo => Err(refused(
                    format!("run {} computed {scheme} as a memo; a booked run cannot build on it", last.run.id),
                    "book the scheme that earlier runs booked",
                )),
                _ => Ok(()),
            },
        },
    }
}

fn not_complete(late: &[Late], day_to: BusinessDay) -> SettleError {
    let named: Vec<String> = late
        .iter()
        .take(LATE_NAMED_MAX)
        .map(|late| match late.business_day {
            Some(day) => format!("{} ({day}, {})", late.store, late.reason),
            None => format!("{} ({})", late.store, late.reason),
        })
        .collect();
    let more =
        if late.len() > LATE_NAMED_MAX { format!(" and {} more", late.len() - LATE_NAMED_MAX) } else { String::new() };
    refused(
        format!("{} store(s) are not complete up to {day_to}: {}{more}", late.len(), named.join(", ")),
        "wait for them; or --provisional: what they bring later becomes an adjustment; or huitong-hub day resolve STORE DAY",
    )
}

/// A run while it is computed.
struct Fold {
    run: Run,
    /// Whether there are legs of earlier runs.
    measured: bool,
    current: Vec<Leg>,
    pending: Vec<Leg>,
    reader: LegReader,
    spool: Spool,
    total: i128,
    accounts: u64,
    lines: u64,
    adjustments: u64,
}

impl Fold {
    fn new(run: &Run, measured: bool) -> Self {
        Self {
            run: run.clone(),
            measured,
            current: Vec::new(),
            pending: Vec::new(),
            reader: LegReader::default(),
            spool: Spool::new(),
            total: 0,
            accounts: 0,
            lines: 0,
            adjustments: 0,
        }
    }

    /// Legs of later days belong to a later run.
    fn keep(&mut self, leg: Leg) {
        if leg.business_day <= self.run.day_to {
            self.current.push(leg);
        }
    }

    fn post(&mut self, tx: &mut Tx<'_>, account: AccountId) -> Result<(), SettleError> {
        self.accounts += 1;
        if self.measured {
            let before = settlement::lines_of(tx, self.run.scheme, Some(account), &mut self.reader)?;
            self.pending.extend(run::delta(&settlement::legs_of_lines(before)?, &self.current)?);
        } else {
            self.pending.append(&mut self.current);
        }
        if self.pending.len() >= LINES_PENDING { self.flush() } else { Ok(()) }
    }

    /// Keeps the lines that wait aside.
    fn flush(&mut self) -> Result<(), SettleError> {
        self.spool.keep(&self.pending)?;
        for line in &self.pending {
            self.lines += 1;
            self.adjustments += u64::from(line.business_day < self.run.day_from);
            self.total += i128::from(line.amount_minor);
        }
        self.pending.clear();
        Ok(())
    }
}

/// Checks a run before it is committed: its sums, and what the database says was written.
fn prove(tx: &mut Tx<'_>, run: &Run, plan: &Plan, writer: &LineWriter) -> Result<Positions, SettleError> {
    let daily = writer.positions(run.currency);
    run::check_zero_sum(&daily)?;
    let written = tx.query_one(
        "SELECT COUNT(*), CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM settlement_line WHERE run_no = $1",
        &[run.id.0.into()],
        |row| Ok::<_, StoreError>((row.integer(0)?, row.integer(1)?)),
    )?;
    let (count, sum) = written.unwrap_or_default();
    if (u64::try_from(count).ok(), i128::from(sum)) != (Some(plan.lines), plan.total) {
        return Err(SettleError::Unequal {
            run: run.id,
            written: format!("{count} lines of {sum}"),
            computed: format!("{} lines of {}", plan.lines, plan.total),
        });
    }
    let mut positions = Positions::new();
    for ((_, _, party), amount) in daily {
        let position = positions.entry(party).or_insert(0);
        *position = position.checked_add(amount).ok_or(RunError::Overflow)?;
    }
    Ok(positions)
}

/// Hands out the lines of a run, in the order in which they are stored: by account, day, kind, debtor and creditor.
///
/// # Errors
/// [`StoreError`], or what `each` gives.
pub fn lines<E: From<StoreError>>(
    tx: &mut Tx<'_>,
    id: RunId,
    mut each: impl FnMut(Leg) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = LegReader::default();
    tx.for_each(
        "SELECT account_id, debtor, creditor, kind, business_day, currency, amount_minor FROM settlement_line WHERE run_no = $1
         ORDER BY run_no, account_id, line_no",
        &[id.0.into()],
        |row| each(reader.read(row, 0)?),
    )
}

/// A sum over all accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Sum {
    /// Who owes.
    pub debtor: Party,
    /// Who is owed.
    pub creditor: Party,
    /// Why.
    pub kind: LegKind,
    /// The business day of the movements that caused it.
    pub business_day: BusinessDay,
    /// In which currency.
    pub currency: Currency,
    /// How much.
    pub amount_minor: i64,
}

impl Sum {
    /// As a leg over all accounts: for netting and positions, which look at none.
    #[must_use]
    pub fn leg(&self) -> Leg {
        let Self { debtor, creditor, kind, business_day, currency, amount_minor } = *self;
        Leg { account: None, business_day, kind, debtor, creditor, currency, amount_minor }
    }
}

fn sums(tx: &mut Tx<'_>, rows: &'static str, values: &[Value<'_>]) -> Result<Vec<Sum>, StoreError> {
    let mut reader = LegReader::default();
    tx.query(
        &format!(
            "SELECT 0, debtor, creditor, kind, business_day, currency, CAST(SUM(amount_minor) AS BIGINT) FROM settlement_line
             WHERE {rows} ORDER BY business_day, debtor, creditor, kind"
        ),
        values,
        |row| {
            let Leg { debtor, creditor, kind, business_day, currency, amount_minor, .. } = reader.read(row, 0)?;
            Ok(Sum { debtor, creditor, kind, business_day, currency, amount_minor })
        },
    )
}

/// The cumulative legs of a scheme over all its runs, summed over accounts, by day.
///
/// # Errors
/// [`StoreError`].
pub fn cumulative(tx: &mut Tx<'_>, scheme: Scheme) -> Result<Vec<Sum>, StoreError> {
    let rows = "run_no IN (SELECT run_no FROM settlement_run WHERE scheme = $1)
         GROUP BY debtor, creditor, kind, business_day, currency HAVING SUM(amount_minor) <> 0";
    sums(tx, rows, &[scheme.as_str().into()])
}

/// The lines of a run, summed over accounts, by day.
///
/// # Errors
/// [`StoreError`].
pub fn run_sums(tx: &mut Tx<'_>, id: RunId) -> Result<Vec<Sum>, StoreError> {
    sums(tx, "run_no = $1 GROUP BY debtor, creditor, kind, business_day, currency", &[id.0.into()])
}

/// What is netted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The lines of one run.
    Run(RunId),
    /// All runs of a scheme.
    All(Scheme),
}

/// What is owed and how it can be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Netting {
    /// Ordered pairs that owe, gross.
    pub obligations: Vec<Obligation>,
    /// What is left between each two.
    pub bilateral: Vec<Obligation>,
    /// What each is to receive or pay in all.
    pub positions: Vec<(Party, i64)>,
    /// Payments with the hub as everybody's counterparty.
    pub hub_payments: Vec<Obligation>,
    /// The fewest direct transfers.
    pub transfers: Vec<Obligation>,
    /// Its figures.
    pub summary: NettingSummary,
}

/// Nets a run or all runs of a scheme. With `by_legal_entity` stores pay as their owners, and what stays within one is internal.
///
/// # Errors
/// [`SettleError::Netting`] and [`SettleError::Store`].
pub fn netting(tx: &mut Tx<'_>, scope: Scope, by_legal_entity: bool) -> Result<Netting, SettleError> {
    let sums = match scope {
        Scope::Run(id) => run_sums(tx, id)?,
        Scope::All(scheme) => cumulative(tx, scheme)?,
    };
    let owners: BTreeMap<StoreId, Party> = if by_legal_entity {
        organisation::stores(tx)?.into_iter().map(|store| (store.id, Party::LegalEntity(store.legal_entity))).collect()
    } else {
        BTreeMap::new()
    };
    let payer = |party: Party| match party {
        Party::Store(store) => owners.get(&store).copied().unwrap_or(party),
        other => other,
    };
    let legs: Vec<Leg> = sums.iter().map(Sum::leg).collect();
    let obligations = netting::gross(&legs, payer)?;
    let positions = netting::positions(&obligations)?;
    netting::check_zero(&positions)?;
    Ok(Netting {
        bilateral: netting::bilateral(&obligations)?,
        hub_payments: netting::hub_payments(&positions)?,
        transfers: netting::minimal_transfers(&positions)?,
        summary: netting::summary(&obligations)?,
        positions: positions.into_iter().collect(),
        obligations,
    })
}
