//! Holds at the till: placed, released, told. They are captured by a sale.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::cards::query_problem;
use super::posted::{PathPart, path_part};
use super::{Api, Code, Posted, Problem, Till};
use crate::ledger::{HoldsOf, Order};
use huitong_protocol::card::CardNumber;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// The card whose account's holds are wanted, ended ones too. Without it, every open hold of the store.
    #[serde(default)]
    card: Option<CardNumber>,
}

pub(super) async fn place(State(api): State<Api>, posted: Posted) -> Result<Response, Problem> {
    let order = Order::PlaceHold(posted.json()?);
    posted.execute(&api, order).await
}

pub(super) async fn release(State(api): State<Api>, id: PathPart, posted: Posted) -> Result<Response, Problem> {
    let order = Order::ReleaseHold { of: path_part("id", id)?, request: posted.json()? };
    posted.execute(&api, order).await
}

pub(super) async fn look(State(api): State<Api>, _till: Till, id: PathPart) -> Result<Response, Problem> {
    match api.ledger().hold(api.clock().now(), path_part("id", id)?)? {
        Some(hold) => Ok(Json(hold).into_response()),
        None => Err(Problem::new(Code::NotFound, "this store knows no such hold; look at its number again")),
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    _till: Till,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| query_problem(&rejection))?;
    let of = query.card.map_or(HoldsOf::Store, HoldsOf::Card);
    match api.ledger().holds(api.clock().now(), of)? {
        Some(holds) => Ok(Json(holds).into_response()),
        None => Err(Problem::new(Code::NotFound, "this store does not know the card, and holds nothing of it")),
    }
}
