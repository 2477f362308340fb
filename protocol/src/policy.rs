//! Policy: what head office decides for all stores, published as one versioned TOML document.
//!
//! This module holds the document's types and its rules; parsing TOML is the caller's. Settlement's rules are not here, they are the
//! hub's agreement (`settlement::agreement`). Invariant: a policy that passed [`Policy::validate`] can be applied without further questions.

use serde::{Deserialize, Serialize};

use crate::card::{Card, NumberRange};
use crate::id::{LegalEntityId, ProductId, TenderCode};
use crate::money::Currency;

/// A policy document. `version` is given by the hub when it publishes, never by the author.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What people call it.
    pub name: String,
    /// The currency of every amount in it.
    pub currency: Currency,
    /// Kinds of card.
    #[serde(default)]
    pub products: Vec<Product>,
    /// The tender catalogue.
    pub tenders: Vec<Tender>,
    /// How value moves between hub and stores.
    #[serde(default)]
    pub allotment: AllotmentRules,
    /// What may be given back, and how.
    #[serde(default)]
    pub returns: ReturnRules,
}

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
}

const fn unlimited() -> i64 {
    i64::MAX
}

/// What class of money a tender is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenderClass {
    /// Money from outside: cash, bank card, 微信, 支付宝 …
    External,
    /// A card's stored value; needs the card on the tender line.
    StoredValue,
}

/// A tender of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tender {
    /// Its code.
    pub code: TenderCode,
    /// Its class.
    pub class: TenderClass,
    /// Whether it may pay for a card sale or reload.
    #[serde(default)]
    pub may_load: bool,
    /// Whether what it pays may stand on a tax invoice.
    #[serde(default)]
    pub invoiceable: bool,
}

/// When a store gives back what it need not keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "when")]
pub enum Release {
    /// After every operation.
    AtOnce,
    /// When the account has rested for a while, so that a visit costs no round trip per sale.
    WhenIdle {
        /// How long, in minutes.
        minutes: u32,
    },
    /// At the close of the day.
    AtClose,
}

/// How much the hub gives to a store that asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantSize {
    /// All that is free: the member is there now.
    #[default]
    Pool,
    /// No more than what is missing.
    Shortfall,
}

/// How value moves between hub and stores.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AllotmentRules {
    /// When a store releases.
    pub release: Release,
    /// What a store may keep of each account when it releases.
    pub park_minor: i64,
    /// How much a grant gives.
    pub grant: GrantSize,
}

impl Default for AllotmentRules {
    fn default() -> Self {
        Self { release: Release::WhenIdle { minutes: 15 }, park_minor: 0, grant: GrantSize::Pool }
    }
}

/// What may be given back, and how.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReturnRules {
    /// Whether goods may come back without a receipt, onto a card, at tills that have the permission. Each is listed for review.
    pub without_receipt: bool,
    /// The most one return without receipt may give; 0 means no limit.
    pub without_receipt_minor_max: i64,
}

/// One fault of a policy: where and what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyFault {
    /// The path in the document: `products[0].ranges[1].prefix`.
    pub path: String,
    /// What is wrong and what to do.
    pub fault: String,
}

impl std::fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.fault)
    }
}

impl Policy {
    /// Every fault at once; empty means that it may be published.
    #[must_use]
    pub fn validate(&self) -> Vec<PolicyFault> {
        let mut faults = Vec::new();
        let mut fault = |path: String, fault: String| faults.push(PolicyFault { path, fault });
        if self.name.trim().is_empty() {
            fault("name".to_owned(), "is empty; give the policy a name".to_owned());
        }
        for (index, product) in self.products.iter().enumerate() {
            let path = format!("products[{index}]");
            if self.products[..index].iter().any(|other| other.id == product.id) {
                fault(format!("{path}.id"), format!("{} is there twice; give each product its own code", product.id));
            }
            if product.ranges.is_empty() {
                fault(format!("{path}.ranges"), "is empty; a product needs at least one range of numbers".to_owned());
            }
            for (field, amount_minor) in
                [("load_minor_max", product.load_minor_max), ("balance_minor_max", product.balance_minor_max)]
            {
                if amount_minor <= 0 {
                    fault(format!("{path}.{field}"), format!("is {amount_minor}; it must be above zero"));
                }
            }
            for (at, range) in product.ranges.iter().enumerate() {
                let path = format!("{path}.ranges[{at}]");
                if let Err(why) = range.body_digits() {
                    fault(path.clone(), why.to_string());
                }
                let earlier = self.products[..index].iter().flat_map(|p| &p.ranges).chain(&product.ranges[..at]);
                if let Some(other) = earlier.into_iter().find(|other| overlap(other, range)) {
                    fault(
                        path,
                        format!(
                            "overlaps the range {}… of length {}; a number must belong to one range",
                            other.prefix, other.length
                        ),
                    );
                }
            }
        }
        for (index, tender) in self.tenders.iter().enumerate() {
            if self.tenders[..index].iter().any(|other| other.code == tender.code) {
                fault(format!("tenders[{index}].code"), format!("{} is there twice", tender.code));
            }
            if tender.may_load && tender.class != TenderClass::External {
                fault(format!("tenders[{index}].may_load"), "only an external tender may load value".to_owned());
            }
        }
        if !self.tenders.iter().any(|tender| tender.class == TenderClass::External) {
            fault("tenders".to_owned(), "names no external tender; a store must be able to take cash".to_owned());
        }
        if self.allotment.park_minor < 0 {
            fault(
                "allotment.park_minor".to_owned(),
                format!("is {}; it must not be negative", self.allotment.park_minor),
            );
        }
        if self.returns.without_receipt_minor_max < 0 {
            fault("returns.without_receipt_minor_max".to_owned(), "must not be negative; 0 means no limit".to_owned());
        }
        faults
    }

    /// The tender of a code.
    #[must_use]
    pub fn tender(&self, code: TenderCode) -> Option<&Tender> {
        self.tenders.iter().find(|tender| tender.code == code)
    }

    /// The product of a card.
    #[must_use]
    pub fn product(&self, card: &Card) -> Option<&Product> {
        self.products.iter().find(|product| product.id == card.product)
    }
}

fn overlap(a: &NumberRange, b: &NumberRange) -> bool {
    a.length == b.length && (a.prefix.starts_with(&b.prefix) || b.prefix.starts_with(&a.prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::CheckDigit;

    fn range(prefix: &str) -> NumberRange {
        NumberRange { prefix: prefix.to_owned(), length: 16, check: CheckDigit::Damm }
    }

    #[test]
    fn every_fault_is_reported_at_once_with_its_path() {
        let product = |id: &str, ranges| Product {
            id: id.parse().unwrap(),
            name: String::new(),
            issuer: "E1".parse().unwrap(),
            ranges,
            load_minor_max: 0,
            balance_minor_max: i64::MAX,
        };
        let policy = Policy {
            name: " ".to_owned(),
            currency: Currency::CNY,
            products: vec![product("SV", vec![range("6601")]), product("SV", vec![range("66017"), range("x")])],
            tenders: vec![Tender {
                code: "stored_value".parse().unwrap(),
                class: TenderClass::StoredValue,
                may_load: true,
                invoiceable: false,
            }],
            allotment: AllotmentRules { park_minor: -1, ..AllotmentRules::default() },
            returns: ReturnRules { without_receipt: true, without_receipt_minor_max: -1 },
        };
        let paths: Vec<String> = policy.validate().into_iter().map(|fault| fault.path).collect();
        assert_eq!(
            paths,
            [
                "name",
                "products[0].load_minor_max",
                "products[1].id",
                "products[1].load_minor_max",
                "products[1].ranges[0]",
                "products[1].ranges[1]",
                "tenders[0].may_load",
                "tenders",
                "allotment.park_minor",
                "returns.without_receipt_minor_max",
            ]
        );
    }
}
