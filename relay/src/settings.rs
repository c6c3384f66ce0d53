//! What of the configuration the connections need, and may change while the relay runs.

use std::time::Duration;

use zerok_protocol::MAX_BLOB;

use crate::config::Config;

/// Connections beyond one for each session: of devices that pair, or are about to say HELLO.
const CONNECTIONS_WITHOUT_SESSION: u64 = 100;

/// A configuration in force.
pub(crate) struct Settings {
    pub(crate) max_blob: usize,
    pub(crate) default_ttl_secs: u64,
    pub(crate) max_ttl_secs: u64,
    pub(crate) messages_per_minute: u64,
    pub(crate) hello_timeout: Duration,
    pub(crate) max_sessions: u64,
    pub(crate) max_connections: u64,
    pub(crate) max_streams: u32,
    pub(crate) metrics: bool,
    pub(crate) cleanup_interval: Duration,
    pub(crate) vacuum: bool,
    pub(crate) shutdown_grace: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let Config { server, storage, limits, http, cleanup, .. } = config;
        Self {
            max_blob: usize::try_from(storage.max_blob_size).unwrap_or(MAX_BLOB).min(MAX_BLOB),
            default_ttl_secs: storage.default_ttl_secs,
            max_ttl_secs: storage.max_ttl_secs,
            messages_per_minute: limits.messages_per_minute.into(),
            hello_timeout: Duration::from_secs(limits.hello_timeout_secs),
            max_sessions: limits.max_concurrent_sessions,
            max_connections: limits.max_concurrent_sessions.saturating_add(CONNECTIONS_WITHOUT_SESSION),
            max_streams: limits.max_streams_per_connection,
            metrics: http.metrics,
            cleanup_interval: Duration::from_secs(cleanup.interval_secs.max(1)),
            vacuum: cleanup.vacuum,
            shutdown_grace: Duration::from_secs(server.shutdown_grace_secs),
        }
    }
}

impl Settings {
    /// What WELCOME tells a device.
    pub(crate) fn told(&self) -> zerok_protocol::Limits {
        zerok_protocol::Limits {
            max_blob: u64::try_from(self.max_blob).unwrap_or(u64::MAX),
            max_ttl_seconds: self.max_ttl_secs,
            messages_per_minute: self.messages_per_minute,
        }
    }
}
