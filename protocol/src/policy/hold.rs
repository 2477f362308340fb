//! Hold rules: how much of a card may be set aside at once, for how long, and how often.
//!
//! A hold is kept even when a later policy would not let it be placed: it was promised. Invariant of valid rules: a hold that they let be placed has an
//! amount and a time that a till can ask for.

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::till::{AMOUNT_MINOR_MAX, HOLD_SECONDS_MAX};

/// The most open holds of an account that a policy can allow: each is looked at when the next one is placed.
const OPEN_MAX: u32 = 1_000;

/// What may be set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HoldRules {
    /// The longest time that anything may be held, in minutes.
    pub minutes_max: u32,
    /// The most that one hold may set aside.
    pub amount_minor_max: i64,
    /// The most holds of an account that may be open in a store at once; 0 lets none be placed.
    pub open_max: u32,
}

impl Default for HoldRules {
    fn default() -> Self {
        Self { minutes_max: 31 * 24 * 60, amount_minor_max: AMOUNT_MINOR_MAX, open_max: 20 }
    }
}

pub(super) fn check(rules: &HoldRules, faults: &mut Faults) {
    let longest = u32::try_from(HOLD_SECONDS_MAX / 60).unwrap_or(u32::MAX);
    if !(1..=longest).contains(&rules.minutes_max) {
        faults.add("holds.minutes_max", format!("is {}; it must be from 1 to {longest}", rules.minutes_max));
    }
    if !(1..=AMOUNT_MINOR_MAX).contains(&rules.amount_minor_max) {
        let fault = format!(
            "is {}; it must be from 1 to {AMOUNT_MINOR_MAX} (open_max = 0 lets nothing be held)",
            rules.amount_minor_max
        );
        faults.add("holds.amount_minor_max", fault);
    }
    if rules.open_max > OPEN_MAX {
        faults.add("holds.open_max", format!("is {}; it must be from 0 to {OPEN_MAX}", rules.open_max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let paths = |rules: HoldRules| {
            let mut faults = Faults::default();
            check(&rules, &mut faults);
            faults.0.into_iter().map(|fault| fault.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(HoldRules::default()), Vec::<String>::new());
        assert_eq!(paths(HoldRules { open_max: 0, ..HoldRules::default() }), Vec::<String>::new());
        let wrong = HoldRules { minutes_max: 0, amount_minor_max: 0, open_max: OPEN_MAX + 1 };
        assert_eq!(paths(wrong), ["holds.minutes_max", "holds.amount_minor_max", "holds.open_max"]);
        let wrong = HoldRules { minutes_max: u32::MAX, amount_minor_max: i64::MAX, open_max: 1 };
        assert_eq!(paths(wrong), ["holds.minutes_max", "holds.amount_minor_max"]);
    }
}
