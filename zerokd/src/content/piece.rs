//! Pieces of an open file, sealed again for whoever lacks them.

use std::collections::BTreeMap;
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
    buffer: Vec<u8>,
}

impl<'g> Pieces<'g> {
    pub(super) fn of(file: File, group: &'g Group) -> Self {
        Self { group, file, sealers: Sealers::default(), buffer: Vec::new() }
    }

    /// The sealed piece; blocking.
    pub(super) fn seal(&mut self, piece: &DataChunk) -> Result<Bytes, PieceError> {
        read(&self.file, piece, &mut self.buffer)?;
        let sealer = self.sealers.of(self.group, piece.chunk.epoch).ok_or(PieceError::NoKey)?;
        let sealed = sealer.seal(ChunkKind::Data, &self.buffer).ok_or(PieceError::Changed)?;
        if sealed.chunk == piece.chunk { Ok(sealed.sealed) } else { Err(PieceError::Changed) }
    }
}

/// Reads a piece's plaintext, which may be another one by now; blocking.
pub(super) fn read(file: &File, piece: &DataChunk, into: &mut Vec<u8>) -> Result<(), PieceError> {
    let length = usize::try_from(piece.chunk.length).unwrap_or(usize::MAX);
    if length > MAX_CHUNK_PLAIN {
        return Err(PieceError::Changed);
    }
    into.resize(length, 0);
    file.read_exact_at(into, piece.offset).map_err(|_| PieceError::Changed)
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
        if !self.0.contains_key(&epoch) {
            let keys = group.epoch(epoch)?;
            self.0.insert(epoch, ChunkSealer::new(&keys, group.id, epoch));
        }
        self.0.get_mut(&epoch)
    }
}
