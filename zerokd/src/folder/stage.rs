//! New contents, written below `.zerok/tmp/` before anything in the folder is touched.
//!
//! A staged file is private (0600) until it is complete; then it gets the mode and the time it shall have. A batch is
//! made durable at once: a few small files each by its own fsync, many by one syncfs.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};

use zerok_core::ContentRef;

use super::root::Root;
use super::stat::Stat;

/// From this many files on a batch is synced by one call.
const MANY_FILES: usize = 32;
/// From this many bytes on a batch is synced by one call.
const MANY_BYTES: u64 = 8 << 20;

/// How the names of temporaries for fetched contents begin.
const FETCHED: &str = "get-";
/// How long an unfinished one is kept over restarts, in nanoseconds: two days.
const UNFINISHED_NS: i64 = 2 * 86_400 * 1_000_000_000;

/// What a file shall look like beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Modification time, nanoseconds since 1970.
    pub(crate) mtime_ns: i64,
    /// May its owner execute it?
    pub(crate) executable: bool,
    /// May nobody else touch it?
    pub(crate) owner_only: bool,
}

/// The directory for temporaries of one folder, and the mode new files get.
pub(crate) struct Stage {
    tmp: OwnedFd,
    umask: u32,
}

/// Files staged together.
#[derive(Default)]
pub(crate) struct Batch {
    unsynced: Vec<File>,
    files: usize,
    bytes: u64,
}

impl Stage {
    /// Opens, or makes, the folder's `.zerok/tmp`.
    ///
    /// # Errors
    /// It is something else than a directory, or cannot be made.
    pub(crate) fn open(root: &Root) -> io::Result<Self> {
        Ok(Self { tmp: root.own_dir("tmp")?, umask: umask() })
    }

    /// The directory itself.
    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.tmp
    }

    /// A new empty private file.
    ///
    /// # Errors
    /// The name is taken, or the disk refuses.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.tmp, name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    /// The temporary for contents that are fetched for a path: new, or with what an earlier try has brought.
    ///
    /// # Errors
    /// Something else has the name, or the disk refuses.
    pub(crate) fn fetched(&self, content: &ContentRef, key: &str) -> io::Result<(String, File)> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(content.root.as_bytes()).update(key.as_bytes());
        let name = format!("{FETCHED}{}", hasher.finalize().to_hex());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.tmp, &*name, flags, Mode::from_raw_mode(0o600))?);
        if Stat::of_open(&file)?.kind != super::stat::Kind::File {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok((name, file))
    }

    /// Is it a temporary that a later try may go on from?
    pub(crate) fn may_go_on(&self, name: &str, now_ns: i64) -> bool {
        let stat = Stat::of(&self.tmp, std::ffi::OsStr::new(name)).ok().flatten();
        name.starts_with(FETCHED)
            && stat.is_some_and(|stat| now_ns.saturating_sub(stat.mtime_ns) < UNFINISHED_NS)
    }

    /// Writes a whole content and finishes the file.
    ///
    /// # Errors
    /// The disk refuses; what was begun is removed.
    pub(crate) fn write(
        &self,
        name: &str,
        content: &[u8],
        look: Look,
        replaced: Option<&Stat>,
        batch: &mut Batch,
    ) -> io::Result<Stat> {
        let mut file = self.create(name)?;
        let done = file.write_all(content).and_then(|()| self.finish(file, look, replaced, batch));
        if done.is_err() {
            self.discard(name);
        }
        done
    }

    /// Gives a complete file its mode and time, and counts it into the batch. A file that replaces another keeps that
    /// one's permissions as far as `look` leaves them open.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn finish(
        &self,
        file: File,
        look: Look,
        replaced: Option<&Stat>,
        batch: &mut Batch,
    ) -> io::Result<Stat> {
        let mode = self.file_mode(look, replaced);
        if mode != 0o600 {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        }
        rustix::fs::futimens(&file, &times(look.mtime_ns))?;
        let stat = Stat::of_open(&file)?;
        batch.files += 1;
        batch.bytes = batch.bytes.saturating_add(stat.size);
        if batch.many() {
            batch.unsynced.clear();
        } else {
            batch.unsynced.push(file);
        }
        Ok(stat)
    }

    /// Makes everything in the batch durable.
    ///
    /// # Errors
    /// The disk refuses: nothing of the batch may be put into place.
    pub(crate) fn sync(&self, batch: Batch) -> io::Result<()> {
        if batch.many() {
            return sync_all(&self.tmp);
        }
        batch.unsynced.iter().try_for_each(File::sync_data)
    }

    /// Removes a temporary that is not needed; what cannot be removed is found at the next start.
    pub(crate) fn discard(&self, name: &str) {
        let _ = rustix::fs::unlinkat(&self.tmp, name, AtFlags::empty());
    }

    /// The permission bits of a file with this look.
    pub(crate) fn file_mode(&self, look: Look, replaced: Option<&Stat>) -> u32 {
        let mut mode = match replaced {
            Some(old) if old.owner_only() == look.owner_only => old.mode & 0o777,
            _ if look.owner_only => 0o600,
            _ => 0o666 & !self.umask,
        };
        mode |= 0o600;
        if look.executable {
            mode |= (mode & 0o444) >> 2;
        } else {
            mode &= !0o111;
        }
        if look.owner_only { mode & 0o700 } else { mode }
    }

    /// The permission bits of a directory.
    pub(crate) fn dir_mode(&self, owner_only: bool) -> u32 {
        if owner_only { 0o700 } else { 0o777 & !self.umask | 0o700 }
    }
}

impl Batch {
    /// Is there nothing in it?
    pub(crate) fn is_empty(&self) -> bool {
        self.files == 0
    }

    fn many(&self) -> bool {
        self.files >= MANY_FILES || self.bytes > MANY_BYTES
    }
}

/// A modification time as the system wants it; the access time stays.
pub(crate) fn times(mtime_ns: i64) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let modified =
        Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: mtime_ns.rem_euclid(1_000_000_000) };
    Timestamps { last_access: omit, last_modification: modified }
}

/// Makes everything written to the file system that holds `dir` durable, names included.
///
/// # Errors
/// The disk refuses.
pub(crate) fn sync_all(dir: impl AsFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(dir)?;
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::fsync(dir)?;
        rustix::fs::sync();
    }
    Ok(())
}

/// The process's umask, read without changing it where the system can tell.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let told = status.lines().find_map(|l| l.strip_prefix("Umask:"));
    told.and_then(|t| u32::from_str_radix(t.trim(), 8).ok()).unwrap_or(0o022)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { mtime_ns: 1_600_000_000_123_456_789, executable: false, owner_only: false };

    fn stage() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_staged_file_has_its_content_time_and_mode() {
        let (dir, root) = stage();
        let stage = Stage::open(&root).unwrap();
        let mut batch = Batch::default();
        let look = Look { executable: true, owner_only: true, ..PLAIN };
        let stat = stage.write("a", b"hello", look, None, &mut batch).unwrap();
        stage.sync(batch).unwrap();
        assert_eq!((stat.size, stat.mtime_ns, stat.mode), (5, PLAIN.mtime_ns, 0o700));
        assert_eq!(std::fs::read(dir.path().join(".zerok/tmp/a")).unwrap(), b"hello");
    }

    #[test]
    fn a_time_before_1970_is_kept() {
        let (_dir, root) = stage();
        let stage = Stage::open(&root).unwrap();
        let look = Look { mtime_ns: -1_500_000_000, ..PLAIN };
        assert_eq!(
            stage.write("a", b"", look, None, &mut Batch::default()).unwrap().mtime_ns,
            -1_500_000_000
        );
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions_as_far_as_the_record_leaves_them_open() {
        let (_dir, root) = stage();
        let stage = Stage { umask: 0o022, ..Stage::open(&root).unwrap() };
        let mut old = Stat::of_open(&root).unwrap();
        old.kind = super::super::stat::Kind::File;
        old.mode = 0o664;
        assert_eq!(stage.file_mode(PLAIN, Some(&old)), 0o664);
        assert_eq!(stage.file_mode(Look { executable: true, ..PLAIN }, Some(&old)), 0o775);
        assert_eq!(stage.file_mode(Look { owner_only: true, ..PLAIN }, Some(&old)), 0o600);
        old.mode = 0o600;
        assert_eq!(stage.file_mode(PLAIN, Some(&old)), 0o644);
    }

    #[test]
    fn many_files_hold_no_descriptors_open() {
        let (_dir, root) = stage();
        let stage = Stage::open(&root).unwrap();
        let mut batch = Batch::default();
        for n in 0..100 {
            stage.write(&n.to_string(), b"x", PLAIN, None, &mut batch).unwrap();
        }
        assert!(batch.unsynced.is_empty());
        stage.sync(batch).unwrap();
    }
}
