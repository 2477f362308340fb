//! Parking: which stores keep how much of an account's value overnight, so that its member can pay there should the line be down tomorrow.
//!
//! Parked value is never lost: a connected store gives it back when another one asks. It is only out of reach while its store is silent, and there it
//! is the only value that can be spent. So a plan weighs two refusals against each other: at a store that is silent and has too little, and at a
//! store that is connected while too much lies at a silent one. `outlook` says where the member is likely to come next, `demand` what a store
//! must hold for a basket to be paid, `plan` puts both together.
//!
//! Counters are not touched here: a target is a wish, and grants and releases bring it about (`crate::allotment`). Everything is computed in integers,
//! so that the same history gives the same plan on every machine. Invariant: the targets of a plan are above zero, name each store once, and together
//! are no more than the balance less the floor of the pool.

mod demand;
mod outlook;
mod plan;
mod visit;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use outlook::{Prospect, outlook};
pub use plan::{clairvoyant, plan};
pub use visit::{VISITS_MAX, Visit, VisitKind, Visits};

use crate::id::StoreId;

/// A whole, in parts per million.
pub(crate) const WHOLE_PPM: i64 = 1_000_000;

/// Who decides where value is parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allocator {
    /// Nobody: everything waits in the hub's pool, and stores keep what `park_minor` lets them.
    #[default]
    Pool,
    /// Everything where the member was last.
    LastStore,
    /// Everything where the member comes most, late visits counting more.
    MostVisited,
    /// Each store its share of the visits, late ones counting more.
    Proportional,
    /// What makes the fewest refusals likely: where the member comes, what baskets cost there and how much there is.
    Planner,
}

impl Allocator {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pool, Self::LastStore, Self::MostVisited, Self::Proportional, Self::Planner];

    /// The text form, as the policy has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::LastStore => "last_store",
            Self::MostVisited => "most_visited",
            Self::Proportional => "proportional",
            Self::Planner => "planner",
        }
    }
}

impl std::fmt::Display for Allocator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Allocator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no allocator; it is one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// How value is parked: the policy's chapter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParkingRules {
    /// Who decides.
    pub allocator: Allocator,
    /// The part of each balance that stays in the pool, in parts per million.
    pub pool_floor_ppm: i64,
    /// How much of the time a store is expected to be silent, in parts per million.
    pub offline_ppm: i64,
    /// The same for stores that differ from the rest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stores_offline_ppm: BTreeMap<StoreId, i64>,
}

impl Default for ParkingRules {
    fn default() -> Self {
        Self {
            allocator: Allocator::default(),
            pool_floor_ppm: 0,
            offline_ppm: 20_000,
            stores_offline_ppm: BTreeMap::new(),
        }
    }
}

impl ParkingRules {
    /// How much of the time a store is expected to be silent, in parts per million.
    #[must_use]
    pub fn offline_ppm_of(&self, store: StoreId) -> i64 {
        self.stores_offline_ppm.get(&store).copied().unwrap_or(self.offline_ppm).clamp(0, WHOLE_PPM)
    }

    /// What of a balance may be parked, in minor units: the floor of the pool is rounded up.
    #[must_use]
    pub fn parkable_minor(&self, balance_minor: i64) -> i64 {
        let parked_ppm = i128::from(WHOLE_PPM - self.pool_floor_ppm.clamp(0, WHOLE_PPM));
        let parkable = i128::from(balance_minor.max(0)) * parked_ppm / i128::from(WHOLE_PPM);
        i64::try_from(parkable).unwrap_or(i64::MAX)
    }

    /// Every fault: the field and what is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let named = [("pool_floor_ppm".to_owned(), self.pool_floor_ppm), ("offline_ppm".to_owned(), self.offline_ppm)];
        let stores = self.stores_offline_ppm.iter().map(|(store, ppm)| (format!("stores_offline_ppm.{store}"), *ppm));
        let bad = named.into_iter().chain(stores).filter(|(_, ppm)| !(0..=WHOLE_PPM).contains(ppm));
        bad.map(|(field, ppm)| (field, format!("is {ppm}; parts per million are 0 to {WHOLE_PPM}"))).collect()
    }
}

/// What is known of an account when its value is parked.
#[derive(Clone, Debug)]
pub struct Holder<'a> {
    /// What it holds, in the pool and at stores together, in minor units.
    pub balance_minor: i64,
    /// Its visits, the oldest first.
    pub visits: &'a [Visit],
    /// Stores that nobody speaks for any more. What was paid there tells what baskets cost; nothing is parked there.
    pub gone: &'a BTreeSet<StoreId>,
}

/// What a store is to keep of an account, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Target {
    /// The store.
    pub store: StoreId,
    /// How much, in minor units; above zero.
    pub target_minor: i64,
    /// Why there.
    pub prospect: Prospect,
    /// Which part of the member's baskets this much pays, in parts per million.
    pub covered_ppm: i64,
}

impl std::fmt::Display for Target {
    /// One line: `1200 at S7: 6 of 9 visits, 3 of 3 on a Saturday, 4 after S2; pays 83 % of the baskets`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store, target_minor, prospect, covered_ppm } = self;
        write!(f, "{target_minor} at {store}: {prospect}; pays {} % of the baskets", covered_ppm / 10_000)
    }
}

#[cfg(test)]
mod tests;
