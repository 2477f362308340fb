//! Members: the store's replica of the master, found by number, phone or card with one indexed read, and by words for the desk.
//!
//! Invariant: the rows of `member_word` are the words of the record; both change in one transaction.

use huitong_protocol::card::{Card, CardNumber};
use huitong_protocol::id::{Hash, MemberId};
use huitong_protocol::member::{
    MEMBER_CARDS_MAX, Member, MemberKeys, MemberNumber, Phone, PhoneKey, SEARCH_RESULTS_MAX, SealingKey,
    WORDS_PER_MEMBER_MAX, fold, prefix_end, search_keys,
};
use rusqlite::Row;

use super::{ReadTx, StoreError, WriteTx, card, cell, setting};

/// The setting that holds the key of the phone hashes, in hex. It is in no log and no answer.
const PHONE_KEY: &str = "members.phone_key";
/// The setting that holds the key to which forms are sealed, in hex.
const SEALING_KEY: &str = "members.sealing_key";

const BY_ID: &str = "SELECT record FROM member WHERE member = ?1";
const BY_NUMBER: &str = "SELECT record FROM member WHERE number = ?1";
const BY_PHONE: &str = "SELECT record FROM member WHERE phone_hash = ?1 ORDER BY active DESC, member LIMIT 1";
const BY_CARD: &str =
    "SELECT member.record FROM card JOIN member ON member.member = card.member WHERE card.number = ?1";
const CARDS_OF: &str = "SELECT number FROM card WHERE member = ?1 ORDER BY number LIMIT ?2";
const ACTIVE_BY_PHONE: &str = "SELECT 1 FROM member WHERE phone_hash = ?1 AND active = 1 LIMIT 1";
const ALL_BY_PHONE: &str = "SELECT member FROM member WHERE phone_hash = ?1 ORDER BY active DESC, member LIMIT ?2";
const ALL_BY_NUMBER: &str = "SELECT member FROM member WHERE number >= ?1 AND number < ?2 ORDER BY number LIMIT ?3";
const ALL_BY_WORD: &str =
    "SELECT member FROM member_word WHERE word >= ?1 AND word < ?2 ORDER BY word, member LIMIT ?3";
const ALL_BY_CARD: &str =
    "SELECT member FROM card WHERE substr(number, length(number) - 3) = ?1 AND member IS NOT NULL LIMIT ?2";

fn read(row: &Row<'_>) -> Result<Member, StoreError> {
    let record: String = cell(row, 0)?;
    // What serde says of a bad value repeats the value; the record is a person's.
    serde_json::from_str(&record).map_err(|error| StoreError::Value {
        table: "member",
        column: "record",
        fault: format!("cannot be read at column {} of the record", error.column()),
    })
}

/// The member with the hub's number.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not a member.
pub fn find(tx: &ReadTx<'_>, id: MemberId) -> Result<Option<Member>, StoreError> {
    tx.one("read a member", BY_ID, [id.get()], read)
}

/// The member with a number.
///
/// # Errors
/// As [`find`].
pub fn find_by_number(tx: &ReadTx<'_>, number: &MemberNumber) -> Result<Option<Member>, StoreError> {
    tx.one("read a member by number", BY_NUMBER, [number.as_str()], read)
}

/// The member with a phone; of several, one whose membership is in force.
///
/// # Errors
/// As [`find`].
pub fn find_by_phone(tx: &ReadTx<'_>, phone: &Phone) -> Result<Option<Member>, StoreError> {
    let Some(key) = phone_key(tx)? else { return Ok(None) };
    tx.one("read a member by phone", BY_PHONE, [key.hash(phone).0], read)
}

/// Whether a member in force has a phone.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn is_phone_of_active(tx: &ReadTx<'_>, phone_hash: &Hash) -> Result<bool, StoreError> {
    let found = tx.one("look for a phone", ACTIVE_BY_PHONE, [&phone_hash.0[..]], |row| cell::<i64>(row, 0))?;
    Ok(found.is_some())
}

/// The member that a card belongs to.
///
/// # Errors
/// As [`find`].
pub fn find_by_card(tx: &ReadTx<'_>, number: CardNumber) -> Result<Option<Member>, StoreError> {
    tx.one("read a member by card", BY_CARD, [number.reveal()], read)
}

/// The cards of a member, by number, at most [`MEMBER_CARDS_MAX`].
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn cards(tx: &ReadTx<'_>, member: MemberId) -> Result<Vec<Card>, StoreError> {
    let numbers: Vec<CardNumber> =
        tx.all("read a member's cards", CARDS_OF, (member.get(), rows(MEMBER_CARDS_MAX)), |row| {
            super::parsed(row, 0, "card", "number")
        })?;
    numbers.into_iter().filter_map(|number| card::find(tx, number).transpose()).collect()
}

/// Members that a question finds: by whole phone, by what number, name, reading or initials begin with, by the last four digits of phone or card. At most
/// one more than [`SEARCH_RESULTS_MAX`], so that the caller can say that there are more.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn search(tx: &ReadTx<'_>, question: &str) -> Result<Vec<Member>, StoreError> {
    let (number, word) = (question.trim(), fold(question));
    if word.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids: Vec<i64> = Vec::new();
    // Each question reads at most so many rows of one index; one member may have several words of a range, and none is missed with so many.
    let most = rows((SEARCH_RESULTS_MAX + 1) * WORDS_PER_MEMBER_MAX);
    let mut take = |id: i64| {
        if !ids.contains(&id) {
            ids.push(id);
        }
    };
    if let (Ok(phone), Some(key)) = (Phone::new(question), phone_key(tx)?) {
        tx.all("find members by phone", ALL_BY_PHONE, (key.hash(&phone).0, most), |row| cell(row, 0))?
            .into_iter()
            .for_each(&mut take);
    }
    tx.all("find members by number", ALL_BY_NUMBER, (number, prefix_end(number), most), |row| cell(row, 0))?
        .into_iter()
        .for_each(&mut take);
    tx.all("find members by word", ALL_BY_WORD, (&word, prefix_end(&word), most), |row| cell(row, 0))?
        .into_iter()
        .for_each(&mut take);
    if word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()) {
        tx.all("find members by card", ALL_BY_CARD, (&word, most), |row| cell(row, 0))?.into_iter().for_each(&mut take);
    }
    ids.truncate(SEARCH_RESULTS_MAX + 1);
    ids.into_iter().filter_map(|id| tx.one("read a member", BY_ID, [id], read).transpose()).collect()
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Takes a member as head office has it.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put(tx: &mut WriteTx<'_>, member: &Member) -> Result<(), StoreError> {
    let before = find(tx, member.id)?;
    let record = serde_json::to_string(member)
        .map_err(|error| StoreError::Rule { operation: "write a member", fault: error.to_string() })?;
    tx.execute_one(
        "write a member",
        "INSERT INTO member (member, number, phone_hash, active, record) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (member) DO UPDATE SET number = excluded.number, phone_hash = excluded.phone_hash, active = excluded.active,
           record = excluded.record",
        (member.id.get(), member.number.as_str(), member.phone_hash.map(|hash: Hash| hash.0), member.active, record),
    )?;
    let (old, new) = (before.as_ref().map(search_keys).unwrap_or_default(), search_keys(member));
    for word in old.iter().filter(|word| !new.contains(word)) {
        tx.execute(
            "forget a member's word",
            "DELETE FROM member_word WHERE word = ?1 AND member = ?2",
            (word, member.id.get()),
        )?;
    }
    for word in new.iter().filter(|word| !old.contains(word)) {
        tx.execute(
            "write a member's word",
            "INSERT INTO member_word (word, member) VALUES (?1, ?2) ON CONFLICT (word, member) DO NOTHING",
            (word, member.id.get()),
        )?;
    }
    Ok(())
}

/// Keeps the key of the phone hashes.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put_phone_key(tx: &mut WriteTx<'_>, key: &PhoneKey) -> Result<(), StoreError> {
    setting::put(tx, PHONE_KEY, &data_encoding::HEXLOWER.encode(key.reveal()))
}

/// Keeps the keys with which people are taken down.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put_keys(tx: &mut WriteTx<'_>, keys: &MemberKeys) -> Result<(), StoreError> {
    put_phone_key(tx, &keys.phone)?;
    setting::put(tx, SEALING_KEY, &data_encoding::HEXLOWER.encode(keys.sealing.bytes()))
}

/// The keys with which people are taken down; a store that was enrolled has them.
///
/// # Errors
/// [`StoreError`] of the engine, or a setting that is no key.
pub fn keys(tx: &ReadTx<'_>) -> Result<Option<MemberKeys>, StoreError> {
    let (Some(phone), Some(hex)) = (phone_key(tx)?, setting::get(tx, SEALING_KEY)?) else { return Ok(None) };
    let bad = |fault: String| StoreError::Value { table: "setting", column: "value", fault };
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes());
    let bytes = bytes.map_err(|_| bad("the sealing key is no key".to_owned()))?;
    Ok(Some(MemberKeys { phone, sealing: SealingKey::from_slice(&bytes).map_err(bad)? }))
}

/// The hash under which this store finds a phone; nothing before it has the key.
///
/// # Errors
/// [`StoreError`] of the engine, or a setting that is no key.
pub fn phone_hash(tx: &ReadTx<'_>, phone: &Phone) -> Result<Option<Hash>, StoreError> {
    Ok(phone_key(tx)?.map(|key| key.hash(phone)))
}

fn phone_key(tx: &ReadTx<'_>) -> Result<Option<PhoneKey>, StoreError> {
    let Some(hex) = setting::get(tx, PHONE_KEY)? else { return Ok(None) };
    let bad = || StoreError::Value { table: "setting", column: "value", fault: "the phone key is no key".to_owned() };
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).map_err(|_| bad())?;
    PhoneKey::from_slice(&bytes).map(Some).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::open_store;

    /// A store has a million members: what reads all of them to find one is late at the till.
    #[test]
    fn no_look_up_reads_more_than_a_range_of_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_store(folder.path());
        let all = [
            BY_ID,
            BY_NUMBER,
            BY_PHONE,
            BY_CARD,
            CARDS_OF,
            ACTIVE_BY_PHONE,
            ALL_BY_PHONE,
            ALL_BY_NUMBER,
            ALL_BY_WORD,
            ALL_BY_CARD,
        ];
        for sql in all {
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let steps = store.read(|tx| {
                let mut steps = Vec::new();
                let mut statement = tx.connection().prepare(&explain).map_err(StoreError::during("explain"))?;
                let mut rows = statement.raw_query();
                while let Some(row) = rows.next().map_err(StoreError::during("explain"))? {
                    steps.push(cell::<String>(row, 3)?);
                }
                Ok::<_, StoreError>(steps)
            });
            let steps = steps.unwrap();
            let bounded = |step: &String| step.starts_with("SEARCH") || step.contains("LAST TERM OF ORDER BY");
            // Only what one phone has is ever sorted.
            let sorted = |step: &String| sql.contains("phone_hash") && step.contains("TEMP B-TREE");
            assert!(!steps.is_empty() && steps.iter().all(|step| bounded(step) || sorted(step)), "{sql}: {steps:?}");
        }
    }
}
