//! `huitong-hub day | exception | stats`.

use std::collections::BTreeMap;

use clap::Subcommand;
use huitong_protocol::time::{BusinessDay, Instant};
use serde_json::json;

use super::output::table;
use super::{Failure, Output, Place, World};
use crate::calendar::{self, CalendarDay};
use crate::store::engine::StoreError;
use crate::store::exception::{self, Exception};
use crate::store::{allotment, engine::Tx};

/// How many days are listed when nobody says how many.
const DAYS_LISTED: i64 = 7;

#[derive(Debug, Subcommand)]
pub(crate) enum DayCommand {
    /// List the business days of all stores: missing, open, late, accepted, differs.
    List {
        /// The first day; a week back when left away.
        #[arg(long, value_name = "DAY")]
        from: Option<BusinessDay>,
        /// The last day; the last one that any store opened when left away.
        #[arg(long, value_name = "DAY")]
        to: Option<BusinessDay>,
    },
}

impl DayCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let Self::List { from, to } = self;
        let now = world.now();
        let days = place.open()?.read_blocking(move |tx| list(tx, from, to, now))?;
        out.show(&days, |text| {
            let rows: Vec<Vec<String>> = days
                .iter()
                .map(|day| {
                    let first = day.differences.lines().next().unwrap_or_default();
                    vec![
                        day.business_day.to_string(),
                        day.store.to_string(),
                        day.state.as_str().to_owned(),
                        first.to_owned(),
                    ]
                })
                .collect();
            table(text, &["day", "store", "state", "differences"], &rows)
        })?;
        Ok(())
    }
}

fn list(
    tx: &mut Tx<'_>,
    from: Option<BusinessDay>,
    to: Option<BusinessDay>,
    now: Instant,
) -> Result<Vec<CalendarDay>, StoreError> {
    let Some(to) = to.or(calendar::last_day(tx, now)?) else { return Ok(Vec::new()) };
    let week = || BusinessDay::of(to.date().saturating_sub(jiff::Span::new().days(DAYS_LISTED - 1)));
    calendar::calendar(tx, from.unwrap_or_else(week), to, now)
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExceptionCommand {
    /// List what somebody should look at.
    List {
        /// Include what was resolved.
        #[arg(long)]
        all: bool,
    },
    /// Show one with its evidence and what to do.
    Show {
        /// Its number.
        number: i64,
    },
    /// Mark one as dealt with.
    Resolve {
        /// Its number.
        number: i64,
        /// How it was dealt with.
        #[arg(long)]
        note: String,
    },
}

impl ExceptionCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::List { all } => {
                let found = place.open()?.read_blocking(move |tx| exception::list(tx, !all))?;
                out.show(&found, |text| {
                    let rows: Vec<Vec<String>> = found
                        .iter()
                        .map(|e| {
                            let store = e.store.map_or(String::new(), |store| store.to_string());
                            vec![
                                e.number.to_string(),
                                e.severity.clone(),
                                e.class.clone(),
                                store,
                                e.subject.clone(),
                                e.state.clone(),
                            ]
                        })
                        .collect();
                    table(text, &[">no", "severity", "class", "store", "subject", "state"], &rows)
                })?;
            }
            Self::Show { number } => {
                let found = place
                    .open()?
                    .read_blocking(move |tx| exception::find(tx, number))?
                    .ok_or_else(|| unknown(number))?;
                show(&found, out)?;
            }
            Self::Resolve { number, note } => {
                if note.trim().is_empty() {
                    return Err(Failure::Refused(
                        "--note is empty\n  hint: say how it was dealt with, for whoever asks in a year".to_owned(),
                    ));
                }
                let now = world.now();
                let store = place.open()?;
                let outcome = store.write_blocking::<_, StoreError, _>(move |tx| {
                    let resolved = exception::resolve(tx, number, &note, now)?;
                    Ok((resolved, exception::find(tx, number)?))
                });
                store.close();
                match outcome? {
                    (true, Some(found)) => show(&found, out)?,
                    (_, None) => return Err(unknown(number)),
                    (false, Some(_)) => {
                        return Err(Failure::Refused(format!("exception {number} is resolved already")));
                    }
                }
            }
        }
        Ok(())
    }
}

fn unknown(number: i64) -> Failure {
    Failure::Refused(format!("there is no exception {number}\n  hint: huitong-hub exception list --all"))
}

fn show(exception: &Exception, out: &mut Output<'_>) -> Result<(), Failure> {
    out.show(exception, |text| {
        writeln!(
            text,
            "exception {} ({}, {}), {}",
            exception.number, exception.class, exception.severity, exception.state
        )?;
        if let Some(store) = exception.store {
            writeln!(text, "store     {store}")?;
        }
        writeln!(text, "about     {}", exception.subject)?;
        writeln!(text, "found     {}", exception.evidence)?;
        writeln!(text, "to do     {}", exception.proposal)?;
        if let Some(resolution) = &exception.resolution {
            writeln!(text, "done      {resolution}")?;
        }
        Ok(())
    })?;
    Ok(())
}

/// `huitong-hub stats`.
pub(crate) fn stats(place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
    let (counts, rows) = place.open()?.read_blocking(|tx| {
        let counts: BTreeMap<String, i64> = allotment::counts(tx)?.into_iter().collect();
        let mut rows = BTreeMap::new();
        for table in ["store", "member", "card", "entry", "movement", "exception", "settlement_run"] {
            let count = tx.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[], |row| row.integer(0))?;
            rows.insert(table, count.unwrap_or(0));
        }
        Ok::<_, StoreError>((counts, rows))
    })?;
    out.show(&json!({ "allotments": counts, "rows": rows }), |text| {
        let lines: Vec<Vec<String>> = counts
            .iter()
            .map(|(name, count)| vec![format!("allotment {name}"), count.to_string()])
            .chain(rows.iter().map(|(name, count)| vec![format!("rows of {name}"), count.to_string()]))
            .collect();
        table(text, &["what", ">count"], &lines)
    })?;
    Ok(())
}
