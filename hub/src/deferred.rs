//! Deferred earning: a sale recorded the card that was shown and what it would earn, as its store did not know the card. Head office puts the points on the
//! card's account when it knows the card as somebody's, once.
//!
//! A store defers only what it did not give itself, so nothing is earned twice. What comes back before the points are given lowers them; what comes back
//! afterwards is a claim, which the pool settles. Invariant: what was given less what is claimed is what the sale earned less what came back of it.

use huitong_protocol::card::CardStatus;
use huitong_protocol::entry::Body;
use huitong_protocol::id::EntryId;
use huitong_protocol::movement::MovementRef;
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::{BusinessDay, Instant};

use crate::exception::close_by_itself;
use crate::points::{self, Occasion};
use crate::store::claim::{self, NewClaim};
use crate::store::deferred::{self as rows, Deferred};
use crate::store::{Store, StoreError, Tx, card, exception};

/// Earnings that one transaction looks at.
const BATCH: usize = 200;

/// Takes what an entry says of deferred points, in the transaction that takes the entry.
///
/// # Errors
/// [`StoreError`].
pub fn take(
    tx: &mut Tx<'_>,
    entry: EntryId,
    business_day: BusinessDay,
    body: &Body,
    now: Instant,
) -> Result<(), StoreError> {
    let (of, back) = match body {
        Body::Sale(sale) => {
            let Some(deferred) = &sale.deferred else { return Ok(()) };
            rows::insert(tx, entry, deferred.card, business_day, deferred.points, sale.payment_unknown.is_some())?;
            return credit_one(tx, entry, now);
        }
        Body::Payment(payment) => {
            rows::paid(tx, payment.of)?;
            return credit_one(tx, payment.of, now);
        }
        Body::Void(void) => (void.of, None),
        Body::Return(back) if back.deferred_points > 0 => (back.of, Some(back.deferred_points)),
        _ => return Ok(()),
    };
    let Some(held) = rows::find(tx, of)? else { return Ok(()) };
    let left = held.points.saturating_sub(held.back_points);
    let points = back.unwrap_or(left).min(left);
    if points == 0 {
        return Ok(());
    }
    rows::back(tx, of, points)?;
    if let Some((account, credited)) = held.credited {
        // The place after the entry's movements is nobody else's.
        let index = u16::try_from(body.movements().len()).unwrap_or(u16::MAX);
        let of = Some(MovementRef { entry: credited, index: 0 });
        claim::insert(tx, &NewClaim { account, entry, index, business_day, points, of })?;
    }
    Ok(())
}

/// Gives what waits to the cards that are known by now. Gives how many points.
///
/// # Errors
/// [`StoreError`]; what was given before stays so.
pub async fn credit(store: &Store, now: Instant) -> Result<i64, StoreError> {
    let (mut given, mut after) = (0_i64, None);
    loop {
        let (points, last) = store.write(move |tx| credit_some(tx, after, now)).await?;
        given = given.saturating_add(points);
        match last {
            Some(last) => after = Some(last),
            None => return Ok(given),
        }
    }
}

fn credit_some(tx: &mut Tx<'_>, after: Option<EntryId>, now: Instant) -> Result<(i64, Option<EntryId>), StoreError> {
    let waiting = rows::waiting(tx, after, BATCH)?;
    let mut given = 0_i64;
    for deferred in &waiting {
        given = given.saturating_add(try_to_give(tx, deferred, now)?);
    }
    Ok((given, waiting.last().filter(|_| waiting.len() == BATCH).map(|last| last.sale)))
}

fn credit_one(tx: &mut Tx<'_>, sale: EntryId, now: Instant) -> Result<(), StoreError> {
    match rows::find(tx, sale)?.filter(|held| held.credited.is_none() && !held.is_parked) {
        Some(held) => try_to_give(tx, &held, now).map(drop),
        None => Ok(()),
    }
}

/// As [`give`]; what cannot be given waits, with an exception that closes when it was given. One card's points must hold up neither the journal that they
/// come with nor everybody else's points.
fn try_to_give(tx: &mut Tx<'_>, deferred: &Deferred, now: Instant) -> Result<i64, StoreError> {
    let subject = format!("points of sale {}", deferred.sale);
    match tx.attempt(|tx| give(tx, deferred, now))? {
        Ok(0) => Ok(0),
        Ok(points) => {
            close_by_itself(tx, Class::LeftUndone, &subject, "the points were given", now)?;
            Ok(points)
        }
        Err(why) => {
            let evidence = Evidence::from(why).entry(deferred.sale);
            let store = Some(deferred.sale.store);
            exception::raise(tx, &Finding { class: Class::LeftUndone, store, subject, evidence }, now)?;
            Ok(0)
        }
    }
}

/// Puts the points on the account of the card, when it is somebody's.
fn give(tx: &mut Tx<'_>, deferred: &Deferred, now: Instant) -> Result<i64, StoreError> {
    let points = deferred.points.saturating_sub(deferred.back_points);
    let is_owned = |status| matches!(status, CardStatus::Active | CardStatus::Frozen | CardStatus::Lost);
    let Some(card) = card::find(tx, deferred.card)?.filter(|card| is_owned(card.status) && points > 0) else {
        return Ok(0);
    };
    // Whoever was shown a card that nobody had bought yet leaves nothing to its later owner.
    if rows::first_sold(tx, card.account)?.is_some_and(|sold| sold > deferred.business_day) {
        return Ok(0);
    }
    let about = deferred.sale.to_string();
    let occasion = Occasion {
        operation: points::operation("huitong deferred earnings 1", &about),
        reference: &format!("earned by sale {about}"),
        day: deferred.business_day,
        now,
    };
    let entry = points::earn(tx, occasion, card.account, points, deferred.sale.store)?;
    rows::credit(tx, deferred.sale, card.account, entry)?;
    Ok(points)
}
