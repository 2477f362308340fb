//! Members at the till and the desk: found by card, code, phone or number, and by words; enrolled, and changes asked for.
//!
//! A look-up authorises nothing: whoever knows a phone has found its member, and no more. Queries are read by hand, so that no problem and no log
//! repeats a phone or a name that was typed into the wrong place (R: I9).

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use huitong_protocol::card::CardNumber;
use huitong_protocol::member::{
    DraftId, DraftLook, FoundBy, Member, MemberFound, MemberLook, MemberNumber, MembersAsOf, MembersFound, Phone,
    SEARCH_BYTES_MAX, SEARCH_RESULTS_MAX, fold,
};
use huitong_protocol::till::Fault;
use huitong_protocol::time::BusinessDay;
use huitong_protocol::wire::DatasetKind;

use super::posted::{PathPart, answered, path_part};
use super::{Api, Code, Posted, Problem, Till};
use crate::store::draft::{self, Draft};
use crate::store::{ReadTx, StoreError, member, replica};

/// What a till may ask for a member by: one of these.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "describes a query that is read by hand, so that nothing repeats a phone")]
pub(super) struct LookQuery {
    /// The number of one of the member's cards.
    card: Option<String>,
    /// The text of the member's code, as it was scanned.
    qr: Option<String>,
    /// The phone.
    phone: Option<String>,
    /// The member's number.
    number: Option<String>,
    /// The draft's id: that of the operation that enrolled it.
    draft: Option<String>,
}

/// What a desk may ask for members by.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "describes a query that is read by hand, so that nothing repeats a name")]
pub(super) struct SearchQuery {
    /// What name, pinyin, initials or number begin with, or the last four digits of phone or card.
    q: String,
}

/// The fields of a query in their order, doubles included.
type Fields = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The one field of a query that has just one.
fn only(fields: &Fields) -> Option<(&str, &str)> {
    match fields.as_ref().ok()?.as_slice() {
        [(name, text)] => Some((name, text)),
        _ => None,
    }
}

/// What a till knows of somebody.
enum Question {
    Card(CardNumber),
    Qr(MemberNumber),
    Phone(Phone),
    Number(MemberNumber),
    Draft(DraftId),
}

impl Question {
    fn read(fields: &Fields) -> Result<Self, Problem> {
        let one = || {
            Problem::new(
                Code::Malformed,
                "ask with exactly one of card, qr, phone, number or draft, like /v1/members?card=NUMBER; write a + as %2B",
            )
        };
        let Some((name, text)) = only(fields) else { return Err(one()) };
        // The text itself is in no problem: it is a person's.
        let fault =
            |field: &'static str, what: &dyn std::fmt::Display| Problem::field(Fault::new(field, what.to_string()));
        match name {
            "card" => CardNumber::new(text).map(Self::Card).map_err(|why| fault("card", &why)),
            "qr" => MemberNumber::from_qr(text).map(Self::Qr).map_err(|why| fault("qr", &why)),
            "phone" => Phone::new(text).map(Self::Phone).map_err(|why| fault("phone", &why)),
            "number" => MemberNumber::new(text).map(Self::Number).map_err(|why| fault("number", &why)),
            "draft" => text.parse().map(Self::Draft).map_err(|why| fault("draft", &why)),
            _ => Err(one()),
        }
    }

    fn find(&self, tx: &ReadTx<'_>) -> Result<Option<Member>, StoreError> {
        match self {
            Self::Card(number) => member::find_by_card(tx, *number),
            Self::Phone(phone) => member::find_by_phone(tx, phone),
            Self::Qr(number) | Self::Number(number) => member::find_by_number(tx, number),
            Self::Draft(id) => match draft::find(tx, id)?.and_then(|draft| draft.member) {
                Some(member) => member::find(tx, member),
                None => Ok(None),
            },
        }
    }

    /// Somebody enrolled here, whom head office has not made a member yet.
    fn find_draft(&self, tx: &ReadTx<'_>) -> Result<Option<Draft>, StoreError> {
        match self {
            Self::Card(number) => draft::find_by_card(tx, *number),
            Self::Phone(phone) => match member::phone_hash(tx, phone)? {
                Some(hash) => draft::find_by_phone(tx, &hash),
                None => Ok(None),
            },
            Self::Draft(id) => draft::find(tx, id),
            Self::Qr(_) | Self::Number(_) => Ok(None),
        }
    }

    const fn found_by(&self) -> FoundBy {
        match self {
            Self::Card(_) => FoundBy::Card,
            Self::Qr(_) => FoundBy::Qr,
            Self::Phone(_) => FoundBy::Phone,
            Self::Number(_) => FoundBy::Number,
            Self::Draft(_) => FoundBy::Draft,
        }
    }

    const fn unknown(&self) -> &'static str {
        match self {
            Self::Card(_) => "no member has this card; look at the number again, or ask for phone or member number",
            Self::Qr(_) | Self::Number(_) => {
                "no member has this number; a new one is known when the store has downloaded it"
            }
            Self::Draft(_) => "nobody was enrolled at this store under this id",
            Self::Phone(_) => "no member has this phone; a new one is known when the store has downloaded it",
        }
    }
}

pub(super) async fn look(State(api): State<Api>, _till: Till, query: Fields) -> Result<Response, Problem> {
    let question = Question::read(&query)?;
    let committed = api.store().committed();
    let identity = committed.identity.as_ref().ok_or(StoreError::NotEnrolled)?;
    let today = committed.open_day.or_else(|| identity.business_day(api.clock().now()));
    let today =
        today.ok_or_else(|| Problem::new(Code::DayNotOpen, "the store's clock is outside the calendar; open a day"))?;
    let found = api.store().look(|tx| {
        if let Some(member) = question.find(tx)? {
            let cards = member::cards(tx, member.id)?;
            let mut look = MemberLook::of(&member, question.found_by(), today, &cards, as_of(tx)?);
            for (seen, card) in look.cards.iter_mut().zip(&cards) {
                seen.points = api.ledger().points_here(tx, card.account, today)?;
            }
            return Ok::<_, StoreError>(Some(Found::Member(Box::new(look))));
        }
        let draft = question.find_draft(tx)?;
        Ok(draft.map(|draft| Found::Draft(Box::new(look_at(draft, question.found_by(), today)))))
    })?;
    found.map(|found| Json(found).into_response()).ok_or_else(|| Problem::new(Code::MemberUnknown, question.unknown()))
}

/// Whom a question found: a member, or somebody who was enrolled here and is not one yet.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(super) enum Found {
    Member(Box<MemberLook>),
    Draft(Box<DraftLook>),
}

fn look_at(draft: Draft, found_by: FoundBy, today: BusinessDay) -> DraftLook {
    DraftLook {
        draft: draft.id,
        found_by,
        name: draft.name_masked,
        phone: draft.phone_masked,
        card: draft.card.map(|card| card.to_string()),
        birthday_month: draft.birthday.is_some_and(|birthday| birthday.month() == today.date().month()),
        state: draft.state,
    }
}

pub(super) async fn enrol(State(api): State<Api>, posted: Posted) -> Result<Response, Problem> {
    let answer = api.ledger().enrol_member(posted.call, &posted.json_private()?).await?;
    answered(answer, posted.language)
}

pub(super) async fn change(State(api): State<Api>, member: PathPart, posted: Posted) -> Result<Response, Problem> {
    let number: MemberNumber = path_part("member", member)?;
    match api.ledger().change_member(posted.call, &number, &posted.json_private()?).await? {
        Some(answer) => answered(answer, posted.language),
        None => Err(Problem::new(Code::MemberUnknown, Question::Number(number).unknown())),
    }
}

pub(super) async fn search(State(api): State<Api>, _till: Till, query: Fields) -> Result<Response, Problem> {
    let Some(("q", question)) = only(&query) else {
        return Err(Problem::new(Code::Malformed, "ask with q alone, like /v1/members/search?q=zs"));
    };
    if question.len() > SEARCH_BYTES_MAX {
        let length = question.len();
        return Err(Problem::field(Fault::new(
            "q",
            format!("has {length} bytes; at most {SEARCH_BYTES_MAX} are allowed"),
        )));
    }
    if fold(question).is_empty() {
        return Err(Problem::field(Fault::new(
            "q",
            "is empty; give the beginning of a name, its pinyin, initials or number",
        )));
    }
    let found = api.store().look(|tx| {
        let mut members = member::search(tx, question)?;
        let more = members.len() > SEARCH_RESULTS_MAX;
        members.truncate(SEARCH_RESULTS_MAX);
        Ok::<_, StoreError>(MembersFound {
            members: members.iter().map(MemberFound::of).collect(),
            more,
            as_of: as_of(tx)?,
        })
    })?;
    Ok(Json(found).into_response())
}

fn as_of(tx: &ReadTx<'_>) -> Result<MembersAsOf, StoreError> {
    Ok(MembersAsOf {
        members: replica::version(tx, DatasetKind::Members)?,
        cards: replica::version(tx, DatasetKind::Cards)?,
    })
}
