//! Statement: each party's account of a run, made from the run's stored lines, never kept: the same lines give the same bytes.
//!
//! The opening balance is what earlier runs of the scheme came to; payments are not recorded yet, so all of it stands as unpaid.

use std::collections::BTreeMap;

use huitong_protocol::party::Party;
use huitong_protocol::settlement::run::RunId;
use huitong_protocol::statement::{self as rendering, Language, Statement, StatementBook, StatementError};
use serde::Deserialize;

use crate::settle;
use crate::store::engine::{StoreError, Tx};
use crate::store::settlement::{self, RunRecord};

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such run.
    #[error("there is no run {0}\n  hint: huitong-hub settle list")]
    NoRun(RunId),
    /// The run has nothing for the party.
    #[error("run {run} has nothing for {party}\n  hint: huitong-hub settle show {run}")]
    NoParty {
        /// The run.
        run: RunId,
        /// The party.
        party: Party,
    },
    /// Its lines cannot be stated.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a statement is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    Text,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
}

/// In which words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
pub enum Lang {
    /// 简体中文.
    #[default]
    #[serde(rename = "zh-CN")]
    #[value(name = "zh-CN")]
    ZhCn,
    /// English.
    #[serde(rename = "en")]
    #[value(name = "en")]
    En,
}

/// The statements of a run: everybody's, or one party's.
///
/// # Errors
/// [`Error`].
pub fn select(tx: &mut Tx<'_>, id: RunId, party: Option<Party>) -> Result<Vec<Statement>, Error> {
    let mut statements = statements(tx, id)?;
    if let Some(party) = party {
        statements.retain(|statement| statement.party == party);
        if statements.is_empty() {
            return Err(Error::NoParty { run: id, party });
        }
    }
    Ok(statements)
}

/// Statements as one text. The same statements give the same bytes, wherever they are asked for.
#[must_use]
pub fn render(statements: &[Statement], format: Format, lang: Lang) -> String {
    let language = match lang {
        Lang::ZhCn => Language::ZhCn,
        Lang::En => Language::En,
    };
    match format {
        Format::Text => {
            statements.iter().map(|statement| rendering::text(statement, language)).collect::<Vec<_>>().join("\n")
        }
        Format::Csv => {
            // One file, one header: the columns name run and party.
            let mut text = String::new();
            for (index, statement) in statements.iter().enumerate() {
                let page = rendering::csv(statement);
                let rows = if index == 0 { page.as_str() } else { page.split_once('\n').map_or("", |(_, rows)| rows) };
                text.push_str(rows);
            }
            text
        }
        Format::Json => {
            let pages: Vec<String> =
                statements.iter().map(|statement| rendering::json(statement).trim_end().to_owned()).collect();
            format!("[{}]\n", pages.join(",\n"))
        }
    }
}

/// Everybody's statement of a run, in the order of parties.
///
/// # Errors
/// [`Error`]; no statement is given that does not equal its lines.
pub fn statements(tx: &mut Tx<'_>, id: RunId) -> Result<Vec<Statement>, Error> {
    let record = settlement::run(tx, id)?.ok_or(Error::NoRun(id))?;
    let openings = openings(tx, &record)?;
    let mut book = StatementBook::new(record.run);
    settle::lines(tx, id, |line| book.add(&line).map_err(Error::from))?;
    Ok(book.finish(&openings)?)
}

/// What all earlier runs of the scheme came to, per party.
fn openings(tx: &mut Tx<'_>, record: &RunRecord) -> Result<BTreeMap<Party, i64>, StoreError> {
    let mut openings = BTreeMap::new();
    for (side, sign) in [("debtor", -1_i64), ("creditor", 1)] {
        tx.for_each(
            &format!(
                "SELECT settlement_line.{side}, CAST(SUM(amount_minor) AS BIGINT) FROM settlement_line
                 JOIN settlement_run ON settlement_run.run_no = settlement_line.run_no
                 WHERE settlement_run.scheme = $1 AND settlement_line.run_no < $2 AND debtor <> creditor
                 GROUP BY settlement_line.{side}"
            ),
            &[record.run.scheme.as_str().into(), record.run.id.0.into()],
            |row| {
                let party: Party = row.parsed(0, "settlement_line", side)?;
                let amount = row.integer(1)?.checked_mul(sign);
                let sum = openings.entry(party).or_insert(0_i64);
                *sum = amount.and_then(|amount| sum.checked_add(amount)).ok_or_else(|| StoreError::Rule {
                    operation: "sum up earlier runs",
                    fault: format!("what {party} owes and is owed does not fit in 64 bits"),
                })?;
                Ok::<(), StoreError>(())
            },
        )?;
    }
    Ok(openings)
}
