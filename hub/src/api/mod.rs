//! API: the hub's routes, read as a table of contents. Handlers extract, call and answer; rules are elsewhere.

mod edge;
mod health;
mod hq;
mod problem;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};
use huitong_protocol::wire::{BODY_BYTES_MAX, GREETING_BYTES_MAX, MESSAGE_BYTES_MAX, path};
use tower_http::catch_panic::CatchPanicLayer;

use crate::hub::Hub;

pub use hq::Code;

/// The OpenAPI document of head office's API.
#[must_use]
pub fn openapi() -> serde_json::Value {
    hq::document::openapi()
}

/// The rows that it is made from, which are the routes that are mounted.
#[must_use]
pub fn rows() -> Vec<huitong_protocol::openapi::Row> {
    hq::document::rows()
}

/// A body is in memory before anybody is proved to have sent it: each route takes what its largest honest message needs.
fn at_most(bytes_max: usize, route: MethodRouter<Hub>) -> MethodRouter<Hub> {
    route.layer(DefaultBodyLimit::max(bytes_max))
}

/// All routes.
pub fn router(hub: Hub) -> Router {
    Router::new()
        .route(path::ENROL, at_most(GREETING_BYTES_MAX, post(edge::enrol::enrol)))
        .route(path::HELLO, at_most(GREETING_BYTES_MAX, post(edge::hello::hello)))
        .route(path::REPORT, at_most(MESSAGE_BYTES_MAX, post(edge::report::report)))
        .route(path::GRANT, at_most(MESSAGE_BYTES_MAX, post(edge::grant::grant)))
        .route(path::POLL, at_most(MESSAGE_BYTES_MAX, post(edge::poll::poll)))
        .route(path::UPLOAD, at_most(BODY_BYTES_MAX, post(edge::upload::upload)))
        .route(path::DATASET, at_most(MESSAGE_BYTES_MAX, post(edge::dataset::dataset)))
        .route(path::PARKED, at_most(MESSAGE_BYTES_MAX, post(edge::parked::parked)))
        .route(path::PARAMETERS, at_most(MESSAGE_BYTES_MAX, post(edge::parameters::parameters)))
        .nest(hq::AT, hq::router(hub.config.language))
        .route(hq::document::DOCUMENT_AT, get(hq::document::serve))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(hub)
}
