//! Deferred earnings: what sales earned for cards that their stores did not know. A projection of the entries, but for what was decided about them.
//!
//! Invariant: what was given, or left to nobody, stays so.

use huitong_protocol::card::CardNumber;
use huitong_protocol::id::{AccountId, EntryId, Epoch, Seq};
use huitong_protocol::time::{BusinessDay, Stamp};

use super::engine::{Row, StoreError, Tx};

/// What became of the points of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// They wait until it is known whose the card was.
    Waiting,
    /// An account has them.
    Given {
        /// Whose.
        account: AccountId,
        /// Head office's entry that put them there.
        entry: EntryId,
    },
    /// The card was nobody's when it was shown; for good.
    Nobodys,
}

/// Points that were deferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferred {
    /// The sale.
    pub sale: EntryId,
    /// Its stamp.
    pub stamp: Stamp,
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
    /// What became of them.
    pub state: State,
}

impl Deferred {
    /// How many points there are to be given.
    #[must_use]
    pub const fn left(&self) -> i64 {
        self.points.saturating_sub(self.back_points)
    }

    /// Whether it is to be decided whose they are: nobody has them, and the sale was paid and did not come back whole.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Waiting && !self.is_parked && self.left() > 0
    }
}

const COLUMNS: &str = "deferred_earning.store_id, deferred_earning.epoch, deferred_earning.seq, deferred_earning.card, deferred_earning.business_day, \
     deferred_earning.points, deferred_earning.back_points, deferred_earning.account_id, deferred_earning.credited_entry, \
     deferred_earning.is_parked, deferred_earning.stamp, deferred_earning.state";

fn read(row: &Row<'_>) -> Result<Deferred, StoreError> {
    let (epoch, seq) = (row.integer(1)?, row.integer(2)?);
    let invalid = |column: &'static str, fault: String| StoreError::Value {
        table: "deferred_earning",
        column,
        row: format!("{epoch}-{seq}"),
        fault,
    };
    let account = row.maybe_integer(7)?.map(AccountId::new).transpose();
    let account = account.map_err(|why| invalid("account_id", why.to_string()))?;
    let entry: Option<EntryId> = row.maybe_parsed(8, "deferred_earning", "credited_entry")?;
    let state = match (row.text(11)?, account.zip(entry)) {
        ("waiting", None) => State::Waiting,
        ("given", Some((account, entry))) => State::Given { account, entry },
        ("nobodys", None) => State::Nobodys,
        (other, _) => return Err(invalid("state", format!("is {other}, which its account does not fit"))),
    };
    Ok(Deferred {
        sale: EntryId {
            store: row.parsed(0, "deferred_earning", "store_id")?,
            epoch: Epoch(u32::try_from(epoch).map_err(|why| invalid("epoch", why.to_string()))?),
            seq: Seq(u64::try_from(seq).map_err(|why| invalid("seq", why.to_string()))?),
        },
        stamp: Stamp(row.integer(10)?),
        card: CardNumber::new(row.text(3)?).map_err(|why| invalid("card", why.to_string()))?,
        business_day: row.parsed(4, "deferred_earning", "business_day")?,
        points: row.integer(5)?,
        back_points: row.integer(6)?,
        is_parked: row.integer(9)? == 1,
        state,
    })
}

/// Keeps what a sale earned.
///
/// # Errors
/// [`StoreError`]; also when it was kept before.
pub fn insert(tx: &mut Tx<'_>, new: &Deferred) -> Result<(), StoreError> {
    tx.execute_one(
        "keep a deferred earning",
        "deferred_earning",
        "INSERT INTO deferred_earning (store_id, epoch, seq, stamp, card, business_day, points, back_points, is_parked, state) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'waiting')",
        &[
            (&new.sale.store).into(),
            new.sale.epoch.into(),
            new.sale.seq.into(),
            new.stamp.into(),
            (&new.card).into(),
            (&new.business_day.to_string()).into(),
            new.points.into(),
            new.back_points.into(),
            new.is_parked.into(),
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

/// Those after a sale that can be decided, in the order of their keys: of paid sales whose card is in somebody's hands, and was never sold by a store or was
/// sold by an entry that is here, as late as any store has reported. All others have to wait for a report or a journal.
///
/// # Errors
/// [`StoreError`].
pub fn decidable(tx: &mut Tx<'_>, after: Option<EntryId>, limit: usize) -> Result<Vec<Deferred>, StoreError> {
    select(
        tx,
        "JOIN card ON card.number = deferred_earning.card",
        "AND deferred_earning.state = 'waiting' AND is_parked = 0 AND back_points < points AND card.status IN ('active', 'frozen', 'lost') \
         AND (card.sold_stamp IS NULL OR EXISTS (SELECT 1 FROM movement WHERE movement.account_id = card.account_id \
         AND movement.kind = 'card_sale' AND movement.stamp >= card.sold_stamp))",
        after,
        limit,
    )
}

/// All of them after a sale, in the order of their keys.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, after: Option<EntryId>, limit: usize) -> Result<Vec<Deferred>, StoreError> {
    select(tx, "", "", after, limit)
}

fn select(
    tx: &mut Tx<'_>,
    join: &str,
    which: &str,
    after: Option<EntryId>,
    limit: usize,
) -> Result<Vec<Deferred>, StoreError> {
    // No code of a store is empty: this is before the first.
    let (store, epoch, seq) =
        after.as_ref().map_or(("", Epoch(0), Seq(0)), |sale| (sale.store.as_str(), sale.epoch, sale.seq));
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM deferred_earning {join} \
             WHERE (deferred_earning.store_id, deferred_earning.epoch, deferred_earning.seq) > ($1, $2, $3) {which} \
             ORDER BY deferred_earning.store_id, deferred_earning.epoch, deferred_earning.seq LIMIT $4"
        ),
        &[store.into(), epoch.into(), seq.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        read,
    )
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
/// [`StoreError`]; also when it was decided before.
pub fn give(tx: &mut Tx<'_>, sale: EntryId, account: AccountId, entry: EntryId) -> Result<(), StoreError> {
    tx.execute_one(
        "give a deferred earning",
        "deferred_earning",
        "UPDATE deferred_earning SET state = 'given', account_id = $4, credited_entry = $5 \
         WHERE store_id = $1 AND epoch = $2 AND seq = $3 AND state = 'waiting'",
        &[(&sale.store).into(), sale.epoch.into(), sale.seq.into(), account.into(), (&entry.to_string()).into()],
    )
}

/// Writes that nobody gets it.
///
/// # Errors
/// [`StoreError`]; also when it was decided before.
pub fn leave(tx: &mut Tx<'_>, sale: EntryId) -> Result<(), StoreError> {
    tx.execute_one(
        "leave a deferred earning",
        "deferred_earning",
        "UPDATE deferred_earning SET state = 'nobodys' WHERE store_id = $1 AND epoch = $2 AND seq = $3 AND state = 'waiting'",
        &[(&sale.store).into(), sale.epoch.into(), sale.seq.into()],
    )
}
