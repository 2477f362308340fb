//! The OpenAPI document of head office's API, and what its operations have in common.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use huitong_config::problem::Body;
use huitong_protocol::openapi::{About, Operation, ProblemCode, Row, document};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{AT, Code, table};

/// What may come of every request.
const EVERY: &[Code] =
    &[Code::Unauthorized, Code::Forbidden, Code::Malformed, Code::FieldInvalid, Code::Busy, Code::Internal];

pub(super) fn problems(codes: &[Code]) -> Vec<ProblemCode> {
    codes.iter().map(|code| (code.text().1.as_u16(), code.text().0)).collect()
}

pub(super) fn any(summary: &'static str) -> Operation {
    Operation::new(summary).problems(&problems(EVERY))
}

/// A look-up.
pub(super) fn look<T: JsonSchema>(summary: &'static str, more: &[Code]) -> Operation {
    any(summary).gives::<T>().problems(&problems(more))
}

/// A look-up that gives a text.
pub(super) fn text(summary: &'static str, media_type: &'static str) -> Operation {
    any(summary).gives_text(media_type).problems(&problems(&[Code::NotFound]))
}

/// A write: it says what should be so, and asking again for what is so changes nothing.
pub(super) fn write<Q: JsonSchema, A: JsonSchema>(summary: &'static str) -> Operation {
    look::<A>(summary, &[Code::NotFound, Code::Refused, Code::BodyTooLarge]).reads::<Q>()
}

/// A job that is started.
pub(super) fn started<T: JsonSchema>(summary: &'static str) -> Operation {
    any(summary).gives_with::<T>(202)
}

const ABOUT: About = About {
    title: "Huitong hub: head office",
    description: "What head office's people and programs may ask. Amounts are integer minor units with their currency; every `\u{2026}_ms` has the same \
        moment beside it in RFC 3339. Lists are paged: send `next` as `cursor`. A problem (RFC 9457) says that there is no answer; its title and action \
        follow `Accept-Language` (en, zh-CN; else the hub's own), its code and detail do not.",
    version: env!("CARGO_PKG_VERSION"),
    parts: &[
        ("number", "The number of the exception, card or member."),
        ("run", "The number of the run."),
        ("account", "The number of the account."),
        ("version", "The version of the policy."),
        ("store", "The store."),
        ("epoch", "The store and its epoch: S1-2."),
    ],
    headers: &[
        ("Accept-Language", "The language of sentences for people: en or zh-CN."),
        ("X-Request-Id", "An id for the request, repeated in the answer and in the log; made when there is none."),
    ],
    security: "A token of `huitong-hub token create NAME`.",
    key: "",
    touch: add_moments,
};

/// Answers have each moment a second time, as people read it: `raised_at_ms` has `raised_at`.
fn add_moments(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(add_moments),
        Value::Object(fields) => {
            if let Some(Value::Object(properties)) = fields.get_mut("properties") {
                let moments: Vec<String> = properties
                    .keys()
                    .filter_map(|name| name.strip_suffix("_ms"))
                    .filter(|name| !properties.contains_key(*name))
                    .map(str::to_owned)
                    .collect();
                for moment in moments {
                    properties.insert(moment, json!({ "type": "string", "format": "date-time" }));
                }
            }
            fields.values_mut().for_each(add_moments);
        }
        _ => {}
    }
}

/// Every row of the API, the document's own included.
#[must_use]
pub(in crate::api) fn rows() -> Vec<Row> {
    let own = Operation::new("This document.").gives::<Value>().open();
    let own = Row { method: huitong_protocol::openapi::Method::Get, path: DOCUMENT_AT.to_owned(), operation: own };
    let rows = table().into_rows().into_iter().map(|row| Row { path: format!("{AT}{}", row.path), ..row });
    rows.chain([own]).collect()
}

/// Where the document is.
pub(in crate::api) const DOCUMENT_AT: &str = "/v1/openapi.json";

/// The document.
#[must_use]
pub(in crate::api) fn openapi() -> Value {
    document::<Body<Code>>(&ABOUT, &rows())
}

pub(in crate::api) async fn serve() -> Response {
    static JSON: LazyLock<Bytes> = LazyLock::new(|| openapi().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], JSON.clone()).into_response()
}
