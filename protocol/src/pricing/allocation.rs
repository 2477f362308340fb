//! Allocation: amounts shared out over lines and over funders, by largest remainder.
//!
//! A cent that is left goes to the line that comes first by *content*, so that the same goods scanned in another order cost the same, also where
//! one threshold stands on lines that another one shared out before.

use std::cmp::Ordering;

use super::basket::BasketLine;
use super::priced::FundedPart;
use crate::entry::Markdown;
use crate::id::StoreId;
use crate::money::{MoneyError, split};
use crate::party::Party;
use crate::policy::Funding;

/// Thousandths of one piece.
pub(super) const THOUSANDTHS: i64 = 1_000;

/// The indices of the lines in an order that depends on what they are, not on where they stand. Lines that are equal in everything keep theirs.
pub(super) fn order_by_content(lines: &[BasketLine<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|&a, &b| compare(&lines[a], &lines[b]));
    order
}

fn compare(a: &BasketLine<'_>, b: &BasketLine<'_>) -> Ordering {
    let flags = |line: &BasketLine<'_>| {
        (line.flags.no_discount, line.flags.no_coupon, line.flags.no_points, line.flags.no_stored_value)
    };
    let key = |line: &BasketLine<'_>| {
        (line.gross_minor, line.quantity_thousandths, line.member_price_minor, line.counter, line.supplier, line.known)
    };
    let markdown = |m: &Markdown| (m.amount_minor, m.funder);
    (a.sku.cmp(b.sku))
        .then_with(|| key(a).cmp(&key(b)))
        .then_with(|| a.category_path.cmp(b.category_path))
        .then_with(|| a.brand.cmp(b.brand))
        .then_with(|| flags(a).cmp(&flags(b)))
        .then_with(|| a.markdowns.iter().map(markdown).cmp(b.markdowns.iter().map(markdown)))
}

/// Shares an amount out over lines in the ratio of what they still cost. `lines` are in the order of content.
pub(super) fn over_lines(
    amount_minor: i64,
    lines: &[usize],
    remaining_minor: &[i64],
) -> Result<Vec<(usize, i64)>, MoneyError> {
    let weights: Vec<i64> = lines.iter().map(|&line| remaining_minor[line]).collect();
    let parts = split(amount_minor, &weights)?;
    Ok(lines.iter().copied().zip(parts).collect())
}

/// Who bears a discount: the funders in the ratio of their shares, the store when there are none. Parts of zero are left out.
pub(super) fn over_funders(
    amount_minor: i64,
    funding: &[Funding],
    store: StoreId,
) -> Result<Vec<FundedPart>, MoneyError> {
    if funding.is_empty() {
        return Ok(vec![FundedPart { party: Party::Store(store), amount_minor }]);
    }
    let shares: Vec<i64> = funding.iter().map(|part| part.share_ppm.0).collect();
    let parts = funding.iter().map(|part| part.party.at(store)).zip(split(amount_minor, &shares)?);
    Ok(parts
        .filter(|&(_, amount_minor)| amount_minor != 0)
        .map(|(party, amount_minor)| FundedPart { party, amount_minor })
        .collect())
}
