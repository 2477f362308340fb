//! Exceptions: the queue, and what is done about it. Each write says what should be so; the same again changes nothing.

use axum::extract::{OriginalUri, Path, State};
use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::reconcile::{Class, Severity};
use serde::Deserialize;

use super::caller::{Asked, Caller, Said};
use super::problem::Problem;
use super::{answer, page};
use crate::actor::Permission;
use crate::exception as rules;
use crate::hub::Hub;
use crate::store::exception::{self as rows, Filter, Resolution, States};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    class: Option<Class>,
    severity: Option<Severity>,
    store: Option<StoreId>,
    #[serde(default)]
    state: States,
    owner: Option<String>,
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
    let after = page::after::<i64>(asked.cursor.as_deref())?.unwrap_or(0);
    let List { class, severity, store, state: states, owner, .. } = asked;
    let filter = Filter { class, severity, store, states, owner };
    let rows = hub.store.read(move |tx| rows::page(tx, &filter, after, limit + 1)).await?;
    page::page(&uri, rows, limit, |row| row.number.to_string())
}

/// Reads the number in a path.
pub(super) fn number(text: &str) -> Result<i64, Problem> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Problem::field("number", "is a whole number from 1"))
}

pub(super) async fn show(State(hub): State<Hub>, Path(no): Path<String>, caller: Caller) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    let no = number(&no)?;
    answer::json(&hub.store.read(move |tx| rules::show(tx, no)).await?)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Assign {
    to: String,
}

pub(super) async fn assign(
    State(hub): State<Hub>,
    Path(no): Path<String>,
    caller: Caller,
    Said(said): Said<Assign>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Exceptions)?;
    let (no, now) = (number(&no)?, hub.now());
    answer::json(&hub.store.write(move |tx| rules::assign(tx, &actor, no, &said.to, now)).await?)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolve {
    note: String,
    #[serde(default = "corrected")]
    resolution: Resolution,
}

const fn corrected() -> Resolution {
    Resolution::Corrected
}

pub(super) async fn resolve(
    State(hub): State<Hub>,
    Path(no): Path<String>,
    caller: Caller,
    Said(said): Said<Resolve>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Exceptions)?;
    let (no, now) = (number(&no)?, hub.now());
    let done = hub.store.write(move |tx| rules::resolve(tx, &actor, no, said.resolution, &said.note, now)).await?;
    answer::json(&done)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reopen {
    note: String,
}

pub(super) async fn reopen(
    State(hub): State<Hub>,
    Path(no): Path<String>,
    caller: Caller,
    Said(said): Said<Reopen>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Exceptions)?;
    let (no, now) = (number(&no)?, hub.now());
    answer::json(&hub.store.write(move |tx| rules::reopen(tx, &actor, no, &said.note, now)).await?)
}
