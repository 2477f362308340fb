//! Offline: a replay in which stores have whole days without a line, and value is parked at night for the members who come there.
//!
//! Which store is silent on which date is drawn from seed, store and date alone, so that another allocator meets the same days. Such a store says and
//! hears nothing from the first to the last minute of its date; in the nights between every line stands. A spend that is declined is paid wholly by other
//! means. Loads are always taken: of a card that was sold today where the news of it found no line, in the night, before the store closes;
//! there they stand among the accepted events.
//!
//! Checked after every night: no counter below zero; every account's value, in the pool and at its stores, is what its accepted events come to; and every
//! store's own counters are what the hub knows of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use huitong_hub::allot::{self, Ask};
use huitong_hub::store::StoreError;
use huitong_hub::{account, hub};
use huitong_protocol::id::{AccountId, StoreId};
use huitong_protocol::parking::{Allocator, ParkingRules};
use huitong_protocol::time::{BusinessDay, Instant};
use serde::Serialize;

use super::cards;
use super::drive::{self, Sent, store_code};
use super::event::{Event, EventKind};
use super::holdings;
use super::outcome::{Capital, Summary};
use crate::till::approved;
use crate::town::Town;

/// Shares of stores are given in thousandths, rules count in millionths.
const PER_MILLE_PPM: i64 = 1_000;
/// How many times stores ask for what is parked: once to release, once to get what others have released.
const ROUNDS: usize = 2;
/// How often the hub and the stores are looked at before they are said to differ.
const LOOKS_MAX: usize = 3;

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
    /// Somebody who knows each account's first store of tomorrow, and parks everything there: the limit that others are held against. Where accounts go
    /// on to later in the day it does not know.
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
    /// The events that were taken in the night.
    pub(super) put_off: BTreeSet<u64>,
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
        // Those that took every load close with their customers, those without a line too; the others close in the night.
        let waiting: BTreeSet<u32> = put_off.iter().map(|event| event.store).collect();
        drive::close(town, day, trading.difference(&waiting).copied()).await?;
        town.clock.wind_to(end_of(day, &town.hub.config.time_zone)?);
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
        drive::close(town, day, waiting).await?;
        let reporting = trading.iter().map(|store| (*store, ())).collect();
        drive::each_store(town, &reporting, |shop| async move { shop.reported().await }).await?;
        self.summary.store_days += trading.intersection(&silent).count() as u64;
        self.summary.put_off += put_off.len() as u64;
        let put_off = put_off.iter().map(|event| event.seq).collect();
        self.count(events, &silent, &declined, &put_off)?;
        Ok(Day { declined, put_off })
    }

    fn count(
        &mut self,
        events: &[Event],
        silent: &BTreeSet<u32>,
        declined: &[(u64, huitong_protocol::decline::Decline)],
        put_off: &BTreeSet<u64>,
    ) -> anyhow::Result<()> {
        let declined: BTreeMap<u64, i64> =
            declined.iter().map(|(seq, decline)| (*seq, decline.available_here_minor.unwrap_or(0))).collect();
        for event in as_taken(events, put_off) {
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
            if *balance_minor < 0 {
                let words = format!("event {}: account {account} is at {balance_minor}", event.seq);
                self.summary.overdrawn(words);
            }
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

    /// Compares what the hub and the stores hold with what the accepted events come to, and each store's counters with what the hub knows of them.
    async fn check(&mut self, town: &Town) -> anyhow::Result<()> {
        let Looked { pools, lines, stores } = look(town).await?;
        let summary = &mut self.summary;
        let (mut sums, mut parked_minor) = (BTreeMap::new(), 0);
        for (account, minor) in pools {
            if minor < 0 {
                summary.overdrawn(format!("the pool of account {account} is at {minor}"));
            }
            sums.insert(account, minor);
        }
        for (&(account, store), &minor) in &lines {
            if minor < 0 {
                summary.overdrawn(format!("account {account} is at {minor} at store {store}, by the hub's knowledge"));
            }
            *sums.entry(account).or_default() += minor;
            parked_minor += i128::from(minor);
        }
        for (account, balance_minor) in &self.balances {
            let found = sums.remove(account).unwrap_or(0);
            summary.balances_checked += 1;
            if found != *balance_minor {
                summary.differs(format!("account {account} holds {found}, its events come to {balance_minor}"));
            }
        }
        for (account, found) in sums.into_iter().filter(|(_, minor)| *minor != 0) {
            summary.differs(format!("account {account} holds {found} without events"));
        }
        let mut known = lines;
        for ((account, store), minor) in stores {
            summary.counters_checked += 1;
            if minor < 0 {
                summary.overdrawn(format!("account {account} is at {minor} at store {store}"));
            }
            let hub_minor = known.remove(&(account, store)).unwrap_or(0);
            if minor != hub_minor {
                summary.differs(format!("store {store} has {minor} of account {account}, the hub knows {hub_minor}"));
            }
        }
        for ((account, store), minor) in known.into_iter().filter(|(_, minor)| *minor != 0) {
            summary.differs(format!("store {store} has nothing of account {account}, the hub knows {minor}"));
        }
        let float_minor = self.balances.values().map(|minor| i128::from(*minor)).sum();
        summary.end = Capital { parked_minor, float_minor };
        summary.nightly.parked_minor += parked_minor;
        summary.nightly.float_minor += float_minor;
        summary.nights += 1;
        summary.checked_days += 1;
        Ok(())
    }
}

/// Events in the order in which they were taken: those that were put off at the end.
pub(super) fn as_taken<'a>(events: &'a [Event], put_off: &BTreeSet<u64>) -> impl Iterator<Item = &'a Event> + use<'a> {
    let (later, first): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| put_off.contains(&event.seq));
    first.into_iter().chain(later)
}

/// What the hub and the stores hold at night.
struct Looked {
    pools: Vec<(AccountId, i64)>,
    lines: BTreeMap<(AccountId, StoreId), i64>,
    stores: BTreeMap<(AccountId, StoreId), i64>,
}

/// Looks at the hub and then at the stores. A store that gave value back between the two, on a recall that came late, reports it and all is looked at again;
/// what still differs then differs.
async fn look(town: &Town) -> anyhow::Result<Looked> {
    let mut tries_left = LOOKS_MAX;
    loop {
        tries_left -= 1;
        let (pools, lines) =
            town.hub.store.read(|tx| Ok::<_, StoreError>((holdings::pools(tx)?, holdings::lines(tx)?))).await?;
        let (mut stores, mut moving) = (BTreeMap::new(), Vec::new());
        for shop in town.shops() {
            let held = shop.edge.store().read(holdings::available)?;
            let differs =
                |(account, minor): &(AccountId, i64)| lines.get(&(*account, shop.id)).copied().unwrap_or(0) != *minor;
            if held.iter().any(differs) {
                moving.push(shop);
            }
            stores.extend(held.into_iter().map(|(account, minor)| ((account, shop.id), minor)));
        }
        if moving.is_empty() || tries_left == 0 {
            return Ok(Looked { pools, lines, stores });
        }
        for shop in moving {
            shop.reported().await?;
        }
    }
}

/// The end of a date on the stores' clocks.
fn end_of(day: BusinessDay, time_zone: &str) -> anyhow::Result<Instant> {
    let midnight = day.date().tomorrow()?.in_tz(time_zone).with_context(|| format!("{day} has no end"))?;
    Ok(Instant(midnight.timestamp().as_millisecond()))
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
    fn a_date_ends_at_midnight_on_the_wall_also_when_clocks_change() {
        let end = |day: &str| end_of(day.parse().unwrap(), "America/New_York").unwrap();
        assert_eq!(end("2026-03-07"), Instant(1_772_946_000_000));
        assert_eq!(end("2026-03-08"), Instant(1_772_946_000_000 + 23 * 3_600_000));
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
