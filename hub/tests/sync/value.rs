//! How value moves: reports, grants, recalls.

use std::sync::atomic::Ordering;

use huitong_hub::store::{StoreError, allotment as rows, policy};
use huitong_protocol::allotment::{Purse, StoreCounters, StoreEvent};
use huitong_protocol::bundle::{Bundle, KeyId, Signed};
use huitong_protocol::card::{CardChange, CardStatus};
use huitong_protocol::decline::PlaceState;
use huitong_protocol::id::Epoch;
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::wire::{
    Answer, DatasetKind, GrantAnswer, GrantRequest, Need, Poll, Polled, Purpose, Recall, SyncFault, path,
};

use crate::fake::{CNY, FakeStore, GROUP, World, account, card, fault};

const PURSE: fn() -> Purse = || Purse { account: account(1), unit: CNY };

async fn free_minor(world: &World) -> i64 {
    world.read(|tx| Ok(rows::pool(tx, PURSE())?.0.free_minor())).await
}

async fn seen(world: &World, store: &FakeStore) -> StoreCounters {
    let (id, epoch) = (store.id, store.epoch);
    world.read(move |tx| Ok(rows::line(tx, PURSE(), id, epoch)?.unwrap_or_default().seen)).await
}

#[tokio::test]
async fn reports_may_come_twice_and_out_of_order() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.step(StoreEvent::Load { amount_minor: 100 });
    let first = store.report(account(1));
    store.step(StoreEvent::Release { amount_minor: 60 });
    let second = store.report(account(1));
    for report in [&second, &first, &second, &first] {
        let answer = store.send_report(report.clone()).await.unwrap();
        assert!(answer.refused.is_empty(), "{:?}", answer.refused);
        assert_eq!(free_minor(&world).await, 60);
    }
    assert_eq!(seen(&world, &store).await, store.counters);
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_line_that_cannot_be_right_is_refused_and_the_rest_goes_on() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.step(StoreEvent::Load { amount_minor: 100 });
    let mut report = store.report(account(1));
    let good = report.counters[0];
    let mut of = |account_no: i64, change: fn(&mut StoreCounters)| {
        let mut line = good;
        line.account = account(account_no);
        change(&mut line.counters);
        report.counters.push(line);
    };
    of(2, |counters| counters.spent_minor = 101);
    of(99, |_| ());
    let answer = store.send_report(report).await.unwrap();
    let refused: Vec<(i64, &str)> =
        answer.refused.iter().map(|line| (line.account.get(), line.reason.as_str())).collect();
    assert_eq!(refused, [(2, "the reported counters leave -1 available"), (99, "account 99 does not exist")]);
    assert_eq!(seen(&world, &store).await, store.counters);
    let mut backwards = store.report(account(1));
    backwards.counters[0].counters = StoreCounters { loaded_minor: 99, spent_minor: 1, ..StoreCounters::default() };
    assert_eq!(store.send_report(backwards).await.unwrap().refused.len(), 1);
    assert_eq!(world.exceptions().await, ["report_refused", "report_refused", "counter_backwards"]);
}

#[tokio::test]
async fn a_report_of_another_epoch_is_foreign() {
    let world = World::new().await;
    let store = world.store("S1").await;
    let mut report = store.report(account(1));
    report.epoch = Epoch(2);
    assert_eq!(fault(store.send_report(report).await), SyncFault::Foreign);
    assert_eq!(world.refused_rows().await, ["foreign"]);
}

#[tokio::test]
async fn a_clock_that_runs_ahead_is_named_and_not_passed_on() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    world.load(account(1), 100).await;
    store.stamp = world.clock.0.load(Ordering::SeqCst) + 60_001;
    store.send_report(store.report(account(1))).await.unwrap();
    let mut other = world.store("S2").await;
    other.stamp = 5;
    let answer = other.ask(10).await;
    assert_eq!(answer.grants[0].stamp, Stamp(5));
    assert_eq!(world.exceptions().await, ["clock_skew"]);
}

#[tokio::test]
async fn card_states_travel_and_the_larger_stamp_wins() {
    let world = World::new().await;
    let store = world.store("S1").await;
    let now = world.clock.0.load(Ordering::SeqCst);
    let say = async |status, stamp| {
        let mut report = store.report(account(1));
        report.cards = vec![CardChange { number: card(1), status, stamp: Stamp(stamp) }];
        store.send_report(report).await.unwrap();
        world.read(|tx| Ok(huitong_hub::store::card::find(tx, card(1))?.unwrap().status)).await
    };
    assert_eq!(say(CardStatus::Frozen, now).await, CardStatus::Frozen);
    assert_eq!(say(CardStatus::Active, now - 1).await, CardStatus::Frozen, "overtaken news");
    assert_eq!(say(CardStatus::Active, now + 1).await, CardStatus::Active);
    assert_eq!(say(CardStatus::Destroyed, now + 2).await, CardStatus::Active, "not a store's to say");
    assert_eq!(world.exceptions().await, ["card_change_refused"]);
    let cards = world.hub.datasets().await.unwrap().into_iter().find(|v| v.dataset == DatasetKind::Cards).unwrap();
    assert_eq!(cards.version, 5);
}

/// Reports a change of card 1 and gives what the card is then.
pub(crate) async fn say(world: &World, store: &FakeStore, status: CardStatus, stamp: i64) -> CardStatus {
    let mut report = store.report(account(1));
    report.cards = vec![CardChange { number: card(1), status, stamp: Stamp(stamp) }];
    store.send_report(report).await.unwrap();
    world.read(|tx| Ok(huitong_hub::store::card::find(tx, card(1))?.unwrap().status)).await
}

async fn evidence(world: &World) -> Vec<String> {
    let all = world.open_exceptions().await;
    all.into_iter().map(|exception| format!("{}: {}", exception.class, exception.evidence)).collect()
}

#[tokio::test]
async fn a_sale_that_is_undone_does_not_lift_a_freeze() {
    let world = World::new().await;
    let (store, other) = (world.store("S1").await, world.store("S2").await);
    let now = world.clock.0.load(Ordering::SeqCst);
    assert_eq!(say(&world, &other, CardStatus::Frozen, now).await, CardStatus::Frozen);
    assert_eq!(say(&world, &store, CardStatus::Blank, now + 1).await, CardStatus::Frozen);
    assert_eq!(evidence(&world).await, ["card_change_refused: card ****0001 is frozen; a store cannot make it blank"]);
    assert_eq!(say(&world, &other, CardStatus::Active, now + 2).await, CardStatus::Active);
    assert_eq!(say(&world, &store, CardStatus::Blank, now + 3).await, CardStatus::Blank);
    assert_eq!(world.exceptions().await.len(), 1, "nothing was left on it");
}

#[tokio::test]
async fn value_behind_a_card_that_is_blank_again_is_named() {
    let world = World::new().await;
    world.load(account(1), 30).await;
    let mut store = world.store("S1").await;
    store.step(StoreEvent::Load { amount_minor: 12 });
    let now = world.clock.0.load(Ordering::SeqCst);
    assert_eq!(say(&world, &store, CardStatus::Blank, now).await, CardStatus::Withdrawn, "nobody can buy it");
    let found = ["blank_with_value: card ****0001 is in nobody's hands; its account 1 holds 42 CNY"];
    assert_eq!(evidence(&world).await, found);
    // A store that could not ask leaves it to head office, which knows that nothing is left.
    let world = World::new().await;
    let store = world.store("S1").await;
    assert_eq!(say(&world, &store, CardStatus::Withdrawn, now).await, CardStatus::Blank);
    assert_eq!(world.exceptions().await, Vec::<String>::new());
    // A second card still opens the account: nobody lost anything.
    let world = World::new().await;
    world.load(account(1), 30).await;
    world.hub.store.write(|tx| tx.execute("UPDATE card SET account_id = 1 WHERE account_id = 3", &[])).await.unwrap();
    let store = world.store("S1").await;
    assert_eq!(say(&world, &store, CardStatus::Blank, now).await, CardStatus::Blank);
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_freeze_that_comes_too_late_is_named_and_one_that_was_lifted_is_not() {
    let world = World::new().await;
    let (store, other) = (world.store("S1").await, world.store("S2").await);
    let now = world.clock.0.load(Ordering::SeqCst);
    assert_eq!(say(&world, &store, CardStatus::Frozen, now).await, CardStatus::Frozen);
    assert_eq!(say(&world, &store, CardStatus::Active, now + 10).await, CardStatus::Active);
    // The same freeze again, as its answer was lost, and one from before it.
    assert_eq!(say(&world, &store, CardStatus::Frozen, now).await, CardStatus::Active);
    assert_eq!(say(&world, &other, CardStatus::Frozen, now - 5).await, CardStatus::Active);
    assert_eq!(world.exceptions().await, Vec::<String>::new());
    for _ in 0..2 {
        assert_eq!(say(&world, &other, CardStatus::Lost, now + 5).await, CardStatus::Active);
    }
    let found =
        format!("stop_overtaken: card ****0001 was lost with stamp {}; it is active with stamp {}", now + 5, now + 10);
    assert_eq!(evidence(&world).await, [found]);
    assert_eq!(say(&world, &store, CardStatus::Frozen, now + 20).await, CardStatus::Frozen);
    assert_eq!(say(&world, &other, CardStatus::Lost, now + 15).await, CardStatus::Frozen);
    assert_eq!(world.exceptions().await.len(), 1, "it is stopped anyway");
}

#[tokio::test]
async fn a_grant_is_on_disk_before_it_is_answered_and_given_again_when_lost() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    let mut store = world.store("S1").await;
    let lost: Answer<GrantAnswer> = {
        let need = Need { card: card(1), unit: CNY, missing_minor: 30, purpose: Purpose::Spend };
        store.call(path::GRANT, None, GrantRequest { needs: vec![need], totals: true }).await.unwrap()
    };
    assert_eq!(lost.grants[0].granted_minor, 100, "all that is free: the member is there now");
    assert_eq!(lost.body.totals[0].balance_minor, 100);
    assert_eq!(free_minor(&world).await, 0);
    // The answer was lost: the next report on the account brings the grant again.
    let answer = store.send_report(store.report(account(1))).await.unwrap();
    assert_eq!((answer.grants.len(), answer.grants[0].granted_minor), (1, 100));
    store.step(StoreEvent::Adopt { granted_minor: 100 });
    assert_eq!(store.send_report(store.report(account(1))).await.unwrap().grants, []);
}

#[tokio::test]
async fn a_policy_may_give_no_more_than_is_missing() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    world
        .hub
        .store
        .write(|tx| {
            let document = "name = 'P'\ncurrency = 'CNY'\ntenders = []\n[allotment]\ngrant = 'shortfall'\n";
            let published = [(1, "2020-01-01", document), (2, "2999-01-01", "not in force yet")];
            for (version, from, document) in published {
                let (group, key) = (GROUP.parse().unwrap(), KeyId::of(&[]));
                let bundle = Bundle::new(group, version, from.parse().unwrap(), key, document.to_owned());
                let signed = Signed { bytes: bundle.encode(), signature: Vec::new() };
                policy::insert(tx, &bundle, &signed, Instant(0))?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let mut store = world.store("S1").await;
    let granted =
        |answer: &Answer<GrantAnswer>| answer.grants.iter().map(|grant| grant.granted_minor).collect::<Vec<_>>();
    assert_eq!(granted(&store.ask(30).await), [30]);
    assert_eq!(granted(&store.ask(30).await), [60]);
    let short = store.ask(50).await;
    assert_eq!(granted(&short), [100], "what there is");
    assert_eq!((short.body.elsewhere.len(), short.body.totals[0].balance_minor), (0, 100));
}

#[tokio::test]
async fn cards_of_one_account_are_served_together() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    world.hub.store.write(|tx| tx.execute("UPDATE card SET account_id = 1 WHERE account_id = 3", &[])).await.unwrap();
    let store = world.store("S1").await;
    let need = |number, missing_minor| Need { card: card(number), unit: CNY, missing_minor, purpose: Purpose::Spend };
    let request = GrantRequest { needs: vec![need(1, 60), need(3, 41)], totals: false };
    let answer: Answer<GrantAnswer> = store.call(path::GRANT, None, request).await.unwrap();
    assert_eq!(answer.grants[0].granted_minor, 100, "together they lack 101");
    let counts = world.read(rows::counts).await;
    assert!(counts.contains(&("short".to_owned(), 1)), "{counts:?}");
}

#[tokio::test]
async fn who_undoes_the_sale_of_a_card_is_told_of_stores_that_spent_of_it() {
    let world = World::new().await;
    let (store, mut other) = (world.store("S1").await, world.store("S2").await);
    let ask = async || {
        let need = Need { card: card(1), unit: CNY, missing_minor: 1, purpose: Purpose::Unsell };
        let request = GrantRequest { needs: vec![need], totals: false };
        let answer: Answer<GrantAnswer> = store.call(path::GRANT, None, request).await.unwrap();
        let places: Vec<_> = answer.body.elsewhere.iter().map(|place| (place.store, place.held_minor)).collect();
        places
    };
    other.step(StoreEvent::Load { amount_minor: 5 });
    other.send_report(other.report(account(1))).await.unwrap();
    assert_eq!(ask().await, [(other.id, 5)], "it holds something");
    other.step(StoreEvent::Spend { amount_minor: 5 });
    other.send_report(other.report(account(1))).await.unwrap();
    assert_eq!(ask().await, [(other.id, 0)], "and spent it: its goods may come back there");
}

#[tokio::test]
async fn a_blank_card_moves_to_who_sells_it_and_gets_no_value() {
    let world = World::new().await;
    world.load(account(2), 50).await;
    let store = world.store("S2").await;
    let needs = [2_u32, 8].map(|n| Need { card: card(n), unit: CNY, missing_minor: 0, purpose: Purpose::Sell });
    let answer: Answer<GrantAnswer> =
        store.call(path::GRANT, None, GrantRequest { needs: needs.to_vec(), totals: false }).await.unwrap();
    let cards: Vec<_> = answer.body.cards.iter().map(|c| (c.number, c.allocated_store)).collect();
    assert_eq!(cards, [(card(2), Some(store.id))], "a card that does not exist is not there");
    let need = Need { card: card(2), unit: CNY, missing_minor: 10, purpose: Purpose::Spend };
    let answer: Answer<GrantAnswer> =
        store.call(path::GRANT, None, GrantRequest { needs: vec![need], totals: false }).await.unwrap();
    assert_eq!(answer.grants, []);
}

#[tokio::test]
async fn two_stores_that_race_never_get_more_than_there_is() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    let (mut a, mut b) = (world.store("S1").await, world.store("S2").await);
    for _ in 0..10 {
        let (first, second) = tokio::join!(a.ask(60), b.ask(60));
        let balances: Vec<i64> = [&first, &second].iter().map(|answer| answer.body.totals[0].balance_minor).collect();
        assert_eq!(balances, [100, 100]);
        let available = a.counters.available_minor() + b.counters.available_minor();
        assert_eq!(available + free_minor(&world).await, 100);
        for store in [&mut a, &mut b] {
            let amount_minor = store.counters.available_minor();
            if amount_minor > 0 {
                store.step(StoreEvent::Release { amount_minor });
            }
            store.send_report(store.report(account(1))).await.unwrap();
        }
        assert_eq!(free_minor(&world).await, 100);
    }
}

async fn poll(store: &FakeStore, wait_ms: u64, recalls_through: u64) -> Polled {
    let answer: Answer<Polled> =
        store.call(path::POLL, None, Poll { wait_ms, recalls_through, cards_version: 0 }).await.unwrap();
    answer.body
}

#[tokio::test]
async fn a_recall_wakes_the_holder_and_the_grant_completes() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    let (mut holder, mut asker) = (world.store("S1").await, world.store("S2").await);
    holder.ask(100).await;
    let holds = async {
        let polled = poll(&holder, 20_000, 0).await;
        assert_eq!(polled.recalls, [Recall { account: account(1), unit: CNY }]);
        holder.step(StoreEvent::Spend { amount_minor: 40 });
        holder.step(StoreEvent::Release { amount_minor: 60 });
        holder.send_report(holder.report(account(1))).await.unwrap();
        polled.recalls_through
    };
    let asks = async {
        // The poll is open before the request: the request finds a store that is connected.
        while !world.hub.recalls.is_connected("S1".parse().unwrap()) {
            tokio::task::yield_now().await;
        }
        asker.ask(60).await
    };
    let (through, answer) = tokio::join!(holds, asks);
    assert_eq!(answer.grants.iter().map(|grant| grant.granted_minor).collect::<Vec<_>>(), [60]);
    assert_eq!((answer.body.elsewhere.len(), answer.body.totals[0].balance_minor), (0, 60));
    assert_eq!(poll(&holder, 0, through).await.recalls, [], "what arrived is not repeated");
    let counts = world.read(rows::counts).await;
    let count = |name: &str| counts.iter().find(|(n, _)| n == name).map_or(0, |(_, count)| *count);
    assert_eq!((count("recalls"), count("releases"), count("grants"), count("short")), (1, 1, 2, 0));
}

#[tokio::test]
async fn a_card_sold_a_moment_ago_is_asked_for_at_the_store_that_has_it() {
    let world = World::new().await;
    let (mut seller, asker) = (world.store("S1").await, world.store("S2").await);
    let spend = async |missing_minor| {
        let need = Need { card: card(2), unit: CNY, missing_minor, purpose: Purpose::Spend };
        let request = GrantRequest { needs: vec![need], totals: false };
        let answer: Answer<GrantAnswer> = asker.call(path::GRANT, None, request).await.unwrap();
        (answer.body.cards[0].status, answer.grants.iter().map(|grant| grant.granted_minor).collect::<Vec<_>>())
    };
    // Nobody can be asked: the hub says what it knows.
    assert_eq!(spend(60).await, (CardStatus::Blank, vec![]));
    // The store is there and has not sold it: its word ends the wait.
    let connected = async || {
        while !world.hub.recalls.is_connected("S1".parse().unwrap()) {
            tokio::task::yield_now().await;
        }
    };
    let answers = async {
        let polled = poll(&seller, 20_000, 0).await;
        assert_eq!(polled.recalls, [Recall { account: account(2), unit: CNY }]);
        seller.send_report(seller.report(account(2))).await.unwrap();
        poll(&seller, 0, polled.recalls_through).await;
        polled.recalls_through
    };
    let asks = async {
        connected().await;
        spend(60).await
    };
    let (through, unsold) = tokio::join!(answers, asks);
    assert_eq!(unsold, (CardStatus::Blank, vec![]));
    // Now it was sold, and the report that says so waits for others to ride with it.
    seller.step(StoreEvent::Load { amount_minor: 100 });
    let answers = async {
        let polled = poll(&seller, 20_000, through).await;
        assert_eq!(polled.recalls, [Recall { account: account(2), unit: CNY }]);
        seller.step(StoreEvent::Release { amount_minor: 100 });
        let mut report = seller.report(account(2));
        report.cards = vec![CardChange { number: card(2), status: CardStatus::Active, stamp: Stamp(seller.stamp) }];
        seller.send_report(report).await.unwrap();
    };
    let ((), sold) = tokio::join!(answers, spend(60));
    assert_eq!(sold, (CardStatus::Active, vec![100]));
}

#[tokio::test]
async fn a_grant_that_was_lost_comes_with_an_answer_that_waited_for_a_recall() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    world.load(account(3), 7).await;
    let (mut holder, mut asker) = (world.store("S1").await, world.store("S2").await);
    holder.ask(100).await;
    // S2 is granted value on card 3 and never hears of it.
    let need = Need { card: card(3), unit: CNY, missing_minor: 7, purpose: Purpose::Spend };
    let lost = GrantRequest { needs: vec![need], totals: false };
    let _: Answer<GrantAnswer> = asker.call(path::GRANT, None, lost).await.unwrap();
    let holds = async {
        poll(&holder, 20_000, 0).await;
        holder.step(StoreEvent::Release { amount_minor: 100 });
        holder.send_report(holder.report(account(1))).await.unwrap();
    };
    let asks = async {
        while !world.hub.recalls.is_connected("S1".parse().unwrap()) {
            tokio::task::yield_now().await;
        }
        let need = Need { card: card(1), unit: CNY, missing_minor: 60, purpose: Purpose::Spend };
        let request = GrantRequest { needs: vec![need], totals: false };
        let answer: Answer<GrantAnswer> =
            asker.call(path::GRANT, Some(asker.report(account(3))), request).await.unwrap();
        answer
    };
    let ((), answer) = tokio::join!(holds, asks);
    let granted: Vec<_> = answer.grants.iter().map(|grant| (grant.account, grant.granted_minor)).collect();
    assert_eq!(granted, [(account(1), 100), (account(3), 7)]);
    asker.step(StoreEvent::Adopt { granted_minor: 100 });
}

#[tokio::test]
async fn a_holder_that_cannot_give_ends_the_wait_and_the_refusal_says_where_value_is() {
    let world = World::new().await;
    world.load(account(1), 100).await;
    let (mut holder, mut asker) = (world.store("S1").await, world.store("S2").await);
    holder.ask(100).await;
    holder.send_report(holder.report(account(1))).await.unwrap();
    world.clock.0.fetch_add(5_000, Ordering::SeqCst);
    let unreachable = asker.ask(60).await;
    assert_eq!(unreachable.grants, []);
    let place = unreachable.body.elsewhere[0];
    assert_eq!((place.store, place.held_minor, place.last_seen_ms), (holder.id, 100, Instant(1_800_000_000_000)));
    assert_eq!(place.state, PlaceState::Silent);
    // Now it polls, keeps 70 parked and says so with its next poll.
    let holds = async {
        let polled = poll(&holder, 20_000, 0).await;
        holder.step(StoreEvent::Release { amount_minor: 30 });
        holder.send_report(holder.report(account(1))).await.unwrap();
        poll(&holder, 0, polled.recalls_through).await;
    };
    let asks = async {
        while !world.hub.recalls.is_connected("S1".parse().unwrap()) {
            tokio::task::yield_now().await;
        }
        asker.ask(60).await
    };
    let ((), answer) = tokio::join!(holds, asks);
    assert_eq!(answer.grants.iter().map(|grant| grant.granted_minor).collect::<Vec<_>>(), [30], "what there is");
    let place = answer.body.elsewhere[0];
    assert_eq!((place.held_minor, place.state), (70, PlaceState::Connected));
}

#[tokio::test]
async fn a_poll_ends_when_a_dataset_has_changed() {
    let world = World::new().await;
    let (store, other) = (world.store("S1").await, world.store("S2").await);
    let waits = poll(&store, 20_000, 0);
    let changes = async {
        while !world.hub.recalls.is_connected("S1".parse().unwrap()) {
            tokio::task::yield_now().await;
        }
        let mut report = other.report(account(1));
        let now = world.clock.0.load(Ordering::SeqCst);
        report.cards = vec![CardChange { number: card(1), status: CardStatus::Frozen, stamp: Stamp(now) }];
        other.send_report(report).await.unwrap();
    };
    let (polled, ()) = tokio::join!(waits, changes);
    assert_eq!(polled.datasets.iter().find(|v| v.dataset == DatasetKind::Cards).unwrap().version, 4);
}
