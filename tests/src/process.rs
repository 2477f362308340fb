//! Processes: the real daemons as a shop starts them, killed without warning and started again.
//!
//! Only processes that were started here are ended, by their own handle. The programs are those beside this test in the target folder, which
//! `cargo test --workspace` builds.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// A daemon under way.
pub struct Daemon {
    child: tokio::process::Child,
    /// Where it listens.
    pub address: SocketAddr,
    log: PathBuf,
}

/// How long a daemon may take to be ready: far more than it needs, so that only a hang is found.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often a port is tried meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The program of a daemon, built beside this one.
///
/// # Errors
/// Says how to build it when it is not there.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program has no path")?;
    let found = own.ancestors().skip(1).take(3).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not beside {}; build it with: cargo build --workspace", own.display()))
}

/// A port of this machine that was free a moment ago. A daemon that is killed and started again keeps its address.
///
/// # Errors
/// When there is none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?)
}

/// Runs a command to its end and gives its JSON.
///
/// # Errors
/// What it complains of, with its exit code.
pub fn command(name: &str, data: &Path, args: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new(program(name)?)
        .arg("--json")
        .arg("--data")
        .arg(data)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {name}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success(),
        "{name} {} ended with {}: {}{}",
        args.join(" "),
        output.status,
        err.trim(),
        out.trim()
    );
    if out.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&out).with_context(|| format!("{name} {} did not write JSON: {out}", args.join(" ")))
}

impl Daemon {
    /// Starts a daemon and waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time; with the end of its log.
    pub async fn start(name: &str, data: &Path, address: SocketAddr, args: &[String]) -> anyhow::Result<Self> {
        Self::start_by(tokio::process::Command::new(program(name)?), name, data, address, args).await
    }

    /// As [`Daemon::start`], in a shell that lets no file grow beyond so many KiB: writes beyond fail, as on a full disk.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub async fn start_limited(
        name: &str,
        data: &Path,
        address: SocketAddr,
        args: &[String],
        file_kib_max: u32,
    ) -> anyhow::Result<Self> {
        let mut shell = tokio::process::Command::new("bash");
        // The signal that comes with the limit is ignored, so that the write itself fails.
        shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {file_kib_max}; exec \"$0\" \"$@\"")).arg(program(name)?);
        Self::start_by(shell, name, data, address, args).await
    }

    async fn start_by(
        mut starter: tokio::process::Command,
        name: &str,
        data: &Path,
        address: SocketAddr,
        args: &[String],
    ) -> anyhow::Result<Self> {
        let log = data.join("daemon.log");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("could not open {}", log.display()))?;
        let child = starter
            .arg("--data")
            .arg(data)
            .args(args)
            .arg("run")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        let mut daemon = Self { child, address, log };
        tokio::time::timeout(READY_WITHIN, daemon.ready())
            .await
            .with_context(|| format!("{name} was not ready: {}", daemon.log_end()))??;
        Ok(daemon)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            look.tick().await;
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status}: {}", self.log_end());
            }
            if let Ok(reply) = client.get(format!("http://{}/readyz", self.address)).send().await
                && reply.status().is_success()
            {
                return Ok(());
            }
        }
    }

    /// Kills it at once, as a power cut does to a process (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When the operating system does not.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("could not kill a daemon")
    }

    /// Waits until it ends by itself, and gives its status and the end of its log.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ended(mut self) -> anyhow::Result<(std::process::ExitStatus, String)> {
        let status =
            tokio::time::timeout(READY_WITHIN, self.child.wait()).await.context("the daemon did not end")??;
        Ok((status, self.log_end()))
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}
