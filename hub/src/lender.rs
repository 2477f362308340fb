//! Lenders: the stores that may let a card overdraw its account without head office knowing of it yet, and whom an undone card waits for because of that.
//!
//! Whoever buys a card that had its sale undone must not pay what was overdrawn before. A store with a line of the risk account may have lent on the card until
//! it knew what became of it; what it lent is a debt once its journal is held as far as it went by then (`crate::knowledge`). Its counters would not do: a
//! report may come in parts or be refused. A line of which nothing is left lends nothing more, so that equal counters are enough there. What ended epochs lent
//! nobody can wait for. An entry that is kept apart makes no debt; but a newer hub might read it, so that one which may have lent on the card is waited for until a
//! person has decided about it. Invariant: a store of which this is not sure is waited for, and is named.

use std::collections::BTreeSet;

use huitong_protocol::id::{AccountId, EntryId, Epoch, StoreId};
use huitong_protocol::movement::MovementKind;
use huitong_protocol::reconcile::Class;
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use serde::Serialize;

use crate::inspect::{Inspected, Place, inspect};
use crate::store::exception::{self, Filter, State, States};
use crate::store::lender::{self as rows, Lender};
use crate::store::{StoreError, Tx, journal, overdraft, root};

/// Why a store is waited for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It has not said that it knows what became of the card.
    CardsUnknown,
    /// Its journal has not come as far as it went when it learnt of that.
    JournalBehind,
    /// Its journal has forked, and comes no further.
    JournalForked,
    /// An entry of its journal that is kept apart may have lent on the card.
    EntryQuarantined,
}

impl Why {
    /// In words, of cards whose sale was undone.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::CardsUnknown => "has not said that it knows that their sale was undone",
            Self::JournalBehind => "has not sent its journal up to where it learnt that their sale was undone",
            Self::JournalForked => "has sent two journals, and neither is taken any further",
            Self::EntryQuarantined => "has sent an entry that cannot be used and may have lent on them",
        }
    }

    /// What to do about it, at which store.
    #[must_use]
    pub fn what_to_do(self, store: StoreId) -> String {
        match self {
            Self::CardsUnknown | Self::JournalBehind => {
                format!("let it come online; when it does not come back: huitong-hub store fence {store} --note TEXT")
            }
            Self::JournalForked => format!("huitong-hub store fence {store} --note TEXT"),
            Self::EntryQuarantined => {
                format!("look at the entry, then resolve its exception: huitong-hub exception list --store {store}")
            }
        }
    }
}

/// A store that an undone card waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Awaited {
    /// The store.
    pub store: StoreId,
    /// Its epoch: once a person has ended it, nobody waits for it.
    pub epoch: Epoch,
    /// Why.
    pub why: Why,
    /// The entry that is kept apart.
    pub entry: Option<EntryId>,
    /// When it was last heard, as far as it was written down.
    pub last_heard_ms: Option<Instant>,
}

/// What is known of an entry that is kept apart.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Apart {
    entry: EntryId,
    is_decided: bool,
    /// What it moves on the risk account, by whose debt it is; nothing when it cannot be read.
    moves: Option<Vec<(MovementKind, AccountId, i64)>>,
}

impl Apart {
    /// Whether it may have lent to an account.
    fn may_lend_to(&self, account: AccountId) -> bool {
        let is_lent =
            |(kind, of, _): &(MovementKind, AccountId, i64)| *kind == MovementKind::Overdraft && *of == account;
        self.moves.as_ref().is_none_or(|moves| moves.iter().any(is_lent))
    }

    /// What of goods may have come back by it, at most.
    fn back_minor(&self) -> i64 {
        let Some(moves) = &self.moves else { return i64::MAX };
        let back = moves.iter().filter(|(kind, ..)| *kind == MovementKind::OverdraftBack);
        back.fold(0, |sum, (.., amount_minor)| sum.saturating_add(*amount_minor))
    }
}

/// The entries of stores that are kept apart, of some epochs.
fn apart(tx: &mut Tx<'_>, of: &BTreeSet<(StoreId, Epoch)>, filter: &Filter) -> Result<Vec<Apart>, StoreError> {
    let hub = root::hub(tx)?;
    let mut apart = Vec::new();
    for exception in exception::list(tx, filter)? {
        let Some(&entry) = exception.evidence.entries.first().filter(|id| of.contains(&(id.store, id.epoch))) else {
            continue;
        };
        let place = Place { group: hub.group, currency: hub.currency, store: entry.store, epoch: entry.epoch };
        let bytes = journal::bytes(tx, entry)?.unwrap_or_default();
        let Inspected { body, .. } = inspect(&place, entry.seq, &bytes);
        let moves = body.map(|body| {
            let of_debts =
                body.movements().iter().filter_map(|moved| Some((moved.kind, moved.owed_by?, moved.amount_minor)));
            of_debts.collect()
        });
        apart.push(Apart { entry, is_decided: matches!(exception.state, State::Resolved { .. }), moves });
    }
    Ok(apart)
}

fn kept_apart(store: Option<StoreId>, states: States) -> Filter {
    Filter { class: Some(Class::Quarantined), store, states, ..Filter::default() }
}

/// What may have come back at an epoch by entries that are kept apart and that people have decided about, all of them and of a journal that is held as far as it
/// was reported: nobody waits for it to be explained any more.
///
/// # Errors
/// [`StoreError`].
pub fn decided_back_minor(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<i64, StoreError> {
    let held = journal::find(tx, store, epoch)?.head.seq;
    let heard = crate::store::tenure::find(tx, store, epoch)?.map(|tenure| tenure.heard.seq);
    if heard.is_none_or(|heard| held < heard) {
        return Ok(0);
    }
    let apart = apart(tx, &BTreeSet::from([(store, epoch)]), &kept_apart(Some(store), States::All))?;
    if apart.iter().any(|apart| !apart.is_decided && apart.back_minor() > 0) {
        return Ok(0);
    }
    Ok(apart.iter().fold(0, |sum, apart| sum.saturating_add(apart.back_minor())))
}

/// All of them, at one moment.
#[derive(Clone, Debug)]
pub struct Lenders {
    unit: Unit,
    lenders: Vec<Lender>,
    apart: Vec<Apart>,
}

impl Lenders {
    /// Reads them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(tx: &mut Tx<'_>) -> Result<Self, StoreError> {
        let unit = Unit::Money(root::hub(tx)?.currency);
        let lenders = rows::all(tx, unit)?;
        let of = lenders.iter().map(|lender| (lender.store, lender.epoch)).collect();
        let apart = match lenders.is_empty() {
            true => Vec::new(),
            false => apart(tx, &of, &kept_apart(None, States::Unresolved))?,
        };
        Ok(Self { unit, lenders, apart })
    }

    /// Whom a card in nobody's hands waits for. `version` is that of the card as stores must know it, nothing when none can know yet but who tells of it.
    #[must_use]
    pub fn awaited(&self, account: AccountId, (version, teller): (Option<i64>, Option<StoreId>)) -> Vec<Awaited> {
        let mut awaited = Vec::new();
        for lender in self.lenders.iter().filter(|lender| Some(lender.store) != teller) {
            let &Lender { store, epoch, last_heard_ms, .. } = lender;
            let why = match version {
                _ if lender.is_idle() => None,
                Some(version) if lender.accounted() >= version => None,
                Some(version) if lender.cards.last.version >= version && lender.is_forked => Some(Why::JournalForked),
                Some(version) if lender.cards.last.version >= version => Some(Why::JournalBehind),
                _ => Some(Why::CardsUnknown),
            };
            awaited.extend(why.map(|why| Awaited { store, epoch, why, entry: None, last_heard_ms }));
            let is_theirs = |apart: &&Apart| (apart.entry.store, apart.entry.epoch) == (store, epoch);
            for apart in self.apart.iter().filter(is_theirs).filter(|apart| apart.may_lend_to(account)) {
                let (why, entry) = (Why::EntryQuarantined, Some(apart.entry));
                awaited.push(Awaited { store, epoch, why, entry, last_heard_ms });
            }
        }
        awaited
    }

    /// What an account owes, and what it is owed as it was collected too much.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn debt(&self, tx: &mut Tx<'_>, account: AccountId) -> Result<(i64, i64), StoreError> {
        let debt = overdraft::owing(tx, account, self.unit)?.debt;
        Ok((debt.owed_minor(), debt.excess_minor()))
    }

    /// Whether the account of a card in nobody's hands may have debts that its next owner would pay, or be owed what was collected too much; as
    /// [`Lenders::awaited`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn may_stand(
        &self,
        tx: &mut Tx<'_>,
        account: AccountId,
        told: (Option<i64>, Option<StoreId>),
    ) -> Result<bool, StoreError> {
        Ok(self.debt(tx, account)? != (0, 0) || !self.awaited(account, told).is_empty())
    }
}
