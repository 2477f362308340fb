//! Drive: plays events day by day. The clock is wound with the events, a store's till sends one operation at a time, and before a card is used at
//! another store the first one's report has gone through, as minutes pass between two visits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context, ensure};
use huitong_protocol::decline::{Decline, DeclineCode};
use huitong_protocol::id::{OperationId, StoreId};
use huitong_protocol::till::Outcome;
use huitong_protocol::time::BusinessDay;
use tokio::sync::{Semaphore, mpsc, watch};

use super::cards;
use super::event::{Event, EventKind};
use crate::town::{Shop, Town};

/// How many events may be under way: a few minutes of a busy chain, so that the clock stays close to each event's own time.
pub(super) const WINDOW: usize = 48;

/// What a day brought.
#[derive(Clone, Debug, Default)]
pub struct DayResult {
    /// Events played.
    pub events: u64,
    /// Stores that traded.
    pub stores: u64,
    /// Operations declined, with their event's number.
    pub declined: Vec<(u64, Decline)>,
}

/// The code of a store in the town.
///
/// # Panics
/// Never: a number is a code.
#[must_use]
pub fn store_code(store: u32) -> StoreId {
    StoreId::new(&store.to_string()).expect("a number is a code")
}

/// The operation id of an event: made and saved by the till before it sends. It repeats with the event, so that a run can be repeated.
#[must_use]
pub fn operation_of(event_seq: u64, step: u16) -> OperationId {
    let milliseconds = event_seq; // Version 7 wants time first; the event's number sorts as its time does.
    let random = (u128::from(step) << 48) | u128::from(event_seq);
    OperationId(
        uuid::Builder::from_unix_timestamp_millis(
            milliseconds,
            &random.to_be_bytes()[6..16].try_into().expect("ten bytes"),
        )
        .into_uuid(),
    )
}

/// What is known of an event's place among the others of its day.
struct Placed {
    event: Event,
    /// The event of the same card before it, in this day's list, when it was at another store.
    after_other_store: Option<usize>,
    /// The event of the same card before it, in this day's list.
    after: Option<usize>,
}

/// Plays the events of one day: opens the stores that have any, sends every event, closes them again. Uploads are the caller's.
///
/// # Errors
/// When an operation has no outcome, or a store does not open or close.
pub async fn play_day(town: &Arc<Town>, day: BusinessDay, events: &[Event]) -> anyhow::Result<DayResult> {
    let (stores, cut) = (trading(events), Arc::default());
    open(town, day, events, &cut).await?;
    let sent = send_all(town, events, &cut).await?;
    close(town, day, stores.iter().copied()).await?;
    Ok(DayResult { events: events.len() as u64, stores: stores.len() as u64, declined: sent.declined })
}

/// The stores that have events.
pub(super) fn trading(events: &[Event]) -> BTreeSet<u32> {
    events.iter().map(|event| event.store).collect()
}

/// Opens the day at every store that has events. Stores without a line open on what they have.
pub(super) async fn open(
    town: &Arc<Town>,
    day: BusinessDay,
    events: &[Event],
    cut: &Arc<BTreeSet<u32>>,
) -> anyhow::Result<()> {
    let first = events.first().context("a day without events")?;
    town.clock.wind_to(first.at);
    let cut: Arc<BTreeSet<StoreId>> = Arc::new(cut.iter().copied().map(store_code).collect());
    let stores = trading(events).into_iter().map(|store| (store, ())).collect();
    each_store(town, &stores, move |shop| {
        let (key, cut) = (day_operation(shop.id, day_no(day), 1), Arc::clone(&cut));
        async move {
            if !cut.contains(&shop.id) {
                shop.download().await?;
            }
            crate::till::approved(shop.till.open_day(key, Some(day)).await?)
                .with_context(|| format!("store {} did not open {day}", shop.id))?;
            Ok(())
        }
    })
    .await
}

/// Closes the day at stores.
pub(super) async fn close(
    town: &Arc<Town>,
    day: BusinessDay,
    stores: impl IntoIterator<Item = u32>,
) -> anyhow::Result<()> {
    let stores = stores.into_iter().map(|store| (store, ())).collect();
    each_store(town, &stores, move |shop| {
        let key = day_operation(shop.id, day_no(day), 2);
        async move {
            crate::till::approved(shop.till.close_day(key).await?)
                .with_context(|| format!("store {} did not close {day}", shop.id))?;
            Ok(())
        }
    })
    .await
}

/// Days since 1970-01-01.
fn day_no(day: BusinessDay) -> u64 {
    u64::try_from(day.date().duration_since(jiff::civil::Date::constant(1970, 1, 1)).as_hours() / 24).unwrap_or(0)
}

/// The id of a store's own operation on a day.
pub(super) fn day_operation(store: StoreId, day_seq: u64, step: u16) -> OperationId {
    let store_no: u64 = store.as_str().parse().unwrap_or(0);
    operation_of((1 << 40) | (day_seq << 20) | store_no, step)
}

/// Acts at every store of a set, so many at once.
pub(super) async fn each_store<F, R>(town: &Arc<Town>, stores: &BTreeMap<u32, ()>, act: F) -> anyhow::Result<()>
where
    F: Fn(Arc<Shop>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let gate = Arc::new(Semaphore::new(WINDOW));
    let mut tasks = Vec::with_capacity(stores.len());
    for &store in stores.keys() {
        let permit = Arc::clone(&gate).acquire_owned().await?;
        let shop = town.shop(store_code(store))?;
        let act = act.clone();
        tasks.push(tokio::spawn(async move {
            let _permit = permit;
            act(shop).await
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn place(events: &[Event]) -> Vec<Placed> {
    let mut last: HashMap<u32, usize> = HashMap::new();
    events
        .iter()
        .enumerate()
        .map(|(index, event)| {
            let after = last.insert(event.household, index);
            let after_other_store = after.filter(|&before| events[before].store != event.store);
            Placed { event: event.clone(), after_other_store, after }
        })
        .collect()
}

/// What became of events that were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    /// Operations declined, with their event's number.
    pub(super) declined: Vec<(u64, Decline)>,
    /// Loads that could not be taken because the card was sold today and the news of it found no line, in the order of events.
    pub(super) put_off: Vec<Event>,
}

/// A day's events on their way to the tills.
struct Under {
    town: Arc<Town>,
    placed: Vec<Placed>,
    done: Vec<watch::Sender<bool>>,
    /// Stores without a line.
    cut: Arc<BTreeSet<u32>>,
    /// Where cards are sold today.
    sold_at: HashMap<u32, u32>,
}

impl Under {
    /// Whether a store may not have heard that a card was sold today: the sale's store has no line, or the other one has none.
    fn may_be_unheard(&self, event: &Event) -> bool {
        let sold_at = self.sold_at.get(&event.household).filter(|sold_at| **sold_at != event.store);
        sold_at.is_some_and(|sold_at| self.cut.contains(sold_at) || self.cut.contains(&event.store))
    }
}

/// Sends events to their stores' tills, in order per store and per card, within the window.
pub(super) async fn send_all(town: &Arc<Town>, events: &[Event], cut: &Arc<BTreeSet<u32>>) -> anyhow::Result<Sent> {
    let placed = place(events);
    let done = (0..placed.len()).map(|_| watch::Sender::new(false)).collect();
    let sales = events.iter().filter(|event| event.kind == EventKind::Sell);
    let sold_at = sales.map(|event| (event.household, event.store)).collect();
    let under = Arc::new(Under { town: Arc::clone(town), placed, done, cut: Arc::clone(cut), sold_at });
    let window = Arc::new(Semaphore::new(WINDOW));
    let mut queues: HashMap<u32, mpsc::UnboundedSender<(usize, tokio::sync::OwnedSemaphorePermit)>> = HashMap::new();
    let mut tills = Vec::new();
    for (index, Placed { event, .. }) in under.placed.iter().enumerate() {
        let permit = Arc::clone(&window).acquire_owned().await?;
        town.clock.wind_to(event.at);
        let queue = match queues.get(&event.store) {
            Some(queue) => queue,
            None => {
                let (queue, waiting) = mpsc::unbounded_channel();
                tills.push(tokio::spawn(run_till(Arc::clone(&under), event.store, waiting)));
                queues.entry(event.store).or_insert(queue)
            }
        };
        if queue.send((index, permit)).is_err() {
            break; // The till stopped with an error, which is found below.
        }
    }
    drop(queues);
    let mut sent = Sent::default();
    for till in tills {
        let Sent { declined, put_off } = till.await??;
        sent.declined.extend(declined);
        sent.put_off.extend(put_off);
    }
    sent.declined.sort_unstable_by_key(|(seq, _)| *seq);
    sent.put_off.sort_unstable_by_key(|event| event.seq);
    ensure!(under.done.iter().all(|done| *done.borrow()), "not every event was played");
    Ok(sent)
}

async fn run_till(
    under: Arc<Under>,
    store: u32,
    mut waiting: mpsc::UnboundedReceiver<(usize, tokio::sync::OwnedSemaphorePermit)>,
) -> anyhow::Result<Sent> {
    let Under { town, placed, done, cut, .. } = &*under;
    let shop = town.shop(store_code(store))?;
    let mut sent = Sent::default();
    while let Some((index, permit)) = waiting.recv().await {
        let Placed { event, after, after_other_store } = &placed[index];
        if let Some(before) = *after {
            done[before].subscribe().wait_for(|done| *done).await?;
        }
        if let Some(before) = after_other_store.map(|before| placed[before].event.store)
            && !cut.contains(&before)
        {
            // Between two visits the first store's report has long gone through.
            town.shop(store_code(before))?.reported().await?;
        }
        let is_load = event.kind != EventKind::Spend;
        match send(&shop, event, 0).await.with_context(|| format!("event {}", event.seq))? {
            Outcome::Declined { decline, .. } if is_load && needs_news(&decline) && under.may_be_unheard(event) => {
                sent.put_off.push(event.clone());
            }
            Outcome::Declined { decline, .. } => sent.declined.push((event.seq, *decline)),
            _ => {}
        }
        done[index].send_replace(true);
        drop(permit);
    }
    Ok(sent)
}

/// Whether an operation was declined because this store has not heard of the card's sale.
fn needs_news(decline: &Decline) -> bool {
    use DeclineCode::{CardNotActive, UnknownCard, UnknownCardOffline};
    matches!(decline.code, CardNotActive | UnknownCard | UnknownCardOffline)
}

/// Sends an event; each step is an operation of its own.
pub(super) async fn send(shop: &Shop, event: &Event, step: u16) -> anyhow::Result<Outcome> {
    let (key, card, amount) = (operation_of(event.seq, step), cards::of_household(event.household), event.amount_minor);
    match event.kind {
        EventKind::Sell => shop.till.sell(key, card, amount).await,
        EventKind::Reload => shop.till.reload(key, card, amount).await,
        EventKind::Spend => shop.till.spend(key, card, amount).await,
        EventKind::Refund => shop.till.refund(key, card, amount).await,
    }
}

/// Uploads the journals of stores until the hub has all of them.
///
/// # Errors
/// When an upload keeps failing.
pub async fn upload(town: &Arc<Town>, stores: impl IntoIterator<Item = u32>) -> anyhow::Result<()> {
    let stores = stores.into_iter().map(|store| (store, ())).collect();
    each_store(town, &stores, |shop| async move { shop.upload_all().await }).await
}
