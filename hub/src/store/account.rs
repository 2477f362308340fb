//! Account rows: an account's movements as settlement folds them.

use huitong_protocol::id::{AccountId, EntryId, IdError};
use huitong_protocol::movement::{MovementKind, MovementRef, PostedMovement};
use huitong_protocol::time::{BusinessDay, Stamp};
use huitong_protocol::unit::Unit;

use super::engine::{Row, StoreError, Tx};

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

/// The place of `ingested_no` in [`MOVEMENT_COLUMNS`].
pub const INGESTED_NO: usize = 13;

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
