//! Parameters of stores: proposals, and what a second person says of them. Publishing what was approved needs the signing key, which is not the API's.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use huitong_protocol::id::StoreId;
use serde::Deserialize;

use super::caller::{Asked, Caller, Said};
use super::exceptions::number;
use super::problem::Problem;
use super::{answer, page};
use crate::actor::Permission;
use crate::hub::Hub;
use crate::parameters as rules;
use crate::store::parameters as rows;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    store: Option<StoreId>,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(hub): State<Hub>,
    OriginalUri(uri): OriginalUri,
    caller: Caller,
    Asked(asked): Asked<List>,
) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    let limit = page::limit(asked.limit)?;
    let before = page::after::<u64>(asked.cursor.as_deref())?;
    let kept = hub.store.read(move |tx| rows::page(tx, asked.store, before, limit + 1)).await?;
    let proposals = kept.into_iter().map(|kept| kept.proposal).collect();
    page::page(&uri, proposals, limit, |proposal: &huitong_protocol::wire::Proposal| proposal.number.to_string())
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Propose {
    store: StoreId,
    document: String,
}

pub(super) async fn propose(
    State(hub): State<Hub>,
    caller: Caller,
    Said(said): Said<Propose>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::ProposeParameters)?;
    let now = hub.now();
    let taken = hub.store.write(move |tx| rules::propose(tx, &actor, said.store, &said.document, now)).await?;
    answer::json_with(StatusCode::CREATED, &taken)
}

pub(super) async fn show(State(hub): State<Hub>, Path(no): Path<String>, caller: Caller) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    let no = number(&no)?.unsigned_abs();
    answer::json(&hub.store.read(move |tx| rules::show(tx, no)).await?)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decide {
    #[serde(default)]
    note: String,
}

pub(super) async fn approve(
    State(hub): State<Hub>,
    Path(no): Path<String>,
    caller: Caller,
    Said(said): Said<Decide>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::DecideParameters)?;
    let (no, now) = (number(&no)?.unsigned_abs(), hub.now());
    answer::json(&hub.store.write(move |tx| rules::approve(tx, &actor, no, &said.note, now)).await?)
}

pub(super) async fn refuse(
    State(hub): State<Hub>,
    Path(no): Path<String>,
    caller: Caller,
    Said(said): Said<Decide>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::DecideParameters)?;
    let (no, now) = (number(&no)?.unsigned_abs(), hub.now());
    answer::json(&hub.store.write(move |tx| rules::refuse(tx, &actor, no, &said.note, now)).await?)
}
