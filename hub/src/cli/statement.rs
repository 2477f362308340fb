//! `huitong-hub statement`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use huitong_protocol::party::Party;
use huitong_protocol::settlement::run::RunId;
use huitong_protocol::statement::{self as rendering, Language, Statement};

use super::{Failure, Output, Place};
use crate::statement::{self, Error};

/// How a statement is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
}

/// In which words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// 简体中文.
    #[value(name = "zh-CN")]
    ZhCn,
    /// English.
    #[value(name = "en")]
    En,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StatementCommand {
    /// Show the statements of a run.
    Show {
        /// The run's number.
        run: i64,
        /// Only this party: `store:S1`, `hub` …
        #[arg(long)]
        party: Option<Party>,
        /// How it is written; --json means the same as json.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        /// In which words.
        #[arg(long, value_enum, default_value_t = Lang::ZhCn)]
        lang: Lang,
        /// Write to a new file instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

impl StatementCommand {
    pub(crate) fn run(self, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let Self::Show { run, party, format, lang, out: file } = self;
        let statements = place.open()?.read_blocking(move |tx| statement::statements(tx, RunId(run)));
        let mut statements = statements.map_err(|error| match error {
            Error::Store(error) => Failure::from(error),
            missing @ Error::NoRun(_) => Failure::Refused(missing.to_string()),
            other => Failure::Failed(other.into()),
        })?;
        if let Some(party) = party {
            statements.retain(|statement| statement.party == party);
            if statements.is_empty() {
                return Err(Failure::Refused(format!(
                    "run {run} has nothing for {party}\n  hint: huitong-hub settle show {run}"
                )));
            }
        }
        let format = if out.is_json() { Format::Json } else { format };
        let text = render(&statements, format, lang);
        match file {
            None => out.text(&text)?,
            Some(path) => {
                let fail = |error| {
                    Failure::Failed(
                        anyhow::Error::new(error).context(format!("could not make the new file {}", path.display())),
                    )
                };
                let mut target = std::fs::File::create_new(&path).map_err(fail)?;
                target.write_all(text.as_bytes())?;
                target.sync_all()?;
            }
        }
        Ok(())
    }
}

fn render(statements: &[Statement], format: Format, lang: Lang) -> String {
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
