//! App blobs: entries of a channel.

use serde::{Deserialize, Serialize};

use super::Base64Bytes;

/// What `blob.push` waits for before it returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// The entry is committed on this device: no crash loses it.
    #[default]
    Local,
    /// A relay has it durably too.
    Relay,
}

/// One entry of `blob.push_many`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEntry {
    /// The blob, 0 bytes to 900 KiB.
    pub data: Base64Bytes,
    /// The entry's key, for channels that keep the latest per key.
    #[serde(default)]
    pub key: Option<String>,
}

/// The answer to `blob.push`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// The entry's id: `<chain>:<n>`.
    pub id: String,
    /// Its cursor in this device's log of the channel.
    pub cursor: String,
}

/// The answer to `blob.push_many`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedMany {
    /// One for each entry, in the order given.
    pub entries: Vec<Pushed>,
}

/// An entry of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in this device's log of the channel: opaque; read on with `after`.
    pub cursor: String,
    /// `<chain>:<n>`, the same on every device.
    pub id: String,
    /// Id of the device that pushed it.
    pub author: String,
    /// Its number in its chain.
    pub n: u64,
    /// The hybrid logical clock's time of its bundle, in Unix milliseconds.
    pub hlc: u64,
    /// Its key, or null.
    #[serde(default)]
    pub key: Option<String>,
    /// The blob.
    pub data: Base64Bytes,
}

/// Entries that are missing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Id of the device whose entries are missing.
    pub author: String,
    /// Why, for people.
    pub reason: String,
}

/// The answer to `blob.pull`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The entries after `after`, in this device's order.
    pub entries: Vec<Entry>,
    /// Where to read on: the next call's `after`.
    pub next: String,
    /// Whether more is there already.
    pub has_more: bool,
    /// Entries known to exist and missing here.
    pub gaps: Vec<Gap>,
    /// Whether retention removed entries after `after`.
    pub truncated: bool,
}

/// One notification of `blob.subscribe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The cursor after which these were read: equal to the previous notification's `next`, or one was lost.
    pub after: String,
    /// Where the next notification goes on.
    pub next: String,
    /// The entries, in this device's order.
    pub entries: Vec<Entry>,
    /// Entries known to exist and missing here.
    pub gaps: Vec<Gap>,
    /// Whether retention removed entries after `after`.
    pub truncated: bool,
}
