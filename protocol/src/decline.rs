//! Decline: a business refusal. A value with a code, never an error; it is stored and replayed like an approval.

use serde::{Deserialize, Serialize};

use crate::card::CardNumber;
use crate::id::{RoleCode, StoreId, TerminalId};
use crate::time::Instant;
use crate::unit::Unit;

/// Why an operation was refused. The text form is stable: tills and people look it up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeclineCode {
    /// The account holds less, and the hub knows of no more.
    Insufficient,
    /// Less is spendable here, and the hub could not be asked.
    InsufficientHereOffline,
    /// Less is spendable here; more is with stores that cannot give it now, as they are silent or keep it for a hold. May be tried again.
    HeldElsewhere,
    /// Less is spendable here; more was with a store whose books ended without it, and people at head office decide what becomes of it.
    InSuspense,
    /// Less is spendable; a part of the balance is set aside here by holds.
    Held,
    /// This store knows of no such hold.
    HoldUnknown,
    /// The hold was captured or released, or its time is over.
    HoldEnded,
    /// The hold is smaller than what is to be paid with it.
    HoldExceeded,
    /// The policy does not let so much be held at once.
    HoldLimit,
    /// The policy does not let anything be held for so long.
    HoldTooLong,
    /// As many holds are open on the account as the policy allows.
    HoldsOpen,
    /// No such card.
    UnknownCard,
    /// The store's replica has no such card, or has it as not sold, and the hub could not be asked.
    UnknownCardOffline,
    /// The card is not sold yet, or is over.
    CardNotActive,
    /// The card is frozen.
    CardFrozen,
    /// The card is reported lost.
    CardLost,
    /// The card is past its last day for paying. Its balance stays.
    CardExpired,
    /// The card is sold already.
    CardAlreadySold,
    /// The card is allocated to another store, and the hub could not be asked.
    NotAllocatedHere,
    /// One load would exceed the product's limit.
    LoadLimit,
    /// The balance after the load would exceed the product's limit.
    BalanceLimit,
    /// A tender may not pay for this.
    TenderNotAllowed,
    /// No day is open.
    DayNotOpen,
    /// A day is open already.
    DayAlreadyOpen,
    /// The day was closed before; its label is used up.
    DayAlreadyClosed,
    /// The operation to undo is not of the open day: return the goods instead.
    NotOfOpenDay,
    /// The receipt is not of this store.
    ReceiptUnknown,
    /// It was undone before.
    AlreadyVoided,
    /// Goods of it came back before; return the rest instead.
    AlreadyReturned,
    /// This kind of operation cannot be undone.
    NotVoidable,
    /// More would come back than was sold.
    ReturnExceedsSale,
    /// The value of the load is spent.
    AlreadySpent,
    /// The card was used since it was sold, or its account holds more than this load: undo that first.
    CardInUse,
    /// The policy does not allow returns without a receipt.
    WithoutReceiptOff,
    /// The amount is above the limit for a return without receipt.
    WithoutReceiptLimit,
    /// The till has no permission for this.
    PermissionDenied,
    /// Nobody knows yet whether the sale was paid: resolve its payment first.
    PaymentUnknown,
    /// The payment of this sale is known; there is nothing to resolve.
    PaymentKnown,
    /// A tax invoice was written over the receipt.
    AlreadyInvoiced,
    /// Nothing of the receipt may stand on an invoice.
    NothingInvoiceable,
    /// The markdowns are more than the goods: the till would pay the customer.
    BasketBelowZero,
    /// The quote is too old: ask for a new one.
    QuoteExpired,
    /// The wall clocks were changed since the quote: ask for a new one.
    QuoteClockChanged,
    /// The policy of the quote is no longer kept here: ask for a new one.
    QuotePolicyNotHeld,
    /// The basket costs something else now than its quote said, or may do so since it was priced: ask for its price again.
    QuoteChanged,
    /// The reference of a payment was used before, by a tender whose references count once.
    ReferenceUsed,
    /// Points may not pay for so much, or not for so little.
    PointsLimit,
    /// Enough points are there, and some of them may not pay before the goods that earned them can no longer come back.
    PointsPending,
    /// A member, or somebody enrolled here, has this phone.
    PhoneHasMember,
    /// The card belongs to a member, or to somebody enrolled here.
    CardHasMember,
    /// The card does not pay in this store, or not for so much of these goods.
    CardScope,
    /// The card may not pay so much of one receipt, or no more here today.
    SpendLimit,
    /// What the store knows of cards is so old that the card may pay less of a receipt: it may have been reported lost.
    OfflineLimit,
    /// The line is down, and the card may overdraw here, but not so much: `available_here_minor` says what it may pay.
    OverdraftLimit,
    /// Neither the operator's role nor that of who approved allows it; the decline names the roles that do.
    RoleDenied,
    /// Since the store's machine started it is not proved that its database has forgotten nothing; the decline names who is waited for.
    ValueUnproved,
    /// The store's database has forgotten something: no value moves until the store is enrolled anew.
    ValueQuarantined,
}

impl DeclineCode {
    /// One sentence for the cashier's screen.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Insufficient => "the balance is not enough",
            Self::InsufficientHereOffline => "not enough can be spent here while head office cannot be asked for more",
            Self::HeldElsewhere => "part of the balance is with a store that cannot give it now; try again later",
            Self::InSuspense => {
                "part of the balance was with a store whose records were lost; head office decides about it, and the customer may ask there"
            }
            Self::Held => {
                "part of the balance is set aside by a hold; capture or release the hold, or pay the rest otherwise"
            }
            Self::HoldUnknown => "this store knows no such hold; look at its number again",
            Self::HoldEnded => "the hold has ended: it was captured or released, or its time is over",
            Self::HoldExceeded => "the hold is smaller than this amount; pay the rest with another tender",
            Self::HoldLimit => "so much may not be held at once",
            Self::HoldTooLong => "nothing may be held for so long",
            Self::HoldsOpen => "too many holds are open on this account; capture or release one first",
            Self::UnknownCard => "no such card; look at the number again",
            Self::UnknownCardOffline => "the card is not known here as sold, and the line to head office is down",
            Self::CardNotActive => "the card is not in use",
            Self::CardFrozen => "the card is frozen",
            Self::CardLost => "the card is reported lost",
            Self::CardExpired => "the card has expired; the balance is kept and the card can be exchanged",
            Self::CardAlreadySold => "the card is sold already",
            Self::NotAllocatedHere => "the card is allocated to another store and the line to head office is down",
            Self::LoadLimit => "the load is above the limit for one load",
            Self::BalanceLimit => "the balance would exceed the limit of the card",
            Self::TenderNotAllowed => "this tender may not pay for this",
            Self::DayNotOpen => "no business day is open; open the day first",
            Self::DayAlreadyOpen => "a business day is open already; close it first",
            Self::DayAlreadyClosed => "this business day was closed already; open a later one",
            Self::NotOfOpenDay => "the operation is not of the open business day; return the goods instead",
            Self::ReceiptUnknown => "the receipt is not of this store",
            Self::AlreadyVoided => "the operation was voided already",
            Self::AlreadyReturned => "goods of this receipt were returned already; return the rest instead",
            Self::NotVoidable => "this kind of operation cannot be voided",
            Self::ReturnExceedsSale => "more would be returned than was sold",
            Self::AlreadySpent => "the value of this load is spent already",
            Self::CardInUse => "the card was used since, or holds more than this load; undo that first",
            Self::WithoutReceiptOff => "returns without a receipt are not allowed by policy",
            Self::WithoutReceiptLimit => "the amount is above the limit for a return without a receipt",
            Self::PermissionDenied => "this till has no permission for this operation",
            Self::PaymentUnknown => "the payment of this sale is not known yet; say first whether it was paid",
            Self::PaymentKnown => "the payment of this sale is known; there is nothing to resolve",
            Self::AlreadyInvoiced => "a tax invoice is registered for this receipt",
            Self::NothingInvoiceable => "nothing of this receipt may stand on a tax invoice",
            Self::BasketBelowZero => "the reductions are more than the goods; take one back or sell more goods",
            Self::QuoteExpired => "the quote is too old; ask for the price again",
            Self::QuoteClockChanged => "the wall clocks were changed since the quote; ask for the price again",
            Self::QuotePolicyNotHeld => "the policy of the quote is no longer kept here; ask for the price again",
            Self::QuoteChanged => {
                "what the basket costs may have changed since it was priced; ask for its price again and tell the customer"
            }
            Self::ReferenceUsed => "this payment reference was used before; look at the number again",
            Self::PointsPending => "some of the points are not confirmed yet and cannot pay before they are",
            Self::PhoneHasMember => "somebody has this phone already; look the member up by it",
            Self::CardHasMember => "the card belongs to a member already; take another one",
            Self::PointsLimit => "points may pay only from a least number on and up to a part of the receipt",
            Self::CardScope => "the card does not pay in this store or for so much of these goods",
            Self::SpendLimit => "the card may not pay so much of one receipt or of one day",
            Self::OfflineLimit => {
                "this store has not learnt for so long which cards were reported lost that the card may pay only up to a limit"
            }
            Self::OverdraftLimit => {
                "the line to head office is down and the card may not pay so much beyond its balance here"
            }
            Self::RoleDenied => "your role does not allow this; call somebody whose role does",
            Self::ValueUnproved => {
                "stored value and points cannot pay until every till of the store and head office have been heard since its machine started"
            }
            Self::ValueQuarantined => "stored value is stopped in this store until head office has enrolled it anew",
        }
    }
}

/// How a store that holds value stands to head office.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceState {
    /// It can be asked, and gave nothing in time: a hold keeps the value there, or the store is busy.
    Connected,
    /// It cannot be asked now.
    Silent,
    /// Its epoch was ended, and nobody can give the value but people who decide about it. The store itself may be there again.
    Suspense,
}

/// Where value is that cannot be spent here now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// The card asked for.
    pub card: CardNumber,
    /// The store that holds it.
    pub store: StoreId,
    /// How much, as last reported. Nothing where the store only spent of it, which matters to whoever undoes the sale of the card.
    pub held_minor: i64,
    /// When that store was last heard.
    pub last_seen_ms: Instant,
    /// Whether it can be asked.
    pub state: PlaceState,
}

/// A refusal with what the cashier can tell the customer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decline {
    /// Why.
    pub code: DeclineCode,
    /// The card that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardNumber>,
    /// What the amounts count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// What can be spent here now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_here_minor: Option<i64>,
    /// What was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_minor: Option<i64>,
    /// What holds set aside here, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_minor: Option<i64>,
    /// Where the rest is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// Whose role allows it, for what the operator's does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleCode>,
    /// The tills that are waited for before value may move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaited_tills: Vec<TerminalId>,
    /// Whether head office is waited for before value may move.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_hub: bool,
}

impl Decline {
    /// A refusal without figures.
    #[must_use]
    pub const fn new(code: DeclineCode) -> Self {
        Self {
            code,
            card: None,
            unit: None,
            available_here_minor: None,
            needed_minor: None,
            held_minor: None,
            elsewhere: Vec::new(),
            roles: Vec::new(),
            awaited_tills: Vec::new(),
            awaits_hub: false,
        }
    }

    /// A refusal that concerns a card.
    #[must_use]
    pub fn of_card(code: DeclineCode, card: CardNumber) -> Self {
        Self { card: Some(card), ..Self::new(code) }
    }
}
