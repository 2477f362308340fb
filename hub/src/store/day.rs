//! Day rows: the business days of each store, open until a seal is confirmed or contradicted; and what finance said of those that were not confirmed.

use std::collections::BTreeMap;

use huitong_protocol::id::{Epoch, Seq, StoreId};
use huitong_protocol::seal::ControlTotals;
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::wire::DayVerdict;

use super::{Row, StoreError, Tx};

/// A day as the hub has it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
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

/// Finance's word that a day is taken as the hub counted it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Resolution {
    /// The store.
    pub store: StoreId,
    /// The day.
    pub business_day: BusinessDay,
    /// The incarnation that the day was of; 0 when nothing of it had arrived.
    pub epoch: Epoch,
    /// The seal that it is about; 0 when there was none.
    pub seal_seq: i64,
    /// What the hub counted differently, a line each.
    pub differences: String,
    /// Who said so.
    pub resolved_by: String,
    /// Why.
    pub note: String,
    /// When.
    pub resolved_at_ms: i64,
}

impl Resolution {
    /// Whether it is about the day as it stands: a seal that came later asks anew.
    #[must_use]
    pub fn is_about(&self, day: &Day) -> bool {
        (self.store, self.business_day, self.epoch, self.seal_seq)
            == (day.store, day.business_day, day.epoch, day.seal_seq.unwrap_or(0))
    }
}

/// SQL: a row of `day` that finance has taken as it stands.
pub const IS_RESOLVED: &str = "EXISTS (SELECT 1 FROM day_resolution AS word WHERE word.store_id = day.store_id \
     AND word.business_day = day.business_day AND word.epoch = day.epoch AND word.seal_seq = COALESCE(day.seal_seq, 0))";

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

/// How exceptions name the seal of a day.
#[must_use]
pub fn seal_subject(store: StoreId, day: BusinessDay, epoch: Epoch, seal_seq: u64) -> String {
    format!("{store} {day} seal {store}-{epoch}-{seal_seq}")
}

const DAY: &str = "SELECT store_id, business_day, state, epoch, seal_seq, differences, accepted_at_ms FROM day";

fn read(row: &Row<'_>) -> Result<Day, StoreError> {
    Ok(Day {
        store: row.parsed(0, "day", "store_id")?,
        business_day: row.parsed(1, "day", "business_day")?,
        state: row.text(2)?.to_owned(),
        epoch: Epoch(u32::try_from(row.integer(3)?).unwrap_or(0)),
        seal_seq: row.maybe_integer(4)?,
        differences: row.text(5)?.to_owned(),
        accepted_at_ms: row.maybe_integer(6)?,
    })
}

/// A store's day, when anything of it is here.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, store: StoreId, day: BusinessDay) -> Result<Option<Day>, StoreError> {
    tx.query_one(
        &format!("{DAY} WHERE store_id = $1 AND business_day = $2"),
        &[(&store).into(), (&day.to_string()).into()],
        read,
    )
}

/// Days of all stores between two days, both included, by day and store.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>, from: BusinessDay, to: BusinessDay) -> Result<Vec<Day>, StoreError> {
    tx.query(
        &format!("{DAY} WHERE business_day >= $1 AND business_day <= $2 ORDER BY business_day, store_id"),
        &[(&from.to_string()).into(), (&to.to_string()).into()],
        read,
    )
}

/// The first day of every store that ever opened one.
///
/// # Errors
/// [`StoreError`].
pub fn firsts(tx: &mut Tx<'_>) -> Result<BTreeMap<StoreId, BusinessDay>, StoreError> {
    let firsts = tx.query("SELECT store_id, MIN(business_day) FROM day GROUP BY store_id", &[], |row| {
        Ok::<_, StoreError>((row.parsed(0, "day", "store_id")?, row.parsed(1, "day", "business_day")?))
    })?;
    Ok(firsts.into_iter().collect())
}

/// Keeps finance's word on a day.
///
/// # Errors
/// [`StoreError`].
pub fn resolve(tx: &mut Tx<'_>, resolution: &Resolution) -> Result<(), StoreError> {
    tx.execute_one(
        "resolve a day",
        "day_resolution",
        "INSERT INTO day_resolution (store_id, business_day, epoch, seal_seq, differences, resolved_by, note, resolved_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            (&resolution.store).into(),
            (&resolution.business_day.to_string()).into(),
            resolution.epoch.into(),
            resolution.seal_seq.into(),
            (&resolution.differences).into(),
            (&resolution.resolved_by).into(),
            (&resolution.note).into(),
            resolution.resolved_at_ms.into(),
        ],
    )
}

/// What finance said of days between two days, both included, by day, store and time.
///
/// # Errors
/// [`StoreError`].
pub fn resolutions(tx: &mut Tx<'_>, from: BusinessDay, to: BusinessDay) -> Result<Vec<Resolution>, StoreError> {
    tx.query(
        "SELECT store_id, business_day, epoch, seal_seq, differences, resolved_by, note, resolved_at_ms FROM day_resolution \
         WHERE business_day >= $1 AND business_day <= $2 ORDER BY business_day, store_id, resolved_at_ms, epoch, seal_seq",
        &[(&from.to_string()).into(), (&to.to_string()).into()],
        |row| {
            Ok(Resolution {
                store: row.parsed(0, "day_resolution", "store_id")?,
                business_day: row.parsed(1, "day_resolution", "business_day")?,
                epoch: Epoch(u32::try_from(row.integer(2)?).unwrap_or(0)),
                seal_seq: row.integer(3)?,
                differences: row.text(4)?.to_owned(),
                resolved_by: row.text(5)?.to_owned(),
                note: row.text(6)?.to_owned(),
                resolved_at_ms: row.integer(7)?,
            })
        },
    )
}
