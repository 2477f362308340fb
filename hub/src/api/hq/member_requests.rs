//! Member requests: what stores ask about members, and what two people decide. Each write says what should be so; the same again changes nothing.

use axum::extract::{OriginalUri, Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::caller::{Asked, Caller, Said};
use super::exceptions::number;
use super::problem::Problem;
use super::{answer, page};
use crate::actor::Permission;
use crate::hub::Hub;
use crate::member_request as rules;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    all: bool,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(hub): State<Hub>,
    OriginalUri(uri): OriginalUri,
    caller: Caller,
    Asked(asked): Asked<List>,
) -> Result<Response, Problem> {
    caller.allow(Permission::ReviewMembers)?;
    let limit = page::limit(asked.limit)?;
    let after = page::after::<i64>(asked.cursor.as_deref())?.unwrap_or(0);
    let rows = hub.store.read(move |tx| rules::list(tx, asked.all, after, limit + 1)).await?;
    page::page(&uri, rows, limit, |row| row.number.to_string())
}

pub(super) async fn show(State(hub): State<Hub>, Path(no): Path<String>, caller: Caller) -> Result<Response, Problem> {
    caller.allow(Permission::ReviewMembers)?;
    let no = number(&no)?;
    answer::json(&hub.store.read(move |tx| rules::show(tx, no)).await?)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    #[serde(default)]
    note: String,
}

pub(super) async fn approve(
    State(hub): State<Hub>,
    Path(no): Path<String>,
    caller: Caller,
    Said(said): Said<Approve>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::ReviewMembers)?;
    let (no, now) = (number(&no)?, hub.now());
    answer::json(&hub.store.write(move |tx| rules::approve(tx, &actor, no, &said.note, now)).await??)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refuse {
    note: String,
}

pub(super) async fn refuse(
    State(hub): State<Hub>,
    Path(no): Path<String>,
    caller: Caller,
    Said(said): Said<Refuse>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::ReviewMembers)?;
    let (no, now) = (number(&no)?, hub.now());
    answer::json(&hub.store.write(move |tx| rules::refuse(tx, &actor, no, &said.note, now)).await?)
}
