//! Storm: a made-up day on a disk on which any call may fail, with processes that end and power that is cut in between.
//!
//! The same day is done on a good disk as well. Whatever happened, every step was answered in the end, each answer stands, and both stores hold the
//! same rows. When the store says that its disk failed, it writes nothing any more and answers nobody.

use anyhow::{Context, bail, ensure};
use huitong_edge::store::StoreError;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::device::{Call, Failure, Fault, Faults};
use super::image::{Image, Loss};
use super::rows::{Rows, prove};
use super::script::{Step, Tills, random_day};
use super::shop::{Answer, Shop, Standing};

/// Steps of a made-up day.
const OPERATIONS: usize = 40;
/// How often a store may be started before something is surely wrong: far more than any seed needs.
const STARTS_MAX: u32 = 400;

/// What storms did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Weather {
    /// Times that a store was started.
    pub starts: u64,
    /// Calls that failed.
    pub faults: u64,
    /// Stores that stopped because of their disk.
    pub failed: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Steps that were answered.
    pub steps: u64,
}

impl std::ops::AddAssign for Weather {
    fn add_assign(&mut self, other: Self) {
        self.starts += other.starts;
        self.faults += other.faults;
        self.failed += other.failed;
        self.power_cuts += other.power_cuts;
        self.steps += other.steps;
    }
}

/// Weathers one storm.
///
/// # Errors
/// What was lost, doubled or damaged.
pub fn weather(seed: u64) -> anyhow::Result<Weather> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let script = random_day(seed, OPERATIONS);
    runtime.block_on(async {
        let calm = calm_day(&script).await.context("on a good disk")?;
        let mut history = Vec::new();
        storm(&script, seed, &calm, &mut history)
            .await
            .with_context(|| format!("storm {seed}:\n{}\n", history.join("\n")))
    })
}

async fn calm_day(script: &[Step]) -> anyhow::Result<Rows> {
    let shop =
        Shop::open(Image::default(), Faults::default(), Standing::default()).map_err(|unopened| unopened.error)?;
    let mut tills = Tills::default();
    for (at, step) in script.iter().enumerate() {
        step.take(at, &shop, &mut tills).await.with_context(|| format!("step {at}: {step:?}"))?;
    }
    Rows::of(&shop.store)
}

fn any_fault(random: &mut StdRng) -> Faults {
    let seed = random.random();
    let (call, span) = match random.random_range(0..10) {
        0..4 => (Call::Sync, 30),
        4..7 => (Call::Write, 250),
        7..9 => (Call::Read, 400),
        _ => return Faults { seed, ..Faults::default() },
    };
    let failure = match (call, random.random_range(0..3)) {
        (Call::Write, 0) => Failure::Full,
        (Call::Read, 0) => Failure::Short,
        _ => Failure::Io,
    };
    Faults { fault: Some(Fault { call, nth: random.random_range(0..span), failure }), seed, ..Faults::default() }
}

async fn storm(script: &[Step], seed: u64, calm: &Rows, history: &mut Vec<String>) -> anyhow::Result<Weather> {
    let mut random = StdRng::seed_from_u64(!seed);
    let (mut image, mut at, mut tills) = (Image::default(), 0, Tills::default());
    let mut answers: Vec<Vec<Answer>> = Vec::new();
    let mut weather = Weather::default();
    for _ in 0..STARTS_MAX {
        weather.starts += 1;
        let faults = any_fault(&mut random);
        history.push(format!("start {} before step {at} with {:?}", weather.starts, faults.fault));
        let shop = match Shop::open(image, faults, Standing::default()) {
            Ok(shop) => shop,
            Err(unopened) => {
                let error = unopened.error;
                ensure!(faults.fault.is_some(), "a store does not open on a disk that is well: {error:?}");
                weather.faults += 1;
                image = cut(unopened.image, &mut random, &mut weather, history);
                continue;
            }
        };
        // Some stores live on until the disk fails, others are ended in the middle.
        let ends_at = if random.random_ratio(1, 3) { at + random.random_range(0..12) } else { usize::MAX };
        let mut tries = 0;
        let looked = look_back(script, &answers, &shop, &tills, &mut random).await;
        while looked.is_ok() && at < script.len() && at < ends_at && tries < 3 {
            match script[at].take(at, &shop, &mut tills).await {
                Ok(given) => {
                    answers.push(given);
                    (at, tries) = (at + 1, 0);
                    weather.steps += 1;
                }
                // The till asks again, with the same id, unless the store says that it has stopped.
                Err(_) if !shop.has_failed() => tries += 1,
                Err(_) => break,
            }
        }
        weather.faults += shop.mount.device.injected();
        history.push(format!(
            "  ended before step {at}, {} calls failed, {}",
            shop.mount.device.injected(),
            if shop.has_failed() { "stopped" } else { "running" }
        ));
        if shop.has_failed() {
            weather.failed += 1;
            image = stopped(shop).await?;
        } else {
            if let Err(error) = looked
                && shop.mount.device.injected() == 0
            {
                return Err(error.context(format!("at step {at}, in life {}", weather.starts)));
            }
            if at == script.len() {
                match finished(&shop, calm) {
                    Ok(()) => return Ok(weather),
                    // The fault may have waited for the proof.
                    Err(error) if shop.mount.device.injected() == 0 => return Err(error),
                    Err(_) => {}
                }
            }
            // Ended without a word: what the disk shows now is what the next process sees.
            image = shop.mount.device.image();
        }
        image = cut(image, &mut random, &mut weather, history);
    }
    bail!("{STARTS_MAX} starts were not enough: step {at} of {} was not answered", script.len())
}

fn finished(shop: &Shop, calm: &Rows) -> anyhow::Result<()> {
    prove(&shop.store)?;
    match Rows::of(&shop.store)?.difference(calm) {
        None => Ok(()),
        Some(difference) => bail!("the store is not as on a good disk: {difference}"),
    }
}

/// Asks for some of what was answered before.
async fn look_back(
    script: &[Step],
    answers: &[Vec<Answer>],
    shop: &Shop,
    tills: &Tills,
    random: &mut StdRng,
) -> anyhow::Result<()> {
    prove_unless_failing(shop)?;
    for _ in 0..answers.len().min(4) {
        let at = random.random_range(answers.len().saturating_sub(12)..answers.len());
        for (posting, answer) in script[at].postings().iter().zip(&answers[at]) {
            let again = posting.send(shop, tills.witness.as_deref()).await?;
            ensure!(again.replayed && again.bytes == answer.bytes, "step {at} was answered, and is answered otherwise");
        }
    }
    Ok(())
}

/// A read that the device fails proves nothing; a proof that fails without one is a loss.
fn prove_unless_failing(shop: &Shop) -> anyhow::Result<()> {
    match prove(&shop.store) {
        Err(error) if shop.mount.device.injected() == 0 => Err(error),
        _ => Ok(()),
    }
}

/// A store that stopped: it takes nothing more, and closing it writes nothing.
async fn stopped(shop: Shop) -> anyhow::Result<Image> {
    let refused = shop.store.write(|_| Ok::<_, StoreError>(())).await;
    ensure!(matches!(refused, Err(StoreError::Stopped)), "a store that stopped takes a write: {refused:?}");
    let device = std::sync::Arc::clone(&shop.mount.device);
    let written = device.calls(Call::Write);
    let image = shop.end();
    ensure!(device.calls(Call::Write) == written, "a store whose disk failed wrote on");
    Ok(image)
}

/// Cuts the power, often, in one of its ways.
fn cut(image: Image, random: &mut StdRng, weather: &mut Weather, history: &mut Vec<String>) -> Image {
    let loss = match random.random_range(0..6) {
        0 => Loss::All,
        1 => Loss::Nothing,
        2 | 3 => Loss::Torn(random.random()),
        _ => return image,
    };
    weather.power_cuts += 1;
    history.push(format!("  power cut: {loss:?}"));
    image.after_power_cut(loss)
}
