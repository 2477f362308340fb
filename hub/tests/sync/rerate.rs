//! Sales priced again at head office: what was planted is found and nothing else, and no entry is passed over however it came.

use std::sync::{Arc, Mutex};

use huitong_hub::rerate::{self, Books, Counts};
use huitong_hub::schedule::Job;
use huitong_hub::store::cursor;
use huitong_hub::{publish, worker};
use huitong_protocol::entry::{Body, Sale, TenderLine};
use huitong_protocol::id::Seq;
use huitong_protocol::item::Item;
use huitong_protocol::ledger::basket::{Known, Priced, Prices, Sent, price_basket};
use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::pricing::PriceBook;
use huitong_protocol::till::TillLine;
use huitong_protocol::time::{CivilOffset, Instant};
use indicatif::ProgressBar;
use serde_json::json;

use crate::fake::{FakeStore, World};
use crate::policy::STANDARD;

impl FakeStore {
    /// Three bags of snacks under version 1 of the policy, 2.00 off each, as an honest store writes it; `change` may say otherwise.
    pub(crate) fn sell(&mut self, change: impl FnOnce(&mut Sale)) -> Seq {
        let policy = publish::read_policy(STANDARD).unwrap();
        let book = PriceBook::new(&policy);
        let line: TillLine = serde_json::from_value(
            json!({"sku": "crisps", "quantity_thousandths": 3_000, "gross_minor": 3_000, "net_minor": 3_000}),
        )
        .unwrap();
        let item: Item = serde_json::from_value(
            json!({"sku": "crisps", "name": "薯片", "category_path": "食品/零食", "tax_code": "", "tax_ppm": 0, "active": true}),
        )
        .unwrap();
        let priced_at = Instant(self.stamp);
        let offset = CivilOffset::new(480).unwrap();
        let known = Known { items: vec![Some(item)], ..Known::default() };
        let prices = Prices { policy: &policy, version: 1, book: &book };
        let sent = Sent { lines: &[line], coupons: &[], markdowns: &[] };
        let Priced { basket, .. } =
            price_basket(prices, self.id, Self::day(), (priced_at, offset), sent, known).unwrap();
        assert_eq!(basket.total_minor, 2_400, "the promotion of the standard policy holds");
        let cash = TenderLine {
            tender: "cash".parse().unwrap(),
            amount_minor: basket.total_minor,
            card: None,
            reference: None,
            hold: None,
        };
        let mut sale = Sale {
            currency: Currency::CNY,
            member: None,
            shopper: None,
            coupons: Vec::new(),
            markdowns: Vec::new(),
            policy_version: 1,
            priced_at_ms: priced_at,
            priced_offset_minutes: offset,
            budgets_spent: Vec::new(),
            invoiceable_tenders: Vec::new(),
            lines: basket.lines,
            tenders: vec![cash],
            total_minor: basket.total_minor,
            allocation: vec![vec![basket.total_minor]],
            invoiceable: Vec::new(),
            payment_unknown: None,
            taken_at_ms: None,
            earned: None,
            deferred: None,
            movements: Vec::new(),
        };
        change(&mut sale);
        self.write(Body::Sale(sale))
    }

    async fn upload_all(&self) {
        self.upload(self.segment(0, self.journal.len())).await.unwrap();
    }
}

/// A discount that is a fen larger than the policy gives, in every place that must agree.
pub(crate) fn a_fen_more(sale: &mut Sale) {
    let line = &mut sale.lines[0];
    line.discounts[0].amount_minor += 1;
    line.discounts[0].funders[0].amount_minor += 1;
    (line.net_minor, sale.total_minor) = (line.net_minor - 1, sale.total_minor - 1);
    (sale.tenders[0].amount_minor, sale.allocation[0][0]) = (sale.total_minor, sale.total_minor);
}

impl World {
    async fn rerate(&self) -> Counts {
        rerate::run(&self.hub, self.hub.now()).await.unwrap()
    }

    /// Class, severity, subject and evidence of what is open.
    async fn found_exceptions(&self) -> Vec<(String, String, String, String)> {
        let open = self
            .read(|tx| huitong_hub::store::exception::list(tx, &huitong_hub::store::exception::Filter::default()))
            .await;
        open.into_iter()
            .map(|row| (row.class.to_string(), row.severity.as_str().to_owned(), row.subject, row.evidence.to_string()))
            .collect()
    }

    async fn subjects(&self, class: &str) -> Vec<String> {
        let open = self.found_exceptions().await;
        assert!(open.iter().all(|(found, ..)| found == class), "{open:?}");
        open.into_iter().map(|(_, _, subject, _)| subject).collect()
    }
}

#[tokio::test]
async fn a_fen_too_much_off_raises_its_own_exception_and_nothing_else() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    let mut store = world.store("S1").await;
    store.write(crate::journal::open());
    store.sell(|_| ());
    let planted = store.sell(a_fen_more);
    store.sell(|_| ());
    store.seal(|_| ());
    store.upload_all().await;
    assert_eq!(world.exceptions().await, Vec::<String>::new(), "the seal counts what was taken, whatever it cost");
    let words = worker::perform(&world.hub, Job::Rerate, world.hub.now()).await.unwrap();
    assert!(words.starts_with("3 sales priced again: 2 the same, 0 as taken, 1 differing"), "{words}");
    let open = world.found_exceptions().await;
    let [(class, severity, subject, evidence)] = open.as_slice() else { panic!("{open:?}") };
    assert_eq!((class.as_str(), severity.as_str()), ("price_differs", "warning"));
    assert_eq!(*subject, format!("S1-1-{planted}"));
    for part in [
        "policy 1",
        "line 0: recorded 2399, priced again 2400",
        "recorded discounts SNACK-2 601; priced again SNACK-2 600",
        "total: recorded 2399, priced again 2400",
    ] {
        assert!(evidence.contains(part), "{part} is not in {evidence}");
    }
    assert_eq!(world.rerate().await, Counts::default(), "nothing is new");
    store.upload_all().await;
    assert_eq!(world.rerate().await, Counts::default(), "what comes again is not new");
    assert_eq!(world.found_exceptions().await, open);
}

#[tokio::test]
async fn whatever_does_not_follow_from_the_policy_is_found() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    let mut store = world.store("S1").await;
    let other_funder = |sale: &mut Sale| sale.lines[0].discounts[0].funders[0].party = Party::Hub;
    let no_discount = |sale: &mut Sale| {
        let line = &mut sale.lines[0];
        line.discounts.clear();
        (line.net_minor, sale.total_minor) = (line.gross_minor, line.gross_minor);
    };
    let other_goods = |sale: &mut Sale| sale.lines[0].category_path = "家居".to_owned();
    let no_price = |sale: &mut Sale| sale.lines[0].gross_minor = -1;
    let planted = [store.sell(other_funder), store.sell(no_discount), store.sell(other_goods), store.sell(no_price)];
    store.sell(|_| ());
    store.upload_all().await;
    let counts = world.rerate().await;
    assert_eq!((counts.sales, counts.same, counts.differing), (5, 1, 4));
    assert_eq!(world.subjects("price_differs").await, planted.map(|seq| format!("S1-1-{seq}")));
    let evidence: Vec<String> = world.found_exceptions().await.into_iter().map(|(.., evidence)| evidence).collect();
    assert!(evidence[0].ends_with("the funders of its discounts differ"), "{}", evidence[0]);
    assert!(evidence[3].contains("the basket has no price"), "{}", evidence[3]);
}

#[tokio::test]
async fn what_a_till_took_by_itself_and_what_is_quarantined_has_no_price_to_differ() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    let mut store = world.store("S1").await;
    store.sell(|sale| {
        a_fen_more(sale);
        sale.taken_at_ms = Some(sale.priced_at_ms);
    });
    store.upload_all().await;
    let counts = world.rerate().await;
    assert_eq!((counts.sales, counts.as_taken), (1, 1));
    assert_eq!(world.exceptions().await, Vec::<String>::new());
    store.sell(|sale| {
        a_fen_more(sale);
        sale.tenders[0].amount_minor = -1;
    });
    store.upload_all().await;
    let counts = world.rerate().await;
    assert_eq!((counts.sales, counts.quarantined), (1, 1));
    assert_eq!(world.exceptions().await, ["quarantined"]);
}

#[tokio::test]
async fn a_policy_that_was_never_published_is_one_exception_per_store_and_version() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    let (mut first, mut second) = (world.store("S1").await, world.store("S2").await);
    let under = |version| move |sale: &mut Sale| sale.policy_version = version;
    first.sell(under(9));
    first.sell(|_| ());
    first.sell(under(9));
    second.sell(under(9));
    first.upload_all().await;
    second.upload_all().await;
    assert_eq!(world.rerate().await.policy_unknown, 3);
    assert_eq!(world.subjects("policy_unknown").await, ["S1 policy 9", "S2 policy 9"]);
    first.sell(under(9));
    first.sell(under(u64::MAX));
    first.upload_all().await;
    assert_eq!(world.rerate().await.policy_unknown, 2);
    assert_eq!(world.subjects("policy_unknown").await.len(), 3);
    // A policy that this program cannot read holds nothing up.
    world.hub.store.write(|tx| tx.execute("UPDATE policy SET bundle = x'00'", &[])).await.unwrap();
    second.sell(|_| ());
    second.upload_all().await;
    let again = Arc::new(Mutex::new(Books::default()));
    let counts = rerate::step(&world.hub.store, &again, world.hub.now(), 100).await.unwrap().unwrap();
    assert_eq!((counts.sales, counts.policy_unknown), (1, 1));
    let open = world.found_exceptions().await;
    let (_, _, subject, evidence) = open.last().unwrap();
    assert!(subject == "S2 policy 1" && evidence.contains("cannot be read"), "{subject}: {evidence}");
}

#[tokio::test]
async fn a_restart_goes_on_where_the_job_stood() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    let mut store = world.store("S1").await;
    store.write(crate::journal::open());
    let planted: Vec<Seq> = (0..10)
        .map(|at| {
            store.sell(|sale| {
                if at % 3 == 0 {
                    a_fen_more(sale)
                }
            })
        })
        .collect();
    store.upload_all().await;
    let (mut all, mut pages) = (Counts::default(), Vec::new());
    loop {
        // Nothing but the database outlives a page.
        let books = Arc::new(Mutex::new(Books::default()));
        let Some(counts) = rerate::step(&world.hub.store, &books, world.hub.now(), 4).await.unwrap() else { break };
        all += counts;
        pages.push((counts.sales, world.read(|tx| cursor::get(tx, rerate::CURSOR)).await));
        assert_eq!(world.exceptions().await.len() as u64, all.differing, "raised with the page");
    }
    assert_eq!(pages, [(3, 4), (4, 8), (3, 11)], "sales of the page, and the cursor after it");
    assert_eq!((all.sales, all.differing), (10, 4));
    let expected: Vec<String> = planted.iter().step_by(3).map(|seq| format!("S1-1-{seq}")).collect();
    assert_eq!(world.subjects("price_differs").await, expected);
    let store = world.hub.store.clone();
    let report = tokio::task::spawn_blocking(move || rerate::look_at_all(&store, &ProgressBar::hidden()));
    let report = report.await.unwrap().unwrap();
    assert_eq!((report.ok, report.counts, report.found_more), (false, all, 0), "the same when all are priced again");
    assert_eq!(report.found.into_iter().map(|found| found.subject).collect::<Vec<_>>(), expected);
    // A job that was taken for dead and ends after all does not turn the cursor back.
    world.hub.store.write(|tx| cursor::advance(tx, rerate::CURSOR, 2)).await.unwrap();
    assert_eq!(world.rerate().await, Counts::default());
}

#[tokio::test]
async fn entries_that_had_to_wait_or_came_late_are_not_passed_over() {
    let world = World::new().await;
    world.publish("one", "2026-01-01").await;
    let (mut first, mut second) = (world.store("S1").await, world.store("S2").await);
    for at in 0..6 {
        first.sell(|sale| {
            if at == 4 {
                a_fen_more(sale)
            }
        });
    }
    second.sell(|_| ());
    first.upload(first.segment(3, 6)).await.unwrap();
    assert_eq!(world.rerate().await, Counts::default(), "what waits is not in the journal yet");
    second.upload_all().await;
    assert_eq!(world.rerate().await.sales, 1);
    first.upload(first.segment(0, 2)).await.unwrap();
    assert_eq!(world.rerate().await.sales, 2);
    first.upload(first.segment(2, 3)).await.unwrap();
    let counts = world.rerate().await;
    assert_eq!((counts.sales, counts.differing), (4, 1), "the gap closed, and what waited came with it");
    second.sell(|_| ());
    second.upload_all().await;
    assert_eq!(world.rerate().await.sales, 1);
    assert_eq!(world.subjects("price_differs").await, ["S1-1-5"]);
}

#[tokio::test]
async fn sales_under_many_policies_in_turn_need_no_more_memory_than_a_few() {
    let world = World::new().await;
    let versions = rerate::BOOKS_MAX as u64 + 2;
    let mut store = world.store("S1").await;
    for version in 1..=versions {
        assert_eq!(world.publish(&format!("version {version}"), "2026-01-01").await, version);
        store.sell(|sale| sale.policy_version = version);
    }
    for version in 1..=versions {
        store.sell(|sale| sale.policy_version = version);
    }
    store.upload_all().await;
    let counts = world.rerate().await;
    assert_eq!((counts.sales, counts.same), (2 * versions, 2 * versions));
    assert_eq!(world.hub.books.lock().unwrap().held(), rerate::BOOKS_MAX);
}
