//! Enrolments as stores send them: who becomes a member, what is raised instead, and that nothing a store took down is lost or done twice.

use huitong_hub::actor::{Actor, Via};
use huitong_hub::member_request::{self, RequestView};
use huitong_hub::sealing::SealingPair;
use huitong_hub::store::engine::StoreError;
use huitong_hub::store::{card as cards, member};
use huitong_protocol::card::{CardChange, CardStatus};
use huitong_protocol::entry::{Body, MemberEnrolled};
use huitong_protocol::id::OperationId;
use huitong_protocol::member::{Consent, DraftId, Person, Phone, PhoneKey, Sealed};
use huitong_protocol::time::{Instant, Stamp};
use huitong_protocol::wire::to_msgpack;

use crate::fake::{FakeStore, World, account, card};

/// The keys of the world's hub.
const PHONE_KEY: [u8; 32] = [7; 32];
pub(crate) const SEALING: [u8; 32] = [8; 32];

pub(crate) fn draft(number: u128) -> DraftId {
    DraftId(OperationId(uuid::Uuid::from_u128(0x0193_7000_0000_7000_8000_0000_0000_0000 + number)))
}

pub(crate) fn person(number: u128, phone: &str) -> Person {
    Person {
        draft: draft(number),
        name: "王㛃".to_owned(),
        phone: Some(Phone::new(phone).unwrap().reveal().to_owned()),
        birthday: None,
        document: None,
    }
}

/// An enrolment under a draft, its form sealed to a pair.
pub(crate) fn enrolled(number: u128, person: &Person, pair: [u8; 32], with_card: bool) -> MemberEnrolled {
    let key = SealingPair::new(pair).public();
    let to: [u8; 32] = key.bytes().try_into().unwrap();
    let bytes = crypto_box::PublicKey::from(to).seal(&mut crypto_box::aead::OsRng, &to_msgpack(person)).unwrap();
    let phone = person.phone.as_deref().map(|phone| Phone::new(phone).unwrap());
    MemberEnrolled {
        draft: draft(number),
        consent: Consent { version: "1".to_owned(), given_at_ms: Instant(1) },
        name_masked: "王*".to_owned(),
        phone_masked: phone.as_ref().map(Phone::masked).unwrap_or_default(),
        phone_hash: phone.as_ref().map(|phone| PhoneKey::new(PHONE_KEY).hash(phone)),
        card: with_card.then(|| card(1)),
        sealed: Sealed { key: key.id(), bytes },
    }
}

pub(crate) async fn upload(store: &mut FakeStore, body: MemberEnrolled) {
    store.write(Body::MemberEnrolled(body));
    let entries = store.journal.len();
    let uploaded = store.upload(store.segment(entries - 1, entries)).await.unwrap();
    assert!(uploaded.quarantined.is_empty(), "{uploaded:?}");
}

async fn members(world: &World) -> i64 {
    world.read(|tx| Ok(tx.query_one("SELECT COUNT(*) FROM member", &[], |row| row.integer(0))?.unwrap_or(0))).await
}

#[tokio::test]
async fn a_form_that_cannot_be_used_is_kept_and_raised_and_never_in_the_way() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    let good = person(1, "13800135678");
    let foreign = enrolled(1, &good, [9; 32], false);
    let mut spoilt = enrolled(2, &person(2, "13800135678"), SEALING, false);
    spoilt.sealed.bytes[40] ^= 1;
    let another = enrolled(3, &good, SEALING, false);
    let other_phone = MemberEnrolled {
        phone_hash: enrolled(4, &person(4, "13900000001"), SEALING, false).phone_hash,
        ..enrolled(4, &person(4, "13800135678"), SEALING, false)
    };
    let control = Person { name: "王\u{1b}[2J".to_owned(), ..person(5, "13800135678") };
    let control = enrolled(5, &control, SEALING, false);
    for (raised, body) in (1..).zip([foreign, spoilt, another, other_phone, control]) {
        upload(&mut store, body).await;
        assert_eq!(world.exceptions().await, vec!["member_unreadable"; raised]);
    }
    assert_eq!(members(&world).await, 0);
    let waiting = world.read(|tx| member_request::list(tx, false, 0, 10)).await;
    assert!(waiting.len() == 5 && waiting.iter().all(|request| request.state == "waiting"), "{waiting:?}");
    // Enrolled again with a good form; the same segment again makes nobody twice.
    upload(&mut store, enrolled(6, &person(6, "13800135678"), SEALING, true)).await;
    store.upload(store.segment(0, store.journal.len())).await.unwrap();
    assert_eq!(members(&world).await, 1);
    let owner = world.read(|tx| Ok(cards::find(tx, card(1))?.and_then(|card| card.member))).await.unwrap();
    let made = world.read(move |tx| member::find_by_id(tx, owner)).await.unwrap();
    assert_eq!((made.member.name.as_str(), made.phone.unwrap().reveal()), ("王㛃", "+8613800135678"));
}

#[tokio::test]
async fn one_card_makes_one_of_two_members_its_owner_and_head_office_hears_of_the_other() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    upload(&mut one, enrolled(1, &person(1, "13800135678"), SEALING, true)).await;
    upload(&mut two, enrolled(2, &person(2, "13900000001"), SEALING, true)).await;
    assert_eq!(members(&world).await, 2, "nobody is lost");
    let raised = world.open_exceptions().await;
    assert_eq!(raised.len(), 1);
    let words = raised[0].evidence.to_string();
    assert!(words.contains("is that of member 9000000001") && !words.contains(card(1).reveal()), "{words}");
}

pub(crate) async fn bring(store: &mut FakeStore, body: Body) {
    store.write(body);
    let entries = store.journal.len();
    store.upload(store.segment(entries - 1, entries)).await.unwrap();
}

pub(crate) async fn sql(world: &World, statement: &'static str) {
    world.hub.store.write(move |tx| tx.execute(statement, &[]).map(drop)).await.unwrap();
}

pub(crate) async fn approve(world: &World, request: i64, by: &'static str) -> Result<RequestView, String> {
    let now = world.hub.now();
    let answer = world
        .hub
        .store
        .write(move |tx| member_request::approve(tx, &Actor::new(by, Via::Api).unwrap(), request, "seen", now));
    answer.await.and_then(|approval| approval).map_err(|error| error.to_string())
}

async fn only_request(world: &World) -> RequestView {
    world.read(|tx| member_request::list(tx, true, 0, 10)).await.remove(0)
}

/// Whose a card is, by name of number.
pub(crate) async fn owner(world: &World, number: u32) -> Option<String> {
    world
        .read(move |tx| {
            let owner = cards::find(tx, card(number))?.and_then(|card| card.member);
            Ok(match owner {
                Some(id) => member::find_by_id(tx, id)?.map(|owner| owner.member.number.to_string()),
                None => None,
            })
        })
        .await
}

#[tokio::test]
async fn a_new_member_gets_a_number_behind_however_many_imported_ones() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    sql(
        &world,
        "WITH RECURSIVE taken(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM taken WHERE n < 10001) \
         INSERT INTO member (member_id, number, name, pinyin, tier, segments, phone_masked, active, version) \
         SELECT 1000000 + n, '9' || printf('%09d', n), 'A', '', '', '', '', 1, 1 FROM taken",
    )
    .await;
    upload(&mut store, enrolled(1, &person(1, "13800135678"), SEALING, false)).await;
    assert_eq!(only_request(&world).await.member.unwrap().as_str(), "9000010002");
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_enrolment_for_which_no_number_is_left_waits_and_holds_up_no_journal() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    sql(&world, "UPDATE hub SET next_member = 1000000000").await;
    upload(&mut store, enrolled(1, &person(1, "13800135678"), SEALING, false)).await;
    upload(&mut store, enrolled(2, &person(2, "13900000001"), SEALING, false)).await;
    assert_eq!(world.exceptions().await, ["left_undone", "left_undone"]);
    let waiting = only_request(&world).await;
    assert_eq!((waiting.state, waiting.member), ("waiting", None));
    approve(&world, waiting.number, "li").await.unwrap();
    let refused = approve(&world, waiting.number, "wang").await.unwrap_err();
    assert!(refused.contains("none is free"), "{refused}");
    sql(&world, "UPDATE hub SET next_member = 1").await;
    assert_eq!(approve(&world, waiting.number, "wang").await.unwrap().state, "accepted");
    assert_eq!(world.exceptions().await, ["left_undone"], "that of the other");
    assert_eq!(members(&world).await, 1);
}

#[tokio::test]
async fn a_card_that_goes_back_to_the_rack_is_nobodys() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    upload(&mut store, enrolled(1, &person(1, "13800135678"), SEALING, true)).await;
    assert_eq!(owner(&world, 1).await.as_deref(), Some("9000000001"), "a card in use is theirs at once");
    let mut report = store.report(account(1));
    let stamp = Stamp(store.stamp + 1);
    report.cards = vec![CardChange { number: card(1), status: CardStatus::Blank, stamp }];
    store.send_report(report).await.unwrap();
    assert_eq!(owner(&world, 1).await, None);
}

#[tokio::test]
async fn two_people_approve_the_merge_that_both_were_shown() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    for (number, phone) in [(1, "13800135678"), (2, "13900000001"), (3, "13800135678")] {
        upload(&mut store, enrolled(number, &person(number, phone), SEALING, false)).await;
    }
    let request = world.read(|tx| member_request::list(tx, false, 0, 10)).await.remove(0);
    assert_eq!(request.proposal, "merge into member 9000000001");
    assert_eq!(approve(&world, request.number, "li").await.unwrap().state, "reviewed");
    // The phone becomes that of another member before the second looks.
    world
        .hub
        .store
        .write(|tx| {
            let hash = tx.query_one("SELECT phone_hash FROM member WHERE member_id = 1", &[], |row| {
                Ok::<_, StoreError>(row.bytes(0)?.to_vec())
            })?;
            tx.execute("UPDATE member SET phone_hash = NULL WHERE member_id = 1", &[])?;
            tx.execute("UPDATE member SET phone_hash = $1 WHERE member_id = 2", &[hash.as_deref().into()]).map(drop)
        })
        .await
        .unwrap();
    let refused = approve(&world, request.number, "wang").await.unwrap_err();
    assert!(refused.contains("merged into member 9000000002 now"), "{refused}");
    let again = world.read(|tx| member_request::list(tx, false, 0, 10)).await.remove(0);
    assert_eq!((again.state, again.proposal.as_str()), ("waiting", "merge into member 9000000002"));
    assert_eq!(approve(&world, request.number, "wang").await.unwrap().state, "reviewed");
    let accepted = approve(&world, request.number, "li").await.unwrap();
    assert_eq!((accepted.state, accepted.member.unwrap().as_str()), ("accepted", "9000000002"));
}
