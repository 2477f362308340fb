//! Receipts of an epoch that ended: what they prove waits or waits no more, until the journal says so itself, and never the same cent twice.

use huitong_hub::actor::{Actor, Via};
use huitong_hub::api::router;
use huitong_hub::receipt::{self, ReceiptSheet, Stage, Verdict};
use huitong_hub::store::{Tx, allotment, hq_token};
use huitong_hub::suspense::{self, Occasion, SuspendedSheet, SuspenseError};
use huitong_hub::verify;
use huitong_protocol::allotment::Purse;
use huitong_protocol::entry::{Allotment, AllotmentChange, Body};
use huitong_protocol::id::{Epoch, StoreId};

use crate::fake::{CNY, FakeStore, World, account, card};
use crate::journal::{open, reload};
use crate::tenure::{balance, fenced, proved, replaced, traded};

const HEADER: &str = "entry,card,kind,amount,time\n";
const AT: &str = "2027-01-15T08:00:00Z";

pub(crate) fn person(name: &str) -> Actor {
    Actor::new(name, Via::Cli).unwrap()
}

fn of() -> (StoreId, Epoch) {
    ("S1".parse().unwrap(), Epoch(1))
}

/// A line of a file: the entry's number at S1-1, a card, what and how many minor units.
fn line(seq: u64, number: u32, kind: &str, minor: i64) -> String {
    let card = card(number);
    format!("S1-1-{seq},{},{kind},{}.{:02},{AT}\n", card.reveal(), minor / 100, minor % 100)
}

fn file(lines: &[String]) -> String {
    format!("{HEADER}{}", lines.concat())
}

pub(crate) async fn brings(world: &World, by: &str, csv: &str) -> Result<ReceiptSheet, SuspenseError> {
    let (by, csv, now) = (person(by), csv.to_owned(), world.hub.now());
    world.hub.store.write(move |tx| receipt::bring(tx, &by, of(), (csv.as_bytes(), "from the till"), now)).await
}

async fn counts(world: &World, csv: &str) -> ReceiptSheet {
    assert_eq!(brings(world, "li", csv).await.unwrap().stage, Stage::Asked);
    let sheet = brings(world, "wang", csv).await.unwrap();
    assert_eq!(sheet.stage, Stage::Applied);
    sheet
}

async fn repay(world: &World, by: &str) -> Result<SuspendedSheet, SuspenseError> {
    let (by, now) = (person(by), world.hub.now());
    let occasion = Occasion { now, day: FakeStore::day() };
    let store = world.hub.store.clone();
    let whose = (of().0, of().1, None);
    tokio::task::spawn_blocking(move || suspense::repay(&store, &by, whose, "the machine burnt", occasion))
        .await
        .unwrap()
}

async fn paid(world: &World) {
    repay(world, "li").await.unwrap();
    repay(world, "wang").await.unwrap();
}

async fn show(world: &World) -> SuspendedSheet {
    world.hub.store.read(|tx| suspense::show(tx, of().0, of().1)).await.unwrap()
}

/// What waits, was paid back and was lost of an account.
async fn stands(world: &World, number: i64) -> (i64, i64, i64) {
    let sheet = show(world).await;
    let line = sheet.lines.iter().find(|line| line.account == account(number));
    line.map_or((0, 0, 0), |line| (line.sum.waiting_minor, line.sum.repaid_minor, line.sum.loss_minor))
}

async fn free(world: &World, number: i64) -> i64 {
    let purse = Purse { account: account(number), unit: CNY };
    world.read(move |tx| allotment::pool(tx, purse)).await.0.free_minor()
}

/// A load onto card 3, of which nobody was told.
fn loads_card_3(store: &mut FakeStore, amount_minor: i64) {
    let Body::CardReload(mut body) = reload(amount_minor) else { panic!("a reload is one") };
    body.card = card(3);
    (body.account, body.movements[0].account) = (account(3), account(3));
    store.write(Body::CardReload(body));
}

/// A store with 370 on card 1 as far as was heard. Then, in silence: 100 are spent (entry 4), card 3 is loaded with 250 (entry 5), and the machine burns.
async fn burnt() -> (World, FakeStore) {
    let (world, mut store) = traded().await;
    store.spends(100);
    loads_card_3(&mut store, 250);
    fenced(&world, store.id).await;
    (world, store)
}

fn truth() -> String {
    file(&[line(4, 1, "spend", 100), line(5, 3, "load", 250)])
}

#[tokio::test]
async fn receipts_lower_what_waits_and_claim_what_nobody_was_told_of() {
    let (world, _) = burnt().await;
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((370, 0, 0), (0, 0, 0)));
    let sheet = counts(&world, &truth()).await;
    assert_eq!(sheet.receipts.iter().filter(|judged| judged.verdict == Verdict::Counts).count(), 2);
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((270, 0, 0), (250, 0, 0)));
    assert_eq!(
        (free(&world, 1).await, free(&world, 3).await, balance(&world).await),
        (0, 0, 270),
        "no value moved yet"
    );
    proved(&world).await;
    paid(&world).await;
    assert_eq!((free(&world, 1).await, free(&world, 3).await), (270, 250));
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((0, 270, 0), (0, 250, 0)));
    assert!(matches!(repay(&world, "zhao").await, Err(SuspenseError::State { .. })), "nothing waits twice");
    proved(&world).await;
}

#[tokio::test]
async fn a_late_journal_comes_to_the_same_in_any_order() {
    // When the journal comes: before the receipts, before they are paid, or after.
    for when in 0..3 {
        let (world, store) = burnt().await;
        let new = replaced(&world, "S1", "again").await;
        let arrives = async || new.upload(store.segment(3, 5)).await.unwrap();
        if when == 0 {
            arrives().await;
            let sheet = brings(&world, "li", &truth()).await.unwrap();
            assert_eq!(sheet.stage, Stage::NothingNew);
            assert!(sheet.receipts.iter().all(|judged| judged.verdict == Verdict::Journalled), "{sheet:?}");
            assert_eq!(show(&world).await.receipts, []);
        } else {
            counts(&world, &truth()).await;
        }
        if when == 1 {
            arrives().await;
        }
        proved(&world).await;
        paid(&world).await;
        if when == 2 {
            arrives().await;
            let receipts = show(&world).await.receipts;
            assert!(receipts.iter().all(|kept| kept.agrees == Some(true)), "{receipts:?}");
        }
        proved(&world).await;
        assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((0, 270, 0), (0, 250, 0)), "{when}");
        assert_eq!((free(&world, 1).await, free(&world, 3).await), (270, 250), "{when}");
        assert_eq!(world.exceptions().await, Vec::<String>::new());
        // Brought again, it is known, by whichever way.
        assert_eq!(brings(&world, "zhao", &truth()).await.unwrap().stage, Stage::NothingNew);
    }
}

#[tokio::test]
async fn an_entry_that_is_kept_apart_leaves_its_receipt_in_force() {
    // The receipts come before the journal, or after it.
    for is_late in [false, true] {
        let (world, mut store) = burnt().await;
        let Body::CardReload(mut body) = reload(40) else { panic!("a reload is one") };
        body.movements[0].amount_minor = 0;
        store.write(Body::CardReload(body));
        let lines = file(&[line(4, 1, "spend", 100), line(5, 3, "load", 250), line(6, 1, "load", 40)]);
        let new = replaced(&world, "S1", "again").await;
        if !is_late {
            counts(&world, &lines).await;
        }
        new.upload(store.segment(3, 6)).await.unwrap();
        if is_late {
            counts(&world, &lines).await;
        }
        assert_eq!(world.exceptions().await, ["quarantined"], "{is_late}");
        assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((310, 0, 0), (250, 0, 0)), "{is_late}");
        proved(&world).await;
        paid(&world).await;
        assert_eq!((free(&world, 1).await, free(&world, 3).await), (310, 250), "{is_late}");
        proved(&world).await;
    }
}

#[tokio::test]
async fn receipts_stand_for_a_purse_of_which_the_journal_is_not_believed() {
    for is_late in [false, true] {
        let (world, mut store) = burnt().await;
        let (adopted_minor, released_minor) = (Some(999), Some(0));
        let change = AllotmentChange { account: account(3), unit: CNY, adopted_minor, released_minor };
        store.write(Body::Allotment(Allotment { changes: vec![change] }));
        let new = replaced(&world, "S1", "again").await;
        if !is_late {
            counts(&world, &truth()).await;
        }
        new.upload(store.segment(3, 6)).await.unwrap();
        if is_late {
            assert_eq!(stands(&world, 3).await, (0, 0, 0), "nobody granted 999");
            counts(&world, &truth()).await;
        }
        assert_eq!(world.exceptions().await, ["report_refused"], "{is_late}");
        assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((270, 0, 0), (250, 0, 0)), "{is_late}");
        paid(&world).await;
        assert_eq!((free(&world, 1).await, free(&world, 3).await), (270, 250), "{is_late}");
    }
}

#[tokio::test]
async fn a_slip_of_the_pen_loads_no_second_card() {
    let (world, _) = burnt().await;
    let both = file(&[line(5, 3, "load", 250), line(5, 1, "load", 250)]);
    let refused = brings(&world, "li", &both).await.unwrap_err().to_string();
    assert!(refused.contains("account 3") && refused.contains("account 1"), "{refused}");
    counts(&world, &truth()).await;
    for (kind, minor) in [("load", 250), ("spend", 1)] {
        let again = brings(&world, "li", &file(&[line(5, 1, kind, minor)])).await;
        assert!(again.unwrap_err().to_string().contains("is a load of account 3 by another receipt"));
    }
    // A sale may have been paid with two cards.
    assert_eq!(brings(&world, "li", &file(&[line(4, 3, "spend", 50)])).await.unwrap().stage, Stage::Asked);
}

#[tokio::test]
async fn a_journal_that_comes_in_parts_takes_over_entry_by_entry() {
    let (world, store) = burnt().await;
    counts(&world, &truth()).await;
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 4)).await.unwrap();
    let agree: Vec<Option<bool>> = show(&world).await.receipts.iter().map(|kept| kept.agrees).collect();
    assert_eq!(agree, [Some(true), None]);
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((270, 0, 0), (250, 0, 0)));
    proved(&world).await;
    new.upload(store.segment(4, 5)).await.unwrap();
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((270, 0, 0), (250, 0, 0)));
    proved(&world).await;
}

#[tokio::test]
async fn a_receipt_that_the_journal_does_not_bear_out_is_named_and_what_was_paid_on_it_is_a_loss() {
    let (world, store) = burnt().await;
    // Typed wrong: 250 were loaded.
    counts(&world, &file(&[line(5, 3, "load", 2_500)])).await;
    paid(&world).await;
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 5)).await.unwrap();
    assert_eq!(stands(&world, 3).await, (0, 2_500, 2_250));
    let open = world.open_exceptions().await;
    let [found] = &open[..] else { panic!("{open:?}") };
    assert_eq!((found.class.as_str(), found.subject.as_str()), ("receipt_differs", "S1-1-5 account 3"));
    proved(&world).await;
    let sheet = brings(&world, "li", &file(&[line(5, 3, "load", 2_500)])).await.unwrap();
    assert_eq!(sheet.receipts[0].verdict, Verdict::Contradicted);
}

#[tokio::test]
async fn two_people_bring_the_same_and_look_at_the_same() {
    let (world, store) = burnt().await;
    for _ in 0..2 {
        assert_eq!(brings(&world, "li", &truth()).await.unwrap().stage, Stage::Asked);
    }
    let (by, now) = (person("Li"), world.hub.now());
    let alone = world.hub.store.write(move |tx| receipt::bring(tx, &by, of(), (truth().as_bytes(), "now"), now)).await;
    assert!(alone.unwrap_err().to_string().contains("a second person"));
    assert_eq!(stands(&world, 1).await, (370, 0, 0), "one person changes nothing");
    // Another file is another question.
    let other = file(&[line(4, 1, "spend", 99), line(5, 3, "load", 250)]);
    assert_eq!(brings(&world, "wang", &other).await.unwrap().stage, Stage::Asked);
    assert_eq!(stands(&world, 1).await, (370, 0, 0));
    // In another order it is the same.
    let turned = file(&[line(5, 3, "load", 250), line(4, 1, "spend", 100)]);
    assert_eq!(brings(&world, "wang", &turned).await.unwrap().stage, Stage::Applied);
    // A lost answer, and a third person.
    for by in ["wang", "zhao"] {
        assert_eq!(brings(&world, by, &truth()).await.unwrap().stage, Stage::NothingNew);
    }
    // The other file contradicts what counts now.
    let refused = brings(&world, "li", &other).await.unwrap_err().to_string();
    assert!(refused.contains("line 2: entry: S1-1-4 was brought by file 1"), "{refused}");
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((270, 0, 0), (250, 0, 0)));

    // What was asked before the journal came is asked anew.
    let more = file(&[line(6, 1, "spend", 10), line(5, 3, "load", 250)]);
    assert_eq!(brings(&world, "li", &more).await.unwrap().stage, Stage::Asked);
    paid(&world).await;
    assert_eq!(brings(&world, "wang", &more).await.unwrap().stage, Stage::Asked, "it would be a loss now");
    assert_eq!(brings(&world, "li", &more).await.unwrap().stage, Stage::Applied);
    assert_eq!(stands(&world, 1).await, (0, 270, 10));
    drop(store);
    proved(&world).await;
}

#[tokio::test]
async fn every_bad_line_is_named_and_nothing_of_its_file_counts() {
    let (world, _) = burnt().await;
    let cases: &[(String, &str)] = &[
        (format!("S1-1-4,{},spend,1.00,{AT}\n", card(99).reveal()), "line 2: card: is no card of this group"),
        (
            format!("S2-1-4,{},spend,1.00,{AT}\n", card(1).reveal()),
            "line 2: entry: S2-1-4 is of S2-1; these are receipts of S1-1",
        ),
        (format!("S1-2-4,{},spend,1.00,{AT}\n", card(1).reveal()), "line 2: entry: S1-2-4 is of S1-2"),
        (format!("S1-4,{},spend,1.00,{AT}\n", card(1).reveal()), "line 2: entry: \"S1-4\" is not a receipt number"),
        (line(0, 1, "spend", 1), "line 2: entry: S1-1-0 cannot be"),
        (
            line(2_000_000, 1, "spend", 1),
            "line 2: entry: S1-1-2000000 cannot be: entries begin with 1, and S1-1 is known up to 3",
        ),
        (line(4, 1, "spend", 0), "line 2: amount: \"0.00\" is not above zero"),
        (format!("S1-1-4,{},spend,-1.00,{AT}\n", card(1).reveal()), "line 2: amount: \"-1.00\" is not above zero"),
        (line(4, 1, "load", 100_000_000_001), "line 2: amount: \"1000000000.01\" is more than any card can hold"),
        (line(4, 1, "gift", 1), "line 2: kind: \"gift\" is not spend, load or refund"),
        (format!("S1-1-4,{},spend,1.00,yesterday\n", card(1).reveal()), "line 2: time: \"yesterday\""),
        (
            format!("S1-1-4,{},spend,1.00,2027-02-15T08:00:00Z\n", card(1).reveal()),
            "line 2: time: 2027-02-15T08:00:00Z is in the future",
        ),
        (
            format!("S1-1-4,{},spend,1.00,2026-02-15T08:00:00Z\n", card(1).reveal()),
            "line 2: time: 2026-02-15T08:00:00Z is before S1-1 began",
        ),
        (line(4, 1, "spend", 371), "line 2: amount: receipts spend 371 minor units of CNY of account 1, which had 370"),
        (line(4, 3, "spend", 251), "line 2: amount: receipts spend 251 minor units of CNY of account 3, which had 250"),
        (line(7, 1, "spend", 1).repeat(2), "line 3: entry: S1-1-7 stands in line 2 and again in line 3"),
    ];
    for (bad, words) in cases {
        // Beside a good one.
        let csv = format!("{}{}", file(std::slice::from_ref(bad)), line(5, 3, "load", 250));
        for by in ["li", "wang"] {
            let refused = brings(&world, by, &csv).await.unwrap_err().to_string();
            assert!(refused.contains(words), "{words} is not in: {refused}");
            assert!(!refused.contains(card(99).reveal()), "{refused}");
        }
    }
    for (csv, words) in [
        (HEADER.to_owned(), "the file has 0 receipts"),
        ("entry,card\n".to_owned(), "the header is not that of a receipt file"),
        ("x".repeat(receipt::FILE_BYTES_MAX + 1), "the file has 1048577 bytes"),
    ] {
        let refused = brings(&world, "li", &csv).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    let sheet = show(&world).await;
    assert_eq!((sheet.receipts.len(), sheet.receipt_files.len()), (0, 0));
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((370, 0, 0), (0, 0, 0)));
    // The last cent is there, and one more is not.
    counts(&world, &file(&[line(4, 1, "spend", 370)])).await;
    assert_eq!(stands(&world, 1).await, (0, 0, 0));
    let refused = brings(&world, "li", &file(&[line(6, 1, "spend", 1)])).await.unwrap_err().to_string();
    assert!(refused.contains("which had 0 there"), "{refused}");
    proved(&world).await;
}

#[tokio::test]
async fn what_was_reported_counts_by_the_report_alone() {
    let (world, mut store) = traded().await;
    // Reported and not uploaded.
    store.spends(100);
    store.reports().await.unwrap();
    fenced(&world, store.id).await;
    let sheet = brings(&world, "li", &file(&[line(4, 1, "spend", 100), line(3, 1, "spend", 130)])).await.unwrap();
    let verdicts: Vec<Verdict> = sheet.receipts.iter().map(|judged| judged.verdict).collect();
    assert_eq!((sheet.stage, &verdicts[..]), (Stage::NothingNew, &[Verdict::Reported, Verdict::Reported][..]));
    assert_eq!(stands(&world, 1).await, (270, 0, 0));
}

#[tokio::test]
async fn receipts_wait_for_a_living_epoch_to_end_and_for_a_repayment_to_be_paid() {
    let (world, store) = traded().await;
    let early = brings(&world, "li", &file(&[line(4, 1, "spend", 1)])).await;
    assert!(matches!(early, Err(SuspenseError::Unknown { .. })), "{early:?}");
    fenced(&world, store.id).await;
    repay(&world, "li").await.unwrap();
    let (by, occasion) = (person("wang"), Occasion { now: world.hub.now(), day: FakeStore::day() });
    let whose = (of().0, of().1, None);
    let number = world.hub.store.write(move |tx| suspense::decide(tx, &by, whose, "", occasion)).await.unwrap();
    let refused = brings(&world, "li", &file(&[line(4, 1, "spend", 1)])).await.unwrap_err().to_string();
    assert!(refused.contains("repayment 1 is being paid"), "{refused}");
    assert_eq!(number, Some(1));
}

#[tokio::test]
async fn a_crash_in_between_leaves_nothing_and_it_is_said_again() {
    let (world, _) = burnt().await;
    assert_eq!(brings(&world, "li", &truth()).await.unwrap().stage, Stage::Asked);
    // The second receipt cannot be written: all of it is taken back.
    let full = "CREATE TRIGGER full BEFORE INSERT ON receipt WHEN NEW.seq = 5 BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    world.hub.store.write(|tx: &mut Tx<'_>| tx.execute(full, &[])).await.unwrap();
    brings(&world, "wang", &truth()).await.unwrap_err();
    let sheet = show(&world).await;
    assert_eq!((sheet.receipts.len(), sheet.receipt_files[0].applied_by.as_deref()), (0, None));
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((370, 0, 0), (0, 0, 0)));
    proved(&world).await;
    world.hub.store.write(|tx: &mut Tx<'_>| tx.execute("DROP TRIGGER full", &[])).await.unwrap();
    assert_eq!(brings(&world, "wang", &truth()).await.unwrap().stage, Stage::Applied);
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((270, 0, 0), (250, 0, 0)));
    proved(&world).await;
}

/// Changes a copy of the database, and looks that `verify` names the row.
fn plant(world: &World, (sql, row): (&str, &str)) {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("hub.db");
    std::fs::copy(world.database(), &path).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let store = huitong_hub::store::Store::open(&path, 1).unwrap();
    let report = store.read_blocking(verify::run).unwrap();
    let findings = report.checks.iter().flat_map(|check| &check.findings);
    let found: Vec<String> = findings.map(|finding| format!("{} {}", finding.table, finding.row)).collect();
    assert!(found.iter().any(|found| found == row), "{sql}: {row} is not among {found:#?}");
    store.close();
}

#[tokio::test]
async fn every_planted_change_of_receipts_is_found_and_named() {
    let (world, _) = burnt().await;
    counts(&world, &truth()).await;
    proved(&world).await;
    world.hub.store.close();
    for planted in [
        ("UPDATE receipt SET amount_minor = amount_minor + 1 WHERE seq = 4", "suspense account 1 CNY at S1-1"),
        ("DELETE FROM receipt WHERE seq = 5", "suspense account 3 CNY at S1-1"),
        ("UPDATE suspense SET receipt_spent_minor = 0 WHERE account_id = 1", "suspense account 1 CNY at S1-1"),
        ("UPDATE receipt_file SET applied_by = 'LI'", "receipt S1-1-4"),
        ("UPDATE receipt SET seq = 3 WHERE seq = 4", "receipt S1-1-3"),
        ("UPDATE receipt_file SET epoch = 2", "receipt S1-1-4"),
    ] {
        plant(&world, planted);
    }
}

#[tokio::test]
async fn a_receipt_that_counts_beside_its_entry_is_found_and_named() {
    let (world, store) = burnt().await;
    counts(&world, &truth()).await;
    let new = replaced(&world, "S1", "again").await;
    new.upload(store.segment(3, 5)).await.unwrap();
    proved(&world).await;
    world.hub.store.close();
    for planted in [
        ("UPDATE receipt SET agrees = 0 WHERE seq = 4", "receipt S1-1-4"),
        (
            "UPDATE receipt SET superseded_at_ms = NULL, agrees = NULL WHERE seq = 5; \
             UPDATE suspense SET receipt_loaded_minor = 250 WHERE account_id = 3",
            "receipt S1-1-5",
        ),
    ] {
        plant(&world, planted);
    }
}

#[tokio::test]
async fn the_command_line_shows_first_and_two_people_let_it_count() {
    let (world, _) = burnt().await;
    let path = world.database().with_file_name("receipts.csv");
    let (clock, data) = (world.clock.clone(), world.database().parent().unwrap().to_path_buf());
    let at = path.clone();
    let say = move |by: &str, more: &[&str]| {
        let words = [
            "huitong-hub",
            "--data",
            data.to_str().unwrap(),
            "suspense",
            "resolve",
            "S1-1",
            "--by",
            by,
            "--receipts",
            at.to_str().unwrap(),
        ];
        let words = words.iter().chain(more).map(std::ffi::OsString::from);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let cli = huitong_hub::cli::World { clock: clock.clone(), progress: false };
        let code = cli.main(words, &mut out, &mut err);
        (code, String::from_utf8([out, err].concat()).unwrap())
    };
    let bad = file(&[line(4, 1, "spend", 371), line(5, 3, "load", 250)]);
    std::fs::write(&path, bad).unwrap();
    let (code, said) = say("li", &["--dry-run"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("line 2: amount: receipts spend 371") && said.contains("2.50 CNY"), "{said}");
    std::fs::write(&path, truth()).unwrap();
    let (code, said) = say("li", &["--dry-run"]);
    assert!(code == 0 && said.contains("rehearsal, nothing was done"), "{said}");
    assert!(!said.contains(card(1).reveal()), "{said}");
    assert_eq!(show(&world).await.receipt_files, []);
    for (by, note, words) in [
        ("li", &["--note", "the till's copy"][..], "waits for a second person"),
        ("wang", &[], "the receipts count"),
        ("wang", &[], "nothing changes"),
    ] {
        let (code, said) = say(by, note);
        assert!(code == 0 && said.contains(words), "{said}");
    }
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((270, 0, 0), (250, 0, 0)));
    proved(&world).await;
}

#[tokio::test]
async fn the_api_says_what_the_command_line_says() {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    let (world, mut store) = burnt().await;
    store.write(open());
    let now = world.hub.now();
    for name in ["li", "wang"] {
        world
            .hub
            .store
            .write(move |tx| hq_token::insert(tx, name, &format!("token of {name}"), now, None))
            .await
            .unwrap();
    }
    let router = router(world.hub.clone());
    let post = async |name: &str, body: serde_json::Value| {
        let request = Request::post("/v1/hq/suspense/S1-1/receipts")
            .header("authorization", format!("Bearer token of {name}"))
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice::<serde_json::Value>(&body).unwrap())
    };
    let said = |note: &str, dry_run: bool| serde_json::json!({ "receipts": truth(), "note": note, "dry_run": dry_run });
    let (status, sheet) = post("li", said("", true)).await;
    assert_eq!((status, sheet["stage"].as_str()), (200, Some("rehearsed")), "{sheet}");
    assert_eq!(sheet["changes"][1]["waiting_minor"], 250);
    assert!(!sheet.to_string().contains(card(1).reveal()), "{sheet}");
    assert_eq!(show(&world).await.receipt_files, []);
    let (status, problem) = post("li", said("", false)).await;
    assert_eq!((status, problem["field"].as_str()), (422, Some("note")), "{problem}");
    assert_eq!(post("li", said("the till's copy", false)).await.1["stage"], "asked");
    let bad = serde_json::json!({ "receipts": file(&[line(4, 1, "gift", 1)]), "note": "x" });
    let (status, problem) = post("wang", bad.clone()).await;
    assert_eq!((status, problem["field"].as_str()), (422, Some("receipts")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("line 2: kind"), "{problem}");
    assert_eq!(post("wang", said("seen", false)).await.1["stage"], "applied");
    assert_eq!((stands(&world, 1).await, stands(&world, 3).await), ((270, 0, 0), (250, 0, 0)));
    // More than the smallest body, less than the largest.
    let many: Vec<String> = (0..4_000).map(|n| line(100 + n, 3, "load", 1)).collect();
    let (status, sheet) = post("li", serde_json::json!({ "receipts": file(&many), "note": "", "dry_run": true })).await;
    assert_eq!((status, &sheet["changes"][0]["loaded_minor"]), (200, &serde_json::json!(4_000)), "{sheet}");
}
