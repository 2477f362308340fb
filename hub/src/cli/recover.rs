//! `huitong-hub recover`: after a restore of the database. The daemon is stopped meanwhile.

use clap::{Args, Subcommand};

use super::exception::{By, write};
use super::{Failure, Output, Place, World, actor};
use crate::recovery::{self, Recovery, RecoveryError, Restored};

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
    /// The number of the new life, above every one that a store was ever greeted with; only needed when the recovery log is lost too.
    #[arg(long, value_name = "NUMBER")]
    life: Option<i64>,
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
    Ok(recovery::remember(&place.open()?, &file)?)
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
                let restored = Restored { known, accept_unknown, life: self.life, note };
                let recovery = write(place, move |tx| recovery::begin(tx, &actor, &restored, now))?;
                recovery::begin_log(&place.open()?, &file)?;
                recovery
            }
        };
        out.show(&recovery, |text| show(text, &recovery))?;
        Ok(())
    }
}

fn show(text: &mut dyn std::io::Write, recovery: &Recovery) -> std::io::Result<()> {
    if let Some(since) = recovery.must_recover_ms {
        writeln!(
            text,
            "Since {since} it is proved that this database is older than it was; nothing is granted. When a backup was restored: huitong-hub recover --note TEXT"
        )?;
    } else if recovery.waited_for.is_empty() {
        return writeln!(text, "Life {}; nobody is waited for, value is granted.", recovery.life);
    }
    writeln!(text, "Life {}; nothing is granted until each of these was heard or is ended:", recovery.life)?;
    for waited in &recovery.waited_for {
        let last = waited.last_seen_ms.map_or_else(|| "never heard".to_owned(), |at| format!("last heard at {at}"));
        writeln!(text, "  {}-{}, {last}", waited.store, waited.epoch)?;
    }
    writeln!(text, "A store that does not come back: huitong-hub store fence CODE --note TEXT")
}
