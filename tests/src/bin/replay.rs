//! `replay`: plays recorded days of a chain through real edges and a real hub, and compares the results with independent ones.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use huitong_tests::replay::lines;
use huitong_tests::replay::offline::Chooser;
use huitong_tests::replay::session::{self, Options, ReleasePolicy};
use huitong_tests::town::Transport;
use serde::Serialize;

const AFTER_HELP: &str = "\
Exit codes: 0 played, and equal to the golden files or columns where they were given; 1 it could not be played, or the bar of --bar does not hold; 2 usage; 3 a\nresult differs, value was overdrawn or lost, or the hub could not prove what it holds.

Events are CSV, plain or .gz: seq,ts,store_id,household_id,kind,amount_cents,basket_id. The results of --out have the names, columns and order of
the golden files. A policy is published as a chain could publish it; nothing else is switched.

Baskets and lines are CSV with these columns among others: basket_id,store_id,timestamp,gross_cents,retail_disc_cents,coupon_disc_cents,coupon_match_cents,
net_cents; and basket_id,product_id,department,qty and the same five amounts. They are sold line by line, what funders are charged on statements is compared
with the columns, and then everything is given back.";

/// What is said of events, and means nothing for baskets.
const ONLY_WITH_EVENTS: [&str; 14] = [
    "events",
    "golden",
    "out",
    "accepted",
    "late",
    "duplicate",
    "shuffle",
    "seed",
    "release",
    "park",
    "offline",
    "allocator",
    "against",
    "bar",
];

/// Plays recorded days of a chain through real edges and a real hub.
#[derive(Parser)]
#[command(name = "replay", version, after_help = AFTER_HELP)]
struct Arguments {
    /// An event file; repeat it for files that follow each other.
    #[arg(long, required_unless_present = "baskets", value_name = "FILE")]
    events: Vec<PathBuf>,
    /// Play baskets instead of events; --lines goes with it.
    #[arg(long, requires = "lines", conflicts_with_all = ONLY_WITH_EVENTS, value_name = "FILE")]
    baskets: Option<PathBuf>,
    /// The lines of the baskets.
    #[arg(long, requires = "baskets", value_name = "FILE")]
    lines: Option<PathBuf>,
    /// Play the baskets that have no lines too, as one line each. Those below zero are always played, as they must be refused.
    #[arg(long, requires = "baskets")]
    every_basket: bool,
    /// Compare the results with the golden files of this folder.
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// How their names begin, and those of --out.
    #[arg(long, default_value = "golden_", value_name = "PREFIX")]
    golden_prefix: String,
    /// Write the results here.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the events that were accepted here, as CSV.
    #[arg(long, value_name = "FILE")]
    accepted: Option<PathBuf>,
    /// The share of stores whose segments and seals are held back one to five days, each day drawn anew: 20% or 0.2.
    #[arg(long, default_value = "0", value_name = "SHARE", value_parser = session::share)]
    late: u32,
    /// Send every segment twice.
    #[arg(long)]
    duplicate: bool,
    /// Deliver segments in seeded random order.
    #[arg(long)]
    shuffle: bool,
    /// The seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Play only so many days.
    #[arg(long, value_name = "N")]
    days: Option<usize>,
    /// How messages travel.
    #[arg(long, default_value = "http", value_parser = ["http", "memory"])]
    transport: String,
    /// When stores release value.
    #[arg(long, default_value = "when_idle", value_enum)]
    release: ReleasePolicy,
    /// What a store may keep of each account, in minor units.
    #[arg(long, default_value_t = 0, value_name = "MINOR")]
    park: i64,
    /// The share of stores that have no line on a day, drawn from seed, store and date: 2% or 0.02. Spends that are declined there, or elsewhere because
    /// their value lies there, are left out of --accepted, and the results are those of the accepted events.
    #[arg(long, value_name = "SHARE", value_parser = session::share, conflicts_with = "late")]
    offline: Option<u32>,
    /// Who decides where value is parked for such days.
    #[arg(long, default_value = "planner", value_enum, requires = "offline")]
    allocator: Chooser,
    /// Play the same days once more under this allocator, and compare what was approved at stores without a line. The second pass settles nothing.
    #[arg(long, value_enum, requires = "offline", value_name = "ALLOCATOR")]
    against: Option<Chooser>,
    /// The share of its approvals in full that the first pass must reach: 0.92 or 92%.
    #[arg(long, value_name = "SHARE", value_parser = session::share, requires = "against")]
    bar: Option<u32>,
    /// Keep the databases here; a folder that is not there yet. Without it they live in a temporary one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write one JSON document to standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let transport = if arguments.transport == "memory" { Transport::Memory } else { Transport::Http };
    if let (Some(baskets), Some(lines)) = (arguments.baskets, arguments.lines) {
        let options = lines::Options {
            baskets,
            lines,
            days: arguments.days,
            every_basket: arguments.every_basket,
            transport,
            data: arguments.data,
            progress: !arguments.json,
        };
        let code = |report: &lines::Report| if report.differences.is_empty() { 0 } else { 3 };
        return show(lines::play(&options), arguments.json, code);
    }
    let options = Options {
        events: arguments.events,
        golden: arguments.golden,
        golden_prefix: arguments.golden_prefix,
        out: arguments.out,
        accepted: arguments.accepted,
        late_per_mille: arguments.late,
        duplicate: arguments.duplicate,
        shuffle: arguments.shuffle,
        seed: arguments.seed,
        days: arguments.days,
        transport,
        release: arguments.release,
        park_minor: arguments.park,
        offline_per_mille: arguments.offline.unwrap_or(0),
        allocator: arguments.allocator,
        against: arguments.against,
        bar_per_mille: arguments.bar,
        data: arguments.data,
        progress: !arguments.json,
    };
    show(session::play(&options), arguments.json, |report| match (report.is_right(), report.holds_the_bar()) {
        (false, _) => 3,
        (true, false) => 1,
        (true, true) => 0,
    })
}

/// Plays, shows what came of it, and gives the exit code.
fn show<R: Serialize + Display>(
    play: impl Future<Output = anyhow::Result<R>>,
    json: bool,
    code: impl Fn(&R) -> u8,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("replay: could not start: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(play) {
        Ok(report) => {
            if json {
                println!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
            } else {
                print!("{report}");
            }
            ExitCode::from(code(&report))
        }
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::from(1)
        }
    }
}
