//! Whose a card is that stores sell: its buyer's whom the sale names and nobody else's, in whatever order journals, reports and reviews arrive.

use huitong_hub::member_request;
use huitong_protocol::card::{CardChange, CardStatus};
use huitong_protocol::entry::{Body, CardSale, MemberEnrolled};
use huitong_protocol::id::MemberId;
use huitong_protocol::time::Stamp;

use crate::exceptions::{sold, undone};
use crate::fake::{FakeStore, World, account, card};
use crate::members::{SEALING, approve, bring, draft, enrolled, owner, person, upload};

const PHONE: &str = "13800135678";
/// The first member that the hub makes.
const FIRST: Option<&str> = Some("9000000001");

/// An enrolment under a draft, with card 2 or without one.
fn form(number: u128, phone: &str, is_named: bool) -> MemberEnrolled {
    let card = is_named.then(|| card(2));
    MemberEnrolled { card, ..enrolled(number, &person(number, phone), SEALING, false) }
}

/// A sale of card 2 to whoever was enrolled under a draft.
fn to_draft(number: u128) -> Body {
    with_buyer(None, Some(number))
}

fn to_nobody() -> Body {
    with_buyer(None, None)
}

fn to_member(id: i64) -> Body {
    with_buyer(Some(id), None)
}

fn with_buyer(member: Option<i64>, number: Option<u128>) -> Body {
    let Body::CardSale(sale) = sold(2, 0) else { unreachable!("a sale") };
    Body::CardSale(CardSale { member: member.map(|id| MemberId::new(id).unwrap()), draft: number.map(draft), ..sale })
}

/// Has two people approve what waits.
async fn review(world: &World) {
    let waiting = world.read(|tx| member_request::list(tx, false, 0, 10)).await.remove(0).number;
    approve(world, waiting, "li").await.unwrap();
    assert_eq!(approve(world, waiting, "wang").await.unwrap().state, "accepted");
}

/// The store's report of what it knows of card 2 at its journal's end.
async fn report(store: &FakeStore, status: CardStatus) {
    let mut report = store.report(account(2));
    report.cards = vec![CardChange { number: card(2), status, stamp: Stamp(store.stamp) }];
    store.send_report(report).await.unwrap();
}

/// A form and what follows it in the journal of its store, with the report and the last word of head office at any moment. Gives whose card 2 is in the
/// end, and how many exceptions speak of it. `reviewed_after` counts entries; without it the form is accepted as it comes in.
async fn played(
    is_named: bool,
    after: &[Body],
    status: CardStatus,
    reported_after: usize,
    reviewed_after: Option<usize>,
) -> Option<String> {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    if reviewed_after.is_some() {
        // Somebody has the phone, so that the form waits.
        upload(&mut world.store("S2").await, form(9, PHONE, false)).await;
    }
    store.write(Body::MemberEnrolled(form(1, PHONE, is_named)));
    for body in after {
        store.write(body.clone());
    }
    for entries in 0..=store.journal.len() {
        if entries > 0 {
            store.upload(store.segment(entries - 1, entries)).await.unwrap();
        }
        if entries == reported_after {
            report(&store, status).await;
        }
        if Some(entries) == reviewed_after {
            review(&world).await;
        }
    }
    owner(&world, 2).await
}

#[tokio::test]
async fn a_card_is_theirs_whom_its_sale_names_in_any_order_of_arrival() {
    let undone_first = || undone("S1-1-2");
    let days: [(Vec<Body>, CardStatus, Option<&str>); 5] = [
        (vec![to_draft(1)], CardStatus::Active, FIRST),
        (vec![to_draft(1), undone_first()], CardStatus::Blank, None),
        (vec![to_draft(1), undone_first(), to_nobody()], CardStatus::Active, None),
        (vec![to_draft(1), undone_first(), to_draft(1)], CardStatus::Active, FIRST),
        (vec![to_nobody()], CardStatus::Active, None),
    ];
    for (after, status, expected) in days {
        let entries = after.len() + 1;
        // A report ahead of the journal makes a card look in use, which matters to the form that names it.
        for (is_named, reported_after) in [(true, 0), (true, entries), (false, entries)] {
            for reviewed_after in std::iter::once(None).chain((2..=entries).map(Some)) {
                let found = played(is_named, &after, status, reported_after, reviewed_after).await;
                let sales = after.iter().map(Body::kind).collect::<Vec<_>>();
                let order = format!("named {is_named}, reported {reported_after}, reviewed {reviewed_after:?}");
                assert_eq!(found.as_deref(), expected, "{sales:?} {order}");
            }
        }
    }
}

#[tokio::test]
async fn a_card_sold_to_a_member_is_theirs_and_one_sold_to_whom_nobody_knows_is_nobodys() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    upload(&mut store, form(1, PHONE, false)).await;
    bring(&mut store, to_member(1)).await;
    assert_eq!(owner(&world, 2).await.as_deref(), FIRST);
    // The same once more: the segment came twice.
    store.upload(store.segment(0, store.journal.len())).await.unwrap();
    assert_eq!(owner(&world, 2).await.as_deref(), FIRST);
    bring(&mut store, undone("S1-1-2")).await;
    assert_eq!(owner(&world, 2).await, None, "it was given back");
    bring(&mut store, to_nobody()).await;
    assert_eq!(owner(&world, 2).await, None);
    bring(&mut store, undone("S1-1-4")).await;
    assert_eq!(world.exceptions().await, Vec::<String>::new());
    bring(&mut store, to_member(77)).await;
    assert_eq!((owner(&world, 2).await, world.exceptions().await), (None, vec!["left_undone".to_owned()]));
}

#[tokio::test]
async fn a_draft_is_its_own_stores_and_a_member_every_stores() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    upload(&mut one, form(1, PHONE, true)).await;
    two.stamp += 1_000;
    bring(&mut two, to_draft(1)).await;
    assert_eq!(owner(&world, 2).await, None, "S2 enrolled nobody under it");
    bring(&mut two, undone("S2-1-1")).await;
    bring(&mut two, to_member(1)).await;
    assert_eq!(owner(&world, 2).await.as_deref(), FIRST);
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_card_that_another_store_sold_meanwhile_is_not_the_members_whichever_store_is_first() {
    for is_form_first in [true, false] {
        let world = World::new().await;
        let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
        two.stamp += 1_000;
        two.write(to_nobody());
        report(&two, CardStatus::Active).await;
        if !is_form_first {
            two.upload(two.segment(0, 1)).await.unwrap();
        }
        upload(&mut one, form(1, PHONE, true)).await;
        if is_form_first {
            assert_eq!(owner(&world, 2).await.as_deref(), FIRST, "a card in use is theirs, as far as is known");
            two.upload(two.segment(0, 1)).await.unwrap();
        }
        let raised = world.exceptions().await;
        assert_eq!((owner(&world, 2).await, raised), (None, vec!["member_conflict".to_owned()]), "{is_form_first}");
    }
}

#[tokio::test]
async fn the_void_of_an_earlier_sale_takes_no_card_from_whom_another_store_sold_it_to() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    upload(&mut one, form(1, PHONE, false)).await;
    upload(&mut two, form(2, "13900000001", false)).await;
    two.stamp += 1_000;
    one.write(to_draft(1));
    one.write(undone("S1-1-2"));
    bring(&mut two, to_draft(2)).await;
    one.upload(one.segment(1, 2)).await.unwrap();
    assert_eq!(owner(&world, 2).await.as_deref(), Some("9000000002"));
    one.upload(one.segment(2, 3)).await.unwrap();
    assert_eq!(owner(&world, 2).await.as_deref(), Some("9000000002"));

    // Both stand, which is a card sold twice; the void of the later one leaves it to the other.
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    upload(&mut one, form(1, PHONE, false)).await;
    upload(&mut two, form(2, "13900000001", false)).await;
    two.stamp += 1_000;
    bring(&mut two, to_draft(2)).await;
    bring(&mut one, to_draft(1)).await;
    bring(&mut two, undone("S2-1-2")).await;
    assert_eq!(owner(&world, 2).await.as_deref(), FIRST);
}
