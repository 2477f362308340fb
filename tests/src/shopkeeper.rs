//! Shopkeeper: plays a scenario's steps in a town, and stops at the first step that goes otherwise than it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use huitong_protocol::card::CardNumber;
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::id::{EntryId, OperationId, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::policy::Release;
use huitong_protocol::settlement::agreement::Scheme;
use huitong_protocol::till::{FreezeCard, Outcome};
use huitong_protocol::time::Instant;

use crate::documents;
use crate::replay::{cards, finance};
use crate::scenario::{Act, Placed, Step};
use crate::till::{Till, approved};
use crate::town::{Plan, Town, Transport};
use crate::wire::Wire;

/// Midday in Shanghai on the scenarios' day, 2026-11-22.
const START: Instant = Instant(1_795_320_000_000);

/// What the first steps say the town is made of.
struct Setting {
    stores: Vec<StoreId>,
    cards: Vec<(String, StoreId)>,
    policy: String,
    agreement: String,
    scheme: Scheme,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            stores: Vec::new(),
            cards: Vec::new(),
            policy: documents::policy("CNY", ""),
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
    day.town.close().await
}

/// Takes a step that describes the town; false when the trading begins.
fn set(setting: &mut Setting, step: &Step) -> bool {
    match step {
        Step::Stores(stores) => setting.stores.clone_from(stores),
        Step::Cards(cards) => setting.cards.clone_from(cards),
        Step::Policy { release, park_minor } => {
            let release = match release {
                Release::AtOnce => "{ when = \"at_once\" }".to_owned(),
                Release::AtClose => "{ when = \"at_close\" }".to_owned(),
                Release::WhenIdle { minutes } => format!("{{ when = \"when_idle\", minutes = {minutes} }}"),
            };
            setting.policy = documents::policy("CNY", &format!("release = {release}\npark_minor = {park_minor}\n"));
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

struct Day {
    town: Arc<Town>,
    scheme: Scheme,
    cards: BTreeMap<String, CardNumber>,
    receipts: BTreeMap<String, (OperationId, EntryId)>,
    operations: u128,
}

impl Day {
    async fn begin(folder: &std::path::Path, setting: Setting) -> anyhow::Result<Self> {
        let numbered =
            (1_u32..).zip(&setting.cards).map(|(no, (name, store))| (name.clone(), (cards::of_household(no), *store)));
        let cards: BTreeMap<String, (CardNumber, StoreId)> = numbered.collect();
        let plan = Plan {
            data: folder.to_owned(),
            transport: Transport::Memory,
            start: START,
            currency: Currency::CNY,
            time_zone: "Asia/Shanghai".to_owned(),
            stores: setting.stores,
            cards: cards.values().copied().collect(),
            product: "SV".to_owned(),
            policy: setting.policy,
            agreement: setting.agreement,
            effective_from: "2020-01-01".parse()?,
            tune: Arc::new(|_| ()),
            wire: Arc::new(|_, line| Wire::new(line)),
        };
        let town = Town::build(&plan).await?;
        let cards = cards.into_iter().map(|(name, (number, _))| (name, number)).collect();
        Ok(Self { town, scheme: setting.scheme, cards, receipts: BTreeMap::new(), operations: 0 })
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
                    shop.reported().await?;
                    self.town.connected(*store).await?;
                }
            }
            Step::Hold(store, held) => {
                let shop = self.town.shop(*store)?;
                shop.wire.hold_uploads(*held);
                if !held {
                    shop.upload_all().await?;
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
            Step::Owes(debtor, creditor, expected) => {
                let (debtor, creditor) = (Party::Store(*debtor), Party::Store(*creditor));
                let scheme = self.scheme;
                let owed = finance::owed(&self.town.hub.store, scheme, debtor, creditor).await?;
                ensure!(owed == *expected, "it owes {owed}");
            }
            Step::Net(store, expected) => {
                let net = finance::position(&self.town.hub.store, self.scheme, Party::Store(*store)).await?;
                ensure!(net == *expected, "its position is {net}");
            }
            Step::Here(store, card, expected) => {
                let state = self.town.shop(*store)?.till.card(self.card(card)?, false).await?;
                let here: i64 = state.balances.iter().map(|balance| balance.available_here_minor).sum();
                ensure!(here == *expected, "{here} can be spent there");
            }
            Step::Balance(card, expected) => {
                let number = self.card(card)?;
                let shown = self.town.head_office(&["account", "show", number.reveal()]).await?;
                let balance = shown["balance_minor"].as_i64().with_context(|| format!("no balance in {shown}"))?;
                ensure!(balance == *expected, "the balance is {balance}");
            }
            Step::Exceptions(class, expected) => {
                let listed = self.town.head_office(&["exception", "list"]).await?;
                let all = listed
                    .as_array()
                    .or_else(|| listed["exceptions"].as_array())
                    .with_context(|| format!("no list in {listed}"))?;
                let found = all.iter().filter(|exception| exception["class"] == class.as_str()).count();
                ensure!(found == *expected, "there are {found}");
            }
            Step::Verify => {
                let found = self.town.verify().await?;
                ensure!(found.is_empty(), "{}", found.join("; "));
            }
            Step::Stores(_) | Step::Cards(_) | Step::Policy { .. } | Step::Agreement { .. } => {
                bail!("describes the town and must come before the trading")
            }
        }
        Ok(())
    }

    async fn till(&mut self, store: StoreId, act: &Act, refused: Option<DeclineCode>) -> anyhow::Result<()> {
        let (shop, key) = (self.town.shop(store)?, self.key());
        let outcome = self.act(&shop.till, key, act).await?;
        if let (Act::Spend { receipt: Some(name), .. }, Outcome::Approved(approved)) = (act, &outcome) {
            self.receipts.insert(name.clone(), (key, approved.entry));
        }
        match (outcome, refused) {
            (Outcome::Approved(_), None) => {}
            (Outcome::Declined { decline, .. }, Some(code)) => {
                ensure!(decline.code == code, "refused with {:?}", decline.code)
            }
            (Outcome::Approved(approved), Some(_)) => bail!("approved as {}", approved.entry),
            (Outcome::Declined { decline, .. }, None) => bail!("refused with {:?}: {decline:?}", decline.code),
        }
        if shop.wire.is_whole() {
            shop.reported().await?;
        }
        Ok(())
    }

    async fn act(&self, till: &Till, key: OperationId, act: &Act) -> anyhow::Result<Outcome> {
        let receipt =
            |name: &String| self.receipts.get(name).copied().with_context(|| format!("there is no receipt {name}"));
        match act {
            Act::Sell(card, paid) => till.sell(key, self.card(card)?, *paid).await,
            Act::Reload(card, paid) => till.reload(key, self.card(card)?, *paid).await,
            Act::Spend { card, amount_minor, .. } => till.spend(key, self.card(card)?, *amount_minor).await,
            Act::Void(name) => till.void(key, receipt(name)?.0).await,
            Act::Return(name, thousandths) => till.give_back(key, receipt(name)?.1, 0, *thousandths).await,
            Act::Refund(card, value) => till.refund(key, self.card(card)?, *value).await,
            Act::Freeze(card) => {
                let request = FreezeCard { reason: "the owner asked".to_owned(), operator: None, terminal_seq: None };
                till.operate(&format!("/v1/cards/{}/freeze", self.card(card)?.reveal()), key, &request).await
            }
        }
    }
}
