//! A small chain's days, made up from a seed, played through the whole system: late, doubled and shuffled journals change no final figure, whenever
//! stores release, and an oracle that shares no code with settlement agrees.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use huitong_tests::replay::offline::Chooser;
use huitong_tests::replay::outcome::Summary;
use huitong_tests::replay::session::{self, Options, ReleasePolicy, Report};
use huitong_tests::town::Transport;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const STORES: u32 = 6;
const HOUSEHOLDS: usize = 10;
const DAYS: i8 = 7;

/// One event as the oracle needs it.
struct Happened {
    household: usize,
    store: u32,
    day: i8,
    loads: bool,
    amount: i64,
}

/// Makes up days: every household visits some stores, loads when it must, spends what it has, sometimes gives something back.
fn made_up(seed: u64) -> (String, Vec<Happened>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut balances = [None::<i64>; HOUSEHOLDS];
    let (mut text, mut happened, mut seq) =
        ("seq,ts,store_id,household_id,kind,amount_cents,basket_id\n".to_owned(), Vec::new(), 0);
    for day in 1..=DAYS {
        for minute in (0..1_440).step_by(30) {
            let household = random.random_range(0..HOUSEHOLDS);
            let store = random.random_range(1..=STORES);
            let mut event = |kind: &str, loads: bool, amount: i64| {
                seq += 1;
                let household_no = household + 1;
                let ts = format!("2026-03-{day:02}T{:02}:{:02}:00-05:00", minute / 60, minute % 60);
                writeln!(text, "{seq},{ts},{store},{household_no},{kind},{amount},{seq}").unwrap();
                happened.push(Happened { household, store, day, loads, amount });
            };
            let balance = match balances[household] {
                None => {
                    event("sell", true, 2_000);
                    2_000
                }
                Some(balance) if random.random_range(0..12) == 0 => {
                    event("refund", true, 150);
                    balance + 150
                }
                Some(balance) => balance,
            };
            let due = random.random_range(1..3_000);
            let balance = if balance < due {
                event("reload", true, 5_000);
                balance + 5_000
            } else {
                balance
            };
            event("spend", false, due);
            balances[household] = Some(balance - due);
        }
    }
    (text, happened)
}

/// Who loaded owes who accepted: the overlap of each card's load axis and spend axis, in cents.
fn oracle(happened: &[Happened]) -> BTreeMap<(u32, u32), i64> {
    let mut owed = BTreeMap::new();
    for household in 0..HOUSEHOLDS {
        let axis = |loads: bool| {
            let events = happened.iter().filter(move |event| event.household == household && event.loads == loads);
            events.flat_map(|event| std::iter::repeat_n(event.store, usize::try_from(event.amount).unwrap()))
        };
        for (loaded_at, spent_at) in axis(true).zip(axis(false)) {
            *owed.entry((loaded_at, spent_at)).or_default() += 1;
        }
    }
    owed
}

fn options(events: PathBuf, out: PathBuf) -> Options {
    Options {
        events: vec![events],
        golden: None,
        golden_prefix: String::new(),
        out: Some(out),
        accepted: None,
        late_per_mille: 0,
        duplicate: false,
        shuffle: false,
        seed: 7,
        days: None,
        transport: Transport::Memory,
        release: ReleasePolicy::WhenIdle,
        park_minor: 0,
        offline_per_mille: 0,
        allocator: Chooser::Planner,
        against: None,
        bar_per_mille: None,
        data: None,
        progress: false,
    }
}

async fn play(folder: &Path, name: &str, change: impl FnOnce(&mut Options)) -> (Report, BTreeMap<String, Vec<u8>>) {
    let out = folder.join(name);
    let mut options = options(folder.join("events.csv"), out.clone());
    change(&mut options);
    let report = session::play(&options).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
    assert!(report.verified, "{name}: {:?}", report.unproved);
    assert!(report.rerated > 0, "{name}: no sale was priced again");
    assert!(report.offline.is_some() || report.declined.is_empty(), "{name}: {:?}", report.declines);
    assert!(report.is_right(), "{name}: {report}");
    let files = std::fs::read_dir(&out).unwrap().map(|file| {
        let path = file.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
    });
    let files = files.collect();
    (report, files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_final_figure_depends_on_how_journals_travel_or_when_value_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let (text, happened) = made_up(2_026);
    std::fs::write(folder.path().join("events.csv"), text).unwrap();

    let (report, plain) = play(folder.path(), "plain", |_| ()).await;
    assert_eq!(report.events, happened.len() as u64);
    assert!(report.allotments["grants"] > 0 && report.allotments["releases"] > 0, "{:?}", report.allotments);
    let expected: String = oracle(&happened).iter().map(|((a, b), amount)| format!("{a},{b},{amount}\n")).collect();
    let matrix = String::from_utf8(plain["fifo_matrix.csv"].clone()).unwrap();
    assert_eq!(matrix, format!("load_store,spend_store,amount_cents\n{expected}"));
    assert!(happened.iter().any(|event| event.day == DAYS));

    let (report, rough) = play(folder.path(), "rough", |options| {
        (options.late_per_mille, options.duplicate, options.shuffle) = (400, true, true);
    })
    .await;
    assert!(report.late_store_days > 0 && report.answers_lost > 0);
    assert!(report.runs.iter().any(|run| run.adjustments > 0), "a late journal is an adjustment: {:?}", report.runs);
    assert_eq!(rough, plain);

    for (name, release) in [("at_once", ReleasePolicy::AtOnce), ("at_close", ReleasePolicy::AtClose)] {
        let (report, files) =
            play(folder.path(), name, |options| (options.release, options.park_minor) = (release, 300)).await;
        assert!(report.allotments["recalls"] > 0, "{name}: parked value is recalled: {:?}", report.allotments);
        assert_eq!(files, plain, "{name}");
    }
    let (_, over_http) = play(folder.path(), "http", |options| options.transport = Transport::Http).await;
    assert_eq!(over_http, plain);
}

/// Plays the same days with two in five stores silent, and gives what came of it.
async fn play_offline(folder: &Path, name: &str, allocator: Chooser) -> Summary {
    let accepted = folder.join(format!("{name}.csv"));
    let (report, files) = play(folder, name, |options| {
        (options.offline_per_mille, options.allocator, options.accepted) = (400, allocator, Some(accepted.clone()));
    })
    .await;
    let offline = report.offline.unwrap();
    let declined: u64 = report.declined.values().sum();
    let refused =
        offline.offline.attempts - offline.offline.in_full + offline.connected.attempts - offline.connected.in_full;
    assert_eq!(refused, declined, "{name}: nothing but spends is declined");
    assert_eq!((offline.checked_days, offline.lacking), (report.days as u64, 0), "{name}");

    // With every line standing nothing of what was accepted is declined, and it comes to the same books.
    let (report, plain) = play(folder, &format!("{name}-accepted"), |options| options.events = vec![accepted]).await;
    assert_eq!((report.offline, report.declined), (None, BTreeMap::new()), "{name}");
    assert_eq!(files, plain, "{name}");
    offline
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_allocators_are_compared_on_the_same_days_and_held_to_a_bar() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events.csv"), made_up(2_026).0).unwrap();
    let (report, _) = play(folder.path(), "pool", |options| {
        (options.offline_per_mille, options.allocator, options.days) = (400, Chooser::Pool, Some(4));
        (options.against, options.bar_per_mille) = (Some(Chooser::Clairvoyant), Some(1_000));
    })
    .await;
    let (ours, against) = (report.offline.as_ref().unwrap(), report.against.as_ref().unwrap());
    assert_eq!((ours.allocator, against.other.allocator), (Chooser::Pool, Chooser::Clairvoyant));
    assert_eq!((ours.offline.in_full, against.other.offline.in_full), (against.ours_in_full, against.other_in_full));
    assert!(against.ours_in_full < against.other_in_full, "{against}");
    assert_eq!((against.bar_holds, report.holds_the_bar()), (Some(false), false), "{against}");
    assert_eq!(against.other.checked_days, 4, "value is checked there too");
    let text = report.to_string();
    for said in ["no line", "connected", "all", "stranded", "parked", "day ends", "against"] {
        assert!(text.lines().any(|line| line.starts_with(said)), "{said}: {text}");
    }
    assert!(text.contains("0 overdrafts, 0 that differ") && text.contains("bar of 1.000 DOES NOT HOLD"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_line_nothing_is_overdrawn_and_the_books_are_those_of_what_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events.csv"), made_up(2_026).0).unwrap();
    let pool = play_offline(folder.path(), "pool", Chooser::Pool).await;
    let planner = play_offline(folder.path(), "planner", Chooser::Planner).await;
    let limit = play_offline(folder.path(), "clairvoyant", Chooser::Clairvoyant).await;
    let full = |summary: &Summary| (summary.offline.in_full, summary.offline.attempts);
    let ((alone, tried), (planned, tried_too), (most, _)) = (full(&pool), full(&planner), full(&limit));
    assert_eq!(tried, tried_too, "the same days are silent, whoever decides");
    assert!(tried > 60, "{tried}");
    // These households come several times a day, and who knows tomorrow knows its first store only.
    assert!(alone < planned && alone < most && planned.max(most) < tried, "{alone} {planned} {most} of {tried}");
    assert!((pool.nightly.parked_minor, planner.nightly.parked_minor > 0) == (0, true), "{pool:?} {planner:?}");
    assert_eq!((planner.overdrafts, planner.differing, pool.end.parked_minor), (0, 0, 0), "{planner:?}");
    assert!(planner.counters_checked > planner.nights && planner.balances_checked > planner.nights, "{planner:?}");
    // A basket that its own reload pays needs nothing that was parked.
    assert!(planner.plans_covered > pool.plans_covered, "{pool:?} {planner:?}");
}
