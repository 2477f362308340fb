//! `huitong-hub settle`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;
use huitong_protocol::money::{Currency, Money};
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::netting::Obligation;
use huitong_protocol::settlement::run::{Finality, RunId, Standing};
use huitong_protocol::time::{BusinessDay, Instant};
use serde_json::json;

use super::exception::{By, write};
use super::output::table;
use super::{Failure, Output, Place, World, actor, write_new_file};
use crate::approval::{self, RunSheet, RunState, SignedRun, Wanted};
use crate::export;
use crate::settle::{RunReport, SettleError, turn};
use crate::store::day::Resolution;

#[derive(Debug, Subcommand)]
pub(crate) enum SettleCommand {
    /// Settle what has arrived since the last run, up to a business day.
    Run {
        /// The scheme: pool, fifo or home. When left away, the one that the agreement books.
        #[arg(long)]
        scheme: Option<Scheme>,
        /// Compute another scheme beside the books.
        #[arg(long)]
        memo: bool,
        /// The last business day. When left away, the last one that some store's seal was accepted for.
        #[arg(long, value_name = "DAY")]
        to: Option<BusinessDay>,
        /// Settle although stores are missing; what they bring later becomes an adjustment.
        #[arg(long)]
        provisional: bool,
        #[command(flatten)]
        by: By,
    },
    /// Approve a booked and final run. Who prepared it cannot.
    Approve {
        /// The run's number.
        run: i64,
        /// With which words.
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        by: By,
    },
    /// Write a run as CSV, a row per day, pair and kind; each says whether the run was approved.
    Export {
        /// The run's number.
        run: i64,
        /// Write to a new file instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List the runs.
    List,
    /// Show a run: what each owes, gross and netted, and how it can be paid.
    Show {
        /// The run's number.
        run: i64,
        /// Net between legal entities instead of stores.
        #[arg(long)]
        by_legal_entity: bool,
    },
}

impl From<SettleError> for Failure {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Store(error) => error.into(),
            refused @ (SettleError::Refused { .. }
            | SettleError::NoRun(_)
            | SettleError::Note(_)
            | SettleError::UnderWay
            | SettleError::Overtaken(_)) => Self::Refused(refused.to_string()),
            other => Self::Failed(other.into()),
        }
    }
}

impl SettleCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Run { scheme, memo, to, provisional, by } => {
                let actor = actor(&by.by)?;
                let (store, now, bar) = (place.open()?, world.now(), world.bar());
                let wanted = Wanted {
                    scheme,
                    standing: if memo { Standing::Memo } else { Standing::Booked },
                    finality: if provisional { Finality::Provisional } else { Finality::Final },
                    day_to: to,
                };
                let result = turn(&store).and_then(|_turn| {
                    let plan = store.read_blocking(|tx| approval::plan(tx, wanted, now, &bar))?;
                    store.write_blocking(move |tx| approval::prepare(tx, &actor, &plan, now))
                });
                bar.finish_and_clear();
                store.close();
                match result {
                    Ok(report) => out.show(&report, |text| show_report(text, &report))?,
                    Err(SettleError::NothingNew(last)) => {
                        out.show(&json!({ "nothing_new_since": last.run.id }), |text| {
                            writeln!(
                                text,
                                "Nothing has arrived since run {}, which settled up to {}.",
                                last.run.id, last.run.day_to
                            )
                        })?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Self::List => {
                let runs = place.open()?.read_blocking(|tx| approval::page(tx, RunId(0), usize::MAX))?;
                out.show(&runs, |text| {
                    let rows: Vec<Vec<String>> = runs.iter().map(run_row).collect();
                    table(text, &RUN_HEADER, &rows)
                })?;
            }
            Self::Show { run, by_legal_entity } => {
                let sheet = place.open()?.read_blocking(move |tx| approval::sheet(tx, RunId(run), by_legal_entity))?;
                out.show(&sheet, |text| {
                    show_run(text, &sheet)?;
                    show_resolved(text, &sheet.resolved)
                })?;
            }
            Self::Approve { run, note, by } => {
                let (actor, now) = (actor(&by.by)?, world.now());
                let run = write(place, move |tx| approval::approve(tx, &actor, RunId(run), &note, now))?;
                out.show(&run, |text| table(text, &RUN_HEADER, &[run_row(&run)]))?;
            }
            Self::Export { run, out: file } => {
                let csv = place.open()?.read_blocking(move |tx| export::csv(tx, RunId(run)))?;
                match file {
                    None => out.text(&csv)?,
                    Some(path) => write_new_file(&path, &csv)?,
                }
            }
        }
        Ok(())
    }
}

const RUN_HEADER: [&str; 12] = [
    ">run",
    "scheme",
    "standing",
    "finality",
    "from",
    "to",
    ">stores",
    ">late",
    "prepared",
    "by",
    "state",
    "approved by",
];

fn run_row(signed: &SignedRun) -> Vec<String> {
    let (record, run) = (&signed.record, &signed.record.run);
    let approved_by = match &signed.state {
        RunState::Approved { approved_by, .. } => approved_by.clone(),
        RunState::Draft | RunState::Final => String::new(),
    };
    vec![
        run.id.to_string(),
        run.scheme.to_string(),
        run.standing.as_str().to_owned(),
        run.finality.as_str().to_owned(),
        run.day_from.to_string(),
        run.day_to.to_string(),
        record.stores_complete.to_string(),
        record.stores_late.to_string(),
        run.prepared_at_ms.to_string(),
        signed.prepared_by.clone().unwrap_or_default(),
        signed.state.as_str().to_owned(),
        approved_by,
    ]
}

fn show_report(text: &mut dyn Write, report: &RunReport) -> io::Result<()> {
    let run = &report.record.run;
    writeln!(
        text,
        "Run {}: {} {} {}, {} to {}, {} accounts, {} lines, {} of them adjustments",
        run.id,
        run.scheme,
        run.standing.as_str(),
        run.finality.as_str(),
        run.day_from,
        run.day_to,
        report.accounts,
        report.lines,
        report.adjustments
    )?;
    for late in &report.late {
        let day = late.business_day.map_or(String::new(), |day| format!(" {day}"));
        writeln!(text, "late: {}{day}, {}", late.store, late.reason)?;
    }
    for far in &report.far {
        writeln!(
            text,
            "left out: {} {}, a day that by head office's clock it cannot have come to",
            far.store, far.business_day
        )?;
    }
    for silent in &report.silent {
        writeln!(text, "not heard since {}: {}", silent.last_seen_ms, silent.store)?;
    }
    if !report.silent.is_empty() {
        writeln!(
            text,
            "{} store(s) were silent on {}; whether they traded is not known",
            report.silent.len(),
            run.day_to
        )?;
    }
    show_resolved(text, &report.resolved)?;
    writeln!(text)?;
    show_positions(text, &report.positions, run.currency)
}

fn show_resolved(text: &mut dyn Write, resolved: &[Resolution]) -> io::Result<()> {
    for word in resolved {
        let (at, by) = (Instant(word.resolved_at_ms), &word.resolved_by);
        writeln!(text, "taken as counted: {} {}, by {by} at {at}: {}", word.store, word.business_day, word.note)?;
    }
    Ok(())
}

fn show_positions(text: &mut dyn Write, positions: &[(Party, i64)], currency: Currency) -> io::Result<()> {
    let amount = |minor| Money { minor, currency }.decimal();
    let rows: Vec<Vec<String>> = positions
        .iter()
        .map(|(party, minor)| {
            let (pays, receives) = if *minor < 0 {
                (amount(minor.saturating_neg()), String::new())
            } else {
                (String::new(), amount(*minor))
            };
            vec![party.to_string(), pays, receives]
        })
        .chain([vec!["sum".to_owned(), String::new(), amount(positions.iter().map(|(_, minor)| minor).sum())]])
        .collect();
    table(text, &["party", ">pays", ">receives"], &rows)
}

fn show_run(text: &mut dyn Write, sheet: &RunSheet) -> io::Result<()> {
    let netting = &sheet.netting;
    let currency = sheet.run.record.run.currency;
    table(text, &RUN_HEADER, &[run_row(&sheet.run)])?;
    writeln!(text, "\nWhat each is to pay or to receive, {currency}:")?;
    show_positions(text, &netting.positions, currency)?;
    let pairs = |text: &mut dyn Write, title: &str, owed: &[Obligation]| {
        writeln!(text, "\n{title}:")?;
        let rows: Vec<Vec<String>> = owed
            .iter()
            .map(|o| {
                vec![o.debtor.to_string(), o.creditor.to_string(), Money { minor: o.amount_minor, currency }.decimal()]
            })
            .collect();
        table(text, &["pays", "to", ">amount"], &rows)
    };
    pairs(text, "Gross, by pair", &netting.obligations)?;
    pairs(text, "Payments with the hub in between", &netting.hub_payments)?;
    pairs(text, "The fewest direct transfers", &netting.transfers)
}
