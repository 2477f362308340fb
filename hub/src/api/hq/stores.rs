//! Stores.

use axum::extract::{Path, State};
use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::organisation::Store;
use huitong_protocol::time::Instant;
use serde::{Deserialize, Serialize};

use super::answer;
use super::caller::{Asked, Caller, Said};
use super::page::{self, Listing, Plain};
use super::problem::{Code, Problem};
use crate::actor::Permission;
use crate::fence as rules;
use crate::hub::Hub;
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

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fence {
    note: String,
}

pub(super) async fn fence(
    State(hub): State<Hub>,
    Path(store): Path<String>,
    caller: Caller,
    Said(said): Said<Fence>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Fence)?;
    let store: StoreId = store.parse().map_err(|_| Problem::new(Code::NotFound, "there is no store of this code"))?;
    let now = hub.now();
    let ended = hub.store.write(move |tx| rules::fence(tx, &actor, store, &said.note, now)).await?;
    // Cards that only its journal had stopped.
    hub.stopped(&ended.stopped);
    hub.remember().await?;
    answer::json(&ended)
}
