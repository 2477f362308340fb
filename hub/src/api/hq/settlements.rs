//! Settlements: runs, their approval and their export. One run is computed at a time, so that whoever looks still finds a reader; the command line
//! takes its turn with it.
//!
//! A run is defined by what has arrived: asking for one again when nothing has gives the last one, so that a lost answer costs nothing.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::run::{Finality, RunId, Standing};
use huitong_protocol::time::BusinessDay;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::answer;
use super::caller::{Asked, Caller, Said};
use super::numbered::Numbered;
use super::page::{Listing, Plain};
use super::problem::Problem;
use crate::actor::{Actor, Permission};
use crate::approval::{self, Wanted};
use crate::export as books;
use crate::hub::Hub;
use crate::settle::{self, SettleError};
use crate::store::Tx;

pub(super) async fn list(listing: Listing, Asked(asked): Asked<Plain>) -> Result<Response, Problem> {
    let part = listing.allow_plain(Permission::Read, asked)?;
    let read = |tx: &mut Tx<'_>, after: Option<i64>, limit| approval::page(tx, RunId(after.unwrap_or(0)), limit);
    part.page(read, |run| run.record.run.id.0).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    #[serde(default)]
    by_legal_entity: bool,
}

pub(super) async fn show(run: Numbered, Asked(asked): Asked<Show>) -> Result<Response, Problem> {
    run.look(Permission::Read, move |tx, no| approval::sheet(tx, RunId(no), asked.by_legal_entity)).await
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    scheme: Option<Scheme>,
    #[serde(default)]
    memo: bool,
    to: Option<BusinessDay>,
    #[serde(default)]
    provisional: bool,
}

/// Nothing has arrived since the last run.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct NothingNew {
    /// That run.
    nothing_new_since: RunId,
}

pub(super) async fn run(State(hub): State<Hub>, caller: Caller, Said(said): Said<Run>) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Settle)?;
    let now = hub.now();
    let wanted = Wanted {
        scheme: said.scheme,
        standing: if said.memo { Standing::Memo } else { Standing::Booked },
        finality: if said.provisional { Finality::Provisional } else { Finality::Final },
        day_to: said.to,
    };
    let store = hub.store.clone();
    // Who asks while another run is computed hears so at once, and takes no reader from those who look.
    let turn = settle::turn(&store)?;
    // The read goes on when its asker hangs up, and so does its turn.
    let plan =
        move |tx: &mut Tx<'_>| Ok::<_, SettleError>((approval::plan(tx, wanted, now, &ProgressBar::hidden())?, turn));
    let made = match hub.store.read(plan).await {
        Ok((plan, _turn)) => hub.store.write(move |tx| approval::prepare(tx, &actor, &plan, now)).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(report) => answer::json_with(StatusCode::CREATED, &report),
        Err(SettleError::NothingNew(last)) => answer::json(&NothingNew { nothing_new_since: last.run.id }),
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    #[serde(default)]
    note: String,
}

pub(super) async fn approve(run: Numbered, Said(said): Said<Approve>) -> Result<Response, Problem> {
    let approve =
        move |tx: &mut Tx<'_>, actor: &Actor, no, now| approval::approve(tx, actor, RunId(no), &said.note, now);
    run.decide(Permission::Approve, approve).await
}

pub(super) async fn export(run: Numbered) -> Result<Response, Problem> {
    let export = |tx: &mut Tx<'_>, no| Ok::<_, SettleError>((RunId(no), books::csv(tx, RunId(no))?));
    let (id, csv) = run.read(Permission::Read, export).await?;
    let mut response = answer::whole(StatusCode::OK, "text/csv; charset=utf-8", csv);
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"settlement-{id}.csv\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
