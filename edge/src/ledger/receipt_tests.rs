//! What a receipt remembers after it was printed: a payment that nobody knows of yet, its tax invoice, that it was taken while the edge was down.

use huitong_protocol::entry::{Body, Entry, Origin};
use huitong_protocol::id::Seq;
use serde_json::{Value, json};

use super::testing::*;
use crate::store::journal as entries;

fn last_entry(shop: &Shop) -> Entry {
    let all = shop.store.read(|tx| entries::entries_after(tx, Seq::ZERO, 10_000, usize::MAX)).unwrap();
    Entry::decode(&all.last().unwrap().bytes).unwrap()
}

async fn close(shop: &Shop) -> Value {
    shop.post(T1, "/v1/day/close", &json!({})).await.approved()
}

/// 500 in goods: 200 by card 1, 300 outside, of which nothing is known.
async fn park(shop: &Shop) -> String {
    let mut basket = sale(&[line(500)], &[by_card(1, 200), cash(300)]);
    basket["payment_unknown"] = json!(1);
    let parked = shop.post(T1, "/v1/sales", &basket).await.approved();
    assert_eq!(parked["payment_unknown"], 1, "the till is told that the sale is not over");
    parked["entry"].as_str().unwrap().to_owned()
}

fn outcome(outcome: &str) -> Value {
    json!({"outcome": outcome, "reason": "asked the acquirer"})
}

#[tokio::test]
async fn a_parked_sale_survives_a_restart_and_is_paid_once() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let receipt = park(&shop).await;
    let shop = shop.restart();
    let parked = shop.get(T2, "/v1/sales/parked").await.json;
    assert_eq!(parked.as_array().unwrap().len(), 1);
    assert_eq!(
        (&parked[0]["entry"], &parked[0]["total_minor"], &parked[0]["tender"]["amount_minor"]),
        (&json!(receipt), &json!(500), &json!(300))
    );
    assert_eq!(shop.available(1), 800, "its value stays taken");
    shop.post(T1, &format!("/v1/sales/{receipt}/void"), &json!({"reason": "gone"})).await.declined("payment_unknown");
    let back = json!({"receipt": receipt, "items": [{"line": 0, "quantity_thousandths": 1_000}], "reason": "gone"});
    shop.post(T1, "/v1/returns", &back).await.declined("payment_unknown");
    let paid = json!({"outcome": "paid", "reference": "4200009", "reason": "the acquirer's list has it"});
    shop.post(T2, &format!("/v1/sales/{receipt}/payment"), &paid).await.approved();
    let Body::Payment(payment) = last_entry(&shop).body else { panic!("a payment") };
    assert_eq!((payment.of.to_string(), payment.tender.reference.as_deref()), (receipt.clone(), Some("4200009")));
    shop.post(T1, &format!("/v1/sales/{receipt}/payment"), &outcome("failed")).await.declined("payment_known");
    assert_eq!(shop.get(T2, "/v1/sales/parked").await.json, json!([]));
    shop.post(T1, "/v1/returns", &back).await.approved();
}

#[tokio::test]
async fn a_parked_sale_that_was_not_paid_is_undone_even_after_its_day() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let receipt = park(&shop).await;
    close(&shop).await;
    let shop = shop.restart();
    shop.clock.wind(86_400_000);
    shop.post(T1, "/v1/day/open", &json!({})).await.approved();
    let undone = shop.post(T1, &format!("/v1/sales/{receipt}/payment"), &outcome("failed")).await.approved();
    assert_eq!((&undone["kind"], undone["refunds"].as_array().unwrap().len()), (&json!("void"), 1));
    assert_eq!(shop.available(1), 1_000);
    assert_eq!(shop.get(T2, "/v1/sales/parked").await.json, json!([]));
    shop.post(T1, &format!("/v1/sales/{receipt}/payment"), &outcome("paid")).await.declined("payment_known");
}

#[tokio::test]
async fn a_payment_needs_a_parked_sale_and_words_that_fit() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let sold = shop.post(T1, "/v1/sales", &sale(&[line(100)], &[cash(100)])).await.approved();
    let path = format!("/v1/sales/{}/payment", sold["entry"].as_str().unwrap());
    shop.post(T1, &path, &outcome("paid")).await.declined("payment_known");
    shop.post(T1, "/v1/sales/S1-1-99/payment", &outcome("paid")).await.declined("receipt_unknown");
    let parked = park(&shop).await;
    let path = format!("/v1/sales/{parked}/payment");
    shop.post(T1, &path, &json!({"outcome": "perhaps", "reason": "?"})).await.problem(422, "field_invalid");
    shop.post(T1, &path, &json!({"outcome": "paid", "reason": " "})).await.problem(422, "field_invalid");
    let faulty = json!({"outcome": "failed", "reference": "1", "reason": "no"});
    shop.post(T1, &path, &faulty).await.problem(422, "field_invalid");
}

#[tokio::test]
async fn a_receipt_taken_while_the_edge_was_down_is_recorded_as_taken() {
    let shop = Shop::opened().await;
    let mut basket = sale(&[line(500)], &[cash(500)]);
    basket["taken_at_ms"] = json!(MORNING.0 - 600_000);
    let key = shop.key();
    let posted = shop.post_with(T1, "/v1/sales", &key, basket.to_string()).await.approved();
    let entry = last_entry(&shop);
    assert_eq!(entry.header.origin, Origin::TillOffline);
    let Body::Sale(sale) = &entry.body else { panic!("a sale") };
    assert_eq!(sale.taken_at_ms.map(|at| at.0), Some(MORNING.0 - 600_000));
    let again = shop.post_with(T1, "/v1/sales", &key, basket.to_string()).await.approved();
    assert_eq!(again["entry"], posted["entry"], "however often the till posts it");
    shop.granted(1, 1_000).await;
    basket["tenders"] = json!([by_card(1, 500)]);
    shop.post(T1, "/v1/sales", &basket).await.problem(422, "field_invalid");
}

#[tokio::test]
async fn a_receipt_is_invoiced_once_and_what_comes_back_asks_for_a_red_letter() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let sold = shop.post(T1, "/v1/sales", &sale(&[line(500)], &[by_card(1, 200), cash(300)])).await.approved();
    let receipt = sold["entry"].as_str().unwrap().to_owned();
    let path = format!("/v1/sales/{receipt}/invoice");
    let invoiced = shop.post(T1, &path, &json!({"number": "26440000"})).await.approved();
    assert_eq!(invoiced["invoiceable"], json!([{"tax_ppm": 130_000, "invoiceable_minor": 300}]));
    shop.post(T2, &path, &json!({"number": "26440001"})).await.declined("already_invoiced");
    let void = format!("/v1/sales/{receipt}/void");
    shop.post(T1, &void, &json!({"reason": "typed twice"})).await.declined("already_invoiced");
    let back = json!({"receipt": receipt, "items": [{"line": 0, "quantity_thousandths": 500}], "reason": "broken"});
    let returned = shop.post(T1, "/v1/returns", &back).await.approved();
    assert_eq!(
        returned["red_letter_required"],
        json!({"invoice": "26440000", "invoiceable": [{"tax_ppm": 130_000, "invoiceable_minor": 150}]})
    );
    let by_value = shop.post(T1, "/v1/sales", &sale(&[line(100)], &[by_card(1, 100)])).await.approved();
    let path = format!("/v1/sales/{}/invoice", by_value["entry"].as_str().unwrap());
    shop.post(T1, &path, &json!({"number": "26440002"})).await.declined("nothing_invoiceable");
}

#[tokio::test]
async fn a_receipt_is_printed_again_as_it_is_now() {
    let shop = Shop::opened().await;
    shop.granted(1, 1_000).await;
    let receipt = park(&shop).await;
    let slip = shop.get(T1, &format!("/v1/operations/{receipt}/receipt?language=en")).await;
    assert_eq!(slip.headers["content-type"], "text/plain; charset=utf-8");
    assert!(String::from_utf8_lossy(&slip.bytes).contains("PAYMENT NOT CONFIRMED"));
    shop.post(T1, &format!("/v1/sales/{receipt}/payment"), &outcome("failed")).await.approved();
    let slip = shop.get(T1, &format!("/v1/operations/{receipt}/receipt?columns=48")).await;
    assert!(String::from_utf8_lossy(&slip.bytes).contains("已作废"));
    for (query, status, code) in [
        ("?columns=20", 422, "field_invalid"),
        ("?columns=many", 422, "field_invalid"),
        ("?language=fr", 422, "field_invalid"),
        ("?paper=58", 422, "field_invalid"),
    ] {
        shop.get(T1, &format!("/v1/operations/{receipt}/receipt{query}")).await.problem(status, code);
    }
    shop.get(T1, "/v1/operations/S1-1-999/receipt").await.problem(404, "not_found");
}
