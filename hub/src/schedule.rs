//! Schedule: what the hub does by itself, and when. Pure: the clock is `worker`'s, the rows are `store::schedule`'s.
//!
//! Runs that were missed are caught up by one run. Invariant: the next due time lies after the instant that it was asked for.

use huitong_protocol::time::Instant;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::HubConfig;

/// What the hub does by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// Writes down outside the database what a restored backup of it would have forgotten.
    Remember,
    /// Compares reports with journals, gives points that waited for their card, and settles claims.
    Reconcile,
    /// Prices sales again.
    Rerate,
    /// Plans where value is parked.
    Park,
    /// Cleans away what nobody needs any more.
    Purge,
}

/// When a job is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cadence {
    /// Every so many milliseconds.
    Every(i64),
    /// Once a day at an hour, on the clock of a zone.
    DailyAt {
        /// The hour, 0 to 23.
        hour: u8,
        /// The zone: an hour that a day does not have is the next one that it has.
        zone: TimeZone,
    },
}

impl Job {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Remember, Self::Reconcile, Self::Rerate, Self::Park, Self::Purge];

    /// The name under which it is scheduled.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remember => "remember",
            Self::Reconcile => "reconcile",
            Self::Rerate => "rerate",
            Self::Park => "park",
            Self::Purge => "purge",
        }
    }

    /// When it is done.
    #[must_use]
    pub fn cadence(self, config: &HubConfig) -> Cadence {
        let at = |hour| {
            let zone = TimeZone::get(&config.time_zone).unwrap_or(TimeZone::UTC);
            Cadence::DailyAt { hour, zone }
        };
        match self {
            Self::Remember | Self::Reconcile => Cadence::Every(config.reconcile_every.as_ms().max(1)),
            Self::Rerate => Cadence::Every(config.rerate_every.as_ms().max(1)),
            Self::Park => at(config.park_hour),
            Self::Purge => at(config.purge_hour),
        }
    }
}

impl Cadence {
    /// The first due time after an instant.
    #[must_use]
    pub fn next_after(&self, now: Instant) -> Instant {
        match self {
            Self::Every(span_ms) => now.plus_ms(*span_ms),
            Self::DailyAt { hour, zone } => {
                // Far outside the calendar there is no next day; a day later is then as good as any.
                daily(now, *hour, zone).unwrap_or_else(|| now.plus_ms(86_400_000))
            }
        }
    }
}

fn daily(now: Instant, hour: u8, zone: &TimeZone) -> Option<Instant> {
    let now = Timestamp::from_millisecond(now.0).ok()?;
    let today = now.to_zoned(zone.clone()).date();
    let at = |date: jiff::civil::Date| {
        let hour = i8::try_from(hour).ok()?;
        date.at(hour, 0, 0, 0).to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
    };
    let due = match at(today)? {
        due if due > now => due,
        _ => at(today.checked_add(1.day()).ok()?)?,
    };
    Some(Instant(due.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(zone: &str, now: &str, due: &str) {
        let at = |text: &str| Instant(text.parse::<Timestamp>().unwrap().as_millisecond());
        let cadence = Cadence::DailyAt { hour: 2, zone: TimeZone::get(zone).unwrap() };
        assert_eq!(cadence.next_after(at(now)).to_string(), at(due).to_string(), "{now} in {zone}");
    }

    #[test]
    fn a_daily_job_keeps_its_hour_on_the_wall_clock() {
        check("Asia/Shanghai", "2026-11-22T17:59:59Z", "2026-11-22T18:00:00Z");
        check("Asia/Shanghai", "2026-11-22T18:00:00Z", "2026-11-23T18:00:00Z");
        // New York puts its clocks forward at 2:00 on 8 March 2026: that day the job runs at 3:00, and at 2:00 again the day after.
        check("America/New_York", "2026-03-07T08:00:00Z", "2026-03-08T07:00:00Z");
        check("America/New_York", "2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z");
    }
}
