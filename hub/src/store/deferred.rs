//! Deferred earnings: what sales earned for cards that their stores did not know. A projection of the entries, but for the account that was credited.

use huitong_protocol::card::CardNumber;
use huitong_protocol::id::{AccountId, EntryId, Epoch, Seq};
use huitong_protocol::time::BusinessDay;

use super::engine::{Row, StoreError, Tx};

/// Points that wait for their card, or were credited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferred {
    /// The sale.
    pub sale: EntryId,
    /// The card that was shown.
    pub card: CardNumber,
    /// The business day of the sale.
    pub business_day: BusinessDay,
    /// What it earned.
    pub points: i64,
    /// What of it was taken back since.
    pub back_points: i64,
    /// Whether nobody knows yet if the sale was paid.
    pub is_parked: bool,
    /// The account that has them, and head office's entry that put them there.
    pub credited: Option<(AccountId, EntryId)>,
}

const COLUMNS: &str =
    "store_id, epoch, seq, card, business_day, points, back_points, account_id, credited_entry, is_parked";

fn read(row: &Row<'_>) -> Result<Deferred, StoreError> {
    let (epoch, seq) = (row.integer(1)?, row.integer(2)?);
    let invalid = |column: &'static str, fault: String| StoreError::Value {
        table: "deferred_earning",
        column,
        row: format!("{epoch}-{seq}"),
        fault,
    };
    let account = row.maybe_integer(7)?.map(AccountId::new).transpose();
    let entry: Option<EntryId> = row.maybe_parsed(8, "deferred_earning", "credited_entry")?;
    Ok(Deferred {
        sale: EntryId {
            store: row.parsed(0, "deferred_earning", "store_id")?,
            epoch: Epoch(u32::try_from(epoch).map_err(|why| invalid("epoch", why.to_string()))?),
            seq: Seq(u64::try_from(seq).map_err(|why| invalid("seq", why.to_string()))?),
        },
        card: CardNumber::new(row.text(3)?).map_err(|why| invalid("card", why.to_string()))?,
        business_day: row.parsed(4, "deferred_earning", "business_day")?,
        points: row.integer(5)?,
        back_points: row.integer(6)?,
        is_parked: row.integer(9)? == 1,
        credited: account.map_err(|why| invalid("account_id", why.to_string()))?.zip(entry),
    })
}

/// Keeps what a sale earned. A parked sale earns it when it is paid.
///
/// # Errors
/// [`StoreError`].
pub fn insert(
    tx: &mut Tx<'_>,
    sale: EntryId,
    card: CardNumber,
    business_day: BusinessDay,
    points: i64,
    is_parked: bool,
) -> Result<(), StoreError> {
    tx.execute_one(
        "keep a deferred earning",
        "deferred_earning",
        "INSERT INTO deferred_earning (store_id, epoch, seq, card, business_day, points, back_points, is_parked) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
        &[
            (&sale.store).into(),
            sale.epoch.into(),
            sale.seq.into(),
            (&card).into(),
            (&business_day.to_string()).into(),
            points.into(),
            is_parked.into(),
        ],
    )
}

/// What a sale earned, when it was deferred.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, sale: EntryId) -> Result<Option<Deferred>, StoreError> {
    tx.query_one(
        &format!("SELECT {COLUMNS} FROM deferred_earning WHERE store_id = $1 AND epoch = $2 AND seq = $3"),
        &[(&sale.store).into(), sale.epoch.into(), sale.seq.into()],
        read,
    )
}

/// Those that wait for their card, of paid sales, after a sale, in the order of their keys.
///
/// # Errors
/// [`StoreError`].
pub fn waiting(tx: &mut Tx<'_>, after: Option<EntryId>, limit: usize) -> Result<Vec<Deferred>, StoreError> {
    select(tx, "AND credited_entry IS NULL AND is_parked = 0 AND back_points < points", after, limit)
}

/// All of them after a sale, in the order of their keys.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, after: Option<EntryId>, limit: usize) -> Result<Vec<Deferred>, StoreError> {
    select(tx, "", after, limit)
}

fn select(tx: &mut Tx<'_>, which: &str, after: Option<EntryId>, limit: usize) -> Result<Vec<Deferred>, StoreError> {
    // No code of a store is empty: this is before the first.
    let (store, epoch, seq) =
        after.as_ref().map_or(("", Epoch(0), Seq(0)), |sale| (sale.store.as_str(), sale.epoch, sale.seq));
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM deferred_earning WHERE (store_id, epoch, seq) > ($1, $2, $3) {which} \
             ORDER BY store_id, epoch, seq LIMIT $4"
        ),
        &[store.into(), epoch.into(), seq.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        read,
    )
}

/// The first business day on which a card of an account was sold, as far as journals have arrived.
///
/// # Errors
/// [`StoreError`].
pub fn first_sold(tx: &mut Tx<'_>, account: AccountId) -> Result<Option<BusinessDay>, StoreError> {
    let sql = "SELECT MIN(business_day) FROM movement WHERE account_id = $1 AND kind = 'card_sale'";
    let first = tx.query_one(sql, &[account.into()], |row| row.maybe_parsed(0, "movement", "business_day"))?;
    Ok(first.flatten())
}

/// Writes that a parked sale was paid; one that deferred nothing has no row.
///
/// # Errors
/// [`StoreError`].
pub fn paid(tx: &mut Tx<'_>, sale: EntryId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE deferred_earning SET is_parked = 0 WHERE store_id = $1 AND epoch = $2 AND seq = $3",
        &[(&sale.store).into(), sale.epoch.into(), sale.seq.into()],
    )
    .map(drop)
}

/// Writes that some of it was taken back.
///
/// # Errors
/// [`StoreError`].
pub fn back(tx: &mut Tx<'_>, sale: EntryId, points: i64) -> Result<(), StoreError> {
    tx.execute_one(
        "take a deferred earning back",
        "deferred_earning",
        "UPDATE deferred_earning SET back_points = back_points + $4 WHERE store_id = $1 AND epoch = $2 AND seq = $3",
        &[(&sale.store).into(), sale.epoch.into(), sale.seq.into(), points.into()],
    )
}

/// Writes who has it.
///
/// # Errors
/// [`StoreError`]; also when it was credited before.
pub fn credit(tx: &mut Tx<'_>, sale: EntryId, account: AccountId, entry: EntryId) -> Result<(), StoreError> {
    tx.execute_one(
        "credit a deferred earning",
        "deferred_earning",
        "UPDATE deferred_earning SET account_id = $4, credited_entry = $5 \
         WHERE store_id = $1 AND epoch = $2 AND seq = $3 AND credited_entry IS NULL",
        &[(&sale.store).into(), sale.epoch.into(), sale.seq.into(), account.into(), (&entry.to_string()).into()],
    )
}
