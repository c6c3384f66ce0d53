//! What an operator can set. Absent keys take the values of `Default`, where each has its reason; an unknown key is
//! refused with its name and line.

mod changes;
mod check;
mod empty_is_none;
mod environment;
mod limits;
mod load;
mod percent;
mod places;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use check::ConfigError;
pub use environment::EnvironmentError;
pub use limits::Limits;
pub use load::LoadError;
pub use percent::{Percent, PercentError};

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
    /// Who may make groups here; none: everybody on loopback, else who has a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// The relay's key; none: `relay.key` in the data directory.
    #[serde(with = "empty_is_none")]
    pub secret_key_path: Option<PathBuf>,
    /// Longest time a stop may take, in seconds.
    pub shutdown_grace_secs: u64,
    /// How fast the relay sends when the network drops packets.
    pub congestion: Congestion,
}

/// A congestion controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// Fast where little is lost.
    #[default]
    Cubic,
    /// Many times faster on a line that loses packets; slower on a fast and clean one.
    Bbr3,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// The database; none: `relay.db` in the data directory.
    #[serde(with = "empty_is_none")]
    pub database: Option<PathBuf>,
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
    /// How much of the file system is left free: beyond, nothing is stored.
    pub reserve_free_disk: Percent,
}

/// `[content]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Content {
    /// Directory of the chunks; none: `chunks` in the data directory.
    #[serde(with = "empty_is_none")]
    pub dir: Option<PathBuf>,
    /// Most bytes of chunks in one group.
    pub max_per_group: u64,
    /// Most bytes of chunks in all groups.
    pub max_total: u64,
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
    /// Give room that has become free in the database back to the file system.
    pub vacuum: bool,
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
            secret_key_path: None,
            // systemd and Docker kill after 10 s or more; devices reconnect sooner than they would notice.
            shutdown_grace_secs: 4,
            congestion: Congestion::Cubic,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            database: None,
            max_blob_size: 1 << 20,
            // A buffer, not the archive: what a sleeper misses it gets from the devices.
            max_group_storage: 100 << 20,
            max_total_storage: 10 << 30,
            max_groups: 10_000,
            default_ttl_secs: 7 * 24 * 3600,
            max_ttl_secs: 30 * 24 * 3600,
            // A full disk harms more than this relay.
            reserve_free_disk: Percent(5),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        // A cache that is large enough for one folder's first synchronisation to run ahead.
        Self { dir: None, max_per_group: 2 << 30, max_total: 20 << 30 }
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
        Self { interval_secs: 3600, vacuum: true }
    }
}
