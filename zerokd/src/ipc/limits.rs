//! How much local programs may ask for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zerok_client::{MAX_CONNECTIONS, MAX_SUBSCRIPTIONS};

/// The limits of the socket. `Default` is what API.md promises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once; the next one is answered with HTTP 503.
    pub(crate) connections: usize,
    /// Calls at once on one connection; more wait, unread.
    pub(crate) calls_per_connection: usize,
    /// How long a connection may say nothing at first.
    pub(crate) first_request: Duration,
    /// How long calls in flight may take to end when the daemon stops.
    pub(crate) drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            // Enough to keep the database's group commit busy from one connection.
            calls_per_connection: 64,
            // As in jsonrpsee's own server.
            first_request: Duration::from_secs(30),
            // The daemon stops within 5 s, and the store still has to close.
            drain: Duration::from_secs(2),
        }
    }
}

/// Places for subscriptions, over all connections. A subscription's handler holds one while it runs.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionSlots(Arc<Semaphore>);

impl Default for SubscriptionSlots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_SUBSCRIPTIONS)))
    }
}

impl SubscriptionSlots {
    /// A place, given back on drop; `None` when all are taken.
    #[must_use]
    pub(crate) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}
