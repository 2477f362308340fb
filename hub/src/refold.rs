//! Refold: streams accounts' movements, in the total order, in chunks of whole accounts, so that memory stays flat however many there are.
//!
//! Who folds them, and what becomes of the result, is the caller's: settlement, balances and verification all look at the same stream.

use huitong_protocol::id::AccountId;
use huitong_protocol::movement::PostedMovement;

use crate::store::account::{MOVEMENT_COLUMNS, MovementReader};
use crate::store::engine::{StoreError, Tx};

/// Movements held at once, plus what the last account adds: some ten megabytes.
const CHUNK_MOVEMENTS: usize = 65_536;

/// Which accounts to stream.
#[derive(Debug, Clone)]
pub enum Accounts {
    /// All that ever moved.
    All,
    /// These, in ascending order.
    Listed(Vec<i64>),
}

/// Ends a query early.
enum Halt {
    Full,
    Failed(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Hands each account's movements with an `ingested_no` up to the cut to `each`, in ascending order of accounts. An account without any is left out.
///
/// # Errors
/// [`StoreError`], or what `each` gives.
pub fn for_each_account<E: From<StoreError>>(
    tx: &mut Tx<'_>,
    accounts: &Accounts,
    cut_ingested_no: i64,
    mut each: impl FnMut(&mut Tx<'_>, AccountId, &[PostedMovement]) -> Result<(), E>,
) -> Result<(), E> {
    let mut chunk: Vec<PostedMovement> = Vec::new();
    let mut reader = MovementReader::default();
    let mut next = Some(Next { account: 0, index: 0 });
    while let Some(from) = next {
        chunk.clear();
        next = match accounts {
            Accounts::All => fill(tx, &mut reader, &mut chunk, from, cut_ingested_no)?,
            Accounts::Listed(listed) => fill_listed(tx, &mut reader, &mut chunk, from, listed, cut_ingested_no)?,
        };
        for history in chunk.chunk_by(|a, b| a.account == b.account) {
            each(tx, history[0].account, history)?;
        }
    }
    Ok(())
}

/// Where the next chunk begins.
#[derive(Clone, Copy)]
struct Next {
    account: i64,
    index: usize,
}

fn fill(
    tx: &mut Tx<'_>,
    reader: &mut MovementReader,
    chunk: &mut Vec<PostedMovement>,
    from: Next,
    cut_ingested_no: i64,
) -> Result<Option<Next>, StoreError> {
    let sql = format!(
        "SELECT {MOVEMENT_COLUMNS} FROM movement WHERE account_id >= $1 AND ingested_no <= $2 ORDER BY account_id, stamp, store_id, epoch, seq, idx"
    );
    let mut next = None;
    let read = tx.for_each(&sql, &[from.account.into(), cut_ingested_no.into()], |row| {
        if chunk.len() >= CHUNK_MOVEMENTS {
            let account = row.integer(0)?;
            if chunk.last().is_some_and(|last| last.account.get() != account) {
                next = Some(Next { account, index: 0 });
                return Err(Halt::Full);
            }
        }
        chunk.push(reader.read(row)?);
        Ok(())
    });
    match read {
        Ok(()) | Err(Halt::Full) => Ok(next),
        Err(Halt::Failed(error)) => Err(error),
    }
}

fn fill_listed(
    tx: &mut Tx<'_>,
    reader: &mut MovementReader,
    chunk: &mut Vec<PostedMovement>,
    from: Next,
    listed: &[i64],
    cut_ingested_no: i64,
) -> Result<Option<Next>, StoreError> {
    let sql = format!(
        "SELECT {MOVEMENT_COLUMNS} FROM movement WHERE account_id = $1 AND ingested_no <= $2 ORDER BY account_id, stamp, store_id, epoch, seq, idx"
    );
    for (index, &account) in listed.iter().enumerate().skip(from.index) {
        if chunk.len() >= CHUNK_MOVEMENTS {
            return Ok(Some(Next { account, index }));
        }
        tx.for_each(&sql, &[account.into(), cut_ingested_no.into()], |row| {
            chunk.push(reader.read(row)?);
            Ok::<(), StoreError>(())
        })?;
    }
    Ok(None)
}
