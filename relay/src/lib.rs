//! The blind relay of 0k-Sync: it stores sealed blobs for a while and hands them on, to the members that a group's
//! roster names and to nobody else.
//!
//! What this crate is not allowed to do: decrypt anything. It depends on nothing that could, holds no key but its own
//! identity, and its log and metrics carry no id, address or payload.

mod accept;
mod admission;
mod chunks;
mod cleanup;
mod clock;
mod config;
mod connection;
mod data_dir;
mod delivery;
mod endpoint;
mod frames;
mod free_disk;
mod http;
mod hub;
mod key;
mod known;
mod limit;
mod mailbox;
mod metrics;
mod outbox;
mod policy;
mod refuse;
mod relay;
mod running;
mod session;
mod settings;
mod store;

pub use config::{
    Cleanup, Config, ConfigError, Congestion, Content, EnvironmentError, Http, Limits, LoadError, Percent,
    PercentError, Server, Storage,
};
pub use data_dir::DataDirError;
pub use endpoint::EndpointError;
pub use http::HttpError;
pub use key::KeyError;
pub use policy::{Admission, OwnGroups};
pub use running::{Running, StartError, start};
pub use store::{
    Backup, BackupError, CheckError, CheckOptions, Damage, DamageKind, FileError, Invite, InviteError,
    InviteState, Invites, OpenError, Report, RestoreError, Restored, Terms, backup, check, restore,
};
