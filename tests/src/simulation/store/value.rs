//! Value: what a store's operations do to its purses.

use huitong_protocol::allotment::rule::Care;
use huitong_protocol::allotment::{HoldingEvent, StoreEvent, Term, step_with};
use huitong_protocol::debt::given_back;
use huitong_protocol::id::AccountId;
use huitong_protocol::money::Currency;
use huitong_protocol::movement::{Movement, MovementKind};
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;

use super::super::message::{Account, OpId, Told, Want};
use super::{DONE, Done, Hold, Machine};

/// What the entry says of a line that something came back to.
fn back(amount_minor: i64) -> Movement {
    Movement {
        account: AccountId::RISK,
        unit: Unit::Money(Currency::CNY),
        kind: MovementKind::OverdraftBack,
        amount_minor,
        of: None,
        origin_store: None,
        shortfall_minor: 0,
        owed_by: None,
    }
}

impl Machine {
    pub(super) fn count(
        &mut self,
        care: &impl Care,
        what: Option<OpId>,
        account: Account,
        event: HoldingEvent,
        done: &mut Done,
    ) -> Told {
        done.touched.push(account);
        match step_with(care, &self.disk.holding(account), event) {
            Ok(next) => {
                self.disk.change(account, next);
                self.disk.append(&(what, account, next, self.now.0));
                self.disk.moved.push((self.disk.head().seq, account, next.counters));
                DONE
            }
            Err(_) => Told::Declined,
        }
    }

    /// Spends of an account, and what it lacks from the line of the risk purse: head office could not be asked, or not in time.
    pub(super) fn spend(
        &mut self,
        care: &impl Care,
        id: OpId,
        account: Account,
        amount_minor: i64,
        done: &mut Done,
    ) -> Told {
        let spend = |amount_minor| HoldingEvent::Moved(StoreEvent::Spend { amount_minor });
        let told = self.count(care, Some(id), account, spend(amount_minor), done);
        let (risk, own_minor) = (self.disk.risk(), self.disk.holding(account).available_minor().max(0));
        let overdrawn_minor = amount_minor - own_minor;
        if told != Told::Declined || self.disk.holding(risk).available_minor() < overdrawn_minor {
            return told;
        }
        if own_minor > 0 {
            self.count(care, Some(id), account, spend(own_minor), done);
        }
        self.count(care, Some(id), risk, spend(overdrawn_minor), done);
        self.disk.owe(account, MovementKind::Overdraft, overdrawn_minor);
        Told::Done { overdrawn_minor }
    }

    /// Goods of an operation of this epoch come back: what was the account's goes there, and what was overdrawn to the line and on to head office, with an
    /// entry of its own in the same commit.
    pub(super) fn take_back(
        &mut self,
        care: &impl Care,
        id: OpId,
        of: OpId,
        (account, amount_minor): (Account, i64),
        done: &mut Done,
    ) -> Told {
        let Some(&(Want::Spend(..), Told::Done { overdrawn_minor })) = self.disk.known.get(&of) else {
            return Told::Declined;
        };
        if !self.may_move_value() || !self.disk.returned.insert(of) {
            return Told::Declined;
        }
        let (risk, own_minor) = (self.disk.risk(), amount_minor - overdrawn_minor);
        if own_minor > 0 {
            let load = StoreEvent::Load { amount_minor: own_minor };
            self.count(care, Some(id), account, HoldingEvent::Moved(load), done);
        }
        if overdrawn_minor > 0 {
            let load = StoreEvent::Load { amount_minor: overdrawn_minor };
            self.count(care, Some(id), risk, HoldingEvent::Moved(load), done);
            self.disk.owe(account, MovementKind::OverdraftBack, overdrawn_minor);
            for (_, amount_minor) in given_back(care, &[back(overdrawn_minor)]) {
                self.count(care, Some(id), risk, HoldingEvent::Moved(StoreEvent::Release { amount_minor }), done);
            }
        }
        Told::Done { overdrawn_minor }
    }

    /// Sets value aside for so long.
    pub(super) fn set_aside(
        &mut self,
        care: &impl Care,
        id: OpId,
        (account, amount_minor): (Account, i64),
        span: i64,
        done: &mut Done,
    ) -> Told {
        if !self.may_move_value() {
            return Told::Declined;
        }
        let told = self.count(care, Some(id), account, HoldingEvent::Hold { amount_minor }, done);
        if told != Told::Declined {
            let term = Term { is_open: true, until: Instant(self.now.0 + span) };
            self.disk.holds.insert(id, Hold { account, amount_minor, term });
        }
        told
    }

    /// A hold pays so much, or ends unused. Whoever meets one whose time is over ends it first.
    pub(super) fn end_hold(&mut self, care: &impl Care, of: OpId, pays_minor: Option<i64>, done: &mut Done) -> Told {
        let Some(met) = self.disk.holds.get(&of).copied() else { return Told::Declined };
        if met.term.is_due(care, self.now) && !self.disk.is_quarantined {
            self.end_due(care, of, met, done);
        }
        let Some(Hold { account, amount_minor: held_minor, term }) = self.disk.holds.get(&of).copied() else {
            return Told::Declined;
        };
        let event = match pays_minor {
            _ if !term.pays(care) => return Told::Declined,
            Some(amount_minor) => HoldingEvent::Capture { held_minor, amount_minor },
            None => HoldingEvent::Unhold { amount_minor: held_minor },
        };
        if !self.may_move_value() {
            return Told::Declined;
        }
        let told = self.count(care, Some(of), account, event, done);
        if told != Told::Declined {
            self.close(of);
        }
        told
    }

    pub(super) fn close(&mut self, of: OpId) {
        if let Some(hold) = self.disk.holds.get_mut(&of) {
            hold.term.is_open = false;
        }
    }

    /// Ends what is over by the clock.
    pub fn expire(&mut self, care: &impl Care, done: &mut Done) {
        if self.disk.epoch.is_none() || self.disk.is_quarantined {
            return;
        }
        let due = |hold: &(&OpId, &Hold)| hold.1.term.is_due(care, self.now);
        let over: Vec<(OpId, Hold)> = self.disk.holds.iter().filter(due).map(|(of, hold)| (*of, *hold)).collect();
        for (of, hold) in over {
            self.end_due(care, of, hold, done);
        }
    }

    fn end_due(&mut self, care: &impl Care, of: OpId, hold: Hold, done: &mut Done) {
        let event = HoldingEvent::Unhold { amount_minor: hold.amount_minor };
        if self.count(care, Some(of), hold.account, event, done) != Told::Declined {
            self.close(of);
            done.expired.push(of);
        }
    }
}
