//! Events of the daemon.

use serde::{Deserialize, Serialize};

/// Event kinds and what stands in their `data`.
pub mod kind {
    /// A device has joined by an invite of this device: `{invite_id, device: {id, name}}`.
    pub const PAIR_GRANTED: &str = "pair.granted";
    /// An invite of this device has died unused: `{invite_id, reason}`.
    pub const PAIR_FAILED: &str = "pair.failed";
    /// This device has joined a group: `{inviter}`, the name of the device that let it in.
    pub const GROUP_JOINED: &str = "group.joined";
    /// A joiner has answered an invite of this device: `{invite_id, name}`.
    pub const PAIR_CONTACTED: &str = "pair.contacted";
    /// Blobs could not be opened or verified, and are kept: `{count}`.
    pub const BLOB_QUARANTINED: &str = "blob.quarantined";
    /// A relay lost its log, and this device refills it: `{from}`, the first bundle.
    pub const RELAY_REFILLED: &str = "relay.refilled";
    /// A device is new in a group: `{id, name}`.
    pub const DEVICE_ADDED: &str = "device.added";
    /// The link to a relay changed: `{id, state, error}`.
    pub const RELAY_STATE: &str = "relay.state";
    /// A folder is being scanned: `{folder}`.
    pub const FOLDER_SCANNING: &str = "folder.scanning";
    /// A folder is taking in or giving out changes: `{folder, progress}`.
    pub const FOLDER_SYNCING: &str = "folder.syncing";
    /// A folder is in step with what is known here: `{folder}`.
    pub const FOLDER_IDLE: &str = "folder.idle";
    /// A file was put in place or removed: `{folder, path, change, bytes}`.
    pub const FOLDER_ITEM: &str = "folder.item";
    /// A conflict copy was made: `{folder, path, copy}`.
    pub const FOLDER_CONFLICT: &str = "folder.conflict";
    /// A folder or an item of it cannot go on: `{folder, path, code, text, hint}`.
    pub const FOLDER_PROBLEM: &str = "folder.problem";
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, counted from 1 since the daemon started.
    pub n: u64,
    /// Its cursor: read on with `after`.
    pub cursor: String,
    /// When, in Unix milliseconds.
    pub at: u64,
    /// What: one of [`kind`], or one that this version of the SDK does not know.
    pub kind: String,
    /// Id of the group it belongs to, or null.
    #[serde(default)]
    pub group: Option<String>,
    /// What there is to tell, by kind.
    pub data: serde_json::Value,
}

/// The answer to `events.since`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// The events after `after`.
    pub events: Vec<Event>,
    /// Where to read on: the next call's `after`.
    pub next: String,
    /// Whether more is there already.
    pub has_more: bool,
    /// Whether events after `after` are gone: the ring was overtaken, or the daemon was restarted.
    pub missed: bool,
}

/// One notification of `events.subscribe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventBatch {
    /// The cursor after which these were read: equal to the previous notification's `next`, or one was lost.
    pub after: String,
    /// Where the next notification goes on.
    pub next: String,
    /// The events.
    pub events: Vec<Event>,
    /// Whether events after `after` are gone: the ring was overtaken, or the daemon was restarted.
    pub missed: bool,
}
