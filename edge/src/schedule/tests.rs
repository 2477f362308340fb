//! The schedule with a clock that is wound by hand.

use std::sync::Mutex;

use huitong_protocol::time::BusinessDay;
use tokio::sync::Semaphore;

use super::*;
use crate::store::StoreOptions;
use crate::sync::testing::{HandClock, MORNING};

const HOUR_MS: i64 = 3_600_000;

/// Counts jobs; each waits for a permit.
struct Counter {
    ran: Mutex<Vec<Job>>,
    permits: Semaphore,
    fails: bool,
}

impl Counter {
    fn new(permits: usize, fails: bool) -> Arc<Self> {
        Arc::new(Self { ran: Mutex::default(), permits: Semaphore::new(permits), fails })
    }

    fn ran(&self) -> Vec<Job> {
        self.ran.lock().unwrap().clone()
    }
}

#[async_trait]
impl Work for Counter {
    async fn run(&self, job: Job) -> Result<String, String> {
        self.permits.acquire().await.unwrap().forget();
        self.ran.lock().unwrap().push(job);
        if self.fails { Err("no line".to_owned()) } else { Ok("done".to_owned()) }
    }
}

struct Bench {
    folder: tempfile::TempDir,
    clock: HandClock,
    config: ScheduleConfig,
    zone: TimeZone,
}

impl Bench {
    fn new(config: ScheduleConfig) -> Self {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        Self { folder: tempfile::tempdir().unwrap(), clock: HandClock::at(MORNING), config, zone }
    }

    async fn open(&self, work: &Arc<Counter>) -> (Schedule, TaskTracker) {
        self.open_with(work.clone()).await
    }

    async fn open_with(&self, work: Arc<dyn Work>) -> (Schedule, TaskTracker) {
        let store = Store::open(&self.folder.path().join("edge.db"), StoreOptions::default()).unwrap();
        let running = TaskTracker::new();
        let place = ("S1".parse().unwrap(), self.zone.clone());
        let clock = Arc::new(self.clock.clone());
        let schedule = Schedule::open(store, clock, self.config.clone(), place, work, running.clone()).await.unwrap();
        (schedule, running)
    }
}

async fn ended(running: &TaskTracker) {
    running.close();
    running.wait().await;
    running.reopen();
}

fn only(job: impl FnOnce(&mut ScheduleConfig)) -> ScheduleConfig {
    let mut config = ScheduleConfig {
        download: When::Off,
        upload: When::Off,
        report: When::Off,
        day_close: When::Off,
        purge: When::Off,
        expire_holds: When::Off,
        spread: Millis::ZERO,
    };
    job(&mut config);
    config
}

fn instant(text: &str) -> Instant {
    Instant(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn daily(text: &str) -> When {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_job_runs_at_its_time_of_the_store_s_day_and_only_then() {
    // The bench's morning is 10:00 in Shanghai.
    let (bench, work) = (Bench::new(only(|config| config.download = daily("05:30"))), Counter::new(10, false));
    let (schedule, running) = bench.open(&work).await;
    assert_eq!(schedule.tick().await.unwrap(), []);
    bench.clock.wind(19 * HOUR_MS);
    assert_eq!(schedule.tick().await.unwrap(), [], "it is five in the morning");
    bench.clock.wind(HOUR_MS / 2);
    assert_eq!(schedule.tick().await.unwrap(), [Job::Download]);
    ended(&running).await;
    assert_eq!(schedule.tick().await.unwrap(), []);
    let listed = schedule.list().unwrap();
    assert_eq!((listed[0].runs, listed[0].failures, listed[0].running), (1, 0, false));
    assert_eq!(listed[0].last_outcome.as_deref(), Some("done"));
    assert_eq!(listed[0].next_due_ms, bench.clock.now().plus_ms(24 * HOUR_MS));
}

#[tokio::test]
async fn what_fell_into_a_power_off_runs_once_when_the_machine_is_back() {
    let bench = Bench::new(only(|config| config.upload = When::Every(Millis::minutes(15))));
    let work = Counter::new(10, false);
    bench.open(&work).await.0.store.close();
    bench.clock.wind(72 * HOUR_MS);
    let (schedule, running) = bench.open(&work).await;
    assert_eq!(schedule.tick().await.unwrap(), [Job::Upload], "288 were missed");
    ended(&running).await;
    assert_eq!(schedule.tick().await.unwrap(), []);
    assert_eq!(work.ran(), [Job::Upload]);
}

/// Head office answers, and its clock shows what the bench's does.
fn head_office_agrees(bench: &Bench, schedule: &Schedule) {
    let clock: Arc<dyn Clock> = Arc::new(bench.clock.clone());
    schedule.store.committed().hub_clock.answered(&clock, clock.elapsed_ms(), clock.now());
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_is_put_right_lets_no_job_sleep() {
    let bench = Bench::new(only(|config| {
        config.expire_holds = When::Every(Millis::minutes(5));
        config.download = daily("05:30");
    }));
    let work = Counter::new(10, false);
    let (schedule, running) = bench.open(&work).await;
    for (ahead_hours, is_told) in [(30 * 24, false), (24, true)] {
        bench.clock.set_by(ahead_hours * HOUR_MS);
        bench.clock.wind(20 * HOUR_MS);
        assert_eq!(schedule.tick().await.unwrap(), [Job::Download, Job::ExpireHolds]);
        ended(&running).await;
        bench.clock.set_by(-ahead_hours * HOUR_MS);
        assert_eq!(schedule.tick().await.unwrap(), []);
        if !is_told {
            bench.clock.wind(5 * 60_000);
            assert_eq!(schedule.tick().await.unwrap(), [], "perhaps it is this clock that is wrong");
            head_office_agrees(&bench, &schedule);
            assert_eq!(schedule.tick().await.unwrap(), []);
        }
        bench.clock.wind(5 * 60_000);
        assert_eq!(schedule.tick().await.unwrap(), [Job::ExpireHolds], "not in {ahead_hours} hours");
        ended(&running).await;
        bench.clock.wind(24 * HOUR_MS);
        assert_eq!(schedule.tick().await.unwrap(), [Job::Download, Job::ExpireHolds]);
        ended(&running).await;
    }
    // What every clock does now and then brings no job twice.
    bench.clock.set_by(-1_000);
    assert_eq!(schedule.tick().await.unwrap(), []);
    let next = schedule.list().unwrap().into_iter().find(|job| job.name == "expire_holds").unwrap();
    assert_eq!(next.next_due_ms, bench.clock.now().plus_ms(5 * 60_000 + 1_000));
}

#[tokio::test]
async fn a_machine_that_lost_the_time_for_a_while_closes_no_day_at_noon() {
    let bench = Bench::new(only(|config| config.day_close = daily("23:00")));
    let work = Counter::new(10, false);
    let (schedule, running) = bench.open(&work).await;
    head_office_agrees(&bench, &schedule);
    bench.clock.wind(24 * HOUR_MS);
    assert_eq!(schedule.tick().await.unwrap(), [Job::DayClose]);
    ended(&running).await;
    let lost_ms = 26 * 365 * 24 * HOUR_MS;
    bench.clock.set_by(-lost_ms);
    assert_eq!(schedule.tick().await.unwrap(), []);
    bench.clock.set_by(lost_ms);
    assert_eq!(schedule.tick().await.unwrap(), [], "it is ten in the morning");
    bench.clock.wind(13 * HOUR_MS);
    assert_eq!(schedule.tick().await.unwrap(), [Job::DayClose]);
    ended(&running).await;
}

#[tokio::test]
async fn a_job_that_still_runs_is_not_started_again_until_its_lease_is_over() {
    let bench = Bench::new(only(|config| config.report = When::Every(Millis::minutes(5))));
    let work = Counter::new(0, false);
    let (schedule, running) = bench.open(&work).await;
    bench.clock.wind(5 * 60_000);
    assert_eq!(schedule.tick().await.unwrap(), [Job::Report]);
    bench.clock.wind(20 * 60_000);
    assert_eq!(schedule.tick().await.unwrap(), [], "it is still at work");
    assert!(schedule.list().unwrap()[0].running);
    assert!(schedule.run_now(Job::Report).await.unwrap_err().contains("runs already"));
    bench.clock.wind(10 * 60_000);
    assert_eq!(schedule.tick().await.unwrap(), [Job::Report], "after its lease it counts as crashed");
    work.permits.add_permits(2);
    ended(&running).await;
}

/// Waits until something is true that another task brings about.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn planned(schedule: &Schedule, job: Job) -> Planned {
    schedule.list().unwrap().into_iter().find(|planned| planned.name == job.as_str()).unwrap()
}

#[tokio::test]
async fn a_job_that_a_crash_cut_off_is_made_up_for_when_the_machine_is_back() {
    let bench = Bench::new(only(|config| {
        config.download = daily("05:30");
        config.purge = daily("05:30");
    }));
    let (schedule, _running) = bench.open(&Counter::new(0, false)).await;
    bench.clock.wind(19 * HOUR_MS + HOUR_MS / 2);
    assert_eq!(schedule.tick().await.unwrap(), [Job::Download, Job::Purge]);
    // The power goes while the first is at work and the second waits for it.
    schedule.store.close();
    bench.clock.wind(60_000);
    let work = Counter::new(10, false);
    let (schedule, running) = bench.open(&work).await;
    assert_eq!(schedule.tick().await.unwrap(), [Job::Download, Job::Purge], "not only tomorrow");
    ended(&running).await;
    assert_eq!(work.ran(), [Job::Download, Job::Purge]);
    assert_eq!(schedule.tick().await.unwrap(), [], "once");
    assert!(planned(&schedule, Job::Download).next_due_ms > bench.clock.now().plus_ms(23 * HOUR_MS));
}

#[tokio::test]
async fn a_job_that_waits_for_another_takes_its_lease_when_its_turn_comes() {
    let bench = Bench::new(only(|config| {
        config.day_close = daily("22:00");
        config.upload = daily("22:00");
    }));
    let work = Counter::new(0, false);
    let (schedule, running) = bench.open(&work).await;
    bench.clock.wind(12 * HOUR_MS);
    assert_eq!(schedule.tick().await.unwrap(), [Job::DayClose, Job::Upload]);
    assert!(planned(&schedule, Job::DayClose).running && !planned(&schedule, Job::Upload).running);
    bench.clock.wind(29 * 60_000);
    assert_eq!(schedule.tick().await.unwrap(), [], "the upload waits for the close");
    work.permits.add_permits(1);
    until("the upload runs", || planned(&schedule, Job::Upload).running).await;
    bench.clock.wind(20 * 60_000);
    assert_eq!(schedule.tick().await.unwrap(), [], "its own half an hour is not over");
    work.permits.add_permits(1);
    ended(&running).await;
    assert_eq!(work.ran(), [Job::DayClose, Job::Upload]);
}

#[tokio::test]
async fn a_job_run_by_hand_ends_its_lease_also_when_nobody_waits_for_it_any_more() {
    let bench = Bench::new(only(|config| config.report = When::Every(Millis::minutes(5))));
    let work = Counter::new(0, false);
    let (schedule, running) = bench.open(&work).await;
    {
        let mut asked = std::pin::pin!(schedule.run_now(Job::Report));
        tokio::select! {
            ended = &mut asked => panic!("it cannot have ended: {ended:?}"),
            () = until("it runs", || planned(&schedule, Job::Report).running) => {}
        }
    }
    work.permits.add_permits(1);
    ended(&running).await;
    let report = planned(&schedule, Job::Report);
    assert_eq!((report.running, report.runs, report.failures), (false, 1, 0));
}

/// A job that is a mistake of the program.
struct Broken;

#[async_trait]
impl Work for Broken {
    async fn run(&self, job: Job) -> Result<String, String> {
        panic!("{} breaks off", job.as_str())
    }
}

#[tokio::test]
async fn a_job_that_breaks_off_ends_its_lease_and_stops_no_other() {
    let bench = Bench::new(only(|config| {
        config.day_close = daily("22:00");
        config.upload = daily("22:00");
    }));
    let (schedule, running) = bench.open_with(Arc::new(Broken)).await;
    bench.clock.wind(12 * HOUR_MS);
    assert_eq!(schedule.tick().await.unwrap(), [Job::DayClose, Job::Upload]);
    ended(&running).await;
    for job in [Job::DayClose, Job::Upload] {
        let planned = planned(&schedule, job);
        assert_eq!((planned.running, planned.runs, planned.failures), (false, 1, 1), "{job:?}");
    }
}

#[tokio::test]
async fn a_failure_is_noted_and_the_next_time_stays() {
    let bench = Bench::new(only(|config| config.download = daily("05:30")));
    let work = Counter::new(10, true);
    let (schedule, _running) = bench.open(&work).await;
    let next = schedule.list().unwrap()[0].next_due_ms;
    assert_eq!(schedule.run_now(Job::Download).await, Err("no line".to_owned()));
    let listed = &schedule.list().unwrap()[0];
    assert_eq!((listed.failures, listed.next_due_ms), (1, next));
    assert_eq!(listed.last_outcome.as_deref(), Some("failed: no line"));
    // A job that is off can be run by hand.
    assert!(schedule.run_now(Job::Purge).await.is_err());
    assert_eq!(work.ran(), [Job::Download, Job::Purge]);
}

#[tokio::test]
async fn a_changed_time_counts_from_now_and_a_job_that_is_off_goes() {
    let mut bench = Bench::new(only(|config| {
        config.download = daily("05:30");
        config.purge = daily("03:40");
    }));
    let work = Counter::new(10, false);
    bench.open(&work).await.0.store.close();
    bench.config = only(|config| config.download = daily("11:00"));
    let (schedule, _running) = bench.open(&work).await;
    let listed = schedule.list().unwrap();
    assert_eq!(listed.iter().map(|planned| planned.name.as_str()).collect::<Vec<_>>(), ["download"]);
    assert_eq!(listed[0].next_due_ms, MORNING.plus_ms(HOUR_MS));
}

#[test]
fn a_day_of_23_or_25_hours_has_each_time_once() {
    let zone = TimeZone::get("America/New_York").unwrap();
    let due = |when: &str, after: &str| next_due(&daily(when), &zone, 0, instant(after)).unwrap();
    // 8 March 2026: 02:00 becomes 03:00.
    assert_eq!(due("03:05", "2026-03-07T09:00:00Z"), instant("2026-03-08T07:05:00Z"));
    assert_eq!(due("03:05", "2026-03-08T07:05:00Z"), instant("2026-03-09T07:05:00Z"), "not again an hour later");
    assert_eq!(
        due("02:30", "2026-03-08T05:00:00Z"),
        instant("2026-03-08T07:30:00Z"),
        "02:30 does not exist: 03:30 EDT"
    );
    // 1 November 2026: 02:00 becomes 01:00 again.
    assert_eq!(due("01:30", "2026-11-01T04:00:00Z"), instant("2026-11-01T05:30:00Z"), "the first of two");
    assert_eq!(due("01:30", "2026-11-01T05:30:00Z"), instant("2026-11-02T06:30:00Z"));
}

#[test]
fn several_times_a_day_and_the_spread_of_a_chain() {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let when = daily("05:30, 13:00");
    let first = next_due(&when, &zone, 90_000, MORNING).unwrap();
    assert_eq!(first, instant("2026-11-22T05:01:30Z"));
    assert_eq!(next_due(&when, &zone, 90_000, first), Some(instant("2026-11-22T21:31:30Z")));
    assert_eq!(next_due(&When::Off, &zone, 0, MORNING), None);
    let spreads: Vec<i64> =
        ["S1", "S2", "S3"].iter().map(|id| spread_ms(id.parse().unwrap(), Millis::minutes(5))).collect();
    assert!(spreads.iter().all(|spread| (0..300_000).contains(spread)) && spreads[0] != spreads[1], "{spreads:?}");
    // A zone that jumps over a day (Samoa, 30 December 2011) still finds the next one.
    let samoa = TimeZone::get("Pacific/Apia").unwrap();
    let after = instant("2011-12-30T09:00:00Z");
    let due = next_due(&daily("05:30"), &samoa, 0, after).unwrap();
    assert_eq!(
        BusinessDay::of(jiff::Timestamp::from_millisecond(due.0).unwrap().to_zoned(samoa).date()).to_string(),
        "2011-12-31"
    );
}
