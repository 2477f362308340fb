//! Health: whether the process lives, and whether it can serve.

use axum::extract::State;
use axum::http::StatusCode;

use crate::hub::Hub;
use crate::store::root;

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The database answers too.
pub(super) async fn ready(State(hub): State<Hub>) -> (StatusCode, &'static str) {
    match hub.store.read(root::hub).await {
        Ok(_) if !hub.stopping.is_cancelled() => (StatusCode::OK, "ready\n"),
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "Not ready: the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}
