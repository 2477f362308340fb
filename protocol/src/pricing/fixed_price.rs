//! Fixed price: another price per piece, where it is lower than what the line still costs.

use super::allocation::THOUSANDTHS;
use crate::money::{MoneyError, Rounding, ratio};

/// What a price per piece takes off a line; a weighed quantity rounds half up, per line. Zero when the line is cheaper already.
pub(super) fn off_minor(remaining_minor: i64, price_minor: i64, quantity_thousandths: i64) -> Result<i64, MoneyError> {
    let line_minor = ratio(price_minor, quantity_thousandths, THOUSANDTHS, Rounding::HalfUp)?;
    Ok(remaining_minor.checked_sub(line_minor).ok_or(MoneyError::Overflow)?.clamp(0, remaining_minor))
}
