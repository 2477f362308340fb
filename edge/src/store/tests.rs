//! The writer's promises, under errors and a failing disk, and the tables' own rules.

use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use huitong_protocol::card::CardStatus;
use huitong_protocol::entry::{Allotment, Body};
use huitong_protocol::id::{Hash, OperationId, Seq};
use huitong_protocol::journal;
use huitong_protocol::journal::Head;
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::wire::Grant;

use super::operation::NewAnswer;
use super::*;
use crate::ledger::testing::{CNY, MORNING, POLICY, account, card as card_of, enrol, open_store, policy_page, purse};

fn nothing() -> Body {
    Body::Allotment(Allotment { changes: Vec::new() })
}

fn append(tx: &mut WriteTx<'_>) -> Result<Appended, StoreError> {
    tx.append(MORNING, EntryMeta::default(), nothing())
}

async fn enrolled(folder: &Path) -> Store {
    let store = open_store(folder);
    store.write(enrol).await.unwrap();
    store
}

#[track_caller]
fn assert_chain(store: &Store, entries: u64) {
    let all = store.read(|tx| super::journal::entries_after(tx, Seq::ZERO, 100_000, usize::MAX)).unwrap();
    let walk = all.iter().map(|entry| (entry.head.seq, entry.head.hash, entry.bytes.as_slice()));
    assert_eq!(journal::verify(Head::START, walk), Ok(store.head()));
    assert_eq!(all.len() as u64, entries);
}

/// Polls a write once, so that it is queued.
fn queue<F: Future>(write: Pin<&mut F>) {
    assert!(write.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Keeps the writer busy until the sender is dropped, so that what is queued meanwhile shares one batch.
async fn hold(store: &Store) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = oneshot::channel();
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
    release
}

#[tokio::test]
async fn what_fails_is_rolled_back_alone_with_its_part_of_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    let held = hold(&store).await;
    let mut first = pin!(store.write(append));
    let mut refused = pin!(store.write(|tx| {
        append(tx)?;
        setting::put(tx, "half", "done")?;
        Err::<(), _>(StoreError::Rule { operation: "test", fault: "on purpose".to_owned() })
    }));
    let mut broken = pin!(store.write(|tx| -> Result<(), StoreError> {
        append(tx)?;
        panic!("on purpose")
    }));
    let mut last = pin!(store.write(append));
    queue(first.as_mut());
    queue(refused.as_mut());
    queue(broken.as_mut());
    queue(last.as_mut());
    drop(held);
    assert_eq!(first.await.unwrap().id.seq, Seq(1));
    assert!(matches!(refused.await, Err(StoreError::Rule { .. })));
    assert!(matches!(broken.await, Err(StoreError::Panicked)));
    assert_eq!(last.await.unwrap().id.seq, Seq(2), "no gap where the others were");
    assert_eq!(store.read(|tx| setting::get(tx, "half")).unwrap(), None);
    assert_chain(&store, 2);
}

#[tokio::test]
async fn many_writers_share_transactions_and_each_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    let held = hold(&store).await;
    let mut writes = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let store = store.clone();
        writes.spawn(async move { store.write(append).await.unwrap().id.seq.0 });
    }
    drop(held);
    let mut places = writes.join_all().await;
    places.sort_unstable();
    assert_eq!(places, (1..=500).collect::<Vec<_>>());
    assert_chain(&store, 500);
}

#[tokio::test]
async fn a_commit_that_fails_answers_nobody_and_stops_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    store.write(append).await.unwrap();
    let head = store.head();
    // A constraint that the engine checks only at COMMIT: the one way to make COMMIT itself fail without breaking a disk.
    store
        .write(|tx| {
            let sql = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
                       CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)";
            tx.connection().execute_batch(sql).map_err(StoreError::during("make tables"))
        })
        .await
        .unwrap();
    let held = hold(&store).await;
    let mut good = pin!(store.write(append));
    let mut poison = pin!(store.write(|tx| tx.execute("poison", "INSERT INTO child (id) VALUES (7)", [])));
    let mut refused = pin!(store.write(|_| Err::<(), _>(StoreError::NotEnrolled)));
    queue(good.as_mut());
    queue(poison.as_mut());
    queue(refused.as_mut());
    drop(held);
    assert!(
        matches!(good.await, Err(StoreError::NotDurable)),
        "a good operation in a batch that failed did not happen"
    );
    assert!(matches!(poison.await, Err(StoreError::NotDurable)));
    assert!(matches!(refused.await, Err(StoreError::NotEnrolled)), "what failed by itself failed");
    assert!(*store.failed().borrow() && !store.is_serving());
    assert!(matches!(store.write(append).await, Err(StoreError::Stopped)));
    assert_eq!(store.head(), head);
    store.close();
    assert_chain(&open_store(folder.path()), 1);
}

#[tokio::test]
async fn a_full_disk_stops_the_writer_even_when_the_error_is_swallowed() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    let held = hold(&store).await;
    let mut good = pin!(store.write(append));
    let mut full = pin!(store.write(|tx| {
        let limit = |tx: &WriteTx<'_>| tx.connection().query_row("PRAGMA max_page_count = 1", [], |_| Ok(()));
        limit(tx).map_err(StoreError::during("limit the disk"))?;
        let swallowed = setting::put(tx, "big", &"x".repeat(100_000));
        assert!(swallowed.is_err(), "the disk is full");
        Ok::<_, StoreError>(())
    }));
    queue(good.as_mut());
    queue(full.as_mut());
    drop(held);
    assert!(matches!(good.await, Err(StoreError::NotDurable)));
    assert!(matches!(full.await, Err(StoreError::NotDurable)));
    assert!(*store.failed().borrow());
    store.close();
    assert_chain(&open_store(folder.path()), 0);
}

#[tokio::test]
async fn too_many_are_told_to_come_back_and_the_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    let held = hold(&store).await;
    let mut queued: Vec<_> = (0..QUEUE_MAX).map(|_| Box::pin(store.write(append))).collect();
    queued.iter_mut().for_each(|write| queue(write.as_mut()));
    let mut late = pin!(store.write(append));
    let Poll::Ready(refused) = late.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the queue has room for more than it should")
    };
    assert!(matches!(refused, Err(StoreError::Busy)));
    drop(held);
    for write in queued {
        write.await.unwrap();
    }
    assert_chain(&store, QUEUE_MAX as u64);
}

#[tokio::test]
async fn what_was_acknowledged_is_in_a_copy_taken_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    for _ in 0..20 {
        store.write(append).await.unwrap();
    }
    let head = store.head();
    // As after a power cut: the files as they are, nothing closed, the shared memory lost.
    let crashed = tempfile::tempdir().unwrap();
    for file in ["edge.db", "edge.db-wal"] {
        std::fs::copy(folder.path().join(file), crashed.path().join(file)).unwrap();
    }
    let copy = open_store(crashed.path());
    assert_eq!(copy.head(), head);
    assert_chain(&copy, 20);
    // A copy is a fork as soon as both write; the stamps and hashes say so, and the hub compares them.
    copy.write(append).await.unwrap();
    store.write(|tx| tx.append(Instant(MORNING.0 + 9), EntryMeta::default(), nothing())).await.unwrap();
    assert_ne!(copy.head(), store.head());
    let at = copy.head();
    assert!(!store.read(|tx| super::journal::contains(tx, at)).unwrap());
}

#[tokio::test]
async fn the_log_is_copied_back_while_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { checkpoint_pages: 8, ..StoreOptions::default() };
    let store = Store::open(&folder.path().join("edge.db"), options).unwrap();
    store.write(enrol).await.unwrap();
    for _ in 0..400 {
        store.write(append).await.unwrap();
    }
    let log = std::fs::metadata(folder.path().join("edge.db-wal")).unwrap().len();
    assert!(log < 1 << 19, "the log has {log} bytes after 400 commits of several pages");
    assert_chain(&store, 400);
}

#[tokio::test]
async fn look_ups_see_every_answered_write_and_never_hold_the_log_up() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { checkpoint_pages: 8, ..StoreOptions::default() };
    let store = Store::open(&folder.path().join("edge.db"), options).unwrap();
    store.write(enrol).await.unwrap();
    let seen = |store: &Store| store.look(|tx| setting::get(tx, "seen")).unwrap();
    for round in 0..400_u32 {
        store.write(move |tx| setting::put(tx, "seen", &round.to_string())).await.unwrap();
        // The log is copied back after the answer. Whoever is answered next comes after that: a look-up in the middle of it would be another matter.
        store.write(|_| Ok::<_, StoreError>(())).await.unwrap();
        // Twice: the second one goes on in the moment of the first, which the next commit must end.
        assert_eq!([seen(&store), seen(&store)], [Some(round.to_string()), Some(round.to_string())]);
    }
    let log = std::fs::metadata(folder.path().join("edge.db-wal")).unwrap().len();
    assert!(log < 1 << 19, "the log has {log} bytes after 400 commits beside look-ups");
}

#[tokio::test]
async fn what_a_command_line_writes_beside_the_daemon_is_read_at_once_and_looked_up_soon() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    store.write(|tx| setting::put(tx, "seen", "old")).await.unwrap();
    assert_eq!(store.look(|tx| setting::get(tx, "seen")).unwrap().as_deref(), Some("old"));
    let beside = Connection::open(folder.path().join("edge.db")).unwrap();
    beside.execute("UPDATE setting SET value = 'new' WHERE key = 'seen'", []).unwrap();
    assert_eq!(store.read(|tx| setting::get(tx, "seen")).unwrap().as_deref(), Some("new"));
    // A failed read must not leave its connection in an old moment either.
    assert!(store.look(|_| Err::<(), _>(StoreError::NotEnrolled)).is_err());
    let looked_up = async || {
        while store.look(|tx| setting::get(tx, "seen")).unwrap().as_deref() != Some("new") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looked_up()).await.expect("a look-up leaves an old moment");
}

#[tokio::test]
async fn an_entry_needs_a_store_to_be_of() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(folder.path());
    assert!(matches!(store.write(append).await, Err(StoreError::NotEnrolled)));
    store.write(enrol).await.unwrap();
    store.write(append).await.unwrap();
    let other = store.write(|tx| {
        let own = tx.identity()?;
        let epoch = huitong_protocol::id::Epoch(2);
        identity::put(tx, identity::Identity::new(own.group, epoch, own.store.clone())?)
    });
    assert!(matches!(other.await, Err(StoreError::Rule { .. })), "a journal cannot change whose it is");
}

#[tokio::test]
async fn news_of_a_card_that_is_older_than_what_was_done_here_is_overtaken() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    let number = card_of(1, CardStatus::Blank).number;
    let blank = card_of(1, CardStatus::Blank);
    store
        .write(move |tx| {
            card::upsert_from_hub(tx, &blank, Some(1))?;
            card::set_status(tx, number, CardStatus::Active, Stamp(100))?;
            card::upsert_from_hub(tx, &blank, Some(2))
        })
        .await
        .unwrap();
    let found = |store: &Store| store.read(|tx| card::find(tx, number)).unwrap().unwrap();
    assert_eq!((found(&store).status, found(&store).status_stamp), (CardStatus::Active, Stamp(100)));
    let lost = huitong_protocol::card::Card { status_stamp: Stamp(101), ..card_of(1, CardStatus::Lost) };
    store.write(move |tx| card::upsert_from_hub(tx, &lost, Some(3))).await.unwrap();
    assert_eq!(found(&store).status, CardStatus::Lost);
}

#[tokio::test]
async fn whatever_the_hub_sent_comes_before_what_is_written_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    let ahead = |ms| Stamp(MORNING.0 + ms);
    // An answer about a card, and a grant that is known already: neither writes an entry.
    let told = huitong_protocol::card::Card { status_stamp: ahead(7_000), ..card_of(1, CardStatus::Active) };
    store.write(move |tx| card::upsert_from_hub(tx, &told, None)).await.unwrap();
    assert_eq!(store.write(append).await.unwrap().stamp, ahead(7_001));
    let known = Grant { account: account(1), unit: CNY, granted_minor: 5, stamp: ahead(9_000) };
    let before = Grant { stamp: ahead(7_500), ..known };
    assert!(store.write(move |tx| allotment::adopt_grants(tx, MORNING, &[before])).await.unwrap().is_some());
    assert_eq!(store.write(move |tx| allotment::adopt_grants(tx, MORNING, &[known])).await.unwrap(), None);
    assert_eq!(store.write(append).await.unwrap().stamp, ahead(9_001));
}

#[tokio::test]
async fn a_policy_is_in_force_from_its_day_and_a_bad_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    let in_force = |store: &Store| store.committed().policy.as_ref().map(|policy| policy.version);
    assert_eq!(in_force(&store), None);
    store
        .write(|tx| {
            replica::apply_page(tx, &policy_page(1, "2026-01-01", POLICY))?;
            replica::apply_page(tx, &policy_page(2, "2026-12-01", &POLICY.replace("test", "winter")))?;
            replica::apply_page(tx, &policy_page(3, "2026-01-01", "name = 7"))?;
            day::open(tx, "2026-11-22".parse().unwrap(), Seq(1))
        })
        .await
        .unwrap();
    assert_eq!(in_force(&store), Some(1));
    let faults = store.committed().policy_refused.iter().map(ToString::to_string).collect::<String>();
    assert!(faults.contains("policy version 3 cannot be used"), "{faults}");
    let seal = huitong_protocol::seal::Seal {
        business_day: "2026-11-22".parse().unwrap(),
        first_seq: Seq(1),
        last: Head::START,
        totals: Default::default(),
    };
    store
        .write(move |tx| {
            day::close(tx, &seal, Seq(2))?;
            day::open(tx, "2026-12-01".parse().unwrap(), Seq(3))
        })
        .await
        .unwrap();
    assert_eq!(in_force(&store), Some(2));
    let quoted_under = |version| store.committed().policy_of(version).map(|policy| policy.policy.name.clone());
    assert_eq!(quoted_under(1).as_deref(), Some("test"), "what was quoted yesterday is sold today");
    assert_eq!(quoted_under(2).as_deref(), Some("winter"));
    assert_eq!(quoted_under(3), None);
    drop(store);
    assert_eq!(in_force(&open_store(folder.path())), Some(2), "after a restart as well");
}

#[tokio::test]
async fn a_store_opens_under_a_policy_that_is_yet_to_come_when_it_has_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    store
        .write(|tx| {
            replica::apply_page(tx, &policy_page(1, "2027-01-01", POLICY))?;
            replica::apply_page(tx, &policy_page(2, "2027-02-01", POLICY))?;
            day::open(tx, "2026-11-22".parse().unwrap(), Seq(1))
        })
        .await
        .unwrap();
    assert_eq!(store.committed().policy.as_ref().unwrap().version, 1);
}

#[tokio::test]
async fn answers_are_forgotten_after_their_time_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(folder.path());
    let operation = |n: u128| OperationId(uuid::Uuid::from_u128(n));
    store
        .write(move |tx| {
            for n in 1..=10 {
                let at = Instant(i64::try_from(n).unwrap() * 1_000);
                let (terminal, body_hash) = ("T1".parse().unwrap(), Hash::ZERO);
                let operation = operation(n);
                operation::insert(
                    tx,
                    &NewAnswer { operation, terminal, body_hash, status: 200, answer: b"{}", entry_seq: None, at },
                )?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let now = Instant(operation::KEPT_MS + 5_000);
    assert_eq!(store.write(move |tx| operation::purge(tx, now, 3)).await.unwrap(), 3, "as many as are asked");
    assert_eq!(store.write(move |tx| operation::purge(tx, now, 100)).await.unwrap(), 1);
    assert_eq!(store.write(move |tx| operation::purge(tx, now, 100)).await.unwrap(), 0);
    assert!(store.read(|tx| operation::find(tx, operation(4))).unwrap().is_none());
    assert!(store.read(|tx| operation::find(tx, operation(5))).unwrap().is_some());
}

#[tokio::test]
async fn what_rests_longest_is_found_first_and_grants_are_totals() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    let grant = |n, granted_minor| Grant { account: account(n), unit: CNY, granted_minor, stamp: Stamp(1) };
    for (at, n, granted_minor) in [(10, 1, 500), (20, 2, 50), (30, 3, 700)] {
        let adopted = store.write(move |tx| allotment::adopt_grants(tx, Instant(at), &[grant(n, granted_minor)])).await;
        assert!(adopted.unwrap().is_some());
    }
    let old = store.write(move |tx| allotment::adopt_grants(tx, Instant(40), &[grant(1, 400), grant(3, 700)])).await;
    assert_eq!(old.unwrap(), None, "an old grant and a doubled one change nothing");
    assert_eq!(store.committed().change_no, 3);
    let idle = |(after, before), park| -> Vec<i64> {
        let held =
            store.read(|tx| allotment::idle_since(tx, (Instant(after), Instant(before)), park, None, 10)).unwrap();
        held.iter().map(|held| held.purse.account.get()).collect()
    };
    assert_eq!((idle((0, 25), 0), idle((0, 99), 50)), (vec![1, 2], vec![1, 3]));
    assert_eq!(idle((10, 99), 50), [3], "what was seen before is left out");
    assert_eq!(store.read(|tx| allotment::longest_idle(tx, Instant(0), 500, None)).unwrap(), Some(Instant(30)));
    store.write(|tx| allotment::release(tx, Instant(50), &[(purse(1), 500)])).await.unwrap();
    assert_eq!(idle((0, 99), 0), [2, 3]);
    let changed = store.read(|tx| allotment::changed_after(tx, 1, 10)).unwrap();
    assert_eq!(
        changed.iter().map(|(no, line)| (*no, line.account.get())).collect::<Vec<_>>(),
        [(2, 2), (3, 3), (4, 1)]
    );
    assert_chain(&store, 4);
}

#[tokio::test]
async fn entries_are_read_in_pages_of_bounded_size_that_always_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = enrolled(folder.path()).await;
    for _ in 0..5 {
        store.write(append).await.unwrap();
    }
    let page = |after, entries, bytes| -> Vec<u64> {
        let page = store.read(|tx| super::journal::entries_after(tx, Seq(after), entries, bytes)).unwrap();
        page.iter().map(|entry| entry.head.seq.0).collect()
    };
    assert_eq!(page(1, 2, usize::MAX), [2, 3]);
    assert_eq!(page(0, 10, 1), [1], "one entry always fits");
    assert_eq!(page(5, 10, 1), [0_u64; 0]);
    let size = store.read(|tx| super::journal::get(tx, Seq(1))).unwrap().unwrap().bytes.len();
    assert_eq!(page(0, 10, 2 * size + 1), [1, 2]);
}
