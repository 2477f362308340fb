//! Rows: what a store's database holds, to be compared, and the proofs that it must pass by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, ensure};
use huitong_edge::store::{ReadTx, Store, StoreError, journal};
use huitong_protocol::allotment::{Purse, StoreCounters, StoreEvent, step};
use huitong_protocol::entry::{Body, Entry};
use huitong_protocol::id::{OperationId, Seq};
use huitong_protocol::journal::{Head, verify};
use huitong_protocol::movement::Direction;
use huitong_protocol::unit::Unit;
use rusqlite::types::ValueRef;

/// What differs between two stores that did the same: forms are sealed with fresh randomness, and with their bytes every hash after them.
const DIFFERS: [(&str, &str); 7] = [
    ("entry", "hash"),
    ("entry", "bytes"),
    ("operation", "answer"),
    ("day", "seal"),
    ("day", "verdict"),
    ("sync_state", "acknowledged_hash"),
    ("sync_state", "reported_hash"),
];

/// The rows of every table, as text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rows(BTreeMap<String, Vec<String>>);

impl Rows {
    /// Reads them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn of(store: &Store) -> anyhow::Result<Self> {
        store
            .read(|tx| {
                read_rows(tx)
                    .map_err(|error| anyhow::Error::new(error).context("could not read the rows"))
                    .map_err(Failed)
            })
            .map_err(|Failed(error)| error)
    }

    /// The first difference to other rows.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let tables: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let none = Vec::new();
        for table in tables {
            let (here, there) = (self.0.get(table).unwrap_or(&none), other.0.get(table).unwrap_or(&none));
            if here == there {
                continue;
            }
            let mut text = format!("{table}: {} rows, {} expected", here.len(), there.len());
            for (sign, row) in here
                .iter()
                .filter(|row| !there.contains(row))
                .map(|row| ('+', row))
                .take(2)
                .chain(there.iter().filter(|row| !here.contains(row)).map(|row| ('-', row)).take(2))
            {
                let _ = write!(text, "; {sign} {row}"); // Writing to a text cannot fail.
            }
            return Some(text);
        }
        None
    }
}

/// Carries any error out of the store's closures.
struct Failed(anyhow::Error);

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

fn read_rows(tx: &ReadTx<'_>) -> rusqlite::Result<Rows> {
    let connection = tx.connection();
    let mut tables = connection.prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'refinery_%' ORDER BY name",
    )?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut rows = BTreeMap::new();
    for table in tables {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}"))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut texts = Vec::new();
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let mut text = String::new();
            for (at, column) in columns.iter().enumerate() {
                if DIFFERS.contains(&(table.as_str(), column.as_str())) {
                    continue;
                }
                let _ = match row.get_ref(at)? {
                    ValueRef::Null => write!(text, "{column}=- "),
                    ValueRef::Integer(number) => write!(text, "{column}={number} "),
                    ValueRef::Real(number) => write!(text, "{column}={number} "),
                    ValueRef::Text(bytes) => write!(text, "{column}={} ", String::from_utf8_lossy(bytes)),
                    ValueRef::Blob(bytes) => write!(text, "{column}={} ", blake3::hash(bytes).to_hex()),
                }; // Writing to a text cannot fail.
            }
            texts.push(text);
        }
        texts.sort_unstable();
        rows.insert(table, texts);
    }
    Ok(Rows(rows))
}

/// Proves what a store holds: the engine's own check, the chain, that each counter is what the journal folds to, and that each operation of a till has
/// its entry and each entry its operation.
///
/// # Errors
/// What is not so.
pub fn prove(store: &Store) -> anyhow::Result<()> {
    let found: String =
        store.read(|tx| one_text(tx, "PRAGMA integrity_check").map_err(Failed)).map_err(|Failed(error)| error)?;
    ensure!(found == "ok", "the engine finds damage: {found}");
    let entries = store.read(|tx| journal::entries_after(tx, Seq::ZERO, usize::MAX >> 1, usize::MAX))?;
    let walk = entries.iter().map(|entry| (entry.head.seq, entry.head.hash, entry.bytes.as_slice()));
    let end = verify(Head::START, walk).context("the journal is damaged")?;
    ensure!(end == store.head(), "the journal ends at {end:?}; the store says {:?}", store.head());
    let mut folded: BTreeMap<Purse, StoreCounters> = BTreeMap::new();
    let mut operations = BTreeMap::new();
    let mut holds: BTreeMap<OperationId, (Purse, i64)> = BTreeMap::new();
    for entry in &entries {
        let Entry { header, body } =
            Entry::decode(&entry.bytes).with_context(|| format!("entry {}", entry.head.seq))?;
        if header.terminal.is_some() {
            operations.insert(header.operation.0.as_bytes().to_vec(), i64::try_from(entry.head.seq.0)?);
        }
        for movement in body.movements() {
            let counters = folded.entry(Purse { account: movement.account, unit: movement.unit }).or_default();
            if movement.amount_minor > 0 {
                let event = match movement.kind.direction() {
                    Direction::In => StoreEvent::Load { amount_minor: movement.amount_minor },
                    Direction::Out => StoreEvent::Spend { amount_minor: movement.amount_minor },
                };
                *counters = step(counters, event).with_context(|| format!("entry {}", entry.head.seq))?;
            }
        }
        match &body {
            Body::Hold(hold) => {
                let purse = Purse { account: hold.account, unit: Unit::Money(hold.currency) };
                holds.insert(header.operation, (purse, hold.amount_minor));
            }
            Body::HoldEnd(end) => {
                ensure!(holds.remove(&end.hold).is_some(), "entry {} ends a hold that is not open", entry.head.seq);
            }
            Body::Sale(sale) => {
                for id in sale.tenders.iter().filter_map(|line| line.hold) {
                    ensure!(holds.remove(&id).is_some(), "entry {} captures a hold that is not open", entry.head.seq);
                }
            }
            _ => {}
        }
        if let Body::Allotment(allotment) = &body {
            for change in &allotment.changes {
                let counters = folded.entry(Purse { account: change.account, unit: change.unit }).or_default();
                counters.adopted_minor = change.adopted_minor.unwrap_or(counters.adopted_minor);
                counters.released_minor = change.released_minor.unwrap_or(counters.released_minor);
            }
        }
    }
    folded.retain(|_, counters| *counters != StoreCounters::default());
    let held = store.read(|tx| stored(tx).map_err(Failed)).map_err(|Failed(error)| error)?;
    ensure!(folded == held.counters, "the counters are {:?}; the journal says {folded:?}", held.counters);
    let mut promised: BTreeMap<Purse, i64> = BTreeMap::new();
    for (purse, amount_minor) in holds.into_values() {
        *promised.entry(purse).or_default() += amount_minor;
    }
    ensure!(promised == held.held, "the purses hold {:?}; the journal says {promised:?}", held.held);
    ensure!(
        operations == held.operations,
        "{} operations have entries; the journal has {} of tills",
        held.operations.len(),
        operations.len()
    );
    Ok(())
}

struct Stored {
    counters: BTreeMap<Purse, StoreCounters>,
    /// What holds set aside.
    held: BTreeMap<Purse, i64>,
    /// Entry by operation.
    operations: BTreeMap<Vec<u8>, i64>,
}

fn stored(tx: &ReadTx<'_>) -> anyhow::Result<Stored> {
    let (mut counters, mut held) = (BTreeMap::new(), BTreeMap::new());
    for (_, line) in huitong_edge::store::allotment::changed_after(tx, 0, usize::MAX >> 1)? {
        if line.counters != StoreCounters::default() {
            counters.insert(Purse { account: line.account, unit: line.unit }, line.counters);
        }
        let held_minor = huitong_edge::store::allotment::get(tx, line.purse())?.held_minor;
        if held_minor > 0 {
            held.insert(line.purse(), held_minor);
        }
    }
    let mut statement =
        tx.connection().prepare("SELECT operation, entry_seq FROM operation WHERE entry_seq IS NOT NULL")?;
    let operations = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(Stored { counters, held, operations })
}

fn one_text(tx: &ReadTx<'_>, sql: &str) -> anyhow::Result<String> {
    Ok(tx.connection().query_row(sql, [], |row| row.get(0))?)
}
