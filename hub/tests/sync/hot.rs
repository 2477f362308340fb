//! Stopped cards: which stores know, what a finder could still take where nobody does, and where the value goes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use huitong_hub::actor::{Actor, Via};
use huitong_hub::hot::{self, HotList, Lately, Part};
use huitong_hub::hub::Hub;
use huitong_hub::knowledge::Word;
use huitong_hub::store::engine::Tx;
use huitong_hub::store::{StoreError, card as cards, organisation, tenure};
use huitong_hub::{fence, recovery};
use huitong_protocol::allotment::{StoreCounters, StoreEvent};
use huitong_protocol::card::{CardChange, CardStatus};
use huitong_protocol::id::Seq;
use huitong_protocol::time::Stamp;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{
    Answer, DatasetKind, DatasetPage, DatasetRequest, Poll, Polled, Recall, ReportLine, path,
};

use crate::fake::{CNY, FakeStore, World, account, card};
use crate::recovery::{backup, restored, turn_to};
use crate::value::say;

const RECALL: fn() -> Recall = || Recall { account: account(1), unit: CNY };

/// Looks as the daemon does.
async fn list(hub: &Hub) -> HotList {
    let (lately, now) = (hub.lately(), hub.now());
    hub.store.read(move |tx| hot::look(tx, &lately, Part::default(), now)).await.unwrap()
}

/// Who is not known to know of the first card, and what can be taken with it.
async fn first(hub: &Hub) -> (Vec<String>, Vec<i64>) {
    let list = list(hub).await;
    let Some(card) = list.cards.first() else { return (Vec::new(), Vec::new()) };
    (card.untold.iter().map(ToString::to_string).collect(), list.exposed.iter().map(|sum| sum.exposed_minor).collect())
}

async fn newest(hub: &Hub) -> u64 {
    let versions = hub.datasets().await.unwrap();
    versions.iter().find(|known| known.dataset == DatasetKind::Cards).unwrap().version
}

async fn poll(store: &FakeStore, wait_ms: u64, recalls_through: u64, cards_version: u64) -> Polled {
    let poll = Poll { wait_ms, recalls_through, cards_version };
    let answer: Answer<Polled> = store.call(path::POLL, None, poll).await.unwrap();
    answer.body
}

/// A store says that it has all cards up to a version.
async fn has(store: &FakeStore, cards_version: u64) {
    poll(store, 0, 0, cards_version).await;
}

async fn stop(world: &World, store: &FakeStore, number: u32, status: CardStatus) {
    let mut report = store.report(account(2));
    let stamp = Stamp(world.clock.0.fetch_add(1, Ordering::SeqCst));
    report.cards = vec![CardChange { number: card(number), status, stamp }];
    store.send_report(report).await.unwrap();
}

#[tokio::test]
async fn a_store_counts_with_what_it_holds_until_it_says_that_it_knows() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    let (mut one, two) = (world.store("S1").await, world.store("S2").await);
    assert_eq!(one.ask(60).await.grants[0].granted_minor, 100);
    assert_eq!(list(&world.hub).await.cards, []);
    stop(&world, &two, 1, CardStatus::Lost).await;
    let card = list(&world.hub).await.cards.remove(0);
    assert_eq!((card.stores, card.places.len(), card.card.number.as_str()), (2, 1, "****0001"));
    assert_eq!((card.places[0].exposed_minor, card.places[0].undelivered_minor), (100, 100), "it may have arrived");

    let mut report = one.report(account(1));
    let counters = StoreCounters { loaded_minor: 5, ..StoreCounters::default() };
    report.counters.push(ReportLine { account: account(1), unit: Unit::Points, counters, stamp: Stamp(one.stamp) });
    one.send_report(report).await.unwrap();
    let version = newest(&world.hub).await;
    has(&two, version).await;
    let card = list(&world.hub).await.cards.remove(0);
    assert_eq!(card.untold, ["S1".parse().unwrap()]);
    let places: Vec<_> =
        card.places.iter().map(|place| (place.unit, place.exposed_minor, place.undelivered_minor)).collect();
    assert_eq!(places, [(CNY, 100, 0), (Unit::Points, 5, 0)]);
    // Silence changes nothing, nor does what is older than the stop; a version that was never given out says nothing.
    world.clock.0.fetch_add(3_600_000, Ordering::SeqCst);
    has(&one, version - 1).await;
    assert_eq!(first(&world.hub).await, (vec!["S1".to_owned()], vec![100, 5]));
    let request = DatasetRequest { dataset: DatasetKind::Cards, after_version: version, limit: 10 };
    let _: Answer<DatasetPage> = one.call(path::DATASET, None, request).await.unwrap();
    assert_eq!(first(&world.hub).await, (vec![], vec![]), "who asks for what follows has what was before");
    // The database follows.
    let durable = async || {
        let now = world.hub.now();
        world.read(move |tx| hot::look(tx, &Lately::default(), Part::default(), now)).await.sum()
    };
    while durable().await.untold > 0 {
        world.hub.note_knowledge().await.unwrap();
        tokio::task::yield_now().await;
    }
    // A database that was put back says so in its next session, and one that boasts is not believed.
    one.hello().await.unwrap();
    has(&one, version - 1).await;
    assert_eq!(first(&world.hub).await, (vec!["S1".to_owned()], vec![100, 5]));
    has(&one, version + 1).await;
    assert_eq!(first(&world.hub).await, (vec!["S1".to_owned()], vec![100, 5]));
    world.hub.note_knowledge().await.unwrap();
    while durable().await.untold == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_knew_of_the_stop_before_does_not_know_of_this_one() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    let (mut one, two) = (world.store("S1").await, world.store("S2").await);
    one.ask(100).await;
    stop(&world, &two, 1, CardStatus::Frozen).await;
    let stopped = newest(&world.hub).await;
    stop(&world, &two, 1, CardStatus::Active).await;
    assert_eq!(list(&world.hub).await.cards, [], "found again");
    stop(&world, &two, 1, CardStatus::Frozen).await;
    let again = newest(&world.hub).await;
    has(&one, stopped).await;
    assert_eq!(first(&world.hub).await, (vec!["S1".to_owned(), "S2".to_owned()], vec![100]), "it comes too late");
    has(&one, again).await;
    assert_eq!(first(&world.hub).await, (vec!["S2".to_owned()], vec![]));
    // What else changes of the card is no news of the stop.
    stop(&world, &two, 1, CardStatus::Lost).await;
    let id = one.id;
    world.hub.store.write(move |tx| cards::allocate(tx, card(1), id)).await.unwrap();
    assert!(newest(&world.hub).await > again);
    assert_eq!(first(&world.hub).await, (vec!["S2".to_owned()], vec![]));
}

#[tokio::test]
async fn a_restored_hub_believes_nobody_to_know_before_it_was_told_anew() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    let (mut one, two) = (world.store("S1").await, world.store("S2").await);
    one.ask(100).await;
    stop(&world, &two, 1, CardStatus::Frozen).await;
    let stopped = newest(&world.hub).await;
    has(&one, stopped).await;
    world.hub.note_knowledge().await.unwrap();
    let noted = (one.id, one.epoch, i64::try_from(stopped).unwrap());
    let word = Word { version: noted.2, end: Seq::ZERO };
    world.hub.store.write(move |tx| tenure::has_cards(tx, noted.0, noted.1, word)).await.unwrap();
    let image = backup(&world).await;
    // After the backup the card was found, and S1 knows that.
    stop(&world, &two, 1, CardStatus::Active).await;
    let found = newest(&world.hub).await;
    let known = world.read(recovery::mark).await;
    world.clock.0.fetch_add(1_000, Ordering::SeqCst);

    let hub = restored(&world, &image, &known, false).await.unwrap();
    let both = (vec!["S1".to_owned(), "S2".to_owned()], vec![100]);
    assert_eq!(first(&hub).await, both);
    assert!(list(&hub).await.cards[0].places[0].is_unheard, "it may hold more");
    turn_to(&mut one, &hub);
    let welcome = one.hello().await.unwrap();
    let cards = welcome.datasets.iter().find(|known| known.dataset == DatasetKind::Cards).unwrap();
    assert!(cards.version > found, "nothing new has a version that the store has");
    has(&one, found).await;
    assert_eq!(first(&hub).await, both, "what it has is of a time that the hub has forgotten");
    let request = DatasetRequest { dataset: DatasetKind::Cards, after_version: found, limit: 10 };
    let page: Answer<DatasetPage> = one.call(path::DATASET, None, request).await.unwrap();
    let [huitong_protocol::wire::DatasetRow::Card(said)] = &page.body.rows[..] else { panic!("{:?}", page.body.rows) };
    // The stop is said again, and overrules what the store learnt in between.
    assert_eq!((said.number, said.status), (card(1), CardStatus::Frozen));
    assert!(said.status_stamp.0 > world.clock.0.load(Ordering::SeqCst) - 1_000);
    has(&one, page.body.through_version).await;
    assert_eq!(first(&hub).await, (vec!["S2".to_owned()], vec![]));
}

#[tokio::test]
async fn value_that_only_stopped_cards_open_goes_back_and_two_cards_expose_it_once() {
    let world = World::new().await;
    world.hub.store.write(|tx| tx.execute("UPDATE card SET account_id = 1 WHERE account_id = 3", &[])).await.unwrap();
    world.load(account(1), 100).await;
    let (mut one, two) = (world.store("S1").await, world.store("S2").await);
    one.ask(100).await;
    has(&one, 0).await;
    stop(&world, &two, 1, CardStatus::Frozen).await;
    assert_eq!(poll(&one, 0, 0, 0).await.recalls, [], "the other card can pay with it");
    stop(&world, &two, 3, CardStatus::Lost).await;
    let polled = poll(&one, 0, 0, 0).await;
    assert_eq!(polled.recalls, [RECALL()], "a store that is there is asked at once");
    let both = list(&world.hub).await;
    let parts: Vec<i64> = both.cards.iter().map(|card| card.exposed[0].exposed_minor).collect();
    assert_eq!((parts, both.exposed[0].exposed_minor), (vec![100, 100], 100));
    // The sum is that of the places, each counted once.
    let mut places = BTreeMap::new();
    for place in both.cards.iter().flat_map(|card| &card.places) {
        places.insert((place.store, place.epoch, place.unit), place.exposed_minor);
    }
    assert_eq!(places.values().sum::<i64>(), 100);
    one.step(StoreEvent::Release { amount_minor: 30 });
    one.send_report(one.report(account(1))).await.unwrap();
    assert_eq!(first(&world.hub).await.1, [70], "what went back is safe");
    // One that learns of it later is asked when it says so.
    assert_eq!(poll(&one, 0, polled.recalls_through, 0).await.recalls, []);
    let knows = newest(&world.hub).await;
    assert_eq!(poll(&one, 0, polled.recalls_through, knows).await.recalls, [RECALL()]);
    assert_eq!(first(&world.hub).await, (vec!["S2".to_owned()], vec![]));
    // An ended epoch can be told nothing: what it held stands apart.
    let (id, now) = (one.id, world.hub.now());
    let end = move |tx: &mut Tx<'_>| fence::fence(tx, &Actor::new("li", Via::Cli).unwrap(), id, "burnt", now);
    world.hub.store.write(end).await.unwrap();
    let card = list(&world.hub).await.cards.remove(0);
    assert_eq!((card.exposed.len(), card.suspense[0].waiting_minor, card.stores), (0, 70, 1));
}

#[tokio::test]
async fn a_card_that_is_given_free_beside_the_daemon_is_told_at_once() {
    let world = World::new().await;
    let (one, two) = (world.store("S1").await, world.store("S2").await);
    stop(&world, &two, 1, CardStatus::Frozen).await;
    let stopped = newest(&world.hub).await;
    let of_cards =
        |polled: &Polled| polled.datasets.iter().find(|known| known.dataset == DatasetKind::Cards).unwrap().version;
    assert_eq!(of_cards(&poll(&one, 20_000, 0, 0).await), stopped);
    let free = |tx: &mut Tx<'_>| {
        let mut card = organisation::card(tx, &card(1))?.unwrap();
        (card.status, card.status_stamp) = (CardStatus::Active, Stamp(card.status_stamp.0 + 1));
        organisation::write_card(tx, &card)?;
        Ok::<_, StoreError>(())
    };
    let told = async { of_cards(&poll(&one, 20_000, 0, stopped).await) };
    let (told, freed) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), told), world.hub.store.write(free));
    freed.unwrap();
    assert!(told.expect("sales and loads wait for a minute, this does not") > stopped);
    assert_eq!(say(&world, &two, CardStatus::Active, 0).await, CardStatus::Active);
}
