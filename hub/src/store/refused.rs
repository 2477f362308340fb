//! Refused requests: what the hub turned away, for people who look into it. Bounded by origin, so that nobody can fill the disk with refusals, nor push
//! out with a stranger's what the stores themselves were told.

use huitong_protocol::id::StoreId;
use huitong_protocol::time::Instant;

use super::{StoreError, Tx};

/// The newest refusals kept of stores that proved who they are, and of all others: each enough to see a pattern over days, a few megabytes at most.
pub const REFUSED_MAX: i64 = 10_000;
/// The longest message kept, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// A request that changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Refused {
    /// Its number, rising; 0 until it is kept.
    pub number: i64,
    /// When.
    pub at_ms: Instant,
    /// The store that the request named.
    pub store: String,
    /// What was asked.
    pub path: String,
    /// Why it was refused.
    pub fault: String,
    /// In words.
    pub message: String,
    /// How many others of the same origin were refused since the one before and only counted, as they came too fast.
    pub unwritten: i64,
    /// Whether the request was signed by the store that it names.
    pub is_proved: bool,
}

/// Keeps a refusal and drops the oldest of its origin beyond [`REFUSED_MAX`].
///
/// # Errors
/// [`StoreError`].
pub fn record(tx: &mut Tx<'_>, refused: &Refused) -> Result<(), StoreError> {
    let cut = |text: &str, max: usize| text.chars().take(max).collect::<String>();
    tx.execute_one(
        "record a refusal",
        "refused_request",
        "INSERT INTO refused_request (at_ms, store, path, fault, message, unwritten, proved) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            refused.at_ms.into(),
            (&cut(&refused.store, 32)).into(),
            (&refused.path).into(),
            (&refused.fault).into(),
            (&cut(&refused.message, MESSAGE_CHARS_MAX)).into(),
            refused.unwritten.into(),
            refused.is_proved.into(),
        ],
    )?;
    tx.execute(
        "DELETE FROM refused_request WHERE proved = $1 AND refused_no <= \
         (SELECT refused_no FROM refused_request WHERE proved = $1 ORDER BY refused_no DESC LIMIT 1 OFFSET $2)",
        &[refused.is_proved.into(), REFUSED_MAX.into()],
    )?;
    Ok(())
}

/// Which refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Of requests that named this store.
    pub store: Option<StoreId>,
    /// Since then.
    pub since: Option<Instant>,
    /// Before this number.
    pub before: Option<i64>,
}

/// Refusals, newest first, at most so many.
///
/// # Errors
/// [`StoreError`].
pub fn list(tx: &mut Tx<'_>, filter: &Filter, limit: usize) -> Result<Vec<Refused>, StoreError> {
    let store = filter.store.map(|store| store.to_string()).unwrap_or_default();
    tx.query(
        "SELECT at_ms, store, path, fault, message, unwritten, proved, refused_no FROM refused_request \
         WHERE ($1 = '' OR store = $1) AND at_ms >= $2 AND refused_no < $3 ORDER BY refused_no DESC LIMIT $4",
        &[
            (&store).into(),
            filter.since.unwrap_or(Instant(i64::MIN)).into(),
            filter.before.unwrap_or(i64::MAX).into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ],
        |row| {
            Ok(Refused {
                number: row.integer(7)?,
                at_ms: Instant(row.integer(0)?),
                store: row.text(1)?.to_owned(),
                path: row.text(2)?.to_owned(),
                fault: row.text(3)?.to_owned(),
                message: row.text(4)?.to_owned(),
                unwritten: row.integer(5)?,
                is_proved: row.integer(6)? == 1,
            })
        },
    )
}

/// How many requests were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, schemars::JsonSchema)]
pub struct RefusedSum {
    /// Of stores that proved who they are.
    pub stores: i64,
    /// Of all others.
    pub strangers: i64,
}

/// How many requests were refused since a moment, those that were only counted included.
///
/// # Errors
/// [`StoreError`].
pub fn sum(tx: &mut Tx<'_>, since: Instant) -> Result<RefusedSum, StoreError> {
    let mut sum = RefusedSum::default();
    tx.for_each(
        "SELECT proved, CAST(SUM(1 + unwritten) AS BIGINT) FROM refused_request WHERE at_ms >= $1 GROUP BY proved",
        &[since.into()],
        |row| {
            let count = row.integer(1)?;
            if row.integer(0)? == 1 {
                sum.stores = count
            } else {
                sum.strangers = count
            }
            Ok::<(), StoreError>(())
        },
    )?;
    Ok(sum)
}
