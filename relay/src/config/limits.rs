//! `[limits]`: what one device, one address or everybody may do.

use serde::{Deserialize, Serialize};

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections per minute and device.
    pub connections_per_device: u32,
    /// How many of them may come at once.
    pub connections_per_device_burst: u32,
    /// Handshakes per minute and IP address (IPv6: per /64), not on loopback.
    pub connections_per_ip: u32,
    /// How many of them may come at once.
    pub connections_per_ip_burst: u32,
    /// PUSH, PULL, SUBSCRIBE, ROSTER and MAILBOX messages per minute and device.
    pub messages_per_minute: u32,
    /// How many of them may come at once.
    pub messages_per_minute_burst: u32,
    /// SIGNAL messages per minute and device.
    pub signals_per_minute: u32,
    /// How many of them may come at once.
    pub signals_per_minute_burst: u32,
    /// Bytes of blobs and chunks per second and device, in and out together; 0 is no limit.
    pub bytes_per_second_per_device: u64,
    /// How many of them may pass at once.
    pub bytes_per_second_per_device_burst: u64,
    /// The messages that `messages_per_minute` counts, of all devices together, per second.
    pub global_requests_per_second: u32,
    /// How many of them may come at once.
    pub global_requests_per_second_burst: u32,
    /// How long a new connection or stream may take until its session is admitted, in seconds.
    pub hello_timeout_secs: u64,
    /// Most sessions at a time.
    pub max_concurrent_sessions: u64,
    /// Most streams that one connection may have open.
    pub max_streams_per_connection: u32,
    /// Most mailboxes at a time.
    pub max_mailboxes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // One a second for long: more than a device on the worst of networks comes to.
            connections_per_device: 60,
            connections_per_device_burst: 20,
            // Many devices may share the address of one household or office; all of them start again at once when
            // their network does.
            connections_per_ip: 120,
            connections_per_ip_burst: 60,
            // 1,000 a second for long, and a backlog of 10,000 at once.
            messages_per_minute: 60_000,
            messages_per_minute_burst: 10_000,
            signals_per_minute: 6_000,
            signals_per_minute_burst: 1_000,
            bytes_per_second_per_device: 0,
            // Some dozen chunks, so that small traffic never waits behind the pace.
            bytes_per_second_per_device_burst: 4 << 20,
            // What one machine can commit, with room above.
            global_requests_per_second: 50_000,
            global_requests_per_second_burst: 50_000,
            hello_timeout_secs: 10,
            max_concurrent_sessions: 10_000,
            max_streams_per_connection: 64,
            max_mailboxes: 1_000,
        }
    }
}
