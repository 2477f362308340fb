//! A shop for tests: a store on a temporary disk, two tills, a hand-wound clock and a head office that is a few maps.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use huitong_protocol::allotment::Purse;
use huitong_protocol::bundle::{Bundle, PolicyKey, Signed};
use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::decline::Elsewhere;
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use huitong_protocol::member::{MemberKeys, PhoneKey, SealingKey};
use huitong_protocol::money::Currency;
use huitong_protocol::organisation::Store as StoreRecord;
use huitong_protocol::till::TotalBalance;
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow, Grant, Need, Purpose};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Hub, HubReply, Ledger};
use crate::api::{Api, router};
use crate::clock::Clock;
use crate::line::Line;
use crate::store::identity::{self, Identity};
use crate::store::{Store, StoreError, StoreOptions, WriteTx, allotment, card, member, policy, replica, setting, till};
use crate::till::{Permissions, Token, TokenKey};

pub(crate) const CNY: Unit = Unit::Money(Currency::CNY);

/// 10:00 on 22 November 2026 in Shanghai.
pub(crate) const MORNING: Instant = Instant(1_795_312_800_000);

pub(crate) const POLICY: &str = r#"
name = "test"
currency = "CNY"

[[products]]
id = "SV"
name = "stored value"
issuer = "E1"
ranges = [{ prefix = "6601", length = 16, check = "none" }]
load_minor_max = 500000
balance_minor_max = 800000

[[tenders]]
code = "cash"
class = "external"
may_load = true
invoiceable = true

[[tenders]]
code = "voucher"
class = "external"

[[tenders]]
code = "stored_value"
class = "stored_value"

[returns]
without_receipt = true
without_receipt_minor_max = 20000
"#;

/// A clock that moves when it is wound.
pub(crate) struct HandClock {
    shown_ms: AtomicI64,
    elapsed_ms: AtomicI64,
}

impl HandClock {
    pub(crate) fn at(start: Instant) -> Self {
        Self { shown_ms: AtomicI64::new(start.0), elapsed_ms: AtomicI64::new(0) }
    }

    /// Time passes; where it is wound back somebody sets the clock.
    pub(crate) fn wind(&self, span_ms: i64) {
        self.elapsed_ms.fetch_add(span_ms.max(0), Ordering::Relaxed);
        self.set_by(span_ms);
    }

    /// Somebody sets the clock, and no time passes.
    pub(crate) fn set_by(&self, span_ms: i64) {
        self.shown_ms.fetch_add(span_ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Instant {
        Instant(self.shown_ms.load(Ordering::Relaxed))
    }

    fn elapsed_ms(&self) -> i64 {
        self.elapsed_ms.load(Ordering::Relaxed)
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// Head office in a few maps. Grants all that is free to whoever asks.
#[derive(Default)]
pub(crate) struct FakeHub {
    pub(crate) world: Mutex<HubWorld>,
    /// Told when a question has come in.
    pub(crate) asked: tokio::sync::Notify,
    /// While held, questions wait.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(crate) struct HubWorld {
    pub(crate) online: bool,
    pub(crate) cards: HashMap<CardNumber, Card>,
    pub(crate) free_minor: HashMap<AccountId, i64>,
    pub(crate) granted_minor: HashMap<AccountId, i64>,
    pub(crate) elsewhere: Vec<Elsewhere>,
    pub(crate) is_closed: bool,
    pub(crate) questions: Vec<Vec<Need>>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) lost: Vec<Purse>,
}

impl FakeHub {
    fn online() -> Arc<Self> {
        let hub = Self::default();
        hub.world.lock().unwrap().online = true;
        Arc::new(hub)
    }
}

#[async_trait]
impl Hub for FakeHub {
    async fn ask(&self, needs: Vec<Need>, totals: bool) -> HubReply {
        self.asked.notify_one();
        let _open = self.gate.lock().await;
        let mut world = self.world.lock().unwrap();
        let stamp = world.stamp.unwrap_or(Stamp::ZERO);
        world.questions.push(needs.clone());
        if !world.online {
            return HubReply::Unreachable;
        }
        let (mut grants, mut cards, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for need in needs {
            let Some(mut card) = world.cards.get(&need.card).cloned() else { continue };
            if need.purpose == Purpose::Sell && card.allocated_store.is_none() {
                card.allocated_store = Some(store_id());
                world.cards.insert(card.number, card.clone());
            }
            let free = world.free_minor.insert(card.account, 0).unwrap_or(0);
            let granted = world.granted_minor.entry(card.account).or_default();
            *granted += free;
            let granted_minor = *granted;
            if totals {
                whole.push(TotalBalance {
                    unit: need.unit,
                    balance_minor: granted_minor,
                    elsewhere: Vec::new(),
                    as_of_ms: MORNING,
                });
            }
            if granted_minor > 0 {
                grants.push(Grant { account: card.account, unit: need.unit, granted_minor, stamp });
            }
            cards.push(card);
        }
        HubReply::Answered {
            grants,
            turn: Default::default(),
            cards,
            elsewhere: world.elsewhere.clone(),
            totals: whole,
            is_closed: world.is_closed,
        }
    }

    fn lost(&self, purses: Vec<Purse>) {
        self.world.lock().unwrap().lost.extend(purses);
    }
}

pub(crate) fn store_id() -> StoreId {
    StoreId::new("S1").unwrap()
}

pub(crate) fn account(number: i64) -> AccountId {
    AccountId::new(number).unwrap()
}

pub(crate) fn purse(number: i64) -> Purse {
    Purse { account: account(number), unit: CNY }
}

/// Card n opens account n.
pub(crate) fn number(n: i64) -> String {
    format!("6601{n:012}")
}

pub(crate) fn card(n: i64, status: CardStatus) -> Card {
    Card {
        number: CardNumber::new(&number(n)).unwrap(),
        product: "SV".parse().unwrap(),
        account: account(n),
        status,
        status_stamp: Stamp(1),
        allocated_store: (status == CardStatus::Blank).then(store_id),
        member: None,
        expires_on: None,
    }
}

/// What enrolment says of how people are taken down.
pub(crate) fn member_keys() -> MemberKeys {
    let public = *member_secret().public_key().as_bytes();
    MemberKeys { phone: PhoneKey::new([7; 32]), sealing: SealingKey::new(public) }
}

/// The half that opens forms.
pub(crate) fn member_secret() -> crypto_box::SecretKey {
    crypto_box::SecretKey::from([5; 32])
}

/// The pair with which head office signs.
fn policy_pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[42; 32]).unwrap()
}

/// What enrolment says of it.
pub(crate) fn policy_key() -> PolicyKey {
    PolicyKey { from_version: 1, public_key: policy_pair().public_key().as_ref().to_vec() }
}

/// Head office's signature under anything.
pub(crate) fn sign(bytes: Vec<u8>) -> Signed {
    let signature = policy_pair().sign(&bytes).as_ref().to_vec();
    Signed { bytes, signature }
}

pub(crate) fn signed_policy(version: u64, effective_from: &str, document: &str) -> Signed {
    let from = effective_from.parse().unwrap();
    sign(Bundle::new("G1".parse().unwrap(), version, from, policy_key().id(), document.to_owned()).encode())
}

pub(crate) fn policy_page(version: u64, effective_from: &str, document: &str) -> DatasetPage {
    let rows = vec![DatasetRow::Policy(signed_policy(version, effective_from, document))];
    DatasetPage {
        dataset: DatasetKind::Policies,
        through_version: version,
        more: false,
        recovers: false,
        rows,
        phone_key: None,
    }
}

/// Writes what enrolment writes.
pub(crate) fn enrol(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    let record = StoreRecord {
        id: store_id(),
        name: "人民路店".to_owned(),
        legal_entity: "E1".parse().unwrap(),
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::CNY,
        rollover_hour: 4,
        opened_on: None,
        closed_on: None,
    };
    identity::put(tx, Identity::new("G1".parse().unwrap(), Epoch(1), record)?)?;
    setting::put(tx, "quotes.key", &"07".repeat(32))?;
    member::put_keys(tx, &member_keys())?;
    policy::pin(tx, &[policy_key()])
}

pub(crate) fn open_store(folder: &Path) -> Store {
    let store = Store::open(&folder.join("edge.db"), StoreOptions::default()).unwrap();
    store.continuity().trust();
    store
}

/// The shop.
pub(crate) struct Shop {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) hub: Arc<FakeHub>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) api: Router,
    keys: AtomicU64,
}

/// The tills: T1 may do everything, T2 sells.
pub(crate) const T1: u8 = 1;
pub(crate) const T2: u8 = 2;

pub(crate) fn token(till: u8) -> Token {
    Token::make(&TokenKey::derive(b"a test's"), format!("T{till}").parse().unwrap(), [till; 32])
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
    pub(crate) json: Value,
}

impl Reply {
    #[track_caller]
    pub(crate) fn approved(self) -> Value {
        assert_eq!((self.status, &self.json["decision"]), (StatusCode::OK, &json!("approved")), "{}", self.json);
        self.json
    }

    #[track_caller]
    pub(crate) fn declined(self, code: &str) -> Value {
        assert_eq!(
            (self.status, &self.json["decision"], &self.json["code"]),
            (StatusCode::OK, &json!("declined"), &json!(code)),
            "{}",
            self.json
        );
        self.json
    }

    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status.as_u16(), &self.json["code"]), (status, &json!(code)), "{}", self.json);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        self.json
    }

    pub(crate) fn witness(&self) -> String {
        self.headers["huitong-witness"].to_str().unwrap().to_owned()
    }
}

impl Shop {
    /// An enrolled store with a policy and two tills, cards 1 to 9 in use and empty, cards 11 to 19 blank and allocated here; the day is not open.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open_store(folder.path());
        store
            .write(|tx| {
                enrol(tx)?;
                replica::apply_page(tx, &policy_page(1, "2026-01-01", POLICY))?;
                for n in 1..10 {
                    card::upsert_from_hub(tx, &card(n, CardStatus::Active), None)?;
                    card::upsert_from_hub(tx, &card(n + 10, CardStatus::Blank), None)?;
                }
                till::pair(tx, MORNING, "T1".parse().unwrap(), Permissions::ALL, token(T1).hash())?;
                till::pair(tx, MORNING, "T2".parse().unwrap(), Permissions::default(), token(T2).hash())
            })
            .await
            .unwrap();
        Self::over(folder, store, FakeHub::online())
    }

    /// A store that was installed and nothing else, but for a till.
    pub(crate) async fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open_store(folder.path());
        let paired =
            |tx: &mut WriteTx<'_>| till::pair(tx, MORNING, "T1".parse().unwrap(), Permissions::ALL, token(T1).hash());
        store.write(paired).await.unwrap();
        Self::over(folder, store, FakeHub::online())
    }

    fn over(folder: tempfile::TempDir, store: Store, hub: Arc<FakeHub>) -> Self {
        let clock = Arc::new(HandClock::at(MORNING));
        let asks: Arc<dyn Hub> = hub.clone();
        let ledger = Arc::new(Ledger::new(store.clone(), asks));
        let line = Arc::new(Line::default());
        line.policies.resume(Some(MORNING));
        line.cards.resume(Some(MORNING));
        let api =
            Api::new(Arc::clone(&ledger), clock.clone(), Arc::clone(&line), &crate::config::EdgeConfig::default());
        let api = router(api, Router::new());
        Self { folder, store, ledger, hub, clock, api, keys: AtomicU64::new(1) }
    }

    /// The shop with its day open.
    pub(crate) async fn opened() -> Self {
        let shop = Self::new().await;
        shop.post(T1, "/v1/day/open", &json!({})).await.approved();
        shop
    }

    /// The same disk and head office after a restart.
    pub(crate) fn restart(self) -> Self {
        let Self { folder, store, ledger, api, keys, hub, .. } = self;
        drop((ledger, api));
        store.close();
        let store = open_store(folder.path());
        Self { keys, ..Self::over(folder, store, hub) }
    }

    pub(crate) fn key(&self) -> String {
        format!("00000000-0000-7000-8000-{:012}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.api.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status: parts.status, headers: parts.headers, bytes, json }
    }

    pub(crate) async fn post_with(&self, till: u8, path: &str, key: &str, body: impl Into<Vec<u8>>) -> Reply {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {}", token(till).reveal()))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body.into()))
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn post(&self, till: u8, path: &str, body: &Value) -> Reply {
        self.post_with(till, path, &self.key(), body.to_string()).await
    }

    pub(crate) async fn get(&self, till: u8, path: &str) -> Reply {
        let request = Request::get(path).header("authorization", format!("Bearer {}", token(till).reveal()));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Value for card n that came from head office.
    pub(crate) async fn granted(&self, n: i64, granted_minor: i64) {
        let grant = Grant { account: account(n), unit: CNY, granted_minor, stamp: Stamp::ZERO };
        self.store.write(move |tx| allotment::adopt_grants(tx, MORNING, &[grant])).await.unwrap();
    }

    pub(crate) fn available(&self, n: i64) -> i64 {
        self.store.read(|tx| allotment::get(tx, purse(n))).unwrap().available_minor()
    }

    pub(crate) async fn sell(&self, n: i64, amount_minor: i64) -> Reply {
        self.post(T1, &format!("/v1/cards/{}/sell", number(n)), &load(amount_minor)).await
    }

    pub(crate) async fn reload(&self, n: i64, amount_minor: i64) -> Reply {
        self.post(T1, &format!("/v1/cards/{}/reload", number(n)), &load(amount_minor)).await
    }

    pub(crate) async fn spend(&self, till: u8, n: i64, amount_minor: i64) -> Reply {
        self.post(till, "/v1/sales", &sale(&[line(amount_minor)], &[by_card(n, amount_minor)])).await
    }

    pub(crate) async fn void(&self, receipt: &Value) -> Reply {
        let path = format!("/v1/operations/{}/void", receipt.as_str().unwrap());
        self.post(T1, &path, &json!({"reason": "mistake"})).await
    }
}

pub(crate) fn cash(amount_minor: i64) -> Value {
    json!({"tender": "cash", "amount_minor": amount_minor})
}

pub(crate) fn by_card(n: i64, amount_minor: i64) -> Value {
    json!({"tender": "stored_value", "amount_minor": amount_minor, "card": number(n)})
}

pub(crate) fn line(net_minor: i64) -> Value {
    json!({"sku": "A1", "quantity_thousandths": 1000, "gross_minor": net_minor, "net_minor": net_minor, "tax_ppm": 130_000})
}

pub(crate) fn load(amount_minor: i64) -> Value {
    let tenders = if amount_minor == 0 { vec![] } else { vec![cash(amount_minor)] };
    json!({"currency": "CNY", "amount_minor": amount_minor, "tenders": tenders, "operator": "O1"})
}

pub(crate) fn sale(lines: &[Value], tenders: &[Value]) -> Value {
    json!({"currency": "CNY", "lines": lines, "tenders": tenders})
}
