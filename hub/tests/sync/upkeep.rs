//! What the hub does by itself: comparing what stores say in different ways, and keeping its schedule.

use std::sync::atomic::Ordering;

use huitong_hub::config::HubConfig;
use huitong_hub::hot::Lately;
use huitong_hub::hub::Hub;
use huitong_hub::schedule::Job;
use huitong_hub::store::schedule as rows;
use huitong_hub::{overview, reconcile, worker};
use huitong_protocol::allotment::StoreEvent;

use crate::fake::{FakeStore, World, account};
use crate::journal::reload;

async fn findings(world: &World) -> usize {
    world.read(|tx| Ok(reconcile::find(tx)?.len())).await
}

/// Loads a cent more into the books than into the counters when `extra_minor` is 1.
fn load(store: &mut FakeStore, amount_minor: i64, extra_minor: i64) {
    store.step(StoreEvent::Load { amount_minor });
    store.write(reload(amount_minor + extra_minor));
}

#[tokio::test]
async fn report_and_journal_are_compared_where_both_end() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    load(&mut store, 100, 0);
    store.send_report(store.report(account(1))).await.unwrap();
    assert_eq!(findings(&world).await, 0, "the report is ahead, the journal follows");
    store.upload(store.segment(0, 1)).await.unwrap();
    assert_eq!(findings(&world).await, 0);
    load(&mut store, 50, 0);
    store.upload(store.segment(1, 2)).await.unwrap();
    assert_eq!(findings(&world).await, 0, "the journal is ahead, the report follows");
    load(&mut store, 10, 1);
    store.upload(store.segment(2, 3)).await.unwrap();
    store.send_report(store.report(account(1))).await.unwrap();
    let found = world.read(reconcile::find).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].evidence.to_string(), "loaded_minor: expected 161 by the journal, found 160 in the report");
    assert_eq!(reconcile::run(&world.hub.store, world.hub.now()).await.unwrap(), 1);
    assert_eq!(reconcile::run(&world.hub.store, world.hub.now()).await.unwrap(), 0, "raised once");
    assert_eq!(world.exceptions().await, ["report_differs"]);
}

#[tokio::test]
async fn a_planted_cent_in_the_hubs_own_counters_is_found() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    load(&mut store, 100, 0);
    store.upload(store.segment(0, 1)).await.unwrap();
    store.send_report(store.report(account(1))).await.unwrap();
    for change in
        ["loaded_minor = loaded_minor + 1", "loaded_minor = loaded_minor - 2", "spent_minor = 1", "released_minor = 1"]
    {
        let sql = format!("UPDATE allotment SET {change}");
        world.hub.store.write(move |tx| tx.execute(&sql, &[])).await.unwrap();
        assert_eq!(findings(&world).await, 1, "{change}");
    }
}

#[tokio::test]
async fn a_store_that_only_asks_is_heard_too() {
    let world = World::new().await;
    let store = world.store("S1").await;
    world.clock.0.fetch_add(5_000, Ordering::SeqCst);
    let page = huitong_protocol::wire::DatasetRequest {
        dataset: huitong_protocol::wire::DatasetKind::Stores,
        after_version: 0,
        limit: 1,
    };
    let _: huitong_protocol::wire::Answer<huitong_protocol::wire::DatasetPage> =
        store.call(huitong_protocol::wire::path::DATASET, None, page).await.unwrap();
    let now = world.hub.now();
    worker::perform(&world.hub, huitong_hub::schedule::Job::Reconcile, now).await.unwrap();
    let id = store.id;
    assert_eq!(world.read(move |tx| huitong_hub::store::device::last_seen(tx, id)).await, Some(now));
}

#[tokio::test]
async fn jobs_run_when_due_and_what_was_missed_is_caught_up_once() {
    let world = World::new().await;
    let runs = async || {
        let jobs = world.read(rows::list).await;
        jobs.iter().map(|job| (job.name.clone(), job.runs, job.failures)).collect::<Vec<_>>()
    };
    let none = ["park", "purge", "reconcile", "remember", "rerate"].map(|name| (name.to_owned(), 0, 0));
    worker::dispatch(&world.hub).await;
    assert_eq!(runs().await, none, "nothing is due at the start");
    // The power was off for three days.
    world.clock.0.fetch_add(3 * 86_400_000, Ordering::SeqCst);
    for _ in 0..3 {
        worker::dispatch(&world.hub).await;
        assert_eq!(runs().await, none.clone().map(|(name, ..)| (name, 1, 0)));
    }
    world.clock.0.fetch_add(601_000, Ordering::SeqCst);
    // Somebody else holds the lease.
    let now = world.hub.now();
    assert!(world.hub.store.write(move |tx| rows::take(tx, "reconcile", now, now.plus_ms(60_000))).await.unwrap());
    worker::dispatch(&world.hub).await;
    assert_eq!(runs().await[2], ("reconcile".to_owned(), 1, 0));
    // It died; its lease runs out.
    world.clock.0.fetch_add(60_000, Ordering::SeqCst);
    worker::dispatch(&world.hub).await;
    assert_eq!(runs().await[2], ("reconcile".to_owned(), 2, 0));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_no_other_job() {
    let world = World::new().await;
    let (config, clock) = (HubConfig::default(), world.clock.clone());
    let config = HubConfig { recovery_log: "not there/recovery.log".into(), ..config };
    let hub = Hub::new(config, world.hub.store.clone(), clock).await.unwrap();
    let now = hub.now();
    worker::perform(&hub, Job::Reconcile, now).await.unwrap();
    let failed = worker::perform(&hub, Job::Remember, now).await.unwrap_err().to_string();
    assert!(failed.contains("recovery.log"), "{failed}");
    let remembered = async || world.read(move |tx| overview::look(tx, &Lately::default(), now)).await.remembered_at_ms;
    assert_eq!(remembered().await, None);
    worker::perform(&world.hub, Job::Remember, now).await.unwrap();
    assert_eq!(remembered().await, Some(now));
}

#[tokio::test]
async fn the_daemon_stops_also_while_it_verifies() {
    let world = World::new().await;
    // A hub whose books have no end.
    let endless = "CREATE VIEW movement AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
         SELECT i AS account_id, i AS stamp, '' AS store_id, i AS epoch, i AS seq, i AS idx, i AS ingested_no, '' AS business_day, \
         '' AS unit, '' AS kind, i AS amount_minor, NULL AS of_entry, NULL AS of_idx, NULL AS origin_store FROM n";
    world
        .hub
        .store
        .write::<_, huitong_hub::store::StoreError, _>(move |tx| {
            tx.execute("DROP TABLE movement", &[])?;
            tx.execute(endless, &[])?;
            huitong_hub::store::hq_token::insert(tx, "li", "shown", huitong_protocol::time::Instant(0), None)
        })
        .await
        .unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let hub = tokio::spawn(huitong_hub::serve(listener, world.hub.clone(), async {
        let _ = stopped.await;
    }));
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ask = "POST /v1/hq/verify HTTP/1.1\r\nhost: hub\r\nconnection: close\r\nauthorization: Bearer shown\r\ncontent-length: 0\r\n\r\n";
    line.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), hub).await;
    ended.expect("the hub stops in time").unwrap().unwrap();
    assert!(matches!(world.hub.verification.status(), huitong_hub::verification::Status::Failed { .. }));
}

#[tokio::test]
async fn the_daemon_serves_and_stops_when_told() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let hub = tokio::spawn(huitong_hub::serve(listener, world.hub.clone(), async {
        let _ = stopped.await;
    }));
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    line.write_all(b"GET /readyz HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ready\n"), "{answer}");
    stop.send(()).unwrap();
    hub.await.unwrap().unwrap();
    assert!(world.hub.store.write(rows::list).await.is_err(), "the database is closed");
}
