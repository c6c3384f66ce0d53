//! The list of a file's chunks, in at most two levels of sealed chunks: leaves of at most 256 references, cut where an
//! address says so (an edit moves one or two of them), and a root that names the leaves. A single leaf is its own root.
//!
//! Plaintext: `version 1 | level u8 (0 leaf, 1 root) | count u32 | entries`, all integers big-endian. An entry of a leaf is
//! `address (32) | epoch number u64 | epoch tag u64 | length u32`, one of a root has `bytes covered u64` behind that.

use zerok_protocol::Hash;

use crate::chunk::{ChunkKind, ChunkRef, ChunkSealer, SealedChunk};
use crate::cut::MAX_CHUNK_PLAIN;
use crate::epoch::{epoch_bytes, read_epoch};

const VERSION: u8 = 1;
const LEAF: u8 = 0;
const ROOT: u8 = 1;
const HEADER: usize = 6;
const CHUNK_ENTRY: usize = 32 + 16 + 4;
const LEAF_ENTRY: usize = CHUNK_ENTRY + 8;

/// Most references in a leaf.
pub const MAX_LEAF: usize = 256;
/// Most leaves in a root: what one chunk holds.
pub const MAX_LEAVES: usize = (MAX_CHUNK_PLAIN - HEADER) / LEAF_ENTRY;
/// Largest file, in bytes: every chunk and every level full. A file whose list does not fit is refused when it is cut.
pub const MAX_FILE: u64 = 17_476 * 256 * (1 << 20);
const _: () = assert!(MAX_LEAVES == 17_476 && MAX_LEAF == 256 && MAX_CHUNK_PLAIN == 1 << 20);
/// Fewest references in a leaf that an address ends; from there on one in [`END_MASK`] + 1 does.
const MIN_LEAF: usize = 32;
const END_MASK: u16 = 0x7f;

/// A leaf as the root names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeafRef {
    /// The leaf's own chunk.
    pub chunk: ChunkRef,
    /// Bytes of the file that its chunks hold.
    pub bytes: u64,
}

/// What stands in a file's root chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// All of a small file's chunks.
    Chunks(Vec<ChunkRef>),
    /// The leaves of a larger one.
    Leaves(Vec<LeafRef>),
}

/// Why a list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not the bytes of a list.
    #[error("chunk list: malformed")]
    Malformed,
    /// Written by a newer version.
    #[error("chunk list: format {0}, this version knows only {VERSION}")]
    Version(u8),
    /// A root where a leaf must be.
    #[error("chunk list: more than two levels")]
    Depth,
    /// No entry, or more than the level can have.
    #[error("chunk list: {0} entries")]
    Count(usize),
    /// A chunk of no bytes, or of more than a chunk can hold.
    #[error("chunk list: a chunk of {0} bytes")]
    Length(u32),
    /// The parts do not add up to the whole.
    #[error("chunk list: parts add up to {found} bytes, not {expected}")]
    Size {
        /// Sum of the parts.
        found: u64,
        /// Declared by who names the list.
        expected: u64,
    },
    /// The file has more chunks than two levels hold (some terabytes).
    #[error("chunk list: the file is too large")]
    TooLarge,
}

/// Builds the list while the file is being cut; holds one leaf and the leaves' references.
#[derive(Default)]
pub struct ListBuilder {
    leaf: Vec<ChunkRef>,
    leaves: Vec<LeafRef>,
}

impl ListBuilder {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk; gives back a leaf when it ends one.
    ///
    /// # Errors
    /// [`ListError::TooLarge`], [`ListError::Length`].
    pub fn push(
        &mut self,
        chunk: ChunkRef,
        sealer: &mut ChunkSealer,
    ) -> Result<Option<SealedChunk>, ListError> {
        check_length(&chunk)?;
        self.leaf.push(chunk);
        let ends = self.leaf.len() >= MAX_LEAF || (self.leaf.len() >= MIN_LEAF && ends_leaf(&chunk.address));
        if ends { self.end_leaf(sealer).map(Some) } else { Ok(None) }
    }

    /// Seals what is left, and says which chunk is the root.
    ///
    /// # Errors
    /// [`ListError::TooLarge`]; [`ListError::Count`] for a file without chunks.
    pub fn finish(mut self, sealer: &mut ChunkSealer) -> Result<Finished, ListError> {
        let mut sealed = Vec::new();
        if !self.leaf.is_empty() {
            sealed.push(self.end_leaf(sealer)?);
        }
        let root = match self.leaves.as_slice() {
            [] => return Err(ListError::Count(0)),
            [leaf] => leaf.chunk,
            leaves => {
                let root = seal_list(&encode_root(leaves), sealer)?;
                sealed.push(root.clone());
                root.chunk
            }
        };
        Ok(Finished { sealed, root })
    }

    fn end_leaf(&mut self, sealer: &mut ChunkSealer) -> Result<SealedChunk, ListError> {
        if self.leaves.len() >= MAX_LEAVES {
            return Err(ListError::TooLarge);
        }
        let bytes = self.leaf.iter().map(|chunk| u64::from(chunk.length)).sum();
        let sealed = seal_list(&encode_leaf(&self.leaf), sealer)?;
        self.leaf.clear();
        self.leaves.push(LeafRef { chunk: sealed.chunk, bytes });
        Ok(sealed)
    }
}

/// The end of a list.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What was not given out before; may be empty.
    pub sealed: Vec<SealedChunk>,
    /// The root, to stand in a [`ContentRef`](crate::ContentRef).
    pub root: ChunkRef,
}

/// Reads the plaintext of the root of a file of `size` bytes.
///
/// # Errors
/// See [`ListError`].
pub fn parse_root(plaintext: &[u8], size: u64) -> Result<Root, ListError> {
    let (level, entries) = split(plaintext)?;
    if level == LEAF {
        return parse_entries(entries, size).map(Root::Chunks);
    }
    let count = entries.len() / LEAF_ENTRY;
    if !entries.len().is_multiple_of(LEAF_ENTRY) || !(2..=MAX_LEAVES).contains(&count) {
        return Err(ListError::Count(count));
    }
    let mut leaves = Vec::with_capacity(count);
    for entry in entries.chunks_exact(LEAF_ENTRY) {
        let (chunk, bytes) = entry.split_last_chunk::<8>().ok_or(ListError::Malformed)?;
        leaves.push(LeafRef { chunk: read_chunk(chunk)?, bytes: u64::from_be_bytes(*bytes) });
    }
    check_sum(leaves.iter().map(|leaf| leaf.bytes), size)?;
    Ok(Root::Leaves(leaves))
}

/// Reads the plaintext of a leaf.
///
/// # Errors
/// See [`ListError`].
pub fn parse_leaf(plaintext: &[u8], leaf: &LeafRef) -> Result<Vec<ChunkRef>, ListError> {
    match split(plaintext)? {
        (LEAF, entries) => parse_entries(entries, leaf.bytes),
        _ => Err(ListError::Depth),
    }
}

/// The level, and as many bytes of entries as the header says.
fn split(plaintext: &[u8]) -> Result<(u8, &[u8]), ListError> {
    let (header, entries) = plaintext.split_first_chunk::<HEADER>().ok_or(ListError::Malformed)?;
    let [version, level, count @ ..] = *header;
    if version != VERSION {
        return Err(ListError::Version(version));
    }
    let size = match level {
        LEAF => CHUNK_ENTRY,
        ROOT => LEAF_ENTRY,
        _ => return Err(ListError::Malformed),
    };
    let count = usize::try_from(u32::from_be_bytes(count)).unwrap_or(usize::MAX);
    if count.checked_mul(size) == Some(entries.len()) {
        Ok((level, entries))
    } else {
        Err(ListError::Malformed)
    }
}

fn parse_entries(entries: &[u8], bytes: u64) -> Result<Vec<ChunkRef>, ListError> {
    let count = entries.len() / CHUNK_ENTRY;
    if count == 0 || count > MAX_LEAF {
        return Err(ListError::Count(count));
    }
    let chunks = entries.chunks_exact(CHUNK_ENTRY).map(read_chunk).collect::<Result<Vec<_>, _>>()?;
    check_sum(chunks.iter().map(|chunk| u64::from(chunk.length)), bytes)?;
    Ok(chunks)
}

fn read_chunk(entry: &[u8]) -> Result<ChunkRef, ListError> {
    let (address, rest) = entry.split_first_chunk().ok_or(ListError::Malformed)?;
    let (epoch, rest) = rest.split_first_chunk().ok_or(ListError::Malformed)?;
    let length = rest.try_into().map_err(|_| ListError::Malformed)?;
    let chunk =
        ChunkRef { address: Hash(*address), epoch: read_epoch(epoch), length: u32::from_be_bytes(length) };
    check_length(&chunk)?;
    Ok(chunk)
}

fn check_length(chunk: &ChunkRef) -> Result<(), ListError> {
    match usize::try_from(chunk.length) {
        Ok(1..=MAX_CHUNK_PLAIN) => Ok(()),
        _ => Err(ListError::Length(chunk.length)),
    }
}

fn check_sum(parts: impl Iterator<Item = u64>, expected: u64) -> Result<(), ListError> {
    let found = parts.fold(0, u64::saturating_add);
    if found == expected { Ok(()) } else { Err(ListError::Size { found, expected }) }
}

/// Does the content of the list end a leaf here?
fn ends_leaf(address: &Hash) -> bool {
    let [high, low, ..] = address.0;
    u16::from_be_bytes([high, low]) & END_MASK == 0
}

fn header(level: u8, count: usize, entry: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + count * entry);
    out.extend_from_slice(&[VERSION, level]);
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
    out
}

fn put_chunk(out: &mut Vec<u8>, chunk: &ChunkRef) {
    out.extend_from_slice(chunk.address.as_bytes());
    out.extend_from_slice(&epoch_bytes(chunk.epoch));
    out.extend_from_slice(&chunk.length.to_be_bytes());
}

fn encode_leaf(chunks: &[ChunkRef]) -> Vec<u8> {
    let mut out = header(LEAF, chunks.len(), CHUNK_ENTRY);
    chunks.iter().for_each(|chunk| put_chunk(&mut out, chunk));
    out
}

fn encode_root(leaves: &[LeafRef]) -> Vec<u8> {
    let mut out = header(ROOT, leaves.len(), LEAF_ENTRY);
    for leaf in leaves {
        put_chunk(&mut out, &leaf.chunk);
        out.extend_from_slice(&leaf.bytes.to_be_bytes());
    }
    out
}

fn seal_list(plaintext: &[u8], sealer: &mut ChunkSealer) -> Result<SealedChunk, ListError> {
    sealer.seal(ChunkKind::List, plaintext).ok_or(ListError::TooLarge)
}

#[cfg(test)]
mod tests;
