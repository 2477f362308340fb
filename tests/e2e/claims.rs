//! Points that are owed and points that are due: what a store could not give, as it did not know the card, and what it could not take back, as it was
//! spent. Both are settled at head office, each once.

use std::sync::Arc;

use huitong_edge::clock::Clock as _;
use huitong_hub::schedule::Job;
use huitong_hub::worker;
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::id::OperationId;
use huitong_protocol::money::Currency;
use huitong_protocol::till::{Approved, Outcome, PostSale};
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use huitong_tests::documents;
use huitong_tests::replay::cards;
use huitong_tests::till::{approved, declined, line, tender};
use huitong_tests::town::{Plan, Shop, Town, Transport};
use huitong_tests::wire::Wire;
use serde_json::Value;

const POINTS: &str = r#"
[points]
earn = { per_minor = 100, points = 1 }
burn = { points = 1, worth_minor = 1, points_min = 1, share_ppm_max = 1000000 }

[[tenders]]
code = "points"
class = "points"
earns_points = false
counts_as = "discount"
"#;

/// Two stores whose cards all belong to the first.
async fn town(folder: &std::path::Path) -> Arc<Town> {
    town_with(folder, "").await
}

/// As [`town`], with another rule of points.
async fn town_with(folder: &std::path::Path, rule: &str) -> Arc<Town> {
    let stores = vec!["S1".parse().unwrap(), "S2".parse().unwrap()];
    let policy = documents::policy("CNY", "release = { when = \"at_once\" }\n");
    let plan = Plan {
        data: folder.to_owned(),
        transport: Transport::Memory,
        start: Instant(1_795_320_000_000),
        currency: Currency::CNY,
        time_zone: "Asia/Shanghai".to_owned(),
        cards: vec![(cards::of_household(1), stores[0])],
        stores,
        product: "SV".to_owned(),
        policy: format!("{policy}{}", POINTS.replace("[points]", &format!("[points]\n{rule}"))),
        agreement: documents::agreement("CNY", "pool", "2020-01-01", 0, 0, "restore")
            .replace("points_cost_ppm = 0", "points_cost_ppm = 10000"),
        effective_from: "2020-01-01".parse().unwrap(),
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    };
    let town = Town::build(&plan).await.unwrap();
    for shop in town.shops() {
        shop.till.open_day(next(), None).await.unwrap();
    }
    town
}

fn next() -> OperationId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let number = u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
    OperationId(uuid::Uuid::from_u128(0x0193_6000_0000_7000_8000_0000_0000_0000 + number))
}

/// A sale with the card shown, paid in cash but for what points pay.
async fn sale(shop: &Shop, amount_minor: i64, points: i64) -> Approved {
    let card = cards::of_household(1);
    let mut tenders = vec![tender("cash", amount_minor - points, None)];
    if points > 0 {
        tenders.push(tender("points", points, Some(card)));
    }
    let sale = PostSale {
        member_card: Some(card),
        lines: vec![line("RICE", amount_minor)],
        tenders,
        ..shop.till.one_line_sale(card, amount_minor)
    };
    approved(shop.till.sale(next(), &sale).await.unwrap()).unwrap()
}

/// Gives thousandths of a receipt's only line back.
async fn back(shop: &Shop, receipt: &Approved, quantity_thousandths: i64) -> Approved {
    approved(shop.till.give_back(next(), receipt.entry, 0, quantity_thousandths).await.unwrap()).unwrap()
}

/// What the worker does by itself every few minutes, after everything has arrived.
async fn settled(town: &Town) {
    released(town).await;
    for shop in town.shops() {
        shop.upload_all().await.unwrap();
    }
    worker::perform(&town.hub, Job::Reconcile, town.clock.now()).await.unwrap();
    for shop in town.shops() {
        shop.download().await.unwrap();
    }
    assert_eq!(town.verify().await.unwrap(), Vec::<String>::new());
}

/// Waits until every store has given back what it need not keep, so that it lies in the pool.
async fn released(town: &Town) {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
    for _ in 0..2_000 {
        for shop in town.shops() {
            shop.reported().await.unwrap();
        }
        let shown = town.head_office(&["account", "show", cards::of_household(1).reveal()]).await.unwrap();
        let purses = shown["purses"].as_array().unwrap().clone();
        if purses.iter().all(|purse| purse["free_minor"] == purse["balance_minor"]) {
            return;
        }
        look.tick().await;
    }
    panic!("a store keeps what it need not");
}

/// The points of the card's account, by the journals.
async fn points(town: &Town) -> i64 {
    let shown = town.head_office(&["account", "show", cards::of_household(1).reveal()]).await.unwrap();
    shown["points"].as_i64().unwrap()
}

async fn claims(town: &Town) -> Vec<Value> {
    town.head_office(&["member", "claims", "list", "--all"]).await.unwrap().as_array().unwrap().clone()
}

/// What verify finds when somebody has changed a row.
async fn planted(town: &Town, sql: &'static str) -> Vec<String> {
    town.hub.store.write(move |tx| tx.execute(sql, &[]).map(drop)).await.unwrap();
    town.verify().await.unwrap()
}

/// Points, taken back, open and state of every claim.
fn seen(claims: &[Value]) -> Vec<(i64, i64, i64, &str)> {
    let number = |claim: &Value, field: &str| claim[field].as_i64().unwrap();
    let one = |claim| (number(claim, "points"), number(claim, "settled_points"), number(claim, "open_points"));
    claims
        .iter()
        .map(|claim| {
            let (points, settled, open) = one(claim);
            (points, settled, open, claim["state"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_was_sold_elsewhere_today_earns_once_and_gives_back_what_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    let (one, two) = (town.shop("S1".parse().unwrap()).unwrap(), town.shop("S2".parse().unwrap()).unwrap());
    let card = cards::of_household(1);
    for shop in [&one, &two] {
        shop.wire.cut(true);
    }
    approved(one.till.sell(next(), card, 10_000).await.unwrap()).unwrap();
    // The second store knows the card as blank: it gives nothing, and says that something will come.
    let first = sale(&two, 12_300, 0).await;
    let price = first.price.as_ref().unwrap();
    assert_eq!((price.earned_points, price.deferred_points), (None, Some(123)));
    let slip = two.till.receipt(first.entry, 40).await.unwrap();
    assert!(slip.contains("123"), "{slip}");
    back(&two, &first, 500).await; // 61.5 of 123, half up: 62 go back before anybody has them.
    let undone = sale(&two, 5_000, 0).await;
    approved(two.till.void(next(), undone.operation).await.unwrap()).unwrap();
    // The sale arrives before head office has heard that the card was sold.
    two.wire.cut(false);
    two.upload_all().await.unwrap();
    worker::perform(&town.hub, Job::Reconcile, town.clock.now()).await.unwrap();
    assert_eq!(points(&town).await, 0, "the card is nobody's yet");
    one.wire.cut(false);
    settled(&town).await;
    assert_eq!(points(&town).await, 61);
    settled(&town).await;
    two.upload_all().await.unwrap();
    assert_eq!(points(&town).await, 61, "once, however often it is looked at");
    // Now the store knows the card and gives the points itself.
    let known = sale(&two, 1_000, 0).await;
    assert_eq!(known.price.as_ref().map(|price| (price.earned_points, price.deferred_points)), Some((Some(10), None)));
    settled(&town).await;
    assert_eq!(points(&town).await, 71);
    // The rest of the first goods: what head office had given is claimed, and taken from what the pool has.
    back(&two, &first, 500).await;
    settled(&town).await;
    settled(&town).await;
    assert_eq!(points(&town).await, 10);
    assert_eq!(seen(&claims(&town).await), [(61, 61, 0, "settled")]);
    let found = planted(&town, "UPDATE deferred_earning SET back_points = back_points - 1 WHERE points = 123").await;
    assert!(found.iter().any(|finding| finding.contains("back_points is 122; 123")), "{found:?}");
    drop((one, two));
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spent_points_of_returned_goods_are_claimed_from_later_earnings_or_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    let card = cards::of_household(1);
    approved(shop.till.sell(next(), card, 100).await.unwrap()).unwrap();
    let goods = sale(&shop, 20_000, 0).await;
    let burnt = sale(&shop, 1_000, 150).await; // Earns 8 of the 8.50 in cash.
    assert_eq!(burnt.price.as_ref().and_then(|price| price.earned_points), Some(8));
    let returned = back(&shop, &goods, 1_000).await; // 200 are due, 58 are there.
    settled(&town).await;
    let open = claims(&town).await;
    assert_eq!(seen(&open), [(142, 0, 142, "open")]);
    assert_eq!((open[0]["entry"].as_str(), points(&town).await), (Some(returned.entry.to_string().as_str()), 0));
    // The next goods pay most of it, once they lie in the pool.
    sale(&shop, 10_000, 0).await;
    settled(&town).await;
    assert_eq!((seen(&claims(&town).await), points(&town).await), (vec![(142, 100, 42, "open")], 0));
    // Finance gives up the rest; a name and a reason stand for it, and nothing more is taken.
    let waive = async |note: &str| {
        town.head_office(&["member", "claims", "waive", "1", "--by", "finance", "--note", note]).await
    };
    assert!(waive(" ").await.unwrap_err().to_string().contains("empty"));
    assert_eq!(waive("goodwill").await.unwrap()["state"], "waived");
    assert_eq!(waive("goodwill").await.unwrap()["state"], "waived", "the same again is the same");
    assert!(waive("something else").await.unwrap_err().to_string().contains("was waived by finance"));
    sale(&shop, 10_000, 0).await;
    settled(&town).await;
    assert_eq!((seen(&claims(&town).await), points(&town).await), (vec![(142, 100, 0, "waived")], 100));
    let found = planted(&town, "UPDATE points_claim SET settled_points = settled_points - 1").await;
    assert!(found.iter().any(|finding| finding.contains("settled_points is 99; 100")), "{found:?}");
    let state = shop.till.card(card, true).await.unwrap();
    assert!(state.balances.iter().all(|balance| balance.unit != Unit::Points || balance.available_here_minor <= 100));
    drop(shop);
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_of_goods_that_may_come_back_are_pending_and_pay_only_when_they_are_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let town = town_with(folder.path(), "pending = { days = 2, may_burn = false }").await;
    let (one, two) = (town.shop("S1".parse().unwrap()).unwrap(), town.shop("S2".parse().unwrap()).unwrap());
    let card = cards::of_household(1);
    approved(one.till.sell(next(), card, 100).await.unwrap()).unwrap();
    let goods = sale(&one, 20_000, 0).await;
    let told = goods.balances.iter().find(|balance| balance.unit == Unit::Points).unwrap();
    assert_eq!((told.available_here_minor, told.pending_minor), (200, Some(200)));
    assert!(one.till.receipt(goods.entry, 40).await.unwrap().contains("2026-11-"), "the receipt says when");
    back(&one, &goods, 500).await;
    assert_eq!(told_at(&one).await, (100, Some(100)), "what came back is pending no longer");
    // Neither here nor, although the first store could be asked for them, there.
    let refused = declined(burn(&one, 50).await).unwrap();
    assert_eq!((refused.code, refused.available_here_minor), (DeclineCode::PointsPending, Some(0)));
    one.reported().await.unwrap();
    two.download().await.unwrap();
    town.connected(one.id).await.unwrap();
    let refused = declined(burn(&two, 50).await).unwrap();
    assert!(matches!(refused.code, DeclineCode::HeldElsewhere | DeclineCode::Insufficient), "{:?}", refused.code);
    assert_eq!(told_at(&one).await, (100, Some(100)), "they stayed, though the policy releases at once");
    // A day later still not; on the second day they pay, at every store.
    for (day, is_confirmed) in [(1, false), (2, true)] {
        for shop in [&one, &two] {
            approved(shop.till.close_day(next()).await.unwrap()).unwrap();
        }
        town.clock.wind_ms(24 * 3_600_000);
        for shop in [&one, &two] {
            approved(shop.till.open_day(next(), None).await.unwrap()).unwrap();
        }
        let outcome = burn(&one, 10).await;
        assert_eq!(approved(outcome).is_ok(), is_confirmed, "on day {day}");
    }
    town.connected(one.id).await.unwrap();
    approved(burn(&two, 50).await).unwrap();
    drop((one, two));
    town.close().await.unwrap();
}

/// The card's points at a store, and what of them is pending.
async fn told_at(shop: &Shop) -> (i64, Option<i64>) {
    let state = shop.till.card(cards::of_household(1), false).await.unwrap();
    let points = state.balances.iter().find(|balance| balance.unit == Unit::Points);
    points.map_or((0, None), |balance| (balance.available_here_minor, balance.pending_minor))
}

/// Pays goods with points alone.
async fn burn(shop: &Shop, points: i64) -> Outcome {
    let card = cards::of_household(1);
    let goods =
        PostSale { tenders: vec![tender("points", points, Some(card))], ..shop.till.one_line_sale(card, points) };
    shop.till.sale(next(), &goods).await.unwrap()
}
