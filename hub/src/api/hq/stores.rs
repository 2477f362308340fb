//! Stores.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::organisation::Store;
use huitong_protocol::time::Instant;
use serde::{Deserialize, Serialize};

use super::caller::{Asked, Caller};
use super::page;
use super::problem::Problem;
use crate::actor::Permission;
use crate::hub::Hub;
use crate::store::{StoreError, device, organisation};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// A store, and when it was heard.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "StoreRow")]
pub(super) struct Row {
    #[serde(flatten)]
    store: Store,
    /// When it was last heard.
    last_seen_ms: Option<Instant>,
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
        .into_iter()
        .map(|store| {
            // What this life of the hub has heard is fresher than what is written down.
            let last_seen_ms = hub.heard_at(store.id).max(seen.get(&store.id).copied());
            Row { store, last_seen_ms }
        })
        .collect();
    page::page(&uri, rows, limit, |row: &Row| row.store.id.to_string())
}
