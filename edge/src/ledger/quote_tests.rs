//! Prices as a shop knows them: what a basket costs, why, for whom, and that the sale costs what was told.

use huitong_protocol::entry::{Body, Entry};
use huitong_protocol::id::Seq;
use huitong_protocol::item::Item;
use huitong_protocol::member::Member;
use huitong_protocol::pricing::PriceBook;
use huitong_protocol::rerate::{Rerated, rerate};
use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow};
use serde_json::{Value, json};

use super::testing::*;
use crate::store::{allotment, journal as entries, member, replica};

/// What the shop's policy gives, beside the tenders of every test: members save 5 % with gold, tea 10.00 in the morning, 满 100 减 20, points.
pub(super) const PROMOTIONS: &str = r#"
[pricing]
quote_valid_minutes = 15

[points]
earn = { per_minor = 100, points = 1 }
burn = { points = 1, worth_minor = 1, points_min = 10, share_ppm_max = 500000 }

[[tiers]]
code = "金卡"
name = "金卡会员"
rank = 1
earn_multiplier_ppm = 2000000

[[promotions]]
id = "GOLD-5"
name = "金卡九五折"
give = { kind = "percent_off", percent_ppm = 50000 }
combine = "compound"
who = { tiers = ["金卡"] }

[[promotions]]
id = "TEA-MORNING"
name = "早市茶"
give = { kind = "fixed_price", price_minor = 1000 }
combine = "exclusive"
priority = 10
when = { times = [["09:00", "10:05"]] }
goods = { include = { categories = ["食品/饮料"] } }

[[promotions]]
id = "OVER-100"
name = "满100减20"
give = { kind = "threshold", spend_minor = 10000, off_minor = 2000 }
combine = "compound"
funding = [{ party = "hub", share_ppm = 500000 }, { party = "store", share_ppm = 500000 }]

[[promotions]]
id = "SPRING"
name = "春券"
coupon = "SPRING26"
give = { kind = "amount_off", amount_minor = 300 }
combine = "compound"

[[tenders]]
code = "points"
class = "points"
earns_points = false
counts_as = "discount"

[[tenders]]
code = "coupon_paper"
class = "coupon"
reference = "required"
reference_unique = true
refund = "nothing"
"#;

fn item_of(sku: &str, category_path: &str, member_price_minor: Option<i64>) -> Item {
    serde_json::from_value(json!({
        "sku": sku, "barcodes": [format!("69{sku}")], "name": sku, "category_path": category_path, "tax_code": "1030307",
        "tax_ppm": 130_000, "member_price_minor": member_price_minor, "active": true
    }))
    .unwrap()
}

fn gold() -> Member {
    serde_json::from_value(json!({
        "id": 7, "number": "8800007", "name": "张三", "tier": "金卡", "tier_valid_to": "2026-12-31", "active": true
    }))
    .unwrap()
}

pub(super) async fn shop() -> Shop {
    let shop = Shop::new().await;
    let document = format!("{POLICY}{PROMOTIONS}");
    shop.store
        .write(move |tx| {
            replica::apply_page(tx, &policy_page(2, "2026-01-01", &document))?;
            let items = [item_of("tea", "食品/饮料", None), item_of("coat", "服装", Some(11_000))];
            let rows = items.map(DatasetRow::Item).to_vec();
            let (dataset, through_version) = (DatasetKind::Items, 2);
            let page = DatasetPage { dataset, through_version, more: false, recovers: false, rows, phone_key: None };
            replica::apply_page(tx, &page)?;
            member::put(tx, &gold())?;
            let mut card = card(1, huitong_protocol::card::CardStatus::Active);
            card.member = Some(gold().id);
            crate::store::card::upsert_from_hub(tx, &card, None)
        })
        .await
        .unwrap();
    shop.post(T1, "/v1/day/open", &json!({})).await.approved();
    shop
}

pub(super) fn goods(sku: &str, gross_minor: i64) -> Value {
    json!({"sku": sku, "quantity_thousandths": 1_000, "gross_minor": gross_minor, "net_minor": gross_minor})
}

pub(super) async fn quote(shop: &Shop, ask: &Value) -> Value {
    let reply = shop.post(T1, "/v1/quotes", ask).await;
    assert_eq!(reply.json["decision"], "quoted", "{}", reply.json);
    reply.json
}

pub(super) fn sold(shop: &Shop) -> Entry {
    let all = shop.store.read(|tx| entries::entries_after(tx, Seq::ZERO, 10_000, usize::MAX)).unwrap();
    let entry = Entry::decode(&all.last().unwrap().bytes).unwrap();
    let Body::Sale(sale) = &entry.body else { panic!("a sale, not {}", entry.header.kind) };
    // Head office finds the same, from the entry and the policy alone.
    let policy = shop.store.committed().policy_of(sale.policy_version).unwrap().clone();
    let again = rerate(&PriceBook::new(&policy.policy), &entry.header, sale);
    assert!(matches!(again, Rerated::Same(_) | Rerated::AsTaken), "{again:?}");
    entry
}

pub(super) fn points(shop: &Shop) -> i64 {
    let purse = huitong_protocol::allotment::Purse { account: account(1), unit: huitong_protocol::unit::Unit::Points };
    shop.store.read(|tx| allotment::get(tx, purse)).unwrap().available_minor()
}

#[tokio::test]
async fn a_quote_explains_itself_and_the_sale_costs_what_was_told() {
    let shop = shop().await;
    let basket = json!([goods("69tea", 1_200), goods("coat", 12_000), goods("unknown", 100)]);
    let ask = json!({"currency": "CNY", "member_card": number(1), "lines": basket});
    let told = quote(&shop, &ask).await;
    // Tea 10.00 in the morning; the coat 110.00 for members, 5 % off with gold; 满减 over what may still be reduced.
    assert_eq!(told["lines"][0]["net_minor"], 1_000);
    assert_eq!(told["lines"][1]["discounts"][0]["source"]["kind"], "member_price");
    assert_eq!(told["total_minor"], 1_000 + 10_450 - 2_000 + 100, "{told:#}");
    assert_eq!(told["earns_points"], 191, "95.50 twice over for gold");
    let why = told["trace"].as_array().unwrap();
    assert!(why.iter().any(|rule| rule["rule"]["promotion"] == "OVER-100"), "{why:#?}");
    let head = shop.store.head();
    assert_eq!(quote(&shop, &ask).await, told, "asking again changes nothing");
    assert_eq!(shop.store.head(), head);

    // The morning ends while the customer looks for the purse: the price stays.
    shop.clock.wind(10 * 60_000);
    let total = told["total_minor"].as_i64().unwrap();
    let mut sale = sale(basket.as_array().unwrap(), &[cash(total)]);
    (sale["member_card"], sale["quote"]) = (json!(number(1)), told["quote"].clone());
    let paid = shop.post(T1, "/v1/sales", &sale).await.approved();
    assert_eq!(&paid["price"]["lines"], &told["lines"]);
    let applied: Vec<&Value> = why.iter().filter(|rule| rule["outcome"]["verdict"] == "applied").collect();
    assert_eq!(paid["price"]["trace"].as_array().unwrap().iter().collect::<Vec<_>>(), applied, "{why:#?}");
    let entry = sold(&shop);
    let Body::Sale(body) = &entry.body else { panic!("a sale") };
    assert_eq!((body.lines[0].sku.as_str(), body.lines[0].known, body.lines[2].known), ("tea", true, false));
    assert_eq!(body.shopper.as_ref().unwrap().tier.unwrap().as_str(), "金卡");
    assert_eq!((body.policy_version, points(&shop)), (2, 191));
    // Without the quote it is noon, and the tea costs what it costs.
    sale["quote"] = Value::Null;
    let fault = shop.post(T1, "/v1/sales", &sale).await.problem(422, "field_invalid");
    assert_eq!(fault["field"], "tenders");
}

#[tokio::test]
async fn a_quote_is_for_its_own_basket_and_ends() {
    let shop = shop().await;
    let ask = json!({"currency": "CNY", "lines": [goods("tea", 1_200)]});
    let told = quote(&shop, &ask).await;
    assert_eq!(told["total_minor"], 1_000);
    let mut basket = sale(&[goods("tea", 1_300)], &[cash(1_000)]);
    basket["quote"] = told["quote"].clone();
    let fault = shop.post(T1, "/v1/sales", &basket).await.problem(422, "field_invalid");
    assert_eq!(fault["field"], "quote", "other goods");
    let mut basket = sale(&[goods("tea", 1_200)], &[cash(1_000)]);
    for made_up in ["Q1.2.1.1.00", "hello"] {
        basket["quote"] = json!(made_up);
        assert_eq!(shop.post(T1, "/v1/sales", &basket).await.problem(422, "field_invalid")["field"], "quote");
    }
    let cheaper = told["quote"].as_str().unwrap().replace(".1000.", ".900.");
    basket["quote"] = json!(cheaper);
    assert_eq!(shop.post(T1, "/v1/sales", &basket).await.problem(422, "field_invalid")["field"], "quote");
    // A new policy takes the promotion away: the sale is taken at the price of its quote.
    let document = POLICY.to_owned();
    let next = policy_page(3, "2026-01-01", &document);
    shop.store.write(move |tx| replica::apply_page(tx, &next).map(drop)).await.unwrap();
    basket["quote"] = told["quote"].clone();
    shop.post(T1, "/v1/sales", &basket).await.approved();
    sold(&shop);
    shop.clock.wind(16 * 60_000);
    let key = shop.key();
    shop.post_with(T1, "/v1/sales", &key, basket.to_string()).await.declined("quote_expired");
    // The store keeps the last two policies: a quote of an earlier one cannot be honoured, however fresh.
    basket["quote"] = quote(&shop, &ask).await["quote"].clone();
    for version in [4, 5] {
        let next = policy_page(version, "2026-01-01", POLICY);
        shop.store.write(move |tx| replica::apply_page(tx, &next).map(drop)).await.unwrap();
    }
    shop.post(T1, "/v1/sales", &basket).await.declined("quote_policy_not_held");
}

#[tokio::test]
async fn coupons_points_and_paper_are_taken_as_the_catalogue_says() {
    let shop = shop().await;
    shop.clock.wind(3_600_000);
    let ask = json!({"currency": "CNY", "coupons": ["SPRING26", "NOPE"], "lines": [goods("tea", 1_200)]});
    let told = quote(&shop, &ask).await;
    assert_eq!(told["total_minor"], 900);
    assert!(told["trace"].to_string().contains("unknown_coupon"), "{told:#}");
    let mut basket = sale(&[goods("coat", 12_000)], &[cash(10_000)]);
    basket["member_card"] = json!(number(1));
    let first = shop.post(T1, "/v1/sales", &basket).await.problem(422, "field_invalid");
    assert!(first["detail"].as_str().unwrap().contains("ask for a quote"), "{first}");
    assert_eq!(first["expected_minor"], 8_450, "a program need not read the words");
    basket["tenders"] = json!([cash(8_450)]);
    shop.post(T1, "/v1/sales", &basket).await.approved();
    assert_eq!(points(&shop), 169);
    let mut by_points = by_card(1, 100);
    by_points["tender"] = json!("points");
    let paper = json!({"tender": "coupon_paper", "amount_minor": 100, "reference": "P-1"});
    let mut basket = sale(&[goods("unknown", 1_000)], &[by_points.clone(), paper.clone(), cash(800)]);
    basket["member_card"] = json!(number(1));
    let receipt = shop.post(T1, "/v1/sales", &basket).await.approved();
    assert_eq!(points(&shop), 169 - 100 + 18, "what paper and cash paid earns, what points paid does not");
    sold(&shop);
    shop.post(T1, "/v1/sales", &basket).await.declined("reference_used");
    let all =
        json!({"receipt": receipt["entry"], "items": [{"line": 0, "quantity_thousandths": 1_000}], "reason": "broken"});
    let back = shop.post(T1, "/v1/returns", &all).await.approved();
    let refunds: i64 =
        back["refunds"].as_array().unwrap().iter().map(|line| line["amount_minor"].as_i64().unwrap()).sum();
    assert_eq!((refunds, points(&shop)), (900, 169), "nobody paid for the paper");
    // The paper is the customer's again after a void, and nobody else's while it counts.
    let mut basket = sale(
        &[goods("unknown", 1_000)],
        &[json!({"tender": "coupon_paper", "amount_minor": 1_000, "reference": "P-9"})],
    );
    let typed = shop.post(T1, "/v1/sales", &basket).await.approved();
    basket["tenders"][0]["reference"] = json!("p-9");
    shop.post(T1, "/v1/sales", &basket).await.declined("reference_used");
    shop.void(&typed["entry"]).await.approved();
    shop.post(T1, "/v1/sales", &basket).await.approved();
    basket["tenders"][0]["reference"] = json!("P-9 ");
    shop.post(T1, "/v1/sales", &basket).await.problem(422, "field_invalid");
    // A receipt that was taken while the store was down is recorded, whatever was used twice.
    basket["tenders"][0]["reference"] = json!("P-9");
    basket["taken_at_ms"] = json!(MORNING.0);
    let taken = shop.post(T1, "/v1/sales", &basket).await.approved();
    // Undoing it frees its own use of the paper, and not that of the sale before.
    shop.void(&taken["entry"]).await.approved();
    drop(basket.as_object_mut().unwrap().remove("taken_at_ms"));
    shop.post(T1, "/v1/sales", &basket).await.declined("reference_used");
    by_points["amount_minor"] = json!(600);
    let basket = sale(&[goods("unknown", 1_000)], &[by_points, cash(400)]);
    shop.post(T1, "/v1/sales", &basket).await.declined("points_limit");
}

#[tokio::test]
async fn a_basket_that_cannot_be_priced_is_refused_by_its_code_or_its_field() {
    let shop = shop().await;
    let mut line = goods("tea", 1_200);
    line["known"] = json!(true);
    let fault =
        shop.post(T1, "/v1/quotes", &json!({"currency": "CNY", "lines": [line]})).await.problem(422, "field_invalid");
    assert_eq!(fault["field"], "lines[0].known");
    let dollars = json!({"currency": "USD", "lines": [goods("tea", 1_200)]});
    assert_eq!(shop.post(T1, "/v1/quotes", &dollars).await.problem(422, "field_invalid")["field"], "currency");
    shop.post(T1, "/v1/quotes", &json!({"currency": "CNY", "lines": []})).await.problem(422, "field_invalid");
}

#[tokio::test]
async fn a_posted_sale_explains_its_price_again_or_says_why_not() {
    let shop = shop().await;
    let explained = async |id: &str| shop.get(T2, &format!("/v1/sales/{id}/explanation")).await;
    let ask =
        json!({"currency": "CNY", "member_card": number(1), "lines": [goods("tea", 1_200), goods("coat", 12_000)]});
    let told = quote(&shop, &ask).await;
    let mut basket = ask.clone();
    basket["tenders"] = json!([cash(told["total_minor"].as_i64().unwrap())]);
    let paid = shop.post(T1, "/v1/sales", &basket).await.approved();
    let (entry, operation) = (paid["entry"].as_str().unwrap(), paid["operation"].as_str().unwrap());
    // The item and the member change; the answer does not.
    shop.store.write(|tx| crate::store::item::put(tx, &item_of("tea", "百货", Some(1)))).await.unwrap();
    for id in [entry, operation] {
        let mut again = explained(id).await.json;
        assert_eq!(again["trace"], told["trace"], "every rule that was considered, as it was told");
        again["trace"] = paid["price"]["trace"].clone();
        assert_eq!(again, paid["price"], "all that the till was told, points too");
    }
    explained("S1-1-99").await.problem(404, "not_found");
    explained("S9-1-1").await.problem(404, "not_found");
    explained("receipt").await.problem(422, "field_invalid");
    let load = shop.reload(1, 100).await.approved();
    let other = explained(load["entry"].as_str().unwrap()).await.problem(404, "not_found");
    assert!(other["detail"].as_str().unwrap().contains("card_reload"), "{other}");

    let mut taken = sale(&[goods("tea", 1_200)], &[cash(1_200)]);
    taken["taken_at_ms"] = json!(told["expires_at_ms"].as_i64().unwrap() - 3_600_000);
    let taken = shop.post(T1, "/v1/sales", &taken).await.approved();
    explained(taken["entry"].as_str().unwrap()).await.problem(409, "price_as_taken");

    // A damaged journal: the sale again, a fen cheaper.
    let seq = Seq(entry.rsplit('-').next().unwrap().parse().unwrap());
    let Some(Entry { header, body: Body::Sale(mut planted) }) =
        shop.store.read(|tx| entries::decoded(tx, seq)).unwrap()
    else {
        panic!("the sale")
    };
    planted.total_minor -= 1;
    let meta = crate::store::EntryMeta { business_day: header.business_day, ..Default::default() };
    let planted = move |tx: &mut crate::store::WriteTx<'_>| {
        tx.append(header.at_ms, meta, Body::Sale(planted.clone())).map(|appended| appended.id)
    };
    let planted = shop.store.write(planted).await.unwrap().to_string();
    let differs = explained(&planted).await.problem(409, "price_differs");
    assert!(differs["detail"].as_str().unwrap().contains("total: recorded"), "{differs}");

    for version in [3, 4] {
        let next = policy_page(version, "2026-01-01", POLICY);
        shop.store.write(move |tx| replica::apply_page(tx, &next).map(drop)).await.unwrap();
        let held = explained(entry).await;
        match version {
            3 => assert_eq!(held.json["lines"], paid["price"]["lines"], "the one before is kept"),
            _ => assert!(held.problem(409, "policy_not_held")["detail"].as_str().unwrap().contains("policy 2")),
        }
    }
}
