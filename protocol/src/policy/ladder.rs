//! Ladder: what a store that has not learnt for a while which cards were reported lost still lets a card pay.
//!
//! Value is safe without it: a store never spends what it does not hold. What grows with silence is the chance that a card was reported lost elsewhere
//! and nobody here knows. So each rung limits what one receipt may take from a card that can be reported lost, from some age of the store's knowledge of
//! cards on: since it last had all that head office published of them. Head office's answers to anything else make that no younger. Loads, money from
//! outside, promotions and points earned are never limited. A store on a rung asks the hub before it refuses. Invariant of a valid ladder: the longer the
//! silence, the less it lets pass.

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::till::AMOUNT_MINOR_MAX;

/// The latest rung: a year.
const AFTER_MINUTES_MAX: u32 = 366 * 24 * 60;
const MINUTE_MS: i64 = 60_000;

/// What changes with the age of the store's knowledge of cards. Without rungs, nothing does.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LadderRules {
    /// The rungs, the earliest first.
    pub rungs: Vec<Rung>,
}

/// One rung: it holds from its age on until the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// From this age of the store's knowledge of cards on, in minutes.
    pub after_minutes: u32,
    /// The most that one receipt may take of a card's stored value; 0 refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_minor_max: Option<i64>,
    /// The most points of a card that one receipt may burn; 0 refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_max: Option<i64>,
    /// Whether cards without a member are limited too. Nobody can report such a card lost, so they are not.
    #[serde(default)]
    pub bearer_cards: bool,
}

impl LadderRules {
    /// The rung of a store whose knowledge of cards has this age; `None` as age means that it never had any.
    #[must_use]
    pub fn rung(&self, age_ms: Option<i64>) -> Option<&Rung> {
        let Some(age_ms) = age_ms else { return self.rungs.last() };
        self.rungs.iter().rev().find(|rung| age_ms >= i64::from(rung.after_minutes) * MINUTE_MS)
    }
}

pub(super) fn check(rules: &LadderRules, faults: &mut Faults) {
    for (index, rung) in rules.rungs.iter().enumerate() {
        let mut fault = |field: &str, fault: String| faults.add(format!("ladder.rungs[{index}].{field}"), fault);
        if !(1..=AFTER_MINUTES_MAX).contains(&rung.after_minutes) {
            fault("after_minutes", format!("is {}; it must be from 1 to {AFTER_MINUTES_MAX}", rung.after_minutes));
        }
        let limits = [("value_minor_max", rung.value_minor_max), ("points_max", rung.points_max)];
        for (field, limit) in limits {
            if limit.is_some_and(|limit| !(0..=AMOUNT_MINOR_MAX).contains(&limit)) {
                fault(field, format!("is {}; it must be from 0 to {AMOUNT_MINOR_MAX}", limit.unwrap_or(0)));
            }
        }
        if limits.iter().all(|(_, limit)| limit.is_none()) {
            fault("value_minor_max", "is missing, as is points_max: the rung would limit nothing".to_owned());
        }
        let Some(before) = index.checked_sub(1).map(|before| rules.rungs[before]) else { continue };
        if rung.after_minutes <= before.after_minutes {
            let words = format!("is {}, not above {} of the rung before", rung.after_minutes, before.after_minutes);
            fault("after_minutes", words);
        }
        let earlier = [before.value_minor_max, before.points_max];
        for ((field, limit), earlier) in limits.into_iter().zip(earlier) {
            let Some(earlier) = earlier else { continue };
            if limit.is_none_or(|limit| limit > earlier) {
                let is = limit.map_or("is missing".to_owned(), |limit| format!("is {limit}"));
                fault(field, format!("{is}, but the rung before lets {earlier} pass: silence must not loosen it"));
            }
        }
        if before.bearer_cards && !rung.bearer_cards {
            fault("bearer_cards", "is false, but the rung before limits them: silence must not loosen it".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(after_minutes: u32, value_minor_max: Option<i64>) -> Rung {
        Rung { after_minutes, value_minor_max, points_max: None, bearer_cards: false }
    }

    #[test]
    fn the_rung_follows_the_age() {
        let ladder = LadderRules { rungs: vec![rung(60, Some(500)), rung(120, Some(0))] };
        let at = |age_ms| ladder.rung(age_ms).and_then(|rung| rung.value_minor_max);
        assert_eq!([Some(-5), Some(0), Some(3_599_999)].map(at), [None; 3]);
        assert_eq!([Some(3_600_000), Some(7_199_999)].map(at), [Some(500); 2]);
        assert_eq!([Some(7_200_000), Some(i64::MAX), None].map(at), [Some(0); 3], "never is the longest silence");
        assert_eq!(LadderRules::default().rung(None), None);
    }

    #[test]
    fn silence_never_loosens_a_ladder() {
        let mut faults = Faults::default();
        let rungs = vec![
            rung(60, Some(500)),
            Rung { bearer_cards: true, ..rung(60, Some(501)) },
            rung(0, None),
            Rung { points_max: Some(-1), ..rung(90, Some(-1)) },
        ];
        check(&LadderRules { rungs }, &mut faults);
        let paths: Vec<&str> = faults.0.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "ladder.rungs[1].after_minutes",
                "ladder.rungs[1].value_minor_max",
                "ladder.rungs[2].after_minutes",
                "ladder.rungs[2].value_minor_max",
                "ladder.rungs[2].after_minutes",
                "ladder.rungs[2].value_minor_max",
                "ladder.rungs[2].bearer_cards",
                "ladder.rungs[3].value_minor_max",
                "ladder.rungs[3].points_max",
            ]
        );
    }
}
