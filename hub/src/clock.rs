//! Clock: where the hub's time comes from. Handlers read it once and pass the instant on; nothing below them knows a clock.

use huitong_protocol::time::Instant;

/// The hub's clock. Tests wind their own.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Instant;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the outermost layer of the hub: here time comes in as a value")]
    fn now(&self) -> Instant {
        Instant(jiff::Timestamp::now().as_millisecond())
    }
}
