//! Overdraft rules: how far members' cards may pay beyond their value where head office cannot be asked. Without the chapter, not at all.
//!
//! The group bears the risk, within a budget that finance sets at the hub. Each store gets a line of it and cannot spend more, so the budget holds whatever
//! the limits here say; they spread the risk over cards, receipts and days. Who may draw is `crate::ledger`'s to decide.

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::till::AMOUNT_MINOR_MAX;

/// The oldest knowledge of cards that may be allowed: a year.
const CARDS_AGE_MINUTES_MAX: u32 = 366 * 24 * 60;

/// How far cards may overdraw. Every limit has to be named. Only cards that belong to a member may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverdraftRules {
    /// The line of each store: what it asks for, as far as the group's budget reaches, and does not hold more than.
    pub store_line_minor: i64,
    /// The most that one receipt may overdraw.
    pub receipt_minor_max: i64,
    /// The most that an account may owe for what it overdrew at one store, until head office has collected it.
    pub account_minor_max: i64,
    /// The most that a store may let be overdrawn on one business day.
    pub store_day_minor_max: i64,
    /// How old what the store knows of cards may be, in minutes: a card may have been reported lost since.
    pub cards_age_minutes_max: u32,
}

pub(super) fn check(rules: &OverdraftRules, faults: &mut Faults) {
    let amounts = [
        ("store_line_minor", rules.store_line_minor),
        ("receipt_minor_max", rules.receipt_minor_max),
        ("account_minor_max", rules.account_minor_max),
        ("store_day_minor_max", rules.store_day_minor_max),
    ];
    for (field, amount_minor) in amounts {
        if !(1..=AMOUNT_MINOR_MAX).contains(&amount_minor) {
            let fault =
                format!("is {amount_minor}; from 1 to {AMOUNT_MINOR_MAX} is allowed, and no overdraft is no chapter");
            faults.add(format!("overdraft.{field}"), fault);
        }
        if field != "receipt_minor_max" && (1..rules.receipt_minor_max).contains(&amount_minor) {
            let fault =
                format!("is {amount_minor}, below receipt_minor_max, which no receipt could reach; lower that one");
            faults.add(format!("overdraft.{field}"), fault);
        }
    }
    if !(1..=CARDS_AGE_MINUTES_MAX).contains(&rules.cards_age_minutes_max) {
        let fault = format!("is {}; from 1 to {CARDS_AGE_MINUTES_MAX} is allowed", rules.cards_age_minutes_max);
        faults.add("overdraft.cards_age_minutes_max", fault);
    }
}
