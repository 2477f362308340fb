//! What became of an operation: the answer that is stored and given again.

use serde::{Deserialize, Serialize};

use super::{BalanceHere, Hold, SalePrice};
use crate::decline::Decline;
use crate::entry::{Invoiceable, RedLetter, TenderLine};
use crate::id::{EntryId, OperationId};
use crate::seal::Seal;
use crate::time::{BusinessDay, Instant};

/// An operation that took effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Approved {
    /// The operation.
    pub operation: OperationId,
    /// Its entry in the journal; the receipt's number.
    pub entry: EntryId,
    /// The entry's kind.
    pub kind: String,
    /// The business day it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_day: Option<BusinessDay>,
    /// The edge's clock.
    pub at_ms: Instant,
    /// The accounts that moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balances: Vec<BalanceHere>,
    /// What the cards overdrew with this sale, beyond their value.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overdraft_minor: i64,
    /// Where money goes back to, for voids and returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<TenderLine>,
    /// What may stand on an invoice, for sales.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invoiceable: Vec<Invoiceable>,
    /// The tender whose payment is not known, for a sale that is parked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_unknown: Option<u16>,
    /// The invoice that a red-letter invoice (红字发票) must lower, for returns of goods that are invoiced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red_letter_required: Option<RedLetter>,
    /// How the price of a sale came about, where anything but the shelf price did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<SalePrice>,
    /// The hold as it is after this, for holds placed and released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The holds that stay open over a close, those that end first in front; at most so many as a list has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_holds: Vec<Hold>,
    /// The day as sealed, for closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

/// The answer to an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect, durably.
    Approved(Box<Approved>),
    /// It was refused; nothing moved.
    Declined {
        /// The operation.
        operation: OperationId,
        /// One sentence for the screen, in the language of whoever reads it: it is chosen by the code when the answer is given, and is not stored.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
        /// Code and figures.
        #[serde(flatten)]
        decline: Box<Decline>,
    },
}

/// The state of an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OperationState {
    /// It was decided; this is the stored answer.
    Decided {
        /// The stored answer.
        outcome: Outcome,
    },
    /// It never arrived, or is older than answers are kept.
    Unknown,
}
