//! Window: whether a moment is inside the days and hours of a promotion.
//!
//! Days are business days. A window over midnight belongs to the day on which it opened: its late part to the business day itself, its early part to
//! the business day when the store still trades under it, and to the day before when the store has begun a new day at midnight.

use super::basket::CivilMoment;
use super::trace::RejectReason;
use crate::policy::{When, weekday};
use crate::time::BusinessDay;

impl When {
    /// Whether it holds at a moment.
    #[must_use]
    pub fn is_open(&self, at: &CivilMoment) -> bool {
        holds(self, at).is_ok()
    }
}

/// Whether the moment is inside.
///
/// # Errors
/// The first of day, weekday and time that is not.
pub(super) fn holds(when: &When, at: &CivilMoment) -> Result<(), RejectReason> {
    if when.times.is_empty() {
        return day_holds(when, at.business_day);
    }
    let mut refused = None;
    for window in &when.times {
        let (from, until) = (window.from.minutes(), window.until.minutes());
        let (late, early) = if from < until {
            ((from..until).contains(&at.minute_of_day), false)
        } else {
            (at.minute_of_day >= from, at.minute_of_day < until)
        };
        if !late && !early {
            continue;
        }
        let day_began_at_midnight = at.date <= at.business_day.date();
        let opened_on = match early && day_began_at_midnight {
            true => at.business_day.date().yesterday().map_or(at.business_day, BusinessDay::of),
            false => at.business_day,
        };
        match day_holds(when, opened_on) {
            Ok(()) => return Ok(()),
            Err(reason) => refused = Some(reason),
        }
    }
    Err(refused.unwrap_or_else(|| day_holds(when, at.business_day).err().unwrap_or(RejectReason::WrongTime)))
}

fn day_holds(when: &When, day: BusinessDay) -> Result<(), RejectReason> {
    if when.from.is_some_and(|from| day < from) || when.to.is_some_and(|to| day > to) {
        return Err(RejectReason::WrongDay);
    }
    if !when.weekdays.is_empty() && !when.weekdays.contains(&weekday(day)) {
        return Err(RejectReason::WrongWeekday);
    }
    Ok(())
}
