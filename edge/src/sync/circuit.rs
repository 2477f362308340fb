//! Circuit: whether the line to the hub is up, and when it may be tried again.
//!
//! After a failure nobody asks the hub for value until the poll is answered again or a while has passed, so that a hundred tills do not wait
//! for the same dead line, each for itself. Waits are of the machine's own time, not of the store's clock: they pace a wire, they decide nothing
//! about money. Invariant: `is_up` is only ever made true by an answer of the hub.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use huitong_protocol::time::Instant;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use super::session::CallError;
use crate::line::Line;

#[derive(Default)]
struct State {
    fault: Option<String>,
    closed_until: Option<tokio::time::Instant>,
}

/// The circuit to the hub, shared by all tasks. What status pages show of it is in the [`Line`].
pub struct Circuit {
    line: Arc<Line>,
    state: Mutex<State>,
    up: watch::Sender<bool>,
    retry: Duration,
}

impl Circuit {
    /// A circuit of which nothing is known yet. After a failure it stays closed to tills for `retry`.
    #[must_use]
    pub fn new(line: Arc<Line>, retry: Duration) -> Self {
        Self { line, state: Mutex::default(), up: watch::Sender::new(false), retry }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hub answered.
    pub fn answered(&self, now: Instant) {
        self.line.answered(now);
        *self.state() = State::default();
        if !self.up.send_replace(true) {
            tracing::info!("The line to the hub is up");
        }
    }

    /// A call failed. The hub's own wish counts more than our habit.
    pub fn failed(&self, error: &CallError, at: tokio::time::Instant) {
        let closed = error.retry_after().unwrap_or(self.retry);
        self.line.broke();
        *self.state() = State { fault: Some(error.to_string()), closed_until: Some(at + closed) };
        if self.up.send_replace(false) {
            tracing::warn!(error = %error, "The line to the hub is down: {error}");
        }
    }

    /// Whether the last call was answered.
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Whether a till may wait for the hub now: always when the line is up or unknown, after a failure not for a while.
    #[must_use]
    pub fn may_ask(&self, at: tokio::time::Instant) -> bool {
        self.state().closed_until.is_none_or(|until| until <= at)
    }

    /// Tells when the line goes up or down.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Why the last call failed; nothing while the line is up.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.state().fault.clone()
    }
}

/// Waits between tries: doubling, with jitter, so that stores that lost the hub together do not come back together.
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    random: StdRng,
}

impl Backoff {
    /// Waits from `first` to `most`. The seed is the store's, so that each store has its own sequence and always the same.
    #[must_use]
    pub fn new(first: Duration, most: Duration, seed: &str) -> Self {
        let random = StdRng::from_seed(*blake3::hash(seed.as_bytes()).as_bytes());
        Self { first, most, failures: 0, random }
    }

    /// It worked: the next wait is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now. Never less than the hub asked for.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = self.first.saturating_mul(1_u32 << self.failures.min(16)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        let full_ms = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
        let jittered = Duration::from_millis(self.random.random_range(full_ms.div_ceil(2)..=full_ms));
        jittered.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::hub_client::HubDown;

    #[test]
    fn after_a_failure_nobody_waits_until_a_while_has_passed_or_the_hub_answered() {
        let shown = Arc::new(Line::default());
        let (line, start) = (Circuit::new(shown.clone(), Duration::from_secs(5)), tokio::time::Instant::now());
        let down = CallError::Down(HubDown::Line("cut".to_owned()));
        assert!(line.may_ask(start), "nothing is known yet");
        line.failed(&down, start);
        assert!(!line.may_ask(start + Duration::from_millis(4_999)));
        assert!(line.may_ask(start + Duration::from_secs(5)) && !line.is_up(), "one may try; that does not make it up");
        line.answered(Instant(7));
        assert!(line.may_ask(start) && line.is_up());
        assert_eq!(line.fault(), None);
        assert!(shown.is_online() && shown.last_seen() == Some(Instant(7)));
    }

    #[test]
    fn the_retry_after_of_the_hub_is_honoured() {
        let (line, start) = (Circuit::new(Arc::default(), Duration::from_secs(1)), tokio::time::Instant::now());
        line.failed(&CallError::Busy { retry_after_s: Some(30), message: "full".to_owned() }, start);
        assert!(!line.may_ask(start + Duration::from_secs(29)));
        assert!(line.may_ask(start + Duration::from_secs(30)));
    }

    #[test]
    fn waits_double_with_jitter_up_to_the_most_and_differ_between_stores() {
        let waits = |seed: &str| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), seed);
            (0..40).map(|_| backoff.next(None).as_millis()).collect::<Vec<_>>()
        };
        let (s1, s2) = (waits("S1"), waits("S2"));
        assert_eq!(s1, waits("S1"));
        assert_ne!(s1, s2);
        for (index, wait) in s1.iter().enumerate() {
            let full = 1_000 * (1_u128 << index.min(10)).min(60);
            assert!((full / 2..=full).contains(wait), "{wait} ms at {index}");
        }
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), "S1");
        assert!(backoff.next(Some(Duration::from_secs(90))) == Duration::from_secs(90));
    }
}
