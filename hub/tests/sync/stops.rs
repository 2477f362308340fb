//! Cards that were stopped in a time that a restored hub has forgotten: nobody takes its cards for the newest before it has heard everybody, and the stores
//! that know of a stop bring it back.

use std::sync::Arc;

use huitong_hub::hub::Hub;
use huitong_hub::recovery;
use huitong_hub::store::{card as cards, organisation};
use huitong_protocol::card::{Card, CardChange, CardStatus};
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::{Answer, DatasetKind, DatasetPage, DatasetRequest, Poll, Polled, path};

use crate::fake::{FakeStore, World, account, card};
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

async fn card_1(world: &World) -> Card {
    world.read(|tx| cards::find(tx, card(1))).await.unwrap()
}

/// A store tells everything that it has, and of a card.
async fn tell(store: &FakeStore, status: CardStatus, stamp: i64) {
    let mut report = store.report(account(1));
    report.cards = vec![CardChange { number: card(1), status, stamp: Stamp(stamp) }];
    store.send_report(report).await.unwrap();
}

#[tokio::test]
async fn a_stop_that_the_hub_forgot_holds_again_when_a_store_says_it_until_a_person_lifts_it() {
    let (world, mut one, mut two) = put_back().await;
    let now = world.hub.now();
    let stopped = now.0 - 60_000;
    two.hello().await.unwrap();
    for _ in 0..2 {
        // As a store does whose answer was lost.
        tell(&two, CardStatus::Lost, stopped).await;
    }
    one.hello().await.unwrap();
    let known = cards_after(&one, 0).await.through_version;
    tell(&one, CardStatus::Lost, stopped).await;
    tell(&one, CardStatus::Frozen, stopped - 5).await;
    let held = card_1(&world).await;
    assert_eq!(held.status, CardStatus::Lost);
    assert!(
        held.status_stamp >= Stamp(now.0),
        "a store that heard in the forgotten time that it was lifted stops it too"
    );
    assert_eq!(cards_after(&one, 0).await.through_version, known, "the others said nothing new");
    let found = world.open_exceptions().await;
    assert_eq!(found.len(), 1, "{found:?}");
    let row = &found[0];
    let names = (row.class.as_str(), row.store, row.subject.as_str());
    assert_eq!(names, ("stop_returned", Some(two.id), "card ****0001 of account 1"));
    let stopped_at = huitong_protocol::time::Instant(stopped);
    let says = format!(
        "card ****0001 of account 1 was lost at {stopped_at}; head office had it active; said again by S2-1; it is lost as of now"
    );
    assert_eq!(row.evidence.to_string(), says);
    assert_eq!(world.read(recovery::look).await.stops_returned, 1);

    // It was found; somebody who knows that says so. A store that comes back later with the old word changes nothing.
    let free = Card { status: CardStatus::Active, status_stamp: Stamp(held.status_stamp.0 + 1), ..held };
    world.hub.store.write(move |tx| organisation::write_card(tx, &free)).await.unwrap();
    tell(&one, CardStatus::Lost, stopped).await;
    assert_eq!((card_1(&world).await.status, world.exceptions().await.len()), (CardStatus::Active, 1));
}

#[tokio::test]
async fn a_stop_since_the_restore_is_none_that_was_forgotten() {
    let (world, _one, mut two) = put_back().await;
    two.hello().await.unwrap();
    let stopped = world.hub.now().0 + 1_000;
    tell(&two, CardStatus::Frozen, stopped).await;
    let held = card_1(&world).await;
    assert_eq!((held.status, held.status_stamp), (CardStatus::Frozen, Stamp(stopped)));
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}
