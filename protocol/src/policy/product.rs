//! Product: a kind of card, with its issuer, its limits and the numbers it may have.
//!
//! Cards themselves are not here (see `card`). Invariant of a valid policy: a card number belongs to one range of one product.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::card::NumberRange;
use crate::id::{LegalEntityId, ProductId};

/// A kind of card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its code.
    pub id: ProductId,
    /// What people call it.
    pub name: String,
    /// The legal entity that owes the balance.
    pub issuer: LegalEntityId,
    /// The numbers it may have.
    pub ranges: Vec<NumberRange>,
    /// The most one load may add, bonus included.
    #[serde(default = "unlimited")]
    pub load_minor_max: i64,
    /// The most an account may hold after a load, as far as the store can see.
    #[serde(default = "unlimited")]
    pub balance_minor_max: i64,
    /// The tax code under which what is paid for a load may stand on an invoice, untaxed: 601 (预付卡销售和充值) on the mainland. Without one it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice_tax_code: Option<String>,
}

const fn unlimited() -> i64 {
    i64::MAX
}

pub(super) fn check(products: &[Product], faults: &mut Faults) {
    let mut codes = HashSet::new();
    for (index, product) in products.iter().enumerate() {
        let path = format!("products[{index}]");
        if !codes.insert(product.id) {
            faults.add(format!("{path}.id"), format!("{} is there twice; give each product its own code", product.id));
        }
        if product.ranges.is_empty() {
            faults.add(format!("{path}.ranges"), "is empty; a product needs at least one range of numbers");
        }
        for (field, amount_minor) in
            [("load_minor_max", product.load_minor_max), ("balance_minor_max", product.balance_minor_max)]
        {
            if amount_minor <= 0 {
                faults.add(format!("{path}.{field}"), format!("is {amount_minor}; it must be above zero"));
            }
        }
        for (at, range) in product.ranges.iter().enumerate() {
            let path = format!("{path}.ranges[{at}]");
            if let Err(why) = range.body_digits() {
                faults.add(path.clone(), why.to_string());
            }
            let mut earlier = products[..index].iter().flat_map(|p| &p.ranges).chain(&product.ranges[..at]);
            if let Some(other) = earlier.find(|other| overlap(other, range)) {
                let fault = format!(
                    "overlaps the range {}… of length {}; a number must belong to one range",
                    other.prefix, other.length
                );
                faults.add(path, fault);
            }
        }
    }
}

fn overlap(a: &NumberRange, b: &NumberRange) -> bool {
    a.length == b.length && (a.prefix.starts_with(&b.prefix) || b.prefix.starts_with(&a.prefix))
}
