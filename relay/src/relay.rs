//! What every connection of one relay shares.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerok_protocol::{DeviceId, MAX_BLOB};

use crate::chunks::Chunks;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::hub::Hub;
use crate::limit::{Buckets, Rate};
use crate::mailbox::Mailboxes;
use crate::metrics::Metrics;
use crate::policy::Admission;
use crate::store::Storage;

/// Messages about mailboxes per minute and address, whoever sends them.
const MAILBOX_RATE: Rate = Rate { per_minute: 240, burst: 60 };

pub(crate) struct Relay {
    pub(crate) admission: Admission,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) chunks: Arc<Chunks>,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) hub: Arc<Hub>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) messages: Buckets<DeviceId>,
    pub(crate) signals: Buckets<DeviceId>,
    pub(crate) mailbox_uses: Buckets<IpAddr>,
    pub(crate) sessions: AtomicU64,
    pub(crate) limits: Limits,
    pub(crate) started: Instant,
    /// Held until the last task that may write has ended, or the relay was stopped in order.
    pub(crate) data_dir: DataDir,
    /// Everything that runs for the relay; awaited when it stops.
    pub(crate) tasks: TaskTracker,
    /// Fires when the relay is to stop.
    pub(crate) stop: CancellationToken,
}

/// The configuration as the connections need it.
pub(crate) struct Limits {
    pub(crate) max_blob: usize,
    pub(crate) default_ttl_secs: u64,
    pub(crate) max_ttl_secs: u64,
    pub(crate) messages_per_minute: u64,
    pub(crate) hello_timeout: Duration,
    pub(crate) max_sessions: u64,
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
        let limits = &config.limits;
        let rate = |per_minute, burst| Rate { per_minute, burst };
        Self {
            admission,
            storage,
            chunks,
            mailboxes: Mailboxes::new(limits.max_mailboxes),
            hub,
            metrics,
            messages: Buckets::new(rate(limits.messages_per_minute, limits.messages_per_minute_burst)),
            signals: Buckets::new(rate(limits.signals_per_minute, limits.signals_per_minute_burst)),
            mailbox_uses: Buckets::new(MAILBOX_RATE),
            sessions: AtomicU64::new(0),
            limits: Limits {
                max_blob: usize::try_from(config.storage.max_blob_size).unwrap_or(MAX_BLOB).min(MAX_BLOB),
                default_ttl_secs: config.storage.default_ttl_secs,
                max_ttl_secs: config.storage.max_ttl_secs,
                messages_per_minute: limits.messages_per_minute.into(),
                hello_timeout: Duration::from_secs(limits.hello_timeout_secs),
                max_sessions: limits.max_concurrent_sessions,
            },
            started: Instant::now(),
            data_dir,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// What WELCOME tells a device.
    pub(crate) fn told_limits(&self) -> zerok_protocol::Limits {
        zerok_protocol::Limits {
            max_blob: u64::try_from(self.limits.max_blob).unwrap_or(u64::MAX),
            max_ttl_seconds: self.limits.max_ttl_secs,
            messages_per_minute: self.limits.messages_per_minute,
        }
    }
}
