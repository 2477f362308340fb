//! Exceptions, each provoked as a store would: through the wire. What is raised, what closes it, and what opens it again.

use std::sync::atomic::Ordering;

use huitong_hub::actor::{Actor, Via};
use huitong_hub::exception::{self, Dossier, WorkError};
use huitong_hub::policy_key::PolicyPair;
use huitong_hub::store::exception::{self as rows, Filter, Resolution, State, States};
use huitong_hub::store::{audit, item};
use huitong_hub::{publish, reconcile, review};
use huitong_protocol::card::CardStatus;
use huitong_protocol::entry::{Body, CardSale, Entry, Return, Sale, SaleLine, TenderLine, Void};
use huitong_protocol::id::EntryId;
use huitong_protocol::item::Item;
use huitong_protocol::money::Currency;
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::reconcile::{Class, Severity};
use huitong_protocol::wire::SyncFault;

use crate::fake::{CNY, FakeStore, World, account, card, fault};
use crate::journal::{frozen, open, reload, trade};

fn somebody(name: &str) -> Actor {
    Actor::new(name, Via::Api).unwrap()
}

async fn change(
    world: &World,
    f: impl Fn(&mut huitong_hub::store::Tx<'_>) -> Result<Dossier, WorkError> + Send + 'static,
) -> Result<Dossier, String> {
    world.hub.store.write(f).await.map_err(|error| error.to_string())
}

async fn resolve(world: &World, number: i64, resolution: Resolution, note: &'static str) -> Result<Dossier, String> {
    let now = world.hub.now();
    change(world, move |tx| exception::resolve(tx, &somebody("Li"), number, resolution, note, now)).await
}

/// What the hub finds when it looks, by class.
async fn look(world: &World) -> Vec<String> {
    reconcile::run(&world.hub.store, world.hub.now()).await.unwrap();
    world.exceptions().await
}

/// A sale of card 2, whatever the account.
pub(crate) fn sold(account_no: i64, amount_minor: i64) -> Body {
    let kind = MovementKind::CardSale;
    let account = account(account_no);
    let movement = Movement {
        account,
        unit: CNY,
        kind,
        amount_minor,
        of: None,
        origin_store: None,
        shortfall_minor: 0,
        owed_by: None,
    };
    Body::CardSale(CardSale {
        card: card(2),
        account,
        product: "SV".parse().unwrap(),
        currency: Currency::CNY,
        principal_minor: amount_minor,
        bonus_minor: 0,
        tenders: Vec::new(),
        invoiceable: Vec::new(),
        member: None,
        draft: None,
        movements: vec![movement],
    })
}

#[tokio::test]
async fn a_seal_that_differs_is_taken_looked_into_and_closed_and_all_of_it_is_written_down() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    trade(&mut store);
    store.seal(|seal| seal.totals.movements[0].amount_minor += 1);
    store.upload(store.segment(0, store.journal.len())).await.unwrap();
    let filter = Filter { class: Some(Class::SealDiffers), ..Filter::default() };
    let found = world.read(move |tx| rows::list(tx, &filter)).await;
    let [seal] = &found[..] else { panic!("{found:?}") };
    assert_eq!((seal.severity, seal.state.clone()), (Severity::Alarm, State::Open));
    assert_eq!(seal.evidence.to_string(), "movement CNY reload: sealed 2 of 151, counted 2 of 150");
    assert_eq!(seal.evidence.entries, ["S1-1-6".parse::<EntryId>().unwrap()]);
    assert!(!seal.proposal.is_empty());
    let number = seal.number;

    let now = world.hub.now();
    let assign = |to: &'static str| change(&world, move |tx| exception::assign(tx, &somebody("Wang"), number, to, now));
    assign("Li").await.unwrap();
    let again = assign("Li").await.unwrap();
    assert_eq!(again.history.len(), 2, "what is so already is no change");
    assert!(assign("=1+1").await.unwrap_err().starts_with("to: is no name"));
    assert!(resolve(&world, number, Resolution::Accepted, "  ").await.unwrap_err().starts_with("note: is empty"));
    let done = resolve(&world, number, Resolution::Accepted, "the till was counted twice").await.unwrap();
    assert_eq!(resolve(&world, number, Resolution::Accepted, "the till was counted twice").await.unwrap(), done);
    let refused = resolve(&world, number, Resolution::Corrected, "no, it was not").await.unwrap_err();
    assert!(refused.contains("was resolved by Li") && refused.contains("reopen"), "{refused}");
    assert!(assign("Zhou").await.unwrap_err().contains("was resolved by Li"));
    assert!(resolve(&world, 99, Resolution::Corrected, "x").await.unwrap_err().contains("there is no exception 99"));
    let reopen = || change(&world, move |tx| exception::reopen(tx, &somebody("Zhou"), number, "the Z says else", now));
    reopen().await.unwrap();
    let dossier = reopen().await.unwrap();
    let history: Vec<(&str, &str)> =
        dossier.history.iter().map(|line| (line.change.as_str(), line.by.as_str())).collect();
    assert_eq!(history, [("raised", "hub"), ("assigned", "Wang"), ("resolved", "Li"), ("reopened", "Zhou")]);
    let deeds = world.read(|tx| audit::page(tx, 0, 100)).await;
    let deeds: Vec<String> = deeds.iter().map(|d| format!("{} {} {} {}", d.actor, d.via, d.action, d.object)).collect();
    assert_eq!(
        deeds,
        [
            format!("Wang api exception.assign {number}"),
            format!("Li api exception.resolve {number}"),
            format!("Zhou api exception.reopen {number}")
        ]
    );
    let counts = world.read(rows::counts).await;
    assert_eq!((counts.alarm, counts.info, counts.unassigned), (1, 1, 2));
}

#[tokio::test]
async fn what_was_corrected_and_is_found_again_is_open_again_and_what_was_accepted_is_not() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(reload(100));
    store.step(huitong_protocol::allotment::StoreEvent::Load { amount_minor: 99 });
    store.upload(store.segment(0, 1)).await.unwrap();
    store.send_report(store.report(account(1))).await.unwrap();
    assert_eq!(look(&world).await, ["report_differs"]);
    assert_eq!(look(&world).await, ["report_differs"], "it stands; it is not raised twice");
    resolve(&world, 1, Resolution::Corrected, "the store says that it is mended").await.unwrap();
    assert_eq!(look(&world).await, ["report_differs"], "it was not mended");
    let history = world.read(|tx| rows::history(tx, 1)).await;
    let changes: Vec<&str> = history.iter().map(|line| line.change.as_str()).collect();
    assert_eq!(changes, ["raised", "resolved", "raised_again"]);
    resolve(&world, 1, Resolution::Accepted, "a cent, written off").await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new(), "somebody stands for this very difference");
    store.write(reload(100));
    store.step(huitong_protocol::allotment::StoreEvent::Load { amount_minor: 98 });
    store.upload(store.segment(1, 2)).await.unwrap();
    store.send_report(store.report(account(1))).await.unwrap();
    assert_eq!(look(&world).await, ["report_differs"], "and not for another one");
}

#[tokio::test]
async fn what_was_accepted_stays_so_while_the_fact_is_the_same_whichever_entry_and_hour_show_it() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    let accept = async |expected: &[&str]| {
        assert_eq!(look(&world).await, expected);
        for open in world.open_exceptions().await {
            resolve(&world, open.number, Resolution::Accepted, "so be it").await.unwrap();
        }
    };
    // A cent between journal and report, which are compared at the last entry: it moves on with every sale.
    store.write(reload(100));
    store.step(huitong_protocol::allotment::StoreEvent::Load { amount_minor: 99 });
    store.upload(store.segment(0, 1)).await.unwrap();
    store.send_report(store.report(account(1))).await.unwrap();
    accept(&["report_differs"]).await;
    store.write(open());
    store.upload(store.segment(1, 2)).await.unwrap();
    store.send_report(store.report(account(1))).await.unwrap();
    accept(&[]).await;
    // A clock that is ahead, by another second each time.
    for ahead_ms in [60_001, 61_002] {
        let mut report = store.report(account(3));
        report.counters.clear();
        report.stamp = huitong_protocol::time::Stamp(world.clock.0.load(Ordering::SeqCst) + ahead_ms);
        store.send_report(report).await.unwrap();
        accept(if ahead_ms == 60_001 { &["clock_skew"] } else { &[] }).await;
    }
    // An item that is in no master, sold again; a policy that was never published, page by page.
    let tea = tea();
    world.hub.store.write(move |tx| item::write(tx, &tea).map(drop)).await.unwrap();
    for (sale, expected) in [(2, &["unknown_item", "policy_unknown"][..]), (3, &[])] {
        store.write(basket(&[("X", false)]));
        store.upload(store.segment(sale, sale + 1)).await.unwrap();
        reconcile::run(&world.hub.store, world.hub.now()).await.unwrap();
        huitong_hub::rerate::run(&world.hub, world.hub.now()).await.unwrap();
        accept(expected).await;
    }
    let evidence = world.read(|tx| rows::find(tx, 1)).await.unwrap().evidence;
    assert_eq!(
        evidence.entries,
        ["S1-1-1".parse::<EntryId>().unwrap()],
        "what was accepted is kept as it was looked at"
    );
}

#[tokio::test]
async fn a_gap_that_stays_is_named_and_closes_by_itself() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    for _ in 0..4 {
        store.write(reload(1));
    }
    store.upload(store.segment(0, 1)).await.unwrap();
    store.upload(store.segment(2, 4)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new(), "it came out of order; that is no gap yet");
    world.clock.0.fetch_add(600_000, Ordering::SeqCst);
    assert_eq!(look(&world).await, ["gap"]);
    let gap = world.open_exceptions().await.remove(0);
    assert!(gap.evidence.to_string().starts_with("next entry: expected 2, found 3; waiting since "), "{gap:?}");
    assert_eq!((gap.subject.as_str(), gap.evidence.entries), ("S1-1 after entry 1", vec!["S1-1-2".parse().unwrap()]));
    store.upload(store.segment(1, 2)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
    let closed = world.read(|tx| rows::list(tx, &Filter { states: States::Resolved, ..Filter::default() })).await;
    let State::Resolved { resolved_by, note, .. } = &closed[0].state else { panic!("{closed:?}") };
    assert_eq!((resolved_by.as_str(), note.as_str()), ("hub", "the journal goes on to entry 4"));
}

#[tokio::test]
async fn forks_duplicates_skew_and_returns_without_receipt_are_exceptions_of_their_own() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    trade(&mut store);
    let body = reload(6);
    let mut again = store.header(&body);
    again.operation = "00000000-0000-7000-8000-000100000002".parse().unwrap();
    store.journal.push(Entry { header: again, body }.encode());
    store.upload(store.segment(0, 6)).await.unwrap();
    store.stamp = world.clock.0.load(Ordering::SeqCst) + 60_001;
    store.send_report(store.report(account(1))).await.unwrap();
    store.journal.truncate(3);
    for _ in 0..3 {
        store.write(reload(999));
    }
    assert_eq!(fault(store.upload(store.segment(3, 6)).await), SyncFault::Fork);
    let found = world.open_exceptions().await;
    let said: Vec<(Class, usize)> = found.iter().map(|e| (e.class, e.evidence.entries.len())).collect();
    let expected =
        [(Class::UnreferencedReturn, 1), (Class::DuplicateOperation, 2), (Class::ClockSkew, 0), (Class::Fork, 0)];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn cards_and_accounts_that_head_office_never_made_are_named_by_entry_and_never_in_full() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(open());
    store.write(Body::CardStatus(frozen(1)));
    store.write(Body::CardStatus(frozen(77)));
    store.write(sold(77, 10));
    store.upload(store.segment(0, 4)).await.unwrap();
    assert_eq!(look(&world).await, ["unknown_card", "unknown_card"]);
    assert_eq!(look(&world).await.len(), 2, "each entry is looked at once");
    let found = world.open_exceptions().await;
    let said: Vec<String> = found.iter().map(|e| format!("{}: {}", e.subject, e.evidence)).collect();
    assert_eq!(
        said,
        [
            "S1-1-3: card ****0077 is unknown",
            "S1-1-4: account of card ****0002: expected 2, found 77; account 77 is opened by no card"
        ]
    );
}

pub(crate) fn basket(skus: &[(&str, bool)]) -> Body {
    let line = |&(sku, known): &(&str, bool)| SaleLine {
        sku: sku.to_owned(),
        name: String::new(),
        category_path: String::new(),
        brand: String::new(),
        counter: None,
        supplier: None,
        clerk: None,
        quantity_thousandths: 1_000,
        list_price_minor: None,
        gross_minor: 1,
        markdowns: Vec::new(),
        discounts: Vec::new(),
        net_minor: 1,
        member_price_minor: None,
        known,
        tax_code: String::new(),
        tax_ppm: 0,
        flags: Default::default(),
    };
    Body::Sale(Sale {
        currency: Currency::CNY,
        member: None,
        shopper: None,
        coupons: Vec::new(),
        markdowns: Vec::new(),
        policy_version: 1,
        priced_at_ms: huitong_protocol::time::Instant(0),
        priced_offset_minutes: huitong_protocol::time::CivilOffset::new(480).unwrap(),
        budgets_spent: Vec::new(),
        invoiceable_tenders: Vec::new(),
        lines: skus.iter().map(line).collect(),
        tenders: vec![TenderLine {
            tender: "cash".parse().unwrap(),
            amount_minor: 1,
            card: None,
            reference: None,
            hold: None,
        }],
        total_minor: 1,
        allocation: Vec::new(),
        invoiceable: Vec::new(),
        payment_unknown: None,
        taken_at_ms: None,
        earned: None,
        deferred: None,
        movements: Vec::new(),
    })
}

#[tokio::test]
async fn an_item_that_is_in_no_master_is_named_once_per_store() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(basket(&[("A1", false)]));
    store.upload(store.segment(0, 1)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new(), "without a master nothing is unknown");
    let known = tea();
    world.hub.store.write(move |tx| item::write(tx, &known).map(drop)).await.unwrap();
    store.write(basket(&[("A1", false), ("6900000000011", false), ("B\u{1b}[2J", false), ("C", true)]));
    store.write(basket(&[("B\u{1b}[2J", false)]));
    store.upload(store.segment(1, 3)).await.unwrap();
    assert_eq!(look(&world).await, ["unknown_item"]);
    let found = world.open_exceptions().await;
    assert_eq!(found[0].subject, "S1 item B\\u{1b}[2J", "a till's text moves no cursor");
}

pub(crate) fn tea() -> Item {
    Item {
        sku: "A1".to_owned(),
        barcodes: vec!["6900000000011".to_owned()],
        name: "tea".to_owned(),
        category_path: String::new(),
        brand: String::new(),
        counter: None,
        supplier: None,
        legal_entity: None,
        tax_code: String::new(),
        tax_ppm: 0,
        list_price_minor: None,
        member_price_minor: None,
        flags: Default::default(),
        active: true,
    }
}

#[tokio::test]
async fn a_card_that_was_sold_twice_is_named_until_one_sale_is_undone() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    one.write(sold(2, 10));
    one.upload(one.segment(0, 1)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
    two.write(sold(2, 20));
    two.upload(two.segment(0, 1)).await.unwrap();
    assert_eq!(look(&world).await, ["sold_twice"]);
    let found = world.open_exceptions().await;
    assert_eq!(found[0].evidence.to_string(), "card ****0002 was sold in S1-1-1 and in S2-1-1");
    two.write(undone("S2-1-1"));
    two.upload(two.segment(1, 2)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
    // Sold, undone, and sold again: nobody was wrong.
    two.write(sold(2, 30));
    two.write(undone("S2-1-3"));
    two.upload(two.segment(2, 4)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
}

pub(crate) fn undone(entry: &str) -> Body {
    Body::Void(Void {
        of: entry.parse().unwrap(),
        of_kind: "card_sale".to_owned(),
        reason: "wrong card".to_owned(),
        currency: Currency::CNY,
        tenders: Vec::new(),
        refunds: Vec::new(),
        red_letter: None,
        funded: Vec::new(),
        movements: Vec::new(),
    })
}

/// Publishes a policy in which a voucher's number counts once.
pub(crate) async fn publish_vouchers(world: &World) {
    let (hub, key, now) = (world.hub.store.clone(), world.key_file(), world.hub.now());
    tokio::task::spawn_blocking(move || {
        let document = "name = 'P'\ncurrency = 'CNY'\n[[tenders]]\ncode = 'cash'\nclass = 'external'\n\
             [[tenders]]\ncode = 'voucher'\nclass = 'voucher'\nreference = 'required'\nreference_unique = true\n";
        let pair = PolicyPair::open_trusted(&hub, &key).unwrap();
        publish::publish_policy(&hub, pair, document, "2026-01-01".parse().unwrap(), now).unwrap();
    })
    .await
    .unwrap();
}

fn by_voucher(amount_minor: i64, number: &str) -> TenderLine {
    let (tender, reference) = ("voucher".parse().unwrap(), Some(number.to_owned()));
    TenderLine { tender, amount_minor, card: None, reference, hold: None }
}

pub(crate) fn paid_by_voucher(number: &str) -> Body {
    let Body::Sale(sale) = basket(&[("A1", true)]) else { unreachable!("a sale") };
    Body::Sale(Sale { tenders: vec![by_voucher(10, number)], ..sale })
}

fn given_back(entry: &str, amount_minor: i64, number: &str) -> Body {
    Body::Return(Return {
        of: entry.parse().unwrap(),
        reason: "broken".to_owned(),
        currency: Currency::CNY,
        lines: Vec::new(),
        tenders: vec![by_voucher(amount_minor, number)],
        refunds: Vec::new(),
        total_minor: amount_minor,
        red_letter: None,
        deferred_points: 0,
        movements: Vec::new(),
    })
}

pub(crate) fn write_under(store: &mut FakeStore, policy: u64, body: Body) {
    let mut header = store.header(&body);
    header.replica.policy = policy;
    store.journal.push(Entry { header, body }.encode());
}

#[tokio::test]
async fn a_voucher_that_two_stores_took_is_named_until_all_but_one_gave_it_back() {
    let world = World::new().await;
    publish_vouchers(&world).await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    write_under(&mut one, 1, paid_by_voucher("V-1"));
    one.upload(one.segment(0, 1)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
    write_under(&mut two, 1, paid_by_voucher("v-1"));
    write_under(&mut two, 1, paid_by_voucher("V-2"));
    two.upload(two.segment(0, 2)).await.unwrap();
    assert_eq!(look(&world).await, ["reference_reused"]);
    assert_eq!(look(&world).await, ["reference_reused"], "each entry is looked at once");
    let found = world.open_exceptions().await.remove(0);
    assert_eq!(
        (found.subject.as_str(), found.evidence.to_string().as_str()),
        ("voucher V-1", "used in S1-1-1, S2-1-1")
    );
    assert_eq!(found.evidence.entries.len(), 2);
    write_under(&mut one, 1, given_back("S1-1-1", 4, "V-1"));
    one.upload(one.segment(1, 2)).await.unwrap();
    assert_eq!(look(&world).await, ["reference_reused"], "a part of it is still spent");
    write_under(&mut one, 1, given_back("S1-1-1", 6, "V-1"));
    one.upload(one.segment(2, 3)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
    // Undone, and taken again where it was undone: nobody was wrong.
    let Body::Void(void) = undone("S2-1-2") else { unreachable!("a void") };
    let void = Void { of_kind: "sale".to_owned(), tenders: vec![by_voucher(10, "V-2")], ..void };
    write_under(&mut two, 1, Body::Void(void));
    write_under(&mut two, 1, paid_by_voucher("V-2"));
    two.upload(two.segment(2, 4)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_two_reviewers_found_in_the_same_entries_counts_once() {
    let world = World::new().await;
    publish_vouchers(&world).await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    write_under(&mut one, 1, paid_by_voucher("V-1"));
    one.upload(one.segment(0, 1)).await.unwrap();
    write_under(&mut two, 1, paid_by_voucher("V-1"));
    two.upload(two.segment(0, 1)).await.unwrap();
    assert_eq!(look(&world).await, ["reference_reused"]);
    write_under(&mut one, 1, given_back("S1-1-1", 6, "V-1"));
    one.upload(one.segment(1, 2)).await.unwrap();
    // The hub's own job and somebody at the command line look at the same time.
    let now = world.hub.now();
    let (job, beside) = (world.read(review::find).await.unwrap(), world.read(review::find).await.unwrap());
    let mut saved = Vec::new();
    for batch in [job, beside] {
        saved.push(world.hub.store.write(move |tx| review::save(tx, &batch, now)).await.unwrap().is_some());
    }
    assert_eq!(saved, [true, false]);
    assert_eq!(look(&world).await, ["reference_reused"], "six of ten came back, not twelve");
}

#[tokio::test]
async fn value_that_came_back_behind_a_card_given_back_takes_it_out_of_sale_until_it_is_gone() {
    let world = World::new().await;
    world.load(account(2), 50).await;
    let mut store = world.store("S1").await;
    let movement = Movement {
        account: account(2),
        unit: CNY,
        kind: MovementKind::SpendReturn,
        amount_minor: 50,
        of: None,
        origin_store: None,
        shortfall_minor: 0,
        owed_by: None,
    };
    let Body::Return(back) = given_back("S1-1-9", 50, "V-1") else { unreachable!("a return") };
    store.write(Body::Return(Return { tenders: Vec::new(), movements: vec![movement], ..back }));
    store.upload(store.segment(0, 1)).await.unwrap();
    assert_eq!(look(&world).await, ["blank_with_value"]);
    let status = async || world.read(|tx| huitong_hub::store::card::find(tx, card(2))).await.unwrap().status;
    assert_eq!(status().await, CardStatus::Withdrawn, "card 2 was blank; nobody may buy what is behind it");
    assert_eq!(look(&world).await.len(), 1);
    world.hub.store.write(|tx| tx.execute("DELETE FROM pool WHERE account_id = 2", &[])).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new(), "it closes by itself");
    assert_eq!(status().await, CardStatus::Blank);
}

/// Writes a load under the first policy.
pub(crate) fn load(store: &mut FakeStore, amount_minor: i64) {
    let body = reload(amount_minor);
    let mut header = store.header(&body);
    header.replica.policy = 1;
    store.journal.push(Entry { header, body }.encode());
}

/// A policy under which a load is at most 100 and a balance at most 150.
pub(crate) async fn publish_limits(world: &World) {
    let (hub, key, now) = (world.hub.store.clone(), world.key_file(), world.hub.now());
    tokio::task::spawn_blocking(move || {
        let document = "name = 'P'\ncurrency = 'CNY'\n[[tenders]]\ncode = 'cash'\nclass = 'external'\n[[products]]\nid = 'SV'\nname = 'SV'\n\
             issuer = 'E1'\nload_minor_max = 100\nbalance_minor_max = 150\nranges = [{ prefix = '6601', length = 16, check = 'none' }]\n";
        let pair = PolicyPair::open_trusted(&hub, &key).unwrap();
        publish::publish_policy(&hub, pair, document, "2020-01-01".parse().unwrap(), now).unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_load_above_its_limit_is_named_and_so_is_the_balance_after_it() {
    let world = World::new().await;
    publish_limits(&world).await;
    let mut store = world.store("S1").await;
    load(&mut store, 100);
    store.upload(store.segment(0, 1)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
    load(&mut store, 101);
    store.upload(store.segment(1, 2)).await.unwrap();
    assert_eq!(look(&world).await, ["limit_broken"]);
    let found = world.open_exceptions().await;
    assert_eq!(
        found[0].evidence.to_string(),
        "load_minor: expected at most 100, found 101; balance_minor after it: expected at most 150, found 201"
    );
    // Another store is behind, and cannot have spent of it what it never had.
    let mut other = world.store("S2").await;
    other.write(reload(1));
    other.send_report(other.report(account(3))).await.unwrap();
    load(&mut store, 99);
    store.upload(store.segment(2, 3)).await.unwrap();
    assert_eq!(look(&world).await.len(), 2);
}

/// A store holds 60 of a card while another loads it beyond its limit of 150. Gives both and what they hold in their hands.
async fn loaded_while_another_holds_some(world: &World) -> (FakeStore, FakeStore) {
    publish_limits(world).await;
    world.load(account(1), 60).await;
    let (mut store, mut other) = (world.store("S1").await, world.store("S2").await);
    other.ask(60).await;
    load(&mut store, 100);
    load(&mut store, 99);
    store.upload(store.segment(0, 2)).await.unwrap();
    assert_eq!(look(world).await, Vec::<String>::new(), "S2 is offline: it may have spent 60 before the second load");
    assert_eq!(look(world).await, Vec::<String>::new());
    (store, other)
}

#[tokio::test]
async fn a_balance_is_too_high_only_when_the_spends_of_every_store_are_here() {
    let world = World::new().await;
    let (_, mut other) = loaded_while_another_holds_some(&world).await;
    // It had spent in time; nothing was ever wrong.
    let mut spent = basket(&[("A1", true)]);
    let Body::Sale(sale) = &mut spent else { unreachable!() };
    let kind = MovementKind::Spend;
    let account = account(1);
    sale.movements = vec![Movement {
        account,
        unit: CNY,
        kind,
        amount_minor: 60,
        of: None,
        origin_store: None,
        shortfall_minor: 0,
        owed_by: None,
    }];
    other.stamp = 1_800_000_000_000;
    other.write(spent);
    other.stamp += 1_000;
    other.write(open());
    other.upload(other.segment(0, 2)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new());
    assert_eq!(doubts(&world).await, 0, "and nobody asks again");
}

#[tokio::test]
async fn a_balance_that_was_too_high_is_named_when_that_is_certain() {
    let world = World::new().await;
    let (_, mut other) = loaded_while_another_holds_some(&world).await;
    other.stamp = 1_800_000_000_000;
    other.write(open());
    other.upload(other.segment(0, 1)).await.unwrap();
    assert_eq!(look(&world).await, Vec::<String>::new(), "it may have spent after this and before the load");
    other.stamp += 1_000;
    other.write(open());
    other.upload(other.segment(1, 2)).await.unwrap();
    assert_eq!(look(&world).await, ["limit_broken"]);
    let found = world.open_exceptions().await;
    assert_eq!(found[0].evidence.to_string(), "balance_minor after it: expected at most 150, found 199");
    assert_eq!(doubts(&world).await, 0);
}

async fn doubts(world: &World) -> i64 {
    world.read(|tx| tx.query_one("SELECT COUNT(*) FROM review_doubt", &[], |row| row.integer(0))).await.unwrap()
}

#[tokio::test]
async fn lists_are_filtered_and_paged_by_number() {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    for store in [&mut one, &mut two] {
        trade(store);
        store.seal(|seal| seal.totals.entries += 1);
        store.upload(store.segment(0, 6)).await.unwrap();
    }
    let list = async |filter: Filter, after: i64, limit: usize| -> Vec<i64> {
        let found = world.read(move |tx| rows::page(tx, &filter, after, limit)).await;
        found.iter().map(|exception| exception.number).collect()
    };
    let none = Filter::default;
    assert_eq!(list(none(), 0, 3).await, [1, 2, 3]);
    assert_eq!(list(none(), 3, 3).await, [4]);
    assert_eq!(list(Filter { store: Some("S2".parse().unwrap()), ..none() }, 0, 9).await, [3, 4]);
    assert_eq!(list(Filter { severity: Some(Severity::Alarm), ..none() }, 0, 9).await, [2, 4]);
    let now = world.hub.now();
    change(&world, move |tx| exception::assign(tx, &somebody("Wang"), 4, "Li", now)).await.unwrap();
    assert_eq!(list(Filter { owner: Some("Li".to_owned()), ..none() }, 0, 9).await, [4]);
    assert_eq!(list(Filter { states: States::Open, ..none() }, 0, 9).await, [1, 2, 3]);
}
