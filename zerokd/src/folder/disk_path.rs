//! A path inside a folder as its bytes stand on this disk. Parsing is the proof that it cannot leave the folder by
//! itself: relative, no empty, `.` or `..` component, no NUL, no component over 255 bytes, not below `.zerok`.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest component in bytes, the limit of every common file system.
pub(crate) const MAX_NAME: usize = 255;
/// Longest path in bytes that is handled.
pub(crate) const MAX_PATH: usize = 4096;
/// The daemon's own directory in a folder's root; reserved in any case.
pub(crate) const OWN_DIR: &str = ".zerok";

/// Why bytes are no path inside a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiskPathError {
    /// Empty, absolute, or with `.`, `..`, an empty component or a NUL.
    #[error("path leaves the folder")]
    Escapes,
    /// A component over 255 bytes, or the whole over 4096.
    #[error("name is too long")]
    TooLong,
    /// In the daemon's own directory.
    #[error("path is reserved")]
    Reserved,
}

/// See the module. The empty path is the folder's root and exists only as [`DiskPath::root`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DiskPath(Box<[u8]>);

impl DiskPath {
    /// The folder itself.
    pub(crate) fn root() -> Self {
        Self(Box::default())
    }

    /// Checks every component.
    ///
    /// # Errors
    /// See [`DiskPathError`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DiskPathError> {
        if bytes.len() > MAX_PATH {
            return Err(DiskPathError::TooLong);
        }
        for (depth, name) in bytes.split(|b| *b == b'/').enumerate() {
            check_name(name)?;
            if depth == 0 && is_own(name) {
                return Err(DiskPathError::Reserved);
            }
        }
        Ok(Self(bytes.into()))
    }

    /// Where a checked path of the folder lies on this disk.
    ///
    /// # Errors
    /// See [`DiskPathError`]; the core's rules are stricter, so that this is a second lock on the same door.
    pub(crate) fn of(path: &zerok_core::RelPath) -> Result<Self, DiskPathError> {
        Self::parse(path.on_disk().as_bytes())
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directory it stands in and its name; the root has neither.
    pub(crate) fn split(&self) -> Option<(DiskPath, &OsStr)> {
        if self.0.is_empty() {
            return None;
        }
        let (parent, name) = match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => (self.0.get(..at).unwrap_or_default(), self.0.get(at + 1..).unwrap_or_default()),
            None => (&[][..], &*self.0),
        };
        Some((Self(parent.into()), OsStr::from_bytes(name)))
    }

    /// Its components from the top.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.split(|b| *b == b'/').filter(|n| !n.is_empty()).map(OsStr::from_bytes)
    }

    /// Below `root`, for the watcher and the ignore rules, which think in whole paths.
    pub(crate) fn below(&self, root: &Path) -> PathBuf {
        if self.0.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(&self.0)) }
    }
}

impl fmt::Debug for DiskPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskPath({} bytes)", self.0.len())
    }
}

fn check_name(name: &[u8]) -> Result<(), DiskPathError> {
    match name {
        b"" | b"." | b".." => Err(DiskPathError::Escapes),
        _ if name.contains(&0) || name.contains(&b'/') => Err(DiskPathError::Escapes),
        _ if name.len() > MAX_NAME => Err(DiskPathError::TooLong),
        _ => Ok(()),
    }
}

/// Is this name, in a folder's root, the daemon's own?
pub(crate) fn is_own(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(OWN_DIR.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        for bad in ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "./a", "a/.", "a/\0b", "a/"] {
            assert_eq!(DiskPath::parse(bad.as_bytes()), Err(DiskPathError::Escapes), "{bad:?}");
        }
    }

    #[test]
    fn the_own_directory_is_reserved_in_any_case_but_only_at_the_top() {
        assert_eq!(DiskPath::parse(b".zerok/tmp/x"), Err(DiskPathError::Reserved));
        assert_eq!(DiskPath::parse(b".ZeroK"), Err(DiskPathError::Reserved));
        assert!(DiskPath::parse(b"a/.zerok").is_ok());
        assert!(DiskPath::parse(b".zerokignore").is_ok());
    }

    #[test]
    fn a_name_over_255_bytes_is_refused() {
        assert!(DiskPath::parse(&[b'a'; 255]).is_ok());
        assert_eq!(DiskPath::parse(&[b'a'; 256]), Err(DiskPathError::TooLong));
    }

    #[test]
    fn a_path_splits_into_its_directory_and_its_name() {
        let path = DiskPath::parse(b"a/b/c").unwrap();
        let (parent, name) = path.split().unwrap();
        assert_eq!((parent.as_bytes(), name.as_bytes()), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(DiskPath::parse(b"c").unwrap().split().unwrap().0, DiskPath::root());
        assert!(DiskPath::root().split().is_none());
    }
}
