//! World: everything there is in a run, and the one thing that happens in a step.

mod calm;
mod fault;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use huitong_protocol::allotment::rule::{Care, Rule};
use huitong_protocol::id::Epoch;
use huitong_protocol::journal::Head;
use huitong_protocol::time::Instant;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::Settings;
use super::audit::{Audit, Kind, Violation};
use super::hub::{self, Forgotten};
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
    /// Databases that were lost, and may be found again.
    lost: Vec<Vec<Disk>>,
    /// The end of the journal that lived an epoch last.
    lived: BTreeMap<(usize, Epoch), Head>,
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
    forgotten: Vec<Forgotten>,
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
            lost: vec![Vec::new(); stores],
            lived: BTreeMap::new(),
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
        let waited_for = self.hub.waiting.len();
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
        for (site, epoch, account, amount_minor) in done.repaid {
            if let Some(held) = self.hub.of_epoch(site, epoch) {
                self.audit.repaid(site, account, amount_minor, held)?;
            }
        }
        for (account, event) in done.settled {
            self.note(|| format!("the hub settles account {account}: {event:?}"));
            self.audit.settled(account, event, &self.hub)?;
        }
        self.send(done.send);
        // A wait that ends says that all is known: later reports might still mend what is not.
        if self.hub.waiting.len() < waited_for {
            return self.check_all();
        }
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
                        self.lose(site, before);
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
                if !journal.owed.is_empty() {
                    self.audit.read(journal.site, journal.epoch, &self.hub);
                }
                Ok(())
            }
            Message::Kept { site, copy, epoch, head } => {
                self.at_store(site, copy, |machine, _, _| machine.kept(epoch, head))
            }
            Message::Grant { site, copy, epoch, life, session, account, granted_minor } => {
                self.at_store(site, copy, |machine, care, done| {
                    machine.granted(care, (epoch, life, session), account, granted_minor, done)
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

    /// A database lies in a drawer.
    fn lose(&mut self, site: usize, database: Disk) {
        if let Some(epoch) = database.epoch {
            self.lived.insert((site, epoch), database.head());
        }
        let drawer = &mut self.lost[site];
        if self.settings.has_disasters && !self.is_exact && database.epoch.is_some() {
            if drawer.len() >= IMAGES_MAX {
                drawer.remove(0);
            }
            drawer.push(database);
        }
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
            0 => self.at_store(site, copy, |machine, care, done| {
                machine.report(care, None, done);
                machine.continue_report(care, done);
            }),
            1 | 14 => self.at_store(site, copy, Machine::continue_report),
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
            // Cut anywhere, or whole.
            9 | 12 => {
                let entries = if amount_minor % 2 == 0 { u64::MAX } else { amount_minor.unsigned_abs() / 8 + 1 };
                self.at_store(site, copy, |machine, care, done| machine.upload(care, entries, done))
            }
            11 if amount_minor % 16 == 0 && account != risk => {
                self.at_hub(|hub, care, done| hub.write_off(care, account, done))
            }
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
}

impl<C> fmt::Debug for World<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
