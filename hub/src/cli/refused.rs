//! `huitong-hub refused`: sync requests that head office turned away, and why.

use clap::Subcommand;
use huitong_protocol::id::StoreId;
use huitong_protocol::time::Instant;

use super::output::table;
use super::{Failure, Output, Place};
use crate::store::refused::{self, Filter};

/// Refusals that one command lists when nobody says how many.
const LISTED: usize = 100;

#[derive(Debug, Subcommand)]
pub(crate) enum RefusedCommand {
    /// List requests that were refused, newest first.
    List {
        /// Only of requests that named this store.
        #[arg(long)]
        store: Option<StoreId>,
        /// Only since then: 2026-11-22T08:00:00Z.
        #[arg(long, value_name = "TIME")]
        since: Option<jiff::Timestamp>,
        /// How many.
        #[arg(long, default_value_t = LISTED)]
        limit: usize,
    },
}

impl RefusedCommand {
    pub(crate) fn run(self, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let Self::List { store, since, limit } = self;
        let filter = Filter { store, since: since.map(|since| Instant(since.as_millisecond())), before: None };
        let found = place.open()?.read_blocking(move |tx| refused::list(tx, &filter, limit))?;
        out.show(&found, |text| {
            let rows: Vec<Vec<String>> = found
                .iter()
                .map(|row| {
                    let by = if row.is_proved { "the store" } else { "a stranger" };
                    vec![
                        row.number.to_string(),
                        row.at_ms.to_string(),
                        plain(&row.store),
                        by.to_owned(),
                        row.path.clone(),
                        row.fault.clone(),
                        row.unwritten.to_string(),
                        plain(&row.message),
                    ]
                })
                .collect();
            table(text, &[">no", "at", "store", "by", "asked", "fault", ">counted before", "why"], &rows)
        })?;
        Ok(())
    }
}

/// A stranger's words must not move the cursor of who reads them.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
