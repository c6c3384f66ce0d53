//! The folder's root as an open directory, and ways down from it that never go through a symbolic link.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::disk_path::{DiskPath, OWN_DIR};
use super::stat::Stat;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// See the module.
pub(crate) struct Root {
    path: PathBuf,
    fd: OwnedFd,
    stat: Stat,
}

/// A directory that was reached component by component.
pub(crate) type DirFd = Arc<OwnedFd>;

impl Root {
    /// Opens the directory at `path`, which holds no symbolic link (it was made canonical when the folder was added).
    ///
    /// # Errors
    /// It is absent, no directory, or a link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        let stat = Stat::of_open(&fd)?;
        Ok(Self { path: path.to_owned(), fd, stat })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The root's own stat, as of when it was opened.
    pub(crate) fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Does its path still lead to the directory that was opened?
    pub(crate) fn is_still_there(&self) -> bool {
        matches!(Stat::of(rustix::fs::CWD, self.path.as_os_str()), Ok(Some(now))
            if now.inode == self.stat.inode && now.device == self.stat.device && now.kind == self.stat.kind)
    }

    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// A component is absent (`NotFound`), a link (`FilesystemLoop` or `NotADirectory`), or cannot be entered.
    pub(crate) fn dir(&self, path: &DiskPath) -> io::Result<OwnedFd> {
        let mut at = open_dir(&self.fd, OsStr::new("."))?;
        for name in path.names() {
            at = open_dir(&at, name)?;
        }
        Ok(at)
    }

    /// Opens the daemon's own directory `name` below `.zerok`, making it (0700) if needed.
    ///
    /// # Errors
    /// It is something else than a directory, or cannot be made.
    pub(crate) fn own_dir(&self, name: &str) -> io::Result<OwnedFd> {
        let own = make_dir(&self.fd, OsStr::new(OWN_DIR), 0o700)?;
        if name.is_empty() { Ok(own) } else { make_dir(&own, OsStr::new(name), 0o700) }
    }

    /// Opens a regular file to read; a FIFO cannot hang it, a link is not followed.
    ///
    /// # Errors
    /// It is absent, something else than a regular file (`InvalidInput`), or may not be read.
    pub(crate) fn open_file(&self, dirs: &mut Dirs<'_>, path: &DiskPath) -> io::Result<File> {
        let (parent, name) = path.split().ok_or(io::ErrorKind::IsADirectory)?;
        open_regular(&*dirs.open(&parent)?, name)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens `name` in `dir` if it is a regular file.
///
/// # Errors
/// As [`Root::open_file`].
pub(crate) fn open_regular(dir: impl AsFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if Stat::of_open(&fd)?.kind != super::stat::Kind::File {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(File::from(fd))
}

/// Opens the directory `name` in `dir`.
///
/// # Errors
/// As [`Root::dir`].
pub(crate) fn open_dir(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())?)
}

/// Makes the directory `name` in `dir` unless it is there, and opens it.
///
/// # Errors
/// Something else has the name, or it cannot be made.
pub(crate) fn make_dir(dir: impl AsFd, name: &OsStr, mode: u32) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => open_dir(dir, name),
        Err(e) => Err(e.into()),
    }
}

/// Directories opened during one piece of work, so that a thousand files in one of them open it once. Short-lived: a
/// directory that is moved elsewhere meanwhile is at most followed until the end of the piece.
pub(crate) struct Dirs<'a> {
    root: &'a Root,
    open: HashMap<DiskPath, DirFd>,
}

/// Most directories kept open at once.
const KEPT: usize = 64;

impl<'a> Dirs<'a> {
    /// None open yet.
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, open: HashMap::new() }
    }

    /// The folder they are in.
    pub(crate) fn root(&self) -> &'a Root {
        self.root
    }

    /// The directory at `path`.
    ///
    /// # Errors
    /// As [`Root::dir`].
    pub(crate) fn open(&mut self, path: &DiskPath) -> io::Result<DirFd> {
        if let Some(fd) = self.open.get(path) {
            return Ok(fd.clone());
        }
        let fd = Arc::new(self.root.dir(path)?);
        if self.open.len() >= KEPT {
            self.open.clear();
        }
        self.open.insert(path.clone(), fd.clone());
        Ok(fd)
    }

    /// Forgets what is open at and below `path`, because it is about to be removed or replaced.
    pub(crate) fn forget(&mut self, path: &DiskPath) {
        let below = [path.as_bytes(), b"/"].concat();
        self.open.retain(|p, _| p != path && !p.as_bytes().starts_with(&below));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> DiskPath {
        DiskPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn no_way_down_leads_through_a_link() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), b"x").unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("file-link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut dirs = Dirs::new(&root);
        assert!(dirs.open(&path("real")).is_ok());
        assert!(dirs.open(&path("link")).is_err());
        assert!(root.open_file(&mut dirs, &path("link/secret")).is_err());
        assert!(root.open_file(&mut dirs, &path("file-link")).is_err());
    }

    #[test]
    fn a_fifo_is_refused_and_hangs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("p");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let root = Root::open(dir.path()).unwrap();
        let error = root.open_file(&mut Dirs::new(&root), &path("p")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_root_that_was_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("root");
        std::fs::create_dir(&at).unwrap();
        let root = Root::open(&at).unwrap();
        assert!(root.is_still_there());
        std::fs::rename(&at, dir.path().join("moved")).unwrap();
        assert!(!root.is_still_there());
        std::fs::create_dir(&at).unwrap();
        assert!(!root.is_still_there());
    }
}
