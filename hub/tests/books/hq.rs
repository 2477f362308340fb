//! Head office through its API: who is let in, how lists are read, that it says what the command line says, and that two people approve.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use huitong_hub::api;
use huitong_hub::config::HubConfig;
use huitong_hub::hub::Hub;
use huitong_hub::settle::turn;
use huitong_hub::store::{StoreError, exception, hq_token};
use huitong_protocol::reconcile::{Class, Finding};
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::time::Instant;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::settle::day_one;
use crate::shop::Town;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem, when it has all that a problem must have.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert_eq!(body["type"], format!("urn:huitong:problem:{}", body["code"].as_str().unwrap()));
        assert!(body["title"].is_string() && body["detail"].is_string() && body["retryable"].is_boolean(), "{body}");
        (self.status.as_u16(), body["code"].as_str().unwrap().to_owned())
    }
}

/// Head office's API over a town.
struct Office {
    router: Router,
    token: String,
}

impl Office {
    async fn of(town: &Town, name: &str) -> Self {
        let hub = Hub::new(HubConfig::default(), town.store.clone(), town.clock()).await.unwrap();
        Self { router: api::router(hub), token: token(town, name) }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), 16 << 20).await.unwrap();
        Answer { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        self.ask("GET", &format!("/v1/hq{path}"), &[("authorization", &bearer), ("accept", accept)], "").await
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_as(path, "application/json").await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        self.ask("POST", &format!("/v1/hq{path}"), &[("authorization", &bearer)], &body.to_string()).await
    }
}

fn say(town: &Town, line: &str) -> String {
    let (code, said) = town.say(line);
    assert_eq!(code, 0, "{line}: {said}");
    said
}

fn token(town: &Town, name: &str) -> String {
    let made: Value = serde_json::from_str(&say(town, &format!("token create {name} --json"))).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

fn raise(town: &Town, subject: &str) {
    let (store, subject) = (Some("S1".parse().unwrap()), subject.to_owned());
    let finding = Finding { class: Class::Quarantined, store, subject, evidence: "found".to_owned().into() };
    town.store.write_blocking(move |tx| exception::raise(tx, &finding, Instant(1_790_000_000_000))).unwrap();
}

/// The routes that only look, with what each must not say.
const LOOKS: [&str; 19] = [
    "/status",
    "/risk",
    "/stores",
    "/days",
    "/exceptions",
    "/exceptions/1",
    "/settlements",
    "/settlements/1",
    "/settlements/1/export",
    "/settlements/1/statement",
    "/accounts/1",
    "/cards/6601000000000001",
    "/members?find=x",
    "/member-requests",
    "/claims",
    "/policies",
    "/verify",
    "/audit",
    "/refused",
];

#[tokio::test]
async fn words_are_in_the_callers_language_and_codes_are_not() {
    let town = Town::new(Scheme::Pool);
    let office = Office::of(&town, "li").await;
    let bearer = format!("Bearer {}", office.token);
    let ask = async |language: &str| {
        let headers = [("authorization", bearer.as_str()), ("accept-language", language)];
        office.ask("GET", "/v1/hq/exceptions/99", &headers, "").await
    };
    let (english, chinese) = (ask("fr").await, ask("zh-CN, en;q=0.5").await);
    assert_eq!((english.header("content-language"), chinese.header("content-language")), ("en", "zh-CN"));
    assert_eq!(english.problem(), chinese.problem());
    let (english, chinese) = (english.json(), chinese.json());
    assert_eq!(english["detail"], chinese["detail"], "for whoever writes the program");
    assert!(english["title"] != chinese["title"] && english["action"] != chinese["action"], "{chinese}");
}

#[tokio::test]
async fn who_has_no_good_token_gets_nothing() {
    let town = Town::new(Scheme::Pool);
    let office = Office::of(&town, "li").await;
    assert_eq!(office.get("/status").await.status, StatusCode::OK);
    let expired = {
        let hash = "expired";
        town.store
            .write_blocking::<_, StoreError, _>(move |tx| {
                hq_token::insert(tx, "old", hash, Instant(0), Some(Instant(1_000)))
            })
            .unwrap();
        "Bearer expired"
    };
    let spaced = format!("Basic {}", office.token);
    for path in LOOKS {
        for headers in [
            &[][..],
            &[("authorization", "Bearer nonsense")],
            &[("authorization", expired)],
            &[("authorization", &spaced)],
        ] {
            let answer = office.ask("GET", &format!("/v1/hq{path}"), headers, "").await;
            assert_eq!(answer.problem(), (401, "unauthorized".to_owned()), "{path}");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"huitong-hq\"");
        }
    }
    let answer = office.ask("POST", "/v1/hq/settlements", &[], "{}").await;
    assert_eq!(answer.problem().0, 401);
    // Written beside the answers.
    let listed = loop {
        let listed: Value = serde_json::from_str(&say(&town, "token list --json")).unwrap();
        if listed[0]["last_used_ms"].is_i64() {
            break listed;
        }
        tokio::task::yield_now().await;
    };
    assert!(!listed.to_string().contains(&office.token), "only the hash is kept");
    say(&town, "token revoke li --by wang");
    assert_eq!(office.get("/status").await.problem().0, 401, "from the next request on");
    assert_eq!(town.say("token revoke li").0, 3);
    let again = Office::of(&town, "li").await;
    assert_eq!(again.get("/status").await.status, StatusCode::OK, "a name may get another token");
    assert_eq!(town.say("token create li").0, 3, "but not two at once");
}

#[tokio::test]
async fn a_look_up_does_not_wait_for_the_writer() {
    let town = Town::new(Scheme::Pool);
    let office = Office::of(&town, "li").await;
    let (begins, begun) = std::sync::mpsc::channel();
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let store = town.store.clone();
    let writing = std::thread::spawn(move || {
        store.write_blocking(move |_| {
            let _ = begins.send(());
            let _ = held.recv();
            Ok::<_, StoreError>(())
        })
    });
    begun.recv().unwrap();
    for _ in 0..3 {
        // The token was never used, which is to be written down.
        let looked = tokio::time::timeout(std::time::Duration::from_secs(20), office.get("/stores")).await;
        assert_eq!(looked.expect("a look-up waits for the writer").status, StatusCode::OK);
    }
    drop(let_go);
    writing.join().unwrap().unwrap();
    while town.store.read_blocking(hq_token::list).unwrap()[0].last_used_ms.is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_gets_a_name_that_history_says_of_somebody_else() {
    let town = Town::new(Scheme::Pool);
    for name in ["hub", "HUB", "unknown"] {
        let (code, said) = town.say(&format!("token create {name}"));
        assert!(code == 3 && said.contains("calls itself"), "{name}: {code} {said}");
    }
    raise(&town, "S1-1-1");
    assert_eq!(town.say("exception assign 1 --to li --by hub").0, 3);
    let office = Office::of(&town, "li").await;
    let answer = office.post("/exceptions/1/assign", json!({ "to": "Hub" })).await;
    assert_eq!(answer.problem(), (422, "field_invalid".to_owned()), "{}", answer.text);
}

#[tokio::test]
async fn a_policy_that_can_no_longer_be_read_hides_no_other() {
    let town = Town::new(Scheme::Pool);
    // What an earlier program published, and what a disk did to another one.
    town.store
        .write_blocking::<_, StoreError, _>(|tx| {
            use huitong_protocol::bundle::{Bundle, KeyId};
            let document = "name = 'old'\ncurrency = 'CNY'\ntenders = []\ndiscount_days = 'fri'\n".to_owned();
            let bundle = Bundle::new("G1".parse().unwrap(), 2, "2020-01-01".parse().unwrap(), KeyId::of(&[]), document);
            for (version, bytes) in [(2_i64, bundle.encode()), (3, vec![0xc1])] {
                tx.execute(
                    "INSERT INTO policy (version, effective_from, bundle, signature, published_at_ms) VALUES ($1, '2020-01-01', $2, $3, 0)",
                    &[version.into(), (&bytes).into(), (&Vec::new()).into()],
                )?;
            }
            Ok(())
        })
        .unwrap();
    let office = Office::of(&town, "li").await;
    let listed = office.get("/policies").await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.text);
    let items = listed.json()["items"].clone();
    assert!(items[0]["name"].is_string() && items[0]["unreadable"].is_null(), "{items}");
    assert!(items[1]["name"].is_null() && items[1]["key"].is_string(), "{items}");
    assert!(items[1]["unreadable"].as_str().unwrap().contains("discount_days"), "{items}");
    assert!(items[2]["unreadable"].is_string() && items[2]["effective_from"] == "2020-01-01", "{items}");
    let next = office.get("/policies?limit=1").await.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(office.get(&format!("/policies?limit=1&cursor={next}")).await.json()["items"][0]["version"], 2);
    let said = say(&town, "policy list");
    assert!(said.contains("(unreadable)") && said.contains("version 2: ") && said.contains("version 3: "), "{said}");
    // Whoever sizes grants by it goes on too.
    let (hub, now) =
        (Hub::new(HubConfig::default(), town.store.clone(), town.clock()).await.unwrap(), town.clock().now());
    let size = town.store.read_blocking(|tx| hub.grant_size(tx, now)).unwrap();
    assert_eq!(size, huitong_protocol::policy::GrantSize::default());
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem_that_names_it_and_no_card() {
    let town = Town::new(Scheme::Pool);
    let office = Office::of(&town, "li").await;
    let check = async |path: &str, status: u16, code: &str, says: &str| {
        let answer = office.get(path).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{path}: {}", answer.text);
        assert!(answer.text.contains(says), "{path}: {}", answer.text);
        assert!(!answer.text.contains("66010000"), "a card's number is in {}", answer.text);
    };
    check("/nothing/6601000000000001", 404, "not_found", "no such path").await;
    check("/exceptions?limit=0", 422, "field_invalid", "1 to 200").await;
    check("/exceptions?limit=201", 422, "field_invalid", "1 to 200").await;
    check("/exceptions?cursor=%21", 422, "field_invalid", "cursor").await;
    check("/exceptions?clas=fork", 400, "malformed", "clas").await;
    check("/exceptions?class=forks", 400, "malformed", "class").await;
    check("/exceptions/0", 422, "field_invalid", "number").await;
    check("/exceptions/9", 404, "not_found", "no exception 9").await;
    check("/settlements/9", 404, "not_found", "no run 9").await;
    check("/settlements/9/export", 404, "not_found", "no run 9").await;
    check("/settlements/9/statement", 404, "not_found", "no run 9").await;
    check("/settlements/9/statement?party=moon", 422, "field_invalid", "party").await;
    check("/accounts/6601000000000001", 404, "not_found", "no card opens").await;
    check("/accounts/66010000000000010000000", 422, "field_invalid", "cards").await;
    check("/cards/6601000000000001", 404, "not_found", "no card").await;
    check("/cards/66010000x0000001", 422, "field_invalid", "6 to 24 digits").await;
    check("/members/M9", 404, "not_found", "no member").await;
    check("/policies/9", 404, "not_found", "no policy 9").await;
    check("/days?from=2026-01-01&to=2026-12-31", 422, "field_invalid", "92 days").await;
    let answer = office.get_as("/settlements/1/statement", "image/png").await;
    assert_eq!(answer.problem(), (406, "not_acceptable".to_owned()));
    let answer = office.post("/status", json!({})).await;
    assert_eq!((answer.problem(), answer.header("allow")), ((405, "method_not_allowed".to_owned()), "GET,HEAD"));

    raise(&town, "one");
    let post = async |body: &str| {
        let bearer = format!("Bearer {}", office.token);
        let headers = [("authorization", bearer.as_str()), ("x-request-id", "till-7.a")];
        office.ask("POST", "/v1/hq/exceptions/1/resolve", &headers, body).await
    };
    for (body, status, code, says) in [
        ("{", 400, "malformed", "EOF"),
        ("{} {}", 422, "field_invalid", "note"),
        ("{\"note\": 5}", 422, "field_invalid", "note"),
        ("{\"note\": \"x\", \"more\": 1}", 422, "field_invalid", "more"),
        ("{\"note\": \" \"}", 422, "field_invalid", "is empty"),
        ("{\"note\": \"x\", \"resolution\": \"gone\"}", 422, "field_invalid", "resolution"),
    ] {
        let answer = post(body).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{body}: {}", answer.text);
        assert!(answer.text.contains(says), "{body}: {}", answer.text);
        assert_eq!(answer.header("x-request-id"), "till-7.a");
    }
    let large = format!("{{\"note\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(post(&large).await.problem(), (413, "body_too_large".to_owned()));
}

#[tokio::test]
async fn a_second_person_decides_on_a_stores_parameters() {
    let town = Town::new(Scheme::Pool);
    let (li, wang) = (Office::of(&town, "li").await, Office::of(&town, "wang").await);
    let store = town.say("store list --json").1;
    let store: Value = serde_json::from_str(&store).unwrap();
    let store = store[0]["id"].as_str().unwrap();
    let propose = async |document: &str| li.post("/parameters", json!({ "store": store, "document": document })).await;
    let refused =
        propose("[points]\nmultiplier_ppm = 9000000\nwhen = { from = \"2026-12-01\", to = \"2026-12-01\" }\n").await;
    assert_eq!(refused.problem(), (422, "field_invalid".to_owned()), "{}", refused.text);
    assert!(
        refused.text.contains("line 2, column 18: points.multiplier_ppm: is 9000000; the bound"),
        "{}",
        refused.text
    );
    let unread = propose("points = 7\n").await;
    assert!(unread.text.contains("points"), "{}", unread.text);
    let foreign = li.post("/parameters", json!({ "store": "S99", "document": "" })).await;
    assert_eq!(foreign.problem(), (409, "refused".to_owned()), "{}", foreign.text);

    let made = propose("no_points_skus = [\"1\"]\n").await;
    assert_eq!((made.status, made.json()["number"].as_i64()), (StatusCode::CREATED, Some(1)), "{}", made.text);
    assert_eq!(propose("no_points_skus = [\"1\"]\n").await.json()["number"], 1, "said twice, it is one");
    let own = li.post("/parameters/1/approve", json!({})).await;
    assert_eq!(own.problem(), (409, "refused".to_owned()), "{}", own.text);
    let later = propose("no_points_skus = [\"2\"]\n").await.json()["number"].as_i64();
    assert_eq!(later, Some(2));
    assert_eq!(wang.post("/parameters/2/approve", json!({ "note": "fine" })).await.json()["state"], "approved");
    assert_eq!(li.get("/parameters/1").await.json()["state"], "superseded", "an older one has lost its place");
    assert_eq!(wang.post("/parameters/1/approve", json!({})).await.problem().0, 409);
    let page = li.get("/parameters?limit=1").await.json();
    assert_eq!((&page["items"][0]["number"], page["next"].is_string()), (&2.into(), true), "{page}");
    let next = li.get(&format!("/parameters?limit=1&cursor={}", page["next"].as_str().unwrap())).await.json();
    assert_eq!(next["items"][0]["number"], 1);
    assert_eq!(li.get("/parameters/9").await.problem().0, 404);

    // A lost answer is asked for again: the same words of the same person change nothing and are no fault.
    let again = wang.post("/parameters/2/approve", json!({ "note": " fine" })).await;
    assert_eq!((again.status, again.json()["state"].as_str()), (StatusCode::OK, Some("approved")), "{}", again.text);
    assert_eq!(wang.post("/parameters/2/approve", json!({ "note": "other words" })).await.problem().0, 409);
    assert_eq!(wang.post("/parameters/2/refuse", json!({ "note": "fine" })).await.problem().0, 409);
    assert_eq!(propose("no_points_skus = [\"2\"]\n").await.json()["number"], 2, "also when it was decided since");
    assert_eq!(propose("no_points_skus = [\"3\"]\n").await.json()["number"], 3);
    for _ in 0..2 {
        let refused = wang.post("/parameters/3/refuse", json!({ "note": "not in December" })).await;
        assert_eq!(refused.json()["state"], "refused", "{}", refused.text);
    }
    assert_eq!(propose("no_points_skus = [\"3\"]\n").await.json()["number"], 4, "what was refused is asked for anew");
    // What was approved and never went out has lost its place to the next that is approved; it is not said to be published.
    assert_eq!(wang.post("/parameters/4/approve", json!({})).await.json()["state"], "approved");
    let before = li.get("/parameters/2").await.json();
    assert_eq!((&before["state"], &before["published_version"]), (&"superseded".into(), &Value::Null), "{before}");
    let deeds = li.get("/audit").await.text;
    assert_eq!(deeds.matches("parameters.approve").count(), 2, "{deeds}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_run_is_computed_at_a_time_whoever_asks() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, _two, _three] = day_one(&mut town);
    town.close(&mut one);
    let office = Office::of(&town, "li").await;
    let run = async || office.post("/settlements", json!({ "provisional": true })).await;
    let under_way = turn(&town.store).unwrap();
    let refused = run().await;
    assert_eq!(refused.problem(), (409, "run_under_way".to_owned()), "{}", refused.text);
    assert_eq!(refused.json()["retryable"], true);
    let (code, said) = town.say("settle run --provisional");
    assert!(code == 3 && said.contains("a run is being computed"), "{code}: {said}");
    assert_eq!(office.get("/settlements").await.status, StatusCode::OK, "whoever looks is served meanwhile");
    drop(under_way);
    // The daemon and two command lines at once: one makes the run, and nobody's is computed in vain.
    let (served, said) = tokio::join!(run(), async {
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let lines = [(); 2].map(|()| scope.spawn(|| town.say("settle run --provisional")));
                lines.map(|line| line.join().unwrap())
            })
        })
    });
    let made = usize::from(served.status == StatusCode::CREATED)
        + said.iter().filter(|(code, said)| *code == 0 && said.starts_with("Run 1:")).count();
    let waits =
        |text: &str| text.contains("a run is being computed") || text.contains("othing has arrived since run 1");
    assert_eq!(made, 1, "{} {said:?}", served.text);
    assert!(said.iter().all(|(_, said)| said.starts_with("Run 1:") || waits(said)), "{said:?}");
    assert!(
        served.status == StatusCode::CREATED || served.status == StatusCode::OK || waits(&served.text),
        "{}",
        served.text
    );
    assert_eq!(run().await.status, StatusCode::OK, "nothing is left locked");
    assert_eq!(office.get("/settlements").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn pages_neither_repeat_nor_hide_what_was_there_while_more_comes_in() {
    let town = Town::new(Scheme::Pool);
    let office = Office::of(&town, "li").await;
    (0..7).for_each(|n| raise(&town, &format!("subject {n}")));
    let (mut seen, mut path, mut pages) = (Vec::new(), "/exceptions?limit=3&severity=alarm".to_owned(), 0);
    loop {
        let page = office.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        let body = page.json();
        seen.extend(body["items"].as_array().unwrap().iter().map(|row| row["number"].as_i64().unwrap()));
        pages += 1;
        // Somebody raises one, and somebody closes one that was given already.
        raise(&town, &format!("meanwhile {pages}"));
        if pages == 1 {
            let done = office.post("/exceptions/2/resolve", json!({ "note": "looked into" })).await;
            assert_eq!(done.status, StatusCode::OK, "{}", done.text);
        }
        if body["next"].is_null() {
            assert_eq!(page.header("link"), "");
            break;
        }
        let link = page.header("link");
        let (url, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
        assert_eq!(rest, "; rel=\"next\"");
        assert!(url.contains("limit=3&severity=alarm&cursor="), "{url}");
        path = url.strip_prefix("/v1/hq").unwrap().to_owned();
    }
    assert_eq!(seen, (1..=i64::try_from(seen.len()).unwrap()).collect::<Vec<_>>(), "in order, each once");
    assert!(seen.len() >= 7, "{seen:?}");
    let stores = office.get("/stores?limit=2").await.json();
    let next = stores["next"].as_str().unwrap();
    let rest = office.get(&format!("/stores?limit=2&cursor={next}")).await.json();
    let ids = |page: &Value| page["items"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    assert_eq!((ids(&stores), ids(&rest)), (vec![json!("S1"), json!("S2")], vec![json!("S3")]));
}

#[tokio::test]
async fn exceptions_are_worked_on_by_name_and_it_is_all_written_down() {
    let town = Town::new(Scheme::Pool);
    let office = Office::of(&town, "li").await;
    raise(&town, "S1-1-1");
    let assigned = office.post("/exceptions/1/assign", json!({ "to": "wang" })).await.json();
    assert_eq!((&assigned["state"], &assigned["owner"]), (&json!("assigned"), &json!("wang")));
    let again = office.post("/exceptions/1/assign", json!({ "to": "wang" })).await.json();
    assert_eq!(again, assigned, "asking again changes nothing");
    let wanted = office.get("/exceptions?owner=wang").await.json();
    assert_eq!(wanted["items"][0]["class"], "quarantined");
    let body = json!({ "note": "mended", "resolution": "unfounded" });
    let resolved = office.post("/exceptions/1/resolve", body.clone()).await.json();
    assert_eq!((&resolved["state"], &resolved["resolved_by"]), (&json!("resolved"), &json!("li")));
    assert!(resolved["resolved_at"].as_str().unwrap().ends_with('Z'), "{resolved}");
    assert_eq!(resolved["evidence"]["lines"][0]["found"], "found");
    assert_eq!(office.post("/exceptions/1/resolve", body).await.json(), resolved);
    let other = office.post("/exceptions/1/resolve", json!({ "note": "else" })).await;
    assert_eq!(other.problem(), (409, "refused".to_owned()));
    assert!(!other.text.contains("huitong-hub"), "no commands in an answer of the API: {}", other.text);
    office.post("/exceptions/1/reopen", json!({ "note": "not mended" })).await;
    let shown: Value = serde_json::from_str(&say(&town, "exception show 1 --json")).unwrap();
    assert_eq!(shown["state"], "open");
    assert_eq!(shown["history"].as_array().unwrap().len(), 4);
    let deeds = office.get("/audit").await.json();
    let deeds: Vec<String> = deeds["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|deed| {
            format!(
                "{} {} {}",
                deed["actor"].as_str().unwrap(),
                deed["via"].as_str().unwrap(),
                deed["action"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        deeds[1..],
        ["li api exception.assign", "li api exception.resolve", "li api exception.reopen"],
        "the first is the token's own making"
    );
    let listed: Value = serde_json::from_str(&say(&town, "audit list --json")).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), deeds.len());
    let status = office.get("/status").await.json();
    assert_eq!((&status["exceptions"]["alarm"], &status["stores"]), (&json!(1), &json!(3)));
    assert_eq!(say(&town, "exception list --class quarantined --severity alarm --store S1").lines().count(), 2);
    assert_eq!(say(&town, "exception list --class fork").lines().count(), 1);
}

#[tokio::test]
async fn a_statement_is_the_same_by_api_and_command_line_byte_for_byte() {
    let mut town = Town::new(Scheme::Pool);
    let mut shops = day_one(&mut town);
    town.sell_goods(&mut shops[0], &[("supplier:X", 500)]);
    shops.iter_mut().for_each(|shop| town.close(shop));
    let office = Office::of(&town, "li").await;
    let made = office.post("/settlements", json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!((&made.json()["id"], &made.json()["currency"]), (&json!(1), &json!("CNY")));
    let again = office.post("/settlements", json!({})).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, json!({ "nothing_new_since": 1 })));
    for (accept, format) in [("text/plain", "text"), ("text/csv", "csv"), ("application/json", "json")] {
        let by_accept = office.get_as("/settlements/1/statement", accept).await;
        let by_name = office.get_as(&format!("/settlements/1/statement?format={format}"), "*/*").await;
        let by_command = say(&town, &format!("statement show 1 --format {format}"));
        assert!(by_accept.header("content-type").starts_with(accept), "{}", by_accept.header("content-type"));
        assert_eq!((&by_accept.text, &by_name.text), (&by_command, &by_command));
    }
    let one = office.get_as("/settlements/1/statement?party=store:S2&lang=en", "text/plain").await;
    assert_eq!(one.text, say(&town, "statement show 1 --party store:S2 --lang en"));
    let supplier = office.get_as("/settlements/1/statement?party=supplier:X&lang=en", "text/plain").await;
    assert_eq!(supplier.text, say(&town, "statement show 1 --party supplier:X --lang en"));
    assert!(supplier.text.contains("net to pay") && supplier.text.contains("-5.00"), "{}", supplier.text);
    assert_eq!(office.get("/settlements/1/statement?party=store:S9").await.problem().0, 404);
}

#[tokio::test]
async fn two_people_set_the_budget_behind_overdrafts() {
    let town = Town::new(Scheme::Pool);
    let (li, wang) = (Office::of(&town, "li").await, Office::of(&town, "wang").await);
    let budget_minor = |answer: Answer| answer.json()["budget_minor"].as_i64().unwrap();
    let sheet = li.get("/risk").await.json();
    let figures = [
        "budget",
        "free",
        "granted",
        "used",
        "recovered",
        "written_off",
        "owed",
        "drawable",
        "exposure",
        "reserved",
        "excess",
    ];
    for name in figures {
        assert_eq!(sheet[format!("{name}_minor")], 0, "{name}: {sheet}");
    }
    assert_eq!((&sheet["allowed"], &sheet["currency"]), (&json!(false), &json!("CNY")));
    let asked = json!({"amount_minor": 5_000, "note": "for the winter"});
    assert_eq!(li.post("/risk/budget", json!({"amount_minor": 5_000})).await.problem().1, "field_invalid", "no note");
    assert_eq!(li.post("/risk/budget", json!({"amount_minor": -1})).await.problem().1, "field_invalid");
    assert_eq!(budget_minor(li.post("/risk/budget", asked.clone()).await), 0);
    assert_eq!(budget_minor(li.post("/risk/budget", asked.clone()).await), 0, "one person alone changes nothing");
    assert_eq!(budget_minor(wang.post("/risk/budget", asked.clone()).await), 5_000);
    assert_eq!(budget_minor(wang.post("/risk/budget", asked).await), 5_000, "asked again after a lost answer");
    let sheet = li.get("/risk").await.json();
    assert_eq!((&sheet["free_minor"], &sheet["exposure_minor"]), (&json!(5_000), &json!(0)), "no store has a line");
    let write_off = json!({"account": 1, "note": "gone"});
    assert_eq!(li.post("/risk/write-off", write_off).await.problem().1, "refused", "it owes nothing");
}

#[tokio::test]
async fn a_run_is_approved_once_by_a_second_person_and_the_export_says_so() {
    let mut town = Town::new(Scheme::Pool);
    let [mut one, mut two, mut three] = day_one(&mut town);
    town.close(&mut one);
    let (maker, checker) = (Office::of(&town, "Li").await, Office::of(&town, "wang").await);
    let draft = maker.post("/settlements", json!({ "provisional": true })).await;
    assert_eq!(draft.status, StatusCode::CREATED, "{}", draft.text);
    let refused = async |office: &Office, run: i64, says: &str| {
        let answer = office.post(&format!("/settlements/{run}/approve"), json!({ "note": "fine" })).await;
        assert_eq!(answer.problem(), (409, "refused".to_owned()), "{}", answer.text);
        assert!(answer.text.contains(says), "{}", answer.text);
    };
    refused(&checker, 1, "only a booked and final run").await;
    town.close(&mut two);
    town.close(&mut three);
    say(&town, "settle run --by li");
    refused(&maker, 2, "was prepared by li").await;
    assert_eq!(town.say("settle approve 2 --by LI").0, 3, "however it is written");
    let (before, waiting) = (maker.get("/settlements/2/export").await, maker.get("/settlements/2").await.json());
    assert_eq!((&waiting["run"]["state"], &waiting["run"]["prepared_by"]), (&json!("final"), &json!("li")));
    assert_eq!(before.header("content-type"), "text/csv; charset=utf-8");
    assert!(before.text.starts_with("run,state,approved_by,approved_at,prepared_by,"), "{}", before.text);
    assert!(before.text.lines().skip(1).all(|line| line.starts_with("2,final,,,li,")), "{}", before.text);
    for note in ["fine\u{1b}[2J".to_owned(), "x".repeat(2_001)] {
        let answer = checker.post("/settlements/2/approve", json!({ "note": note })).await;
        assert_eq!(answer.problem(), (422, "field_invalid".to_owned()), "{}", answer.text);
        assert!(answer.json()["detail"].as_str().unwrap().starts_with("note: has "), "{}", answer.text);
    }
    let approved = checker.post("/settlements/2/approve", json!({ "note": "compared with the bank" })).await.json();
    assert_eq!((&approved["state"], &approved["approved_by"]), (&json!("approved"), &json!("wang")));
    refused(&checker, 2, "was approved by wang").await;
    refused(&maker, 2, "was approved by wang").await;
    let after = maker.get("/settlements/2/export").await.text;
    assert!(after.lines().skip(1).all(|line| line.starts_with("2,approved,wang,2026-")), "{after}");
    assert_eq!(after, say(&town, "settle export 2"));
    let sum: i64 = after.lines().skip(1).map(|line| line.split(',').nth(15).unwrap().parse::<i64>().unwrap()).sum();
    let lines: i64 = town
        .store
        .read_blocking(|tx| huitong_hub::settle::run_sums(tx, huitong_protocol::settlement::run::RunId(2)))
        .unwrap()
        .iter()
        .map(|sum| sum.amount_minor)
        .sum();
    assert_eq!(sum, lines);
    assert!(town.verify().ok, "a name beside a run changes nothing of it");
    let unsigned = town.settle(
        Scheme::Fifo,
        huitong_protocol::settlement::run::Standing::Memo,
        huitong_protocol::settlement::run::Finality::Final,
        None,
    );
    assert_eq!(unsigned.unwrap().record.run.id.0, 3);
    refused(&checker, 3, "memo").await;
}

#[tokio::test]
async fn accounts_cards_days_and_policies_are_shown_and_cards_masked() {
    let mut town = Town::new(Scheme::Pool);
    let mut shops = day_one(&mut town);
    shops.iter_mut().for_each(|shop| town.close(shop));
    let office = Office::of(&town, "li").await;
    let number = town
        .store
        .read_blocking(|tx| {
            tx.query_one("SELECT number FROM card", &[], |row| Ok::<_, StoreError>(row.text(0)?.to_owned()))
        })
        .unwrap()
        .unwrap();
    let account = office.get("/accounts/1").await;
    let view = account.json();
    assert_eq!((&view["balance_minor"], &view["currency"]), (&json!(5_000), &json!("CNY")));
    assert_eq!(view["journal_balance_minor"], 5_000);
    assert_eq!(view["purses"][0]["stores"].as_array().unwrap().len(), 3);
    let card = office.get(&format!("/cards/{number}")).await;
    assert_eq!((&card.json()["account"], &card.json()["status"]), (&json!(1), &json!("active")));
    assert!(!account.text.contains(&number) && !card.text.contains(&number));
    let days = office.get("/days?from=2026-09-01&to=2026-09-01&state=accepted").await.json();
    assert_eq!(days["items"].as_array().unwrap().len(), 3, "{days}");
    assert_eq!(office.get("/days?store=S2").await.json()["items"][0]["store"], "S2");
    let policies = office.get("/policies").await.json();
    assert_eq!(policies["items"][0]["version"], 1);
    let shown = office.get("/policies/1").await.json();
    assert_eq!(shown, {
        let mut value: Value = serde_json::from_str(&say(&town, "policy show 1 --json")).unwrap();
        value["published_at"] = shown["published_at"].clone();
        value
    });
}

#[tokio::test]
async fn a_stopped_card_is_shown_with_what_can_still_be_taken_with_it() {
    let mut town = Town::new(Scheme::Pool);
    let mut shops = day_one(&mut town);
    shops.iter_mut().for_each(|shop| town.close(shop));
    let office = Office::of(&town, "li").await;
    assert_eq!(office.get("/cards/hot").await.json(), json!({ "items": [], "next": null }));
    let number = town
        .store
        .write_blocking(|tx| {
            let account = huitong_protocol::id::AccountId::new(1).unwrap();
            let mut card = huitong_hub::store::organisation::cards_of(tx, account)?.remove(0);
            card.status = huitong_protocol::card::CardStatus::Lost;
            huitong_hub::store::organisation::write_card(tx, &card)?;
            Ok::<_, StoreError>(card.number.reveal().to_owned())
        })
        .unwrap();
    let hot = office.get("/cards/hot").await;
    let item = &hot.json()["items"][0];
    assert_eq!(item["exposed"], json!([{ "unit": "CNY", "exposed_minor": 5_000 }]), "{item}");
    let places: Vec<_> =
        item["places"].as_array().unwrap().iter().map(|at| (&at["store"], &at["exposed_minor"])).collect();
    assert_eq!(places, [(&json!("S1"), &json!(4_000)), (&json!("S3"), &json!(1_000))]);
    assert_eq!(item["untold"], json!(["S1", "S2", "S3"]));
    let at_three = office.get("/cards/hot?store=S3").await.json();
    assert_eq!(at_three["items"][0]["exposed"][0]["exposed_minor"], 1_000);
    let (card, account) = (office.get(&format!("/cards/{number}")).await, office.get("/accounts/1").await);
    assert_eq!(&card.json()["stopped"], item);
    assert_eq!(&account.json()["stopped"][0], item);
    for answer in [&hot, &card, &account] {
        assert!(!answer.text.contains(&number), "{}", answer.text);
    }
    let status = office.get("/status").await.json();
    let sum = json!({ "cards": 1, "untold": 1, "exposed": [{ "unit": "CNY", "exposed_minor": 5_000 }] });
    assert_eq!(status["hot_cards"], sum);

    let list = say(&town, "card hot");
    assert!(list.contains(&number) && list.contains("0 of 3") && list.contains("in all 50.00 CNY can"), "{list}");
    let at_two: Value = serde_json::from_str(&say(&town, "card hot --store S2 --json")).unwrap();
    assert_eq!((&at_two["exposed"], &at_two["cards"][0]["untold"]), (&json!([]), &json!(["S2"])));
    let shown = say(&town, &format!("card show {number}"));
    assert!(shown.contains("0 of 3 stores know; 50.00 CNY can still be taken"), "{shown}");
    let free = say(&town, &format!("card unfreeze {number}"));
    assert!(free.contains("active"), "{free}");
    assert_eq!(office.get("/cards/hot").await.json()["items"], json!([]));
    assert_eq!(office.get(&format!("/cards/{number}")).await.json()["stopped"], Value::Null);
}

#[tokio::test]
async fn verification_is_a_job_that_one_starts_and_all_can_read() {
    let town = Town::new(Scheme::Pool);
    let office = Office::of(&town, "li").await;
    assert_eq!(office.get("/verify").await.json(), json!({ "status": "never" }));
    let started = office.post("/verify", json!({})).await;
    assert_eq!((started.status, started.header("location")), (StatusCode::ACCEPTED, "/v1/hq/verify"));
    let done = loop {
        let status = office.get("/verify").await.json();
        if status["status"] != "running" {
            break status;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (&done["status"], &done["started_by"], &done["report"]["ok"]),
        (&json!("done"), &json!("li"), &json!(true))
    );
    assert!(done["finished_at"].is_string());
}
