//! A session with the hub: says hello, signs every request, packs and unpacks, and tells apart why a call failed.
//!
//! Trying again belongs to who calls. Invariant: no nonce is used twice in a session, and a request is signed over exactly the bytes sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use huitong_protocol::bundle::PolicyState;
use huitong_protocol::id::{Epoch, GroupId, StoreId};
use huitong_protocol::journal::Head;
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
use crate::identity::StoreKey;

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
    nonce: Arc<AtomicU64>,
}

/// The session of an enrolled store. One for all tasks.
pub struct Session {
    client: Arc<dyn HubClient>,
    key: StoreKey,
    enrolment: Enrolment,
    clock: Arc<dyn Clock>,
    head: Box<dyn Fn() -> Head + Send + Sync>,
    live: Mutex<Option<Live>>,
    sessions: AtomicU64,
    hello_nonce: AtomicI64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("enrolment", &self.enrolment).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that says hello with its first call. `head` gives the journal's end.
    pub fn new(
        client: Arc<dyn HubClient>,
        key: StoreKey,
        enrolment: Enrolment,
        clock: Arc<dyn Clock>,
        head: impl Fn() -> Head + Send + Sync + 'static,
    ) -> Self {
        Self {
            client,
            key,
            enrolment,
            clock,
            head: Box::new(head),
            live: Mutex::new(None),
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
        if let Some(live) = live.as_ref() {
            return Ok(live.clone());
        }
        let greeted_at = self.clock.now();
        let welcome = self.hello().await?;
        let number = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let begun = Live { number, welcome, greeted_at, nonce: Arc::new(AtomicU64::new(1)) };
        *live = Some(begun.clone());
        Ok(begun)
    }

    /// Asks the hub within one session, once. The report, and how the store stands with its policies, ride along.
    ///
    /// # Errors
    /// [`CallError`]; after [`CallError::Down`] the hub may have done what was asked. A refusal as unknown ends the session, and the next
    /// [`Session::live`] begins another.
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
        if let Err(CallError::Refused { fault: SyncFault::SessionUnknown, .. }) = &answer {
            self.forget(live.number).await;
        }
        answer
    }

    /// Ends a session unless another has begun: the next call says hello.
    async fn forget(&self, number: u64) {
        let mut live = self.live.lock().await;
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
        }
    }

    async fn hello(&self) -> Result<Welcome, CallError> {
        let Enrolment { group, store, epoch } = self.enrolment;
        let hello = Hello { protocol: PROTOCOL_VERSION, group, store, epoch, head: (self.head)() };
        // Rising over restarts too, as long as the clock is: a hello heard on the line is of no use later.
        let now_ms = self.clock.now().ms();
        let previous = self.hello_nonce.fetch_max(now_ms, Ordering::Relaxed);
        let nonce = if previous < now_ms { now_ms } else { self.hello_nonce.fetch_add(1, Ordering::Relaxed) + 1 };
        let packed = Bytes::from(to_msgpack(&hello));
        let request = self.signed(path::HELLO, "", nonce.unsigned_abs(), packed);
        let welcome: Welcome = unpack(path::HELLO, self.post(request, HELLO_TIMEOUT).await?)?;
        tracing::info!(store.id = %store, epoch = epoch.0, "The hub greeted store {store}");
        Ok(welcome)
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
