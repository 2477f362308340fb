//! Operations: what became of one, and its undoing on its day.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use super::posted::{PathPart, json_response, path_part};
use super::{Api, Code, Posted, Problem, Till};
use crate::ledger::{OperationLook, Order};

pub(super) async fn void(State(api): State<Api>, id: PathPart, posted: Posted) -> Result<Response, Problem> {
    let order = Order::Void { of: path_part("id", id)?, request: posted.json()? };
    posted.execute(&api, order).await
}

pub(super) async fn look(State(api): State<Api>, _till: Till, id: PathPart) -> Result<Response, Problem> {
    match api.ledger().operation(path_part("id", id)?)? {
        // The stored answer is passed on byte by byte.
        OperationLook::Decided(answer) => {
            let json = [br#"{"state":"decided","outcome":"#.as_slice(), &answer, b"}"].concat();
            Ok(json_response(json.into()))
        }
        OperationLook::Unknown => Ok(json_response(Bytes::from_static(br#"{"state":"unknown"}"#))),
        OperationLook::InFlight => Err(Problem::new(Code::InFlight, "ask again in a moment")),
    }
}
