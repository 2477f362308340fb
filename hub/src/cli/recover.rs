//! `huitong-hub recover`: after a restore of the database. The daemon is stopped meanwhile.

use clap::{Args, Subcommand};

use super::exception::{By, write};
use super::{Failure, Output, Place, World, actor};
use crate::recovery::{self, Recovery, RecoveryError};

/// Begins a new life of the hub: nothing is granted until every living epoch was heard again, or was ended by a person.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Recover {
    #[command(subcommand)]
    look: Option<Look>,
    /// Which backup was restored, and why.
    #[arg(long, value_name = "TEXT", required = true)]
    note: Option<String>,
    /// Answer for what epochs were granted that ended after the backup was made.
    #[arg(long)]
    accept_unknown: bool,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum Look {
    /// Show whom the hub waits for.
    Status,
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Store(error) => error.into(),
            file @ RecoveryError::File { .. } => Self::Failed(file.into()),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

/// Writes down outside the database what a restored backup would have forgotten.
pub(super) fn remember(place: &Place) -> Result<(), Failure> {
    let file = place.load()?.value.recovery_log_file();
    let mark = place.open()?.read_blocking(recovery::mark)?;
    recovery::remember(&file, &mark)
        .map_err(|source| RecoveryError::File { file: file.display().to_string(), source }.into())
}

impl Recover {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let recovery = match self.look {
            Some(Look::Status) => place.open()?.read_blocking(recovery::look)?,
            None => {
                let (actor, now, accept_unknown) = (actor(&self.by.by)?, world.now(), self.accept_unknown);
                let (file, note) = (place.load()?.value.recovery_log_file(), self.note.unwrap_or_default());
                let known = recovery::remembered(&file)
                    .map_err(|source| RecoveryError::File { file: file.display().to_string(), source })?;
                let begin = move |tx: &mut crate::store::Tx<'_>| {
                    recovery::begin(tx, &actor, known.as_ref(), accept_unknown, &note, now)
                };
                let recovery = write(place, begin)?;
                // What the forgotten life had come to is of no use any more: this one begins from the backup.
                let mark = place.open()?.read_blocking(recovery::mark)?;
                recovery::begin_log(&file, &mark)
                    .map_err(|source| RecoveryError::File { file: file.display().to_string(), source })?;
                recovery
            }
        };
        out.show(&recovery, |text| show(text, &recovery))?;
        Ok(())
    }
}

fn show(text: &mut dyn std::io::Write, recovery: &Recovery) -> std::io::Result<()> {
    if recovery.waited_for.is_empty() {
        return writeln!(text, "Life {}; nobody is waited for, value is granted.", recovery.life);
    }
    writeln!(text, "Life {}; nothing is granted until each of these was heard or is ended:", recovery.life)?;
    for waited in &recovery.waited_for {
        let last = waited.last_seen_ms.map_or_else(|| "never heard".to_owned(), |at| format!("last heard at {at}"));
        writeln!(text, "  {}-{}, {last}", waited.store, waited.epoch)?;
    }
    writeln!(text, "A store that does not come back: huitong-hub store fence CODE --note TEXT")
}
