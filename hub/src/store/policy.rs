//! Policies as they are kept: signed byte strings, and the keys that sign them. Judging and signing them is not here.

use huitong_protocol::bundle::{Bundle, PolicyKey, Signed};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::wire::DatasetKind;

use super::{Row, StoreError, Tx, Value, adoption, dataset};

/// A published policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// What was signed.
    pub bundle: Bundle,
    /// When it was published.
    pub published_at_ms: Instant,
}

const KEPT: &str = "SELECT version, bundle, published_at_ms FROM policy";

fn read(row: &Row<'_>) -> Result<Kept, StoreError> {
    let version = row.integer(0)?;
    let bundle = Bundle::decode(row.bytes(1)?).map_err(|fault| StoreError::Value {
        table: "policy",
        column: "bundle",
        row: version.to_string(),
        fault,
    })?;
    Ok(Kept { bundle, published_at_ms: Instant(row.integer(2)?) })
}

/// The policy in force on a day: the newest version that is effective by then.
///
/// # Errors
/// [`StoreError`].
pub fn in_force(tx: &mut Tx<'_>, day: BusinessDay) -> Result<Option<Kept>, StoreError> {
    let sql = format!("{KEPT} WHERE effective_from <= $1 ORDER BY version DESC LIMIT 1");
    tx.query_one(&sql, &[(&day.to_string()).into()], read)
}

/// The number of the policy in force on a day, and 0 when there is none.
///
/// # Errors
/// [`StoreError`].
pub fn version_in_force(tx: &mut Tx<'_>, day: BusinessDay) -> Result<u64, StoreError> {
    let sql = "SELECT version FROM policy WHERE effective_from <= $1 ORDER BY version DESC LIMIT 1";
    let version = tx.query_one(sql, &[(&day.to_string()).into()], |row| row.integer(0))?;
    Ok(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0))
}

/// The number of the newest policy, and 0 when there is none.
///
/// # Errors
/// [`StoreError`].
pub fn newest_version(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let version =
        tx.query_one("SELECT version FROM policy ORDER BY version DESC LIMIT 1", &[], |row| row.integer(0))?;
    Ok(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0))
}

/// The newest policy, whether in force yet or not.
///
/// # Errors
/// [`StoreError`].
pub fn newest(tx: &mut Tx<'_>) -> Result<Option<Kept>, StoreError> {
    tx.query_one(&format!("{KEPT} ORDER BY version DESC LIMIT 1"), &[], read)
}

/// One version.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, version: u64) -> Result<Option<Kept>, StoreError> {
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    tx.query_one(&format!("{KEPT} WHERE version = $1"), &[version.into()], read)
}

/// Takes the version of the next policy or key. A hub that was restored from a backup goes on above what stores hold already: they would refuse
/// what does not rise.
///
/// # Errors
/// [`StoreError`].
pub fn next_version(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let first = dataset::advance(tx, DatasetKind::Policies, 1)?;
    let held = adoption::highest_held(tx, first - 1)?;
    let lost = held - (first - 1);
    let version = if lost > 0 { dataset::advance(tx, DatasetKind::Policies, lost)? + lost - 1 } else { first };
    Ok(u64::try_from(version).unwrap_or(0))
}

/// A published policy, whether this program can read it or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its version.
    pub version: u64,
    /// The first business day on which it is in force.
    pub effective_from: BusinessDay,
    /// When it was published.
    pub published_at_ms: Instant,
    /// What was signed, or why it cannot be read.
    pub bundle: Result<Bundle, String>,
}

/// Versions after one, oldest first, so many at most.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, after: u64, limit: usize) -> Result<Vec<Listed>, StoreError> {
    let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = "SELECT version, bundle, published_at_ms, effective_from FROM policy WHERE version > $1 ORDER BY version LIMIT $2";
    tx.query(sql, &[after.into(), limit.into()], |row| {
        Ok(Listed {
            version: u64::try_from(row.integer(0)?).unwrap_or(0),
            effective_from: row.parsed(3, "policy", "effective_from")?,
            published_at_ms: Instant(row.integer(2)?),
            bundle: Bundle::decode(row.bytes(1)?),
        })
    })
}

/// Keeps a policy.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, bundle: &Bundle, signed: &Signed, now: Instant) -> Result<(), StoreError> {
    tx.execute_one(
        "publish a policy",
        "policy",
        "INSERT INTO policy (version, effective_from, bundle, signature, published_at_ms) VALUES ($1, $2, $3, $4, $5)",
        &[
            i64::try_from(bundle.version).unwrap_or(i64::MAX).into(),
            (&bundle.effective_from.to_string()).into(),
            Value::Bytes(&signed.bytes),
            Value::Bytes(&signed.signature),
            now.into(),
        ],
    )
}

/// The keys that ever signed policies, oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn keys(tx: &mut Tx<'_>) -> Result<Vec<PolicyKey>, StoreError> {
    tx.query("SELECT from_version, public_key FROM policy_key ORDER BY from_version", &[], |row| {
        Ok(PolicyKey { from_version: u64::try_from(row.integer(0)?).unwrap_or(0), public_key: row.bytes(1)?.to_vec() })
    })
}

/// The key that signs now.
///
/// # Errors
/// [`StoreError`], also when the hub was never initialised.
pub fn current_key(tx: &mut Tx<'_>) -> Result<PolicyKey, StoreError> {
    super::root::hub(tx)?;
    keys(tx)?.pop().ok_or(StoreError::Rows {
        operation: "find the policy key",
        table: "policy_key",
        rows: 0,
        expected: 1,
    })
}

/// Adds a key with the word of the one before it. The first has none.
///
/// # Errors
/// [`StoreError`].
pub fn put_key(tx: &mut Tx<'_>, key: &PolicyKey, announcement: Option<&Signed>) -> Result<(), StoreError> {
    tx.execute_one(
        "add a policy key",
        "policy_key",
        "INSERT INTO policy_key (from_version, public_key, announcement, signature) VALUES ($1, $2, $3, $4)",
        &[
            i64::try_from(key.from_version).unwrap_or(i64::MAX).into(),
            Value::Bytes(&key.public_key),
            announcement.map(|signed| Value::Bytes(&signed.bytes)).into(),
            announcement.map(|signed| Value::Bytes(&signed.signature)).into(),
        ],
    )
}

/// The announcement of the key that begins at a version.
///
/// # Errors
/// [`StoreError`].
pub fn announcement(tx: &mut Tx<'_>, from_version: i64) -> Result<Option<Signed>, StoreError> {
    let sql = "SELECT announcement, signature FROM policy_key WHERE from_version = $1 AND announcement IS NOT NULL";
    tx.query_one(sql, &[from_version.into()], |row| {
        Ok(Signed { bytes: row.bytes(0)?.to_vec(), signature: row.bytes(1)?.to_vec() })
    })
}
