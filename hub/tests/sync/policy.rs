//! Policies on the wire: signed when they are published, trusted from the enrolment on, and what stores say of them is kept.

use huitong_hub::adoption::{self, Standing};
use huitong_hub::policy_key::PolicyPair;
use huitong_hub::publish;
use huitong_protocol::bundle::{PolicyFault, PolicyKey, PolicyState, RefusedPolicy, Trust};
use huitong_protocol::entry::{Body, Entry, Sale};
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{
    DatasetKind, DatasetPage, DatasetRequest, DatasetRow, Nothing, Refused, ReportOnly, Request, SyncFault, path,
    to_msgpack,
};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::fake::{FakeStore, World, unpack};

pub(crate) const STANDARD: &str = include_str!("../../../config/policies/standard.toml");

fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

impl World {
    pub(crate) async fn publish(&self, name: &str, from: &str) -> u64 {
        let (store, file) = (self.hub.store.clone(), self.key_file());
        let (document, from, now) = (format!("# {name}\n{STANDARD}"), from.parse().unwrap(), self.hub.now());
        let publish = move || {
            let pair = PolicyPair::open_trusted(&store, &file).unwrap();
            publish::publish_policy(&store, pair, &document, from, now).unwrap().version
        };
        tokio::task::spawn_blocking(publish).await.unwrap()
    }

    async fn rotate(&self) -> PolicyKey {
        let (store, file) = (self.hub.store.clone(), self.key_file());
        let rotate = move || PolicyPair::open_trusted(&store, &file).unwrap().rotate(&store).unwrap();
        tokio::task::spawn_blocking(rotate).await.unwrap()
    }

    async fn adoption(&self, store: &str) -> adoption::Adoption {
        let now = self.hub.now();
        let all = self.read(move |tx| adoption::look(tx, now)).await;
        all.into_iter().find(|adoption| adoption.store.as_str() == store).unwrap()
    }
}

impl FakeStore {
    /// Every row of the policies after a version, a page at a time.
    async fn policies(&self, mut after_version: u64) -> Vec<(u64, DatasetRow)> {
        let mut found = Vec::new();
        loop {
            let request = DatasetRequest { dataset: DatasetKind::Policies, after_version, limit: 100 };
            let page: DatasetPage = self.call(path::DATASET, None, request).await.unwrap().body;
            assert!(page.rows.len() <= 1, "a policy may be megabytes: one a page");
            found.extend(page.rows.into_iter().map(|row| (page.through_version, row)));
            after_version = page.through_version;
            if !page.more {
                return found;
            }
        }
    }

    pub(crate) async fn says(&self, state: PolicyState) -> Result<(), Refused> {
        let request = Request { report: None, policy: Some(state), body: ReportOnly {} };
        let sent = self.send(path::REPORT, &self.session, self.next_nonce(), to_msgpack(&request)).await;
        unpack::<huitong_protocol::wire::Answer<Nothing>>(sent).map(drop)
    }

    /// A sale under a version of the policy.
    fn sell_under(&mut self, version: u64) -> Instant {
        let body = Body::Sale(Sale {
            currency: Currency::CNY,
            member: None,
            lines: Vec::new(),
            tenders: Vec::new(),
            total_minor: 0,
            allocation: Vec::new(),
            invoiceable: Vec::new(),
            shopper: None,
            coupons: Vec::new(),
            markdowns: Vec::new(),
            policy_version: 1,
            priced_at_ms: huitong_protocol::time::Instant(0),
            priced_offset_minutes: huitong_protocol::time::CivilOffset::new(480).unwrap(),
            budgets_spent: Vec::new(),
            invoiceable_tenders: Vec::new(),
            earned: None,
            deferred: None,
            movements: Vec::new(),
            payment_unknown: None,
            taken_at_ms: None,
        });
        let mut header = self.header(&body);
        header.replica.policy = version;
        let at_ms = header.at_ms;
        self.journal.push(Entry { header, body }.encode());
        at_ms
    }
}

#[tokio::test]
async fn a_store_can_prove_everything_from_what_its_enrolment_said() {
    let world = World::new().await;
    assert_eq!(world.publish("one", "2026-01-01").await, 1);
    let new = world.rotate().await;
    assert_eq!((new.from_version, world.publish("two", "2026-02-01").await), (2, 3));
    world.token("S1", "token").await;
    let mut store = FakeStore::new(world.router.clone(), "S1", 1);
    let enrolled = store.enrol("token").await.unwrap();
    assert_eq!(enrolled.policy_keys.len(), 2);
    store.hello().await.unwrap();
    let rows = store.policies(0).await;
    let opened = |keys: &[PolicyKey]| {
        let trust = Trust { group: enrolled.group, keys };
        let open = |(version, row): &(u64, DatasetRow)| match row {
            DatasetRow::Policy(signed) => trust.open_policy(signed, *version, &verify).map(|bundle| bundle.version),
            DatasetRow::PolicyKey(signed) => trust.open_key(signed, *version, &verify).map(|key| key.from_version),
            other => panic!("{other:?}"),
        };
        rows.iter().map(open).collect::<Vec<_>>()
    };
    assert_eq!(opened(&enrolled.policy_keys), [Ok(1), Ok(2), Ok(3)]);
    // A store that was enrolled before knows the first key only, until it has read the announcement.
    let before = opened(&enrolled.policy_keys[..1]);
    assert_eq!((&before[0], &before[1]), (&Ok(1), &Ok(2)));
    assert_eq!(before[2].as_ref().unwrap_err().fault, PolicyFault::PolicyKey);
    let DatasetRow::Policy(signed) = &rows[2].1 else { panic!("a policy") };
    let trust = Trust { group: enrolled.group, keys: &enrolled.policy_keys };
    let bundle = trust.open_policy(signed, 3, &verify).unwrap();
    assert_eq!(bundle.document, format!("# two\n{STANDARD}"), "the document byte by byte");
}

#[tokio::test]
async fn head_office_sees_how_far_each_store_is() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    world.publish("two", "2099-01-01").await;
    let mut store = world.store("S1").await;
    assert_eq!(world.adoption("S1").await.standing, Standing::Unheard);
    let state = |held, in_force| PolicyState { held, in_force, refused: Vec::new() };
    store.says(state(1, 1)).await.unwrap();
    let behind = world.adoption("S1").await;
    assert_eq!((behind.standing, behind.downloaded, behind.due), (Standing::Behind, Some(1), 1));
    let heard = world.hub.now();
    world.clock.0.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
    store.says(state(2, 1)).await.unwrap();
    let current = world.adoption("S1").await;
    assert_eq!((current.standing, current.downloaded, current.in_force), (Standing::Current, Some(2), Some(1)));
    assert_eq!(current.downloaded_since_ms, Some(heard.plus_ms(60_000)));
    assert_eq!(current.in_force_since_ms, Some(heard), "what stays has its first moment");
    assert_eq!(current.used, None);
    store.write(crate::journal::open());
    let first = store.sell_under(1);
    store.sell_under(1);
    store.upload(store.segment(0, 3)).await.unwrap();
    let used = world.adoption("S1").await;
    assert_eq!((used.used, used.used_since_ms), (Some(1), Some(first)));
    let changed = store.sell_under(2);
    store.upload(store.segment(3, 4)).await.unwrap();
    store.upload(store.segment(0, 4)).await.unwrap();
    let used = world.adoption("S1").await;
    assert_eq!((used.used, used.used_since_ms), (Some(2), Some(changed)));
    assert_eq!(world.adoption("S2").await.standing, Standing::Unheard);
}

#[tokio::test]
async fn a_hub_from_a_backup_publishes_above_what_stores_hold() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    let store = world.store("S1").await;
    store.says(PolicyState { held: 7, in_force: 7, refused: Vec::new() }).await.unwrap();
    assert_eq!(world.adoption("S1").await.standing, Standing::Ahead);
    assert_eq!(world.publish("two", "2026-01-01").await, 8);
    assert_eq!(world.rotate().await.from_version, 9);
    let versions: Vec<u64> = store.policies(7).await.into_iter().map(|(version, _)| version).collect();
    assert_eq!(versions, [8, 9]);
    // A store that invents numbers does not use them up.
    store.says(PolicyState { held: i64::MAX.unsigned_abs(), in_force: 7, refused: Vec::new() }).await.unwrap();
    assert_eq!(world.publish("three", "2026-01-01").await, 10);
}

#[tokio::test]
async fn a_refused_policy_raises_one_exception() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    let store = world.store("S1").await;
    let refused = RefusedPolicy::new(2, PolicyFault::PolicySignature, "the signature is not of key 00");
    let state = PolicyState { held: 1, in_force: 1, refused: vec![refused.clone()] };
    store.says(state.clone()).await.unwrap();
    // Whoever forges policies may claim any version; that makes no more of them.
    for version in 3..6 {
        let claimed = RefusedPolicy { version, ..refused.clone() };
        store.says(PolicyState { refused: vec![claimed], ..state.clone() }).await.unwrap();
    }
    store.says(state.clone()).await.unwrap();
    assert_eq!(world.exceptions().await, ["policy_refused"]);
    let adoption = world.adoption("S1").await;
    assert_eq!((adoption.standing, adoption.refused), (Standing::Refused, vec![refused.clone()]));
    store.says(PolicyState { refused: Vec::new(), ..state }).await.unwrap();
    assert_eq!(world.adoption("S1").await.standing, Standing::Current);
    // More than a store keeps, or than a hub can count, is no state.
    let many = PolicyState { held: 1, in_force: 1, refused: vec![refused; PolicyState::REFUSED_MAX + 1] };
    assert_eq!(store.says(many).await.unwrap_err().fault, SyncFault::Malformed);
    let huge = PolicyState { held: u64::MAX, ..PolicyState::default() };
    assert_eq!(store.says(huge).await.unwrap_err().fault, SyncFault::Malformed);
}
