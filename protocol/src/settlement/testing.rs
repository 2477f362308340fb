//! Histories and legs in the words of the goldens, for tests.
//!
//! A line of history: `T3 C spend 1100.00`, with `of T1`, `day 23`, `from B` (an opening's store) where needed. Stamps follow the lines, points have
//! no decimals. A line of legs: `spend hub C 1100.00` (debtor, creditor), summed over days.

use std::collections::BTreeMap;

use crate::id::{AccountId, EntryId, Epoch, Seq, StoreId};
use crate::money::{Currency, Money, Ppm};
use crate::movement::{MovementKind, PostedMovement};
use crate::party::Party;
use crate::settlement::agreement::{Agreement, Agreements, DrawOrder, ReturnLots, Scheme};
use crate::settlement::leg::Leg;
use crate::time::{BusinessDay, Stamp};
use crate::unit::Unit;

pub(crate) fn party(name: &str) -> Party {
    Party::new(name).unwrap_or_else(|_| Party::Store(StoreId::new(name).unwrap()))
}

pub(crate) fn name(party: Party) -> String {
    match party {
        Party::Store(store) => store.to_string(),
        other => other.to_string(),
    }
}

pub(crate) fn day(of_month: i8) -> BusinessDay {
    BusinessDay::of(jiff::civil::date(2026, 11, of_month))
}

/// `1100.00` as 110,000; `-0.05` as −5; without a point as it stands.
pub(crate) fn minor(text: &str) -> i64 {
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '-').collect();
    digits.parse().unwrap()
}

pub(crate) fn decimal(minor: i64) -> String {
    Money { minor, currency: Currency::CNY }.decimal()
}

/// The terms of G-1; the other goldens change one of them.
pub(crate) fn golden_terms() -> Agreement {
    Agreement {
        load_commission_ppm: Ppm(10_000),
        acceptance_fee_ppm: Ppm(6_000),
        bonus_hub_share_ppm: Ppm(500_000),
        points_cost_ppm: Ppm(1_000_000),
        draw_order: DrawOrder::FifoPrincipalFirst,
        return_lots: ReturnLots::Restore,
        ..Agreement::free_of_charge(day(1), Scheme::Pool, Currency::CNY)
    }
}

pub(crate) fn only(agreement: Agreement) -> Agreements {
    Agreements::new(vec![agreement]).unwrap()
}

/// Account 1's history, in the order written.
pub(crate) fn history(text: &str) -> Vec<PostedMovement> {
    let mut labels = BTreeMap::new();
    let mut seqs: BTreeMap<StoreId, u64> = BTreeMap::new();
    let mut movements = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim).filter(|line| !line.is_empty())) {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_else(|| panic!("line {number} is too short: {line}"));
        let (label, store, kind, amount) = (word(), word(), word(), word());
        let store = if store == "hub" { StoreId::HUB } else { StoreId::new(store).unwrap() };
        let seq = seqs.entry(store).or_insert(0);
        *seq += 1;
        let kind: MovementKind = kind.parse().unwrap();
        let mut movement = PostedMovement {
            account: AccountId::new(1).unwrap(),
            stamp: Stamp(number),
            entry: EntryId { store, epoch: Epoch(1), seq: Seq(*seq) },
            index: 0,
            business_day: day(22),
            unit: if amount.contains('.') { Unit::Money(Currency::CNY) } else { Unit::Points },
            kind,
            amount_minor: minor(amount),
            of: None,
            origin_store: None,
        };
        while let Some(option) = words.next() {
            let value = words.next().unwrap();
            match option {
                "of" => movement.of = Some(labels[value]),
                "day" => movement.business_day = day(value.parse().unwrap()),
                "from" => movement.origin_store = Some(StoreId::new(value).unwrap()),
                other => panic!("line {number}: what is {other:?}?"),
            }
        }
        labels.insert(label, movement.reference());
        movements.push(movement);
    }
    movements
}

/// Legs summed over days, one per line, in the order of kinds and parties.
pub(crate) fn leg_rows(legs: &[Leg]) -> Vec<String> {
    let mut sums = BTreeMap::new();
    for leg in legs {
        *sums.entry((leg.kind, leg.debtor, leg.creditor)).or_insert(0) += leg.amount_minor;
    }
    let row =
        |((kind, debtor, creditor), amount)| format!("{kind} {} {} {}", name(debtor), name(creditor), decimal(amount));
    sums.into_iter().filter(|&(_, amount)| amount != 0).map(row).collect()
}

/// Positions of legs, parties at zero left out.
pub(crate) fn nets(legs: &[Leg]) -> BTreeMap<Party, i64> {
    let mut nets = BTreeMap::new();
    for leg in legs {
        for party in [leg.debtor, leg.creditor] {
            *nets.entry(party).or_insert(0) += if leg.is_informational() { 0 } else { leg.effect_on(party) };
        }
    }
    nets.retain(|_, amount| *amount != 0);
    nets
}

/// `A -991.30, hub -3.80`
pub(crate) fn nets_text(nets: &BTreeMap<Party, i64>) -> String {
    let mut rows: Vec<String> =
        nets.iter().map(|(&party, &amount)| format!("{} {}", name(party), decimal(amount))).collect();
    rows.sort();
    rows.join(", ")
}
