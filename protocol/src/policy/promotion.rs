//! Promotion: what is given, to whom, on which goods, when, where, and who pays for it.
//!
//! How much that is for a basket is `crate::pricing`'s. Invariant of valid promotions: ids are unique, shares of funders sum to the whole, and none
//! by itself gives more than the goods cost. A *stack* of compound promotions may still add up to more than 100 %: each takes its part of what the
//! one before left, and the engine stops at zero, so such a stack is no fault.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Counters, Faults, Goods, Tier, When, Where, Who, goods, when, who};
use crate::id::{CouponCode, IdError, PromotionId, StoreId, TextVisitor, TierCode};
use crate::money::Ppm;
use crate::party::Party;
use crate::till::AMOUNT_MINOR_MAX;

/// What a promotion gives. All but the thresholds are given line by line (item promotions); thresholds look at many lines together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Give {
    /// A part of the price.
    PercentOff {
        /// How much in parts per million: 150,000 is 15 % off (八五折).
        percent_ppm: Ppm,
    },
    /// An amount off each piece.
    AmountOff {
        /// Off one piece, or one kilogram.
        amount_minor: i64,
    },
    /// Another price.
    FixedPrice {
        /// The price of one piece, or one kilogram. Counts only where it is lower.
        price_minor: i64,
    },
    /// 满减: an amount off for so much spent.
    Threshold {
        /// What must be spent on the goods, after item discounts.
        spend_minor: i64,
        /// What comes off, each time.
        off_minor: i64,
        /// How many times in one basket at most (每满).
        #[serde(default = "once")]
        repeat_max: u32,
    },
    /// 满折: a percentage off for so much spent.
    ThresholdPercent {
        /// What must be spent on the goods, after item discounts.
        spend_minor: i64,
        /// How much in parts per million, off every one of the lines.
        percent_ppm: Ppm,
    },
}

const fn once() -> u32 {
    1
}

impl Give {
    /// Whether it looks at many lines together.
    #[must_use]
    pub const fn is_threshold(&self) -> bool {
        matches!(self, Self::Threshold { .. } | Self::ThresholdPercent { .. })
    }
}

/// How a promotion stands to others on the same line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Alone, and before all others: the best of several exclusive ones.
    Exclusive,
    /// Alone: the best one counts, unless the compound ones together give as much.
    #[default]
    BestPrice,
    /// Together with other compound ones: fixed prices, then amounts, then percentages, each on what remains, never below zero.
    Compound,
}

/// Who bears something of a promotion: the store that sells, written `store`, or a party by name, `hub`, `supplier:S88` …
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Funder {
    /// Whichever store sells.
    Seller,
    /// Always this one.
    Party(Party),
}

impl Funder {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`IdError`] when it is neither `store` nor a party.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text == "store" { Ok(Self::Seller) } else { Party::new(text).map(Self::Party) }
    }

    /// Who that is for a sale in a store.
    #[must_use]
    pub const fn at(self, store: StoreId) -> Party {
        match self {
            Self::Seller => Party::Store(store),
            Self::Party(party) => party,
        }
    }
}

impl fmt::Display for Funder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seller => f.write_str("store"),
            Self::Party(party) => party.fmt(f),
        }
    }
}

impl Serialize for Funder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Funder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expecting: "funder (store or a party)", make: Self::new })
    }
}

/// Who bears a part of what is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funding {
    /// Who.
    pub party: Funder,
    /// Its share; all shares of a promotion sum to 1,000,000.
    pub share_ppm: Ppm,
}

/// A promotion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// Its code; receipts, statements and the trace name it.
    pub id: PromotionId,
    /// What receipts call it.
    pub name: String,
    /// What it gives.
    pub give: Give,
    /// Among item promotions the larger number goes first. Thresholds stand outside: for them it only orders the compound ones.
    #[serde(default)]
    pub priority: i32,
    /// How it stands to others.
    #[serde(default)]
    pub combine: Combine,
    /// In which days and hours.
    #[serde(default)]
    pub when: When,
    /// In which stores.
    #[serde(default, rename = "where")]
    pub place: Where,
    /// For whom.
    #[serde(default)]
    pub who: Who,
    /// On which goods.
    #[serde(default)]
    pub goods: Goods,
    /// Which counters take part.
    #[serde(default)]
    pub counters: Counters,
    /// The coupon that it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<CouponCode>,
    /// Who bears it; the store that sells when empty.
    #[serde(default)]
    pub funding: Vec<Funding>,
    /// Whether a line that it is given on still earns points.
    #[serde(default = "yes")]
    pub earns_points: bool,
}

const fn yes() -> bool {
    true
}

impl Promotion {
    /// A promotion without conditions: for everybody, on all goods, always and everywhere, borne by the store.
    #[must_use]
    pub fn new(id: PromotionId, name: &str, give: Give) -> Self {
        Self {
            id,
            name: name.to_owned(),
            give,
            priority: 0,
            combine: Combine::default(),
            when: When::default(),
            place: Where::default(),
            who: Who::default(),
            goods: Goods::default(),
            counters: Counters::default(),
            coupon: None,
            funding: Vec::new(),
            earns_points: true,
        }
    }
}

pub(super) fn check(promotions: &[Promotion], tiers: &[Tier], faults: &mut Faults) {
    let tiers: HashSet<TierCode> = tiers.iter().map(|tier| tier.code).collect();
    let mut ids = HashSet::with_capacity(promotions.len());
    for (index, promotion) in promotions.iter().enumerate() {
        let path = |field: &str| format!("promotions[{index}].{field}");
        if !ids.insert(promotion.id) {
            faults.add(path("id"), format!("{} is there twice; give each promotion its own code", promotion.id));
        }
        if promotion.name.trim().is_empty() {
            faults.add(path("name"), "is empty; receipts print it");
        }
        check_give(promotion.give, &path, faults);
        when::check(&promotion.when, &path, faults);
        who::check(&promotion.who, &promotion.place, &tiers, &path, faults);
        goods::check(&promotion.goods, &promotion.counters, &path, faults);
        check_funding(&promotion.funding, &path, faults);
    }
}

pub(super) fn check_give(give: Give, path: &dyn Fn(&str) -> String, faults: &mut Faults) {
    let mut amount = |field: &str, amount_minor: i64| {
        if !(1..=AMOUNT_MINOR_MAX).contains(&amount_minor) {
            let fault = format!("is {amount_minor}; it must be from 1 to {AMOUNT_MINOR_MAX} minor units");
            faults.add(path(&format!("give.{field}")), fault);
        }
    };
    match give {
        Give::PercentOff { .. } => {}
        Give::AmountOff { amount_minor } => amount("amount_minor", amount_minor),
        Give::FixedPrice { price_minor } => amount("price_minor", price_minor),
        Give::Threshold { spend_minor, off_minor, .. } => {
            amount("spend_minor", spend_minor);
            amount("off_minor", off_minor);
        }
        Give::ThresholdPercent { spend_minor, .. } => amount("spend_minor", spend_minor),
    }
    match give {
        Give::PercentOff { percent_ppm } | Give::ThresholdPercent { percent_ppm, .. } => {
            if !(Ppm(1)..=Ppm::ONE).contains(&percent_ppm) {
                let fault = format!("is {}; give 1 to 1000000 (100 %), more would give money away", percent_ppm.0);
                faults.add(path("give.percent_ppm"), fault);
            }
        }
        Give::Threshold { spend_minor, off_minor, repeat_max } => {
            if off_minor > spend_minor {
                let fault = format!("is {off_minor}, more than spend_minor, {spend_minor}: it would give money away");
                faults.add(path("give.off_minor"), fault);
            }
            if repeat_max == 0 {
                faults.add(path("give.repeat_max"), "is 0, so it would never be given; give 1 or more");
            }
        }
        Give::AmountOff { .. } | Give::FixedPrice { .. } => {}
    }
}

fn check_funding(funding: &[Funding], path: &dyn Fn(&str) -> String, faults: &mut Faults) {
    if funding.is_empty() {
        return;
    }
    for (at, part) in funding.iter().enumerate() {
        if !(Ppm(1)..=Ppm::ONE).contains(&part.share_ppm) {
            let fault = format!("is {}; give 1 to 1000000 (the whole)", part.share_ppm.0);
            faults.add(path(&format!("funding[{at}].share_ppm")), fault);
        }
        if matches!(part.party, Funder::Party(Party::Risk | Party::Unattributed)) {
            let fault = format!("{} is an account, nobody who could bear a promotion", part.party);
            faults.add(path(&format!("funding[{at}].party")), fault);
        }
        if funding[..at].iter().any(|earlier| earlier.party == part.party) {
            faults.add(path(&format!("funding[{at}].party")), format!("{} is there twice; add its shares", part.party));
        }
    }
    let total: i128 = funding.iter().map(|part| i128::from(part.share_ppm.0)).sum();
    if total != i128::from(Ppm::ONE.0) {
        faults.add(path("funding"), format!("shares sum to {total}; they must sum to 1000000, the whole"));
    }
}
