//! Trace: every rule that was considered for a basket, and what became of it: the answer to "why not this promotion?".
//!
//! Considered are the promotions whose goods are among the lines, and those whose coupon was shown. A promotion that no line matches by its goods is
//! *not* considered and leaves no trace, so that the work does not grow with the policy. The order is by rule, so the same basket gives the same trace
//! whatever the order of promotions in the document.

use serde::{Deserialize, Serialize};

use crate::id::{CouponCode, PromotionId};

/// A rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Rule {
    /// The item's price for members.
    MemberPrice,
    /// A promotion.
    Promotion {
        /// Which.
        promotion: PromotionId,
    },
    /// A coupon that was shown.
    Coupon {
        /// Its code.
        coupon: CouponCode,
    },
}

/// Why a rule gave nothing on some lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "reason", deny_unknown_fields)]
pub enum RejectReason {
    /// It is for other stores.
    OtherStore,
    /// It begins later or is over.
    WrongDay,
    /// It is for other weekdays.
    WrongWeekday,
    /// It is for other hours.
    WrongTime,
    /// It is for members.
    NotMember,
    /// It is for other tiers.
    WrongTier,
    /// It is for other segments.
    WrongSegment,
    /// It is for the month of the birthday.
    NotBirthdayMonth,
    /// It needs a coupon that was not shown.
    CouponMissing,
    /// No promotion that holds here today knows the coupon.
    UnknownCoupon,
    /// The coupon was shown, but none of its goods is in the basket.
    NoGoods,
    /// The goods are excluded.
    ExcludedGoods,
    /// The store keeps the item out of promotions.
    ExcludedByStore,
    /// Less is left of its budget than this basket would take.
    BudgetSpent,
    /// The counter does not take part.
    CounterNotTakingPart,
    /// The line takes no discounts.
    NoDiscount,
    /// The line takes no coupons.
    NoCoupon,
    /// The item is not in the item master.
    UnknownItem,
    /// Less is spent than needed.
    BelowThreshold {
        /// How much is missing.
        missing_minor: i64,
    },
    /// A promotion of higher priority counts on the line.
    Outranked {
        /// Which.
        by: PromotionId,
    },
    /// Another one, or the compound ones together with it, gives more.
    Beaten {
        /// Which; of several compound ones the first.
        by: PromotionId,
    },
    /// An exclusive promotion has the line.
    BlockedByExclusive {
        /// Which.
        by: PromotionId,
    },
    /// The line has an item promotion that this threshold does not go together with.
    AlreadyDiscounted {
        /// Which.
        by: PromotionId,
    },
    /// It would not lower the price.
    NoEffect,
    /// The policy has switched it off.
    SwitchedOff,
}

/// What became of a rule on some lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// It came off.
    Applied {
        /// How much, over all the lines.
        amount_minor: i64,
    },
    /// It did not.
    Rejected(RejectReason),
}

/// A rule that was considered, with the lines for which the verdict is the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Considered {
    /// The rule.
    pub rule: Rule,
    /// The verdict.
    pub outcome: Verdict,
    /// Indices of the lines, from 0, ascending; empty for what concerns the whole basket.
    pub lines: Vec<u16>,
}

/// The verdicts on one rule as they fall, line by line.
#[derive(Clone, Default, Debug)]
pub(super) struct Verdicts {
    applied: (i64, Vec<u16>),
    rejected: Vec<(RejectReason, Vec<u16>)>,
}

impl Verdicts {
    pub(super) fn apply(&mut self, line: u16, amount_minor: i64) {
        self.applied.0 = self.applied.0.saturating_add(amount_minor);
        self.applied.1.push(line);
    }

    /// Few reasons per rule: a walk is quicker than a map.
    pub(super) fn reject(&mut self, reason: RejectReason, lines: impl IntoIterator<Item = u16>) {
        match self.rejected.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, known)) => known.extend(lines),
            None => self.rejected.push((reason, lines.into_iter().collect())),
        }
    }

    /// What was found, applied first.
    pub(super) fn into_considered(self, rule: Rule, trace: &mut Vec<Considered>) {
        let (amount_minor, lines) = self.applied;
        let start = trace.len();
        if amount_minor > 0 {
            trace.push(Considered { rule, outcome: Verdict::Applied { amount_minor }, lines });
        }
        trace.extend(self.rejected.into_iter().map(|(reason, lines)| Considered {
            rule,
            outcome: Verdict::Rejected(reason),
            lines,
        }));
        for considered in &mut trace[start..] {
            considered.lines.sort_unstable();
        }
        trace[start..].sort_unstable();
    }
}
