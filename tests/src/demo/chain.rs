//! Chain: a hub and three stores on loopback ports, each with its own configuration file, set up by commands.
//!
//! The daemons run in this process, on real listeners, with the machine's clock; the lines of the stores are wires that the story can cut. Invariant:
//! nothing below a command line or the till's API is called to make anything happen.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use huitong_config::Loader;
use huitong_edge::config::EdgeConfig;
use huitong_edge::identity::random_bytes;
use huitong_edge::run::{Edge, EdgeParts};
use huitong_edge::sync::hub_client::{HttpHub, HubClient};
use huitong_hub::clock::Clock as _;
use huitong_hub::config::HubConfig;
use huitong_hub::hub::Hub;
use huitong_protocol::card::CardNumber;
use huitong_protocol::id::{OperationId, StoreId};
use huitong_protocol::money::{Currency, Money};
use huitong_protocol::time::{BusinessDay, Instant};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::command::{self, Ended, Form};
use super::narrator::Narrator;
use crate::till::{Line, Till};
use crate::wire::Wire;

/// Head office in the narration.
pub(super) const HUB: &str = "HQ";
/// The store whose line is cut.
pub(super) const CUT: &str = "S2";
/// The store whose journal comes late.
pub(super) const LATE: &str = "S3";
/// Code, name and number of cards of each store.
const STORES: [(&str, &str, u32); 3] = [("S1", "汇通人民路店", 7), (CUT, "汇通观前街店", 7), (LATE, "汇通火车站店", 6)];
const POLICY: &str = include_str!("../../../config/policies/standard.toml");
const AGREEMENT: &str = include_str!("../../../config/policies/agreement-fifo.toml");
/// The first day of policy and agreement.
const EFFECTIVE_FROM: &str = "2026-01-01";
const LEGAL_ENTITIES: &str = "legal_entity,name,register_number,taxpayer_kind\nE1,汇通商业有限公司,,一般纳税人\n";
const MEMBERS: &str = "number,name,tier,phone\n8800001,李梅,gold,13800138001\n8800002,王强,silver,13800138002\n\
     8800003,赵敏,basic,13800138003\n";
/// The phone of the first member, who is gold.
pub(super) const MEMBER_PHONE: &str = "13800138001";
/// The store and the card of it that each member has, in the order of [`MEMBERS`].
const OWNED: [(usize, usize); 3] = [(0, 1), (1, 0), (2, 0)];
const ITEMS: &str = "sku,name,category_path,tax_rate,list_price,member_price\n\
     6901,大米 5kg,食品/粮油,9%,49.80,\n\
     6902,便当,食品/熟食,6%,59.90,\n\
     6903,橄榄油 1L,食品/粮油,13%,88.90,\n\
     6904,薯片,食品/零食,13%,8.90,7.90\n\
     6905,羊绒衫,服装/女装,13%,399.00,\n\
     6900000000017,白酒 500ml,食品/饮料/酒,13%,128.00,\n\
     6900000000024,鸡蛋 1kg,食品/蛋,9%,12.90,\n";
/// What tomorrow's policy changes: crisps are three yuan off, not two.
const TOMORROW: [(&str, &str); 2] =
    [("零食每件立减2元", "零食每件立减3元"), ("amount_minor = 200 }\ncombine", "amount_minor = 300 }\ncombine")];
const TERMINAL: &str = "T1";
/// How often a condition is looked at, and how many times at most: half a minute.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(10);
const LOOKS_MAX: usize = 3_000;

/// A hub and its stores.
pub(super) struct Chain {
    /// What all tills count in.
    pub currency: Currency,
    /// Where stores reach the hub.
    pub hub_address: SocketAddr,
    /// The stores.
    pub shops: Vec<Shop>,
    hub: Hub,
    hub_config: PathBuf,
    serving: tokio::task::JoinHandle<Result<(), huitong_hub::RunError>>,
    stop: CancellationToken,
    data: PathBuf,
    /// Removed when the demo ends, unless the folder was named.
    _temporary: Option<tempfile::TempDir>,
}

/// A store with its daemon, its wire, its till and its cards.
pub(super) struct Shop {
    /// Its code.
    pub id: StoreId,
    /// Its wire to the hub.
    pub wire: Arc<Wire>,
    /// Its till.
    pub till: Till,
    /// The till's token.
    pub token: String,
    /// Where tills connect.
    pub address: SocketAddr,
    /// The cards that it may sell.
    pub cards: Vec<CardNumber>,
    edge: Edge,
    config: PathBuf,
}

impl Chain {
    /// Sets everything up: the hub with its master data, policy, agreement and cards; then each store.
    pub(super) async fn set_up(data: Option<PathBuf>, narrator: &mut Narrator<'_>) -> anyhow::Result<Self> {
        let currency: Currency = "CNY".parse()?;
        let temporary =
            if data.is_none() { Some(tempfile::Builder::new().prefix("huitong-demo-").tempdir()?) } else { None };
        let data = match (&temporary, data) {
            (Some(folder), _) => folder.path().to_owned(),
            (None, Some(folder)) => make_empty(&folder)?,
            (None, None) => anyhow::bail!("there is no folder for the databases"),
        };
        narrator.heading("Head office is set up")?;
        let hub_config = write_hub_config(&data)?;
        let made = prepare_hub(&data, &hub_config, narrator).await?;

        let config = Loader::new(huitong_hub::config::ENV_PREFIX)
            .env_reserved("HUITONG_HUB_CONFIG")
            .file(&hub_config)
            .load::<HubConfig>()?
            .value;
        let listener = TcpListener::bind(config.listen).await.context("could not listen on loopback")?;
        let hub_address = listener.local_addr()?;
        let store = huitong_hub::store::Store::open(&config.database(), config.readers)?;
        let hub = Hub::new(config, store, Arc::new(huitong_hub::clock::SystemClock)).await?;
        let stop = CancellationToken::new();
        let serving = tokio::spawn(huitong_hub::serve(listener, hub.clone(), stop.clone().cancelled_owned()));
        narrator.step(HUB, &format!("serves the stores on http://{hub_address}"), "huitong-hub run")?;

        let mut chain = Self {
            currency,
            hub_address,
            shops: Vec::new(),
            hub,
            hub_config,
            serving,
            stop,
            data,
            _temporary: temporary,
        };
        narrator.heading("Three stores are enrolled, and their tills paired")?;
        for ((id, name, _), cards) in STORES.into_iter().zip(made) {
            let opened = chain.open_shop(id, name, cards, narrator).await.with_context(|| format!("store {id}"));
            match opened {
                Ok(shop) => chain.shops.push(shop),
                Err(error) => {
                    chain.close().await;
                    return Err(error);
                }
            }
        }
        Ok(chain)
    }

    async fn open_shop(
        &self,
        id: &str,
        name: &str,
        cards: Vec<CardNumber>,
        narrator: &mut Narrator<'_>,
    ) -> anyhow::Result<Shop> {
        let issued = self.head_office(Form::Json, &["store", "enrol-token", id]).await?;
        issued.text()?;
        narrator.step(HUB, &format!("gives {id} a one-time token"), &issued.shown)?;
        let token = text_of(&issued.json()?, "token")?;

        let config = write_edge_config(&self.data, id, self.hub_address)?;
        let enrolled = command::edge(&config, Form::Text, &["enrol", "--token", &token]).await?;
        enrolled.text()?;
        narrator.step(id, &format!("{name} makes its key and enrols"), &enrolled.shown)?;
        let loaded = EdgeConfig::loader(Some(&config)).load::<EdgeConfig>()?;
        huitong_edge::config::check(&loaded)?;
        let paired =
            command::edge(&config, Form::Json, &["till", "pair", "--terminal", TERMINAL, "--permit", "day"]).await?;
        paired.text()?;
        let token = text_of(&paired.json()?, "token")?;
        narrator.step(id, "pairs its till", &paired.shown)?;

        let line: Arc<dyn HubClient> = Arc::new(HttpHub::new(&loaded.value.sync.hub_url)?);
        let wire = Arc::new(Wire::new(line));
        let listen = loaded.value.api.listen;
        let edge = start_edge(loaded.value, &wire, listen).await?;
        let address = edge.addr().context("the store has no address")?;
        narrator.step(id, &format!("serves its tills on http://{address}"), "huitong-edge run")?;
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let line = Line::Http { client, base: format!("http://{address}") };
        let till = Till::new(line, token.clone(), self.currency);
        Ok(Shop { id: id.parse()?, wire, till, token, address, cards, edge, config })
    }

    /// Runs a command of head office.
    pub(super) async fn head_office(&self, form: Form, args: &[&str]) -> anyhow::Result<Ended> {
        command::hub(&self.hub_config, form, args).await
    }

    /// Writes tomorrow's policy and gives its file.
    pub(super) fn policy_of_tomorrow(&self) -> anyhow::Result<String> {
        let policy =
            TOMORROW.iter().fold(POLICY.to_owned(), |policy, (today, tomorrow)| policy.replace(today, tomorrow));
        ensure!(policy != POLICY, "tomorrow's policy is today's");
        self.file("standard-2.toml", &policy)
    }

    /// Writes a file for head office and gives its path.
    pub(super) fn file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = write(self.data.join(name), text)?;
        path.to_str().map(str::to_owned).context("the data folder's name is not UTF-8")
    }

    /// The configuration file of the hub.
    pub(super) fn hub_config(&self) -> &Path {
        &self.hub_config
    }

    /// Where the databases are.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// An amount as people write it.
    pub(super) fn amount(&self, minor: i64) -> String {
        Money { minor, currency: self.currency }.decimal()
    }

    /// Waits until the hub knows what a store did and can ask it for value, as it does some hundred milliseconds after each sale.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub(super) async fn in_touch(&self, at: usize) -> anyhow::Result<()> {
        let shop = &self.shops[at];
        let mut look = tokio::time::interval(LOOK_EVERY);
        for _ in 0..LOOKS_MAX {
            look.tick().await;
            if !self.hub.recalls.is_connected(shop.id) || !shop.edge.is_online() {
                continue;
            }
            let status = shop.command(Form::Json, &["sync", "status"]).await?;
            status.text()?;
            if status.json()?["unreported_accounts"].as_u64() == Some(0) {
                return Ok(());
            }
        }
        anyhow::bail!("store {} is not in touch with the hub", shop.id)
    }

    /// Stops every daemon and closes every database.
    pub(super) async fn close(self) {
        // Long polls end first, or each store would wait for its own.
        self.hub.stopping.cancel();
        for shop in &self.shops {
            shop.edge.close().await;
        }
        self.stop.cancel();
        if let Ok(Err(error)) = self.serving.await {
            tracing::warn!(error = %error, "The hub did not end well: {error}");
        }
    }
}

impl Shop {
    /// Runs a command at the store.
    pub(super) async fn command(&self, form: Form, args: &[&str]) -> anyhow::Result<Ended> {
        command::edge(&self.config, form, args).await
    }

    /// Stops the store's daemon. Its till is on its own until [`Shop::start_again`].
    pub(super) async fn stop(&self) {
        self.edge.close().await;
    }

    /// Starts the store's daemon again, where tills know it.
    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        let loaded = EdgeConfig::loader(Some(&self.config)).load::<EdgeConfig>()?;
        self.edge = start_edge(loaded.value, &self.wire, self.address).await?;
        Ok(())
    }

    /// Opens a day at the store and gives its label.
    pub(super) async fn open_day(&self, day: Option<BusinessDay>) -> anyhow::Result<(BusinessDay, String)> {
        let label = day.map(|day| day.to_string());
        let args = match &label {
            None => vec!["day", "open"],
            Some(label) => vec!["day", "open", "--business-day", label],
        };
        let opened = self.command(Form::Json, &args).await?;
        opened.text()?;
        Ok((text_of(&opened.json()?, "business_day")?.parse()?, opened.shown))
    }
}

async fn start_edge(config: EdgeConfig, wire: &Arc<Wire>, listen: SocketAddr) -> anyhow::Result<Edge> {
    let listener = TcpListener::bind(listen).await.context("could not listen on loopback")?;
    let parts = EdgeParts {
        config,
        clock: Arc::new(huitong_edge::clock::SystemClock),
        hub_client: Arc::clone(wire) as Arc<dyn HubClient>,
        listener: Some(listener),
        heartbeat: true,
    };
    Ok(Edge::start(parts).await?)
}

/// The moment, as a till's clock shows it.
pub(super) fn now() -> Instant {
    huitong_hub::clock::SystemClock.now()
}

/// A new operation id, as a till makes one before it sends.
pub(super) fn operation_id() -> anyhow::Result<OperationId> {
    let random: [u8; 10] = random_bytes()?;
    let now_ms = now().ms().unsigned_abs();
    Ok(OperationId(uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid()))
}

/// A text field of a command's answer.
pub(super) fn text_of(answer: &Value, field: &str) -> anyhow::Result<String> {
    answer[field].as_str().map(str::to_owned).with_context(|| format!("the answer has no {field}: {answer}"))
}

fn make_empty(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    ensure!(
        std::fs::read_dir(&folder)?.next().is_none(),
        "{} is not empty; name a new folder, the day is played from its beginning",
        folder.display()
    );
    Ok(folder)
}

fn write(path: PathBuf, text: &str) -> anyhow::Result<PathBuf> {
    std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}

/// A path as a TOML string.
fn toml_path(path: &Path) -> anyhow::Result<String> {
    Ok(serde_json::to_string(path.to_str().context("the data folder's name is not UTF-8")?)?)
}

fn write_hub_config(data: &Path) -> anyhow::Result<PathBuf> {
    let folder = toml_path(&data.join("hub"))?;
    let text = format!(
        "# The hub of the demo.\nlisten = \"127.0.0.1:0\"\ndata_dir = {folder}\n# All daemons share this machine, which may be busy compiling.\nrecall_wait = \"4s\"\n"
    );
    write(data.join("hub.toml"), &text)
}

/// The late store's line is too poor for its journal by day: it sends it with the close.
fn write_edge_config(data: &Path, id: &str, hub: SocketAddr) -> anyhow::Result<PathBuf> {
    let folder = toml_path(&data.join(format!("store-{id}")))?;
    let trickle = if id == LATE { "0ms" } else { "2s" };
    let text = format!(
        "# Store {id} of the demo.\ndata_dir = {folder}\n\n[api]\nlisten = \"127.0.0.1:0\"\n\n[sync]\nhub_url = \"http://{hub}\"\ntrickle = \"{trickle}\"\ngrant_timeout = \"8s\"\nretry_max = \"2s\"\n\n[schedule]\ndownload = \"05:30, 11:30\"\nupload = \"every 15m\"\n"
    );
    write(data.join(format!("store-{id}.toml")), &text)
}

/// Master data, policy, agreement and cards. Gives the cards of each store.
async fn prepare_hub(data: &Path, config: &Path, narrator: &mut Narrator<'_>) -> anyhow::Result<Vec<Vec<CardNumber>>> {
    let file = |name: &str, text: &str| -> anyhow::Result<String> {
        let path = write(data.join(name), text)?;
        path.to_str().map(str::to_owned).context("the data folder's name is not UTF-8")
    };
    let stores: String = STORES.iter().map(|(id, name, _)| format!("{id},{name},E1,Asia/Shanghai\n")).collect();
    let stores = file("stores.csv", &format!("store,name,legal_entity,time_zone\n{stores}"))?;
    let entities = file("legal_entities.csv", LEGAL_ENTITIES)?;
    let members = file("members.csv", MEMBERS)?;
    let policy = file("standard.toml", POLICY)?;
    let agreement = file("agreement-fifo.toml", AGREEMENT)?;
    let items = file("items.csv", ITEMS)?;
    let steps: [(&str, &[&str]); 7] = [
        ("makes the hub of the group", &["init", "--group", "HUITONG", "--currency", "CNY"]),
        ("imports the legal entity that issues the cards", &["legal-entity", "import", &entities]),
        ("imports three stores", &["store", "import", &stores]),
        ("imports the goods that promotions and taxes ask about", &["item", "import", &items]),
        ("imports three members: gold, silver, basic", &["member", "import", &members]),
        ("publishes the policy to all stores", &["policy", "publish", &policy, "--effective-from", EFFECTIVE_FROM]),
        ("publishes the agreement: who loaded owes who accepted", &["agreement", "publish", &agreement]),
    ];
    for (what, args) in steps {
        let ended = command::hub(config, Form::Text, args).await?;
        ended.text()?;
        narrator.step(HUB, what, &ended.shown)?;
    }
    let mut made = Vec::new();
    for (id, name, count) in STORES {
        let count = count.to_string();
        let args = ["card", "make", "--product", "SV", "--count", &count, "--store", id];
        let ended = command::hub(config, Form::Json, &args).await?;
        ended.text()?;
        let cards: Vec<CardNumber> = serde_json::from_value(ended.json()?["numbers"].clone())?;
        narrator.step(HUB, &format!("makes {count} cards for {name}"), &ended.shown)?;
        made.push(cards);
    }
    let mut owners = String::from("number,product,member\n");
    for ((store, index), member) in OWNED.into_iter().zip(MEMBERS.lines().skip(1)) {
        let card = made.get(store).and_then(|cards| cards.get(index)).context("too few cards were made")?;
        let member = member.split(',').next().unwrap_or_default();
        owners.push_str(&format!("{},SV,{member}\n", card.reveal()));
    }
    let owners = file("owners.csv", &owners)?;
    let ended = command::hub(config, Form::Text, &["card", "import", &owners]).await?;
    ended.text()?;
    narrator.step(HUB, "says which cards belong to members", &ended.shown)?;
    Ok(made)
}
