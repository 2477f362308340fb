//! Proofs about overdrafts: rows are what the entries say of debts, what was collected is what the risk account recovered, and the budget is where it should be.

use std::collections::BTreeMap;

use huitong_protocol::allotment::Purse;
use huitong_protocol::allotment::rule::Sound;
use huitong_protocol::debt::{Owing, is_sound_line, is_sound_so_far};
use huitong_protocol::entry::Body;
use huitong_protocol::id::{AccountId, EntryId};
use huitong_protocol::movement::MovementKind;
use huitong_protocol::unit::Unit;

use super::Check;
use crate::store::engine::{StoreError, Tx};
use crate::store::overdraft::{self, Noted, Open};
use crate::store::{allotment, risk, root};

/// What the entries say that rows must be.
#[derive(Debug, Default)]
pub(super) struct Debts {
    noted: BTreeMap<(EntryId, u16), Noted>,
    /// Entries whose two sides are not the same, with what each says.
    torn: Vec<(EntryId, i128)>,
    /// Taken off accounts, less what was given back to them.
    recovered: i128,
    /// How many entries were read for it.
    looked_at: u64,
}

impl Debts {
    /// Notes what a usable entry says.
    pub(super) fn note(&mut self, id: EntryId, body: &Body) {
        self.looked_at += 1;
        // What leaves one side comes onto the other.
        let mut both_sides = 0_i128;
        for (index, movement) in (0_u16..).zip(body.movements()) {
            let (kind, amount_minor) = (movement.kind, movement.amount_minor);
            both_sides += match kind {
                MovementKind::OverdraftCollected | MovementKind::OverdraftReleased | MovementKind::OverdraftLost => {
                    i128::from(amount_minor)
                }
                MovementKind::OverdraftRecovered
                | MovementKind::OverdraftReturned
                | MovementKind::OverdraftWrittenOff => -i128::from(amount_minor),
                _ => 0,
            };
            if let Some(account) = movement.owed_by {
                self.recovered += match kind {
                    MovementKind::OverdraftRecovered => i128::from(amount_minor),
                    MovementKind::OverdraftReleased => -i128::from(amount_minor),
                    _ => 0,
                };
                self.noted.insert((id, index), Noted { account, unit: movement.unit, kind, amount_minor });
            }
        }
        if both_sides != 0 {
            self.torn.push((id, both_sides));
        }
    }

    /// Compares with the rows.
    pub(super) fn compare(mut self, tx: &mut Tx<'_>, check: &mut Check) -> Result<(), StoreError> {
        check.looked_at += self.looked_at;
        for (id, rest) in std::mem::take(&mut self.torn) {
            check.find(
                "entry",
                id,
                format!("takes {rest} more off one side of an overdraft than it puts onto the other"),
            );
        }
        let noted = &mut self.noted;
        overdraft::each(tx, |(entry, index), stands| {
            let key = format!("{entry} index {index}");
            match noted.remove(&(entry, index)) {
                Some(should) if should == stands => {}
                Some(should) => check.find("overdraft", key, format!("is {stands:?}; the entry says {should:?}")),
                None => check.find("overdraft", key, "the entry says nothing of it"),
            }
        })?;
        for (entry, index) in std::mem::take(&mut self.noted).into_keys() {
            check.find("overdraft", format!("{entry} index {index}"), "is missing");
        }
        let mut open = overdraft::open(tx)?;
        for ((account, unit), Owing { debt, .. }) in overdraft::owings(tx)? {
            let should = Open { owed_minor: debt.owed_minor(), excess_minor: debt.excess_minor() };
            let stands = open.remove(&(account, unit)).unwrap_or(Open { owed_minor: 0, excess_minor: 0 });
            if stands != should {
                check.find("debt", format!("account {account} {unit}"), format!("is {stands:?}; {should:?} follows"));
            }
        }
        for (account, unit) in open.into_keys() {
            check.find("debt", format!("account {account} {unit}"), "never overdrew");
        }
        match root::hub_or_none(tx)? {
            Some(hub) => self.budget(tx, Unit::Money(hub.currency), check),
            None => Ok(()),
        }
    }

    /// What is in the pool, with stores and drawn is the budget; what stores drew and nobody has uploaded yet is with neither.
    fn budget(&self, tx: &mut Tx<'_>, unit: Unit, check: &mut Check) -> Result<(), StoreError> {
        let purse = Purse { account: AccountId::RISK, unit };
        let budget = i128::from(risk::budget(tx, purse.unit)?);
        let pool = allotment::pool(tx, purse)?.0.free();
        let lines = allotment::lines(tx, purse)?;
        // Of an ended epoch only the journal says more, and it may end anywhere.
        let is_sound = |row: &&allotment::StoreLine| match row.suspense {
            None => is_sound_line(&Sound, &row.line.seen),
            Some(_) => is_sound_so_far(&Sound, &row.line.seen),
        };
        for row in lines.iter().filter(|row| !is_sound(row)) {
            let key = format!("the risk account at {}-{}", row.store, row.epoch);
            check.find("allotment", key, "was loaded by more than was drawn there, came back and was released");
        }
        let used: i128 = lines
            .iter()
            .map(|row| i128::from(row.line.seen.spent_minor) - i128::from(row.line.seen.loaded_minor))
            .sum();
        let held: i128 = lines.iter().map(|row| row.line.held()).sum();
        check.equal("pool", &"the risk account", "the budget", pool + held + used - self.recovered, budget);
        Ok(())
    }
}
