//! Points that stores leave to head office: whose they are when a card changes hands, and that nobody looks in vain at what cannot move.

use std::time::Duration;

use huitong_hub::schedule::Job;
use huitong_hub::worker;
use huitong_protocol::allotment::{HubEvent, HubSide, Purse, step};
use huitong_protocol::card::{CardChange, CardStatus};
use huitong_protocol::entry::{Body, DeferredEarning, Sale};
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::unit::Unit;

use crate::exceptions::{basket, sold, undone};
use crate::fake::{FakeStore, World, account, card};
use crate::members::{bring, sql};

/// When the stories begin; the same business day throughout.
const NINE: i64 = 1_800_000_000_000;

/// A sale with a card shown that the store does not know, and what it would earn.
fn earning(number: u32, points: i64) -> Body {
    let Body::Sale(sale) = basket(&[("A1", true)]) else { unreachable!("a sale") };
    let deferred = DeferredEarning { card: card(number), base_minor: 1, points, lines: vec![0], tenders: vec![0] };
    Body::Sale(Sale { deferred: Some(Box::new(deferred)), ..sale })
}

/// Writes an entry at a moment after nine. It stays at the store.
fn write_at(store: &mut FakeStore, seconds: i64, body: Body) {
    store.stamp = NINE + seconds * 1_000;
    store.write(body);
}

/// What the store's last entry made of card 2 is reported; its journal stays at the store.
async fn report(store: &FakeStore, status: CardStatus) {
    let mut report = store.report(account(1));
    report.cards = vec![CardChange { number: card(2), status, stamp: Stamp(store.stamp) }];
    store.send_report(report).await.unwrap();
}

/// Uploads what the hub does not have, up to an entry.
async fn upload(store: &FakeStore, from: usize, to: usize) {
    let uploaded = store.upload(store.segment(from, to)).await.unwrap();
    assert!(uploaded.quarantined.is_empty(), "{uploaded:?}");
}

async fn job(world: &World) -> String {
    worker::perform(&world.hub, Job::Reconcile, world.hub.now()).await.unwrap()
}

/// What became of the points, by how many they are.
async fn states(world: &World) -> Vec<(i64, String)> {
    let sql = "SELECT points, state FROM deferred_earning ORDER BY points";
    world.read(|tx| tx.query(sql, &[], |row| Ok((row.integer(0)?, row.text(1)?.to_owned())))).await
}

fn all(said: &[(i64, &str)]) -> Vec<(i64, String)> {
    said.iter().map(|(points, state)| (*points, (*state).to_owned())).collect()
}

#[tokio::test]
async fn points_are_for_whoever_had_bought_the_card_by_then_on_one_and_the_same_day() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    write_at(&mut two, 0, earning(2, 1));
    write_at(&mut one, 10, earning(2, 2));
    write_at(&mut one, 20, sold(2, 10));
    write_at(&mut one, 20, earning(2, 3));
    write_at(&mut two, 30, earning(2, 4));
    upload(&two, 0, 2).await;
    job(&world).await;
    one.stamp = NINE + 20_001;
    report(&one, CardStatus::Active).await;
    upload(&one, 0, 1).await;
    assert!(job(&world).await.contains("0 deferred points given"), "nobody knows yet since when the card is in use");
    assert!(states(&world).await.iter().all(|(_, state)| state == "waiting"));
    upload(&one, 1, 3).await;
    assert!(job(&world).await.contains(" 4 deferred points given"), "the store's own came with its journal");
    let decided = all(&[(1, "nobodys"), (2, "nobodys"), (3, "given"), (4, "given")]);
    assert_eq!(states(&world).await, decided);
    // Later than all this the sale is undone: what was decided stays so.
    bring(&mut one, undone("S1-1-2")).await;
    report(&one, CardStatus::Withdrawn).await;
    assert!(job(&world).await.contains(" 0 deferred points given"));
    assert_eq!(states(&world).await, decided);
}

#[tokio::test]
async fn what_was_earned_before_a_card_was_sold_again_is_nobodys() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    write_at(&mut one, 10, sold(2, 10));
    write_at(&mut two, 20, earning(2, 1));
    write_at(&mut one, 30, undone("S1-1-1"));
    write_at(&mut two, 40, earning(2, 2));
    write_at(&mut one, 50, sold(2, 10));
    write_at(&mut two, 60, earning(2, 3));
    // The line is cut over the void: head office hears of the last sale only, and has the journal up to the first.
    report(&one, CardStatus::Active).await;
    upload(&one, 0, 1).await;
    upload(&two, 0, 3).await;
    job(&world).await;
    assert!(states(&world).await.iter().all(|(_, state)| state == "waiting"), "the first buyer's may be the second's");
    upload(&one, 1, 3).await;
    assert!(job(&world).await.contains(" 3 deferred points given"));
    assert_eq!(states(&world).await, all(&[(1, "nobodys"), (2, "nobodys"), (3, "given")]));
}

#[tokio::test]
async fn a_receipt_posted_late_earns_for_whoever_had_the_card_when_it_was_taken() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    let taken = |points: i64, seconds: i64| {
        let Body::Sale(sale) = earning(2, points) else { unreachable!("it is a sale") };
        Body::Sale(Sale { taken_at_ms: Some(Instant(NINE + seconds * 1_000)), ..sale })
    };
    write_at(&mut one, 20, sold(2, 10));
    // Both machines were down, at the other store and at the one that sold the card.
    write_at(&mut two, 30, taken(1, 10));
    write_at(&mut two, 30, taken(2, 25));
    write_at(&mut one, 30, taken(3, 10));
    one.stamp = NINE + 20_001;
    report(&one, CardStatus::Active).await;
    upload(&one, 0, 2).await;
    upload(&two, 0, 2).await;
    job(&world).await;
    assert_eq!(states(&world).await, all(&[(1, "nobodys"), (2, "given"), (3, "nobodys")]));
}

#[tokio::test]
async fn a_card_that_was_stopped_before_its_sale_was_told_gets_what_it_earned() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    write_at(&mut one, 10, sold(2, 10));
    write_at(&mut two, 20, earning(2, 5));
    one.stamp = NINE + 30_000;
    report(&one, CardStatus::Frozen).await;
    upload(&two, 0, 1).await;
    job(&world).await;
    assert_eq!(states(&world).await, all(&[(5, "waiting")]));
    upload(&one, 0, 1).await;
    assert!(job(&world).await.contains(" 5 deferred points given"));
}

#[tokio::test]
async fn points_that_cannot_be_counted_wait_and_hold_up_neither_journal_nor_job() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    fill(&world, i64::MAX).await;
    bring(&mut store, earning(1, 5)).await;
    assert_eq!(world.exceptions().await, ["left_undone"]);
    bring(&mut store, earning(3, 6)).await;
    job(&world).await;
    assert_eq!(world.exceptions().await, ["left_undone"]);
    assert_eq!(states(&world).await, all(&[(5, "waiting"), (6, "given")]), "others get theirs");
    fill(&world, 1).await;
    assert!(job(&world).await.contains(" 5 deferred points given"));
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

/// Head office's pool has so many points of account 1.
async fn fill(world: &World, amount_minor: i64) {
    let purse = Purse { account: account(1), unit: Unit::Points };
    let side = step(&HubSide::default(), HubEvent::Load { amount_minor }).unwrap();
    let put =
        world.hub.store.write(move |tx| huitong_hub::store::allotment::put_pool(tx, purse, &side.pool, Stamp::ZERO));
    put.await.unwrap();
}

/// Does the job while somebody else holds the writer: it must not ask for it.
async fn job_without_writing(world: &World) -> String {
    let other = rusqlite::Connection::open(world.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let said = tokio::time::timeout(Duration::from_secs(15), job(world)).await;
    other.execute_batch("ROLLBACK").unwrap();
    said.expect("the job waits for the writer, and there is nothing to write")
}

#[tokio::test]
async fn what_cannot_move_is_looked_at_without_the_writer_and_what_can_is_moved() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    write_at(&mut store, 0, earning(2, 9));
    upload(&store, 0, 1).await;
    job(&world).await;
    const MANY: &str = "WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 10000) ";
    for rows in [
        // Cards that stores report as sold, half of them; the others nobody knows.
        "INSERT INTO card (number, product, account_id, status, status_stamp, sold_stamp, version) \
         SELECT '7' || printf('%011d', n), 'SV', 1000 + n, 'active', 5, 5, 1 FROM many WHERE n % 2 = 0",
        "INSERT INTO deferred_earning (store_id, epoch, seq, stamp, card, business_day, points, back_points, is_parked, state) \
         SELECT 'S2', 1, n, 9, '7' || printf('%011d', n), '2026-11-22', 10, 0, 0, 'waiting' FROM many",
        // Half of the accounts had points, which are all at some store.
        "INSERT INTO pool (account_id, unit, loaded_minor, spent_minor, granted_minor, released_minor, stamp) \
         SELECT 1000 + n, 'points', 50, 10, 45, 5, 1 FROM many WHERE n % 2 = 0",
        "INSERT INTO points_claim (claim_no, account_id, store_id, epoch, seq, idx, business_day, points, settled_points) \
         SELECT n, 1000 + n, 'S2', 1, n, 0, '2026-11-22', 10, 0 FROM many",
        // Loads that wait for a store that is silent.
        "INSERT INTO review_doubt (store_id, epoch, seq, stamp, behind_store, behind_epoch) SELECT 'S1', 1, n, 9, 'S2', 1 FROM many",
    ] {
        let statement = format!("{MANY}{rows}");
        world.hub.store.write(move |tx| tx.execute(&statement, &[])).await.unwrap();
    }
    let idle = "0 new findings, 0 deferred points given, 0 claimed points taken back";
    assert_eq!(job_without_writing(&world).await, idle);
    // One card's sale comes, one account's points come back to the pool.
    sql(&world, "UPDATE card SET sold_stamp = NULL WHERE number = '700000000002'").await;
    sql(&world, "UPDATE pool SET released_minor = 12 WHERE account_id = 1004").await;
    // What was given lies in the pool too, and pays the claim on its account.
    assert_eq!(job(&world).await, "0 new findings, 10 deferred points given, 17 claimed points taken back");
    assert_eq!(job(&world).await, idle, "what head office has posted is reviewed");
    assert_eq!(job_without_writing(&world).await, idle, "and that was all");
    let open = "SELECT COUNT(*) FROM points_claim WHERE settled_points > 0";
    assert_eq!(world.read(|tx| tx.query_one(open, &[], |row| row.integer(0))).await, Some(2));
}
