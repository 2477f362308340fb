//! The funding of discounts in a run: which rows it posts, and the legs that they come to.
//!
//! Every scheme books the same legs, because what a funder owes a store does not depend on whose stored value paid. Rows are only ever added, so new − old
//! needs no old legs: a row is posted by the first run that covers both its `ingested_no` and its day, and by no other.
//!
//! Invariant: whatever the runs, the lines of all of them sum per key to the rows that the last one covers.

use std::collections::BTreeMap;

use crate::funding::Funding;
use crate::settlement::leg::{Leg, LegKey};
use crate::settlement::run::RunError;
use crate::time::BusinessDay;

/// How far a run reaches: entries up to its cut, of days up to its last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// The last accepted entry that it sees.
    pub cut_ingested_no: i64,
    /// The last business day that it covers.
    pub day_to: BusinessDay,
}

impl Reach {
    /// Whether a run that reaches so far covers a row.
    #[must_use]
    pub fn covers(&self, ingested_no: i64, business_day: BusinessDay) -> bool {
        ingested_no <= self.cut_ingested_no && business_day <= self.day_to
    }
}

/// Collects the rows of a run, in any order. Memory grows with keys, not with rows.
#[derive(Debug)]
pub struct FundingBook {
    previous: Option<Reach>,
    current: Reach,
    open_ingested_no: i64,
    sums: BTreeMap<LegKey, i64>,
}

impl FundingBook {
    /// A book for a run, with the reach of the run of its scheme before it.
    #[must_use]
    pub fn new(previous: Option<Reach>, current: Reach) -> Self {
        Self { previous, current, open_ingested_no: i64::MAX, sums: BTreeMap::new() }
    }

    /// Takes a row in, when it is this run's.
    ///
    /// # Errors
    /// [`RunError::Overflow`]; the book is then of no further use.
    pub fn add(&mut self, ingested_no: i64, row: &Funding) -> Result<(), RunError> {
        if !self.current.covers(ingested_no, row.business_day) {
            self.open_ingested_no = self.open_ingested_no.min(ingested_no);
            return Ok(());
        }
        if self.previous.is_some_and(|previous| previous.covers(ingested_no, row.business_day)) {
            return Ok(());
        }
        let sum = self.sums.entry(row.leg_key()).or_insert(0);
        *sum = sum.checked_add(row.amount_minor).ok_or(RunError::Overflow)?;
        Ok(())
    }

    /// The first row that a later run must look at, past everything when there is none.
    #[must_use]
    pub fn open_ingested_no(&self) -> i64 {
        self.open_ingested_no
    }

    /// What the rows come to, in the order of keys.
    #[must_use]
    pub fn into_legs(self) -> Vec<Leg> {
        self.sums.into_iter().map(|(key, amount_minor)| Leg::of(key, amount_minor)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::funding::FundingKind;
    use crate::money::Currency;
    use crate::settlement::leg::LegKind;
    use crate::settlement::testing::{day, party};

    fn row(of_month: i8, kind: FundingKind, amount_minor: i64) -> Funding {
        let (seller, funder) = ("A".parse().unwrap(), party("supplier:X"));
        Funding { business_day: day(of_month), seller, funder, kind, currency: Currency::CNY, amount_minor }
    }

    #[test]
    fn a_row_of_a_later_day_waits_and_is_posted_once() {
        let rows = [
            (1, row(22, FundingKind::Sale, 500)),
            (2, row(23, FundingKind::Sale, 70)),
            (3, row(22, FundingKind::Return, 30)),
        ];
        let reach = |cut_ingested_no, of_month| Reach { cut_ingested_no, day_to: day(of_month) };
        let post = |previous, current| {
            let mut book = FundingBook::new(previous, current);
            rows.iter().for_each(|(no, row)| book.add(*no, row).unwrap());
            let open = book.open_ingested_no();
            let legs = book.into_legs();
            (open, legs.iter().map(|leg| (leg.kind, leg.amount_minor)).collect::<Vec<_>>())
        };
        let (sale, back) = (LegKind::DiscountFunding, LegKind::DiscountFundingBack);
        assert_eq!(post(None, reach(2, 22)), (2, vec![(sale, 500)]), "the next day and the return wait");
        assert_eq!(post(Some(reach(2, 22)), reach(3, 22)), (2, vec![(back, 30)]), "late, under its own day");
        assert_eq!(post(Some(reach(3, 22)), reach(3, 23)), (i64::MAX, vec![(sale, 70)]));
        assert_eq!(post(Some(reach(3, 23)), reach(3, 23)), (i64::MAX, Vec::new()));
    }
}
