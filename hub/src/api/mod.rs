//! API: the hub's routes, read as a table of contents. Handlers extract, call and answer; rules are elsewhere.

mod edge;
mod health;
mod problem;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use huitong_protocol::wire::{BODY_BYTES_MAX, path};
use tower_http::catch_panic::CatchPanicLayer;

use crate::hub::Hub;

/// All routes.
pub fn router(hub: Hub) -> Router {
    Router::new()
        .route(path::ENROL, post(edge::enrol::enrol))
        .route(path::HELLO, post(edge::hello::hello))
        .route(path::REPORT, post(edge::report::report))
        .route(path::GRANT, post(edge::grant::grant))
        .route(path::POLL, post(edge::poll::poll))
        .route(path::UPLOAD, post(edge::upload::upload))
        .route(path::DATASET, post(edge::dataset::dataset))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(hub)
}
