//! Risk: what the group puts behind overdrafts, and two people's word about it.

use axum::extract::State;
use axum::response::Response;
use huitong_protocol::id::AccountId;
use serde::Deserialize;

use super::answer;
use super::caller::{Caller, Said};
use super::problem::Problem;
use crate::actor::Permission;
use crate::hub::Hub;
use crate::risk;
use crate::store::Tx;
use crate::suspense::Occasion;

pub(super) async fn show(State(hub): State<Hub>, caller: Caller) -> Result<Response, Problem> {
    caller.allow(Permission::ReadMembers)?;
    let today = hub.today(hub.now());
    answer::json(&hub.store.read(move |tx| risk::show(tx, today)).await?)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    /// The whole budget, losses included.
    amount_minor: i64,
    #[serde(default)]
    note: String,
}

pub(super) async fn budget(
    State(hub): State<Hub>,
    caller: Caller,
    Said(said): Said<Budget>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Risk)?;
    let now = hub.now();
    let occasion = Occasion { now, day: hub.today(now) };
    let set = move |tx: &mut Tx<'_>| risk::set_budget(tx, &actor, said.amount_minor, &said.note, occasion);
    answer::json(&hub.store.write(set).await?)
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteOff {
    /// Whose debt is given up.
    account: AccountId,
    #[serde(default)]
    note: String,
}

pub(super) async fn write_off(
    State(hub): State<Hub>,
    caller: Caller,
    Said(said): Said<WriteOff>,
) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Risk)?;
    let now = hub.now();
    let occasion = Occasion { now, day: hub.today(now) };
    let give_up = move |tx: &mut Tx<'_>| risk::write_off(tx, &actor, said.account, &said.note, occasion);
    answer::json(&hub.store.write(give_up).await?)
}
