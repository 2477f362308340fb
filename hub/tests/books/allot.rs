//! Where value would be parked, as head office asks for it: what for, how much, why, and how good the plan before was.

use huitong_hub::cli::{EXIT_OK, EXIT_REFUSED, EXIT_USAGE};
use huitong_protocol::card::Card;
use huitong_protocol::settlement::agreement::Scheme;
use serde_json::Value;

use crate::shop::{Shop, Town};

/// A member who shops at S1 and now and then at S2, always for 20.00, and has 300.00 left.
fn regular() -> (Town, [Shop; 2], Card) {
    let mut town = Town::new(Scheme::Pool);
    let card = town.card();
    let mut shops = [town.shop("S1"), town.shop("S2")];
    for day in 1..=8 {
        let [one, two] = &mut shops;
        for shop in [&mut *one, &mut *two] {
            town.open(shop, &format!("2026-09-{day:02}"));
        }
        if day == 1 {
            town.sell(one, &card, 40_000);
            town.carry(one, two, &card, 4_000);
        }
        town.spend(if day % 4 == 2 { two } else { one }, &card, 2_000);
        shops.iter_mut().for_each(|shop| town.close(shop));
    }
    (town, shops, card)
}

fn json(town: &Town, line: &str) -> Value {
    let (code, out) = town.say(&format!("{line} --json"));
    assert_eq!(code, EXIT_OK, "{line}: {out}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_plan_is_explained_per_account_and_written_when_it_is_applied() {
    let (town, _shops, card) = regular();
    let number = card.number.reveal();
    let (code, text) = town.say(&format!("allot plan --allocator planner --account {number}"));
    assert_eq!(code, EXIT_OK, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("account 1: ") && lines[0].ends_with(" of 240.00 CNY parked"), "{text}");
    assert!(lines[1].contains(" at S1: 6 of 8 visits, ") && lines[1].ends_with(" % of the baskets"), "{text}");
    assert!(lines[2].contains(" at S2: 2 of 8 visits, ") && lines.len() == 3, "{text}");

    let planned = json(&town, "allot plan --allocator planner --show 1");
    assert_eq!((&planned["applied"], &planned["accounts"], &planned["targets"]), (&false.into(), &1.into(), &2.into()));
    assert_eq!(planned["largest"][0]["targets"][0]["store"], "S1");
    let applied = json(&town, "allot apply --allocator planner");
    assert_eq!((&applied["applied"], &applied["parked_minor"]), (&true.into(), &planned["parked_minor"]));
    let again = json(&town, "allot apply --allocator planner");
    assert_eq!((&again["accounts"], &again["changed"]), (&0.into(), &0.into()), "nothing has moved since");
    let everyone = json(&town, "allot apply --allocator planner --everyone");
    assert_eq!((&everyone["accounts"], &everyone["changed"]), (&1.into(), &0.into()));
    let plans = json(&town, "allot list --limit 2");
    assert_eq!(plans.as_array().unwrap().iter().map(|plan| &plan["plan_no"]).collect::<Vec<_>>(), [3, 2]);
    let (code, text) = town.say("allot list");
    assert!(code == EXIT_OK && text.lines().count() == 4 && text.contains("240.00"), "{text}");
}

#[test]
fn the_policy_says_who_decides_and_another_word_overrules_it() {
    let (town, _shops, _card) = regular();
    assert_eq!(json(&town, "allot apply")["allocator"], "planner", "as the standard policy has it");
    let (code, text) = town.say("allot plan --allocator pool");
    assert_eq!(code, EXIT_OK, "{text}");
    let said = "pool would park 0.00 of 240.00 CNY of 1 accounts, in 0 places; 2 targets changed\n";
    assert!(text.starts_with(said), "{text}");
}

#[test]
fn the_plan_before_is_judged_by_who_came() {
    let (town, mut shops, card) = regular();
    json(&town, "allot apply --allocator most_visited");
    let [one, two] = &mut shops;
    town.open(one, "2026-09-09");
    town.open(two, "2026-09-09");
    town.carry(one, two, &card, 1_000);
    for (shop, covered) in [(one, 1), (two, 0)] {
        town.spend(shop, &card, 1_000);
        town.close(shop);
        let applied = json(&town, "allot apply --allocator most_visited");
        assert_eq!((&applied["came"], &applied["covered"]), (&1.into(), &covered.into()));
    }
}

#[test]
fn what_is_asked_wrongly_is_refused_with_the_way_out() {
    let (town, _shops, _card) = regular();
    let (code, text) = town.say("allot plan --account nobody");
    assert!(code == EXIT_REFUSED && text.contains("no card or account"), "{code} {text}");
    let (code, text) = town.say("allot plan --allocator crystal_ball");
    assert!(code == EXIT_USAGE && text.contains("pool, last_store, most_visited, proportional, planner"), "{text}");
}
