//! `huitong-hub run`: the daemon itself. Here the process gets its runtime, its log and its signals.

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use super::{Failure, Output, Place, World};
use crate::config::HubConfig;
use crate::recovery;
use crate::store::engine::Store;
use crate::store::root;

/// Serves the stores until it is asked to stop (Ctrl-C or SIGTERM).
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Where to listen; overrides `listen` of the configuration. Port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<String>,
    /// Begin a recovery log for a database that has none. Only when it is certain that no backup was restored; else `recover`.
    #[arg(long)]
    begin_log: bool,
}

impl Run {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        let config = place.load()?.value;
        log_to_stderr(&config)?;
        let store = place.open()?;
        store.read_blocking(root::hub)?;
        recovery::may_start(&store, &config.recovery_log_file(), self.begin_log).map_err(Failure::from)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(world, config, store, out))
    }
}

async fn serve(world: &World, config: HubConfig, store: Store, out: &mut Output<'_>) -> Result<(), Failure> {
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("could not listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    // Whoever started it with port 0 reads the address here.
    out.show(&serde_json::json!({ "listening": address.to_string() }), |text| {
        writeln!(text, "Listening on http://{address}")
    })?;
    out.flush()?;
    if config.insecure_http && !address.ip().is_loopback() {
        tracing::warn!("Serving {address} without TLS, as insecure_http says; only a trusted network may reach it");
    }
    tracing::info!(listen = %address, data = %config.data_dir.display(), "Serving stores on {address}");
    let stop = stop_signal()?;
    crate::run(listener, config, store, Arc::clone(&world.clock), stop)
        .await
        .map_err(|error| Failure::Failed(error.into()))?;
    tracing::info!("Stopped");
    Ok(())
}

fn log_to_stderr(config: &HubConfig) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| {
        Failure::Refused(format!("log = {:?} is not a filter: {error}\n  hint: \"info\" is right for most", config.log))
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // In-process there may be a subscriber already; the log then goes where that one sends it.
    let _ = if config.log_json { subscriber.json().try_init() } else { subscriber.try_init() };
    Ok(())
}

/// Ends when the process is asked to stop.
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}
