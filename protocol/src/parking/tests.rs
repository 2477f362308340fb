//! Parking as a member would judge it, and what must hold of any plan.

use proptest::prelude::*;

use super::demand::{Demand, STEPS};
use super::*;

static NONE_GONE: BTreeSet<StoreId> = BTreeSet::new();

fn store(name: &str) -> StoreId {
    StoreId::new(name).unwrap()
}

fn visit(name: &str, day_no: i64, spent_minor: i64) -> Visit {
    Visit { store: store(name), day_no, spent_minor, loaded_minor: 0, reloaded_minor: 0 }
}

fn rules(allocator: Allocator) -> ParkingRules {
    ParkingRules { allocator, ..ParkingRules::default() }
}

fn planned(rules: &ParkingRules, balance_minor: i64, visits: &[Visit]) -> Vec<(String, i64)> {
    let targets = plan(rules, &Holder { balance_minor, visits, gone: &NONE_GONE });
    targets.iter().map(|target| (target.store.to_string(), target.target_minor)).collect()
}

/// Nine visits to S1 and three to S2, of 20.00 each, two days apart.
fn regular() -> Vec<Visit> {
    (0..12).map(|no| visit(if no % 4 == 1 { "S2" } else { "S1" }, 2 * no, 2_000)).collect()
}

#[test]
fn nobody_parks_what_nobody_would_spend() {
    for allocator in Allocator::ALL {
        assert_eq!(planned(&rules(allocator), 0, &regular()), []);
        assert_eq!(planned(&rules(allocator), 5_000, &[]), [], "somebody who never came may come anywhere");
    }
    assert_eq!(planned(&rules(Allocator::Pool), 5_000, &regular()), []);
}

#[test]
fn simple_allocators_do_what_they_are_called() {
    let mut visits = regular();
    visits.push(visit("S3", 24, 2_000));
    assert_eq!(planned(&rules(Allocator::LastStore), 5_000, &visits), [("S3".to_owned(), 5_000)]);
    assert_eq!(planned(&rules(Allocator::MostVisited), 5_000, &visits), [("S1".to_owned(), 5_000)]);
    let shares = planned(&rules(Allocator::Proportional), 5_000, &visits);
    assert_eq!(shares.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["S1", "S2", "S3"]);
    assert!((4_990..=5_000).contains(&shares.iter().map(|(_, minor)| minor).sum::<i64>()), "{shares:?}");
    let floor = ParkingRules { pool_floor_ppm: 300_000, ..rules(Allocator::MostVisited) };
    assert_eq!(planned(&floor, 5_001, &visits), [("S1".to_owned(), 3_500)], "the pool's part is rounded up");
    assert_eq!(clairvoyant(&floor, 5_001, store("S3")), Some((store("S3"), 3_500)));
    assert_eq!(clairvoyant(&floor, 0, store("S3")), None);
}

#[test]
fn nothing_is_parked_at_a_store_that_is_gone() {
    let visits = regular();
    let gone = BTreeSet::from([store("S1")]);
    for allocator in Allocator::ALL {
        let targets = plan(&rules(allocator), &Holder { balance_minor: 4_000, visits: &visits, gone: &gone });
        let stores: Vec<&str> = targets.iter().map(|target| target.store.as_str()).collect();
        let expected: &[&str] = if allocator == Allocator::Pool { &[] } else { &["S2"] };
        assert_eq!(stores, expected, "{allocator}: where the member goes now");
        if let Some(target) = targets.first() {
            assert!(target.target_minor >= 3_900, "{allocator}: what was S1's part is S2's: {target:?}");
            assert_eq!((target.prospect.visits, target.prospect.of_visits), (3, 3), "{allocator}");
        }
    }
    let everywhere = BTreeSet::from([store("S1"), store("S2")]);
    let holder = Holder { balance_minor: 4_000, visits: &visits, gone: &everywhere };
    assert_eq!(plan(&rules(Allocator::Planner), &holder), []);
}

#[test]
fn what_pays_one_basket_only_is_not_torn_apart() {
    let targets = planned(&rules(Allocator::Planner), 2_400, &regular());
    assert_eq!(targets.len(), 1, "{targets:?}");
    assert!(targets[0].0 == "S1" && targets[0].1 >= 2_000, "{targets:?}");
}

#[test]
fn what_pays_many_baskets_waits_wherever_the_member_comes() {
    let targets = planned(&rules(Allocator::Planner), 30_000, &regular());
    assert_eq!(targets.len(), 2, "{targets:?}");
    assert!(targets.iter().all(|(_, minor)| *minor >= 4_000), "twice the usual basket: {targets:?}");
    assert!(targets.iter().map(|(_, minor)| minor).sum::<i64>() < 30_000, "no store needs the rest: {targets:?}");
}

#[test]
fn the_weekday_on_which_the_member_comes_counts() {
    // Two visits a week, the last one on a Tuesday: Saturdays at S2, Tuesdays at S1. Day 0 was a Thursday, so day 2 is a Saturday.
    let visits: Vec<Visit> =
        (0..6).flat_map(|week| [visit("S2", 7 * week + 2, 2_000), visit("S1", 7 * week + 5, 2_000)]).collect();
    let next = outlook(&visits, &NONE_GONE)[0];
    assert_eq!((next.0, next.1.weekday), (store("S2"), 6), "four days after a Tuesday");
    assert_eq!(next.1.to_string(), "6 of 12 visits, 6 of 6 on a Saturday, 5 after S1");
    assert_eq!(planned(&rules(Allocator::Planner), 2_400, &visits)[0].0, "S2");
}

#[test]
fn a_habit_of_reloading_leaves_less_to_be_parked() {
    // A basket of 60.00 on a balance of 20.00: with a reload of 50.00 only 10.00 of it must be there.
    let mut visits: Vec<Visit> = (0..8).map(|no| visit("S1", 7 * no, 6_000)).collect();
    let covered = |visits: &[Visit]| demand::Demand::of(2_000, visits).covered_ppm(demand::STEPS / 2);
    let before = covered(&visits);
    for visit in &mut visits {
        (visit.loaded_minor, visit.reloaded_minor) = (5_000, 5_000);
    }
    assert!(covered(&visits) > before + 300_000, "{before} {}", covered(&visits));
}

#[test]
fn a_store_that_is_often_silent_is_given_more() {
    let visits: Vec<Visit> = (0..12).map(|no| visit(if no % 2 == 0 { "S1" } else { "S2" }, 2 * no, 2_000)).collect();
    let mut rules = rules(Allocator::Planner);
    rules.stores_offline_ppm.insert(store("S2"), 200_000);
    assert_eq!(planned(&rules, 2_400, &visits)[0].0, "S2");
    rules.stores_offline_ppm.clear();
    rules.stores_offline_ppm.insert(store("S1"), 200_000);
    assert_eq!(planned(&rules, 2_400, &visits)[0].0, "S1");
}

#[test]
fn a_target_says_why_in_a_line() {
    let visits = regular();
    let targets =
        plan(&rules(Allocator::MostVisited), &Holder { balance_minor: 9_000, visits: &visits, gone: &NONE_GONE });
    let line = targets[0].to_string();
    assert!(line.starts_with("9000 at S1: 9 of 12 visits, "), "{line}");
    assert!(line.ends_with(" % of the baskets") && line.contains(" after S1; pays "), "{line}");
}

#[test]
fn a_load_and_its_basket_are_one_visit() {
    use crate::movement::MovementKind;
    let day = |text: &str| text.parse::<crate::time::BusinessDay>().unwrap();
    let (loaded, paid) = (VisitKind::of(MovementKind::Reload).unwrap(), VisitKind::of(MovementKind::Spend).unwrap());
    assert_eq!(VisitKind::of(MovementKind::SpendVoid), None);
    let mut visits = Visits::default();
    visits.push(store("S1"), day("1970-01-02"), loaded, 5_000);
    visits.push(store("S1"), day("1970-01-02"), paid, 1_200);
    visits.push(store("S1"), day("1970-01-02"), paid, 300);
    visits.push(store("S1"), day("1970-01-03"), VisitKind::Given, 700);
    visits.push(store("S2"), day("1970-01-03"), paid, 100);
    let with = |visit: Visit, loaded_minor, reloaded_minor| Visit { loaded_minor, reloaded_minor, ..visit };
    assert_eq!(
        visits.recent(),
        [
            with(visit("S1", 1, 1_200), 5_000, 5_000),
            visit("S1", 1, 300),
            with(visit("S1", 2, 0), 700, 0),
            visit("S2", 2, 100)
        ]
    );
}

#[test]
fn parts_per_million_have_bounds() {
    let mut rules = rules(Allocator::Planner);
    assert_eq!(rules.faults(), []);
    (rules.pool_floor_ppm, rules.offline_ppm) = (-1, 1_000_001);
    rules.stores_offline_ppm.insert(store("S9"), -5);
    let fields: Vec<String> = rules.faults().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["pool_floor_ppm", "offline_ppm", "stores_offline_ppm.S9"]);
}

fn any_visits() -> impl Strategy<Value = Vec<Visit>> {
    let amount = prop_oneof![3 => 0_i64..20_000, 1 => Just(i64::MAX / 2)];
    let one = (0_usize..9, 0_i64..5, amount.clone(), amount, any::<bool>());
    proptest::collection::vec(one, 0..VISITS_MAX).prop_map(|drawn| {
        let mut day_no = 17_000;
        let visit = |(at, days, spent_minor, loaded_minor, reloads): (usize, i64, i64, i64, bool)| {
            day_no += days;
            let reloaded_minor = if reloads { loaded_minor } else { 0 };
            Visit { store: store(&format!("S{at}")), day_no, spent_minor, loaded_minor, reloaded_minor }
        };
        drawn.into_iter().map(visit).collect()
    })
}

proptest! {
    #[test]
    fn a_plan_never_parks_more_than_there_is(
        visits in any_visits(),
        gone in proptest::collection::btree_set((0_usize..9).prop_map(|at| store(&format!("S{at}"))), 0..4),
        balance_minor in prop_oneof![-5_i64..200_000, Just(i64::MAX), 0_i64..40],
        (pool_floor_ppm, offline_ppm) in (0_i64..=1_000_000, 0_i64..=1_000_000),
    ) {
        for allocator in Allocator::ALL {
            let rules = ParkingRules { allocator, pool_floor_ppm, offline_ppm, ..ParkingRules::default() };
            let holder = Holder { balance_minor, visits: &visits, gone: &gone };
            let targets = plan(&rules, &holder);
            let sum: i128 = targets.iter().map(|target| i128::from(target.target_minor)).sum();
            prop_assert!(sum <= i128::from(rules.parkable_minor(balance_minor)));
            prop_assert!(targets.iter().all(|target| target.target_minor > 0 && (0..=1_000_000).contains(&target.covered_ppm)));
            let mut stores: Vec<StoreId> = targets.iter().map(|target| target.store).collect();
            stores.sort_unstable();
            stores.dedup();
            prop_assert_eq!(stores.len(), targets.len());
            prop_assert!(stores.iter().all(|store| visits.iter().any(|visit| visit.store == *store) && !gone.contains(store)));
            prop_assert_eq!(&targets, &plan(&rules, &holder), "the same history gives the same plan");
        }
    }

    #[test]
    fn no_split_is_worth_more_than_the_planners(
        visits in any_visits(),
        balance_minor in i64::try_from(STEPS).unwrap()..100_000,
        (pool_floor_ppm, offline_ppm) in (0_i64..=600_000, 0_i64..=1_000_000),
    ) {
        // Three stores, so that every split can be tried.
        let visits: Vec<Visit> = visits.into_iter().filter(|visit| visit.store <= store("S2")).collect();
        let rules = ParkingRules { allocator: Allocator::Planner, pool_floor_ppm, offline_ppm, ..ParkingRules::default() };
        let holder = Holder { balance_minor, visits: &visits, gone: &NONE_GONE };
        let (targets, demand) = (plan(&rules, &holder), Demand::of(balance_minor, &visits));
        let prospects = outlook(&visits, &NONE_GONE);
        let worth = |steps: &[usize]| -> i64 {
            let each = prospects.iter().zip(steps);
            each.map(|((store, prospect), steps)| plan::value(&rules, *store, prospect, &demand, *steps)).sum()
        };
        let planned: Vec<usize> = prospects
            .iter()
            .map(|(store, _)| targets.iter().find(|target| target.store == *store))
            .map(|target| target.map_or(0, |target| demand.steps_in(target.target_minor)))
            .collect();
        let room = demand.steps_in(rules.parkable_minor(balance_minor));
        for one in 0..=room {
            for two in 0..=room - one {
                for three in 0..=room - one - two {
                    prop_assert!(worth(&[one, two, three]) <= worth(&planned), "{:?} {planned:?}", (one, two, three));
                }
            }
        }
    }
}
