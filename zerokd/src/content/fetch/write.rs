//! The thread that writes a staged file, in order, and hashes what it writes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use zerok_core::ContentRef;
use zerok_protocol::Hash;

use super::super::rows::DataChunk;
use super::FetchError;

/// A piece of plaintext with its place.
pub(super) struct Piece {
    pub row: DataChunk,
    pub plaintext: Vec<u8>,
    /// It stands in the file already.
    pub written: bool,
    /// Its share of the window, until it is written.
    pub room: Option<OwnedSemaphorePermit>,
}

pub(super) struct Writer {
    thread: JoinHandle<Result<Vec<DataChunk>, FetchError>>,
}

impl Writer {
    pub(super) fn start(file: Arc<File>, content: ContentRef, pieces: mpsc::Receiver<Piece>) -> Self {
        Self { thread: tokio::task::spawn_blocking(move || write(&file, &content, pieces)) }
    }

    /// The rows of all pieces, when the file is complete and has the right hash.
    pub(super) async fn finish(self) -> Result<Vec<DataChunk>, FetchError> {
        self.thread.await.unwrap_or(Err(FetchError::Stopped))
    }
}

fn write(
    file: &File,
    content: &ContentRef,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Vec<DataChunk>, FetchError> {
    let mut hasher = blake3::Hasher::new();
    let (mut rows, mut size) = (Vec::new(), 0);
    while let Some(piece) = pieces.blocking_recv() {
        hasher.update(&piece.plaintext);
        if !piece.written {
            file.write_all_at(&piece.plaintext, piece.row.offset)?;
        }
        size = piece.row.offset + u64::from(piece.row.chunk.length);
        rows.push(piece.row);
        drop(piece.room);
    }
    if size < content.size {
        // Somebody else says why it ended early.
        return Err(FetchError::Unavailable);
    }
    if Hash(*hasher.finalize().as_bytes()) != content.hash {
        // Not to be taken for the beginning of the right file.
        file.set_len(0)?;
        return Err(FetchError::Hash);
    }
    if file.metadata()?.len() != content.size {
        file.set_len(content.size)?;
    }
    Ok(rows)
}
