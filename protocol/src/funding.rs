//! Funding: who bears the discounts of what was sold.
//!
//! Whoever funds is named by the entry; what goes back to a funder is named by the entry that gives it back.

use std::collections::BTreeMap;

use crate::money::MoneyError;
use crate::party::Party;
use crate::pricing::FundedPart;

/// Parts of the same party as one, in the order of parties; parts of nothing are left out.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn by_party(parts: impl IntoIterator<Item = FundedPart>) -> Result<Vec<FundedPart>, MoneyError> {
    let mut sums: BTreeMap<Party, i64> = BTreeMap::new();
    for FundedPart { party, amount_minor } in parts {
        let sum = sums.entry(party).or_insert(0);
        *sum = sum.checked_add(amount_minor).ok_or(MoneyError::Overflow)?;
    }
    let kept = sums.into_iter().filter(|&(_, amount_minor)| amount_minor > 0);
    Ok(kept.map(|(party, amount_minor)| FundedPart { party, amount_minor }).collect())
}
