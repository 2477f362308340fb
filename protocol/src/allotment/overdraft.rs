//! Overdraft: what accounts owe the group's risk purse, and what of that purse may be lent once more.
//!
//! The risk purse is a purse like any other: stores are granted lines of it, and what a member lacks is spent from a line. That alone bounds what is drawn
//! less what came back; it does not bound what is *owed*, as head office collects debts while goods of the same debt may come back elsewhere. Then the
//! purse holds value that belongs to the account which paid too much, and lending it would let others owe more than the budget. So what comes back leaves
//! its store in the same step (`StoreEvent::Back`), and head office keeps what it owes: what journals say was paid too much, and what counters say came
//! back that no journal has told yet. Invariant: Σ over accounts of what each owes, plus what lines could still let them owe, ≤ the budget.
//!
//! Deliberately not here: who may overdraw, and how far (`crate::ledger`); how a debt is booked. Only the simulator keeps its books with this; those of
//! head office are `crate::debt`'s, which proves the same of movements.

use serde::{Deserialize, Serialize};

use super::rule::{Care, Rule};
use super::{HubEvent, HubSide, Pool, Refusal, Side, positive, raise, step_with};

/// What journals and head office's own entries say of one account's overdrafts, over all stores. Each only rises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Debt {
    /// Spent from lines for it.
    pub drawn_minor: i64,
    /// Came back of that.
    pub back_minor: i64,
    /// Taken from the account for it.
    pub collected_minor: i64,
    /// Given back to the account, as more was collected than it owes.
    pub returned_minor: i64,
}

impl Debt {
    fn balance(&self) -> i128 {
        i128::from(self.drawn_minor) + i128::from(self.returned_minor)
            - i128::from(self.back_minor)
            - i128::from(self.collected_minor)
    }

    /// What the account owes.
    #[must_use]
    pub fn owed_minor(&self) -> i64 {
        i64::try_from(self.balance().max(0)).unwrap_or(i64::MAX)
    }

    /// What is owed to the account: it paid for what came back.
    #[must_use]
    pub fn excess_minor(&self) -> i64 {
        i64::try_from((-self.balance()).max(0)).unwrap_or(i64::MAX)
    }
}

/// What the risk purse's pool must keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Σ of `Debt::excess_minor`.
    pub excess_minor: i64,
    /// Σ over epochs of what their counters say was put onto lines, as far as it is more than what their journals say came back.
    pub unread_minor: i64,
}

impl Kept {
    /// Adds an epoch's line: `back_minor` is what its journal says came back of overdrafts.
    #[must_use]
    pub fn with_line(self, loaded_minor: i64, back_minor: i64) -> Self {
        let unread_minor = loaded_minor.saturating_sub(back_minor).max(0);
        Self { unread_minor: self.unread_minor.saturating_add(unread_minor), ..self }
    }

    /// Adds an account.
    #[must_use]
    pub fn with_debt(self, debt: &Debt) -> Self {
        Self { excess_minor: self.excess_minor.saturating_add(debt.excess_minor()), ..self }
    }

    /// What may be granted as a line, or taken from the budget.
    #[must_use]
    pub fn lendable_minor(self, care: &impl Care, risk: &Pool) -> i64 {
        let excess_minor = if care.keeps(Rule::ExcessIsKept) { self.excess_minor } else { 0 };
        let unread_minor = if care.keeps(Rule::UnreadBackIsKept) { self.unread_minor } else { 0 };
        risk.free_minor().saturating_sub(excess_minor).saturating_sub(unread_minor).max(0)
    }
}

/// One account and the risk purse at head office, with what is between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Creditor {
    /// The account's pool.
    pub theirs: Pool,
    /// The risk purse's.
    pub risk: Pool,
    /// What is owed.
    pub debt: Debt,
}

/// What can happen between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DebtEvent {
    /// Taken from the account's pool, for the risk purse.
    Collect {
        /// Above zero, at most what is owed and what is free.
        amount_minor: i64,
    },
    /// Given back to the account.
    Return {
        /// Above zero, at most what it paid too much and what is free.
        amount_minor: i64,
    },
}

impl Side for Creditor {
    type Event = DebtEvent;

    fn apply<C: Care>(&self, care: &C, event: DebtEvent) -> Result<Self, Refusal> {
        let within = |amount_minor: i64, available_minor: i64| {
            let needed_minor = positive(amount_minor)?;
            if needed_minor > available_minor {
                return Err(Refusal::Insufficient { available_minor, needed_minor });
            }
            Ok(())
        };
        let moved = |pool: Pool, event: HubEvent| {
            let side = HubSide { pool, ..HubSide::default() };
            step_with(care, &side, event).map(|side| side.pool)
        };
        let mut next = *self;
        match event {
            DebtEvent::Collect { amount_minor } => {
                within(amount_minor, self.debt.owed_minor().min(self.theirs.free_minor()))?;
                next.theirs = moved(self.theirs, HubEvent::Spend { amount_minor })?;
                next.risk = moved(self.risk, HubEvent::Load { amount_minor })?;
                next.debt.collected_minor = raise(self.debt.collected_minor, amount_minor)?;
            }
            DebtEvent::Return { amount_minor } => {
                within(amount_minor, self.debt.excess_minor().min(self.risk.free_minor()))?;
                next.risk = moved(self.risk, HubEvent::Spend { amount_minor })?;
                next.theirs = moved(self.theirs, HubEvent::Load { amount_minor })?;
                next.debt.returned_minor = raise(self.debt.returned_minor, amount_minor)?;
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::Sound;
    use super::super::step;
    use super::*;

    fn pool(loaded_minor: i64) -> Pool {
        Pool { loaded_minor, ..Pool::default() }
    }

    #[test]
    fn what_was_collected_and_then_came_back_is_lent_to_nobody() {
        let owes = Debt { drawn_minor: 100, ..Debt::default() };
        let start = Creditor { theirs: pool(70), risk: pool(0), debt: owes };
        assert_eq!(
            step(&start, DebtEvent::Collect { amount_minor: 100 }),
            Err(Refusal::Insufficient { available_minor: 70, needed_minor: 100 })
        );
        let paid = step(&start, DebtEvent::Collect { amount_minor: 70 }).unwrap();
        assert_eq!((paid.theirs.free_minor(), paid.risk.free_minor(), paid.debt.owed_minor()), (0, 70, 30));
        let kept = Kept::default().with_debt(&paid.debt);
        assert_eq!(kept.lendable_minor(&Sound, &paid.risk), 70, "a paid debt may be lent again");

        // All goods came back at the store: first its counters say so, then its journal.
        let released = Pool { released_minor: 100, ..paid.risk };
        assert_eq!(kept.with_line(100, 0).lendable_minor(&Sound, &released), 70);
        let told = Creditor { risk: released, debt: Debt { back_minor: 100, ..paid.debt }, ..paid };
        let kept = Kept::default().with_debt(&told.debt).with_line(100, 100);
        assert_eq!((told.debt.excess_minor(), kept.lendable_minor(&Sound, &released)), (70, 100));
        assert!(step(&told, DebtEvent::Return { amount_minor: 71 }).is_err(), "no more than was paid too much");
        let back = step(&told, DebtEvent::Return { amount_minor: 70 }).unwrap();
        assert_eq!((back.theirs.free_minor(), back.risk.free_minor(), back.debt.excess_minor()), (70, 100, 0));
    }
}
