//! A folder record: what one author says of one path. A record is hostile input even though its author is known:
//! [`Record::from_bytes`] takes only what is consistent in itself.

mod wire;

use bytes::Bytes;
use zerok_protocol::{ChainId, Hash};

use crate::chunk_list::MAX_FILE;
use crate::entry::{ContentRef, MAX_NUMBER};
use crate::hlc::Hlc;
use crate::path::{MAX_PATH, PathError, RelPath};
use crate::version::{Version, VersionError};

/// Contents up to this many bytes stand in the record itself.
pub const INLINE_MAX: usize = 32 << 10;
/// Longest symlink target, in bytes.
pub const MAX_TARGET: usize = 4096;
/// Longest encoded record, in bytes: inline contents, two spellings of a path, a target, a version of 1024 chains.
pub const MAX_RECORD: usize = INLINE_MAX + 2 * MAX_PATH + MAX_TARGET + 1024 * 28 + 1024;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, never followed.
    Symlink {
        /// What it holds, as it stands on the author's disk.
        target: String,
    },
}

/// Where the contents of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nowhere: directories, symlinks and tombstones have none.
    None,
    /// In the record; an empty file's too.
    Inline(Bytes),
    /// In sealed chunks.
    Chunked(ContentRef),
}

/// What one author says of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where.
    pub path: RelPath,
    /// What; a tombstone says what was there.
    pub kind: Kind,
    /// Bytes of a file, otherwise 0.
    pub size: u64,
    /// Modification time, Unix nanoseconds; of a tombstone, when it was noticed.
    pub mtime_ns: i64,
    /// A file that may be executed.
    pub executable: bool,
    /// Readable by its owner alone.
    pub owner_only: bool,
    /// The contents of a file. Every record stands for itself: only the latest of a path is kept, so one that changes
    /// nothing but a time repeats them.
    pub content: Content,
    /// Nothing stands there any more.
    pub deleted: bool,
    /// What the author had seen, and this change.
    pub version: Version,
    /// The author's chain.
    pub by: ChainId,
    /// The author's clock.
    pub hlc: Hlc,
}

/// Why a record is refused; names the field, never its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`MAX_RECORD`].
    #[error("record of {0} bytes, more than {MAX_RECORD}")]
    TooLong(usize),
    /// Not a map with the fields of a record.
    #[error("record: malformed")]
    Malformed,
    /// Written by a newer version.
    #[error("record: format {0}, this version knows only 1")]
    Format(u32),
    /// The path leads out of the folder or is none.
    #[error("record: {0}")]
    Path(#[from] PathError),
    /// The version is none.
    #[error("record: {0}")]
    Version(#[from] VersionError),
    /// A symlink without a target, or with one that no file system holds.
    #[error("record: symlink target is empty, longer than {MAX_TARGET} bytes or contains a NUL byte")]
    Target,
    /// The declared size is not that of the contents.
    #[error("record: size {size} does not belong to its contents")]
    Size {
        /// Bytes declared.
        size: u64,
    },
    /// Contents where none can be, missing where there must be some, or in the wrong place for their size.
    #[error("record: contents do not belong to its kind and size")]
    Content,
    /// The clock shows a time that no database holds.
    #[error("record: clock out of range")]
    Clock,
    /// Only a file can be executable.
    #[error("record: executable, and no file")]
    Executable,
    /// The author's chain does not count in the version.
    #[error("record: its author has no part in its version")]
    Author,
}

impl Record {
    /// The encoding that travels as an entry's body.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        wire::encode(self)
    }

    /// Reads a record and checks everything that can be checked without a disk.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let record = wire::decode(bytes)?;
        record.check()?;
        Ok(record)
    }

    /// Is it consistent in itself?
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn check(&self) -> Result<(), RecordError> {
        let misfit = Err(RecordError::Size { size: self.size });
        if let Kind::Symlink { target } = &self.kind
            && (target.is_empty() || target.len() > MAX_TARGET || target.contains('\0'))
        {
            return Err(RecordError::Target);
        }
        let has_content = !self.deleted && self.kind == Kind::File;
        match &self.content {
            Content::None if has_content => return Err(RecordError::Content),
            Content::None if self.size != 0 => return misfit,
            Content::Inline(_) | Content::Chunked(_) if !has_content => return Err(RecordError::Content),
            Content::Inline(bytes) if bytes.len() > INLINE_MAX => return Err(RecordError::Content),
            Content::Inline(bytes) if u64::try_from(bytes.len()) != Ok(self.size) => return misfit,
            Content::Chunked(content) if content.size != self.size || self.size > MAX_FILE => return misfit,
            Content::Chunked(_) if usize::try_from(self.size).is_ok_and(|size| size <= INLINE_MAX) => {
                return Err(RecordError::Content);
            }
            _ => {}
        }
        if self.hlc.0 > MAX_NUMBER {
            return Err(RecordError::Clock);
        }
        if self.executable && self.kind != Kind::File {
            return Err(RecordError::Executable);
        }
        if self.version.get(&self.by) == 0 {
            return Err(RecordError::Author);
        }
        Ok(())
    }

    /// BLAKE3 of a live file's contents.
    #[must_use]
    pub fn content_hash(&self) -> Option<Hash> {
        match &self.content {
            Content::None => None,
            Content::Inline(bytes) => Some(Hash::of(bytes)),
            Content::Chunked(content) => Some(content.hash),
        }
    }

    /// Do both say that the same stands there? Times and permissions do not count.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        (self.deleted && other.deleted)
            || (self.deleted == other.deleted
                && self.kind == other.kind
                && self.size == other.size
                && self.content_hash() == other.content_hash())
    }

    /// The record that says that what stood there is gone. `of` need not be the author's own.
    #[must_use]
    pub fn tombstone(of: &Self, version: Version, by: ChainId, hlc: Hlc, mtime_ns: i64) -> Self {
        Self {
            path: of.path.clone(),
            kind: of.kind.clone(),
            size: 0,
            mtime_ns,
            executable: false,
            owner_only: false,
            content: Content::None,
            deleted: true,
            version,
            by,
            hlc,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
