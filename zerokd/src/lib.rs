//! The 0k-Sync daemon: it holds the device's identity, the groups' keys and the log, keeps links to the relays, keeps
//! folders in step, and serves the local API.
//!
//! What this crate is not allowed to do: hand a key, name, path or payload to a relay or a log in clear; acknowledge
//! before the commit; know zerok-relay outside `embedded_relay.rs`.

mod api;
mod clock;
mod config;
mod content;
mod context;
mod daemon;
pub mod demo;
mod device_key;
mod embedded_relay;
mod endpoint;
mod events;
mod folder;
mod group;
mod ipc;
mod link;
pub mod logging;
mod names;
mod pair;
mod paths;
mod problems;
mod signals;
mod single;
mod store;
mod wire;

pub use config::{Config, ConfigError};
pub use daemon::{Running, StartError, start};
pub use device_key::KeyError;
pub use paths::{Paths, PathsError};
pub use signals::StopSignals;
pub use single::SingleError;
pub use store::StoreError;
