//! `huitong-hub recover`: after a restore of the database. The daemon is stopped meanwhile.

use clap::{Args, Subcommand};

use huitong_protocol::id::StoreId;

use super::exception::{By, write};
use super::organisation::show_ended;
use super::{Failure, Output, Place, World, actor};
use crate::denial::{self, DenialError};
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
    /// Nothing was restored: the store that has shown a turn, a grant or an acknowledgement which this hub never gave is at fault. Ends its epoch, and value is granted again.
    #[arg(long, value_name = "STORE", conflicts_with_all = ["accept_unknown", "life"])]
    not_restored: Option<StoreId>,
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

impl From<DenialError> for Failure {
    fn from(error: DenialError) -> Self {
        match error {
            DenialError::Store(error) => error.into(),
            DenialError::Fence(error) => error.into(),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

/// Writes down outside the database what a restored backup would have forgotten.
pub(super) fn remember(place: &Place) -> Result<(), Failure> {
    let file = place.load()?.value.recovery_log_file();
    Ok(recovery::remember(&place.open()?, &file)?)
}

/// Does what mints numbers of accounts or members, where there is a log: not on a database that is older than it remembers, as the forgotten one may have given
/// them to somebody else; and the log knows of them before the command ends.
pub(super) fn mints(place: &Place, mint: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let file = place.load()?.value.recovery_log_file();
    let known = recovery::remembered(&file)
        .map_err(|source| RecoveryError::File { file: file.display().to_string(), source })?;
    // Whether to begin a log is decided when the daemon starts.
    if known.is_none() {
        return mint();
    }
    remember(place)?;
    mint()?;
    remember(place)
}

impl Recover {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        if let (None, Some(store)) = (&self.look, self.not_restored) {
            let (actor, note, now) = (actor(&self.by.by)?, self.note.unwrap_or_default(), world.now());
            // Refused when the log says otherwise.
            remember(place)?;
            let ended = write(place, move |tx| denial::deny(tx, &actor, store, &note, now))?;
            remember(place)?;
            out.show(&ended, |text| show_ended(text, &ended))?;
            return Ok(());
        }
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
        out.show(&recovery, |text| {
            show(text, &recovery)?;
            show_stops(text, recovery.stops_returned)
        })?;
        Ok(())
    }
}

fn show_stops(text: &mut dyn std::io::Write, stops_returned: i64) -> std::io::Result<()> {
    if stops_returned == 0 {
        return Ok(());
    }
    writeln!(
        text,
        "Stopped again by what stores have said, and not looked at yet: {stops_returned} card(s): huitong-hub exception list --class stop_returned"
    )
}

fn show(text: &mut dyn std::io::Write, recovery: &Recovery) -> std::io::Result<()> {
    if let Some(since) = recovery.must_recover_ms {
        writeln!(
            text,
            "Since {since} it is proved that this database is older than it was; nothing is granted. When a backup was restored: huitong-hub recover --note TEXT"
        )?;
        if let Some(by) = &recovery.proved_by {
            let store = by.rsplit_once('-').map_or(by.as_str(), |(store, _)| store);
            writeln!(
                text,
                "It was {by} that proved it. When it is certain that nothing was restored, its machine is at fault: huitong-hub recover --not-restored {store} --note TEXT"
            )?;
        }
    } else if recovery.waited_for.is_empty() {
        return writeln!(text, "Life {}; nobody is waited for, value is granted.", recovery.life);
    }
    writeln!(text, "Life {}; nothing is granted until each of these was heard or is ended:", recovery.life)?;
    for waited in &recovery.waited_for {
        let last = waited.last_seen_ms.map_or_else(|| "never heard".to_owned(), |at| format!("last heard at {at}"));
        writeln!(text, "  {}-{}, {last}", waited.store, waited.epoch)?;
        if let Some(refused) = &waited.refused {
            writeln!(text, "    it was heard, and refused: {refused}")?;
            writeln!(
                text,
                "    Put its cause right (huitong-hub exception list --store {store}): it tells all again with its next heartbeat. What cannot be put right ends with its epoch: \
                 huitong-hub store fence {store} --note TEXT",
                store = waited.store
            )?;
        }
    }
    writeln!(text, "A store that does not come back: huitong-hub store fence CODE --note TEXT")
}
