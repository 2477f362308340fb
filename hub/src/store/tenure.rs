//! Tenure rows: every epoch that was minted for a store, and whether it is lived. What a hello means is `protocol::tenure`'s to say.
//!
//! Invariant: of a store at most one epoch is living; an epoch that was fenced stays so; how far one was heard only rises.

use huitong_protocol::allotment::rule::Sound;
use huitong_protocol::allotment::{Told, may_lower_pools};
use huitong_protocol::debt::is_read_again;
use huitong_protocol::id::{Epoch, Hash, Seq, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::reconcile::Reach;
use huitong_protocol::tenure::{Ratchet, Standing, Tenure};
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{DatasetKind, from_msgpack, to_msgpack};

use super::{Row, StoreError, Tx, dataset, journal, root};
use crate::knowledge::{Accounted, Word};

/// As many epochs of a store as a signature is tried against, the newest first: who speaks with an older key is a stranger.
const KEYS_MAX: i64 = 16;

fn invalid(column: &'static str, row: impl ToString, fault: impl ToString) -> StoreError {
    StoreError::Value { table: "tenure", column, row: row.to_string(), fault: fault.to_string() }
}

fn epoch(row: &Row<'_>, column: usize) -> Result<Epoch, StoreError> {
    let number = row.integer(column)?;
    u32::try_from(number).map(Epoch).map_err(|fault| invalid("epoch", number, fault))
}

fn unsigned(row: &Row<'_>, column: usize, name: &'static str) -> Result<u64, StoreError> {
    let number = row.integer(column)?;
    u64::try_from(number).map_err(|fault| invalid(name, number, fault))
}

fn hash(row: &Row<'_>, column: usize, name: &'static str) -> Result<Hash, StoreError> {
    Hash::from_slice(row.bytes(column)?).map_err(|fault| invalid(name, "", fault))
}

fn head(row: &Row<'_>, first: usize) -> Result<Head, StoreError> {
    Ok(Head { seq: Seq(unsigned(row, first, "heard_seq")?), hash: hash(row, first + 1, "heard_hash")? })
}

fn standing(row: &Row<'_>, column: usize) -> Result<Standing, StoreError> {
    match row.text(column)? {
        "living" => Ok(Standing::Living),
        "fenced" => Ok(Standing::Fenced),
        other => Err(invalid("standing", "", format!("{other:?} is no standing"))),
    }
}

/// Keeps a new epoch. The one before must have been fenced.
///
/// # Errors
/// [`StoreError`].
pub fn mint(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, public_key: &[u8], now: Instant) -> Result<(), StoreError> {
    let new = Tenure::mint(epoch);
    tx.execute_one(
        "mint an epoch",
        "tenure",
        "INSERT INTO tenure (store_id, epoch, public_key, minted_at_ms, standing, heard_seq, heard_hash, turn, ratchet, told_life) \
         VALUES ($1, $2, $3, $4, 'living', $5, $6, $7, $8, (SELECT incarnation FROM hub))",
        &[
            (&store).into(),
            epoch.into(),
            public_key.into(),
            now.into(),
            new.heard.seq.into(),
            (&new.heard.hash).into(),
            turn(&new)?.into(),
            to_msgpack(&new.ratchet).as_slice().into(),
        ],
    )
}

fn turn(tenure: &Tenure) -> Result<i64, StoreError> {
    i64::try_from(tenure.ratchet.turn).map_err(|fault| invalid("turn", tenure.epoch, fault))
}

/// An epoch as the rules know it.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, store: StoreId, of: Epoch) -> Result<Option<Tenure>, StoreError> {
    tx.query_one(
        "SELECT epoch, standing, heard_seq, heard_hash, ratchet FROM tenure WHERE store_id = $1 AND epoch = $2",
        &[(&store).into(), of.into()],
        |row| {
            let ratchet: Ratchet =
                from_msgpack(row.bytes(4)?).map_err(|fault| invalid("ratchet", format!("{store}-{of}"), fault))?;
            Ok(Tenure { epoch: epoch(row, 0)?, standing: standing(row, 1)?, heard: head(row, 2)?, ratchet })
        },
    )
}

/// The key of an epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// The epoch.
    pub epoch: Epoch,
    /// Its Ed25519 public key.
    pub public_key: Vec<u8>,
    /// Whether it is lived.
    pub standing: Standing,
}

/// The keys of a store's epochs, the newest first.
///
/// # Errors
/// [`StoreError`].
pub fn keys(tx: &mut Tx<'_>, store: StoreId) -> Result<Vec<Key>, StoreError> {
    tx.query(
        "SELECT epoch, public_key, standing FROM tenure WHERE store_id = $1 ORDER BY epoch DESC LIMIT $2",
        &[(&store).into(), KEYS_MAX.into()],
        |row| Ok(Key { epoch: epoch(row, 0)?, public_key: row.bytes(1)?.to_vec(), standing: standing(row, 2)? }),
    )
}

/// Writes down the turn that was given, and the hello that it answers, before it is answered. What was told in another session counts for nothing: another
/// copy may have told it.
///
/// # Errors
/// [`StoreError`].
pub fn greet(tx: &mut Tx<'_>, store: StoreId, tenure: &Tenure, hello: &Hash) -> Result<(), StoreError> {
    tx.execute_one(
        "write down a turn",
        "tenure",
        "UPDATE tenure SET turn = $3, ratchet = $4, hello = $5, telling_through_no = 0 \
         WHERE store_id = $1 AND epoch = $2 AND standing = 'living'",
        &[
            (&store).into(),
            tenure.epoch.into(),
            turn(tenure)?.into(),
            to_msgpack(&tenure.ratchet).as_slice().into(),
            hello.into(),
        ],
    )
}

/// What a request of a session is held against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standpoint {
    /// Whether the epoch is lived.
    pub standing: Standing,
    /// The hello that was answered last: only its session is heard. A turn alone would not do, as one that is asked for again is given again: to a process
    /// that began anew, perhaps with an older database.
    pub hello: Hash,
    /// How far it was heard.
    pub heard: Head,
    /// The hub's present life.
    pub life: i64,
    /// Whether the hub was restored and has not heard the epoch since.
    pub is_waited_for: bool,
    /// How far it has told its counters to this life within that session.
    pub told: Told,
}

/// How an epoch stands, when it was ever minted.
///
/// # Errors
/// [`StoreError`].
pub fn standpoint(tx: &mut Tx<'_>, store: StoreId, of: Epoch) -> Result<Option<Standpoint>, StoreError> {
    tx.query_one(
        "SELECT t.standing, t.hello, t.heard_seq, t.heard_hash, t.told_life, h.incarnation, t.telling_through_no FROM tenure t, hub h \
         WHERE t.store_id = $1 AND t.epoch = $2",
        &[(&store).into(), of.into()],
        |row| {
            let (standing, life) = (standing(row, 0)?, row.integer(5)?);
            let is_waited_for = standing == Standing::Living && row.integer(4)? < life;
            let told = Told {
                life: unsigned(row, 5, "incarnation")?,
                through_no: unsigned(row, 6, "telling_through_no")?,
                is_whole: !is_waited_for,
            };
            Ok(Standpoint { standing, hello: hash(row, 1, "hello")?, heard: head(row, 2)?, life, is_waited_for, told })
        },
    )
}

/// Notes how far an epoch was heard, unless it was heard further.
///
/// # Errors
/// [`StoreError`].
pub fn hear(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, end: &Head) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tenure SET heard_seq = $3, heard_hash = $4 WHERE store_id = $1 AND epoch = $2 AND heard_seq < $3",
        &[(&store).into(), epoch.into(), end.seq.into(), (&end.hash).into()],
    )?;
    Ok(())
}

/// Notes what was refused of what an epoch that is waited for told, in words.
///
/// # Errors
/// [`StoreError`].
pub fn refused(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, what: &str) -> Result<(), StoreError> {
    let sql = "UPDATE tenure SET telling_refused = $3 WHERE store_id = $1 AND epoch = $2";
    tx.execute_one("note what was refused", "tenure", sql, &[(&store).into(), epoch.into(), what.into()])
}

/// Notes how far an epoch that is waited for has told its counters in its session. What was refused before it began from nothing does not count.
///
/// # Errors
/// [`StoreError`].
pub fn tells(
    tx: &mut Tx<'_>,
    (store, epoch): (StoreId, Epoch),
    told: &Told,
    is_beginning: bool,
) -> Result<(), StoreError> {
    let through = i64::try_from(told.through_no)
        .map_err(|fault| invalid("telling_through_no", format!("{store}-{epoch}"), fault))?;
    tx.execute_one(
        "note how far an epoch has told",
        "tenure",
        "UPDATE tenure SET telling_through_no = $3, telling_refused = CASE WHEN $4 = 1 THEN '' ELSE telling_refused END \
         WHERE store_id = $1 AND epoch = $2",
        &[(&store).into(), epoch.into(), through.into(), is_beginning.into()],
    )
}

/// Notes that an epoch told all its counters to the present life of the hub, which it does up to the end of its journal as it was heard last.
///
/// # Errors
/// [`StoreError`].
pub fn told(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<(), StoreError> {
    tx.execute_one(
        "note that an epoch was heard",
        "tenure",
        "UPDATE tenure SET told_life = (SELECT incarnation FROM hub), telling_through_no = 0, telling_refused = '', \
         reread_seq = heard_seq \
         WHERE store_id = $1 AND epoch = $2",
        &[(&store).into(), epoch.into()],
    )
}

/// Notes that an epoch has told nothing to the present life of the hub.
///
/// # Errors
/// [`StoreError`].
pub fn untold(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<(), StoreError> {
    tx.execute_one(
        "note that an epoch is not heard yet",
        "tenure",
        "UPDATE tenure SET told_life = 0 WHERE store_id = $1 AND epoch = $2",
        &[(&store).into(), epoch.into()],
    )
}

/// Notes which version of the cards an epoch has, as it says: everything up to it. A version that was never given out says nothing.
///
/// # Errors
/// [`StoreError`].
pub fn has_cards(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, said: Word) -> Result<(), StoreError> {
    let is_known = said.version <= dataset::newest(tx, DatasetKind::Cards)?;
    let said = Word { version: if is_known { said.version } else { 0 }, ..said };
    let held = journal::find(tx, store, epoch)?.head.seq;
    let sql = format!("SELECT {ACCOUNTED_COLUMNS} FROM tenure t WHERE store_id = $1 AND epoch = $2");
    let found = tx.query_one(&sql, &[(&store).into(), epoch.into()], |row| read_accounted(row, 0))?;
    let Some(before) = found else { return Ok(()) };
    let after = before.after(said, held);
    if after == before {
        return Ok(());
    }
    tx.execute_one(
        "note which cards an epoch has",
        "tenure",
        "UPDATE tenure SET cards_version = $3, cards_seq = $4, awaited_version = $5, awaited_seq = $6, accounted_version = $7 \
         WHERE store_id = $1 AND epoch = $2",
        &[
            (&store).into(),
            epoch.into(),
            after.last.version.into(),
            after.last.end.into(),
            after.awaited.version.into(),
            after.awaited.end.into(),
            after.version.into(),
        ],
    )
}

/// What [`read_accounted`] reads, of a tenure `t`.
pub(super) const ACCOUNTED_COLUMNS: &str =
    "t.cards_version, t.cards_seq, t.awaited_version, t.awaited_seq, t.accounted_version";

/// Reads what an epoch said of its cards.
///
/// # Errors
/// [`StoreError::Value`].
pub(super) fn read_accounted(row: &Row<'_>, first: usize) -> Result<Accounted, StoreError> {
    let word = |at: usize, name| {
        Ok::<_, StoreError>(Word { version: row.integer(at)?, end: Seq(unsigned(row, at + 1, name)?) })
    };
    Ok(Accounted {
        last: word(first, "cards_seq")?,
        awaited: word(first + 2, "awaited_seq")?,
        version: row.integer(first + 4)?,
    })
}

/// Forgets which cards the living epochs have, and what of their words to the life before was refused.
///
/// # Errors
/// [`StoreError`].
pub fn forget_cards(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let sql = "UPDATE tenure SET cards_version = 0, cards_seq = 0, awaited_version = 0, awaited_seq = 0, accounted_version = 0, \
               telling_refused = '' WHERE standing = 'living'";
    tx.execute(sql, &[])?;
    Ok(())
}

/// Ends an epoch. Gives whether it was living. One that the hub had not heard since it was restored, or while it is proved that it was, ends unheard.
///
/// # Errors
/// [`StoreError`].
pub fn fence(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    (by, note): (&str, &str),
    now: Instant,
) -> Result<bool, StoreError> {
    let rows = tx.execute(
        "UPDATE tenure SET standing = 'fenced', fenced_by = $3, fenced_at_ms = $4, fence_note = $5, \
         told_seq = COALESCE((SELECT reported_seq FROM device WHERE device.store_id = $1 AND device.epoch = $2), 0), \
         is_unheard = CASE WHEN told_life < (SELECT incarnation FROM hub) OR (SELECT must_recover_ms FROM hub) IS NOT NULL THEN 1 ELSE 0 END \
         WHERE store_id = $1 AND epoch = $2 AND standing = 'living'",
        &[(&store).into(), epoch.into(), by.into(), now.into(), note.into()],
    )?;
    Ok(rows == 1)
}

/// Whether an epoch ended before a restored hub had heard it: it may hold grants that the hub has forgotten.
///
/// # Errors
/// [`StoreError`].
pub fn is_unheard(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<bool, StoreError> {
    let sql = "SELECT is_unheard FROM tenure WHERE store_id = $1 AND epoch = $2 AND standing = 'fenced'";
    Ok(tx.query_one(sql, &[(&store).into(), epoch.into()], |row| row.integer(0))? == Some(1))
}

/// When an epoch began; the beginning of time when it never did.
///
/// # Errors
/// [`StoreError`].
pub fn minted_at(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Instant, StoreError> {
    let sql = "SELECT minted_at_ms FROM tenure WHERE store_id = $1 AND epoch = $2";
    let minted = tx.query_one(sql, &[(&store).into(), epoch.into()], |row| row.integer(0))?;
    Ok(Instant(minted.unwrap_or(0)))
}

/// Up to which entry reports of an epoch that ended had told everything; its start while it lives.
///
/// # Errors
/// [`StoreError`].
pub fn told_seq(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<Seq, StoreError> {
    let sql = "SELECT told_seq FROM tenure WHERE store_id = $1 AND epoch = $2";
    let told = tx.query_one(sql, &[(&store).into(), epoch.into()], |row| unsigned(row, 0, "told_seq"))?;
    Ok(Seq(told.unwrap_or(0)))
}

/// Whether what a restored backup would have forgotten was written down since an epoch ended.
///
/// # Errors
/// [`StoreError`].
pub fn end_is_remembered(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<bool, StoreError> {
    let found = tx.query_one(
        "SELECT 1 FROM tenure t, hub h WHERE t.store_id = $1 AND t.epoch = $2 AND t.fenced_at_ms < h.remembered_at_ms",
        &[(&store).into(), epoch.into()],
        |row| row.integer(0),
    )?;
    Ok(found.is_some())
}

/// The living epoch of a store.
///
/// # Errors
/// [`StoreError`].
pub fn living(tx: &mut Tx<'_>, store: StoreId) -> Result<Option<Epoch>, StoreError> {
    tx.query_one("SELECT epoch FROM tenure WHERE store_id = $1 AND standing = 'living'", &[(&store).into()], |row| {
        epoch(row, 0)
    })
}

/// The highest epoch that was ever minted for a store, 0 before the first.
///
/// # Errors
/// [`StoreError`].
pub fn last(tx: &mut Tx<'_>, store: StoreId) -> Result<Epoch, StoreError> {
    let found = tx.query_one(
        "SELECT epoch FROM tenure WHERE store_id = $1 ORDER BY epoch DESC LIMIT 1",
        &[(&store).into()],
        |row| epoch(row, 0),
    )?;
    Ok(found.unwrap_or(Epoch(0)))
}

/// Whether an epoch is the living one of its store.
///
/// # Errors
/// [`StoreError`].
pub fn is_living(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch) -> Result<bool, StoreError> {
    Ok(living(tx, store)? == Some(epoch))
}

/// Living epochs that have not told everything to the present life of the hub, and what of it was refused: while there are any, nothing is granted.
///
/// # Errors
/// [`StoreError`].
pub fn waited_for(tx: &mut Tx<'_>) -> Result<Vec<(StoreId, Epoch, Option<String>)>, StoreError> {
    tx.query(
        "SELECT store_id, epoch, telling_refused FROM tenure \
         WHERE standing = 'living' AND told_life < (SELECT incarnation FROM hub) ORDER BY store_id",
        &[],
        |row| {
            let refused = Some(row.text(2)?).filter(|refused| !refused.is_empty()).map(str::to_owned);
            Ok((row.parsed(0, "tenure", "store_id")?, epoch(row, 1)?, refused))
        },
    )
}

/// Whether what the pools show cannot be given away: the hub was restored and still waits for somebody, or nobody has told it that it was restored.
///
/// # Errors
/// [`StoreError`].
pub fn recovers(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let is_waiting = root::must_recover(tx)?.is_some() || waits(tx)?;
    Ok(!may_lower_pools(&Sound, is_waiting))
}

/// Whether the hub, when it was restored, has again what it had of the journals of living epochs before.
///
/// # Errors
/// [`StoreError`].
pub fn has_read_all(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let read = tx.query(
        "SELECT COALESCE(j.seq, 0), t.reread_seq FROM tenure t LEFT JOIN journal j ON j.store_id = t.store_id AND j.epoch = t.epoch \
         WHERE t.standing = 'living' AND t.reread_seq > 0",
        &[],
        |row| {
            let (held, reread) = (Seq(unsigned(row, 0, "seq")?), Seq(unsigned(row, 1, "reread_seq")?));
            Ok::<_, StoreError>(is_read_again(&Sound, held, reread))
        },
    )?;
    Ok(read.into_iter().all(|is_again| is_again))
}

/// Whether the hub was restored and still waits for somebody: pools may be below nothing then.
///
/// # Errors
/// [`StoreError`].
pub fn waits(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let found = tx.query_one(
        "SELECT 1 FROM tenure WHERE standing = 'living' AND told_life < (SELECT incarnation FROM hub) LIMIT 1",
        &[],
        |row| row.integer(0),
    )?;
    Ok(found.is_some())
}

/// An ended epoch, and how far its line and its journal reach.
pub type FencedReach = ((StoreId, Epoch), Reach);

/// How far line and journal of every ended epoch reach: its lines follow its journal from where it was heard.
///
/// # Errors
/// [`StoreError`].
pub fn fenced_reaches(tx: &mut Tx<'_>) -> Result<Vec<FencedReach>, StoreError> {
    tx.query(
        "SELECT t.store_id, t.epoch, t.heard_seq, COALESCE(j.seq, 0) FROM tenure t \
         LEFT JOIN journal j ON j.store_id = t.store_id AND j.epoch = t.epoch WHERE t.standing = 'fenced'",
        &[],
        |row| {
            let (heard, journalled) = (Seq(unsigned(row, 2, "heard_seq")?), Seq(unsigned(row, 3, "seq")?));
            let reach = Reach { reported: heard.max(journalled), whole: journalled >= heard, journalled };
            Ok(((row.parsed(0, "tenure", "store_id")?, epoch(row, 1)?), reach))
        },
    )
}

/// An epoch that ended.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct FencedEpoch {
    /// The store.
    pub store: StoreId,
    /// The epoch.
    pub epoch: Epoch,
    /// Who ended it: a person, or the hub.
    pub fenced_by: String,
    /// When.
    pub fenced_at_ms: Instant,
    /// Why.
    pub note: String,
    /// How far it was heard.
    pub heard_seq: Seq,
}

/// Epochs that ended, of one store or all.
///
/// # Errors
/// [`StoreError`].
pub fn fenced(tx: &mut Tx<'_>, of: Option<StoreId>) -> Result<Vec<FencedEpoch>, StoreError> {
    let all = tx.query(
        "SELECT store_id, epoch, fenced_by, fenced_at_ms, fence_note, heard_seq FROM tenure WHERE standing = 'fenced' \
         ORDER BY store_id, epoch",
        &[],
        |row| {
            Ok::<_, StoreError>(FencedEpoch {
                store: row.parsed(0, "tenure", "store_id")?,
                epoch: epoch(row, 1)?,
                fenced_by: row.text(2)?.to_owned(),
                fenced_at_ms: Instant(row.integer(3)?),
                note: row.text(4)?.to_owned(),
                heard_seq: Seq(unsigned(row, 5, "heard_seq")?),
            })
        },
    )?;
    Ok(all.into_iter().filter(|fenced| of.is_none_or(|store| store == fenced.store)).collect())
}
