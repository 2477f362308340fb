//! Shopkeeper: plays a scenario's steps in a town, and stops at the first step that goes otherwise than it says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use huitong_edge::config::MarkerDir;
use huitong_hub::config::HubConfig;
use huitong_protocol::card::CardNumber;
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::entry::Markdown;
use huitong_protocol::id::{EntryId, OperationId, StoreId};
use huitong_protocol::money::{Currency, Money};
use huitong_protocol::party::Party;
use huitong_protocol::policy::Release;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::till::{FreezeCard, Outcome, PaymentOutcome, PlaceHold, PostSale, ReleaseHold, TillLine};
use huitong_protocol::time::Instant;
use huitong_protocol::unit::Unit;
use serde_json::Value;

use crate::command;
use crate::documents;
use crate::replay::{cards, finance};
use crate::scenario::basket::{Basket, Goods, Paid, Pieces};
use crate::scenario::{self, Act, Mishap, Placed, Step, shelf};
use crate::till::{self, QuoteAnswer, Till, approved};
use crate::town::{Plan, Town, Transport};
use crate::wire::Wire;

/// Midday in Shanghai on the scenarios' day, 2026-11-22.
const START: Instant = Instant(1_795_320_000_000);
/// How long ago a till took a receipt on its own.
const OFFLINE_MS: i64 = 600_000;

/// What the first steps say the town is made of.
struct Setting {
    stores: Vec<StoreId>,
    cards: Vec<scenario::Card>,
    goods: Vec<shelf::Item>,
    members: Vec<shelf::Member>,
    /// The body of the policy's chapter `[allotment]`.
    allotment: String,
    /// More chapters of the policy.
    chapters: String,
    agreement: String,
    scheme: Scheme,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            stores: Vec::new(),
            cards: Vec::new(),
            goods: Vec::new(),
            members: Vec::new(),
            allotment: String::new(),
            chapters: documents::CATALOGUE.to_owned(),
            agreement: documents::agreement("CNY", "fifo", "2020-01-01", 0, 0, "restore"),
            scheme: Scheme::Fifo,
        }
    }
}

/// Plays a scenario over the memory transport.
///
/// # Errors
/// The line that went otherwise, and how.
pub async fn play(steps: &[Placed]) -> anyhow::Result<()> {
    let (town, _folder) = play_open(steps).await?;
    town.close().await
}

/// As [`play`], and leaves the town open for whoever wants to look at it. The folder holds its databases.
///
/// # Errors
/// The step that went otherwise, with its line.
pub async fn play_open(steps: &[Placed]) -> anyhow::Result<(Arc<Town>, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let mut setting = Setting::default();
    let mut steps = steps.iter().peekable();
    while let Some(placed) = steps.next_if(|placed| set(&mut setting, &placed.step)) {
        ensure!(placed.line > 0, "lines count from 1");
    }
    let mut day = Day::begin(folder.path(), setting).await?;
    for placed in steps {
        day.step(&placed.step).await.with_context(|| format!("line {}: {}", placed.line, placed.text))?;
    }
    Ok((day.town, folder))
}

/// Plays a scenario to its end whatever happens, and gives each step that went otherwise, with its line.
///
/// # Errors
/// The town could not be built, or closed.
pub async fn play_through(steps: &[Placed]) -> anyhow::Result<Vec<(usize, anyhow::Error)>> {
    let folder = tempfile::tempdir()?;
    let mut setting = Setting::default();
    let mut steps = steps.iter().peekable();
    while steps.next_if(|placed| set(&mut setting, &placed.step)).is_some() {}
    let mut day = Day::begin(folder.path(), setting).await?;
    let mut otherwise = Vec::new();
    for placed in steps {
        if let Err(error) = day.step(&placed.step).await {
            otherwise.push((placed.line, error));
        }
    }
    day.town.close().await?;
    Ok(otherwise)
}

/// Takes a step that describes the town; false when the trading begins.
fn set(setting: &mut Setting, step: &Step) -> bool {
    match step {
        Step::Stores(stores) => setting.stores.clone_from(stores),
        Step::Cards(cards) => setting.cards.clone_from(cards),
        Step::Goods(item) => setting.goods.push(item.clone()),
        Step::Members(members) => setting.members.extend_from_slice(members),
        Step::Chapter(chapter) => setting.chapters.push_str(chapter),
        Step::Policy { release, park_minor } => {
            let release = match release {
                Release::AtOnce => "{ when = \"at_once\" }".to_owned(),
                Release::AtClose => "{ when = \"at_close\" }".to_owned(),
                Release::WhenIdle { minutes } => format!("{{ when = \"when_idle\", minutes = {minutes} }}"),
            };
            setting.allotment = format!("release = {release}\npark_minor = {park_minor}\n");
        }
        Step::Agreement { scheme, commission_ppm, fee_ppm, new_lot_here } => {
            let returns = if *new_lot_here { "new_lot_here" } else { "restore" };
            setting.scheme = *scheme;
            setting.agreement =
                documents::agreement("CNY", scheme.as_str(), "2020-01-01", *commission_ppm, *fee_ppm, returns);
        }
        _ => return false,
    }
    true
}

/// The folder that stands for the memory of a store's machine.
const MEMORY: &str = "memory";

/// Makes that folder. Where it cannot be made the daemon complains of it.
fn memory(data: &Path) -> PathBuf {
    let folder = data.join(MEMORY);
    drop(std::fs::create_dir_all(&folder));
    folder
}

/// A store's database.
const EDGE_FILES: [&str; 3] = ["edge.db", "edge.db-wal", "edge.db-shm"];
/// Head office's database; what lies beside it stays.
const HUB_FILES: [&str; 3] = ["hub.db", "hub.db-wal", "hub.db-shm"];
/// Where its backup lies.
const HUB_BACKUP: &str = "backup-hub";

/// The database of a stopped daemon, in place of what is there.
fn copy_files(files: [&str; 3], from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for file in files {
        match std::fs::remove_file(to.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file))?;
        }
    }
    Ok(())
}

struct Day {
    town: Arc<Town>,
    /// Where backups and markers of stores lie.
    folder: PathBuf,
    scheme: Scheme,
    cards: BTreeMap<String, CardNumber>,
    /// What one costs on the shelf.
    prices_minor: BTreeMap<String, i64>,
    receipts: BTreeMap<String, (OperationId, EntryId)>,
    /// Baskets with the quote that was told for them.
    quotes: BTreeMap<String, PostSale>,
    operations: u128,
}

impl Day {
    async fn begin(folder: &Path, setting: Setting) -> anyhow::Result<Self> {
        let cards: BTreeMap<String, CardNumber> =
            (1_u32..).zip(&setting.cards).map(|(no, card)| (card.name.clone(), cards::of_household(no))).collect();
        let allocated = setting.cards.iter().filter_map(|card| Some((*cards.get(&card.name)?, card.store)));
        let policy = format!("{}{}", documents::policy("CNY", &setting.allotment), setting.chapters);
        let plan = Plan {
            data: folder.to_owned(),
            transport: Transport::Memory,
            start: START,
            currency: Currency::CNY,
            time_zone: "Asia/Shanghai".to_owned(),
            stores: setting.stores.clone(),
            cards: allocated.collect(),
            product: "SV".to_owned(),
            policy,
            agreement: setting.agreement.clone(),
            effective_from: "2020-01-01".parse()?,
            // Its marker lies beside its database, so that a reboot can take it away.
            tune: Arc::new(|config| config.store.marker_dir = MarkerDir::At(memory(&config.data_dir))),
            wire: Arc::new(|_, line| Wire::new(line)),
        };
        let town = Town::build(&plan).await?;
        fill_shelf(&town, folder, &setting, &cards).await?;
        let prices_minor = setting.goods.into_iter().map(|item| (item.sku, item.price_minor)).collect();
        let (receipts, quotes) = (BTreeMap::new(), BTreeMap::new());
        let folder = folder.to_owned();
        Ok(Self { town, folder, scheme: setting.scheme, cards, prices_minor, receipts, quotes, operations: 0 })
    }

    fn key(&mut self) -> OperationId {
        self.operations += 1;
        OperationId(uuid::Uuid::from_u128((7 << 76) | self.operations))
    }

    fn card(&self, name: &str) -> anyhow::Result<CardNumber> {
        self.cards.get(name).copied().with_context(|| format!("there is no card {name}"))
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        // Some minutes pass between two steps, and who is online has reported meanwhile.
        self.town.clock.wind_ms(60_000);
        match step {
            Step::Open(store, day) => {
                let (shop, key) = (self.town.shop(*store)?, self.key());
                shop.download().await?;
                approved(shop.till.open_day(key, Some(*day)).await?)?;
                self.town.connected(*store).await?;
            }
            Step::Close(store) => {
                let (shop, key) = (self.town.shop(*store)?, self.key());
                approved(shop.till.close_day(key).await?)?;
                // What is held back or cut is tried again when a later step lets it go.
                let _ = shop.edge.upload().await;
            }
            Step::Till { store, act, refused } => self.till(*store, act, *refused).await?,
            Step::Cut(store, cut) => {
                let shop = self.town.shop(*store)?;
                if *cut {
                    shop.reported().await?;
                }
                shop.wire.cut(*cut);
                if !cut {
                    self.heard(*store).await?;
                }
            }
            Step::Hold(store, held) => {
                let shop = self.town.shop(*store)?;
                shop.wire.hold_uploads(*held);
                if !held {
                    shop.upload_all().await?;
                }
            }
            Step::Machine(store, mishap) => self.machine(*store, *mishap).await?,
            Step::HubBackup => {
                for shop in self.town.shops().filter(|shop| shop.wire.is_whole()) {
                    shop.reported().await?;
                }
                let backup = self.folder.join(HUB_BACKUP);
                let town = Arc::get_mut(&mut self.town).context("the town is in use")?;
                town.restart_hub(false, async |data| Ok(copy_files(HUB_FILES, data, &backup)?)).await?;
            }
            Step::HubPutBack(is_said) => self.put_hub_back(*is_said).await?,
            Step::Waits(expected) => {
                let shown = self.town.head_office(&["recover", "status"]).await?;
                let waited = shown["waited_for"].as_array().with_context(|| format!("nobody in {shown}"))?;
                let name = |epoch: &Value| format!("{}-{}", epoch["store"].as_str().unwrap_or("?"), epoch["epoch"]);
                let waited: Vec<String> = waited.iter().map(name).collect();
                ensure!(waited == *expected, "it waits for {}", waited.join(" "));
            }
            Step::Heard(store) => self.heard(*store).await?,
            Step::Fetch(store) => self.town.shop(*store)?.download().await?,
            Step::Office { words, refused } => {
                let number = |word: &String| self.cards.get(word).map(CardNumber::reveal);
                let words: Vec<&str> = words.iter().map(|word| number(word).unwrap_or(word)).collect();
                match (self.town.head_office(&words).await, refused) {
                    (Err(error), false) => return Err(error),
                    (Ok(shown), true) => bail!("head office did it: {shown}"),
                    _ => {}
                }
            }
            Step::Settle { scheme, day, provisional, refused } => {
                let day = day.to_string();
                let mut args = vec!["settle", "run", "--scheme", scheme.as_str(), "--to", &day];
                args.extend(provisional.then_some("--provisional"));
                let outcome = self.town.head_office(&args).await;
                match (outcome, refused) {
                    (Err(error), false) => return Err(error),
                    (Ok(_), true) => bail!("head office settled it"),
                    _ => {}
                }
            }
            Step::Wait(minutes) => self.town.clock.wind_ms(minutes * 60_000),
            Step::Owes(debtor, creditor, expected) => {
                let (debtor, creditor) = (Party::Store(*debtor), Party::Store(*creditor));
                let scheme = self.scheme;
                let owed = finance::owed(&self.town.hub.store, scheme, debtor, creditor).await?;
                ensure!(owed == *expected, "it owes {owed}");
            }
            Step::Net(party, expected) => {
                let net = finance::position(&self.town.hub.store, self.scheme, *party).await?;
                ensure!(net == *expected, "its position is {net}");
            }
            Step::Here(store, card, expected) => {
                let state = self.town.shop(*store)?.till.card(self.card(card)?, false).await?;
                let value = state.balances.iter().filter(|balance| balance.unit != Unit::Points);
                let here: i64 = value.map(|balance| balance.available_here_minor).sum();
                ensure!(here == *expected, "{here} can be spent there");
            }
            Step::Points(store, card, expected) => {
                let state = self.town.shop(*store)?.till.card(self.card(card)?, false).await?;
                let points = state.balances.iter().filter(|balance| balance.unit == Unit::Points);
                let here: i64 = points.map(|balance| balance.available_here_minor).sum();
                ensure!(here == *expected, "{here} points can be spent there");
            }
            Step::Balance(card, expected) => {
                let number = self.card(card)?;
                let shown = self.town.head_office(&["account", "show", number.reveal()]).await?;
                let balance = shown["balance_minor"].as_i64().with_context(|| format!("no balance in {shown}"))?;
                ensure!(balance == *expected, "the balance is {balance}");
            }
            Step::Look => {
                self.town.head_office(&["exception", "find"]).await?;
            }
            Step::Exceptions(class, expected) => {
                huitong_hub::reconcile::run(&self.town.hub.store, self.town.clock.read()).await?;
                let listed = self.town.head_office(&["exception", "list"]).await?;
                let all = listed
                    .as_array()
                    .or_else(|| listed["exceptions"].as_array())
                    .with_context(|| format!("no list in {listed}"))?;
                let is_meant = |exception: &&Value| class == "any" || exception["class"] == class.as_str();
                let found = all.iter().filter(is_meant).count();
                ensure!(found == *expected, "there are {found}");
            }
            Step::Verify => {
                let found = self.town.verify().await?;
                ensure!(found.is_empty(), "{}", found.join("; "));
            }
            Step::Stores(_)
            | Step::Cards(_)
            | Step::Goods(_)
            | Step::Members(_)
            | Step::Chapter(_)
            | Step::Policy { .. }
            | Step::Agreement { .. } => {
                bail!("describes the town and must come before the trading")
            }
        }
        Ok(())
    }

    /// Waits until head office can ask a store for value and knows all that it has to tell.
    async fn heard(&self, store: StoreId) -> anyhow::Result<()> {
        let shop = self.town.shop(store)?;
        shop.reported().await?;
        self.town.connected(store).await?;
        // Head office may have been put back since the store last called: of that it hears at its first call, which may have been the poll, and only then
        // has it something to tell again.
        shop.reported().await
    }

    async fn put_hub_back(&mut self, is_said: bool) -> anyhow::Result<()> {
        let backup = self.folder.join(HUB_BACKUP);
        let town = Arc::get_mut(&mut self.town).context("the town is in use")?;
        let clock = town.clock.clone();
        town.restart_hub(!is_said, async |data| {
            copy_files(HUB_FILES, &backup, data)?;
            if is_said {
                command::hub(data, Arc::new(clock), &["recover", "--by", "li", "--note", "disk"]).await?;
            } else {
                std::fs::remove_file(
                    HubConfig { data_dir: data.to_owned(), ..HubConfig::default() }.recovery_log_file(),
                )?;
            }
            Ok(())
        })
        .await
    }

    async fn machine(&mut self, store: StoreId, mishap: Mishap) -> anyhow::Result<()> {
        let backup = self.folder.join(format!("backup-{store}"));
        let town = Arc::get_mut(&mut self.town).context("the town is in use")?;
        town.restart(store, |data| match mishap {
            Mishap::Backup => copy_files(EDGE_FILES, data, &backup),
            Mishap::Reboot => std::fs::remove_dir_all(data.join(MEMORY)).map(|()| drop(memory(data))),
            Mishap::PutBack => copy_files(EDGE_FILES, &backup, data),
        })
        .await
    }

    async fn till(&mut self, store: StoreId, act: &Act, refused: Option<DeclineCode>) -> anyhow::Result<()> {
        let (shop, key) = (self.town.shop(store)?, self.key());
        if let Act::Quote { basket, costs_minor, name } = act {
            return self.quote(&shop.till, basket, *costs_minor, name.as_ref(), refused).await;
        }
        let outcome = self.act(&shop.till, key, act).await?;
        if let (
            Act::Sell(.., Some(name))
            | Act::Reload(.., Some(name))
            | Act::Spend { receipt: Some(name), .. }
            | Act::Sale { receipt: Some(name), .. }
            | Act::Capture { receipt: Some(name), .. }
            | Act::Hold { name: Some(name), .. },
            Outcome::Approved(approved),
        ) = (act, &outcome)
        {
            self.receipts.insert(name.clone(), (key, approved.entry));
        }
        match (outcome, refused) {
            (Outcome::Approved(approved), None) => {
                if let Act::Return { red_letter_minor, .. } = act {
                    let lowered = approved.red_letter_required.iter().flat_map(|letter| &letter.invoiceable);
                    let lowered =
                        approved.red_letter_required.as_ref().map(|_| lowered.map(|part| part.invoiceable_minor).sum());
                    ensure!(lowered == *red_letter_minor, "the red letter is over {lowered:?}");
                }
            }
            (Outcome::Declined { decline, .. }, Some(code)) => {
                ensure!(decline.code == code, "refused with {:?}", decline.code)
            }
            (Outcome::Approved(approved), Some(_)) => bail!("approved as {}", approved.entry),
            (Outcome::Declined { decline, .. }, None) => bail!("refused with {:?}: {decline:?}", decline.code),
        }
        // A store in quarantine has nothing more to say.
        if shop.wire.is_whole() && !shop.edge.store().continuity().is_quarantined() {
            shop.reported().await?;
        }
        Ok(())
    }

    async fn quote(
        &mut self,
        till: &Till,
        basket: &Basket,
        costs_minor: Option<i64>,
        name: Option<&String>,
        refused: Option<DeclineCode>,
    ) -> anyhow::Result<()> {
        let mut sale = self.basket(basket)?;
        match (till.quote(&sale).await?, refused) {
            (QuoteAnswer::Quoted(quote), None) => {
                ensure!(Some(quote.total_minor) == costs_minor, "it costs {}: {:?}", quote.total_minor, quote.trace);
                let lines: i64 = quote.lines.iter().map(|line| line.net_minor).sum();
                ensure!(lines == quote.total_minor, "its lines cost {lines}");
                sale.quote = Some(quote.quote);
                if let Some(name) = name {
                    self.quotes.insert(name.clone(), sale);
                }
                Ok(())
            }
            (QuoteAnswer::Declined { decline, .. }, Some(code)) => {
                ensure!(decline.code == code, "refused with {:?}", decline.code);
                Ok(())
            }
            (QuoteAnswer::Quoted(quote), Some(_)) => bail!("it costs {}", quote.total_minor),
            (QuoteAnswer::Declined { decline, .. }, None) => bail!("refused with {:?}: {decline:?}", decline.code),
        }
    }

    /// A sale of a basket that nobody has paid yet.
    fn basket(&self, basket: &Basket) -> anyhow::Result<PostSale> {
        let off = |&(amount_minor, funder): &(i64, Party)| Markdown {
            amount_minor,
            reason: "coupon".to_owned(),
            funder: Some(funder),
        };
        let line = |pieces: &Pieces| {
            let sku = pieces.sku.as_str();
            let price_minor = pieces.price_minor.or_else(|| self.prices_minor.get(sku).copied());
            let price_minor = price_minor.with_context(|| format!("{sku} is not on the shelf; write {sku}=PRICE"))?;
            let gross_minor = price_minor * pieces.count;
            let quantity_thousandths = pieces.count * 1_000;
            Ok(TillLine { quantity_thousandths, list_price_minor: Some(price_minor), ..till::line(sku, gross_minor) })
        };
        Ok(PostSale {
            currency: Currency::CNY,
            member: None,
            member_card: basket.member_card.as_ref().map(|name| self.card(name)).transpose()?,
            markdowns: basket.off.iter().map(off).collect(),
            coupons: basket.coupons.iter().map(|code| Ok(code.parse()?)).collect::<anyhow::Result<_>>()?,
            quote: None,
            lines: basket.lines.iter().map(line).collect::<anyhow::Result<_>>()?,
            tenders: Vec::new(),
            payment_unknown: None,
            taken_at_ms: None,
            operator: None,
            approver: None,
            terminal_seq: None,
        })
    }

    fn sale(&self, goods: &Goods, paid: &[Paid], offline: bool) -> anyhow::Result<PostSale> {
        let mut sale = match goods {
            Goods::Basket(basket) => self.basket(basket)?,
            Goods::Quoted(name) => {
                self.quotes.get(name).cloned().with_context(|| format!("there is no quote {name}"))?
            }
        };
        for (at, one) in (0_u16..).zip(paid) {
            let by_card = matches!(one.tender.as_str(), "card" | "points");
            let code = if one.tender == "card" { "stored_value" } else { &one.tender };
            let card = one.by.as_ref().filter(|_| by_card).map(|name| self.card(name)).transpose()?;
            let mut line = till::tender(code, one.amount_minor, card);
            line.reference = one.by.clone().filter(|_| !by_card);
            sale.tenders.push(line);
            if one.unknown {
                sale.payment_unknown = Some(at);
            }
        }
        if offline {
            let taken_at = self.town.clock.read().plus_ms(-OFFLINE_MS);
            sale.taken_at_ms = Some(taken_at);
        }
        Ok(sale)
    }

    async fn act(&self, till: &Till, key: OperationId, act: &Act) -> anyhow::Result<Outcome> {
        let receipt =
            |name: &String| self.receipts.get(name).copied().with_context(|| format!("there is no receipt {name}"));
        match act {
            Act::Sell(card, paid, _) => till.sell(key, self.card(card)?, *paid).await,
            Act::Reload(card, paid, _) => till.reload(key, self.card(card)?, *paid).await,
            Act::Spend { card, amount_minor, .. } => till.spend(key, self.card(card)?, *amount_minor).await,
            Act::Hold { card, amount_minor, minutes, .. } => {
                let request = PlaceHold {
                    card: self.card(card)?,
                    currency: Currency::CNY,
                    amount_minor: *amount_minor,
                    expires_in_s: u64::from(*minutes) * 60,
                    operator: None,
                    approver: None,
                    terminal_seq: None,
                };
                till.operate("/v1/holds", key, &request).await
            }
            Act::Release(name) => {
                let request = ReleaseHold {
                    reason: "nobody came".to_owned(),
                    operator: None,
                    approver: None,
                    terminal_seq: None,
                };
                till.operate(&format!("/v1/holds/{}/release", receipt(name)?.0), key, &request).await
            }
            Act::Capture { card, amount_minor, hold, .. } => {
                let mut sale = till.one_line_sale(self.card(card)?, *amount_minor);
                sale.tenders[0].hold = Some(receipt(hold)?.0);
                till.sale(key, &sale).await
            }
            Act::Quote { .. } => bail!("a quote is no operation"),
            Act::Sale { goods, paid, offline, .. } => till.sale(key, &self.sale(goods, paid, *offline)?).await,
            Act::Payment { receipt: name, paid, reference } => {
                let outcome = if *paid { PaymentOutcome::Paid } else { PaymentOutcome::Failed };
                till.resolve_payment(key, receipt(name)?.1, outcome, reference.as_deref()).await
            }
            Act::Invoice { receipt: name, number } => till.register_invoice(key, receipt(name)?.1, number).await,
            Act::Void(name) => till.void(key, receipt(name)?.0).await,
            Act::Return { receipt: name, line, quantity_thousandths, .. } => {
                till.give_back(key, receipt(name)?.1, *line, *quantity_thousandths).await
            }
            Act::Refund(card, value) => till.refund(key, self.card(card)?, *value).await,
            Act::Freeze(card) => {
                let request = FreezeCard {
                    reason: "the owner asked".to_owned(),
                    operator: None,
                    approver: None,
                    terminal_seq: None,
                };
                till.operate(&format!("/v1/cards/{}/freeze", self.card(card)?.reveal()), key, &request).await
            }
        }
    }
}

/// Imports what the town sells, its members and whose cards are whose. Stores learn it with the download before they open.
async fn fill_shelf(
    town: &Town,
    folder: &Path,
    setting: &Setting,
    cards: &BTreeMap<String, CardNumber>,
) -> anyhow::Result<()> {
    let amount = |minor: i64| Money { minor, currency: Currency::CNY }.decimal();
    let mut items = String::from("sku,name,category_path,tax_rate,list_price,member_price\n");
    for shelf::Item { sku, price_minor, category_path, member_minor } in &setting.goods {
        let member = member_minor.map(amount).unwrap_or_default();
        // Writing into a string does not fail.
        let _ = writeln!(items, "{sku},{sku},{category_path},13%,{},{member}", amount(*price_minor));
    }
    let mut members = String::from("number,name,tier\n");
    let mut numbers = BTreeMap::new();
    for (no, shelf::Member { name, tier }) in (1_u32..).zip(&setting.members) {
        let number = format!("88{no:05}");
        let _ = writeln!(members, "{number},{name},{}", tier.as_deref().unwrap_or_default());
        numbers.insert(name.as_str(), number);
    }
    let mut owners = String::from("number,product,member\n");
    for card in &setting.cards {
        let Some(name) = &card.member else { continue };
        let number = numbers.get(name.as_str()).with_context(|| format!("there is no member {name}"))?;
        let _ = writeln!(owners, "{},SV,{number}", cards[&card.name].reveal());
    }
    for (noun, csv) in [("item", items), ("member", members), ("card", owners)] {
        if csv.lines().count() > 1 {
            let file = folder.join(format!("{noun}s-of-the-shelf.csv"));
            std::fs::write(&file, csv).with_context(|| format!("could not write {}", file.display()))?;
            town.head_office(&[noun, "import", file.to_str().context("the folder's name is not UTF-8")?]).await?;
        }
    }
    Ok(())
}
