//! The till's API: what tills send and what they get back, as JSON (R: architecture of the till's API).
//!
//! Amounts are integer minor units. A request that is not well-formed is a [`Fault`] that names the field; a request that is well-formed and
//! refused by the rules is a decline. Paths and headers are here too, so that client and server cannot disagree.

use serde::{Deserialize, Serialize};

use crate::card::{CardNumber, CardStatus};
use crate::decline::{Decline, Elsewhere};
use crate::entry::{Invoiceable, Markdown, RedLetter, SaleLine, TenderLine};
use crate::id::{
    AccountId, CouponCode, EntryId, Epoch, Hash, MemberId, OperationId, OperatorId, Seq, StoreId, TerminalId,
};
use crate::journal::Head;
use crate::money::{Currency, sum};
use crate::party::Party;
use crate::pricing::{Considered, PricedLine};
use crate::seal::{ControlTotals, Seal};
use crate::time::{BusinessDay, Instant};
use crate::unit::Unit;

/// Header of the operation id, made and saved by the till before it sends.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header that marks a stored answer.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
/// Header of the witness, in both directions: the highest (epoch, seq, head) seen.
pub const WITNESS: &str = "huitong-witness";

/// The most lines of a basket.
pub const LINES_MAX: usize = 1_000;
/// The most tenders of a basket.
pub const TENDERS_MAX: usize = 20;
/// The longest free text in bytes.
pub const TEXT_BYTES_MAX: usize = 500;
/// The largest amount of one operation in minor units: a thousand million of the major unit with two places. Everything summed stays far from 64 bits.
pub const AMOUNT_MINOR_MAX: i64 = 100_000_000_000;
/// The largest quantity in thousandths.
pub const QUANTITY_THOUSANDTHS_MAX: i64 = 1_000_000_000;

/// A request that is not well-formed: where and what.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} {fault}")]
pub struct Fault {
    /// The path in the request: `lines[2].net_minor`.
    pub field: String,
    /// What is wrong and what to do.
    pub fault: String,
}

impl Fault {
    /// Names a fault.
    pub fn new(field: impl Into<String>, fault: impl Into<String>) -> Self {
        Self { field: field.into(), fault: fault.into() }
    }
}

/// Sell a card with its initial load, or load it again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadCard {
    /// The currency of the amounts.
    pub currency: Currency,
    /// Paid for. A card may be sold empty; a reload is above zero.
    pub amount_minor: i64,
    /// Given with it.
    #[serde(default)]
    pub bonus_minor: i64,
    /// How it is paid; sums to `amount_minor`.
    #[serde(default)]
    pub tenders: Vec<TenderLine>,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

/// Freeze a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeCard {
    /// Why.
    pub reason: String,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

/// Post a sale.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostSale {
    /// The currency of the amounts.
    pub currency: Currency,
    /// The member, when known.
    #[serde(default)]
    pub member: Option<MemberId>,
    /// The card that the member showed: its owner is the member when `member` is left out, and its account earns the points.
    #[serde(default)]
    pub member_card: Option<CardNumber>,
    /// The coupons shown.
    #[serde(default)]
    pub coupons: Vec<CouponCode>,
    /// What comes off the basket as a whole, with its reason and funder: a coupon without goods, a sum rounded down. It is shared out over the lines,
    /// after all promotions.
    #[serde(default)]
    pub markdowns: Vec<Markdown>,
    /// The quote that the customer was told, as [`Quote::quote`] gave it. Without one the basket is priced now.
    #[serde(default)]
    pub quote: Option<String>,
    /// The basket.
    pub lines: Vec<SaleLine>,
    /// How it is paid; sums to what the basket costs.
    #[serde(default)]
    pub tenders: Vec<TenderLine>,
    /// The tender, by index, of which the till does not know whether it was paid (the acquirer did not answer). The sale is parked with all its
    /// value until [`ResolvePayment`] says.
    #[serde(default)]
    pub payment_unknown: Option<u16>,
    /// When the till took it, for a receipt taken while the edge was down. It is recorded as taken, never decided again, and cannot have been paid
    /// with what only the edge can give: stored value and points.
    #[serde(default)]
    pub taken_at_ms: Option<Instant>,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

/// Ask what a basket costs. Nothing is stored; asking again costs nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskQuote {
    /// The currency of the amounts.
    pub currency: Currency,
    /// The member, when known.
    #[serde(default)]
    pub member: Option<MemberId>,
    /// The card that the member showed.
    #[serde(default)]
    pub member_card: Option<CardNumber>,
    /// The coupons shown.
    #[serde(default)]
    pub coupons: Vec<CouponCode>,
    /// What comes off the basket as a whole.
    #[serde(default)]
    pub markdowns: Vec<Markdown>,
    /// The basket.
    pub lines: Vec<SaleLine>,
}

/// What a basket costs, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Quote {
    /// To be sent with the sale, unchanged, with the same lines, member, coupons and markdowns.
    pub quote: String,
    /// The policy that priced it.
    pub policy_version: u64,
    /// Until when a sale is taken at this price, unless the clocks on the wall are changed before.
    pub expires_at_ms: Instant,
    /// The lines with their discounts, in the order of the basket.
    pub lines: Vec<PricedLine>,
    /// What is to be paid.
    pub total_minor: i64,
    /// Every rule that was considered, applied or not, and why.
    pub trace: Vec<Considered>,
    /// The points that it earns when all of it is paid with tenders that earn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earns_points: Option<i64>,
}

/// What became of the payment of a parked sale.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentOutcome {
    /// The money came: the sale stands.
    Paid,
    /// It did not: the sale is undone, and what its other tenders paid goes back.
    Failed,
}

/// Say what became of the payment of a parked sale.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvePayment {
    /// What became of it.
    pub outcome: PaymentOutcome,
    /// The reference of the payment outside, when it was paid.
    #[serde(default)]
    pub reference: Option<String>,
    /// How it was found out.
    pub reason: String,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// Who approved it.
    #[serde(default)]
    pub approver: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

/// Register the tax invoice over a receipt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterInvoice {
    /// The invoice's number, as the tax system gave it.
    pub number: String,
    /// The registered number that it takes the place of: one that was mistyped, or an invoice that was cancelled and written again.
    #[serde(default)]
    pub replaces: Option<String>,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

/// Undo an operation of the open day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoidOperation {
    /// Why.
    pub reason: String,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// Who approved it.
    #[serde(default)]
    pub approver: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

/// Part of a receipt's line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnItem {
    /// Index of the line, from 0.
    pub line: u16,
    /// How much, in thousandths.
    pub quantity_thousandths: i64,
}

/// Give goods of a receipt back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostReturn {
    /// The receipt's number.
    pub receipt: EntryId,
    /// What comes back.
    pub items: Vec<ReturnItem>,
    /// Why.
    pub reason: String,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// Who approved it.
    #[serde(default)]
    pub approver: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

/// Give goods back without a receipt, their value onto a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostUnreferencedReturn {
    /// The card.
    pub card: CardNumber,
    /// The currency of the amount.
    pub currency: Currency,
    /// How much.
    pub amount_minor: i64,
    /// Why.
    pub reason: String,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// Who approved it.
    #[serde(default)]
    pub approver: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

/// Open a day.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenDay {
    /// Its label; the store's calendar and rollover hour give it when absent.
    #[serde(default)]
    pub business_day: Option<BusinessDay>,
    /// The label is meant although it is far from the store's last day and from its clock. Labels only go forward, so a mistyped year would keep the
    /// store from ever opening a day of this one again.
    #[serde(default)]
    pub far_business_day_confirmed: bool,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
}

/// Close the open day.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseDay {
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
}

fn amount(field: &str, amount_minor: i64, least: i64) -> Result<(), Fault> {
    if (least..=AMOUNT_MINOR_MAX).contains(&amount_minor) {
        return Ok(());
    }
    Err(Fault::new(field, format!("is {amount_minor}; it must be from {least} to {AMOUNT_MINOR_MAX} minor units")))
}

fn text(field: &str, text: &str, least: usize) -> Result<(), Fault> {
    if text.trim().len() < least {
        return Err(Fault::new(field, "is empty; say it in a few words"));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::new(field, format!("has {} bytes; at most {TEXT_BYTES_MAX} are allowed", text.len())));
    }
    Ok(())
}

/// A reference is compared as it is written: nothing around it, and something in it.
fn reference_text(field: &str, reference: &str) -> Result<(), Fault> {
    text(field, reference, 1)?;
    if reference.trim() != reference {
        return Err(Fault::new(field, "has spaces around it; send it without"));
    }
    Ok(())
}

fn tenders(lines: &[TenderLine]) -> Result<(), Fault> {
    if lines.len() > TENDERS_MAX {
        return Err(Fault::new("tenders", format!("has {} lines; at most {TENDERS_MAX} are allowed", lines.len())));
    }
    for (index, line) in lines.iter().enumerate() {
        amount(&format!("tenders[{index}].amount_minor"), line.amount_minor, 1)?;
        if let Some(reference) = &line.reference {
            reference_text(&format!("tenders[{index}].reference"), reference)?;
        }
    }
    Ok(())
}

impl LoadCard {
    /// Checks what can be checked without looking anything up. `least` is 0 for a sale of the card, 1 for a reload.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self, least: i64) -> Result<(), Fault> {
        amount("amount_minor", self.amount_minor, least)?;
        amount("bonus_minor", self.bonus_minor, 0)?;
        tenders(&self.tenders)?;
        let paid = sum(self.tenders.iter().map(|line| line.amount_minor)).unwrap_or(i64::MAX);
        if paid != self.amount_minor {
            return Err(Fault::new(
                "tenders",
                format!("sum to {paid}, but amount_minor is {}; they must be equal", self.amount_minor),
            ));
        }
        Ok(())
    }
}

impl FreezeCard {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("reason", &self.reason, 1)
    }
}

/// The most coupons of a basket.
pub const COUPONS_MAX: usize = 50;

/// The most markdowns of a basket as a whole: more coupons than anybody brings to a till.
pub const MARKDOWNS_MAX: usize = 50;

fn markdown(path: &str, markdown: &Markdown) -> Result<(), Fault> {
    amount(&format!("{path}.amount_minor"), markdown.amount_minor, 1)?;
    text(&format!("{path}.reason"), &markdown.reason, 1)?;
    markdown.funder.map_or(Ok(()), |funder| bearer(&format!("{path}.funder"), funder))
}

/// Nobody collects from the books that stand in for a party.
fn bearer(path: &str, funder: Party) -> Result<(), Fault> {
    match funder {
        Party::Hub | Party::Store(_) | Party::LegalEntity(_) | Party::Supplier(_) | Party::Partner(_) => Ok(()),
        Party::Risk | Party::Unattributed => Err(Fault::new(
            path,
            format!("is {funder}, which bears no discounts; name hub, a store, entity, supplier or partner"),
        )),
    }
}

/// Checks what comes off a basket as a whole.
fn markdowns(markdowns: &[Markdown]) -> Result<(), Fault> {
    if markdowns.len() > MARKDOWNS_MAX {
        let fault = format!("has {} entries; at most {MARKDOWNS_MAX} are allowed", markdowns.len());
        return Err(Fault::new("markdowns", fault));
    }
    markdowns.iter().enumerate().try_for_each(|(at, said)| markdown(&format!("markdowns[{at}]"), said))
}

/// Checks the lines of a basket. A till that priced it itself, while the edge was down, says what discounts it gave.
fn lines(lines: &[SaleLine], coupons: &[CouponCode], priced_by_till: bool) -> Result<(), Fault> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(Fault::new("lines", format!("has {} lines; from 1 to {LINES_MAX} are allowed", lines.len())));
    }
    for (index, line) in lines.iter().enumerate() {
        let path = |field: &str| format!("lines[{index}].{field}");
        text(&path("sku"), &line.sku, 1)?;
        for (field, value) in [
            ("name", &line.name),
            ("category_path", &line.category_path),
            ("brand", &line.brand),
            ("tax_code", &line.tax_code),
        ] {
            text(&path(field), value, 0)?;
        }
        if !(1..=QUANTITY_THOUSANDTHS_MAX).contains(&line.quantity_thousandths) {
            let fault = format!(
                "is {}; it must be from 1 to {QUANTITY_THOUSANDTHS_MAX} thousandths",
                line.quantity_thousandths
            );
            return Err(Fault::new(path("quantity_thousandths"), fault));
        }
        if line.tax_ppm > 1_000_000 {
            return Err(Fault::new(
                path("tax_ppm"),
                format!("is {}; at most 1000000 (100 %) is allowed", line.tax_ppm),
            ));
        }
        if let Some(price_minor) = line.list_price_minor {
            amount(&path("list_price_minor"), price_minor, 0)?;
        }
        amount(&path("gross_minor"), line.gross_minor, 0)?;
        amount(&path("net_minor"), line.net_minor, 0)?;
        let mut net_minor = line.gross_minor;
        for (at, said) in line.markdowns.iter().enumerate() {
            markdown(&path(&format!("markdowns[{at}]")), said)?;
            net_minor -= said.amount_minor;
        }
        if !priced_by_till {
            let own = [
                ("discounts", !line.discounts.is_empty()),
                ("member_price_minor", line.member_price_minor.is_some()),
                ("known", line.known),
            ];
            if let Some((field, _)) = own.into_iter().find(|&(_, said)| said) {
                return Err(Fault::new(path(field), "is for the store to say; leave it out"));
            }
        }
        for (at, discount) in line.discounts.iter().enumerate() {
            amount(&path(&format!("discounts[{at}].amount_minor")), discount.amount_minor, 1)?;
            let funded = sum(discount.funders.iter().map(|part| part.amount_minor)).unwrap_or(i64::MAX);
            if funded != discount.amount_minor || discount.funders.iter().any(|part| part.amount_minor < 0) {
                let fault =
                    format!("sum to {funded}, but amount_minor is {}; they must be equal", discount.amount_minor);
                return Err(Fault::new(path(&format!("discounts[{at}].funders")), fault));
            }
            for (part_at, part) in discount.funders.iter().enumerate() {
                bearer(&path(&format!("discounts[{at}].funders[{part_at}].party")), part.party)?;
            }
            net_minor -= discount.amount_minor;
        }
        if net_minor != line.net_minor {
            let fault = format!(
                "is {}, but gross_minor less markdowns and discounts is {net_minor}; they must be equal",
                line.net_minor
            );
            return Err(Fault::new(path("net_minor"), fault));
        }
    }
    if coupons.len() > COUPONS_MAX {
        let fault = format!("has {} codes; at most {COUPONS_MAX} are allowed", coupons.len());
        return Err(Fault::new("coupons", fault));
    }
    let total = sum(lines.iter().map(|line| line.net_minor)).unwrap_or(i64::MAX);
    amount("lines", total, 0)
}

impl AskQuote {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        markdowns(&self.markdowns)?;
        lines(&self.lines, &self.coupons, false)
    }
}

impl PostSale {
    /// Checks what can be checked without looking anything up. That the tenders pay for the basket is known when it is priced.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        markdowns(&self.markdowns)?;
        lines(&self.lines, &self.coupons, self.taken_at_ms.is_some())?;
        if !self.markdowns.is_empty() && self.taken_at_ms.is_some() {
            let fault = "does not go with taken_at_ms; put each line's part among its discounts, as it was taken";
            return Err(Fault::new("markdowns", fault));
        }
        if self.quote.is_some() && self.taken_at_ms.is_some() {
            return Err(Fault::new("quote", "does not go with taken_at_ms; the receipt is recorded as taken"));
        }
        tenders(&self.tenders)?;
        if let Some(at) = self.payment_unknown {
            if usize::from(at) >= self.tenders.len() {
                let fault = format!("is {at}; the basket has {} tenders, counted from 0", self.tenders.len());
                return Err(Fault::new("payment_unknown", fault));
            }
            if self.taken_at_ms.is_some() {
                let fault = "does not go with taken_at_ms; find out first, then post the receipt";
                return Err(Fault::new("payment_unknown", fault));
            }
        }
        Ok(())
    }
}

impl ResolvePayment {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("reason", &self.reason, 1)?;
        if let Some(reference) = &self.reference {
            reference_text("reference", reference)?;
        }
        if self.outcome == PaymentOutcome::Failed && self.reference.is_some() {
            return Err(Fault::new("reference", "does not go with a payment that failed; leave it out"));
        }
        Ok(())
    }
}

impl RegisterInvoice {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("number", &self.number, 1)
    }
}

impl VoidOperation {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("reason", &self.reason, 1)
    }
}

impl PostReturn {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        text("reason", &self.reason, 1)?;
        if self.items.is_empty() || self.items.len() > LINES_MAX {
            return Err(Fault::new(
                "items",
                format!("has {} lines; from 1 to {LINES_MAX} are allowed", self.items.len()),
            ));
        }
        for (index, item) in self.items.iter().enumerate() {
            if self.items[..index].iter().any(|other| other.line == item.line) {
                return Err(Fault::new(
                    format!("items[{index}].line"),
                    format!("{} is there twice; name each line once", item.line),
                ));
            }
            if !(1..=QUANTITY_THOUSANDTHS_MAX).contains(&item.quantity_thousandths) {
                let fault = format!(
                    "is {}; it must be from 1 to {QUANTITY_THOUSANDTHS_MAX} thousandths",
                    item.quantity_thousandths
                );
                return Err(Fault::new(format!("items[{index}].quantity_thousandths"), fault));
            }
        }
        Ok(())
    }
}

impl PostUnreferencedReturn {
    /// Checks what can be checked without looking anything up.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        amount("amount_minor", self.amount_minor, 1)?;
        text("reason", &self.reason, 1)
    }
}

/// How the price of a sale came about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SalePrice {
    /// The policy that priced it.
    pub policy_version: u64,
    /// What was to be paid.
    pub total_minor: i64,
    /// The lines with their discounts, in the order of the basket.
    pub lines: Vec<PricedLine>,
    /// The rules that were applied; an explanation asked for later has every rule that was considered, as the quote had.
    pub trace: Vec<Considered>,
    /// The points that it earned; those of a parked sale come when it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earned_points: Option<i64>,
}

/// What an account may spend at this store after the operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BalanceHere {
    /// The account.
    pub account: AccountId,
    /// What is counted.
    pub unit: Unit,
    /// What can be spent here, also offline.
    pub available_here_minor: i64,
}

/// An operation that took effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approved {
    /// The operation.
    pub operation: OperationId,
    /// Its entry in the journal; the receipt's number.
    pub entry: EntryId,
    /// The entry's kind.
    pub kind: String,
    /// The business day it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_day: Option<BusinessDay>,
    /// The edge's clock.
    pub at_ms: Instant,
    /// The accounts that moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balances: Vec<BalanceHere>,
    /// Where money goes back to, for voids and returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<TenderLine>,
    /// What may stand on an invoice, for sales.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invoiceable: Vec<Invoiceable>,
    /// The tender whose payment is not known, for a sale that is parked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_unknown: Option<u16>,
    /// The invoice that a red-letter invoice (红字发票) must lower, for returns of goods that are invoiced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red_letter_required: Option<RedLetter>,
    /// How the price of a sale came about, where anything but the shelf price did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<SalePrice>,
    /// The day as sealed, for closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

/// The answer to an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect, durably.
    Approved(Box<Approved>),
    /// It was refused; nothing moved.
    Declined {
        /// The operation.
        operation: OperationId,
        /// One sentence for the screen.
        message: String,
        /// Code and figures.
        #[serde(flatten)]
        decline: Box<Decline>,
    },
}

/// What is known of a card at the till.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CardState {
    /// The card.
    pub card: CardNumber,
    /// What it opens.
    pub account: AccountId,
    /// Where it is in its life, as this store knows.
    pub status: CardStatus,
    /// The member it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// The last day on which it may pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<BusinessDay>,
    /// What can be spent here, per unit.
    pub balances: Vec<BalanceHere>,
    /// The whole balance as the hub knows it, when the hub was asked and answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<TotalBalance>,
}

/// The whole balance of an account as the hub knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotalBalance {
    /// What is counted.
    pub unit: Unit,
    /// Everywhere together.
    pub balance_minor: i64,
    /// In other stores, as last reported.
    pub elsewhere: Vec<Elsewhere>,
    /// The hub's clock.
    pub as_of_ms: Instant,
}

/// An X or Z report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DayReport {
    /// The day.
    pub business_day: BusinessDay,
    /// Whether it is closed (Z) or running (X).
    pub closed: bool,
    /// The first entry covered.
    pub first_seq: Seq,
    /// The last entry covered.
    pub last_seq: Seq,
    /// What is in it.
    pub totals: ControlTotals,
}

/// A sale whose payment is not known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ParkedSale {
    /// The receipt's number.
    pub entry: EntryId,
    /// The operation that posted it.
    pub operation: OperationId,
    /// The till.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalId>,
    /// The business day it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_day: Option<BusinessDay>,
    /// When it was posted.
    pub at_ms: Instant,
    /// What the basket costs.
    pub total_minor: i64,
    /// The tender whose payment is not known.
    pub tender: TenderLine,
}

/// The state of an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OperationState {
    /// It was decided; this is the stored answer.
    Decided {
        /// The stored answer.
        outcome: Outcome,
    },
    /// It never arrived, or is older than answers are kept.
    Unknown,
}

/// The state of the edge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EdgeStatus {
    /// The store.
    pub store: StoreId,
    /// The incarnation of its database.
    pub epoch: Epoch,
    /// The journal's end.
    pub head: Head,
    /// The open day.
    pub open_day: Option<BusinessDay>,
    /// The edge's clock.
    pub now_ms: Instant,
    /// Whether the last call to the hub was answered.
    pub hub_online: bool,
    /// When the hub last answered.
    pub hub_last_seen_ms: Option<Instant>,
    /// What the hub holds of the journal.
    pub acknowledged_seq: Seq,
    /// Accounts whose counters moved since the hub last took a report.
    pub unreported_accounts: u64,
    /// The policy in force, 0 when there is none.
    pub policy_version: u64,
    /// The cards of the replica.
    pub cards_version: u64,
    /// True when a listener without TLS was opened to others than this machine.
    pub insecure_http: bool,
    /// The program's version.
    pub version: String,
}

/// The highest position that a till has seen: an edge whose journal does not contain it has lost its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness {
    /// The incarnation.
    pub epoch: Epoch,
    /// Position and hash.
    pub head: Head,
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.epoch, self.head.seq, self.head.hash)
    }
}

impl std::str::FromStr for Witness {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let parse = || {
            let mut parts = text.splitn(3, ':');
            let epoch = Epoch(parts.next()?.parse().ok()?);
            let seq = Seq(parts.next()?.parse().ok()?);
            let hash: Hash = parts.next()?.parse().ok()?;
            Some(Self { epoch, head: Head { seq, hash } })
        };
        parse()
            .ok_or_else(|| Fault::new(WITNESS, "is not EPOCH:SEQ:HASH; send back the highest one received, unchanged"))
    }
}
