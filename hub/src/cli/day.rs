//! `huitong-hub day | exception | stats`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use clap::Subcommand;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::{BusinessDay, Instant};
use serde_json::json;

use super::output::table;
use super::{Failure, Output, Place, World};
use crate::calendar::{self, CalendarDay};
use crate::store::day::{self as rows, Resolution};
use crate::store::engine::StoreError;
use crate::store::exception::{self, Exception};
use crate::store::{allotment, engine::Tx};

/// How many days are listed when nobody says how many.
const DAYS_LISTED: i64 = 7;

#[derive(Debug, Subcommand)]
pub(crate) enum DayCommand {
    /// List the business days of all stores: missing, open, late, accepted, differs, resolved.
    List {
        /// The first day; a week back when left away.
        #[arg(long, value_name = "DAY")]
        from: Option<BusinessDay>,
        /// The last day; the last one that any store opened when left away.
        #[arg(long, value_name = "DAY")]
        to: Option<BusinessDay>,
    },
    /// Show a store's day: its seal, what the hub counts differently, and what finance said of it.
    Show {
        /// The store.
        store: StoreId,
        /// The day.
        day: BusinessDay,
    },
    /// Take a day as the hub counted it, though its seal differs or never came. Final runs wait for it no longer; what arrives later becomes an adjustment.
    Resolve {
        /// The store.
        store: StoreId,
        /// The day.
        day: BusinessDay,
        /// Why.
        #[arg(long)]
        note: String,
        /// Who decided it. When left away, whoever is logged in.
        #[arg(long, env = "USER", hide_env_values = true, default_value = "unknown")]
        by: String,
    },
}

impl DayCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let now = world.now();
        match self {
            Self::List { from, to } => {
                let days = place.open()?.read_blocking(move |tx| list(tx, from, to, now))?;
                out.show(&days, |text| show_days(text, &days))?;
            }
            Self::Show { store, day } => {
                let (found, said) = place.open()?.read_blocking(move |tx| {
                    let found = calendar::calendar(tx, day, day, now)?.into_iter().find(|found| found.store == store);
                    let mut said = rows::resolutions(tx, day, day)?;
                    said.retain(|word| word.store == store);
                    Ok::<_, StoreError>((found, said))
                })?;
                let found = found.ok_or_else(|| {
                    Failure::Refused(format!(
                        "nothing of {day} of {store} is here\n  hint: huitong-hub day list --from {day}"
                    ))
                })?;
                out.show(&json!({ "day": found, "resolutions": said }), |text| {
                    writeln!(text, "{} of {}: {}", found.business_day, found.store, found.state.as_str())?;
                    if let Some(since) = found.not_heard_since_ms {
                        writeln!(text, "not heard since {since}")?;
                    }
                    for line in found.differences.lines() {
                        writeln!(text, "differs   {line}")?;
                    }
                    for word in &said {
                        show_resolution(text, word)?;
                    }
                    Ok(())
                })?;
            }
            Self::Resolve { store: of, day, note, by } => {
                let store = place.open()?;
                let resolved =
                    store.write_blocking::<_, StoreError, _>(move |tx| calendar::resolve(tx, of, day, &by, &note, now));
                store.close();
                let word = resolved?;
                out.show(&word, |text| {
                    writeln!(text, "{} of {}: resolved", word.business_day, word.store)?;
                    show_resolution(text, &word)
                })?;
            }
        }
        Ok(())
    }
}

fn show_resolution(text: &mut dyn Write, word: &Resolution) -> io::Result<()> {
    writeln!(text, "resolved  by {} at {}: {}", word.resolved_by, Instant(word.resolved_at_ms), word.note)
}

fn show_days(text: &mut dyn Write, days: &[CalendarDay]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = days
        .iter()
        .map(|day| {
            let remark = match (&day.resolution, day.not_heard_since_ms) {
                (Some(word), _) => {
                    format!("by {} at {}: {}", word.resolved_by, Instant(word.resolved_at_ms), word.note)
                }
                (None, Some(since)) => format!("not heard since {since}"),
                (None, None) => day.differences.lines().next().unwrap_or_default().to_owned(),
            };
            vec![day.business_day.to_string(), day.store.to_string(), day.state.as_str().to_owned(), remark]
        })
        .collect();
    table(text, &["day", "store", "state", "remark"], &rows)?;
    let silent = days.iter().filter(|day| day.not_heard_since_ms.is_some()).map(|day| day.store);
    let silent: BTreeSet<StoreId> = silent.collect();
    if !silent.is_empty() {
        writeln!(text, "\n{} store(s) were silent all day; whether they traded is not known", silent.len())?;
    }
    Ok(())
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
        for table in ["store", "item", "member", "card", "entry", "movement", "exception", "settlement_run"] {
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
