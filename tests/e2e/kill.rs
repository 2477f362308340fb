//! I1 to I4 with real processes on a bad network: hub and store daemons are killed (SIGKILL) in turn, at seeded moments, while tills trade in two stores through proxies that lose
//! requests, lose answers and send requests twice, at once or late. Tills repeat what was not answered, under the same operation id.
//!
//! In the end every acknowledged operation stands once in its store's journal with the answer that was given, the hub's copies are the stores', byte
//! by byte, seals and books agree, and every card holds what its operations leave. `HUITONG_KILL_SEED` repeats a run as far as processes can be
//! repeated, `HUITONG_KILLS` sets how many kills there are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use huitong_protocol::card::CardNumber;
use huitong_protocol::id::OperationId;
use huitong_protocol::money::Currency;
use huitong_protocol::till::{OperationState, Outcome};
use huitong_tests::process::{Daemon, command, free_address};
use huitong_tests::proxy::{Done, Mischief, Proxy};
use huitong_tests::replay::cards;
use huitong_tests::till::{Line, Till, approved};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const STORES: [&str; 2] = ["S1", "S2"];
const TILLS_PER_STORE: u64 = 2;
const CARDS: u32 = 10;
/// Between tills and their store, and between stores and the hub.
const MISCHIEF: Mischief = Mischief { requests_lost: 4, answers_lost: 6, doubled: 6, late: 6 };
/// How long tills wait before they repeat what was not answered.
const REPEAT_EVERY: Duration = Duration::from_millis(20);
/// Far more than anything here takes, so that only a hang is found.
const SOON: Duration = Duration::from_secs(120);

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A store on disk, with the proxy before it and the one on its line.
struct Branch {
    data: PathBuf,
    address: SocketAddr,
    hub_url: String,
    counter: Proxy,
    line: Proxy,
    tokens: Vec<String>,
}

/// A hub and its stores on disk, set up by their own commands.
struct Chain {
    folder: tempfile::TempDir,
    hub_data: PathBuf,
    hub_address: SocketAddr,
    branches: Vec<Branch>,
}

impl Chain {
    async fn set_up(seed: u64) -> anyhow::Result<(Self, Daemon)> {
        let folder = tempfile::tempdir()?;
        let hub_data = folder.path().join("hub");
        std::fs::create_dir_all(&hub_data)?;
        let file = |name: &str, text: &str| -> anyhow::Result<String> {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path.to_str().context("a path in UTF-8")?.to_owned())
        };
        let hub = |args: &[&str]| command("huitong-hub", &hub_data, args);
        hub(&["init", "--group", "KILL", "--currency", "CNY"])?;
        hub(&["legal-entity", "import", &file("entities.csv", "legal_entity,name\nE1,One\n")?])?;
        let rows: String = STORES.map(|id| format!("{id},Store {id},E1,Asia/Shanghai\n")).concat();
        hub(&["store", "import", &file("stores.csv", &format!("store,name,legal_entity,time_zone\n{rows}"))?])?;
        let policy = huitong_tests::documents::policy("CNY", "release = { when = \"at_once\" }\npark_minor = 0\n");
        hub(&["policy", "publish", &file("policy.toml", &policy)?, "--effective-from", "2020-01-01"])?;
        let agreement = huitong_tests::documents::agreement("CNY", "fifo", "2020-01-01", 0, 0, "restore");
        hub(&["agreement", "publish", &file("agreement.toml", &agreement)?])?;
        let rows: String = (1..=CARDS)
            .map(|no| format!("{},SV,{}\n", cards::of_household(no).reveal(), STORES[no as usize % STORES.len()]))
            .collect();
        hub(&["card", "import", &file("cards.csv", &format!("number,product,allocated_store\n{rows}"))?])?;
        let hub_address = free_address()?;
        let mut chain = Self { hub_data: hub_data.clone(), hub_address, branches: Vec::new(), folder };
        let running = chain.start_hub().await?;
        for (id, no) in STORES.into_iter().zip(1_u64..) {
            let token = command("huitong-hub", &hub_data, &["store", "enrol-token", id])?["token"].clone();
            let data = chain.folder.path().join(id);
            std::fs::create_dir_all(&data)?;
            // Enrolment is done over a good line: its one-time token is another promise, tested elsewhere.
            let direct = format!("http://{hub_address}");
            command(
                "huitong-edge",
                &data,
                &["enrol", "--hub", &direct, "--token", token.as_str().context("a token")?],
            )?;
            let tokens = (1..=TILLS_PER_STORE).map(|till| {
                let terminal = format!("T{till}");
                let args =
                    ["till", "pair", "--terminal", &terminal, "--permit", "day", "--permit", "return_without_receipt"];
                let paired = command("huitong-edge", &data, &args)?;
                Ok(paired["token"].as_str().context("a till token")?.to_owned())
            });
            let tokens = tokens.collect::<anyhow::Result<Vec<_>>>()?;
            let address = free_address()?;
            let line = Proxy::start(hub_address, MISCHIEF, seed ^ no << 8).await?;
            let counter = Proxy::start(address, MISCHIEF, seed ^ no << 16).await?;
            let hub_url = format!("http://{}", line.address);
            chain.branches.push(Branch { data, address, hub_url, counter, line, tokens });
        }
        Ok((chain, running))
    }

    async fn start_hub(&self) -> anyhow::Result<Daemon> {
        let listen = format!("listen={}", self.hub_address);
        Daemon::start("huitong-hub", &self.hub_data, self.hub_address, &["--set".to_owned(), listen]).await
    }
}

impl Branch {
    fn settings(&self) -> Vec<String> {
        let set = |text: String| ["--set".to_owned(), text];
        [
            set(format!("api.listen={}", self.address)),
            set(format!("sync.hub_url={}", self.hub_url)),
            set("sync.trickle=50ms".to_owned()),
            set("sync.retry_min=20ms".to_owned()),
            set("sync.retry_max=200ms".to_owned()),
        ]
        .concat()
    }

    async fn start(&self) -> anyhow::Result<Daemon> {
        Daemon::start("huitong-edge", &self.data, self.address, &self.settings()).await
    }

    /// A till, on the bad network or at the store's own side.
    fn till(&self, no: usize, is_direct: bool) -> anyhow::Result<Till> {
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let address = if is_direct { self.address } else { self.counter.address };
        Ok(Till::new(Line::Http { client, base: format!("http://{address}") }, self.tokens[no].clone(), Currency::CNY))
    }
}

/// What a till asked for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Sell(CardNumber, i64),
    Reload(CardNumber, i64),
    Spend(CardNumber, i64),
    /// Undoes one of the till's own spends of so much.
    Void(OperationId, CardNumber, i64),
}

impl Asked {
    fn at_random(random: &mut StdRng, spent: &[(OperationId, CardNumber, i64)]) -> Self {
        let (card, amount) = (cards::of_household(random.random_range(1..=CARDS)), random.random_range(1..5_000));
        match random.random_range(0..12) {
            0 | 1 => Self::Sell(card, amount),
            2..5 => Self::Reload(card, amount),
            5 if !spent.is_empty() => {
                let (of, card, amount) = spent[random.random_range(0..spent.len())];
                Self::Void(of, card, amount)
            }
            _ => Self::Spend(card, amount / 3 + 1),
        }
    }

    async fn send(self, till: &Till, key: OperationId) -> anyhow::Result<Outcome> {
        match self {
            Self::Sell(card, amount) => till.sell(key, card, amount).await,
            Self::Reload(card, amount) => till.reload(key, card, amount).await,
            Self::Spend(card, amount) => till.spend(key, card, amount).await,
            Self::Void(of, ..) => till.void(key, of).await,
        }
    }

    fn effect(self) -> (CardNumber, i64) {
        match self {
            Self::Sell(card, amount) | Self::Reload(card, amount) | Self::Void(_, card, amount) => (card, amount),
            Self::Spend(card, amount) => (card, -amount),
        }
    }
}

/// What all tills of a store were told.
type Told = Arc<Mutex<BTreeMap<OperationId, (Asked, Outcome)>>>;

/// What drives the tills, and what they tell.
#[derive(Default)]
struct Trade {
    answered: AtomicU64,
    is_over: AtomicBool,
    changed: tokio::sync::Notify,
}

/// A till trades until trade is over, and leaves no operation without its answer.
async fn trade(till: Till, mut random: StdRng, told: Told, all: Arc<Trade>) -> anyhow::Result<()> {
    let mut spent = Vec::new();
    while !all.is_over.load(Ordering::SeqCst) {
        let key = OperationId(uuid::Builder::from_random_bytes(random.random()).into_uuid());
        let asked = Asked::at_random(&mut random, &spent);
        let mut again = tokio::time::interval(REPEAT_EVERY);
        let outcome = loop {
            again.tick().await;
            if let Ok(outcome) = asked.send(&till, key).await {
                break outcome;
            }
        };
        if let (Asked::Spend(card, amount), Outcome::Approved(_)) = (asked, &outcome) {
            spent.push((key, card, amount));
        }
        told.lock().unwrap().insert(key, (asked, outcome));
        all.answered.fetch_add(1, Ordering::SeqCst);
        all.changed.notify_waiters();
    }
    Ok(())
}

/// Waits until so many operations were answered.
async fn answered(all: &Trade, count: u64) -> anyhow::Result<()> {
    let enough = async {
        loop {
            let changed = all.changed.notified();
            if all.answered.load(Ordering::SeqCst) >= count {
                return;
            }
            changed.await;
        }
    };
    tokio::time::timeout(SOON, enough).await.with_context(|| format!("{count} operations were not answered"))
}

/// Repeats something until it is answered.
async fn until_answered<T>(mut ask: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let patiently = async {
        let mut again = tokio::time::interval(REPEAT_EVERY);
        loop {
            again.tick().await;
            if let Ok(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(SOON, patiently).await.context("nothing was answered")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_are_killed_on_a_bad_network_and_every_cent_is_where_it_must_be() {
    let (seed, kills) = (number("HUITONG_KILL_SEED", 20_261_122), number("HUITONG_KILLS", 12));
    println!("kill seed: HUITONG_KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (chain, hub) = Chain::set_up(seed).await.unwrap();
    let mut daemons = vec![Some(hub)];
    for branch in &chain.branches {
        daemons.push(Some(branch.start().await.unwrap()));
        let till = branch.till(0, true).unwrap();
        let key = OperationId(uuid::Builder::from_random_bytes(random.random()).into_uuid());
        approved(till.open_day(key, None).await.unwrap()).unwrap();
    }

    let all = Arc::new(Trade::default());
    let told: Vec<Told> = STORES.iter().map(|_| Told::default()).collect();
    let mut tills = Vec::new();
    for (branch, told) in chain.branches.iter().zip(&told) {
        for no in 0..branch.tokens.len() {
            let random = StdRng::seed_from_u64(random.random());
            tills.push(tokio::spawn(trade(
                branch.till(no, false).unwrap(),
                random,
                Arc::clone(told),
                Arc::clone(&all),
            )));
        }
    }
    let mut killed = [0; 3];
    for no in 0..kills {
        answered(&all, all.answered.load(Ordering::SeqCst) + random.random_range(1..40)).await.unwrap();
        let victim = usize::try_from(no).unwrap() % daemons.len();
        killed[victim] += 1;
        daemons[victim].take().unwrap().kill().await.unwrap();
        if victim == 0 {
            // The stores trade on without the hub for a while.
            answered(&all, all.answered.load(Ordering::SeqCst) + random.random_range(1..20)).await.unwrap();
        }
        daemons[victim] = Some(match victim {
            0 => chain.start_hub().await.unwrap(),
            store => chain.branches[store - 1].start().await.unwrap(),
        });
    }
    all.is_over.store(true, Ordering::SeqCst);
    for till in tills {
        tokio::time::timeout(SOON, till).await.expect("tills are answered in the end").unwrap().unwrap();
    }

    close_and_upload(&chain, &mut random).await.unwrap();
    let cards = balances(&told);
    for (branch, told) in chain.branches.iter().zip(&told) {
        same_answers(branch, told).await.unwrap();
    }
    hold(&chain, &cards).await.unwrap();
    for daemon in daemons.into_iter().flatten() {
        daemon.kill().await.unwrap();
    }
    prove(&chain, &told).unwrap();
    let counters: Vec<Done> = chain.branches.iter().map(|branch| branch.counter.done()).collect();
    let lines: Vec<Done> = chain.branches.iter().map(|branch| branch.line.done()).collect();
    println!(
        "{kills} kills (hub {}, stores {} and {}), {} operations",
        killed[0],
        killed[1],
        killed[2],
        all.answered.load(Ordering::SeqCst)
    );
    println!("between tills and stores: {counters:?}\nbetween stores and hub: {lines:?}");
}

/// Closes the days, and waits until the hub has everything and has accepted the seals.
async fn close_and_upload(chain: &Chain, random: &mut StdRng) -> anyhow::Result<()> {
    for branch in &chain.branches {
        let till = branch.till(0, true)?;
        let key = OperationId(uuid::Builder::from_random_bytes(random.random()).into_uuid());
        approved(till.close_day(key).await?)?;
    }
    for branch in &chain.branches {
        let till = branch.till(0, true)?;
        let arrived = async || {
            let status = till.status().await?;
            ensure!(status.acknowledged_seq == status.head.seq && status.unreported_accounts == 0, "not yet");
            Ok(())
        };
        until_answered(arrived)
            .await
            .with_context(|| format!("the journal of {} did not arrive", branch.data.display()))?;
    }
    Ok(())
}

/// What the approved operations of all stores leave on each card.
fn balances(told: &[Told]) -> BTreeMap<CardNumber, i64> {
    let mut balances = BTreeMap::new();
    for told in told {
        for (asked, outcome) in told.lock().unwrap().values() {
            if matches!(outcome, Outcome::Approved(_)) {
                let (card, effect) = asked.effect();
                *balances.entry(card).or_default() += effect;
            }
        }
    }
    balances
}

/// Every acknowledged operation is known, with the answer that was given.
async fn same_answers(branch: &Branch, told: &Told) -> anyhow::Result<()> {
    let till = branch.till(0, true)?;
    let told = told.lock().unwrap().clone();
    for (key, (asked, outcome)) in told {
        match till.operation(key).await? {
            OperationState::Decided { outcome: now } => {
                ensure!(now == outcome, "{key} ({asked:?}) was told {outcome:?} and is now {now:?}");
            }
            OperationState::Unknown => anyhow::bail!("{key} ({asked:?}) was acknowledged and is missing"),
        }
    }
    Ok(())
}

/// Every card holds what its operations leave, over the whole chain.
async fn hold(chain: &Chain, cards: &BTreeMap<CardNumber, i64>) -> anyhow::Result<()> {
    let till = chain.branches[0].till(0, true)?;
    for (&card, &expected) in cards {
        let total = async || till.card(card, true).await?.total.context("the hub did not answer");
        let total = until_answered(total).await.with_context(|| format!("card {card}"))?;
        ensure!(expected >= 0, "card {card} was overdrawn: its operations leave {expected}");
        ensure!(
            total.balance_minor == expected,
            "card {card} holds {}; its operations leave {expected}",
            total.balance_minor
        );
    }
    Ok(())
}

/// Both sides prove what they hold and hold the same, each approved operation once, and the hub accepted every seal.
fn prove(chain: &Chain, told: &[Told]) -> anyhow::Result<()> {
    command("huitong-hub", &chain.hub_data, &["verify"])?;
    let hub = database(&chain.hub_data)?;
    for ((branch, id), told) in chain.branches.iter().zip(STORES).zip(told) {
        command("huitong-edge", &branch.data, &["journal", "verify"])?;
        let here = entries(&database(&branch.data)?, "SELECT seq, operation, bytes FROM entry ORDER BY seq", [])?;
        let there =
            entries(&hub, "SELECT seq, operation, bytes FROM entry WHERE store_id = ?1 ORDER BY epoch, seq", [id])?;
        ensure!(
            !here.is_empty() && here == there,
            "the hub's copy of {id} differs: {} and {} entries",
            here.len(),
            there.len()
        );
        for (key, (asked, outcome)) in told.lock().unwrap().iter() {
            let times = here.iter().filter(|(_, operation, _)| operation == key.0.as_bytes()).count();
            let expected = usize::from(matches!(outcome, Outcome::Approved(_)));
            ensure!(times == expected, "{key} ({asked:?}) stands {times} times in the journal of {id}; {outcome:?}");
        }
        let sealed: i64 =
            hub.query_row("SELECT COUNT(*) FROM entry WHERE store_id = ?1 AND kind = 'seal'", [id], |row| row.get(0))?;
        ensure!(sealed == 1, "{id} has {sealed} seals");
    }
    let days = command("huitong-hub", &chain.hub_data, &["day", "list"])?;
    let text = days.to_string();
    let accepted = text.matches("\"accepted\"").count();
    ensure!(accepted == STORES.len(), "{accepted} days are accepted: {text}");
    Ok(())
}

fn database(folder: &Path) -> anyhow::Result<rusqlite::Connection> {
    let path = std::fs::read_dir(folder)?
        .filter_map(|file| file.ok().map(|file| file.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "db" || extension == "sqlite"))
        .context("a database")?;
    Ok(rusqlite::Connection::open(path)?)
}

type Entries = Vec<(i64, Vec<u8>, Vec<u8>)>;

fn entries<const N: usize>(connection: &rusqlite::Connection, sql: &str, of: [&str; N]) -> anyhow::Result<Entries> {
    let mut statement = connection.prepare(sql)?;
    let rows =
        statement.query_map(rusqlite::params_from_iter(of), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The daemon's exit code when the disk failed under it.
const EXIT_DISK: i32 = 74;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_more_ends_the_store_daemon_and_a_new_start_loses_nothing() {
    let (chain, hub) = Chain::set_up(1).await.unwrap();
    let branch = &chain.branches[0];
    let till = branch.till(0, true).unwrap();
    // No file may grow beyond 400 KiB: as on a full disk, the log can take no more in the middle of a day.
    let edge =
        Daemon::start_limited("huitong-edge", &branch.data, branch.address, &branch.settings(), 400).await.unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut key = || OperationId(uuid::Builder::from_random_bytes(random.random()).into_uuid());
    approved(till.open_day(key(), None).await.unwrap()).unwrap();
    let card = cards::of_household(2);
    let mut told = vec![(key(), 500)];
    approved(till.sell(told[0].0, card, 500).await.unwrap()).unwrap();
    let unanswered = loop {
        let key = key();
        match till.reload(key, card, 1).await {
            Ok(outcome) => told.push((key, approved(outcome).map(|_| 1).unwrap())),
            Err(_) => break key,
        }
        assert!(told.len() < 10_000, "the limit is felt");
    };
    let (status, log) = edge.ended().await.unwrap();
    assert_eq!(status.code(), Some(EXIT_DISK), "{log}");
    assert!(log.contains("the disk failed"), "{log}");

    let edge = branch.start().await.unwrap();
    for (key, _) in &told {
        assert!(matches!(till.operation(*key).await.unwrap(), OperationState::Decided { .. }));
    }
    approved(till.reload(unanswered, card, 1).await.unwrap()).unwrap();
    let expected = told.iter().map(|(_, amount)| amount).sum::<i64>() + 1;
    let counted = async || {
        let total = till.card(card, true).await?.total.context("the hub did not answer")?;
        ensure!(total.balance_minor == expected, "the hub knows of {}", total.balance_minor);
        Ok(())
    };
    until_answered(counted).await.expect("each operation counts once, the last one too");
    edge.kill().await.unwrap();
    hub.kill().await.unwrap();
    command("huitong-edge", &branch.data, &["journal", "verify"]).unwrap();
}
