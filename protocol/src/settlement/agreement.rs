//! The settlement agreement: who keeps which share of stored value that crosses stores, by version and business day.
//!
//! It lives at the hub only; no store needs it to sell. A rate is taken from the version in force on the business day of the movement
//! that causes the fee, and a reversal uses the rate of the movement it reverses, so a change of rates never touches what was agreed before.
//! Nothing here computes a leg; see [`crate::settlement::fold`].
//!
//! Invariant: an [`Agreements`] has at least one version, its days ascend, its rates are in range, and all versions share one currency.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Hash, IdError};
use crate::money::{Currency, Ppm};
use crate::time::BusinessDay;

/// The dearest point: 1,000 minor units. Larger figures are typing errors, and the bound keeps the fold's sums within 64 bits.
pub const POINTS_COST_PPM_MAX: Ppm = Ppm(1_000 * Ppm::ONE.0);

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $expected:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(IdError::Form { expected: $expected }) }
            }
        }
    };
}

choice! {
    /// Who stands between the store that took the money and the store that gave the goods.
    Scheme, "a scheme: pool, fifo or home" {
        /// The hub is everybody's counterparty.
        Pool = "pool",
        /// Whoever loaded a minor unit owes whoever accepted it.
        Fifo = "fifo",
        /// The store that sold the card owes its balance for life; loads and returns elsewhere are owed to it.
        Home = "home",
    }
}

choice! {
    /// Which lots a spend takes first.
    DrawOrder, "a draw order: proportional, fifo_principal_first or bonus_first" {
        /// Principal and bonus in the ratio held, principal lots oldest first. What is left is refundable by the court's method (优惠比例).
        Proportional = "proportional",
        /// All principal, oldest first, then bonus.
        FifoPrincipalFirst = "fifo_principal_first",
        /// All bonus, oldest first, then principal.
        BonusFirst = "bonus_first",
    }
}

choice! {
    /// Whose the value is that a return puts back.
    ReturnLots, "a rule for returns: restore or new_lot_here" {
        /// The lots that the spend drew; the sale is reversed at the store that made it.
        Restore = "restore",
        /// The store that took the goods: it opens a lot, and the original sale stands.
        NewLotHere = "new_lot_here",
    }
}

/// One version of the agreement, in force from a business day until the next version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// The first business day it holds for.
    pub effective_from: BusinessDay,
    /// The scheme that is booked unless a run names another.
    pub scheme: Scheme,
    /// The currency that runs settle in.
    pub currency: Currency,
    /// What the hub pays the loading store for principal it sold (card sales and reloads). Clawed back on principal that is paid out or voided.
    pub load_commission_ppm: Ppm,
    /// What the accepting store pays the hub on a spend. Under [`ReturnLots::Restore`] a void or return gives it back to that store.
    pub acceptance_fee_ppm: Ppm,
    /// The hub's share of a bonus; the loading store bears the rest.
    pub bonus_hub_share_ppm: Ppm,
    /// Parts per million of a minor unit per point: charged to the earning store, paid to the burning one. 1,000,000 is one minor unit a point.
    pub points_cost_ppm: Ppm,
    /// Which lots a spend takes first.
    pub draw_order: DrawOrder,
    /// Whose the value is that a return puts back.
    pub return_lots: ReturnLots,
}

impl Agreement {
    /// An agreement without any fee, commission, store-borne bonus or points cost: proportional draws, returns restored.
    #[must_use]
    pub const fn free_of_charge(effective_from: BusinessDay, scheme: Scheme, currency: Currency) -> Self {
        Self {
            effective_from,
            scheme,
            currency,
            load_commission_ppm: Ppm(0),
            acceptance_fee_ppm: Ppm(0),
            bonus_hub_share_ppm: Ppm::ONE,
            points_cost_ppm: Ppm(0),
            draw_order: DrawOrder::Proportional,
            return_lots: ReturnLots::Restore,
        }
    }
}

/// One thing wrong with a set of agreements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgreementFault {
    /// Where: `agreement[1].acceptance_fee_ppm`.
    pub path: String,
    /// What, and what would be right.
    pub fault: String,
}

/// Everything wrong with a set of agreements, found in one pass.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct AgreementFaults(pub Vec<AgreementFault>);

impl fmt::Display for AgreementFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, AgreementFault { path, fault }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{path} {fault}")?;
        }
        Ok(())
    }
}

/// The versions as written: `[[agreement]]` tables of a TOML file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    agreement: Vec<Agreement>,
}

/// All versions of the agreement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
pub struct Agreements(Vec<Agreement>);

impl TryFrom<Written> for Agreements {
    type Error = AgreementFaults;

    fn try_from(written: Written) -> Result<Self, AgreementFaults> {
        Self::new(written.agreement)
    }
}

impl From<Agreements> for Written {
    fn from(agreements: Agreements) -> Self {
        Self { agreement: agreements.0 }
    }
}

impl Agreements {
    /// Takes versions in the order of their days.
    ///
    /// # Errors
    /// Every fault at once, as [`faults`] finds them.
    pub fn new(versions: Vec<Agreement>) -> Result<Self, AgreementFaults> {
        let found = faults(&versions);
        if found.is_empty() { Ok(Self(versions)) } else { Err(AgreementFaults(found)) }
    }

    /// The versions, by ascending day.
    #[must_use]
    pub fn versions(&self) -> &[Agreement] {
        &self.0
    }

    /// The currency of all versions.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.0[0].currency
    }

    /// The version in force on a business day. The first version also holds for earlier days, so that a late journal always has terms.
    #[must_use]
    pub fn at(&self, day: BusinessDay) -> &Agreement {
        if self.0.len() == 1 {
            return &self.0[0];
        }
        let later = self.0.partition_point(|version| version.effective_from <= day);
        &self.0[later.saturating_sub(1)]
    }

    /// A fingerprint of all versions, kept with each run so that its figures can be recomputed from the same terms.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut text = String::new();
        for v in &self.0 {
            let rates = [v.load_commission_ppm, v.acceptance_fee_ppm, v.bonus_hub_share_ppm, v.points_cost_ppm]
                .map(|rate| rate.0.to_string());
            let words = [v.scheme.as_str(), v.currency.code(), v.draw_order.as_str(), v.return_lots.as_str()];
            text.push_str(&format!("{} {} {}\n", v.effective_from, words.join(" "), rates.join(" ")));
        }
        Hash::of(text.as_bytes())
    }
}

/// Everything wrong with versions of an agreement; empty when they are fine.
#[must_use]
pub fn faults(versions: &[Agreement]) -> Vec<AgreementFault> {
    let mut found = Vec::new();
    let mut report = |path: String, fault: String| found.push(AgreementFault { path, fault });
    if versions.is_empty() {
        report("agreement".into(), "has no version; give at least one".into());
    }
    for (index, version) in versions.iter().enumerate() {
        let rates = [
            ("load_commission_ppm", version.load_commission_ppm, Ppm::ONE),
            ("acceptance_fee_ppm", version.acceptance_fee_ppm, Ppm::ONE),
            ("bonus_hub_share_ppm", version.bonus_hub_share_ppm, Ppm::ONE),
            ("points_cost_ppm", version.points_cost_ppm, POINTS_COST_PPM_MAX),
        ];
        for (field, rate, max) in rates {
            if !(0..=max.0).contains(&rate.0) {
                report(format!("agreement[{index}].{field}"), format!("is {}; give 0 to {}", rate.0, max.0));
            }
        }
        if version.currency != versions[0].currency {
            let fault = format!(
                "is {}, but the first version has {}; one agreement has one currency",
                version.currency, versions[0].currency
            );
            report(format!("agreement[{index}].currency"), fault);
        }
        if index > 0 && version.effective_from <= versions[index - 1].effective_from {
            let fault = format!(
                "is {}, not after {} of the version before",
                version.effective_from,
                versions[index - 1].effective_from
            );
            report(format!("agreement[{index}].effective_from"), fault);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(day: &str) -> Agreement {
        Agreement::free_of_charge(day.parse().unwrap(), Scheme::Pool, Currency::CNY)
    }

    #[test]
    fn the_version_of_a_day_is_the_last_that_began() {
        let agreements = Agreements::new(vec![version("2026-01-01"), version("2026-07-01")]).unwrap();
        let check =
            |day: &str, from: &str| assert_eq!(agreements.at(day.parse().unwrap()).effective_from.to_string(), from);
        check("2026-06-30", "2026-01-01");
        check("2026-07-01", "2026-07-01");
        check("2027-01-01", "2026-07-01");
        check("2025-12-31", "2026-01-01");
    }

    #[test]
    fn every_fault_is_reported_at_once_with_its_path() {
        let mut second = version("2026-01-01");
        second.acceptance_fee_ppm = Ppm(1_000_001);
        second.points_cost_ppm = Ppm(-1);
        second.currency = Currency::USD;
        let Err(AgreementFaults(found)) = Agreements::new(vec![version("2026-01-01"), second]) else {
            panic!("must be refused")
        };
        let paths: Vec<&str> = found.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "agreement[1].acceptance_fee_ppm",
                "agreement[1].points_cost_ppm",
                "agreement[1].currency",
                "agreement[1].effective_from"
            ]
        );
        assert_eq!(faults(&[])[0].path, "agreement");
    }

    #[test]
    fn an_agreement_reads_back_and_refuses_unknown_words() {
        let agreements = Agreements::new(vec![version("2026-01-01")]).unwrap();
        let text = serde_json::to_string(&agreements).unwrap();
        assert_eq!(serde_json::from_str::<Agreements>(&text).unwrap(), agreements);
        for (from, to) in [
            ("\"pool\"", "\"simple_home\""),
            ("scheme", "sceme"),
            ("\"acceptance_fee_ppm\":0", "\"acceptance_fee_ppm\":-1"),
        ] {
            assert!(serde_json::from_str::<Agreements>(&text.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn the_fingerprint_changes_with_any_term() {
        let base = version("2026-01-01");
        let hash = |agreement: Agreement| Agreements::new(vec![agreement]).unwrap().hash();
        let changed = [
            Agreement { load_commission_ppm: Ppm(1), ..base },
            Agreement { acceptance_fee_ppm: Ppm(1), ..base },
            Agreement { bonus_hub_share_ppm: Ppm(1), ..base },
            Agreement { points_cost_ppm: Ppm(1), ..base },
            Agreement { scheme: Scheme::Fifo, ..base },
            Agreement { draw_order: DrawOrder::BonusFirst, ..base },
            Agreement { return_lots: ReturnLots::NewLotHere, ..base },
            version("2026-01-02"),
        ];
        for agreement in changed {
            assert_ne!(hash(agreement), hash(base), "{agreement:?}");
        }
    }
}
