//! Funding rows: who bears the discounts of which entry. A projection of the entries, written with them and never changed.

use std::collections::HashMap;

use huitong_protocol::funding::Funding;
use huitong_protocol::id::{EntryId, Epoch, IdError, Seq, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::time::BusinessDay;

use super::engine::{Row, StoreError, Tx};

/// A row with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostedFunding {
    /// The entry that says so.
    pub entry: EntryId,
    /// Its index within the entry, from 0.
    pub index: i64,
    /// The entry's place in the order of ingest.
    pub ingested_no: i64,
    /// What it says.
    pub funding: Funding,
}

const COLUMNS: &str =
    "store_id, epoch, seq, idx, ingested_no, business_day, seller, funder, kind, currency, amount_minor";

/// Posts a row of an entry.
///
/// # Errors
/// [`StoreError`].
pub fn post(tx: &mut Tx<'_>, row: &PostedFunding) -> Result<(), StoreError> {
    let PostedFunding { entry, index, ingested_no, funding } = row;
    tx.execute_one(
        "post what a funder bears",
        "funding",
        "INSERT INTO funding (store_id, epoch, seq, idx, ingested_no, business_day, seller, funder, kind, currency, amount_minor) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            (&entry.store).into(),
            entry.epoch.into(),
            entry.seq.into(),
            (*index).into(),
            (*ingested_no).into(),
            (&funding.business_day.to_string()).into(),
            (&funding.seller).into(),
            (&funding.funder.to_string()).into(),
            funding.kind.as_str().into(),
            funding.currency.code().into(),
            funding.amount_minor.into(),
        ],
    )
}

/// Turns rows into values. Few stores, parties and days stand behind many rows, so each text is parsed once.
#[derive(Debug, Default)]
struct Reader {
    stores: HashMap<String, StoreId>,
    parties: HashMap<String, Party>,
    days: HashMap<String, BusinessDay>,
    currencies: HashMap<String, Currency>,
}

fn known<T: Copy + std::str::FromStr<Err: std::fmt::Display>>(
    texts: &mut HashMap<String, T>,
    text: &str,
    column: &'static str,
) -> Result<T, StoreError> {
    if let Some(value) = texts.get(text) {
        return Ok(*value);
    }
    let value = text.parse().map_err(|why: T::Err| invalid(column, text, why.to_string()))?;
    texts.insert(text.to_owned(), value);
    Ok(value)
}

fn invalid(column: &'static str, row: impl ToString, fault: String) -> StoreError {
    StoreError::Value { table: "funding", column, row: row.to_string(), fault }
}

impl Reader {
    fn read(&mut self, row: &Row<'_>) -> Result<PostedFunding, StoreError> {
        let (epoch, seq) = (row.integer(1)?, row.integer(2)?);
        let entry = EntryId {
            store: known(&mut self.stores, row.text(0)?, "store_id")?,
            epoch: Epoch(u32::try_from(epoch).map_err(|why| invalid("epoch", epoch, why.to_string()))?),
            seq: Seq(u64::try_from(seq).map_err(|why| invalid("seq", seq, why.to_string()))?),
        };
        Ok(PostedFunding {
            entry,
            index: row.integer(3)?,
            ingested_no: row.integer(4)?,
            funding: Funding {
                business_day: known(&mut self.days, row.text(5)?, "business_day")?,
                seller: known(&mut self.stores, row.text(6)?, "seller")?,
                funder: known(&mut self.parties, row.text(7)?, "funder")?,
                kind: row.text(8)?.parse().map_err(|why: IdError| invalid("kind", entry, why.to_string()))?,
                currency: known(&mut self.currencies, row.text(9)?, "currency")?,
                amount_minor: row.integer(10)?,
            },
        })
    }
}

/// The rows of an entry, in order.
///
/// # Errors
/// [`StoreError`].
pub fn of_ingested(tx: &mut Tx<'_>, ingested_no: i64) -> Result<Vec<PostedFunding>, StoreError> {
    let mut reader = Reader::default();
    let sql = format!("SELECT {COLUMNS} FROM funding WHERE ingested_no = $1 ORDER BY store_id, epoch, seq, idx");
    tx.query(&sql, &[ingested_no.into()], |row| reader.read(row))
}

/// Hands out the rows of a range of ingest numbers, in no particular order.
///
/// # Errors
/// [`StoreError`], or what `each` gives.
pub fn between<E: From<StoreError>>(
    tx: &mut Tx<'_>,
    first_ingested_no: i64,
    last_ingested_no: i64,
    mut each: impl FnMut(&PostedFunding) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::default();
    let sql = format!("SELECT {COLUMNS} FROM funding WHERE ingested_no >= $1 AND ingested_no <= $2");
    tx.for_each(&sql, &[first_ingested_no.into(), last_ingested_no.into()], |row| each(&reader.read(row)?))
}
