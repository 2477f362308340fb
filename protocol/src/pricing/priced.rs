//! Priced: the answer of the engine: every line with its discounts and who bears them, or a refusal.
//!
//! Discounts are recorded in the journal, so their names are stable. Invariant (I7): for every line gross − Σ discounts = net ≥ 0, the parts of the
//! funders sum to their discount, and the lines sum to the total.

use serde::{Deserialize, Serialize};

use super::trace::Considered;
use crate::id::{CouponCode, PromotionId};
use crate::money::MoneyError;
use crate::party::Party;

/// Where a discount comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum DiscountSource {
    /// The till gave it.
    Markdown {
        /// Its index among the line's markdowns, from 0.
        index: u16,
    },
    /// The till took it off the basket as a whole; this is the line's part.
    BasketMarkdown {
        /// Its index among the basket's markdowns, from 0.
        index: u16,
    },
    /// The item's price for members.
    MemberPrice,
    /// A promotion of the policy.
    Promotion {
        /// Which.
        promotion: PromotionId,
    },
}

/// What one funder bears of a discount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FundedPart {
    /// Who.
    pub party: Party,
    /// How much, above zero.
    pub amount_minor: i64,
}

/// What came off a line, why, and who bears it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discount {
    /// Where it comes from.
    pub source: DiscountSource,
    /// How much, above zero.
    pub amount_minor: i64,
    /// Who bears it; sums to `amount_minor`.
    pub funders: Vec<FundedPart>,
    /// The coupon that it needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<CouponCode>,
}

/// A line with its price.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PricedLine {
    /// At the shelf price.
    pub gross_minor: i64,
    /// In the order in which they were taken off.
    pub discounts: Vec<Discount>,
    /// What is to be paid.
    pub net_minor: i64,
    /// Whether it earns points: neither the line's flags nor a promotion on it says no.
    pub earns_points: bool,
}

/// A basket with its price.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Priced {
    /// The lines, in the order of the basket.
    pub lines: Vec<PricedLine>,
    /// Σ `net_minor`.
    pub total_minor: i64,
    /// Every rule that was considered; see [`super::trace`].
    pub trace: Vec<Considered>,
}

/// Why a basket has no price.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PricingRefusal {
    /// The markdowns are more than all the goods that take them: the till would pay the customer.
    #[error(
        "the markdowns exceed the goods by {below_minor} minor units; take a coupon back, or sell more goods with it"
    )]
    BasketBelowZero {
        /// By how much, above zero.
        below_minor: i64,
    },
    /// The markdowns of one line are more than the line, though the basket could bear them.
    #[error(
        "line {line}: the markdowns exceed the line by {below_minor} minor units; put the rest on the lines that it is for"
    )]
    LineBelowZero {
        /// The first such line, from 0.
        line: usize,
        /// By how much, above zero.
        below_minor: i64,
    },
    /// An amount or quantity of a line that no sale can have.
    #[error("line {line}: {field} is {found}; it must not be below {least}")]
    Line {
        /// The line, from 0.
        line: usize,
        /// What of it.
        field: &'static str,
        /// What it is.
        found: i64,
        /// The least that it may be.
        least: i64,
    },
    /// A markdown of the basket that takes nothing off.
    #[error("markdowns[{index}].amount_minor is {found}; it must not be below 1")]
    BasketMarkdown {
        /// Which, from 0.
        index: u16,
        /// What it is.
        found: i64,
    },
    /// More lines than a sale may have.
    #[error("the basket has {found} lines; at most {max} are allowed")]
    Lines {
        /// How many.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// An amount that does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl PricingRefusal {
    /// The stable code that tills and people look up.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BasketBelowZero { .. } => "basket_below_zero",
            Self::LineBelowZero { .. } => "line_below_zero",
            Self::Line { .. } => "line_amount",
            Self::BasketMarkdown { .. } => "basket_markdown_amount",
            Self::Lines { .. } => "too_many_lines",
            Self::Money(_) => "amount_overflow",
        }
    }
}
