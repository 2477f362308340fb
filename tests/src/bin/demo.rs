//! `demo`: a hub and three stores on this machine, set up, traded for a day with a cut line and a late journal, and settled.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use huitong_tests::demo::{self, Options};

const AFTER_HELP: &str = "\
Exit codes: 0 everything went as it should; 1 a step failed; 2 usage; 3 the figures are not as they must be.

Set RUST_LOG, for instance to info, to see what the daemons log.";

/// Sets up a hub and three stores, plays a trading day, settles it, and serves until Ctrl-C.
#[derive(Parser)]
#[command(name = "demo", version, after_help = AFTER_HELP)]
struct Arguments {
    /// End after the day instead of serving.
    #[arg(long)]
    once: bool,
    /// Write the figures as one JSON document instead of the story, and end after the day.
    #[arg(long)]
    json: bool,
    /// Keep the databases in this folder, an empty one or one that is not there yet.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    match run(&arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::from(1)
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let options = Options { data: arguments.data.clone(), narrate: !arguments.json };
    let mut out = std::io::stdout();
    let played = demo::play(&options, &mut out).await?;
    let faults = played.figures.faults();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&played.figures)?)?;
    } else if faults.is_empty() {
        writeln!(out, "\nThe day is settled: nets sum to zero, S3 came as an adjustment, everything is proved.")?;
    }
    for fault in &faults {
        eprintln!("demo: {fault}");
    }
    if arguments.data.is_some() && !arguments.json {
        writeln!(out, "The databases are in {}", played.data().display())?;
    }
    if !arguments.once && !arguments.json && faults.is_empty() {
        writeln!(out, "\n{}\nCtrl-C ends it.", played.what_to_try()?)?;
        out.flush()?;
        tokio::signal::ctrl_c().await?;
    }
    played.close().await;
    Ok(ExitCode::from(if faults.is_empty() { 0 } else { 3 }))
}
