//! `bench`: measures what is promised of speed, each figure beside the limit that the machine or the engine sets in the same run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use huitong_tests::bench::{Bar, Measured, ROUNDS, Sizes, lookup, quote, settle, spend};
use serde::Serialize;

const AFTER_HELP: &str = "\
Exit codes: 0 measured; 1 with --check, a bar falls short; 2 usage; 3 something could not be measured.

Machines are noisy, so bars are ratios: both sides are measured in the same run, in turn, and the ratio is the median of the rounds.
The large sizes: --members 1000000 --movements 10000000.";

/// Measures look-ups, spends, quotes and settlement.
#[derive(Parser)]
#[command(name = "bench", version, after_help = AFTER_HELP)]
struct Arguments {
    /// What to measure.
    #[arg(default_value = "all")]
    benches: Vec<Bench>,
    /// End with exit code 1 where a bar falls short.
    #[arg(long)]
    check: bool,
    /// Write one JSON document to standard output.
    #[arg(long)]
    json: bool,
    /// Cards of the store; spends use at most 100,000 of them.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().members)]
    members: usize,
    /// Look-ups of a round, for each side and number of connections.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().lookups)]
    lookups: u64,
    /// Spends of a round, for each side and number of tills.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().spends)]
    spends: u64,
    /// Quotes of a round, for each size of basket and policy.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().quotes)]
    quotes: usize,
    /// Promotions of the largest policy.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().promotions)]
    promotions: usize,
    /// Movements at the hub.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().movements)]
    movements: usize,
    /// Rounds; an odd number has a median.
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    rounds: usize,
    /// Make the databases under this folder, to measure its disk; they are removed again.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Bench {
    /// P1: a card with its balance, over HTTP.
    Lookup,
    /// P2 and P3: durable spends over HTTP, of many tills and of one alone.
    Spend,
    /// P4: quotes in the engine, and the load of a large policy.
    Quote,
    /// P9: settlement runs.
    Settle,
    /// All of them.
    All,
}

#[derive(Serialize)]
struct Report<'a> {
    sizes: &'a Sizes,
    measured: &'a [Measured],
    holds: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let sizes = Sizes {
        members: arguments.members.max(1),
        lookups: arguments.lookups,
        spends: arguments.spends,
        quotes: arguments.quotes,
        promotions: arguments.promotions.max(1),
        movements: arguments.movements,
        rounds: arguments.rounds,
        data: arguments.data,
        ..Sizes::default()
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: could not start: {error}");
            return ExitCode::from(3);
        }
    };
    let measured = match runtime.block_on(measure(&arguments.benches, &sizes)) {
        Ok(measured) => measured,
        Err(error) => {
            eprintln!("bench: {error:#}");
            return ExitCode::from(3);
        }
    };
    let holds = measured.iter().all(Measured::holds);
    if arguments.json {
        let report = Report { sizes: &sizes, measured: &measured, holds };
        println!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
    } else {
        print_table(&measured);
    }
    ExitCode::from(u8::from(arguments.check && !holds))
}

async fn measure(benches: &[Bench], sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let wanted = |bench| benches.contains(&bench) || benches.contains(&Bench::All);
    let mut measured = Vec::new();
    if wanted(Bench::Lookup) {
        eprintln!("Looking up {} cards in {} rounds …", sizes.members, sizes.rounds);
        measured.extend(lookup::run(sizes).await?);
    }
    if wanted(Bench::Spend) {
        eprintln!("Spending in {} rounds …", sizes.rounds);
        measured.extend(spend::run(sizes).await?);
    }
    if wanted(Bench::Quote) {
        eprintln!("Pricing baskets in {} rounds …", sizes.rounds);
        measured.extend(quote::run(sizes)?);
    }
    if wanted(Bench::Settle) {
        eprintln!("Settling {} movements in {} rounds …", sizes.movements, sizes.rounds);
        measured.extend(settle::run(sizes).await?);
    }
    Ok(measured)
}

fn print_table(measured: &[Measured]) {
    let width = measured.iter().map(|one| one.name.chars().count()).max().unwrap_or(0);
    println!("{:width$}  {:>12}  {:>12}  {:13}  {:>7}  bar", "", "ours", "limit", "", "ratio");
    for one in measured {
        let figure = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
        let bar = match one.bar {
            Bar::AtLeast(bar) => format!("≥ {bar}"),
            Bar::AtMost(bar) => format!("≤ {bar}"),
            Bar::None => String::new(),
        };
        let verdict = match (one.bar, one.holds()) {
            (Bar::None, _) => "",
            (_, true) => "holds",
            (_, false) => "FALLS SHORT",
        };
        let (ours, theirs) = (figure(one.ours), figure(one.theirs));
        println!(
            "{:width$}  {ours:>12}  {theirs:>12}  {:13}  {:>7.3}  {bar:5} {verdict}",
            one.name, one.unit, one.ratio
        );
        for note in &one.notes {
            println!("  {note}");
        }
    }
    println!();
    let mut limits: Vec<&str> = Vec::new();
    for one in measured {
        if !limits.contains(&one.limit) {
            limits.push(one.limit);
            let what = one.name.split(',').next().unwrap_or_default();
            println!("{what}: the limit is {}.", one.limit);
        }
    }
}
