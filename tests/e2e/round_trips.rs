//! What a customer waits for at the till: how many messages a payment costs whose value is not in the store.

use std::sync::Arc;

use huitong_protocol::id::{OperationId, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::path;
use huitong_tests::documents;
use huitong_tests::replay::cards;
use huitong_tests::till::approved;
use huitong_tests::town::{Plan, Shop, Town, Transport};
use huitong_tests::wire::Wire;

/// 10:00 on 22 November 2026 in Shanghai.
const MORNING: Instant = Instant(1_795_312_800_000);

fn key(number: u128) -> OperationId {
    OperationId(uuid::Uuid::from_u128((7 << 76) | (2 << 62) | number))
}

/// The grants and reports that a store asked for and made.
fn sent(shop: &Shop) -> (u64, u64) {
    (shop.wire.sent(path::GRANT), shop.wire.sent(path::REPORT))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_top_up_costs_one_round_trip_and_a_recall_one_more() {
    let folder = tempfile::tempdir().unwrap();
    let stores: Vec<StoreId> = ["S1", "S2"].map(|store| store.parse().unwrap()).to_vec();
    let (pooled, held) = (cards::of_household(1), cards::of_household(2));
    let plan = Plan {
        data: folder.path().to_owned(),
        transport: Transport::Memory,
        start: MORNING,
        currency: Currency::CNY,
        time_zone: "Asia/Shanghai".to_owned(),
        cards: [pooled, held].map(|card| (card, stores[0])).to_vec(),
        stores: stores.clone(),
        product: "SV".to_owned(),
        policy: documents::policy("CNY", "release = { when = \"at_close\" }\n"),
        agreement: documents::agreement("CNY", "pool", "2020-01-01", 0, 0, "restore"),
        effective_from: "2020-01-01".parse().unwrap(),
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    };
    let town = Town::build(&plan).await.unwrap();
    let [one, two] = [0, 1].map(|at| town.shop(stores[at]).unwrap());
    for (number, shop) in [(1, &one), (2, &two)] {
        town.connected(shop.id).await.unwrap();
        approved(shop.till.open_day(key(number), None).await.unwrap()).unwrap();
    }
    approved(one.till.sell(key(3), pooled, 5_000).await.unwrap()).unwrap();
    approved(one.till.close_day(key(4)).await.unwrap()).unwrap();
    one.reported().await.unwrap();
    town.clock.wind_ms(24 * 3_600_000);
    approved(one.till.open_day(key(5), None).await.unwrap()).unwrap();
    approved(one.till.sell(key(6), held, 5_000).await.unwrap()).unwrap();
    for shop in [&one, &two] {
        shop.reported().await.unwrap();
        town.connected(shop.id).await.unwrap();
    }

    let before = sent(&two);
    approved(two.till.spend(key(7), pooled, 500).await.unwrap()).unwrap();
    assert_eq!(two.wire.sent(path::GRANT) - before.0, 1, "the pool has it: one question, one answer");
    approved(two.till.spend(key(8), pooled, 4_500).await.unwrap()).unwrap();
    assert_eq!(two.wire.sent(path::GRANT) - before.0, 1, "it brought the rest as well");

    let (before, asked) = (sent(&two).0, sent(&one));
    approved(two.till.spend(key(9), held, 500).await.unwrap()).unwrap();
    assert_eq!(sent(&two).0 - before, 1, "the till's store asks once, and head office holds the question open");
    let (grants, reports) = sent(&one);
    assert_eq!(grants, asked.0, "who gives asks for nothing");
    // By the poll that waits there it hears of it at once, and its first report gives the value back; for those after it nobody waits.
    assert!(reports > asked.1, "it gave back without a word");
}
