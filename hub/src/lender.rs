//! Lenders: the stores that may let a card overdraw its account without head office knowing of it yet, and whom an undone card waits for because of that.
//!
//! Whoever buys a card that had its sale undone must not pay what was overdrawn before. A store with a line of the risk account may have lent on the card until
//! it knew what became of it; what it lent is a debt once its journal is held as far as it went by then (`crate::knowledge`). Its counters would not do: a
//! report may come in parts or be refused. A line of which nothing is left lends nothing more, so that equal counters are enough there. What ended epochs lent
//! nobody can wait for. Invariant: a store of which this is not sure is waited for.

use huitong_protocol::id::{AccountId, StoreId};
use huitong_protocol::unit::Unit;

use crate::store::lender::{self as rows, Lender};
use crate::store::{StoreError, Tx, overdraft, root};

/// All of them, at one moment.
#[derive(Clone, Debug)]
pub struct Lenders {
    unit: Unit,
    lenders: Vec<Lender>,
}

impl Lenders {
    /// Reads them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(tx: &mut Tx<'_>) -> Result<Self, StoreError> {
        let unit = Unit::Money(root::hub(tx)?.currency);
        Ok(Self { unit, lenders: rows::all(tx, unit)? })
    }

    /// Whether the account of a card in nobody's hands may have debts that its next owner would pay, or be owed what was collected too much. `version` is that
    /// of the card as stores must know it, nothing when none can know yet but who tells of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn may_stand(
        &self,
        tx: &mut Tx<'_>,
        account: AccountId,
        (version, teller): (Option<i64>, Option<StoreId>),
    ) -> Result<bool, StoreError> {
        let debt = overdraft::owing(tx, account, self.unit)?.debt;
        let is_known = |lender: &Lender| {
            let knows = version.is_some_and(|version| lender.accounted() >= version);
            Some(lender.store) == teller || lender.is_idle() || knows
        };
        Ok(debt.owed_minor() > 0 || debt.excess_minor() > 0 || !self.lenders.iter().all(is_known))
    }
}
