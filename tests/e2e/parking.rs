//! A night as the daemons live it: head office plans, stores hear of it over their polls, fetch their targets and get their value, and in the morning a
//! member pays in a store whose line is down.

use std::sync::Arc;
use std::time::Duration;

use huitong_edge::schedule::Job as StoreJob;
use huitong_edge::store::allotment;
use huitong_hub::schedule::Job;
use huitong_hub::worker;
use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{AccountId, OperationId, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use huitong_tests::documents;
use huitong_tests::replay::cards;
use huitong_tests::till::approved;
use huitong_tests::town::{Plan, Shop, Town, Transport};
use huitong_tests::wire::Wire;

/// 20:00 on 22 November 2026 in Shanghai.
const EVENING: Instant = Instant(1_795_348_800_000);
/// How often a condition is looked at, and how many times at most.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOKS_MAX: usize = 6_000;

fn key(number: u128) -> OperationId {
    OperationId(uuid::Uuid::from_u128((7 << 76) | (2 << 62) | number))
}

fn available(shop: &Shop) -> i64 {
    let purse = Purse { account: AccountId::new(1).unwrap(), unit: Unit::Money(Currency::CNY) };
    shop.edge.store().read(|tx| allotment::get(tx, purse)).unwrap().available_minor()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_night_parks_pays_in_the_morning_without_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let stores: Vec<StoreId> = ["S1", "S2"].map(|store| store.parse().unwrap()).to_vec();
    let plan = Plan {
        data: folder.path().to_owned(),
        transport: Transport::Memory,
        start: EVENING,
        currency: Currency::CNY,
        time_zone: "Asia/Shanghai".to_owned(),
        cards: vec![(cards::of_household(1), stores[0])],
        stores: stores.clone(),
        product: "SV".to_owned(),
        policy: documents::policy(
            "CNY",
            "release = { when = \"at_close\" }\nparking = { allocator = \"last_store\" }\n",
        ),
        agreement: documents::agreement("CNY", "pool", "2020-01-01", 0, 0, "restore"),
        effective_from: "2020-01-01".parse().unwrap(),
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    };
    let town = Town::build(&plan).await.unwrap();
    let [one, two] = [0, 1].map(|at| town.shop(stores[at]).unwrap());
    let card = cards::of_household(1);
    for (number, shop) in [(1, &one), (2, &two)] {
        town.connected(shop.id).await.unwrap();
        approved(shop.till.open_day(key(number), None).await.unwrap()).unwrap();
    }
    approved(one.till.sell(key(3), card, 5_000).await.unwrap()).unwrap();
    one.reported().await.unwrap();
    approved(two.till.spend(key(4), card, 500).await.unwrap()).unwrap();
    for (number, shop) in [(5, &one), (6, &two)] {
        approved(shop.till.close_day(key(number)).await.unwrap()).unwrap();
        shop.reported().await.unwrap();
        shop.upload_all().await.unwrap();
    }
    assert_eq!((available(&one), available(&two)), (0, 0), "everything is back at the close");

    worker::perform(&town.hub, Job::Park, town.hub.now()).await.unwrap();
    let mut look = tokio::time::interval(LOOK_EVERY);
    for _ in 0..LOOKS_MAX {
        if available(&two) > 0 {
            break;
        }
        look.tick().await;
    }
    assert_eq!((available(&one), available(&two)), (0, 4_500), "where the member was last");
    two.edge.schedule().run_now(StoreJob::Report).await.unwrap();
    assert_eq!(available(&two), 4_500, "and no more for asking again");

    two.wire.cut(true);
    town.clock.wind_ms(12 * 3_600_000);
    approved(two.till.open_day(key(7), None).await.unwrap()).unwrap();
    approved(two.till.spend(key(8), card, 4_500).await.unwrap()).unwrap();
    two.wire.cut(false);
    drop((one, two));
    town.close().await.unwrap();
}
