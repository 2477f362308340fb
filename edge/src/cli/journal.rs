//! `journal`: proves the chain of the store's journal and shows its entries. Reads the database, beside a running daemon or without one; the journal of an
//! epoch that ended is brought by the running daemon, which has the line.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use huitong_protocol::entry::{Body, EntryView};
use huitong_protocol::id::Seq;
use huitong_protocol::journal::{Head, verify};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::api_client::ApiClient;
use super::{Done, Shell, render};
use crate::run::open_store;
use crate::store::{Store, journal};

/// Entries and bytes read at a time.
const PAGE_ENTRIES: usize = 1_000;
const PAGE_BYTES: usize = 8 << 20;

/// Proves and shows the store's journal.
#[derive(Subcommand, Debug)]
pub(super) enum Journal {
    /// Walks the whole chain and proves every entry
    Verify,
    /// Shows one entry
    Show {
        /// Its position
        seq: u64,
    },
    /// Hands head office the journal of an epoch that ended, from the database that `enrol --replace` kept. The running store sends it
    Bring {
        /// The kept database, as `enrol --replace` named it
        file: PathBuf,
        /// The database that head office heard last is lost for good: bring this one, which ends before or went another way. The other can never come then
        #[arg(long)]
        heard_database_is_lost: bool,
    },
}

impl Journal {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        if let Self::Bring { file, heard_database_is_lost } = self {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let brought = ApiClient::of(shell)?
                .post("/v1/sync/bring", &json!({ "file": name, "heard_database_is_lost": heard_database_is_lost }))
                .await?;
            return shell.print(&brought, render::lines);
        }
        let config = shell.load()?.value;
        let store = open_store(&config.data_dir, &config.store)?;
        match self {
            Self::Verify => {
                let head = walk(&store)?;
                let value = json!({ "entries": head.seq, "head": head });
                shell.print(&value, |_| format!("{} entries, each proved; the head is {}", head.seq, head.hash))
            }
            Self::Show { seq } => {
                let value = show(&store, Seq(seq))?;
                shell.print(&value, render::lines)
            }
            Self::Bring { .. } => Ok(()),
        }
    }
}

/// Proves every entry up to the end of the journal.
fn walk(store: &Store) -> Result<Head, anyhow::Error> {
    let end = store.head();
    let bar = ProgressBar::new(end.seq.0)
        .with_style(ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} entries {eta}")?);
    let mut head = Head::START;
    while head.seq < end.seq {
        let page = store.read(|tx| journal::entries_after(tx, head.seq, PAGE_ENTRIES, PAGE_BYTES))?;
        if page.is_empty() {
            return Err(anyhow!("the journal ends at {} and should reach {}", head.seq, end.seq));
        }
        let rows = page.iter().map(|entry| (entry.head.seq, entry.head.hash, entry.bytes.as_slice()));
        head = verify(head, rows).context("the journal is damaged")?;
        for entry in &page {
            let place = entry.head.seq;
            let view = EntryView::decode(&entry.bytes).with_context(|| format!("entry {place} cannot be read"))?;
            if view.header.seq != place {
                return Err(anyhow!("entry {place} says that it is entry {}", view.header.seq));
            }
        }
        bar.set_position(head.seq.0);
    }
    bar.finish_and_clear();
    Ok(head)
}

fn show(store: &Store, seq: Seq) -> Result<Value, anyhow::Error> {
    let before = Seq(seq.0.checked_sub(1).ok_or_else(|| anyhow!("positions begin at 1"))?);
    let found = store.read(|tx| journal::entries_after(tx, before, 1, usize::MAX))?;
    let entry = found
        .into_iter()
        .find(|entry| entry.head.seq == seq)
        .ok_or_else(|| anyhow!("there is no entry {seq}; the journal ends at {}", store.head().seq))?;
    let view = EntryView::decode(&entry.bytes)?;
    let body = match view.body() {
        Ok(body) => body_json(&body)?,
        Err(error) => json!({ "unreadable": error.to_string(), "bytes": view.body_bytes.len() }),
    };
    Ok(json!({ "id": view.header.id(), "hash": entry.head.hash, "header": view.header, "body": body }))
}

fn body_json(body: &Body) -> Result<Value, serde_json::Error> {
    match body {
        Body::CardSale(body) | Body::CardReload(body) => serde_json::to_value(body),
        Body::CardStatus(body) => serde_json::to_value(body),
        Body::Sale(body) => serde_json::to_value(body),
        Body::Payment(body) => serde_json::to_value(body),
        Body::Invoice(body) => serde_json::to_value(body),
        Body::Void(body) => serde_json::to_value(body),
        Body::Return(body) => serde_json::to_value(body),
        Body::UnreferencedReturn(body) => serde_json::to_value(body),
        Body::Hold(body) => serde_json::to_value(body),
        Body::HoldEnd(body) => serde_json::to_value(body),
        Body::MemberEnrolled(body) => serde_json::to_value(body),
        Body::MemberChangeRequested(body) => serde_json::to_value(body),
        Body::Allotment(body) => serde_json::to_value(body),
        Body::DayOpen(body) => serde_json::to_value(body),
        Body::Seal(body) => serde_json::to_value(body),
        Body::HubPosting(body) => serde_json::to_value(body),
    }
}
