//! Member: what a store needs to know of a person in the group's programme, and how that person is found.
//!
//! The record is the store's replica of head office's master: least data, no phone number and no year of birth. What is here is personal data all
//! the same, the name and the keyed hash of the phone first of all. Invariant: a record's `Debug` shows its number and nothing else of the person,
//! so that no log tells who somebody is (R: I9).

mod birthday;
mod enrolment;
mod identity_document;
mod look;
mod number;
mod phone;
mod search;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Hash, MemberId, SegmentCode, TierCode};
use crate::time::BusinessDay;

pub use birthday::Birthday;
pub use enrolment::{
    ChangeMember, Consent, Document, DraftId, DraftLook, DraftOutcome, DraftState, EnrolMember, Form, MemberKeys,
    Person, PersonChange, PersonField, Sealed, SealingKey, reason_fault,
};
pub use identity_document::{DocumentFault, DocumentKind, IdentityNumber};
pub use look::{FoundBy, MEMBER_CARDS_MAX, MemberCard, MemberFound, MemberLook, MembersAsOf, MembersFound, PointsHere};
pub use number::{MEMBER_NUMBER_BYTES_MAX, MemberNumber, QrFault};
pub use phone::{Phone, PhoneFault, PhoneKey};
pub use search::{
    READINGS_MAX, SEARCH_BYTES_MAX, SEARCH_RESULTS_MAX, WORDS_PER_MEMBER_MAX, fold, prefix_end, search_keys,
};

/// The longest name in bytes: sixty Chinese characters; names of the north-west with their dots fit three times.
pub const NAME_BYTES_MAX: usize = 180;
/// The most segments of a member.
pub const SEGMENTS_MAX: usize = 50;

/// A member as stores need it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The hub's number.
    pub id: MemberId,
    /// The member's number as printed, unique in the group.
    pub number: MemberNumber,
    /// The name as the person writes it, rare characters and dots included.
    pub name: String,
    /// How the name is read, most likely first: `zhang san`. Made by head office, which has the dictionary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinyin: Vec<String>,
    /// The tier. It counts only within its days: see [`Member::tier_on`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierCode>,
    /// The first business day of the tier; without one it has always counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_valid_from: Option<BusinessDay>,
    /// The last business day of the tier; without one it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_valid_to: Option<BusinessDay>,
    /// Month and day of birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birthday: Option<Birthday>,
    /// Groups of members that promotions name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentCode>,
    /// The phone under the group's key: see [`PhoneKey`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_hash: Option<Hash>,
    /// The phone for people: `138****5678`. Empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phone_masked: String,
    /// Whether the membership is in force.
    pub active: bool,
}

impl Member {
    /// The tier that counts on a business day. A store computes nothing further: a tier that is over is none, whatever comes after it.
    #[must_use]
    pub fn tier_on(&self, day: BusinessDay) -> Option<TierCode> {
        let begun = self.tier_valid_from.is_none_or(|from| from <= day);
        let over = self.tier_valid_to.is_some_and(|to| to < day);
        self.tier.filter(|_| self.active && begun && !over)
    }

    /// Whether the month of a business day is that of the birthday.
    #[must_use]
    pub fn birthday_month_on(&self, day: BusinessDay) -> bool {
        self.birthday.is_some_and(|birthday| birthday.month() == day.date().month())
    }

    /// The name for a screen that others can see.
    #[must_use]
    pub fn name_masked(&self) -> String {
        name_masked(&self.name)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.id).field("active", &self.active).finish_non_exhaustive()
    }
}

/// A name for a screen that others can see: its first character and a star for each other one. Dots and spaces between the parts stay.
#[must_use]
pub fn name_masked(name: &str) -> String {
    let mask = |(index, c): (usize, char)| if index == 0 || search::separates(c) { c } else { '*' };
    name.chars().enumerate().map(mask).collect()
}

/// What is wrong with a name, in words; it is kept as it is written, whatever characters it has.
#[must_use]
pub fn name_fault(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("is empty".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("has {} bytes; at most {NAME_BYTES_MAX} are allowed", name.len()));
    }
    if name.contains('\u{fffd}') {
        return Some("has a character that was lost in a conversion; look at the file it came from".to_owned());
    }
    name.chars().any(char::is_control).then(|| "has a control character".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> BusinessDay {
        text.parse().unwrap()
    }

    fn member() -> Member {
        Member {
            id: MemberId::new(7).unwrap(),
            number: "8800017".parse().unwrap(),
            name: "张三".to_owned(),
            pinyin: vec!["zhang san".to_owned()],
            tier: Some(TierCode::new("金卡").unwrap()),
            tier_valid_from: Some(day("2026-01-01")),
            tier_valid_to: Some(day("2026-12-31")),
            birthday: Some("05-17".parse().unwrap()),
            segments: Vec::new(),
            phone_hash: None,
            phone_masked: "138****5678".to_owned(),
            active: true,
        }
    }

    #[test]
    fn a_tier_counts_only_within_its_days() {
        let check = |member: &Member, on: &str, tier: Option<&str>| {
            assert_eq!(member.tier_on(day(on)).as_ref().map(TierCode::as_str), tier, "{on}")
        };
        check(&member(), "2025-12-31", None);
        check(&member(), "2026-01-01", Some("金卡"));
        check(&member(), "2026-12-31", Some("金卡"));
        check(&member(), "2027-01-01", None);
        let open = Member { tier_valid_from: None, tier_valid_to: None, ..member() };
        check(&open, "2099-01-01", Some("金卡"));
        check(&Member { active: false, ..open.clone() }, "2026-06-01", None);
        check(&Member { tier: None, ..open }, "2026-06-01", None);
    }

    #[test]
    fn the_birthday_month_is_that_of_the_business_day() {
        assert!(member().birthday_month_on(day("2026-05-31")) && !member().birthday_month_on(day("2026-06-01")));
        assert!(!Member { birthday: None, ..member() }.birthday_month_on(day("2026-05-17")));
    }

    #[test]
    fn nothing_of_the_person_is_in_the_debug_text() {
        let text = format!("{:?}", member());
        assert_eq!(text, "Member { id: MemberId(7), active: true, .. }");
    }

    #[test]
    fn a_name_is_masked_but_for_its_first_character_and_its_dots() {
        let check = |name: &str, masked: &str| assert_eq!(name_masked(name), masked);
        check("张三", "张*");
        check("王㛃", "王*");
        check("𠮷野家", "𠮷**");
        check("买买提·艾力", "买**·**");
        check("John Smith", "J*** *****");
        check("", "");
    }

    #[test]
    fn a_name_is_kept_unless_it_cannot_be_one() {
        for good in ["张㛃", "𠮷", "买买提·艾力", "O'Neill"] {
            assert_eq!(name_fault(good), None, "{good}");
        }
        assert_eq!(name_fault(" ").unwrap(), "is empty");
        assert!(name_fault("张\u{fffd}").unwrap().contains("lost in a conversion"));
        assert!(name_fault("张\u{7}").unwrap().contains("control"));
        assert!(name_fault(&"张".repeat(61)).unwrap().contains("183 bytes"));
    }
}
