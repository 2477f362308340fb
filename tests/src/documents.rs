//! Documents: the policy and agreement of towns, as TOML, as a chain could publish them.

use crate::replay::cards;

/// A policy with one card product, cash and stored value, and these allotment rules (the body of `[allotment]`).
#[must_use]
pub fn policy(currency: &str, allotment: &str) -> String {
    let range = cards::range();
    format!(
        r#"name = "Town"
currency = "{currency}"

[allotment]
{allotment}
[returns]
without_receipt = true

[[products]]
id = "SV"
name = "Stored value"
issuer = "E1"
ranges = [{{ prefix = "{}", length = {}, check = "damm" }}]

[[tenders]]
code = "cash"
class = "external"
may_load = true
invoiceable = true

[[tenders]]
code = "stored_value"
class = "stored_value"
"#,
        range.prefix, range.length
    )
}

/// Chapters that a policy may have beside: what customers pay with outside, and tiers of members.
pub const CATALOGUE: &str = r#"
[[tenders]]
code = "wechat"
class = "external"
invoiceable = true

[[tenders]]
code = "bank_card"
class = "external"
invoiceable = true
reference = "required"
reference_unique = true

[[tenders]]
code = "voucher"
class = "voucher"
reference = "required"
reference_unique = true

[[tiers]]
code = "silver"
name = "Silver"
rank = 1

[[tiers]]
code = "gold"
name = "Gold"
rank = 2
earn_multiplier_ppm = 2000000
"#;

/// An agreement of one version.
#[must_use]
pub fn agreement(
    currency: &str,
    scheme: &str,
    effective_from: &str,
    commission_ppm: i64,
    fee_ppm: i64,
    return_lots: &str,
) -> String {
    format!(
        r#"[[agreement]]
effective_from = "{effective_from}"
scheme = "{scheme}"
currency = "{currency}"
load_commission_ppm = {commission_ppm}
acceptance_fee_ppm = {fee_ppm}
bonus_hub_share_ppm = 1000000
points_cost_ppm = 0
draw_order = "fifo_principal_first"
return_lots = "{return_lots}"
"#
    )
}
