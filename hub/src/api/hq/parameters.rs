//! Parameters of stores: proposals, and what a second person says of them. Publishing what was approved needs the signing key, which is not the API's.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::wire::Proposal;
use serde::Deserialize;

use super::answer;
use super::caller::{Asked, Caller, Said};
use super::numbered::Numbered;
use super::page::Listing;
use super::problem::Problem;
use crate::actor::{Actor, Permission};
use crate::hub::Hub;
use crate::parameters as rules;
use crate::store::parameters as rows;
use crate::store::{StoreError, Tx};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    store: Option<StoreId>,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(listing: Listing, Asked(asked): Asked<List>) -> Result<Response, Problem> {
    let part = listing.allow(Permission::Read, asked.cursor, asked.limit)?;
    let read = move |tx: &mut Tx<'_>, before, limit| {
        let kept = rows::page(tx, asked.store, before, limit)?;
        Ok::<Vec<Proposal>, StoreError>(kept.into_iter().map(|kept| kept.proposal).collect())
    };
    part.page(read, |proposal| proposal.number).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Propose {
    store: StoreId,
    document: String,
}

pub(super) async fn propose(
    State(hub): State<Hub>,
    caller: Caller,
    Said(said): Said<Propose>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::ProposeParameters)?;
    let now = hub.now();
    let taken = hub.store.write(move |tx| rules::propose(tx, &actor, said.store, &said.document, now)).await?;
    answer::json_with(StatusCode::CREATED, &taken)
}

pub(super) async fn show(proposal: Numbered) -> Result<Response, Problem> {
    proposal.look(Permission::Read, |tx, no| rules::show(tx, no.unsigned_abs())).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decide {
    #[serde(default)]
    note: String,
}

pub(super) async fn approve(proposal: Numbered, Said(said): Said<Decide>) -> Result<Response, Problem> {
    let approve = move |tx: &mut Tx<'_>, actor: &Actor, no: i64, now| {
        rules::approve(tx, actor, no.unsigned_abs(), &said.note, now)
    };
    proposal.decide(Permission::DecideParameters, approve).await
}

pub(super) async fn refuse(proposal: Numbered, Said(said): Said<Decide>) -> Result<Response, Problem> {
    let refuse = move |tx: &mut Tx<'_>, actor: &Actor, no: i64, now| {
        rules::refuse(tx, actor, no.unsigned_abs(), &said.note, now)
    };
    proposal.decide(Permission::DecideParameters, refuse).await
}
