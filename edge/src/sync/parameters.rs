//! Parameters: what this store has set for itself, and the way to something else: proposed here, decided at head office.
//!
//! A proposal is no work of a till: it needs the line, and nothing here waits for it. What comes of it arrives with a policy. The store judges nothing
//! beyond what it can say offline; head office has the newest bounds.

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use huitong_protocol::id::{PromotionId, StoreId};
use huitong_protocol::policy::{ParameterBounds, StoreParameters};
use huitong_protocol::till::Fault;
use huitong_protocol::wire::{
    AskParameters, PROPOSAL_BYTES_MAX, ParametersAnswer, Proposal, ProposeParameters, from_json, path,
};
use serde::{Deserialize, Serialize};

use super::api::{SyncControl, problem};
use crate::api::document::{look as described, problems};
use crate::api::{Code, Problem, Routes, Till};
use crate::ledger::LedgerError;
use crate::store::{StoreError, budget};

/// The routes of the store's parameters.
pub(super) fn table() -> Routes {
    let runs = problems(&[Code::Forbidden]);
    Routes::new()
        .get("/v1/parameters", look, described::<OwnParameters>("What the store has set for itself.", &[]))
        .post(
            "/v1/parameters",
            propose,
            described::<Option<Proposal>>("Proposes to head office what the store would set for itself.", &[])
                .reads::<Propose>()
                .problems(&runs),
        )
        .get("/v1/parameters/proposals", proposals, described::<Vec<Proposal>>("What became of proposals.", &[]))
        .post(
            "/v1/parameters/check",
            check,
            described::<Checked>("Judges parameters by the policy in force.", &[]).reads::<Propose>(),
        )
}

/// Parameters that the policy in force allows.
#[derive(Clone, Copy, Debug, Serialize, schemars::JsonSchema)]
pub struct Checked {
    /// Always true: what is not valid is a problem.
    pub valid: bool,
    /// By which policy.
    pub policy_version: u64,
}

/// What the store has set for itself.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct OwnParameters {
    /// The store.
    pub store: StoreId,
    /// The policy in force.
    pub policy_version: u64,
    /// What it says that the store has set for itself.
    #[schemars(with = "serde_json::Value")]
    pub parameters: StoreParameters,
    /// Within which bounds.
    #[schemars(with = "serde_json::Value")]
    pub bounds: ParameterBounds,
    /// How the budgets of its own promotions stand.
    pub budgets: Vec<Budget>,
}

/// How a budget stands.
#[derive(Clone, Copy, Debug, Serialize, schemars::JsonSchema)]
pub struct Budget {
    /// The promotion.
    pub promotion: PromotionId,
    /// What it may give away in all.
    pub budget_minor: i64,
    /// What it has given, less what came back.
    pub given_minor: i64,
}

async fn look(_till: Till, Extension(control): Extension<SyncControl>) -> Result<Response, Problem> {
    let store = &control.link.store;
    let committed = store.committed();
    let identity = committed.identity.as_ref().ok_or(StoreError::NotEnrolled)?;
    let in_force = committed.policy.as_ref().ok_or(LedgerError::NoPolicy)?;
    let parameters = in_force.policy.stores.get(&identity.store.id).cloned().unwrap_or_default();
    let budgets = store.read(|tx| {
        let limited = parameters.promotions.iter().filter_map(|own| Some((own.id, own.budget_minor?)));
        let stands = |(promotion, budget_minor)| {
            Ok(Budget { promotion, budget_minor, given_minor: budget::given(tx, promotion)? })
        };
        limited.map(stands).collect::<Result<Vec<_>, StoreError>>()
    })?;
    let own = OwnParameters {
        store: identity.store.id,
        policy_version: in_force.version,
        parameters,
        bounds: in_force.policy.store_parameters.clone(),
        budgets,
    };
    Ok(Json(own).into_response())
}

/// What a store would set for itself, as it is sent to the store.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// Who proposes it.
    #[serde(default)]
    pub by: String,
    /// The parameters as TOML.
    pub document: String,
}

fn read(body: &Bytes) -> Result<Propose, Problem> {
    let propose: Propose = from_json(body).map_err(Problem::field)?;
    if propose.document.len() > PROPOSAL_BYTES_MAX {
        let fault = format!("has {} bytes; at most {PROPOSAL_BYTES_MAX} are allowed", propose.document.len());
        return Err(Problem::field(Fault::new("document", fault)));
    }
    Ok(propose)
}

/// Judges parameters by the policy in force, also without the line. Head office judges by the newest, and knows the item master.
async fn check(_till: Till, Extension(control): Extension<SyncControl>, body: Bytes) -> Result<Response, Problem> {
    let propose = read(&body)?;
    let committed = control.link.store.committed();
    let identity = committed.identity.as_ref().ok_or(StoreError::NotEnrolled)?;
    let in_force = committed.policy.as_ref().ok_or(LedgerError::NoPolicy)?;
    let own: StoreParameters = toml::from_str(&propose.document)
        .map_err(|why| Problem::field(Fault::new("document", why.to_string().trim().to_owned())))?;
    let faults = in_force.policy.parameter_faults(identity.store.id, &own);
    refuse(faults.iter().map(ToString::to_string).collect())?;
    Ok(Json(Checked { valid: true, policy_version: in_force.version }).into_response())
}

async fn propose(till: Till, Extension(control): Extension<SyncControl>, body: Bytes) -> Result<Response, Problem> {
    till.may_run_the_day()?;
    let Propose { by, document } = read(&body)?;
    if by.trim().is_empty() {
        return Err(Problem::field(Fault::new("by", "is empty; name who proposes it")));
    }
    let answer = ask(&control, Some(ProposeParameters { by, document })).await?;
    refuse(answer.faults)?;
    let taken = answer.taken.and_then(|number| answer.proposals.into_iter().find(|known| known.number == number));
    Ok(Json(taken).into_response())
}

async fn proposals(_till: Till, Extension(control): Extension<SyncControl>) -> Result<Response, Problem> {
    let proposals: Vec<Proposal> = ask(&control, None).await?.proposals;
    Ok(Json(proposals).into_response())
}

async fn ask(control: &SyncControl, propose: Option<ProposeParameters>) -> Result<ParametersAnswer, Problem> {
    control.link.call(path::PARAMETERS, AskParameters { propose }).await.map_err(problem)
}

/// Every fault at once: whoever corrects a file wants to do it once.
fn refuse(faults: Vec<String>) -> Result<(), Problem> {
    if faults.is_empty() { Ok(()) } else { Err(Problem::field(Fault::new("document", faults.join("\n")))) }
}
