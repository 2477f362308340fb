//! One fault of each class, planted through the wire beside two honest days: it raises its own exception and no other, however often the hub looks.
//!
//! Which class has no fault here does not compile. What each says in detail, what closes it and what opens it again is tested beside its rule.

use std::sync::atomic::Ordering;

use huitong_hub::store::{allotment, item};
use huitong_hub::{reconcile, recovery, rerate};
use huitong_protocol::allotment::{Line, Purse, StoreEvent};
use huitong_protocol::bundle::{PolicyFault, PolicyState, RefusedPolicy};
use huitong_protocol::card::CardStatus;
use huitong_protocol::entry::{Body, Entry, HoldEnd, HoldEndReason};
use huitong_protocol::id::{AccountId, EntryId, Epoch, Seq};
use huitong_protocol::money::Currency;
use huitong_protocol::reconcile::Class;
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::wire::{Enrolled, SyncFault};

use crate::exceptions::{basket, load, paid_by_voucher, publish_limits, publish_vouchers, sold, tea, write_under};
use crate::fake::{CNY, FakeStore, World, account, fault};
use crate::journal::{frozen, open, reload, returned};
use crate::members::{SEALING, enrolled, person};
use crate::recovery::{recovered, said};
use crate::rerate::a_fen_more;
use crate::value::say;

/// Two stores that have had an honest day: sales, a load, a seal, and a report that says the same.
async fn honest(is_limited: bool) -> (World, FakeStore, FakeStore) {
    let world = World::new().await;
    if is_limited {
        publish_limits(&world).await;
    } else {
        world.publish("one", "2026-01-01").await;
    }
    let known = tea();
    world.hub.store.write(move |tx| item::write(tx, &known).map(drop)).await.unwrap();
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    for (store, of) in [(&mut one, 1), (&mut two, 3)] {
        store.write(open());
        if of == 1 {
            store.write(reload(50));
            store.step(StoreEvent::Load { amount_minor: 50 });
        }
        if !is_limited {
            store.sell(|_| ());
        }
        store.seal(|_| ());
        store.upload(store.segment(0, store.journal.len())).await.unwrap();
        store.send_report(store.report(account(of))).await.unwrap();
    }
    (world, one, two)
}

/// What is open when the hub has looked at everything, twice.
async fn found(world: &World) -> Vec<String> {
    for _ in 0..2 {
        reconcile::run(&world.hub.store, world.hub.now()).await.unwrap();
        rerate::run(&world.hub, world.hub.now()).await.unwrap();
    }
    world.exceptions().await
}

/// Writes an entry and uploads it.
async fn bring(store: &mut FakeStore, body: Body) {
    store.write(body);
    store.upload(store.segment(store.journal.len() - 1, store.journal.len())).await.unwrap();
}

async fn plant(class: Class, world: &World, one: &mut FakeStore, two: &mut FakeStore) {
    let now = world.clock.0.load(Ordering::SeqCst);
    let held = one.journal.len();
    match class {
        Class::ReportRefused => {
            let mut report = one.report(account(1));
            report.counters[0].account = account(99);
            one.send_report(report).await.unwrap();
        }
        Class::CounterBackwards => {
            let mut report = one.report(account(1));
            // Less of one and more of another: no message that came late.
            report.counters[0].counters.loaded_minor -= 1;
            report.counters[0].counters.spent_minor += 1;
            one.send_report(report).await.unwrap();
        }
        Class::CardChangeRefused => drop(say(world, one, CardStatus::Destroyed, now).await),
        Class::BlankWithValue => drop(say(world, one, CardStatus::Blank, now).await),
        Class::UnsoldWaits => {
            // S2 has a line, and hears of nothing any more.
            let (purse, of) = (Purse { account: AccountId::RISK, unit: CNY }, (two.id, two.epoch));
            let line = Line { granted_minor: 100, ..Line::default() };
            world.hub.store.write(move |tx| allotment::put_line(tx, purse, of.0, of.1, &line)).await.unwrap();
            let mut report = one.report(account(1));
            let change = (crate::fake::card(2), CardStatus::Withdrawn, Stamp(now + 1));
            report.cards =
                vec![huitong_protocol::card::CardChange { number: change.0, status: change.1, stamp: change.2 }];
            one.send_report(report).await.unwrap();
            world.clock.0.fetch_add(4 * 86_400_000, Ordering::SeqCst);
        }
        Class::StopOvertaken => {
            say(world, one, CardStatus::Active, now + 10).await;
            let mut report = two.report(account(3));
            let number = crate::fake::card(1);
            report.cards =
                vec![huitong_protocol::card::CardChange { number, status: CardStatus::Lost, stamp: Stamp(now + 5) }];
            two.send_report(report).await.unwrap();
        }
        Class::StopReturned => {
            let known = world.read(recovery::mark).await;
            recovered(&world.hub.store, said(&known, false), Instant(now)).await.unwrap();
            one.hello().await.unwrap();
            say(world, one, CardStatus::Lost, now - 5).await;
        }
        Class::ClockSkew => {
            let mut report = one.report(account(1));
            report.stamp = Stamp(now + 60_001);
            one.send_report(report).await.unwrap();
        }
        Class::Quarantined => {
            one.journal.push(vec![0xc1]);
            one.upload(one.segment(held, held + 1)).await.unwrap();
        }
        Class::Fork => {
            one.journal.truncate(held - 1);
            one.write(reload(1));
            one.write(reload(2));
            assert_eq!(fault(one.upload(one.segment(held - 1, held + 1)).await), SyncFault::Fork);
        }
        Class::StoreBehind => {
            one.journal.truncate(held - 1);
            assert_eq!(fault(one.hello().await), SyncFault::Fork);
        }
        Class::Copied => {
            let mut copy = one.hello_body();
            one.hello().await.unwrap();
            copy.turn_nonce += 1;
            assert_eq!(fault(one.say_hello(&copy).await), SyncFault::Copied);
        }
        Class::HubForgot => {
            let mut ahead = one.hello_body();
            ahead.turn += 1;
            assert_eq!(fault(one.say_hello(&ahead).await), SyncFault::Forgotten);
        }
        Class::GrantBelieved => {
            world.load(account(1), 10).await;
            let known = world.read(recovery::mark).await;
            recovered(&world.hub.store, said(&known, false), Instant(now)).await.unwrap();
            one.hello().await.unwrap();
            // From the life that was forgotten.
            one.step(StoreEvent::Adopt { granted_minor: 10 });
            one.notes();
            one.upload(one.segment(held, held + 1)).await.unwrap();
            one.send_report(one.report(account(1))).await.unwrap();
        }
        Class::SealDiffers => {
            one.write(open());
            one.seal(|seal| seal.totals.entries += 1);
            one.upload(one.segment(held, held + 2)).await.unwrap();
        }
        Class::SealReplaced => {
            // Its machine was replaced in the evening; the new one opens the day again.
            world.token("S1", "again").await;
            let mut again = FakeStore::new(world.router.clone(), "S1", 9);
            let enrolled: Enrolled = again.enrol("again").await.unwrap();
            assert_eq!(enrolled.epoch, Epoch(2));
            again.epoch = enrolled.epoch;
            again.hello().await.unwrap();
            again.write(open());
            again.seal(|_| ());
            again.upload(again.segment(0, 2)).await.unwrap();
        }
        Class::DuplicateOperation => {
            let body = open();
            let mut header = one.header(&body);
            header.operation = "00000000-0000-7000-8000-000100000001".parse().unwrap();
            one.journal.push(Entry { header, body }.encode());
            one.upload(one.segment(held, held + 1)).await.unwrap();
        }
        Class::HoldDiffers => {
            let released = HoldEnd {
                of: EntryId { store: one.id, epoch: one.epoch, seq: Seq(1) },
                hold: "00000000-0000-7000-8000-000100000001".parse().unwrap(),
                account: account(1),
                currency: Currency::CNY,
                amount_minor: 5,
                reason: HoldEndReason::Released,
                note: String::new(),
            };
            bring(one, Body::HoldEnd(released)).await;
        }
        Class::ReportDiffers => {
            bring(one, reload(100)).await;
            one.step(StoreEvent::Load { amount_minor: 99 });
            one.send_report(one.report(account(1))).await.unwrap();
        }
        Class::PriceDiffers => {
            one.sell(a_fen_more);
            one.upload(one.segment(held, held + 1)).await.unwrap();
        }
        Class::PolicyUnknown => {
            one.sell(|sale| sale.policy_version = 9);
            one.upload(one.segment(held, held + 1)).await.unwrap();
        }
        Class::PolicyRefused => {
            let refused = vec![RefusedPolicy::new(2, PolicyFault::PolicySignature, "the signature is not of key 00")];
            one.says(PolicyState { held: 1, in_force: 1, refused }).await.unwrap();
        }
        Class::Gap => {
            one.write(open());
            one.write(open());
            one.upload(one.segment(held + 1, held + 2)).await.unwrap();
            world.clock.0.fetch_add(600_000, Ordering::SeqCst);
        }
        Class::UnknownCard => bring(one, Body::CardStatus(frozen(77))).await,
        Class::UnknownItem => bring(one, basket(&[("X", false)])).await,
        Class::SoldTwice => {
            bring(one, sold(2, 10)).await;
            bring(two, sold(2, 20)).await;
        }
        Class::LimitBroken => {
            load(one, 101);
            one.upload(one.segment(held, held + 1)).await.unwrap();
        }
        Class::UnreferencedReturn => bring(one, returned(7)).await,
        Class::ReferenceReused => {
            publish_vouchers(world).await;
            for store in [one, two] {
                let held = store.journal.len();
                write_under(store, 2, paid_by_voucher("V1"));
                store.upload(store.segment(held, held + 1)).await.unwrap();
            }
        }
        Class::ReceiptDiffers => {
            // Its machine burns; what a customer's receipt says is not what it had written.
            one.write(open());
            crate::tenure::fenced(world, one.id).await;
            let csv = format!(
                "entry,card,kind,amount,time\n{}-{}-{},{},load,1.00,2027-01-15T08:00:00Z\n",
                one.id,
                one.epoch,
                held + 1,
                crate::fake::card(1).reveal()
            );
            for by in ["li", "wang"] {
                crate::receipts::brings(world, by, &csv).await.unwrap();
            }
            let new = crate::tenure::replaced(world, "S1", "again").await;
            new.upload(one.segment(held, held + 1)).await.unwrap();
        }
        Class::MemberConflict => {
            // Two people were given the same card, each where the other's store does not know of it.
            for (store, number, phone) in [(one, 1, "13800135678"), (two, 2, "13900000001")] {
                bring(store, Body::MemberEnrolled(enrolled(number, &person(number, phone), SEALING, true))).await;
            }
        }
        Class::LeftUndone => {
            // Imported members have all numbers that are left.
            let sql = "UPDATE hub SET next_member = 1000000000";
            world.hub.store.write(|tx| tx.execute(sql, &[])).await.unwrap();
            let person = person(1, "13800135678");
            bring(one, Body::MemberEnrolled(enrolled(1, &person, SEALING, false))).await;
        }
        Class::MemberUnreadable => {
            let foreign = enrolled(1, &person(1, "13800135678"), [9; 32], false);
            bring(one, Body::MemberEnrolled(foreign)).await;
        }
    }
}

#[tokio::test]
async fn each_planted_fault_raises_its_own_exception_and_no_other() {
    for is_limited in [false, true] {
        let (world, ..) = honest(is_limited).await;
        assert_eq!(found(&world).await, Vec::<String>::new(), "an honest day raises none");
    }
    let mut otherwise = Vec::new();
    for &class in Class::ALL {
        let (world, mut one, mut two) = honest(class == Class::LimitBroken).await;
        plant(class, &world, &mut one, &mut two).await;
        let found = found(&world).await;
        if found != [class.as_str()] {
            otherwise.push(format!("{class}: {found:?}"));
        }
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}
