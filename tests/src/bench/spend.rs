//! Spends (P2, P3): sales paid with stored value, over HTTP, answered after they are on disk, against the same rows written by a bare loop; and of one
//! till alone how long it waits, against `fdatasync` on the same disk.
//!
//! The loop works on a copy of the store's own database, so tables, indexes and rows are the same, and what it writes has the sizes of a real
//! sale. It decides nothing, hashes nothing and answers nobody. Tills make their keys as version 7 UUIDs and send no witness.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use huitong_protocol::card::CardNumber;
use huitong_protocol::id::OperationId;
use rusqlite::Connection;

use super::fsync::Disk;
use super::load::{self, Load, below_us};
use super::shop::BenchShop;
use super::{Bar, Measured, Sizes, median, medians, now, place, scattered};
use crate::till::approved;

/// How many tills, with the share of the spends that each case does: few tills wait for the disk each time.
const CASES: [(usize, u64); 5] = [(1, 10), (4, 4), (16, 1), (64, 1), (256, 1)];
/// The case with a bar.
const TILLS_BAR: usize = 64;
const BAR: Bar = Bar::AtLeast(0.5);
const LIMIT: &str = "the same rows written by a bare rusqlite loop to the same tables on the same disk, 64 a transaction, synchronous=FULL: what the engine and the disk allow";
/// The case that waits for nobody else: P3.
const TILL_ALONE: usize = 1;
const WAIT_LIMIT: &str = "twice the median fdatasync of one block on the same disk, and 500 µs: what the disk takes for a commit and leaves for all else";
/// What P3 leaves for everything but the disk.
const WAIT_ALLOWED_US: f64 = 500.0;
/// Spends of a transaction of the bare loop.
const BATCH: u64 = 64;
/// The accounts that spend, at most.
const ACCOUNTS_MAX: usize = 100_000;
const AMOUNT_MINOR: i64 = 100;
/// 2026-01-05: when the first key is made.
const KEYS_FROM_MS: u64 = 1_767_571_200_000;

/// Measures durable spends of random cards.
///
/// # Errors
/// When the store cannot be built, or a spend was not approved.
pub async fn run(sizes: &Sizes) -> anyhow::Result<Vec<Measured>> {
    let folder = sizes.folder()?;
    let shop = BenchShop::open(folder.path(), sizes.members.min(ACCOUNTS_MAX)).await?;
    let tills_max = CASES.iter().map(|case| case.0).max().unwrap_or(1);
    let mut pass = Pass { tokens: shop.pair(tills_max).await?.into(), sale: Sale::of(&shop)?, number: 0 };

    let key = OperationId(uuid::Uuid::from_u128(2));
    approved(shop.shop.till.spend(key, shop.cards[0], AMOUNT_MINOR).await?)?;
    let mut bare = Bare::copy(&shop.database, &folder.path().join("bare.db"), key)?;
    pass.spend(&shop, 16, (sizes.spends / 4).max(64)).await?;
    bare = tokio::task::spawn_blocking(move || bare.spend(BATCH * 4).map(|_| bare)).await??;

    let mut disk = Disk::open(&folder.path().join("disk"))?;
    let mut waits = Waits::default();
    let mut rounds = vec![Vec::new(); CASES.len()];
    let mut p50_us = vec![Vec::new(); CASES.len()];
    for _ in 0..sizes.rounds.max(1) {
        let spends = sizes.spends;
        let (again, theirs) =
            tokio::task::spawn_blocking(move || bare.spend(spends).map(|rate| (bare, rate))).await??;
        bare = again;
        for (case, &(tills, share)) in CASES.iter().enumerate() {
            let count = (sizes.spends / share).max(tills as u64);
            if tills == TILL_ALONE {
                let (again, synced_us) =
                    tokio::task::spawn_blocking(move || disk.sync(count).map(|us| (disk, us))).await??;
                disk = again;
                waits.disk_us.push(f64::from(below_us(&synced_us, 500)));
            }
            let ours = pass.spend(&shop, tills, count).await?;
            if tills == TILL_ALONE {
                waits.ours_us.push(f64::from(ours.latency_us(500)));
                waits.tail_us.push(f64::from(ours.latency_us(999)));
            }
            rounds[case].push((ours.per_second(), theirs));
            p50_us[case].push((f64::from(ours.latency_us(500)), f64::from(ours.latency_us(990))));
        }
    }
    let mut measured = Vec::new();
    for (case, &(tills, _)) in CASES.iter().enumerate() {
        let (ours, theirs, ratio) = medians(&rounds[case]);
        let (p50, p99, _) = medians(&p50_us[case]);
        let mut notes = vec![format!("p50 {p50:.0} µs, p99 {p99:.0} µs")];
        if tills == TILLS_BAR {
            notes.push(bare.sizes());
        }
        measured.push(Measured {
            name: format!("P2 spend, {tills} tills, {} accounts", shop.cards.len()),
            limit: LIMIT,
            ours,
            theirs,
            unit: "spends/s",
            ratio,
            bar: if tills == TILLS_BAR { BAR } else { Bar::None },
            notes,
        });
    }
    measured.push(waits.measured(shop.cards.len()));
    drop(bare);
    shop.close().await?;
    Ok(measured)
}

/// How long one till alone waits, round by round.
#[derive(Default)]
struct Waits {
    ours_us: Vec<f64>,
    tail_us: Vec<f64>,
    disk_us: Vec<f64>,
}

impl Waits {
    #[expect(clippy::float_arithmetic, reason = "a measurement")]
    fn measured(self, accounts: usize) -> Measured {
        let allowed = |disk_us: &f64| 2.0 * disk_us + WAIT_ALLOWED_US;
        let rounds: Vec<_> = self.ours_us.iter().copied().zip(self.disk_us.iter().map(allowed)).collect();
        let (ours, theirs, ratio) = medians(&rounds);
        let (disk, tail) = (median(self.disk_us), median(self.tail_us));
        Measured {
            name: format!("P3 spend, one till alone, {accounts} accounts"),
            limit: WAIT_LIMIT,
            ours,
            theirs,
            unit: "µs p50",
            ratio,
            bar: Bar::AtMost(1.0),
            notes: vec![format!("p99.9 {tail:.0} µs; fdatasync p50 {disk:.0} µs")],
        }
    }
}

/// The key of a spend: version 7, as tills should make them.
fn key(pass: u64, till: u64, n: u64) -> uuid::Uuid {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&scattered((pass << 16) | till, n).to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(KEYS_FROM_MS + (pass << 24) + n, &random).into_uuid()
}

/// The body of a sale around its card, so that clients spend no time on JSON.
#[derive(Clone)]
struct Sale {
    before: Arc<str>,
    after: Arc<str>,
}

impl Sale {
    fn of(shop: &BenchShop) -> anyhow::Result<Self> {
        let card = shop.cards.first().copied().context("there are no cards")?;
        let body = serde_json::to_string(&shop.shop.till.one_line_sale(card, AMOUNT_MINOR))?;
        let (before, after) = body.split_once(card.reveal()).context("the sale does not name its card")?;
        Ok(Self { before: before.into(), after: after.into() })
    }
}

/// Runs of load, each with keys of its own.
struct Pass {
    tokens: Arc<[String]>,
    sale: Sale,
    number: u64,
}

impl Pass {
    /// Spends and makes sure that every answer was an approval.
    async fn spend(&mut self, shop: &BenchShop, tills: usize, spends: u64) -> anyhow::Result<Load> {
        self.number += 1;
        let (pass, tokens, sale) = (self.number, Arc::clone(&self.tokens), self.sale.clone());
        let cards: Arc<Vec<CardNumber>> = Arc::clone(&shop.cards);
        let before = shop.shop.edge.store().head().seq.0;
        let load = load::run(shop.address, tills, spends, move |till, n, request| {
            let card = cards[place((pass << 16) | till as u64, n, cards.len())];
            let (key, length) = (key(pass, till as u64, n), sale.before.len() + card.reveal().len() + sale.after.len());
            // Writing into memory does not fail.
            let _ = write!(
                request,
                "POST /v1/sales HTTP/1.1\r\nhost: store\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
                 idempotency-key: {key}\r\ncontent-length: {length}\r\n\r\n{}{}{}",
                tokens[till],
                sale.before,
                card.reveal(),
                sale.after
            );
        })
        .await?;
        let made = shop.shop.edge.store().head().seq.0 - before;
        ensure!(made == load.answers, "{} spends were answered, {made} were approved", load.answers);
        Ok(load)
    }
}

/// The bare loop, with the rows of one real sale.
struct Bare {
    connection: Connection,
    accounts: Vec<i64>,
    kind: String,
    business_day: Option<String>,
    entry: Vec<u8>,
    terminal: String,
    answer: Vec<u8>,
    /// The last position, change and pass.
    seq: i64,
    change_no: i64,
    pass: u64,
}

impl Bare {
    /// Copies the store's database and remembers the rows that an operation made.
    fn copy(database: &Path, to: &Path, operation: OperationId) -> anyhow::Result<Self> {
        let original = Connection::open(database)?;
        original.execute("VACUUM INTO ?1", [to.to_str().context("the folder's name is not UTF-8")?])?;
        drop(original);
        let connection = Connection::open(to)?;
        // As the edge: the log in front, every commit on disk, a cache of the same size.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -2048;",
        )?;
        let id = &operation.0.as_bytes()[..];
        let (kind, business_day, entry, terminal, answer) = connection.query_row(
            "SELECT entry.kind, business_day, bytes, terminal, answer FROM entry JOIN operation ON entry_seq = seq
             WHERE operation.operation = ?1",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )?;
        let accounts = connection
            .prepare("SELECT account FROM allotment WHERE available_minor > 0")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let seq = connection.query_row("SELECT MAX(seq) FROM entry", [], |row| row.get(0))?;
        let change_no = connection.query_row("SELECT MAX(change_no) FROM allotment", [], |row| row.get(0))?;
        Ok(Self { connection, accounts, kind, business_day, entry, terminal, answer, seq, change_no, pass: 1 << 20 })
    }

    /// Writes the rows of so many spends and gives how many a second.
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a measurement")]
    fn spend(&mut self, spends: u64) -> anyhow::Result<f64> {
        self.pass += 1;
        let start = now();
        let mut n = 0;
        while n < spends {
            let batch = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut allotment = batch.prepare_cached(
                    "UPDATE allotment SET spent_minor = spent_minor + ?2, available_minor = available_minor - ?2, stamp = ?3,
                     change_no = ?4, last_move_ms = ?3 WHERE account = ?1 AND unit = 'CNY'",
                )?;
                let mut entry = batch.prepare_cached(
                    "INSERT INTO entry (seq, hash, kind, operation, business_day, stamp, at_ms, bytes)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
                )?;
                let mut operation = batch.prepare_cached(
                    "INSERT INTO operation (operation, terminal, body_hash, status, answer, entry_seq, at_ms)
                     VALUES (?1, ?2, ?3, 200, ?4, ?5, ?6)",
                )?;
                for _ in 0..BATCH.min(spends - n) {
                    (self.seq, self.change_no) = (self.seq + 1, self.change_no + 1);
                    let at_ms = i64::try_from(KEYS_FROM_MS)? + self.seq;
                    let account = self.accounts[place(self.pass, n, self.accounts.len())];
                    let (key, hash) = (key(self.pass, 0, n), [7_u8; 32]);
                    let rows = allotment.execute((account, AMOUNT_MINOR, at_ms, self.change_no))?;
                    ensure!(rows == 1, "account {account} is not in the copy");
                    let key = &key.as_bytes()[..];
                    entry.execute((self.seq, hash, &self.kind, key, &self.business_day, at_ms, &self.entry))?;
                    operation.execute((key, &self.terminal, hash, &self.answer, self.seq, at_ms))?;
                    n += 1;
                }
            }
            batch.commit()?;
        }
        Ok(spends as f64 / start.elapsed().as_secs_f64())
    }

    fn sizes(&self) -> String {
        format!("an entry of {} B, an answer of {} B, one allotment", self.entry.len(), self.answer.len())
    }
}
