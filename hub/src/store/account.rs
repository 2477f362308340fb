//! Account rows: what the hub's pool holds of an account, and its movements as settlement folds them.

use huitong_protocol::allotment::Pool;
use huitong_protocol::id::{AccountId, EntryId, IdError};
use huitong_protocol::movement::{MovementKind, MovementRef, PostedMovement};
use huitong_protocol::time::{BusinessDay, Stamp};
use huitong_protocol::unit::Unit;

use super::engine::{Row, StoreError, Tx};

/// The hub's counters of a purse; all zero when it never had any.
pub fn pool(tx: &mut Tx<'_>, account: AccountId, unit: Unit) -> Result<Pool, StoreError> {
    let found = tx.query_one(
        "SELECT loaded_minor, spent_minor, granted_minor, released_minor FROM pool WHERE account_id = $1 AND unit = $2",
        &[account.into(), unit.into()],
        |row| {
            Ok::<_, StoreError>(Pool {
                loaded_minor: row.integer(0)?,
                spent_minor: row.integer(1)?,
                granted_minor: row.integer(2)?,
                released_minor: row.integer(3)?,
            })
        },
    )?;
    Ok(found.unwrap_or_default())
}

/// Writes what `allotment::step` returned for a purse, and the stamp that stores must come after.
pub fn write_pool(
    tx: &mut Tx<'_>,
    account: AccountId,
    unit: Unit,
    pool: &Pool,
    stamp: Stamp,
) -> Result<(), StoreError> {
    tx.execute_one(
        "write a pool",
        "pool",
        "INSERT INTO pool (account_id, unit, loaded_minor, spent_minor, granted_minor, released_minor, stamp) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (account_id, unit) DO UPDATE SET loaded_minor = excluded.loaded_minor, spent_minor = excluded.spent_minor,
         granted_minor = excluded.granted_minor, released_minor = excluded.released_minor,
         stamp = CASE WHEN excluded.stamp > stamp THEN excluded.stamp ELSE stamp END",
        &[
            account.into(),
            unit.into(),
            pool.loaded_minor.into(),
            pool.spent_minor.into(),
            pool.granted_minor.into(),
            pool.released_minor.into(),
            stamp.into(),
        ],
    )
}

/// The entry that brought an account's opening balance.
pub fn opening_of(tx: &mut Tx<'_>, account: AccountId) -> Result<Option<String>, StoreError> {
    tx.query_one(
        "SELECT store_id, epoch, seq FROM movement WHERE account_id = $1 AND kind = $2 LIMIT 1",
        &[account.into(), MovementKind::Opening.into()],
        |row| Ok(format!("{}-{}-{}", row.text(0)?, row.integer(1)?, row.integer(2)?)),
    )
}

/// The columns that [`MovementReader`] reads, in its order.
pub const MOVEMENT_COLUMNS: &str = "account_id, stamp, store_id, epoch, seq, idx, business_day, unit, kind, amount_minor, of_entry, of_idx, origin_store, ingested_no";

/// Turns movement rows into values. Neighbouring rows share stores, days and units, so the last texts are remembered: a settlement over millions
/// of rows parses few of them.
#[derive(Debug, Default)]
pub struct MovementReader {
    stores: Remembered<huitong_protocol::id::StoreId>,
    days: Remembered<BusinessDay>,
    units: Remembered<Unit>,
}

/// A small table of texts that were parsed before, by their last bytes.
#[derive(Debug)]
struct Remembered<T> {
    slots: Vec<Option<(String, T)>>,
}

/// Enough for a thousand stores or a few years of days without many collisions.
const SLOTS: usize = 4_096;

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { slots: std::iter::repeat_with(|| None).take(SLOTS).collect() }
    }
}

impl<T: Copy + std::str::FromStr<Err = IdError>> Remembered<T> {
    fn get(&mut self, text: &str, column: &'static str) -> Result<T, StoreError> {
        let hash = text.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let slot = &mut self.slots[hash % SLOTS];
        if let Some((known, value)) = slot
            && known == text
        {
            return Ok(*value);
        }
        let value = text.parse().map_err(|why: IdError| invalid(column, text, &why))?;
        *slot = Some((text.to_owned(), value));
        Ok(value)
    }
}

fn invalid(column: &'static str, row: impl ToString, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Value { table: "movement", column, row: row.to_string(), fault: why.to_string() }
}

impl MovementReader {
    /// Reads one row of [`MOVEMENT_COLUMNS`].
    ///
    /// # Errors
    /// [`StoreError::Value`] names the column.
    pub fn read(&mut self, row: &Row<'_>) -> Result<PostedMovement, StoreError> {
        let account = row.integer(0)?;
        let number = |column: usize, name: &'static str| {
            let number = row.integer(column)?;
            u32::try_from(number).map_err(|why| invalid(name, number, &why))
        };
        let seq = row.integer(4)?;
        let index = row.integer(5)?;
        let of = match (row.maybe_text(10)?, row.maybe_integer(11)?) {
            (Some(entry), Some(index)) => Some(MovementRef {
                entry: entry.parse().map_err(|why: IdError| invalid("of_entry", entry, &why))?,
                index: u16::try_from(index).map_err(|why| invalid("of_idx", index, &why))?,
            }),
            _ => None,
        };
        let kind = row.text(8)?;
        Ok(PostedMovement {
            account: AccountId::new(account).map_err(|why| invalid("account_id", account, &why))?,
            stamp: Stamp(row.integer(1)?),
            entry: EntryId {
                store: self.stores.get(row.text(2)?, "store_id")?,
                epoch: huitong_protocol::id::Epoch(number(3, "epoch")?),
                seq: huitong_protocol::id::Seq(u64::try_from(seq).map_err(|why| invalid("seq", seq, &why))?),
            },
            index: u16::try_from(index).map_err(|why| invalid("idx", index, &why))?,
            business_day: self.days.get(row.text(6)?, "business_day")?,
            unit: self.units.get(row.text(7)?, "unit")?,
            kind: MovementKind::new(kind).map_err(|why| invalid("kind", kind, &why))?,
            amount_minor: row.integer(9)?,
            of,
            origin_store: row.maybe_text(12)?.map(|store| self.stores.get(store, "origin_store")).transpose()?,
        })
    }
}

/// An account's movements up to an `ingested_no`, in the total order.
pub fn history(tx: &mut Tx<'_>, account: AccountId, cut_ingested_no: i64) -> Result<Vec<PostedMovement>, StoreError> {
    let mut reader = MovementReader::default();
    tx.query(
        &format!(
            "SELECT {MOVEMENT_COLUMNS} FROM movement WHERE account_id = $1 AND ingested_no <= $2 ORDER BY account_id, stamp, store_id, epoch, seq, idx"
        ),
        &[account.into(), cut_ingested_no.into()],
        |row| reader.read(row),
    )
}
