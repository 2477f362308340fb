//! Session: one whole replay, from event files to compared results.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use huitong_config::Millis;
use huitong_protocol::id::StoreId;
use huitong_protocol::money::Currency;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::time::BusinessDay;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::drive::{self, store_code};
use super::event::{self, Event};
use super::offline::{self, Chooser, Offline};
use super::outcome::{Against, Summary};
use super::{cards, finance, golden};
use crate::town::{Plan, Town, Transport};
use crate::wire::{Shuffler, Wire};
use crate::{documents, memory};

/// Entries of one segment when segments are shuffled: few, so that a day has several.
const SHUFFLED_SEGMENT_ENTRIES: usize = 4;
/// The longest that a late store is held back, in days.
const LATE_DAYS_MAX: usize = 5;
/// How many differences are shown.
const DIFFERENCES_SHOWN_MAX: usize = 20;
/// How often a settlement is tried that waits for the end of a journal.
const SETTLE_TRIES_MAX: usize = 4;
/// Where the stores are.
const TIME_ZONE: &str = "America/New_York";
/// How rarely a store that has no line tries it.
const RETRY_MAX: Millis = Millis::seconds(1);

/// When stores release value, as the command line names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ReleasePolicy {
    /// After every operation.
    AtOnce,
    /// When an account has rested for 15 minutes.
    WhenIdle,
    /// At the close of the day.
    AtClose,
}

/// What to play.
#[derive(Clone, Debug)]
pub struct Options {
    /// Event files that follow each other.
    pub events: Vec<PathBuf>,
    /// Where golden files are.
    pub golden: Option<PathBuf>,
    /// How file names begin.
    pub golden_prefix: String,
    /// Where results go.
    pub out: Option<PathBuf>,
    /// Where the accepted events go.
    pub accepted: Option<PathBuf>,
    /// The share of stores held back, in thousandths.
    pub late_per_mille: u32,
    /// Every segment twice.
    pub duplicate: bool,
    /// Segments in random order.
    pub shuffle: bool,
    /// The seed of what is drawn.
    pub seed: u64,
    /// How many days.
    pub days: Option<usize>,
    /// How messages travel.
    pub transport: Transport,
    /// When stores release.
    pub release: ReleasePolicy,
    /// What they keep.
    pub park_minor: i64,
    /// The share of stores that are silent on a day, in thousandths; 0 is a replay in which every line stands.
    pub offline_per_mille: u32,
    /// Who decides where value is parked then.
    pub allocator: Chooser,
    /// Who decides in a second pass over the same days, for comparison.
    pub against: Option<Chooser>,
    /// What spends approved without a line must come to, in thousandths of those of the second pass.
    pub bar_per_mille: Option<u32>,
    /// Where the databases stay.
    pub data: Option<PathBuf>,
    /// Whether progress is shown on standard error.
    pub progress: bool,
}

/// Reads a share: `20%` or `0.2`, as thousandths.
///
/// # Errors
/// Says what a share looks like.
pub fn share(text: &str) -> Result<u32, String> {
    let form = || format!("{text} is not a share; write it like 20% or 0.2");
    let (digits, shift) = text.strip_suffix('%').map_or((text, 3), |percent| (percent, 1));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > shift || !fraction.bytes().all(|b| b.is_ascii_digit()) || whole.is_empty() {
        return Err(form());
    }
    let padded = format!("{whole}{fraction:0<shift$}");
    match padded.parse() {
        Ok(per_mille @ 0..=1_000) => Ok(per_mille),
        _ => Err(form()),
    }
}

/// A run that was made, as the hub reported it.
#[derive(Clone, Debug, Serialize)]
pub struct RunLine {
    /// The last day that it covers.
    pub day_to: String,
    /// Provisional or final.
    pub finality: String,
    /// Stores that were late.
    pub late: usize,
    /// Lines.
    pub lines: u64,
    /// Lines that adjust earlier days.
    pub adjustments: u64,
}

/// What came of a replay.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// When stores released.
    pub release: ReleasePolicy,
    /// Days played.
    pub days: usize,
    /// Events played.
    pub events: u64,
    /// Stores times days that traded.
    pub store_days: u64,
    /// Declined operations by code.
    pub declined: BTreeMap<String, u64>,
    /// The first of them.
    pub declines: Vec<String>,
    /// Reports, grants, releases, recalls as the hub counted them.
    pub allotments: BTreeMap<String, i64>,
    /// Answers to segments that were lost, so that the segment went twice.
    pub answers_lost: u64,
    /// Days of a store on which its segments were held back.
    pub late_store_days: u64,
    /// What came of days without a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline: Option<Summary>,
    /// How that compares with another allocator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// Runs of the booked scheme.
    pub runs: Vec<RunLine>,
    /// Sales that head office priced again.
    pub rerated: u64,
    /// Whether the hub proved everything that it holds, and no sale cost something else.
    pub verified: bool,
    /// What it could not prove, and what cost something else; the first findings.
    pub unproved: Vec<String>,
    /// Golden rows compared.
    pub golden_rows: usize,
    /// Where results differ, the first ones.
    pub differences: Vec<String>,
    /// Setting up, in milliseconds.
    pub setup_ms: u128,
    /// Opening, trading and closing.
    pub trade_ms: u128,
    /// Uploading.
    pub upload_ms: u128,
    /// Settling day by day.
    pub settle_ms: u128,
    /// Parking value in the nights, and checking what is where.
    pub park_ms: u128,
    /// Final runs, verification and results.
    pub finish_ms: u128,
    /// Trade, upload and settlement per 1,000 days of a store, in milliseconds.
    pub per_1000_store_days_ms: u128,
    /// The most memory that the process had, in bytes.
    pub peak_memory_bytes: Option<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "played      {} events on {} days, {} days·stores, release {:?}, seed {}",
            self.events, self.days, self.store_days, self.release, self.seed
        )?;
        let declined: u64 = self.declined.values().sum();
        writeln!(f, "declined    {declined} {:?}", self.declined)?;
        match &self.offline {
            Some(offline) => write!(f, "{offline}")?,
            None => {
                for decline in &self.declines {
                    writeln!(f, "DECLINED    {decline}")?;
                }
            }
        }
        if let Some(against) = &self.against {
            write!(f, "{against}")?;
        }
        let counts: Vec<String> = self.allotments.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "allotments  {}", counts.join(", "))?;
        writeln!(
            f,
            "segments    {} answers lost and sent again, {} days·stores held back",
            self.answers_lost, self.late_store_days
        )?;
        for run in &self.runs {
            if run.late > 0 || run.adjustments > 0 {
                writeln!(
                    f,
                    "run         to {} {}: {} lines, {} adjustments, {} stores late",
                    run.day_to, run.finality, run.lines, run.adjustments, run.late
                )?;
            }
        }
        let lines: u64 = self.runs.iter().map(|run| run.lines).sum();
        writeln!(f, "runs        {} of the booked scheme, {lines} lines", self.runs.len())?;
        writeln!(
            f,
            "time        set-up {} ms, trade {} ms, upload {} ms, settle {} ms, park {} ms, finish {} ms; per 1,000 days·stores {} ms",
            self.setup_ms,
            self.trade_ms,
            self.upload_ms,
            self.settle_ms,
            self.park_ms,
            self.finish_ms,
            self.per_1000_store_days_ms
        )?;
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(f, "memory      {} MiB at most", bytes >> 20)?;
        }
        writeln!(f, "re-rated    {} sales", self.rerated)?;
        writeln!(f, "verify      {}", if self.verified { "everything proved" } else { "NOT PROVED" })?;
        for finding in &self.unproved {
            writeln!(f, "UNPROVED    {finding}")?;
        }
        for difference in &self.differences {
            writeln!(f, "DIFFERS     {difference}")?;
        }
        writeln!(f, "golden      {} rows compared, {} differences", self.golden_rows, self.differences.len())
    }
}

#[expect(clippy::disallowed_methods, reason = "a replay measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[derive(Default)]
struct Times {
    trade: Duration,
    upload: Duration,
    settle: Duration,
    park: Duration,
}

impl Report {
    /// Whether everything is as it should be: equal to the golden files, proved by the hub, nothing overdrawn or lost under either allocator.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let mut summaries = self.offline.iter().chain(self.against.iter().map(|against| &against.other));
        self.differences.is_empty() && self.verified && summaries.all(Summary::is_sound)
    }

    /// Whether the bar holds, when there is one.
    #[must_use]
    pub fn holds_the_bar(&self) -> bool {
        self.against.as_ref().and_then(|against| against.bar_holds).unwrap_or(true)
    }
}

/// Plays a whole replay, and the same days once more under another allocator when one is named.
///
/// # Errors
/// What could not be read, set up, played or settled.
pub async fn play(options: &Options) -> anyhow::Result<Report> {
    let events = event::read(&options.events)?;
    let days = by_day(&events, options.days);
    let mut report = play_whole(options, &events, &days).await?;
    if let (Some(allocator), Some(ours)) = (options.against, &report.offline) {
        let data = options.data.as_ref().map(|data| data.join("against"));
        let second = Options { allocator, data, ..options.clone() };
        let other = play_again(&second, &events, &days).await.context("in the pass to compare with")?;
        report.against = Some(Against::of(ours, other, options.bar_per_mille)?);
    }
    Ok(report)
}

/// A pass over the days: its town, and the folder that goes with it.
struct Pass {
    town: Arc<Town>,
    _temporary: Option<tempfile::TempDir>,
}

async fn begin(options: &Options, events: &[Event]) -> anyhow::Result<Pass> {
    let temporary =
        if options.data.is_none() { Some(tempfile::tempdir().context("no temporary folder")?) } else { None };
    let data = match (&options.data, &temporary) {
        (Some(data), _) => {
            ensure!(!data.join("hub").exists(), "{} holds a replay already; name a new folder", data.display());
            data.clone()
        }
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => unreachable!("one of both is there"),
    };
    let shuffler = options.shuffle.then(|| Shuffler::start(options.seed));
    let is_offline = options.offline_per_mille > 0;
    let town = Town::build_with(&plan(options, &data, events, shuffler), |hub| {
        if is_offline {
            hub.time_zone = TIME_ZONE.to_owned();
        }
    })
    .await?;
    Ok(Pass { town, _temporary: temporary })
}

async fn play_days(state: &mut State<'_>, town: &Arc<Town>, days: &[Day]) -> anyhow::Result<()> {
    let bar = progress(state.options.progress, days.iter().map(|(_, events)| events.len() as u64).sum());
    for (at, (day, events)) in days.iter().enumerate() {
        let tomorrow = days.get(at + 1).map(|(day, events)| (*day, events.as_slice()));
        state.play_day(town, *day, events, tomorrow).await.with_context(|| format!("day {day}"))?;
        bar.inc(events.len() as u64);
        bar.set_message(format!("{day}"));
    }
    bar.finish_and_clear();
    Ok(())
}

/// Plays the days for what came of those without a line alone: value is checked every night, nothing is settled.
async fn play_again(options: &Options, events: &[Event], days: &[Day]) -> anyhow::Result<Summary> {
    let Pass { town, _temporary } = begin(options, events).await?;
    let mut state = State::new(options, &town).await?;
    state.settles = false;
    play_days(&mut state, &town, days).await?;
    let summary = state.offline.map(|offline| offline.summary).context("every line stands")?;
    town.close().await?;
    Ok(summary)
}

async fn play_whole(options: &Options, events: &[Event], days: &[Day]) -> anyhow::Result<Report> {
    let started = now();
    let Pass { town, _temporary } = begin(options, events).await?;
    let setup = started.elapsed();
    let mut state = State::new(options, &town).await?;
    play_days(&mut state, &town, days).await?;

    let finishing = now();
    state.let_go(&town, usize::MAX).await?;
    let last = days.last().context("no days")?.0;
    state.settle(&town, last, &[]).await?;
    for scheme in [Scheme::Pool, Scheme::Home] {
        town.head_office(&["settle", "run", "--scheme", scheme.as_str(), "--memo", "--to", &last.to_string()]).await?;
    }
    let mut unproved = town.verify().await?;
    let (rerated, priced_otherwise) = town.rerate().await?;
    unproved.extend(priced_otherwise);
    let verified = unproved.is_empty();
    unproved.truncate(DIFFERENCES_SHOWN_MAX);
    let books = finance::books(&town.hub.store).await?;
    let files = golden::files(&books)?;
    if let Some(out) = &options.out {
        golden::write(&files, out, &options.golden_prefix)?;
    }
    if let Some(path) = &options.accepted {
        write_accepted(path, days, &state.declined_events, &state.put_off)?;
    }
    let comparison = match &options.golden {
        Some(folder) => golden::compare(&files, folder, &options.golden_prefix)?,
        None => golden::Comparison::default(),
    };
    let spent = state.times.trade + state.times.upload + state.times.settle;
    let report = Report {
        seed: options.seed,
        release: options.release,
        days: days.len(),
        events: state.events,
        store_days: state.store_days,
        declined: state.declined,
        declines: state.declines,
        allotments: finance::counts(&town.hub.store).await?,
        answers_lost: town.shops().map(|shop| shop.wire.lost()).sum(),
        late_store_days: state.late_store_days,
        offline: state.offline.map(|offline| offline.summary),
        against: None,
        runs: state.runs,
        rerated,
        verified,
        unproved,
        golden_rows: comparison.rows,
        differences: comparison.differences.iter().take(DIFFERENCES_SHOWN_MAX).map(ToString::to_string).collect(),
        setup_ms: setup.as_millis(),
        trade_ms: state.times.trade.as_millis(),
        upload_ms: state.times.upload.as_millis(),
        settle_ms: state.times.settle.as_millis(),
        park_ms: state.times.park.as_millis(),
        finish_ms: finishing.elapsed().as_millis(),
        per_1000_store_days_ms: spent.as_millis() * 1_000 / u128::from(state.store_days.max(1)),
        peak_memory_bytes: memory::peak_bytes(),
    };
    town.close().await?;
    Ok(report)
}

fn progress(shown: bool, events: u64) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} events, {eta} left");
    ProgressBar::new(events).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A day and its events.
type Day = (BusinessDay, Vec<Event>);

fn by_day(events: &[Event], limit: Option<usize>) -> Vec<Day> {
    let chunks = events.chunk_by(|a, b| a.day == b.day).map(|chunk| (chunk[0].day, chunk.to_vec()));
    chunks.take(limit.unwrap_or(usize::MAX)).collect()
}

fn plan(options: &Options, data: &Path, events: &[Event], shuffler: Option<Arc<Shuffler>>) -> Plan {
    let mut first_store: BTreeMap<u32, u32> = BTreeMap::new();
    let mut stores: BTreeSet<u32> = BTreeSet::new();
    for event in events {
        stores.insert(event.store);
        first_store.entry(event.household).or_insert(event.store);
    }
    let release = match options.release {
        ReleasePolicy::AtOnce => "{ when = \"at_once\" }",
        ReleasePolicy::WhenIdle => "{ when = \"when_idle\", minutes = 15 }",
        ReleasePolicy::AtClose => "{ when = \"at_close\" }",
    };
    let parking = match options.offline_per_mille {
        0 => String::new(),
        per_mille => Offline::chapter(per_mille, options.allocator),
    };
    let first = &events[0];
    let (duplicate, shuffle, is_offline) = (options.duplicate, options.shuffle, options.offline_per_mille > 0);
    Plan {
        data: data.to_owned(),
        transport: options.transport,
        // Set up the evening before.
        start: first.at.plus_ms(-12 * 3_600_000),
        currency: Currency::USD,
        time_zone: TIME_ZONE.to_owned(),
        stores: stores.into_iter().map(store_code).collect(),
        cards: first_store
            .into_iter()
            .map(|(household, store)| (cards::of_household(household), store_code(store)))
            .collect(),
        product: "SV".to_owned(),
        policy: documents::policy(
            "USD",
            &format!("release = {release}\npark_minor = {}\n{parking}", options.park_minor),
        ),
        agreement: documents::agreement("USD", "fifo", &first.day.to_string(), 0, 0, "new_lot_here"),
        effective_from: first.day,
        tune: Arc::new(move |config| {
            if shuffle {
                config.sync.upload_entries_max = SHUFFLED_SEGMENT_ENTRIES;
            }
            if is_offline {
                // Hundreds of stores that try every moment would take the machine from the others; the line's return ends the wait.
                config.sync.retry_max = RETRY_MAX;
            }
        }),
        wire: Arc::new(move |_: StoreId, line| {
            let wire = Wire::new(line);
            let wire = if duplicate { wire.losing_answers() } else { wire };
            match &shuffler {
                Some(shuffler) => wire.shuffled_by(Arc::clone(shuffler)),
                None => wire,
            }
        }),
    }
}

struct State<'a> {
    options: &'a Options,
    random: StdRng,
    /// Stores held back, with the number of the day on which they are let go.
    late: HashMap<u32, usize>,
    day_no: usize,
    events: u64,
    store_days: u64,
    late_store_days: u64,
    declined: BTreeMap<String, u64>,
    declined_events: BTreeSet<u64>,
    /// Events that were taken at the end of their day.
    put_off: BTreeSet<u64>,
    declines: Vec<String>,
    runs: Vec<RunLine>,
    /// Whether the booked scheme is settled day by day.
    settles: bool,
    times: Times,
    offline: Option<Offline>,
}

impl<'a> State<'a> {
    async fn new(options: &'a Options, town: &Town) -> anyhow::Result<Self> {
        let offline = match options.offline_per_mille {
            0 => None,
            per_mille => Some(Offline::new(town, options.seed, per_mille, options.allocator).await?),
        };
        Ok(Self {
            offline,
            options,
            random: StdRng::seed_from_u64(options.seed),
            late: HashMap::new(),
            day_no: 0,
            events: 0,
            store_days: 0,
            late_store_days: 0,
            declined: BTreeMap::new(),
            declined_events: BTreeSet::new(),
            put_off: BTreeSet::new(),
            declines: Vec::new(),
            runs: Vec::new(),
            settles: true,
            times: Times::default(),
        })
    }

    async fn play_day(
        &mut self,
        town: &Arc<Town>,
        day: BusinessDay,
        events: &[Event],
        tomorrow: Option<(BusinessDay, &[Event])>,
    ) -> anyhow::Result<()> {
        self.day_no += 1;
        let stores: BTreeSet<u32> = events.iter().map(|event| event.store).collect();
        self.hold_back(town, &stores)?;

        let trading = now();
        let declined = match &mut self.offline {
            Some(offline) => {
                let offline::Day { declined, put_off } = offline.play_day(town, day, events).await?;
                self.put_off.extend(put_off);
                declined
            }
            None => drive::play_day(town, day, events).await?.declined,
        };
        self.times.trade += trading.elapsed();
        self.events += events.len() as u64;
        self.store_days += stores.len() as u64;
        for (seq, decline) in declined {
            let code = serde_json::to_value(decline.code)?.as_str().unwrap_or_default().to_owned();
            *self.declined.entry(code).or_default() += 1;
            self.declined_events.insert(seq);
            if self.declines.len() < DIFFERENCES_SHOWN_MAX {
                self.declines.push(format!("event {seq}: {}", serde_json::to_string(&decline)?));
            }
        }

        let uploading = now();
        // A store without customers has given value back by day when others needed it, and that stands in its journal.
        let stores = match self.offline {
            Some(_) => offline::numbers(town)?,
            None => stores,
        };
        drive::upload(town, stores.iter().copied().filter(|store| !self.late.contains_key(store))).await?;
        self.let_go(town, self.day_no).await?;
        self.times.upload += uploading.elapsed();

        let settling = now();
        if self.settles {
            let late: Vec<u32> = self.late.keys().copied().collect();
            let mut tries_left = SETTLE_TRIES_MAX;
            loop {
                tries_left -= 1;
                match self.settle(town, day, &late).await {
                    // A store that gave value back a moment after its journal went up has an entry that the hub was told of and does not have.
                    Err(error) if tries_left > 0 && is_incomplete(&error) => {
                        drive::upload(town, stores.iter().copied().filter(|store| !late.contains(store))).await?;
                    }
                    Err(error) => return Err(error),
                    Ok(()) => break,
                }
            }
        }
        self.times.settle += settling.elapsed();

        if let Some(offline) = &mut self.offline {
            let parking = now();
            offline.night(town, tomorrow).await?;
            self.times.park += parking.elapsed();
        }
        Ok(())
    }

    /// Draws the stores whose segments and seals are held back from today.
    fn hold_back(&mut self, town: &Town, stores: &BTreeSet<u32>) -> anyhow::Result<()> {
        for &store in stores {
            if !self.late.contains_key(&store) && self.random.random_range(0..1_000) < self.options.late_per_mille {
                self.late.insert(store, self.day_no + self.random.random_range(1..=LATE_DAYS_MAX));
                town.shop(store_code(store))?.wire.hold_uploads(true);
            }
            self.late_store_days += u64::from(self.late.contains_key(&store));
        }
        Ok(())
    }

    /// Lets stores go whose time has come, and uploads what they had.
    async fn let_go(&mut self, town: &Arc<Town>, day_no: usize) -> anyhow::Result<()> {
        let mut free: Vec<u32> =
            self.late.iter().filter(|&(_, &until)| until <= day_no).map(|(&store, _)| store).collect();
        free.sort_unstable();
        for store in &free {
            self.late.remove(store);
            town.shop(store_code(*store))?.wire.hold_uploads(false);
        }
        drive::upload(town, free).await
    }

    async fn settle(&mut self, town: &Town, day: BusinessDay, late: &[u32]) -> anyhow::Result<()> {
        let day = day.to_string();
        let mut args = vec!["settle", "run", "--scheme", "fifo", "--to", &day];
        args.extend((!late.is_empty()).then_some("--provisional"));
        let run = match town.head_office(&args).await {
            Ok(run) => run,
            // At the end there may be nothing that the last day's run has not settled.
            Err(error) if format!("{error:#}").contains("nothing has arrived since run") => return Ok(()),
            Err(error) => return Err(error),
        };
        let number = |name: &str| run[name].as_u64().unwrap_or(0);
        self.runs.push(RunLine {
            day_to: day,
            finality: run["finality"].as_str().unwrap_or("").to_owned(),
            late: run["late"].as_array().map_or(0, Vec::len),
            lines: number("lines"),
            adjustments: number("adjustments"),
        });
        Ok(())
    }
}

/// Whether a settlement was refused since something that stores reported has not arrived.
fn is_incomplete(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("that it reported have not arrived")
}

/// Writes the events that were accepted, renumbered from 1, in the columns of the event files. Those that had to wait for the night stand at the end of
/// their day, as they were taken there.
fn write_accepted(path: &Path, days: &[Day], declined: &BTreeSet<u64>, put_off: &BTreeSet<u64>) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_path(path).with_context(|| format!("could not write {}", path.display()))?;
    writer.write_record(["seq", "ts", "store_id", "household_id", "kind", "amount_cents", "basket_id"])?;
    let taken = days.iter().flat_map(|(_, events)| offline::as_taken(events, put_off));
    let accepted = taken.filter(|event| !declined.contains(&event.seq));
    for (no, event) in (1_u64..).zip(accepted) {
        let kind = serde_json::to_value(event.kind)?;
        let kind = kind.as_str().unwrap_or_default();
        let row = [
            no.to_string(),
            if put_off.contains(&event.seq) { last_second(&event.ts)? } else { event.ts.clone() },
            event.store.to_string(),
            event.household.to_string(),
            kind.to_owned(),
            event.amount_minor.to_string(),
            event.basket.to_string(),
        ];
        writer.write_record(&row)?;
    }
    writer.flush().with_context(|| format!("could not write {}", path.display()))
}

/// The last second of the day of a time with its offset.
fn last_second(ts: &str) -> anyhow::Result<String> {
    let parts = ts.split_once('T').and_then(|(date, time)| Some((date, &time[time.find(['+', '-', 'Z'])?..])));
    let (date, offset) = parts.with_context(|| format!("ts {ts:?} is not a time with its offset"))?;
    Ok(format!("{date}T23:59:59{offset}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_waited_stands_in_the_last_second_of_its_day() {
        assert_eq!(last_second("2026-03-01T10:30:00-05:00").unwrap(), "2026-03-01T23:59:59-05:00");
        assert_eq!(last_second("2026-03-01T10:30:00.25Z").unwrap(), "2026-03-01T23:59:59Z");
        assert!(last_second("2026-03-01").is_err());
    }

    #[test]
    fn a_share_is_a_percentage_or_a_fraction() {
        assert_eq!(share("20%"), Ok(200));
        assert_eq!(share("0.2"), Ok(200));
        assert_eq!(share("0.5%"), Ok(5));
        assert_eq!(share("1"), Ok(1_000));
        assert_eq!(share("0"), Ok(0));
        for bad in ["", "%", "101%", "1.1", "-1", "0.0001", "x"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
