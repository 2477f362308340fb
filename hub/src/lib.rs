//! The hub: the central server of Huitong. Stores report, ask and upload; head office imports, publishes and settles.
//!
//! `api` is what stores call and, under `/v1/hq`, the people and programs of head office. `session`, `enrol`, `report`, `grant`, `recall` and `ingest`
//! are what stores reach by it; `reconcile`, `rerate`, `review` and `worker` look after what came in; `exception` and `approval` are what people do about
//! it; `fence` and `suspense` are what becomes of an epoch that ends; `overdraft` and `risk` are what members may owe and who bears it; `member_request`, `deferred` and `claim` are what stores leave to head office about members and their points; `store` keeps everything. Nothing
//! below the handlers reads a clock. Invariant: an answer is given only after what it says is on disk.

pub mod account;
pub mod actor;
pub mod adoption;
pub mod allot;
pub mod api;
pub mod approval;
pub mod believed;
pub mod calendar;
pub mod card_sale;
pub mod claim;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deferred;
pub mod denial;
pub mod desk;
pub mod enrol;
pub mod exception;
pub mod export;
pub mod fence;
pub mod grant;
pub mod horizon;
pub mod hot;
pub mod hub;
pub mod import;
pub mod ingest;
pub mod init;
pub mod inspect;
pub mod knowledge;
pub mod lender;
pub mod lock;
pub mod make;
pub mod member_request;
pub mod note;
pub mod overdraft;
pub mod overview;
pub mod parameters;
pub mod pinyin;
pub mod points;
pub mod policy_diff;
pub mod policy_key;
pub mod publish;
pub mod recall;
pub mod receipt;
pub mod reconcile;
pub mod recovery;
pub mod refold;
pub mod refusal;
pub mod report;
pub mod rerate;
pub mod review;
pub mod risk;
pub mod schedule;
pub mod sealing;
pub mod session;
pub mod settle;
pub mod statement;
pub mod stops;
pub mod store;
pub mod suspense;
pub mod unsold;
pub mod verification;
pub mod verify;
pub mod worker;

use std::sync::Arc;

use huitong_config::serve;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::config::HubConfig;
use crate::hub::Hub;
use crate::store::{Store, StoreError};
use crate::worker::Worker;

/// Why the hub stopped before it was asked to, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The heartbeat of the schedule did not start.
    #[error("could not start the schedule")]
    Schedule(#[source] tokio_cron_scheduler::JobSchedulerError),
}

/// Serves stores on a bound listener until `shutdown`, then finishes what is under way and closes the database.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    listener: TcpListener,
    config: HubConfig,
    store: Store,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let hub = Hub::new(config, store, clock).await?;
    serve(listener, hub, shutdown).await
}

/// As [`run`], for a hub that somebody else also holds.
///
/// # Errors
/// [`RunError`].
pub async fn serve(
    listener: TcpListener,
    hub: Hub,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let worker = Worker::start(hub.clone()).await.map_err(RunError::Schedule)?;
    let stopping = hub.stopping.clone();
    let shutdown = async move {
        shutdown.await;
        // Long polls end now; what else is under way is finished.
        stopping.cancel();
    };
    serve::serve(listener, api::router(hub.clone()), serve::Patience::USUAL, shutdown).await;
    hub.stopping.cancel();
    worker.stop(serve::Patience::USUAL.stop).await;
    let store = hub.store.clone();
    // Ends what still reads, a verification or a job that took too long, and waits for the writer's thread.
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
    hub.tasks.close();
    hub.tasks.wait().await;
    Ok(())
}
