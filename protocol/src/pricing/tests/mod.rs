//! Prices in a small shop, by subject.

mod answer;
mod conditions;
mod kinds;
mod stacking;

/// Goods by SKU.
fn only(skus: &[&str]) -> serde_json::Value {
    serde_json::json!({ "include": { "skus": skus } })
}
