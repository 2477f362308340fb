//! The API's promises that are not about trading: one effect per key, the witness, who may ask, and what hostile input meets.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use huitong_protocol::card::CardStatus;
use huitong_protocol::id::TerminalId;
use huitong_protocol::wire::DayVerdict;
use serde_json::{Value, json};

use crate::ledger::testing::*;
use crate::store::{StoreError, day, replica, setting, till};
use crate::till::Permissions;

fn post(till: u8, path: &str, key: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header("authorization", format!("Bearer {}", token(till).reveal()))
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn an_operation_has_one_effect_and_one_answer_however_often_it_is_sent() {
    let shop = Shop::opened().await;
    let path = format!("/v1/cards/{}/reload", number(1));
    let (key, body) = (shop.key(), load(700).to_string());
    let first = shop.post_with(T1, &path, &key, body.clone()).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let head = shop.store.head();
    let shop = shop.restart();
    for _ in 0..4 {
        let again = shop.post_with(T1, &path, &key, body.clone()).await;
        assert_eq!(again.bytes, first.bytes, "byte by byte");
        assert_eq!(again.headers["idempotency-replayed"], "true");
    }
    assert_eq!((shop.store.head(), shop.available(1)), (head, 700));
    shop.post_with(T1, &path, &key, load(701).to_string()).await.problem(422, "idempotency_key_reused");
    shop.post_with(T2, &path, &key, body.clone()).await.problem(422, "idempotency_key_reused");
    let other = format!("/v1/cards/{}/reload", number(2));
    shop.post_with(T1, &other, &key, body).await.problem(422, "idempotency_key_reused");
    assert_eq!((shop.store.head(), shop.available(1), shop.available(2)), (head, 700, 0));
}

#[tokio::test]
async fn a_refusal_is_an_answer_that_stays() {
    let shop = Shop::opened().await;
    let (key, body) = (shop.key(), sale(&[line(100)], &[by_card(1, 100)]).to_string());
    let first = shop.post_with(T1, "/v1/sales", &key, body.clone()).await;
    shop.granted(1, 1_000).await;
    let again = shop.post_with(T1, "/v1/sales", &key, body).await;
    assert_eq!(again.bytes, first.bytes);
    again.declined("insufficient");
    assert_eq!(shop.available(1), 1_000);
}

#[tokio::test]
async fn sentences_are_in_the_language_of_who_reads_them_and_codes_are_not() {
    let shop = Shop::opened().await;
    let (key, body) = (shop.key(), sale(&[line(100)], &[by_card(1, 100)]).to_string());
    let ask = async |language: &str| {
        let mut request = post(T1, "/v1/sales", &key, &body);
        if !language.is_empty() {
            request.headers_mut().insert("accept-language", language.parse().unwrap());
        }
        shop.send(request).await
    };
    let english = ask("").await;
    assert_eq!(
        (&english.json["message"], &english.headers["content-language"]),
        (&json!("the balance is not enough"), &"en".parse().unwrap())
    );
    let chinese = ask("fr, zh-CN;q=0.8, en;q=0.2").await;
    assert_eq!(chinese.headers["content-language"], "zh-CN");
    assert_eq!(chinese.headers["idempotency-replayed"], "true", "one effect, each reader's words");
    assert!(chinese.json["message"].as_str().unwrap().contains("余额不足"), "{}", chinese.json);
    let (mut one, mut other) = (english.json.clone(), chinese.json.clone());
    (one["message"], other["message"]) = (json!(""), json!(""));
    assert_eq!(one, other);
    assert_eq!(ask("fr").await.bytes, english.bytes, "who reads neither gets the store's");

    let mut look = Request::get(format!("/v1/operations/{key}")).body(Body::empty()).unwrap();
    look.headers_mut().insert("authorization", format!("Bearer {}", token(T1).reveal()).parse().unwrap());
    look.headers_mut().insert("accept-language", "zh".parse().unwrap());
    assert_eq!(shop.send(look).await.json["outcome"], chinese.json);

    let mut faulty = post(T1, "/v1/sales", &shop.key(), "{}");
    faulty.headers_mut().insert("accept-language", "zh-CN".parse().unwrap());
    let reply = shop.send(faulty).await;
    assert_eq!((&reply.headers["content-language"], reply.witness().is_empty()), (&"zh-CN".parse().unwrap(), false));
    let problem = reply.problem(422, "field_invalid");
    assert!(problem["title"].as_str().unwrap().contains("字段") && !problem["action"].as_str().unwrap().is_empty());
    assert_eq!(problem["field"], "currency", "{problem}");
}

#[tokio::test]
async fn an_operation_that_waits_for_the_hub_is_in_flight_and_then_answers_once() {
    let shop = Arc::new(Shop::opened().await);
    {
        let mut world = shop.hub.world.lock().unwrap();
        world.cards.insert(card(1, CardStatus::Active).number, card(1, CardStatus::Active));
        world.free_minor.insert(account(1), 100);
    }
    let (key, body) = (shop.key(), sale(&[line(100)], &[by_card(1, 100)]).to_string());
    let held = shop.hub.gate.lock().await;
    let first = tokio::spawn({
        let (shop, key, body) = (Arc::clone(&shop), key.clone(), body.clone());
        async move { shop.post_with(T1, "/v1/sales", &key, body).await }
    });
    shop.hub.asked.notified().await;
    let second = shop.post_with(T1, "/v1/sales", &key, body.clone()).await;
    assert_eq!(second.headers["retry-after"], "1");
    second.problem(409, "in_flight");
    shop.get(T1, &format!("/v1/operations/{key}")).await.problem(409, "in_flight");
    // Other operations do not wait for it.
    shop.reload(2, 100).await.approved();
    drop(held);
    let first = first.await.unwrap();
    assert_eq!(shop.post_with(T1, "/v1/sales", &key, body).await.bytes, first.bytes);
    first.approved();
    assert_eq!(shop.available(1), 0);
}

#[tokio::test]
async fn an_operation_can_be_looked_up_by_key_and_by_receipt() {
    let shop = Shop::opened().await;
    let done = shop.reload(1, 100).await.approved();
    for id in [&done["operation"], &done["entry"]] {
        let look = shop.get(T2, &format!("/v1/operations/{}", id.as_str().unwrap())).await.json;
        assert_eq!(look, json!({"state": "decided", "outcome": done}));
    }
    for id in [shop.key(), "S1-1-99".to_owned(), "S9-1-1".to_owned()] {
        assert_eq!(shop.get(T2, &format!("/v1/operations/{id}")).await.json, json!({"state": "unknown"}));
    }
    shop.get(T2, "/v1/operations/what").await.problem(422, "field_invalid");
}

#[tokio::test]
async fn every_answer_carries_the_witness_of_what_it_tells() {
    let shop = Shop::opened().await;
    let done = shop.reload(1, 100).await;
    let head = shop.store.head();
    assert_eq!(done.witness(), format!("S1:1:{}:{}", head.seq, head.hash));
    let seen = [
        shop.get(T1, "/v1/status").await,
        shop.spend(T1, 1, 999).await,
        shop.get(T1, "/v1/nothing").await,
        shop.post_with(T1, "/v1/sales", "x", "{").await,
    ];
    assert!(seen.iter().all(|reply| reply.witness() == done.witness()), "refusals and problems too");
}

#[tokio::test]
async fn a_till_that_has_seen_more_than_the_store_remembers_stops_value_and_nothing_else() {
    let shop = Shop::opened().await;
    let early = shop.reload(1, 100).await.witness();
    shop.reload(1, 100).await.approved();
    let latest = shop.get(T1, "/v1/status").await.witness();
    let show = |witness: &str| {
        let mut request = post(T1, "/v1/sales", &shop.key(), &sale(&[line(5)], &[cash(5)]).to_string());
        request.headers_mut().insert("huitong-witness", witness.parse().unwrap());
        request
    };
    for good in [&early, &latest] {
        shop.send(show(good)).await.approved();
    }
    assert_eq!(shop.get(T1, "/v1/status").await.json["alarms"], json!([]));
    let head = shop.store.head();
    let hash = head.hash.to_string();
    let unseen = [
        format!("S1:1:{}:{hash}", head.seq.next()),
        format!("S1:2:{}:{hash}", head.seq),
        format!("S1:1:{}:{hash}", head.seq.0 - 1),
        early.replace("S1:1:2:", "S1:1:3:"),
    ];
    // A tablet that came from another store shows what it saw there: that is no witness of this one.
    let foreign = format!("S2:1:{}:{hash}", head.seq.next());
    for bad in ["", "S1:1:2", "S1:x:2:b3:00", &latest[..latest.len() - 1], &latest[3..], &foreign] {
        assert_eq!(shop.send(show(bad)).await.problem(422, "field_invalid")["field"], "huitong-witness");
    }
    assert_eq!(shop.get(T1, "/v1/status").await.json["value"]["gate"], "open");
    for bad in unseen {
        shop.send(show(&bad)).await.approved();
    }
    let status = shop.get(T1, "/v1/status").await.json;
    assert_eq!((&status["value"]["gate"], status["alarms"].as_array().unwrap().len()), (&json!("quarantined"), 1));
    let note = status["value"]["quarantine"]["reason"].as_str().unwrap();
    assert!(
        note.contains("till T1") && note.contains(&format!("1:{}:", head.seq.next())),
        "the first one stays: {note}"
    );
    shop.spend(T1, 1, 50).await.declined("value_quarantined");
    shop.reload(1, 50).await.declined("value_quarantined");
    shop.post(T2, "/v1/sales", &sale(&[line(5)], &[cash(5)])).await.approved();
}

#[tokio::test]
async fn only_paired_tills_are_heard() {
    let shop = Shop::opened().await;
    let ask = |authorization: Option<&str>| {
        let mut request = Request::get("/v1/status");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        shop.send(request.body(Body::empty()).unwrap())
    };
    let good = format!("bearer {}", token(T1).reveal());
    assert_eq!(ask(Some(&good)).await.status, 200);
    let stranger = format!("Bearer {}", token(9).reveal());
    for bad in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic eA=="), Some(stranger.as_str())] {
        let refused = ask(bad).await;
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
        refused.problem(401, "unauthorized");
    }
    let t1: TerminalId = "T1".parse().unwrap();
    shop.store.write(move |tx| till::revoke(tx, MORNING, t1)).await.unwrap();
    ask(Some(&good)).await.problem(401, "unauthorized");
    shop.store.write(move |tx| till::pair(tx, MORNING, t1, Default::default(), token(8).hash())).await.unwrap();
    assert_eq!(ask(Some(&format!("Bearer {}", token(8).reveal()))).await.status, 200);
    ask(Some(&good)).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn the_day_is_for_tills_with_the_permission() {
    let shop = Shop::new().await;
    shop.post(T2, "/v1/day/open", &json!({})).await.problem(403, "forbidden");
    shop.post_with(T1, "/v1/day/open", &shop.key(), "").await.approved();
    shop.post(T2, "/v1/day/close", &json!({})).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_day_without_an_answer_and_one_that_is_counted_differently_are_told_apart() {
    let shop = Shop::new().await;
    let page = policy_page(2, "2026-01-01", &format!("{POLICY}\n[day]\nseal_reminder_minutes = 60\n"));
    shop.store.write(move |tx| replica::apply_page(tx, &page)).await.unwrap();
    shop.post(T1, "/v1/day/open", &json!({})).await.approved();
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    shop.clock.wind(36 * 3_600_000);
    let alarms = async || shop.get(T1, "/v1/status").await.json["alarms"].to_string();
    let (silent, differing) =
        ("2026-11-22 is closed and head office has not answered", "head office counts it differently");
    let said = async || {
        let alarms = alarms().await;
        (alarms.contains(silent), alarms.contains(differing))
    };
    assert_eq!(said().await, (true, false));
    let answer = async |differences: Vec<String>| {
        let put = move |tx: &mut crate::store::WriteTx<'_>| {
            let closed = day::last_closed(tx)?.unwrap();
            let seal_seq = closed.seal.unwrap().0;
            day::put_verdict(tx, &DayVerdict { business_day: closed.business_day, seal_seq, differences })
        };
        shop.store.write(put).await.unwrap();
    };
    answer(vec!["entries: 3 here, 2 there".to_owned()]).await;
    assert_eq!(said().await, (false, true));
    answer(Vec::new()).await;
    assert_eq!(said().await, (false, false));
}

#[tokio::test]
async fn a_store_that_is_not_ready_says_what_it_lacks() {
    let shop = Shop::new().await;
    assert_eq!(shop.send(Request::get("/readyz").body(Body::empty()).unwrap()).await.status, 200);
    assert_eq!(shop.send(Request::get("/healthz").body(Body::empty()).unwrap()).await.status, 200);
    let shop = Shop::bare().await;
    shop.send(Request::get("/readyz").body(Body::empty()).unwrap()).await.problem(503, "not_ready");
    shop.post(T1, "/v1/day/open", &json!({})).await.problem(503, "not_ready");
    shop.store.write(enrol).await.unwrap();
    shop.post(T1, "/v1/day/open", &json!({})).await.problem(503, "not_ready");
}

#[tokio::test]
async fn what_is_not_a_request_of_the_api_is_answered_as_a_problem() {
    let shop = Shop::opened().await;
    shop.get(T1, "/v1/sales").await.problem(405, "method_not_allowed");
    shop.get(T1, "/v2").await.problem(404, "not_found");
    let bare = |body: &str| {
        Request::post("/v1/sales")
            .header("authorization", format!("Bearer {}", token(T1).reveal()))
            .body(Body::from(body.to_owned()))
    };
    shop.send(bare("{}").unwrap()).await.problem(400, "idempotency_key_missing");
    let mut request = bare("{}").unwrap();
    request.headers_mut().insert("idempotency-key", shop.key().parse().unwrap());
    shop.send(request).await.problem(415, "unsupported_media_type");
    for bad in ["1", "not-a-uuid", "00000000-0000-0000-0000-000000000000"] {
        let refused = shop.send(post(T1, "/v1/sales", bad, "{}")).await.problem(422, "field_invalid");
        assert_eq!(refused["field"], "idempotency-key");
    }
    let large = format!("{{\"currency\":\"{}\"}}", "C".repeat(super::BODY_BYTES_MAX));
    shop.send(post(T1, "/v1/sales", &shop.key(), &large)).await.problem(413, "body_too_large");
    let mut said = post(T1, "/v1/sales", &shop.key(), "{}");
    said.headers_mut().insert("content-length", "99999999999".parse().unwrap());
    shop.send(said).await.problem(413, "body_too_large");
    shop.get(T1, &format!("/v1/cards/{}?total=maybe", number(1))).await.problem(422, "field_invalid");
    shop.get(T1, &format!("/v1/cards/{}?whole=true", number(1))).await.problem(422, "field_invalid");
    shop.get(T1, "/v1/day/z?business_day=22.11.2026").await.problem(422, "field_invalid");
    shop.get(T1, "/v1/cards/66a").await.problem(422, "field_invalid");
    assert_eq!(shop.get(T1, "/v1/cards/%FF").await.problem(422, "field_invalid")["field"], "number");
    shop.get(9, "/v1/cards/%FF").await.problem(401, "unauthorized");
}

/// Puts a value at a path like `lines.0.net_minor` of a good request.
fn with(good: &Value, path: &str, value: Value) -> String {
    let mut body = good.clone();
    let mut at = &mut body;
    for part in path.split('.') {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    *at = value;
    body.to_string()
}

#[tokio::test]
async fn hostile_input_is_answered_with_the_field_and_changes_nothing() {
    let shop = Shop::opened().await;
    shop.granted(1, 10_000).await;
    let receipt = shop.spend(T1, 1, 1_000).await.approved()["entry"].clone();
    let good_load = load(500);
    let good_sale = sale(&[line(500)], &[by_card(1, 500)]);
    let good_void = json!({"reason": "mistake"});
    let good_return =
        json!({"receipt": receipt, "reason": "broken", "items": [{"line": 0, "quantity_thousandths": 1000}]});
    let good_unreferenced = json!({"card": number(1), "currency": "CNY", "amount_minor": 100, "reason": "gift"});
    let (sell, reload) = (format!("/v1/cards/{}/sell", number(11)), format!("/v1/cards/{}/reload", number(1)));
    let freeze = format!("/v1/cards/{}/freeze", number(1));
    let void = format!("/v1/sales/{}/void", receipt.as_str().unwrap());
    let (long, nothing) = ("x".repeat(501), json!({}));
    // Path, good body, what is put where, the field that the answer names.
    let cases: Vec<(&str, &Value, &str, Value, &str)> = vec![
        (&sell, &good_load, "amount_minor", json!(-1), "amount_minor"),
        (&sell, &good_load, "amount_minor", json!(100_000_000_001_i64), "amount_minor"),
        (&sell, &good_load, "currency", json!("USD"), "currency"),
        (&sell, &good_load, "currency", json!("yuan"), "currency"),
        (&sell, &good_load, "tenders.0.amount_minor", json!(499), "tenders"),
        (&reload, &good_load, "amount_minor", json!(0), "amount_minor"),
        (&reload, &good_load, "amount_minor", json!("500"), "amount_minor"),
        (&reload, &good_load, "bonus_minor", json!(-5), "bonus_minor"),
        (&reload, &good_load, "tenders.0.tender", json!("gold"), "tenders[0].tender"),
        (&reload, &good_load, "tenders.0.tender", json!("no good"), "tenders[0].tender"),
        (&reload, &good_load, "operator", json!("much-too-long-an-operator"), "operator"),
        (&reload, &good_load, "terminal_seq", json!(-1), "terminal_seq"),
        (&reload, &good_load, "surprise", json!(1), "surprise"),
        (&freeze, &good_void, "reason", json!(""), "reason"),
        (&freeze, &good_void, "reason", json!(long), "reason"),
        ("/v1/sales", &good_sale, "lines", json!([]), "lines"),
        ("/v1/sales", &good_sale, "lines", json!(vec![line(0); 1_001]), "lines"),
        ("/v1/sales", &good_sale, "lines.0.net_minor", json!(499), "lines[0].net_minor"),
        ("/v1/sales", &good_sale, "lines.0.net_minor", json!(-500), "lines[0].net_minor"),
        ("/v1/sales", &good_sale, "lines.0.sku", json!(" "), "lines[0].sku"),
        ("/v1/sales", &good_sale, "lines.0.sku", json!(null), "lines[0].sku"),
        ("/v1/sales", &good_sale, "lines.0.quantity_thousandths", json!(0), "lines[0].quantity_thousandths"),
        ("/v1/sales", &good_sale, "lines.0.tax_ppm", json!(1_000_001), "lines[0].tax_ppm"),
        ("/v1/sales", &good_sale, "lines.0.tax_ppm", json!(-1), "lines[0].tax_ppm"),
        ("/v1/sales", &good_sale, "lines.0.colour", json!("red"), "lines[0].colour"),
        ("/v1/sales", &good_sale, "tenders.0.card", json!(null), "tenders[0].card"),
        ("/v1/sales", &good_sale, "tenders.0.card", json!("12a456"), "tenders[0].card"),
        ("/v1/sales", &good_sale, "tenders.0.tender", json!("cash"), "tenders[0].card"),
        ("/v1/sales", &good_sale, "tenders", json!(vec![cash(25); 21]), "tenders"),
        ("/v1/sales", &good_sale, "member", json!(0), "member"),
        (&void, &good_void, "reason", json!("  "), "reason"),
        (&void, &good_void, "reason", json!(7), "reason"),
        ("/v1/returns", &good_return, "items", json!([]), "items"),
        ("/v1/returns", &good_return, "items.0.line", json!(1), "items[0].line"),
        ("/v1/returns", &good_return, "items.0.line", json!(-1), "items[0].line"),
        ("/v1/returns", &good_return, "items.0.quantity_thousandths", json!(0), "items[0].quantity_thousandths"),
        ("/v1/returns", &good_return, "receipt", json!("1"), "receipt"),
        ("/v1/returns/unreferenced", &good_unreferenced, "amount_minor", json!(0), "amount_minor"),
        ("/v1/returns/unreferenced", &good_unreferenced, "card", json!("1"), "card"),
        ("/v1/day/open", &nothing, "business_day", json!("tomorrow"), "business_day"),
        ("/v1/day/close", &nothing, "force", json!(true), "force"),
    ];
    let (head, change_no) = (shop.store.head(), shop.store.committed().change_no);
    for (path, good, at, value, field) in cases {
        let body = with(good, at, value);
        let key = shop.key();
        let refused = shop.send(post(T1, path, &key, &body)).await.problem(422, "field_invalid");
        assert_eq!(refused["field"], field, "{path} {at}: {refused}");
        let look = shop.get(T1, &format!("/v1/operations/{key}")).await.json;
        assert_eq!(look["state"], "unknown", "nothing was stored for {path} {at}");
    }
    // What is not even JSON, or is JSON that no serialiser makes.
    let texts = [
        ("", 400, "malformed", Value::Null),
        ("{", 400, "malformed", Value::Null),
        ("\u{0}", 400, "malformed", Value::Null),
        (r#"{"reason":"a"} x"#, 400, "malformed", Value::Null),
        ("[]", 422, "field_invalid", json!("reason")),
        ("{}", 422, "field_invalid", json!("reason")),
        (r#"{"reason":"a","reason":"b"}"#, 422, "field_invalid", json!("reason")),
        (r#"{"reason":"a","terminal_seq":1.5}"#, 422, "field_invalid", json!("terminal_seq")),
        (r#"{"reason":"a","terminal_seq":1e3}"#, 422, "field_invalid", json!("terminal_seq")),
        (r#"{"reason":"a","terminal_seq":99999999999999999999}"#, 422, "field_invalid", json!("terminal_seq")),
    ];
    for (text, status, code, field) in texts {
        let refused = shop.send(post(T1, &freeze, &shop.key(), text)).await.problem(status, code);
        if text != "[]" {
            assert_eq!(refused["field"], field, "{text}: {refused}");
        }
    }
    let deep = "[".repeat(100_000);
    shop.send(post(T1, &freeze, &shop.key(), &deep)).await.problem(400, "malformed");
    assert_eq!((shop.store.head(), shop.store.committed().change_no), (head, change_no));
    assert_eq!(shop.available(1), 9_000);
}

#[tokio::test]
async fn a_basket_that_no_reader_would_take_is_refused_and_its_key_stays_free() {
    let shop = Shop::opened().await;
    let long = "货".repeat(150);
    let mut odd = line(20);
    (odd["sku"], odd["name"]) = (json!(long), json!(long));
    let body = sale(&vec![odd; 1_000], &vec![cash(1_000); 20]).to_string();
    assert!(body.len() < super::BODY_BYTES_MAX, "the request itself is small enough: {} bytes", body.len());
    let (key, head) = (shop.key(), shop.store.head());
    let refused = shop.post_with(T1, "/v1/sales", &key, body).await.problem(413, "body_too_large");
    assert!(refused["detail"].as_str().unwrap().contains("the entry would have"), "{refused}");
    assert_eq!(shop.store.head(), head);
    assert_eq!(shop.get(T1, &format!("/v1/operations/{key}")).await.json["state"], "unknown");
    shop.post_with(T1, "/v1/sales", &key, sale(&[line(20)], &[cash(20)]).to_string()).await.approved();
    assert_eq!(shop.store.head().seq, head.seq.next());
}

#[tokio::test]
async fn tills_paired_and_revoked_beside_the_daemon_are_noticed() {
    let shop = Shop::opened().await;
    assert_eq!(shop.get(T2, "/v1/status").await.status, 200);
    // As a command line does it: another process, of which the daemon's memory knows nothing.
    let beside = open_store(shop.folder.path());
    let (t2, t3): (TerminalId, TerminalId) = ("T2".parse().unwrap(), "T3".parse().unwrap());
    beside
        .write(move |tx| {
            till::revoke(tx, MORNING, t2)?;
            till::pair(tx, MORNING, t3, Permissions::default(), token(3).hash())
        })
        .await
        .unwrap();
    beside.close();
    assert_eq!(shop.get(3, "/v1/status").await.status, 200, "a new till at once");
    shop.clock.wind(2_001);
    shop.get(T2, "/v1/status").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_failing_disk_is_said_and_not_answered_as_done() {
    let shop = Shop::opened().await;
    let (key, body) = (shop.key(), load(100).to_string());
    let full = shop.store.write(|tx| {
        let limit = tx.connection().query_row("PRAGMA max_page_count = 1", [], |_| Ok(()));
        limit.map_err(StoreError::during("limit the disk"))?;
        setting::put(tx, "big", &"x".repeat(100_000))
    });
    assert!(full.await.is_err());
    let path = format!("/v1/cards/{}/reload", number(1));
    let refused = shop.post_with(T1, &path, &key, body.clone()).await;
    assert_eq!(refused.headers["retry-after"], "1");
    refused.problem(503, "storage");
    shop.send(Request::get("/readyz").body(Body::empty()).unwrap()).await.problem(503, "storage");
    let shop = shop.restart();
    shop.post_with(T1, &path, &key, body).await.approved();
    assert_eq!(shop.available(1), 100, "once");
}
