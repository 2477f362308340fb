//! Store parameters: what a store may set for itself, within bounds that head office has drawn.
//!
//! The bounds are a chapter of the policy's document. The parameters of the stores are no part of it: each was proposed by its store, approved by a
//! second person, and travels beside the document in the same signed bundle. So a parameter has a policy version like every other rule, and a sale
//! is priced again with the parameters that it was priced with. Invariant of a valid policy: every store's parameters are within its bounds, and what
//! a store gives away beyond the group's promotions is borne by that store.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::promotion::check_give;
use super::who::twice;
use super::{
    Combine, Counters, Faults, Give, Goods, Policy, PolicyFault, Promotion, When, Where, Who, goods, when, who,
};
use crate::id::{CouponCode, PromotionId, StoreId, TierCode};
use crate::money::{Ppm, Rounding, share};
use crate::till::AMOUNT_MINOR_MAX;
use crate::time::BusinessDay;

/// The most SKUs that bounds may let a store exclude: a longer list is a matter of the assortment, for head office.
pub const EXCLUDED_SKUS_MAX: usize = 10_000;
/// The most promotions of its own that bounds may let a store have.
pub const OWN_PROMOTIONS_MAX: usize = 100;
/// The longest window in days that bounds may name.
pub const WINDOW_DAYS_MAX: u16 = 366;
/// The largest multiplier that bounds may name: a hundredfold, as for tiers.
const MULTIPLIER_PPM_MAX: Ppm = super::EARN_MULTIPLIER_PPM_MAX;

/// What stores may set for themselves. What is left out they may not set at all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParameterBounds {
    /// More points for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<PointsBounds>,
    /// How many SKUs a store may keep from earning points.
    pub no_points_skus_max: usize,
    /// How many SKUs a store may keep out of all promotions.
    pub no_promotion_skus_max: usize,
    /// Promotions of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotions: Option<PromotionBounds>,
}

/// How far a store may multiply points. It bears them: whoever gives points pays for them under the agreement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointsBounds {
    /// The largest multiplier; it multiplies that of the tier.
    pub multiplier_ppm_max: Ppm,
    /// The longest window, in business days.
    pub days_max: u16,
}

/// How far a store may give discounts of its own. Each of its promotions keeps within the share, or has a budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionBounds {
    /// How many at once.
    pub count_max: usize,
    /// The longest window of each, in business days.
    pub days_max: u16,
    /// The largest part of a line or basket that one may take; those that go together take no more than it together. Without it every promotion needs
    /// a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_ppm_max: Option<Ppm>,
    /// The largest budget of one promotion over its whole life. Without it there are no budgets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_minor_max: Option<i64>,
    /// The priority of every store's own promotions among the group's.
    #[serde(default)]
    pub priority: i32,
}

/// What one store has set for itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreParameters {
    /// More points for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<PointsMultiplier>,
    /// SKUs that earn no points here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_points_skus: Vec<String>,
    /// SKUs that are in no promotion here, neither the group's nor the store's. Member prices stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_promotion_skus: Vec<String>,
    /// Promotions of this store alone, borne by it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub promotions: Vec<OwnPromotion>,
}

/// More points for a while.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointsMultiplier {
    /// What points are multiplied with, beside the tier's multiplier; at least once.
    pub multiplier_ppm: Ppm,
    /// In which days and hours; `from` and `to` are needed.
    pub when: When,
}

/// A promotion of one store. It has the store as its only place and funder, and the priority of the bounds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPromotion {
    /// Its code, unlike those of the group and of other stores. What was given of a budget is counted by it, in later policies too.
    pub id: PromotionId,
    /// What receipts call it.
    pub name: String,
    /// What it gives.
    pub give: Give,
    /// How it stands to others.
    #[serde(default)]
    pub combine: Combine,
    /// In which days and hours; `from` and `to` are needed.
    pub when: When,
    /// For whom.
    #[serde(default)]
    pub who: Who,
    /// On which goods.
    #[serde(default)]
    pub goods: Goods,
    /// Which counters take part.
    #[serde(default)]
    pub counters: Counters,
    /// The coupon that it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<CouponCode>,
    /// What it may give away in all. A basket for which less is left does not get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_minor: Option<i64>,
    /// Whether a line that it is given on still earns points.
    #[serde(default = "yes")]
    pub earns_points: bool,
}

const fn yes() -> bool {
    true
}

impl StoreParameters {
    /// The codes of its promotions, each once.
    fn codes(&self) -> HashSet<PromotionId> {
        self.promotions.iter().map(|promotion| promotion.id).collect()
    }

    /// Whether it sets nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The promotion of a code.
    #[must_use]
    pub fn promotion(&self, id: PromotionId) -> Option<&OwnPromotion> {
        self.promotions.iter().find(|promotion| promotion.id == id)
    }
}

impl OwnPromotion {
    /// It as the price engine takes it.
    #[must_use]
    pub fn at(&self, store: StoreId, priority: i32) -> Promotion {
        Promotion {
            priority,
            combine: self.combine,
            when: self.when.clone(),
            place: Where { stores: vec![store] },
            who: self.who.clone(),
            goods: self.goods.clone(),
            counters: self.counters.clone(),
            coupon: self.coupon,
            earns_points: self.earns_points,
            ..Promotion::new(self.id, &self.name, self.give)
        }
    }
}

/// The largest part of what it stands on that a promotion takes, where that is known before anything is sold. `None` for an amount or a price per piece: how
/// much of a line that is depends on the goods.
fn share_known(give: Give) -> Option<Ppm> {
    match give {
        Give::PercentOff { percent_ppm } | Give::ThresholdPercent { percent_ppm, .. } => Some(percent_ppm),
        Give::Threshold { spend_minor, off_minor, .. } if spend_minor > 0 => {
            let part = i128::from(off_minor) * i128::from(Ppm::ONE.0);
            // Rounded up: what is a little above the bound is above it.
            let spend = i128::from(spend_minor);
            i64::try_from(part.div_euclid(spend) + i128::from(part.rem_euclid(spend) != 0)).ok().map(Ppm)
        }
        Give::Threshold { .. } | Give::AmountOff { .. } | Give::FixedPrice { .. } => None,
    }
}

pub(super) fn check_bounds(bounds: &ParameterBounds, faults: &mut Faults) {
    let mut within = |field: &str, value: i64, least: i64, most: i64| {
        if !(least..=most).contains(&value) {
            faults.add(format!("store_parameters.{field}"), format!("is {value}; it must be from {least} to {most}"));
        }
    };
    let counted = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    if let Some(points) = &bounds.points {
        within("points.multiplier_ppm_max", points.multiplier_ppm_max.0, Ppm::ONE.0, MULTIPLIER_PPM_MAX.0);
        within("points.days_max", points.days_max.into(), 1, WINDOW_DAYS_MAX.into());
    }
    within("no_points_skus_max", counted(bounds.no_points_skus_max), 0, counted(EXCLUDED_SKUS_MAX));
    within("no_promotion_skus_max", counted(bounds.no_promotion_skus_max), 0, counted(EXCLUDED_SKUS_MAX));
    let Some(promotions) = &bounds.promotions else { return };
    within("promotions.count_max", counted(promotions.count_max), 1, counted(OWN_PROMOTIONS_MAX));
    within("promotions.days_max", promotions.days_max.into(), 1, WINDOW_DAYS_MAX.into());
    if let Some(share) = promotions.share_ppm_max {
        within("promotions.share_ppm_max", share.0, 1, Ppm::ONE.0);
    }
    if let Some(budget_minor) = promotions.budget_minor_max {
        within("promotions.budget_minor_max", budget_minor, 1, AMOUNT_MINOR_MAX);
    }
    if promotions.share_ppm_max.is_none() && promotions.budget_minor_max.is_none() {
        let fault = "names neither share_ppm_max nor budget_minor_max, so that nothing would limit what a store gives away; name one or both";
        faults.add("store_parameters.promotions", fault);
    }
}

/// What the parameters of a store are judged by.
pub(super) struct Frame<'a> {
    bounds: &'a ParameterBounds,
    tiers: HashSet<TierCode>,
    /// The codes of the group's promotions.
    group: HashSet<PromotionId>,
    /// The stores, with theirs.
    stores: &'a BTreeMap<StoreId, StoreParameters>,
    /// By how many stores a code is used. Counted once for all stores, or judging a bundle would take the square of them.
    users: HashMap<PromotionId, usize>,
    /// Whether purchases earn points.
    earns: bool,
}

impl<'a> Frame<'a> {
    /// What a policy judges by.
    pub(super) fn of(policy: &'a Policy) -> Self {
        let mut users = HashMap::new();
        for own in policy.stores.values() {
            for id in own.codes() {
                *users.entry(id).or_insert(0) += 1;
            }
        }
        Self {
            bounds: &policy.store_parameters,
            tiers: policy.tiers.iter().map(|tier| tier.code).collect(),
            group: policy.promotions.iter().map(|promotion| promotion.id).collect(),
            stores: &policy.stores,
            users,
            earns: policy.points.earn.is_some(),
        }
    }
}

/// Every fault of one store's parameters, each naming the parameter, its value, and the bound where it is one.
pub(super) fn check(store: StoreId, own: &StoreParameters, frame: &Frame<'_>) -> Vec<PolicyFault> {
    let mut faults = Faults::default();
    check_points(own, frame, &mut faults);
    for (field, skus, bound, most) in [
        ("no_points_skus", &own.no_points_skus, "no_points_skus_max", frame.bounds.no_points_skus_max),
        ("no_promotion_skus", &own.no_promotion_skus, "no_promotion_skus_max", frame.bounds.no_promotion_skus_max),
    ] {
        if skus.len() > most {
            faults.add(field, format!("has {} SKUs; the bound store_parameters.{bound} is {most}", skus.len()));
        }
        for (at, _) in skus.iter().enumerate().filter(|(_, sku)| sku.trim().is_empty()) {
            faults.add(format!("{field}[{at}]"), "is empty");
        }
        twice(skus, &|at| format!("{field}[{at}]"), &mut faults);
    }
    check_promotions(store, own, frame, &mut faults);
    faults.0
}

fn check_points(own: &StoreParameters, frame: &Frame<'_>, faults: &mut Faults) {
    let Some(points) = &own.points else { return };
    let Some(bounds) = &frame.bounds.points else {
        faults.add(
            "points",
            "is set; the policy has no bound store_parameters.points, so stores may not multiply points",
        );
        return;
    };
    if !frame.earns {
        faults.add("points", "multiplies points, but the policy has no points.earn; leave it out");
    }
    let (multiplier, most) = (points.multiplier_ppm, bounds.multiplier_ppm_max);
    if multiplier < Ppm::ONE {
        faults.add("points.multiplier_ppm", format!("is {}; give 1000000 (once) or more", multiplier.0));
    } else if multiplier > most {
        let fault = format!("is {}; the bound store_parameters.points.multiplier_ppm_max is {}", multiplier.0, most.0);
        faults.add("points.multiplier_ppm", fault);
    }
    check_window(&points.when, "points", bounds.days_max, "points.days_max", faults);
}

/// A window begins and ends, and is no longer than its bound.
fn check_window(window: &When, path: &str, days_max: u16, bound: &str, faults: &mut Faults) {
    when::check(window, &|field| format!("{path}.{field}"), faults);
    let (Some(from), Some(to)) = (window.from, window.to) else {
        let missing = if window.from.is_none() { "from" } else { "to" };
        faults.add(
            format!("{path}.when.{missing}"),
            "is missing; what a store sets for itself has a first and a last day",
        );
        return;
    };
    let days = days(from, to);
    if days > i64::from(days_max) {
        let fault = format!("{from} to {to} are {days} days; the bound store_parameters.{bound} is {days_max}");
        faults.add(format!("{path}.when"), fault);
    }
}

/// How many days from one to the other, both included.
fn days(from: BusinessDay, to: BusinessDay) -> i64 {
    from.date().until(to.date()).map_or(i64::MAX, |span| i64::from(span.get_days()) + 1)
}

fn check_promotions(store: StoreId, own: &StoreParameters, frame: &Frame<'_>, faults: &mut Faults) {
    if own.promotions.is_empty() {
        return;
    }
    let Some(bounds) = &frame.bounds.promotions else {
        let fault =
            "are set; the policy has no bound store_parameters.promotions, so stores have no promotions of their own";
        faults.add("promotions", fault);
        return;
    };
    let count = own.promotions.len();
    if count > bounds.count_max {
        faults.add(
            "promotions",
            format!("are {count}; the bound store_parameters.promotions.count_max is {}", bounds.count_max),
        );
    }
    // What the store uses now is no other's.
    let used_here = frame.stores.get(&store).map(StoreParameters::codes).unwrap_or_default();
    let is_taken =
        |id: PromotionId| frame.users.get(&id).is_some_and(|&users| users > usize::from(used_here.contains(&id)));
    let mut seen = HashSet::new();
    for (index, promotion) in own.promotions.iter().enumerate() {
        let path = |field: &str| format!("promotions[{index}].{field}");
        let id = promotion.id;
        if !seen.insert(id) {
            faults.add(path("id"), format!("{id} is there twice; give each promotion its own code"));
        } else if frame.group.contains(&id) {
            faults
                .add(path("id"), format!("{id} is a promotion of the group; give it another code, like {store}-{id}"));
        } else if is_taken(id) {
            faults.add(path("id"), format!("{id} is another store's; give it another code, like {store}-{id}"));
        }
        if promotion.name.trim().is_empty() {
            faults.add(path("name"), "is empty; receipts print it");
        }
        check_give(promotion.give, &path, faults);
        check_window(&promotion.when, &format!("promotions[{index}]"), bounds.days_max, "promotions.days_max", faults);
        who::check(&promotion.who, &Where::default(), &frame.tiers, &path, faults);
        goods::check(&promotion.goods, &promotion.counters, &path, faults);
        check_gift(promotion, bounds, &path, faults);
    }
    check_together(own, bounds, faults);
}

/// What one promotion gives away: a share that is known and within the bound, or a budget that is.
fn check_gift(own: &OwnPromotion, bounds: &PromotionBounds, path: &dyn Fn(&str) -> String, faults: &mut Faults) {
    let mut is_limited = false;
    match (own.budget_minor, bounds.budget_minor_max) {
        (None, _) => {}
        (Some(_), None) => {
            let fault =
                "is set; the policy has no bound store_parameters.promotions.budget_minor_max, so there are no budgets";
            faults.add(path("budget_minor"), fault);
        }
        (Some(budget_minor), Some(_)) if budget_minor < 1 => {
            faults.add(path("budget_minor"), format!("is {budget_minor}; it must be above zero"));
        }
        (Some(budget_minor), Some(most)) => {
            is_limited = true;
            if budget_minor > most {
                let fault =
                    format!("is {budget_minor}; the bound store_parameters.promotions.budget_minor_max is {most}");
                faults.add(path("budget_minor"), fault);
            }
        }
    }
    if is_limited {
        return;
    }
    match (share_known(own.give), bounds.share_ppm_max) {
        (Some(takes), Some(most)) if takes > most => {
            let fault = format!(
                "takes up to {} ppm of what it stands on; the bound store_parameters.promotions.share_ppm_max is {}",
                takes.0, most.0
            );
            faults.add(path("give"), fault);
        }
        (Some(_), Some(_)) => {}
        (None, Some(_)) => {
            let fault = "gives an amount per piece, whose part of a line nobody knows beforehand; give it a budget_minor, or a percentage";
            faults.add(path("give"), fault);
        }
        (_, None) => faults.add(path("budget_minor"), "is missing; the policy lets stores give within a budget only"),
    }
}

/// Compound promotions stand on one line together, so those without a budget keep within the share together.
fn check_together(own: &StoreParameters, bounds: &PromotionBounds, faults: &mut Faults) {
    let Some(most) = bounds.share_ppm_max else { return };
    let compound = own.promotions.iter().filter(|own| own.combine == Combine::Compound && own.budget_minor.is_none());
    let shares: Vec<i64> = compound.filter_map(|own| share_known(own.give)).map(|share| share.0).collect();
    let together = shares.iter().fold(0_i64, |sum, share| sum.saturating_add(*share));
    if shares.len() > 1 && together > most.0 && shares.iter().all(|share| *share <= most.0) {
        let fault = format!(
            "of kind compound take up to {together} ppm together; the bound store_parameters.promotions.share_ppm_max is {}",
            most.0
        );
        faults.add("promotions", fault);
    }
}

/// Two multipliers together, rounded down.
pub(crate) fn multiplied(a: Ppm, b: Ppm) -> Ppm {
    Ppm(share(a.0, b, Rounding::Down).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Policy;
    use super::*;

    fn policy(bounds: Value) -> Policy {
        let policy: Policy = serde_json::from_value(json!({
            "name": "test", "currency": "CNY",
            "tenders": [{ "code": "cash", "class": "external" }],
            "tiers": [{ "code": "gold", "name": "金卡", "rank": 2 }],
            "promotions": [{ "id": "GROUP", "name": "group", "give": { "kind": "amount_off", "amount_minor": 1 } }],
            "points": { "earn": { "per_minor": 100, "points": 1 } },
            "store_parameters": bounds,
        }))
        .unwrap();
        assert_eq!(policy.validate(), []);
        policy
    }

    fn bounds() -> Value {
        json!({
            "points": { "multiplier_ppm_max": 3_000_000, "days_max": 3 },
            "no_points_skus_max": 1, "no_promotion_skus_max": 1,
            "promotions": { "count_max": 4, "days_max": 7, "share_ppm_max": 200_000, "budget_minor_max": 50_000 },
        })
    }

    fn own(parameters: Value) -> StoreParameters {
        serde_json::from_value(parameters).unwrap()
    }

    fn found(policy: &Policy, parameters: Value) -> Vec<String> {
        let faults = policy.parameter_faults("S1".parse().unwrap(), &own(parameters));
        faults.iter().map(ToString::to_string).collect()
    }

    fn promotion(id: &str, give: Value, more: Value) -> Value {
        let when = json!({ "from": "2026-11-22", "to": "2026-11-28" });
        let mut promotion = json!({ "id": id, "name": id, "give": give, "when": when });
        promotion.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        promotion
    }

    fn percent(percent: i64) -> Value {
        json!({ "kind": "percent_off", "percent_ppm": percent * 10_000 })
    }

    #[test]
    fn what_is_exactly_at_its_bound_is_inside() {
        let inside = json!({
            "points": { "multiplier_ppm": 3_000_000, "when": { "from": "2026-11-30", "to": "2026-12-02" } },
            "no_points_skus": ["1"], "no_promotion_skus": ["2"],
            "promotions": [
                promotion("S1-A", percent(20), json!({})),
                promotion("S1-B", json!({ "kind": "threshold", "spend_minor": 500, "off_minor": 100, "repeat_max": 9 }), json!({})),
                promotion("S1-C", json!({ "kind": "fixed_price", "price_minor": 990 }), json!({ "budget_minor": 50_000 })),
                promotion("S1-D", percent(90), json!({ "budget_minor": 1, "who": { "tiers": ["gold"] } })),
            ],
        });
        assert_eq!(found(&policy(bounds()), inside), Vec::<String>::new());
    }

    #[test]
    fn outside_is_refused_with_the_parameter_its_value_and_the_bound() {
        let outside = json!({
            "points": { "multiplier_ppm": 3_000_001, "when": { "from": "2026-11-30", "to": "2026-12-03" } },
            "no_points_skus": ["1", "2"], "no_promotion_skus": ["2", "2"],
            "promotions": [
                promotion("S1-A", percent(21), json!({})),
                promotion("S1-B", json!({ "kind": "threshold", "spend_minor": 500, "off_minor": 101 }), json!({})),
                promotion("S1-C", json!({ "kind": "amount_off", "amount_minor": 1 }), json!({})),
                promotion("S1-D", percent(10), json!({ "budget_minor": 50_001, "when": { "from": "2026-11-22", "to": "2026-11-29" } })),
                promotion("GROUP", percent(10), json!({ "when": { "from": "2026-11-22" }, "who": { "tiers": ["platinum"] } })),
            ],
        });
        assert_eq!(
            found(&policy(bounds()), outside),
            [
                "points.multiplier_ppm: is 3000001; the bound store_parameters.points.multiplier_ppm_max is 3000000",
                "points.when: 2026-11-30 to 2026-12-03 are 4 days; the bound store_parameters.points.days_max is 3",
                "no_points_skus: has 2 SKUs; the bound store_parameters.no_points_skus_max is 1",
                "no_promotion_skus: has 2 SKUs; the bound store_parameters.no_promotion_skus_max is 1",
                "no_promotion_skus[1]: 2 is there twice",
                "promotions: are 5; the bound store_parameters.promotions.count_max is 4",
                "promotions[0].give: takes up to 210000 ppm of what it stands on; the bound store_parameters.promotions.share_ppm_max is 200000",
                "promotions[1].give: takes up to 202000 ppm of what it stands on; the bound store_parameters.promotions.share_ppm_max is 200000",
                "promotions[2].give: gives an amount per piece, whose part of a line nobody knows beforehand; give it a budget_minor, or a percentage",
                "promotions[3].when: 2026-11-22 to 2026-11-29 are 8 days; the bound store_parameters.promotions.days_max is 7",
                "promotions[3].budget_minor: is 50001; the bound store_parameters.promotions.budget_minor_max is 50000",
                "promotions[4].id: GROUP is a promotion of the group; give it another code, like S1-GROUP",
                "promotions[4].when.to: is missing; what a store sets for itself has a first and a last day",
                "promotions[4].who.tiers[0]: platinum is not in the chapter tiers",
            ]
        );
    }

    #[test]
    fn what_goes_together_keeps_within_the_share_together() {
        let two = |budget: Value| {
            let compound = json!({ "combine": "compound" });
            let mut other = json!({ "combine": "compound" });
            other.as_object_mut().unwrap().extend(budget.as_object().unwrap().clone());
            json!({ "promotions": [promotion("S1-A", percent(15), compound), promotion("S1-B", percent(10), other)] })
        };
        let faults = found(&policy(bounds()), two(json!({})));
        assert_eq!(
            faults,
            [
                "promotions: of kind compound take up to 250000 ppm together; the bound store_parameters.promotions.share_ppm_max is 200000"
            ]
        );
        assert_eq!(found(&policy(bounds()), two(json!({ "budget_minor": 100 }))), Vec::<String>::new());
    }

    #[test]
    fn without_bounds_a_store_sets_nothing() {
        let everything = json!({
            "points": { "multiplier_ppm": 1_000_000, "when": { "from": "2026-11-30", "to": "2026-11-30" } },
            "no_points_skus": ["1"], "no_promotion_skus": ["1"], "promotions": [promotion("S1-A", percent(1), json!({}))],
        });
        let faults = found(&policy(json!({})), everything);
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert_eq!(found(&policy(json!({})), json!({})), Vec::<String>::new());
    }

    #[test]
    fn two_stores_do_not_share_a_code_and_a_bundle_is_judged_whole() {
        let mut policy = policy(bounds());
        let parameters = own(json!({ "promotions": [promotion("LOCAL", percent(10), json!({}))] }));
        policy.stores.insert("S2".parse().unwrap(), parameters.clone());
        assert_eq!(policy.validate(), []);
        let faults = policy.parameter_faults("S1".parse().unwrap(), &parameters);
        assert_eq!(faults[0].path, "promotions[0].id");
        policy.stores.insert("S1".parse().unwrap(), parameters);
        let paths: Vec<String> = policy.validate().into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["stores.S1.promotions[0].id", "stores.S2.promotions[0].id"]);
    }

    #[test]
    fn the_parameters_of_a_whole_chain_are_judged_in_one_go() {
        let mut policy = policy(bounds());
        let of = |store: usize| {
            let promotions: Vec<Value> =
                (0..4).map(|at| promotion(&format!("L{store}-{at}"), percent(10), json!({}))).collect();
            own(json!({ "promotions": promotions }))
        };
        // Quadratic, this takes minutes.
        for store in 0..8_000 {
            policy.stores.insert(format!("S{store}").parse().unwrap(), of(store));
        }
        // A code twice in one store is no other store's.
        policy.stores.insert("T1".parse().unwrap(), of(7));
        let mut twice = of(9_000);
        twice.promotions[1].id = twice.promotions[0].id;
        policy.stores.insert("T2".parse().unwrap(), twice);
        let found: Vec<String> = policy.validate().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 4 + 4 + 1, "{found:?}");
        assert!(found.iter().all(|fault| fault.contains("stores.S7.") || fault.contains("stores.T")), "{found:?}");
        assert!(found[8].contains("is there twice"), "{found:?}");
    }

    #[test]
    fn bounds_that_bound_nothing_or_print_points_are_refused() {
        let mut policy = policy(json!({}));
        policy.store_parameters = serde_json::from_value(json!({
            "points": { "multiplier_ppm_max": 999_999, "days_max": 0 },
            "no_points_skus_max": 10_001,
            "promotions": { "count_max": 0, "days_max": 367 },
        }))
        .unwrap();
        let paths: Vec<String> = policy.validate().into_iter().map(|fault| fault.path).collect();
        assert_eq!(
            paths,
            [
                "store_parameters.points.multiplier_ppm_max",
                "store_parameters.points.days_max",
                "store_parameters.no_points_skus_max",
                "store_parameters.promotions.count_max",
                "store_parameters.promotions.days_max",
                "store_parameters.promotions",
            ]
        );
        // A purchase must not earn what it costs, whatever a store may set: 1 point for 1.00, worth 0.50, twice in the store and once in the tier.
        let prints = |most: i64| {
            let mut policy: Policy = serde_json::from_value(json!({
                "name": "test", "currency": "CNY",
                "tenders": [{ "code": "cash", "class": "external" }, { "code": "points", "class": "points" }],
                "points": { "earn": { "per_minor": 100, "points": 1 }, "burn": { "points": 1, "worth_minor": 50 } },
            }))
            .unwrap();
            policy.store_parameters.points = Some(PointsBounds { multiplier_ppm_max: Ppm(most), days_max: 1 });
            policy.validate().into_iter().map(|fault| fault.path).collect::<Vec<_>>()
        };
        assert_eq!(prints(1_999_999), Vec::<String>::new());
        assert_eq!(prints(2_000_000), ["points.earn"]);
    }
}
