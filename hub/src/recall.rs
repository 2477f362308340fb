//! Recall: asking other stores to give value back, over the long polls that they hold open.
//!
//! All of it is in memory and may be lost: a recall only asks, and who needed it asks again. Per store a bounded queue of numbered recalls, one
//! per purse; a recall is repeated until a poll says that it arrived. Whoever waits for an account is woken when a report on it was taken.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use huitong_protocol::allotment::Purse;
use huitong_protocol::id::{AccountId, StoreId};
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{DatasetKind, DatasetVersion, Recall};
use tokio::sync::Notify;

/// Recalls that one store may have waiting: more than its tills could cause while a poll is under way.
pub const RECALLS_PER_STORE_MAX: usize = 2_000;
/// How often a store is told of new dataset versions at most.
const NEWS_EVERY: Duration = Duration::from_millis(500);
/// How often a store is told that cards changed, when none was stopped or given free. Somewhere in a chain a card is sold every second; a store that misses one asks
/// for it when it is used there, so this only keeps replicas from growing old.
const CARDS_NEWS_EVERY: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Line {
    polls_open: usize,
    last_poll: Option<tokio::time::Instant>,
    /// Its line is known to be dead, whatever polls are still open; until its next one.
    hung_up: bool,
    queue: BTreeMap<u64, Purse>,
    wake: Arc<Notify>,
    told: Option<(Vec<DatasetVersion>, tokio::time::Instant)>,
}

#[derive(Default)]
struct Inner {
    lines: HashMap<StoreId, Line>,
    last_number: u64,
    waiting: HashMap<AccountId, Vec<Arc<Notify>>>,
}

/// All recalls and who waits.
pub struct Recalls {
    grace: Duration,
    inner: Mutex<Inner>,
}

impl Recalls {
    /// `grace`: how long after its last poll a store counts as connected. Numbers begin at the clock's reading, so that those of a hub that was
    /// restarted are above those of its life before.
    #[must_use]
    pub fn new(grace: Duration, now: Instant) -> Self {
        let inner = Inner { last_number: u64::try_from(now.0).unwrap_or(0), ..Inner::default() };
        Self { grace, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a store holds a poll open, or did a moment ago.
    #[must_use]
    pub fn is_connected(&self, store: StoreId) -> bool {
        self.inner()
            .lines
            .get(&store)
            .filter(|line| !line.hung_up)
            .is_some_and(|line| line.polls_open > 0 || line.last_poll.is_some_and(|last| last.elapsed() < self.grace))
    }

    /// The line of a store is known to be dead before its poll ends: until it polls again nobody waits for it.
    pub fn hang_up(&self, store: StoreId) {
        self.inner().lines.entry(store).or_default().hung_up = true;
    }

    /// Asks a store to release a purse. Gives whether it is asked now; a recall that waits already is not doubled.
    pub fn ask(&self, store: StoreId, purse: Purse) -> bool {
        let mut inner = self.inner();
        let number = inner.last_number + 1;
        let line = inner.lines.entry(store).or_default();
        if line.queue.len() >= RECALLS_PER_STORE_MAX || line.queue.values().any(|queued| *queued == purse) {
            return false;
        }
        line.queue.insert(number, purse);
        line.wake.notify_one();
        inner.last_number = number;
        true
    }

    /// Whether a store has not dealt with a recall yet. It has when its next poll says so: until then it has released and reported.
    #[must_use]
    pub fn is_asked(&self, store: StoreId, purse: Purse) -> bool {
        self.inner().lines.get(&store).is_some_and(|line| line.queue.values().any(|queued| *queued == purse))
    }

    /// Opens a poll of a store: it counts as connected until the guard is dropped.
    #[must_use]
    pub fn poll(&self, store: StoreId) -> OpenPoll<'_> {
        let mut inner = self.inner();
        let line = inner.lines.entry(store).or_default();
        line.polls_open += 1;
        line.hung_up = false;
        OpenPoll { recalls: self, store, wake: Arc::clone(&line.wake) }
    }

    /// Remembers which versions a store was told of.
    pub fn told(&self, store: StoreId, versions: &[DatasetVersion]) {
        let mut inner = self.inner();
        let line = inner.lines.entry(store).or_default();
        line.told = Some((versions.to_vec(), tokio::time::Instant::now()));
    }

    /// A card was stopped, or given free again: every poll looks at once.
    pub fn hurry(&self) {
        for line in self.inner().lines.values() {
            line.wake.notify_one();
        }
    }

    /// Begins to wait for reports on accounts. Begin before looking, so that nothing is missed.
    #[must_use]
    pub fn wait_for(&self, accounts: Vec<AccountId>) -> Waiter<'_> {
        let notify = Arc::new(Notify::new());
        let mut inner = self.inner();
        for account in &accounts {
            inner.waiting.entry(*account).or_default().push(Arc::clone(&notify));
        }
        Waiter { recalls: self, accounts, notify }
    }

    /// Whether somebody waits for value of an account.
    #[must_use]
    pub fn is_awaited(&self, account: AccountId) -> bool {
        self.inner().waiting.contains_key(&account)
    }

    /// Wakes who waits for any of these accounts.
    pub fn moved(&self, accounts: &[AccountId]) {
        let inner = self.inner();
        if inner.waiting.is_empty() {
            return;
        }
        for notify in accounts.iter().filter_map(|account| inner.waiting.get(account)).flatten() {
            notify.notify_one();
        }
    }
}

/// A poll that is open.
pub struct OpenPoll<'a> {
    recalls: &'a Recalls,
    store: StoreId,
    wake: Arc<Notify>,
}

impl OpenPoll<'_> {
    /// The recalls after those that arrived, and the number of the last.
    #[must_use]
    pub fn recalls(&self, through: u64) -> (Vec<Recall>, u64) {
        let mut inner = self.recalls.inner();
        // A number that was never given out is of another life of the hub: it says nothing about what arrived.
        let known = through <= inner.last_number;
        let Some(line) = inner.lines.get_mut(&self.store) else { return (Vec::new(), through) };
        let mut dealt_with = Vec::new();
        if known {
            let left = line.queue.split_off(&through.saturating_add(1));
            dealt_with = std::mem::replace(&mut line.queue, left).into_values().map(|purse| purse.account).collect();
        }
        let recalls = line.queue.values().map(|purse| Recall { account: purse.account, unit: purse.unit }).collect();
        let last = line.queue.keys().next_back().copied().unwrap_or(through);
        drop(inner);
        self.recalls.moved(&dealt_with);
        (recalls, last)
    }

    /// When the store may be told of these versions, `None` when it knows them all. News come bundled, and those of cards that were only sold or loaded
    /// can wait, so that a busy day does not send every store off for each of them; not those up to `urgent_cards`, the last that was stopped or given free.
    #[must_use]
    pub fn news_at(&self, versions: &[DatasetVersion], urgent_cards: u64) -> Option<tokio::time::Instant> {
        let inner = self.recalls.inner();
        let line = inner.lines.get(&self.store)?;
        let Some((told, at)) = &line.told else { return Some(tokio::time::Instant::now()) };
        if told == versions {
            return None;
        }
        let is_prompt = |version: &DatasetVersion| version.dataset != DatasetKind::Cards && !told.contains(version);
        let is_cards = |version: &&DatasetVersion| version.dataset == DatasetKind::Cards;
        let knows_urgent = told.iter().find(is_cards).is_some_and(|cards| cards.version >= urgent_cards);
        let can_wait = knows_urgent && !versions.iter().any(is_prompt);
        Some(*at + if can_wait { CARDS_NEWS_EVERY } else { NEWS_EVERY })
    }

    /// The versions that the store was told of last.
    #[must_use]
    pub fn told(&self) -> Option<Vec<DatasetVersion>> {
        self.recalls.inner().lines.get(&self.store)?.told.as_ref().map(|(told, _)| told.clone())
    }

    /// Until there may be something to say.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for OpenPoll<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.recalls.inner().lines.get_mut(&self.store) {
            line.polls_open = line.polls_open.saturating_sub(1);
            line.last_poll = Some(tokio::time::Instant::now());
        }
    }
}

/// Somebody who waits for reports on accounts.
pub struct Waiter<'a> {
    recalls: &'a Recalls,
    accounts: Vec<AccountId>,
    notify: Arc<Notify>,
}

impl Waiter<'_> {
    /// Until a report on one of the accounts was taken since the last time. Gives `false` at the deadline.
    pub async fn moved_before(&self, deadline: tokio::time::Instant) -> bool {
        tokio::time::timeout_at(deadline, self.notify.notified()).await.is_ok()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut inner = self.recalls.inner();
        for account in &self.accounts {
            if let Some(waiting) = inner.waiting.get_mut(account) {
                waiting.retain(|notify| !Arc::ptr_eq(notify, &self.notify));
                if waiting.is_empty() {
                    inner.waiting.remove(account);
                }
            }
        }
    }
}
