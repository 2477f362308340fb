use huitong_protocol::allotment::rule::Rule;

use super::run::shrink;
use super::{Kind, Settings, live, run};

#[test]
fn nobody_can_overspend_whatever_breaks() {
    let report = run(&Settings::default(), None, 1, 60, 3_000, 2, false);
    assert_eq!((report.violations, report.runs), (0, 60), "{:?}", report.first);
    assert!(report.faults > 10_000 && report.done > 2_000, "{report:?}");
}

#[test]
fn a_chain_of_one_store_and_one_till_lives_too() {
    let settings = Settings { stores: 1, accounts: 1, tills: 1, ..Settings::default() };
    let report = run(&settings, None, 1, 40, 1_000, 1, false);
    assert_eq!(report.violations, 0, "{:?}", report.first);
}

#[test]
fn a_seed_lives_the_same_life_each_time() {
    let live = |seed| live(&Settings::default(), None, seed, 2_000);
    assert_eq!(live(7), live(7));
    assert_ne!(live(7), live(9));
}

/// Those that seldom matter are shown by `simulate --mutant all`, which lives through more.
#[test]
fn a_rule_that_is_taken_away_is_missed() {
    let often = [
        Rule::SpendWithinHolding,
        Rule::ReleaseWithinHolding,
        Rule::GrantWithinPool,
        Rule::HubSpendWithinPool,
        Rule::GrantsAreTotals,
        Rule::ReportsAreTotals,
        Rule::AdoptedWithinGrant,
        Rule::NoTimeoutReturns,
        Rule::RecallIsNoRelease,
        Rule::GrantAfterCommit,
        Rule::ReplyAfterCommit,
        Rule::OperationsAreOnce,
        Rule::SuspenseIsNoPool,
        Rule::RunWithoutGap,
        Rule::BackIsReleased,
        Rule::LineIsLent,
        Rule::HoldEndsOnce,
    ];
    for rule in often {
        let report = run(&Settings::default(), Some(rule), 1, 120, 5_000, 2, true);
        assert!(report.violations > 0, "nobody noticed that {} was gone in {} runs", rule.as_str(), report.runs);
    }
}

#[test]
fn a_violation_is_shrunk_to_a_smaller_one_with_its_last_steps() {
    let report = run(&Settings::default(), Some(Rule::SpendWithinHolding), 1, 40, 5_000, 1, true);
    let (seed, first) = report.first.unwrap();
    let (settings, outcome) = shrink(&Settings::default(), Some(Rule::SpendWithinHolding), seed, 5_000).unwrap();
    assert!(outcome.steps <= first.steps && !outcome.trace.is_empty());
    assert!(settings.stores <= 4 && outcome.trace.len() <= settings.trace_lines);
}

/// What is taken away decides in which way it is missed: an operation that is done again is done twice, a recovery that a gap ends leaves the hub ignorant.
#[test]
fn a_violation_is_of_a_kind() {
    let kind = |rule| {
        let report = run(&Settings::default(), Some(rule), 1, 120, 5_000, 2, true);
        report.first.unwrap().1.violation.unwrap().kind
    };
    assert_eq!(kind(Rule::SpendWithinHolding), Kind::Overdraft);
    assert_eq!(kind(Rule::GrantWithinPool), Kind::Overdraft);
    assert_eq!(kind(Rule::OperationsAreOnce), Kind::Twice);
    assert_eq!(kind(Rule::ReportsAreTotals), Kind::Missing);
}
