//! Holds at the store: found, ended when their time is over, and told. What a hold may do is the core's to say.
//!
//! Time is head office's since an answer has told it, and goes on without the line and whatever the machine's clock is set to; before that it is the
//! store's own, never behind what the journal has seen. Invariant: whoever is told by an operation that a hold is over finds it ended in the same
//! transaction, so that no clock brings it back; a look-up ends nothing, and may be taken back if head office's clock is. What is set aside is what the
//! open holds sum to: a start proves it, and a hold that cannot end because it is not so is named and passed over.

use huitong_protocol::allotment::rule::Sound;
use huitong_protocol::allotment::{Holding, HoldingEvent, Purse, step};
use huitong_protocol::card::CardNumber;
use huitong_protocol::id::AccountId;
use huitong_protocol::ledger::{self as core, EndedHold, HOLD_LISTED_MAX};
use huitong_protocol::till::{Hold, HoldState};
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;

use super::Ledger;
use super::order::{Order, Reference, entry_accounts};
use crate::store::hold::Differing;
use crate::store::identity::Identity;
use crate::store::{EntryMeta, ReadTx, Store, StoreError, WriteTx, allotment, card, hold, setting};

/// So many are ended in one transaction, so that a till waiting for the writer does not notice it.
const ENDED_AT_ONCE_MAX: usize = 200;
/// So many differing purses the alarm names: a person looks at the database then, not at a list.
const NAMED_MAX: usize = 5;
/// Where the alarm stands among the settings.
const ALARM: &str = "alarm.holds";

/// The hold that a till named.
pub(super) fn find(tx: &ReadTx<'_>, identity: &Identity, of: Reference) -> Result<Option<Hold>, StoreError> {
    match of {
        Reference::Operation(id) => hold::find(tx, id),
        Reference::Entry(id) if (id.store, id.epoch) == (identity.store.id, identity.epoch) => {
            hold::placed_by(tx, id.seq)
        }
        Reference::Entry(_) => Ok(None),
    }
}

/// The holds that an order is decided on: those that it names, or those that are open where it places one.
pub(super) fn named(tx: &ReadTx<'_>, order: &Order) -> Result<Vec<Hold>, StoreError> {
    match order {
        Order::PlaceHold(request) => match card::find(tx, request.card)? {
            Some(card) => hold::open_of(tx, card.account),
            None => Ok(Vec::new()),
        },
        Order::Sale(request) => {
            let mut holds = Vec::new();
            for id in request.tenders.iter().filter_map(|line| line.hold) {
                holds.extend(hold::find(tx, id)?);
            }
            Ok(holds)
        }
        _ => Ok(Vec::new()),
    }
}

/// The accounts whose value an order may take, for which it must not matter that nobody has ended their holds yet.
fn accounts(tx: &ReadTx<'_>, identity: &Identity, order: &Order) -> Result<Vec<AccountId>, StoreError> {
    let of_card = |number: CardNumber| Ok::<_, StoreError>(card::find(tx, number)?.map(|card| card.account));
    let mut accounts = Vec::new();
    match order {
        Order::SellCard { card, .. } | Order::ReloadCard { card, .. } => accounts.extend(of_card(*card)?),
        Order::PlaceHold(request) => accounts.extend(of_card(request.card)?),
        Order::ReleaseHold { of, .. } => accounts.extend(find(tx, identity, *of)?.map(|hold| hold.account)),
        Order::Sale(request) => {
            for line in &request.tenders {
                if let Some(number) = line.card {
                    accounts.extend(of_card(number)?);
                }
                if let Some(id) = line.hold {
                    accounts.extend(hold::find(tx, id)?.map(|hold| hold.account));
                }
            }
        }
        Order::Void { of, .. } => accounts = entry_accounts(tx, identity, *of)?,
        _ => {}
    }
    Ok(accounts)
}

/// Ends the holds that an order meets and whose time is over, each with its own entry.
pub(super) fn end_met(tx: &mut WriteTx<'_>, now: Instant, order: &Order) -> Result<(), StoreError> {
    let at = tx.guarded(now);
    // Mostly nothing in the whole store is over: one look at an index, instead of every card of the order.
    if !hold::any_due(tx, at)? {
        return Ok(());
    }
    let identity = tx.identity()?;
    for account in accounts(tx, &identity, order)? {
        // Of those that were ended for the first of two cards nothing is open any more.
        for hold in hold::open_of(tx, account)?.into_iter().filter(|hold| hold.term().is_due(&Sound, at)) {
            end_expired(tx, now, &hold)?;
        }
    }
    Ok(())
}

/// Says what people should look at, once.
fn alarm(tx: &mut WriteTx<'_>, words: &str) -> Result<(), StoreError> {
    if setting::get(tx, ALARM)?.as_deref() != Some(words) {
        tracing::error!("Alarm: {words}");
        setting::put(tx, ALARM, words)?;
    }
    Ok(())
}

/// Compares what is set aside with the open holds, and raises the alarm where it is not the same; trade goes on.
///
/// # Errors
/// [`StoreError`] of the engine.
pub async fn check(store: &Store) -> Result<(), StoreError> {
    let (found, was) =
        store.read(|tx| Ok::<_, StoreError>((hold::differing(tx, NAMED_MAX)?, setting::get(tx, ALARM)?)))?;
    if found.is_empty() && was.is_none() {
        return Ok(());
    }
    store
        .write(move |tx| match damage(&found) {
            None => setting::remove(tx, ALARM),
            Some(words) => alarm(tx, &words),
        })
        .await
}

/// What differs, in words; nothing when nothing does.
fn damage(found: &[Differing]) -> Option<String> {
    let named: Vec<String> = found
        .iter()
        .map(|purse| {
            let Differing { account, unit, rows_minor, held_minor } = purse;
            format!("account {account} in {unit} has set {held_minor} aside, and its open holds sum to {rows_minor}")
        })
        .collect();
    let words = || format!("the database is damaged: {}; keep a copy, and enrol the store anew", named.join("; "));
    (!named.is_empty()).then(words)
}

/// Ends a hold; gives false for one that cannot end, which must hold up neither others nor its account's tills.
fn end_expired(tx: &mut WriteTx<'_>, now: Instant, over: &Hold) -> Result<bool, StoreError> {
    let purse = purse_of(over);
    let held = allotment::get(tx, purse)?;
    let (body, after) = match core::end_expired(over, &held) {
        Ok(ended) => ended,
        Err(refusal) => {
            let (id, account) = (over.id, over.account);
            // What stands already and names this account stays: with words of its own each hold would take the place of another's, at every order.
            let is_named = |words: String| words.contains(&format!("account {account} "));
            if !setting::get(tx, ALARM)?.is_some_and(is_named) {
                let words = damage(&hold::differing(tx, NAMED_MAX)?).unwrap_or_else(|| {
                    format!(
                        "the database is damaged: hold {id} of account {account} is over and cannot end: {refusal}; keep a copy, and enrol the store anew"
                    )
                });
                alarm(tx, &words)?;
            }
            return Ok(false);
        }
    };
    let meta = EntryMeta { business_day: tx.chain().open_day, ..EntryMeta::default() };
    let appended = tx.append(now, meta, body)?;
    allotment::put(tx, purse, after, appended.stamp, now)?;
    let ended = EndedHold { id: over.id, state: HoldState::Expired, captured_minor: None };
    hold::end(tx, &ended, appended.id)?;
    Ok(true)
}

fn purse_of(hold: &Hold) -> Purse {
    Purse { account: hold.account, unit: Unit::Money(hold.currency) }
}

/// A purse as the next operation of its account will find it: what is over counts as given back. Nothing is written.
pub(super) fn as_of(tx: &ReadTx<'_>, purse: Purse, holding: Holding, at: Instant) -> Result<Holding, StoreError> {
    let mut holding = holding;
    if holding.held_minor > 0 {
        let over = hold::open_of(tx, purse.account)?.into_iter();
        for hold in over.filter(|hold| purse_of(hold) == purse && hold.term().is_due(&Sound, at)) {
            holding = step(&holding, HoldingEvent::Unhold { amount_minor: hold.amount_minor }).unwrap_or(holding);
        }
    }
    Ok(holding)
}

/// Which holds are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldsOf {
    /// Every open one of the store.
    Store,
    /// Those of the account that a card opens, ended ones too.
    Card(CardNumber),
}

impl Ledger {
    /// The time that promises go by, for look-ups.
    pub(super) fn guarded(&self, now: Instant) -> Instant {
        let committed = self.store().committed();
        committed.hub_clock.time(now, committed.stamp)
    }

    /// A hold of this store, by its id or by the entry that placed it. One that is over and that nobody has met since is told as expired.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn hold(&self, now: Instant, of: Reference) -> Result<Option<Hold>, StoreError> {
        let (at, committed) = (self.guarded(now), self.store().committed());
        let identity = committed.identity.as_ref().ok_or(StoreError::NotEnrolled)?;
        let found = self.store().read(|tx| find(tx, identity, of))?;
        Ok(found.map(|hold| told(hold, at)))
    }

    /// Holds of this store; `None` for a card that it does not know.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn holds(&self, now: Instant, of: HoldsOf) -> Result<Option<Vec<Hold>>, StoreError> {
        let at = self.guarded(now);
        let found = self.store().read(|tx| match of {
            HoldsOf::Store => hold::open(tx, HOLD_LISTED_MAX).map(Some),
            HoldsOf::Card(number) => match card::find(tx, number)? {
                Some(card) => hold::of_account(tx, card.account, HOLD_LISTED_MAX).map(Some),
                None => Ok(None),
            },
        })?;
        Ok(found.map(|holds| holds.into_iter().map(|hold| told(hold, at)).collect()))
    }

    /// Ends every hold whose time is over; gives how many. While value may not go out nothing is judged.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub async fn end_due_holds(&self, now: Instant) -> Result<usize, StoreError> {
        let (mut ended, mut passed) = (0, 0);
        loop {
            let at = self.guarded(now);
            // Mostly nothing is over, and a look takes no turn at the writer.
            if self.store().read(|tx| hold::due(tx, at, passed, 1))?.is_empty() {
                return Ok(ended);
            }
            let keeper = std::sync::Arc::clone(self.store().continuity());
            let (over, done) = self
                .store()
                .write(move |tx| {
                    if !keeper.gate(tx, tx.chain())?.is_open() {
                        return Ok((0, 0));
                    }
                    let over = hold::due(tx, tx.guarded(now), passed, ENDED_AT_ONCE_MAX)?;
                    let mut done = 0;
                    for hold in &over {
                        done += usize::from(end_expired(tx, now, hold)?);
                    }
                    Ok::<_, StoreError>((over.len(), done))
                })
                .await?;
            ended += done;
            passed += over - done;
            if over == 0 {
                return Ok(ended);
            }
        }
    }
}

fn told(hold: Hold, at: Instant) -> Hold {
    if hold.term().is_due(&Sound, at) { Hold { state: HoldState::Expired, ..hold } } else { hold }
}
