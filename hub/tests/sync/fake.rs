//! A hub with two stores and a card, and stores that sign for themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use huitong_hub::api;
use huitong_hub::clock::Clock;
use huitong_hub::config::HubConfig;
use huitong_hub::hub::Hub;
use huitong_hub::policy_key::PolicyPair;
use huitong_hub::store::engine::{Store, StoreError, Tx};
use huitong_hub::store::{allotment, organisation, token};
use huitong_protocol::allotment::{HubEvent, HubSide, Purse, StoreCounters, StoreEvent, step};
use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::entry::{
    BODY_VERSION, Body as EntryBody, Entry, HEADER_VERSION, Header, Origin, ReplicaVersions,
};
use huitong_protocol::id::{AccountId, Epoch, GroupId, OperationId, Seq, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::money::Currency;
use huitong_protocol::organisation::{LegalEntity, Store as StoreRow};
use huitong_protocol::tenure::{Assured, HeardEntry};
use huitong_protocol::time::{BusinessDay, CivilOffset, Instant, Stamp};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{
    Answer, Enrol, Enrolled, GrantAnswer, GrantRequest, Hello, Need, Nothing, PROTOCOL_VERSION, Purpose, Refused,
    Report, ReportLine, ReportOnly, Request, Segment, SegmentEntries, SyncFault, Uploaded, Welcome, from_msgpack,
    header, path, signed_text, to_msgpack,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

pub(crate) const CNY: Unit = Unit::Money(Currency::CNY);
pub(crate) const GROUP: &str = "G1";

/// A clock that tests wind.
pub(crate) struct Wound(pub(crate) AtomicI64);

impl Clock for Wound {
    fn now(&self) -> Instant {
        Instant(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn card(body: u32) -> CardNumber {
    CardNumber::new(&format!("66010000{body:08}")).unwrap()
}

pub(crate) fn account(number: i64) -> AccountId {
    AccountId::new(number).unwrap()
}

/// A hub, its routes and its clock.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) router: Router,
    pub(crate) clock: Arc<Wound>,
    folder: tempfile::TempDir,
}

impl World {
    /// Stores S1 and S2; card 1 opens account 1 and is active, card 2 opens account 2 and is blank at S1.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("hub.db"), 4).unwrap();
        let pair = PolicyPair::open_or_make(&folder.path().join("policy.key")).unwrap();
        let phone_key = huitong_protocol::member::PhoneKey::new([7; 32]);
        let (group, sealing) = (GroupId::new(GROUP).unwrap(), huitong_hub::sealing::SealingPair::new([8; 32]));
        huitong_hub::init::init(&store, group, Currency::CNY, pair.public_key(), phone_key, sealing).unwrap();
        store.write(set_up).await.unwrap();
        let clock = Arc::new(Wound(AtomicI64::new(1_800_000_000_000)));
        let hub = Hub::new(HubConfig::default(), store, clock.clone()).await.unwrap();
        Self { router: api::router(hub.clone()), hub, clock, folder }
    }

    /// The same town, with another hub on another folder.
    pub(crate) fn on(&self, hub: Hub, folder: tempfile::TempDir) -> Self {
        Self { router: api::router(hub.clone()), hub, clock: self.clock.clone(), folder }
    }

    pub(crate) fn key_file(&self) -> std::path::PathBuf {
        self.folder.path().join("policy.key")
    }

    pub(crate) fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("hub.db")
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.hub.store.read(f).await.unwrap()
    }

    /// Value comes in at the hub.
    pub(crate) async fn load(&self, account: AccountId, amount_minor: i64) {
        let purse = Purse { account, unit: CNY };
        self.hub
            .store
            .write(move |tx| {
                let (pool, stamp) = allotment::take_pool(tx, purse)?;
                let side = HubSide { pool, ..HubSide::default() };
                let side = step(&side, HubEvent::Load { amount_minor }).unwrap();
                allotment::put_pool(tx, purse, &side.pool, stamp)
            })
            .await
            .unwrap();
    }

    pub(crate) async fn token(&self, store: &str, token: &str) {
        let (store, token, now) = (StoreId::new(store).unwrap(), token.to_owned(), self.hub.now());
        self.hub.store.write(move |tx| token::insert(tx, &token, store, now, now.plus_ms(3_600_000))).await.unwrap();
    }

    /// A store, enrolled and greeted.
    pub(crate) async fn store(&self, id: &str) -> FakeStore {
        self.token(id, &format!("token of {id}")).await;
        let mut store = FakeStore::new(self.router.clone(), id, 1);
        let enrolled: Enrolled = store.enrol(&format!("token of {id}")).await.unwrap();
        assert_eq!(enrolled.epoch, store.epoch);
        store.hello().await.unwrap();
        store
    }

    /// The post-box for requests that no store would send.
    pub(crate) async fn raw(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        post(&self.router, path, headers, body).await
    }

    pub(crate) async fn refused_rows(&self) -> Vec<String> {
        self.read(|tx| {
            Ok(huitong_hub::store::refused::list(tx, &Default::default(), 100)?
                .into_iter()
                .map(|row| row.fault)
                .collect())
        })
        .await
    }

    pub(crate) async fn exceptions(&self) -> Vec<String> {
        self.open_exceptions().await.into_iter().map(|row| row.class.to_string()).collect()
    }

    pub(crate) async fn open_exceptions(&self) -> Vec<huitong_hub::store::exception::Exception> {
        self.read(|tx| huitong_hub::store::exception::list(tx, &huitong_hub::store::exception::Filter::default())).await
    }
}

fn set_up(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    organisation::write_legal_entity(
        tx,
        &LegalEntity {
            id: "E1".parse().unwrap(),
            name: "Entity".to_owned(),
            register_number: String::new(),
            taxpayer_kind: String::new(),
            bank_account: String::new(),
        },
    )?;
    for id in ["S1", "S2"] {
        opens(tx, id)?;
    }
    for (number, status) in [(1_u32, CardStatus::Active), (2, CardStatus::Blank), (3, CardStatus::Active)] {
        organisation::write_card(
            tx,
            &Card {
                number: card(number),
                product: "SV".parse().unwrap(),
                account: account(i64::from(number)),
                status,
                status_stamp: Stamp::ZERO,
                allocated_store: Some("S1".parse().unwrap()),
                member: None,
                expires_on: None,
            },
        )?;
    }
    Ok(())
}

/// A store opens.
pub(crate) fn opens(tx: &mut Tx<'_>, id: &str) -> Result<(), StoreError> {
    let store = StoreRow {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        legal_entity: "E1".parse().unwrap(),
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::CNY,
        rollover_hour: 0,
        opened_on: None,
        closed_on: None,
    };
    organisation::write_store(tx, &store).map(drop)
}

async fn post(router: &Router, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, Vec<u8>) {
    let mut request = HttpRequest::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap();
    (status, body.to_vec())
}

/// A store's counters, journal and key.
pub(crate) struct FakeStore {
    pub(crate) router: Router,
    pub(crate) id: StoreId,
    pub(crate) epoch: Epoch,
    key: Ed25519KeyPair,
    pub(crate) session: String,
    /// The turn that it was given last, and the nonce of its next hello.
    pub(crate) turn: u64,
    pub(crate) turn_nonce: u64,
    pub(crate) nonce: AtomicU64,
    pub(crate) counters: StoreCounters,
    pub(crate) stamp: i64,
    pub(crate) journal: Vec<Vec<u8>>,
    sealed: Seq,
}

impl FakeStore {
    pub(crate) fn new(router: Router, id: &str, seed: u8) -> Self {
        Self {
            router,
            id: id.parse().unwrap(),
            epoch: Epoch(1),
            key: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
            session: String::new(),
            turn: 0,
            turn_nonce: u64::from(seed) * 1_000,
            nonce: AtomicU64::new(0),
            counters: StoreCounters::default(),
            stamp: 1_800_000_000_000,
            journal: Vec::new(),
            sealed: Seq::ZERO,
        }
    }

    pub(crate) async fn enrol(&self, token: &str) -> Result<Enrolled, Refused> {
        let public_key = self.key.public_key().as_ref().to_vec();
        let body = to_msgpack(&Enrol { protocol: PROTOCOL_VERSION, token: token.to_owned(), public_key });
        unpack(post(&self.router, path::ENROL, &[], body).await)
    }

    pub(crate) fn hello_body(&self) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            group: GROUP.parse().unwrap(),
            store: self.id,
            epoch: self.epoch,
            head: self.head(),
            turn: self.turn,
            turn_nonce: self.turn_nonce,
            life: 0,
            assured: Assured::NOTHING,
        }
    }

    pub(crate) async fn hello(&mut self) -> Result<Welcome, Refused> {
        let body = self.hello_body();
        let welcome: Welcome = self.say_hello(&body).await?;
        self.session.clone_from(&welcome.session);
        (self.turn, self.turn_nonce) = (welcome.turn, self.turn_nonce + 1);
        Ok(welcome)
    }

    pub(crate) async fn say_hello(&self, hello: &Hello) -> Result<Welcome, Refused> {
        unpack(self.send(path::HELLO, "", self.next_nonce(), to_msgpack(hello)).await)
    }

    pub(crate) fn next_nonce(&self) -> u64 {
        self.nonce.fetch_add(1, Ordering::SeqCst)
    }

    /// Signs and sends bytes.
    pub(crate) async fn send(&self, path: &str, session: &str, nonce: u64, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let text = signed_text("POST", path, self.id, session, nonce, &body);
        let signature = data_encoding::BASE64.encode(self.key.sign(text.as_bytes()).as_ref());
        let (store, nonce) = (self.id.to_string(), nonce.to_string());
        let mut headers =
            vec![(header::STORE, store.as_str()), (header::NONCE, &nonce), (header::SIGNATURE, &signature)];
        if !session.is_empty() {
            headers.push((header::SESSION, session));
        }
        post(&self.router, path, &headers, body).await
    }

    pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        report: Option<Report>,
        body: Q,
    ) -> Result<Answer<A>, Refused> {
        let body = to_msgpack(&Request { report, policy: None, body });
        unpack(self.send(path, &self.session, self.next_nonce(), body).await)
    }

    /// Moves its own counters.
    pub(crate) fn step(&mut self, event: StoreEvent) {
        self.counters = step(&self.counters, event).unwrap();
        self.stamp += 1;
    }

    pub(crate) fn report(&self, of: AccountId) -> Report {
        let stamp = Stamp(self.stamp);
        let line = ReportLine { account: of, unit: CNY, counters: self.counters, stamp };
        Report {
            epoch: self.epoch,
            head: self.head(),
            end: self.head(),
            since_no: 0,
            through_no: self.head().seq.0,
            stamp,
            counters: vec![line],
            cards: Vec::new(),
        }
    }

    pub(crate) async fn send_report(&self, report: Report) -> Result<Answer<Nothing>, Refused> {
        self.call(path::REPORT, Some(report), ReportOnly {}).await
    }

    /// Asks for value on card 1 and adopts what is granted.
    pub(crate) async fn ask(&mut self, missing_minor: i64) -> Answer<GrantAnswer> {
        let need = Need { card: card(1), unit: CNY, missing_minor, purpose: Purpose::Spend };
        let request = GrantRequest { needs: vec![need], totals: true };
        let answer: Answer<GrantAnswer> = self.call(path::GRANT, Some(self.report(account(1))), request).await.unwrap();
        for grant in &answer.grants {
            self.step(StoreEvent::Adopt { granted_minor: grant.granted_minor });
        }
        answer
    }

    pub(crate) fn head(&self) -> Head {
        self.head_at(self.journal.len())
    }

    pub(crate) fn head_at(&self, entries: usize) -> Head {
        self.journal[..entries].iter().fold(Head::START, |head, bytes| head.push(bytes))
    }

    pub(crate) fn day() -> BusinessDay {
        "2026-11-22".parse().unwrap()
    }

    pub(crate) fn header(&mut self, body: &EntryBody) -> Header {
        self.stamp += 1;
        let seq = self.head().seq.next();
        let operation = uuid_of(self.id, self.epoch, seq);
        Header {
            header_version: HEADER_VERSION,
            body_version: BODY_VERSION,
            kind: body.kind().to_owned(),
            group: GROUP.parse().unwrap(),
            store: self.id,
            epoch: self.epoch,
            seq,
            operation,
            stamp: Stamp(self.stamp),
            at_ms: Instant(self.stamp),
            offset_minutes: CivilOffset::new(480).unwrap(),
            business_day: Some(Self::day()),
            terminal: None,
            terminal_seq: None,
            operator: None,
            approver: None,
            origin: Origin::Edge,
            replica: ReplicaVersions::default(),
        }
    }

    pub(crate) fn write(&mut self, body: EntryBody) -> Seq {
        let header = self.header(&body);
        let seq = header.seq;
        self.journal.push(Entry { header, body }.encode());
        seq
    }

    /// Closes the day with a seal over everything since the one before; `tamper` may change it.
    pub(crate) fn seal(&mut self, tamper: impl FnOnce(&mut huitong_protocol::seal::Seal)) {
        let mut tally = huitong_protocol::seal::Tally::default();
        let first = usize::try_from(self.sealed.0).unwrap();
        for bytes in &self.journal[first..] {
            if let Ok(view) = huitong_protocol::entry::EntryView::decode(bytes) {
                // What does not fit is what the hub is asked to notice.
                let _ = tally.add(&view.header, view.body().ok().as_ref());
            }
        }
        let mut seal = huitong_protocol::seal::Seal {
            business_day: Self::day(),
            first_seq: self.sealed.next(),
            last: self.head(),
            totals: tally.totals(),
        };
        tamper(&mut seal);
        self.sealed = self.write(EntryBody::Seal(seal));
    }

    /// The segment of the entries after `from`, up to `to`.
    pub(crate) fn segment(&self, from: usize, to: usize) -> Segment {
        pack(self.epoch, self.head_at(from), self.head_at(to), &self.journal[from..to])
    }

    pub(crate) async fn upload(&self, segment: Segment) -> Result<Uploaded, Refused> {
        let answer: Answer<Uploaded> = self.call(path::UPLOAD, None, segment).await?;
        Ok(answer.body)
    }
}

pub(crate) fn pack(epoch: Epoch, previous: Head, last: Head, entries: &[Vec<u8>]) -> Segment {
    let entries = SegmentEntries(entries.iter().map(|bytes| serde_bytes::ByteBuf::from(bytes.clone())).collect());
    let packed = to_msgpack(&entries);
    let entries_zstd = zstd::bulk::compress(&packed, 3).unwrap();
    Segment { epoch, previous, last, raw_bytes: packed.len() as u64, entries_zstd, heard: HeardEntry::Unsaid }
}

pub(crate) fn uuid_of(store: StoreId, epoch: Epoch, seq: Seq) -> OperationId {
    let digits = &store.as_str()[1..];
    format!("00000000-{:04}-7000-8000-{digits:0>4}{:08}", epoch.0 - 1, seq.0).parse().unwrap()
}

pub(crate) fn unpack<A: DeserializeOwned>((status, body): (StatusCode, Vec<u8>)) -> Result<A, Refused> {
    if status == StatusCode::OK {
        return Ok(from_msgpack(&body).unwrap());
    }
    Err(from_msgpack(&body).unwrap())
}

pub(crate) fn fault<T: std::fmt::Debug>(outcome: Result<T, Refused>) -> SyncFault {
    outcome.unwrap_err().fault
}
