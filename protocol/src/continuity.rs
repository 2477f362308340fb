//! Continuity: whether a store's database is still the one that answered its tills.
//!
//! A restored backup has forgotten spends that tills were told of, and would spend the same value again. No rule of arithmetic sees that, nor does the
//! hub when the store was offline. But each answer carries the journal's end, and tills bring the highest one back: a journal that does not contain
//! it is not the one that gave it. Since any till may be the one that saw most, **every** till has to show its witness after each start, before value
//! moves, is released or is reported; and the hub how far it heard the store, as no till may have seen what the hub was told. Who forgot stays so until
//! head office gives the store a new epoch.
//!
//! Deliberately not here: where the journal is kept, and who the tills are.

use std::collections::BTreeSet;

use crate::allotment::rule::{Care, Rule};
use crate::id::{Hash, Seq};
use crate::journal::Head;
use crate::till::Witness;

/// How a journal does not contain what a till saw of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Break {
    /// The till has seen an epoch that the journal has not come to.
    Epoch,
    /// The till has seen a position after the journal's end.
    Ahead,
    /// The journal has another entry there.
    Differs,
}

/// What a witness says of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Seen {
    /// The journal contains it, or is of a later epoch.
    Inside,
    /// It does not.
    Broken(Break),
}

/// Compares a journal with what a till saw of it. `hash_at` gives the hash of a position of the journal up to its end.
///
/// # Errors
/// What `hash_at` gives.
pub fn compare<E>(
    care: &impl Care,
    own: &Witness,
    shown: &Witness,
    hash_at: impl FnOnce(Seq) -> Result<Option<Hash>, E>,
) -> Result<Seen, E> {
    if shown.epoch != own.epoch {
        // Only head office mints epochs, so a higher one says that this journal is an old copy; an earlier one was ended, with all that was in it.
        return Ok(if shown.epoch < own.epoch { Seen::Inside } else { Seen::Broken(Break::Epoch) });
    }
    if shown.head.seq > own.head.seq {
        return Ok(Seen::Broken(Break::Ahead));
    }
    if !care.keeps(Rule::WitnessHasHash) {
        return Ok(Seen::Inside);
    }
    let own_hash = match shown.head.seq {
        Seq::ZERO => Some(Head::START.hash),
        seq if seq == own.head.seq => Some(own.head.hash),
        seq => hash_at(seq)?,
    };
    Ok(if own_hash == Some(shown.head.hash) { Seen::Inside } else { Seen::Broken(Break::Differs) })
}

/// Who is wrong when a hub says that it holds a journal which the store's own does not contain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Contradiction {
    /// There are two databases: another copy of this one brought the entries, or this one was put back and has forgotten them.
    Copy,
    /// The hub, which says something else than it said before.
    Hub,
}

/// Who is wrong. `acknowledged` is the end of what the hub acknowledged of this very journal in the same life, `held` the end of what it says that it holds,
/// which contradicts the journal or is beyond its end.
///
/// A hub that was put back holds less, and a beginning of the journal contradicts nothing. Entries that are held never change: a hub that acknowledged this
/// journal beyond the position where it now has something else has a fault of its own, and every store will find it so. That stops nobody's value. Of what no
/// hub acknowledged here, the store cannot tell a hub's fault from a copy's entries; then value stops, as a quarantine too many costs an enrolment, and a
/// copy that nobody sees costs what both hold.
#[must_use]
pub const fn contradiction(acknowledged: Seq, held: Seq) -> Contradiction {
    if held.0 <= acknowledged.0 { Contradiction::Hub } else { Contradiction::Copy }
}

/// What a running store knows of its own continuity. `T` names who proves it: a till, or the hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Continuity<T> {
    /// These have not shown how far they saw the journal since the start.
    Unproved(BTreeSet<T>),
    /// All have: the journal contains all that anybody was told.
    Proved,
    /// The journal has forgotten something.
    Broken(Break),
}

impl<T: Copy + Ord> Continuity<T> {
    /// At the start of the process, with whoever may have been answered before.
    #[must_use]
    pub fn begin(tills: impl IntoIterator<Item = T>) -> Self {
        Self::proved_by(tills.into_iter().collect())
    }

    fn proved_by(waiting: BTreeSet<T>) -> Self {
        if waiting.is_empty() { Self::Proved } else { Self::Unproved(waiting) }
    }

    /// A till showed its witness, or said that it never had one.
    #[must_use]
    pub fn shown(self, care: &impl Care, till: T, seen: Seen) -> Self {
        match (self, seen) {
            (Self::Broken(first), _) => Self::Broken(first),
            (known, Seen::Broken(broken)) => {
                if care.keeps(Rule::WitnessIsHeard) {
                    Self::Broken(broken)
                } else {
                    known.without(care, till)
                }
            }
            (known, Seen::Inside) => known.without(care, till),
        }
    }

    /// A till is gone for good, and a person answers for what it may have been told.
    #[must_use]
    pub fn excused(self, care: &impl Care, till: T) -> Self {
        self.without(care, till)
    }

    fn without(self, care: &impl Care, till: T) -> Self {
        match self {
            Self::Unproved(mut waiting) => {
                waiting.remove(&till);
                if care.keeps(Rule::EveryTillProves) { Self::proved_by(waiting) } else { Self::Proved }
            }
            other => other,
        }
    }

    /// Whether value may be spent, released and reported.
    #[must_use]
    pub const fn may_move_value(&self) -> bool {
        matches!(self, Self::Proved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allotment::rule::Sound;
    use crate::id::Epoch;

    fn chain(entries: &[&str]) -> Vec<Head> {
        let push = |head: &mut Head, entry: &&str| {
            *head = head.push(entry.as_bytes());
            Some(*head)
        };
        entries.iter().scan(Head::START, push).collect()
    }

    fn seen(own: &[&str], epoch: u32, shown: Head) -> Seen {
        let heads = chain(own);
        let own = Witness { epoch: Epoch(2), head: heads.last().copied().unwrap_or(Head::START) };
        let shown = Witness { epoch: Epoch(epoch), head: shown };
        let hash_at = |seq: Seq| Ok::<_, ()>(heads.iter().find(|head| head.seq == seq).map(|head| head.hash));
        compare(&Sound, &own, &shown, hash_at).unwrap()
    }

    #[test]
    fn a_journal_that_forgot_or_went_another_way_does_not_contain_what_a_till_saw() {
        let told = chain(&["sale", "sale 2", "sale 3"]);
        assert_eq!(seen(&["sale", "sale 2", "sale 3"], 2, told[1]), Seen::Inside);
        assert_eq!(seen(&["sale", "sale 2", "sale 3"], 2, told[2]), Seen::Inside);
        assert_eq!(seen(&["sale"], 2, told[2]), Seen::Broken(Break::Ahead));
        // Restored, and then counted up again by other sales.
        assert_eq!(seen(&["sale", "x", "y"], 2, told[2]), Seen::Broken(Break::Differs));
        assert_eq!(seen(&["sale", "x", "y", "z"], 2, told[1]), Seen::Broken(Break::Differs));
        assert_eq!(seen(&["sale"], 2, Head::START), Seen::Inside, "a till that saw the empty journal");
        assert_eq!(seen(&["sale"], 3, told[0]), Seen::Broken(Break::Epoch));
        assert_eq!(seen(&["x"], 1, told[2]), Seen::Inside, "what an epoch before this one was told counts no more");
    }

    #[test]
    fn a_hub_that_unsays_what_it_acknowledged_proves_no_copy() {
        assert_eq!(contradiction(Seq(5), Seq(5)), Contradiction::Hub);
        assert_eq!(contradiction(Seq(5), Seq(1)), Contradiction::Hub);
        assert_eq!(contradiction(Seq(5), Seq(6)), Contradiction::Copy);
        assert_eq!(contradiction(Seq::ZERO, Seq(1)), Contradiction::Copy, "nothing was acknowledged yet");
    }

    #[test]
    fn value_waits_for_the_last_till_and_a_break_stays() {
        let start = Continuity::begin([1, 2]);
        let one = start.shown(&Sound, 1, Seen::Inside);
        assert!(!one.may_move_value());
        assert!(one.clone().shown(&Sound, 2, Seen::Inside).may_move_value());
        assert!(one.clone().excused(&Sound, 2).may_move_value());
        let broken = one.shown(&Sound, 2, Seen::Broken(Break::Ahead));
        assert_eq!(broken.shown(&Sound, 2, Seen::Inside), Continuity::Broken(Break::Ahead));
        assert!(Continuity::<u8>::begin([]).may_move_value());
    }
}
