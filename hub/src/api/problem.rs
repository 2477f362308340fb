//! Problem: the one place where a refusal becomes a status and a body, and a row for people who look into it.

use std::any::Any;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use huitong_protocol::id::StoreId;
use huitong_protocol::wire::{Refused, SyncFault, header as sync_header, to_msgpack};
use serde::Serialize;

use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::store::refused;

/// The media type of every sync body.
const MSGPACK: HeaderValue = HeaderValue::from_static("application/msgpack");
/// What a store that came at a bad time is told to wait, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Answers, or refuses and records why.
pub(super) async fn respond<T: Serialize>(
    hub: &Hub,
    path: &'static str,
    headers: &HeaderMap,
    outcome: Result<T, Refusal>,
) -> Response {
    match outcome {
        Ok(answer) => packed(StatusCode::OK, &answer),
        Err(refusal) => {
            record(hub, path, headers, &refusal).await;
            refuse(refusal)
        }
    }
}

fn refuse(refusal: Refusal) -> Response {
    let status = match refusal.fault {
        SyncFault::Malformed => StatusCode::BAD_REQUEST,
        SyncFault::Forged | SyncFault::SessionUnknown => StatusCode::UNAUTHORIZED,
        SyncFault::StoreUnknown | SyncFault::Foreign | SyncFault::Token => StatusCode::FORBIDDEN,
        SyncFault::Replayed | SyncFault::Fork | SyncFault::Copied | SyncFault::Fenced | SyncFault::Forgotten => {
            StatusCode::CONFLICT
        }
        SyncFault::Version => StatusCode::UPGRADE_REQUIRED,
        SyncFault::Busy => StatusCode::SERVICE_UNAVAILABLE,
        SyncFault::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = packed(status, &Refused { fault: refusal.fault, message: refusal.message });
    if refusal.fault == SyncFault::Busy {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

fn packed<T: Serialize>(status: StatusCode, message: &T) -> Response {
    (status, [(header::CONTENT_TYPE, MSGPACK)], to_msgpack(message)).into_response()
}

/// What is written in the place of a store that is not named, or by nothing that names a store: whatever was sent must not fill a log.
const NO_STORE: &str = "(no store)";

/// The store that a request says it is of.
fn store_named(headers: &HeaderMap) -> String {
    let named = headers.get(sync_header::STORE).and_then(|value| value.to_str().ok()?.parse::<StoreId>().ok());
    named.map_or_else(|| NO_STORE.to_owned(), |store| store.to_string())
}

/// Keeps the refusal. That it cannot be kept must not change the answer.
async fn record(hub: &Hub, path: &'static str, headers: &HeaderMap, refusal: &Refusal) {
    // The hub's own trouble says nothing about the store, and writing would add to it.
    if matches!(refusal.fault, SyncFault::Busy | SyncFault::Internal) {
        return;
    }
    let store = store_named(headers);
    let fault = serde_json::to_value(refusal.fault)
        .ok()
        .and_then(|fault| fault.as_str().map(str::to_owned))
        .unwrap_or_default();
    // Whoever sends it need not be anybody: neither the log nor the disk may be filled, nor the writer kept from those who trade.
    let at_ms = hub.now();
    let Some(unwritten) = hub.refusals.note(&store, refusal, at_ms) else { return };
    tracing::info!(store.id = store, path, fault, unwritten, "Refused {path} of store {store:?}: {}", refusal.message);
    let message = refusal.message.clone();
    let row = refused::Refused {
        number: 0,
        at_ms,
        store,
        path: path.to_owned(),
        fault,
        message,
        unwritten,
        is_proved: refusal.is_proved,
    };
    if let Err(error) = hub.store.write(move |tx| refused::record(tx, &row)).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "Could not record a refusal");
    }
}

/// A handler panicked: the store learns that nothing is known, the log says what.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!("A handler panicked: {}", words.unwrap_or("without words"));
    refuse(Refusal::new(SyncFault::Internal, "the hub met a fault of its own; its log says which"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_store_is_not_repeated() {
        let named = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(sync_header::STORE, value.parse().unwrap());
            store_named(&headers)
        };
        assert_eq!(named("S1"), "S1");
        for made_up in ["", "x y", &"S".repeat(8_000), "S1\u{7f54}"] {
            assert_eq!(named(made_up), NO_STORE);
        }
        assert_eq!(store_named(&HeaderMap::new()), NO_STORE);
    }
}
