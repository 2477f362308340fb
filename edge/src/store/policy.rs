//! Policy: what head office published under its key, what this store refused of it, and which version is in force.
//!
//! Only what is signed by a key that the store trusts, for its group, with a version that rises, is kept; everything else changes nothing and is
//! remembered as refused until a later policy is taken. Invariant: a policy that cannot be used never takes the place of one that can.

use std::collections::BTreeMap;
use std::sync::Arc;

use huitong_protocol::bundle::{Bundle, PolicyFault, PolicyKey, PolicyState, RefusedPolicy, Signed, Trust};
use huitong_protocol::policy::Policy;
use huitong_protocol::pricing::PriceBook;
use huitong_protocol::time::BusinessDay;
use huitong_protocol::wire::{DatasetPage, DatasetRow};

use super::tx::{Chain, PolicyInForce};
use super::{ReadTx, StoreError, WriteTx, cell, column, counted, parsed};
use crate::identity::is_signed_by;

/// Versions that were looked at: the policy, or why it cannot be used.
pub type Versions = BTreeMap<u64, Result<Arc<PolicyInForce>, String>>;

/// The keys that the store trusts, oldest first.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn keys(tx: &ReadTx<'_>) -> Result<Vec<PolicyKey>, StoreError> {
    tx.all("read the policy keys", "SELECT from_version, public_key FROM policy_key ORDER BY from_version", [], |row| {
        Ok(PolicyKey { from_version: counted(row, 0, "policy_key", "from_version")?, public_key: cell(row, 1)? })
    })
}

/// Trusts the keys that came with an enrolment, and no others.
///
/// # Errors
/// [`StoreError::Rule`] when there is none.
pub fn pin(tx: &mut WriteTx<'_>, keys: &[PolicyKey]) -> Result<(), StoreError> {
    if keys.is_empty() || keys.iter().any(|key| !is_version(key.from_version)) {
        let fault = "the hub named no key that signs its policies; no policy could ever be taken".to_owned();
        return Err(StoreError::Rule { operation: "trust a policy key", fault });
    }
    tx.execute("forget the policy keys", "DELETE FROM policy_key", [])?;
    keys.iter().try_for_each(|key| put_key(tx, key))
}

fn put_key(tx: &mut WriteTx<'_>, key: &PolicyKey) -> Result<(), StoreError> {
    tx.execute_one(
        "trust a policy key",
        "INSERT INTO policy_key (from_version, public_key) VALUES (?1, ?2)",
        (column(key.from_version), &key.public_key),
    )
}

fn is_version(version: u64) -> bool {
    i64::try_from(version).is_ok()
}

/// What became of a page of policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// The page reaches further than what could be believed of it. The rest is asked for again: perhaps it was spoilt on the way.
    pub waits: bool,
}

/// Takes what can be trusted of a page, and gives how far the store has come: to `before`, or to the last version that was signed. What the page
/// itself says of its end is not believed, or an empty page could make a store wait for ever.
pub(super) fn apply(tx: &mut WriteTx<'_>, page: &DatasetPage, before: u64) -> Result<u64, StoreError> {
    let mut through = before;
    let group = tx.identity()?.group;
    let claimed = page.through_version.min(i64::MAX.unsigned_abs());
    let (mut refused, mut is_changed) = (Vec::new(), false);
    for row in &page.rows {
        let keys = keys(tx)?;
        let trust = Trust { group, keys: &keys };
        let taken = match row {
            DatasetRow::Policy(signed) => take_policy(tx, &trust, signed, claimed)?,
            DatasetRow::PolicyKey(signed) => take_key(tx, &trust, signed, claimed)?,
            _ => {
                let fault = "a row of another dataset is in a page of policies".to_owned();
                return Err(StoreError::Rule { operation: "apply a page", fault });
            }
        };
        match taken {
            Ok((version, is_new)) => {
                is_changed |= is_new;
                through = through.max(version);
            }
            Err(why) => refused.push(why),
        }
    }
    let held = held(tx)?;
    let known = refusals(tx)?;
    if is_changed {
        // Somebody has mended what was refused before, or gone past it.
        tx.execute("forget refused policies", "DELETE FROM policy_refusal", [])?;
    }
    // What was told before and is passed now is settled, although the page brought it once more.
    for why in refused.iter().filter(|why| !(is_changed && why.version <= held && known.contains(why))) {
        tx.execute(
            "remember a refused policy",
            "INSERT INTO policy_refusal (version, fault, detail) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            (column(why.version), why.fault.as_str(), &why.detail),
        )?;
    }
    tx.execute(
        "forget the oldest refused policies",
        "DELETE FROM policy_refusal WHERE rowid NOT IN (SELECT rowid FROM policy_refusal ORDER BY rowid DESC LIMIT ?1)",
        [column(PolicyState::REFUSED_MAX as u64)],
    )?;
    if is_changed || refused.iter().any(|why| !known.contains(why)) {
        refresh(tx)?;
    }
    Ok(through)
}

/// The version that was signed, and whether it is new here.
type Taken = Result<(u64, bool), RefusedPolicy>;

fn take_policy(tx: &mut WriteTx<'_>, trust: &Trust<'_>, signed: &Signed, claimed: u64) -> Result<Taken, StoreError> {
    let bundle = match trust.open_policy(signed, claimed, &is_signed_by) {
        Ok(bundle) => bundle,
        Err(why) => return Ok(Err(why)),
    };
    let sql = "SELECT 1 FROM policy WHERE version = ?1 AND bundle = ?2";
    if tx.one("look for a policy", sql, (column(bundle.version), &signed.bytes), |_| Ok(()))?.is_some() {
        return Ok(Ok((bundle.version, false)));
    }
    let held = held(tx)?;
    if bundle.version <= held {
        let words = format!("version {} does not rise above {held}, which the store holds", bundle.version);
        return Ok(Err(RefusedPolicy::new(bundle.version, PolicyFault::PolicyVersion, &words)));
    }
    tx.execute_one(
        "keep a policy",
        "INSERT INTO policy (version, effective_from, bundle, signature) VALUES (?1, ?2, ?3, ?4)",
        (column(bundle.version), bundle.effective_from.to_string(), &signed.bytes, &signed.signature),
    )?;
    Ok(Ok((bundle.version, true)))
}

fn take_key(tx: &mut WriteTx<'_>, trust: &Trust<'_>, signed: &Signed, claimed: u64) -> Result<Taken, StoreError> {
    let key = match trust.open_key(signed, claimed, &is_signed_by) {
        Ok(key) => key,
        Err(why) => return Ok(Err(why)),
    };
    if trust.keys.contains(&key) {
        return Ok(Ok((key.from_version, false)));
    }
    let last = trust.keys.last().map_or(0, |key| key.from_version).max(held(tx)?);
    if key.from_version <= last {
        let words = format!("key {} begins at version {}, the store is past {last}", key.id(), key.from_version);
        return Ok(Err(RefusedPolicy::new(key.from_version, PolicyFault::PolicyVersion, &words)));
    }
    put_key(tx, &key)?;
    tracing::info!(
        policy.key = key.id().as_str(),
        "Policies are signed with key {} from version {}",
        key.id(),
        key.from_version
    );
    Ok(Ok((key.from_version, true)))
}

/// The newest version that the store holds, 0 when there is none.
fn held(tx: &ReadTx<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT version FROM policy ORDER BY version DESC LIMIT 1";
    Ok(tx.one("read the newest policy", sql, [], |row| counted(row, 0, "policy", "version"))?.unwrap_or(0))
}

fn refusals(tx: &ReadTx<'_>) -> Result<Vec<RefusedPolicy>, StoreError> {
    let sql = "SELECT version, fault, detail FROM policy_refusal ORDER BY rowid";
    tx.all("read refused policies", sql, [], |row| {
        Ok(RefusedPolicy {
            version: counted(row, 0, "policy_refusal", "version")?,
            fault: parsed(row, 1, "policy_refusal", "fault")?,
            detail: cell(row, 2)?,
        })
    })
}

/// Reads a bundle in full: the document, and what stores have set for themselves within its bounds.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read_bundle(bundle: &Bundle) -> Result<Policy, String> {
    let mut policy: Policy = toml::from_str(&bundle.document).map_err(|error| error.to_string())?;
    policy.stores = toml::from_str(&bundle.parameters).map_err(|error| format!("stores: {error}"))?;
    let faults = policy.validate();
    if faults.is_empty() {
        return Ok(policy);
    }
    Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Looks again which policy is in force.
pub(super) fn refresh(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    tx.chain.revision += 1;
    set(&tx.read, tx.chain)
}

/// Sets what the chain knows of policies: the one in force on its day, the usable one before it, what was refused.
///
/// In force is the newest version that is effective on the day; where none is yet, the one that will be first, as a store with any policy opens.
pub(super) fn set(tx: &ReadTx<'_>, chain: &mut Chain) -> Result<(), StoreError> {
    let day = chain.open_day.or(chain.closed_day);
    let published: Vec<(u64, BusinessDay)> =
        tx.all("read policies", "SELECT version, effective_from FROM policy ORDER BY version DESC", [], |row| {
            Ok((counted(row, 0, "policy", "version")?, parsed(row, 1, "policy", "effective_from")?))
        })?;
    let is_effective = |from: BusinessDay| day.is_none_or(|day| from <= day);
    let (mut order, mut later): (Vec<_>, Vec<_>) = published.iter().partition(|(_, from)| is_effective(*from));
    later.sort_by_key(|(_, from)| *from);
    order.extend(later);
    let mut versions = Versions::new();
    let in_force = first_usable(tx, chain, &mut versions, order)?;
    let bound = in_force.as_ref().map_or(0, |policy| policy.version);
    // Sales quoted before the day changed come under the one before; what is to come is judged now, while there is time to mend it.
    first_usable(tx, chain, &mut versions, published.iter().copied().filter(|(version, _)| *version < bound))?;
    for &(version, from) in published.iter().filter(|(version, _)| *version > bound) {
        drop(look(tx, chain, &mut versions, version, from)?);
    }
    let unusable = versions.iter().filter(|(version, _)| **version > bound).filter_map(|(version, policy)| {
        let detail = policy.as_ref().err()?;
        Some(RefusedPolicy::new(*version, PolicyFault::PolicyDocument, detail))
    });
    chain.policy_refused = refusals(tx)?.into_iter().chain(unusable).collect();
    chain.policy_held = published.first().map_or(0, |(version, _)| *version);
    chain.replica.policy = bound;
    chain.policy = in_force;
    chain.policy_versions = Arc::new(versions);
    Ok(())
}

fn first_usable(
    tx: &ReadTx<'_>,
    chain: &Chain,
    versions: &mut Versions,
    order: impl IntoIterator<Item = (u64, BusinessDay)>,
) -> Result<Option<Arc<PolicyInForce>>, StoreError> {
    for (version, from) in order {
        if let Ok(policy) = look(tx, chain, versions, version, from)? {
            return Ok(Some(policy));
        }
    }
    Ok(None)
}

/// A version never changes, so one that was read before is not read again.
fn look(
    tx: &ReadTx<'_>,
    chain: &Chain,
    versions: &mut Versions,
    version: u64,
    effective_from: BusinessDay,
) -> Result<Result<Arc<PolicyInForce>, String>, StoreError> {
    if let Some(known) = versions.get(&version).or_else(|| chain.policy_versions.get(&version)) {
        let known = known.clone();
        versions.insert(version, known.clone());
        return Ok(known);
    }
    let sql = "SELECT bundle FROM policy WHERE version = ?1";
    let bytes: Option<Vec<u8>> = tx.one("read a policy", sql, [column(version)], |row| cell(row, 0))?;
    let read = Bundle::decode(&bytes.unwrap_or_default())
        .and_then(|bundle| read_bundle(&bundle))
        .map(|mut policy| {
            // Judged whole, but the parameters of others are for others to follow.
            policy.stores.retain(|store, _| chain.identity.as_ref().is_none_or(|own| own.store.id == *store));
            policy
        })
        .map(|policy| Arc::new(PolicyInForce { version, effective_from, book: PriceBook::new(&policy), policy }));
    versions.insert(version, read.clone());
    Ok(read)
}

/// How the store stands with its policies, as the hub is told.
#[must_use]
pub fn state(chain: &Chain) -> PolicyState {
    let refused = &chain.policy_refused;
    let newest = refused.len().saturating_sub(PolicyState::REFUSED_MAX);
    PolicyState { held: chain.policy_held, in_force: chain.replica.policy, refused: refused[newest..].to_vec() }
}
