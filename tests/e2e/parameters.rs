//! What a store sets for itself: proposed at the store, approved by another at head office, in force with a policy from its business day, borne by the
//! store, counted to the last cent, and priced again without a difference.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::Method;
use huitong_protocol::id::OperationId;
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use huitong_tests::documents;
use huitong_tests::replay::cards;
use huitong_tests::town::{Plan, Shop, Town, Transport};
use huitong_tests::wire::Wire;
use serde_json::{Value, json};

/// 08:00 on Sunday, 22 November 2026 in Shanghai.
const START: Instant = Instant(1_795_305_600_000);
const DAY_MS: i64 = 24 * 3_600_000;

const BOUNDS: &str = r#"
[points]
earn = { per_minor = 100, points = 1 }

[store_parameters]
no_points_skus_max = 1
no_promotion_skus_max = 1

[store_parameters.points]
multiplier_ppm_max = 2000000
days_max = 3

[store_parameters.promotions]
count_max = 2
days_max = 3
share_ppm_max = 200000
budget_minor_max = 1000
"#;

const OWN: &str = r#"
no_promotion_skus = ["wine"]
[points]
multiplier_ppm = 2000000
when = { from = "2026-11-23", to = "2026-11-23" }
[[promotions]]
id = "S1-TEA"
name = "店庆茶八折"
give = { kind = "percent_off", percent_ppm = 200000 }
when = { from = "2026-11-23", to = "2026-11-25" }
budget_minor = 300
"#;

fn document(more: &str) -> String {
    format!("{}{more}", documents::policy("CNY", "release = { when = \"at_close\" }\n"))
}

fn plan(folder: &std::path::Path) -> Plan {
    let stores = vec!["S1".parse().unwrap(), "S2".parse().unwrap()];
    Plan {
        data: folder.to_owned(),
        transport: Transport::Memory,
        start: START,
        currency: Currency::CNY,
        time_zone: "Asia/Shanghai".to_owned(),
        cards: vec![(cards::of_household(1), stores[0])],
        stores,
        product: "SV".to_owned(),
        policy: document(BOUNDS),
        agreement: documents::agreement("CNY", "pool", "2020-01-01", 0, 0, "restore"),
        effective_from: "2020-01-01".parse().unwrap(),
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    }
}

fn next_key() -> OperationId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    OperationId(uuid::Uuid::from_u128((7 << 76) | (2 << 62) | u128::from(NEXT.fetch_add(1, Ordering::Relaxed))))
}

async fn send(shop: &Shop, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let key = (method == Method::POST).then(next_key);
    let reply = shop.till.send(method, path, key, serde_json::to_vec(body).unwrap()).await.unwrap();
    (reply.status, reply.json().unwrap())
}

async fn post(shop: &Shop, path: &str, body: &Value) -> Value {
    send(shop, Method::POST, path, body).await.1
}

async fn propose(shop: &Shop, document: &str) -> (u16, Value) {
    send(shop, Method::POST, "/v1/parameters", &json!({ "by": "wang", "document": document })).await
}

fn basket(lines: &[(&str, i64)]) -> Value {
    let line = |(sku, price): &(&str, i64)| json!({ "sku": sku, "quantity_thousandths": 1_000, "gross_minor": price, "net_minor": price });
    json!({ "currency": "CNY", "member_card": cards::of_household(1).reveal(), "lines": lines.iter().map(line).collect::<Vec<_>>() })
}

/// Quotes a basket and buys it for cash at that price.
async fn buy(shop: &Shop, lines: &[(&str, i64)]) -> (i64, Value) {
    let quote = post(shop, "/v1/quotes", &basket(lines)).await;
    let total = quote["total_minor"].as_i64().unwrap_or_else(|| panic!("{quote}"));
    (total, pay(shop, lines, &quote).await)
}

async fn pay(shop: &Shop, lines: &[(&str, i64)], quote: &Value) -> Value {
    let mut sale = basket(lines);
    sale["quote"] = quote["quote"].clone();
    sale["tenders"] = json!([{ "tender": "cash", "amount_minor": quote["total_minor"] }]);
    post(shop, "/v1/sales", &sale).await
}

async fn given(shop: &Shop) -> i64 {
    let own = send(shop, Method::GET, "/v1/parameters", &Value::Null).await.1;
    own["budgets"][0]["given_minor"].as_i64().unwrap_or_else(|| panic!("{own}"))
}

async fn town(folder: &std::path::Path) -> Arc<Town> {
    let town = Town::build(&plan(folder)).await.unwrap();
    let file = folder.join("items.csv");
    std::fs::write(&file, "sku,name,category_path,tax_rate\ntea,茶,食品/茶,13%\nwine,酒,食品/酒,13%\n").unwrap();
    town.head_office(&["item", "import", file.to_str().unwrap()]).await.unwrap();
    for shop in town.shops() {
        shop.download().await.unwrap();
    }
    town
}

async fn open(shop: &Shop, day: &str) {
    let opened = post(shop, "/v1/day/open", &json!({ "business_day": day })).await;
    assert_eq!(opened["decision"], "approved", "{opened}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_proposes_another_approves_and_the_price_is_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    let (shop, other) = (town.shop("S1".parse().unwrap()).unwrap(), town.shop("S2".parse().unwrap()).unwrap());
    open(&shop, "2026-11-22").await;
    let sold = post(
        &shop,
        &format!("/v1/cards/{}/sell", cards::of_household(1).reveal()),
        &json!({ "currency": "CNY", "amount_minor": 0 }),
    )
    .await;
    assert_eq!(sold["decision"], "approved", "{sold}");

    // Outside the bounds: refused at the store with the parameter, the value and the bound, and nothing is kept.
    let far = OWN.replace("multiplier_ppm = 2000000", "multiplier_ppm = 2000001").replace("\"wine\"", "\"beer\"");
    let (status, refused) = propose(&shop, &far).await;
    let words = refused["detail"].as_str().unwrap_or_default();
    assert_eq!(status, 422, "{refused}");
    assert!(
        words.contains(
            "points.multiplier_ppm: is 2000001; the bound store_parameters.points.multiplier_ppm_max is 2000000"
        ),
        "{words}"
    );
    assert!(words.contains("item beer is not in the item master"), "every fault at once: {words}");
    let (status, refused) = send(&shop, Method::POST, "/v1/parameters/check", &json!({ "document": far })).await;
    assert_eq!(status, 422, "also without the line: {refused}");
    assert_eq!(town.head_office(&["policy", "parameters", "list"]).await.unwrap(), json!([]));

    let (status, taken) = propose(&shop, OWN).await;
    assert_eq!(
        (status, &taken["state"], &taken["proposed_by"]),
        (200, &"proposed".into(), &"wang@S1".into()),
        "{taken}"
    );
    let again = propose(&shop, OWN).await.1;
    assert_eq!(again["number"], taken["number"], "an answer that was lost is asked for again");
    let number = taken["number"].to_string();
    let by = |who: &str| ["policy", "parameters", "approve", &number, "--by", who].map(str::to_owned);
    let approve = async |who: &str| {
        let words = by(who);
        town.head_office(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let own_word = approve("Wang@S1").await.unwrap_err().to_string();
    assert!(own_word.contains("a second person"), "{own_word}");
    assert_eq!(approve("li.wei").await.unwrap()["state"], "approved");
    assert!(approve("zhao").await.unwrap_err().to_string().contains("was approved by li.wei"));
    let adoption = town.head_office(&["policy", "adoption"]).await.unwrap();
    assert_eq!((&adoption[0]["parameters"], &adoption[1]["parameters"]), (&"approved".into(), &"none".into()));
    let published =
        town.head_office(&["policy", "parameters", "publish", "--effective-from", "2026-11-23"]).await.unwrap();
    assert_eq!(published["version"], 2, "versions only rise");
    let (_, known) = send(&shop, Method::GET, "/v1/parameters/proposals", &Value::Null).await;
    assert_eq!(
        (&known[0]["state"], &known[0]["published_version"]),
        (&"approved".into(), &2.into()),
        "the store can see it"
    );
    for shop in town.shops() {
        shop.download().await.unwrap();
    }
    let (today, receipt) = buy(&shop, &[("tea", 1_000)]).await;
    assert_eq!((today, &receipt["price"]["earned_points"]), (1_000, &10.into()), "downloaded, not in force: {receipt}");

    // The next day it is in force, here and nowhere else.
    post(&shop, "/v1/day/close", &json!({})).await;
    town.clock.wind_ms(DAY_MS);
    open(&shop, "2026-11-23").await;
    open(&other, "2026-11-23").await;
    assert_eq!(buy(&other, &[("tea", 1_000)]).await.0, 1_000, "another store's promotion is not ours");
    let (paid, receipt) = buy(&shop, &[("tea", 1_000), ("wine", 1_000)]).await;
    assert_eq!((paid, given(&shop).await), (1_800, 200), "{receipt}");
    assert_eq!(receipt["price"]["earned_points"], 36, "twice in its window: {receipt}");
    let funders = &receipt["price"]["lines"][0]["discounts"][0]["funders"];
    assert_eq!(funders, &json!([{ "party": "store:S1", "amount_minor": 200 }]));

    // Two tills were told a price, and the budget is enough for one of them.
    let quote = post(&shop, "/v1/quotes", &basket(&[("tea", 500)])).await;
    assert_eq!(quote["total_minor"], 400);
    assert_eq!(buy(&shop, &[("tea", 500)]).await.0, 400);
    assert_eq!(given(&shop).await, 300, "to the last cent");
    let late = pay(&shop, &[("tea", 500)], &quote).await;
    assert_eq!((&late["decision"], &late["code"]), (&"declined".into(), &"quote_changed".into()), "{late}");
    let (full, spent) = buy(&shop, &[("tea", 500)]).await;
    assert_eq!((full, given(&shop).await), (500, 300));
    let explained =
        send(&shop, Method::GET, &format!("/v1/sales/{}/explanation", spent["entry"].as_str().unwrap()), &Value::Null)
            .await
            .1;
    assert!(explained.to_string().contains("budget_spent"), "it says why: {explained}");

    // What comes back is in the budget again, and the next basket gets it.
    let back = json!({ "receipt": receipt["entry"], "reason": "broken", "items": [{ "line": 0, "quantity_thousandths": 1_000 }] });
    let back = post(&shop, "/v1/returns", &back).await;
    assert_eq!((&back["decision"], given(&shop).await), (&"approved".into(), 100), "{back}");
    let (paid, receipt) = buy(&shop, &[("tea", 1_000)]).await;
    assert_eq!((paid, given(&shop).await), (800, 300));
    let void =
        post(&shop, &format!("/v1/sales/{}/void", receipt["entry"].as_str().unwrap()), &json!({ "reason": "mistake" }))
            .await;
    assert_eq!((&void["decision"], given(&shop).await), (&"approved".into(), 100), "{void}");

    // Head office prices every one of them again, and finds the same.
    for shop in town.shops() {
        shop.upload_all().await.unwrap();
        shop.reported().await.unwrap();
    }
    let (priced, differing) = town.rerate().await.unwrap();
    assert_eq!((priced, differing), (6, Vec::new()));
    let adoption = town.head_office(&["policy", "adoption"]).await.unwrap();
    assert_eq!((&adoption[0]["parameters"], &adoption[0]["standing"]), (&"in_force".into(), &"current".into()));
    assert_eq!(town.verify().await.unwrap(), Vec::<String>::new());
    let deeds = town.head_office(&["audit", "list"]).await.unwrap().to_string();
    for deed in ["parameters.propose", "parameters.approve"] {
        assert!(deeds.contains(deed), "{deeds}");
    }
    drop((shop, other));
    town.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn narrower_bounds_do_not_go_out_over_what_was_approved() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    let own = folder.path().join("own.toml");
    std::fs::write(&own, OWN).unwrap();
    let file = own.to_str().unwrap();
    let propose = ["policy", "parameters", "propose", file, "--store", "S1", "--by", "li.wei"];
    let taken = town.head_office(&propose).await.unwrap();
    assert_eq!(taken["faults"], json!([]));
    let no = taken["number"].to_string();
    let itself = town.head_office(&["policy", "parameters", "approve", &no, "--by", "LI.WEI"]).await.unwrap_err();
    assert!(itself.to_string().contains("a second person"), "{itself}");
    town.head_office(&["policy", "parameters", "approve", &no, "--by", "zhao"]).await.unwrap();

    let next = folder.path().join("next.toml");
    let narrow = document(&BOUNDS.replace("budget_minor_max = 1000", "budget_minor_max = 299"));
    std::fs::write(&next, narrow).unwrap();
    let publish = ["policy", "publish", next.to_str().unwrap(), "--effective-from", "2026-11-23"];
    let refused = town.head_office(&publish).await.unwrap_err().to_string();
    let words =
        "stores.S1.promotions[0].budget_minor: is 300; the bound store_parameters.promotions.budget_minor_max is 299";
    assert!(refused.contains(words), "{refused}");
    // The store sets nothing any more; the narrower policy goes out.
    std::fs::write(&own, "").unwrap();
    let nothing = town.head_office(&propose).await.unwrap()["number"].to_string();
    town.head_office(&["policy", "parameters", "approve", &nothing, "--by", "zhao"]).await.unwrap();
    assert_eq!(town.head_office(&publish).await.unwrap()["version"], 2);
    let parameters_alone = ["policy", "parameters", "publish", "--effective-from", "2026-11-23"];
    let refused = town.head_office(&parameters_alone).await.unwrap_err().to_string();
    assert!(refused.contains("nothing was approved since version 2"), "{refused}");
    // What was refused says so, with words that the store reads.
    std::fs::write(&own, "no_points_skus = [\"tea\"]\n").unwrap();
    let no = town.head_office(&propose).await.unwrap()["number"].to_string();
    let refuse = ["policy", "parameters", "refuse", &no, "--note", "not in December", "--by", "zhao"];
    assert_eq!(town.head_office(&refuse).await.unwrap()["state"], "refused");
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    let (_, known) = send(&shop, Method::GET, "/v1/parameters/proposals", &Value::Null).await;
    assert_eq!((&known[0]["state"], &known[0]["note"]), (&"refused".into(), &"not in December".into()));
    drop(shop);
    town.close().await.unwrap();
}

/// The chapters about people and silence, through the till's API.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_and_the_ladder_hold_at_the_till() {
    const CHAPTERS: &str = r#"
[ladder]
rungs = [{ after_minutes = 60, value_minor_max = 500 }]

[day]
close_reminder_minutes = 30

[permissions]
default_role = "cashier"
[[permissions.roles]]
code = "cashier"
name = "Cashier"
may = ["load_card", "markdown"]
markdown_share_ppm_max = 100000
[[permissions.roles]]
code = "manager"
name = "Manager"
operators = ["W7"]
may = ["load_card", "markdown", "void"]
"#;
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(folder.path());
    plan.policy = document(CHAPTERS);
    let town = Town::build(&plan).await.unwrap();
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    let members = folder.path().join("members.csv");
    std::fs::write(&members, "number,name,tier\n8800001,张三,\n").unwrap();
    town.head_office(&["member", "import", members.to_str().unwrap()]).await.unwrap();
    let card = cards::of_household(1);
    let owners = folder.path().join("cards.csv");
    std::fs::write(&owners, format!("number,product,member\n{},SV,8800001\n", card.reveal())).unwrap();
    town.head_office(&["card", "import", owners.to_str().unwrap()]).await.unwrap();
    shop.download().await.unwrap();
    open(&shop, "2026-11-22").await;
    let load =
        json!({ "currency": "CNY", "amount_minor": 5_000, "tenders": [{ "tender": "cash", "amount_minor": 5_000 }] });
    let mut to_owner = load.clone();
    to_owner["member"] = serde_json::to_value(shop.till.owner(card).await).unwrap();
    let sold = post(&shop, &format!("/v1/cards/{}/sell", card.reveal()), &to_owner).await;
    assert_eq!(sold["decision"], "approved", "{sold}");

    // A cashier takes off a tenth and no more, and calls somebody for a void.
    let marked = |off: i64, operator: &str| {
        json!({
            "currency": "CNY", "operator": operator,
            "lines": [{ "sku": "tea", "quantity_thousandths": 1_000, "gross_minor": 1_000, "net_minor": 1_000 - off,
                "markdowns": [{ "amount_minor": off, "reason": "dented" }] }],
            "tenders": [{ "tender": "cash", "amount_minor": 1_000 - off }],
        })
    };
    let refused = post(&shop, "/v1/sales", &marked(101, "W1")).await;
    assert_eq!((&refused["code"], &refused["roles"]), (&"role_denied".into(), &json!(["manager"])), "{refused}");
    assert_eq!(post(&shop, "/v1/sales", &marked(100, "W1")).await["decision"], "approved");
    let receipt = post(&shop, "/v1/sales", &marked(900, "W7")).await;
    assert_eq!(receipt["decision"], "approved", "{receipt}");
    let path = format!("/v1/sales/{}/void", receipt["entry"].as_str().unwrap());
    let refused = post(&shop, &path, &json!({ "reason": "mistake", "operator": "W1" })).await;
    assert_eq!(refused["code"], "role_denied", "{refused}");
    let called = post(&shop, &path, &json!({ "reason": "mistake", "operator": "W1", "approver": "W7" })).await;
    assert_eq!(called["decision"], "approved", "{called}");

    // An hour of silence: the card of an owner pays five yuan, the line being down; once it is up, all of it.
    let spend = |amount: i64| {
        json!({
            "currency": "CNY", "lines": [{ "sku": "tea", "quantity_thousandths": 1_000, "gross_minor": amount, "net_minor": amount }],
            "tenders": [{ "tender": "stored_value", "amount_minor": amount, "card": card.reveal() }],
        })
    };
    shop.wire.cut(true);
    assert_eq!(post(&shop, "/v1/sales", &spend(501)).await["decision"], "approved", "not so long yet");
    town.clock.wind_ms(3_600_000);
    let refused = post(&shop, "/v1/sales", &spend(501)).await;
    assert_eq!(
        (&refused["code"], &refused["available_here_minor"]),
        (&"offline_limit".into(), &500.into()),
        "{refused}"
    );
    assert_eq!(post(&shop, "/v1/sales", &spend(500)).await["decision"], "approved");
    let loaded = post(&shop, &format!("/v1/cards/{}/reload", card.reveal()), &load).await;
    assert_eq!(loaded["decision"], "approved", "loads are never limited: {loaded}");
    let status = send(&shop, Method::GET, "/v1/status", &Value::Null).await.1;
    assert_eq!(status["ladder"]["value_minor_max"], 500, "{status}");
    assert!(status["alarms"].to_string().contains("which cards were reported lost"), "{status}");
    shop.wire.cut(false);
    shop.download().await.unwrap();
    assert_eq!(post(&shop, "/v1/sales", &spend(501)).await["decision"], "approved");
    // The day's hours end at midnight; half an hour later somebody is reminded.
    town.clock.wind_ms(15 * 3_600_000 + 1_800_000);
    let status = send(&shop, Method::GET, "/v1/status", &Value::Null).await.1;
    assert!(status["alarms"].to_string().contains("day 2026-11-22 is still open"), "{status}");
    drop(shop);
    town.close().await.unwrap();
}

/// Eight tills at once, a budget for five of their baskets: five get it, whoever they are, and not a cent more is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_not_given_twice_to_tills_that_sell_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    let own = folder.path().join("own.toml");
    let parameters =
        OWN.replace("from = \"2026-11-23\", to = \"2026-11-25\"", "from = \"2026-11-22\", to = \"2026-11-24\"");
    std::fs::write(&own, parameters.replace("budget_minor = 300", "budget_minor = 1000")).unwrap();
    let propose = ["policy", "parameters", "propose", own.to_str().unwrap(), "--store", "S1", "--by", "li"];
    town.head_office(&propose).await.unwrap();
    town.head_office(&["policy", "parameters", "approve", "1", "--by", "zhao"]).await.unwrap();
    town.head_office(&["policy", "parameters", "publish", "--effective-from", "2026-11-22"]).await.unwrap();
    shop.download().await.unwrap();
    open(&shop, "2026-11-22").await;
    let mut sale = basket(&[("tea", 1_000)]);
    sale.as_object_mut().unwrap().remove("member_card");
    sale["tenders"] = json!([{ "tender": "cash", "amount_minor": 800 }]);
    let sold = futures_of(&shop, &sale, 8).await;
    let approved = sold.iter().filter(|answer| answer["decision"] == "approved").count();
    assert_eq!((approved, given(&shop).await), (5, 1_000), "{sold:?}");
    shop.upload_all().await.unwrap();
    assert_eq!(town.rerate().await.unwrap(), (5, Vec::new()));
    drop(shop);
    town.close().await.unwrap();
}

async fn futures_of(shop: &Arc<Shop>, sale: &Value, count: usize) -> Vec<Value> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (shop, sale) = (shop.clone(), sale.clone());
        tasks.spawn(async move { post(&shop, "/v1/sales", &sale).await });
    }
    tasks.join_all().await
}

/// A day's limit of a card is counted where it pays; what is voided was never spent, what is given back was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_pays_no_more_in_a_day_than_its_product_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(folder.path());
    plan.policy = document("").replace("issuer = \"E1\"", "issuer = \"E1\"\nspend_day_minor_max = 1000");
    let town = Town::build(&plan).await.unwrap();
    let (shop, card) = (town.shop("S1".parse().unwrap()).unwrap(), cards::of_household(1));
    open(&shop, "2026-11-22").await;
    let load =
        json!({ "currency": "CNY", "amount_minor": 5_000, "tenders": [{ "tender": "cash", "amount_minor": 5_000 }] });
    let sold = post(&shop, &format!("/v1/cards/{}/sell", card.reveal()), &load).await;
    assert_eq!(sold["decision"], "approved", "{sold}");
    let spend = async |amount: i64| {
        let line = json!({ "sku": "tea", "quantity_thousandths": 1_000, "gross_minor": amount, "net_minor": amount });
        let tender = json!({ "tender": "stored_value", "amount_minor": amount, "card": card.reveal() });
        post(&shop, "/v1/sales", &json!({ "currency": "CNY", "lines": [line], "tenders": [tender] })).await
    };
    let first = spend(700).await;
    assert_eq!(first["decision"], "approved", "{first}");
    let refused = spend(301).await;
    assert_eq!((&refused["code"], &refused["available_here_minor"]), (&"spend_limit".into(), &300.into()), "{refused}");
    let path = format!("/v1/sales/{}/void", first["entry"].as_str().unwrap());
    assert_eq!(post(&shop, &path, &json!({ "reason": "mistake" })).await["decision"], "approved");
    let second = spend(1_000).await;
    assert_eq!(second["decision"], "approved", "{second}");
    let back = json!({ "receipt": second["entry"], "reason": "broken", "items": [{ "line": 0, "quantity_thousandths": 1_000 }] });
    assert_eq!(post(&shop, "/v1/returns", &back).await["decision"], "approved");
    assert_eq!(spend(1).await["code"], "spend_limit", "goods that come back do not open the limit again");
    post(&shop, "/v1/day/close", &json!({})).await;
    town.clock.wind_ms(DAY_MS);
    open(&shop, "2026-11-23").await;
    assert_eq!(spend(1_000).await["decision"], "approved", "a new day has a new limit");
    drop(shop);
    town.close().await.unwrap();
}
