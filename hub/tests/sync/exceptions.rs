//! Exceptions, each provoked as a store would: through the wire. What is raised, what closes it, and what opens it again.

use std::sync::atomic::Ordering;

use huitong_hub::actor::{Actor, Via};
use huitong_hub::exception::{self, Dossier, WorkError};
use huitong_hub::policy_key::PolicyPair;
use huitong_hub::store::exception::{self as rows, Filter, Resolution, State, States};
use huitong_hub::store::{audit, item};
use huitong_hub::{publish, reconcile};
use huitong_protocol::entry::{Body, CardSale, Entry, Sale, SaleLine, TenderLine, Void};
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
fn sold(account_no: i64, amount_minor: i64) -> Body {
    let kind = MovementKind::CardSale;
    let account = account(account_no);
    let movement =
        Movement { account, unit: CNY, kind, amount_minor, of: None, origin_store: None, shortfall_minor: 0 };
    Body::CardSale(CardSale {
        card: card(2),
        account,
        product: "SV".parse().unwrap(),
        currency: Currency::CNY,
        principal_minor: amount_minor,
        bonus_minor: 0,
        tenders: Vec::new(),
        invoiceable: Vec::new(),
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

fn basket(skus: &[(&str, bool)]) -> Body {
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
        invoiceable_tenders: Vec::new(),
        lines: skus.iter().map(line).collect(),
        tenders: vec![TenderLine { tender: "cash".parse().unwrap(), amount_minor: 1, card: None, reference: None }],
        total_minor: 1,
        allocation: Vec::new(),
        invoiceable: Vec::new(),
        payment_unknown: None,
        taken_at_ms: None,
        earned: None,
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
    let known = Item {
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
    };
    world.hub.store.write(move |tx| item::write(tx, &known).map(drop)).await.unwrap();
    store.write(basket(&[("A1", false), ("6900000000011", false), ("B\u{1b}[2J", false), ("C", true)]));
    store.write(basket(&[("B\u{1b}[2J", false)]));
    store.upload(store.segment(1, 3)).await.unwrap();
    assert_eq!(look(&world).await, ["unknown_item"]);
    let found = world.open_exceptions().await;
    assert_eq!(found[0].subject, "S1 item B\\u{1b}[2J", "a till's text moves no cursor");
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

fn undone(entry: &str) -> Body {
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

/// Writes a load under the first policy.
fn load(store: &mut FakeStore, amount_minor: i64) {
    let body = reload(amount_minor);
    let mut header = store.header(&body);
    header.replica.policy = 1;
    store.journal.push(Entry { header, body }.encode());
}

#[tokio::test]
async fn a_load_above_its_limit_is_named_and_a_balance_only_when_all_is_here() {
    let world = World::new().await;
    let (hub, key, now) = (world.hub.store.clone(), world.key_file(), world.hub.now());
    tokio::task::spawn_blocking(move || {
        let document = "name = 'P'\ncurrency = 'CNY'\n[[tenders]]\ncode = 'cash'\nclass = 'external'\n[[products]]\nid = 'SV'\nname = 'SV'\n\
             issuer = 'E1'\nload_minor_max = 100\nbalance_minor_max = 150\nranges = [{ prefix = '6601', length = 16, check = 'none' }]\n";
        let pair = PolicyPair::open_trusted(&hub, &key).unwrap();
        publish::publish_policy(&hub, pair, document, "2020-01-01".parse().unwrap(), now).unwrap();
    })
    .await
    .unwrap();
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
    // Another store has reported more than it has brought: it may have spent.
    let mut other = world.store("S2").await;
    other.write(reload(1));
    other.send_report(other.report(account(3))).await.unwrap();
    load(&mut store, 99);
    store.upload(store.segment(2, 3)).await.unwrap();
    assert_eq!(look(&world).await.len(), 1, "nothing can be said of the balance yet");
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
