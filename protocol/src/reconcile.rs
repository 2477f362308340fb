//! Reconcile: compares what stores say in different ways and names what does not agree. It reports, it never fails and never corrects.
//!
//! Sources are compared at a common point only: a report may be ahead of the journal and a journal ahead of the report, and neither is a fault.
//! Invariant: an honest store in any order, loss and repetition of its messages gives no [`Class::ReportDiffers`].

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::allotment::{Purse, StoreCounters};
use crate::id::{EntryId, Epoch, IdError, Seq, StoreId, TextVisitor};
use crate::journal::Head;
use crate::seal::{ControlTotals, Seal};

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// To be looked at some day.
    Info,
    /// To be looked at soon.
    Warning,
    /// Money or trust is at stake: to be looked at now.
    Alarm,
}

impl Severity {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Alarm => "alarm",
        }
    }

    /// All, the gravest first.
    pub const ALL: [Self; 3] = [Self::Alarm, Self::Warning, Self::Info];
}

/// Makes an enum with `as_str` and `FromStr` a text on the wire and in errors.
macro_rules! as_text {
    ($name:ident, $expecting:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let found = Self::ALL.iter().find(|known| known.as_str() == text);
                found.copied().ok_or(IdError::Form { expected: $expecting })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor { expecting: $expecting, make: Self::from_str })
            }
        }
    };
}

as_text!(Severity, "a severity: alarm, warning or info");
as_text!(Class, "a class of exceptions");

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal $severity:ident $proposal:literal),+ $(,)?) => {
        /// What kind of thing was found.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Class { $($(#[$doc])* $variant),+ }

        impl Class {
            /// All classes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The text form, stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// How much it matters.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn proposal(self) -> &'static str {
                match self { $(Self::$variant => $proposal),+ }
            }
        }
    };
}

classes! {
    /// A report line that the hub could not take.
    ReportRefused = "report_refused" Alarm "Look at the store's journal for the account; when the database was restored or copied, enrol the store again.",
    /// A report whose counters fell: the store's memory went back.
    CounterBackwards = "counter_backwards" Alarm "The store's database is older than what it told before; stop it and enrol it again.",
    /// A card's status could not be changed as the store reported it.
    CardChangeRefused = "card_change_refused" Warning "Look at the card and set its status at head office.",
    /// A card in nobody's hands, though its account holds value that no other card opens.
    BlankWithValue = "blank_with_value" Warning "Look whose the value is: pay it out, or correct it at head office. The card stays out of sale.",
    /// A store that keeps cards whose sale was undone out of sale, as it may have lent on them.
    UnsoldWaits = "unsold_waits" Warning "Let the store come online and send its journal, or end its epoch when it does not come back (`store fence`); look at the entry named, when there is one, and resolve its exception. `card show` says what each card waits for.",
    /// A freeze or loss that came with an older stamp than the card's status.
    StopOvertaken = "stop_overtaken" Alarm "Ask the store whether the card should be stopped; if so, have it frozen again.",
    /// A freeze or loss that head office had forgotten after a restore, or heard of only now: a store said it again, and it holds.
    StopReturned = "stop_returned" Warning "The card is stopped in every store again. Ask the store named, and the card's owner, whether the stop was lifted since; if so, `card unfreeze`.",
    /// A store's clock runs ahead of the hub's.
    ClockSkew = "clock_skew" Warning "Set the store's clock; its entries may be attributed out of order until then.",
    /// An entry that the hub keeps and cannot use.
    Quarantined = "quarantined" Alarm "Update the hub when the kind or version is newer; otherwise ask the maker of the store's software.",
    /// Two journals of one store.
    Fork = "fork" Alarm "Two copies of the store's database have been running; stop both, keep both, and enrol one again.",
    /// Two copies of one store's database.
    Copied = "copied" Alarm "Stop both copies and keep both; enrol one of them again with a new token. What the epoch held waits in suspense (`suspense show`).",
    /// A store that was told more than this hub knows of: the hub's own database is older than it was.
    HubForgot = "hub_forgot" Alarm "Head office's database was put back from a backup, and nobody told it. Stop the daemon and run `huitong-hub recover --note TEXT`: nothing is granted or paid back until then, and the store named is not at fault.",
    /// Grants that head office had forgotten after a restore, and that a store was believed to have had.
    GrantBelieved = "grant_believed" Alarm "Compare the sums with the store's receipts and with what members say: nobody but the store knows of these grants. One that no restore explains is a machine at fault: end its epoch (`store fence`). An account below nothing was paid out twice; the group bears it.",
    /// A store that has less than it gave to the hub before.
    StoreBehind = "store_behind" Alarm "The store's database was restored from a backup; enrol it again.",
    /// A seal that the hub cannot confirm.
    SealDiffers = "seal_differs" Alarm "Compare the differences with the store's Z report before the day is settled as final.",
    /// A day that another incarnation of the store had begun.
    SealReplaced = "seal_replaced" Alarm "Look at what the incarnation before had traded that day; its part is covered by no seal that counts.",
    /// One operation with two entries.
    DuplicateOperation = "duplicate_operation" Alarm "Look at both entries; void one if both took effect.",
    /// A hold that ended twice, with more than it set aside or from another account.
    HoldDiffers = "hold_differs" Alarm "Look at the entries named and at the receipts: value that was promised to one customer paid for another. An honest store cannot do it; have its program and its machine looked at.",
    /// Reported counters that the journal does not confirm.
    ReportDiffers = "report_differs" Alarm "Compare the store's report with its journal; value was granted or withheld on the strength of the report.",
    /// A sale that costs something else when head office prices it again.
    PriceDiffers = "price_differs" Warning "Look at the lines named: who paid too much or too little, and which funder bears it. One sale: ask the store what its till did. Many of one store: compare its program's version with the others'.",
    /// Sales under a policy that was never published.
    PolicyUnknown = "policy_unknown" Alarm "Ask where the store has the policy from; compare the key that it trusts with the hub's (`policy key show`). Its prices cannot be checked. After a restore of the hub's database, publish the lost policy anew.",
    /// A store that refused a published policy.
    PolicyRefused = "policy_refused" Alarm "The store trades on under the policy before. Compare the key that it trusts with the hub's (`policy key show`); publish a corrected policy when the document is at fault.",
    /// Entries of a journal that do not come, though later ones have.
    Gap = "gap" Alarm "See whether the store's line and its sync work; it sends what is missing by itself. What follows the gap is not counted until then.",
    /// An entry that names a card or an account which the hub never made.
    UnknownCard = "unknown_card" Alarm "Look where the card comes from: import it when its import was forgotten; otherwise ask the store who took it.",
    /// Something sold that is not in the item master.
    UnknownItem = "unknown_item" Info "Import the item, or have the till's code corrected; until then it sells at the till's price and gets no promotion of its own.",
    /// A card that was sold twice.
    SoldTwice = "sold_twice" Alarm "Look at both sales; void one, and give its buyer another card.",
    /// A load, or the balance after it, above what the card's product allows.
    LimitBroken = "limit_broken" Warning "Look at the load with the store; refund what is above the limit, or publish a policy with a higher one.",
    /// Somebody enrolled at a store whose phone or card is another member's.
    MemberConflict = "member_conflict" Warning "Look at it with `member review show`: two people's approval merges the enrolment into the member who has the phone; a card stays whose it is until head office changes it.",
    /// A form that was sealed at a store and cannot be opened.
    MemberUnreadable = "member_unreadable" Alarm "See whether the store was enrolled by another hub; have the person enrolled again, then refuse the request.",
    /// Something that was left to head office and that could not be done: an enrolment, points for a card, or a line of a repayment.
    LeftUndone = "left_undone" Alarm "Put right what the evidence names. Points are then given by themselves; an enrolment waits for two people's approval (`member review list`).",
    /// One payment reference that counts once, used by several receipts.
    ReferenceReused = "reference_reused" Alarm "Look at the receipts named: a voucher was copied, taken twice while a store was on its own, or typed wrong. Claim it from who took it second.",
    /// A receipt of an ended epoch said something else of an entry than the journal that came later.
    ReceiptDiffers = "receipt_differs" Alarm "Compare the receipt with the entry (`suspense show`): the journal stands. What was paid back on the strength of the receipt is the group's loss; ask those who brought it.",
    /// Goods taken back without a receipt.
    UnreferencedReturn = "unreferenced_return" Info "Review the return with the store.",
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceLine {
    /// What was looked at: a counter, a field. Empty when `found` says it in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// What should have been there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was there.
    pub found: String,
}

/// What was found, and in which entries.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// In the order in which it was found.
    pub lines: Vec<EvidenceLine>,
    /// What was so at the time and may be otherwise at the next look, though the fact is the same: an hour, how far a clock is ahead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circumstances: Vec<String>,
    /// The entries that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntryId>,
}

impl Evidence {
    /// What was found where something else was expected.
    #[must_use]
    pub fn differs(mut self, what: &str, expected: impl ToString, found: impl ToString) -> Self {
        let (what, expected, found) = (what.to_owned(), Some(expected.to_string()), found.to_string());
        self.lines.push(EvidenceLine { what, expected, found });
        self
    }

    /// What was found, in words.
    #[must_use]
    pub fn and(mut self, found: impl Into<String>) -> Self {
        self.lines.push(EvidenceLine { what: String::new(), expected: None, found: found.into() });
        self
    }

    /// What was so when it was found, and is no part of the fact.
    #[must_use]
    pub fn when(mut self, circumstance: impl Into<String>) -> Self {
        self.circumstances.push(circumstance.into());
        self
    }

    /// Whether both state the same fact. The entries that show it and the circumstances may differ: a look that comes later finds others.
    #[must_use]
    pub fn is_same_fact(&self, other: &Self) -> bool {
        self.lines == other.lines
    }

    /// An entry that shows it.
    #[must_use]
    pub fn entry(mut self, entry: EntryId) -> Self {
        self.entries.push(entry);
        self
    }
}

impl From<String> for Evidence {
    fn from(found: String) -> Self {
        Self::default().and(found)
    }
}

impl std::fmt::Display for EvidenceLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.what.is_empty() {
            write!(f, "{}: ", self.what)?;
        }
        match &self.expected {
            Some(expected) => write!(f, "expected {expected}, found {}", self.found),
            None => f.write_str(&self.found),
        }
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.lines.iter().map(|line| line as &dyn std::fmt::Display);
        let all = lines.chain(self.circumstances.iter().map(|circumstance| circumstance as &dyn std::fmt::Display));
        for (index, said) in all.enumerate() {
            write!(f, "{}{said}", if index > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

/// Something that somebody should look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What kind of thing.
    pub class: Class,
    /// The store that it concerns.
    pub store: Option<StoreId>,
    /// What it is about; with the class, its identity.
    pub subject: String,
    /// What was found.
    pub evidence: Evidence,
}

/// One purse of one store as both sources have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterPair {
    /// The store.
    pub store: StoreId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// What the counters belong to.
    pub purse: Purse,
    /// What the hub saw in reports.
    pub reported: StoreCounters,
    /// What the entries that the hub holds add up to.
    pub journalled: StoreCounters,
}

/// How far each source of a store reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// The furthest journal position of a report.
    pub reported: Seq,
    /// Whether nothing was reported since that belongs to a later position: a report in parts names its end only with the last part.
    pub whole: bool,
    /// The end of the journal that the hub holds.
    pub journalled: Seq,
}

/// Compares a purse's report with its journal.
///
/// Counters only rise along the journal. When no report reaches beyond the journal's end, none may be above it; when a report was made exactly there, all
/// must be equal. In every other case nothing can be said yet.
#[must_use]
pub fn counters(pair: &CounterPair, reach: Reach) -> Option<Finding> {
    if !reach.whole || reach.reported > reach.journalled {
        return None;
    }
    let above = !pair.journalled.covers(&pair.reported);
    let below = reach.reported == reach.journalled && pair.reported != pair.journalled;
    (above || below).then(|| {
        let (r, j) = (pair.reported, pair.journalled);
        let counters = [
            ("adopted_minor", j.adopted_minor, r.adopted_minor),
            ("loaded_minor", j.loaded_minor, r.loaded_minor),
            ("spent_minor", j.spent_minor, r.spent_minor),
            ("released_minor", j.released_minor, r.released_minor),
        ];
        let last = EntryId { store: pair.store, epoch: pair.epoch, seq: reach.journalled };
        let evidence = counters.into_iter().filter(|(_, journalled, reported)| journalled != reported).fold(
            Evidence::default().entry(last),
            |evidence, (what, journalled, reported)| {
                evidence.differs(what, format!("{journalled} by the journal"), format!("{reported} in the report"))
            },
        );
        Finding {
            class: Class::ReportDiffers,
            store: Some(pair.store),
            subject: format!("{}-{} account {} {}", pair.store, pair.epoch, pair.purse.account, pair.purse.unit),
            evidence,
        }
    })
}

/// What is wrong with a seal: one line of words per difference, empty when the day is accepted.
///
/// `before` is the chain's end before the seal's own entry, `sealed` the position of the seal before it, `counted` what the holder of the journal counted
/// from the entry after `sealed` to `before`; nothing when the amounts there do not add up to a number that fits.
#[must_use]
pub fn seal(seal: &Seal, before: Head, sealed: Seq, counted: Option<&ControlTotals>) -> Vec<String> {
    let mut differences = Vec::new();
    if seal.first_seq != sealed.next() {
        differences.push(format!("first entry: sealed {}, the seal before is entry {sealed}", seal.first_seq));
    }
    if seal.last.seq != before.seq {
        differences.push(format!("last entry: sealed {}, the entry before the seal is {}", seal.last.seq, before.seq));
    } else if seal.last.hash != before.hash {
        differences.push(format!("hash of entry {}: sealed {}, counted {}", before.seq, seal.last.hash, before.hash));
    }
    match counted {
        Some(counted) => differences.extend(seal.totals.differences(counted)),
        None => {
            differences.push("totals: the amounts of the entries add up to more than any total can hold".to_owned())
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Hash;
    use crate::unit::Unit;

    fn pair(reported: [i64; 4], journalled: [i64; 4]) -> CounterPair {
        let of = |c: [i64; 4]| StoreCounters {
            adopted_minor: c[0],
            loaded_minor: c[1],
            spent_minor: c[2],
            released_minor: c[3],
        };
        CounterPair {
            store: "S1".parse().unwrap(),
            epoch: Epoch(1),
            purse: Purse { account: 7.try_into().unwrap(), unit: Unit::Points },
            reported: of(reported),
            journalled: of(journalled),
        }
    }

    fn check(reported: [i64; 4], journalled: [i64; 4], reach: (u64, bool, u64), found: bool) {
        let reach = Reach { reported: Seq(reach.0), whole: reach.1, journalled: Seq(reach.2) };
        assert_eq!(
            counters(&pair(reported, journalled), reach).is_some(),
            found,
            "{reported:?} {journalled:?} {reach:?}"
        );
    }

    #[test]
    fn a_report_is_compared_only_where_both_are_known() {
        let (less, more) = ([0, 100, 40, 0], [0, 100, 70, 0]);
        check(more, less, (9, true, 8), false); // The report is ahead: the journal follows.
        check(less, more, (7, true, 8), false); // The journal is ahead: the report follows.
        check(less, more, (8, false, 8), false); // The report comes in parts: the rest follows.
        check(more, more, (8, true, 8), false);
        check(more, less, (8, false, 8), false);
        check(more, less, (8, true, 8), true);
        check(more, less, (7, true, 8), true);
        check(less, more, (8, true, 8), true);
    }

    #[test]
    fn a_seal_must_join_the_one_before_and_end_where_it_stands() {
        let head = Head { seq: Seq(9), hash: Hash::of(b"nine") };
        let good = Seal {
            business_day: "2026-01-02".parse().unwrap(),
            first_seq: Seq(5),
            last: head,
            totals: ControlTotals::default(),
        };
        assert_eq!(seal(&good, head, Seq(4), Some(&ControlTotals::default())), Vec::<String>::new());
        assert_eq!(seal(&good, head, Seq(3), Some(&ControlTotals::default())).len(), 1);
        assert_eq!(seal(&good, Head { seq: Seq(10), ..head }, Seq(4), Some(&ControlTotals::default())).len(), 1);
        assert_eq!(seal(&good, Head { hash: Hash::ZERO, ..head }, Seq(4), Some(&ControlTotals::default())).len(), 1);
        assert_eq!(
            seal(&good, head, Seq(4), Some(&ControlTotals { entries: 1, ..ControlTotals::default() })),
            ["entries: sealed 0, counted 1"]
        );
        assert_eq!(seal(&good, head, Seq(4), None).len(), 1, "what cannot be counted is not accepted");
    }
}
