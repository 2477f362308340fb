//! Seal: what a store says of a business day when it closes it, and what the hub must find when it counts for itself.
//!
//! A seal covers every entry since the one before, so that the seals of a store cover its journal without gap; its totals are over all of them.
//! Invariant: control totals are a sum over entries, the same for store, hub and any auditor; the order of entries does not matter to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::{Body, Header};
use crate::id::{Seq, TenderCode};
use crate::journal::Head;
use crate::money::MoneyError;
use crate::movement::MovementKind;
use crate::time::BusinessDay;
use crate::unit::Unit;

/// Counts and sums over a run of entries. Rows are sorted; rows of nothing are left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlTotals {
    /// How many entries.
    pub entries: u64,
    /// How many per kind.
    pub kinds: Vec<KindTotal>,
    /// How much per tender.
    pub tenders: Vec<TenderTotal>,
    /// How much per unit and kind of movement.
    pub movements: Vec<MovementTotal>,
}

/// Entries of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KindTotal {
    /// The kind, as in the header.
    pub kind: String,
    /// How many.
    pub count: u64,
}

/// Money of one tender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenderTotal {
    /// The tender.
    pub tender: TenderCode,
    /// How many lines.
    pub count: u64,
    /// Taken in.
    pub in_minor: i64,
    /// Given back.
    pub out_minor: i64,
}

/// Movements of one unit and kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovementTotal {
    /// The unit.
    pub unit: Unit,
    /// The kind.
    pub kind: MovementKind,
    /// How many.
    pub count: u64,
    /// How much.
    pub amount_minor: i64,
}

/// A day, sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The day.
    pub business_day: BusinessDay,
    /// The first entry that it covers: the one after the seal before.
    pub first_seq: Seq,
    /// The last entry that it covers, the one before the seal itself, with its hash.
    pub last: Head,
    /// What is in it.
    pub totals: ControlTotals,
}

/// Adds up control totals.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    entries: u64,
    kinds: BTreeMap<String, u64>,
    tenders: BTreeMap<TenderCode, (u64, i64, i64)>,
    movements: BTreeMap<(Unit, MovementKind), (u64, i64)>,
}

impl Tally {
    /// Counts one entry. A body that cannot be read counts by its kind alone.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] when a sum does not fit; the tally is then not to be used.
    pub fn add(&mut self, header: &Header, body: Option<&Body>) -> Result<(), MoneyError> {
        self.entries += 1;
        match self.kinds.get_mut(&header.kind) {
            Some(count) => *count += 1,
            None => {
                self.kinds.insert(header.kind.clone(), 1);
            }
        }
        let Some(body) = body else { return Ok(()) };
        for (tender, amount_minor) in body.tender_flows() {
            let (count, in_minor, out_minor) = self.tenders.entry(tender).or_default();
            *count += 1;
            let side = if amount_minor < 0 { out_minor } else { in_minor };
            let amount_minor = i64::try_from(amount_minor.abs()).map_err(|_| MoneyError::Overflow)?;
            *side = side.checked_add(amount_minor).ok_or(MoneyError::Overflow)?;
        }
        for movement in body.movements() {
            let (count, amount_minor) = self.movements.entry((movement.unit, movement.kind)).or_default();
            *count += 1;
            *amount_minor = amount_minor.checked_add(movement.amount_minor).ok_or(MoneyError::Overflow)?;
        }
        Ok(())
    }

    /// The totals, sorted.
    #[must_use]
    pub fn totals(&self) -> ControlTotals {
        ControlTotals {
            entries: self.entries,
            kinds: self.kinds.iter().map(|(kind, &count)| KindTotal { kind: kind.clone(), count }).collect(),
            tenders: self
                .tenders
                .iter()
                .map(|(&tender, &(count, in_minor, out_minor))| TenderTotal { tender, count, in_minor, out_minor })
                .collect(),
            movements: self
                .movements
                .iter()
                .map(|(&(unit, kind), &(count, amount_minor))| MovementTotal { unit, kind, count, amount_minor })
                .collect(),
        }
    }
}

impl ControlTotals {
    /// What differs between what the store sealed and what was counted: one line of words per difference, empty when equal.
    #[must_use]
    pub fn differences(&self, counted: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.entries != counted.entries {
            lines.push(format!("entries: sealed {}, counted {}", self.entries, counted.entries));
        }
        fn rows<K: Ord + Clone, V: PartialEq + Clone>(
            sealed: Vec<(K, V)>,
            counted: Vec<(K, V)>,
        ) -> Vec<(K, Option<V>, Option<V>)> {
            let (sealed, counted): (BTreeMap<K, V>, BTreeMap<K, V>) =
                (sealed.into_iter().collect(), counted.into_iter().collect());
            let keys: std::collections::BTreeSet<K> = sealed.keys().chain(counted.keys()).cloned().collect();
            keys.into_iter()
                .filter(|key| sealed.get(key) != counted.get(key))
                .map(|key| {
                    let (a, b) = (sealed.get(&key).cloned(), counted.get(&key).cloned());
                    (key, a, b)
                })
                .collect()
        }
        let kinds = |totals: &Self| totals.kinds.iter().map(|row| (row.kind.clone(), row.count)).collect();
        for (kind, sealed, found) in rows(kinds(self), kinds(counted)) {
            lines.push(format!("kind {kind}: sealed {}, counted {}", sealed.unwrap_or(0), found.unwrap_or(0)));
        }
        let tenders = |totals: &Self| {
            totals.tenders.iter().map(|row| (row.tender, (row.count, row.in_minor, row.out_minor))).collect()
        };
        for (tender, sealed, found) in rows(tenders(self), tenders(counted)) {
            let ((a, b, c), (d, e, f)) = (sealed.unwrap_or_default(), found.unwrap_or_default());
            lines.push(format!(
                "tender {tender}: sealed {a} lines, in {b}, out {c}; counted {d} lines, in {e}, out {f}"
            ));
        }
        let movements = |totals: &Self| {
            totals.movements.iter().map(|row| ((row.unit, row.kind), (row.count, row.amount_minor))).collect()
        };
        for ((unit, kind), sealed, found) in rows(movements(self), movements(counted)) {
            let ((a, b), (c, d)) = (sealed.unwrap_or_default(), found.unwrap_or_default());
            lines.push(format!("movement {unit} {kind}: sealed {a} of {b}, counted {c} of {d}"));
        }
        lines
    }
}
