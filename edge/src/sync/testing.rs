//! A head office for sync tests: checks signatures and nonces like the real one, keeps pools with `protocol::allotment`, and a wire to it that can
//! be cut, lose answers and say things twice. And a shop on the other end of it.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use bytes::Bytes;
use huitong_config::Millis;
use huitong_protocol::allotment::{HubEvent, HubSide, Purse, step};
use huitong_protocol::bundle::PolicyState;
use huitong_protocol::card::{Card, CardChange, CardStatus};
use huitong_protocol::id::{AccountId, Epoch, Hash, Seq, StoreId};
use huitong_protocol::journal::{Head, verify};
use huitong_protocol::money::Currency;
use huitong_protocol::organisation::Store as StoreRecord;
use huitong_protocol::tenure::Assured;
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{
    Answer, AskParked, DatasetKind, DatasetPage, DatasetRequest, DatasetRow, DatasetVersion, DayVerdict, Enrol,
    Enrolled, Grant, GrantAnswer, GrantRequest, Hello, Nothing, Poll, Polled, Recall, Refused, RefusedLine, Report,
    ReportOnly, Request, Segment, SegmentEntries, SyncFault, Uploaded, Welcome, from_msgpack, header, path,
    signed_text, to_msgpack,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::hub_client::{HttpPost, HttpReply, HubClient, HubDown};
use crate::clock::Clock;
use crate::config::EdgeConfig;
use crate::ledger::testing::{policy_key, signed_policy};
use crate::run::{Edge, EdgeParts};
use crate::store::allotment;
use crate::till::Permissions;

pub(crate) const CNY: Unit = Unit::Money(Currency::CNY);
/// 10:00 on 22 November 2026 in Shanghai.
pub(crate) const MORNING: Instant = Instant(1_795_312_800_000);
pub(crate) const TOKEN: &str = "one-time";
/// For a store that is enrolled anew.
pub(crate) const REPLACE: &str = "one-time, again";
/// And once more.
pub(crate) const REPLACE_AGAIN: &str = "one-time, a third time";
/// The token of each epoch.
const TOKENS: [&str; 3] = [TOKEN, REPLACE, REPLACE_AGAIN];
/// Nothing that a test waits for takes this long on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that moves when it is wound, and wakes who waits for it.
#[derive(Clone)]
pub(crate) struct HandClock {
    shown: watch::Sender<Instant>,
    elapsed_ms: Arc<AtomicI64>,
}

impl HandClock {
    pub(crate) fn at(start: Instant) -> Self {
        Self { shown: watch::Sender::new(start), elapsed_ms: Arc::default() }
    }

    /// Time passes; where it is wound back somebody sets the clock.
    pub(crate) fn wind(&self, span_ms: i64) {
        self.elapsed_ms.fetch_add(span_ms.max(0), Ordering::Relaxed);
        self.set_by(span_ms);
    }

    /// Somebody sets the clock, and no time passes.
    pub(crate) fn set_by(&self, span_ms: i64) {
        self.shown.send_modify(|now| *now = now.plus_ms(span_ms));
    }
}

impl Clock for HandClock {
    fn now(&self) -> Instant {
        *self.shown.borrow()
    }

    fn elapsed_ms(&self) -> i64 {
        self.elapsed_ms.load(Ordering::Relaxed)
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut clock = self.shown.subscribe();
        Box::pin(async move {
            if clock.wait_for(|now| *now >= at).await.is_err() {
                std::future::pending().await
            }
        })
    }
}

#[derive(Default)]
pub(crate) struct Office {
    /// Time passes here as it does at the store, but nobody sets the clock.
    clock: Option<HandClock>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) sessions: u64,
    live: HashSet<String>,
    nonces: HashSet<(String, u64)>,
    pub(crate) incarnation: u64,
    /// Whether it says that it may have forgotten stops.
    pub(crate) recovers: bool,
    pub(crate) entries: Vec<Vec<u8>>,
    head: Option<Head>,
    pub(crate) sides: HashMap<Purse, HubSide>,
    pub(crate) reports: Vec<Report>,
    pub(crate) card_changes: Vec<CardChange>,
    pub(crate) cards: HashMap<String, Card>,
    pub(crate) published: Vec<(DatasetKind, u64, DatasetRow)>,
    pub(crate) recalls: Vec<(u64, Recall)>,
    pub(crate) recalls_through: u64,
    /// Up to which version the store said that it has all cards: with its last poll, and with the last page of cards that it asked for.
    pub(crate) cards_told: (u64, u64),
    pub(crate) segments: u64,
    /// Every call that arrived, in order.
    pub(crate) calls: Vec<&'static str>,
    /// Paths whose requests do not arrive, nor the answers to those that did.
    pub(crate) cut: HashSet<&'static str>,
    /// Paths whose next answers are lost, how many.
    pub(crate) lose: HashMap<&'static str, u32>,
    /// Paths whose messages arrive twice; the second reply comes back.
    pub(crate) twice: HashSet<&'static str>,
    /// Paths whose answers wait until they are taken from here.
    pub(crate) held: HashSet<&'static str>,
    /// How many more pages of policies are spoilt on the way.
    pub(crate) spoil_policies: u32,
    pub(crate) refusals: Vec<SyncFault>,
    /// What the store said of its policies, in order.
    pub(crate) policy_states: Vec<PolicyState>,
    /// What it says that it holds of the journal when it takes a segment.
    pub(crate) says_to_hold: Option<Head>,
    /// How far it says that it heard the store.
    pub(crate) heard: Option<Head>,
    /// What it says to every hello.
    pub(crate) refuse_hello: Option<SyncFault>,
    /// What it says to everything within a session.
    pub(crate) refuse_session: Option<SyncFault>,
    /// How many more reports that do not begin with everything it answers as untold.
    pub(crate) untold: u32,
    /// The account whose lines it refuses.
    pub(crate) refuse_account: Option<i64>,
    /// Grants that ride on each of its answers.
    pub(crate) riding: Vec<Grant>,
    /// What the last hello said that it had told the store, in which life.
    pub(crate) assured: Option<(u64, Assured)>,
    /// The turns and nonces of hellos that it answered.
    pub(crate) greeted: Vec<(u64, u64)>,
    /// Its journal is of an epoch that ended, which it had heard so far.
    pub(crate) ended: Option<Head>,
    /// How often the store was enrolled anew.
    pub(crate) replaced: u32,
}

impl Office {
    fn time(&self) -> Instant {
        MORNING.plus_ms(self.clock.as_ref().map_or(0, Clock::elapsed_ms))
    }

    pub(crate) fn head(&self) -> Head {
        self.head.unwrap_or(Head::START)
    }

    /// A restored backup: the journal is known to a position only.
    pub(crate) fn forget_entries_after(&mut self, count: usize) {
        self.entries.truncate(count);
        self.head = Some(self.entries.iter().fold(Head::START, |head, bytes| head.push(bytes)));
    }

    /// A restored backup: nothing that stores said since is known, and it begins another life.
    pub(crate) fn forget_reports(&mut self) {
        self.forget_sessions();
        self.incarnation += 1;
        self.sides.clear();
        self.reports.clear();
    }

    pub(crate) fn forget_sessions(&mut self) {
        self.live.clear();
    }

    pub(crate) fn free(&self, account: i64) -> i64 {
        self.sides.get(&purse(account)).map_or(0, |side| side.pool.free_minor())
    }

    pub(crate) fn load(&mut self, account: i64, amount_minor: i64) {
        let side = self.sides.entry(purse(account)).or_default();
        *side = step(side, HubEvent::Load { amount_minor }).unwrap();
    }

    pub(crate) fn publish(&mut self, dataset: DatasetKind, row: DatasetRow) {
        let version = self.newest(dataset) + 1;
        self.published.push((dataset, version, row));
    }

    pub(crate) fn newest(&self, dataset: DatasetKind) -> u64 {
        self.published.iter().filter(|(kind, ..)| *kind == dataset).map(|(_, version, _)| *version).max().unwrap_or(0)
    }

    fn datasets(&self) -> Vec<DatasetVersion> {
        DatasetKind::ALL.iter().map(|&dataset| DatasetVersion { dataset, version: self.newest(dataset) }).collect()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.calls.iter().filter(|call| **call == path).count()
    }
}

/// The office and the wire to it.
pub(crate) struct FakeOffice {
    office: Mutex<Office>,
    changed: watch::Sender<u64>,
}

type Reply = Result<Vec<u8>, (u16, SyncFault, String)>;

fn refuse<T>(status: u16, fault: SyncFault, message: &str) -> Result<T, (u16, SyncFault, String)> {
    Err((status, fault, message.to_owned()))
}

impl FakeOffice {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { office: Mutex::default(), changed: watch::Sender::new(0) })
    }

    /// Looks at the office, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Office) -> T) -> T {
        let result = look(&mut self.office());
        self.changed.send_modify(|changes| *changes += 1);
        result
    }

    fn office(&self) -> MutexGuard<'_, Office> {
        self.office.lock().unwrap()
    }

    /// Waits until something is true of the office.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut(&Office) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !is_so(&self.office()) {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    fn signed(office: &mut Office, request: &HttpPost) -> Result<(), (u16, SyncFault, String)> {
        let header = |name: &str| {
            let found = request.headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let (session, nonce) = (header(header::SESSION), header(header::NONCE).parse().unwrap());
        let store: StoreId = header(header::STORE).parse().unwrap();
        let text = signed_text("POST", request.path, store, &session, nonce, &request.body);
        let signature = data_encoding::BASE64.decode(header(header::SIGNATURE).as_bytes()).unwrap();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, office.key.clone().unwrap());
        if key.verify(text.as_bytes(), &signature).is_err() {
            return refuse(401, SyncFault::Forged, "the signature is not that of the store's key");
        }
        if request.path != path::HELLO && !office.live.contains(&session) {
            return refuse(401, SyncFault::SessionUnknown, "say hello");
        }
        if let (Some(fault), false) = (office.refuse_session, request.path == path::HELLO) {
            return refuse(409, fault, "not this one any more");
        }
        // A hello that is heard twice is answered twice: a store's clock may stand still or go back.
        if request.path != path::HELLO && !office.nonces.insert((session, nonce)) {
            return refuse(401, SyncFault::Replayed, "the nonce was used before");
        }
        Ok(())
    }

    fn take(office: &mut Office, report: Option<Report>) -> Vec<Grant> {
        let Some(report) = report else { return Vec::new() };
        let mut grants = Vec::new();
        let unwanted = office.refuse_account;
        for line in report.counters.iter().filter(|line| Some(line.account.get()) != unwanted) {
            let side = office.sides.entry(line.purse()).or_default();
            *side = step(side, HubEvent::Report { counters: line.counters }).unwrap();
            if side.line.granted_minor > side.line.seen.adopted_minor {
                grants.push(Grant {
                    account: line.account,
                    unit: line.unit,
                    granted_minor: side.line.granted_minor,
                    stamp: line.stamp,
                });
            }
        }
        office.card_changes.extend(&report.cards);
        office.reports.push(report);
        grants
    }

    fn refused(office: &Office, report: Option<&Report>) -> Vec<RefusedLine> {
        let lines = report.into_iter().flat_map(|report| &report.counters);
        let unwanted = lines.filter(|line| Some(line.account.get()) == office.refuse_account);
        unwanted
            .map(|line| RefusedLine { account: line.account, unit: line.unit, reason: "cannot be".to_owned() })
            .collect()
    }

    fn answer<Q: DeserializeOwned, A: Serialize>(
        office: &mut Office,
        body: &[u8],
        serve: impl FnOnce(&mut Office, Q, &mut Vec<Grant>) -> Result<A, (u16, SyncFault, String)>,
    ) -> Reply {
        let request: Request<Q> = from_msgpack(body).unwrap();
        office.policy_states.extend(request.policy);
        let refused = Self::refused(office, request.report.as_ref());
        let untold = office.untold > 0 && request.report.as_ref().is_some_and(|report| report.since_no > 0);
        office.untold -= u32::from(untold);
        let mut grants = Self::take(office, request.report);
        grants.extend(&office.riding);
        let body = serve(office, request.body, &mut grants)?;
        Ok(to_msgpack(&Answer { server_time_ms: office.time(), grants, refused, untold, body }))
    }

    fn serve(office: &mut Office, request: &HttpPost) -> Reply {
        if request.path == path::ENROL {
            let enrol: Enrol = from_msgpack(&request.body).unwrap();
            if TOKENS.get(office.replaced as usize + 1) == Some(&enrol.token.as_str()) {
                (office.replaced, office.key) = (office.replaced + 1, Some(enrol.public_key.clone()));
            }
            let known = office.key.get_or_insert_with(|| enrol.public_key.clone());
            if enrol.token != TOKENS[office.replaced as usize] || *known != enrol.public_key {
                return refuse(403, SyncFault::Token, "the token is unknown, used or out of date");
            }
            return Ok(to_msgpack(&Enrolled {
                group: "G1".parse().unwrap(),
                store: record(),
                epoch: Epoch(1 + office.replaced),
                policy_keys: vec![policy_key()],
                member_keys: crate::ledger::testing::member_keys(),
            }));
        }
        Self::signed(office, request)?;
        let body = &request.body;
        match request.path {
            path::HELLO => {
                let hello: Hello = from_msgpack(body).unwrap();
                assert_eq!((hello.store, hello.epoch), (record().id, Epoch(1 + office.replaced)));
                if let Some(fault) = office.refuse_hello {
                    return refuse(409, fault, "not this one");
                }
                office.greeted.push((hello.turn, hello.turn_nonce));
                office.assured = Some((hello.life, hello.assured));
                office.sessions += 1;
                let session = format!("session-{}", office.sessions);
                office.live.insert(session.clone());
                Ok(to_msgpack(&Welcome {
                    session,
                    hub_incarnation: office.incarnation,
                    server_time_ms: office.time(),
                    // Its journal is that of the first epoch.
                    journal_head: if office.replaced > 0 { Head::START } else { office.head() },
                    turn: hello.turn + 1,
                    heard: office.heard.unwrap_or(Head::START),
                    tells_all: false,
                    recovers: office.recovers,
                    datasets: office.datasets(),
                }))
            }
            path::REPORT => Self::answer(office, body, |_, ReportOnly {}, _| Ok(Nothing {})),
            path::GRANT => Self::answer(office, body, |office, request: GrantRequest, grants| {
                let mut cards = Vec::new();
                for need in request.needs {
                    let Some(card) = office.cards.get(need.card.reveal()).cloned() else { continue };
                    let side = office.sides.entry(Purse { account: card.account, unit: need.unit }).or_default();
                    if need.missing_minor > 0 && side.pool.free_minor() > 0 {
                        *side = step(side, HubEvent::Grant { amount_minor: side.pool.free_minor() }).unwrap();
                    }
                    let granted_minor = side.line.granted_minor;
                    if granted_minor > 0 {
                        grants.push(Grant { account: card.account, unit: need.unit, granted_minor, stamp: Stamp(1) });
                    }
                    cards.push(card);
                }
                Ok(GrantAnswer { cards, elsewhere: Vec::new(), totals: Vec::new(), is_closed: false })
            }),
            path::PARKED => Self::answer(office, body, |office, AskParked { purses }, grants| {
                for purse in purses {
                    let wanted = office.published.iter().rev().find_map(|(.., row)| match row {
                        DatasetRow::Parked(parked) if parked.purse() == purse => Some(parked.target_minor.unwrap_or(0)),
                        _ => None,
                    });
                    let side = office.sides.entry(purse).or_default();
                    let lacking = i128::from(wanted.unwrap_or(0)) - side.line.held();
                    let amount_minor = i64::try_from(lacking.min(side.pool.free())).unwrap();
                    if amount_minor > 0 {
                        *side = step(side, HubEvent::Grant { amount_minor }).unwrap();
                    }
                    let granted_minor = side.line.granted_minor;
                    if granted_minor > 0 {
                        grants.push(Grant { account: purse.account, unit: purse.unit, granted_minor, stamp: Stamp(1) });
                    }
                }
                Ok(Nothing {})
            }),
            path::UPLOAD => Self::answer(office, body, |office, segment: Segment, _| Self::keep(office, segment)),
            path::DATASET => Self::answer(office, body, |office, request: DatasetRequest, _| {
                if request.dataset == DatasetKind::Cards {
                    office.cards_told.1 = request.after_version;
                }
                let mut newer: Vec<_> = office
                    .published
                    .iter()
                    .filter(|(kind, version, _)| *kind == request.dataset && *version > request.after_version)
                    .cloned()
                    .collect();
                let more = newer.len() > request.limit as usize;
                let recovers = office.recovers || request.after_version > office.newest(request.dataset);
                newer.truncate(request.limit as usize);
                let through_version = newer.last().map_or(request.after_version, |(_, version, _)| *version);
                let mut rows: Vec<DatasetRow> = newer.into_iter().map(|(.., row)| row).collect();
                if request.dataset == DatasetKind::Policies && !rows.is_empty() && office.spoil_policies > 0 {
                    office.spoil_policies -= 1;
                    for row in &mut rows {
                        let DatasetRow::Policy(signed) = row else { continue };
                        signed.signature.fill(0);
                    }
                }
                Ok(DatasetPage { dataset: request.dataset, through_version, more, recovers, rows, phone_key: None })
            }),
            other => panic!("no such path: {other}"),
        }
    }

    fn keep(office: &mut Office, segment: Segment) -> Result<Uploaded, (u16, SyncFault, String)> {
        office.segments += 1;
        let raw = zstd::bulk::decompress(&segment.entries_zstd, usize::try_from(segment.raw_bytes).unwrap()).unwrap();
        let SegmentEntries(entries) = from_msgpack(&raw).unwrap();
        let mut head = segment.previous;
        let rows: Vec<(Seq, Hash, Vec<u8>)> = entries
            .into_iter()
            .map(|bytes| {
                head = head.push(&bytes);
                (head.seq, head.hash, bytes.into_vec())
            })
            .collect();
        assert_eq!(head, segment.last);
        if segment.epoch > Epoch(1) {
            let (quarantined, days) = (Vec::new(), Vec::new());
            return Ok(Uploaded { journal_head: segment.last, missing: None, quarantined, days, heard: None });
        }
        let own = Self::hash_at(office, segment.previous.seq.0);
        if own.is_some_and(|own| own != segment.previous.hash)
            || rows.iter().any(|(seq, hash, _)| Self::hash_at(office, seq.0).is_some_and(|own| own != *hash))
        {
            return refuse(409, SyncFault::Fork, "another entry is held there");
        }
        verify(segment.previous, rows.iter().map(|(seq, hash, bytes)| (*seq, *hash, bytes.as_slice()))).unwrap();
        let mut days = Vec::new();
        let may_add = office.ended.is_none_or(|heard| segment.heard.may_add(&heard, office.head().seq));
        for (seq, _, bytes) in rows {
            let holds = office.head();
            if seq == holds.seq.next() && may_add {
                office.head = Some(holds.push(&bytes));
                office.entries.push(bytes.clone());
            }
            let entry = huitong_protocol::entry::Entry::decode(&bytes).unwrap();
            if let huitong_protocol::entry::Body::Seal(seal) = entry.body
                && seq <= office.head().seq
            {
                days.push(DayVerdict { business_day: seal.business_day, seal_seq: seq, differences: Vec::new() });
            }
        }
        let journal_head = office.says_to_hold.unwrap_or(office.head());
        Ok(Uploaded { journal_head, missing: None, quarantined: Vec::new(), days, heard: office.ended })
    }

    fn hash_at(office: &Office, seq: u64) -> Option<Hash> {
        let held = office.entries.get(..usize::try_from(seq).unwrap())?;
        Some(held.iter().fold(Head::START, |head, bytes| head.push(bytes)).hash)
    }

    /// Holds the poll until there is something.
    async fn poll(&self, request: &HttpPost) -> Reply {
        let (poll, refused): (Poll, _) = {
            let mut office = self.office();
            Self::signed(&mut office, request)?;
            let request: Request<Poll> = from_msgpack(&request.body).unwrap();
            office.policy_states.extend(request.policy.clone());
            let refused = Self::refused(&office, request.report.as_ref());
            Self::take(&mut office, request.report);
            office.recalls_through = office.recalls_through.max(request.body.recalls_through);
            office.cards_told.0 = request.body.cards_version;
            (request.body, refused)
        };
        let mut changed = self.changed.subscribe();
        let told = self.office().datasets();
        let something = async {
            loop {
                let is_news = {
                    let office = self.office();
                    office.recalls.iter().any(|(number, _)| *number > poll.recalls_through) || office.datasets() != told
                };
                if is_news {
                    return;
                }
                changed.changed().await.unwrap();
            }
        };
        drop(tokio::time::timeout(Duration::from_millis(poll.wait_ms), something).await);
        let office = self.office();
        let recalls: Vec<_> = office.recalls.iter().filter(|(number, _)| *number > poll.recalls_through).collect();
        let body = Polled {
            recalls_through: recalls.last().map_or(poll.recalls_through, |(number, _)| *number),
            recalls: recalls.into_iter().map(|(_, recall)| *recall).collect(),
            recovers: office.recovers,
            datasets: office.datasets(),
        };
        let grants = office.riding.clone();
        Ok(to_msgpack(&Answer { server_time_ms: office.time(), grants, refused, untold: false, body }))
    }

    async fn once(&self, request: &HttpPost) -> HttpReply {
        let reply = if request.path == path::POLL {
            self.poll(request).await
        } else {
            Self::serve(&mut self.office(), request)
        };
        let (status, body) = match reply {
            Ok(body) => (200, body),
            Err((status, fault, message)) => {
                self.office().refusals.push(fault);
                (status, to_msgpack(&Refused { fault, message }))
            }
        };
        HttpReply { status, retry_after_s: None, body: Bytes::from(body) }
    }
}

#[async_trait]
impl HubClient for FakeOffice {
    async fn post(&self, request: HttpPost) -> Result<HttpReply, HubDown> {
        let path = request.path;
        if self.office().cut.contains(path) {
            return Err(HubDown::Line("cut".to_owned()));
        }
        self.with(|office| office.calls.push(path));
        let mut reply = self.once(&request).await;
        if self.office().twice.contains(path) {
            reply = self.once(&request).await;
        }
        self.until("the answer is let go", |office| !office.held.contains(path)).await;
        let is_lost = self.with(|office| {
            let left = office.lose.entry(path).or_default();
            let is_lost = *left > 0;
            *left = left.saturating_sub(1);
            is_lost || office.cut.contains(path)
        });
        if is_lost { Err(HubDown::Line("the answer was lost".to_owned())) } else { Ok(reply) }
    }
}

pub(crate) fn record() -> StoreRecord {
    StoreRecord {
        id: "S1".parse().unwrap(),
        name: "人民路店".to_owned(),
        legal_entity: "E1".parse().unwrap(),
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::CNY,
        rollover_hour: 4,
        opened_on: None,
        closed_on: None,
    }
}

pub(crate) fn purse(account: i64) -> Purse {
    Purse { account: AccountId::new(account).unwrap(), unit: CNY }
}

/// Card n opens account n.
pub(crate) fn number(n: i64) -> String {
    format!("6601{n:012}")
}

pub(crate) fn card(n: i64) -> Card {
    Card {
        number: number(n).parse().unwrap(),
        product: "SV".parse().unwrap(),
        account: AccountId::new(n).unwrap(),
        status: CardStatus::Active,
        status_stamp: Stamp(1),
        allocated_store: None,
        member: None,
        expires_on: None,
    }
}

/// A policy with this release rule and parked amount.
pub(crate) fn policy(release: &str, park_minor: i64) -> DatasetRow {
    let document = format!(
        r#"
name = "test"
currency = "CNY"
products = [{{ id = "SV", name = "stored value", issuer = "E1", ranges = [{{ prefix = "6601", length = 16, check = "none" }}] }}]
tenders = [
  {{ code = "cash", class = "external", may_load = true }},
  {{ code = "stored_value", class = "stored_value" }},
]
[allotment]
park_minor = {park_minor}
release = {release}
"#
    );
    document_row(1, &document)
}

pub(crate) fn document_row(version: u64, document: &str) -> DatasetRow {
    DatasetRow::Policy(signed_policy(version, "2026-01-01", document))
}

/// An edge at the end of the wire, with its day open and cards 1 to 5 in use.
pub(crate) struct Shop {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) office: Arc<FakeOffice>,
    pub(crate) clock: HandClock,
    pub(crate) edge: Edge,
    pub(crate) token: String,
    pub(crate) keys: std::sync::atomic::AtomicU64,
}

pub(crate) fn parts(folder: &std::path::Path, office: &Arc<FakeOffice>, clock: &HandClock) -> EdgeParts {
    let clock_of_office = clock.clone();
    office.with(|office| office.clock = Some(clock_of_office));
    let mut config = EdgeConfig::for_test(folder);
    config.sync.poll_wait = Millis::ms(200);
    EdgeParts { config, clock: Arc::new(clock.clone()), hub_client: office.clone(), listener: None, heartbeat: false }
}

impl Shop {
    pub(crate) async fn new(release: &str, park_minor: i64) -> Self {
        Self::with(Self::office(release, park_minor), |_| {}).await
    }

    /// A head office that has published a policy and five cards.
    pub(crate) fn office(release: &str, park_minor: i64) -> Arc<FakeOffice> {
        let office = FakeOffice::new();
        office.with(|office| {
            office.publish(DatasetKind::Policies, policy(release, park_minor));
            for n in 1..=5 {
                office.publish(DatasetKind::Cards, DatasetRow::Card(card(n)));
                office.cards.insert(number(n), card(n));
            }
        });
        office
    }

    pub(crate) async fn with(office: Arc<FakeOffice>, change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), HandClock::at(MORNING));
        let mut parts = parts(folder.path(), &office, &clock);
        change(&mut parts.config);
        let edge = Edge::enrol_and_start(parts, TOKEN).await.unwrap();
        edge.download().await.unwrap();
        let token = edge.pair("T1".parse().unwrap(), Permissions::ALL).await.unwrap().reveal().to_owned();
        let shop = Self { folder, office, clock, edge, token, keys: 1.into() };
        shop.post("/v1/day/open", &json!({})).await;
        shop
    }

    /// Posts an operation that must be approved.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.try_post(path, body).await;
        assert_eq!(answer["decision"], "approved", "{answer}");
        answer
    }

    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> Value {
        let key = self.keys.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let request = HttpRequest::post(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("idempotency-key", format!("00000000-0000-7000-8000-{key:012}"))
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.edge.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    pub(crate) async fn status(&self) -> Value {
        let token = format!("Bearer {}", self.token);
        let request = HttpRequest::get("/v1/status").header("authorization", token).body(Body::empty()).unwrap();
        let response = self.edge.router().oneshot(request).await.unwrap();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    pub(crate) async fn reload(&self, n: i64, amount_minor: i64) {
        let tenders = json!([{"tender": "cash", "amount_minor": amount_minor}]);
        let body = json!({"currency": "CNY", "amount_minor": amount_minor, "tenders": tenders});
        self.post(&format!("/v1/cards/{}/reload", number(n)), &body).await;
    }

    pub(crate) async fn spend(&self, n: i64, amount_minor: i64) -> Value {
        let line =
            json!({"sku": "A1", "quantity_thousandths": 1000, "gross_minor": amount_minor, "net_minor": amount_minor});
        let tender = json!({"tender": "stored_value", "amount_minor": amount_minor, "card": number(n)});
        self.try_post("/v1/sales", &json!({"currency": "CNY", "lines": [line], "tenders": [tender]})).await
    }

    pub(crate) async fn close_day(&self) {
        self.post("/v1/day/close", &json!({})).await;
    }

    pub(crate) fn available(&self, account: i64) -> i64 {
        self.edge.store().read(|tx| allotment::get(tx, purse(account))).unwrap().available_minor()
    }

    /// The same disk after a restart.
    pub(crate) async fn restart(self) -> Self {
        self.edge.close().await;
        let Self { folder, office, clock, token, keys, .. } = self;
        let edge = Edge::start(parts(folder.path(), &office, &clock)).await.unwrap();
        Self { folder, office, clock, edge, token, keys }
    }
}
