//! Plan: how a balance is split over stores, so that as few refusals as possible are to be expected.
//!
//! For each store two things change with what it keeps. If it is silent tomorrow, the member is paid there as far as it holds enough; and wherever else
//! the member goes that day, what it keeps is out of reach. Both are weighed by how likely the member is to come, and how likely the store is to be silent.
//! The value of a store does not depend on what others keep (two that are silent on the same day are rare), so that the best split is found step by step.

use super::demand::{Demand, STEPS};
use super::{Allocator, Holder, ParkingRules, Prospect, Target, WHOLE_PPM, outlook};
use crate::id::StoreId;

/// How many stores an account is split over at most: more than six that are likely are hardly ever known.
const STORES_MAX: usize = 6;
/// What a refusal at a connected store weighs, one at a silent store being a whole: above this fewer are paid at silent stores than it saves elsewhere.
const STRANDED_PPM: i64 = 800_000;

/// Splits an account by the rules. Targets come in the order of their stores' likelihood.
#[must_use]
pub fn plan(rules: &ParkingRules, holder: &Holder<'_>) -> Vec<Target> {
    let parkable_minor = rules.parkable_minor(holder.balance_minor);
    let prospects = outlook(holder.visits, holder.gone);
    if parkable_minor <= 0 || prospects.is_empty() {
        return Vec::new();
    }
    let amounts = match rules.allocator {
        Allocator::Pool => Vec::new(),
        Allocator::MostVisited => vec![parkable_minor],
        Allocator::LastStore => {
            let last = holder.visits.iter().rev().map(|visit| visit.store).find(|store| !holder.gone.contains(store));
            prospects.iter().map(|(store, _)| if Some(*store) == last { parkable_minor } else { 0 }).collect()
        }
        Allocator::Proportional => prospects.iter().map(|(_, one)| part(parkable_minor, one.share_ppm)).collect(),
        Allocator::Planner => split(rules, holder, &prospects, parkable_minor),
    };
    targets(holder, &prospects, &amounts, parkable_minor)
}

/// Everything at one store, as somebody would who knows where the member comes next. For comparisons only.
#[must_use]
pub fn clairvoyant(rules: &ParkingRules, balance_minor: i64, next_store: StoreId) -> Option<(StoreId, i64)> {
    let parkable_minor = rules.parkable_minor(balance_minor);
    (parkable_minor > 0).then_some((next_store, parkable_minor))
}

fn part(amount_minor: i64, share_ppm: i64) -> i64 {
    let part = i128::from(amount_minor) * i128::from(share_ppm) / i128::from(WHOLE_PPM);
    i64::try_from(part).unwrap_or(i64::MAX)
}

fn targets(
    holder: &Holder<'_>,
    prospects: &[(StoreId, Prospect)],
    amounts: &[i64],
    parkable_minor: i64,
) -> Vec<Target> {
    let demand = Demand::of(holder.balance_minor, holder.visits);
    let planned: Vec<Target> = prospects
        .iter()
        .zip(amounts)
        .filter(|(_, target_minor)| **target_minor > 0)
        .map(|(&(store, prospect), &target_minor)| {
            let covered_ppm = demand.covered_ppm(demand.steps_in(target_minor));
            Target { store, target_minor, prospect, covered_ppm }
        })
        .collect();
    let sum: i128 = planned.iter().map(|target| i128::from(target.target_minor)).sum();
    assert!(sum <= i128::from(parkable_minor), "no more is parked than there is");
    planned
}

/// The split of the planner: by dynamic programming over stores and steps of the balance. Of two equally good splits the one that parks less is taken,
/// and the one that parks at the likelier store.
fn split(
    rules: &ParkingRules,
    holder: &Holder<'_>,
    prospects: &[(StoreId, Prospect)],
    parkable_minor: i64,
) -> Vec<i64> {
    let demand = Demand::of(holder.balance_minor, holder.visits);
    let steps_max = demand.steps_in(parkable_minor);
    let prospects = &prospects[..prospects.len().min(STORES_MAX)];
    // The best value of the stores so far with at most so many steps, and what each store keeps of it.
    let mut best = vec![0_i64; steps_max + 1];
    let mut kept: Vec<Vec<usize>> = Vec::with_capacity(prospects.len());
    for (store, prospect) in prospects {
        let values: Vec<i64> = (0..=steps_max).map(|steps| value(rules, *store, prospect, &demand, steps)).collect();
        let mut next = best.clone();
        let mut keeps = vec![0; steps_max + 1];
        for room in 0..=steps_max {
            for steps in 1..=room {
                let gained = best[room - steps] + values[steps] - values[0];
                if gained > next[room] {
                    (next[room], keeps[room]) = (gained, steps);
                }
            }
        }
        best = next;
        kept.push(keeps);
    }
    let mut room = steps_max;
    let mut amounts = vec![0; prospects.len()];
    for (amount, keeps) in amounts.iter_mut().zip(&kept).rev() {
        *amount = demand.minor(keeps[room]);
        room -= keeps[room];
    }
    amounts
}

/// What so many steps at a store are worth: baskets paid there while it is silent, less those not paid elsewhere because of it.
pub(super) fn value(rules: &ParkingRules, store: StoreId, prospect: &Prospect, demand: &Demand, steps: usize) -> i64 {
    let offline_ppm = rules.offline_ppm_of(store);
    let here_ppm = prospect.share_ppm;
    let paid = here_ppm * demand.covered_ppm(steps) / WHOLE_PPM;
    let stranded = (WHOLE_PPM - here_ppm) * (WHOLE_PPM - demand.covered_ppm(STEPS - steps)) / WHOLE_PPM;
    // Elsewhere is connected as often as the stores are in general.
    let weight_ppm = STRANDED_PPM * (WHOLE_PPM - rules.offline_ppm.clamp(0, WHOLE_PPM)) / WHOLE_PPM;
    (paid - stranded * weight_ppm / WHOLE_PPM) * offline_ppm
}
