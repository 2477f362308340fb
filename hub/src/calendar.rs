//! Calendar: which store's day is where, as head office looks at it in the morning.

use huitong_protocol::id::StoreId;
use huitong_protocol::organisation::Store;
use huitong_protocol::time::{BusinessDay, Instant};
use serde::Serialize;

use crate::horizon::Horizon;
use crate::store::day::{self, Day};
use crate::store::engine::{StoreError, Tx};
use crate::store::organisation;

/// The most days of one calendar.
pub const DAYS_MAX: usize = 400;

/// Where a day is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// The store exists and nothing of the day is here: it was closed, or its journal has not arrived.
    Missing,
    /// Opened and not sealed.
    Open,
    /// Not sealed although some store has begun a later day.
    Late,
    /// Sealed, and the hub counts the same.
    Accepted,
    /// Sealed, and the hub counts something else.
    Differs,
}

impl DayState {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Open => "open",
            Self::Late => "late",
            Self::Accepted => "accepted",
            Self::Differs => "differs",
        }
    }
}

/// One store's day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CalendarDay {
    /// The day.
    pub business_day: BusinessDay,
    /// The store.
    pub store: StoreId,
    /// Where it is.
    pub state: DayState,
    /// What the hub counts differently, a line each.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub differences: String,
}

/// The last day that any store has opened, as far as it can have come to it.
///
/// # Errors
/// [`StoreError`].
pub fn last_day(tx: &mut Tx<'_>, now: Instant) -> Result<Option<BusinessDay>, StoreError> {
    let horizon = Horizon::at(tx, now)?;
    let mut last = None;
    for (zone, furthest) in horizon.zones() {
        let opened = tx.query_one(
            "SELECT MAX(day.business_day) FROM day JOIN store ON store.store_id = day.store_id
             WHERE store.time_zone = $1 AND day.business_day <= $2",
            &[zone.into(), (&furthest.to_string()).into()],
            |row| row.maybe_parsed(0, "day", "business_day"),
        )?;
        last = last.max(opened.flatten());
    }
    Ok(last)
}

/// The days of all stores from one day to another, both included, at most [`DAYS_MAX`] of them, by day and store.
///
/// # Errors
/// [`StoreError`].
pub fn calendar(
    tx: &mut Tx<'_>,
    from: BusinessDay,
    to: BusinessDay,
    now: Instant,
) -> Result<Vec<CalendarDay>, StoreError> {
    let last = last_day(tx, now)?;
    let stores = organisation::stores(tx)?;
    let known = day::list(tx, from, to)?;
    let mut days = Vec::new();
    let mut current = from;
    for _ in 0..DAYS_MAX {
        if current > to {
            break;
        }
        for store in &stores {
            let found = known
                .binary_search_by(|day| (day.business_day, day.store).cmp(&(current, store.id)))
                .ok()
                .and_then(|at| known.get(at));
            if let Some(state) = state(found, store, current, last) {
                let differences = found.map(|day| day.differences.clone()).unwrap_or_default();
                days.push(CalendarDay { business_day: current, store: store.id, state, differences });
            }
        }
        current = current.tomorrow();
    }
    Ok(days)
}

fn state(found: Option<&Day>, store: &Store, day: BusinessDay, last: Option<BusinessDay>) -> Option<DayState> {
    match found.map(|found| found.state.as_str()) {
        Some("accepted") => Some(DayState::Accepted),
        Some("differs") => Some(DayState::Differs),
        Some(_) if last.is_some_and(|last| day < last) => Some(DayState::Late),
        Some(_) => Some(DayState::Open),
        None if store.opened_on.is_some_and(|opened| day < opened)
            || store.closed_on.is_some_and(|closed| day > closed) =>
        {
            None
        }
        None => Some(DayState::Missing),
    }
}
