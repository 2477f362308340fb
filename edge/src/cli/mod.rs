//! The command line of the store daemon: noun, then verb. One file per noun; this one parses, dispatches and turns errors into exit codes.
//!
//! Everything goes through [`main_from`], so that demonstrations and tests run the same commands in their own process. Commands that look at or
//! change the running store call its API with the machine's local token; the others open the database or read the configuration themselves.

mod api_client;
mod card;
mod config;
mod day;
mod enrol;
mod explain;
mod journal;
mod operation;
mod parameters;
mod render;
mod run;
mod schedule;
mod status;
mod sync;
mod till;

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use huitong_config::{ConfigError, EXIT_CONFIG, Loaded, assignment};
use serde_json::{Value, json};

use crate::clock::SystemClock;
use crate::config::{EdgeConfig, check};
use crate::run::EdgeError;

/// Done.
pub const EXIT_DONE: u8 = 0;
/// It did not work; the message says why.
pub const EXIT_FAILED: u8 = 1;
/// The command line is not understood.
pub const EXIT_USAGE: u8 = 2;
/// The store or the hub refused: a decline, a missing permission, a token that is not known.
pub const EXIT_REFUSED: u8 = 3;

/// The disk failed under the daemon. What was answered is safe; to start it again is right, and shows whether the disk is well.
pub const EXIT_DISK: u8 = 74;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 command line not understood, 3 refused or declined, 74 the disk failed under the daemon (start it again), 78 fault in the configuration.";

/// The store daemon of Huitong: trades beside the tills whether or not head office can be reached.
#[derive(Parser, Debug)]
#[command(name = "huitong-edge", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Args, Debug, Clone)]
struct Global {
    /// The configuration file [default: /etc/huitong/edge.toml when it exists]
    #[arg(long, global = true, value_name = "FILE", env = "HUITONG_EDGE_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory, instead of the configuration's `data_dir`
    #[arg(long, global = true, value_name = "DIR", env = "HUITONG_EDGE_DATA")]
    data: Option<PathBuf>,
    /// Sets one key of the configuration, such as sync.trickle=0ms; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Prints JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs the store daemon until it is told to stop
    Run(run::Run),
    /// Makes this machine a store of the group, with a one-time token from head office
    Enrol(enrol::Enrol),
    /// Pairs and revokes tills
    #[command(subcommand)]
    Till(till::Till),
    /// Opens, closes and reports the business day
    #[command(subcommand)]
    Day(day::Day),
    /// Shows how the store is
    Status,
    /// Looks at cards
    #[command(subcommand)]
    Card(card::Card),
    /// Looks at operations of tills
    #[command(subcommand)]
    Operation(operation::Operation),
    /// Shows and proposes what this store sets for itself
    #[command(subcommand)]
    Parameters(parameters::Parameters),
    /// Talks to head office now
    #[command(subcommand)]
    Sync(sync::SyncCommand),
    /// Shows what runs unattended, and runs it by hand
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Proves and shows the store's journal
    #[command(subcommand)]
    Journal(journal::Journal),
    /// Checks and shows the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Says what a code means, why it comes, and what to do
    Explain(explain::Explain),
    /// Prints the OpenAPI document of the tills' API
    Openapi,
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    Config(ConfigError),
    /// Refused by the rules, with what the store said.
    Refused(String, Option<Value>),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into().downcast::<ConfigError>() {
            Ok(config) => Self::Config(config),
            Err(other) => Self::Other(other),
        }
    }
}

type Done = Result<(), Failure>;

/// Where a command prints, and what it was given.
struct Shell<'a> {
    global: Global,
    out: &'a mut (dyn Write + Send),
    clock: SystemClock,
}

impl Shell<'_> {
    /// The loader with the flags that all commands know.
    fn loader(&self) -> huitong_config::Loader {
        let loader = EdgeConfig::loader(self.global.config.as_deref()).flags(self.global.set.clone());
        match &self.global.data {
            Some(data) => loader.flag("--data", "data_dir", toml_text(&data.to_string_lossy())),
            None => loader,
        }
    }

    fn load(&self) -> Result<Loaded<EdgeConfig>, ConfigError> {
        let loaded = self.loader().load::<EdgeConfig>()?;
        check(&loaded)?;
        Ok(loaded)
    }

    /// Prints a result: as JSON when that was asked, else as `text` gives it.
    fn print(&mut self, value: &Value, text: impl FnOnce(&Value) -> String) -> Done {
        if self.global.json {
            writeln!(self.out, "{}", serde_json::to_string_pretty(value)?)?;
        } else {
            let text = text(value);
            write!(self.out, "{text}")?;
            if !text.ends_with('\n') {
                writeln!(self.out)?;
            }
        }
        Ok(())
    }
}

/// A value for the loader that is text, whatever it looks like.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Runs one command line and gives the exit code. `args` begin with the program's name; `shutdown` ends `run`.
pub async fn main_from<I, T>(
    args: I,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
    shutdown: impl Future<Output = ()> + Send,
) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, out, err),
    };
    let as_json = cli.global.json;
    let mut shell = Shell { global: cli.global, out, clock: SystemClock };
    match dispatch(cli.command, &mut shell, shutdown).await {
        Ok(()) => EXIT_DONE,
        Err(failure) => report(&failure, as_json, err),
    }
}

async fn dispatch(command: Command, shell: &mut Shell<'_>, shutdown: impl Future<Output = ()> + Send) -> Done {
    match command {
        Command::Run(run) => run.execute(shell, shutdown).await,
        Command::Enrol(enrol) => enrol.execute(shell).await,
        Command::Till(till) => till.execute(shell).await,
        Command::Day(day) => day.execute(shell).await,
        Command::Status => status::execute(shell).await,
        Command::Card(card) => card.execute(shell).await,
        Command::Operation(operation) => operation.execute(shell).await,
        Command::Parameters(parameters) => parameters.execute(shell).await,
        Command::Sync(sync) => sync.execute(shell).await,
        Command::Schedule(schedule) => schedule.execute(shell).await,
        Command::Journal(journal) => journal.execute(shell).await,
        Command::Config(config) => config.execute(shell),
        Command::Explain(explain) => explain.execute(shell),
        Command::Openapi => openapi(shell),
    }
}

/// A document is JSON whether it is asked for or not.
fn openapi(shell: &mut Shell<'_>) -> Done {
    writeln!(shell.out, "{:#}", crate::api::openapi())?;
    Ok(())
}

/// Help and version are what was asked for; everything else is a mistake of the line.
fn usage(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = error.render();
    let (written, code) =
        if error.use_stderr() { (write!(err, "{text}"), EXIT_USAGE) } else { (write!(out, "{text}"), EXIT_DONE) };
    if written.is_ok() { code } else { EXIT_FAILED }
}

fn report(failure: &Failure, as_json: bool, err: &mut dyn Write) -> u8 {
    let (code, value, text) = match failure {
        Failure::Config(error) => (EXIT_CONFIG, error.to_json(), error.to_string()),
        Failure::Refused(why, answer) => {
            let answer = answer.clone().unwrap_or(Value::Null);
            (EXIT_REFUSED, json!({ "refused": why, "answer": answer }), format!("refused: {why}"))
        }
        // `{:#}` is the message with its causes.
        Failure::Other(error) => {
            let code = if matches!(error.downcast_ref(), Some(EdgeError::Disk)) { EXIT_DISK } else { EXIT_FAILED };
            (code, json!({ "error": format!("{error:#}") }), format!("error: {error:#}"))
        }
    };
    let text = if as_json { value.to_string() } else { text };
    // When nobody can be told, the code still says it.
    drop(writeln!(err, "{text}"));
    code
}
