//! Charged: what funders should be charged, added up from the columns of the baskets alone, and what the hub's statements charge them.
//!
//! Nothing of the system is used for the one, nothing of the files for the other.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use huitong_protocol::party::Party;
use huitong_protocol::statement::Statement;
use huitong_protocol::time::BusinessDay;

use super::basket::Basket;
use super::drive::store_code;
use crate::town::Town;

/// Who bears coupons: the manufacturers, as one partner.
pub const MANUFACTURER: &str = "partner:manufacturer";

/// What funders bear, by funder, day and store.
pub type Charges = BTreeMap<(Party, BusinessDay, Party), i64>;

/// The partner that stands for the manufacturers.
///
/// # Panics
/// Never: it is a party.
#[must_use]
pub fn manufacturer() -> Party {
    MANUFACTURER.parse().expect("it is a party")
}

/// What the columns of baskets say.
#[must_use]
pub fn expected<'a>(baskets: impl IntoIterator<Item = &'a Basket>) -> Charges {
    let mut charges = Charges::new();
    for basket in baskets {
        let columns = &basket.columns;
        let store = Party::Store(store_code(basket.store));
        let by_retailer = columns.retail_disc_cents + columns.coupon_match_cents;
        for (funder, cents) in [(Party::Hub, by_retailer), (manufacturer(), columns.coupon_disc_cents)] {
            if cents != 0 {
                *charges.entry((funder, basket.day, store)).or_default() += cents;
            }
        }
    }
    charges
}

/// What statements say, every funder's own; and that each store reads the same on its own.
///
/// # Errors
/// When two statements contradict each other.
pub fn stated(statements: &[Statement]) -> anyhow::Result<Charges> {
    let mut charges = Charges::new();
    for page in statements {
        for row in page.funding.iter().filter(|row| row.funder == page.party) {
            *charges.entry((row.funder, row.business_day, row.store)).or_default() += row.net_minor;
        }
        let owed: i64 = page
            .funding
            .iter()
            .filter(|row| row.funder != row.store)
            .map(|row| if row.funder == page.party { -row.net_minor } else { row.net_minor })
            .sum();
        ensure!(owed == page.net_minor, "{}: its discounts come to {owed}, its net is {}", page.party, page.net_minor);
    }
    charges.retain(|_, cents| *cents != 0);
    Ok(charges)
}

/// All statements of runs, as head office's own command shows them.
///
/// # Errors
/// When one cannot be had.
pub async fn statements(town: &Town, runs: &[u64]) -> anyhow::Result<Vec<Statement>> {
    let mut all = Vec::new();
    for run in runs {
        let pages = town.head_office(&["statement", "show", &run.to_string()]).await?;
        let pages: Vec<Statement> =
            serde_json::from_value(pages).with_context(|| format!("the statements of run {run} cannot be read"))?;
        huitong_protocol::statement::check_run(&pages)?;
        all.extend(pages);
    }
    Ok(all)
}

/// Where two differ, a line each; first per funder and day, as finance looks at them, then per store.
#[must_use]
pub fn differences(expected: &Charges, stated: &Charges) -> Vec<String> {
    let by_day = |charges: &Charges| {
        let mut days: BTreeMap<(Party, BusinessDay), i64> = BTreeMap::new();
        for (&(funder, day, _), cents) in charges {
            *days.entry((funder, day)).or_default() += cents;
        }
        days
    };
    let (days, stated_days) = (by_day(expected), by_day(stated));
    let mut found = Vec::new();
    for key in days.keys().chain(stated_days.keys()).copied().collect::<BTreeSet<_>>() {
        let (should, is) = (days.get(&key).copied().unwrap_or(0), stated_days.get(&key).copied().unwrap_or(0));
        if should != is {
            found.push(format!("{} on {}: the columns come to {should}, the statements to {is}", key.0, key.1));
        }
    }
    for key in expected.keys().chain(stated.keys()).copied().collect::<BTreeSet<_>>() {
        let (should, is) = (expected.get(&key).copied().unwrap_or(0), stated.get(&key).copied().unwrap_or(0));
        if should != is {
            let (funder, day, store) = key;
            found.push(format!("{funder} on {day} at {store}: the columns come to {should}, the statements to {is}"));
        }
    }
    found
}
