//! Cursor: how far a job that reads every entry once has come, by `ingested_no`. It is written with what the job found, so that a stop loses neither.
//!
//! Invariant: it never goes back.

use super::{StoreError, Tx};

/// The last `ingested_no` that a job has seen; 0 before the first.
///
/// # Errors
/// [`StoreError`].
pub fn get(tx: &mut Tx<'_>, name: &str) -> Result<i64, StoreError> {
    let sql = "SELECT ingested_no FROM job_cursor WHERE name = $1";
    Ok(tx.query_one(sql, &[name.into()], |row| row.integer(0))?.unwrap_or(0))
}

/// Moves a cursor forward. One that is further stays.
///
/// # Errors
/// [`StoreError`].
pub fn advance(tx: &mut Tx<'_>, name: &str, through: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO job_cursor (name, ingested_no) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET ingested_no = excluded.ingested_no WHERE job_cursor.ingested_no < excluded.ingested_no",
        &[name.into(), through.into()],
    )?;
    Ok(())
}
