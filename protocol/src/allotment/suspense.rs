//! Suspense: value that an epoch held when it was fenced.
//!
//! Nobody knows what a lost store still spent, so what it held is neither in the pool nor with a store: it waits. The epoch's journal may turn up late
//! and say what became of it. Until then receipts may prove single entries of the part that nobody heard: a spend lowers what waits, a load raises it, and
//! each counts until the journal itself has its entry ([`Receipts`]). Or finance decides: the group pays the member back from its risk account, which is a new load (Σ spends ≤ Σ loads then
//! holds whatever the lost store did), and the group's loss is at most what was paid. Nothing here returns value because time went by.

use serde::{Deserialize, Serialize};

use super::rule::{Care, Rule};
use super::{HubEvent, HubSide, Line, Pool, Refusal, Side, StoreCounters, positive, raise, step_with};

/// What receipts prove of entries that the line does not know yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Receipts {
    /// Loaded there.
    pub loaded_minor: i64,
    /// Spent there.
    pub spent_minor: i64,
}

impl Receipts {
    fn are_amounts(self) -> Result<Self, Refusal> {
        for amount_minor in [self.loaded_minor, self.spent_minor] {
            if amount_minor < 0 {
                return Err(Refusal::Amount { amount_minor });
            }
        }
        Ok(self)
    }
}

/// What the hub did about one fenced line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Suspense {
    /// Paid back to the account from the group's risk account. It only rises.
    pub repaid_minor: i64,
    /// What receipts prove beyond what the line knows. Nothing of it is ever in the line as well.
    pub receipts: Receipts,
}

/// A line of a fenced epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fenced {
    /// Over all stores.
    pub pool: Pool,
    /// Of the epoch that ended.
    pub line: Line,
    /// What was done about it.
    pub suspense: Suspense,
}

/// What can happen to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FencedEvent {
    /// The epoch's journal turned up, or more of it: its totals, recomputed from entries whose chain was proved.
    Journal {
        /// The totals at its end.
        counters: StoreCounters,
        /// It ended while a restored hub had not heard it: the chain then proves grants which that hub has forgotten. Of any other the hub knows them all, and
        /// what was adopted beyond them cannot be right.
        is_unheard: bool,
    },
    /// Finance pays the account back from the risk account.
    Repay {
        /// Above zero, at most what waits.
        amount_minor: i64,
    },
    /// Receipts prove entries that are not in the line. No amount is below zero, and together they spend no more than was there.
    Receipts(Receipts),
    /// The journal has come as far as these receipts' entries: what is true of them is in the line from now on.
    Superseded(Receipts),
}

impl Fenced {
    /// What the epoch held as far as the line and the receipts prove it.
    fn proved(&self) -> i128 {
        let Receipts { loaded_minor, spent_minor } = self.suspense.receipts;
        self.line.held() + i128::from(loaded_minor) - i128::from(spent_minor)
    }

    /// What still waits: what the epoch held as far as the hub knows, less what was paid back.
    #[must_use]
    pub fn waiting_minor(&self) -> i64 {
        let waiting = self.proved() - i128::from(self.suspense.repaid_minor);
        i64::try_from(waiting.max(0)).unwrap_or(i64::MAX)
    }

    /// What was paid back although the journal or a receipt says that it was spent, or the journal does not have what a receipt said was loaded: the group's loss.
    #[must_use]
    pub fn loss_minor(&self) -> i64 {
        // A part of the journal may leave less than receipts of later entries spend: what was loaded in between comes with the rest.
        let loss = i128::from(self.suspense.repaid_minor) - self.proved().max(0);
        i64::try_from(loss.max(0)).unwrap_or(i64::MAX)
    }
}

impl Side for Fenced {
    type Event = FencedEvent;

    fn apply<C: Care>(&self, care: &C, event: FencedEvent) -> Result<Self, Refusal> {
        let mut next = *self;
        match event {
            FencedEvent::Journal { counters, is_unheard } => {
                let side = HubSide { pool: self.pool, line: self.line };
                let event = if is_unheard { HubEvent::Recover { counters } } else { HubEvent::Report { counters } };
                let side = step_with(care, &side, event)?;
                (next.pool, next.line) = (side.pool, side.line);
            }
            FencedEvent::Repay { amount_minor } => {
                let needed_minor = positive(amount_minor)?;
                let is_counted = care.keeps(Rule::RepaidWaitsNoMore);
                let before = if is_counted { *self } else { Self { suspense: Suspense::default(), ..*self } };
                let available_minor = before.waiting_minor();
                if available_minor < needed_minor {
                    return Err(Refusal::Insufficient { available_minor, needed_minor });
                }
                next.suspense.repaid_minor = raise(self.suspense.repaid_minor, amount_minor)?;
                next.pool.loaded_minor = raise(self.pool.loaded_minor, amount_minor)?;
            }
            FencedEvent::Receipts(more) => {
                let Receipts { loaded_minor, spent_minor } = more.are_amounts()?;
                let receipts = &mut next.suspense.receipts;
                let add = |sum: i64, more: i64| sum.checked_add(more).ok_or(Refusal::Overflow);
                receipts.loaded_minor = add(receipts.loaded_minor, loaded_minor)?;
                receipts.spent_minor = add(receipts.spent_minor, spent_minor)?;
                let available = self.proved() + i128::from(loaded_minor);
                if spent_minor > 0 && available < i128::from(spent_minor) {
                    let available_minor = i64::try_from(available.max(0)).unwrap_or(i64::MAX);
                    return Err(Refusal::Insufficient { available_minor, needed_minor: spent_minor });
                }
            }
            FencedEvent::Superseded(these) => {
                let Receipts { loaded_minor, spent_minor } = these.are_amounts()?;
                let receipts = &mut next.suspense.receipts;
                let less = |sum: i64, less: i64| if less <= sum { Ok(sum - less) } else { Err(Refusal::Diverged) };
                receipts.loaded_minor = less(receipts.loaded_minor, loaded_minor)?;
                receipts.spent_minor = less(receipts.spent_minor, spent_minor)?;
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::step;
    use super::*;

    #[test]
    fn what_a_lost_store_held_waits_and_is_paid_back_once() {
        let seen = StoreCounters { adopted_minor: 80, loaded_minor: 0, spent_minor: 30, released_minor: 0 };
        let pool = Pool { loaded_minor: 100, spent_minor: 0, granted_minor: 80, released_minor: 0 };
        let fenced = Fenced { pool, line: Line { granted_minor: 80, seen }, suspense: Suspense::default() };
        assert_eq!((fenced.waiting_minor(), fenced.pool.free_minor()), (50, 20));
        let repaid = step(&fenced, FencedEvent::Repay { amount_minor: 50 }).unwrap();
        assert_eq!((repaid.waiting_minor(), repaid.pool.free_minor()), (0, 70));
        let again = step(&repaid, FencedEvent::Repay { amount_minor: 1 });
        assert_eq!(again, Err(Refusal::Insufficient { available_minor: 0, needed_minor: 1 }));

        // The disk turns up: 20 more were spent there, and 10 given back.
        let late = StoreCounters { spent_minor: 50, released_minor: 10, ..seen };
        let known = step(&repaid, FencedEvent::Journal { counters: late, is_unheard: false }).unwrap();
        assert_eq!((known.pool.free_minor(), known.loss_minor(), known.waiting_minor()), (80, 30, 0));
        let again = FencedEvent::Journal { counters: seen, is_unheard: false };
        assert_eq!(step(&known, again), Ok(known), "an earlier part changes nothing");
    }

    #[test]
    fn a_late_journal_proves_grants_that_a_restored_hub_forgot() {
        // 100 were granted and spent after the backup; since then the hub has granted them to somebody else.
        let pool = Pool { loaded_minor: 100, spent_minor: 0, granted_minor: 100, released_minor: 0 };
        let fenced = Fenced { pool, line: Line::default(), suspense: Suspense::default() };
        let spent = StoreCounters { adopted_minor: 100, spent_minor: 100, ..StoreCounters::default() };
        let journal = |is_unheard| FencedEvent::Journal { counters: spent, is_unheard };
        let known = step(&fenced, journal(true)).unwrap();
        assert_eq!((known.pool.free(), known.line.granted_minor, known.waiting_minor()), (-100, 100, 0));
        assert_eq!(step(&known, journal(true)), Ok(known));
        // A hub that never forgot anything has granted it nothing.
        let refused = Refusal::AdoptedBeyondGrant { adopted_minor: 100, granted_minor: 0 };
        assert_eq!(step(&fenced, journal(false)), Err(refused));
    }

    /// A line of which 50 wait, as far as it was heard.
    fn heard() -> (StoreCounters, Fenced) {
        let seen = StoreCounters { adopted_minor: 80, loaded_minor: 0, spent_minor: 30, released_minor: 0 };
        let pool = Pool { loaded_minor: 100, spent_minor: 0, granted_minor: 80, released_minor: 0 };
        (seen, Fenced { pool, line: Line { granted_minor: 80, seen }, suspense: Suspense::default() })
    }

    #[test]
    fn receipts_say_what_waits_until_the_journal_does_and_move_no_value() {
        let (seen, fenced) = heard();
        let receipts = Receipts { loaded_minor: 20, spent_minor: 45 };
        let known = step(&fenced, FencedEvent::Receipts(receipts)).unwrap();
        assert_eq!((known.waiting_minor(), known.pool, known.line), (25, fenced.pool, fenced.line));
        // To the last cent, and not one more.
        let spends = |spent_minor| FencedEvent::Receipts(Receipts { loaded_minor: 0, spent_minor });
        assert_eq!(step(&known, spends(25)).unwrap().waiting_minor(), 0);
        let beyond = Refusal::Insufficient { available_minor: 25, needed_minor: 26 };
        assert_eq!(step(&known, spends(26)), Err(beyond));
        assert_eq!(step(&known, spends(-1)), Err(Refusal::Amount { amount_minor: -1 }));
        let loads = |loaded_minor| FencedEvent::Receipts(Receipts { loaded_minor, spent_minor: 0 });
        assert_eq!(step(&known, loads(i64::MAX)), Err(Refusal::Overflow));

        // The same entries come by the journal, before or after it is paid back: in either order the same, and nothing twice.
        let late = StoreCounters { loaded_minor: 20, spent_minor: 75, ..seen };
        let journal = FencedEvent::Journal { counters: late, is_unheard: false };
        let pay = FencedEvent::Repay { amount_minor: 25 };
        let run = |events: &[FencedEvent]| events.iter().fold(known, |state, event| step(&state, *event).unwrap());
        let paid_first = run(&[pay, journal, FencedEvent::Superseded(receipts)]);
        let paid_last = run(&[journal, FencedEvent::Superseded(receipts), pay]);
        assert_eq!(paid_first, paid_last);
        assert_eq!((paid_first.waiting_minor(), paid_first.loss_minor(), paid_first.pool.free_minor()), (0, 0, 45));
        assert_eq!(step(&paid_first, FencedEvent::Superseded(receipts)), Err(Refusal::Diverged), "once");
    }

    #[test]
    fn a_receipt_that_no_journal_bears_out_is_a_loss_when_it_was_paid() {
        let (seen, fenced) = heard();
        let receipts = Receipts { loaded_minor: 20, spent_minor: 0 };
        let journal = FencedEvent::Journal { counters: StoreCounters { spent_minor: 40, ..seen }, is_unheard: false };
        let events = [
            FencedEvent::Receipts(receipts),
            FencedEvent::Repay { amount_minor: 70 },
            journal,
            FencedEvent::Superseded(receipts),
        ];
        let known = events.iter().fold(fenced, |state, event| step(&state, *event).unwrap());
        assert_eq!((known.waiting_minor(), known.loss_minor()), (0, 30));
    }
}
