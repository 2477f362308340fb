//! The command line of the hub: noun, then verb. Each command works on the database itself, also beside a running daemon.
//!
//! This is the outermost layer: here the clock and the random source enter, paths are opened, and results are written. What a command does is in
//! the library; here is how it is asked for and shown, as text for people or as one JSON document with `--json`. The same commands run in-process
//! through [`World::main`], which must not be called from an async task: commands wait for the disk.

mod account;
mod agreement;
mod allot;
mod card;
mod daemon;
mod day;
mod exception;
mod explain;
mod hq;
mod item;
mod member;
mod organisation;
mod output;
mod parameters;
mod policy;
mod policy_key;
mod recover;
mod refused;
mod rerate;
mod risk;
mod settle;
mod setup;
mod statement;
mod suspense;
mod verify;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use huitong_config::{Loaded, Loader};
use huitong_protocol::time::Instant;
use indicatif::{ProgressBar, ProgressStyle};

use crate::actor::{Actor, Via};
use crate::clock::{Clock, SystemClock};
use crate::config::{ENV_PREFIX, HubConfig};
use crate::import::ImportError;
use crate::init::InitError;
use crate::policy_key::KeyError;
use crate::publish::PublishError;
use crate::store::engine::{Store, StoreError};

pub use output::Output;

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// It failed: the disk, the database, a file that is not there.
pub const EXIT_FAILED: u8 = 1;
/// The command was not understood.
pub const EXIT_USAGE: u8 = 2;
/// It was understood and refused, or differences were found; nothing changed.
pub const EXIT_REFUSED: u8 = 3;
/// The configuration has faults.
pub const EXIT_CONFIG: u8 = huitong_config::EXIT_CONFIG;

/// Connections that read for one command.
const READERS: usize = 2;

const AFTER_HELP: &str = "\
Exit codes:
  0   it went well
  1   it failed: disk, database, a file that is not there
  2   the command was not understood
  3   refused, or differences were found; nothing changed
  78  the configuration has faults

Every command takes --json and then writes one JSON document. Commands work beside a running hub.";

/// The central server of Huitong: imports, publishes, serves the stores, settles.
#[derive(Debug, Parser)]
#[command(name = "huitong-hub", version, after_long_help = AFTER_HELP, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, env = "HUITONG_HUB_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the database; overrides `data_dir` of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Set one key of the configuration, over file and environment.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = huitong_config::assignment)]
    set: Vec<(String, String)>,
    /// Write one JSON document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the hub: its group and currency, once.
    Init(setup::Init),
    /// Serve the stores.
    Run(daemon::Run),
    /// After a restore of the database: begin a new life of the hub, or look whom it waits for.
    Recover(recover::Recover),
    /// The configuration: check it, or print it with the origin of each value.
    #[command(subcommand)]
    Config(setup::ConfigCommand),
    /// Stores: import, list, enrol.
    #[command(subcommand)]
    Store(organisation::StoreCommand),
    /// Legal entities (法人) that own stores and issue cards.
    #[command(subcommand)]
    LegalEntity(organisation::LegalEntityCommand),
    /// The item master.
    #[command(subcommand)]
    Item(item::ItemCommand),
    /// Members: import, find, show.
    #[command(subcommand)]
    Member(member::MemberCommand),
    /// Cards: import, make, show, unfreeze, hot.
    #[command(subcommand)]
    Card(card::CardCommand),
    /// Accounts: what they hold, where, and whose it is.
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Where value is parked overnight, so that members can pay at stores without a line.
    #[command(subcommand)]
    Allot(allot::AllotCommand),
    /// Opening balances from an older system.
    #[command(subcommand)]
    Opening(organisation::OpeningCommand),
    /// Policies for all stores.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// The settlement agreement.
    #[command(subcommand)]
    Agreement(agreement::AgreementCommand),
    /// Business days of the stores.
    #[command(subcommand)]
    Day(day::DayCommand),
    /// What somebody should look at.
    #[command(subcommand)]
    Exception(exception::ExceptionCommand),
    /// Settlement between the stores.
    #[command(subcommand)]
    Settle(settle::SettleCommand),
    /// Statements of a run.
    #[command(subcommand)]
    Statement(statement::StatementCommand),
    /// What epochs of stores held when they ended, and what becomes of it.
    #[command(subcommand)]
    Suspense(suspense::SuspenseCommand),
    /// What the group puts behind overdrafts, who owes it, and what could still be drawn.
    #[command(subcommand)]
    Risk(risk::RiskCommand),
    /// Tokens of the API of head office.
    #[command(subcommand)]
    Token(hq::TokenCommand),
    /// What was done at head office, and by whom.
    #[command(subcommand)]
    Audit(hq::AuditCommand),
    /// Sync requests that were turned away.
    #[command(subcommand)]
    Refused(refused::RefusedCommand),
    /// How things stand: the last day, what is settled, open exceptions by severity.
    Status,
    /// Prove that everything follows from the journals; exit 3 names what does not.
    Verify,
    /// Price every sale again from its own inputs; exit 3 names those that cost something else.
    Rerate,
    /// How often value moved, and how much there is of everything.
    Stats,
    /// What a code means, why it comes, and what to do.
    Explain(explain::Explain),
    /// Print the OpenAPI document of the API of head office.
    Openapi,
}

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit 1.
    Failed(anyhow::Error),
    /// Exit 3.
    Refused(String),
    /// Exit 3, after a report was written that says it all.
    Found,
    /// Exit 78.
    Config(huitong_config::ConfigError),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Rule { fault, .. } => Self::Refused(fault),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => error.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => error.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Random | KeyError::File { .. } => Self::Failed(error.into()),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        match error {
            InitError::Store(error) => error.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// What the outside world gives to a command: the clock and whether to show progress. Randomness is the operating system's.
#[derive(Clone)]
pub struct World {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether long work shows a bar on standard error.
    pub progress: bool,
}

impl Default for World {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), progress: std::io::stderr().is_terminal() }
    }
}

/// Runs a command line, `args` beginning with the program's name, and gives the exit code.
pub fn main_from(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    World::default().main(args, out, err)
}

impl World {
    /// Runs a command line in this world. Results go to `out`, complaints to `err`.
    pub fn main(&self, args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let arguments = match Arguments::try_parse_from(args) {
            Ok(arguments) => arguments,
            Err(error) => {
                let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                let text = error.render().to_string();
                // There is nobody left to tell when the terminal is gone.
                let _ = if asked { out.write_all(text.as_bytes()) } else { err.write_all(text.as_bytes()) };
                return if asked { EXIT_OK } else { EXIT_USAGE };
            }
        };
        let json = arguments.json;
        let mut output = Output::new(out, json);
        let (code, message) =
            match self.run(arguments, &mut output).and_then(|()| output.flush().map_err(Failure::from)) {
                Ok(()) => return EXIT_OK,
                Err(Failure::Found) => return EXIT_REFUSED,
                Err(Failure::Refused(message)) => (EXIT_REFUSED, message),
                Err(Failure::Config(error)) => (EXIT_CONFIG, error.to_string()),
                // A reader that had enough (`| head`) is no failure to talk about.
                Err(Failure::Failed(error)) if broken_pipe(&error) => return EXIT_FAILED,
                Err(Failure::Failed(error)) => (EXIT_FAILED, format!("{error:#}")),
            };
        if json {
            let _ = output.value(&serde_json::json!({ "error": { "exit": code, "message": message } }));
        }
        let _ = writeln!(err, "huitong-hub: {message}");
        code
    }

    fn run(&self, arguments: Arguments, out: &mut Output<'_>) -> Result<(), Failure> {
        let listen = match &arguments.command {
            Command::Run(run) => run.listen.clone(),
            _ => None,
        };
        let place = Place { config: arguments.config, data: arguments.data, listen, set: arguments.set };
        match arguments.command {
            Command::Init(init) => init.run(&place, out),
            Command::Run(command) => command.run(self, &place, out),
            Command::Recover(command) => command.run(self, &place, out),
            Command::Config(command) => command.run(&place, out),
            Command::Store(command) => command.run(self, &place, out),
            Command::LegalEntity(command) => command.run(self, &place, out),
            Command::Item(command) => command.run(self, &place, out),
            Command::Member(command) => command.run(self, &place, out),
            Command::Card(command) => command.run(self, &place, out),
            Command::Account(command) => command.run(self, &place, out),
            Command::Allot(command) => command.run(self, &place, out),
            Command::Opening(command) => command.run(self, &place, out),
            Command::Policy(command) => command.run(self, &place, out),
            Command::Agreement(command) => command.run(self, &place, out),
            Command::Day(command) => command.run(self, &place, out),
            Command::Exception(command) => command.run(self, &place, out),
            Command::Settle(command) => command.run(self, &place, out),
            Command::Statement(command) => command.run(&place, out),
            Command::Suspense(command) => command.run(self, &place, out),
            Command::Risk(command) => command.run(self, &place, out),
            Command::Token(command) => command.run(self, &place, out),
            Command::Audit(command) => command.run(&place, out),
            Command::Refused(command) => command.run(&place, out),
            Command::Status => hq::status(self, &place, out),
            Command::Verify => verify::verify(&place, out),
            Command::Rerate => rerate::rerate(self, &place, out),
            Command::Stats => day::stats(&place, out),
            Command::Explain(command) => command.run(out),
            Command::Openapi => Ok(out.text(&format!("{:#}\n", crate::api::openapi()))?),
        }
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn bar(&self) -> ProgressBar {
        if !self.progress {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {human_pos}/{human_len} {per_sec}");
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

/// Who does something on the command line.
fn actor(name: &str) -> Result<Actor, Failure> {
    Actor::new(name, Via::Cli).map_err(|why| Failure::Refused(format!("{name:?} {why}")))
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Where the hub's things are.
#[derive(Debug)]
pub(crate) struct Place {
    config: Option<PathBuf>,
    data: Option<PathBuf>,
    listen: Option<String>,
    set: Vec<(String, String)>,
}

impl Place {
    /// Loads the configuration: defaults, file, environment, flags.
    pub(crate) fn load(&self) -> Result<Loaded<HubConfig>, Failure> {
        let mut loader = Loader::new(ENV_PREFIX)
            .env_reserved("HUITONG_HUB_CONFIG")
            .default_file("hub.toml")
            .flags(self.set.iter().cloned());
        if let Some(file) = &self.config {
            loader = loader.file(file);
        }
        if let Some(data) = &self.data {
            loader = loader.flag("--data", "data_dir", toml_text(data)?);
        }
        if let Some(listen) = &self.listen {
            loader = loader.flag("--listen", "listen", serde_json::Value::from(listen.as_str()).to_string());
        }
        let loaded = loader.load::<HubConfig>().map_err(Failure::Config)?;
        HubConfig::check(&loaded).map_err(Failure::Config)?;
        Ok(loaded)
    }

    pub(crate) fn database(&self) -> Result<PathBuf, Failure> {
        Ok(self.load()?.value.database())
    }

    /// Opens the database of an existing hub.
    pub(crate) fn open(&self) -> Result<Store, Failure> {
        let database = self.database()?;
        if !database.exists() {
            return Err(Failure::Refused(format!(
                "there is no hub at {}\n  hint: huitong-hub init --group CODE --currency CNY, or name its folder with --data",
                database.display()
            )));
        }
        Ok(Store::open(&database, READERS)?)
    }
}

/// A path as a TOML string, so that a folder named `7` stays a folder.
fn toml_text(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().ok_or_else(|| Failure::Refused(format!("the path {} is not UTF-8", path.display())))?;
    Ok(serde_json::Value::from(text).to_string())
}

/// Reads a file that the user named.
fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::Failed(anyhow::Error::new(error).context(format!("could not read {}", path.display())))
    })
}

/// Writes a file that must not be there yet.
fn write_new_file(path: &Path, text: &str) -> Result<(), Failure> {
    let mut target = std::fs::File::create_new(path).map_err(|error| {
        Failure::Failed(anyhow::Error::new(error).context(format!("could not make the new file {}", path.display())))
    })?;
    target.write_all(text.as_bytes())?;
    target.sync_all()?;
    Ok(())
}

/// Reads a text that the user named.
fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read_file(path)?)
        .map_err(|_| Failure::Refused(format!("{} is not UTF-8 text\n  hint: save it as UTF-8", path.display())))
}
