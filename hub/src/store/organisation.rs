//! Organisation rows: legal entities, stores and cards as head office writes and lists them. Members have a file of their own.
//!
//! Each changed row gets the next version of its dataset in the same transaction, so that stores fetch changes by cursor. Reading pages for
//! stores is not here. Invariant: an unchanged row keeps its version.

use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::{AccountId, IdError, LegalEntityId, MemberId, StoreId};
use huitong_protocol::organisation::{LegalEntity, Store};
use huitong_protocol::wire::DatasetKind;

use super::dataset::{self, CARD_COLUMNS, STORE_COLUMNS, read_card, read_store};
use super::engine::{Row, StoreError, Tx, Value};
use crate::import::Written;

/// Takes the next account number.
pub fn next_account(tx: &mut Tx<'_>) -> Result<AccountId, StoreError> {
    let number: Option<i64> =
        tx.query_one("UPDATE hub SET next_account = next_account + 1 RETURNING next_account - 1", &[], |row| {
            row.integer(0)
        })?;
    minted("account", number, AccountId::new)
}

/// Takes the next member number.
pub fn next_member(tx: &mut Tx<'_>) -> Result<MemberId, StoreError> {
    let number: Option<i64> =
        tx.query_one("UPDATE hub SET next_member = next_member + 1 RETURNING next_member - 1", &[], |row| {
            row.integer(0)
        })?;
    minted("member", number, MemberId::new)
}

/// The number that the next member will get.
pub fn peek_member(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let next = tx.query_one("SELECT next_member FROM hub", &[], |row| row.integer(0))?;
    next.ok_or(StoreError::Rows { operation: "look at the next number", table: "hub", rows: 0, expected: 1 })
}

fn minted<T>(
    what: &'static str,
    number: Option<i64>,
    make: impl Fn(i64) -> Result<T, IdError>,
) -> Result<T, StoreError> {
    let number = number.ok_or(StoreError::Rows { operation: "mint a number", table: "hub", rows: 0, expected: 1 })?;
    make(number).map_err(|why| StoreError::Value {
        table: "hub",
        column: what,
        row: number.to_string(),
        fault: why.to_string(),
    })
}

const LEGAL_ENTITY: &str =
    "SELECT legal_entity_id, name, register_number, taxpayer_kind, bank_account FROM legal_entity";

fn read_legal_entity(row: &Row<'_>) -> Result<LegalEntity, StoreError> {
    Ok(LegalEntity {
        id: row.parsed(0, "legal_entity", "legal_entity_id")?,
        name: row.text(1)?.to_owned(),
        register_number: row.text(2)?.to_owned(),
        taxpayer_kind: row.text(3)?.to_owned(),
        bank_account: row.text(4)?.to_owned(),
    })
}

/// A legal entity.
pub fn legal_entity(tx: &mut Tx<'_>, id: LegalEntityId) -> Result<Option<LegalEntity>, StoreError> {
    tx.query_one(&format!("{LEGAL_ENTITY} WHERE legal_entity_id = $1"), &[(&id).into()], read_legal_entity)
}

/// All legal entities, by code.
pub fn legal_entities(tx: &mut Tx<'_>) -> Result<Vec<LegalEntity>, StoreError> {
    tx.query(&format!("{LEGAL_ENTITY} ORDER BY legal_entity_id"), &[], read_legal_entity)
}

/// Writes a legal entity when it is new or changed.
pub fn write_legal_entity(tx: &mut Tx<'_>, entity: &LegalEntity) -> Result<Written, StoreError> {
    let written = compare(legal_entity(tx, entity.id)?.as_ref(), entity);
    if written != Written::Unchanged {
        let version = dataset::advance(tx, DatasetKind::LegalEntities, 1)?;
        tx.execute_one(
            "write a legal entity",
            "legal_entity",
            "INSERT INTO legal_entity (legal_entity_id, name, register_number, taxpayer_kind, bank_account, version) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (legal_entity_id) DO UPDATE SET name = excluded.name, register_number = excluded.register_number,
             taxpayer_kind = excluded.taxpayer_kind, bank_account = excluded.bank_account, version = excluded.version",
            &[
                (&entity.id).into(),
                (&entity.name).into(),
                (&entity.register_number).into(),
                (&entity.taxpayer_kind).into(),
                (&entity.bank_account).into(),
                version.into(),
            ],
        )?;
    }
    Ok(written)
}

fn compare<T: PartialEq>(before: Option<&T>, now: &T) -> Written {
    match before {
        None => Written::New,
        Some(before) if before == now => Written::Unchanged,
        Some(_) => Written::Changed,
    }
}

/// A store.
pub fn store(tx: &mut Tx<'_>, id: StoreId) -> Result<Option<Store>, StoreError> {
    tx.query_one(&format!("SELECT {STORE_COLUMNS} FROM store WHERE store_id = $1"), &[(&id).into()], read_store)
}

/// All stores, by code.
pub fn stores(tx: &mut Tx<'_>) -> Result<Vec<Store>, StoreError> {
    tx.query(&format!("SELECT {STORE_COLUMNS} FROM store ORDER BY store_id"), &[], read_store)
}

/// Writes a store when it is new or changed.
pub fn write_store(tx: &mut Tx<'_>, store: &Store) -> Result<Written, StoreError> {
    let written = compare(self::store(tx, store.id)?.as_ref(), store);
    if written != Written::Unchanged {
        let version = dataset::advance(tx, DatasetKind::Stores, 1)?;
        let day = |day: Option<huitong_protocol::time::BusinessDay>| day.map(|day| day.to_string());
        let (opened, closed) = (day(store.opened_on), day(store.closed_on));
        tx.execute_one(
            "write a store",
            "store",
            "INSERT INTO store (store_id, name, legal_entity_id, time_zone, currency, rollover_hour, opened_on, closed_on, version)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (store_id) DO UPDATE SET name = excluded.name, legal_entity_id = excluded.legal_entity_id, time_zone = excluded.time_zone,
             currency = excluded.currency, rollover_hour = excluded.rollover_hour, opened_on = excluded.opened_on, closed_on = excluded.closed_on,
             version = excluded.version",
            &[
                (&store.id).into(),
                (&store.name).into(),
                (&store.legal_entity).into(),
                (&store.time_zone).into(),
                store.currency.into(),
                u32::from(store.rollover_hour).into(),
                opened.as_deref().into(),
                closed.as_deref().into(),
                version.into(),
            ],
        )?;
    }
    Ok(written)
}

/// The card with a number.
pub fn card(tx: &mut Tx<'_>, number: &CardNumber) -> Result<Option<Card>, StoreError> {
    tx.query_one(&format!("SELECT {CARD_COLUMNS} FROM card WHERE number = $1"), &[number.into()], read_card)
}

/// The cards that open an account, by number.
pub fn cards_of(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<Card>, StoreError> {
    tx.query(
        &format!("SELECT {CARD_COLUMNS} FROM card WHERE account_id = $1 ORDER BY number"),
        &[account.into()],
        read_card,
    )
}

/// Writes a card under the next version of its dataset, whether it changed or not.
pub fn write_card(tx: &mut Tx<'_>, card: &Card) -> Result<(), StoreError> {
    let version = dataset::advance(tx, DatasetKind::Cards, 1)?;
    // Blank cards come by the million, and were never stopped.
    if card.status != CardStatus::Blank {
        let before = self::card(tx, &card.number)?.is_some_and(|before| before.status.is_stopped());
        if before != card.status.is_stopped() {
            dataset::hurry(tx, version)?;
        }
    }
    let expires = card.expires_on.map(|day| day.to_string());
    let values: [Value<'_>; 9] = [
        (&card.number).into(),
        Value::Text(card.product.as_str()),
        card.account.into(),
        card.status.into(),
        card.status_stamp.into(),
        card.allocated_store.as_ref().into(),
        card.member.into(),
        expires.as_deref().into(),
        version.into(),
    ];
    tx.execute_one(
        "write a card",
        "card",
        "INSERT INTO card (number, product, account_id, status, status_stamp, allocated_store, member_id, expires_on, version, stop_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $4 IN ('frozen', 'lost') THEN $9 END)
         ON CONFLICT (number) DO UPDATE SET product = excluded.product, account_id = excluded.account_id, status = excluded.status,
         status_stamp = excluded.status_stamp, allocated_store = excluded.allocated_store, member_id = excluded.member_id,
         expires_on = excluded.expires_on, version = excluded.version,
         stop_version = CASE WHEN excluded.status IN ('frozen', 'lost') THEN COALESCE(card.stop_version, excluded.version) END",
        &values,
    )
}
