//! Edge: what stores call. Every request but the first is signed; all bodies are MessagePack; a report may ride on each.

pub(super) mod dataset;
pub(super) mod enrol;
pub(super) mod grant;
pub(super) mod hello;
pub(super) mod parameters;
pub(super) mod parked;
pub(super) mod poll;
pub(super) mod report;
pub(super) mod upload;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use data_encoding::BASE64;
use huitong_protocol::id::{AccountId, StoreId};
use huitong_protocol::wire::{
    Answer, BODY_BYTES_MAX, GREETING_BYTES_MAX, Grant, MESSAGE_BYTES_MAX, Report, Request, from_msgpack, header,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::respond;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::report::{self as rules, Taken};
use crate::session::{Caller, Signed};
use crate::store::{StoreError, Tx, allotment};

/// A body as axum gives it: whole, or refused for its size.
pub(super) type Body = Result<Bytes, BytesRejection>;

fn whole(body: Body) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| {
        Refusal::malformed(format!(
            "body: {rejection}; {GREETING_BYTES_MAX} bytes are allowed to enrol and for a hello, {BODY_BYTES_MAX} for an upload, \
             {MESSAGE_BYTES_MAX} for the rest"
        ))
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refusal> {
    let value = headers.get(name).ok_or_else(|| Refusal::malformed(format!("header {name}: is missing")))?;
    value.to_str().map_err(|_| Refusal::malformed(format!("header {name}: is not text")))
}

/// Who a request says that it is from, and its signature; nothing is proved yet.
struct Claim<'a> {
    store: StoreId,
    session: &'a str,
    nonce: u64,
    signature: Vec<u8>,
}

fn claim(headers: &HeaderMap) -> Result<Claim<'_>, Refusal> {
    let malformed = |name: &str, fault: &dyn std::fmt::Display| Refusal::malformed(format!("header {name}: {fault}"));
    Ok(Claim {
        store: text(headers, header::STORE)?.parse().map_err(|fault| malformed(header::STORE, &fault))?,
        session: if headers.contains_key(header::SESSION) { text(headers, header::SESSION)? } else { "" },
        nonce: text(headers, header::NONCE)?.parse().map_err(|fault| malformed(header::NONCE, &fault))?,
        signature: BASE64
            .decode(text(headers, header::SIGNATURE)?.as_bytes())
            .map_err(|fault| malformed(header::SIGNATURE, &fault))?,
    })
}

impl Claim<'_> {
    fn signed<'a>(&'a self, path: &'a str, body: &'a [u8]) -> Signed<'a> {
        Signed { store: self.store, session: self.session, nonce: self.nonce, path, body, signature: &self.signature }
    }
}

/// Answers a store that proves who it is. What is refused from then on is told to that store, and kept as told to it.
async fn serve_proved<T: DeserializeOwned, A: Serialize, F: Future<Output = Result<A, Refusal>>>(
    hub: &Hub,
    path: &'static str,
    headers: &HeaderMap,
    body: Body,
    serve: impl FnOnce(Caller, Request<T>) -> F,
) -> Response {
    let outcome = match prove(hub, path, headers, body) {
        Err(refusal) => Err(refusal),
        Ok((caller, body)) => {
            let outcome = match read(hub, caller, &body).await {
                Err(refusal) => Err(refusal),
                Ok(request) => serve(caller, request).await,
            };
            match outcome {
                Err(refusal) => Err(refusal.to_a_proved_store()),
                answer => answer,
            }
        }
    };
    respond(hub, path, headers, outcome).await
}

/// Proves who asks.
fn prove(hub: &Hub, path: &str, headers: &HeaderMap, body: Body) -> Result<(Caller, Bytes), Refusal> {
    let body = whole(body)?;
    let claim = claim(headers)?;
    Ok((hub.sessions.prove(&claim.signed(path, &body))?, body))
}

/// Reads what is asked, the report checked; what the store says of its policies is taken.
async fn read<T: DeserializeOwned>(hub: &Hub, caller: Caller, body: &[u8]) -> Result<Request<T>, Refusal> {
    hub.heard(caller.store, hub.now());
    let mut request: Request<T> = from_msgpack(body).map_err(Refusal::malformed)?;
    if let Some(report) = &request.report {
        rules::check(caller, report)?;
    }
    // Whether it is heard is asked again when its report is taken; nothing else is written of who is not.
    if request.report.is_none() || request.policy.is_some() {
        hub.store.read(move |tx| rules::admit(tx, caller)).await?;
    }
    if let Some(state) = request.policy.take() {
        if let Some(fault) = state.fault() {
            return Err(Refusal::malformed(fault));
        }
        hub.take_policy_state(caller.store, caller.epoch, state).await?;
    }
    Ok(request)
}

/// Takes the report of a request that has nothing else to write.
async fn take_report(hub: &Hub, caller: Caller, report: Option<Report>) -> Result<(Taken, Vec<Grant>), Refusal> {
    let Some(report) = report else { return Ok((Taken::default(), Vec::new())) };
    let (shared, now) = (hub.clone(), hub.now());
    let (taken, grants) = hub
        .store
        .write(move |tx| {
            let taken = rules::take(tx, &shared.root, caller, &report, now)?;
            let grants = undelivered(tx, caller, &taken.accounts)?;
            Ok::<_, Refusal>((taken, grants))
        })
        .await?;
    hub.announce(&taken);
    Ok((taken, grants))
}

fn undelivered(tx: &mut Tx<'_>, caller: Caller, accounts: &[AccountId]) -> Result<Vec<Grant>, StoreError> {
    let mut accounts = accounts.to_vec();
    accounts.sort_unstable();
    accounts.dedup();
    let mut grants = Vec::new();
    for account in accounts {
        grants.extend(allotment::undelivered(tx, account, caller.store, caller.epoch)?);
    }
    Ok(grants)
}

fn answer<T>(hub: &Hub, taken: Taken, grants: Vec<Grant>, body: T) -> Answer<T> {
    Answer { server_time_ms: hub.now(), grants, refused: taken.refused, untold: taken.untold, body }
}
