//! Holds at the till: value of a card set aside for a sale that comes later, released when it does not, and told.
//!
//! A hold is captured by a sale: its stored-value tender names the hold.

use serde::{Deserialize, Serialize};

use super::check::{amount, text};
use super::{Fault, Said, said::requests};
use crate::allotment::Term;
use crate::card::CardNumber;
use crate::id::{AccountId, EntryId, OperationId, OperatorId};
use crate::money::Currency;
use crate::time::Instant;

/// The longest that anything can be held: a year. What the policy lets is shorter.
pub const HOLD_SECONDS_MAX: u64 = 366 * 24 * 3_600;

requests! {
    /// Set value of a card aside in this store.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct PlaceHold {
        /// The card.
        pub card: CardNumber,
        /// The currency of the amount.
        pub currency: Currency,
        /// How much.
        pub amount_minor: i64,
        /// For how long it can be captured, in seconds.
        pub expires_in_s: u64,
    }
}

impl PlaceHold {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        amount("amount_minor", self.amount_minor, 1)?;
        if !(1..=HOLD_SECONDS_MAX).contains(&self.expires_in_s) {
            let fault = format!("is {}; it must be from 1 to {HOLD_SECONDS_MAX} seconds", self.expires_in_s);
            return Err(Fault::new("expires_in_s", fault));
        }
        Ok(())
    }
}

requests! {
    /// Give back what a hold set aside.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct ReleaseHold {
        /// Why.
        pub reason: String,
    }
}

impl ReleaseHold {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("reason", &self.reason, 1)
    }
}

/// Where a hold is in its life. An ended one never comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// It sets its amount aside.
    Open,
    /// A sale was paid with it.
    Captured,
    /// A till released it.
    Released,
    /// Its time was over.
    Expired,
}

impl HoldState {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Captured => "captured",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }

    /// Reads the text form.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        [Self::Open, Self::Captured, Self::Released, Self::Expired].into_iter().find(|state| state.as_str() == text)
    }
}

/// A hold, as the store that placed it keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Hold {
    /// Its id: that of the operation that placed it. A sale's tender names it.
    pub id: OperationId,
    /// The entry that placed it.
    pub entry: EntryId,
    /// The card that was shown.
    pub card: CardNumber,
    /// What it is of.
    pub account: AccountId,
    /// The currency of the amounts.
    pub currency: Currency,
    /// What it sets aside, or did.
    pub amount_minor: i64,
    /// When it was placed, by the store's clock.
    pub placed_at_ms: Instant,
    /// Until when it can be captured, by the store's clock.
    pub expires_at_ms: Instant,
    /// Where it is in its life.
    pub state: HoldState,
    /// What was paid with it, when it was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_minor: Option<i64>,
    /// The entry that ended it: the sale, or the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EntryId>,
}

impl Hold {
    /// Whether it still sets value aside.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == HoldState::Open
    }

    /// How its end stands.
    #[must_use]
    pub fn term(&self) -> Term {
        Term { is_open: self.is_open(), until: self.expires_at_ms }
    }
}
