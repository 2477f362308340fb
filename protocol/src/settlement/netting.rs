//! Netting: from legs to the payments that settle them.
//!
//! It changes payments only; statements, vouchers and invoice lists stay gross by pair. Legs inside one legal entity are internal: map parties to
//! entities first and they vanish with the informational ones.
//!
//! Invariants: whatever the method, each party's payments come to its position; positions sum to zero; the answer depends on amounts and the order
//! of parties only. Currencies are never mixed: a run has one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::money::Currency;
use crate::party::Party;
use crate::settlement::leg::Leg;

/// Up to this many parties the fewest possible transfers are found by trying all subsets (2^15 of them); above, greedily.
pub const EXACT_PARTIES_MAX: usize = 15;

/// What cannot be netted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NettingError {
    /// Legs of two currencies.
    #[error("legs in {found} cannot be netted with legs in {expected}")]
    Currency {
        /// The currency of the first leg.
        expected: Currency,
        /// The other one.
        found: Currency,
    },
    /// A sum does not fit.
    #[error("a sum does not fit in 64 bits")]
    Overflow,
    /// Positions that do not sum to zero: no set of payments settles them.
    #[error("the positions sum to {sum_minor}, not to zero")]
    NotZero {
        /// What they sum to.
        sum_minor: i64,
    },
}

/// One party owes another, over all accounts, kinds and days; or pays it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Obligation {
    /// Who owes or pays.
    pub debtor: Party,
    /// Who is owed or paid.
    pub creditor: Party,
    /// How much, above zero.
    pub amount_minor: i64,
}

/// What each party is to receive (above zero) or pay (below). Parties at zero are kept: they took part.
pub type Positions = BTreeMap<Party, i64>;

/// Gross obligations per ordered pair, sorted. `of` maps a party to who pays for it: itself, or its legal entity. A pair whose differences sum below zero
/// is turned round.
///
/// # Errors
/// [`NettingError::Currency`] and [`NettingError::Overflow`].
pub fn gross<'a>(
    legs: impl IntoIterator<Item = &'a Leg>,
    of: impl Fn(Party) -> Party,
) -> Result<Vec<Obligation>, NettingError> {
    let mut pairs: BTreeMap<(Party, Party), i64> = BTreeMap::new();
    let mut currency = None;
    for leg in legs {
        let expected = *currency.get_or_insert(leg.currency);
        if leg.currency != expected {
            return Err(NettingError::Currency { expected, found: leg.currency });
        }
        let (debtor, creditor) = (of(leg.debtor), of(leg.creditor));
        if debtor != creditor {
            add(&mut pairs, (debtor, creditor), leg.amount_minor)?;
        }
    }
    let mut turned = BTreeMap::new();
    for ((debtor, creditor), amount) in pairs {
        let (pair, amount) = if amount < 0 {
            ((creditor, debtor), amount.checked_neg().ok_or(NettingError::Overflow)?)
        } else {
            ((debtor, creditor), amount)
        };
        add(&mut turned, pair, amount)?;
    }
    Ok(obligations(turned))
}

/// What is left between each two parties: one direction, zero left out.
///
/// # Errors
/// [`NettingError::Overflow`].
pub fn bilateral(gross: &[Obligation]) -> Result<Vec<Obligation>, NettingError> {
    let mut pairs: BTreeMap<(Party, Party), i64> = BTreeMap::new();
    for &Obligation { debtor, creditor, amount_minor } in gross {
        if debtor < creditor {
            add(&mut pairs, (debtor, creditor), amount_minor)?;
        } else {
            add(&mut pairs, (creditor, debtor), -amount_minor)?;
        }
    }
    let turned =
        pairs.into_iter().map(|((a, b), amount)| if amount < 0 { ((b, a), -amount) } else { ((a, b), amount) });
    Ok(obligations(turned.collect()))
}

fn obligations(pairs: BTreeMap<(Party, Party), i64>) -> Vec<Obligation> {
    let owing = pairs.into_iter().filter(|&(_, amount)| amount != 0);
    owing.map(|((debtor, creditor), amount_minor)| Obligation { debtor, creditor, amount_minor }).collect()
}

fn add<K: Ord>(sums: &mut BTreeMap<K, i64>, key: K, amount: i64) -> Result<(), NettingError> {
    let sum = sums.entry(key).or_insert(0);
    *sum = sum.checked_add(amount).ok_or(NettingError::Overflow)?;
    Ok(())
}

/// Position of each party: all it is owed less all it owes.
///
/// # Errors
/// [`NettingError::Overflow`].
pub fn positions(owed: &[Obligation]) -> Result<Positions, NettingError> {
    let mut positions = Positions::new();
    for &Obligation { debtor, creditor, amount_minor } in owed {
        add(&mut positions, debtor, -amount_minor)?;
        add(&mut positions, creditor, amount_minor)?;
    }
    Ok(positions)
}

/// Checks that positions can be settled among themselves.
///
/// # Errors
/// [`NettingError::NotZero`].
pub fn check_zero(positions: &Positions) -> Result<(), NettingError> {
    let sum: i128 = positions.values().map(|&amount| i128::from(amount)).sum();
    match i64::try_from(sum) {
        Ok(0) => Ok(()),
        Ok(sum_minor) => Err(NettingError::NotZero { sum_minor }),
        Err(_) => Err(NettingError::Overflow),
    }
}

/// Payments with the hub as everybody's counterparty: at most one per party.
///
/// # Errors
/// As [`check_zero`].
pub fn hub_payments(positions: &Positions) -> Result<Vec<Obligation>, NettingError> {
    check_zero(positions)?;
    let others = positions.iter().filter(|&(&party, &amount)| party != Party::Hub && amount != 0);
    Ok(others
        .map(|(&party, &amount)| {
            let (debtor, creditor) = if amount < 0 { (party, Party::Hub) } else { (Party::Hub, party) };
            Obligation { debtor, creditor, amount_minor: amount.abs() }
        })
        .collect())
}

/// Direct transfers that settle all positions: at most one fewer than parties, and the fewest possible up to [`EXACT_PARTIES_MAX`] parties. The largest
/// debtor pays the largest creditor first; of equals the first in the order of parties.
///
/// # Errors
/// As [`check_zero`].
pub fn minimal_transfers(positions: &Positions) -> Result<Vec<Obligation>, NettingError> {
    check_zero(positions)?;
    let open: Vec<(Party, i64)> =
        positions.iter().map(|(&party, &amount)| (party, amount)).filter(|&(_, amount)| amount != 0).collect();
    if open.len() > EXACT_PARTIES_MAX {
        return Ok(greedy(open));
    }
    Ok(zero_sum_groups(&open).into_iter().flat_map(greedy).collect())
}

/// Pays from the largest debtor to the largest creditor until nothing is owed.
fn greedy(open: Vec<(Party, i64)>) -> Vec<Obligation> {
    // A map keyed by size, then party: both ends are found in logarithmic time, and ties go to the first party.
    let (creditors, debtors): (Vec<_>, Vec<_>) = open.into_iter().partition(|&(_, amount)| amount > 0);
    let queue = |side: Vec<(Party, i64)>| -> std::collections::BTreeSet<(Reverse<i64>, Party)> {
        side.into_iter().map(|(party, amount)| (Reverse(amount.abs()), party)).collect()
    };
    let (mut debtors, mut creditors) = (queue(debtors), queue(creditors));
    let mut transfers = Vec::new();
    while let (Some((Reverse(owes), debtor)), Some((Reverse(owed), creditor))) =
        (debtors.pop_first(), creditors.pop_first())
    {
        let amount_minor = owes.min(owed);
        transfers.push(Obligation { debtor, creditor, amount_minor });
        if owes > amount_minor {
            debtors.insert((Reverse(owes - amount_minor), debtor));
        }
        if owed > amount_minor {
            creditors.insert((Reverse(owed - amount_minor), creditor));
        }
    }
    transfers
}

/// Splits positions into as many groups that sum to zero as there can be; each saves one transfer.
fn zero_sum_groups(open: &[(Party, i64)]) -> Vec<Vec<(Party, i64)>> {
    let subsets = 1_usize << open.len();
    let mut sums = vec![0_i128; subsets];
    // Most zero-sum prefixes on any way of adding the subset's parties one by one: that is its most groups.
    let mut groups = vec![0_u8; subsets];
    for subset in 1..subsets {
        let lowest = subset.trailing_zeros() as usize;
        sums[subset] = sums[subset & (subset - 1)] + i128::from(open[lowest].1);
        let without =
            (0..open.len()).filter(|party| subset >> party & 1 == 1).map(|party| groups[subset ^ (1 << party)]);
        groups[subset] = without.max().unwrap_or(0) + u8::from(sums[subset] == 0);
    }
    let mut found: Vec<Vec<(Party, i64)>> = Vec::new();
    let mut subset = subsets - 1;
    while subset != 0 {
        let ends_group = sums[subset] == 0;
        if ends_group {
            found.push(Vec::new());
        }
        let wanted = groups[subset] - u8::from(ends_group);
        let party = (0..open.len())
            .find(|party| subset >> party & 1 == 1 && groups[subset ^ (1 << party)] == wanted)
            .expect("some party's removal gave the subset its count");
        if let Some(group) = found.last_mut() {
            group.push(open[party]);
        }
        subset ^= 1 << party;
    }
    found
}

/// The figures of a netting, as a summary shows them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NettingSummary {
    /// Ordered pairs that owe.
    pub obligations: usize,
    /// Σ of them.
    pub gross_minor: i64,
    /// Σ of what is left between each two parties.
    pub bilateral_net_minor: i64,
    /// Σ of what parties receive when all is netted.
    pub multilateral_net_minor: i64,
    /// Parties that pay.
    pub paying: usize,
    /// Parties that receive.
    pub receiving: usize,
    /// The party with the highest position; of equals the first.
    pub largest_receiver: Option<(Party, i64)>,
    /// The party with the lowest position; of equals the first.
    pub largest_payer: Option<(Party, i64)>,
}

/// Sums up gross obligations.
///
/// # Errors
/// [`NettingError::Overflow`].
pub fn summary(gross: &[Obligation]) -> Result<NettingSummary, NettingError> {
    let total = |owed: &[Obligation]| {
        owed.iter()
            .try_fold(0_i64, |sum, obligation| sum.checked_add(obligation.amount_minor))
            .ok_or(NettingError::Overflow)
    };
    let positions = positions(gross)?;
    check_zero(&positions)?;
    let received = positions.values().filter(|&&amount| amount > 0);
    let entries = || positions.iter().map(|(&party, &amount)| (party, amount));
    Ok(NettingSummary {
        obligations: gross.len(),
        gross_minor: total(gross)?,
        bilateral_net_minor: total(&bilateral(gross)?)?,
        multilateral_net_minor: received
            .clone()
            .try_fold(0_i64, |sum, &amount| sum.checked_add(amount))
            .ok_or(NettingError::Overflow)?,
        paying: positions.values().filter(|&&amount| amount < 0).count(),
        receiving: received.count(),
        largest_receiver: entries().min_by_key(|&(party, amount)| (Reverse(amount), party)),
        largest_payer: entries().min_by_key(|&(party, amount)| (amount, party)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settlement::testing::party;

    fn book(rows: &[(&str, i64)]) -> Positions {
        rows.iter().map(|&(name, amount)| (party(name), amount)).collect()
    }

    fn owed(debtor: &str, creditor: &str, amount_minor: i64) -> Obligation {
        Obligation { debtor: party(debtor), creditor: party(creditor), amount_minor }
    }

    #[test]
    fn what_two_stores_owe_each_other_is_one_payment() {
        let gross = [owed("A", "B", 500), owed("B", "A", 200), owed("C", "B", 70), owed("B", "C", 70)];
        assert_eq!(bilateral(&gross).unwrap(), [owed("A", "B", 300)]);
        let summary = summary(&gross).unwrap();
        assert_eq!(
            (summary.obligations, summary.gross_minor, summary.bilateral_net_minor, summary.multilateral_net_minor),
            (4, 840, 300, 300)
        );
        assert_eq!((summary.paying, summary.receiving), (1, 1));
        assert_eq!(summary.largest_receiver, Some((party("B"), 300)));
        assert_eq!(summary.largest_payer, Some((party("A"), -300)));
    }

    #[test]
    fn ties_go_to_the_first_party() {
        let positions = book(&[("A", 10), ("B", 10), ("C", -10), ("D", -10)]);
        assert_eq!(minimal_transfers(&positions).unwrap().len(), 2);
        let gross = [owed("D", "A", 10), owed("C", "B", 10)];
        let summary = summary(&gross).unwrap();
        assert_eq!(summary.largest_receiver, Some((party("A"), 10)));
        assert_eq!(summary.largest_payer, Some((party("C"), -10)));
    }

    #[test]
    fn groups_that_settle_among_themselves_save_a_transfer() {
        // Greedy alone would need five payments: 9 → 7, 6 → 6 … leaves fragments.
        let positions = book(&[("A", 7), ("B", 2), ("C", 6), ("D", -9), ("E", -4), ("F", -2)]);
        assert_eq!(minimal_transfers(&positions).unwrap().len(), 4);
    }

    #[test]
    fn with_the_hub_as_counterparty_each_pays_or_is_paid_once() {
        let positions = book(&[("A", 70), ("B", -30), ("C", 0), ("hub", -40)]);
        assert_eq!(hub_payments(&positions).unwrap(), [owed("hub", "A", 70), owed("B", "hub", 30)]);
    }

    #[test]
    fn positions_that_are_off_by_a_cent_are_refused() {
        let positions = book(&[("A", 70), ("B", -69)]);
        assert_eq!(minimal_transfers(&positions), Err(NettingError::NotZero { sum_minor: 1 }));
        assert_eq!(hub_payments(&positions), Err(NettingError::NotZero { sum_minor: 1 }));
    }

    #[test]
    fn stores_of_one_legal_entity_settle_nothing_between_them() {
        let leg = |debtor: &str, creditor: &str, amount_minor| Leg {
            account: None,
            business_day: "2026-11-22".parse().unwrap(),
            kind: crate::settlement::leg::LegKind::Spend,
            debtor: party(debtor),
            creditor: party(creditor),
            currency: Currency::CNY,
            amount_minor,
        };
        let legs = [leg("A", "B", 100), leg("A", "C", 40), leg("C", "B", -5)];
        let entity = party("entity:E1");
        let owner = |store: Party| if store == party("A") || store == party("B") { entity } else { store };
        assert_eq!(gross(&legs, owner).unwrap(), [owed("entity:E1", "C", 45)], "a negative difference turns round");
        let mut foreign = legs;
        foreign[1].currency = Currency::USD;
        assert!(matches!(gross(&foreign, |store| store), Err(NettingError::Currency { .. })));
    }

    proptest! {
        #[test]
        fn every_method_settles_every_position(rows in prop::collection::vec((0_usize..24, 0_usize..24, 1_i64..1_000), 0..60)) {
            let name = |number: usize| if number == 0 { Party::Hub } else { party(&format!("S{number}")) };
            let gross: Vec<Obligation> = rows.iter().filter(|(a, b, _)| a != b)
                .map(|&(a, b, amount_minor)| Obligation { debtor: name(a), creditor: name(b), amount_minor }).collect();
            let expected: Positions = positions(&gross).unwrap().into_iter().filter(|&(_, amount)| amount != 0).collect();
            for payments in [bilateral(&gross).unwrap(), hub_payments(&expected).unwrap(), minimal_transfers(&expected).unwrap()] {
                let mut settled = positions(&payments).unwrap();
                settled.retain(|_, amount| *amount != 0);
                prop_assert_eq!(&settled, &expected);
                prop_assert!(payments.iter().all(|payment| payment.amount_minor > 0));
            }
            let transfers = minimal_transfers(&expected).unwrap();
            prop_assert!(transfers.len() <= expected.len().saturating_sub(1));
            let open: Vec<_> = expected.into_iter().collect();
            if open.len() <= EXACT_PARTIES_MAX {
                prop_assert!(transfers.len() <= greedy(open).len(), "exact is never worse than greedy");
            }
        }
    }
}
