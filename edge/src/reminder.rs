//! Reminders: what people of the store should look at because time has passed: a day that nobody closed, a day that head office has not accepted, a
//! rung of the ladder. Words for the status; nothing here changes anything.

use huitong_protocol::policy::{Policy, Rung};
use huitong_protocol::time::{BusinessDay, Instant};

use crate::store::identity::Identity;

const MINUTE_MS: i64 = 60_000;

/// What is known of the newest days.
#[derive(Clone, Copy, Debug)]
pub struct Days {
    /// The open day.
    pub open: Option<BusinessDay>,
    /// The earliest closed day on which the hub has not said a word.
    pub unanswered: Option<BusinessDay>,
    /// The earliest of the last closed days that the hub counted differently.
    pub differing: Option<BusinessDay>,
}

/// What should be looked at, in words.
#[must_use]
pub fn reminders(identity: &Identity, policy: &Policy, days: Days, now: Instant) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(fault) = policy.day.rollover_fault(identity.store.rollover_hour) {
        words.push(fault);
    }
    let is_late = |day: BusinessDay, minutes: Option<u32>| {
        let end = identity.end_of(day);
        minutes.zip(end).is_some_and(|(minutes, end)| now.0 >= end.plus_ms(i64::from(minutes) * MINUTE_MS).0)
    };
    if let Some(day) = days.open.filter(|day| is_late(*day, policy.day.close_reminder_minutes)) {
        words.push(format!("day {day} is still open, though its hours are over; close it: huitong-edge day close"));
    }
    if let Some(day) = days.unanswered.filter(|day| is_late(*day, policy.day.seal_reminder_minutes)) {
        words.push(format!("day {day} is closed and head office has not answered; see: huitong-edge sync status"));
    }
    if let Some(day) = days.differing.filter(|day| is_late(*day, policy.day.seal_reminder_minutes)) {
        let what = "is closed and head office counts it differently; what differs: huitong-edge sync status";
        words.push(format!("day {day} {what}"));
    }
    words
}

/// What a rung of the ladder limits, in words.
#[must_use]
pub fn rung_words(rung: &Rung) -> String {
    let limit = |what: &str, most: Option<i64>| most.map(|most| format!("{what} up to {most}"));
    let limits = [limit("minor units", rung.value_minor_max), limit("points", rung.points_max)];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    format!(
        "for {} minutes or more head office has not said which cards were reported lost: one that can be pays {} of a receipt",
        rung.after_minutes,
        limits.join(" and ")
    )
}
