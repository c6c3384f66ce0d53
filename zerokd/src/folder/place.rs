//! Putting a staged thing into place, or taking one away, in steps of which none can lose a byte: whatever is
//! displaced is looked at *after* it was moved aside, so that an edit made in the last microsecond is seen.

use std::ffi::OsStr;
use std::io;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::disk_path::DiskPath;
use super::root::{DirFd, Dirs};
use super::stat::Stat;
use super::versions::{self, rename_new};

/// What became of an attempt to replace or remove.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// Done; the old thing, if any, is among the versions.
    Done,
    /// Something else was there than the index says. It is in its place again, untouched; the staged thing is still
    /// where it was.
    Changed,
}

/// Puts the staged `tmp` at `name`, where nothing may be.
///
/// # Errors
/// `AlreadyExists` if something is; else the system's error.
pub(crate) fn create(stage: &std::os::fd::OwnedFd, tmp: &str, dir: &DirFd, name: &OsStr) -> io::Result<()> {
    rename_new(stage, OsStr::new(tmp), dir, name)
}

/// Exchanges the staged `tmp` with what is at `path`, and keeps that among the versions if it is what `is_expected`
/// says. The path is never absent in between.
///
/// # Errors
/// Nothing is at the path (`NotFound`), or the system refuses.
pub(crate) fn replace(
    dirs: &mut Dirs<'_>,
    stage: &DirFd,
    tmp: &str,
    path: &DiskPath,
    now_ms: u64,
    is_expected: impl FnOnce(&Stat) -> bool,
) -> io::Result<Placed> {
    let (parent, name) = path.split().ok_or(io::ErrorKind::InvalidInput)?;
    let dir = dirs.open(&parent)?;
    match exchange(stage, tmp, &dir, name) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            return replace_by_two_renames(dirs, stage, tmp, &dir, name, path, now_ms, is_expected);
        }
        other => other?,
    }
    let displaced = Stat::of(stage, OsStr::new(tmp))?.ok_or(io::ErrorKind::NotFound)?;
    if !is_expected(&displaced) {
        exchange(stage, tmp, &dir, name)?;
        return Ok(Placed::Changed);
    }
    versions::keep(dirs, stage, OsStr::new(tmp), path, now_ms)?;
    Ok(Placed::Done)
}

/// Moves what is at `path` to the versions; if it turns out not to be what `is_expected` says, back again.
///
/// # Errors
/// Nothing is at the path (`NotFound`), or the system refuses.
pub(crate) fn remove(
    dirs: &mut Dirs<'_>,
    path: &DiskPath,
    now_ms: u64,
    is_expected: impl FnOnce(&Stat) -> bool,
) -> io::Result<Placed> {
    let (parent, name) = path.split().ok_or(io::ErrorKind::InvalidInput)?;
    let dir = dirs.open(&parent)?;
    let kept = versions::keep(dirs, &dir, name, path, now_ms)?;
    if is_expected(&kept.stat()?) {
        return Ok(Placed::Done);
    }
    match kept.put_back(&dir, name) {
        // Somebody made the name anew in between: what was taken away stays among the versions.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Placed::Changed),
        Err(e) => Err(e),
        Ok(()) => Ok(Placed::Changed),
    }
}

/// Removes an empty directory.
///
/// # Errors
/// It is not empty (`DirectoryNotEmpty`), absent, or no directory.
pub(crate) fn remove_dir(dirs: &mut Dirs<'_>, path: &DiskPath) -> io::Result<()> {
    let (parent, name) = path.split().ok_or(io::ErrorKind::InvalidInput)?;
    dirs.forget(path);
    Ok(rustix::fs::unlinkat(&*dirs.open(&parent)?, name, AtFlags::REMOVEDIR)?)
}

fn exchange(stage: &DirFd, tmp: &str, dir: &DirFd, name: &OsStr) -> Result<(), Errno> {
    rustix::fs::renameat_with(&**stage, tmp, &**dir, name, RenameFlags::EXCHANGE)
}

/// For file systems without an exchange: the path is absent between two renames.
#[expect(clippy::too_many_arguments, reason = "one step of `replace`, with all it had")]
fn replace_by_two_renames(
    dirs: &Dirs<'_>,
    stage: &DirFd,
    tmp: &str,
    dir: &DirFd,
    name: &OsStr,
    path: &DiskPath,
    now_ms: u64,
    is_expected: impl FnOnce(&Stat) -> bool,
) -> io::Result<Placed> {
    let kept = versions::keep(dirs, dir, name, path, now_ms)?;
    if !is_expected(&kept.stat()?) {
        kept.put_back(dir, name)?;
        return Ok(Placed::Changed);
    }
    rename_new(&**stage, OsStr::new(tmp), &**dir, name)?;
    Ok(Placed::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::root::Root;
    use std::path::Path;
    use std::sync::Arc;

    fn write(dir: &Path, name: &str, content: &str) {
        std::fs::write(dir.join(name), content).unwrap();
    }

    fn read(dir: &Path, name: &str) -> String {
        std::fs::read_to_string(dir.join(name)).unwrap()
    }

    struct Fixture {
        dir: tempfile::TempDir,
        root: Root,
        stage: DirFd,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let stage = Arc::new(root.own_dir("tmp").unwrap());
        Fixture { dir, root, stage }
    }

    #[test]
    fn a_new_file_never_replaces_one() {
        let f = fixture();
        write(f.dir.path(), ".zerok/tmp/t", "new");
        write(f.dir.path(), "a", "old");
        let at = Dirs::new(&f.root).open(&DiskPath::root()).unwrap();
        let error = create(&f.stage, "t", &at, OsStr::new("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(f.dir.path(), "a"), "old");
    }

    #[test]
    fn what_is_replaced_is_kept_among_the_versions() {
        let f = fixture();
        write(f.dir.path(), ".zerok/tmp/t", "new");
        write(f.dir.path(), "a", "old");
        let (mut dirs, path) = (Dirs::new(&f.root), DiskPath::parse(b"a").unwrap());
        assert_eq!(replace(&mut dirs, &f.stage, "t", &path, 0, |s| s.size == 3).unwrap(), Placed::Done);
        assert_eq!(read(f.dir.path(), "a"), "new");
        assert_eq!(read(f.dir.path(), ".zerok/versions/a~19700101-000000"), "old");
        assert!(!f.dir.path().join(".zerok/tmp/t").exists());
    }

    #[test]
    fn a_local_edit_in_the_last_moment_stays_in_its_place() {
        let f = fixture();
        write(f.dir.path(), ".zerok/tmp/t", "new");
        write(f.dir.path(), "a", "edited");
        let (mut dirs, path) = (Dirs::new(&f.root), DiskPath::parse(b"a").unwrap());
        assert_eq!(replace(&mut dirs, &f.stage, "t", &path, 0, |s| s.size == 3).unwrap(), Placed::Changed);
        assert_eq!(
            (read(f.dir.path(), "a"), read(f.dir.path(), ".zerok/tmp/t")),
            ("edited".into(), "new".into())
        );
        assert_eq!(remove(&mut dirs, &path, 0, |s| s.size == 3).unwrap(), Placed::Changed);
        assert_eq!(read(f.dir.path(), "a"), "edited");
    }

    #[test]
    fn nothing_is_written_or_removed_through_a_link() {
        let f = fixture();
        let outside = tempfile::tempdir().unwrap();
        write(outside.path(), "a", "theirs");
        write(f.dir.path(), ".zerok/tmp/t", "new");
        std::os::unix::fs::symlink(outside.path(), f.dir.path().join("d")).unwrap();
        let (mut dirs, path) = (Dirs::new(&f.root), DiskPath::parse(b"d/a").unwrap());
        assert!(replace(&mut dirs, &f.stage, "t", &path, 0, |_| true).is_err());
        assert!(remove(&mut dirs, &path, 0, |_| true).is_err());
        assert_eq!(read(outside.path(), "a"), "theirs");
    }

    #[test]
    fn a_directory_with_something_in_it_stays() {
        let f = fixture();
        std::fs::create_dir(f.dir.path().join("d")).unwrap();
        write(f.dir.path(), "d/x", "1");
        let (mut dirs, path) = (Dirs::new(&f.root), DiskPath::parse(b"d").unwrap());
        assert_eq!(remove_dir(&mut dirs, &path).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
        std::fs::remove_file(f.dir.path().join("d/x")).unwrap();
        remove_dir(&mut dirs, &path).unwrap();
        assert!(!f.dir.path().join("d").exists());
    }
}
