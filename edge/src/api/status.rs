//! Status: how the edge is, for people, tills and supervisors.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use huitong_protocol::till::EdgeStatus;
use serde::Serialize;

use super::{Api, Code, Problem, Till};
use crate::store::{StoreError, allotment, setting, sync_state};

/// The status with what people should look at.
#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    edge: EdgeStatus,
    /// In words, empty when all is well.
    alarms: Vec<String>,
}

pub(super) async fn status(State(api): State<Api>, _till: Till) -> Result<Response, Problem> {
    let committed = api.store().committed();
    let identity = committed.identity.as_ref().ok_or(StoreError::NotEnrolled)?;
    let (sync, unreported_accounts, mut alarms) = api.store().read(|tx| {
        let sync = sync_state::get(tx)?;
        let unreported = allotment::changed_count(tx, sync.reported_change_no)?;
        Ok::<_, StoreError>((sync, unreported, setting::alarms(tx)?))
    })?;
    alarms.extend(committed.policy_faults.iter().cloned());
    let line = &api.shared.line;
    let edge = EdgeStatus {
        store: identity.store.id,
        epoch: identity.epoch,
        head: committed.head,
        open_day: committed.open_day,
        now_ms: api.clock().now(),
        hub_online: line.is_online(),
        hub_last_seen_ms: line.last_seen(),
        acknowledged_seq: sync.acknowledged.seq,
        unreported_accounts,
        policy_version: committed.replica.policy,
        cards_version: committed.replica.cards,
        insecure_http: api.shared.insecure_http,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Json(Status { edge, alarms }).into_response())
}

/// Alive: the process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: a till's operation would be decided.
pub(super) async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    let committed = api.store().committed();
    if !api.store().is_serving() {
        return Err(Problem::new(Code::Storage, "the database's writer has stopped"));
    }
    if committed.identity.is_none() || committed.policy.is_none() {
        return Err(Problem::new(Code::NotReady, "the store is not enrolled or has no policy yet"));
    }
    Ok("ready\n")
}
