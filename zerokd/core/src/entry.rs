//! An entry: what one `push`, folder record or register change becomes in the log. Its number is not in it: it follows
//! from the bundle ([`crate::Header::first`] and its place).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zerok_protocol::{EpochId, Hash, MAX_BUNDLE_BODIES};

use crate::codec::{decode, encode};
use crate::hlc::Hlc;

/// Largest key, in bytes.
pub const MAX_KEY: usize = 4096;
/// Most references of one entry.
pub const MAX_REFS: usize = 64;
/// Longest channel name.
pub const MAX_CHANNEL: usize = 128;
/// Largest encoded entry: a body of [`MAX_BUNDLE_BODIES`], and the largest of everything else.
pub const MAX_ENTRY: usize = MAX_BUNDLE_BODIES + (16 << 10);
/// What a number may be, so that a database with signed integers holds it.
pub(crate) const MAX_NUMBER: u64 = i64::MAX.unsigned_abs();

const VERSION: u8 = 1;

/// Large content that stands beside the log, in chunks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentRef {
    /// Address of the root chunk.
    pub root: Hash,
    /// The epoch under which the chunks are sealed.
    pub epoch: EpochId,
    /// Size in bytes.
    pub size: u64,
    /// BLAKE3 of the content.
    pub hash: Hash,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum EntryKind {
    /// A channel's data.
    Data,
    /// First entry of a chain that continues another one; the body is the other's 16-byte id.
    Continues,
}

impl From<EntryKind> for u8 {
    fn from(kind: EntryKind) -> u8 {
        match kind {
            EntryKind::Data => 0,
            EntryKind::Continues => 1,
        }
    }
}

impl TryFrom<u8> for EntryKind {
    type Error = EntryError;

    fn try_from(number: u8) -> Result<Self, EntryError> {
        match number {
            0 => Ok(EntryKind::Data),
            1 => Ok(EntryKind::Continues),
            other => Err(EntryError::Kind(other)),
        }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs; names that begin with `$` are the daemon's own.
    pub channel: String,
    /// What it replaces where only the latest per key is kept.
    pub key: Option<String>,
    /// What it is.
    pub kind: EntryKind,
    /// When it was written, by its author's hybrid clock: the same on every device.
    pub hlc: Hlc,
    /// Content that it names.
    pub refs: Vec<ContentRef>,
    /// The payload.
    pub body: Bytes,
}

/// Why something is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not the encoding of an entry.
    #[error("malformed entry")]
    Malformed,
    /// A version that this program does not know.
    #[error("entry is of version {0}, this program knows 1")]
    Version(u8),
    /// A kind that this program does not know.
    #[error("entry is of unknown kind {0}")]
    Kind(u8),
    /// The channel's name.
    #[error("channel: {0}")]
    Channel(&'static str),
    /// The key is too long.
    #[error("key of {0} bytes is longer than {MAX_KEY}")]
    Key(usize),
    /// Too many references.
    #[error("{0} references are more than {MAX_REFS}")]
    Refs(usize),
    /// A reference to content of an impossible size.
    #[error("reference to content of {0} bytes")]
    Size(u64),
    /// An impossible time.
    #[error("impossible time")]
    Time,
    /// The body is too large.
    #[error("body of {0} bytes is larger than {MAX_BUNDLE_BODIES}")]
    Body(usize),
}

/// Is it a channel name: 1 to 128 characters of a-z, 0-9 and `. _ / -`? A leading `$` is taken only if `ours`.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_channel(name: &str, ours: bool) -> Result<(), EntryError> {
    let rest = match name.strip_prefix('$') {
        Some(_) if !ours => return Err(EntryError::Channel("names that begin with '$' are reserved")),
        Some(rest) => rest,
        None => name,
    };
    if rest.is_empty() {
        return Err(EntryError::Channel("is empty"));
    }
    if name.len() > MAX_CHANNEL {
        return Err(EntryError::Channel("is longer than 128 characters"));
    }
    if !rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-')) {
        return Err(EntryError::Channel("may hold only a-z, 0-9 and . _ / -"));
    }
    Ok(())
}

/// An entry as it is written, borrowed.
#[derive(Serialize)]
struct Out<'a> {
    v: u8,
    channel: &'a str,
    key: Option<&'a str>,
    kind: EntryKind,
    hlc: Hlc,
    refs: &'a [ContentRef],
    #[serde(with = "serde_bytes")]
    body: &'a [u8],
}

/// An entry as it is read. The kind is a plain number, so that an unknown one is told apart from garbage.
#[derive(Deserialize)]
struct In {
    v: u8,
    channel: String,
    key: Option<String>,
    kind: u8,
    hlc: Hlc,
    refs: Vec<ContentRef>,
    body: Bytes,
}

impl Entry {
    /// Is it within the limits? To be asked before an entry is accepted: [`Entry::parse`] refuses what this refuses.
    ///
    /// # Errors
    /// The limit that it breaks.
    pub fn check(&self) -> Result<(), EntryError> {
        check_channel(&self.channel, true)?;
        match self.key.as_ref().map(String::len) {
            Some(length) if length > MAX_KEY => return Err(EntryError::Key(length)),
            _ => {}
        }
        if self.refs.len() > MAX_REFS {
            return Err(EntryError::Refs(self.refs.len()));
        }
        if let Some(content) = self.refs.iter().find(|content| content.size > MAX_NUMBER) {
            return Err(EntryError::Size(content.size));
        }
        if self.hlc.0 > MAX_NUMBER {
            return Err(EntryError::Time);
        }
        if self.body.len() > MAX_BUNDLE_BODIES {
            return Err(EntryError::Body(self.body.len()));
        }
        Ok(())
    }

    /// The exact bytes that a bundle's header hashes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let Self { channel, key, kind, hlc, refs, body } = self;
        encode(&Out { v: VERSION, channel, key: key.as_deref(), kind: *kind, hlc: *hlc, refs, body }).into()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// It is none, of another version, or breaks a limit; it never panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_ENTRY {
            return Err(EntryError::Body(bytes.len()));
        }
        let read: In = decode(bytes).ok_or(EntryError::Malformed)?;
        if read.v != VERSION {
            return Err(EntryError::Version(read.v));
        }
        let In { channel, key, kind, hlc, refs, body, .. } = read;
        let entry = Self { channel, key, kind: kind.try_into()?, hlc, refs, body };
        entry.check()?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests;
