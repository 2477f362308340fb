//! Items from CSV: `sku, name, [barcodes], [category_path], [brand], [counter], [supplier], [legal_entity], [tax_code], [tax_rate], [list_price],
//! [member_price], [no_discount], [no_points], [no_coupon], [no_stored_value], [active]`.
//!
//! Several barcodes are separated by semicolons; a tax rate is written with its percent sign. A SKU that is there already is changed: a column
//! that is left out of the file leaves what is there, an empty field takes it away. What a record must be is `protocol::item`'s; here is added
//! that a code leads to one item only.

use std::collections::HashMap;

use huitong_protocol::entry::LineFlags;
use huitong_protocol::id::{CounterId, LegalEntityId, SupplierId};
use huitong_protocol::item::Item;

use super::{Column, Faults, ImportError, ImportReport, Line, Options, Table, Written, apply};
use crate::store::engine::{Store, StoreError, Tx};
use crate::store::{item, organisation, root};

const COLUMNS: &[Column] = &[
    Column::required("sku"),
    Column::required("name"),
    Column::optional("barcodes"),
    Column::optional("category_path"),
    Column::optional("brand"),
    Column::optional("counter"),
    Column::optional("supplier"),
    Column::optional("legal_entity"),
    Column::optional("tax_code"),
    Column::optional("tax_rate"),
    Column::optional("list_price"),
    Column::optional("member_price"),
    Column::optional("no_discount"),
    Column::optional("no_points"),
    Column::optional("no_coupon"),
    Column::optional("no_stored_value"),
    Column::optional("active"),
];

/// What a line says; `None` where its column is not in the file.
struct Row {
    sku: String,
    name: String,
    barcodes: Option<Vec<String>>,
    category_path: Option<String>,
    brand: Option<String>,
    counter: Option<Option<CounterId>>,
    supplier: Option<Option<SupplierId>>,
    legal_entity: Option<Option<LegalEntityId>>,
    tax_code: Option<String>,
    tax_ppm: Option<u32>,
    list_price_minor: Option<Option<i64>>,
    member_price_minor: Option<Option<i64>>,
    no_discount: Option<bool>,
    no_points: Option<bool>,
    no_coupon: Option<bool>,
    no_stored_value: Option<bool>,
    active: Option<bool>,
}

impl Row {
    /// The item with this line over what was there.
    fn over(&self, before: Option<Item>) -> Item {
        let before = before.unwrap_or_else(|| Item {
            sku: self.sku.clone(),
            barcodes: Vec::new(),
            name: String::new(),
            category_path: String::new(),
            brand: String::new(),
            counter: None,
            supplier: None,
            legal_entity: None,
            tax_code: String::new(),
            tax_ppm: 0,
            list_price_minor: None,
            member_price_minor: None,
            flags: LineFlags::default(),
            active: true,
        });
        let flags = before.flags;
        Item {
            sku: before.sku,
            name: self.name.clone(),
            barcodes: self.barcodes.clone().unwrap_or(before.barcodes),
            category_path: self.category_path.clone().unwrap_or(before.category_path),
            brand: self.brand.clone().unwrap_or(before.brand),
            counter: self.counter.unwrap_or(before.counter),
            supplier: self.supplier.unwrap_or(before.supplier),
            legal_entity: self.legal_entity.unwrap_or(before.legal_entity),
            tax_code: self.tax_code.clone().unwrap_or(before.tax_code),
            tax_ppm: self.tax_ppm.unwrap_or(before.tax_ppm),
            list_price_minor: self.list_price_minor.unwrap_or(before.list_price_minor),
            member_price_minor: self.member_price_minor.unwrap_or(before.member_price_minor),
            flags: LineFlags {
                no_discount: self.no_discount.unwrap_or(flags.no_discount),
                no_points: self.no_points.unwrap_or(flags.no_points),
                no_coupon: self.no_coupon.unwrap_or(flags.no_coupon),
                no_stored_value: self.no_stored_value.unwrap_or(flags.no_stored_value),
            },
            active: self.active.unwrap_or(before.active),
        }
    }
}

/// Imports items.
///
/// # Errors
/// [`ImportError`], with nothing written.
pub fn import(store: &Store, csv: &[u8], options: &Options) -> Result<ImportReport, ImportError> {
    let currency = store.read_blocking(root::hub)?.currency;
    let table = Table::read("item", COLUMNS, csv, options.encoding)?;
    let (mut skus, mut barcodes) = (HashMap::new(), HashMap::new());
    let rows = table.rows(|line| {
        let (sku, name) = (line.needed("sku").map(str::to_owned), line.needed("name").map(str::to_owned));
        let text =
            |line: &mut Line<'_>, field| line.has(field).then(|| line.text(field).unwrap_or_default().to_owned());
        let flag = |line: &mut Line<'_>, field| line.has(field).then(|| line.yes_or_no(field).unwrap_or(false));
        let price = |line: &mut Line<'_>, field| {
            line.has(field).then(|| line.text(field).is_some().then(|| line.amount(field, currency)).flatten())
        };
        let row = Row {
            sku: sku?,
            name: name?,
            barcodes: line.has("barcodes").then(|| line.list("barcodes").into_iter().map(str::to_owned).collect()),
            category_path: text(line, "category_path"),
            brand: text(line, "brand"),
            counter: line.has("counter").then(|| line.maybe("counter").flatten()),
            supplier: line.has("supplier").then(|| line.maybe("supplier").flatten()),
            legal_entity: line.has("legal_entity").then(|| line.maybe("legal_entity").flatten()),
            tax_code: text(line, "tax_code"),
            tax_ppm: line.has("tax_rate").then(|| tax_ppm(line)),
            list_price_minor: price(line, "list_price"),
            member_price_minor: price(line, "member_price"),
            no_discount: flag(line, "no_discount"),
            no_points: flag(line, "no_points"),
            no_coupon: flag(line, "no_coupon"),
            no_stored_value: flag(line, "no_stored_value"),
            active: line.has("active").then(|| line.yes_or_no("active").unwrap_or(true)),
        };
        line.unique("sku", &mut skus, row.sku.clone(), &row.sku);
        for barcode in row.barcodes.iter().flatten() {
            // Twice in one line is reported with the record's other faults.
            if barcodes.get(barcode) != Some(&line.number) {
                line.unique("barcodes", &mut barcodes, barcode.clone(), barcode);
            }
        }
        for fault in row.over(None).faults() {
            line.fault(column(&fault.field), fault.fault);
        }
        Some(row)
    })?;
    options.progress.set_length(rows.len() as u64);
    apply(store, options, move |tx, progress| {
        let mut report = ImportReport::new("items", rows.len());
        let mut faults = Faults::default();
        let mut written = Vec::new();
        for (line, row) in &rows {
            let item = row.over(item::find(tx, &row.sku)?);
            let before = faults.total;
            for fault in item.faults() {
                faults.add(*line, column(&fault.field), fault.fault);
            }
            if let Some(entity) = item.legal_entity
                && organisation::legal_entity(tx, entity)?.is_none()
            {
                faults.add(*line, "legal_entity", format!("{entity} is unknown; import the legal entities first"));
            }
            if faults.total == before {
                let what = item::write(tx, &item)?;
                report.count(what);
                if what != Written::Unchanged {
                    written.push((*line, item));
                }
            }
            progress.inc(1);
        }
        for (line, item) in &written {
            check_codes(tx, *line, item, &mut faults)?;
        }
        faults.refuse()?;
        Ok(report)
    })
}

/// What a till scans must lead to one item. Looked at when all lines are written, since a code may have moved from one item to another.
fn check_codes(tx: &mut Tx<'_>, line: u64, item: &Item, faults: &mut Faults) -> Result<(), StoreError> {
    if let Some(other) = item::other_with_barcode(tx, &item.sku, &item.sku)? {
        faults.add(line, "sku", format!("{} is a barcode of item {other}", item.sku));
    }
    for barcode in &item.barcodes {
        if let Some(other) = item::other_with_barcode(tx, barcode, &item.sku)? {
            faults.add(line, "barcodes", format!("{barcode} is a barcode of item {other} too"));
        } else if *barcode != item.sku && item::find(tx, barcode)?.is_some() {
            faults.add(line, "barcodes", format!("{barcode} is the SKU of another item"));
        }
    }
    Ok(())
}

/// The column of a field of the record.
fn column(field: &str) -> &str {
    match field {
        "tax_ppm" => "tax_rate",
        other => other.strip_suffix("_minor").unwrap_or(other),
    }
}

/// A tax rate with its percent sign, in parts per million; none is 0.
fn tax_ppm(line: &mut Line<'_>) -> u32 {
    let Some(text) = line.text("tax_rate") else { return 0 };
    percent(text).unwrap_or_else(|| {
        // Without the sign 0.13 would be thirteen percent to one reader and a seventh of a percent to another.
        line.fault(
            "tax_rate",
            format!("{text:?} is not a rate like 13% (with its percent sign, at most four decimal places)"),
        );
        0
    })
}

fn percent(text: &str) -> Option<u32> {
    let number = text.strip_suffix(['%', '％'])?.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    (digits(whole, 3) && digits(fraction, 4)).then(|| format!("{whole}{fraction:0<4}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_exactly_and_only_with_its_sign() {
        for (text, ppm) in [("13%", 130_000), ("0%", 0), ("9.5 %", 95_000), ("0.0001%", 1), ("100％", 1_000_000)] {
            assert_eq!(percent(text), Some(ppm), "{text}");
        }
        for bad in ["13", "0.13", "%", "1.%", ".5%", "1.00001%", "-1%", "1e2%", "1000.0%x", "١%"] {
            assert_eq!(percent(bad), None, "{bad}");
        }
    }
}
