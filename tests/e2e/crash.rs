//! I3: nothing acknowledged to a till is missing after a crash, and no operation has two effects.
//!
//! The real daemons are killed (SIGKILL) at seeded points while four tills trade, and started again. After each kill every operation that was
//! acknowledged is asked for, and every one whose answer was lost is sent again under its own id: it must have one effect. The seed is printed;
//! `HUITONG_CRASH_SEED` repeats it, `HUITONG_CRASHES` sets how many.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use huitong_protocol::card::CardNumber;
use huitong_protocol::id::OperationId;
use huitong_protocol::money::Currency;
use huitong_protocol::till::{OperationState, Outcome};
use huitong_tests::process::{Daemon, command, free_address};
use huitong_tests::replay::cards;
use huitong_tests::till::{Line, Till, approved};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const CARDS: u32 = 12;
const TILLS: u64 = 4;

fn crashes() -> u64 {
    std::env::var("HUITONG_CRASHES").ok().map_or(20, |text| text.parse().expect("HUITONG_CRASHES is a number"))
}

fn seed() -> u64 {
    let seed = std::env::var("HUITONG_CRASH_SEED")
        .ok()
        .map_or(20_261_122, |text| text.parse().expect("HUITONG_CRASH_SEED is a number"));
    println!("crash seed: HUITONG_CRASH_SEED={seed}");
    seed
}

/// A hub and a store on disk, enrolled and paired by their own commands.
pub(crate) struct Shop {
    _folder: tempfile::TempDir,
    pub(crate) hub_data: PathBuf,
    pub(crate) edge_data: PathBuf,
    hub_address: SocketAddr,
    edge_address: SocketAddr,
    pub(crate) token: String,
}

impl Shop {
    pub(crate) async fn set_up() -> anyhow::Result<(Self, Daemon)> {
        let folder = tempfile::tempdir()?;
        let (hub_data, edge_data) = (folder.path().join("hub"), folder.path().join("edge"));
        std::fs::create_dir_all(&hub_data)?;
        std::fs::create_dir_all(&edge_data)?;
        let file = |name: &str, text: &str| -> anyhow::Result<String> {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path.to_str().context("a path in UTF-8")?.to_owned())
        };
        let hub = |args: &[&str]| command("huitong-hub", &hub_data, args);
        hub(&["init", "--group", "CRASH", "--currency", "CNY"])?;
        hub(&["legal-entity", "import", &file("entities.csv", "legal_entity,name\nE1,One\n")?])?;
        hub(&[
            "store",
            "import",
            &file("stores.csv", "store,name,legal_entity,time_zone\nS1,One,E1,Asia/Shanghai\n")?,
        ])?;
        let policy = huitong_tests::documents::policy("CNY", "release = { when = \"at_close\" }\npark_minor = 0\n");
        hub(&["policy", "publish", &file("policy.toml", &policy)?, "--effective-from", "2020-01-01"])?;
        let agreement = huitong_tests::documents::agreement("CNY", "fifo", "2020-01-01", 0, 0, "restore");
        hub(&["agreement", "publish", &file("agreement.toml", &agreement)?])?;
        let rows: String = (1..=CARDS).map(|no| format!("{},SV,S1\n", cards::of_household(no).reveal())).collect();
        hub(&["card", "import", &file("cards.csv", &format!("number,product,allocated_store\n{rows}"))?])?;
        let token = hub(&["store", "enrol-token", "S1"])?["token"].as_str().context("a token")?.to_owned();
        let mut shop = Self {
            hub_address: free_address()?,
            edge_address: free_address()?,
            hub_data,
            edge_data,
            token: String::new(),
            _folder: folder,
        };
        let hub = shop.start_hub().await?;
        let url = format!("http://{}", shop.hub_address);
        command("huitong-edge", &shop.edge_data, &["enrol", "--hub", &url, "--token", &token])?;
        let paired = command(
            "huitong-edge",
            &shop.edge_data,
            &["till", "pair", "--terminal", "T1", "--permit", "day", "--permit", "return_without_receipt"],
        )?;
        shop.token = paired["token"].as_str().context("a till token")?.to_owned();
        Ok((shop, hub))
    }

    pub(crate) async fn start_hub(&self) -> anyhow::Result<Daemon> {
        let listen = format!("listen={}", self.hub_address);
        Daemon::start("huitong-hub", &self.hub_data, self.hub_address, &["--set".to_owned(), listen]).await
    }

    async fn start_edge(&self) -> anyhow::Result<Daemon> {
        self.start_edge_with(&[]).await
    }

    /// With settings of its own.
    pub(crate) async fn start_edge_with(&self, own: &[&str]) -> anyhow::Result<Daemon> {
        let set = |text: String| ["--set".to_owned(), text];
        let args = [
            set(format!("api.listen={}", self.edge_address)),
            set(format!("sync.hub_url=http://{}", self.hub_address)),
            set("sync.trickle=50ms".to_owned()),
            set("sync.retry_min=20ms".to_owned()),
            set("sync.retry_max=200ms".to_owned()),
        ]
        .into_iter()
        .chain(own.iter().map(|own| set((*own).to_owned())))
        .collect::<Vec<_>>()
        .concat();
        Daemon::start("huitong-edge", &self.edge_data, self.edge_address, &args).await
    }

    fn till(&self) -> anyhow::Result<Till> {
        self.till_with(&self.token)
    }

    /// A till that has seen nothing yet, with a token.
    pub(crate) fn till_with(&self, token: &str) -> anyhow::Result<Till> {
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let line = Line::Http { client, base: format!("http://{}", self.edge_address) };
        Ok(Till::new(line, token.to_owned(), Currency::CNY))
    }
}

/// What a till asked for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Sell(CardNumber, i64),
    Reload(CardNumber, i64),
    Spend(CardNumber, i64),
}

impl Asked {
    fn at_random(random: &mut StdRng) -> Self {
        let (card, amount) = (cards::of_household(random.random_range(1..=CARDS)), random.random_range(1..5_000));
        match random.random_range(0..10) {
            0 => Self::Sell(card, amount),
            1..4 => Self::Reload(card, amount),
            _ => Self::Spend(card, amount / 4 + 1),
        }
    }

    async fn send(self, till: &Till, key: OperationId) -> anyhow::Result<Outcome> {
        match self {
            Self::Sell(card, amount) => till.sell(key, card, amount).await,
            Self::Reload(card, amount) => till.reload(key, card, amount).await,
            Self::Spend(card, amount) => till.spend(key, card, amount).await,
        }
    }

    fn effect(self) -> (CardNumber, i64) {
        match self {
            Self::Sell(card, amount) | Self::Reload(card, amount) => (card, amount),
            Self::Spend(card, amount) => (card, -amount),
        }
    }
}

/// Everything that tills asked for, with what they were told.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<OperationId, (Asked, Option<Outcome>)>>);

impl Memory {
    fn asked(&self, key: OperationId, asked: Asked) {
        self.0.lock().unwrap().insert(key, (asked, None));
    }

    fn told(&self, key: OperationId, outcome: Outcome) {
        self.0.lock().unwrap().get_mut(&key).expect("asked before").1 = Some(outcome);
    }

    fn all(&self) -> BTreeMap<OperationId, (Asked, Option<Outcome>)> {
        self.0.lock().unwrap().clone()
    }
}

fn key(random: &mut StdRng) -> OperationId {
    OperationId(uuid::Builder::from_random_bytes(random.random()).into_uuid())
}

/// Four tills trade until `stop_after` answers were counted over all of them, then go on until the edge is gone.
async fn trade(shop: &Shop, memory: &Arc<Memory>, seed: u64, stop_after: u64, edge: Daemon) -> anyhow::Result<()> {
    let answered = Arc::new(AtomicU64::new(0));
    let enough = Arc::new(tokio::sync::Notify::new());
    let mut tills = Vec::new();
    for no in 0..TILLS {
        let (till, memory) = (shop.till()?, Arc::clone(memory));
        let (answered, enough) = (Arc::clone(&answered), Arc::clone(&enough));
        let mut random = StdRng::seed_from_u64(seed ^ ((no + 1) << 48));
        tills.push(tokio::spawn(async move {
            loop {
                let (key, asked) = (key(&mut random), Asked::at_random(&mut random));
                memory.asked(key, asked);
                match asked.send(&till, key).await {
                    Ok(outcome) => memory.told(key, outcome),
                    Err(_) => return, // The edge is gone; what became of this one is asked after the restart.
                }
                if answered.fetch_add(1, Ordering::SeqCst) + 1 == stop_after {
                    enough.notify_one();
                }
            }
        }));
    }
    enough.notified().await;
    edge.kill().await?;
    for till in tills {
        till.await?;
    }
    Ok(())
}

/// After a restart: what was acknowledged is there with the same answer, what was not is sent again and has one effect.
async fn check(till: &Till, memory: &Memory, checked: &mut usize) -> anyhow::Result<()> {
    let mut effects: BTreeMap<CardNumber, i64> = BTreeMap::new();
    for (key, (asked, told)) in memory.all() {
        let outcome = match told {
            Some(told) => {
                match till.operation(key).await? {
                    OperationState::Decided { outcome } => {
                        ensure!(outcome == told, "{key} was told {told:?} and is now {outcome:?}")
                    }
                    OperationState::Unknown => anyhow::bail!("{key} was acknowledged and is missing"),
                }
                *checked += 1;
                told
            }
            None => {
                let first = asked.send(till, key).await?;
                let again = asked.send(till, key).await?;
                ensure!(first == again, "{key} has two answers: {first:?}, {again:?}");
                memory.told(key, first.clone());
                first
            }
        };
        if let Outcome::Approved(_) = outcome {
            let (card, effect) = asked.effect();
            *effects.entry(card).or_default() += effect;
        }
    }
    for (card, expected) in effects {
        let here: i64 = till.card(card, false).await?.balances.iter().map(|balance| balance.available_here_minor).sum();
        ensure!(here == expected, "card {card} holds {here}; its acknowledged operations leave {expected}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_the_store_daemon_is_killed() {
    let seed = seed();
    let (shop, hub) = Shop::set_up().await.unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let memory = Arc::new(Memory::default());
    let edge = shop.start_edge().await.unwrap();
    let till = shop.till().unwrap();
    approved(till.open_day(key(&mut random), None).await.unwrap()).unwrap();
    let (mut edge, mut checked) = (edge, 0);
    for crash in 0..crashes() {
        let stop_after = random.random_range(1..60);
        trade(&shop, &memory, seed ^ ((crash + 1) << 24), stop_after, edge).await.unwrap();
        edge = shop.start_edge().await.unwrap();
        check(&till, &memory, &mut checked).await.unwrap_or_else(|error| panic!("after crash {crash}: {error:#}"));
    }
    approved(till.close_day(key(&mut random)).await.unwrap()).unwrap();
    all_arrived(&shop, &till).await.unwrap();
    edge.kill().await.unwrap();
    hub.kill().await.unwrap();
    prove(&shop.edge_data, &shop.hub_data).unwrap();
    println!("{} kills of the edge, {} operations, {checked} acknowledgements checked", crashes(), memory.all().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_the_hub_is_killed() {
    let seed = seed();
    let (shop, mut hub) = Shop::set_up().await.unwrap();
    let mut random = StdRng::seed_from_u64(!seed);
    let edge = shop.start_edge().await.unwrap();
    let till = shop.till().unwrap();
    approved(till.open_day(key(&mut random), None).await.unwrap()).unwrap();
    let mut approvals = 0_u64;
    for _ in 0..crashes() {
        // The store trades on, up, down or in between; its line comes back by itself.
        for _ in 0..random.random_range(1..25) {
            let asked = Asked::at_random(&mut random);
            let outcome = asked.send(&till, key(&mut random)).await.unwrap();
            approvals += u64::from(matches!(outcome, Outcome::Approved(_)));
        }
        hub.kill().await.unwrap();
        for _ in 0..random.random_range(1..5) {
            asked_offline(&till, &mut random).await;
        }
        hub = shop.start_hub().await.unwrap();
    }
    approved(till.close_day(key(&mut random)).await.unwrap()).unwrap();
    all_arrived(&shop, &till).await.unwrap();
    edge.kill().await.unwrap();
    hub.kill().await.unwrap();
    prove(&shop.edge_data, &shop.hub_data).unwrap();
    println!("{} kills of the hub, {approvals} approved operations", crashes());
}

async fn asked_offline(till: &Till, random: &mut StdRng) {
    let asked = Asked::at_random(random);
    asked.send(till, key(random)).await.expect("the store answers without the hub");
}

/// Waits until the hub holds the whole journal, as the store's status says.
async fn all_arrived(shop: &Shop, till: &Till) -> anyhow::Result<()> {
    let arrived = async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            look.tick().await;
            let status = till.status().await?;
            if status.acknowledged_seq == status.head.seq && status.unreported_accounts == 0 {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), arrived)
        .await
        .with_context(|| format!("the journal of {} did not arrive", shop.edge_data.display()))?
}

/// Both sides prove what they hold, and hold the same, byte by byte (I4).
fn prove(edge_data: &Path, hub_data: &Path) -> anyhow::Result<()> {
    command("huitong-edge", edge_data, &["journal", "verify"])?;
    command("huitong-hub", hub_data, &["verify"])?;
    let entries = |path: PathBuf, sql: &str| -> anyhow::Result<Vec<(i64, Vec<u8>)>> {
        let connection = rusqlite::Connection::open(&path).with_context(|| path.display().to_string())?;
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let find = |folder: &Path| -> anyhow::Result<PathBuf> {
        let mut files = std::fs::read_dir(folder)?.filter_map(|file| file.ok().map(|file| file.path()));
        files
            .find(|path| path.extension().is_some_and(|extension| extension == "db" || extension == "sqlite"))
            .context("a database")
    };
    let here = entries(find(edge_data)?, "SELECT seq, bytes FROM entry ORDER BY seq")?;
    let there = entries(find(hub_data)?, "SELECT seq, bytes FROM entry WHERE store_id = 'S1' ORDER BY seq")?;
    ensure!(
        !here.is_empty() && here == there,
        "the hub's copy of the journal differs: {} entries here, {} there",
        here.len(),
        there.len()
    );
    Ok(())
}
