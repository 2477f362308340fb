//! Parked: grants up to what a store is to keep, as far as the pool has it.
//!
//! Only for a store that asks: by day value that was just recalled from it would otherwise go straight back.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use huitong_protocol::wire::{Answer, AskParked, Nothing, PARKED_MAX, Request, path};

use super::{Body, answer, serve_proved, undelivered};
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::report as rules;
use crate::session::Caller;
use crate::{allot, report};

pub(in crate::api) async fn parked(State(hub): State<Hub>, headers: HeaderMap, body: Body) -> Response {
    serve_proved(&hub, path::PARKED, &headers, body, |caller, request| serve(&hub, caller, request)).await
}

async fn serve(hub: &Hub, caller: Caller, request: Request<AskParked>) -> Result<Answer<Nothing>, Refusal> {
    let Request { report, body: AskParked { purses }, .. } = request;
    if purses.len() > PARKED_MAX {
        return Err(Refusal::malformed(format!(
            "body.purses: has {} rows; at most {PARKED_MAX} are allowed",
            purses.len()
        )));
    }
    let (shared, now) = (hub.clone(), hub.now());
    let (taken, grants) = hub
        .store
        .write(move |tx| {
            // The report first: what it releases may be what it asks for, and what it holds need not be granted.
            let taken = match &report {
                Some(report) => rules::take(tx, &shared.root, caller, report, now)?,
                None => rules::admit(tx, caller).map(|_| report::Taken::default())?,
            };
            allot::fill(tx, caller, &purses, |account| shared.recalls.is_awaited(account))?;
            let accounts: Vec<_> = purses.iter().map(|purse| purse.account).chain(taken.accounts.clone()).collect();
            let grants = undelivered(tx, caller, &accounts)?;
            Ok::<_, Refusal>((taken, grants))
        })
        .await?;
    hub.announce(&taken);
    Ok(answer(hub, taken, grants, Nothing {}))
}
