//! Who and where: the shoppers and stores of a promotion. Whether one is among them is judged in `crate::pricing`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::id::{SegmentCode, StoreId, TierCode};

/// The shoppers of a promotion: each condition that is set must hold. What is left out does not limit; nothing set means everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Who {
    /// Only members. Any of the conditions below implies it.
    pub members: bool,
    /// Only members of one of these tiers.
    pub tiers: Vec<TierCode>,
    /// Only members of at least one of these segments.
    pub segments: Vec<SegmentCode>,
    /// Only members in the month of their birthday.
    pub birthday_month: bool,
}

/// The stores of a promotion.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Where {
    /// These; empty means all.
    pub stores: Vec<StoreId>,
}

pub(super) fn check(
    who: &Who,
    place: &Where,
    tiers: &HashSet<TierCode>,
    path: &dyn Fn(&str) -> String,
    faults: &mut Faults,
) {
    for (at, tier) in who.tiers.iter().enumerate() {
        if !tiers.contains(tier) {
            faults.add(path(&format!("who.tiers[{at}]")), format!("{tier} is not in the chapter tiers"));
        }
    }
    twice(&who.tiers, &|at| path(&format!("who.tiers[{at}]")), faults);
    twice(&who.segments, &|at| path(&format!("who.segments[{at}]")), faults);
    twice(&place.stores, &|at| path(&format!("where.stores[{at}]")), faults);
}

/// Adds a fault for every value that stands in the list before.
pub(super) fn twice<T: std::hash::Hash + Eq + std::fmt::Display>(
    list: &[T],
    path: &dyn Fn(usize) -> String,
    faults: &mut Faults,
) {
    let mut seen = HashSet::with_capacity(list.len());
    for (at, value) in list.iter().enumerate() {
        if !seen.insert(value) {
            faults.add(path(at), format!("{value} is there twice"));
        }
    }
}
