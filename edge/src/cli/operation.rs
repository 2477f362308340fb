//! `operation`: what became of something that a till asked for.

use clap::Subcommand;

use super::api_client::ApiClient;
use super::{Done, Shell, render};
use crate::ledger::Reference;

/// Looks at operations of tills.
#[derive(Subcommand, Debug)]
pub(super) enum Operation {
    /// Shows the stored answer of an operation
    Show {
        /// Its id, or its receipt number such as S1-1-88
        id: String,
    },
}

impl Operation {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        let Self::Show { id } = self;
        // Also keeps anything but an id out of the path.
        let _: Reference = id.parse().map_err(|error| anyhow::anyhow!("{id:?} {error}"))?;
        let answer = ApiClient::of(shell)?.get(&format!("/v1/operations/{id}")).await?;
        shell.print(&answer, render::lines)
    }
}
