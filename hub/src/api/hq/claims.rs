//! Claims: points that are missing, and what finance gives up.

use axum::response::Response;
use serde::Deserialize;

use super::caller::{Asked, Said};
use super::numbered::Numbered;
use super::page::Listing;
use super::problem::Problem;
use crate::actor::Permission;
use crate::claim as rules;
use crate::store::claim as rows;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    all: bool,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(listing: Listing, Asked(asked): Asked<List>) -> Result<Response, Problem> {
    let part = listing.allow(Permission::ReadMembers, asked.cursor, asked.limit)?;
    part.page(move |tx, after, limit| rows::page(tx, asked.all, after.unwrap_or(0), limit), |row| row.number).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Waive {
    note: String,
}

pub(super) async fn waive(claim: Numbered, Said(said): Said<Waive>) -> Result<Response, Problem> {
    claim.decide(Permission::WaiveClaims, move |tx, actor, no, now| rules::waive(tx, actor, no, &said.note, now)).await
}
