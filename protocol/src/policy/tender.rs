//! Tender: one way to pay, in the catalogue that says what each may do.
//!
//! What a sale does with a tender is decided in `crate::ledger`; here is only what head office says of it. A field that a document leaves out
//! has the value that was true before the field existed, so that old documents keep their meaning.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::id::TenderCode;

/// What class of money a tender is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenderClass {
    /// Money from outside: cash, bank card, 微信, 支付宝 …
    External,
    /// A card's stored value; needs the card on the tender line.
    StoredValue,
    /// A card's points; needs the card on the tender line.
    Points,
    /// A coupon with a face value, given away by the chain or a supplier.
    Coupon,
    /// A voucher (购物券) that somebody paid for.
    Voucher,
    /// On account (挂账): a customer with terms pays later.
    OnAccount,
}

impl TenderClass {
    /// Whether its tender line names a card.
    #[must_use]
    pub const fn needs_card(self) -> bool {
        matches!(self, Self::StoredValue | Self::Points)
    }
}

/// What a tender is in the books of a sale.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountsAs {
    /// Revenue: somebody paid.
    #[default]
    Sale,
    /// A discount: what it covers was given away and is not revenue.
    Discount,
}

/// Whether a tender line carries the number of the payment outside: acquirer, wallet, voucher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceRule {
    /// It must.
    Required,
    /// It may.
    #[default]
    Optional,
    /// It must not: there is nothing to refer to.
    None,
}

/// Where the money of a return goes that was paid with a tender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundRoute {
    /// Back the way it came.
    #[default]
    SameTender,
    /// In cash: with the first tender of the catalogue that gives change.
    Cash,
    /// Nowhere: it was given away, and what was given away is not paid out.
    Nothing,
}

const fn yes() -> bool {
    true
}

/// A tender of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tender {
    /// Its code.
    pub code: TenderCode,
    /// What receipts and screens call it; its code when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its class.
    pub class: TenderClass,
    /// Whether it may pay for a card sale or reload.
    #[serde(default)]
    pub may_load: bool,
    /// Whether what it pays may stand on a tax invoice.
    #[serde(default)]
    pub invoiceable: bool,
    /// Whether what it pays earns points.
    #[serde(default = "yes")]
    pub earns_points: bool,
    /// Revenue or discount.
    #[serde(default)]
    pub counts_as: CountsAs,
    /// Whether the till may take more than is due and give change.
    #[serde(default)]
    pub gives_change: bool,
    /// Whether its line carries a reference.
    #[serde(default)]
    pub reference: ReferenceRule,
    /// Whether a reference may be used once only.
    #[serde(default)]
    pub reference_unique: bool,
    /// Where the money of a return goes.
    #[serde(default)]
    pub refund: RefundRoute,
}

impl Tender {
    /// A tender that says no more than old documents did: it may not load and is not invoiced.
    #[must_use]
    pub const fn new(code: TenderCode, class: TenderClass) -> Self {
        Self {
            code,
            name: String::new(),
            class,
            may_load: false,
            invoiceable: false,
            earns_points: true,
            counts_as: CountsAs::Sale,
            gives_change: false,
            reference: ReferenceRule::Optional,
            reference_unique: false,
            refund: RefundRoute::SameTender,
        }
    }
}

pub(super) fn check(tenders: &[Tender], faults: &mut Faults) {
    let mut codes = HashSet::new();
    for (index, tender) in tenders.iter().enumerate() {
        let mut fault = |field: &str, fault: String| faults.add(format!("tenders[{index}].{field}"), fault);
        if !codes.insert(tender.code) {
            fault("code", format!("{} is there twice", tender.code));
        }
        let external = tender.class == TenderClass::External;
        if tender.may_load && !external {
            fault("may_load", "only an external tender may load value".to_owned());
        }
        if tender.invoiceable && tender.counts_as == CountsAs::Discount {
            fault("invoiceable", "a tender that counts as a discount is no revenue, so nothing of it may be invoiced; set one of them back".to_owned());
        }
        if tender.gives_change && !external {
            fault(
                "gives_change",
                "only an external tender gives change: change would turn the value into cash".to_owned(),
            );
        }
        if tender.reference_unique && tender.reference == ReferenceRule::None {
            fault(
                "reference_unique",
                "there is no reference to be unique; set reference = \"required\" or \"optional\"".to_owned(),
            );
        }
        match tender.refund {
            RefundRoute::Cash if matches!(tender.class, TenderClass::Coupon | TenderClass::OnAccount) => {
                fault("refund", "is cash for what nobody has paid in cash; use same_tender or nothing".to_owned());
            }
            RefundRoute::Nothing if matches!(tender.class, TenderClass::External | TenderClass::Voucher) => {
                fault("refund", "is nothing, but somebody paid for it; use same_tender or cash".to_owned());
            }
            RefundRoute::Cash if tender.class.needs_card() => {
                fault("refund", "what a card paid goes back to it, never to cash; use same_tender".to_owned());
            }
            RefundRoute::Cash if tender.counts_as == CountsAs::Discount => {
                fault(
                    "refund",
                    "pays out money for a discount that nobody paid; use same_tender or nothing".to_owned(),
                );
            }
            RefundRoute::Cash if !tenders.iter().any(|tender| tender.gives_change) => {
                fault(
                    "refund",
                    "is cash, but no tender gives change; set gives_change on the one that is cash".to_owned(),
                );
            }
            RefundRoute::Nothing if tender.class.needs_card() => {
                fault("refund", "is nothing, but what a card paid is its owner's; use same_tender".to_owned());
            }
            _ => {}
        }
    }
    if !tenders.iter().any(|tender| tender.class == TenderClass::External) {
        faults.add("tenders", "names no external tender; a store must be able to take cash");
    }
}
