//! Policy rows as the sync side reads them. Publishing is head office's.

use huitong_protocol::time::BusinessDay;

use super::{StoreError, Tx};

/// The policy in force on a day: the newest version that is effective by then.
///
/// # Errors
/// [`StoreError`].
pub fn in_force(tx: &mut Tx<'_>, day: BusinessDay) -> Result<Option<(i64, String)>, StoreError> {
    tx.query_one(
        "SELECT version, document FROM policy WHERE effective_from <= $1 ORDER BY version DESC LIMIT 1",
        &[(&day.to_string()).into()],
        |row| Ok((row.integer(0)?, row.text(1)?.to_owned())),
    )
}
