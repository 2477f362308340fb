//! Hint: what to try next, as lines that work when they are pasted into a terminal while the demo serves.

use anyhow::Context;
use huitong_protocol::till::IDEMPOTENCY_KEY;
use serde_json::json;

use super::chain::{Chain, HUB, LATE, operation_id};
use super::figures::Figures;

/// The lines, for a POSIX shell.
pub(super) fn lines(chain: &Chain, figures: &Figures) -> anyhow::Result<String> {
    let shop = chain.shops.first().context("there is no store")?;
    let card = shop.cards.first().context("there is no card")?.reveal();
    let day = figures.business_day.context("no day was traded")?;
    let tomorrow = day.tomorrow();
    let last = figures.runs.last().map_or(1, |run| run.run);
    let sale = json!({
        "currency": "CNY",
        "lines": [{ "sku": "6901", "quantity_thousandths": 1000, "gross_minor": 1500, "net_minor": 1500 }],
        "tenders": [{ "tender": "stored_value", "amount_minor": 1500, "card": card }],
    });
    let member_card = shop.cards.get(1).context("there is no second card")?.reveal();
    let quote = json!({
        "currency": "CNY",
        "member_card": member_card,
        "coupons": ["WELCOME20"],
        "lines": [{ "sku": "6905", "quantity_thousandths": 1000, "gross_minor": 39900, "net_minor": 39900 }],
    });
    let open = json!({ "business_day": tomorrow });
    let others: Vec<String> = figures
        .addresses
        .iter()
        .filter(|(name, _)| name.as_str() != HUB && name.as_str() != shop.id.as_str())
        .map(|(name, address)| format!("{name} http://{address}"))
        .collect();
    let hub = format!("cargo run --release --bin huitong-hub -- --config '{}'", chain.hub_config().display());
    let (store, address) = (shop.id, shop.address);
    Ok(format!(
        r#"What to try next, in another terminal ({store} is http://{address}; others: {others}):

  TILL='authorization: Bearer {token}'
  JSON='content-type: application/json'

  # How is the store?
  curl -sw '\n' -H "$TILL" http://{address}/v1/status

  # What is on a card, here and everywhere?
  curl -sw '\n' -H "$TILL" 'http://{address}/v1/cards/{card}?total=true'

  # What does a jumper cost a member with a coupon, and why? Nothing is stored.
  curl -sw '\n' -H "$TILL" -H "$JSON" -d '{quote}' http://{address}/v1/quotes

  # Open the next day and sell something for 15.00. Send the sale again: it has one effect, the answer is replayed.
  curl -sw '\n' -H "$TILL" -H "$JSON" -H '{IDEMPOTENCY_KEY}: {open_key}' -d '{open}' http://{address}/v1/day/open
  curl -siw '\n' -H "$TILL" -H "$JSON" -H '{IDEMPOTENCY_KEY}: {sale_key}' -d '{sale}' http://{address}/v1/sales

  # What head office sees.
  {hub} statement show {last} --party store:{LATE} --lang en
  {hub} account show {card}
  {hub} day list --from {day}
  {hub} policy adoption
"#,
        others = others.join(", "),
        token = shop.token,
        open_key = operation_id()?,
        sale_key = operation_id()?,
    ))
}
