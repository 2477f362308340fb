//! Day rows: the business days of each store, open until a seal is confirmed or contradicted.

use huitong_protocol::id::{Epoch, Seq, StoreId};
use huitong_protocol::seal::ControlTotals;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::wire::DayVerdict;

use super::{StoreError, Tx};

/// A day as the hub has it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Day {
    /// The store.
    pub store: StoreId,
    /// The day.
    pub business_day: BusinessDay,
    /// `open`, `accepted` or `differs`.
    pub state: String,
    /// The incarnation that opened or sealed it.
    pub epoch: Epoch,
    /// The seal's position, when there is one.
    pub seal_seq: Option<i64>,
    /// What the hub counted differently, a line each.
    pub differences: String,
    /// When it was accepted.
    pub accepted_at_ms: Option<i64>,
}

/// A day has opened. One that is known already stays as it is.
///
/// # Errors
/// [`StoreError`].
pub fn open(
    tx: &mut Tx<'_>,
    store: StoreId,
    day: BusinessDay,
    epoch: Epoch,
    ingested_no: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO day (store_id, business_day, epoch, state, ingested_no) VALUES ($1, $2, $3, 'open', $4) \
         ON CONFLICT (store_id, business_day) DO NOTHING",
        &[(&store).into(), (&day.to_string()).into(), epoch.into(), ingested_no.into()],
    )?;
    Ok(())
}

/// A day was sealed; `differences` are the hub's, none when it accepts.
///
/// # Errors
/// [`StoreError`].
pub fn seal(
    tx: &mut Tx<'_>,
    store: StoreId,
    epoch: Epoch,
    ingested_no: i64,
    verdict: &DayVerdict,
    counted: Option<&ControlTotals>,
    now: Instant,
) -> Result<(), StoreError> {
    let accepted = verdict.differences.is_empty();
    let totals = counted.map(huitong_protocol::wire::to_msgpack);
    let differences = verdict.differences.join("\n");
    tx.execute_one(
        "seal a day",
        "day",
        "INSERT INTO day (store_id, business_day, epoch, seal_seq, state, ingested_no, totals, differences, accepted_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (store_id, business_day) DO UPDATE SET epoch = excluded.epoch, \
         seal_seq = excluded.seal_seq, state = excluded.state, ingested_no = excluded.ingested_no, totals = excluded.totals, \
         differences = excluded.differences, accepted_at_ms = excluded.accepted_at_ms",
        &[
            (&store).into(),
            (&verdict.business_day.to_string()).into(),
            epoch.into(),
            verdict.seal_seq.into(),
            if accepted { "accepted" } else { "differs" }.into(),
            ingested_no.into(),
            totals.as_deref().into(),
            (&differences).into(),
            accepted.then_some(now).into(),
        ],
    )
}

/// The hub's word on a day that it sealed before.
///
/// # Errors
/// [`StoreError`].
pub fn verdict(tx: &mut Tx<'_>, store: StoreId, epoch: Epoch, seal_seq: Seq) -> Result<Option<DayVerdict>, StoreError> {
    tx.query_one(
        "SELECT business_day, differences FROM day WHERE store_id = $1 AND epoch = $2 AND seal_seq = $3",
        &[(&store).into(), epoch.into(), seal_seq.into()],
        |row| {
            let differences = row.text(1)?.lines().map(str::to_owned).collect();
            Ok(DayVerdict { business_day: row.parsed(0, "day", "business_day")?, seal_seq, differences })
        },
    )
}

/// Days of all stores between two days, both included, by day and store.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>, from: BusinessDay, to: BusinessDay) -> Result<Vec<Day>, StoreError> {
    tx.query(
        "SELECT store_id, business_day, state, epoch, seal_seq, differences, accepted_at_ms FROM day \
         WHERE business_day >= $1 AND business_day <= $2 ORDER BY business_day, store_id",
        &[(&from.to_string()).into(), (&to.to_string()).into()],
        |row| {
            Ok(Day {
                store: row.parsed(0, "day", "store_id")?,
                business_day: row.parsed(1, "day", "business_day")?,
                state: row.text(2)?.to_owned(),
                epoch: Epoch(u32::try_from(row.integer(3)?).unwrap_or(0)),
                seal_seq: row.maybe_integer(4)?,
                differences: row.text(5)?.to_owned(),
                accepted_at_ms: row.maybe_integer(6)?,
            })
        },
    )
}
