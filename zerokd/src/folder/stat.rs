//! What the index remembers of a thing on disk, and when that may be trusted.

use rustix::fs::{AtFlags, FileType};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

/// What kind of thing a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device: never opened, never synced.
    Other,
}

/// A stat of one name, itself and not what it may point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Kind of thing.
    pub(crate) kind: Kind,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Modification time, nanoseconds since 1970.
    pub(crate) mtime_ns: i64,
    /// Change time, nanoseconds since 1970.
    pub(crate) ctime_ns: i64,
    /// Inode number.
    pub(crate) inode: u64,
    /// Device number.
    pub(crate) device: u64,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// A file changed twice within its clock's grain may look unchanged; two seconds is the coarsest grain in use.
const RACY_NS: i64 = 2_000_000_000;

impl Stat {
    /// Of `name` in `dir`, not following a link; `None` if it is absent.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn of(dir: impl AsFd, name: &OsStr) -> std::io::Result<Option<Self>> {
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Self::from(stat))),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Of an open file.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn of_open(file: impl AsFd) -> std::io::Result<Self> {
        Ok(rustix::fs::fstat(file)?.into())
    }

    /// May its owner execute it?
    pub(crate) fn executable(&self) -> bool {
        self.kind == Kind::File && self.mode & 0o100 != 0
    }

    /// May nobody but its owner do anything with it?
    pub(crate) fn owner_only(&self) -> bool {
        self.kind != Kind::Symlink && self.mode & 0o077 == 0
    }

    /// Is it the very same file in the same state? The change time is left out: renames and links move it.
    pub(crate) fn same_content_as(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.size == other.size
            && self.mtime_ns == other.mtime_ns
            && self.inode == other.inode
            && self.device == other.device
    }

    /// Could a change made after this stat, read at `now_ns`, have left the same stat?
    pub(crate) fn is_racy(&self, now_ns: i64) -> bool {
        self.kind == Kind::File && now_ns.abs_diff(self.mtime_ns) <= RACY_NS.unsigned_abs()
    }
}

impl From<rustix::fs::Stat> for Stat {
    fn from(s: rustix::fs::Stat) -> Self {
        let kind = match FileType::from_raw_mode(s.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        };
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        Self {
            kind,
            size: wide(s.st_size),
            mtime_ns: ns(wide(s.st_mtime), wide(s.st_mtime_nsec)),
            ctime_ns: ns(wide(s.st_ctime), wide(s.st_ctime_nsec)),
            inode: wide(s.st_ino),
            device: wide(s.st_dev),
            mode: wide::<_, u32>(s.st_mode) & 0o7777,
        }
    }
}

/// A field of a stat, whose types differ between platforms.
fn wide<T, U: TryFrom<T> + Default>(field: T) -> U {
    U::try_from(field).unwrap_or_default()
}

/// The clock that file times are compared with, nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode};

    #[test]
    fn kinds_and_bits_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| Stat::of(CWD, dir.path().join(n).as_os_str()).unwrap();
        std::fs::write(dir.path().join("f"), b"abc").unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("l")).unwrap();
        rustix::fs::mknodat(CWD, dir.path().join("p"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        rustix::fs::chmod(dir.path().join("f"), Mode::from_raw_mode(0o700)).unwrap();
        let file = at("f").unwrap();
        assert_eq!((file.kind, file.size, file.executable(), file.owner_only()), (Kind::File, 3, true, true));
        assert_eq!(at("l").unwrap().kind, Kind::Symlink);
        assert_eq!(at("p").unwrap().kind, Kind::Other);
        assert_eq!(at("absent"), None);
    }

    #[test]
    fn a_file_touched_within_two_seconds_of_its_stat_is_racy() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"abc").unwrap();
        let stat = Stat::of(CWD, dir.path().join("f").as_os_str()).unwrap().unwrap();
        assert!(stat.is_racy(stat.mtime_ns + 1_999_999_999));
        assert!(!stat.is_racy(stat.mtime_ns + 2_000_000_001));
    }
}
