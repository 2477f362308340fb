//! Basket: the lines of a request with what the store knows of goods and shopper, priced.
//!
//! Done before the writing transaction, as it moves nothing: what was looked up is recorded in the sale, so that head office prices it again with the
//! same inputs, whatever has changed since. Invariant: a receipt that a till took while the edge was down keeps the prices that it was given.

use std::collections::{BTreeMap, HashSet};

use super::earning::EarnTerms;
use super::{Decide, Decision, faulty};
use crate::card::CardNumber;
use crate::decline::{Decline, DeclineCode};
use crate::entry::{LineFlags, Markdown, SaleLine};
use crate::id::{AccountId, CouponCode, PromotionId, StoreId};
use crate::item::Item;
use crate::policy::{ItemSource, Policy};
use crate::pricing::{
    Basket, BasketLine, CivilMoment, Considered, Discount, DiscountSource, PriceBook, PricedLine, PricingRefusal,
    Shopper,
};
use crate::till::{AskQuote, PostSale, TillLine};
use crate::time::{BusinessDay, CivilOffset, Instant};

/// A policy with its compiled prices.
#[derive(Clone, Copy, Debug)]
pub struct Prices<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its version.
    pub version: u64,
    /// Its promotions, indexed.
    pub book: &'a PriceBook,
}

/// Whose account earns the points of a basket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Earner {
    /// The card's account, which this store knows.
    Here(CardNumber, AccountId),
    /// That of a card which this store does not know as somebody's: head office gives the points.
    Deferred(CardNumber),
}

/// What the till sent of a basket.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The lines.
    pub lines: &'a [TillLine],
    /// The coupons shown.
    pub coupons: &'a [CouponCode],
    /// What comes off the basket as a whole.
    pub markdowns: &'a [Markdown],
}

impl<'a> From<&'a PostSale> for Sent<'a> {
    fn from(sale: &'a PostSale) -> Self {
        Self { lines: &sale.lines, coupons: &sale.coupons, markdowns: &sale.markdowns }
    }
}

impl<'a> From<&'a AskQuote> for Sent<'a> {
    fn from(ask: &'a AskQuote) -> Self {
        Self { lines: &ask.lines, coupons: &ask.coupons, markdowns: &ask.markdowns }
    }
}

/// What the store knows of a basket: looked up before, decided upon here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// The item of each line; `None` where the item master has none.
    pub items: Vec<Option<Item>>,
    /// The member at the till.
    pub shopper: Option<Shopper>,
    /// Whose account earns points.
    pub earner: Option<Earner>,
    /// What is left of the budgets of the store's own promotions.
    pub budgets_left: Vec<(PromotionId, i64)>,
}

/// A basket with its price.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PricedBasket {
    /// The lines as the entry will have them.
    pub lines: Vec<SaleLine>,
    /// Which of them earn points.
    pub earns_points: Vec<bool>,
    /// Σ of what the lines cost.
    pub total_minor: i64,
    /// The member at the till.
    pub shopper: Option<Shopper>,
    /// Whose account earns points.
    pub earner: Option<Earner>,
    /// By which terms it earns them; nothing when nobody does, or nothing earns.
    pub terms: Option<EarnTerms>,
    /// The coupons shown.
    pub coupons: Vec<CouponCode>,
    /// The store's own promotions that it does not get because less is left of their budgets.
    pub budgets_spent: Vec<PromotionId>,
    /// What the store's own promotions give, which the store counts against their budgets.
    pub own_given: Vec<(PromotionId, i64)>,
    /// What came off the basket as a whole.
    pub markdowns: Vec<Markdown>,
    /// The policy that priced it.
    pub policy_version: u64,
    /// When.
    pub priced_at: Instant,
    /// The offset of the store's wall clock then.
    pub priced_offset: CivilOffset,
}

/// What a basket costs, with every rule that was considered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Priced {
    /// The basket.
    pub basket: PricedBasket,
    /// Its lines as quotes show them.
    pub lines: Vec<PricedLine>,
    /// Every rule considered.
    pub trace: Vec<Considered>,
}

/// Prices the lines of a request.
///
/// # Errors
/// The decision that refuses it.
pub fn price_basket(
    prices: Prices<'_>,
    store: StoreId,
    day: BusinessDay,
    (priced_at, priced_offset): (Instant, CivilOffset),
    sent: Sent<'_>,
    known: Known,
) -> Result<Priced, Decision> {
    let Known { items, shopper, earner, budgets_left } = known;
    let at = CivilMoment::of(day, priced_at, priced_offset);
    let Sent { lines, coupons, markdowns } = sent;
    let mut lines: Vec<SaleLine> = lines.iter().map(TillLine::to_entry).collect();
    for (line, item) in lines.iter_mut().zip(items) {
        line.known = item.is_some();
        if let Some(item) = item {
            line.member_price_minor = item.member_price_minor;
            describe(line, item, prices.policy.items.attributes);
        }
    }
    let mut budgets_spent = Vec::new();
    let priced = loop {
        let basket_lines: Vec<BasketLine<'_>> = lines.iter().map(basket_line).collect();
        let shopper = shopper.as_ref();
        let basket =
            Basket { store, at, shopper, coupons, budgets_spent: &budgets_spent, markdowns, lines: &basket_lines };
        let priced = prices.book.price(&basket).map_err(refused)?;
        // Without a promotion others may give more, so the rest is looked at again; each round ends one at least.
        let given = given(priced.lines.iter().flat_map(|line| &line.discounts));
        let over = budgets_left.iter().filter(|(id, left)| given.get(id).is_some_and(|taken| taken > left));
        let over: Vec<PromotionId> = over.map(|(id, _)| *id).filter(|id| !budgets_spent.contains(id)).collect();
        if over.is_empty() {
            break priced;
        }
        budgets_spent.extend(over);
    };
    budgets_spent.sort_unstable();
    let mut earns_points = Vec::with_capacity(lines.len());
    for (line, priced) in lines.iter_mut().zip(&priced.lines) {
        // The markdowns stand in the line already, with their reasons.
        let beyond = |source: DiscountSource| !matches!(source, DiscountSource::Markdown { .. });
        line.discounts = priced.discounts.iter().filter(|discount| beyond(discount.source)).cloned().collect();
        line.net_minor = priced.net_minor;
        earns_points.push(priced.earns_points);
    }
    let basket = PricedBasket {
        terms: earner.and_then(|_| EarnTerms::of(prices.policy, store, &at, shopper.as_ref())),
        own_given: own_given(prices.policy, store, &lines),
        lines,
        earns_points,
        total_minor: priced.total_minor,
        shopper,
        earner,
        coupons: coupons.to_vec(),
        budgets_spent,
        markdowns: markdowns.to_vec(),
        policy_version: prices.version,
        priced_at,
        priced_offset,
    };
    Ok(Priced { basket, lines: priced.lines, trace: priced.trace })
}

/// Takes a receipt that a till took while the edge was down as it is: nothing of it is decided again.
///
/// # Errors
/// The decision that refuses amounts that do not fit.
pub fn as_taken(
    prices: Prices<'_>,
    store: StoreId,
    day: BusinessDay,
    (taken_at, priced_offset): (Instant, CivilOffset),
    sent: Sent<'_>,
    known: Known,
) -> Result<PricedBasket, Decision> {
    let Sent { lines, coupons, markdowns } = sent;
    let total = crate::money::sum(lines.iter().map(TillLine::net_minor));
    let Ok(total_minor) = total else { return faulty("lines", "sum to more than can be counted") };
    let mut lines: Vec<SaleLine> = lines.iter().map(TillLine::to_entry).collect();
    for (line, item) in lines.iter_mut().zip(known.items) {
        line.known = item.is_some();
        if let Some(item) = item {
            describe(line, item, prices.policy.items.attributes); // Prices and discounts stay the till's.
        }
    }
    let own = prices.policy.stores.get(&store);
    let groups = prices.policy.promotions.iter().map(|promotion| (promotion.id, promotion.earns_points));
    let owns = own.into_iter().flat_map(|own| own.promotions.iter().map(|own| (own.id, own.earns_points)));
    let quiet: HashSet<PromotionId> = groups.chain(owns).filter(|(_, earns)| !earns).map(|(id, _)| id).collect();
    let kept_out = |sku: &String| own.is_some_and(|own| own.no_points_skus.contains(sku));
    let earns = |line: &SaleLine| {
        let quiet = |source: DiscountSource| matches!(source, DiscountSource::Promotion { promotion } if quiet.contains(&promotion));
        !line.flags.no_points && !kept_out(&line.sku) && !line.discounts.iter().any(|discount| quiet(discount.source))
    };
    let at = CivilMoment::of(day, taken_at, priced_offset);
    let shopper = known.shopper;
    Ok(PricedBasket {
        terms: known.earner.and_then(|_| EarnTerms::of(prices.policy, store, &at, shopper.as_ref())),
        earns_points: lines.iter().map(earns).collect(),
        own_given: own_given(prices.policy, store, &lines),
        lines,
        total_minor,
        shopper,
        earner: known.earner,
        coupons: coupons.to_vec(),
        budgets_spent: Vec::new(),
        markdowns: markdowns.to_vec(),
        policy_version: prices.version,
        priced_at: taken_at,
        priced_offset,
    })
}

/// What each promotion gives.
pub fn given<'a>(discounts: impl Iterator<Item = &'a Discount>) -> BTreeMap<PromotionId, i64> {
    let mut given = BTreeMap::new();
    for discount in discounts {
        if let DiscountSource::Promotion { promotion } = discount.source {
            *given.entry(promotion).or_insert(0) += discount.amount_minor;
        }
    }
    given
}

/// What each of the store's own promotions gives.
fn own_given(policy: &Policy, store: StoreId, lines: &[SaleLine]) -> Vec<(PromotionId, i64)> {
    let Some(own) = policy.stores.get(&store) else { return Vec::new() };
    let given = given(lines.iter().flat_map(|line| &line.discounts));
    given.into_iter().filter(|(id, _)| own.promotion(*id).is_some()).collect()
}

/// What the engine asks of a line.
#[must_use]
pub fn basket_line(line: &SaleLine) -> BasketLine<'_> {
    BasketLine {
        sku: &line.sku,
        category_path: &line.category_path,
        brand: &line.brand,
        counter: line.counter,
        supplier: line.supplier,
        quantity_thousandths: line.quantity_thousandths,
        gross_minor: line.gross_minor,
        markdowns: &line.markdowns,
        member_price_minor: line.member_price_minor,
        flags: line.flags,
        known: line.known,
    }
}

/// Says of a line what the item master knows, as far as the policy lets it.
fn describe(line: &mut SaleLine, item: Item, source: ItemSource) {
    let master = source == ItemSource::Master;
    line.sku = item.sku; // A till may send what it scanned.
    let text = |said: &mut String, known: String| {
        if master || said.is_empty() {
            *said = known;
        }
    };
    text(&mut line.name, item.name);
    text(&mut line.category_path, item.category_path);
    text(&mut line.brand, item.brand);
    if master || line.counter.is_none() {
        line.counter = item.counter;
    }
    if master || line.supplier.is_none() {
        line.supplier = item.supplier;
    }
    if master || (line.tax_code.is_empty() && line.tax_ppm == 0) {
        (line.tax_code, line.tax_ppm) = (item.tax_code, item.tax_ppm);
    }
    // A till that says nothing has no flag set; what must not happen to an item must not happen, whoever says so.
    line.flags = if master { item.flags } else { either(line.flags, item.flags) };
}

const fn either(a: LineFlags, b: LineFlags) -> LineFlags {
    LineFlags {
        no_discount: a.no_discount || b.no_discount,
        no_points: a.no_points || b.no_points,
        no_coupon: a.no_coupon || b.no_coupon,
        no_stored_value: a.no_stored_value || b.no_stored_value,
    }
}

fn refused(refusal: PricingRefusal) -> Decision {
    match refusal {
        PricingRefusal::BasketBelowZero { below_minor } => {
            let mut decline = Decline::new(DeclineCode::BasketBelowZero);
            decline.needed_minor = Some(below_minor);
            Decision::Declined(Box::new(decline))
        }
        PricingRefusal::LineBelowZero { line, .. } => {
            Decision::Faulty(crate::till::Fault::new(format!("lines[{line}].markdowns"), refusal.to_string()))
        }
        PricingRefusal::Line { line, field, .. } => {
            Decision::Faulty(crate::till::Fault::new(format!("lines[{line}].{field}"), refusal.to_string()))
        }
        PricingRefusal::BasketMarkdown { index, .. } => {
            Decision::Faulty(crate::till::Fault::new(format!("markdowns[{index}].amount_minor"), refusal.to_string()))
        }
        PricingRefusal::Lines { .. } | PricingRefusal::Money(_) => {
            Decision::Faulty(crate::till::Fault::new("lines", refusal.to_string()))
        }
    }
}

/// Checks that tenders pay for the basket.
pub(super) fn paid(basket: &PricedBasket, tenders: &[crate::entry::TenderLine]) -> Decide<()> {
    let paid = crate::money::sum(tenders.iter().map(|line| line.amount_minor)).unwrap_or(i64::MAX);
    if paid == basket.total_minor {
        return Ok(());
    }
    let total = basket.total_minor;
    let fault =
        format!("sum to {paid}, but the basket costs {total}; ask for a quote and let the tenders sum to its total");
    Err(Decision::Faulty(crate::till::Fault::new("tenders", fault).expecting(total)))
}
