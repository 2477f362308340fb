//! Pricing rules: how promotions stand to each other. The engine that follows them is `crate::pricing`.

use serde::{Deserialize, Serialize};

/// A quarter of an hour: a long queue, a forgotten purse.
const QUOTE_VALID_MINUTES: u16 = 15;

/// What promotions of different priorities do to one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcrossPriorities {
    /// Only the highest priority that is present on the line counts.
    #[default]
    Never,
    /// From the highest priority down, the winner of each takes its part of what the one before left; an exclusive winner ends it.
    Compound,
}

/// How promotions stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PricingRules {
    /// What promotions of different priorities do to one line.
    pub across_priorities: AcrossPriorities,
    /// Whether a member pays the item's member price where it has one.
    pub member_price: bool,
    /// For how many minutes a sale is taken at the price of its quote.
    pub quote_valid_minutes: u16,
}

impl Default for PricingRules {
    fn default() -> Self {
        Self {
            across_priorities: AcrossPriorities::Never,
            member_price: true,
            quote_valid_minutes: QUOTE_VALID_MINUTES,
        }
    }
}
