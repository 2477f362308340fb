//! Disk: a store's database, and what a transaction may have to be put back to.

use std::collections::{BTreeMap, HashMap, HashSet};

use huitong_protocol::allotment::{Holding, StoreCounters, Term, Told as Heard};
use huitong_protocol::id::{Epoch, Seq};
use huitong_protocol::journal::{Head, link};
use huitong_protocol::movement::MovementKind;
use huitong_protocol::till::Witness;

use super::super::message::{Account, OpId, Owed, Told, Want};

/// A hold in a store's database.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// Of which account.
    pub account: Account,
    /// What it sets aside.
    pub amount_minor: i64,
    /// Until when.
    pub term: Term,
}

/// A store's database. What only grows is kept apart, so that a transaction can be undone by cutting it.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The epoch that it lives; none before its enrolment.
    pub epoch: Option<Epoch>,
    /// Counters per account.
    pub counters: Vec<StoreCounters>,
    /// What of each is set aside.
    pub held_minor: Vec<i64>,
    /// Holds, ended or not, in the order of their names.
    pub holds: BTreeMap<OpId, Hold>,
    /// The last change of each account's counters.
    pub changes: Vec<u64>,
    /// How many changes there were.
    pub change_no: u64,
    /// How far the hub is known to have taken them.
    pub heard: Heard,
    /// The journal: the chain's hashes by position.
    pub chain: Vec<Head>,
    /// Operations and what was told, in their order.
    pub told: Vec<(OpId, Want, Told)>,
    /// What the journal says of debts, in its order.
    pub owed: Vec<Owed>,
    /// What it says of counters: the entry, and the account's as they are from it on.
    pub moved: Vec<(Seq, Account, StoreCounters)>,
    /// How far the hub is known to have the journal.
    pub kept: Head,
    /// The highest life of the hub that it met.
    pub life: u64,
    /// Its turn of the ratchet.
    pub turn: u64,
    /// The nonce of a hello that is not answered yet.
    pub greeted: Option<u64>,
    /// It is proved to have forgotten something, or the hub does not hear it.
    pub is_quarantined: bool,
    pub(super) known: HashMap<OpId, (Want, Told)>,
    /// Spends of which the goods came back.
    pub(super) returned: HashSet<OpId>,
}

/// What a transaction may have to be put back to.
pub(super) struct Before {
    counters: Vec<StoreCounters>,
    held_minor: Vec<i64>,
    holds: BTreeMap<OpId, Hold>,
    changes: Vec<u64>,
    change_no: u64,
    heard: Heard,
    chain: usize,
    told: usize,
    owed: usize,
    moved: usize,
    kept: Head,
    life: u64,
    turn: u64,
    greeted: Option<u64>,
    is_quarantined: bool,
}

impl Disk {
    /// An empty one, with so many purses: the last is that of the risk.
    #[must_use]
    pub fn new(purses: usize) -> Self {
        Self {
            epoch: None,
            counters: vec![StoreCounters::default(); purses],
            held_minor: vec![0; purses],
            holds: BTreeMap::new(),
            changes: vec![0; purses],
            change_no: 0,
            heard: Heard::default(),
            chain: Vec::new(),
            told: Vec::new(),
            owed: Vec::new(),
            moved: Vec::new(),
            kept: Head::START,
            life: 0,
            turn: 0,
            greeted: None,
            is_quarantined: false,
            known: HashMap::new(),
            returned: HashSet::new(),
        }
    }

    /// What the journal says of debts after one entry, up to another.
    #[must_use]
    pub fn owed_between(&self, after: Seq, through: Seq) -> Vec<Owed> {
        let from = self.owed.partition_point(|owed| owed.seq <= after);
        self.owed[from..].iter().take_while(|owed| owed.seq <= through).copied().collect()
    }

    /// The counters as the journal has them at an entry.
    #[must_use]
    pub fn counters_at(&self, seq: Seq) -> Vec<StoreCounters> {
        let mut counters = vec![StoreCounters::default(); self.counters.len()];
        for &(_, account, known) in self.moved.iter().take_while(|moved| moved.0 <= seq) {
            counters[account] = known;
        }
        counters
    }

    /// So many entries after a position, or the journal's end.
    #[must_use]
    pub fn ahead(&self, of: Seq, entries: u64) -> Head {
        self.at(Seq(of.0.saturating_add(entries))).unwrap_or_else(|| self.head())
    }

    /// The last entry says so of a debt.
    pub(super) fn owe(&mut self, account: Account, kind: MovementKind, amount_minor: i64) {
        self.owed.push(Owed { seq: self.head().seq, account, kind, amount_minor });
    }

    /// The place of the risk purse.
    #[must_use]
    pub fn risk(&self) -> Account {
        self.counters.len() - 1
    }

    /// Whether it has a position of the journal.
    #[must_use]
    pub fn has(&self, head: Head) -> bool {
        head.seq == Seq::ZERO || self.at(head.seq) == Some(head)
    }

    /// The end of its journal.
    #[must_use]
    pub fn head(&self) -> Head {
        self.chain.last().copied().unwrap_or(Head::START)
    }

    /// Its end as tills are shown it.
    #[must_use]
    pub fn witness(&self) -> Option<Witness> {
        self.epoch.map(|epoch| Witness { epoch, head: self.head() })
    }

    /// Whether it contains a witness, in truth.
    #[must_use]
    pub fn contains(&self, witness: &Witness) -> bool {
        match self.epoch {
            None => true,
            Some(epoch) if witness.epoch != epoch => witness.epoch < epoch,
            Some(_) => self.has(witness.head),
        }
    }

    pub(super) fn at(&self, seq: Seq) -> Option<Head> {
        let place = usize::try_from(seq.0.checked_sub(1)?).ok()?;
        self.chain.get(place).copied()
    }

    /// Writes an entry. As in a real journal no two entries are the same, unless they say the same of the same operation.
    pub(super) fn append(&mut self, entry: &impl std::hash::Hash) {
        let head = self.head();
        let mut content = std::hash::DefaultHasher::new();
        entry.hash(&mut content);
        let content = std::hash::Hasher::finish(&content).to_le_bytes();
        self.chain.push(Head { seq: head.seq.next(), hash: link(head.hash, &content) });
    }

    /// A purse with what is set aside of it.
    #[must_use]
    pub fn holding(&self, account: Account) -> Holding {
        Holding { counters: self.counters[account], held_minor: self.held_minor[account] }
    }

    pub(super) fn change(&mut self, account: Account, next: Holding) {
        self.held_minor[account] = next.held_minor;
        if self.counters[account] == next.counters {
            return;
        }
        self.counters[account] = next.counters;
        self.change_no += 1;
        self.changes[account] = self.change_no;
    }

    /// Whether the hub has not taken everything yet, as far as the store knows.
    #[must_use]
    pub fn is_untold(&self) -> bool {
        self.heard.through_no < self.change_no || !self.heard.is_whole || self.kept != self.head()
    }

    pub(super) fn before(&self) -> Before {
        Before {
            counters: self.counters.clone(),
            held_minor: self.held_minor.clone(),
            holds: self.holds.clone(),
            changes: self.changes.clone(),
            change_no: self.change_no,
            heard: self.heard,
            chain: self.chain.len(),
            told: self.told.len(),
            owed: self.owed.len(),
            moved: self.moved.len(),
            kept: self.kept,
            life: self.life,
            turn: self.turn,
            greeted: self.greeted,
            is_quarantined: self.is_quarantined,
        }
    }

    pub(super) fn undo(&mut self, before: Before) {
        (self.counters, self.changes) = (before.counters, before.changes);
        (self.held_minor, self.holds) = (before.held_minor, before.holds);
        (self.change_no, self.heard) = (before.change_no, before.heard);
        self.chain.truncate(before.chain);
        for (id, want, _) in self.told.drain(before.told..) {
            self.known.remove(&id);
            if let Want::Return(of, ..) = want {
                self.returned.remove(&of);
            }
        }
        self.owed.truncate(before.owed);
        self.moved.truncate(before.moved);
        self.kept = before.kept;
        (self.life, self.turn, self.greeted) = (before.life, before.turn, before.greeted);
        self.is_quarantined = before.is_quarantined;
    }
}
