//! Shop: the store's own code over a device, from its routes down to the engine, with a head office of a few maps and a clock set by hand.
//!
//! What a till sends goes through the same routes as in a shop. Sync is not here: what it writes into the database is done by name, as the pages,
//! grants and acknowledgements that it would have brought.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use huitong_edge::api::{Api, router};
use huitong_edge::clock::Clock;
use huitong_edge::config::EdgeConfig;
use huitong_edge::continuity::Prover;
use huitong_edge::ledger::{Hub, HubReply, Ledger};
use huitong_edge::line::Line;
use huitong_edge::store::identity::{self, Identity};
use huitong_edge::store::tenure::HubTurn;
use huitong_edge::store::{
    Disk, Store, StoreError, StoreOptions, WriteTx, card, member, policy, replica, setting, till,
};
use huitong_edge::till::{Permissions, Token, TokenKey};
use huitong_protocol::allotment::Purse;
use huitong_protocol::bundle::{Bundle, PolicyKey, Signed};
use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::{AccountId, Epoch, MemberId, OperationId, StoreId, TerminalId};
use huitong_protocol::member::{Member, MemberKeys, Phone, PhoneKey, SealingKey};
use huitong_protocol::money::Currency;
use huitong_protocol::organisation::Store as StoreRecord;
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow, Grant, Need};
use ring::signature::{Ed25519KeyPair, KeyPair};
use tower::ServiceExt as _;

use super::device::{Device, Faults};
use super::file_system::{Mount, NAME, rewrite};
use super::image::Image;
use crate::replay::cards;

/// 10:00 on 22 November 2026 in Shanghai.
pub const MORNING: Instant = Instant(1_795_312_800_000);
/// The unit of the cards' value.
pub const CNY: Unit = Unit::Money(Currency::CNY);
/// Cards 1 to 8 are in use, 11 to 18 blank and allocated here.
pub const CARDS: std::ops::RangeInclusive<u32> = 1..=8;
/// The log is copied back after so few pages, so that a day has many checkpoints.
const CHECKPOINT_PAGES: i32 = 48;
/// So small that pages are read again and again, and large transactions spill into the log.
const CACHE_KIB: u32 = 96;
const TOKEN: [u8; 32] = [1; 32];
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What the chain of this store has published.
pub const POLICY: &str = r#"
name = "disk"
currency = "CNY"

[[products]]
id = "SV"
name = "stored value"
issuer = "E1"
ranges = [{ prefix = "9000", length = 15, check = "damm" }]
load_minor_max = 500000
balance_minor_max = 800000
spend_day_minor_max = 300000

[[tenders]]
code = "cash"
class = "external"
may_load = true
invoiceable = true
gives_change = true

[[tenders]]
code = "bank_card"
class = "external"
may_load = true
invoiceable = true
reference = "required"
reference_unique = true

[[tenders]]
code = "stored_value"
class = "stored_value"

[[tenders]]
code = "points"
class = "points"
earns_points = false
counts_as = "discount"

[returns]
without_receipt = true
without_receipt_minor_max = 20000

[points]
earn = { per_minor = 100, points = 1, base_minor_min = 0 }
burn = { points = 100, worth_minor = 100, points_min = 100, share_ppm_max = 300000 }
pending = { days = 7, may_burn = true }
"#;

/// How the store stands on its device.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// `PRAGMA synchronous`.
    pub synchronous: &'static str,
    /// What the store does with a log that it finds.
    pub rewrite: fn(&std::path::Path) -> std::io::Result<()>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { synchronous: "FULL", rewrite }
    }
}

/// A running store.
pub struct Shop {
    /// Where its database is.
    pub mount: Mount,
    /// Its database.
    pub store: Store,
    routes: Router,
    clock: Arc<SetClock>,
}

/// A store that could not be opened.
#[derive(Debug)]
pub struct Unopened {
    /// What is on the disk.
    pub image: Image,
    /// Why.
    pub error: StoreError,
}

/// What a till got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The body, byte by byte.
    pub bytes: Vec<u8>,
    /// Whether it was stored by an earlier request.
    pub replayed: bool,
    /// Where the journal was.
    pub witness: Option<String>,
}

struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Instant {
        Instant(self.0.load(Ordering::SeqCst))
    }

    fn elapsed_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// Head office: it knows the cards, and what it grants of each account in all. Made anew with each process, as its own disk is not in question.
struct HeadOffice {
    granted: Mutex<BTreeMap<AccountId, i64>>,
}

/// What head office grants of an account whenever it is asked, in all.
const GRANTED_MINOR: i64 = 30_000;

#[async_trait]
impl Hub for HeadOffice {
    async fn ask(&self, needs: Vec<Need>, _: bool) -> HubReply {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut grants, mut known) = (Vec::new(), Vec::new());
        for need in needs {
            let Some(card) = CARDS.map(in_use).find(|card| card.number == need.card) else { continue };
            // Only the first account has anything beyond this store.
            let free = if card.account.get() == 1 && need.unit == CNY { GRANTED_MINOR } else { 0 };
            granted.insert(card.account, free);
            if free > 0 {
                grants.push(Grant {
                    account: card.account,
                    unit: need.unit,
                    granted_minor: free,
                    stamp: Stamp(MORNING.0),
                });
            }
            known.push(card);
        }
        let (turn, totals) = (HubTurn::default(), Vec::new());
        HubReply::Answered { turn, grants, cards: known, elsewhere: Vec::new(), totals, is_closed: false }
    }

    fn lost(&self, _: Vec<Purse>) {}
}

impl Shop {
    /// Opens the store on an image, as a process that starts does.
    ///
    /// # Errors
    /// What the store complains of: the device may fail already here.
    pub fn open(image: Image, faults: Faults, standing: Standing) -> Result<Self, Box<Unopened>> {
        Self::open_watched(Device::new(image, faults), standing)
    }

    /// As [`Shop::open`], on a device that somebody watches already.
    ///
    /// # Errors
    /// As [`Shop::open`].
    pub fn open_watched(device: Device, standing: Standing) -> Result<Self, Box<Unopened>> {
        let mount = Mount::new(device);
        let options = StoreOptions {
            readers: 1,
            cache_kib: CACHE_KIB,
            checkpoint_pages: CHECKPOINT_PAGES,
            disk: Some(Disk { vfs: NAME, synchronous: standing.synchronous, rewrite: standing.rewrite }),
        };
        let store = match Store::open(&mount.database(), options) {
            Ok(store) => store,
            Err(error) => return Err(Box::new(Unopened { image: mount.device.image(), error })),
        };
        // The script asks every till after each end; that they prove the start is told elsewhere.
        store.continuity().proved(Prover::Hub);
        let clock = Arc::new(SetClock(AtomicI64::new(MORNING.0)));
        let ledger = Arc::new(Ledger::new(store.clone(), Arc::new(HeadOffice { granted: Mutex::default() })));
        let line = Arc::new(Line::default());
        line.policies.resume(Some(MORNING));
        line.cards.resume(Some(MORNING));
        let api = Api::new(ledger, clock.clone(), line, &EdgeConfig::default());
        Ok(Self { mount, store, routes: router(api, Router::new()), clock })
    }

    /// Sets the clock so many seconds after the morning.
    pub fn set_clock(&self, seconds: i64) {
        self.clock.0.store(MORNING.0 + seconds * 1_000, Ordering::SeqCst);
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Posts an operation.
    ///
    /// # Errors
    /// When there was no answer to it: a problem is none.
    pub async fn post(
        &self,
        path: &str,
        key: OperationId,
        body: &[u8],
        witness: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::post(path)
            .header("authorization", format!("Bearer {}", token().reveal()))
            .header("content-type", "application/json")
            .header("idempotency-key", key.to_string());
        if let Some(witness) = witness {
            request = request.header("huitong-witness", witness);
        }
        let request = request.body(Body::from(body.to_vec())).context("could not make a request")?;
        let answer = match self.routes.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let (head, body) = answer.into_parts();
        let bytes = to_bytes(body, ANSWER_BYTES_MAX).await.context("could not read an answer")?.to_vec();
        ensure!(
            head.status == StatusCode::OK,
            "POST {path} was answered with {}: {}",
            head.status,
            String::from_utf8_lossy(&bytes)
        );
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { bytes, replayed: text("idempotency-replayed").is_some(), witness: text("huitong-witness") })
    }

    /// Whether the store has stopped because of its disk.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        *self.store.failed().borrow()
    }

    /// Ends the process and gives what its disk holds and shows. What the store does to close is done, as by a daemon that ends in order.
    #[must_use]
    pub fn end(self) -> Image {
        let Self { mount, store, routes, .. } = self;
        drop(routes);
        store.close();
        mount.device.image()
    }
}

/// What enrolment and the first download write.
///
/// # Errors
/// As the store says.
pub fn install(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    let record = StoreRecord {
        id: store_id(),
        name: "人民路店".to_owned(),
        legal_entity: "E1".parse().expect("a code"),
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::CNY,
        rollover_hour: 4,
        opened_on: None,
        closed_on: None,
    };
    identity::put(tx, Identity::new("G1".parse().expect("a code"), Epoch(1), record)?)?;
    setting::put(tx, "quotes.key", &"07".repeat(32))?;
    member::put_keys(tx, &MemberKeys { phone: PhoneKey::new([7; 32]), sealing: SealingKey::new([9; 32]) })?;
    policy::pin(tx, &[policy_key()])?;
    replica::apply_page(tx, &policy_page(1))?;
    for n in CARDS {
        card::upsert_from_hub(tx, &in_use(n), None)?;
        card::upsert_from_hub(tx, &blank(n + 10), None)?;
    }
    till::pair(tx, MORNING, t1(), Permissions::ALL, token().hash())
}

fn t1() -> TerminalId {
    "T1".parse().expect("a code")
}

fn token() -> Token {
    Token::make(&TokenKey::derive(b"a test's"), t1(), TOKEN)
}

/// The store's code.
///
/// # Panics
/// Never.
#[must_use]
pub fn store_id() -> StoreId {
    "S1".parse().expect("a code")
}

/// The account of card n.
///
/// # Panics
/// Never.
#[must_use]
pub fn account(n: u32) -> AccountId {
    AccountId::new(i64::from(n)).expect("a number above zero")
}

/// The number of card n.
#[must_use]
pub fn number(n: u32) -> CardNumber {
    cards::of_household(n)
}

fn in_use(n: u32) -> Card {
    Card {
        number: number(n),
        product: "SV".parse().expect("a code"),
        account: account(n),
        status: CardStatus::Active,
        status_stamp: Stamp(1),
        allocated_store: None,
        member: (n == 1).then_some(MemberId::FIRST),
        expires_on: None,
    }
}

fn blank(n: u32) -> Card {
    Card { status: CardStatus::Blank, allocated_store: Some(store_id()), member: None, ..in_use(n) }
}

fn signer() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[42; 32]).expect("any seed makes a key")
}

fn policy_key() -> PolicyKey {
    PolicyKey { from_version: 1, public_key: signer().public_key().as_ref().to_vec() }
}

/// A version of the policy, as head office publishes it.
///
/// # Panics
/// Never.
#[must_use]
pub fn policy_page(version: u64) -> DatasetPage {
    let (group, from) = ("G1".parse().expect("a code"), "2026-01-01".parse().expect("a day"));
    let document = POLICY.replace("disk", &format!("disk {version}"));
    let bytes = Bundle::new(group, version, from, policy_key().id(), document).encode();
    let signature = signer().sign(&bytes).as_ref().to_vec();
    let rows = vec![DatasetRow::Policy(Signed { bytes, signature })];
    DatasetPage {
        dataset: DatasetKind::Policies,
        through_version: version,
        more: false,
        recovers: false,
        rows,
        phone_key: None,
    }
}

/// A page with so many members.
///
/// # Panics
/// Never.
#[must_use]
pub fn member_page(version: u64, count: u32) -> DatasetPage {
    let key = PhoneKey::new([7; 32]);
    let rows = (1..=count).map(|n| {
        let phone = Phone::new(&format!("138001{n:05}")).expect("a phone");
        DatasetRow::Member(Member {
            id: MemberId::new(i64::from(n)).expect("a number above zero"),
            number: format!("88{n:05}").parse().expect("a number"),
            name: format!("张{n}"),
            pinyin: vec![format!("zhang {n}")],
            tier: None,
            tier_valid_from: None,
            tier_valid_to: None,
            birthday: None,
            segments: Vec::new(),
            phone_hash: Some(key.hash(&phone)),
            phone_masked: phone.masked(),
            active: true,
        })
    });
    let rows = rows.collect();
    DatasetPage {
        dataset: DatasetKind::Members,
        through_version: version,
        more: false,
        recovers: false,
        rows,
        phone_key: Some(key),
    }
}
