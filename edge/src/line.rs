//! Line: what the daemon knows of its line to the hub. Written by sync, read by the status page and by who decides whether to ask.
//!
//! That the hub answers says nothing about what the store knows: an answer to a report tells of no lost card. So it is kept apart when the hub last had
//! nothing newer of the policies, and of the cards. Invariant: an age never is below zero, and grows while nothing is confirmed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use huitong_protocol::time::Instant;

/// Whether the hub answered, and when. All relaxed: it is news, nothing is decided on its order.
#[derive(Debug)]
pub struct Line {
    online: AtomicBool,
    last_seen_ms: AtomicI64,
    /// When the store had the newest policies.
    pub policies: Confirmed,
    /// When the store had the newest of all cards, those reported lost among them.
    pub cards: Confirmed,
}

/// When the store last knew that the hub had nothing newer of something.
#[derive(Debug)]
pub struct Confirmed {
    at_ms: AtomicI64,
    /// As it is written down.
    noted_ms: AtomicI64,
}

/// Never.
const NEVER: i64 = i64::MIN;

impl Default for Line {
    fn default() -> Self {
        Self {
            online: AtomicBool::new(false),
            last_seen_ms: AtomicI64::new(NEVER),
            policies: Confirmed::default(),
            cards: Confirmed::default(),
        }
    }
}

impl Line {
    /// The hub answered.
    pub fn answered(&self, now: Instant) {
        self.last_seen_ms.store(now.0, Ordering::Relaxed);
        self.online.store(true, Ordering::Relaxed);
    }

    /// The hub did not answer.
    pub fn broke(&self) {
        self.online.store(false, Ordering::Relaxed);
    }

    /// Whether the last call was answered.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// When the hub last answered.
    #[must_use]
    pub fn last_seen(&self) -> Option<Instant> {
        let ms = self.last_seen_ms.load(Ordering::Relaxed);
        (ms != NEVER).then_some(Instant(ms))
    }
}

impl Default for Confirmed {
    fn default() -> Self {
        Self { at_ms: AtomicI64::new(NEVER), noted_ms: AtomicI64::new(NEVER) }
    }
}

impl Confirmed {
    /// Continues with what was written down before a restart.
    pub fn resume(&self, at: Option<Instant>) {
        let ms = at.map_or(NEVER, |at| at.0);
        self.at_ms.store(ms, Ordering::Relaxed);
        self.noted_ms.store(ms, Ordering::Relaxed);
    }

    /// At `at`, which is not after `now`, the hub had nothing newer; what was confirmed after that stays. Gives the instant when it is worth writing down:
    /// the last note is older than `every_ms`, or of a clock that was set back since.
    pub fn confirm(&self, at: Instant, now: Instant, every_ms: i64) -> Option<Instant> {
        let before_ms = self.at_ms.load(Ordering::Relaxed);
        let at_ms = if before_ms > now.0 { at.0 } else { at.0.max(before_ms) };
        self.at_ms.store(at_ms, Ordering::Relaxed);
        let noted_ms = self.noted_ms.load(Ordering::Relaxed);
        if noted_ms != NEVER && noted_ms <= now.0 && at_ms.saturating_sub(noted_ms) < every_ms {
            return None;
        }
        self.noted_ms.store(at_ms, Ordering::Relaxed);
        Some(Instant(at_ms))
    }

    /// When that was, `None` when it never was.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        let ms = self.at_ms.load(Ordering::Relaxed);
        (ms != NEVER).then_some(Instant(ms))
    }

    /// How long ago that is, in milliseconds. An instant ahead of the clock is one that was set back: how long ago it truly is nobody knows. It counts as
    /// now from this look on, so that the age is not below zero and begins to grow at once, not only when the clock has caught up, which may take years.
    pub fn age_ms(&self, now: Instant) -> Option<i64> {
        let ms = self.at_ms.fetch_min(now.0, Ordering::Relaxed).min(now.0);
        (ms != NEVER).then(|| now.0.saturating_sub(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_clock_that_was_set_back_makes_the_age_neither_negative_nor_stand_still() {
        let (cards, start) = (Confirmed::default(), Instant(1_000 * HOUR_MS));
        let after = |hours: i64| start.plus_ms(hours * HOUR_MS);
        assert_eq!(cards.age_ms(start), None, "never is no age");
        assert_eq!(cards.confirm(start, start, HOUR_MS), Some(start));
        assert_eq!(cards.age_ms(after(2)), Some(2 * HOUR_MS));
        // Ten hours too early: nobody knows how old it is; from now on it is known how much older it gets.
        assert_eq!(cards.age_ms(after(-10)), Some(0));
        assert_eq!(cards.age_ms(after(-7)), Some(3 * HOUR_MS));
        assert_eq!(cards.confirm(after(-6), after(-6), HOUR_MS), Some(after(-6)), "the note is of another clock");
        assert_eq!(cards.age_ms(after(-5)), Some(HOUR_MS));
    }

    #[test]
    fn what_is_confirmed_is_noted_now_and_then_and_never_made_older() {
        let (cards, start) = (Confirmed::default(), Instant(0));
        cards.resume(Some(start));
        assert_eq!(cards.confirm(Instant(HOUR_MS - 1), Instant(HOUR_MS), HOUR_MS), None);
        assert_eq!(cards.confirm(Instant(5), Instant(HOUR_MS), HOUR_MS), None, "news that lay about for a while");
        assert_eq!(cards.at(), Some(Instant(HOUR_MS - 1)));
        assert_eq!(cards.confirm(Instant(HOUR_MS), Instant(HOUR_MS), HOUR_MS), Some(Instant(HOUR_MS)));
        // The clock was set back, and nobody has looked since then: what is ahead of it is not what is newest.
        assert_eq!(cards.confirm(Instant(7), Instant(8), HOUR_MS), Some(Instant(7)));
    }
}
