//! What the daemon replaces or deletes goes below `.zerok/versions/`, by rename, as a plain file at its old path with
//! the time in its name: `a/report~20260131-120000.txt`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::RenameFlags;

use super::disk_path::{DiskPath, MAX_NAME};
use super::root::{DirFd, Dirs, make_dir, open_dir};
use super::stat::Kind;

/// Most files with one name in one second; beyond it the move is refused rather than tried for ever.
const SAME_SECOND: u32 = 10_000;

/// Where a thing went: the directory below `.zerok/versions` and its name there.
pub(crate) struct Kept {
    dir: OwnedFd,
    name: OsString,
}

/// Moves `from` (a name in the open directory `dir`) to the versions of `path`. It never replaces anything.
///
/// # Errors
/// The thing is gone (`NotFound`), or the rename is refused.
pub(crate) fn keep(
    dirs: &Dirs<'_>,
    dir: &DirFd,
    from: &OsStr,
    path: &DiskPath,
    now_ms: u64,
) -> io::Result<Kept> {
    let (parent, name) = path.split().ok_or(io::ErrorKind::InvalidInput)?;
    let mut into = dirs.root().own_dir("versions")?;
    for part in parent.names() {
        into = make_version_dir(&into, part)?;
    }
    for n in 0..SAME_SECOND {
        let kept = version_name(name.as_bytes(), now_ms, n);
        match rename_new(dir, from, &into, &kept) {
            Ok(()) => return Ok(Kept { dir: into, name: kept }),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

impl Kept {
    /// What was kept, looked at where it is now.
    ///
    /// # Errors
    /// It is gone again, or cannot be looked at.
    pub(crate) fn stat(&self) -> io::Result<super::stat::Stat> {
        super::stat::Stat::of(&self.dir, &self.name)?.ok_or(io::ErrorKind::NotFound.into())
    }

    /// Moves it back to `name` in `dir`, unless that name is taken by now.
    ///
    /// # Errors
    /// The name is taken (`AlreadyExists`), or the rename is refused.
    pub(crate) fn put_back(&self, dir: &DirFd, name: &OsStr) -> io::Result<()> {
        rename_new(&self.dir, &self.name, dir, name)
    }
}

/// Renames without ever replacing; where the system has no such rename, by link and unlink.
///
/// # Errors
/// `AlreadyExists` if the target is taken, else the system's error.
pub(crate) fn rename_new(
    from_dir: impl std::os::fd::AsFd,
    from: &OsStr,
    to_dir: impl std::os::fd::AsFd,
    to: &OsStr,
) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(&from_dir, from, &to_dir, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            rustix::fs::linkat(&from_dir, from, &to_dir, to, rustix::fs::AtFlags::empty())?;
            Ok(rustix::fs::unlinkat(&from_dir, from, rustix::fs::AtFlags::empty())?)
        }
        other => Ok(other?),
    }
}

/// A directory below `versions`; a file that once had this name, kept beside it, does not stand in the way.
fn make_version_dir(into: &OwnedFd, part: &OsStr) -> io::Result<OwnedFd> {
    match make_dir(into, part, 0o700) {
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            let mut beside = part.as_bytes().get(..part.len().min(MAX_NAME - 1)).unwrap_or_default().to_vec();
            beside.push(b'~');
            make_dir(into, OsStr::from_bytes(&beside), 0o700)
        }
        other => other,
    }
}

/// `stem~YYYYMMDD-HHMMSS[-n].ext`, cut to what a name may hold.
fn version_name(name: &[u8], now_ms: u64, n: u32) -> OsString {
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0 && name.len() - at <= 32);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mut tail = format!("~{}", utc(now_ms));
    if n > 0 {
        tail.push_str(&format!("-{n}"));
    }
    let room = MAX_NAME - tail.len() - extension.len();
    let mut end = stem.len().min(room);
    while end < stem.len() && end > 0 && stem.get(end).is_some_and(|b| b & 0xc0 == 0x80) {
        end -= 1;
    }
    let mut kept = stem.get(..end).unwrap_or_default().to_vec();
    kept.extend_from_slice(tail.as_bytes());
    kept.extend_from_slice(extension);
    OsString::from_vec(kept)
}

/// `YYYYMMDD-HHMMSS` in UTC (days to date after Howard Hinnant's `civil_from_days`).
fn utc(now_ms: u64) -> String {
    let seconds = now_ms / 1000;
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Removes kept files older than `older_than_ns` (by change time, which the move set), and directories left empty;
/// returns how many files went.
///
/// # Errors
/// The versions directory cannot be opened; what cannot be removed inside it is left.
pub(crate) fn prune(root: &super::root::Root, older_than_ns: i64) -> io::Result<u64> {
    prune_dir(&root.own_dir("versions")?, older_than_ns, 0)
}

/// Deeper than any path that is handled.
const MAX_DEPTH: u32 = 2100;

fn prune_dir(dir: &OwnedFd, older_than_ns: i64, depth: u32) -> io::Result<u64> {
    let mut removed = 0;
    for name in super::list::names(dir)? {
        let name = OsStr::from_bytes(&name);
        let Some(stat) = super::stat::Stat::of(dir, name)? else { continue };
        if stat.kind == Kind::Directory {
            if depth < MAX_DEPTH
                && let Ok(below) = open_dir(dir, name)
            {
                removed += prune_dir(&below, older_than_ns, depth + 1).unwrap_or(0);
            }
            let _ = rustix::fs::unlinkat(dir, name, rustix::fs::AtFlags::REMOVEDIR);
        } else if stat.ctime_ns < older_than_ns
            && rustix::fs::unlinkat(dir, name, rustix::fs::AtFlags::empty()).is_ok()
        {
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::root::Root;

    fn kept_name(name: &str, n: u32) -> String {
        version_name(name.as_bytes(), 1_769_860_800_000, n).into_string().unwrap()
    }

    #[test]
    fn a_version_is_named_after_its_time() {
        assert_eq!(kept_name("report.txt", 0), "report~20260131-120000.txt");
        assert_eq!(kept_name(".bashrc", 3), ".bashrc~20260131-120000-3");
        let long = kept_name(&"ä".repeat(127), 0);
        assert!(long.len() <= MAX_NAME && long.ends_with("ä~20260131-120000"));
    }

    #[test]
    fn a_second_version_in_the_same_second_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut dirs = Dirs::new(&root);
        let path = DiskPath::parse(b"sub/a.txt").unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        for content in ["one", "two"] {
            std::fs::write(dir.path().join("sub/a.txt"), content).unwrap();
            let at = dirs.open(&DiskPath::parse(b"sub").unwrap()).unwrap();
            keep(&dirs, &at, OsStr::new("a.txt"), &path, 1_769_860_800_000).unwrap();
        }
        let read = |n: &str| std::fs::read_to_string(dir.path().join(".zerok/versions/sub").join(n)).unwrap();
        assert_eq!((&*read("a~20260131-120000.txt"), &*read("a~20260131-120000-1.txt")), ("one", "two"));
        assert!(!dir.path().join("sub/a.txt").exists());
    }

    #[test]
    fn what_is_put_back_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut dirs = Dirs::new(&root);
        std::fs::write(dir.path().join("a"), "old").unwrap();
        let at = dirs.open(&DiskPath::root()).unwrap();
        let kept = keep(&dirs, &at, OsStr::new("a"), &DiskPath::parse(b"a").unwrap(), 0).unwrap();
        std::fs::write(dir.path().join("a"), "new").unwrap();
        let error = kept.put_back(&at, OsStr::new("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "new");
    }

    #[test]
    fn pruning_removes_the_old_and_leaves_the_young() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut dirs = Dirs::new(&root);
        std::fs::write(dir.path().join("a"), "x").unwrap();
        let at = dirs.open(&DiskPath::root()).unwrap();
        let kept = keep(&dirs, &at, OsStr::new("a"), &DiskPath::parse(b"d/a").unwrap(), 0).unwrap();
        let changed = kept.stat().unwrap().ctime_ns;
        assert_eq!(prune(&root, changed).unwrap(), 0);
        assert_eq!(prune(&root, changed + 1).unwrap(), 1);
        assert!(!dir.path().join(".zerok/versions/d").exists());
    }
}
