//! What `daemon.*` answers.

use serde::{Deserialize, Serialize};

use super::{DeviceName, FolderStatus, Group, Relay};

/// The answer to a change that has nothing to tell: `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// The answer to `daemon.version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
    /// The version of the local API: 1.
    pub api: u32,
}

/// The answer to `daemon.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// This device.
    pub device: DeviceName,
    /// Whole seconds since the daemon started.
    #[serde(rename = "uptime")]
    pub uptime_seconds: u64,
    /// Every relay that this device uses, with the state of its link.
    pub relays: Vec<Relay>,
    /// Every group that this device is a member of.
    pub groups: Vec<Group>,
    /// Every folder of those groups, offered ones included.
    pub folders: Vec<FolderStatus>,
    /// What a person should know or do; empty when all is well.
    pub problems: Vec<Problem>,
}

/// Something that a person should know or do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable word for programs, such as `relay_unreachable`.
    pub code: String,
    /// What is wrong, for people.
    pub text: String,
    /// What to do next, for people.
    pub hint: String,
}
