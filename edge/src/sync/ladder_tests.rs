//! The ladder at a store whose head office answers, and yet has said nothing of cards for a while: what counts is how old that is.

use std::sync::Arc;

use huitong_protocol::card::{Card, CardChange, CardStatus};
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::{DatasetKind, DatasetRow, path};
use serde_json::{Value, json};

use super::testing::{FakeOffice, MORNING, Shop, card, document_row, purse};
use crate::ledger::testing::POLICY;

const HOUR_MS: i64 = 3_600_000;

/// An office whose policy lets cards pay 2.00 of a receipt after an hour. Nobody is asked about a card: those calls never come through.
fn office() -> Arc<FakeOffice> {
    let office = FakeOffice::new();
    let ladder = "[allotment]\nrelease = { when = \"at_close\" }\n[ladder]\nrungs = [{ after_minutes = 60, value_minor_max = 200, bearer_cards = true }]\n";
    office.with(|office| {
        office.publish(DatasetKind::Policies, document_row(1, &format!("{POLICY}\n{ladder}")));
        office.publish(DatasetKind::Cards, DatasetRow::Card(card(1)));
        office.cut.insert(path::GRANT);
    });
    office
}

async fn shop() -> Shop {
    let shop = Shop::with(office(), |_| {}).await;
    shop.reload(1, 5_000).await;
    shop
}

/// A card is reported lost, and nothing of the dataset arrives. Returns when the store was told that there is news.
async fn lose_card_2(shop: &Shop) {
    let polls = shop.office.with(|office| {
        office.cut.insert(path::DATASET);
        let lost = Card { status: CardStatus::Lost, status_stamp: Stamp(2), ..card(2) };
        office.publish(DatasetKind::Cards, DatasetRow::Card(lost));
        office.count(path::POLL)
    });
    // The poll that was on its way may still say that there is nothing; the one after it does not, and the third comes when that one was read.
    shop.office.until("the store polls on", |office| office.count(path::POLL) >= polls + 3).await;
}

#[tokio::test]
async fn answers_of_a_hub_whose_cards_do_not_come_leave_the_store_as_old_as_its_cards() {
    let shop = shop().await;
    lose_card_2(&shop).await;
    shop.clock.wind(HOUR_MS - 1);
    assert_eq!(shop.spend(1, 201).await["decision"], "approved", "not yet");
    shop.clock.wind(1);
    // Reports are taken, polls are answered: the line is as good as can be.
    shop.edge.wait_reported().await.unwrap();
    let polls = shop.office.with(|office| office.count(path::POLL));
    shop.office.until("the store polls on", |office| office.count(path::POLL) >= polls + 3).await;
    let seen = shop.status().await;
    assert_eq!((&seen["hub_online"], &seen["ladder"]["value_minor_max"]), (&json!(true), &json!(200)), "{seen}");
    assert_eq!(seen["cards"], json!({"confirmed_at_ms": MORNING, "age_ms": HOUR_MS}), "{seen}");
    assert!(seen["alarms"].to_string().contains("which cards were reported lost"), "{seen}");
    let declined = shop.spend(1, 201).await;
    assert_eq!(
        (&declined["code"], &declined["available_here_minor"]),
        (&json!("offline_limit"), &json!(200)),
        "{declined}"
    );
    assert_eq!(shop.spend(1, 200).await["decision"], "approved");

    shop.office.with(|office| office.cut.remove(path::DATASET));
    shop.edge.download().await.unwrap();
    assert_eq!(shop.spend(1, 201).await["decision"], "approved", "the store knows all cards again");
    let seen = shop.status().await;
    assert_eq!((&seen["ladder"], &seen["cards"]["age_ms"]), (&Value::Null, &json!(0)), "{seen}");
    shop.edge.close().await;
}

#[tokio::test]
async fn a_restart_makes_no_store_younger_and_a_poll_with_nothing_new_does() {
    let shop = shop().await;
    let cut = [path::HELLO, path::POLL, path::REPORT, path::UPLOAD, path::DATASET];
    let line = |shop: &Shop, is_cut: bool| {
        shop.office.with(|office| match is_cut {
            true => office.cut.extend(cut),
            false => office.cut.retain(|path| !cut.contains(path)),
        });
    };
    line(&shop, true);
    shop.clock.wind(HOUR_MS - 1);
    let shop = shop.restart().await;
    assert_eq!(shop.status().await["cards"]["age_ms"], HOUR_MS - 1, "as old as before");
    shop.clock.wind(1);
    assert_eq!(shop.spend(1, 201).await["code"], "offline_limit");
    // The clock was an hour and a half ahead. From here on it is known how much older the store gets, also over a restart.
    shop.clock.wind(-3 * HOUR_MS / 2);
    assert_eq!(shop.status().await["cards"]["age_ms"], 0);
    let shop = shop.restart().await;
    shop.clock.wind(HOUR_MS / 2);
    let shop = shop.restart().await;
    shop.clock.wind(HOUR_MS / 2);
    assert_eq!(shop.status().await["cards"]["age_ms"], HOUR_MS, "neither below zero nor again and again from zero");
    assert_eq!(shop.spend(1, 201).await["code"], "offline_limit");

    let downloads = shop.office.with(|office| office.count(path::DATASET));
    line(&shop, false);
    shop.edge.reconnect().await.unwrap();
    let polls = shop.office.with(|office| office.count(path::POLL));
    shop.office.until("the store polls", |office| office.count(path::POLL) >= polls + 2).await;
    assert_eq!(shop.spend(1, 201).await["decision"], "approved");
    assert_eq!(shop.office.with(|office| office.count(path::DATASET)), downloads, "there was nothing to fetch");
    shop.edge.close().await;
}

/// Waits until the store has asked whether there is news, and has read the answer.
async fn polled(shop: &Shop) {
    let polls = shop.office.with(|office| office.count(path::POLL));
    shop.office.until("the store polls on", |office| office.count(path::POLL) >= polls + 3).await;
}

#[tokio::test]
async fn a_restored_head_office_makes_no_store_younger_before_it_has_heard_everybody() {
    let shop = shop().await;
    shop.office.with(|office| office.cut.extend([path::POLL, path::REPORT, path::DATASET, path::UPLOAD, path::HELLO]));
    shop.clock.wind(HOUR_MS);
    shop.office.with(|office| {
        office.forget_reports();
        office.recovers = true;
        office.cut.retain(|path| *path == path::GRANT);
    });
    shop.edge.reconnect().await.unwrap();
    shop.edge.download().await.unwrap();
    polled(&shop).await;
    let cards_version = shop.office.with(|office| office.cards_told.0);
    assert_eq!(cards_version, shop.office.with(|office| office.newest(DatasetKind::Cards)), "all of them are here");
    // Whoever was stopped in this hour the other stores know, and head office not yet.
    assert_eq!(shop.status().await["cards"]["age_ms"], HOUR_MS);
    assert_eq!(shop.spend(1, 201).await["code"], "offline_limit");
    let shop = shop.restart().await;
    shop.clock.wind(HOUR_MS);
    polled(&shop).await;
    shop.edge.download().await.unwrap();
    assert_eq!(shop.status().await["cards"]["age_ms"], 2 * HOUR_MS, "nor does a restart");
    assert_eq!(shop.spend(1, 201).await["code"], "offline_limit");

    shop.office.with(|office| office.recovers = false);
    polled(&shop).await;
    assert_eq!(shop.status().await["cards"]["age_ms"], 0);
    assert_eq!(shop.spend(1, 201).await["decision"], "approved");
    shop.edge.close().await;
}

#[tokio::test]
async fn a_stop_that_a_restored_head_office_has_forgotten_stays_here_and_is_told_to_it() {
    let shop = shop().await;
    shop.office.with(|office| {
        office.publish(DatasetKind::Cards, DatasetRow::Card(card(2)));
        office.publish(DatasetKind::Cards, DatasetRow::Card(card(3)));
    });
    shop.edge.download().await.unwrap();
    let lost = |n, stamp| Card { status: CardStatus::Lost, status_stamp: Stamp(stamp), ..card(n) };
    shop.office.with(|office| {
        office.publish(DatasetKind::Cards, DatasetRow::Card(lost(2, 5)));
        office.publish(DatasetKind::Cards, DatasetRow::Card(lost(3, 7)));
    });
    shop.edge.download().await.unwrap();
    shop.edge.wait_reported().await.unwrap();
    assert_eq!(shop.office.with(|office| office.card_changes.clone()), [], "who published it knows it");
    let said = |n, stamp| CardChange { number: card(n).number, status: CardStatus::Lost, stamp: Stamp(stamp) };
    let both = [said(2, 5), said(3, 7)];
    let mut shop = shop;
    for life in 1..=2 {
        // Put back to before both were lost; the second time another store has told of card 3, and a person put it into use again.
        shop.office.with(|office| {
            office.forget_reports();
            office.recovers = true;
            office.card_changes.clear();
            office.published.retain(|(kind, ..)| *kind != DatasetKind::Cards);
            let row = |n, status_stamp| DatasetRow::Card(Card { status_stamp, ..card(n) });
            office.publish(DatasetKind::Cards, row(1, Stamp(1)));
            office.publish(DatasetKind::Cards, row(2, Stamp(4)));
            office.publish(DatasetKind::Cards, row(3, Stamp(if life == 2 { 9 } else { 6 })));
        });
        if life == 1 {
            shop.edge.reconnect().await.unwrap();
            shop.edge.wait_reported().await.unwrap();
            // What was told may have been lost with the process: it is told again, and nothing else.
            shop = shop.restart().await;
        }
        shop.edge.download().await.unwrap();
        assert_eq!(shop.spend(2, 100).await["code"], "card_lost", "in life {life} head office has it active");
        shop.edge.wait_reported().await.unwrap();
        let changes = shop.office.with(|office| office.card_changes.clone());
        assert!(!changes.is_empty() && changes.chunks(2).all(|told| told == both), "life {life}: {changes:?}");
        let is_stopped = shop.spend(3, 100).await["code"] == "card_lost";
        assert_eq!(is_stopped, life == 1, "a later word of head office counts");
    }
    shop.edge.close().await;
}

#[tokio::test]
async fn stops_that_were_lifted_between_two_lives_leave_nothing_to_tell() {
    let shop = shop().await;
    let is = |status, stamp| DatasetRow::Card(Card { status, status_stamp: Stamp(stamp), ..card(2) });
    shop.office.with(|office| office.publish(DatasetKind::Cards, is(CardStatus::Lost, 5)));
    shop.edge.download().await.unwrap();
    for stops in [1, 0] {
        shop.office.with(|office| {
            office.forget_reports();
            office.card_changes.clear();
        });
        shop.edge.reconnect().await.unwrap();
        // A store that looks for what it has numbered and nobody is told any more would report for ever.
        let reported = tokio::time::timeout(std::time::Duration::from_secs(30), shop.edge.wait_reported());
        reported.await.expect("it ends").unwrap();
        shop.office.with(|office| {
            assert_eq!(office.card_changes.iter().filter(|told| told.number == card(2).number).count().min(1), stops);
            office.publish(DatasetKind::Cards, is(CardStatus::Active, 9));
        });
        shop.edge.download().await.unwrap();
    }
    // The numbers of the stops are not given again, or what moves next would count as told.
    let shop = shop.restart().await;
    shop.reload(1, 300).await;
    shop.edge.wait_reported().await.unwrap();
    let loaded = shop.office.with(|office| office.sides[&purse(1)].line.seen.loaded_minor);
    assert_eq!(loaded, 5_300);
    shop.edge.close().await;
}

#[tokio::test]
async fn a_head_office_that_has_fewer_cards_than_the_store_says_nothing_of_them() {
    let shop = shop().await;
    shop.office.with(|office| office.publish(DatasetKind::Cards, DatasetRow::Card(card(2))));
    shop.edge.download().await.unwrap();
    // It was put back from a backup, and nobody has told it.
    let forgotten = shop.office.with(|office| office.published.pop().unwrap());
    polled(&shop).await;
    shop.clock.wind(HOUR_MS);
    polled(&shop).await;
    shop.edge.download().await.unwrap();
    assert_eq!(shop.status().await["cards"]["age_ms"], HOUR_MS);
    shop.office.with(|office| office.published.push(forgotten));
    polled(&shop).await;
    assert_eq!(shop.status().await["cards"]["age_ms"], 0);
    shop.edge.close().await;
}

#[tokio::test]
async fn an_answer_that_is_read_late_makes_the_store_no_younger_than_when_it_asked() {
    let shop = shop().await;
    let polls = shop.office.with(|office| {
        office.held.insert(path::POLL);
        office.count(path::POLL)
    });
    // The one that was under way may have got through; the next is answered, and the answer does not arrive.
    shop.office.until("the store polls", |office| office.count(path::POLL) > polls).await;
    shop.clock.wind(HOUR_MS);
    shop.office.with(|office| {
        office.cut.extend([path::POLL, path::HELLO]);
        office.held.remove(path::POLL);
    });
    while shop.edge.is_online() {
        tokio::task::yield_now().await;
    }
    assert_eq!(shop.status().await["cards"]["age_ms"], HOUR_MS);
    shop.edge.close().await;
}

#[tokio::test]
async fn a_store_says_which_cards_it_has_when_they_are_here_and_with_every_poll() {
    let shop = shop().await;
    lose_card_2(&shop).await;
    let newest = shop.office.with(|office| office.newest(DatasetKind::Cards));
    shop.office.with(|office| {
        assert!(office.cards_told.0 < newest && office.cards_told.1 < newest, "{:?}", office.cards_told);
        office.cut.remove(path::DATASET);
    });
    shop.edge.download().await.unwrap();
    assert_eq!(shop.office.with(|office| office.cards_told.1), newest, "head office need not wait for a poll to know");
    shop.office.until("a poll says so", |office| office.cards_told.0 == newest).await;
    shop.edge.close().await;
}
