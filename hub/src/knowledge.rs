//! Knowledge: up to which version each store has all cards, as it says with every poll and every page of cards that it asks for.
//!
//! In memory it is exact; in the database it follows within a second, many stores in one write (`Hub::take_cards_version`). What a store says holds for its
//! session: within one the largest counts, since messages overtake each other; of the first word of another and what was said before it the smaller, since a
//! database may have been put back between them, and which of two sessions is the older one a message does not say. The next word of the session that goes
//! on puts that right. Invariant: no store is believed to have what it did not say.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use huitong_protocol::id::{Epoch, StoreId};

use crate::session::Caller;

struct Said {
    by: Caller,
    version: i64,
    /// Whether it is in the database.
    is_noted: bool,
}

#[derive(Default)]
struct Inner {
    stores: HashMap<StoreId, Said>,
    /// Whether somebody is about to write it down.
    is_noting: bool,
}

/// What stores have said.
#[derive(Default)]
pub struct Knowledge(Mutex<Inner>);

/// What a word of a store changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Learnt {
    /// What its session had said before; 0 when this is the first.
    pub after: i64,
    /// Whether whoever brings it has to see that it is written down.
    pub is_to_be_noted: bool,
}

impl Knowledge {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a word of a store. Nothing when its session has said as much before.
    pub fn say(&self, caller: Caller, version: i64) -> Option<Learnt> {
        let mut inner = self.inner();
        let (after, version) = match inner.stores.get(&caller.store) {
            Some(said) if said.by == caller && said.version >= version => return None,
            Some(said) if said.by == caller => (said.version, version),
            Some(said) => (0, said.version.min(version)),
            None => (0, version),
        };
        inner.stores.insert(caller.store, Said { by: caller, version, is_noted: false });
        Some(Learnt { after, is_to_be_noted: !std::mem::replace(&mut inner.is_noting, true) })
    }

    /// What is not in the database yet. Whoever takes it writes it down.
    pub fn take_news(&self) -> Vec<(StoreId, Epoch, i64)> {
        let mut inner = self.inner();
        inner.is_noting = false;
        let news = inner.stores.iter_mut().filter(|(_, said)| !said.is_noted);
        news.map(|(store, said)| {
            said.is_noted = true;
            (*store, said.by.epoch, said.version)
        })
        .collect()
    }

    /// What could not be written: it is tried again with what is said next.
    pub fn give_back(&self, news: &[(StoreId, Epoch, i64)]) {
        let mut inner = self.inner();
        for (store, _, version) in news {
            if let Some(said) = inner.stores.get_mut(store).filter(|said| said.version == *version) {
                said.is_noted = false;
            }
        }
    }

    /// What every store said last.
    #[must_use]
    pub fn all(&self) -> HashMap<StoreId, (Epoch, i64)> {
        self.inner().stores.iter().map(|(store, said)| (*store, (said.by.epoch, said.version))).collect()
    }
}

#[cfg(test)]
mod tests {
    use huitong_protocol::id::Hash;

    use super::*;

    #[test]
    fn within_a_session_the_largest_counts_and_the_first_word_of_another_replaces_it() {
        let knowledge = Knowledge::default();
        let first = Caller { store: "S1".parse().unwrap(), epoch: Epoch(1), hello: Hash([1; 32]), life: 1 };
        let said = || knowledge.all()[&first.store];
        assert_eq!(knowledge.say(first, 7), Some(Learnt { after: 0, is_to_be_noted: true }));
        assert_eq!(knowledge.say(first, 5), None, "it was overtaken");
        assert_eq!(knowledge.say(first, 9), Some(Learnt { after: 7, is_to_be_noted: false }), "one write for both");
        assert_eq!(knowledge.take_news(), [(first.store, Epoch(1), 9)]);
        assert_eq!((knowledge.take_news(), knowledge.say(first, 9)), (vec![], None), "said again, nothing is written");
        assert_eq!(said(), (Epoch(1), 9));
        let second = Caller { hello: Hash([2; 32]), ..first };
        assert_eq!(knowledge.say(second, 4), Some(Learnt { after: 0, is_to_be_noted: true }));
        assert_eq!(said(), (Epoch(1), 4), "its database was put back");
        let news = knowledge.take_news();
        knowledge.give_back(&news);
        assert_eq!(knowledge.take_news(), news, "what could not be written is not forgotten");
        // A request of the first session was still under way, and takes nothing back.
        assert!(knowledge.say(first, 9).is_some());
        assert_eq!(said(), (Epoch(1), 4));
        assert!(knowledge.say(second, 5).is_some() && knowledge.say(second, 5).is_some());
        assert_eq!((said(), knowledge.say(second, 5)), ((Epoch(1), 5), None), "the session that goes on says it again");
    }
}
