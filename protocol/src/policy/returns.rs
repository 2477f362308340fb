//! Return rules: what may be given back, and how. The arithmetic of a return is in `crate::ledger`.

use serde::{Deserialize, Serialize};

use super::Faults;

/// What may be given back, and how.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReturnRules {
    /// Whether goods may come back without a receipt, onto a card, at tills that have the permission. Each is listed for review.
    pub without_receipt: bool,
    /// The most one return without receipt may give; 0 means no limit.
    pub without_receipt_minor_max: i64,
}

pub(super) fn check(rules: &ReturnRules, faults: &mut Faults) {
    if rules.without_receipt_minor_max < 0 {
        faults.add("returns.without_receipt_minor_max", "must not be negative; 0 means no limit");
    }
}
