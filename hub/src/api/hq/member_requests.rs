//! Member requests: what stores ask about members, and what two people decide. Each write says what should be so; the same again changes nothing.

use axum::response::Response;
use serde::Deserialize;

use super::answer;
use super::caller::{Asked, Said};
use super::numbered::Numbered;
use super::page::Listing;
use super::problem::Problem;
use crate::actor::{Actor, Permission};
use crate::member_request as rules;
use crate::store::Tx;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    all: bool,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(listing: Listing, Asked(asked): Asked<List>) -> Result<Response, Problem> {
    let part = listing.allow(Permission::ReviewMembers, asked.cursor, asked.limit)?;
    part.page(move |tx, after, limit| rules::list(tx, asked.all, after.unwrap_or(0), limit), |row| row.number).await
}

pub(super) async fn show(request: Numbered) -> Result<Response, Problem> {
    request.look(Permission::ReviewMembers, rules::show).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    #[serde(default)]
    note: String,
}

pub(super) async fn approve(request: Numbered, Said(said): Said<Approve>) -> Result<Response, Problem> {
    let approve = move |tx: &mut Tx<'_>, actor: &Actor, no, now| rules::approve(tx, actor, no, &said.note, now);
    // That it was found to be another's double is written down, and answered as a refusal.
    answer::json(&request.write(Permission::ReviewMembers, approve).await??)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refuse {
    note: String,
}

pub(super) async fn refuse(request: Numbered, Said(said): Said<Refuse>) -> Result<Response, Problem> {
    let refuse = move |tx: &mut Tx<'_>, actor: &Actor, no, now| rules::refuse(tx, actor, no, &said.note, now);
    request.decide(Permission::ReviewMembers, refuse).await
}
