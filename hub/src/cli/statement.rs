//! `huitong-hub statement`.

use std::path::PathBuf;

use clap::Subcommand;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::run::RunId;

use super::{Failure, Output, Place, write_new_file};
use crate::statement::{self, Error, Format, Lang};

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
        let statements = place.open()?.read_blocking(move |tx| statement::select(tx, RunId(run), party));
        let statements = statements.map_err(|error| match error {
            Error::Store(error) => Failure::from(error),
            missing @ (Error::NoRun(_) | Error::NoParty { .. }) => Failure::Refused(missing.to_string()),
            other => Failure::Failed(other.into()),
        })?;
        let format = if out.is_json() { Format::Json } else { format };
        let text = statement::render(&statements, format, lang);
        match file {
            None => out.text(&text)?,
            Some(path) => write_new_file(&path, &text)?,
        }
        Ok(())
    }
}
