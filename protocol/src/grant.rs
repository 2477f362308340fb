//! Grant: what of a hub's words on granted value a store can take. Each is judged by itself, as one that cannot be right says nothing of those beside it.
//!
//! Deliberately not here: in which session a grant counts (`allotment::takes_grant`), and whether value may move at all (`continuity`).

use crate::allotment::{Holding, HoldingEvent, Purse, Refusal, StoreEvent, step};
use crate::id::AccountId;
use crate::money::Currency;
use crate::unit::Unit;

/// Why a grant cannot be taken, whenever it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GrantFault {
    /// The store counts the account in something else.
    #[error("the store's tills count in {currency} and in points, of the risk account in {currency} alone")]
    Unit {
        /// What they count in.
        currency: Currency,
    },
    /// A total of what was granted is above zero, or nothing was.
    #[error("the total {granted_minor} is not above zero")]
    Amount {
        /// The total.
        granted_minor: i64,
    },
    /// The counters cannot hold it.
    #[error("{0}")]
    Counters(Refusal),
}

/// What a store whose tills count in a currency holds of a purse after it took a grant, a total. An old one and a doubled one change nothing.
///
/// # Errors
/// [`GrantFault`]: the store goes on with what it holds.
pub fn judge(held: &Holding, currency: Currency, purse: Purse, granted_minor: i64) -> Result<Holding, GrantFault> {
    let is_counted = match purse.unit {
        Unit::Money(unit) => unit == currency,
        Unit::Points => purse.account != AccountId::RISK,
    };
    if !is_counted {
        return Err(GrantFault::Unit { currency });
    }
    if granted_minor <= 0 {
        return Err(GrantFault::Amount { granted_minor });
    }
    step(held, HoldingEvent::Moved(StoreEvent::Adopt { granted_minor })).map_err(GrantFault::Counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allotment::StoreCounters;

    fn purse(account: i64, unit: Unit) -> Purse {
        Purse { account: AccountId::new(account).unwrap(), unit }
    }

    #[test]
    fn a_grant_is_taken_in_what_the_store_counts_and_as_far_as_it_can_count() {
        let (cny, held) = (Unit::Money(Currency::CNY), Holding::default());
        let taken = |held: &Holding, purse: Purse, granted_minor| {
            judge(held, Currency::CNY, purse, granted_minor).map(|after| after.counters.adopted_minor)
        };
        assert_eq!(taken(&held, purse(7, cny), 500), Ok(500));
        assert_eq!(taken(&held, purse(7, Unit::Points), 500), Ok(500));
        assert_eq!(taken(&held, purse(7, cny), i64::MAX), Ok(i64::MAX));
        let foreign = Err(GrantFault::Unit { currency: Currency::CNY });
        assert_eq!(taken(&held, purse(7, Unit::new("EUR").unwrap()), 500), foreign);
        let risk = |unit| Purse { account: AccountId::RISK, unit };
        assert_eq!((taken(&held, risk(cny), 500), taken(&held, risk(Unit::Points), 500)), (Ok(500), foreign));
        for granted_minor in [0, -1, i64::MIN] {
            assert_eq!(taken(&held, purse(7, cny), granted_minor), Err(GrantFault::Amount { granted_minor }));
        }
        let counters = StoreCounters { adopted_minor: 600, loaded_minor: 10, ..StoreCounters::default() };
        let held = Holding { counters, held_minor: 0 };
        assert_eq!(taken(&held, purse(7, cny), 500), Ok(600), "an old one");
        let over = Err(GrantFault::Counters(Refusal::Overflow));
        assert_eq!(
            (taken(&held, purse(7, cny), i64::MAX - 10), taken(&held, purse(7, cny), i64::MAX - 9)),
            (Ok(i64::MAX - 10), over)
        );
    }
}
