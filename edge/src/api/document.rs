//! The OpenAPI document of the tills' API, and what its operations have in common.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use huitong_config::problem::Body;
use huitong_protocol::openapi::{About, Operation, ProblemCode, Row, document};
use huitong_protocol::till::Outcome;
use schemars::JsonSchema;
use serde_json::Value;

use super::{Code, health, table};
use crate::sync::api as sync;

/// What may come of every request.
const EVERY: &[Code] =
    &[Code::Unauthorized, Code::FieldInvalid, Code::NotReady, Code::Busy, Code::Storage, Code::Internal];
/// What may come besides of a request with a body.
const OF_BODIES: &[Code] = &[Code::Malformed, Code::BodyTooLarge, Code::UnsupportedMediaType];
/// What may come besides of an operation.
const OF_OPERATIONS: &[Code] = &[Code::IdempotencyKeyMissing, Code::IdempotencyKeyReused, Code::InFlight];

/// Problems as documents name them.
pub(crate) fn problems(codes: &[Code]) -> Vec<ProblemCode> {
    codes.iter().map(|code| (code.text().1.as_u16(), code.text().0)).collect()
}

/// A look-up.
pub(crate) fn look<T: JsonSchema>(summary: &'static str, more: &[Code]) -> Operation {
    Operation::new(summary).gives::<T>().problems(&problems(EVERY)).problems(&problems(more))
}

/// A question that needs a body, and changes nothing.
pub(crate) fn ask<Q: JsonSchema, A: JsonSchema>(summary: &'static str, more: &[Code]) -> Operation {
    look::<A>(summary, more).reads::<Q>().problems(&problems(OF_BODIES))
}

/// An operation: one effect per key, approved or declined.
pub(crate) fn operation<T: JsonSchema>(summary: &'static str) -> Operation {
    ask::<T, Outcome>(summary, OF_OPERATIONS).keyed()
}

/// An operation on the day, of which every field may be left out.
pub(crate) fn day_operation<T: JsonSchema>(summary: &'static str) -> Operation {
    look::<Outcome>(summary, OF_OPERATIONS)
        .may_read::<T>()
        .problems(&problems(OF_BODIES))
        .problems(&problems(&[Code::Forbidden]))
        .keyed()
}

const ABOUT: About = About {
    title: "Huitong edge",
    description: "What the tills of a store may ask of its edge. Amounts are integer minor units of the currency, quantities thousandths, `\u{2026}_ms` \
        milliseconds since 1970. A refusal by the rules is an answer with status 200 and `\"decision\": \"declined\"`, a code and figures; a problem \
        (RFC 9457) says that there is no answer. Sentences for people follow `Accept-Language` (en, zh-CN; else the store's own), codes do not: a stored \
        answer is worded anew for whoever asks again.",
    version: env!("CARGO_PKG_VERSION"),
    parts: &[
        ("number", "The card's number."),
        ("member", "The member's number."),
        ("code", "The item's SKU or one of its barcodes."),
        ("id", "The receipt's number, like S1-1-88, or the id of the operation."),
        ("name", "The name of the job."),
        ("terminal", "The till's code."),
    ],
    headers: &[
        (
            "Huitong-Witness",
            "The highest `Huitong-Witness` received of this store (STORE:EPOCH:SEQ:HASH), or `none` before the first: a till keeps one for each store, and \
             begins with `none` at another. After a restart of the store's machine value waits for it; one that its journal does not contain stops all value \
             and raises the alarm.",
        ),
        ("Accept-Language", "The language of sentences for people: en or zh-CN."),
    ],
    security: "The token of the till's pairing.",
    key: "The operation's id: a UUID that the till makes and saves before it sends. The same request under the same key has one effect and one answer.",
    touch: |_| {},
};

/// Every row of the API.
#[must_use]
pub fn rows() -> Vec<Row> {
    [table(), sync::table(), health()].into_iter().flat_map(super::Routes::into_rows).collect()
}

/// The document.
#[must_use]
pub fn openapi() -> Value {
    document::<Body<Code>>(&ABOUT, &rows())
}

pub(super) async fn serve() -> Response {
    static JSON: LazyLock<Bytes> = LazyLock::new(|| openapi().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], JSON.clone()).into_response()
}
