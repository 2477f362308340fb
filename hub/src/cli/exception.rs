//! `huitong-hub exception`: the queue of what somebody should look at, and what was done about it.

use std::io::{self, Write};
use std::sync::Arc;

use clap::{Args, Subcommand};
use huitong_protocol::id::StoreId;
use huitong_protocol::reconcile::{Class, Severity};
use huitong_protocol::time::Instant;
use serde::Serialize;

use super::output::table;
use super::{Failure, Output, Place, World, actor};
use crate::actor::UNKNOWN;
use crate::exception::{self, Dossier, WorkError};
use crate::store::exception::{self as rows, Exception, Filter, Resolution, State, States};
use crate::store::{StoreError, Tx};
use crate::{reconcile, rerate};

/// Who does it.
#[derive(Debug, Args)]
pub(crate) struct By {
    /// Who does it. When left away, whoever is logged in.
    #[arg(long, env = "USER", hide_env_values = true, default_value = UNKNOWN)]
    pub(crate) by: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExceptionCommand {
    /// List what somebody should look at.
    List {
        /// Only of this class: seal_differs, gap, fork …
        #[arg(long)]
        class: Option<Class>,
        /// Only of this severity: alarm, warning or info.
        #[arg(long)]
        severity: Option<Severity>,
        /// Only of this store.
        #[arg(long)]
        store: Option<StoreId>,
        /// In which state.
        #[arg(long, value_enum, default_value_t = States::Unresolved)]
        state: States,
        /// Only what this person has, or resolved.
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
        /// Include what was resolved: short for --state all.
        #[arg(long, conflicts_with = "state")]
        all: bool,
    },
    /// Look for more now, as the hub does by itself every few minutes: compare, review and price again what came in.
    Find,
    /// Show one with its evidence, what to do, and all that happened to it.
    Show {
        /// Its number.
        number: i64,
    },
    /// Give one to somebody.
    Assign {
        /// Its number.
        number: i64,
        /// Who looks into it.
        #[arg(long, value_name = "NAME")]
        to: String,
        #[command(flatten)]
        by: By,
    },
    /// Close one. The same finding opens it again, unless it was accepted and what was found is the same.
    Resolve {
        /// Its number.
        number: i64,
        /// How it was dealt with.
        #[arg(long, value_name = "TEXT")]
        note: String,
        /// What it came to.
        #[arg(long = "as", value_enum, default_value_t = Resolution::Corrected)]
        resolution: Resolution,
        #[command(flatten)]
        by: By,
    },
    /// Open a resolved one again.
    Reopen {
        /// Its number.
        number: i64,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        by: By,
    },
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Store(error) => error.into(),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

impl ExceptionCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let now = world.now();
        let dossier = match self {
            Self::List { class, severity, store, state, owner, all } => {
                let states = if all { States::All } else { state };
                let filter = Filter { class, severity, store, states, owner };
                let found = place.open()?.read_blocking(move |tx| rows::list(tx, &filter))?;
                out.show(&found, |text| list(text, &found))?;
                return Ok(());
            }
            Self::Find => return find(now, place, out),
            Self::Show { number } => place.open()?.read_blocking(move |tx| exception::show(tx, number))?,
            Self::Assign { number, to, by } => {
                let actor = actor(&by.by)?;
                write(place, move |tx| exception::assign(tx, &actor, number, &to, now))?
            }
            Self::Resolve { number, note, resolution, by } => {
                let actor = actor(&by.by)?;
                write(place, move |tx| exception::resolve(tx, &actor, number, resolution, &note, now))?
            }
            Self::Reopen { number, note, by } => {
                let actor = actor(&by.by)?;
                write(place, move |tx| exception::reopen(tx, &actor, number, &note, now))?
            }
        };
        out.show(&dossier, |text| show(text, &dossier))?;
        Ok(())
    }
}

/// What was done to find exceptions.
#[derive(Serialize)]
struct Found {
    /// Exceptions that are new, or open again.
    new: i64,
    /// Sales that were priced again.
    rerated: rerate::Counts,
}

fn find(now: Instant, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
    let store = place.open()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let found = runtime.block_on(async {
        let before = store.read(raised).await?;
        reconcile::run(&store, now).await?;
        let (books, mut rerated) = (Arc::default(), rerate::Counts::default());
        while let Some(counts) = rerate::step(&store, &books, now, rerate::PAGE_ENTRIES).await? {
            rerated += counts;
        }
        Ok::<_, StoreError>(Found { new: store.read(raised).await? - before, rerated })
    });
    store.close();
    let found = found?;
    out.show(&found, |text| writeln!(text, "{} new; {}", found.new, found.rerated))?;
    Ok(())
}

/// How often exceptions were raised, ever.
fn raised(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) FROM exception_change WHERE change IN ('raised', 'raised_again')";
    Ok(tx.query_one(sql, &[], |row| row.integer(0))?.unwrap_or(0))
}

/// Opens the database, writes, and closes it again.
pub(crate) fn write<T: Send + 'static, E: From<StoreError> + Into<Failure> + Send + 'static>(
    place: &Place,
    f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
) -> Result<T, Failure> {
    let store = place.open()?;
    let outcome = store.write_blocking(f);
    store.close();
    outcome.map_err(Into::into)
}

fn list(text: &mut dyn Write, found: &[Exception]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|e| {
            let store = e.store.map_or(String::new(), |store| store.to_string());
            let state = match &e.state {
                State::Open => "open".to_owned(),
                State::Assigned { owner, .. } => format!("assigned to {owner}"),
                State::Resolved { resolved_by, .. } => format!("resolved by {resolved_by}"),
            };
            let (severity, class) = (e.severity.as_str().to_owned(), e.class.as_str().to_owned());
            vec![e.number.to_string(), severity, class, store, e.subject.clone(), e.raised_at_ms.to_string(), state]
        })
        .collect();
    table(text, &[">no", "severity", "class", "store", "subject", "raised", "state"], &rows)
}

fn show(text: &mut dyn Write, dossier: &Dossier) -> io::Result<()> {
    let exception = &dossier.exception;
    let (number, class, severity) = (exception.number, exception.class, exception.severity);
    writeln!(text, "exception {number} ({class}, {severity}), {}", exception.state.as_str())?;
    if let Some(store) = exception.store {
        writeln!(text, "store     {store}")?;
    }
    writeln!(text, "about     {}", exception.subject)?;
    for line in &exception.evidence.lines {
        writeln!(text, "found     {line}")?;
    }
    for circumstance in &exception.evidence.circumstances {
        writeln!(text, "when      {circumstance}")?;
    }
    for entry in &exception.evidence.entries {
        writeln!(text, "entry     {entry}")?;
    }
    writeln!(text, "to do     {}", exception.proposal)?;
    for changed in &dossier.history {
        writeln!(text, "history   {} {} by {}: {}", changed.at_ms, changed.change, changed.by, changed.detail)?;
    }
    Ok(())
}
