//! `sync`: talks to head office now instead of when the schedule says.

use clap::Subcommand;
use serde_json::json;

use super::api_client::ApiClient;
use super::{Done, Shell, render};

/// Talks to head office now.
#[derive(Subcommand, Debug)]
pub(super) enum SyncCommand {
    /// Downloads and uploads now, and ends when it is done
    Now {
        /// Only fetches what head office published
        #[arg(long)]
        download: bool,
        /// Only sends reports and entries
        #[arg(long)]
        upload: bool,
    },
    /// Shows how the store stands with the hub
    Status,
}

impl SyncCommand {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        let api = ApiClient::of(shell)?;
        let answer = match self {
            Self::Now { download, upload } => {
                api.post("/v1/sync/run", &json!({ "download": download, "upload": upload })).await?
            }
            Self::Status => api.get("/v1/sync").await?,
        };
        shell.print(&answer, render::lines)
    }
}
