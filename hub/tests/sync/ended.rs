//! Journals of epochs that ended: which of two is taken, and the cards that they stopped and told nobody of.

use std::sync::atomic::Ordering;

use huitong_hub::store::{Tx, audit, card as cards, hq_token, tenure};
use huitong_protocol::card::{CardChange, CardStatus};
use huitong_protocol::entry::{Body, CardStatusChange};
use huitong_protocol::journal::Head;
use huitong_protocol::tenure::HeardEntry;
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::wire::{Answer, DatasetKind, Poll, Polled, Segment, SyncFault, path};

use crate::fake::{FakeStore, World, account, card, fault};
use crate::journal::{frozen, open};
use crate::tenure::{balance, fenced, proved, replaced, traded};

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

/// Whoever ends an epoch: a person at head office, a new enrolment, or the hub that meets a copy.
#[derive(Clone, Copy, Debug)]
enum End {
    Person,
    Enrolment,
    Copy,
}

#[tokio::test]
async fn whoever_ends_an_epoch_other_stores_give_back_what_its_stops_left_idle_without_being_asked_first() {
    for end in [End::Person, End::Enrolment, End::Copy] {
        let (world, mut store) = traded().await;
        let mut two = world.store("S2").await;
        assert_eq!(two.ask(20).await.grants.len(), 0);
        world.load(account(1), 50).await;
        assert_eq!(two.ask(20).await.grants.len(), 1);
        store.write(says(1, CardStatus::Lost));
        store.uploads(3).await;
        // It does not know of the stop yet, and is connected.
        let poll = Poll { wait_ms: 0, recalls_through: 0, cards_version: 0 };
        let before: Answer<Polled> = two.call(path::POLL, None, poll.clone()).await.unwrap();
        assert_eq!(before.body.recalls.len(), 0);
        match end {
            End::Person => {
                let keep = |tx: &mut Tx<'_>| hq_token::insert(tx, "li", "shown", Instant(0), None);
                world.hub.store.write(keep).await.unwrap();
                let headers = [("authorization", "Bearer shown"), ("content-type", "application/json")];
                let body = br#"{"note":"stolen"}"#.to_vec();
                let (status, body) = world.raw("/v1/hq/stores/S1/fence", &headers, body).await;
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
            }
            End::Enrolment => drop(replaced(&world, "S1", "again").await),
            End::Copy => {
                let mut copy = store.hello_body();
                store.hello().await.unwrap();
                copy.turn_nonce += 1;
                assert_eq!(fault(store.say_hello(&copy).await), SyncFault::Copied);
            }
        }
        let after: Answer<Polled> = two.call(path::POLL, None, poll).await.unwrap();
        let asked: Vec<_> = after.body.recalls.iter().map(|recall| recall.account).collect();
        assert_eq!(asked, [account(1)], "{end:?}");
    }
}

#[tokio::test]
async fn what_an_epoch_had_told_is_known_at_its_end_whether_it_was_fenced_or_replaced_first() {
    for is_fenced_first in [true, false] {
        let (world, store) = traded().await;
        let (id, epoch, told) = (store.id, store.epoch, store.head().seq);
        if is_fenced_first {
            fenced(&world, id).await;
        }
        replaced(&world, "S1", "again").await;
        fenced(&world, id).await;
        assert_eq!(world.read(move |tx| tenure::told_seq(tx, id, epoch)).await, told);
    }
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

/// An epoch that was reported further than its journal came, and ended; what a database wrote that was put back from a backup; and the next epoch.
async fn put_back() -> (World, FakeStore, FakeStore, FakeStore) {
    let (world, mut store) = traded().await;
    let mut backup = FakeStore::new(world.router.clone(), "S1", 1);
    backup.journal.clone_from(&store.journal);
    backup.stamp = store.stamp + 10;
    for _ in 0..2 {
        store.loads(7);
    }
    store.reports().await.unwrap();
    for body in [open(), says(1, CardStatus::Frozen), open()] {
        backup.write(body);
    }
    fenced(&world, store.id).await;
    let new = replaced(&world, "S1", "again").await;
    (world, store, backup, new)
}

fn of(segment: Segment, heard: HeardEntry) -> Segment {
    Segment { heard, ..segment }
}

async fn held(world: &World) -> Head {
    world
        .read(|tx| huitong_hub::store::journal::find(tx, "S1".parse().unwrap(), huitong_protocol::id::Epoch(1)))
        .await
        .head
}

#[tokio::test]
async fn what_a_database_wrote_that_was_put_back_does_not_shut_out_the_reported_journal() {
    let (world, store, backup, new) = put_back().await;
    let (before, heard) = (store.head_at(3), store.head());
    // Nobody knows yet whose journal it is; also what comes before its time is not kept.
    for segment in [backup.segment(3, 6), backup.segment(4, 6)] {
        let answer = new.upload(segment).await.unwrap();
        assert_eq!((answer.journal_head, answer.heard), (before, Some(heard)));
    }
    let foreign = of(backup.segment(3, 6), HeardEntry::Contained(backup.head_at(5)));
    assert_eq!(new.upload(foreign).await.unwrap().journal_head, before);
    // It says that it contains the entry, and does not.
    let lie = of(backup.segment(3, 6), HeardEntry::Contained(heard));
    assert_eq!(fault(new.upload(lie).await), SyncFault::Fork);
    assert_eq!((held(&world).await, world.exceptions().await), (before, vec!["fork".to_owned()]));
    for from in 3..5 {
        let answer = new.upload(of(store.segment(from, from + 1), HeardEntry::Contained(heard))).await.unwrap();
        assert_eq!(answer.journal_head, store.head_at(from + 1));
    }
    assert_eq!((balance(&world).await, status(&world, 1).await), (384, CardStatus::Active));
    proved(&world).await;
}

#[tokio::test]
async fn a_person_who_says_that_the_reported_journal_is_lost_is_written_down_once() {
    let (world, store, backup, new) = put_back().await;
    for from in 3..6 {
        new.upload(of(backup.segment(from, from + 1), HeardEntry::Lost)).await.unwrap();
    }
    assert_eq!(held(&world).await, backup.head());
    // Nobody had reported what the other journal says.
    assert_eq!(status(&world, 1).await, CardStatus::Frozen);
    let deeds = world.read(|tx| audit::page(tx, 0, 10)).await;
    let said: Vec<_> =
        deeds.iter().map(|deed| (deed.actor.as_str(), deed.action.as_str(), deed.object.as_str())).collect();
    assert_eq!(said, [("li", "store.fence", "S1-1"), ("S1", "journal.heard_is_lost", "S1-1")]);
    // It decides nothing of what waits, and the other one cannot come any more.
    assert_eq!(world.exceptions().await, ["fork"]);
    let other = of(store.segment(3, 5), HeardEntry::Contained(store.head()));
    assert_eq!(fault(new.upload(other).await), SyncFault::Fork);
}
