//! Import: master data and opening balances from CSV files, all or nothing.
//!
//! A file is read and judged in full before anything is written: every bad line is reported with its line, field and reason, and a file with one
//! bad line changes nothing. What is written goes into one transaction, which a dry run takes back. The columns of each kind of file are in the
//! file of that noun; here is only what they share. Money is decimal text read exactly into minor units; there is no float on the way.

pub mod cards;
mod encoding;
pub mod items;
pub mod legal_entities;
pub mod members;
pub mod opening;
pub mod stores;
mod table;

use std::fmt;

use huitong_protocol::money::{Currency, Money};
use serde::Serialize;

pub use encoding::Encoding;
pub use table::{Column, Line, Table, money};

use crate::store::engine::{Store, StoreError, Tx};

/// How many bad lines are shown; beyond it a count is more use than a list.
pub const FAULTS_SHOWN_MAX: usize = 100;

/// What one line of a file got wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct LineFault {
    /// The line, from 1, the header being line 1.
    pub line: u64,
    /// The column's name; `line` for the line as a whole.
    pub field: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.field, self.reason)
    }
}

/// The bad lines of a file: the first [`FAULTS_SHOWN_MAX`] and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// The first ones, in the order of the file.
    pub shown: Vec<LineFault>,
    /// How many in all.
    pub total: usize,
}

impl Faults {
    /// Adds one.
    pub fn add(&mut self, line: u64, field: &str, reason: impl Into<String>) {
        self.total += 1;
        // A few more are kept than shown, since faults found against the database come after those found in the file.
        if self.shown.len() < 10 * FAULTS_SHOWN_MAX {
            self.shown.push(LineFault { line, field: field.to_owned(), reason: reason.into() });
        }
    }

    /// Refuses the file when there are any.
    ///
    /// # Errors
    /// [`ImportError::Lines`].
    pub fn refuse(&mut self) -> Result<(), ImportError> {
        if self.total == 0 {
            return Ok(());
        }
        let mut faults = std::mem::take(self);
        faults.shown.sort_by_key(|fault| fault.line);
        faults.shown.truncate(FAULTS_SHOWN_MAX);
        Err(ImportError::Lines(faults))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bad value(s); nothing was imported", self.total)?;
        for fault in &self.shown {
            write!(f, "\n  {fault}")?;
        }
        if self.total > self.shown.len() {
            write!(f, "\n  … and {} more", self.total - self.shown.len())?;
        }
        Ok(())
    }
}

/// Why a file was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no CSV that can be read.
    #[error("the file cannot be read as CSV: {0}")]
    Unreadable(String),
    /// Columns are missing, unknown or there twice.
    #[error("the header is not that of a {kind} file: {fault}\n  columns: {columns}")]
    Header {
        /// What was imported.
        kind: &'static str,
        /// What is wrong with it.
        fault: String,
        /// What it should have.
        columns: String,
    },
    /// Some lines are bad.
    #[error("{0}")]
    Lines(Faults),
    /// The file as a whole cannot be taken now.
    #[error("{fault}\n  hint: {hint}")]
    Refused {
        /// Why.
        fault: String,
        /// What to do.
        hint: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an import did, or would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// What was imported: `stores`, `cards` …
    pub kind: &'static str,
    /// Lines with values.
    pub rows: u64,
    /// Rows that were not there.
    pub new: u64,
    /// Rows that were there with other values.
    pub changed: u64,
    /// Rows that were there just so.
    pub unchanged: u64,
    /// Σ of the amounts in minor units, for files with amounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
    /// Their currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// Whether it was a rehearsal.
    pub dry_run: bool,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, rows, new, changed, unchanged, .. } = self;
        write!(f, "{kind}: {rows} rows, {new} new, {changed} changed, {unchanged} unchanged")?;
        if let (Some(minor), Some(currency)) = (self.amount_minor, self.currency) {
            write!(f, ", sum {}", Money { minor, currency })?;
        }
        if self.dry_run { f.write_str("; rehearsal, nothing was written") } else { Ok(()) }
    }
}

/// How to import.
#[derive(Debug, Clone)]
pub struct Options {
    /// Judge everything, write nothing.
    pub dry_run: bool,
    /// How the file's text is written; by its mark, else UTF-8, when not said.
    pub encoding: Option<Encoding>,
    /// Counts the rows that were written.
    pub progress: indicatif::ProgressBar,
}

impl Default for Options {
    fn default() -> Self {
        Self { dry_run: false, encoding: None, progress: indicatif::ProgressBar::hidden() }
    }
}

/// Ends a transaction without its writes, yet with its result.
enum Halt {
    Failed(ImportError),
    Rehearsed(ImportReport),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Applies parsed rows in one transaction, or in none when it is a rehearsal or a row is bad.
fn apply<F>(store: &Store, options: &Options, f: F) -> Result<ImportReport, ImportError>
where
    F: Fn(&mut Tx<'_>, &indicatif::ProgressBar) -> Result<ImportReport, ImportError> + Send + 'static,
{
    let (dry_run, progress) = (options.dry_run, options.progress.clone());
    let outcome = store.write_blocking(move |tx| {
        progress.reset();
        let report = f(tx, &progress).map_err(Halt::Failed)?;
        if dry_run { Err(Halt::Rehearsed(ImportReport { dry_run: true, ..report })) } else { Ok(report) }
    });
    options.progress.finish_and_clear();
    match outcome {
        Ok(report) | Err(Halt::Rehearsed(report)) => Ok(report),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// Whether a row was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was not.
    New,
    /// It was, with other values.
    Changed,
    /// It was, just so.
    Unchanged,
}

impl ImportReport {
    fn new(kind: &'static str, rows: usize) -> Self {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        Self { kind, rows, new: 0, changed: 0, unchanged: 0, amount_minor: None, currency: None, dry_run: false }
    }

    fn count(&mut self, written: Written) {
        match written {
            Written::New => self.new += 1,
            Written::Changed => self.changed += 1,
            Written::Unchanged => self.unchanged += 1,
        }
    }
}
