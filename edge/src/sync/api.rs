//! Sync and schedule as the machine's own command line reaches them, beside the tills' routes and with the same tokens.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use huitong_protocol::wire::from_json;
use serde::{Deserialize, Serialize};

use super::download::{self, Downloaded};
use super::upload::{self, UploadDone};
use super::{Link, SyncError, status, tend_once};
use crate::api::{Api, Code, Problem, Till};
use crate::line::Line;
use crate::schedule::{Job, Schedule};

/// What the handlers drive.
#[derive(Clone)]
pub struct SyncControl {
    pub(crate) link: Arc<Link>,
    pub(crate) line: Arc<Line>,
    pub(crate) schedule: Schedule,
}

/// `GET /v1/sync`, `POST /v1/sync/run`, `GET /v1/schedule`, `POST /v1/schedule/{name}/run`, and those of the store's parameters.
pub fn routes(control: SyncControl) -> Router<Api> {
    Router::new()
        .route("/v1/sync", get(look))
        .route("/v1/sync/run", post(run))
        .route("/v1/schedule", get(list))
        .route("/v1/schedule/{name}/run", post(run_job))
        .merge(super::parameters::routes())
        .layer(Extension(control))
}

/// What to run by hand; nothing named means all.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSync {
    /// Fetch what head office published.
    pub download: bool,
    /// Send what was not sent.
    pub upload: bool,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Ran {
    /// What came down, when that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<Downloaded>,
    /// What went up, when that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadDone>,
}

async fn look(_till: Till, Extension(control): Extension<SyncControl>) -> Result<Response, Problem> {
    Ok(Json(status::look(&control.link, &control.line)?).into_response())
}

async fn run(till: Till, Extension(control): Extension<SyncControl>, body: Bytes) -> Result<Response, Problem> {
    till.may_run_the_day()?;
    let wish: RunSync = if body.is_empty() { RunSync::default() } else { from_json(&body).map_err(Problem::field)? };
    let all = !wish.download && !wish.upload;
    let mut ran = Ran { download: None, upload: None };
    if wish.download || all {
        ran.download = Some(download::run(&control.link).await.map_err(problem)?);
    }
    if wish.upload || all {
        tend_once(&control.link).await.map_err(problem)?;
        ran.upload = Some(upload::run(&control.link).await.map_err(problem)?);
    }
    Ok(Json(ran).into_response())
}

async fn list(_till: Till, Extension(control): Extension<SyncControl>) -> Result<Response, Problem> {
    Ok(Json(control.schedule.list()?).into_response())
}

async fn run_job(
    till: Till,
    Extension(control): Extension<SyncControl>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    till.may_run_the_day()?;
    let Some(job) = Job::named(&name) else {
        let names: Vec<&str> = Job::ALL.iter().map(|job| job.as_str()).collect();
        return Err(Problem::new(Code::NotFound, format!("there is no job {name:?}; there are {}", names.join(", "))));
    };
    let outcome = control.schedule.run_now(job).await.map_err(|why| Problem::new(Code::Busy, why))?;
    Ok(Json(serde_json::json!({ "job": job.as_str(), "outcome": outcome })).into_response())
}

pub(super) fn problem(error: SyncError) -> Problem {
    match error {
        SyncError::Store(error) => error.into(),
        other => Problem::new(Code::Busy, other.to_string()),
    }
}
