//! Journals of epochs that ended: the cards that they stopped and told nobody of.

use std::sync::atomic::Ordering;

use huitong_hub::store::card as cards;
use huitong_protocol::card::{CardChange, CardStatus};
use huitong_protocol::entry::{Body, CardStatusChange};
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::DatasetKind;

use crate::fake::{World, account, card};
use crate::journal::frozen;
use crate::tenure::{fenced, replaced, traded};

fn says(number: u32, status: CardStatus) -> Body {
    Body::CardStatus(CardStatusChange { status, ..frozen(number) })
}

async fn status(world: &World, number: u32) -> CardStatus {
    world.read(move |tx| cards::find(tx, card(number))).await.unwrap().status
}

async fn cards_version(world: &World) -> u64 {
    let versions = world.hub.datasets().await.unwrap();
    versions.iter().find(|version| version.dataset == DatasetKind::Cards).unwrap().version
}

#[tokio::test]
async fn a_card_that_was_frozen_in_quarantine_is_stopped_everywhere_when_the_journal_comes() {
    let (world, mut store) = traded().await;
    // In quarantine it reports nothing any more.
    store.write(says(1, CardStatus::Lost));
    store.write(says(3, CardStatus::Frozen));
    store.write(says(3, CardStatus::Active));
    store.write(says(77, CardStatus::Frozen));
    fenced(&world, store.id).await;
    let new = replaced(&world, "S1", "again").await;
    let before = cards_version(&world).await;
    new.upload(store.segment(3, 7)).await.unwrap();
    assert_eq!(status(&world, 1).await, CardStatus::Lost);
    assert_eq!(status(&world, 3).await, CardStatus::Active, "its holder was found");
    assert!(cards_version(&world).await > before, "every store fetches it");
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_late_journal_puts_no_card_into_use_and_overrules_nothing_that_came_later() {
    let (world, mut store) = traded().await;
    let two = world.store("S2").await;
    store.write(says(1, CardStatus::Frozen));
    let stopped = Stamp(store.stamp);
    store.write(says(1, CardStatus::Active));
    store.write(says(3, CardStatus::Frozen));
    fenced(&world, store.id).await;
    // Somebody who had never heard of it put card 3 into use since then.
    let mut report = two.report(account(3));
    report.counters.clear();
    report.cards = vec![CardChange { number: card(3), status: CardStatus::Active, stamp: Stamp(store.stamp + 1) }];
    two.send_report(report).await.unwrap();
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 4)).await.unwrap();
    assert_eq!(status(&world, 1).await, CardStatus::Frozen);
    new.upload(store.segment(4, 6)).await.unwrap();
    assert_eq!(status(&world, 1).await, CardStatus::Frozen, "a person puts it into use");
    assert_eq!(world.read(|tx| cards::stopped_at(tx, card(1))).await, stopped);
    assert_eq!(
        (status(&world, 3).await, world.exceptions().await),
        (CardStatus::Active, vec!["stop_overtaken".to_owned()])
    );
}

#[tokio::test]
async fn a_stop_that_is_in_the_journal_already_counts_when_the_epoch_ends() {
    let (world, mut store) = traded().await;
    store.write(says(1, CardStatus::Frozen));
    // An unproved store sends its journal and reports nothing.
    store.uploads(3).await;
    assert_eq!(status(&world, 1).await, CardStatus::Active);
    fenced(&world, store.id).await;
    assert_eq!(status(&world, 1).await, CardStatus::Frozen);
}

#[tokio::test]
async fn a_stop_that_was_reported_and_lifted_is_not_brought_back_by_a_clock_that_was_ahead() {
    const DAY_MS: i64 = 86_400_000;
    let (world, mut store) = traded().await;
    let two = world.store("S2").await;
    let now = world.hub.now();
    store.stamp += DAY_MS;
    store.write(says(1, CardStatus::Frozen));
    let change = |status, stamp| CardChange { number: card(1), status, stamp };
    let mut report = store.report(account(1));
    report.cards = vec![change(CardStatus::Frozen, Stamp(store.stamp))];
    store.send_report(report).await.unwrap();
    assert_eq!(status(&world, 1).await, CardStatus::Frozen);
    world.clock.0.fetch_add(120_000, Ordering::SeqCst);
    let mut report = two.report(account(3));
    report.counters.clear();
    report.cards = vec![change(CardStatus::Active, Stamp(now.0 + 120_000))];
    two.send_report(report).await.unwrap();
    fenced(&world, store.id).await;
    // By now the stamp is in the past.
    world.clock.0.fetch_add(2 * DAY_MS, Ordering::SeqCst);
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 4)).await.unwrap();
    assert_eq!(status(&world, 1).await, CardStatus::Active);
}
