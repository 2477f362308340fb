//! Sales at the till: prices asked for and told, sales posted, and what follows one: its payment, its tax invoice.

use serde::{Deserialize, Serialize};

use super::check::{markdowns, reference_text, tenders, text};
use super::line::lines;
use super::{Fault, Said, TillLine, said::requests};
use crate::card::CardNumber;
use crate::entry::{Markdown, TenderLine};
use crate::id::{CouponCode, EntryId, MemberId, OperationId, OperatorId, TerminalId};
use crate::money::Currency;
use crate::pricing::{Considered, PricedLine};
use crate::time::{BusinessDay, Instant};

/// Ask what a basket costs. Nothing is stored; asking again costs nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
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
    pub lines: Vec<TillLine>,
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

/// What a basket costs, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
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

requests! {
    /// Post a sale.
    #[derive(Clone, PartialEq, Eq, Debug)]
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
        /// What comes off the basket as a whole, with its reason and funder: a coupon without goods, a sum rounded down. It is shared out over the
        /// lines, after all promotions.
        #[serde(default)]
        pub markdowns: Vec<Markdown>,
        /// The quote that the customer was told, as [`Quote::quote`] gave it. Without one the basket is priced now.
        #[serde(default)]
        pub quote: Option<String>,
        /// The basket.
        pub lines: Vec<TillLine>,
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

/// How the price of a sale came about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// The points that head office will give, as this store does not know the card as somebody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred_points: Option<i64>,
}

/// What became of the payment of a parked sale.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentOutcome {
    /// The money came: the sale stands.
    Paid,
    /// It did not: the sale is undone, and what its other tenders paid goes back.
    Failed,
}

requests! {
    /// Say what became of the payment of a parked sale.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct ResolvePayment {
        /// What became of it.
        pub outcome: PaymentOutcome,
        /// The reference of the payment outside, when it was paid.
        #[serde(default)]
        pub reference: Option<String>,
        /// How it was found out.
        pub reason: String,
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

requests! {
    /// Register the tax invoice over a receipt.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct RegisterInvoice {
        /// The invoice's number, as the tax system gave it.
        pub number: String,
        /// The registered number that it takes the place of: one that was mistyped, or an invoice that was cancelled and written again.
        #[serde(default)]
        pub replaces: Option<String>,
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

/// A sale whose payment is not known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
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
