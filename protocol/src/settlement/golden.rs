//! The goldens G-1 to G-7: figures worked out by hand, to the cent, that the fold must meet.

use crate::settlement::agreement::{Agreement, Agreements, DrawOrder, Scheme};
use crate::settlement::fold::{AccountFold, fold};
use crate::settlement::leg::{Leg, LegKind};
use crate::settlement::netting::{bilateral, gross, minimal_transfers, positions};
use crate::settlement::run::{Finality, LineClass, Run, RunId, Standing, delta};
use crate::settlement::testing::{day, decimal, golden_terms, history, leg_rows, name, nets, nets_text, only};
use crate::time::Instant;

const G1: &str = "
    T1  A card_sale      1000.00
    T2  B reload          300.00
    T2b B bonus            30.00
    T3  C spend          1100.00
    T4  C spend_return    220.00 of T3
    T5  D spend            70.35
    T6  D cash_out        349.65
    T6b D bonus_forfeit    30.00
";

/// G-1 under proportional draws: bonus was spent along, so more principal is left to pay out.
const G7: &str = "
    T1  A card_sale      1000.00
    T2  B reload          300.00
    T2b B bonus            30.00
    T3  C spend          1100.00
    T4  C spend_return    220.00 of T3
    T5  D spend            70.35
    T6  D cash_out        371.09
    T6b D bonus_forfeit     8.56
";

const POINTS: &str = "
    P3  C earn           1100
    P4  C earn_reversal   220 of P3
    P5  D burn            600
";

fn proportional() -> Agreement {
    Agreement { draw_order: DrawOrder::Proportional, ..golden_terms() }
}

fn settle(scheme: Scheme, terms: Agreement, text: &str) -> AccountFold {
    fold(scheme, &only(terms), &history(text)).unwrap()
}

/// What is left in each lot after the first `lines` of a history.
fn remaining(terms: Agreement, text: &str, lines: usize) -> Vec<String> {
    let folded = fold(Scheme::Pool, &only(terms), &history(text)[..lines]).unwrap();
    folded.lots.iter().map(|lot| decimal(lot.remaining_minor)).collect()
}

fn obligations(rows: &[crate::settlement::netting::Obligation]) -> Vec<String> {
    rows.iter()
        .map(|row| format!("{} {} {}", name(row.debtor), name(row.creditor), decimal(row.amount_minor)))
        .collect()
}

#[test]
fn g1_lots_after_each_event() {
    let check =
        |lines, expected: &[&str]| assert_eq!(remaining(golden_terms(), G1, lines), expected, "after {lines} lines");
    check(1, &["1000.00"]);
    check(3, &["1000.00", "300.00", "30.00"]);
    check(4, &["0.00", "200.00", "30.00"]);
    check(5, &["200.00", "220.00", "30.00"]);
    check(6, &["129.65", "220.00", "30.00"]);
    check(8, &["0.00", "0.00", "0.00"]);
}

#[test]
fn g1_every_leg_with_the_hub_as_counterparty() {
    let folded = settle(Scheme::Pool, golden_terms(), G1);
    assert_eq!(
        leg_rows(&folded.legs),
        [
            "load A hub 1000.00",
            "load B hub 300.00",
            "bonus_share B hub 15.00",
            "bonus_share_back hub B 15.00",
            "spend hub C 1100.00",
            "spend hub D 70.35",
            "return C hub 220.00",
            "cash_out hub D 349.65",
            "commission hub A 10.00",
            "commission hub B 3.00",
            "commission_clawback A hub 1.30",
            "commission_clawback B hub 2.20",
            "fee C hub 6.60",
            "fee D hub 0.42",
            "fee_reversal hub C 1.32",
        ]
    );
    assert_eq!(nets_text(&nets(&folded.legs)), "A -991.30, B -299.20, C 874.72, D 419.58, hub -3.80");
    assert_eq!((folded.balance_minor, folded.unattributed.len()), (0, 0), "no card liability is left");
}

#[test]
fn g1_by_lot_between_stores_then_netted() {
    let folded = settle(Scheme::Fifo, golden_terms(), G1);
    let between_stores =
        |leg: &&Leg| leg.debtor != crate::party::Party::Hub && leg.creditor != crate::party::Party::Hub;
    let stores: Vec<Leg> = folded.legs.iter().filter(between_stores).copied().collect();
    let owed = gross(&stores, |party| party).unwrap();
    assert_eq!(
        obligations(&owed),
        ["A C 1000.00", "A D 200.00", "B C 100.00", "B D 220.00", "C A 200.00", "C B 20.00"]
    );
    assert_eq!(obligations(&bilateral(&owed).unwrap()), ["A C 800.00", "A D 200.00", "B C 80.00", "B D 220.00"]);
    let hub: Vec<Leg> = folded.legs.iter().filter(|leg| !between_stores(leg)).copied().collect();
    assert_eq!(
        leg_rows(&hub),
        [
            "bonus_share B hub 15.00",
            "bonus_share_back hub B 15.00",
            "commission hub A 10.00",
            "commission hub B 3.00",
            "commission_clawback A hub 1.30",
            "commission_clawback B hub 2.20",
            "fee C hub 6.60",
            "fee D hub 0.42",
            "fee_reversal hub C 1.32",
        ]
    );
    let all = positions(&gross(&folded.legs, |party| party).unwrap()).unwrap();
    assert_eq!(
        nets(&folded.legs),
        nets(&settle(Scheme::Pool, golden_terms(), G1).legs),
        "the theorem: net(M1) = net(M2 + hub legs)"
    );
    assert_eq!(
        obligations(&minimal_transfers(&all).unwrap()),
        ["A C 874.72", "B D 299.20", "A D 116.58", "hub D 3.80"]
    );
}

#[test]
fn g1_by_home_store_has_the_same_nets() {
    let folded = settle(Scheme::Home, golden_terms(), G1);
    assert_eq!(folded.home, crate::settlement::testing::party("A"));
    assert_eq!(nets(&folded.legs), nets(&settle(Scheme::Pool, golden_terms(), G1).legs));
    let value = |leg: &&Leg| {
        [LegKind::Load, LegKind::Spend, LegKind::Return, LegKind::CashOut, LegKind::Bonus, LegKind::BonusBack]
            .contains(&leg.kind)
    };
    let value: Vec<Leg> = folded.legs.iter().filter(value).copied().collect();
    assert_eq!(
        leg_rows(&value),
        [
            "load A A 1000.00",
            "load B A 300.00",
            "bonus hub A 30.00",
            "bonus_back A hub 30.00",
            "spend A C 1100.00",
            "spend A D 70.35",
            "return C A 220.00",
            "cash_out A D 349.65",
        ]
    );
}

#[test]
fn g2_points_over_it() {
    for scheme in Scheme::ALL.iter().copied() {
        let folded = settle(scheme, golden_terms(), &format!("{G1}{POINTS}"));
        let points: Vec<Leg> = folded.legs.iter().filter(|leg| leg.kind >= LegKind::PointsEarn).copied().collect();
        assert_eq!(
            leg_rows(&points),
            ["points_earn C hub 11.00", "points_earn_reversal hub C 2.20", "points_burn hub D 6.00"]
        );
        assert_eq!(nets_text(&nets(&folded.legs)), "A -991.30, B -299.20, C 865.92, D 425.58, hub -1.00");
        assert_eq!(folded.points, 280, "outstanding");
        let all = positions(&gross(&folded.legs, |party| party).unwrap()).unwrap();
        assert_eq!(
            obligations(&minimal_transfers(&all).unwrap()),
            ["A C 865.92", "B D 299.20", "A D 125.38", "hub D 1.00"]
        );
    }
}

#[test]
fn points_that_head_office_gives_and_takes_for_a_store_are_that_stores() {
    for scheme in Scheme::ALL.iter().copied() {
        let folded = settle(scheme, golden_terms(), "E hub earn 1100 from C\n R hub earn_reversal 400 of E");
        assert_eq!(leg_rows(&folded.legs), ["points_earn C hub 11.00", "points_earn_reversal hub C 4.00"], "{scheme}");
        assert_eq!(folded.points, 700);
    }
}

#[test]
fn g3_fees_round_per_entry_and_not_on_the_total() {
    let fees = |text: &str| {
        let legs = settle(Scheme::Pool, golden_terms(), text).legs;
        legs.iter().filter(|leg| leg.kind == LegKind::Fee).map(|leg| leg.amount_minor).sum::<i64>()
    };
    assert_eq!(fees("L A card_sale 10.00\n S1 C spend 0.75\n S2 C spend 0.75"), 0);
    assert_eq!(fees("L A card_sale 10.00\n S1 C spend 1.50"), 1, "one entry of the same total has a fee");
}

#[test]
fn g4_proportional_draws_leave_what_the_court_would_refund() {
    let folded = settle(Scheme::Pool, proportional(), "L A card_sale 3000.00\n B A bonus 1000.00\n S A spend 3594.00");
    assert_eq!(decimal(folded.principal_minor), "304.50");
    assert_eq!(decimal(folded.bonus_minor), "101.50");
    let principal_first =
        settle(Scheme::Pool, golden_terms(), "L A card_sale 3000.00\n B A bonus 1000.00\n S A spend 3594.00");
    assert_eq!(principal_first.principal_minor, 0, "this is why policy check warns of the other orders");
}

#[test]
fn g7_proportional_draws_in_every_scheme() {
    let check =
        |lines, expected: &[&str]| assert_eq!(remaining(proportional(), G7, lines), expected, "after {lines} lines");
    check(4, &["0.00", "224.81", "5.19"]);
    check(5, &["200.00", "239.85", "10.15"]);
    check(6, &["131.24", "239.85", "8.56"]);
    check(8, &["0.00", "0.00", "0.00"]);
    for scheme in Scheme::ALL.iter().copied() {
        let folded = settle(scheme, proportional(), G7);
        assert_eq!(nets_text(&nets(&folded.legs)), "A -991.31, B -310.12, C 874.72, D 441.02, hub -14.31", "{scheme}");
        let fees = leg_rows(&folded.legs);
        for row in ["commission_clawback A hub 1.31", "commission_clawback B hub 2.40", "bonus_share_back hub B 4.28"] {
            assert!(fees.iter().any(|found| found == row), "{scheme} lacks {row}");
        }
    }
}

fn run(id: i64, first: i8, last: i8) -> Run {
    Run {
        id: RunId(id),
        scheme: Scheme::Pool,
        currency: crate::money::Currency::CNY,
        standing: Standing::Booked,
        finality: Finality::Provisional,
        cut_ingested_no: id * 100,
        agreements: only(golden_terms()).hash(),
        code_version: "test".into(),
        day_from: day(first),
        day_to: day(last),
        prepared_at_ms: Instant(0),
    }
}

#[test]
fn g5_a_late_entry_is_an_adjustment_of_the_next_run_and_changes_nothing_closed() {
    let agreements: Agreements = only(golden_terms());
    let text = G1
        .replace("cash_out        349.65", "cash_out        349.65 day 23")
        .replace("forfeit    30.00", "forfeit    30.00 day 23");
    let all = history(&text);
    for scheme in Scheme::ALL.iter().copied() {
        // Run 1 covers day 22 while store D's journal is missing.
        let arrived: Vec<_> = all[..5].to_vec();
        let first = fold(scheme, &agreements, &arrived).unwrap().legs;
        let run_1 = delta(&[], &first).unwrap();
        let kept = run_1.clone();
        let second = fold(scheme, &agreements, &all).unwrap().legs;
        let run_2 = delta(&first, &second).unwrap();
        let next = run(2, 23, 23);
        let (late, regular): (Vec<Leg>, Vec<Leg>) =
            run_2.iter().partition(|leg| next.class_of(leg.business_day) == LineClass::Adjustment);
        let spent: i64 = late.iter().filter(|leg| leg.kind == LegKind::Spend).map(|leg| leg.amount_minor).sum();
        assert_eq!(decimal(spent), "70.35", "{scheme}");
        assert!(late.iter().all(|leg| leg.business_day == day(22)), "named by its own day");
        assert!(regular.iter().any(|leg| leg.kind == LegKind::CashOut));
        assert_eq!(run_1, kept);
        let both: Vec<Leg> = run_1.into_iter().chain(run_2).collect();
        assert_eq!(nets_text(&nets(&both)), "A -991.30, B -299.20, C 874.72, D 419.58, hub -3.80", "{scheme}");
    }
}

#[test]
fn g6_the_same_entry_twice_is_no_history() {
    let mut twice = history(G1);
    twice.insert(4, twice[3].clone());
    let refused = fold(Scheme::Pool, &only(golden_terms()), &twice);
    assert!(matches!(refused, Err(crate::settlement::fold::FoldError::Order { index: 4, .. })), "{refused:?}");
    // What ingest keeps once is settled once: a second fold of the same set adds nothing.
    let legs = settle(Scheme::Pool, golden_terms(), G1).legs;
    assert_eq!(delta(&legs, &settle(Scheme::Pool, golden_terms(), G1).legs), Ok(Vec::new()));
}
