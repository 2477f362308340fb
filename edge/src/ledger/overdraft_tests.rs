//! Overdrafts at the till: not at all by default; within the line to the cent, whoever comes at once and however often they ask.

use huitong_protocol::allotment::Purse;
use huitong_protocol::card::{Card, CardStatus};
use huitong_protocol::id::{AccountId, MemberId};
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::{Cleared, DatasetKind, DatasetPage, DatasetRow, Grant};
use serde_json::{Value, json};

use super::testing::{
    CNY, MORNING, POLICY, Reply, Shop, T1, T2, account, by_card, card, cash, line, policy_page, sale,
};
use crate::store::{WriteTx, allotment, card as cards, overdraft, replica};

const CHAPTER: &str = "
[overdraft]
store_line_minor = 1000
receipt_minor_max = 800
account_minor_max = 900
store_day_minor_max = 5000
cards_age_minutes_max = 60
";

const LINE: Purse = Purse { account: AccountId::RISK, unit: CNY };

/// An open shop without a line to head office: cards 1 and 2 are of members and have 60 each, and the line has 1 000.
async fn offline() -> Shop {
    let shop = Shop::opened().await;
    let document = format!("{POLICY}{CHAPTER}");
    shop.store
        .write(move |tx| {
            replica::apply_page(tx, &policy_page(2, "2026-01-01", &document))?;
            for n in 1..=2 {
                let of_member = Card { member: Some(MemberId::new(n).unwrap()), ..card(n, CardStatus::Active) };
                cards::upsert_from_hub(tx, &of_member, None)?;
            }
            let grants = [(account(1), 60), (account(2), 60), (AccountId::RISK, 1_000)];
            let grant = |(account, granted_minor)| Grant { account, unit: CNY, granted_minor, stamp: Stamp::ZERO };
            allotment::adopt_grants(tx, MORNING, &grants.map(grant)).map(drop)
        })
        .await
        .unwrap();
    shop.hub.world.lock().unwrap().online = false;
    shop
}

async fn overdraft_of(shop: &Shop) -> Value {
    shop.get(T1, "/v1/status").await.json["overdraft"].clone()
}

fn status(left: i64, today: i64, owed: i64) -> Value {
    json!({"allowed": true, "line_minor": 1000, "left_minor": left, "today_minor": today, "owed_minor": owed})
}

fn overdrawn(reply: Reply) -> i64 {
    reply.approved()["overdraft_minor"].as_i64().unwrap_or(0)
}

#[tokio::test]
async fn by_default_nothing_is_overdrawn_and_the_status_says_zeros() {
    let shop = Shop::opened().await;
    shop.granted(1, 60).await;
    shop.hub.world.lock().unwrap().online = false;
    shop.spend(T1, 1, 61).await.declined("insufficient_here_offline");
    let zeros = json!({"allowed": false, "line_minor": 0, "left_minor": 0, "today_minor": 0, "owed_minor": 0});
    assert_eq!(overdraft_of(&shop).await, zeros);
}

#[tokio::test]
async fn a_head_office_that_waits_for_stores_is_no_reason_to_lend() {
    let shop = offline().await;
    {
        let mut world = shop.hub.world.lock().unwrap();
        (world.online, world.is_closed) = (true, true);
        let of_member = Card { member: Some(MemberId::new(1).unwrap()), ..card(1, CardStatus::Active) };
        world.cards.insert(of_member.number, of_member);
    }
    let refused = shop.spend(T1, 1, 61).await.declined("insufficient_here_offline");
    assert_eq!(refused["available_here_minor"], 60, "and nobody says that the card is empty");
    shop.spend(T1, 1, 60).await.approved();
    assert_eq!(overdraft_of(&shop).await, status(1_000, 0, 0));
    shop.hub.world.lock().unwrap().is_closed = false;
    shop.spend(T1, 1, 1).await.declined("insufficient");
}

#[tokio::test]
async fn a_card_pays_to_the_last_cent_of_each_limit_and_the_line() {
    let shop = offline().await;
    let refused = shop.spend(T1, 1, 861).await.declined("overdraft_limit");
    assert_eq!((&refused["available_here_minor"], &refused["needed_minor"]), (&json!(860), &json!(861)));
    let answer = shop.spend(T1, 1, 860).await.approved();
    assert_eq!(answer["overdraft_minor"], 800);
    let balances = answer["balances"].as_array().unwrap();
    assert_eq!((balances.len(), &balances[0]["available_here_minor"]), (1, &json!(0)), "the line is nobody's balance");
    assert_eq!(overdraft_of(&shop).await, status(200, 800, 800));
    let refused = shop.spend(T1, 1, 101).await.declined("overdraft_limit");
    assert_eq!(refused["available_here_minor"], 100, "the account's limit");
    let refused = shop.spend(T1, 2, 261).await.declined("overdraft_limit");
    assert_eq!(refused["available_here_minor"], 260, "the line's");
    assert_eq!(overdrawn(shop.spend(T1, 2, 260).await), 200);
    shop.spend(T1, 1, 1).await.declined("overdraft_limit");
    assert_eq!(overdraft_of(&shop).await, status(0, 1000, 1000));
}

#[tokio::test]
async fn head_office_says_what_does_not_count_any_more() {
    let shop = offline().await;
    assert_eq!(overdrawn(shop.spend(T1, 1, 860).await), 800);
    let cleared = Cleared { account: account(1), unit: CNY, cleared_minor: 750 };
    let page = DatasetPage {
        dataset: DatasetKind::Overdrafts,
        through_version: 4,
        more: false,
        recovers: false,
        rows: vec![DatasetRow::Cleared(cleared)],
        phone_key: None,
    };
    let grant = Grant { account: AccountId::RISK, unit: CNY, granted_minor: 1_750, stamp: Stamp::ZERO };
    let work = move |tx: &mut WriteTx<'_>| {
        replica::apply_page(tx, &page)?;
        allotment::adopt_grants(tx, MORNING, &[grant]).map(drop)
    };
    shop.store.write(work).await.unwrap();
    assert_eq!(overdraft_of(&shop).await, status(950, 800, 50));
    assert_eq!(overdrawn(shop.spend(T1, 1, 800).await), 800, "850 of 900 are owed here now");
    shop.spend(T1, 1, 51).await.declined("overdraft_limit");
    assert_eq!(shop.store.read(|tx| overdraft::owed(tx, account(1), CNY)).unwrap(), 850);
}

#[tokio::test]
async fn two_tills_at_once_share_one_line_and_a_retry_draws_once() {
    let shop = offline().await;
    let basket = |n: i64| sale(&[line(760)], &[by_card(n, 760)]).to_string();
    let (one, two) = tokio::join!(
        shop.post_with(T1, "/v1/sales", "00000000-0000-7000-8000-00000000aaa1", basket(1)),
        shop.post_with(T2, "/v1/sales", "00000000-0000-7000-8000-00000000aaa2", basket(2)),
    );
    let approved: Vec<bool> = [&one, &two].map(|reply| reply.json["decision"] == "approved").to_vec();
    assert_eq!(approved.iter().filter(|is| **is).count(), 1, "{} {}", one.json, two.json);
    let (till, key, n, first) = if approved[0] { (T1, "1", 1, one) } else { (T2, "2", 2, two) };
    let key = format!("00000000-0000-7000-8000-00000000aaa{key}");
    let again = shop.post_with(till, "/v1/sales", &key, basket(n)).await;
    assert_eq!(again.json, first.json);
    assert_eq!(overdraft_of(&shop).await, status(300, 700, 700));
}

#[tokio::test]
async fn a_lost_card_a_bearer_card_and_old_knowledge_are_refused() {
    let shop = offline().await;
    let lose = |tx: &mut WriteTx<'_>| {
        let lost =
            Card { member: Some(MemberId::new(2).unwrap()), status_stamp: Stamp(1), ..card(2, CardStatus::Lost) };
        cards::upsert_from_hub(tx, &lost, None)
    };
    shop.store.write(lose).await.unwrap();
    shop.spend(T1, 2, 61).await.declined("card_lost");
    shop.granted(3, 60).await;
    shop.spend(T1, 3, 61).await.declined("insufficient_here_offline");
    shop.clock.wind(3_600_000);
    assert_eq!(overdrawn(shop.spend(T1, 1, 61).await), 1);
    shop.clock.wind(1);
    shop.spend(T1, 1, 1).await.declined("insufficient_here_offline");
}

#[tokio::test]
async fn what_comes_back_goes_to_head_office_and_a_void_opens_the_days_limit_again() {
    let shop = offline().await;
    let answer = shop.spend(T1, 1, 460).await.approved();
    assert_eq!(overdraft_of(&shop).await, status(600, 400, 400));
    shop.void(&answer["operation"]).await.approved();
    // Head office may have collected the 400 and lent them elsewhere: it alone fills the line.
    assert_eq!((overdraft_of(&shop).await, shop.available(1)), (status(600, 0, 0), 60));
    let line = || shop.store.read(|tx| allotment::get(tx, LINE)).unwrap().counters;
    assert_eq!((line().loaded_minor, line().released_minor), (400, 400));
    let answer = shop.spend(T1, 1, 460).await.approved();
    let back =
        json!({"receipt": answer["entry"], "items": [{"line": 0, "quantity_thousandths": 500}], "reason": "too small"});
    shop.post(T1, "/v1/returns", &back).await.approved();
    assert_eq!((overdraft_of(&shop).await, shop.available(1)), (status(200, 400, 170), 0), "230 of it were lent");
    shop.post(T1, "/v1/returns", &back).await.approved();
    assert_eq!((overdraft_of(&shop).await, shop.available(1)), (status(200, 400, 0), 60));
    assert_eq!((line().loaded_minor, line().released_minor), (800, 800));
}

#[tokio::test]
async fn a_payment_of_yesterday_that_fails_opens_no_limit_of_today() {
    let shop = offline().await;
    let mut basket = sale(&[line(560)], &[by_card(1, 260), cash(300)]);
    basket["payment_unknown"] = json!(1);
    let parked = shop.post(T1, "/v1/sales", &basket).await.approved();
    assert_eq!((&parked["overdraft_minor"], overdraft_of(&shop).await), (&json!(200), status(800, 200, 200)));
    shop.post(T1, "/v1/day/close", &json!({})).await.approved();
    shop.post(T1, "/v1/day/open", &json!({"business_day": "2026-11-23"})).await.approved();
    assert_eq!(overdrawn(shop.spend(T1, 2, 260).await), 200);
    assert_eq!(overdraft_of(&shop).await, status(600, 200, 400));
    let receipt = parked["entry"].as_str().unwrap();
    let failed = json!({"outcome": "failed", "reason": "asked the acquirer"});
    shop.post(T1, &format!("/v1/sales/{receipt}/payment"), &failed).await.approved();
    assert_eq!((overdraft_of(&shop).await, shop.available(1)), (status(600, 200, 200), 60), "200 were drawn today");
}

#[tokio::test]
async fn what_was_overdrawn_is_known_after_a_restart() {
    let shop = offline().await;
    assert_eq!(overdrawn(shop.spend(T1, 1, 460).await), 400);
    let shop = shop.restart();
    assert_eq!(overdraft_of(&shop).await, status(600, 400, 400));
}
