//! Holds as a shop knows them, through the till's API: set aside, captured once, released, over.

use std::sync::Arc;

use huitong_protocol::card::CardStatus;
use huitong_protocol::entry::{Body, Entry};
use huitong_protocol::id::Seq;
use huitong_protocol::time::Instant;
use serde_json::{Value, json};

use super::testing::*;
use crate::store::{StoreError, allotment, card as cards, journal, operation, setting};

const HALF_AN_HOUR_S: i64 = 1_800;
/// After this such a hold is over: entries of one instant move the guarded clock on by a millisecond each.
const OVER_MS: i64 = HALF_AN_HOUR_S * 1_000 + 1_000;

fn place(n: i64, amount_minor: i64) -> Value {
    json!({"card": number(n), "currency": "CNY", "amount_minor": amount_minor, "expires_in_s": HALF_AN_HOUR_S})
}

fn by_hold(n: i64, amount_minor: i64, hold: &Value) -> Value {
    json!({"tender": "stored_value", "amount_minor": amount_minor, "card": number(n), "hold": hold})
}

fn capture(n: i64, amount_minor: i64, hold: &Value) -> Value {
    sale(&[line(amount_minor)], &[by_hold(n, amount_minor, hold)])
}

impl Shop {
    async fn hold(&self, n: i64, amount_minor: i64) -> Value {
        self.post(T1, "/v1/holds", &place(n, amount_minor)).await.approved()["hold"].clone()
    }

    async fn release(&self, hold: &Value) -> Reply {
        let path = format!("/v1/holds/{}/release", hold["id"].as_str().unwrap());
        self.post(T2, &path, &json!({"reason": "nobody came"})).await
    }

    async fn told(&self, hold: &Value) -> Value {
        self.get(T2, &format!("/v1/holds/{}", hold["id"].as_str().unwrap())).await.json
    }

    fn held(&self, n: i64) -> i64 {
        self.store.read(|tx| allotment::get(tx, purse(n))).unwrap().held_minor
    }

    /// The balances that a look at the card shows.
    async fn seen(&self, n: i64) -> (i64, i64) {
        let balance = self.get(T1, &format!("/v1/cards/{}", number(n))).await.json["balances"][0].clone();
        (balance["available_here_minor"].as_i64().unwrap(), balance["held_minor"].as_i64().unwrap_or(0))
    }

    /// The bodies of the journal's entries that are about holds.
    fn hold_kinds(&self) -> Vec<String> {
        let all = self.store.read(|tx| journal::entries_after(tx, Seq::ZERO, 10_000, usize::MAX)).unwrap();
        let bodies = all.iter().map(|entry| Entry::decode(&entry.bytes).unwrap().body);
        bodies
            .filter_map(|body| match body {
                Body::Hold(hold) => Some(format!("hold {}", hold.amount_minor)),
                Body::HoldEnd(end) => Some(format!("{:?} {}", end.reason, end.amount_minor).to_lowercase()),
                _ => None,
            })
            .collect()
    }
}

#[tokio::test]
async fn a_hold_sets_aside_and_its_sale_gives_back_the_rest() {
    let shop = Shop::opened().await;
    shop.granted(1, 10_000).await;
    let answer = shop.post(T1, "/v1/holds", &place(1, 9_000)).await.approved();
    let hold = &answer["hold"];
    assert_eq!((&hold["id"], &hold["state"], &answer["kind"]), (&answer["operation"], &json!("open"), &json!("hold")));
    assert_eq!(
        hold["expires_at_ms"].as_i64().unwrap() - hold["placed_at_ms"].as_i64().unwrap(),
        HALF_AN_HOUR_S * 1_000
    );
    assert_eq!(
        answer["balances"],
        json!([{"account": 1, "unit": "CNY", "available_here_minor": 1_000, "held_minor": 9_000}])
    );
    assert_eq!(shop.seen(1).await, (1_000, 9_000));
    let refused = shop.spend(T2, 1, 1_001).await.declined("held");
    assert_eq!((&refused["held_minor"], &refused["available_here_minor"]), (&json!(9_000), &json!(1_000)));
    // The sale captures, and takes more of the same card by another tender.
    let tenders = [by_hold(1, 6_000, &hold["id"]), by_card(1, 500)];
    let sold = shop.post(T2, "/v1/sales", &sale(&[line(6_500)], &tenders)).await.approved();
    assert_eq!(sold["balances"], json!([{"account": 1, "unit": "CNY", "available_here_minor": 3_500}]));
    let told = shop.told(hold).await;
    assert_eq!(
        (&told["state"], &told["captured_minor"], &told["ended_by"]),
        (&json!("captured"), &json!(6_000), &sold["entry"])
    );
    for id in [&answer["operation"], &answer["entry"]] {
        let look = shop.get(T2, &format!("/v1/operations/{}", id.as_str().unwrap())).await.json;
        assert_eq!(look, json!({"state": "decided", "outcome": answer}));
    }
    // Undone, the value is the card's; the hold stays ended.
    shop.void(&sold["entry"]).await.approved();
    assert_eq!((shop.seen(1).await, &shop.told(hold).await["state"]), ((10_000, 0), &json!("captured")));
    shop.post(T1, "/v1/sales", &capture(1, 1, &hold["id"])).await.declined("hold_ended");
    shop.void(&answer["entry"]).await.declined("not_voidable");
}

#[tokio::test]
async fn two_tills_at_once_get_the_last_cent_once() {
    let shop = Arc::new(Shop::opened().await);
    shop.granted(1, 100).await;
    let hold = shop.hold(1, 100).await;
    let (mut held, mut spent) = (0, 0);
    let bodies: Vec<(&str, Value)> = vec![
        ("/v1/sales", capture(1, 100, &hold["id"])),
        ("/v1/sales", capture(1, 1, &hold["id"])),
        ("/v1/sales", sale(&[line(1)], &[by_card(1, 1)])),
        ("/v1/holds", place(1, 1)),
        ("/v1/sales", capture(1, 100, &hold["id"])),
    ];
    let tasks: Vec<_> = bodies
        .into_iter()
        .zip([T1, T2, T1, T2, T1])
        .map(|((path, body), till)| {
            let (shop, path) = (Arc::clone(&shop), path.to_owned());
            tokio::spawn(async move { shop.post(till, &path, &body).await.json })
        })
        .collect();
    for task in tasks {
        let answer = task.await.unwrap();
        match (answer["decision"].as_str(), answer["kind"].as_str()) {
            (Some("approved"), Some("sale")) => spent += 1,
            (Some("approved"), Some("hold")) => held += 1,
            _ => {}
        }
    }
    // Whichever capture came first ended the hold; what one of a single cent left over, the others may have had.
    let told = shop.told(&hold).await;
    assert_eq!(told["state"], "captured");
    let left = shop.store.read(|tx| allotment::get(tx, purse(1))).unwrap();
    assert!(left.available() >= 0 && left.held_minor == held, "{left:?}");
    assert!((1..=2).contains(&spent), "one capture, and at most the sale of a cent that it left");
    assert!(left.counters.spent_minor <= 100, "{left:?}");
}

#[tokio::test]
async fn every_operation_has_one_effect_however_often_it_is_sent() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let placed = (shop.key(), place(1, 400).to_string());
    let first = shop.post_with(T1, "/v1/holds", &placed.0, placed.1.clone()).await;
    let shop = shop.restart();
    for _ in 0..3 {
        let again = shop.post_with(T1, "/v1/holds", &placed.0, placed.1.clone()).await;
        assert_eq!(again.bytes, first.bytes);
        assert_eq!(again.headers["idempotency-replayed"], "true");
    }
    assert_eq!((shop.held(1), shop.available(1)), (400, 600), "it survives a restart, and is one");
    let hold = first.json["hold"].clone();
    let other = shop.hold(1, 100).await;
    let (path, reason) = (format!("/v1/holds/{}/release", other["id"].as_str().unwrap()), json!({"reason": "no"}));
    let key = shop.key();
    let released = shop.post_with(T2, &path, &key, reason.to_string()).await;
    assert_eq!(shop.post_with(T2, &path, &key, reason.to_string()).await.bytes, released.bytes);
    assert_eq!(released.approved()["hold"]["state"], "released");
    shop.release(&other).await.declined("hold_ended");
    let (key, body) = (shop.key(), capture(1, 400, &hold["id"]).to_string());
    let captured = shop.post_with(T1, "/v1/sales", &key, body.clone()).await;
    assert_eq!(shop.post_with(T1, "/v1/sales", &key, body).await.bytes, captured.bytes);
    captured.approved();
    assert_eq!((shop.held(1), shop.available(1)), (0, 600));
    assert_eq!(shop.hold_kinds(), ["hold 400", "hold 100", "released 100"]);
    shop.post_with(T1, "/v1/holds", &placed.0, place(1, 401).to_string()).await.problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_hold_that_is_over_pays_nothing_and_no_clock_brings_it_back() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let hold = shop.hold(1, 900).await;
    shop.clock.wind(HALF_AN_HOUR_S * 1_000 - 1);
    shop.spend(T1, 1, 101).await.declined("held");
    shop.clock.wind(OVER_MS - HALF_AN_HOUR_S * 1_000 + 1);
    assert_eq!(
        (shop.seen(1).await, &shop.told(&hold).await["state"]),
        ((1_000, 0), &json!("expired")),
        "told before it is met"
    );
    shop.post(T2, "/v1/sales", &capture(1, 900, &hold["id"])).await.declined("hold_ended");
    assert_eq!(shop.hold_kinds(), ["hold 900", "expired 900"], "whoever met it ended it");
    shop.clock.wind(-OVER_MS);
    shop.post(T2, "/v1/sales", &capture(1, 900, &hold["id"])).await.declined("hold_ended");
    shop.spend(T1, 1, 1_000).await.approved();
    let told = shop.told(&hold).await;
    assert_eq!((&told["state"], told["ended_by"].is_null()), (&json!("expired"), false));
}

#[tokio::test]
async fn whoever_needs_the_value_of_a_hold_that_is_over_gets_it() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    shop.hold(1, 900).await;
    shop.clock.wind(OVER_MS);
    shop.spend(T1, 1, 1_000).await.approved();
    // Undone loads and new holds meet it as well.
    let reloaded = shop.reload(2, 500).await.approved();
    shop.hold(2, 500).await;
    shop.void(&reloaded["entry"]).await.declined("held");
    shop.clock.wind(OVER_MS);
    shop.void(&reloaded["entry"]).await.approved();
    shop.granted(3, 200).await;
    shop.hold(3, 200).await;
    shop.post(T1, "/v1/holds", &place(3, 200)).await.declined("held");
    shop.clock.wind(OVER_MS);
    shop.hold(3, 200).await;
    assert_eq!((shop.held(1), shop.held(2), shop.held(3)), (0, 0, 200));
}

#[tokio::test]
async fn the_job_ends_what_nobody_meets() {
    let shop = Shop::opened().await;
    for n in 1..=3 {
        shop.granted(n, 1_000).await;
        shop.hold(n, 100).await;
    }
    assert_eq!(shop.ledger.end_due_holds(crate::clock::Clock::now(&*shop.clock)).await.unwrap(), 0);
    shop.clock.wind(OVER_MS);
    assert_eq!(shop.ledger.end_due_holds(crate::clock::Clock::now(&*shop.clock)).await.unwrap(), 3);
    assert_eq!((1..=3).map(|n| (shop.held(n), shop.available(n))).collect::<Vec<_>>(), [(0, 1_000); 3]);
}

#[tokio::test]
async fn a_hold_that_is_placed_again_after_its_answer_is_gone_is_the_same() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let (key, asked) = (shop.key(), place(1, 900).to_string());
    let first = shop.post_with(T1, "/v1/holds", &key, asked.clone()).await.approved();
    let forget = shop.store.write(|tx| operation::purge(tx, Instant(i64::MAX), 100));
    let forgotten: Result<usize, StoreError> = forget.await;
    assert!(forgotten.unwrap() > 0);
    for _ in 0..2 {
        let again = shop.post_with(T1, "/v1/holds", &key, asked.clone()).await.approved();
        for field in ["operation", "entry", "kind", "business_day", "at_ms", "hold", "balances"] {
            assert_eq!(again[field], first[field], "{field}");
        }
    }
    assert_eq!((shop.held(1), shop.hold_kinds()), (900, vec!["hold 900".to_owned()]));
    shop.post_with(T1, "/v1/holds", &key, place(1, 901).to_string()).await.problem(422, "idempotency_key_reused");
    shop.post_with(T2, "/v1/holds", &key, asked).await.problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_hold_that_cannot_end_is_named_and_holds_up_nobody() {
    let shop = Shop::opened().await;
    for n in 1..=4 {
        shop.granted(n, 1_000).await;
        shop.hold(n, 100).await;
    }
    let damaged = shop.store.write(|tx| {
        tx.execute("damage rows", "UPDATE allotment SET held_minor = 100 - account WHERE account IN (1, 4)", ())
    });
    let rows: Result<usize, StoreError> = damaged.await;
    assert_eq!(rows.unwrap(), 2);
    shop.clock.wind(OVER_MS);
    for ended in [2, 0] {
        assert_eq!(shop.ledger.end_due_holds(crate::clock::Clock::now(&*shop.clock)).await.unwrap(), ended);
    }
    assert_eq!((1..=4).map(|n| shop.held(n)).collect::<Vec<_>>(), [99, 0, 0, 96]);
    let alarms = shop.store.read(setting::alarms).unwrap();
    let names_both = |words: &String| ["account 1 in", "account 4 in"].iter().all(|account| words.contains(account));
    assert!(matches!(&alarms[..], [one] if names_both(one)), "{alarms:?}");
    // Their tills are answered as well, and what is said stays.
    for n in [1, 4] {
        shop.spend(T1, n, 500).await.approved();
        assert_eq!(shop.store.read(setting::alarms).unwrap(), alarms);
    }
}

#[tokio::test]
async fn a_clock_that_lost_the_time_makes_no_promise_that_ends_before_it_begins() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    shop.clock.wind(-20 * 365 * 24 * 3_600_000);
    let hold = shop.hold(1, 900).await;
    shop.clock.wind(20 * 365 * 24 * 3_600_000);
    shop.post(T2, "/v1/sales", &capture(1, 900, &hold["id"])).await.approved();
}

#[tokio::test]
async fn what_is_held_is_neither_recalled_nor_released() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let hold = shop.hold(1, 900).await;
    let give_back = async |shop: &Shop| {
        shop.store.write(|tx| allotment::release(tx, MORNING, &[(purse(1), i64::MAX)])).await.unwrap();
    };
    give_back(&shop).await;
    let left = shop.store.read(|tx| allotment::get(tx, purse(1))).unwrap();
    assert_eq!((left.counters.released_minor, left.held_minor, left.available_minor()), (100, 900, 0));
    give_back(&shop).await;
    shop.post(T1, "/v1/sales", &capture(1, 900, &hold["id"])).await.approved();
    assert_eq!(shop.available(1), 0);
}

#[tokio::test]
async fn a_hold_asks_head_office_as_a_sale_does_and_its_capture_never() {
    let shop = Shop::opened().await;
    {
        let mut world = shop.hub.world.lock().unwrap();
        world.cards.insert(card(1, CardStatus::Active).number, card(1, CardStatus::Active));
        world.free_minor.insert(account(1), 3_000);
    }
    let hold = shop.hold(1, 2_500).await;
    shop.hub.world.lock().unwrap().online = false;
    shop.post(T1, "/v1/holds", &place(1, 501)).await.declined("held");
    shop.post(T1, "/v1/holds", &place(1, 3_001)).await.declined("insufficient_here_offline");
    let questions = shop.hub.world.lock().unwrap().questions.len();
    // Lost since then, and even gone from the replica's use: it was promised when it was good.
    let lost = huitong_protocol::card::Card {
        status_stamp: huitong_protocol::time::Stamp(i64::MAX >> 1),
        ..card(1, CardStatus::Lost)
    };
    shop.store.write(move |tx| cards::upsert_from_hub(tx, &lost, None)).await.unwrap();
    shop.post(T1, "/v1/holds", &place(1, 1)).await.declined("card_lost");
    shop.spend(T1, 1, 1).await.declined("card_lost");
    shop.post(T2, "/v1/sales", &capture(1, 2_500, &hold["id"])).await.approved();
    assert_eq!(shop.hub.world.lock().unwrap().questions.len(), questions, "nobody was asked");
}

#[tokio::test]
async fn holds_stay_open_over_a_close_and_are_listed() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let (first, second) = (shop.hold(1, 300).await, shop.hold(1, 200).await);
    shop.release(&second).await.approved();
    let closed = shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    assert_eq!(closed["open_holds"], json!([first]));
    let status = shop.get(T1, "/v1/status").await.json;
    assert_eq!(status["holds"], json!({"open": 1, "held_minor": 300, "next_expires_at_ms": first["expires_at_ms"]}));
    let shop = shop.restart();
    let ids = async |path: String| {
        let listed = shop.get(T2, &path).await.json;
        listed.as_array().unwrap().iter().map(|hold| hold["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids("/v1/holds".to_owned()).await, [first["id"].clone()]);
    assert_eq!(ids(format!("/v1/holds?card={}", number(1))).await, [second["id"].clone(), first["id"].clone()]);
    shop.get(T1, &format!("/v1/holds?card={}", number(99))).await.problem(404, "not_found");
    shop.get(T1, "/v1/holds?card=x").await.problem(422, "field_invalid");
    shop.get(T1, &format!("/v1/holds/{}", shop.key())).await.problem(404, "not_found");
    let by_entry = shop.get(T1, &format!("/v1/holds/{}", first["entry"].as_str().unwrap())).await.json;
    assert_eq!(by_entry, first);
    // Nothing is sold in a closed store; a promise can be taken back.
    shop.post(T1, "/v1/holds", &place(1, 1)).await.declined("day_not_open");
    shop.release(&first).await.approved();
    assert_eq!(shop.available(1), 1_000);
}

#[tokio::test]
async fn a_request_that_is_not_right_says_which_field() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    for (field, value) in [
        ("amount_minor", json!(0)),
        ("expires_in_s", json!(0)),
        ("expires_in_s", json!(40_000_000)),
        ("currency", json!("EUR")),
    ] {
        let mut body = place(1, 100);
        body[field] = value;
        let problem = shop.post(T1, "/v1/holds", &body).await.problem(422, "field_invalid");
        assert_eq!(problem["field"], field);
    }
    shop.post(T1, &format!("/v1/holds/{}/release", shop.key()), &json!({"reason": "x"})).await.declined("hold_unknown");
    shop.post(T1, "/v1/sales", &capture(1, 5, &json!(shop.key()))).await.declined("hold_unknown");
    let hold = shop.hold(1, 100).await;
    shop.post(T1, "/v1/sales", &capture(1, 101, &hold["id"])).await.declined("hold_exceeded");
    let load = json!({"currency": "CNY", "amount_minor": 5, "tenders": [{"tender": "cash", "amount_minor": 5, "hold": hold["id"]}]});
    let problem = shop.post(T1, &format!("/v1/cards/{}/reload", number(1)), &load).await.problem(422, "field_invalid");
    assert_eq!(problem["field"], "tenders[0].hold");
    assert_eq!(shop.held(1), 100);
}

#[tokio::test]
async fn a_quarantined_store_captures_nothing_and_judges_no_hold() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let hold = shop.hold(1, 900).await;
    let keeper = Arc::clone(shop.store.continuity());
    keeper.quarantine(&shop.store, "an old copy was put back".to_owned(), None, MORNING).await.unwrap();
    shop.clock.wind(OVER_MS);
    shop.post(T1, "/v1/sales", &capture(1, 900, &hold["id"])).await.declined("value_quarantined");
    shop.release(&hold).await.declined("value_quarantined");
    assert_eq!(shop.ledger.end_due_holds(crate::clock::Clock::now(&*shop.clock)).await.unwrap(), 0);
    assert_eq!(shop.hold_kinds(), ["hold 900"]);
}
