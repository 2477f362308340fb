//! Enrolment and change: what a store takes down of a person, and how it travels.
//!
//! A store may enrol somebody while the line is down. Until head office has made the member, the person is a draft at that store. What was written on the
//! form is sealed to head office's key before it is stored anywhere: the journal holds the sealed bytes, masked texts and the keyed hash of the phone, so
//! that neither the store nor a backup can read back what was collected. Sealing and opening are the callers'; the key is a value here. Invariant: `Debug`
//! of a form shows nothing of the person, and no fault repeats what was typed (R: I9).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Birthday, DocumentKind, IdentityNumber, Phone, PhoneKey, name_fault, name_masked};
use crate::bundle::KeyId;
use crate::card::CardNumber;
use crate::id::{Hash, IdError, MemberId, OperationId, OperatorId};
use crate::till::{Fault, TEXT_BYTES_MAX};
use crate::time::Instant;

/// The longest name of a version of the terms that somebody consented to.
const CONSENT_BYTES_MAX: usize = 40;
/// How far ahead of the store's clock a till's may be.
const CLOCK_AHEAD_MS_MAX: i64 = 5 * 60_000;

/// Somebody who was enrolled at a store and whom head office has not made a member yet: the id of the operation that enrolled them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct DraftId(pub OperationId);

impl fmt::Display for DraftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for DraftId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

/// The public half of the key that head office opens forms with: X25519, 32 bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealingKey(#[serde(with = "serde_bytes")] Vec<u8>);

impl SealingKey {
    /// Takes a public key.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes.to_vec())
    }

    /// Takes a public key as it stands in a database or came over the wire.
    ///
    /// # Errors
    /// How many bytes it has.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, String> {
        let length = bytes.len();
        <[u8; 32]>::try_from(bytes).map(Self::new).map_err(|_| format!("a sealing key of {length} bytes; it has 32"))
    }

    /// The bytes; a message that was tampered with may hold another number than 32.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its name, by which head office finds the other half.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

/// What stores need to take somebody down: they get it with their enrolment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberKeys {
    /// Under which phones are hashed.
    pub phone: PhoneKey,
    /// To which forms are sealed.
    pub sealing: SealingKey,
}

/// Bytes that only head office can open.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The key that they are sealed to.
    pub key: KeyId,
    /// An anonymous sealed box (X25519, XSalsa20-Poly1305).
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key", &self.key).field("bytes", &self.bytes.len()).finish()
    }
}

/// To what somebody consented, and when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The version of the terms that were shown.
    pub version: String,
    /// When they agreed.
    pub given_at_ms: Instant,
}

/// A document as somebody showed it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// `resident_card`, `passport`, `hong_kong_macao_permit`, `taiwan_permit` or `other`.
    pub kind: String,
    /// Its number.
    pub number: String,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").finish_non_exhaustive()
    }
}

/// What is sealed of a new member, and opened by head office: checked, and written in the one way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Whose it is: a box cannot be put under another draft.
    pub draft: DraftId,
    /// The name.
    pub name: String,
    /// The phone, as E.164 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The birthday, with its year where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birthday: Option<Birthday>,
    /// The document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person").field("draft", &self.draft).finish_non_exhaustive()
    }
}

/// Enrol somebody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolMember {
    /// The name as the person writes it.
    pub name: String,
    /// The phone; without one a card.
    #[serde(default)]
    pub phone: Option<String>,
    /// `05-17`, or `1990-05-17`.
    #[serde(default)]
    pub birthday: Option<String>,
    /// The document, where the programme asks for one.
    #[serde(default)]
    pub document: Option<Document>,
    /// The card that becomes theirs.
    #[serde(default)]
    pub card: Option<CardNumber>,
    /// To what they consented.
    pub consent: Consent,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

impl fmt::Debug for EnrolMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolMember").field("consent", &self.consent).finish_non_exhaustive()
    }
}

/// A form that was read: what is sealed, and what the store may keep of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Form {
    /// To be sealed.
    pub person: Person,
    /// The phone, for its hash and its mask.
    pub phone: Option<Phone>,
}

impl Form {
    /// The name for a screen that others can see.
    #[must_use]
    pub fn name_masked(&self) -> String {
        name_masked(&self.person.name)
    }

    /// The phone for people, empty without one.
    #[must_use]
    pub fn phone_masked(&self) -> String {
        self.phone.as_ref().map(Phone::masked).unwrap_or_default()
    }

    /// The hash by which the phone is found.
    #[must_use]
    pub fn phone_hash(&self, key: &PhoneKey) -> Option<Hash> {
        self.phone.as_ref().map(|phone| key.hash(phone))
    }
}

impl EnrolMember {
    /// Reads every field of the form, and normalises it. Whether the moment of the consent can be is [`Self::check_consent`]'s to say: an operation that was
    /// done stays done when clocks are set.
    ///
    /// # Errors
    /// The first [`Fault`]; it never repeats what was typed.
    pub fn read(&self, draft: DraftId) -> Result<Form, Fault> {
        let name = read_name(&self.name)?;
        let phone = self.phone.as_deref().map(read_phone).transpose()?;
        let birthday = self.birthday.as_deref().map(read_birthday).transpose()?;
        let document = self.document.as_ref().map(read_document).transpose()?;
        if phone.is_none() && self.card.is_none() {
            return Err(Fault::new(
                "phone",
                "is missing, and so is a card: without one of them nobody finds the member",
            ));
        }
        let version = self.consent.version.trim();
        if version.is_empty() || version.len() > CONSENT_BYTES_MAX || version.chars().any(char::is_control) {
            let fault = format!("is no version of the terms: say in 1 to {CONSENT_BYTES_MAX} bytes which were shown");
            return Err(Fault::new("consent.version", fault));
        }
        if self.consent.given_at_ms.ms() <= 0 {
            return Err(Fault::new("consent.given_at_ms", "is no moment; say when they agreed, in milliseconds"));
        }
        let sealed_phone = phone.as_ref().map(|phone| phone.reveal().to_owned());
        Ok(Form { person: Person { draft, name, phone: sealed_phone, birthday, document }, phone })
    }

    /// Checks that they had agreed when the store was asked. `now` is the store's clock, which may be the one that is wrong.
    ///
    /// # Errors
    /// A [`Fault`] with both clocks.
    pub fn check_consent(&self, now: Instant) -> Result<(), Fault> {
        let given = self.consent.given_at_ms;
        if given <= now.plus_ms(CLOCK_AHEAD_MS_MAX) {
            return Ok(());
        }
        let fault = format!(
            "is {given} by the till's clock, and the store's says {now}: nobody is enrolled who has not agreed; set the clock that is wrong"
        );
        Err(Fault::new("consent.given_at_ms", fault))
    }
}

/// What may be changed of a person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonField {
    /// The name.
    Name,
    /// The phone.
    Phone,
    /// The birthday.
    Birthday,
}

impl PersonField {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Phone => "phone",
            Self::Birthday => "birthday",
        }
    }
}

/// What is sealed of a change: the fields that should be so from now on, and why. People write names and illnesses into reasons.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonChange {
    /// Whose it is: a box cannot be put under another member.
    pub member: MemberId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new phone, as E.164 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The new birthday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birthday: Option<Birthday>,
    /// Why, as the operator wrote it, for whoever decides.
    pub reason: String,
}

impl fmt::Debug for PersonChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonChange").field("member", &self.member).finish_non_exhaustive()
    }
}

impl PersonChange {
    /// Which fields it names, in their order.
    #[must_use]
    pub fn fields(&self) -> Vec<PersonField> {
        [
            (self.name.is_some(), PersonField::Name),
            (self.phone.is_some(), PersonField::Phone),
            (self.birthday.is_some(), PersonField::Birthday),
        ]
        .into_iter()
        .filter_map(|(is_named, field)| is_named.then_some(field))
        .collect()
    }
}

/// Ask head office to change a member. What is left out stays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMember {
    /// The new name.
    #[serde(default)]
    pub name: Option<String>,
    /// The new phone.
    #[serde(default)]
    pub phone: Option<String>,
    /// The new birthday.
    #[serde(default)]
    pub birthday: Option<String>,
    /// Why, for whoever decides.
    pub reason: String,
    /// Who stands at the till.
    #[serde(default)]
    pub operator: Option<OperatorId>,
    /// The till's own count.
    #[serde(default)]
    pub terminal_seq: Option<u64>,
}

impl fmt::Debug for ChangeMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeMember").finish_non_exhaustive()
    }
}

impl ChangeMember {
    /// Reads every field, and normalises it.
    ///
    /// # Errors
    /// The first [`Fault`]; it never repeats what was typed.
    pub fn read(&self, member: MemberId) -> Result<PersonChange, Fault> {
        let phone = self.phone.as_deref().map(read_phone).transpose()?;
        let change = PersonChange {
            member,
            name: self.name.as_deref().map(read_name).transpose()?,
            phone: phone.map(|phone| phone.reveal().to_owned()),
            birthday: self.birthday.as_deref().map(read_birthday).transpose()?,
            reason: self.reason.trim().to_owned(),
        };
        if change.fields().is_empty() {
            return Err(Fault::new("name", "is missing, and so are phone and birthday: say what should change"));
        }
        match reason_fault(&change.reason) {
            Some(fault) => Err(Fault::new("reason", fault)),
            None => Ok(change),
        }
    }
}

/// What is wrong with a reason. It never repeats what was written.
#[must_use]
pub fn reason_fault(reason: &str) -> Option<String> {
    if reason.trim().is_empty() {
        return Some("is empty; say in a few words why".to_owned());
    }
    let is_plain = reason.len() <= TEXT_BYTES_MAX && !reason.chars().any(char::is_control);
    (!is_plain).then(|| format!("is not plain text of at most {TEXT_BYTES_MAX} bytes"))
}

fn read_name(text: &str) -> Result<String, Fault> {
    match name_fault(text) {
        Some(fault) => Err(Fault::new("name", fault)),
        None => Ok(text.trim().to_owned()),
    }
}

fn read_phone(text: &str) -> Result<Phone, Fault> {
    Phone::new(text).map_err(|why| Fault::new("phone", why.to_string()))
}

fn read_birthday(text: &str) -> Result<Birthday, Fault> {
    Birthday::new(text).map_err(|why| Fault::new("birthday", why.to_string()))
}

fn read_document(document: &Document) -> Result<Document, Fault> {
    let kind: DocumentKind =
        document.kind.parse().map_err(|why: IdError| Fault::new("document.kind", why.to_string()))?;
    let number =
        IdentityNumber::new(kind, &document.number).map_err(|why| Fault::new("document.number", why.to_string()))?;
    Ok(Document { kind: kind.as_str().to_owned(), number: number.reveal().to_owned() })
}

/// What became of a draft. Stores hear of it as of any other row; only the one that made it knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftOutcome {
    /// Which.
    pub draft: DraftId,
    /// The member that it is from now on; none when head office refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
}

/// A draft as a till sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DraftLook {
    /// Its id: that of the operation that enrolled it.
    pub draft: DraftId,
    /// By what the till asked.
    pub found_by: super::FoundBy,
    /// The name, masked.
    pub name: String,
    /// The phone, masked; empty without one.
    pub phone: String,
    /// The card that becomes theirs, masked. A sale names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Whether it is the month of the birthday.
    pub birthday_month: bool,
    /// What head office has said.
    pub state: DraftState,
}

/// Where a draft is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DraftState {
    /// Head office has not said anything.
    Waiting,
    /// It is a member.
    Accepted,
    /// Head office has refused it.
    Refused,
}

impl DraftState {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
        }
    }
}

impl std::str::FromStr for DraftState {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        [Self::Waiting, Self::Accepted, Self::Refused]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(IdError::Form { expected: "a state of a draft: waiting, accepted or refused" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_795_312_800_000);

    fn draft() -> DraftId {
        "01900000-0000-7000-8000-000000000001".parse().unwrap()
    }

    fn form() -> EnrolMember {
        EnrolMember {
            name: " 买买提·艾力 ".to_owned(),
            phone: Some("+86 138-0013-5678".to_owned()),
            birthday: Some("1990-05-17".to_owned()),
            document: Some(Document { kind: "resident_card".to_owned(), number: " 11010519491231002x".to_owned() }),
            card: None,
            consent: Consent { version: "2026-1".to_owned(), given_at_ms: NOW },
            operator: None,
            terminal_seq: None,
        }
    }

    #[test]
    fn a_form_is_written_in_the_one_way() {
        let read = form().read(draft()).unwrap();
        assert_eq!((read.name_masked().as_str(), read.phone_masked().as_str()), ("买**·**", "138****5678"));
        let Person { name, phone, document, .. } = &read.person;
        assert_eq!((name.as_str(), phone.as_deref()), ("买买提·艾力", Some("+8613800135678")));
        assert_eq!(document.as_ref().map(|document| document.number.as_str()), Some("11010519491231002X"));
        let key = PhoneKey::new([7; 32]);
        assert_eq!(read.phone_hash(&key), Some(key.hash(&Phone::new("13800135678").unwrap())));
    }

    #[test]
    fn every_bad_field_is_named_and_not_repeated() {
        let check = |form: EnrolMember, field: &str, typed: &str| {
            let fault = form.read(draft()).unwrap_err();
            assert_eq!(fault.field, field, "{fault}");
            assert!(typed.is_empty() || !fault.to_string().contains(typed), "{fault}");
        };
        check(EnrolMember { name: " ".to_owned(), ..form() }, "name", "");
        check(EnrolMember { name: "张\u{7}三".to_owned(), ..form() }, "name", "张");
        check(EnrolMember { phone: Some("1380013567".to_owned()), ..form() }, "phone", "1380013567");
        check(EnrolMember { birthday: Some("1990-13-17".to_owned()), ..form() }, "birthday", "13-17");
        let document = |kind: &str, number: &str| Some(Document { kind: kind.to_owned(), number: number.to_owned() });
        check(EnrolMember { document: document("licence", "1"), ..form() }, "document.kind", "");
        let wrong = "110105194912310021";
        check(EnrolMember { document: document("resident_card", wrong), ..form() }, "document.number", wrong);
        check(EnrolMember { phone: None, card: None, ..form() }, "phone", "");
        let consent = |version: &str, at: i64| Consent { version: version.to_owned(), given_at_ms: Instant(at) };
        check(EnrolMember { consent: consent("", NOW.ms()), ..form() }, "consent.version", "");
        check(EnrolMember { consent: consent("1", 0), ..form() }, "consent.given_at_ms", "");
        let ahead = EnrolMember { consent: consent("1", NOW.ms() + 3_600_000), ..form() };
        let fault = ahead.check_consent(NOW).unwrap_err();
        let clocks = [Instant(NOW.ms() + 3_600_000), NOW].map(|clock| clock.to_string());
        assert_eq!(fault.field, "consent.given_at_ms");
        assert!(clocks.iter().all(|clock| fault.to_string().contains(clock)), "both clocks: {fault}");
        assert_eq!(form().check_consent(NOW), Ok(()));
    }

    #[test]
    fn a_change_says_what_changes_and_why() {
        let member = MemberId::FIRST;
        let none = ChangeMember {
            name: None,
            phone: None,
            birthday: None,
            reason: "marriage".to_owned(),
            operator: None,
            terminal_seq: None,
        };
        assert_eq!(none.read(member).unwrap_err().field, "name");
        let named =
            ChangeMember { name: Some("王三".to_owned()), phone: Some("13900000001".to_owned()), ..none.clone() };
        let read = named.read(member).unwrap();
        assert_eq!((read.fields(), read.reason.as_str()), (vec![PersonField::Name, PersonField::Phone], "marriage"));
        assert!(!format!("{named:?} {read:?}").contains("marriage"));
        assert_eq!(ChangeMember { reason: " ".to_owned(), ..named.clone() }.read(member).unwrap_err().field, "reason");
        assert_eq!(ChangeMember { phone: Some("12".to_owned()), ..named }.read(member).unwrap_err().field, "phone");
    }

    #[test]
    fn nothing_of_the_person_is_in_the_debug_text() {
        let (asked, read) = (form(), form().read(draft()).unwrap());
        let sealed = Sealed { key: KeyId::of(&[1; 32]), bytes: b"secret".to_vec() };
        let text = format!("{asked:?} {read:?} {sealed:?}");
        for person in ["买买提", "1380013", "1990", "110105", "secret"] {
            assert!(!text.contains(person), "{text}");
        }
    }
}
