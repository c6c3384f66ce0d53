//! Devices and groups.

use serde::{Deserialize, Serialize};

/// A device's id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceName {
    /// Device id, 64 hex digits.
    pub id: String,
    /// The name that its owner gave it.
    pub name: String,
}

/// One member of a group, in `device.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Device id, 64 hex digits.
    pub id: String,
    /// The name that its owner gave it.
    pub name: String,
    /// True for the device that answers.
    pub this: bool,
    /// Id of the device that added it; null for the group's first device.
    pub added_by: Option<String>,
    /// When it was last heard of, in Unix milliseconds; null when never.
    pub last_seen: Option<u64>,
    /// Whether it is connected now, as far as is known here.
    pub online: bool,
    /// Number of the epoch whose keys it has.
    pub epoch: u64,
    /// It is known to hold everything that this device held at this time (Unix milliseconds); null when nothing is
    /// known.
    pub caught_up_to: Option<u64>,
}

/// The answer to `device.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// The group's members, in order of joining.
    pub devices: Vec<Device>,
}

/// A group: devices that share data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Group id, in hex.
    pub id: String,
    /// The group's name.
    pub name: String,
    /// Digest of the version vector: two devices whose digests are equal hold the same.
    pub digest: String,
    /// Number of member devices.
    pub devices: u32,
    /// Number of own entries that no relay holds yet.
    pub outbox: u64,
}

/// The answer to `group.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupList {
    /// Every group that this device is a member of.
    pub groups: Vec<Group>,
}
