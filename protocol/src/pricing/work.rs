//! Work: a basket while it is priced: what each line still costs, what came off it, and the verdicts so far.
//!
//! The stages in this folder's other files take from it; only [`Work::take`] lowers a line. Invariant: no line goes below zero.

use super::PriceBook;
use super::allocation::over_funders;
use super::basket::Basket;
use super::book::{Candidate, Listed};
use super::priced::{Discount, DiscountSource, FundedPart, PricedLine, PricingRefusal};
use super::trace::{Considered, RejectReason, Rule, Verdicts};
use crate::entry::Markdown;
use crate::id::PromotionId;
use crate::money::{MoneyError, sum};
use crate::party::Party;
use crate::till::LINES_MAX;

/// What item promotions left of a line for thresholds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// No item promotion is on it.
    Free,
    /// Compound ones only; the first of them.
    Compound(PromotionId),
    /// One that goes together with nothing.
    Alone(PromotionId),
}

/// A basket while it is priced.
pub(super) struct Work<'a> {
    pub(super) book: &'a PriceBook,
    pub(super) basket: &'a Basket<'a>,
    /// What each line still costs.
    pub(super) remaining_minor: Vec<i64>,
    pub(super) standing: Vec<Standing>,
    pub(super) candidates: Vec<Candidate>,
    discounts: Vec<Vec<Discount>>,
    earns_points: Vec<bool>,
    /// Beside `candidates`.
    verdicts: Vec<Verdicts>,
    /// On the member price.
    pub(super) member_price: Verdicts,
}

impl<'a> Work<'a> {
    /// Takes the till's markdowns off the lines.
    ///
    /// # Errors
    /// [`PricingRefusal`] when a line cannot be, or is worth less than its markdowns.
    pub(super) fn after_markdowns(book: &'a PriceBook, basket: &'a Basket<'a>) -> Result<Self, PricingRefusal> {
        let lines = basket.lines;
        if lines.len() > LINES_MAX {
            return Err(PricingRefusal::Lines { found: lines.len(), max: LINES_MAX });
        }
        let mut remaining_minor = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            let at_least = |least, field, found| match found < least {
                true => Err(PricingRefusal::Line { line: index, field, found, least }),
                false => Ok(found),
            };
            at_least(1, "quantity_thousandths", line.quantity_thousandths)?;
            at_least(0, "member_price_minor", line.member_price_minor.unwrap_or(0))?;
            let mut left_minor = at_least(0, "gross_minor", line.gross_minor)?;
            for markdown in line.markdowns {
                let off_minor = at_least(1, "markdowns.amount_minor", markdown.amount_minor)?;
                left_minor = left_minor.checked_sub(off_minor).ok_or(MoneyError::Overflow)?;
            }
            remaining_minor.push(left_minor);
        }
        let total_minor = sum(remaining_minor.iter().copied())?;
        if total_minor < 0 {
            return Err(PricingRefusal::BasketBelowZero {
                below_minor: total_minor.checked_neg().ok_or(MoneyError::Overflow)?,
            });
        }
        if let Some(line) = remaining_minor.iter().position(|&left_minor| left_minor < 0) {
            return Err(PricingRefusal::LineBelowZero { line, below_minor: -remaining_minor[line] });
        }
        let markdowns = |line: &super::BasketLine<'_>| {
            let borne = |amount_minor, funder: Option<Party>| FundedPart {
                party: funder.unwrap_or(Party::Store(basket.store)),
                amount_minor,
            };
            let discount = |(index, markdown): (u16, &Markdown)| Discount {
                source: DiscountSource::Markdown { index },
                amount_minor: markdown.amount_minor,
                funders: vec![borne(markdown.amount_minor, markdown.funder)],
                coupon: None,
            };
            (0_u16..).zip(line.markdowns).map(discount).collect()
        };
        let candidates = book.candidates(basket);
        let kept_out = book.kept_out(basket.store);
        let may_earn = |line: &super::BasketLine<'_>| {
            !line.flags.no_points && !kept_out.is_some_and(|kept_out| kept_out.of_points.contains(line.sku))
        };
        Ok(Self {
            book,
            basket,
            remaining_minor,
            standing: vec![Standing::Free; lines.len()],
            verdicts: vec![Verdicts::default(); candidates.len()],
            candidates,
            discounts: lines.iter().map(markdowns).collect(),
            earns_points: lines.iter().map(may_earn).collect(),
            member_price: Verdicts::default(),
        })
    }

    /// A candidate's promotion.
    pub(super) fn listed(&self, candidate: usize) -> &'a Listed {
        &self.book.listed[self.candidates[candidate].listed]
    }

    /// A candidate's id.
    pub(super) fn id(&self, candidate: usize) -> PromotionId {
        self.listed(candidate).promotion.id
    }

    /// Takes the member price off a line.
    pub(super) fn take_member_price(&mut self, line: usize, amount_minor: i64) {
        let store = Party::Store(self.basket.store);
        self.lower(
            line,
            DiscountSource::MemberPrice,
            amount_minor,
            vec![FundedPart { party: store, amount_minor }],
            None,
        );
        self.member_price.apply(index(line), amount_minor);
    }

    /// Takes a line's part of a basket's markdown off it.
    pub(super) fn take_basket_markdown(&mut self, line: usize, index: u16, markdown: &Markdown, amount_minor: i64) {
        let party = markdown.funder.unwrap_or(Party::Store(self.basket.store));
        let source = DiscountSource::BasketMarkdown { index };
        self.lower(line, source, amount_minor, vec![FundedPart { party, amount_minor }], None);
    }

    /// Takes a candidate's part off a line.
    ///
    /// # Errors
    /// An amount that does not fit.
    pub(super) fn take(&mut self, line: usize, candidate: usize, amount_minor: i64) -> Result<(), MoneyError> {
        let promotion = &self.listed(candidate).promotion;
        let funders = over_funders(amount_minor, &promotion.funding, self.basket.store)?;
        let source = DiscountSource::Promotion { promotion: promotion.id };
        self.lower(line, source, amount_minor, funders, promotion.coupon);
        self.earns_points[line] &= promotion.earns_points;
        self.verdicts[candidate].apply(index(line), amount_minor);
        Ok(())
    }

    fn lower(
        &mut self,
        line: usize,
        source: DiscountSource,
        amount_minor: i64,
        funders: Vec<FundedPart>,
        coupon: Option<crate::id::CouponCode>,
    ) {
        assert!(
            amount_minor > 0 && amount_minor <= self.remaining_minor[line],
            "a discount is above zero and never more than the line still costs"
        );
        self.remaining_minor[line] -= amount_minor;
        self.discounts[line].push(Discount { source, amount_minor, funders, coupon });
    }

    /// Says why a candidate gives nothing on a line.
    pub(super) fn reject(&mut self, candidate: usize, line: usize, reason: RejectReason) {
        self.verdicts[candidate].reject(reason, [index(line)]);
    }

    /// Says why a candidate gives nothing on any of its lines.
    pub(super) fn reject_whole(&mut self, candidate: usize, reason: RejectReason) {
        let lines = self.candidates[candidate].lines.iter().copied();
        self.verdicts[candidate].reject(reason, lines);
    }

    /// The lines as priced and the verdicts as found.
    ///
    /// # Errors
    /// A total that does not fit.
    pub(super) fn finish(self) -> Result<(Vec<PricedLine>, i64, Vec<Considered>), MoneyError> {
        let mut trace = Vec::new();
        self.member_price.into_considered(Rule::MemberPrice, &mut trace);
        for (candidate, verdicts) in self.candidates.iter().zip(self.verdicts) {
            let promotion = self.book.listed[candidate.listed].promotion.id;
            verdicts.into_considered(Rule::Promotion { promotion }, &mut trace);
        }
        let mut lines = Vec::with_capacity(self.discounts.len());
        let parts = self.discounts.into_iter().zip(self.remaining_minor).zip(self.earns_points);
        for (line, ((discounts, net_minor), earns_points)) in self.basket.lines.iter().zip(parts) {
            let off_minor = sum(discounts.iter().map(|discount| discount.amount_minor))?;
            assert_eq!(line.gross_minor - off_minor, net_minor, "gross less the discounts is net");
            for discount in &discounts {
                let borne_minor = sum(discount.funders.iter().map(|part| part.amount_minor))?;
                assert_eq!(borne_minor, discount.amount_minor, "the funders bear the whole discount");
            }
            lines.push(PricedLine { gross_minor: line.gross_minor, discounts, net_minor, earns_points });
        }
        let total_minor = sum(lines.iter().map(|line| line.net_minor))?;
        Ok((lines, total_minor, trace))
    }
}

/// A line's index as the trace has it; [`LINES_MAX`] is checked at the door.
fn index(line: usize) -> u16 {
    u16::try_from(line).expect("a basket has at most LINES_MAX lines")
}
