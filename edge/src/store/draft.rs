//! Drafts: people who were enrolled at this store and whom head office has not made members yet. Masked texts and what look-ups ask for; the form itself
//! is sealed in the journal.
//!
//! Invariant: a draft that head office has decided upon is found by its id alone; its phone is the member's then, or nobody's. The card of one that was
//! accepted stays promised to that member until it is sold; that of one that was refused, and one that is given back, is nobody's.

use huitong_protocol::card::CardNumber;
use huitong_protocol::entry::MemberEnrolled;
use huitong_protocol::id::{Hash, MemberId};
use huitong_protocol::ledger::Promise;
use huitong_protocol::member::{Birthday, DraftId, DraftOutcome, DraftState};
use rusqlite::Row;

use super::{ReadTx, StoreError, WriteTx, cell, maybe_parsed, parsed};

/// A draft as the store has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// Its id.
    pub id: DraftId,
    /// The name, masked.
    pub name_masked: String,
    /// The phone, masked.
    pub phone_masked: String,
    /// Month and day of birth.
    pub birthday: Option<Birthday>,
    /// The card that becomes theirs.
    pub card: Option<CardNumber>,
    /// What head office has said.
    pub state: DraftState,
    /// The member that it has become.
    pub member: Option<MemberId>,
}

const COLUMNS: &str = "draft, name_masked, phone_masked, birthday, card, state, member";

fn read(row: &Row<'_>) -> Result<Draft, StoreError> {
    let bad = |column: &'static str, fault: String| StoreError::Value { table: "member_draft", column, fault };
    let id: Vec<u8> = cell(row, 0)?;
    let id = uuid::Uuid::from_slice(&id).map_err(|why| bad("draft", why.to_string()))?;
    let member: Option<i64> = cell(row, 6)?;
    Ok(Draft {
        id: DraftId(huitong_protocol::id::OperationId(id)),
        name_masked: cell(row, 1)?,
        phone_masked: cell(row, 2)?,
        birthday: maybe_parsed(row, 3, "member_draft", "birthday")?,
        card: maybe_parsed(row, 4, "member_draft", "card")?,
        state: parsed(row, 5, "member_draft", "state")?,
        member: member.map(MemberId::new).transpose().map_err(|why| bad("member", why.to_string()))?,
    })
}

fn bytes(id: &DraftId) -> &[u8] {
    id.0.0.as_bytes()
}

/// A draft by its id.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not a draft.
pub fn find(tx: &ReadTx<'_>, id: &DraftId) -> Result<Option<Draft>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM member_draft WHERE draft = ?1");
    tx.one("read a draft", &sql, [bytes(id)], read)
}

/// The waiting draft with a phone.
///
/// # Errors
/// As [`find`].
pub fn find_by_phone(tx: &ReadTx<'_>, phone_hash: &Hash) -> Result<Option<Draft>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM member_draft WHERE phone_hash = ?1 LIMIT 1");
    tx.one("read a draft by phone", &sql, [&phone_hash.0[..]], read)
}

/// The waiting draft with a card.
///
/// # Errors
/// As [`find`].
pub fn find_by_card(tx: &ReadTx<'_>, card: CardNumber) -> Result<Option<Draft>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM member_draft WHERE card = ?1 AND state = 'waiting' LIMIT 1");
    tx.one("read a draft by card", &sql, [card.reveal()], read)
}

/// For whom a card is kept that is not sold yet.
///
/// # Errors
/// As [`find`].
pub fn promise(tx: &ReadTx<'_>, card: CardNumber) -> Result<Option<Promise>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM member_draft WHERE card = ?1 LIMIT 1");
    let draft = tx.one("read for whom a card is kept", &sql, [card.reveal()], read)?;
    Ok(draft.map(|draft| Promise { draft: draft.id, member: draft.member }))
}

/// Lets a card go that was promised: its sale was undone.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn release_card(tx: &mut WriteTx<'_>, card: CardNumber) -> Result<(), StoreError> {
    tx.execute("let a card go", "UPDATE member_draft SET card = NULL WHERE card = ?1", [card.reveal()]).map(drop)
}

/// Keeps a new draft. `birthday` is that of the form; only month and day stay here.
///
/// # Errors
/// [`StoreError`] of the engine; also when the draft is known.
pub fn insert(tx: &mut WriteTx<'_>, enrolled: &MemberEnrolled, birthday: Option<Birthday>) -> Result<(), StoreError> {
    let birthday = birthday.map(|birthday| birthday.without_year().to_string());
    tx.execute_one(
        "keep a draft",
        "INSERT INTO member_draft (draft, name_masked, phone_masked, birthday, phone_hash, card, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'waiting')",
        (
            bytes(&enrolled.draft),
            &enrolled.name_masked,
            &enrolled.phone_masked,
            birthday,
            enrolled.phone_hash.map(|hash| hash.0),
            enrolled.card.as_ref().map(CardNumber::reveal),
        ),
    )
}

/// Takes what head office decided. A draft of another store is none of this one's.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn decide(tx: &mut WriteTx<'_>, outcome: &DraftOutcome) -> Result<(), StoreError> {
    let state = if outcome.member.is_some() { DraftState::Accepted } else { DraftState::Refused };
    tx.execute(
        "end a draft",
        "UPDATE member_draft SET state = ?2, member = ?3, name_masked = '', phone_masked = '', birthday = NULL, phone_hash = NULL,
             card = CASE WHEN ?3 IS NULL THEN NULL ELSE card END
         WHERE draft = ?1",
        (bytes(&outcome.draft), state.as_str(), outcome.member.map(MemberId::get)),
    )
    .map(drop)
}
