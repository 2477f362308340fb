//! Deferred earning: a sale recorded the card that was shown and what it would earn, as its store did not know the card. Head office puts the points on the
//! card's account when the card was somebody's by then, once.
//!
//! They are for whoever has the card, so only if its sale in force came before the sale that earned them; a card that came in use at head office was never
//! sold, and its account is the same person's all along. A report says that a card is in use before its journal says since when: until that is here, nothing
//! is decided. What was decided stays so, whatever is voided later. The order is that of `card_sale`: between two stores it is as good as their clocks, and
//! of a store whose clock is named as wrong nobody can know better.
//!
//! A store defers only what it did not give itself, so nothing is earned twice. What comes back before the points are given lowers them; what comes back
//! afterwards is a claim, which the pool settles. Invariant: what was given less what is claimed is what the sale earned less what came back of it.

use huitong_protocol::card::CardStatus;
use huitong_protocol::entry::{Body, Header};
use huitong_protocol::id::{AccountId, EntryId};
use huitong_protocol::movement::MovementRef;
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::{Instant, Stamp};

use crate::card_sale;
use crate::exception::close_by_itself;
use crate::points::{self, Occasion};
use crate::store::claim::{self, NewClaim};
use crate::store::deferred::{self as rows, Deferred, State};
use crate::store::{Store, StoreError, Tx, card, exception};

/// Earnings that one transaction looks at.
const BATCH: usize = 200;

/// Takes what an entry says of deferred points, in the transaction that takes the entry.
///
/// # Errors
/// [`StoreError`].
pub fn take(tx: &mut Tx<'_>, entry: EntryId, header: &Header, body: &Body, now: Instant) -> Result<(), StoreError> {
    let Some(business_day) = header.business_day else { return Ok(()) };
    let (of, back) = match body {
        Body::Sale(sale) => {
            let Some(deferred) = &sale.deferred else { return Ok(()) };
            let new = Deferred {
                sale: entry,
                // A receipt that a till took while the store's machine was down was made when it was taken, not when it was posted.
                stamp: sale.taken_at_ms.map_or(header.stamp, |taken| header.stamp.min(Stamp(taken.0))),
                card: deferred.card,
                business_day,
                points: deferred.points,
                back_points: 0,
                is_parked: sale.payment_unknown.is_some(),
                state: State::Waiting,
            };
            rows::insert(tx, &new)?;
            return decide_one(tx, entry, now).map(drop);
        }
        Body::Payment(payment) => {
            rows::paid(tx, payment.of)?;
            return decide_one(tx, payment.of, now).map(drop);
        }
        Body::Void(void) => (void.of, None),
        Body::Return(back) if back.deferred_points > 0 => (back.of, Some(back.deferred_points)),
        _ => return Ok(()),
    };
    let Some(held) = rows::find(tx, of)? else { return Ok(()) };
    let points = back.unwrap_or(held.left()).min(held.left());
    if points == 0 {
        return Ok(());
    }
    rows::back(tx, of, points)?;
    if let State::Given { account, entry: given } = held.state {
        // The place after the entry's movements is nobody else's.
        let index = u16::try_from(body.movements().len()).unwrap_or(u16::MAX);
        let of = Some(MovementRef { entry: given, index: 0 });
        claim::insert(tx, &NewClaim { account, entry, index, business_day, points, of })?;
    }
    Ok(())
}

/// Decides about what waits and can be decided by now. Gives how many points were given.
///
/// What moves is looked for in a read; only that is written, and asked again before it is.
///
/// # Errors
/// [`StoreError`]; what was decided before stays so.
pub async fn credit(store: &Store, now: Instant) -> Result<i64, StoreError> {
    let movable = store.read(movable).await?;
    let mut given = 0_i64;
    for batch in movable.chunks(BATCH) {
        let batch = batch.to_vec();
        let points = store
            .write(move |tx| {
                batch
                    .iter()
                    .try_fold(0_i64, |sum, sale| Ok::<_, StoreError>(sum.saturating_add(decide_one(tx, *sale, now)?)))
            })
            .await?;
        given = given.saturating_add(points);
    }
    Ok(given)
}

/// The sales whose points can be given, or left to nobody. Changes nothing.
fn movable(tx: &mut Tx<'_>) -> Result<Vec<EntryId>, StoreError> {
    let (mut movable, mut after) = (Vec::new(), None);
    loop {
        let page = rows::decidable(tx, after, BATCH)?;
        for deferred in &page {
            if judge(tx, deferred)? != Verdict::Wait {
                movable.push(deferred.sale);
            }
        }
        match page.last().filter(|_| page.len() == BATCH) {
            Some(last) => after = Some(last.sale),
            None => return Ok(movable),
        }
    }
}

/// Whose points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// That is not known yet.
    Wait,
    /// They belong on this account.
    Give(AccountId),
    /// Whoever was shown a card that nobody had bought yet leaves nothing to its later owner.
    Nobodys,
}

fn judge(tx: &mut Tx<'_>, deferred: &Deferred) -> Result<Verdict, StoreError> {
    let is_owned = |status| matches!(status, CardStatus::Active | CardStatus::Frozen | CardStatus::Lost);
    let Some(card) = card::find(tx, deferred.card)?.filter(|card| is_owned(card.status)) else {
        return Ok(Verdict::Wait);
    };
    let reported = card::sold_since(tx, card.number)?;
    let sales = card_sale::of_card(tx, card.number, card.account)?;
    Ok(match (card_sale::in_force(&sales), reported) {
        // The card was sold later than any journal says that is here.
        (Some(sale), Some(since)) if sale.stamp < since => Verdict::Wait,
        (None, Some(_)) => Verdict::Wait,
        (Some(sale), _) if !sale.is_before(deferred.sale, deferred.stamp) => Verdict::Nobodys,
        (Some(_) | None, _) => Verdict::Give(card.account),
    })
}

/// Decides about the points of a sale, when that is still to be done. Gives how many were given.
///
/// What cannot be given waits, with an exception that closes when it is decided: one card's points must hold up neither the journal that they come with nor
/// everybody else's points.
fn decide_one(tx: &mut Tx<'_>, sale: EntryId, now: Instant) -> Result<i64, StoreError> {
    let Some(held) = rows::find(tx, sale)?.filter(Deferred::is_open) else { return Ok(0) };
    let subject = format!("points of sale {sale}");
    match tx.attempt(|tx| decide(tx, &held, now))? {
        Ok(None) => Ok(0),
        Ok(Some((points, note))) => {
            close_by_itself(tx, Class::LeftUndone, &subject, note, now)?;
            Ok(points)
        }
        Err(why) => {
            let finding = Finding {
                class: Class::LeftUndone,
                store: Some(sale.store),
                subject,
                evidence: Evidence::from(why).entry(sale),
            };
            exception::raise(tx, &finding, now)?;
            Ok(0)
        }
    }
}

/// Gives how many points were given, and what was done, in words; nothing when they wait.
fn decide(tx: &mut Tx<'_>, deferred: &Deferred, now: Instant) -> Result<Option<(i64, &'static str)>, StoreError> {
    let account = match judge(tx, deferred)? {
        Verdict::Wait => return Ok(None),
        Verdict::Nobodys => {
            rows::leave(tx, deferred.sale)?;
            return Ok(Some((0, "the card was sold later; the points are nobody's")));
        }
        Verdict::Give(account) => account,
    };
    let about = deferred.sale.to_string();
    let occasion = Occasion {
        operation: points::operation("huitong deferred earnings 1", &about),
        reference: &format!("earned by sale {about}"),
        day: deferred.business_day,
        now,
    };
    let entry = points::earn(tx, occasion, account, deferred.left(), deferred.sale.store)?;
    rows::give(tx, deferred.sale, account, entry)?;
    Ok(Some((deferred.left(), "the points were given")))
}
