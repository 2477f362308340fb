//! Sync and schedule as the machine's own command line reaches them, beside the tills' routes and with the same tokens.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use huitong_protocol::till::Fault;
use huitong_protocol::wire::from_json;
use serde::{Deserialize, Serialize};

use super::bring::{self, BringError, BringJournal, Brought};
use super::download::{self, Downloaded};
use super::upload::{self, UploadDone};
use super::{Link, SyncError, status, tend_once};
use crate::api::document::{look as described, problems};
use crate::api::{Api, Code, Problem, Routes, Till};
use crate::line::Line;
use crate::schedule::{Job, Planned, Schedule};

/// What the handlers drive.
#[derive(Clone)]
pub struct SyncControl {
    pub(crate) link: Arc<Link>,
    pub(crate) line: Arc<Line>,
    pub(crate) schedule: Schedule,
    pub(crate) data_dir: PathBuf,
}

/// The machine's own routes, as they are described.
pub(crate) fn table() -> Routes {
    let runs = problems(&[Code::Forbidden]);
    Routes::new()
        .get("/v1/sync", look, described::<status::SyncStatus>("How the line to head office is.", &[]))
        .post(
            "/v1/sync/run",
            run,
            described::<Ran>("Talks to head office now.", &[]).may_read::<RunSync>().problems(&runs),
        )
        .post(
            "/v1/sync/bring",
            bring_journal,
            described::<Brought>("Hands head office the journal of an epoch that ended.", &[])
                .reads::<BringJournal>()
                .problems(&runs),
        )
        .get("/v1/schedule", list, described::<Vec<Planned>>("What runs unattended.", &[]))
        .post(
            "/v1/schedule/{name}/run",
            run_job,
            described::<JobRun>("Runs a job now.", &[Code::NotFound]).problems(&runs),
        )
        .and(super::parameters::table())
}

/// `GET /v1/sync`, `POST /v1/sync/run`, `POST /v1/sync/bring`, `GET /v1/schedule`, `POST /v1/schedule/{name}/run`, and those of the store's parameters.
pub fn routes(control: SyncControl) -> Router<Api> {
    table().into_router().layer(Extension(control))
}

/// A job that ran.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct JobRun {
    /// Which.
    pub job: String,
    /// How it ended, in words.
    pub outcome: String,
}

/// What to run by hand; nothing named means all.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunSync {
    /// Fetch what head office published.
    pub download: bool,
    /// Send what was not sent.
    pub upload: bool,
}

/// What was done.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
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

async fn bring_journal(
    till: Till,
    Extension(control): Extension<SyncControl>,
    body: Bytes,
) -> Result<Response, Problem> {
    till.may_run_the_day()?;
    let wanted: BringJournal = from_json(&body).map_err(Problem::field)?;
    match bring::run(&control.link, &control.data_dir, &wanted).await {
        Ok(brought) => Ok(Json(brought).into_response()),
        Err(why @ BringError::NotHeard(_)) => Err(Problem::field(Fault::new("file", why.to_string()))),
        Err(BringError::Unfit(fault)) => Err(Problem::field(fault)),
        Err(BringError::Sync(error)) => Err(problem(error)),
    }
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
    Ok(Json(JobRun { job: job.as_str().to_owned(), outcome }).into_response())
}

pub(super) fn problem(error: SyncError) -> Problem {
    match error {
        SyncError::Store(error) => error.into(),
        other => Problem::new(Code::Busy, other.to_string()),
    }
}
