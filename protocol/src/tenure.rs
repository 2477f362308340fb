//! Tenure: one epoch of a store, as the hub keeps it: whether it is the living one, how far it was heard, and whose turn it is to speak.
//!
//! An epoch is minted by the hub alone, in answer to a nonce that only the asking process knows, and lived by one database. A turn of the ratchet that
//! somebody else used says that there are two: a copy. Whether the store's journal still contains what the hub heard of it is for the store to say, which
//! has the newest end of it (`crate::continuity::compare` with what the welcome says): a hello may be overtaken by the reports that it sent before. The hub
//! itself may have been restored: it then begins a new life, and grants nothing until it has heard every living epoch again. Who is waited for is its
//! database's to know.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::allotment::rule::{Care, Rule};
use crate::id::{Epoch, Hash, Seq};
use crate::journal::Head;

/// Whether an epoch is lived.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is the store's own, and may be granted value.
    Living,
    /// It ended: what it says of value is not heard, and what it held waits in suspense.
    Fenced,
}

impl Standing {
    /// Whether what an epoch says of value is heard.
    #[must_use]
    pub fn is_heard(self, care: &impl Care) -> bool {
        self == Self::Living || !care.keeps(Rule::EpochIsFenced)
    }
}

/// The hub's half of the sync ratchet. A store says hello with the turn that it was given last and a nonce that it wrote down before; the hub gives it
/// the next turn. Saying hello again with the same nonce (the answer was lost) gets the same turn; anybody else with a used turn is a copy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ratchet {
    /// The turn that was given last.
    pub turn: u64,
    /// The turns that were shown last and the nonce that each was shown with, oldest first. By these a hello that the network brings late is told from
    /// a copy's.
    shown: VecDeque<(u64, u64)>,
}

/// How many turns are remembered. Of an earlier one the hub cannot say who shows it, so it only does not answer with a turn.
const SHOWN_MAX: usize = 64;

/// Who shows a turn.
enum Shows {
    /// The store, on its turn.
    Next,
    /// The store, whose answer was lost.
    Again,
    /// The network: a hello that was answered, and that the store went on from. Or a copy of long ago.
    Late,
    /// A turn that was never given.
    Ahead,
    /// Somebody else.
    Copy,
}

impl Ratchet {
    fn shows(&self, turn: u64, nonce: u64) -> Shows {
        if turn >= self.turn {
            return if turn == self.turn { Shows::Next } else { Shows::Ahead };
        }
        match self.shown.iter().find(|known| known.0 == turn) {
            Some(&(_, known)) if known != nonce => Shows::Copy,
            Some(_) if turn + 1 == self.turn => Shows::Again,
            _ => Shows::Late,
        }
    }

    fn turned(&self, turn: u64, nonce: u64) -> Self {
        let mut shown = self.shown.clone();
        shown.push_back((turn, nonce));
        if shown.len() > SHOWN_MAX {
            shown.pop_front();
        }
        Self { turn: turn.saturating_add(1), shown }
    }
}

/// What a store says to begin a session, as far as continuity goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greeting {
    /// Its epoch.
    pub epoch: Epoch,
    /// The turn that it was given last.
    pub turn: u64,
    /// Written down before this hello was sent, and kept until it is answered.
    pub nonce: u64,
}

/// Why a store is not listened to. It stops moving value, and asks for a new epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotContinuous {
    /// The epoch is not the living one.
    #[error("epoch {shown} is not the living one, {living}")]
    NotLiving {
        /// What it says.
        shown: Epoch,
        /// The one that is.
        living: Epoch,
    },
    /// A hello that was answered before. Nothing follows from it when the network brings it again; a store that still waits for its answer is a copy.
    #[error("turn {shown} was answered before")]
    Late {
        /// What it says.
        shown: u64,
    },
    /// A turn that was never given: the store is not at fault. Who gives turns writes each down before it answers, so the hub has forgotten it.
    #[error("turn {shown} was never given here; {given} was given last")]
    Ahead {
        /// What it says.
        shown: u64,
        /// The hub's last.
        given: u64,
    },
    /// Somebody else used its turn.
    #[error("turn {shown} was used by another copy of the store; {given} was given last")]
    Copied {
        /// What it says.
        shown: u64,
        /// The hub's last.
        given: u64,
    },
}

/// One epoch of a store at the hub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tenure {
    /// Which.
    pub epoch: Epoch,
    /// Whether it is lived.
    pub standing: Standing,
    /// The end of the journal as it was heard last.
    pub heard: Head,
    /// Whose turn it is.
    pub ratchet: Ratchet,
}

impl Tenure {
    /// A new epoch.
    #[must_use]
    pub fn mint(epoch: Epoch) -> Self {
        Self { epoch, standing: Standing::Living, heard: Head::START, ratchet: Ratchet::default() }
    }

    /// Judges a hello. `recovers` says that the hub was restored and may know less than the store. Gives the tenure as it is to be kept before the turn
    /// in it is answered.
    ///
    /// # Errors
    /// [`NotContinuous`]: nothing changed.
    pub fn greet(&self, care: &impl Care, greeting: &Greeting, recovers: bool) -> Result<Self, NotContinuous> {
        if greeting.epoch != self.epoch || self.standing != Standing::Living {
            return Err(NotContinuous::NotLiving { shown: greeting.epoch, living: self.epoch });
        }
        let (given, shown, nonce) = (self.ratchet.turn, greeting.turn, greeting.nonce);
        let next = || self.ratchet.turned(shown, nonce);
        let ratchet = match self.ratchet.shows(shown, nonce) {
            Shows::Next => next(),
            Shows::Again => self.ratchet.clone(),
            Shows::Late => return Err(NotContinuous::Late { shown }),
            // A restored hub has forgotten the last turns that it gave.
            Shows::Ahead if recovers => next(),
            Shows::Ahead | Shows::Copy if !care.keeps(Rule::RatchetTurnsOnce) => next(),
            Shows::Ahead => return Err(NotContinuous::Ahead { shown, given }),
            Shows::Copy => return Err(NotContinuous::Copied { shown, given }),
        };
        Ok(Self { ratchet, ..self.clone() })
    }
}

/// What a life of the hub has told a store to be on its disk. A hub of that life that has less was put back from a backup, and nobody told it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assured {
    /// The journal up to here.
    pub journal: Head,
    /// Reports up to this entry.
    pub reported: Head,
}

impl Assured {
    /// Nothing yet.
    pub const NOTHING: Self = Self { journal: Head::START, reported: Head::START };
}

/// What a hub has forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Forgotten {
    /// A part of the journal, or all of it that it acknowledged is another one.
    #[error("it had acknowledged the store's journal up to entry {0}, and does not hold that entry")]
    Journal(Seq),
    /// Reports.
    #[error("it had taken the store's reports up to entry {told}, and has heard of it up to entry {heard}")]
    Reports {
        /// What it had said.
        told: Seq,
        /// What it knows.
        heard: Seq,
    },
}

/// Whether a hub has less of a living epoch than the same life of it had said. `held` is the hash that it holds where the assured journal ends; nothing
/// when its journal ends before.
#[must_use]
pub fn forgotten(assured: &Assured, held: Option<Hash>, heard: Seq) -> Option<Forgotten> {
    if held != Some(assured.journal.hash) {
        return Some(Forgotten::Journal(assured.journal.seq));
    }
    let told = assured.reported.seq;
    (heard < told).then_some(Forgotten::Reports { told, heard })
}

/// What who brings the journal of an epoch that ended says of the entry up to which the hub had heard that epoch. Two databases may bear the same epoch: the
/// true one, and a backup that was put back and went another way from an earlier entry on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeardEntry {
    /// Nothing yet: it does not know how far that is.
    #[default]
    Unsaid,
    /// The journal contains it.
    Contained(Head),
    /// The journal does not contain it, and a person says that the database which does is lost for good.
    Lost,
}

impl HeardEntry {
    /// Whether nothing is said.
    #[must_use]
    pub const fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid)
    }

    /// Whether entries may be added to an ended epoch's journal that is held up to a position, when the epoch was heard up to `heard`. Once the heard entry
    /// is held, the chain alone decides.
    #[must_use]
    pub fn may_add(&self, heard: &Head, held: Seq) -> bool {
        heard.seq <= held
            || match self {
                Self::Unsaid => false,
                Self::Contained(entry) => entry == heard,
                Self::Lost => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allotment::rule::Sound;

    #[test]
    fn the_journal_of_an_ended_epoch_shows_the_entry_that_was_heard_or_a_person_says_that_it_is_lost() {
        let at = |seq, byte| Head { seq: Seq(seq), hash: crate::id::Hash([byte; 32]) };
        let heard = at(200, 1);
        for (says, may) in [
            (HeardEntry::Unsaid, false),
            (HeardEntry::Contained(at(200, 2)), false),
            (HeardEntry::Contained(at(199, 1)), false),
            (HeardEntry::Contained(heard), true),
            (HeardEntry::Lost, true),
        ] {
            assert_eq!(says.may_add(&heard, Seq(199)), may, "{says:?}");
            assert!(says.may_add(&heard, Seq(200)), "{says:?}: it is held");
        }
    }

    #[test]
    fn a_hub_with_less_than_it_had_said_has_forgotten() {
        let at = |seq, byte| Head { seq: Seq(seq), hash: Hash([byte; 32]) };
        let assured = Assured { journal: at(5, 1), reported: at(9, 2) };
        assert_eq!(forgotten(&assured, Some(Hash([1; 32])), Seq(9)), None);
        assert_eq!(forgotten(&assured, Some(Hash([1; 32])), Seq(12)), None, "other messages came later");
        assert_eq!(forgotten(&assured, None, Seq(9)), Some(Forgotten::Journal(Seq(5))));
        assert_eq!(forgotten(&assured, Some(Hash([3; 32])), Seq(9)), Some(Forgotten::Journal(Seq(5))));
        let lost = Forgotten::Reports { told: Seq(9), heard: Seq(8) };
        assert_eq!(forgotten(&assured, Some(Hash([1; 32])), Seq(8)), Some(lost));
        assert_eq!(forgotten(&Assured::NOTHING, Some(Hash::ZERO), Seq::ZERO), None, "nothing was said yet");
    }

    fn greeting(turn: u64, nonce: u64) -> Greeting {
        Greeting { epoch: Epoch(1), turn, nonce }
    }

    #[test]
    fn a_lost_answer_is_repeated_and_a_second_user_of_a_turn_is_a_copy() {
        let start = Tenure::mint(Epoch(1));
        let first = start.greet(&Sound, &greeting(0, 71), false).unwrap();
        assert_eq!(first.ratchet.turn, 1);
        assert_eq!(first.greet(&Sound, &greeting(0, 71), false), Ok(first.clone()));
        assert_eq!(first.ratchet.turn, 1);
        let copy = first.greet(&Sound, &greeting(0, 99), false);
        assert_eq!(copy, Err(NotContinuous::Copied { shown: 0, given: 1 }));
        let second = first.greet(&Sound, &greeting(1, 72), false).unwrap();
        assert_eq!(second.ratchet.turn, 2);
        let late = second.greet(&Sound, &greeting(0, 71), false);
        assert_eq!(late, Err(NotContinuous::Late { shown: 0 }), "the network brings the first hello again");
        assert!(matches!(
            second.greet(&Sound, &greeting(0, 99), false),
            Err(NotContinuous::Copied { shown: 0, given: 2 })
        ));
        let ahead = second.greet(&Sound, &greeting(7, 73), false);
        assert_eq!(ahead, Err(NotContinuous::Ahead { shown: 7, given: 2 }), "the hub forgot; the store is no copy");
        // A hub that was restored follows the store.
        assert_eq!(first.greet(&Sound, &greeting(7, 73), true).unwrap().ratchet.turn, 8);
    }

    #[test]
    fn an_epoch_that_ended_is_not_heard() {
        let fenced = Tenure { standing: Standing::Fenced, ..Tenure::mint(Epoch(1)) };
        let ended = fenced.greet(&Sound, &greeting(0, 1), false);
        assert_eq!(ended, Err(NotContinuous::NotLiving { shown: Epoch(1), living: Epoch(1) }));
        let next = Tenure::mint(Epoch(2)).greet(&Sound, &greeting(0, 1), false);
        assert_eq!(next, Err(NotContinuous::NotLiving { shown: Epoch(1), living: Epoch(2) }));
    }
}
