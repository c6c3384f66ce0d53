//! What every connection of one relay shares.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::available_parallelism;
use std::time::Instant;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chunks::Chunks;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::hub::Hub;
use crate::limit::Rates;
use crate::mailbox::Mailboxes;
use crate::metrics::Metrics;
use crate::policy::Admission;
use crate::settings::Settings;
use crate::store::Storage;

pub(crate) struct Relay {
    pub(crate) admission: Admission,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) chunks: Arc<Chunks>,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) hub: Arc<Hub>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) rates: Rates,
    pub(crate) sessions: AtomicU64,
    /// Rosters and branches that are judged at a time: their signatures cost who brings them nothing, and never all
    /// processors here.
    pub(crate) judging: Semaphore,
    settings: watch::Sender<Arc<Settings>>,
    pub(crate) started: Instant,
    /// Held until the last task that may write has ended, or the relay was stopped in order.
    pub(crate) data_dir: DataDir,
    /// Everything that runs for the relay; awaited when it stops.
    pub(crate) tasks: TaskTracker,
    /// Fires when the relay is to stop.
    pub(crate) stop: CancellationToken,
}

impl Relay {
    pub(crate) fn new(
        config: &Config,
        admission: Admission,
        data_dir: DataDir,
        storage: Arc<dyn Storage>,
        chunks: Arc<Chunks>,
        hub: Arc<Hub>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            admission,
            storage,
            chunks,
            mailboxes: Mailboxes::new(config.limits.max_mailboxes),
            hub,
            metrics,
            rates: Rates::new(&config.limits),
            sessions: AtomicU64::new(0),
            judging: Semaphore::new(available_parallelism().map_or(1, |n| n.get().div_ceil(2))),
            settings: watch::Sender::new(Arc::new(Settings::from(config))),
            started: Instant::now(),
            data_dir,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// The settings in force at this moment.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    /// The settings, and word of every change.
    pub(crate) fn settings_changed(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// Other settings from now on.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// Takes no more connections for the moment.
    pub(crate) fn is_full(&self) -> bool {
        let connections = u64::try_from(self.metrics.connections.get()).unwrap_or(0);
        connections >= self.settings().max_connections
    }
}
