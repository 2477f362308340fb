//! Debt: what an account owes the group's risk account for what it overdrew, and what of the budget may be lent beside it.
//!
//! Head office folds the movements that name who owes in the order in which it learnt of them. What is lent, reported and granted is `allotment`'s; here is
//! only what a debt comes to. Invariant: while nothing is lent beyond [`Reserve::lendable`], all that accounts owe together is at most the budget, and
//! [`Standing::exposure`] is never less than what they owe with what stores could still lend. The proof: `pool + lines + drawn − back − collected` is the
//! budget, so that the debts are within it when the pool holds what was collected and is not owed any more. What comes back at a store is released in the same
//! transaction ([`given_back`]), so it is in the pool, or on its way there, and nobody's line. The simulator keeps its books with this too, so that a rule
//! which is taken away here is missed there.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::allotment::rule::{Care, Rule, Sound};
use crate::allotment::{Pool, Purse, StoreCounters};
use crate::id::{Epoch, Seq, StoreId};
use crate::movement::{Movement, MovementKind};

/// What became of an account's overdrafts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Debt {
    /// Overdrawn at stores.
    pub drawn_minor: i64,
    /// Goods that came back, and sales undone.
    pub back_minor: i64,
    /// Taken off the account.
    pub recovered_minor: i64,
    /// Given back to the account, as it was taken too much.
    pub released_minor: i64,
    /// Given up by finance, and nothing made it good since.
    pub written_off_minor: i64,
}

impl Debt {
    fn due_minor(&self) -> i64 {
        self.drawn_minor.saturating_sub(self.back_minor).max(0)
    }

    fn collected_minor(&self) -> i64 {
        self.recovered_minor.saturating_sub(self.released_minor).max(0)
    }

    /// What is still owed.
    #[must_use]
    pub fn owed_minor(&self) -> i64 {
        self.due_minor().saturating_sub(self.collected_minor()).saturating_sub(self.written_off_minor).max(0)
    }

    /// What was collected and is not owed, as goods came back since.
    #[must_use]
    pub fn excess_minor(&self) -> i64 {
        self.collected_minor().saturating_sub(self.due_minor()).max(0)
    }

    /// Whether anything is owed, to be given back, or given up.
    #[must_use]
    pub fn is_open(&self) -> bool {
        (self.owed_minor(), self.excess_minor(), self.written_off_minor) != (0, 0, 0)
    }

    fn add(&mut self, kind: MovementKind, amount_minor: i64) {
        let sum = match kind {
            MovementKind::Overdraft => &mut self.drawn_minor,
            MovementKind::OverdraftBack => &mut self.back_minor,
            MovementKind::OverdraftRecovered => &mut self.recovered_minor,
            MovementKind::OverdraftReleased => &mut self.released_minor,
            MovementKind::OverdraftWrittenOff => &mut self.written_off_minor,
            // The other side of what was given up.
            _ => return,
        };
        *sum = sum.saturating_add(amount_minor);
        // What comes back makes good what was given up, first of all: what is overdrawn after that nobody gave up.
        let open_minor = self.due_minor().saturating_sub(self.collected_minor()).max(0);
        self.written_off_minor = self.written_off_minor.min(open_minor);
    }
}

/// What an account overdrew in one epoch of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtStore {
    /// Where.
    pub place: (StoreId, Epoch),
    /// What was drawn.
    pub drawn_minor: i64,
    /// What of it came back.
    pub back_minor: i64,
}

impl AtStore {
    /// What was drawn there and did not come back.
    #[must_use]
    pub const fn net_minor(&self) -> i64 {
        self.drawn_minor.saturating_sub(self.back_minor)
    }
}

/// An account's debt, and where it came about, the first place first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owing {
    /// What it comes to.
    pub debt: Debt,
    /// Where.
    pub stores: Vec<AtStore>,
}

impl Owing {
    /// Adds what a movement did, in the order in which head office learnt of them. More than was drawn at a place cannot come back there, and does not count:
    /// it would be the debt of another place.
    pub fn add(&mut self, place: (StoreId, Epoch), kind: MovementKind, amount_minor: i64) {
        let mut counted_minor = amount_minor;
        if matches!(kind, MovementKind::Overdraft | MovementKind::OverdraftBack) {
            let at = self.stores.iter().position(|known| known.place == place).unwrap_or_else(|| {
                self.stores.push(AtStore { place, drawn_minor: 0, back_minor: 0 });
                self.stores.len() - 1
            });
            let at = &mut self.stores[at];
            if kind == MovementKind::Overdraft {
                at.drawn_minor = at.drawn_minor.saturating_add(amount_minor);
            } else {
                counted_minor = amount_minor.min(at.net_minor());
                at.back_minor = at.back_minor.saturating_add(counted_minor);
            }
        }
        self.debt.add(kind, counted_minor);
    }

    /// Adds what head office posted.
    pub fn note(&mut self, posting: Posting) {
        posting.kinds().into_iter().for_each(|kind| self.debt.add(kind, posting.amount_minor()));
    }

    /// What may be taken off the account now: what it owes, but for what was drawn where the reports say too little of it.
    #[must_use]
    pub fn collectable_minor(&self, is_backed: impl Fn((StoreId, Epoch)) -> bool) -> i64 {
        let unbacked = self.stores.iter().filter(|at| !is_backed(at.place));
        let unbacked_minor = unbacked.fold(0_i64, |sum, at| sum.saturating_add(at.net_minor()));
        self.debt.owed_minor().saturating_sub(unbacked_minor).max(0)
    }

    /// What may be given back to the account now: what was collected too much, once the reports say that it came back.
    #[must_use]
    pub fn returnable_minor(&self, is_backed: impl Fn((StoreId, Epoch)) -> bool) -> i64 {
        if self.stores.iter().all(|at| is_backed(at.place)) { self.debt.excess_minor() } else { 0 }
    }

    /// What is to be posted of it now, pools aside. `has_read_all` says whether head office has again all that it ever read ([`is_read_again`]): before it gives
    /// nothing back, as what it has forgotten may be owed.
    #[must_use]
    pub fn due(&self, is_backed: impl Fn((StoreId, Epoch)) -> bool, has_read_all: bool) -> Option<Posting> {
        let collectable_minor = self.collectable_minor(&is_backed);
        if collectable_minor > 0 {
            return Some(Posting::Collect { amount_minor: collectable_minor });
        }
        let returnable_minor = if has_read_all { self.returnable_minor(is_backed) } else { 0 };
        (returnable_minor > 0).then_some(Posting::Return { amount_minor: returnable_minor })
    }
}

/// What head office posts about a debt, in one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Posting {
    /// Taken off the account, onto the risk account.
    Collect {
        /// Above zero.
        amount_minor: i64,
    },
    /// Given back to the account.
    Return {
        /// Above zero.
        amount_minor: i64,
    },
    /// Given up: the debt is made good, and the budget is smaller by it.
    WriteOff {
        /// Above zero.
        amount_minor: i64,
    },
}

impl Posting {
    /// How much.
    #[must_use]
    pub const fn amount_minor(self) -> i64 {
        match self {
            Self::Collect { amount_minor } | Self::Return { amount_minor } | Self::WriteOff { amount_minor } => {
                amount_minor
            }
        }
    }

    /// The kinds of its movements, in their order; on which account each is its kind says ([`MovementKind::is_of_risk_account`]).
    #[must_use]
    pub const fn kinds(self) -> [MovementKind; 2] {
        match self {
            Self::Collect { .. } => [MovementKind::OverdraftCollected, MovementKind::OverdraftRecovered],
            Self::Return { .. } => [MovementKind::OverdraftReleased, MovementKind::OverdraftReturned],
            Self::WriteOff { .. } => [MovementKind::OverdraftWrittenOff, MovementKind::OverdraftLost],
        }
    }

    /// As much of it as the pool has that it takes from, the one of its first movement; nothing when there is none.
    #[must_use]
    pub fn within(self, from: &Pool) -> Option<Self> {
        let most_minor = |amount_minor: i64| amount_minor.min(from.free_minor());
        let within = match self {
            Self::Collect { amount_minor } => Self::Collect { amount_minor: most_minor(amount_minor) },
            Self::Return { amount_minor } => Self::Return { amount_minor: most_minor(amount_minor) },
            // It makes good before it is lost.
            Self::WriteOff { .. } => self,
        };
        (within.amount_minor() > 0).then_some(within)
    }
}

/// Whether a hub has again of a living epoch's journal what it ever had. `held` is its end at the hub; `reread` where it was when the epoch had told a
/// restored hub everything, which is not before where an earlier life had read to. Of an epoch that ended nobody may ever bring it, so nobody waits for it.
#[must_use]
pub fn is_read_again(care: &impl Care, held: Seq, reread: Seq) -> bool {
    held >= reread || !care.keeps(Rule::ExcessByWholeJournal)
}

/// Whether a store's counters of the risk account can be right: its line is only ever loaded by what was drawn from it and came back, and that is released at
/// once. Others would be budget that nobody set.
#[must_use]
pub fn is_sound_line(care: &impl Care, counters: &StoreCounters) -> bool {
    let is_released = counters.loaded_minor <= counters.released_minor || !care.keeps(Rule::LineIsLent);
    is_sound_so_far(care, counters) && is_released
}

/// As [`is_sound_line`], of a journal that ends anywhere: the release is the entry after what came back, and until it arrives the value is still there.
#[must_use]
pub fn is_sound_so_far(care: &impl Care, counters: &StoreCounters) -> bool {
    counters.loaded_minor <= counters.spent_minor || !care.keeps(Rule::LineIsLent)
}

/// Whether what the journal of a store has of its line is within what the store reported: what it says beyond nobody lent.
#[must_use]
pub const fn is_backed(reported: &StoreCounters, journal: &StoreCounters) -> bool {
    let (net_minor, lent_minor) = (
        journal.spent_minor.saturating_sub(journal.loaded_minor),
        reported.spent_minor.saturating_sub(reported.loaded_minor),
    );
    net_minor <= lent_minor && journal.loaded_minor <= reported.loaded_minor
}

/// What movements give back to the lines of a store: it goes to head office in the same transaction. Head office may have collected what was drawn and lent it to another
/// store; a line that rose again would be the same money twice.
#[must_use]
pub fn given_back(care: &impl Care, movements: &[Movement]) -> Vec<(Purse, i64)> {
    if !care.keeps(Rule::BackIsReleased) {
        return Vec::new();
    }
    let mut sums: BTreeMap<Purse, i64> = BTreeMap::new();
    for movement in movements.iter().filter(|movement| movement.kind == MovementKind::OverdraftBack) {
        let sum = sums.entry(Purse { account: movement.account, unit: movement.unit }).or_default();
        *sum = sum.saturating_add(movement.amount_minor);
    }
    sums.into_iter().collect()
}

/// What of the pool is not to be lent: it goes back to accounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reserve {
    /// Collected and not owed any more, by the journals.
    pub excess_minor: i64,
    /// What came back by the reports and stands in no journal that has arrived: it may be of what was collected.
    pub unexplained_minor: i64,
}

impl Reserve {
    /// Adds a debt.
    pub fn owe(&mut self, debt: &Debt) {
        self.excess_minor = self.excess_minor.saturating_add(debt.excess_minor());
    }

    /// Adds a line, with what its journal has of it.
    pub fn report(&mut self, reported: &StoreCounters, journal: &StoreCounters) {
        let unexplained_minor = reported.loaded_minor.saturating_sub(journal.loaded_minor).max(0);
        self.unexplained_minor = self.unexplained_minor.saturating_add(unexplained_minor);
    }

    /// All of it.
    #[must_use]
    pub const fn sum_minor(&self) -> i64 {
        self.excess_minor.saturating_add(self.unexplained_minor)
    }

    /// What of the pool may be lent, or taken from the budget.
    #[must_use]
    pub fn lendable(&self, free: i128) -> i128 {
        self.lendable_with(&Sound, free)
    }

    /// As [`Self::lendable`], for a simulation that takes a rule away.
    #[must_use]
    pub fn lendable_with(&self, care: &impl Care, free: i128) -> i128 {
        let kept = |rule, minor| if care.keeps(rule) { i128::from(minor) } else { 0 };
        free - kept(Rule::ExcessIsKept, self.excess_minor) - kept(Rule::UnreadBackIsKept, self.unexplained_minor)
    }
}

/// How the risk account stands, by reports and head office's own journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Drawn less what came back, over all lines.
    pub used: i128,
    /// What lines could still be drawn by, those of ended epochs too: nobody knows how far they were.
    pub left: i128,
    /// Collected less what was given back.
    pub recovered: i128,
    /// What is kept in the pool.
    pub reserve: Reserve,
    /// What is in the pool and may be with stores all the same, as a restored hub has forgotten what it granted; else nothing.
    pub unsure: i128,
}

impl Standing {
    /// What could still be drawn, whatever stores do before they are heard again.
    #[must_use]
    pub fn drawable(&self) -> i128 {
        self.left + self.unsure.max(0)
    }

    /// What is drawn and not recovered, given up or not, with what could still be drawn. What was taken too much from one account pays for no other's debt.
    #[must_use]
    pub fn exposure(&self) -> i128 {
        let kept = i128::from(self.reserve.sum_minor());
        (self.used - self.recovered + kept).max(0) + self.drawable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(store: &str) -> (StoreId, Epoch) {
        (store.parse().unwrap(), Epoch(1))
    }

    fn owing(movements: &[(&str, MovementKind, i64)]) -> Owing {
        let mut owing = Owing::default();
        for &(store, kind, amount_minor) in movements {
            owing.add(at(store), kind, amount_minor);
        }
        owing
    }

    const DRAWN: MovementKind = MovementKind::Overdraft;
    const BACK: MovementKind = MovementKind::OverdraftBack;
    const RECOVERED: MovementKind = MovementKind::OverdraftRecovered;
    const RELEASED: MovementKind = MovementKind::OverdraftReleased;
    const WRITTEN_OFF: MovementKind = MovementKind::OverdraftWrittenOff;

    #[track_caller]
    fn check(movements: &[(&str, MovementKind, i64)], owed_minor: i64, excess_minor: i64, given_up_minor: i64) {
        let debt = owing(movements).debt;
        assert_eq!(
            (debt.owed_minor(), debt.excess_minor(), debt.written_off_minor),
            (owed_minor, excess_minor, given_up_minor),
            "owed, excess, given up"
        );
    }

    #[test]
    fn what_was_given_up_once_is_not_given_up_for_ever() {
        let given_up = [("S1", DRAWN, 100), ("HUB", WRITTEN_OFF, 100)];
        check(&given_up, 0, 0, 100);
        let made_good = [&given_up[..], &[("S1", BACK, 100)]].concat();
        check(&made_good, 0, 0, 0);
        check(&[&made_good[..], &[("S1", DRAWN, 100)]].concat(), 100, 0, 0);
        // What was collected before counts: goods that come back make good what was given up before they make anything too much.
        let in_part = [("S1", DRAWN, 100), ("HUB", RECOVERED, 60), ("HUB", WRITTEN_OFF, 40), ("S1", BACK, 30)];
        check(&in_part, 0, 0, 10);
        let all = [&in_part[..], &[("S1", BACK, 70)]].concat();
        check(&all, 0, 60, 0);
        let given_back = [&all[..], &[("HUB", RELEASED, 60)]].concat();
        check(&given_back, 0, 0, 0);
        check(&[&given_back[..], &[("S2", DRAWN, 5)]].concat(), 5, 0, 0);
    }

    #[test]
    fn what_comes_back_at_one_store_pays_no_debt_of_another() {
        check(&[("S1", DRAWN, 100), ("S2", BACK, 100)], 100, 0, 0);
        check(&[("S1", DRAWN, 100), ("S2", DRAWN, 30), ("S2", BACK, 100)], 100, 0, 0);
    }

    #[test]
    fn only_what_the_reports_back_is_taken_or_given_back() {
        let two = owing(&[("S1", DRAWN, 100), ("S2", DRAWN, 30)]);
        let heard = |store: &'static str| move |place| place == at(store);
        assert_eq!(two.collectable_minor(|_| true), 130);
        assert_eq!((two.collectable_minor(heard("S1")), two.collectable_minor(heard("S2"))), (100, 30));
        let too_much = owing(&[("S1", DRAWN, 100), ("HUB", RECOVERED, 100), ("S1", BACK, 100)]);
        assert_eq!((too_much.returnable_minor(|_| true), too_much.returnable_minor(|_| false)), (100, 0));
        let counters =
            |spent_minor, loaded_minor| StoreCounters { spent_minor, loaded_minor, ..StoreCounters::default() };
        assert!(is_backed(&counters(100, 0), &counters(100, 0)) && is_backed(&counters(300, 50), &counters(100, 0)));
        assert!(!is_backed(&counters(100, 0), &counters(101, 0)), "more than was lent");
        assert!(!is_backed(&counters(100, 100), &counters(100, 0)), "what came back is not owed");
        assert!(!is_backed(&counters(100, 0), &counters(100, 1)), "what came back must be in the pool first");
    }

    #[test]
    fn what_is_posted_is_at_most_what_is_there_and_nothing_goes_back_before_all_was_read_again() {
        let pool = |loaded_minor| Pool { loaded_minor, ..Pool::default() };
        let owes = owing(&[("S1", DRAWN, 100)]);
        let due = owes.due(|_| true, false).unwrap();
        assert_eq!(due, Posting::Collect { amount_minor: 100 });
        assert_eq!(due.within(&pool(70)), Some(Posting::Collect { amount_minor: 70 }));
        assert_eq!((due.within(&pool(0)), owes.due(|_| false, true)), (None, None));
        let too_much = owing(&[("S1", DRAWN, 100), ("HUB", RECOVERED, 70), ("S1", BACK, 100)]);
        assert_eq!(too_much.due(|_| true, true), Some(Posting::Return { amount_minor: 70 }));
        assert_eq!(too_much.due(|_| true, false), None, "a forgotten draw may have been paid with it");
        assert!(is_read_again(&Sound, Seq(9), Seq(9)) && !is_read_again(&Sound, Seq(8), Seq(9)));
    }

    #[test]
    fn a_line_is_loaded_by_nothing_but_what_was_drawn_and_given_back() {
        let line = |spent_minor, loaded_minor, released_minor| {
            is_sound_line(&Sound, &StoreCounters { adopted_minor: 100, spent_minor, loaded_minor, released_minor })
        };
        assert!(line(0, 0, 0) && line(100, 0, 0) && line(100, 100, 100) && line(50, 20, 70));
        assert!(!line(0, 1, 1), "budget that nobody set");
        assert!(!line(100, 20, 19), "it stays for nobody to draw again");
        let cut = |spent_minor, loaded_minor| {
            is_sound_so_far(&Sound, &StoreCounters { spent_minor, loaded_minor, ..StoreCounters::default() })
        };
        assert!(cut(100, 20) && !cut(0, 1), "a journal may end before the release");
    }

    #[test]
    fn what_one_account_paid_too_much_lowers_nobody_elses_debt() {
        // A drew 100, paid 100 and brought the goods back; B drew 100: B owes 100, and 100 of the pool are A's.
        let mut reserve = Reserve::default();
        reserve.owe(&owing(&[("S1", DRAWN, 100), ("HUB", RECOVERED, 100), ("S1", BACK, 100)]).debt);
        reserve.owe(&owing(&[("S1", DRAWN, 100)]).debt);
        assert_eq!((reserve.lendable(100), reserve.lendable(130)), (0, 30));
        let standing = Standing { used: 100, left: 7, recovered: 100, reserve, unsure: 0 };
        assert_eq!(standing.exposure(), 107);
        assert_eq!(Standing { unsure: 20, ..standing }.exposure(), 127, "a restored hub has forgotten who holds it");
    }
}
