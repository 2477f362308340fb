//! How a journal arrives: late, twice, out of order, cut elsewhere, contradicting, or with something in it that nobody understands.

use huitong_hub::ingest;
use huitong_hub::inspect::Place;
use huitong_hub::store::engine::StoreError;
use huitong_hub::store::{allotment as lines, day, journal as rows, overdraft as debts};
use huitong_protocol::allotment::{Purse, StoreEvent};
use huitong_protocol::entry::{
    Allotment, AllotmentChange, Body, CardSale, CardStatusChange, DayOpen, Entry, Sale, TenderLine, UnreferencedReturn,
    Void,
};
use huitong_protocol::id::{AccountId, Epoch, Seq, StoreId};
use huitong_protocol::journal::{Head, Range};
use huitong_protocol::money::Currency;
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::till::AMOUNT_MINOR_MAX;
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{Answer, Poll, Polled, SEGMENT_BYTES_MAX, Segment, SyncFault, path};
use proptest::prelude::*;

use crate::fake::{CNY, FakeStore, GROUP, World, account, card, fault, pack};
use crate::tenure::{fenced, replaced};

pub(crate) fn frozen(number: u32) -> CardStatusChange {
    CardStatusChange {
        card: card(number),
        account: account(i64::from(number)),
        status: huitong_protocol::card::CardStatus::Frozen,
        reason: "lost and found".to_owned(),
    }
}

pub(crate) fn movement(kind: MovementKind, amount_minor: i64) -> Movement {
    Movement {
        account: account(1),
        unit: CNY,
        kind,
        amount_minor,
        of: None,
        origin_store: None,
        shortfall_minor: 0,
        owed_by: None,
    }
}

pub(crate) fn reload(amount_minor: i64) -> Body {
    Body::CardReload(CardSale {
        card: card(1),
        account: account(1),
        product: "SV".parse().unwrap(),
        currency: Currency::CNY,
        principal_minor: amount_minor,
        bonus_minor: 0,
        tenders: Vec::new(),
        invoiceable: Vec::new(),
        member: None,
        draft: None,
        movements: vec![movement(MovementKind::Reload, amount_minor)],
    })
}

pub(crate) fn open() -> Body {
    Body::DayOpen(DayOpen { time_zone: "Asia/Shanghai".to_owned(), currency: Currency::CNY })
}

pub(crate) fn returned(amount_minor: i64) -> Body {
    Body::UnreferencedReturn(UnreferencedReturn {
        card: card(1),
        account: account(1),
        reason: "no receipt".to_owned(),
        currency: Currency::CNY,
        amount_minor,
        movements: vec![movement(MovementKind::UnreferencedReturn, amount_minor)],
    })
}

/// A day: open, two reloads, a grant adopted, a return without receipt, and what the case adds; sealed.
pub(crate) fn trade(store: &mut FakeStore) {
    store.write(open());
    store.write(reload(100));
    store.write(reload(50));
    let change = AllotmentChange { account: account(1), unit: CNY, adopted_minor: Some(30), released_minor: None };
    store.write(Body::Allotment(Allotment { changes: vec![change] }));
    store.write(returned(7));
}

/// Everything that the journal leaves behind, for comparison. `ingested_no` is of the order of arrival and is left out.
async fn rows_of(world: &World) -> Vec<String> {
    const ALL: [&str; 3] = [
        "SELECT store_id || ' ' || seq || ' ' || hex(hash) || ' ' || kind || ' ' || business_day FROM entry ORDER BY store_id, seq",
        "SELECT account_id || ' ' || stamp || ' ' || seq || ' ' || idx || ' ' || kind || ' ' || amount_minor || ' ' || business_day \
         FROM movement ORDER BY account_id, stamp, seq, idx",
        "SELECT business_day || ' ' || state || ' ' || COALESCE(seal_seq, 0) || ' ' || differences FROM day ORDER BY business_day",
    ];
    world
        .read(|tx| {
            let mut all = Vec::new();
            for sql in ALL {
                tx.for_each(sql, &[], |row| {
                    all.push(row.text(0)?.to_owned());
                    Ok::<_, StoreError>(())
                })?;
            }
            Ok(all)
        })
        .await
}

async fn counters(world: &World, store: StoreId) -> [i64; 4] {
    let purse = Purse { account: account(1), unit: CNY };
    let c = world.read(move |tx| rows::counters(tx, purse, store, huitong_protocol::id::Epoch(1))).await;
    [c.adopted_minor, c.loaded_minor, c.spent_minor, c.released_minor]
}

#[tokio::test]
async fn a_sealed_day_is_accepted_once_however_often_it_is_sent() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    trade(&mut store);
    store.seal(|_| ());
    let all = store.journal.len();
    let first = store.upload(store.segment(0, all)).await.unwrap();
    assert_eq!((first.journal_head, first.missing), (store.head(), None));
    assert_eq!(first.days.len(), 1);
    assert_eq!(first.days[0].differences, Vec::<String>::new());
    let before = rows_of(&world).await;
    assert_eq!(store.upload(store.segment(0, all)).await.unwrap(), first, "the same answer to the same segment");
    // Cut elsewhere, and overlapping.
    assert_eq!(store.upload(store.segment(2, 4)).await.unwrap().journal_head, store.head());
    store.write(reload(1));
    assert_eq!(store.upload(store.segment(3, all + 1)).await.unwrap().journal_head, store.head());
    assert_eq!(rows_of(&world).await.len(), before.len() + 2);
    assert_eq!(counters(&world, store.id).await, [30, 158, 0, 0]);
    let days = world.read(|tx| day::list(tx, FakeStore::day(), FakeStore::day())).await;
    assert_eq!((days.len(), days[0].state.as_str()), (1, "accepted"));
    assert_eq!(world.exceptions().await, ["unreferenced_return"]);
}

#[tokio::test]
async fn a_segment_before_its_time_waits_and_the_answer_names_what_is_missing() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    trade(&mut store);
    store.seal(|_| ());
    let last = store.upload(store.segment(4, 6)).await.unwrap();
    assert_eq!((last.journal_head, last.missing), (Head::START, Some(Range { first: Seq(1), last: Seq(4) })));
    let middle = store.upload(store.segment(2, 4)).await.unwrap();
    assert_eq!(middle.missing, Some(Range { first: Seq(1), last: Seq(2) }));
    let first = store.upload(store.segment(0, 2)).await.unwrap();
    assert_eq!((first.journal_head, first.missing), (store.head(), None));
    assert_eq!(first.days.len(), 1, "the seal that waited is judged when the gap closes");
}

#[tokio::test]
async fn a_seal_that_is_one_cent_off_is_answered_with_the_difference() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    trade(&mut store);
    store.seal(|seal| seal.totals.movements[0].amount_minor += 1);
    let uploaded = store.upload(store.segment(0, store.journal.len())).await.unwrap();
    assert_eq!(uploaded.days[0].differences, ["movement CNY reload: sealed 2 of 151, counted 2 of 150"]);
    assert_eq!(world.exceptions().await, ["unreferenced_return", "seal_differs"]);
    // The next day begins after this seal, whatever became of it.
    store.write(open());
    store.seal(|_| ());
    let next = store.upload(store.segment(6, 8)).await.unwrap();
    assert_eq!(next.days[0].differences, Vec::<String>::new());
    store.write(open());
    store.seal(|seal| seal.first_seq = Seq(1));
    let skipped = store.upload(store.segment(8, 10)).await.unwrap();
    assert_eq!(skipped.days[0].differences, ["first entry: sealed 1, the seal before is entry 8"]);
}

#[tokio::test]
async fn a_seal_is_judged_the_same_whenever_its_day_was_counted() {
    // Nothing counted ahead, the first day alone, a part of the second, all of it.
    for counted_at in 0..4 {
        let world = World::new().await;
        let mut store = world.store("S1").await;
        let place =
            Place { group: GROUP.parse().unwrap(), currency: Currency::CNY, store: store.id, epoch: store.epoch };
        let count = async || world.read(move |tx| ingest::count_ahead(tx, &place)).await;
        let mut ahead = ingest::CountedAhead::default();
        trade(&mut store);
        store.upload(store.segment(0, 5)).await.unwrap();
        if counted_at == 1 {
            ahead = count().await;
        }
        store.seal(|_| ());
        store.write(open());
        store.upload(store.segment(5, 7)).await.unwrap();
        if counted_at == 2 {
            ahead = count().await;
        }
        store.write(reload(3));
        store.upload(store.segment(7, 8)).await.unwrap();
        if counted_at == 3 {
            ahead = count().await;
        }
        store.write(reload(4));
        store.seal(|seal| seal.totals.movements[0].amount_minor += 1);
        let segment = store.segment(8, 10);
        let (unpacked, now) = (ingest::unpack(&place, &segment).unwrap(), world.hub.now());
        assert!(unpacked.has_seal());
        let taken =
            world.hub.store.write(move |tx| ingest::take(tx, &place, &segment, &unpacked, &ahead, now)).await.unwrap();
        let ingest::Taken::Uploaded { uploaded, .. } = taken else { panic!("{taken:?}") };
        assert_eq!(
            uploaded.days[0].differences,
            ["movement CNY reload: sealed 2 of 8, counted 2 of 7"],
            "{counted_at}"
        );
    }
}

#[tokio::test]
async fn a_fork_is_alarmed_and_nothing_more_is_taken() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    trade(&mut store);
    store.upload(store.segment(0, 5)).await.unwrap();
    let before = rows_of(&world).await;
    let honest = store.journal.clone();
    // A copy of the database went its own way after the third entry.
    store.journal.truncate(3);
    store.write(reload(999));
    store.write(reload(998));
    store.write(reload(997));
    assert_eq!(fault(store.upload(store.segment(3, 6)).await), SyncFault::Fork);
    assert_eq!(rows_of(&world).await, before);
    assert_eq!(world.exceptions().await, ["unreferenced_return", "fork"]);
    store.journal = honest;
    store.write(reload(1));
    assert_eq!(fault(store.upload(store.segment(5, 6)).await), SyncFault::Copied, "closed until somebody has looked");
    // Neither copy gets value or is believed, and each is told so, whatever it calls for.
    let (id, purse) = (store.id, Purse { account: account(1), unit: CNY });
    let counted = world.read(move |tx| lines::line(tx, purse, id, Epoch(1))).await;
    world.load(account(1), 100).await;
    store.step(StoreEvent::Load { amount_minor: 10 });
    assert_eq!(fault(store.send_report(store.report(account(1))).await), SyncFault::Copied);
    let poll = Poll { wait_ms: 0, recalls_through: 0, cards_version: 0 };
    let polled: Result<Answer<Polled>, _> = store.call(path::POLL, None, poll).await;
    assert_eq!(fault(polled), SyncFault::Copied);
    assert_eq!(fault(store.say_hello(&store.hello_body()).await), SyncFault::Copied);
    assert_eq!(world.read(move |tx| lines::line(tx, purse, id, Epoch(1))).await, counted);
    assert_eq!(world.exceptions().await, ["unreferenced_return", "fork"]);
    // Once the epoch is ended, the store that takes its place brings what it sold for cash since, and the copy still brings nothing.
    fenced(&world, id).await;
    let new = replaced(&world, "S1", "again").await;
    let uploaded = new.upload(store.segment(5, 6)).await.unwrap();
    assert_eq!(uploaded.journal_head.seq, Seq(6));
    store.journal.truncate(3);
    store.write(reload(999));
    assert_eq!(fault(new.upload(store.segment(3, 4)).await), SyncFault::Fork);
}

#[tokio::test]
async fn a_hub_that_lacks_what_it_says_to_hold_takes_no_store_for_a_copy() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    trade(&mut store);
    store.write(reload(1));
    store.write(reload(2));
    store.upload(store.segment(0, 5)).await.unwrap();
    world.hub.store.write(|tx| tx.execute("UPDATE journal SET seq = seq + 1", &[])).await.unwrap();
    assert_eq!(fault(store.upload(store.segment(5, 7)).await), SyncFault::Internal);
    assert!(!world.exceptions().await.contains(&"fork".to_owned()));
    world.hub.store.write(|tx| tx.execute("UPDATE journal SET seq = seq - 1", &[])).await.unwrap();
    store.upload(store.segment(5, 7)).await.unwrap();
}

#[tokio::test]
async fn a_store_cannot_post_what_only_head_office_decides() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(open());
    let posting = huitong_protocol::entry::HubPosting { reference: "made up".to_owned(), movements: Vec::new() };
    store.write(huitong_protocol::entry::Body::HubPosting(posting));
    store.write(reload(9));
    let uploaded = store.upload(store.segment(0, 3)).await.unwrap();
    assert_eq!(uploaded.journal_head, store.head(), "the rest goes on");
    let why: Vec<(u64, &str)> = uploaded.quarantined.iter().map(|q| (q.seq.0, q.reason.as_str())).collect();
    assert_eq!(why, [(2, "header.kind: is hub_posting, which only head office's own journal may hold")]);
}

#[tokio::test]
async fn a_poison_record_is_kept_apart_and_blocks_nothing() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(open());
    store.journal.push(b"not an entry".to_vec());
    let body = reload(5);
    let mut of_tomorrow = store.header(&body);
    of_tomorrow.body_version = 9;
    store.journal.push(Entry { header: of_tomorrow, body }.encode());
    let body = reload(6);
    let mut misplaced = store.header(&body);
    misplaced.store = "S2".parse().unwrap();
    store.journal.push(Entry { header: misplaced, body }.encode());
    let body = reload(7);
    let mut dayless = store.header(&body);
    dayless.business_day = None;
    store.journal.push(Entry { header: dayless, body }.encode());
    store.write(reload(-8));
    store.write(reload(AMOUNT_MINOR_MAX + 1));
    store.write(reload(AMOUNT_MINOR_MAX));
    let uploaded = store.upload(store.segment(0, 8)).await.unwrap();
    assert_eq!(uploaded.journal_head, store.head());
    let why: Vec<(u64, &str)> = uploaded.quarantined.iter().map(|q| (q.seq.0, q.reason.as_str())).collect();
    assert!(why[0].1.starts_with("malformed: "), "{why:?}");
    assert_eq!(
        why[1..],
        [
            (3, "unknown kind card_reload in version 9"),
            (4, "header.store: is S2, its place in the journal is S1"),
            (5, "header.business_day: is missing, and the entry moves value"),
            (6, "movements[0].amount_minor: is -8; from 1 to 100000000000 is allowed"),
            (7, "movements[0].amount_minor: is 100000000001; from 1 to 100000000000 is allowed"),
        ]
    );
    assert_eq!(counters(&world, store.id).await, [0, AMOUNT_MINOR_MAX, 0, 0]);
    assert_eq!(world.exceptions().await, vec!["quarantined"; 6]);
}

/// A sale paid with cash lines of these amounts; `undone` makes it the void of one.
#[tokio::test]
async fn a_store_moves_on_the_risk_account_only_what_an_overdraft_moves() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(open());
    let drawn =
        Movement { account: AccountId::RISK, owed_by: Some(account(1)), ..movement(MovementKind::Overdraft, 5) };
    let wrong = [
        Movement { owed_by: None, ..drawn.clone() },
        Movement { account: account(1), ..drawn.clone() },
        Movement { account: AccountId::RISK, ..movement(MovementKind::Spend, 5) },
        Movement { owed_by: Some(account(1)), ..movement(MovementKind::Spend, 5) },
        Movement { unit: Unit::Points, ..drawn.clone() },
        Movement { account: AccountId::RISK, ..movement(MovementKind::RiskBudget, 5) },
        movement(MovementKind::OverdraftReturned, 5),
    ];
    for moved in wrong.iter().cloned().chain([drawn]) {
        let Body::Sale(mut sale) = paid(&[5], false) else { panic!("a sale is a sale") };
        sale.tenders[0].card = Some(card(1));
        sale.movements.push(moved);
        store.write(Body::Sale(sale));
    }
    let uploaded = store.upload(store.segment(0, store.journal.len())).await.unwrap();
    let why: Vec<(u64, &str)> = uploaded.quarantined.iter().map(|q| (q.seq.0, q.reason.as_str())).collect();
    let on = |account: AccountId, kind: &str| {
        format!("movements[0].account: is {account}, on which {kind} cannot move anything")
    };
    let named = "movements[0].owed_by: is of what an overdraft moves, and names whose it was";
    let (not_risk, not_theirs) = (on(account(1), "overdraft"), on(AccountId::RISK, "spend"));
    assert_eq!(
        why,
        [
            (2, named),
            (3, not_risk.as_str()),
            (4, not_theirs.as_str()),
            (5, named),
            (6, "movements[0].unit: points are never overdrawn"),
            (7, "movements[0].kind: is risk_budget, which only head office may post"),
            (8, "movements[0].kind: is overdraft_returned, which only head office may post"),
        ]
    );
    let owed = world.read(|tx| debts::owing(tx, account(1), CNY)).await.debt.owed_minor();
    assert_eq!(owed, 5, "what is right is taken");
}

pub(crate) fn paid(amounts: &[i64], undone: bool) -> Body {
    let cash = |&amount_minor: &i64| TenderLine {
        tender: "cash".parse().unwrap(),
        amount_minor,
        card: None,
        reference: None,
        hold: None,
    };
    let (currency, tenders) = (Currency::CNY, amounts.iter().map(cash).collect());
    if undone {
        return Body::Void(Void {
            of: "S1-1-1".parse().unwrap(),
            of_kind: "sale".to_owned(),
            reason: String::new(),
            currency,
            tenders,
            refunds: Vec::new(),
            red_letter: None,
            funded: Vec::new(),
            movements: Vec::new(),
        });
    }
    Body::Sale(Sale {
        currency,
        member: None,
        lines: Vec::new(),
        tenders,
        total_minor: 0,
        allocation: Vec::new(),
        invoiceable: Vec::new(),
        payment_unknown: None,
        taken_at_ms: None,
        shopper: None,
        coupons: Vec::new(),
        markdowns: Vec::new(),
        policy_version: 1,
        priced_at_ms: huitong_protocol::time::Instant(0),
        priced_offset_minutes: huitong_protocol::time::CivilOffset::new(480).unwrap(),
        budgets_spent: Vec::new(),
        invoiceable_tenders: Vec::new(),
        earned: None,
        deferred: None,
        movements: Vec::new(),
    })
}

#[tokio::test]
async fn a_payment_that_no_till_can_take_is_kept_apart_and_its_day_differs() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(open());
    store.write(paid(&[i64::MAX, i64::MAX], false));
    store.write(paid(&[0, i64::MIN], true));
    store.write(paid(&[-1], false));
    store.write(paid(&[AMOUNT_MINOR_MAX + 1], true));
    store.write(paid(&[AMOUNT_MINOR_MAX, 0], false));
    store.seal(|_| ());
    let uploaded = store.upload(store.segment(0, 7)).await.unwrap();
    assert_eq!(uploaded.journal_head, store.head(), "nothing is tried for ever");
    let why: Vec<(u64, &str)> = uploaded.quarantined.iter().map(|q| (q.seq.0, q.reason.as_str())).collect();
    assert_eq!(
        why,
        [
            (2, "tenders[0].amount_minor: is 9223372036854775807; from 0 to 100000000000 is allowed"),
            (3, "tenders[1].amount_minor: is -9223372036854775808; from 0 to 100000000000 is allowed"),
            (4, "tenders[0].amount_minor: is -1; from 0 to 100000000000 is allowed"),
            (5, "tenders[0].amount_minor: is 100000000001; from 0 to 100000000000 is allowed"),
        ]
    );
    let differences = &uploaded.days[0].differences;
    assert_eq!(differences, &["totals: the amounts of the entries add up to more than any total can hold"]);
    let found = world.read(huitong_hub::verify::run).await;
    assert!(found.ok, "what does not fit follows from the journal too: {found:?}");
    // The next day is counted for itself.
    store.write(open());
    store.write(paid(&[5], false));
    store.seal(|_| ());
    let next = store.upload(store.segment(7, 10)).await.unwrap();
    assert_eq!(next.days[0].differences, Vec::<String>::new());
    assert_eq!(world.exceptions().await, ["quarantined", "quarantined", "quarantined", "quarantined", "seal_differs"]);
}

#[tokio::test]
async fn an_operation_with_two_entries_is_found() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(reload(5));
    let body = reload(5);
    let mut again = store.header(&body);
    again.operation = "00000000-0000-7000-8000-000100000001".parse().unwrap();
    store.journal.push(Entry { header: again, body }.encode());
    store.upload(store.segment(0, 2)).await.unwrap();
    assert_eq!(world.exceptions().await, ["duplicate_operation"]);
}

#[tokio::test]
async fn a_segment_that_lies_about_itself_is_malformed() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(reload(5));
    store.write(reload(6));
    let check = async |segment: Segment, says: &str| {
        let refused = store.upload(segment).await.unwrap_err();
        assert_eq!(refused.fault, SyncFault::Malformed, "{}", refused.message);
        assert!(refused.message.starts_with(says), "{:?}, not {says:?}", refused.message);
    };
    let good = store.segment(0, 2);
    check(Segment { last: Head { seq: Seq(3), ..good.last }, ..good.clone() }, "body.last").await;
    check(Segment { last: store.head_at(1), ..good.clone() }, "body.last").await;
    check(Segment { raw_bytes: good.raw_bytes - 1, ..good.clone() }, "body.entries_zstd").await;
    check(Segment { raw_bytes: good.raw_bytes + 1, ..good.clone() }, "body.raw_bytes").await;
    check(Segment { entries_zstd: b"not zstd".to_vec(), ..good.clone() }, "body.entries_zstd").await;
    check(pack(store.epoch, Head::START, Head::START, &[]), "body.entries_zstd").await;
    check(Segment { previous: Head { seq: Seq(u64::MAX), ..Head::START }, ..good.clone() }, "body.previous.seq").await;
    // Some kilobytes that would unpack into a gigabyte.
    let bomb = zstd::bulk::compress(&vec![0; SEGMENT_BYTES_MAX * 16], 19).unwrap();
    check(
        Segment { raw_bytes: SEGMENT_BYTES_MAX as u64, entries_zstd: bomb.clone(), ..good.clone() },
        "body.entries_zstd",
    )
    .await;
    check(Segment { raw_bytes: u64::MAX, entries_zstd: bomb, ..good.clone() }, "body.raw_bytes").await;
    let foreign = Segment { epoch: huitong_protocol::id::Epoch(2), ..good };
    assert_eq!(fault(store.upload(foreign).await), SyncFault::Foreign);
    assert_eq!(rows_of(&world).await, Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever the order, repetition and cut of segments, the same journal gives the same rows.
    #[test]
    fn arrival_does_not_matter(cuts in prop::collection::vec((0_usize..12, 1_usize..6), 0..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (straight, shuffled) = (World::new().await, World::new().await);
            let (mut a, mut b) = (straight.store("S1").await, shuffled.store("S1").await);
            for store in [&mut a, &mut b] {
                trade(store);
                store.seal(|_| ());
                trade(store);
            }
            let all = a.journal.len();
            a.upload(a.segment(0, all)).await.unwrap();
            for (from, count) in cuts {
                let from = from.min(all - 1);
                b.upload(b.segment(from, (from + count).min(all))).await.unwrap();
            }
            let held = b.upload(b.segment(all - 1, all)).await.unwrap().journal_head;
            let held = usize::try_from(held.seq.0).unwrap();
            if held < all {
                b.upload(b.segment(held, all)).await.unwrap();
            }
            assert_eq!(rows_of(&straight).await, rows_of(&shuffled).await);
            straight.hub.store.close();
            shuffled.hub.store.close();
        });
    }
}
