//! Suspense rows: what was paid back for lines of epochs that ended and who asked for it, with what receipts prove of them (their rows are `receipt`'s). What waits is `protocol::allotment::Fenced`'s to compute.
//!
//! Invariant: what was paid back only rises, and a repayment whose last part was paid never changes.

use huitong_protocol::allotment::{Fenced, Line, Pool, Purse, Receipts, StoreCounters, Suspense};
use huitong_protocol::id::{AccountId, Epoch, Hash, Seq, StoreId};
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;

use super::allotment::read_line;
use super::{Row, StoreError, Tx};

/// The columns of `suspense AS s` that [`read`] reads, nothing where a line has none.
pub(super) const COLUMNS: &str =
    "COALESCE(s.repaid_minor, 0), COALESCE(s.receipt_loaded_minor, 0), COALESCE(s.receipt_spent_minor, 0)";

/// Reads [`COLUMNS`] from a column on.
pub(super) fn read(row: &Row<'_>, first: usize) -> Result<Suspense, StoreError> {
    let receipts = Receipts { loaded_minor: row.integer(first + 1)?, spent_minor: row.integer(first + 2)? };
    Ok(Suspense { repaid_minor: row.integer(first)?, receipts })
}

pub(super) fn account(row: &Row<'_>, column: usize, table: &'static str) -> Result<AccountId, StoreError> {
    let number = row.integer(column)?;
    AccountId::new(number).map_err(|why| StoreError::Value {
        table,
        column: "account_id",
        row: number.to_string(),
        fault: why.to_string(),
    })
}

/// A line of an epoch, and what was paid back for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SuspendedLine {
    /// Whose it is, and what it counts.
    pub purse: Purse,
    /// What the hub knows of it.
    pub line: Line,
    /// What was done about it.
    pub suspense: Suspense,
}

impl SuspendedLine {
    /// The line beside its pool.
    #[must_use]
    pub const fn beside(&self, pool: Pool) -> Fenced {
        Fenced { pool, line: self.line, suspense: self.suspense }
    }
}

/// The lines of an epoch, by account.
///
/// # Errors
/// [`StoreError`].
pub fn lines(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Vec<SuspendedLine>, StoreError> {
    lines_after(tx, (store, epoch, None), &Through::default(), i64::MAX)
}

/// The purse of the last line that was looked at; before the first one by default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Through {
    account: i64,
    unit: String,
}

impl From<Purse> for Through {
    fn from(purse: Purse) -> Self {
        Self { account: purse.account.get(), unit: purse.unit.as_str().to_owned() }
    }
}

/// The lines of an epoch after a purse, or only those of one account: at most so many.
///
/// # Errors
/// [`StoreError`].
pub fn lines_after(
    tx: &mut Tx<'_>,
    (store, epoch, account_id): (StoreId, Epoch, Option<AccountId>),
    after: &Through,
    limit: i64,
) -> Result<Vec<SuspendedLine>, StoreError> {
    let sql = format!(
        "SELECT a.account_id, a.unit, a.granted_minor, a.adopted_minor, a.loaded_minor, a.spent_minor, a.released_minor, \
         {COLUMNS} FROM allotment a \
         LEFT JOIN suspense s ON s.store_id = a.store_id AND s.epoch = a.epoch AND s.account_id = a.account_id AND s.unit = a.unit \
         WHERE a.store_id = $1 AND a.epoch = $2 AND (a.account_id, a.unit) > ($3, $4) AND ($5 = 0 OR a.account_id = $5) \
         ORDER BY a.account_id, a.unit LIMIT $6"
    );
    tx.query(
        &sql,
        &[
            (&store).into(),
            epoch.into(),
            after.account.into(),
            (&after.unit).into(),
            number_of(account_id).into(),
            limit.into(),
        ],
        |row| {
            let unit: Unit = row.parsed(1, "allotment", "unit")?;
            let purse = Purse { account: account(row, 0, "allotment")?, unit };
            Ok(SuspendedLine { purse, line: read_line(row, 2)?, suspense: read(row, 7)? })
        },
    )
}

/// What was done about one line.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, purse: Purse) -> Result<Suspense, StoreError> {
    let found = tx.query_one(
        "SELECT repaid_minor, receipt_loaded_minor, receipt_spent_minor FROM suspense \
         WHERE store_id = $1 AND epoch = $2 AND account_id = $3 AND unit = $4",
        &[(&store).into(), epoch.into(), purse.account.into(), purse.unit.into()],
        |row| read(row, 0),
    )?;
    Ok(found.unwrap_or_default())
}

/// Writes what was done about a line.
///
/// # Errors
/// [`StoreError`].
pub fn put(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, purse: Purse, suspense: Suspense) -> Result<(), StoreError> {
    tx.execute_one(
        "write what was done about a line",
        "suspense",
        "INSERT INTO suspense (store_id, epoch, account_id, unit, repaid_minor, receipt_loaded_minor, receipt_spent_minor) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (store_id, epoch, account_id, unit) DO UPDATE SET \
         repaid_minor = excluded.repaid_minor, receipt_loaded_minor = excluded.receipt_loaded_minor, \
         receipt_spent_minor = excluded.receipt_spent_minor",
        &[
            (&store).into(),
            epoch.into(),
            purse.account.into(),
            purse.unit.into(),
            suspense.repaid_minor.into(),
            suspense.receipts.loaded_minor.into(),
            suspense.receipts.spent_minor.into(),
        ],
    )
}

/// Purses of an epoch of which its journal says more than its reports did, and what it says.
///
/// # Errors
/// [`StoreError`].
pub fn journal_beyond(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
) -> Result<Vec<(Purse, StoreCounters)>, StoreError> {
    tx.query(
        "SELECT j.account_id, j.unit, j.adopted_minor, j.loaded_minor, j.spent_minor, j.released_minor FROM journal_counter j \
         LEFT JOIN allotment a ON a.account_id = j.account_id AND a.unit = j.unit AND a.store_id = j.store_id AND a.epoch = j.epoch \
         WHERE j.store_id = $1 AND j.epoch = $2 AND (a.account_id IS NULL OR j.adopted_minor > a.adopted_minor \
         OR j.loaded_minor > a.loaded_minor OR j.spent_minor > a.spent_minor OR j.released_minor > a.released_minor) \
         ORDER BY j.account_id, j.unit",
        &[(&store).into(), epoch.into()],
        |row| {
            let purse =
                Purse { account: account(row, 0, "journal_counter")?, unit: row.parsed(1, "journal_counter", "unit")? };
            let counters = StoreCounters {
                adopted_minor: row.integer(2)?,
                loaded_minor: row.integer(3)?,
                spent_minor: row.integer(4)?,
                released_minor: row.integer(5)?,
            };
            Ok((purse, counters))
        },
    )
}

/// A repayment that somebody asked for.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Repayment {
    /// Its number.
    pub number: i64,
    /// The store.
    pub store: StoreId,
    /// The epoch that ended.
    pub epoch: Epoch,
    /// The account; every one when there is none.
    pub account: Option<AccountId>,
    /// What waited when it was asked for: all lines together, money and points counted alike.
    pub asked_minor: i64,
    /// Over every line that waited then.
    #[serde(skip)]
    #[schemars(skip)]
    pub asked_hash: Hash,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_at_ms: Instant,
    /// Why.
    pub asked_note: String,
    /// Who paid it, as a second person.
    pub paid_by: Option<String>,
    /// When.
    pub paid_at_ms: Option<Instant>,
    /// With which words.
    pub paid_note: String,
    /// How many parts were paid.
    pub parts: u32,
    /// When nothing was left to be paid of it; what the journal showed after it was decided is none of it.
    pub done_at_ms: Option<Instant>,
    /// How far the epoch's journal was when the second person decided.
    #[serde(skip)]
    #[schemars(skip)]
    pub journal_seq: Option<i64>,
    /// How far it was paid.
    #[serde(skip)]
    #[schemars(skip)]
    pub through: Through,
}

impl Repayment {
    /// Whether the second person has decided and parts are left to be paid.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.paid_by.is_some() && self.done_at_ms.is_none()
    }
}

fn number_of(account: Option<AccountId>) -> i64 {
    account.map_or(0, AccountId::get)
}

/// The newest repayment of an epoch and account, or of all its accounts.
///
/// # Errors
/// [`StoreError`].
pub fn newest(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    account: Option<AccountId>,
) -> Result<Option<Repayment>, StoreError> {
    let all = repayments(tx, store, epoch)?;
    Ok(all.into_iter().rfind(|repayment| repayment.account == account))
}

/// All repayments of an epoch, oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn repayments(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Vec<Repayment>, StoreError> {
    tx.query(
        "SELECT repayment_no, account_id, asked_minor, asked_by, asked_at_ms, asked_note, paid_by, paid_at_ms, paid_note, asked_hash, \
         journal_seq, parts, through_account, through_unit, done_at_ms \
         FROM suspense_repayment WHERE store_id = $1 AND epoch = $2 ORDER BY repayment_no",
        &[(&store).into(), epoch.into()],
        |row| {
            let account = match row.integer(1)? {
                0 => None,
                _ => Some(account(row, 1, "suspense_repayment")?),
            };
            Ok(Repayment {
                number: row.integer(0)?,
                store,
                epoch,
                account,
                asked_minor: row.integer(2)?,
                asked_by: row.text(3)?.to_owned(),
                asked_at_ms: Instant(row.integer(4)?),
                asked_note: row.text(5)?.to_owned(),
                paid_by: row.maybe_text(6)?.map(str::to_owned),
                paid_at_ms: row.maybe_integer(7)?.map(Instant),
                paid_note: row.text(8)?.to_owned(),
                asked_hash: Hash::from_slice(row.bytes(9)?).map_err(|fault| StoreError::Value {
                    table: "suspense_repayment",
                    column: "asked_hash",
                    row: String::new(),
                    fault: fault.to_string(),
                })?,
                journal_seq: row.maybe_integer(10)?,
                parts: u32::try_from(row.integer(11)?).unwrap_or(u32::MAX),
                through: Through { account: row.integer(12)?, unit: row.text(13)?.to_owned() },
                done_at_ms: row.maybe_integer(14)?.map(Instant),
            })
        },
    )
}

/// Asks for a repayment; asking anew takes the place of what was asked and not paid.
///
/// # Errors
/// [`StoreError`].
pub fn ask(
    tx: &mut Tx<'_>,
    (store, epoch, account): (StoreId, Epoch, Option<AccountId>),
    (asked_minor, asked_hash): (i64, &Hash),
    (by, note): (&str, &str),
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute_one(
        "ask for a repayment",
        "suspense_repayment",
        "INSERT INTO suspense_repayment (repayment_no, store_id, epoch, account_id, asked_minor, asked_by, asked_at_ms, asked_note, asked_hash) \
         VALUES ((SELECT COALESCE(MAX(repayment_no), 0) + 1 FROM suspense_repayment), $1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (store_id, epoch, account_id) WHERE paid_by IS NULL DO UPDATE SET asked_minor = excluded.asked_minor, \
         asked_by = excluded.asked_by, asked_at_ms = excluded.asked_at_ms, asked_note = excluded.asked_note, \
         asked_hash = excluded.asked_hash",
        &[
            (&store).into(),
            epoch.into(),
            number_of(account).into(),
            asked_minor.into(),
            by.into(),
            now.into(),
            note.into(),
            asked_hash.into(),
        ],
    )
}

/// Notes who decided to pay, and how far the epoch's journal was then.
///
/// # Errors
/// [`StoreError`].
pub fn decided(
    tx: &mut Tx<'_>,
    number: i64,
    (by, note): (&str, &str),
    journal: Seq,
    now: Instant,
) -> Result<(), StoreError> {
    tx.execute_one(
        "decide a repayment",
        "suspense_repayment",
        "UPDATE suspense_repayment SET paid_by = $2, paid_at_ms = $3, paid_note = $4, journal_seq = $5 \
         WHERE repayment_no = $1 AND paid_by IS NULL",
        &[number.into(), by.into(), now.into(), note.into(), journal.into()],
    )
}

/// Notes how far it was paid.
///
/// # Errors
/// [`StoreError`].
pub fn paid_part(tx: &mut Tx<'_>, number: i64, parts: u32, through: &Through) -> Result<(), StoreError> {
    tx.execute_one(
        "note a part of a repayment",
        "suspense_repayment",
        "UPDATE suspense_repayment SET parts = $2, through_account = $3, through_unit = $4 \
         WHERE repayment_no = $1 AND paid_by IS NOT NULL AND done_at_ms IS NULL",
        &[number.into(), parts.into(), through.account.into(), (&through.unit).into()],
    )
}

/// Notes that nothing is left of it.
///
/// # Errors
/// [`StoreError`].
pub fn done(tx: &mut Tx<'_>, number: i64, now: Instant) -> Result<(), StoreError> {
    tx.execute_one(
        "end a repayment",
        "suspense_repayment",
        "UPDATE suspense_repayment SET done_at_ms = $2 WHERE repayment_no = $1 AND paid_by IS NOT NULL AND done_at_ms IS NULL",
        &[number.into(), now.into()],
    )
}
