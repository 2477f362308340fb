//! Amount off: so much off each piece, never more than the line still costs.

use super::allocation::THOUSANDTHS;
use crate::money::{MoneyError, Rounding, ratio};

/// What an amount per piece takes off a line; a weighed quantity rounds half up, per line.
pub(super) fn off_minor(remaining_minor: i64, amount_minor: i64, quantity_thousandths: i64) -> Result<i64, MoneyError> {
    let whole_minor = ratio(amount_minor, quantity_thousandths, THOUSANDTHS, Rounding::HalfUp)?;
    Ok(whole_minor.clamp(0, remaining_minor))
}
