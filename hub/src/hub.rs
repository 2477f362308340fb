//! Hub: what the handlers share. The database, the clock, the configuration, and what lives in memory only: sessions, recalls, who was heard when,
//! and the tasks that go on when their request is answered.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use huitong_protocol::bundle::PolicyState;
use huitong_protocol::id::{Epoch, Hash, StoreId};
use huitong_protocol::policy::{GrantSize, Policy};
use huitong_protocol::time::{BusinessDay, Instant};
use huitong_protocol::wire::DatasetVersion;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::HubConfig;
use crate::hot::Lately;
use crate::knowledge::{Knowledge, Word};
use crate::recall::Recalls;
use crate::recovery::{self, RecoveryError};
use crate::refusal::Refusals;
use crate::report::Taken;
use crate::rerate::Books;
use crate::session::{Caller, Sessions};
use crate::stops::Stopped;
use crate::store::root::{self, Hub as Root};
use crate::store::{Store, StoreError, Tx, adoption, dataset, device, hot, hq_token, policy, tenure};
use crate::verification::Verification;

/// How long what stores say of their cards is gathered before it is written down.
const NOTE_KNOWLEDGE_AFTER: Duration = Duration::from_secs(1);

/// What is published: the newest version per dataset, and how far stores are to be told of cards at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// The newest version per dataset.
    pub versions: Vec<DatasetVersion>,
    /// The version of the last card that was stopped, or given free again.
    pub urgent_cards: u64,
    /// Whether this hub was restored and may not know every stop again yet.
    pub recovers: bool,
}

/// The hub.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

/// What all handlers share.
pub struct Shared {
    /// The database.
    pub store: Store,
    /// Who this hub is.
    pub root: Root,
    /// The clock; read by handlers only.
    pub clock: Arc<dyn Clock>,
    /// What it was told before it started.
    pub config: HubConfig,
    /// Who is asking.
    pub sessions: Sessions,
    /// Which refusals are written down.
    pub refusals: Refusals,
    /// Who is asked to give value back, and who waits for it.
    pub recalls: Recalls,
    /// The verification that head office asked for last.
    pub verification: Verification,
    /// Ends the long polls when the hub stops.
    pub stopping: CancellationToken,
    /// Tasks that go on when their request is answered. The daemon ends them when it stops.
    pub tasks: TaskTracker,
    /// Policies compiled for re-rating.
    pub books: Arc<Mutex<Books>>,
    /// Tokens whose use is being written down.
    noting: Mutex<HashSet<Hash>>,
    seen: Mutex<HashMap<StoreId, Instant>>,
    /// What stores said of their policies in this life of the hub, so that saying it again writes nothing.
    policies: Mutex<HashMap<StoreId, (Epoch, PolicyState)>>,
    datasets: tokio::sync::Mutex<Option<(Published, tokio::time::Instant)>>,
    /// Which cards stores have, as they say.
    knowledge: Knowledge,
    grant_size: Mutex<Option<(u64, GrantSize)>>,
}

impl std::ops::Deref for Hub {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Hub {
    /// Makes a hub on a database that `huitong-hub init` has prepared.
    ///
    /// # Errors
    /// [`StoreError`], also when the database was never initialised.
    pub async fn new(config: HubConfig, store: Store, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let root = store.read(root::hub).await?;
        let recalls = Recalls::new(config.connected_grace.duration(), clock.now());
        Ok(Self(Arc::new(Shared {
            store,
            root,
            clock,
            config,
            sessions: Sessions::default(),
            refusals: Refusals::default(),
            recalls,
            verification: Verification::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            books: Arc::default(),
            noting: Mutex::default(),
            seen: Mutex::default(),
            policies: Mutex::default(),
            datasets: tokio::sync::Mutex::default(),
            knowledge: Knowledge::default(),
            grant_size: Mutex::default(),
        })))
    }

    /// Now, by the hub's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A store was heard.
    pub fn heard(&self, store: StoreId, now: Instant) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(store, now);
    }

    /// Writes down when stores were heard, which polls leave in memory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_heard(&self) -> Result<(), StoreError> {
        let noted = self.store.read(device::last_seen_all).await?;
        let news: Vec<(StoreId, Instant)> = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = seen.iter().map(|(store, at)| (*store, *at));
            seen.filter(|(store, at)| noted.get(store).is_none_or(|noted| noted < at)).collect()
        };
        if news.is_empty() {
            return Ok(());
        }
        self.store.write(move |tx| news.iter().try_for_each(|(store, at)| device::heard(tx, *store, *at))).await
    }

    /// When a store was last heard, as far as this life of the hub knows.
    #[must_use]
    pub fn heard_at(&self, store: StoreId) -> Option<Instant> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&store).copied()
    }

    /// When a store was last heard: in memory, else as its last report says; the epoch's beginning when never.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn last_seen(&self, tx: &mut Tx<'_>, store: StoreId) -> Result<Instant, StoreError> {
        match self.heard_at(store) {
            Some(at) => Ok(at),
            None => Ok(device::last_seen(tx, store)?.unwrap_or(Instant(0))),
        }
    }

    /// Writes down that a token was used, beside the answer to whoever shows it: a look-up must not wait until the writer has time. However many ask
    /// meanwhile, it is written once.
    pub fn note_used(&self, token: Hash, now: Instant) {
        if !self.noting.lock().unwrap_or_else(PoisonError::into_inner).insert(token) {
            return;
        }
        let hub = self.clone();
        self.tasks.spawn(async move {
            // That it cannot be written down changes no answer.
            if let Err(error) = hub.store.write(move |tx| hq_token::used(tx, &token, now)).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "Could not note that a token was used");
            }
            hub.noting.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
        });
    }

    /// Takes what a store says of its policies.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_policy_state(&self, store: StoreId, epoch: Epoch, state: PolicyState) -> Result<(), StoreError> {
        let said = (epoch, state);
        if self.policies.lock().unwrap_or_else(PoisonError::into_inner).get(&store) == Some(&said) {
            return Ok(());
        }
        let (now, (epoch, state)) = (self.now(), said.clone());
        self.store.write(move |tx| adoption::state(tx, store, epoch, &state, now)).await?;
        self.policies.lock().unwrap_or_else(PoisonError::into_inner).insert(store, said);
        Ok(())
    }

    /// Takes what a store says of its cards: that it has everything up to a version. What it holds of accounts that no card can pay from any more, as it knows
    /// by now, is asked back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_cards_version(&self, caller: Caller, version: u64) -> Result<(), StoreError> {
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        if !self.knowledge.is_news(caller, version) {
            return Ok(());
        }
        // A store says how far it is before it makes the report that rides along; without one it had told everything, or has moved nothing since its hello.
        let standpoint = move |tx: &mut Tx<'_>| tenure::standpoint(tx, caller.store, caller.epoch);
        let end = self.store.read(standpoint).await?.map_or(caller.head, |at| at.heard.seq.max(caller.head));
        let Some(learnt) = self.knowledge.say(caller, Word { version, end }) else { return Ok(()) };
        // Nothing is waited for in between: a store that hangs up there would leave everybody with a task that nobody started.
        if learnt.is_to_be_noted {
            let hub = self.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(NOTE_KNOWLEDGE_AFTER) => {}
                    () = hub.stopping.cancelled() => {}
                }
                if let Err(error) = hub.note_knowledge().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Could not note which cards stores have");
                }
            });
        }
        let idle = move |tx: &mut Tx<'_>| hot::idle_at(tx, (caller.store, caller.epoch), (learnt.after, version));
        for purse in self.store.read(idle).await? {
            self.recalls.ask(caller.store, purse);
        }
        Ok(())
    }

    /// Writes down what stores said of their cards, all of them at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_knowledge(&self) -> Result<(), StoreError> {
        let news = self.knowledge.take_news();
        if news.is_empty() {
            return Ok(());
        }
        let said = news.clone();
        let written = self
            .store
            .write(move |tx| {
                let each = |(store, epoch, words): &(StoreId, Epoch, [Word; 2])| {
                    words.iter().try_for_each(|word| tenure::has_cards(tx, *store, *epoch, *word))
                };
                said.iter().try_for_each(each)
            })
            .await;
        if written.is_err() {
            self.knowledge.give_back(&news);
        }
        written
    }

    /// What this life of the hub knows and the database only a little later.
    #[must_use]
    pub fn lately(&self) -> Lately {
        let heard = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Lately { heard, cards: self.knowledge.all() }
    }

    /// After a report was committed: wakes who waits for its accounts, and all stores when a card was stopped or given free.
    pub fn announce(&self, taken: &Taken) {
        self.recalls.moved(&taken.accounts);
        self.stopped(&taken.stopped);
    }

    /// After it was committed that cards were stopped or given free: wakes all stores. What connected stores hold that no card can take any more is asked back;
    /// the others are asked when they say that they know.
    pub fn stopped(&self, stopped: &Stopped) {
        for (store, purse) in stopped.idle.iter().filter(|(store, _)| self.recalls.is_connected(*store)) {
            self.recalls.ask(*store, *purse);
        }
        if stopped.is_urgent {
            self.recalls.hurry();
        }
    }

    /// Writes down, outside the database, what a restored backup of it would have forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remember(&self) -> Result<(), StoreError> {
        let file = self.store.path().with_file_name("").join(&self.config.recovery_log);
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || recovery::remember(&store, &file)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(RecoveryError::Store(error))) => Err(error),
            Ok(Err(fault)) => Err(StoreError::Rule { operation: "write the recovery log", fault: fault.to_string() }),
            Err(_) => Err(StoreError::Stopped),
        }
    }

    /// The newest version per dataset.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn datasets(&self) -> Result<Vec<DatasetVersion>, StoreError> {
        self.store.read(dataset::versions).await
    }

    /// The newest version per dataset, read at or after an instant: thousands of polls that look at the same moment share one read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn datasets_since(&self, since: tokio::time::Instant) -> Result<Published, StoreError> {
        let mut known = self.datasets.lock().await;
        if let Some((published, read_at)) = &*known
            && *read_at >= since
        {
            return Ok(published.clone());
        }
        let read_at = tokio::time::Instant::now();
        let look = |tx: &mut Tx<'_>| {
            Ok::<_, StoreError>(Published {
                versions: dataset::versions(tx)?,
                urgent_cards: dataset::urgent_cards(tx)?,
                recovers: tenure::recovers(tx)?,
            })
        };
        let published = self.store.read(look).await?;
        *known = Some((published.clone(), read_at));
        Ok(published)
    }

    /// How much a grant gives by the policy in force today, on the clock of the hub's zone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn grant_size(&self, tx: &mut Tx<'_>, now: Instant) -> Result<GrantSize, StoreError> {
        let today = self.today(now);
        let version = policy::version_in_force(tx, today)?;
        if version == 0 {
            return Ok(GrantSize::default());
        }
        let mut known = self.grant_size.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, size)) = *known
            && of == version
        {
            return Ok(size);
        }
        let read = match policy::in_force(tx, today) {
            Ok(Some(kept)) => toml::from_str(&kept.bundle.document).map_err(|fault| fault.to_string()),
            Ok(None) => return Ok(GrantSize::default()),
            Err(StoreError::Value { fault, .. }) => Err(fault),
            Err(other) => return Err(other),
        };
        let size = read.map_or_else(
            |fault: String| {
                // Members get their value all the same; only how much of it follows them at once is not as the policy says.
                tracing::error!(
                    policy.version = version,
                    "Grants are not sized by policy {version}, which cannot be read: {fault}"
                );
                GrantSize::default()
            },
            |policy: Policy| policy.allotment.grant,
        );
        *known = Some((version, size));
        Ok(size)
    }

    /// Today, on the clock of the hub's zone.
    #[must_use]
    pub fn today(&self, now: Instant) -> BusinessDay {
        today(&self.config.time_zone, now)
    }
}

/// The day on the clock of a zone; of one that is not known, UTC.
#[must_use]
pub fn today(time_zone: &str, now: Instant) -> BusinessDay {
    let zone = jiff::tz::TimeZone::get(time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let at = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    BusinessDay::of(at.to_zoned(zone).date())
}
