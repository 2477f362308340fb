//! What head office wants parked here: kept when the rest is released, asked for at night, and given up to a recall.

use huitong_protocol::allotment::{HubEvent, step};
use huitong_protocol::id::AccountId;
use huitong_protocol::wire::{DatasetKind, DatasetRow, Parked, Recall, path};

use super::testing::{CNY, Shop, parts, purse};
use crate::config::MarkerDir;
use crate::run::Edge;
use crate::schedule::Job;
use crate::store::parking;

const AT_CLOSE: &str = r#"{ when = "at_close" }"#;
const WHEN_IDLE: &str = r#"{ when = "when_idle", minutes = 15 }"#;

fn publish(shop: &Shop, account: i64, target_minor: impl Into<Option<i64>>) {
    let target_minor = target_minor.into();
    let parked = Parked { account: purse(account).account, unit: CNY, target_minor };
    shop.office.with(|office| office.publish(DatasetKind::Parking, DatasetRow::Parked(parked)));
}

/// Value comes into the pool from elsewhere.
fn fill_pool(shop: &Shop, account: i64, amount_minor: i64) {
    shop.office.with(|office| {
        let side = office.sides.entry(purse(account)).or_default();
        *side = step(side, HubEvent::Load { amount_minor }).unwrap();
    });
}

fn lacking(shop: &Shop) -> usize {
    shop.edge.store().read(|tx| parking::lacking(tx, None, 100)).unwrap().len()
}

#[tokio::test]
async fn a_target_is_kept_where_the_policy_would_keep_something_else() {
    for release in [AT_CLOSE, WHEN_IDLE] {
        let shop = Shop::new(release, 30).await;
        for account in 1..=3 {
            shop.reload(account, 500).await;
        }
        publish(&shop, 1, 200);
        publish(&shop, 2, 0);
        shop.edge.park().await.unwrap();
        assert_eq!(shop.available(1), 500, "{release}: the day is open, and its member may still be there");
        shop.clock.wind(16 * 60_000);
        shop.edge.wait_reported().await.unwrap();
        if release == AT_CLOSE {
            shop.close_day().await;
            shop.edge.wait_reported().await.unwrap();
        }
        assert_eq!([1, 2, 3].map(|account| shop.available(account)), [200, 0, 30], "{release}");
        shop.office.with(|office| assert_eq!(office.sides[&purse(1)].pool.free_minor(), 300, "{release}"));
    }
}

#[tokio::test]
async fn other_targets_release_what_was_kept_without_any_movement() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    publish(&shop, 1, 400);
    shop.edge.park().await.unwrap();
    shop.close_day().await;
    shop.edge.wait_reported().await.unwrap();
    assert_eq!(shop.available(1), 400);
    publish(&shop, 1, 100);
    shop.edge.park().await.unwrap();
    assert_eq!(shop.available(1), 100);
    let shop = shop.restart().await;
    publish(&shop, 1, 0);
    shop.edge.park().await.unwrap();
    assert_eq!(shop.available(1), 0, "nor does a restart forget it");
}

#[tokio::test]
async fn what_is_lacking_is_asked_for_and_asked_for_again_at_night() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.close_day().await;
    shop.edge.wait_reported().await.unwrap();
    fill_pool(&shop, 1, 150);
    publish(&shop, 1, 400);
    publish(&shop, 2, 70);
    assert_eq!(shop.edge.park().await.unwrap(), 2);
    assert_eq!((shop.available(1), shop.available(2)), (150, 0), "what other stores have not released is not there");
    fill_pool(&shop, 1, 1_000);
    fill_pool(&shop, 2, 1_000);
    shop.edge.schedule().run_now(Job::Report).await.unwrap();
    assert_eq!((shop.available(1), shop.available(2), lacking(&shop)), (400, 70, 0), "and no more than the target");
    shop.post("/v1/day/open", &serde_json::json!({"business_day": "2026-11-23"})).await;
    assert_eq!(shop.spend(1, 390).await["decision"], "approved");
    shop.edge.schedule().run_now(Job::Report).await.unwrap();
    assert_eq!(shop.available(1), 10, "by day value goes where its member is");
}

#[tokio::test]
async fn a_target_that_is_withdrawn_leaves_what_the_policy_keeps() {
    let shop = Shop::new(AT_CLOSE, 50).await;
    shop.reload(1, 500).await;
    publish(&shop, 1, 0);
    publish(&shop, 2, 70);
    shop.edge.park().await.unwrap();
    shop.close_day().await;
    shop.edge.wait_reported().await.unwrap();
    assert_eq!((shop.available(1), lacking(&shop)), (0, 1));
    for account in [1, 2] {
        publish(&shop, account, None);
    }
    fill_pool(&shop, 2, 1_000);
    assert_eq!(shop.edge.park().await.unwrap(), 0);
    assert_eq!((shop.available(2), lacking(&shop)), (0, 0), "what is not wanted any more is not asked for");
    shop.post("/v1/day/open", &serde_json::json!({"business_day": "2026-11-23"})).await;
    shop.reload(1, 500).await;
    shop.close_day().await;
    shop.edge.wait_reported().await.unwrap();
    assert_eq!(shop.available(1), 50, "as if head office had never wished anything");
}

#[tokio::test]
async fn a_line_that_is_withdrawn_goes_back_whole() {
    for release in [AT_CLOSE, WHEN_IDLE] {
        let (shop, risk) = (Shop::new(release, 50).await, AccountId::RISK.get());
        shop.close_day().await;
        shop.edge.wait_reported().await.unwrap();
        fill_pool(&shop, risk, 1_000);
        publish(&shop, risk, 400);
        shop.edge.park().await.unwrap();
        assert_eq!(shop.available(risk), 400, "{release}");
        shop.post("/v1/day/open", &serde_json::json!({"business_day": "2026-11-23"})).await;
        publish(&shop, risk, 500);
        shop.edge.park().await.unwrap();
        assert_eq!(shop.available(risk), 500, "{release}: by day too, as it is this store's own");
        publish(&shop, risk, None);
        shop.edge.park().await.unwrap();
        shop.clock.wind(16 * 60_000);
        shop.edge.wait_reported().await.unwrap();
        if release == AT_CLOSE {
            shop.close_day().await;
            shop.edge.wait_reported().await.unwrap();
        }
        assert_eq!(shop.available(risk), 0, "{release}: what the policy keeps of members' value is no line");
    }
}

#[tokio::test]
async fn a_day_that_is_open_asks_for_nothing_also_when_the_targets_come() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    fill_pool(&shop, 1, 1_000);
    publish(&shop, 1, 400);
    shop.edge.download().await.unwrap();
    assert_eq!((lacking(&shop), shop.available(1)), (1, 0), "its member may stand in another store by now");
    shop.office.with(|office| assert_eq!((office.count(path::PARKED), office.free(1)), (0, 1_000)));
    shop.close_day().await;
    publish(&shop, 2, 1);
    shop.edge.download().await.unwrap();
    assert_eq!((shop.available(1), shop.office.with(|office| office.free(1))), (400, 600));
}

#[tokio::test]
async fn a_store_that_has_not_proved_its_database_asks_for_nothing() {
    let mut shop = Shop::with(Shop::office(AT_CLOSE, 0), |config| config.store.marker_dir = MarkerDir::Off).await;
    shop.close_day().await;
    shop.edge.wait_reported().await.unwrap();
    shop.edge.close().await;
    let mut parts = parts(shop.folder.path(), &shop.office, &shop.clock);
    parts.config.store.marker_dir = MarkerDir::Off;
    shop.edge = Edge::start(parts).await.unwrap();
    fill_pool(&shop, 1, 1_000);
    publish(&shop, 1, 400);
    shop.edge.download().await.unwrap();
    shop.edge.schedule().run_now(Job::Report).await.unwrap();
    assert_eq!(shop.edge.park().await.unwrap(), 0);
    assert!(!shop.edge.store().continuity().is_open(), "its till has shown nothing yet");
    shop.office.with(|office| assert_eq!((office.count(path::PARKED), office.free(1)), (0, 1_000)));
    shop.edge.store().continuity().trust();
    assert_eq!((shop.edge.park().await.unwrap(), shop.available(1)), (0, 400));
}

#[tokio::test]
async fn what_was_parked_when_all_was_idle_is_looked_at_again_when_it_moves() {
    let shop = Shop::new(WHEN_IDLE, 0).await;
    for account in [1, 2] {
        publish(&shop, account, 200);
        shop.reload(account, 500).await;
    }
    shop.edge.park().await.unwrap();
    let rest = async || {
        shop.clock.wind(16 * 60_000);
        shop.edge.wait_reported().await.unwrap();
        [1, 2].map(|account| shop.available(account))
    };
    assert_eq!(rest().await, [200, 200]);
    shop.reload(1, 30).await;
    assert_eq!(rest().await, [200, 200]);
    shop.reload(2, 30).await;
    assert_eq!(shop.available(2), 230);
    publish(&shop, 1, 100);
    shop.edge.park().await.unwrap();
    assert_eq!(rest().await, [100, 200], "with another target also what has not moved");
}

#[tokio::test]
async fn a_grant_that_was_lost_is_not_granted_twice() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.close_day().await;
    shop.edge.wait_reported().await.unwrap();
    fill_pool(&shop, 1, 1_000);
    publish(&shop, 1, 400);
    shop.office.with(|office| {
        office.lose.insert(path::PARKED, 1);
    });
    assert!(shop.edge.park().await.is_err());
    assert_eq!(shop.available(1), 0);
    assert_eq!(shop.edge.park().await.unwrap(), 0);
    assert_eq!(shop.available(1), 400);
    shop.office.with(|office| assert_eq!(office.sides[&purse(1)].pool.free_minor(), 600));
}

#[tokio::test]
async fn a_recall_takes_what_is_parked_too() {
    let shop = Shop::new(AT_CLOSE, 0).await;
    shop.reload(1, 500).await;
    publish(&shop, 1, 500);
    shop.edge.park().await.unwrap();
    shop.office.with(|office| office.recalls.push((1, Recall { account: purse(1).account, unit: CNY })));
    shop.office
        .until("the parked value is back in the pool", |office| office.sides[&purse(1)].pool.free_minor() == 500)
        .await;
    assert_eq!(shop.available(1), 0);
}
