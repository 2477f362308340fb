//! Told: whether a store has told a life of the hub everything that it holds.
//!
//! A store reports what changed since the hub last took a report, in parts: each says after which change it begins and through which it tells. A hub that
//! was restored has forgotten what it was told before, so it stops waiting for an epoch only when parts follow one another without gap from the first
//! change to the end, none refused. The run may be told over several sessions of the same life: a store continues only from what it, or the database that
//! it was copied from, was told to be taken in this life. Both sides keep a [`Told`]: the hub of what it took, the store of what it knows to be taken.
//!
//! Deliberately not here: which changes there are, and what the counters in a part mean (`HubSide`). Invariant: a run is whole only when for every change
//! up to its end there was a part that told it.

use serde::{Deserialize, Serialize};

use super::rule::{Care, Rule};

/// One part of what a store tells, as far as its place goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// The hub's life that took it.
    pub life: u64,
    /// The change after which it begins; 0 when it begins with everything.
    pub since_no: u64,
    /// The change up to which it tells.
    pub through_no: u64,
    /// Whether nothing was left for another part when it was made: it was not cut at the most lines that a report may have. Only a part that begins with what
    /// the store knows to be taken may say so: of one that was sent ahead, a line of the part before may have moved on by the time that part is told again, and
    /// then neither tells it.
    pub is_last: bool,
    /// Whether any line of it was refused: what it says is not known then.
    pub is_refused: bool,
}

/// How far a life of the hub was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// The life.
    pub life: u64,
    /// Every change up to this one was told.
    pub through_no: u64,
    /// Whether everything was told once. It stays so for this life.
    pub is_whole: bool,
}

impl Told {
    /// Nothing was told yet.
    #[must_use]
    pub const fn begin(life: u64) -> Self {
        Self { life, through_no: 0, is_whole: false }
    }

    /// After a life of the hub was met: what was told to an earlier one counts for nothing.
    #[must_use]
    pub fn met(&self, care: &impl Care, life: u64) -> Self {
        if life > self.life && care.keeps(Rule::ToldPerLife) { Self::begin(life) } else { *self }
    }

    /// Whether a part begins after what was told, so that something between is left out. A hub that waits must not answer such a part as taken: the store
    /// would go on from its end.
    #[must_use]
    pub fn misses_before(&self, care: &impl Care, part: &Part) -> bool {
        let before = self.met(care, part.life);
        let rule = if before.through_no == 0 { Rule::RunFromStart } else { Rule::RunWithoutGap };
        part.since_no > before.through_no && care.keeps(rule)
    }

    /// After a part was taken. One that does not reach back to what was told before says nothing, nor does one that was refused or taken by an earlier life:
    /// the store has to tell again from `through_no`.
    #[must_use]
    pub fn step(&self, care: &impl Care, part: &Part) -> Self {
        let before = self.met(care, part.life);
        let is_of_life = part.life == before.life || !care.keeps(Rule::ToldPerLife);
        let is_refused = part.is_refused && care.keeps(Rule::RefusedIsUntold);
        if !is_of_life || is_refused || part.through_no < part.since_no || before.misses_before(care, part) {
            return before;
        }
        Self { through_no: before.through_no.max(part.through_no), is_whole: before.is_whole || part.is_last, ..before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allotment::rule::Sound;

    const LIFE: u64 = 2;

    fn part(since_no: u64, through_no: u64) -> Part {
        Part { life: LIFE, since_no, through_no, is_last: false, is_refused: false }
    }

    fn last(since_no: u64, through_no: u64) -> Part {
        Part { is_last: true, ..part(since_no, through_no) }
    }

    fn told(parts: &[Part]) -> (u64, bool) {
        let told = parts.iter().fold(Told::begin(LIFE), |told, part| told.step(&Sound, part));
        (told.through_no, told.is_whole)
    }

    #[test]
    fn parts_without_gap_from_the_first_change_to_the_end_have_told_everything() {
        assert_eq!(told(&[part(0, 3), part(3, 6), last(6, 8)]), (8, true));
        assert_eq!(told(&[last(0, 0)]), (0, true), "a store in which nothing ever moved");
        assert_eq!(told(&[part(0, 3), part(0, 3), part(2, 6), part(0, 3), last(6, 8)]), (8, true), "doubled and late");
        assert_eq!(told(&[last(0, 8), part(8, 9)]), (9, true), "what comes later is told by the day");
    }

    #[test]
    fn a_part_that_leaves_something_out_tells_nothing() {
        assert_eq!(told(&[last(6, 8)]), (0, false), "what changed since an earlier life was told");
        assert_eq!(told(&[part(0, 3), last(6, 8)]), (3, false), "the part between is lost");
        let begun = Told::begin(LIFE).step(&Sound, &part(0, 3));
        assert!(begun.misses_before(&Sound, &part(6, 8)) && !begun.misses_before(&Sound, &part(3, 6)));
        assert_eq!(told(&[last(3, 6), part(0, 3)]), (3, false), "the end came first: it is told again");
        assert_eq!(told(&[part(0, 3), Part { is_refused: true, ..part(3, 6) }, last(6, 8)]), (3, false));
        assert_eq!(told(&[Part { is_refused: true, ..last(0, 8) }]), (0, false));
        assert_eq!(told(&[part(0, 3), last(2, 1)]), (3, false), "it ends before it begins");
    }

    #[test]
    fn what_another_life_of_the_hub_was_told_counts_for_nothing() {
        let before = [part(0, 3), last(3, 8)].iter().fold(Told::begin(LIFE), |told, part| told.step(&Sound, part));
        assert_eq!(before.met(&Sound, LIFE + 1), Told::begin(LIFE + 1));
        assert_eq!(before.step(&Sound, &Part { life: LIFE + 1, ..last(8, 9) }), Told::begin(LIFE + 1));
        let late = Part { life: LIFE - 1, ..last(0, 9) };
        assert_eq!(Told::begin(LIFE).step(&Sound, &late), Told::begin(LIFE));
    }
}
