//! Paths inside a synced folder. [`RelPath::parse`] is the only way in: whoever holds a [`RelPath`] may join it to a
//! folder's root without looking at it again (following no symlinks on the way is the opener's duty).

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::{fmt, str};

use unicode_normalization::{UnicodeNormalization, is_nfc};
use zerok_protocol::ChainId;

use crate::conflict_name::conflict_name;

/// Longest name between two slashes, in bytes.
pub const MAX_FILE_NAME: usize = 255;
/// Longest path, in bytes.
pub const MAX_PATH: usize = 4096;
/// Longest directory part, in bytes: any name, so also a conflict copy's, still fits behind it.
const MAX_DIRECTORY: usize = MAX_PATH - MAX_FILE_NAME - 1;
/// The daemon's own directory in a folder's root.
const RESERVED: &str = ".zerok";

/// Why something is no path inside a folder. Never contains the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing there.
    #[error("path: empty")]
    Empty,
    /// Names are UTF-8.
    #[error("path: not UTF-8")]
    NotUtf8,
    /// Begins with a slash.
    #[error("path: absolute")]
    Absolute,
    /// Holds a NUL byte.
    #[error("path: contains a NUL byte")]
    Nul,
    /// Two slashes in a row, or one at the end.
    #[error("path: part {index} is empty")]
    EmptyPart {
        /// Which part, from 1.
        index: usize,
    },
    /// `.` or `..`.
    #[error("path: part {index} is '.' or '..'")]
    Dots {
        /// Which part, from 1.
        index: usize,
    },
    /// Begins with `.zerok`, in any case.
    #[error("path: '.zerok' is reserved for the daemon")]
    Reserved,
    /// A name is too long.
    #[error("path: part {index} is longer than {MAX_FILE_NAME} bytes")]
    NameTooLong {
        /// Which part, from 1.
        index: usize,
    },
    /// The whole is too long, or its directory part so long that not every name fits behind it.
    #[error("path: longer than {MAX_PATH} bytes, or its directory part longer than {MAX_DIRECTORY}")]
    TooLong,
    /// The spelling given beside a key is not one of that key, or is the key itself.
    #[error("path: the original spelling does not belong to the key")]
    Original,
}

/// A path relative to a folder's root: `/` between names, no way out, Unicode NFC; with the spelling on the disk of
/// its author where that differs. Two are equal when their keys are.
#[derive(Clone)]
pub struct RelPath {
    key: Box<str>,
    original: Option<Box<str>>,
}

impl RelPath {
    /// Takes a path as found on a disk, relative to the folder's root.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        // Before normalising: a megabyte of accents costs nothing.
        if bytes.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        let text = str::from_utf8(bytes).map_err(|_| PathError::NotUtf8)?;
        check(text)?;
        if is_nfc(text) {
            return Ok(Self { key: text.into(), original: None });
        }
        let key: String = text.nfc().collect();
        check(&key)?;
        Ok(Self { key: key.into(), original: Some(text.into()) })
    }

    /// Takes a key and, where the author's disk spells it otherwise, that spelling.
    ///
    /// # Errors
    /// See [`PathError`]; the key must be NFC and the spelling must normalise to it.
    pub fn with_original(key: &str, original: Option<&str>) -> Result<Self, PathError> {
        let path = Self::parse(original.unwrap_or(key).as_bytes())?;
        if *path.key == *key && path.original.is_some() == original.is_some() {
            Ok(path)
        } else {
            Err(PathError::Original)
        }
    }

    /// The NFC spelling, by which the path is known.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The author's spelling, where it differs from the key.
    #[must_use]
    pub fn original(&self) -> Option<&str> {
        self.original.as_deref()
    }

    /// The spelling to use on a disk.
    #[must_use]
    pub fn on_disk(&self) -> &str {
        self.original().unwrap_or(&self.key)
    }

    /// The last name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        split(&self.key).1
    }

    /// The directory that holds it; `None` in the folder's root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let key = split(&self.key).0?;
        let original = self.original().and_then(|o| split(o).0).filter(|o| *o != key);
        Some(Self { key: key.into(), original: original.map(Into::into) })
    }

    /// Its directories, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Is it somewhere below that directory?
    #[must_use]
    pub fn is_below(&self, directory: &Self) -> bool {
        self.key.strip_prefix(&*directory.key).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The path of `name` in this directory.
    ///
    /// # Errors
    /// See [`PathError`]; a name with a slash in it is refused too.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        if name.contains(&b'/') {
            return Err(PathError::EmptyPart { index: 1 });
        }
        Self::parse(&[self.on_disk().as_bytes(), b"/", name].concat())
    }

    /// Equal for paths that a file system which ignores case takes for one.
    #[must_use]
    pub fn folded(&self) -> String {
        // Upper case first: it expands what lower case alone would leave apart (ß, ſ, final sigma).
        self.key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
    }

    /// Where the loser of a conflict goes: `stem.sync-conflict-<mtime, UTC>-<8 hex of by>.ext` beside it.
    #[must_use]
    pub fn conflict_copy(&self, mtime_ns: i64, by: &ChainId) -> Self {
        let name = conflict_name(self.name(), mtime_ns, by);
        let beside = |path: &str| split(path).0.map_or_else(|| name.clone(), |dir| format!("{dir}/{name}"));
        let key = beside(&self.key);
        let original = self.original().map(beside).filter(|o| *o != key);
        Self { key: key.into(), original: original.map(Into::into) }
    }
}

/// The directory part and the name.
fn split(path: &str) -> (Option<&str>, &str) {
    path.rsplit_once('/').map_or((None, path), |(directory, name)| (Some(directory), name))
}

fn check(text: &str) -> Result<(), PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text.len() > MAX_PATH || split(text).0.is_some_and(|directory| directory.len() > MAX_DIRECTORY) {
        return Err(PathError::TooLong);
    }
    if text.starts_with('/') {
        return Err(PathError::Absolute);
    }
    for (index, part) in (1..).zip(text.split('/')) {
        match part {
            "" => return Err(PathError::EmptyPart { index }),
            "." | ".." => return Err(PathError::Dots { index }),
            _ if part.len() > MAX_FILE_NAME => return Err(PathError::NameTooLong { index }),
            _ if part.contains('\0') => return Err(PathError::Nul),
            _ if index == 1 && is_reserved(part) => return Err(PathError::Reserved),
            _ => {}
        }
    }
    Ok(())
}

/// `.zerok` as any file system might see it: in any case, and with the characters that some ignore.
fn is_reserved(name: &str) -> bool {
    let seen = name.chars().filter(|c| !is_ignorable(*c)).flat_map(char::to_lowercase);
    seen.nfkc().eq(RESERVED.chars())
}

/// The code points that HFS+ drops when it compares names.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

impl PartialEq for RelPath {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for RelPath {}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Hash for RelPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// Prints no part of the path: paths are no more for logs than contents are.
impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({} bytes)", self.key.len())
    }
}

#[cfg(test)]
mod tests;
