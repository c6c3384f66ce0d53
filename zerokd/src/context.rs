//! What the daemon's tasks share: cheap handles, no state of its own.

use std::sync::Arc;

use iroh::Endpoint;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerok_core::DeviceKeys;

use crate::events::Events;
use crate::group::Groups;
use crate::link::Links;
use crate::paths::Paths;
use crate::problems::Problems;
use crate::store::Store;

/// Handles that the tasks share.
#[derive(Clone)]
pub(crate) struct Context {
    /// This device's keys.
    pub keys: Arc<DeviceKeys>,
    /// Where its files are.
    pub paths: Arc<Paths>,
    /// The database.
    pub store: Store,
    /// The groups.
    pub groups: Groups,
    /// The QUIC endpoint.
    pub endpoint: Endpoint,
    /// The links to the relays.
    pub links: Links,
    /// Events for programs.
    pub events: Events,
    /// What is wrong right now.
    pub problems: Problems,
    /// Every task starts through it.
    pub tracker: TaskTracker,
    /// Cancelled when the daemon stops.
    pub cancel: CancellationToken,
}
