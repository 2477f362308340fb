//! `simulate`: lives through many small chains with every fault that there is, over the shipping core, and checks after each step that nobody could overspend.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use huitong_protocol::allotment::rule::Rule;
use huitong_tests::simulation::Violation;
use huitong_tests::simulation::run::{Report, Settings, run, shrink};
use serde::Serialize;

const AFTER_HELP: &str = "\
Exit codes: 0 nothing was wrong, or each mutant was noticed; 2 usage; 3 something was wrong, or a mutant was not noticed.

A seed lives the same life each time, with the same flags. Even seeds have a bad network, dying processes and clocks that jump, and then not a cent may be
missing; odd ones have lost disks that may be found again, backups put back, copied stores, restored hubs and fenced stores as well. A mutant is the core with one of its rules taken away.";

/// Simulates stores, tills, a hub and a bad network, many times.
#[derive(Parser)]
#[command(name = "simulate", version, after_help = AFTER_HELP)]
struct Arguments {
    /// How many runs; of a mutant, at most so many until it is caught.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Steps of a run.
    #[arg(long, default_value_t = 5_000)]
    steps: u64,
    /// Stores.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    stores: u16,
    /// Accounts.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    accounts: u16,
    /// Tills of each store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=32))]
    tills: u16,
    /// Take a rule away, and say whether that is noticed: its name, or `all` for one after the other.
    #[arg(long, value_name = "RULE|all", value_parser = mutants)]
    mutant: Option<Mutants>,
    /// Threads; one per core when it is left out.
    #[arg(long)]
    threads: Option<usize>,
    /// The last steps of a shrunk run that are printed.
    #[arg(long, default_value_t = 40)]
    trace: usize,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Rules to be taken away, one at a time.
#[derive(Clone)]
struct Mutants(Vec<Rule>);

fn mutants(text: &str) -> Result<Mutants, String> {
    if text == "all" {
        return Ok(Mutants(Rule::ALL.to_vec()));
    }
    let names = || Rule::ALL.iter().map(|rule| rule.as_str()).collect::<Vec<_>>().join(", ");
    Rule::named(text).map(|rule| Mutants(vec![rule])).ok_or_else(|| format!("no such rule; they are: all, {}", names()))
}

#[derive(Serialize)]
struct Told {
    /// The rule that was taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    without: Option<&'static str>,
    runs: u64,
    steps: u64,
    faults: u64,
    operations: u64,
    violations: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seed: Option<u64>,
    /// Which kind of violation it was: overdraft, twice, missing, liveness, assertion.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    violation: Option<String>,
}

impl Told {
    fn of(report: &Report, without: Option<Rule>) -> Self {
        let violation = report.first.as_ref().and_then(|first| first.1.violation.as_ref());
        Self {
            without: without.map(Rule::as_str),
            runs: report.runs,
            steps: report.steps,
            faults: report.faults,
            operations: report.done,
            violations: report.violations,
            first_seed: report.first.as_ref().map(|first| first.0),
            kind: violation.map(|violation| violation.kind.as_str()),
            violation: violation.map(|violation| violation.words.clone()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it says how fast it was")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = Settings {
        stores: arguments.stores.into(),
        accounts: arguments.accounts.into(),
        tills: arguments.tills.into(),
        trace_lines: arguments.trace,
        ..Settings::default()
    };
    let threads =
        arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let live = |without: Option<Rule>| {
        run(&settings, without, arguments.first_seed, arguments.seeds, arguments.steps, threads, without.is_some())
    };
    let Some(Mutants(rules)) = &arguments.mutant else {
        let begun = Instant::now();
        let report = live(None);
        let took_ms = begun.elapsed().as_millis().max(1);
        say_sound(&arguments, &settings, &report, u128::from(report.steps) * 1_000 / took_ms);
        return if report.violations == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) };
    };
    let mut results = Vec::new();
    for &rule in rules {
        let result = Told::of(&live(Some(rule)), Some(rule));
        if !arguments.json {
            match &result.violation {
                Some(violation) => {
                    let seed = result.first_seed.unwrap_or_default();
                    let kind = result.kind.unwrap_or_default();
                    println!("{:24} noticed with seed {seed:>6} by {kind:9}: {violation}", rule.as_str());
                }
                None => println!("{:24} NOT NOTICED in {} runs", rule.as_str(), result.runs),
            }
        }
        results.push(result);
    }
    let caught = results.iter().filter(|result| result.violations > 0).count();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&results).expect("numbers and text"));
    } else {
        println!("{caught} of {} mutants noticed", results.len());
    }
    if caught == results.len() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

fn say_sound(arguments: &Arguments, settings: &Settings, report: &Report, per_second: u128) {
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&Told::of(report, None)).expect("numbers and text"));
    } else {
        println!(
            "{} runs, {} steps ({per_second} a second), {} faults, {} operations done: {} violations",
            report.runs, report.steps, report.faults, report.done, report.violations
        );
    }
    let Some((seed, first)) = &report.first else { return };
    let words = |violation: &Option<Violation>| violation.as_ref().map(ToString::to_string).unwrap_or_default();
    eprintln!("seed {seed}, step {}: {}", first.steps, words(&first.violation));
    eprintln!(
        "again: simulate --first-seed {seed} --seeds 1 --steps {} --stores {} --accounts {} --tills {}",
        arguments.steps, arguments.stores, arguments.accounts, arguments.tills
    );
    if let Some((smallest, outcome)) = shrink(settings, None, *seed, arguments.steps) {
        eprintln!(
            "shrunk to {} stores, {} accounts, {} tills, step {}; the last steps:",
            smallest.stores, smallest.accounts, smallest.tills, outcome.steps
        );
        outcome.trace.iter().for_each(|line| eprintln!("{line}"));
        eprintln!("{}", words(&outcome.violation));
    }
}
