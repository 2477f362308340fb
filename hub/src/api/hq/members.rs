//! Members, masked as at the service desk.

use axum::extract::{Path, State};
use axum::response::Response;
use huitong_protocol::member::{MemberNumber, SEARCH_BYTES_MAX};
use serde::Deserialize;

use super::answer;
use super::caller::{Asked, Caller};
use super::problem::{Code, Problem};
use crate::actor::Permission;
use crate::desk;
use crate::hub::Hub;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Find {
    find: String,
}

pub(super) async fn find(
    State(hub): State<Hub>,
    caller: Caller,
    Asked(asked): Asked<Find>,
) -> Result<Response, Problem> {
    caller.allow(Permission::ReadMembers)?;
    if asked.find.len() > SEARCH_BYTES_MAX {
        let fault = format!("has {} bytes; at most {SEARCH_BYTES_MAX} are allowed", asked.find.len());
        return Err(Problem::field("find", fault));
    }
    answer::json(&hub.store.read(move |tx| desk::find(tx, &asked.find)).await?)
}

pub(super) async fn show(
    State(hub): State<Hub>,
    Path(number): Path<String>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.allow(Permission::ReadMembers)?;
    let number: MemberNumber = number.parse().map_err(|_| Problem::field("number", "is no number of a member"))?;
    let member = hub.store.read(move |tx| desk::show(tx, &number)).await?;
    answer::json(&member.ok_or_else(|| Problem::new(Code::NotFound, "no member has this number"))?)
}
