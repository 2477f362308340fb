//! Hub clock: head office's time, as an answer since the start told it, and what has passed since by a clock that nobody sets.
//!
//! For promises that end. They are journalled when they do, so that a machine whose clock is wrong, or is put right while the line is down, must
//! neither end them early nor keep them. Deliberately not here: stamps, which only rise, and a judgement on head office's own clock, which decides.
//! Invariant: after an answer no step of this machine's clock moves the time; before it the time is never behind the journal.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use huitong_protocol::time::{Instant, Stamp};

use crate::clock::Clock;

/// The longest round trip of an answer whose time is taken: it may be late by so much, which is little beside any promise and more than small messages
/// need on a poor line. A poll that waits for news, a page that trickles in and a machine that was paused take longer, and tell nothing.
const ROUND_TRIP_MAX_MS: i64 = 10_000;

/// By so much two clocks that are both right may differ, with what an answer was late.
const AGREES_MS_MAX: u64 = 600_000;

/// Head office's clock, as far as it is known.
#[derive(Default)]
pub struct HubClock {
    told: Mutex<Option<Told>>,
}

/// What an answer told.
struct Told {
    hub: Instant,
    /// When it arrived, by [`Clock::elapsed_ms`].
    arrived_ms: i64,
    clock: Arc<dyn Clock>,
}

impl Told {
    fn time(&self) -> Instant {
        let passed_ms = self.clock.elapsed_ms().saturating_sub(self.arrived_ms);
        Instant(self.hub.0.saturating_add(passed_ms.max(0)))
    }
}

impl HubClock {
    /// Head office answered at an instant of its own clock what was asked at `asked_ms` of this clock's [`Clock::elapsed_ms`].
    ///
    /// Now it is between that instant and a round trip later there. What was known and lies between stands, as each change of mind would be a small step.
    pub fn answered(&self, clock: &Arc<dyn Clock>, asked_ms: i64, hub: Instant) {
        let arrived_ms = clock.elapsed_ms();
        let round_trip_ms = arrived_ms.saturating_sub(asked_ms);
        if round_trip_ms > ROUND_TRIP_MAX_MS {
            return;
        }
        let possible = hub.0..=hub.0.saturating_add(round_trip_ms);
        let mut told = self.told();
        if !told.as_ref().is_some_and(|told| possible.contains(&told.time().0)) {
            *told = Some(Told { hub, arrived_ms, clock: Arc::clone(clock) });
        }
    }

    /// The time that promises go by. Before the first answer nobody knows whether this clock or the one that gave the last stamp is wrong: a machine that
    /// lost the time makes no promise that ends before it began.
    #[must_use]
    pub fn time(&self, now: Instant, last: Stamp) -> Instant {
        self.told().as_ref().map_or(Instant(now.0.max(last.0)), Told::time)
    }

    /// Whether this machine's clock shows what head office's does, as far as an answer since the start told it.
    #[must_use]
    pub fn agrees(&self, now: Instant) -> bool {
        self.told().as_ref().is_some_and(|told| told.time().0.abs_diff(now.0) <= AGREES_MS_MAX)
    }

    fn told(&self) -> MutexGuard<'_, Option<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HubClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubClock").field("time", &self.told().as_ref().map(Told::time)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::HandClock;

    const SECOND_MS: i64 = 1_000;
    const HOUR_MS: i64 = 3_600 * SECOND_MS;
    const DAY_MS: i64 = 24 * HOUR_MS;
    /// Head office's time when a test begins.
    const NOON: Instant = Instant(1_000 * DAY_MS);

    struct Machine {
        hub_clock: HubClock,
        hand: Arc<HandClock>,
    }

    impl Machine {
        fn at(start: Instant) -> Self {
            Self { hub_clock: HubClock::default(), hand: Arc::new(HandClock::at(start)) }
        }

        /// An answer that head office gave at an instant, `there_ms` after it was asked and `back_ms` before it arrives.
        fn hear(&self, there_ms: i64, hub: Instant, back_ms: i64) {
            let clock: Arc<dyn Clock> = self.hand.clone();
            let asked_ms = clock.elapsed_ms();
            self.hand.wind(there_ms + back_ms);
            self.hub_clock.answered(&clock, asked_ms, hub);
        }

        fn time(&self) -> Instant {
            self.hub_clock.time(self.hand.now(), Stamp(NOON.0 - 2 * DAY_MS))
        }
    }

    #[test]
    fn before_an_answer_the_time_is_never_behind_the_journal() {
        let clock = HubClock::default();
        assert_eq!(clock.time(NOON, Stamp(NOON.0 + DAY_MS)), NOON.plus_ms(DAY_MS), "perhaps this clock lost the time");
        assert_eq!(clock.time(NOON, Stamp(NOON.0 - DAY_MS)), NOON);
        assert!(!clock.agrees(NOON), "nobody knows");
    }

    #[test]
    fn a_clock_that_is_put_right_while_the_line_is_down_moves_nothing() {
        for wrong_by_ms in [-DAY_MS, DAY_MS] {
            let machine = Machine::at(NOON.plus_ms(wrong_by_ms));
            machine.hear(0, NOON, 0);
            assert_eq!(machine.time(), NOON);
            assert!(!machine.hub_clock.agrees(machine.hand.now()));
            machine.hand.set_by(-wrong_by_ms);
            assert_eq!(machine.time(), NOON);
            assert!(machine.hub_clock.agrees(machine.hand.now()));
            machine.hand.wind(HOUR_MS);
            assert_eq!(machine.time(), NOON.plus_ms(HOUR_MS));
        }
    }

    #[test]
    fn an_answer_that_was_long_under_way_tells_nothing() {
        let machine = Machine::at(NOON.plus_ms(5));
        machine.hear(ROUND_TRIP_MAX_MS, NOON.plus_ms(-DAY_MS), 1);
        assert_eq!(machine.time(), machine.hand.now(), "nothing is known yet");
        machine.hear(0, NOON, ROUND_TRIP_MAX_MS);
        assert_eq!(machine.time(), NOON, "late by the way back");
        machine.hear(1, NOON.plus_ms(DAY_MS), ROUND_TRIP_MAX_MS);
        assert_eq!(machine.time(), NOON.plus_ms(1 + ROUND_TRIP_MAX_MS));
    }

    #[test]
    fn answers_that_agree_do_not_move_the_time_to_and_fro() {
        let machine = Machine::at(NOON);
        machine.hear(0, NOON, 3 * SECOND_MS);
        machine.hear(0, NOON.plus_ms(3 * SECOND_MS), SECOND_MS);
        assert_eq!(machine.time(), NOON.plus_ms(3 * SECOND_MS), "it can only be later than was thought");
        machine.hear(0, NOON.plus_ms(4 * SECOND_MS), 5 * SECOND_MS);
        assert_eq!(machine.time(), NOON.plus_ms(8 * SECOND_MS), "a slower way back is no reason to go back");
        // Head office's clock is set back: it decides.
        machine.hear(0, NOON.plus_ms(-HOUR_MS), 0);
        assert_eq!(machine.time(), NOON.plus_ms(-HOUR_MS));
    }
}
