//! Value that is parked overnight: planned from the journals, fetched by each store for itself, and granted as far as the pool has it.

use huitong_hub::actor::{Actor, Via};
use huitong_hub::allot::{self, Ask, Planned};
use huitong_hub::fence;
use huitong_hub::schedule::Job;
use huitong_hub::store::engine::Tx;
use huitong_hub::store::{allotment as rows, dataset, parking, tenure};
use huitong_hub::worker;
use huitong_protocol::allotment::{Purse, StoreEvent};
use huitong_protocol::card::CardStatus;
use huitong_protocol::entry::Body;
use huitong_protocol::movement::MovementKind;
use huitong_protocol::parking::{Allocator, ParkingRules};
use huitong_protocol::wire::{
    Answer, AskParked, DatasetKind, DatasetPage, DatasetRequest, DatasetRow, Nothing, PARKED_MAX, Refused, Report,
    SyncFault, path,
};

use crate::fake::{CNY, FakeStore, World, account, fault};
use crate::journal::{movement, paid, reload};
use crate::value::say;

const PURSE: fn() -> Purse = || Purse { account: account(1), unit: CNY };

fn ask(allocator: Allocator) -> Ask {
    Ask { rules: ParkingRules { allocator, ..ParkingRules::default() }, ..Ask::default() }
}

async fn apply(world: &World, ask: Ask) -> Planned {
    let (store, now) = (world.hub.store.clone(), world.hub.now());
    tokio::task::spawn_blocking(move || allot::apply(&store, &ask, 10, now)).await.unwrap().unwrap()
}

async fn announced(world: &World) -> u64 {
    let versions = world.read(dataset::versions).await;
    versions.iter().find(|known| known.dataset == DatasetKind::Parking).unwrap().version
}

/// A member loads at a store, and the hub hears of it by report and journal.
async fn loaded(store: &mut FakeStore, amount_minor: i64) {
    store.step(StoreEvent::Load { amount_minor });
    store.write(reload(amount_minor));
    store.send_report(store.report(account(1))).await.unwrap();
    let (from, to) = (store.journal.len() - 1, store.journal.len());
    store.upload(store.segment(from, to)).await.unwrap();
}

async fn targets(store: &FakeStore, after_version: u64, limit: u32) -> (Vec<Option<i64>>, u64, bool) {
    let request = DatasetRequest { dataset: DatasetKind::Parking, after_version, limit };
    let page: Answer<DatasetPage> = store.call(path::DATASET, None, request).await.unwrap();
    let DatasetPage { rows, through_version, more, .. } = page.body;
    let minor = |row: DatasetRow| match row {
        DatasetRow::Parked(parked) => parked.target_minor,
        other => panic!("{other:?} is no target"),
    };
    (rows.into_iter().map(minor).collect(), through_version, more)
}

async fn fetch(store: &mut FakeStore) -> i64 {
    let report = store.report(account(1));
    let request = AskParked { purses: vec![PURSE()] };
    let answer: Answer<Nothing> = store.call(path::PARKED, Some(report), request).await.unwrap();
    for grant in answer.grants {
        store.step(StoreEvent::Adopt { granted_minor: grant.granted_minor });
    }
    store.counters.available_minor()
}

async fn free_minor(world: &World) -> i64 {
    world.read(|tx| Ok(rows::pool(tx, PURSE())?.0.free_minor())).await
}

#[tokio::test]
async fn each_store_fetches_its_own_targets_and_gets_what_others_released() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    loaded(&mut one, 500).await;
    loaded(&mut two, 100).await;
    let planned = apply(&world, ask(Allocator::LastStore)).await;
    assert_eq!((planned.outcome.accounts, planned.outcome.balance_minor, planned.outcome.parked_minor), (1, 600, 600));
    assert_eq!(targets(&one, 0, 10).await, (vec![], 1, false));
    assert_eq!(targets(&two, 0, 10).await, (vec![Some(600)], 1, false));

    assert_eq!(fetch(&mut two).await, 100, "the pool has nothing yet, and nobody is asked for it");
    one.step(StoreEvent::Release { amount_minor: 500 });
    one.send_report(one.report(account(1))).await.unwrap();
    assert_eq!(free_minor(&world).await, 500);
    assert_eq!(fetch(&mut one).await, 0, "a store without a target gets nothing");
    assert_eq!(fetch(&mut two).await, 600);
    assert_eq!(fetch(&mut two).await, 600, "asked twice, granted once");
    assert_eq!(free_minor(&world).await, 0);
    world.load(account(1), 50).await;
    assert_eq!((fetch(&mut two).await, free_minor(&world).await), (600, 50), "no more than the target");
}

#[tokio::test]
async fn what_moved_is_planned_anew_and_what_changed_is_fetched() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    loaded(&mut one, 500).await;
    assert_eq!(apply(&world, ask(Allocator::LastStore)).await.outcome.changed, 1);
    assert_eq!(apply(&world, ask(Allocator::LastStore)).await.outcome.accounts, 0, "nothing has moved");
    loaded(&mut two, 20).await;
    let planned = apply(&world, ask(Allocator::LastStore)).await;
    assert_eq!((planned.outcome.accounts, planned.outcome.changed), (1, 2), "one more here, none there");
    assert_eq!(targets(&one, 1, 10).await, (vec![None], 3, false), "it has no target any more");
    assert_eq!(targets(&two, 0, 10).await, (vec![Some(520)], 3, false));
    assert_eq!(targets(&two, 2, 1).await, (vec![Some(520)], 3, false));
    assert_eq!(targets(&two, 3, 1).await, (vec![], 3, false));

    let pool = apply(&world, ask(Allocator::Pool)).await;
    assert_eq!((pool.outcome.accounts, pool.outcome.changed), (1, 1), "with other rules all accounts are planned");
    assert_eq!(world.read(|tx| parking::targets(tx, PURSE())).await.len(), 0);
    assert_eq!(targets(&two, 3, 10).await, (vec![None], 4, false));
    assert_eq!(apply(&world, ask(Allocator::Pool)).await.outcome.accounts, 0);
    let plans: Vec<i64> = world.read(|tx| parking::applied(tx, 10)).await.iter().map(|plan| plan.plan_no).collect();
    assert_eq!(plans, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_plan_that_is_only_shown_changes_nothing() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    loaded(&mut one, 500).await;
    let store = world.hub.store.clone();
    let show = move || allot::plan(&store, &ask(Allocator::Planner), 10);
    let planned = tokio::task::spawn_blocking(show).await.unwrap().unwrap();
    assert!(!planned.applied && planned.outcome.changed == 1, "{planned:?}");
    let why = planned.largest[0].targets[0].to_string();
    assert!(why.starts_with("500 at S1: 1 of 1 visits, ") && why.ends_with(" of the baskets"), "{why}");
    assert_eq!(targets(&one, 0, 10).await, (vec![], 0, false));
    assert_eq!(apply(&world, ask(Allocator::Planner)).await.outcome.accounts, 1, "it is still to be planned");
}

#[tokio::test]
async fn a_plan_is_judged_by_the_first_basket_that_came_after_it() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    loaded(&mut one, 500).await;
    let first = apply(&world, ask(Allocator::LastStore)).await.outcome;
    assert_eq!((first.came, first.covered), (0, 0), "a load is no basket");
    let pay = async |store: &mut FakeStore, amount_minor| {
        let Body::Sale(mut sale) = paid(&[], false) else { panic!("a sale is a sale") };
        sale.movements.push(movement(MovementKind::Spend, amount_minor));
        store.write(Body::Sale(sale));
        let (from, to) = (store.journal.len() - 1, store.journal.len());
        store.upload(store.segment(from, to)).await.unwrap();
        let outcome = apply(&world, ask(Allocator::LastStore)).await.outcome;
        (outcome.came, outcome.covered)
    };
    assert_eq!(pay(&mut one, 500).await, (1, 1));
    assert_eq!(pay(&mut two, 1).await, (1, 0), "nothing was parked there");
}

/// A store asks without a report: it has told everything before.
async fn ask_alone(store: &FakeStore) -> Result<Answer<Nothing>, Refused> {
    store.call(path::PARKED, None, AskParked { purses: vec![PURSE()] }).await
}

#[tokio::test]
async fn nothing_is_parked_while_a_restored_hub_has_not_heard_everybody() {
    let world = World::new().await;
    let (mut one, two) = (world.store("S1").await, world.store("S2").await);
    loaded(&mut one, 500).await;
    apply(&world, ask(Allocator::LastStore)).await;
    one.step(StoreEvent::Release { amount_minor: 500 });
    one.send_report(one.report(account(1))).await.unwrap();
    // What S2 was granted the hub has forgotten: its pool shows value that S2 may hold.
    let (id, epoch) = (two.id, two.epoch);
    world.hub.store.write(move |tx| tenure::untold(tx, id, epoch)).await.unwrap();
    assert_eq!(ask_alone(&one).await.unwrap().grants, []);
    assert_eq!((fetch(&mut one).await, free_minor(&world).await), (0, 500));
    two.send_report(Report { counters: Vec::new(), ..two.report(account(1)) }).await.unwrap();
    assert_eq!((fetch(&mut one).await, free_minor(&world).await), (500, 0));
}

#[tokio::test]
async fn neither_an_ended_epoch_nor_an_old_session_is_given_anything() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    loaded(&mut one, 500).await;
    apply(&world, ask(Allocator::LastStore)).await;
    one.step(StoreEvent::Release { amount_minor: 500 });
    one.send_report(one.report(account(1))).await.unwrap();
    let old = one.session.clone();
    one.hello().await.unwrap();
    let new = std::mem::replace(&mut one.session, old);
    assert_eq!(fault(ask_alone(&one).await), SyncFault::SessionUnknown);
    one.session = new;
    let (id, now) = (one.id, world.hub.now());
    let fence = move |tx: &mut Tx<'_>| fence::fence(tx, &Actor::new("li", Via::Cli).unwrap(), id, "stolen", now);
    world.hub.store.write(fence).await.unwrap();
    assert_eq!(fault(ask_alone(&one).await), SyncFault::Fenced);
    let report = one.report(account(1));
    let reported: Result<Answer<Nothing>, _> =
        one.call(path::PARKED, Some(report), AskParked { purses: vec![PURSE()] }).await;
    assert_eq!((fault(reported), free_minor(&world).await), (SyncFault::Fenced, 500));
}

#[tokio::test]
async fn what_a_till_waits_for_is_not_parked() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    loaded(&mut one, 500).await;
    apply(&world, ask(Allocator::LastStore)).await;
    let waiter = world.hub.recalls.wait_for(vec![account(1)]);
    one.step(StoreEvent::Release { amount_minor: 500 });
    assert_eq!((fetch(&mut one).await, free_minor(&world).await), (0, 500), "what it gave back is somebody else's");
    drop(waiter);
    assert_eq!((fetch(&mut one).await, free_minor(&world).await), (500, 0));
}

#[tokio::test]
async fn a_store_that_was_ended_is_planned_around_and_what_it_held_is_not() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    loaded(&mut one, 500).await;
    loaded(&mut two, 300).await;
    loaded(&mut one, 700).await;
    let proportional = || ask(Allocator::MostVisited);
    assert_eq!(apply(&world, proportional()).await.outcome.parked_minor, 1_500);
    assert_eq!(targets(&one, 0, 10).await.0, [Some(1_500)]);
    let (id, now) = (one.id, world.hub.now());
    let fence = move |tx: &mut Tx<'_>| fence::fence(tx, &Actor::new("li", Via::Cli).unwrap(), id, "burnt", now);
    world.hub.store.write(fence).await.unwrap();
    let planned = apply(&world, proportional()).await;
    assert_eq!(
        (planned.outcome.accounts, planned.outcome.parked_minor),
        (1, 300),
        "it is planned though nothing moved"
    );
    assert_eq!(targets(&two, 0, 10).await.0, [Some(300)], "what S1 held waits in suspense");
    assert_eq!(apply(&world, proportional()).await.outcome.accounts, 0);
}

#[tokio::test]
async fn stores_hear_of_a_plan_when_it_is_whole() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    loaded(&mut one, 500).await;
    let change = parking::Change { purse: PURSE(), store: one.id, target_minor: 70 };
    world.hub.store.write(move |tx| parking::put(tx, &[change])).await.unwrap();
    assert_eq!(announced(&world).await, 0, "a piece of a plan sends nobody off");
    assert_eq!(targets(&one, 0, 10).await, (vec![Some(70)], 1, false), "who asks gets it all the same");
    apply(&world, ask(Allocator::LastStore)).await;
    assert_eq!((announced(&world).await, targets(&one, 1, 10).await), (2, (vec![Some(500)], 2, false)));
}

#[tokio::test]
async fn a_copied_store_gets_nothing_and_too_much_at_once_is_refused() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    loaded(&mut one, 500).await;
    apply(&world, ask(Allocator::LastStore)).await;
    one.step(StoreEvent::Release { amount_minor: 500 });
    one.send_report(one.report(account(1))).await.unwrap();
    let id = one.id;
    world
        .hub
        .store
        .write(move |tx| tx.execute("UPDATE journal SET forked = 1 WHERE store_id = $1", &[(&id).into()]))
        .await
        .unwrap();
    let request = AskParked { purses: vec![PURSE()] };
    let refused: Result<Answer<Nothing>, _> = one.call(path::PARKED, None, request).await;
    assert_eq!((fault(refused), free_minor(&world).await), (SyncFault::Copied, 500));
    let other = world.store("S2").await;
    let request = AskParked { purses: vec![PURSE(); PARKED_MAX + 1] };
    let refused: Result<Answer<Nothing>, _> = other.call(path::PARKED, None, request).await;
    assert_eq!(fault(refused), SyncFault::Malformed);
}

#[tokio::test]
async fn the_night_plans_by_the_policy() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    loaded(&mut one, 500).await;
    let plan = async || worker::perform(&world.hub, Job::Park, world.hub.now()).await.unwrap();
    let said = "0 of 0 first baskets were within what was to be parked";
    assert_eq!(plan().await, format!("1 accounts planned, 0 targets changed; {said}"), "without a policy nothing is");
    // The standard policy has the planner.
    world.publish("standard", "2026-01-01").await;
    assert_eq!(plan().await, format!("1 accounts planned, 1 targets changed; {said}"), "and by its rules all are");
    assert_eq!(targets(&one, 0, 10).await, (vec![Some(500)], 1, false));
    assert_eq!(world.read(|tx| parking::applied(tx, 10)).await.len(), 2);
}

#[tokio::test]
async fn nothing_is_parked_where_only_who_found_the_card_could_take_it() {
    let world = World::new().await;
    let mut one = world.store("S1").await;
    loaded(&mut one, 500).await;
    apply(&world, ask(Allocator::LastStore)).await;
    one.step(StoreEvent::Release { amount_minor: 500 });
    let now = world.hub.now().0;
    assert_eq!(say(&world, &one, CardStatus::Frozen, now).await, CardStatus::Frozen);
    assert_eq!((fetch(&mut one).await, free_minor(&world).await), (0, 500), "whatever the plan of last night says");
    let planned = apply(&world, ask(Allocator::LastStore)).await.outcome;
    assert_eq!(
        (planned.accounts, planned.changed, planned.parked_minor),
        (1, 1, 0),
        "it is planned though nothing moved"
    );
    assert_eq!(targets(&one, 1, 10).await.0, [None]);
    assert_eq!(apply(&world, ask(Allocator::LastStore)).await.outcome.accounts, 0);
    // Found again.
    assert_eq!(say(&world, &one, CardStatus::Active, now + 1).await, CardStatus::Active);
    let planned = apply(&world, ask(Allocator::LastStore)).await.outcome;
    assert_eq!((planned.accounts, planned.changed, planned.parked_minor), (1, 1, 500));
    assert_eq!((fetch(&mut one).await, free_minor(&world).await), (500, 0));
    assert_eq!(apply(&world, ask(Allocator::LastStore)).await.outcome.accounts, 0);
}
