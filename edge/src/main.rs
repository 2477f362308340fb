//! The store daemon's program: a doorway to `huitong_edge::cli`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    ExitCode::from(huitong_edge::cli::main_from(std::env::args_os(), &mut out, &mut err, told_to_stop()).await)
}

/// Ends with Ctrl-C, or with the signal that service managers send.
async fn told_to_stop() {
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        },
        // Without the second signal the first still works.
        Err(_) => drop(interrupted.await),
    }
}
