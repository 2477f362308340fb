//! Audit: who did what, oldest first.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use serde::Deserialize;

use super::caller::{Asked, Caller};
use super::page;
use super::problem::Problem;
use crate::actor::Permission;
use crate::hub::Hub;
use crate::store::audit as rows;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
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
    let rows = hub.store.read(move |tx| rows::page(tx, after, limit + 1)).await?;
    page::page(&uri, rows, limit, |deed| deed.number.to_string())
}
