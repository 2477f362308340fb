//! Item: what the item master (商品主档) says of a thing that is sold, as head office publishes it and stores keep it.
//!
//! Prices that promotions make of it are `pricing`'s. A till may sell what is in no master: then there is no record and nothing here applies.
//! Invariant: a record that passed [`Item::faults`] can be found by its SKU and by each of its barcodes without ambiguity inside the record.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::entry::LineFlags;
use crate::id::{CounterId, LegalEntityId, SupplierId};
use crate::till::{AMOUNT_MINOR_MAX, Fault};

/// The longest SKU or barcode in bytes: room for a GS1 element string with lot and date.
pub const ITEM_CODE_BYTES_MAX: usize = 64;
/// The most barcodes of an item: units, cases and relabelled stock of one thing.
pub const BARCODES_MAX: usize = 32;
/// 100 %, in parts per million.
pub const TAX_PPM_MAX: u32 = 1_000_000;

/// An item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The group's own code for it.
    pub sku: String,
    /// What scanners read on it; each belongs to one item of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barcodes: Vec<String>,
    /// What receipts call it.
    pub name: String,
    /// Its category, from the root: `食品/饮料`. Empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub category_path: String,
    /// Its brand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub brand: String,
    /// The concession counter (专柜) that sells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<CounterId>,
    /// Who supplies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<SupplierId>,
    /// Who sells it, where it is not the store's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_entity: Option<LegalEntityId>,
    /// The tax code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tax_code: String,
    /// The tax rate in parts per million, contained in the price.
    #[serde(default)]
    pub tax_ppm: u32,
    /// The shelf price of one. Absent for what the till prices: weighed goods, open departments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_price_minor: Option<i64>,
    /// The price of one for members, at most the shelf price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_price_minor: Option<i64>,
    /// What must not happen to it.
    #[serde(default)]
    pub flags: LineFlags,
    /// Whether it is sold. What is not is kept for the returns of what was.
    pub active: bool,
}

impl Item {
    /// Everything that is wrong with the record by itself.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut code = |field: &str, text: &str| {
            if let Err(what) = check_code(text) {
                faults.push(Fault::new(field, what));
            }
        };
        code("sku", &self.sku);
        self.barcodes.iter().for_each(|barcode| code("barcodes", barcode));
        let mut seen = HashSet::new();
        if let Some(twice) = self.barcodes.iter().find(|barcode| !seen.insert(barcode.as_str())) {
            faults.push(Fault::new("barcodes", format!("has {twice} twice")));
        }
        if self.barcodes.len() > BARCODES_MAX {
            let count = self.barcodes.len();
            faults.push(Fault::new("barcodes", format!("has {count} codes; at most {BARCODES_MAX} are allowed")));
        }
        if self.name.is_empty() {
            faults.push(Fault::new("name", "is empty"));
        }
        if !self.category_path.is_empty()
            && self.category_path.split('/').any(|part| part.trim() != part || part.is_empty())
        {
            faults.push(Fault::new(
                "category_path",
                "is not a path like 食品/饮料, without empty parts or spaces around them",
            ));
        }
        if self.tax_ppm > TAX_PPM_MAX {
            faults
                .push(Fault::new("tax_ppm", format!("is {}; at most {TAX_PPM_MAX} (100 %) are allowed", self.tax_ppm)));
        }
        for (field, price) in
            [("list_price_minor", self.list_price_minor), ("member_price_minor", self.member_price_minor)]
        {
            if let Some(minor) = price.filter(|minor| !(1..=AMOUNT_MINOR_MAX).contains(minor)) {
                faults.push(Fault::new(
                    field,
                    format!("is {minor}; it must be from 1 to {AMOUNT_MINOR_MAX} minor units"),
                ));
            }
        }
        if let (Some(list), Some(member)) = (self.list_price_minor, self.member_price_minor)
            && member > list
        {
            faults.push(Fault::new("member_price_minor", "is above the list price; members never pay more"));
        }
        faults
    }
}

/// Whether a text can be a SKU or a barcode: visible characters only, so that what is printed, scanned and typed is the same.
fn check_code(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > ITEM_CODE_BYTES_MAX {
        return Err(format!("{text:?} has {} bytes; at most {ITEM_CODE_BYTES_MAX} are allowed", text.len()));
    }
    match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Some(c) => Err(format!("{text:?} has {c:?} in it; codes have no spaces")),
        None => Ok(()),
    }
}

/// What a till gets when it looks an item up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ItemLook {
    /// The item.
    pub item: Item,
    /// What of the dataset the store has.
    pub as_of: ItemsAsOf,
}

/// The version of the items that a look-up was answered from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ItemsAsOf {
    /// The dataset's version.
    pub items: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        Item {
            sku: "A-1".to_owned(),
            barcodes: vec!["6901234567892".to_owned()],
            name: "青岛啤酒 500ml".to_owned(),
            category_path: "食品/饮料".to_owned(),
            brand: String::new(),
            counter: None,
            supplier: None,
            legal_entity: None,
            tax_code: String::new(),
            tax_ppm: 130_000,
            list_price_minor: Some(600),
            member_price_minor: Some(550),
            flags: LineFlags::default(),
            active: true,
        }
    }

    #[test]
    fn every_fault_of_a_record_is_named() {
        assert_eq!(item().faults(), []);
        let bad = Item {
            sku: "A 1".to_owned(),
            barcodes: vec!["1".to_owned(), "1".to_owned()],
            name: String::new(),
            category_path: "食品//饮料".to_owned(),
            tax_ppm: 1_300_000,
            list_price_minor: Some(500),
            ..item()
        };
        let said: Vec<String> = bad.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "sku \"A 1\" has ' ' in it; codes have no spaces",
                "barcodes has 1 twice",
                "name is empty",
                "category_path is not a path like 食品/饮料, without empty parts or spaces around them",
                "tax_ppm is 1300000; at most 1000000 (100 %) are allowed",
                "member_price_minor is above the list price; members never pay more",
            ]
        );
        assert_eq!(Item { list_price_minor: Some(0), member_price_minor: None, ..item() }.faults().len(), 1);
    }
}
