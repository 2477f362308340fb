//! Verify: proves that what the database says follows from the journals, and that the books follow from both. It reads, and changes nothing.
//!
//! All checks look at one moment, in one read transaction. Each knows a row by its key, so that whoever looks into a finding knows where to begin.
//! A journal that has not arrived yet is no finding: what cannot be compared yet is not compared.

mod books;
mod holds;
mod journal;
mod overdraft;
mod points;
mod policy;
mod tenure;
mod value;

use serde::Serialize;

use crate::store::engine::{StoreError, Tx};

/// How many findings of one check are shown.
pub const FINDINGS_SHOWN_MAX: usize = 100;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// The table.
    pub table: &'static str,
    /// The row's key.
    pub row: String,
    /// What is wrong with it.
    pub fault: String,
}

/// One kind of proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Check {
    /// Its name, stable.
    pub name: &'static str,
    /// What it proves, in words.
    pub proves: &'static str,
    /// Whether nothing was found.
    pub ok: bool,
    /// How many rows it looked at.
    pub looked_at: u64,
    /// How many things it found.
    pub found: u64,
    /// The first of them, at most [`FINDINGS_SHOWN_MAX`].
    pub findings: Vec<Finding>,
}

impl Check {
    fn new(name: &'static str, proves: &'static str) -> Self {
        Self { name, proves, ok: true, looked_at: 0, found: 0, findings: Vec::new() }
    }

    fn find(&mut self, table: &'static str, row: impl ToString, fault: impl Into<String>) {
        self.ok = false;
        self.found += 1;
        if self.findings.len() < FINDINGS_SHOWN_MAX {
            self.findings.push(Finding { table, row: row.to_string(), fault: fault.into() });
        }
    }

    fn equal<T: PartialEq + std::fmt::Display>(
        &mut self,
        table: &'static str,
        row: &dyn std::fmt::Display,
        what: &str,
        stands: T,
        should: T,
    ) {
        if stands != should {
            self.find(table, row, format!("{what} is {stands}; {should} follows from the rest"));
        }
    }
}

/// Everything that was proved or found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Report {
    /// Whether every check is fine.
    pub ok: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// Runs every check within one read transaction.
///
/// # Errors
/// [`StoreError`] when the database cannot be read at all. A value that cannot be read is a finding.
pub fn run(tx: &mut Tx<'_>) -> Result<Report, StoreError> {
    let mut checks = journal::checks(tx)?;
    checks.extend(policy::checks(tx)?);
    checks.extend(value::checks(tx)?);
    checks.extend(tenure::checks(tx)?);
    checks.extend(books::checks(tx)?);
    Ok(Report { ok: checks.iter().all(|check| check.ok), checks })
}

/// Makes a value that cannot be read a finding of the check, and lets other errors pass.
fn readable(check: &mut Check, result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Value { table, column, row, fault }) => {
            check.find(table, row, format!("{column} is not valid: {fault}"));
            Ok(())
        }
        other => other,
    }
}
