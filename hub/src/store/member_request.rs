//! Rows of what stores ask about members: enrolments and changes, with who reviewed and who decided. The form stays sealed.
//!
//! Invariant: a decided enrolment has a version in the dataset of drafts, given in the transaction of its decision.

use huitong_protocol::card::CardNumber;
use huitong_protocol::entry::{Header, MemberChangeRequested, MemberEnrolled};
use huitong_protocol::id::{EntryId, Epoch, MemberId, OperationId, Seq};
use huitong_protocol::member::{Consent, DraftId, DraftOutcome, PersonField, Sealed};
use huitong_protocol::time::Instant;
use huitong_protocol::wire::DatasetKind;
use serde::Serialize;

use super::dataset;
use super::engine::{Row, StoreError, Tx};

/// What somebody said to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Word {
    /// Who.
    pub by: String,
    /// When.
    pub at_ms: Instant,
    /// With which words.
    pub note: String,
}

/// Where a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nobody has looked at it.
    Waiting,
    /// The first person has approved it.
    Reviewed(Word),
    /// It was done: by the hub itself, or by a second person.
    Accepted(Option<Word>, Word),
    /// It was not done.
    Refused(Option<Word>, Word),
}

impl State {
    /// The text form.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Reviewed(_) => "reviewed",
            Self::Accepted(..) => "accepted",
            Self::Refused(..) => "refused",
        }
    }

    /// What the first and what the last person said.
    #[must_use]
    pub const fn words(&self) -> (Option<&Word>, Option<&Word>) {
        match self {
            Self::Waiting => (None, None),
            Self::Reviewed(first) => (Some(first), None),
            Self::Accepted(first, last) | Self::Refused(first, last) => (first.as_ref(), Some(last)),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// That somebody becomes a member.
    Enrolment {
        /// The draft at the store.
        draft: DraftId,
        /// The name, masked.
        name_masked: String,
        /// The phone, masked.
        phone_masked: String,
        /// The card that becomes theirs: at once when it is in use, else when it is sold to them.
        card: Option<CardNumber>,
        /// To what they consented.
        consent: Consent,
    },
    /// That a member is changed.
    Change {
        /// What of them.
        fields: Vec<String>,
    },
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number, rising.
    pub number: i64,
    /// The entry that asks.
    pub entry: EntryId,
    /// When it was asked, by the store's clock.
    pub asked_at_ms: Instant,
    /// What.
    pub asked: Asked,
    /// Whom a change is of; whom an enrolment has become, or should be merged into.
    pub member: Option<MemberId>,
    /// The form.
    pub sealed: Sealed,
    /// Where it is.
    pub state: State,
}

const COLUMNS: &str = "request_no, kind, store_id, epoch, seq, asked_at_ms, draft, name_masked, phone_masked, card, consent_version, consent_at_ms, \
     fields, member_id, sealed_key, sealed, state, reviewed_by, reviewed_at_ms, reviewed_note, decided_by, decided_at_ms, decided_note";
/// Between fields.
const SEPARATOR: char = ';';

fn invalid(number: i64, column: &'static str, fault: impl ToString) -> StoreError {
    StoreError::Value { table: "member_request", column, row: number.to_string(), fault: fault.to_string() }
}

fn word(row: &Row<'_>, first: usize) -> Result<Option<Word>, StoreError> {
    let Some(by) = row.maybe_text(first)? else { return Ok(None) };
    let note = row.maybe_text(first + 2)?.unwrap_or_default().to_owned();
    Ok(Some(Word { by: by.to_owned(), at_ms: Instant(row.maybe_integer(first + 1)?.unwrap_or(0)), note }))
}

fn draft_of(number: i64, bytes: &[u8]) -> Result<DraftId, StoreError> {
    let id = uuid::Uuid::from_slice(bytes).map_err(|why| invalid(number, "draft", why))?;
    Ok(DraftId(OperationId(id)))
}

fn read(row: &Row<'_>) -> Result<Request, StoreError> {
    let number = row.integer(0)?;
    let (epoch, seq) = (row.integer(3)?, row.integer(4)?);
    let asked = match row.maybe_bytes(6)? {
        Some(draft) => Asked::Enrolment {
            draft: draft_of(number, draft)?,
            name_masked: row.text(7)?.to_owned(),
            phone_masked: row.text(8)?.to_owned(),
            card: row.maybe_text(9)?.map(CardNumber::new).transpose().map_err(|why| invalid(number, "card", why))?,
            consent: Consent {
                version: row.text(10)?.to_owned(),
                given_at_ms: Instant(row.maybe_integer(11)?.unwrap_or(0)),
            },
        },
        None => Asked::Change {
            fields: row.text(12)?.split(SEPARATOR).filter(|field| !field.is_empty()).map(str::to_owned).collect(),
        },
    };
    let (reviewed, decided) = (word(row, 17)?, word(row, 20)?);
    let state = match (row.text(16)?, reviewed, decided) {
        ("waiting", _, _) => State::Waiting,
        ("reviewed", Some(first), _) => State::Reviewed(first),
        ("accepted", first, Some(last)) => State::Accepted(first, last),
        ("refused", first, Some(last)) => State::Refused(first, last),
        (other, ..) => return Err(invalid(number, "state", format!("is {other} without the names that belong to it"))),
    };
    let member = row.maybe_integer(13)?.map(MemberId::new).transpose();
    let key = serde_json::from_value(row.text(14)?.into()).map_err(|why| invalid(number, "sealed_key", why))?;
    Ok(Request {
        number,
        entry: EntryId {
            store: row.parsed(2, "member_request", "store_id")?,
            epoch: Epoch(u32::try_from(epoch).map_err(|why| invalid(number, "epoch", why))?),
            seq: Seq(u64::try_from(seq).map_err(|why| invalid(number, "seq", why))?),
        },
        asked_at_ms: Instant(row.integer(5)?),
        asked,
        member: member.map_err(|why| invalid(number, "member_id", why))?,
        sealed: Sealed { key, bytes: row.bytes(15)?.to_vec() },
        state,
    })
}

/// Keeps an enrolment, waiting. Gives whether it is new: a draft is asked for once.
///
/// # Errors
/// [`StoreError`].
pub fn insert_enrolment(
    tx: &mut Tx<'_>,
    number: i64,
    id: EntryId,
    header: &Header,
    enrolled: &MemberEnrolled,
) -> Result<bool, StoreError> {
    let rows = tx.execute(
        "INSERT INTO member_request (request_no, kind, store_id, epoch, seq, asked_at_ms, draft, name_masked, phone_masked, card, consent_version, \
         consent_at_ms, fields, sealed_key, sealed, state) \
         VALUES ($1, 'enrolment', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', $12, $13, 'waiting') ON CONFLICT (draft) DO NOTHING",
        &[
            number.into(),
            (&id.store).into(),
            id.epoch.into(),
            id.seq.into(),
            header.at_ms.into(),
            enrolled.draft.0.0.as_bytes().as_slice().into(),
            (&enrolled.name_masked).into(),
            (&enrolled.phone_masked).into(),
            enrolled.card.as_ref().into(),
            (&enrolled.consent.version).into(),
            enrolled.consent.given_at_ms.into(),
            enrolled.sealed.key.as_str().into(),
            (&enrolled.sealed.bytes).into(),
        ],
    )?;
    Ok(rows == 1)
}

/// Keeps a change, waiting.
///
/// # Errors
/// [`StoreError`].
pub fn insert_change(
    tx: &mut Tx<'_>,
    number: i64,
    id: EntryId,
    header: &Header,
    requested: &MemberChangeRequested,
) -> Result<(), StoreError> {
    let fields: Vec<&str> = requested.fields.iter().map(|field: &PersonField| field.as_str()).collect();
    let fields = fields.join(&SEPARATOR.to_string());
    tx.execute_one(
        "keep a request",
        "member_request",
        "INSERT INTO member_request (request_no, kind, store_id, epoch, seq, asked_at_ms, name_masked, phone_masked, consent_version, fields, \
         member_id, sealed_key, sealed, state) VALUES ($1, 'change', $2, $3, $4, $5, '', '', '', $6, $7, $8, $9, 'waiting')",
        &[
            number.into(),
            (&id.store).into(),
            id.epoch.into(),
            id.seq.into(),
            header.at_ms.into(),
            (&fields).into(),
            requested.member.into(),
            requested.sealed.key.as_str().into(),
            (&requested.sealed.bytes).into(),
        ],
    )
}

/// A request by its number.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, number: i64) -> Result<Option<Request>, StoreError> {
    tx.query_one(&format!("SELECT {COLUMNS} FROM member_request WHERE request_no = $1"), &[number.into()], read)
}

/// The enrolment under a draft.
///
/// # Errors
/// [`StoreError`].
pub fn find_by_draft(tx: &mut Tx<'_>, draft: DraftId) -> Result<Option<Request>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM member_request WHERE draft = $1");
    tx.query_one(&sql, &[draft.0.0.as_bytes().as_slice().into()], read)
}

/// The accepted enrolments that name a card, the newest first.
///
/// # Errors
/// [`StoreError`].
pub fn accepted_with_card(tx: &mut Tx<'_>, card: CardNumber) -> Result<Vec<Request>, StoreError> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM member_request WHERE card = $1 AND state = 'accepted' ORDER BY request_no DESC"
        ),
        &[(&card).into()],
        read,
    )
}

/// Requests after a number, oldest first: those that somebody must look at, or all.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, is_all: bool, after: i64, limit: usize) -> Result<Vec<Request>, StoreError> {
    let open = if is_all { "" } else { "AND state IN ('waiting', 'reviewed')" };
    tx.query(
        &format!("SELECT {COLUMNS} FROM member_request WHERE request_no > $1 {open} ORDER BY request_no LIMIT $2"),
        &[after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        read,
    )
}

/// Writes where a request is, and whom it is about.
///
/// # Errors
/// [`StoreError`].
pub fn put(tx: &mut Tx<'_>, request: &Request) -> Result<(), StoreError> {
    let (first, last) = request.state.words();
    // Stores hear of every decided enrolment, each once.
    let version = match (&request.asked, last) {
        (Asked::Enrolment { .. }, Some(_)) => Some(dataset::advance(tx, DatasetKind::MemberDrafts, 1)?),
        _ => None,
    };
    tx.execute_one(
        "write a request",
        "member_request",
        "UPDATE member_request SET state = $2, member_id = $3, reviewed_by = $4, reviewed_at_ms = $5, reviewed_note = $6, decided_by = $7, \
         decided_at_ms = $8, decided_note = $9, version = $10 WHERE request_no = $1",
        &[
            request.number.into(),
            request.state.as_str().into(),
            request.member.into(),
            first.map(|word| word.by.as_str()).into(),
            first.map(|word| word.at_ms).into(),
            first.map(|word| word.note.as_str()).into(),
            last.map(|word| word.by.as_str()).into(),
            last.map(|word| word.at_ms).into(),
            last.map(|word| word.note.as_str()).into(),
            version.into(),
        ],
    )
}

/// Reads what stores are told of a decided enrolment: draft, member, state.
///
/// # Errors
/// [`StoreError`].
pub(super) fn read_outcome(row: &Row<'_>) -> Result<DraftOutcome, StoreError> {
    let number = 0;
    let member =
        row.maybe_integer(1)?.map(MemberId::new).transpose().map_err(|why| invalid(number, "member_id", why))?;
    let is_accepted = row.text(2)? == "accepted";
    Ok(DraftOutcome { draft: draft_of(number, row.bytes(0)?)?, member: member.filter(|_| is_accepted) })
}

/// Keeps the document that a member showed; the first one stays.
///
/// # Errors
/// [`StoreError`].
pub fn keep_document(tx: &mut Tx<'_>, member: MemberId, kind: &str, number: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO member_document (member_id, kind, number) VALUES ($1, $2, $3) ON CONFLICT (member_id) DO NOTHING",
        &[member.into(), kind.into(), number.into()],
    )
    .map(drop)
}
