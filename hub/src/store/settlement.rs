//! Settlement rows: runs, their lines, and the cumulative legs that later runs are measured against.
//!
//! Plain reading and writing; what a run is, is decided in `settle`. Invariant: `settlement_leg` is the sum of `settlement_line` over all runs of
//! its scheme, and rows of a run never change once it is committed.

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

use super::engine::{Row, StoreError, Tx, Value};

/// A run as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
}

const RUN: &str = "SELECT run_no, scheme, standing, finality, day_from, day_to, cut_ingested_no, previous_run_no, agreements, code_version,
     stores_complete, stores_late, open_ingested_no, created_at_ms FROM settlement_run";

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
    let currency = super::root::hub(tx)?.currency;
    tx.query(&format!("{RUN} ORDER BY run_no"), &[], |row| read_run(row, currency))
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
         code_version, stores_complete, stores_late, open_ingested_no, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
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
        ],
    )
}

/// Records what the next run must look at again, which is known only at the end.
///
/// # Errors
/// [`StoreError`].
pub fn write_open(tx: &mut Tx<'_>, id: RunId, open_ingested_no: i64) -> Result<(), StoreError> {
    tx.execute_one(
        "finish a run",
        "settlement_run",
        "UPDATE settlement_run SET open_ingested_no = $2 WHERE run_no = $1",
        &[id.0.into(), open_ingested_no.into()],
    )
}

/// Writes lines of a run, and adds up what each party came to on each day.
///
/// A run writes millions of rows with few parties and days, so both are known by number, their texts are made once, and sums are kept by number.
#[derive(Debug, Default)]
pub struct LegWriter {
    parties: Numbered<Party>,
    days: Numbered<BusinessDay>,
    positions: HashMap<(usize, usize), i64>,
}

/// Values that were seen, each with a number and its text.
#[derive(Debug)]
struct Numbered<T> {
    numbers: HashMap<T, usize>,
    seen: Vec<(T, String)>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), seen: Vec::new() }
    }
}

impl<T: Copy + Eq + std::hash::Hash + std::fmt::Display> Numbered<T> {
    fn number(&mut self, value: T) -> usize {
        *self.numbers.entry(value).or_insert_with(|| {
            self.seen.push((value, value.to_string()));
            self.seen.len() - 1
        })
    }

    fn text(&self, number: usize) -> &str {
        &self.seen[number].1
    }
}

impl LegWriter {
    /// What each party is to receive or pay by what was written, per currency and business day.
    #[must_use]
    pub fn positions(&self, currency: Currency) -> DailyPositions {
        self.positions
            .iter()
            .map(|(&(day, party), &amount)| ((currency, self.days.seen[day].0, self.parties.seen[party].0), amount))
            .collect()
    }

    fn add_up(&mut self, day: usize, party: usize, amount_minor: Option<i64>) -> Result<(), StoreError> {
        let position = self.positions.entry((day, party)).or_insert(0);
        *position = amount_minor.and_then(|amount| position.checked_add(amount)).ok_or_else(|| StoreError::Rule {
            operation: "add up a run",
            fault: "what a party owes and is owed on a day does not fit in 64 bits".to_owned(),
        })?;
        Ok(())
    }

    /// Writes lines of a run and adds them to the cumulative legs of its scheme. A leg that comes to nothing is taken away.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write(&mut self, tx: &mut Tx<'_>, run: RunId, scheme: Scheme, lines: &[Leg]) -> Result<(), StoreError> {
        let mut insert = tx.bulk(
            "INSERT INTO settlement_line (run_no, account_id, debtor, creditor, kind, business_day, currency, amount_minor)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )?;
        let mut add = tx.bulk(
            "INSERT INTO settlement_leg (scheme, account_id, debtor, creditor, kind, business_day, currency, amount_minor)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (scheme, account_id, debtor, creditor, kind, business_day, currency)
             DO UPDATE SET amount_minor = settlement_leg.amount_minor + excluded.amount_minor",
        )?;
        let mut take_away = tx.bulk(
            "DELETE FROM settlement_leg WHERE scheme = $1 AND account_id = $2 AND debtor = $3 AND creditor = $4 AND kind = $5
             AND business_day = $6 AND currency = $7 AND amount_minor = 0",
        )?;
        for line in lines {
            let (debtor, creditor) = (self.parties.number(line.debtor), self.parties.number(line.creditor));
            let day = self.days.number(line.business_day);
            if debtor != creditor {
                self.add_up(day, debtor, line.amount_minor.checked_neg())?;
                self.add_up(day, creditor, Some(line.amount_minor))?;
            }
            let mut values: [Value<'_>; 8] = [
                run.0.into(),
                line.account.into(),
                self.parties.text(debtor).into(),
                self.parties.text(creditor).into(),
                line.kind.as_str().into(),
                self.days.text(day).into(),
                line.currency.into(),
                line.amount_minor.into(),
            ];
            one("settlement_line", insert.execute(&values)?)?;
            values[0] = scheme.as_str().into();
            one("settlement_leg", add.execute(&values)?)?;
            if line.amount_minor < 0 {
                take_away.execute(&values[..7])?;
            }
        }
        Ok(())
    }
}

fn one(table: &'static str, rows: usize) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Rows { operation: "write a line", table, rows, expected: 1 }) }
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
        let account = row.integer(first)?;
        Ok(Leg {
            account: AccountId::new(account).map_err(|why| StoreError::Value {
                table: "settlement_line",
                column: "account_id",
                row: account.to_string(),
                fault: why.to_string(),
            })?,
            debtor: remembered(&mut self.parties, row.text(first + 1)?, "debtor")?,
            creditor: remembered(&mut self.parties, row.text(first + 2)?, "creditor")?,
            kind: row.parsed::<LegKind>(first + 3, "settlement_line", "kind")?,
            business_day: remembered(&mut self.days, row.text(first + 4)?, "business_day")?,
            currency: row.parsed(first + 5, "settlement_line", "currency")?,
            amount_minor: row.integer(first + 6)?,
        })
    }
}

/// The cumulative legs of an account under a scheme, in the order of their keys.
///
/// # Errors
/// [`StoreError`].
pub fn legs_of(
    tx: &mut Tx<'_>,
    scheme: Scheme,
    account: AccountId,
    reader: &mut LegReader,
) -> Result<Vec<Leg>, StoreError> {
    let mut legs = tx.query(
        "SELECT account_id, debtor, creditor, kind, business_day, currency, amount_minor FROM settlement_leg
         WHERE scheme = $1 AND account_id = $2",
        &[scheme.as_str().into(), account.into()],
        |row| reader.read(row, 0),
    )?;
    legs.sort_unstable_by_key(Leg::key);
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

/// The first business day that anything happened on, and the last that some store's seal was accepted for.
///
/// # Errors
/// [`StoreError`].
pub fn day_range(tx: &mut Tx<'_>) -> Result<(Option<BusinessDay>, Option<BusinessDay>), StoreError> {
    let mut day = |sql: &str| -> Result<Option<BusinessDay>, StoreError> {
        let found = tx.query_one(sql, &[], |row| row.maybe_parsed(0, "day", "business_day"))?;
        Ok(found.flatten())
    };
    // Stores open a day before they trade; head office's own postings belong to no store's day.
    let opened = day("SELECT MIN(business_day) FROM day")?;
    let posted = day("SELECT MIN(business_day) FROM entry WHERE store_id = 'HUB'")?;
    let last_accepted = day("SELECT MAX(business_day) FROM day WHERE state = 'accepted'")?;
    Ok((opened.into_iter().chain(posted).min(), last_accepted))
}

/// A store that is not complete up to a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Late {
    /// The store.
    pub store: StoreId,
    /// The first day that is missing; nothing when only the reports tell that something is.
    pub business_day: Option<BusinessDay>,
    /// What is missing, in words.
    pub reason: String,
}

/// Stores that are not complete up to a day: an open or contradicted day, or a report that is ahead of the journal.
///
/// # Errors
/// [`StoreError`].
pub fn late(tx: &mut Tx<'_>, day_to: BusinessDay) -> Result<Vec<Late>, StoreError> {
    let day_to = day_to.to_string();
    let mut late = tx.query(
        "SELECT store_id, MIN(business_day), COUNT(*), MAX(state) FROM day WHERE business_day <= $1 AND state <> 'accepted'
         GROUP BY store_id ORDER BY store_id",
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
    let behind = tx.query(
        "SELECT device.store_id, device.reported_seq - COALESCE(journal.seq, 0) FROM device
         LEFT JOIN journal ON journal.store_id = device.store_id AND journal.epoch = device.epoch
         WHERE device.reported_seq > COALESCE(journal.seq, 0)
         AND NOT EXISTS (SELECT 1 FROM day WHERE day.store_id = device.store_id AND day.business_day >= $1)
         ORDER BY device.store_id",
        &[(&day_to).into()],
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
        "SELECT DISTINCT store_id FROM day WHERE business_day >= $1 AND business_day <= $2 AND state = 'accepted'",
        &[(&day_from.to_string()).into(), (&day_to.to_string()).into()],
        |row| row.parsed(0, "day", "store_id"),
    )
}
