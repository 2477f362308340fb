//! Visits: an account's history as parking needs it, made of its movements.
//!
//! Only where, on which day, how much was paid and how much was loaded: what was bought, and at which minute, is not looked at. Bounded per account.

use crate::id::StoreId;
use crate::movement::MovementKind;
use crate::time::BusinessDay;

/// How many visits of an account are looked at: about a year of weekly shopping. What lies further back weighs next to nothing.
pub const VISITS_MAX: usize = 64;

/// One visit: at most one basket, and what was loaded for it before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Visit {
    /// Where.
    pub store: StoreId,
    /// When, in days since 1970-01-01.
    pub day_no: i64,
    /// Paid with the account, in minor units.
    pub spent_minor: i64,
    /// Loaded before that, in minor units.
    pub loaded_minor: i64,
    /// Of it by reloads, which the member chose to make.
    pub reloaded_minor: i64,
}

/// What of a visit a movement tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VisitKind {
    /// A basket was paid.
    Paid,
    /// The card was loaded again.
    Reloaded,
    /// The card was sold with something on it, or goods were given back onto it.
    Given,
}

impl VisitKind {
    /// What a movement tells, if anything: what head office does, and what undoes something, is no visit.
    #[must_use]
    pub const fn of(kind: MovementKind) -> Option<Self> {
        match kind {
            MovementKind::Spend => Some(Self::Paid),
            MovementKind::Reload => Some(Self::Reloaded),
            MovementKind::CardSale | MovementKind::SpendReturn | MovementKind::UnreferencedReturn => Some(Self::Given),
            _ => None,
        }
    }
}

/// Visits as movements come, in their order.
#[derive(Clone, Debug, Default)]
pub struct Visits(Vec<Visit>);

impl Visits {
    /// Takes what a movement tells. A load and the basket after it are one visit.
    pub fn push(&mut self, store: StoreId, day: BusinessDay, kind: VisitKind, amount_minor: i64) {
        let day_no = day_no(day);
        let same =
            self.0.last_mut().filter(|last| (last.store, last.day_no) == (store, day_no) && last.spent_minor == 0);
        let visit = match same {
            Some(visit) => visit,
            None => {
                self.0.push(Visit { store, day_no, spent_minor: 0, loaded_minor: 0, reloaded_minor: 0 });
                self.0.last_mut().expect("one was pushed")
            }
        };
        let add = |sum: &mut i64| *sum = sum.saturating_add(amount_minor.max(0));
        match kind {
            VisitKind::Paid => add(&mut visit.spent_minor),
            VisitKind::Given => add(&mut visit.loaded_minor),
            VisitKind::Reloaded => {
                add(&mut visit.loaded_minor);
                add(&mut visit.reloaded_minor);
            }
        }
    }

    /// The last ones, the oldest first.
    #[must_use]
    pub fn recent(&self) -> &[Visit] {
        &self.0[self.0.len().saturating_sub(VISITS_MAX)..]
    }
}

fn day_no(day: BusinessDay) -> i64 {
    let days = day.date().since((jiff::Unit::Day, jiff::civil::Date::constant(1970, 1, 1)));
    days.map_or(0, |span| i64::from(span.get_days()))
}
