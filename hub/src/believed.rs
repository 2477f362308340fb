//! Believed: grants that this database does not know, and that a store was believed to have had from the life that the backup forgot.
//!
//! Nobody else knows what that life granted, so that a store at fault could say what it likes. Each purse is written down, and each store with any becomes an
//! exception when it has told everything or its epoch ends. Invariant: what was believed is never taken back by itself.

use huitong_protocol::allotment::{Line, Purse};
use huitong_protocol::id::{Epoch, StoreId};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::Instant;

use crate::store::{StoreError, Tx, believed as rows, exception};

/// Accounts below nothing that an exception names.
const NAMED_MAX: usize = 5;

/// Writes down what a step believed of a line.
///
/// # Errors
/// [`StoreError`].
pub fn note(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    purse: Purse,
    (before, after): (&Line, &Line),
) -> Result<(), StoreError> {
    let amount_minor = after.granted_minor.saturating_sub(before.granted_minor);
    if amount_minor <= 0 {
        return Ok(());
    }
    rows::add(tx, (store, epoch), purse, amount_minor)
}

/// How it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// By the store's reports, while the hub waited for it.
    Reported,
    /// By the journal of an epoch that ended unheard.
    Journalled,
}

/// Names a store that was believed anything.
///
/// # Errors
/// [`StoreError`].
pub fn raise(tx: &mut Tx<'_>, (store, epoch): (StoreId, Epoch), said: Said, now: Instant) -> Result<(), StoreError> {
    let sums = rows::sums(tx, (store, epoch))?;
    if sums.is_empty() {
        return Ok(());
    }
    let mut evidence = Evidence::default();
    for sum in sums {
        let rows::Sum { unit, purses, granted_minor, most, most_minor } = sum;
        evidence = evidence
            .and(format!("{granted_minor} {unit} on {purses} accounts, the most on account {most}: {most_minor}"));
    }
    let subject = match said {
        Said::Reported => format!("{store}-{epoch}"),
        Said::Journalled => format!("{store}-{epoch} by its journal"),
    };
    // While stores are waited for a pool may be below nothing; of an epoch that ended nobody brings anything back.
    if said == Said::Journalled {
        for (purse, free_minor) in rows::overdrawn(tx, (store, epoch), NAMED_MAX)? {
            let words = format!("account {} is at {free_minor} {}", purse.account, purse.unit);
            evidence = evidence.and(words);
        }
    }
    let finding = Finding { class: Class::GrantBelieved, store: Some(store), subject, evidence };
    exception::raise(tx, &finding, now).map(drop)
}
