//! Offline: a replay in which stores have whole days without a line, and value is parked at night for the members who come there.
//!
//! Which store is silent on which date is drawn from seed, store and date alone, so that another allocator meets the same days. Such a store says and
//! hears nothing from the first to the last minute of its date; in the nights between every line stands. A spend that is declined is paid wholly by other
//! means. Loads are always taken: of a card that was sold today where the news of it found no line, in the night, before the store closes.
//!
//! Checked after every night: no counter below zero, and every account's value, in the pool and at its stores, is what its accepted events come to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use huitong_edge::store::allotment as counters;
use huitong_hub::allot::{self, Ask};
use huitong_hub::store::StoreError;
use huitong_hub::{account, hub};
use huitong_protocol::id::{AccountId, StoreId};
use huitong_protocol::parking::{Allocator, ParkingRules};
use huitong_protocol::time::BusinessDay;
use huitong_protocol::unit::Unit;
use serde::Serialize;

use super::cards;
use super::drive::{self, Sent, store_code};
use super::event::{Event, EventKind};
use crate::till::approved;
use crate::town::Town;

/// Shares of stores are given in thousandths, rules count in millionths.
const PER_MILLE_PPM: i64 = 1_000;
/// How many times stores ask for what is parked: once to release, once to get what others have released.
const ROUNDS: usize = 2;
/// Rows of one look at a store's counters.
const LOOK_ROWS: usize = 5_000;

/// Who decides where value is parked, as the command line names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Chooser {
    /// Nothing is parked.
    Pool,
    /// Everything where the member was last.
    LastStore,
    /// Everything where the member comes most.
    MostVisited,
    /// To each store its share of the visits.
    Proportional,
    /// The planner.
    #[default]
    Planner,
    /// Somebody who knows each account's first store of tomorrow: what no allocator can do better.
    Clairvoyant,
}

impl Chooser {
    const fn allocator(self) -> Allocator {
        match self {
            Self::Pool | Self::Clairvoyant => Allocator::Pool,
            Self::LastStore => Allocator::LastStore,
            Self::MostVisited => Allocator::MostVisited,
            Self::Proportional => Allocator::Proportional,
            Self::Planner => Allocator::Planner,
        }
    }
}

/// What became of spends at one sort of stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Spends {
    /// Tried.
    pub attempts: u64,
    /// Approved in full.
    pub in_full: u64,
    /// Declined, though the store could have taken a part.
    pub in_part: u64,
    /// Declined, and nothing was there.
    pub nothing: u64,
}

impl Spends {
    fn count(&mut self, outcome: Option<i64>) {
        self.attempts += 1;
        match outcome {
            None => self.in_full += 1,
            Some(available_minor) if available_minor > 0 => self.in_part += 1,
            Some(_) => self.nothing += 1,
        }
    }

    fn declined(&self) -> u64 {
        self.in_part + self.nothing
    }
}

/// What came of the days without a line.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// The share of stores, in thousandths.
    pub share_per_mille: u32,
    /// Who decided.
    pub allocator: Chooser,
    /// Days of a store that had customers and no line.
    pub store_days: u64,
    /// Spends at stores without a line.
    pub offline: Spends,
    /// Spends at stores with one: what is declined there lies at a store without.
    pub connected: Spends,
    /// Loads that were taken in the night.
    pub put_off: u64,
    /// Nights.
    pub nights: u64,
    /// What was parked in the nights, all added up, in minor units.
    pub parked_minor: i128,
    /// What accounts held in the nights, all added up, in minor units.
    pub float_minor: i128,
    /// What stores lacked of their targets after the nights, in purses: value that was out of reach.
    pub lacking: u64,
    /// As the hub judged its own plans: accounts that came since the plan before, and those of them whose first basket was paid by what was parked.
    pub plans_came: u64,
    /// See `plans_came`.
    pub plans_covered: u64,
    /// Day ends at which every account was found to hold what its events come to.
    pub checked_days: u64,
}

/// A part of a whole in per cent, to hundredths.
fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offline, connected, .. } = self;
        writeln!(
            f,
            "offline     {}.{} % of stores each day, {} days·stores with customers, allocator {:?}",
            self.share_per_mille / 10,
            self.share_per_mille % 10,
            self.store_days,
            self.allocator
        )?;
        for (name, spends) in [("no line", offline), ("connected", connected)] {
            writeln!(
                f,
                "{name:<11} {} spends tried, {} approved in full ({}), {} refused with a part here, {} with nothing ({} refused)",
                spends.attempts,
                spends.in_full,
                percent(spends.in_full, spends.attempts),
                spends.in_part,
                spends.nothing,
                percent(spends.declined(), spends.attempts)
            )?;
        }
        let (full, all) = (offline.in_full + connected.in_full, offline.attempts + connected.attempts);
        writeln!(f, "all         {} of {all} spends approved in full ({})", full, percent(full, all))?;
        let part = |minor: i128| u64::try_from(minor).unwrap_or(u64::MAX);
        writeln!(
            f,
            "parked      {} of what accounts hold, over {} nights; {} purses lacked something",
            percent(part(self.parked_minor), part(self.float_minor)),
            self.nights,
            self.lacking
        )?;
        writeln!(
            f,
            "plans       {} accounts came, what was parked paid the first basket of {}",
            self.plans_came,
            percent(self.plans_covered, self.plans_came)
        )?;
        writeln!(
            f,
            "day ends    {} checked: nothing overdrawn, nothing lost; {} loads taken in the night",
            self.checked_days, self.put_off
        )
    }
}

/// The lines of a replay.
pub(super) struct Offline {
    seed: u64,
    per_mille: u32,
    chooser: Chooser,
    accounts: BTreeMap<u32, AccountId>,
    /// What accepted events come to.
    balances: BTreeMap<AccountId, i64>,
    pub(super) summary: Summary,
}

/// What a day brought.
pub(super) struct Day {
    pub(super) declined: Vec<(u64, huitong_protocol::decline::Decline)>,
}

impl Offline {
    /// The chapter of the policy.
    pub(super) fn chapter(per_mille: u32, chooser: Chooser) -> String {
        let offline_ppm = i64::from(per_mille) * PER_MILLE_PPM;
        format!("parking = {{ allocator = \"{}\", offline_ppm = {offline_ppm} }}\n", chooser.allocator())
    }

    pub(super) async fn new(town: &Town, seed: u64, per_mille: u32, chooser: Chooser) -> anyhow::Result<Self> {
        let accounts = town.hub.store.read(card_numbers).await?;
        let accounts = accounts
            .into_iter()
            .map(|(account, card)| Ok((cards::household(&card)?, account)))
            .collect::<anyhow::Result<_>>()?;
        let summary = Summary { share_per_mille: per_mille, allocator: chooser, ..Summary::default() };
        Ok(Self { seed, per_mille, chooser, accounts, balances: BTreeMap::new(), summary })
    }

    /// Whether a store is silent on a date.
    fn is_silent(&self, store: StoreId, day: BusinessDay) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(store.as_str().as_bytes()).update(day.to_string().as_bytes());
        let word = hasher.finalize().as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        word % 1_000 < u64::from(self.per_mille)
    }

    fn silent(&self, town: &Town, day: BusinessDay) -> anyhow::Result<Arc<BTreeSet<u32>>> {
        Ok(Arc::new(numbers(town)?.into_iter().filter(|store| self.is_silent(store_code(*store), day)).collect()))
    }

    /// Plays the events of a day up to its close; in the end every line stands again.
    pub(super) async fn play_day(
        &mut self,
        town: &Arc<Town>,
        day: BusinessDay,
        events: &[Event],
    ) -> anyhow::Result<Day> {
        let silent = self.silent(town, day)?;
        for &store in silent.iter() {
            town.shop(store_code(store))?.wire.cut(true);
        }
        drive::open(town, day, events, &silent).await?;
        // By now customers may come: the hub knows which stores it can ask for value.
        for shop in town.shops() {
            if self.is_silent(shop.id, day) {
                town.hub.recalls.hang_up(shop.id);
            } else {
                town.connected(shop.id).await?;
            }
        }
        let Sent { declined, put_off } = drive::send_all(town, events, &silent).await?;
        let trading = drive::trading(events);
        // Those that took every load close without a line; the others wait for it, and close in the night.
        let waiting: BTreeSet<u32> = put_off.iter().map(|event| event.store).collect();
        let alone: BTreeSet<u32> =
            trading.intersection(&silent).copied().filter(|store| !waiting.contains(store)).collect();
        drive::close(town, day, alone.iter().copied()).await?;
        for &store in silent.iter() {
            town.shop(store_code(store))?.wire.cut(false);
        }
        let lines = silent.iter().map(|store| (*store, ())).collect();
        drive::each_store(town, &lines, |shop| async move {
            shop.edge.reconnect().await.with_context(|| format!("store {} did not reconnect", shop.id))?;
            shop.reported().await
        })
        .await?;
        for event in &put_off {
            let shop = town.shop(store_code(event.store))?;
            approved(drive::send(&shop, event, 1).await?)
                .with_context(|| format!("event {} in the night", event.seq))?;
            shop.reported().await?;
        }
        drive::close(town, day, trading.difference(&alone).copied()).await?;
        let reporting = trading.iter().map(|store| (*store, ())).collect();
        drive::each_store(town, &reporting, |shop| async move { shop.reported().await }).await?;
        self.summary.store_days += trading.intersection(&silent).count() as u64;
        self.summary.put_off += put_off.len() as u64;
        self.count(events, &silent, &declined)?;
        Ok(Day { declined })
    }

    fn count(
        &mut self,
        events: &[Event],
        silent: &BTreeSet<u32>,
        declined: &[(u64, huitong_protocol::decline::Decline)],
    ) -> anyhow::Result<()> {
        let declined: BTreeMap<u64, i64> =
            declined.iter().map(|(seq, decline)| (*seq, decline.available_here_minor.unwrap_or(0))).collect();
        for event in events {
            let account = *self.accounts.get(&event.household).context("a household has no account")?;
            let balance_minor = self.balances.entry(account).or_default();
            let refused = declined.get(&event.seq).copied();
            if event.kind != EventKind::Spend {
                ensure!(refused.is_none(), "event {}: a load was declined", event.seq);
                *balance_minor += event.amount_minor;
                continue;
            }
            let side =
                if silent.contains(&event.store) { &mut self.summary.offline } else { &mut self.summary.connected };
            side.count(refused);
            if refused.is_none() {
                *balance_minor -= event.amount_minor;
            }
            ensure!(*balance_minor >= 0, "event {}: account {account} is overdrawn", event.seq);
        }
        Ok(())
    }

    /// The night after a day, when the journals are at the hub: plans, has stores release and ask, checks, and brings stores that will be silent tomorrow
    /// up to date.
    pub(super) async fn night(
        &mut self,
        town: &Arc<Town>,
        tomorrow: Option<(BusinessDay, &[Event])>,
    ) -> anyhow::Result<()> {
        self.plan(town, tomorrow.map(|(_, events)| events)).await?;
        let stores: BTreeMap<u32, ()> = numbers(town)?.into_iter().map(|store| (store, ())).collect();
        let lacking = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..ROUNDS {
            lacking.store(0, std::sync::atomic::Ordering::SeqCst);
            let sum = Arc::clone(&lacking);
            drive::each_store(town, &stores, move |shop| {
                let sum = Arc::clone(&sum);
                async move {
                    let lacks = shop.edge.park().await.with_context(|| format!("store {} could not park", shop.id))?;
                    sum.fetch_add(lacks, std::sync::atomic::Ordering::SeqCst);
                    Ok(())
                }
            })
            .await?;
        }
        self.summary.lacking += lacking.load(std::sync::atomic::Ordering::SeqCst) as u64;
        self.check(town).await?;
        // What they adopted and released stands in their journals, also of stores that had no customers.
        drive::upload(town, stores.keys().copied()).await?;
        if let Some((day, events)) = tomorrow {
            let silent = self.silent(town, day)?;
            let silent = drive::trading(events).intersection(&silent).map(|store| (*store, ())).collect();
            drive::each_store(town, &silent, |shop| async move { shop.download().await }).await?;
        }
        Ok(())
    }

    async fn plan(&mut self, town: &Town, tomorrow: Option<&[Event]>) -> anyhow::Result<()> {
        let mut next_stores = BTreeMap::new();
        for event in tomorrow.unwrap_or_default() {
            let account = *self.accounts.get(&event.household).context("a household has no account")?;
            next_stores.entry(account).or_insert(store_code(event.store));
        }
        let next_stores = (self.chooser == Chooser::Clairvoyant).then(|| Arc::new(next_stores));
        let (store, now, zone) = (town.hub.store.clone(), town.hub.now(), town.hub.config.time_zone.clone());
        let planned = tokio::task::spawn_blocking(move || {
            let rules: ParkingRules = store.read_blocking(|tx| allot::rules(tx, hub::today(&zone, now)))?;
            allot::apply(&store, &Ask { rules, everyone: false, next_stores }, 0, now)
        })
        .await??;
        self.summary.plans_came += planned.outcome.came;
        self.summary.plans_covered += planned.outcome.covered;
        Ok(())
    }

    /// Compares what the hub and the stores hold with what the accepted events come to.
    async fn check(&mut self, town: &Town) -> anyhow::Result<()> {
        let (free, held) = town.hub.store.read(|tx| Ok::<_, StoreError>((pools(tx)?, lines(tx)?))).await?;
        let mut sums: BTreeMap<AccountId, i64> = free;
        for &(account, store, minor) in &held {
            ensure!(minor >= 0, "account {account} is below nothing at store {store}");
            *sums.entry(account).or_default() += minor;
        }
        for (account, balance_minor) in &self.balances {
            let found = sums.remove(account).unwrap_or(0);
            ensure!(found == *balance_minor, "account {account} holds {found}, its events come to {balance_minor}");
        }
        ensure!(sums.values().all(|minor| *minor == 0), "accounts without events hold something");
        let parked: i64 = held.iter().map(|(_, _, minor)| minor).sum();
        let mut at_stores = 0_i64;
        for shop in town.shops() {
            at_stores += shop.edge.store().read(available)?;
        }
        ensure!(at_stores == parked, "stores hold {at_stores}, by the hub's knowledge they hold {parked}");
        self.summary.nights += 1;
        self.summary.checked_days += 1;
        self.summary.parked_minor += i128::from(parked);
        self.summary.float_minor += self.balances.values().map(|minor| i128::from(*minor)).sum::<i128>();
        Ok(())
    }
}

/// Every store of a town.
pub(super) fn numbers(town: &Town) -> anyhow::Result<BTreeSet<u32>> {
    town.shops().map(|shop| shop.id.as_str().parse().context("a store is not a number")).collect()
}

fn card_numbers(tx: &mut huitong_hub::store::Tx<'_>) -> Result<Vec<(AccountId, String)>, StoreError> {
    let mut numbers = Vec::new();
    account::card_numbers(tx, |account, number| numbers.push((account, number.to_owned())))?;
    Ok(numbers)
}

fn account_of(number: i64) -> Result<AccountId, StoreError> {
    AccountId::new(number).map_err(|fault| StoreError::Rule { operation: "read an account", fault: fault.to_string() })
}

/// What is free per account; refuses a pool below nothing.
fn pools(tx: &mut huitong_hub::store::Tx<'_>) -> Result<BTreeMap<AccountId, i64>, StoreError> {
    let sql = "SELECT account_id, loaded_minor - spent_minor + released_minor - granted_minor FROM pool WHERE unit <> 'points'";
    let rows = tx.query(sql, &[], |row| Ok((account_of(row.integer(0)?)?, row.integer(1)?)))?;
    match rows.iter().find(|(_, free)| *free < 0) {
        Some((account, free)) => {
            Err(StoreError::Rule { operation: "check the pools", fault: format!("account {account} has {free}") })
        }
        None => Ok(rows.into_iter().collect()),
    }
}

/// What each store holds of each account, as the hub knows.
fn lines(tx: &mut huitong_hub::store::Tx<'_>) -> Result<Vec<(AccountId, StoreId, i64)>, StoreError> {
    tx.query(
        "SELECT account_id, store_id, granted_minor + loaded_minor - spent_minor - released_minor FROM allotment WHERE unit <> 'points'",
        &[],
        |row| Ok((account_of(row.integer(0)?)?, row.parsed(1, "allotment", "store_id")?, row.integer(2)?)),
    )
}

/// What a store can spend of all accounts together.
fn available(tx: &huitong_edge::store::ReadTx<'_>) -> Result<i64, huitong_edge::store::StoreError> {
    let (mut after, mut sum) = (0, 0);
    loop {
        let page = counters::changed_after(tx, after, LOOK_ROWS)?;
        let Some((last, _)) = page.last() else { return Ok(sum) };
        after = *last;
        let money = page.iter().filter(|(_, line)| line.unit != Unit::Points);
        sum += money.map(|(_, line)| line.counters.available_minor()).sum::<i64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent_days(seed: u64, per_mille: u32) -> Vec<(u32, u8)> {
        let lines = Offline {
            seed,
            per_mille,
            chooser: Chooser::Planner,
            accounts: BTreeMap::new(),
            balances: BTreeMap::new(),
            summary: Summary::default(),
        };
        let day = |no: u8| format!("2026-11-{no:02}").parse::<BusinessDay>().unwrap();
        let days = (1..=100_u32).flat_map(|store| (1..=30_u8).map(move |no| (store, no)));
        days.filter(|(store, no)| lines.is_silent(store_code(*store), day(*no))).collect()
    }

    #[test]
    fn silence_is_drawn_by_seed_store_and_date_alone() {
        assert_eq!(silent_days(1, 0), []);
        assert_eq!(silent_days(1, 1_000).len(), 3_000);
        let (few, many) = (silent_days(1, 20), silent_days(1, 300));
        assert_eq!(few, silent_days(1, 20));
        assert_ne!(few, silent_days(2, 20));
        assert!((30..=90).contains(&few.len()) && (800..=1_000).contains(&many.len()), "{} {}", few.len(), many.len());
        assert!(few.iter().all(|day| many.contains(day)), "more silence keeps the days that were silent");
    }
}
