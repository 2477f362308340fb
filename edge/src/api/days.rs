//! The business day at the till: open, look (X), close, print again (Z).

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use huitong_protocol::till::DayReport;
use huitong_protocol::time::BusinessDay;
use serde::Deserialize;

use super::cards::query_problem;
use super::{Api, Code, Posted, Problem, Till};
use crate::ledger::Order;
use crate::store::StoreError;

pub(super) async fn open(State(api): State<Api>, posted: Posted) -> Result<Response, Problem> {
    posted.till.may_run_the_day()?;
    let order = Order::OpenDay(posted.json_or_default()?);
    posted.execute(&api, order).await
}

pub(super) async fn close(State(api): State<Api>, posted: Posted) -> Result<Response, Problem> {
    posted.till.may_run_the_day()?;
    let order = Order::CloseDay(posted.json_or_default()?);
    posted.execute(&api, order).await
}

pub(super) async fn x(State(api): State<Api>, _till: Till) -> Result<Response, Problem> {
    let reader = api.clone();
    match blocking(move || reader.ledger().day_x()).await? {
        Some(report) => Ok(Json(report).into_response()),
        None => Err(Problem::new(Code::DayNotOpen, "open the day first; a closed day has a Z report")),
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DayQuery {
    /// The day; the last closed one when absent.
    business_day: Option<BusinessDay>,
}

pub(super) async fn z(
    State(api): State<Api>,
    _till: Till,
    query: Result<Query<DayQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| query_problem(&rejection))?;
    let reader = api.clone();
    match blocking(move || reader.ledger().day_z(query.business_day)).await? {
        Some(report) => Ok(Json(report).into_response()),
        None => Err(Problem::new(Code::NotFound, "no such day is closed; the open day has an X report")),
    }
}

/// Reads a whole day's entries where nobody waits for the thread.
async fn blocking(
    read: impl FnOnce() -> Result<Option<DayReport>, StoreError> + Send + 'static,
) -> Result<Option<DayReport>, Problem> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| Problem::new(Code::Internal, "the report broke off; the log has the place"))?
        .map_err(Problem::from)
}
