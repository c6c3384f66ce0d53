//! Which directories may be a folder: none inside or around another folder, nor inside or around the daemon's own
//! directories. Compared by device and inode on the way up, so that no spelling and no link gets around it.

use std::io;
use std::path::{Path, PathBuf};

use super::stat::{Kind, Stat};

/// Why a directory may not be a folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Not an absolute path.
    #[error("path: is not absolute")]
    Relative,
    /// The system's error when looking at it.
    #[error("path: {0}")]
    Io(#[from] io::Error),
    /// Something else than a directory.
    #[error("path: is no directory")]
    NotADirectory,
    /// It is, holds, or lies in a directory that is kept in step already.
    #[error("path: is, holds or lies in a folder that is kept in step already")]
    Folder,
    /// It is, holds, or lies in one of the daemon's own directories.
    #[error("path: is, holds or lies in one of the daemon's own directories")]
    Daemon,
    /// Its path is not UTF-8.
    #[error("path: is not UTF-8")]
    NotUtf8,
}

type Id = (u64, u64);

/// Resolves `path` and checks it against the other folders and the daemon's own directories.
///
/// # Errors
/// See [`Refused`].
pub(crate) fn check(path: &Path, folders: &[PathBuf], daemon: &[PathBuf]) -> Result<PathBuf, Refused> {
    if !path.is_absolute() {
        return Err(Refused::Relative);
    }
    let path = path.canonicalize()?;
    if path.to_str().is_none() {
        return Err(Refused::NotUtf8);
    }
    if stat(&path)?.kind != Kind::Directory {
        return Err(Refused::NotADirectory);
    }
    if folders.iter().any(|other| overlap(&path, other)) {
        return Err(Refused::Folder);
    }
    if daemon.iter().any(|other| overlap(&path, other)) {
        return Err(Refused::Daemon);
    }
    Ok(path)
}

/// Is one of them the other, or inside it? A path that is absent overlaps nothing.
fn overlap(a: &Path, b: &Path) -> bool {
    let (Ok(b), Ok(ups_a)) = (b.canonicalize(), upwards(a)) else { return false };
    let Ok(ups_b) = upwards(&b) else { return false };
    ups_b.first().is_some_and(|b| ups_a.contains(b)) || ups_a.first().is_some_and(|a| ups_b.contains(a))
}

/// The identities of a directory and of everything above it.
fn upwards(path: &Path) -> io::Result<Vec<Id>> {
    path.ancestors().map(|p| stat(p).map(|s| (s.device, s.inode))).collect()
}

fn stat(path: &Path) -> io::Result<Stat> {
    Stat::of(rustix::fs::CWD, path.as_os_str())?.ok_or(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_around_or_equal_to_a_taken_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| dir.path().join(n);
        std::fs::create_dir_all(at("a/taken/inner")).unwrap();
        std::fs::create_dir_all(at("b")).unwrap();
        std::os::unix::fs::symlink(at("a/taken"), at("link")).unwrap();
        let taken = [at("a/taken")];
        for bad in ["a", "a/taken", "a/taken/inner", "link", "link/inner", "a/../a/taken/."] {
            assert!(matches!(check(&at(bad), &taken, &[]), Err(Refused::Folder)), "{bad}");
            assert!(matches!(check(&at(bad), &[], &taken), Err(Refused::Daemon)), "{bad}");
        }
        assert!(check(&at("b"), &taken, &taken).is_ok());
        assert!(check(&at("b"), &[at("gone")], &[]).is_ok());
    }

    #[test]
    fn only_an_existing_absolute_directory_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        assert!(matches!(check(Path::new("relative"), &[], &[]), Err(Refused::Relative)));
        assert!(matches!(check(&dir.path().join("f"), &[], &[]), Err(Refused::NotADirectory)));
        assert!(matches!(check(&dir.path().join("absent"), &[], &[]), Err(Refused::Io(_))));
    }
}
