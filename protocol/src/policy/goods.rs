//! Goods: which lines of a basket a promotion is for, and which counters take part.
//!
//! Whether a line is among them is judged in `crate::pricing`. Categories are compared by components: `食品/饮料` holds `食品/饮料/茶`, not `食品/饮料杯`.
//! Invariant of valid goods: nothing is both in and out, and an include names something.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::Faults;
use super::who::twice;
use crate::id::{CounterId, SupplierId};

/// Goods by what they are: a line is selected when *any* of the lists names it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    /// Items.
    pub skus: Vec<String>,
    /// Categories with all that is below them: `食品/饮料`.
    pub categories: Vec<String>,
    /// Brands.
    pub brands: Vec<String>,
    /// Counters.
    pub counters: Vec<CounterId>,
    /// Suppliers.
    pub suppliers: Vec<SupplierId>,
}

impl Selector {
    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.skus.is_empty()
            && self.categories.is_empty()
            && self.brands.is_empty()
            && self.counters.is_empty()
            && self.suppliers.is_empty()
    }
}

/// The goods of a promotion: what is included and not excluded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Goods {
    /// What it is for; everything when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include: Option<Selector>,
    /// What it is not for, all the same.
    #[serde(skip_serializing_if = "Selector::is_empty")]
    pub exclude: Selector,
}

/// Which counters (专柜) take part in a promotion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "take_part", deny_unknown_fields)]
pub enum Counters {
    /// All of them, and the store's own goods. With braces, so that a list beside it is refused, not ignored.
    All {},
    /// Only these.
    Only {
        /// The counters.
        #[serde(default)]
        counters: Vec<CounterId>,
        /// And goods of no counter (自营).
        #[serde(default)]
        own_goods: bool,
    },
    /// All but these; the store's own goods too.
    Except {
        /// The counters.
        counters: Vec<CounterId>,
    },
}

impl Default for Counters {
    fn default() -> Self {
        Self::All {}
    }
}

/// A category path with one `/` between components and none around them.
pub(crate) fn normal_category(path: &str) -> Cow<'_, str> {
    let good = |component: &str| !component.is_empty() && component.trim().len() == component.len();
    if path.is_empty() || path.split('/').all(good) {
        return Cow::Borrowed(path);
    }
    let components: Vec<&str> = path.split('/').map(str::trim).filter(|component| !component.is_empty()).collect();
    Cow::Owned(components.join("/"))
}

/// A normal category path and everything above it: `食品`, `食品/饮料`, `食品/饮料/茶`.
pub(crate) fn category_and_above(normal: &str) -> impl Iterator<Item = &str> {
    let ends = normal.match_indices('/').map(|(at, _)| at).chain(std::iter::once(normal.len()));
    ends.filter(|&end| end > 0).map(|end| &normal[..end])
}

pub(super) fn check(goods: &Goods, counters: &Counters, path: &dyn Fn(&str) -> String, faults: &mut Faults) {
    if let Some(include) = &goods.include {
        if include.is_empty() {
            faults.add(path("goods.include"), "names nothing; leave it out to mean all goods");
        }
        names(include, "include", path, faults);
    }
    names(&goods.exclude, "exclude", path, faults);
    let nothing = Selector::default();
    let (include, exclude) = (goods.include.as_ref().unwrap_or(&nothing), &goods.exclude);
    both("skus", &include.skus, &exclude.skus, path, faults);
    both("brands", &include.brands, &exclude.brands, path, faults);
    both("counters", &include.counters, &exclude.counters, path, faults);
    both("suppliers", &include.suppliers, &exclude.suppliers, path, faults);
    if !exclude.categories.is_empty() {
        let out: HashSet<Cow<'_, str>> = exclude.categories.iter().map(|category| normal_category(category)).collect();
        for (at, category) in include.categories.iter().enumerate() {
            if let Some(above) = category_and_above(&normal_category(category)).find(|above| out.contains(*above)) {
                let fault = format!("{category:?} is excluded again by {above:?}; take one of them out");
                faults.add(path(&format!("goods.include.categories[{at}]")), fault);
            }
        }
    }
    let (Counters::Only { counters: listed, .. } | Counters::Except { counters: listed }) = counters else { return };
    twice(listed, &|at| path(&format!("counters.counters[{at}]")), faults);
    match counters {
        Counters::Only { own_goods: false, .. } if listed.is_empty() => {
            faults.add(path("counters"), "lets nothing take part; name counters, set own_goods, or leave it out");
        }
        Counters::Only { own_goods: false, .. } if !include.counters.is_empty() => {
            let only: HashSet<&CounterId> = listed.iter().collect();
            if !include.counters.iter().any(|counter| only.contains(counter)) && only_counters(include) {
                faults.add(path("counters"), "lets none of the counters in goods.include take part");
            }
        }
        Counters::Except { .. } if listed.is_empty() => {
            faults.add(path("counters"), "excepts no counter; leave it out to mean that all take part");
        }
        _ => {}
    }
}

fn only_counters(include: &Selector) -> bool {
    *include == Selector { counters: include.counters.clone(), ..Selector::default() }
}

fn names(selector: &Selector, side: &str, path: &dyn Fn(&str) -> String, faults: &mut Faults) {
    let at_path = |field: &str, at: usize| path(&format!("goods.{side}.{field}[{at}]"));
    for (field, list) in [("skus", &selector.skus), ("brands", &selector.brands)] {
        for (at, _) in list.iter().enumerate().filter(|(_, text)| text.trim().is_empty()) {
            faults.add(at_path(field, at), "is empty");
        }
        twice(list, &|at| at_path(field, at), faults);
    }
    for (at, category) in selector.categories.iter().enumerate() {
        if category.is_empty() || *normal_category(category) != **category {
            faults
                .add(at_path("categories", at), format!("is {category:?}; write it like \"食品/饮料\", from the root"));
        }
    }
    twice(&selector.categories, &|at| at_path("categories", at), faults);
    twice(&selector.counters, &|at| at_path("counters", at), faults);
    twice(&selector.suppliers, &|at| at_path("suppliers", at), faults);
}

fn both<T: Hash + Eq + Display>(
    field: &str,
    include: &[T],
    exclude: &[T],
    path: &dyn Fn(&str) -> String,
    faults: &mut Faults,
) {
    if exclude.is_empty() {
        return;
    }
    let out: HashSet<&T> = exclude.iter().collect();
    for (at, value) in include.iter().enumerate().filter(|(_, value)| out.contains(value)) {
        let fault = format!("{value} is in exclude too; take it out of one of them");
        faults.add(path(&format!("goods.include.{field}[{at}]")), fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_is_compared_by_components() {
        assert_eq!(category_and_above("食品/饮料/茶").collect::<Vec<_>>(), ["食品", "食品/饮料", "食品/饮料/茶"]);
        assert_eq!(category_and_above("").count(), 0);
        assert_eq!(normal_category("/食品// 饮料 /"), "食品/饮料");
        assert!(matches!(normal_category("食品/饮料"), Cow::Borrowed(_)), "an ordinary path costs nothing");
    }
}
