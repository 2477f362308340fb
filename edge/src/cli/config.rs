//! `config`: what the daemon would work with, and who said so.

use clap::Subcommand;
use huitong_config::file_text;
use serde_json::json;

use super::{Done, Shell};

/// Checks and shows the configuration.
#[derive(Subcommand, Debug)]
pub(super) enum ConfigCommand {
    /// Reads all layers and names every fault at once
    Check,
    /// Prints the configuration in force
    Print {
        /// With the place that set each key
        #[arg(long)]
        origin: bool,
    },
}

impl ConfigCommand {
    pub(super) fn execute(self, shell: &mut Shell<'_>) -> Done {
        let loaded = shell.load()?;
        match self {
            Self::Check => shell.print(&json!({ "faults": [] }), |_| "no faults".to_owned()),
            Self::Print { origin: true } => shell.print(&loaded.origins_json(), |_| loaded.origins_text()),
            Self::Print { origin: false } => {
                let text = file_text(&loaded.value)?;
                shell.print(&serde_json::to_value(&loaded.value)?, |_| text)
            }
        }
    }
}
