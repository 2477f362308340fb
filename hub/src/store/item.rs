//! Item rows: the item master as head office writes it. Pages for stores are `dataset`'s.
//!
//! Invariants: an unchanged row keeps its version; the rows of `item_barcode` are the words of `item.barcodes`.

use huitong_protocol::entry::LineFlags;
use huitong_protocol::item::Item;
use huitong_protocol::wire::DatasetKind;

use super::dataset;
use super::engine::{Row, StoreError, Tx};
use crate::import::Written;

/// The columns of an item, in the order of [`read_item`].
pub(super) const ITEM_COLUMNS: &str = "sku, barcodes, name, category_path, brand, counter, supplier, legal_entity_id, tax_code, tax_ppm, \
     list_price_minor, member_price_minor, no_discount, no_points, no_coupon, no_stored_value, active";
/// How many they are: the position of the column after them.
pub(super) const ITEM_COLUMNS_COUNT: usize = 17;

/// Reads an item from its columns.
///
/// # Errors
/// [`StoreError::Value`].
pub(super) fn read_item(row: &Row<'_>) -> Result<Item, StoreError> {
    let yes = |column| row.integer(column).map(|value| value != 0);
    Ok(Item {
        sku: row.text(0)?.to_owned(),
        barcodes: row.text(1)?.split_whitespace().map(str::to_owned).collect(),
        name: row.text(2)?.to_owned(),
        category_path: row.text(3)?.to_owned(),
        brand: row.text(4)?.to_owned(),
        counter: row.maybe_parsed(5, "item", "counter")?,
        supplier: row.maybe_parsed(6, "item", "supplier")?,
        legal_entity: row.maybe_parsed(7, "item", "legal_entity_id")?,
        tax_code: row.text(8)?.to_owned(),
        tax_ppm: u32::try_from(row.integer(9)?).map_err(|fault| StoreError::Value {
            table: "item",
            column: "tax_ppm",
            row: row.text(0).unwrap_or_default().to_owned(),
            fault: fault.to_string(),
        })?,
        list_price_minor: row.maybe_integer(10)?,
        member_price_minor: row.maybe_integer(11)?,
        flags: LineFlags { no_discount: yes(12)?, no_points: yes(13)?, no_coupon: yes(14)?, no_stored_value: yes(15)? },
        active: yes(16)?,
    })
}

/// The item with a SKU.
///
/// # Errors
/// [`StoreError`].
pub fn find(tx: &mut Tx<'_>, sku: &str) -> Result<Option<Item>, StoreError> {
    tx.query_one(&format!("SELECT {ITEM_COLUMNS} FROM item WHERE sku = $1"), &[sku.into()], read_item)
}

/// The item with a SKU or, when there is none, with that barcode.
///
/// # Errors
/// [`StoreError`].
pub fn find_by_code(tx: &mut Tx<'_>, code: &str) -> Result<Option<Item>, StoreError> {
    match find(tx, code)? {
        Some(item) => Ok(Some(item)),
        None => match other_with_barcode(tx, code, "")? {
            Some(sku) => find(tx, &sku),
            None => Ok(None),
        },
    }
}

/// The SKU of an item with a barcode, other than the one named.
///
/// # Errors
/// [`StoreError`].
pub fn other_with_barcode(tx: &mut Tx<'_>, barcode: &str, but: &str) -> Result<Option<String>, StoreError> {
    tx.query_one(
        "SELECT sku FROM item_barcode WHERE barcode = $1 AND sku <> $2 ORDER BY sku LIMIT 1",
        &[barcode.into(), but.into()],
        |row| Ok(row.text(0)?.to_owned()),
    )
}

/// Whether the hub has an item master at all.
///
/// # Errors
/// [`StoreError`].
pub fn is_any(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    Ok(tx.query_one("SELECT sku FROM item LIMIT 1", &[], |_| Ok(()))?.is_some())
}

/// Whether there is an item, sold or no longer sold.
///
/// # Errors
/// [`StoreError`].
pub fn is_known(tx: &mut Tx<'_>, sku: &str) -> Result<bool, StoreError> {
    Ok(tx.query_one("SELECT sku FROM item WHERE sku = $1", &[sku.into()], |_| Ok(()))?.is_some())
}

/// Writes an item when it is new or changed.
///
/// # Errors
/// [`StoreError`].
pub fn write(tx: &mut Tx<'_>, item: &Item) -> Result<Written, StoreError> {
    let before = find(tx, &item.sku)?;
    if before.as_ref() == Some(item) {
        return Ok(Written::Unchanged);
    }
    let version = dataset::advance(tx, DatasetKind::Items, 1)?;
    let barcodes = item.barcodes.join(" ");
    let flags = item.flags;
    tx.execute_one(
        "write an item",
        "item",
        "INSERT INTO item (sku, barcodes, name, category_path, brand, counter, supplier, legal_entity_id, tax_code, tax_ppm,
           list_price_minor, member_price_minor, no_discount, no_points, no_coupon, no_stored_value, active, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         ON CONFLICT (sku) DO UPDATE SET barcodes = excluded.barcodes, name = excluded.name, category_path = excluded.category_path,
           brand = excluded.brand, counter = excluded.counter, supplier = excluded.supplier, legal_entity_id = excluded.legal_entity_id,
           tax_code = excluded.tax_code, tax_ppm = excluded.tax_ppm, list_price_minor = excluded.list_price_minor,
           member_price_minor = excluded.member_price_minor, no_discount = excluded.no_discount, no_points = excluded.no_points,
           no_coupon = excluded.no_coupon, no_stored_value = excluded.no_stored_value, active = excluded.active, version = excluded.version",
        &[
            (&item.sku).into(),
            (&barcodes).into(),
            (&item.name).into(),
            (&item.category_path).into(),
            (&item.brand).into(),
            item.counter.as_ref().map(huitong_protocol::id::CounterId::as_str).into(),
            item.supplier.as_ref().map(huitong_protocol::id::SupplierId::as_str).into(),
            item.legal_entity.as_ref().into(),
            (&item.tax_code).into(),
            item.tax_ppm.into(),
            item.list_price_minor.into(),
            item.member_price_minor.into(),
            flags.no_discount.into(),
            flags.no_points.into(),
            flags.no_coupon.into(),
            flags.no_stored_value.into(),
            item.active.into(),
            version.into(),
        ],
    )?;
    if before.as_ref().map(|before| &before.barcodes) != Some(&item.barcodes) {
        tx.execute("DELETE FROM item_barcode WHERE sku = $1", &[(&item.sku).into()])?;
        for barcode in &item.barcodes {
            tx.execute_one(
                "write a barcode",
                "item_barcode",
                "INSERT INTO item_barcode (barcode, sku) VALUES ($1, $2)",
                &[barcode.into(), (&item.sku).into()],
            )?;
        }
    }
    Ok(if before.is_some() { Written::Changed } else { Written::New })
}
