//! Pieces of an open file, sealed again for whoever lacks them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use zerok_core::{ChunkKind, ChunkSealer, MAX_CHUNK_PLAIN};
use zerok_protocol::EpochId;

use super::rows::{DataChunk, Fingerprint};
use crate::group::Group;

/// Why a piece cannot be sealed as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum PieceError {
    /// The file holds something else by now.
    #[error("the file has changed")]
    Changed,
    /// The epoch's keys are not here.
    #[error("no key for the chunk's epoch")]
    NoKey,
}

/// Seals pieces of one file.
pub(super) struct Pieces<'g> {
    group: &'g Group,
    file: File,
    sealers: Sealers,
}

impl<'g> Pieces<'g> {
    pub(super) fn of(file: File, group: &'g Group) -> Self {
        Self { group, file, sealers: Sealers::default() }
    }

    /// The sealed piece; blocking.
    pub(super) fn seal(&mut self, piece: &DataChunk) -> Result<Bytes, PieceError> {
        let plaintext = read(&self.file, piece)?;
        let sealer = self.sealers.of(self.group, piece.chunk.epoch).ok_or(PieceError::NoKey)?;
        let sealed = sealer.seal(ChunkKind::Data, &plaintext).ok_or(PieceError::Changed)?;
        if sealed.chunk == piece.chunk { Ok(sealed.sealed) } else { Err(PieceError::Changed) }
    }
}

/// Reads a piece's plaintext, which may be another one by now; blocking.
pub(super) fn read(file: &File, piece: &DataChunk) -> Result<Vec<u8>, PieceError> {
    let length = usize::try_from(piece.chunk.length).unwrap_or(usize::MAX);
    if length > MAX_CHUNK_PLAIN {
        return Err(PieceError::Changed);
    }
    let mut plaintext = vec![0; length];
    file.read_exact_at(&mut plaintext, piece.offset).map_err(|_| PieceError::Changed)?;
    Ok(plaintext)
}

/// By what a plaintext is known again within a group.
pub(super) fn fingerprint(group: &Group, plaintext: &[u8]) -> Fingerprint {
    let mut out = Fingerprint::default();
    blake3::Hasher::new_keyed(group.keys.fingerprint.expose())
        .update(plaintext)
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Sealers by epoch, made when first used.
#[derive(Default)]
pub(super) struct Sealers(BTreeMap<EpochId, ChunkSealer>);

impl Sealers {
    /// `None` if the epoch's keys are not here.
    pub(super) fn of(&mut self, group: &Group, epoch: EpochId) -> Option<&mut ChunkSealer> {
        match self.0.entry(epoch) {
            Entry::Occupied(sealer) => Some(sealer.into_mut()),
            Entry::Vacant(place) => {
                Some(place.insert(ChunkSealer::new(&group.epoch(epoch)?, group.id, epoch)))
            }
        }
    }
}
