//! A sealed chunk: a piece of a file, or of the list of its pieces. Equal pieces of one group and epoch give equal
//! bytes, so they are stored and sent once; outside they mean nothing. Bytes:
//!
//! `version 1 | nonce (24) | XChaCha20-Poly1305 of (how u8 | plain length u32 | stored length u32 | stored | zeros) | tag (16)`
//!
//! padded to a Padmé length. The nonce is the beginning of a keyed BLAKE3 over the associated data and exactly the
//! bytes that are encrypted (a synthetic nonce, as in RFC 8452); who opens the chunk computes it again.

use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zerok_protocol::{EpochId, GroupId, Hash, MAX_CHUNK};

use crate::cut::MAX_CHUNK_PLAIN;
use crate::entry::ContentRef;
use crate::epoch::epoch_bytes;
use crate::padme::padded_len;
use crate::secret::{EpochKeys, Secret};

const VERSION: u8 = 1;
const LABEL: &[u8] = b"0k-sync v1 chunk\0";
const NONCE: usize = 24;
const TAG: usize = 16;
/// How, plain length, stored length.
const HEADER: usize = 9;
const RAW: u8 = 0;
const ZSTD: u8 = 1;
const ZSTD_LEVEL: i32 = 3;
/// The whole is compressed only if this much of its beginning shrinks by an eighth.
const PROBE: usize = 4 << 10;
/// A list of every limit's size still fits a chunk, and a chunk what the protocol carries.
const _: () = assert!(1 + NONCE + MAX_CHUNK_PLAIN + (1 << 15) + TAG <= MAX_CHUNK);

/// What a chunk holds; bound into it, so that none is taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChunkKind {
    /// A piece of a file.
    Data,
    /// References to pieces, or to such lists.
    List,
}

/// Names a sealed chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// BLAKE3 of the sealed bytes.
    pub address: Hash,
    /// The epoch under which it is sealed.
    pub epoch: EpochId,
    /// Plaintext bytes, 1 to [`MAX_CHUNK_PLAIN`].
    pub length: u32,
}

/// A sealed chunk and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedChunk {
    /// Its reference.
    pub chunk: ChunkRef,
    /// The sealed bytes.
    pub sealed: Bytes,
}

/// Why a chunk is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The bytes are not those of the address.
    #[error("chunk: bytes do not have the address that was asked for")]
    Address,
    /// Longer than [`MAX_CHUNK`], or too short to be a chunk.
    #[error("chunk: {0} bytes is no length of a chunk")]
    Length(usize),
    /// Written by a newer version.
    #[error("chunk: format {0}, this version knows only {VERSION}")]
    Version(u8),
    /// The key is another one, or the chunk was made for another group, epoch or kind.
    #[error("chunk: does not open")]
    Sealed,
    /// Authentic, but not made as it must be: nonce, padding, lengths or compression.
    #[error("chunk: malformed inside")]
    Malformed,
    /// It holds more or less than its reference says.
    #[error("chunk: holds {found} bytes, its reference says {expected}")]
    Size {
        /// Bytes inside.
        found: usize,
        /// Bytes expected.
        expected: u32,
    },
}

/// Seals chunks for one group and epoch.
pub struct ChunkSealer {
    cipher: XChaCha20Poly1305,
    nonce_key: Secret<32>,
    group: GroupId,
    epoch: EpochId,
    zstd: zstd::bulk::Compressor<'static>,
}

impl ChunkSealer {
    /// `keys` are those of `epoch`.
    #[must_use]
    pub fn new(keys: &EpochKeys, group: GroupId, epoch: EpochId) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(keys.content.expose().into()),
            nonce_key: keys.chunk_nonce.clone(),
            group,
            epoch,
            zstd: zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("the level is one that zstd has"),
        }
    }

    /// The epoch under which it seals.
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// Seals one piece; equal pieces give equal bytes. `None` if it is empty or longer than [`MAX_CHUNK_PLAIN`].
    #[must_use]
    pub fn seal(&mut self, kind: ChunkKind, plaintext: &[u8]) -> Option<SealedChunk> {
        let length = u32::try_from(plaintext.len()).ok()?;
        if plaintext.is_empty() || plaintext.len() > MAX_CHUNK_PLAIN {
            return None;
        }
        let compressed = self.compressed(plaintext);
        let (how, stored) = compressed.as_deref().map_or((RAW, plaintext), |shrunk| (ZSTD, shrunk));
        let stored_length = u32::try_from(stored.len()).ok()?;

        let body = padded_len(HEADER + stored.len());
        let mut out = Vec::with_capacity(1 + NONCE + body + TAG);
        out.push(VERSION);
        out.resize(1 + NONCE, 0);
        out.push(how);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&stored_length.to_be_bytes());
        out.extend_from_slice(stored);
        out.resize(1 + NONCE + body, 0);

        let aad = associated_data(&self.group, self.epoch, kind);
        let (head, body) = out.split_at_mut(1 + NONCE);
        let nonce = nonce(&self.nonce_key, &aad, body);
        head.split_at_mut(1).1.copy_from_slice(&nonce);
        let tag = self
            .cipher
            .encrypt_inout_detached((&nonce).into(), &aad, body.into())
            .expect("a megabyte is far below the cipher's limit");
        out.extend_from_slice(&tag);
        let chunk = ChunkRef { address: Hash::of(&out), epoch: self.epoch, length };
        Some(SealedChunk { chunk, sealed: out.into() })
    }

    /// The compressed form, where the beginning promises one and the whole keeps it.
    fn compressed(&mut self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let shrinks = |whole: usize, packed: usize| packed < whole - whole / 8;
        let probe = plaintext.get(..PROBE).unwrap_or(plaintext);
        let packed = self.zstd.compress(probe).ok()?;
        if !shrinks(probe.len(), packed.len()) {
            return None;
        }
        let packed =
            if probe.len() == plaintext.len() { packed } else { self.zstd.compress(plaintext).ok()? };
        shrinks(plaintext.len(), packed.len()).then_some(packed)
    }
}

/// Opens a chunk and checks that it is exactly what `chunk` names; `keys` are those of its epoch.
///
/// # Errors
/// See [`ChunkError`].
pub fn open_chunk(
    keys: &EpochKeys,
    group: &GroupId,
    chunk: &ChunkRef,
    kind: ChunkKind,
    sealed: &[u8],
) -> Result<Vec<u8>, ChunkError> {
    let plaintext = open(keys, group, chunk.address, chunk.epoch, kind, sealed)?;
    if u32::try_from(plaintext.len()) != Ok(chunk.length) {
        return Err(ChunkError::Size { found: plaintext.len(), expected: chunk.length });
    }
    Ok(plaintext)
}

/// Opens a file's root chunk, of which a [`ContentRef`] does not say how long it is.
///
/// # Errors
/// See [`ChunkError`].
pub fn open_root(
    keys: &EpochKeys,
    group: &GroupId,
    content: &ContentRef,
    sealed: &[u8],
) -> Result<Vec<u8>, ChunkError> {
    open(keys, group, content.root, content.epoch, ChunkKind::List, sealed)
}

fn open(
    keys: &EpochKeys,
    group: &GroupId,
    address: Hash,
    epoch: EpochId,
    kind: ChunkKind,
    sealed: &[u8],
) -> Result<Vec<u8>, ChunkError> {
    if sealed.len() > MAX_CHUNK {
        return Err(ChunkError::Length(sealed.len()));
    }
    if Hash::of(sealed) != address {
        return Err(ChunkError::Address);
    }
    let short = ChunkError::Length(sealed.len());
    let (version, rest) = sealed.split_first().ok_or(short)?;
    if *version != VERSION {
        return Err(ChunkError::Version(*version));
    }
    let (sent_nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(short)?;
    let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(short)?;

    let aad = associated_data(group, epoch, kind);
    let mut body = body.to_vec();
    XChaCha20Poly1305::new(keys.content.expose().into())
        .decrypt_inout_detached(sent_nonce.into(), &aad, body.as_mut_slice().into(), tag.into())
        .map_err(|_| ChunkError::Sealed)?;
    if nonce(&keys.chunk_nonce, &aad, &body) != *sent_nonce {
        return Err(ChunkError::Malformed);
    }
    unpack(body)
}

/// Takes padding and compression off.
fn unpack(mut body: Vec<u8>) -> Result<Vec<u8>, ChunkError> {
    let length = |bytes: &[u8; 4]| usize::try_from(u32::from_be_bytes(*bytes)).unwrap_or(usize::MAX);
    let (how, rest) = body.split_first().ok_or(ChunkError::Malformed)?;
    let (plain, rest) = rest.split_first_chunk::<4>().ok_or(ChunkError::Malformed)?;
    let (stored, rest) = rest.split_first_chunk::<4>().ok_or(ChunkError::Malformed)?;
    let (plain, stored) = (length(plain), length(stored));
    let (text, tail) = rest.split_at_checked(stored).ok_or(ChunkError::Malformed)?;
    // The limit comes before the allocation: a chunk that claims to unpack to gigabytes costs nothing.
    if plain == 0 || plain > MAX_CHUNK_PLAIN || tail.iter().any(|b| *b != 0) {
        return Err(ChunkError::Malformed);
    }
    match *how {
        RAW if plain == stored => {
            body.truncate(HEADER + stored);
            body.drain(..HEADER);
            Ok(body)
        }
        ZSTD => {
            let text = zstd::bulk::decompress(text, plain).map_err(|_| ChunkError::Malformed)?;
            if text.len() == plain { Ok(text) } else { Err(ChunkError::Malformed) }
        }
        _ => Err(ChunkError::Malformed),
    }
}

fn associated_data(group: &GroupId, epoch: EpochId, kind: ChunkKind) -> Vec<u8> {
    let kind = match kind {
        ChunkKind::Data => 0,
        ChunkKind::List => 1,
    };
    [LABEL, &[VERSION, kind], group.as_bytes(), &epoch_bytes(epoch)].concat()
}

fn nonce(key: &Secret<32>, aad: &[u8], encrypted: &[u8]) -> [u8; NONCE] {
    let mut out = [0; NONCE];
    blake3::Hasher::new_keyed(key.expose()).update(aad).update(encrypted).finalize_xof().fill(&mut out);
    out
}

#[cfg(test)]
mod tests;
