//! Through the tills' API: a store that is put back to an old copy of its database spends nothing twice, and never stops selling for cash.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use huitong_protocol::allotment::{HubEvent, Purse, step};
use huitong_protocol::id::{Hash, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::till::StoreWitness;
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::{Grant, Recall, SyncFault, path};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::config::MarkerDir;
use crate::identity::KEY_FILE;
use crate::replace::{ReplaceError, replace_alone};
use crate::run::{Edge, EdgeError, open_store};
use crate::store::{StoreError, allotment, setting, till};
use crate::sync::SyncError;
use crate::sync::hub_client::HubClient;
use crate::sync::session::CallError;
use crate::sync::testing::{
    CNY, FakeOffice, HandClock, MORNING, REPLACE, REPLACE_AGAIN, Shop, TOKEN, number, parts, purse,
};
use crate::till::Permissions;

/// A till with its token and the highest witness that it saw.
struct Till {
    token: String,
    witness: Option<String>,
}

/// A shop whose machine is restarted, and whose disk is put back.
struct Town {
    folder: tempfile::TempDir,
    office: Arc<FakeOffice>,
    clock: HandClock,
    marker: MarkerDir,
    edge: Edge,
    t1: Till,
    t2: Till,
}

static KEYS: AtomicU64 = AtomicU64::new(1);

fn sale(tender: Value) -> Value {
    let line = json!({"sku": "A1", "quantity_thousandths": 1000, "gross_minor": 100, "net_minor": 100});
    json!({"currency": "CNY", "lines": [line], "tenders": [tender]})
}

fn cash() -> Value {
    sale(json!({"tender": "cash", "amount_minor": 100}))
}

fn by_card(n: i64) -> Value {
    sale(json!({"tender": "stored_value", "amount_minor": 100, "card": number(n)}))
}

/// The keys of epochs before.
fn kept_keys(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let is_kept = |path: &PathBuf| path.extension().is_some_and(|end| end == "key") && !path.ends_with(KEY_FILE);
    let mut kept: Vec<_> = files.filter(is_kept).collect();
    kept.sort();
    kept
}

/// A copy of a database, with its log.
#[derive(Clone, Default)]
struct Copy([Option<Vec<u8>>; 2]);

impl Copy {
    fn files(path: &Path) -> [PathBuf; 2] {
        [path.to_owned(), path.with_extension("db-wal")]
    }

    fn of(path: &Path) -> Self {
        Self(Self::files(path).map(|file| std::fs::read(file).ok()))
    }

    fn put_back(self, path: &Path) {
        drop(std::fs::remove_file(path.with_extension("db-shm")));
        for (file, bytes) in Self::files(path).into_iter().zip(self.0) {
            drop(std::fs::remove_file(&file));
            if let Some(bytes) = bytes {
                std::fs::write(file, bytes).unwrap();
            }
        }
    }
}

impl Town {
    /// Cards 1 and 2 hold 500 each, T1 and T2 have been answered, and the hub knows of all.
    async fn new(marker: MarkerDir) -> Self {
        let office = Shop::office(r#"{ when = "at_close" }"#, 0);
        let (folder, clock) = (tempfile::tempdir().unwrap(), HandClock::at(MORNING));
        let mut parts = parts(folder.path(), &office, &clock);
        parts.config.store.marker_dir = marker.clone();
        let edge = Edge::enrol_and_start(parts, TOKEN).await.unwrap();
        edge.download().await.unwrap();
        edge.wait_reported().await.unwrap();
        let pair = async |code: &str| Till {
            token: edge.pair(code.parse().unwrap(), Permissions::ALL).await.unwrap().reveal().to_owned(),
            witness: None,
        };
        let (t1, t2) = (pair("T1").await, pair("T2").await);
        let mut town = Self { folder, office, clock, marker, edge, t1, t2 };
        town.by_t1("/v1/day/open", &json!({})).await;
        for n in [1, 2] {
            let load =
                json!({"currency": "CNY", "amount_minor": 500, "tenders": [{"tender": "cash", "amount_minor": 500}]});
            town.by_t1(&format!("/v1/cards/{}/reload", number(n)), &load).await;
        }
        town.by_t2("/v1/sales", &cash()).await;
        town.edge.wait_reported().await.unwrap();
        town
    }

    async fn by_t1(&mut self, path: &str, body: &Value) -> Value {
        post(&self.edge, &mut self.t1, path, body).await.1
    }

    async fn by_t2(&mut self, path: &str, body: &Value) -> Value {
        post(&self.edge, &mut self.t2, path, body).await.1
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join(crate::run::DATABASE_FILE)
    }

    /// Stops, has something done to the disk, and starts.
    async fn restart(self, meanwhile: impl FnOnce(&Path)) -> Self {
        self.edge.close().await;
        let database = self.database();
        let Self { folder, office, clock, marker, edge, t1, t2 } = self;
        drop(edge);
        meanwhile(&database);
        let mut parts = parts(folder.path(), &office, &clock);
        parts.config.store.marker_dir = marker.clone();
        let edge = Edge::start(parts).await.unwrap();
        Self { folder, office, clock, marker, edge, t1, t2 }
    }

    /// A backup taken now.
    async fn backup(self) -> (Self, Copy) {
        let mut copy = Copy::default();
        let town = self.restart(|path| copy = Copy::of(path)).await;
        (town, copy)
    }

    /// As [`Town::backup`], of a store whose tills and hub have proved it since.
    async fn proved_backup(self) -> (Self, Copy) {
        let (mut town, copy) = self.backup().await;
        town.edge.wait_reported().await.unwrap();
        town.by_t1("/v1/sales", &cash()).await;
        town.by_t2("/v1/sales", &cash()).await;
        town.edge.store().continuity().opened().await;
        (town, copy)
    }

    async fn value(&self) -> Value {
        self.status().await["value"].clone()
    }

    async fn status(&self) -> Value {
        let token = format!("Bearer {}", self.t1.token);
        let request = Request::get("/v1/status").header("authorization", token).body(Body::empty()).unwrap();
        let response = self.edge.router().oneshot(request).await.unwrap();
        serde_json::from_slice(&axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
    }

    fn cut(&self) {
        self.office.with(|office| {
            office.cut.extend([path::HELLO, path::POLL, path::REPORT, path::GRANT, path::UPLOAD, path::DATASET]);
        });
    }

    fn available(&self) -> i64 {
        self.edge.store().read(|tx| allotment::get(tx, purse(1))).unwrap().available_minor()
    }

    /// Nothing of value moves, and all else does.
    async fn is_quarantined(&mut self) {
        let reports = self.office.with(|office| office.reports.len());
        assert_eq!(self.by_t2("/v1/sales", &by_card(1)).await["code"], "value_quarantined");
        let load = json!({"currency": "CNY", "amount_minor": 5, "tenders": [{"tender": "cash", "amount_minor": 5}]});
        let loaded = self.by_t1(&format!("/v1/cards/{}/reload", number(1)), &load).await;
        assert_eq!(loaded["code"], "value_quarantined");
        assert_eq!(self.by_t1("/v1/sales", &cash()).await["decision"], "approved", "cash still buys");
        let spoke = self.edge.wait_reported().await;
        assert!(matches!(spoke, Err(SyncError::Call(CallError::Quarantined))), "{spoke:?}");
        assert_eq!(self.office.with(|office| office.reports.len()), reports);
        let status = self.status().await;
        assert_eq!(status["value"]["gate"], "quarantined");
        assert!(status["alarms"].to_string().contains("enrol --replace"), "{status}");
    }
}

async fn post(edge: &Edge, till: &mut Till, path: &str, body: &Value) -> (StatusCode, Value) {
    let key = KEYS.fetch_add(1, Ordering::Relaxed);
    let request = Request::post(path)
        .header("authorization", format!("Bearer {}", till.token))
        .header("content-type", "application/json")
        .header("huitong-witness", till.witness.as_deref().unwrap_or("none"))
        .header("idempotency-key", format!("00000000-0000-7000-8000-{key:012}"))
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = edge.router().oneshot(request).await.unwrap();
    let seen = response.headers()["huitong-witness"].to_str().unwrap().to_owned();
    let end = |text: &str| text.parse::<StoreWitness>().map(|seen| (seen.witness.epoch, seen.witness.head.seq)).ok();
    if till.witness.as_deref().and_then(end) <= end(&seen) {
        till.witness = Some(seen);
    }
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_restart_of_the_daemon_is_proved_at_once_and_without_the_line() {
    let town = Town::new(MarkerDir::Auto).await;
    if !Path::new("/dev/shm").is_dir() {
        return; // A machine without memory of its own beside its disk.
    }
    assert_eq!(town.value().await["marker"], true);
    town.cut();
    let mut town = town.restart(|_| {}).await;
    assert_eq!(town.value().await["gate"], "open");
    assert_eq!(town.by_t2("/v1/sales", &by_card(1)).await["decision"], "approved");
}

#[tokio::test]
async fn a_database_that_was_put_back_contradicts_the_marker_before_anybody_asks() {
    // Also on the disk of the data directory, where it proves nothing.
    let beside = tempfile::tempdir().unwrap();
    for marker in [MarkerDir::Auto, MarkerDir::At(beside.path().join("marker"))] {
        let (mut town, copy) = Town::new(marker).await.proved_backup().await;
        assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
        town.cut();
        let mut town = town.restart(|path| copy.put_back(path)).await;
        assert_eq!(town.available(), 500, "it would be spent again");
        town.is_quarantined().await;
        assert!(town.value().await["quarantine"]["reason"].to_string().contains("marker"));
        let mut town = town.restart(|_| {}).await;
        town.is_quarantined().await;
    }
}

#[tokio::test]
async fn the_directory_that_a_store_left_is_an_old_copy() {
    let mut town = Town::new(MarkerDir::Auto).await;
    town.edge.close().await;
    town.cut();
    let moved = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(town.folder.path()).unwrap().map(|file| file.unwrap().path()) {
        std::fs::copy(&file, moved.path().join(file.file_name().unwrap())).unwrap();
    }
    let edge = Edge::start(parts(moved.path(), &town.office, &town.clock)).await.unwrap();
    assert_eq!(post(&edge, &mut town.t1, "/v1/sales", &by_card(1)).await.1["decision"], "approved", "it was moved");
    edge.close().await;
    let mut town = town.restart(|_| {}).await;
    assert_eq!(town.available(), 500, "it would be spent again");
    town.is_quarantined().await;
}

#[tokio::test]
async fn a_store_that_moves_to_the_place_of_another_is_not_blamed_for_it() {
    let (mut first, second) = (Town::new(MarkerDir::Auto).await, Town::new(MarkerDir::Auto).await);
    assert_eq!(first.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
    first.edge.close().await;
    second.edge.close().await;
    second.cut();
    for file in std::fs::read_dir(first.folder.path()).unwrap().map(|file| file.unwrap().path()) {
        std::fs::remove_file(file).unwrap();
    }
    for file in std::fs::read_dir(second.folder.path()).unwrap().map(|file| file.unwrap().path()) {
        std::fs::copy(&file, first.folder.path().join(file.file_name().unwrap())).unwrap();
    }
    let Town { office, clock, t1, t2, marker, .. } = second;
    let edge = Edge::start(parts(first.folder.path(), &office, &clock)).await.unwrap();
    let second = Town { folder: first.folder, office, clock, marker, edge, t1, t2 };
    assert_eq!(second.value().await["gate"], "open");
}

#[tokio::test]
async fn a_marker_that_was_not_kept_for_a_while_proves_nothing_later() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return;
    }
    let beside = tempfile::tempdir_in(memory).unwrap();
    for marker in [MarkerDir::Auto, MarkerDir::At(beside.path().join("marker"))] {
        let (mut town, copy) = Town::new(marker.clone()).await.backup().await;
        assert_eq!(town.value().await["marker"], true);
        town.marker = MarkerDir::Off;
        let mut town = town.restart(|_| {}).await;
        town.edge.wait_reported().await.unwrap();
        town.by_t1("/v1/sales", &cash()).await;
        town.by_t2("/v1/sales", &cash()).await;
        assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
        town.cut();
        town.marker = marker;
        let town = town.restart(|path| copy.put_back(path)).await;
        assert_eq!(town.value().await["gate"], "unproved");
    }
}

/// Has the quarantine not be written, as when a command line holds the lock.
const STUCK: &str = "CREATE TRIGGER stuck BEFORE INSERT ON setting WHEN NEW.key = 'continuity.quarantine' \
                     BEGIN SELECT RAISE(FAIL, 'not now'); END";

fn execute(database: &Path, sql: &str) {
    rusqlite::Connection::open(database).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_quarantine_that_could_not_be_written_is_found_out_again_by_the_next_start() {
    // By a till.
    let mut town = Town::new(MarkerDir::Auto).await;
    execute(&town.database(), STUCK);
    let seen = town.t1.witness.replace(format!("S1:1:99:{}", Head::START.hash));
    assert_eq!(town.by_t1("/v1/sales", &cash()).await["status"], 503);
    town.t1.witness = seen;
    town.cut();
    let mut town = town.restart(|path| execute(path, "DROP TRIGGER stuck")).await;
    assert!(town.value().await["quarantine"]["reason"].to_string().contains("1:99"));
    town.is_quarantined().await;

    // By the marker itself, when the daemon starts.
    let (mut town, copy) = Town::new(MarkerDir::Auto).await.proved_backup().await;
    assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
    town.edge.close().await;
    town.cut();
    copy.put_back(&town.database());
    execute(&town.database(), STUCK);
    for _ in 0..2 {
        assert!(Edge::start(parts(town.folder.path(), &town.office, &town.clock)).await.is_err());
    }
    let mut town = town.restart(|path| execute(path, "DROP TRIGGER stuck")).await;
    town.is_quarantined().await;
}

#[tokio::test]
async fn what_is_closed_stays_closed() {
    let town = Town::new(MarkerDir::Auto).await;
    let keeper = Arc::clone(town.edge.store().continuity());
    keeper.opened().await;
    keeper.close(None);
    // The till that proves the start last may be here when another one breaks it.
    keeper.open();
    tokio::select! {
        biased;
        () = keeper.opened() => panic!("it is open again"),
        () = std::future::ready(()) => {}
    }
    let place = keeper.marker.get().unwrap().path().map(Path::to_owned);
    assert!(place.is_none_or(|place| !place.exists()), "and nothing is left that proves it");
}

#[tokio::test]
async fn nobody_is_told_of_an_entry_before_the_marker_has_it() {
    let mut town = Town::new(MarkerDir::Auto).await;
    let store = town.edge.store().clone();
    let before = store.head();
    let keeper = Arc::clone(store.continuity());
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let marker = keeper.marker.get().unwrap();
        let _state = marker.state();
        locked.send(()).unwrap();
        released.recv().unwrap();
    });
    is_locked.recv().unwrap();
    let committed = {
        let database = town.database();
        let sale = tokio::spawn(async move {
            town.by_t1("/v1/sales", &cash()).await;
            town
        });
        let beside = rusqlite::Connection::open(database).unwrap();
        let end = || beside.query_row("SELECT max(seq) FROM entry", [], |row| row.get::<_, i64>(0)).unwrap();
        while end().unsigned_abs() == before.seq.0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let committed = store.head();
        release.send(()).unwrap();
        holder.join().unwrap();
        town = sale.await.unwrap();
        committed
    };
    assert_eq!(committed, before, "it is on the disk, and not in the marker");
    assert!(town.edge.store().head().seq > before.seq);
}

#[tokio::test]
async fn after_a_restart_of_the_machine_value_waits_for_every_till_and_the_hub() {
    let town = Town::new(MarkerDir::Off).await;
    town.cut();
    let mut town = town.restart(|_| {}).await;
    let reports = town.office.with(|office| office.reports.len());
    let declined = town.by_t1("/v1/sales", &by_card(1)).await;
    assert_eq!(
        (&declined["code"], &declined["awaited_tills"], &declined["awaits_hub"]),
        (&json!("value_unproved"), &json!(["T2"]), &json!(true))
    );
    assert!(declined["message"].as_str().unwrap().ends_with("(still awaited: T2, head office)"), "{declined}");
    let load = json!({"currency": "CNY", "amount_minor": 5, "tenders": [{"tender": "cash", "amount_minor": 5}]});
    let loaded = town.by_t1(&format!("/v1/cards/{}/reload", number(1)), &load).await;
    assert_eq!((&loaded["decision"], town.available()), (&json!("approved"), 505));
    // A till that shows nothing proves nothing.
    assert_eq!(town.value().await["awaited_tills"], json!(["T2"]));
    town.by_t2("/v1/sales", &cash()).await;
    assert_eq!(town.by_t2("/v1/sales", &by_card(1)).await["awaited_tills"], Value::Null);
    assert_eq!(town.office.with(|office| office.reports.len()), reports);
    town.office.with(|office| office.cut.clear());
    town.edge.store().continuity().opened().await;
    assert_eq!(town.by_t2("/v1/sales", &by_card(1)).await["decision"], "approved");
    town.edge.wait_reported().await.unwrap();
    assert!(town.office.with(|office| office.reports.len()) > reports, "what was loaded meanwhile is told");
}

#[tokio::test]
async fn what_is_not_proved_neither_gives_back_nor_takes() {
    let town = Town::new(MarkerDir::Off).await;
    let mut town = town.restart(|_| {}).await;
    town.edge.wait_reported().await.unwrap();
    let recall = Recall { account: purse(1).account, unit: CNY };
    town.office.with(|office| office.recalls.push((1, recall)));
    town.office.until("the recall was taken", |office| office.recalls_through == 1).await;
    assert_eq!((town.available(), town.office.with(|office| office.free(1))), (500, 0));
    town.by_t1("/v1/sales", &cash()).await;
    town.by_t2("/v1/sales", &cash()).await;
    town.office.with(|office| office.recalls.push((2, recall)));
    town.office.until("it was given back", |office| office.free(1) == 500).await;
}

#[tokio::test]
async fn the_till_that_saw_more_stops_value_for_good_and_is_served() {
    let (mut town, copy) = Town::new(MarkerDir::Off).await.proved_backup().await;
    assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
    let t2_saw = town.t2.witness.clone();
    // As if the line had been down all the time: the hub's word proves nothing broken.
    let mut town = town.restart(|path| copy.put_back(path)).await;
    town.edge.wait_reported().await.unwrap();
    // This copy's own morning: the other till was only answered before the backup.
    town.t2.witness = t2_saw.map(|_| format!("S1:1:0:{}", Head::START.hash));
    town.by_t2("/v1/sales", &cash()).await;
    assert_eq!(
        town.by_t2("/v1/sales", &by_card(1)).await["code"],
        "value_unproved",
        "the one that saw more is awaited"
    );
    assert_eq!(town.by_t1("/v1/sales", &cash()).await["decision"], "approved", "and is served when it comes");
    assert!(town.value().await["quarantine"]["reason"].to_string().contains("till T1"));
    town.is_quarantined().await;
    let mut town = town.restart(|_| {}).await;
    town.is_quarantined().await;
}

#[tokio::test]
async fn what_the_hub_heard_stops_value_also_where_the_marker_proved_the_start() {
    let town = Town::new(MarkerDir::Auto).await;
    town.office.with(|office| office.heard = Some(Head { seq: Seq(99), hash: Hash::of(b"later") }));
    let mut town = town.restart(|_| {}).await;
    drop(town.edge.wait_reported().await);
    town.is_quarantined().await;
    assert!(town.value().await["quarantine"]["reason"].to_string().contains("head office"));
}

#[tokio::test]
async fn a_hub_that_does_not_hear_the_epoch_stops_value_and_one_that_is_busy_does_not() {
    for fault in [SyncFault::Copied, SyncFault::Fenced, SyncFault::Foreign, SyncFault::Fork] {
        let town = Town::new(MarkerDir::Auto).await;
        town.office.with(|office| office.refuse_hello = Some(fault));
        let mut town = town.restart(|_| {}).await;
        drop(town.edge.wait_reported().await);
        town.is_quarantined().await;
    }
    for fault in [SyncFault::Busy, SyncFault::Replayed, SyncFault::Internal, SyncFault::Forgotten] {
        let town = Town::new(MarkerDir::Auto).await;
        town.office.with(|office| office.refuse_hello = Some(fault));
        let town = town.restart(|_| {}).await;
        assert!(town.edge.wait_reported().await.is_err());
        assert!(!town.edge.store().continuity().is_quarantined(), "{fault:?}");
    }
}

#[tokio::test]
async fn an_epoch_that_is_ended_while_its_session_runs_spends_no_more() {
    for fault in [SyncFault::Fenced, SyncFault::Copied, SyncFault::Fork] {
        let mut town = Town::new(MarkerDir::Auto).await;
        assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
        town.office.with(|office| office.refuse_session = Some(fault));
        drop(town.edge.reconnect().await);
        assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["code"], "value_quarantined");
        town.is_quarantined().await;
        let mut town = town.restart(|_| {}).await;
        town.is_quarantined().await;
    }
}

#[tokio::test]
async fn grants_that_come_while_value_may_not_move_are_counted_and_asked_for_again() {
    let town = Town::new(MarkerDir::Off).await;
    town.office.with(|office| {
        office.load(3, 70);
        let side = office.sides.get_mut(&purse(3)).unwrap();
        *side = step(side, HubEvent::Grant { amount_minor: 70 }).unwrap();
        let Purse { account, unit } = purse(3);
        office.riding = vec![Grant { account, unit, granted_minor: 70, stamp: Stamp(1) }];
    });
    let mut town = town.restart(|_| {}).await;
    town.edge.download().await.unwrap();
    let left = |town: &Town| town.edge.sync_status().unwrap().faults.grants_left;
    assert!(left(&town) > 0);
    town.office.with(|office| office.riding.clear());
    town.by_t1("/v1/sales", &cash()).await;
    town.by_t2("/v1/sales", &cash()).await;
    town.office.until("it is adopted", |office| office.sides[&purse(3)].line.seen.adopted_minor == 70).await;
}

#[tokio::test]
async fn a_hub_that_forgot_what_it_said_itself_stops_nothing_here() {
    let mut town = Town::new(MarkerDir::Auto).await;
    town.office.with(|office| office.refuse_session = Some(SyncFault::Forgotten));
    assert!(town.edge.reconnect().await.is_err());
    assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
}

#[tokio::test]
async fn a_hello_keeps_its_nonce_until_it_is_answered_and_each_turn_is_used_once() {
    let town = Town::new(MarkerDir::Off).await;
    let before = town.office.with(|office| {
        office.lose.insert(path::HELLO, 1);
        office.greeted.len()
    });
    let town = town.restart(|_| {}).await;
    town.office.until("it said hello", |office| office.greeted.len() > before).await;
    let town = town.restart(|_| {}).await;
    town.office.until("it said hello again", |office| office.greeted.len() > before + 1).await;
    town.edge.wait_reported().await.unwrap();
    let town = town.restart(|_| {}).await;
    town.edge.wait_reported().await.unwrap();
    let greeted = town.office.with(|office| office.greeted.split_off(before));
    let (lost, next) = (greeted[0], greeted[greeted.len() - 1]);
    assert_eq!(greeted[1], lost, "the answer was lost: the same question again, also after a restart");
    assert_eq!((next.0, next.1 == lost.1), (lost.0 + 1, false));
}

#[tokio::test]
async fn a_person_answers_for_a_till_that_is_gone() {
    let town = Town::new(MarkerDir::Off).await;
    let clerk = town.edge.pair("T3".parse().unwrap(), Permissions::default()).await.unwrap();
    let mut clerk = Till { token: clerk.reveal().to_owned(), witness: None };
    let mut town = town.restart(|_| {}).await;
    town.edge.wait_reported().await.unwrap();
    town.by_t1("/v1/sales", &cash()).await;
    assert_eq!(town.value().await["awaited_tills"], json!(["T2", "T3"]));
    let excuse = json!({"reason": "W7: stolen"});
    assert_eq!(post(&town.edge, &mut clerk, "/v1/tills/T2/excuse", &excuse).await.0, 403);
    assert_eq!(post(&town.edge, &mut town.t1, "/v1/tills/T9/excuse", &excuse).await.0, 404);
    assert_eq!(post(&town.edge, &mut town.t1, "/v1/tills/T2/excuse", &json!({"reason": " "})).await.0, 422);
    assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["awaited_tills"], json!(["T2"]), "T3 asked for it itself");
    assert_eq!(town.by_t1("/v1/tills/T2/excuse", &excuse).await["was_awaited"], true);
    assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
    let excused = &town.value().await["excused"][0];
    assert_eq!(
        (&excused["terminal"], &excused["by"], &excused["reason"]),
        (&json!("T2"), &json!("T1"), &json!("W7: stolen"))
    );
    // It is about this start: at the next one the till is asked for again, unless it is revoked.
    let mut town = town.restart(|_| {}).await;
    town.edge.wait_reported().await.unwrap();
    post(&town.edge, &mut clerk, "/v1/sales", &cash()).await;
    assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["awaited_tills"], json!(["T2"]));
    let revoke = town.edge.store().write(|tx| till::revoke(tx, MORNING, "T2".parse().unwrap()));
    let revoked: Result<bool, StoreError> = revoke.await;
    assert!(revoked.unwrap());
    assert_eq!(town.by_t1("/v1/sales", &by_card(1)).await["decision"], "approved");
}

#[tokio::test]
async fn a_store_in_quarantine_is_enrolled_anew_and_its_tills_stay() {
    let town = Town::new(MarkerDir::Auto).await;
    town.office.with(|office| office.refuse_hello = Some(SyncFault::Fenced));
    let mut town = town.restart(|_| {}).await;
    drop(town.edge.wait_reported().await);
    town.is_quarantined().await;
    town.edge.close().await;
    town.office.with(|office| office.refuse_hello = None);
    let (folder, hub) = (town.folder.path().to_owned(), town.office.clone() as Arc<dyn HubClient>);
    let config = parts(&folder, &town.office, &town.clock).config;
    assert!(replace_alone(&config, &hub, "another token").await.is_err());
    town.office.with(|office| office.lose.insert(path::ENROL, 1));
    assert!(replace_alone(&config, &hub, REPLACE).await.is_err(), "the answer was lost");
    let replaced = replace_alone(&config, &hub, REPLACE).await.unwrap();
    assert_eq!((replaced.identity.epoch.0, replaced.kept.clone()), (2, folder.join("edge.epoch-1.db")));
    assert!(replaced.kept.exists() && !folder.join("next").exists());
    let [old_key] = &kept_keys(&folder)[..] else { panic!("one key was replaced") };
    let new_key = std::fs::read(folder.join(KEY_FILE)).unwrap();
    // As if the machine had died before a file was in its place: the database, or the key as well.
    town.cut();
    for is_key_there in [true, false] {
        std::fs::create_dir(folder.join("next")).unwrap();
        std::fs::rename(town.database(), folder.join("next/edge.db")).unwrap();
        if !is_key_there {
            std::fs::rename(folder.join(KEY_FILE), folder.join("next").join(KEY_FILE)).unwrap();
            std::fs::rename(old_key, folder.join(KEY_FILE)).unwrap();
        }
        let half = Edge::start(parts(&folder, &town.office, &town.clock)).await;
        assert!(matches!(half.err(), Some(EdgeError::Replace(ReplaceError::Unfinished))));
        assert!(matches!(open_store(&folder, &config.store), Err(EdgeError::Replace(ReplaceError::Unfinished))));
        assert_eq!(replace_alone(&config, &hub, REPLACE).await.unwrap().identity.epoch.0, 2);
        assert_eq!((std::fs::read(folder.join(KEY_FILE)).unwrap(), old_key.exists()), (new_key.clone(), true));
    }
    town.office.with(|office| office.cut.clear());

    let mut parts = parts(&folder, &town.office, &town.clock);
    parts.config.store.marker_dir = MarkerDir::Auto;
    town.edge = Edge::start(parts).await.unwrap();
    town.edge.download().await.unwrap();
    town.edge.wait_reported().await.unwrap();
    // What the tills saw of the epoch before counts no more.
    town.by_t1("/v1/day/open", &json!({})).await;
    town.by_t2("/v1/sales", &cash()).await;
    assert_eq!((town.value().await["gate"].clone(), town.available()), (json!("open"), 0));
    let load = json!({"currency": "CNY", "amount_minor": 500, "tenders": [{"tender": "cash", "amount_minor": 500}]});
    town.by_t1(&format!("/v1/cards/{}/reload", number(1)), &load).await;
    assert_eq!(town.by_t2("/v1/sales", &by_card(1)).await["decision"], "approved");
}

#[tokio::test]
async fn what_was_sold_in_quarantine_comes_to_head_office_after_the_replacement() {
    let town = Town::new(MarkerDir::Auto).await;
    town.edge.upload().await.unwrap();
    town.office.with(|office| office.refuse_session = Some(SyncFault::Fenced));
    drop(town.edge.reconnect().await);
    let mut town = town;
    town.is_quarantined().await;
    let sold = town.edge.store().head();
    town.edge.close().await;
    let held = town.office.with(|office| {
        office.refuse_session = None;
        office.head()
    });
    assert_ne!(held, sold, "head office has not heard of it");
    let (folder, hub) = (town.folder.path().to_owned(), town.office.clone() as Arc<dyn HubClient>);
    replace_alone(&parts(&folder, &town.office, &town.clock).config, &hub, REPLACE).await.unwrap();
    let mut town = town.restart(|_| {}).await;
    for bad in ["edge.db", "../edge.epoch-1.db", "edge.epoch-9.db"] {
        let refused = town.by_t1("/v1/sync/bring", &json!({"file": bad})).await;
        assert_eq!((&refused["code"], &refused["field"]), (&json!("field_invalid"), &json!("file")), "{bad}");
    }
    for _ in 0..2 {
        let brought = town.by_t1("/v1/sync/bring", &json!({"file": "edge.epoch-1.db"})).await;
        assert_eq!((&brought["epoch"], &brought["acknowledged_seq"]), (&json!(1), &json!(sold.seq)), "{brought}");
        assert_eq!(town.office.with(|office| office.head()), sold);
    }
    // The hub was restored, and has forgotten what it acknowledged.
    town.office.with(|office| office.forget_entries_after(1));
    town.by_t1("/v1/sync/bring", &json!({"file": "edge.epoch-1.db"})).await;
    assert_eq!(town.office.with(|office| office.head()), sold);
}

#[tokio::test]
async fn what_a_database_that_was_put_back_sold_is_not_brought_and_contradicts_nothing() {
    for is_cut in [true, false] {
        let town = Town::new(MarkerDir::Auto).await;
        town.edge.upload().await.unwrap();
        let (mut town, copy) = town.backup().await;
        town.by_t2("/v1/sales", &cash()).await;
        town.edge.upload().await.unwrap();
        let truth = town.office.with(|office| office.entries.clone());
        if is_cut {
            town.cut();
        }
        let mut town = town.restart(|path| copy.put_back(path)).await;
        drop(town.edge.upload().await);
        for _ in 0..3 {
            assert_eq!(town.by_t1("/v1/sales", &cash()).await["decision"], "approved");
        }
        town.edge.close().await;
        town.office.with(|office| office.cut.clear());
        let (folder, hub) = (town.folder.path().to_owned(), town.office.clone() as Arc<dyn HubClient>);
        replace_alone(&parts(&folder, &town.office, &town.clock).config, &hub, REPLACE).await.unwrap();
        let mut town = town.restart(|_| {}).await;
        let refused = town.by_t1("/v1/sync/bring", &json!({"file": "edge.epoch-1.db"})).await;
        assert_eq!((&refused["code"], &refused["field"]), (&json!("field_invalid"), &json!("file")), "{refused}");
        assert!(refused.to_string().contains("by hand"), "{refused}");
        town.office.with(|office| assert!(office.entries.starts_with(&truth), "nothing of it was sent"));
        let sent = town.office.with(|office| office.entries.len());
        assert_eq!(sent, truth.len(), "is_cut: {is_cut}");
    }
}

#[tokio::test]
async fn a_database_that_was_put_back_does_not_shut_out_the_one_that_was_heard() {
    let town = Town::new(MarkerDir::Auto).await;
    town.edge.upload().await.unwrap();
    let (mut town, copy) = town.backup().await;
    let held = town.office.with(|office| office.head());
    // Reported, and not uploaded yet, when the disk failed.
    town.by_t2("/v1/sales", &cash()).await;
    let heard = town.edge.store().head();
    town.cut();
    let mut town = town
        .restart(|path| {
            std::fs::copy(path, path.with_file_name("edge.epoch-1.true.db")).unwrap();
            copy.put_back(path);
        })
        .await;
    // It sells for cash until it has more entries than were heard.
    for _ in 0..3 {
        assert_eq!(town.by_t1("/v1/sales", &cash()).await["decision"], "approved");
    }
    let put_back = town.edge.store().head();
    assert!(put_back.seq > heard.seq);
    town.edge.close().await;
    town.office.with(|office| {
        office.cut.clear();
        office.ended = Some(heard);
    });
    let (folder, hub) = (town.folder.path().to_owned(), town.office.clone() as Arc<dyn HubClient>);
    replace_alone(&parts(&folder, &town.office, &town.clock).config, &hub, REPLACE).await.unwrap();
    let mut town = town.restart(|_| {}).await;
    let refused = town.by_t1("/v1/sync/bring", &json!({"file": "edge.epoch-1.db"})).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("field_invalid"), &json!("file")), "{refused}");
    assert!(refused.to_string().contains("--heard-database-is-lost"), "{refused}");
    assert_eq!(town.office.with(|office| office.head()), held, "nothing of it was sent");
    // The disk can be read after all.
    let brought = town.by_t1("/v1/sync/bring", &json!({"file": "edge.epoch-1.true.db"})).await;
    assert_eq!((&brought["acknowledged_seq"], town.office.with(|office| office.head())), (&json!(heard.seq), heard));
    // Had it been lost for good, a person would have said so.
    let entries = usize::try_from(held.seq.0).unwrap();
    town.office.with(|office| office.forget_entries_after(entries));
    let lost = json!({"file": "edge.epoch-1.db", "heard_database_is_lost": true});
    town.by_t1("/v1/sync/bring", &lost).await;
    assert_eq!(town.office.with(|office| office.head()), put_back);
}

#[tokio::test]
async fn a_marker_that_cannot_be_taken_away_proves_no_start_and_closes_no_shop() {
    let elsewhere = tempfile::tempdir().unwrap();
    let old = elsewhere.path().join("markers");
    let mut town = Town::new(MarkerDir::At(old.clone())).await;
    // The folder is somebody else's by now.
    std::fs::remove_dir_all(&old).unwrap();
    std::fs::write(&old, "").unwrap();
    town.marker = MarkerDir::Auto;
    for _ in 0..2 {
        town = town.restart(|_| {}).await;
        assert_eq!(town.value().await["gate"], "unproved");
        let alarms = town.status().await["alarms"].to_string();
        assert!(alarms.contains("markers") && alarms.contains("tills"), "{alarms}");
        // It sells for cash, and is proved as ever.
        for till in 1..=2 {
            let sold =
                if till == 1 { town.by_t1("/v1/sales", &cash()).await } else { town.by_t2("/v1/sales", &cash()).await };
            assert_eq!(sold["decision"], "approved");
        }
        town.edge.wait_reported().await.unwrap();
        town.edge.store().continuity().opened().await;
    }
    std::fs::remove_file(&old).unwrap();
    let town = town.restart(|_| {}).await;
    assert_eq!((town.value().await["gate"].clone(), town.status().await["alarms"].clone()), (json!("open"), json!([])));
}

#[tokio::test]
async fn holds_last_as_long_as_head_office_says_whichever_way_the_clock_was_wrong() {
    const DAY_MS: i64 = 86_400_000;
    let hold = json!({"card": number(1), "currency": "CNY", "amount_minor": 50, "expires_in_s": 1_800});
    let placed = async |town: &mut Town| town.by_t1("/v1/holds", &hold).await["hold"].clone();
    let ends = |hold: &Value| hold["expires_at_ms"].as_i64().unwrap();
    let mut town = Town::new(MarkerDir::Auto).await;
    // The clock runs ahead by a day, and something is sold by it.
    let before = placed(&mut town).await;
    town.clock.set_by(DAY_MS);
    town.edge.reconnect().await.unwrap();
    let capture = json!({"currency": "CNY", "lines": [{"sku": "6901", "quantity_thousandths": 1_000, "gross_minor": 50}],
        "tenders": [{"tender": "stored_value", "amount_minor": 50, "card": number(1), "hold": before["id"]}]});
    assert_eq!(town.by_t2("/v1/sales", &capture).await["decision"], "approved", "it is not over");
    assert!(ends(&placed(&mut town).await) - ends(&before) < 60_000);
    // It is put right. What the journal's stamps say makes no hold last for a day.
    town.clock.set_by(-DAY_MS);
    town.edge.reconnect().await.unwrap();
    let after = placed(&mut town).await;
    assert!(ends(&after) - ends(&before) < 60_000);
    town.cut();
    town.clock.wind(1_801_000);
    let late = json!({"reason": "nobody came"});
    let path = format!("/v1/holds/{}/release", after["id"].as_str().unwrap());
    assert_eq!(town.by_t1(&path, &late).await["code"], "hold_ended");
}

#[tokio::test]
async fn a_start_compares_what_is_set_aside_with_the_open_holds() {
    let damage = |sql: &'static str| {
        move |path: &Path| {
            let connection = rusqlite::Connection::open(path).unwrap();
            assert_eq!(connection.execute(sql, ()).unwrap(), 1);
        }
    };
    let mut town = Town::new(MarkerDir::Auto).await;
    let hold = json!({"card": number(1), "currency": "CNY", "amount_minor": 50, "expires_in_s": 1_800});
    assert_eq!(town.by_t1("/v1/holds", &hold).await["decision"], "approved");
    let town = town.restart(damage("UPDATE allotment SET held_minor = 51 WHERE account = 1")).await;
    let alarms = town.status().await["alarms"].to_string();
    assert!(alarms.contains("account 1 in CNY has set 51 aside, and its open holds sum to 50"), "{alarms}");
    let town = town.restart(damage("UPDATE allotment SET held_minor = 50 WHERE account = 1")).await;
    assert_eq!(town.status().await["alarms"], json!([]));
}

#[tokio::test]
async fn a_replacement_overwrites_nothing_that_was_kept_before() {
    let (town, copy) = Town::new(MarkerDir::Auto).await.backup().await;
    town.edge.close().await;
    let (folder, hub) = (town.folder.path().to_owned(), town.office.clone() as Arc<dyn HubClient>);
    let config = parts(&folder, &town.office, &town.clock).config;
    let first = replace_alone(&config, &hub, REPLACE).await.unwrap();
    let truth =
        (std::fs::read(&first.kept).unwrap(), kept_keys(&folder), std::fs::read(&kept_keys(&folder)[0]).unwrap());
    // The very accident that this is for: the epoch's database, as it was at night, beside the key of the next epoch.
    copy.put_back(&town.database());
    let second = replace_alone(&config, &hub, REPLACE_AGAIN).await.unwrap();
    assert_eq!((second.identity.epoch.0, second.kept), (3, folder.join("edge.epoch-1.2.db")));
    let keys = kept_keys(&folder);
    assert!(keys.len() == 2 && keys.contains(&truth.1[0]), "{keys:?}");
    assert_eq!((std::fs::read(&first.kept).unwrap(), std::fs::read(&truth.1[0]).unwrap()), (truth.0, truth.2));
}

#[tokio::test]
async fn the_database_of_a_replaced_epoch_is_not_proved_by_a_marker_when_it_is_put_back() {
    let (town, copy) = Town::new(MarkerDir::Auto).await.backup().await;
    let old_key = std::fs::read(town.folder.path().join(KEY_FILE)).unwrap();
    let (folder, hub) = (town.folder.path().to_owned(), town.office.clone() as Arc<dyn HubClient>);
    town.edge.close().await;
    replace_alone(&parts(&folder, &town.office, &town.clock).config, &hub, REPLACE).await.unwrap();
    town.cut();
    let town = town
        .restart(|path| {
            copy.put_back(path);
            std::fs::write(path.with_file_name(KEY_FILE), old_key).unwrap();
        })
        .await;
    assert_eq!(town.value().await["gate"], "unproved");
}

#[tokio::test]
async fn another_stores_token_leaves_what_it_made_in_a_place_of_its_own() {
    let town = Town::new(MarkerDir::Auto).await;
    town.edge.close().await;
    let folder = town.folder.path();
    // A head office that has never heard of this store: its token begins epoch 1.
    let office = FakeOffice::new();
    let config = parts(folder, &office, &town.clock).config;
    let refused = replace_alone(&config, &(office.clone() as Arc<dyn HubClient>), TOKEN).await.err();
    let Some(EdgeError::Replace(ReplaceError::Other { aside, .. })) = refused else { panic!("{refused:?}") };
    assert_eq!(aside, folder.join("enrolled.S1-1"));
    assert!(aside.join(KEY_FILE).exists() && aside.join("edge.db").exists() && !folder.join("next").exists());
}

#[tokio::test]
async fn a_till_that_was_paired_after_the_backup_still_proves_it_old() {
    for is_revoked in [false, true] {
        let (town, copy) = Town::new(MarkerDir::Off).await.proved_backup().await;
        let token = town.edge.pair("T3".parse().unwrap(), Permissions::default()).await.unwrap();
        let mut t3 = Till { token: token.reveal().to_owned(), witness: None };
        assert_eq!(post(&town.edge, &mut t3, "/v1/sales", &by_card(1)).await.1["decision"], "approved");
        let mut town = town.restart(|path| copy.put_back(path)).await;
        town.edge.wait_reported().await.unwrap();
        town.cut();
        // The tills that the backup knows saw nothing later, and nor did head office.
        for till in [&mut town.t1, &mut town.t2] {
            till.witness = None;
        }
        town.by_t1("/v1/sales", &cash()).await;
        town.by_t2("/v1/sales", &cash()).await;
        assert_eq!(town.value().await["gate"], "open", "it would be spent again");
        if is_revoked {
            // A person has ended the token: whoever found the tablet stops nothing by it.
            let (terminal, hash) = ("T3".parse().unwrap(), token.hash());
            let end = town.edge.store().write(move |tx| {
                till::pair(tx, MORNING, terminal, Permissions::default(), hash)?;
                till::revoke(tx, MORNING, terminal)
            });
            let ended: Result<bool, StoreError> = end.await;
            assert!(ended.unwrap());
        }
        // Its random part alone is not the store's word.
        let mut forged = Till { token: format!("{}a", &t3.token[..t3.token.len() - 1]), witness: t3.witness.clone() };
        if forged.token == t3.token {
            forged.token.replace_range(10..11, "7");
        }
        assert_eq!(post(&town.edge, &mut forged, "/v1/sales", &cash()).await.0, 401);
        assert_eq!(town.value().await["gate"], "open");
        assert_eq!(post(&town.edge, &mut t3, "/v1/sales", &cash()).await.0, 401);
        if is_revoked {
            assert_eq!(town.value().await["gate"], "open");
        } else {
            town.is_quarantined().await;
            assert!(town.value().await["quarantine"]["reason"].to_string().contains("till T3"));
        }
    }
}

#[tokio::test]
async fn an_alarm_of_an_earlier_program_becomes_the_quarantine_that_it_should_have_been() {
    let town = Town::new(MarkerDir::Auto).await;
    let noted = town.edge.store().write(|tx| setting::put(tx, "alarm.witness", "till T9 has seen more"));
    let noted: Result<(), StoreError> = noted.await;
    noted.unwrap();
    let mut town = town.restart(|_| {}).await;
    town.is_quarantined().await;
    assert_eq!(town.status().await["alarms"].as_array().unwrap().len(), 1, "one word for one thing");
}
