//! `schedule`: what runs unattended.

use anyhow::anyhow;
use clap::Subcommand;
use serde_json::json;

use super::api_client::ApiClient;
use super::{Done, Shell, render};
use crate::schedule::Job;

/// Shows what runs unattended, and runs it by hand.
#[derive(Subcommand, Debug)]
pub(super) enum ScheduleCommand {
    /// Lists the jobs with their next and last runs
    List,
    /// Runs a job now; its next time stays
    Run {
        /// download, upload, report, day_close, expire_holds or purge
        name: String,
    },
}

impl ScheduleCommand {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        let answer = match self {
            Self::List => ApiClient::of(shell)?.get("/v1/schedule").await?,
            Self::Run { name } => {
                let names: Vec<&str> = Job::ALL.iter().map(|job| job.as_str()).collect();
                let job = Job::named(&name)
                    .ok_or_else(|| anyhow!("there is no job {name:?}; there are {}", names.join(", ")))?;
                ApiClient::of(shell)?.post(&format!("/v1/schedule/{}/run", job.as_str()), &json!({})).await?
            }
        };
        shell.print(&answer, render::lines)
    }
}
