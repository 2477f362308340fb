//! Stores.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use huitong_protocol::id::StoreId;
use serde::Deserialize;
use serde_json::json;

use super::caller::{Asked, Caller};
use super::page;
use super::problem::Problem;
use crate::actor::Permission;
use crate::hub::Hub;
use crate::store::{StoreError, device, organisation};

#[derive(Deserialize)]
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
    let after = page::after::<StoreId>(asked.cursor.as_deref())?;
    let (stores, seen) =
        hub.store.read(|tx| Ok::<_, StoreError>((organisation::stores(tx)?, device::last_seen_all(tx)?))).await?;
    let rows = page::rest(stores, after.as_ref(), limit, |store| store.id);
    let rows = rows
        .iter()
        .map(|store| {
            let mut row = super::answer::dated(store)?;
            // What this life of the hub has heard is fresher than what is written down.
            let heard = hub.heard_at(store.id).max(seen.get(&store.id).copied());
            row["last_seen_ms"] = json!(heard);
            Ok(row)
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    page::page(&uri, rows, limit, |row| row["id"].as_str().unwrap_or_default().to_owned())
}
