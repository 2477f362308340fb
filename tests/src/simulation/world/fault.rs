//! Fault: what breaks: on any day, and once in years.

use huitong_protocol::allotment::rule::Care;
use rand::Rng as _;

use super::super::audit::Violation;
use super::super::hub::{self, Forgotten};
use super::super::message::{Report, Told};
use super::super::store::{Disk, Effect, Machine};
use super::{Epoch, IMAGES_MAX, JUMP_MAX, World};

impl<C: Care + Copy> World<C> {
    /// What happens on any day: a line breaks or comes back, a process dies, a message is not what it was.
    pub(super) fn trouble(&mut self) -> Result<(), Violation> {
        if self.is_calm {
            return Ok(());
        }
        let site = self.pick(self.settings.stores);
        self.outcome.faults += 1;
        match self.random.random_range(0..9_u32) {
            0..=1 => self.cut[site] = true,
            2..=4 => self.cut[site] = false,
            5 => {
                let tills = self.settings.tills;
                self.machines[site].iter_mut().for_each(|machine| machine.restart(tills));
                self.note(|| format!("store {site} restarts"));
            }
            6 => return self.garbled(site),
            // A clock that was wrong is set right, or one that was right is set wrong, now and then because the machine started anew.
            7 => {
                self.ahead[site] = self.random.random_range(-JUMP_MAX..=JUMP_MAX);
                self.note(|| format!("the clock of store {site} jumps"));
                if self.random.random() {
                    let tills = self.settings.tills;
                    self.machines[site].iter_mut().for_each(|machine| machine.restart(tills));
                }
            }
            _ => {
                self.wire.truncate(self.wire.len() / 2);
            }
        }
        Ok(())
    }

    /// Somebody sends a report that no store made: it says that more was adopted than ever granted, or that a line was loaded with what nobody drew from it, and
    /// gives it back.
    fn garbled(&mut self, site: usize) -> Result<(), Violation> {
        let machine = &self.machines[site][0];
        let Some(epoch) = machine.disk.epoch.filter(|_| self.hub.waiting.is_empty()) else { return Ok(()) };
        let account = self.random.random_range(0..machine.disk.counters.len());
        let mut counters = machine.disk.counters[account];
        let held = self.hub.stores[site].iter().find(|held| held.tenure.epoch == epoch);
        // It names no end of a journal that the hub has not heard of: what a store that may have forgotten something would say is not forged here.
        let Some((granted_minor, head)) = held.map(|held| (held.lines[account].granted_minor, held.tenure.heard))
        else {
            return Ok(());
        };
        if account == self.settings.accounts && self.random.random() {
            let more_minor = counters.spent_minor - counters.loaded_minor + 7;
            counters.loaded_minor += more_minor;
            counters.released_minor += more_minor;
        } else {
            let more_minor = granted_minor - counters.adopted_minor + 7;
            counters.adopted_minor += more_minor;
            counters.released_minor += more_minor;
        }
        let (life, session) = (self.hub.life, machine.session);
        self.note(|| format!("a forged report of store {site}: {counters:?}"));
        let (since_no, through_no, is_last, counters) = (0, 0, false, vec![(account, counters)]);
        let report =
            Report { site, copy: 0, epoch, life, session, head, since_no, through_no, is_last, counters, needs: None };
        self.at_hub(|hub, care, done| hub.reported(care, &report, done))
    }

    /// What happens once in years: a disk is lost, a backup put back, a machine copied, the hub restored, a store given up.
    pub(super) fn disaster(&mut self) -> Result<(), Violation> {
        if self.is_calm {
            return Ok(());
        }
        let site = self.pick(self.settings.stores);
        let kind = self.random.random_range(0..16_u32);
        if kind <= 3 {
            self.take_images(site);
            return Ok(());
        }
        if matches!(kind, 4 | 13..) {
            return self.restore_hub();
        }
        self.outcome.faults += 1;
        let is_waited_for = self.hub.waiting.iter().any(|waiting| waiting.0 == site);
        let (tills, purses) = (self.settings.tills, self.settings.purses());
        match kind {
            5 => {
                self.note(|| format!("store {site} loses its disk"));
                self.replace(site, Disk::new(purses), false);
            }
            6..=7 if !is_waited_for => {
                if let Some(image) = self.images[site].pop() {
                    self.note(|| format!("store {site} is put back to position {}", image.head().seq));
                    self.replace(site, image, true);
                    self.closed_until[site] = self.outcome.steps + self.random.random_range(0..800);
                }
            }
            8 if self.settings.has_copies && self.machines[site].len() == 1 && !is_waited_for => {
                let machine = &self.machines[site][0];
                if machine.disk.greeted.is_none() && machine.disk.epoch.is_some() && !machine.disk.is_quarantined {
                    self.note(|| format!("store {site} is copied"));
                    self.audit.copied(site, &self.machines[site][0], &self.hub);
                    let disk = self.machines[site][0].disk.clone();
                    self.machines[site].push(Machine { is_copy: true, ..Machine::start(site, 1, disk, tills) });
                    self.audit.replaced(&self.machines[site][1]);
                    self.welcomes[site] = [0; 2];
                }
            }
            9 if self.machines[site].len() == 2 => {
                self.note(|| format!("the copy of store {site} is switched off"));
                if let Some(machine) = self.machines[site].pop() {
                    self.forget(1, &machine.disk);
                }
            }
            10 => {
                self.note(|| format!("store {site} is fenced"));
                self.answer_for(site)?;
                return self.at_hub(|hub, care, done| hub.fence(care, site, done));
            }
            12 if !self.lost[site].is_empty() => {
                let place = self.pick(self.lost[site].len());
                let database = self.lost[site].swap_remove(place);
                let lives = |machine: &Machine| machine.disk.epoch == database.epoch;
                // A person brings it after no database lives its epoch any more: one that was put back may spend what this one gave back.
                if self.machines[site].iter().any(lives) {
                    self.lost[site].push(database);
                    return Ok(());
                }
                self.note(|| format!("a lost database of store {site} is found, at {:?}", database.head().seq));
                if let Some(epoch) = database.epoch
                    && self.lived.get(&(site, epoch)) != Some(&database.head())
                {
                    self.audit.brought_aside(site, &database, &self.hub);
                }
                let entries = if self.random.random() { u64::MAX } else { self.random.random_range(1..9) };
                let mut is_whole = true;
                self.at_hub(|hub, care, done| is_whole = hub.found(care, site, &database, entries, done))?;
                if let Some(epoch) = database.epoch {
                    self.audit.read(site, epoch, &self.hub);
                }
                if !is_whole {
                    self.lost[site].push(database);
                }
            }
            11 => {
                let account = self.pick(purses);
                return self.at_hub(|hub, care, done| hub.repay(care, site, account, done));
            }
            _ => {}
        }
        self.check_all()
    }

    fn replace(&mut self, site: usize, disk: Disk, is_copy: bool) {
        let tills = self.settings.tills;
        let machine = Machine { is_copy, ..Machine::start(site, 0, disk, tills) };
        let old = std::mem::replace(&mut self.machines[site][0], machine);
        self.forget(0, &old.disk);
        self.lose(site, old.disk);
        self.audit.replaced(&self.machines[site][0]);
        let disk = &self.machines[site][0].disk;
        let epoch = disk.epoch.unwrap_or(Epoch(0));
        for &(id, want, told) in &disk.told {
            if let Told::Done { overdrawn_minor } = told {
                self.audit.stands_again(0, epoch, Effect { id, want, overdrawn_minor });
            }
        }
    }

    fn take_images(&mut self, site: usize) {
        let is_whole = |machines: &Vec<Machine>| {
            machines
                .iter()
                .all(|machine| !machine.is_copy && !machine.disk.is_quarantined && machine.disk.epoch.is_some())
        };
        if self.images[site].len() < IMAGES_MAX && is_whole(&self.machines[site]) {
            self.images[site].push(self.machines[site][0].disk.clone());
        }
        if self.hub_images.len() < IMAGES_MAX && self.machines.iter().all(is_whole) && self.hub.waiting.is_empty() {
            self.hub_images.push(self.hub.clone());
        }
    }

    /// A person ends an epoch that a restored hub has not heard, and answers for what the hub forgot to have granted to it.
    pub(super) fn answer_for(&mut self, site: usize) -> Result<(), Violation> {
        if !self.hub.waiting.iter().any(|waiting| waiting.0 == site) {
            return Ok(());
        }
        self.note(|| format!("a person answers for store {site}"));
        let known = std::mem::take(&mut self.forgotten);
        let (ended, known) = known.into_iter().partition(|forgotten| forgotten.site == site);
        self.forgotten = known;
        for Forgotten { site, epoch, lines, .. } in Vec::<Forgotten>::into_iter(ended) {
            self.audit.answered_for(site, epoch, &lines);
        }
        self.at_hub(|hub, care, done| hub.fence(care, site, done))
    }

    /// The hub's database is put back to a backup. A person answers for epochs that ended since. Of a store whose own database was put back or copied nobody
    /// knows then what it forgot: that is beyond what can be told, and a person has to end its epoch first.
    fn restore_hub(&mut self) -> Result<(), Violation> {
        if self.hub_images.is_empty() || self.machines.iter().flatten().any(|machine| machine.is_copy) {
            return Ok(());
        }
        let place = self.pick(self.hub_images.len());
        let image = self.hub_images.swap_remove(place);
        // Backups of the life that is forgotten are forgotten with it.
        self.hub_images.truncate(place);
        self.outcome.faults += 1;
        self.note(|| "the hub is put back to a backup".to_owned());
        let (restored, forgotten) = hub::Disk::restored(&self.hub, image, &self.care);
        let before = std::mem::replace(&mut self.hub, restored);
        let known = std::mem::take(&mut self.forgotten);
        for mut one in forgotten {
            // What the life before was still waiting for is forgotten too.
            let of = |earlier: &&Forgotten| (earlier.site, earlier.epoch) == (one.site, one.epoch);
            if before.waiting.contains(&(one.site, one.epoch))
                && let Some(earlier) = known.iter().find(of)
            {
                for (line, earlier) in one.lines.iter_mut().zip(&earlier.lines) {
                    line.granted_minor += earlier.granted_minor;
                    line.seen.released_minor += earlier.seen.released_minor;
                }
            }
            if one.has_ended {
                self.audit.answered_for(one.site, one.epoch, &one.lines);
            } else {
                self.forgotten.push(one);
            }
        }
        self.check_all()
    }
}
