//! Day rules: within which hours stores change their business day, and when somebody is reminded of one that was forgotten.
//!
//! A reminder is a word in a status. It closes nothing and moves no money: a business day is a label that people open and close.

use serde::{Deserialize, Serialize};

use super::Faults;

/// The longest wait before a reminder: a month. Who waits longer wants none, and leaves it out.
const REMINDER_MINUTES_MAX: u32 = 31 * 24 * 60;
/// The last hour at which a day can begin.
const HOUR_MAX: u8 = 23;

/// What holds for the business days of all stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DayRules {
    /// The earliest hour at which a store may change its business day.
    pub rollover_hour_min: u8,
    /// The latest.
    pub rollover_hour_max: u8,
    /// How long after its end an open day is reminded of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_reminder_minutes: Option<u32>,
    /// How long after its end a closed day is reminded of that the hub has not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal_reminder_minutes: Option<u32>,
}

impl Default for DayRules {
    fn default() -> Self {
        Self {
            rollover_hour_min: 0,
            rollover_hour_max: HOUR_MAX,
            close_reminder_minutes: None,
            seal_reminder_minutes: None,
        }
    }
}

impl DayRules {
    /// What is wrong with the hour of a store.
    #[must_use]
    pub fn rollover_fault(&self, hour: u8) -> Option<String> {
        let Self { rollover_hour_min: least, rollover_hour_max: most, .. } = *self;
        (!(least..=most).contains(&hour))
            .then(|| format!("the business day changes at {hour}:00; the policy has from {least}:00 to {most}:00"))
    }
}

pub(super) fn check(rules: &DayRules, faults: &mut Faults) {
    for (field, hour) in
        [("rollover_hour_min", rules.rollover_hour_min), ("rollover_hour_max", rules.rollover_hour_max)]
    {
        if hour > HOUR_MAX {
            faults.add(format!("day.{field}"), format!("is {hour}; it must be from 0 to {HOUR_MAX}"));
        }
    }
    if rules.rollover_hour_min > rules.rollover_hour_max {
        let (least, most) = (rules.rollover_hour_min, rules.rollover_hour_max);
        faults.add(
            "day.rollover_hour_min",
            format!("is {least}, after rollover_hour_max, {most}: no store could be right"),
        );
    }
    for (field, minutes) in [
        ("close_reminder_minutes", rules.close_reminder_minutes),
        ("seal_reminder_minutes", rules.seal_reminder_minutes),
    ] {
        if let Some(minutes) = minutes.filter(|minutes| !(1..=REMINDER_MINUTES_MAX).contains(minutes)) {
            let fault = format!("is {minutes}; it must be from 1 to {REMINDER_MINUTES_MAX}, or be left out");
            faults.add(format!("day.{field}"), fault);
        }
    }
    if let (Some(close), Some(seal)) = (rules.close_reminder_minutes, rules.seal_reminder_minutes)
        && seal < close
    {
        let fault = format!("is {seal}, before close_reminder_minutes, {close}: a day is closed before it is accepted");
        faults.add("day.seal_reminder_minutes", fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_reminders_do_not_contradict_each_other() {
        let paths = |rules: DayRules| {
            let mut faults = Faults::default();
            check(&rules, &mut faults);
            faults.0.into_iter().map(|fault| fault.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(DayRules::default()), Vec::<String>::new());
        let rules = DayRules {
            rollover_hour_min: 6,
            rollover_hour_max: 4,
            close_reminder_minutes: Some(60),
            seal_reminder_minutes: Some(59),
        };
        assert_eq!(paths(rules), ["day.rollover_hour_min", "day.seal_reminder_minutes"]);
        let rules = DayRules { rollover_hour_max: 24, close_reminder_minutes: Some(0), ..DayRules::default() };
        assert_eq!(paths(rules), ["day.rollover_hour_max", "day.close_reminder_minutes"]);
        assert!(DayRules { rollover_hour_max: 6, ..DayRules::default() }.rollover_fault(7).is_some());
        assert_eq!(DayRules { rollover_hour_max: 6, ..DayRules::default() }.rollover_fault(6), None);
    }
}
