//! Every method of the local API, version 1. Each trait is one namespace; zerokd implements the `…Server` halves,
//! [`Client`](crate::Client) has the `…Client` halves as methods. Parameters are by name; an optional one may be
//! left out or be null. `group` names a group by id or name and is needed only when the device is in several.
//!
//! Subscriptions need a WebSocket; over plain HTTP they are refused with JSON-RPC's -32603.

#![expect(
    clippy::too_many_arguments,
    reason = "the parameters of a call are by name on the wire, and are written here"
)]

#[cfg(feature = "server")]
use jsonrpsee::core::SubscriptionResult;
use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::ApiError;
use crate::types::{
    Base64Bytes, DeviceList, DeviceName, Done, EventPage, Folder, FolderList, FolderStatus, Group, GroupList,
    Invitation, Joined, NewEntry, Page, Pushed, PushedMany, Relay, RelayList, Status, Version, Wait, Way,
};
#[cfg(feature = "client")]
use crate::types::{Batch, EventBatch};

/// `daemon.*`: the daemon itself.
#[cfg_attr(all(feature = "server", feature = "client"), rpc(server, client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
#[cfg_attr(all(not(feature = "server"), feature = "client"), rpc(client))]
pub trait Daemon {
    /// What the daemon is doing, and what is wrong. Answers whatever is wrong.
    #[method(name = "daemon.status")]
    async fn daemon_status(&self) -> Result<Status, ApiError>;

    /// The versions of the daemon and of this API.
    #[method(name = "daemon.version")]
    async fn daemon_version(&self) -> Result<Version, ApiError>;

    /// Stops the daemon; answers first. What was accepted is kept.
    #[method(name = "daemon.shutdown")]
    async fn daemon_shutdown(&self) -> Result<Done, ApiError>;
}

/// `device.*`: the devices of a group.
#[cfg_attr(all(feature = "server", feature = "client"), rpc(server, client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
#[cfg_attr(all(not(feature = "server"), feature = "client"), rpc(client))]
pub trait Devices {
    /// The members of a group, and what each is known to hold.
    #[method(name = "device.list", param_kind = map)]
    async fn device_list(&self, group: Option<String>) -> Result<DeviceList, ApiError>;

    /// Gives a device a name (1 to 64 characters, no control characters). `device` is an id or a name; without it,
    /// this device, which needs no group.
    #[method(name = "device.rename", param_kind = map)]
    async fn device_rename(
        &self,
        name: String,
        device: Option<String>,
        group: Option<String>,
    ) -> Result<DeviceName, ApiError>;
}

/// `group.*`: groups of devices.
#[cfg_attr(all(feature = "server", feature = "client"), rpc(server, client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
#[cfg_attr(all(not(feature = "server"), feature = "client"), rpc(client))]
pub trait Groups {
    /// The groups that this device is a member of.
    #[method(name = "group.list")]
    async fn group_list(&self) -> Result<GroupList, ApiError>;

    /// Makes a group with this device as its only member.
    #[method(name = "group.create", param_kind = map)]
    async fn group_create(&self, name: Option<String>) -> Result<Group, ApiError>;
}

/// `pair.*`: letting another device in, and being let in.
#[cfg_attr(all(feature = "server", feature = "client"), rpc(server, client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
#[cfg_attr(all(not(feature = "server"), feature = "client"), rpc(client))]
pub trait Pairing {
    /// Makes an invite and returns at once; the daemon keeps it until it is used, cancelled or `ttl_s` seconds old
    /// (default 600, at most 600). Makes a group when the device has none. Follow `pair.granted` and `pair.failed`
    /// in the events.
    #[method(name = "pair.create", param_kind = map)]
    async fn pair_create(
        &self,
        way: Option<Way>,
        ttl_s: Option<u64>,
        group: Option<String>,
    ) -> Result<Invitation, ApiError>;

    /// Joins the group that an invite names; returns when the group is usable here. `device_name` renames this
    /// device first.
    #[method(name = "pair.join", param_kind = map)]
    async fn pair_join(&self, invite: String, device_name: Option<String>) -> Result<Joined, ApiError>;

    /// Withdraws an invite of this device.
    #[method(name = "pair.cancel", param_kind = map)]
    async fn pair_cancel(&self, invite_id: String) -> Result<Done, ApiError>;
}

/// `relay.*`: the relays that this device uses.
#[cfg_attr(all(feature = "server", feature = "client"), rpc(server, client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
#[cfg_attr(all(not(feature = "server"), feature = "client"), rpc(client))]
pub trait Relays {
    /// The relays and the state of the links to them.
    #[method(name = "relay.list", param_kind = map)]
    async fn relay_list(&self, group: Option<String>) -> Result<RelayList, ApiError>;

    /// Adds a relay by its address text (`<id>@<ip:port>[,…][?relay=<url>][&token=…]`); returns without waiting for
    /// it. Without a group it belongs to the device, and to the group that is made or joined next. The same relay
    /// again replaces its address.
    #[method(name = "relay.add", param_kind = map)]
    async fn relay_add(&self, address: String, group: Option<String>) -> Result<Relay, ApiError>;

    /// Removes a relay by its id.
    #[method(name = "relay.remove", param_kind = map)]
    async fn relay_remove(&self, relay: String, group: Option<String>) -> Result<Done, ApiError>;

    /// Starts the relay inside this daemon, now and at every start, and adds it as a relay of this device. `bind` is
    /// `ip:port` (port 0 picks a free one and keeps it; default 0.0.0.0:0, every interface: it serves the groups of this device and nobody else).
    #[method(name = "relay.embed", param_kind = map)]
    async fn relay_embed(&self, bind: Option<String>, group: Option<String>) -> Result<Relay, ApiError>;
}

/// `blob.*`: app blobs. A channel name has 1 to 128 of `a-z0-9._/-`.
#[cfg_attr(all(feature = "server", feature = "client"), rpc(server, client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
#[cfg_attr(all(not(feature = "server"), feature = "client"), rpc(client))]
pub trait Blobs {
    /// Appends a blob (0 bytes to 900 KiB) to a channel. Returns when the entry is committed on this device, or as
    /// far as `wait` says; being offline is no error. A timeout while waiting takes nothing back. The same
    /// `idempotency_key` (at most 128 bytes) within 24 h answers the first result again.
    #[method(name = "blob.push", param_kind = map)]
    async fn blob_push(
        &self,
        channel: String,
        data: Base64Bytes,
        key: Option<String>,
        idempotency_key: Option<String>,
        wait: Option<Wait>,
        timeout_ms: Option<u64>,
        group: Option<String>,
    ) -> Result<Pushed, ApiError>;

    /// Appends up to 1,000 blobs in one commit: all or none.
    #[method(name = "blob.push_many", param_kind = map)]
    async fn blob_push_many(
        &self,
        channel: String,
        entries: Vec<NewEntry>,
        idempotency_key: Option<String>,
        wait: Option<Wait>,
        timeout_ms: Option<u64>,
        group: Option<String>,
    ) -> Result<PushedMany, ApiError>;

    /// Reads a channel after a cursor (`after`, default `0`, the beginning) or after a consumer's stored one. With
    /// `wait_ms` (at most 600,000) an empty page waits that long for an entry.
    #[method(name = "blob.pull", param_kind = map)]
    async fn blob_pull(
        &self,
        channel: String,
        after: Option<String>,
        consumer: Option<String>,
        limit: Option<u32>,
        max_bytes: Option<u64>,
        exclude_own: Option<bool>,
        wait_ms: Option<u64>,
        group: Option<String>,
    ) -> Result<Page, ApiError>;

    /// Stores a consumer's cursor: a durable offset by name (1 to 128 of `a-z0-9._/-`).
    #[method(name = "blob.ack", param_kind = map)]
    async fn blob_ack(
        &self,
        channel: String,
        consumer: String,
        cursor: String,
        group: Option<String>,
    ) -> Result<Done, ApiError>;

    /// Follows a channel from a cursor or a consumer's stored one: a reader of the stored log, so that a slow
    /// reader is paused and misses nothing. Each notification's `after` equals the `next` before it.
    #[subscription(name = "blob.subscribe" => "blob.entries", unsubscribe = "blob.unsubscribe", item = Batch, param_kind = map)]
    async fn blob_subscribe(
        &self,
        channel: String,
        after: Option<String>,
        consumer: Option<String>,
        exclude_own: Option<bool>,
        group: Option<String>,
    ) -> SubscriptionResult;
}

/// `folder.*`: folders that are kept in step. `folder` is an id or a name.
#[cfg_attr(all(feature = "server", feature = "client"), rpc(server, client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
#[cfg_attr(all(not(feature = "server"), feature = "client"), rpc(client))]
pub trait Folders {
    /// Shares a directory (an absolute path) with the group. `name` is the directory's own by default.
    #[method(name = "folder.add", param_kind = map)]
    async fn folder_add(
        &self,
        path: String,
        name: Option<String>,
        group: Option<String>,
    ) -> Result<Folder, ApiError>;

    /// Takes an offered folder into a directory (an absolute path), which is made when absent.
    #[method(name = "folder.join", param_kind = map)]
    async fn folder_join(
        &self,
        folder: String,
        path: String,
        group: Option<String>,
    ) -> Result<Folder, ApiError>;

    /// Every folder, offered ones included.
    #[method(name = "folder.list", param_kind = map)]
    async fn folder_list(&self, group: Option<String>) -> Result<FolderList, ApiError>;

    /// One folder with counts, progress and problems.
    #[method(name = "folder.status", param_kind = map)]
    async fn folder_status(&self, folder: String, group: Option<String>) -> Result<FolderStatus, ApiError>;

    /// Stops keeping a folder in step on this device. The files stay where they are, here and elsewhere.
    #[method(name = "folder.remove", param_kind = map)]
    async fn folder_remove(&self, folder: String, group: Option<String>) -> Result<Done, ApiError>;
}

/// `events.*`: what happens, numbered, in a ring of 10,000.
#[cfg_attr(all(feature = "server", feature = "client"), rpc(server, client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
#[cfg_attr(all(not(feature = "server"), feature = "client"), rpc(client))]
pub trait EventLog {
    /// The events after a cursor (default `0`, the oldest that is kept). With `wait_ms` (at most 600,000) an empty
    /// page waits that long for an event. `limit` 0 asks only for `next`, the present end.
    #[method(name = "events.since", param_kind = map)]
    async fn events_since(
        &self,
        after: Option<String>,
        limit: Option<u32>,
        wait_ms: Option<u64>,
    ) -> Result<EventPage, ApiError>;

    /// Follows the events after a cursor (default: from now). Each notification's `after` equals the `next` before
    /// it.
    #[subscription(name = "events.subscribe" => "events.batch", unsubscribe = "events.unsubscribe", item = EventBatch, param_kind = map)]
    async fn events_subscribe(&self, after: Option<String>) -> SubscriptionResult;
}
