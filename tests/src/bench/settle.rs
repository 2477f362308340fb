//! Settlement (P9): a first run over everything that ever moved, against what the engine needs to add the same rows up, and against the fold alone.
//!
//! The hub's database is filled straight with movements of many stores: cards are sold and loaded at one store and spent at that one and up to three
//! others. A run reads them, folds every account, writes its lines and proves its sums, in one durable transaction; it is taken away again
//! between rounds.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use huitong_hub::config::HubConfig;
use huitong_hub::publish;
use huitong_hub::refold::Refold;
use huitong_hub::settle::{self, RunReport, RunRequest, SettleError};
use huitong_hub::store::Store;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::settlement::fold::Folder;
use huitong_protocol::settlement::run::{Finality, Standing};
use huitong_protocol::time::{BusinessDay, Instant};
use indicatif::ProgressBar;
use rusqlite::Connection;

use super::{Bar, Measured, Sizes, medians, now, place, scattered};
use crate::clock::HandClock;
use crate::{command, documents, memory};

const BAR: Bar = Bar::AtMost(4.0);
const LIMIT_POOL: &str = "the engine's own GROUP BY store, day, kind over the same table: the least that must be read and added, with nothing written";
const LIMIT_FIFO: &str = "the bare fold of the same rows, read from the same table, with nothing written: what attribution by lots itself costs";
/// 2026-01-01.
const FIRST_DAY_MS: i64 = 1_767_225_600_000;
const FIRST_DAY: &str = "2026-01-01";
const DAYS: usize = 30;
const DAY_MS: i64 = 86_400_000;
/// After the last day.
const SETTLED_AT: Instant = Instant(FIRST_DAY_MS + 40 * DAY_MS);
/// Movements of an account.
const VISITS: usize = 20;
/// Stores that an account visits, at most.
const STORES_VISITED_MAX: u64 = 4;
const LOAD_MINOR: i64 = 20_000;
/// Rows that wait to be inserted together.
const INSERT_ROWS: usize = 100_000;

/// Measures first runs of the pool and of FIFO lots.
///
/// # Errors
/// When the database cannot be filled or a run is refused.
pub async fn run(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let folder = sizes.folder()?;
    prepare(folder.path(), sizes.stores).await?;
    let (data, sizes) = (folder.path().to_owned(), sizes.clone());
    tokio::task::spawn_blocking(move || measure(&data, &sizes)).await?
}

fn store_code(store: usize) -> String {
    format!("{:04}", store + 1)
}

/// Makes the hub with its stores through its own commands.
async fn prepare(data: &Path, stores: usize) -> anyhow::Result<()> {
    let clock: Arc<dyn huitong_hub::clock::Clock> = Arc::new(HandClock::at(SETTLED_AT));
    let file = |name: &str, text: String| -> anyhow::Result<String> {
        let path = data.join(name);
        std::fs::write(&path, text)?;
        path.to_str().map(str::to_owned).context("the folder's name is not UTF-8")
    };
    let run = async |args: &[&str]| command::hub(data, Arc::clone(&clock), args).await;
    run(&["init", "--group", "BENCH", "--currency", "CNY"]).await?;
    let entities = file("legal_entities.csv", "legal_entity,name\nE1,Bench Retail\n".to_owned())?;
    run(&["legal-entity", "import", &entities]).await?;
    let rows = (0..stores).map(|store| format!("{0},Store {0},E1,Asia/Shanghai\n", store_code(store)));
    let rows = rows.collect::<String>();
    let stores = file("stores.csv", format!("store,name,legal_entity,time_zone\n{rows}"))?;
    run(&["store", "import", &stores]).await?;
    let agreement = file("agreement.toml", documents::agreement("CNY", "pool", FIRST_DAY, 0, 0, "restore"))?;
    run(&["agreement", "publish", &agreement]).await?;
    Ok(())
}

/// One kind of run: its scheme and the fees that the agreement asks, in parts per million.
#[derive(Clone, Copy)]
struct Kind {
    scheme: Scheme,
    commission_ppm: i64,
    fee_ppm: i64,
}

const POOL: Kind = Kind { scheme: Scheme::Pool, commission_ppm: 0, fee_ppm: 0 };
/// The rates of the sample agreement: every spend has a second leg, to head office.
const POOL_WITH_FEES: Kind = Kind { scheme: Scheme::Pool, commission_ppm: 5_000, fee_ppm: 6_000 };
const FIFO: Kind = Kind { scheme: Scheme::Fifo, commission_ppm: 0, fee_ppm: 0 };

fn measure(data: &Path, sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let config = HubConfig { data_dir: data.to_owned(), ..HubConfig::default() };
    let store = Store::open(&config.database(), 1)?;
    let mut raw = Connection::open(config.database())?;
    // As the hub's own connections.
    raw.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384; PRAGMA synchronous = OFF;")?;
    let movements = fill(&mut raw, sizes)?;
    memory::forget_peak();

    let (mut pool, mut pool_fees, mut fifo) = (Vec::new(), Vec::new(), Vec::new());
    let mut notes = [String::new(), String::new(), String::new()];
    for _ in 0..sizes.rounds.max(1) {
        let group = seconds(|| group_by(&raw))?;
        let (ours, note) = first_run(&store, &raw, POOL)?;
        pool.push(per_million(ours, group, movements));
        notes[0] = note;
        let (ours, note) = first_run(&store, &raw, POOL_WITH_FEES)?;
        pool_fees.push(per_million(ours, group, movements));
        notes[1] = note;
        let (ours, note) = first_run(&store, &raw, FIFO)?;
        let fold = seconds(|| bare_fold(&store, FIFO.scheme))?;
        fifo.push(per_million(ours, fold, movements));
        notes[2] = note;
    }
    if let Some(peak) = memory::peak_bytes() {
        for note in &mut notes {
            note.push_str(&format!("; at most {} MB of memory", peak >> 20));
        }
    }
    store.close();
    let of = |name: &str, limit, rounds: &[(f64, f64)], bar, note: &str| {
        let (ours, theirs, ratio) = medians(rounds);
        let name = format!("P9 {name}, {movements} movements, {} stores", sizes.stores);
        Measured { name, limit, ours, theirs, unit: "s per million", ratio, bar, notes: vec![note.to_owned()] }
    };
    Ok(vec![
        of("pool", LIMIT_POOL, &pool, BAR, &notes[0]),
        of("pool with fees", LIMIT_POOL, &pool_fees, Bar::None, &notes[1]),
        of("FIFO lots", LIMIT_FIFO, &fifo, BAR, &notes[2]),
    ])
}

#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a measurement")]
fn per_million(ours: f64, theirs: f64, movements: usize) -> (f64, f64) {
    let millions = movements as f64 / 1e6;
    (ours / millions, theirs / millions)
}

fn seconds(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// A first run on a clean table, and what it did.
fn first_run(store: &Store, raw: &Connection, kind: Kind) -> anyhow::Result<(f64, String)> {
    // By name, lines before the runs that they belong to.
    let settled = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'settlement_%' ORDER BY name";
    let tables = raw.prepare(settled)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    for table in tables {
        raw.execute(&format!("DELETE FROM {table}"), [])?;
    }
    raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    let Kind { scheme, commission_ppm, fee_ppm } = kind;
    let document = documents::agreement("CNY", scheme.as_str(), FIRST_DAY, commission_ppm, fee_ppm, "restore");
    raw.execute("UPDATE agreement SET document = ?1", [document])?;
    let request =
        RunRequest { scheme, standing: Standing::Booked, finality: Finality::Final, day_to: Some(last_day()?) };
    let mut report = None;
    let took = seconds(|| {
        report = Some(settle::run(store, SETTLED_AT, request, &ProgressBar::hidden())?);
        Ok(())
    })?;
    let RunReport { accounts, lines, .. } = report.context("there was no run")?;
    Ok((took, format!("{accounts} accounts, {lines} lines")))
}

fn last_day() -> anyhow::Result<BusinessDay> {
    Ok(day(DAYS - 1)?.parse()?)
}

/// A business day, counted from the first.
fn day(index: usize) -> anyhow::Result<String> {
    let days = (0..index).fold(FIRST_DAY.parse::<BusinessDay>()?, |day, _| day.tomorrow());
    Ok(days.to_string())
}

fn group_by(raw: &Connection) -> anyhow::Result<()> {
    let sql = "SELECT store_id, business_day, kind, COUNT(*), SUM(amount_minor) FROM movement GROUP BY store_id, business_day, kind";
    let mut statement = raw.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut seen: i64 = 0;
    while let Some(row) = rows.next()? {
        seen += row.get::<_, i64>(3)?;
    }
    anyhow::ensure!(seen > 0, "the engine saw no movements");
    Ok(())
}

fn bare_fold(store: &Store, scheme: Scheme) -> anyhow::Result<()> {
    let legs = store.read_blocking(|tx| {
        let agreements = publish::agreements(tx)?.ok_or(SettleError::Refused {
            fault: "there is no agreement".to_owned(),
            hint: "publish one".to_owned(),
        })?;
        let (mut folder, mut legs) = (Folder::new(scheme, agreements), 0_u64);
        Refold::everything().run(tx, |_, _, history| {
            folder.fold_account(history, &mut |_| legs += 1)?;
            Ok::<_, SettleError>(())
        })?;
        Ok::<_, SettleError>(legs)
    })?;
    anyhow::ensure!(legs > 0, "the fold made no legs");
    Ok(())
}

/// Fills the table of movements, and what a run looks at beside it: accepted days and the last number of an entry. Gives the number of movements.
fn fill(raw: &mut Connection, sizes: &Sizes) -> anyhow::Result<usize> {
    let days = (0..DAYS).map(day).collect::<anyhow::Result<Vec<_>>>()?;
    let stores: Vec<String> = (0..sizes.stores).map(store_code).collect();
    let accounts = (sizes.movements / VISITS).max(1);
    let movements = accounts * VISITS;
    raw.execute_batch("DROP INDEX movement_by_ingested_no")?;
    let mut rows = 0;
    let mut account = 0;
    while account < accounts {
        let tx = raw.transaction()?;
        {
            let mut insert = tx.prepare_cached(
                "INSERT INTO movement (account_id, stamp, store_id, epoch, seq, idx, ingested_no, business_day, unit, kind, amount_minor)
                 VALUES (?1, ?2, ?3, 1, ?4, 0, ?4, ?5, 'CNY', ?6, ?7)",
            )?;
            let through = rows + INSERT_ROWS;
            while account < accounts && rows < through {
                for (visit, moved) in history(account as u64, stores.len()).into_iter().enumerate() {
                    // Numbered by day first, as they arrive.
                    let number = i64::try_from(visit * accounts + account + 1)?;
                    let day = visit * DAYS / VISITS;
                    let stamp = FIRST_DAY_MS + DAY_MS * i64::try_from(day)? + number;
                    let row = (
                        i64::try_from(account + 1)?,
                        stamp,
                        &stores[moved.store],
                        number,
                        &days[day],
                        moved.kind,
                        moved.amount_minor,
                    );
                    rows += insert.execute(row)?;
                }
                account += 1;
            }
        }
        tx.commit()?;
    }
    let tx = raw.transaction()?;
    {
        let mut insert = tx.prepare(
            "INSERT INTO day (store_id, business_day, epoch, seal_seq, state, ingested_no, accepted_at_ms) VALUES (?1, ?2, 1, 1, 'accepted', 1, 1)",
        )?;
        for store in &stores {
            for day in &days {
                insert.execute((store, day))?;
            }
        }
    }
    tx.execute(
        "INSERT INTO entry (store_id, epoch, seq, hash, ingested_no, kind, operation, business_day, bytes)
         VALUES (?1, 1, 1, x'', ?2, 'sale', x'', ?3, x'')",
        (&stores[0], i64::try_from(movements)?, &days[0]),
    )?;
    tx.commit()?;
    raw.execute_batch(
        "CREATE INDEX movement_by_ingested_no ON movement (ingested_no, account_id); PRAGMA wal_checkpoint(TRUNCATE);",
    )?;
    Ok(movements)
}

struct Moved {
    store: usize,
    kind: &'static str,
    amount_minor: i64,
}

/// What an account did: sold at its first store, spent there and at a few others, loaded again when it holds too little.
fn history(account: u64, stores: usize) -> Vec<Moved> {
    let home = place(1, account, stores);
    let visited = scattered(2, account) % STORES_VISITED_MAX + 1;
    let mut held_minor = LOAD_MINOR;
    let mut moved = vec![Moved { store: home, kind: "card_sale", amount_minor: LOAD_MINOR }];
    for visit in 1..VISITS as u64 {
        let seed = (account << 8) | visit;
        let other = scattered(3, seed) % visited;
        // Half of all visits are to the first store.
        let store = if scattered(4, seed).is_multiple_of(2) { home } else { place(5, (account << 8) | other, stores) };
        let amount_minor = i64::try_from(scattered(6, seed) % 9_000).unwrap_or(0) + 500;
        if held_minor < amount_minor {
            held_minor += LOAD_MINOR;
            moved.push(Moved { store, kind: "reload", amount_minor: LOAD_MINOR });
        } else {
            held_minor -= amount_minor;
            moved.push(Moved { store, kind: "spend", amount_minor });
        }
    }
    moved
}
