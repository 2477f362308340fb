//! Stores.

use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::organisation::Store;
use huitong_protocol::time::Instant;
use serde::Serialize;

use super::caller::Asked;
use super::page::{self, Listing, Plain};
use super::problem::Problem;
use crate::actor::Permission;
use crate::store::{StoreError, Tx, device, organisation};

/// A store, and when it was heard.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "StoreRow")]
pub(super) struct Row {
    #[serde(flatten)]
    store: Store,
    /// When it was last heard.
    last_seen_ms: Option<Instant>,
}

pub(super) async fn list(listing: Listing, Asked(asked): Asked<Plain>) -> Result<Response, Problem> {
    let part = listing.allow_plain(Permission::Read, asked)?;
    let hub = part.hub.clone();
    let read = move |tx: &mut Tx<'_>, after: Option<StoreId>, limit| {
        let (stores, seen) = (organisation::stores(tx)?, device::last_seen_all(tx)?);
        let rows = page::rest(stores, after.as_ref(), limit, |store| store.id).into_iter().map(|store| {
            // What this life of the hub has heard is fresher than what is written down.
            let last_seen_ms = hub.heard_at(store.id).max(seen.get(&store.id).copied());
            Row { store, last_seen_ms }
        });
        Ok::<Vec<Row>, StoreError>(rows.collect())
    };
    part.page(read, |row| row.store.id).await
}
