//! Leg: one party owes another, because of one account (or of the goods sold), for one reason, on one business day.
//!
//! Legs of a fold are cumulative: one per key, being the sum over the account's whole history, with an amount above zero. What goes the
//! other way has a kind of its own and never lowers a leg, so gross figures stay visible. Only a *difference* between two runs may be
//! negative: it says that an earlier line stood too high (see [`crate::settlement::run`]).
//!
//! A leg whose debtor is its creditor is *informational*: a store accepted what it had loaded itself, holds goods for another, or bears its own discounts. It
//! completes matrices and counts; [`crate::settlement::netting`] and the figures of a statement leave it out.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, IdError};
use crate::money::Currency;
use crate::party::Party;
use crate::time::BusinessDay;

macro_rules! leg_kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// Why a party owes another. The text form is the same in code, SQL and documents.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum LegKind { $($(#[$doc])* #[serde(rename = $text)] $variant),+ }

        impl LegKind {
            /// All kinds, in the order in which statements list them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl FromStr for LegKind {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(IdError::Form { expected: "a kind of leg" }) }
            }
        }
    };
}

leg_kinds! {
    /// Principal paid in: pool, the loading store owes the hub; home, it owes the home store.
    Load = "load",
    /// Principal given back by undoing a load: pool, the hub owes the store that gave it back; fifo, the lot's loader; home, the home store.
    LoadVoid = "load_void",
    /// Bonus put onto the account (home only): the hub owes the home store, which owes the balance for life.
    Bonus = "bonus",
    /// Bonus taken off by void or forfeit: the home store owes the hub; under fifo only where principal had to serve, the lot's loader owes the hub.
    BonusBack = "bonus_back",
    /// The loading store's share of a bonus: it owes the hub, which stands for the whole bonus when it is spent.
    BonusShare = "bonus_share",
    /// That share of a bonus voided or forfeited: the hub owes the loading store.
    BonusShareBack = "bonus_share_back",
    /// Goods paid with the account: pool, the hub owes the accepting store; fifo, the lot's loader; home, the home store.
    Spend = "spend",
    /// A spend undone on its day: the reverse, owed by the store that had accepted.
    SpendVoid = "spend_void",
    /// Goods given back, value back onto the account: the store that had sold them (restore) or took them (new lot) owes the hub, the lots' loaders or the home store.
    Return = "return",
    /// The same when another store took the goods as agent of the seller: owed by the seller all the same.
    AgentReturn = "agent_return",
    /// Informational, at the agent: worth of goods it holds for the store that sold them.
    AgentGoods = "agent_goods",
    /// Principal paid out: pool, the hub owes the store that paid; fifo, the lot's loader; home, the home store.
    CashOut = "cash_out",
    /// Value given by head office's correction (home only): the hub owes the home store.
    AdjustIn = "adjust_in",
    /// Value taken by head office's correction: fifo, the lot's loader owes the hub; home, the home store.
    AdjustOut = "adjust_out",
    /// What an ended epoch of a store held, paid back to its accounts: pool, the group's risk account owes the hub; home, it owes the home store; under fifo
    /// it stands for the lot and owes whoever takes it.
    SuspenseRepaid = "suspense_repaid",
    /// Goods paid by overdraft: the group's risk account owes the accepting store, in every scheme.
    Overdraft = "overdraft",
    /// Such goods given back, or the sale undone: the store that had sold them owes the risk account.
    OverdraftBack = "overdraft_back",
    /// What was overdrawn, taken off the account later: pool, the hub owes the risk account; fifo, the lot's loader; home, the home store.
    OverdraftCollected = "overdraft_collected",
    /// What was collected too much, put back onto the account: pool, the risk account owes the hub; home, it owes the home store; under fifo it stands for the lot.
    OverdraftReturned = "overdraft_returned",
    /// Commission on principal sold: the hub owes the loading store.
    Commission = "commission",
    /// Commission on principal that was paid out or voided: the loading store owes the hub.
    CommissionClawback = "commission_clawback",
    /// Acceptance fee on a spend: the accepting store owes the hub.
    Fee = "fee",
    /// Acceptance fee of a voided or returned spend: the hub owes the store that had paid it.
    FeeReversal = "fee_reversal",
    /// Cost of points earned: the earning store owes the hub's pool.
    PointsEarn = "points_earn",
    /// Cost of points whose sale was undone: the hub's pool owes the earning store.
    PointsEarnReversal = "points_earn_reversal",
    /// Cost of points burnt: the hub's pool owes the burning store.
    PointsBurn = "points_burn",
    /// Cost of burnt points given back: the store that had burnt them owes the hub's pool.
    PointsBurnReversal = "points_burn_reversal",
    /// A discount that somebody bears: the funder owes the store that sold. Informational for what the store bears itself.
    DiscountFunding = "discount_funding",
    /// What of it goes back by a void or return: the store that had sold owes the funder.
    DiscountFundingBack = "discount_funding_back",
}

impl LegKind {
    /// The kind whose section a statement shows this one in, as a reversal when it differs.
    #[must_use]
    pub const fn section(self) -> Self {
        match self {
            Self::LoadVoid => Self::Load,
            Self::BonusBack => Self::Bonus,
            Self::BonusShareBack => Self::BonusShare,
            Self::SpendVoid => Self::Spend,
            Self::OverdraftBack => Self::Overdraft,
            Self::OverdraftReturned => Self::OverdraftCollected,
            Self::CommissionClawback => Self::Commission,
            Self::FeeReversal => Self::Fee,
            Self::PointsEarnReversal => Self::PointsEarn,
            Self::PointsBurnReversal => Self::PointsBurn,
            Self::DiscountFundingBack => Self::DiscountFunding,
            other => other,
        }
    }

    /// Whether its legs belong to an account. The others are caused by goods, and [`Leg::account`] is empty.
    #[must_use]
    pub const fn is_of_account(self) -> bool {
        !matches!(self, Self::DiscountFunding | Self::DiscountFundingBack)
    }

    /// Whether it reverses another kind.
    #[must_use]
    pub fn is_reversal(self) -> bool {
        self.section() != self
    }
}

impl fmt::Display for LegKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What makes a leg one: all of it but the amount. The order of fields is the order of legs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LegKey {
    /// The account that the value belongs to; none for what goods cause (see [`LegKind::is_of_account`]), which comes first.
    pub account: Option<AccountId>,
    /// The business day of the movement that caused it.
    pub business_day: BusinessDay,
    /// Why.
    pub kind: LegKind,
    /// Who owes.
    pub debtor: Party,
    /// Who is owed.
    pub creditor: Party,
    /// In which currency.
    pub currency: Currency,
}

/// A sum that one party owes another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// The account that the value belongs to; none for what goods cause (see [`LegKind::is_of_account`]), and for sums over accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The business day of the movement that caused it: of the spend, also when its load appears later.
    pub business_day: BusinessDay,
    /// Why.
    pub kind: LegKind,
    /// Who owes.
    pub debtor: Party,
    /// Who is owed.
    pub creditor: Party,
    /// In which currency.
    pub currency: Currency,
    /// How much, in minor units: above zero in a fold, either sign in a difference of runs.
    pub amount_minor: i64,
}

impl Leg {
    /// All of it but the amount.
    #[must_use]
    pub fn key(&self) -> LegKey {
        let Self { account, business_day, kind, debtor, creditor, currency, amount_minor: _ } = *self;
        LegKey { account, business_day, kind, debtor, creditor, currency }
    }

    /// A leg of a key.
    #[must_use]
    pub fn of(key: LegKey, amount_minor: i64) -> Self {
        let LegKey { account, business_day, kind, debtor, creditor, currency } = key;
        Self { account, business_day, kind, debtor, creditor, currency, amount_minor }
    }

    /// Whether it moves no money because debtor and creditor are the same (see the module's head).
    #[must_use]
    pub fn is_informational(&self) -> bool {
        self.debtor == self.creditor
    }

    /// What it means for a party: above zero when the party is to receive, below when it is to pay, zero when informational or foreign.
    #[must_use]
    pub fn effect_on(&self, party: Party) -> i64 {
        match (self.debtor == party, self.creditor == party) {
            (true, false) => -self.amount_minor,
            (false, true) => self.amount_minor,
            _ => 0,
        }
    }
}

/// How far back a new leg looks for its place. A business day of one account has a handful of legs; whatever is older waits for the sort.
const LOOK_BACK_LEGS: usize = 24;

/// The legs of one account while it is folded: sums per key, kept sorted. Reused from account to account, so that folding allocates nothing.
#[derive(Default, Debug)]
pub(super) struct LegBook {
    /// Sorted by key, each key once.
    sorted: Vec<Leg>,
    /// Those whose place lay too far back.
    stragglers: Vec<Leg>,
}

/// The order of keys within one account and currency.
fn order(a: &Leg, b: &Leg) -> Ordering {
    (a.business_day.cmp(&b.business_day))
        .then_with(|| a.kind.cmp(&b.kind))
        .then_with(|| a.debtor.cmp(&b.debtor))
        .then_with(|| a.creditor.cmp(&b.creditor))
}

impl LegBook {
    pub(super) fn clear(&mut self) {
        self.sorted.clear();
        self.stragglers.clear();
    }

    /// Adds to the leg of the same key. The fold bounds an account's volume, so sums fit.
    pub(super) fn add(&mut self, leg: Leg) {
        let length = self.sorted.len();
        for place in (length.saturating_sub(LOOK_BACK_LEGS)..length).rev() {
            match order(&self.sorted[place], &leg) {
                Ordering::Less => return self.sorted.insert(place + 1, leg),
                Ordering::Equal => {
                    self.sorted[place].amount_minor += leg.amount_minor;
                    return;
                }
                Ordering::Greater => {}
            }
        }
        if length <= LOOK_BACK_LEGS { self.sorted.insert(0, leg) } else { self.stragglers.push(leg) }
    }

    /// Hands out all legs in the order of their keys.
    pub(super) fn drain(&mut self, sink: &mut impl FnMut(Leg)) {
        if !self.stragglers.is_empty() {
            self.sorted.append(&mut self.stragglers);
            self.sorted.sort_unstable_by(order);
            self.sorted.dedup_by(|next, kept| {
                let same = order(next, kept).is_eq();
                if same {
                    kept.amount_minor += next.amount_minor;
                }
                same
            });
        }
        self.sorted.drain(..).for_each(sink);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_reads_back_and_reverses_a_kind_that_is_none() {
        for &kind in LegKind::ALL {
            assert_eq!(kind.as_str().parse::<LegKind>().unwrap(), kind);
            assert!(!kind.section().is_reversal(), "{kind}");
        }
        assert!("tip".parse::<LegKind>().is_err());
    }

    proptest! {
        #[test]
        fn a_book_sums_per_key_whatever_the_order(adds in prop::collection::vec((1_i8..29, 0_usize..4, 1_i64..100), 0..200)) {
            let mut book = LegBook::default();
            let mut expected = std::collections::BTreeMap::new();
            for (day, kind, amount_minor) in adds {
                let leg = Leg {
                    account: Some(AccountId::new(1).unwrap()),
                    business_day: BusinessDay::of(jiff::civil::date(2026, 1, day)),
                    kind: LegKind::ALL[kind],
                    debtor: Party::Hub,
                    creditor: Party::Risk,
                    currency: Currency::CNY,
                    amount_minor,
                };
                *expected.entry(leg.key()).or_insert(0) += amount_minor;
                book.add(leg);
            }
            let mut legs = Vec::new();
            book.drain(&mut |leg| legs.push(leg));
            let expected: Vec<Leg> = expected.into_iter().map(|(key, amount)| Leg::of(key, amount)).collect();
            prop_assert_eq!(legs, expected);
        }
    }
}
