//! `card`: what the store knows of a card.

use clap::Subcommand;
use huitong_protocol::card::CardNumber;

use super::api_client::ApiClient;
use super::{Done, Shell, render};

/// Looks at cards.
#[derive(Subcommand, Debug)]
pub(super) enum Card {
    /// Shows a card and what can be spent on it here
    Show {
        /// Its number
        number: CardNumber,
        /// Also asks the hub for the whole balance
        #[arg(long)]
        total: bool,
    },
}

impl Card {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        let Self::Show { number, total } = self;
        let api = ApiClient::of(shell)?;
        let query = if total { "?total=true" } else { "" };
        let answer = api.get(&format!("/v1/cards/{}{query}", number.reveal())).await?;
        shell.print(&answer, render::lines)
    }
}
