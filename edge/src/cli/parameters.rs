//! `parameters`: what this store sets for itself, within the bounds of head office.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::api_client::ApiClient;
use super::{Done, Shell, render};

/// What this store sets for itself, within the bounds of head office.
#[derive(Subcommand, Debug)]
pub(super) enum Parameters {
    /// Shows what is in force here, within which bounds, and how the budgets stand
    Show,
    /// Lists what was proposed for this store, and what head office said
    Proposals,
    /// Judges a file by the policy in force, also without the line to head office
    Check {
        /// The parameters, as TOML
        file: PathBuf,
    },
    /// Proposes a file to head office, in place of all that the store has set before
    Propose {
        /// The parameters, as TOML
        file: PathBuf,
        /// Who proposes it
        #[arg(long, value_name = "NAME")]
        by: String,
    },
}

impl Parameters {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        let api = ApiClient::of(shell)?;
        let read = |file: &PathBuf| {
            std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
        };
        let answer = match self {
            Self::Show => api.get("/v1/parameters").await?,
            Self::Proposals => api.get("/v1/parameters/proposals").await?,
            Self::Check { file } => api.post("/v1/parameters/check", &json!({ "document": read(&file)? })).await?,
            Self::Propose { file, by } => {
                api.post("/v1/parameters", &json!({ "document": read(&file)?, "by": by })).await?
            }
        };
        shell.print(&answer, render::lines)
    }
}
