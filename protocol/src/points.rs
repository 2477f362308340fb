//! Points: how many a purchase earns, what points are worth when they pay, and what comes back when goods do.
//!
//! Points are a second unit of the allotments ([`crate::unit::Unit::Points`]): earned as a load, burnt as a spend, so that no store burns what another
//! burnt already. Here is the arithmetic alone; the ledger moves them. Invariant: whatever the steps in which a purchase comes back, the points
//! taken back are exactly those that it earned, and the points given back exactly those that it burnt.

use jiff::ToSpan as _;
use serde::{Deserialize, Serialize};

use crate::money::{MoneyError, Ppm, Rounding, ratio};
use crate::time::BusinessDay;

/// The points chapter of the policy. Without `earn` nothing earns, without `burn` nothing is paid with points.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointsRules {
    /// How purchases earn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earn: Option<EarnRule>,
    /// How points pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn: Option<BurnRule>,
    /// How long earned points are pending. Without it they are confirmed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingRule>,
}

/// How purchases earn. The base is what was paid for lines that earn, with tenders that earn, net of every discount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarnRule {
    /// For every so many minor units of the base …
    pub per_minor: i64,
    /// … so many points, before the tier's multiplier. A receipt's points are rounded down, once.
    pub points: i64,
    /// The least base that earns at all.
    #[serde(default)]
    pub base_minor_min: i64,
}

/// How long points are pending: while the goods that earned them may come back.
///
/// Who earned them knows them: they are told as pending at the store that gave them. What head office gives later is confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingRule {
    /// For so many business days, that of the purchase included.
    pub days: u16,
    /// Whether they may pay meanwhile. Otherwise they stay at the store that gave them until they are confirmed.
    #[serde(default = "yes")]
    pub may_burn: bool,
}

const fn yes() -> bool {
    true
}

impl PendingRule {
    /// The longest time: a year.
    pub const DAYS_MAX: u16 = 366;

    /// The business day on which points that were earned on a day are confirmed.
    #[must_use]
    pub fn confirmed_on(&self, earned: BusinessDay) -> BusinessDay {
        BusinessDay::of(earned.date().saturating_add(i64::from(self.days).days()))
    }

    /// What it says of the points of a purchase.
    #[must_use]
    pub fn of(&self, purchased: BusinessDay) -> Pending {
        Pending { confirmed_on: self.confirmed_on(purchased), may_burn: self.may_burn }
    }
}

/// What the policy that priced a purchase says of its points.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// The business day on which they are confirmed.
    pub confirmed_on: BusinessDay,
    /// Whether they may pay before.
    pub may_burn: bool,
}

/// How points pay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurnRule {
    /// So many points …
    pub points: i64,
    /// … pay for so many minor units.
    pub worth_minor: i64,
    /// The fewest points that one payment may burn.
    #[serde(default)]
    pub points_min: i64,
    /// The largest part of a receipt that points may pay.
    #[serde(default = "whole")]
    pub share_ppm_max: Ppm,
}

const fn whole() -> Ppm {
    Ppm::ONE
}

/// The largest rate on either side: what is above it is a typing error.
const RATE_MAX: i64 = 1_000_000;

impl PointsRules {
    /// Every fault, by the field's path within the chapter. `multiplier` is that of the tier that earns most.
    #[must_use]
    pub fn faults(&self, multiplier: Ppm) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut within = |field: &str, value: i64, least: i64, most: i64| {
            if !(least..=most).contains(&value) {
                faults.push((field.to_owned(), format!("is {value}; it must be from {least} to {most}")));
            }
        };
        if let Some(earn) = &self.earn {
            within("earn.per_minor", earn.per_minor, 1, RATE_MAX);
            within("earn.points", earn.points, 1, RATE_MAX);
            within("earn.base_minor_min", earn.base_minor_min, 0, crate::till::AMOUNT_MINOR_MAX);
        }
        if let Some(burn) = &self.burn {
            within("burn.points", burn.points, 1, RATE_MAX);
            within("burn.worth_minor", burn.worth_minor, 1, RATE_MAX);
            within("burn.points_min", burn.points_min, 0, crate::till::AMOUNT_MINOR_MAX);
            within("burn.share_ppm_max", burn.share_ppm_max.0, 1, Ppm::ONE.0);
        }
        if let Some(pending) = &self.pending {
            within("pending.days", i64::from(pending.days), 1, i64::from(PendingRule::DAYS_MAX));
        }
        if let (Some(earn), Some(burn)) = (&self.earn, &self.burn) {
            // What a purchase earns must be worth less than the purchase, or buying prints money.
            let multiplier = i128::from(multiplier.0.max(Ppm::ONE.0));
            let earned = i128::from(earn.points) * i128::from(burn.worth_minor) * multiplier;
            let paid = i128::from(earn.per_minor) * i128::from(burn.points) * i128::from(Ppm::ONE.0);
            if earned >= paid {
                let fault = format!(
                    "gives {} points for {} minor units (times {} ppm in the highest tier) and takes {} points for {}: a purchase would earn what it costs; give less or ask for more",
                    earn.points, earn.per_minor, multiplier, burn.points, burn.worth_minor
                );
                faults.push(("earn".to_owned(), fault));
            }
        }
        faults
    }
}

impl EarnRule {
    /// The points that a base earns, rounded down.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn points_of(&self, base_minor: i64, multiplier: Ppm) -> Result<i64, MoneyError> {
        if base_minor < self.base_minor_min.max(1) {
            return Ok(0);
        }
        let points = i128::from(base_minor) * i128::from(self.points) * i128::from(multiplier.0)
            / (i128::from(self.per_minor) * i128::from(Ppm::ONE.0));
        i64::try_from(points).map_err(|_| MoneyError::Overflow)
    }
}

impl BurnRule {
    /// The points that pay for an amount, rounded up: nobody pays with less than the amount is worth.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn points_for(&self, amount_minor: i64) -> Result<i64, MoneyError> {
        ratio(amount_minor, self.points, self.worth_minor, Rounding::Up)
    }

    /// The most of a receipt that points may pay.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn amount_minor_max(&self, total_minor: i64) -> Result<i64, MoneyError> {
        crate::money::share(total_minor, self.share_ppm_max, Rounding::Down)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EARN: EarnRule = EarnRule { per_minor: 100, points: 1, base_minor_min: 0 };
    const BURN: BurnRule = BurnRule { points: 100, worth_minor: 100, points_min: 0, share_ppm_max: Ppm(300_000) };

    #[test]
    fn a_receipt_earns_whole_points_rounded_down_once() {
        assert_eq!(EARN.points_of(12_399, Ppm::ONE), Ok(123));
        assert_eq!(EARN.points_of(12_399, Ppm(1_500_000)), Ok(185), "185.985, not 184.5");
        assert_eq!(EARN.points_of(99, Ppm::ONE), Ok(0));
        assert_eq!(EARN.points_of(-5, Ppm::ONE), Ok(0));
        let from_ten = EarnRule { base_minor_min: 1_000, ..EARN };
        assert_eq!((from_ten.points_of(999, Ppm::ONE), from_ten.points_of(1_000, Ppm::ONE)), (Ok(0), Ok(10)));
        assert_eq!(EARN.points_of(i64::MAX, Ppm(i64::MAX)), Err(MoneyError::Overflow));
    }

    #[test]
    fn nobody_pays_with_less_than_the_amount_is_worth() {
        let three_for_two = BurnRule { points: 3, worth_minor: 2, ..BURN };
        assert_eq!(
            [1, 2, 3, 4].map(|amount_minor| three_for_two.points_for(amount_minor)),
            [Ok(2), Ok(3), Ok(5), Ok(6)]
        );
        assert_eq!(BURN.amount_minor_max(999), Ok(299));
    }

    #[test]
    fn rules_that_print_money_are_refused() {
        let rules =
            |per_minor| PointsRules { earn: Some(EarnRule { per_minor, ..EARN }), burn: Some(BURN), pending: None };
        let fields = |rules: &PointsRules, multiplier| -> Vec<String> {
            rules.faults(multiplier).into_iter().map(|(field, _)| field).collect()
        };
        assert_eq!(fields(&rules(100), Ppm::ONE), Vec::<String>::new());
        assert_eq!(fields(&rules(1), Ppm::ONE), ["earn"]);
        assert_eq!(fields(&rules(2), Ppm(2_000_000)), ["earn"], "the highest tier counts");
        let broken = PointsRules {
            earn: Some(EarnRule { per_minor: 0, points: -1, base_minor_min: -1 }),
            burn: Some(BurnRule { points: 0, worth_minor: 0, points_min: -1, share_ppm_max: Ppm(1_000_001) }),
            pending: Some(PendingRule { days: 0, may_burn: true }),
        };
        assert_eq!(fields(&broken, Ppm::ONE).len(), 9, "every fault at once: {:?}", broken.faults(Ppm::ONE));
    }

    #[test]
    fn points_are_pending_on_the_day_of_the_purchase_and_until_their_days_are_over() {
        let day = |text: &str| text.parse::<BusinessDay>().unwrap();
        let week = PendingRule { days: 7, may_burn: true };
        assert_eq!(week.confirmed_on(day("2026-11-22")), day("2026-11-29"));
        assert_eq!(week.of(day("2026-12-28")), Pending { confirmed_on: day("2027-01-04"), may_burn: true });
    }

    proptest! {
        /// I7: in whatever parts an amount comes back, its points come back exactly.
        #[test]
        fn the_parts_of_points_sum_to_the_points(points in 0_i64..1_000_000, parts in prop::collection::vec(0_i64..100_000, 1..20)) {
            let amount: i64 = parts.iter().sum();
            prop_assume!(amount > 0);
            let (mut before, mut back) = (0, 0);
            for each in parts {
                let some = crate::money::part(points, amount, before, before + each, Rounding::HalfUp).unwrap();
                prop_assert!(some >= 0);
                (before, back) = (before + each, back + some);
            }
            prop_assert_eq!(back, points);
        }
    }
}
