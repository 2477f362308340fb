//! Exceptions: the queue, and what is done about it. Each write says what should be so; the same again changes nothing.

use axum::response::Response;
use huitong_protocol::id::StoreId;
use huitong_protocol::reconcile::{Class, Severity};
use serde::Deserialize;

use super::caller::{Asked, Said};
use super::numbered::Numbered;
use super::page::Listing;
use super::problem::Problem;
use crate::actor::{Actor, Permission};
use crate::exception as rules;
use crate::store::Tx;
use crate::store::exception::{self as rows, Filter, Resolution, States};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    class: Option<Class>,
    severity: Option<Severity>,
    store: Option<StoreId>,
    #[serde(default)]
    state: States,
    owner: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(listing: Listing, Asked(asked): Asked<List>) -> Result<Response, Problem> {
    let List { class, severity, store, state: states, owner, cursor, limit } = asked;
    let filter = Filter { class, severity, store, states, owner };
    let part = listing.allow(Permission::Read, cursor, limit)?;
    part.page(move |tx, after, limit| rows::page(tx, &filter, after.unwrap_or(0), limit), |row| row.number).await
}

pub(super) async fn show(exception: Numbered) -> Result<Response, Problem> {
    exception.look(Permission::Read, rules::show).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Assign {
    to: String,
}

pub(super) async fn assign(exception: Numbered, Said(said): Said<Assign>) -> Result<Response, Problem> {
    let assign = move |tx: &mut Tx<'_>, actor: &Actor, no, now| rules::assign(tx, actor, no, &said.to, now);
    exception.decide(Permission::Exceptions, assign).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolve {
    note: String,
    #[serde(default = "corrected")]
    resolution: Resolution,
}

const fn corrected() -> Resolution {
    Resolution::Corrected
}

pub(super) async fn resolve(exception: Numbered, Said(said): Said<Resolve>) -> Result<Response, Problem> {
    let resolve =
        move |tx: &mut Tx<'_>, actor: &Actor, no, now| rules::resolve(tx, actor, no, said.resolution, &said.note, now);
    exception.decide(Permission::Exceptions, resolve).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reopen {
    note: String,
}

pub(super) async fn reopen(exception: Numbered, Said(said): Said<Reopen>) -> Result<Response, Problem> {
    let reopen = move |tx: &mut Tx<'_>, actor: &Actor, no, now| rules::reopen(tx, actor, no, &said.note, now);
    exception.decide(Permission::Exceptions, reopen).await
}
