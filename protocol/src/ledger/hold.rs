//! Holds: value of a card set aside in this store, and given back when nobody came for it. Captured by a sale, see `sale`.
//!
//! A hold is placed as a sale's tender is taken: gate, card, product, ladder, and a grant of the hub where value is short here. From then on it is a
//! promise of this store. Invariant: a hold ends once, and never comes back: whatever the clock does, an ended one stays ended.

use super::gate::ValueGate;
use super::sale::may_spend;
use super::{Decide, Decision, Holdings, Plan, Situation, Work, refuse, settle};
use crate::allotment::rule::Sound;
use crate::allotment::{Holding, HoldingEvent, Purse, Refusal, step};
use crate::card::Card;
use crate::decline::{Decline, DeclineCode};
use crate::entry::{Body, Hold as HoldBody, HoldEnd, HoldEndReason};
use crate::id::OperationId;
use crate::policy::TenderClass;
use crate::till::{Hold, HoldState, PlaceHold, ReleaseHold};
use crate::time::Instant;
use crate::unit::Unit;
use crate::wire::Purpose;

/// A list of holds has so many at most: more than any store has open at a close, and a page that a till can show.
pub const HOLD_LISTED_MAX: usize = 500;

/// A hold that an operation ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedHold {
    /// Which.
    pub id: OperationId,
    /// How.
    pub state: HoldState,
    /// What was paid with it, when it was captured.
    pub captured_minor: Option<i64>,
}

/// Sets value of a card aside. `now` is the store's guarded clock; `situation.holds` has those that are open on the account.
#[must_use]
pub fn place_hold(
    situation: &Situation<'_>,
    now: Instant,
    cards: &[Card],
    holdings: &Holdings,
    request: &PlaceHold,
) -> Decision {
    settle(placed(situation, now, cards, holdings, request))
}

fn placed(
    situation: &Situation<'_>,
    now: Instant,
    cards: &[Card],
    holdings: &Holdings,
    request: &PlaceHold,
) -> Decide<Plan> {
    request.check().map_err(Decision::Faulty)?;
    let mut work = Work::new(situation, cards, holdings)?;
    let unit = work.currency(request.currency)?;
    let (policy, rules) = (situation.policy, &situation.policy.holds);
    let (number, amount_minor) = (request.card, request.amount_minor);
    if !policy.tenders.iter().any(|tender| tender.class == TenderClass::StoredValue) {
        return refuse(DeclineCode::TenderNotAllowed);
    }
    work.may_take_off(number)?;
    if amount_minor > rules.amount_minor_max {
        return Err(Decision::over_limit(DeclineCode::HoldLimit, number, unit, rules.amount_minor_max, amount_minor));
    }
    if request.expires_in_s > u64::from(rules.minutes_max) * 60 {
        return Err(Decision::of_card(DeclineCode::HoldTooLong, number));
    }
    let account = work.card_in_use(number, unit, amount_minor, Purpose::Spend)?.account;
    let open = situation.holds.iter().filter(|hold| hold.is_open() && hold.account == account).count();
    if open >= usize::try_from(rules.open_max).unwrap_or(usize::MAX) {
        return Err(Decision::of_card(DeclineCode::HoldsOpen, number));
    }
    may_spend(&mut work, number, unit, amount_minor)?;
    let purse = Purse { account, unit };
    if let Err(refusal) = work.step(purse, HoldingEvent::Hold { amount_minor }) {
        return Err(work.short_of((number, purse, unit), amount_minor, refusal, DeclineCode::Insufficient));
    }
    let held_ms = i64::try_from(request.expires_in_s).unwrap_or(i64::MAX).saturating_mul(1_000);
    Ok(work.plan(Body::Hold(HoldBody {
        card: number,
        account,
        currency: request.currency,
        amount_minor,
        expires_at_ms: now.plus_ms(held_ms),
    })))
}

/// Gives back what a hold set aside. Possible whether a day is open or not, and without a line: it moves nothing.
#[must_use]
pub fn release_hold(situation: &Situation<'_>, hold: &Hold, holdings: &Holdings, request: &ReleaseHold) -> Decision {
    settle((|| {
        request.check().map_err(Decision::Faulty)?;
        if *situation.gate == ValueGate::Quarantined {
            let quarantined = Decline::of_card(DeclineCode::ValueQuarantined, hold.card);
            return Err(Decision::Declined(Box::new(quarantined)));
        }
        if !hold.term().pays(&Sound) {
            return Err(Decision::of_card(DeclineCode::HoldEnded, hold.card));
        }
        let (holdings, movements, touched) = (holdings.clone(), Vec::new(), Vec::new());
        let mut work = Work { situation, cards: &[], holdings, movements, touched };
        let event = HoldingEvent::Unhold { amount_minor: hold.amount_minor };
        if let Err(refusal) = work.step(purse_of(hold), event) {
            return Err(Decision::Faulty(crate::till::Fault::new("id", refusal.to_string())));
        }
        let mut plan = work.plan(end(hold, HoldEndReason::Released, &request.reason));
        plan.ended = vec![EndedHold { id: hold.id, state: HoldState::Released, captured_minor: None }];
        Ok(plan)
    })())
}

/// Ends a hold whose time is over: what the entry says, and the purse after it.
///
/// # Errors
/// [`Refusal`] when the purse holds less than its holds, which is a damaged store.
pub fn end_expired(hold: &Hold, holding: &Holding) -> Result<(Body, Holding), Refusal> {
    let after = step(holding, HoldingEvent::Unhold { amount_minor: hold.amount_minor })?;
    Ok((end(hold, HoldEndReason::Expired, ""), after))
}

fn purse_of(hold: &Hold) -> Purse {
    Purse { account: hold.account, unit: Unit::Money(hold.currency) }
}

fn end(hold: &Hold, reason: HoldEndReason, note: &str) -> Body {
    Body::HoldEnd(HoldEnd {
        of: hold.entry,
        hold: hold.id,
        account: hold.account,
        currency: hold.currency,
        amount_minor: hold.amount_minor,
        reason,
        note: note.to_owned(),
    })
}
