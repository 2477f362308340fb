//! Price book: a policy's promotions, compiled once and found by the goods of a line.
//!
//! A line finds its promotions by SKU, by each component of its category path, by brand, counter and supplier, and among those on all goods. So the work
//! for a basket grows with the promotions that match it, not with those in the policy. Promotions on all goods that name stores are filed
//! under their stores: elsewhere they are not considered. The promotions of the stores' own are listed beside the group's, each for its store alone.
//! Nothing is decided here.

use std::collections::{HashMap, HashSet};

use super::basket::{Basket, BasketLine};
use crate::id::{CounterId, CouponCode, StoreId, SupplierId};
use crate::policy::{
    Goods, Policy, PricingRules, Promotion, Selector, StoreParameters, category_and_above, normal_category,
};

/// A policy's promotions, ready for baskets. Made when a policy comes into force, then shared.
#[derive(Debug)]
pub struct PriceBook {
    pub(super) rules: PricingRules,
    /// In the order of their ids, so that no result depends on the order in the document.
    pub(super) listed: Vec<Listed>,
    by_sku: HashMap<String, Vec<u32>>,
    by_category: HashMap<String, Vec<u32>>,
    by_brand: HashMap<String, Vec<u32>>,
    by_counter: HashMap<CounterId, Vec<u32>>,
    by_supplier: HashMap<SupplierId, Vec<u32>>,
    by_coupon: HashMap<CouponCode, Vec<u32>>,
    all_goods: Vec<u32>,
    all_goods_of_store: HashMap<StoreId, Vec<u32>>,
    /// What stores keep out, those that keep anything out.
    kept_out: HashMap<StoreId, KeptOut>,
}

/// What one store keeps out by its parameters.
#[derive(Debug)]
pub(super) struct KeptOut {
    /// SKUs that are in no promotion.
    pub(super) of_promotions: HashSet<String>,
    /// SKUs that earn no points.
    pub(super) of_points: HashSet<String>,
}

/// Goods compiled, for asking about many lines.
#[derive(Debug)]
pub(crate) struct Selection {
    include: Option<Named>,
    exclude: Named,
}

impl Goods {
    /// Compiles them.
    pub(crate) fn selection(&self) -> Selection {
        Selection { include: self.include.as_ref().map(Named::new), exclude: Named::new(&self.exclude) }
    }
}

impl Selection {
    /// Whether a line is among them.
    pub(crate) fn selects(&self, line: &BasketLine<'_>) -> bool {
        self.include.as_ref().is_none_or(|include| include.selects(line)) && !self.exclude.selects(line)
    }
}

/// A promotion with its exclusions compiled.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) promotion: Promotion,
    pub(super) excluded: Named,
    /// Whether it is a store's own and ends with a budget that the store counts.
    pub(super) has_budget: bool,
}

impl Listed {
    fn new(promotion: Promotion, has_budget: bool) -> Self {
        Self { excluded: Named::new(&promotion.goods.exclude), promotion, has_budget }
    }
}

/// What a selector names, as sets.
#[derive(Debug)]
pub(super) struct Named {
    skus: HashSet<String>,
    categories: HashSet<String>,
    brands: HashSet<String>,
    counters: HashSet<CounterId>,
    suppliers: HashSet<SupplierId>,
}

impl Named {
    fn new(selector: &Selector) -> Self {
        Self {
            skus: selector.skus.iter().cloned().collect(),
            categories: selector.categories.iter().map(|path| normal_category(path).into_owned()).collect(),
            brands: selector.brands.iter().cloned().collect(),
            counters: selector.counters.iter().copied().collect(),
            suppliers: selector.suppliers.iter().copied().collect(),
        }
    }

    /// Whether any of the lists names the line.
    pub(super) fn selects(&self, line: &BasketLine<'_>) -> bool {
        self.skus.contains(line.sku)
            || self.brands.contains(line.brand)
            || line.counter.is_some_and(|counter| self.counters.contains(&counter))
            || line.supplier.is_some_and(|supplier| self.suppliers.contains(&supplier))
            || (!self.categories.is_empty()
                && category_and_above(&normal_category(line.category_path)).any(|path| self.categories.contains(path)))
    }
}

impl KeptOut {
    fn new(own: &StoreParameters) -> Option<Self> {
        let StoreParameters { no_promotion_skus, no_points_skus, .. } = own;
        let set = |skus: &[String]| skus.iter().cloned().collect();
        (!no_promotion_skus.is_empty() || !no_points_skus.is_empty())
            .then(|| Self { of_promotions: set(no_promotion_skus), of_points: set(no_points_skus) })
    }
}

/// A promotion whose goods are in the basket.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its index in the book.
    pub(super) listed: usize,
    /// The lines that are among its goods, ascending.
    pub(super) lines: Vec<u16>,
}

impl PriceBook {
    /// Compiles a policy that passed its validation.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let priority = policy.store_parameters.promotions.map_or(0, |bounds| bounds.priority);
        let own = policy.stores.iter().flat_map(|(store, own)| {
            own.promotions.iter().map(move |own| Listed::new(own.at(*store, priority), own.budget_minor.is_some()))
        });
        let group = policy.promotions.iter().map(|promotion| Listed::new(promotion.clone(), false));
        let mut listed: Vec<Listed> = group.chain(own).collect();
        listed.sort_by_key(|listed| listed.promotion.id);
        let kept_out = policy.stores.iter().filter_map(|(store, own)| Some((*store, KeptOut::new(own)?))).collect();
        let mut book = Self {
            rules: policy.pricing,
            listed,
            by_sku: HashMap::new(),
            by_category: HashMap::new(),
            by_brand: HashMap::new(),
            by_counter: HashMap::new(),
            by_supplier: HashMap::new(),
            by_coupon: HashMap::new(),
            all_goods: Vec::new(),
            all_goods_of_store: HashMap::new(),
            kept_out,
        };
        for (index, Listed { promotion, .. }) in (0_u32..).zip(&book.listed) {
            if let Some(code) = promotion.coupon {
                book.by_coupon.entry(code).or_default().push(index);
            }
            match &promotion.goods.include {
                None if promotion.place.stores.is_empty() => book.all_goods.push(index),
                None => file(&mut book.all_goods_of_store, &promotion.place.stores, index),
                Some(include) => {
                    file(&mut book.by_sku, &include.skus, index);
                    let categories: Vec<String> =
                        include.categories.iter().map(|path| normal_category(path).into_owned()).collect();
                    file(&mut book.by_category, &categories, index);
                    file(&mut book.by_brand, &include.brands, index);
                    file(&mut book.by_counter, &include.counters, index);
                    file(&mut book.by_supplier, &include.suppliers, index);
                }
            }
        }
        book
    }

    /// The promotions whose goods are in the basket, each once, in the order of their ids.
    pub(super) fn candidates(&self, basket: &Basket<'_>) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        // Place of each promotion in `found`, counted from 1: cheaper than a map, as one line may match hundreds.
        let mut places = vec![0_usize; self.listed.len()];
        let mut meet = |line: u16, indices: &[u32]| {
            for &index in indices {
                let listed = index as usize;
                if places[listed] == 0 {
                    found.push(Candidate { listed, lines: Vec::new() });
                    places[listed] = found.len();
                }
                let lines = &mut found[places[listed] - 1].lines;
                if lines.last() != Some(&line) {
                    lines.push(line);
                }
            }
        };
        for (at, line) in (0_u16..).zip(basket.lines) {
            let mut meet_all = |indices: Option<&Vec<u32>>| meet(at, indices.map_or(&[], Vec::as_slice));
            meet_all(Some(&self.all_goods));
            meet_all(self.all_goods_of_store.get(&basket.store));
            meet_all(self.by_sku.get(line.sku));
            if !self.by_category.is_empty() {
                for path in category_and_above(&normal_category(line.category_path)) {
                    meet_all(self.by_category.get(path));
                }
            }
            meet_all(self.by_brand.get(line.brand));
            meet_all(line.counter.and_then(|counter| self.by_counter.get(&counter)));
            meet_all(line.supplier.and_then(|supplier| self.by_supplier.get(&supplier)));
        }
        found.sort_unstable_by_key(|candidate| candidate.listed);
        found
    }

    /// What a store keeps out.
    pub(super) fn kept_out(&self, store: StoreId) -> Option<&KeptOut> {
        self.kept_out.get(&store)
    }

    /// The promotions that need a coupon.
    pub(super) fn of_coupon(&self, code: CouponCode) -> impl Iterator<Item = &Listed> {
        self.by_coupon.get(&code).into_iter().flatten().map(|&index| &self.listed[index as usize])
    }
}

/// Files a promotion under each of its keys, once.
fn file<K: std::hash::Hash + Eq + Clone>(index: &mut HashMap<K, Vec<u32>>, keys: &[K], promotion: u32) {
    for key in keys {
        match index.get_mut(key) {
            Some(promotions) if promotions.last() == Some(&promotion) => {}
            Some(promotions) => promotions.push(promotion),
            None => {
                index.insert(key.clone(), vec![promotion]);
            }
        }
    }
}
