//! Policy: what head office decides for all stores, published as one versioned TOML document. One file per chapter.
//!
//! This module holds the document's types and its rules; parsing TOML is the caller's. Settlement's rules are not here, they are the
//! hub's agreement (`settlement::agreement`). Invariant: a policy that passed [`Policy::validate`] can be applied without further questions.

mod allotment;
mod day;
mod goods;
mod hold;
mod item;
mod ladder;
mod overdraft;
mod parameters;
mod permissions;
mod pricing;
mod product;
mod promotion;
mod returns;
mod tender;
mod tier;
mod when;
mod who;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::allotment::{AllotmentRules, GrantSize, Release};
pub use self::day::DayRules;
pub use self::goods::{Counters, Goods, Selector};
pub(crate) use self::goods::{category_and_above, normal_category};
pub use self::hold::HoldRules;
pub use self::item::{ItemRules, ItemSource};
pub use self::ladder::{LadderRules, Rung};
pub use self::overdraft::OverdraftRules;
pub(crate) use self::parameters::multiplied;
pub use self::parameters::{
    EXCLUDED_SKUS_MAX, OWN_PROMOTIONS_MAX, OwnPromotion, ParameterBounds, PointsBounds, PointsMultiplier,
    PromotionBounds, StoreParameters, WINDOW_DAYS_MAX,
};
pub use self::permissions::{Act, Operation, PermissionRules, Role};
pub use self::pricing::{AcrossPriorities, PricingRules};
pub use self::product::{Product, Scope};
pub use self::promotion::{Combine, Funder, Funding, Give, Promotion};
pub use self::returns::ReturnRules;
pub use self::tender::{CountsAs, ReferenceRule, RefundRoute, Tender, TenderClass};
pub use self::tier::{EARN_MULTIPLIER_PPM_MAX, Tier};
pub(crate) use self::when::weekday;
pub use self::when::{TimeOfDay, TimeWindow, When};
pub use self::who::{Where, Who};
use crate::card::Card;
use crate::id::{StoreId, TenderCode};
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
    /// What a store does that has not learnt for a while which cards were reported lost.
    #[serde(default)]
    pub ladder: LadderRules,
    /// What may be set aside of a card, how much and for how long.
    #[serde(default)]
    pub holds: HoldRules,
    /// How far cards may overdraw where head office cannot be asked; not at all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdraft: Option<OverdraftRules>,
    /// Business days.
    #[serde(default)]
    pub day: DayRules,
    /// Which operators may do what.
    #[serde(default)]
    pub permissions: PermissionRules,
    /// What stores may set for themselves.
    #[serde(default)]
    pub store_parameters: ParameterBounds,
    /// What stores have set for themselves. No part of the document: it comes beside it in the bundle, approved store by store.
    #[serde(skip_deserializing, skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: BTreeMap<StoreId, StoreParameters>,
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
            ladder: LadderRules::default(),
            holds: HoldRules::default(),
            overdraft: None,
            day: DayRules::default(),
            permissions: PermissionRules::default(),
            store_parameters: ParameterBounds::default(),
            stores: BTreeMap::new(),
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
        product::check(&self.products, &self.tenders, &mut faults);
        tender::check(&self.tenders, &mut faults);
        allotment::check(&self.allotment, &mut faults);
        returns::check(&self.returns, &mut faults);
        tier::check(&self.tiers, &mut faults);
        promotion::check(&self.promotions, &self.tiers, &mut faults);
        ladder::check(&self.ladder, &mut faults);
        hold::check(&self.holds, &mut faults);
        if let Some(rules) = &self.overdraft {
            overdraft::check(rules, &mut faults);
        }
        day::check(&self.day, &mut faults);
        permissions::check(&self.permissions, &mut faults);
        self.check_contradictions(&mut faults);
        parameters::check_bounds(&self.store_parameters, &mut faults);
        let by_tier = self.tiers.iter().map(|tier| tier.earn_multiplier_ppm).max().unwrap_or(Ppm::ONE).max(Ppm::ONE);
        let by_store = self.store_parameters.points.map_or(Ppm::ONE, |bounds| bounds.multiplier_ppm_max);
        let multiplier = multiplied(by_tier, by_store.max(Ppm::ONE));
        for (field, fault) in self.points.faults(multiplier) {
            faults.add(format!("points.{field}"), fault);
        }
        if self.points.burn.is_some() != self.tenders.iter().any(|tender| tender.class == TenderClass::Points) {
            let fault =
                "and a tender of class points need each other; add the one that is missing or take the other away";
            faults.add("points.burn", fault);
        }
        let frame = parameters::Frame::of(self);
        for (store, own) in &self.stores {
            for PolicyFault { path, fault } in parameters::check(*store, own, &frame) {
                faults.add(format!("stores.{store}.{path}"), fault);
            }
        }
        faults.0
    }

    /// What one chapter says that another makes meaningless.
    fn check_contradictions(&self, faults: &mut Faults) {
        let pays_with_value = self.tenders.iter().any(|tender| tender.class == TenderClass::StoredValue);
        if self.returns.without_receipt && !pays_with_value {
            let fault = "is true, and gives back onto cards; name a tender of class stored_value, or set it to false";
            faults.add("returns.without_receipt", fault);
        }
        if self.overdraft.is_some() && !pays_with_value {
            faults.add(
                "overdraft",
                "has nothing to pay with; name a tender of class stored_value, or leave the chapter out",
            );
        }
        let limits_points = self.ladder.rungs.iter().position(|rung| rung.points_max.is_some());
        if let Some(at) = limits_points.filter(|_| self.points.burn.is_none()) {
            let fault = "limits points, which pay for nothing without points.burn; take it out";
            faults.add(format!("ladder.rungs[{at}].points_max"), fault);
        }
    }

    /// Every fault of what a store sets, or would set, for itself; paths begin within its parameters.
    #[must_use]
    pub fn parameter_faults(&self, store: StoreId, own: &StoreParameters) -> Vec<PolicyFault> {
        parameters::check(store, own, &parameters::Frame::of(self))
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
