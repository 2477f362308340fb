//! Replica: what head office published, as far as this store has it, and the policy that is in force because of it.
//!
//! A page is applied with its cursor in one transaction. Invariant: a policy that cannot be read never takes the place of one that can.

use std::sync::Arc;

use huitong_protocol::policy::Policy;
use huitong_protocol::time::BusinessDay;
use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow, DatasetVersion, PolicyRow};

use super::identity::{self, Identity};
use super::tx::{Chain, PolicyInForce};
use super::{ReadTx, StoreError, WriteTx, card, cell, column, counted, item, member, parsed};

/// The version of each dataset that this store has.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn versions(tx: &ReadTx<'_>) -> Result<Vec<DatasetVersion>, StoreError> {
    DatasetKind::ALL.iter().map(|&dataset| Ok(DatasetVersion { dataset, version: version(tx, dataset)? })).collect()
}

/// The version of a dataset, 0 when there is none.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn version(tx: &ReadTx<'_>, dataset: DatasetKind) -> Result<u64, StoreError> {
    let sql = "SELECT version FROM dataset WHERE name = ?1";
    let version =
        tx.one("read a dataset's version", sql, [dataset.as_str()], |row| counted(row, 0, "dataset", "version"))?;
    Ok(version.unwrap_or(0))
}

/// Applies a page and moves its cursor.
///
/// # Errors
/// [`StoreError`] of the engine; [`StoreError::Rule`] when a row is of another dataset.
pub fn apply_page(tx: &mut WriteTx<'_>, page: &DatasetPage) -> Result<(), StoreError> {
    if let Some(key) = &page.phone_key {
        member::put_phone_key(tx, key)?;
    }
    for row in &page.rows {
        apply_row(tx, page, row)?;
    }
    tx.execute_one(
        "move a dataset's cursor",
        "INSERT INTO dataset (name, version) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
        (page.dataset.as_str(), column(page.through_version)),
    )?;
    let chain = tx.chain_mut();
    match page.dataset {
        DatasetKind::Items => chain.replica.items = page.through_version,
        DatasetKind::Members => chain.replica.members = page.through_version,
        DatasetKind::Cards => chain.replica.cards = page.through_version,
        DatasetKind::Policies => refresh_policy(tx)?,
        DatasetKind::LegalEntities | DatasetKind::Stores => {}
    }
    Ok(())
}

fn apply_row(tx: &mut WriteTx<'_>, page: &DatasetPage, row: &DatasetRow) -> Result<(), StoreError> {
    match (page.dataset, row) {
        (DatasetKind::LegalEntities, DatasetRow::LegalEntity(entity)) => put_record(
            tx,
            "INSERT INTO legal_entity (legal_entity, record) VALUES (?1, ?2) ON CONFLICT (legal_entity) DO UPDATE SET record = excluded.record",
            entity.id.as_str(),
            entity,
        ),
        (DatasetKind::Stores, DatasetRow::Store(store)) => {
            put_record(
                tx,
                "INSERT INTO store (store, record) VALUES (?1, ?2) ON CONFLICT (store) DO UPDATE SET record = excluded.record",
                store.id.as_str(),
                store,
            )?;
            match tx.chain().identity.clone() {
                Some(own) if own.store.id == store.id && own.store != *store => {
                    identity::put(tx, Identity::new(own.group, own.epoch, store.clone())?)
                }
                _ => Ok(()),
            }
        }
        (DatasetKind::Items, DatasetRow::Item(item)) => item::put(tx, item),
        (DatasetKind::Members, DatasetRow::Member(member)) => member::put(tx, member),
        (DatasetKind::Cards, DatasetRow::Card(card)) => card::upsert_from_hub(tx, card, Some(page.through_version)),
        (DatasetKind::Policies, DatasetRow::Policy(policy)) => put_policy(tx, policy),
        (dataset, _) => Err(StoreError::Rule {
            operation: "apply a page",
            fault: format!("a row of another dataset is in a page of {}", dataset.as_str()),
        }),
    }
}

fn put_record<T: serde::Serialize>(tx: &mut WriteTx<'_>, sql: &str, id: &str, record: &T) -> Result<(), StoreError> {
    let record = serde_json::to_string(record)
        .map_err(|error| StoreError::Rule { operation: "write a record", fault: error.to_string() })?;
    tx.execute_one("write a record", sql, (id, record))
}

/// Keeps a published policy. Versions only rise and a version never changes, so one that is here already stays as it is.
fn put_policy(tx: &mut WriteTx<'_>, policy: &PolicyRow) -> Result<(), StoreError> {
    tx.execute(
        "write a policy",
        "INSERT INTO policy (version, effective_from, document, signature) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (version) DO NOTHING",
        (column(policy.version), policy.effective_from.to_string(), &policy.document, &policy.signature),
    )
    .map(drop)
}

/// Reads a policy document in full.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read_policy(document: &str) -> Result<Policy, String> {
    let policy: Policy = toml::from_str(document).map_err(|error| error.to_string())?;
    let faults = policy.validate();
    if faults.is_empty() {
        return Ok(policy);
    }
    Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// The policy for a day: the newest version that is in force then; where none is yet, the one that will be first, as a store with any policy opens.
/// Documents that cannot be read are passed over and named.
fn in_force(
    tx: &ReadTx<'_>,
    day: Option<BusinessDay>,
) -> Result<(Option<Arc<PolicyInForce>>, Vec<String>), StoreError> {
    let mut faults = Vec::new();
    let mut best: Option<(bool, BusinessDay, PolicyInForce)> = None;
    let sql = "SELECT version, effective_from, document FROM policy ORDER BY version DESC";
    tx.each("read policies", sql, [], |row| {
        let version = counted(row, 0, "policy", "version")?;
        let from: BusinessDay = parsed(row, 1, "policy", "effective_from")?;
        let effective = day.is_none_or(|day| from <= day);
        let better = best.as_ref().is_none_or(|(known, first, _)| !known && (effective || from < *first));
        if better {
            match read_policy(&cell::<String>(row, 2)?) {
                Ok(policy) => best = Some((effective, from, PolicyInForce { version, policy })),
                Err(fault) => faults.push(format!("policy version {version} cannot be used: {fault}")),
            }
        }
        Ok(!best.as_ref().is_some_and(|(effective, ..)| *effective))
    })?;
    Ok((best.map(|(.., policy)| Arc::new(policy)), faults))
}

pub(super) fn load(tx: &ReadTx<'_>, chain: &mut Chain) -> Result<(), StoreError> {
    chain.replica.items = version(tx, DatasetKind::Items)?;
    chain.replica.members = version(tx, DatasetKind::Members)?;
    chain.replica.cards = version(tx, DatasetKind::Cards)?;
    set_policy(tx, chain)
}

fn set_policy(tx: &ReadTx<'_>, chain: &mut Chain) -> Result<(), StoreError> {
    let (policy, faults) = in_force(tx, chain.open_day.or(chain.closed_day))?;
    chain.replica.policy = policy.as_ref().map_or(0, |policy| policy.version);
    chain.policy = policy;
    chain.policy_faults = faults.into();
    Ok(())
}

/// Looks again which policy is in force.
pub(super) fn refresh_policy(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    tx.chain.revision += 1;
    set_policy(&tx.read, tx.chain)
}
