//! Turn: one run is computed at a time on a database, whichever process asks for it. A run reads for minutes, and of two that are computed from the same
//! moment only one can be booked.
//!
//! Kept in a lock beside the database; `book` does not rely on it and asks again for what a run was computed from.

use std::fs::File;

use super::SettleError;
use crate::lock;
use crate::store::Store;

/// The right to compute a run, until it is dropped. It is kept until the run is booked: whoever is next then sees that run.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

/// Takes the turn.
///
/// # Errors
/// [`SettleError::UnderWay`] when a run is being computed.
pub fn turn(store: &Store) -> Result<Turn, SettleError> {
    let path = lock::beside(store.path(), ".settle.lock");
    match lock::take(&path) {
        Ok(Some(file)) => Ok(Turn { _file: file }),
        Ok(None) => Err(SettleError::UnderWay),
        Err(source) => Err(SettleError::Lock { path, source }),
    }
}
