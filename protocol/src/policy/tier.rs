//! Tier: a level of membership (会员等级) with its benefits. Who is in which tier is the member master's; a store never computes it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::id::TierCode;
use crate::money::Ppm;

/// The largest multiplier: a hundredfold. Larger figures are typing errors.
pub const EARN_MULTIPLIER_PPM_MAX: Ppm = Ppm(100 * Ppm::ONE.0);

const fn once() -> Ppm {
    Ppm::ONE
}

/// A level of membership.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Its code.
    pub code: TierCode,
    /// What members call it.
    pub name: String,
    /// Its height: a larger rank is a higher tier.
    pub rank: u32,
    /// What the points of a purchase are multiplied with; 1,000,000 is once.
    #[serde(default = "once")]
    pub earn_multiplier_ppm: Ppm,
}

pub(super) fn check(tiers: &[Tier], faults: &mut Faults) {
    let (mut codes, mut ranks) = (HashSet::new(), HashSet::new());
    for (index, tier) in tiers.iter().enumerate() {
        let mut fault = |field: &str, fault: String| faults.add(format!("tiers[{index}].{field}"), fault);
        if !codes.insert(tier.code) {
            fault("code", format!("{} is there twice; give each tier its own code", tier.code));
        }
        if tier.name.trim().is_empty() {
            fault("name", "is empty; give the tier a name".to_owned());
        }
        if !ranks.insert(tier.rank) {
            fault("rank", format!("{} is there twice; one of two tiers must be the higher one", tier.rank));
        }
        if !(Ppm(0)..=EARN_MULTIPLIER_PPM_MAX).contains(&tier.earn_multiplier_ppm) {
            let fault_text =
                format!("is {}; give 0 to {} (1000000 is once)", tier.earn_multiplier_ppm.0, EARN_MULTIPLIER_PPM_MAX.0);
            fault("earn_multiplier_ppm", fault_text);
        }
    }
}
