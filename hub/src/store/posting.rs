//! Head office's own journal: entries that the hub writes itself, under [`StoreId::HUB`] in epoch 1, chained and numbered as every store's.

use huitong_protocol::entry::{BODY_VERSION, Body, Entry, HEADER_VERSION, Header, HubPosting, Origin, ReplicaVersions};
use huitong_protocol::id::{Epoch, Hash, OperationId, Seq, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::time::{BusinessDay, CivilOffset, Instant, Stamp};

use super::engine::{StoreError, Tx, Value};
use super::root;

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

/// Appends one posting with its movements and gives its stamp.
pub fn post(
    tx: &mut Tx<'_>,
    operation: OperationId,
    day: BusinessDay,
    now: Instant,
    posting: HubPosting,
) -> Result<Stamp, StoreError> {
    let head = tx.query_one(
        "SELECT seq, hash FROM journal WHERE store_id = $1 AND epoch = $2",
        &[(&StoreId::HUB).into(), EPOCH.into()],
        |row| {
            let hash = Hash::from_slice(row.bytes(1)?).map_err(|why| StoreError::Value {
                table: "journal",
                column: "hash",
                row: "HUB".to_owned(),
                fault: why.to_string(),
            })?;
            Ok::<_, StoreError>(Head { seq: Seq(u64::try_from(row.integer(0)?).unwrap_or_default()), hash })
        },
    )?;
    let head = head.unwrap_or(Head::START);
    let stamp = stamp(tx, now)?;
    let header = Header {
        header_version: HEADER_VERSION,
        body_version: BODY_VERSION,
        kind: "hub_posting".to_owned(),
        group: root::hub(tx)?.group,
        store: StoreId::HUB,
        epoch: EPOCH,
        seq: head.seq.next(),
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
    append(tx, head, &entry, day)?;
    Ok(stamp)
}

fn append(tx: &mut Tx<'_>, head: Head, entry: &Entry, day: BusinessDay) -> Result<(), StoreError> {
    let bytes = entry.encode();
    let head = head.push(&bytes);
    let day = day.to_string();
    let ingested_no = tx
        .query_one(
            "UPDATE hub SET next_ingested_no = next_ingested_no + 1 RETURNING next_ingested_no - 1",
            &[],
            |row| row.integer(0),
        )?
        .ok_or(StoreError::Rows { operation: "number an entry", table: "hub", rows: 0, expected: 1 })?;
    let header = &entry.header;
    tx.execute_one(
        "append an entry",
        "entry",
        "INSERT INTO entry (store_id, epoch, seq, hash, ingested_no, kind, operation, business_day, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            (&header.store).into(),
            header.epoch.into(),
            head.seq.into(),
            (&head.hash).into(),
            ingested_no.into(),
            (&header.kind).into(),
            header.operation.0.as_bytes().as_slice().into(),
            (&day).into(),
            (&bytes).into(),
        ],
    )?;
    tx.execute_one(
        "move the head",
        "journal",
        "INSERT INTO journal (store_id, epoch, seq, hash, forked) VALUES ($1, $2, $3, $4, 0)
         ON CONFLICT (store_id, epoch) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        &[(&header.store).into(), header.epoch.into(), head.seq.into(), (&head.hash).into()],
    )?;
    for (index, movement) in (0_u16..).zip(entry.body.movements()) {
        let of_entry = movement.of.map(|of| of.entry.to_string());
        tx.execute_one(
            "post a movement",
            "movement",
            "INSERT INTO movement (account_id, stamp, store_id, epoch, seq, idx, ingested_no, business_day, unit, kind, amount_minor, of_entry, of_idx, origin_store)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            &[
                movement.account.into(),
                header.stamp.into(),
                (&header.store).into(),
                header.epoch.into(),
                head.seq.into(),
                index.into(),
                ingested_no.into(),
                (&day).into(),
                movement.unit.into(),
                movement.kind.into(),
                movement.amount_minor.into(),
                of_entry.as_deref().into(),
                movement.of.map(|of| Value::Integer(i64::from(of.index))).unwrap_or(Value::Null),
                movement.origin_store.as_ref().into(),
            ],
        )?;
    }
    Ok(())
}
