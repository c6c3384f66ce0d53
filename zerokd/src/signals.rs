//! The process's side of start and stop: readiness for systemd, SIGTERM and SIGINT.

use tokio::signal::unix::{SignalKind, signal};

use crate::daemon::Running;

/// Says that the daemon is ready, waits for SIGTERM, SIGINT or a call to `daemon.shutdown`, and stops it. A second
/// signal exits at once.
///
/// # Errors
/// Signals cannot be waited for.
pub async fn until_told_to_stop(running: Running) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!("systemd was not told: {error}");
    }
    let stopping = running.stopping();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stopping.cancelled() => {}
    }
    drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
    tokio::select! {
        () = running.stop() => Ok(()),
        _ = terminate.recv() => std::process::exit(1),
        _ = interrupt.recv() => std::process::exit(1),
    }
}
