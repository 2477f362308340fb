//! One line of a basket as a till sends it. What the store says of it besides (item master, member price, discounts) is the entry's.

use serde::{Deserialize, Serialize};

use super::check::{amount, bearer, markdown, text};
use super::{COUPONS_MAX, Fault, LINES_MAX, QUANTITY_THOUSANDTHS_MAX};
use crate::entry::{LineFlags, Markdown, SaleLine};
use crate::id::{CounterId, CouponCode, OperatorId, SupplierId};
use crate::money::sum;
use crate::pricing::Discount;

/// One line of a basket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TillLine {
    /// The item: its SKU, or the barcode that was scanned.
    pub sku: String,
    /// What the receipt calls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its category, from the root: `食品/饮料`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub category_path: String,
    /// Its brand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub brand: String,
    /// The concession counter that sold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<CounterId>,
    /// Who supplies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<SupplierId>,
    /// Who served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clerk: Option<OperatorId>,
    /// Quantity in thousandths: 1000 is one piece, 250 is a quarter of a kilogram.
    pub quantity_thousandths: i64,
    /// The shelf price of one, before any discount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_price_minor: Option<i64>,
    /// The line before markdowns.
    pub gross_minor: i64,
    /// Discounts that the till gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub markdowns: Vec<Markdown>,
    /// What came off it beyond the markdowns, with who bears it. Only on a receipt that the till took while the edge was down; else the store says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// The line after markdowns and discounts, as the till counts it. May be left out; when it is sent, it is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_minor: Option<i64>,
    /// The tax code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tax_code: String,
    /// The tax rate in parts per million, contained in the price.
    #[serde(default)]
    pub tax_ppm: u32,
    /// What must not happen to it.
    #[serde(default)]
    pub flags: LineFlags,
}

impl TillLine {
    /// The line after markdowns and discounts. Of a checked line; one that was not may be below zero.
    #[must_use]
    pub fn net_minor(&self) -> i64 {
        let markdowns = self.markdowns.iter().map(|markdown| markdown.amount_minor);
        let discounts = self.discounts.iter().map(|discount| discount.amount_minor);
        markdowns.chain(discounts).fold(self.gross_minor, i64::saturating_sub)
    }

    /// The line as its entry begins: nothing is known of it yet but what the till said.
    #[must_use]
    pub fn to_entry(&self) -> SaleLine {
        SaleLine {
            sku: self.sku.clone(),
            name: self.name.clone(),
            category_path: self.category_path.clone(),
            brand: self.brand.clone(),
            counter: self.counter,
            supplier: self.supplier,
            clerk: self.clerk,
            quantity_thousandths: self.quantity_thousandths,
            list_price_minor: self.list_price_minor,
            gross_minor: self.gross_minor,
            markdowns: self.markdowns.clone(),
            discounts: self.discounts.clone(),
            net_minor: self.net_minor(),
            member_price_minor: None,
            known: false,
            tax_code: self.tax_code.clone(),
            tax_ppm: self.tax_ppm,
            flags: self.flags,
        }
    }
}

/// Checks the lines of a basket. A till that priced it itself, while the edge was down, says what discounts it gave.
pub(super) fn lines(lines: &[TillLine], coupons: &[CouponCode], priced_by_till: bool) -> Result<(), Fault> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(Fault::new("lines", format!("has {} lines; from 1 to {LINES_MAX} are allowed", lines.len())));
    }
    for (index, line) in lines.iter().enumerate() {
        let path = |field: &str| format!("lines[{index}].{field}");
        text(&path("sku"), &line.sku, 1)?;
        for (field, value) in [
            ("name", &line.name),
            ("category_path", &line.category_path),
            ("brand", &line.brand),
            ("tax_code", &line.tax_code),
        ] {
            text(&path(field), value, 0)?;
        }
        if !(1..=QUANTITY_THOUSANDTHS_MAX).contains(&line.quantity_thousandths) {
            let fault = format!(
                "is {}; it must be from 1 to {QUANTITY_THOUSANDTHS_MAX} thousandths",
                line.quantity_thousandths
            );
            return Err(Fault::new(path("quantity_thousandths"), fault));
        }
        if line.tax_ppm > 1_000_000 {
            return Err(Fault::new(
                path("tax_ppm"),
                format!("is {}; at most 1000000 (100 %) is allowed", line.tax_ppm),
            ));
        }
        if let Some(price_minor) = line.list_price_minor {
            amount(&path("list_price_minor"), price_minor, 0)?;
        }
        amount(&path("gross_minor"), line.gross_minor, 0)?;
        if let Some(net_minor) = line.net_minor {
            amount(&path("net_minor"), net_minor, 0)?;
        }
        let mut net_minor = line.gross_minor;
        for (at, said) in line.markdowns.iter().enumerate() {
            markdown(&path(&format!("markdowns[{at}]")), said)?;
            net_minor -= said.amount_minor;
        }
        if !priced_by_till && !line.discounts.is_empty() {
            return Err(Fault::new(path("discounts"), "is for the store to say; leave it out"));
        }
        for (at, discount) in line.discounts.iter().enumerate() {
            amount(&path(&format!("discounts[{at}].amount_minor")), discount.amount_minor, 1)?;
            let funded = sum(discount.funders.iter().map(|part| part.amount_minor)).unwrap_or(i64::MAX);
            if funded != discount.amount_minor || discount.funders.iter().any(|part| part.amount_minor < 0) {
                let fault =
                    format!("sum to {funded}, but amount_minor is {}; they must be equal", discount.amount_minor);
                return Err(Fault::new(path(&format!("discounts[{at}].funders")), fault));
            }
            for (part_at, part) in discount.funders.iter().enumerate() {
                bearer(&path(&format!("discounts[{at}].funders[{part_at}].party")), part.party)?;
            }
            net_minor -= discount.amount_minor;
        }
        if let Some(said_minor) = line.net_minor.filter(|&said_minor| said_minor != net_minor) {
            let fault = format!(
                "is {said_minor}, but gross_minor less markdowns and discounts is {net_minor}; they must be equal, or leave it out"
            );
            return Err(Fault::new(path("net_minor"), fault).expecting(net_minor));
        }
        amount(&path("net_minor"), net_minor, 0)?;
    }
    if coupons.len() > COUPONS_MAX {
        let fault = format!("has {} codes; at most {COUPONS_MAX} are allowed", coupons.len());
        return Err(Fault::new("coupons", fault));
    }
    let total = sum(lines.iter().map(TillLine::net_minor)).unwrap_or(i64::MAX);
    amount("lines", total, 0)
}
