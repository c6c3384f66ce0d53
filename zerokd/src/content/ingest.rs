//! Reading a file once: its hash, its pieces, their addresses, and the lists that name them. What a group has sealed
//! before keeps its address and is not sealed again.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use zerok_core::{
    ChunkKind, ChunkRef, ChunkSealer, ContentRef, Cutter, INLINE_MAX, ListBuilder, ListError, SealedChunk,
};
use zerok_protocol::Hash;

use super::Content;
use super::piece::fingerprint;
use super::rows::{self, DataChunk, Fingerprint, ListChunk, Rows, State};
use crate::group::Group;
use crate::store::StoreError;

/// Bytes read at once; more than the largest piece.
const WINDOW: usize = 4 << 20;
/// Pieces whose fingerprints are looked up at once.
const LOOKUP: usize = 64;
/// Pieces that are offered to the relays together.
const EARLY: usize = 8;
/// Files from this size on are cut on one core and sealed on another.
const TWO_THREADS: u64 = 1 << 20;

/// Why a file could not be taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngestError {
    /// It does not have the size any more that it had.
    #[error("the file changed while it was read")]
    Changed,
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It has more chunks than a list holds.
    #[error("the file is too large: {0}")]
    TooLarge(#[from] ListError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Ingested {
    /// For the record.
    pub content: zerok_core::Content,
    /// To be inserted in the transaction that logs the record; `None` for what stands in the record itself.
    pub rows: Option<Rows>,
}

impl Content {
    /// Reads a file of `size` bytes; blocking, with bounded memory but for 70 bytes a chunk. The caller looks at the
    /// file's times before and after.
    ///
    /// # Errors
    /// See [`IngestError`].
    pub(crate) fn ingest_blocking(
        &self,
        group: &Group,
        file: &File,
        size: u64,
    ) -> Result<Ingested, IngestError> {
        if let Some(length) = usize::try_from(size).ok().filter(|length| *length <= INLINE_MAX) {
            return read_inline(file, length);
        }
        let (epoch, keys) = group.current();
        let cutter = Cutter::new(&group.keys.gear, size);
        let mut sealing = Sealing {
            engine: self,
            group,
            sealer: ChunkSealer::new(&keys, group.id, epoch),
            builder: ListBuilder::new(),
            seen: HashMap::new(),
            batch: Vec::new(),
            data: Vec::new(),
            lists: Vec::new(),
        };
        let hash = if size < TWO_THREADS {
            cut(file, size, &cutter, |offset, piece| sealing.take(offset, piece.to_vec()))?
        } else {
            cut_and_seal(file, size, &cutter, &mut sealing)?
        };
        let (root, data, lists) = sealing.finish()?;
        let content = ContentRef { root, epoch, size, hash };
        let rows = Rows { grp: group.row, content: content.clone(), state: State::Waiting, data, lists };
        Ok(Ingested { content: zerok_core::Content::Chunked(content), rows: Some(rows) })
    }
}

fn read_inline(file: &File, length: usize) -> Result<Ingested, IngestError> {
    let mut bytes = vec![0; length + 1];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], u64::try_from(filled).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    if filled != length {
        return Err(IngestError::Changed);
    }
    bytes.truncate(length);
    Ok(Ingested { content: zerok_core::Content::Inline(Bytes::from(bytes)), rows: None })
}

/// Cutting and hashing the whole here, sealing on a second thread.
fn cut_and_seal(
    file: &File,
    size: u64,
    cutter: &Cutter,
    sealing: &mut Sealing<'_>,
) -> Result<Hash, IngestError> {
    std::thread::scope(|scope| {
        let (pieces, queue) = sync_channel::<(u64, Vec<u8>)>(LOOKUP);
        let sealer = scope
            .spawn(move || queue.into_iter().try_for_each(|(offset, piece)| sealing.take(offset, piece)));
        let hash = cut(file, size, cutter, |offset, piece| {
            // The sealer has given up: its own error is told below.
            pieces.send((offset, piece.to_vec())).map_err(|_| IngestError::Changed)
        });
        drop(pieces);
        sealer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        hash
    })
}

/// Reads the file, hands over its pieces in order and returns the hash of the whole.
fn cut(
    file: &File,
    size: u64,
    cutter: &Cutter,
    mut piece: impl FnMut(u64, &[u8]) -> Result<(), IngestError>,
) -> Result<Hash, IngestError> {
    let room = usize::try_from(size).map_or(WINDOW, |size| size.min(WINDOW));
    let mut buffer = vec![0; room];
    let mut hasher = blake3::Hasher::new();
    let (mut filled, mut read, mut offset) = (0, 0, 0);
    while offset < size {
        while filled < buffer.len() && read < size {
            let room = usize::try_from(size - read).unwrap_or(usize::MAX).min(buffer.len() - filled);
            let window = &mut buffer[filled..filled + room];
            match file.read_at(window, read) {
                Ok(0) => return Err(IngestError::Changed),
                Ok(n) => {
                    hasher.update(&window[..n]);
                    filled += n;
                    read += u64::try_from(n).unwrap_or(u64::MAX);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        let mut at = 0;
        while let Some(length) = cutter.next(&buffer[at..filled], read == size) {
            piece(offset, &buffer[at..at + length])?;
            at += length;
            offset += u64::try_from(length).unwrap_or(u64::MAX);
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
    if file.read_at(&mut [0], size)? != 0 {
        return Err(IngestError::Changed);
    }
    Ok(Hash(*hasher.finalize().as_bytes()))
}

/// What turns pieces into references.
struct Sealing<'s> {
    engine: &'s Content,
    group: &'s Group,
    sealer: ChunkSealer,
    builder: ListBuilder,
    seen: HashMap<Fingerprint, ChunkRef>,
    batch: Vec<(u64, Vec<u8>, Fingerprint)>,
    data: Vec<DataChunk>,
    lists: Vec<ListChunk>,
}

impl Sealing<'_> {
    fn take(&mut self, offset: u64, piece: Vec<u8>) -> Result<(), IngestError> {
        let fingerprint = fingerprint(self.group, &piece);
        self.batch.push((offset, piece, fingerprint));
        if self.batch.len() >= LOOKUP { self.settle() } else { Ok(()) }
    }

    /// Finds or makes the references of a batch.
    fn settle(&mut self) -> Result<(), IngestError> {
        let batch = std::mem::take(&mut self.batch);
        let (row, seen) = (self.group.row, &self.seen);
        let known = self.engine.inner.store.read_blocking(|connection| {
            let mut known = Vec::with_capacity(batch.len());
            for (_, piece, fingerprint) in &batch {
                let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                known.push(match seen.get(fingerprint) {
                    Some(chunk) => Some(*chunk),
                    None => rows::known(connection, row, fingerprint, length)?,
                });
            }
            Ok::<_, StoreError>(known)
        })?;
        let mut fresh = Vec::new();
        for ((offset, piece, fingerprint), known) in batch.into_iter().zip(known) {
            // Twice within one batch: the second finds what the first was sealed as.
            let chunk = match known.or_else(|| self.seen.get(&fingerprint).copied()) {
                Some(chunk) => chunk,
                None => {
                    let sealed = self.sealer.seal(ChunkKind::Data, &piece).ok_or(IngestError::Changed)?;
                    fresh.push(sealed.clone());
                    sealed.chunk
                }
            };
            self.seen.insert(fingerprint, chunk);
            self.data.push(DataChunk { chunk, offset, fingerprint });
            let leaf = self.builder.push(chunk, &mut self.sealer)?;
            self.list(leaf);
            if fresh.len() >= EARLY {
                self.send(std::mem::take(&mut fresh));
            }
        }
        self.send(fresh);
        Ok(())
    }

    /// What is sealed now need not be sealed again for the relays, if they take it now.
    fn send(&self, fresh: Vec<SealedChunk>) {
        if !fresh.is_empty() {
            self.engine.inner.early.offer(self.group.id, fresh, &self.engine.inner.uploads);
        }
    }

    fn list(&mut self, sealed: impl IntoIterator<Item = SealedChunk>) {
        for list in sealed {
            let place = u64::try_from(self.lists.len()).unwrap_or(u64::MAX);
            self.lists.push(ListChunk { chunk: list.chunk, place });
        }
    }

    fn finish(mut self) -> Result<(Hash, Vec<DataChunk>, Vec<ListChunk>), IngestError> {
        self.settle()?;
        let builder = std::mem::take(&mut self.builder);
        let finished = builder.finish(&mut self.sealer)?;
        self.list(finished.sealed);
        Ok((finished.root.address, self.data, self.lists))
    }
}
