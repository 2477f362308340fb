//! Product: a kind of card, with its issuer, its limits and the numbers it may have.
//!
//! Cards themselves are not here (see `card`). Invariant of a valid policy: a card number belongs to one range of one product.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::who::twice;
use super::{Counters, Faults, Goods, Tender, goods};
use crate::card::NumberRange;
use crate::id::{LegalEntityId, ProductId, StoreId, TenderCode};

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
    /// The most that one receipt may take of one account.
    #[serde(default = "unlimited")]
    pub spend_minor_max: i64,
    /// The most that an account may spend at one store on one business day. Each store counts its own: over all stores it is a limit per store.
    #[serde(default = "unlimited")]
    pub spend_day_minor_max: i64,
    /// Where and for what it may pay, and with what it may be loaded.
    #[serde(default)]
    pub scope: Scope,
    /// The tax code under which what is paid for a load may stand on an invoice, untaxed: 601 (预付卡销售和充值) on the mainland. Without one it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice_tax_code: Option<String>,
}

/// Where and for what a card may pay, and with what it may be loaded. What is left out does not limit. Goods that it paid for always come back to it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// The stores in which it pays; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<StoreId>,
    /// The goods that it pays for.
    #[serde(skip_serializing_if = "is_all")]
    pub goods: Goods,
    /// The tenders that load it; empty means all that may load.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub load_tenders: Vec<TenderCode>,
}

fn is_all(goods: &Goods) -> bool {
    *goods == Goods::default()
}

impl Scope {
    /// Whether it pays in a store.
    #[must_use]
    pub fn holds_in(&self, store: StoreId) -> bool {
        self.stores.is_empty() || self.stores.contains(&store)
    }

    /// Whether it pays for all goods.
    #[must_use]
    pub fn is_for_all_goods(&self) -> bool {
        is_all(&self.goods)
    }
}

const fn unlimited() -> i64 {
    i64::MAX
}

pub(super) fn check(products: &[Product], tenders: &[Tender], faults: &mut Faults) {
    let mut codes = HashSet::new();
    for (index, product) in products.iter().enumerate() {
        let path = format!("products[{index}]");
        if !codes.insert(product.id) {
            faults.add(format!("{path}.id"), format!("{} is there twice; give each product its own code", product.id));
        }
        if product.ranges.is_empty() {
            faults.add(format!("{path}.ranges"), "is empty; a product needs at least one range of numbers");
        }
        let limits = [
            ("load_minor_max", product.load_minor_max),
            ("balance_minor_max", product.balance_minor_max),
            ("spend_minor_max", product.spend_minor_max),
            ("spend_day_minor_max", product.spend_day_minor_max),
        ];
        for (field, amount_minor) in limits {
            if amount_minor <= 0 {
                faults.add(format!("{path}.{field}"), format!("is {amount_minor}; it must be above zero"));
            }
        }
        for [(small, less), (large, more)] in [[limits[0], limits[1]], [limits[2], limits[3]]] {
            if less != unlimited() && less > more {
                let fault = format!("is {less}, above {large}, {more}: it could never be reached");
                faults.add(format!("{path}.{small}"), fault);
            }
        }
        check_scope(&product.scope, tenders, &|field| format!("{path}.scope.{field}"), faults);
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

fn check_scope(scope: &Scope, tenders: &[Tender], path: &dyn Fn(&str) -> String, faults: &mut Faults) {
    twice(&scope.stores, &|at| path(&format!("stores[{at}]")), faults);
    goods::check(&scope.goods, &Counters::default(), path, faults);
    twice(&scope.load_tenders, &|at| path(&format!("load_tenders[{at}]")), faults);
    for (at, code) in scope.load_tenders.iter().enumerate() {
        let fault = match tenders.iter().find(|tender| tender.code == *code) {
            None => format!("{code} is not in the tender catalogue"),
            Some(tender) if !tender.may_load => format!("{code} may not load value; set its may_load, or take it out"),
            Some(_) => continue,
        };
        faults.add(path(&format!("load_tenders[{at}]")), fault);
    }
}

fn overlap(a: &NumberRange, b: &NumberRange) -> bool {
    a.length == b.length && (a.prefix.starts_with(&b.prefix) || b.prefix.starts_with(&a.prefix))
}
