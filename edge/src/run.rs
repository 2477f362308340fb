//! Wiring: puts store, ledger, API, sync and schedule together, and takes them apart again.
//!
//! [`Edge`] is one running store daemon. The binary runs one over HTTP ([`run`]); demonstrations and tests run hundreds in one process, each
//! with its own data directory, clock and line to the hub. Invariant: one edge at a time works on a data directory.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use huitong_protocol::id::{Hash, OperationId, TerminalId};
use huitong_protocol::till::{CloseDay, Witness};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_cron_scheduler::{JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, Api};
use crate::clock::Clock;
use crate::config::{EdgeConfig, StoreConfig};
pub use crate::continuity::LOCAL_TERMINAL;
use crate::continuity::{self, Marker};
use crate::enrol::{EnrolError, enrol};
use crate::identity::{KeyError, StoreKey, random_bytes, write_private};
use crate::ledger::{Call, Ledger, Order, check_holds, keep_quote_key};
use crate::line::Line;
use crate::replace::{ReplaceError, check_finished};
use crate::schedule::{Job, Schedule, Work};
use crate::store::identity::Identity;
use crate::store::{Store, StoreError, StoreOptions, hold, operation, sync_state, till};
use crate::sync::api::SyncControl;
use crate::sync::download::Downloaded;
use crate::sync::grant::HubAtCall;
use crate::sync::hub_client::HubClient;
use crate::sync::session::{Enrolment, Session};
use crate::sync::upload::UploadDone;
use crate::sync::{self, Link, SyncError, download, park, report, upload};
use crate::till::{Permissions, Token, TokenHash, TokenKey};
use huitong_config::serve;

/// The database's file in the data directory.
pub const DATABASE_FILE: &str = "edge.db";
/// The file that a running edge holds a lock on.
const LOCK_FILE: &str = "edge.lock";
/// The file with the token of the machine's own command line.
pub const LOCAL_TOKEN_FILE: &str = "local.token";
/// The file with the address where tills connect.
pub const ADDRESS_FILE: &str = "api.addr";
/// How long tasks may take to end before they are left behind.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// Stored answers forgotten in one transaction: tills wait for the writer no longer than for a large basket.
const PURGE_ROWS_MAX: usize = 1_000;

/// Why an edge did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Another edge works on the data directory.
    #[error("another huitong-edge is running on {path}; stop it first", path = .0.display())]
    Running(PathBuf),
    /// A file of the data directory could not be used.
    #[error("could not use {path}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no usable key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database could not be used, or the store is not enrolled.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be enrolled.
    #[error("could not enrol the store")]
    Enrol(#[from] EnrolError),
    /// The store could not be replaced, or half is.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The listener failed.
    #[error("could not serve the tills")]
    Serve(#[source] std::io::Error),
    /// The heartbeat of the schedule could not be started.
    #[error("could not start the schedule")]
    Heartbeat(#[from] JobSchedulerError),
    /// The edge was closed.
    #[error("the store daemon was closed")]
    Stopped,
    /// The disk failed; what was acknowledged is safe.
    #[error(
        "the disk failed: the database could not be written any more. Nothing that was answered is lost; look at the disk and start the daemon again"
    )]
    Disk,
}

/// What an edge is made of.
pub struct EdgeParts {
    /// What the operator set. The listening address and the hub's URL in it are not looked at here.
    pub config: EdgeConfig,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The line to the hub.
    pub hub_client: Arc<dyn HubClient>,
    /// Where tills connect; without one they call [`Edge::router`] in the process.
    pub listener: Option<TcpListener>,
    /// Whether the schedule runs by itself; otherwise [`Edge::tick`] moves it.
    pub heartbeat: bool,
}

/// One running store daemon.
pub struct Edge {
    control: SyncControl,
    store: Store,
    line: Arc<Line>,
    clock: Arc<dyn Clock>,
    router: Router,
    address: Option<SocketAddr>,
    tasks: TaskTracker,
    stop: CancellationToken,
    heartbeat: Mutex<Option<JobScheduler>>,
    tokens: TokenKey,
    /// Held until the edge is closed.
    lock: std::fs::File,
}

/// Takes the data directory for this process, making it when it is not there.
///
/// # Errors
/// [`EdgeError::Running`], or the directory cannot be used.
pub fn lock(data_dir: &Path) -> Result<std::fs::File, EdgeError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| EdgeError::File { path, source }
    };
    std::fs::create_dir_all(data_dir).map_err(file(data_dir))?;
    let path = data_dir.join(LOCK_FILE);
    let lock = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(file(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(EdgeError::Running(data_dir.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(EdgeError::File { path, source }),
    }
}

/// Opens the database of a data directory, making one where there is none.
///
/// # Errors
/// [`EdgeError::Store`], the directory cannot be made, or a replacement of its store is half done.
pub fn open_store(data_dir: &Path, config: &StoreConfig) -> Result<Store, EdgeError> {
    check_finished(data_dir)?;
    std::fs::create_dir_all(data_dir).map_err(|source| EdgeError::File { path: data_dir.to_owned(), source })?;
    let options = StoreOptions { readers: config.readers, cache_kib: config.cache_kib, ..StoreOptions::default() };
    Ok(Store::open(&data_dir.join(DATABASE_FILE), options)?)
}

impl Edge {
    /// Starts an enrolled store.
    ///
    /// # Errors
    /// [`EdgeError`] says what is missing.
    pub async fn start(parts: EdgeParts) -> Result<Self, EdgeError> {
        let EdgeParts { config, clock, hub_client, listener, heartbeat } = parts;
        let lock = lock(&config.data_dir)?;
        let store = open_store(&config.data_dir, &config.store)?;
        let identity = store.committed().identity.clone().ok_or(StoreError::NotEnrolled)?;
        keep_quote_key(&store, random_bytes()?).await?;
        let now = clock.now();
        store.write(move |tx| sync_state::confirmed_by(tx, now)).await?;
        let key = StoreKey::open(&config.data_dir)?;
        let marker = Marker::open(&config.store.marker_dir, &config.data_dir, &key.public_key());
        store.continuity().begin(&store, marker.map_err(StoreError::Marker)?, key.tokens().clone(), now).await?;
        check_holds(&store).await?;
        let tokens = key.tokens().clone();
        let enrolment = Enrolment { group: identity.group, store: identity.store.id, epoch: identity.epoch };

        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let line = Arc::new(Line::default());
        let session = Session::new(hub_client, key, enrolment, clock.clone(), store.clone());
        let link = Link::new(store.clone(), session, clock.clone(), config.sync.clone(), line.clone())?;
        let ledger = Arc::new(Ledger::new(store.clone(), Arc::new(HubAtCall::new(link.clone(), tasks.clone()))));
        let work =
            Arc::new(Jobs { link: link.clone(), ledger: ledger.clone(), clock: clock.clone(), store: store.clone() });
        let place = (enrolment.store, identity.zone.clone());
        let schedule =
            Schedule::open(store.clone(), clock.clone(), config.schedule.clone(), place, work, tasks.clone()).await?;
        let data_dir = config.data_dir.clone();
        let control = SyncControl { link: link.clone(), line: line.clone(), schedule: schedule.clone(), data_dir };
        let api = Api::new(ledger, clock.clone(), line.clone(), &config);
        let router = api::router(api, sync::api::routes(control.clone()));

        sync::start(&link, &tasks, &stop);
        let address = match listener {
            Some(listener) => Some(serve(listener, &config, &router, &store, &*clock, &tasks, &stop).await?),
            None => None,
        };
        let heartbeat = Mutex::new(if heartbeat { Some(schedule.heartbeat().await?) } else { None });
        Ok(Self { control, store, line, clock, router, address, tasks, stop, heartbeat, tokens, lock })
    }

    /// Enrols the store with a one-time token, unless it is enrolled, and starts it.
    ///
    /// # Errors
    /// [`EdgeError`]; it is safe to try again with the same token.
    pub async fn enrol_and_start(parts: EdgeParts, token: &str) -> Result<Self, EdgeError> {
        enrol_alone(&parts.config, &parts.hub_client, token).await?;
        Self::start(parts).await
    }

    /// The till's API, for callers in the process.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Where tills connect, when there is a listener.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How the line to the hub is.
    #[must_use]
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Whether the hub answered the last call.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.line.is_online()
    }

    /// Calls the hub now instead of after the wait that a failure made; the tasks that wait go on.
    ///
    /// # Errors
    /// The hub still does not answer.
    pub async fn reconnect(&self) -> Result<(), SyncError> {
        report::send_alive(&self.control.link).await
    }

    /// The schedule.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.control.schedule
    }

    /// Pairs a till and gives its token, which is not kept. A terminal has one token at a time.
    ///
    /// # Errors
    /// The database or the random source failed.
    pub async fn pair(&self, terminal: TerminalId, permissions: Permissions) -> Result<Token, EdgeError> {
        pair((&self.store, &self.tokens), &*self.clock, terminal, permissions).await
    }

    /// Sends all entries written so far, and ends when the hub holds them.
    ///
    /// # Errors
    /// [`SyncError`]; what the hub took before counts.
    pub async fn upload(&self) -> Result<UploadDone, SyncError> {
        upload::run(&self.control.link).await
    }

    /// Fetches everything that head office published.
    ///
    /// # Errors
    /// [`SyncError`]; pages before it stay applied.
    pub async fn download(&self) -> Result<Downloaded, SyncError> {
        download::run(&self.control.link).await
    }

    /// Greets the hub, releases what policy says and reports until it knows every change made so far. A store whose value may not move yet releases and
    /// reports nothing, and this ends with the greeting.
    ///
    /// # Errors
    /// [`SyncError`], at once when the hub does not answer.
    pub async fn wait_reported(&self) -> Result<(), SyncError> {
        self.control.link.live().await?;
        sync::tend_once(&self.control.link).await
    }

    /// Fetches what is to be parked here, releases what is above, and asks for what is below. Gives how many purses still lack something: other stores
    /// may have to release first.
    ///
    /// # Errors
    /// [`SyncError`]; what was granted before is here.
    pub async fn park(&self) -> Result<usize, SyncError> {
        park::run(&self.control.link).await
    }

    /// Looks at the schedule once, as the heartbeat does.
    ///
    /// # Errors
    /// The table could not be read or written.
    pub async fn tick(&self) -> Result<Vec<Job>, StoreError> {
        self.control.schedule.tick().await
    }

    /// What is to be known of sync.
    ///
    /// # Errors
    /// The database could not be read.
    pub fn sync_status(&self) -> Result<sync::status::SyncStatus, StoreError> {
        sync::status::look(&self.control.link, &self.line)
    }

    /// Ends when the edge can serve no more and must be closed, and says why.
    pub async fn failed(&self) -> EdgeError {
        let mut failed = self.store.failed();
        tokio::select! {
            // An error means that the writer is gone: that is the disk's end too.
            _ = failed.wait_for(|failed| *failed) => EdgeError::Disk,
            () = self.stop.cancelled() => EdgeError::Stopped,
        }
    }

    /// Stops: no new requests, those under way are answered, the database is closed. Value that was not reported is reported at the next start.
    pub async fn close(&self) {
        if let Some(mut heartbeat) = self.heartbeat.lock().await.take()
            && let Err(error) = heartbeat.shutdown().await
        {
            tracing::warn!(error = %error, "Could not stop the schedule's heartbeat");
        }
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("Some tasks did not end within {} s and are left behind", SHUTDOWN_LIMIT.as_secs());
        }
        if let Err(error) = report::note(&self.control.link).await {
            tracing::warn!(error = %error, "Could not note what was reported; it will be reported again");
        }
        let store = self.store.clone();
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("Closing the database broke off");
        }
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(error = %error, "Could not let go of the data directory; the end of the process will");
        }
    }
}

/// Runs a store daemon over HTTP until `shutdown`, or until the disk fails.
///
/// # Errors
/// [`EdgeError`].
pub async fn run(
    config: EdgeConfig,
    clock: Arc<dyn Clock>,
    hub_client: Arc<dyn HubClient>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), EdgeError> {
    let parts = EdgeParts { config, clock, hub_client, listener: Some(listener), heartbeat: true };
    let edge = Edge::start(parts).await?;
    let failed = tokio::select! {
        () = shutdown => Ok(()),
        error = edge.failed() => Err(error),
    };
    tracing::info!("Stopping");
    edge.close().await;
    failed
}

/// Enrols the store of a data directory on which no edge is running. A store that is enrolled stays as it is.
///
/// # Errors
/// [`EdgeError`]; it is safe to try again with the same token.
pub async fn enrol_alone(
    config: &EdgeConfig,
    hub_client: &Arc<dyn HubClient>,
    token: &str,
) -> Result<Arc<Identity>, EdgeError> {
    let _lock = lock(&config.data_dir)?;
    let store = open_store(&config.data_dir, &config.store)?;
    if store.committed().identity.is_none() {
        enrol(&store, &config.data_dir, hub_client, token).await?;
        leave_marker(config, continuity::own(&store.committed()))?;
    }
    Ok(store.committed().identity.clone().ok_or(StoreError::NotEnrolled)?)
}

/// Leaves a marker for the first start of a store that was enrolled just now.
pub(crate) fn leave_marker(config: &EdgeConfig, start: Option<Witness>) -> Result<(), EdgeError> {
    if let Some(start) = start {
        let key = StoreKey::open(&config.data_dir)?.public_key();
        let marker = Marker::open(&config.store.marker_dir, &config.data_dir, &key);
        marker.map_err(StoreError::Marker)?.leave(start);
    }
    Ok(())
}

/// Pairs a till and gives its token, marked with the store's key, which is not kept.
///
/// # Errors
/// The database or the random source failed.
pub async fn pair(
    (store, tokens): (&Store, &TokenKey),
    clock: &dyn Clock,
    terminal: TerminalId,
    permissions: Permissions,
) -> Result<Token, EdgeError> {
    let (token, now) = (Token::make(tokens, terminal, random_bytes()?), clock.now());
    let hash = token.hash();
    store.write(move |tx| till::pair(tx, now, terminal, permissions, hash)).await?;
    Ok(token)
}

/// Serves tills, and leaves address and token for the machine's own command line.
async fn serve(
    listener: TcpListener,
    config: &EdgeConfig,
    router: &Router,
    store: &Store,
    clock: &dyn Clock,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<SocketAddr, EdgeError> {
    let address = listener.local_addr().map_err(EdgeError::Serve)?;
    local_token(&config.data_dir, store, clock).await?;
    let path = config.data_dir.join(ADDRESS_FILE);
    write_private(&path, address.to_string().as_bytes()).map_err(|source| EdgeError::File { path, source })?;
    tasks.spawn(serve::serve(listener, router.clone(), serve::Patience::USUAL, stop.clone().cancelled_owned()));
    if config.insecure_http && !address.ip().is_loopback() {
        tracing::warn!(address = %address, "Tills of other machines are served over HTTP without TLS");
    }
    tracing::info!(address = %address, "Serving tills at {address}");
    Ok(address)
}

/// The machine's own terminal keeps its token from start to start, so that a command line that read it goes on working.
async fn local_token(data_dir: &Path, store: &Store, clock: &dyn Clock) -> Result<(), EdgeError> {
    let terminal = local_terminal();
    let path = data_dir.join(LOCAL_TOKEN_FILE);
    if let Ok(known) = std::fs::read_to_string(&path) {
        let hash = TokenHash::of(known.trim());
        let tills = store.read(till::list)?;
        if tills
            .iter()
            .any(|till| till.token_hash == hash && till.revoked_at_ms.is_none() && till.permissions == Permissions::ALL)
        {
            return Ok(());
        }
    }
    let key = StoreKey::open(data_dir)?;
    let token = pair((store, key.tokens()), clock, terminal, Permissions::ALL).await?;
    write_private(&path, token.reveal().as_bytes()).map_err(|source| EdgeError::File { path, source })
}

fn local_terminal() -> TerminalId {
    TerminalId::new(LOCAL_TERMINAL).expect("the name is a terminal's code")
}

/// The jobs of the schedule.
struct Jobs {
    link: Arc<Link>,
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
    store: Store,
}

#[async_trait]
impl Work for Jobs {
    async fn run(&self, job: Job) -> Result<String, String> {
        match job {
            Job::Download => {
                let done = download::run(&self.link).await.map_err(|error| error.to_string())?;
                Ok(done.to_string())
            }
            Job::Upload => {
                let done = upload::run(&self.link).await.map_err(|error| error.to_string())?;
                Ok(format!("{} segments, the hub holds {}", done.segments, done.acknowledged_seq))
            }
            Job::Report => {
                report::send_alive(&self.link).await.map_err(|error| error.to_string())?;
                park::fill(&self.link).await.map_err(|error| error.to_string())?;
                Ok("reported".to_owned())
            }
            Job::DayClose => self.close_day().await,
            Job::Purge => self.purge().await.map_err(|error| error.to_string()),
            Job::ExpireHolds => {
                let ended = self.ledger.end_due_holds(self.clock.now()).await.map_err(|error| error.to_string())?;
                Ok(format!("{ended} holds ended"))
            }
        }
    }
}

impl Jobs {
    async fn close_day(&self) -> Result<String, String> {
        let committed = self.store.committed();
        let (Some(day), Some(identity)) = (committed.open_day, committed.identity.clone()) else {
            return Ok("no day is open".to_owned());
        };
        // Made from what it does: a close that is tried again is the same operation.
        let what = format!("scheduled close of {day} at {} in epoch {}", identity.store.id, identity.epoch);
        let body_hash = Hash::of(what.as_bytes());
        let id = body_hash.0.first_chunk::<16>().copied().unwrap_or_default();
        let call = Call {
            operation: OperationId(uuid::Builder::from_custom_bytes(id).into_uuid()),
            body_hash,
            terminal: local_terminal(),
            permissions: Permissions::ALL,
            now: self.clock.now(),
            cards_age_ms: None,
        };
        let closed = self.ledger.execute(call, Order::CloseDay(CloseDay::default())).await;
        match closed {
            Ok(_) if self.store.committed().open_day != Some(day) => Ok(format!("closed {day}")),
            Ok(answer) => Err(String::from_utf8_lossy(answer.decided.json()).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn purge(&self) -> Result<String, StoreError> {
        let now = self.clock.now();
        let mut forgotten = 0;
        loop {
            let (rows, holds) = self
                .store
                .write(move |tx| {
                    let holds = hold::purge(tx, now, PURGE_ROWS_MAX)?;
                    Ok::<_, StoreError>((operation::purge(tx, now, PURGE_ROWS_MAX)?, holds))
                })
                .await?;
            forgotten += rows;
            if rows == 0 && holds == 0 {
                return Ok(format!("{forgotten} answers forgotten"));
            }
        }
    }
}
