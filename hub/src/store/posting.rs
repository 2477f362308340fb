//! Head office's own journal: entries that the hub writes itself, under [`StoreId::HUB`] in epoch 1, chained and numbered as every store's.

use huitong_protocol::entry::{BODY_VERSION, Body, Entry, HEADER_VERSION, Header, HubPosting, Origin, ReplicaVersions};
use huitong_protocol::id::{EntryId, Epoch, OperationId, StoreId};
use huitong_protocol::time::{BusinessDay, CivilOffset, Instant, Stamp};

use super::engine::{StoreError, Tx};
use super::{journal, root};

/// The hub's journal has one epoch: its database is the group's memory.
const EPOCH: Epoch = Epoch(1);

/// Whether an operation was posted before.
pub fn known(tx: &mut Tx<'_>, operation: OperationId) -> Result<bool, StoreError> {
    let found = tx.query_one(
        "SELECT seq FROM entry WHERE operation = $1",
        &[operation.0.as_bytes().as_slice().into()],
        |row| row.integer(0),
    )?;
    Ok(found.is_some())
}

/// The stamp of the hub's next entry: after its last one and not before its clock.
pub fn stamp(tx: &mut Tx<'_>, now: Instant) -> Result<Stamp, StoreError> {
    let bytes = tx.query_one(
        "SELECT bytes FROM entry WHERE store_id = $1 AND epoch = $2 ORDER BY seq DESC LIMIT 1",
        &[(&StoreId::HUB).into(), EPOCH.into()],
        |row| row.bytes(0).map(<[u8]>::to_vec),
    )?;
    let last = match bytes {
        None => Stamp::ZERO,
        Some(bytes) => {
            Entry::decode(&bytes)
                .map_err(|why| StoreError::Value {
                    table: "entry",
                    column: "bytes",
                    row: "the last of HUB".to_owned(),
                    fault: why.to_string(),
                })?
                .header
                .stamp
        }
    };
    Ok(Stamp::next(now, last, Stamp::ZERO))
}

/// What was posted.
#[derive(Debug, Clone, Copy)]
pub struct Posted {
    /// Its entry.
    pub id: EntryId,
    /// Its stamp.
    pub stamp: Stamp,
}

/// Appends one posting with its movements.
pub fn post(
    tx: &mut Tx<'_>,
    operation: OperationId,
    day: BusinessDay,
    now: Instant,
    posting: HubPosting,
) -> Result<Posted, StoreError> {
    let mut found = journal::find(tx, StoreId::HUB, EPOCH)?;
    let stamp = stamp(tx, now)?;
    let header = Header {
        header_version: HEADER_VERSION,
        body_version: BODY_VERSION,
        kind: "hub_posting".to_owned(),
        group: root::hub(tx)?.group,
        store: StoreId::HUB,
        epoch: EPOCH,
        seq: found.head.seq.next(),
        operation,
        stamp,
        at_ms: now,
        // Head office writes in UTC: its postings belong to no till's wall clock.
        offset_minutes: CivilOffset::new(0)
            .map_err(|why| StoreError::Rule { operation: "post", fault: why.to_string() })?,
        business_day: Some(day),
        terminal: None,
        terminal_seq: None,
        operator: None,
        approver: None,
        origin: Origin::Edge,
        replica: ReplicaVersions::default(),
    };
    let entry = Entry { header, body: Body::HubPosting(posting) };
    let bytes = entry.encode();
    (found.head, found.stamp) = (found.head.push(&bytes), stamp);
    let ingested_no = journal::take_ingested_no(tx, 1)?;
    journal::append(tx, entry.header.id(), found.head.hash, ingested_no, Some(&entry.header), &bytes)?;
    journal::put(tx, StoreId::HUB, EPOCH, &found)?;
    for (index, movement) in (0_u16..).zip(entry.body.movements()) {
        journal::post(tx, entry.header.id(), stamp, index, ingested_no, day, movement)?;
    }
    Ok(Posted { id: entry.header.id(), stamp })
}
