//! `huitong-hub day | stats`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use clap::Subcommand;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::{BusinessDay, Instant};
use serde_json::json;

use super::output::table;
use super::{Failure, Output, Place, World, actor};
use crate::actor::UNKNOWN;
use crate::calendar::{self, CalendarDay};
use crate::store::allotment;
use crate::store::day::{self as rows, Resolution};
use crate::store::engine::StoreError;

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
        #[arg(long, env = "USER", hide_env_values = true, default_value = UNKNOWN)]
        by: String,
    },
}

impl DayCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let now = world.now();
        match self {
            Self::List { from, to } => {
                let days = place.open()?.read_blocking(move |tx| calendar::latest(tx, from, to, now))?;
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
                let actor = actor(&by)?;
                let store = place.open()?;
                let resolved = store
                    .write_blocking::<_, StoreError, _>(move |tx| calendar::resolve(tx, of, day, &actor, &note, now));
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
