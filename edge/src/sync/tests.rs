//! Sync in shop words: an edge, a head office, and a wire between them that fails in every way a wire can.

use std::future::Future;
use std::sync::Arc;

use huitong_protocol::allotment::{HubEvent, step};
use huitong_protocol::card::CardStatus;
use huitong_protocol::id::{AccountId, Hash, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::tenure::Assured;
use huitong_protocol::time::Stamp;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{DatasetKind, DatasetRow, Grant, Recall, SyncFault, path};
use serde_json::json;
use tower::ServiceExt as _;

use super::session::{CallError, Enrolment, Session};
use super::status::DayState;
use super::testing::{
    CNY, FakeOffice, HandClock, MORNING, Office, Shop, TOKEN, card, document_row, number, parts, policy, purse,
};
use super::{Link, SyncError, release};
use crate::config::SyncConfig;
use crate::identity::StoreKey;
use crate::ledger::{Call, Ledger, Order};
use crate::run::{self, Edge, EdgeError};
use crate::schedule::Job;
use crate::store::{Store, StoreError, allotment, hold, sync_state};
use crate::till::Permissions;

const AT_ONCE: &str = r#"{ when = "at_once" }"#;
const WHEN_IDLE: &str = r#"{ when = "when_idle", minutes = 15 }"#;
const AT_CLOSE: &str = r#"{ when = "at_close" }"#;

fn recall(account: i64) -> Recall {
    Recall { account: AccountId::new(account).unwrap(), unit: CNY }
}

#[tokio::test]
async fn an_enrolment_whose_answer_was_lost_is_repeated_with_the_same_key() {
    let (folder, office, clock) = (tempfile::tempdir().unwrap(), FakeOffice::new(), HandClock::at(MORNING));
    office.with(|office| office.lose.insert(path::ENROL, 1));
    let first = Edge::enrol_and_start(parts(folder.path(), &office, &clock), TOKEN).await;
    assert!(matches!(first, Err(EdgeError::Enrol(_))));
    let key = office.with(|office| office.key.clone());
    assert!(key.is_some(), "the office has enrolled the store");
    let edge = Edge::enrol_and_start(parts(folder.path(), &office, &clock), TOKEN).await.unwrap();
    assert_eq!(office.with(|office| office.key.clone()), key);
    edge.close().await;
    // Enrolled stores do not ask again.
    let edge = Edge::enrol_and_start(parts(folder.path(), &office, &clock), "used up").await.unwrap();
    edge.close().await;
}

#[tokio::test]
async fn a_wrong_token_enrols_nothing() {
    let (folder, office, clock) = (tempfile::tempdir().unwrap(), FakeOffice::new(), HandClock::at(MORNING));
    let refused = Edge::enrol_and_start(parts(folder.path(), &office, &clock), "guessed").await.err().unwrap();
    let EdgeError::Enrol(refused) = refused else { panic!("{refused}") };
    assert!(refused.to_string().contains("Token"), "{refused}");
    assert!(matches!(
        Edge::start(parts(folder.path(), &office, &clock)).await,
        Err(EdgeError::Store(crate::store::StoreError::NotEnrolled))
    ));
}

#[tokio::test]
async fn one_edge_at_a_time_works_on_a_directory() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    let second = Edge::start(parts(shop.folder.path(), &shop.office, &shop.clock)).await;
    assert!(matches!(second, Err(EdgeError::Running(_))));
    shop.restart().await.edge.close().await;
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_is_made_again_and_counts_once() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        office.cut.insert(path::POLL);
        office.lose.insert(path::REPORT, 3);
    });
    shop.reload(1, 500).await;
    shop.office
        .until("the load is told", |office| {
            office.sides.get(&purse(1)).is_some_and(|side| side.line.seen.loaded_minor == 500)
        })
        .await;
    while shop.edge.wait_reported().await.is_err() {}
    shop.reload(1, 20).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        assert_eq!(office.sides[&purse(1)].line.seen.loaded_minor, 520, "totals, however often they were said");
        let last = office.reports.last().unwrap();
        assert_eq!(last.head, shop.edge.store().head());
    });
    assert_eq!(shop.edge.sync_status().unwrap().unreported_accounts, 0);
}

#[tokio::test]
async fn what_was_not_reported_before_a_restart_is_reported_after_it() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| office.cut.extend([path::REPORT, path::POLL]));
    shop.reload(1, 500).await;
    assert!(shop.edge.wait_reported().await.is_err());
    assert_eq!(shop.edge.sync_status().unwrap().unreported_accounts, 1);
    let shop = shop.restart().await;
    shop.office.with(|office| office.cut.clear());
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| assert_eq!(office.sides[&purse(1)].line.seen.loaded_minor, 500));
}

#[tokio::test]
async fn a_frozen_card_is_told_with_the_report() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.post(&format!("/v1/cards/{}/freeze", number(2)), &json!({"reason": "found on the floor"})).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        let change = office.card_changes.last().unwrap();
        assert_eq!((change.number.reveal(), change.status), (number(2).as_str(), CardStatus::Frozen));
    });
}

#[tokio::test]
async fn a_hub_that_was_restarted_is_greeted_and_one_that_was_restored_hears_everything_again() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| office.forget_sessions());
    shop.reload(1, 30).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        assert!(office.sessions >= 2);
        assert!(!office.refusals.contains(&SyncFault::Forged) && !office.refusals.contains(&SyncFault::Replayed));
        office.forget_sessions();
        office.incarnation += 1;
        office.sides.clear();
    });
    // The first call under the new incarnation may have been the poll's: either way all is told again.
    shop.edge.reconnect().await.unwrap();
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| assert_eq!(office.sides[&purse(1)].line.seen.loaded_minor, 530));
}

#[tokio::test]
async fn a_hub_that_was_restored_while_the_store_was_off_hears_everything_again() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    shop.reload(2, 70).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        office.cut.extend([path::HELLO, path::POLL, path::REPORT, path::DATASET]);
        office.forget_reports();
    });
    let shop = shop.restart().await;
    let noted = || shop.edge.store().read(sync_state::get).unwrap().reported_change_no;
    assert!(noted() > 0, "it was told");
    shop.office.with(|office| office.cut.clear());
    shop.edge.reconnect().await.unwrap();
    shop.office.with(|office| {
        let loaded = [1, 2].map(|n| office.sides[&purse(n)].line.seen.loaded_minor);
        assert_eq!((office.reports[0].since_no, loaded), (0, [500, 70]));
    });
}

#[tokio::test]
async fn what_a_restored_hub_refused_is_told_from_the_beginning_in_each_session_until_it_is_taken() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        office.refuse_account = Some(1);
        office.forget_reports();
    });
    let noted = || shop.edge.store().read(sync_state::get).unwrap().reported_change_no;
    let beginnings = || shop.office.with(|office| office.reports.iter().filter(|report| report.since_no == 0).count());
    shop.edge.reconnect().await.unwrap();
    assert_eq!((beginnings() > 0, noted()), (true, 0));
    for is_refused in [true, false, false] {
        let before = beginnings();
        let was_refused = shop.office.with(|office| {
            office.forget_sessions();
            std::mem::replace(&mut office.refuse_account, is_refused.then_some(1)).is_some()
        });
        shop.edge.reconnect().await.unwrap();
        assert_eq!(beginnings() > before, was_refused);
    }
}

#[tokio::test]
async fn what_was_refused_in_between_is_told_again_until_it_is_taken_whatever_else_moves() {
    for is_restarted in [false, true] {
        let shop = Shop::new(AT_ONCE, 0).await;
        shop.reload(2, 10).await;
        shop.edge.wait_reported().await.unwrap();
        shop.office.with(|office| office.refuse_account = Some(1));
        shop.reload(1, 500).await;
        shop.edge.wait_reported().await.unwrap();
        shop.reload(3, 30).await;
        shop.edge.wait_reported().await.unwrap();
        let free = |shop: &Shop| shop.office.with(|office| [1, 2, 3].map(|account| office.free(account)));
        assert_eq!((free(&shop), shop.available(1)), ([0, 10, 30], 0), "released here, and in no pool");
        // Again, and refused again: it goes on to wait.
        shop.edge.reconnect().await.unwrap();
        assert_eq!(shop.edge.sync_status().unwrap().faults.refused.len(), 1);
        shop.office.with(|office| office.refuse_account = None);
        let shop = if is_restarted { shop.restart().await } else { shop };
        if is_restarted {
            // A session begins, and the report that goes with it tells it.
            shop.edge.wait_reported().await.unwrap();
        } else {
            shop.edge.reconnect().await.unwrap();
        }
        assert_eq!(free(&shop), [500, 10, 30], "restarted: {is_restarted}");
        assert!(shop.edge.sync_status().unwrap().faults.refused.is_empty());
        let reports = shop.office.with(|office| office.reports.len());
        shop.edge.wait_reported().await.unwrap();
        assert_eq!(shop.office.with(|office| office.reports.len()), reports, "and no more");
    }
}

#[tokio::test]
async fn a_hub_that_misses_something_is_told_everything_in_the_same_session() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        office.untold = 1;
        office.reports.clear();
    });
    shop.reload(2, 70).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        let begins: Vec<bool> = office.reports.iter().map(|report| report.since_no == 0).collect();
        assert!(!begins[0] && begins[1..].contains(&true), "{begins:?}");
        let all = office.reports.iter().find(|report| report.since_no == 0).unwrap();
        assert_eq!(all.counters.len(), 2);
    });
}

#[tokio::test]
async fn a_hello_says_what_this_life_of_the_hub_has_on_its_disk() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    let first = shop.office.with(|office| office.incarnation);
    shop.reload(1, 500).await;
    shop.edge.upload().await.unwrap();
    let journal = shop.edge.store().head();
    shop.reload(2, 70).await;
    shop.edge.wait_reported().await.unwrap();
    let reported = shop.edge.store().head();
    let assured = || shop.office.with(|office| office.assured.unwrap());
    shop.office.with(|office| office.forget_sessions());
    shop.edge.reconnect().await.unwrap();
    assert_eq!(assured(), (first, Assured { journal, reported }));
    // Another life knows what it holds; of the one before nothing is claimed.
    shop.office.with(|office| office.forget_reports());
    shop.edge.reconnect().await.unwrap();
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| office.forget_sessions());
    shop.edge.reconnect().await.unwrap();
    assert_eq!(assured(), (first + 1, Assured { journal: Head::START, reported }));
    let shop = shop.restart().await;
    shop.edge.reconnect().await.unwrap();
    let (life, assured) = shop.office.with(|office| office.assured.unwrap());
    assert_eq!((life, assured.reported), (first + 1, reported), "it is written down");
}

#[tokio::test]
async fn messages_that_arrive_twice_have_one_effect() {
    let shop = Shop::new(AT_ONCE, 0).await;
    shop.office.with(|office| office.twice.extend([path::REPORT, path::GRANT, path::UPLOAD]));
    // The second copy is refused as replayed; its refusal is what comes back, and the message is sent once more.
    shop.office.with(|office| office.twice.remove(path::GRANT));
    shop.reload(1, 500).await;
    assert!(shop.edge.wait_reported().await.is_err(), "every copy of a copy is refused too");
    shop.office.with(|office| office.twice.clear());
    shop.edge.wait_reported().await.unwrap();
    assert_eq!((shop.available(1), shop.office.with(|office| office.free(1))), (0, 500));
}

#[tokio::test]
async fn at_once_gives_back_all_but_the_parked_amount_after_each_operation() {
    let shop = Shop::new(AT_ONCE, 120).await;
    shop.reload(1, 500).await;
    shop.reload(2, 100).await;
    shop.edge.wait_reported().await.unwrap();
    assert_eq!((shop.available(1), shop.available(2)), (120, 100));
    shop.office.with(|office| assert_eq!((office.free(1), office.free(2)), (380, 0)));
    // The member pays more than is parked: the rest comes back for it.
    assert_eq!(shop.spend(1, 450).await["decision"], "approved");
    shop.edge.wait_reported().await.unwrap();
    assert_eq!(shop.available(1), 50);
}

#[tokio::test]
async fn value_that_a_customer_waits_for_is_released_when_the_wait_is_over() {
    let shop = Shop::new(AT_ONCE, 0).await;
    let waiting = shop.edge.store().in_use().hold(vec![purse(1)]);
    shop.reload(1, 500).await;
    shop.reload(2, 70).await;
    shop.edge.wait_reported().await.unwrap();
    assert_eq!((shop.available(1), shop.available(2)), (500, 0));
    drop(waiting);
    // Nothing else moves; the look that comes by itself gives it back.
    shop.edge.wait_reported().await.unwrap();
    assert_eq!((shop.available(1), shop.office.with(|office| office.free(1))), (0, 500));
}

/// Keeps the writer busy and its queue full until the sender is dropped.
async fn jam(store: &Store) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let busy = store.clone();
    tokio::spawn(async move {
        busy.write(move |_| {
            let _ = begin.send(());
            let _ = released.recv();
            Ok::<_, StoreError>(())
        })
        .await
    });
    begun.await.unwrap();
    let is_full = || {
        let mut write = std::pin::pin!(store.write(|_| Ok::<_, StoreError>(())));
        let polled = write.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        matches!(polled, std::task::Poll::Ready(Err(StoreError::Busy)))
    };
    while !is_full() {}
    release
}

#[tokio::test]
async fn value_that_waited_for_a_customer_is_released_also_when_the_writer_was_busy_at_first() {
    let shop = Shop::new(AT_ONCE, 0).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| office.cut.extend([path::REPORT, path::POLL, path::GRANT, path::UPLOAD]));
    while shop.edge.reconnect().await.is_ok() {}
    shop.reload(1, 500).await;
    shop.edge.close().await;
    let (store, link) = still(shop.folder.path(), &shop.office, &shop.clock);

    let waiting = store.in_use().hold(vec![purse(1)]);
    release::by_policy(&link).await.unwrap();
    let jammed = jam(&store).await;
    drop(waiting);
    assert!(matches!(release::by_policy(&link).await, Err(SyncError::Store(StoreError::Busy))));
    drop(jammed);
    while release::by_policy(&link).await.is_err() {
        tokio::task::yield_now().await;
    }
    let held = store.read(|tx| allotment::get(tx, purse(1))).unwrap();
    assert_eq!(held.available_minor(), 0);
}

#[tokio::test]
async fn a_clock_that_is_put_right_while_the_line_is_down_neither_ends_a_hold_early_nor_keeps_it() {
    const HOUR_MS: i64 = 3_600_000;
    for wrong_by_ms in [-24 * HOUR_MS, 24 * HOUR_MS] {
        let shop = Shop::new(AT_CLOSE, 0).await;
        shop.reload(1, 500).await;
        shop.clock.set_by(wrong_by_ms);
        let shop = shop.restart().await;
        shop.edge.reconnect().await.unwrap();
        let request = json!({"card": number(1), "currency": "CNY", "amount_minor": 300, "expires_in_s": 3_600});
        let held = shop.post("/v1/holds", &request).await;
        assert_eq!(held["hold"]["expires_at_ms"], MORNING.plus_ms(HOUR_MS).ms(), "by head office's clock");
        shop.office
            .with(|office| office.cut.extend([path::REPORT, path::POLL, path::GRANT, path::UPLOAD, path::HELLO]));
        shop.clock.set_by(-wrong_by_ms);
        assert_eq!(shop.spend(1, 500).await["code"], "held");
        shop.clock.wind(HOUR_MS - 1);
        assert_eq!(shop.spend(1, 500).await["code"], "held");
        shop.clock.wind(1);
        assert_eq!(shop.spend(1, 500).await["decision"], "approved");
    }
}

/// A store that is its tasks' no more, so that nothing is tried but what a test tries.
fn still(folder: &std::path::Path, office: &Arc<FakeOffice>, clock: &HandClock) -> (Store, Arc<Link>) {
    let store = run::open_store(folder, &Default::default()).unwrap();
    let identity = store.committed().identity.clone().unwrap();
    let enrolment = Enrolment { group: identity.group, store: identity.store.id, epoch: identity.epoch };
    store.continuity().trust();
    let (key, clock) = (StoreKey::open(folder).unwrap(), Arc::new(clock.clone()));
    let session = Session::new(office.clone(), key, enrolment, clock.clone(), store.clone());
    let link = Link::new(store.clone(), session, clock, SyncConfig::default(), Arc::default()).unwrap();
    (store, link)
}

/// Has the writer do something, and meanwhile lets a release look: it sees what was before, and is written after it.
async fn release_after<T>(store: &Store, link: &Link, first: impl Future<Output = T>) -> T {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut busy = std::pin::pin!(store.write(move |_| {
        let _ = released.recv();
        Ok::<_, StoreError>(())
    }));
    let mut first = std::pin::pin!(first);
    let mut look = std::pin::pin!(release::by_policy(link));
    // Polled once, each is in the writer's queue.
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert!(busy.as_mut().poll(context).is_pending());
    assert!(first.as_mut().poll(context).is_pending());
    assert!(look.as_mut().poll(context).is_pending(), "there is something to release");
    drop(release);
    busy.await.unwrap();
    let done = first.await;
    look.await.unwrap();
    done
}

#[tokio::test]
async fn who_comes_back_while_their_value_is_being_released_keeps_it() {
    let shop = Shop::new(WHEN_IDLE, 0).await;
    shop.reload(1, 500).await;
    shop.reload(2, 70).await;
    shop.edge.close().await;
    shop.clock.wind(15 * 60_000);
    let (store, link) = still(shop.folder.path(), &shop.office, &shop.clock);
    let now = crate::clock::Clock::now(&shop.clock);
    let sale = store.write(move |tx| {
        let mut held = allotment::get(tx, purse(1))?;
        held.counters.spent_minor += 50;
        allotment::put(tx, purse(1), held, tx.chain().stamp, now)
    });
    release_after(&store, &link, sale).await.unwrap();
    let held = store
        .read(|tx| Ok::<_, StoreError>((allotment::get(tx, purse(1))?, allotment::get(tx, purse(2))?)))
        .map(|(one, two)| (one.available_minor(), two.available_minor()));
    assert_eq!(held.unwrap(), (450, 0), "the first was here this very moment");
}

#[tokio::test]
async fn a_day_that_opens_while_the_nights_value_is_being_released_keeps_it() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| office.cut.extend([path::REPORT, path::POLL, path::GRANT, path::UPLOAD, path::HELLO]));
    while shop.edge.reconnect().await.is_ok() {}
    shop.close_day().await;
    shop.edge.close().await;
    shop.clock.wind(24 * 3_600_000);
    let (store, link) = still(shop.folder.path(), &shop.office, &shop.clock);
    let hub = super::grant::HubAtCall::new(link.clone(), Default::default());
    let ledger = Ledger::new(store.clone(), Arc::new(hub));
    let call = Call {
        operation: huitong_protocol::id::OperationId(uuid::Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001)),
        body_hash: huitong_protocol::id::Hash::of(b"open"),
        terminal: "T1".parse().unwrap(),
        permissions: Permissions::ALL,
        now: crate::clock::Clock::now(&shop.clock),
        cards_age_ms: None,
    };
    release_after(&store, &link, ledger.execute(call, Order::OpenDay(Default::default()))).await.unwrap();
    assert!(store.committed().open_day.is_some());
    let held = store.read(|tx| allotment::get(tx, purse(1))).unwrap();
    assert_eq!(held.available_minor(), 500, "it goes back when this day closes");
}

#[tokio::test]
async fn when_idle_keeps_value_while_the_member_is_there() {
    let shop = Shop::new(WHEN_IDLE, 0).await;
    shop.reload(1, 500).await;
    shop.clock.wind(10 * 60_000);
    shop.reload(2, 70).await;
    shop.edge.wait_reported().await.unwrap();
    assert_eq!((shop.available(1), shop.available(2)), (500, 70));
    shop.clock.wind(5 * 60_000);
    // By itself: the clock has reached the first account's rest.
    shop.office.until("the idle account is back in the pool", |office| office.free(1) == 500).await;
    assert_eq!((shop.available(1), shop.available(2)), (0, 70));
    shop.clock.wind(10 * 60_000);
    shop.office.until("the other one too", |office| office.free(2) == 70).await;
}

#[tokio::test]
async fn at_close_and_when_idle_everything_above_the_parked_amount_goes_back_with_the_close() {
    for release in [AT_CLOSE, WHEN_IDLE] {
        let shop = Shop::new(release, 10).await;
        shop.reload(1, 500).await;
        shop.edge.wait_reported().await.unwrap();
        assert_eq!(shop.available(1), 500, "{release}");
        shop.close_day().await;
        shop.edge.wait_reported().await.unwrap();
        assert_eq!((shop.available(1), shop.office.with(|office| office.free(1))), (10, 490), "{release}");
    }
}

#[tokio::test]
async fn nothing_is_released_into_a_dead_line() {
    let shop = Shop::new(AT_ONCE, 0).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| office.cut.extend([path::REPORT, path::POLL, path::GRANT]));
    shop.reload(1, 10).await;
    while shop.edge.wait_reported().await.is_ok() {}
    shop.reload(2, 500).await;
    assert!(!shop.edge.is_online());
    assert_eq!(shop.available(2), 500, "the member can go on paying here");
    assert_eq!(shop.spend(2, 200).await["decision"], "approved");
    shop.office.with(|office| office.cut.clear());
    shop.edge.reconnect().await.unwrap();
    shop.edge.wait_reported().await.unwrap();
    assert_eq!((shop.available(2), shop.office.with(|office| office.free(2))), (0, 300));
}

/// The answer to the next question for value is lost, and no other answer brings what it granted until those that are held are let go.
fn lose_the_next_grant(office: &mut Office) {
    office.lose.insert(path::GRANT, 1);
    office.held.extend([path::REPORT, path::POLL, path::UPLOAD, path::DATASET]);
}

#[tokio::test]
async fn a_till_gets_what_the_hub_has_and_a_dead_line_is_asked_once() {
    let shop = Shop::with(Shop::office(AT_CLOSE, 0), |config| {
        config.sync.retry_min = huitong_config::Millis::hours(1);
        config.sync.retry_max = huitong_config::Millis::hours(1);
    });
    let shop = shop.await;
    shop.office.with(|office| office.load(3, 1_000));
    assert_eq!(shop.spend(3, 400).await["decision"], "approved");
    assert_eq!(shop.available(3), 600);
    shop.office.with(|office| office.load(4, 1_000));
    shop.office.with(lose_the_next_grant);
    let declined = shop.spend(4, 400).await;
    shop.office.with(|office| office.held.clear());
    assert_eq!(declined["code"], "insufficient_here_offline", "{declined}");
    let asked = shop.office.with(|office| office.count(path::GRANT));
    // Reports and polls go on; one of them may have opened the way again, and then the grant that was lost is here already.
    for _ in 0..3 {
        let again = shop.spend(4, 100_000).await;
        assert_eq!(again["decision"], "declined");
    }
    let asked_again = shop.office.with(|office| office.count(path::GRANT)) - asked;
    assert!(asked_again == 0 || shop.edge.is_online(), "a line that is down was asked {asked_again} times");
}

#[tokio::test]
async fn a_grant_whose_answer_was_lost_comes_with_the_next_report() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.office.with(|office| office.load(3, 1_000));
    shop.office.with(lose_the_next_grant);
    assert_eq!(shop.spend(3, 400).await["decision"], "declined");
    shop.office.with(|office| office.held.clear());
    shop.office.with(|office| assert_eq!((office.free(3), office.sides[&purse(3)].line.granted_minor), (0, 1_000)));
    shop.edge.reconnect().await.unwrap();
    shop.edge.wait_reported().await.unwrap();
    let told = |office: &Office| office.sides[&purse(3)].line.seen.adopted_minor == 1_000;
    shop.office.until("the store has said that it holds it", told).await;
    assert_eq!(shop.available(3), 1_000);
}

#[tokio::test]
async fn a_grant_whose_till_hung_up_is_adopted_and_told() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.edge.wait_reported().await.unwrap();
    shop.office.with(|office| {
        office.load(3, 1_000);
        office.held.insert(path::GRANT);
    });
    {
        let mut asked = std::pin::pin!(shop.spend(3, 400));
        tokio::select! {
            answer = &mut asked => panic!("the hub has not answered: {answer}"),
            () = shop.office.until("it has granted", |office| office.sides[&purse(3)].line.granted_minor == 1_000) => {}
        }
    }
    shop.office.with(|office| office.held.clear());
    let told = |office: &Office| office.sides[&purse(3)].line.seen.adopted_minor == 1_000;
    shop.office.until("the store has said that it holds it", told).await;
    assert_eq!(shop.available(3), 1_000);
}

#[tokio::test]
async fn a_recall_also_reaches_value_whose_grant_never_arrived() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    // Granted by the hub to this store, which has never heard of it.
    shop.office.with(|office| {
        office.load(9, 700);
        let side = office.sides.get_mut(&purse(9)).unwrap();
        *side = step(side, HubEvent::Grant { amount_minor: 700 }).unwrap();
        office.recalls = vec![(1, recall(9))];
    });
    shop.office.until("it is back in the pool", |office| office.free(9) == 700).await;
}

#[tokio::test]
async fn a_recall_takes_the_parked_amount_too_and_is_answered_at_once() {
    let shop = Shop::new(AT_ONCE, 200).await;
    shop.reload(1, 500).await;
    shop.edge.wait_reported().await.unwrap();
    assert_eq!(shop.available(1), 200);
    shop.office.with(|office| office.recalls = vec![(41, recall(1)), (42, recall(5))]);
    shop.office.until("all of it is in the pool", |office| office.free(1) == 500).await;
    shop.office.until("the recalls are confirmed", |office| office.recalls_through == 42).await;
    assert_eq!(shop.available(1), 0);
}

#[tokio::test]
async fn a_grant_that_cannot_be_is_named_once_and_keeps_nothing_from_its_neighbours() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    shop.reload(5, 10).await;
    shop.edge.wait_reported().await.unwrap();
    let grant = |account, granted_minor| {
        let account = AccountId::new(account).unwrap();
        Grant { account, unit: CNY, granted_minor, stamp: Stamp(1) }
    };
    let foreign = Grant { unit: Unit::new("EUR").unwrap(), ..grant(2, 80) };
    shop.office.with(|office| {
        // The hub's own books have the good one.
        office.load(3, 70);
        let side = office.sides.get_mut(&purse(3)).unwrap();
        *side = step(side, HubEvent::Grant { amount_minor: 70 }).unwrap();
        office.riding = vec![foreign, grant(4, -90), grant(5, i64::MAX), grant(3, 70)];
        office.recalls = vec![(1, recall(1))];
    });
    // On the poll path: the recall is served, and the good grant is here.
    shop.office.until("what was recalled is in the pool", |office| office.free(1) == 500).await;
    shop.office.until("the recall is confirmed", |office| office.recalls_through == 1).await;
    assert_eq!((shop.available(3), shop.available(1)), (70, 0));
    let alarm = async || {
        let status = shop.status().await;
        let alarms = status["alarms"].as_array().unwrap().clone();
        let named = alarms.iter().filter_map(|words| words.as_str()).find(|words| words.contains("cannot take"));
        named.map(str::to_owned)
    };
    let words = alarm().await.unwrap();
    for (named, reason) in [("account 2 in EUR", "count in CNY"), ("account 4 in CNY", "-90 is not above zero")] {
        assert!(words.contains(named) && words.contains(reason), "{words}");
    }
    assert!(words.contains("account 5 in CNY") && !words.contains("account 3"), "{words}");
    // And beside what a till asks for: it is granted and sold, and nothing is named twice.
    let head = shop.edge.store().head();
    shop.office.with(|office| office.load(3, 30));
    assert_eq!(shop.spend(3, 100).await["decision"], "approved");
    shop.edge.reconnect().await.unwrap();
    assert_eq!(shop.edge.store().head().seq, head.seq.next().next(), "the grant and the sale");
    assert_eq!(alarm().await.unwrap(), words);
    // The hub was put right.
    shop.office.with(|office| {
        office.load(4, 90);
        let side = office.sides.get_mut(&purse(4)).unwrap();
        *side = step(side, HubEvent::Grant { amount_minor: 90 }).unwrap();
        office.riding = vec![grant(4, 90)];
    });
    shop.edge.reconnect().await.unwrap();
    assert!(!alarm().await.unwrap().contains("account 4"));
    assert_eq!(shop.available(4), 90);
    assert_eq!(shop.edge.sync_status().unwrap().faults.grants_left, 0);
}

#[tokio::test]
async fn neither_a_recall_nor_a_close_takes_what_is_held() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    let request = json!({"card": number(1), "currency": "CNY", "amount_minor": 300, "expires_in_s": 3_600});
    let held = shop.post("/v1/holds", &request).await;
    shop.office.with(|office| office.recalls = vec![(1, recall(1))]);
    shop.office.until("what is not held is in the pool", |office| office.free(1) == 200).await;
    shop.office.until("the recall is confirmed", |office| office.recalls_through == 1).await;
    shop.close_day().await;
    shop.edge.wait_reported().await.unwrap();
    assert_eq!((shop.office.with(|office| office.free(1)), shop.available(1)), (200, 0));
    // Its time is over, and the job gives it back to the store, which releases it as the day is closed.
    shop.clock.wind(3_601_000);
    assert!(shop.edge.tick().await.unwrap().contains(&Job::ExpireHolds));
    shop.office.until("all of it is in the pool", |office| office.free(1) == 500).await;
    let told = shop.edge.store().read(|tx| hold::find(tx, held["hold"]["id"].as_str().unwrap().parse().unwrap()));
    assert_eq!(told.unwrap().unwrap().state, huitong_protocol::till::HoldState::Expired);
}

#[tokio::test]
async fn the_day_is_uploaded_when_it_is_closed_and_the_verdict_kept() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    for n in 1..=4 {
        shop.reload(n, 100 * n).await;
    }
    assert_eq!(shop.office.with(|office| office.segments), 0, "no trickle in this shop");
    shop.close_day().await;
    shop.office.until("the journal is there", |office| office.entries.len() >= 6).await;
    // After the seal comes what the close released; it is covered by the next seal.
    shop.edge.wait_reported().await.unwrap();
    let done = shop.edge.upload().await.unwrap();
    assert_eq!(done.acknowledged_seq, shop.edge.store().head().seq);
    let status = shop.edge.sync_status().unwrap();
    assert_eq!(status.days.first().map(|day| day.state), Some(DayState::Accepted));
    let held = shop.office.with(|office| office.head());
    assert_eq!(held, shop.edge.store().head());
}

#[tokio::test]
async fn a_close_is_uploaded_at_once_and_other_entries_after_a_while() {
    let slow = |config: &mut crate::config::EdgeConfig| config.sync.trickle = huitong_config::Millis::hours(1);
    let shop = Shop::with(Shop::office(AT_CLOSE, 0), slow).await;
    shop.edge.reconnect().await.unwrap();
    shop.reload(1, 10).await;
    assert_eq!(shop.office.with(|office| office.segments), 0);
    shop.close_day().await;
    shop.office.until("the close is there", |office| office.entries.len() >= 3).await;
    let quick = |config: &mut crate::config::EdgeConfig| config.sync.trickle = huitong_config::Millis::ms(1);
    let shop = Shop::with(Shop::office(AT_CLOSE, 0), quick).await;
    shop.reload(1, 10).await;
    shop.office.until("the entries are there while the day is open", |office| office.entries.len() >= 2).await;
}

#[tokio::test]
async fn an_upload_goes_on_from_where_the_hub_is_whatever_was_lost() {
    let shop = Shop::with(Shop::office(AT_CLOSE, 0), |config| {
        config.sync.upload_entries_max = 2;
        config.sync.upload_window = 3;
    })
    .await;
    for n in 1..=5 {
        shop.reload(n, 10).await;
    }
    // Answers are lost: the hub has the segments, the store does not know.
    shop.office.with(|office| office.lose.insert(path::UPLOAD, 2));
    assert!(matches!(shop.edge.upload().await, Err(SyncError::Call(_))));
    shop.edge.upload().await.unwrap();
    assert_eq!(shop.office.with(|office| office.head()), shop.edge.store().head());
    // The hub comes back from a backup with less: it says so in its welcome, and gets the rest again.
    shop.office.with(|office| {
        office.forget_entries_after(2);
        office.forget_sessions();
        office.incarnation += 1;
    });
    shop.edge.reconnect().await.unwrap();
    shop.edge.upload().await.unwrap();
    assert_eq!(shop.office.with(|office| office.head()), shop.edge.store().head());
    let acknowledged = shop.edge.store().read(sync_state::get).unwrap().acknowledged;
    assert_eq!(acknowledged, shop.edge.store().head());
}

/// What a copy of the store brought.
fn brought_by_a_copy(office: &mut Office) {
    office.entries = vec![b"not ours".to_vec()];
    office.forget_entries_after(1);
}

/// Value is stopped in this shop, now and after a restart; goods are sold for cash all the same.
async fn spends_nothing_and_takes_cash(shop: Shop) {
    let line = json!({"sku": "A1", "quantity_thousandths": 1000, "gross_minor": 100, "net_minor": 100});
    let tender = json!({"tender": "cash", "amount_minor": 100});
    let cash = json!({"currency": "CNY", "lines": [line], "tenders": [tender]});
    assert_eq!(shop.spend(1, 5).await["code"], "value_quarantined");
    shop.post("/v1/sales", &cash).await;
    let shop = shop.restart().await;
    assert_eq!(shop.spend(1, 5).await["code"], "value_quarantined");
    shop.post("/v1/sales", &cash).await;
}

#[tokio::test]
async fn a_hub_that_holds_another_journal_stops_value_and_gets_nothing() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 10).await;
    shop.office.with(|office| {
        brought_by_a_copy(office);
        office.forget_sessions();
    });
    assert!(matches!(shop.edge.upload().await, Err(SyncError::Call(_))));
    assert!(shop.edge.store().continuity().is_quarantined());
    assert_eq!(shop.office.with(|office| office.segments), 0);
    spends_nothing_and_takes_cash(shop).await;
}

#[tokio::test]
async fn a_hub_that_holds_more_than_this_journal_stops_value() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 10).await;
    shop.edge.upload().await.unwrap();
    shop.office.with(|office| {
        let more = (0..9_u8).map(|no| vec![no]);
        office.entries.extend(more);
        let held = office.entries.len();
        office.forget_entries_after(held);
        office.forget_sessions();
    });
    assert!(shop.edge.reconnect().await.is_err());
    spends_nothing_and_takes_cash(shop).await;
}

#[tokio::test]
async fn a_copy_that_uploads_while_this_session_runs_stops_value_here() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.edge.reconnect().await.unwrap();
    shop.reload(1, 10).await;
    // The hub refuses what contradicts that.
    shop.office.with(brought_by_a_copy);
    let refused = shop.edge.upload().await;
    assert!(matches!(refused, Err(SyncError::Call(CallError::Refused { fault: SyncFault::Fork, .. }))), "{refused:?}");
    assert!(shop.edge.sync_status().unwrap().faults.diverged.is_some());
    spends_nothing_and_takes_cash(shop).await;
    // The answer to a segment of its own names what it holds instead.
    let shop = Shop::with(Shop::office(AT_CLOSE, 0), |config| config.sync.upload_entries_max = 1).await;
    shop.reload(1, 10).await;
    shop.office.with(|office| office.says_to_hold = Some(Head { seq: Seq(1), hash: Hash::of(b"not ours") }));
    let diverged = shop.edge.upload().await;
    assert!(matches!(diverged, Err(SyncError::Diverged { hub_seq: 1, .. })), "{diverged:?}");
    assert!(shop.edge.sync_status().unwrap().faults.diverged.is_some());
    spends_nothing_and_takes_cash(shop).await;
}

#[tokio::test]
async fn a_hub_that_unsays_what_it_acknowledged_stops_nobodys_value() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 10).await;
    shop.edge.upload().await.unwrap();
    let acknowledged = || shop.edge.store().read(sync_state::get).unwrap().acknowledged;
    let before = acknowledged();
    assert!(before.seq > Seq(1));
    shop.office.with(|office| {
        brought_by_a_copy(office);
        office.forget_sessions();
    });
    shop.edge.reconnect().await.unwrap();
    assert!(matches!(shop.edge.upload().await, Err(SyncError::Diverged { hub_seq: 1, .. })));
    assert!(shop.edge.sync_status().unwrap().faults.diverged.is_some(), "and it is named");
    assert_eq!((shop.spend(1, 5).await["decision"].clone(), acknowledged()), (json!("approved"), before));
    // Another life acknowledged nothing of what it has otherwise.
    shop.office.with(|office| {
        office.forget_sessions();
        office.incarnation += 1;
    });
    assert!(shop.edge.reconnect().await.is_err());
    spends_nothing_and_takes_cash(shop).await;
}

#[tokio::test]
async fn what_head_office_publishes_arrives_by_itself_page_by_page() {
    let office = FakeOffice::new();
    office.with(|office| office.publish(DatasetKind::Policies, policy(AT_CLOSE, 0)));
    let shop = Shop::with(office, |config| config.sync.download_rows_max = 2).await;
    shop.office.with(|office| {
        for n in 1..=5 {
            office.publish(DatasetKind::Cards, DatasetRow::Card(card(n)));
        }
    });
    let mut changed = shop.edge.store().changed();
    let arrived = changed.wait_for(|committed| committed.replica.cards == 5);
    tokio::time::timeout(std::time::Duration::from_secs(20), arrived).await.expect("five cards").unwrap();
    shop.reload(5, 100).await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_leaves_the_one_before_in_force_and_is_named() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.office.with(|office| office.publish(DatasetKind::Policies, document_row(2, "name = 7")));
    let done = shop.edge.download().await.unwrap();
    assert_eq!(done.policy_faults.len(), 1, "{done:?}");
    shop.reload(1, 100).await;
    let status = shop.edge.sync_status().unwrap();
    assert!(status.policy_faults[0].contains("version 2"), "{status:?}");
}

#[tokio::test]
async fn status_says_how_the_line_is() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.edge.reconnect().await.unwrap();
    let status = shop.edge.sync_status().unwrap();
    assert!(status.hub_online && status.hub_last_seen_ms == Some(MORNING));
    shop.office.with(|office| office.cut.extend([path::REPORT, path::POLL]));
    assert!(shop.edge.reconnect().await.is_err());
    while shop.edge.is_online() {
        tokio::task::yield_now().await;
    }
    assert!(shop.edge.sync_status().unwrap().line_fault.is_some());
}

#[tokio::test]
async fn calls_that_run_together_never_share_a_nonce() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.office.with(|office| (1..=5).for_each(|account| office.load(account, 1_000)));
    let spends = (0..40).map(|index| shop.spend(1 + index % 5, 10));
    for answer in join_all(spends).await {
        assert_eq!(answer["decision"], "approved", "{answer}");
    }
    shop.edge.wait_reported().await.unwrap();
    shop.edge.upload().await.unwrap();
    shop.office.with(|office| assert_eq!(office.refusals, []));
}

/// Runs futures of one test together.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in &mut waiting {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn the_day_closes_by_itself_when_the_schedule_says_so() {
    let shop = Shop::with(Shop::office(AT_CLOSE, 0), |config| {
        config.schedule.day_close = "22:00".parse().unwrap();
        config.schedule.report = crate::config::When::Off;
        config.schedule.upload = crate::config::When::Off;
        config.schedule.expire_holds = crate::config::When::Off;
    })
    .await;
    shop.reload(1, 10).await;
    shop.clock.wind(12 * 3_600_000);
    assert_eq!(shop.edge.tick().await.unwrap(), [Job::DayClose]);
    shop.office.until("the sealed day is there", |office| office.entries.len() >= 3).await;
    assert_eq!(shop.edge.store().committed().open_day, None);
    // Nothing is open the next evening: nothing to close, and no failure.
    shop.clock.wind(24 * 3_600_000);
    assert_eq!(shop.edge.tick().await.unwrap(), [Job::Download, Job::DayClose, Job::Purge]);
    let day_close = || {
        let listed = shop.edge.schedule().list().unwrap();
        listed.into_iter().find(|planned| planned.name == "day_close").unwrap()
    };
    let mut changed = shop.edge.store().changed();
    let ended = async {
        while day_close().runs < 2 {
            // Jobs write their row when they end; anything else that is written wakes as well.
            if tokio::time::timeout(std::time::Duration::from_millis(20), changed.changed())
                .await
                .is_ok_and(|gone| gone.is_err())
            {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("both runs ended");
    assert_eq!((day_close().failures, day_close().last_outcome.as_deref()), (0, Some("no day is open")));
}

#[tokio::test]
async fn sync_by_hand_needs_the_permission_for_the_day() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    let seller = shop.edge.pair("T9".parse().unwrap(), Permissions::default()).await.unwrap();
    let ask = async |token: &str, path: &str, body: &'static str| {
        let request = axum::http::Request::post(path).header("authorization", format!("Bearer {token}"));
        let response = shop.edge.router().oneshot(request.body(axum::body::Body::from(body)).unwrap()).await.unwrap();
        response.status().as_u16()
    };
    let manager = shop.edge.pair("T8".parse().unwrap(), Permissions::ALL).await.unwrap();
    for path in ["/v1/sync/run", "/v1/schedule/report/run"] {
        assert_eq!(ask("wrong", path, "").await, 401, "{path}");
        assert_eq!(ask(seller.reveal(), path, "").await, 403, "{path}");
        assert_eq!(ask(manager.reveal(), path, "").await, 200, "{path}");
    }
    assert_eq!(ask(manager.reveal(), "/v1/sync/run", "{\"uplaod\": true}").await, 422);
    assert_eq!(ask(manager.reveal(), "/v1/schedule/party/run", "").await, 404);
}
