//! Audit: who did what, oldest first.

use axum::response::Response;

use super::caller::Asked;
use super::page::{Listing, Plain};
use super::problem::Problem;
use crate::actor::Permission;
use crate::store::audit as rows;

pub(super) async fn list(listing: Listing, Asked(asked): Asked<Plain>) -> Result<Response, Problem> {
    let part = listing.allow_plain(Permission::Read, asked)?;
    part.page(|tx, after, limit| rows::page(tx, after.unwrap_or(0), limit), |deed| deed.number).await
}
