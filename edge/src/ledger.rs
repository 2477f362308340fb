//! Ledger (being written): the hub as tills' operations ask it.

use async_trait::async_trait;
use huitong_protocol::card::Card;
use huitong_protocol::decline::Elsewhere;
use huitong_protocol::till::TotalBalance;
use huitong_protocol::wire::{Grant, Need};

/// Head office, as an operation asks it: all that is lacking in one call, with no transaction open.
#[async_trait]
pub trait Hub: Send + Sync + 'static {
    /// Asks for grants and card states. Must answer within its own bound, whatever the line does.
    async fn ask(&self, needs: Vec<Need>, totals: bool) -> HubReply;
}

/// What the hub said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HubReply {
    /// It answered.
    Answered {
        /// Grants to adopt.
        grants: Vec<Grant>,
        /// The cards asked for, as the hub has them; a card that is not here does not exist.
        cards: Vec<Card>,
        /// Value that could not be brought.
        elsewhere: Vec<Elsewhere>,
        /// Whole balances, when asked, in the order of the needs.
        totals: Vec<TotalBalance>,
    },
    /// It could not be reached.
    Unreachable,
}
