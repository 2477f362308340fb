//! Refused: sync requests that head office turned away, newest first.

use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::Instant;
use serde::Deserialize;

use super::caller::Asked;
use super::page::Listing;
use super::problem::Problem;
use crate::actor::Permission;
use crate::store::refused::{self as rows, Filter};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// Only of requests that named this store.
    store: Option<StoreId>,
    /// Only since then.
    since_ms: Option<i64>,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(listing: Listing, Asked(asked): Asked<List>) -> Result<Response, Problem> {
    let part = listing.allow(Permission::Read, asked.cursor, asked.limit)?;
    let (store, since) = (asked.store, asked.since_ms.map(Instant));
    part.page(move |tx, before, limit| rows::list(tx, &Filter { store, since, before }, limit), |row| row.number).await
}
