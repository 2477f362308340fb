//! Earning: by which rule the points of a basket are counted, fixed when it is priced.
//!
//! Points are told with a price, so they follow the policy that made it, as the price does: a sale that is posted with its quote after another policy took
//! force earns what was told. What is moved, and onto whose account, is the sale's.

use crate::id::{StoreId, TenderCode};
use crate::money::{MoneyError, Ppm};
use crate::points::{EarnRule, PendingRule};
use crate::policy::{Policy, Tender, multiplied};
use crate::pricing::{CivilMoment, Shopper};

/// What earning needs of the policy that priced a basket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EarnTerms {
    /// How purchases earn.
    pub rule: EarnRule,
    /// What points are multiplied with.
    pub multiplier: Ppm,
    /// How long they are pending.
    pub pending: Option<PendingRule>,
    /// Whether what a tender pays earns, by tender.
    pub tenders: Vec<(TenderCode, bool)>,
}

impl EarnTerms {
    /// The terms of a policy at a store, a moment and for a shopper; nothing where purchases earn nothing.
    #[must_use]
    pub fn of(policy: &Policy, store: StoreId, at: &CivilMoment, shopper: Option<&Shopper>) -> Option<Self> {
        Some(Self {
            rule: policy.points.earn?,
            multiplier: multiplier(policy, store, at, shopper),
            pending: policy.points.pending,
            tenders: policy.tenders.iter().map(|tender| (tender.code, tender.earns_points)).collect(),
        })
    }

    /// Whether what a tender pays earns. One that came with a later policy earns as that one says.
    #[must_use]
    pub fn earns_with(&self, tender: &Tender) -> bool {
        let told = self.tenders.iter().find(|(code, _)| *code == tender.code);
        told.map_or(tender.earns_points, |(_, earns)| *earns)
    }

    /// The points that a base earns, rounded down.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn points_of(&self, base_minor: i64) -> Result<i64, MoneyError> {
        self.rule.points_of(base_minor, self.multiplier)
    }
}

/// What points are multiplied with: by the shopper's tier, once for whom the policy has none, and by what the store has set for itself at the moment.
fn multiplier(policy: &Policy, store: StoreId, at: &CivilMoment, shopper: Option<&Shopper>) -> Ppm {
    let tier = shopper.and_then(|shopper| shopper.tier);
    let tier = policy.tiers.iter().find(|known| Some(known.code) == tier);
    let by_tier = tier.map_or(Ppm::ONE, |tier| tier.earn_multiplier_ppm);
    let own = policy.stores.get(&store).and_then(|own| own.points.as_ref());
    match own.filter(|own| own.when.is_open(at)) {
        Some(own) => multiplied(by_tier, own.multiplier_ppm),
        None => by_tier,
    }
}
