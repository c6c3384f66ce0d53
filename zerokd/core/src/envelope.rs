//! The disposable envelope round a bundle, as a relay stores it: version, epoch id, blob id, nonce, then the padded bundle
//! sealed with XChaCha20-Poly1305 under the epoch's envelope key.

use bytes::Bytes;
use zerok_protocol::{BlobId, ChainId, DeviceId, EpochId, GroupId, MAX_BLOB};

use crate::epoch::{epoch_bytes, read_epoch};
use crate::sealing::{NONCE, open_padded, seal_padded};
use crate::secret::{EpochKeys, GroupKeys, derive};

const VERSION: u8 = 1;

/// Why bytes are no envelope, or do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than a relay takes.
    #[error("envelope of {0} bytes exceeds the limit of {MAX_BLOB}")]
    TooLarge(usize),
    /// Too short to be one.
    #[error("envelope is cut short")]
    Truncated,
    /// A version that this program does not know.
    #[error("envelope is of version {0}, this program knows 1")]
    Version(u8),
    /// Sealed under another key, for another group, or changed on the way.
    #[error("envelope does not open")]
    Sealed,
}

/// Seals a bundle for `group` under the epoch's keys; `nonce` is [`bundle_nonce`] or random.
#[must_use]
pub fn seal(
    keys: &EpochKeys,
    group: GroupId,
    epoch: EpochId,
    blob: BlobId,
    nonce: [u8; NONCE],
    plaintext: &[u8],
) -> Bytes {
    let clear = [&[VERSION][..], &epoch_bytes(epoch), blob.as_bytes(), &nonce].concat();
    seal_padded(&keys.envelope, &nonce, &aad(group, epoch, blob), &clear, plaintext).into()
}

/// The blob id of an own bundle at every relay: a repeated PUSH carries the same one, and is answered with the first
/// cursor. To a relay it is random.
#[must_use]
pub fn bundle_blob_id(
    keys: &GroupKeys,
    device: DeviceId,
    chain: ChainId,
    seq: u64,
    epoch: EpochId,
) -> BlobId {
    let key = derive(keys.fingerprint.expose(), &[b"0k-sync v1 blob id"]);
    let mut id = [0; BlobId::LEN];
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(device.as_bytes()).update(chain.as_bytes()).update(&seq.to_be_bytes());
    hasher.update(&epoch_bytes(epoch)).finalize_xof().fill(&mut id);
    BlobId(id)
}

/// The nonce of an own bundle's envelope, so that a repeated PUSH carries the same bytes. It follows from exactly the bytes
/// that are sealed, never from the bundle's hash: a bundle keeps its hash when entries are pruned, and two texts under
/// one nonce would betray each other.
#[must_use]
pub fn bundle_nonce(keys: &EpochKeys, blob: &BlobId, plaintext: &[u8]) -> [u8; NONCE] {
    let key = derive(keys.envelope.expose(), &[b"0k-sync v1 envelope nonce"]);
    let mut nonce = [0; NONCE];
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(blob.as_bytes()).update(plaintext).finalize_xof().fill(&mut nonce);
    nonce
}

/// An envelope whose outside was read: which epoch's keys open it, which blob it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The epoch under which it is sealed.
    pub epoch: EpochId,
    /// The blob id that it was sealed for.
    pub blob: BlobId,
    nonce: [u8; NONCE],
    body: Bytes,
}

impl Sealed {
    /// Reads the outside.
    ///
    /// # Errors
    /// It is too large, too short or of another version.
    pub fn parse(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_BLOB {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        let (version, rest) = bytes.split_first().ok_or(EnvelopeError::Truncated)?;
        if *version != VERSION {
            return Err(EnvelopeError::Version(*version));
        }
        let (epoch, rest) = rest.split_first_chunk().ok_or(EnvelopeError::Truncated)?;
        let (blob, rest) = rest.split_first_chunk().ok_or(EnvelopeError::Truncated)?;
        let (nonce, body) = rest.split_first_chunk().ok_or(EnvelopeError::Truncated)?;
        Ok(Self { epoch: read_epoch(epoch), blob: BlobId(*blob), nonce: *nonce, body: bytes.slice_ref(body) })
    }

    /// Opens it: the bundle's bytes.
    ///
    /// # Errors
    /// The keys are not those of its epoch, it is for another group, or was changed.
    pub fn open(&self, keys: &EpochKeys, group: GroupId) -> Result<Bytes, EnvelopeError> {
        let aad = aad(group, self.epoch, self.blob);
        open_padded(&keys.envelope, &self.nonce, &aad, &self.body).ok_or(EnvelopeError::Sealed)
    }
}

fn aad(group: GroupId, epoch: EpochId, blob: BlobId) -> Vec<u8> {
    [&[VERSION][..], group.as_bytes(), &epoch_bytes(epoch), blob.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
