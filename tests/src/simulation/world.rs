//! World: everything there is in a run, and the one thing that happens in a step.

use std::collections::VecDeque;
use std::fmt;

use huitong_protocol::allotment::rule::{Care, Rule};
use huitong_protocol::allotment::{Line, StoreCounters};
use huitong_protocol::id::Epoch;
use huitong_protocol::tenure::Standing;
use huitong_protocol::time::Instant;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::Settings;
use super::audit::{Audit, Kind, Violation};
use super::hub;
use super::message::{Journal, Message, OpId, Report, Told, Want};
use super::store::{self, Crash, Disk, Effect, Machine};
use super::till::TillNode;

/// What every account has at the beginning.
const LOADED_MINOR: i64 = 200;
/// What all accounts may overdraw together.
const BUDGET_MINOR: i64 = 120;
/// The dearest operation.
const AMOUNT_MAX_MINOR: i64 = 60;
/// The longest hold, in steps of its store's clock.
const SPAN_MAX: i64 = 3_000;
/// How far a clock jumps, in steps.
const JUMP_MAX: i64 = 10_000;
/// When the storm ends, every clock has come so far, and goes on by the longest hold: every hold ends.
const CALM_AHEAD: i64 = 1 << 40;
/// Messages under way at most: the network loses any beyond it.
const WIRE_MAX: usize = 400;
/// Backups kept per node.
const IMAGES_MAX: usize = 3;

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Steps done.
    pub steps: u64,
    /// Things that were broken, lost, doubled or delayed on purpose.
    pub faults: u64,
    /// Operations that tills were told are done.
    pub done: u64,
    /// What must never be, when it was.
    pub violation: Option<Violation>,
    /// The steps before it.
    pub trace: Vec<String>,
}

/// A run.
pub struct World<C> {
    care: C,
    settings: Settings,
    random: StdRng,
    hub: hub::Disk,
    hub_images: Vec<hub::Disk>,
    machines: Vec<Vec<Machine>>,
    images: Vec<Vec<Disk>>,
    tills: Vec<Vec<TillNode>>,
    /// Stores without a line to the hub.
    cut: Vec<bool>,
    /// How far the clock of a store is ahead.
    ahead: Vec<i64>,
    /// Until which step no till of a store asks: it was put back while the shop is closed.
    closed_until: Vec<u64>,
    wire: Vec<Message>,
    audit: Audit,
    /// Nothing was ever lost: books must balance exactly.
    is_exact: bool,
    /// What a restored hub forgot of living epochs: granted, and given back.
    forgotten: Vec<((usize, Epoch), Vec<Line>)>,
    /// Welcomes of each copy since a store was copied.
    welcomes: Vec<[u32; 2]>,
    outcome: Outcome,
    trace: VecDeque<String>,
    is_calm: bool,
}

impl<C: Care + Copy> World<C> {
    /// A world at rest.
    #[must_use]
    pub fn new(settings: &Settings, care: C, seed: u64) -> Self {
        let (stores, purses) = (settings.stores, settings.purses());
        let machine = |site| Machine::start(site, 0, Disk::new(purses), settings.tills);
        let mut loaded_minor = vec![LOADED_MINOR; settings.accounts];
        loaded_minor.push(BUDGET_MINOR);
        Self {
            care,
            settings: settings.clone(),
            random: StdRng::seed_from_u64(seed),
            hub: hub::Disk::new(stores, &loaded_minor),
            hub_images: Vec::new(),
            machines: (0..stores).map(|site| vec![machine(site)]).collect(),
            images: vec![Vec::new(); stores],
            tills: vec![vec![TillNode::default(); settings.tills]; stores],
            cut: vec![false; stores],
            ahead: vec![0; stores],
            closed_until: vec![0; stores],
            wire: Vec::new(),
            audit: Audit::new(stores, &loaded_minor),
            // Every other world only has a bad network and dying processes, so that not a cent may be missing in it.
            is_exact: seed.is_multiple_of(2),
            forgotten: Vec::new(),
            welcomes: vec![[0; 2]; stores],
            outcome: Outcome::default(),
            trace: VecDeque::new(),
            is_calm: false,
        }
    }

    /// Lives through so many steps, then lets the storm end and all that is under way arrive.
    #[must_use]
    pub fn live(mut self, steps: u64) -> Outcome {
        for _ in 0..steps {
            if let Err(violation) = self.step() {
                return self.end(Some(violation));
            }
        }
        match self.calm_down() {
            Ok(()) => self.end(None),
            Err(violation) => self.end(Some(violation)),
        }
    }

    fn end(mut self, violation: Option<Violation>) -> Outcome {
        self.outcome.violation = violation;
        self.outcome.trace = self.trace.into();
        self.outcome
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.settings.trace {
            if self.trace.len() >= self.settings.trace_lines {
                self.trace.pop_front();
            }
            let line = format!("{:>7} {}", self.outcome.steps, words());
            self.trace.push_back(line);
        }
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        !self.is_calm && self.random.random_range(0..1_000) < per_mille
    }

    fn pick(&mut self, count: usize) -> usize {
        self.random.random_range(0..count)
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.outcome.steps += 1;
        match self.random.random_range(0..1_000_u32) {
            0..=559 => self.deliver(),
            560..=759 => self.till_acts(),
            760..=969 => self.node_acts(),
            970..=981 if self.settings.has_disasters && !self.is_exact => self.disaster(),
            _ => self.trouble(),
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            if self.chance(self.settings.loss_per_mille) {
                self.outcome.faults += 1;
                continue;
            }
            if self.chance(self.settings.duplicate_per_mille) {
                self.outcome.faults += 1;
                self.wire.push(message.clone());
            }
            self.wire.push(message);
        }
        while self.wire.len() > WIRE_MAX && !self.is_calm {
            let place = self.pick(self.wire.len());
            self.wire.swap_remove(place);
            self.outcome.faults += 1;
        }
    }

    fn crash(&mut self) -> Crash {
        if !self.chance(self.settings.crash_per_mille) {
            return Crash::No;
        }
        self.outcome.faults += 1;
        if self.random.random() { Crash::Before } else { Crash::After }
    }

    /// Runs a transaction of a machine, and the audit of what it touched.
    fn at_store(
        &mut self,
        site: usize,
        copy: usize,
        work: impl FnOnce(&mut Machine, &C, &mut store::Done),
    ) -> Result<(), Violation> {
        let crash = self.crash();
        let (care, tills) = (self.care, self.settings.tills);
        let now = self.now(site);
        let Some(machine) = self.machines[site].get_mut(copy) else { return Ok(()) };
        machine.now = now;
        let done = machine.transact(&care, crash, tills, |machine, done| work(machine, &care, done));
        let epoch = machine.disk.epoch.unwrap_or(Epoch(0));
        if crash != Crash::No {
            self.note(|| format!("store {site}.{copy} dies, {crash:?} its commit"));
        }
        for &effect in &done.effects {
            self.note(|| format!("store {site}.{copy} commits {:?}", effect));
            self.audit.committed(copy, epoch, effect)?;
        }
        if let Some(machine) = self.machines[site].get(copy) {
            self.audit.promised(machine, &done.effects, &done.expired)?;
        }
        self.send(done.send);
        done.touched.into_iter().try_for_each(|account| self.check(account))
    }

    /// What the clock of a store says.
    fn now(&self, site: usize) -> Instant {
        Instant(i64::try_from(self.outcome.steps).unwrap_or(i64::MAX).saturating_add(self.ahead[site]))
    }

    fn at_hub(&mut self, work: impl FnOnce(&mut hub::Disk, &C, &mut hub::Done)) -> Result<(), Violation> {
        let crash = self.crash();
        let before = (crash == Crash::Before).then(|| self.hub.clone());
        let mut done = hub::Done::default();
        work(&mut self.hub, &self.care, &mut done);
        if let Some(before) = before {
            self.hub = before;
            done.repaid.clear();
            done.settled.clear();
        }
        if crash != Crash::No {
            self.note(|| format!("the hub dies, {crash:?} its commit"));
            let grants_stay = crash == Crash::Before && !self.care.keeps(Rule::GrantAfterCommit);
            done.send.retain(|message| grants_stay && matches!(message, Message::Grant { .. }));
        }
        for (account, amount_minor) in done.repaid {
            self.audit.hub_loaded(account, amount_minor);
        }
        for (account, event) in done.settled {
            self.note(|| format!("the hub settles account {account}: {event:?}"));
            self.audit.settled(account, event)?;
        }
        self.send(done.send);
        done.touched.into_iter().try_for_each(|account| self.check(account))
    }

    fn check(&self, account: usize) -> Result<(), Violation> {
        self.audit.check(account, &self.hub, &self.machines, &self.tills, self.is_exact)
    }

    fn check_all(&self) -> Result<(), Violation> {
        (0..self.settings.purses()).try_for_each(|account| self.check(account))
    }

    fn till_acts(&mut self) -> Result<(), Violation> {
        let (site, till) = (self.pick(self.settings.stores), self.pick(self.settings.tills));
        let amount_minor = self.random.random_range(1..=AMOUNT_MAX_MINOR);
        let account = self.pick(self.settings.accounts);
        let (kind, span) = (self.random.random_range(0..10_u32), self.random.random_range(1..SPAN_MAX));
        let node = &mut self.tills[site][till];
        if node.pending.is_none() && !self.is_calm && kind != 9 {
            let want = match kind {
                0 => Want::Trade,
                1..=2 => Want::Load(account, amount_minor),
                3 if !node.paid.is_empty() => {
                    let (of, paid) = node.paid.swap_remove(account % node.paid.len());
                    match paid {
                        Want::Spend(account, amount_minor) => Want::Return(of, account, amount_minor),
                        other => other,
                    }
                }
                4 if !node.held.is_empty() && amount_minor % 4 != 0 => {
                    let place = account % node.held.len();
                    let (of, held) = node.held[place];
                    match held {
                        Want::Hold(account, _, _) if amount_minor % 5 == 0 => Want::Unhold(of, account),
                        Want::Hold(account, held_minor, _) => Want::Capture(of, account, held_minor.min(amount_minor)),
                        other => other,
                    }
                }
                4 => Want::Hold(account, amount_minor, span),
                _ => Want::Spend(account, amount_minor),
            };
            node.begun += 1;
            node.pending = Some((OpId { site, till, number: node.begun }, want));
        }
        let ask = Message::Ask { site, till, want: node.pending, witness: node.witness };
        self.send(vec![ask]);
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), Violation> {
        if self.wire.is_empty() {
            return self.till_acts();
        }
        let place = self.pick(self.wire.len());
        let message = self.wire.swap_remove(place);
        let crosses = match &message {
            Message::Ask { .. } | Message::Answer { .. } => None,
            Message::Enrol { site, .. }
            | Message::Enrolled { site, .. }
            | Message::Hello { site, .. }
            | Message::Welcome { site, .. }
            | Message::Unheard { site, .. }
            | Message::Again { site, .. }
            | Message::Report(Report { site, .. })
            | Message::Taken { site, .. }
            | Message::Journal(Journal { site, .. })
            | Message::Kept { site, .. }
            | Message::Grant { site, .. }
            | Message::Recall { site, .. } => Some(*site),
        };
        let is_closed = matches!(&message, Message::Ask { site, .. } if self.closed_until[*site] > self.outcome.steps);
        if is_closed || crosses.is_some_and(|site| self.cut[site]) {
            self.outcome.faults += 1;
            return Ok(());
        }
        let message = self.spoil(message);
        self.note(|| format!("arrives: {message:?}"));
        self.arrive(message)
    }

    /// Makes a line unacceptable to a hub that was restored, as one of an account that it has forgotten is.
    fn spoil(&mut self, mut message: Message) -> Message {
        if let Message::Report(report) = &mut message
            && self.hub.waiting.contains(&(report.site, report.epoch))
            && self.chance(200)
            && let Some((_, counters)) = report.counters.first_mut()
        {
            self.outcome.faults += 1;
            counters.adopted_minor = -1;
        }
        message
    }

    fn arrive(&mut self, message: Message) -> Result<(), Violation> {
        match message {
            Message::Ask { site, till, want, witness } => {
                let copies = self.machines[site].len();
                let copy = self.pick(copies);
                self.at_store(site, copy, |machine, care, done| machine.asked(care, till, want, witness, done))
            }
            Message::Answer { site, till, told, witness } => {
                let epoch = witness.epoch;
                if let Some((id, want, told)) = self.tills[site][till].hear(told, witness)
                    && let Told::Done { overdrawn_minor } = told
                {
                    self.outcome.done += 1;
                    self.audit.told(epoch, Effect { id, want, overdrawn_minor });
                    if let Some(account) = want.account() {
                        self.check(account)?;
                    }
                    if overdrawn_minor > 0 {
                        return self.check(self.settings.accounts);
                    }
                }
                Ok(())
            }
            Message::Enrol { site, copy, nonce, token } => {
                self.answer_for(site)?;
                self.hub_images.clear();
                self.at_hub(|hub, care, done| hub.enrol(care, site, copy, (nonce, token), done))
            }
            Message::Enrolled { site, copy, nonce, epoch, life } => {
                // It wipes the database, so it is no transaction that can be undone: a machine that dies before its commit has not begun.
                let (crash, care, tills) = (self.crash(), self.care, self.settings.tills);
                let Some(machine) = self.machines[site].get_mut(copy) else { return Ok(()) };
                let before = (crash != Crash::Before).then(|| machine.disk.clone());
                let began = before.is_some() && machine.enrolled(&care, nonce, epoch, life);
                if crash != Crash::No {
                    machine.restart(tills);
                }
                match before.filter(|_| began) {
                    Some(before) => {
                        self.audit.replaced(&self.machines[site][copy]);
                        self.forget(copy, &before);
                        self.check_all()
                    }
                    None => Ok(()),
                }
            }
            Message::Hello { site, copy, greeting, call } => {
                self.at_hub(|hub, care, done| hub.greet(care, site, copy, (&greeting, call), done))
            }
            Message::Welcome { site, copy, epoch, call, turn, session, life, heard } => {
                let mut began = false;
                self.at_store(site, copy, |machine, care, _| {
                    began = machine.welcomed(care, (epoch, call), (turn, session), life, heard);
                })?;
                if began { self.noticed(site, copy) } else { Ok(()) }
            }
            Message::Unheard { site, copy, epoch, nonce } => {
                self.at_store(site, copy, |machine, _, _| machine.unheard(epoch, nonce))
            }
            Message::Again { site, copy } => self.at_store(site, copy, |machine, _, _| machine.has_session = false),
            Message::Report(report) => self.at_hub(|hub, care, done| hub.reported(care, &report, done)),
            Message::Taken { site, copy, epoch, life, session, since_no, through_no } => {
                self.at_store(site, copy, |machine, care, done| {
                    machine.taken(care, (epoch, life, session), (since_no, through_no), done);
                })
            }
            Message::Journal(journal) => {
                self.at_hub(|hub, care, done| hub.brought(care, &journal, done))?;
                if let Some(held) = self.hub.of_epoch(journal.site, journal.epoch) {
                    self.audit.read(journal.site, journal.epoch, &held.totals);
                }
                Ok(())
            }
            Message::Kept { site, copy, epoch, head } => {
                self.at_store(site, copy, |machine, _, _| machine.kept(epoch, head))
            }
            Message::Grant { site, copy, epoch, life, session, account, granted_minor, part_minor } => {
                let value = (granted_minor, part_minor);
                self.at_store(site, copy, |machine, care, done| {
                    machine.granted(care, (epoch, life, session), account, value, done)
                })
            }
            Message::Recall { site, account } => {
                self.at_store(site, 0, |machine, care, done| machine.recalled(care, account, done))
            }
        }
    }

    /// Both copies of a store were welcomed, and welcomed again: the ratchet let a copy live.
    fn noticed(&mut self, site: usize, copy: usize) -> Result<(), Violation> {
        if let Some(machine) = self.machines[site].get(copy).filter(|machine| machine.has_session) {
            self.audit.welcomed(site, machine, &self.hub);
        }
        if self.machines[site].len() < 2 || !self.machines[site][copy].has_session {
            return Ok(());
        }
        self.welcomes[site][copy] += 1;
        let epochs = (self.machines[site][0].disk.epoch, self.machines[site][1].disk.epoch);
        if epochs.0 == epochs.1 && self.welcomes[site].iter().all(|&times| times >= 2) {
            return Err(Kind::Twice.of(format!("two copies of store {site} were welcomed again and again")));
        }
        Ok(())
    }

    /// A database is no more.
    fn forget(&mut self, copy: usize, disk: &Disk) {
        let epoch = disk.epoch.unwrap_or(Epoch(0));
        for &(id, want, told) in &disk.told {
            if let Told::Done { overdrawn_minor } = told {
                self.audit.lost(copy, epoch, Effect { id, want, overdrawn_minor });
            }
        }
    }

    fn node_acts(&mut self) -> Result<(), Violation> {
        let site = self.pick(self.settings.stores);
        let copies = self.machines[site].len();
        let (copy, account) = (self.pick(copies), self.pick(self.settings.purses()));
        let (nonce, call): (u64, u64) = (self.random.random(), self.random.random());
        let amount_minor = self.random.random_range(1..=AMOUNT_MAX_MINOR);
        let machine = &mut self.machines[site][copy];
        if machine.disk.epoch.is_none() || machine.disk.is_quarantined {
            // A person enrols the store again.
            let nonce = *machine.nonce.get_or_insert(nonce);
            let token = self.hub.stores[site].len();
            self.send(vec![Message::Enrol { site, copy, nonce, token }]);
            return Ok(());
        }
        let risk = self.settings.accounts;
        match self.random.random_range(0..16_u32) {
            0..=2 if !machine.has_session => {
                self.at_store(site, copy, |machine, _, done| machine.hello((nonce, call), done))
            }
            0 => self.at_store(site, copy, |machine, care, done| machine.report(care, None, done)),
            1 => self.at_store(site, copy, Machine::continue_report),
            2 => self.at_store(site, copy, |machine, _, done| machine.hello((nonce, call), done)),
            3..=5 => self.at_store(site, copy, |machine, care, done| {
                let most_minor = machine.disk.holding(account).available_minor();
                let amount_minor =
                    if care.keeps(Rule::ReleaseWithinHolding) { most_minor.min(amount_minor) } else { amount_minor };
                machine.release(care, account, amount_minor, done);
            }),
            6..=8 => self.at_store(site, copy, Machine::give_up),
            // A line for the next time that the hub cannot be asked.
            9 if amount_minor % 3 == 0 => {
                self.at_store(site, copy, |machine, care, done| machine.report(care, Some((risk, amount_minor)), done))
            }
            9 | 12 => self.at_store(site, copy, Machine::upload),
            13 => self.at_store(site, copy, Machine::expire),
            10..=11 => self.at_hub(|hub, care, done| hub.settle(care, account, done)),
            _ if !self.care.keeps(Rule::NoTimeoutReturns) && self.cut[site] => {
                self.at_hub(|hub, _, done| hub.reclaim(site, account, done))
            }
            _ if self.is_calm => Ok(()),
            // A person changes the budget, and does not make it larger than it once was.
            _ if account == risk && amount_minor % 2 == 0 && self.audit.budget_minor() > BUDGET_MINOR => Ok(()),
            _ if amount_minor % 4 == 0 || (account == risk && amount_minor % 2 == 0) => {
                self.hub.load(&self.care, account, amount_minor);
                self.audit.hub_loaded(account, amount_minor);
                self.check(account)
            }
            _ => {
                // A spend at head office counts as soon as it is committed.
                let mut done = hub::Done::default();
                if self.hub.spend(&self.care, account, amount_minor, &mut done) {
                    self.audit.hub_spent(account, amount_minor);
                }
                self.check(account)
            }
        }
    }

    /// What happens on any day: a line breaks or comes back, a process dies, a message is not what it was.
    fn trouble(&mut self) -> Result<(), Violation> {
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

    /// Somebody sends a report that no store made: it says that more was adopted than ever granted, and gives it back.
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
        let more_minor = granted_minor - counters.adopted_minor + 7;
        counters.adopted_minor += more_minor;
        counters.released_minor += more_minor;
        let (life, session) = (self.hub.life, machine.session);
        self.note(|| format!("a forged report of store {site}: {counters:?}"));
        let (since_no, through_no, is_last, counters) = (0, 0, false, vec![(account, counters)]);
        let report =
            Report { site, copy: 0, epoch, life, session, head, since_no, through_no, is_last, counters, needs: None };
        self.at_hub(|hub, care, done| hub.reported(care, &report, done))
    }

    /// What happens once in years: a disk is lost, a backup put back, a machine copied, the hub restored, a store given up.
    fn disaster(&mut self) -> Result<(), Violation> {
        if self.is_calm {
            return Ok(());
        }
        let site = self.pick(self.settings.stores);
        let kind = self.random.random_range(0..14_u32);
        if kind <= 3 {
            self.take_images(site);
            return Ok(());
        }
        if matches!(kind, 4 | 12..) {
            return self.restore_hub();
        }
        self.outcome.faults += 1;
        self.hub_images.clear();
        let (tills, purses) = (self.settings.tills, self.settings.purses());
        match kind {
            5 => {
                self.note(|| format!("store {site} loses its disk"));
                self.replace(site, Disk::new(purses), false);
            }
            6..=7 => {
                if let Some(image) = self.images[site].pop() {
                    self.note(|| format!("store {site} is put back to position {}", image.head().seq));
                    self.replace(site, image, true);
                    self.closed_until[site] = self.outcome.steps + self.random.random_range(0..800);
                }
            }
            8 if self.settings.has_copies && self.machines[site].len() == 1 => {
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
    fn answer_for(&mut self, site: usize) -> Result<(), Violation> {
        if !self.hub.waiting.iter().any(|waiting| waiting.0 == site) {
            return Ok(());
        }
        self.note(|| format!("a person answers for store {site}"));
        let known = std::mem::take(&mut self.forgotten);
        let (ended, known) = known.into_iter().partition(|((of, _), _)| *of == site);
        self.forgotten = known;
        for ((site, epoch), lines) in Vec::<((usize, Epoch), Vec<Line>)>::into_iter(ended) {
            self.audit.answered_for(site, epoch, &lines);
        }
        self.at_hub(|hub, care, done| hub.fence(care, site, done))
    }

    /// The hub's database is put back to a backup. What stands in its log on another disk is not forgotten: its life, the epochs, and its own postings.
    fn restore_hub(&mut self) -> Result<(), Violation> {
        let Some(image) = self.hub_images.pop() else { return Ok(()) };
        self.outcome.faults += 1;
        self.note(|| "the hub is put back to a backup".to_owned());
        self.hub_images.clear();
        let log = std::mem::replace(&mut self.hub, image);
        self.hub.life = log.life + 1;
        for (account, pool) in log.pools.iter().enumerate() {
            self.hub.pools[account].loaded_minor = pool.loaded_minor;
            self.hub.pools[account].spent_minor = pool.spent_minor;
        }
        self.hub.collected = log.collected;
        for (site, epochs) in self.hub.stores.iter_mut().enumerate() {
            let living = epochs.last_mut().filter(|held| held.tenure.standing == Standing::Living);
            let Some(held) = living else { continue };
            held.is_forgotten = true;
            self.hub.waiting.insert((site, held.tenure.epoch));
            let Some(known) = log.stores[site].last() else { continue };
            self.forgotten.retain(|(of, _)| of.0 != site);
            self.forgotten.push(((site, held.tenure.epoch), forgotten(&known.lines, &held.lines)));
        }
        self.check_all()
    }

    /// Faults stop; everything under way arrives; every operation that was begun is told.
    fn calm_down(&mut self) -> Result<(), Violation> {
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
                self.at_store(site, 0, Machine::upload)?;
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

/// What a backup has forgotten of lines.
fn forgotten(known: &[Line], held: &[Line]) -> Vec<Line> {
    let of = |(known, held): (&Line, &Line)| {
        let released_minor = known.seen.released_minor - held.seen.released_minor;
        let seen = StoreCounters { released_minor, ..StoreCounters::default() };
        Line { granted_minor: known.granted_minor - held.granted_minor, seen }
    };
    known.iter().zip(held).map(of).collect()
}

impl<C> fmt::Debug for World<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
