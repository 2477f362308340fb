//! Quotes at the till: what a basket costs, and why. Nothing is stored, so no idempotency key is asked for.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use huitong_config::Language;
use huitong_protocol::decline::Decline;
use huitong_protocol::till::Quote;
use serde::Serialize;

use super::posted::json_of;
use super::{Api, Problem, Till, words};
use crate::ledger::Quoted;

/// The answer: a price, or why there is none.
#[derive(Serialize, schemars::JsonSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
#[schemars(rename = "QuoteAnswer")]
pub(super) enum Answer {
    Quoted(Box<Quote>),
    Declined {
        /// One sentence for the screen.
        message: String,
        #[serde(flatten)]
        decline: Box<Decline>,
    },
}

pub(super) async fn quote(
    State(api): State<Api>,
    _till: Till,
    Extension(language): Extension<Language>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let ask = json_of(&headers, &body)?;
    let now = api.clock().now();
    let asked = api.clone();
    let quoted = tokio::task::spawn_blocking(move || asked.ledger().quote(now, &ask))
        .await
        .map_err(|_| Problem::new(super::Code::Internal, "the price broke off; the log has the place"))??;
    Ok(Json(match quoted {
        Quoted::Priced(quote) => Answer::Quoted(quote),
        Quoted::Declined(decline) => Answer::Declined { message: words::sentence(decline.code, language), decline },
    })
    .into_response())
}
