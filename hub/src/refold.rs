//! Refold: streams accounts' movements, in the total order, in chunks of whole accounts, so that memory stays flat however many there are.
//!
//! Who folds them, and what becomes of the result, is the caller's: settlement, balances and verification all look at the same stream.

use huitong_protocol::id::AccountId;
use huitong_protocol::movement::PostedMovement;
use huitong_protocol::time::BusinessDay;

use crate::store::account::{INGESTED_NO, MOVEMENT_COLUMNS, MovementReader};
use crate::store::engine::{Row, StoreError, Tx};

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

/// A stream of accounts' movements up to a cut.
#[derive(Debug)]
pub struct Refold {
    /// Which accounts.
    pub accounts: Accounts,
    /// The last `ingested_no` that is seen.
    pub cut_ingested_no: i64,
    /// Movements of later days than this are noted in `open_ingested_no`.
    pub day_to: Option<BusinessDay>,
    /// The smallest `ingested_no` of a movement after `day_to`; the end of the numbers when there is none.
    pub open_ingested_no: i64,
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

/// Where the next chunk begins.
#[derive(Clone, Copy)]
struct Next {
    account: i64,
    index: usize,
}

impl Refold {
    /// Everything that ever moved.
    #[must_use]
    pub fn everything() -> Self {
        Self { accounts: Accounts::All, cut_ingested_no: i64::MAX, day_to: None, open_ingested_no: i64::MAX }
    }

    /// Hands each account's movements to `each`, in ascending order of accounts. An account without any is left out.
    ///
    /// # Errors
    /// [`StoreError`], or what `each` gives.
    pub fn run<E: From<StoreError>>(
        &mut self,
        tx: &mut Tx<'_>,
        mut each: impl FnMut(&mut Tx<'_>, AccountId, &[PostedMovement]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut chunk: Vec<PostedMovement> = Vec::new();
        let mut reader = MovementReader::default();
        let mut next = Some(Next { account: 0, index: 0 });
        while let Some(from) = next {
            chunk.clear();
            next = match &self.accounts {
                Accounts::All => self.fill(tx, &mut reader, &mut chunk, from)?,
                Accounts::Listed(_) => self.fill_listed(tx, &mut reader, &mut chunk, from)?,
            };
            for history in chunk.chunk_by(|a, b| a.account == b.account) {
                each(tx, history[0].account, history)?;
            }
        }
        Ok(())
    }

    fn fill(
        &mut self,
        tx: &mut Tx<'_>,
        reader: &mut MovementReader,
        chunk: &mut Vec<PostedMovement>,
        from: Next,
    ) -> Result<Option<Next>, StoreError> {
        let sql = format!(
            "SELECT {MOVEMENT_COLUMNS} FROM movement WHERE account_id >= $1 AND ingested_no <= $2
             ORDER BY account_id, stamp, store_id, epoch, seq, idx"
        );
        let mut next = None;
        let read = tx.for_each(&sql, &[from.account.into(), self.cut_ingested_no.into()], |row| {
            if chunk.len() >= CHUNK_MOVEMENTS {
                let account = row.integer(0)?;
                if chunk.last().is_some_and(|last| last.account.get() != account) {
                    next = Some(Next { account, index: 0 });
                    return Err(Halt::Full);
                }
            }
            chunk.push(self.take(reader, row)?);
            Ok(())
        });
        match read {
            Ok(()) | Err(Halt::Full) => Ok(next),
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    fn fill_listed(
        &mut self,
        tx: &mut Tx<'_>,
        reader: &mut MovementReader,
        chunk: &mut Vec<PostedMovement>,
        from: Next,
    ) -> Result<Option<Next>, StoreError> {
        let sql = format!(
            "SELECT {MOVEMENT_COLUMNS} FROM movement WHERE account_id = $1 AND ingested_no <= $2
             ORDER BY account_id, stamp, store_id, epoch, seq, idx"
        );
        let mut index = from.index;
        while let Accounts::Listed(listed) = &self.accounts
            && let Some(&account) = listed.get(index)
        {
            if chunk.len() >= CHUNK_MOVEMENTS {
                return Ok(Some(Next { account, index }));
            }
            tx.for_each(&sql, &[account.into(), self.cut_ingested_no.into()], |row| {
                chunk.push(self.take(reader, row)?);
                Ok::<(), StoreError>(())
            })?;
            index += 1;
        }
        Ok(None)
    }

    fn take(&mut self, reader: &mut MovementReader, row: &Row<'_>) -> Result<PostedMovement, StoreError> {
        let movement = reader.read(row)?;
        if self.day_to.is_some_and(|day_to| movement.business_day > day_to) {
            self.open_ingested_no = self.open_ingested_no.min(row.integer(INGESTED_NO)?);
        }
        Ok(movement)
    }
}
