//! Grant: value and card states that a store lacks.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{GrantRequest, Request, path};

use super::{Body, serve_proved};
use crate::grant as rules;
use crate::hub::Hub;

pub(in crate::api) async fn grant(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    let serve = |caller, request: Request<GrantRequest>| rules::serve(&hub, caller, request.report, request.body);
    serve_proved(&hub, path::GRANT, &headers, body, serve).await
}
