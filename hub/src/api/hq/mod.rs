//! HQ: what head office's people and programs may ask, as HTTP and JSON under `/v1/hq`. The routes are a table of contents; a handler extracts, asks
//! for the permission, calls what the command line calls, and answers.
//!
//! Amounts are integer minor units with their currency; every `…_ms` has the same moment beside it in RFC 3339, without the `_ms`. Writes need no
//! `Idempotency-Key`: each says what should be so, and asking again for what is so already changes nothing. Card numbers are in no answer, problem or
//! log. The handler reads the clock; nothing below it does.

mod accounts;
mod answer;
mod audit;
mod caller;
mod days;
mod exceptions;
mod frame;
mod members;
mod page;
mod policies;
mod problem;
mod settlements;
mod statements;
mod status;
mod stores;
mod verify;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use huitong_config::Language;
use tower_http::catch_panic::CatchPanicLayer;

use crate::hub::Hub;

pub use problem::Code;

/// The largest body of a request: a note and a name are far below it.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Every route under `/v1/hq`.
pub(super) fn router(language: Language) -> Router<Hub> {
    Router::new()
        .route("/status", get(status::look))
        .route("/stores", get(stores::list))
        .route("/days", get(days::list))
        .route("/exceptions", get(exceptions::list))
        .route("/exceptions/{number}", get(exceptions::show))
        .route("/exceptions/{number}/assign", post(exceptions::assign))
        .route("/exceptions/{number}/resolve", post(exceptions::resolve))
        .route("/exceptions/{number}/reopen", post(exceptions::reopen))
        .route("/settlements", get(settlements::list).post(settlements::run))
        .route("/settlements/{run}", get(settlements::show))
        .route("/settlements/{run}/approve", post(settlements::approve))
        .route("/settlements/{run}/export", get(settlements::export))
        .route("/settlements/{run}/statement", get(statements::show))
        .route("/accounts/{account}", get(accounts::account))
        .route("/cards/{number}", get(accounts::card))
        .route("/members", get(members::find))
        .route("/members/{number}", get(members::show))
        .route("/policies", get(policies::list))
        .route("/policies/{version}", get(policies::show))
        .route("/verify", get(verify::look).post(verify::start))
        .route("/audit", get(audit::list))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::no_such_path)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(problem::broke_off))
        .layer(axum::middleware::from_fn_with_state(language, frame::frame))
}
