//! Movement: one change of one account's value or points, as an entry states it and as settlement folds it.
//!
//! Amounts are positive; the sign is in the kind. A void or return of a spend is a load, a void of a load is a spend, each with its own kind.
//! Nothing here decides; see `allotment` for what a store may move and `settlement` for who owes whom because of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{AccountId, EntryId, Epoch, IdError, Seq, StoreId, TextVisitor};
use crate::time::{BusinessDay, Stamp};
use crate::unit::Unit;

/// Whether a kind raises or lowers the account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Raises it: counts as loaded.
    In,
    /// Lowers it: counts as spent.
    Out,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal $direction:ident),+ $(,)?) => {
        /// What a movement is. The text form is the same in code, SQL, wire and documents.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum MovementKind { $($(#[$doc])* $variant),+ }

        impl MovementKind {
            /// All kinds, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Whether it raises or lowers the account.
            #[must_use]
            pub const fn direction(self) -> Direction {
                match self { $(Self::$variant => Direction::$direction),+ }
            }

            /// Reads the text form.
            ///
            /// # Errors
            /// [`IdError::Form`] when it is no kind.
            pub fn new(text: &str) -> Result<Self, IdError> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(IdError::Form { expected: "a kind of movement" }) }
            }
        }
    };
}

kinds! {
    /// The initial load when a card is sold. The store that does this is the account's home. May be zero: a card sold empty.
    CardSale = "card_sale" In,
    /// A later load, paid for.
    Reload = "reload" In,
    /// Value given with a load and not paid for.
    Bonus = "bonus" In,
    /// A balance brought in from an older system, by import at the hub.
    Opening = "opening" In,
    /// Paying with the account.
    Spend = "spend" Out,
    /// A spend undone on its day.
    SpendVoid = "spend_void" In,
    /// Goods of a known sale given back, value back onto the account.
    SpendReturn = "spend_return" In,
    /// Goods given back without a receipt, value onto the account.
    UnreferencedReturn = "unreferenced_return" In,
    /// A card sale or reload undone.
    LoadVoid = "load_void" Out,
    /// The bonus of an undone load taken back.
    BonusVoid = "bonus_void" Out,
    /// Remaining principal paid out.
    CashOut = "cash_out" Out,
    /// Bonus given up at cash-out.
    BonusForfeit = "bonus_forfeit" Out,
    /// Points earned by a sale.
    Earn = "earn" In,
    /// Points earned by a sale that was undone or returned.
    EarnReversal = "earn_reversal" Out,
    /// Points used as tender.
    Burn = "burn" Out,
    /// Burnt points given back by a void or return.
    BurnReversal = "burn_reversal" In,
    /// Points whose time is over.
    Expire = "expire" Out,
    /// A correction by head office that raises.
    AdjustIn = "adjust_in" In,
    /// A correction by head office that lowers.
    AdjustOut = "adjust_out" Out,
    /// What a fenced epoch held, paid back from the group's risk account by a decision of finance.
    SuspenseRepaid = "suspense_repaid" In,
    /// Budget that finance gives to the group's risk account.
    RiskBudget = "risk_budget" In,
    /// Budget that finance takes back.
    RiskBudgetCut = "risk_budget_cut" Out,
    /// What a store let an account overdraw, out of its line of the risk account.
    Overdraft = "overdraft" Out,
    /// Goods that were paid so came back, or the sale was undone: first of all the line gets its part.
    OverdraftBack = "overdraft_back" In,
    /// What an account owed the risk account, taken off it by head office.
    OverdraftCollected = "overdraft_collected" Out,
    /// The same, put onto the risk account.
    OverdraftRecovered = "overdraft_recovered" In,
    /// What was collected and turned out not to be owed, as goods came back: given back to the account.
    OverdraftReturned = "overdraft_returned" In,
    /// The same, taken off the risk account.
    OverdraftReleased = "overdraft_released" Out,
    /// What an account owed, given up by a decision of finance.
    OverdraftWrittenOff = "overdraft_written_off" In,
    /// The same, as the risk account's loss: it is gone from the budget.
    OverdraftLost = "overdraft_lost" Out,
}

impl MovementKind {
    /// Whether it moves on the group's risk account, and on no other.
    #[must_use]
    pub const fn is_of_risk_account(self) -> bool {
        matches!(self, Self::RiskBudget | Self::RiskBudgetCut) || self.is_about_debt()
    }

    /// Whether it changes what some account owes the risk account: those name it.
    #[must_use]
    pub const fn is_about_debt(self) -> bool {
        matches!(
            self,
            Self::Overdraft
                | Self::OverdraftBack
                | Self::OverdraftRecovered
                | Self::OverdraftReleased
                | Self::OverdraftWrittenOff
                | Self::OverdraftLost
        )
    }
}

impl fmt::Display for MovementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MovementKind {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for MovementKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MovementKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "movement kind", make: Self::new })
    }
}

/// Which movement another one undoes: the entry and the movement's index in it, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovementRef {
    /// The entry.
    pub entry: EntryId,
    /// Index within the entry, from 0.
    pub index: u16,
}

/// A movement as an entry states it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Movement {
    /// The account moved.
    pub account: AccountId,
    /// What is moved.
    pub unit: Unit,
    /// Why, and in which direction.
    pub kind: MovementKind,
    /// How much, above zero (a [`MovementKind::CardSale`] may be zero).
    pub amount_minor: i64,
    /// What it undoes, for voids, returns and reversals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<MovementRef>,
    /// The store whose lot an [`MovementKind::Opening`] balance is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_store: Option<StoreId>,
    /// What should have been taken back and was no longer there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shortfall_minor: i64,
    /// The account whose debt it changes, for what moves on the risk account because of an overdraft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owed_by: Option<AccountId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

/// A movement with its place in the one total order, as settlement folds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostedMovement {
    /// The account moved.
    pub account: AccountId,
    /// The hybrid logical stamp of its entry: first key of the total order.
    pub stamp: Stamp,
    /// The entry that states it: second to fourth key (store, epoch, seq). Hub entries have [`StoreId::HUB`].
    pub entry: EntryId,
    /// Index within the entry: the last key.
    pub index: u16,
    /// The business day it belongs to.
    pub business_day: BusinessDay,
    /// What is moved.
    pub unit: Unit,
    /// Why, and in which direction.
    pub kind: MovementKind,
    /// How much, not negative.
    pub amount_minor: i64,
    /// What it undoes.
    pub of: Option<MovementRef>,
    /// The store whose lot an opening balance is.
    pub origin_store: Option<StoreId>,
}

/// The total order of movements: (`stamp`, store, epoch, seq, index). Arrival order never matters.
pub type OrderKey = (Stamp, StoreId, Epoch, Seq, u16);

impl PostedMovement {
    /// Its key in the total order.
    #[must_use]
    pub fn order_key(&self) -> OrderKey {
        (self.stamp, self.entry.store, self.entry.epoch, self.entry.seq, self.index)
    }

    /// What another movement names to undo this one.
    #[must_use]
    pub fn reference(&self) -> MovementRef {
        MovementRef { entry: self.entry, index: self.index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back() {
        for &kind in MovementKind::ALL {
            assert_eq!(kind.as_str().parse::<MovementKind>().unwrap(), kind);
        }
        assert!("spent".parse::<MovementKind>().is_err());
    }
}
