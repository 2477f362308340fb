//! Overdrafts as head office keeps them: what is lent, collected and given back, whatever comes in which order, and what a store cannot make of it.

use std::sync::atomic::Ordering;

use huitong_hub::actor::{Actor, Via};
use huitong_hub::allot::{self, Ask};
use huitong_hub::lender::Why;
use huitong_hub::policy_key::PolicyPair;
use huitong_hub::recovery as hub_recovery;
use huitong_hub::risk::{self, RiskError, RiskSheet};
use huitong_hub::schedule::Job;
use huitong_hub::store::engine::{StoreError, Tx};
use huitong_hub::store::exception::Resolution;
use huitong_hub::store::{allotment, card as cards, dataset, overdraft as debts, parking};
use huitong_hub::suspense::{self, Occasion};
use huitong_hub::{exception, fence, publish, unsold, worker};
use huitong_protocol::allotment::{Purse, StoreCounters, StoreEvent};
use huitong_protocol::card::CardStatus;
use huitong_protocol::entry::{Allotment, AllotmentChange, Body, TenderLine, Void};
use huitong_protocol::id::{AccountId, EntryId, Epoch, Seq};
use huitong_protocol::journal::Head;
use huitong_protocol::movement::{Movement, MovementKind, MovementRef};
use huitong_protocol::parking::{Allocator, ParkingRules};
use huitong_protocol::reconcile::Class;
use huitong_protocol::wire::{
    Answer, AskParked, DatasetKind, DatasetPage, DatasetRequest, DatasetRow, GrantAnswer, GrantRequest, Need, Nothing,
    Purpose, Report, path,
};

use crate::fake::{CNY, FakeStore, World, account, card};
use crate::journal::{movement, open, paid, reload};
use crate::recovery::{backup, restored, turn_to};
use crate::value::say;

const RISK: Purse = Purse { account: AccountId::RISK, unit: CNY };

fn person(name: &str) -> Actor {
    Actor::new(name, Via::Cli).unwrap()
}

async fn sheet(world: &World) -> RiskSheet {
    world.read(|tx| risk::show(tx, FakeStore::day())).await
}

/// One person asks and a second one sets it.
async fn budget(world: &World, amount_minor: i64) -> Result<RiskSheet, RiskError> {
    let occasion = Occasion { now: world.hub.now(), day: FakeStore::day() };
    let said = |by: &'static str| {
        world.hub.store.write(move |tx| risk::set_budget(tx, &person(by), amount_minor, "for the winter", occasion))
    };
    said("li").await?;
    said("wang").await
}

/// A policy that lets cards overdraw.
async fn lines(world: &World, store_line_minor: i64) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/policies/standard.toml");
    let chapter = format!(
        "\n[overdraft]\nstore_line_minor = {store_line_minor}\nreceipt_minor_max = 500\naccount_minor_max = 500\n\
         store_day_minor_max = 900\ncards_age_minutes_max = 60\n"
    );
    let document = std::fs::read_to_string(file).unwrap() + &chapter;
    let (key, hub, now) = (world.key_file(), world.hub.store.clone(), world.hub.now());
    let said = move || {
        let pair = PolicyPair::open_or_make(&key).unwrap();
        publish::publish_policy(&hub, pair, &document, "2026-01-01".parse().unwrap(), now).unwrap();
    };
    tokio::task::spawn_blocking(said).await.unwrap();
}

/// A town with a budget, and lines as large as stores can have them.
async fn town(budget_minor: i64) -> (World, FakeStore, FakeStore) {
    let world = World::new().await;
    let (mut one, mut two) = (world.store("S1").await, world.store("S2").await);
    lines(&world, 1_000).await;
    budget(&world, budget_minor).await.unwrap();
    one.write(open());
    two.write(open());
    (world, one, two)
}

async fn settled(world: &World) {
    worker::perform(&world.hub, Job::Reconcile, world.hub.now()).await.unwrap();
}

async fn collected(world: &World) -> (i64, i64) {
    let sheet = sheet(world).await;
    (sheet.recovered_minor, sheet.owed_minor)
}

impl FakeStore {
    /// Asks for its line, and gives what is left of it.
    async fn fills(&mut self) -> i64 {
        let request = AskParked { purses: vec![RISK] };
        let report = self.report(AccountId::RISK);
        let answer: Answer<Nothing> = self.call(path::PARKED, Some(report), request).await.unwrap();
        for grant in answer.grants {
            self.step(StoreEvent::Adopt { granted_minor: grant.granted_minor });
        }
        self.counters.available_minor()
    }

    /// A card of an account pays for goods with the line alone.
    fn lends(&mut self, owed_by: i64, amount_minor: i64) -> Seq {
        self.step(StoreEvent::Spend { amount_minor });
        self.write(lent(owed_by, amount_minor, amount_minor))
    }

    /// The goods come back, and what was lent for them goes to head office.
    fn takes_back(&mut self, sold: Seq, owed_by: i64, amount_minor: i64) {
        self.step(StoreEvent::Load { amount_minor });
        self.step(StoreEvent::Release { amount_minor });
        let of = EntryId { store: self.id, epoch: self.epoch, seq: sold };
        self.write(back(of, of, owed_by, amount_minor));
        let (adopted_minor, released_minor) = (None, Some(self.counters.released_minor));
        let change = AllotmentChange { account: AccountId::RISK, unit: CNY, adopted_minor, released_minor };
        self.write(Body::Allotment(Allotment { changes: vec![change] }));
    }

    async fn tells(&self) {
        self.send_report(self.report(AccountId::RISK)).await.unwrap();
    }

    async fn sends_all(&self) {
        self.upload(self.segment(0, self.journal.len())).await.unwrap();
    }
}

fn of_risk(kind: MovementKind, owed_by: i64, amount_minor: i64) -> Movement {
    Movement { account: AccountId::RISK, owed_by: Some(account(owed_by)), ..movement(kind, amount_minor) }
}

fn lent(owed_by: i64, paid_minor: i64, amount_minor: i64) -> Body {
    let Body::Sale(mut sale) = paid(&[], false) else { panic!("a sale is one") };
    sale.tenders.push(TenderLine {
        tender: "stored_value".parse().unwrap(),
        amount_minor: paid_minor,
        card: Some(card(u32::try_from(owed_by).unwrap())),
        reference: None,
        hold: None,
    });
    sale.movements.push(of_risk(MovementKind::Overdraft, owed_by, amount_minor));
    Body::Sale(sale)
}

fn back(receipt: EntryId, undone: EntryId, owed_by: i64, amount_minor: i64) -> Body {
    let Body::Void(void) = paid(&[], true) else { panic!("a void is one") };
    let of = Some(MovementRef { entry: undone, index: 0 });
    let movements = vec![Movement { of, ..of_risk(MovementKind::OverdraftBack, owed_by, amount_minor) }];
    Body::Void(Void { of: receipt, movements, ..void })
}

#[tokio::test]
async fn what_was_collected_and_comes_back_is_lent_to_nobody_and_lowers_nobodys_debt() {
    let (world, mut one, mut two) = town(100).await;
    assert_eq!(one.fills().await, 100, "the risk account has no card, and its lines are granted all the same");
    let sold = one.lends(1, 100);
    one.tells().await;
    one.sends_all().await;
    world.load(account(1), 100).await;
    settled(&world).await;
    assert_eq!(collected(&world).await, (100, 0));
    assert_eq!(two.fills().await, 100);
    two.lends(3, 100);
    two.tells().await;
    two.sends_all().await;

    one.takes_back(sold, 1, 100);
    assert_eq!(one.counters.available_minor(), 0);
    assert_eq!(one.fills().await, 0, "the report says that something came back, no journal says whose it was");
    let figures = |sheet: &RiskSheet| {
        (sheet.free_minor, sheet.reserved_minor, sheet.excess_minor, sheet.drawable_minor, sheet.exposure_minor)
    };
    assert_eq!(figures(&sheet(&world).await), (100, 100, 0, 0, 100), "the second account owes 100");
    let lower = budget(&world, 99).await.unwrap_err().to_string();
    assert!(lower.contains("100 of the budget of 100 minor units is with stores"), "{lower}");
    one.sends_all().await;
    assert_eq!(figures(&sheet(&world).await), (100, 100, 100, 0, 100));
    assert_eq!((one.fills().await, two.fills().await), (0, 0), "it is the first account's");
    settled(&world).await;
    assert_eq!(figures(&sheet(&world).await), (0, 0, 0, 0, 100));
    let theirs = Purse { account: account(1), unit: CNY };
    assert_eq!(world.read(move |tx| allotment::pool(tx, theirs)).await.0.free_minor(), 100);
}

/// What is open of every account, as it is kept and as all movements come to.
async fn kept_and_folded(world: &World) -> [Vec<(i64, i64, i64)>; 2] {
    world
        .read(|tx| {
            let kept =
                debts::open(tx)?.into_iter().map(|((of, _), open)| (of.get(), open.owed_minor, open.excess_minor));
            let all = debts::owings(tx)?.into_iter();
            let all = all.map(|((of, _), owing)| (of.get(), owing.debt.owed_minor(), owing.debt.excess_minor()));
            Ok([kept.collect(), all.filter(|(_, owed, excess)| (*owed, *excess) != (0, 0)).collect()])
        })
        .await
}

#[tokio::test]
async fn what_is_open_is_what_all_movements_come_to() {
    let (world, mut one, mut two) = town(300).await;
    assert_eq!((one.fills().await, two.fills().await), (300, 0));
    let mut seen = Vec::new();
    let mut same = async |world: &World| {
        let [kept, folded] = kept_and_folded(world).await;
        assert_eq!(kept, folded);
        seen.push(kept);
    };
    let sold = one.lends(1, 100);
    one.lends(3, 40);
    one.tells().await;
    one.sends_all().await;
    same(&world).await;
    world.load(account(1), 70).await;
    settled(&world).await;
    same(&world).await;
    // More comes back than is owed still.
    one.takes_back(sold, 1, 100);
    one.tells().await;
    one.sends_all().await;
    same(&world).await;
    settled(&world).await;
    same(&world).await;
    let occasion = Occasion { now: world.hub.now(), day: FakeStore::day() };
    for by in ["li", "wang"] {
        let give_up = move |tx: &mut Tx<'_>| risk::write_off(tx, &person(by), account(3), "moved away", occasion);
        world.hub.store.write(give_up).await.unwrap();
    }
    same(&world).await;
    let first = [(1, 100, 0), (3, 40, 0)];
    assert_eq!(seen, [&first[..], &[(1, 30, 0), (3, 40, 0)], &[(1, 0, 70), (3, 40, 0)], &[(3, 40, 0)], &[]]);
    let verified = async || {
        let found = world.read(huitong_hub::verify::run).await;
        found.checks.iter().flat_map(|check| &check.findings).filter(|found| found.table == "debt").count()
    };
    assert_eq!(verified().await, 0);
    world.hub.store.write(|tx| tx.execute("INSERT INTO debt VALUES (1, 'CNY', 5, 0)", &[])).await.unwrap();
    assert_eq!(verified().await, 1);
}

#[tokio::test]
async fn what_a_journal_says_beyond_the_reports_is_not_collected() {
    let (world, mut one, mut two) = town(100).await;
    one.fills().await;
    world.load(account(1), 500).await;
    one.lends(1, 30);
    one.tells().await;
    // Its counters know of 30; its journal makes debts of 430.
    one.write(lent(1, 400, 400));
    one.sends_all().await;
    settled(&world).await;
    assert_eq!(collected(&world).await, (0, 430));
    // Another store's true debt is collected meanwhile.
    assert_eq!(two.fills().await, 0);
    budget(&world, 150).await.unwrap();
    assert_eq!(two.fills().await, 50);
    two.lends(1, 50);
    two.tells().await;
    two.sends_all().await;
    settled(&world).await;
    assert_eq!(collected(&world).await, (50, 430));
    // Its next report reaches as far as the journal, and says something else.
    one.tells().await;
    settled(&world).await;
    assert_eq!(collected(&world).await, (50, 430));
    assert!(world.exceptions().await.contains(&"report_differs".to_owned()), "{:?}", world.exceptions().await);
}

#[tokio::test]
async fn debts_that_no_till_can_make_are_quarantined() {
    let (world, mut one, mut two) = town(100).await;
    let elsewhere = EntryId { store: two.id, epoch: two.epoch, seq: two.write(lent(1, 100, 100)) };
    let own = |seq| EntryId { store: "S1".parse().unwrap(), epoch: Epoch(1), seq: Seq(seq) };
    let cash = {
        let Body::Sale(mut sale) = paid(&[100], false) else { panic!("a sale is one") };
        sale.movements.push(of_risk(MovementKind::Overdraft, 1, 100));
        Body::Sale(sale)
    };
    let in_a_sale = {
        let Body::Sale(mut sale) = lent(1, 100, 50) else { panic!("a sale is one") };
        sale.movements.push(Movement {
            of: Some(MovementRef { entry: own(2), index: 0 }),
            ..of_risk(MovementKind::OverdraftBack, 1, 50)
        });
        Body::Sale(sale)
    };
    one.write(lent(1, 100, 100)); // Entry 2 is right.
    one.write(cash);
    one.write(lent(1, 100, 101));
    one.write(in_a_sale);
    one.write(back(elsewhere, elsewhere, 1, 100));
    one.write(back(own(2), own(1), 1, 100));
    one.write(back(own(9), own(9), 1, 100));
    let uploaded = one.upload(one.segment(0, one.journal.len())).await.unwrap();
    let why: Vec<(u64, &str)> = uploaded.quarantined.iter().map(|q| (q.seq.0, q.reason.as_str())).collect();
    let of = "movements[0].of: must name what the receipt overdrew, earlier in this journal";
    assert_eq!(
        why,
        [
            (3, "movements[0].amount_minor: 100 is overdrawn, cards paid 0"),
            (4, "movements[0].amount_minor: 101 is overdrawn, cards paid 100"),
            (5, "movements[1].kind: is overdraft_back, which sale cannot move"),
            (6, of),
            (7, of),
            (8, of),
        ]
    );
    assert_eq!(collected(&world).await, (0, 100));
}

#[tokio::test]
async fn a_report_makes_no_budget() {
    let (world, mut one, _) = town(100).await;
    one.fills().await;
    let honest = one.counters;
    for counters in [
        StoreCounters { loaded_minor: 1_000_000, released_minor: 1_000_000, ..honest },
        StoreCounters { spent_minor: 50, loaded_minor: 50, ..honest },
    ] {
        one.counters = counters;
        let answer = one.send_report(one.report(AccountId::RISK)).await.unwrap();
        assert!(answer.refused[0].reason.contains("only that loads it"), "{:?}", answer.refused);
    }
    assert_eq!(world.exceptions().await, ["report_refused"]);
    let sheet = sheet(&world).await;
    assert_eq!((sheet.free_minor, sheet.drawable_minor, sheet.budget_minor), (0, 100, 100));
}

#[tokio::test]
async fn the_budget_is_set_to_what_is_said_also_after_a_repayment() {
    let (world, mut one, mut two) = town(1_000).await;
    assert_eq!(one.fills().await, 1_000);
    one.step(StoreEvent::Release { amount_minor: 500 });
    one.tells().await;
    let (id, now) = (one.id, world.hub.now());
    world.hub.store.write(move |tx| fence::fence(tx, &person("li"), id, "burnt", now)).await.unwrap();
    for by in ["li", "wang"] {
        let (store, occasion) = (world.hub.store.clone(), Occasion { now, day: FakeStore::day() });
        let whose = (id, Epoch(1), None);
        let repaid = move || suspense::repay(&store, &person(by), whose, "the machine burnt", occasion).map(drop);
        tokio::task::spawn_blocking(repaid).await.unwrap().unwrap();
    }
    let before = sheet(&world).await;
    assert_eq!((before.budget_minor, before.free_minor), (1_500, 1_000));
    // What the machine that burnt may have lent before is nobody's to know: it counts until its journal comes.
    assert_eq!((before.drawable_minor, before.exposure_minor, before.lines[0].waiting_minor), (500, 500, 0));
    let lowered = budget(&world, 1_200).await.unwrap();
    assert_eq!((lowered.budget_minor, lowered.free_minor), (1_200, 700), "lower than it was, as two people said");
    let least = budget(&world, 499).await.unwrap_err().to_string();
    assert!(least.contains("500 of the budget of 1200"), "{least}");
    assert_eq!(budget(&world, 500).await.unwrap().free_minor, 0, "more is taken back than was given: 500 were repaid");
    assert_eq!(two.fills().await, 0);
    assert_eq!(budget(&world, 1_500).await.unwrap().free_minor, 1_000);
    assert_eq!(two.fills().await, 1_000);
    assert_eq!(sheet(&world).await.exposure_minor, 1_500);
}

#[tokio::test]
async fn a_restored_hub_shows_what_it_may_have_forgotten_and_decides_nothing() {
    let (world, mut one, mut two) = town(100).await;
    one.fills().await;
    one.lends(1, 60);
    one.tells().await;
    one.sends_all().await;
    settled(&world).await;
    budget(&world, 150).await.unwrap();
    let (image, known) = (backup(&world).await, world.read(hub_recovery::mark).await);
    assert_eq!(two.fills().await, 50, "of this the backup knows nothing");
    let hub = restored(&world, &image, &known, false).await.unwrap();
    let world = world.on(hub, image);
    let found = sheet(&world).await;
    let waits: Vec<String> = found.waited_for.iter().map(|at| format!("{}-{}", at.store, at.epoch)).collect();
    assert_eq!((found.recovers, waits), (true, vec!["S1-1".to_owned(), "S2-1".to_owned()]));
    assert_eq!((found.drawable_minor, found.exposure_minor), (90, 150), "40 at S1, and 50 that may be anywhere");
    let occasion = Occasion { now: world.hub.now(), day: FakeStore::day() };
    let give_up = move |tx: &mut Tx<'_>| risk::write_off(tx, &person("li"), account(1), "moved away", occasion);
    let refused = world.hub.store.write(give_up).await.unwrap_err().to_string();
    assert!(refused.contains("has not heard every store yet"), "{refused}");
    assert!(budget(&world, 200).await.is_err());
    for store in [&mut one, &mut two] {
        turn_to(store, &world.hub);
        store.hello().await.unwrap();
        store.tells().await;
    }
    let heard = sheet(&world).await;
    assert_eq!((heard.recovers, heard.drawable_minor, heard.exposure_minor), (false, 90, 150));
}

#[tokio::test]
async fn a_restored_hub_gives_nothing_back_before_it_has_read_again_what_else_is_owed() {
    let (world, mut one, mut two) = town(100).await;
    one.fills().await;
    let sold = one.lends(1, 100);
    one.tells().await;
    one.sends_all().await;
    world.load(account(1), 100).await;
    settled(&world).await;
    assert_eq!(collected(&world).await, (100, 0));
    let (image, known) = (backup(&world).await, world.read(hub_recovery::mark).await);
    assert_eq!(two.fills().await, 100);
    two.lends(1, 100);
    one.takes_back(sold, 1, 100);
    for store in [&two, &one] {
        store.tells().await;
        store.sends_all().await;
    }
    settled(&world).await;
    assert_eq!(collected(&world).await, (100, 0), "what was paid for the first goods pays for the second");

    let hub = restored(&world, &image, &known, false).await.unwrap();
    let world = world.on(hub, image);
    for store in [&mut one, &mut two] {
        turn_to(store, &world.hub);
        store.hello().await.unwrap();
        store.tells().await;
    }
    one.sends_all().await;
    let found = sheet(&world).await;
    assert_eq!((found.recovers, found.excess_minor, found.free_minor), (false, 100, 100));
    let theirs = Purse { account: account(1), unit: CNY };
    let has = async || world.read(move |tx| allotment::pool(tx, theirs)).await.0.free_minor();
    settled(&world).await;
    assert_eq!(has().await, 0, "the journal that says what it paid for is not here again");
    two.sends_all().await;
    settled(&world).await;
    let found = sheet(&world).await;
    assert_eq!((has().await, found.owed_minor, found.excess_minor, found.recovered_minor), (0, 0, 0, 100));
}

async fn cleared(store: &FakeStore, after_version: u64) -> (Vec<i64>, u64) {
    let request = DatasetRequest { dataset: DatasetKind::Overdrafts, after_version, limit: 10 };
    let page: Answer<DatasetPage> = store.call(path::DATASET, None, request).await.unwrap();
    let minor = |row: DatasetRow| match row {
        DatasetRow::Cleared(cleared) => cleared.cleared_minor,
        other => panic!("{other:?} clears nothing"),
    };
    (page.body.rows.into_iter().map(minor).collect(), page.body.through_version)
}

#[tokio::test]
async fn a_restored_hub_takes_back_what_it_has_forgotten_to_have_cleared() {
    let (world, mut one, _) = town(100).await;
    one.fills().await;
    one.lends(1, 60);
    one.tells().await;
    one.sends_all().await;
    settled(&world).await;
    let (image, known) = (backup(&world).await, world.read(hub_recovery::mark).await);
    world.load(account(1), 60).await;
    settled(&world).await;
    let (told, version) = cleared(&one, 0).await;
    assert_eq!(told, [60]);
    let hub = restored(&world, &image, &known, false).await.unwrap();
    let world = world.on(hub, image);
    turn_to(&mut one, &world.hub);
    one.hello().await.unwrap();
    assert_eq!(cleared(&one, version).await.0, [0], "it is owed again, and counts for what may be drawn there");
}

#[tokio::test]
async fn a_card_that_owes_goes_to_no_other_customer() {
    let (world, one, mut two) = town(100).await;
    two.fills().await;
    let unsell = async || {
        let need = Need { card: card(1), unit: CNY, missing_minor: 1, purpose: Purpose::Unsell };
        let request = GrantRequest { needs: vec![need], totals: false };
        let answer: Answer<GrantAnswer> = one.call(path::GRANT, None, request).await.unwrap();
        answer.body.elsewhere.iter().map(|place| place.store.to_string()).collect::<Vec<_>>()
    };
    let now = world.hub.now().0;
    let status = async || world.read(|tx| Ok::<_, StoreError>(cards::find(tx, card(1))?.unwrap().status)).await;
    assert_eq!(unsell().await, Vec::<String>::new());
    // S2 has lent on the card, and nobody knows.
    two.lends(1, 60);
    assert_eq!(say(&world, &one, CardStatus::Withdrawn, now + 1).await, CardStatus::Withdrawn);
    settled(&world).await;
    assert_eq!(status().await, CardStatus::Withdrawn, "S2 may lend until it knows of it");
    learns(&world, &two, None).await;
    two.tells().await;
    settled(&world).await;
    assert_eq!(status().await, CardStatus::Withdrawn, "its report says that it lent something, no journal to whom");
    two.sends_all().await;
    settled(&world).await;
    assert_eq!((status().await, unsell().await), (CardStatus::Withdrawn, vec!["S2".to_owned()]), "60 are owed");
    world.load(account(1), 60).await;
    settled(&world).await;
    settled(&world).await;
    assert_eq!((collected(&world).await, status().await), ((60, 0), CardStatus::Blank));
    assert_eq!(unsell().await, ["S2"], "the goods may come back there still");
}

/// A store says that it has all cards, perhaps with a report.
async fn learns(world: &World, store: &FakeStore, report: Option<Report>) {
    let versions = world.read(dataset::versions).await;
    let version = versions.iter().find(|known| known.dataset == DatasetKind::Cards).unwrap().version;
    let request = DatasetRequest { dataset: DatasetKind::Cards, after_version: version, limit: 10 };
    let _: Answer<DatasetPage> = store.call(path::DATASET, report, request).await.unwrap();
    world.hub.note_knowledge().await.unwrap();
}

/// The first part of a report, in which the risk account does not stand yet.
fn first_part(store: &FakeStore) -> Report {
    Report { head: Head::START, through_no: 0, counters: Vec::new(), ..store.report(AccountId::RISK) }
}

async fn first_card(world: &World) -> CardStatus {
    world.read(|tx| Ok::<_, StoreError>(cards::find(tx, card(1))?.unwrap().status)).await
}

#[tokio::test]
async fn what_a_store_lent_before_it_knew_counts_although_its_report_comes_in_parts() {
    let (world, one, mut two) = town(100).await;
    two.fills().await;
    two.sends_all().await;
    // Cut off, it lends among many other things.
    two.lends(1, 60);
    assert_eq!(say(&world, &one, CardStatus::Withdrawn, world.hub.now().0 + 1).await, CardStatus::Withdrawn);
    learns(&world, &two, Some(first_part(&two))).await;
    settled(&world).await;
    assert_eq!(first_card(&world).await, CardStatus::Withdrawn, "what is still to be told may be about it");
    two.tells().await;
    settled(&world).await;
    assert_eq!(first_card(&world).await, CardStatus::Withdrawn, "no journal says whose debt it is");
    two.sends_all().await;
    settled(&world).await;
    assert_eq!((first_card(&world).await, collected(&world).await), (CardStatus::Withdrawn, (0, 60)));
}

#[tokio::test]
async fn a_store_that_says_that_it_knows_before_it_proves_itself_is_taken_at_its_hello() {
    let (world, one, mut two) = town(100).await;
    two.fills().await;
    two.sends_all().await;
    two.lends(1, 60);
    // Started anew it is not proved yet, and reports nothing.
    two.hello().await.unwrap();
    say(&world, &one, CardStatus::Withdrawn, world.hub.now().0 + 1).await;
    learns(&world, &two, None).await;
    settled(&world).await;
    assert_eq!(first_card(&world).await, CardStatus::Withdrawn);
    // Others are lent to while the journal is on its way, and it is never all there.
    two.sends_all().await;
    world.load(account(1), 60).await;
    two.lends(3, 40);
    two.tells().await;
    settled(&world).await;
    settled(&world).await;
    assert_eq!((first_card(&world).await, collected(&world).await), (CardStatus::Blank, (60, 0)));
}

/// Whom the first card waits for, and why.
async fn waits(world: &World) -> Vec<(String, Why, Option<u64>)> {
    let found = world
        .read(|tx| {
            let card = cards::find(tx, card(1))?.unwrap();
            unsold::look(tx, &card)
        })
        .await;
    let waits = found.map(|unsold| unsold.waits_for).unwrap_or_default();
    waits.into_iter().map(|at| (at.store.to_string(), at.why, at.entry.map(|entry| entry.seq.0))).collect()
}

/// A person has looked at everything that is open.
async fn resolved(world: &World) {
    let now = world.hub.now();
    for open in world.open_exceptions().await {
        let resolve = move |tx: &mut Tx<'_>| {
            let note = "nobody lent anything by it";
            exception::resolve(tx, &person("li"), open.number, Resolution::Accepted, note, now).map(drop)
        };
        world.hub.store.write(resolve).await.unwrap();
    }
}

#[tokio::test]
async fn who_keeps_an_undone_card_out_of_sale_is_named_and_ends_with_its_epoch() {
    let (world, one, mut two) = town(100).await;
    two.fills().await;
    say(&world, &one, CardStatus::Withdrawn, world.hub.now().0 + 1).await;
    assert_eq!(waits(&world).await, [("S2".to_owned(), Why::CardsUnknown, None)]);
    learns(&world, &two, Some(two.report(AccountId::RISK))).await;
    assert_eq!(waits(&world).await, [("S2".to_owned(), Why::JournalBehind, None)]);
    settled(&world).await;
    assert_eq!(world.exceptions().await, Vec::<String>::new());
    // It is shut for the season.
    world.clock.0.fetch_add(4 * 86_400_000, Ordering::SeqCst);
    settled(&world).await;
    settled(&world).await;
    let open = world.open_exceptions().await;
    assert_eq!(
        open.iter().map(|open| (open.class, open.subject.as_str())).collect::<Vec<_>>(),
        [(Class::UnsoldWaits, "S2-1")]
    );
    let (id, now) = (two.id, world.hub.now());
    world.hub.store.write(move |tx| fence::fence(tx, &person("li"), id, "shut", now)).await.unwrap();
    settled(&world).await;
    assert_eq!((first_card(&world).await, world.exceptions().await), (CardStatus::Blank, vec![]));
}

#[tokio::test]
async fn an_entry_that_cannot_be_used_keeps_a_card_out_of_sale_until_a_person_decides() {
    for (entry, is_about_it) in [(Some(1), true), (Some(3), false), (None, true)] {
        let (world, one, mut two) = town(100).await;
        two.fills().await;
        match entry {
            // More is overdrawn than cards paid.
            Some(of) => drop(two.write(lent(of, 10, 50))),
            None => two.journal.push(vec![0xc1]),
        }
        two.sends_all().await;
        two.step(StoreEvent::Spend { amount_minor: 50 });
        two.tells().await;
        say(&world, &one, CardStatus::Withdrawn, world.hub.now().0 + 1).await;
        learns(&world, &two, None).await;
        settled(&world).await;
        if is_about_it {
            assert_eq!(waits(&world).await, [("S2".to_owned(), Why::EntryQuarantined, Some(2))]);
            assert_eq!(first_card(&world).await, CardStatus::Withdrawn);
            resolved(&world).await;
            settled(&world).await;
        }
        assert_eq!(first_card(&world).await, CardStatus::Blank, "{entry:?}");
    }
}

#[tokio::test]
async fn what_came_back_by_an_entry_that_cannot_be_used_is_lent_again_once_a_person_decides() {
    let (world, mut one, mut two) = town(100).await;
    one.fills().await;
    one.lends(1, 100);
    one.tells().await;
    one.sends_all().await;
    one.step(StoreEvent::Load { amount_minor: 100 });
    one.step(StoreEvent::Release { amount_minor: 100 });
    let elsewhere = EntryId { store: two.id, epoch: two.epoch, seq: Seq(9) };
    one.write(back(elsewhere, elsewhere, 1, 100));
    one.tells().await;
    assert_eq!(two.fills().await, 0, "nobody knows whose it is");
    resolved(&world).await;
    one.sends_all().await;
    assert_eq!(two.fills().await, 0);
    resolved(&world).await;
    assert_eq!(two.fills().await, 100);
}

#[tokio::test]
async fn a_debtors_value_is_parked_nowhere_before_the_debt_is_collected() {
    let (world, mut one, _) = town(100).await;
    one.fills().await;
    one.lends(1, 60);
    one.tells().await;
    // A visit that the plan goes by: the card is loaded where it was sold.
    one.write(reload(100));
    one.sends_all().await;
    world.load(account(1), 100).await;
    let rules = ParkingRules { allocator: Allocator::LastStore, ..ParkingRules::default() };
    let ask = Ask { rules, ..Ask::default() };
    let planned = async || {
        let ask = ask.clone();
        let sheet = world.read(move |tx| allot::explain(tx, &ask, account(1))).await;
        (sheet.balance_minor, sheet.parked_minor)
    };
    assert_eq!(planned().await, (100, 40), "60 of it are owed");
    settled(&world).await;
    assert_eq!(planned().await, (40, 40));
}

#[tokio::test]
async fn lines_are_told_at_once_and_wait_for_no_plan() {
    let world = World::new().await;
    let _one = world.store("S1").await;
    let announced = async || {
        let versions = world.read(dataset::versions).await;
        versions.iter().find(|known| known.dataset == DatasetKind::Parking).unwrap().version
    };
    assert_eq!(announced().await, 0);
    lines(&world, 700).await;
    settled(&world).await;
    assert_eq!(announced().await, 1);
    let target = world.read(|tx| parking::target(tx, RISK, "S1".parse().unwrap())).await;
    assert_eq!(target, Some(700));
    settled(&world).await;
    assert_eq!(announced().await, 1, "and nobody is sent off twice");
}
