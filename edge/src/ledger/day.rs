//! Days: opening one under its label, closing it with a seal over everything since the seal before, and the reports in between (X) and after (Z).

use huitong_protocol::decline::{Decline, DeclineCode};
use huitong_protocol::entry::{Body, DayOpen};
use huitong_protocol::ledger::HOLD_LISTED_MAX;
use huitong_protocol::seal::Seal;
use huitong_protocol::till::{CloseDay, DayReport, Fault, OpenDay};
use huitong_protocol::time::{BusinessDay, Instant};
use jiff::ToSpan as _;

use super::{Call, Done, Ledger, Order, approved};
use crate::store::identity::Identity;
use crate::store::{EntryMeta, StoreError, WriteTx, day, hold, journal, pending};

/// A label this many days after the last closed one is taken without a word, whatever the clock says: a month covers the holidays and repairs that a
/// store is closed for, and a label that is wrong by as much is lived through.
const DAYS_AHEAD_MAX: i64 = 31;

fn declined(code: DeclineCode) -> Done {
    Done::Declined(Box::new(Decline::new(code)))
}

pub(super) fn open(tx: &mut WriteTx<'_>, call: &Call, request: &OpenDay) -> Result<Done, StoreError> {
    if tx.chain().open_day.is_some() {
        return Ok(declined(DeclineCode::DayAlreadyOpen));
    }
    let identity = tx.identity()?;
    let Some(business_day) = request.business_day.or_else(|| identity.business_day(call.now)) else {
        return Ok(Done::Faulty(Fault::new(
            "business_day",
            "is missing, and the clock of this machine is outside the calendar; set the clock or name the day",
        )));
    };
    // A label is used once, and labels only go forward: what is sealed under one stays as it was sealed.
    if tx.chain().closed_day.is_some_and(|closed| business_day <= closed) {
        return Ok(declined(DeclineCode::DayAlreadyClosed));
    }
    if !request.far_business_day_confirmed
        && let Some(fault) = far(&identity, tx.chain().closed_day, business_day, call.now)
    {
        return Ok(Done::Faulty(fault));
    }
    let body =
        Body::DayOpen(DayOpen { time_zone: identity.store.time_zone.clone(), currency: identity.store.currency });
    let kind = body.kind();
    let meta = Order::OpenDay(request.clone()).meta(call);
    let next = tx.head().seq.next();
    day::open(tx, business_day, next)?; // First, so that the entry names the policy of its own day.
    let appended = tx.append(call.now, EntryMeta { business_day: Some(business_day), ..meta }, body)?;
    assert_eq!(appended.id.seq, next, "the day row names the entry that opened it");
    Ok(Done::Approved(Box::new(approved(tx, call, kind, &appended)), appended.id.seq))
}

/// What is wrong with a label that neither the last closed day nor the clock is near. One of them is enough: a machine's clock may be dead, and a store
/// may have been closed for long. Labels only go forward, so one that was mistyped could not be taken back.
fn far(identity: &Identity, closed: Option<BusinessDay>, business_day: BusinessDay, now: Instant) -> Option<Fault> {
    let near = closed.map(|closed| BusinessDay::of(closed.date().saturating_add(DAYS_AHEAD_MAX.days())));
    let today = identity.business_day(now);
    if near.is_some_and(|near| business_day <= near) || today.is_some_and(|today| business_day <= today.tomorrow()) {
        return None;
    }
    let closed = closed.map_or("no day was closed before".to_owned(), |day| format!("the last closed day is {day}"));
    let today = today.map_or("is outside the calendar".to_owned(), |day| format!("says {day}"));
    Some(Fault::new(
        "business_day",
        format!(
            "is {business_day}, but {closed} and the clock of this machine {today}; days only go forward, so this store could never again open one \
             before it: correct the day, or confirm it with `far_business_day_confirmed`"
        ),
    ))
}

pub(super) fn close(tx: &mut WriteTx<'_>, call: &Call, request: &CloseDay) -> Result<Done, StoreError> {
    let Some(business_day) = tx.chain().open_day else {
        return Ok(declined(DeclineCode::DayNotOpen));
    };
    let (sealed_seq, last) = (tx.chain().sealed_seq, tx.head());
    let seal =
        Seal { business_day, first_seq: sealed_seq.next(), last, totals: journal::totals(tx, sealed_seq, last.seq)? };
    let covered = last.seq.0 - sealed_seq.0;
    assert_eq!(seal.totals.entries, covered, "a seal covers every entry since the seal before");
    let meta = EntryMeta { business_day: Some(business_day), ..Order::CloseDay(request.clone()).meta(call) };
    let body = Body::Seal(seal.clone());
    let kind = body.kind();
    let appended = tx.append(call.now, meta, body)?;
    let mut approved = approved(tx, call, kind, &appended);
    day::close(tx, &seal, appended.id.seq)?;
    pending::forget(tx, business_day)?;
    approved.seal = Some(seal);
    // They stay: a promise does not end with the day.
    approved.open_holds = hold::open(tx, HOLD_LISTED_MAX)?;
    Ok(Done::Approved(Box::new(approved), appended.id.seq))
}

impl Ledger {
    /// The running totals of the open day; `None` when no day is open. Long: reads the day's entries.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn day_x(&self) -> Result<Option<DayReport>, StoreError> {
        let committed = self.store().committed();
        let Some(business_day) = committed.open_day else { return Ok(None) };
        let (after, through) = (committed.sealed_seq, committed.head.seq);
        let totals = self.store().read(|tx| journal::totals(tx, after, through))?;
        Ok(Some(DayReport { business_day, closed: false, first_seq: after.next(), last_seq: through, totals }))
    }

    /// The sealed totals of a closed day, of the last one when none is named; `None` when it is not closed.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn day_z(&self, business_day: Option<BusinessDay>) -> Result<Option<DayReport>, StoreError> {
        let day = self.store().read(|tx| match business_day {
            Some(business_day) => day::get(tx, business_day),
            None => day::last_closed(tx),
        })?;
        Ok(day.and_then(|day| day.seal).map(|(_, seal)| DayReport {
            business_day: seal.business_day,
            closed: true,
            first_seq: seal.first_seq,
            last_seq: seal.last.seq,
            totals: seal.totals,
        }))
    }
}
