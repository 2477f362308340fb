//! Cards at the till: look up, sell, reload, freeze.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use huitong_protocol::till::Fault;
use serde::Deserialize;

use super::posted::{PathPart, path_part};
use super::{Api, Code, Posted, Problem, Till};
use crate::ledger::{CardLook, Order};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LookQuery {
    /// Ask the hub for the whole balance too.
    #[serde(default)]
    total: bool,
}

/// The problem of a query that cannot be read.
pub(super) fn query_problem(rejection: &QueryRejection) -> Problem {
    Problem::field(Fault::new("query", rejection.body_text()))
}

pub(super) async fn look(
    State(api): State<Api>,
    _till: Till,
    number: PathPart,
    query: Result<Query<LookQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| query_problem(&rejection))?;
    let number = path_part("number", number)?;
    match api.ledger().card(api.clock().now(), number, query.total).await? {
        CardLook::Known(state) => Ok(Json(state).into_response()),
        CardLook::Unknown => Err(Problem::new(Code::NotFound, "no such card; look at the number again")),
        CardLook::UnknownOffline => {
            Err(Problem::new(Code::UnknownCardOffline, "try again when the line to head office is back"))
        }
    }
}

pub(super) async fn sell(State(api): State<Api>, number: PathPart, posted: Posted) -> Result<Response, Problem> {
    let order = Order::SellCard { card: path_part("number", number)?, request: posted.json()? };
    posted.execute(&api, order).await
}

pub(super) async fn reload(State(api): State<Api>, number: PathPart, posted: Posted) -> Result<Response, Problem> {
    let order = Order::ReloadCard { card: path_part("number", number)?, request: posted.json()? };
    posted.execute(&api, order).await
}

pub(super) async fn freeze(State(api): State<Api>, number: PathPart, posted: Posted) -> Result<Response, Problem> {
    let order = Order::FreezeCard { card: path_part("number", number)?, request: posted.json()? };
    posted.execute(&api, order).await
}
