//! Sweep: a scripted day is done once, and the power is cut at every sync and after every answer of it. Each time the store is opened on what is
//! left, and must hold exactly what was answered, with or without the step under way; then the day goes on.
//!
//! The cuts are made on copies of the image, so the day itself is done only once. What is told to break durability (a [`Mutant`]) must be noticed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, ensure};

use super::device::{Call, Device, Failure, Fault, Faults, Moment};
use super::image::{FileNo, Image, Loss};
use super::rows::{Rows, prove};
use super::script::{Step, Tills};
use super::shop::{Answer, Shop, Standing};

/// What breaks durability, in tests only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// The engine syncs nothing.
    SynchronousOff,
    /// The engine syncs before checkpoints only, not with each commit.
    SynchronousNormal,
    /// Tills are answered before the commit is on the disk.
    ReplyBeforeCommit,
    /// A failed fsync is tried again, and its success believed.
    RetryAfterFailedFsync,
    /// A store that starts again believes the log that it is shown.
    LogNotWrittenAgain,
    /// The disk ignores syncs of the log.
    LogNeverSynced,
    /// The disk ignores syncs of the database, so that a checkpoint gives up the log too early.
    DatabaseNeverSynced,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SynchronousOff,
        Self::SynchronousNormal,
        Self::ReplyBeforeCommit,
        Self::RetryAfterFailedFsync,
        Self::LogNotWrittenAgain,
        Self::LogNeverSynced,
        Self::DatabaseNeverSynced,
    ];
}

/// How thorough a sweep is.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How many torn images are made of each sync.
    pub torn: u64,
    /// How many steps a store does after a cut before it is compared again.
    pub onward: usize,
    /// After every so many cuts the day is done to its end.
    pub to_end_every: u64,
    /// Beginning of all that is random.
    pub seed: u64,
}

/// What a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Steps of the script.
    pub steps: usize,
    /// Syncs of the day.
    pub syncs: u64,
    /// Times that the store was opened on what a cut or a failed sync left.
    pub cuts: u64,
    /// Acknowledged operations whose answer was asked for again.
    pub answers: u64,
}

/// What a sweep found wrong.
#[derive(Debug, thiserror::Error)]
#[error("found at end {ends} of the day: {what}")]
pub struct Violation {
    /// How many ends had been looked at, this one included.
    pub ends: u64,
    /// What it is.
    pub what: String,
}

/// A moment of the day at which things may end.
struct Fork {
    image: Image,
    /// The step under way; all before it were answered.
    step: usize,
    /// The file about to be synced; none right after a step was answered.
    syncing: Option<FileNo>,
}

/// How a moment ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The power is cut.
    PowerCut(Loss),
    /// The sync fails, the process ends and starts again, and the power is cut later.
    FailedSync(u64),
}

/// A day done once.
struct Day {
    script: Vec<Step>,
    forks: Vec<Fork>,
    /// The rows after each step.
    rows: Vec<Rows>,
    /// What tills were answered in each step.
    answers: Vec<Vec<Answer>>,
    /// What tills knew after each step.
    tills: Vec<Tills>,
    syncs: u64,
}

fn standing(mutant: Option<Mutant>) -> Standing {
    let usual = Standing::default();
    match mutant {
        Some(Mutant::SynchronousOff) => Standing { synchronous: "OFF", ..usual },
        Some(Mutant::SynchronousNormal) => Standing { synchronous: "NORMAL", ..usual },
        Some(Mutant::LogNotWrittenAgain) => Standing { rewrite: |_| Ok(()), ..usual },
        _ => usual,
    }
}

fn faults(mutant: Option<Mutant>, failing_sync: Option<u64>, seed: u64) -> Faults {
    Faults {
        fault: failing_sync.map(|nth| Fault { call: Call::Sync, nth, failure: Failure::Io }),
        seed,
        log_never_synced: mutant == Some(Mutant::LogNeverSynced),
        database_never_synced: mutant == Some(Mutant::DatabaseNeverSynced),
        sync_tried_again: mutant == Some(Mutant::RetryAfterFailedFsync),
    }
}

/// Sweeps a script, up to the first cut after which something acknowledged is missing, anything is there in half, or the day cannot go on.
///
/// # Errors
/// When the day could not be done at all.
pub fn sweep(script: &[Step], mutant: Option<Mutant>, extent: Extent) -> anyhow::Result<Result<Figures, Violation>> {
    if mutant != Some(Mutant::RetryAfterFailedFsync) {
        return Ok(check_all(&walk(script, mutant, None, extent)?, mutant, extent));
    }
    // Each day has one sync that fails; what it was to write is lost, and nobody hears of it.
    let mut all = Figures::default();
    for nth in (0..64).map(|run| 12 + run * 3) {
        match check_all(&walk(script, mutant, Some(nth), extent)?, mutant, extent) {
            Ok(figures) => all.cuts += figures.cuts,
            Err(Violation { ends, what }) => return Ok(Err(Violation { ends: all.cuts + ends, what })),
        }
    }
    Ok(Ok(all))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().build().context("could not start a runtime")
}

/// Does the day once, and keeps a copy of the image at every moment at which it may end.
fn walk(script: &[Step], mutant: Option<Mutant>, failing_sync: Option<u64>, extent: Extent) -> anyhow::Result<Day> {
    let device = Device::new(Image::default(), faults(mutant, failing_sync, extent.seed));
    let under_way = Arc::new(AtomicUsize::new(0));
    let forks = Arc::new(Mutex::new(Vec::new()));
    let (step, kept) = (Arc::clone(&under_way), Arc::clone(&forks));
    device.watch(move |Moment::BeforeSync(file), image| {
        let fork = Fork { image: image.clone(), step: step.load(Ordering::SeqCst), syncing: Some(file) };
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(fork);
    });
    let keep = |fork| forks.lock().unwrap_or_else(PoisonError::into_inner).push(fork);
    let shop = Shop::open_watched(device, standing(mutant)).map_err(|unopened| unopened.error)?;
    let (mut rows, mut answers, mut tills) = (Vec::new(), Vec::new(), vec![Tills::default()]);
    runtime()?.block_on(async {
        for (at, step) in script.iter().enumerate() {
            under_way.store(at, Ordering::SeqCst);
            let mut knows = tills.last().cloned().unwrap_or_default();
            let given = step.take(at, &shop, &mut knows).await.with_context(|| format!("step {at}: {step:?}"))?;
            answers.push(given);
            tills.push(knows);
            rows.push(Rows::of(&shop.store)?);
            keep(Fork { image: shop.mount.device.image(), step: at + 1, syncing: None });
        }
        anyhow::Ok(())
    })?;
    let syncs = shop.mount.device.calls(Call::Sync);
    prove(&shop.store)?;
    drop(shop.end());
    let forks = std::mem::take(&mut *forks.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Day { script: script.to_vec(), forks, rows, answers, tills, syncs })
}

/// Ends the day at every moment in every way, on as many threads as there are cores.
fn check_all(day: &Day, mutant: Option<Mutant>, extent: Extent) -> Result<Figures, Violation> {
    let mut ends: Vec<(usize, End)> = Vec::new();
    for (at, fork) in day.forks.iter().enumerate() {
        let seed = |no: u64| extent.seed ^ (at as u64) << 8 ^ no << 40;
        ends.push((at, End::PowerCut(Loss::All)));
        if fork.syncing.is_some() {
            ends.push((at, End::PowerCut(Loss::Nothing)));
            ends.extend((0..extent.torn).map(|no| (at, End::PowerCut(Loss::Torn(seed(no))))));
            ends.push((at, End::FailedSync(seed(99))));
        }
    }
    let (next, answers, cuts) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let first_fault: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let is_clean = || first_fault.lock().unwrap_or_else(PoisonError::into_inner).is_none();
                while is_clean() {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(&(fork, end)) = ends.get(at) else { break };
                    cuts.fetch_add(1, Ordering::SeqCst);
                    let to_end = extent.to_end_every > 0 && (at as u64).is_multiple_of(extent.to_end_every);
                    let onward = if to_end { usize::MAX } else { extent.onward };
                    match check(day, &day.forks[fork], end, mutant, onward) {
                        Ok(asked) => drop(answers.fetch_add(asked, Ordering::SeqCst)),
                        Err(error) => {
                            let step = day.forks[fork].step;
                            let error = error.context(format!("end {at} of the day, in step {step}: {end:?}"));
                            first_fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = first_fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(Violation { ends: cuts.into_inner(), what: format!("{error:#}") });
    }
    let (cuts, answers) = (cuts.into_inner(), answers.into_inner());
    Ok(Figures { steps: day.script.len(), syncs: day.syncs, cuts, answers })
}

/// Ends the day at a moment, opens the store on what is left, and goes on. Gives how many answers were asked for again.
fn check(day: &Day, fork: &Fork, end: End, mutant: Option<Mutant>, onward: usize) -> anyhow::Result<u64> {
    let mut image = match end {
        End::PowerCut(loss) => fork.image.after_power_cut(loss),
        End::FailedSync(_) => fork.image.clone(),
    };
    if let (End::FailedSync(seed), Some(file)) = (end, fork.syncing) {
        image.fail_sync(file, Loss::Torn(seed));
    }
    let lies = faults(mutant, None, 0);
    let answered = fork.step + usize::from(mutant == Some(Mutant::ReplyBeforeCommit) && fork.syncing.is_some());
    let shop = match end {
        End::PowerCut(_) => Shop::open(image, lies, standing(mutant)),
        End::FailedSync(seed) => {
            let device = Device::new(image, lies);
            let seen = Arc::new(Mutex::new(Vec::new()));
            let kept = Arc::clone(&seen);
            device.watch(move |Moment::BeforeSync(_), image| {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(image.clone());
            });
            let opened = Shop::open_watched(device, standing(mutant));
            // The power may be cut while the store starts, too.
            for image in std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner)) {
                let left = image.after_power_cut(Loss::Torn(!seed));
                let shop = Shop::open(left, lies, standing(mutant)).map_err(|unopened| unopened.error);
                let shop = shop.context("could not open after a power cut in the start")?;
                holds(day, &shop, answered, true).context("after a power cut in the start")?;
                prove(&shop.store).context("after a power cut in the start")?;
            }
            opened
        }
    };
    let shop = shop.map_err(|unopened| unopened.error).context("could not open")?;
    let runtime = runtime()?;
    holds(day, &shop, answered, fork.syncing.is_some())?;
    let mut asked = 0;
    let mut tills = day.tills[fork.step].clone();
    let last = fork.step.saturating_add(onward).min(day.script.len());
    runtime.block_on(async {
        for at in sample(fork.step) {
            for (posting, answer) in day.script[at].postings().iter().zip(&day.answers[at]) {
                let again = posting.send(&shop, tills.witness.as_deref()).await?;
                ensure!(again.replayed, "step {at} was answered and is done again");
                ensure!(again.bytes == answer.bytes, "step {at} is answered in another way: {}", text(&again));
                asked += 1;
            }
        }
        for at in fork.step..last {
            day.script[at].take(at, &shop, &mut tills).await.with_context(|| format!("step {at}, done again"))?;
        }
        anyhow::Ok(())
    })?;
    equal(day, &shop, last).context("after the day went on")?;
    prove(&shop.store)?;
    // And the power is cut once more, long after: what was answered behind the first fault must be there too.
    let image = shop.mount.device.image().after_power_cut(Loss::All);
    drop(shop);
    let shop =
        Shop::open(image, lies, standing(mutant)).map_err(|unopened| unopened.error).context("could not open again")?;
    equal(day, &shop, last).context("after the second power cut")?;
    prove(&shop.store)?;
    Ok(asked)
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

/// The last steps that were answered, and some before.
fn sample(answered: usize) -> impl Iterator<Item = usize> {
    let recent = answered.saturating_sub(3);
    (0..recent).step_by(9).chain(recent..answered)
}

/// Whether a store holds all that was answered: without the step under way, or with it.
fn holds(day: &Day, shop: &Shop, answered: usize, may_have_more: bool) -> anyhow::Result<()> {
    if answered == 0 {
        return Ok(()); // Not installed yet: there is nothing that anybody relies on.
    }
    let rows = Rows::of(&shop.store)?;
    let Some(missing) = rows.difference(&day.rows[answered - 1]) else { return Ok(()) };
    match day.rows.get(answered).map(|with| rows.difference(with)) {
        Some(None) if may_have_more => Ok(()),
        _ => Err(anyhow!("the store does not hold what was answered: {missing}")),
    }
}

fn equal(day: &Day, shop: &Shop, done: usize) -> anyhow::Result<()> {
    match done
        .checked_sub(1)
        .and_then(|last| Rows::of(&shop.store).map(|rows| rows.difference(&day.rows[last])).transpose())
    {
        None => Ok(()),
        Some(difference) => Err(anyhow!("the store is not as without the cut: {}", difference?)),
    }
}
