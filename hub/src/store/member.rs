//! Member rows: the master of members as head office writes, finds and lists them. Pages for stores are `dataset`'s.
//!
//! Invariants: an unchanged row keeps its version; readings, phone hash, masked phone and the rows of `member_word` follow from the row's own name and
//! phone. Nothing here puts a name or a phone into an error.

use huitong_protocol::card::Card;
use huitong_protocol::id::{Hash, IdError, MemberId, SegmentCode, TierCode};
use huitong_protocol::member::{
    MEMBER_CARDS_MAX, Member, MemberNumber, Phone, PhoneKey, SEARCH_RESULTS_MAX, WORDS_PER_MEMBER_MAX, fold,
    prefix_end, search_keys,
};
use huitong_protocol::wire::DatasetKind;

use super::dataset::{self, CARD_COLUMNS, read_card};
use super::engine::{Row, StoreError, Tx, Value};
use super::organisation;
use crate::import::Written;
use crate::pinyin;

/// The columns of a member, in the order of [`read_member`].
pub(super) const MEMBER_COLUMNS: &str = "member_id, number, name, pinyin, tier, tier_valid_from, tier_valid_to, birthday, segments, phone_hash, \
     phone_masked, active, phone";
/// How many they are: the position of the column after them.
pub(super) const MEMBER_COLUMNS_COUNT: usize = 13;
/// Between readings and between segments.
const SEPARATOR: char = ';';

/// A member as head office has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What stores get of it, with the year of birth.
    pub member: Member,
    /// The phone.
    pub phone: Option<Phone>,
}

impl Record {
    /// What stores get: least data.
    #[must_use]
    pub fn for_stores(self) -> Member {
        let birthday = self.member.birthday.map(huitong_protocol::member::Birthday::without_year);
        Member { birthday, ..self.member }
    }
}

/// The parts of a column that holds several.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR).filter(|part| !part.is_empty())
}

/// Reads a member from its columns.
///
/// # Errors
/// [`StoreError::Value`], which names the row by the hub's number.
pub(super) fn read_member(row: &Row<'_>) -> Result<Record, StoreError> {
    let number = row.integer(0)?;
    let invalid = |column: &'static str, fault: String| StoreError::Value {
        table: "member",
        column,
        row: number.to_string(),
        fault,
    };
    let phone_hash = row.maybe_bytes(9)?.map(Hash::from_slice).transpose();
    let phone = row.maybe_text(12)?.map(Phone::new).transpose();
    let birthday = row.maybe_text(7)?.map(huitong_protocol::member::Birthday::new).transpose();
    let member = Member {
        id: MemberId::new(number).map_err(|why| invalid("member_id", why.to_string()))?,
        number: MemberNumber::new(row.text(1)?).map_err(|why| invalid("number", why.to_string()))?,
        name: row.text(2)?.to_owned(),
        pinyin: parts(row.text(3)?).map(str::to_owned).collect(),
        tier: match row.text(4)? {
            "" => None,
            tier => Some(TierCode::new(tier).map_err(|why| invalid("tier", why.to_string()))?),
        },
        tier_valid_from: row.maybe_parsed(5, "member", "tier_valid_from")?,
        tier_valid_to: row.maybe_parsed(6, "member", "tier_valid_to")?,
        birthday: birthday.map_err(|why: IdError| invalid("birthday", why.to_string()))?,
        segments: parts(row.text(8)?)
            .map(SegmentCode::new)
            .collect::<Result<_, _>>()
            .map_err(|why| invalid("segments", why.to_string()))?,
        phone_hash: phone_hash.map_err(|why| invalid("phone_hash", why.to_string()))?,
        phone_masked: row.text(10)?.to_owned(),
        active: row.integer(11)? == 1,
    };
    Ok(Record { member, phone: phone.map_err(|why| invalid("phone", why.to_string()))? })
}

/// The member with a number.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, number: &MemberNumber) -> Result<Option<Record>, StoreError> {
    let sql = format!("SELECT {MEMBER_COLUMNS} FROM member WHERE number = $1");
    tx.query_one(&sql, &[number.as_str().into()], read_member)
}

/// The hub's number of the member with a number; a text that is none has no member.
///
/// # Errors
/// [`StoreError`].
pub fn id_of(tx: &mut Tx<'_>, number: &str) -> Result<Option<MemberId>, StoreError> {
    let Ok(number) = MemberNumber::new(number) else { return Ok(None) };
    Ok(find(tx, &number)?.map(|record| record.member.id))
}

/// The member with the hub's number.
///
/// # Errors
/// [`StoreError`].
pub fn find_by_id(tx: &mut Tx<'_>, id: MemberId) -> Result<Option<Record>, StoreError> {
    let sql = format!("SELECT {MEMBER_COLUMNS} FROM member WHERE member_id = $1");
    tx.query_one(&sql, &[id.into()], read_member)
}

/// The first number from one on that nobody has: all of these have as many digits as `first`. Nothing when none of them is left.
///
/// # Errors
/// [`StoreError`].
pub fn free_number(tx: &mut Tx<'_>, first: &str) -> Result<Option<String>, StoreError> {
    // The first itself, or what follows the end of a row of taken ones: the index is read as far as that end.
    let found = tx.query_one(
        "SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM member WHERE number = $1) THEN $1 ELSE \
         (SELECT CAST(CAST(taken.number AS INTEGER) + 1 AS TEXT) FROM member AS taken \
         WHERE taken.number >= $1 AND length(taken.number) = length($1) AND taken.number NOT GLOB '*[^0-9]*' AND NOT EXISTS \
         (SELECT 1 FROM member AS next WHERE next.number = CAST(CAST(taken.number AS INTEGER) + 1 AS TEXT)) \
         ORDER BY taken.number LIMIT 1) END",
        &[first.into()],
        |row| Ok::<_, StoreError>(row.maybe_text(0)?.map(str::to_owned)),
    )?;
    Ok(found.flatten().filter(|number| number.len() == first.len()))
}

/// The member in force with a phone.
///
/// # Errors
/// [`StoreError`].
pub fn active_with_phone(tx: &mut Tx<'_>, phone_hash: &Hash) -> Result<Option<Record>, StoreError> {
    let sql =
        format!("SELECT {MEMBER_COLUMNS} FROM member WHERE phone_hash = $1 AND active = 1 ORDER BY member_id LIMIT 1");
    tx.query_one(&sql, &[phone_hash.into()], read_member)
}

/// The number of another active member with the same phone.
///
/// # Errors
/// [`StoreError`].
pub fn other_with_phone(tx: &mut Tx<'_>, phone_hash: &Hash, but: &MemberNumber) -> Result<Option<String>, StoreError> {
    tx.query_one(
        "SELECT number FROM member WHERE phone_hash = $1 AND active = 1 AND number <> $2 ORDER BY number LIMIT 1",
        &[phone_hash.into(), but.as_str().into()],
        |row| Ok(row.text(0)?.to_owned()),
    )
}

/// The cards of a member, by number, at most [`MEMBER_CARDS_MAX`].
///
/// # Errors
/// [`StoreError`].
pub fn cards(tx: &mut Tx<'_>, member: MemberId) -> Result<Vec<Card>, StoreError> {
    tx.query(
        &format!("SELECT {CARD_COLUMNS} FROM card WHERE member_id = $1 ORDER BY number LIMIT {MEMBER_CARDS_MAX}"),
        &[member.into()],
        read_card,
    )
}

/// Writes a member when new or changed; a new one gets its id from the hub. Of `now`, id, readings, hash and masked phone are not read but made.
///
/// # Errors
/// [`StoreError`].
pub fn write(tx: &mut Tx<'_>, key: &PhoneKey, before: Option<&Record>, now: &Record) -> Result<Written, StoreError> {
    let id = match before {
        Some(before) => before.member.id,
        None => organisation::next_member(tx)?,
    };
    let member = Member {
        id,
        pinyin: pinyin::readings(&now.member.name),
        phone_hash: now.phone.as_ref().map(|phone| key.hash(phone)),
        phone_masked: now.phone.as_ref().map(Phone::masked).unwrap_or_default(),
        ..now.member.clone()
    };
    let now = Record { member, phone: now.phone.clone() };
    if before == Some(&now) {
        return Ok(Written::Unchanged);
    }
    let version = dataset::advance(tx, DatasetKind::Members, 1)?;
    let Record { member, phone } = &now;
    let separator = SEPARATOR.to_string();
    let readings = member.pinyin.join(&separator);
    let segments = member.segments.iter().map(SegmentCode::as_str).collect::<Vec<_>>().join(&separator);
    let day = |day: Option<huitong_protocol::time::BusinessDay>| day.map(|day| day.to_string());
    let (from, to) = (day(member.tier_valid_from), day(member.tier_valid_to));
    let birthday = member.birthday.map(|birthday| birthday.to_string());
    let values: [Value<'_>; 14] = [
        id.into(),
        member.number.as_str().into(),
        (&member.name).into(),
        (&readings).into(),
        member.tier.as_ref().map_or("", TierCode::as_str).into(),
        from.as_deref().into(),
        to.as_deref().into(),
        birthday.as_deref().into(),
        (&segments).into(),
        member.phone_hash.as_ref().into(),
        (&member.phone_masked).into(),
        member.active.into(),
        phone.as_ref().map(Phone::reveal).into(),
        version.into(),
    ];
    tx.execute_one(
        "write a member",
        "member",
        &format!(
            "INSERT INTO member ({MEMBER_COLUMNS}, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT (member_id) DO UPDATE SET name = excluded.name, pinyin = excluded.pinyin, tier = excluded.tier,
               tier_valid_from = excluded.tier_valid_from, tier_valid_to = excluded.tier_valid_to, birthday = excluded.birthday,
               segments = excluded.segments, phone_hash = excluded.phone_hash, phone_masked = excluded.phone_masked,
               active = excluded.active, phone = excluded.phone, version = excluded.version"
        ),
        &values,
    )?;
    write_words(tx, id, before.map(|before| &before.member), member)?;
    Ok(if before.is_some() { Written::Changed } else { Written::New })
}

fn write_words(tx: &mut Tx<'_>, id: MemberId, before: Option<&Member>, now: &Member) -> Result<(), StoreError> {
    let (old, new) = (before.map(search_keys).unwrap_or_default(), search_keys(now));
    for word in old.iter().filter(|word| !new.contains(word)) {
        tx.execute("DELETE FROM member_word WHERE word = $1 AND member_id = $2", &[word.into(), id.into()])?;
    }
    for word in new.iter().filter(|word| !old.contains(word)) {
        tx.execute_one(
            "write a member's word",
            "member_word",
            "INSERT INTO member_word (word, member_id) VALUES ($1, $2)",
            &[word.into(), id.into()],
        )?;
    }
    Ok(())
}

/// Members that a question finds: by whole phone, by what number, name, reading or initials begin with, by the last four digits of phone or card. At most
/// one more than [`SEARCH_RESULTS_MAX`], so that the caller can say that there are more.
///
/// # Errors
/// [`StoreError`].
pub fn search(tx: &mut Tx<'_>, key: &PhoneKey, question: &str) -> Result<Vec<Record>, StoreError> {
    let mut ids: Vec<i64> = Vec::new();
    let number = question.trim();
    let word = fold(question);
    if word.is_empty() {
        return Ok(Vec::new());
    }
    let mut find = |tx: &mut Tx<'_>, sql: &str, values: &[Value<'_>]| -> Result<(), StoreError> {
        // One member may have several words of a range; with so many rows of it, none is missed.
        let sql = format!("{sql} LIMIT {}", (SEARCH_RESULTS_MAX + 1) * WORDS_PER_MEMBER_MAX);
        for id in tx.query(&sql, values, |row| row.integer(0))? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(())
    };
    if let Ok(phone) = Phone::new(question) {
        let sql = "SELECT member_id FROM member WHERE phone_hash = $1 ORDER BY active DESC, member_id";
        find(tx, sql, &[(&key.hash(&phone)).into()])?;
    }
    let (number_end, word_end) = (prefix_end(number), prefix_end(&word));
    let sql = "SELECT member_id FROM member WHERE number >= $1 AND number < $2 ORDER BY number";
    find(tx, sql, &[number.into(), (&number_end).into()])?;
    let sql = "SELECT member_id FROM member_word WHERE word >= $1 AND word < $2 ORDER BY word, member_id";
    find(tx, sql, &[(&word).into(), (&word_end).into()])?;
    if word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()) {
        let sql = "SELECT DISTINCT member_id FROM card WHERE substr(number, length(number) - 3) = $1 AND member_id IS NOT NULL ORDER BY member_id";
        find(tx, sql, &[(&word).into()])?;
    }
    ids.truncate(SEARCH_RESULTS_MAX + 1);
    let sql = format!("SELECT {MEMBER_COLUMNS} FROM member WHERE member_id = $1");
    ids.into_iter().filter_map(|id| tx.query_one(&sql, &[id.into()], read_member).transpose()).collect()
}
