//! Suspense: what epochs held when they ended, what receipts prove of it, and two people's word to pay it back.

use axum::extract::{Path, State};
use axum::response::Response;
use huitong_protocol::id::{AccountId, Epoch, StoreId};
use serde::Deserialize;

use super::answer;
use super::caller::{Asked, Caller, Said};
use super::page::{self, Listing};
use super::problem::{Code, Problem};
use crate::actor::Permission;
use crate::hub::Hub;
use crate::receipt;
use crate::store::{StoreError, Tx};
use crate::suspense::{self as rules, Occasion, Suspended};

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    store: Option<StoreId>,
    /// Also epochs of which nothing waits.
    #[serde(default)]
    all: bool,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(listing: Listing, Asked(asked): Asked<List>) -> Result<Response, Problem> {
    let part = listing.allow(Permission::Read, asked.cursor, asked.limit)?;
    let read = move |tx: &mut Tx<'_>, after: Option<String>, limit| {
        let found = rules::list(tx, asked.store, asked.all)?;
        Ok::<Vec<Suspended>, StoreError>(page::rest(found, after.as_ref(), limit, key))
    };
    part.page(read, key).await
}

/// Ordered as the list is: by store, then epoch.
fn key(row: &Suspended) -> String {
    format!("{}\u{1}{:010}", row.fenced.store, row.fenced.epoch.0)
}

/// Reads the store and epoch in a path.
fn epoch_of(text: &str) -> Result<(StoreId, Epoch), Problem> {
    rules::epoch_of(text).ok_or_else(|| Problem::new(Code::NotFound, "there is no such epoch; write it as S1-2"))
}

pub(super) async fn show(
    State(hub): State<Hub>,
    Path(epoch): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.allow(Permission::ReadMembers)?;
    let (store, epoch) = epoch_of(&epoch)?;
    answer::json(&hub.store.read(move |tx| rules::show(tx, store, epoch)).await?)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Repay {
    /// Only this account; every one when there is none.
    account: Option<AccountId>,
    #[serde(default)]
    note: String,
}

pub(super) async fn repay(
    State(hub): State<Hub>,
    Path(epoch): Path<String>,
    caller: Caller,
    Said(said): Said<Repay>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Repay)?;
    let (store, epoch) = epoch_of(&epoch)?;
    let now = hub.now();
    let occasion = Occasion { now, day: hub.today(now) };
    let database = hub.store.clone();
    // It goes on when who asked hangs up.
    let paid = tokio::task::spawn_blocking(move || {
        rules::repay(&database, &actor, (store, epoch, said.account), &said.note, occasion)
    });
    answer::json(&paid.await.map_err(|_| StoreError::Stopped)??)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bring {
    /// The receipts as CSV: `entry, card, kind, amount, time`.
    receipts: String,
    #[serde(default)]
    note: String,
    /// Only look at what would change.
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn bring(
    State(hub): State<Hub>,
    Path(epoch): Path<String>,
    caller: Caller,
    Said(said): Said<Bring>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Repay)?;
    let (of, now) = (epoch_of(&epoch)?, hub.now());
    let Bring { receipts, note, dry_run } = said;
    let sheet = if dry_run {
        hub.store.read(move |tx| receipt::rehearse(tx, of, receipts.as_bytes(), now)).await?
    } else {
        hub.store.write(move |tx| receipt::bring(tx, &actor, of, (receipts.as_bytes(), &note), now)).await?
    };
    answer::json(&sheet)
}
