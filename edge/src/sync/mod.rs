//! Sync: everything between this store and the hub, off the tills' path.
//!
//! Up: reports and released value as soon as something moved, journal segments by and by. Down: grants, recalls, published datasets. One file
//! each; this one holds what they share (the [`Link`]) and the tasks that drive them. Invariant: nothing here decides about money.
//! Counters change through `store::allotment` alone, and whatever the hub says is a total that may come late, twice or in any order.

pub mod api;
pub mod bring;
pub mod circuit;
pub mod download;
pub mod grant;
pub mod hub_client;
#[cfg(test)]
mod ladder_tests;
pub mod parameters;
pub mod park;
#[cfg(test)]
mod park_tests;
#[cfg(test)]
mod policy_tests;
pub mod recall;
pub mod release;
pub mod report;
pub mod session;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod upload;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use huitong_protocol::allotment::rule::Sound;
use huitong_protocol::allotment::{Purse, takes_grant};
use huitong_protocol::bundle::PolicyState;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{Answer, Grant, RefusedLine, SyncFault, path};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::circuit::{Backoff, Circuit};
use self::report::Reported;
use self::session::{CallError, Live, Session};
use self::status::Notices;
use crate::clock::Clock;
use crate::config::SyncConfig;
use crate::continuity::Keeper;
use crate::line::Line;
use crate::store::tenure::HubTurn;
use crate::store::{Store, StoreError, WriteTx, allotment, policy, sync_state};

/// A store that is quiet for this long writes down what was reported, so that status is exact and a restart repeats nothing.
const NOTE_AFTER: Duration = Duration::from_secs(2);

/// How often it is written down that policies are the newest; what status shows is exact while the daemon runs.
const NOTE_POLICIES_EVERY_MS: i64 = 3_600_000;

/// The same of cards. After a restart without a line the ladder takes them for up to this much older than they are; its rungs count in minutes.
const NOTE_CARDS_EVERY_MS: i64 = 300_000;

/// What a session was told last, by its number.
type ToldPolicy = Option<(u64, PolicyState)>;

/// Why something between store and hub did not work out.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The hub gave no answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The store's own database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the hub holds is not a part of this journal: the store or the hub lost its memory, or another store has our name.
    #[error(
        "the hub holds position {hub_seq} of this store's journal with other contents than ours (we are at {own_seq})"
    )]
    Diverged {
        /// Where the hub is.
        hub_seq: u64,
        /// Where we are.
        own_seq: u64,
    },
    /// The hub took what was sent, yet does not hold more than before.
    #[error("the hub stays at position {hub_seq} whatever is sent")]
    Stalled {
        /// Where the hub is.
        hub_seq: u64,
    },
    /// The hub published something that this store cannot use.
    #[error("what the hub published cannot be used: {0}")]
    Unusable(String),
}

impl SyncError {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(call) => call.retry_after(),
            _ => None,
        }
    }
}

/// What all parts share: the database, the session, and what is known of the other side.
pub struct Link {
    pub(crate) store: Store,
    pub(crate) session: Session,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: SyncConfig,
    pub(crate) circuit: Circuit,
    pub(crate) notices: Notices,
    line: Arc<Line>,
    reported: Reported,
    /// The last session whose welcome was read.
    greeted: AtomicU64,
    told_policy: std::sync::Mutex<ToldPolicy>,
    reporting: Mutex<()>,
    releasing: Mutex<release::Cursor>,
    uploading: Mutex<upload::Cursor>,
    downloading: Mutex<()>,
    parking: Mutex<()>,
    /// The hub announced a newer dataset.
    news: Notify,
    /// Value was adopted or the line came back: there may be something to release or report although no till did anything.
    stir: Notify,
}

impl Link {
    /// Makes the link of an enrolled store. Nothing is called yet.
    ///
    /// # Errors
    /// The sync state could not be read.
    pub fn new(
        store: Store,
        session: Session,
        clock: Arc<dyn Clock>,
        config: SyncConfig,
        line: Arc<Line>,
    ) -> Result<Arc<Self>, StoreError> {
        let (state, refused, confirmed) = store.read(|tx| {
            Ok::<_, StoreError>((sync_state::get(tx)?, sync_state::refused(tx)?, sync_state::confirmed(tx)?))
        })?;
        line.policies.resume(confirmed.policies);
        line.cards.resume(confirmed.cards);
        Ok(Arc::new(Self {
            circuit: Circuit::new(line.clone(), config.retry_min.duration()),
            reported: Reported::starting_at(state.reported_change_no, store.committed().hub_turn.life)
                .with_refused(refused),
            notices: Notices::default(),
            line,
            store,
            session,
            clock,
            config,
            greeted: AtomicU64::new(0),
            told_policy: std::sync::Mutex::default(),
            reporting: Mutex::default(),
            releasing: Mutex::default(),
            uploading: Mutex::default(),
            downloading: Mutex::default(),
            parking: Mutex::default(),
            news: Notify::new(),
            stir: Notify::new(),
        }))
    }

    /// The running session. What the hub says in its welcome is taken to heart.
    pub(crate) async fn live(&self) -> Result<Live, SyncError> {
        match self.session.live().await {
            Ok(live) => {
                if self.greeted.fetch_max(live.number, Ordering::Relaxed) < live.number {
                    self.answered();
                }
                // By each that goes on with the session, so that none asks within it before this is known.
                self.reported.meet(live.turn.life, live.number, live.welcome.tells_all);
                Ok(live)
            }
            Err(error) => Err(self.failed(path::HELLO, error)),
        }
    }

    /// Calls the hub with the report riding along, notes how the line is, and adopts the grants that came back.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, body: Q) -> Result<A, SyncError>
    where
        Q: Serialize + Send + Sync,
        A: DeserializeOwned,
    {
        let (answer, turn) = self.exchange(path, body, self.config.call_timeout.duration()).await?;
        self.adopt(answer.grants, turn).await?;
        Ok(answer.body)
    }

    /// As [`Link::call`], but leaves the grants to the caller, with the turn of the session in which they may be taken.
    pub(crate) async fn exchange<Q, A>(
        &self,
        path: &'static str,
        body: Q,
        timeout: Duration,
    ) -> Result<(Answer<A>, HubTurn), SyncError>
    where
        Q: Serialize + Send + Sync,
        A: DeserializeOwned,
    {
        let live = self.live().await?;
        match self.exchange_within(&live, path, &body, timeout).await {
            // Neither is an answer to what was asked: the hub began anew, or the wire sent the message twice and brought the second reply.
            Err(SyncError::Call(CallError::Refused {
                fault: SyncFault::SessionUnknown | SyncFault::Replayed, ..
            })) => {
                let live = self.live().await?;
                Ok((self.exchange_within(&live, path, &body, timeout).await?, live.turn))
            }
            answer => Ok((answer?, live.turn)),
        }
    }

    /// As [`Link::exchange`], within one session and once: for what has no meaning in another.
    pub(crate) async fn exchange_within<Q, A>(
        &self,
        live: &Live,
        path: &'static str,
        body: &Q,
        timeout: Duration,
    ) -> Result<Answer<A>, SyncError>
    where
        Q: Serialize + Send + Sync,
        A: DeserializeOwned,
    {
        let (report, covered) = report::build(self, live)?.unzip();
        let told_end = report.as_ref().map(|report| report.end);
        let policy = self.untold_policy(live.number);
        let asked_ms = self.clock.elapsed_ms();
        let answer = self.session.call(live, path, (report, policy.clone()), body, timeout).await;
        let answer = answer.map_err(|error| self.failed(path, error))?;
        self.answered();
        self.store.committed().hub_clock.answered(&self.clock, asked_ms, answer.server_time_ms);
        if let Some(policy) = policy {
            *self.told_policy.lock().unwrap_or_else(PoisonError::into_inner) = Some((live.number, policy));
        }
        if let Some(end) = told_end {
            self.session.reported(live.turn.life, end);
        }
        let refused: Vec<Purse> =
            answer.refused.iter().map(|line| Purse { account: line.account, unit: line.unit }).collect();
        if let Some(covered) = covered {
            self.notices.told(&covered.told_again());
            if answer.untold {
                self.reported.untold(covered, &refused);
            } else {
                self.reported.took(covered, &refused);
            }
        }
        self.refused(&answer.refused);
        Ok(answer)
    }

    /// How the store stands with its policies, unless this session was told so.
    fn untold_policy(&self, session: u64) -> Option<PolicyState> {
        let state = policy::state(&self.store.committed());
        let told = self.told_policy.lock().unwrap_or_else(PoisonError::into_inner);
        (!matches!(&*told, Some((number, known)) if *number == session && *known == state)).then_some(state)
    }

    /// Whether the running session was not told how the store stands with its policies.
    pub(crate) async fn has_untold_policy(&self) -> bool {
        match self.live().await {
            Ok(live) => self.untold_policy(live.number).is_some(),
            Err(_) => false,
        }
    }

    /// At an instant the hub had no newer policies than the store.
    pub(crate) async fn policies_confirmed(&self, at: Instant) -> Result<(), StoreError> {
        match self.line.policies.confirm(at, self.clock.now(), NOTE_POLICIES_EVERY_MS) {
            Some(at) => self.store.write(move |tx| sync_state::confirm_policies(tx, at)).await,
            None => Ok(()),
        }
    }

    /// At an instant the hub had no newer cards than the store. One that recovers confirms nothing by that: it may have forgotten who was stopped, and hears of
    /// it from the stores that it waits for.
    pub(crate) async fn cards_confirmed(&self, at: Instant, recovers: bool) -> Result<(), StoreError> {
        if recovers {
            return Ok(());
        }
        match self.line.cards.confirm(at, self.clock.now(), NOTE_CARDS_EVERY_MS) {
            Some(at) => self.store.write(move |tx| sync_state::confirm_cards(tx, at)).await,
            None => Ok(()),
        }
    }

    fn failed(&self, path: &'static str, error: CallError) -> SyncError {
        // A refusal is an answer: the line stands. Bulk that does not come through says little of the small messages that tills wait for.
        let is_bulk = matches!(path, path::UPLOAD | path::DATASET | path::PARKED);
        if !is_bulk && !matches!(error, CallError::Refused { .. }) {
            self.circuit.failed(&error, tokio::time::Instant::now());
        }
        error.into()
    }

    fn answered(&self) {
        let was_up = self.circuit.is_up();
        self.circuit.answered(self.clock.now());
        if !was_up {
            self.stir.notify_one();
        }
    }

    fn refused(&self, lines: &[RefusedLine]) {
        for line in lines {
            tracing::error!(
                account = line.account.get(), unit = %line.unit, reason = line.reason,
                "The hub refused the report of account {}: {}", line.account, line.reason
            );
        }
        self.notices.refused_lines(lines);
    }

    /// Adopts grants that came without being asked for here: the answer that brought them first was lost, or their till gave up.
    pub(crate) async fn adopt(&self, grants: Vec<Grant>, turn: HubTurn) -> Result<(), SyncError> {
        if grants.is_empty() {
            return Ok(());
        }
        let Some(currency) = self.store.committed().identity.as_ref().map(|identity| identity.store.currency) else {
            return Ok(());
        };
        // Mostly they are known, and a look takes no turn at the writer.
        let news = self.store.read(|tx| {
            let mut news = Vec::new();
            for grant in grants {
                if allotment::is_news(tx, currency, &grant)? {
                    news.push(grant);
                }
            }
            Ok::<_, StoreError>(news)
        })?;
        if !news.is_empty() {
            let purses = news.iter().map(|grant| Purse { account: grant.account, unit: grant.unit }).collect();
            let now = self.clock.now();
            let keeper = Arc::clone(self.store.continuity());
            let taken = self.store.write(move |tx| {
                let is_taken = may_take(tx, &keeper, turn)?;
                if is_taken {
                    allotment::adopt_grants(tx, now, &news)?;
                }
                Ok::<_, StoreError>(is_taken)
            });
            let taken = taken.await;
            if !matches!(taken, Ok(true)) {
                // Said again when the store may take it; until then nothing is reported.
                self.left(purses);
            }
            taken?;
            self.stir.notify_one();
        }
        Ok(())
    }

    /// Grants were not taken: their session is over, value may not move, or they could not be stored. The hub is asked about their purses again.
    pub(crate) fn left(&self, purses: Vec<Purse>) {
        self.notices.grants_left(purses.len());
        self.ask_again(purses);
    }

    /// Has the next report ask where these purses stand at the hub: what it said of them was lost here.
    pub(crate) fn ask_again(&self, purses: Vec<Purse>) {
        if !purses.is_empty() {
            self.reported.mention(purses);
            self.stir.notify_one();
        }
    }

    /// Waits after a failure; the line coming back, as the poll notices it, ends the wait early.
    pub(crate) async fn pause(&self, wait: Duration) {
        let mut line = self.circuit.watch();
        line.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = line.changed() => {}
        }
    }

    fn backoff(&self, task: &str) -> Backoff {
        let seed = format!("{}/{task}", self.session.enrolment().store);
        Backoff::new(self.config.retry_min.duration(), self.config.retry_max.duration(), &seed)
    }
}

/// Whether a grant may be taken: value may move, and no later session began than the one that it was granted in.
pub(crate) fn may_take(tx: &WriteTx<'_>, keeper: &Keeper, turn: HubTurn) -> Result<bool, StoreError> {
    Ok(takes_grant(&Sound, &tx.chain().hub_turn, &turn) && keeper.gate(tx, tx.chain())?.is_open())
}

/// Starts the tasks of a link: poll, tend (release and report), upload, download. They end when the token is cancelled.
pub fn start(link: &Arc<Link>, tasks: &TaskTracker, stop: &CancellationToken) {
    let spawn = |task: Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.spawn(stop.clone().run_until_cancelled_owned(task));
    };
    spawn(Box::pin(recall::poll(link.clone())));
    spawn(Box::pin(tend(link.clone())));
    spawn(Box::pin(upload::keep_sent(link.clone())));
    spawn(Box::pin(download::keep_current(link.clone())));
}

/// Releases what need not be kept and reports what moved, each time something did.
async fn tend(link: Arc<Link>) {
    let mut changes = link.store.changed();
    let mut backoff = link.backoff("report");
    loop {
        let was_open = link.store.continuity().is_open();
        let wait = match tend_once(&link).await {
            Ok(()) => {
                backoff.reset();
                None
            }
            Err(SyncError::Store(error)) => {
                tracing::error!(error = %error, "Could not release or report: {error}");
                Some(backoff.next(None))
            }
            Err(error) => {
                tracing::debug!(error = %error, "Could not report: {error}");
                Some(backoff.next(error.retry_after()))
            }
        };
        if let Some(wait) = wait {
            // The line coming back, noticed by the poll, ends the wait early.
            link.pause(wait).await;
            continue;
        }
        // The first change after a quiet while is told at once; what follows close behind is gathered.
        tokio::time::sleep(link.config.report_debounce.duration()).await;
        let due = release::next_due(&link).await;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = link.stir.notified() => {}
            () = link.store.continuity().opened(), if !was_open => {}
            () = sleep_until(&link, due) => {}
            () = tokio::time::sleep(NOTE_AFTER), if link.reported.is_unnoted() => {
                if let Err(error) = report::note(&link).await {
                    tracing::warn!(error = %error, "Could not note what was reported; a restart would report it again");
                }
                continue;
            }
        }
        changes.mark_unchanged();
    }
}

async fn sleep_until(link: &Link, due: Option<Instant>) {
    match due {
        Some(at) => link.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One turn of [`tend`]. Also what `wait_reported` does.
pub(crate) async fn tend_once(link: &Link) -> Result<(), SyncError> {
    if !link.store.continuity().is_open() {
        // A till may have been revoked beside the daemon, which ends the wait for it.
        link.store.read(|tx| link.store.continuity().gate(tx, &link.store.committed()))?;
        return Ok(());
    }
    if link.circuit.is_up() {
        release::by_policy(link).await?;
    }
    report::send(link).await
}
