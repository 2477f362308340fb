//! `huitong-hub suspense`: what epochs of stores held when they ended, what receipts prove of it, and two people's word to pay it back.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::time::BusinessDay;

use super::account::{account_of, amount_in};
use super::exception::By;
use super::output::table;
use super::{Failure, Output, Place, World, actor, read_file};
use crate::receipt::{self, ReceiptSheet, Stage};
use crate::suspense::{self, Occasion, Suspended, SuspendedSheet, SuspenseError};

fn epoch_of(text: &str) -> Result<(StoreId, Epoch), String> {
    suspense::epoch_of(text).ok_or_else(|| "is no epoch of a store; write it as S1-2".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum SuspenseCommand {
    /// List ended epochs of which something waits or was paid back.
    List {
        /// Only of this store.
        #[arg(long)]
        store: Option<StoreId>,
        /// Also those of which nothing does.
        #[arg(long)]
        all: bool,
    },
    /// Show an ended epoch, account by account.
    Show {
        /// The store and its epoch: S1-2.
        #[arg(value_parser = epoch_of)]
        epoch: (StoreId, Epoch),
    },
    /// Decide what becomes of what waits. Two people say the same: the first asks, the second does it.
    #[command(group = ArgGroup::new("what").required(true))]
    Resolve {
        /// The store and its epoch: S1-2.
        #[arg(value_parser = epoch_of)]
        epoch: (StoreId, Epoch),
        /// Pay it back to the accounts, from the group's risk account.
        #[arg(long, group = "what")]
        repay: bool,
        /// Let receipts count until the journal comes: CSV with the columns entry, card, kind (spend, load or refund), amount and time (RFC 3339). A spend lowers
        /// what waits, a load or refund raises it, and --repay then pays it.
        #[arg(long, group = "what", value_name = "FILE")]
        receipts: Option<PathBuf>,
        /// Only look at what receipts would change.
        #[arg(long, requires = "receipts")]
        dry_run: bool,
        /// Only this account.
        #[arg(long, value_parser = account_of, value_name = "NUMBER", conflicts_with = "receipts")]
        account: Option<AccountId>,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        by: By,
    },
}

impl From<SuspenseError> for Failure {
    fn from(error: SuspenseError) -> Self {
        match error {
            SuspenseError::Store(error) => error.into(),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

impl SuspenseCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let sheet = match self {
            Self::List { store, all } => {
                let found = place.open()?.read_blocking(move |tx| suspense::list(tx, store, all))?;
                out.show(&found, |text| list(text, &found))?;
                return Ok(());
            }
            Self::Show { epoch: (store, epoch) } => {
                place.open()?.read_blocking(move |tx| suspense::show(tx, store, epoch))?
            }
            Self::Resolve { epoch, receipts: Some(file), dry_run, note, by, .. } => {
                let (actor, now, csv) = (actor(&by.by)?, world.now(), read_file(&file)?);
                let hub = place.open()?;
                let sheet = if dry_run {
                    hub.read_blocking(move |tx| receipt::rehearse(tx, epoch, &csv, now))
                } else {
                    hub.write_blocking(move |tx| receipt::bring(tx, &actor, epoch, (&csv, &note), now))
                };
                hub.close();
                let sheet = sheet?;
                out.show(&sheet, |text| show_receipts(text, &sheet))?;
                return if sheet.faults_total > 0 { Err(Failure::Found) } else { Ok(()) };
            }
            Self::Resolve { epoch: (store, epoch), account, note, by, .. } => {
                let (actor, now) = (actor(&by.by)?, world.now());
                let occasion = Occasion { now, day: today(place, now)? };
                let hub = place.open()?;
                let sheet = suspense::repay(&hub, &actor, (store, epoch, account), &note, occasion);
                hub.close();
                sheet?
            }
        };
        out.show(&sheet, |text| show(text, &sheet))?;
        Ok(())
    }
}

/// Today, on the clock of the hub's zone.
pub(super) fn today(place: &Place, now: huitong_protocol::time::Instant) -> Result<BusinessDay, Failure> {
    let zone = place.load()?.value.time_zone;
    let zone = jiff::tz::TimeZone::get(&zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let at = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    Ok(BusinessDay::of(at.to_zoned(zone).date()))
}

fn list(text: &mut dyn Write, found: &[Suspended]) -> io::Result<()> {
    let mut rows = Vec::new();
    for Suspended { fenced, sums, journal_seq, .. } in found {
        for sum in sums {
            let cell = |minor| amount_in(sum.unit, minor);
            rows.push(vec![
                format!("{}-{}", fenced.store, fenced.epoch),
                fenced.fenced_at_ms.to_string(),
                fenced.fenced_by.clone(),
                fenced.heard_seq.to_string(),
                journal_seq.to_string(),
                cell(sum.waiting_minor),
                cell(sum.repaid_minor),
                cell(sum.loss_minor),
            ]);
        }
    }
    table(text, &["epoch", "ended", "by", ">heard", ">journal", ">waits", ">paid back", ">lost"], &rows)
}

fn show(text: &mut dyn Write, sheet: &SuspendedSheet) -> io::Result<()> {
    let SuspendedSheet { suspended: Suspended { fenced, journal_seq, repayments, .. }, lines, receipts, receipt_files } =
        sheet;
    let (store, epoch) = (fenced.store, fenced.epoch);
    writeln!(text, "{store}-{epoch} ended at {} by {}: {}", fenced.fenced_at_ms, fenced.fenced_by, fenced.note)?;
    writeln!(text, "heard up to entry {}, its journal is here up to {journal_seq}", fenced.heard_seq)?;
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let cell = |minor| amount_in(line.sum.unit, minor);
            let (waits, paid, lost) = (line.sum.waiting_minor, line.sum.repaid_minor, line.sum.loss_minor);
            vec![line.account.to_string(), cell(waits), cell(paid), cell(lost)]
        })
        .collect();
    table(text, &[">account", ">waits", ">paid back", ">lost"], &rows)?;
    for repayment in repayments {
        let of = repayment.account.map_or_else(|| "every account".to_owned(), |account| format!("account {account}"));
        let (by, at, note) = (&repayment.asked_by, repayment.asked_at_ms, &repayment.asked_note);
        writeln!(text, "repayment {} of {of}, asked for by {by} at {at}: {note}", repayment.number)?;
        match (&repayment.paid_by, repayment.paid_at_ms) {
            (Some(by), Some(at)) if repayment.is_under_way() => writeln!(
                text,
                "  {by} decided at {at}; {} part(s) are paid, the same command goes on: huitong-hub suspense resolve {store}-{epoch} --repay",
                repayment.parts
            )?,
            (Some(by), Some(at)) => writeln!(text, "  paid by {by} at {at}: {}", repayment.paid_note)?,
            _ => writeln!(text, "  waits for a second person: huitong-hub suspense resolve {store}-{epoch} --repay")?,
        }
    }
    let rows: Vec<Vec<String>> = receipts
        .iter()
        .map(|receipt| {
            let standing = match receipt.agrees {
                None => "counts",
                Some(true) => "the journal says the same",
                Some(false) => "the journal says otherwise",
            };
            vec![
                receipt.entry.to_string(),
                receipt.account.to_string(),
                receipt.kind.as_str().to_owned(),
                amount_in(receipt.unit, receipt.amount_minor),
                receipt.at_ms.to_string(),
                receipt.file.to_string(),
                standing.to_owned(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        table(text, &["receipt", ">account", "kind", ">amount", "at", ">file", "standing"], &rows)?;
    }
    for file in receipt_files {
        let (by, at, note) = (&file.asked_by, file.asked_at_ms, &file.asked_note);
        writeln!(text, "receipts {}, brought by {by} at {at}: {note}", file.number)?;
        match (&file.applied_by, file.applied_at_ms) {
            (Some(by), Some(at)) => writeln!(text, "  let count by {by} at {at}: {}", file.applied_note)?,
            _ => writeln!(
                text,
                "  wait for a second person: huitong-hub suspense resolve {store}-{epoch} --receipts FILE"
            )?,
        }
    }
    Ok(())
}

fn show_receipts(text: &mut dyn Write, sheet: &ReceiptSheet) -> io::Result<()> {
    let ReceiptSheet { store, epoch, stage, currency, receipts, changes, faults, faults_total } = sheet;
    let unit = huitong_protocol::unit::Unit::Money(*currency);
    let rows: Vec<Vec<String>> = receipts
        .iter()
        .map(|judged| {
            vec![
                judged.line.to_string(),
                judged.entry.to_string(),
                judged.account.to_string(),
                judged.kind.as_str().to_owned(),
                amount_in(unit, judged.amount_minor),
                judged.verdict.words().to_owned(),
            ]
        })
        .collect();
    table(text, &[">line", "entry", ">account", "kind", ">amount", "verdict"], &rows)?;
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| {
            let cell = |minor| amount_in(change.unit, minor);
            vec![
                change.account.to_string(),
                cell(change.loaded_minor),
                cell(change.spent_minor),
                cell(change.waiting_before_minor),
                cell(change.waiting_minor),
                cell(change.loss_minor),
            ]
        })
        .collect();
    if !rows.is_empty() {
        writeln!(text)?;
        table(text, &[">account", ">loaded", ">spent", ">waits", ">would wait", ">lost"], &rows)?;
    }
    for fault in faults {
        writeln!(text, "{fault}")?;
    }
    if *faults_total > faults.len() {
        writeln!(text, "… and {} more", faults_total - faults.len())?;
    }
    let words = match stage {
        Stage::Rehearsed if *faults_total > 0 => {
            format!("{faults_total} bad value(s): nothing of the file would count")
        }
        Stage::Rehearsed => "rehearsal, nothing was done".to_owned(),
        Stage::NothingNew => "nothing changes".to_owned(),
        Stage::Asked => format!(
            "waits for a second person with the same receipts: huitong-hub suspense resolve {store}-{epoch} --receipts FILE"
        ),
        Stage::Applied => {
            format!("the receipts count; what waits is paid by: huitong-hub suspense resolve {store}-{epoch} --repay")
        }
    };
    writeln!(text, "{words}")
}
