//! Run: many seeds on all cores, and the smallest run that shows a violation.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use huitong_protocol::allotment::rule::{Care, Rule, Sound};

use super::Mutant;
use super::audit::Kind;
use super::world::{Outcome, World};

/// How large worlds are, and how bad.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stores.
    pub stores: usize,
    /// Accounts.
    pub accounts: usize,
    /// Tills per store.
    pub tills: usize,
    /// Of a thousand messages, how many are lost.
    pub loss_per_mille: u32,
    /// How many come twice.
    pub duplicate_per_mille: u32,
    /// Of a thousand transactions, how many meet the machine's death.
    pub crash_per_mille: u32,
    /// Whether disks are lost, backups put back, the hub restored, stores fenced.
    pub has_disasters: bool,
    /// Whether stores are copied while they run.
    pub has_copies: bool,
    /// Whether the last steps are kept as text.
    pub trace: bool,
    /// How many.
    pub trace_lines: usize,
}

impl Settings {
    /// Purses: the accounts', and that of the risk, which is the last.
    #[must_use]
    pub const fn purses(&self) -> usize {
        self.accounts + 1
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stores: 4,
            accounts: 6,
            tills: 3,
            loss_per_mille: 150,
            duplicate_per_mille: 150,
            crash_per_mille: 10,
            has_disasters: true,
            has_copies: true,
            trace: false,
            trace_lines: 40,
        }
    }
}

/// What many runs gave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Runs.
    pub runs: u64,
    /// Steps of all of them.
    pub steps: u64,
    /// Faults.
    pub faults: u64,
    /// Operations that were told to be done.
    pub done: u64,
    /// Runs with a violation.
    pub violations: u64,
    /// The first seed with one, and what it was.
    pub first: Option<(u64, Outcome)>,
}

/// Lives through one seed. Where every rule is kept the assertions of the core hold too, and one that fails ends the run as a violation.
#[must_use]
pub fn live(settings: &Settings, without: Option<Rule>, seed: u64, steps: u64) -> Outcome {
    fn of<C: Care + Copy>(settings: &Settings, care: C, seed: u64, steps: u64) -> Outcome {
        World::new(settings, care, seed).live(steps)
    }
    let lived = std::panic::catch_unwind(|| match without {
        None => of(settings, Sound, seed, steps),
        Some(without) => of(settings, Mutant { without }, seed, steps),
    });
    lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let words = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Outcome { violation: Some(Kind::Assertion.of(words)), ..Outcome::default() }
    })
}

/// Lives through the seeds from `first_seed`, on `threads` threads. With `until_violation` it ends with the first violation.
#[must_use]
pub fn run(
    settings: &Settings,
    without: Option<Rule>,
    first_seed: u64,
    seeds: u64,
    steps: u64,
    threads: usize,
    until_violation: bool,
) -> Report {
    let next = AtomicU64::new(first_seed);
    let report = Mutex::new(Report::default());
    let end = first_seed.saturating_add(seeds);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = live(settings, without, seed, steps);
                    let mut report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    report.runs += 1;
                    report.steps += outcome.steps;
                    report.faults += outcome.faults;
                    report.done += outcome.done;
                    if outcome.violation.is_some() {
                        report.violations += 1;
                        if report.first.as_ref().is_none_or(|(first, _)| seed < *first) {
                            report.first = Some((seed, outcome));
                        }
                        if until_violation {
                            next.store(end, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The smallest world, and the run up to its violation with a trace, that still shows one from this seed. Gives the settings that show it.
#[must_use]
pub fn shrink(settings: &Settings, without: Option<Rule>, seed: u64, steps: u64) -> Option<(Settings, Outcome)> {
    let try_live = |settings: &Settings| {
        let outcome = live(settings, without, seed, steps);
        outcome.violation.is_some().then_some(outcome)
    };
    let mut smallest = (settings.clone(), try_live(settings)?);
    let smaller: [fn(&mut Settings); 7] = [
        |s| s.stores = (s.stores - 1).max(1),
        |s| s.accounts = (s.accounts - 1).max(1),
        |s| s.tills = (s.tills - 1).max(1),
        |s| s.loss_per_mille = 0,
        |s| s.duplicate_per_mille = 0,
        |s| s.crash_per_mille = 0,
        |s| s.has_copies = false,
    ];
    for _ in 0..4 {
        for make in smaller {
            let mut next = smallest.0.clone();
            make(&mut next);
            if let Some(outcome) = try_live(&next)
                && outcome.steps <= smallest.1.steps
            {
                smallest = (next, outcome);
            }
        }
    }
    smallest.0.trace = true;
    smallest.1 = try_live(&smallest.0)?;
    Some(smallest)
}
