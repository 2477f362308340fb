//! Re-rating: a sale priced again from what its own entry recorded.
//!
//! Head office prices with the inputs that the store had (items, shopper, coupons, moment) and the policy that it named, so that a difference is never one
//! of knowledge: it is a fault of the store, of its program or of its journal. A receipt that a till took while the edge was down is not re-rated: it
//! was priced by the till, and is recorded as taken.

use crate::entry::{Header, Sale};
use crate::ledger::basket::basket_line;
use crate::pricing::{Basket, BasketLine, CivilMoment, DiscountSource, PriceBook, Priced, PricingRefusal};
use crate::time::BusinessDay;

/// What came of pricing a sale again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rerated {
    /// It costs what the entry says, for the same reasons.
    Same(Box<Priced>),
    /// It does not; a line of words for each difference.
    Differs(Vec<String>),
    /// The till priced it.
    AsTaken,
}

/// Prices a sale again. `book` is that of the policy version that the sale names.
#[must_use]
pub fn rerate(book: &PriceBook, header: &Header, sale: &Sale) -> Rerated {
    if sale.taken_at_ms.is_some() {
        return Rerated::AsTaken;
    }
    let Some(business_day) = header.business_day else {
        return Rerated::Differs(vec!["the entry names no business day".to_owned()]);
    };
    let priced = match reprice(book, business_day, header, sale) {
        Ok(priced) => priced,
        Err(refusal) => return Rerated::Differs(vec![format!("the basket has no price: {refusal}")]),
    };
    let mut differences = Vec::new();
    for (index, (line, again)) in sale.lines.iter().zip(&priced.lines).enumerate() {
        if line.net_minor != again.net_minor {
            differences.push(format!("line {index}: recorded {}, priced again {}", line.net_minor, again.net_minor));
        }
        let beyond = |source: DiscountSource| !matches!(source, DiscountSource::Markdown { .. });
        let given: Vec<_> = again.discounts.iter().filter(|discount| beyond(discount.source)).collect();
        if line.discounts.iter().ne(given.iter().copied()) {
            let names = |discounts: &mut dyn Iterator<Item = (DiscountSource, i64)>| {
                let parts: Vec<String> =
                    discounts.map(|(source, amount_minor)| format!("{} {amount_minor}", name(source))).collect();
                if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
            };
            let recorded = names(&mut line.discounts.iter().map(|discount| (discount.source, discount.amount_minor)));
            let again = names(&mut given.iter().map(|discount| (discount.source, discount.amount_minor)));
            if recorded == again {
                differences.push(format!("line {index}: the funders of its discounts differ"));
            } else {
                differences.push(format!("line {index}: recorded discounts {recorded}; priced again {again}"));
            }
        }
    }
    if sale.total_minor != priced.total_minor {
        differences.push(format!("total: recorded {}, priced again {}", sale.total_minor, priced.total_minor));
    }
    if differences.is_empty() { Rerated::Same(Box::new(priced)) } else { Rerated::Differs(differences) }
}

/// What a sale costs by its recorded inputs.
fn reprice(
    book: &PriceBook,
    business_day: BusinessDay,
    header: &Header,
    sale: &Sale,
) -> Result<Priced, PricingRefusal> {
    let lines: Vec<BasketLine<'_>> = sale.lines.iter().map(basket_line).collect();
    let at = CivilMoment::of(business_day, sale.priced_at_ms, sale.priced_offset_minutes);
    let basket = Basket {
        store: header.store,
        at,
        shopper: sale.shopper.as_ref(),
        coupons: &sale.coupons,
        budgets_spent: &sale.budgets_spent,
        markdowns: &sale.markdowns,
        lines: &lines,
    };
    book.price(&basket)
}

fn name(source: DiscountSource) -> String {
    match source {
        DiscountSource::Markdown { index } => format!("markdown {index}"),
        DiscountSource::BasketMarkdown { index } => format!("basket markdown {index}"),
        DiscountSource::MemberPrice => "member price".to_owned(),
        DiscountSource::Promotion { promotion } => promotion.to_string(),
    }
}
