//! Bounded overdraft, through the whole chain: two people set a budget, stores without a line draw on it to the last cent, head office collects or gives up,
//! and the books tie out.

use std::sync::Arc;

use huitong_edge::clock::Clock as _;
use huitong_hub::schedule::Job;
use huitong_hub::worker;
use huitong_protocol::card::CardNumber;
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::id::OperationId;
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use huitong_tests::documents;
use huitong_tests::replay::cards;
use huitong_tests::till::{approved, declined};
use huitong_tests::town::{Plan, Shop, Town, Transport};
use huitong_tests::wire::Wire;
use serde_json::Value;

use crate::people::import;

const CHAPTER: &str = "
[overdraft]
store_line_minor = 1000
receipt_minor_max = 1000
account_minor_max = 1000
store_day_minor_max = 5000
cards_age_minutes_max = 1440
";

/// What is loaded stays at its store until the day is closed, so that it is known where it is.
const RELEASE: &str = "release = { when = \"at_close\" }\n";

fn next() -> OperationId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let number = u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
    OperationId(uuid::Uuid::from_u128(0x0193_7000_0000_7000_8000_0000_0000_0000 + number))
}

fn card(household: u32) -> CardNumber {
    cards::of_household(household)
}

/// Two open stores and two members' cards: the first was sold at S1 with 0.60, the second at S2 with 0.60.
async fn town(folder: &std::path::Path, chapter: &str) -> Arc<Town> {
    let stores = vec!["S1".parse().unwrap(), "S2".parse().unwrap()];
    let plan = Plan {
        data: folder.to_owned(),
        transport: Transport::Memory,
        start: Instant(1_795_320_000_000),
        currency: Currency::CNY,
        time_zone: "Asia/Shanghai".to_owned(),
        cards: vec![(card(1), stores[0]), (card(2), stores[1])],
        stores,
        product: "SV".to_owned(),
        policy: documents::policy("CNY", RELEASE) + chapter,
        agreement: documents::agreement("CNY", "pool", "2020-01-01", 0, 0, "restore"),
        effective_from: "2020-01-01".parse().unwrap(),
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    };
    let town = Town::build(&plan).await.unwrap();
    import(&town, folder, "member", "number,name\n8800001,张三\n8800002,买买提\n").await;
    let owners = [(1, "8800001"), (2, "8800002")].map(|(n, owner)| format!("{},SV,{owner}\n", card(n).reveal()));
    import(&town, folder, "card", &format!("number,product,member\n{}", owners.concat())).await;
    for (shop, n) in town.shops().zip(1..) {
        shop.download().await.unwrap();
        shop.till.open_day(next(), None).await.unwrap();
        approved(shop.till.sell(next(), card(n), 60).await.unwrap()).unwrap();
        // Bought here and now: the value that the till put on lies here until it is released.
        shop.reported().await.unwrap();
    }
    town
}

async fn budget(town: &Town, amount: &str) -> Value {
    let ask = |by| ["risk", "budget", amount, "--note", "for the winter", "--by", by];
    town.head_office(&ask("anna")).await.unwrap();
    let sheet = town.head_office(&ask("bert")).await.unwrap();
    for shop in town.shops() {
        shop.download().await.unwrap();
        shop.reported().await.unwrap();
    }
    sheet
}

async fn risk(town: &Town) -> Value {
    town.head_office(&["risk", "show"]).await.unwrap()
}

fn figures(sheet: &Value, names: &[&str]) -> Vec<i64> {
    names.iter().map(|name| sheet[format!("{name}_minor")].as_i64().unwrap()).collect()
}

/// What the worker does by itself, after everything has arrived.
async fn settled(town: &Town) {
    for shop in town.shops() {
        shop.wire.cut(false);
        shop.reported().await.unwrap();
        shop.upload_all().await.unwrap();
    }
    worker::perform(&town.hub, Job::Reconcile, town.clock.now()).await.unwrap();
    for shop in town.shops() {
        shop.download().await.unwrap();
        shop.reported().await.unwrap();
    }
    assert_eq!(town.verify().await.unwrap(), Vec::<String>::new());
}

/// As [`settled`], until the report says so: a store gives back what it need not keep in its own time.
async fn settled_until(town: &Town, names: &[&str], expected: &[i64]) -> Value {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
    for _ in 0..500 {
        settled(town).await;
        let sheet = risk(town).await;
        if figures(&sheet, names) == expected {
            return sheet;
        }
        look.tick().await;
    }
    panic!("{names:?} are not {expected:?}: {}", risk(town).await);
}

async fn close(town: &Town) {
    for shop in town.shops() {
        approved(shop.till.close_day(next()).await.unwrap()).unwrap();
    }
}

/// Takes all that a card's account has at a store and lets it draw `overdraft_minor` more.
async fn overdraw(shop: &Shop, n: u32, overdraft_minor: i64) -> huitong_protocol::till::Approved {
    let here = shop.till.card(card(n), false).await.unwrap().balances;
    let here = here.iter().map(|balance| balance.available_here_minor).sum::<i64>();
    let answer = approved(shop.till.spend(next(), card(n), here + overdraft_minor).await.unwrap()).unwrap();
    assert_eq!(answer.overdraft_minor, overdraft_minor);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_chapter_nothing_is_overdrawn_and_the_report_is_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path(), "").await;
    budget(&town, "15.00").await;
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    shop.wire.cut(true);
    let refused = declined(shop.till.spend(next(), card(1), 61).await.unwrap()).unwrap();
    assert_eq!(refused.code, DeclineCode::InsufficientHereOffline);
    settled(&town).await;
    let sheet = risk(&town).await;
    assert_eq!((&sheet["allowed"], sheet["lines"].as_array().unwrap().len()), (&Value::Bool(false), 0));
    let names = ["budget", "free", "granted", "used", "recovered", "written_off", "owed", "drawable", "exposure"];
    assert_eq!(figures(&sheet, &names), [1_500, 1_500, 0, 0, 0, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_without_a_line_overdraw_the_budget_and_not_a_cent_more() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path(), CHAPTER).await;
    let [one, two] = ["S1", "S2"].map(|id| town.shop(id.parse().unwrap()).unwrap());
    let sheet = budget(&town, "15.00").await;
    assert_eq!(figures(&sheet, &["budget", "free"]), [1_500, 1_500]);
    let sheet = risk(&town).await;
    let names = ["budget", "free", "granted", "used", "owed", "drawable", "exposure"];
    assert_eq!(figures(&sheet, &names), [1_500, 0, 1_500, 0, 0, 1_500, 1_500], "{sheet}");
    one.wire.cut(true);
    two.wire.cut(true);
    overdraw(&one, 1, 1_000).await;
    let left = declined(two.till.spend(next(), card(2), 1_000).await.unwrap()).unwrap();
    let payable = left.available_here_minor.unwrap();
    assert_eq!(left.code, DeclineCode::OverdraftLimit);
    assert_eq!(approved(two.till.spend(next(), card(2), payable).await.unwrap()).unwrap().overdraft_minor, 500);
    for (shop, n) in [(&one, 1), (&two, 2)] {
        let refused = declined(shop.till.spend(next(), card(n), 1).await.unwrap()).unwrap();
        assert_eq!((refused.code, refused.available_here_minor), (DeclineCode::OverdraftLimit, Some(0)));
    }
    settled(&town).await;
    let names = ["budget", "free", "used", "recovered", "owed", "drawable", "exposure"];
    assert_eq!(figures(&risk(&town).await, &names), [1_500, 0, 1_500, 0, 1_500, 0, 1_500]);
    let lower = town.head_office(&["risk", "budget", "14.99", "--note", "less", "--by", "anna"]).await.unwrap_err();
    assert!(lower.to_string().contains("1500 of the budget of 1500 minor units is with stores"), "{lower:#}");

    // The first member loads again; head office takes what is owed from what lies in its pool.
    approved(one.till.reload(next(), card(1), 400).await.unwrap()).unwrap();
    close(&town).await;
    let sheet = settled_until(&town, &["recovered", "owed"], &[400, 1_100]).await;
    assert_eq!(figures(&sheet, &["budget", "free", "exposure"]), [1_500, 400, 1_100], "it lies in the pool again");

    // Two people give up the rest of it.
    let account = sheet["debts"][0]["account"].to_string();
    let give_up = |by| ["risk", "write-off", &account, "--note", "moved away", "--by", by].map(str::to_owned);
    let say = async |args: [String; 7]| town.head_office(&args.each_ref().map(String::as_str)).await;
    let asked = say(give_up("anna")).await.unwrap();
    assert_eq!(figures(&asked, &["owed", "written_off"]), [1_100, 0]);
    let again = say(give_up("anna")).await.unwrap();
    assert_eq!(figures(&again, &["owed", "written_off"]), [1_100, 0], "one person alone changes nothing");
    let given_up = say(give_up("bert")).await.unwrap();
    assert_eq!(figures(&given_up, &["owed", "written_off", "budget"]), [500, 600, 1_500]);
    settled(&town).await;

    // Whoever accepted is owed by the risk account, like value; what was collected is owed to it.
    let run = town.head_office(&["settle", "run", "--scheme", "pool"]).await.unwrap();
    let position = |party: &str| {
        let positions = run["positions"].as_array().unwrap();
        positions.iter().find(|row| row[0] == party).map_or(0, |row| row[1].as_i64().unwrap())
    };
    assert_eq!(position("risk"), 400 - 1_500, "{run}");
    // Loads 0.60 and 4.00, spends 0.60 and an overdraft of 10.00; the other store 0.60, 0.60 and 5.00.
    assert_eq!((position("store:S1"), position("store:S2")), (600, 500));
    assert_eq!(town.verify().await.unwrap(), Vec::<String>::new());
    town.hub
        .store
        .write(|tx| tx.execute("UPDATE overdraft SET amount_minor = amount_minor + 1", &[]).map(drop))
        .await
        .unwrap();
    assert!(!town.verify().await.unwrap().is_empty(), "a debt that no entry states is found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goods_that_come_back_after_it_was_collected_give_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path(), CHAPTER).await;
    budget(&town, "10.00").await;
    let one = town.shop("S1".parse().unwrap()).unwrap();
    one.wire.cut(true);
    let receipt = overdraw(&one, 1, 300).await;
    let voided = overdraw(&one, 1, 50).await;
    approved(one.till.void(next(), voided.operation).await.unwrap()).unwrap();
    settled(&town).await;
    assert_eq!(figures(&risk(&town).await, &["used", "owed"]), [300, 300]);
    approved(one.till.reload(next(), card(1), 500).await.unwrap()).unwrap();
    close(&town).await;
    settled_until(&town, &["recovered", "owed"], &[300, 0]).await;
    town.clock.wind_ms(86_400_000);
    approved(one.till.open_day(next(), None).await.unwrap()).unwrap();
    approved(one.till.give_back(next(), receipt.entry, 0, 1_000).await.unwrap()).unwrap();
    let sheet = settled_until(&town, &["used", "recovered", "owed"], &[0, 0, 0]).await;
    assert_eq!(sheet["debts"].as_array().unwrap().len(), 0, "{sheet}");
    let shown = town.head_office(&["account", "show", card(1).reveal()]).await.unwrap();
    assert_eq!(shown["purses"][0]["balance_minor"], 560, "everything is where it was (I7): {shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_sets_no_budget_and_stores_give_back_what_policy_takes_away() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path(), CHAPTER).await;
    let ask = |by, note| ["risk", "budget", "5.00", "--note", note, "--by", by];
    assert!(town.head_office(&ask("anna", "")).await.unwrap_err().to_string().contains("note"));
    town.head_office(&ask("anna", "try it")).await.unwrap();
    town.head_office(&ask("anna", "try it")).await.unwrap();
    assert!(town.head_office(&ask("anna", "again")).await.is_err());
    assert_eq!(figures(&risk(&town).await, &["budget", "drawable"]), [0, 0]);
    town.head_office(&ask("bert", "")).await.unwrap();
    for shop in town.shops() {
        shop.download().await.unwrap();
        shop.reported().await.unwrap();
    }
    let sheet = risk(&town).await;
    assert_eq!(figures(&sheet, &["budget", "drawable"]), [500, 500]);
    let policy = folder.path().join("off.toml");
    std::fs::write(&policy, documents::policy("CNY", RELEASE)).unwrap();
    let off = ["policy", "publish", policy.to_str().unwrap(), "--effective-from", "2020-01-02"];
    town.head_office(&off).await.unwrap();
    settled(&town).await;
    close(&town).await;
    settled_until(&town, &["budget", "free", "drawable", "exposure"], &[500, 500, 0, 0]).await;
    town.head_office(&["risk", "budget", "0", "--note", "over", "--by", "anna"]).await.unwrap();
    let sheet = town.head_office(&["risk", "budget", "0", "--by", "bert"]).await.unwrap();
    assert_eq!(figures(&sheet, &["budget", "free"]), [0, 0]);
    assert_eq!(town.verify().await.unwrap(), Vec::<String>::new());
}
