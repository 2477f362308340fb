//! Clock: the only place of the store daemon that reads the machine's time.
//!
//! Handlers and loops hold a [`Clock`] and hand instants down as values; nothing below them asks for the time, but for what has passed since head office
//! told its own (`store::hub_clock`). Tests wind their own.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use huitong_protocol::time::Instant;

/// Tells the time and waits for one.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Instant;

    /// The milliseconds that have passed since some instant of this process. Never falls, and does not move when the clock is set; what a machine sleeps
    /// through may be missing.
    fn elapsed_ms(&self) -> i64;

    /// Ends when the clock has reached an instant; at once when it is past.
    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The longest single sleep: a clock that was set forward meanwhile is noticed within this.
const SLEEP_MAX: Duration = Duration::from_secs(30);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the outermost layer: everything below takes the instant as a value")]
    fn now(&self) -> Instant {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Instant(since.ok().and_then(|span| i64::try_from(span.as_millis()).ok()).unwrap_or(0))
    }

    #[expect(clippy::disallowed_methods, reason = "the outermost layer: tests wind what passes as they wind the time")]
    fn elapsed_ms(&self) -> i64 {
        static START: OnceLock<std::time::Instant> = OnceLock::new();
        let start = START.get_or_init(std::time::Instant::now);
        i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = *self;
        Box::pin(async move {
            while let Some(rest_ms @ 1..) = at.0.checked_sub(clock.now().0) {
                let rest = Duration::from_millis(rest_ms.unsigned_abs());
                tokio::time::sleep(rest.min(SLEEP_MAX)).await;
            }
        })
    }
}
