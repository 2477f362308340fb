//! `huitong-hub suspense`: what epochs of stores held when they ended, and two people's word to pay it back.

use std::io::{self, Write};

use clap::{ArgGroup, Subcommand};
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::time::BusinessDay;

use super::account::{account_of, amount_in};
use super::exception::By;
use super::output::table;
use super::{Failure, Output, Place, World, actor};
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
    /// Decide what becomes of what waits. Two people say the same: the first asks, the second pays.
    #[command(group = ArgGroup::new("what").required(true))]
    Resolve {
        /// The store and its epoch: S1-2.
        #[arg(value_parser = epoch_of)]
        epoch: (StoreId, Epoch),
        /// Pay it back to the accounts, from the group's risk account.
        #[arg(long, group = "what")]
        repay: bool,
        /// Only this account.
        #[arg(long, value_parser = account_of, value_name = "NUMBER")]
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
            Self::Resolve { epoch: (store, epoch), repay: _, account, note, by } => {
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
    let SuspendedSheet { suspended: Suspended { fenced, journal_seq, repayments, .. }, lines } = sheet;
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
    Ok(())
}
