//! Calm: what must come true once nothing breaks any more.

use huitong_protocol::allotment::rule::Care;
use rand::Rng as _;

use super::super::audit::{Kind, Violation};
use super::super::message::Message;
use super::super::store::Machine;
use super::{CALM_AHEAD, SPAN_MAX, World};

impl<C: Care + Copy> World<C> {
    /// Faults stop; everything under way arrives; every operation that was begun is told.
    pub(super) fn calm_down(&mut self) -> Result<(), Violation> {
        self.is_calm = true;
        self.ahead.fill(CALM_AHEAD);
        self.cut.fill(false);
        let (stores, tills) = (self.settings.stores, self.settings.tills);
        for _ in 0..60 {
            self.ahead.iter_mut().for_each(|ahead| *ahead += SPAN_MAX);
            for site in 0..stores {
                while self.machines[site].len() > 1 {
                    if let Some(machine) = self.machines[site].pop() {
                        self.forget(1, &machine.disk);
                    }
                }
                for till in 0..tills {
                    let node = &self.tills[site][till];
                    let ask = Message::Ask { site, till, want: node.pending, witness: node.witness };
                    self.arrive(ask)?;
                }
                self.drain()?;
                let (nonce, call) = (self.random.random(), self.random.random());
                let machine = &mut self.machines[site][0];
                if machine.disk.epoch.is_none() || machine.disk.is_quarantined {
                    let nonce = *machine.nonce.get_or_insert(nonce);
                    let token = self.hub.stores[site].len();
                    self.arrive(Message::Enrol { site, copy: 0, nonce, token })?;
                } else if !machine.has_session {
                    self.at_store(site, 0, |machine, _, done| machine.hello((nonce, call), done))?;
                }
                self.drain()?;
                self.at_store(site, 0, |machine, care, done| machine.report(care, None, done))?;
                self.at_store(site, 0, Machine::expire)?;
                self.at_store(site, 0, |machine, care, done| machine.upload(care, u64::MAX, done))?;
                self.drain()?;
                self.at_store(site, 0, Machine::give_up)?;
                self.drain()?;
            }
            self.check_all()?;
            let pending = self.tills.iter().flatten().filter(|till| till.pending.is_some()).count();
            let silent = self.machines.iter().flatten().filter(|machine| !machine.has_session).count();
            let untold = self.machines.iter().flatten().filter(|machine| self.is_untold(machine)).count();
            let held: i64 = self.machines.iter().flatten().flat_map(|machine| &machine.disk.held_minor).sum();
            if pending == 0
                && silent == 0
                && untold == 0
                && held == 0
                && self.hub.waiting.is_empty()
                && self.wire.is_empty()
            {
                return Ok(());
            }
        }
        let words = format!(
            "after the faults stopped: pending {:?}, {} on hold, sessions {:?}, not told by {:?}, the hub waits for {:?}, {} messages",
            self.tills.iter().flatten().filter_map(|till| till.pending).collect::<Vec<_>>(),
            self.machines.iter().flatten().flat_map(|machine| &machine.disk.held_minor).sum::<i64>(),
            self.machines.iter().flatten().map(|machine| machine.has_session).collect::<Vec<_>>(),
            self.machines
                .iter()
                .flatten()
                .filter(|machine| self.is_untold(machine))
                .map(|m| m.site)
                .collect::<Vec<_>>(),
            self.hub.waiting,
            self.wire.len()
        );
        Err(Kind::Liveness.of(words))
    }

    /// Whether the hub does not know all that a store holds, or the store does not know that it does.
    fn is_untold(&self, machine: &Machine) -> bool {
        let Some(held) = self.hub.stores[machine.site].last() else { return true };
        let seen = held.lines.iter().map(|line| line.seen);
        machine.disk.is_untold() || !seen.eq(machine.disk.counters.iter().copied())
    }

    fn drain(&mut self) -> Result<(), Violation> {
        for _ in 0..10_000 {
            let Some(message) = self.wire.pop() else { return Ok(()) };
            self.arrive(message)?;
        }
        Err(Kind::Liveness.of("messages never end".to_owned()))
    }
}
