//! Claim rows: points that should have been taken back and were no longer there, and what became of them.
//!
//! Invariant: what was settled and waived is never more than the claim.

use huitong_protocol::id::{AccountId, EntryId, Epoch, Seq};
use huitong_protocol::movement::MovementRef;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::unit::Unit;
use serde::Serialize;

use super::allotment;
use super::engine::{Row, StoreError, Tx};

/// Where a claim is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Later earnings settle it.
    Open,
    /// All of it was taken back.
    Settled,
    /// Head office gave up the rest.
    Waived {
        /// Who.
        waived_by: String,
        /// When.
        waived_at_ms: Instant,
        /// Why.
        waived_note: String,
    },
}

impl State {
    /// The text form.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Waived { .. } => "waived",
        }
    }
}

/// A claim against whoever holds an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Claim {
    /// Its number, from 1, rising.
    pub number: i64,
    /// The account.
    pub account: AccountId,
    /// The number of the member who has its card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The entry that could not take the points back.
    pub entry: EntryId,
    /// The place in the entry that says so.
    #[serde(skip)]
    pub index: u16,
    /// Its business day.
    pub business_day: BusinessDay,
    /// How many points were missing.
    pub points: i64,
    /// How many were taken back since.
    pub settled_points: i64,
    /// How many are still missing; none when the rest was waived.
    pub open_points: i64,
    /// Where it is.
    #[serde(flatten)]
    pub state: State,
    /// The movement that earned them.
    #[serde(skip)]
    pub of: Option<MovementRef>,
}

/// A claim to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewClaim {
    /// The account.
    pub account: AccountId,
    /// The entry that could not take the points back.
    pub entry: EntryId,
    /// The place in the entry that says so.
    pub index: u16,
    /// Its business day.
    pub business_day: BusinessDay,
    /// How many are missing.
    pub points: i64,
    /// The movement that earned them.
    pub of: Option<MovementRef>,
}

const COLUMNS: &str = "claim_no, account_id, store_id, epoch, seq, business_day, points, settled_points, of_entry, of_idx, waived_by, waived_at_ms, \
     waived_note, (SELECT member.number FROM card JOIN member ON member.member_id = card.member_id WHERE card.account_id = points_claim.account_id \
     ORDER BY card.number LIMIT 1), idx";

fn read(row: &Row<'_>) -> Result<Claim, StoreError> {
    let number = row.integer(0)?;
    let invalid = |column: &'static str, fault: String| StoreError::Value {
        table: "points_claim",
        column,
        row: number.to_string(),
        fault,
    };
    let (points, settled_points) = (row.integer(6)?, row.integer(7)?);
    let state = match row.maybe_text(10)? {
        Some(by) => State::Waived {
            waived_by: by.to_owned(),
            waived_at_ms: Instant(row.maybe_integer(11)?.unwrap_or(0)),
            waived_note: row.maybe_text(12)?.unwrap_or_default().to_owned(),
        },
        None if settled_points == points => State::Settled,
        None => State::Open,
    };
    let of_entry: Option<EntryId> = row.maybe_parsed(8, "points_claim", "of_entry")?;
    let of_index = row.maybe_integer(9)?.and_then(|index| u16::try_from(index).ok());
    let open_points = if state == State::Open { points.saturating_sub(settled_points) } else { 0 };
    Ok(Claim {
        number,
        account: AccountId::new(row.integer(1)?).map_err(|why| invalid("account_id", why.to_string()))?,
        member: row.maybe_text(13)?.map(str::to_owned),
        entry: EntryId {
            store: row.parsed(2, "points_claim", "store_id")?,
            epoch: Epoch(u32::try_from(row.integer(3)?).map_err(|why| invalid("epoch", why.to_string()))?),
            seq: Seq(u64::try_from(row.integer(4)?).map_err(|why| invalid("seq", why.to_string()))?),
        },
        index: u16::try_from(row.integer(14)?).map_err(|why| invalid("idx", why.to_string()))?,
        business_day: row.parsed(5, "points_claim", "business_day")?,
        points,
        settled_points,
        open_points,
        state,
        of: of_entry.zip(of_index).map(|(entry, index)| MovementRef { entry, index }),
    })
}

/// Keeps a claim; the same place of the same entry again is the same claim.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, new: &NewClaim) -> Result<(), StoreError> {
    let of_entry = new.of.map(|of| of.entry.to_string());
    tx.execute(
        "INSERT INTO points_claim (claim_no, account_id, store_id, epoch, seq, idx, business_day, points, settled_points, of_entry, of_idx) \
         VALUES ((SELECT COALESCE(MAX(claim_no), 0) + 1 FROM points_claim), $1, $2, $3, $4, $5, $6, $7, 0, $8, $9) \
         ON CONFLICT (store_id, epoch, seq, idx) DO NOTHING",
        &[
            new.account.into(),
            (&new.entry.store).into(),
            new.entry.epoch.into(),
            new.entry.seq.into(),
            new.index.into(),
            (&new.business_day.to_string()).into(),
            new.points.into(),
            of_entry.as_deref().into(),
            new.of.map(|of| of.index).into(),
        ],
    )
    .map(drop)
}

/// A claim by its number.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, number: i64) -> Result<Option<Claim>, StoreError> {
    tx.query_one(&format!("SELECT {COLUMNS} FROM points_claim WHERE claim_no = $1"), &[number.into()], read)
}

/// Claims after a number, oldest first: the open ones, or all.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, is_all: bool, after: i64, limit: usize) -> Result<Vec<Claim>, StoreError> {
    let open = if is_all { "" } else { "AND waived_by IS NULL AND settled_points < points" };
    tx.query(
        &format!("SELECT {COLUMNS} FROM points_claim WHERE claim_no > $1 {open} ORDER BY claim_no LIMIT $2"),
        &[after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        read,
    )
}

/// The open claims on accounts whose points lie in head office's pool, oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn payable(tx: &mut Tx<'_>) -> Result<Vec<i64>, StoreError> {
    let mut payable = Vec::new();
    tx.for_each(
        "SELECT pool.loaded_minor, pool.spent_minor, pool.granted_minor, pool.released_minor, points_claim.claim_no \
         FROM points_claim JOIN pool ON pool.account_id = points_claim.account_id AND pool.unit = $1 \
         WHERE waived_by IS NULL AND settled_points < points ORDER BY claim_no",
        &[Unit::Points.into()],
        |row| {
            if allotment::pool_of(row)?.free() > 0 {
                payable.push(row.integer(4)?);
            }
            Ok::<_, StoreError>(())
        },
    )?;
    Ok(payable)
}

/// Writes that points of a claim were taken back.
///
/// # Errors
/// [`StoreError`].
pub fn settle(tx: &mut Tx<'_>, number: i64, points: i64) -> Result<(), StoreError> {
    tx.execute_one(
        "settle a claim",
        "points_claim",
        "UPDATE points_claim SET settled_points = settled_points + $2 WHERE claim_no = $1",
        &[number.into(), points.into()],
    )
}

/// Writes that the rest of a claim was given up.
///
/// # Errors
/// [`StoreError`].
pub fn waive(tx: &mut Tx<'_>, number: i64, by: &str, note: &str, now: Instant) -> Result<(), StoreError> {
    tx.execute_one(
        "waive a claim",
        "points_claim",
        "UPDATE points_claim SET waived_by = $2, waived_at_ms = $3, waived_note = $4 WHERE claim_no = $1 AND waived_by IS NULL",
        &[number.into(), by.into(), now.into(), note.into()],
    )
}
