//! What a till or a desk is told of a member: masked, with what counts today.
//!
//! Finding a member authorises nothing: a number and a code can be photographed, and a phone can be typed by anybody. Value and points move against a
//! card, with whatever proof its product asks for.

use serde::{Deserialize, Serialize};

use super::{Member, MemberNumber};
use crate::card::{Card, CardStatus};
use crate::id::{MemberId, ProductId, SegmentCode, TierCode};
use crate::time::BusinessDay;

/// The most cards of a member that an answer lists.
pub const MEMBER_CARDS_MAX: usize = 50;

/// By what a member was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// One of the member's cards.
    Card,
    /// The QR code.
    Qr,
    /// The phone.
    Phone,
    /// The member's number.
    Number,
    /// The id of the draft that it was.
    Draft,
}

/// A member as a till sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemberLook {
    /// What a sale names.
    pub member: MemberId,
    /// The number as printed.
    pub number: MemberNumber,
    /// By what the till asked.
    pub found_by: FoundBy,
    /// The name, masked.
    pub name: String,
    /// The phone, masked; empty without one.
    pub phone: String,
    /// Whether the membership is in force; without that there is no tier.
    pub active: bool,
    /// The business day that tier and birthday are told for: the open one, or what it would be now.
    pub business_day: BusinessDay,
    /// The tier that counts on that day.
    pub tier: Option<TierCode>,
    /// Groups of members that promotions name.
    pub segments: Vec<SegmentCode>,
    /// Whether it is the month of the birthday.
    pub birthday_month: bool,
    /// The member's cards, masked.
    pub cards: Vec<MemberCard>,
    /// What of the datasets the store has.
    pub as_of: MembersAsOf,
}

impl MemberLook {
    /// What a till is told on a business day.
    #[must_use]
    pub fn of(
        member: &Member,
        found_by: FoundBy,
        business_day: BusinessDay,
        cards: &[Card],
        as_of: MembersAsOf,
    ) -> Self {
        Self {
            member: member.id,
            number: member.number,
            found_by,
            name: member.name_masked(),
            phone: member.phone_masked.clone(),
            active: member.active,
            business_day,
            tier: member.tier_on(business_day),
            segments: member.segments.clone(),
            birthday_month: member.birthday_month_on(business_day),
            cards: cards.iter().map(MemberCard::of).collect(),
            as_of,
        }
    }
}

/// A card of a member. The number is masked: who found the member does not have the card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemberCard {
    /// `****7890`.
    pub number: String,
    /// The kind of card.
    pub product: ProductId,
    /// Where it is in its life.
    pub status: CardStatus,
    /// The last business day on which it may pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<BusinessDay>,
    /// Its points at this store, where the policy has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<PointsHere>,
}

/// The points of a card at a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PointsHere {
    /// Confirmed: the goods that earned them stay sold.
    pub confirmed: i64,
    /// Pending: the goods that earned them may come back.
    pub pending: i64,
}

impl MemberCard {
    /// What may be told of a card.
    #[must_use]
    pub fn of(card: &Card) -> Self {
        Self {
            number: card.number.to_string(),
            product: card.product,
            status: card.status,
            expires_on: card.expires_on,
            points: None,
        }
    }
}

/// The versions that a look-up was answered from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MembersAsOf {
    /// Of the members.
    pub members: u64,
    /// Of the cards.
    pub cards: u64,
}

/// One member of a search's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemberFound {
    /// What a sale names.
    pub member: MemberId,
    /// The number as printed.
    pub number: MemberNumber,
    /// The name, masked.
    pub name: String,
    /// The phone, masked; empty without one.
    pub phone: String,
    /// Whether the membership is in force.
    pub active: bool,
}

impl MemberFound {
    /// What may be told of a member.
    #[must_use]
    pub fn of(member: &Member) -> Self {
        Self {
            member: member.id,
            number: member.number,
            name: member.name_masked(),
            phone: member.phone_masked.clone(),
            active: member.active,
        }
    }
}

/// The answer to a search.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MembersFound {
    /// At most [`super::SEARCH_RESULTS_MAX`].
    pub members: Vec<MemberFound>,
    /// Whether there are more; ask more precisely.
    pub more: bool,
    /// What of the datasets the store has.
    pub as_of: MembersAsOf,
}
