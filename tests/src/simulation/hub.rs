//! Hub: head office's database and its running process.

use std::collections::BTreeSet;

use huitong_protocol::allotment::rule::{Care, Rule};
use huitong_protocol::allotment::{
    Creditor, Debt, DebtEvent, Fenced, FencedEvent, HubEvent, HubSide, Kept, Line, Part, Pool, StoreCounters, Suspense,
    Told, may_lower_pools, step_with, takes_report,
};
use huitong_protocol::id::Epoch;
use huitong_protocol::journal::Head;
use huitong_protocol::tenure::{Greeting, NotContinuous, Standing, Tenure};

use super::message::{Account, Journal, Message, Report, Site, Totals};
use super::store;

/// One epoch of a store.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its tenure.
    pub tenure: Tenure,
    /// What it was asked for with.
    pub nonce: u64,
    /// The session of the last hello that was answered, and which that was. Each hello has one of its own, also one that asks again for the same turn: what
    /// a process sent before its machine died, or its database was put back, must not arrive in the session of the process after it.
    pub session: (u64, u64),
    /// How far the hub's life was told by it.
    pub told: Told,
    /// Per account.
    pub lines: Vec<Line>,
    /// Per account, once fenced.
    pub suspense: Vec<Suspense>,
    /// The end of its journal as the hub has it.
    pub kept: Head,
    /// What that comes to.
    pub totals: Totals,
    /// A restored hub has forgotten how much of the journal it had once.
    pub is_forgotten: bool,
    /// It ended while the hub was restored and had not heard it.
    pub is_unheard: bool,
}

impl Held {
    fn mint(epoch: Epoch, nonce: u64, life: u64, purses: usize) -> Self {
        Self {
            tenure: Tenure::mint(epoch),
            nonce,
            session: (0, 0),
            told: Told::begin(life),
            lines: vec![Line::default(); purses],
            suspense: vec![Suspense::default(); purses],
            kept: Head::START,
            totals: Totals { overdrafts: vec![(0, 0); purses], counters: vec![StoreCounters::default(); purses] },
            is_forgotten: false,
            is_unheard: false,
        }
    }
}

/// What a restored hub has forgotten of an epoch.
#[derive(Clone, Debug)]
pub struct Forgotten {
    /// Whose.
    pub site: Site,
    /// Which.
    pub epoch: Epoch,
    /// Per account: granted, and seen to be given back.
    pub lines: Vec<Line>,
    /// It has ended: nobody will tell any more, and a person answers for it.
    pub has_ended: bool,
}

/// Head office's database.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Per account.
    pub pools: Vec<Pool>,
    /// Per store, its epochs in their order.
    pub stores: Vec<Vec<Held>>,
    /// The hub's life: one more after each restore.
    pub life: u64,
    /// Living epochs that this life has not heard.
    pub waiting: BTreeSet<(Site, Epoch)>,
    /// Per account, what was collected of overdrafts and given back of that: head office's own entries.
    pub collected: Vec<(i64, i64)>,
}

/// What a transaction gave.
#[derive(Default)]
pub struct Done {
    /// To be sent after the commit.
    pub send: Vec<Message>,
    /// Accounts to be audited.
    pub touched: Vec<Account>,
    /// Paid back from the risk account.
    pub repaid: Vec<(Site, Epoch, Account, i64)>,
    /// What accounts did with their overdrafts.
    pub settled: Vec<(Account, DebtEvent)>,
}

impl Disk {
    /// A hub with value in its purses, and nobody enrolled. The last purse is that of the risk.
    #[must_use]
    pub fn new(stores: usize, loaded_minor: &[i64]) -> Self {
        let pools = loaded_minor.iter().map(|&loaded_minor| Pool { loaded_minor, ..Pool::default() }).collect();
        let collected = vec![(0, 0); loaded_minor.len()];
        Self { pools, stores: vec![Vec::new(); stores], life: 1, waiting: BTreeSet::new(), collected }
    }

    /// Is put back to a backup. What stands in its log on another disk is not forgotten: its life, which epochs there were and which ended, and its own
    /// postings. Gives what is forgotten of each epoch, be it that a late journal told it.
    #[must_use]
    pub fn restored(log: &Self, mut image: Self, care: &impl Care) -> (Self, Vec<Forgotten>) {
        image.life = log.life + 1;
        image.waiting.clear();
        for (pool, known) in image.pools.iter_mut().zip(&log.pools) {
            (pool.loaded_minor, pool.spent_minor) = (known.loaded_minor, known.spent_minor);
        }
        image.collected.clone_from(&log.collected);
        let (purses, mut forgotten) = (image.pools.len(), Vec::new());
        for (site, epochs) in log.stores.iter().enumerate() {
            for known in epochs {
                let epoch = known.tenure.epoch;
                let at = image.stores[site].iter().position(|held| held.tenure.epoch == epoch);
                if at.is_none() && !care.keeps(Rule::EpochsAreRemembered) {
                    continue;
                }
                let at = at.unwrap_or_else(|| {
                    image.stores[site].push(Held::mint(epoch, known.nonce, log.life, purses));
                    image.stores[site].len() - 1
                });
                let held = &mut image.stores[site][at];
                held.is_forgotten |= known.is_forgotten || held.kept != known.kept;
                let had_ended = held.tenure.standing == Standing::Fenced;
                let has_ended =
                    had_ended || known.tenure.standing == Standing::Fenced && care.keeps(Rule::EpochsAreRemembered);
                if has_ended {
                    held.is_unheard |= !had_ended;
                    held.tenure.standing = Standing::Fenced;
                } else {
                    held.is_forgotten = true;
                    image.waiting.insert((site, epoch));
                }
                forgotten.push(Forgotten { site, epoch, lines: lacking(&known.lines, &held.lines), has_ended });
            }
        }
        (image, forgotten)
    }

    fn risk(&self) -> Account {
        self.pools.len() - 1
    }

    /// What is known of an account's overdrafts.
    #[must_use]
    pub fn debt(&self, account: Account) -> Debt {
        let (collected_minor, returned_minor) = self.collected[account];
        let none = Debt { collected_minor, returned_minor, ..Debt::default() };
        self.stores.iter().flatten().fold(none, |debt, held| {
            let (drawn_minor, back_minor) = held.totals.overdrafts[account];
            Debt { drawn_minor: debt.drawn_minor + drawn_minor, back_minor: debt.back_minor + back_minor, ..debt }
        })
    }

    /// What may be granted of a purse.
    #[must_use]
    pub fn grantable_minor(&self, care: &impl Care, account: Account) -> i64 {
        let risk = self.risk();
        if account != risk {
            return self.pools[account].free_minor();
        }
        let kept = (0..risk).fold(Kept::default(), |kept, account| kept.with_debt(&self.debt(account)));
        let kept = self.stores.iter().flatten().fold(kept, |kept, held| {
            let back_minor = held.totals.overdrafts.iter().map(|overdraft| overdraft.1).sum();
            kept.with_line(held.lines[risk].seen.loaded_minor, back_minor)
        });
        kept.lendable_minor(care, &self.pools[risk])
    }

    /// Collects what an account owes as far as its pool has it, or gives back what was collected too much.
    pub fn settle(&mut self, care: &impl Care, account: Account, done: &mut Done) {
        let risk = self.risk();
        let is_read = self.stores.iter().flatten().all(|held| !held.is_forgotten);
        if account == risk || !self.may_grant(care) {
            return;
        }
        let debt = self.debt(account);
        let side = Creditor { theirs: self.pools[account], risk: self.pools[risk], debt };
        let event = if debt.owed_minor() > 0 {
            DebtEvent::Collect { amount_minor: debt.owed_minor().min(side.theirs.free_minor()) }
        } else if is_read || !care.keeps(Rule::ExcessByWholeJournal) {
            DebtEvent::Return { amount_minor: debt.excess_minor().min(side.risk.free_minor()) }
        } else {
            return;
        };
        if let Ok(next) = step_with(care, &side, event) {
            (self.pools[account], self.pools[risk]) = (next.theirs, next.risk);
            self.collected[account] = (next.debt.collected_minor, next.debt.returned_minor);
            done.settled.push((account, event));
            done.touched.extend([account, risk]);
        }
    }

    /// A store's journal arrives.
    pub fn brought(&mut self, care: &impl Care, journal: &Journal, done: &mut Done) {
        let &Journal { site, copy, epoch, life, session, since, head, ref totals } = journal;
        let (own_life, is_waited_for) = (self.life, self.waiting.contains(&(site, epoch)));
        let is_living = |held: &&mut Held| held.tenure.standing == Standing::Living || !care.keeps(Rule::EpochIsFenced);
        let Some(held) = self.of_epoch(site, epoch).filter(is_living) else {
            return done.send.push(Message::Unheard { site, copy, epoch, nonce: None });
        };
        if !takes_report(care, &(own_life, held.session.0), &(life, session)) {
            return done.send.push(Message::Again { site, copy });
        }
        if since == held.kept && head.seq >= since.seq {
            (held.kept, held.totals) = (head, totals.clone());
        }
        held.is_forgotten &= is_waited_for || held.kept.seq < held.tenure.heard.seq;
        done.send.push(Message::Kept { site, copy, epoch, head: held.kept });
    }

    fn may_grant(&self, care: &impl Care) -> bool {
        may_lower_pools(care, !self.waiting.is_empty())
    }

    /// An epoch of a store.
    pub fn of_epoch(&mut self, site: Site, epoch: Epoch) -> Option<&mut Held> {
        self.stores[site].iter_mut().find(|held| held.tenure.epoch == epoch)
    }

    /// A lost database is found, and a person brings its journal: it says what became of the value of an epoch that ended.
    pub fn found(&mut self, care: &impl Care, site: Site, database: &store::Disk, done: &mut Done) {
        let pools = &mut self.pools;
        let ended =
            |held: &&mut Held| Some(held.tenure.epoch) == database.epoch && held.tenure.standing == Standing::Fenced;
        let Some(held) = self.stores[site].iter_mut().find(ended) else { return };
        // It continues what is here, and has the end that was reported.
        if !database.has(held.kept) || !database.has(held.tenure.heard) {
            return;
        }
        (held.kept, held.totals) = (database.head(), database.totals());
        for (account, &counters) in held.totals.counters.iter().enumerate() {
            let side = Fenced { pool: pools[account], line: held.lines[account], suspense: held.suspense[account] };
            let event = FencedEvent::Journal { counters, is_unheard: held.is_unheard };
            if let Ok(next) = step_with(care, &side, event) {
                (pools[account], held.lines[account]) = (next.pool, next.line);
                done.touched.push(account);
            }
        }
    }

    /// Mints an epoch, and fences the one before.
    pub fn enrol(&mut self, care: &impl Care, site: Site, copy: usize, (nonce, token): (u64, usize), done: &mut Done) {
        let known = self.stores[site].iter().find(|held| held.nonce == nonce).map(|held| held.tenure.epoch);
        if known.is_none() && token != self.stores[site].len() {
            return;
        }
        let epoch = known.unwrap_or_else(|| {
            let last = self.stores[site].last().map_or(0, |held| held.tenure.epoch.0);
            self.fence(care, site, done);
            let held = Held::mint(Epoch(last + 1), nonce, self.life, self.pools.len());
            self.stores[site].push(held);
            Epoch(last + 1)
        });
        done.send.push(Message::Enrolled { site, copy, nonce, epoch, life: self.life });
    }

    /// Ends the living epoch of a store.
    pub fn fence(&mut self, care: &impl Care, site: Site, done: &mut Done) {
        let Some(held) = self.stores[site].last_mut().filter(|held| held.tenure.standing == Standing::Living) else {
            return;
        };
        held.tenure.standing = Standing::Fenced;
        let epoch = held.tenure.epoch;
        held.is_unheard = self.waiting.remove(&(site, epoch));
        for account in 0..self.pools.len() {
            done.touched.push(account);
            if !care.keeps(Rule::SuspenseIsNoPool) {
                let Some(line) = self.of_epoch(site, epoch).map(|held| held.lines[account]) else { continue };
                self.pools[account].released_minor += i64::try_from(line.held().max(0)).unwrap_or(0);
            }
        }
    }

    /// Finance pays an account back what a fenced epoch held.
    pub fn repay(&mut self, care: &impl Care, site: Site, account: Account, done: &mut Done) {
        let pool = self.pools[account];
        for held in self.stores[site].iter_mut().filter(|held| held.tenure.standing == Standing::Fenced) {
            let side = Fenced { pool, line: held.lines[account], suspense: held.suspense[account] };
            let counted = care.keeps(Rule::RepaidWaitsNoMore);
            let waits = if counted { side } else { Fenced { suspense: Suspense::default(), ..side } };
            let amount_minor = waits.waiting_minor();
            if let Ok(next) = step_with(care, &side, FencedEvent::Repay { amount_minor }) {
                (self.pools[account], held.suspense[account]) = (next.pool, next.suspense);
                done.repaid.push((site, held.tenure.epoch, account, amount_minor));
                done.touched.push(account);
                return;
            }
        }
    }

    /// A store begins a session.
    pub fn greet(
        &mut self,
        care: &impl Care,
        site: Site,
        copy: usize,
        (greeting, call): (&Greeting, u64),
        done: &mut Done,
    ) {
        let (life, epoch) = (self.life, greeting.epoch);
        let recovers = self.waiting.contains(&(site, epoch));
        let unheard = Message::Unheard { site, copy, epoch, nonce: Some(greeting.nonce) };
        let Some(living) = self.stores[site].last_mut() else { return done.send.push(unheard) };
        let is_fenced_epoch = living.tenure.epoch != epoch && !care.keeps(Rule::EpochIsFenced);
        match living.tenure.greet(care, greeting, recovers) {
            Ok(tenure) => {
                let heard = tenure.heard;
                let turn = tenure.ratchet.turn;
                if living.session.1 != call || living.tenure != tenure {
                    living.session = (living.session.0 + 1, call);
                }
                living.tenure = tenure;
                let session = living.session.0;
                done.send.push(Message::Welcome { site, copy, epoch, call, turn, session, life, heard });
            }
            Err(_) if is_fenced_epoch => {
                let (turn, session, heard) = (greeting.turn + 1, 0, Head::START);
                done.send.push(Message::Welcome { site, copy, epoch, call, turn, session, life, heard });
            }
            // Of two copies neither can be believed. What an epoch was granted that a restored hub has not heard is a person's to answer for.
            Err(NotContinuous::Copied { .. }) if !recovers => {
                self.fence(care, site, done);
                done.send.push(unheard);
            }
            Err(_) => done.send.push(unheard),
        }
    }

    /// A store's totals arrive, perhaps with a need.
    pub fn reported(&mut self, care: &impl Care, report: &Report, done: &mut Done) {
        let &Report { site, copy, epoch, life, session, head, since_no, through_no, is_last, ref counters, needs } =
            report;
        let own_life = self.life;
        let recovers = self.waiting.contains(&(site, epoch)) && life == self.life;
        let is_waited_for = self.waiting.contains(&(site, epoch)) && care.keeps(Rule::RecoveryWaits);
        let mut pools = std::mem::take(&mut self.pools);
        let known = self
            .of_epoch(site, epoch)
            .filter(|held| held.tenure.standing == Standing::Living || !care.keeps(Rule::EpochIsFenced));
        let Some(held) = known else {
            self.pools = pools;
            return done.send.push(Message::Unheard { site, copy, epoch, nonce: None });
        };
        if !takes_report(care, &(own_life, held.session.0), &(life, session)) {
            self.pools = pools;
            return done.send.push(Message::Again { site, copy });
        }
        if is_waited_for && !recovers {
            self.pools = pools;
            return;
        }
        let mut is_refused = false;
        let part = Part { life: own_life, since_no, through_no, is_last, is_refused };
        if recovers && held.told.misses_before(care, &part) {
            self.pools = pools;
            return;
        }
        for &(account, counters) in counters {
            let side = HubSide { pool: pools[account], line: held.lines[account] };
            let event = if recovers { HubEvent::Recover { counters } } else { HubEvent::Report { counters } };
            match step_with(care, &side, event) {
                Ok(next) if next != side => {
                    (pools[account], held.lines[account]) = (next.pool, next.line);
                    done.touched.push(account);
                }
                Ok(_) => {}
                Err(_) => is_refused = true,
            }
        }
        held.told = held.told.step(care, &Part { is_refused, ..part });
        let is_whole = held.told.is_whole;
        if head.seq > held.tenure.heard.seq {
            held.tenure.heard = head;
        }
        self.pools = pools;
        if recovers && is_whole {
            self.waiting.remove(&(site, epoch));
        }
        // Nor is a part taken, as far as its store knows, that was not taken whole: it is told again until a person has mended what is wrong with it.
        if !(recovers && is_refused && care.keeps(Rule::RefusedIsUntold)) {
            done.send.push(Message::Taken { site, copy, epoch, life: own_life, session, since_no, through_no });
        }
        if let Some((account, missing_minor)) = needs {
            self.give(care, (site, copy, epoch), account, missing_minor, done);
        }
    }

    /// Grants what is missing, or asks other stores for it.
    pub fn give(
        &mut self,
        care: &impl Care,
        (site, copy, epoch): (Site, usize, Epoch),
        account: Account,
        missing_minor: i64,
        done: &mut Done,
    ) {
        if !self.may_grant(care) {
            return;
        }
        let life = self.life;
        let session = self.of_epoch(site, epoch).map_or(0, |held| held.session.0);
        let is_free = self.grantable_minor(care, account) >= missing_minor || !care.keeps(Rule::GrantWithinPool);
        if !is_free {
            for other in (0..self.stores.len()).filter(|&other| other != site) {
                done.send.push(Message::Recall { site: other, account });
                if !care.keeps(Rule::RecallIsNoRelease)
                    && let Some(line) = self.stores[other].last_mut().map(|held| &mut held.lines[account])
                    && line.held() > 0
                {
                    let amount_minor = i64::try_from(line.held()).unwrap_or(0);
                    line.seen.released_minor += amount_minor;
                    self.pools[account].released_minor += amount_minor;
                }
            }
        }
        let amount_minor = if is_free { missing_minor } else { self.grantable_minor(care, account) };
        let pool = self.pools[account];
        let Some(held) = self.of_epoch(site, epoch) else { return };
        let side = HubSide { pool, line: held.lines[account] };
        let (granted_minor, part_minor) = match step_with(care, &side, HubEvent::Grant { amount_minor }) {
            Ok(next) => {
                held.lines[account] = next.line;
                self.pools[account] = next.pool;
                done.touched.push(account);
                (next.line.granted_minor, amount_minor)
            }
            // Nothing is free; what was granted before may have been lost on its way.
            Err(_) => (side.line.granted_minor, 0),
        };
        done.send.push(Message::Grant { site, copy, epoch, life, session, account, granted_minor, part_minor });
    }

    /// Puts value on at head office.
    pub fn load(&mut self, care: &impl Care, account: Account, amount_minor: i64) {
        let side = HubSide { pool: self.pools[account], ..HubSide::default() };
        if let Ok(next) = step_with(care, &side, HubEvent::Load { amount_minor }) {
            self.pools[account] = next.pool;
        }
    }

    /// Takes value off at head office.
    pub fn spend(&mut self, care: &impl Care, account: Account, amount_minor: i64, done: &mut Done) -> bool {
        if !self.may_grant(care) {
            return false;
        }
        // A budget is not cut by what is owed to accounts.
        if account == self.risk() && self.grantable_minor(care, account) < amount_minor {
            return false;
        }
        let side = HubSide { pool: self.pools[account], ..HubSide::default() };
        done.touched.push(account);
        step_with(care, &side, HubEvent::Spend { amount_minor }).map(|next| self.pools[account] = next.pool).is_ok()
    }

    /// Tired of waiting for a store, takes its value back: what a sound hub never does.
    pub fn reclaim(&mut self, site: Site, account: Account, done: &mut Done) {
        let Some(line) = self.stores[site].last_mut().map(|held| &mut held.lines[account]) else { return };
        let held_minor = i64::try_from(line.held().max(0)).unwrap_or(0);
        line.granted_minor -= held_minor;
        self.pools[account].granted_minor -= held_minor;
        done.touched.push(account);
    }
}

/// What a backup has forgotten of lines.
fn lacking(known: &[Line], held: &[Line]) -> Vec<Line> {
    let of = |(known, held): (&Line, &Line)| {
        let released_minor = known.seen.released_minor - held.seen.released_minor;
        let seen = StoreCounters { released_minor, ..StoreCounters::default() };
        Line { granted_minor: known.granted_minor - held.granted_minor, seen }
    };
    known.iter().zip(held).map(of).collect()
}
