//! Voids and returns, as tills ask for them.

use serde::{Deserialize, Serialize};

use super::check::{amount, text};
use super::{Fault, LINES_MAX, QUANTITY_THOUSANDTHS_MAX, Said, said::requests};
use crate::card::CardNumber;
use crate::id::{EntryId, OperatorId};
use crate::money::Currency;

requests! {
    /// Undo an operation of the open day.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct VoidOperation {
        /// Why.
        pub reason: String,
    }
}

impl VoidOperation {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("reason", &self.reason, 1)
    }
}

/// Part of a receipt's line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnItem {
    /// Index of the line, from 0.
    pub line: u16,
    /// How much, in thousandths.
    pub quantity_thousandths: i64,
}

requests! {
    /// Give goods of a receipt back.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct PostReturn {
        /// The receipt's number.
        pub receipt: EntryId,
        /// What comes back.
        pub items: Vec<ReturnItem>,
        /// Why.
        pub reason: String,
    }
}

impl PostReturn {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("reason", &self.reason, 1)?;
        if self.items.is_empty() || self.items.len() > LINES_MAX {
            return Err(Fault::new(
                "items",
                format!("has {} lines; from 1 to {LINES_MAX} are allowed", self.items.len()),
            ));
        }
        for (index, item) in self.items.iter().enumerate() {
            if self.items[..index].iter().any(|other| other.line == item.line) {
                return Err(Fault::new(
                    format!("items[{index}].line"),
                    format!("{} is there twice; name each line once", item.line),
                ));
            }
            if !(1..=QUANTITY_THOUSANDTHS_MAX).contains(&item.quantity_thousandths) {
                let fault = format!(
                    "is {}; it must be from 1 to {QUANTITY_THOUSANDTHS_MAX} thousandths",
                    item.quantity_thousandths
                );
                return Err(Fault::new(format!("items[{index}].quantity_thousandths"), fault));
            }
        }
        Ok(())
    }
}

requests! {
    /// Give goods back without a receipt, their value onto a card.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct PostUnreferencedReturn {
        /// The card.
        pub card: CardNumber,
        /// The currency of the amount.
        pub currency: Currency,
        /// How much.
        pub amount_minor: i64,
        /// Why.
        pub reason: String,
    }
}

impl PostUnreferencedReturn {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        amount("amount_minor", self.amount_minor, 1)?;
        text("reason", &self.reason, 1)
    }
}
