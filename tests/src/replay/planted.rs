//! Planted: a cent moved between two funders in a copy of the hub's database, which verification must find and name.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use huitong_hub::config::HubConfig;
use rusqlite::Connection;

use super::charged::MANUFACTURER;
use crate::clock::HandClock;
use crate::command;

/// One cent from a funder to another: where it is put, how it is put there, how it is taken away again, and what must be named.
struct Plant {
    what: &'static str,
    rows: &'static str,
    change: &'static str,
    named: &'static str,
}

const PLANTS: [Plant; 2] = [
    Plant {
        what: "between the discounts of a sale",
        // A sale that both bear a part of.
        rows: "SELECT one.store_id, one.epoch, one.seq, one.idx, other.idx FROM funding one JOIN funding other
               ON other.store_id = one.store_id AND other.epoch = one.epoch AND other.seq = one.seq
               WHERE one.kind = 'sale' AND one.funder = 'hub' AND other.funder = ?1 AND other.amount_minor > 1 LIMIT 1",
        change: "UPDATE funding SET amount_minor = amount_minor + CASE idx WHEN ?4 THEN ?6 ELSE -?6 END
                 WHERE store_id = ?1 AND epoch = ?2 AND seq = ?3 AND idx IN (?4, ?5)",
        named: "funding: funding ",
    },
    Plant {
        what: "between the lines of a run",
        // A store that both owe something for a day in one run.
        rows: "SELECT one.run_no, one.account_id, 0, one.line_no, other.line_no FROM settlement_line one JOIN settlement_line other
               ON other.run_no = one.run_no AND other.account_id = one.account_id AND other.creditor = one.creditor
               AND other.business_day = one.business_day AND other.kind = one.kind
               WHERE one.kind = 'discount_funding' AND one.debtor = 'hub' AND other.debtor = ?1 AND other.amount_minor > 1 LIMIT 1",
        change: "UPDATE settlement_line SET amount_minor = amount_minor + CASE line_no WHEN ?4 THEN ?6 ELSE -?6 END
                 WHERE run_no = ?1 AND account_id = ?2 AND ?3 = 0 AND line_no IN (?4, ?5)",
        named: "refold: settlement_line ",
    },
];

/// Plants a cent in each place of a copy in `folder`, and gives what verification did not find of it.
///
/// # Errors
/// When there is nothing to plant a cent between, or the copy cannot be looked at.
pub async fn unfound(hub_data: &Path, folder: &Path, clock: &HandClock) -> anyhow::Result<Vec<String>> {
    std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let database = |data: &Path| HubConfig { data_dir: data.to_owned(), ..HubConfig::default() }.database();
    let (from, to) = (database(hub_data), database(folder));
    let path = to.to_str().context("the data folder's name is not UTF-8")?;
    Connection::open(&from)?.execute("VACUUM INTO ?1", [path])?;
    let mut unfound = Vec::new();
    for Plant { what, rows, change, named } in PLANTS {
        let connection = Connection::open(&to)?;
        let row = connection
            .query_row(rows, [MANUFACTURER], |row| {
                let key: rusqlite::types::Value = row.get(0)?;
                Ok((key, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?, row.get::<_, i64>(4)?))
            })
            .with_context(|| format!("there is nothing {what} that both funders bear; play more days"))?;
        let put = |cent: i64| -> anyhow::Result<()> {
            let changed = connection.execute(change, (&row.0, row.1, row.2, row.3, row.4, cent))?;
            ensure!(changed == 2, "a cent {what} changed {changed} rows");
            Ok(())
        };
        put(1)?;
        let findings = command::verify(folder, Arc::new(clock.clone())).await?;
        if !findings.iter().any(|finding| finding.starts_with(named)) {
            unfound.push(format!("a cent moved {what}: verify finds {findings:?}"));
        }
        put(-1)?;
    }
    let left = command::verify(folder, Arc::new(clock.clone())).await?;
    ensure!(left.is_empty(), "with every cent back in its place verify still finds {left:?}");
    Ok(unfound)
}
