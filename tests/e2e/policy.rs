//! A policy on its way: signed at head office, downloaded in the store, in force from its business day, and every step to be seen.

use std::sync::Arc;

use huitong_protocol::id::{OperationId, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_tests::documents;
use huitong_tests::replay::cards;
use huitong_tests::till::approved;
use huitong_tests::town::{Plan, Shop, Town, Transport};
use huitong_tests::wire::Wire;
use serde_json::{Value, json};

/// 08:00 on 22 November 2026 in Shanghai.
const START: Instant = Instant(1_795_305_600_000);
const DAY_MS: i64 = 24 * 3_600_000;

fn day(text: &str) -> BusinessDay {
    text.parse().unwrap()
}

fn document(load_minor_max: i64) -> String {
    let policy = documents::policy("CNY", "release = { when = \"at_close\" }\n");
    policy.replace("issuer = \"E1\"", &format!("issuer = \"E1\"\nload_minor_max = {load_minor_max}"))
}

fn plan(folder: &std::path::Path, stores: &[&str]) -> Plan {
    let stores: Vec<StoreId> = stores.iter().map(|store| store.parse().unwrap()).collect();
    Plan {
        data: folder.to_owned(),
        transport: Transport::Memory,
        start: START,
        currency: Currency::CNY,
        time_zone: "Asia/Shanghai".to_owned(),
        cards: vec![(cards::of_household(1), stores[0])],
        stores,
        product: "SV".to_owned(),
        policy: document(100_000),
        agreement: documents::agreement("CNY", "pool", "2020-01-01", 0, 0, "restore"),
        effective_from: day("2020-01-01"),
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    }
}

struct Keys(u128);

impl Keys {
    fn next(&mut self) -> OperationId {
        self.0 += 1;
        OperationId(uuid::Uuid::from_u128((7 << 76) | (2 << 62) | self.0))
    }
}

/// A store's row of `policy adoption`.
async fn adoption(town: &Town, store: &str) -> Value {
    let all = town.head_office(&["policy", "adoption"]).await.unwrap();
    all.as_array().unwrap().iter().find(|row| row["store"] == store).cloned().unwrap()
}

fn seen(row: &Value) -> Value {
    json!([row["standing"], row["downloaded"], row["in_force"], row["used"]])
}

async fn publish(town: &Town, folder: &std::path::Path, text: &str, from: &str) -> Value {
    let file = folder.join("next.toml");
    std::fs::write(&file, text).unwrap();
    town.head_office(&["policy", "publish", file.to_str().unwrap(), "--effective-from", from]).await.unwrap()
}

/// What the store says of its policies.
fn held(shop: &Shop) -> (u64, u64) {
    let committed = shop.edge.store().committed();
    (committed.policy_held, committed.replica.policy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_published_downloaded_and_in_force_from_its_business_day() {
    let folder = tempfile::tempdir().unwrap();
    let town = Town::build(&plan(folder.path(), &["S1", "S2"])).await.unwrap();
    let (shop, card) = (town.shop("S1".parse().unwrap()).unwrap(), cards::of_household(1));
    let mut keys = Keys(0);
    assert_eq!(seen(&adoption(&town, "S1").await), json!(["current", 1, 1, null]), "told with the first download");
    approved(shop.till.open_day(keys.next(), Some(day("2026-11-22"))).await.unwrap()).unwrap();
    approved(shop.till.sell(keys.next(), card, 50_000).await.unwrap()).unwrap();
    approved(shop.till.spend(keys.next(), card, 100).await.unwrap()).unwrap();

    let published = publish(&town, folder.path(), &document(20_000), "2026-11-23").await;
    assert_eq!(published["version"], 2);
    shop.download().await.unwrap();
    assert_eq!(held(&shop), (2, 1), "downloaded the evening before, in force tomorrow");
    assert_eq!(shop.till.status().await.unwrap().policy_version, 1);
    approved(shop.till.reload(keys.next(), card, 50_000).await.unwrap()).unwrap();
    shop.upload_all().await.unwrap();
    let evening = adoption(&town, "S1").await;
    assert_eq!(seen(&evening), json!(["current", 2, 1, 1]));
    assert_eq!(seen(&adoption(&town, "S2").await)[1], 1, "the other store has not asked yet");
    assert_eq!(adoption(&town, "S2").await["standing"], "behind");

    approved(shop.till.close_day(keys.next()).await.unwrap()).unwrap();
    town.clock.wind_ms(DAY_MS);
    approved(shop.till.open_day(keys.next(), Some(day("2026-11-23"))).await.unwrap()).unwrap();
    assert_eq!(held(&shop), (2, 2));
    let refused = shop.till.reload(keys.next(), card, 50_000).await.unwrap();
    let refused = huitong_tests::till::declined(refused).unwrap();
    assert_eq!(refused.code, huitong_protocol::decline::DeclineCode::LoadLimit, "the new limit holds");
    approved(shop.till.spend(keys.next(), card, 100).await.unwrap()).unwrap();
    shop.upload_all().await.unwrap();
    shop.reported().await.unwrap();
    let morning = adoption(&town, "S1").await;
    assert_eq!(seen(&morning), json!(["current", 2, 2, 2]));
    assert!(morning["used_since_ms"].as_i64() > evening["used_since_ms"].as_i64());
    assert_eq!(town.verify().await.unwrap(), Vec::<String>::new());
    drop(shop);
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_the_store_cannot_trust_is_an_exception_at_head_office() {
    let folder = tempfile::tempdir().unwrap();
    let town = Town::build(&plan(folder.path(), &["S1"])).await.unwrap();
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    publish(&town, folder.path(), &document(20_000), "2026-11-22").await;
    // Somebody with access to the hub's database changes a limit in what was signed.
    let tamper = |tx: &mut huitong_hub::store::Tx<'_>| {
        let bundle = huitong_hub::store::policy::find(tx, 2)?.unwrap().bundle.encode();
        let at = bundle.windows(5).position(|digits| digits == b"20000").unwrap();
        let mut forged = bundle.clone();
        forged[at] = b'9';
        tx.execute("UPDATE policy SET bundle = $1 WHERE version = 2", &[forged.as_slice().into()])
    };
    town.hub.store.write(tamper).await.unwrap();
    shop.download().await.unwrap();
    assert_eq!(held(&shop), (1, 1));
    let exceptions = town.head_office(&["exception", "list"]).await.unwrap();
    let classes: Vec<&str> = exceptions.as_array().unwrap().iter().map(|row| row["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["policy_refused"], "{exceptions}");
    let row = adoption(&town, "S1").await;
    assert_eq!(seen(&row), json!(["refused", 1, 1, null]));
    assert_eq!((&row["refused"][0]["version"], &row["refused"][0]["fault"]), (&2.into(), &"policy_signature".into()));
    // Published anew, it is taken and the store is current again.
    publish(&town, folder.path(), &document(30_000), "2026-11-22").await;
    shop.download().await.unwrap();
    assert_eq!(seen(&adoption(&town, "S1").await), json!(["current", 3, 3, null]));
    drop(shop);
    town.close().await.unwrap();
}
