//! The store that look-ups and spends are measured on: one edge behind its real listener, with its real database full of cards that hold value.
//!
//! It trades without a line to the hub, as a store must be able to, so that the two cores do nothing but sell. Its settings are those of a shop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use huitong_edge::config::{StoreConfig, SyncConfig};
use huitong_edge::run::DATABASE_FILE;
use huitong_edge::store::{StoreError, allotment, replica};
use huitong_edge::till::Permissions;
use huitong_protocol::allotment::{Purse, StoreCounters};
use huitong_protocol::card::{Card, CardNumber, CardStatus};
use huitong_protocol::id::{AccountId, OperationId, StoreId};
use huitong_protocol::money::Currency;
use huitong_protocol::time::{BusinessDay, Instant, Stamp};
use huitong_protocol::unit::Unit;
use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow};

use crate::documents;
use crate::replay::cards;
use crate::till::approved;
use crate::town::{Plan, Shop, Town, Transport};
use crate::wire::Wire;

/// 2026-01-05, eight in the morning in Shanghai.
const OPENED_AT: Instant = Instant(1_767_571_200_000);
const DAY: &str = "2026-01-05";
/// What each card holds: more than any bench spends.
const HELD_MINOR: i64 = 1_000_000_000;
/// The account of the first card; below are those of the hub's own import.
const FIRST_ACCOUNT: i64 = 1_000_001;
/// Rows of a page, as stores fetch them.
const PAGE_ROWS: usize = 2_000;

/// A store that trades.
pub(super) struct BenchShop {
    /// Its till's API.
    pub(super) address: SocketAddr,
    /// Its cards; each holds value.
    pub(super) cards: Arc<Vec<CardNumber>>,
    /// Its database.
    pub(super) database: PathBuf,
    /// Its daemon and till.
    pub(super) shop: Arc<Shop>,
    town: Arc<Town>,
}

impl BenchShop {
    /// Builds the store and opens its day.
    pub(super) async fn open(data: &Path, members: usize) -> anyhow::Result<Self> {
        let id: StoreId = "001".parse()?;
        let day: BusinessDay = DAY.parse()?;
        let plan = Plan {
            data: data.to_owned(),
            transport: Transport::Http,
            start: OPENED_AT,
            currency: Currency::new("CNY")?,
            time_zone: "Asia/Shanghai".to_owned(),
            stores: vec![id],
            cards: vec![(cards::of_household(u32::MAX), id)],
            product: "SV".to_owned(),
            policy: documents::policy("CNY", "release = { when = \"at_close\" }\n"),
            agreement: documents::agreement("CNY", "pool", DAY, 0, 0, "restore"),
            effective_from: day,
            tune: Arc::new(|config| (config.store, config.sync) = (StoreConfig::default(), SyncConfig::default())),
            wire: Arc::new(|_: StoreId, line| Wire::new(line)),
        };
        let town = Town::build(&plan).await?;
        let shop = town.shop(id)?;
        shop.wire.cut(true);
        approved(shop.till.open_day(OperationId(uuid::Uuid::from_u128(1)), Some(day)).await?)?;
        let cards = (0..members).map(|no| Ok(cards::of_household(u32::try_from(no)?)));
        let cards: Vec<CardNumber> = cards.collect::<anyhow::Result<_>>()?;
        for (page, numbers) in cards.chunks(PAGE_ROWS).enumerate() {
            fill(&shop, page * PAGE_ROWS, numbers).await?;
        }
        Ok(Self {
            address: shop.address.context("the store does not listen")?,
            cards: Arc::new(cards),
            database: data.join(format!("store-{id}")).join(DATABASE_FILE),
            shop,
            town,
        })
    }

    /// Pairs tills and gives their tokens.
    pub(super) async fn pair(&self, tills: usize) -> anyhow::Result<Vec<String>> {
        let mut tokens = Vec::with_capacity(tills);
        for till in 0..tills {
            let token = self.shop.edge.pair(format!("B{till}").parse()?, Permissions::ALL).await?;
            tokens.push(token.reveal().to_owned());
        }
        Ok(tokens)
    }

    /// Stops it.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        drop(self.shop);
        self.town.close().await
    }
}

/// Gives the store a page of cards, as the hub sends them, and value on each.
async fn fill(shop: &Shop, first: usize, numbers: &[CardNumber]) -> anyhow::Result<()> {
    let (store, unit) = (shop.edge.store(), Unit::new("CNY")?);
    let mut page = DatasetPage {
        dataset: DatasetKind::Cards,
        through_version: store.read(|tx| replica::version(tx, DatasetKind::Cards))?,
        more: true,
        recovers: false,
        rows: Vec::with_capacity(numbers.len()),
        phone_key: None,
    };
    let mut purses = Vec::with_capacity(numbers.len());
    for (at, &number) in numbers.iter().enumerate() {
        let account = AccountId::new(FIRST_ACCOUNT + i64::try_from(first + at)?)?;
        purses.push(Purse { account, unit });
        page.rows.push(DatasetRow::Card(Card {
            number,
            product: "SV".parse()?,
            account,
            status: CardStatus::Active,
            status_stamp: Stamp(1),
            allocated_store: None,
            member: None,
            expires_on: None,
        }));
    }
    let counters = StoreCounters { adopted_minor: HELD_MINOR, ..StoreCounters::default() };
    store
        .write(move |tx| {
            replica::apply_page(tx, &page)?;
            for &purse in &purses {
                allotment::put(tx, purse, counters, Stamp(OPENED_AT.0), OPENED_AT)?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    Ok(())
}
