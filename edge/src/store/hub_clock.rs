//! Hub clock: by how much this machine's clock differs from head office's, as the last answer since the start showed.
//!
//! For promises that end: a clock that is a day ahead must not end them, nor one that was a day ahead, and has left its stamps in the journal, make new ones
//! last for a day. Deliberately not here: stamps, which only rise. Invariant: without an answer since the start the time is never behind the journal.

use std::sync::atomic::{AtomicI64, Ordering};

use huitong_protocol::time::{Instant, Stamp};

/// What a slow line makes of an answer's time, and what nobody notices in a promise.
const TOLERATED_MS: i64 = 60_000;
/// No answer yet.
const UNKNOWN: i64 = i64::MIN;

/// By how much the machine's clock is ahead. Relaxed: it is news, nothing is decided on its order.
#[derive(Debug)]
pub struct HubClock {
    ahead_ms: AtomicI64,
}

impl Default for HubClock {
    fn default() -> Self {
        Self { ahead_ms: AtomicI64::new(UNKNOWN) }
    }
}

impl HubClock {
    /// Head office answered at an instant of its own clock, which arrived at one of this machine's.
    pub fn answered(&self, hub: Instant, now: Instant) {
        let ahead_ms = now.0.saturating_sub(hub.0);
        self.ahead_ms.store(if ahead_ms.abs() <= TOLERATED_MS { 0 } else { ahead_ms }, Ordering::Relaxed);
    }

    /// The time that promises go by. Before the first answer nobody knows whether this clock or the one that gave the last stamp is wrong: a machine that
    /// lost the time makes no promise that ends before it began.
    #[must_use]
    pub fn time(&self, now: Instant, last: Stamp) -> Instant {
        match self.ahead_ms.load(Ordering::Relaxed) {
            UNKNOWN => Instant(now.0.max(last.0)),
            ahead_ms => Instant(now.0.saturating_sub(ahead_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_says_which_clock_is_wrong() {
        const DAY_MS: i64 = 86_400_000;
        let (clock, noon) = (HubClock::default(), Instant(1_000 * DAY_MS));
        let stamp = Stamp(noon.0 + DAY_MS);
        assert_eq!(clock.time(noon, stamp), Instant(stamp.0), "perhaps this clock lost the time");
        clock.answered(noon, noon.plus_ms(TOLERATED_MS));
        assert_eq!(clock.time(noon, stamp), noon, "the stamps were ahead");
        clock.answered(noon, noon.plus_ms(DAY_MS));
        assert_eq!(clock.time(noon.plus_ms(DAY_MS + 5), stamp), noon.plus_ms(5), "this clock is ahead");
        clock.answered(noon, noon.plus_ms(-DAY_MS));
        assert_eq!(clock.time(noon.plus_ms(5 - DAY_MS), stamp), noon.plus_ms(5));
    }
}
