//! Baskets in a shopkeeper's words: what is in one, for whom, and how it is paid.
//!
//! ```text
//! TEA COAT*2 JUNK=5.00 member C1 coupon SPRING26 off 2.00 partner:ACME
//! cash 18.70 card:C1 20.00 points:C1 5.00 voucher:V-7 5.00 wechat? 12.00
//! ```
//!
//! Goods are named by their SKU and cost what the town's shelf says, or what stands behind `=` when the item master does not know them. A tender with a
//! question mark is one of which nobody knows whether it was paid. What comes `off` the basket as a whole is borne by who is named behind it.

use anyhow::{Context, bail, ensure};
use huitong_protocol::party::Party;

use super::amount;

/// What is in a basket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Basket {
    /// The lines, in order.
    pub lines: Vec<Pieces>,
    /// The card that the member shows, by its name.
    pub member_card: Option<String>,
    /// The coupons shown.
    pub coupons: Vec<String>,
    /// What comes off the basket as a whole, and who bears it.
    pub off: Vec<(i64, Party)>,
}

/// Some pieces of one item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pieces {
    /// The item.
    pub sku: String,
    /// How many.
    pub count: i64,
    /// The till's price of one, for what is not on the shelf.
    pub price_minor: Option<i64>,
}

/// What a sale is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Goods {
    /// A basket, priced when it is sold.
    Basket(Basket),
    /// The basket of a quote by its name, at the price that was told.
    Quoted(String),
}

/// A tender of a sale.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paid {
    /// The tender's code; stored value is called `card`.
    pub tender: String,
    /// What stands behind its colon: the card by its name, or the reference.
    pub by: Option<String>,
    /// Whether nobody knows if it was paid.
    pub unknown: bool,
    /// How much.
    pub amount_minor: i64,
}

/// Reads a basket.
///
/// # Errors
/// The word that is none.
pub(super) fn basket(words: &[&str]) -> anyhow::Result<Basket> {
    let mut basket = Basket::default();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "member" => {
                basket.member_card = Some((*words.next().context("whose card does the member show?")?).to_owned())
            }
            "coupon" => basket.coupons.push((*words.next().context("which coupon?")?).to_owned()),
            "off" => {
                let amount_minor = amount(words.next().context("how much comes off?")?)?;
                basket.off.push((amount_minor, words.next().context("who bears it?")?.parse()?));
            }
            sku => basket.lines.push(pieces(sku)?),
        }
    }
    ensure!(!basket.lines.is_empty(), "there is nothing in the basket");
    Ok(basket)
}

fn pieces(word: &str) -> anyhow::Result<Pieces> {
    let (word, price_minor) = match word.split_once('=') {
        None => (word, None),
        Some((word, price)) => (word, Some(amount(price)?)),
    };
    let (sku, count) = match word.split_once('*') {
        None => (word, 1),
        Some((sku, count)) => (sku, count.parse().with_context(|| format!("{count} is no number of pieces"))?),
    };
    Ok(Pieces { sku: sku.to_owned(), count, price_minor })
}

/// Reads what a sale is of: `of Q1`, or a basket.
///
/// # Errors
/// As [`basket`].
pub(super) fn goods(words: &[&str]) -> anyhow::Result<Goods> {
    match words {
        ["of", quote] => Ok(Goods::Quoted((*quote).to_owned())),
        _ => Ok(Goods::Basket(basket(words)?)),
    }
}

/// Reads how a sale is paid: tenders and amounts in turn.
///
/// # Errors
/// The word that is none.
pub(super) fn paid(words: &[&str]) -> anyhow::Result<Vec<Paid>> {
    let mut paid = Vec::new();
    for pair in words.chunks(2) {
        let [tender, value] = pair else { bail!("{} lacks its amount", pair.join(" ")) };
        let (tender, by) = match tender.split_once(':') {
            None => (*tender, None),
            Some((tender, by)) => (tender, Some(by.to_owned())),
        };
        let known = tender.strip_suffix('?');
        let tender = known.unwrap_or(tender).to_owned();
        paid.push(Paid { tender, by, unknown: known.is_some(), amount_minor: amount(value)? });
    }
    ensure!(paid.iter().filter(|one| one.unknown).count() <= 1, "only one payment of a sale can be unknown");
    Ok(paid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basket_is_read_with_its_member_coupons_and_tenders() {
        let read = basket(&["TEA", "COAT*2", "JUNK=5.00", "member", "C1", "coupon", "A", "coupon", "B"]).unwrap();
        let lines: Vec<_> = read.lines.iter().map(|line| (line.sku.as_str(), line.count, line.price_minor)).collect();
        assert_eq!(lines, [("TEA", 1, None), ("COAT", 2, None), ("JUNK", 1, Some(500))]);
        assert_eq!((read.member_card.as_deref(), read.coupons), (Some("C1"), vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(goods(&["of", "Q1"]).unwrap(), Goods::Quoted("Q1".to_owned()));
        let read = paid(&["cash", "1.00", "voucher:V-7", "2.00", "wechat?", "3.00"]).unwrap();
        assert_eq!(read.iter().map(|one| one.unknown).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(
            (read[1].by.as_deref(), read[2].tender.as_str(), read[2].amount_minor),
            (Some("V-7"), "wechat", 300)
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let says = |read: anyhow::Result<()>, says: &str| {
            let error = format!("{:#}", read.unwrap_err());
            assert!(error.contains(says), "{error}");
        };
        says(basket(&["member", "C1"]).map(drop), "nothing in the basket");
        says(basket(&["TEA", "coupon"]).map(drop), "which coupon");
        says(basket(&["TEA*some"]).map(drop), "some is no number of pieces");
        says(paid(&["cash"]).map(drop), "cash lacks its amount");
        says(paid(&["cash?", "1.00", "wechat?", "1.00"]).map(drop), "only one payment");
    }
}
