//! Member requests: what stores ask head office about members. An enrolment whose phone nobody has becomes a member as it comes in; what would make a
//! second member of somebody, and every change, waits for two people.
//!
//! Forms are opened here and nowhere else, to be written into the master or shown to whoever decides. Nothing that a store took down is lost: a form that
//! cannot be opened, and one that was refused, stay as they came. Invariants: a draft becomes at most one member, and a member is changed for a store only
//! after a first and a second person have approved it.

mod card_of;
mod view;

use huitong_protocol::entry::{Header, MemberChangeRequested, MemberEnrolled};
use huitong_protocol::id::{EntryId, MemberId};
use huitong_protocol::member::{MemberNumber, Person, PersonChange, Phone, PhoneKey, name_fault, reason_fault};
use huitong_protocol::reconcile::{Class, Evidence, Finding};
use huitong_protocol::time::Instant;

use crate::actor::{Actor, HUB};
use crate::exception::close_about;
use crate::note::{self, NoteFault};
use crate::store::exception::{self, Resolution};
use crate::store::member::{self, Record};
use crate::store::member_request::{self as rows, Asked, Request, State, Word};
use crate::store::{StoreError, Tx, organisation, phone_key, sealing_key};

pub use card_of::{sale_undone, sold};
pub use view::{RequestView, Wanted, list, show};

/// Where the numbers of new members begin, which have nine digits more.
const NUMBERS_BEGIN: &str = "9";
/// The last of those nine digits.
const NUMBER_LAST: i64 = 999_999_999;

/// Why a request was not decided.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// No such request.
    #[error("there is no request {0}\n  hint: huitong-hub member review list --all")]
    Unknown(i64),
    /// A note that says nothing, or too much.
    #[error("note: {0}")]
    Note(#[from] NoteFault),
    /// It cannot be decided so.
    #[error("request {number} {fault}\n  hint: {hint}")]
    State {
        /// Which.
        number: i64,
        /// Why not.
        fault: String,
        /// What to do.
        hint: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn subject(number: i64) -> String {
    format!("member request {number}")
}

/// Takes an enrolment in, in the transaction that takes its entry. Whoever is nobody's double becomes a member at once. What cannot be done waits for two
/// people, with an exception: one enrolment must not hold up its store's journal.
///
/// # Errors
/// [`StoreError`].
pub fn take_enrolment(
    tx: &mut Tx<'_>,
    (number, id): (i64, EntryId),
    header: &Header,
    enrolled: &MemberEnrolled,
    now: Instant,
) -> Result<(), StoreError> {
    // The same draft twice is one operation with two entries, which has its exception.
    if !rows::insert_enrolment(tx, number, id, header, enrolled)? {
        return Ok(());
    }
    let judged = tx.attempt(|tx| accept_if_clear(tx, number, enrolled, now))?;
    let (class, words) = match judged {
        Ok(None) => return Ok(()),
        Ok(Some(found)) => found,
        Err(why) => (Class::LeftUndone, why),
    };
    let evidence = Evidence::default().and(words).entry(id);
    exception::raise(tx, &Finding { class, store: Some(id.store), subject: subject(number), evidence }, now).map(drop)
}

/// Makes a member of an enrolment, or gives what is in the way.
fn accept_if_clear(
    tx: &mut Tx<'_>,
    number: i64,
    enrolled: &MemberEnrolled,
    now: Instant,
) -> Result<Option<(Class, String)>, StoreError> {
    let Some(mut request) = rows::find(tx, number)? else { return Ok(None) };
    let key = phone_key::get(tx)?;
    let person = match open_person(tx, &key, &request, enrolled)? {
        Ok(person) => person,
        Err(why) => return Ok(Some((Class::MemberUnreadable, why))),
    };
    if let Some(double) = double_of(tx, &key, &person)? {
        request.member = Some(double.member.id);
        rows::put(tx, &request)?;
        let words = format!("member {} has the phone {}", double.member.number, enrolled.phone_masked);
        return Ok(Some((Class::MemberConflict, words)));
    }
    let word = Word { by: HUB.to_owned(), at_ms: now, note: String::new() };
    let left_out = accept_enrolment(tx, &key, &mut request, &person, None, (None, word))?;
    Ok(left_out.map(|words| (Class::MemberConflict, words)))
}

/// Takes a change in, in the transaction that takes its entry.
///
/// # Errors
/// [`StoreError`].
pub fn take_change(
    tx: &mut Tx<'_>,
    (number, id): (i64, EntryId),
    header: &Header,
    requested: &MemberChangeRequested,
) -> Result<(), StoreError> {
    rows::insert_change(tx, number, id, header, requested)
}

/// Opens the form of an enrolment, or says why it cannot be used.
fn open_person(
    tx: &mut Tx<'_>,
    key: &PhoneKey,
    request: &Request,
    enrolled: &MemberEnrolled,
) -> Result<Result<Person, String>, StoreError> {
    let person = match open_form(tx, request)? {
        Ok(person) => person,
        Err(why) => return Ok(Err(why)),
    };
    let phone = person.phone.as_deref().and_then(|phone| Phone::new(phone).ok());
    if phone.map(|phone| key.hash(&phone)) != enrolled.phone_hash {
        return Ok(Err("the phone on the form is not the one whose hash the entry has".to_owned()));
    }
    Ok(Ok(person))
}

fn open_form(tx: &mut Tx<'_>, request: &Request) -> Result<Result<Person, String>, StoreError> {
    let Asked::Enrolment { draft, .. } = &request.asked else { return Ok(Err("it is no enrolment".to_owned())) };
    let person = match sealing_key::get(tx)?.open::<Person>(&request.sealed) {
        Ok(person) => person,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let fault = match () {
        () if person.draft != *draft => Some("the form is of another draft".to_owned()),
        () if person.phone.as_deref().is_some_and(|phone| Phone::new(phone).is_err()) => {
            Some("the form has a phone that is none".to_owned())
        }
        () => name_fault(&person.name).map(|fault| format!("the name on the form {fault}")),
    };
    Ok(fault.map_or(Ok(person), Err))
}

/// The member in force who has the phone of a form.
fn double_of(tx: &mut Tx<'_>, key: &PhoneKey, person: &Person) -> Result<Option<Record>, StoreError> {
    match person.phone.as_deref().and_then(|phone| Phone::new(phone).ok()) {
        Some(phone) => member::active_with_phone(tx, &key.hash(&phone)),
        None => Ok(None),
    }
}

/// Makes a member of a form, or adds it to one that is there. Gives in words what of it could not be done.
fn accept_enrolment(
    tx: &mut Tx<'_>,
    key: &PhoneKey,
    request: &mut Request,
    person: &Person,
    into: Option<Record>,
    (first, last): (Option<Word>, Word),
) -> Result<Option<String>, StoreError> {
    let id = match into {
        Some(before) => {
            // Who was there stays as head office has them; what was not known is added.
            let mut now = before.clone();
            now.member.birthday = before.member.birthday.or(person.birthday);
            member::write(tx, key, Some(&before), &now)?;
            before.member.id
        }
        None => make_member(tx, key, person)?,
    };
    if let Some(document) = &person.document {
        rows::keep_document(tx, id, &document.kind, &document.number)?;
    }
    let left_out = card_of::give(tx, request, id)?;
    (request.member, request.state) = (Some(id), State::Accepted(first, last));
    rows::put(tx, request)?;
    Ok(left_out)
}

fn make_member(tx: &mut Tx<'_>, key: &PhoneKey, person: &Person) -> Result<MemberId, StoreError> {
    let number = free_number(tx)?;
    let phone = person.phone.as_deref().and_then(|phone| Phone::new(phone).ok());
    let member = huitong_protocol::member::Member {
        id: MemberId::FIRST,
        number,
        name: person.name.clone(),
        pinyin: Vec::new(),
        tier: None,
        tier_valid_from: None,
        tier_valid_to: None,
        birthday: person.birthday,
        segments: Vec::new(),
        phone_hash: None,
        phone_masked: String::new(),
        active: true,
    };
    member::write(tx, key, None, &Record { member, phone })?;
    let made = member::find(tx, &number)?;
    made.map(|made| made.member.id).ok_or(StoreError::Rows {
        operation: "make a member",
        table: "member",
        rows: 0,
        expected: 1,
    })
}

/// A number that nobody has: 9 and nine digits, from the hub's own count on. Imported numbers may lie where new ones would.
fn free_number(tx: &mut Tx<'_>) -> Result<MemberNumber, StoreError> {
    let fault = |fault: String| StoreError::Rule { operation: "number a new member", fault };
    let next = organisation::peek_member(tx)?;
    let free = match next {
        ..=NUMBER_LAST => member::free_number(tx, &format!("{NUMBERS_BEGIN}{next:09}"))?,
        _ => None,
    };
    let Some(free) = free else {
        return Err(fault(format!("of the numbers {NUMBERS_BEGIN} and nine digits none is free from {next} on")));
    };
    MemberNumber::new(&free).map_err(|why| fault(why.to_string()))
}

/// Opens the form of a change, or says why it cannot be used.
fn open_change(tx: &mut Tx<'_>, request: &Request) -> Result<Result<PersonChange, String>, StoreError> {
    let change = match sealing_key::get(tx)?.open::<PersonChange>(&request.sealed) {
        Ok(change) => change,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let fault = match () {
        () if Some(change.member) != request.member => Some("the form is of another member".to_owned()),
        () if change.phone.as_deref().is_some_and(|phone| Phone::new(phone).is_err()) => {
            Some("the form has a phone that is none".to_owned())
        }
        () => (change.name.as_deref().and_then(name_fault).map(|fault| format!("the name on the form {fault}")))
            .or_else(|| reason_fault(&change.reason).map(|fault| format!("the reason on the form {fault}"))),
    };
    Ok(fault.map_or(Ok(change), Err))
}

/// The request after an approval; or why it waits anew, which must be kept while the approval is refused.
pub type Approval = Result<RequestView, ReviewError>;

/// Approves a request. The first person's approval passes it on; a second person's does it. Two people approve the same thing: when somebody else than was
/// shown has the phone by now, the request waits for both of them again.
///
/// # Errors
/// [`ReviewError`]; nothing changed then.
pub fn approve(tx: &mut Tx<'_>, actor: &Actor, number: i64, note: &str, now: Instant) -> Result<Approval, ReviewError> {
    let note = note::optional(note)?;
    let mut request = rows::find(tx, number)?.ok_or(ReviewError::Unknown(number))?;
    let word = Word { by: actor.name().to_owned(), at_ms: now, note: note.to_owned() };
    let is_decision = match &request.state {
        State::Waiting => true,
        State::Reviewed(first) => !actor.is(&first.by),
        State::Accepted(..) | State::Refused(..) => false,
    };
    if is_decision && let Some(fault) = look_again_at_double(tx, &mut request)? {
        actor.did(tx, "member.review", &number.to_string(), &format!("not approved: {fault}"), now)?;
        return Ok(Err(ReviewError::State { number, fault, hint: "look at it again; then two people approve it" }));
    }
    match request.state.clone() {
        State::Waiting => {
            // What cannot be done is said to the first person, not only to the second.
            rehearse(tx, &request)?;
            request.state = State::Reviewed(word);
            rows::put(tx, &request)?;
            actor.did(tx, "member.review", &number.to_string(), note, now)?;
        }
        // Asked again after a lost answer.
        State::Reviewed(first) if actor.is(&first.by) && first.note == note => {}
        State::Reviewed(first) if actor.is(&first.by) => {
            let fault = format!("was reviewed by {}", first.by);
            return Err(ReviewError::State { number, fault, hint: "a second person must approve it" });
        }
        State::Reviewed(first) => {
            carry_out(tx, &mut request, first, word)?;
            actor.did(tx, "member.approve", &number.to_string(), note, now)?;
            settle_exceptions(tx, number, actor, note, now)?;
        }
        State::Accepted(_, last) if actor.is(&last.by) => {}
        State::Accepted(_, last) | State::Refused(_, last) => return Err(decided(&request, &last)),
    }
    show(tx, number).map(Ok)
}

/// Keeps who has the phone of an enrolment now, and has the request wait for two people, when that is not who was shown. Gives it in words then.
fn look_again_at_double(tx: &mut Tx<'_>, request: &mut Request) -> Result<Option<String>, StoreError> {
    if matches!(request.asked, Asked::Change { .. }) {
        return Ok(None);
    }
    // Whoever approves a form that cannot be opened is told so.
    let Ok(person) = open_form(tx, request)? else { return Ok(None) };
    let key = phone_key::get(tx)?;
    let now = double_of(tx, &key, &person)?.map(|double| double.member);
    let is_same = now.as_ref().map(|member| member.id) == request.member;
    if is_same {
        return Ok(None);
    }
    (request.member, request.state) = (now.as_ref().map(|member| member.id), State::Waiting);
    rows::put(tx, request)?;
    Ok(Some(match now {
        Some(now) => format!("would be merged into member {} now, who has the phone since", now.number),
        None => "would make a new member now: whom it was to be merged into has the phone no more".to_owned(),
    }))
}

/// Refuses a request. The store is told; what it took down stays in its journal.
///
/// # Errors
/// [`ReviewError`]; nothing changed then.
pub fn refuse(
    tx: &mut Tx<'_>,
    actor: &Actor,
    number: i64,
    note: &str,
    now: Instant,
) -> Result<RequestView, ReviewError> {
    let note = note::needed(note)?;
    let mut request = rows::find(tx, number)?.ok_or(ReviewError::Unknown(number))?;
    let word = Word { by: actor.name().to_owned(), at_ms: now, note: note.to_owned() };
    let first = match request.state.clone() {
        State::Waiting => None,
        State::Reviewed(first) => Some(first),
        State::Refused(_, last) if actor.is(&last.by) && last.note == note => return show(tx, number),
        State::Accepted(_, last) | State::Refused(_, last) => return Err(decided(&request, &last)),
    };
    request.state = State::Refused(first, word);
    rows::put(tx, &request)?;
    actor.did(tx, "member.refuse", &number.to_string(), note, now)?;
    settle_exceptions(tx, number, actor, note, now)?;
    show(tx, number)
}

fn decided(request: &Request, last: &Word) -> ReviewError {
    let fault = format!("was {} by {} at {}", request.state.as_str(), last.by, last.at_ms);
    ReviewError::State { number: request.number, fault, hint: "a request is decided once; ask for another change" }
}

fn impossible(number: i64, fault: String) -> ReviewError {
    ReviewError::State { number, fault, hint: "refuse it with the reason, and have the store ask again" }
}

/// Says why a request cannot be done as it stands.
fn rehearse(tx: &mut Tx<'_>, request: &Request) -> Result<(), ReviewError> {
    match &request.asked {
        Asked::Enrolment { .. } => {
            open_form(tx, request)?.map_err(|why| impossible(request.number, format!("cannot be opened: {why}")))?;
        }
        Asked::Change { .. } => {
            changed(tx, request)?;
        }
    }
    Ok(())
}

fn carry_out(tx: &mut Tx<'_>, request: &mut Request, first: Word, last: Word) -> Result<(), ReviewError> {
    let (key, number, now) = (phone_key::get(tx)?, request.number, last.at_ms);
    match &request.asked {
        Asked::Enrolment { .. } => {
            let person = open_form(tx, request)?;
            let person = person.map_err(|why| impossible(number, format!("cannot be opened: {why}")))?;
            // Whom both have seen: `approve` has looked again.
            let into = double_of(tx, &key, &person)?;
            let accepted = tx.attempt(|tx| accept_enrolment(tx, &key, request, &person, into, (Some(first), last)))?;
            if let Some(words) = accepted.map_err(|why| impossible(number, format!("cannot be done: {why}")))? {
                let evidence = Evidence::default().and(words).entry(request.entry);
                let subject = format!("card of member request {number}");
                let finding =
                    Finding { class: Class::MemberConflict, store: Some(request.entry.store), subject, evidence };
                exception::raise(tx, &finding, now)?;
            }
        }
        Asked::Change { .. } => {
            let (before, after) = changed(tx, request)?;
            member::write(tx, &key, Some(&before), &after)?;
            request.state = State::Accepted(Some(first), last);
            rows::put(tx, request)?;
        }
    }
    Ok(())
}

/// A member before and after a change.
fn changed(tx: &mut Tx<'_>, request: &Request) -> Result<(Record, Record), ReviewError> {
    let number = request.number;
    let key = phone_key::get(tx)?;
    let change = open_change(tx, request)?.map_err(|why| impossible(number, format!("cannot be opened: {why}")))?;
    let Some(before) = member::find_by_id(tx, change.member)? else {
        return Err(impossible(number, "is of a member that is not there".to_owned()));
    };
    let mut after = before.clone();
    if let Some(name) = change.name {
        after.member.name = name;
    }
    if let Some(phone) = change.phone.as_deref().and_then(|phone| Phone::new(phone).ok()) {
        let other = member::active_with_phone(tx, &key.hash(&phone))?;
        if let Some(other) = other.filter(|other| other.member.id != before.member.id && before.member.active) {
            let fault = format!("asks for the phone {phone}, which is that of member {}", other.member.number);
            return Err(impossible(number, fault));
        }
        after.phone = Some(phone);
    }
    after.member.birthday = change.birthday.or(before.member.birthday);
    Ok((before, after))
}

/// The exceptions about a request end with it.
fn settle_exceptions(tx: &mut Tx<'_>, number: i64, actor: &Actor, note: &str, now: Instant) -> Result<(), StoreError> {
    for class in [Class::MemberConflict, Class::MemberUnreadable, Class::LeftUndone] {
        close_about(tx, class, &subject(number), Resolution::Corrected, (actor.name(), note), now)?;
    }
    Ok(())
}
