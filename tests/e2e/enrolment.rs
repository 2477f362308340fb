//! People enrolled at a store that has no line: used at once, made members by head office, merged where they are members already; and changes that two
//! people at head office approve. What is on a form is read by head office alone.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use huitong_protocol::id::OperationId;
use huitong_protocol::member::{DraftLook, MemberLook};
use huitong_protocol::till::{Outcome, Quote};
use huitong_tests::replay::cards;
use huitong_tests::till::Reply;
use huitong_tests::town::{Shop, Town};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::people::{get, import, town};

const NAME: &str = "买买提·艾力";
const PHONE: &str = "13800135678";
const DOCUMENT: &str = "11010519491231002X";

fn key(number: u128) -> OperationId {
    OperationId(uuid::Uuid::from_u128(0x0193_5000_0000_7000_8000_0000_0000_0000 + number))
}

async fn post(shop: &Shop, path: &str, number: u128, body: &Value) -> Reply {
    shop.till.send(Method::POST, path, Some(key(number)), serde_json::to_vec(body).unwrap()).await.unwrap()
}

/// A form for the phone, as the till of a town at its start sends it.
fn form(town: &Town, phone: &str) -> Value {
    let now = huitong_edge::clock::Clock::now(&town.clock);
    json!({
        "name": NAME, "phone": phone, "birthday": "1990-11-30", "document": {"kind": "resident_card", "number": DOCUMENT},
        "consent": {"version": "2026-1", "given_at_ms": now.ms()},
    })
}

async fn enrol(shop: &Shop, number: u128, form: &Value) {
    let outcome: Outcome = post(shop, "/v1/members", number, form).await.json().unwrap();
    let Outcome::Approved(approved) = outcome else { panic!("{outcome:?}") };
    assert_eq!(approved.kind, "member_enrolled");
}

/// Every file of a folder, byte by byte.
fn holds(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let path = file.unwrap().path();
        path.is_file() && std::fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes())
    })
}

async fn requests(town: &Town) -> Vec<Value> {
    town.head_office(&["member", "review", "list"]).await.unwrap().as_array().unwrap().clone()
}

async fn look(shop: &Shop, query: &str) -> MemberLook {
    get(shop, &format!("/v1/members?{query}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_enrolled_without_a_line_is_served_at_once_and_becomes_a_member_once() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    import(&town, folder.path(), "item", "sku,name,list_price,member_price\nBEER,青岛啤酒,6.00,5.50\n").await;
    let (one, two) = (town.shop("S1".parse().unwrap()).unwrap(), town.shop("S2".parse().unwrap()).unwrap());
    for shop in [&one, &two] {
        shop.download().await.unwrap();
        shop.till.open_day(key(u128::from(shop.id == two.id)), None).await.unwrap();
        shop.wire.cut(true);
    }
    let card = cards::of_household(1);
    let mut at_one = form(&town, "+86 138-0013-5678");
    at_one["card"] = card.reveal().into();
    enrol(&one, 10, &at_one).await;
    let again = post(&one, "/v1/members", 10, &at_one).await;
    assert!(again.replayed && again.status == 200, "a till that repeats enrols nobody twice");

    // Found masked by phone, card and id; the price of members, before there is a member.
    for (by, text) in [("phone", PHONE), ("card", card.reveal()), ("draft", &key(10).to_string())] {
        let draft: DraftLook = get(&one, &format!("/v1/members?{by}={text}")).await;
        assert_eq!((draft.name.as_str(), draft.phone.as_str()), ("买**·**", "138****5678"), "{by}");
        assert_eq!((draft.card, draft.birthday_month), (Some(card.to_string()), true), "{by}");
    }
    let ask = json!({
        "currency": "CNY", "member_card": card.reveal(),
        "lines": [{"sku": "BEER", "quantity_thousandths": 1_000, "gross_minor": 600, "net_minor": 600}],
    });
    let quote: Quote = post(&one, "/v1/quotes", 11, &ask).await.json().unwrap();
    assert_eq!(quote.total_minor, 550);
    // Neither the phone nor the card a second time.
    for (number, form, code) in [
        (12, form(&town, PHONE), "phone_has_member"),
        (13, json!({"name": "张三", "card": card.reveal(), "consent": at_one["consent"]}), "card_has_member"),
    ] {
        let declined: Value = post(&one, "/v1/members", number, &form).await.json().unwrap();
        assert_eq!(declined["code"], code, "{declined}");
    }
    // At another store, which cannot know.
    enrol(&two, 20, &form(&town, "138 0013 5678")).await;
    for text in [NAME, PHONE, DOCUMENT, "1990-11-30"] {
        for store in ["store-S1", "store-S2"] {
            assert!(!holds(&folder.path().join(store), text), "{text} lies open in the files of {store}");
        }
    }

    // The card was on the rack; it is theirs from its sale on, and nobody else's before.
    let mut load =
        json!({"currency": "CNY", "amount_minor": 1_000, "tenders": [{"tender": "cash", "amount_minor": 1_000}]});
    let stranger: Value = post(&one, &format!("/v1/cards/{}/sell", card.reveal()), 15, &load).await.json().unwrap();
    assert_eq!(stranger["code"], "card_has_member", "{stranger}");
    load["draft"] = key(10).to_string().into();
    let sold: Value = post(&one, &format!("/v1/cards/{}/sell", card.reveal()), 14, &load).await.json().unwrap();
    assert_eq!(sold["decision"], "approved", "{sold}");

    for shop in [&one, &two] {
        shop.wire.cut(false);
        shop.upload_all().await.unwrap();
        shop.upload_all().await.unwrap();
    }
    let waiting = requests(&town).await;
    assert_eq!(waiting.len(), 1, "the first is a member, the second waits: {waiting:?}");
    let number = waiting[0]["number"].to_string();
    assert_eq!(waiting[0]["proposal"], "merge into member 9000000001");
    let conflict = town.head_office(&["exception", "list", "--class", "member_conflict"]).await.unwrap();
    assert_eq!(conflict.as_array().unwrap().len(), 1, "{conflict}");
    // Two people, and the same one twice is not two.
    let approve = async |by: &str, note: &str| {
        town.head_office(&["member", "review", "approve", &number, "--by", by, "--note", note]).await
    };
    assert_eq!(approve("li", "same person").await.unwrap()["state"], "reviewed");
    let refused = approve("Li", "once more").await.unwrap_err().to_string();
    assert!(refused.contains("second person"), "{refused}");
    assert_eq!(approve("wang", "").await.unwrap()["state"], "accepted");
    assert!(requests(&town).await.is_empty());
    let conflict = town.head_office(&["exception", "list", "--class", "member_conflict"]).await.unwrap();
    assert!(conflict.as_array().unwrap().is_empty(), "{conflict}");

    for shop in [&one, &two] {
        shop.download().await.unwrap();
        for query in [format!("phone={PHONE}"), format!("card={}", card.reveal())] {
            let member = look(shop, &query).await;
            assert_eq!((member.number.as_str(), member.cards.len()), ("9000000001", 1), "{query} at {}", shop.id);
        }
    }
    // Each store's draft is that one member.
    assert_eq!(
        look(&one, &format!("draft={}", key(10))).await.member,
        look(&two, &format!("draft={}", key(20))).await.member
    );
    drop((one, two));
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_sold_to_a_member_is_theirs_everywhere_until_they_give_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    import(&town, folder.path(), "member", &format!("number,name,phone\n8800001,张三,{PHONE}\n")).await;
    let (one, two) = (town.shop("S1".parse().unwrap()).unwrap(), town.shop("S2".parse().unwrap()).unwrap());
    one.download().await.unwrap();
    one.till.open_day(key(0), None).await.unwrap();
    let card = cards::of_household(1);
    let known = async || {
        one.upload_all().await.unwrap();
        one.download().await.unwrap();
        two.download().await.unwrap();
        let path = format!("/v1/members?card={}", card.reveal());
        let found = two.till.send(Method::GET, &path, None, Vec::new()).await.unwrap().json::<Value>().unwrap();
        found["number"].as_str().map(str::to_owned)
    };
    let tenders = json!([{"tender": "cash", "amount_minor": 1_000}]);
    let mut load = json!({"currency": "CNY", "amount_minor": 1_000, "tenders": tenders});
    let sell = format!("/v1/cards/{}/sell", card.reveal());
    load["member"] = json!(77);
    let refused = post(&one, &sell, 1, &load).await;
    assert_eq!((refused.status, refused.json::<Value>().unwrap()["field"].as_str()), (422, Some("member")));
    load["member"] = json!(look(&one, &format!("phone={PHONE}")).await.member);
    let sold: Value = post(&one, &sell, 2, &load).await.json().unwrap();
    assert_eq!(known().await.as_deref(), Some("8800001"), "{sold}");

    let void = format!("/v1/operations/{}/void", sold["entry"].as_str().unwrap());
    let undone: Value = post(&one, &void, 3, &json!({"reason": "wrong card"})).await.json().unwrap();
    assert_eq!(undone["decision"], "approved", "{undone}");
    assert_eq!(known().await, None, "it is on the rack again");
    load.as_object_mut().unwrap().remove("member");
    let sold: Value = post(&one, &sell, 4, &load).await.json().unwrap();
    assert_eq!(sold["decision"], "approved", "{sold}");
    assert_eq!(known().await, None, "it is whoever's who bought it, and nobody said who that is");
    drop((one, two));
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_done_when_two_people_have_approved_it_and_reaches_every_store() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    let members = format!("number,name,phone\n8800001,张三,{PHONE}\n8800002,李四,13900000002\n");
    import(&town, folder.path(), "member", &members).await;
    let (one, two) = (town.shop("S1".parse().unwrap()).unwrap(), town.shop("S2".parse().unwrap()).unwrap());
    for shop in [&one, &two] {
        shop.download().await.unwrap();
    }
    one.wire.cut(true);
    let ask = async |number: u128, change: Value| post(&one, "/v1/members/8800001/changes", number, &change).await;
    let kind = |reply: Reply| reply.json::<Outcome>().map(|outcome| matches!(outcome, Outcome::Approved(_))).unwrap();
    assert!(kind(ask(1, json!({"name": "王三", "phone": "13900000001", "reason": "marriage"})).await));
    assert!(kind(ask(2, json!({"phone": "13900000002", "reason": "new phone"})).await), "the store cannot judge");
    assert!(kind(ask(3, json!({"birthday": "05-17", "reason": "mistyped"})).await));
    assert_eq!(post(&one, "/v1/members/8800003/changes", 4, &json!({"name": "王", "reason": "x"})).await.status, 404);
    assert_eq!(ask(5, json!({"reason": "nothing"})).await.status, 422);
    assert_eq!(
        ask(6, json!({"name": "王三", "tier": "gold", "reason": "x"})).await.status,
        422,
        "a tier is not asked for"
    );
    one.wire.cut(false);
    one.upload_all().await.unwrap();
    for place in ["store-S1", "hub"] {
        assert!(
            !holds(&folder.path().join(place), "marriage"),
            "why somebody changes lies open in the files of {place}"
        );
    }

    let waiting = requests(&town).await;
    let numbers: Vec<i64> = waiting.iter().map(|request| request["number"].as_i64().unwrap()).collect();
    assert_eq!(waiting[0]["proposal"], "change name, phone of member 8800001");
    let office = Office::of(&town, "li").await;
    let shown = office.ask(Method::GET, &format!("/member-requests/{}", numbers[0]), Value::Null).await.1;
    assert_eq!(shown["reason"], "marriage");
    assert_eq!(
        shown["wanted"],
        json!([
            {"field": "name", "now": "张三", "wanted": "王三"},
            {"field": "phone", "now": "138****5678", "wanted": "139****0001"},
        ])
    );
    // One person is not two, whether at the command line or through the API.
    let path = |number: i64, what: &str| format!("/member-requests/{number}/{what}");
    assert_eq!(office.ask(Method::POST, &path(numbers[0], "approve"), json!({})).await.1["state"], "reviewed");
    let first = numbers[0].to_string();
    let same = town.head_office(&["member", "review", "approve", &first, "--by", "LI", "--note", "x"]).await;
    assert!(same.unwrap_err().to_string().contains("second person"));
    two.download().await.unwrap();
    assert_eq!(look(&two, "number=8800001").await.name, "张*", "nothing is changed by the first");
    let wang = Office::of(&town, "wang").await;
    assert_eq!(wang.ask(Method::POST, &path(numbers[0], "approve"), json!({})).await.1["state"], "accepted");
    // What would make one phone find two people cannot be approved; it is refused with the reason, once.
    let (status, problem) = wang.ask(Method::POST, &path(numbers[1], "approve"), json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("refused")));
    assert!(problem["detail"].as_str().unwrap().contains("that of member 8800002"), "{problem}");
    let note = json!({"note": "somebody else's phone"});
    assert_eq!(wang.ask(Method::POST, &path(numbers[1], "refuse"), note.clone()).await.1["state"], "refused");
    assert_eq!(
        wang.ask(Method::POST, &path(numbers[1], "refuse"), note).await.1["state"],
        "refused",
        "again is the same"
    );
    assert_eq!(office.ask(Method::POST, &path(numbers[1], "approve"), json!({})).await.0, 409);
    assert_eq!(office.ask(Method::POST, &path(99, "refuse"), json!({"note": "x"})).await.0, 404);
    assert_eq!(office.ask(Method::GET, "/member-requests", Value::Null).await.1["items"].as_array().unwrap().len(), 1);

    two.download().await.unwrap();
    let member = look(&two, "phone=13900000001").await;
    assert_eq!((member.number.as_str(), member.name.as_str()), ("8800001", "王*"));
    assert_eq!(look(&two, "phone=13900000002").await.number.as_str(), "8800002");
    let deeds = town.head_office(&["audit", "list"]).await.unwrap();
    let deeds: Vec<(&str, &str)> = deeds
        .as_array()
        .unwrap()
        .iter()
        .map(|deed| (deed["actor"].as_str().unwrap(), deed["action"].as_str().unwrap()))
        .filter(|(_, action)| action.starts_with("member."))
        .collect();
    assert_eq!(deeds, [("li", "member.review"), ("wang", "member.approve"), ("wang", "member.refuse")]);
    drop((one, two, office, wang));
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_with_a_fault_names_the_field_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    let good = form(&town, PHONE);
    let with = |field: &str, value: Value| {
        let mut form = good.clone();
        form[field] = value;
        form
    };
    let document = |kind: &str, number: &str| with("document", json!({"kind": kind, "number": number}));
    let faulty = [
        (with("name", json!("张\u{fffd}三四")), "name", "三四"),
        (with("phone", json!("1380013567")), "phone", "1380013567"),
        (with("phone", json!(13_800_135_678_i64)), "phone", "138001"),
        (with("birthday", json!("1990-02-30")), "birthday", "02-30"),
        (document("resident_card", "110105194912310021"), "document.number", "110105194912310021"),
        (document("library_card", "1"), "document.kind", "library"),
        (with("consent", json!({"version": "", "given_at_ms": 1})), "consent.version", ""),
        (with("consent", Value::Null), "consent", ""),
        (with("nickname", json!("小三")), "nickname", "小三"),
    ];
    for (number, (form, field, typed)) in faulty.into_iter().enumerate() {
        let problem: Value = post(&shop, "/v1/members", 100 + number as u128, &form).await.json().unwrap();
        assert_eq!((problem["status"].as_u64(), problem["field"].as_str()), (Some(422), Some(field)), "{problem}");
        assert!(typed.is_empty() || !problem.to_string().contains(typed), "{problem}");
    }
    drop(shop);
    town.close().await.unwrap();
}

/// Head office's API with somebody's token.
struct Office {
    town: Arc<Town>,
    token: String,
}

impl Office {
    async fn of(town: &Arc<Town>, name: &str) -> Self {
        let made = town.head_office(&["token", "create", name]).await.unwrap();
        Self { town: Arc::clone(town), token: made["token"].as_str().unwrap().to_owned() }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/hq{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Body::from(if body.is_null() { String::new() } else { body.to_string() }))
            .unwrap();
        let answer = huitong_hub::api::router(self.town.hub.clone()).oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}
