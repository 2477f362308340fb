//! Desk: members as the service desk sees them. Names are masked in lists, phones and cards always, and of a birthday there is no year: what is shown
//! can be seen over a shoulder.

use huitong_protocol::id::{MemberId, SegmentCode, TierCode};
use huitong_protocol::member::{MemberCard, MemberFound, MemberNumber, SEARCH_BYTES_MAX, SEARCH_RESULTS_MAX};
use huitong_protocol::time::BusinessDay;
use serde::Serialize;

use crate::store::member::Record;
use crate::store::{StoreError, Tx, member, phone_key};

/// Members that a question found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Found {
    /// The first of them.
    pub members: Vec<MemberFound>,
    /// Whether there are more.
    pub more: bool,
}

/// Finds members by what number, name, pinyin or initials begin with, by phone, or by the last four digits of phone or card.
///
/// # Errors
/// [`StoreError::Rule`] for a question that is too long.
pub fn find(tx: &mut Tx<'_>, question: &str) -> Result<Found, StoreError> {
    if question.len() > SEARCH_BYTES_MAX {
        let fault = format!("the text has {} bytes; at most {SEARCH_BYTES_MAX} are allowed", question.len());
        return Err(StoreError::Rule { operation: "find members", fault });
    }
    let key = phone_key::get(tx)?;
    let mut records: Vec<Record> = member::search(tx, &key, question)?;
    let more = records.len() > SEARCH_RESULTS_MAX;
    records.truncate(SEARCH_RESULTS_MAX);
    Ok(Found { members: records.iter().map(|record| MemberFound::of(&record.member)).collect(), more })
}

/// A member as the desk sees one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct MemberView {
    /// The hub's own number.
    pub member: MemberId,
    /// The number that the member has.
    pub number: MemberNumber,
    /// The name.
    pub name: String,
    /// How it is read.
    pub pinyin: Vec<String>,
    /// The phone, masked.
    pub phone: String,
    /// The tier.
    pub tier: Option<TierCode>,
    /// Since when.
    pub tier_valid_from: Option<BusinessDay>,
    /// Until when.
    pub tier_valid_to: Option<BusinessDay>,
    /// Month and day.
    pub birthday: Option<String>,
    /// The segments.
    pub segments: Vec<SegmentCode>,
    /// Whether the membership is in use.
    pub active: bool,
    /// The cards, masked.
    pub cards: Vec<MemberCard>,
    /// What the QR code says.
    pub qr: String,
}

/// A member by number.
///
/// # Errors
/// [`StoreError`].
pub fn show(tx: &mut Tx<'_>, number: &MemberNumber) -> Result<Option<MemberView>, StoreError> {
    let Some(Record { member, .. }) = member::find(tx, number)? else { return Ok(None) };
    let cards = member::cards(tx, member.id)?;
    Ok(Some(MemberView {
        qr: member.number.qr_text(),
        member: member.id,
        number: member.number,
        name: member.name,
        pinyin: member.pinyin,
        phone: member.phone_masked,
        tier: member.tier,
        tier_valid_from: member.tier_valid_from,
        tier_valid_to: member.tier_valid_to,
        birthday: member.birthday.map(|birthday| birthday.without_year().to_string()),
        segments: member.segments,
        active: member.active,
        cards: cards.iter().map(MemberCard::of).collect(),
    }))
}
