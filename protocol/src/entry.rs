//! Entry: one immutable fact of a store's journal.
//!
//! An entry is written once, as named MessagePack: a map of `header` and `body`, the body packed apart as bytes with its own version. From then
//! on it is stored, hashed, sent and kept as those bytes; decoding is a view. A reader that does not know a kind or version still reads the
//! header, keeps the bytes and counts them in the chain. A correction is a new entry.
//!
//! The fields that finance, tax and pricing will ask of old journals are here from the first version, also where nothing uses them yet.

use serde::{Deserialize, Serialize};

use crate::card::CardNumber;
use crate::id::{
    AccountId, CounterId, CouponCode, EntryId, Epoch, GroupId, Hash, MemberId, OperationId, OperatorId, ProductId,
    PromotionId, Seq, StoreId, SupplierId, TenderCode, TerminalId,
};
use crate::member::{Consent, DraftId, MemberNumber, PersonField, Sealed};
use crate::money::Currency;
use crate::movement::Movement;
use crate::party::Party;
use crate::pricing::{Discount, FundedPart, Shopper};
use crate::seal::Seal;
use crate::time::{BusinessDay, CivilOffset, Instant, Stamp};
use crate::unit::Unit;

/// The version of the header that this code writes.
pub const HEADER_VERSION: u16 = 1;
/// The version of every body that this code writes.
pub const BODY_VERSION: u16 = 1;
/// No entry is larger: a basket of a thousand ordinary lines is well under it. A store refuses to write a larger one, a hub to take it.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// What a store's replica held when the entry was decided: dataset versions, 0 where it had none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaVersions {
    /// The policy in force.
    pub policy: u64,
    /// The items.
    pub items: u64,
    /// The members.
    pub members: u64,
    /// The cards.
    pub cards: u64,
}

/// Whether a till or the edge took the operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The edge decided it.
    #[default]
    Edge,
    /// A till took it while the edge was down and posted it later; it is recorded as taken.
    TillOffline,
}

/// What is true of every entry. Unknown fields are ignored, so that a newer minor version can add one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// [`HEADER_VERSION`].
    pub header_version: u16,
    /// The version of the body.
    pub body_version: u16,
    /// What the body is; see [`Body`]. A text, so that unknown kinds can be kept.
    pub kind: String,
    /// The retail group.
    pub group: GroupId,
    /// The store that wrote it.
    pub store: StoreId,
    /// The incarnation of its database.
    pub epoch: Epoch,
    /// Its position in the journal.
    pub seq: Seq,
    /// The operation of which it is the effect. Entries that no till asked for get one from the edge.
    pub operation: OperationId,
    /// The hybrid logical stamp.
    pub stamp: Stamp,
    /// The edge's clock.
    pub at_ms: Instant,
    /// The offset of the store's wall clock.
    pub offset_minutes: CivilOffset,
    /// The business day, for what belongs to one. Allotments between days belong to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_day: Option<BusinessDay>,
    /// The till.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalId>,
    /// The till's own gap-free count of what it sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal_seq: Option<u64>,
    /// Who stood at the till.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorId>,
    /// Who else approved it, where two are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<OperatorId>,
    /// Who decided it.
    #[serde(default)]
    pub origin: Origin,
    /// What the replica held.
    #[serde(default)]
    pub replica: ReplicaVersions,
}

impl Header {
    /// The entry's key.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId { store: self.store, epoch: self.epoch, seq: self.seq }
    }
}

/// A payment line, or a refund line of a return.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenderLine {
    /// Its code in the tender catalogue.
    pub tender: TenderCode,
    /// How much, above zero, net of change.
    pub amount_minor: i64,
    /// The card, for stored value and points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardNumber>,
    /// The reference of the payment outside: acquirer, wallet, voucher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The hold that pays, by the id of the operation that placed it: of a sale's stored value only. It ends with the sale, and what it does not pay is
    /// spendable again. It was promised when the card was good, so it pays although the card was frozen or reported lost since, and whatever limits say
    /// now; not in a store whose value is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<OperationId>,
}

/// A discount that the till gave, with its reason and who pays for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Markdown {
    /// How much, above zero.
    pub amount_minor: i64,
    /// Why.
    pub reason: String,
    /// Who bears it; the store when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub funder: Option<Party>,
}

/// What must not happen to a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LineFlags {
    /// No discounts.
    pub no_discount: bool,
    /// Earns no points.
    pub no_points: bool,
    /// No coupons.
    pub no_coupon: bool,
    /// Not payable with stored value.
    pub no_stored_value: bool,
}

/// One line of a sale: as the till sent it, with what the store knew of it and took off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaleLine {
    /// The item.
    pub sku: String,
    /// What the receipt calls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its category, from the root: `食品/饮料`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub category_path: String,
    /// Its brand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub brand: String,
    /// The concession counter that sold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter: Option<CounterId>,
    /// Who supplies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier: Option<SupplierId>,
    /// Who served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clerk: Option<OperatorId>,
    /// Quantity in thousandths: 1000 is one piece, 250 is a quarter of a kilogram.
    pub quantity_thousandths: i64,
    /// The shelf price of one, before any discount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_price_minor: Option<i64>,
    /// The line before markdowns.
    pub gross_minor: i64,
    /// Discounts that the till gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub markdowns: Vec<Markdown>,
    /// What came off it beyond the markdowns: promotions and the member price, with who bears them. The edge says so; a till does for a receipt that it
    /// took while the edge was down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// The line after markdowns and discounts: what is paid.
    pub net_minor: i64,
    /// What one costs members by the item master; the edge says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_price_minor: Option<i64>,
    /// Whether the store's item master had it; the edge says so.
    #[serde(default)]
    pub known: bool,
    /// The tax code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tax_code: String,
    /// The tax rate in parts per million, contained in the price.
    #[serde(default)]
    pub tax_ppm: u32,
    /// What must not happen to it.
    #[serde(default)]
    pub flags: LineFlags,
}

impl SaleLine {
    /// Who bears how much of what came off the line: the funders of discounts, then those of markdowns; the store where the till named nobody.
    pub fn borne(&self, store: StoreId) -> impl Iterator<Item = FundedPart> + '_ {
        let discounts = self.discounts.iter().flat_map(|discount| discount.funders.iter().copied());
        let markdowns = self.markdowns.iter().map(move |markdown| FundedPart {
            party: markdown.funder.unwrap_or(Party::Store(store)),
            amount_minor: markdown.amount_minor,
        });
        discounts.chain(markdowns)
    }
}

/// What may stand on a tax invoice, for one tax rate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Invoiceable {
    /// The tax code, where the amount belongs to one as a whole: what is paid for a load (601, untaxed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_code: Option<String>,
    /// The rate in parts per million.
    pub tax_ppm: u32,
    /// How much.
    pub invoiceable_minor: i64,
}

/// A card sold, with its initial load.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CardSale {
    /// The card.
    pub card: CardNumber,
    /// What it opens.
    pub account: AccountId,
    /// The kind of card.
    pub product: ProductId,
    /// The currency of the amounts.
    pub currency: Currency,
    /// Paid for.
    pub principal_minor: i64,
    /// Given with it.
    pub bonus_minor: i64,
    /// How it was paid.
    pub tenders: Vec<TenderLine>,
    /// What may stand on an invoice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invoiceable: Vec<Invoiceable>,
    /// The member who bought it, as the till said: it is theirs from then on. Not of one that is loaded again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// The id under which whoever bought it was enrolled at this store: it is theirs when head office makes a member of them. Not of one that is loaded
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftId>,
    /// What moved.
    pub movements: Vec<Movement>,
}

/// A card loaded again. The fields are those of a card sale, without a buyer.
pub type CardReload = CardSale;

/// A card's status changed at the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CardStatusChange {
    /// The card.
    pub card: CardNumber,
    /// What it opens.
    pub account: AccountId,
    /// The new status.
    pub status: crate::card::CardStatus,
    /// Why, as the operator wrote it.
    pub reason: String,
}

/// A sale: lines, tenders, and what it moved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sale {
    /// The currency of the amounts.
    pub currency: Currency,
    /// The member, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// The member as far as prices asked, as this store knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shopper: Option<Shopper>,
    /// The coupons shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coupons: Vec<CouponCode>,
    /// The store's own promotions that it did not get because less of their budgets was left: only the store knew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets_spent: Vec<PromotionId>,
    /// What the till took off the basket as a whole; each line's part stands among its discounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub markdowns: Vec<Markdown>,
    /// The policy under which it was priced: that of its quote.
    pub policy_version: u64,
    /// When it was priced: the moment that time windows were asked about.
    pub priced_at_ms: Instant,
    /// The offset of the store's wall clock at that moment.
    pub priced_offset_minutes: CivilOffset,
    /// The basket.
    pub lines: Vec<SaleLine>,
    /// How it was paid: sums to the total.
    pub tenders: Vec<TenderLine>,
    /// Σ `net_minor`.
    pub total_minor: i64,
    /// Which part of each line each tender paid: `allocation[tender][line]`. Returns read it, they never compute it again.
    pub allocation: Vec<Vec<i64>>,
    /// What may stand on an invoice, per tax rate.
    pub invoiceable: Vec<Invoiceable>,
    /// The tenders, by index, whose part may stand on one: what comes back is taken off by the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invoiceable_tenders: Vec<u16>,
    /// The tender, by index, of which nobody knew yet whether it was paid. The sale is parked until a [`Payment`] or a [`Void`] follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_unknown: Option<u16>,
    /// When the till took it, for a receipt taken while the edge was down and posted later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at_ms: Option<Instant>,
    /// The points that it earned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earned: Option<Earned>,
    /// The points that it earned for a card which the store did not know: head office gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Box<DeferredEarning>>,
    /// What moved: a spend or burn for each tender with a card, in their order, then what was earned.
    pub movements: Vec<Movement>,
}

/// The points that a sale earned, and on what: what comes back of it takes its part of them back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earned {
    /// The card whose account earned.
    pub card: CardNumber,
    /// That account.
    pub account: AccountId,
    /// What was paid for lines that earn with tenders that earn.
    pub base_minor: i64,
    /// The points.
    pub points: i64,
    /// The lines that earn, by index.
    pub lines: Vec<u16>,
    /// The tenders that earn, by index.
    pub tenders: Vec<u16>,
}

/// The points that a sale earned for a card whose account the store did not know: one that another store sold today, or that is new. Head office puts
/// them on the account when it knows the card, and bears nothing of them: they are the selling store's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeferredEarning {
    /// The card that was shown.
    pub card: CardNumber,
    /// What was paid for lines that earn with tenders that earn.
    pub base_minor: i64,
    /// The points, as for somebody without a tier.
    pub points: i64,
    /// The lines that earn, by index.
    pub lines: Vec<u16>,
    /// The tenders that earn, by index.
    pub tenders: Vec<u16>,
}

/// The open question of a parked sale answered: it was paid. (Not paid is a [`Void`].)
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Payment {
    /// The parked sale.
    pub of: EntryId,
    /// The currency of the amount.
    pub currency: Currency,
    /// The tender line as it was paid, with its reference outside.
    pub tender: TenderLine,
    /// What moved.
    pub movements: Vec<Movement>,
}

/// A tax invoice written over a receipt. A receipt has one at most.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invoice {
    /// The receipt.
    pub of: EntryId,
    /// The invoice's number, as the tax system gave it.
    pub number: String,
    /// The currency of the amounts.
    pub currency: Currency,
    /// What stands on it, per tax rate.
    pub invoiceable: Vec<Invoiceable>,
}

/// An operation undone on its day, or a parked sale that was not paid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Void {
    /// What is undone.
    pub of: EntryId,
    /// Its kind.
    pub of_kind: String,
    /// Why, as the operator wrote it.
    pub reason: String,
    /// The currency of the amounts.
    pub currency: Currency,
    /// What was paid and counts as not paid, by tender.
    pub tenders: Vec<TenderLine>,
    /// What of it goes to the customer: not what never came, nor what nobody had paid for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<TenderLine>,
    /// The invoice over what is undone, which a red-letter invoice (红字发票) must now lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red_letter: Option<RedLetter>,
    /// What goes back to those who bore the discounts of a sale, so that the entry says so without the sale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub funded: Vec<FundedPart>,
    /// What moved.
    pub movements: Vec<Movement>,
}

/// Part of a line given back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnLine {
    /// Index of the line in the sale, from 0.
    pub line: u16,
    /// How much of it now, in thousandths.
    pub quantity_thousandths: i64,
    /// What it is worth.
    pub amount_minor: i64,
    /// What goes back to those who bore its discounts, the store that sold it included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub funded: Vec<FundedPart>,
}

/// Goods of a known sale given back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Return {
    /// The sale.
    pub of: EntryId,
    /// Why, as the operator wrote it.
    pub reason: String,
    /// The currency of the amounts.
    pub currency: Currency,
    /// What came back.
    pub lines: Vec<ReturnLine>,
    /// Where the money went: each tender what it had paid.
    pub tenders: Vec<TenderLine>,
    /// What of it goes to the customer: not what nobody had paid for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<TenderLine>,
    /// Σ of the lines and Σ of the tenders.
    pub total_minor: i64,
    /// The invoice over the sale, which a red-letter invoice (红字发票) must now lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red_letter: Option<RedLetter>,
    /// What of the sale's deferred points goes back with it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deferred_points: i64,
    /// What moved.
    pub movements: Vec<Movement>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

/// What a red-letter invoice must take off an invoice, because goods came back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedLetter {
    /// The invoice.
    pub invoice: String,
    /// By how much, per tax rate.
    pub invoiceable: Vec<Invoiceable>,
}

/// Goods given back without a receipt, their value onto a card. Listed for review.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnreferencedReturn {
    /// The card.
    pub card: CardNumber,
    /// What it opens.
    pub account: AccountId,
    /// Why, as the operator wrote it.
    pub reason: String,
    /// The currency of the amount.
    pub currency: Currency,
    /// How much.
    pub amount_minor: i64,
    /// What moved.
    pub movements: Vec<Movement>,
}

/// Somebody enrolled at the store. What was written on the form is sealed to head office; nothing here tells who it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberEnrolled {
    /// The draft: the id of the entry's operation.
    pub draft: DraftId,
    /// To what they consented.
    pub consent: Consent,
    /// The name, masked.
    pub name_masked: String,
    /// The phone, masked; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phone_masked: String,
    /// The phone under the group's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_hash: Option<Hash>,
    /// The card that becomes theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardNumber>,
    /// The form: a packed [`crate::member::Person`].
    pub sealed: Sealed,
}

/// A change of a member that the store asks head office for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberChangeRequested {
    /// Whom.
    pub member: MemberId,
    /// The number under which the store knew them.
    pub number: MemberNumber,
    /// What should change.
    pub fields: Vec<PersonField>,
    /// What it should be, and why: a packed [`crate::member::PersonChange`].
    pub sealed: Sealed,
}

/// Value of an account set aside in the store. It moves nothing; the operation's id is the hold's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// The card that was shown.
    pub card: CardNumber,
    /// What it opens.
    pub account: AccountId,
    /// The currency of the amount.
    pub currency: Currency,
    /// How much.
    pub amount_minor: i64,
    /// Until when it can be captured, by the store's clock.
    pub expires_at_ms: Instant,
}

/// Why a hold ended unused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldEndReason {
    /// A till released it.
    Released,
    /// Its time was over.
    Expired,
}

/// A hold ended unused: all that it held is spendable in the store again. One that paid ends with its sale instead.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HoldEnd {
    /// The entry that placed it.
    pub of: EntryId,
    /// The hold.
    pub hold: OperationId,
    /// What it was of.
    pub account: AccountId,
    /// The currency of the amount.
    pub currency: Currency,
    /// What it had held.
    pub amount_minor: i64,
    /// Why it ended.
    pub reason: HoldEndReason,
    /// What the operator wrote, of one that was released.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Counters that moved without a till: grants adopted, value released. Cumulative totals.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AllotmentChange {
    /// The account.
    pub account: AccountId,
    /// What it counts.
    pub unit: Unit,
    /// The new `adopted`, when a grant was adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_minor: Option<i64>,
    /// The new `released`, when value was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_minor: Option<i64>,
}

/// Allotments that changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Allotment {
    /// Each at most once per account and unit.
    pub changes: Vec<AllotmentChange>,
}

/// A day opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DayOpen {
    /// The store's time zone, so that the day can be read without the master data.
    pub time_zone: String,
    /// Its currency.
    pub currency: Currency,
}

/// Balances and corrections that head office brings in, in its own journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HubPosting {
    /// What it is: an import's file name, a decision's number.
    pub reference: String,
    /// What moved.
    pub movements: Vec<Movement>,
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $variant:ident($body:ty) = $kind:literal),+ $(,)?) => {
        /// What an entry says. The kind's text is in the header.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[expect(clippy::large_enum_variant, reason = "nearly every entry is a sale; a box would cost it an allocation to save the others some bytes")]
        pub enum Body { $($(#[$doc])* $variant($body)),+ }

        impl Body {
            /// Every kind that this code knows.
            pub const KINDS: &[&str] = &[$($kind),+];

            /// The kind's text.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind),+ }
            }

            fn pack(&self) -> Vec<u8> {
                match self { $(Self::$variant(body) => rmp_serde::to_vec_named(body)),+ }
                    .expect("a body has only types that MessagePack can hold")
            }

            /// Reads a body.
            ///
            /// # Errors
            /// [`EntryError::Unknown`] for a kind or version of another time, [`EntryError::Malformed`] for bytes that are not one.
            pub fn unpack(kind: &str, version: u16, bytes: &[u8]) -> Result<Self, EntryError> {
                match (kind, version) {
                    $(($kind, BODY_VERSION) => crate::wire::from_msgpack(bytes).map(Self::$variant).map_err(EntryError::Malformed),)+
                    _ => Err(EntryError::Unknown { kind: kind.to_owned(), version }),
                }
            }
        }
    };
}

bodies! {
    /// A card sold.
    CardSale(CardSale) = "card_sale",
    /// A card loaded again.
    CardReload(CardReload) = "card_reload",
    /// A card's status changed.
    CardStatus(CardStatusChange) = "card_status",
    /// A sale.
    Sale(Sale) = "sale",
    /// A parked sale was paid.
    Payment(Payment) = "payment",
    /// A tax invoice was written over a receipt.
    Invoice(Invoice) = "invoice",
    /// An operation undone.
    Void(Void) = "void",
    /// Goods of a known sale given back.
    Return(Return) = "return",
    /// Goods given back without a receipt.
    UnreferencedReturn(UnreferencedReturn) = "unreferenced_return",
    /// Value set aside.
    Hold(Hold) = "hold",
    /// A hold ended unused.
    HoldEnd(HoldEnd) = "hold_end",
    /// Somebody enrolled.
    MemberEnrolled(MemberEnrolled) = "member_enrolled",
    /// A change of a member asked for.
    MemberChangeRequested(MemberChangeRequested) = "member_change_requested",
    /// Grants adopted, value released.
    Allotment(Allotment) = "allotment",
    /// A day opened.
    DayOpen(DayOpen) = "day_open",
    /// A day closed and sealed.
    Seal(Seal) = "seal",
    /// Head office's own postings.
    HubPosting(HubPosting) = "hub_posting",
}

impl Body {
    /// What moved, in order; the position is the movement's index.
    #[must_use]
    pub fn movements(&self) -> &[Movement] {
        match self {
            Self::CardSale(body) | Self::CardReload(body) => &body.movements,
            Self::Sale(body) => &body.movements,
            Self::Payment(body) => &body.movements,
            Self::Void(body) => &body.movements,
            Self::Return(body) => &body.movements,
            Self::UnreferencedReturn(body) => &body.movements,
            Self::HubPosting(body) => &body.movements,
            Self::CardStatus(_)
            | Self::Invoice(_)
            | Self::Hold(_)
            | Self::HoldEnd(_)
            | Self::MemberEnrolled(_)
            | Self::MemberChangeRequested(_)
            | Self::Allotment(_)
            | Self::DayOpen(_)
            | Self::Seal(_) => &[],
        }
    }

    /// The payment lines, in order. A [`Payment`] has none: the line that it confirms was counted with its sale.
    #[must_use]
    pub fn tenders(&self) -> &[TenderLine] {
        match self {
            Self::CardSale(body) | Self::CardReload(body) => &body.tenders,
            Self::Sale(body) => &body.tenders,
            Self::Void(body) => &body.tenders,
            Self::Return(body) => &body.tenders,
            Self::CardStatus(_)
            | Self::Payment(_)
            | Self::Invoice(_)
            | Self::UnreferencedReturn(_)
            | Self::Hold(_)
            | Self::HoldEnd(_)
            | Self::MemberEnrolled(_)
            | Self::MemberChangeRequested(_)
            | Self::Allotment(_)
            | Self::DayOpen(_)
            | Self::Seal(_)
            | Self::HubPosting(_) => &[],
        }
    }

    /// What was paid in (positive) and out (negative), by tender, in order. Wider than the lines, as a foreign body may hold any number.
    pub fn tender_flows(&self) -> impl Iterator<Item = (TenderCode, i128)> + '_ {
        let sign = if matches!(self, Self::Void(_) | Self::Return(_)) { -1 } else { 1 };
        self.tenders().iter().map(move |line| (line.tender, sign * i128::from(line.amount_minor)))
    }
}

/// Why bytes are not an entry that this code can read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not a well-formed entry.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A kind or version that this code does not know. The bytes are kept and count in the chain.
    #[error("unknown kind {kind} in version {version}")]
    Unknown {
        /// The kind.
        kind: String,
        /// Its version.
        version: u16,
    },
    /// More than [`ENTRY_BYTES_MAX`].
    #[error("the entry has {bytes} bytes; at most {ENTRY_BYTES_MAX} are allowed")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    header: Header,
    #[serde(with = "serde_bytes", borrow)]
    body: &'a [u8],
}

/// An entry whose body may be of another time: the header is read, the body waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryView<'a> {
    /// The header.
    pub header: Header,
    /// The packed body.
    pub body_bytes: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// Reads the header of an entry's bytes.
    ///
    /// # Errors
    /// [`EntryError::Malformed`] names the field, [`EntryError::TooLarge`] the size.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLarge { bytes: bytes.len() });
        }
        let envelope: Envelope<'a> = crate::wire::from_msgpack(bytes).map_err(EntryError::Malformed)?;
        Ok(Self { header: envelope.header, body_bytes: envelope.body })
    }

    /// Reads the body.
    ///
    /// # Errors
    /// As [`Body::unpack`].
    pub fn body(&self) -> Result<Body, EntryError> {
        Body::unpack(&self.header.kind, self.header.body_version, self.body_bytes)
    }
}

/// An entry in full.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What is true of every entry.
    pub header: Header,
    /// What this one says.
    pub body: Body,
}

impl Entry {
    /// The bytes under which the entry is stored, hashed, sent and kept. Called once, by its writer.
    ///
    /// # Panics
    /// When header and body disagree about the kind, which is a mistake of the caller.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert_eq!(self.header.kind, self.body.kind(), "the header names the body's kind");
        let body = self.body.pack();
        rmp_serde::to_vec_named(&Envelope { header: self.header.clone(), body: &body })
            .expect("an entry has only types that MessagePack can hold")
    }

    /// Reads an entry's bytes in full.
    ///
    /// # Errors
    /// As [`EntryView::decode`] and [`Body::unpack`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let view = EntryView::decode(bytes)?;
        let body = view.body()?;
        Ok(Self { header: view.header, body })
    }
}
