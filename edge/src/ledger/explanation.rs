//! Explanation: the price of a sale that was posted, explained again from its own entry and the policy that it names.
//!
//! Nothing is looked up in the item master or among the members, which have changed since: what the sale was priced with is in the entry. It reads, and
//! decides nothing: what was recorded and paid stands.

use huitong_protocol::entry::Body;
use huitong_protocol::rerate::{Rerated, rerate};
use huitong_protocol::till::SalePrice;

use super::look::entry_of;
use super::{Ledger, Reference};
use crate::store::StoreError;

/// What can be said of the price of a sale.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Explanation {
    /// How it came about.
    Priced(Box<SalePrice>),
    /// This store has no such receipt.
    NoReceipt,
    /// The receipt is of something that is not priced by lines.
    NoSale {
        /// The kind of its entry.
        kind: String,
    },
    /// The till priced it while the edge was down.
    AsTaken,
    /// The store does not keep the policy that priced it any more.
    PolicyNotHeld {
        /// That policy.
        version: u64,
    },
    /// It costs something else now; a line of words for each difference.
    Differs(Vec<String>),
}

impl Ledger {
    /// Explains the price of a sale.
    ///
    /// # Errors
    /// [`StoreError`] of the engine.
    pub fn explain(&self, of: Reference) -> Result<Explanation, StoreError> {
        let committed = self.store().committed();
        let Some(identity) = committed.identity.as_ref() else { return Err(StoreError::NotEnrolled) };
        let Some(entry) = self.store().read(|tx| entry_of(tx, identity, of))? else {
            return Ok(Explanation::NoReceipt);
        };
        let Body::Sale(sale) = &entry.body else { return Ok(Explanation::NoSale { kind: entry.header.kind }) };
        if sale.taken_at_ms.is_some() {
            return Ok(Explanation::AsTaken);
        }
        let version = sale.policy_version;
        let Some(policy) = committed.policy_of(version) else { return Ok(Explanation::PolicyNotHeld { version }) };
        Ok(match rerate(&policy.book, &entry.header, sale) {
            Rerated::Same(priced) => Explanation::Priced(Box::new(SalePrice {
                policy_version: version,
                total_minor: priced.total_minor,
                lines: priced.lines,
                trace: priced.trace,
                earned_points: sale.earned.as_ref().map(|earned| earned.points),
                deferred_points: sale.deferred.as_ref().map(|deferred| deferred.points),
            })),
            Rerated::AsTaken => Explanation::AsTaken,
            Rerated::Differs(differences) => Explanation::Differs(differences),
        })
    }
}
