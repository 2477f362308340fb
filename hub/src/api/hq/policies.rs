//! Policies as they were published. Publishing needs the signing key, which is not the API's.

use axum::extract::{OriginalUri, Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::caller::{Asked, Caller};
use super::exceptions::number;
use super::problem::{Code, Problem};
use super::{answer, page};
use crate::actor::Permission;
use crate::hub::Hub;
use crate::publish;
use crate::store::policy;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(hub): State<Hub>,
    OriginalUri(uri): OriginalUri,
    caller: Caller,
    Asked(asked): Asked<List>,
) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    let limit = page::limit(asked.limit)?;
    let after = page::after::<u64>(asked.cursor.as_deref())?;
    let rows = hub.store.read(move |tx| publish::policies(tx, after.unwrap_or(0), limit + 1)).await?;
    page::page(&uri, rows, limit, |policy| policy.version.to_string())
}

pub(super) async fn show(
    State(hub): State<Hub>,
    Path(version): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    let version = number(&version)?.unsigned_abs();
    let kept = hub.store.read(move |tx| policy::find(tx, version)).await?;
    let kept = kept.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no policy {version}")))?;
    answer::json(&publish::shown(&kept))
}
