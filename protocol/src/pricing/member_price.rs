//! Member price: what the item costs members, where that is less than the line costs after the till's markdowns.

use super::basket::{Basket, BasketLine};
use super::fixed_price;
use super::trace::RejectReason;
use crate::money::MoneyError;

/// What the member price takes off a line that costs `remaining_minor`; `None` when the item has none.
///
/// # Errors
/// An amount that does not fit.
pub(super) fn off_minor(
    switched_on: bool,
    basket: &Basket<'_>,
    line: &BasketLine<'_>,
    remaining_minor: i64,
) -> Result<Option<Result<i64, RejectReason>>, MoneyError> {
    let Some(price_minor) = line.member_price_minor else { return Ok(None) };
    let refused = match () {
        () if !switched_on => Some(RejectReason::SwitchedOff),
        () if basket.shopper.is_none() => Some(RejectReason::NotMember),
        () if line.flags.no_discount => Some(RejectReason::NoDiscount),
        () if !line.known => Some(RejectReason::UnknownItem),
        () => None,
    };
    if let Some(reason) = refused {
        return Ok(Some(Err(reason)));
    }
    let off_minor = fixed_price::off_minor(remaining_minor, price_minor, line.quantity_thousandths)?;
    Ok(Some(if off_minor > 0 { Ok(off_minor) } else { Err(RejectReason::NoEffect) }))
}
