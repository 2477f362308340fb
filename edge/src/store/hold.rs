//! Holds: what this store has set aside of accounts, and what became of each. What they sum to per purse stands with the counters, where the pure core
//! put it; here they are rows.
//!
//! Invariant: a row that is not open never changes again, and Σ of the open rows of an account is what its purse holds.

use huitong_protocol::id::{AccountId, EntryId, IdError, OperationId, Seq};
use huitong_protocol::ledger::EndedHold;
use huitong_protocol::till::{Hold, HoldState};
use huitong_protocol::time::Instant;
use rusqlite::Row;

use super::operation::KEPT_MS;
use super::{ReadTx, StoreError, WriteTx, cell, column, counted, parsed};

/// The columns in the order in which [`read`] takes them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT operation, entry, card, account, currency, amount_minor, placed_at_ms, expires_at_ms, state, captured_minor, ended_by FROM hold ",
            $rest
        )
    };
}

fn read(row: &Row<'_>) -> Result<Hold, StoreError> {
    let bad = |column, fault: String| StoreError::Value { table: "hold", column, fault };
    let state: String = cell(row, 8)?;
    let ended_by: Option<String> = cell(row, 10)?;
    Ok(Hold {
        id: OperationId(uuid::Uuid::from_bytes(cell(row, 0)?)),
        entry: parsed(row, 1, "hold", "entry")?,
        card: parsed(row, 2, "hold", "card")?,
        account: AccountId::new(cell(row, 3)?).map_err(|error| bad("account", error.to_string()))?,
        currency: parsed(row, 4, "hold", "currency")?,
        amount_minor: cell(row, 5)?,
        placed_at_ms: Instant(cell(row, 6)?),
        expires_at_ms: Instant(cell(row, 7)?),
        state: HoldState::named(&state).ok_or_else(|| bad("state", format!("is {state}")))?,
        captured_minor: cell(row, 9)?,
        ended_by: match ended_by {
            Some(text) => Some(text.parse().map_err(|error: IdError| bad("ended_by", error.to_string()))?),
            None => None,
        },
    })
}

/// Keeps a hold that was placed.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn insert(tx: &mut WriteTx<'_>, hold: &Hold) -> Result<(), StoreError> {
    tx.execute_one(
        "keep a hold",
        "INSERT INTO hold (seq, entry, operation, card, account, currency, amount_minor, placed_at_ms, expires_at_ms, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'open')",
        (
            column(hold.entry.seq.0),
            hold.entry.to_string(),
            &hold.id.0.as_bytes()[..],
            hold.card.reveal(),
            hold.account.get(),
            hold.currency.to_string(),
            hold.amount_minor,
            hold.placed_at_ms.0,
            hold.expires_at_ms.0,
        ),
    )
}

/// Ends an open hold by an entry.
///
/// # Errors
/// [`StoreError`] of the engine; [`StoreError::Rows`] for one that is not open.
pub fn end(tx: &mut WriteTx<'_>, ended: &EndedHold, by: EntryId) -> Result<(), StoreError> {
    tx.execute_one(
        "end a hold",
        "UPDATE hold SET state = ?2, captured_minor = ?3, ended_by = ?4 WHERE operation = ?1 AND state = 'open'",
        (&ended.id.0.as_bytes()[..], ended.state.as_str(), ended.captured_minor, by.to_string()),
    )
}

/// A hold by its id.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not one.
pub fn find(tx: &ReadTx<'_>, id: OperationId) -> Result<Option<Hold>, StoreError> {
    tx.one("read a hold", select!("WHERE operation = ?1"), [&id.0.as_bytes()[..]], read)
}

/// A hold by the entry that placed it.
///
/// # Errors
/// As [`find`].
pub fn placed_by(tx: &ReadTx<'_>, seq: Seq) -> Result<Option<Hold>, StoreError> {
    tx.one("read a hold", select!("WHERE seq = ?1"), [column(seq.0)], read)
}

const OPEN_OF: &str = select!("WHERE account = ?1 AND state = 'open' ORDER BY expires_at_ms, seq");

/// The open holds of an account, those that end first in front.
///
/// # Errors
/// As [`find`].
pub fn open_of(tx: &ReadTx<'_>, account: AccountId) -> Result<Vec<Hold>, StoreError> {
    tx.all("list an account's holds", OPEN_OF, [account.get()], read)
}

/// The holds of an account that are kept, the newest first.
///
/// # Errors
/// As [`find`].
pub fn of_account(tx: &ReadTx<'_>, account: AccountId, limit: usize) -> Result<Vec<Hold>, StoreError> {
    let sql = select!("WHERE account = ?1 ORDER BY seq DESC LIMIT ?2");
    tx.all("list an account's holds", sql, (account.get(), column(limit as u64)), read)
}

/// The open holds of the store, those that end first in front.
///
/// # Errors
/// As [`find`].
pub fn open(tx: &ReadTx<'_>, limit: usize) -> Result<Vec<Hold>, StoreError> {
    let sql = select!("WHERE state = 'open' ORDER BY expires_at_ms, seq LIMIT ?1");
    tx.all("list the open holds", sql, [column(limit as u64)], read)
}

/// The open holds whose time is over, the longest first, but for the first `passed` of them.
///
/// # Errors
/// As [`find`].
pub fn due(tx: &ReadTx<'_>, now: Instant, passed: usize, limit: usize) -> Result<Vec<Hold>, StoreError> {
    let sql = select!("WHERE state = 'open' AND expires_at_ms <= ?1 ORDER BY expires_at_ms, seq LIMIT ?2 OFFSET ?3");
    tx.all("look for holds that are over", sql, (now.0, column(limit as u64), column(passed as u64)), read)
}

/// A purse that has not set aside what its open holds sum to: the store is damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differing {
    /// The account.
    pub account: i64,
    /// What it counts.
    pub unit: String,
    /// What the open rows sum to.
    pub rows_minor: i64,
    /// What the counters say.
    pub held_minor: i64,
}

/// Purses that have not set aside what their open holds sum to, at most so many.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn differing(tx: &ReadTx<'_>, limit: usize) -> Result<Vec<Differing>, StoreError> {
    let sql = "SELECT account, unit, SUM(rows_minor), SUM(held_minor) FROM ( \
                   SELECT account, currency AS unit, amount_minor AS rows_minor, 0 AS held_minor FROM hold WHERE state = 'open' \
                   UNION ALL SELECT account, unit, 0, held_minor FROM allotment WHERE held_minor > 0) \
               GROUP BY account, unit HAVING SUM(rows_minor) <> SUM(held_minor) ORDER BY account, unit LIMIT ?1";
    tx.all("compare holds with what is set aside", sql, [column(limit as u64)], |row| {
        Ok(Differing {
            account: cell(row, 0)?,
            unit: cell(row, 1)?,
            rows_minor: cell(row, 2)?,
            held_minor: cell(row, 3)?,
        })
    })
}

/// Whether the time of any open hold is over.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn any_due(tx: &ReadTx<'_>, now: Instant) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM hold WHERE state = 'open' AND expires_at_ms <= ?1)";
    Ok(tx.one("look for holds that are over", sql, [now.0], |row| cell(row, 0))?.unwrap_or(false))
}

/// How many holds are open, and what they set aside together.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn open_sum(tx: &ReadTx<'_>) -> Result<(u64, i64), StoreError> {
    let sql = "SELECT COUNT(*), COALESCE(SUM(amount_minor), 0) FROM hold WHERE state = 'open'";
    let sum = tx.one("add up the open holds", sql, [], |row| Ok((counted(row, 0, "hold", "seq")?, cell(row, 1)?)))?;
    Ok(sum.unwrap_or_default())
}

/// Forgets ended holds that were to end longer ago than answers are kept, at most so many; gives how many. Call again until it gives 0.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn purge(tx: &mut WriteTx<'_>, now: Instant, limit: usize) -> Result<usize, StoreError> {
    tx.execute(
        "forget ended holds",
        "DELETE FROM hold WHERE seq IN (SELECT seq FROM hold WHERE state <> 'open' AND expires_at_ms < ?1 ORDER BY seq LIMIT ?2)",
        (now.0.saturating_sub(KEPT_MS), column(limit as u64)),
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::ledger::testing::{account, open_store};

    #[tokio::test]
    async fn a_statement_is_compiled_once_whatever_is_bound() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_store(folder.path());
        let again = store.read(|tx| {
            for number in 1..=3 {
                assert_eq!(open_of(tx, account(number))?, []);
            }
            let statement = tx.connection().prepare_cached(OPEN_OF).map_err(StoreError::during("test"))?;
            assert!(statement.get_status(StatementStatus::Run) >= 3, "it is the one that ran");
            Ok::<_, StoreError>(statement.get_status(StatementStatus::RePrepare))
        });
        assert_eq!(again.unwrap(), 0);
    }
}
