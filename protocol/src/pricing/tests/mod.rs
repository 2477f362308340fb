//! Prices in a small shop, by subject.

mod answer;
mod basket_markdowns;
mod conditions;
mod kinds;
mod stacking;

/// Goods by SKU.
fn only(skus: &[&str]) -> serde_json::Value {
    serde_json::json!({ "include": { "skus": skus } })
}
