//! Where many subscribers note when something reached them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// One thing at a time is on its way to all.
#[derive(Default)]
pub(super) struct Board {
    sent: Mutex<Option<Instant>>,
    took: Mutex<Vec<Duration>>,
    missing: AtomicUsize,
    all: Notify,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// It is sent now, to so many.
    pub(super) fn begin(&self, to: usize) {
        self.missing.store(to, Ordering::Release);
        *lock(&self.sent) = Some(Instant::now());
    }

    /// It has reached one.
    pub(super) fn note(&self) {
        if let Some(sent) = *lock(&self.sent) {
            lock(&self.took).push(sent.elapsed());
        }
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.notify_one();
        }
    }

    /// Waits until it has reached all.
    pub(super) async fn all_have_it(&self) {
        self.all.notified().await;
    }

    /// How long everything took to everybody.
    pub(super) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut lock(&self.took))
    }
}
