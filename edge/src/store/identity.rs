//! Identity: who this store is, as head office enrolled it. The key that proves it is a file of its own, not here.

use std::sync::Arc;

use huitong_protocol::id::{Epoch, GroupId};
use huitong_protocol::organisation::Store as StoreRecord;
use huitong_protocol::time::{BusinessDay, CivilOffset, Instant};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::{ReadTx, StoreError, WriteTx, cell, parsed};

/// Who the store is, with its wall clock.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The retail group.
    pub group: GroupId,
    /// The incarnation of this database.
    pub epoch: Epoch,
    /// The store as head office has it.
    pub store: StoreRecord,
    /// Its time zone.
    pub zone: TimeZone,
}

impl Identity {
    /// Takes what the hub said.
    ///
    /// # Errors
    /// [`StoreError::Rule`] when the time zone is not known here.
    pub fn new(group: GroupId, epoch: Epoch, store: StoreRecord) -> Result<Self, StoreError> {
        let zone = TimeZone::get(&store.time_zone).map_err(|error| StoreError::Rule {
            operation: "take the store's record",
            fault: format!("time_zone {:?}: {error}", store.time_zone),
        })?;
        Ok(Self { group, epoch, store, zone })
    }

    /// The offset of the store's wall clock at an instant.
    #[must_use]
    pub fn offset(&self, at: Instant) -> CivilOffset {
        let offset = Timestamp::from_millisecond(at.0).map_or(0, |at| self.zone.to_offset(at).seconds() / 60);
        i16::try_from(offset)
            .ok()
            .and_then(|minutes| CivilOffset::new(minutes).ok())
            .expect("no time zone is more than 26 hours away")
    }

    /// The business day that an instant belongs to by the store's wall clock and rollover hour. `None` outside the calendar.
    #[must_use]
    pub fn business_day(&self, at: Instant) -> Option<BusinessDay> {
        let civil = Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.zone.clone()).datetime();
        // Civil arithmetic: in the night of a clock change the rollover is still at its hour on the wall.
        civil.checked_sub(i64::from(self.store.rollover_hour).hours()).ok().map(|civil| BusinessDay::of(civil.date()))
    }

    /// When a business day ends by the store's wall clock: at the rollover hour of the day after. `None` outside the calendar.
    #[must_use]
    pub fn end_of(&self, day: BusinessDay) -> Option<Instant> {
        let hour = i8::try_from(self.store.rollover_hour).ok()?;
        let civil = day.tomorrow().date().at(0, 0, 0, 0).with().hour(hour).build().ok()?;
        civil.to_zoned(self.zone.clone()).ok().map(|end| Instant(end.timestamp().as_millisecond()))
    }
}

pub(super) fn load(tx: &ReadTx<'_>) -> Result<Option<Identity>, StoreError> {
    tx.one("read the identity", "SELECT group_id, epoch, store FROM identity WHERE id = 1", [], |row| {
        let epoch: u32 = cell(row, 1)?;
        let record: String = cell(row, 2)?;
        let store = serde_json::from_str(&record).map_err(|error| StoreError::Value {
            table: "identity",
            column: "store",
            fault: error.to_string(),
        })?;
        Identity::new(parsed(row, 0, "identity", "group_id")?, Epoch(epoch), store)
    })
}

/// Writes who the store is. Group, code and epoch of a store that has written entries cannot be changed here: its journal names them.
///
/// # Errors
/// [`StoreError::Rule`] when it would become another store.
pub fn put(tx: &mut WriteTx<'_>, identity: Identity) -> Result<(), StoreError> {
    if let Some(known) = &tx.chain().identity
        && tx.head().seq.0 > 0
        && (known.group, known.epoch, known.store.id) != (identity.group, identity.epoch, identity.store.id)
    {
        return Err(StoreError::Rule {
            operation: "change the identity",
            fault: format!(
                "the journal is that of store {} in epoch {}; start with an empty data folder for another",
                known.store.id, known.epoch
            ),
        });
    }
    let record = serde_json::to_string(&identity.store)
        .map_err(|error| StoreError::Rule { operation: "write the store's record", fault: error.to_string() })?;
    tx.execute_one(
        "write the identity",
        "INSERT INTO identity (id, group_id, epoch, store) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET group_id = excluded.group_id, epoch = excluded.epoch, store = excluded.store",
        (identity.group.as_str(), identity.epoch.0, record),
    )?;
    tx.chain_mut().identity = Some(Arc::new(identity));
    Ok(())
}
