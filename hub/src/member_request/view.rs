//! Requests as whoever decides sees them: names in full where one is decided upon, phones and cards masked, and a birthday without its year.

use huitong_protocol::id::{EntryId, StoreId};
use huitong_protocol::member::{MemberNumber, Phone};
use huitong_protocol::time::Instant;
use serde::Serialize;

use super::{ReviewError, open_change, open_form};
use crate::store::member::{self, Record};
use crate::store::member_request::{self as rows, Asked, Request, Word};
use crate::store::{StoreError, Tx};

/// A field as it is and as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Wanted {
    /// Which.
    pub field: &'static str,
    /// As it is; empty where there is none.
    pub now: String,
    /// As it should be.
    pub wanted: String,
}

/// A request as whoever decides sees it. Phones and cards are masked, and a birthday has no year.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RequestView {
    /// Its number.
    pub number: i64,
    /// `enrolment` or `change`.
    pub kind: &'static str,
    /// `waiting`, `reviewed`, `accepted` or `refused`.
    pub state: &'static str,
    /// The store that asks.
    pub store: StoreId,
    /// The entry that asks.
    pub entry: EntryId,
    /// When, by the store's clock.
    pub asked_at_ms: Instant,
    /// The member: of a change, or whom an enrolment has become or should be merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberNumber>,
    /// The name, masked.
    pub name: String,
    /// The phone, masked.
    pub phone: String,
    /// The card that becomes theirs, masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The version of the terms to which they consented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// Why a change is asked for, as the store says, when the form was opened.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the second approval does.
    pub proposal: String,
    /// The fields, when the form was opened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<Wanted>,
    /// Why the form cannot be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// The first person's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<Word>,
    /// The last word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<Word>,
}

/// Requests after a number, oldest first: those that somebody must look at, or all.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>, is_all: bool, after: i64, limit: usize) -> Result<Vec<RequestView>, StoreError> {
    let requests = rows::page(tx, is_all, after, limit)?;
    requests.into_iter().map(|request| view(tx, &request)).collect()
}

/// A request with its form opened.
///
/// # Errors
/// [`ReviewError::Unknown`].
pub fn show(tx: &mut Tx<'_>, number: i64) -> Result<RequestView, ReviewError> {
    let request = rows::find(tx, number)?.ok_or(ReviewError::Unknown(number))?;
    let mut seen = view(tx, &request)?;
    let before = match request.member {
        Some(id) => member::find_by_id(tx, id)?,
        None => None,
    };
    let now = before.as_ref().map(shown).unwrap_or_default();
    let wanted = match &request.asked {
        Asked::Enrolment { .. } => open_form(tx, &request)?.map(|person| {
            let phone = person.phone.as_deref().and_then(|phone| Phone::new(phone).ok());
            [
                Some(person.name),
                phone.map(|phone| phone.masked()),
                person.birthday.map(|day| day.without_year().to_string()),
            ]
        }),
        Asked::Change { .. } => open_change(tx, &request)?.map(|change| {
            seen.reason = change.reason;
            let phone = change.phone.as_deref().and_then(|phone| Phone::new(phone).ok());
            [change.name, phone.map(|phone| phone.masked()), change.birthday.map(|day| day.without_year().to_string())]
        }),
    };
    match wanted {
        Ok(wanted) => {
            let fields = ["name", "phone", "birthday"].into_iter().zip(now).zip(wanted);
            seen.wanted = fields
                .filter_map(|((field, now), wanted)| wanted.map(|wanted| Wanted { field, now, wanted }))
                .collect();
        }
        Err(why) => seen.unreadable = Some(why),
    }
    Ok(seen)
}

/// Name, phone and birthday as they may be shown.
fn shown(record: &Record) -> [String; 3] {
    let birthday = record.member.birthday.map(|day| day.without_year().to_string()).unwrap_or_default();
    [record.member.name.clone(), record.member.phone_masked.clone(), birthday]
}

fn view(tx: &mut Tx<'_>, request: &Request) -> Result<RequestView, StoreError> {
    let member = match request.member {
        Some(id) => member::find_by_id(tx, id)?.map(|record| record.member),
        None => None,
    };
    let number = member.as_ref().map(|member| member.number);
    let of = number.map_or_else(|| "a member that is not there".to_owned(), |number| format!("member {number}"));
    let (reviewed, decided) = request.state.words();
    let (reviewed, decided) = (reviewed.cloned(), decided.cloned());
    let (kind, name, phone, card, consent, proposal) = match &request.asked {
        Asked::Enrolment { name_masked, phone_masked, card, consent, .. } => {
            let proposal = if member.is_some() { format!("merge into {of}") } else { "make a member".to_owned() };
            let (name, phone) = (name_masked.clone(), phone_masked.clone());
            let card = card.map(|card| card.to_string());
            ("enrolment", name, phone, card, Some(consent.version.clone()), proposal)
        }
        Asked::Change { fields } => {
            let proposal = format!("change {} of {of}", fields.join(", "));
            let name = member.as_ref().map(|member| member.name_masked()).unwrap_or_default();
            let phone = member.map(|member| member.phone_masked).unwrap_or_default();
            ("change", name, phone, None, None, proposal)
        }
    };
    Ok(RequestView {
        number: request.number,
        kind,
        state: request.state.as_str(),
        store: request.entry.store,
        entry: request.entry,
        asked_at_ms: request.asked_at_ms,
        member: number,
        name,
        phone,
        card,
        consent,
        reason: String::new(),
        proposal,
        wanted: Vec::new(),
        unreadable: None,
        reviewed,
        decided,
    })
}
