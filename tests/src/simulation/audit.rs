//! Audit: what was truly loaded and spent, and whether the nodes' books could ever let more be spent than that.
//!
//! The check is on what *could* be spent: the pool, what every machine that would pass its proof holds, and what is on its way. A mistake shows there
//! long before somebody spends twice. Truth is what tills were told, and what stands in a living database.

use std::collections::HashMap;

use huitong_protocol::id::Epoch;
use huitong_protocol::tenure::Standing;
use huitong_protocol::till::Witness;

use super::hub;
use super::message::{Account, OpId, Site, Want};
use super::store::{Effect, Machine};
use super::till::TillNode;

/// What is true of one operation.
#[derive(Clone, Debug, Default)]
struct Truth {
    /// Whether a till was told that it is done.
    told: bool,
    /// In which epochs' living databases it stands, with repetition.
    stands: Vec<(usize, Epoch)>,
}

/// What the nodes did to the accounts.
#[derive(Clone, Debug)]
pub struct Audit {
    operations: HashMap<OpId, Truth>,
    loaded_minor: Vec<i64>,
    spent_minor: Vec<i64>,
    /// What copies of a store may spend beyond, per account: what was there when each was made.
    allowed_minor: Vec<i64>,
    /// Stores of which copies were made: two of them may do the same operation.
    copied: Vec<bool>,
    /// Whether a person ended an epoch that a restored hub had not heard.
    is_answered_for: bool,
}

/// What must never be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation(pub String);

fn fault<T>(words: String) -> Result<T, Violation> {
    Err(Violation(words))
}

impl Audit {
    /// Of accounts that begin with so much.
    #[must_use]
    pub fn new(stores: usize, accounts: usize, loaded_minor: i64) -> Self {
        Self {
            operations: HashMap::new(),
            loaded_minor: vec![loaded_minor; accounts],
            spent_minor: vec![0; accounts],
            allowed_minor: vec![0; accounts],
            copied: vec![false; stores],
            is_answered_for: false,
        }
    }

    fn reckon(&mut self, id: OpId, want: Want, change: impl FnOnce(&mut Truth)) {
        let truth = self.operations.entry(id).or_default();
        let times = |truth: &Truth| i64::try_from(truth.stands.len()).unwrap_or(i64::MAX).max(i64::from(truth.told));
        let before = times(truth);
        change(truth);
        if let Want::Spend(account, amount_minor) = want {
            self.spent_minor[account] += (times(truth) - before) * amount_minor;
        }
    }

    /// A database committed an operation.
    ///
    /// # Errors
    /// It stands there already.
    pub fn committed(&mut self, copy: usize, epoch: Epoch, effect: Effect) -> Result<(), Violation> {
        let Effect { id, want } = effect;
        if let Want::Load(account, amount_minor) = want {
            self.loaded_minor[account] += amount_minor;
        }
        let copied = self.copied[id.site];
        let mut twice = false;
        self.reckon(id, want, |truth| {
            twice = truth.stands.contains(&(copy, epoch)) && !copied;
            truth.stands.push((copy, epoch));
        });
        if twice { fault(format!("{id:?} {want:?} had two effects")) } else { Ok(()) }
    }

    /// A till was told that an operation is done.
    pub fn told(&mut self, id: OpId, want: Want) {
        self.reckon(id, want, |truth| truth.told = true);
    }

    /// A database that had an operation is no more.
    pub fn lost(&mut self, copy: usize, epoch: Epoch, id: OpId, want: Want) {
        self.reckon(id, want, |truth| {
            if let Some(place) = truth.stands.iter().position(|stands| *stands == (copy, epoch)) {
                truth.stands.swap_remove(place);
            }
        });
    }

    /// A database that has an operation is there again: a backup was put back.
    pub fn stands_again(&mut self, copy: usize, epoch: Epoch, id: OpId, want: Want) {
        self.reckon(id, want, |truth| truth.stands.push((copy, epoch)));
    }

    /// A database was copied, and both live. Nothing can keep the copy's tills and the original's from spending what both had; what they get later is
    /// bounded by the hub, which finds them out at the next hello.
    pub fn copied(&mut self, site: Site, machine: &Machine, hub: &hub::Disk) {
        self.copied[site] = true;
        let Some(epoch) = machine.disk.epoch else { return };
        for (account, counters) in machine.disk.counters.iter().enumerate() {
            let held = hub.stores[site].iter().find(|held| held.tenure.epoch == epoch);
            let on_its_way = held.map_or(0, |held| held.lines[account].granted_minor - counters.adopted_minor);
            self.allowed_minor[account] += counters.available_minor() + on_its_way.max(0);
        }
    }

    /// One of two copies of a store began a session: what was granted to the other since they parted is told to both, until the other is found out.
    pub fn copy_welcomed(&mut self, site: Site, machine: &Machine, hub: &hub::Disk) {
        let Some(held) = hub.stores[site].iter().find(|held| Some(held.tenure.epoch) == machine.disk.epoch) else {
            return;
        };
        for (account, counters) in machine.disk.counters.iter().enumerate() {
            let more_minor = held.lines[account].granted_minor - counters.adopted_minor;
            self.allowed_minor[account] += more_minor.max(0);
        }
    }

    /// A person ended an epoch to which a restored hub had granted what it forgot: the group bears it.
    pub fn answered_for(&mut self, forgotten_minor: &[i64]) {
        self.is_answered_for = true;
        for (allowed_minor, forgotten_minor) in self.allowed_minor.iter_mut().zip(forgotten_minor) {
            *allowed_minor += forgotten_minor;
        }
    }

    /// The group paid an account back.
    pub fn repaid(&mut self, account: Account, amount_minor: i64) {
        self.loaded_minor[account] += amount_minor;
    }

    /// Head office took value off.
    pub fn hub_spent(&mut self, account: Account, amount_minor: i64) {
        self.spent_minor[account] += amount_minor;
    }

    /// Checks the books of an account. `is_exact` says that nothing was ever lost: then nothing may be missing either.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(
        &self,
        account: Account,
        hub: &hub::Disk,
        machines: &[Vec<Machine>],
        tills: &[Vec<TillNode>],
        is_exact: bool,
    ) -> Result<(), Violation> {
        let recovers = !hub.waiting.is_empty();
        let pool = hub.pools[account].free();
        // Where a person answered for an epoch, value that its store gave back and others got is in suspense until finance says so.
        if pool < 0 && !recovers && !self.is_answered_for {
            return fault(format!("account {account}: the pool is {pool}"));
        }
        let mut could: i128 = if recovers { 0 } else { pool };
        for (site, copies) in machines.iter().enumerate() {
            // Of two copies only one has the session that brings and takes what is on its way.
            let (mut coming, mut going): (i128, i128) = (0, 0);
            for machine in copies {
                let Some(epoch) = machine.disk.epoch else { continue };
                let counters = &machine.disk.counters[account];
                let has = counters.available();
                if has < 0 {
                    return fault(format!("account {account}: store {site} has {has}"));
                }
                let Some(held) = hub.stores[site].iter().find(|held| held.tenure.epoch == epoch) else { continue };
                let mut shown = tills[site].iter().filter_map(|till| till.witness);
                let heard = Witness { epoch, head: held.tenure.heard };
                let would_prove = !machine.disk.is_quarantined
                    && shown.all(|witness| machine.disk.contains(&witness))
                    && (machine.may_move_value() || machine.disk.contains(&heard));
                let line = &held.lines[account];
                let granted = i128::from(line.granted_minor) - i128::from(counters.adopted_minor);
                let released = i128::from(counters.released_minor) - i128::from(line.seen.released_minor);
                let is_living = held.tenure.standing == Standing::Living;
                if would_prove
                    && !recovers
                    && !self.copied[site]
                    && ((granted < 0 && (is_living || !self.is_answered_for)) || (is_living && released < 0))
                {
                    return fault(format!(
                        "account {account}: store {site} adopted {} of {} and the hub saw {} released of {}",
                        counters.adopted_minor, line.granted_minor, line.seen.released_minor, counters.released_minor
                    ));
                }
                if would_prove {
                    could += has;
                    let has_session = machine.has_session && machine.session == held.session.0;
                    if copies.len() == 1 || has_session {
                        coming = coming.max(granted);
                    }
                    if is_living && !recovers {
                        going = going.max(released);
                    }
                }
            }
            could += coming + going;
        }
        let truth = i128::from(self.loaded_minor[account]) - i128::from(self.spent_minor[account]);
        if could > truth + i128::from(self.allowed_minor[account]) || (is_exact && could != truth) {
            let allowed_minor = self.allowed_minor[account];
            let places =
                machines.iter().flatten().map(|machine| place(machine, account)).collect::<Vec<_>>().join("; ");
            let words = "could be spent of";
            return fault(format!(
                "account {account}: {could} {words} {truth} + {allowed_minor}; pool {pool}; {places}"
            ));
        }
        Ok(())
    }
}

fn place(machine: &Machine, account: Account) -> String {
    let counters = machine.disk.counters[account];
    let epoch = machine.disk.epoch.map_or(0, |epoch| epoch.0);
    let value = if machine.may_move_value() { "moves" } else { "waits" };
    format!(
        "store {}.{} epoch {epoch} at {} {value} {}",
        machine.site,
        machine.copy,
        machine.disk.head().seq,
        counters.available()
    )
}
