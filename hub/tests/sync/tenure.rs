//! Copies, fences and what they held: an epoch is lived once, and value neither comes back by itself nor is lost.

use huitong_hub::actor::{Actor, Via};
use huitong_hub::store::{adoption, allotment, tenure};
use huitong_hub::suspense::{self, Occasion, SuspenseError};
use huitong_hub::{account as accounts, fence, recovery, verify};
use huitong_protocol::allotment::{HubEvent, HubSide, Purse, StoreEvent, step};
use huitong_protocol::bundle::PolicyState;
use huitong_protocol::decline::PlaceState;
use huitong_protocol::entry::{Allotment, AllotmentChange, Body};
use huitong_protocol::id::{Epoch, StoreId};
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::tenure::HeardEntry;
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::{
    Answer, GrantRequest, Need, Nothing, Purpose, ReportOnly, Request, Segment, SyncFault, Welcome, path, to_msgpack,
};

use crate::fake::{CNY, FakeStore, World, account, card, fault, unpack};
use crate::journal::{open, reload};
use crate::recovery::{backup, restored};

fn person(name: &str) -> Actor {
    Actor::new(name, Via::Cli).unwrap()
}

fn occasion(world: &World) -> Occasion {
    Occasion { now: world.hub.now(), day: FakeStore::day() }
}

/// Nothing is in two places and nothing is in none.
pub(crate) async fn proved(world: &World) {
    let report = world.read(verify::run).await;
    let found: Vec<_> = report.checks.iter().flat_map(|check| &check.findings).collect();
    assert!(report.ok, "{found:?}");
}

async fn free(world: &World) -> i64 {
    let purse = Purse { account: account(1), unit: CNY };
    world.read(move |tx| allotment::pool(tx, purse)).await.0.free_minor()
}

pub(crate) async fn balance(world: &World) -> i64 {
    world
        .read(|tx| accounts::purses(tx, account(1)))
        .await
        .iter()
        .find(|purse| purse.unit == CNY)
        .unwrap()
        .balance_minor
}

pub(crate) async fn fenced(world: &World, store: StoreId) -> fence::Ended {
    let now = world.hub.now();
    let fence = move |tx: &mut huitong_hub::store::Tx<'_>| fence::fence(tx, &person("li"), store, "stolen", now);
    world.hub.store.write(fence).await.unwrap()
}

async fn repay(world: &World, by: &str, epoch: Epoch) -> Result<suspense::SuspendedSheet, SuspenseError> {
    let (by, occasion) = (person(by), occasion(world));
    let of = ("S1".parse().unwrap(), epoch, None);
    let store = world.hub.store.clone();
    tokio::task::spawn_blocking(move || suspense::repay(&store, &by, of, "the machine burnt", occasion)).await.unwrap()
}

impl FakeStore {
    /// Loads card 1, in counters and journal.
    pub(crate) fn loads(&mut self, amount_minor: i64) {
        self.write(reload(amount_minor));
        self.step(StoreEvent::Load { amount_minor });
    }

    /// Spends of card 1.
    pub(crate) fn spends(&mut self, amount_minor: i64) {
        let Body::CardReload(mut body) = reload(amount_minor) else { panic!("a reload is one") };
        body.movements = vec![Movement { kind: MovementKind::Spend, ..body.movements[0] }];
        self.write(Body::CardReload(body));
        self.step(StoreEvent::Spend { amount_minor });
    }

    /// Gives value of card 1 back.
    fn releases(&mut self, amount_minor: i64) {
        self.step(StoreEvent::Release { amount_minor });
        self.notes();
    }

    /// Writes what it adopted and gave back into its journal.
    pub(crate) fn notes(&mut self) {
        let change = AllotmentChange {
            account: account(1),
            unit: CNY,
            adopted_minor: Some(self.counters.adopted_minor),
            released_minor: Some(self.counters.released_minor),
        };
        self.write(Body::Allotment(Allotment { changes: vec![change] }));
    }

    pub(crate) async fn reports(
        &self,
    ) -> Result<huitong_protocol::wire::Answer<Nothing>, huitong_protocol::wire::Refused> {
        self.send_report(self.report(account(1))).await
    }

    pub(crate) async fn uploads(&self, from: usize) {
        self.upload(self.segment(from, self.journal.len())).await.unwrap();
    }
}

/// Another machine takes the place of a store's.
pub(crate) async fn replaced(world: &World, id: &str, token: &str) -> FakeStore {
    world.token(id, token).await;
    let mut new = FakeStore::new(world.router.clone(), id, 9);
    new.epoch = new.enrol(token).await.unwrap().epoch;
    new.hello().await.unwrap();
    new
}

impl World {
    async fn read_show(&self, epoch: Epoch) -> suspense::SuspendedSheet {
        self.hub.store.read(move |tx| suspense::show(tx, "S1".parse().unwrap(), epoch)).await.unwrap()
    }
}

/// A store with 500 loaded and 130 spent, reported and uploaded.
pub(crate) async fn traded() -> (World, FakeStore) {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    store.write(open());
    store.loads(500);
    store.spends(130);
    store.reports().await.unwrap();
    store.uploads(0).await;
    (world, store)
}

#[tokio::test]
async fn a_copy_of_a_store_ends_the_epoch_of_both() {
    let (world, mut store) = traded().await;
    let mut copy = store.hello_body();
    store.hello().await.unwrap();
    copy.turn_nonce += 100;
    assert_eq!(fault(store.say_hello(&copy).await), SyncFault::Copied);
    assert_eq!(world.exceptions().await, ["copied"]);
    // Of two copies neither is believed, also not the one that came first.
    assert_eq!(fault(store.reports().await), SyncFault::Fenced);
    assert_eq!(fault(store.hello().await), SyncFault::Fenced);
    assert_eq!(free(&world).await, 0, "nothing came back to the pool");
    let sheet = world.hub.store.read(|tx| suspense::show(tx, "S1".parse().unwrap(), Epoch(1))).await.unwrap();
    assert_eq!((sheet.lines[0].sum.waiting_minor, sheet.suspended.fenced.fenced_by.as_str()), (370, "hub"));
    proved(&world).await;
}

#[tokio::test]
async fn a_lost_welcome_is_given_again_and_a_late_hello_gives_nothing() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    let first = store.hello_body();
    let lost: Welcome = store.say_hello(&first).await.unwrap();
    // It reports meanwhile, and asks again with the nonce that it wrote down.
    let again = store.hello().await.unwrap();
    assert_eq!((lost.turn, again.turn), (2, 2));
    store.reports().await.unwrap();
    store.hello().await.unwrap();
    let late = store.send(path::HELLO, "", 1, to_msgpack(&first)).await;
    assert_eq!(fault(unpack::<Welcome>(late)), SyncFault::Replayed, "it went on from there");
    store.reports().await.unwrap();
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_hello_that_the_network_brings_again_ends_no_session() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    // Somebody records the line of a store whose answer is lost; it asks again.
    let (body, nonce) = (to_msgpack(&store.hello_body()), store.next_nonce());
    let say = async |store: &FakeStore| unpack::<Welcome>(store.send(path::HELLO, "", nonce, body.clone()).await);
    say(&store).await.unwrap();
    store.hello().await.unwrap();
    assert_eq!(fault(say(&store).await), SyncFault::Replayed);
    store.reports().await.unwrap();
    // The one that is heard is answered however often it comes.
    let (body, nonce) = (to_msgpack(&store.hello_body()), store.next_nonce());
    let say = async |store: &FakeStore| unpack::<Welcome>(store.send(path::HELLO, "", nonce, body.clone()).await);
    let sessions = [say(&store).await.unwrap().session, say(&store).await.unwrap().session];
    assert_eq!(sessions[0], sessions[1]);
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_copy_of_long_ago_is_stopped_and_the_store_goes_on() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    // Copied while its hello was open: both show the same turn with the same nonce.
    let open = store.hello_body();
    store.hello().await.unwrap();
    store.hello().await.unwrap();
    assert_eq!(fault(store.say_hello(&open).await), SyncFault::Copied);
    assert_eq!(world.exceptions().await, ["copied"]);
    store.reports().await.unwrap();
    store.hello().await.unwrap();
    proved(&world).await;
}

#[tokio::test]
async fn an_epoch_that_the_hub_ended_itself_is_remembered_before_anybody_is_told() {
    let (world, mut store) = traded().await;
    let mut copy = store.hello_body();
    store.hello().await.unwrap();
    copy.turn_nonce += 100;
    let image = backup(&world).await;
    assert_eq!(fault(store.say_hello(&copy).await), SyncFault::Copied);
    let log = recovery::remembered(&world.database().with_file_name("recovery.log")).unwrap().unwrap();
    assert_eq!(log, world.read(recovery::mark).await);
    let refused = restored(&world, &image, &log, false).await.err().unwrap().to_string();
    assert!(refused.contains("S1-1") && refused.contains("--accept-unknown"), "{refused}");
}

#[tokio::test]
async fn who_is_not_heard_says_nothing_of_policies_either() {
    let (world, store) = traded().await;
    let id = store.id;
    fenced(&world, id).await;
    let policy = Some(PolicyState { held: 7, in_force: 7, refused: Vec::new() });
    let request = Request { report: Some(store.report(account(1))), policy, body: ReportOnly {} };
    let sent = store.send(path::REPORT, &store.session, store.next_nonce(), to_msgpack(&request)).await;
    assert_eq!(fault(unpack::<Answer<Nothing>>(sent)), SyncFault::Fenced);
    assert!(world.read(move |tx| adoption::stated(tx, id)).await.is_none());
}

#[tokio::test]
async fn the_late_journal_of_an_epoch_whose_grants_were_forgotten_says_what_waits() {
    let world = World::new().await;
    let mut store = world.store("S1").await;
    world.load(account(1), 100).await;
    let image = backup(&world).await;
    // After the backup: 100 were granted, a member loads 500.
    store.ask(60).await;
    store.write(open());
    store.notes();
    store.loads(500);
    let known = world.read(recovery::mark).await;
    let hub = restored(&world, &image, &known, false).await.unwrap();
    let world = world.on(hub, image);
    assert!(fenced(&world, store.id).await.unknown.is_some());
    assert_eq!(free(&world).await, 100, "what was granted is not known");
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(0, store.journal.len())).await.unwrap();
    assert_eq!(world.exceptions().await, ["grant_believed"]);
    let sheet = world.read_show(Epoch(1)).await;
    assert_eq!((sheet.lines[0].sum.waiting_minor, free(&world).await), (600, 0));
    repay(&world, "li", Epoch(1)).await.unwrap();
    repay(&world, "wang", Epoch(1)).await.unwrap();
    assert_eq!((free(&world).await, balance(&world).await), (600, 600));
}

#[tokio::test]
async fn what_a_late_journal_proves_to_be_given_twice_is_named() {
    let world = World::new().await;
    let (mut store, mut two) = (world.store("S1").await, world.store("S2").await);
    world.load(account(1), 100).await;
    let image = backup(&world).await;
    store.ask(60).await;
    store.write(open());
    store.notes();
    store.spends(100);
    let known = world.read(recovery::mark).await;
    let hub = restored(&world, &image, &known, false).await.unwrap();
    crate::recovery::turn_to(&mut two, &hub);
    let world = world.on(hub, image);
    fenced(&world, store.id).await;
    two.hello().await.unwrap();
    assert_eq!(two.ask(60).await.grants[0].granted_minor, 100, "a person answers for it");
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(0, store.journal.len())).await.unwrap();
    let open = world.open_exceptions().await;
    let [found] = &open[..] else { panic!("{open:?}") };
    assert_eq!(found.subject, "S1-1 by its journal");
    assert!(found.evidence.to_string().contains("account 1 is at -100 CNY"), "{}", found.evidence);
}

#[tokio::test]
async fn the_journal_of_an_epoch_that_the_hub_had_heard_makes_no_grants() {
    let (world, mut store) = traded().await;
    fenced(&world, store.id).await;
    // A copy, or a disk that was doctored.
    store.step(StoreEvent::Adopt { granted_minor: 1_000_000 });
    store.notes();
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 4)).await.unwrap();
    assert_eq!(world.exceptions().await, ["report_refused"]);
    assert_eq!((free(&world).await, balance(&world).await), (0, 370));
    // The journal stands there with what it says, and is not believed.
    let found: Vec<_> = world.read(verify::run).await.checks.into_iter().flat_map(|check| check.findings).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].fault.contains("expected 1000000 by the journal, found 0"), "{found:?}");
}

#[tokio::test]
async fn a_false_journal_of_an_ended_epoch_does_not_keep_the_true_one_out() {
    let (world, mut store) = traded().await;
    let mut copy = FakeStore::new(world.router.clone(), "S1", 1);
    copy.write(open());
    copy.loads(500);
    copy.spends(7);
    copy.spends(8);
    store.spends(70);
    fenced(&world, store.id).await;
    let new = replaced(&world, "S1", "again").await;
    assert_eq!(fault(new.upload(copy.segment(2, 4)).await), SyncFault::Fork);
    assert_eq!(world.exceptions().await, ["fork"]);
    new.upload(store.segment(3, 4)).await.unwrap();
    assert_eq!(balance(&world).await, 300, "what was spent there after all");
    assert_eq!(fault(new.upload(copy.segment(2, 4)).await), SyncFault::Fork);
    proved(&world).await;
}

#[tokio::test]
async fn who_was_ended_hears_of_it_only_when_a_restored_backup_would_know() {
    let (world, mut store) = traded().await;
    let file = world.database().with_file_name("recovery.log");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    fenced(&world, store.id).await;
    assert_eq!(fault(store.hello().await), SyncFault::Internal, "the log cannot be written");
    std::fs::remove_dir(&file).unwrap();
    assert_eq!(fault(store.hello().await), SyncFault::Fenced);
    let known = recovery::remembered(&file).unwrap().unwrap();
    assert_eq!(known, world.read(recovery::mark).await);
}

#[tokio::test]
async fn a_line_that_cannot_be_paid_holds_up_no_other() {
    let (world, number) = many(3).await;
    // Its counter cannot rise any more.
    let sql =
        "UPDATE pool SET loaded_minor = 9223372036854775807, spent_minor = 9223372036854775806 WHERE account_id = 1001";
    world.hub.store.write(move |tx| tx.execute(sql, &[])).await.unwrap();
    assert!(pays(&world, number).await);
    assert!(!pays(&world, number).await, "and it is done");
    assert_eq!(repaid(&world).await, (1, 372));
    let open = world.open_exceptions().await;
    let [found] = &open[..] else { panic!("{open:?}") };
    assert_eq!((found.class.as_str(), found.subject.as_str()), ("left_undone", "suspense S1-1 account 1001 CNY"));
    // Another repayment of the epoch can be asked for.
    repay(&world, "li", Epoch(1)).await.unwrap();
}

#[tokio::test]
async fn only_the_session_of_the_last_turn_is_heard() {
    let (world, mut store) = traded().await;
    world.load(account(1), 100).await;
    let earlier = store.session.clone();
    let welcome = store.hello().await.unwrap();
    assert_eq!(welcome.heard, store.head(), "a welcome says how far reports told");
    let later = std::mem::replace(&mut store.session, earlier);
    store.step(StoreEvent::Load { amount_minor: 5 });
    assert_eq!(fault(store.reports().await), SyncFault::SessionUnknown);
    let need = Need { card: card(1), unit: CNY, missing_minor: 9, purpose: Purpose::Spend };
    let request = GrantRequest { needs: vec![need], totals: false };
    let asked = store.call::<_, huitong_protocol::wire::GrantAnswer>(path::GRANT, None, request).await;
    assert_eq!(fault(asked), SyncFault::SessionUnknown);
    store.session = later;
    store.reports().await.unwrap();
    assert_eq!((free(&world).await, balance(&world).await), (100, 475));
}

#[tokio::test]
async fn reports_that_overtake_a_hello_are_no_fault() {
    let (world, mut store) = traded().await;
    let hello = store.hello_body();
    store.loads(7);
    store.reports().await.unwrap();
    let welcome = store.say_hello(&hello).await.unwrap();
    assert_eq!(welcome.heard, store.head(), "whether its journal contains this the store says");
    assert_eq!(world.exceptions().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_fenced_store_is_not_heard_and_its_successor_is() {
    let (world, mut store) = traded().await;
    let ended = fenced(&world, store.id).await;
    assert_eq!((ended.epoch, ended.is_new, ended.sums[0].waiting_minor, ended.unknown), (Epoch(1), true, 370, None));
    assert!(!fenced(&world, store.id).await.is_new, "said again");
    store.releases(70);
    assert_eq!(fault(store.reports().await), SyncFault::Fenced);
    let polled = store.call::<_, Nothing>(path::PARAMETERS, None, ReportOnly {}).await;
    assert_eq!(fault(polled), SyncFault::Fenced);
    assert_eq!(fault(store.upload(store.segment(3, 4)).await), SyncFault::Fenced);
    assert_eq!((free(&world).await, balance(&world).await), (0, 370));
    // The new epoch brings the old journal: what it had given back is in the pool.
    let mut new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 4)).await.unwrap();
    assert_eq!((new.epoch, free(&world).await, balance(&world).await), (Epoch(2), 70, 370));
    // What waits is not what the store holds that is there again.
    new.ask(30).await;
    let mut asker = world.store("S2").await;
    let asked = asker.ask(100).await;
    let places: Vec<_> = asked.body.elsewhere.iter().map(|at| (at.store, at.held_minor, at.state)).collect();
    assert_eq!(places, [(new.id, 70, PlaceState::Silent), (new.id, 300, PlaceState::Suspense)]);
    proved(&world).await;
    let actions: Vec<String> =
        world.read(|tx| huitong_hub::store::audit::page(tx, 0, 10)).await.into_iter().map(|deed| deed.action).collect();
    assert_eq!(actions, ["store.fence"]);
}

#[tokio::test]
async fn a_token_is_good_for_the_next_epoch_only() {
    let world = World::new().await;
    world.token("S1", "first").await;
    let mut one = FakeStore::new(world.router.clone(), "S1", 1);
    one.enrol("first").await.unwrap();
    one.hello().await.unwrap();
    // Two machines are to replace it; whoever comes second does not end the first one's epoch.
    let (store, now) = (one.id, world.hub.now());
    world
        .hub
        .store
        .write(move |tx| {
            huitong_hub::store::token::insert(tx, "A", store, now, now.plus_ms(3_600_000))?;
            // As if it had been handed out beside the other.
            tx.execute("UPDATE enrolment_token SET store_id = 'S2' WHERE used_at_ms IS NULL", &[])?;
            huitong_hub::store::token::insert(tx, "B", store, now, now.plus_ms(3_600_000))?;
            tx.execute("UPDATE enrolment_token SET store_id = 'S1'", &[])
        })
        .await
        .unwrap();
    let (two, three) = (FakeStore::new(world.router.clone(), "S1", 2), FakeStore::new(world.router.clone(), "S1", 3));
    assert_eq!(two.enrol("B").await.unwrap().epoch, Epoch(2));
    assert_eq!(fault(three.enrol("A").await), SyncFault::Token);
    assert_eq!(two.enrol("B").await.unwrap().epoch, Epoch(2), "a lost answer is given again");
    assert_eq!(world.read(move |tx| tenure::living(tx, store)).await, Some(Epoch(2)));
    proved(&world).await;
}

#[tokio::test]
async fn what_waits_is_paid_back_once_by_two_people_and_a_late_journal_shows_the_loss() {
    let (world, mut store) = traded().await;
    // Offline since: 100 more are spent, and nobody hears of it.
    store.spends(100);
    fenced(&world, store.id).await;
    assert_eq!((free(&world).await, balance(&world).await), (0, 370));
    repay(&world, "li", Epoch(1)).await.unwrap();
    repay(&world, "li", Epoch(1)).await.unwrap();
    let alone = world.hub.store.write({
        let (by, occasion) = (person("Li"), occasion(&world));
        move |tx| suspense::decide(tx, &by, ("S1".parse().unwrap(), Epoch(1), None), "now", occasion)
    });
    assert!(alone.await.unwrap_err().to_string().contains("a second person"));
    assert_eq!(free(&world).await, 0, "one person pays nothing");
    repay(&world, "wang", Epoch(1)).await.unwrap();
    repay(&world, "wang", Epoch(1)).await.unwrap();
    assert!(matches!(repay(&world, "zhao", Epoch(1)).await, Err(SuspenseError::State { .. })), "nothing waits twice");
    assert_eq!((free(&world).await, balance(&world).await), (370, 370));
    proved(&world).await;

    // The member spends it elsewhere; then the disk turns up.
    let mut two = world.store("S2").await;
    two.ask(370).await;
    two.notes();
    two.spends(370);
    two.reports().await.unwrap();
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 4)).await.unwrap();
    let sheet = world.hub.store.read(|tx| suspense::show(tx, "S1".parse().unwrap(), Epoch(1))).await.unwrap();
    let sum = sheet.lines[0].sum;
    assert_eq!((sum.waiting_minor, sum.repaid_minor, sum.loss_minor), (0, 370, 100), "the group bears what was spent");
    assert_eq!((free(&world).await, balance(&world).await), (0, 0));
    two.uploads(0).await;
    proved(&world).await;
}

#[tokio::test]
async fn who_pays_looks_at_what_waits_now() {
    let (world, mut store) = traded().await;
    store.spends(100);
    fenced(&world, store.id).await;
    repay(&world, "li", Epoch(1)).await.unwrap();
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 4)).await.unwrap();
    // Less waits than the first person saw: the second asks anew.
    repay(&world, "wang", Epoch(1)).await.unwrap();
    assert_eq!(free(&world).await, 0);
    repay(&world, "li", Epoch(1)).await.unwrap();
    assert_eq!((free(&world).await, balance(&world).await), (270, 270));
    proved(&world).await;
}

#[tokio::test]
async fn who_pays_pays_the_same_people() {
    let (world, mut store) = traded().await;
    // Nobody heard of these: a member spent 100, another loaded 100. The sum that waits is the same.
    store.spends(100);
    let Body::CardReload(mut other) = reload(100) else { panic!("a reload is one") };
    other.card = card(3);
    (other.account, other.movements[0].account) = (account(3), account(3));
    store.write(Body::CardReload(other));
    fenced(&world, store.id).await;
    repay(&world, "li", Epoch(1)).await.unwrap();
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 5)).await.unwrap();
    assert_eq!(world.read_show(Epoch(1)).await.suspended.sums[0].waiting_minor, 370);
    repay(&world, "wang", Epoch(1)).await.unwrap();
    assert_eq!(free(&world).await, 0, "the first person saw other lines");
    repay(&world, "li", Epoch(1)).await.unwrap();
    assert_eq!(free(&world).await, 270);
    proved(&world).await;
}

/// An epoch that ended with a cent on each of many accounts, whose repayment two people have decided.
async fn many(accounts: i64) -> (World, i64) {
    let (world, store) = traded().await;
    let id = store.id;
    let hold = move |tx: &mut huitong_hub::store::Tx<'_>| {
        for number in 1_000..1_000 + accounts {
            let purse = Purse { account: account(number), unit: CNY };
            let side = [HubEvent::Load { amount_minor: 1 }, HubEvent::Grant { amount_minor: 1 }]
                .into_iter()
                .fold(HubSide::default(), |side, event| step(&side, event).unwrap());
            allotment::put_pool(tx, purse, &side.pool, Stamp::ZERO)?;
            allotment::put_line(tx, purse, id, Epoch(1), &side.line)?;
        }
        Ok::<_, huitong_hub::store::StoreError>(())
    };
    world.hub.store.write(hold).await.unwrap();
    fenced(&world, id).await;
    repay(&world, "li", Epoch(1)).await.unwrap();
    let (by, occasion) = (person("wang"), occasion(&world));
    let of = (id, Epoch(1), None);
    let decide = move |tx: &mut huitong_hub::store::Tx<'_>| suspense::decide(tx, &by, of, "", occasion);
    let number = world.hub.store.write(decide).await.unwrap().unwrap();
    (world, number)
}

/// Pays one part. Gives whether there may be another.
async fn pays(world: &World, number: i64) -> bool {
    let (of, occasion) = (("S1".parse().unwrap(), Epoch(1), None), occasion(world));
    world.hub.store.write(move |tx| suspense::pay_part(tx, of, number, occasion)).await.unwrap()
}

async fn repaid(world: &World) -> (i64, i64) {
    let sum = world.read_show(Epoch(1)).await.suspended.sums[0];
    (sum.waiting_minor, sum.repaid_minor)
}

#[tokio::test]
async fn a_large_repayment_is_paid_in_parts_and_goes_on_after_a_crash() {
    let (world, number) = many(1_100).await;
    assert!(pays(&world, number).await);
    assert_eq!(repaid(&world).await, (601, 869), "account 1 and 499 others");
    // The process died. Whoever says it again has the rest paid, and nothing twice.
    let other = suspense::decide;
    let (by, occasion) = (person("zhao"), occasion(&world));
    let of = ("S1".parse().unwrap(), Epoch(1), Some(account(1_000)));
    let refused = world.hub.store.write(move |tx| other(tx, &by, of, "mine", occasion)).await.unwrap_err().to_string();
    assert!(refused.contains("is being paid"), "{refused}");
    let sheet = repay(&world, "zhao", Epoch(1)).await.unwrap();
    assert_eq!((repaid(&world).await, sheet.suspended.repayments[0].parts), ((0, 1_470), 3));
    assert!(!pays(&world, number).await);
    assert_eq!(repaid(&world).await, (0, 1_470));
    let posted: Vec<i64> = world
        .read(|tx| {
            tx.query(
                "SELECT COUNT(*) FROM movement WHERE kind = 'suspense_repaid' GROUP BY seq ORDER BY seq",
                &[],
                |row| row.integer(0),
            )
        })
        .await;
    assert_eq!(posted, [500, 500, 101]);
}

#[tokio::test]
async fn what_the_journal_brings_while_it_is_paid_nobody_decided_about() {
    let (world, number) = many(600).await;
    assert!(pays(&world, number).await);
    assert_eq!(repaid(&world).await, (101, 869));
    let new = replaced(&world, "S1", "again").await;
    // Another cent was loaded at the lost store.
    let mut store = FakeStore::new(world.router.clone(), "S1", 1);
    store.write(open());
    store.loads(500);
    store.spends(130);
    store.loads(1);
    new.upload(store.segment(3, 4)).await.unwrap();
    assert!(!pays(&world, number).await);
    assert_eq!(repaid(&world).await, (102, 869), "the rest waits for two people");
    repay(&world, "li", Epoch(1)).await.unwrap();
    repay(&world, "wang", Epoch(1)).await.unwrap();
    assert_eq!(repaid(&world).await, (0, 971));
}

#[tokio::test]
async fn a_journal_that_is_not_the_reported_one_decides_nothing() {
    let (world, mut store) = traded().await;
    store.releases(70);
    store.reports().await.unwrap();
    fenced(&world, store.id).await;
    let new = replaced(&world, "S1", "again").await;
    // Another fourth entry than the one whose end was reported.
    store.journal.pop();
    store.spends(300);
    let segment = Segment { heard: HeardEntry::Lost, ..store.segment(3, 4) };
    new.upload(segment).await.unwrap();
    assert_eq!(world.exceptions().await, ["fork"]);
    assert_eq!((free(&world).await, balance(&world).await), (70, 370));
}

#[tokio::test]
async fn every_planted_change_of_an_epoch_is_found_and_named() {
    let (world, store) = traded().await;
    fenced(&world, store.id).await;
    repay(&world, "li", Epoch(1)).await.unwrap();
    repay(&world, "wang", Epoch(1)).await.unwrap();
    replaced(&world, "S1", "again").await;
    proved(&world).await;
    world.hub.store.close();
    let plants: &[(&str, &str, &str)] = &[
        ("a cent paid back", "UPDATE suspense SET repaid_minor = repaid_minor + 1", "suspense account 1 CNY"),
        ("a repayment taken out", "DELETE FROM suspense", "suspense account 1 CNY"),
        ("a living epoch paid back", "UPDATE suspense SET epoch = 2", "suspense account 1 CNY at S1-2"),
        ("a hash that was heard", "UPDATE tenure SET heard_hash = zeroblob(32) WHERE epoch = 1", "tenure S1-1"),
        ("a turn", "UPDATE tenure SET turn = turn + 1 WHERE epoch = 2", "tenure S1-2"),
        ("a life", "UPDATE tenure SET told_life = 9 WHERE epoch = 2", "tenure S1-2"),
        ("a device of an ended epoch", "UPDATE device SET epoch = 1", "device S1"),
        (
            "an ended epoch that lives again",
            "UPDATE tenure SET standing = 'fenced', fenced_by = 'x', fenced_at_ms = 1 WHERE epoch = 2;
             UPDATE tenure SET standing = 'living', fenced_by = NULL, fenced_at_ms = NULL WHERE epoch = 1",
            "tenure S1-1",
        ),
    ];
    for (what, sql, row) in plants {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("hub.db");
        std::fs::copy(world.database(), &path).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(sql).unwrap();
        drop(connection);
        let store = huitong_hub::store::Store::open(&path, 1).unwrap();
        let report = store.read_blocking(verify::run).unwrap();
        let found: Vec<String> = report
            .checks
            .iter()
            .flat_map(|check| &check.findings)
            .map(|finding| format!("{} {}", finding.table, finding.row))
            .collect();
        assert!(found.iter().any(|found| found.starts_with(row)), "{what}: {row} is not among {found:#?}");
        store.close();
    }
}
