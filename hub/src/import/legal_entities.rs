//! Legal entities from CSV: `legal_entity, name, [register_number], [taxpayer_kind], [bank_account]`.

use std::collections::HashMap;

use huitong_protocol::organisation::LegalEntity;

use super::{Column, ImportError, ImportReport, Options, Table, apply};
use crate::store::engine::Store;
use crate::store::organisation;

const COLUMNS: &[Column] = &[
    Column::required("legal_entity"),
    Column::required("name"),
    Column::optional("register_number"),
    Column::optional("taxpayer_kind"),
    Column::optional("bank_account"),
];

/// Imports legal entities. A code that is there already is changed.
///
/// # Errors
/// [`ImportError`], with nothing written.
pub fn import(store: &Store, csv: &[u8], options: &Options) -> Result<ImportReport, ImportError> {
    let table = Table::read("legal entity", COLUMNS, csv, options.encoding)?;
    let mut seen = HashMap::new();
    let rows = table.rows(|line| {
        let (id, name) = (line.parsed("legal_entity"), line.needed("name"));
        let mut text = |field| line.text(field).unwrap_or_default().to_owned();
        let (register_number, taxpayer_kind, bank_account) =
            (text("register_number"), text("taxpayer_kind"), text("bank_account"));
        if let Some(id) = id {
            line.unique("legal_entity", &mut seen, id, &id);
        }
        Some(LegalEntity { id: id?, name: name?.to_owned(), register_number, taxpayer_kind, bank_account })
    })?;
    options.progress.set_length(rows.len() as u64);
    apply(store, options, move |tx, progress| {
        let mut report = ImportReport::new("legal entities", rows.len());
        for (_, entity) in &rows {
            report.count(organisation::write_legal_entity(tx, entity)?);
            progress.inc(1);
        }
        Ok(report)
    })
}
