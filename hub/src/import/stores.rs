//! Stores from CSV: `store, name, legal_entity, time_zone, [currency], [rollover_hour], [opened_on], [closed_on]`.

use std::collections::HashMap;

use huitong_protocol::id::StoreId;
use huitong_protocol::organisation::Store as StoreRow;

use super::{Column, Faults, ImportError, ImportReport, Options, Table, apply};
use crate::store::engine::Store;
use crate::store::{organisation, root};

const COLUMNS: &[Column] = &[
    Column::required("store"),
    Column::required("name"),
    Column::required("legal_entity"),
    Column::required("time_zone"),
    Column::optional("currency"),
    Column::optional("rollover_hour"),
    Column::optional("opened_on"),
    Column::optional("closed_on"),
];

/// Imports stores. A code that is there already is changed.
///
/// # Errors
/// [`ImportError`], with nothing written.
pub fn import(store: &Store, csv: &[u8], options: &Options) -> Result<ImportReport, ImportError> {
    let hub = store.read_blocking(root::hub)?;
    let table = Table::read("store", COLUMNS, csv, options.encoding)?;
    let mut seen = HashMap::new();
    let rows = table.rows(|line| {
        let id: Option<StoreId> = line.parsed("store");
        let (name, legal_entity, time_zone) =
            (line.needed("name"), line.parsed("legal_entity"), line.needed("time_zone"));
        let (currency, hour) = (line.maybe("currency"), line.maybe::<u8>("rollover_hour"));
        let (opened_on, closed_on) = (line.maybe("opened_on"), line.maybe("closed_on"));
        if let Some(id) = id {
            if id == StoreId::HUB {
                line.fault("store", format!("{id} is the code of head office's own journal; choose another"));
            }
            line.unique("store", &mut seen, id, &id);
        }
        if let Some(zone) = time_zone.filter(|zone| jiff::tz::TimeZone::get(zone).is_err()) {
            line.fault("time_zone", format!("{zone:?} is not a time zone of the IANA database, like Asia/Shanghai"));
        }
        let currency = currency?.unwrap_or(hub.currency);
        if currency != hub.currency {
            line.fault("currency", format!("{currency} is not {}, the currency of this hub", hub.currency));
        }
        let rollover_hour = hour?.unwrap_or(0);
        if rollover_hour > 23 {
            line.fault("rollover_hour", format!("{rollover_hour} is not an hour from 0 to 23"));
        }
        if let (Some(Some(opened)), Some(Some(closed))) = (opened_on, closed_on)
            && closed < opened
        {
            line.fault("closed_on", format!("{closed} is before {opened}, the day it opened"));
        }
        Some(StoreRow {
            id: id?,
            name: name?.to_owned(),
            legal_entity: legal_entity?,
            time_zone: time_zone?.to_owned(),
            currency,
            rollover_hour,
            opened_on: opened_on?,
            closed_on: closed_on?,
        })
    })?;
    options.progress.set_length(rows.len() as u64);
    apply(store, options, move |tx, progress| {
        let mut report = ImportReport::new("stores", rows.len());
        let mut faults = Faults::default();
        for (line, row) in &rows {
            if organisation::legal_entity(tx, row.legal_entity)?.is_none() {
                faults.add(
                    *line,
                    "legal_entity",
                    format!("{} is unknown; import the legal entities first", row.legal_entity),
                );
                continue;
            }
            report.count(organisation::write_store(tx, row)?);
            progress.inc(1);
        }
        faults.refuse()?;
        Ok(report)
    })
}
