//! Report: counters and card states, and nothing else.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Answer, Nothing, ReportOnly, Request, path};

use super::{Body, answer, serve_proved, take_report};
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::session::Caller;

pub(in crate::api) async fn report(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    serve_proved(&hub, path::REPORT, &headers, body, |caller, request| serve(&hub, caller, request)).await
}

async fn serve(hub: &Hub, caller: Caller, request: Request<ReportOnly>) -> Result<Answer<Nothing>, Refusal> {
    let (taken, grants) = take_report(hub, caller, request.report).await?;
    Ok(answer(hub, taken, grants, Nothing {}))
}
