//! Relays and the state of the links to them.

use serde::{Deserialize, Serialize};

/// The state of the link to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// No group uses it yet, so there is nothing to connect for.
    Idle,
    /// Reaching it, or being admitted.
    Connecting,
    /// Bundles go both ways.
    Connected,
    /// Not reached; the next attempt comes by itself.
    Waiting,
    /// It answered and refused; `error` says why.
    Refused,
    /// A state that this version of the SDK does not know.
    #[serde(other)]
    Unknown,
}

/// A relay that this device uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Relay id, 64 hex digits.
    pub id: String,
    /// Its address text, always without the token.
    pub address: String,
    /// State of the link.
    pub state: LinkState,
    /// Last measured round trip in milliseconds; null while not connected.
    pub latency_ms: Option<u64>,
    /// True for the relay inside this daemon.
    pub embedded: bool,
    /// Why the link is waiting or refused, for people; null otherwise.
    pub error: Option<String>,
}

/// The answer to `relay.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayList {
    /// Every relay that this device uses.
    pub relays: Vec<Relay>,
}
