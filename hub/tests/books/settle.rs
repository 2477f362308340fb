//! Settlement as finance sees it: the late store, the store that sends twice, another scheme beside the books, a run that fails half way.

use huitong_hub::settle::{self, Netting, Scope, SettleError};
use huitong_hub::store::StoreError;
use huitong_hub::store::settlement;
use huitong_hub::{account, calendar, import, statement};
use huitong_protocol::party::Party;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::leg::{Leg, LegKind};
use huitong_protocol::settlement::run::{Finality, RunId, Standing};
use huitong_protocol::statement::{Language, csv, json, text};
use huitong_protocol::time::Instant;
use indicatif::ProgressBar;

use crate::shop::{Shop, Town, day, id};

const FINAL: Finality = Finality::Final;
const PROVISIONAL: Finality = Finality::Provisional;
const BOOKED: Standing = Standing::Booked;
const MEMO: Standing = Standing::Memo;

fn lines(town: &Town, run: RunId) -> Vec<Leg> {
    let mut found = Vec::new();
    town.store
        .read_blocking(|tx| {
            settle::lines(tx, run, |leg| {
                found.push(leg);
                Ok::<(), StoreError>(())
            })
        })
        .unwrap();
    found
}

/// One card sold for 100.00 at S1 and spent at S2 (30.00) and S3 (20.00) on one day, journals written and not sent.
pub(crate) fn day_one(town: &mut Town) -> [Shop; 3] {
    let mut shops = [town.shop("S1"), town.shop("S2"), town.shop("S3")];
    let card = town.card();
    let [one, two, three] = &mut shops;
    for shop in [&mut *one, &mut *two, &mut *three] {
        town.open(shop, "2026-09-01");
    }
    town.sell(one, &card, 10_000);
    town.carry(one, two, &card, 6_000);
    town.spend(two, &card, 3_000);
    town.carry(two, three, &card, 3_000);
    town.spend(three, &card, 2_000);
    shops
}

fn position(positions: &[(Party, i64)], store: &str) -> i64 {
    positions.iter().find(|(party, _)| *party == Party::Store(id(store))).map_or(0, |(_, amount)| *amount)
}

#[test]
fn a_late_store_is_an_adjustment_of_the_next_run_and_run_one_stays() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    town.close(&mut one);
    town.close(&mut three);
    let refusal = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap_err().to_string();
    assert!(
        refusal
            .contains("1 store(s) are not complete up to 2026-09-01: S2 (4 entries that it reported have not arrived)"),
        "{refusal}"
    );
    assert!(refusal.contains("--provisional"), "{refusal}");
    let first = town.settle(Scheme::Pool, BOOKED, PROVISIONAL, None).unwrap();
    assert_eq!(
        (position(&first.positions, "S1"), position(&first.positions, "S2"), position(&first.positions, "S3")),
        (-10_000, 0, 2_000)
    );
    assert_eq!((first.adjustments, first.late.len(), first.record.stores_late), (0, 1, 1));
    let before = lines(&town, first.record.run.id);

    town.close(&mut two);
    let second = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    assert_eq!(position(&second.positions, "S2"), 3_000);
    assert_eq!((second.lines, second.adjustments), (1, 1), "only the late store's spend, under its own day");
    assert_eq!(lines(&town, second.record.run.id)[0].business_day, day("2026-09-01"));
    assert_eq!(lines(&town, first.record.run.id), before, "a run that is written never changes");
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn arrival_order_never_changes_what_all_runs_come_to() {
    let all = |order: [usize; 3], runs: bool| {
        let mut town = Town::new(Scheme::Fifo);
        let mut shops = day_one(&mut town);
        for at in order {
            town.close(&mut shops[at]);
            if runs {
                town.settle(Scheme::Fifo, BOOKED, PROVISIONAL, None).unwrap();
            }
        }
        if !runs {
            town.settle(Scheme::Fifo, BOOKED, FINAL, None).unwrap();
        }
        assert_eq!(town.findings(), Vec::<String>::new(), "{order:?}");
        town.store.read_blocking(|tx| settle::cumulative(tx, Scheme::Fifo)).unwrap()
    };
    let expected = all([0, 1, 2], false);
    assert!(
        expected
            .iter()
            .any(|sum| sum.kind == LegKind::Spend && sum.debtor == Party::Store(id("S1")) && sum.amount_minor == 3_000)
    );
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        assert_eq!(
            all(order, true),
            expected,
            "{order:?}: a spend whose load had not arrived moves from unattributed to its loader"
        );
    }
}

#[test]
fn what_comes_twice_counts_once_and_nothing_new_makes_no_run() {
    let mut town = Town::new(Scheme::Pool);
    let mut shops = day_one(&mut town);
    for shop in &mut shops {
        town.seal(shop);
        town.report(shop);
        let segment = town.segment(shop);
        town.deliver(shop, &segment);
        town.deliver(shop, &segment);
    }
    let run = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    assert_eq!(run.positions.iter().map(|(_, amount)| amount).sum::<i64>(), 0);
    assert_eq!(position(&run.positions, "S2"), 3_000);
    match town.settle(Scheme::Pool, BOOKED, FINAL, None) {
        Err(SettleError::NothingNew(last)) => assert_eq!(last.run.id, run.record.run.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn one_scheme_is_booked_and_others_are_memos() {
    let mut town = Town::new(Scheme::Pool);
    let mut shops = day_one(&mut town);
    shops.iter_mut().for_each(|shop| town.close(shop));
    let refusal = |scheme, standing| town.settle(scheme, standing, FINAL, None).unwrap_err().to_string();
    assert!(refusal(Scheme::Fifo, BOOKED).contains("the agreement of 2026-09-01 books pool, not fifo"));
    assert!(refusal(Scheme::Pool, MEMO).contains("leave --memo away"));
    let pool = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    let fifo = town.settle(Scheme::Fifo, MEMO, FINAL, None).unwrap();
    let home = town.settle(Scheme::Home, MEMO, FINAL, None).unwrap();
    assert_eq!(
        position(&fifo.positions, "S1"),
        -5_000,
        "fifo: the loader owes what was accepted elsewhere, the rest is its float"
    );
    assert_eq!(position(&home.positions, "S1"), -5_000);
    assert_eq!(position(&pool.positions, "S1"), -10_000, "pool: it owes all that it took in");
    assert_eq!(position(&fifo.positions, "S3"), position(&pool.positions, "S3"));
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn a_day_that_began_before_the_run_waits_for_its_own() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    for shop in [&mut one, &mut two, &mut three] {
        town.close(shop);
    }
    let card = town.card();
    town.open(&mut one, "2026-09-02");
    town.sell(&mut one, &card, 500);
    town.upload(&mut one);
    let first = town.settle(Scheme::Pool, BOOKED, FINAL, Some("2026-09-01")).unwrap();
    assert_eq!(position(&first.positions, "S1"), -10_000, "the new day's trickle is not in it");
    town.reload(&mut one, &card, 70);
    town.close(&mut one);
    let hasty = town.settle(Scheme::Pool, BOOKED, FINAL, Some("2026-09-30")).unwrap_err().to_string();
    assert!(hasty.contains("no store's day after 2026-09-02 was accepted"), "{hasty}");
    let second = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    assert_eq!((position(&second.positions, "S1"), second.adjustments), (-570, 0));
    assert_eq!((second.record.run.day_from, second.record.run.day_to), (day("2026-09-02"), day("2026-09-02")));
    assert!(
        town.settle(Scheme::Pool, BOOKED, FINAL, Some("2026-09-01"))
            .unwrap_err()
            .to_string()
            .contains("days up to 2026-09-02 are settled")
    );
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn a_day_labelled_decades_ahead_locks_no_run() {
    let mut town = Town::new(Scheme::Pool);
    let mut shops = day_one(&mut town);
    shops.iter_mut().for_each(|shop| town.close(shop));
    let [mut one, mut two, _] = shops;
    let card = town.card();
    // Somebody types the year wrong, sells, and closes: the hub agrees with every figure of it.
    town.open(&mut one, "2062-09-02");
    town.sell(&mut one, &card, 700);
    town.close(&mut one);
    let (_, out) = town.say("exception list --json");
    let raised: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&raised[0]["class"], &raised[0]["subject"]), (&"clock_skew".into(), &"S1-1 day 2062-09-02".into()));
    assert_eq!(raised.as_array().unwrap().len(), 1, "{out}");

    let first = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    assert_eq!((first.record.run.day_to, position(&first.positions, "S1")), (day("2026-09-01"), -10_000));
    let far: Vec<_> = first.far.iter().map(|far| (far.store, far.business_day)).collect();
    assert_eq!(far, [(id("S1"), day("2062-09-02"))]);
    let (_, out) = town.say("day list");
    assert!(out.contains("2026-09-01") && !out.contains("2062") && !out.contains("late"), "{out}");
    let hasty = town.settle(Scheme::Pool, BOOKED, PROVISIONAL, Some("2062-09-02")).unwrap_err().to_string();
    assert!(hasty.contains("no store has come to 2062-09-02"), "{hasty}");

    // The next day is settled as it should be, the far one not.
    town.open(&mut two, "2026-09-02");
    town.reload(&mut two, &card, 30);
    town.close(&mut two);
    let (code, out) = town.say("settle run");
    assert!(code == 0 && out.contains("2026-09-02 to 2026-09-02") && out.contains("0 of them adjustments"), "{out}");
    assert!(out.contains("left out: S1 2062-09-02"), "{out}");
    assert_eq!(town.findings(), Vec::<String>::new());
}

/// Every call settles as finance would, and says what came of it.
fn final_run(town: &Town) -> (u8, String) {
    town.say("settle run")
}

#[test]
fn finance_takes_a_day_as_the_hub_counted_it() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    town.close(&mut one);
    // S2's till and its seal disagree by a cent; S3 burns down before it has closed.
    town.seal_differently(&mut two);
    town.report(&two);
    town.upload(&mut two);
    town.upload(&mut three);
    let (code, out) = final_run(&town);
    assert!(code == 3 && out.contains("S2 (2026-09-01") && out.contains("S3 (2026-09-01"), "{out}");
    assert!(out.contains("huitong-hub day resolve"), "{out}");

    let refused = |line: &str, says: &str| {
        let (code, out) = town.say(line);
        assert!(code == 3 && out.contains(says), "{line}: {code} {out}");
    };
    refused("day resolve S1 2026-09-01 --note why", "is accepted");
    refused("day resolve S9 2026-09-01 --note why", "there is no store S9");
    refused("day resolve S2 2062-09-01 --note why", "is not over");
    refused("day resolve S2 2026-09-01 --note=", "--note is empty");
    let (code, out) = town.say("day resolve S2 2026-09-01 --by wang --note counted-the-drawer");
    assert!(code == 0 && out.contains("by wang at 2026-"), "{out}");
    refused("day resolve S2 2026-09-01 --note again", "was resolved by wang");
    assert_eq!(final_run(&town).0, 3, "S3 is still waited for");
    assert_eq!(town.say("day resolve S3 2026-09-01 --by wang --note burnt-down").0, 0);

    let (code, out) = final_run(&town);
    assert!(code == 0 && out.contains("taken as counted: S2 2026-09-01, by wang at 2026-"), "{out}");
    assert!(town.say("settle show 1").1.contains("burnt-down"));
    let (_, out) = town.say("day list");
    assert!(out.lines().filter(|line| line.contains("resolved") && line.contains("wang")).count() == 2, "{out}");
    let (_, out) = town.say("day show S2 2026-09-01");
    assert!(out.contains("resolved") && out.contains("counted-the-drawer") && out.contains("differs   "), "{out}");
    let (_, out) = town.say("exception list --all");
    assert!(out.lines().any(|line| line.contains("seal_differs") && line.contains("resolved")), "{out}");
    assert_eq!(town.findings(), Vec::<String>::new(), "the day's row stays what the journal says");

    // S3's disk is saved after all, and seals: the word of the hub stands in the place of finance's.
    town.close(&mut three);
    let (_, out) = town.say("day list");
    assert!(out.lines().any(|line| line.contains("S3") && line.contains("accepted")), "{out}");
    // A seal that comes later and differs asks anew.
    town.seal_differently(&mut two);
    town.upload(&mut two);
    assert!(town.say("day list").1.lines().any(|line| line.contains("S2") && line.contains("differs")));
    assert_eq!(town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap_err().to_string().matches("S2").count(), 1);
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn a_day_of_which_nothing_came_can_be_resolved_too() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, two, mut three] = day_one(&mut town);
    town.close(&mut one);
    town.close(&mut three);
    // S2 has reported, so that it is known that its journal is missing; its machine is gone.
    town.report(&two);
    assert_eq!(final_run(&town).0, 3);
    assert_eq!(town.say("settle run --provisional").0, 0);
    // The days after it cannot be final either, until somebody decides; the run after that says who did.
    town.open(&mut one, "2026-09-02");
    town.close(&mut one);
    assert_eq!(final_run(&town).0, 3);
    assert_eq!(town.say("day resolve S2 2026-09-01 --by li --note stolen").0, 0);
    let (code, out) = final_run(&town);
    assert!(code == 0 && out.contains("taken as counted: S2 2026-09-01, by li"), "{out}");
    assert!(town.say("day list").1.lines().any(|line| line.contains("S2") && line.contains("resolved")));
    // The thief plugs it in: what it reports is waited for again.
    town.open(&mut one, "2026-09-03");
    town.close(&mut one);
    town.report(&two);
    assert!(final_run(&town).1.contains("S2 (4 entries that it reported have not arrived)"));
}

#[test]
fn a_word_on_an_old_seal_does_not_excuse_what_has_not_arrived() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    town.close(&mut one);
    town.close(&mut three);
    town.seal_differently(&mut two);
    town.upload(&mut two);
    // The next day S2 trades and reports; its journal is on its way when finance looks at the day before.
    let card = town.card();
    town.open(&mut two, "2026-09-02");
    town.sell(&mut two, &card, 700);
    town.report(&two);
    town.open(&mut one, "2026-09-02");
    town.close(&mut one);
    assert_eq!(town.say("day resolve S2 2026-09-01 --by wang --note counted-the-drawer").0, 0);
    let (code, out) = final_run(&town);
    assert!(code == 3 && out.contains("S2 (2 entries that it reported have not arrived)"), "{out}");
    town.close(&mut two);
    assert_eq!(final_run(&town).0, 0);
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn what_was_provisional_becomes_final_when_finance_has_spoken() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, two, mut three] = day_one(&mut town);
    town.close(&mut one);
    town.close(&mut three);
    town.report(&two);
    town.settle(Scheme::Pool, BOOKED, PROVISIONAL, None).unwrap();
    match town.settle(Scheme::Pool, BOOKED, PROVISIONAL, None) {
        Err(SettleError::NothingNew(last)) => assert_eq!(last.run.id, RunId(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(final_run(&town).0, 3);
    assert_eq!(town.say("day resolve S2 2026-09-01 --by li --note stolen").0, 0);
    // Nothing arrived, and yet this one says what the one before could not.
    let run = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    assert_eq!((run.record.run.id, run.lines, run.resolved.len()), (RunId(2), 0, 1));
    assert!(matches!(town.settle(Scheme::Pool, BOOKED, FINAL, None), Err(SettleError::NothingNew(_))));
    assert!(matches!(town.settle(Scheme::Pool, BOOKED, PROVISIONAL, None), Err(SettleError::NothingNew(_))));
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn a_day_is_over_when_the_store_rolls_over() {
    let town = Town::new(Scheme::Pool);
    let stores = b"store,name,legal_entity,time_zone,rollover_hour\nS4,Four,E1,Asia/Shanghai,4\n";
    import::stores::import(&town.store, stores, &import::Options::default()).unwrap();
    let resolve = |at: &str| {
        let now = Instant(at.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        town.store.write_blocking(move |tx| {
            calendar::resolve(
                tx,
                id("S4"),
                day("2026-09-02"),
                &huitong_hub::actor::Actor::new("wang", huitong_hub::actor::Via::Cli).unwrap(),
                "burnt",
                now,
            )
        })
    };
    // Two in the morning, and two minutes past four.
    let refusal = resolve("2026-09-02T18:00:00Z").unwrap_err().to_string();
    assert!(refusal.contains("2026-09-02 is not over at S4"), "{refusal}");
    assert_eq!(resolve("2026-09-02T20:02:00Z").unwrap().note, "burnt");
}

#[test]
fn a_day_sealed_by_a_second_incarnation_is_named() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, _, _] = day_one(&mut town);
    town.upload(&mut one);
    let mut again = town.shop("S1");
    town.open(&mut again, "2026-09-01");
    town.close(&mut again);
    let (_, out) = town.say("exception list --json");
    let raised: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(raised.as_array().unwrap().len(), 1, "{out}");
    assert_eq!(raised[0]["class"], "seal_replaced");
    let evidence = raised[0]["evidence"]["lines"][0]["found"].as_str().unwrap();
    assert_eq!(evidence, "seal S1-2-2 stands for the day from now on; it was open in epoch 1");
}

#[test]
fn a_store_that_is_silent_is_not_late_and_is_named_and_one_that_never_traded_is_not_missing() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    for shop in [&mut one, &mut two, &mut three] {
        town.close(shop);
    }
    let (_, out) = town.say("day list");
    assert_eq!(
        out.lines().filter(|line| line.starts_with("2026-")).count(),
        3,
        "none before a store's first day: {out}"
    );
    town.open(&mut one, "2026-09-02");
    town.close(&mut one);
    // S2 was last heard the evening before, S3 this noon: it was closed.
    town.heard("S2", "2026-09-01T12:00:00Z");
    town.heard("S3", "2026-09-02T04:00:00Z");
    let (_, out) = town.say("day list --from 2026-09-02");
    let line = |store: &str| out.lines().find(|line| line.contains(store)).unwrap_or_default().to_owned();
    assert!(line("S2").contains("missing") && line("S2").contains("not heard since 2026-09-01T12:00:00Z"), "{out}");
    assert!(line("S3").contains("missing") && !line("S3").contains("not heard"), "{out}");
    assert!(out.contains("1 store(s) were silent"), "{out}");
    let run = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    let silent: Vec<_> = run.silent.iter().map(|silent| silent.store).collect();
    assert_eq!((run.late.len(), silent), (0, vec![id("S2")]));
}

#[test]
fn a_run_that_fails_leaves_nothing_and_is_made_again() {
    let mut town = Town::new(Scheme::Pool);
    let mut shops = day_one(&mut town);
    shops.iter_mut().for_each(|shop| town.close(shop));
    let request = settle::RunRequest { scheme: Scheme::Pool, standing: BOOKED, finality: FINAL, day_to: None };
    let now = huitong_protocol::time::Instant(1_790_100_000_000);
    let plan = town.store.read_blocking(|tx| settle::plan(tx, now, request, &ProgressBar::hidden())).unwrap();
    let crashed = town.store.write_blocking::<(), SettleError, _>(move |tx| {
        let report = settle::book(tx, &plan)?;
        Err(SettleError::NothingNew(Box::new(report.record)))
    });
    assert!(crashed.is_err());
    assert!(town.store.read_blocking(settlement::runs).unwrap().is_empty());
    let run = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    assert_eq!((run.record.run.id, run.lines), (RunId(1), 3));
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn what_comes_while_a_run_is_computed_is_in_the_next_and_a_run_that_was_overtaken_is_not_booked() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    town.close(&mut one);
    town.close(&mut two);
    let plan = |town: &Town| {
        let request =
            settle::RunRequest { scheme: Scheme::Pool, standing: BOOKED, finality: PROVISIONAL, day_to: None };
        let now = huitong_protocol::time::Instant(1_790_100_000_000);
        town.store.read_blocking(|tx| settle::plan(tx, now, request, &ProgressBar::hidden())).unwrap()
    };
    let book = |town: &Town, plan: settle::Plan| town.store.write_blocking(move |tx| settle::book(tx, &plan));
    let (first, slow) = (plan(&town), plan(&town));
    // A whole journal arrives while the lines are computed.
    town.close(&mut three);
    let first = book(&town, first).unwrap();
    assert!(first.late.iter().any(|late| late.store == id("S3")), "as of the moment that it looked at");
    let overtaken = book(&town, slow).unwrap_err();
    assert!(matches!(overtaken, SettleError::Overtaken(_)), "{overtaken}");
    let second = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    assert_eq!((second.record.run.id, second.record.previous), (RunId(2), Some(RunId(1))), "no number is lost");
    assert!(second.record.run.cut_ingested_no > first.record.run.cut_ingested_no && second.adjustments > 0);
    // Together they are what one run over all would have been.
    let mut other = Town::new(Scheme::Pool);
    day_one(&mut other).iter_mut().for_each(|shop| other.close(shop));
    other.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap();
    let owed = |town: &Town| town.store.read_blocking(|tx| settle::cumulative(tx, Scheme::Pool)).unwrap();
    assert_eq!(owed(&town), owed(&other));
    assert_eq!(town.findings(), Vec::<String>::new());
}

#[test]
fn statements_equal_their_lines_and_read_the_same_every_time() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    town.close(&mut one);
    town.close(&mut three);
    town.settle(Scheme::Pool, BOOKED, PROVISIONAL, None).unwrap();
    town.close(&mut two);
    let run = town.settle(Scheme::Pool, BOOKED, FINAL, None).unwrap().record.run.id;
    let all = |run| town.store.read_blocking(move |tx| statement::statements(tx, run)).unwrap();
    let statements = all(run);
    assert_eq!(statements.iter().map(|statement| statement.net_minor).sum::<i64>(), 0);
    assert_eq!(statements.iter().map(|statement| statement.closing_minor).sum::<i64>(), 0);
    let of = |store: &str| statements.iter().find(|statement| statement.party == Party::Store(id(store))).unwrap();
    assert_eq!((of("S2").net_minor, of("S2").adjustments.len(), of("S2").opening_minor), (3_000, 1, 0));
    assert_eq!((of("S1").net_minor, of("S1").closing_minor), (0, -10_000), "what run 1 left unpaid stands open");
    for (again, statement) in all(run).iter().zip(&statements) {
        assert_eq!(json(again), json(statement));
        assert_eq!(csv(again), csv(statement));
        assert_eq!(text(again, Language::ZhCn), text(statement, Language::ZhCn));
    }
    for language in [Language::ZhCn, Language::En] {
        let wide = text(of("S2"), language).lines().map(|line| line.chars().count()).max().unwrap();
        assert!(wide <= 100, "{wide} columns");
    }
}

#[test]
fn payments_are_between_legal_entities() {
    let mut town = Town::new(Scheme::Fifo);
    let mut shops = day_one(&mut town);
    shops.iter_mut().for_each(|shop| town.close(shop));
    let run = town.settle(Scheme::Fifo, BOOKED, FINAL, None).unwrap().record.run.id;
    let netting = |by_entity| -> Netting {
        town.store.read_blocking(move |tx| settle::netting(tx, Scope::Run(run), by_entity)).unwrap()
    };
    assert!(
        netting(false)
            .obligations
            .iter()
            .any(|owed| owed.debtor == Party::Store(id("S1")) && owed.creditor == Party::Store(id("S2")))
    );
    let entities = netting(true);
    assert!(entities.obligations.iter().all(|owed| !matches!(owed.debtor, Party::Store(_))));
    assert!(
        entities
            .obligations
            .iter()
            .any(|owed| owed.debtor.to_string() == "entity:E1" && owed.creditor.to_string() == "entity:E2")
    );
    assert_eq!(netting(false).positions.iter().map(|(_, amount)| amount).sum::<i64>(), 0);
    assert_eq!(entities.positions.iter().map(|(_, amount)| amount).sum::<i64>(), 0);
}

#[test]
fn balances_and_totals_are_read_as_finance_reads_them() {
    let mut town = Town::new(Scheme::Pool);
    let mut shops = day_one(&mut town);
    shops.iter_mut().for_each(|shop| town.close(shop));
    let mut balances = Vec::new();
    town.store.read_blocking(|tx| account::balances(tx, |balance| balances.push(balance))).unwrap();
    assert_eq!(balances.len(), 1);
    assert_eq!(
        (balances[0].balance_minor, balances[0].home, balances[0].lots.len()),
        (5_000, Party::Store(id("S1")), 1)
    );
    let totals = town.store.read_blocking(account::movement_totals).unwrap();
    let spent: Vec<(String, i64, i64)> = totals
        .iter()
        .filter(|total| total.kind.as_str() == "spend")
        .map(|total| (total.store.to_string(), total.count, total.amount_minor))
        .collect();
    assert_eq!(spent, [("S2".to_owned(), 1, 3_000), ("S3".to_owned(), 1, 2_000)]);
    let account = balances[0].account;
    let view = town.store.read_blocking(move |tx| account::show(tx, account)).unwrap().unwrap();
    assert_eq!((view.purses[0].balance_minor, view.journal_balance_minor), (5_000, 5_000));
}

#[test]
fn the_command_line_settles_states_and_proves() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    town.close(&mut one);
    town.close(&mut three);
    town.report(&two);
    assert_eq!(town.say("settle run --scheme pool").0, 3);
    let (code, out) = town.say("settle run --provisional --json");
    assert_eq!(code, 0, "{out}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&report["id"], &report["finality"], &report["late"][0]["store"]),
        (&1.into(), &"provisional".into(), &"S2".into())
    );
    town.close(&mut two);
    let (code, out) = town.say("settle run");
    assert!(code == 0 && out.contains("Run 2: pool booked final") && out.contains("1 of them adjustments"), "{out}");
    assert!(town.say("settle run").1.contains("Nothing has arrived since run 2"));
    let (code, out) = town.say("day list --from 2026-09-01 --to 2026-09-01");
    assert!(code == 0 && out.lines().filter(|line| line.contains("accepted")).count() == 3, "{out}");
    let (_, out) = town.say("settle show 1");
    assert!(out.contains("store:S1") && out.contains("100.00") && out.contains("The fewest direct transfers"), "{out}");
    let (_, out) = town.say("statement show 2 --party store:S2 --lang en");
    assert!(out.contains("30.00"), "{out}");
    let (_, out) = town.say("statement show 2 --format csv");
    assert!(out.lines().count() > 2 && out.lines().filter(|line| line.starts_with("run,")).count() <= 1, "{out}");
    let (_, out) = town.say("statement show 2 --json");
    let pages: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        pages.as_array().unwrap().len(),
        4,
        "the hub, and all three stores: those without lines carry what they owed"
    );
    assert_eq!(town.say("statement show 9").0, 3);
    assert_eq!(town.say("statement show 1 --party store:S9").0, 3);
    let (code, out) = town.say("verify");
    assert!(code == 0 && out.contains("Everything follows from the journals."), "{out}");
    let connection = rusqlite::Connection::open(town.database()).unwrap();
    connection
        .execute("UPDATE settlement_line SET amount_minor = amount_minor + 1 WHERE creditor = 'store:S2'", [])
        .unwrap();
    let (code, out) = town.say("verify --json");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["ok"]), (3, &false.into()));
    let (code, out) = town.say("stats");
    assert!(code == 0 && out.contains("allotment reports"), "{out}");
}
