//! Status: how things stand.

use axum::extract::State;
use axum::response::Response;

use super::answer;
use super::caller::Caller;
use super::problem::Problem;
use crate::actor::Permission;
use crate::hub::Hub;
use crate::overview;

pub(super) async fn look(State(hub): State<Hub>, caller: Caller) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    let (now, lately) = (hub.now(), hub.lately());
    answer::json(&hub.store.read(move |tx| overview::look(tx, &lately, now)).await?)
}
