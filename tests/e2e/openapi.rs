//! The OpenAPI documents: they describe what is mounted, nothing else, and what is really answered.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use huitong_protocol::openapi::{Method, Row};
use huitong_tests::scenario;
use huitong_tests::shopkeeper;
use huitong_tests::till::{self, Seen};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::conformity::{Document, unresolved};

async fn ask(router: &Router, method: &str, path: &str, token: Option<&str>) -> (StatusCode, String, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let media_type = answer.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
    (answer.status(), media_type, axum::body::to_bytes(answer.into_body(), 16 << 20).await.unwrap().to_vec())
}

/// A path with something in each of its parts.
fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect::<Vec<_>>().join("/")
}

/// Asks without a token for what is described, and with the other method for what is not.
async fn mounted_as_described(router: &Router, rows: &[Row], document: &Value) {
    assert_eq!(
        document["paths"].as_object().unwrap().values().map(|of| of.as_object().unwrap().len()).sum::<usize>(),
        rows.len()
    );
    for Row { method, path, operation } in rows {
        let described = &document["paths"][path][method.as_str()];
        assert!(described["summary"].is_string() && described["operationId"].is_string(), "{path}");
        let (status, _, _) = ask(router, &method.as_str().to_uppercase(), &filled(path), None).await;
        let expected = if operation.is_secured() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        assert_eq!(status, expected, "{} {path}", method.as_str());
        assert_eq!(described["security"] == json!([]), !operation.is_secured(), "{path}");
        let other = if *method == Method::Get { Method::Post } else { Method::Get };
        if !rows.iter().any(|row| (row.method, &row.path) == (other, path)) {
            let (status, _, _) = ask(router, &other.as_str().to_uppercase(), &filled(path), None).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{} {path} is not described", other.as_str());
        }
    }
    assert_eq!(unresolved(document), Vec::<String>::new());
}

#[test]
fn nothing_is_mounted_but_by_the_table_that_is_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut folders = vec![root.join("edge/src"), root.join("hub/src/api/hq")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                // Tests have fakes of their own.
                false => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    if text.split("#[cfg(test)]\nmod tests {").next().unwrap().contains(".route(") {
                        found.push(path);
                    }
                }
            }
        }
    }
    found.retain(|path| !path.ends_with("api/routes.rs") && !path.ends_with("hq/routes.rs"));
    found.retain(|path| !path.to_string_lossy().contains("/src/sync/test"));
    assert!(found.is_empty(), "{found:?}");
}

/// What was wrong with answers seen so far, and how many there were.
static SEEN: Mutex<Option<(Document, usize, Vec<String>)>> = Mutex::new(None);

fn look_at(seen: &Seen<'_>) {
    let mut held = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (document, count, faults) =
        held.get_or_insert_with(|| (Document::new(huitong_edge::api::openapi()), 0, Vec::new()));
    *count += 1;
    let answer = (seen.reply.status, seen.reply.media_type.as_str());
    if let Err(fault) = document.check(seen.method, seen.path, answer, &seen.reply.body) {
        faults.push(fault);
    }
    if let Ok(body) = serde_json::from_slice::<Value>(seen.body)
        && seen.reply.status == 200
        && seen.method == "POST"
        && let Err(fault) = document.check_request("post", seen.path, &body)
    {
        faults.push(format!("{} was taken with what is not described: {fault}", seen.path));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tills_get_what_the_document_says_and_head_office_too() {
    till::observe(look_at);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let played =
        ["quotes.txt", "returns.txt", "payments.txt", "points.txt", "invoices.txt", "till_offline.txt", "holds.txt"];
    for name in played {
        shopkeeper::play(&scenario::read(&folder.join(name)).unwrap()).await.unwrap();
    }
    let steps = scenario::read(&folder.join("vouchers.txt")).unwrap();
    let (town, _folder) = shopkeeper::play_open(&steps).await.unwrap();
    let shop = town.shop("S1".parse().unwrap()).unwrap();
    mounted_as_described(&shop.edge.router(), &huitong_edge::api::rows(), &huitong_edge::api::openapi()).await;
    let hub = huitong_hub::api::router(town.hub.clone());
    let mut document = Document::new(huitong_hub::api::openapi());
    mounted_as_described(&hub, &huitong_hub::api::rows(), document.root()).await;
    let token = town.head_office(&["token", "create", "li"]).await.unwrap()["token"].as_str().unwrap().to_owned();
    let looks = [
        "/status",
        "/stores",
        "/days",
        "/exceptions?state=all",
        "/exceptions/1",
        "/exceptions/999",
        "/settlements",
        "/settlements/1",
        "/settlements/1/export",
        "/settlements/1/statement",
        "/settlements/1/statement?format=csv",
        "/accounts/1",
        "/accounts/x",
        "/accounts/999",
        "/members?find=M",
        "/members/nobody",
        "/policies",
        "/policies/1",
        "/policies/0",
        "/verify",
        "/audit",
        "/stores?limit=0",
        "/stores?colour=red",
    ];
    let mut faults = Vec::new();
    for path in looks {
        let path = format!("/v1/hq{path}");
        let (status, media_type, body) = ask(&hub, "GET", &path, Some(&token)).await;
        faults.extend(document.check("GET", &path, (status.as_u16(), &media_type), &body).err());
    }
    drop(shop);
    town.close().await.unwrap();
    let (_, count, at_tills) = SEEN.lock().unwrap().take().unwrap();
    faults.extend(at_tills);
    assert!(count > 100, "{count} answers were looked at");
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
