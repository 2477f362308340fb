//! Trading as a shop knows it, through the till's API: what is sold, spent, undone and given back, and what the drawer and the cards say after it.

use std::sync::Arc;

use huitong_protocol::card::CardStatus;
use huitong_protocol::decline::{Elsewhere, PlaceState};
use huitong_protocol::entry::{Body, Entry};
use huitong_protocol::id::Seq;
use huitong_protocol::journal;
use huitong_protocol::journal::Head;
use huitong_protocol::time::{Instant, Stamp};
use serde_json::{Value, json};

use super::testing::*;
use crate::store::{allotment, card as cards, journal as entries};

fn kinds(shop: &Shop) -> Vec<String> {
    let all = shop.store.read(|tx| entries::entries_after(tx, Seq::ZERO, 10_000, usize::MAX)).unwrap();
    all.iter().map(|entry| Entry::decode(&entry.bytes).unwrap().header.kind).collect()
}

/// Walks the whole journal and proves that it is a chain, of which the newest entry is the store's head.
#[track_caller]
fn assert_chain(shop: &Shop) {
    let all = shop.store.read(|tx| entries::entries_after(tx, Seq::ZERO, 100_000, usize::MAX)).unwrap();
    let walk = all.iter().map(|entry| (entry.head.seq, entry.head.hash, entry.bytes.as_slice()));
    assert_eq!(journal::verify(Head::START, walk), Ok(shop.store.head()));
    let stamps: Vec<Stamp> = all.iter().map(|entry| Entry::decode(&entry.bytes).unwrap().header.stamp).collect();
    assert!(stamps.is_sorted_by(|a, b| a < b), "stamps rise: {stamps:?}");
}

#[tokio::test]
async fn a_card_is_sold_loaded_and_spent() {
    let shop = Shop::opened().await;
    let sold = shop.sell(11, 10_000).await.approved();
    assert_eq!(sold["kind"], "card_sale");
    assert_eq!(sold["entry"], "S1-1-2");
    assert_eq!(sold["business_day"], "2026-11-22");
    shop.reload(11, 5_000).await.approved();
    let spent = shop.spend(T2, 11, 4_000).await.approved();
    assert_eq!(spent["balances"], json!([{"account": 11, "unit": "CNY", "available_here_minor": 11_000}]));
    let seen = shop.get(T2, &format!("/v1/cards/{}", number(11))).await;
    assert_eq!(seen.json["status"], "active");
    assert_eq!(seen.json["balances"][0]["available_here_minor"], 11_000);
    assert_eq!(kinds(&shop), ["day_open", "card_sale", "card_reload", "sale"]);
    assert_chain(&shop);
}

#[tokio::test]
async fn a_card_may_be_sold_empty() {
    let shop = Shop::opened().await;
    shop.sell(11, 0).await.approved();
    shop.reload(11, 100).await.approved();
    assert_eq!(shop.available(11), 100);
}

#[tokio::test]
async fn what_the_rules_refuse_moves_nothing() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let head = shop.store.head();
    shop.spend(T1, 1, 1_001).await.declined("insufficient");
    shop.sell(1, 100).await.declined("card_already_sold");
    shop.reload(11, 100).await.declined("card_not_active");
    shop.reload(1, 500_001).await.declined("load_limit");
    let voucher = json!({"currency": "CNY", "amount_minor": 5, "tenders": [{"tender": "voucher", "amount_minor": 5}]});
    shop.post(T1, &format!("/v1/cards/{}/reload", number(1)), &voucher).await.declined("tender_not_allowed");
    assert_eq!(shop.store.head(), head);
    assert_eq!(shop.available(1), 1_000);
}

#[tokio::test]
async fn before_the_day_opens_nothing_is_sold_and_a_card_can_be_frozen() {
    let shop = Shop::new().await;
    shop.sell(11, 100).await.declined("day_not_open");
    shop.post(T1, "/v1/day/close", &json!({})).await.declined("day_not_open");
    shop.get(T1, "/v1/day/x").await.problem(409, "day_not_open");
    let frozen =
        shop.post(T1, &format!("/v1/cards/{}/freeze", number(1)), &json!({"reason": "found"})).await.approved();
    assert_eq!(frozen["business_day"], Value::Null);
    let changes = shop.store.read(|tx| cards::status_changes_after(tx, 0, 10)).unwrap();
    assert_eq!(changes.len(), 1, "the hub is to be told");
    assert_eq!(changes[0].1.status, CardStatus::Frozen);
    shop.post(T1, "/v1/day/open", &json!({})).await.approved();
    shop.reload(1, 100).await.declined("card_frozen");
}

#[tokio::test]
async fn a_basket_is_paid_with_card_and_cash() {
    let shop = Shop::opened().await;
    shop.granted(1, 5_000).await;
    let basket = sale(&[line(3_000), line(4_000)], &[by_card(1, 5_000), cash(2_000)]);
    let done = shop.post(T1, "/v1/sales", &basket).await.approved();
    assert_eq!(done["invoiceable"], json!([{"tax_ppm": 130_000, "invoiceable_minor": 2_000}]), "only the cash part");
    assert_eq!(shop.available(1), 0);
}

#[tokio::test]
async fn two_lines_on_one_card_cannot_spend_the_same_cent() {
    let shop = Shop::opened().await;
    shop.granted(1, 100).await;
    let basket = sale(&[line(120)], &[by_card(1, 60), by_card(1, 60)]);
    shop.post(T1, "/v1/sales", &basket).await.declined("insufficient");
    assert_eq!(shop.available(1), 100);
}

#[tokio::test]
async fn value_comes_from_the_hub_when_it_is_short_here() {
    let shop = Shop::opened().await;
    {
        let mut world = shop.hub.world.lock().unwrap();
        world.cards.insert(card(1, CardStatus::Active).number, card(1, CardStatus::Active));
        world.free_minor.insert(account(1), 3_000);
        world.stamp = Some(Stamp(MORNING.0 + 50_000));
    }
    shop.spend(T1, 1, 2_500).await.approved();
    shop.spend(T1, 1, 500).await.approved();
    let questions = shop.hub.world.lock().unwrap().questions.clone();
    assert_eq!(questions.len(), 1, "what was granted beyond the need is used without asking");
    assert_eq!(questions[0][0].missing_minor, 2_500);
    assert_eq!(kinds(&shop), ["day_open", "allotment", "sale", "sale"]);
    let first = shop.store.read(|tx| entries::decoded(tx, Seq(2))).unwrap().unwrap();
    assert!(first.header.stamp > Stamp(MORNING.0 + 50_000), "what was granted is adopted after all that led to it");
    assert_chain(&shop);
}

#[tokio::test]
async fn all_cards_of_a_basket_are_asked_for_in_one_call() {
    let shop = Shop::opened().await;
    {
        let mut world = shop.hub.world.lock().unwrap();
        for n in [1, 2] {
            world.cards.insert(card(n, CardStatus::Active).number, card(n, CardStatus::Active));
            world.free_minor.insert(account(n), 1_000);
        }
    }
    let basket = sale(&[line(2_000)], &[by_card(1, 1_000), by_card(2, 1_000)]);
    shop.post(T1, "/v1/sales", &basket).await.approved();
    let questions = shop.hub.world.lock().unwrap().questions.clone();
    assert_eq!(questions.iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    assert_eq!(kinds(&shop), ["day_open", "allotment", "sale"], "one entry for both grants");
}

#[tokio::test]
async fn while_the_line_is_down_the_refusal_says_so_and_what_is_here_can_be_spent() {
    let shop = Shop::opened().await;
    shop.granted(1, 700).await;
    shop.hub.world.lock().unwrap().online = false;
    let refused = shop.spend(T1, 1, 800).await.declined("insufficient_here_offline");
    assert_eq!((&refused["available_here_minor"], &refused["needed_minor"]), (&json!(700), &json!(800)));
    shop.spend(T1, 1, 700).await.approved();
    shop.spend(T1, 99, 700).await.declined("unknown_card_offline");
    shop.get(T1, &format!("/v1/cards/{}", number(99))).await.problem(404, "unknown_card_offline");
    let asked = shop.get(T1, &format!("/v1/cards/{}?total=true", number(1))).await;
    assert_eq!((asked.status.as_u16(), &asked.json["total"]), (200, &Value::Null), "what is known here is shown");
}

#[tokio::test]
async fn a_head_office_that_waits_for_stores_is_believed_in_nothing_that_it_may_have_forgotten() {
    let shop = Shop::opened().await;
    shop.granted(1, 700).await;
    {
        let mut world = shop.hub.world.lock().unwrap();
        world.cards.insert(card(1, CardStatus::Active).number, card(1, CardStatus::Active));
        world.is_closed = true;
    }
    shop.spend(T1, 1, 800).await.declined("insufficient_here_offline");
    shop.spend(T1, 99, 700).await.declined("unknown_card_offline");
    shop.get(T1, &format!("/v1/cards/{}", number(99))).await.problem(404, "unknown_card_offline");
    let asked = shop.get(T1, &format!("/v1/cards/{}?total=true", number(1))).await;
    assert_eq!((asked.status.as_u16(), &asked.json["total"]), (200, &Value::Null), "nobody knows what is elsewhere");
    shop.hub.world.lock().unwrap().is_closed = false;
    let asked = shop.get(T1, &format!("/v1/cards/{}?total=true", number(1))).await;
    assert_ne!(asked.json["total"], Value::Null);
    shop.get(T1, &format!("/v1/cards/{}", number(99))).await.problem(404, "not_found");
}

#[tokio::test]
async fn value_parked_in_another_store_is_named() {
    let shop = Shop::opened().await;
    {
        let mut world = shop.hub.world.lock().unwrap();
        let card = card(1, CardStatus::Active);
        let (card, store) = (world.cards.entry(card.number).or_insert(card).number, "S2".parse().unwrap());
        world.elsewhere =
            vec![Elsewhere { card, store, held_minor: 900, last_seen_ms: Instant(5), state: PlaceState::Silent }];
    }
    let refused = shop.spend(T1, 1, 800).await.declined("held_elsewhere");
    assert_eq!(refused["elsewhere"][0]["store"], "S2");
    assert_eq!(refused["elsewhere"][0]["held_minor"], 900);
}

#[tokio::test]
async fn a_card_that_the_replica_does_not_know_is_fetched_and_served() {
    let shop = Shop::opened().await;
    {
        let mut world = shop.hub.world.lock().unwrap();
        world.cards.insert(card(50, CardStatus::Active).number, card(50, CardStatus::Active));
        world.free_minor.insert(account(50), 3_000);
        let blank = huitong_protocol::card::Card { allocated_store: None, ..card(51, CardStatus::Blank) };
        world.cards.insert(blank.number, blank);
    }
    shop.spend(T1, 50, 1_000).await.approved();
    shop.sell(51, 2_000).await.approved();
    shop.spend(T1, 52, 1_000).await.declined("unknown_card");
    let total = shop.get(T1, &format!("/v1/cards/{}?total=true", number(50))).await;
    assert_eq!(total.json["total"]["balance_minor"], 3_000);
    shop.get(T1, &format!("/v1/cards/{}", number(52))).await.problem(404, "not_found");
    assert_chain(&shop);
}

#[tokio::test]
async fn a_grant_that_no_hub_can_have_made_is_left_and_the_store_goes_on() {
    let shop = Shop::opened().await;
    shop.granted(2, 500).await;
    {
        let mut world = shop.hub.world.lock().unwrap();
        world.cards.insert(card(1, CardStatus::Active).number, card(1, CardStatus::Active));
        world.granted_minor.insert(account(1), i64::MAX);
    }
    shop.reload(1, 100).await.approved();
    shop.spend(T1, 1, 101).await.declined("insufficient");
    shop.spend(T1, 1, 100).await.approved();
    shop.spend(T1, 2, 500).await.approved();
}

#[tokio::test]
async fn the_last_cent_is_spent_once_however_many_tills_try() {
    let shop = Arc::new(Shop::opened().await);
    shop.granted(1, 1_001).await;
    shop.hub.world.lock().unwrap().online = false;
    let mut tills = tokio::task::JoinSet::new();
    for at in 0..64 {
        let shop = Arc::clone(&shop);
        tills.spawn(async move { shop.spend(if at % 2 == 0 { T1 } else { T2 }, 1, 100).await });
    }
    let replies = tills.join_all().await;
    let approved = replies.iter().filter(|reply| reply.json["decision"] == "approved").count();
    assert_eq!((approved, replies.len()), (10, 64));
    assert_eq!(shop.available(1), 1);
    assert_chain(&shop);
}

#[tokio::test]
async fn an_operation_is_undone_on_its_day_only() {
    let shop = Shop::opened().await;
    let sold = shop.sell(11, 10_000).await.approved();
    let spent = shop.spend(T1, 11, 4_000).await.approved();
    shop.void(&sold["entry"]).await.declined("already_spent");
    let undone = shop.void(&spent["operation"]).await.approved();
    assert_eq!(undone["refunds"][0]["amount_minor"], 4_000, "by the operation's own id as well");
    shop.void(&spent["entry"]).await.declined("already_voided");
    shop.void(&undone["entry"]).await.declined("not_voidable");
    shop.void(&json!("S1-1-999")).await.declined("receipt_unknown");
    shop.void(&json!("S2-1-2")).await.declined("receipt_unknown");
    shop.void(&sold["entry"]).await.approved();
    let seen = shop.get(T1, &format!("/v1/cards/{}", number(11))).await;
    assert_eq!((&seen.json["status"], shop.available(11)), (&json!("blank"), 0), "as if it had not been sold");

    let kept = shop.sell(11, 500).await.approved();
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    shop.void(&kept["entry"]).await.declined("day_not_open");
    shop.post(T1, "/v1/day/open", &json!({"business_day": "2026-11-23"})).await.approved();
    shop.void(&kept["entry"]).await.declined("not_of_open_day");
}

#[tokio::test]
async fn a_card_given_back_offline_is_sold_again_when_head_office_has_found_it_empty() {
    let shop = Shop::opened().await;
    shop.hub.world.lock().unwrap().online = false;
    let sold = shop.sell(11, 10_000).await.approved();
    shop.void(&sold["entry"]).await.approved();
    let look = format!("/v1/cards/{}", number(11));
    let seen = shop.get(T1, &look).await.json;
    assert_eq!((&seen["status"], shop.available(11)), (&json!("withdrawn"), 0));
    shop.sell(11, 500).await.declined("card_already_sold");
    let changes = shop.store.read(|tx| crate::store::card::status_changes_after(tx, 0, 10)).unwrap();
    let (_, change) = changes.last().unwrap();
    let found = huitong_protocol::card::Card { status_stamp: change.stamp, ..card(11, CardStatus::Blank) };
    shop.store.write(move |tx| crate::store::card::upsert_from_hub(tx, &found, Some(9))).await.unwrap();
    shop.sell(11, 500).await.approved();
}

#[tokio::test]
async fn a_card_that_paid_for_goods_is_not_given_back_before_they_are() {
    let shop = Shop::opened().await;
    let sold = shop.sell(11, 1_000).await.approved();
    let spent = shop.spend(T1, 11, 400).await.approved();
    shop.reload(11, 400).await.approved();
    shop.void(&sold["entry"]).await.declined("card_in_use");
    let back =
        json!({"receipt": spent["entry"], "items": [{"line": 0, "quantity_thousandths": 1_000}], "reason": "broken"});
    shop.post(T1, "/v1/returns", &back).await.approved();
    assert_eq!(shop.available(11), 1_400, "and nothing is lost");
}

#[tokio::test]
async fn the_journal_is_not_read_for_a_void_that_is_refused_without_it() {
    let shop = Shop::opened().await;
    let sold = shop.sell(11, 1_000).await.approved();
    shop.spend(T1, 11, 400).await.approved();
    let (undone, other) = (shop.sell(12, 500).await.approved(), shop.sell(13, 500).await.approved());
    shop.spend(T1, 12, 100).await.approved();
    // Whoever reads a sale now fails.
    let broken = |tx: &mut crate::store::WriteTx<'_>| {
        tx.execute("break the sales", "UPDATE entry SET bytes = x'00' WHERE kind = 'sale'", [])
    };
    shop.store.write(broken).await.unwrap();
    shop.void(&sold["entry"]).await.declined("already_spent");
    shop.void(&other["entry"]).await.approved();
    shop.void(&other["entry"]).await.declined("already_voided");
    shop.post(T1, &format!("/v1/cards/{}/freeze", number(12)), &json!({"reason": "found"})).await.approved();
    shop.void(&undone["entry"]).await.declined("card_frozen");
}

#[tokio::test]
async fn what_a_line_comes_to_may_be_left_to_the_store_and_is_checked_when_it_is_said() {
    let shop = Shop::opened().await;
    let mut goods = line(500);
    goods["markdowns"] = json!([{"amount_minor": 50, "reason": "dented"}]);
    goods["net_minor"] = json!(500);
    let fault = shop.post(T1, "/v1/sales", &sale(&[goods.clone()], &[cash(450)])).await.problem(422, "field_invalid");
    assert_eq!((&fault["field"], &fault["expected_minor"]), (&json!("lines[0].net_minor"), &json!(450)));
    drop(goods.as_object_mut().unwrap().remove("net_minor"));
    shop.post(T1, "/v1/sales", &sale(&[goods.clone()], &[cash(450)])).await.approved();
    goods["markdowns"][0]["amount_minor"] = json!(501);
    let fault = shop.post(T1, "/v1/sales", &sale(&[goods], &[])).await.problem(422, "field_invalid");
    assert_eq!(fault["field"], "lines[0].net_minor", "below zero");
}

#[tokio::test]
async fn goods_come_back_in_parts_and_the_card_is_whole_again_to_the_cent() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let mut odd = line(1_000);
    odd["quantity_thousandths"] = json!(3_000);
    let basket = sale(&[odd], &[by_card(1, 1_000)]);
    let receipt = shop.post(T1, "/v1/sales", &basket).await.approved()["entry"].clone();
    let back = |quantity: i64| json!({"receipt": receipt, "reason": "broken", "items": [{"line": 0, "quantity_thousandths": quantity}]});
    let mut amounts = Vec::new();
    for _ in 0..3 {
        let done = shop.post(T1, "/v1/returns", &back(1_000)).await.approved();
        amounts.push(done["refunds"][0]["amount_minor"].as_i64().unwrap());
    }
    assert_eq!((amounts.iter().sum::<i64>(), shop.available(1)), (1_000, 1_000), "{amounts:?}");
    shop.post(T1, "/v1/returns", &back(1)).await.declined("return_exceeds_sale");
    shop.void(&receipt).await.declined("already_returned");
    let other = json!({"receipt": "S2-1-5", "reason": "broken", "items": [{"line": 0, "quantity_thousandths": 1}]});
    shop.post(T1, "/v1/returns", &other).await.declined("receipt_unknown");
    assert_chain(&shop);
}

#[tokio::test]
async fn a_return_without_receipt_needs_policy_permission_and_stays_under_its_limit() {
    let shop = Shop::opened().await;
    let back = |amount: i64| json!({"card": number(1), "currency": "CNY", "amount_minor": amount, "reason": "gift"});
    shop.post(T2, "/v1/returns/unreferenced", &back(100)).await.declined("permission_denied");
    shop.post(T1, "/v1/returns/unreferenced", &back(20_001)).await.declined("without_receipt_limit");
    shop.post(T1, "/v1/returns/unreferenced", &back(20_000)).await.approved();
    assert_eq!(shop.available(1), 20_000);
}

#[tokio::test]
async fn a_day_is_opened_under_a_label_once_and_closed_with_its_seal() {
    let shop = Shop::opened().await;
    shop.post(T1, "/v1/day/open", &json!({})).await.declined("day_already_open");
    shop.sell(11, 10_000).await.approved();
    shop.spend(T1, 11, 4_000).await.approved();
    let x = shop.get(T1, "/v1/day/x").await.json;
    assert_eq!((&x["closed"], &x["first_seq"], &x["last_seq"]), (&json!(false), &json!(1), &json!(3)));
    let closed = shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    let z = shop.get(T1, "/v1/day/z?business_day=2026-11-22").await.json;
    assert_eq!(z["totals"], x["totals"], "X just before the close is Z");
    assert_eq!(closed["seal"]["totals"], z["totals"]);
    assert_eq!(z["totals"]["tenders"][0], json!({"tender": "cash", "count": 1, "in_minor": 10_000, "out_minor": 0}));
    assert_eq!(shop.get(T1, "/v1/day/z").await.json, z, "the last one when none is named");
    shop.get(T1, "/v1/day/z?business_day=2026-11-21").await.problem(404, "not_found");

    for used in ["2026-11-22", "2026-11-01"] {
        shop.post(T1, "/v1/day/open", &json!({"business_day": used})).await.declined("day_already_closed");
    }
    // An allotment between days is covered by the next seal.
    shop.granted(1, 50).await;
    shop.post(T1, "/v1/day/open", &json!({"business_day": "2026-11-23"})).await.approved();
    let seal = shop.post(T1, "/v1/day/close", &json!({})).await.approved()["seal"].clone();
    assert_eq!(seal["first_seq"], 5, "the one after the seal before");
    assert_eq!(seal["totals"]["entries"], 2);
    assert_chain(&shop);
}

#[tokio::test]
async fn an_unlabelled_day_is_that_of_the_wall_clock_after_the_rollover_hour() {
    let hour = 3_600_000;
    // 03:59 on 23 November is still the 22nd where the day rolls over at four.
    for (wound_ms, day) in [(18 * hour - 60_000, "2026-11-22"), (18 * hour, "2026-11-23")] {
        let shop = Shop::new().await;
        shop.clock.wind(wound_ms);
        assert_eq!(shop.post(T1, "/v1/day/open", &json!({})).await.approved()["business_day"], day);
    }
}

#[tokio::test]
async fn after_a_restart_the_store_goes_on_where_it_was() {
    let shop = Shop::opened().await;
    shop.sell(11, 10_000).await.approved();
    let (head, change_no) = (shop.store.head(), shop.store.committed().change_no);
    let shop = shop.restart();
    let committed = shop.store.committed();
    assert_eq!((committed.head, committed.change_no), (head, change_no));
    assert_eq!(committed.open_day.unwrap().to_string(), "2026-11-22");
    shop.spend(T1, 11, 4_000).await.approved();
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    let shop = shop.restart();
    assert_eq!(shop.store.committed().closed_day.unwrap().to_string(), "2026-11-22");
    assert_eq!(shop.store.committed().sealed_seq, shop.store.head().seq);
    shop.post(T1, "/v1/day/open", &json!({})).await.declined("day_already_closed");
    assert_chain(&shop);
}

#[tokio::test]
async fn what_the_clock_says_never_reorders_the_store() {
    let shop = Shop::opened().await;
    shop.reload(1, 100).await.approved();
    shop.clock.wind(-3_600_000);
    shop.reload(1, 100).await.approved();
    assert_chain(&shop);
}

#[tokio::test]
async fn a_freeze_is_later_than_what_it_changes_however_slow_the_clock_is() {
    let shop = Shop::opened().await;
    // Head office set the card's status an hour after this machine's idea of the time, and the store was restarted since.
    let stamp = Stamp(MORNING.0 + 3_600_000);
    let told = huitong_protocol::card::Card { status_stamp: stamp, ..card(1, CardStatus::Active) };
    shop.store.write(move |tx| cards::upsert_from_hub(tx, &told, None)).await.unwrap();
    let shop = shop.restart();
    shop.post(T1, &format!("/v1/cards/{}/freeze", number(1)), &json!({"reason": "lost"})).await.approved();
    let frozen = shop.store.read(|tx| cards::find(tx, card(1, CardStatus::Active).number)).unwrap().unwrap();
    assert_eq!((frozen.status, frozen.status_stamp), (CardStatus::Frozen, Stamp(stamp.0 + 1)));
    assert_chain(&shop);
}

#[tokio::test]
async fn a_far_business_day_needs_to_be_meant() {
    let open = |day: &str| json!({"business_day": day});
    let confirmed = |day: &str| json!({"business_day": day, "far_business_day_confirmed": true});
    // A new store has nothing but its clock, which says 22 November 2026.
    let shop = Shop::new().await;
    let (key, head) = (shop.key(), shop.store.head());
    let refused =
        shop.post_with(T1, "/v1/day/open", &key, open("2062-11-22").to_string()).await.problem(422, "field_invalid");
    assert_eq!(refused["field"], "business_day");
    for words in ["2062-11-22", "the clock of this machine says 2026-11-22", "far_business_day_confirmed"] {
        assert!(refused["detail"].as_str().unwrap().contains(words), "{refused}");
    }
    shop.post(T1, "/v1/day/open", &open("2026-11-24")).await.problem(422, "field_invalid");
    assert_eq!((shop.store.head(), shop.store.committed().open_day), (head, None), "nothing was stored");
    // The key is free for the day that was meant.
    shop.post_with(T1, "/v1/day/open", &key, open("2026-11-23").to_string()).await.approved();
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();

    // With a dead clock: as far as a month from the last day without a word, further when somebody means it.
    shop.clock.wind(-20 * 365 * 86_400_000);
    shop.post(T1, "/v1/day/open", &open("2026-12-25")).await.problem(422, "field_invalid");
    shop.post(T1, "/v1/day/open", &open("2026-12-24")).await.approved();
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    let refused = shop.post(T1, "/v1/day/open", &open("2027-03-01")).await.problem(422, "field_invalid");
    assert!(refused["detail"].as_str().unwrap().contains("last closed day is 2026-12-24"), "{refused}");
    shop.post(T1, "/v1/day/open", &confirmed("2027-03-01")).await.approved();
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    shop.post(T1, "/v1/day/open", &confirmed("2027-03-01")).await.declined("day_already_closed");

    // With a good clock, after a long closure: nobody has to confirm what the clock says.
    let shop = Shop::opened().await;
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    shop.clock.wind(200 * 86_400_000);
    shop.post(T1, "/v1/day/open", &json!({})).await.approved();
    // A new store whose clock is dead.
    let shop = Shop::new().await;
    shop.clock.wind(-20 * 365 * 86_400_000);
    shop.post(T1, "/v1/day/open", &open("2026-11-22")).await.problem(422, "field_invalid");
    shop.post(T1, "/v1/day/open", &confirmed("2026-11-22")).await.approved();
}

#[tokio::test]
async fn a_grant_that_could_not_be_stored_is_asked_about_again() {
    let shop = Arc::new(Shop::opened().await);
    {
        let mut world = shop.hub.world.lock().unwrap();
        world.cards.insert(card(1, CardStatus::Active).number, card(1, CardStatus::Active));
        world.free_minor.insert(account(1), 500);
    }
    let held = shop.hub.gate.lock().await;
    let waiting = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.spend(T1, 1, 500).await }
    });
    shop.hub.asked.notified().await;
    shop.store.close();
    drop(held);
    waiting.await.unwrap().problem(503, "storage");
    assert_eq!(shop.hub.world.lock().unwrap().lost, [purse(1)]);
}

#[tokio::test]
async fn released_value_is_gone_here_and_the_report_says_so() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let before = shop.store.committed().change_no;
    let released =
        shop.store.write(|tx| allotment::release(tx, MORNING, &[(purse(1), 5_000), (purse(2), 1)])).await.unwrap();
    assert!(released.is_some());
    let again = shop.store.write(|tx| allotment::release(tx, MORNING, &[(purse(1), 1)])).await.unwrap();
    assert_eq!(again, None, "nothing is left to release, and nothing is written");
    let lines = shop.store.read(|tx| allotment::changed_after(tx, before, 10)).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].1.counters.released_minor, 1_000, "no more than there was");
    let entry = shop.store.read(|tx| entries::decoded(tx, shop.store.head().seq)).unwrap().unwrap();
    let Body::Allotment(body) = entry.body else { panic!("{:?}", entry.body) };
    assert_eq!(body.changes.len(), 1);
    shop.hub.world.lock().unwrap().online = false;
    shop.spend(T1, 1, 1).await.declined("insufficient_here_offline");
}
