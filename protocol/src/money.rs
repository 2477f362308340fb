//! Money: integer minor units, checked arithmetic, rounding named at the call, splits that keep their sum.
//!
//! No float anywhere. Amounts that travel beside their unit are plain `i64` fields named `…_minor`; this module owns the
//! arithmetic on them. Invariant: a split sums to what was split, and the mirror of a negative amount is the split of the positive one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{IdError, TextVisitor};

/// An amount that does not fit, or an operation that has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result is outside ±9.2 × 10^18 minor units.
    #[error("the amount does not fit in 64 bits")]
    Overflow,
    /// A split over weights that are negative or all zero.
    #[error("cannot split over weights that are negative or sum to zero")]
    Weights,
    /// An amount in another currency than its account.
    #[error("the amount is in {found}, but {expected} is needed")]
    Currency {
        /// The currency given.
        found: Currency,
        /// The currency needed.
        expected: Currency,
    },
}

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Yuan renminbi, the currency of the samples.
    pub const CNY: Self = Self(iso_currency::Currency::CNY);
    /// United States dollar.
    pub const USD: Self = Self(iso_currency::Currency::USD);

    /// Reads a three-letter code.
    ///
    /// # Errors
    /// [`IdError::Form`] when ISO 4217 does not list it.
    pub fn new(code: &str) -> Result<Self, IdError> {
        iso_currency::Currency::from_code(code)
            .map(Self)
            .ok_or(IdError::Form { expected: "a currency code of ISO 4217, like CNY" })
    }

    /// The three-letter code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Decimal places of the minor unit: 2 for CNY, 0 for JPY.
    #[must_use]
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(2, u32::from)
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "currency", make: Self::new })
    }
}

/// An amount of money in minor units with its currency, for people: `Display` writes `12.34 CNY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Money {
    /// Minor units; negative means owed the other way.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// The amount without the currency: `-12.34`.
    #[must_use]
    pub fn decimal(self) -> String {
        let exponent = self.currency.exponent();
        let scale = 10_u64.pow(exponent);
        let sign = if self.minor < 0 { "-" } else { "" };
        let magnitude = self.minor.unsigned_abs();
        if exponent == 0 {
            return format!("{sign}{magnitude}");
        }
        format!("{sign}{}.{:0width$}", magnitude / scale, magnitude % scale, width = exponent as usize)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

/// Where a fraction of a minor unit goes. Named at every call that can meet one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// To the nearest; halves away from zero. Fees, commissions and draws.
    HalfUp,
    /// Towards zero.
    Down,
    /// Away from zero.
    Up,
}

/// Parts per million: a rate as an integer. 6,000 is 0.6 %.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Ppm(pub i64);

impl Ppm {
    /// The whole.
    pub const ONE: Self = Self(1_000_000);
}

/// Sum that says when it does not fit.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn sum(amounts: impl IntoIterator<Item = i64>) -> Result<i64, MoneyError> {
    amounts.into_iter().try_fold(0_i64, |total, amount| total.checked_add(amount).ok_or(MoneyError::Overflow))
}

/// `amount × numerator ÷ denominator`, computed in 128 bits and rounded as named.
///
/// # Errors
/// [`MoneyError::Overflow`] when the result does not fit; [`MoneyError::Weights`] when the denominator is not positive.
pub fn ratio(amount: i64, numerator: i64, denominator: i64, rounding: Rounding) -> Result<i64, MoneyError> {
    if denominator <= 0 {
        return Err(MoneyError::Weights);
    }
    let (product, divisor) = (i128::from(amount) * i128::from(numerator), i128::from(denominator));
    let (quotient, remainder) = (product / divisor, product % divisor);
    let rounded = match rounding {
        Rounding::Down => quotient,
        Rounding::Up if remainder != 0 => quotient + product.signum(),
        Rounding::HalfUp if 2 * remainder.abs() >= divisor => quotient + product.signum(),
        Rounding::HalfUp | Rounding::Up => quotient,
    };
    i64::try_from(rounded).map_err(|_| MoneyError::Overflow)
}

/// The share of an amount at a rate, rounded as named.
///
/// # Errors
/// [`MoneyError::Overflow`] when the result does not fit.
pub fn share(amount: i64, rate: Ppm, rounding: Rounding) -> Result<i64, MoneyError> {
    ratio(amount, rate.0, Ppm::ONE.0, rounding)
}

/// Splits an amount over weights by largest remainder; ties go to the earlier weight. The parts sum to the amount, and the split of
/// a negative amount is the mirror of the split of its positive.
///
/// # Errors
/// [`MoneyError::Weights`] when a weight is negative or all are zero (and the amount is not); [`MoneyError::Overflow`] when the weights' sum does not fit.
pub fn split(amount: i64, weights: &[i64]) -> Result<Vec<i64>, MoneyError> {
    let total = sum(weights.iter().copied())?;
    if weights.iter().any(|&weight| weight < 0) || (total == 0 && amount != 0) {
        return Err(MoneyError::Weights);
    }
    if amount == 0 {
        return Ok(vec![0; weights.len()]);
    }
    let magnitude = i128::from(amount).abs();
    let exact = |weight: i64| magnitude * i128::from(weight);
    let mut parts: Vec<i128> = weights.iter().map(|&weight| exact(weight) / i128::from(total)).collect();
    let left = magnitude - parts.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(exact(weights[index]) % i128::from(total)));
    for &index in order.iter().take(usize::try_from(left).map_err(|_| MoneyError::Overflow)?) {
        parts[index] += 1;
    }
    let sign = i128::from(amount.signum());
    let parts: Vec<i64> = parts
        .into_iter()
        .map(|part| i64::try_from(sign * part).map_err(|_| MoneyError::Overflow))
        .collect::<Result<_, _>>()?;
    assert_eq!(sum(parts.iter().copied())?, amount, "the parts of a split sum to what was split");
    Ok(parts)
}

/// What a further partial reversal takes of `whole` when `cumulative` of `total` is reversed and `already` of `whole` went back before:
/// `round(cumulative ÷ total × whole) − already`. Reversing all of it, in any number of steps, gives back exactly `whole`.
///
/// # Errors
/// As [`ratio`].
pub fn reversal(whole: i64, cumulative: i64, total: i64, already: i64, rounding: Rounding) -> Result<i64, MoneyError> {
    ratio(whole, cumulative, total, rounding)?.checked_sub(already).ok_or(MoneyError::Overflow)
}

/// The part of `whole` that belongs to the piece of `total` between `before` and `after`: cumulative, so that the parts of all pieces are the whole.
///
/// # Errors
/// As [`ratio`].
pub fn part(whole: i64, total: i64, before: i64, after: i64, rounding: Rounding) -> Result<i64, MoneyError> {
    if total == 0 {
        return Ok(0);
    }
    let already = ratio(whole, before, total, rounding)?;
    reversal(whole, after, total, already, rounding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn money_prints_with_the_places_of_its_currency() {
        let check = |minor, code: &str, text: &str| {
            assert_eq!(Money { minor, currency: code.parse().unwrap() }.to_string(), text)
        };
        check(123_456, "CNY", "1234.56 CNY");
        check(-5, "CNY", "-0.05 CNY");
        check(7, "JPY", "7 JPY");
        check(1_234, "KWD", "1.234 KWD");
        check(i64::MIN, "CNY", "-92233720368547758.08 CNY");
    }

    #[test]
    fn fees_round_half_up_per_entry_and_mirror() {
        assert_eq!(share(75, Ppm(6_000), Rounding::HalfUp), Ok(0), "G-3: 0.75 at 0.6 % is nothing");
        assert_eq!(share(150, Ppm(6_000), Rounding::HalfUp), Ok(1));
        assert_eq!(share(-150, Ppm(6_000), Rounding::HalfUp), Ok(-1), "a reversal is the mirror");
        assert_eq!(share(250, Ppm(6_000), Rounding::HalfUp), Ok(2), "1.5 goes up");
        assert_eq!(share(i64::MAX, Ppm(2_000_000), Rounding::Down), Err(MoneyError::Overflow));
        assert_eq!(ratio(1, 1, 0, Rounding::Down), Err(MoneyError::Weights));
        let thirds = |amount| [Rounding::Down, Rounding::HalfUp, Rounding::Up].map(|how| ratio(amount, 1, 3, how));
        assert_eq!(thirds(4), [Ok(1), Ok(1), Ok(2)]);
        assert_eq!(thirds(-4), [Ok(-1), Ok(-1), Ok(-2)]);
        assert_eq!(thirds(6), [Ok(2); 3]);
    }

    #[test]
    fn ten_returns_of_one_unit_give_back_the_sale() {
        let mut already = 0;
        let parts: Vec<i64> = (1..=10)
            .map(|cumulative| {
                let part = reversal(17_925, cumulative, 10, already, Rounding::HalfUp).unwrap();
                already += part;
                part
            })
            .collect();
        assert_eq!(parts[..4], [1_793, 1_792, 1_793, 1_792]);
        assert_eq!(parts.iter().sum::<i64>(), 17_925);
    }

    #[test]
    fn a_split_gives_the_last_cent_to_the_largest_remainder_then_to_the_first() {
        assert_eq!(split(100, &[1, 1, 1]).unwrap(), [34, 33, 33]);
        assert_eq!(split(-100, &[1, 1, 1]).unwrap(), [-34, -33, -33]);
        assert_eq!(split(10, &[0, 3, 7]).unwrap(), [0, 3, 7]);
        assert_eq!(split(0, &[0, 0]).unwrap(), [0, 0]);
        assert_eq!(split(1, &[0, 0]), Err(MoneyError::Weights));
        assert_eq!(split(1, &[-1, 2]), Err(MoneyError::Weights));
    }

    proptest! {
        #[test]
        fn a_split_keeps_its_sum_mirrors_and_stays_within_one(amount in any::<i64>(), weights in prop::collection::vec(0_i64..1 << 40, 1..20)) {
            prop_assume!(amount != i64::MIN && weights.iter().any(|&w| w > 0));
            let parts = split(amount, &weights).unwrap();
            prop_assert_eq!(parts.iter().map(|&p| i128::from(p)).sum::<i128>(), i128::from(amount));
            let mirrored: Vec<i64> = split(-amount, &weights).unwrap().iter().map(|p| -p).collect();
            prop_assert_eq!(&mirrored, &parts);
            let total: i128 = weights.iter().map(|&w| i128::from(w)).sum();
            for (&part, &weight) in parts.iter().zip(&weights) {
                let low = (i128::from(amount) * i128::from(weight)).div_euclid(total);
                prop_assert!(i128::from(part) >= low - 1 && i128::from(part) <= low + 1);
            }
        }

        #[test]
        fn reversals_in_any_steps_give_back_the_whole(whole in -1_000_000_i64..1_000_000, steps in prop::collection::vec(1_i64..1_000, 1..12)) {
            let total: i64 = steps.iter().sum();
            let (mut cumulative, mut already) = (0, 0);
            for step in steps {
                cumulative += step;
                already += reversal(whole, cumulative, total, already, Rounding::HalfUp).unwrap();
            }
            prop_assert_eq!(already, whole);
        }

        #[test]
        fn half_up_is_within_half_of_the_exact(amount in any::<i64>(), rate in 0_i64..=1_000_000) {
            let rounded = i128::from(share(amount, Ppm(rate), Rounding::HalfUp).unwrap());
            let exact_twice = 2 * i128::from(amount) * i128::from(rate);
            prop_assert!((2 * rounded * 1_000_000 - exact_twice).abs() <= 1_000_000);
        }
    }
}
