//! I3 on a disk that loses, tears and fails: nothing acknowledged is missing, nothing is there in half, and the day goes on.
//!
//! `HUITONG_DISK_SEED` and `HUITONG_DISK_SEEDS` say from where and how many; `HUITONG_DISK_TORN` how many torn images are made of each sync.

use huitong_tests::disk::script::day;
use huitong_tests::disk::storm::{Weather, weather};
use huitong_tests::disk::sweep::{Extent, Mutant, sweep};

/// Within so many ends of a day whatever breaks durability is noticed.
const ENDS_UNTIL_NOTICED: u64 = 120;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn seed() -> u64 {
    let seed = number("HUITONG_DISK_SEED", 20_261_122);
    println!("disk seed: HUITONG_DISK_SEED={seed}");
    seed
}

#[test]
fn the_power_may_be_cut_at_every_sync_of_a_day() {
    let extent = Extent { torn: number("HUITONG_DISK_TORN", 1), onward: 2, to_end_every: 12, seed: seed() };
    let figures = sweep(&day(), None, extent).unwrap().unwrap_or_else(|violation| panic!("{violation}"));
    println!("{figures:?}");
    assert!(
        figures.syncs > 60 && figures.cuts > 4 * figures.syncs,
        "the day has its commits and checkpoints: {figures:?}"
    );
}

#[test]
fn whatever_breaks_durability_is_noticed() {
    let seed = seed();
    for mutant in Mutant::ALL {
        match sweep(&day(), Some(mutant), Extent { torn: 1, onward: 3, to_end_every: 0, seed }).unwrap() {
            Err(violation) => {
                println!("{mutant:?}: {violation}");
                assert!(violation.ends <= ENDS_UNTIL_NOTICED, "{mutant:?} was noticed late: {violation}");
            }
            Ok(figures) => panic!("{mutant:?} was not noticed in {} ends", figures.cuts),
        }
    }
}

#[test]
fn any_call_may_fail_at_any_time() {
    let (first, count) = (seed(), number("HUITONG_DISK_SEEDS", 24));
    let mut all = Weather::default();
    for seed in first..first + count {
        all += weather(seed).unwrap_or_else(|error| panic!("HUITONG_DISK_SEED={seed} HUITONG_DISK_SEEDS=1: {error:#}"));
    }
    println!("{count} storms: {all:?}");
    assert!(all.failed >= count / 2 && all.power_cuts >= count, "the weather was too good: {all:?}");
}
