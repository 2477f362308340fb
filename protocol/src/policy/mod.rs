//! Policy: what head office decides for all stores, published as one versioned TOML document. One file per chapter.
//!
//! This module holds the document's types and its rules; parsing TOML is the caller's. Settlement's rules are not here, they are the
//! hub's agreement (`settlement::agreement`). Invariant: a policy that passed [`Policy::validate`] can be applied without further questions.

mod allotment;
mod goods;
mod item;
mod pricing;
mod product;
mod promotion;
mod returns;
mod tender;
mod tier;
mod when;
mod who;

use serde::{Deserialize, Serialize};

pub use self::allotment::{AllotmentRules, GrantSize, Release};
pub use self::goods::{Counters, Goods, Selector};
pub(crate) use self::goods::{category_and_above, normal_category};
pub use self::item::{ItemRules, ItemSource};
pub use self::pricing::{AcrossPriorities, PricingRules};
pub use self::product::Product;
pub use self::promotion::{Combine, Funder, Funding, Give, Promotion};
pub use self::returns::ReturnRules;
pub use self::tender::{CountsAs, ReferenceRule, RefundRoute, Tender, TenderClass};
pub use self::tier::{EARN_MULTIPLIER_PPM_MAX, Tier};
pub(crate) use self::when::weekday;
pub use self::when::{TimeOfDay, TimeWindow, When};
pub use self::who::{Where, Who};
use crate::card::Card;
use crate::id::TenderCode;
use crate::money::{Currency, Ppm};
use crate::points::PointsRules;

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
    /// Levels of membership.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// How promotions stand to each other.
    #[serde(default)]
    pub pricing: PricingRules,
    /// What is given to whom, when and where.
    #[serde(default)]
    pub promotions: Vec<Promotion>,
    /// What purchases earn and what points pay for.
    #[serde(default)]
    pub points: PointsRules,
    /// Whose word counts about goods.
    #[serde(default)]
    pub items: ItemRules,
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

/// Faults as they are found.
#[derive(Default)]
struct Faults(Vec<PolicyFault>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, fault: impl Into<String>) {
        self.0.push(PolicyFault { path: path.into(), fault: fault.into() });
    }
}

impl Policy {
    /// A policy with a name, a currency and nothing else; it has no tender, so it cannot be published as it is.
    #[must_use]
    pub fn empty(name: &str, currency: Currency) -> Self {
        Self {
            name: name.to_owned(),
            currency,
            products: Vec::new(),
            tenders: Vec::new(),
            allotment: AllotmentRules::default(),
            returns: ReturnRules::default(),
            tiers: Vec::new(),
            pricing: PricingRules::default(),
            promotions: Vec::new(),
            points: PointsRules::default(),
            items: ItemRules::default(),
        }
    }

    /// Every fault at once; empty means that it may be published.
    ///
    /// What only the hub knows is not judged here: whether the issuers, stores, counters, suppliers, SKUs and parties that it names exist.
    #[must_use]
    pub fn validate(&self) -> Vec<PolicyFault> {
        let mut faults = Faults::default();
        if self.name.trim().is_empty() {
            faults.add("name", "is empty; give the policy a name");
        }
        product::check(&self.products, &mut faults);
        tender::check(&self.tenders, &mut faults);
        allotment::check(&self.allotment, &mut faults);
        returns::check(&self.returns, &mut faults);
        tier::check(&self.tiers, &mut faults);
        promotion::check(&self.promotions, &self.tiers, &mut faults);
        let multiplier = self.tiers.iter().map(|tier| tier.earn_multiplier_ppm).max().unwrap_or(Ppm::ONE);
        for (field, fault) in self.points.faults(multiplier) {
            faults.add(format!("points.{field}"), fault);
        }
        if self.points.burn.is_some() != self.tenders.iter().any(|tender| tender.class == TenderClass::Points) {
            let fault =
                "and a tender of class points need each other; add the one that is missing or take the other away";
            faults.add("points.burn", fault);
        }
        faults.0
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

#[cfg(test)]
mod tests;
