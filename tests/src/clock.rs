//! A clock that is wound by hand and never shows the same instant twice.
//!
//! Whoever reads it gets an instant above every one it has shown, so that what happens later has the larger stamp in whatever order threads run.
//! Sleepers wake when it is wound past their instant; nothing here waits for real time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use huitong_protocol::time::Instant;
use tokio::sync::oneshot;

/// A hand-wound clock. Clones show the same time.
#[derive(Clone)]
pub struct HandClock(Arc<Inner>);

struct Inner {
    shown_ms: AtomicI64,
    sleepers: Mutex<BinaryHeap<Sleeper>>,
}

struct Sleeper {
    at_ms: Reverse<i64>,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.at_ms == other.at_ms
    }
}

impl Eq for Sleeper {}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ms.cmp(&other.at_ms)
    }
}

impl HandClock {
    /// A clock that starts at an instant.
    #[must_use]
    pub fn at(start: Instant) -> Self {
        Self(Arc::new(Inner { shown_ms: AtomicI64::new(start.0), sleepers: Mutex::default() }))
    }

    /// The next instant: at least a millisecond after every one shown before.
    #[must_use]
    pub fn read(&self) -> Instant {
        Instant(self.0.shown_ms.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Winds it forward to an instant; it never goes back.
    pub fn wind_to(&self, to: Instant) {
        self.0.shown_ms.fetch_max(to.0, Ordering::SeqCst);
        let mut sleepers = self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        while sleepers.peek().is_some_and(|sleeper| sleeper.at_ms.0 <= to.0) {
            if let Some(sleeper) = sleepers.pop() {
                let _ = sleeper.wake.send(()); // A sleeper that gave up does not mind.
            }
        }
    }

    /// Winds it forward by a span.
    pub fn wind_ms(&self, span_ms: i64) {
        self.wind_to(Instant(self.0.shown_ms.load(Ordering::SeqCst) + span_ms));
    }

    /// Sleeps until the clock is wound to an instant.
    pub fn sleep(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (wake, woken) = oneshot::channel();
        let mut sleepers = self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.shown_ms.load(Ordering::SeqCst) >= at.0 {
            return Box::pin(std::future::ready(()));
        }
        // Those who gave up are swept when they are many, so that a long run keeps its memory.
        if sleepers.len() > 4_096 {
            let waiting = std::mem::take(&mut *sleepers).into_vec();
            sleepers.extend(waiting.into_iter().filter(|sleeper| !sleeper.wake.is_closed()));
        }
        sleepers.push(Sleeper { at_ms: Reverse(at.0), wake });
        Box::pin(async move {
            let _ = woken.await; // The clock is gone: so is whoever would be late.
        })
    }
}

impl huitong_hub::clock::Clock for HandClock {
    fn now(&self) -> Instant {
        self.read()
    }
}

impl huitong_edge::clock::Clock for HandClock {
    fn now(&self) -> Instant {
        self.read()
    }

    /// As it is wound; to look at it winds nothing.
    fn elapsed_ms(&self) -> i64 {
        self.0.shown_ms.load(Ordering::SeqCst)
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.sleep(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_shows_the_same_instant_twice_and_never_goes_back() {
        let clock = HandClock::at(Instant(100));
        let first = clock.read();
        clock.wind_to(Instant(50));
        assert!(clock.read() > first);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_wound_past_it() {
        let clock = HandClock::at(Instant(0));
        let (near, far) = (tokio::spawn(clock.sleep(Instant(10))), tokio::spawn(clock.sleep(Instant(1_000))));
        clock.wind_to(Instant(20));
        near.await.unwrap();
        assert!(!far.is_finished());
        clock.wind_ms(1_000);
        far.await.unwrap();
    }
}
