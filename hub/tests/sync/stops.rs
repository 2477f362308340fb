//! Cards that were stopped in a time that a restored hub has forgotten: nobody takes its cards for the newest before it has heard everybody.

use std::sync::Arc;

use huitong_hub::hub::Hub;
use huitong_hub::recovery;
use huitong_protocol::wire::{Answer, DatasetKind, DatasetPage, DatasetRequest, Poll, Polled, path};

use crate::fake::{FakeStore, World, account};
use crate::recovery::{backup, restored, turn_to};

async fn poll(store: &FakeStore, wait_ms: u64) -> Polled {
    let answer: Answer<Polled> =
        store.call(path::POLL, None, Poll { wait_ms, recalls_through: 0, cards_version: 0 }).await.unwrap();
    answer.body
}

async fn cards_after(store: &FakeStore, after_version: u64) -> DatasetPage {
    let request = DatasetRequest { dataset: DatasetKind::Cards, after_version, limit: 100 };
    let answer: Answer<DatasetPage> = store.call(path::DATASET, None, request).await.unwrap();
    answer.body
}

/// A hub that was put back to a backup, and two stores of the time since then.
async fn put_back() -> (World, FakeStore, FakeStore) {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    let image = backup(&world).await;
    let known = world.read(recovery::mark).await;
    let hub: Hub = restored(&world, &image, &known, false).await.unwrap();
    for store in [&mut one, &mut two] {
        turn_to(store, &hub);
    }
    (world.on(hub, image), one, two)
}

#[tokio::test]
async fn a_restored_hub_says_that_it_may_have_forgotten_stops_until_everybody_was_heard() {
    let (_world, mut one, mut two) = put_back().await;
    assert!(one.hello().await.unwrap().recovers && two.hello().await.unwrap().recovers);
    one.send_report(one.report(account(1))).await.unwrap();
    assert!(poll(&one, 0).await.recovers && cards_after(&one, 0).await.recovers, "S2 may know of a stop");
    let one = Arc::new(one);
    let waiting = tokio::spawn({
        let one = Arc::clone(&one);
        async move { poll(&one, 25_000).await }
    });
    two.send_report(two.report(account(1))).await.unwrap();
    // Who waits for news is told at once that there is nobody left to hear.
    let within = std::time::Duration::from_secs(15);
    assert!(!tokio::time::timeout(within, waiting).await.unwrap().unwrap().recovers);
    assert!(
        !poll(&two, 0).await.recovers && !cards_after(&two, 0).await.recovers && !two.hello().await.unwrap().recovers
    );
}

#[tokio::test]
async fn a_hub_that_is_asked_for_more_than_it_ever_gave_out_does_not_say_that_this_is_all() {
    let world = World::new().await;
    let one = world.store("S1").await;
    let all = cards_after(&one, 0).await;
    assert!(!all.recovers && !cards_after(&one, all.through_version).await.recovers);
    assert!(cards_after(&one, all.through_version + 1).await.recovers, "it was put back, and nobody has told it");
}
