//! The limits of the local API, for both sides.

/// Largest request and largest response, in bytes of JSON.
pub const MAX_MESSAGE: u32 = 16 * 1024 * 1024;
/// Most calls in one batch.
pub const MAX_BATCH: u32 = 100;
/// Most connections at once.
pub const MAX_CONNECTIONS: usize = 64;
/// Most subscriptions at once, over all connections.
pub const MAX_SUBSCRIPTIONS: usize = 1024;
/// Largest blob that `blob.push` takes, in bytes.
pub const MAX_BLOB: usize = 900 * 1024;
/// Most entries in one `blob.push_many`.
pub const MAX_PUSH_MANY: usize = 1000;
/// Most entries or events in one page; also the default.
pub const MAX_PAGE: u32 = 1000;
/// Most bytes of data in one page; also the default. A page always holds at least one entry.
pub const MAX_PAGE_BYTES: u64 = 4 * 1024 * 1024;
/// Most bytes of data in one notification of `blob.subscribe`.
pub const MAX_BATCH_BYTES: u64 = 1024 * 1024;
/// Longest time that a call may ask the daemon to wait, in milliseconds.
pub const MAX_WAIT_MS: u64 = 600_000;
