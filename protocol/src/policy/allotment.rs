//! Allotment rules: how value moves between hub and stores. The arithmetic is in `crate::allotment`.

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::parking::ParkingRules;

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
    /// Where value is parked overnight. A store keeps what is parked there instead of `park_minor`.
    pub parking: ParkingRules,
}

impl Default for AllotmentRules {
    fn default() -> Self {
        Self {
            release: Release::WhenIdle { minutes: 15 },
            park_minor: 0,
            grant: GrantSize::Pool,
            parking: ParkingRules::default(),
        }
    }
}

pub(super) fn check(rules: &AllotmentRules, faults: &mut Faults) {
    if rules.park_minor < 0 {
        faults.add("allotment.park_minor", format!("is {}; it must not be negative", rules.park_minor));
    }
    for (field, fault) in rules.parking.faults() {
        faults.add(format!("allotment.parking.{field}"), fault);
    }
}
