//! Stack: which item promotions count on one line.
//!
//! Of those that would lower the price, the highest priority goes first. Within a priority an exclusive one wins (the best of several); else the
//! compound ones together stand against the best best-price one, and the larger sum wins, the compound ones when equal. Under
//! [`AcrossPriorities::Never`] that is all; under `Compound` the next priority has its turn on what is left, unless an exclusive one has won.

use std::cmp::Reverse;

use super::trace::RejectReason;
use super::work::{Standing, Work};
use super::{amount, fixed_price, percent};
use crate::id::PromotionId;
use crate::money::MoneyError;
use crate::policy::{AcrossPriorities, Combine, Give};

/// What an item promotion takes off a line that still costs `remaining_minor`; nothing for a threshold.
fn off_minor(give: Give, remaining_minor: i64, quantity_thousandths: i64) -> Result<i64, MoneyError> {
    match give {
        Give::PercentOff { percent_ppm } => percent::off_minor(remaining_minor, percent_ppm),
        Give::AmountOff { amount_minor } => amount::off_minor(remaining_minor, amount_minor, quantity_thousandths),
        Give::FixedPrice { price_minor } => fixed_price::off_minor(remaining_minor, price_minor, quantity_thousandths),
        Give::Threshold { .. } | Give::ThresholdPercent { .. } => Ok(0),
    }
}

/// The order inside a compound set: prices, then amounts, then percentages, each on what remains.
const fn turn(give: Give) -> u8 {
    match give {
        Give::FixedPrice { .. } => 0,
        Give::AmountOff { .. } => 1,
        Give::PercentOff { .. } => 2,
        Give::Threshold { .. } | Give::ThresholdPercent { .. } => 3,
    }
}

/// The candidates that won a priority, with what each takes, in order.
struct Won {
    taken: Vec<(usize, i64)>,
    combine: Combine,
}

/// Settles one line among the candidates that may be given on it, which are in the order of their ids.
pub(super) fn settle_line(work: &mut Work<'_>, line: usize, candidates: &[usize]) -> Result<(), MoneyError> {
    let priority = |work: &Work<'_>, candidate: usize| work.listed(candidate).promotion.priority;
    let mut order = candidates.to_vec();
    order.sort_by_key(|&candidate| Reverse(priority(work, candidate)));
    let mut rest = &order[..];
    while let Some(&first) = rest.first() {
        let height = priority(work, first);
        let (group, lower) = rest.split_at(rest.partition_point(|&candidate| priority(work, candidate) == height));
        rest = lower;
        let Some(won) = compete(work, line, group)? else { continue };
        for &(candidate, amount_minor) in &won.taken {
            work.take(line, candidate, amount_minor)?;
        }
        let by = work.id(won.taken[0].0);
        work.standing[line] = match (won.combine, work.standing[line]) {
            (Combine::Compound, Standing::Free) => Standing::Compound(by),
            (Combine::Compound, standing) => standing,
            _ => Standing::Alone(by),
        };
        let reason = match (won.combine, work.book.rules.across_priorities) {
            (Combine::Exclusive, _) => RejectReason::BlockedByExclusive { by },
            (_, AcrossPriorities::Never) => RejectReason::Outranked { by },
            (_, AcrossPriorities::Compound) => continue,
        };
        for &candidate in lower {
            work.reject(candidate, line, reason);
        }
        break;
    }
    Ok(())
}

/// Who wins one priority; `None` when nobody in it would lower the price.
fn compete(work: &mut Work<'_>, line: usize, group: &[usize]) -> Result<Option<Won>, MoneyError> {
    let (remaining_minor, quantity) = (work.remaining_minor[line], work.basket.lines[line].quantity_thousandths);
    let (mut exclusive, mut best_price, mut compound) = (Vec::new(), Vec::new(), Vec::new());
    for &candidate in group {
        let promotion = &work.listed(candidate).promotion;
        match (off_minor(promotion.give, remaining_minor, quantity)?, promotion.combine) {
            (0, _) => work.reject(candidate, line, RejectReason::NoEffect),
            (amount_minor, Combine::Exclusive) => exclusive.push((candidate, amount_minor)),
            (amount_minor, Combine::BestPrice) => best_price.push((candidate, amount_minor)),
            (_, Combine::Compound) => compound.push(candidate),
        }
    }
    if let Some(winner) = best(&exclusive) {
        let by = work.id(winner.0);
        reject_others(work, line, &exclusive, winner.0, RejectReason::Beaten { by });
        reject_others(work, line, &best_price, winner.0, RejectReason::BlockedByExclusive { by });
        for candidate in compound {
            work.reject(candidate, line, RejectReason::BlockedByExclusive { by });
        }
        return Ok(Some(Won { taken: vec![winner], combine: Combine::Exclusive }));
    }
    compound.sort_by_key(|&candidate| turn(work.listed(candidate).promotion.give));
    let mut left_minor = remaining_minor;
    let (mut together, mut spent) = (Vec::with_capacity(compound.len()), Vec::new());
    for &candidate in &compound {
        match off_minor(work.listed(candidate).promotion.give, left_minor, quantity)? {
            0 => spent.push(candidate),
            amount_minor => {
                left_minor -= amount_minor;
                together.push((candidate, amount_minor));
            }
        }
    }
    let together_minor = remaining_minor - left_minor;
    match best(&best_price) {
        Some(winner) if winner.1 > together_minor => {
            let by = work.id(winner.0);
            reject_others(work, line, &best_price, winner.0, RejectReason::Beaten { by });
            for candidate in compound {
                work.reject(candidate, line, RejectReason::Beaten { by });
            }
            Ok(Some(Won { taken: vec![winner], combine: Combine::BestPrice }))
        }
        _ if together.is_empty() => Ok(None),
        _ => {
            let first = together[0].0;
            reject_others(work, line, &best_price, first, RejectReason::Beaten { by: work.id(first) });
            for candidate in spent {
                work.reject(candidate, line, RejectReason::NoEffect);
            }
            Ok(Some(Won { taken: together, combine: Combine::Compound }))
        }
    }
}

/// The largest; of equal ones the one whose id comes first.
fn best(offers: &[(usize, i64)]) -> Option<(usize, i64)> {
    offers.iter().copied().reduce(|best, other| if other.1 > best.1 { other } else { best })
}

fn reject_others(work: &mut Work<'_>, line: usize, offers: &[(usize, i64)], winner: usize, reason: RejectReason) {
    for &(candidate, _) in offers.iter().filter(|(candidate, _)| *candidate != winner) {
        work.reject(candidate, line, reason);
    }
}

/// Names the item promotion that keeps a threshold away from a line, if one does.
pub(super) fn keeps_away(standing: Standing, combine: Combine) -> Option<PromotionId> {
    match (standing, combine) {
        (Standing::Free, _) | (Standing::Compound(_), Combine::Compound) => None,
        (Standing::Compound(by) | Standing::Alone(by), _) => Some(by),
    }
}
