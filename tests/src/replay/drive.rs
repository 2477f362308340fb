//! Drive: plays events day by day. The clock is wound with the events, a store's till sends one operation at a time, and before a card is used at
//! another store the first one's report has gone through, as minutes pass between two visits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, ensure};
use huitong_protocol::decline::Decline;
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
    let placed = place(events);
    let stores: BTreeMap<u32, ()> = events.iter().map(|event| (event.store, ())).collect();
    let first = events.first().context("a day without events")?;
    town.clock.wind_to(first.at);
    let day_seq =
        u64::try_from(day.date().duration_since(jiff::civil::Date::constant(1970, 1, 1)).as_hours() / 24).unwrap_or(0);
    each_store(town, &stores, move |shop| {
        let key = day_operation(shop.id, day_seq, 1);
        async move {
            shop.download().await?;
            crate::till::approved(shop.till.open_day(key, Some(day)).await?)
                .with_context(|| format!("store {} did not open {day}", shop.id))?;
            Ok(())
        }
    })
    .await?;

    let declined = send_all(town, placed).await?;

    each_store(town, &stores, move |shop| {
        let key = day_operation(shop.id, day_seq, 2);
        async move {
            crate::till::approved(shop.till.close_day(key).await?)
                .with_context(|| format!("store {} did not close {day}", shop.id))?;
            Ok(())
        }
    })
    .await?;
    Ok(DayResult { events: events.len() as u64, stores: stores.len() as u64, declined })
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

/// Sends events to their stores' tills, in order per store and per card, within the window.
async fn send_all(town: &Arc<Town>, placed: Vec<Placed>) -> anyhow::Result<Vec<(u64, Decline)>> {
    let placed = Arc::new(placed);
    let done: Arc<Vec<watch::Sender<bool>>> = Arc::new((0..placed.len()).map(|_| watch::Sender::new(false)).collect());
    let window = Arc::new(Semaphore::new(WINDOW));
    let mut queues: HashMap<u32, mpsc::UnboundedSender<(usize, tokio::sync::OwnedSemaphorePermit)>> = HashMap::new();
    let mut tills = Vec::new();
    for index in 0..placed.len() {
        let permit = Arc::clone(&window).acquire_owned().await?;
        let event = &placed[index].event;
        town.clock.wind_to(event.at);
        let queue = match queues.get(&event.store) {
            Some(queue) => queue,
            None => {
                let (queue, waiting) = mpsc::unbounded_channel();
                let (town, placed, done) = (Arc::clone(town), Arc::clone(&placed), Arc::clone(&done));
                tills.push(tokio::spawn(run_till(town, event.store, placed, done, waiting)));
                queues.entry(event.store).or_insert(queue)
            }
        };
        if queue.send((index, permit)).is_err() {
            break; // The till stopped with an error, which is found below.
        }
    }
    drop(queues);
    let mut declined = Vec::new();
    for till in tills {
        declined.extend(till.await??);
    }
    declined.sort_unstable_by_key(|(seq, _)| *seq);
    ensure!(done.iter().all(|done| *done.borrow()), "not every event was played");
    Ok(declined)
}

async fn run_till(
    town: Arc<Town>,
    store: u32,
    placed: Arc<Vec<Placed>>,
    done: Arc<Vec<watch::Sender<bool>>>,
    mut waiting: mpsc::UnboundedReceiver<(usize, tokio::sync::OwnedSemaphorePermit)>,
) -> anyhow::Result<Vec<(u64, Decline)>> {
    let shop = town.shop(store_code(store))?;
    let mut declined = Vec::new();
    while let Some((index, permit)) = waiting.recv().await {
        let place = &placed[index];
        if let Some(before) = place.after {
            done[before].subscribe().wait_for(|done| *done).await?;
        }
        if let Some(before) = place.after_other_store {
            // Between two visits the first store's report has long gone through.
            town.shop(store_code(placed[before].event.store))?.reported().await?;
        }
        let outcome = send(&shop, &place.event).await.with_context(|| format!("event {}", place.event.seq))?;
        if let Outcome::Declined { decline, .. } = outcome {
            declined.push((place.event.seq, *decline));
        }
        done[index].send_replace(true);
        drop(permit);
    }
    Ok(declined)
}

async fn send(shop: &Shop, event: &Event) -> anyhow::Result<Outcome> {
    let (key, card, amount) = (operation_of(event.seq, 0), cards::of_household(event.household), event.amount_minor);
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
