//! Report: counters and card states, and nothing else.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Answer, Nothing, ReportOnly, Request, path};

use super::{Body, answer, proved, take_report};
use crate::api::problem::respond;
use crate::hub::Hub;
use crate::refusal::Refusal;

pub(in crate::api) async fn report(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    let outcome = serve(&hub, &headers, body).await;
    respond(&hub, path::REPORT, &headers, outcome).await
}

async fn serve(hub: &Hub, headers: &HeaderMap, body: Body) -> Result<Answer<Nothing>, Refusal> {
    let (caller, Request { report, body: ReportOnly {}, .. }) = proved(hub, path::REPORT, headers, body).await?;
    let (taken, grants) = take_report(hub, caller, report).await?;
    Ok(answer(hub, taken, grants, Nothing {}))
}
