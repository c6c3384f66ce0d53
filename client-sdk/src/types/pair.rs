//! Pairing.

use serde::{Deserialize, Serialize};

use super::{DeviceName, Group};

/// How the pairing password travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// One `zerok:…` text with everything in it.
    #[default]
    Invite,
}

/// The answer to `pair.create`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// How the password travels.
    pub way: Way,
    /// The `zerok:…` text: whoever has it can join, once, until it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
    /// The command to run on the other device.
    pub command: String,
    /// When it dies, in Unix milliseconds.
    pub expires_at: u64,
    /// Names the invite in `pair.cancel` and in events; no secret.
    pub invite_id: String,
}

/// The answer to `pair.join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The group that this device is now a member of.
    pub group: Group,
    /// Its members, this device included.
    pub members: Vec<DeviceName>,
}
