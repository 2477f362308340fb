//! Hub: head office's database and its running process.

use std::collections::BTreeSet;

use huitong_protocol::allotment::rule::{Care, Rule};
use huitong_protocol::allotment::{
    Fenced, FencedEvent, HubEvent, HubSide, Line, Part, Pool, StoreCounters, Suspense, Told, may_lower_pools,
    step_with, takes_report,
};
use huitong_protocol::debt::{self, Owing, Posting, Reserve, is_backed, is_read_again, is_sound_line, is_sound_so_far};
use huitong_protocol::id::{Epoch, Seq, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::movement::{Direction, MovementKind};
use huitong_protocol::tenure::{Greeting, NotContinuous, Standing, Tenure};

use super::message::{Account, Journal, Message, Owed, Report, Site};
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
    /// What that has of the line of the risk purse: spent, and loaded.
    pub journal: StoreCounters,
    /// Where its journal ended when it had told a restored hub everything.
    pub reread: Seq,
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
            journal: StoreCounters::default(),
            reread: Seq::ZERO,
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
    /// Per account, what is known of its overdrafts.
    pub owings: Vec<Owing>,
    /// Head office's own entries about them, in their order.
    pub postings: Vec<(Account, Posting)>,
    /// How stores are called.
    pub names: Vec<StoreId>,
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
    pub settled: Vec<(Account, Posting)>,
}

impl Disk {
    /// A hub with value in its purses, and nobody enrolled. The last purse is that of the risk.
    #[must_use]
    pub fn new(stores: usize, loaded_minor: &[i64]) -> Self {
        let pools = loaded_minor.iter().map(|&loaded_minor| Pool { loaded_minor, ..Pool::default() }).collect();
        let names = (0..stores).filter_map(|site| format!("S{site}").parse().ok()).collect();
        Self {
            pools,
            stores: vec![Vec::new(); stores],
            life: 1,
            waiting: BTreeSet::new(),
            owings: vec![Owing::default(); loaded_minor.len()],
            postings: Vec::new(),
            names,
        }
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
        for &(account, posting) in &log.postings[image.postings.len()..] {
            image.owings[account].note(posting);
        }
        image.postings.clone_from(&log.postings);
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
                let had_ended = held.tenure.standing == Standing::Fenced;
                let has_ended =
                    had_ended || known.tenure.standing == Standing::Fenced && care.keeps(Rule::EpochsAreRemembered);
                if has_ended {
                    held.is_unheard |= !had_ended;
                    held.tenure.standing = Standing::Fenced;
                } else {
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

    /// What of the risk purse's pool is not to be lent.
    #[must_use]
    pub fn reserve(&self) -> Reserve {
        let (risk, mut reserve) = (self.risk(), Reserve::default());
        self.owings.iter().for_each(|owing| reserve.owe(&owing.debt));
        for held in self.stores.iter().flatten() {
            reserve.report(&held.lines[risk].seen, &held.journal);
        }
        reserve
    }

    /// What may be granted of a purse.
    #[must_use]
    pub fn grantable_minor(&self, care: &impl Care, account: Account) -> i64 {
        let pool = &self.pools[account];
        if account != self.risk() {
            return pool.free_minor();
        }
        i64::try_from(self.reserve().lendable_with(care, pool.free()).max(0)).unwrap_or(i64::MAX)
    }

    /// How the risk purse stands, as people are shown it.
    #[must_use]
    pub fn standing(&self, care: &impl Care) -> debt::Standing {
        let risk = self.risk();
        let mut standing = debt::Standing { reserve: self.reserve(), ..debt::Standing::default() };
        for line in self.stores.iter().flatten().map(|held| &held.lines[risk]) {
            standing.used += i128::from(line.seen.spent_minor) - i128::from(line.seen.loaded_minor);
            standing.left += line.held();
        }
        for Owing { debt, .. } in &self.owings {
            standing.recovered += i128::from(debt.recovered_minor) - i128::from(debt.released_minor);
        }
        standing.unsure = if self.may_grant(care) { 0 } else { self.pools[risk].free() };
        standing
    }

    /// What is known of what an account overdrew in an epoch: drawn, and back.
    #[must_use]
    pub fn overdrawn(&self, account: Account, site: Site, epoch: Epoch) -> (i64, i64) {
        let at = self.owings[account].stores.iter().find(|at| at.place == (self.names[site], epoch));
        at.map_or((0, 0), |at| (at.drawn_minor, at.back_minor))
    }

    fn is_backed(&self, (store, epoch): (StoreId, Epoch)) -> bool {
        let site = self.names.iter().position(|name| *name == store);
        let held = site.and_then(|site| self.stores[site].iter().find(|held| held.tenure.epoch == epoch));
        held.is_some_and(|held| is_backed(&held.lines[self.risk()].seen, &held.journal))
    }

    /// Collects what an account owes as far as its pool has it, or gives back what was collected too much.
    pub fn settle(&mut self, care: &impl Care, account: Account, done: &mut Done) {
        if account == self.risk() || !self.may_grant(care) {
            return;
        }
        let living = self.stores.iter().flatten().filter(|held| held.tenure.standing == Standing::Living);
        let has_read_all = living.into_iter().all(|held| is_read_again(care, held.kept.seq, held.reread));
        if let Some(due) = self.owings[account].due(|place| self.is_backed(place), has_read_all) {
            self.post(care, account, due, done);
        }
    }

    /// Two people give up what an account owes.
    pub fn write_off(&mut self, care: &impl Care, account: Account, done: &mut Done) {
        let amount_minor = self.owings[account].debt.owed_minor();
        if amount_minor > 0 && self.may_grant(care) {
            self.post(care, account, Posting::WriteOff { amount_minor }, done);
        }
    }

    /// Posts as much of it as there is, in one entry.
    fn post(&mut self, care: &impl Care, account: Account, due: Posting, done: &mut Done) {
        let risk = self.risk();
        let purse = |kind: MovementKind| if kind.is_of_risk_account() { risk } else { account };
        let Some(posting) = due.within(&self.pools[purse(due.kinds()[0])]) else { return };
        let (amount_minor, before) = (posting.amount_minor(), (self.pools[account], self.pools[risk]));
        for kind in posting.kinds() {
            let side = HubSide { pool: self.pools[purse(kind)], ..HubSide::default() };
            let event = match kind.direction() {
                Direction::In => HubEvent::Load { amount_minor },
                Direction::Out => HubEvent::Spend { amount_minor },
            };
            let Ok(next) = step_with(care, &side, event) else {
                (self.pools[account], self.pools[risk]) = before;
                return;
            };
            self.pools[purse(kind)] = next.pool;
        }
        self.owings[account].note(posting);
        self.postings.push((account, posting));
        done.settled.push((account, posting));
        done.touched.extend([account, risk]);
    }

    /// Takes what a part of a journal says of debts.
    fn read(&mut self, site: Site, epoch: Epoch, owed: &[Owed]) {
        let place = (self.names[site], epoch);
        for &Owed { account, kind, amount_minor, .. } in owed {
            self.owings[account].add(place, kind, amount_minor);
            let Some(held) = self.of_epoch(site, epoch) else { continue };
            match kind.direction() {
                Direction::In => held.journal.loaded_minor += amount_minor,
                Direction::Out => held.journal.spent_minor += amount_minor,
            }
        }
    }

    /// A store's journal arrives.
    pub fn brought(&mut self, care: &impl Care, journal: &Journal, done: &mut Done) {
        let &Journal { site, copy, epoch, life, session, since, head, ref owed } = journal;
        let own_life = self.life;
        let is_heard = |held: &&mut Held| held.tenure.standing.is_heard(care);
        let Some(held) = self.of_epoch(site, epoch).filter(is_heard) else {
            return done.send.push(Message::Unheard { site, copy, epoch, nonce: None });
        };
        if !takes_report(care, &(own_life, held.session.0), &(life, session)) {
            return done.send.push(Message::Again { site, copy });
        }
        let continues = since == held.kept && head.seq >= since.seq;
        if continues {
            held.kept = head;
        }
        done.send.push(Message::Kept { site, copy, epoch, head: held.kept });
        if continues {
            self.read(site, epoch, owed);
        }
    }

    fn may_grant(&self, care: &impl Care) -> bool {
        may_lower_pools(care, !self.waiting.is_empty())
    }

    /// An epoch of a store.
    pub fn of_epoch(&mut self, site: Site, epoch: Epoch) -> Option<&mut Held> {
        self.stores[site].iter_mut().find(|held| held.tenure.epoch == epoch)
    }

    /// A lost database is found, and a person brings its journal, or what of it can be read: it says what became of the value of an epoch that ended. Gives
    /// whether all of it was taken.
    pub fn found(
        &mut self,
        care: &impl Care,
        site: Site,
        database: &store::Disk,
        entries: u64,
        done: &mut Done,
    ) -> bool {
        let ended =
            |held: &&mut Held| Some(held.tenure.epoch) == database.epoch && held.tenure.standing == Standing::Fenced;
        let Some(held) = self.stores[site].iter_mut().find(ended) else { return true };
        // It continues what is here, and has the end that was reported.
        if !database.has(held.kept) || !database.has(held.tenure.heard) {
            return true;
        }
        let (epoch, since) = (held.tenure.epoch, held.kept.seq);
        held.kept = database.ahead(since, entries);
        let (through, is_whole) = (held.kept.seq, held.kept == database.head());
        let reaches = through >= held.tenure.heard.seq;
        self.read(site, epoch, &database.owed_between(since, through));
        if !reaches {
            return is_whole;
        }
        let (risk, pools) = (self.risk(), &mut self.pools);
        let Some(held) = self.stores[site].iter_mut().find(|held| held.tenure.epoch == epoch) else { return true };
        for (account, counters) in database.counters_at(through).into_iter().enumerate() {
            if account == risk && !is_sound_so_far(care, &counters) {
                continue;
            }
            let side = Fenced { pool: pools[account], line: held.lines[account], suspense: held.suspense[account] };
            let event = FencedEvent::Journal { counters, is_unheard: held.is_unheard };
            if let Ok(next) = step_with(care, &side, event) {
                (pools[account], held.lines[account]) = (next.pool, next.line);
                done.touched.push(account);
            }
        }
        is_whole
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
        let risk = self.risk();
        let mut pools = std::mem::take(&mut self.pools);
        let known = self.of_epoch(site, epoch).filter(|held| held.tenure.standing.is_heard(care));
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
            if account == risk && !is_sound_line(care, &counters) {
                is_refused = true;
                continue;
            }
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
        if recovers && is_whole {
            held.reread = held.tenure.heard.seq;
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
        let granted_minor = match step_with(care, &side, HubEvent::Grant { amount_minor }) {
            Ok(next) => {
                held.lines[account] = next.line;
                self.pools[account] = next.pool;
                done.touched.push(account);
                next.line.granted_minor
            }
            // Nothing is free; what was granted before may have been lost on its way.
            Err(_) => side.line.granted_minor,
        };
        done.send.push(Message::Grant { site, copy, epoch, life, session, account, granted_minor });
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
