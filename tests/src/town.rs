//! Town: a hub and its stores in one process, set up through the same commands as a shop, with a hand-wound clock and wires that can be cut.
//!
//! Everything is real: the hub's database, each edge's own SQLite, enrolment with a one-time token, paired tills, signed requests. Only time and,
//! if wished, sockets are not: over [`Transport::Memory`] the routes are called directly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use huitong_edge::config::EdgeConfig;
use huitong_edge::run::{Edge, EdgeParts};
use huitong_edge::sync::hub_client::{HttpHub, HttpPost, HttpReply, HubClient, HubDown, InProcessHub};
use huitong_edge::till::Permissions;
use huitong_hub::config::HubConfig;
use huitong_hub::hub::Hub;
use huitong_hub::recovery;
use huitong_protocol::card::CardNumber;
use huitong_protocol::id::StoreId;
use huitong_protocol::money::Currency;
use huitong_protocol::time::{BusinessDay, Instant};
use serde_json::Value;

use crate::clock::HandClock;
use crate::command;
use crate::till::{Line, Till};
use crate::wire::Wire;

/// How messages travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// HTTP over loopback, as in a shop.
    #[default]
    Http,
    /// The routes are called in this process.
    Memory,
}

/// Changes a store's configuration.
pub type Tune = Arc<dyn Fn(&mut EdgeConfig) + Send + Sync>;
/// Makes a store's wire from its line.
pub type MakeWire = Arc<dyn Fn(StoreId, Arc<dyn HubClient>) -> Wire + Send + Sync>;

/// What a town is made of.
#[derive(Clone)]
pub struct Plan {
    /// Where the databases are.
    pub data: PathBuf,
    /// How messages travel.
    pub transport: Transport,
    /// When it begins.
    pub start: Instant,
    /// What its tills count in.
    pub currency: Currency,
    /// IANA zone of every store.
    pub time_zone: String,
    /// The stores.
    pub stores: Vec<StoreId>,
    /// The cards, each allocated to a store.
    pub cards: Vec<(CardNumber, StoreId)>,
    /// The kind of every card.
    pub product: String,
    /// The policy, as TOML.
    pub policy: String,
    /// The agreement, as TOML.
    pub agreement: String,
    /// The first day of both.
    pub effective_from: BusinessDay,
    /// Changes each store's configuration.
    pub tune: Tune,
    /// Makes each store's wire.
    pub wire: MakeWire,
}

/// A hub and its stores.
pub struct Town {
    /// Everybody's clock.
    pub clock: HandClock,
    /// The hub.
    pub hub: Hub,
    /// Where the hub's data is.
    pub hub_data: PathBuf,
    /// Where the hub listens, over HTTP.
    pub hub_address: Option<SocketAddr>,
    hub_config: HubConfig,
    transport: Transport,
    line: Arc<HubLine>,
    shops: BTreeMap<StoreId, Arc<Shop>>,
    client: reqwest::Client,
    stop: tokio_util::sync::CancellationToken,
}

/// The line to whichever daemon of head office runs.
struct HubLine(RwLock<Arc<dyn HubClient>>);

impl HubLine {
    fn lead_to(&self, daemon: Arc<dyn HubClient>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = daemon;
    }
}

#[async_trait]
impl HubClient for HubLine {
    async fn post(&self, request: HttpPost) -> Result<HttpReply, HubDown> {
        let daemon = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        daemon.post(request).await
    }
}

/// Nobody serves at head office.
struct Nobody;

#[async_trait]
impl HubClient for Nobody {
    async fn post(&self, _: HttpPost) -> Result<HttpReply, HubDown> {
        Err(HubDown::Line("nobody serves at head office".to_owned()))
    }
}

/// A store with its daemon, its wire and its till.
pub struct Shop {
    /// Its code.
    pub id: StoreId,
    /// Its daemon.
    pub edge: Edge,
    /// Its wire to the hub.
    pub wire: Arc<Wire>,
    /// Its till.
    pub till: Till,
    /// Where it listens, over HTTP.
    pub address: Option<SocketAddr>,
    config: EdgeConfig,
}

/// How often a condition is looked at, and how many times at most.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(5);
const LOOKS_MAX: usize = 6_000;
/// How often an upload is tried again before the town gives up: a wire may lose the answer to each segment once.
const UPLOAD_TRIES_MAX: usize = 1_000;

impl Shop {
    /// Fetches what head office published.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn download(&self) -> anyhow::Result<()> {
        self.edge.download().await.map(drop).with_context(|| format!("store {} could not download", self.id))
    }

    /// Uploads the journal until the hub has all of it.
    ///
    /// # Errors
    /// The last failure, after several tries.
    pub async fn upload_all(&self) -> anyhow::Result<()> {
        let mut last = None;
        for _ in 0..UPLOAD_TRIES_MAX {
            match self.edge.upload().await {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        let error = last.map_or_else(String::new, |error| error.to_string());
        anyhow::bail!("store {} could not upload: {error}", self.id)
    }

    /// Waits until the hub knows every counter.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn reported(&self) -> anyhow::Result<()> {
        self.edge.wait_reported().await.with_context(|| format!("store {} did not report", self.id))
    }
}

impl Town {
    /// Builds a town: hub, imports, policy, agreement, stores enrolled and paired. Every store is online and closed.
    ///
    /// # Errors
    /// The command or part that failed.
    pub async fn build(plan: &Plan) -> anyhow::Result<Arc<Self>> {
        Self::build_with(plan, |_| ()).await
    }

    /// As [`Town::build`], with another configuration of the hub.
    ///
    /// # Errors
    /// As [`Town::build`].
    pub async fn build_with(plan: &Plan, tune_hub: impl FnOnce(&mut HubConfig)) -> anyhow::Result<Arc<Self>> {
        let clock = HandClock::at(plan.start);
        let hub_data = plan.data.join("hub");
        std::fs::create_dir_all(&hub_data).with_context(|| format!("could not make {}", hub_data.display()))?;
        prepare_hub(plan, &hub_data, &clock).await?;
        let stop = tokio_util::sync::CancellationToken::new();
        let mut config = HubConfig { data_dir: hub_data.clone(), ..HubConfig::default() };
        tune_hub(&mut config);
        let (hub, daemon, hub_address) = start_hub(&config, &clock, plan.transport, &stop, false).await?;
        let line = Arc::new(HubLine(RwLock::new(daemon)));
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let mut shops = BTreeMap::new();
        for &id in &plan.stores {
            let shop = open_shop(plan, id, &hub_data, &clock, Arc::clone(&line) as _, &client, &stop).await;
            shops.insert(id, Arc::new(shop.with_context(|| format!("store {id}"))?));
        }
        let (hub_config, transport) = (config, plan.transport);
        Ok(Arc::new(Self { clock, hub, hub_data, hub_address, hub_config, transport, line, shops, client, stop }))
    }

    /// A store by its code.
    ///
    /// # Errors
    /// When the town has no such store.
    pub fn shop(&self, id: StoreId) -> anyhow::Result<Arc<Shop>> {
        self.shops.get(&id).cloned().with_context(|| format!("there is no store {id} in this town"))
    }

    /// Stops a store's daemon, has something done to its data folder, and starts it again, with the same till.
    ///
    /// # Errors
    /// When somebody else holds the store, or the daemon does not start.
    pub async fn restart(
        &mut self,
        id: StoreId,
        meanwhile: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let shop = self.shops.remove(&id).with_context(|| format!("there is no store {id} in this town"))?;
        let shop = Arc::into_inner(shop).with_context(|| format!("store {id} is still in use"))?;
        let Shop { edge, wire, till, address, config, .. } = shop;
        edge.close().await;
        drop(edge);
        meanwhile(&config.data_dir).with_context(|| format!("the data folder of store {id}"))?;
        let edge = start(&config, &self.clock, &wire).await?;
        let (line, address) = line_to(&edge, address.map(|_| &self.client), &self.stop).await?;
        let shop = Shop { id, edge, wire, till: till.on(line), address, config };
        self.shops.insert(id, Arc::new(shop));
        Ok(())
    }

    /// Stops head office's daemon, has something done to its data folder, and starts it again as a machine does: a database that is older than what is
    /// remembered beside it is refused. `begins_log` says that a person stands for a database without a recovery log.
    ///
    /// # Errors
    /// When the daemon does not start, or what was to be done meanwhile failed.
    pub async fn restart_hub(
        &mut self,
        begins_log: bool,
        meanwhile: impl AsyncFnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.line.lead_to(Arc::new(Nobody));
        self.hub.stopping.cancel();
        self.stop_hub().await;
        meanwhile(&self.hub_data).await.context("the data folder of head office")?;
        self.stop = tokio_util::sync::CancellationToken::new();
        let (hub, daemon, address) =
            start_hub(&self.hub_config, &self.clock, self.transport, &self.stop, begins_log).await?;
        (self.hub, self.hub_address) = (hub, address);
        self.line.lead_to(daemon);
        Ok(())
    }

    /// Every store, by code.
    pub fn shops(&self) -> impl Iterator<Item = &Arc<Shop>> {
        self.shops.values()
    }

    /// Runs a command of head office and gives its JSON.
    ///
    /// # Errors
    /// What the command complains of.
    pub async fn head_office(&self, args: &[&str]) -> anyhow::Result<Value> {
        command::hub(&self.hub_data, Arc::new(self.clock.clone()), args).await
    }

    /// Proves everything that the hub holds, and gives what was not right.
    ///
    /// # Errors
    /// When it could not be looked at.
    pub async fn verify(&self) -> anyhow::Result<Vec<String>> {
        command::verify(&self.hub_data, Arc::new(self.clock.clone())).await
    }

    /// Prices every sale that the hub holds again. Gives how many there are, and those that cost something else.
    ///
    /// # Errors
    /// When it could not be looked at.
    pub async fn rerate(&self) -> anyhow::Result<(u64, Vec<String>)> {
        command::rerate(&self.hub_data, Arc::new(self.clock.clone())).await
    }

    /// Waits until a store holds its poll open, so that it can be asked for value.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub async fn connected(&self, id: StoreId) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        for _ in 0..LOOKS_MAX {
            if self.hub.recalls.is_connected(id) {
                return Ok(());
            }
            look.tick().await;
        }
        anyhow::bail!("store {id} did not connect")
    }

    /// Stops every daemon and closes every database.
    ///
    /// # Errors
    /// When somebody still holds the town or one of its stores.
    pub async fn close(self: Arc<Self>) -> anyhow::Result<()> {
        let mut town = Arc::into_inner(self).context("the town is still in use")?;
        town.hub.stopping.cancel();
        for (id, shop) in std::mem::take(&mut town.shops) {
            let shop = Arc::into_inner(shop).with_context(|| format!("store {id} is still in use"))?;
            shop.edge.close().await;
        }
        town.stop_hub().await;
        Ok(())
    }

    async fn stop_hub(&self) {
        self.stop.cancel();
        let store = self.hub.store.clone();
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

/// Starts head office's daemon on the database that is there; gives it with the line to it.
async fn start_hub(
    config: &HubConfig,
    clock: &HandClock,
    transport: Transport,
    stop: &tokio_util::sync::CancellationToken,
    begins_log: bool,
) -> anyhow::Result<(Hub, Arc<dyn HubClient>, Option<SocketAddr>)> {
    let store = huitong_hub::store::Store::open(&config.database(), 4)?;
    let (opened, file) = (store.clone(), config.recovery_log_file());
    tokio::task::spawn_blocking(move || recovery::may_start(&opened, &file, begins_log)).await??;
    let hub = Hub::new(config.clone(), store, Arc::new(clock.clone())).await?;
    let router = huitong_hub::api::router(hub.clone());
    Ok(match transport {
        Transport::Memory => (hub, Arc::new(InProcessHub(router)), None),
        Transport::Http => {
            let address = serve(router, stop).await?;
            (hub, Arc::new(HttpHub::new(&format!("http://{address}"))?), Some(address))
        }
    })
}

/// Serves routes on a free port of this machine until told to stop.
async fn serve(router: axum::Router, stop: &tokio_util::sync::CancellationToken) -> anyhow::Result<SocketAddr> {
    use axum::serve::ListenerExt as _;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("could not listen on loopback")?;
    let address = listener.local_addr()?;
    let stopped = stop.clone().cancelled_owned();
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true); // A small answer should not wait for a second packet; without it it is only slower.
    });
    tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
    Ok(address)
}

async fn prepare_hub(plan: &Plan, hub_data: &Path, clock: &HandClock) -> anyhow::Result<()> {
    let file = |name: &str, text: &str| -> anyhow::Result<String> {
        let path = plan.data.join(name);
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        path.to_str().map(str::to_owned).context("the data folder's name is not UTF-8")
    };
    let clock: Arc<dyn huitong_hub::clock::Clock> = Arc::new(clock.clone());
    let run = async |args: &[&str]| command::hub(hub_data, Arc::clone(&clock), args).await;
    let day = plan.effective_from.to_string();
    run(&["init", "--group", "TOWN", "--currency", plan.currency.code()]).await?;
    let entities = file("legal_entities.csv", "legal_entity,name\nE1,Town Retail\n")?;
    run(&["legal-entity", "import", &entities]).await?;
    let stores = plan.stores.iter().map(|id| format!("{id},Store {id},E1,{}\n", plan.time_zone)).collect::<String>();
    let stores = file("stores.csv", &format!("store,name,legal_entity,time_zone\n{stores}"))?;
    run(&["store", "import", &stores]).await?;
    run(&["policy", "publish", &file("policy.toml", &plan.policy)?, "--effective-from", &day]).await?;
    run(&["agreement", "publish", &file("agreement.toml", &plan.agreement)?]).await?;
    let cards = plan
        .cards
        .iter()
        .map(|(number, store)| format!("{},{},{store}\n", number.reveal(), plan.product))
        .collect::<String>();
    let cards = file("cards.csv", &format!("number,product,allocated_store\n{cards}"))?;
    run(&["card", "import", &cards]).await?;
    Ok(())
}

async fn open_shop(
    plan: &Plan,
    id: StoreId,
    hub_data: &Path,
    clock: &HandClock,
    line: Arc<dyn HubClient>,
    client: &reqwest::Client,
    stop: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<Shop> {
    let issued = command::hub(hub_data, Arc::new(clock.clone()), &["store", "enrol-token", id.as_str()]).await?;
    let token = issued["token"].as_str().context("no token was issued")?.to_owned();
    let data = plan.data.join(format!("store-{id}"));
    std::fs::create_dir_all(&data).with_context(|| format!("could not make {}", data.display()))?;
    let mut config = EdgeConfig::for_test(&data);
    (plan.tune)(&mut config);
    let wire = Arc::new((plan.wire)(id, line));
    enrol(&config, Arc::clone(&wire), &token).await?;
    let edge = start(&config, clock, &wire).await?;
    let token = edge.pair("T1".parse()?, Permissions::ALL).await?.reveal().to_owned();
    let (line, address) = line_to(&edge, (plan.transport == Transport::Http).then_some(client), stop).await?;
    edge.download().await?;
    let till = Till::new(line, token, plan.currency);
    ensure!(till.status().await?.store == id, "the edge is another store");
    Ok(Shop { id, edge, wire, till, address, config })
}

async fn start(config: &EdgeConfig, clock: &HandClock, wire: &Arc<Wire>) -> anyhow::Result<Edge> {
    let parts = EdgeParts {
        config: config.clone(),
        clock: Arc::new(clock.clone()),
        hub_client: Arc::clone(wire) as Arc<dyn HubClient>,
        listener: None,
        heartbeat: false,
    };
    Ok(Edge::start(parts).await?)
}

/// How tills reach an edge: over HTTP with a client, else in this process.
async fn line_to(
    edge: &Edge,
    client: Option<&reqwest::Client>,
    stop: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<(Line, Option<SocketAddr>)> {
    let Some(client) = client else { return Ok((Line::Routes(edge.router()), None)) };
    let address = serve(edge.router(), stop).await?;
    Ok((Line::Http { client: client.clone(), base: format!("http://{address}") }, Some(address)))
}

async fn enrol(config: &EdgeConfig, wire: Arc<Wire>, token: &str) -> anyhow::Result<()> {
    let store = huitong_edge::run::open_store(&config.data_dir, &config.store)?;
    let hub = wire as Arc<dyn HubClient>;
    huitong_edge::enrol::enrol(&store, &config.data_dir, &hub, token).await?;
    tokio::task::spawn_blocking(move || store.close()).await?;
    Ok(())
}
