//! Sales of every kind of price, through the till's real path, priced again at head office and explained again at the till: always the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::Method;
use huitong_hub::rerate;
use huitong_protocol::id::OperationId;
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use huitong_tests::documents;
use huitong_tests::replay::cards;
use huitong_tests::town::{Plan, Shop, Town, Transport};
use huitong_tests::wire::Wire;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const STANDARD: &str = include_str!("../../config/policies/standard.toml");
const SALES: usize = 200;
const SEED: u64 = 20_261_122;
/// 08:00 on Sunday, 22 November 2026 in Shanghai.
const START: Instant = Instant(1_795_305_600_000);
/// Everything that takes something off in the standard policy.
const REASONS: [&str; 9] = [
    "BIRTHDAY-CAKE",
    "EGGS-MORNING",
    "FASHION-300-50",
    "HOME-200-10",
    "SNACK-2",
    "WEEKEND-TEA",
    "WELCOME-100-20",
    "markdown",
    "member_price",
];

/// What is in the master, with the price at the shelf.
const SHELF: [(&str, &str, i64); 8] = [
    ("tea", "食品/饮料", 1_250),
    ("wine", "食品/饮料/酒", 8_880),
    ("crisps", "食品/零食", 799),
    ("6900000000024", "食品/蛋", 1_290),
    ("coat", "服装/外套", 15_990),
    ("lamp", "家居", 9_901),
    ("cake", "食品/糕点", 3_333),
    ("cigarettes", "烟草", 4_500),
];

async fn import(town: &Town, folder: &std::path::Path, noun: &str, csv: &str) {
    let file = folder.join(format!("{noun}.csv"));
    std::fs::write(&file, csv).unwrap();
    town.head_office(&[noun, "import", file.to_str().unwrap()]).await.unwrap();
}

fn plan(folder: &std::path::Path, start: Instant, time_zone: &str) -> Plan {
    let stores = vec!["S1".parse().unwrap()];
    let range = cards::range();
    let ranges = format!("prefix = \"{}\", length = {}", range.prefix, range.length);
    Plan {
        data: folder.to_owned(),
        transport: Transport::Memory,
        start,
        currency: Currency::CNY,
        time_zone: time_zone.to_owned(),
        cards: (1..=3).map(|household| (cards::of_household(household), stores[0])).collect(),
        stores,
        product: "SV".to_owned(),
        policy: STANDARD.replace("prefix = \"66010\", length = 16", &ranges),
        agreement: documents::agreement("CNY", "pool", "2020-01-01", 0, 0, "restore"),
        effective_from: "2020-01-01".parse().unwrap(),
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    }
}

/// A town with goods on the shelf and members of each tier, who have cards 1 to 3. Its day is open.
async fn town(folder: &std::path::Path, start: Instant, time_zone: &str) -> Arc<Town> {
    let town = Town::build(&plan(folder, start, time_zone)).await.unwrap();
    let shelf = SHELF.map(|(sku, category, price)| {
        let member_price = if sku == "lamp" || sku == "tea" { format!("{}", price / 100) } else { String::new() };
        format!("{sku},{sku},{category},13%,{member_price}\n")
    });
    let items = format!("sku,name,category_path,tax_rate,member_price\n{}", shelf.concat());
    import(&town, folder, "item", &items).await;
    let members = "number,name,tier,birthday\n8800001,张三,gold,1990-11-30\n8800002,李四,silver,1990-01-30\n8800003,王五,basic,\n";
    import(&town, folder, "member", members).await;
    let owner = |no: u32| format!("{},SV,880000{no}\n", cards::of_household(no).reveal());
    import(&town, folder, "card", &format!("number,product,member\n{}{}{}", owner(1), owner(2), owner(3))).await;
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    shop.download().await.unwrap();
    let opened = post(&shop, "/v1/day/open", &json!({})).await;
    assert_eq!(opened["decision"], "approved", "{opened}");
    drop(shop);
    town
}

/// The key of the next operation of any till in this file.
fn next_key() -> OperationId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    OperationId(uuid::Uuid::from_u128((7 << 76) | (2 << 62) | u128::from(NEXT.fetch_add(1, Ordering::Relaxed))))
}

async fn send(shop: &Shop, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let key = (method == Method::POST && path != "/v1/quotes").then(next_key);
    let reply = shop.till.send(method, path, key, serde_json::to_vec(body).unwrap()).await.unwrap();
    (reply.status, reply.json().unwrap())
}

async fn post(shop: &Shop, path: &str, body: &Value) -> Value {
    send(shop, Method::POST, path, body).await.1
}

async fn explanation(shop: &Shop, receipt: &str) -> (u16, Value) {
    send(shop, Method::GET, &format!("/v1/sales/{receipt}/explanation"), &Value::Null).await
}

/// A basket of one to six lines, with what the member showed.
fn basket(random: &mut StdRng) -> Value {
    let mut line = || {
        let (sku, price) = match random.random_range(0..10) {
            0 => ("not-in-the-master", 500),
            _ => SHELF.choose(random).map(|(sku, _, price)| (*sku, *price)).unwrap(),
        };
        let quantity = *[250, 1_000, 1_000, 2_000, 3_000].choose(random).unwrap();
        let gross_minor = price * quantity / 1_000;
        let markdowns = match random.random_range(0..8) {
            0 => vec![json!({"amount_minor": random.random_range(1..=gross_minor / 10), "reason": "临期"})],
            _ => Vec::new(),
        };
        let off: i64 = markdowns.iter().map(|markdown| markdown["amount_minor"].as_i64().unwrap()).sum();
        json!({
            "sku": sku, "quantity_thousandths": quantity, "gross_minor": gross_minor, "markdowns": markdowns,
            "net_minor": gross_minor - off,
        })
    };
    let lines: Vec<Value> = (0..6).map(|_| line()).collect();
    let kept = random.random_range(1..=lines.len());
    let coupons: Vec<&str> =
        ["TEA15", "WELCOME20", "NOBODY"].into_iter().filter(|_| random.random_range(0..3) == 0).collect();
    let mut basket = json!({"currency": "CNY", "coupons": coupons, "lines": lines[..kept]});
    let who: u32 = random.random_range(0..=3);
    if who > 0 {
        basket["member_card"] = json!(cards::of_household(who).reveal());
    }
    basket
}

/// A receipt that the till wrote by itself, at the shelf price.
fn taken_offline(basket: &Value, at: Instant) -> Value {
    let total: i64 = basket["lines"].as_array().unwrap().iter().map(|line| line["net_minor"].as_i64().unwrap()).sum();
    let mut sale = basket.clone();
    (sale["taken_at_ms"], sale["tenders"]) = (json!(at.0), json!([{"tender": "cash", "amount_minor": total}]));
    sale
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_price_is_the_same_when_head_office_prices_it_again() {
    println!("seed {SEED}");
    let mut random = StdRng::seed_from_u64(SEED);
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path(), START, "Asia/Shanghai").await;
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    let (mut taken, mut met) = (0, BTreeSet::new());
    for number in 0..SALES {
        town.clock.wind_ms(random.random_range(0..420_000));
        let basket = basket(&mut random);
        if random.random_range(0..12) == 0 {
            let sold = post(&shop, "/v1/sales", &taken_offline(&basket, town.clock.read().plus_ms(-60_000))).await;
            assert_eq!(sold["decision"], "approved", "seed {SEED}, sale {number}: {sold}");
            let (status, problem) = explanation(&shop, sold["entry"].as_str().unwrap()).await;
            assert_eq!((status, &problem["code"]), (409, &json!("price_as_taken")));
            taken += 1;
            continue;
        }
        let told = post(&shop, "/v1/quotes", &basket).await;
        assert_eq!(told["decision"], "quoted", "seed {SEED}, sale {number}: {told}");
        let mut sale = basket.clone();
        sale["tenders"] = json!([{"tender": "cash", "amount_minor": told["total_minor"]}]);
        if random.random_bool(0.7) {
            sale["quote"] = told["quote"].clone();
            // The customer looks for the purse; hours of promotions begin and end meanwhile.
            town.clock.wind_ms(random.random_range(0..600_000));
        }
        let sold = post(&shop, "/v1/sales", &sale).await;
        assert_eq!(sold["decision"], "approved", "seed {SEED}, sale {number}: {sold}");
        let (status, explained) = explanation(&shop, sold["entry"].as_str().unwrap()).await;
        assert_eq!(status, 200, "seed {SEED}, sale {number}: {explained}");
        for field in ["policy_version", "total_minor", "lines", "trace"] {
            assert_eq!(explained[field], told[field], "seed {SEED}, sale {number}: {field}");
        }
        for discount in told["lines"].as_array().unwrap().iter().flat_map(|line| line["discounts"].as_array().unwrap())
        {
            let source = &discount["source"];
            met.insert(source["promotion"].as_str().or(source["kind"].as_str()).unwrap().to_owned());
        }
    }
    assert_eq!(met.iter().map(String::as_str).collect::<Vec<_>>(), REASONS, "seed {SEED}: else this says little");
    shop.upload_all().await.unwrap();
    let counts = rerate::run(&town.hub, town.clock.read()).await.unwrap();
    let expected = rerate::Counts { sales: 200, same: 200 - taken, as_taken: taken, ..rerate::Counts::default() };
    assert_eq!(counts, expected, "seed {SEED}");
    assert!(taken > 0, "seed {SEED}");
    assert_eq!(town.head_office(&["exception", "list"]).await.unwrap(), json!([]), "seed {SEED}");
    let report = town.head_office(&["rerate"]).await.unwrap();
    assert_eq!((&report["ok"], &report["counts"]), (&json!(true), &serde_json::to_value(expected).unwrap()));
    drop(shop);
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_with_a_quote_costs_and_earns_by_the_policy_of_the_quote_and_head_office_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path(), START, "Asia/Shanghai").await;
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    let card = cards::of_household(1);
    huitong_tests::till::approved(shop.till.sell(next_key(), card, 100).await.unwrap()).unwrap();
    let mut sale = json!({"currency": "CNY", "member_card": card.reveal(), "lines": [
        {"sku": "coat", "quantity_thousandths": 1_000, "gross_minor": 15_990, "net_minor": 15_990},
    ]});
    let told = post(&shop, "/v1/quotes", &sale).await;
    let total = told["total_minor"].as_i64().unwrap();
    assert_eq!(told["earns_points"].as_i64(), Some(total * 3 / 2 / 100), "half as much again for gold: {told}");

    let next = plan(folder.path(), START, "Asia/Shanghai")
        .policy
        .replace("earn = { per_minor = 100, points = 1,", "earn = { per_minor = 100, points = 3,")
        .replace("earn_multiplier_ppm = 1500000", "earn_multiplier_ppm = 4000000")
        .replace("pending = { days = 7,", "pending = { days = 30,")
        // Head office knows its shelf by now.
        .replace("6900000000017", "cigarettes");
    let file = folder.path().join("next.toml");
    std::fs::write(&file, next).unwrap();
    let publish = ["policy", "publish", file.to_str().unwrap(), "--effective-from", "2026-11-22"];
    assert_eq!(town.head_office(&publish).await.unwrap()["version"], 2);
    shop.download().await.unwrap();
    assert_eq!(shop.till.status().await.unwrap().policy_version, 2);

    sale["tenders"] = json!([{"tender": "cash", "amount_minor": total}]);
    let plain = post(&shop, "/v1/sales", &sale).await;
    assert_eq!(plain["price"]["earned_points"].as_i64(), Some(total * 12 / 100), "{plain}");
    sale["quote"] = told["quote"].clone();
    let quoted = post(&shop, "/v1/sales", &sale).await;
    assert_eq!(
        (&quoted["price"]["policy_version"], &quoted["price"]["earned_points"]),
        (&json!(1), &told["earns_points"])
    );
    for (sold, confirmed_on) in [(&quoted, "2026-11-29"), (&plain, "2026-12-22")] {
        let receipt = shop.till.receipt(sold["entry"].as_str().unwrap().parse().unwrap(), 40).await.unwrap();
        assert!(receipt.contains(confirmed_on), "{receipt}");
    }
    shop.upload_all().await.unwrap();
    assert_eq!(rerate::run(&town.hub, town.clock.read()).await.unwrap().same, 2);
    assert_eq!(town.head_office(&["exception", "list"]).await.unwrap(), json!([]));
    assert_eq!(town.verify().await.unwrap(), Vec::<String>::new());
    drop(shop);
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_does_not_outlive_a_change_of_the_clocks() {
    let folder = tempfile::tempdir().unwrap();
    // 01:55 on 1 November 2026 in New York; five minutes later it is one o'clock again.
    let town = town(folder.path(), Instant(1_793_512_500_000), "America/New_York").await;
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    let mut sale = json!({"currency": "CNY", "lines": [
        {"sku": "crisps", "quantity_thousandths": 1_000, "gross_minor": 799, "net_minor": 799},
    ]});
    let told = post(&shop, "/v1/quotes", &sale).await;
    (sale["quote"], sale["tenders"]) =
        (told["quote"].clone(), json!([{"tender": "cash", "amount_minor": told["total_minor"]}]));
    assert_eq!(post(&shop, "/v1/sales", &sale).await["decision"], "approved");
    town.clock.wind_ms(6 * 60_000);
    assert_eq!(post(&shop, "/v1/sales", &sale).await["code"], "quote_clock_changed");
    sale["quote"] = post(&shop, "/v1/quotes", &sale_without_quote(&sale)).await["quote"].clone();
    assert_eq!(post(&shop, "/v1/sales", &sale).await["decision"], "approved");
    shop.upload_all().await.unwrap();
    assert_eq!(rerate::run(&town.hub, town.clock.read()).await.unwrap().same, 2);
    drop(shop);
    town.close().await.unwrap();
}

fn sale_without_quote(sale: &Value) -> Value {
    json!({"currency": sale["currency"], "lines": sale["lines"]})
}
