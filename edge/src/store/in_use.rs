//! In use: the purses of customers who stand at a till while their operation waits for the hub's answer.
//!
//! No rule of release and no recall takes value from a purse in use: what was put together for the customer would be gone when the answer arrives.
//! Only in memory: after a restart nobody waits. Invariant: a purse is in use exactly as long as somebody holds its guard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use huitong_protocol::allotment::Purse;

/// The purses in use, and by how many operations.
#[derive(Debug, Default)]
pub struct InUse(Mutex<HashMap<Purse, usize>>);

/// Keeps purses in use until it is dropped.
#[derive(Debug)]
pub struct Using {
    in_use: Arc<InUse>,
    purses: Vec<Purse>,
}

impl InUse {
    fn lock(&self) -> MutexGuard<'_, HashMap<Purse, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes purses into use.
    #[must_use]
    pub fn hold(self: &Arc<Self>, purses: Vec<Purse>) -> Using {
        let mut held = self.lock();
        for purse in &purses {
            *held.entry(*purse).or_default() += 1;
        }
        Using { in_use: Arc::clone(self), purses }
    }

    /// Whether somebody waits for value of the purse.
    #[must_use]
    pub fn holds(&self, purse: Purse) -> bool {
        self.lock().contains_key(&purse)
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        let mut held = self.in_use.lock();
        for purse in &self.purses {
            if let Some(count) = held.get_mut(purse) {
                *count -= 1;
                if *count == 0 {
                    held.remove(purse);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use huitong_protocol::id::AccountId;
    use huitong_protocol::unit::Unit;

    use super::*;

    #[test]
    fn a_purse_is_in_use_until_the_last_who_waits_has_gone() {
        let in_use = Arc::new(InUse::default());
        let purse = Purse { account: AccountId::new(1).unwrap(), unit: Unit::Points };
        let (first, second) = (in_use.hold(vec![purse]), in_use.hold(vec![purse]));
        drop(first);
        assert!(in_use.holds(purse));
        drop(second);
        assert!(!in_use.holds(purse));
    }
}
