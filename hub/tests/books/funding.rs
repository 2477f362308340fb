//! Who is charged for discounts: the supplier, the partner, head office and the store itself, over sales, voids and returns, however journals arrive.

use std::collections::BTreeMap;

use huitong_hub::export;
use huitong_hub::settle::{self, Scope};
use huitong_hub::statement;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::leg::LegKind;
use huitong_protocol::settlement::run::{Finality, RunId, Standing};
use huitong_protocol::statement::Statement;
use huitong_protocol::time::BusinessDay;
use proptest::prelude::*;

use crate::shop::{Shop, Town, day};

fn party(text: &str) -> Party {
    text.parse().unwrap()
}

fn statements(town: &Town, run: RunId) -> BTreeMap<Party, Statement> {
    let pages = town.store.read_blocking(move |tx| statement::statements(tx, run)).unwrap();
    pages.into_iter().map(|page| (page.party, page)).collect()
}

/// What stands on a party's statement: day, funder, store, given, taken back.
fn funded(page: &Statement) -> Vec<(BusinessDay, String, String, i64, i64)> {
    let row = |row: &huitong_protocol::statement::FundedDay| {
        (row.business_day, row.funder.to_string(), row.store.to_string(), row.gross_minor, row.reversal_minor)
    };
    page.funding.iter().map(row).collect()
}

fn text(row: (&str, &str, &str, i64, i64)) -> (BusinessDay, String, String, i64, i64) {
    (day(row.0), row.1.to_owned(), row.2.to_owned(), row.3, row.4)
}

/// S1 sells under discounts of a supplier, a partner and its own; one sale is undone, one comes back in part, at S2.
fn traded(town: &Town) -> [Shop; 2] {
    let [mut one, mut two] = [town.shop("S1"), town.shop("S2")];
    town.open(&mut one, "2026-09-01");
    town.open(&mut two, "2026-09-01");
    let sold = town.sell_goods(&mut one, &[("supplier:X", 500), ("partner:P", 200), ("", 40)]);
    let undone = town.sell_goods(&mut one, &[("supplier:X", 90), ("hub", 10)]);
    town.undo(&mut one, undone, &[("hub", 10), ("supplier:X", 90)]);
    town.sell_goods(&mut two, &[("hub", 70)]);
    town.close(&mut one);
    town.close(&mut two);
    town.open(&mut two, "2026-09-02");
    town.take_back(&mut two, sold, &[("partner:P", 50), ("store:S1", 10), ("supplier:X", 125)]);
    town.close(&mut two);
    [one, two]
}

#[test]
fn funders_owe_the_store_that_sold_and_a_return_elsewhere_reverses_there() {
    for &scheme in Scheme::ALL {
        let town = Town::new(scheme);
        traded(&town);
        let run = town.settle(scheme, Standing::Booked, Finality::Final, None).unwrap().record.run.id;
        let pages = statements(&town, run);
        let supplier = &pages[&party("supplier:X")];
        assert_eq!(
            funded(supplier),
            [
                text(("2026-09-01", "supplier:X", "store:S1", 590, -90)),
                text(("2026-09-02", "supplier:X", "store:S1", 0, -125)),
            ],
            "{scheme}: S1 had sold, so S1 owes back what S2 took in"
        );
        assert_eq!((supplier.net_minor, pages[&party("partner:P")].net_minor), (-375, -150));
        let one = &pages[&party("store:S1")];
        assert_eq!(one.net_minor, 525, "its own 40 are its cost and nobody's debt");
        assert!(funded(one).contains(&text(("2026-09-01", "store:S1", "store:S1", 40, 0))));
        assert!(funded(one).contains(&text(("2026-09-02", "store:S1", "store:S1", 0, -10))));
        assert_eq!((pages[&party("store:S2")].net_minor, pages[&party("hub")].net_minor), (70, -70));
        assert_eq!(town.findings(), Vec::<String>::new());

        let netting = town.store.read_blocking(move |tx| settle::netting(tx, Scope::Run(run), true)).unwrap();
        assert!(netting.positions.contains(&(party("supplier:X"), -375)), "{:?}", netting.positions);
        assert!(netting.positions.contains(&(party("entity:E1"), 595)), "S1 and S2 have one owner");
        let csv = town.store.read_blocking(move |tx| export::csv(tx, run)).unwrap();
        assert!(csv.contains("2026-09-02,regular,store:S1,partner:P,discount_funding_back,CNY,50,0.50"), "{csv}");
    }
}

#[test]
fn a_funder_reads_its_statement_in_every_form() {
    let town = Town::new(Scheme::Pool);
    traded(&town);
    town.settle(Scheme::Pool, Standing::Booked, Finality::Final, None).unwrap();
    let (code, out) = town.say("statement show 1 --party supplier:X --lang en");
    assert_eq!(code, 0);
    assert!(out.contains("Discounts and who bears them") && out.contains("net to pay"), "{out}");
    let row = out.lines().find(|line| line.starts_with("2026-09-01  supplier:X")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["2026-09-01", "supplier:X", "S1", "5.90", "-0.90", "5.00"]);
    assert!(town.say("statement show 1 --party partner:P").1.contains("优惠承担明细"));
    let (_, out) = town.say("statement show 1 --party partner:P --format csv");
    assert!(out.contains("funding,2026-09-02,discount_funding,partner:P,store:S1,,0,-50,-50"), "{out}");
    let (_, out) = town.say("statement show 1 --party partner:P --json");
    let pages: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(pages[0]["funding"][0]["net_minor"], 200);
    let (code, out) = town.say("statement show 1 --party supplier:NOBODY");
    assert!(code == 3 && out.contains("has nothing for supplier:NOBODY"), "{out}");
}

#[test]
fn a_store_that_comes_late_charges_its_funders_under_its_own_day_and_run_one_stays() {
    let town = Town::new(Scheme::Pool);
    let [mut one, mut two] = [town.shop("S1"), town.shop("S2")];
    for shop in [&mut one, &mut two] {
        town.open(shop, "2026-09-01");
        town.sell_goods(shop, &[("supplier:X", 100)]);
    }
    town.close(&mut one);
    town.report(&two);
    let first = town.settle(Scheme::Pool, Standing::Booked, Finality::Provisional, None).unwrap();
    let before = statements(&town, first.record.run.id);
    town.open(&mut one, "2026-09-02");
    town.sell_goods(&mut one, &[("supplier:X", 7)]);
    town.close(&mut one);
    town.close(&mut two);
    let second = town.settle(Scheme::Pool, Standing::Booked, Finality::Final, None).unwrap();
    assert_eq!((second.lines, second.adjustments), (2, 1));
    let pages = statements(&town, second.record.run.id);
    let supplier = &pages[&party("supplier:X")];
    assert_eq!((supplier.opening_minor, supplier.net_minor, supplier.closing_minor), (-100, -107, -207));
    assert_eq!((supplier.adjustments[0].business_day, supplier.adjustments[0].amount_minor), (day("2026-09-01"), -100));
    assert_eq!(statements(&town, first.record.run.id), before);
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn an_entry_by_which_nobody_can_be_charged_is_put_aside_and_stops_no_run() {
    let town = Town::new(Scheme::Pool);
    let mut one = town.shop("S1");
    town.open(&mut one, "2026-09-01");
    let sold = town.sell_goods(&mut one, &[("supplier:X", 100)]);
    town.take_back(&mut one, sold, &[("supplier:X", -5)]);
    town.undo(&mut one, sold, &[("supplier:X", i64::MAX)]);
    town.close(&mut one);
    town.settle(Scheme::Pool, Standing::Booked, Finality::Final, None).unwrap();
    let (_, out) = town.say("exception list --json");
    let raised: serde_json::Value = serde_json::from_str(&out).unwrap();
    let faults: Vec<&str> = raised.as_array().unwrap().iter().map(|row| row["class"].as_str().unwrap()).collect();
    assert_eq!(faults, ["quarantined", "quarantined"], "{out}");
    assert!(out.contains("what supplier:X bears is negative"), "{out}");
    assert_eq!(town.findings(), Vec::<String>::new());
}

/// A sale of a store: what its funders bear, and whether it is undone or given back, where, in which parts.
#[derive(Clone, Debug)]
struct Story {
    seller: usize,
    borne: Vec<(usize, i64)>,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Stands,
    Undone,
    /// Given back at these stores, on the day after; the last takes what is left.
    GivenBack(Vec<usize>),
}

const FUNDERS: [&str; 4] = ["supplier:X", "partner:P", "hub", ""];

fn story() -> impl Strategy<Value = Story> {
    let end = prop_oneof![
        Just(End::Stands),
        Just(End::Undone),
        prop::collection::vec(0_usize..3, 1..4).prop_map(End::GivenBack)
    ];
    let borne = prop::collection::btree_map(0_usize..FUNDERS.len(), 1_i64..1_000, 1..4);
    (0_usize..3, borne, end).prop_map(|(seller, borne, end)| Story { seller, borne: borne.into_iter().collect(), end })
}

/// Plays stories on two days and delivers the six journals of a day each in an order, settling after those that say so.
fn play(stories: &[Story], order: &[usize], runs: &[bool]) -> (Vec<settle::Sum>, Vec<String>) {
    let town = Town::new(Scheme::Pool);
    let mut shops = [town.shop("S1"), town.shop("S2"), town.shop("S3")];
    let mut sold = Vec::new();
    let mut segments = Vec::new();
    shops.iter_mut().for_each(|shop| town.open(shop, "2026-09-01"));
    for story in stories {
        let shop = &mut shops[story.seller];
        let own = format!("store:S{}", story.seller + 1);
        let borne: Vec<(&str, i64)> = story.borne.iter().map(|&(who, amount)| (FUNDERS[who], amount)).collect();
        let of = town.sell_goods(shop, &borne);
        let named: Vec<(String, i64)> = borne
            .iter()
            .map(|&(who, amount)| (if who.is_empty() { own.clone() } else { who.to_owned() }, amount))
            .collect();
        if let End::Undone = story.end {
            let back: Vec<(&str, i64)> = named.iter().map(|(who, amount)| (who.as_str(), *amount)).collect();
            town.undo(shop, of, &back);
        }
        sold.push((of, named));
    }
    for shop in &mut shops {
        town.seal(shop);
        segments.push((shop.place, town.segment(shop)));
    }
    shops.iter_mut().for_each(|shop| town.open(shop, "2026-09-02"));
    for (story, (of, named)) in stories.iter().zip(&sold) {
        let End::GivenBack(takers) = &story.end else { continue };
        let mut left: Vec<(&str, i64)> = named.iter().map(|(who, amount)| (who.as_str(), *amount)).collect();
        for (place, &taker) in takers.iter().enumerate() {
            let last = place + 1 == takers.len();
            let part: Vec<(&str, i64)> =
                left.iter().map(|&(who, amount)| (who, if last { amount } else { amount / 2 })).collect();
            left.iter_mut().zip(&part).for_each(|(left, part)| left.1 -= part.1);
            town.take_back(&mut shops[taker], *of, &part);
        }
    }
    for shop in &mut shops {
        town.seal(shop);
        segments.push((shop.place, town.segment(shop)));
        town.report(shop);
    }
    for (&at, &settles) in order.iter().zip(runs) {
        let (place, segment) = &segments[at];
        let shop = shops.iter().find(|shop| shop.place == *place).unwrap();
        town.deliver(shop, segment);
        if settles {
            // What has no accepted day yet has nothing to settle.
            let _ = town.settle(Scheme::Pool, Standing::Booked, Finality::Provisional, None);
        }
    }
    town.settle(Scheme::Pool, Standing::Booked, Finality::Final, None).map(drop).or_else(settled_already).unwrap();
    (town.store.read_blocking(|tx| settle::cumulative(tx, Scheme::Pool)).unwrap(), town.findings())
}

fn settled_already(error: settle::SettleError) -> Result<(), settle::SettleError> {
    match error {
        settle::SettleError::NothingNew(_) => Ok(()),
        other => Err(other),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_in_any_runs_charges_the_same_as_one_run(
        stories in prop::collection::vec(story(), 1..8),
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
        runs in prop::collection::vec(any::<bool>(), 6),
    ) {
        let (at_once, findings) = play(&stories, &[0, 1, 2, 3, 4, 5], &[false; 6]);
        prop_assert_eq!(findings, Vec::<String>::new());
        // An oracle of its own: what stands of each story.
        let mut nets: BTreeMap<(Party, usize), i64> = BTreeMap::new();
        for story in &stories {
            for &(who, amount) in story.borne.iter().filter(|_| matches!(story.end, End::Stands)) {
                if !FUNDERS[who].is_empty() {
                    *nets.entry((party(FUNDERS[who]), story.seller)).or_default() += amount;
                }
            }
        }
        let mut charged: BTreeMap<(Party, usize), i64> = BTreeMap::new();
        for sum in at_once.iter().filter(|sum| sum.debtor != sum.creditor) {
            let back = sum.kind == LegKind::DiscountFundingBack;
            let (funder, store) = if back { (sum.creditor, sum.debtor) } else { (sum.debtor, sum.creditor) };
            let seller = (0..3).find(|at| store == party(&format!("store:S{}", at + 1))).unwrap();
            *charged.entry((funder, seller)).or_default() += if back { -sum.amount_minor } else { sum.amount_minor };
        }
        charged.retain(|_, amount| *amount != 0);
        prop_assert_eq!(charged, nets);
        let (in_parts, findings) = play(&stories, &order, &runs);
        prop_assert_eq!(findings, Vec::<String>::new());
        prop_assert_eq!(in_parts, at_once);
    }

    #[test]
    fn everything_given_back_leaves_nobody_owing(stories in prop::collection::vec(story(), 1..8)) {
        let all: Vec<Story> = stories.into_iter().map(|story| match story.end {
            End::Stands => Story { end: End::GivenBack(vec![0, 2]), ..story },
            _ => story,
        }).collect();
        let (sums, _) = play(&all, &[0, 1, 2, 3, 4, 5], &[true; 6]);
        let mut positions: BTreeMap<Party, i64> = BTreeMap::new();
        for sum in &sums {
            *positions.entry(sum.debtor).or_default() -= sum.amount_minor;
            *positions.entry(sum.creditor).or_default() += sum.amount_minor;
        }
        positions.retain(|_, amount| *amount != 0);
        prop_assert_eq!(positions, BTreeMap::new());
    }
}
