//! Members at the till: what is told, what is not, and how somebody is found.

use std::io::Write;
use std::sync::{Arc, Mutex};

use huitong_protocol::card::{Card, CardStatus};
use huitong_protocol::entry::Body;
use huitong_protocol::id::{EntryId, MemberId};
use huitong_protocol::member::{DraftOutcome, Member, Phone, PhoneKey};
use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow};
use serde_json::{Value, json};

use crate::ledger::testing::*;
use crate::store::{journal, replica};

const PHONE: &str = "13800135678";

fn key() -> PhoneKey {
    PhoneKey::new([7; 32])
}

fn member(id: i64, name: &str, pinyin: &str, phone: Option<&str>) -> Member {
    let phone = phone.map(|phone| Phone::new(phone).unwrap());
    Member {
        id: MemberId::new(id).unwrap(),
        number: format!("88{id:05}").parse().unwrap(),
        name: name.to_owned(),
        pinyin: vec![pinyin.to_owned()],
        tier: Some("金卡".parse().unwrap()),
        tier_valid_from: Some("2026-01-01".parse().unwrap()),
        tier_valid_to: Some("2026-11-22".parse().unwrap()),
        birthday: Some("11-30".parse().unwrap()),
        segments: vec!["新客".parse().unwrap()],
        phone_hash: phone.as_ref().map(|phone| key().hash(phone)),
        phone_masked: phone.map(|phone| phone.masked()).unwrap_or_default(),
        active: true,
    }
}

async fn publish(shop: &Shop, dataset: DatasetKind, through_version: u64, rows: Vec<DatasetRow>) {
    let phone_key = (dataset == DatasetKind::Members).then(key);
    let page = DatasetPage { dataset, through_version, more: false, recovers: false, rows, phone_key };
    shop.store.write(move |tx| replica::apply_page(tx, &page)).await.unwrap();
}

async fn members(shop: &Shop, version: u64, members: impl IntoIterator<Item = Member>) {
    publish(shop, DatasetKind::Members, version, members.into_iter().map(DatasetRow::Member).collect()).await;
}

/// 张三 with cards 1 and 2, the second one lost; 李四 with neither phone nor card.
async fn shop() -> Shop {
    let shop = Shop::opened().await;
    members(&shop, 4, [member(1, "张三", "zhang san", Some(PHONE)), member(2, "李四", "li si", None)]).await;
    let cards = [(1, CardStatus::Active), (2, CardStatus::Lost)]
        .map(|(n, status)| DatasetRow::Card(Card { member: Some(MemberId::FIRST), ..card(n, status) }));
    publish(&shop, DatasetKind::Cards, 6, cards.to_vec()).await;
    shop
}

#[tokio::test]
async fn a_member_is_found_in_four_ways_and_told_masked() {
    let shop = shop().await;
    let qr = member(1, "", "", None).number.qr_text();
    let card = number(1);
    let asked = [
        ("card", card.as_str()),
        ("qr", &qr),
        ("number", "8800001"),
        ("phone", PHONE),
        ("phone", "%2B86%20138-0013-5678"),
        (
            "phone",
            "%EF%BC%91%EF%BC%93%EF%BC%98%EF%BC%90%EF%BC%90%EF%BC%91%EF%BC%93%EF%BC%95%EF%BC%96%EF%BC%97%EF%BC%98",
        ),
    ];
    for (by, text) in asked {
        let look = shop.get(T2, &format!("/v1/members?{by}={text}")).await.json;
        assert_eq!(
            look,
            json!({
                "member": 1, "number": "8800001", "found_by": by, "name": "张*", "phone": "138****5678", "active": true,
                "business_day": "2026-11-22", "tier": "金卡", "segments": ["新客"], "birthday_month": true,
                "cards": [
                    {"number": "****0001", "product": "SV", "status": "active"},
                    {"number": "****0002", "product": "SV", "status": "lost"},
                ],
                "as_of": {"members": 4, "cards": 6},
            }),
            "{by}={text}"
        );
    }
}

#[tokio::test]
async fn tier_and_birthday_are_those_of_the_open_business_day() {
    let shop = shop().await;
    let look = async || shop.get(T1, "/v1/members?number=8800001").await.json;
    // After midnight, and still the day that was opened.
    shop.clock.wind(16 * 3_600_000);
    assert_eq!(
        (look().await["business_day"].clone(), look().await["tier"].clone()),
        (json!("2026-11-22"), json!("金卡"))
    );
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    shop.clock.wind(16 * 3_600_000);
    assert_eq!(
        (look().await["business_day"].clone(), look().await["tier"].clone()),
        (json!("2026-11-23"), json!(null))
    );
    let over = Member {
        active: false,
        tier_valid_to: None,
        birthday: Some("12-01".parse().unwrap()),
        ..member(1, "张三", "zhang san", None)
    };
    members(&shop, 5, [over]).await;
    let look = look().await;
    assert_eq!((&look["active"], &look["tier"], &look["birthday_month"]), (&json!(false), &json!(null), &json!(false)));
}

#[tokio::test]
async fn a_question_is_one_good_question_or_a_problem() {
    let shop = shop().await;
    for query in
        ["", "?", "?card=6601000000000001&number=8800001", "?phone=1&phone=2", "?name=zs", "?13800135678", "?q=zs"]
    {
        shop.get(T1, &format!("/v1/members{query}")).await.problem(400, "malformed");
    }
    for (query, says) in [
        ("card=12", "card is not a card number of 6 to 24 digits"),
        ("qr=HT1.88000019", "qr has a wrong check digit"),
        ("qr=HT2.1", "newer version"),
        ("qr=https%3A%2F%2Fpay", "is not a member's code"),
        ("phone=1380013567", "phone begins like a mobile number of China and is none"),
        ("number=%20", "number has ' '"),
    ] {
        let problem = shop.get(T1, &format!("/v1/members?{query}")).await.problem(422, "field_invalid");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    }
    for query in [
        "card=6601999999999999".to_owned(),
        format!("card={}", number(3)),
        "phone=13900000000".to_owned(),
        "number=1".to_owned(),
    ] {
        shop.get(T1, &format!("/v1/members?{query}")).await.problem(404, "member_unknown");
    }
    for path in ["/v1/members?number=8800001", "/v1/members/search?q=zs", "/v1/items/A"] {
        let nobody = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        shop.send(nobody).await.problem(401, "unauthorized");
    }
    // Before the first download there is no key and nobody.
    Shop::opened().await.get(T1, "/v1/members?phone=13800135678").await.problem(404, "member_unknown");
}

async fn found(shop: &Shop, question: &str) -> Vec<i64> {
    let answer = shop.get(T1, &format!("/v1/members/search?q={question}")).await.json;
    answer["members"].as_array().unwrap().iter().map(|member| member["member"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn the_desk_finds_by_name_pinyin_initials_number_and_last_four_digits() {
    let shop = shop().await;
    let (zhang, san) = ("%E5%BC%A0", "%E4%B8%89");
    let check = async |question: &str, ids: &[i64]| assert_eq!(found(&shop, question).await, ids, "{question}");
    check("zs", &[1]).await;
    check("Zhang+San", &[1]).await;
    check("zhangs", &[1]).await;
    check(zhang, &[1]).await;
    check(&format!("{zhang}{san}"), &[1]).await;
    check("ls", &[2]).await;
    check("5678", &[1]).await;
    check("0002", &[1]).await;
    check(PHONE, &[1]).await;
    check("88000", &[1, 2]).await;
    check("x", &[]).await;
    let answer = shop.get(T2, "/v1/members/search?q=zs").await.json;
    assert_eq!(
        answer,
        json!({
            "members": [{"member": 1, "number": "8800001", "name": "张*", "phone": "138****5678", "active": true}],
            "more": false, "as_of": {"members": 4, "cards": 6},
        })
    );
    // After a marriage, and without the phone.
    members(&shop, 7, [member(1, "王三", "wang san", None)]).await;
    check("zs", &[]).await;
    check("ws", &[1]).await;
    check("5678", &[]).await;
    check(PHONE, &[]).await;
    shop.get(T1, "/v1/members/search").await.problem(400, "malformed");
    shop.get(T1, "/v1/members/search?q=zs&limit=1000").await.problem(400, "malformed");
    shop.get(T1, "/v1/members/search?q=").await.problem(422, "field_invalid");
    shop.get(T1, "/v1/members/search?q=%20-").await.problem(422, "field_invalid");
    shop.get(T1, &format!("/v1/members/search?q={}", "z".repeat(101))).await.problem(422, "field_invalid");
}

#[tokio::test]
async fn a_search_gives_twenty_and_says_that_there_are_more() {
    let shop = Shop::opened().await;
    // Every member has four readings with the same beginning, so that the words of one do not push out another.
    let many = (1..=40).map(|id| {
        let pinyin = ["a", "b", "c", "d"].map(|last| format!("zhang {last}")).to_vec();
        Member { pinyin, ..member(id, "张三", "", None) }
    });
    members(&shop, 1, many).await;
    let answer = shop.get(T1, "/v1/members/search?q=zhang").await.json;
    assert_eq!((found(&shop, "zhang").await.len(), &answer["more"]), (20, &json!(true)));
}

/// Enrols somebody with a card, and gives their draft.
async fn enrol_with(shop: &Shop, n: i64) -> Value {
    let consent = json!({"version": "1", "given_at_ms": 1_795_312_800_000_i64});
    let form = json!({"name": "王五", "card": number(n), "consent": consent});
    shop.post(T1, "/v1/members", &form).await.approved()["operation"].clone()
}

/// Whom the entry of a sale names.
fn buyer(shop: &Shop, sold: &Value) -> (Option<MemberId>, Option<Value>) {
    let entry: EntryId = sold["entry"].as_str().unwrap().parse().unwrap();
    let entry = shop.store.read(|tx| journal::decoded(tx, entry.seq)).unwrap().unwrap();
    let Body::CardSale(sale) = entry.body else { panic!("{entry:?}") };
    (sale.member, sale.draft.map(|draft| draft.to_string().into()))
}

#[tokio::test]
async fn a_card_is_sold_to_a_member_or_a_draft_that_the_store_knows() {
    let shop = shop().await;
    let consent = json!({"version": "1", "given_at_ms": 1_795_312_800_000_i64});
    let form = json!({"name": "王五", "phone": "13900000009", "consent": consent});
    let draft = shop.post(T1, "/v1/members", &form).await.approved()["operation"].clone();
    let nobody = json!("01930000-0000-7000-8000-00000000abcd");
    for (field, who) in [("member", json!(77)), ("draft", nobody)] {
        let problem = sell_to(&shop, 12, field, &who).await.problem(422, "field_invalid");
        assert_eq!(problem["field"], field, "{problem}");
    }
    // Nothing was half done: it is on the rack.
    let sold = sell_to(&shop, 12, "draft", &draft).await.approved();
    assert_eq!(buyer(&shop, &sold), (None, Some(draft)), "any card, also one that the form did not name");
    let sold = sell_to(&shop, 13, "member", &json!(1)).await.approved();
    assert_eq!(buyer(&shop, &sold), (MemberId::new(1).ok(), None));
}

/// Sells a card to somebody: a field of the request with whom it names.
async fn sell_to(shop: &Shop, n: i64, field: &str, who: &Value) -> Reply {
    let mut request = load(500);
    request[field] = who.clone();
    shop.post(T1, &format!("/v1/cards/{}/sell", number(n)), &request).await
}

#[tokio::test]
async fn a_card_that_somebody_was_enrolled_with_is_sold_to_nobody_else_until_they_give_it_back() {
    let shop = shop().await;
    let draft = enrol_with(&shop, 12).await;
    shop.sell(12, 500).await.declined("card_has_member");
    let sold = sell_to(&shop, 12, "draft", &draft).await.approved();
    assert_eq!(buyer(&shop, &sold), (None, Some(draft.clone())), "head office learns whose it is from the sale");
    shop.void(&sold["entry"]).await.approved();
    shop.get(T1, &format!("/v1/members?card={}", number(12))).await.problem(404, "member_unknown");
    assert_eq!(
        buyer(&shop, &shop.sell(12, 500).await.approved()),
        (None, None),
        "whoever buys it next is somebody else"
    );

    // Head office has made a member of them before they bought it.
    let draft = enrol_with(&shop, 13).await;
    let outcome = DraftOutcome { draft: draft.as_str().unwrap().parse().unwrap(), member: MemberId::new(2).ok() };
    publish(&shop, DatasetKind::MemberDrafts, 1, vec![DatasetRow::MemberDraft(outcome)]).await;
    shop.sell(13, 500).await.declined("card_has_member");
    sell_to(&shop, 13, "member", &json!(1)).await.declined("card_has_member");
    let sold = sell_to(&shop, 13, "member", &json!(2)).await.approved();
    assert_eq!(buyer(&shop, &sold), (MemberId::new(2).ok(), Some(draft)), "the member, and what was promised to them");

    // Head office refused them.
    let draft = enrol_with(&shop, 14).await;
    let outcome = DraftOutcome { draft: draft.as_str().unwrap().parse().unwrap(), member: None };
    publish(&shop, DatasetKind::MemberDrafts, 2, vec![DatasetRow::MemberDraft(outcome)]).await;
    shop.sell(14, 500).await.approved();
}

#[tokio::test]
async fn a_consent_ahead_of_a_slow_clock_names_both_clocks_and_what_was_done_is_answered_again() {
    let shop = shop().await;
    let key = shop.key();
    let form =
        json!({"name": "王五", "phone": "13900000009", "consent": {"version": "1", "given_at_ms": MORNING.ms()}});
    let asked = async |key: &str| shop.post_with(T1, "/v1/members", key, form.to_string()).await;
    let first = asked(&key).await.approved();
    // Somebody sets the store's clock back.
    shop.clock.wind(-3_600_000);
    assert_eq!(asked(&key).await.approved(), first);
    let problem = asked(&shop.key()).await.problem(422, "field_invalid");
    let detail = problem["detail"].as_str().unwrap();
    let (till, store) = (MORNING.to_string(), huitong_protocol::time::Instant(MORNING.ms() - 3_600_000).to_string());
    assert!(detail.contains(&till) && detail.contains(&store), "{problem}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_and_no_problem_tells_who_somebody_is() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    tracing::info!("canary");
    let shop = shop().await;
    let mut said = Vec::new();
    for query in [
        "?phone=13800135678",
        "?phone=138001356789",
        "?13800135678=1",
        "?phone=13800135678&card=1",
        "?number=13800135678-",
        "?qr=HT1.13800135678",
        "?card=13800135678x",
        "/search?q=13800135678",
        "/search?name=%E5%BC%A0%E4%B8%89",
        "/search?q=%E5%BC%A0%E4%B8%89",
    ] {
        said.push(shop.get(T1, &format!("/v1/members{query}")).await.json.to_string());
    }
    let consent = json!({"version": "1", "given_at_ms": 1_795_312_800_000_i64});
    for form in [
        json!({"name": "张三", "phone": "13800135678", "consent": consent}),
        json!({"name": "张三", "phone": "13900000001", "birthday": "1990-05-17", "consent": consent}),
        json!({"name": ["张三"], "phone": "13800135678", "consent": consent}),
        json!({"name": "李", "phone": "138001356789", "consent": consent}),
        json!({"name": "李", "phone": 13_800_135_678_i64, "consent": consent}),
        json!({"name": "李", "phone": "13900000002", "consent": "张三"}),
    ] {
        said.push(shop.post(T1, "/v1/members", &form).await.json.to_string());
    }
    for change in [
        json!({"name": "张三丰", "reason": "x"}),
        json!({"phone": "138001356789", "reason": "x"}),
        json!({"name": {"张三": 1}, "reason": "x"}),
    ] {
        said.push(shop.post(T1, "/v1/members/8800001/changes", &change).await.json.to_string());
    }
    // A record that cannot be read: its text stays where it is.
    let broken = |tx: &mut crate::store::WriteTx<'_>| {
        tx.execute(
            "break a record",
            r#"UPDATE member SET record = replace(record, '"active":true', '"active":"张三"')"#,
            [],
        )
    };
    shop.store.write(broken).await.unwrap();
    said.push(shop.get(T1, "/v1/members?phone=13800135678").await.problem(503, "storage").to_string());
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("canary") && log.contains("could not be stored"), "the log was read:\n{log}");
    for person in ["张三", "13800135678", "1380013567"] {
        assert!(!log.contains(person), "{person} is in the log:\n{log}");
        assert!(said.iter().all(|said| !said.contains(person)), "{person} is in an answer: {said:?}");
    }
    let key = data_encoding::HEXLOWER.encode(key().reveal());
    assert!(!log.contains(&key) && !said.iter().any(|said| said.contains(&key)), "the phone key is told");
    let status = shop.get(T1, "/v1/status").await.json;
    assert_eq!(status["alarms"], Value::Array(Vec::new()));
}
