//! `run`: the daemon itself.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use super::{Done, Shell, toml_text};
use crate::config::{EdgeConfig, LogConfig, LogFormat, check};
use crate::sync::hub_client::HttpHub;

/// Runs the store daemon.
#[derive(Args, Debug)]
pub(super) struct Run {
    /// Where tills connect, instead of the configuration's `api.listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The hub, instead of the configuration's `sync.hub_url`
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    /// Allows addresses beyond this machine without TLS
    #[arg(long)]
    insecure_http: bool,
}

impl Run {
    pub(super) async fn execute(self, shell: &mut Shell<'_>, shutdown: impl Future<Output = ()> + Send) -> Done {
        let mut loader = shell.loader();
        if let Some(listen) = &self.listen {
            loader = loader.flag("--listen", "api.listen", toml_text(listen));
        }
        if let Some(hub) = &self.hub {
            loader = loader.flag("--hub", "sync.hub_url", toml_text(hub));
        }
        if self.insecure_http {
            loader = loader.flag("--insecure-http", "insecure_http", "true");
        }
        let loaded = loader.load::<EdgeConfig>()?;
        check(&loaded)?;
        let config = loaded.value;
        log_to_stderr(&config.log)?;
        let hub = Arc::new(HttpHub::new(&config.sync.hub_url)?);
        let listener = TcpListener::bind(config.api.listen)
            .await
            .with_context(|| format!("could not listen on {} (api.listen)", config.api.listen))?;
        let address = listener.local_addr()?;
        let ready = serde_json::json!({ "listening": address, "data_dir": config.data_dir });
        shell.print(&ready, |_| format!("huitong-edge listens on {address}"))?;
        shell.out.flush()?;
        crate::run::run(config, Arc::new(shell.clock), hub, listener, shutdown).await?;
        Ok(())
    }
}

/// Starts the log. A process that runs several daemons keeps the first one's.
fn log_to_stderr(config: &LogConfig) -> Result<(), anyhow::Error> {
    let filter = EnvFilter::try_new(&config.filter).with_context(|| format!("log.filter {:?}", config.filter))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    if started.is_err() {
        tracing::debug!("The log was started before");
    }
    Ok(())
}
