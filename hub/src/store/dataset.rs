//! Dataset: what flows down to the stores, each row with the version at which it last changed.
//!
//! Invariant: versions are given in commit order (the dataset's row is locked until the transaction ends), so that a store that has everything
//! up to a version never misses a row below it.

use std::borrow::Cow;

use huitong_protocol::bundle::Signed;
use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::StoreId;
use huitong_protocol::organisation::{LegalEntity, Store};
use huitong_protocol::time::Stamp;
use huitong_protocol::wire::{DATASET_ROWS_MAX, DatasetKind, DatasetPage, DatasetRequest, DatasetRow, DatasetVersion};

use super::item::{ITEM_COLUMNS, ITEM_COLUMNS_COUNT, read_item};
use super::member::{MEMBER_COLUMNS, MEMBER_COLUMNS_COUNT, read_member};
use super::{Row, StoreError, Tx, Value, member_request, overdraft, parking, phone_key, tenure};

/// Takes `rows` new versions of a dataset and gives the first; each changed row gets its own. Give them out in order.
///
/// # Errors
/// [`StoreError`].
pub fn advance(tx: &mut Tx<'_>, dataset: DatasetKind, rows: i64) -> Result<i64, StoreError> {
    tx.query_one(
        "UPDATE dataset SET version = version + $1 WHERE name = $2 RETURNING version - $1 + 1",
        &[rows.into(), dataset.as_str().into()],
        |row| row.integer(0),
    )?
    .ok_or(StoreError::Rows { operation: "advance a dataset", table: "dataset", rows: 0, expected: 1 })
}

/// Notes that the card of a version was stopped, or given free again.
///
/// # Errors
/// [`StoreError`].
pub fn hurry(tx: &mut Tx<'_>, version: i64) -> Result<(), StoreError> {
    let sql = "UPDATE dataset SET urgent_version = $1 WHERE name = $2";
    tx.execute_one("hurry a card", "dataset", sql, &[version.into(), DatasetKind::Cards.as_str().into()])
}

/// The version of the last card that was stopped, or given free again; 0 before the first.
///
/// # Errors
/// [`StoreError`].
pub fn urgent_cards(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT urgent_version FROM dataset WHERE name = $1";
    let urgent = tx.query_one(sql, &[DatasetKind::Cards.as_str().into()], |row| row.integer(0))?;
    Ok(u64::try_from(urgent.unwrap_or(0)).unwrap_or(0))
}

/// Versions that one life of the hub can give.
const VERSIONS_PER_LIFE: i64 = 1 << 32;

/// Begins another life: what the life before gave out and this one has forgotten is below all versions from now on, so that no store takes what is new for
/// something that it has. Of policies the numbers go on; see `adoption`.
///
/// # Errors
/// [`StoreError`].
pub fn begin_life(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let sql = "UPDATE dataset SET version = version + $1 WHERE name <> $2";
    tx.execute(sql, &[VERSIONS_PER_LIFE.into(), DatasetKind::Policies.as_str().into()])?;
    Ok(())
}

/// The newest version of every dataset, in the order in which stores apply them; of parking, that of the last plan that is whole.
///
/// # Errors
/// [`StoreError`].
pub fn versions(tx: &mut Tx<'_>) -> Result<Vec<DatasetVersion>, StoreError> {
    DatasetKind::ALL
        .iter()
        .map(|&dataset| {
            let version = match dataset {
                DatasetKind::Parking => parking::announced(tx)?,
                _ => newest(tx, dataset)?,
            };
            Ok(DatasetVersion { dataset, version: u64::try_from(version).unwrap_or(0) })
        })
        .collect()
}

/// A page of what changed after a version, for a store.
///
/// # Errors
/// [`StoreError`].
pub fn page(tx: &mut Tx<'_>, request: &DatasetRequest, store: StoreId) -> Result<DatasetPage, StoreError> {
    // A policy may be megabytes: one a page keeps every page within a message.
    let most = if request.dataset == DatasetKind::Policies { 1 } else { DATASET_ROWS_MAX };
    let limit = request.limit.clamp(1, most);
    let after = i64::try_from(request.after_version).unwrap_or(i64::MAX);
    let select = select(request.dataset);
    // Of parking each store gets its own rows.
    let (own, values): (&str, &[Value<'_>]) = match request.dataset {
        DatasetKind::Parking => ("store_id = $3 AND ", &[after.into(), (limit + 1).into(), (&store).into()]),
        // What an epoch that ended had overdrawn, the store's present database knows nothing of.
        DatasetKind::Overdrafts => (
            "store_id = $3 AND epoch = (SELECT epoch FROM device WHERE device.store_id = $3) AND ",
            &[after.into(), (limit + 1).into(), (&store).into()],
        ),
        _ => ("", &[after.into(), (limit + 1).into()]),
    };
    let mut rows = tx.query(&format!("{select} WHERE {own}version > $1 ORDER BY version LIMIT $2"), values, |row| {
        read(request.dataset, row)
    })?;
    let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    let newest = newest(tx, request.dataset)?;
    // Who has more than was ever given out here shows that this database is older than it was.
    let recovers = after > newest || tenure::recovers(tx)?;
    let mut through = newest.max(after);
    if more {
        // The page ends where a version ends: what was cut off is left to the next page, unless it is all that there is.
        let cut = rows.pop().map_or(after, |(version, _)| version);
        if rows.first().is_some_and(|(version, _)| *version == cut) {
            rows =
                tx.query(&format!("{select} WHERE version = $1"), &[cut.into()], |row| read(request.dataset, row))?;
        } else {
            rows.retain(|(version, _)| *version != cut);
        }
        through = rows.last().map_or(after, |(version, _)| *version);
    }
    Ok(DatasetPage {
        dataset: request.dataset,
        through_version: u64::try_from(through).unwrap_or(0),
        more,
        recovers,
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        phone_key: match request.dataset {
            DatasetKind::Members => phone_key::find(tx)?,
            _ => None,
        },
    })
}

/// The newest version of a dataset.
///
/// # Errors
/// [`StoreError`].
pub(super) fn newest(tx: &mut Tx<'_>, dataset: DatasetKind) -> Result<i64, StoreError> {
    Ok(tx
        .query_one("SELECT version FROM dataset WHERE name = $1", &[dataset.as_str().into()], |row| row.integer(0))?
        .unwrap_or(0))
}

/// The version is the last column of each.
fn select(dataset: DatasetKind) -> Cow<'static, str> {
    Cow::Borrowed(match dataset {
        DatasetKind::LegalEntities => {
            "SELECT legal_entity_id, name, register_number, taxpayer_kind, bank_account, version FROM legal_entity"
        }
        DatasetKind::Stores => {
            "SELECT store_id, name, legal_entity_id, time_zone, currency, rollover_hour, opened_on, closed_on, version FROM store"
        }
        DatasetKind::Cards => {
            "SELECT number, product, account_id, status, status_stamp, allocated_store, member_id, expires_on, version FROM card"
        }
        // Policies, and the words of their keys, share one sequence of versions.
        DatasetKind::Policies => {
            "SELECT bytes, signature, is_key, version FROM \
             (SELECT bundle AS bytes, signature, 0 AS is_key, version FROM policy UNION ALL \
             SELECT announcement, signature, 1, from_version FROM policy_key WHERE announcement IS NOT NULL) AS published"
        }
        DatasetKind::Parking => "SELECT account_id, unit, target_minor, version FROM parking",
        DatasetKind::Overdrafts => "SELECT account_id, unit, cleared_minor, version FROM overdraft_cleared",
        // Only what is decided has a version.
        DatasetKind::MemberDrafts => "SELECT draft, member_id, state, version FROM member_request",
        DatasetKind::Members => return Cow::Owned(format!("SELECT {MEMBER_COLUMNS}, version FROM member")),
        DatasetKind::Items => return Cow::Owned(format!("SELECT {ITEM_COLUMNS}, version FROM item")),
    })
}

fn read(dataset: DatasetKind, row: &Row<'_>) -> Result<(i64, DatasetRow), StoreError> {
    Ok(match dataset {
        DatasetKind::LegalEntities => (
            row.integer(5)?,
            DatasetRow::LegalEntity(LegalEntity {
                id: row.parsed(0, "legal_entity", "legal_entity_id")?,
                name: row.text(1)?.to_owned(),
                register_number: row.text(2)?.to_owned(),
                taxpayer_kind: row.text(3)?.to_owned(),
                bank_account: row.text(4)?.to_owned(),
            }),
        ),
        DatasetKind::Stores => (row.integer(8)?, DatasetRow::Store(read_store(row)?)),
        DatasetKind::Items => (row.integer(ITEM_COLUMNS_COUNT)?, DatasetRow::Item(read_item(row)?)),
        DatasetKind::Members => {
            (row.integer(MEMBER_COLUMNS_COUNT)?, DatasetRow::Member(read_member(row)?.for_stores()))
        }
        DatasetKind::MemberDrafts => (row.integer(3)?, DatasetRow::MemberDraft(member_request::read_outcome(row)?)),
        DatasetKind::Parking => (row.integer(3)?, DatasetRow::Parked(parking::read(row)?)),
        DatasetKind::Overdrafts => (row.integer(3)?, DatasetRow::Cleared(overdraft::read_cleared(row)?)),
        DatasetKind::Cards => (row.integer(8)?, DatasetRow::Card(read_card(row)?)),
        DatasetKind::Policies => {
            let signed = Signed { bytes: row.bytes(0)?.to_vec(), signature: row.bytes(1)?.to_vec() };
            let published = if row.integer(2)? == 1 { DatasetRow::PolicyKey } else { DatasetRow::Policy };
            (row.integer(3)?, published(signed))
        }
    })
}

/// The columns of a store, in the order of [`read_store`].
pub(super) const STORE_COLUMNS: &str =
    "store_id, name, legal_entity_id, time_zone, currency, rollover_hour, opened_on, closed_on";

/// Reads a store from its columns.
///
/// # Errors
/// [`StoreError::Value`].
pub(super) fn read_store(row: &Row<'_>) -> Result<Store, StoreError> {
    Ok(Store {
        id: row.parsed(0, "store", "store_id")?,
        name: row.text(1)?.to_owned(),
        legal_entity: row.parsed(2, "store", "legal_entity_id")?,
        time_zone: row.text(3)?.to_owned(),
        currency: row.parsed(4, "store", "currency")?,
        rollover_hour: u8::try_from(row.integer(5)?).map_err(|fault| invalid("store", "rollover_hour", row, &fault))?,
        opened_on: row.maybe_parsed(6, "store", "opened_on")?,
        closed_on: row.maybe_parsed(7, "store", "closed_on")?,
    })
}

/// The columns of a card, in the order of [`read_card`].
pub(super) const CARD_COLUMNS: &str =
    "number, product, account_id, status, status_stamp, allocated_store, member_id, expires_on";

/// Reads a card from its columns.
///
/// # Errors
/// [`StoreError::Value`].
pub(super) fn read_card(row: &Row<'_>) -> Result<Card, StoreError> {
    Ok(Card {
        number: CardNumber::new(row.text(0)?).map_err(|fault| invalid("card", "number", row, &fault))?,
        product: row.parsed(1, "card", "product")?,
        account: row.integer(2)?.try_into().map_err(|fault| invalid("card", "account_id", row, &fault))?,
        status: CardStatus::new(row.text(3)?).map_err(|fault| invalid("card", "status", row, &fault))?,
        status_stamp: Stamp(row.integer(4)?),
        allocated_store: row.maybe_parsed(5, "card", "allocated_store")?,
        member: match row.maybe_integer(6)? {
            Some(number) => Some(number.try_into().map_err(|fault| invalid("card", "member_id", row, &fault))?),
            None => None,
        },
        expires_on: row.maybe_parsed(7, "card", "expires_on")?,
    })
}

fn invalid(table: &'static str, column: &'static str, row: &Row<'_>, fault: &dyn std::fmt::Display) -> StoreError {
    // A card's number does not go into logs; the key of any other row may.
    let row = if table == "card" {
        row.integer(2).map_or_else(|_| "(a card)".to_owned(), |account| format!("(the card of account {account})"))
    } else {
        row.text(0).map(str::to_owned).unwrap_or_default()
    };
    StoreError::Value { table, column, row, fault: fault.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::Store as Database;
    use super::*;

    #[test]
    fn a_spoilt_card_is_named_by_its_account_and_not_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let store = Database::open(&folder.path().join("hub.db"), 1).unwrap();
        store
            .write_blocking(|tx| {
                tx.execute_one(
                    "spoil a card",
                    "card",
                    "INSERT INTO card (number, product, account_id, status, status_stamp, version) VALUES ('66012345o7890', 'SV', 7, 'active', 1, 1)",
                    &[],
                )
            })
            .unwrap();
        let request = DatasetRequest { dataset: DatasetKind::Cards, after_version: 0, limit: 10 };
        let fault = store.read_blocking(move |tx| page(tx, &request, StoreId::HUB)).unwrap_err().to_string();
        assert!(fault.contains("card.number of row (the card of account 7)"), "{fault}");
        assert!(fault.contains("position 9") && !fault.contains("66012345"), "{fault}");
    }
}
