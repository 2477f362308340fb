//! Clock: the only place of the store daemon that reads the machine's time.
//!
//! Handlers and loops hold a [`Clock`] and hand instants down as values; nothing below them asks for the time. Tests wind their own.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use huitong_protocol::time::Instant;

/// Tells the time and waits for one.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Instant;

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
