//! Percent off: a part of what a line still costs.

use crate::money::{MoneyError, Ppm, Rounding, share};

/// What a percentage takes off a line; half a minor unit goes up, per line.
pub(super) fn off_minor(remaining_minor: i64, percent_ppm: Ppm) -> Result<i64, MoneyError> {
    Ok(share(remaining_minor, percent_ppm, Rounding::HalfUp)?.clamp(0, remaining_minor))
}
