//! Calendar: which store's day is where, as head office looks at it in the morning.

use std::collections::{BTreeMap, HashMap};

use huitong_protocol::id::{Epoch, StoreId};
use huitong_protocol::organisation::Store;
use huitong_protocol::reconcile::Class;
use huitong_protocol::time::{BusinessDay, Instant};
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::adoption;
use crate::exception::close_about;
use crate::horizon::{self, Horizon};
use crate::note;
use crate::store::day::{self, Resolution};
use crate::store::engine::{StoreError, Tx};
use crate::store::{device, exception, organisation};

/// The most days of one calendar.
pub const DAYS_MAX: usize = 400;

/// Where a day is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// The store has traded before and nothing of the day is here: it was closed, or its journal has not arrived.
    Missing,
    /// Opened and not sealed.
    Open,
    /// Not sealed although some store has begun a later day.
    Late,
    /// Sealed, and the hub counts the same.
    Accepted,
    /// Sealed, and the hub counts something else.
    Differs,
    /// Not accepted by the hub, and taken by finance as the hub counted it.
    Resolved,
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
            Self::Resolved => "resolved",
        }
    }
}

/// One store's day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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
    /// When the store was last heard, if that was before a day of which nothing is here: whether it traded nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_heard_since_ms: Option<Instant>,
    /// What finance said of it, when that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// A store that has traded before, and of which nothing was heard on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Silent {
    /// The store.
    pub store: StoreId,
    /// When it was last heard.
    pub last_seen_ms: Instant,
}

/// Stores that have traded before and were silent all of a day: no day opened, not a word since before it. They are not late, as nobody knows whether they
/// traded.
///
/// # Errors
/// [`StoreError`].
pub fn silent(tx: &mut Tx<'_>, day: BusinessDay) -> Result<Vec<Silent>, StoreError> {
    let silence = Silence::of(tx)?;
    let known = day::list(tx, day, day)?;
    let said = day::resolutions(tx, day, day)?;
    let mut silent = Vec::new();
    for store in organisation::stores(tx)? {
        let is_known = known.iter().any(|day| day.store == store.id) || said.iter().any(|word| word.store == store.id);
        if !is_known && silence.expects(&store, day) {
            silent.extend(silence.since(&store, day).map(|last_seen_ms| Silent { store: store.id, last_seen_ms }));
        }
    }
    Ok(silent)
}

/// What is known of stores that say nothing.
struct Silence {
    firsts: BTreeMap<StoreId, BusinessDay>,
    last_seen: HashMap<StoreId, Instant>,
}

impl Silence {
    fn of(tx: &mut Tx<'_>) -> Result<Self, StoreError> {
        Ok(Self { firsts: day::firsts(tx)?, last_seen: device::last_seen_all(tx)? })
    }

    /// Whether a store has begun to trade by a day, and is not over.
    fn expects(&self, store: &Store, day: BusinessDay) -> bool {
        self.firsts.get(&store.id).is_some_and(|first| *first <= day)
            && store.closed_on.is_none_or(|closed| day <= closed)
    }

    /// When it was last heard, if that was before the day began on its own wall clock.
    fn since(&self, store: &Store, day: BusinessDay) -> Option<Instant> {
        let seen = *self.last_seen.get(&store.id)?;
        (horizon::day_of(&store.time_zone, seen)? < day).then_some(seen)
    }
}

/// Takes a day as the hub counted it, for finance: its seal differs, it was never sealed, or nothing of it is here. What arrives later still counts, as an
/// adjustment.
///
/// # Errors
/// [`StoreError::Rule`] says why not.
pub fn resolve(
    tx: &mut Tx<'_>,
    store: StoreId,
    business_day: BusinessDay,
    actor: &Actor,
    note: &str,
    now: Instant,
) -> Result<Resolution, StoreError> {
    let refused = |fault: String| StoreError::Rule { operation: "resolve a day", fault };
    let note = note::needed(note).map_err(|fault| refused(format!("--note {fault}")))?;
    let known = organisation::store(tx, store)?
        .ok_or_else(|| refused(format!("there is no store {store}\n  hint: huitong-hub store list")))?;
    if adoption::business_day(&known, now).is_some_and(|today| business_day >= today) {
        return Err(refused(format!("{business_day} is not over at {store}\n  hint: wait for its seal")));
    }
    let day = day::find(tx, store, business_day)?;
    if day.as_ref().is_some_and(|day| day.state == "accepted") {
        return Err(refused(format!("{business_day} of {store} is accepted; the hub counts what the store sealed")));
    }
    let resolution = Resolution {
        store,
        business_day,
        epoch: day.as_ref().map_or(Epoch(0), |day| day.epoch),
        seal_seq: day.as_ref().and_then(|day| day.seal_seq).unwrap_or(0),
        differences: day.as_ref().map(|day| day.differences.clone()).unwrap_or_default(),
        resolved_by: actor.name().to_owned(),
        note: note.to_owned(),
        resolved_at_ms: now.0,
    };
    let said = day::resolutions(tx, business_day, business_day)?;
    let is_same =
        |word: &Resolution| (word.store, word.epoch, word.seal_seq) == (store, resolution.epoch, resolution.seal_seq);
    if let Some(word) = said.iter().find(|word| is_same(word)) {
        let at = Instant(word.resolved_at_ms);
        return Err(refused(format!(
            "{business_day} of {store} was resolved by {} at {at}: {}",
            word.resolved_by, word.note
        )));
    }
    day::resolve(tx, &resolution)?;
    if resolution.seal_seq > 0 {
        let subject = day::seal_subject(store, business_day, resolution.epoch, resolution.seal_seq.unsigned_abs());
        let by = (actor.name(), note);
        close_about(tx, Class::SealDiffers, &subject, exception::Resolution::Accepted, by, now)?;
    }
    actor.did(tx, "day.resolve", &format!("{store} {business_day}"), note, now)?;
    Ok(resolution)
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

/// How many days are listed when nobody says how many.
const DAYS_LISTED: i64 = 7;

/// As [`calendar`], up to the last day that any store opened and a week back when nothing else is said.
///
/// # Errors
/// [`StoreError`].
pub fn latest(
    tx: &mut Tx<'_>,
    from: Option<BusinessDay>,
    to: Option<BusinessDay>,
    now: Instant,
) -> Result<Vec<CalendarDay>, StoreError> {
    let Some(to) = to.or(last_day(tx, now)?) else { return Ok(Vec::new()) };
    let week = || BusinessDay::of(to.date().saturating_sub(jiff::Span::new().days(DAYS_LISTED - 1)));
    calendar(tx, from.unwrap_or_else(week), to, now)
}

/// The days of all stores from one day to another, both included, at most [`DAYS_MAX`] of them, by day and store; of each store from its first day on.
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
    let silence = Silence::of(tx)?;
    let stores = organisation::stores(tx)?;
    let known = day::list(tx, from, to)?;
    let said = day::resolutions(tx, from, to)?;
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
            let stands = |word: &&Resolution| match found {
                Some(day) => word.is_about(day) && day.state != "accepted",
                None => (word.store, word.business_day, word.epoch) == (store.id, current, Epoch(0)),
            };
            let resolution = said.iter().find(stands).cloned();
            let state = match (found.map(|found| found.state.as_str()), &resolution) {
                (_, Some(_)) => DayState::Resolved,
                (Some("accepted"), _) => DayState::Accepted,
                (Some("differs"), _) => DayState::Differs,
                (Some(_), _) if last.is_some_and(|last| current < last) => DayState::Late,
                (Some(_), _) => DayState::Open,
                (None, _) if silence.expects(store, current) => DayState::Missing,
                (None, _) => continue,
            };
            let is_missing = state == DayState::Missing;
            days.push(CalendarDay {
                business_day: current,
                store: store.id,
                state,
                differences: found.map(|day| day.differences.clone()).unwrap_or_default(),
                not_heard_since_ms: is_missing.then(|| silence.since(store, current)).flatten(),
                resolution,
            });
        }
        current = current.tomorrow();
    }
    Ok(days)
}
