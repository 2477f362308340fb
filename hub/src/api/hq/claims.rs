//! Claims: points that are missing, and what finance gives up.

use axum::extract::{OriginalUri, Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::caller::{Asked, Caller, Said};
use super::exceptions::number;
use super::problem::Problem;
use super::{answer, page};
use crate::actor::Permission;
use crate::claim as rules;
use crate::hub::Hub;
use crate::store::claim as rows;

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
    caller.allow(Permission::ReadMembers)?;
    let limit = page::limit(asked.limit)?;
    let after = page::after::<i64>(asked.cursor.as_deref())?.unwrap_or(0);
    let rows = hub.store.read(move |tx| rows::page(tx, asked.all, after, limit + 1)).await?;
    page::page(&uri, rows, limit, |row| row.number.to_string())
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Waive {
    note: String,
}

pub(super) async fn waive(
    State(hub): State<Hub>,
    Path(no): Path<String>,
    caller: Caller,
    Said(said): Said<Waive>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::WaiveClaims)?;
    let (no, now) = (number(&no)?, hub.now());
    answer::json(&hub.store.write(move |tx| rules::waive(tx, &actor, no, &said.note, now)).await?)
}
