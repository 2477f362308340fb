//! Grant: value and card states that a store lacks.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{GrantRequest, path};

use super::{Body, proved};
use crate::api::problem::respond;
use crate::grant as rules;
use crate::hub::Hub;

pub(in crate::api) async fn grant(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    let outcome = match proved::<GrantRequest>(&hub, path::GRANT, &headers, body).await {
        Ok((caller, request)) => rules::serve(&hub, caller, request.report, request.body).await,
        Err(refusal) => Err(refusal),
    };
    respond(&hub, path::GRANT, &headers, outcome).await
}
