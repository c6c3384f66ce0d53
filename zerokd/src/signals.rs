//! The process's side of start and stop: readiness for systemd, SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::daemon::Running;

/// Taken before the daemon starts, so that a signal finds it at any time.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on SIGTERM and SIGINT do not end the process by themselves.
    ///
    /// # Errors
    /// Signals cannot be waited for.
    pub fn take() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Says that the daemon is ready, waits for a signal or a call to `daemon.shutdown`, and stops it. A second signal
    /// exits at once.
    pub async fn serve(mut self, running: Running) {
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::debug!("systemd was not told: {error}");
        }
        let stopping = running.stopping();
        tokio::select! {
            () = self.next() => {}
            () = stopping.cancelled() => {}
        }
        drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
        tokio::select! {
            () = running.stop() => {}
            () = self.next() => std::process::exit(1),
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
