//! Items: the store's replica of the item master, found by SKU or barcode with one indexed read.
//!
//! Invariant: a barcode leads to the item whose record has it; the rows of `item_barcode` follow from the records.

use huitong_protocol::item::Item;

use super::{ReadTx, StoreError, WriteTx, cell};

/// The item with a SKU or, when no item has that SKU, with that barcode.
///
/// # Errors
/// [`StoreError`] of the engine, or a row that is not an item.
pub fn find(tx: &ReadTx<'_>, code: &str) -> Result<Option<Item>, StoreError> {
    tx.one(
        "read an item",
        "SELECT record FROM item WHERE sku = ?1
         UNION ALL SELECT item.record FROM item_barcode JOIN item ON item.sku = item_barcode.sku WHERE item_barcode.barcode = ?1
         LIMIT 1",
        [code],
        |row| {
            let record: String = cell(row, 0)?;
            serde_json::from_str(&record).map_err(|error| StoreError::Value {
                table: "item",
                column: "record",
                fault: error.to_string(),
            })
        },
    )
}

/// Takes an item as head office has it.
///
/// # Errors
/// [`StoreError`] of the engine.
pub fn put(tx: &mut WriteTx<'_>, item: &Item) -> Result<(), StoreError> {
    let record = serde_json::to_string(item)
        .map_err(|error| StoreError::Rule { operation: "write an item", fault: error.to_string() })?;
    tx.execute_one(
        "write an item",
        "INSERT INTO item (sku, record) VALUES (?1, ?2) ON CONFLICT (sku) DO UPDATE SET record = excluded.record",
        (&item.sku, record),
    )?;
    tx.execute("forget an item's barcodes", "DELETE FROM item_barcode WHERE sku = ?1", [&item.sku])?;
    for barcode in &item.barcodes {
        // A barcode that moved to this item may come before the item that lost it.
        tx.execute_one(
            "write a barcode",
            "INSERT INTO item_barcode (barcode, sku) VALUES (?1, ?2) ON CONFLICT (barcode) DO UPDATE SET sku = excluded.sku",
            (barcode, &item.sku),
        )?;
    }
    Ok(())
}
