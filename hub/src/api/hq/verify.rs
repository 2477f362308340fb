//! Verify: a job, as a large group's proof takes longer than a request should. POST starts it, GET says where it is.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::answer;
use super::caller::Caller;
use super::problem::Problem;
use crate::actor::Permission;
use crate::hub::Hub;
use crate::verification;

pub(super) async fn look(State(hub): State<Hub>, caller: Caller) -> Result<Response, Problem> {
    caller.allow(Permission::Read)?;
    answer::json(&hub.verification.status())
}

pub(super) async fn start(State(hub): State<Hub>, caller: Caller) -> Result<Response, Problem> {
    let actor = caller.allow(Permission::Verify)?;
    let now = hub.now();
    let name = actor.name().to_owned();
    hub.store.write(move |tx| actor.did(tx, "verify", "hub", "", now)).await?;
    if hub.verification.begin(&name, now) {
        hub.tasks.spawn(verification::perform(hub.clone(), name, now));
    }
    let mut response = answer::json_with(StatusCode::ACCEPTED, &hub.verification.status())?;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/v1/hq/verify"));
    Ok(response)
}
