//! Cards at the till: loads and freezes asked for, states and balances told.

use serde::{Deserialize, Serialize};

use super::check::{amount, tenders, text};
use super::{Fault, Said, said::requests};
use crate::card::{CardNumber, CardStatus};
use crate::decline::Elsewhere;
use crate::entry::TenderLine;
use crate::id::{AccountId, MemberId, OperatorId};
use crate::member::DraftId;
use crate::money::{Currency, sum};
use crate::time::{BusinessDay, Instant};
use crate::unit::Unit;

requests! {
    /// Sell a card with its initial load, or load it again.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct LoadCard {
        /// The currency of the amounts.
        pub currency: Currency,
        /// Paid for. A card may be sold empty; a reload is above zero.
        pub amount_minor: i64,
        /// Given with it.
        #[serde(default)]
        pub bonus_minor: i64,
        /// How it is paid; sums to `amount_minor`.
        #[serde(default)]
        pub tenders: Vec<TenderLine>,
        /// The member who buys it: it is theirs from then on. A card that is a member's, or was promised to one, is sold to nobody else. Not said when a
        /// card is loaded again.
        #[serde(default)]
        pub member: Option<MemberId>,
        /// In place of `member`: the id under which the buyer was enrolled here, whether head office has made a member of it or not.
        #[serde(default)]
        pub draft: Option<DraftId>,
    }
}

impl LoadCard {
    /// Checks what can be checked without looking anything up. `least` is 0 for a sale of the card, 1 for a reload.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self, least: i64) -> Result<(), Fault> {
        amount("amount_minor", self.amount_minor, least)?;
        amount("bonus_minor", self.bonus_minor, 0)?;
        tenders(&self.tenders)?;
        let named = [(self.member.is_some(), "member"), (self.draft.is_some(), "draft")];
        if let Some((_, field)) = named.into_iter().find(|(is_said, _)| least > 0 && *is_said) {
            return Err(Fault::new(field, "is said of a card that is sold; leave it out of one that is loaded again"));
        }
        if self.member.is_some() && self.draft.is_some() {
            return Err(Fault::new("draft", "is said beside member; say one of them"));
        }
        let paid = sum(self.tenders.iter().map(|line| line.amount_minor)).unwrap_or(i64::MAX);
        if paid != self.amount_minor {
            let fault = format!("sum to {paid}, but amount_minor is {}; they must be equal", self.amount_minor);
            return Err(Fault::new("tenders", fault).expecting(self.amount_minor));
        }
        Ok(())
    }
}

requests! {
    /// Freeze a card.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct FreezeCard {
        /// Why.
        pub reason: String,
    }
}

impl FreezeCard {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("reason", &self.reason, 1)
    }
}

/// What an account may spend at this store after the operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BalanceHere {
    /// The account.
    pub account: AccountId,
    /// What is counted.
    pub unit: Unit,
    /// What can be spent here, also offline.
    pub available_here_minor: i64,
    /// What holds set aside here besides.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_minor: i64,
    /// Of it, the points that this store gave and that are not confirmed yet, where the policy has them wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_minor: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

/// What is known of a card at the till.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CardState {
    /// The card.
    pub card: CardNumber,
    /// What it opens.
    pub account: AccountId,
    /// Where it is in its life, as this store knows.
    pub status: CardStatus,
    /// The member it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// The last day on which it may pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<BusinessDay>,
    /// What can be spent here, per unit.
    pub balances: Vec<BalanceHere>,
    /// The whole balance as the hub knows it, when the hub was asked and answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<TotalBalance>,
}

/// The whole balance of an account as the hub knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TotalBalance {
    /// What is counted.
    pub unit: Unit,
    /// Everywhere together.
    pub balance_minor: i64,
    /// In other stores, as last reported.
    pub elsewhere: Vec<Elsewhere>,
    /// The hub's clock.
    pub as_of_ms: Instant,
}
