//! One path, three views: what the index says was last put on or taken from this disk, what the disk holds now, and
//! what the records say. The answer is exactly one thing to do.
//!
//! There is no conflict here: an edit that has not seen the newest record is logged on top of what it has seen, so
//! the two are concurrent, and [`resolve`](crate::resolve()) gives every device the same keeper and the same copies.

use zerok_protocol::Hash;

use crate::record::{Kind, Record};
use crate::version::Version;

/// What stands on a disk, as far as records can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskState {
    /// File, directory, or symlink with its target.
    pub kind: Kind,
    /// Bytes of a file, otherwise 0.
    pub size: u64,
    /// Modification time, Unix nanoseconds.
    pub mtime_ns: i64,
    /// A file with an executable bit.
    pub executable: bool,
    /// No permission for group and others.
    pub owner_only: bool,
    /// BLAKE3 of a file's contents; `None` for everything else.
    pub hash: Option<Hash>,
}

/// The index's row of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The version that was last put on this disk, or logged from it.
    pub version: Version,
    /// What was on disk then, times as read back; `None` if it was a delete.
    pub state: Option<DiskState>,
}

/// What was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Matched by the ignore file: frozen.
    Ignored,
    /// Its directory could not be listed, or the file is still changing.
    Unknown,
    /// Its directory was listed without error and has no such name.
    Absent,
    /// This stands there.
    Present(DiskState),
    /// A FIFO, socket or device.
    Unsupported,
}

/// The one thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// All three agree, or the path is frozen.
    Nothing,
    /// It cannot be told now: look again later.
    Wait,
    /// The disk already is as the record says: write the row from both (no record: remove it).
    Adopt,
    /// Somebody changed the disk: make a record of it, of version [`Version::after`] `base`.
    Log {
        /// What changed.
        change: Change,
        /// What the change has seen.
        base: Version,
    },
    /// The record is newer than the disk: bring it there.
    Apply(Apply),
    /// Something stands there that cannot be synced and must not be touched.
    Blocked,
}

/// How the disk was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// New here.
    Created,
    /// Other contents, another target or another kind.
    Content,
    /// Only times or permissions: its record moves no contents.
    Metadata,
    /// Gone: a tombstone. Only ever from [`Observed::Absent`] and a row that says that it was on this disk.
    Deleted,
}

/// How the disk is to be changed; the record's kind says whether to a file, a directory or a symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// Nothing is there.
    Create,
    /// What is there goes to the versions.
    Replace,
    /// Times and permissions only.
    Metadata,
    /// What is there goes to the versions; a directory must be empty.
    Delete,
}

/// Says what to do about a path. `merged` is its keeper by [`resolve`](crate::resolve()), its copies being other
/// paths' business.
#[must_use]
pub fn reconcile(row: Option<&Row>, seen: &Observed, merged: Option<&Record>) -> Action {
    match seen {
        Observed::Ignored => Action::Nothing,
        Observed::Unknown => Action::Wait,
        Observed::Absent => absent(row, merged),
        Observed::Present(disk) => present(row, disk, merged),
        Observed::Unsupported if was_on_disk(row) || merged.is_some_and(|m| !m.deleted) => Action::Blocked,
        Observed::Unsupported => Action::Nothing,
    }
}

fn was_on_disk(row: Option<&Row>) -> bool {
    row.is_some_and(|row| row.state.is_some())
}

fn log(change: Change, base: &Version) -> Action {
    Action::Log { change, base: base.clone() }
}

fn absent(row: Option<&Row>, merged: Option<&Record>) -> Action {
    let Some(merged) = merged else {
        return if row.is_some() { Action::Adopt } else { Action::Nothing };
    };
    let known = row.and_then(|row| row.state.as_ref());
    let current = row.is_some_and(|row| row.version == merged.version);
    match known {
        _ if merged.deleted => {
            if current && known.is_none() {
                Action::Nothing
            } else {
                Action::Adopt
            }
        }
        None => Action::Apply(Apply::Create),
        // Gone from a disk that had seen these contents.
        Some(known) if current || known.holds(merged) => log(Change::Deleted, &merged.version),
        // Edited elsewhere meanwhile: an edit beats a delete.
        Some(_) => Action::Apply(Apply::Create),
    }
}

fn present(row: Option<&Row>, disk: &DiskState, merged: Option<&Record>) -> Action {
    let unseen = Version::new();
    let base = row.map_or(&unseen, |row| &row.version);
    let Some(known) = row.and_then(|row| row.state.as_ref()) else {
        return appeared(base, disk, merged);
    };
    let untouched = known.same_contents(disk) && known.same_metadata(disk);
    match merged {
        // The record left the merge (its author was revoked); an edit made here stays.
        None if untouched => Action::Apply(Apply::Delete),
        None => log(Change::Content, base),
        Some(merged) if untouched => unchanged(base, disk, merged),
        Some(merged) => edited(base, known, disk, merged),
    }
}

/// There is something that the index did not know to be there.
fn appeared(base: &Version, disk: &DiskState, merged: Option<&Record>) -> Action {
    match merged {
        Some(merged) if disk.holds(merged) => adopt(disk, merged),
        _ => log(Change::Created, base),
    }
}

/// The disk is as it was left.
fn unchanged(base: &Version, disk: &DiskState, merged: &Record) -> Action {
    if merged.deleted {
        Action::Apply(Apply::Delete)
    } else if *base == merged.version {
        Action::Nothing
    } else if disk.holds(merged) {
        adopt(disk, merged)
    } else {
        Action::Apply(Apply::Replace)
    }
}

/// Somebody changed what stood there.
fn edited(base: &Version, known: &DiskState, disk: &DiskState, merged: &Record) -> Action {
    let change = if known.same_contents(disk) { Change::Metadata } else { Change::Content };
    // The records say nothing that this disk has not had, but perhaps times: the edit goes on top of all.
    let seen = *base == merged.version || (known.holds(merged) && known.has_metadata_of(merged));
    match change {
        _ if disk.holds(merged) && disk.has_metadata_of(merged) => Action::Adopt,
        _ if seen => log(change, &merged.version),
        Change::Content if disk.holds(merged) => Action::Apply(Apply::Metadata),
        Change::Content if known.holds(merged) => log(change, &merged.version),
        Change::Content => log(change, base),
        // Only touched, and there is something newer: the touch is not worth a conflict.
        _ => unchanged(base, disk, merged),
    }
}

/// The contents are those of the record; times and permissions follow it.
fn adopt(disk: &DiskState, merged: &Record) -> Action {
    if disk.has_metadata_of(merged) { Action::Adopt } else { Action::Apply(Apply::Metadata) }
}

impl DiskState {
    /// The same file, directory or link, times and permissions apart.
    #[must_use]
    pub fn same_contents(&self, other: &Self) -> bool {
        self.kind == other.kind && self.size == other.size && self.hash == other.hash
    }

    /// The same times and permissions, as far as they are synced.
    #[must_use]
    pub fn same_metadata(&self, other: &Self) -> bool {
        same_metadata(
            &self.kind,
            (self.mtime_ns, self.executable, self.owner_only),
            (other.mtime_ns, other.executable, other.owner_only),
        )
    }

    /// Are these the record's contents?
    #[must_use]
    pub fn holds(&self, record: &Record) -> bool {
        !record.deleted
            && self.kind == record.kind
            && self.size == record.size
            && self.hash == record.content_hash()
    }

    /// Are these the record's times and permissions, as far as they are synced?
    #[must_use]
    pub fn has_metadata_of(&self, record: &Record) -> bool {
        same_metadata(
            &self.kind,
            (self.mtime_ns, self.executable, self.owner_only),
            (record.mtime_ns, record.executable, record.owner_only),
        )
    }
}

/// A directory's time changes with every name in it, a link has no permissions: neither is synced.
fn same_metadata(kind: &Kind, a: (i64, bool, bool), b: (i64, bool, bool)) -> bool {
    match kind {
        Kind::File => a == b,
        Kind::Directory => a.2 == b.2,
        Kind::Symlink { .. } => true,
    }
}

#[cfg(test)]
mod tests;
