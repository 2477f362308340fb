//! Demand: what a store must hold so that the next basket is paid there.
//!
//! Baskets of the past stand for the next one, late ones more than early ones, each with others of half to twice its size around it, as amounts do not
//! repeat. What a store must have held in the morning for a later basket of the same day counts the ones before. When a basket is more than the balance,
//! members who are used to reload do, by their usual amount, and the store needs only what that leaves open; others pay what they have.

use super::{Visit, WHOLE_PPM};

/// Into how many steps a balance is cut.
pub(super) const STEPS: usize = 32;

/// What each basket weighs less than the one after it.
const OLDER_PPM: i64 = 967_000;
/// The sizes around a basket, in thousandths of it, and what each of them weighs.
const AROUND: [(i64, i64); 5] = [(500, 1), (667, 2), (1_000, 3), (1_500, 2), (2_000, 1)];
/// Of ten members who could reload, one pays what there is and the rest otherwise.
const RELOADS_OF_TEN: i64 = 9;
/// What weighs as much as half of the last basket: that any part of the balance may be needed.
const UNKNOWN_WEIGHT: i64 = 9 * 10 * WHOLE_PPM / 2;
/// Of so many last reloads the smallest is the usual amount: reloads come in multiples of it.
const RELOADS_LOOKED_AT: usize = 8;

/// How much of the demand each part of a balance pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    balance_minor: i64,
    /// By steps of the balance held: which part of baskets it pays, in parts per million.
    covered_ppm: [i64; STEPS + 1],
}

impl Demand {
    /// The demand of an account with a balance above zero.
    pub(super) fn of(balance_minor: i64, visits: &[Visit]) -> Self {
        let mut weights = [0_i64; STEPS + 1];
        let even = UNKNOWN_WEIGHT / i64::try_from(STEPS).unwrap_or(1);
        weights[1..].fill(even);
        let reload_minor = usual_reload(visits);
        let dues = dues(visits);
        let mut weight = WHOLE_PPM;
        for due_minor in dues.into_iter().rev() {
            for (thousandths, share) in AROUND {
                let due_minor = i128::from(due_minor) * i128::from(thousandths) / 1_000;
                add(&mut weights, balance_minor, due_minor, reload_minor, weight * share);
            }
            weight = (weight * OLDER_PPM / WHOLE_PPM).max(1);
        }
        let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
        let mut covered_ppm = [0; STEPS + 1];
        let mut sum = 0_i128;
        for (covered, weight) in covered_ppm.iter_mut().zip(weights) {
            sum += i128::from(weight);
            *covered = i64::try_from(sum * i128::from(WHOLE_PPM) / total.max(1)).unwrap_or(WHOLE_PPM);
        }
        Self { balance_minor, covered_ppm }
    }

    /// What so many steps of the balance are, in minor units.
    pub(super) fn minor(&self, steps: usize) -> i64 {
        let part = i128::from(self.balance_minor) * (steps as i128) / (STEPS as i128);
        i64::try_from(part).unwrap_or(i64::MAX)
    }

    /// The most whole steps that an amount has.
    pub(super) fn steps_in(&self, amount_minor: i64) -> usize {
        (0..=STEPS).rev().find(|steps| self.minor(*steps) <= amount_minor).unwrap_or(0)
    }

    /// Which part of baskets so many steps pay, in parts per million.
    pub(super) const fn covered_ppm(&self, steps: usize) -> i64 {
        self.covered_ppm[steps]
    }
}

/// What was due at each basket, with what the same store had been paid that day before and was not loaded since.
fn dues(visits: &[Visit]) -> Vec<i64> {
    let mut dues = Vec::with_capacity(visits.len());
    let mut open_minor = 0_i64;
    for (at, visit) in visits.iter().enumerate() {
        let goes_on = at > 0 && (visits[at - 1].store, visits[at - 1].day_no) == (visit.store, visit.day_no);
        open_minor = if goes_on { open_minor } else { 0 };
        open_minor = open_minor.saturating_add(visit.spent_minor);
        if visit.spent_minor > 0 {
            dues.push(open_minor);
        }
        open_minor = open_minor.saturating_sub(visit.loaded_minor).max(0);
    }
    dues
}

/// The amount by which the member is used to reload: none for a member who never did.
fn usual_reload(visits: &[Visit]) -> Option<i64> {
    let reloads = visits.iter().rev().map(|visit| visit.reloaded_minor).filter(|minor| *minor > 0);
    reloads.take(RELOADS_LOOKED_AT).min()
}

/// Adds what a store must hold for a due amount.
fn add(weights: &mut [i64; STEPS + 1], balance_minor: i64, due: i128, reload_minor: Option<i64>, weight: i64) {
    let balance = i128::from(balance_minor);
    let mut put = |needed: i128, weight: i64| {
        let steps = (needed.max(0) * (STEPS as i128) + balance - 1) / balance;
        weights[usize::try_from(steps).unwrap_or(STEPS).min(STEPS)] += weight;
    };
    match reload_minor {
        _ if due <= balance => put(due, weight * 10),
        Some(reload_minor) => {
            let reload = i128::from(reload_minor);
            let loaded = (due - balance + reload - 1) / reload * reload;
            put(due - loaded, weight * RELOADS_OF_TEN);
            put(balance, weight * (10 - RELOADS_OF_TEN));
        }
        None => put(balance, weight * 10),
    }
}
