//! Line: what the daemon knows of its line to the hub. Written by sync, read by the status page and by who decides whether to ask.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use huitong_protocol::time::Instant;

/// Whether the hub answered, and when. All relaxed: it is news, nothing is decided on its order.
#[derive(Debug)]
pub struct Line {
    online: AtomicBool,
    last_seen_ms: AtomicI64,
    policy_confirmed_ms: AtomicI64,
    /// As it is written down.
    policy_noted_ms: AtomicI64,
}

/// Never.
const NEVER: i64 = i64::MIN;

impl Default for Line {
    fn default() -> Self {
        Self {
            online: AtomicBool::new(false),
            last_seen_ms: AtomicI64::new(NEVER),
            policy_confirmed_ms: AtomicI64::new(NEVER),
            policy_noted_ms: AtomicI64::new(NEVER),
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

    /// When the store last heard from the hub, as far as that outlives a restart: what it knows of cards that were reported lost is as old.
    #[must_use]
    pub fn heard_at(&self) -> Option<Instant> {
        self.last_seen().max(self.policy_confirmed_at())
    }

    /// Continues with what was written down before a restart.
    pub fn policy_was_confirmed(&self, at: Option<Instant>) {
        let ms = at.map_or(NEVER, |at| at.0);
        self.policy_confirmed_ms.store(ms, Ordering::Relaxed);
        self.policy_noted_ms.store(ms, Ordering::Relaxed);
    }

    /// The hub has no newer policies than the store. Gives whether that is worth writing down: the last note is older than `every_ms`.
    pub fn policy_confirmed(&self, now: Instant, every_ms: i64) -> bool {
        self.policy_confirmed_ms.store(now.0, Ordering::Relaxed);
        let noted = self.policy_noted_ms.load(Ordering::Relaxed);
        let is_due = noted == NEVER || now.0.saturating_sub(noted).saturating_abs() >= every_ms;
        if is_due {
            self.policy_noted_ms.store(now.0, Ordering::Relaxed);
        }
        is_due
    }

    /// When the hub last had no newer policies.
    #[must_use]
    pub fn policy_confirmed_at(&self) -> Option<Instant> {
        let ms = self.policy_confirmed_ms.load(Ordering::Relaxed);
        (ms != NEVER).then_some(Instant(ms))
    }
}
