//! Settlement rows: runs and their lines, and the cumulative legs that later runs are measured against, summed up from the lines when asked for.
//!
//! Plain reading and writing; what a run is, is decided in `settle`. Invariant: rows of a run never change once it is committed, which its
//! fingerprint proves.

use std::collections::HashMap;
use std::str::FromStr;

use huitong_protocol::id::{AccountId, Hash, IdError, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::leg::{Leg, LegKind};
use huitong_protocol::settlement::run::{DailyPositions, Finality, Run, RunId, Standing};
use huitong_protocol::time::{BusinessDay, Instant};
use serde::Serialize;

use super::day::IS_RESOLVED;
use super::engine::{Row, StoreError, Tx, Value};
use crate::horizon::{FarDay, Horizon};

/// A run as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RunRecord {
    /// What defines it and what it covers.
    #[serde(flatten)]
    pub run: Run,
    /// The run of the same scheme before it.
    pub previous: Option<RunId>,
    /// Stores whose days of the run had all been accepted.
    pub stores_complete: i64,
    /// Stores that were missing something.
    pub stores_late: i64,
    /// The first `ingested_no` that the next run must look at again.
    #[serde(skip)]
    pub open_ingested_no: i64,
    /// Over the run and its lines as stored; see [`Fingerprint`].
    #[serde(skip)]
    pub fingerprint: Hash,
}

const RUN: &str = "SELECT run_no, scheme, standing, finality, day_from, day_to, cut_ingested_no, previous_run_no, agreements, code_version,
     stores_complete, stores_late, open_ingested_no, created_at_ms, fingerprint FROM settlement_run";

fn invalid(column: &'static str, row: impl ToString, fault: impl ToString) -> StoreError {
    StoreError::Value { table: "settlement_run", column, row: row.to_string(), fault: fault.to_string() }
}

fn read_run(row: &Row<'_>, currency: Currency) -> Result<RunRecord, StoreError> {
    let number = row.integer(0)?;
    let standing = match row.text(2)? {
        "booked" => Standing::Booked,
        "memo" => Standing::Memo,
        other => return Err(invalid("standing", number, other)),
    };
    let finality = match row.text(3)? {
        "provisional" => Finality::Provisional,
        "final" => Finality::Final,
        other => return Err(invalid("finality", number, other)),
    };
    Ok(RunRecord {
        run: Run {
            id: RunId(number),
            scheme: row.parsed(1, "settlement_run", "scheme")?,
            currency,
            standing,
            finality,
            cut_ingested_no: row.integer(6)?,
            agreements: Hash::from_slice(row.bytes(8)?).map_err(|why| invalid("agreements", number, why))?,
            code_version: row.text(9)?.to_owned(),
            day_from: row.parsed(4, "settlement_run", "day_from")?,
            day_to: row.parsed(5, "settlement_run", "day_to")?,
            prepared_at_ms: Instant(row.integer(13)?),
        },
        previous: row.maybe_integer(7)?.map(RunId),
        stores_complete: row.integer(10)?,
        stores_late: row.integer(11)?,
        open_ingested_no: row.integer(12)?,
        fingerprint: Hash::from_slice(row.bytes(14)?).map_err(|why| invalid("fingerprint", number, why))?,
    })
}

/// A run.
///
/// # Errors
/// [`StoreError`].
pub fn run(tx: &mut Tx<'_>, id: RunId) -> Result<Option<RunRecord>, StoreError> {
    let currency = super::root::hub(tx)?.currency;
    tx.query_one(&format!("{RUN} WHERE run_no = $1"), &[id.0.into()], |row| read_run(row, currency))
}

/// All runs, oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn runs(tx: &mut Tx<'_>) -> Result<Vec<RunRecord>, StoreError> {
    page(tx, RunId(0), usize::MAX)
}

/// Runs after one, oldest first, so many at most.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, after: RunId, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
    let currency = super::root::hub(tx)?.currency;
    let values = [after.0.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    tx.query(&format!("{RUN} WHERE run_no > $1 ORDER BY run_no LIMIT $2"), &values, |row| read_run(row, currency))
}

/// The last run of a scheme.
///
/// # Errors
/// [`StoreError`].
pub fn last_of_scheme(tx: &mut Tx<'_>, scheme: Scheme) -> Result<Option<RunRecord>, StoreError> {
    let currency = super::root::hub(tx)?.currency;
    tx.query_one(&format!("{RUN} WHERE scheme = $1 ORDER BY run_no DESC LIMIT 1"), &[scheme.as_str().into()], |row| {
        read_run(row, currency)
    })
}

/// The last booked run.
///
/// # Errors
/// [`StoreError`].
pub fn last_booked(tx: &mut Tx<'_>) -> Result<Option<RunRecord>, StoreError> {
    let currency = super::root::hub(tx)?.currency;
    tx.query_one(&format!("{RUN} WHERE standing = 'booked' ORDER BY run_no DESC LIMIT 1"), &[], |row| {
        read_run(row, currency)
    })
}

/// Takes the number of the next run. The hub's row is locked until the transaction ends, so that two runs never overlap.
///
/// # Errors
/// [`StoreError`].
pub fn take_number(tx: &mut Tx<'_>) -> Result<RunId, StoreError> {
    tx.query_one("UPDATE hub SET next_run = next_run + 1 WHERE id = 1 RETURNING next_run - 1", &[], |row| {
        row.integer(0)
    })?
    .map(RunId)
    .ok_or(StoreError::Rows { operation: "number a run", table: "hub", rows: 0, expected: 1 })
}

/// Records a run.
///
/// # Errors
/// [`StoreError`].
pub fn insert_run(tx: &mut Tx<'_>, record: &RunRecord) -> Result<(), StoreError> {
    let Run { id, scheme, standing, finality, day_from, day_to, .. } = &record.run;
    tx.execute_one(
        "record a run",
        "settlement_run",
        "INSERT INTO settlement_run (run_no, scheme, standing, finality, day_from, day_to, cut_ingested_no, previous_run_no, agreements,
         code_version, stores_complete, stores_late, open_ingested_no, created_at_ms, fingerprint)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        &[
            id.0.into(),
            scheme.as_str().into(),
            standing.as_str().into(),
            finality.as_str().into(),
            (&day_from.to_string()).into(),
            (&day_to.to_string()).into(),
            record.run.cut_ingested_no.into(),
            record.previous.map(|previous| previous.0).into(),
            (&record.run.agreements).into(),
            (&record.run.code_version).into(),
            record.stores_complete.into(),
            record.stores_late.into(),
            record.open_ingested_no.into(),
            record.run.prepared_at_ms.into(),
            (&record.fingerprint).into(),
        ],
    )
}

/// Records what is known only when all lines are written: what the next run must look at again, and the fingerprint.
///
/// # Errors
/// [`StoreError`].
pub fn finish_run(tx: &mut Tx<'_>, record: &RunRecord) -> Result<(), StoreError> {
    tx.execute_one(
        "finish a run",
        "settlement_run",
        "UPDATE settlement_run SET open_ingested_no = $2, fingerprint = $3 WHERE run_no = $1",
        &[record.run.id.0.into(), record.open_ingested_no.into(), (&record.fingerprint).into()],
    )
}

/// Bytes that are hashed at once: enough for the hash to be quick, and small beside the lines that wait.
const FINGERPRINT_BYTES: usize = 16 * 1_024;

/// A hash over every stored column of a run and of its lines, in their order.
///
/// Sums cannot tell two changes that make up for each other, in two runs that are long closed; this can.
#[derive(Debug)]
pub struct Fingerprint {
    hasher: blake3::Hasher,
    pending: Vec<u8>,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self {
            hasher: blake3::Hasher::new_derive_key("huitong settlement run 1"),
            pending: Vec::with_capacity(FINGERPRINT_BYTES + 512),
        }
    }
}

impl Fingerprint {
    fn integer(&mut self, value: i64) {
        self.pending.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        // With its length, so that no two rows give the same bytes.
        self.pending.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.pending.extend_from_slice(text.as_bytes());
    }

    /// Takes in the next line: debtor, creditor, kind, day and currency as they are stored.
    fn line(&mut self, account_id: i64, line_no: i64, texts: [&str; 5], amount_minor: i64) {
        self.integer(account_id);
        self.integer(line_no);
        texts.into_iter().for_each(|text| self.text(text));
        self.integer(amount_minor);
        if self.pending.len() >= FINGERPRINT_BYTES {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
    }

    /// Takes in the run itself, after its lines, and gives the hash.
    #[must_use]
    pub fn finish(mut self, record: &RunRecord) -> Hash {
        let run = &record.run;
        for text in [
            run.scheme.as_str(),
            run.standing.as_str(),
            run.finality.as_str(),
            &run.day_from.to_string(),
            &run.day_to.to_string(),
            &run.code_version,
        ] {
            self.text(text);
        }
        for value in [
            run.id.0,
            run.cut_ingested_no,
            record.previous.map_or(0, |previous| previous.0),
            record.stores_complete,
            record.stores_late,
            record.open_ingested_no,
            run.prepared_at_ms.0,
        ] {
            self.integer(value);
        }
        self.hasher.update(&self.pending).update(&run.agreements.0);
        Hash(*self.hasher.finalize().as_bytes())
    }
}

/// The fingerprint of a run's rows as they stand now, and how many lines it has.
///
/// # Errors
/// [`StoreError`].
pub fn fingerprint(tx: &mut Tx<'_>, record: &RunRecord) -> Result<(Hash, u64), StoreError> {
    let mut fingerprint = Fingerprint::default();
    let mut count = 0;
    tx.for_each(
        "SELECT account_id, line_no, debtor, creditor, kind, business_day, currency, amount_minor FROM settlement_line
         WHERE run_no = $1 ORDER BY run_no, account_id, line_no",
        &[record.run.id.0.into()],
        |row| {
            let texts = [row.text(2)?, row.text(3)?, row.text(4)?, row.text(5)?, row.text(6)?];
            fingerprint.line(row.integer(0)?, row.integer(1)?, texts, row.integer(7)?);
            count += 1;
            Ok::<(), StoreError>(())
        },
    )?;
    Ok((fingerprint.finish(record), count))
}

/// Lines that one statement writes. More of them gain nothing measurable.
const LINES_AT_ONCE: usize = 16;

/// A statement that writes so many lines of one run and currency: `$1` and `$2`, then seven values a line.
fn insert_lines(count: usize) -> String {
    let mut sql = "INSERT INTO settlement_line
        (run_no, currency, account_id, line_no, debtor, creditor, kind, business_day, amount_minor) VALUES "
        .to_owned();
    for line in 0..count {
        let values: Vec<String> = (0..7).map(|value| format!("${}", 3 + line * 7 + value)).collect();
        sql += if line == 0 { "" } else { ", " };
        sql += &format!("($1, $2, {})", values.join(", "));
    }
    sql
}

/// Writes lines of a run, and adds up what each party came to on each day.
///
/// A run writes millions of rows with few parties and days, so both are known by number, their texts are made once, and sums are kept by number.
#[derive(Debug, Default)]
pub struct LineWriter {
    parties: Numbered<Party>,
    days: Numbered<BusinessDay>,
    /// By number of the day, then of the party; nothing for a party that had no line of that day.
    positions: Vec<Vec<Option<i64>>>,
    fingerprint: Fingerprint,
}

/// Values that were seen, each with a number and its text.
#[derive(Debug)]
struct Numbered<T> {
    numbers: HashMap<T, usize>,
    seen: Vec<(T, String)>,
    /// The number asked for last: neighbouring lines share most values.
    last: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), seen: Vec::new(), last: 0 }
    }
}

impl<T: Copy + Eq + std::hash::Hash + std::fmt::Display> Numbered<T> {
    fn number(&mut self, value: T) -> usize {
        if self.seen.get(self.last).is_none_or(|(last, _)| *last != value) {
            self.last = *self.numbers.entry(value).or_insert_with(|| {
                self.seen.push((value, value.to_string()));
                self.seen.len() - 1
            });
        }
        self.last
    }

    fn text(&self, number: usize) -> &str {
        &self.seen[number].1
    }
}

impl LineWriter {
    /// What each party is to receive or pay by what was written, per currency and business day.
    #[must_use]
    pub fn positions(&self, currency: Currency) -> DailyPositions {
        let mut positions = DailyPositions::new();
        for ((day, _), parties) in self.days.seen.iter().zip(&self.positions) {
            for ((party, _), amount) in self.parties.seen.iter().zip(parties) {
                if let Some(amount) = *amount {
                    positions.insert((currency, *day, *party), amount);
                }
            }
        }
        positions
    }

    /// The fingerprint of what was written, so far without the run.
    #[must_use]
    pub fn take_fingerprint(&mut self) -> Fingerprint {
        std::mem::take(&mut self.fingerprint)
    }

    fn add_up(&mut self, day: usize, party: usize, amount_minor: Option<i64>) -> Result<(), StoreError> {
        if self.positions.len() <= day {
            self.positions.resize_with(day + 1, Vec::new);
        }
        let parties = &mut self.positions[day];
        if parties.len() <= party {
            parties.resize(party + 1, None);
        }
        let sum = amount_minor.and_then(|amount| parties[party].unwrap_or(0).checked_add(amount));
        parties[party] = Some(sum.ok_or_else(|| StoreError::Rule {
            operation: "add up a run",
            fault: "what a party owes and is owed on a day does not fit in 64 bits".to_owned(),
        })?);
        Ok(())
    }

    /// Writes lines of a run: all of an account's at once, accounts in ascending order over all calls and lines of no account first, in the currency of
    /// the run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write(&mut self, tx: &mut Tx<'_>, run: &Run, lines: &[Leg]) -> Result<(), StoreError> {
        let mut many = tx.bulk(&insert_lines(LINES_AT_ONCE))?;
        let mut single = tx.bulk(&insert_lines(1))?;
        let (mut account, mut next_no) = (None, 0_i64);
        for chunk in lines.chunks(LINES_AT_ONCE) {
            let mut numbers = [(0, 0, 0); LINES_AT_ONCE];
            for (line, numbers) in chunk.iter().zip(&mut numbers) {
                if line.currency != run.currency {
                    return Err(StoreError::Rule {
                        operation: "write a line",
                        fault: format!("it is in {}, the run in {}", line.currency, run.currency),
                    });
                }
                if line.account.is_some() != line.kind.is_of_account() {
                    return Err(StoreError::Rule {
                        operation: "write a line",
                        fault: format!("a line about {} and account {:?} do not go together", line.kind, line.account),
                    });
                }
                let (debtor, creditor) = (self.parties.number(line.debtor), self.parties.number(line.creditor));
                let day = self.days.number(line.business_day);
                if debtor != creditor {
                    self.add_up(day, debtor, line.amount_minor.checked_neg())?;
                    self.add_up(day, creditor, Some(line.amount_minor))?;
                }
                *numbers = (debtor, creditor, day);
            }
            let mut values: Vec<Value<'_>> = Vec::with_capacity(2 + 7 * LINES_AT_ONCE);
            values.extend([Value::from(run.id.0), run.currency.into()]);
            for (line, &(debtor, creditor, day)) in chunk.iter().zip(&numbers) {
                let line_no = if account == Some(line.account) { next_no } else { 0 };
                (account, next_no) = (Some(line.account), line_no + 1);
                let (debtor, creditor) = (self.parties.text(debtor), self.parties.text(creditor));
                let (kind, day) = (line.kind.as_str(), self.days.text(day));
                let texts = [debtor, creditor, kind, day, line.currency.code()];
                self.fingerprint.line(account_no(line.account), line_no, texts, line.amount_minor);
                values.extend([Value::from(account_no(line.account)), line_no.into()]);
                values.extend([debtor, creditor, kind, day].map(Value::Text));
                values.push(line.amount_minor.into());
            }
            if chunk.len() == LINES_AT_ONCE {
                written(many.execute(&values)?, LINES_AT_ONCE)?;
            } else {
                for line in values[2..].chunks(7) {
                    written(single.execute(&[&values[..2], line].concat())?, 1)?;
                }
            }
        }
        Ok(())
    }
}

/// What stands in the table for lines of no account; accounts count from 1, and the table lets no other kind have it.
const NO_ACCOUNT: i64 = 0;

fn account_no(account: Option<AccountId>) -> i64 {
    account.map_or(NO_ACCOUNT, AccountId::get)
}

fn written(rows: usize, expected: usize) -> Result<(), StoreError> {
    if rows == expected {
        Ok(())
    } else {
        Err(StoreError::Rows { operation: "write lines", table: "settlement_line", rows, expected })
    }
}

/// Reads legs from rows of account, debtor, creditor, kind, day, currency, amount. Neighbouring rows share most texts.
#[derive(Debug, Default)]
pub struct LegReader {
    parties: HashMap<String, Party>,
    days: HashMap<String, BusinessDay>,
}

fn remembered<T: Copy + FromStr<Err = IdError>>(
    known: &mut HashMap<String, T>,
    text: &str,
    column: &'static str,
) -> Result<T, StoreError> {
    if let Some(value) = known.get(text) {
        return Ok(*value);
    }
    let value = text.parse().map_err(|why: IdError| StoreError::Value {
        table: "settlement_line",
        column,
        row: text.to_owned(),
        fault: why.to_string(),
    })?;
    known.insert(text.to_owned(), value);
    Ok(value)
}

impl LegReader {
    /// Reads a leg whose account is in `first` and the others after it.
    ///
    /// # Errors
    /// [`StoreError::Value`] names the column.
    pub fn read(&mut self, row: &Row<'_>, first: usize) -> Result<Leg, StoreError> {
        let account = match row.integer(first)? {
            NO_ACCOUNT => None,
            number => Some(AccountId::new(number).map_err(|why| StoreError::Value {
                table: "settlement_line",
                column: "account_id",
                row: number.to_string(),
                fault: why.to_string(),
            })?),
        };
        Ok(Leg {
            account,
            debtor: remembered(&mut self.parties, row.text(first + 1)?, "debtor")?,
            creditor: remembered(&mut self.parties, row.text(first + 2)?, "creditor")?,
            kind: row.parsed::<LegKind>(first + 3, "settlement_line", "kind")?,
            business_day: remembered(&mut self.days, row.text(first + 4)?, "business_day")?,
            currency: row.parsed(first + 5, "settlement_line", "currency")?,
            amount_minor: row.integer(first + 6)?,
        })
    }
}

/// The lines of an account, or of none, in all runs of a scheme, in no particular order.
///
/// # Errors
/// [`StoreError`].
pub fn lines_of(
    tx: &mut Tx<'_>,
    scheme: Scheme,
    account: Option<AccountId>,
    reader: &mut LegReader,
) -> Result<Vec<Leg>, StoreError> {
    // The account's first line in each run leads to the others beside it. CROSS JOIN keeps the engine from starting with all runs there are.
    tx.query(
        "SELECT line.account_id, line.debtor, line.creditor, line.kind, line.business_day, line.currency, line.amount_minor
         FROM settlement_line AS head CROSS JOIN settlement_run AS run CROSS JOIN settlement_line AS line
         WHERE head.account_id = $2 AND head.line_no = 0 AND run.run_no = head.run_no AND run.scheme = $1
         AND line.run_no = head.run_no AND line.account_id = head.account_id",
        &[scheme.as_str().into(), account_no(account).into()],
        |row| reader.read(row, 0),
    )
}

/// The cumulative legs that lines add up to, in the order of their keys. A leg that comes to nothing is left out.
///
/// # Errors
/// [`StoreError::Rule`] when a sum does not fit.
pub fn legs_of_lines(mut lines: Vec<Leg>) -> Result<Vec<Leg>, StoreError> {
    lines.sort_unstable_by_key(Leg::key);
    let mut legs: Vec<Leg> = Vec::with_capacity(lines.len());
    for line in lines {
        match legs.last_mut().filter(|leg| leg.key() == line.key()) {
            Some(leg) => {
                leg.amount_minor = leg.amount_minor.checked_add(line.amount_minor).ok_or_else(|| StoreError::Rule {
                    operation: "add up lines",
                    fault: format!("a leg of account {} does not fit in 64 bits", account_no(line.account)),
                })?;
            }
            None => legs.push(line),
        }
    }
    legs.retain(|leg| leg.amount_minor != 0);
    Ok(legs)
}

/// Accounts with movements in a range of ingest numbers, ascending.
///
/// # Errors
/// [`StoreError`].
pub fn touched(tx: &mut Tx<'_>, first_ingested_no: i64, last_ingested_no: i64) -> Result<Vec<i64>, StoreError> {
    tx.query(
        "SELECT DISTINCT account_id FROM movement WHERE ingested_no >= $1 AND ingested_no <= $2 ORDER BY account_id",
        &[first_ingested_no.into(), last_ingested_no.into()],
        |row| row.integer(0),
    )
}

/// The last entry that was accepted.
///
/// # Errors
/// [`StoreError`].
pub fn last_ingested_no(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    Ok(tx.query_one("SELECT MAX(ingested_no) FROM entry", &[], |row| row.maybe_integer(0))?.flatten().unwrap_or(0))
}

/// The first business day that anything happened on, and the last within the horizon that some store's seal was accepted for, by the hub or
/// by finance.
///
/// # Errors
/// [`StoreError`].
pub fn day_range(tx: &mut Tx<'_>, horizon: &Horizon) -> Result<(Option<BusinessDay>, Option<BusinessDay>), StoreError> {
    let mut day = |sql: &str, values: &[Value<'_>]| -> Result<Option<BusinessDay>, StoreError> {
        let found = tx.query_one(sql, values, |row| row.maybe_parsed(0, "day", "business_day"))?;
        Ok(found.flatten())
    };
    // Stores open a day before they trade; head office's own postings belong to no store's day.
    let opened = day("SELECT MIN(business_day) FROM day", &[])?;
    let posted = day("SELECT MIN(business_day) FROM entry WHERE store_id = 'HUB'", &[])?;
    let mut last_accepted = None;
    for (zone, last) in horizon.zones() {
        let accepted = day(
            &format!(
                "SELECT MAX(day.business_day) FROM day JOIN store ON store.store_id = day.store_id
                 WHERE store.time_zone = $1 AND day.business_day <= $2 AND (day.state = 'accepted' OR {IS_RESOLVED})"
            ),
            &[zone.into(), (&last.to_string()).into()],
        )?;
        last_accepted = last_accepted.max(accepted);
    }
    Ok((opened.into_iter().chain(posted).min(), last_accepted))
}

/// Days that stores opened beyond the horizon, by store and day.
///
/// # Errors
/// [`StoreError`].
pub fn far_days(tx: &mut Tx<'_>, horizon: &Horizon) -> Result<Vec<FarDay>, StoreError> {
    let mut far = Vec::new();
    for (zone, last) in horizon.zones() {
        far.extend(tx.query(
            "SELECT day.store_id, day.business_day FROM day JOIN store ON store.store_id = day.store_id
             WHERE store.time_zone = $1 AND day.business_day > $2",
            &[zone.into(), (&last.to_string()).into()],
            |row| {
                let store = row.parsed(0, "day", "store_id")?;
                Ok::<_, StoreError>(FarDay { store, business_day: row.parsed(1, "day", "business_day")? })
            },
        )?);
    }
    far.sort_by_key(|day| (day.store, day.business_day));
    Ok(far)
}

/// A store that is not complete up to a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Late {
    /// The store.
    pub store: StoreId,
    /// The first day that is missing; nothing when only the reports tell that something is.
    pub business_day: Option<BusinessDay>,
    /// What is missing, in words.
    pub reason: String,
}

/// Stores that are not complete up to a day: an open or contradicted day that finance has said nothing of, or a report that is ahead of the journal.
///
/// # Errors
/// [`StoreError`].
pub fn late(tx: &mut Tx<'_>, day_to: BusinessDay, horizon: &Horizon) -> Result<Vec<Late>, StoreError> {
    let furthest = horizon.furthest().unwrap_or(day_to).max(day_to).to_string();
    let day_to = day_to.to_string();
    let mut late = tx.query(
        &format!(
            "SELECT store_id, MIN(business_day), COUNT(*), MAX(state) FROM day WHERE business_day <= $1 AND state <> 'accepted'
             AND NOT {IS_RESOLVED} GROUP BY store_id ORDER BY store_id"
        ),
        &[(&day_to).into()],
        |row| {
            let (count, open) = (row.integer(2)?, row.text(3)? == "open");
            let what = if open { "not sealed" } else { "sealed with other figures than the hub counts" };
            Ok::<_, StoreError>(Late {
                store: row.parsed(0, "day", "store_id")?,
                business_day: row.maybe_parsed(1, "day", "business_day")?,
                reason: if count == 1 { what.to_owned() } else { format!("{count} days, {what}") },
            })
        },
    )?;
    // Finance's word on a day that has no seal stands for what follows too, until the store is heard again. A word on a seal is about that day alone.
    let behind = tx.query(
        "SELECT device.store_id, device.reported_seq - COALESCE(journal.seq, 0) FROM device
         LEFT JOIN journal ON journal.store_id = device.store_id AND journal.epoch = device.epoch
         WHERE device.reported_seq > COALESCE(journal.seq, 0)
         AND NOT EXISTS (SELECT 1 FROM day WHERE day.store_id = device.store_id AND day.business_day >= $1 AND day.business_day <= $2)
         AND NOT EXISTS (SELECT 1 FROM day_resolution AS word WHERE word.store_id = device.store_id AND word.seal_seq = 0
             AND (word.business_day >= $1 OR word.resolved_at_ms >= COALESCE(device.last_seen_ms, 0)))
         ORDER BY device.store_id",
        &[(&day_to).into(), (&furthest).into()],
        |row| {
            let missing = row.integer(1)?;
            Ok::<_, StoreError>(Late {
                store: row.parsed(0, "device", "store_id")?,
                business_day: None,
                reason: format!("{missing} entries that it reported have not arrived"),
            })
        },
    )?;
    for store in behind {
        if late.iter().all(|other| other.store != store.store) {
            late.push(store);
        }
    }
    Ok(late)
}

/// How many stores have accepted days in a range.
///
/// # Errors
/// [`StoreError`].
pub fn stores_with_days(
    tx: &mut Tx<'_>,
    day_from: BusinessDay,
    day_to: BusinessDay,
) -> Result<Vec<StoreId>, StoreError> {
    tx.query(
        &format!(
            "SELECT DISTINCT store_id FROM day WHERE business_day >= $1 AND business_day <= $2
             AND (state = 'accepted' OR {IS_RESOLVED})"
        ),
        &[(&day_from.to_string()).into(), (&day_to.to_string()).into()],
        |row| row.parsed(0, "day", "store_id"),
    )
}
