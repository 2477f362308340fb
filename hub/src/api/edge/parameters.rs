//! Parameters: what a store would set for itself, brought by the store, and what became of it.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{
    Answer, AskParameters, PROPOSALS_MAX, PROPOSER_CHARS_MAX, ParametersAnswer, Request, path,
};

use super::{Body, answer, serve_proved, take_report};
use crate::actor::{Actor, Via};
use crate::hub::Hub;
use crate::parameters::{self as rules, ParameterError};
use crate::refusal::Refusal;
use crate::session::Caller;
use crate::store::{StoreError, parameters as rows};

pub(in crate::api) async fn parameters(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    serve_proved(&hub, path::PARAMETERS, &headers, body, |caller, request| serve(&hub, caller, request)).await
}

async fn serve(
    hub: &Hub,
    caller: Caller,
    request: Request<AskParameters>,
) -> Result<Answer<ParametersAnswer>, Refusal> {
    let Request { report, body: asked, .. } = request;
    let (taken, grants) = take_report(hub, caller, report).await?;
    let (store, now) = (caller.store, hub.now());
    let mut said = ParametersAnswer { taken: None, faults: Vec::new(), proposals: Vec::new() };
    if let Some(propose) = asked.propose {
        let by = propose.by.trim();
        if by.chars().count() > PROPOSER_CHARS_MAX {
            return Err(Refusal::malformed(format!("body.propose.by: is longer than {PROPOSER_CHARS_MAX} characters")));
        }
        // Whose store it is stands in the name, so that nobody at head office is taken for somebody at a store.
        let actor = Actor::new(&format!("{by}@{store}"), Via::Store);
        let actor = actor.map_err(|why| Refusal::malformed(format!("body.propose.by: {why}")))?;
        let proposed = hub.store.write(move |tx| rules::propose(tx, &actor, store, &propose.document, now)).await;
        match proposed {
            Ok(sheet) => said.taken = Some(sheet.proposal.number),
            Err(ParameterError::Store(error)) => return Err(error.into()),
            Err(ParameterError::Faults(faults)) => said.faults = faults.iter().map(ToString::to_string).collect(),
            Err(ParameterError::Refused { fault, .. }) => said.faults.push(fault),
            Err(other @ (ParameterError::Unknown(_) | ParameterError::Note(_))) => said.faults.push(other.to_string()),
        }
    }
    let kept = hub.store.read(move |tx| rows::page(tx, Some(store), None, PROPOSALS_MAX)).await;
    let kept = kept.map_err(|error: StoreError| Refusal::from(error))?;
    said.proposals = kept.into_iter().map(|kept| kept.proposal).collect();
    Ok(answer(hub, taken, grants, said))
}
