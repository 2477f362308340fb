//! Members from CSV: `number, name, [tier], [active]`. The hub mints their ids; a number that is there already is changed.

use std::collections::HashMap;

use super::{Column, ImportError, ImportReport, Options, Table, apply};
use crate::store::engine::Store;
use crate::store::organisation;

const COLUMNS: &[Column] =
    &[Column::required("number"), Column::required("name"), Column::optional("tier"), Column::optional("active")];

struct Row {
    number: String,
    name: String,
    tier: String,
    active: bool,
}

/// Imports members.
///
/// # Errors
/// [`ImportError`], with nothing written.
pub fn import(store: &Store, csv: &[u8], options: &Options) -> Result<ImportReport, ImportError> {
    let table = Table::read("member", COLUMNS, csv, options.encoding)?;
    let mut seen = HashMap::new();
    let rows = table.rows(|line| {
        let (number, name) = (line.needed("number"), line.needed("name"));
        let tier = line.text("tier").unwrap_or_default().to_owned();
        let active = match line.text("active") {
            None | Some("1" | "yes" | "true" | "是") => true,
            Some("0" | "no" | "false" | "否") => false,
            Some(other) => {
                line.fault("active", format!("{other:?} is neither yes nor no"));
                false
            }
        };
        if let Some(number) = number {
            line.unique("number", &mut seen, number.to_owned(), &number);
        }
        Some(Row { number: number?.to_owned(), name: name?.to_owned(), tier, active })
    })?;
    options.progress.set_length(rows.len() as u64);
    apply(store, options, move |tx, progress| {
        let mut report = ImportReport::new("members", rows.len());
        for (_, row) in &rows {
            report.count(organisation::write_member(tx, &row.number, &row.name, &row.tier, row.active)?);
            progress.inc(1);
        }
        Ok(report)
    })
}
