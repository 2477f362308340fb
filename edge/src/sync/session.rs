//! A session with the hub: says hello, signs every request, packs and unpacks, and tells apart why a call failed.
//!
//! Trying again belongs to who calls. Invariant: no nonce is used twice in a session, and a request is signed over exactly the bytes sent.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use huitong_protocol::bundle::PolicyState;
use huitong_protocol::id::{Epoch, GroupId, StoreId};
use huitong_protocol::journal::Head;
use huitong_protocol::tenure::Assured;
use huitong_protocol::till::Witness;
use huitong_protocol::time::Instant;
use huitong_protocol::wire::{
    Answer, Hello, PROTOCOL_VERSION, Refused, Report, Request, SyncFault, Welcome, from_msgpack, header, path,
    signed_text, to_msgpack,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::hub_client::{HttpPost, HttpReply, HubClient, HubDown};
use crate::clock::Clock;
use crate::identity::{StoreKey, random_bytes};
use crate::store::tenure::{self, HubTurn};
use crate::store::{Store, StoreError, journal, sync_state};

/// The body is MessagePack.
pub(crate) const MSGPACK: (&str, &str) = ("content-type", "application/msgpack");

/// How long a hello may take: the hub answers it from memory.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a call gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The hub did not answer; what was asked may have happened.
    #[error(transparent)]
    Down(#[from] HubDown),
    /// The hub has too much to do.
    #[error("the hub is busy: {message}")]
    Busy {
        /// How long it wants to be left alone, in seconds.
        retry_after_s: Option<u64>,
        /// Its words.
        message: String,
    },
    /// The hub refused; nothing happened.
    #[error("the hub refused ({fault:?}): {message}")]
    Refused {
        /// Why.
        fault: SyncFault,
        /// Its words.
        message: String,
    },
    /// Nothing was asked: the database has forgotten something, and what it says is not to be heard.
    #[error("the store is in quarantine and does not speak to the hub until it is enrolled anew")]
    Quarantined,
    /// The hub's welcome is none for the hello that waits for one, or of a life of the hub that is over.
    #[error("the hub's welcome belongs to another hello, or to a hub that was replaced by a later one")]
    NotOurs,
    /// The store's own database failed.
    #[error("what belongs to a session could not be written: {0}")]
    Unwritten(String),
    /// What came is not an answer of a hub.
    #[error("the answer to {path} (status {status}) is not of a hub: {reason}")]
    Garbled {
        /// What was asked.
        path: &'static str,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
}

impl CallError {
    /// How long the hub asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after_s, .. } => retry_after_s.map(Duration::from_secs),
            _ => None,
        }
    }
}

/// Whom the hub knows us as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enrolment {
    /// The retail group.
    pub group: GroupId,
    /// The store.
    pub store: StoreId,
    /// The incarnation of its database.
    pub epoch: Epoch,
}

/// What the hub said when the session began. Each has its own number, so that news of an older one can be told apart.
#[derive(Clone, Debug)]
pub struct Live {
    /// Counts the sessions of this process.
    pub number: u64,
    /// The hub's words.
    pub welcome: Welcome,
    /// By the store's clock, when it was asked for them: what they say is not older.
    pub greeted_at: Instant,
    /// Its turn: what is granted within it is taken as long as no later one began.
    pub turn: HubTurn,
    nonce: Arc<AtomicU64>,
}

/// The session of an enrolled store. One for all tasks.
pub struct Session {
    client: Arc<dyn HubClient>,
    key: StoreKey,
    enrolment: Enrolment,
    clock: Arc<dyn Clock>,
    store: Store,
    live: Mutex<Option<Live>>,
    /// The end of the journal of the last report that a life of the hub took since the start.
    reported: std::sync::Mutex<(u64, Head)>,
    sessions: AtomicU64,
    hello_nonce: AtomicI64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("enrolment", &self.enrolment).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that says hello with its first call, of the store with this database.
    pub fn new(
        client: Arc<dyn HubClient>,
        key: StoreKey,
        enrolment: Enrolment,
        clock: Arc<dyn Clock>,
        store: Store,
    ) -> Self {
        Self {
            client,
            key,
            enrolment,
            clock,
            store,
            live: Mutex::new(None),
            reported: std::sync::Mutex::new((0, Head::START)),
            sessions: AtomicU64::new(0),
            hello_nonce: AtomicI64::new(0),
        }
    }

    /// Whom the hub knows us as.
    #[must_use]
    pub const fn enrolment(&self) -> Enrolment {
        self.enrolment
    }

    /// The running session; says hello when there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn live(&self) -> Result<Live, CallError> {
        // Held over the hello, so that tasks that wake together share one.
        let mut live = self.live.lock().await;
        if self.store.continuity().is_quarantined() {
            return Err(CallError::Quarantined);
        }
        if let Some(live) = live.as_ref() {
            return Ok(live.clone());
        }
        let greeted_at = self.clock.now();
        let (welcome, turn) = self.hello().await?;
        let number = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let begun = Live { number, welcome, greeted_at, turn, nonce: Arc::new(AtomicU64::new(1)) };
        *live = Some(begun.clone());
        Ok(begun)
    }

    /// Asks the hub within one session, once. The report, and how the store stands with its policies, ride along.
    ///
    /// # Errors
    /// [`CallError`]; after [`CallError::Down`] the hub may have done what was asked. A refusal as unknown ends the session, and the next
    /// [`Session::live`] begins another; one that says that the epoch ended, or has a copy or another journal, puts the store into quarantine.
    pub async fn call<Q, A>(
        &self,
        live: &Live,
        path: &'static str,
        (report, policy): (Option<Report>, Option<PolicyState>),
        body: &Q,
        timeout: Duration,
    ) -> Result<Answer<A>, CallError>
    where
        Q: Serialize + Sync,
        A: DeserializeOwned,
    {
        let packed = Bytes::from(to_msgpack(&Request { report, policy, body }));
        let nonce = live.nonce.fetch_add(1, Ordering::Relaxed);
        let request = self.signed(path, &live.welcome.session, nonce, packed);
        let answer = unpack(path, self.post(request, timeout).await?);
        match &answer {
            Err(CallError::Refused { fault: SyncFault::SessionUnknown, .. }) => self.forget(live.number).await,
            // Somebody ended the epoch, or it turned out that there is a copy, while this session ran: as in answer to a hello.
            Err(CallError::Refused { fault: SyncFault::Fenced | SyncFault::Copied, message }) => {
                self.quarantine(live, message).await;
            }
            // An upload may be of the journal of an epoch before this one, which says nothing of this: who sends it knows.
            Err(CallError::Refused { fault: SyncFault::Fork, message }) if path != path::UPLOAD => {
                self.quarantine(live, message).await;
            }
            _ => {}
        }
        answer
    }

    /// The hub says within a session that there is another copy of this database, or that the epoch is over: the session ends, and value stops. Cash goes on.
    pub(super) async fn quarantine(&self, live: &Live, message: &str) {
        self.forget(live.number).await;
        let stopped = self.store.continuity().quarantine(&self.store, unheard(message), None, self.clock.now()).await;
        if let Err(error) = stopped {
            // It holds for this process, and the next one is told so again.
            tracing::error!(error = &error as &dyn std::error::Error, "The quarantine could not be written down");
        }
    }

    /// A life of the hub took a report that was made at this end of the journal. The next hello says so: a hub that has not heard of it was put back.
    pub(super) fn reported(&self, life: u64, end: Head) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if (life, end.seq) > (reported.0, reported.1.seq) {
            *reported = (life, end);
        }
    }

    /// The end of the journal of the last report that this life of the hub took since the start.
    pub(super) fn reported_to(&self, life: u64) -> Head {
        let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.0 == life { reported.1 } else { Head::START }
    }

    /// What this life of the hub has told the store to be on its disk.
    fn assured(&self, life: u64) -> Result<Assured, StoreError> {
        let noted = self.store.read(sync_state::get)?;
        let reported = self.reported_to(life);
        let reported = if reported.seq > noted.reported.seq { reported } else { noted.reported };
        // What contradicts this journal was none of this store's, and has its own alarm.
        let is_ours = self.store.read(|tx| journal::contains(tx, noted.acknowledged))?;
        Ok(Assured { journal: if is_ours { noted.acknowledged } else { Head::START }, reported })
    }

    /// Ends a session unless another has begun: the next call says hello.
    async fn forget(&self, number: u64) {
        let mut live = self.live.lock().await;
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
        }
    }

    /// Says hello with the nonce that is on disk, and begins the session with what the welcome says on disk: turn, the hub's life, and that the nonce is
    /// answered. A welcome that names more than this journal contains begins none.
    async fn hello(&self) -> Result<(Welcome, HubTurn), CallError> {
        let Enrolment { group, store, epoch } = self.enrolment;
        let unwritten = |error: StoreError| CallError::Unwritten(error.to_string());
        let fresh: [u8; 8] = random_bytes().map_err(|error| CallError::Unwritten(error.to_string()))?;
        // Whoever keeps it keeps signed numbers.
        let fresh = u64::from_le_bytes(fresh) >> 1;
        let turn_nonce = self.store.write(move |tx| tenure::greet(tx, fresh)).await.map_err(unwritten)?;
        // Before the journal's end, which contains it then.
        let assured = self.assured(self.store.committed().hub_turn.life).map_err(unwritten)?;
        let committed = self.store.committed();
        let turn = committed.hub_turn.turn;
        let (protocol, head, life) = (PROTOCOL_VERSION, committed.head, committed.hub_turn.life);
        let hello = Hello { protocol, group, store, epoch, head, turn, turn_nonce, life, assured };
        // Rising over restarts too, as long as the clock is: a hello heard on the line is of no use later.
        let now_ms = self.clock.now().ms();
        let previous = self.hello_nonce.fetch_max(now_ms, Ordering::Relaxed);
        let nonce = if previous < now_ms { now_ms } else { self.hello_nonce.fetch_add(1, Ordering::Relaxed) + 1 };
        let packed = Bytes::from(to_msgpack(&hello));
        let request = self.signed(path::HELLO, "", nonce.unsigned_abs(), packed);
        let keeper = self.store.continuity();
        let asked_ms = self.clock.elapsed_ms();
        let welcome: Welcome = match unpack(path::HELLO, self.post(request, HELLO_TIMEOUT).await?) {
            // The answer to this process's own hello: of this epoch nothing is heard any more.
            Err(CallError::Refused {
                fault: fault @ (SyncFault::Copied | SyncFault::Fenced | SyncFault::Foreign | SyncFault::Fork),
                message,
            }) => {
                let reason = unheard(&message);
                keeper.quarantine(&self.store, reason, None, self.clock.now()).await.map_err(unwritten)?;
                return Err(CallError::Refused { fault, message });
            }
            answer => answer?,
        };
        let turn = HubTurn { life: welcome.hub_incarnation, turn: welcome.turn };
        let heard = Witness { epoch, head: welcome.heard };
        let now = self.clock.now();
        let known = (&heard, welcome.journal_head);
        if !keeper.welcomed(&self.store, turn_nonce, turn, known, now).await.map_err(unwritten)? {
            return Err(if keeper.is_quarantined() { CallError::Quarantined } else { CallError::NotOurs });
        }
        committed.hub_clock.answered(&self.clock, asked_ms, welcome.server_time_ms);
        tracing::info!(store.id = %store, epoch = epoch.0, "The hub greeted store {store}");
        Ok((welcome, turn))
    }

    async fn post(&self, request: HttpPost, timeout: Duration) -> Result<HttpReply, HubDown> {
        match tokio::time::timeout(timeout, self.client.post(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(HubDown::Silent { timeout_ms: timeout.as_millis() }),
        }
    }

    fn signed(&self, path: &'static str, session: &str, nonce: u64, body: Bytes) -> HttpPost {
        let store = self.enrolment.store;
        let signature = self.key.sign(&signed_text("POST", path, store, session, nonce, &body));
        let mut headers = vec![
            (MSGPACK.0, MSGPACK.1.to_owned()),
            (header::STORE, store.to_string()),
            (header::NONCE, nonce.to_string()),
            (header::SIGNATURE, signature),
        ];
        if !session.is_empty() {
            headers.push((header::SESSION, session.to_owned()));
        }
        HttpPost { path, headers, body }
    }
}

fn unheard(message: &str) -> String {
    format!("head office does not hear this store: {message}")
}

/// Tells an answer from a refusal.
pub(crate) fn unpack<A: DeserializeOwned>(path: &'static str, reply: HttpReply) -> Result<A, CallError> {
    let HttpReply { status, retry_after_s, body } = reply;
    let garbled = |reason| CallError::Garbled { path, status, reason };
    if (200..300).contains(&status) {
        return from_msgpack(&body).map_err(garbled);
    }
    let refused: Result<Refused, String> = from_msgpack(&body);
    match refused {
        Ok(Refused { fault: SyncFault::Busy, message }) => Err(CallError::Busy { retry_after_s, message }),
        Ok(Refused { fault, message }) => Err(CallError::Refused { fault, message }),
        // A proxy, or a hub that sheds load before it looks at the request.
        Err(_) if matches!(status, 429 | 502 | 503 | 504) => {
            Err(CallError::Busy { retry_after_s, message: format!("status {status}") })
        }
        Err(reason) => Err(garbled(reason)),
    }
}
