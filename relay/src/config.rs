//! What an operator can set. Absent keys take the values of `Default`, where each has its reason; an unknown key is
//! refused with its name and line.

mod environment;
mod load;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use environment::EnvironmentError;
pub use load::LoadError;

use crate::policy::Admission;

/// The whole configuration of a relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Directory that holds `relay.db`, `relay.key` and `chunks/`; made with mode 0700 if missing.
    pub data: PathBuf,
    /// Where and for whom.
    pub server: Server,
    /// Limits of what is stored.
    pub storage: Storage,
    /// Limits of the chunk cache.
    pub content: Content,
    /// Limits of what one device or everyone may do.
    pub limits: Limits,
    /// Health and metrics.
    pub http: Http,
    /// Removal of what has expired.
    pub cleanup: Cleanup,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// UDP address to listen on; port 0 picks a free one.
    pub bind: SocketAddr,
    /// Addresses written into the address file and told to devices; empty: what is bound.
    pub advertise: Vec<SocketAddr>,
    /// Who may create groups here. Must be set when `bind` is not loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// Longest time a stop may take, in seconds.
    pub shutdown_grace_secs: u64,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Largest payload of a PUSH, in bytes; the protocol's limit is the ceiling.
    pub max_blob_size: u64,
    /// Most bytes of blobs in one group.
    pub max_group_storage: u64,
    /// Most bytes of blobs in all groups.
    pub max_total_storage: u64,
    /// Most groups.
    pub max_groups: u64,
    /// How long a blob is kept when its pusher does not say, in seconds.
    pub default_ttl_secs: u64,
    /// Longest time a blob is kept, in seconds.
    pub max_ttl_secs: u64,
}

/// `[content]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Content {
    /// Most bytes of chunks in one group.
    pub max_per_group: u64,
    /// Most bytes of chunks in all groups.
    pub max_total: u64,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// PUSH, PULL, ROSTER and MAILBOX messages per minute and device.
    pub messages_per_minute: u32,
    /// How many of them may come at once.
    pub messages_per_minute_burst: u32,
    /// SIGNAL messages per minute and device.
    pub signals_per_minute: u32,
    /// How many of them may come at once.
    pub signals_per_minute_burst: u32,
    /// How long a new connection or stream may take until its session is admitted, in seconds.
    pub hello_timeout_secs: u64,
    /// Most sessions at a time.
    pub max_concurrent_sessions: u64,
    /// Most streams that one connection may have open.
    pub max_streams_per_connection: u32,
    /// Most mailboxes at a time.
    pub max_mailboxes: u64,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// TCP address of `/health` and `/metrics`; the empty text is none.
    #[serde(with = "empty_is_none")]
    pub bind: Option<SocketAddr>,
    /// Serve `/metrics`.
    pub metrics: bool,
}

/// `[cleanup]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cleanup {
    /// How often expired blobs are removed, in seconds.
    pub interval_secs: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Below where it is started: nothing is written elsewhere unasked.
            data: PathBuf::from("zerok-relay-data"),
            server: Server::default(),
            storage: Storage::default(),
            content: Content::default(),
            limits: Limits::default(),
            http: Http::default(),
            cleanup: Cleanup::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4433),
            advertise: Vec::new(),
            admission: None,
            // systemd and Docker kill after 10 s or more; devices reconnect sooner than they would notice.
            shutdown_grace_secs: 4,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            max_blob_size: 1 << 20,
            // A buffer, not the archive: what a sleeper misses it gets from the devices.
            max_group_storage: 100 << 20,
            max_total_storage: 10 << 30,
            max_groups: 10_000,
            default_ttl_secs: 7 * 24 * 3600,
            max_ttl_secs: 30 * 24 * 3600,
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        // A cache that is large enough for one folder's first synchronisation to run ahead.
        Self { max_per_group: 2 << 30, max_total: 20 << 30 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 1,000 a second for long, and a backlog of 10,000 at once.
            messages_per_minute: 60_000,
            messages_per_minute_burst: 10_000,
            signals_per_minute: 6_000,
            signals_per_minute_burst: 1_000,
            hello_timeout_secs: 10,
            max_concurrent_sessions: 10_000,
            max_streams_per_connection: 64,
            max_mailboxes: 1_000,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        // Counts are nobody else's business: loopback unless told otherwise.
        Self { bind: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080)), metrics: true }
    }
}

impl Default for Cleanup {
    fn default() -> Self {
        // Blobs live an hour at least, so an hour late is soon enough.
        Self { interval_secs: 3600 }
    }
}

mod empty_is_none {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "the signature that serde's `with` calls")]
    pub(super) fn serialize<S: Serializer>(addr: &Option<SocketAddr>, s: S) -> Result<S::Ok, S::Error> {
        match addr {
            Some(addr) => s.collect_str(addr),
            None => s.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
        match String::deserialize(d)?.as_str() {
            "" => Ok(None),
            text => {
                text.parse().map(Some).map_err(|_| D::Error::custom("expected IP:PORT or the empty text"))
            }
        }
    }
}
