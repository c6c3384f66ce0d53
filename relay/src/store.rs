//! Where blobs and rosters are kept. Everything else knows only the [`Storage`] trait; SQL is below this module.
//!
//! Contract: an answer comes after the commit that survives a power cut. Blobs that were committed are handed to
//! the [`Sink`] in cursor order, before their pushers are answered. A dropped answer does not cancel the work.

mod backup;
mod blobs;
mod books;
mod check;
mod file;
mod invites;
mod readers;
mod restore;
mod retention;
mod roster;
mod schema;
mod sqlite;
mod state;
mod vacuum;
mod wal;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use zerok_protocol::roster::Append;
use zerok_protocol::{Blob, BlobId, DeviceId, GroupId, Hash, LastPush, LogId};

pub use backup::{Backup, BackupError, backup};
pub use check::{CheckError, CheckOptions, Damage, DamageKind, Report, check};
pub use file::FileError;
pub use invites::{Invite, InviteError, InviteState, Invites, Terms};
pub use restore::{RestoreError, Restored, restore};
pub use sqlite::OpenError;
pub(crate) use sqlite::{Options, Sqlite};

/// Why the storage refuses or fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// The group is not stored here.
    #[error("unknown group")]
    UnknownGroup,
    /// The same blob id with another payload.
    #[error("blob id used before with another payload")]
    Conflict,
    /// The blob is new and its epoch is not the newest.
    #[error("stale epoch")]
    Stale,
    /// The group or the relay is at its quota, and nothing may go.
    #[error("quota exceeded")]
    Quota,
    /// No more groups.
    #[error("too many groups")]
    TooManyGroups,
    /// Who makes a group here needs an invitation.
    #[error("not invited: {0}")]
    NotInvited(NotInvited),
    /// The roster has grown in between.
    #[error("roster moved on")]
    RosterMoved,
    /// The disk is full.
    #[error("disk full")]
    DiskFull,
    /// The relay is stopping.
    #[error("closed")]
    Closed,
    /// Pages of the database are not what was written.
    #[error("the database is damaged")]
    Damaged,
    /// The database failed. The text comes from SQLite and holds no values.
    #[error("database: {0}")]
    Database(Arc<str>),
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotInvited {
    /// There is none.
    #[error("this relay takes new groups by invitation only")]
    NoToken,
    /// It is not one of this relay's.
    #[error("this relay does not know the invitation")]
    Unknown,
    /// All its groups are made.
    #[error("the invitation is used up")]
    Used,
    /// Its time is over.
    #[error("the invitation has expired")]
    Expired,
    /// The operator took it back.
    #[error("the invitation was revoked")]
    Revoked,
}

/// Who may make the group that statements begin.
#[derive(Debug, Clone)]
pub(crate) enum Maker {
    /// Anybody who got this far.
    Anybody,
    /// Who has an invitation: the token from HELLO.
    Invited(Option<String>),
}

/// Sizes that the storage holds to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotas {
    /// Bytes of one group.
    pub(crate) group_bytes: u64,
    /// Bytes of all groups.
    pub(crate) total_bytes: u64,
    /// Groups.
    pub(crate) groups: u64,
}

/// A blob to store.
#[derive(Clone)]
pub(crate) struct NewBlob {
    pub(crate) group: GroupId,
    pub(crate) pusher: DeviceId,
    pub(crate) blob_id: BlobId,
    pub(crate) recipient: Option<DeviceId>,
    pub(crate) ttl_seconds: u64,
    /// Its epoch is not the newest: only a repeat is answered.
    pub(crate) stale: bool,
    /// BLAKE3 of the payload.
    pub(crate) hash: Hash,
    pub(crate) payload: Bytes,
}

/// Where a blob is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) cursor: u64,
    pub(crate) timestamp: u64,
}

/// A blob that has just been committed.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) group: GroupId,
    pub(crate) recipient: Option<DeviceId>,
    pub(crate) blob: Blob,
}

/// Takes what was committed, in order, on the writer's thread: it must not block.
pub(crate) type Sink = Box<dyn Fn(Vec<Stored>) + Send>;

/// Told once about one push, on the writer's thread: it must not block.
pub(crate) type PushDone = Box<dyn FnOnce(Result<Pushed, StoreError>) + Send>;

/// A group as it is stored.
#[derive(Debug)]
pub(crate) struct GroupRecord {
    pub(crate) log_id: LogId,
    pub(crate) statements: Vec<StoredStatement>,
}

/// A statement and when it was accepted here.
#[derive(Debug)]
pub(crate) struct StoredStatement {
    pub(crate) append: Append,
    pub(crate) accepted_ms: u64,
}

/// What the storage knows of one member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberRecord {
    /// The newest cursor assigned in the group.
    pub(crate) last_cursor: u64,
    pub(crate) acked: Option<u64>,
    pub(crate) last_push: Option<LastPush>,
}

/// A stretch of the group's stream as one device sees it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) blobs: Vec<Blob>,
    /// Everything up to here that the device may see was offered.
    pub(crate) upto: u64,
    pub(crate) has_more: bool,
}

/// How large a page may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimit {
    pub(crate) blobs: u32,
    /// Bytes of payload, exceeded only by a single blob.
    pub(crate) bytes: usize,
}

/// Statements to append, judged already.
pub(crate) struct NewStatements {
    pub(crate) group: GroupId,
    /// How many statements the stored roster must have: compare and set.
    pub(crate) expected: u64,
    /// Number of the first of them; below `expected` they replace a branch that lost against them.
    pub(crate) first: u64,
    pub(crate) statements: Vec<Append>,
    /// Asked only if the group is not there yet.
    pub(crate) maker: Maker,
    /// All members after the last of them, and whether their acknowledgements count.
    pub(crate) members: Vec<(DeviceId, bool)>,
}

/// What is stored in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) groups: u64,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
}

/// An answer that comes later.
pub(crate) type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// The storage of a relay.
pub(crate) trait Storage: Send + Sync {
    /// The group with its roster, if it is stored.
    fn group(&self, group: GroupId) -> Answer<Option<GroupRecord>>;
    /// Appends statements; the first of a group makes it.
    fn append(&self, new: NewStatements) -> Answer<()>;
    /// Statements from a number on, at most `bytes` of them but at least one.
    fn statements(&self, group: GroupId, from: u64, bytes: usize) -> Answer<Vec<Append>>;
    /// What is known of a member.
    fn member(&self, group: GroupId, device: DeviceId) -> Answer<MemberRecord>;
    /// Stores a blob, or answers a repeat with its first cursor.
    fn push(&self, blob: NewBlob, done: PushDone);
    /// What a device may see after a cursor.
    fn page(&self, group: GroupId, device: DeviceId, after: u64, limit: PageLimit) -> Answer<Page>;
    /// Notes that a device has everything up to a cursor. Becomes durable soon, without costing a commit of its own.
    fn acknowledge(&self, group: GroupId, device: DeviceId, cursor: u64);
    /// Removes what has expired, a little at a time.
    fn expire(&self) -> Answer<u64>;
    /// Gives room that became free back to the file system, a little at a time; returns how many bytes.
    fn give_back(&self) -> Answer<u64>;
    /// Answers if the database works, for reading and for writing.
    fn probe(&self) -> Answer<()>;
    /// Is less of the disk free than there should be, so that nothing new is stored?
    fn disk_short(&self) -> bool;
    /// What is stored in all.
    fn totals(&self) -> Totals;
    /// Finishes what was accepted and closes.
    fn close(&self) -> Answer<()>;
}
