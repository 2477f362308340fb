//! A hub that was restored from a backup: it has forgotten what it granted, and gives nothing away until it has heard everybody.

use std::sync::Arc;

use huitong_hub::actor::{Actor, Via};
use huitong_hub::config::HubConfig;
use huitong_hub::denial::{self, DenialError};
use huitong_hub::hot::Lately;
use huitong_hub::hub::Hub;
use huitong_hub::recovery::{self, Mark, RecoveryError, Restored};
use huitong_hub::store::engine::{Store, StoreError, Tx};
use huitong_hub::store::{allotment, card as cards, device, exception, organisation, tenure};
use huitong_hub::{api, fence, reconcile, suspense, verify};
use huitong_protocol::allotment::{Purse, StoreCounters, StoreEvent};
use huitong_protocol::card::{CardChange, CardStatus};
use huitong_protocol::id::{Epoch, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::tenure::Assured;
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::wire::{Hello, Report, ReportLine, SyncFault};

use crate::fake::{CNY, FakeStore, World, account, card, fault, opens};

fn purse() -> Purse {
    Purse { account: account(1), unit: CNY }
}

async fn free(hub: &Hub) -> i64 {
    hub.store.read(|tx| allotment::pool(tx, purse())).await.unwrap().0.free_minor()
}

/// Takes a copy of the database as it is now.
pub(crate) async fn backup(world: &World) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("hub.db");
    let connection = rusqlite::Connection::open(world.database()).unwrap();
    connection.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
    folder
}

/// What a person says after a restore.
pub(crate) fn said(known: &Mark, accept_unknown: bool) -> Restored {
    Restored { known: Some(known.clone()), accept_unknown, life: None, note: "the disk broke".to_owned() }
}

fn person() -> Actor {
    Actor::new("li", Via::Cli).unwrap()
}

/// Runs `recover` on a database.
pub(crate) async fn recovered(
    store: &Store,
    restored: Restored,
    now: Instant,
) -> Result<recovery::Recovery, RecoveryError> {
    store.write(move |tx| recovery::begin(tx, &person(), &restored, now)).await
}

/// Serves on a backup, whatever it has forgotten.
async fn unnoticed(world: &World, folder: &tempfile::TempDir) -> Hub {
    let store = Store::open(&folder.path().join("hub.db"), 2).unwrap();
    Hub::new(HubConfig::default(), store, world.clock.clone() as Arc<_>).await.unwrap()
}

/// Serves on a backup, after `recover`.
pub(crate) async fn restored(
    world: &World,
    folder: &tempfile::TempDir,
    known: &Mark,
    accept: bool,
) -> Result<Hub, RecoveryError> {
    let store = Store::open(&folder.path().join("hub.db"), 2).unwrap();
    recovered(&store, said(known, accept), world.hub.now()).await?;
    store.close();
    Ok(unnoticed(world, folder).await)
}

/// What is open, with its subject and evidence.
async fn found(hub: &Hub) -> Vec<String> {
    let open = hub.store.read(|tx| exception::list(tx, &exception::Filter::default())).await.unwrap();
    open.iter().map(|row| format!("{} {}: {}", row.class, row.subject, row.evidence)).collect()
}

async fn waited_for(hub: &Hub) -> usize {
    hub.store.read(recovery::look).await.unwrap().waited_for.len()
}

pub(crate) fn turn_to(store: &mut FakeStore, hub: &Hub) {
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
    assert_eq!(found(&hub).await, ["grant_believed S1-1: 100 CNY on 1 accounts, the most on account 1: 100"]);
    one.send_report(one.report(account(1))).await.unwrap();
    assert_eq!(found(&hub).await.len(), 1, "once");
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
    recovery::may_start(&world.hub.store, &file, false).unwrap();
    let _two = world.store("S2").await;
    let old = Store::open(&image.path().join("hub.db"), 1).unwrap();
    let refused = recovery::may_start(&old, &file, true).unwrap_err().to_string();
    assert!(refused.contains("S2-1") && refused.contains("huitong-hub recover"), "{refused}");
    recovery::may_start(&world.hub.store, &file, false).unwrap();
}

#[tokio::test]
async fn a_hub_whose_log_is_not_there_does_not_start_by_itself() {
    let world = World::new().await;
    let file = world.database().with_file_name("recovery.log");
    recovery::may_start(&world.hub.store, &file, false).unwrap();
    assert!(file.exists(), "a new hub begins it");
    let _one = world.store("S1").await;
    std::fs::remove_file(&file).unwrap();
    let refused = recovery::may_start(&world.hub.store, &file, false).unwrap_err().to_string();
    assert!(refused.contains("recovery.log") && refused.contains("--begin-log"), "{refused}");
    assert!(!file.exists());
    recovery::may_start(&world.hub.store, &file, true).unwrap();
    recovery::may_start(&world.hub.store, &file, false).unwrap();
}

#[tokio::test]
async fn without_the_log_a_person_says_which_life_begins() {
    let world = World::new().await;
    let _one = world.store("S1").await;
    let now = world.hub.now();
    let say = |accept_unknown, life| Restored { known: None, accept_unknown, life, note: "burnt".to_owned() };
    for (accept_unknown, life) in [(false, None), (true, None), (false, Some(9))] {
        let refused = recovered(&world.hub.store, say(accept_unknown, life), now).await.unwrap_err();
        assert!(matches!(refused, RecoveryError::Unremembered), "{refused}");
    }
    let refused = recovered(&world.hub.store, say(true, Some(1)), now).await.unwrap_err();
    assert!(matches!(refused, RecoveryError::Life { given: 1, last: 1 }), "{refused}");
    let begun = recovered(&world.hub.store, say(true, Some(9)), now).await.unwrap();
    assert_eq!((begun.life, begun.waited_for.len()), (9, 1));
}

/// A hub that was restored after all 100 were granted to S1, which has told half a journal.
async fn forgetful() -> (World, Hub, FakeStore, FakeStore, tempfile::TempDir) {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    world.load(account(1), 100).await;
    let image = backup(&world).await;
    one.ask(60).await;
    one.write(crate::journal::open());
    one.write(crate::journal::open());
    let known = world.read(recovery::mark).await;
    let hub = restored(&world, &image, &known, false).await.unwrap();
    for store in [&mut one, &mut two] {
        turn_to(store, &hub);
        store.hello().await.unwrap();
    }
    two.send_report(two.report(account(1))).await.unwrap();
    (world, hub, one, two, image)
}

/// A part of what S1 has to tell.
fn part(store: &FakeStore, (since_no, through_no): (u64, u64), is_last: bool) -> Report {
    let whole = store.report(account(1));
    let head = if is_last { whole.end } else { Head::START };
    // The first change is of the account.
    let counters = if since_no == 0 { whole.counters.clone() } else { Vec::new() };
    Report { since_no, through_no, head, counters, ..whole }
}

#[tokio::test]
async fn who_leaves_out_the_beginning_has_not_told_everything() {
    let (_world, hub, one, mut two, _image) = forgetful().await;
    // As a store does that was told, before the restore, that everything has arrived.
    assert!(one.send_report(part(&one, (9, 9), true)).await.unwrap().untold, "it is to begin anew");
    assert_eq!(waited_for(&hub).await, 1, "what it told the hub has forgotten");
    assert_eq!(two.ask(80).await.grants, Vec::new());
    assert!(!one.send_report(part(&one, (0, 5), false)).await.unwrap().untold);
    assert!(one.send_report(part(&one, (7, 9), true)).await.unwrap().untold);
    assert_eq!(waited_for(&hub).await, 1, "changes 6 and 7 are missing");
    one.send_report(part(&one, (0, 5), false)).await.unwrap();
    one.send_report(part(&one, (0, 5), false)).await.unwrap();
    one.send_report(part(&one, (4, 9), true)).await.unwrap();
    assert!(!one.send_report(part(&one, (12, 13), true)).await.unwrap().untold, "nobody waits for it any more");
    assert_eq!((waited_for(&hub).await, free(&hub).await), (0, 0));
    assert_eq!(two.ask(80).await.grants, Vec::new(), "all of it is with the other store");
}

#[tokio::test]
async fn a_card_whose_sale_is_undone_is_not_sold_again_before_all_were_heard() {
    let (_world, hub, one, two, _image) = forgetful().await;
    let number = crate::fake::card(3);
    let status = async || {
        let found = hub.store.read(move |tx| huitong_hub::store::card::find(tx, number)).await.unwrap();
        found.unwrap().status
    };
    let mut report = two.report(account(3));
    report.cards = vec![CardChange { number, status: CardStatus::Withdrawn, stamp: Stamp(hub.now().0) }];
    two.send_report(report).await.unwrap();
    assert_eq!(status().await, CardStatus::Withdrawn, "the other store may hold some of it, or have lent to it");
    reconcile::run(&hub.store, hub.now()).await.unwrap();
    assert_eq!(status().await, CardStatus::Withdrawn);
    one.send_report(part(&one, (0, 9), true)).await.unwrap();
    assert_eq!(waited_for(&hub).await, 0);
    reconcile::run(&hub.store, hub.now()).await.unwrap();
    assert_eq!(status().await, CardStatus::Blank);
}

#[tokio::test]
async fn parts_of_two_sessions_are_not_one() {
    let (_world, hub, mut one, _two, _image) = forgetful().await;
    one.send_report(part(&one, (0, 5), false)).await.unwrap();
    one.hello().await.unwrap();
    one.send_report(part(&one, (5, 9), true)).await.unwrap();
    assert_eq!(waited_for(&hub).await, 1, "another copy may have told the first part");
    one.send_report(part(&one, (0, 9), true)).await.unwrap();
    assert_eq!(waited_for(&hub).await, 0);
}

#[tokio::test]
async fn a_part_that_was_refused_was_not_told() {
    let (_world, hub, one, _two, _image) = forgetful().await;
    let mut first = part(&one, (0, 5), false);
    first.counters[0].account = account(99);
    assert_eq!(one.send_report(first).await.unwrap().refused.len(), 1);
    one.send_report(part(&one, (5, 9), true)).await.unwrap();
    one.send_report(part(&one, (9, 9), true)).await.unwrap();
    assert_eq!(waited_for(&hub).await, 1);
    let refused = async || {
        let found = hub.store.read(recovery::look).await.unwrap();
        found.waited_for.into_iter().next().and_then(|waited| waited.refused)
    };
    assert_eq!(refused().await.as_deref(), Some("account 99 CNY: account 99 does not exist"));
    one.send_report(part(&one, (0, 5), false)).await.unwrap();
    assert_eq!(
        (refused().await, waited_for(&hub).await),
        (None, 1),
        "its cause was put right, and it is telling again"
    );
    one.send_report(part(&one, (0, 9), true)).await.unwrap();
    assert_eq!(waited_for(&hub).await, 0);
}

#[tokio::test]
async fn a_store_shows_that_the_hub_was_restored_and_is_not_punished_for_it() {
    for by_its_turn in [true, false] {
        let world = World::new().await;
        let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
        world.load(account(1), 100).await;
        world.token("S2", "again").await;
        let image = backup(&world).await;
        one.ask(60).await;
        if by_its_turn {
            one.hello().await.unwrap();
        }
        // Nobody noticed: the log was as old as the backup.
        let hub = unnoticed(&world, &image).await;
        for store in [&mut one, &mut two] {
            turn_to(store, &hub);
        }
        two.hello().await.unwrap();
        if by_its_turn {
            assert_eq!(fault(one.hello().await), SyncFault::Forgotten);
        } else {
            one.hello().await.unwrap();
            let refused = one.send_report(one.report(account(1))).await.unwrap().refused;
            assert!(refused.len() == 1 && refused[0].reason.contains("huitong-hub recover"), "{refused:?}");
        }
        let restored = world.on(hub.clone(), image);
        assert_eq!(restored.exceptions().await, ["hub_forgot"]);
        assert_eq!(restored.read(tenure::waited_for).await.len(), 0);
        let (now, id) = (world.hub.now(), one.id);
        assert!(restored.read(move |tx| tenure::is_living(tx, id, Epoch(1))).await, "nobody is fenced for it");
        // The pool shows 100, and they are at S1.
        assert_eq!(two.ask(80).await.grants, Vec::new());
        let status = restored.read(move |tx| huitong_hub::overview::look(tx, &Lately::default(), now)).await;
        assert_eq!(status.must_recover_ms, Some(now));
        let new = FakeStore::new(restored.router.clone(), "S2", 9);
        assert_eq!(fault(new.enrol("again").await), SyncFault::Forgotten);
        let known = restored.read(recovery::mark).await;
        recovered(&hub.store, said(&known, false), now).await.unwrap();
        assert_eq!(restored.exceptions().await, Vec::<String>::new());
        for store in [&mut one, &mut two] {
            store.hello().await.unwrap();
            store.send_report(store.report(account(1))).await.unwrap();
        }
        assert_eq!((waited_for(&hub).await, free(&hub).await), (0, 0));
        assert_eq!(two.ask(80).await.grants, Vec::new());
    }
}

#[tokio::test]
async fn the_first_hello_shows_that_the_hub_holds_less_than_it_had_said() {
    for (is_uploaded, is_reported) in [(true, false), (false, true)] {
        let world = World::new().await;
        let mut one = world.store("S1").await;
        one.write(crate::journal::open());
        one.upload(one.segment(0, 1)).await.unwrap();
        one.send_report(one.report(account(1))).await.unwrap();
        let image = backup(&world).await;
        one.write(crate::journal::open());
        if is_uploaded {
            one.upload(one.segment(1, 2)).await.unwrap();
        } else {
            one.send_report(one.report(account(1))).await.unwrap();
        }
        // No turn was given since the backup, and nothing granted.
        let before = Assured { journal: one.head_at(1), reported: one.head_at(1) };
        let end = one.head();
        let assured = Assured {
            journal: if is_uploaded { end } else { before.journal },
            reported: if is_reported { end } else { before.reported },
        };
        let says = |store: &FakeStore, life, assured| Hello { life, assured, ..store.hello_body() };
        let hub = unnoticed(&world, &image).await;
        turn_to(&mut one, &hub);
        let world = world.on(hub, image);
        assert_eq!(fault(one.say_hello(&says(&one, 1, assured)).await), SyncFault::Forgotten);
        assert_eq!(world.exceptions().await, ["hub_forgot"]);
        // The right database again: nothing is amiss. Another life, and a store that is waited for, prove nothing.
        one.say_hello(&says(&one, 1, before)).await.unwrap();
        let (known, now) = (world.read(recovery::mark).await, world.hub.now());
        recovered(&world.hub.store, said(&known, false), now).await.unwrap();
        one.say_hello(&says(&one, 1, assured)).await.unwrap();
        one.say_hello(&says(&one, 2, assured)).await.unwrap();
        assert_eq!(world.exceptions().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_a_store_cannot_have_been_told_is_malformed() {
    let world = World::new().await;
    let one = world.store("S1").await;
    let ahead = Head { seq: Seq(1), ..Head::START };
    let hello = Hello { assured: Assured { reported: ahead, ..Assured::NOTHING }, ..one.hello_body() };
    let refused = one.say_hello(&hello).await.unwrap_err();
    assert_eq!(
        (refused.fault, refused.message.as_str()),
        (SyncFault::Malformed, "assured.reported.seq: is 1, after head.seq, 0")
    );
}

#[tokio::test]
async fn all_else_that_a_store_says_is_heard_while_the_hub_is_found_older() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    world.load(account(1), 100).await;
    let image = backup(&world).await;
    one.ask(60).await;
    let hub = unnoticed(&world, &image).await;
    turn_to(&mut one, &hub);
    one.hello().await.unwrap();
    for _ in 0..2 {
        let mut report = one.report(account(1));
        let loaded = StoreCounters { loaded_minor: 7, ..StoreCounters::default() };
        report.counters.push(ReportLine { account: account(3), counters: loaded, ..report.counters[0] });
        let stamp = Stamp(one.stamp);
        report.cards = vec![CardChange { number: card(1), status: CardStatus::Lost, stamp }];
        assert_eq!(one.send_report(report).await.unwrap().refused.len(), 1);
    }
    one.write(crate::journal::open());
    one.upload(one.segment(0, 1)).await.unwrap();
    let lost = hub.store.read(|tx| cards::find(tx, card(1))).await.unwrap().unwrap();
    assert_eq!(lost.status, CardStatus::Lost, "nobody else pays with it");
    let id = one.id;
    let of = Purse { account: account(3), unit: CNY };
    let line = hub.store.read(move |tx| allotment::line(tx, of, id, Epoch(1))).await.unwrap().unwrap();
    assert_eq!(line.seen.loaded_minor, 7);
    let recovery = hub.store.read(recovery::look).await.unwrap();
    assert_eq!((recovery.must_recover_ms.is_some(), recovery.proved_by.as_deref()), (true, Some("S1-1")));
    assert_eq!(one.ask(60).await.grants, Vec::new());
}

#[tokio::test]
async fn what_was_ended_during_a_false_alarm_was_heard_after_all() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    world.load(account(1), 100).await;
    one.step(StoreEvent::Adopt { granted_minor: 1_000_000 });
    one.send_report(one.report(account(1))).await.unwrap();
    let (id, now) = (one.id, world.hub.now());
    world.hub.store.write(move |tx| fence::fence(tx, &person(), id, "it is at fault", now)).await.unwrap();
    assert!(world.read(move |tx| tenure::is_unheard(tx, id, Epoch(1))).await);
    let deny = move |tx: &mut Tx<'_>| denial::deny(tx, &person(), id, "nobody restored anything", now);
    assert!(!world.hub.store.write(deny).await.unwrap().is_new);
    assert!(!world.read(move |tx| tenure::is_unheard(tx, id, Epoch(1))).await, "its journal would be believed");
}

#[tokio::test]
async fn one_store_at_fault_stops_the_chain_until_a_person_says_that_nothing_was_restored() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    world.load(account(1), 100).await;
    // Nobody ever granted it this.
    one.step(StoreEvent::Adopt { granted_minor: 1_000_000 });
    assert_eq!(one.send_report(one.report(account(1))).await.unwrap().refused.len(), 1);
    assert_eq!(two.ask(80).await.grants, Vec::new());
    let deny = async |store: &'static str| {
        let now = world.hub.now();
        let deny = move |tx: &mut Tx<'_>| denial::deny(tx, &person(), store.parse().unwrap(), "nobody did", now);
        world.hub.store.write(deny).await
    };
    assert!(matches!(deny("S2").await, Err(DenialError::Other { by, .. }) if by == "S1-1"));
    let ended = deny("S1").await.unwrap();
    assert!(ended.is_new && ended.unknown.is_none(), "{ended:?}");
    assert!(matches!(deny("S1").await, Err(DenialError::Nobody)));
    assert_eq!(world.exceptions().await, Vec::<String>::new());
    assert_eq!(fault(one.send_report(one.report(account(1))).await), SyncFault::Fenced);
    assert_eq!(two.ask(80).await.grants[0].granted_minor, 100);
    // Nor does its journal make it true.
    let id = one.id;
    assert!(!world.read(move |tx| tenure::is_unheard(tx, id, Epoch(1))).await);
    // Whoever shows the same stops the chain again.
    two.step(StoreEvent::Adopt { granted_minor: 1_000_000 });
    two.send_report(two.report(account(1))).await.unwrap();
    assert_eq!(world.exceptions().await, ["hub_forgot"]);
}

#[tokio::test]
async fn numbers_that_the_forgotten_life_gave_are_given_to_nobody_else() {
    let world = World::new().await;
    let _one = world.store("S1").await;
    let image = backup(&world).await;
    let mint = |tx: &mut Tx<'_>| Ok::<_, StoreError>((organisation::next_account(tx)?, organisation::next_member(tx)?));
    let (account, member) = world.hub.store.write(mint).await.unwrap();
    let known = world.read(recovery::mark).await;
    let old = Store::open(&image.path().join("hub.db"), 1).unwrap();
    let what = known.beyond(&old.read(recovery::mark).await.unwrap()).unwrap();
    assert!(what.contains("next account"), "{what}");
    old.close();
    let hub = restored(&world, &image, &known, false).await.unwrap();
    let (next, other) = hub.store.write(mint).await.unwrap();
    assert!(next.get() > account.get() + 9_000 && other.get() > member.get() + 9_000, "{next} {other}");
    // Without the log nobody knows how many there were.
    let blind = Restored { known: None, accept_unknown: true, life: Some(9), note: "burnt".to_owned() };
    recovered(&hub.store, blind, world.hub.now()).await.unwrap();
    assert!(hub.store.write(mint).await.unwrap().0.get() > next.get() + 900_000);
}

#[tokio::test]
async fn stores_that_the_backup_does_not_know_are_named_before_anything_is_written() {
    let world = World::new().await;
    let image = backup(&world).await;
    world.hub.store.write(|tx| opens(tx, "S9")).await.unwrap();
    let _nine = world.store("S9").await;
    let known = world.read(recovery::mark).await;
    let refused = restored(&world, &image, &known, false).await.err().unwrap();
    assert!(matches!(&refused, RecoveryError::NoStore(stores) if stores == "S9"), "{refused}");
    let store = Store::open(&image.path().join("hub.db"), 1).unwrap();
    store.write(|tx| opens(tx, "S9")).await.unwrap();
    store.close();
    let hub = restored(&world, &image, &known, false).await.unwrap();
    assert_eq!(waited_for(&hub).await, 1);
}

#[tokio::test]
async fn every_epoch_that_the_backup_forgot_exists_again() {
    let world = World::new().await;
    let _first = world.store("S1").await;
    let image = backup(&world).await;
    let next = async |token: &str, seed| {
        world.token("S1", token).await;
        let mut next = FakeStore::new(world.router.clone(), "S1", seed);
        next.epoch = next.enrol(token).await.unwrap().epoch;
        next.hello().await.unwrap();
        next
    };
    let mut second = next("2", 8).await;
    second.write(crate::journal::open());
    second.write(crate::journal::reload(500));
    let mut third = next("3", 9).await;
    let known = world.read(recovery::mark).await;
    let refused = restored(&world, &image, &known, false).await.err().unwrap();
    assert!(matches!(&refused, RecoveryError::Unknown(epochs) if epochs == "S1-1, S1-2"), "{refused}");
    let hub = restored(&world, &image, &known, true).await.unwrap();
    turn_to(&mut third, &hub);
    turn_to(&mut second, &hub);
    assert_eq!(fault(second.hello().await), SyncFault::Fenced);
    third.hello().await.unwrap();
    third.send_report(third.report(account(1))).await.unwrap();
    assert_eq!(waited_for(&hub).await, 0);
    // What the second one loaded was in no backup; its disk turns up.
    third.upload(second.segment(0, 2)).await.unwrap();
    let sheet = hub.store.read(|tx| suspense::show(tx, "S1".parse().unwrap(), Epoch(2))).await.unwrap();
    assert_eq!(sheet.lines[0].sum.waiting_minor, 500);
}

#[tokio::test]
async fn a_technician_does_not_answer_for_what_an_epoch_was_granted() {
    let world = World::new().await;
    let _one = world.store("S1").await;
    world.token("S1", "again").await;
    let (image, known) = (backup(&world).await, world.read(recovery::mark).await);
    let hub = restored(&world, &image, &known, false).await.unwrap();
    let new = FakeStore::new(api::router(hub.clone()), "S1", 9);
    let refused = new.enrol("again").await.unwrap_err();
    assert_eq!(refused.fault, SyncFault::Forgotten);
    assert!(refused.message.contains("store fence S1"), "{}", refused.message);
    assert_eq!(waited_for(&hub).await, 1);
    let now = world.hub.now();
    let fence =
        move |tx: &mut huitong_hub::store::Tx<'_>| fence::fence(tx, &person(), "S1".parse().unwrap(), "burnt", now);
    assert!(hub.store.write(fence).await.unwrap().unknown.is_some());
    assert_eq!(new.enrol("again").await.unwrap().epoch, Epoch(2));
}

#[tokio::test]
async fn the_log_forgets_nothing_when_several_write_it_at_once() {
    let world = World::new().await;
    let file = world.database().with_file_name("recovery.log");
    let mint = |store: &'static str| {
        let (hub, file, now) = (world.hub.store.clone(), file.clone(), world.hub.now());
        std::thread::spawn(move || {
            let id = store.parse().unwrap();
            for number in 1..=40_u32 {
                let key = [u8::try_from(number).unwrap(); 32];
                hub.write_blocking::<_, huitong_hub::store::StoreError, _>(move |tx| {
                    tenure::fence(tx, id, Epoch(number - 1), ("li", "next"), now)?;
                    device::enrol(tx, id, &key, now)
                })
                .unwrap();
                recovery::remember(&hub, &file).unwrap();
                let known = recovery::remembered(&file).unwrap().unwrap();
                assert!(known.epochs[&id].contains_key(&number), "{store}-{number} was written, and is forgotten");
            }
        })
    };
    for writer in ["S1", "S2"].map(mint) {
        writer.join().unwrap();
    }
}
