//! A hub that was restored from a backup: it has forgotten what it granted, and gives nothing away until it has heard everybody.

use std::sync::Arc;

use huitong_hub::actor::{Actor, Via};
use huitong_hub::config::HubConfig;
use huitong_hub::hub::Hub;
use huitong_hub::recovery::{self, Mark, RecoveryError};
use huitong_hub::store::allotment;
use huitong_hub::store::engine::Store;
use huitong_hub::{api, fence, verify};
use huitong_protocol::allotment::{Purse, StoreEvent};
use huitong_protocol::id::Epoch;
use huitong_protocol::wire::SyncFault;

use crate::fake::{CNY, FakeStore, World, account, fault};

fn purse() -> Purse {
    Purse { account: account(1), unit: CNY }
}

async fn free(hub: &Hub) -> i64 {
    hub.store.read(|tx| allotment::pool(tx, purse())).await.unwrap().0.free_minor()
}

/// Takes a copy of the database as it is now.
async fn backup(world: &World) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("hub.db");
    let connection = rusqlite::Connection::open(world.database()).unwrap();
    connection.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
    folder
}

/// Serves on a backup, after `recover`.
async fn restored(world: &World, folder: &tempfile::TempDir, known: &Mark, accept: bool) -> Result<Hub, RecoveryError> {
    let store = Store::open(&folder.path().join("hub.db"), 2).unwrap();
    let (known, now) = (known.clone(), world.hub.now());
    let begin = move |tx: &mut huitong_hub::store::Tx<'_>| {
        let li = Actor::new("li", Via::Cli).unwrap();
        recovery::begin(tx, &li, Some(&known), accept, "the disk broke", now)
    };
    store.write(begin).await?;
    Ok(Hub::new(HubConfig::default(), store, world.clock.clone() as Arc<_>).await.unwrap())
}

fn turn_to(store: &mut FakeStore, hub: &Hub) {
    store.router = api::router(hub.clone());
}

#[tokio::test]
async fn a_restored_hub_grants_nothing_until_all_were_heard_and_then_knows_what_it_forgot() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    world.load(account(1), 100).await;
    let image = backup(&world).await;
    // After the backup: all 100 were granted, 50 spent and 40 given back.
    assert_eq!(one.ask(60).await.grants[0].granted_minor, 100);
    one.step(StoreEvent::Spend { amount_minor: 50 });
    one.step(StoreEvent::Release { amount_minor: 40 });
    one.send_report(one.report(account(1))).await.unwrap();
    let known = world.read(recovery::mark).await;

    let hub = restored(&world, &image, &known, false).await.unwrap();
    assert_eq!((free(&hub).await, known.beyond(&Mark::default()).is_some()), (100, true));
    for store in [&mut one, &mut two] {
        turn_to(store, &hub);
        assert_eq!(fault(store.send_report(store.report(account(1))).await), SyncFault::SessionUnknown);
    }
    // The one that holds nothing is heard first; it gets nothing, though the pool shows 100.
    assert_eq!(two.hello().await.unwrap().hub_incarnation, 2);
    assert_eq!(two.ask(80).await.grants, Vec::new());
    assert_eq!(hub.store.read(recovery::look).await.unwrap().waited_for.len(), 1);
    // A part of a larger report is not all.
    one.hello().await.unwrap();
    one.write(crate::journal::open());
    let mut part = one.report(account(1));
    part.head = huitong_protocol::journal::Head::START;
    let whole = one.report(account(1));
    assert_eq!(one.send_report(part).await.unwrap().refused, Vec::new());
    assert_eq!(hub.store.read(recovery::look).await.unwrap().waited_for.len(), 1);
    one.send_report(whole).await.unwrap();
    assert_eq!(hub.store.read(recovery::look).await.unwrap().waited_for, Vec::new());
    assert_eq!(free(&hub).await, 40, "what was granted is known again");
    let granted = two.ask(80).await.grants;
    assert_eq!(granted[0].granted_minor, 40, "and is not granted twice");
}

#[tokio::test]
async fn a_person_ends_an_epoch_that_does_not_come_back_and_is_told_what_is_not_known() {
    let world = World::new().await;
    let (_one, mut two) = (world.store("S1").await, world.store("S2").await);
    world.load(account(1), 100).await;
    let (image, known) = (backup(&world).await, world.read(recovery::mark).await);
    let hub = restored(&world, &image, &known, false).await.unwrap();
    turn_to(&mut two, &hub);
    two.hello().await.unwrap();
    assert_eq!(two.ask(80).await.grants, Vec::new());
    let now = world.hub.now();
    let fence = move |tx: &mut huitong_hub::store::Tx<'_>| {
        fence::fence(tx, &Actor::new("li", Via::Cli).unwrap(), "S1".parse().unwrap(), "burnt", now)
    };
    let ended = hub.store.write(fence).await.unwrap();
    assert!(ended.unknown.unwrap().contains("restored"));
    assert_eq!(two.ask(80).await.grants[0].granted_minor, 100);
}

#[tokio::test]
async fn an_epoch_that_the_backup_forgot_is_put_back_and_its_number_is_not_minted_again() {
    let world = World::new().await;
    let _old = world.store("S1").await;
    world.load(account(1), 100).await;
    let image = backup(&world).await;
    world.token("S1", "again").await;
    let mut new = FakeStore::new(world.router.clone(), "S1", 9);
    new.epoch = new.enrol("again").await.unwrap().epoch;
    new.hello().await.unwrap();
    new.ask(30).await;
    let known = world.read(recovery::mark).await;
    // What the first epoch was granted after the backup nobody knows: a person has to answer for it.
    assert!(matches!(restored(&world, &image, &known, false).await, Err(RecoveryError::Unknown(_))));
    let hub = restored(&world, &image, &known, true).await.unwrap();
    turn_to(&mut new, &hub);
    assert_eq!(new.hello().await.unwrap().hub_incarnation, 2);
    new.send_report(new.report(account(1))).await.unwrap();
    assert_eq!((free(&hub).await, new.epoch), (0, Epoch(2)));
    assert_eq!(hub.store.read(recovery::look).await.unwrap().waited_for, Vec::new());
    let report = hub.store.read(verify::run).await.unwrap();
    let found: Vec<_> = report.checks.iter().flat_map(|check| &check.findings).map(|finding| finding.table).collect();
    // The helper loads without a posting, which is all that there is to find.
    assert_eq!(found, ["pool"]);
}

#[tokio::test]
async fn a_hub_does_not_start_on_a_database_that_is_older_than_it_was() {
    let world = World::new().await;
    let _one = world.store("S1").await;
    let image = backup(&world).await;
    let file = world.database().with_file_name("recovery.log");
    assert!(recovery::remembered(&file).unwrap().is_some(), "an enrolment is remembered before it is answered");
    recovery::may_start(&world.hub.store, &file).unwrap();
    let _two = world.store("S2").await;
    let old = Store::open(&image.path().join("hub.db"), 1).unwrap();
    let refused = recovery::may_start(&old, &file).unwrap_err().to_string();
    assert!(refused.contains("S2-1") && refused.contains("huitong-hub recover"), "{refused}");
    recovery::may_start(&world.hub.store, &file).unwrap();
}
