//! Knowledge: up to which version each store has all cards, as it says with every poll and every page of cards that it asks for.
//!
//! In memory it is exact; in the database it follows within a second, many stores in one write (`Hub::take_cards_version`). What a store says holds for its
//! session: within one the largest counts, since messages overtake each other; of the first word of another and what was said before it the smaller, since a
//! database may have been put back between them, and which of two sessions is the older one a message does not say. The next word of the session that goes
//! on puts that right. What it lent on a card before it knew what became of it is known once its journal is held as far as it went by then; reports would not
//! do, as they come in parts and may be refused. Invariant: no store is believed to have what it did not say.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use huitong_protocol::id::{Epoch, Seq, StoreId};

use crate::session::Caller;

/// What a store says: that it has all cards up to a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word {
    /// The version.
    pub version: i64,
    /// An entry of its journal after which there was none when it had that version, or a later one.
    pub end: Seq,
}

impl Word {
    /// Before it says anything.
    pub const NOTHING: Self = Self { version: 0, end: Seq::ZERO };
}

/// Up to which version of the cards it is known what an epoch did before it had it. A busy store says more before its journal has come up to what it said
/// last, so that an earlier word is kept until it has come up to that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accounted {
    /// Its last word.
    pub last: Word,
    /// An earlier one.
    pub awaited: Word,
    /// Up to this version it was known when it said its last word.
    pub version: i64,
}

impl Accounted {
    /// Before it says anything.
    pub const NOTHING: Self = Self { last: Word::NOTHING, awaited: Word::NOTHING, version: 0 };

    /// Up to which version it is known, with the journal held so far.
    #[must_use]
    pub fn version(&self, held: Seq) -> i64 {
        match () {
            () if held >= self.last.end => self.last.version,
            () if held >= self.awaited.end => self.awaited.version,
            () => self.version,
        }
    }

    /// After another word. Who says less than before has forgotten the rest, and may do again what it did before it knew.
    #[must_use]
    pub fn after(&self, said: Word, held: Seq) -> Self {
        let version = self.version(held);
        match () {
            () if said == self.last => *self,
            () if said.version < self.last.version => Self { last: said, awaited: said, version: 0 },
            () => {
                Self { last: said, awaited: if held >= self.awaited.end { self.last } else { self.awaited }, version }
            }
        }
    }
}

struct Said {
    by: Caller,
    word: Word,
    /// The least that was said since the database knew the last: a database that was put back may have come up to the others again within a second.
    least: Word,
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

    /// Whether a store's session has not said as much before.
    #[must_use]
    pub fn is_news(&self, caller: Caller, version: i64) -> bool {
        let inner = self.inner();
        let known = inner.stores.get(&caller.store);
        known.is_none_or(|said| said.by != caller || said.word.version < version)
    }

    /// Takes a word of a store. Nothing when its session has said as much before.
    pub fn say(&self, caller: Caller, word: Word) -> Option<Learnt> {
        let mut inner = self.inner();
        let known = inner.stores.get(&caller.store);
        let (after, word) = match known.map(|said| (said.by == caller, said.word)) {
            Some((true, said)) if said.version >= word.version => return None,
            Some((true, said)) => (said.version, word),
            Some((false, said)) => (0, Word { version: said.version.min(word.version), end: said.end.max(word.end) }),
            None => (0, word),
        };
        let unnoted = known.filter(|said| !said.is_noted && said.least.version < word.version);
        let least = unnoted.map_or(word, |said| said.least);
        inner.stores.insert(caller.store, Said { by: caller, word, least, is_noted: false });
        Some(Learnt { after, is_to_be_noted: !std::mem::replace(&mut inner.is_noting, true) })
    }

    /// What is not in the database yet, of each store the least that it said and the last. Whoever takes it writes it down.
    pub fn take_news(&self) -> Vec<(StoreId, Epoch, [Word; 2])> {
        let mut inner = self.inner();
        inner.is_noting = false;
        let news = inner.stores.iter_mut().filter(|(_, said)| !said.is_noted);
        news.map(|(store, said)| {
            said.is_noted = true;
            (*store, said.by.epoch, [said.least, said.word])
        })
        .collect()
    }

    /// What could not be written: it is tried again with what is said next.
    pub fn give_back(&self, news: &[(StoreId, Epoch, [Word; 2])]) {
        let mut inner = self.inner();
        for (store, _, [least, _]) in news {
            let Some(said) = inner.stores.get_mut(store) else { continue };
            if said.is_noted || least.version < said.least.version {
                said.least = *least;
            }
            said.is_noted = false;
        }
    }

    /// What every store said last.
    #[must_use]
    pub fn all(&self) -> HashMap<StoreId, (Epoch, i64)> {
        self.inner().stores.iter().map(|(store, said)| (*store, (said.by.epoch, said.word.version))).collect()
    }
}

#[cfg(test)]
mod tests {
    use huitong_protocol::id::Hash;

    use super::*;

    fn word(version: i64, end: u64) -> Word {
        Word { version, end: Seq(end) }
    }

    #[test]
    fn within_a_session_the_largest_counts_and_the_first_word_of_another_replaces_it() {
        let knowledge = Knowledge::default();
        let first =
            Caller { store: "S1".parse().unwrap(), epoch: Epoch(1), hello: Hash([1; 32]), life: 1, head: Seq::ZERO };
        let said = || knowledge.all()[&first.store];
        assert_eq!(knowledge.say(first, word(7, 1)), Some(Learnt { after: 0, is_to_be_noted: true }));
        assert_eq!(knowledge.say(first, word(5, 1)), None, "it was overtaken");
        assert_eq!(
            knowledge.say(first, word(9, 1)),
            Some(Learnt { after: 7, is_to_be_noted: false }),
            "one write for both"
        );
        assert_eq!(knowledge.take_news(), [(first.store, Epoch(1), [word(7, 1), word(9, 1)])]);
        assert_eq!(
            (knowledge.take_news(), knowledge.say(first, word(9, 1))),
            (vec![], None),
            "said again, nothing is written"
        );
        assert_eq!(said(), (Epoch(1), 9));
        let second = Caller { hello: Hash([2; 32]), ..first };
        assert_eq!(knowledge.say(second, word(4, 1)), Some(Learnt { after: 0, is_to_be_noted: true }));
        assert_eq!(said(), (Epoch(1), 4), "its database was put back");
        let news = knowledge.take_news();
        knowledge.give_back(&news);
        assert_eq!(knowledge.take_news(), news, "what could not be written is not forgotten");
        // A request of the first session was still under way, and takes nothing back.
        assert!(knowledge.say(first, word(9, 1)).is_some());
        assert_eq!(said(), (Epoch(1), 4));
        assert!(knowledge.say(second, word(5, 1)).is_some() && knowledge.say(second, word(5, 1)).is_some());
        assert_eq!(
            (said(), knowledge.say(second, word(5, 1))),
            ((Epoch(1), 5), None),
            "the session that goes on says it again"
        );
    }

    #[test]
    fn a_word_counts_once_the_journal_has_come_up_to_it_also_of_a_store_that_never_pauses() {
        let said = |words: &[(i64, u64, u64)]| {
            let taken = words
                .iter()
                .fold(Accounted::NOTHING, |so_far, &(version, end, held)| so_far.after(word(version, end), Seq(held)));
            move |held| taken.version(Seq(held))
        };
        let first = said(&[(5, 10, 3)]);
        assert_eq!((first(9), first(10)), (0, 5));
        // The journal is always behind the last word.
        let busy = said(&[(5, 10, 3), (6, 20, 9), (7, 30, 9), (8, 40, 19), (9, 50, 29)]);
        assert_eq!((busy(29), busy(39), busy(49), busy(50)), (5, 7, 7, 9));
        let put_back = said(&[(5, 10, 10), (9, 12, 12), (4, 8, 12)]);
        assert_eq!((put_back(0), put_back(12)), (0, 4), "it may have done again what it did before it knew");
        let anew = said(&[(5, 10, 10), (4, 12, 11), (9, 13, 11)]);
        assert_eq!((anew(11), anew(12), anew(13)), (0, 4, 9));
    }
}
