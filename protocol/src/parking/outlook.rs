//! Outlook: at which stores a member is likely to be next.
//!
//! Every visit of the past votes for its store, late ones more than early ones, and more again when it was like the visit that is expected: on the
//! weekday on which the member's rhythm says that it will be, and after a visit to the store where the member was last.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Visit, WHOLE_PPM};
use crate::id::StoreId;

/// What each visit weighs less than the one after it: about a third is left after twenty visits.
const OLDER_PPM: i64 = 951_000;
/// What a visit on the expected weekday weighs more.
const SAME_WEEKDAY_PPM: i64 = 1_500_000;
/// What a visit weighs more that followed one to the store where the member was last.
const SAME_BEFORE_PPM: i64 = 1_300_000;
/// How many intervals between visits tell the rhythm.
const INTERVALS_MAX: usize = 16;
/// How many intervals from one weekday make a rhythm.
const ALIKE_MIN: usize = 3;

/// A store where a member may be next, and what speaks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Prospect {
    /// Its part of the votes, in parts per million.
    pub share_ppm: i64,
    /// Visits there.
    pub visits: u32,
    /// Of so many that are known, at stores that are not gone.
    pub of_visits: u32,
    /// The expected weekday, Monday is 1.
    pub weekday: u8,
    /// Visits there on that weekday.
    pub weekday_visits: u32,
    /// Of so many on it.
    pub of_weekday_visits: u32,
    /// Visits there after one to the store where the member was last.
    pub next_visits: u32,
    /// That store.
    pub last_store: StoreId,
}

impl std::fmt::Display for Prospect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
        let weekday = NAMES.get(usize::from(self.weekday).wrapping_sub(1)).copied().unwrap_or("day");
        write!(
            f,
            "{} of {} visits, {} of {} on a {weekday}, {} after {}",
            self.visits, self.of_visits, self.weekday_visits, self.of_weekday_visits, self.next_visits, self.last_store
        )
    }
}

/// The stores of a history with their shares, the most likely first, without those that are gone: the others share the visits there. The shares are
/// rounded down, and come to a whole but for that.
#[must_use]
pub fn outlook(visits: &[Visit], gone: &BTreeSet<StoreId>) -> Vec<(StoreId, Prospect)> {
    let Some(last) = visits.last() else { return Vec::new() };
    let weekday = weekday(last.day_no.saturating_add(interval_days(visits)));
    let nothing = Prospect {
        share_ppm: 0,
        visits: 0,
        of_visits: u32::try_from(visits.iter().filter(|visit| !gone.contains(&visit.store)).count())
            .unwrap_or(u32::MAX),
        weekday,
        weekday_visits: 0,
        of_weekday_visits: 0,
        next_visits: 0,
        last_store: last.store,
    };
    let mut stores: BTreeMap<StoreId, (i64, Prospect)> = BTreeMap::new();
    let (mut weight, mut total, mut of_weekday) = (WHOLE_PPM, 0_i64, 0);
    for at in (0..visits.len()).rev() {
        let visit = &visits[at];
        if gone.contains(&visit.store) {
            continue;
        }
        let (votes, prospect) = stores.entry(visit.store).or_insert((0, nothing));
        let mut vote = weight;
        prospect.visits += 1;
        if self::weekday(visit.day_no) == weekday {
            vote = vote * SAME_WEEKDAY_PPM / WHOLE_PPM;
            prospect.weekday_visits += 1;
            of_weekday += 1;
        }
        if at > 0 && visits[at - 1].store == last.store {
            vote = vote * SAME_BEFORE_PPM / WHOLE_PPM;
            prospect.next_visits += 1;
        }
        *votes += vote;
        total += vote;
        weight = (weight * OLDER_PPM / WHOLE_PPM).max(1);
    }
    let mut prospects: Vec<(StoreId, Prospect)> = stores
        .into_iter()
        .map(|(store, (votes, prospect))| {
            let share_ppm = votes * WHOLE_PPM / total.max(1);
            (store, Prospect { share_ppm, of_weekday_visits: of_weekday, ..prospect })
        })
        .collect();
    prospects.sort_by_key(|(store, prospect)| (std::cmp::Reverse(prospect.share_ppm), *store));
    prospects
}

/// How many days usually pass until the next visit: the middle one of the last intervals that began on the weekday of the last visit, as members have
/// a rhythm within the week; of all last ones when there are not three of these. At least a day.
fn interval_days(visits: &[Visit]) -> i64 {
    let mut days: Vec<i64> = visits.iter().map(|visit| visit.day_no).collect();
    days.dedup();
    let Some(last) = days.last().copied() else { return 1 };
    let latest = |is_like: &dyn Fn(i64) -> bool| {
        let like = days.windows(2).rev().filter(|two| is_like(two[0]));
        let mut intervals: Vec<i64> =
            like.take(INTERVALS_MAX).map(|two| two[1].saturating_sub(two[0]).max(1)).collect();
        intervals.sort_unstable();
        intervals
    };
    let alike = latest(&|day_no| weekday(day_no) == weekday(last));
    let intervals = if alike.len() < ALIKE_MIN { latest(&|_| true) } else { alike };
    intervals.get(intervals.len() / 2).copied().unwrap_or(1)
}

/// Monday is 1: 1970-01-01 was a Thursday.
fn weekday(day_no: i64) -> u8 {
    u8::try_from(day_no.saturating_add(3).rem_euclid(7) + 1).unwrap_or(1)
}
