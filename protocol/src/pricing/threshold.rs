//! Threshold: 满减 and 满折, on what the lines cost after their item promotions, outside the priority gate.
//!
//! A compound threshold stands on lines with no item promotion or compound ones only; any other one on lines without item promotions. Among
//! thresholds: exclusive ones first, the one that gives most before others; what counted for it is used up. Then a best-price one takes its
//! lines when the basket gets cheaper by it than by the compound ones alone, the largest tried first. The compound ones come last, each on what the one before left: amounts before
//! percentages, then the higher priority, then the id.

use std::cmp::Reverse;

use super::allocation::{order_by_content, over_lines};
use super::percent;
use super::stack::keeps_away;
use super::trace::RejectReason;
use super::work::Work;
use crate::id::PromotionId;
use crate::money::{MoneyError, sum};
use crate::policy::{Combine, Give};

/// A threshold with the lines that count for it, in the order of content.
struct Entrant {
    candidate: usize,
    combine: Combine,
    lines: Vec<usize>,
}

/// Who used up a line.
#[derive(Clone, Copy)]
struct Used {
    by: PromotionId,
    exclusive: bool,
}

/// What a threshold gives, line by line, parts of zero left out.
struct Offer {
    parts: Vec<(usize, i64)>,
    amount_minor: i64,
}

/// What compound thresholds would take together, and the first that takes of each line.
struct Together {
    amount_minor: i64,
    first: Vec<Option<PromotionId>>,
}

/// What a threshold gives on some lines, or why not.
fn offer(give: Give, lines: &[usize], remaining_minor: &[i64]) -> Result<Result<Offer, RejectReason>, MoneyError> {
    let spent_minor = sum(lines.iter().map(|&line| remaining_minor[line]))?;
    let (Give::Threshold { spend_minor, .. } | Give::ThresholdPercent { spend_minor, .. }) = give else {
        return Ok(Err(RejectReason::NoEffect));
    };
    if spent_minor < spend_minor {
        return Ok(Err(RejectReason::BelowThreshold { missing_minor: spend_minor - spent_minor }));
    }
    let mut parts = match give {
        Give::Threshold { off_minor, repeat_max, .. } => {
            let times = spent_minor.checked_div(spend_minor).unwrap_or(0).min(i64::from(repeat_max));
            let off_minor = off_minor.checked_mul(times).ok_or(MoneyError::Overflow)?.clamp(0, spent_minor);
            over_lines(off_minor, lines, remaining_minor)?
        }
        Give::ThresholdPercent { percent_ppm, .. } => {
            let part = |&line: &usize| Ok((line, percent::off_minor(remaining_minor[line], percent_ppm)?));
            lines.iter().map(part).collect::<Result<_, MoneyError>>()?
        }
        Give::PercentOff { .. } | Give::AmountOff { .. } | Give::FixedPrice { .. } => Vec::new(),
    };
    parts.retain(|&(_, amount_minor)| amount_minor > 0);
    if parts.is_empty() {
        return Ok(Err(RejectReason::NoEffect));
    }
    let amount_minor = sum(parts.iter().map(|&(_, amount_minor)| amount_minor))?;
    Ok(Ok(Offer { parts, amount_minor }))
}

/// Settles the thresholds of a basket. `gated` has each threshold candidate, in the order of ids, with the lines that may have it.
pub(super) fn settle(work: &mut Work<'_>, gated: Vec<(usize, Vec<usize>)>) -> Result<(), MoneyError> {
    if gated.is_empty() {
        return Ok(());
    }
    let mut stage = Stage { work, used: Vec::new() };
    stage.used = vec![None; stage.work.basket.lines.len()];
    let entrants = stage.entrants(gated);
    for entrant in stage.ranked(&entrants, Combine::Exclusive)? {
        if let Some(offer) = stage.try_offer(entrant)? {
            stage.take(entrant, &offer)?;
            let counted = stage.open(entrant);
            stage.use_up(entrant, &counted);
        }
    }
    let mut compound: Vec<&Entrant> = entrants.iter().filter(|entrant| entrant.combine == Combine::Compound).collect();
    compound.sort_by_key(|entrant| {
        let promotion = &stage.work.listed(entrant.candidate).promotion;
        (matches!(promotion.give, Give::ThresholdPercent { .. }), Reverse(promotion.priority))
    });
    let mut together = stage.together(&compound)?;
    for entrant in stage.ranked(&entrants, Combine::BestPrice)? {
        let Some(offer) = stage.try_offer(entrant)? else { continue };
        let open = stage.open(entrant);
        let before = stage.used.clone();
        stage.use_up(entrant, &open);
        let rest = stage.together(&compound)?;
        if sum([offer.amount_minor, rest.amount_minor])? > together.amount_minor {
            stage.take(entrant, &offer)?;
            together = rest;
        } else {
            stage.used = before;
            // It loses only where compound ones give something, so there is one to name: on its own lines if any does.
            let on_its_lines = open.iter().find_map(|&line| together.first[line]);
            if let Some(by) = on_its_lines.or_else(|| together.first.iter().copied().flatten().next()) {
                stage.reject(entrant, &open, RejectReason::Beaten { by });
            }
        }
    }
    for entrant in compound {
        if let Some(offer) = stage.try_offer(entrant)? {
            stage.take(entrant, &offer)?;
        }
    }
    Ok(())
}

struct Stage<'w, 'a> {
    work: &'w mut Work<'a>,
    used: Vec<Option<Used>>,
}

impl Stage<'_, '_> {
    /// Leaves out the lines from which an item promotion keeps a threshold away.
    fn entrants(&mut self, gated: Vec<(usize, Vec<usize>)>) -> Vec<Entrant> {
        let mut rank = vec![0; self.used.len()];
        for (place, line) in order_by_content(self.work.basket.lines).into_iter().enumerate() {
            rank[line] = place;
        }
        let mut entrants = Vec::with_capacity(gated.len());
        for (candidate, mut lines) in gated {
            let combine = self.work.listed(candidate).promotion.combine;
            lines.retain(|&line| match keeps_away(self.work.standing[line], combine) {
                Some(by) => {
                    self.work.reject(candidate, line, RejectReason::AlreadyDiscounted { by });
                    false
                }
                None => true,
            });
            lines.sort_unstable_by_key(|&line| rank[line]);
            if !lines.is_empty() {
                entrants.push(Entrant { candidate, combine, lines });
            }
        }
        entrants
    }

    fn give(&self, entrant: &Entrant) -> Give {
        self.work.listed(entrant.candidate).promotion.give
    }

    /// Those of a kind by what they would give now, the largest first, then the higher priority, then the id.
    fn ranked<'e>(&self, entrants: &'e [Entrant], combine: Combine) -> Result<Vec<&'e Entrant>, MoneyError> {
        let mut ranked = Vec::new();
        for entrant in entrants.iter().filter(|entrant| entrant.combine == combine) {
            let offer = offer(self.give(entrant), &self.open(entrant), &self.work.remaining_minor)?;
            let amount_minor = offer.map_or(0, |offer| offer.amount_minor);
            let priority = self.work.listed(entrant.candidate).promotion.priority;
            ranked.push((Reverse((amount_minor, priority)), entrant));
        }
        ranked.sort_by_key(|&(key, _)| key);
        Ok(ranked.into_iter().map(|(_, entrant)| entrant).collect())
    }

    fn open(&self, entrant: &Entrant) -> Vec<usize> {
        entrant.lines.iter().copied().filter(|&line| self.used[line].is_none()).collect()
    }

    fn reject(&mut self, entrant: &Entrant, lines: &[usize], reason: RejectReason) {
        for &line in lines {
            self.work.reject(entrant.candidate, line, reason);
        }
    }

    /// What it gives on the lines that are not used up; verdicts for the others, and for all when it gives nothing.
    fn try_offer(&mut self, entrant: &Entrant) -> Result<Option<Offer>, MoneyError> {
        for &line in &entrant.lines {
            if let Some(Used { by, exclusive }) = self.used[line] {
                let reason = match exclusive && entrant.combine != Combine::Exclusive {
                    true => RejectReason::BlockedByExclusive { by },
                    false => RejectReason::Beaten { by },
                };
                self.work.reject(entrant.candidate, line, reason);
            }
        }
        let open = self.open(entrant);
        if open.is_empty() {
            return Ok(None);
        }
        match offer(self.give(entrant), &open, &self.work.remaining_minor)? {
            Ok(offer) => Ok(Some(offer)),
            Err(reason) => {
                self.reject(entrant, &open, reason);
                Ok(None)
            }
        }
    }

    /// Gives it.
    fn take(&mut self, entrant: &Entrant, offer: &Offer) -> Result<(), MoneyError> {
        for &(line, amount_minor) in &offer.parts {
            self.work.take(line, entrant.candidate, amount_minor)?;
        }
        Ok(())
    }

    /// Closes lines to all that come later.
    fn use_up(&mut self, entrant: &Entrant, lines: &[usize]) {
        let used = Used { by: self.work.id(entrant.candidate), exclusive: entrant.combine == Combine::Exclusive };
        for &line in lines {
            self.used[line] = Some(used);
        }
    }

    /// What the compound ones would take together now of the lines that are open.
    fn together(&self, compound: &[&Entrant]) -> Result<Together, MoneyError> {
        let mut together = Together { amount_minor: 0, first: vec![None; self.used.len()] };
        let mut remaining_minor = if compound.is_empty() { Vec::new() } else { self.work.remaining_minor.clone() };
        for entrant in compound {
            let Ok(offer) = offer(self.give(entrant), &self.open(entrant), &remaining_minor)? else { continue };
            together.amount_minor = sum([together.amount_minor, offer.amount_minor])?;
            for (line, amount_minor) in offer.parts {
                remaining_minor[line] -= amount_minor;
                together.first[line].get_or_insert(self.work.id(entrant.candidate));
            }
        }
        Ok(together)
    }
}
