//! A year in a second: seeded tills do what tills do, well and badly, again and again, while the shop restarts now and then; a model of a few
//! lines says what every card must hold. A difference prints its seed.

use std::collections::HashMap;

use huitong_protocol::card::CardStatus;
use huitong_protocol::id::Seq;
use huitong_protocol::journal::{Head, verify};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::testing::*;
use crate::store::journal as entries;

/// What the shop must be like.
#[derive(Default)]
struct Model {
    held_minor: HashMap<i64, i64>,
    cash_in_minor: i64,
    /// Receipts of sales by card: receipt, card, amount, thousandths not yet returned.
    sales: Vec<(Value, i64, i64, i64)>,
    /// Everything sent: key, path, body and the answer's bytes.
    sent: Vec<(String, String, String, Vec<u8>)>,
}

struct Player {
    shop: Shop,
    model: Model,
    random: StdRng,
}

impl Player {
    /// Sends an operation, now and then twice, and remembers it.
    async fn post(&mut self, path: String, body: Value) -> Reply {
        let (key, body) = (self.shop.key(), body.to_string());
        let reply = self.shop.post_with(T1, &path, &key, body.clone()).await;
        if self.random.random_ratio(1, 3) {
            let again = self.shop.post_with(T1, &path, &key, body.clone()).await;
            assert_eq!(again.bytes, reply.bytes);
        }
        self.model.sent.push((key, path, body, reply.bytes.clone()));
        reply
    }

    async fn play(&mut self) {
        let n = self.random.random_range(1..6);
        let amount = self.random.random_range(1..2_000);
        let held = self.model.held_minor.get(&n).copied().unwrap_or(0);
        match self.random.random_range(0..12) {
            0..=3 => {
                let reply = self.post(format!("/v1/cards/{}/reload", number(n)), load(amount)).await;
                reply.approved();
                *self.model.held_minor.entry(n).or_default() += amount;
                self.model.cash_in_minor += amount;
            }
            4..=8 => {
                let mut odd = line(amount);
                odd["quantity_thousandths"] = json!(3_000);
                let reply = self.post("/v1/sales".to_owned(), sale(&[odd], &[by_card(n, amount)])).await;
                if amount > held {
                    reply.declined("insufficient");
                } else {
                    let receipt = reply.approved()["entry"].clone();
                    *self.model.held_minor.entry(n).or_default() -= amount;
                    self.model.sales.push((receipt, n, amount, 3_000));
                }
            }
            9 => {
                let at = self.random.random_range(0..self.model.sales.len().max(1));
                let Some((receipt, n, amount, left)) = self.model.sales.get(at).cloned() else { return };
                let path = format!("/v1/operations/{}/void", receipt.as_str().unwrap());
                let reply = self.post(path, json!({"reason": "mistake"})).await;
                if left < 3_000 {
                    reply.declined("already_returned");
                } else {
                    reply.approved();
                    *self.model.held_minor.entry(n).or_default() += amount;
                    self.model.sales.swap_remove(at);
                }
            }
            10 => {
                let at = self.random.random_range(0..self.model.sales.len().max(1));
                let Some((receipt, n, amount, left)) = self.model.sales.get(at).cloned() else { return };
                let some = self.random.random_range(1..=3) * 1_000;
                let item = json!([{"line": 0, "quantity_thousandths": some}]);
                let reply = self
                    .post("/v1/returns".to_owned(), json!({"receipt": receipt, "reason": "broken", "items": item}))
                    .await;
                if some > left {
                    reply.declined("return_exceeds_sale");
                    return;
                }
                let done = reply.approved();
                let back = done["refunds"][0]["amount_minor"].as_i64().unwrap_or(0);
                *self.model.held_minor.entry(n).or_default() += back;
                // What came back of a receipt in all is what it cost, whatever the parts were.
                let before: i64 = amount - remaining(amount, left);
                assert_eq!(before + back, amount - remaining(amount, left - some), "of {amount}, {left} less {some}");
                self.model.sales[at].3 = left - some;
            }
            _ => {
                // Out of the drawer and out of the question: a card that is not in use, a load beyond the limit.
                self.post(format!("/v1/cards/{}/reload", number(n)), load(500_001)).await.declined("load_limit");
                self.post("/v1/sales".to_owned(), sale(&[line(5)], &[by_card(12, 5)]))
                    .await
                    .declined("card_not_active");
            }
        }
    }

    #[track_caller]
    fn check(&self) {
        for (&n, &held_minor) in &self.model.held_minor {
            assert_eq!(self.shop.available(n), held_minor, "card {n}");
        }
    }
}

/// What of an amount is still the shop's when so many of 3000 thousandths are still the customer's, rounded half up per cumulative return.
fn remaining(amount: i64, left: i64) -> i64 {
    amount - (2 * amount * (3_000 - left) + 3_000) / 6_000
}

async fn simulate(seed: u64) {
    let shop = Shop::opened().await;
    // Head office answers that it knows the cards and has nothing for them.
    for n in 1..10 {
        for card in [card(n, CardStatus::Active), card(n + 10, CardStatus::Blank)] {
            shop.hub.world.lock().unwrap().cards.insert(card.number, card);
        }
    }
    let mut player = Player { shop, model: Model::default(), random: StdRng::seed_from_u64(seed) };
    for _ in 0..3 {
        for _ in 0..60 {
            player.play().await;
            player.shop.clock.wind(1_000);
        }
        player.check();
        player.shop = player.shop.restart();
        player.check();
    }
    let head = player.shop.store.head();
    for (key, path, body, bytes) in &player.model.sent {
        let again = player.shop.post_with(T1, path, key, body.clone()).await;
        assert_eq!(&again.bytes, bytes, "{path}");
    }
    assert_eq!(player.shop.store.head(), head, "whatever is sent again has its effect already");
    let x = player.shop.get(T1, "/v1/day/x").await.json;
    let cash = x["totals"]["tenders"].as_array().unwrap().iter().find(|row| row["tender"] == "cash").unwrap().clone();
    assert_eq!(cash["in_minor"].as_i64(), Some(player.model.cash_in_minor));
    let all = player.shop.store.read(|tx| entries::entries_after(tx, Seq::ZERO, 100_000, usize::MAX)).unwrap();
    let walk = all.iter().map(|entry| (entry.head.seq, entry.head.hash, entry.bytes.as_slice()));
    assert_eq!(verify(Head::START, walk), Ok(head));
}

#[tokio::test]
async fn whatever_tills_do_cards_hold_what_they_must() {
    for seed in 1..=6 {
        println!("seed {seed}");
        simulate(seed).await;
    }
}
