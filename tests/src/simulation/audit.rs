//! Audit: what was truly loaded and spent, and whether the nodes' books could ever let more be spent than that.
//!
//! The check is on what *could* be spent: the pool, what every machine that would pass its proof holds, and what is on its way. A mistake shows there
//! long before somebody spends twice. Truth is what tills were told, and what stands in a living database. It is kept per epoch of a store, so that what one
//! lost disk held never hides what another gave twice: of each epoch `granted − released + loads − spends` is what is left there, wherever its database is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use huitong_protocol::allotment::Line;
use huitong_protocol::allotment::rule::Sound;
use huitong_protocol::debt::{Debt, Posting};
use huitong_protocol::id::Epoch;
use huitong_protocol::tenure::Standing;
use huitong_protocol::till::Witness;

use super::hub::{self, Held};
use super::message::{Account, OpId, Site, Want};
use super::store::{Disk, Effect, Machine};
use super::till::TillNode;

/// What is true of one operation.
#[derive(Clone, Debug, Default)]
struct Truth {
    /// The epoch that told a till that it is done, and how much was overdrawn.
    told: Option<(Epoch, i64)>,
    /// In which copies' and epochs' living databases it stands, with repetition, and how much was overdrawn there.
    stands: Vec<(usize, Epoch, i64)>,
}

impl Truth {
    /// The epochs in which it counts: each database that has it, or when there is none and a till was told, the one that said so.
    fn counts(&self) -> Vec<(Epoch, i64)> {
        if self.stands.is_empty() {
            return self.told.into_iter().collect();
        }
        self.stands.iter().map(|&(_, epoch, overdrawn_minor)| (epoch, overdrawn_minor)).collect()
    }
}

/// What is true of one epoch, per account.
#[derive(Clone, Debug)]
struct Book {
    loaded_minor: Vec<i64>,
    spent_minor: Vec<i64>,
    /// Loads that do not count here any more, though they may have been spent here: no till was told of them when the only database that had them was lost,
    /// or they came again and count where they were done then.
    undone_minor: Vec<i64>,
    /// What may be spent beyond: what two copies of the store both had; what a restored hub forgot to have granted when a person ended the epoch.
    excused_minor: Vec<i64>,
    /// What a restored hub forgot that it was given back when a person ended the epoch: others may hold it.
    owed_minor: Vec<i64>,
    /// What was overdrawn and came back as far as head office ever read its journal, be it forgotten since.
    read: Vec<(i64, i64)>,
    /// Its database was copied.
    is_copied: bool,
}

/// What the nodes did to the accounts.
#[derive(Clone, Debug)]
pub struct Audit {
    operations: HashMap<OpId, Truth>,
    /// Per store and epoch.
    books: Vec<Vec<Book>>,
    loaded_minor: Vec<i64>,
    spent_minor: Vec<i64>,
    /// Holds that are open in a database, by the store and its copy.
    holds: BTreeMap<(Site, usize), BTreeMap<OpId, (Account, i64)>>,
    /// What accounts truly overdrew.
    debts: Vec<Debt>,
    /// What they may all together.
    budget_minor: i64,
}

/// In which way it is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// More could be spent than there is.
    Overdraft,
    /// Something was done twice, or lived twice.
    Twice,
    /// Books do not add up: value is missing, or nobody knows from where it came.
    Missing,
    /// Something that must end does not.
    Liveness,
    /// An assertion of the core.
    Assertion,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overdraft => "overdraft",
            Self::Twice => "twice",
            Self::Missing => "missing",
            Self::Liveness => "liveness",
            Self::Assertion => "assertion",
        }
    }
}

/// What must never be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// In which way it is wrong.
    pub kind: Kind,
    /// What is.
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.words)
    }
}

impl Kind {
    /// A violation of this kind.
    #[must_use]
    pub const fn of(self, words: String) -> Violation {
        Violation { kind: self, words }
    }
}

/// Where the database of an epoch is, as far as value goes.
struct Place<'a> {
    machine: &'a Machine,
    has_session: bool,
}

impl Audit {
    /// Of purses that begin with so much. The last is that of the risk, and what it has is the budget.
    #[must_use]
    pub fn new(stores: usize, loaded_minor: &[i64]) -> Self {
        Self {
            operations: HashMap::new(),
            books: vec![Vec::new(); stores],
            loaded_minor: loaded_minor.to_vec(),
            spent_minor: vec![0; loaded_minor.len()],
            holds: BTreeMap::new(),
            debts: vec![Debt::default(); loaded_minor.len()],
            budget_minor: loaded_minor.last().copied().unwrap_or(0),
        }
    }

    fn risk(&self) -> Account {
        self.loaded_minor.len() - 1
    }

    /// What all accounts may owe together.
    #[must_use]
    pub const fn budget_minor(&self) -> i64 {
        self.budget_minor
    }

    fn book(&mut self, site: Site, epoch: Epoch) -> &mut Book {
        let accounts = self.loaded_minor.len();
        let nothing = || vec![0; accounts];
        let place = epoch.0 as usize;
        while self.books[site].len() <= place {
            self.books[site].push(Book {
                loaded_minor: nothing(),
                spent_minor: nothing(),
                undone_minor: nothing(),
                excused_minor: nothing(),
                owed_minor: nothing(),
                read: vec![(0, 0); accounts],
                is_copied: false,
            });
        }
        &mut self.books[site][place]
    }

    /// Changes what is true of an operation, and what its epochs' books come to. `returns` says that a database came back with it.
    fn reckon(&mut self, id: OpId, want: Want, returns: bool, change: impl FnOnce(&mut Truth)) {
        let truth = self.operations.entry(id).or_default();
        let before = truth.counts();
        change(truth);
        let after = truth.counts();
        let (account, amount_minor, is_load) = match want {
            Want::Trade | Want::Hold(..) | Want::Unhold(..) => return,
            Want::Load(account, amount_minor) | Want::Return(_, account, amount_minor) => (account, amount_minor, true),
            Want::Spend(account, amount_minor) | Want::Capture(_, account, amount_minor) => {
                (account, amount_minor, false)
            }
        };
        let mut changes: Vec<((Epoch, i64), i64)> = Vec::new();
        for (counts, sign) in
            before.into_iter().map(|counts| (counts, -1)).chain(after.into_iter().map(|counts| (counts, 1)))
        {
            match changes.iter_mut().find(|change| change.0 == counts) {
                Some(change) => change.1 += sign,
                None => changes.push((counts, sign)),
            }
        }
        let risk = self.risk();
        for ((epoch, overdrawn_minor), times) in changes {
            for (purse, part_minor) in [(account, amount_minor - overdrawn_minor), (risk, overdrawn_minor)] {
                let risen_minor = times * part_minor;
                let book = self.book(id.site, epoch);
                if is_load {
                    book.loaded_minor[purse] += risen_minor;
                    if times < 0 || returns {
                        book.undone_minor[purse] = (book.undone_minor[purse] - risen_minor).max(0);
                    }
                    self.loaded_minor[purse] += risen_minor;
                } else {
                    book.spent_minor[purse] += risen_minor;
                    self.spent_minor[purse] += risen_minor;
                }
            }
            let debt = &mut self.debts[account];
            let counter = if is_load { &mut debt.back_minor } else { &mut debt.drawn_minor };
            *counter += times * overdrawn_minor;
        }
    }

    /// A database committed an operation.
    ///
    /// # Errors
    /// It stands there already.
    pub fn committed(&mut self, copy: usize, epoch: Epoch, effect: Effect) -> Result<(), Violation> {
        let Effect { id, want, overdrawn_minor } = effect;
        let mut twice = false;
        self.reckon(id, want, false, |truth| {
            twice = truth.stands.iter().any(|stands| (stands.0, stands.1) == (copy, epoch));
            truth.stands.push((copy, epoch, overdrawn_minor));
        });
        if twice { Err(Kind::Twice.of(format!("{id:?} {want:?} had two effects"))) } else { Ok(()) }
    }

    /// What a database committed about its holds.
    ///
    /// # Errors
    /// One ended that was not open, or not as much is set aside as is promised.
    pub fn promised(&mut self, machine: &Machine, effects: &[Effect], expired: &[OpId]) -> Result<(), Violation> {
        let is_about = |effect: &Effect| matches!(effect.want, Want::Hold(..) | Want::Capture(..) | Want::Unhold(..));
        if expired.is_empty() && !effects.iter().any(is_about) {
            return Ok(());
        }
        let open = self.holds.entry((machine.site, machine.copy)).or_default();
        let mut ended = expired.to_vec();
        for effect in effects {
            match effect.want {
                Want::Hold(account, amount_minor, _) => {
                    open.insert(effect.id, (account, amount_minor));
                }
                Want::Capture(of, ..) | Want::Unhold(of, _) => ended.push(of),
                _ => {}
            }
        }
        for of in ended {
            if open.remove(&of).is_none() {
                return Err(Kind::Twice.of(format!("the hold {of:?} of store {} ended and was over", machine.site)));
            }
        }
        for (account, &held_minor) in machine.disk.held_minor.iter().enumerate() {
            let promised_minor: i64 = open.values().filter(|hold| hold.0 == account).map(|hold| hold.1).sum();
            if promised_minor != held_minor {
                return Err(Kind::Missing.of(format!(
                    "account {account}: {held_minor} is set aside at store {}, {promised_minor} is promised",
                    machine.site
                )));
            }
        }
        Ok(())
    }

    /// A machine has another database than before.
    pub fn replaced(&mut self, machine: &Machine) {
        let holds = machine.disk.holds.iter().filter(|(_, hold)| hold.term.is_open);
        let open = holds.map(|(id, hold)| (*id, (hold.account, hold.amount_minor))).collect();
        self.holds.insert((machine.site, machine.copy), open);
    }

    /// A till was told that an operation is done.
    pub fn told(&mut self, epoch: Epoch, effect: Effect) {
        let Effect { id, want, overdrawn_minor } = effect;
        self.reckon(id, want, true, |truth| truth.told = Some((epoch, overdrawn_minor)));
    }

    /// A database that had an operation is no more.
    pub fn lost(&mut self, copy: usize, epoch: Epoch, effect: Effect) {
        self.reckon(effect.id, effect.want, false, |truth| {
            if let Some(place) = truth.stands.iter().position(|stands| (stands.0, stands.1) == (copy, epoch)) {
                truth.stands.swap_remove(place);
            }
        });
    }

    /// A database that has an operation is there again: a backup was put back.
    pub fn stands_again(&mut self, copy: usize, epoch: Epoch, effect: Effect) {
        let Effect { id, want, overdrawn_minor } = effect;
        self.reckon(id, want, true, |truth| truth.stands.push((copy, epoch, overdrawn_minor)));
    }

    /// A database was copied, and both live. Nothing can keep the copy's tills and the original's from spending what both had; what they get later is
    /// bounded by the hub, which finds them out at the next hello.
    pub fn copied(&mut self, site: Site, machine: &Machine, hub: &hub::Disk) {
        if let Some(epoch) = machine.disk.epoch {
            self.book(site, epoch).is_copied = true;
        }
        for (account, counters) in machine.disk.counters.iter().enumerate() {
            self.excuse(site, machine, hub, account, counters.available_minor());
        }
    }

    /// A store began a session. If it is one of two copies, what was granted to the other since they parted is told to both, until the other is found out.
    pub fn welcomed(&mut self, site: Site, machine: &Machine, hub: &hub::Disk) {
        let is_copied = |epoch: Epoch| self.books[site].get(epoch.0 as usize).is_some_and(|book| book.is_copied);
        if !machine.disk.epoch.is_some_and(is_copied) {
            return;
        }
        for account in 0..machine.disk.counters.len() {
            self.excuse(site, machine, hub, account, 0);
        }
    }

    fn excuse(&mut self, site: Site, machine: &Machine, hub: &hub::Disk, account: Account, had_minor: i64) {
        let held = hub.stores[site].iter().find(|held| Some(held.tenure.epoch) == machine.disk.epoch);
        let (Some(held), Some(epoch)) = (held, machine.disk.epoch) else { return };
        let on_its_way_minor = held.lines[account].granted_minor - machine.disk.counters[account].adopted_minor;
        self.book(site, epoch).excused_minor[account] += had_minor + on_its_way_minor.max(0);
    }

    /// A person ended an epoch of which a restored hub had forgotten so much: the group bears it.
    pub fn answered_for(&mut self, site: Site, epoch: Epoch, forgotten: &[Line]) {
        let book = self.book(site, epoch);
        for (account, line) in forgotten.iter().enumerate() {
            book.excused_minor[account] += line.granted_minor;
            book.owed_minor[account] += line.granted_minor + line.seen.released_minor;
        }
    }

    /// A person brings the journal of a database that was not the last to live its epoch: one that was put back went on from an earlier entry, and is gone
    /// with what it did and told nobody. What the journal gave back the other may have spent: the group bears it.
    pub fn brought_aside(&mut self, site: Site, database: &Disk, hub: &hub::Disk) {
        let Some(epoch) = database.epoch else { return };
        let Some(held) = hub.stores[site].iter().find(|held| held.tenure.epoch == epoch) else { return };
        for (account, counters) in database.counters.iter().enumerate() {
            let more_minor = counters.released_minor - held.lines[account].seen.released_minor;
            self.book(site, epoch).excused_minor[account] += more_minor.max(0);
        }
    }

    /// Head office put value on, or the group paid an account back.
    pub fn hub_loaded(&mut self, account: Account, amount_minor: i64) {
        self.loaded_minor[account] += amount_minor;
        if account == self.risk() {
            self.budget_minor += amount_minor;
        }
    }

    /// The group paid an account back what an epoch held that ended.
    ///
    /// # Errors
    /// It was paid more than there ever was.
    pub fn repaid(&mut self, site: Site, account: Account, amount_minor: i64, held: &Held) -> Result<(), Violation> {
        let (epoch, line, repaid_minor) = (held.tenure.epoch, held.lines[account], held.suspense[account].repaid_minor);
        let book = self.book(site, epoch);
        let loaded_minor = book.loaded_minor[account] + book.undone_minor[account];
        let most_minor = line.granted_minor - line.seen.released_minor + loaded_minor - line.seen.spent_minor;
        if repaid_minor > most_minor {
            return Err(Kind::Twice.of(format!(
                "account {account}: {repaid_minor} was paid back of store {site}-{epoch}, which had {most_minor}"
            )));
        }
        self.hub_loaded(account, amount_minor);
        Ok(())
    }

    /// Head office took value off.
    pub fn hub_spent(&mut self, account: Account, amount_minor: i64) {
        self.spent_minor[account] += amount_minor;
        if account == self.risk() {
            self.budget_minor -= amount_minor;
        }
    }

    /// Head office took a journal up to where it has come to so much.
    pub fn read(&mut self, site: Site, epoch: Epoch, hub: &hub::Disk) {
        for (account, read) in self.book(site, epoch).read.iter_mut().enumerate() {
            let told = hub.overdrawn(account, site, epoch);
            *read = (read.0.max(told.0), read.1.max(told.1));
        }
    }

    /// Head office posted about an overdraft. What it once knew of epochs that ended it may have forgotten for good, and a person answers for that.
    ///
    /// # Errors
    /// By what it once knew so much was not owed, or not collected too much.
    pub fn settled(&mut self, account: Account, posting: Posting, hub: &hub::Disk) -> Result<(), Violation> {
        let (mut drawn_minor, mut back_minor) = (0, 0);
        for (site, held) in
            hub.stores.iter().enumerate().flat_map(|(site, epochs)| epochs.iter().map(move |held| (site, held)))
        {
            let epoch = held.tenure.epoch;
            let read = self.books[site].get(epoch.0 as usize).filter(|_| held.tenure.standing == Standing::Living);
            let (drawn, back) = read.map_or_else(|| hub.overdrawn(account, site, epoch), |book| book.read[account]);
            drawn_minor += drawn;
            back_minor += back;
        }
        let (risk, debt) = (self.risk(), &mut self.debts[account]);
        let known = Debt { drawn_minor, back_minor, ..*debt };
        let (from, to, amount_minor) = match posting {
            Posting::Collect { amount_minor } => {
                debt.recovered_minor += amount_minor;
                (account, risk, amount_minor)
            }
            Posting::Return { amount_minor } if amount_minor > known.excess_minor() => {
                let excess_minor = known.excess_minor();
                return Err(Kind::Twice.of(format!(
                    "account {account} was given back {amount_minor} of what it overdrew, and had paid {excess_minor} too much"
                )));
            }
            Posting::Return { amount_minor } => {
                debt.released_minor += amount_minor;
                (risk, account, amount_minor)
            }
            // It is owed as before, as far as the budget goes: what is lost of that is not lent again.
            Posting::WriteOff { amount_minor } => (risk, risk, amount_minor),
        };
        self.spent_minor[from] += amount_minor;
        self.loaded_minor[to] += amount_minor;
        Ok(())
    }

    /// Checks the books of an account. `is_exact` says that nothing was ever lost: then everything must be where it can be spent.
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
        let owed: i64 = self.books.iter().flatten().map(|book| book.owed_minor[account]).sum();
        // Where a person answered for an epoch, value that its store gave back and others got is in suspense until finance says so.
        if !recovers && pool < -i128::from(owed) {
            return Err(Kind::Overdraft.of(format!("account {account}: the pool is {pool}")));
        }
        let (mut could, mut lost, mut drawable) = (pool, 0_i128, 0_i128);
        for (site, epochs) in hub.stores.iter().enumerate() {
            for held in epochs {
                let places = places(&machines[site], held, &tills[site]);
                let (found, left, spendable) = self.check_epoch(account, hub, site, held, &places)?;
                could += found;
                lost += left;
                drawable += spendable;
            }
        }
        if account == self.risk() {
            self.check_owed(drawable, hub, recovers)?;
        }
        let truth = i128::from(self.loaded_minor[account]) - i128::from(self.spent_minor[account]);
        if could + lost != truth || (is_exact && lost != 0) {
            let places =
                machines.iter().flatten().map(|machine| words(machine, account)).collect::<Vec<_>>().join("; ");
            return Err(Kind::Missing.of(format!(
                "account {account}: {could} can be found and {lost} is lost of {truth}; pool {pool}; {places}"
            )));
        }
        Ok(())
    }

    /// What accounts owe, and what their stores' lines and the hub could let them owe besides, is within the budget.
    fn check_owed(&self, drawable: i128, hub: &hub::Disk, recovers: bool) -> Result<(), Violation> {
        let risk = self.risk();
        let owed: i128 = self.debts.iter().map(|debt| i128::from(debt.owed_minor())).sum();
        let borne = |book: &Book| book.excused_minor[risk] + book.undone_minor[risk] + book.owed_minor[risk];
        let borne: i64 = self.books.iter().flatten().map(borne).sum();
        let most = i128::from(self.budget_minor) + i128::from(borne);
        let lendable = if recovers { 0 } else { i128::from(hub.grantable_minor(&Sound, risk)) };
        let coming = if recovers { 0 } else { drawable + lendable };
        let shown = hub.standing(&Sound).exposure();
        if !recovers && owed + drawable > shown + i128::from(borne) {
            return Err(Kind::Missing.of(format!(
                "accounts owe {owed} and lines have {drawable}: people are shown {shown}, and {borne} was borne"
            )));
        }
        if owed + coming > most {
            return Err(Kind::Overdraft.of(format!(
                "accounts owe {owed}, lines have {drawable} and {lendable} may be lent: the budget is {} and {borne} was borne",
                self.budget_minor
            )));
        }
        Ok(())
    }

    /// What of an epoch's value can be found in a database that would pass its proof, what is with none, and what of it may be spent in the end.
    fn check_epoch(
        &self,
        account: Account,
        hub: &hub::Disk,
        site: Site,
        held: &Held,
        places: &[Place<'_>],
    ) -> Result<(i128, i128, i128), Violation> {
        let (line, epoch) = (&held.lines[account], held.tenure.epoch);
        let book = self.books[site].get(epoch.0 as usize);
        let of = |part: fn(&Book) -> &Vec<i64>| book.map_or(0, |book| i128::from(part(book)[account]));
        let (loaded, spent, excused) =
            (of(|book| &book.loaded_minor), of(|book| &book.spent_minor), of(|book| &book.excused_minor));
        let excused = excused + of(|book| &book.undone_minor);
        let is_copied = book.is_some_and(|book| book.is_copied);
        let is_waited_for = hub.waiting.contains(&(site, epoch));
        let is_living = held.tenure.standing == Standing::Living;
        let left = i128::from(line.granted_minor) - i128::from(line.seen.released_minor) + loaded - spent;
        let overdraft =
            |words: String| Err(Kind::Overdraft.of(format!("account {account}: store {site}-{epoch} {words}")));
        if left < -excused && !is_waited_for {
            return overdraft(format!("gave or spent {} more than it had, of {excused} excused", -left));
        }
        let (mut found, mut could, mut coming_most) = (0, 0, 0);
        for &Place { machine, has_session } in places {
            let counters = &machine.disk.counters[account];
            let has = counters.available();
            let held = machine.disk.held_minor[account];
            if has < i128::from(held) {
                return overdraft(format!("has {has}, and {held} is promised"));
            }
            let coming = i128::from(line.granted_minor) - i128::from(counters.adopted_minor);
            let going = i128::from(counters.released_minor) - i128::from(line.seen.released_minor);
            if !is_waited_for && !is_copied && ((coming < 0 && -coming > excused) || (is_living && going < 0)) {
                return overdraft(format!(
                    "adopted {} of {} and the hub saw {} released of {}",
                    counters.adopted_minor, line.granted_minor, line.seen.released_minor, counters.released_minor
                ));
            }
            found += has + coming + going;
            could += has;
            // Of two copies only one has the session that brings what is on its way.
            if !is_copied || has_session {
                coming_most = coming.max(coming_most);
            }
        }
        if places.is_empty() {
            return Ok((0, left, 0));
        }
        if is_copied {
            if could + coming_most > left + excused && !is_waited_for {
                return overdraft(format!("could spend {} of {left}, of {excused} excused", could + coming_most));
            }
            return Ok((0, left, could + coming_most));
        }
        Ok((found, 0, could + coming_most))
    }
}

/// The databases of an epoch that would pass their proof.
fn places<'a>(machines: &'a [Machine], held: &Held, tills: &[TillNode]) -> Vec<Place<'a>> {
    let epoch = held.tenure.epoch;
    let heard = Witness { epoch, head: held.tenure.heard };
    let would_prove = |machine: &&Machine| {
        machine.disk.epoch == Some(epoch)
            && !machine.disk.is_quarantined
            && tills.iter().filter_map(|till| till.witness).all(|witness| machine.disk.contains(&witness))
            && (machine.may_move_value() || machine.disk.contains(&heard))
    };
    let place =
        |machine: &'a Machine| Place { machine, has_session: machine.has_session && machine.session == held.session.0 };
    machines.iter().filter(would_prove).map(place).collect()
}

fn words(machine: &Machine, account: Account) -> String {
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
