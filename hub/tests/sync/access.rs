//! Who is let in. A refused request changes nothing and is recorded.

use axum::http::StatusCode;
use huitong_hub::session::Caller;
use huitong_hub::store::refused::Filter;
use huitong_hub::store::{StoreError, Tx};
use huitong_hub::{grant, report};
use huitong_protocol::allotment::{Purse, StoreCounters, StoreEvent};
use huitong_protocol::card::{CardChange, CardNumber, CardStatus};
use huitong_protocol::id::{AccountId, Epoch, Hash, Seq};
use huitong_protocol::wire::{
    DatasetKind, DatasetPage, DatasetRequest, GrantRequest, Need, Purpose, REPORT_LINES_MAX, Refused, ReportLine,
    ReportOnly, Request, SyncFault, Welcome, from_msgpack, header, path, to_msgpack,
};

use crate::fake::{CNY, FakeStore, World, account, card, fault, unpack};

#[tokio::test]
async fn a_token_enrols_one_key_and_a_lost_answer_may_be_asked_for_again() {
    let world = World::new().await;
    world.token("S1", "first").await;
    let store = FakeStore::new(world.router.clone(), "S1", 1);
    let enrolled = store.enrol("first").await.unwrap();
    assert_eq!((enrolled.epoch, enrolled.store.id), (Epoch(1), store.id));
    assert_eq!(store.enrol("first").await.unwrap(), enrolled, "the same key again is the same enrolment");
    let thief = FakeStore::new(world.router.clone(), "S1", 2);
    assert_eq!(fault(thief.enrol("first").await), SyncFault::Token);
    world.clock.0.fetch_add(1_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(fault(thief.enrol("guessed").await), SyncFault::Token);
    world.token("S1", "second").await;
    assert_eq!(thief.enrol("second").await.unwrap().epoch, Epoch(2), "a new token makes a new epoch");
    world.token("S2", "late").await;
    world.clock.0.fetch_add(3_600_001, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(fault(FakeStore::new(world.router.clone(), "S2", 3).enrol("late").await), SyncFault::Token);
    assert_eq!(world.refused_rows().await, ["token", "token", "token"]);
}

#[tokio::test]
async fn a_new_enrolment_ends_the_old_key_and_its_sessions() {
    let world = World::new().await;
    let old = world.store("S1").await;
    world.token("S1", "again").await;
    let mut new = FakeStore::new(world.router.clone(), "S1", 9);
    new.epoch = new.enrol("again").await.unwrap().epoch;
    assert_eq!(new.epoch, Epoch(2));
    assert_eq!(fault(old.send_report(old.report(account(1))).await), SyncFault::SessionUnknown);
    assert_eq!(fault(old.say_hello(&old.hello_body()).await), SyncFault::Fenced);
    new.hello().await.unwrap();
}

#[tokio::test]
async fn guessing_tokens_costs_the_writer_nothing() {
    let world = World::new().await;
    let thief = FakeStore::new(world.router.clone(), "S1", 2);
    assert_eq!(fault(thief.enrol("guessed").await), SyncFault::Token);
    // Somebody writes for as long as we like.
    let (begins, begun) = std::sync::mpsc::channel();
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let hub = world.hub.clone();
    let writes = tokio::spawn(async move {
        let hold = move |_: &mut Tx<'_>| {
            let _ = begins.send(());
            let _ = held.recv();
            Ok::<_, StoreError>(())
        };
        hub.store.write(hold).await
    });
    tokio::task::spawn_blocking(move || begun.recv()).await.unwrap().unwrap();
    for guess in 0..50 {
        let guess = format!("guess {guess}");
        let guessed = thief.enrol(&guess);
        let refused = tokio::time::timeout(std::time::Duration::from_secs(20), guessed).await;
        assert_eq!(fault(refused.expect("a guess waits for the writer")), SyncFault::Token);
    }
    drop(let_go);
    writes.await.unwrap().unwrap();
    world.clock.0.fetch_add(1_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(fault(thief.enrol("once more").await), SyncFault::Token);
    let rows = world.read(|tx| huitong_hub::store::refused::list(tx, &Filter::default(), 100)).await;
    assert_eq!(rows.iter().map(|row| row.unwritten).collect::<Vec<_>>(), [50, 0]);
}

#[tokio::test]
async fn each_route_takes_no_more_than_its_largest_message() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    let says = async |at: &str, bytes: usize| {
        let (session, nonce) = (if at == path::HELLO { "" } else { &store.session }, store.next_nonce());
        let (_, body) = store.send(at, session, nonce, vec![0xc0; bytes]).await;
        from_msgpack::<Refused>(&body).unwrap().message
    };
    for (at, most) in [
        (path::ENROL, 16 << 10),
        (path::HELLO, 16 << 10),
        (path::REPORT, 1 << 20),
        (path::GRANT, 1 << 20),
        (path::POLL, 1 << 20),
        (path::DATASET, 1 << 20),
        (path::UPLOAD, 8 << 20),
    ] {
        assert!(!says(at, most).await.contains("bytes are allowed"), "{at} refuses {most} bytes");
        assert!(says(at, most + 1).await.contains("bytes are allowed"), "{at} takes {} bytes", most + 1);
    }
    // The largest honest report goes through.
    store.stamp = i64::MAX;
    let mut report = store.report(account(1));
    let line = ReportLine { account: AccountId::new(i64::MAX).unwrap(), ..report.counters[0] };
    let counters = StoreCounters {
        adopted_minor: i64::MAX,
        loaded_minor: i64::MAX,
        spent_minor: i64::MAX,
        released_minor: i64::MAX,
    };
    report.counters = vec![ReportLine { counters, ..line }; REPORT_LINES_MAX];
    let change = CardChange {
        number: CardNumber::new("123456789012345678901234").unwrap(),
        status: CardStatus::Destroyed,
        stamp: report.stamp,
    };
    report.cards = vec![change; REPORT_LINES_MAX];
    assert_eq!(store.send_report(report).await.unwrap().refused.len(), REPORT_LINES_MAX);
}

#[tokio::test]
async fn a_report_of_an_epoch_that_is_over_says_nothing_of_the_new_one() {
    let world = World::new().await;
    let mut old = world.store("S1").await;
    old.write(huitong_protocol::entry::Body::CardStatus(crate::journal::frozen(1)));
    old.step(StoreEvent::Load { amount_minor: 500 });
    // The report was proved; before it is taken the store is enrolled again.
    let caller = Caller { store: old.id, epoch: old.epoch, hello: Hash([0; 32]), life: 1, head: Seq::ZERO };
    let (report, root, now) = (old.report(account(1)), world.hub.root.clone(), world.hub.now());
    world.token("S1", "again").await;
    let new = FakeStore::new(world.router.clone(), "S1", 9);
    assert_eq!(new.enrol("again").await.unwrap().epoch, Epoch(2));
    let taken = world.hub.store.write(move |tx| report::take(tx, &root, caller, &report, now)).await;
    assert_eq!(taken.unwrap_err().fault, SyncFault::Fenced);
    let reaches = world.read(huitong_hub::store::device::reaches).await;
    let reach = reaches[&(old.id, Epoch(2))];
    assert_eq!((reach.reported, reach.whole), (Seq::ZERO, false));
    assert!(!reaches.contains_key(&(old.id, Epoch(1))));
    // Nor is it given value: nobody would ever report what became of it.
    world.load(account(1), 100).await;
    let need = Need { card: card(1), unit: CNY, missing_minor: 30, purpose: Purpose::Spend };
    let request = GrantRequest { needs: vec![need], totals: true };
    let answer = grant::serve(&world.hub, caller, None, request).await;
    assert_eq!(answer.unwrap_err().fault, SyncFault::Fenced);
    let purse = Purse { account: account(1), unit: CNY };
    assert_eq!(world.read(move |tx| huitong_hub::store::allotment::pool(tx, purse)).await.0.granted_minor, 0);
}

#[tokio::test]
async fn hello_refuses_strangers() {
    let world = World::new().await;
    let store = world.store("S1").await;
    let check = async |change: fn(&mut huitong_protocol::wire::Hello), expected| {
        let mut hello = store.hello_body();
        change(&mut hello);
        assert_eq!(fault(store.say_hello(&hello).await), expected);
    };
    check(|hello| hello.group = "G2".parse().unwrap(), SyncFault::Foreign).await;
    check(|hello| hello.store = "S2".parse().unwrap(), SyncFault::Foreign).await;
    check(|hello| hello.epoch = Epoch(2), SyncFault::Foreign).await;
    check(|hello| hello.protocol = (2, 0), SyncFault::Version).await;
    check(|hello| hello.protocol = (1, 9), SyncFault::Version).await;
    let unknown = FakeStore::new(world.router.clone(), "S2", 1);
    assert_eq!(fault(unknown.say_hello(&unknown.hello_body()).await), SyncFault::StoreUnknown);
    // Each is kept with its reason, also where several came in one second under one code.
    let kept = world.read(|tx| huitong_hub::store::refused::list(tx, &Filter::default(), 100)).await;
    let told: Vec<(&str, &str, &str)> =
        kept.iter().rev().map(|row| (row.store.as_str(), row.fault.as_str(), row.message.as_str())).collect();
    let expected = [
        ("S1", "foreign", "group: is G2; here it is G1"),
        ("S1", "foreign", "store: is S2; here it is S1"),
        ("S1", "foreign", "epoch: is 2"),
        ("S1", "version", "2.0"),
        ("S1", "version", "1.9"),
        ("S2", "store_unknown", "S2"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!((told.0, told.1), (expected.0, expected.1));
        assert!(told.2.contains(expected.2), "{told:?}");
    }
    let sum = world.read(|tx| huitong_hub::store::refused::sum(tx, huitong_protocol::time::Instant(0))).await;
    assert_eq!(sum.stores + sum.strangers, 6);
    let of_two = Filter { store: Some("S2".parse().unwrap()), ..Filter::default() };
    let older = Filter { before: Some(kept[0].number), ..Filter::default() };
    let later = Filter { since: Some(world.hub.now().plus_ms(1)), ..Filter::default() };
    for (filter, count) in [(of_two, 1), (older, 5), (later, 0)] {
        let found = world.read(move |tx| huitong_hub::store::refused::list(tx, &filter, 100)).await;
        assert_eq!(found.len(), count, "{filter:?}");
    }
}

#[tokio::test]
async fn a_forged_or_replayed_request_changes_nothing() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.step(StoreEvent::Load { amount_minor: 500 });
    let body = to_msgpack(&Request { report: Some(store.report(account(1))), policy: None, body: ReportOnly {} });
    let mut thief = FakeStore::new(world.router.clone(), "S1", 77);
    thief.session.clone_from(&store.session);
    let (status, _) = thief.send(path::REPORT, &store.session, 50, body.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let lines = world.read(huitong_hub::store::allotment::counts).await;
    assert!(lines.is_empty(), "{lines:?}");
    // The forged request did not use up the nonce.
    assert_eq!(store.send(path::REPORT, &store.session, 50, body.clone()).await.0, StatusCode::OK);
    assert_eq!(store.send(path::REPORT, &store.session, 50, body.clone()).await.0, StatusCode::CONFLICT);
    assert_eq!(store.send(path::REPORT, "0123456789abcdef", 51, body).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.refused_rows().await, ["session_unknown", "replayed", "forged"]);
    let counts = world.read(huitong_hub::store::allotment::counts).await;
    assert_eq!(counts, [("reports".to_owned(), 1)]);
}

#[tokio::test]
async fn strangers_push_out_nothing_that_a_store_was_told() {
    let world = World::new().await;
    let store = world.store("S1").await;
    let thief = FakeStore::new(world.router.clone(), "S1", 77);
    let told = async || {
        let (status, _) = store.send(path::REPORT, &store.session, store.next_nonce(), vec![0xc1]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let hello = huitong_protocol::wire::Hello { protocol: (2, 0), ..store.hello_body() };
        assert_eq!(fault(store.say_hello(&hello).await), SyncFault::Version);
    };
    // More strangers in one second than are written down, under names that they make up; then the store.
    for number in 0..30 {
        let header = [(header::STORE, format!("X{number}"))];
        world.raw(path::REPORT, &[(header[0].0, &header[0].1)], Vec::new()).await;
        thief.send(path::REPORT, "0123456789abcdef", number, vec![0xc1]).await;
    }
    told().await;
    let kept = world.read(|tx| huitong_hub::store::refused::list(tx, &Filter::default(), 1_000)).await;
    let of = |is_proved: bool| kept.iter().filter(move |row| row.is_proved == is_proved);
    assert_eq!(of(true).map(|row| row.fault.as_str()).collect::<Vec<_>>(), ["version", "malformed"]);
    assert_eq!(of(false).count(), 20);
    // The rings are apart too: however many strangers knock, what the store was told stays.
    let strange = of(false).next().unwrap().clone();
    world
        .hub
        .store
        .write(move |tx| {
            (0..huitong_hub::store::refused::REFUSED_MAX + 5)
                .try_for_each(|_| huitong_hub::store::refused::record(tx, &strange))
        })
        .await
        .unwrap();
    let kept = world.read(|tx| huitong_hub::store::refused::list(tx, &Filter::default(), usize::MAX)).await;
    assert_eq!(kept.iter().filter(|row| row.is_proved).count(), 2);
    assert_eq!(i64::try_from(kept.len()).unwrap(), huitong_hub::store::refused::REFUSED_MAX + 2);
}

#[tokio::test]
async fn every_endpoint_names_the_field_of_a_malformed_message() {
    let world = World::new().await;
    let store = world.store("S1").await;
    let check = async |at: &str, message: serde_json::Value, says: &str| {
        let session = if at == path::HELLO { "" } else { &store.session };
        let (status, body) = store.send(at, session, store.next_nonce(), to_msgpack(&message)).await;
        let refused: Refused = from_msgpack(&body).unwrap();
        assert_eq!(
            (status, refused.fault),
            (StatusCode::BAD_REQUEST, SyncFault::Malformed),
            "{at}: {}",
            refused.message
        );
        assert!(refused.message.contains(says), "{at} says {:?}, not {says:?}", refused.message);
    };
    let line = |minor: serde_json::Value| {
        serde_json::json!({"report": {"epoch": 1, "head": {"seq": 0, "hash": vec![0; 32]}, "stamp": 1, "cards": [], "counters": [
            {"account": 1, "unit": "CNY", "stamp": 1, "counters": {"adopted_minor": minor, "loaded_minor": 0, "spent_minor": 0, "released_minor": 0}}]}, "body": {}})
    };
    check(path::ENROL, serde_json::json!({"protocol": [1, 0], "token": 7}), "token").await;
    check(path::ENROL, serde_json::json!({"protocol": [1, 0], "token": "t", "public_key": [1, 2]}), "public_key").await;
    check(path::HELLO, serde_json::json!({"protocol": [1, 0], "group": "no group"}), "group").await;
    check(path::REPORT, serde_json::json!({"body": {"more": 1}}), "body").await;
    check(path::REPORT, line(serde_json::json!(1.5)), "adopted_minor").await;
    check(path::REPORT, line(serde_json::json!(u64::MAX)), "adopted_minor").await;
    check(path::GRANT, serde_json::json!({"body": {"needs": [{"card": "12ab", "unit": "CNY"}]}}), "body.needs[0].card")
        .await;
    check(path::GRANT, serde_json::json!({"body": {"needs": [{"card": "6601000000000001", "unit": "XXY", "missing_minor": 1, "purpose": "spend"}]}}), "body.needs[0].unit").await;
    check(path::GRANT, serde_json::json!({"body": {"needs": [{"card": "6601000000000001", "unit": "CNY", "missing_minor": -1, "purpose": "spend"}]}}), "body.needs[0].missing_minor").await;
    check(path::POLL, serde_json::json!({"body": {"wait_ms": "soon"}}), "body.wait_ms").await;
    check(path::UPLOAD, serde_json::json!({"body": {"epoch": -1}}), "body.epoch").await;
    check(path::DATASET, serde_json::json!({"body": {"dataset": "secrets"}}), "body.dataset").await;
    check(
        path::DATASET,
        serde_json::json!({"body": {"dataset": "cards", "after_version": 0, "limit": 0}}),
        "body.limit",
    )
    .await;
    // Not MessagePack at all, nested without end, and larger than any message.
    for body in [vec![0xc1], vec![0x91; 100_000], vec![0; (8 << 20) + 1]] {
        let (status, body) = store.send(path::REPORT, &store.session, store.next_nonce(), body).await;
        let refused: Refused = from_msgpack(&body).unwrap();
        assert_eq!((status, refused.fault), (StatusCode::BAD_REQUEST, SyncFault::Malformed));
    }
    let (_, body) = world.raw(path::REPORT, &[(header::STORE, "S 1")], Vec::new()).await;
    assert!(from_msgpack::<Refused>(&body).unwrap().message.contains(header::STORE));
}

#[tokio::test]
async fn datasets_arrive_in_pages_that_end_at_a_version() {
    let world = World::new().await;
    let store = world.store("S1").await;
    let (mut after_version, mut rows, mut pages) = (0, 0, 0);
    loop {
        let request = DatasetRequest { dataset: DatasetKind::Cards, after_version, limit: 2 };
        let page: DatasetPage = store.call(path::DATASET, None, request).await.unwrap().body;
        rows += page.rows.len();
        pages += 1;
        after_version = page.through_version;
        if !page.more {
            break;
        }
    }
    assert_eq!((rows, pages, after_version), (3, 2, 3));
}

#[tokio::test]
async fn a_store_that_lost_entries_is_not_greeted() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(huitong_protocol::entry::Body::CardStatus(crate::journal::frozen(1)));
    store.write(huitong_protocol::entry::Body::CardStatus(crate::journal::frozen(1)));
    store.upload(store.segment(0, 2)).await.unwrap();
    store.hello().await.unwrap();
    store.journal.pop();
    assert_eq!(fault(store.say_hello(&store.hello_body()).await), SyncFault::Fork);
    assert_eq!(world.exceptions().await, ["store_behind"]);
}

#[tokio::test]
async fn an_old_hello_that_comes_late_alarms_nobody() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    let old = to_msgpack(&store.hello_body());
    store.write(huitong_protocol::entry::Body::CardStatus(crate::journal::frozen(1)));
    store.upload(store.segment(0, 1)).await.unwrap();
    store.nonce.store(1_000, std::sync::atomic::Ordering::SeqCst);
    store.hello().await.unwrap();
    assert_eq!(store.send(path::HELLO, "", 500, old).await.0, StatusCode::CONFLICT);
    assert_eq!(world.exceptions().await, Vec::<String>::new());
    assert_eq!(store.upload(store.segment(0, 1)).await.unwrap().journal_head, store.head(), "the session goes on");
}

#[tokio::test]
async fn repeating_a_hello_does_not_push_out_the_session_in_use() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    let hello = to_msgpack(&store.hello_body());
    for time in 0..10 {
        let welcome: Welcome = unpack(store.send(path::HELLO, "", 7, hello.clone()).await).unwrap();
        assert!(time == 0 || welcome.session == store.session, "the same hello is given the same session");
        store.session = welcome.session;
    }
    store.send_report(store.report(account(1))).await.unwrap();
}
