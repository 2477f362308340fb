//! When: the business days, weekdays and hours in which a promotion holds.
//!
//! Days are the store's business days, hours are its wall clock. Whether a moment is inside is judged in `crate::pricing`; here are the form and its
//! faults. Invariant of a valid `when`: there is a moment at which it is open.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Faults;
use crate::id::{IdError, TextVisitor};
use crate::time::BusinessDay;

/// A time on the wall clock, `00:00` to `24:00`, to the minute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// The end of the day, `24:00`.
    pub const MIDNIGHT: Self = Self(24 * 60);

    /// Reads `HH:MM`.
    ///
    /// # Errors
    /// [`IdError::Form`] when it is no time of the day.
    pub fn new(text: &str) -> Result<Self, IdError> {
        const FORM: IdError = IdError::Form { expected: "a time from 00:00 to 24:00, like 09:30" };
        let (hour, minute) = text.split_once(':').ok_or(FORM)?;
        let two = |digits: &str| {
            let good = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            if good { digits.parse::<u16>().ok() } else { None }
        };
        match (two(hour), two(minute)) {
            (Some(hour @ 0..24), Some(minute @ 0..60)) => Ok(Self(hour * 60 + minute)),
            (Some(24), Some(0)) => Ok(Self::MIDNIGHT),
            _ => Err(FORM),
        }
    }

    /// Minutes after 00:00.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TimeOfDay {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "time of day", make: Self::new })
    }
}

/// Hours of a day, written `["09:00", "12:00"]`: the first minute is inside, the last one is not. `["22:00", "02:00"]` goes over midnight and belongs to
/// the day on which it opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "[TimeOfDay; 2]", into = "[TimeOfDay; 2]")]
pub struct TimeWindow {
    /// The first minute inside.
    pub from: TimeOfDay,
    /// The first minute after it.
    pub until: TimeOfDay,
}

impl From<[TimeOfDay; 2]> for TimeWindow {
    fn from([from, until]: [TimeOfDay; 2]) -> Self {
        Self { from, until }
    }
}

impl From<TimeWindow> for [TimeOfDay; 2] {
    fn from(window: TimeWindow) -> Self {
        [window.from, window.until]
    }
}

/// The days and hours in which a promotion holds. What is left out does not limit.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// The first business day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<BusinessDay>,
    /// The last business day, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<BusinessDay>,
    /// Weekdays of the business day, 1 (Monday) to 7 (Sunday).
    pub weekdays: Vec<u8>,
    /// Hours.
    pub times: Vec<TimeWindow>,
}

/// The weekday of a business day, 1 (Monday) to 7 (Sunday).
pub(crate) fn weekday(day: BusinessDay) -> u8 {
    u8::try_from(day.date().weekday().to_monday_one_offset()).unwrap_or(0)
}

pub(super) fn check(when: &When, path: &dyn Fn(&str) -> String, faults: &mut Faults) {
    let mut fault = |field: &str, fault: String| faults.add(path(&format!("when.{field}")), fault);
    for (at, &day) in when.weekdays.iter().enumerate() {
        if !(1..=7).contains(&day) {
            fault(&format!("weekdays[{at}]"), format!("is {day}; give 1 (Monday) to 7 (Sunday)"));
        } else if when.weekdays[..at].contains(&day) {
            fault(&format!("weekdays[{at}]"), format!("{day} is there twice"));
        }
    }
    for (at, window) in when.times.iter().enumerate() {
        if window.from == window.until {
            let fault_text =
                format!("opens and closes at {}, so it is never open; leave times out to mean all day", window.from);
            fault(&format!("times[{at}]"), fault_text);
        } else if window.from == TimeOfDay::MIDNIGHT {
            fault(&format!("times[{at}]"), "opens at 24:00, where the day is over; write 00:00".to_owned());
        }
    }
    if let (Some(from), Some(to)) = (when.from, when.to) {
        if to < from {
            fault("to", format!("{to} is before from, {from}; it never opens"));
        } else if !when.weekdays.is_empty() {
            let mut days = std::iter::successors(Some(from), |day| (*day < to).then(|| day.tomorrow())).take(7);
            if !days.any(|day| when.weekdays.contains(&weekday(day))) {
                fault("weekdays", format!("none of them is from {from} to {to}; it never opens"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_reads_back_and_refuses_other_forms() {
        for text in ["00:00", "09:30", "23:59", "24:00"] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), text);
        }
        for bad in ["", "9:30", "24:01", "12:60", "12.30", "+1:00", "12:3a", "25:00"] {
            assert!(bad.parse::<TimeOfDay>().is_err(), "{bad}");
        }
    }

    #[test]
    fn weekdays_count_from_monday() {
        assert_eq!(weekday("2026-11-23".parse().unwrap()), 1);
        assert_eq!(weekday("2026-11-22".parse().unwrap()), 7);
    }
}
