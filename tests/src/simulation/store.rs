//! Store: a store's database and its running process.
//!
//! A transaction is a closure over the database that gives what is to be sent; the world decides whether the machine dies before or after its commit.

mod disk;
mod value;

use huitong_protocol::allotment::rule::{Care, Rule};
use huitong_protocol::allotment::{HoldingEvent, Part, StoreEvent, Told as Heard, step_with, takes_grant};
use huitong_protocol::continuity::{Continuity, Seen, compare};
use huitong_protocol::id::Epoch;
use huitong_protocol::journal::Head;
use huitong_protocol::tenure::Greeting;
use huitong_protocol::till::Witness;
use huitong_protocol::time::Instant;

use super::message::{Account, Journal, Message, OpId, Report, Site, Till, Told, Want};

pub use disk::{Disk, Hold};

/// Done with nothing overdrawn.
const DONE: Told = Told::Done { overdrawn_minor: 0 };

/// Counters in a report at most: few, so that there are parts.
const LINES_MAX: usize = 2;

/// What a commit did, for the audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effect {
    /// The operation.
    pub id: OpId,
    /// What it did.
    pub want: Want,
    /// Of a spend or of what came back of one: not the account's own, but a line's of the risk purse.
    pub overdrawn_minor: i64,
}

/// What a transaction gave.
#[derive(Default)]
pub struct Done {
    /// To be sent after the commit.
    pub send: Vec<Message>,
    /// What it did.
    pub effects: Vec<Effect>,
    /// Holds that ended because their time was over.
    pub expired: Vec<OpId>,
    /// Accounts to be audited.
    pub touched: Vec<Account>,
}

/// When a machine dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// It does not.
    No,
    /// Before the commit.
    Before,
    /// After the commit, before anything is sent.
    After,
}

/// Who can say that a database is the one that answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Prover {
    /// A till: it brings the highest position that it saw.
    Till(Till),
    /// The hub: it says how far it heard.
    Hub,
}

fn begin(tills: usize) -> Continuity<Prover> {
    Continuity::begin((0..tills).map(Prover::Till).chain([Prover::Hub]))
}

/// A machine with a database.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Whose.
    pub site: Site,
    /// Which of two copies.
    pub copy: usize,
    /// Its database.
    pub disk: Disk,
    /// What the process knows of its continuity.
    pub continuity: Continuity<Prover>,
    /// Whether the hub has welcomed this process.
    pub has_session: bool,
    /// Which session that was.
    pub session: u64,
    /// What this process asked an epoch with.
    pub nonce: Option<u64>,
    /// Spends that wait for a grant, with who asked.
    pub waiting: Vec<(Till, OpId, Account, i64)>,
    /// The hello of this process that is not answered yet.
    pub call: Option<u64>,
    /// The last change that was sent, known to be taken or not.
    pub sent_no: u64,
    /// Whether its database was put back to an earlier one, or copied, and not enrolled since.
    pub is_copy: bool,
    /// What its clock says.
    pub now: Instant,
}

impl Machine {
    /// Starts a process on a database.
    #[must_use]
    pub fn start(site: Site, copy: usize, disk: Disk, tills: usize) -> Self {
        let continuity = begin(tills);
        let (has_session, nonce, waiting) = (false, None, Vec::new());
        Self {
            site,
            copy,
            disk,
            continuity,
            has_session,
            session: 0,
            nonce,
            waiting,
            call: None,
            sent_no: 0,
            is_copy: false,
            now: Instant(0),
        }
    }

    /// The process dies and starts again.
    pub fn restart(&mut self, tills: usize) {
        self.continuity = begin(tills);
        self.has_session = false;
        (self.nonce, self.call) = (None, None);
        self.waiting.clear();
        self.sent_no = 0;
    }

    /// Runs a transaction, with a machine that may die.
    pub fn transact(
        &mut self,
        care: &impl Care,
        crash: Crash,
        tills: usize,
        work: impl FnOnce(&mut Self, &mut Done),
    ) -> Done {
        let before = (crash == Crash::Before).then(|| self.disk.before());
        let mut done = Done::default();
        work(self, &mut done);
        if let Some(before) = before {
            self.disk.undo(before);
            done.effects.clear();
            done.expired.clear();
        }
        if crash != Crash::No {
            let replies_stay = crash == Crash::Before && !care.keeps(Rule::ReplyAfterCommit);
            done.send.retain(|message| replies_stay && matches!(message, Message::Answer { .. }));
            self.restart(tills);
        }
        done
    }

    /// Whether value may move here.
    #[must_use]
    pub fn may_move_value(&self) -> bool {
        self.disk.epoch.is_some() && !self.disk.is_quarantined && self.continuity.may_move_value()
    }

    fn may_speak(&self, care: &impl Care) -> bool {
        self.disk.epoch.is_some() && (self.may_move_value() || !care.keeps(Rule::UnprovedIsSilent))
    }

    fn answer(&self, till: Till, told: Option<(OpId, Told)>, done: &mut Done) {
        if let Some(witness) = self.disk.witness() {
            done.send.push(Message::Answer { site: self.site, till, told, witness });
        }
    }

    /// A till asks.
    pub fn asked(
        &mut self,
        care: &impl Care,
        till: Till,
        want: Option<(OpId, Want)>,
        shown: Option<Witness>,
        done: &mut Done,
    ) {
        let Some(own) = self.disk.witness() else { return };
        if let Some(shown) = &shown {
            let hash_at = |seq| Ok::<_, std::convert::Infallible>(self.disk.at(seq).map(|head| head.hash));
            let Ok(seen) = compare(care, &own, shown, hash_at);
            self.prove(care, Prover::Till(till), seen);
        } else {
            self.prove(care, Prover::Till(till), Seen::Inside);
        }
        let Some((id, want)) = want else { return self.answer(till, None, done) };
        if care.keeps(Rule::OperationsAreOnce)
            && let Some(&(_, told)) = self.disk.known.get(&id)
        {
            return self.answer(till, Some((id, told)), done);
        }
        match want {
            Want::Trade => {
                self.disk.append(&(id, want));
                self.tell(till, id, want, DONE, done);
            }
            Want::Hold(account, amount_minor, span) => {
                let told = self.set_aside(care, id, (account, amount_minor), span, done);
                self.tell(till, id, want, told, done);
            }
            Want::Capture(of, _, amount_minor) => {
                let told = self.end_hold(care, of, Some(amount_minor), done);
                self.tell(till, id, want, told, done);
            }
            Want::Unhold(of, _) => {
                let told = self.end_hold(care, of, None, done);
                self.tell(till, id, want, told, done);
            }
            Want::Return(of, account, amount_minor) => {
                let told = self.take_back(care, id, of, (account, amount_minor), done);
                self.tell(till, id, want, told, done);
            }
            Want::Load(account, amount_minor) => {
                if self.disk.is_quarantined {
                    return self.tell(till, id, want, Told::Declined, done);
                }
                let event = StoreEvent::Load { amount_minor };
                let told = self.count(care, Some(id), account, HoldingEvent::Moved(event), done);
                self.tell(till, id, want, told, done);
            }
            Want::Spend(account, amount_minor) => {
                if !self.may_move_value() {
                    return self.tell(till, id, want, Told::Declined, done);
                }
                let has_minor = self.disk.holding(account).available_minor();
                let lacks = care.keeps(Rule::SpendWithinHolding) && has_minor < amount_minor;
                if lacks && self.has_session && !self.waiting.iter().any(|waiting| waiting.1 == id) {
                    self.waiting.push((till, id, account, amount_minor));
                    return self.report(care, Some((account, amount_minor - has_minor)), done);
                }
                if !lacks || !self.has_session {
                    let told = self.spend(care, id, account, amount_minor, done);
                    self.tell(till, id, want, told, done);
                }
            }
        }
    }

    fn prove(&mut self, care: &impl Care, prover: Prover, seen: Seen) {
        let known = std::mem::replace(&mut self.continuity, Continuity::Proved);
        self.continuity = known.shown(care, prover, seen);
        if !care.keeps(Rule::HubProvesStart) {
            let known = std::mem::replace(&mut self.continuity, Continuity::Proved);
            self.continuity = known.excused(care, Prover::Hub);
        }
        if let Continuity::Broken(_) = self.continuity {
            self.disk.is_quarantined = true;
        }
    }

    fn tell(&mut self, till: Till, id: OpId, want: Want, told: Told, done: &mut Done) {
        if let Told::Done { overdrawn_minor } = told {
            done.effects.push(Effect { id, want, overdrawn_minor });
        }
        self.disk.told.push((id, want, told));
        self.disk.known.insert(id, (want, told));
        self.waiting.retain(|waiting| waiting.1 != id);
        self.answer(till, Some((id, told)), done);
    }

    /// Waited long enough: the offline answer.
    pub fn give_up(&mut self, care: &impl Care, done: &mut Done) {
        for (till, id, account, amount_minor) in std::mem::take(&mut self.waiting) {
            self.settle(care, till, id, account, amount_minor, done);
        }
    }

    fn settle(&mut self, care: &impl Care, till: Till, id: OpId, account: Account, amount_minor: i64, done: &mut Done) {
        if care.keeps(Rule::OperationsAreOnce) && self.disk.known.contains_key(&id) {
            return;
        }
        let told =
            if self.may_move_value() { self.spend(care, id, account, amount_minor, done) } else { Told::Declined };
        self.tell(till, id, Want::Spend(account, amount_minor), told, done);
    }

    /// Tells the hub what changed since it is known to have taken a part, as much as fits.
    pub fn report(&mut self, care: &impl Care, needs: Option<(Account, i64)>, done: &mut Done) {
        self.tell_hub(care, self.disk.heard.through_no, needs, done);
    }

    /// Tells the next part, though it is not known yet whether the one before arrived.
    pub fn continue_report(&mut self, care: &impl Care, done: &mut Done) {
        self.tell_hub(care, self.disk.heard.through_no.max(self.sent_no), None, done);
    }

    fn tell_hub(&mut self, care: &impl Care, since_no: u64, needs: Option<(Account, i64)>, done: &mut Done) {
        let (Some(epoch), true) = (self.disk.epoch, self.has_session && self.may_speak(care)) else { return };
        let disk = &self.disk;
        let mut changed: Vec<_> = disk
            .changes
            .iter()
            .enumerate()
            .filter(|(_, no)| **no > since_no)
            .map(|(account, no)| (*no, account))
            .collect();
        changed.sort_unstable();
        let is_cut = changed.len() > LINES_MAX;
        let is_known = since_no <= disk.heard.through_no || !care.keeps(Rule::LastFromTaken);
        changed.truncate(LINES_MAX);
        let cut_no = changed.last().map_or(since_no, |changed| changed.0);
        let through_no = if is_cut { cut_no } else { disk.change_no.max(since_no) };
        self.sent_no = through_no;
        done.send.push(Message::Report(Report {
            site: self.site,
            copy: self.copy,
            epoch,
            life: self.disk.life,
            session: self.session,
            head: self.disk.head(),
            since_no,
            through_no,
            is_last: !is_cut && is_known,
            counters: changed.into_iter().map(|(_, account)| (account, self.disk.counters[account])).collect(),
            needs,
        }));
    }

    /// Brings the hub what it lacks of the journal, so many entries at most.
    pub fn upload(&mut self, care: &impl Care, entries: u64, done: &mut Done) {
        let (Some(epoch), true) = (self.disk.epoch, self.has_session && self.may_speak(care)) else { return };
        let (since, head) = (self.disk.kept, self.disk.ahead(self.disk.kept.seq, entries));
        done.send.push(Message::Journal(Journal {
            site: self.site,
            copy: self.copy,
            epoch,
            life: self.disk.life,
            session: self.session,
            since,
            head,
            owed: self.disk.owed_between(since.seq, head.seq),
        }));
    }

    /// The hub says how far it has the journal, be it further or, after it was restored, less far than it was.
    pub fn kept(&mut self, epoch: Epoch, head: Head) {
        if self.disk.epoch != Some(epoch) {
            return;
        }
        if self.disk.has(head) {
            self.disk.kept = head;
        } else {
            self.disk.is_quarantined = true;
        }
    }

    /// The hub took a part. If more is left to tell, tells it.
    pub fn taken(
        &mut self,
        care: &impl Care,
        session: (Epoch, u64, u64),
        (since_no, through_no): (u64, u64),
        done: &mut Done,
    ) {
        // An answer to the process before might be about changes that its database has forgotten.
        if !self.is_own(session) {
            return;
        }
        // The hub only says that it took the part: whether a line of it was refused the store need not know.
        let is_last = through_no >= self.disk.change_no;
        let part = Part { life: session.1, since_no, through_no, is_last, is_refused: false };
        let before = self.disk.heard;
        self.disk.heard = before.step(care, &part);
        if self.disk.heard != before && self.disk.is_untold() {
            self.report(care, None, done);
        }
    }

    fn is_own(&self, (epoch, life, session): (Epoch, u64, u64)) -> bool {
        self.has_session && (self.disk.epoch, self.disk.life, self.session) == (Some(epoch), life, session)
    }

    /// Gives value back.
    pub fn release(&mut self, care: &impl Care, account: Account, amount_minor: i64, done: &mut Done) {
        if !self.may_speak(care) {
            return;
        }
        self.count(care, None, account, HoldingEvent::Moved(StoreEvent::Release { amount_minor }), done);
        self.report(care, None, done);
    }

    /// The hub wants value back: all that nobody waits for.
    pub fn recalled(&mut self, care: &impl Care, account: Account, done: &mut Done) {
        if self.waiting.iter().any(|waiting| waiting.2 == account) {
            return;
        }
        let releasable_minor = self.disk.holding(account).releasable_minor(0);
        if releasable_minor > 0 {
            self.release(care, account, releasable_minor, done);
        } else {
            self.report(care, None, done);
        }
    }

    /// A grant arrives.
    pub fn granted(
        &mut self,
        care: &impl Care,
        session: (Epoch, u64, u64),
        account: Account,
        granted_minor: i64,
        done: &mut Done,
    ) {
        let own = self.disk.epoch.map(|epoch| (epoch, self.disk.life, self.session)).filter(|_| self.has_session);
        if !takes_grant(care, &own, &Some(session)) || !self.may_speak(care) {
            return;
        }
        let holding = self.disk.holding(account);
        let adopt = HoldingEvent::Moved(StoreEvent::Adopt { granted_minor });
        let Ok(next) = step_with(care, &holding, adopt) else { return };
        done.touched.push(account);
        if next != holding {
            self.disk.change(account, next);
            self.disk.append(&("adopt", account, granted_minor));
            self.disk.moved.push((self.disk.head().seq, account, next.counters));
        }
        let (served, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting: &(Till, OpId, Account, i64)| {
                waiting.2 == account && next.available_minor() >= waiting.3
            });
        self.waiting = waiting;
        for (till, id, account, amount_minor) in served {
            self.settle(care, till, id, account, amount_minor, done);
        }
        self.report(care, None, done);
    }

    /// Begins a session. What is sent was written down before.
    pub fn hello(&mut self, (nonce, call): (u64, u64), done: &mut Done) {
        let Some(epoch) = self.disk.epoch else { return };
        if self.disk.is_quarantined {
            return;
        }
        let nonce = *self.disk.greeted.get_or_insert(nonce);
        let greeting = Greeting { epoch, turn: self.disk.turn, nonce };
        self.call = Some(call);
        done.send.push(Message::Hello { site: self.site, copy: self.copy, greeting, call });
    }

    /// The hub welcomes. Gives whether a session begins.
    pub fn welcomed(
        &mut self,
        care: &impl Care,
        (epoch, call): (Epoch, u64),
        (turn, session): (u64, u64),
        life: u64,
        heard: Head,
    ) -> bool {
        // What the hub heard when it answered a process before this one proves nothing: a database that was put back may wait for that answer still.
        if self.disk.epoch != Some(epoch) || self.call != Some(call) || life < self.disk.life {
            return false;
        }
        let own = Witness { epoch, head: self.disk.head() };
        let hash_at = |seq| Ok::<_, std::convert::Infallible>(self.disk.at(seq).map(|head| head.hash));
        let Ok(seen) = compare(care, &own, &Witness { epoch, head: heard }, hash_at);
        self.prove(care, Prover::Hub, seen);
        if self.disk.is_quarantined {
            return false;
        }
        (self.disk.turn, self.disk.life, self.disk.greeted) = (turn, life, None);
        self.disk.heard = self.disk.heard.met(care, life);
        (self.has_session, self.session) = (true, session);
        (self.call, self.sent_no) = (None, 0);
        true
    }

    /// The hub does not hear this epoch.
    pub fn unheard(&mut self, epoch: Epoch, nonce: Option<u64>) {
        if self.disk.epoch != Some(epoch) || (nonce.is_some() && self.disk.greeted != nonce) {
            return;
        }
        self.disk.is_quarantined = true;
        self.has_session = false;
    }

    /// An epoch was minted. Begins it with nothing, if it is this process that asked. Gives whether it does.
    pub fn enrolled(&mut self, care: &impl Care, nonce: u64, epoch: Epoch, life: u64) -> bool {
        let is_later = self.disk.epoch.is_none_or(|own| own < epoch);
        if self.nonce != Some(nonce) && (care.keeps(Rule::EpochByNonce) || !is_later) {
            return false;
        }
        let heard = Heard::begin(life);
        self.disk = Disk { epoch: Some(epoch), life, heard, ..Disk::new(self.disk.counters.len()) };
        (self.nonce, self.has_session, self.is_copy) = (None, false, false);
        self.waiting.clear();
        self.continuity = Continuity::Proved;
        true
    }
}
