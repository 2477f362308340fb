//! Line: what the daemon knows of its line to the hub. Written by sync, read by the status page and by who decides whether to ask.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use huitong_protocol::time::Instant;

/// Whether the hub answered, and when. All relaxed: it is news, nothing is decided on its order.
#[derive(Debug)]
pub struct Line {
    online: AtomicBool,
    last_seen_ms: AtomicI64,
}

impl Default for Line {
    fn default() -> Self {
        Self { online: AtomicBool::new(false), last_seen_ms: AtomicI64::new(i64::MIN) }
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
        (ms != i64::MIN).then_some(Instant(ms))
    }
}
