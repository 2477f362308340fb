//! What was told with a price: points, and the budgets of the store's own promotions, follow the policy that priced a basket, whatever took force before it
//! was paid.

use huitong_protocol::bundle::Bundle;
use huitong_protocol::entry::Body;
use huitong_protocol::wire::{DatasetPage, DatasetRow};
use serde_json::{Value, json};

use super::quote_tests::{PROMOTIONS, goods, points, quote, shop, sold};
use super::testing::*;
use crate::store::replica;

const DAY_MS: i64 = 86_400_000;

/// The policy of the shop, whose points chapter waits so.
fn waits(pending: &str) -> String {
    format!("{POLICY}{PROMOTIONS}").replace("[points]\n", &format!("[points]\npending = {pending}\n"))
}

/// Another shop's idea of points: three for each yuan, five times over for gold, none for what cash pays; confirmed late, and free to pay before.
fn generous() -> String {
    waits("{ days = 30, may_burn = true }")
        .replace("earn = { per_minor = 100, points = 1 }", "earn = { per_minor = 100, points = 3 }")
        .replace("earn_multiplier_ppm = 2000000", "earn_multiplier_ppm = 5000000")
        .replace("code = \"cash\"\n", "code = \"cash\"\nearns_points = false\n")
}

async fn takes_force(shop: &Shop, version: u64, document: &str) {
    take(shop, version, policy_page(version, "2026-01-01", document)).await;
}

async fn take(shop: &Shop, version: u64, next: DatasetPage) {
    shop.store.write(move |tx| replica::apply_page(tx, &next).map(drop)).await.unwrap();
    assert_eq!(shop.store.committed().policy.as_ref().unwrap().version, version);
}

/// A coat for the gold member: 104.50, of which 20.00 are off.
fn coat() -> Value {
    json!({"currency": "CNY", "member_card": number(1), "lines": [goods("coat", 12_000)]})
}

fn paid(ask: &Value, quote: &Value, tender: &str) -> Value {
    let mut sale = ask.clone();
    sale["quote"] = quote.clone();
    sale["tenders"] = json!([{"tender": tender, "amount_minor": 8_450}]);
    sale
}

fn by_points(amount_minor: i64) -> Value {
    let points = json!({"tender": "points", "amount_minor": amount_minor, "card": number(1)});
    sale(&[goods("unknown", 9_000)], &[points, cash(9_000 - amount_minor)])
}

/// The points of the card here, and what of them is pending.
async fn told(shop: &Shop) -> (i64, Option<i64>) {
    let card = shop.get(T1, &format!("/v1/cards/{}", number(1))).await.json;
    let balances = card["balances"].as_array().unwrap();
    let line = balances.iter().find(|line| line["unit"] == "points").unwrap();
    (line["available_here_minor"].as_i64().unwrap(), line.get("pending_minor").and_then(Value::as_i64))
}

async fn next_day(shop: &Shop, days: i64) {
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    shop.clock.wind(days * DAY_MS);
    shop.post(T1, "/v1/day/open", &json!({})).await.approved();
}

#[tokio::test]
async fn a_quoted_sale_earns_what_was_told_and_another_what_is_in_force() {
    let shop = shop().await;
    takes_force(&shop, 3, &waits("{ days = 2, may_burn = false }")).await;
    let quoted = quote(&shop, &coat()).await;
    assert_eq!(quoted["earns_points"], 169, "84.50 twice over for gold");
    takes_force(&shop, 4, &generous()).await;

    let receipt = shop.post(T1, "/v1/sales", &paid(&coat(), &quoted["quote"], "cash")).await.approved();
    assert_eq!((&receipt["price"]["policy_version"], &receipt["price"]["earned_points"]), (&json!(3), &json!(169)));
    let Body::Sale(body) = sold(&shop).body else { panic!("a sale") };
    assert_eq!(body.earned.unwrap().tenders, [0], "cash earned when it was told");
    assert_eq!((points(&shop), told(&shop).await), (169, (169, Some(169))));
    let slip =
        shop.get(T1, &format!("/v1/operations/{}/receipt?language=en", receipt["entry"].as_str().unwrap())).await;
    assert!(String::from_utf8_lossy(&slip.bytes).contains("2026-11-24"), "{}", String::from_utf8_lossy(&slip.bytes));
    let refused = shop.post(T1, "/v1/sales", &by_points(10)).await.declined("points_pending");
    assert_eq!(refused["available_here_minor"], 0, "they wait, though what is earned now would not");

    // Without a quote, the policy in force: nothing for cash, and all that a voucher pays fifteen times over.
    let plain = shop.post(T1, "/v1/sales", &paid(&coat(), &Value::Null, "cash")).await.approved();
    assert_eq!((&plain["price"]["policy_version"], plain["price"].get("earned_points")), (&json!(4), None));
    let plain = shop.post(T1, "/v1/sales", &paid(&coat(), &Value::Null, "voucher")).await.approved();
    assert_eq!(plain["price"]["earned_points"], 1_267);
    sold(&shop);
    shop.post(T1, "/v1/sales", &by_points(1_268)).await.declined("points_pending");
    shop.post(T1, "/v1/sales", &by_points(1_267)).await.approved();

    // Under v3 they are confirmed on the second day, whatever is in force then.
    next_day(&shop, 1).await;
    shop.post(T1, "/v1/sales", &by_points(10)).await.declined("points_pending");
    takes_force(&shop, 5, POLICY).await;
    assert_eq!(told(&shop).await, (169, Some(169)), "a policy without points forgets none");
    takes_force(&shop, 6, &waits("{ days = 300, may_burn = false }")).await;
    next_day(&shop, 1).await;
    assert_eq!(told(&shop).await.0, 169);
    shop.post(T1, "/v1/sales", &by_points(169)).await.approved();
    assert_eq!(points(&shop), 0);
}

#[tokio::test]
async fn points_that_were_told_are_added_to_those_there_when_the_policy_in_force_has_none() {
    let shop = shop().await;
    shop.post(T1, "/v1/sales", &paid(&coat(), &Value::Null, "cash")).await.approved();
    let quoted = quote(&shop, &coat()).await;
    takes_force(&shop, 3, POLICY).await;
    let receipt = shop.post(T1, "/v1/sales", &paid(&coat(), &quoted["quote"], "cash")).await.approved();
    assert_eq!((points(&shop), told(&shop).await), (2 * 169, (2 * 169, None)));
    shop.void(&receipt["entry"]).await.approved();
    assert_eq!(points(&shop), 169);
}

#[tokio::test]
async fn a_parked_sale_that_is_paid_late_gives_the_points_that_were_told_pending_from_the_purchase_on() {
    let shop = shop().await;
    takes_force(&shop, 3, &waits("{ days = 2, may_burn = false }")).await;
    let park = async |quote: &Value| {
        let mut sale = paid(&coat(), quote, "cash");
        sale["payment_unknown"] = json!(0);
        let parked = shop.post(T1, "/v1/sales", &sale).await.approved();
        format!("/v1/sales/{}/payment", parked["entry"].as_str().unwrap())
    };
    let outcome = json!({"outcome": "paid", "reason": "asked the acquirer"});
    let (first, second) = (quote(&shop, &coat()).await, quote(&shop, &coat()).await);
    takes_force(&shop, 4, &generous()).await;
    let (first, second) = (park(&first["quote"]).await, park(&second["quote"]).await);
    assert_eq!(points(&shop), 0);
    // By now the store does not hold the policy any more.
    takes_force(&shop, 5, &generous()).await;
    next_day(&shop, 1).await;
    shop.post(T1, &first, &outcome).await.approved();
    assert_eq!(told(&shop).await, (169, Some(169)));
    shop.post(T1, "/v1/sales", &by_points(10)).await.declined("points_pending");
    next_day(&shop, 1).await;
    shop.post(T1, &second, &outcome).await.approved();
    assert_eq!(told(&shop).await, (2 * 169, Some(0)), "two days after the purchase, not after the payment");
    shop.post(T1, "/v1/sales", &by_points(2 * 169)).await.approved();
}

#[tokio::test]
async fn a_budget_counts_what_was_quoted_before_its_promotion_was_taken_away() {
    const BOUNDS: &str = r#"
[store_parameters.promotions]
count_max = 1
days_max = 3
share_ppm_max = 200000
budget_minor_max = 1000
"#;
    const OWN: &str = r#"
[[S1.promotions]]
id = "S1-ALL"
name = "店庆八折"
give = { kind = "percent_off", percent_ppm = 200000 }
when = { from = "2026-11-22", to = "2026-11-22" }
budget_minor = 300
"#;
    let shop = shop().await;
    let from = "2026-01-01".parse().unwrap();
    let bundle = Bundle::new("G1".parse().unwrap(), 3, from, policy_key().id(), format!("{POLICY}{BOUNDS}"));
    let signed = sign(bundle.with_parameters(OWN.to_owned()).encode());
    take(&shop, 3, DatasetPage { rows: vec![DatasetRow::Policy(signed)], ..policy_page(3, "2026-01-01", POLICY) })
        .await;
    let ask = json!({"currency": "CNY", "lines": [goods("tea", 1_000)]});
    let (first, second) = (quote(&shop, &ask).await, quote(&shop, &ask).await);
    assert_eq!((&first["total_minor"], &second["total_minor"]), (&json!(800), &json!(800)));
    takes_force(&shop, 4, POLICY).await;
    let mut basket = sale(&[goods("tea", 1_000)], &[cash(800)]);
    basket["quote"] = first["quote"].clone();
    let receipt = shop.post(T1, "/v1/sales", &basket).await.approved();
    // The budget is enough for one of them, and goes on in later policies.
    basket["quote"] = second["quote"].clone();
    shop.post(T1, "/v1/sales", &basket).await.declined("quote_changed");
    shop.void(&receipt["entry"]).await.approved();
    shop.post(T1, "/v1/sales", &basket).await.approved();
}
