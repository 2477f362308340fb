//! Overview: how things stand at head office, in one look. Each number leads to the list that it counts.

use huitong_protocol::id::GroupId;
use huitong_protocol::money::Currency;
use huitong_protocol::time::{BusinessDay, Instant};
use serde::Serialize;

use crate::calendar;
use crate::hot::{self, HotSum, Lately, Part};
use crate::store::exception::{self, Counts};
use crate::store::refused::{self, RefusedSum};
use crate::store::{StoreError, Tx, organisation, root, settlement, tenure};

const DAY_MS: i64 = 24 * 3_600_000;

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Overview {
    /// When this was so.
    pub as_of_ms: Instant,
    /// The group.
    pub group: GroupId,
    /// What it counts in.
    pub currency: Currency,
    /// Its life: one more after each restore of its database.
    pub life: i64,
    /// Epochs of stores that this life waits for: until the last was heard or ended, nothing is granted.
    pub waited_for: Vec<String>,
    /// Since when a store has proved that this database is older than it was: nothing is granted or paid back until `recover` is run.
    pub must_recover_ms: Option<Instant>,
    /// When what a restored backup would have forgotten was last written down outside the database.
    pub remembered_at_ms: Option<Instant>,
    /// How many stores there are.
    pub stores: usize,
    /// The last business day that any store opened.
    pub last_day: Option<BusinessDay>,
    /// The last day of the last booked run.
    pub settled_to: Option<BusinessDay>,
    /// What is not resolved.
    pub exceptions: Counts,
    /// Sync requests that were refused in the last 24 hours.
    pub refused_last_day: RefusedSum,
    /// Cards that are frozen or lost, and what can still be taken with them.
    pub hot_cards: HotSum,
}

/// Looks.
///
/// # Errors
/// [`StoreError`].
pub fn look(tx: &mut Tx<'_>, lately: &Lately, now: Instant) -> Result<Overview, StoreError> {
    let hub = root::hub(tx)?;
    Ok(Overview {
        as_of_ms: now,
        group: hub.group,
        currency: hub.currency,
        life: hub.incarnation,
        waited_for: tenure::waited_for(tx)?.iter().map(|(store, epoch, _)| format!("{store}-{epoch}")).collect(),
        must_recover_ms: root::must_recover(tx)?,
        remembered_at_ms: root::remembered_at(tx)?,
        stores: organisation::stores(tx)?.len(),
        last_day: calendar::last_day(tx, now)?,
        settled_to: settlement::last_booked(tx)?.map(|record| record.run.day_to),
        exceptions: exception::counts(tx)?,
        refused_last_day: refused::sum(tx, now.plus_ms(-DAY_MS))?,
        hot_cards: hot::look(tx, lately, Part::default(), now)?.sum(),
    })
}
