//! The hub's own row: which group it serves, in which currency, and the numbers it hands out.

use huitong_protocol::id::{Epoch, GroupId, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use serde::{Deserialize, Serialize};

use super::engine::{StoreError, Tx};

/// What the hub is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hub {
    /// The retail group; one per hub.
    pub group: GroupId,
    /// What it settles in.
    pub currency: Currency,
    /// Its life since the last restore.
    pub incarnation: i64,
}

/// What the hub is, when it was told.
pub fn hub_or_none(tx: &mut Tx<'_>) -> Result<Option<Hub>, StoreError> {
    tx.query_one("SELECT group_id, currency, incarnation FROM hub", &[], |row| {
        Ok(Hub {
            group: row.parsed(0, "hub", "group_id")?,
            currency: row.parsed(1, "hub", "currency")?,
            incarnation: row.integer(2)?,
        })
    })
}

/// What the hub is.
///
/// # Errors
/// [`StoreError::Rule`] when `huitong-hub init` was never run.
pub fn hub(tx: &mut Tx<'_>) -> Result<Hub, StoreError> {
    hub_or_none(tx)?.ok_or_else(|| StoreError::Rule {
        operation: "read the hub's own row",
        fault: "this hub has no group yet; run `huitong-hub init --group CODE --currency CNY` first".to_owned(),
    })
}

/// Begins another life of the hub. All living epochs are waited for then.
///
/// # Errors
/// [`StoreError`].
pub fn begin_life(tx: &mut Tx<'_>, life: i64, now: Instant) -> Result<(), StoreError> {
    let sql = "UPDATE hub SET incarnation = $1, life_began_ms = $2, must_recover_ms = NULL, must_recover_store = NULL, \
               must_recover_epoch = NULL WHERE incarnation < $1";
    tx.execute_one("begin a life", "hub", sql, &[life.into(), now.into()])
}

/// When the present life began: of what was before, the database may have forgotten a part. The first never forgot anything.
///
/// # Errors
/// [`StoreError`].
pub fn life_began(tx: &mut Tx<'_>) -> Result<Instant, StoreError> {
    let began = tx.query_one("SELECT life_began_ms FROM hub", &[], |row| row.integer(0))?;
    Ok(Instant(began.unwrap_or(0)))
}

/// The numbers that are minted next. Stores name what has them for ever, so that none is ever given a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// Of an account.
    pub next_account: i64,
    /// Of a member.
    pub next_member: i64,
}

impl Numbers {
    /// The higher ones of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            next_account: self.next_account.max(other.next_account),
            next_member: self.next_member.max(other.next_member),
        }
    }

    /// As many further on.
    #[must_use]
    pub const fn plus(self, skipped: i64) -> Self {
        Self {
            next_account: self.next_account.saturating_add(skipped),
            next_member: self.next_member.saturating_add(skipped),
        }
    }
}

/// The numbers that are minted next.
///
/// # Errors
/// [`StoreError`].
pub fn numbers(tx: &mut Tx<'_>) -> Result<Numbers, StoreError> {
    let found = tx.query_one("SELECT next_account, next_member FROM hub", &[], |row| {
        Ok::<_, StoreError>(Numbers { next_account: row.integer(0)?, next_member: row.integer(1)? })
    })?;
    Ok(found.unwrap_or_default())
}

/// Leaves numbers out: those before these are not minted any more.
///
/// # Errors
/// [`StoreError`].
pub fn skip_numbers(tx: &mut Tx<'_>, to: Numbers) -> Result<(), StoreError> {
    let to = numbers(tx)?.max(to);
    let sql = "UPDATE hub SET next_account = $1, next_member = $2";
    tx.execute_one("leave numbers out", "hub", sql, &[to.next_account.into(), to.next_member.into()])
}

/// Since when it is proved that this database is older than it was, while nobody has begun another life.
///
/// # Errors
/// [`StoreError`].
pub fn must_recover(tx: &mut Tx<'_>) -> Result<Option<Instant>, StoreError> {
    let since = tx.query_one("SELECT must_recover_ms FROM hub", &[], |row| row.maybe_integer(0))?;
    Ok(since.flatten().map(Instant))
}

/// Which epoch proved that this database is older than it was.
///
/// # Errors
/// [`StoreError`].
pub fn older_by(tx: &mut Tx<'_>) -> Result<Option<(StoreId, Epoch)>, StoreError> {
    let sql = "SELECT must_recover_store, must_recover_epoch FROM hub WHERE must_recover_ms IS NOT NULL";
    tx.query_one(sql, &[], |row| {
        let number = row.integer(1)?;
        let epoch = u32::try_from(number).map(Epoch).map_err(|fault| StoreError::Value {
            table: "hub",
            column: "must_recover_epoch",
            row: number.to_string(),
            fault: fault.to_string(),
        })?;
        Ok((row.parsed(0, "hub", "must_recover_store")?, epoch))
    })
}

/// Notes that this database is older than it was, and which epoch proves it. Gives whether that is new.
///
/// # Errors
/// [`StoreError`].
pub fn found_older(tx: &mut Tx<'_>, (store, epoch): (StoreId, Epoch), now: Instant) -> Result<bool, StoreError> {
    let sql = "UPDATE hub SET must_recover_ms = $1, must_recover_store = $2, must_recover_epoch = $3 WHERE must_recover_ms IS NULL";
    Ok(tx.execute(sql, &[now.into(), (&store).into(), epoch.into()])? == 1)
}

/// Takes back that this database is older than it was: a person stands for it. What ended meanwhile was heard after all, unless the hub waited for it besides.
///
/// # Errors
/// [`StoreError`].
pub fn not_older(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tenure SET is_unheard = 0 WHERE standing = 'fenced' AND told_life = (SELECT incarnation FROM hub) \
         AND fenced_at_ms >= (SELECT must_recover_ms FROM hub)",
        &[],
    )?;
    let sql = "UPDATE hub SET must_recover_ms = NULL, must_recover_store = NULL, must_recover_epoch = NULL";
    tx.execute_one("take back that the database is older", "hub", sql, &[])
}

/// When the recovery log was last written.
///
/// # Errors
/// [`StoreError`].
pub fn remembered_at(tx: &mut Tx<'_>) -> Result<Option<Instant>, StoreError> {
    let at = tx.query_one("SELECT remembered_at_ms FROM hub", &[], |row| row.maybe_integer(0))?;
    Ok(at.flatten().map(Instant))
}

/// Notes that the recovery log was written.
///
/// # Errors
/// [`StoreError`].
pub fn remembered(tx: &mut Tx<'_>, now: Instant) -> Result<(), StoreError> {
    tx.execute_one("note the recovery log", "hub", "UPDATE hub SET remembered_at_ms = $1", &[now.into()])
}

/// Makes the hub's row. All numbers begin at 1.
pub fn insert(tx: &mut Tx<'_>, group: GroupId, currency: Currency) -> Result<(), StoreError> {
    tx.execute_one(
        "make the hub",
        "hub",
        "INSERT INTO hub (id, group_id, currency, incarnation, next_account, next_member, next_ingested_no, next_run, next_exception,
         reviewed_no)
         VALUES (1, $1, $2, 1, 1, 1, 1, 1, 1, 0)",
        &[group.as_str().into(), currency.into()],
    )
}
