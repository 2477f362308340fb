//! Replica: what head office published, as far as this store has it. What may be believed of a policy, and which is in force, is `policy`'s.
//!
//! Invariant: a page is applied with its cursor in one transaction.

use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow, DatasetVersion};

use super::identity::{self, Identity};
use super::policy::{self, Applied};
use super::tx::Chain;
use super::{ReadTx, StoreError, WriteTx, card, column, counted, draft, item, member, overdraft, parking};

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

/// Everything is to be fetched again. The rows stay in use until then.
///
/// # Errors
/// [`StoreError`] of the engine.
pub(super) fn forget_versions(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    tx.execute("forget which versions were fetched", "UPDATE dataset SET version = 0", [])?;
    let chain = tx.chain_mut();
    (chain.replica.items, chain.replica.members, chain.replica.cards) = (0, 0, 0);
    Ok(())
}

/// Applies a page and moves its cursor; of policies no further than what was signed.
///
/// # Errors
/// [`StoreError`] of the engine; [`StoreError::Rule`] when a row is of another dataset.
pub fn apply_page(tx: &mut WriteTx<'_>, page: &DatasetPage) -> Result<Applied, StoreError> {
    let mut through_version = page.through_version;
    if page.dataset == DatasetKind::Policies {
        let before = version(tx, DatasetKind::Policies)?;
        through_version = policy::apply(tx, page, before)?;
    } else {
        if let Some(key) = &page.phone_key {
            member::put_phone_key(tx, key)?;
        }
        for row in &page.rows {
            apply_row(tx, page, row)?;
        }
    }
    tx.execute_one(
        "move a dataset's cursor",
        "INSERT INTO dataset (name, version) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
        (page.dataset.as_str(), column(through_version)),
    )?;
    let chain = tx.chain_mut();
    match page.dataset {
        DatasetKind::Items => chain.replica.items = page.through_version,
        DatasetKind::Members => chain.replica.members = page.through_version,
        DatasetKind::Cards => chain.replica.cards = page.through_version,
        DatasetKind::Policies
        | DatasetKind::LegalEntities
        | DatasetKind::Stores
        | DatasetKind::MemberDrafts
        | DatasetKind::Parking
        | DatasetKind::Overdrafts => {}
    }
    Ok(Applied { waits: through_version < page.through_version })
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
        (DatasetKind::MemberDrafts, DatasetRow::MemberDraft(outcome)) => draft::decide(tx, outcome),
        (DatasetKind::Parking, DatasetRow::Parked(parked)) => parking::put(tx, parked),
        (DatasetKind::Overdrafts, DatasetRow::Cleared(cleared)) => overdraft::clear(tx, cleared),
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

pub(super) fn load(tx: &ReadTx<'_>, chain: &mut Chain) -> Result<(), StoreError> {
    chain.replica.items = version(tx, DatasetKind::Items)?;
    chain.replica.members = version(tx, DatasetKind::Members)?;
    chain.replica.cards = version(tx, DatasetKind::Cards)?;
    policy::set(tx, chain)
}
